"""Whether new jobs may stand beside those that are there: their ids, and the jobs that they come after. Called under the lock.

Most jobs name no others and need not be the only ones of their id: adding them loads nothing of this.
"""
from __future__ import annotations

from core.dependencies import find_cycle, jobs_meant
from core.errors import JobRefused
from core.job import COMPLETED, DEAD, PENDING, PROCESSING, job_from_checked
from core.local_times import tell_time
from core.strict_json import encode_json
from core.times import parse_time


def check_ids(jobs_json, ids, unique_ids, now):
    """Raise JobRefused if an id is given twice, or is that of a job that has not ended; with `unique_ids`, of any job."""
    wanted = set(ids)
    if len(wanted) != len(ids):
        ordered = sorted(ids)
        twice = next(job_id for job_id, following in zip(ordered, ordered[1:]) if job_id == following)
        raise JobRefused("the id %s is given twice" % encode_json(twice))
    with jobs_json.view(locked=True) as view:
        for job_id, job in view.find_ids(wanted):
            if job.state in (PENDING, PROCESSING):
                does, since = ("is running", job.updated_at) if job.state == PROCESSING else ("is waiting in the queue", None)
                raise JobRefused("Job '%s' %s since %s" % (job_id, does, tell_time(parse_time(since or job.created_at), now)))
            if unique_ids:
                raise JobRefused("there is a job with the id %s already" % encode_json(job_id))


def check_dependencies(jobs_json, dependent, needed, new, replaced=None):
    """Raise JobRefused if a new job names an id that is not there, or if jobs would wait for each other in a circle. `dependent` has
    the ids that each of the new ones names, and `needed` those named in `after`. Gives back (the ids of `needed` with a dead job, when
    the last job with a named id ended, in seconds since the epoch; 0 if none has).

    By that time, and not by the clock alone, a new job is younger than what ended before it was added. Ids that are added along with it
    are not looked up: those jobs have not ended, and so they are meant. What the file has of the key `replaced` does not count."""
    there: dict = {job_id: [] for job_id in set().union(*dependent.values()) - new}
    with jobs_json.view(locked=True) as view:
        for job_id, job in view.find_ids(there) if there else ():
            there[job_id].append(job)
        missing = [job_id for job_id, jobs in there.items() if not jobs]
        if missing:
            raise JobRefused("\"%s\" names %s, and there is no such job"
                             % ("after" if min(missing) in needed else "after_any", encode_json(min(missing))))
        edges = {job_id: set(after) for job_id, after in dependent.items()}
        for _, record in view.records((PENDING, PROCESSING, DEAD), containing=b', "after'):
            job = job_from_checked(record)
            if job.key != replaced:
                edges.setdefault(job.id, set()).update(job.predecessors)
    circle = find_cycle(edges, list(dependent))  # one that someone has typed into the file keeps no others out
    if circle:
        raise JobRefused("\"after\" makes jobs wait for each other in a circle: %s" % " after ".join(circle))
    dead = [job_id for job_id in sorted(needed & there.keys()) if any(job.state == DEAD for job in jobs_meant(there[job_id]))]
    ends = [job.updated_at for jobs in there.values() for job in jobs if job.state in (COMPLETED, DEAD) and job.updated_at]
    return dead, parse_time(max(ends)) if ends else 0.0
