"""What commands do to the queue: add, cancel, edit, retry and remove jobs, and pause. Commands that only look ask the `Store`.

What it promises: a command does all that it was asked for, or nothing, and what it says is on the disk. It chooses jobs without the lock,
so that nobody waits for it, and again under it, so that it does nothing to a job that has changed meanwhile.

Modules that adding does not need are imported by the methods that need them: each `enqueue` would pay for their start.
"""
from __future__ import annotations

from core.errors import InvalidJob, JobChanged, JobRefused, hint, not_utf8
from core.home import run_folder, wake_workers
from core.job import ASKED_FOR, CANCELLED, COMPLETED, DEAD, HELD, PENDING, PROCESSING, STATES, Job
from core.new_job import first_run_at, new_job_fields, own_fields
from core.strict_json import encode_json
from core.times import END_OF_TIME, format_time
from storage.layout import encode_line1, encode_line2


class Added:
    """Jobs that were added: their `ids` in order; `first_created`, the created_at of the first one in microseconds, of each further one it
    is one more; `run_at`, when they may run, as a text, if that is one time for all of them; and whether there is a worker process, as far
    as adding has seen it (`has_worker`)."""

    def __init__(self, ids, first_created, run_at, has_worker):
        self.ids, self.first_created, self.run_at, self.has_worker = ids, first_created, run_at, has_worker

    def jobs(self):
        """Each of the jobs as it was added, as far as its identity goes."""
        return [Job(job_id, "", format_time((self.first_created + number) / 1e6), {}, PENDING, 0, None, None, None, None, None, None, 0)
                for number, job_id in enumerate(self.ids)]


