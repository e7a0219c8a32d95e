"""The dead letter queue: dlq.json, and the jobs of jobs.json that are dead.

jobs.json owns the state of a job; dlq.json says when it died, and holds its last lines of output. A kill may fall between the writes of
the two files, so their order matters:

- A job dies in dlq.json first, then in jobs.json; it comes back in jobs.json first. An entry does not count while its job is in
  jobs.json and not dead there; of several entries of one job the last one counts.
- Where records are removed, they go from dlq.json first: what is left there alone would look like a dead job.
- A job dies without an entry if dlq.json cannot be written for DLQ_PATIENCE seconds: no worker waits for its repair. `cancel` does not
  wait at all: on a full disk the state of a job can still be changed, in place.
"""
from __future__ import annotations

from core.errors import StorageFault, hint
from core.job import COMPLETED, DEAD, PENDING, PROCESSING, TIMEOUT, job_from_checked
from core.rules import time_limit
from storage.layout import encode_line1, encode_line2
from storage.store import OpenFiles

DLQ_PATIENCE = 10.0  # seconds that a dying job waits for a dlq.json that is broken or cannot be written

# What an entry of dlq.json says besides the job itself.
BURIED = ("failed_at", "output", "timed_out_after", "died_of")


def no_dead_job(job_id):
    """What is said of an id that no dead job has."""
    return "there is no dead job %r; %s shows those that there are" % (job_id, hint("dlq list"))


class DeadLetters:
    """The dead letter queue of a Store. All methods but `jobs` are called within a change."""

    def __init__(self, store):
        self._store = store
        self._file = store.dlq_json
        self._down_since = None  # since when dlq.json could not be read or written, by the monotonic clock

    # -- jobs that die

    def bury(self, pairs, otherwise):
        """Put jobs into dlq.json, as pairs (the job as it has died, its last lines). If that cannot be written, `otherwise(fault, pairs)`
        is called: `go_without`, which has patience, or `tell_unburied`."""
        try:
            self._file.append([self._entry(job, output) for job, output in pairs])
            self._down_since = None
        except StorageFault as fault:
            otherwise(fault, pairs)

    def go_without(self, fault, pairs):
        """Let jobs die without an entry, and tell of them, once dlq.json has failed for DLQ_PATIENCE seconds. Raises the fault before."""
        from time import monotonic
        if self._down_since is None:
            self._down_since = monotonic()
        if monotonic() - self._down_since < DLQ_PATIENCE:
            raise fault
        self.tell_unburied(fault, pairs)

    def tell_unburied(self, fault, pairs):
        """Tell of jobs that die without an entry, and of the fault that is the reason."""
        for job, _ in pairs:
            self._store.notice("%s; that %s is dead is noted in jobs.json alone" % (fault.args[0], job.id))

    def _entry(self, job, output):
        fields = dict(job.fields(), failed_at=job.updated_at, output=output)
        if job.reason == TIMEOUT:
            fields["timed_out_after"] = time_limit(job, self._store.settings)
        return encode_line1(fields), encode_line2(job.progress())

    # -- dead jobs

    def jobs(self):
        """Each dead job of jobs.json, with what dlq.json says of its end (`failed_at`, `output` in options), and each job that only
        dlq.json still has; in the order in which they died."""
        with OpenFiles(self._store.lock, self._store.jobs_json, self._file):
            jobs, entries = self._store.jobs_json.view(), self._file.view()
        with jobs, entries:
            dead = {_key(record) for _, record in jobs.records((DEAD,))}
            last = {_key(record): number for number, (_, record) in enumerate(entries.records())}
            unknown = set(last) - dead
            if unknown:
                unknown.difference_update(_key(record) for _, record in jobs.records((PENDING, PROCESSING, COMPLETED)))
            for number, (_, record) in enumerate(entries.records()):
                key = _key(record)
                if last[key] == number and (key in dead or key in unknown):
                    yield job_from_checked(record)
            if dead.difference(last):
                for _, record in jobs.records((DEAD,)):
                    if _key(record) not in last:
                        yield job_from_checked(record)

    def still_dead(self, jobs, choice):
        """These jobs without those that an entry alone is of, as a crash leaves it, while the job lives on."""
        lonely = {job.id for job in jobs if not job.place}
        if not lonely:
            return jobs
        with self._store.jobs_json.view(locked=True) as view:
            alive = {(record["id"], record["created_at"]) for _, record in view.records(ids=lonely)}
        jobs = [job for job in jobs if job.place or job.key not in alive]
        choice.refuse_missing(jobs, no_dead_job)
        return jobs

    def entries_of(self, jobs):
        """The entries with the ids of these jobs."""
        with self._file.view(locked=True) as view:
            if not any(view.count().values()):
                return []
            return [job_from_checked(record, place) for place, record in view.records(ids={job.id for job in jobs})]

    def rewrite(self, job):
        """Let the entries of a dead job say what it is now that it was edited. jobs.json says it already; a crash in between leaves entries
        that say what it was, and a retry takes nothing from them."""
        entries = {entry.place: entry for entry in self.entries_of([job]) if entry.key == job.key}
        if entries:
            with self._file.view(locked=True) as view:
                self._file.rewrite(_row_like(job, entries[place]) if place in entries else row for place, row in view.rows())


def _row_like(job, entry):
    """The row of an entry that says of a job what this one says of its end."""
    fields = dict(job.fields(), **{name: value for name, value in entry.options.items() if name in BURIED})
    return encode_line1(fields), encode_line2(entry.progress())


def places_of(jobs, entries):
    """The places of those of these entries that are of these jobs."""
    keys = {job.key for job in jobs} if entries else ()
    return {entry.place for entry in entries if entry.key in keys}


def _key(record):
    """A number that stands for the key of a record: a set of them is small."""
    return hash((record["id"], record["created_at"]))


def with_buried(jobs, entries):
    """These jobs of jobs.json, the dead ones first, in the order in which they died. With them each job that only these entries of dlq.json
    have, as the last of its entries has it, at place 0. An entry of a job that is not dead was left by a crash."""
    last = {}
    for entry in entries:
        last.pop(entry.key, None)
        last[entry.key] = entry
    living = [job for job in jobs if job.state != DEAD]
    for job in living:
        last.pop(job.key, None)
    of_jobs = {job.key: job for job in jobs if job.state == DEAD}
    buried = [of_jobs.get(key) or entry._replace(place=0) for key, entry in last.items()]
    return buried + [job for key, job in of_jobs.items() if key not in last] + living


def row_without_burial(job):
    """A job that dlq.json alone had, as a row of jobs.json."""
    return encode_line1({name: value for name, value in job.fields().items() if name not in BURIED}), encode_line2(job.progress())
