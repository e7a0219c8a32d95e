"""How jobs come back (`retry`): worked out without the lock, and done under it in one change.

jobs.json says first that a job is pending; then its entry in dlq.json goes (see `dead_letters`). Its output is set aside before, while the
job is still dead: an attempt that runs writes to the names that the former ones had. A completed job has no entry.
"""
from __future__ import annotations

from collections import namedtuple

from core.dependencies import revived
from core.errors import JobRefused
from core.job import CANCELLED, COMPLETED, DEAD
from core.rules import retried
from storage.dead_letters import no_dead_job, places_of, row_without_burial, with_buried
from storage.layout import encode_line2
from storage.naming import no_job
from storage.notes import Replaced
from storage.output import logs_by_stem, set_aside_logs, stem_of
from storage.selection import Selection, change_selected
from storage.store import OpenFiles

_SET_ASIDE_AT_ONCE = 500  # jobs; others wait for the lock meanwhile

# What is to be done: the jobs; what each line 2 is to be, by its place; those that dlq.json alone has; the places of their entries.
Plan = namedtuple("Plan", "jobs changes lonely entries")

# What came back: the ids of the jobs that were asked for, and those of jobs that died because of them; how many cancelled ones stay.
BroughtBack = namedtuple("BroughtBack", "ids followers cancelled", defaults=((), 0))


class BringingBack:
    """One `retry` of a Store; `now` is in seconds since the epoch."""

    def __init__(self, store, dead_letters, now):
        self._store = store
        self._dead_letters = dead_letters
        self._now = now
        self._prepared = None  # the Plan whose jobs have their output set aside

    def plan(self, jobs, entries):
        """What is to be done for these jobs, of which these entries of dlq.json are."""
        changes = {job.place: encode_line2(retried(job, self._now).progress()) for job in jobs if job.place}
        return Plan(jobs, changes, [job for job in jobs if not job.place], places_of(jobs, entries))

    def prepare(self, plan):
        """Set the output of these jobs aside, some at a time, so that nobody waits long for the lock."""
        jobs_json = self._store.jobs_json
        logs = self._logs(plan.jobs)
        self._prepared = plan
        with_output = [job for job in plan.jobs if stem_of(job) in logs] if logs else []
        for start in range(0, len(with_output), _SET_ASIDE_AT_ONCE):
            with OpenFiles(self._store.lock, jobs_json):
                for job in with_output[start:start + _SET_ASIDE_AT_ONCE]:
                    now = self._store.at_its_place(job)
                    if now is not None and now.state == job.state:
                        self._set_aside({stem_of(job): logs[stem_of(job)]})
                    else:  # it was moved or brought back meanwhile: `act` looks at all jobs that still have ended then
                        self._prepared = None

    def _set_aside(self, logs):
        set_aside_logs(self._store.home, logs, self._store.settings.keep_attempts)

    def _logs(self, jobs):
        """The output of these jobs, as `logs_by_stem` gives it: none where it cannot be seen, and they come back all the same."""
        try:
            return logs_by_stem(self._store.home, jobs)
        except OSError:
            return {}

    def act(self, plan):
        """Bring the jobs back; their ids. Within a change."""
        jobs_json = self._store.jobs_json
        if plan is not self._prepared:
            self._set_aside(self._logs(plan.jobs))
        for place, line2 in plan.changes.items():
            jobs_json.put(place, line2)
        if plan.lonely:
            jobs_json.append([row_without_burial(retried(job, self._now)) for job in plan.lonely])
        # On the disk before its entry goes, or a power cut may leave a job in neither file.
        if not self._store.sync_jobs(jobs_json.keep(), always=bool(plan.lonely)):
            raise Replaced
        try:
            self._store.remove(self._store.dlq_json, plan.entries)
        except Replaced:
            pass  # someone has just saved dlq.json: what it says of jobs that are back does not count
        return [job.id for job in plan.jobs]

    def bring_back_all(self, choice):
        """Bring back the dead jobs that a Choice without names means, but for cancelled ones. Gives back a BroughtBack."""
        selections, cancelled = (Selection(self._store.jobs_json, (DEAD,)), Selection(self._store.dlq_json)), set()

        def choose(dead, entries):
            jobs = choice.of(with_buried(dead.jobs, entries.jobs), no_dead_job)
            cancelled.update(job.key for job in jobs if job.reason == CANCELLED)
            jobs = [job for job in jobs if job.reason != CANCELLED]
            return self.plan(jobs, entries.jobs) if jobs else None

        def act(plan):
            still = self._dead_letters.still_dead(plan.jobs, choice)
            return self.act(plan if still is plan.jobs else self.plan(still, selections[1].jobs))

        ids = change_selected(self._store, selections, choose, act, self.prepare)
        return BroughtBack(ids, (), len(cancelled))

    def bring_back_named(self, choice):
        """Bring back the jobs that a Choice names: dead ones; of an id without a dead job the newest that is completed. Jobs that died
        because of them come back with them (`core.dependencies.revived`). Gives back a BroughtBack. Raises JobNotFound, JobRefused."""
        jobs_json, dlq_json, choice = self._store.jobs_json, self._store.dlq_json, choice.resolved(self._store)
        dependents = Selection(jobs_json, (DEAD,), containing=b', "after": ')

        def choose(named, entries, _):
            return self.plan(_named(choice, named.jobs, entries.jobs), entries.jobs)

        def act(plan):
            followers, named = self._followers(plan.jobs, dependents.jobs), [job.id for job in plan.jobs]
            if followers:
                also = self.plan(followers, self._dead_letters.entries_of(followers))
                plan = Plan(plan.jobs + followers, {**plan.changes, **also.changes}, plan.lonely, plan.entries | also.entries)
            self.act(plan)
            return BroughtBack(named, [job.id for job in followers])

        selections = Selection(jobs_json, ids=choice.ids), Selection(dlq_json, ids=choice.ids), dependents
        return change_selected(self._store, selections, choose, act, self.prepare)

    def _followers(self, jobs, dead):
        """Those of these dead jobs that come back with these jobs. Within a change."""
        ids = {job.id for job in jobs}
        if not any(not ids.isdisjoint(job.after) for job in dead):
            return []
        namesakes: dict = {job_id: [] for job in dead for job_id in job.after}
        with self._store.jobs_json.view(locked=True) as view:
            for job_id, job in view.find_ids(namesakes):
                namesakes[job_id].append(job)
        places = {job.place for job in jobs}
        return revived(jobs, [job for job in dead if job.place not in places], namesakes)


def _named(choice, jobs, entries):
    jobs, chosen = with_buried(jobs, entries), []
    for name in dict.fromkeys(choice.names):
        there = choice._replace(names=(name,)).of(jobs, no_job)
        ended = [job for job in there if job.state == DEAD] or [job for job in there if job.state == COMPLETED][-1:]
        if not ended:
            raise JobRefused("job %r is %s; only one that has ended can be brought back" % (name, there[-1].state))
        chosen += ended
    return list({job.key: job for job in chosen}.values())
