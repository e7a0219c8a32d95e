"""What may run next, as a worker process remembers it: places of pending jobs, in order. A claim trusts the file, never this index.

A place may be in here twice, or be stale; one that is missing would be a job that is not seen, so that `FileIndex` (in
storage/claims.py) looks at whatever changed since its last look.

The order: higher priority first, then the smaller place (first in, first out); no job before its time, and none before all jobs that its
`after` means (`jobs_meant`) are completed. Jobs with nothing of the kind cost 8 bytes each; the others are kept beside them. Of a job
that comes after others the index counts what is missing, so that one that is completed is looked at once for each that names it.
"""
from __future__ import annotations

from array import array
from heapq import heapify, heappop, heappush

from core.job import COMPLETED, DEAD, PENDING, PROCESSING, encode_id


def jobs_meant(jobs, since=None):
    """Which of the jobs of one id (in the order of the file) are meant by a job that was added at `since` and comes after that id, or by
    who names the id now (None): those that had not ended then, or were added later; the newest if there are none. Several jobs may have
    one id, and what became of those of last night says nothing about tonight's.

    An end in the very microsecond counts as a later one. No end is older than its job, whatever the clock said.
    """
    return [job for job in jobs if job.state not in (COMPLETED, DEAD)
            or (since is not None and max(job.created_at, job.updated_at or "") >= since)] or list(jobs)[-1:]


def find_cycle(edges):
    """Ids that wait for each other in a circle, in order, or None. `edges` maps an id to the ids that must be completed before it."""
    done = set()
    for start in edges:
        open_ids = [(start, iter(edges[start]))]
        on_path = {start}
        while open_ids:
            job_id, rest = open_ids[-1]
            following = next(rest, None)
            if following is None:
                open_ids.pop()
                on_path.discard(job_id)
                done.add(job_id)
            elif following in on_path:
                path = [other for other, _ in open_ids]
                return path[path.index(following):] + [following]
            elif following not in done and following in edges:
                on_path.add(following)
                open_ids.append((following, iter(edges[following])))
    return None


_TRIM = 65536  # places taken before the memory is given back
_OPEN = (PENDING, PROCESSING)


class Dependent:
    """A job that comes after others and has not ended. `lacks` holds the ids that it names and whose jobs are not all completed, `fatal`
    those of them of which one is dead or gone ({id: which of the two})."""

    __slots__ = ("after", "since", "priority", "due", "is_pending", "lacks", "fatal")

    def __init__(self, after, since, priority, due):
        self.after = tuple(dict.fromkeys(after))
        self.since, self.priority, self.due = since, priority, due
        self.is_pending = True
        self.lacks = set(after)
        self.fatal = {}


class Named:
    """An id that dependents name: all jobs that have it ({place: Namesake}, in the order of the file; None if that is not known yet), how
    many of them have not ended, and the places of the dependents (as keys)."""

    __slots__ = ("jobs", "open", "dependents")

    def __init__(self):
        self.jobs = None
        self.open = 0
        self.dependents = {}


