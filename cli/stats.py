"""`stats`: figures about jobs that have ended: how many succeed, how long they run and wait, how many end each minute."""
from __future__ import annotations

import sys
import time
from array import array
from math import ceil

from cli.choosing import ago
from cli.terminal import chart, is_terminal, print_json, print_json_array, short_duration, table
from core.errors import UsageError
from core.job import CANCELLED, COMPLETED, DEAD
from core.times import parse_time

MINUTES = 30


def cmd_stats(args, queue):
    """Figures about the jobs that have ended."""
    if args.prometheus and (args.by is not None or args.since is not None):
        raise UsageError("--prometheus prints all figures; it goes with neither --by nor --since")
    if args.prometheus:
        from cli.metrics import print_exposition
        print_exposition(queue)
        return 0
    since = ago(args.since)
    jobs = (job for job in queue.store.jobs((COMPLETED, DEAD), groups=args.group)
            if (job.updated_at or job.created_at) >= since)
    if args.by is not None:
        return _print_by(args, figures_by(args.by, jobs))
    facts = figures(jobs, time.time())
    if args.json:
        print_json(facts)
    elif facts["completed"] + facts["dead"]:
        _print_figures(facts)
    else:
        print("No job has ended %s." % ("yet" if args.since is None else "in this time"))
    return 0


def _print_by(args, found):
    if args.json:
        print_json_array(found)
        return 0
    rows = [(each["jobs"], each["failed"], each["run_time"]["p50"], each[args.by]) for each in found if each["jobs"]]
    length = short_duration if is_terminal(sys.stdout) else "{:.2f}".format
    table(("JOBS", "FAILED", "MEDIAN", args.by.upper()),
          ((str(jobs), str(failed), "-" if median is None else length(median), name or "-") for jobs, failed, median, name in rows))
    return 0


def _print_figures(facts):
    failed, cancelled = facts["dead"] - facts["cancelled"], facts["cancelled"]
    rate = "-" if facts["success_rate"] is None else "%.1f %%" % (100 * facts["success_rate"])
    print("%-13s %s  (%d completed, %d dead%s)" % ("success", rate, facts["completed"], failed,
                                                  ", %d cancelled" % cancelled if cancelled else ""))
    print("%-13s %.2f a job" % ("attempts", facts["attempts_per_job"]))
    for name, title in (("run_time", "run time"), ("waiting_time", "waiting time")):
        if facts[name]["max"] is not None:
            print("%-13s %s" % (title, "  ".join("%s %.2f s" % pair for pair in facts[name].items())))
    most = max(facts["per_minute"])
    if most:
        print("ended in each of the last %d minutes, %d at the most:" % (len(facts["per_minute"]), most))
        print("  " + chart(facts["per_minute"]))


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
