"""Commands that look: list, show, status, stats, logs, wait, dlq list."""
from __future__ import annotations

import os
import sys
import time
from math import ceil

from cli.context import abandoned_jobs, notice, refuse_in_job
from cli.terminal import (Follower, Progress, bar, bars, copy_to_stdout, counted, display_width, fit, get_width, is_terminal,
                          knows_unicode, length, paint_state, print_json, print_json_array, showable, table, use_color, watch, when)
from core.errors import EXIT_FAILED, EXIT_TIMEOUT, EXIT_UNKNOWN, QueueError, UsageError
from core.job import COMPLETED, DEAD, PENDING, STATES
from core.order import jobs_meant
from core.strict_json import encode_json
from core.system import quote_words
from core.times import parse_time
from helpers import printable, printable_json

_FEW = 200000  # pending jobs that are looked at for the time that is left; where there are more, all count as due
_LOOK_AGAIN = 0.1  # seconds between two looks at a job that is waited for


def _held_up_by(queue, own):
    """The keys of the jobs that cannot end before this running one: itself, and those that come after it. While it runs it is meant by
    all that name its id (`jobs_meant`), also by those that were added before it."""
    keys, ids = {own.key}, {own.id}
    later = list(queue.store.jobs((PENDING,), b', "after": '))
    while True:
        found = [job for job in later if job.key not in keys and not ids.isdisjoint(job.after)]
        if not found:
            return keys
        keys.update(job.key for job in found)
        ids.update(job.id for job in found)


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
    running = queue.workers.running()
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
        told.append("paused      yes; 'queuectl resume' lets workers take jobs again")
    told.append("home        %s" % queue.home)
    return lines + [_cut(showable(line), window) for line in told]


def _cut(line, window):
    return fit(line, window).rstrip() if window and display_width(line) > window else line


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


def cmd_logs(args, queue):
    """Print what a job wrote, byte for byte."""
    from storage.output import logs_of
    job = queue.store.find(args.id)[-1] if args.id is not None else _latest(queue.store)
    if args.follow and (args.attempt is not None or args.all):
        raise UsageError("-f follows from the newest attempt on; it goes with neither --attempt nor --all")
    if args.follow:
        refuse_in_job(queue, "logs -f", "without -f it prints what there is so far", lambda own: job.key in _held_up_by(queue, own))
        return _follow(args, queue, job)
    logs = kept = logs_of(queue.home, job)
    if not args.all:
        wanted = job.attempts if args.attempt is None else args.attempt
        logs = [log for log in kept if log.life is None and log.attempt == wanted]
    if not logs:
        _tell_of_nothing(job, kept)
    for log in logs:
        if args.all:
            life = "" if log.life is None else " before retry %d" % log.life
            print("==> %s, attempt %d%s <==" % (printable(job.id), log.attempt, life))
        copy_to_stdout(log.path, args.lines)
    return 0


def _tell_of_nothing(job, kept):
    """Say that a job has no output, if these are the only Logs of it."""
    since = " since it was brought back" if any(log.life is not None for log in kept) else ""
    unrun = "" if job.attempts else "; it has not run yet" if not since else "; it has not run since"
    others = "; 'queuectl logs %s --all' prints what other attempts wrote" % quote_words([job.id]) if kept else ""
    notice("%r has written nothing%s%s%s" % (job.id, since, unrun, others))


def _follow(args, queue, job):
    """Print what a job writes until it has ended: 0 if it completed, 1 if it died or is gone."""
    from storage.output import log_path
    attempt, lines, follower = 0, args.lines, None
    while True:
        now = queue.store.refresh(job)
        for number in range(attempt or job.attempts, (now or job).attempts + 1):  # also those that began and ended meanwhile
            if number and number != attempt:
                if follower is not None:
                    follower.copy()
                    follower.close()
                attempt, follower = number, Follower(log_path(queue.home, job, number))
        if follower is not None:
            follower.copy(lines)
            lines = None
        if now is None or now.state in (COMPLETED, DEAD):
            return 0 if now is not None and now.state == COMPLETED else EXIT_FAILED
        job = now
        time.sleep(_LOOK_AGAIN)


class _NamedJobs:
    """The jobs that a `wait` names: which have not ended, and how the others ended, as they were last seen."""

    def __init__(self, store, jobs):
        self._store = store
        self._waiting = [job for job in jobs if job.state not in (COMPLETED, DEAD)]
        self.died = any(job.state == DEAD for job in jobs)
        self.removed: list = []  # the ids of those that were gone before they were seen to end

    def look(self):
        """How many have not ended."""
        now = self._store.refresh_all(self._waiting)
        self.died = self.died or any(job is not None and job.state == DEAD for job in now)
        self.removed += [was.id for was, job in zip(self._waiting, now) if job is None]
        self._waiting = [job for job in now if job is not None and job.state not in (COMPLETED, DEAD)]
        return len(self._waiting)


class _AllJobs:
    """All jobs of the queue: how many have not ended, and whether one died that was not dead at first. The clock has no say in that."""

    removed = ()

    def __init__(self, store):
        self._store = store
        self.died = False
        self._deaths = self._look_at_deaths()

    def _look_at_deaths(self):
        return {(job.key, job.updated_at) for job in self._store.jobs((DEAD,))}

    def look(self):
        """How many have not ended."""
        counts = self._store.count()
        if not self.died:
            self.died = not self._look_at_deaths() <= self._deaths
        return counts["pending"] + counts["processing"]


def cmd_wait(args, queue):
    """Wait until jobs have ended: 0 if all completed, 1 if some died, 4 if some were removed meanwhile, 124 if it took too long."""
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    named = [job for of_one in queue.store.find_all(args.ids) for job in jobs_meant(of_one)]
    if deadline is None:
        refuse_in_job(queue, "wait" if args.ids else "wait without ids", "name jobs that do not come after it, or give a --timeout",
                       lambda own: not args.ids or not _held_up_by(queue, own).isdisjoint(job.key for job in named))
    jobs = _NamedJobs(queue.store, named) if args.ids else _AllJobs(queue.store)
    _remind_of_workers(queue)
    mark, left = None, 1
    with Progress() as progress:
        while True:
            changed, mark = queue.store.changed_since(mark)
            left = jobs.look() if changed else left
            if not left:
                break
            progress.show(left)
            if deadline is not None and time.monotonic() >= deadline:
                progress.clear()
                notice("%s still unfinished after %g s" % (counted(left, "job"), args.timeout))
                return EXIT_TIMEOUT
            time.sleep(_LOOK_AGAIN)
    for job_id in jobs.removed:
        notice("%r was removed; how it ended is not known" % job_id)
    return EXIT_FAILED if jobs.died else EXIT_UNKNOWN if jobs.removed else 0


def _remind_of_workers(queue):
    if is_terminal(sys.stderr) and not queue.workers.running():
        notice("no worker is running; 'queuectl worker start' runs what is in the queue")


def _latest(store):
    latest = max((job for job in store.jobs() if job.started_at), key=lambda job: job.started_at, default=None)
    if latest is None:
        raise QueueError("no job has run yet; 'queuectl worker start' runs those in the queue")
    return latest


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
