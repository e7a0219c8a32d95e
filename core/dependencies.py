"""Which jobs a job comes after by its `after` and `after_any`: whom an id means, who waits, who comes back with whom, circles. All pure."""
from __future__ import annotations

from collections import namedtuple

from core.errors import hint
from core.job import COMPLETED, DEAD, DEPENDENCY, PENDING

_NAMED = 20  # jobs of a circle that are named

# What is to be known of a job to say whether others that come after its id may run.
Namesake = namedtuple("Namesake", "place created_at state updated_at")


def jobs_meant(jobs, since=None):
    """Which of the jobs of one id (in the order of the file) a job means that names the id in `after` and was added at `since`: those that
    had not ended by then, or were added later; else the newest. With None for `since`: which jobs someone means who names the id now.

    Several jobs may have one id: how the job of last night ended says nothing about tonight's. An end in the same microsecond counts as a
    later one. No end is older than its job, whatever the clock said.
    """
    return [job for job in jobs if job.state not in (COMPLETED, DEAD)
            or (since is not None and max(job.created_at, job.updated_at or "") >= since)] or list(jobs)[-1:]


def lacking(job, namesakes):
    """The ids in `after` and `after_any` that keep a job from starting. `namesakes` maps an id to its jobs, in the order of the file."""
    needed = set(job.after)
    return [job_id for job_id in job.predecessors
            if keeps_waiting(jobs_meant(namesakes.get(job_id, ()), job.created_at), job_id in needed)]


def keeps_waiting(meant, needed):
    """Whether the jobs that a job means by an id keep it from starting: if they are `needed` (by `after`), until there is one and all are
    completed; else (by `after_any`) until none of them is left that has not ended."""
    states = {job.state for job in meant}
    return states != {COMPLETED} if needed else not states <= {COMPLETED, DEAD}


def revived(back, dead, namesakes):
    """Which of these dead jobs come back with the jobs `back`: those that died because of one of them, or of another that comes back so.
    Not those that also come after a job that stays dead, or is gone: they would die again at once. `namesakes` is as for `lacking`."""
    places, left, found = {job.place for job in back}, [job for job in dead if job.reason == DEPENDENCY], []

    def may_come(job):
        met = False
        for job_id in job.after:
            as_then = [other._replace(state=PENDING) if other.place in places else other for other in namesakes.get(job_id, ())]
            meant = jobs_meant(as_then, job.created_at)
            if not meant or any(other.state == DEAD for other in meant):
                return False
            met = met or any(other.place in places for other in meant)
        return met

    while True:
        coming = [job for job in left if job.place not in places and may_come(job)]
        if not coming:
            return found
        found += coming
        places.update(job.place for job in coming)


def with_those_before(starts, jobs):
    """The jobs `starts`, and those of these jobs that they come after, and so on, as {key: Job}."""
    by_id: dict = {}
    for job in jobs:
        by_id.setdefault(job.id, []).append(job)
    found, left = {}, list(starts)
    while left:
        job = left.pop()
        found[job.key] = job
        for job_id in job.predecessors:
            left += by_id.pop(job_id, ())
    return found


def those_of_groups(jobs, groups):
    """Those of these unfinished jobs that workers for some groups (names) must see to the end: of the groups, and all they come after."""
    jobs = list(jobs)
    found = with_those_before([job for job in jobs if job.group in groups], jobs)
    return [job for job in jobs if job.key in found]


def find_cycle(edges, starts=None):
    """The ids of a circle of jobs that wait for each other, in order, or None: of one that the `starts` (None: all) wait for or are in.
    `edges` maps an id to the ids that it comes after."""
    done = set()
    for start in edges if starts is None else starts:
        open_ids = [(start, iter(edges[start]))]
        on_path = {start}
        while open_ids:
            job_id, rest = open_ids[-1]
            following = next(rest, None)
            if following is None:
                open_ids.pop()
                on_path.discard(job_id)
                done.add(job_id)
            elif following in on_path:
                path = [other for other, _ in open_ids]
                return path[path.index(following):] + [following]
            elif following not in done and following in edges:
                on_path.add(following)
                open_ids.append((following, iter(edges[following])))
    return None


def in_circles(edges):
    """The ids that are in a circle or wait for one, so that their jobs never run."""
    left: dict = dict(edges)
    freed = list(left)
    while freed:
        freed = [job_id for job_id, after in left.items() if left.keys().isdisjoint(after)]
        for job_id in freed:
            del left[job_id]
    return left.keys()


def told_circle(circle):
    """A circle, as `find_cycle` gives it, as a sentence that says what mends it."""
    named = circle if len(circle) <= _NAMED else circle[:_NAMED] + ["…"] + circle[-1:]
    return ("jobs wait for each other in a circle, and never run: %s; %s mends that"
            % (" after ".join(named), hint("edit", circle[0])))
