"""What may run next, as a worker process remembers it: places of pending jobs, in order. A claim trusts the file, never this index.

A place may be in here twice, or be stale; one that is missing would be a job that is not seen, which `JobManager` guards against by
looking again at whatever changed since (`JobFile.changes_since`).

The order: higher priority first, then the smaller place (first in, first out); no job before its time, and none before all jobs with
the ids that its `after` names are completed. Jobs with nothing of the kind cost 8 bytes each; the others are kept beside them.
"""
from __future__ import annotations

from array import array
from heapq import heapify, heappop, heappush

from job_format import STATES

_TRIM = 65536  # places taken before the memory is given back
_COMPLETED, _DEAD = STATES[2:]


class JobIndex:
    """Places of pending jobs. `mark` is the state of the job file up to which the index knows everything, `now` the time of the last
    look, `doomed` holds the jobs that wait for one that is dead or gone ({place: what they die of}), and `unknown` ids that are named and
    must be looked up (`learn`)."""

    def __init__(self, mark):
        self.mark = mark
        self.now = 0.0
        self.doomed = {}
        self.unknown = set()
        self._places = array("Q")  # of jobs with priority 0 that may run, ascending; taken from _next on
        self._next = 0
        self._late = []  # a heap of places that came back behind the others
        self._ranked = []  # a heap of (-priority, place), for any other priority
        self._waiting = []  # a heap of (due, priority, place)
        self._blocked = {}  # place: (ids that must be completed first, priority, due)
        self._named = {}  # id: {place: state}, for the ids that a blocked job names
        self._dependents = {}  # id: places of the blocked jobs that name it
        self._watched = {}  # place: id, the reverse of _named

    # -- what is known of jobs

    def add(self, place, priority=0):
        """A job that may run at once."""
        if priority:
            heappush(self._ranked, (-priority, place))
        elif not self._places or place > self._places[-1]:
            self._places.append(place)
        else:
            heappush(self._late, place)

    def wait(self, due, place, priority=0):
        """A job that may run at `due` (seconds since the epoch)."""
        heappush(self._waiting, (due, priority, place))

    def block(self, place, after, priority=0, due=0.0):
        """A job that may run once all jobs with the ids `after` are completed."""
        self._blocked[place] = (after, priority, due)
        for job_id in after:
            self._dependents.setdefault(job_id, set()).add(place)
            if job_id not in self._named:
                self.unknown.add(job_id)
        self._consider(place)

    @property
    def has_blocked(self):
        """Whether any job waits for another one, so that the ids of new jobs matter."""
        return bool(self._blocked)

    def learn(self, found):
        """The states of all jobs with the unknown ids, as (id, place, state)."""
        for job_id in self.unknown:
            self._named[job_id] = {}
        for job_id, place, state in found:
            self._named[job_id][place] = state
            self._watched[place] = job_id
        learned, self.unknown = self.unknown, set()
        for job_id in learned:
            self._consider_all(job_id)

    def appeared(self, job_id, place, state):
        """A new job: those that name its id wait for it too."""
        if job_id in self._named:
            self._named[job_id][place] = state
            self._watched[place] = job_id

    def changed(self, place, state):
        """A job is in another state now."""
        job_id = self._watched.get(place)
        if job_id is not None:
            self._named[job_id][place] = state
            if state in (_COMPLETED, _DEAD):
                self._consider_all(job_id)

    def _consider_all(self, job_id):
        for place in list(self._dependents.get(job_id, ())):
            self._consider(place)

    def _consider(self, place):
        """Let a blocked job go if nothing is in its way any more, or never will be out of it."""
        after, priority, due = self._blocked[place]
        if any(job_id not in self._named for job_id in after):
            return
        states = [list(self._named[job_id].values()) for job_id in after]
        fatal = [(job_id, of_one) for job_id, of_one in zip(after, states) if not of_one or _DEAD in of_one]
        if fatal:
            self.doomed[place] = "%s, which it comes after, is %s" % (fatal[0][0], "dead" if fatal[0][1] else "gone")
        elif all(state == _COMPLETED for of_one in states for state in of_one):
            self.wait(due, place, priority)
        else:
            return
        del self._blocked[place]
        for job_id in after:
            dependents = self._dependents.get(job_id, set())
            dependents.discard(place)
            if not dependents:
                self._dependents.pop(job_id, None)
                for watched in self._named.pop(job_id, ()):
                    self._watched.pop(watched, None)

    # -- what comes next

    def pop(self, now):
        """The place that comes next, or None. The caller reads it and puts it back with `wait` if it is not due after all."""
        if now < self.now - 1:  # the clock was set back: every wait is looked at again
            self._waiting = [(now, priority, place) for _, priority, place in self._waiting]
            heapify(self._waiting)
        self.now = now
        while self._waiting and self._waiting[0][0] <= now:
            _, priority, place = heappop(self._waiting)
            if priority:
                heappush(self._ranked, (-priority, place))
            else:
                heappush(self._late, place)
        if self._ranked and self._ranked[0][0] < 0:
            return heappop(self._ranked)[1]
        first = self._places[self._next] if self._next < len(self._places) else None
        if self._late and (first is None or self._late[0] < first):
            return heappop(self._late)
        if first is None:
            return heappop(self._ranked)[1] if self._ranked else None
        self._next += 1
        if self._next >= _TRIM:
            del self._places[:self._next]
            self._next = 0
        return first

    def next_due(self):
        """When the first of the waiting jobs is due, in seconds since the epoch, or None."""
        return self._waiting[0][0] if self._waiting else None
