"""Which pending job is next. A worker process keeps an index of the places of pending jobs; no I/O in here.

The order: a higher priority first, then the smaller place (first in, first out). No job starts before its time, none before all jobs that
its `after` means (`core.dependencies`) are completed and those of its `after_any` have ended, and none while its group is full
(`core.groups`); it is then in nobody's way. Two are before that order: the job whose retry a worker waits for (`Claims.claim`), and jobs
that were claimed ahead (`Outcomes.next`).

The index is a hint, and a claim trusts the file alone: a place may stand in the index twice, or be out of date. A missing place would be a
job that nobody sees; so `FileIndex` (in storage/file_index.py) tells the index of all changes of the file.

A job without priority, time and `after` costs 8 bytes. Of a job that comes after others the index knows which ids are not completed yet, so
that each completed job is looked at once for each job that names it.
"""
from __future__ import annotations

from array import array
from heapq import heapify, heappop, heappush

from core.dependencies import jobs_meant, keeps_waiting
from core.groups import Groups
from core.job import COMPLETED, DEAD, PENDING, PROCESSING, encode_id

_TRIM = 65536  # places taken before the memory is given back
_OPEN = (PENDING, PROCESSING)


class Dependent:
    """A job that comes after others and has not ended. `after` are all ids that it names, `needed` those whose jobs must be completed.
    `lacks` holds the ids whose jobs keep it waiting; `fatal` those of `needed` with a dead job ({id: "dead"}) or without any ({id:
    "gone"})."""

    __slots__ = ("after", "needed", "since", "priority", "due", "group", "is_pending", "lacks", "fatal")

    def __init__(self, after, after_any, since, priority, due, group):
        self.after = tuple(dict.fromkeys([*after, *after_any]))
        self.needed = frozenset(after)
        self.since, self.priority, self.due, self.group = since, priority, due, group
        self.is_pending = True
        self.lacks = set(self.after)
        self.fatal = {}


class NamedId:
    """An id that dependents name: the jobs that have it ({place: Namesake} in the order of the file; None until they are learned), how many
    of them have not ended, and the places of the dependents (as keys)."""

    __slots__ = ("jobs", "open", "dependents")

    def __init__(self):
        self.jobs = None
        self.open = 0
        self.dependents = {}


