"""The queue: every operation on jobs.json and dlq.json, each one a short read-modify-write under the lock.

What it promises: a job that was said to be added ends as completed or dead, whatever is killed. So the order of writes matters:

- A job dies in dlq.json first, then in jobs.json; it comes back in jobs.json first. jobs.json owns the state: an entry of dlq.json
  whose job is in jobs.json and not dead does not count, and of several entries of one job the last one does.
- Records that go (`clean`, `purge`) go from dlq.json first, or what is left there would look like a dead job.
- A running job is known by its worker token, never by its place or its id.
"""
from __future__ import annotations

import os
from functools import partial
from itertools import islice

from core.errors import CorruptFile, InvalidJob, JobChanged, JobRefused, QueueError, StorageFault, not_confirmed, not_utf8, storage_error
from core.home import JOBS, dead_letters_path, jobs_path, lock_path, paused_path, wake_workers
from core.job import (CANCELLED, COMPLETED, DEAD, DEPENDENCY, LOST, PENDING, PROCESSING, STATES, TIMEOUT, Outcome, first_run_at,
                      job_from_checked, job_from_record, new_job_fields)
from core.order import find_cycle, jobs_meant
from core.rules import after_attempt, claimed, given_back, given_up, ready_at, retried, time_limit
from core.strict_json import encode_json
from core.system import open_private, remove_file, sync, sync_folder
from core.times import format_time, parse_time
from storage.claims import Ended
from storage.file_lock import FileLock
from storage.job_file import JobFile, Replaced
from storage.layout import column, encode_line1, encode_line2, job_from_lines
from storage.selection import Selection, buried_jobs, last_touched_before, needed_jobs, once_for_each_version, refuse_missing
from storage.store import OpenFiles, what_is_stored

DLQ_PATIENCE = 10.0  # seconds that a dying job waits for a dlq.json that is broken or cannot be written

# What an entry of dlq.json says besides the job itself.
BURIED = ("failed_at", "output", "timed_out_after", "died_of")

_NO_JOB = "there is no job %r; 'queuectl list' shows all"
_NO_DEAD_JOB = "there is no dead job %r; 'queuectl dlq list' shows those that there are"
_BURIED_AT_ONCE = 200  # jobs; others wait for the lock meanwhile


