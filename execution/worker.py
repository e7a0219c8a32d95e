"""A worker: a thread that claims a job, runs it, records how it ended, and claims the next one.

A fault of the system or of a file never ends a worker: it is logged, and the worker goes on (`Faults`). Any other exception is a bug. It
ends the worker, and stops its process.
"""
from __future__ import annotations

import time
from collections import namedtuple

from core.errors import fault_text
from core.rules import ready_at
from execution.attempt import STOPPED, Attempt
from execution.launcher import lacks_room
from execution.log_file import EmptyLogs
from execution.outcomes import STALE
from execution.process_tree import FINDS_UNNOTED
from execution.waiting import TICK
from helpers import log
from storage.claims import Finished
from storage.output import last_lines

Shared = namedtuple("Shared", "home environ store file launch outcomes crew stop faults waker account")
Shared.__doc__ = """What the workers of one process share: the home, the environment of all jobs, the Store, the worker file, what starts
commands, the Outcomes, the Crew, the StopFlag, what meets faults, what the main thread sleeps on, and the Account."""


class Worker:
    """Worker `number` (from 0) of a process. Its thread does `work`; the main thread looks at `attempt`, and may end that."""

    def __init__(self, number, shared):
        self.attempt = None  # the Attempt that it runs, if any
        self._number = number
        self._shared = shared
        self._is_wrongly_noted = False  # as one that runs something, or waits for a retry, although it does not
        self._empties = EmptyLogs()

    def work(self):
        """Run jobs until the process stops."""
        shared, waiting_for = self._shared, None
        try:
            while not shared.stop.is_set():
                waiting_for = shared.faults.guarded("go on working", self._work_once, waiting_for, pause=TICK)
        except BaseException:
            shared.crew.has_bug = True
            shared.crew.dismiss()  # the next process ends what this worker has left running, by the worker file, which stays
            raise
        finally:
            self._discard_empties()
            shared.crew.leave()
            shared.waker.wake()

    def _work_once(self, waiting_for):
        """Run the next job, and those that follow it at once. Gives back the job whose retry this worker is to wait for, or None."""
        if waiting_for is not None and self._wait_for_retry(waiting_for):
            return waiting_for
        job = self._shared.outcomes.next(waiting_for)
        waiting_for = None
        if job is None:
            if self._is_wrongly_noted:
                self._note_nothing()
            self._discard_empties()
            self._shared.crew.be_idle()
        while job is not None:
            self._shared.crew.call_one()  # there may be more
            job, waiting_for = self._run(job)
        return waiting_for

    def _wait_for_retry(self, job):
        """Wait a little for a job's time; True if there is still some to wait. By the wall clock, in small steps: neither a clock that is
        set nor a computer that sleeps makes a wait longer than the job's own backoff."""
        store, now = self._shared.store, time.time()
        delay = ready_at(job, store.settings, now) - now
        if delay <= 0:
            return False
        self._shared.stop.wait(min(delay, TICK))
        present = job if delay <= TICK else self._shared.faults.guarded("look at %s" % job.id, store.refresh, job, otherwise=job)
        return present is not None and present.progress() == job.progress()  # else it was cancelled, edited or taken

    def _run(self, job):
        """Run an attempt of a claimed job and record how it ended. Gives back what `Outcomes.finished` does."""
        shared = self._shared
        attempt = Attempt(shared.home, job, shared.environ, shared.launch, shared.store.settings, shared.faults.tell, self._number)
        self.attempt = attempt
        started = time.monotonic()
        outcome, strays = self._run_attempt(attempt)
        self.attempt = None
        ended = time.monotonic()
        output = last_lines(attempt.log.path) if outcome is not None and outcome.reason and attempt.has_output else ""
        completed = outcome is not None and outcome.reason is None and attempt.end_reason != STOPPED
        # That of another job may be wanted again, by a retry in another process.
        empties = self._empties if completed else None
        shared.faults.guarded("keep the output of %s" % job.id, attempt.log.release, shared.store.settings.max_output, empties)
        if strays:
            log("%s: processes that left its tree still run (pid %s)" % (job.id, ", ".join(map(str, strays))))
        counts = None if attempt.end_reason == STOPPED else outcome
        if counts is not None and counts.reason is None:
            shared.file.completed(self._number, job.worker)
        was_started = outcome is not None or bool(attempt.pid)
        following, retry = shared.outcomes.finished(Finished(job, counts, time.time(), output, ended - started, was_started), ended)
        if outcome is None:
            shared.stop.wait(TICK)
        if following is None and not shared.outcomes.unrecorded:  # else the attempt stays noted, so that the next process counts it
            self._note_nothing(retry)
        return following, retry

    def _run_attempt(self, attempt):
        """Run an attempt to its end: (its Outcome, or None if it could not be tried; the pids of processes that have left its tree)."""
        shared = self._shared
        try:
            shared.file.note(self._number, attempt)  # before it starts: it may end this process at once
            if attempt.slot is not None and shared.outcomes.has_lost_slot(attempt.job):
                return None, []  # it was taken away, or put into another group, before it was noted
            outcome = attempt.start(shared.store.settings.save_output, self._empties)
        except OSError as error:
            if lacks_room(error):  # one message, however many jobs are given back
                shared.faults.tell("the system has no room for another process (%s); the jobs wait for it" % error.strerror)
            else:
                shared.faults.tell("cannot run %s: %s" % (attempt.job.id, fault_text(error)))
            return None, []
        if outcome is not None:
            return outcome, []
        shared.faults.guarded("do other things while %s runs" % attempt.job.id, self._work_while_it_runs, attempt)
        ended = attempt.wait(shared.store.settings.kill_grace)
        if attempt.fault is not None:
            shared.faults.tell("%s has run, and then: %s" % (attempt.job.id, fault_text(attempt.fault)))
        return ended

    def _work_while_it_runs(self, attempt):
        """Do what there is to do between the start of a command and its end."""
        shared = self._shared
        if shared.stop.at_once:
            attempt.end(STOPPED, shared.store.settings.kill_grace)
        if not shared.outcomes.are_short():
            self._note_group(attempt)
        elif not FINDS_UNNOTED:
            self._note(lambda: attempt.if_running(lambda: shared.file.note(self._number, attempt)))
        shared.outcomes.claim_ahead()
        if attempt.limit is not None:
            shared.waker.wake()  # the main thread ends it when its time is over

    def note_group_late(self, now):
        """Note the process group of an attempt that turns out to take longer than those before it; for the main thread. Gives back
        whether there is an attempt that may still have to be noted."""
        attempt = self.attempt
        if attempt is None or attempt.is_noted:
            return False
        if now - attempt.started > STALE:
            self._note_group(attempt)
        return not attempt.is_noted

    def _note_group(self, attempt):
        """Note the process group of an attempt, and tell that it has started. If the note fails, whoever looks for its processes
        finds them by its token, where that can be seen."""
        def note():
            self._shared.file.note(self._number, attempt)
            self._shared.account.started(attempt.job)  # before anyone can tell of its end

        attempt.is_noted = True
        self._note(lambda: attempt.if_running(note))

    def _discard_empties(self):
        self._shared.faults.guarded("remove an empty log", self._empties.discard)

    def _note_nothing(self, retry=None):
        """Note that this worker runs nothing, or waits for the retry of a job. If that fails, and behind such a wait, it is noted
        again before the worker idles: nobody takes up a job that is noted as running."""
        def note():
            self._is_wrongly_noted = True
            self._shared.file.note(self._number, waits=retry)
            self._is_wrongly_noted = retry is not None

        self._note(note)

    def _note(self, note):
        self._shared.faults.guarded("note what runs in %s" % self._shared.file.path, note)
