"""Which jobs a command is about (`cancel`, `retry`, `purge`, `clean`): chosen without the lock, and checked again under it.

A look at a whole large file takes seconds, and nobody should have to wait for the lock so long. But a choice that was made without the
lock may be wrong by then: a dead job was brought back, or a job was added that comes after a completed one. So a Selection looks at the
whole file without the lock, and under it at the changes since, which the notes of the job file tell.
"""
from __future__ import annotations

from collections import namedtuple

from core.dependencies import jobs_meant
from core.errors import JobNotFound
from core.job import STATES, job_from_checked
from storage.layout import job_from_lines
from storage.naming import keys_named
from storage.store import OpenFiles


class Choice(namedtuple("Choice", "names before since keys", defaults=(None, None, {}))):
    """Which jobs someone names to a command: those with one of `names` (None: all), last changed before and since these times (as
    `format_time` makes them; None: any). `keys` is what `keys_named` says of the names: a name in it means one job of several."""

    __slots__ = ()

    @property
    def ids(self):
        """The ids that the jobs have; None: any."""
        return None if self.names is None else {self._meant(name)[0] for name in self.names}

    def resolved(self, store):
        """The same choice, with the keys that it needs and has not. Raises JobNotFound."""
        unknown = [name for name in self.names or () if name not in self.keys]
        return self._replace(keys=dict(keys_named(store, unknown), **self.keys)) if unknown else self

    def of(self, jobs, explain):
        """Those of these jobs that are chosen. Raises JobNotFound for a name without one; `explain(name)` says what."""
        wanted = None if self.names is None else {self._meant(name) for name in self.names}
        jobs = [job for job in jobs if (wanted is None or (job.id, None) in wanted or job.key in wanted) and self._is_in_time(job)]
        self.refuse_missing(jobs, explain)
        return jobs

    def refuse_missing(self, jobs, explain, fault=JobNotFound):
        """Raise JobNotFound, or another `fault`, for a name that means none of these jobs; `explain(name)` says what."""
        there = {job.key for job in jobs} | {(job.id, None) for job in jobs} if self.names else ()
        for name in self.names or ():
            if self._meant(name) not in there:
                raise fault(explain(name))

    def in_turn(self, jobs):
        """These jobs in the order in which they were named."""
        turns: dict = {}
        for number, name in enumerate(self.names):
            turns.setdefault(self._meant(name), number)
        last = len(self.names)
        return sorted(jobs, key=lambda job: min(turns.get(job.key, last), turns.get((job.id, None), last)))

    def name_of(self, job):
        """The name by which a job was chosen, for a hint that can be pasted; its id if none was given."""
        return next((name for name in self.names or () if self._meant(name) == job.key), job.id)

    def _meant(self, name):
        return self.keys.get(name, (name, None))

    def _is_in_time(self, job):
        moment = job.updated_at or job.created_at
        return (self.before is None or moment < self.before) and (self.since is None or moment >= self.since)


class Selection:
    """The jobs of a job file in these states; with `ids` those with one of them, with `containing` those whose line 1 has these bytes.
    `look` first, then `catch_up` under the lock."""

    def __init__(self, file, states=STATES, ids=None, containing=b""):
        self._file = file
        self._states = states
        self._ids = None if ids is None else frozenset(ids)
        self._containing = containing
        self._file_version = None
        self._found = {}  # place: Job
        self.version = 0  # another one whenever something else may be found

    @property
    def jobs(self):
        """The jobs that were found, in the order of the file."""
        return [self._found[place] for place in sorted(self._found)]

    def look(self, lock):
        """Look at the whole file, without the lock but for the moment in which it is opened."""
        with OpenFiles(lock, self._file):
            self._file_version, view = self._file.version, self._file.view()
        self._found = {}
        self._add(view)

    def _add(self, view):
        with view:
            before = len(self._found)
            for number, (place, record) in enumerate(view.records(self._states, self._containing, self._ids), 1):
                place = place or number  # in another layout none has a place; `catch_up` finds it rewritten, and looks at all of it
                self._found[place] = job_from_checked(record, place)
            self.version += len(self._found) != before

    def catch_up(self, whole=False):
        """Under the lock: take in what has changed since the last look. False if that is not known, unless `whole`: all is looked at."""
        places = self._file.notes.changes_since(self._file_version)
        if places is None:
            if not whole:
                return False
            self._found = {}
            self.version += 1
            self._add(self._file.view(locked=True))
        else:
            for place in places:
                self._look_at(place)
            self._add(self._file.view(locked=True, since=self._file_version))
        self._file_version = self._file.version
        return True

    def _look_at(self, place):
        before, lines = self._found.pop(place, None), self._file.lines(place)
        if lines is not None:
            job = job_from_lines(lines, place)
            if job.state in self._states and (self._ids is None or job.id in self._ids) and self._containing in lines[0]:
                self._found[place] = job
        self.version += self._found.get(place) != before


def change_selected(store, selections, choose, act, prepare=lambda chosen: None):
    """Do `act(chosen)` in a change of both files, for what `choose(*selections)` gives under the lock. Gives back the result; [] if nothing
    is chosen. Raises what `choose` raises.

    The selections are made without the lock and brought up to date under it. If so much goes on that this fails twice, they are made under
    the lock. `choose` is asked without the lock, too, and under it only if anything has changed: a command that has nothing to do changes
    nothing, and what it works out keeps nobody waiting. `prepare(chosen)` is called without the lock.
    """
    for whole in (False, False, True):
        for selection in selections:
            selection.look(store.lock)
        done = _change_chosen(store, selections, choose, act, prepare, whole)
        if done is not None:
            break
    store.confirm(store.jobs_json, store.dlq_json)
    return done


def _change_chosen(store, selections, choose, act, prepare, whole):
    """As `change_selected`; None if a selection cannot be brought up to date."""
    chosen, versions = choose(*selections), [selection.version for selection in selections]

    def change():
        if not all(selection.catch_up(whole) for selection in selections):
            return None
        now = chosen if versions == [selection.version for selection in selections] else choose(*selections)
        return act(now) if now else []

    if not chosen:
        return []
    prepare(chosen)
    return store.change(change, store.jobs_json, store.dlq_json)


def needed_jobs(ended, dependents):
    """Which of these completed jobs must stay, as {key: a dependent that comes after it}. The newest job of an id stays in any case: a
    dependent means it, or a job of that id which is in another state and not among these."""
    first: dict = {}
    for job in dependents:
        for job_id in job.after:
            if job_id not in first or job.created_at < first[job_id].created_at:
                first[job_id] = job  # what later ones mean, it means, too, but for the newest
    namesakes: dict = {}
    for job in ended:
        if job.id in first:
            namesakes.setdefault(job.id, []).append(job)
    return {job.key: first[job_id] for job_id, jobs in namesakes.items()
            for job in jobs_meant(jobs, first[job_id].created_at) + jobs[-1:]}
