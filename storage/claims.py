"""The queue as a worker process sees it: it claims jobs, records how their attempts ended, and lets jobs die that come after dead ones.

What it promises: a job that was added ends as completed or dead, whatever is killed. A claimed job holds the token of its attempt, and its
end is recorded by that token alone: if the token is gone, the job was taken away (cancelled, cleared, or set back by an editor), and the
outcome counts for nothing. An index in memory (`core.order`) says which job is next; the file decides whether it may run.

At most so many jobs of a group run at once as its limit says, in all worker processes together. For a claim is made under the lock, and
the index knows all jobs then that are `processing` by the file, with the slots that stand in their tokens.
"""
from __future__ import annotations

import os
from collections import namedtuple
from functools import partial
from itertools import islice

from core.errors import CorruptFile
from core.job import CANCELLED, DEAD, DEPENDENCY, PENDING, PROCESSING, job_from_checked
from core.rules import after_attempt, claimed, given_back, given_up, ready_at
from core.slots import with_slot
from core.system import sync
from storage.indexed_changes import IndexedChanges
from storage.layout import column, job_from_lines
from storage.store import OpenFiles
from storage.tally import Tally

_BURIED_AT_ONCE = 200  # jobs; others wait for the lock meanwhile
_LOOK_AGAIN = 0.2  # seconds between two looks at what other processes run, while an attempt is being ended that has a slot

# The end of an attempt: its job; its Outcome, or None if the job goes back and the attempt is not counted; when it ended, in seconds since
# the epoch; its last lines, which dlq.json holds if the job dies; how many seconds it took (0: not known); whether it was started at all.
Finished = namedtuple("Finished", "job outcome now output seconds started", defaults=(True,))


