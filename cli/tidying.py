"""Commands that remove jobs: dlq purge, clean, remove, reset."""
from __future__ import annotations

import os
import time

from cli.choosing import ago
from cli.context import refuse_in_job
from cli.terminal import counted
from core.errors import JobNotFound, JobRefused, QueueError, StorageFault, UsageError, fault_text, hint, typed
from core.home import logs_folder
from core.job import DEAD, PROCESSING
from core.locks import is_held
from core.system import remove_file
from storage.naming import find_all_named
from storage.selection import Choice

_SAFE_AGE = 3600.0  # seconds


def _remove_output(queue, jobs):
    from storage.output import remove_logs
    remove_logs(queue.home, jobs)


def _removed(queue, jobs):
    print("Removed %s." % counted(len(jobs), "job"))
    try:
        _remove_output(queue, jobs)
    except OSError as error:
        raise QueueError("the jobs are removed, but not all of their output: %s" % fault_text(error)) from None
    return 0


def cmd_dlq_purge(args, queue):
    """Remove dead jobs for good."""
    if bool(args.ids) == args.all:
        raise UsageError("say which jobs: ids, or --all")
    return _clean(args, queue, (DEAD,))


def cmd_clean(args, queue):
    """Remove finished jobs and their output."""
    code = _clean(args, queue, args.state)
    if not args.ids:
        try:
            removed = _remove_leftovers(queue, args.older_than or 0)
        except OSError as error:
            raise QueueError("the jobs are removed, but not all that is left over: %s" % fault_text(error)) from None
        if removed:
            print("Removed %s that belonged to no job." % counted(removed, "file"))
    return code


def _remove_leftovers(queue, age):
    """Remove the output of jobs that are gone, and what killed worker processes left, that is so many seconds old, and held open by nobody;
    how many files that were. While workers run it must be old, since an editor may just be saving the jobs that it belongs to."""
    from storage.output import stray_logs
    before = time.time() - max(age, _SAFE_AGE if queue.workers.running() else 0)
    removed = 0
    for path in stray_logs(queue.home, queue.store.all_jobs()) + queue.workers.leftovers():
        try:
            is_old = os.lstat(path).st_mtime <= before
        except FileNotFoundError:
            continue
        if is_old and (path.endswith(".wake") or not is_held(path)):
            remove_file(path)
            removed += 1
    return removed


def _clean(args, queue, states):
    choice = Choice(args.ids or None, before=ago(args.older_than) or None)
    try:
        jobs = queue.jobs.clean(states, choice, lambda jobs: _remove_output(queue, jobs))
    except JobNotFound as error:
        raise _in_another_state(args, queue, states) or error from None
    return _removed(queue, jobs)


def _in_another_state(args, queue, states):
    """A JobRefused that says what to do with the first of the jobs that are in none of these states; None if that is not the reason."""
    for name, jobs in zip(args.ids, find_all_named(queue.store, args.ids)):
        if not any(job.state in states for job in jobs):
            state = jobs[-1].state
            removes = "%s ends it first" % hint("cancel", name) if state == PROCESSING else "%s removes it" % hint("remove", name)
            return JobRefused("job %r is %s, not %s; %s" % (name, state, " or ".join(states), removes))
    return None


def cmd_remove(args, queue):
    """Remove jobs in whatever state, with their output."""
    return _removed(queue, queue.jobs.remove(args.ids, lambda jobs: _remove_output(queue, jobs)))


def cmd_reset(args, queue):
    """Remove all jobs, the dead letter queue and all output."""
    if not args.yes:
        raise UsageError("reset removes all jobs, the dead letter queue and all output; say so with: %s" % typed("reset --yes"))
    refuse_in_job(queue, "reset", "it needs all workers to have ended; call it from outside of a job")
    queue.workers.refuse_if_running("reset")
    queue.jobs.reset()
    try:
        queue.jobs.resume()
        queue.jobs.resume(queue.store.paused_groups())
    except StorageFault as fault:
        fault.effect = "the jobs are removed, but the queue may still be paused"
        raise
    from shutil import rmtree
    rmtree(logs_folder(queue.home), ignore_errors=True)
    print("Removed all jobs.")
    return 0
