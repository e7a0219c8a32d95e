"""What a worker process has done since its start: which jobs have ended, and how. And what it says of that in the log.

The threads of the process tell it, and it never waits. It prints nothing but by helpers.log; whoever wants to show more gives a screen.
"""
from __future__ import annotations

import time
from _thread import allocate_lock
from operator import attrgetter

from core.job import COMPLETED, DEAD, DEPENDENCY, PENDING
from core.times import parse_time
from helpers import log

MOST_DEAD = 10  # dead jobs that are kept to be named


class Account:
    """The account of one worker process. With `quiet` it says nothing of what is no fault.

    `screen`, if not None, shows more to a person: `screen.name(job)` is how lines name a job, and `screen.show(account, running)` is called
    each second with the number of attempts that run. It is told of each start, too, but for jobs of milliseconds.
    """

    def __init__(self, quiet=False, screen=None):
        self.completed = 0
        self.dead = 0
        self.taken_away = 0  # attempts that counted for nothing: their job was cancelled, cleared, or set back by an edit
        self.died = []  # the first dead Jobs
        self._unfinished = set()  # the keys of jobs that are pending again after an attempt here
        self._quiet = quiet
        self._screen = screen
        self._name = attrgetter("id") if screen is None else screen.name
        self._begun = time.monotonic()
        self._mutex = allocate_lock()

    @property
    def unfinished(self):
        """How many jobs are to run again."""
        return len(self._unfinished)

    @property
    def seconds(self):
        """How long the process has worked."""
        return time.monotonic() - self._begun

    def say(self, *messages):
        """Log what is no fault."""
        if not self._quiet:
            log(*messages)

    def started(self, job):
        """Tell that an attempt of a job has started and takes longer than milliseconds."""
        if self._screen is not None:
            self.say("%s: started%s" % (self._name(job), ", attempt %d" % job.attempts if job.attempts > 1 else ""))

    def count(self, job):
        """Count a job behind an attempt that was recorded, or that died without one."""
        with self._mutex:
            if job.state == PENDING:
                self._unfinished.add(job.key)
            else:
                self._unfinished.discard(job.key)
            self.completed += job.state == COMPLETED
            self.dead += job.state == DEAD
            if job.state == DEAD and len(self.died) < MOST_DEAD:
                self.died.append(job)

    def ended(self, ends):
        """Tell how attempts have ended: (the job as it was claimed, as it is now or None if it was taken away, the seconds of it) each."""
        taken_away = sum(1 for _, after, _ in ends if after is None)
        if taken_away:
            with self._mutex:
                self.taken_away += taken_away
        if not self._quiet and ends:
            log(*["%s: %s" % (self._name(job), _how_it_ended(after, seconds)) for job, after, seconds in ends])

    def show(self, running):
        """Show how far the process is; so many attempts run."""
        if self._screen is not None:
            self._screen.show(self, running)


def _how_it_ended(job, seconds):
    """How an attempt of a job ended, or why there will be none, as a line says it. `job` is None if it was taken away meanwhile."""
    if job is None:
        return "it was cancelled, or the queue was cleared or edited; its result is not recorded"
    if job.reason == DEPENDENCY:
        return "%s; moved to the dead letter queue" % job.ending
    if job.state == DEAD:
        return "%s, attempt %d; moved to the dead letter queue" % (job.ending, job.attempts)
    if job.state == COMPLETED:
        return "completed in %.2f s" % seconds
    if job.run_at is None:
        return "back in the queue"
    return "%s, attempt %d; again in %g s" % (job.ending, job.attempts, round(parse_time(job.run_at) - parse_time(job.updated_at), 2))