class JobIndex:
    """Places of pending jobs. `version` is the state of the job file up to which the index knows everything, `now` the time of the last
    look, `doomed` the places of the jobs that come after one that is dead or gone (as keys), `unknown` holds ids that are named and must
    be looked up (`learn`), and `named` all ids that are, by their bytes in the file: of jobs that are added with one of these it must be
    told too (`appeared`)."""

    def __init__(self, version):
        self.version = version
        self.now = 0.0
        self.doomed = {}
        self.unknown = set()
        self.named = {}
        self._places = array("Q")  # of jobs with priority 0 that may run, ascending; taken from _next on
        self._next = 0
        self._late = []  # a heap of places that came back behind the others
        self._ranked = []  # a heap of (-priority, place), for any other priority
        self._waiting = []  # a heap of (due, priority, place)
        self._dependents = {}  # place: Dependent
        self._ids = {}  # id: Named
        self._watched = {}  # place of a job with such an id: the id

    # -- what is known of jobs

    def add(self, place, priority=0):
        """A job that may run at once."""
        if priority:
            heappush(self._ranked, (-priority, place))
        elif not self._places or place > self._places[-1]:
            self._places.append(place)
        else:
            heappush(self._late, place)

    def add_delayed(self, due, place, priority=0):
        """A job that may run at `due` (seconds since the epoch)."""
        heappush(self._waiting, (due, priority, place))

    def block(self, place, after, since, priority=0, due=0.0):
        """A job that may run once the jobs with the ids `after` that are meant by one that was added at `since` are completed."""
        known = self._dependents.get(place)
        if known is not None:  # its line 1 never changes
            known.due, known.is_pending = due, True
            if known.fatal:
                self.doomed[place] = None
            if not known.lacks:
                self.add_delayed(due, place, priority)
            return
        dependent = self._dependents[place] = Dependent(after, since, priority, due)
        for job_id in dependent.after:
            if job_id not in self._ids:
                self._ids[job_id] = Named()
                self.named[encode_id(job_id)] = job_id
                self.unknown.add(job_id)
            self._ids[job_id].dependents[place] = None
            self._judge(place, job_id)

    def may_run(self, place):
        """Whether all that a dependent comes after is completed."""
        dependent = self._dependents.get(place)
        return dependent is not None and not dependent.lacks

    def died_of(self, place):
        """What a doomed job dies of, as (id, "dead" or "gone", where that job is; 0 if it is gone)."""
        dependent = self._dependents[place]
        job_id, fate = next(iter(dependent.fatal.items()))
        dead = (job.place for job in self._meant(dependent, job_id) if job.state == DEAD)
        return job_id, fate, next(dead, 0)

    def learn(self, found):
        """All jobs with the unknown ids, as (id, Namesake)."""
        learned, self.unknown = self.unknown, set()
        for job_id in learned:
            self._ids[job_id].jobs = {}
        for job_id, job in found:
            self._note(job_id, job)
        for job_id in learned:
            self._judge_all(job_id)

    def appeared(self, job_id, job):
        """A job (a Namesake) was added: those that name its id wait for it too."""
        named = self._ids.get(job_id)
        if named is not None and named.jobs is not None:
            self._note(job_id, job)
            self._judge_all(job_id)

    def _note(self, job_id, job):
        named = self._ids[job_id]
        known = named.jobs.get(job.place)
        named.open += (job.state in _OPEN) - (known is not None and known.state in _OPEN)
        named.jobs[job.place] = job
        self._watched[job.place] = job_id

    def changed(self, place, state, updated_at):
        """A job is in another state now."""
        if place in self._dependents and state != PENDING:
            self._dependents[place].is_pending = False
            self.doomed.pop(place, None)
            if state not in _OPEN:
                self._forget(place)
        job_id = self._watched.get(place)
        if job_id is None:
            return
        named = self._ids[job_id]
        before = named.jobs[place].state
        self._note(job_id, named.jobs[place]._replace(state=state, updated_at=updated_at))
        # One that was in the way and still is, or leaves others there, changes nothing for anyone.
        if not (before in _OPEN and (state in _OPEN or (state == COMPLETED and named.open))):
            self._judge_all(job_id)

    def _judge_all(self, job_id):
        for place in self._ids[job_id].dependents:
            self._judge(place, job_id)

    def _meant(self, dependent, job_id):
        return jobs_meant(self._ids[job_id].jobs.values(), dependent.since)

    def _judge(self, place, job_id):
        """See whether the jobs of an id are in the way of a dependent, and let it go if nothing is any more."""
        if self._ids[job_id].jobs is None:
            return
        dependent = self._dependents[place]
        meant = self._meant(dependent, job_id)
        states = {job.state for job in meant}
        if not states or DEAD in states:
            dependent.fatal[job_id] = "dead" if states else "gone"
            if dependent.is_pending:
                self.doomed[place] = None
        elif dependent.fatal.pop(job_id, None) and not dependent.fatal:
            self.doomed.pop(place, None)
        if states != {COMPLETED}:
            dependent.lacks.add(job_id)
        elif job_id in dependent.lacks:
            dependent.lacks.discard(job_id)
            if not dependent.lacks and dependent.is_pending:
                self.add_delayed(dependent.due, place, dependent.priority)

    def _forget(self, place):
        """A dependent has ended."""
        for job_id in self._dependents.pop(place).after:
            named = self._ids[job_id]
            del named.dependents[place]
            if not named.dependents:
                del self._ids[job_id], self.named[encode_id(job_id)]
                self.unknown.discard(job_id)
                for watched in named.jobs or ():
                    del self._watched[watched]

    # -- what comes next

    def pop(self, now):
        """The place that comes next, or None. The caller reads it and puts it back with `add_delayed` if it is not due after all."""
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
