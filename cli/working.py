"""The commands about worker processes: worker start, stop, list. And what `worker start` shows: its line at the bottom, its summary."""
from __future__ import annotations

import os
import sys
import time
from collections import deque
from math import ceil

from cli.context import WHO_ENDS, abandoned_jobs, hint_to_resume, named_groups, notice, tell_of_pause, visible_workers
from cli.own_job import is_in_on_finish, refuse_in_job
from cli.progress import Progress, done_text
from cli.standing import due_in
from cli.terminal import (counted, cut, display_width, get_width, is_terminal, last_line, one_line, print_json, rough_duration,
                          short_duration, showable, table, when)
from core.errors import EXIT_TIMEOUT, QueueError, hint, typed
from core.home import check_safe, worker_log_path
from core.rules import RETRY
from core.strict_json import encode_json
from core.system import quote_words
from helpers import printable

_LOOKED_AT = 5000  # pending jobs that are looked at each second for those that are not due; where there are more, all count as due
_SHORT = 60  # characters of a command in the summary
_LINE = 200  # and of the last line of its output


def cmd_worker_start(args, queue):
    """Be a worker process, or start one in the background."""
    from core.file_systems import remote_file_system
    from worker_manager import check_open_files
    queue.establish()
    warning = check_safe(queue.home, lambda: queue.store.settings.trust_home)
    if warning:
        notice("warning: " + warning)
    check_open_files(args.count)
    if args.drain:
        _refuse_paused(args.group, queue.store)
    if args.drain and not args.detach:
        refuse_in_job(queue, "worker start --drain", "add --detach, or name another queue by --home")
    if queue.store.paused():
        tell_of_pause()
    queue.store.count()  # what is broken is better said now than by a worker that waits for its repair
    with queue.store.lock:
        pass  # so is what cannot be written
    remote = remote_file_system(queue.home)
    if remote:
        notice("warning: %s is on a file system of another machine (%s), where locks may not hold; run workers and commands on one machine "
               "alone, better with --home on a disk of its own" % (queue.home, remote))
    return _detach(args, queue) if args.detach else _work(args, queue)


def _refuse_paused(groups, store):
    """Raise QueueError if a drain of these groups (None: all) would do nothing."""
    if store.paused():
        raise QueueError("the queue is paused, so that nothing would be drained; %s first" % hint("resume"))
    paused = [group for group in groups or () if group in store.paused_groups()]
    if groups and len(paused) == len(groups):
        raise QueueError("%s %s paused, so that nothing would be drained; %s first"
                         % (named_groups(paused), "is" if len(paused) == 1 else "are", hint_to_resume(paused)))


def _crew(args):
    return counted(args.count, "worker") + (" for " + named_groups(args.group) if args.group else "")


def _detach(args, queue):
    command = [sys.executable, _program(), "--home", queue.home, "worker", "start", "--count", str(args.count)]
    command += [] if args.runner is None else ["--runner", encode_json(args.runner)]
    command += ["--group=" + group for group in args.group or ()]
    command += ["--drain"] * args.drain + ["--quiet"] * args.quiet
    of_no_job = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
    pid = queue.workers.detach(command, of_no_job)
    if not args.quiet:
        print(printable("Worker process %d started: %s, home %s, log %s" % (pid, _crew(args), queue.home, worker_log_path(queue.home))))
    return 0


def _work(args, queue):
    if not args.quiet:
        print(printable("Worker process %d: %s, home %s. Ctrl+C or %s ends it."
                        % (os.getpid(), _crew(args), queue.home, hint("worker stop"))))
        sys.stdout.flush()
    with Progress(below=not args.quiet) as progress:
        screen = _Screen(queue.store, progress) if progress.is_shown and not args.quiet else None
        code, account = queue.workers.start(queue.store, args.count, args.drain, os.environ, args.runner, args.quiet, screen, args.group)
    if account.dead or not args.quiet:
        _print_summary(queue, account)
    return code


