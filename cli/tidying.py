"""Commands that remove jobs: dlq purge, clean, remove, reset."""
from __future__ import annotations

from cli.choosing import ago
from cli.own_job import refuse_in_job
from cli.terminal import counted
from core.errors import JobNotFound, JobRefused, QueueError, StorageFault, UsageError, fault_text, hint, typed
from core.job import DEAD, PROCESSING
from storage.naming import find_all_named
from storage.output import remove_all_logs, remove_logs
from storage.selection import Choice


def _removed(queue, jobs):
    print("Removed %s." % counted(len(jobs), "job"))
    try:
        remove_logs(queue.home, jobs)
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
            removed = queue.workers.remove_leftovers(queue.store, args.older_than or 0)
        except OSError as error:
            raise QueueError("the jobs are removed, but not all that is left over: %s" % fault_text(error)) from None
        if removed:
            print("Removed %s that belonged to no job." % counted(removed, "file"))
    return code


def _clean(args, queue, states):
    choice = Choice(args.ids or None, before=ago(args.older_than) or None)
    try:
        jobs = queue.jobs.clean(states, choice)
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
    return _removed(queue, queue.jobs.remove(args.ids))


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
    remove_all_logs(queue.home)
    print("Removed all jobs.")
    return 0
