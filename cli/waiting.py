"""`wait`: until jobs have ended."""
from __future__ import annotations

import time

from cli.context import hint_to_resume, named_groups, notice, tell_of_standstill
from cli.own_job import refuse_in_job
from cli.progress import Progress
from cli.terminal import counted
from core.dependencies import jobs_meant, with_those_before
from core.errors import EXIT_FAILED, EXIT_TIMEOUT, EXIT_UNKNOWN, UsageError, hint
from core.job import COMPLETED, DEAD, PENDING, PROCESSING
from storage.naming import find_all_named
from storage.waits import look_at_pending

_NAMED = 5  # ids of held jobs
_LOOKED_AT = 20000  # jobs that wait for something
LOOK_AGAIN = 0.1  # seconds between two looks at a job that is waited for


def cmd_wait(args, queue):
    """Wait until jobs have ended: 0 if all completed, 1 if some died, 4 if some were removed meanwhile, 124 if it took too long."""
    if args.ids and args.group:
        raise UsageError("say which jobs: ids, or --group")
    named = [job for of_one in find_all_named(queue.store, args.ids) for job in jobs_meant(of_one)]
    if args.timeout is None:
        jobs = queue.store.jobs((PENDING, PROCESSING), groups=args.group) if args.group else named if args.ids else None
        refuse_in_job(queue, "wait without ids" if jobs is None else "wait",
                      "name jobs that do not come after it, or give a --timeout", jobs)
    return wait_for(queue, NamedJobs(queue.store, named) if args.ids else _AllJobs(queue.store, args.group), args.timeout)


def tell_of_hindrances(queue, jobs):
    """Say on stderr what must be done by someone before these jobs end, which are waited for: those that are held, groups that are paused,
    also of jobs that they come after, and what keeps the whole queue."""
    tell_of_standstill(queue)
    pending = _with_those_before(queue, [job for job in jobs if job.state == PENDING])
    held = [job.id for job in pending if job.is_held]
    if held:
        who, them = ("%r is" % held[0], "it") if len(held) == 1 else ("%d jobs are" % len(held), "them")
        ids = dict.fromkeys(held)
        notice("%s held; %s lets %s start" % (who, (hint("release", *ids) if len(ids) <= _NAMED else hint("release ID")), them))
    groups = [group for group in queue.store.paused_groups() if any(job.group == group for job in pending)]
    if groups:
        notice("%s %s paused; %s lets workers take those jobs"
               % (named_groups(groups), "is" if len(groups) == 1 else "are", hint_to_resume(groups)))


def _with_those_before(queue, pending):
    """These pending jobs, and those of the jobs that they come after which wait for something, too; not where very many jobs do."""
    if not any(job.predecessors for job in pending):
        return pending
    looked = look_at_pending(queue.store, time.time(), _LOOKED_AT)
    return with_those_before(pending, [job for job, _ in looked.found] if looked is not None else ()).values()


def wait_for(queue, jobs, seconds=None):
    """Wait until jobs (NamedJobs or _AllJobs) have ended, at most so many seconds: the exit code of `wait`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with Progress() as progress:
        mark, left = queue.store.fingerprint(), jobs.look()
        if left:
            tell_of_hindrances(queue, jobs.waiting)
        while left:
            progress.show(left)
            if deadline is not None and time.monotonic() >= deadline:
                progress.say("")
                notice("%s still unfinished after %g s" % (counted(left, "job"), seconds))
                return EXIT_TIMEOUT
            time.sleep(LOOK_AGAIN)
            former, mark = mark, queue.store.fingerprint()
            left = jobs.look() if mark != former else left
    for job_id in jobs.removed:
        notice("%r was removed; how it ended is not known" % job_id)
    return EXIT_FAILED if jobs.died else EXIT_UNKNOWN if jobs.removed else 0


class NamedJobs:
    """The jobs that a `wait` names: which have not ended (`waiting`), and how the others ended, as they were last seen."""

    def __init__(self, store, jobs):
        self._store = store
        self.waiting = [job for job in jobs if job.state not in (COMPLETED, DEAD)]
        self.died = any(job.state == DEAD for job in jobs)
        self.removed: list = []  # the ids of those that were gone before they were seen to end

    def look(self):
        """How many have not ended."""
        now = self._store.refresh_all(self.waiting)
        self.died = self.died or any(job is not None and job.state == DEAD for job in now)
        self.removed += [was.id for was, job in zip(self.waiting, now) if job is None]
        self.waiting = [job for job in now if job is not None and job.state not in (COMPLETED, DEAD)]
        return len(self.waiting)


class _AllJobs:
    """All jobs of the queue, or of some groups (names; None: all): how many have not ended, and whether one died that was not dead at
    first. The clock has no say in that."""

    removed = ()

    def __init__(self, store, groups):
        self._store = store
        self._groups = groups
        self.died = False
        self._deaths = self._look_at_deaths()

    @property
    def waiting(self):
        """Those that wait for something, as `tell_of_hindrances` needs them; none where very many do."""
        looked = look_at_pending(self._store, time.time(), _LOOKED_AT)
        return [job for job, _ in looked.found if self._groups is None or job.group in self._groups] if looked is not None else []

    def _look_at_deaths(self):
        return {(job.key, job.updated_at) for job in self._store.jobs((DEAD,), groups=self._groups)}

    def look(self):
        """How many have not ended."""
        counts = [self._store.count()] if self._groups is None else [
            of_one for group, of_one in self._store.count_by_group().items() if group in self._groups]
        if not self.died:
            self.died = not self._look_at_deaths() <= self._deaths
        return sum(of_one["pending"] + of_one["processing"] for of_one in counts)