class _Screen:
    """What a worker process shows on a terminal besides its log."""

    def __init__(self, store, progress):
        self._store = store
        self._progress = progress
        self._ends = deque(maxlen=60)  # (moment, how many jobs had ended then), one a second

    def name(self, job):
        """How a line of the log names a job: by its id, and the start of its command."""
        room = max(12, get_width() - display_width(job.id) - 50)
        return "%s (%s)" % (job.id, cut(showable(one_line(job.command)), room))

    def show(self, account, running):
        """Show how far the queue is."""
        from storage.waits import look_at_pending
        counts, now = self._store.count(), time.monotonic()
        pending, done, soonest, kept = counts["pending"], account.completed + account.dead, None, None
        looked = look_at_pending(self._store, time.time(), _LOOKED_AT) if 0 < pending <= _LOOKED_AT else None
        if looked is not None:
            pending -= min(pending, looked.delayed)
            soonest = min((wait.due_in for _, wait in looked.found if wait.due_in is not None), default=None)
            retries = [(wait.due_in, job.id) for job, wait in looked.found if wait.waits_for == RETRY and not running]
            kept = min(retries, default=None) if self._store.settings.retry_in_place else None
        self._ends.append((now, done))
        then, before = self._ends[0]
        rate = (done - before) / (now - then) if now > then else 0.0
        self._progress.say(progress_text(done, pending + counts["processing"], running, rate, self._store.paused(),
                                         counts["pending"] - pending, soonest, kept))


def progress_text(done, left, running, rate, paused, later, soonest=None, kept=None):
    """The line that a worker process shows: how many jobs it has `done`, how many are `left` that could run, and run; the `rate` (jobs a
    second); how many are to run `later`, the `soonest` in how many seconds; the job that it waits with (seconds until its retry, id)."""
    if kept is not None and not running and not paused:
        others = "; %s after that" % counted(left, "job") if left else ""
        return "waiting with %s, retry in %s%s" % (kept[1], short_duration(ceil(kept[0])), others)
    if running or (left and not paused):
        speed = ", %.1f a second" % rate if rate else ""
        return done_text(done, done + left) + (", %d running" % running if running else "") + speed
    if paused:
        return "paused: %s lets workers take jobs again" % hint("resume")
    when = ", the next in %s" % short_duration(ceil(soonest)) if soonest is not None else ""
    return "no job to run now%s; waiting for more" % (", %d later%s" % (later, when) if later else "")


def _print_summary(queue, account):
    """Print what a worker process has done. It may have outlived its terminal, or the reader of its pipe, which is no fault."""
    from storage.output import last_words
    outputs = [last_words(queue.home, job) for job in account.died]
    try:
        for line in summary(account, outputs):
            print(printable(line))
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def summary(account, outputs):
    """The lines that tell what a worker process has done, by its Account; `outputs` are the last lines of the jobs that died, in order."""
    parts = [(account.completed, "completed"), (account.dead, "dead"), (account.taken_away, "cancelled"),
             (account.unfinished, "to run again")]
    total = sum(number for number, _ in parts)
    if not total:
        return ["No job was run."]
    lines = ["%s in %s: %s" % (counted(total, "job"), _took(account.seconds), ", ".join("%d %s" % part for part in parts if part[0]))]
    for job, output in zip(account.died, outputs):
        last = last_line(output).strip()
        lines.append("  %s (%s): %s%s" % (job.id, _shortened(one_line(job.command), _SHORT), job.ending or job.reason,
                                          ": " + _shortened(last, _LINE) if last else ""))
        lines.append("    " + typed("logs" if last else "show", job.id))
    if account.dead > len(account.died):
        lines.append("  and %d more; %s shows all" % (account.dead - len(account.died), hint("dlq list")))
    return lines


