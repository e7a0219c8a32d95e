"""Commands that show jobs: list, show, dlq list."""
from __future__ import annotations

import sys
import time
from collections import deque
from itertools import islice

from cli.choosing import ago, called, found_by
from cli.context import abandoned_jobs, notice
from cli.standing import details, died_at, ending, standing
from cli.terminal import (age, cut, get_width, is_terminal, json_line, last_line, print_json, print_json_array, showable, table,
                          use_color, when)
from core.rules import states_meant
from helpers import printable
from storage.naming import find_named
from storage.waits import Waits

_NAMESAKES = 10  # jobs with the same id that `show` lists, the newest


def cmd_list(args, queue):
    """Show the jobs, or those that were asked for."""
    jobs = found_by(queue.store.jobs(states_meant(args.state), groups=args.group), args.search)
    if args.sort is not None:
        jobs = sorted(jobs, key=lambda job: _rank(job, args.sort), reverse=args.reverse)
    elif args.reverse:
        jobs = reversed(list(jobs))
    with_waits = args.json or args.jsonl or (is_terminal(sys.stdout) and not args.quiet)
    _print_jobs(args, queue, islice(called(queue.store, jobs, args.state, with_waits), args.limit))
    return 0


def _rank(job, field):
    """What jobs are sorted by: nothing comes before something, and a high priority before a low one."""
    value = getattr(job, field)
    return (value is not None, value) if field != "priority" else -value


def _print_jobs(args, queue, pairs):
    settings, now = queue.store.settings, time.time()
    if args.json:
        print_json_array(details(job, wait, settings) for job, wait in pairs)
    elif args.jsonl:
        for job, wait in pairs:
            print(json_line(details(job, wait, settings)))
    elif args.quiet:
        for job, _ in pairs:
            print(printable(job.id))
    else:
        has_window = is_terminal(sys.stdout)
        lost = {job.key for job in abandoned_jobs(queue, queue.store.running())} if has_window else ()
        unmanned = has_window and not queue.workers.running()
        rows = ((job.id, job.state, standing(job, wait, settings, now, job.key in lost, unmanned) if has_window else str(job.attempts),
                 when(job.updated_at, args.utc), job.command) for job, wait in pairs)
        table(("ID", "STATE", "DETAIL", "UPDATED", "COMMAND"), rows, use_color(args.color), kept="DETAIL")


def cmd_show(args, queue):
    """Print all of a job as JSON."""
    found = find_named(queue.store, args.id)
    settings, now = queue.store.settings, time.time()
    pairs = list(Waits(queue.store, now).each(found))
    if len(found) > 1:
        notice("%d jobs have the id %r; this is the newest" % (len(found), args.id))
        for number, (job, wait) in list(enumerate(pairs, 1))[-_NAMESAKES:]:
            notice("%s@%d was added %s: %s, %s" % (job.id, number, age(job.created_at, now), job.state, standing(job, wait, settings, now)))
    newest, wait = pairs[-1]
    shown = details(newest, wait, settings)
    if newest.kept_env:  # the values may be passwords
        shown["kept_env"] = newest.kept_env if args.env else "%s (--env prints the values)" % ", ".join(sorted(newest.kept_env))
    print_json(shown)
    return 0


def cmd_dlq_list(args, queue):
    """Show the dead jobs, and why they died."""
    since = ago(args.since)
    found = (job for job in queue.jobs.dead() if died_at(job) >= since
             and (args.search is None or args.search in "\n".join((job.id, job.command, _output(job)))))
    jobs = found if args.limit is None else deque(found, args.limit)
    if args.json:
        print_json_array(job.to_dict() for job in jobs)
    elif is_terminal(sys.stdout):
        settings, room = queue.store.settings, max(16, get_width() // 4)  # for a command: the rest is for what was written last
        table(("ID", "DIED", "REASON", "COMMAND", "LAST LINE"),
              ((job.id, when(died_at(job), args.utc), ending(job, settings), cut(showable(job.command), room),
                last_line(_output(job)).rstrip()) for job in jobs), kept="REASON")
    else:
        table(("ID", "ATTEMPTS", "FAILED", "REASON", "COMMAND"),
              ((job.id, str(job.attempts), when(died_at(job), args.utc), job.ending, job.command) for job in jobs))
    return 0


def _output(job):
    return str(job.options.get("output") or "")
