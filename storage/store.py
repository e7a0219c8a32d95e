"""Both job files of a home under one lock: changed together, looked at, mended.

What it promises:

- A change is made whole or not at all; where a fault leaves a part of it, the fault's message says so. An editor that replaces a file
  meanwhile makes no difference: the change is made again, to what the editor has saved.
- Whoever says that something is stored has synced it (setting `fsync`), after the lock was released.
- A worker token proves that a job runs, never a place: editors copy lines and move them.

It decides nothing about jobs: commands change them through `JobManager`, worker processes through `Claims`.
"""
from __future__ import annotations

import os
from itertools import islice

from core.errors import ALL, NOTHING, PART, QueueError, StorageFault, hint, not_confirmed, storage_error
from core.home import JOBS, dead_letters_path, jobs_path, lock_path
from core.job import PENDING, PROCESSING, STATES, job_from_checked
from core.system import sync
from core.times import parse_again
from storage.file_lock import FileLock, Look
from storage.job_file import JobFile, Replaced
from storage.layout import GROUP, column, encode_line2, job_from_lines, of_group

def what_is_stored(files):
    """What has become of a change of these job files that a fault has ended, as a sentence; by what each of them holds."""
    names = {amount: [os.path.basename(file.path) for file in files if file.stored == amount] for amount in (NOTHING, PART, ALL)}
    if names[PART]:
        return "%s may be changed in part; %s shows how far" % (" and ".join(names[PART]), hint("list"))
    if not names[ALL]:
        return "nothing was changed"
    if not names[NOTHING]:
        return "it is stored, but not confirmed on disk"
    return "it is stored in %s, but not in %s" % (" and ".join(names[ALL]), " and ".join(names[NOTHING]))


class OpenFiles:
    """The lock, with job files open and sound inside: `with OpenFiles(lock, jobs, dlq): …`.

    With `change=True` each is in our layout then; `change(file)` is asked for one that someone else wrote whether it is to be. Raises
    CorruptFile, StorageFault, LockError.
    """

    def __init__(self, lock, *files, change=False):
        self._lock = lock
        self._files = files
        self._changes = (lambda file: True) if change is True else change or None

    def __enter__(self):
        while True:
            self._lock.enter(to_look=self._changes is None)
            strange = None
            try:
                strange = next((file for file in self._files if not file.begin(self._changes)), None)
                if strange is None:
                    for file in self._files if self._changes else ():
                        file.stored = NOTHING  # to bring a file into our layout changes no job
                    return self
            except Replaced:
                strange = None
            except BaseException as error:
                self.__exit__(None, error)
                raise
            self.__exit__()
            if strange is not None:
                try:
                    strange.inspect()
                except OSError as error:
                    raise storage_error("read", strange.path, error) from None

    def __exit__(self, kind=None, error=None, trace=None):
        try:
            for file in self._files:
                file.end_operation()
        finally:
            self._lock.__exit__()
        if isinstance(error, OSError):  # a write tells of its own
            raise storage_error("read", self._files[0].path, error) from None