def _took(seconds):
    """A length of time in words: `0.4 s`, `6 s`, `12 min`, `3 h`."""
    if seconds < 10:
        return ("%.1f" % seconds).replace(".0", "") + " s"
    return "%d s" % seconds if seconds < 120 else "%d min" % (seconds // 60) if seconds < 7200 else "%d h" % (seconds // 3600)


def _shortened(text, most):
    return text if len(text) <= most else text[:most - 3] + "..."


def _program():
    """What Python runs as this program: main.py, or the archive that holds it (`python3 -m zipapp`)."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "main.py")
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def cmd_worker_stop(args, queue):
    """Ask all worker processes to end, and wait until they have."""
    if args.timeout is None and not args.no_wait:
        way_out = "with --no-wait it only asks: the workers end once their jobs have"
        if not args.now:
            refuse_in_job(queue, "worker stop", way_out)
        if is_in_on_finish(queue):
            raise QueueError("worker stop inside of on_finish would wait for the worker that waits for it; %s" % way_out)
    if not args.now:
        _tell_of_what_stands_still(queue)
    stopped, left = queue.workers.stop(args.now, 0 if args.no_wait else args.timeout)
    if args.no_wait and left:
        print("Asked %s to stop." % counted(len(stopped) + len(left), "worker process", "es"))
        return 0
    if left:
        notice("after %g s %s still run%s (pid %s)%s" % (args.timeout, counted(len(left), "worker process", "es"),
               "s" if len(left) == 1 else "", ", ".join(str(worker.pid) for worker in left),
               "" if args.now else "; %s ends the jobs they wait for" % hint("worker stop --now")))
        return EXIT_TIMEOUT
    print("Stopped %s." % counted(len(stopped), "worker process", "es") if stopped else "No worker is running.")
    return 0


def _tell_of_what_stands_still(queue):
    """Say on stderr if the workers wait for jobs that stand still by a pause, and what helps."""
    running = queue.store.running() if queue.store.pauses.stops_running() and queue.workers.running() else ()
    if running:
        stand, them = ("stands", "it") if len(running) == 1 else ("stand", "them")
        notice("%s %s still, and the workers wait for %s; %s lets %s go on, %s ends %s"
               % (counted(len(running), "job"), stand, them, hint("resume"), them, hint("worker stop --now"), them))


def _row(worker, running, waiting, utc):
    """The cells of a worker process. The jobs whose retry it waits for stand with those that it runs, in a pipe in a cell of their own."""
    if is_terminal(sys.stdout):
        retries = ["%s (retry in %s)" % (job.id, rough_duration(due_in(job, time.time()))) for job in waiting]
        does = [" ".join(running + retries) or "-"]
    else:
        does = [" ".join(running) or "-", " ".join(job.id for job in waiting) or "-"]
    groups = quote_words(worker.groups) if worker.groups else "-"
    return [str(worker.pid), str(worker.count), when(worker.started_at, utc), *does, groups]


def as_objects(workers, running, waiting):
    """Worker processes as `worker list --json` prints them; by their tokens, the ids of the jobs that run, and the jobs they wait with."""
    return [{"pid": worker.pid, "workers": worker.count, "started_at": worker.started_at, "running": running.get(worker.process_token, []),
             "waiting": [job.id for job in waiting.get(worker.process_token, ())], "groups": worker.groups} for worker in workers]


def cmd_worker_list(args, queue):
    """Show the worker processes and what each runs."""
    jobs = queue.store.running()
    running, workers, abandoned = queue.workers.ids_by_process(jobs), visible_workers(queue), abandoned_jobs(queue, jobs)
    waiting = queue.workers.waiting(workers, queue.store)
    if args.json:
        print_json(as_objects(workers, running, waiting))
        return 0
    if not workers:
        notice("no worker is running; %s starts one" % hint("worker start"))
    if abandoned:
        notice("the worker of %s is dead; %s what is left of it and runs it again"
               % (", ".join(repr(job.id) for job in abandoned[:5]) + " and others" * (len(abandoned) > 5), WHO_ENDS[bool(workers)]))
    rows = [_row(worker, running.get(worker.process_token, []), waiting.get(worker.process_token, ()), args.utc) for worker in workers]
    headers = ["PID", "WORKERS", "STARTED", "RUNNING", "GROUPS"]
    is_grouped = any(worker.groups for worker in workers)
    if is_terminal(sys.stdout) and is_grouped:  # what runs may be long, and both are to be seen
        for row in rows:
            row[3] = cut(showable(row[3]), max(16, get_width() // 3))
    elif is_terminal(sys.stdout):
        headers, rows = headers[:4], [row[:4] for row in rows]
    table(headers, rows, kept="RUNNING" if is_grouped else None)
    return 0
