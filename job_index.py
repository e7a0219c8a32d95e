"""What may run next, as a worker process remembers it: places of pending jobs, in order. A claim trusts the file, never this index.

A place may be in here twice, or be stale; one that is missing would be a job that is not seen, which `JobManager` guards against by
looking again at whatever changed since (`JobFile.changes_since`).
"""
from __future__ import annotations

from array import array
from heapq import heappop, heappush

_TRIM = 65536  # places taken before the memory is given back


class JobIndex:
    """Places of pending jobs: the smallest first (first in, first out by place), none before its time.

    8 bytes a job that may run at once; jobs that wait are kept beside, by the second at which they are due. `mark` is the state of the
    job file up to which the index knows everything, `now` the time of the last look.
    """

    def __init__(self, mark):
        self.mark = mark
        self._places = array("Q")  # ascending; taken from _next on
        self._next = 0
        self._late = []  # a heap of places that came back behind the others
        self._waiting = []  # a heap of (due, place)
        self.now = 0.0

    def add(self, place):
        """A job that may run at once."""
        if not self._places or place > self._places[-1]:
            self._places.append(place)
        else:
            heappush(self._late, place)

    def wait(self, due, place):
        """A job that may run at `due` (seconds since the epoch)."""
        heappush(self._waiting, (due, place))

    def pop(self, now):
        """The place that comes next, or None. The caller reads it and puts it back with `wait` if it is not due after all."""
        if now < self.now - 1:  # the clock was set back: every wait is looked at again
            waiting, self._waiting = self._waiting, []
            for _, place in waiting:
                heappush(self._late, place)
        self.now = now
        while self._waiting and self._waiting[0][0] <= now:
            heappush(self._late, heappop(self._waiting)[1])
        first = self._places[self._next] if self._next < len(self._places) else None
        if self._late and (first is None or self._late[0] < first):
            return heappop(self._late)
        if first is not None:
            self._next += 1
            if self._next >= _TRIM:
                del self._places[:self._next]
                self._next = 0
        return first

    def next_due(self):
        """When the first of the waiting jobs is due, in seconds since the epoch, or None."""
        return self._waiting[0][0] if self._waiting else None
