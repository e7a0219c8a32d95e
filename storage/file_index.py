"""The index of jobs.json in memory: what `core.order` knows of the file, kept up with its changes.

It learns all of them: a missing place would be a job that nobody sees, and a missing end of a job would keep a slot for ever.
"""
from __future__ import annotations

from core.job import CANCELLED, COMPLETED, PENDING, PROCESSING, job_from_checked
from core.order import JobIndex
from core.rules import ready_at
from storage.layout import GROUP, column, job_from_lines

_STALE = 1000  # places that may stand in the index for nothing, beside as many as there are pending jobs


class FileIndex(JobIndex):
    """The index of jobs.json: it learns of pending jobs from the file. All methods but `fill` are called within a change.

    With `only` (names) it holds the jobs of these groups alone."""

    def __init__(self, store, now, only=None):
        limits = store.limits()
        super().__init__(store.jobs_json.version, limits)
        self.now = now
        self._store = store
        self._file = store.jobs_json
        self._only = only
        self._told_apart = tuple({**limits, **dict.fromkeys(only or ())})  # the groups whose jobs are looked at one by one
        self._limits = (None, None)  # the settings and the paused groups from which the limits come

    def fill(self, view):
        """Learn of all pending jobs from a View, and of those that run in groups with a limit; and close it."""
        with view:
            for plain, special in view.pending_blocks(self._told_apart):
                if self._only is None:
                    self.add_all(plain)
                self._expect_all(special)
            if self.groups.names:
                for place, record in view.records((PROCESSING,), GROUP):
                    self.note_running(place, job_from_checked(record))
            if self.unknown:
                self.learn(view.find_ids(self.unknown))

    def follow_limits(self):
        """Let the limits of now hold. False if a group has one that is not told apart here, and the whole file must be looked at."""
        now = self._store.settings, self._store.paused_groups()
        if now != self._limits:
            limits = self._store.limits()
            self.groups.limit(limits)
            self._limits = now
            return all(group in self.groups for group in limits)
        return True

    def is_in_full_group(self, job):
        """Whether a job has a group in which no more jobs may run, so that others of it wait."""
        group = self.group_of(job)
        return group is not None and not self.groups.has_room(group)

    def group_of(self, job):
        """The group of a job, if it is one with a limit; else None."""
        group = job.options.get("group") if self.groups.names else None
        return group if type(group) is str and group in self.groups else None

    def note_running(self, place, job):
        """Take in whether a job runs, as this process has just made it, or found it."""
        if not self.groups.names:
            return
        group = self.group_of(job)
        if group is not None and job.state == PROCESSING:
            self.groups.runs(place, group, job.worker)
        else:
            self.groups.left(place)

    def _expect_all(self, pending):
        """Learn of pending records, as `pending_records` gives them."""
        for place, record in pending:
            if record is not None:
                self.expect(place, job_from_checked(record))
            elif self._only is None:
                self.add(place)

    def expect(self, place, job):
        """Learn of a pending job."""
        if self._only is not None and job.group not in self._only:
            return
        due, group = ready_at(job, self._store.settings, self.now), self.group_of(job)
        if job.has_predecessors:
            self.add_dependent(place, job.after, job.created_at, job.priority, due, job.after_any, group)
        elif due > self.now:
            self.add_delayed(due, place, job.priority, group)
        else:
            self.add(place, job.priority, group)

    def catch_up(self):
        """Learn what has changed in the file. False if that is not noted, or much is stale, and the whole file must be looked at."""
        file = self._file
        places = file.notes.changes_since(self.version)
        if places is None or self.groups.size > 2 * file.notes.counts[0] + _STALE:  # the number of pending ones
            return False
        for job_id, job in file.ids_since(self.version, self.named):  # in whatever state: another process may have taken it
            self.appeared(job_id, job)
        for place in places:
            line2 = file.line2(place)
            state = column(line2, "state") if line2 is not None else None
            if self.named and state is not None:
                self.changed(place, state, column(line2, "updated_at"))
            if self.groups.names:
                self._look_whether_runs(place, state, line2)
            if state == PENDING:
                self.expect(place, job_from_lines(file.lines(place), place))
        self._expect_all(file.pending_since(self.version, self._told_apart))
        if self.unknown:
            with file.view(locked=True) as view:
                self.learn(view.find_ids(self.unknown))
        self.version = file.version
        return True

    def _look_whether_runs(self, place, state, line2):
        """Take in a change that may be another process's: whether a job with a limit runs now, or has ended."""
        lines = self._file.lines(place) if state == PROCESSING else None
        if lines is not None and GROUP in lines[0]:
            self.note_running(place, job_from_lines(lines, place))
        else:
            self.groups.left(place, line2 is not None and _has_ended(state, line2))


def _has_ended(state, line2):
    """Whether a worker has recorded the end of the attempt that ran there: else it was cancelled, perhaps brought back since, and its
    process may still run. A job that a worker gives back has no start."""
    reason = column(line2, "reason")
    return state == COMPLETED or reason not in (None, CANCELLED) or (state == PENDING and column(line2, "started_at") is None)
