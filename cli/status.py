"""`status`: how many jobs are in each state, what runs, the workers, the speed."""
from __future__ import annotations

import sys
import time

from cli.facts import group_rows, kinds_text, look
from cli.speed import speed_text
from cli.standing import due_in, running_for
from cli.terminal import (bar, cut, flow, get_width, is_screen, is_terminal, paint_state, print_json, rough_duration, showable, use_color)
from core.errors import hint
from core.job import PENDING, STATES
from core.times import format_duration

_SHOWN = 10  # running jobs, and jobs that a worker waits with, that have a line each
_INDENT = " " * 12  # below the titles
_ENDLESS = sys.maxsize  # columns of a line where there is no window


def cmd_status(args, queue):
    """Count the jobs in each state, and the workers."""
    if args.json:
        print_json(look(queue).facts)
    elif args.watch is not None:
        _watch(args, queue)
    else:
        for line in _status_lines(queue, args):
            print(line)
    return 0


def _watch(args, queue):
    from cli import watching
    if is_screen(sys.stdout):
        watching.watch(queue, args.watch, use_color(args.color))
    else:
        watching.repeat(lambda: _status_lines(queue, args), args.watch)


def _status_lines(queue, args):
    seen, window = look(queue), get_width() if is_terminal(sys.stdout) else _ENDLESS
    return _count_lines(seen.facts, window, use_color(args.color)) + [cut(showable(line), window) for line in _other_lines(seen, window)]


def _count_lines(facts, window, color):
    """How many jobs there are in each state, with bars, and what the pending ones wait for."""
    lines = []
    for name in STATES + ("total",):
        start = "%-10s  %*d" % (name, len(str(facts["total"])), facts[name])
        room = 0 if window == _ENDLESS or name == "total" else min(20, window - len(start) - 2)
        line = cut(start + "  " + bar(facts[name], facts["total"], room) if room > 0 else start, window)
        lines.append(paint_state(line, name) if color else line)
        if name == PENDING and kinds_text(facts):
            lines += flow(kinds_text(facts).split(", "), window, ", ", _INDENT)
    return lines


def _other_lines(seen, window):
    """The workers, what runs, the groups, the speed, the home."""
    facts, now = seen.facts, time.time()
    pids = "  (pid %s)" % ", ".join(map(str, facts["worker_processes"])) if facts["workers"] else ""
    lines = ["workers     %*d%s" % (len(str(facts["total"])), facts["workers"], pids)]
    lines += _first([_of_running(job, facts, now) for job in seen.running])
    lines += _first(["waiting     %s, retry in %s: %s" % (job.id, format_duration(due_in(job, now)), job.command)
                     for of_one in seen.waiting.values() for job in of_one])
    for pieces in group_rows(facts):
        lines += _flowed("group", pieces, window)
    if speed_text(facts):
        lines.append("speed       " + speed_text(facts))
    if facts["paused"]:
        still = ", and the running jobs stand still" if facts["stands_still"] and seen.running else ""
        lines += _flowed("paused", ("yes%s; %s lets workers take jobs again" % (still, hint("resume"))).split(" "), window)
    return lines + ["home        " + facts["home"]]


def _of_running(job, facts, now):
    if job.id in facts["abandoned"]:
        return "abandoned   %s, its worker is dead; the next worker to start runs it again: %s" % (job.id, job.command)
    return "running     %s, for %s: %s" % (job.id, rough_duration(running_for(job, now)), job.command)


def _first(lines):
    """The first _SHOWN of these lines, and how many others there are."""
    return lines[:_SHOWN] + ["%sand %d more" % (_INDENT, len(lines) - _SHOWN)] * (len(lines) > _SHOWN)


def _flowed(title, pieces, window):
    """Pieces of a line in as many lines as they take in a window, behind a title."""
    first, *others = flow([showable(piece) for piece in pieces], window, " ", _INDENT)
    return ["%-12s%s" % (title, first[len(_INDENT):])] + others
