"""`status`: how many jobs are in each state, what runs, the workers, the speed."""
from __future__ import annotations

import os
import sys
import time
from math import ceil

from cli.context import abandoned_jobs, visible_workers
from cli.terminal import bar, display_width, fit, get_width, is_terminal, length, paint_state, print_json, showable, use_color, watch
from core.errors import hint
from core.job import STATES
from core.times import parse_time

_FEW = 200000  # pending jobs that are looked at for the time that is left; where there are more, all count as due


def cmd_status(args, queue):
    """Count the jobs in each state, and the workers."""
    if args.json:
        facts = _status(queue)
        del facts["running_jobs"]
        print_json(facts)
    elif args.watch is not None:
        watch(lambda: _status_lines(queue, args), args.watch)
    else:
        for line in _status_lines(queue, args):
            print(line)
    return 0


def _status(queue):
    """What `status` tells, as an object; `running_jobs` are Jobs."""
    from cli.stats import jobs_per_second
    counts = queue.store.count()
    running = visible_workers(queue)
    now = time.time()
    jobs = queue.store.running() if counts["processing"] else []
    abandoned = abandoned_jobs(queue, jobs)
    rate = jobs_per_second(queue.store.attempts_lately(), now) if running else 0.0
    pending = counts["pending"]
    if rate and 0 < pending <= _FEW:
        pending -= min(pending, queue.store.count_delayed(now))
    left = pending + counts["processing"]
    return dict(counts, total=sum(counts.values()), workers=sum(worker.count for worker in running),
                worker_processes=[worker.pid for worker in running], paused=queue.store.paused(), jobs_per_minute=round(60.0 * rate, 1),
                seconds_left=ceil(left / rate) if rate and left else None, home=queue.home,
                abandoned=[job.id for job in abandoned], running_jobs=jobs)


def _status_lines(queue, args):
    """What `status` prints."""
    facts = _status(queue)
    color, window = use_color(os.environ, args.color), get_width() if is_terminal(sys.stdout) else 0
    width = len(str(facts["total"]))
    lines = []
    for name in STATES + ("total",):
        start = "%-10s  %*d" % (name, width, facts[name])
        room = min(20, window - len(start) - 2)
        bars_shown = "  " + bar(facts[name], facts["total"], room) if room > 0 and name != "total" else ""
        lines.append(paint_state(_cut(start + bars_shown, window), name, color))
    told = ["%-10s  %*d%s" % ("workers", width, facts["workers"], "  (pid %s)" % ", ".join(map(str, facts["worker_processes"]))
                              if facts["workers"] else "")]
    for job in facts["running_jobs"][:10]:
        since = length(max(0.0, time.time() - parse_time(job.started_at or job.updated_at)))
        if job.id in facts["abandoned"]:
            told.append("abandoned   %s, its worker is dead; the next worker to start runs it again: %s" % (job.id, job.command))
        else:
            told.append("running     %s, for %s: %s" % (job.id, since, job.command))
    if len(facts["running_jobs"]) > 10:
        told.append("            and %d more" % (len(facts["running_jobs"]) - 10))
    if facts["jobs_per_minute"]:
        left = ", %s left at this rate" % length(facts["seconds_left"]) if facts["seconds_left"] else ""
        told.append("speed       %g jobs a minute%s" % (facts["jobs_per_minute"], left))
    if facts["paused"]:
        told.append("paused      yes; %s lets workers take jobs again" % hint("resume"))
    told.append("home        %s" % queue.home)
    return lines + [_cut(showable(line), window) for line in told]


def _cut(line, window):
    return fit(line, window).rstrip() if window and display_width(line) > window else line
