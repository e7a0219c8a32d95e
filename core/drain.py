"""What a drain waits for, and what it leaves: a drain ends once nothing is left that could run now or after a retry. All pure."""
from __future__ import annotations

from collections import namedtuple

from core.dependencies import find_cycle, in_circles
from core.job import PROCESSING
from core.rules import is_retry, ready_at

# What keeps a drain from its end, a Job or None; and if nothing does, what it leaves: the ids of jobs that are scheduled or come after one
# that is, of those whose group may not run any or that come after one of such a group, and a circle of jobs that wait for each other, as
# `find_cycle` gives it.
Left = namedtuple("Left", "job scheduled standing circle")

_RUNS, _STANDS, _RETRIES, _READY, _LATER = range(5)


def what_is_left(jobs, settings, now, limits):
    """The Left of the jobs that have not ended, in the order of the file. `limits` are those of all groups; 0 for one that is paused."""
    kinds, edges = [], {}
    for job in jobs:
        kind = _kind(job, settings, now, limits)
        if kind == _RUNS or (kind == _READY and not job.predecessors):
            return Left(job, (), (), None)
        kinds.append((job, kind))
        if job.predecessors:
            edges.setdefault(job.id, set()).update(job.predecessors)
    circle, unfinished = find_cycle(edges), {job.id for job, _ in kinds}
    stuck = in_circles(edges) if circle else ()
    for job, kind in kinds:
        # One that has just become ready; or a retry, if no other one was put before it since by an edit.
        if kind in (_READY, _RETRIES) and unfinished.isdisjoint(job.predecessors):
            return Left(job, (), (), circle)
    behind, left = _behind(edges, [job.id for job, kind in kinds if kind == _STANDS]), ([], [])
    for job, kind in kinds:
        if job.id not in stuck:
            left[kind != _LATER and job.id in behind].append(job.id)
    return Left(None, *left, circle)


def _behind(edges, ids):
    """These ids, and those of the jobs that come after one of them."""
    followers: dict = {}
    for job_id, before in edges.items():
        for other in before:
            followers.setdefault(other, []).append(job_id)
    found, left = set(), list(ids)
    while left:
        job_id = left.pop()
        found.add(job_id)
        left += followers.pop(job_id, ())
    return found


def _kind(job, settings, now, limits):
    if job.state == PROCESSING:
        return _RUNS
    if limits.get(job.group) == 0:
        return _STANDS
    if job.attempts and (job.run_at is None or is_retry(job, settings)):
        return _RETRIES
    return _READY if ready_at(job, settings, now) <= now else _LATER