class JobManager:
    """The jobs of one home. Threads may share it; processes each have their own.

    `settings` is replaced by whoever follows config.json. `notice(message)` is called for what the user should know while an
    operation goes on. `busy()` gives the digests of the jobs that run now, in any process, and `buried(jobs)` is told of those that died
    since one that they come after is dead or gone; only a worker process sets them.
    """

    def __init__(self, home, settings, notice):
        self.home = home
        self.settings = settings
        self.busy = None
        self.buried = None
        self._left_alone = None  # what jobs.json was when it was last left as someone else wrote it
        self.scans = 0  # how often the whole file was looked at: at the start, and when someone else wrote it
        self._notice = notice
        self._lock = FileLock(lock_path(home), self._waiting)
        self._jobs = JobFile(jobs_path(home), self._lock, 0, job_from_record, notice)
        self._dlq = JobFile(dead_letters_path(home), self._lock, 1, job_from_record, notice, allow_duplicate_keys=True)
        self._paused = paused_path(home)
        self._index = None
        self._busy = frozenset()
        self._unsynced = False
        self._dlq_down_since = None  # since when dlq.json could not be read or written, by the monotonic clock
        self._claimed_in = {}  # token: the generation of the file in which its job was claimed

    def _waiting(self):
        self._notice("waiting for %s: another queuectl process has held it for some seconds" % self._lock.path)

    def locked(self):
        """The queue's lock, for `with`: for what must not happen while the queue changes."""
        return self._lock

    def _change(self, operation, *files, changes=True):
        """The result of `operation()`, done under the lock with the files open; done again if an editor replaced one meanwhile. Where
        `changes` (see `OpenFiles`) lets a file be as someone else wrote it, nothing is done, and it is None."""
        for file in files:
            file.durable = self.settings.fsync
        while True:
            began = []
            try:
                with OpenFiles(self._lock, *files, change=changes):
                    if not all(file.is_ours for file in files):
                        self._leave_alone()
                        return None
                    began += files  # bringing a file into our layout changes no job
                    return self._do(operation, files)
            except Replaced:
                continue
            except StorageFault as fault:
                fault.effect = what_is_stored(began)
                raise

    def _confirm(self, *files):
        """Raise NotConfirmed if the name of one of these files, which were rewritten, may not be on the disk."""
        for file in files:
            error, file.unconfirmed = file.unconfirmed, None
            if error is not None:
                raise not_confirmed(file.path, error)

    def _leave_alone(self):
        """Do nothing about jobs.json as someone else wrote it, but to have looked at it."""
        self._index = None
        if self._left_alone != self._jobs.fingerprint:
            self._left_alone = self._jobs.fingerprint
            self.scans += 1

    def _do(self, operation, files):
        try:
            if self._index is not None:
                self._catch_up()
            result = operation()
            for file in files:
                file.commit()
            if self._index is not None:
                self._index.version = self._jobs.version_after_own_changes(self._index.version)
            return result
        except BaseException as error:
            if self._jobs.has_changes or not isinstance(error, CorruptFile):  # which is of a record that the index knows no more
                self._index = None  # which knows of changes that were not made, and not of jobs that were to be claimed
            raise

    def _change_dying(self, operation):
        """The result of `operation(bury)` for jobs that may die, done as by `_change`; `bury(jobs, output)` puts them into dlq.json. Once
        that file could not be read or written for DLQ_PATIENCE seconds, they die without: jobs.json owns the state, a log the output, and
        no worker waits for a repair. Raises CorruptFile, StorageFault until then."""
        def bury(jobs, output):
            try:
                self._bury(jobs, output)
                self._dlq_down_since = None
            except StorageFault as fault:
                self._go_without_dlq(fault, jobs)

        try:
            return self._change(lambda: operation(bury), self._jobs, self._dlq)
        except (CorruptFile, StorageFault) as error:
            if error.path != self._dlq.path:
                raise
            fault = error
            self._go_without_dlq(fault, ())
        return self._change(lambda: operation(lambda jobs, output: self._go_without_dlq(fault, jobs)), self._jobs)

    def _go_without_dlq(self, fault, jobs):
        """Tell that these jobs die without an entry in dlq.json; raise its fault while that is too young."""
        from time import monotonic
        if self._dlq_down_since is None:
            self._dlq_down_since = monotonic()
        if monotonic() - self._dlq_down_since < DLQ_PATIENCE:
            raise fault
        self._tell_unburied(jobs, fault)

    def _tell_unburied(self, jobs, fault):
        for job in jobs:
            self._notice("%s; that %s is dead is noted in jobs.json alone" % (fault.args[0], job.id))

    # ------------------------------------------------------------ adding

    def enqueue(self, records, cwd, now, unique=False):
        """Add jobs as users describe them (objects with id and command), all or none, and give back their ids in order.

        `cwd` is the folder for those that name none; `now` is in seconds since the epoch; `unique` refuses ids that are there. They are
        on the disk when this returns (setting `fsync`). Raises InvalidJob or JobRefused with nothing added, StorageFault, CorruptFile,
        NotConfirmed.
        """
        ids, rows, tails, dependent = [], [], {}, {}
        unique = unique or self.settings.unique_ids
        for record in records:
            fields = new_job_fields(record, cwd)
            run_at = first_run_at(record, now) if "run_at" in record or "delay" in record else None
            ids.append(fields["id"])
            rows.append(_split_line1(fields, tails) + (run_at,))
            if fields.get("after"):
                dependent.setdefault(fields["id"], set()).update(fields["after"])
        if not rows:
            return ids

        def add():
            if unique:
                self._check_unique(ids)
            dead, last_end = self._check_dependencies(dependent, set(ids)) if dependent else ((), 0.0)
            first = max(int(now * 1e6), self._jobs.last_created + 1, int(round(last_end * 1e6)) + 1)
            self._jobs.append(_stamped(rows, first), first + len(rows) - 1)
            return self._jobs.keep(), format_time(first / 1e6), dead

        while True:
            descriptor, created_at, dead = self._change(add, self._jobs)
            if self._confirmed(descriptor, created_at):
                self._tell_of_dead(dead)
                wake_workers(self.home)
                return ids

    def _check_unique(self, ids):
        wanted = set(ids)
        if len(wanted) != len(ids):
            ordered = sorted(ids)
            twice = next(job_id for job_id, following in zip(ordered, ordered[1:]) if job_id == following)
            raise JobRefused("the id %s is given twice" % encode_json(twice))
        with self._jobs.view(locked=True) as view:
            for job_id, _ in view.find_ids(wanted):
                raise JobRefused("there is a job with the id %s already" % encode_json(job_id))

    def _check_dependencies(self, dependent, new):
        """Raise JobRefused if a new job names an id that is not there, or if jobs would wait for each other in a circle. Gives back (the
        ids of dead jobs that new ones come after, when the last job with a named id ended, in seconds since the epoch; 0 if none has).

        By that time, and not by the clock alone, a new job is younger than what ended before it was added. Ids that are added along with it
        are not looked up: those jobs have not ended, and so they are meant."""
        there: dict = {job_id: [] for job_id in set().union(*dependent.values()) - new}
        with self._jobs.view(locked=True) as view:
            for job_id, job in view.find_ids(there) if there else ():
                there[job_id].append(job)
            missing = [job_id for job_id, jobs in there.items() if not jobs]
            if missing:
                raise JobRefused("\"after\" names %s, and there is no such job" % encode_json(min(missing)))
            edges = {job_id: set(after) for job_id, after in dependent.items()}
            for _, record in view.records((PENDING, PROCESSING, DEAD), containing=b', "after": '):
                edges.setdefault(record["id"], set()).update(job_from_checked(record).after)
        circle = find_cycle(edges)
        if circle:
            raise JobRefused("\"after\" makes jobs wait for each other in a circle: %s" % " after ".join(circle))
        dead = [job_id for job_id in sorted(there) if any(job.state == DEAD for job in jobs_meant(there[job_id]))]
        ends = [job.updated_at for jobs in there.values() for job in jobs if job.state in (COMPLETED, DEAD) and job.updated_at]
        return dead, parse_time(max(ends)) if ends else 0.0

    def _tell_of_dead(self, dead):
        if dead:
            self._notice("%s %s dead, so that what comes after goes to the dead letter queue, too; 'queuectl retry' brings both back"
                         % (", ".join(map(repr, dead[:5])), "is" if len(dead) == 1 else "are"))

    def _synced(self, descriptor, always=False):
        """Sync jobs.json after a change (if the setting `fsync` says so, or `always`), and close it; whether the path still names it.
        Raises NotConfirmed."""
        if descriptor is None:
            return True  # there is no file, and so nothing to sync
        try:
            if always or self.settings.fsync:
                sync(descriptor)
            self._confirm(self._jobs)
            return self._jobs.is_current(descriptor)
        except OSError as error:
            raise not_confirmed(self._jobs.path, error) from None
        finally:
            os.close(descriptor)

    def _confirmed(self, descriptor, created_at):
        """Sync jobs.json after an append; False if an editor's save has removed what was added. Raises NotConfirmed."""
        if self._synced(descriptor):
            return True
        with self._view(self._jobs) as view:
            return any(record["created_at"] == created_at for _, record in view.records(containing=created_at.encode("ascii")))

    # ------------------------------------------------------------ workers

    def claim(self, token, now, preferred=None):
        """The job that comes next, marked as running under `token`, or None if none may run now.

        `preferred` is a job that is taken before any other, if it may run. A job whose last attempt still runs is left alone. A file that
        someone else wrote is left as it is while none of its jobs may run.
        """
        def changes(file):
            return not self.paused() and file.has_pending(lambda job: ready_at(job, self.settings, now) <= now)

        for attempt in range(3):
            if self._index is None and not self._scan(changes, now, locked=attempt == 2):
                return None
            self._bury_doomed(now)
            claim = self._change(lambda: self._claim(token, now, preferred), self._jobs, changes=changes)
            if claim is not None or (self._index is not None and not self._index.doomed):
                return claim
        return claim

    def _claim(self, token, now, preferred):
        if self._index is None or self.paused():
            return None
        if preferred is not None:
            place, line2 = self._find(preferred)
            job = self._take(place, token, now) if line2 is not None else None
            if job is not None:
                return job
        return self._next(token, now)

    def _next(self, token, now):
        """Claim the job that comes next by the index; None if none may run now."""
        while True:
            place = self._index.pop(now)
            if place is None:
                return None
            job = self._take(place, token, now)
            if job is not None:
                return job

    def _take(self, place, token, now):
        """Mark the job at a place as running, if it is pending there; put it aside if it is not due, or if its former attempt runs."""
        lines = self._jobs.lines(place)
        if lines is None or column(lines[1], "state") != PENDING:
            return None
        job = job_from_lines(lines, place)
        if job.after and not self._index.may_run(place):
            return None
        due = ready_at(job, self.settings, now)
        if due > now:
            self._index.add_delayed(due, place, job.priority)
            return None
        if self._busy or (job.started_at and not job.attempts):  # someone else wrote the file, or the job was brought back
            self._busy = self.busy() if self.busy else self._busy
            if job.digest in self._busy:
                self._index.add_delayed(now + 1, place, job.priority)
                return None
        job = claimed(job, token, now)
        self._put(place, job)
        self._claimed_in[token] = self._jobs.generation
        return job

    def _scan(self, changes, now, locked):
        """Look at the whole file for pending jobs; without the lock, since what changes meanwhile is known from the ring. False if it is
        left alone (see `_change`)."""
        from core.order import JobIndex

        def look():
            self._busy = self.busy() if self.busy else frozenset()
            index = JobIndex(self._jobs.version)
            view = self._jobs.view(locked)
            if locked:
                self._fill(index, view, now)
            return index, view

        found = self._change(look, self._jobs, changes=changes)
        if found is None:
            return False
        index, view = found
        if not locked:
            self._fill(index, view, now)
        self._index = index
        self.scans += 1
        return True

    def _fill(self, index, view, now):
        with view:
            self._expect_all(index, view.pending(), now)
            if index.unknown:
                index.learn(view.find_ids(index.unknown))

    def _expect_all(self, index, pending, now):
        """Let the index know pending records, as `pending_records` gives them."""
        for place, record in pending:
            if record is None:
                index.add(place)
            else:
                self._expect(index, job_from_checked(record), place, now)

    def _expect(self, index, job, place, now):
        """Let the index know a pending job."""
        due = ready_at(job, self.settings, now)
        if job.after:
            index.block(place, job.after, job.created_at, job.priority, due)
        elif due > now:
            index.add_delayed(due, place, job.priority)
        else:
            index.add(place, job.priority)

    def _catch_up(self):
        """Bring the index up to the file. False if the whole file must be looked at again (then there is no index)."""
        index, jobs = self._index, self._jobs
        places = jobs.changes_since(index.version) if index is not None else None
        if places is None:
            self._index = None
            return False
        for job_id, job in jobs.ids_since(index.version, index.named):  # in whatever state: another process may have taken it
            index.appeared(job_id, job)
        for place in places:
            line2 = jobs.line2(place)
            state = column(line2, "state") if line2 is not None else None
            if index.named and state is not None:
                index.changed(place, state, column(line2, "updated_at"))
            if state == PENDING:
                self._expect(index, job_from_lines(jobs.lines(place), place), place, index.now)
        self._expect_all(index, jobs.pending_since(index.version), index.now)
        if index.unknown:
            with jobs.view(locked=True) as view:
                index.learn(view.find_ids(index.unknown))
        index.version = jobs.version
        return True

    def _bury_doomed(self, now):
        """Move the jobs to the dead letter queue that wait for a dead one, and then those that wait for them; and tell of them."""
        while self._index is not None and self._index.doomed:
            buried = self._change_dying(lambda bury: self._bury_some(now, bury))
            if buried and self.buried:
                self.buried(buried)

    def _bury_some(self, now, bury):
        """Bury doomed jobs, as many as do not keep others waiting for the lock; gives them back. What a worker once knew of the jobs that
        they come after counts for nothing: under this lock the index was brought up to date."""
        buried: list = []
        while self._index is not None and self._index.doomed and len(buried) < _BURIED_AT_ONCE:
            found = [self._doomed_at(place, now) for place in list(islice(self._index.doomed, _BURIED_AT_ONCE))]
            if None in found:
                self._index = None  # it is wrong, and the file is right
                break
            bury(found, "")
            for job in found:
                self._put(job.place, job)
            buried += found
        return buried

    def _doomed_at(self, place, now):
        """The job at a place as it is once it is buried; None if it is not pending, or if what it is said to die of is not dead."""
        del self._index.doomed[place]  # before a record that does not read right is in the way of the others for ever
        job_id, fate, killer = self._index.died_of(place)
        if not (self._is_in(place, PENDING) and (not killer or self._is_in(killer, DEAD))):
            return None
        job = given_up(job_from_lines(self._jobs.lines(place), place), DEPENDENCY, now)
        return job._replace(options=dict(job.options, died_of="%s, which it comes after, is %s" % (job_id, fate)))

    def _is_in(self, place, state):
        line2 = self._jobs.line2(place)
        return line2 is not None and column(line2, "state") == state

    def _put(self, place, job):
        self._jobs.put(place, encode_line2(job.progress()))
        self._unsynced = True
        if self._index is not None:
            self._index.changed(place, job.state, job.updated_at)
            if job.state == PENDING:  # as line 1 has it: an editor may have changed what a worker holds
                self._expect(self._index, job_from_lines(self._jobs.lines(place), place), place, self._index.now)

    def _find(self, job):
        """Where a job is that runs under its token (or, without one, the job itself), as (place, line 2); (0, None) if nowhere."""
        line2 = self._jobs.line2(job.place)
        if line2 is not None and column(line2, "worker") == job.worker:
            # Its own token would do, if people did not copy lines to make another job.
            if self._claimed_in.get(job.worker) == self._jobs.generation or self._is_at(job):
                return job.place, line2
        with self._jobs.view(locked=True) as view:
            for place, record in view.records(containing=job.created_at.encode("ascii")):
                if (record["id"], record["created_at"], record["worker"]) == (job.id, job.created_at, job.worker):
                    return place, self._jobs.line2(place)
        return 0, None

    def _is_at(self, job):
        return job_from_lines(self._jobs.lines(job.place), job.place).key == job.key

    def record(self, job, outcome, now, output="", token=None):
        """Record how the attempt of one job ended, as `record_all` does: (the job as it is now, the next job, claimed under `token`)."""
        ended, following = self.record_all([Ended(job, outcome, now, output, 0.0)], now, () if token is None else (token,))
        return ended[0], following[0] if following else None

    def record_all(self, ended, now, tokens=()):
        """Record how the attempts of claimed jobs ended (`Ended` each), and claim the next ones at once: (what became of them, the next
        jobs). There may be fewer of these than could be claimed: `claim` has the last word.

        A job is None now if it was taken away from its worker (cancelled, cleared, or set back by an editor), so that its outcome counts
        for nothing. At most one job is claimed for each of `tokens`.
        """
        afters = [given_back(job, at) if outcome is None else after_attempt(job, outcome, self.settings, at, seconds)
                  for job, outcome, at, _, seconds in ended]

        def move(bury=None):
            results = [self._move(job, after, output, bury) for (job, _, _, output, _), after in zip(ended, afters)]
            return results, self._claim_some(tokens, now)

        self._bury_doomed(now)  # before, so that nothing is recorded or claimed if that fails
        dies = any(after.state == DEAD for after in afters)
        return self._change_dying(move) if dies else self._change(move, self._jobs)

    def _claim_some(self, tokens, now):
        """The jobs that come next, one for each of these tokens if there are so many."""
        following = []
        try:
            for token in tokens if self._index is not None and not self._index.unknown and not self.paused() else ():
                job = self._next(token, now)
                if job is None:
                    break
                following.append(job)
        except CorruptFile:  # `claim` will tell; the index does not know that job's place any more
            self._index = None
        return following

    def _move(self, job, after, output, bury):
        """Change a job that a worker holds into what it is `after`, or give back None if the worker does not hold it any more.
        `bury(jobs, output)` takes it if it is dead."""
        place, line2 = self._find(job)
        if line2 is None:
            return None
        if after.state == DEAD:
            bury([after], output)
        self._put(place, after)
        self._claimed_in.pop(job.worker, None)
        return after if place == job.place else after._replace(place=place)

    def _bury(self, jobs, output):
        """Put jobs into dlq.json, all with the same last lines. Raises StorageFault."""
        self._dlq.append([self._entry(job, output) for job in jobs])

    def _bury_each(self, pairs):
        """Put jobs into dlq.json, each with its last lines. On a full disk they are dead without it: a state is changed in place."""
        try:
            self._dlq.append([self._entry(job, output) for job, output in pairs])
        except StorageFault as fault:
            self._tell_unburied([job for job, _ in pairs], fault)

    def _entry(self, job, output):
        """The entry of dlq.json for a job that has died, as a row."""
        fields = dict(job.fields(), failed_at=job.updated_at, output=output)
        if job.reason == TIMEOUT:
            fields["timed_out_after"] = time_limit(job, self.settings)
        return encode_line1(fields), encode_line2(job.progress())

    def taken_away(self, jobs):
        """Those of these running jobs whose token is gone from the file: they were cancelled, cleared, or set back by an editor."""
        with OpenFiles(self._lock, self._jobs):
            if self._jobs.is_ours:
                return [job for job in jobs if self._find(job)[1] is None]
            with self._jobs.view(locked=True) as view:
                there = {(record["id"], record["created_at"], record["worker"]) for _, record in view.records((PROCESSING,))}
        return [job for job in jobs if (job.id, job.created_at, job.worker) not in there]

    def changed_since(self, mark):
        """(whether the job file has changed since that mark, the mark of now). Begin with None."""
        with OpenFiles(self._lock, self._jobs):
            now = self._jobs.fingerprint
        return mark != now, now

    def paused(self):
        """Whether workers are to take no new jobs."""
        return os.access(self._paused, os.F_OK)

    def pause(self):
        """Let workers take no new jobs; none is taken once this returns, nor after a power cut. Raises StorageFault, NotConfirmed."""
        with self._lock:
            try:
                descriptor = open_private(self._paused, os.O_WRONLY | os.O_CREAT)
            except OSError as error:
                raise storage_error("make", self._paused, error) from None
            try:
                os.close(descriptor)
            except OSError:
                pass  # it is there all the same
        self._sync_name(self._paused)

    def resume(self):
        """Undo `pause`. Raises StorageFault, NotConfirmed."""
        try:
            remove_file(self._paused)
        except OSError as error:
            raise storage_error("remove", self._paused, error) from None
        self._sync_name(self._paused)

    def _sync_name(self, path):
        """Sync that a file is there, or is not. Raises NotConfirmed."""
        try:
            if self.settings.fsync:
                sync_folder(os.path.dirname(path))
        except OSError as error:
            raise not_confirmed(path, error) from None

    def _act(self, selections, choose, act, *files):
        """What `act(chosen)` gives back, under the lock, for what `choose(selections)` gives back then; [] if it chooses nothing.

        The selections are made without the lock and brought up to date under it, unless so much goes on that they never are. `choose`
        raises JobNotFound; it is asked before, too, so that a command which has nothing to do changes nothing.
        """
        for whole in (False, False, True):
            for selection in selections:
                selection.look(self._lock)
            chosen = once_for_each_version(choose, selections)
            if not chosen():
                return []
            done = self._change(partial(_act_now, selections, chosen, act, whole), *files)
            if done is not None:
                break
        self._confirm(*files)
        return done

    def cancel(self, ids, now, output):
        """Move the pending and the running jobs with these ids to the dead letter queue, with reason "cancelled"; gives them back as
        they were. A running one is ended by its worker, which sees that it was taken away. `output(job)` gives its last lines.
        Raises JobNotFound for an id without such a job.
        """
        ids = list(dict.fromkeys(ids))

        def choose(there):
            refuse_missing(ids, there.jobs, _NO_JOB)
            jobs = [job for job in there.jobs if job.state in (PENDING, PROCESSING)]
            refuse_missing(ids, jobs, "job %r is not waiting or running, and cannot be cancelled")
            turn = {job_id: number for number, job_id in enumerate(ids)}
            return sorted(jobs, key=lambda job: turn[job.id])

        def bury(jobs):
            self._bury_each([(given_up(job, CANCELLED, now), output(job)) for job in jobs])
            for job in jobs:
                self._put(job.place, given_up(job, CANCELLED, now))
            return jobs, self._jobs.keep()

        cancelled, descriptor = self._act([Selection(self._jobs, ids=ids)], choose, bury, self._jobs, self._dlq)
        self._synced(descriptor)
        return cancelled

    def abandoned(self, runs):
        """The jobs in state processing that no one runs. `runs(worker)` tells for a worker's token."""
        return [job for job in self.jobs((PROCESSING,)) if not (job.worker and runs(job.worker))]

    def lose(self, job, now, output=""):
        """Record that a job's attempt was lost with its worker: it runs again, or dies if its attempts are used up."""
        return self.record(job, Outcome(None, LOST), now, output)[0]

    def sync_outcomes(self):
        """Put what workers have recorded since the last call on the disk. Raises OSError."""
        if not self._unsynced or not self.settings.fsync:
            return
        self._unsynced = False
        for file in (self._dlq, self._jobs):
            with OpenFiles(self._lock, file):
                descriptor = file.keep()
            if descriptor is not None:
                try:
                    sync(descriptor)
                finally:
                    os.close(descriptor)

    def next_due(self):
        """When the first of the jobs that wait is due, in seconds since the epoch; None if none waits, or that is not known."""
        return self._index.next_due() if self._index is not None else None

    # ------------------------------------------------------------ looking

    def _view(self, file):
        with OpenFiles(self._lock, file):
            return file.view()

    def count(self):
        """How many jobs are in each of the four states."""
        with self._view(self._jobs) as view:
            return view.count()

    def running(self):
        """The jobs in state processing, in the order of the file: from the last changes if all of them are there."""
        with OpenFiles(self._lock, self._jobs):
            with self._jobs.view() as view:
                wanted = view.count()[PROCESSING]
            lines = [(place, self._jobs.lines(place)) for place in self._jobs.last_changed()] if wanted else ()
            found = [job_from_lines(both, place) for place, both in lines if both is not None and column(both[1], "state") == PROCESSING]
        return found if len(found) == wanted else list(self.jobs((PROCESSING,)))

    def ended_lately(self, now, seconds=60.0):
        """(how many jobs ended in the last `seconds`, over how many of them that is known): from the last changes, without a look at
        all jobs."""
        with OpenFiles(self._lock, self._jobs):
            places = self._jobs.last_changed()
            lines = [self._jobs.line2(place) for place in places]
        times = [column(line2, "updated_at") for line2 in lines if line2 is not None and column(line2, "state") in (COMPLETED, DEAD)]
        ages = [now - parse_time(moment) for moment in times if moment]
        recent = [age for age in ages if 0 <= age <= seconds]
        full = len(recent) == len(ages) and len(places) > 1000  # the older ones are not remembered any more
        return len(recent), max(recent, default=0.0) if full else seconds

    def edit(self, job, record, now):
        """Replace what a pending job is by what a user made of it (an object, as for `enqueue`), keeping its id and its place. Raises
        InvalidJob, JobRefused, and JobChanged if it was taken, moved or changed since it was read as `job`."""
        fields = new_job_fields(record, job.options.get("cwd"))
        if fields.pop("id") != job.id or record.get("created_at", job.created_at) != job.created_at:
            raise InvalidJob("\"id\" and \"created_at\" cannot be edited; add another job instead")
        changed = job._replace(command=fields.pop("command"), options=fields, run_at=first_run_at(record, now), updated_at=format_time(now))

        def replace():
            place, line2 = self._find(job)
            if line2 is None or line2 != encode_line2(job.progress()):
                raise JobChanged("job %r was started, moved or changed meanwhile" % job.id)
            dead = self._check_dependencies({job.id: set(changed.after)}, {job.id})[0] if changed.after else ()
            row = (_encode_line1(changed.fields()), encode_line2(changed.progress()))
            with self._jobs.view(locked=True) as view:
                self._jobs.rewrite(row if at == place else old for at, old in view.rows())
            return dead

        dead = self._change(replace, self._jobs)
        self._confirm(self._jobs)
        self._tell_of_dead(dead)
        wake_workers(self.home)
        return changed

    def examine(self, name):
        """(how many records the job file of that name holds, each of which is read; what is wrong with it that the next change mends, or
        None). Raises CorruptFile, StorageFault."""
        file = self._file_named(name)
        with OpenFiles(self._lock, file):
            damage, view = file.damage, file.view()
            if damage is None and not file.counts_agree():
                file.forget_notes()
                damage = "%s was changed unseen; the next command looks at all of it" % file.path
        with view:
            return sum(1 for _ in view.records()), damage

    def tidy(self, name):
        """Bring the job file of that name into our layout, as the next change would."""
        file = self._file_named(name)
        self._change(lambda: None, file)
        self._confirm(file)

    def _file_named(self, name):
        return self._jobs if name == JOBS else self._dlq

    def jobs(self, states=STATES, containing=b""):
        """The jobs in those states, in the order of the file, one at a time; with `containing`, those whose line 1 has these bytes."""
        with self._view(self._jobs) as view:
            for place, record in view.records(states, containing):
                yield job_from_checked(record, place)

    def refresh(self, job):
        """A job as it is now, or None if it is gone; quick while nobody rewrites the file."""
        return self.refresh_all([job])[0]

    def refresh_all(self, jobs):
        """Jobs as they are now, None for each that is gone; quick while nobody rewrites the file, and then one look at it for all."""
        with OpenFiles(self._lock, self._jobs):
            found = {job.key: self._at_its_place(job) for job in jobs}
            moved = {job.id for job in jobs if found[job.key] is None}
            if moved:
                with self._jobs.view(locked=True) as view:
                    for place, record in view.records(ids=moved):
                        now = job_from_checked(record, place)
                        found[now.key] = now
        return [found[job.key] for job in jobs]

    def _at_its_place(self, job):
        lines = self._jobs.lines(job.place)
        now = job_from_lines(lines, job.place) if lines is not None else None
        return now if now is not None and now.key == job.key else None

    def find(self, job_id):
        """All jobs with that id, the oldest first. Raises JobNotFound."""
        return self.find_all([job_id])[0]

    def find_all(self, ids):
        """For each of these ids all jobs that have it, the oldest first, by one look at the file. Raises JobNotFound."""
        found = {job_id: [] for job_id in ids}
        with self._view(self._jobs) as view:
            for place, record in view.records(ids=found):
                found[record["id"]].append(job_from_checked(record, place))
        refuse_missing(ids, (job for of_one in found.values() for job in of_one), _NO_JOB)
        return [found[job_id] for job_id in ids]

    def dead(self):
        """The dead letter queue: each dead job of jobs.json, with what dlq.json says of its end (`failed_at`, `output` in options),
        and each job that only dlq.json still has. In the order in which they died."""
        with OpenFiles(self._lock, self._jobs, self._dlq):
            jobs, dlq = self._jobs.view(), self._dlq.view()
        with jobs, dlq:
            dead = {hash((record["id"], record["created_at"])) for _, record in jobs.records((DEAD,))}
            last = {}
            for number, (_, record) in enumerate(dlq.records()):
                last[hash((record["id"], record["created_at"]))] = number
            unknown = set(last) - dead
            if unknown:
                alive = (hash((record["id"], record["created_at"])) for _, record in jobs.records((PENDING, PROCESSING, COMPLETED)))
                unknown.difference_update(alive)
            for number, (_, record) in enumerate(dlq.records()):
                key = hash((record["id"], record["created_at"]))
                if last[key] == number and (key in dead or key in unknown):
                    yield job_from_checked(record)
            if dead.difference(last):
                for _, record in jobs.records((DEAD,)):
                    if hash((record["id"], record["created_at"])) not in last:
                        yield job_from_checked(record)

    # ------------------------------------------------------------ the dead letter queue, and removing

    def retry(self, choice, now, set_aside=None):
        """Bring dead jobs back to pending, their attempts 0; gives back their ids. A cancelled one must be named. `set_aside(jobs)` is
        called for their output, before any of them can run. Raises JobNotFound for an id without a dead job."""
        dead, entries = self._select_dead(choice)

        def choose(*selections):
            return [job for job in _choose_buried(choice, *selections) if choice.ids is not None or job.reason != CANCELLED]

        def bring_back(jobs):
            jobs = self._still_buried(jobs, choice)
            if set_aside is not None:
                set_aside(jobs)
            lonely = [job for job in jobs if not job.place]  # only dlq.json still has them
            for job in jobs:
                if job.place:
                    self._put(job.place, retried(job, now))
            if lonely:
                self._jobs.append([_without_burial(retried(job, now)) for job in lonely])
            # On the disk before its entry goes, or a power cut may leave a job in neither file.
            if not self._synced(self._jobs.keep(), always=bool(lonely)):
                raise Replaced
            try:
                self._drop(jobs, entries.jobs)
            except Replaced:
                pass  # someone has just saved dlq.json: what it says of jobs that are back does not count
            return [job.id for job in jobs]

        ids = self._act((dead, entries), choose, bring_back, self._jobs, self._dlq)
        wake_workers(self.home)
        return ids

    def _select_dead(self, choice):
        return Selection(self._jobs, (DEAD,), choice.ids), Selection(self._dlq, ids=choice.ids)

    def _still_buried(self, jobs, choice):
        """Of these jobs those that are dead, under the lock: not the entries of dlq.json (their place is 0) whose job lives on, as a crash
        leaves them. Raises JobNotFound for an id that was chosen and has none."""
        lonely = {job.id for job in jobs if not job.place}
        if lonely:
            with self._jobs.view(locked=True) as view:
                alive = {(record["id"], record["created_at"]) for _, record in view.records(ids=lonely)}
            jobs = [job for job in jobs if job.place or job.key not in alive]
            refuse_missing(choice.ids, jobs, _NO_DEAD_JOB)
        return jobs

    def purge(self, choice, free=None):
        """Remove dead jobs for good, from both files; gives them back. `free(jobs)` is called where the disk is too full to rewrite a file:
        it removes what else there is of them. Raises JobNotFound for an id without a dead job."""
        dead, entries = self._select_dead(choice)
        return self._act((dead, entries), partial(_choose_buried, choice),
                         lambda jobs: self._remove(self._still_buried(jobs, choice), entries.jobs, free), self._jobs, self._dlq)

    def clean(self, state, choice, free=None):
        """Remove jobs in one state (completed or dead), but no completed one that another one comes after; gives them back. `free` is as
        for `purge`. Raises JobNotFound for an id without such a job, JobRefused for one that another one comes after."""
        if state == DEAD:
            return self.purge(choice, free)

        def choose(ended, dependent):
            jobs = [job for job in ended.jobs if last_touched_before(job, choice.before)]
            refuse_missing(choice.ids, jobs, "there is no %s job %%r" % state)
            needed = needed_jobs(ended.jobs, dependent.jobs)
            for job in jobs:
                if choice.ids is not None and job.key in needed:
                    raise JobRefused("job %r cannot be removed: %r, which is %s, comes after it"
                                     % (job.id, needed[job.key].id, needed[job.key].state))
            return [job for job in jobs if job.key not in needed]

        selections = (Selection(self._jobs, (state,), choice.ids),
                      Selection(self._jobs, (PENDING, PROCESSING, DEAD), containing=b', "after": '))
        return self._act(selections, choose, lambda jobs: self._remove(jobs, self._entries_of(jobs), free), self._jobs, self._dlq)

    def _entries_of(self, jobs):
        """The entries of dlq.json with the ids of these jobs, which are completed: a crash has left them."""
        with self._dlq.view(locked=True) as view:
            if not any(view.count().values()):
                return []
            return [job_from_checked(record, place) for place, record in view.records(ids={job.id for job in jobs})]

    def _remove(self, jobs, entries, free):
        """Remove these jobs, which are at their places in jobs.json (0: nowhere), and theirs of these entries of dlq.json; first those, or
        what is left there would look like a dead job. `free(jobs)`, if not None, is what makes room on a full disk."""
        make_room = None if free is None else partial(free, jobs)
        self._drop(jobs, entries, make_room)
        self._without(self._jobs, {job.place for job in jobs} - {0}, make_room)
        return jobs

    def _drop(self, jobs, entries, make_room=None):
        """Remove the entries of these jobs from dlq.json; `entries` are those that there are."""
        if entries:
            keys = {job.key for job in jobs}
            self._without(self._dlq, {entry.place for entry in entries if entry.key in keys}, make_room)

    @staticmethod
    def _without(file, places, make_room=None):
        """Rewrite a file without the records at these places; not at all if there are none. On a full disk once more after `make_room()`.
        Only all records can be taken out in place: of some, a kill in the middle would leave others twice or not at all."""
        def rewrite():
            with file.view(locked=True) as view:
                file.rewrite(row for _, row in view.rows(places))

        def keeps_some():
            with file.view(locked=True) as view:
                return any(True for _ in view.rows(places))

        if not places:
            return
        try:
            rewrite()
        except StorageFault as fault:
            if make_room is None or not fault.lacks_space or not file.is_open:
                raise
            make_room()
            try:
                rewrite() if keeps_some() else file.clear()
            except StorageFault as again:
                again.besides = ", except that the output of these jobs was removed to make room"
                raise

    def reset(self):
        """Remove all jobs, also the dead ones."""
        def clear():
            self._jobs.clear()
            self._dlq.clear()

        self._change(clear, self._jobs, self._dlq)
        self._confirm(self._jobs, self._dlq)

    def replace_broken(self, name, jobs, content):
        """Replace the job file of that name, whose broken bytes are `content`, by these jobs."""
        file = self._file_named(name)
        with self._lock:
            try:
                file.replace_broken(jobs, content)
            except Replaced:
                raise QueueError("%s has changed meanwhile; try again" % file.path) from None
            except StorageFault as fault:
                fault.effect = what_is_stored([file])
                raise
            finally:
                file.end_operation()
        self._confirm(file)