class Store:
    """The lock and both job files of one home. Threads may share it; each process has its own.

    `settings` is replaced by whoever follows config.json. `notice(message)` is called for what the user should know while an operation
    goes on. `progress(text)`, if given, shows how far a long file is read that someone else wrote, and "" at the end; it gives back whether
    that could be shown. `noted_slots()` gives the attempts with a slot that run by the worker files, as {attempt token: digest of its
    group}.
    """

    def __init__(self, home, settings, notice, progress=None, noted_slots=dict):
        self.home = home
        self.settings = settings
        self.notice = notice
        self.noted_slots = noted_slots
        path = lock_path(home)
        self.lock = FileLock(path, lambda: notice("waiting for %s: another queuectl process has held it for some seconds" % path))
        self.jobs_json = JobFile(jobs_path(home), self.lock, 0, notice, progress)
        self.dlq_json = JobFile(dead_letters_path(home), self.lock, 1, notice, progress, allow_duplicate_keys=True)
        self._pauses = None

    # -- changing

    def change(self, operation, *files, changes=True):
        """Do `operation()` under the lock with these files open, and again if an editor replaced one meanwhile; gives back its result.
        Where `changes` (see `OpenFiles`) leaves a file as someone else wrote it, nothing is done, and the result is None."""
        for file in files:
            file.durable = self.settings.fsync
        while True:
            began = []
            try:
                with OpenFiles(self.lock, *files, change=changes):
                    if not all(file.is_in_our_layout for file in files):
                        return None
                    began += files  # bringing a file into our layout changes no job
                    result = operation()
                    for file in files:
                        file.commit()
                    return result
            except Replaced:
                continue
            except StorageFault as fault:
                fault.effect = what_is_stored(began)
                raise

    def put(self, place, job):
        """Change what the job at a place is now; within a change."""
        self.jobs_json.put(place, encode_line2(job.progress()))

    def locate(self, job, claimed_in=None):
        """Find a job by its worker token, or a pending one, which has none, by its key: (place, line 2), or (0, None) if it is nowhere.
        `claimed_in` is the generation of the file in which this process claimed the job, if it did: in that generation no place moves."""
        line2 = self.jobs_json.line2(job.place)
        if line2 is not None and column(line2, "worker") == job.worker:
            # The token would do, if people did not copy lines to make another job.
            if claimed_in == self.jobs_json.notes.generation or job_from_lines(self.jobs_json.lines(job.place), job.place).key == job.key:
                return job.place, line2
        with self.jobs_json.view(locked=True) as view:
            for place, record in view.records(containing=job.created_at.encode("ascii")):
                if (record["id"], record["created_at"], record["worker"]) == (job.id, job.created_at, job.worker):
                    return place, self.jobs_json.line2(place)
        return 0, None

    @staticmethod
    def remove(file, places, make_room=None):
        """Rewrite a file without the records at these places; not at all if there are none. On a full disk once more after `make_room()`.
        Only all records can be removed in place: of some, a kill in the middle would leave others twice or not at all."""
        def rewrite():
            if len(places) == sum(file.notes.counts) and file.counts_agree():  # none is left: quicker than a look at each
                file.rewrite(())
                return
            with file.view(locked=True) as view:
                file.rewrite(row for _, row in view.rows(places))

        if not places:
            return
        try:
            rewrite()
        except StorageFault as fault:
            if make_room is None or not fault.lacks_space or not file.is_open:
                raise
            make_room()
            try:
                with file.view(locked=True) as view:
                    keeps_some = any(True for _ in view.rows(places))
                rewrite() if keeps_some else file.clear()
            except StorageFault as again:
                again.besides = ", except that the output of these jobs was removed to make room"
                raise

    def confirm(self, *files):
        """Raise NotConfirmed if the name of one of these files, which were rewritten, may not be on the disk."""
        for file in files:
            error, file.unconfirmed = file.unconfirmed, None
            if error is not None:
                raise not_confirmed(file.path, error)

    def sync_jobs(self, descriptor, always=False):
        """Sync jobs.json, kept open as `descriptor` by a change (None: there is no file), and close it. Without the setting `fsync` only
        if `always` says so. Whether the path still names that file. Raises NotConfirmed."""
        if descriptor is None:
            return True
        try:
            if always or self.settings.fsync:
                sync(descriptor)
            self.confirm(self.jobs_json)
            return self.jobs_json.is_current(descriptor)
        except OSError as error:
            raise not_confirmed(self.jobs_json.path, error) from None
        finally:
            os.close(descriptor)

    # -- looking

    def view(self, file):
        """A View of a job file as it is now; the caller closes it."""
        with OpenFiles(self.lock, file):
            return file.view()

    def jobs(self, states=STATES, containing=b"", groups=None):
        """The jobs in those states, in the order of the file, one at a time; with `containing`, those whose line 1 has these bytes, and
        with `groups` (names), those of these groups."""
        if groups is not None:
            containing = of_group(groups[0]) if len(groups) == 1 else GROUP
        with self.view(self.jobs_json) as view:
            for place, record in view.records(states, containing):
                job = job_from_checked(record, place)
                if groups is None or job.group in groups:
                    yield job

    def all_jobs(self):
        """All jobs of both files, one at a time; a dead one comes twice."""
        for file in (self.jobs_json, self.dlq_json):
            with self.view(file) as view:
                for place, record in view.records():
                    yield job_from_checked(record, place)

    def refresh(self, job):
        """A job as it is now, or None if it is gone; quick while nobody rewrites the file."""
        return self.refresh_all([job])[0]

    def refresh_all(self, jobs):
        """Jobs as they are now, None for each that is gone; quick while nobody rewrites the file, and then one look at it for all."""
        with OpenFiles(self.lock, self.jobs_json):
            found = {job.key: self.at_its_place(job) for job in jobs}
            moved = {job.id for job in jobs if found[job.key] is None}
            if moved:
                with self.jobs_json.view(locked=True) as view:
                    for place, record in view.records(ids=moved):
                        now = job_from_checked(record, place)
                        found[now.key] = now
        return [found[job.key] for job in jobs]

    def at(self, places):
        """The jobs at these places, as far as there are any."""
        with OpenFiles(self.lock, self.jobs_json):
            lines = [(place, self.jobs_json.lines(place)) for place in sorted(places)] if self.jobs_json.is_in_our_layout else ()
            return [job_from_lines(both, place) for place, both in lines if both is not None]

    def at_its_place(self, job):
        """A job as it is now where it was last seen; None if it is not there. With the lock held and jobs.json open."""
        lines = self.jobs_json.lines(job.place)
        now = job_from_lines(lines, job.place) if lines is not None else None
        return now if now is not None and now.key == job.key else None

    def count(self):
        """How many jobs are in each of the four states."""
        with self.view(self.jobs_json) as view:
            return view.count()

    def running(self):
        """The jobs in state processing, in the order of the file: from the last changes if all of them are there."""
        with OpenFiles(self.lock, self.jobs_json):
            with self.jobs_json.view() as view:
                wanted = view.count()[PROCESSING]
            lines = [(place, self.jobs_json.lines(place)) for place in self.jobs_json.last_changed()] if wanted else ()
            found = [job_from_lines(both, place) for place, both in lines if both is not None and column(both[1], "state") == PROCESSING]
        return found if len(found) == wanted else list(self.jobs((PROCESSING,)))

    def attempts_lately(self):
        """The last attempts of the jobs that were changed last, as (start, end) in seconds since the epoch, the end None for one that runs.
        A job that waits, or ended without an attempt, has none here. The notes name those jobs: not all jobs are looked at."""
        with OpenFiles(self.lock, self.jobs_json):
            lines = [self.jobs_json.line2(place) for place in self.jobs_json.last_changed()]
        found = []
        for line2 in lines:
            state, start = (column(line2, "state"), column(line2, "started_at")) if line2 is not None else (None, None)
            if start is not None and state != PENDING:
                found.append((parse_again(start), None if state == PROCESSING else parse_again(column(line2, "updated_at"))))
        return found

    def died_last(self, most):
        """So many of the entries of dlq.json that were added last, the newest first, as Jobs."""
        with self.view(self.dlq_json) as view:
            return [job_from_checked(record, place) for place, record in islice(view.records_beyond(0, back=True), most)]

    def count_by_group(self):
        """How many jobs are in each state, as {group: {state: number}} (see `View.count_by_group`)."""
        with self.view(self.jobs_json) as view:
            return view.count_by_group()

    def fingerprint(self):
        """Another value once jobs.json was changed, whoever did it."""
        with OpenFiles(self.lock, self.jobs_json):
            return self.jobs_json.fingerprint

    def counters(self):
        """How attempts have ended so far: the Counters of storage/tally.py."""
        from storage.tally import read_counters
        try:
            with Look(self.lock):
                return read_counters(self.lock)
        except OSError as error:
            raise storage_error("read", self.lock.path, error) from None

    @property
    def pauses(self):
        """The Pauses of this home."""
        if self._pauses is None:
            from storage.pauses import Pauses  # here, since each `enqueue` would pay for its start
            self._pauses = Pauses(self.home, self.lock)
        return self._pauses

    def paused(self):
        """Whether workers are to take no new jobs."""
        return self.pauses.holds()

    def paused_groups(self):
        """The names of the groups of which workers are to take no new jobs. Raises StorageFault."""
        return self.pauses.groups()

    def limits(self):
        """{group: how many of its jobs may run at once}, for the groups with a limit; 0 for those that are paused."""
        return dict(self.settings.limits, **dict.fromkeys(self.paused_groups(), 0))

    # -- mending

    def examine(self, name):
        """(how many records the job file of that name holds, each of which is read; what is wrong with it that the next change mends, or
        None). Raises CorruptFile, StorageFault."""
        file = self._file_named(name)
        with OpenFiles(self.lock, file):
            damage, view = file.damage, file.view()
            if damage is None and not file.counts_agree():
                try:
                    file.forget_notes()
                except OSError:
                    pass  # on a read-only file system
                damage = "%s was changed unseen; the next command looks at all of it" % file.path
        with view:
            return sum(1 for _ in view.records()), damage

    def tidy(self, name):
        """Bring the job file of that name into our layout, as the next change would."""
        file = self._file_named(name)
        self.change(lambda: None, file)
        self.confirm(file)

    def replace_broken(self, name, jobs, content):
        """Replace the job file of that name, whose broken bytes are `content`, by these jobs."""
        file = self._file_named(name)
        with self.lock:
            try:
                file.replace_broken(jobs, content)
            except Replaced:
                raise QueueError("%s has changed meanwhile; try again" % file.path) from None
            except StorageFault as fault:
                fault.effect = what_is_stored([file])
                raise
            except OSError as error:
                unseen = storage_error("read", file.path, error)
                unseen.effect = what_is_stored([file])
                raise unseen from None
            finally:
                file.end_operation()
        self.confirm(file)

    def _file_named(self, name):
        return self.jobs_json if name == JOBS else self.dlq_json