class JobManager:
    """The jobs of a Store, as commands change them."""

    def __init__(self, store):
        self._store = store
        self._jobs_json = store.jobs_json
        self._dlq_json = store.dlq_json

    @property
    def _dead_letters(self):
        from storage.dead_letters import DeadLetters
        return DeadLetters(self._store)

    # -- adding

    def enqueue(self, records, cwd, now, unique=False):
        """Add jobs as users describe them (objects with id and command), all or none; gives back an Added.

        `cwd` is the folder for those that name none; `now` is in seconds since the epoch; `unique` refuses the id of a job that waits or
        runs, as the setting `unique_ids` refuses any that is there. They are on the disk when this returns (setting `fsync`). Raises
        InvalidJob or JobRefused with nothing added, StorageFault, CorruptFile, NotConfirmed.
        """
        from storage.new_rows import NewRows
        rows = NewRows(self._jobs_json, run_folder(self._store.home), now)
        rows.read(records, cwd)
        if not rows.ids:
            return Added([], 0, None, True)

        def add():
            dead, first = self._admit(rows, unique, now)
            first = min(max(first, int(now * 1e6), self._jobs_json.notes.last_created + 1), int(END_OF_TIME * 1e6) - len(rows.ids))
            created = rows.append(first)
            return first, created, dead, None if created is None else self._jobs_json.keep()

        while True:
            first, created, dead, descriptor = self._store.change(add, self._jobs_json)
            if created is None:
                rows.stamp(first)
            elif self._confirmed(descriptor, format_time(created / 1e6)):
                self._tell_of_dead(dead)
                self._tell_of_strange_fields(rows.shapes)
                run_at = rows.times.pop() if len(rows.times) == 1 else None
                return Added(rows.ids, created, run_at, wake_workers(self._store.home))

    def _admit(self, rows, unique, now):
        """Check new jobs against those that are there. Gives back (the ids of dead jobs that they come after, when the first of them may be
        created, in microseconds since the epoch). Raises JobRefused."""
        dead, first, unique_ids = (), 0, self._store.settings.unique_ids
        if unique or unique_ids:
            from storage.admission import check_ids
            check_ids(self._jobs_json, rows.ids, unique_ids, now)
        if rows.dependent:
            from storage.admission import check_dependencies
            dead, last_end = check_dependencies(self._jobs_json, rows.dependent, rows.needed, set(rows.ids))
            first = int(round(last_end * 1e6)) + 1
        return dead, first

    def _tell_of_dead(self, dead):
        if dead:
            self._store.notice("%s %s dead, so that what comes after goes to the dead letter queue, too; %s brings both back"
                               % (", ".join(map(repr, dead[:5])), "is" if len(dead) == 1 else "are", hint("retry")))

    def _tell_of_strange_fields(self, shapes, known=()):
        """Say of fields of new jobs, which are the users' own, that some may have been meant as ours; not of those that are `known`. A
        shape is the names of all fields of a job."""
        told = set(known)
        for names in shapes:
            for name in own_fields(names):
                from core.field_names import field_meant
                meant = field_meant(name, ASKED_FOR)
                if meant and meant not in names and name not in told:
                    told.add(name)
                    self._store.notice("the field %s means nothing here, and is kept as your own; did you mean \"%s\"?"
                                       % (encode_json(name), meant))

    def _confirmed(self, descriptor, created_at):
        """Sync jobs.json after an append; False if an editor's save has removed what was added. Raises NotConfirmed."""
        if self._store.sync_jobs(descriptor):
            return True
        with self._store.view(self._jobs_json) as view:
            return any(record["created_at"] == created_at for _, record in view.records(containing=created_at.encode("ascii")))

    # -- changing

    def edit(self, job, record, now):
        """Replace what a job is that waits or has ended by what a user made of it (an object, as for `enqueue`), keeping its id, its place
        and how it ended. Raises InvalidJob, JobRefused, and JobChanged if it was taken, moved or changed since it was read as `job`."""
        from storage.admission import check_dependencies
        fields = new_job_fields(record, job.options.get("cwd"))
        if fields.pop("id") != job.id or record.get("created_at", job.created_at) != job.created_at:
            raise InvalidJob("\"id\" and \"created_at\" cannot be edited; add another job instead")
        if job.kept_env and "kept_env" not in fields and fields.get("keep_env") == job.options.get("keep_env"):
            fields["kept_env"] = job.kept_env  # which is not shown
        changed = job._replace(command=fields.pop("command"), options=fields)
        if job.state == PENDING:
            changed = changed._replace(run_at=first_run_at(record, now), updated_at=format_time(now))
        files = (self._jobs_json, self._dlq_json) if job.state == DEAD else (self._jobs_json,)

        def replace():
            place, line2 = self._store.locate(job)
            if line2 is None or line2 != encode_line2(job.progress()):
                raise JobChanged("job %r was started, moved or changed meanwhile" % job.id)
            # What it named before may be gone since, or in a circle that the edit mends.
            named = set(changed.after).difference(job.after).union(set(changed.after_any).difference(job.after_any))
            dead = check_dependencies(self._jobs_json, {job.id: named}, set(changed.after), {job.id}, job.key)[0] if named else ()
            row = (_encode_line1(changed.fields()), encode_line2(changed.progress()))
            with self._jobs_json.view(locked=True) as view:
                self._jobs_json.rewrite(row if at == place else old for at, old in view.rows())
            if job.state == DEAD:
                self._dead_letters.rewrite(changed)
            return dead

        dead = self._store.change(replace, *files)
        self._store.confirm(*files)
        self._tell_of_dead(dead)
        self._tell_of_strange_fields([list(record)], job.options)
        wake_workers(self._store.home)
        return changed

    def cancel(self, ids, now, chosen=None):
        """Move the pending and the running jobs with these ids to the dead letter queue, with reason "cancelled"; gives them back as
        they were. With None for the ids these are the jobs `chosen` ({key: state}) that are still in that state. A running one is ended by
        its worker, which sees that it was taken away. Raises JobNotFound, and JobRefused for an id without such a job."""
        from core.rules import given_up
        from storage.naming import no_job
        from storage.output import last_words
        from storage.selection import Choice, Selection, change_selected
        choice, dead_letters = Choice(ids).resolved(self._store), self._dead_letters

        def choose(there):
            if ids is None:
                return [job for job in there.jobs if chosen.get(job.key) == job.state]
            jobs = [job for job in choice.of(there.jobs, no_job) if job.state in (PENDING, PROCESSING)]
            choice.refuse_missing(jobs, lambda name: "job %r is not waiting or running, and cannot be cancelled" % name, JobRefused)
            return choice.in_turn(jobs)

        def bury(jobs):
            given = [(given_up(job, CANCELLED, now), last_words(self._store.home, job)) for job in jobs]
            dead_letters.bury(given, dead_letters.tell_unburied)
            for job in jobs:
                self._store.put(job.place, given_up(job, CANCELLED, now))
            return jobs, self._jobs_json.keep()

        states = STATES if ids is not None else (PENDING, PROCESSING)
        done = change_selected(self._store, [Selection(self._jobs_json, states, choice.ids)], choose, bury)
        if not done:
            return []
        cancelled, descriptor = done
        self._store.sync_jobs(descriptor)
        return cancelled

    def hold(self, choice, now):
        """Let pending jobs wait in their place until they are released; gives those back, as they were. Raises JobNotFound, JobRefused."""
        return self._put_off(choice, lambda job: not job.is_held, HELD, now,
                             lambda name: "job %r is not waiting, or is held already; nothing was changed" % name)

    def release(self, choice, now):
        """Let held jobs run, and those that are named although they are due later; gives them back as they were. Raises as `hold`."""
        named = choice.names is not None
        released = self._put_off(choice, lambda job: job.is_held or (named and job.run_at is not None), None, now,
                                 lambda name: "job %r is neither held nor due later; nothing was changed" % name)
        wake_workers(self._store.home)
        return released

    def _put_off(self, choice, fits, run_at, now, explain):
        from core.rules import put_off
        from storage.naming import no_job
        from storage.selection import Selection, change_selected
        choice = choice.resolved(self._store)

        def choose(there):
            jobs = [job for job in choice.of(there.jobs, no_job) if job.state == PENDING and fits(job)]
            choice.refuse_missing(jobs, explain, JobRefused)
            return jobs

        def act(jobs):
            for job in jobs:
                self._store.put(job.place, put_off(job, run_at, now))
            return jobs, self._jobs_json.keep()

        done = change_selected(self._store, [Selection(self._jobs_json, ids=choice.ids)], choose, act)
        self._store.sync_jobs(done[1] if done else None)
        return done[0] if done else []

    # -- the dead letter queue, and removing

    def dead(self):
        """The dead letter queue, in the order in which its jobs died (see `DeadLetters.jobs`)."""
        return self._dead_letters.jobs()

    def retry(self, choice, now):
        """Bring jobs back to pending, their attempts 0; a BroughtBack says which. Without names that is every dead one that was not
        cancelled. A cancelled or a completed one comes back by its name, and with it what died because of it. Their output becomes that of
        a former life. Raises JobNotFound, and JobRefused for a job that has not ended."""
        from storage.bringing_back import BringingBack
        bringing_back = BringingBack(self._store, self._dead_letters, now)
        back = bringing_back.bring_back_all(choice) if choice.names is None else bringing_back.bring_back_named(choice)
        wake_workers(self._store.home)
        return back

    def clean(self, states, choice):
        """Remove jobs in these states (COMPLETED, DEAD) for good, but no completed one that another one comes after; gives them back. Their
        output goes only where the disk is too full to rewrite a file. Raises JobNotFound, and JobRefused for an id that must stay."""
        def explain(job_id):
            return no_dead_job(job_id) if states == (DEAD,) else "there is no %s job %r" % (" or ".join(states), job_id)

        from storage.dead_letters import no_dead_job
        from storage.removing import Removal
        guarded = (COMPLETED,) if COMPLETED in states else ()
        return Removal(self._store, self._dead_letters, states, choice, explain, guarded).run()

    def remove(self, ids):
        """Remove all jobs with these ids, in whatever state, from both files; gives them back; their output as `clean` does.
        Raises JobNotFound, and JobRefused if one runs, or if another one comes after it that stays."""
        from storage.naming import no_job
        from storage.removing import Removal
        from storage.selection import Choice
        return Removal(self._store, self._dead_letters, STATES, Choice(ids), no_job, STATES).run()

    def reset(self):
        """Remove all jobs, also the dead ones."""
        def clear():
            self._jobs_json.clear()
            self._dlq_json.clear()

        self._store.change(clear, self._jobs_json, self._dlq_json)
        self._store.confirm(self._jobs_json, self._dlq_json)

    # -- pausing

    def pause(self, groups=(), now=False):
        """Let workers take no new jobs, with `groups` (names) no new ones of these; none is taken once this returns, nor after a power cut.
        With `now` the jobs that run stand still, too, once their worker sees it. Raises StorageFault, NotConfirmed."""
        self._store.pauses.pause(groups, now, self._store.settings.fsync)

    def resume(self, groups=()):
        """Undo `pause`. Raises StorageFault, NotConfirmed."""
        self._store.pauses.resume(groups, self._store.settings.fsync)


def _encode_line1(fields):
    try:
        return encode_line1(fields)
    except UnicodeEncodeError:
        raise not_utf8(fields) from None