class JobIndex:
    """The places of pending jobs, in the order in which they are to run.

    `version` is the version of the job file up to which the index knows all changes; `now` the time of the last `pop`; `doomed` the places
    of jobs that come after a dead or missing one (as keys). `named` holds all ids that dependents name, by their bytes in the file: the
    index must be told of each new job with one of them (`appeared`). `unknown` holds those whose jobs must be looked up (`learn`).
    `groups` are those with a limit: a `group` is one of them, or None.
    """

    def __init__(self, version, groups=()):
        self.version = version
        self.groups = Groups(groups)
        self.now = 0.0
        self.doomed = {}
        self.unknown = set()
        self.named = {}
        self._places = array("Q")  # of jobs with priority 0 that may run, ascending; taken from _next on
        self._next = 0
        self._ranked = []  # a heap of (-priority, place): other priorities, and places that came behind a greater one
        self._delayed = []  # a heap of (due, priority, place, group)
        self._dependents = {}  # place: Dependent
        self._ids = {}  # id: NamedId
        self._watched = {}  # place of a job with such an id: the id

    # -- what is known of jobs

    def add_all(self, places):
        """Add jobs without priority or group that may run at once, by their places: ascending, and behind all that were added."""
        self._places.extend(places)

    def add(self, place, priority=0, group=None):
        """Add a job that may run at once, if its group has room."""
        if group is not None:
            self.groups.add(group, place, priority)
        elif priority or (self._places and place <= self._places[-1]):
            heappush(self._ranked, (-priority, place))
        else:
            self._places.append(place)

    def add_delayed(self, due, place, priority=0, group=None):
        """Add a job that may run from `due` on (seconds since the epoch)."""
        heappush(self._delayed, (due, priority, place, group))

    def add_dependent(self, place, after, since, priority=0, due=0.0, after_any=(), group=None):
        """Add a job, made at `since`, that may run once all that its `after` means (ids) are completed, and those of `after_any` ended."""
        known = self._dependents.get(place)
        if known is not None:  # its line 1 never changes
            known.due, known.is_pending = due, True
            if known.fatal:
                self.doomed[place] = None
            if not known.lacks:
                self.add_delayed(due, place, priority, group)
            return
        dependent = self._dependents[place] = Dependent(after, after_any, since, priority, due, group)
        for job_id in dependent.after:
            if job_id not in self._ids:
                self._ids[job_id] = NamedId()
                self.named[encode_id(job_id)] = job_id
                self.unknown.add(job_id)
            self._ids[job_id].dependents[place] = None
            self._judge(place, job_id)

    def may_run(self, place):
        """Whether no job keeps a dependent waiting."""
        dependent = self._dependents.get(place)
        return dependent is not None and not dependent.lacks

    def died_of(self, place):
        """Why a doomed job dies: (the id of the other job, "dead" or "gone", the place of the dead job or 0)."""
        dependent = self._dependents[place]
        job_id, fate = next(iter(dependent.fatal.items()))
        dead = (job.place for job in self._meant(dependent, job_id) if job.state == DEAD)
        return job_id, fate, next(dead, 0)

    def learn(self, found):
        """Take in all jobs with the unknown ids, as pairs (id, Namesake)."""
        learned, self.unknown = self.unknown, set()
        for job_id in learned:
            self._ids[job_id].jobs = {}
        for job_id, job in found:
            self._note(job_id, job)
        for job_id in learned:
            self._judge_all(job_id)

    def appeared(self, job_id, job):
        """Take in a new job (a Namesake): dependents that name its id wait for it too."""
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
        """Take in the new state of a job."""
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
        # If the job still keeps its dependents waiting, or others of its id do, nothing changes for any of them.
        if not (before in _OPEN and (state in _OPEN or (state == COMPLETED and named.open))):
            self._judge_all(job_id)

    def _judge_all(self, job_id):
        for place in self._ids[job_id].dependents:
            self._judge(place, job_id)

    def _meant(self, dependent, job_id):
        return jobs_meant(self._ids[job_id].jobs.values(), dependent.since)

    def _judge(self, place, job_id):
        """Note whether the jobs of an id keep a dependent waiting or doom it; add it to the delayed jobs once it lacks none."""
        if self._ids[job_id].jobs is None:
            return
        dependent = self._dependents[place]
        meant = self._meant(dependent, job_id)
        needed, states = job_id in dependent.needed, {job.state for job in meant}
        if needed and (not states or DEAD in states):
            dependent.fatal[job_id] = "dead" if states else "gone"
            if dependent.is_pending:
                self.doomed[place] = None
        elif dependent.fatal.pop(job_id, None) and not dependent.fatal:
            self.doomed.pop(place, None)
        if keeps_waiting(meant, needed):
            dependent.lacks.add(job_id)
        elif job_id in dependent.lacks:
            dependent.lacks.discard(job_id)
            if not dependent.lacks and dependent.is_pending:
                self.add_delayed(dependent.due, place, dependent.priority, dependent.group)

    def _forget(self, place):
        """Drop a dependent that has ended, and each id that no other dependent names."""
        for job_id in self._dependents.pop(place).after:
            named = self._ids[job_id]
            del named.dependents[place]
            if not named.dependents:
                del self._ids[job_id], self.named[encode_id(job_id)]
                self.unknown.discard(job_id)
                for watched in named.jobs or ():
                    del self._watched[watched]

    # -- what comes next

    def pop(self, now, grouped=True):
        """Take out the next place, or None. The caller reads the job there, and puts it back by `add_delayed` if it is not due. Without
        `grouped`, None also if the next job has a group with a limit: it is left here, and so are those behind it."""
        self._look_at_delayed(now)
        plain, of_group = self._first_plain(), self.groups.first()
        if of_group is not None and (plain is None or of_group < plain):
            return self.groups.pop(of_group[-1]) if grouped else None
        if plain is None:
            return None
        if self._ranked and self._ranked[0] == plain:
            heappop(self._ranked)
        else:
            self._next += 1
            if self._next >= _TRIM:
                del self._places[:self._next]
                self._next = 0
        return plain[1]

    def _look_at_delayed(self, now):
        if now < self.now - 1:  # the clock was set back: each delayed job is looked at again
            self._delayed = [(now, *rest) for _, *rest in self._delayed]
            heapify(self._delayed)
        self.now = now
        while self._delayed and self._delayed[0][0] <= now:
            _, priority, place, group = heappop(self._delayed)
            self.add(place, priority, group)

    def _first_plain(self):
        """(-priority, place) of the first job without such a group, or None."""
        ranked = self._ranked[0] if self._ranked else None
        if self._next == len(self._places):
            return ranked
        first = (0, self._places[self._next])
        return first if ranked is None or first < ranked else ranked

    def next_due(self):
        """When the first delayed job is due, in seconds since the epoch, or None."""
        return self._delayed[0][0] if self._delayed else None
