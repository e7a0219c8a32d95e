"""Ends of jobs that are recorded, and jobs that are claimed, several at once."""
from __future__ import annotations

import threading
import time
from collections import deque

from execution.waiting import TICK
from storage.claims import Ended

_MOST_AHEAD = 32  # jobs that are claimed at once
_AHEAD = 0.03  # seconds that they should take, by the last one that ended
STALE = 0.05  # seconds after which an end must be recorded, and a claimed job must have been started


class Batch:
    """What a worker process has claimed and not started yet, and what has ended in it and is not recorded yet.

    To record an end and to claim the next job costs half as much as a command of a millisecond itself, so workers whose jobs take
    milliseconds do it for several jobs at once, while another one runs. Nothing stays here for longer than STALE seconds: a worker looks
    at the age after each job, and the supervisor takes everything away when none comes by.
    """

    def __init__(self, count):
        self.filling = threading.Lock()  # held by whoever records and claims, so that the others wait for what that brings
        self._count = count
        self._mutex = threading.Lock()
        self._ended = []
        self._ahead = deque()  # (job, when it was claimed)
        self._since = 0.0  # when the first of _ended has ended

    def __bool__(self):
        return bool(self._ended or self._ahead)

    def add(self, jobs, moment):
        """Jobs were claimed at that `moment` of the monotonic clock."""
        with self._mutex:
            self._ahead.extend([(job, moment) for job in jobs])

    def next(self):
        """The job that is to run next, or None."""
        with self._mutex:
            return self._ahead.popleft()[0] if self._ahead else None

    def wanted(self):
        """How many jobs to claim while one runs that is expected to be as short as those before it: 0 while there are enough here."""
        with self._mutex:
            if not self._ended or self.is_full() or self.filling.locked():
                return 0
            return self.how_many(self._ended[-1].seconds)

    def is_full(self):
        """Whether there is a job for each worker, so that none is to be claimed."""
        return len(self._ahead) >= self._count

    def how_many(self, seconds):
        """How many jobs to claim at once after one that took so long."""
        return min(_MOST_AHEAD, int(self._count * _AHEAD / seconds)) if 0 < seconds < _AHEAD else 1

    def put_off(self, ended, moment):
        """The job that is to run next while an end waits to be recorded; None if there is none, or that must be recorded now."""
        with self._mutex:
            if not self._ahead or self._is_stale(moment):
                return None
            if not self._ended:
                self._since = moment
            self._ended.append(ended)
            return self._ahead.popleft()[0]

    def put_back(self, ended, moment):
        """What could not be recorded now; it is stale again in a second."""
        with self._mutex:
            self._ended[:0] = ended
            self._since = moment + TICK - STALE

    def take_ended(self):
        """What has ended, which is to be recorded now."""
        with self._mutex:
            ended, self._ended = self._ended, []
        return ended

    def take(self):
        """All that is to be recorded: what has ended, and what is to be given back."""
        with self._mutex:
            ahead, self._ahead = self._ahead, deque()
        return [Ended(job, None, time.time(), None, 0.0) for job, _ in ahead] + self.take_ended()

    def is_stale(self, moment):
        """Whether what is here must be recorded now."""
        with self._mutex:
            return self._is_stale(moment)

    def _is_stale(self, moment):
        return bool(self._ended and moment - self._since > STALE or self._ahead and moment - self._ahead[0][1] > STALE)
