"""Changes of jobs.json by a worker process, with its index of the jobs in memory (`FileIndex`) up to date before each and after it.

What it promises: the index knows of every change, whoever made it. Where that is not sure there is none, and all of the file is looked at
again. Jobs that die are in dlq.json before jobs.json says so.
"""
from __future__ import annotations

from functools import partial

from core.errors import CorruptFile, StorageFault
from core.job import PENDING
from storage.dead_letters import DeadLetters
from storage.file_index import FileIndex
from storage.layout import job_from_lines


class IndexedChanges:
    """How one worker process changes the jobs of a Store. `noted()` gives the attempts that run now, in any process, as {attempt token:
    what has the digest of its `job`, that of its `group` if it has a slot, and the `number` that its command was told if it has none}. With
    `groups` (names) the index has jobs of these groups alone."""

    def __init__(self, store, noted, groups):
        self.store = store
        self.noted = noted
        self.groups = groups
        self.scans = 0  # how often the whole file was looked at: at the start, and when someone else wrote it
        self._file = store.jobs_json
        self._dead_letters = DeadLetters(store)
        self._index = None  # a FileIndex, once the whole file was looked at and while every change since is known
        self._busy = frozenset()
        self._left_alone = None  # the fingerprint of jobs.json when it was last left as someone else wrote it
        self._unsynced = False

    def _change(self, operation, *files, changes=True):
        """Do `operation()` as `Store.change` does, with the index up to date before it and after it."""
        def change():
            try:
                if self._index is not None and not self._index.catch_up():
                    self._index = None
                result = operation()
                for file in files:
                    file.commit()  # before the index is said to know of it
                if self._index is not None:
                    self._index.version = self._file.version
                return result
            except BaseException as error:
                # The index knows of changes that were not made, and has lost the jobs that were to be claimed. Only where a record does
                # not read right, and nothing was changed, it is right: the place of that record is out of it.
                if self._file.has_changes or not isinstance(error, CorruptFile):
                    self._index = None
                raise

        return self.store.change(change, *files, changes=changes)

    def _change_dying(self, operation):
        """Do `operation(bury)`, a change in which jobs may die; `bury(pairs)` puts them into dlq.json (see `DeadLetters.bury`). Raises
        CorruptFile, StorageFault as long as dlq.json may still be repaired."""
        dead_letters, dlq_json = self._dead_letters, self.store.dlq_json
        try:
            return self._change(lambda: operation(partial(dead_letters.bury, otherwise=dead_letters.go_without)), self._file, dlq_json)
        except (CorruptFile, StorageFault) as error:
            if error.path != dlq_json.path:
                raise
            fault = error
            dead_letters.go_without(fault, ())
        return self._change(lambda: operation(partial(dead_letters.go_without, fault)), self._file)

    def _put(self, place, job):
        self.store.put(place, job)
        self._unsynced = True
        if self._index is not None:
            self._index.changed(place, job.state, job.updated_at)
            self._index.note_running(place, job)
            if job.state == PENDING:  # as line 1 has it: an editor may have changed what a worker holds
                self._index.expect(place, self._job_at(place))

    def _job_at(self, place):
        return job_from_lines(self._file.lines(place), place)

    # -- looking at all of it

    def _leave_alone(self):
        """Count a file that stays as someone else wrote it as looked at, once for each state of it."""
        self._index = None
        if self._left_alone != self._file.fingerprint:
            self._left_alone = self._file.fingerprint
            self.scans += 1

    def _scan(self, changes, now, locked):
        """Look at the whole file for pending jobs; without the lock, since changes are noted. False if the file is left alone."""
        def look():
            self._busy = self._digests_that_run()
            index, view = FileIndex(self.store, now, self.groups), self._file.view(locked)
            if locked:
                index.fill(view)
            return index, view

        found = self._change(look, self._file, changes=changes)
        if found is None:
            return False
        index, view = found
        if not locked:
            index.fill(view)
        with self.store.lock:  # in no other thread's change, or that is hidden: its end says that the index knows of it
            self._index = index
        self.scans += 1
        return True

    def _digests_that_run(self):
        return frozenset(noted.job for noted in self.noted().values())

    def _has_index(self):
        """Whether there is an index, in which the limits of now hold."""
        if self._index is not None and not self._index.follow_limits():
            self._index = None
        return self._index is not None
