"""`status`: how many jobs are in each state, what runs, the workers, the speed."""
from __future__ import annotations

import os
import sys
import time
from math import ceil

from cli.context import abandoned_jobs, visible_workers
from cli.terminal import (bar, display_width, fit, flow, get_width, is_screen, is_terminal, length, paint_state, print_json, showable,
                          use_color)
from core.errors import hint
from core.job import PENDING, STATES
from core.rules import GROUP, HOLD, OTHER_JOBS, PAUSED, RETRY, TIME
from core.times import format_duration, parse_time

_FEW = 500000  # jobs in a queue whose pending ones are looked at for what they wait for: half a second
_FEW_SPECIAL = 20000  # and how many of these may have something to wait for, or a priority
_SHOWN = 10  # running jobs, and jobs that a worker waits with, that have a line each

# What pending jobs are called in JSON and for people, by what they wait for, as their Wait has it.
KINDS = ((None, "ready", "ready"), (RETRY, "retrying", "between attempts"), (TIME, "scheduled", "scheduled"),
         (OTHER_JOBS, "blocked", "after others"), (GROUP, "in_full_groups", "in full groups"),
         (PAUSED, "in_paused_groups", "in paused groups"), (HOLD, "held", "held"))


def cmd_status(args, queue):
    """Count the jobs in each state, and the workers."""
    if args.json:
        print_json(look(queue)[0])
    elif args.watch is not None:
        _watch(args, queue)
    else:
        for line in _status_lines(queue, args):
            print(line)
    return 0


def _watch(args, queue):
    """Show the queue again and again: on the whole screen, or line after line."""
    from cli import watching
    if is_screen(sys.stdout):
        watching.watch(queue, args.watch, use_color(os.environ, args.color))
    else:
        watching.repeat(lambda: _status_lines(queue, args), args.watch)


_NOT_YET = object()


def look(queue, pending=_NOT_YET):
    """What `status` tells: (an object, the running jobs, the jobs that a worker waits with until their retry). `pending` is what a former
    look at all pending jobs found (None: nothing)."""
    from cli.stats import jobs_per_second
    from storage.waits import look_at_pending
    counts, workers, now = queue.store.count(), visible_workers(queue), time.time()
    total = sum(counts.values())
    running = queue.store.running() if counts["processing"] else []
    waiting = [job for of_one in queue.workers.waiting(workers, queue.store).values() for job in of_one]
    rate = jobs_per_second(queue.store.attempts_lately(), now) if workers else 0.0
    if pending is _NOT_YET:
        pending = look_at_pending(queue.store, now, _FEW_SPECIAL) if total <= _FEW else None
    left = counts["pending"] + counts["processing"] - (pending.delayed if pending is not None else 0)
    facts = dict(counts, total=total, workers=sum(worker.count for worker in workers), worker_processes=[worker.pid for worker in workers],
                 paused=queue.store.paused(), jobs_per_minute=float("%.3g" % (60.0 * rate)),
                 seconds_left=ceil(left / rate) if rate and left > 0 else None, home=queue.home,
                 abandoned=[job.id for job in abandoned_jobs(queue, running)], **kinds(counts["pending"], pending),
                 waiting=[job.id for job in waiting])
    return facts, running, waiting


def kinds(number, pending):
    """How many of so many pending jobs there are of each kind, by a Pending, which may be older; None for each if there is none."""
    if pending is None:
        return {key: None for _, key, _ in KINDS}
    others = {key: pending.counts.get(word, 0) for word, key, _ in KINDS[1:]}
    return dict(ready=max(0, number - sum(others.values())), **others)


def kinds_text(facts):
    """The kinds of pending jobs in words, with their numbers; "" if all are ready."""
    if facts["ready"] is None:
        return "what they wait for is not looked at: there are too many" if facts["pending"] else ""
    if facts["ready"] == facts["pending"]:
        return ""
    return ", ".join("%d %s" % (facts[key], said) for _, key, said in KINDS if facts[key])


def speed_text(facts):
    """How fast jobs end, in words; "" if none have ended since work began."""
    rate = facts["jobs_per_minute"]
    if not rate:
        return ""
    number, unit = (rate, "a minute") if rate >= 1 else (round(60 * rate), "an hour")
    fast = "%s job%s %s" % ("%.0f" % number if number >= 10 else "%g" % number, "" if number == 1 else "s", unit)
    return fast + (", %s left at this rate" % format_duration(facts["seconds_left"]) if facts["seconds_left"] else "")


def _status_lines(queue, args):
    """What `status` prints."""
    facts, running, waiting = look(queue)
    color, window = use_color(os.environ, args.color), get_width() if is_terminal(sys.stdout) else 0
    width = len(str(facts["total"]))
    lines = []
    for name in STATES + ("total",):
        start = "%-10s  %*d" % (name, width, facts[name])
        room = min(20, window - len(start) - 2)
        bars_shown = "  " + bar(facts[name], facts["total"], room) if room > 0 and name != "total" else ""
        lines.append(paint_state(_cut(start + bars_shown, window), name, color))
        if name == PENDING and kinds_text(facts):
            lines += flow(kinds_text(facts).split(", "), window or 10000, ", ", " " * 12)
    told = ["%-10s  %*d%s" % ("workers", width, facts["workers"], "  (pid %s)" % ", ".join(map(str, facts["worker_processes"]))
                              if facts["workers"] else "")]
    told += _each("running", [_of_running(job, facts) for job in running])
    told += _each("waiting", ["%s, retry in %s: %s" % (job.id, format_duration(max(0.0, parse_time(job.run_at) - time.time())), job.command)
                              for job in waiting])
    told += ["speed       " + speed_text(facts)] if speed_text(facts) else []
    if facts["paused"]:
        told.append("paused      yes; %s lets workers take jobs again" % hint("resume"))
    told.append("home        %s" % queue.home)
    return lines + [_cut(showable(line), window) for line in told]


def _of_running(job, facts):
    if job.id in facts["abandoned"]:
        return "abandoned   %s, its worker is dead; the next worker to start runs it again: %s" % (job.id, job.command)
    return "%s, for %s: %s" % (job.id, length(max(0.0, time.time() - parse_time(job.started_at or job.updated_at))), job.command)


def _each(title, texts):
    """A line for each of these texts, up to _SHOWN of them."""
    lines = [text if text.startswith("abandoned   ") else "%-10s  %s" % (title, text) for text in texts[:_SHOWN]]
    return lines + ["            and %d more" % (len(texts) - _SHOWN)] * (len(texts) > _SHOWN)


def _cut(line, window):
    return fit(line, window).rstrip() if window and display_width(line) > window else line