def _act_now(selections, chosen, act, whole):
    """What `act` gives back for what is `chosen()` now, under the lock; None if a selection cannot be brought up to date."""
    if not all(selection.catch_up(whole) for selection in selections):
        return None
    return act(chosen()) if chosen() else []


def _choose_buried(choice, dead, entries):
    """The jobs of the dead letter queue that are chosen, of the dead ones of jobs.json and of the entries of dlq.json."""
    jobs = [job for job in buried_jobs(dead.jobs, entries.jobs) if last_touched_before(job, choice.before)]
    refuse_missing(choice.ids, jobs, _NO_DEAD_JOB)
    return jobs


def _without_burial(job):
    """A job that dlq.json alone had, as a row of jobs.json."""
    return encode_line1({name: value for name, value in job.fields().items() if name not in BURIED}), encode_line2(job.progress())


def _encode_line1(fields):
    try:
        return encode_line1(fields)
    except UnicodeEncodeError:
        raise not_utf8(fields) from None


def _split_line1(fields, tails):
    """Line 1 of a new job in two pieces, between which created_at goes. `tails` keeps the piece that most jobs of a batch share."""
    try:
        head = ('{"id": %s, "command": %s, "created_at": "' % (encode_json(fields["id"]), encode_json(fields["command"]))).encode("utf-8")
        cwd = fields["cwd"] if len(fields) == 3 else None
        tail = tails.get(cwd)
        if tail is None:
            rest = {name: value for name, value in fields.items() if name not in ("id", "command")}
            tail = b'", ' + encode_line1(rest)[1:]
            if cwd is not None:
                tails[cwd] = tail
    except UnicodeEncodeError:
        raise not_utf8(fields) from None
    return head, tail


def _stamped(rows, first):
    """Rows for `JobFile.append`: each with its created_at, one microsecond after another from `first` on."""
    def line2(run_at):
        return encode_line2((PENDING, 0, None, None, run_at, None, format_time(first / 1e6), None))

    second, prefix, at_once = None, "", line2(None)
    for number, (head, tail, run_at) in enumerate(rows, first):
        whole, micro = divmod(number, 1000000)
        if whole != second:
            second, prefix = whole, format_time(whole)[:20]
        yield head + ("%s%06dZ" % (prefix, micro)).encode("ascii") + tail, line2(run_at) if run_at else at_once
