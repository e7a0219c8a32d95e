"""Commands that steer: cancel, hold, release, retry, pause, resume."""
from __future__ import annotations

import os
import time

from cli.choosing import ago, called, found_by
from cli.context import WHO_ENDS, hint_to_resume, named_groups, notice
from cli.terminal import counted
from core.errors import EXIT_FAILED, QueueError, UsageError, hint
from core.home import wake_workers
from core.job import CANCELLED, COMPLETED, DEAD, PENDING, PROCESSING
from core.rules import given_up, states_meant
from core.system import STOPS_PROCESSES
from helpers import printable
from storage.naming import find_named
from storage.selection import Choice


def cmd_cancel(args, queue):
    """Take jobs out of the queue, and end those that run."""
    if bool(args.ids) == bool(args.all or args.state or args.search or args.group):
        raise UsageError("say which jobs: ids, or --all, --state, --group or --search")
    done = queue.jobs.cancel(args.ids or None, time.time(), None if args.ids else _chosen(args, queue))
    running = [job for job in done if job.state == PROCESSING]
    abandoned = {job.key for job in queue.workers.abandoned(running)} if running else ()
    if running:
        wake_workers(queue.home)
    if args.ids:
        for job in done:
            how = "; its worker ends it" if job.state == PROCESSING else ""
            if job.key in abandoned:
                how = "; its worker is dead: %s what is left of it" % WHO_ENDS[bool(queue.workers.running())]
            print("Job '%s' cancelled%s." % (printable(job.id), how))
    else:
        print("%s cancelled%s." % (counted(len(done), "job"), "; workers end %d of them" % len(running) if running else ""))
    ended = [given_up(job, CANCELLED, time.time()) for job in done]
    return 0 if queue.workers.announce(queue.store.settings.on_finish, ended, os.environ, notice) else EXIT_FAILED


def _chosen(args, queue):
    """The jobs that --all, --state and --search mean, as {key: state}."""
    words = args.state or (PENDING, PROCESSING)
    states = states_meant(words)
    if not {PENDING, PROCESSING}.issuperset(states):
        raise UsageError("only what waits or runs can be cancelled; %s removes what has ended" % hint("clean"))
    jobs = found_by(queue.store.jobs(states, groups=args.group), args.search)
    return {job.key: job.state for job, _ in called(queue.store, jobs, words)}


def cmd_hold(args, queue):
    """Let waiting jobs wait until they are released."""
    choice = Choice(args.ids).resolved(queue.store)
    for job in queue.jobs.hold(choice, time.time()):
        dropped = "" if job.run_at is None else "; its time, %s, does not count any more" % job.run_at
        print("Job '%s' is held until %s%s." % (printable(job.id), printable(hint("release", choice.name_of(job))), dropped))
    return 0


def cmd_release(args, queue):
    """Let jobs start that are held, or due later."""
    if bool(args.ids) == args.all:
        raise UsageError("say which jobs: ids, or --all")
    released = queue.jobs.release(Choice(args.ids or None), time.time())
    for job in released:
        print("Job '%s' may start now." % printable(job.id))
    if not released:
        print("No job is held.")
    return 0


def cmd_retry(args, queue):
    """Bring jobs back into the queue."""
    if args.edit:
        _open_first(args, queue)
    if bool(args.ids) == (args.all or args.since is not None):
        raise UsageError("say which jobs: ids, or --all, or --since TIME")
    back = queue.jobs.retry(Choice(args.ids or None, since=ago(args.since)), time.time())
    what = "Job '%s' is" % back.ids[0] if len(back.ids) == 1 else counted(len(back.ids), "job")
    print(printable("%s back in the queue%s%s." % (what, _with_them(back.followers, len(back.ids)), _left_out(back.cancelled))))
    return 0


def _with_them(ids, number):
    """What is said of jobs that came back because of so many others."""
    if not ids:
        return ""
    some = ", ".join(ids[:10]) + " and others" * (len(ids) > 10)
    return ", with %d that died because of %s: %s" % (len(ids), "it" if number == 1 else "them", some)


def _left_out(number):
    """What is said of so many cancelled jobs that stay where all others come back."""
    if not number:
        return ""
    stays, one = ("1 cancelled job stays", "it") if number == 1 else ("%d cancelled jobs stay" % number, "one")
    return "; %s dead: %s brings %s back" % (stays, hint("retry ID"), one)


def _open_first(args, queue):
    from cli.editing import edit_in_editor
    if len(args.ids) != 1:
        raise UsageError("--edit opens one job; name it")
    job = find_named(queue.store, args.ids[0])[-1]
    if job.state not in (COMPLETED, DEAD):
        raise QueueError("job %r is %s; %s opens one that waits" % (job.id, job.state, hint("edit", *args.ids)))
    edit_in_editor(queue, job)


def cmd_pause(args, queue):
    """Let workers take no new jobs, or none of some groups, and with --now stop those that run."""
    if args.now and args.group:
        raise UsageError("--now stops all jobs that run; it goes without --group")
    if args.now and not STOPS_PROCESSES:
        raise QueueError("Windows has no way to stop a running process where it stands; %s lets workers take no new jobs" % hint("pause"))
    queue.jobs.pause(args.group or (), args.now)
    if args.group:
        print(printable("Paused: workers take no new jobs of %s until %s." % (named_groups(args.group), hint_to_resume(args.group))))
        return 0
    if args.now:
        wake_workers(queue.home)
    still = "the running jobs stand still, and " if queue.store.pauses.stops_running() else ""  # also by an earlier --now
    print(printable("Paused: %sworkers take no new jobs until %s." % (still, hint("resume"))))
    return 0


def cmd_resume(args, queue):
    """Let workers take jobs again."""
    was_paused, groups = queue.store.paused(), queue.store.paused_groups()
    queue.jobs.resume(args.group or ())
    wake_workers(queue.home)
    if args.group:
        was_paused = not set(groups).isdisjoint(args.group)
    left = queue.store.paused_groups()
    told = "Resumed." if was_paused else "It was not paused."
    if left:
        told += " T%s %s still paused; %s lets workers take those jobs, too." % (
            named_groups(left)[1:], "is" if len(left) == 1 else "are", hint_to_resume(left))
    print(printable(told))
    return 0
