"""The commands about worker processes: worker start, stop, list."""
from __future__ import annotations

import os
import sys

from cli.context import WHO_ENDS, abandoned_jobs, is_same_folder, notice, refuse_in_job
from cli.terminal import counted, print_json, table, when
from core.errors import EXIT_TIMEOUT, QueueError, hint
from core.strict_json import encode_json
from helpers import printable


def cmd_worker_start(args, queue):
    """Be a worker process, or start one in the background."""
    from core.file_systems import remote_file_system
    from core.home import check_safe, worker_log_path
    from worker_manager import check_open_files
    queue.establish()
    warning = check_safe(queue.home, lambda: queue.store.settings.trust_home)
    if warning:
        notice("warning: " + warning)
    check_open_files(args.count)
    if args.drain and queue.store.paused():
        raise QueueError("the queue is paused, so that nothing would be drained; %s first" % hint("resume"))
    if args.drain and not args.detach:
        refuse_in_job(queue, "worker start --drain", "add --detach, or name another queue by --home")
    queue.store.count()  # what is broken is better said now than by a worker that waits for its repair
    remote = remote_file_system(queue.home)
    if remote:
        notice("warning: %s is on a file system of another machine (%s), where locks may not hold; run workers and commands on one machine "
               "alone, better with --home on a disk of its own" % (queue.home, remote))
    workers = counted(args.count, "worker")
    if args.detach:
        command = [sys.executable, _program(), "--home", queue.home, "worker", "start", "--count", str(args.count)]
        command += [] if args.runner is None else ["--runner", encode_json(args.runner)]
        pid = queue.workers.detach(command + ["--drain"] * args.drain, _without_job(os.environ))
        print(printable("Worker process %d started: %s, home %s, log %s" % (pid, workers, queue.home, worker_log_path(queue.home))))
        return 0
    print(printable("Worker process %d: %s, home %s. Ctrl+C or %s ends it." % (os.getpid(), workers, queue.home, hint("worker stop"))))
    sys.stdout.flush()
    return queue.workers.start(queue.store, args.count, args.drain, os.environ, args.runner)


def _program():
    """What Python runs as this program: main.py, or the archive that holds it (`python3 -m zipapp`)."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "main.py")
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _without_job(environ):
    """An environment without what tells a job's processes from others."""
    return {name: value for name, value in environ.items() if not name.startswith("QUEUECTL_")}


def cmd_worker_stop(args, queue):
    """Ask all worker processes to end, and wait until they have."""
    if args.timeout is None and not args.no_wait:
        way_out = "with --no-wait it only asks: the workers end once their jobs have"
        if not args.now:
            refuse_in_job(queue, "worker stop", way_out)
        if os.environ.get("QUEUECTL_STATE") and is_same_folder(os.environ.get("QUEUECTL_HOME", ""), queue.home):
            raise QueueError("worker stop inside of on_finish would wait for the worker that waits for it; %s" % way_out)
    stopped, left = queue.workers.stop(args.now, 0 if args.no_wait else args.timeout)
    if args.no_wait and left:
        print("Asked %s to stop." % counted(len(stopped) + len(left), "worker process", "es"))
        return 0
    if left:
        notice("after %g s %s still run%s (pid %s)%s" % (args.timeout, counted(len(left), "worker process", "es"),
               "s" if len(left) == 1 else "", ", ".join(str(worker.pid) for worker in left),
               "" if args.now else "; %s ends the jobs they wait for" % hint("worker stop --now")))
        return EXIT_TIMEOUT
    print("Stopped %s." % counted(len(stopped), "worker process", "es") if stopped
          else "No worker is running.")
    return 0


def cmd_worker_list(args, queue):
    """Show the worker processes and what each runs."""
    jobs = queue.store.running()
    running, workers, abandoned = queue.workers.ids_by_process(jobs), queue.workers.running(), abandoned_jobs(queue, jobs)
    if args.json:
        print_json([{"pid": worker.pid, "workers": worker.count, "started_at": worker.started_at,
                      "running": running.get(worker.process_token, [])} for worker in workers])
        return 0
    if not workers:
        notice("no worker is running; %s starts one" % hint("worker start"))
    if abandoned:
        notice("the worker of %s is dead; %s what is left of it and runs it again"
               % (", ".join(repr(job.id) for job in abandoned[:5]) + " and others" * (len(abandoned) > 5), WHO_ENDS[bool(workers)]))
    table(("PID", "WORKERS", "STARTED", "RUNNING"),
          ((str(worker.pid), str(worker.count), when(worker.started_at, args.utc), " ".join(running.get(worker.process_token, ["-"])))
           for worker in workers))
    return 0
