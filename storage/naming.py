"""Which jobs someone names: by an id, or as ID@N, which is one of several jobs with the same id."""
from __future__ import annotations

import re

from core.errors import JobNotFound, hint
from core.job import job_from_checked

_NUMBERED = r"(.+)@(-?[1-9][0-9]{0,8})\Z"


def no_job(name):
    """What is said of a name that means no job."""
    return "there is no job %r; %s shows all" % (name, hint("list"))


def find_named(store, name):
    """All jobs that a name means (see `find_all_named`). Raises JobNotFound."""
    return find_all_named(store, [name])[0]


def find_all_named(store, names):
    """For each of these names the jobs that it means, by one look at the file: all that have it as their id, the oldest first; or, if
    none has, of the jobs of one id the one that ID@2 (the second oldest) or ID@-1 (the newest) names. Raises JobNotFound."""
    found = _find_all(store, names)
    for name, jobs in zip(names, found):
        if not jobs:
            raise JobNotFound(no_job(name))
    return found


def keys_named(store, names):
    """The key of the job that each of these names means that is no id but ID@N: {name: key}. Raises JobNotFound if an id has jobs, but not
    so many."""
    names = [name for name in names if re.match(_NUMBERED, name)]
    found = _find_all(store, names) if names else []
    return {name: jobs[0].key for name, jobs in zip(names, found) if jobs and jobs[0].id != name}


def _find_all(store, names):
    matches = [re.match(_NUMBERED, name) for name in names]
    found: dict = {job_id: [] for job_id in [*names, *(match.group(1) for match in matches if match)]}
    with store.view(store.jobs_json) as view:
        for place, record in view.records(ids=found):
            found[record["id"]].append(job_from_checked(record, place))
    return [_pick(found[match.group(1)], name, match.group(1), int(match.group(2))) if match and not found[name] else found[name]
            for name, match in zip(names, matches)]


def _pick(jobs, name, job_id, number):
    """The one job, in a list, that a name means by a number, of the jobs of an id; [] if there is none. Raises JobNotFound for too few."""
    place = number - (number > 0)
    if jobs and not -len(jobs) <= place < len(jobs):
        there = "one job has" if len(jobs) == 1 else "%d jobs have" % len(jobs)
        raise JobNotFound("there is no job %r: %s the id %r; %s@1 is the oldest, %s@-1 the newest" % (name, there, job_id, job_id, job_id))
    return jobs[place:][:1]