class Claims(IndexedChanges):
    """What one worker process claims and records in a Store. All its threads share it.

    `noted` and `groups` are as for IndexedChanges. `buried(jobs)` is called for jobs that have died because a job that they come after is
    dead or gone.
    """

    def __init__(self, store, noted=dict, buried=lambda jobs: None, groups=None):
        super().__init__(store, noted, groups)
        self.buried = buried
        self.made_room = False  # a job of a full group has ended, so that other processes may go on; for the owner to see and to reset
        self._tally = Tally()
        self._claimed_in = {}  # token: the generation of the file in which its job was claimed

    # -- claiming

    def claim(self, token, now, preferred=None):
        """Mark the job that comes next as running under `token`, and give it back; None if no job may run now.

        `preferred` is a job that comes before any other, if it may run. A job does not run beside its own former attempt. A file that
        someone else wrote stays as it is while none of its jobs may run.
        """
        def changes(file):
            wanted = not self.store.paused() and file.has_pending(
                lambda job: (self.groups is None or job.group in self.groups) and ready_at(job, self.store.settings, now) <= now)
            if not wanted:
                self._leave_alone()
            return wanted

        for attempt in range(3):
            if self._index is None and not self._scan(changes, now, locked=attempt == 2):
                return None
            self._bury_doomed(now)
            job = self._change(lambda: self._claim(token, now, preferred), self._file, changes=changes)
            if job is not None or (self._index is not None and not self._index.doomed):
                return job
        return job

    def _claim(self, token, now, preferred):
        if not self._has_index() or self.store.paused():
            return None
        if self._index.groups.is_unsure:
            self._index.groups.learn_noted({token: noted.group for token, noted in self.noted().items()})
        job = None
        if preferred is not None:
            place, line2 = self.store.locate(preferred)
            job = self._try_claim(place, token, now) if line2 is not None else None
        return self._claim_next(token, now) if job is None else job

    def _claim_next(self, token, now, grouped=True):
        """Claim the job that comes next by the index; None if none may run now, or, without `grouped`, if its group has a limit."""
        while True:
            place = self._index.pop(now, grouped)
            if place is None:
                return None
            job = self._try_claim(place, token, now)
            if job is not None:
                return job

    def _try_claim(self, place, token, now):
        """Mark the job at a place as running; None if it is not pending there, or may not run now."""
        lines = self._file.lines(place)
        if lines is None or column(lines[1], "state") != PENDING:
            return None
        job = job_from_lines(lines, place)
        if job.has_predecessors and not self._index.may_run(place):
            return None
        group = self._index.group_of(job)
        due = self._due(job, now)
        if due > now:
            self._index.add_delayed(due, place, job.priority, group)
            return None
        if group is not None:
            if not self._index.groups.has_room(group):  # it is one that its worker has waited for, and stands in the index besides
                return None
            slot = self._index.groups.slot(group, lambda: {token: noted.number for token, noted in self.noted().items()})
            token = token if slot is None else with_slot(token, slot)
        job = claimed(job, token, now)
        self._put(place, job)
        self._claimed_in[token] = self._file.notes.generation
        return job

    def _due(self, job, now):
        """When a pending job may run: at its time; but while its former attempt runs, in a second, to look again."""
        due = ready_at(job, self.store.settings, now)
        if due <= now and (self._busy or (job.started_at and not job.attempts)):  # someone else wrote the file, or it was brought back
            self._busy = self._digests_that_run()
            if job.digest in self._busy:
                return now + 1
        return due

    def next_due(self):
        """When the first of the jobs that wait is due, in seconds since the epoch; None if none waits, or that is not known. While attempts
        are being ended that may hold a slot, others are looked at soon."""
        index = self._index
        if index is None:
            return None
        due = index.next_due()
        again = index.now + _LOOK_AGAIN if index.groups.is_unsure and index.groups.size else None
        return again if due is None else due if again is None else min(due, again)

    # -- jobs that come after a dead one

    def _bury_doomed(self, now):
        """Bury the jobs that come after a dead job, then those that come after these, and tell of them."""
        while self._index is not None and self._index.doomed:
            buried = self._change_dying(partial(self._bury_some, now))
            if buried:
                for job in buried:
                    self._tally.note(False, job.reason, 0.0, job.state, now)
                self.buried(buried)

    def _bury_some(self, now, bury):
        """Bury some doomed jobs, and give them back; not so many that others wait long for the lock. The index is up to date."""
        buried: list = []
        while self._index is not None and self._index.doomed and len(buried) < _BURIED_AT_ONCE:
            found = [self._doomed_at(place, now) for place in list(islice(self._index.doomed, _BURIED_AT_ONCE))]
            if None in found:
                self._index = None  # it is wrong, and the file is right
                break
            bury([(job, "") for job in found])
            for job in found:
                self._put(job.place, job)
            buried += found
        return buried

    def _doomed_at(self, place, now):
        """The doomed job at a place as it is once it has died; None if it is not pending, or comes after nothing dead."""
        del self._index.doomed[place]  # before a record that does not read right is in the way of the others for ever
        job_id, fate, killer = self._index.died_of(place)
        if not (self._is_in(place, PENDING) and (not killer or self._is_in(killer, DEAD))):
            return None
        job = given_up(self._job_at(place), DEPENDENCY, now)
        return job._replace(options=dict(job.options, died_of="%s, which it comes after, is %s" % (job_id, fate)))

    def _is_in(self, place, state):
        line2 = self._file.line2(place)
        return line2 is not None and column(line2, "state") == state

    # -- recording

    def finish_and_claim(self, finished, now, tokens=()):
        """Record how the attempts of claimed jobs ended (`Finished` each), and claim the next ones at once, at most one for each of
        `tokens`: (what became of them, the next jobs). There may be fewer of these than could be claimed: `claim` has the last word.

        Of a job that was taken away from its worker, None tells what became of it.
        """
        afters = [given_back(each.job, each.now) if each.outcome is None
                  else after_attempt(each.job, each.outcome, self.store.settings, each.now, each.seconds) for each in finished]

        def finish(bury=None):
            results = [self._write_outcome(each, after, bury) for each, after in zip(finished, afters)]
            return results, self._claim_some(tokens, now)

        self._bury_doomed(now)  # before, so that nothing is recorded or claimed if that fails
        dies = any(after.state == DEAD for after in afters)
        results, following = self._change_dying(finish) if dies else self._change(finish, self._file)
        for each, after in zip(finished, results):
            if each.outcome is not None and each.started:
                reason, state = (each.outcome.reason, after.state) if after is not None else (CANCELLED, None)
                self._tally.note(True, reason, each.seconds, state, each.now)
        return results, following

    def _write_outcome(self, finished, after, bury):
        """Change a job that a worker holds into what it is `after`; None if the worker does not hold it any more."""
        job = finished.job
        place, line2 = self.store.locate(job, self._claimed_in.get(job.worker))
        if line2 is None:
            return None
        if after.state == DEAD:
            bury([(after, finished.output)])
        self.made_room = self.made_room or (self._index is not None and self._index.is_in_full_group(job))
        self._put(place, after)
        self._claimed_in.pop(job.worker, None)
        return after if place == job.place else after._replace(place=place)

    def _claim_some(self, tokens, now):
        """The jobs that come next, one for each of these tokens if there are so many; up to the first that has a group with a limit, since
        it might not start at once, and would hold a slot meanwhile."""
        following = []
        try:
            for token in tokens if tokens and self._has_index() and not self._index.unknown and not self.store.paused() else ():
                job = self._claim_next(token, now, grouped=False)
                if job is None:
                    break
                following.append(job)
        except CorruptFile:  # `claim` will tell; the index does not know that job's place any more
            self._index = None
        return following

    def finish(self, job, outcome, now, output=""):
        """Record how the attempt of one job ended, as a `Finished`: the job as it is now, None if it was taken away."""
        return self.finish_and_claim([Finished(job, outcome, now, output, 0.0)], now)[0][0]

    def sync_outcomes(self):
        """Put what was recorded since the last call on the disk, and add it to the counters. Raises LockError, OSError."""
        try:
            if self._unsynced and self.store.settings.fsync:
                self._unsynced = False
                self._sync_files()
        finally:
            self._tally.write(self.store.lock)

    def _sync_files(self):
        for file in (self.store.dlq_json, self._file):
            with OpenFiles(self.store.lock, file):
                descriptor = file.keep()
            if descriptor is not None:
                try:
                    sync(descriptor)
                finally:
                    os.close(descriptor)

    # -- jobs that run

    def taken_away(self, jobs):
        """Those of these running jobs whose token is gone from the file: they were cancelled, cleared, or set back by an editor."""
        return [job for job, now in zip(jobs, self._as_held(jobs)) if now is None]

    def has_lost_slot(self, job):
        """Whether a claimed job with a slot is not ours any more, or is in another group by now: another job may have got its slot, unless
        its attempt was noted before that."""
        now = self._as_held([job])[0]
        return now is None or now.group != job.group

    def _as_held(self, jobs):
        """These claimed jobs as they are now, None for each whose token is gone from the file."""
        with OpenFiles(self.store.lock, self._file):
            if self._file.is_in_our_layout:
                places = [self.store.locate(job, self._claimed_in.get(job.worker))[0] for job in jobs]
                return [self._job_at(place) if place else None for place in places]
            with self._file.view(locked=True) as view:
                running = [job_from_checked(record) for _, record in view.records((PROCESSING,))]
        held = {(job.key, job.worker): job for job in running}
        return [held.get((job.key, job.worker)) for job in jobs]

    def abandoned(self, runs):
        """The jobs in state processing that no one runs. `runs(worker)` tells for a worker's token."""
        return [job for job in self.store.running() if not (job.worker and runs(job.worker))]
