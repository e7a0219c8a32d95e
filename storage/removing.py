"""How jobs go for good (`clean`, `dlq purge`, `remove`): worked out without the lock, and done under it in one change.

Their entries go from dlq.json first, then the jobs from jobs.json (see `dead_letters`). A job stays that another one comes after.
"""
from __future__ import annotations

from functools import partial

from core.errors import JobRefused, hint
from core.job import DEAD, PENDING, PROCESSING
from storage.dead_letters import places_of, with_buried
from storage.output import remove_logs
from storage.selection import Selection, change_selected, needed_jobs


class Removal:
    """The removal of jobs in some states by a Choice. Jobs in the states `guarded` stay if another one comes after them; who names one is
    refused. `explain(id)` says what of an id that no such job has. Their output goes first where the disk is too full to rewrite a file."""

    def __init__(self, store, dead_letters, states, choice, explain, guarded=()):
        self._store = store
        self._dead_letters = dead_letters
        self._choice = choice = choice.resolved(store)
        self._explain = explain
        self._guarded = guarded
        self._jobs = Selection(store.jobs_json, states, choice.ids)
        self._entries = Selection(store.dlq_json, ids=choice.ids) if DEAD in states else None
        self._dependents = Selection(store.jobs_json, (PENDING, PROCESSING, DEAD), containing=b', "after": ') if guarded else None

    def run(self):
        """Remove the jobs, and give them back. Raises JobNotFound, JobRefused."""
        selections = [selection for selection in (self._jobs, self._entries, self._dependents) if selection is not None]
        return change_selected(self._store, selections, lambda *_: self._plan(self._choose()), self._act)

    def _choose(self):
        """The jobs that are to go; one that dlq.json alone has is at place 0."""
        there, entries = self._jobs.jobs, self._entries.jobs if self._entries is not None else ()
        jobs = self._choice.of(with_buried(there, entries), self._explain)
        for job in jobs:
            if job.state == PROCESSING:
                name = self._choice.name_of(job)
                raise JobRefused("job %r is running; %s ends it" % (name, hint("cancel", name)))
        return self._without_needed(jobs, there) if self._guarded else jobs

    def _without_needed(self, jobs, there):
        going = {job.key for job in jobs}
        needed = needed_jobs([job for job in there if job.state in self._guarded],
                             [job for job in self._dependents.jobs if job.key not in going])
        for job in jobs:
            if self._choice.names is not None and job.key in needed:
                raise JobRefused("job %r cannot be removed: %r, which is %s, comes after it"
                                 % (job.id, needed[job.key].id, needed[job.key].state))
        return [job for job in jobs if job.key not in needed]

    def _plan(self, jobs):
        """(the jobs, the places of their entries or None if they were not looked up, the places of the jobs); () if there are none."""
        entries = places_of(jobs, self._entries.jobs) if self._entries is not None else None
        return (jobs, entries, {job.place for job in jobs} - {0}) if jobs else ()

    def _act(self, planned):
        jobs, entries, places = planned
        if self._entries is None:
            entries = places_of(jobs, self._dead_letters.entries_of(jobs))
        else:
            still = self._dead_letters.still_dead(jobs, self._choice)
            if still is not jobs:
                jobs, entries, places = self._plan(still) or ([], set(), set())
        make_room = partial(remove_logs, self._store.home, jobs)
        self._store.remove(self._store.dlq_json, entries, make_room)
        self._store.remove(self._store.jobs_json, places, make_room)
        return jobs
