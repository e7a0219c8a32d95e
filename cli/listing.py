"""Commands that show jobs: list, show, stats, dlq list."""
from __future__ import annotations

import os
import time

from cli.context import notice
from cli.terminal import bars, knows_unicode, print_json, print_json_array, table, use_color, when
from core.job import COMPLETED, DEAD
from core.strict_json import encode_json
from helpers import printable, printable_json



def cmd_list(args, queue):
    """Show the jobs, or those that were asked for."""
    jobs = queue.store.jobs(args.state)
    if args.search is not None:
        jobs = (job for job in jobs if args.search in job.command or args.search in job.id)
    if args.sort is not None:
        jobs = sorted(jobs, key=lambda job: (getattr(job, args.sort) is not None, getattr(job, args.sort)), reverse=args.reverse)
    elif args.reverse:
        jobs = reversed(list(jobs))
    if args.limit is not None:
        from itertools import islice
        jobs = islice(jobs, args.limit)
    if args.json:
        print_json_array(job.to_dict() for job in jobs)
    elif args.jsonl:
        for job in jobs:
            print(printable_json(encode_json(job.to_dict()), not knows_unicode()))
    elif args.quiet:
        for job in jobs:
            print(printable(job.id))
    else:
        table(("ID", "STATE", "ATTEMPTS", "UPDATED", "COMMAND"),
              ((job.id, job.state, str(job.attempts), when(job.updated_at, args.utc), job.command) for job in jobs),
              use_color(os.environ, args.color))
    return 0


def cmd_show(args, queue):
    """Print all of a job as JSON."""
    found = queue.store.find(args.id)
    if len(found) > 1:
        notice("%d jobs have the id %r; this is the newest" % (len(found), args.id))
    print_json(dict(found[-1].to_dict(), duration=found[-1].duration))
    return 0


def cmd_stats(args, queue):
    """Figures about the jobs that have ended."""
    from cli.stats import figures
    facts = figures(queue.store.jobs((COMPLETED, DEAD)), time.time())
    if args.json:
        print_json(facts)
        return 0
    if not facts["completed"] + facts["dead"]:
        print("No job has ended yet.")
        return 0
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
        print("  " + bars(facts["per_minute"]))
    return 0


def cmd_dlq_list(args, queue):
    """Show the dead jobs, and why they died."""
    jobs = queue.jobs.dead()
    if args.json:
        print_json_array(job.to_dict() for job in jobs)
        return 0
    table(("ID", "ATTEMPTS", "FAILED", "REASON", "COMMAND"),
          ((job.id, str(job.attempts), when(job.options.get("failed_at") or job.updated_at, args.utc), job.ending, job.command)
           for job in jobs))
    return 0
