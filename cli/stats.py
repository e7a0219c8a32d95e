"""Figures about jobs that have ended: how many succeed, how long they run and wait, how many end each minute."""
from __future__ import annotations

from array import array
from math import ceil

from core.job import CANCELLED, COMPLETED, DEAD
from core.times import parse_time

MINUTES = 30


# Seconds over which a speed is measured: the first that hold ENOUGH ends, else all ends since work began.
_WINDOWS = (60.0, 300.0, 900.0, 3600.0)
_ENOUGH = 5
_REST = 60.0  # seconds without an attempt after which work began anew


def jobs_per_second(attempts, now):
    """How fast jobs end, by the last attempts (pairs of start and end in seconds since the epoch, the end None for one that runs): how
    many ended in a window, by its length or, if that is shorter, by the time since work began. 0 if none has ended since."""
    began, ends = now, []
    for start, end in sorted(attempts, key=lambda attempt: now if attempt[1] is None else attempt[1], reverse=True):
        if end is not None and end > now or start > now:
            continue  # the clock was set back
        if end is not None and end < began - _REST:
            break
        began = min(began, start)
        ends += [] if end is None else [end]
    for window in _WINDOWS:
        if now - began <= window:
            break
        recent = sum(1 for end in ends if end >= now - window)
        if recent >= _ENOUGH:
            return recent / window
    return _since(began, ends, now) if ends else 0.0


def _since(began, ends, now):
    """How fast jobs end that have ended since work began. What runs has not ended, and so the time since the last end counts only as far as
    it is longer than one job took: else the speed would fall until each end, and the time that is left grow."""
    took = max(ends) - began
    return len(ends) / max(took, now - began - took / len(ends), 0.001)


def figures(jobs, now):
    """A summary of the jobs (an iterable) at `now` (seconds since the epoch), as an object of plain values. Times are in seconds; run
    time is that of the last attempt; waiting time is from when that could start (the job was added, due or brought back) to its start. A
    cancelled job is no failure. `per_minute` counts the jobs that ended in each of the last MINUTES minutes, the oldest first.
    """
    run_times, waits = array("d"), array("d")
    counts = {COMPLETED: 0, DEAD: 0}
    cancelled = 0
    attempts = 0
    per_minute = [0] * MINUTES
    for job in jobs:
        counts[job.state] += 1
        cancelled += job.state == DEAD and job.reason == CANCELLED
        attempts += job.attempts
        if job.duration is not None:
            run_times.append(job.duration)
            waits.append(max(0.0, parse_time(job.started_at) - parse_time(max(job.created_at, job.run_at or ""))))
        minute = int(now - parse_time(job.updated_at)) // 60 if job.updated_at else MINUTES
        if 0 <= minute < MINUTES:
            per_minute[MINUTES - 1 - minute] += 1
    ended = sum(counts.values())
    return {"completed": counts[COMPLETED], "dead": counts[DEAD],
            "success_rate": counts[COMPLETED] / (ended - cancelled) if ended > cancelled else None,
            "attempts_per_job": attempts / ended if ended else None, "run_time": _spread(run_times), "waiting_time": _spread(waits),
            "per_minute": per_minute, "cancelled": cancelled}


# By what `figures_by` puts jobs together: the word of it for each.
GROUPINGS = {"command": lambda job: job.command, "program": lambda job: job.command.split(None, 1)[0], "group": lambda job: job.group}


def figures_by(name, jobs):
    """What became of the jobs (an iterable) of each command, or what else `name` of GROUPINGS says, as objects of plain values, the worst
    first: by how many failed, then by the median of their run times. `jobs` counts those that were not cancelled."""
    found: dict = {}
    for job in jobs:
        counts, times = found.setdefault(GROUPINGS[name](job), ([0, 0, 0, 0], array("d")))
        cancelled = job.state == DEAD and job.reason == CANCELLED
        counts[0] += not cancelled
        counts[1] += job.state == DEAD and not cancelled
        counts[2] += cancelled
        counts[3] += max(job.attempts - 1, 0)
        if job.duration is not None and not cancelled:
            times.append(job.duration)
    told = [dict(zip((name, "jobs", "failed", "cancelled", "retries", "run_time"), (value, *counts, _spread(times))))
            for value, (counts, times) in found.items()]
    return sorted(told, key=lambda each: (-each["failed"], -(each["run_time"]["p50"] or 0.0)))


def _spread(values):
    ordered = sorted(values)
    return {name: ordered[max(0, ceil(part * len(ordered)) - 1)] if ordered else None
            for name, part in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}
