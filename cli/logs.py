"""`logs`: what jobs wrote, byte for byte, also while they write it."""
from __future__ import annotations

import time

from cli.context import notice, refuse_in_job, tell_of_standstill
from cli.terminal import Follower, copy_to_stdout
from cli.waiting import LOOK_AGAIN, held_up_by
from core.errors import EXIT_FAILED, QueueError, UsageError, hint
from core.job import COMPLETED, DEAD
from core.system import quote_words
from helpers import printable



def cmd_logs(args, queue):
    """Print what a job wrote, byte for byte."""
    from storage.output import logs_of
    job = queue.store.find(args.id)[-1] if args.id is not None else _latest(queue.store)
    if args.follow and (args.attempt is not None or args.all):
        raise UsageError("-f follows from the newest attempt on; it goes with neither --attempt nor --all")
    if args.follow:
        refuse_in_job(queue, "logs -f", "without -f it prints what there is so far", lambda own: job.key in held_up_by(queue, own))
        return follow(queue, [job], args.lines)
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


def _latest(store):
    latest = max((job for job in store.jobs() if job.started_at), key=lambda job: job.started_at, default=None)
    if latest is None:
        raise QueueError("no job has run yet; %s runs those in the queue" % hint("worker start"))
    return latest


def _tell_of_nothing(job, kept):
    """Say that a job has no output, if these are the only Logs of it."""
    since = " since it was brought back" if any(log.life is not None for log in kept) else ""
    unrun = "" if job.attempts else "; it has not run yet" if not since else "; it has not run since"
    others = "; %s prints what other attempts wrote" % hint("logs %s --all" % quote_words([job.id])) if kept else ""
    notice("%r has written nothing%s%s%s" % (job.id, since, unrun, others))


def follow(queue, jobs, lines=None):
    """Print what a job writes until it has ended: 0 if it completed, 1 if it died or is gone."""
    from storage.output import log_path
    attempt, follower, told, job = 0, None, False, jobs[0]
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
        if not told:
            tell_of_standstill(queue)
            told = True
        job = now
        time.sleep(LOOK_AGAIN)
