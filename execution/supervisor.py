"""One worker process from inside: its threads and what supervises them.

Each worker is a thread that claims a job, runs it, records how it ended and claims the next. The main thread supervises: it looks for
requests, for what a dead worker left and for an edited config.json, and wakes an idle worker; a worker that gets a job wakes the next.
"""
from __future__ import annotations

import os
import signal
import sys
import threading
import time
from itertools import count as count_up

from core.errors import EXIT_BUG, EXIT_FAILED, QueueError, fault_text
from core.home import run_folder, wake_workers
from core.job import CANCELLED, COMPLETED, DEAD, DEPENDENCY, PENDING, PROCESSING
from core.rules import is_retry, ready_at
from core.system import OPEN_FILES_MOVE, is_there, try_lock
from core.times import parse_time
from execution.attempt import PATIENCE, STOPPED, Attempt, job_environ
from execution.launcher import Launcher, lacks_room
from execution.log_file import LogFile
from execution.on_finish import Announcer
from execution.outcomes import STALE, Batch
from execution.recovery import DeadWorker
from execution.waiting import TICK, StopFlag, Waker
from execution.worker_files import (WorkerProcess, all_workers, attempt_token, open_if_there, read_worker_file, split_attempt_token,
                                    wake_path, worker_path, worker_paths)
from helpers import log
from storage.claims import Ended
from storage.output import last_lines

_REMIND = 60.0  # seconds between two times that the same fault is logged
_AGAIN = 1.0  # seconds after the first signal from which another one is a second wish


class StopSignals:
    """The signals that ask a worker process to stop, noted inside of `with StopSignals() as signals`. The first one asks it to take no more
    jobs, the second one to end those that run.

    One wish may arrive as several signals: timeout(1) and a service manager each send a TERM to the whole group, and when a terminal is
    closed, the kernel and the shell each send a HUP. So a signal within a second of the first one counts as the first, and HUP never counts
    as the second.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._first = None  # when it came
        self._former_handlers = []
        self.again = False  # whether there was a second

    def __bool__(self):
        return self._first is not None

    def __enter__(self):
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks
                self._former_handlers.append((number, signal.signal(number, self.note)))
        return self

    def __exit__(self, *fault):
        for number, handler in self._former_handlers:
            signal.signal(number, handler)

    def note(self, number, frame=None):
        """Note a signal that has come. A handler for signal.signal."""
        now = self._clock()
        if self._first is None:
            self._first = now
        elif now - self._first >= _AGAIN and number != getattr(signal, "SIGHUP", None):
            self.again = True


class Supervisor:
    """A worker process from its start to its end. `run` is its life; everything else is called by it or by its threads."""

    def __init__(self, home, jobs, settings, environ, file, signals, count, drain):
        self._home = home
        self._jobs = jobs
        self._settings = settings
        self._file = file
        self._signals = signals
        self._environ = job_environ(environ, home)
        self._run_folder = run_folder(home)
        self._launch = Launcher()
        self._announcer = Announcer(home, self._environ, self._launch, _words_descriptor(), self._fault, 0 if drain else Announcer.MOST)
        self._waker = Waker(wake_path(self._file.path))
        self._count = count
        self._drain = drain
        self._drained = False  # it has ended by itself, not since someone wanted it
        self._attempts: list = [None] * count  # what each thread runs
        self._logs = [LogFile() for _ in range(count)]
        self._batch = Batch(count)
        self._batch_watched = False  # by the supervisor, which looks whether it is stale
        self._looked_at = None  # the state of the job file when it was last looked at for cancelled jobs
        self._serials = count_up(1)
        self._tokens = set()  # of the attempts that this process has claimed, or is about to
        self._scans = -1
        self._stop = StopFlag()  # take no more jobs
        self._now = False  # and end those that run
        self._idle = threading.Condition()
        self._busy_threads = count
        self._ended_threads = 0
        self._deaths = 0  # jobs that this process moved to the dead letter queue
        self._unrecorded = 0
        self._bug = False  # a thread ended with an exception, which Python has shown
        self._wrongly_noted = set()  # threads that run nothing, although their slot in our file says so
        self._dead_workers = []
        self._faults = {}  # message: when it was logged last
        jobs.busy = self._running_digests
        jobs.buried = self._tell_buried

    # -- the main thread

    def run(self):
        """Work until stopped, or, with drain, until nothing is left to do. The exit code."""
        threads = [threading.Thread(target=self._work, args=(number,), name="worker-%d" % number) for number in range(self._count)]
        try:
            self._tick()  # first what a dead worker left, or its jobs might start while they still run
            refused = self._start(threads)
            self._supervise()
            for thread in threads[:self._count]:
                thread.join()
            self._record(self._batch.take(), 0)
            self._sync()
            if self._drain:
                wake_workers(self._home)  # another process that drains has waited for our last jobs
            given_up = self._finish_announcing()
        except BaseException:
            self._bug = True
            raise
        finally:
            self._close()
        if refused:
            raise QueueError(refused)
        if self._bug:
            return EXIT_BUG
        return EXIT_FAILED if self._unrecorded or given_up or (self._drain and self._deaths) else 0

    def _supervise(self):
        """Look after the workers until all have ended."""
        next_tick = next_poll = next_look = 0.0
        while self._ended_threads < self._count:
            now = time.monotonic()
            if now >= next_tick:
                self._tick()
                next_tick = now + (0.2 if self._dead_workers else TICK)
            self._guarded("look for a request to stop", self._look_for_stop)
            if now >= next_look:
                self._guarded("look for cancelled jobs", self._look_for_taken_away)
                next_look = now + TICK
            if now >= next_poll:
                with self._idle:
                    self._idle.notify()
                next_poll = now + self._jobs.settings.poll_interval
            self._guarded("record what was put off", self._flush_batch)
            self._guarded("look whether all is done", self._finish_if_drained)
            for attempt in self._running():
                self._guarded("end %s" % attempt.job.id, attempt.check, self._jobs.settings.kill_grace)
            checks = [attempt.next_check() for attempt in self._running()]
            due = now + self._until_due()
            stale = now + (STALE if self._batch_watched else TICK)
            wake_at = min([next_tick, next_poll, due, stale] + [check for check in checks if check is not None])
            if self._waker.wait(wake_at - time.monotonic()) or time.monotonic() >= due:
                next_poll = next_look = 0.0

    def _finish_announcing(self):
        """Let the on_finish commands end: all of them after a drain, those of some seconds if someone has this process stop. How many were
        given up."""
        begun = time.monotonic()
        asked = None if self._drained else begun
        while self._announcer.left:
            now = time.monotonic()
            if asked is None and (self._signals or self._stop_request()):
                asked = now
            if asked is not None and now - asked > PATIENCE:
                break
            if now - begun > PATIENCE:
                self._fault("all jobs have ended; waiting for on_finish, which is still to be run for some of them")
            self._guarded("look after on_finish", self._announcer.check)
            self._waker.wait(0.05)
        given_up = self._announcer.close()
        if given_up:
            log("on_finish was given up for %d job%s" % (given_up, "" if given_up == 1 else "s"))
        return given_up

    def _close(self):
        """Give back what this process holds; its file only if all is recorded and ended, or nobody would return the jobs that are not."""
        self._waker.close()
        self._stop.close()
        self._launch.close()
        if self._unrecorded:
            log("%d results could not be recorded; those jobs run again" % self._unrecorded)
        elif not self._bug:
            self._guarded("remove the file of this process", self._file.remove)

    def _start(self, threads):
        """Start the workers. If the system does not give so many threads: what to say of it, and those that there are stop at once."""
        for number, thread in enumerate(threads):
            try:
                thread.start()
            except RuntimeError:
                refused = "the system gives no more than %d of %d threads; choose a smaller --count" % (number, len(threads))
                self._count = number
                self._begin_stop("")
                return refused
        return None

    def _until_due(self):
        """Seconds until the next waiting job is due, if a worker is idle; then the wait counts as having been woken."""
        due = self._jobs.next_due() if self._busy_threads < self._count else None
        return 2 * TICK if due is None else max(0.01, due - time.time())

    def _tick(self):
        self._guarded("follow the settings", self._follow_settings)
        self._guarded("look for the file of this process", self._look_for_own_file)
        self._guarded("look for dead workers", self._look_for_dead_workers)
        self._guarded("reap what has lost its parent", self._launch.reap_orphans)
        self._trim_logs()
        self._guarded("look after on_finish", self._announcer.check)
        self._sync()

    def _running(self):
        """The attempts that run now."""
        return [attempt for attempt in list(self._attempts) if attempt is not None]

    def _trim_logs(self):
        for attempt in self._running():
            self._guarded("shorten the output of %s" % attempt.job.id, attempt.log.trim, self._jobs.settings.max_output)

    def _note_group(self, number, attempt):
        """Note the group of an attempt. Who looks for its processes finds them by its token if that fails."""
        self._guarded("note what runs in %s" % self._file.path, attempt.if_running, lambda: self._file.note(number, attempt))

    def _look_for_taken_away(self):
        """End the attempts whose job was cancelled: its token is gone from the file."""
        attempts = [attempt for attempt in self._running() if not attempt.ended]
        if not attempts:
            return
        changed, mark = self._jobs.changed_since(self._looked_at)
        looked = attempts if changed else [attempt for attempt in attempts if not attempt.seen]
        gone = self._jobs.taken_away([attempt.job for attempt in looked]) if looked else ()
        self._looked_at = mark
        for attempt in looked:
            attempt.seen = True
        for attempt in attempts:
            if attempt.job in gone:
                attempt.end(CANCELLED, self._jobs.settings.kill_grace)

    def _sync(self):
        self._guarded("confirm the last outcomes on disk", self._jobs.sync_outcomes)

    def _guarded(self, task, step, *arguments, otherwise=None, pause=0.0, about=""):
        """What `step` gives back. This is the one place where a thread of a worker process meets a fault of the system or of a file: it is
        logged, with what it is `about` before it; the thread goes on after a pause of so many seconds, and gets what is `otherwise`."""
        try:
            return step(*arguments)
        except QueueError as error:
            self._fault("%s%s" % (about, error))
        except OSError as error:
            self._fault("%scannot %s: %s" % (about, task, fault_text(error)))
        if pause:
            self._stop.wait(pause)
        return otherwise

    def _fault(self, message):
        """Log a fault, and once a minute that it is still there, however often it recurs."""
        now, last = time.monotonic(), self._faults.get(message)
        if last is None or now - last >= _REMIND:
            self._faults = {said: at for said, at in list(self._faults.items()) if now - at < _REMIND}
            self._faults[message] = now
            log(message)

    def _follow_settings(self):
        try:
            settings = self._settings.look()
        except QueueError as error:
            self._fault("%s; going on with the settings as they were" % error)
            return
        if settings is not None and settings != self._jobs.settings:
            self._jobs.settings = settings
            log("settings read again")

    def _look_for_own_file(self):
        """Without our file nobody can find us, and others take our jobs for abandoned: it was removed with the home, or by hand."""
        if not is_there(self._file.path) and not self._stop.is_set():
            log("%s is gone; stopping" % self._file.path)
            self._begin_stop("")

    def _stop_request(self):
        return self._guarded("look for a request to stop", self._file.request)

    def _look_for_stop(self):
        if not self._stop.is_set() or not self._now:
            request = self._stop_request()
            if self._signals or request:
                if not self._stop.is_set():
                    self._begin_stop("stopping: the running jobs may end (again, a second later: they are ended)")
            if (self._signals.again or request == "now") and not self._now:
                self._now = True
                log("ending the running jobs; they go back to the queue")
        if self._now:
            for attempt in self._running():
                attempt.end(STOPPED, self._jobs.settings.kill_grace)

    def _begin_stop(self, message):
        if message and any(attempt is not None for attempt in self._attempts):
            log(message)
        self._stop.set()
        with self._idle:
            self._idle.notify_all()

    def _finish_if_drained(self):
        if not self._drain or self._stop.is_set() or self._busy_threads or self._dead_workers:
            return
        scheduled = []
        for job in self._jobs.jobs((PENDING, PROCESSING)):
            if job.state == PROCESSING or (job.attempts and (job.run_at is None or is_retry(job, self._jobs.settings))):
                return
            if ready_at(job, self._jobs.settings, time.time()) <= time.time() and not job.after:
                return
            scheduled.append(job.id)
        if scheduled:
            named = ", ".join(scheduled[:20] + ["…"] * (len(scheduled) > 20))
            log("not waiting for jobs that are scheduled, or come after one that is: %s" % named)
        self._drained = True
        self._begin_stop("")

    # -- dead workers

    def _running_digests(self):
        """The digests of the jobs that run now, in any live process or in what a dead one left."""
        try:
            return frozenset(slot["job"] for process in all_workers(self._run_folder) for slot in process.running if slot)
        except OSError as error:
            raise QueueError("cannot see what other workers run: %s" % fault_text(error)) from None

    def _look_for_dead_workers(self):
        known = [self._file.path] + [dead.process.path for dead in self._dead_workers]
        for path in worker_paths(self._run_folder):
            if path not in known:
                self._guarded("look at %s" % path, self._take_over_if_dead, path)
        self._guarded("look for jobs that nobody runs", self._find_orphans)
        for dead in list(self._dead_workers):
            if self._guarded("return the jobs of a dead worker", dead.step, self._jobs, self._note_end, self._fault):
                self._dead_workers.remove(dead)

    def _take_over_if_dead(self, path):
        """Take over the file of a worker process that has died."""
        descriptor = open_if_there(path)
        if descriptor is None:
            return
        dead = None
        try:
            stat = os.fstat(descriptor)
            is_new = not OPEN_FILES_MOVE and not stat.st_size and time.time() - stat.st_mtime < PATIENCE  # and not locked yet
            if not is_new and try_lock(descriptor) and is_there(path):
                dead = DeadWorker(descriptor, read_worker_file(descriptor, path), self._home)
                self._dead_workers.append(dead)
        finally:
            if dead is None:
                os.close(descriptor)

    def _find_orphans(self):
        """Jobs that are marked as running although nobody runs them: run/ was deleted, or an editor's save brought them back."""
        scans = self._jobs.scans
        if self._scans == scans:
            return

        def runs(worker):
            process_token = split_attempt_token(worker)[0]
            if process_token == self._file.process_token:
                return worker in self._tokens
            return is_there(worker_path(self._run_folder, process_token))

        tokens = {split_attempt_token(job.worker)[0] for job in self._jobs.abandoned(runs)}
        self._dead_workers += [DeadWorker(None, WorkerProcess(token, 0, 0, "", [], ""), self._home, runs) for token in tokens]
        self._scans = scans

    # -- a worker's thread

    def _work(self, number):
        waiting_for = None
        try:
            while not self._stop.is_set():
                waiting_for = self._guarded("go on working", self._work_once, number, waiting_for, pause=TICK)
        except BaseException:
            self._bug = True
            self._begin_stop("")  # the next process ends what this thread has left running, by the file that stays
            raise
        finally:
            self._let_go_of_log(number)
            with self._idle:
                self._ended_threads += 1
                self._busy_threads -= 1
            self._waker.wake()

    def _work_once(self, number, waiting_for):
        """Run the next job, and those that follow it at once; the job whose retry this worker is to wait for."""
        if waiting_for is not None and self._wait_for_retry(waiting_for):
            return waiting_for
        job = self._claim(waiting_for)
        waiting_for = None
        if job is None:
            if number in self._wrongly_noted:
                self._note_nothing(number)
            self._be_idle()
        while job is not None:
            if self._busy_threads < self._count:
                with self._idle:
                    self._idle.notify()
            job, waiting_for = self._run(number, job)
        self._let_go_of_log(number)
        return waiting_for

    def _let_go_of_log(self, number):
        self._guarded("remove an empty log", self._logs[number].discard)

    def _note_nothing(self, number):
        """Note that a thread runs nothing. If that fails it is tried again before the thread idles, since nobody takes a job up that counts
        as running."""
        def note():
            self._wrongly_noted.add(number)
            self._file.note(number)
            self._wrongly_noted.discard(number)

        self._guarded("note what runs in %s" % self._file.path, note)

    def _wait_for_retry(self, job):
        """Wait a little for a job's time; True if there is still some to wait. By the wall clock, in small steps: a clock that jumps
        and a computer that sleeps make no wait longer than the job's own backoff."""
        now = time.time()
        delay = ready_at(job, self._jobs.settings, now) - now
        if delay <= 0:
            return False
        self._stop.wait(min(delay, TICK))
        present = self._guarded("look at %s" % job.id, self._jobs.refresh, job, otherwise=job) if delay > TICK else job
        return present is not None and present.progress() == job.progress()  # else it was cancelled, edited or taken

    def _token(self):
        token = attempt_token(self._file.process_token, next(self._serials))
        self._tokens.add(token)
        return token

    def _claim(self, preferred):
        job = self._batch.next() if preferred is None else None
        if job is not None:
            return job
        token = self._token()
        job = self._guarded("take a job", self._jobs.claim, token, time.time(), preferred)
        if job is None:
            self._tokens.discard(token)
        return job

    def _be_idle(self):
        with self._idle:
            self._busy_threads -= 1
            if self._drain and not self._busy_threads:
                self._waker.wake()  # to see whether that was all
            if not self._stop.is_set():
                self._idle.wait()
            self._busy_threads += 1

    def _run(self, number, job):
        """Run an attempt of a claimed job and record how it ended: (the next one, the job whose retry this worker is to wait for)."""
        attempt = Attempt(self._home, job, self._environ, self._launch, self._logs[number], self._jobs.settings, self._fault)
        self._attempts[number] = attempt
        started = time.monotonic()
        outcome, strays = self._attempt(number, attempt)
        self._attempts[number] = None
        ended = time.monotonic()
        output = last_lines(attempt.log.path) if outcome is not None and outcome.reason and attempt.has_output else ""
        self._guarded("keep the output of %s" % job.id, attempt.log.end, self._jobs.settings.max_output)
        if strays:
            log("%s: processes that left its tree still run (pid %s)" % (job.id, ", ".join(map(str, strays))))
        if outcome is None and not attempt.pid:
            output = None  # it was never started
        counts = None if attempt.ended == STOPPED else outcome
        if counts is not None and counts.reason is None:
            self._file.completed(number, job.worker)
        after, following = self._finish(Ended(job, counts, time.time(), output, ended - started), ended)
        if outcome is None:
            self._stop.wait(TICK)
        if following is None and not self._unrecorded:  # else what it ran stays noted: an attempt that whoever comes next has to count
            self._note_nothing(number)
        if self._batch and not self._batch_watched:
            self._waker.wake()
        return following, after if after is not None and after.run_at is not None and self._jobs.settings.retry_in_place else None

    def _finish(self, end, moment):
        """Record how an attempt ended, now or with others: (what became of its job if that is known, the job that this worker is to run
        next)."""
        batch, stops = self._batch, self._stop.is_set()
        succeeded = end.outcome is not None and end.outcome.reason is None
        if succeeded and not stops:
            following = batch.put_off(end, moment)
            if following is None:
                with batch.filling:  # another worker may just be claiming
                    following = batch.put_off(end, moment)
            if following is not None:
                return None, following
        waits = not succeeded and (end.outcome is None or self._jobs.settings.retry_in_place)
        wanted = 0 if waits or stops else batch.how_many(end.seconds) if succeeded else 1
        gives_back = stops or batch.is_stale(moment)
        ended = batch.take() if gives_back else batch.take_ended()
        after = self._record(ended + [end], wanted)
        if gives_back:
            wake_workers(self._home)
        return after, None if waits or self._stop.is_set() else batch.next()

    def _attempt(self, number, attempt):
        """Run an attempt to its end: (its Outcome, or None if it could not be tried; the pids of what has left its tree)."""
        grace = self._jobs.settings.kill_grace
        try:
            self._file.note(number, attempt)  # before it starts: it may end this process at once
            outcome = attempt.start(self._jobs.settings.save_output)
        except OSError as error:
            if lacks_room(error):  # in one line, however many jobs are given back
                self._fault("the system has no room for another process (%s); the jobs wait for it" % error.strerror)
            else:
                self._fault("cannot run %s: %s" % (attempt.job.id, fault_text(error)))
            return None, []
        if outcome is not None:
            return outcome, []
        self._guarded("do other things while %s runs" % attempt.job.id, self._while_it_runs, number, attempt)
        ended = attempt.wait(grace)
        if attempt.fault is not None:
            self._fault("%s has run, and then: %s" % (attempt.job.id, fault_text(attempt.fault)))
        return ended

    def _while_it_runs(self, number, attempt):
        """What is done between the start of an attempt and the wait for its end."""
        if self._now:
            attempt.end(STOPPED, self._jobs.settings.kill_grace)
        self._note_group(number, attempt)
        wanted = self._batch.wanted()
        if wanted and not self._stop.is_set():
            self._record_batch(self._batch.take_ended(), wanted)
            if not self._batch_watched:
                self._waker.wake()
        if attempt.limit is not None:
            self._waker.wake()

    def _record(self, ended, wanted):
        """Record how jobs ended and claim `wanted` others for the batch: the last of them as it is now. It is tried each second for as
        long as the job file is broken or the disk full, with the results kept in memory; a stop waits for them for some seconds."""
        patience = 5
        while ended:
            results = self._guarded("record it", self._record_once, ended, wanted,
                                    about="%s: its result waits to be recorded: " % ended[0].job.id)
            if results is not None:
                return results[-1]
            patience -= self._stop.is_set()
            if patience < 0:
                self._unrecorded += len(ended)
                break
            self._stop.wait(TICK) if not self._stop.is_set() else time.sleep(TICK)
        return None

    def _record_batch(self, ended, wanted):
        """Record what was put off, and claim `wanted` jobs, while others run. What cannot be recorded now stays put off."""
        about = "%d results wait to be recorded: " % len(ended)
        if self._guarded("record them", self._record_once, ended, wanted, about=about) is None:
            self._batch.put_back(ended, time.monotonic())

    def _record_once(self, ended, wanted):
        """Record how jobs ended, claim `wanted` others for the batch, unless another worker just has, and tell of it: what became of
        them. Raises QueueError."""
        with self._batch.filling:
            tokens, claimed = [self._token() for _ in range(0 if self._batch.is_full() else wanted)], []
            try:
                results, claimed = self._jobs.record_all(ended, time.time(), tokens)
            finally:
                self._tokens.difference_update(tokens[len(claimed):])
            self._batch.add(claimed, time.monotonic())
        self._settle(ended, results)
        return results

    def _settle(self, ended, results):
        """Tell of jobs whose end was recorded."""
        lines = []
        for (job, _, _, output, seconds), after in zip(ended, results):
            self._tokens.discard(job.worker)
            if after is None:
                self._scans = -1  # its token may stand with a copy of its line now, which nobody runs
            if output is None:
                continue  # it was never started
            if after is not None:
                self._note_end(after)
                lines.append(_report(after, seconds))
            else:
                lines.append("%s: it was cancelled, or the queue was cleared or edited; how it ended counts for nothing" % job.id)
        if lines:
            log(*lines)

    def _flush_batch(self):
        """Record what was put off for too long, and give back the jobs that nobody has started."""
        self._batch_watched = False  # first, since whoever fills the batch from now on looks at it
        if self._batch.is_stale(time.monotonic()):
            self._record_batch(self._batch.take(), 0)
            wake_workers(self._home)
        if self._batch:
            self._batch_watched = True

    def _tell_buried(self, jobs):
        """Tell of jobs that died with one that they come after, as of those that died by themselves."""
        for job in jobs:
            self._note_end(job)
        log(*[_report(job, 0.0) for job in jobs])

    def _note_end(self, job):
        """What is to be done about a job that may have ended."""
        if job.state == DEAD:
            self._deaths += 1
        command = self._jobs.settings.on_finish
        if command and job.state in (COMPLETED, DEAD) and not self._announcer.announce(command, job):
            self._fault("on_finish is too slow: it was not run for some jobs")


def _words_descriptor():
    """The descriptor that what we log goes to, for commands that have something to say there; the null device if it has none."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return os.open(os.devnull, os.O_WRONLY)


def _report(job, seconds):
    """How the attempt of a job ended that is recorded now, or that there will be none, as a line for the log."""
    if job.reason == DEPENDENCY:
        return "%s: %s; moved to the dead letter queue" % (job.id, job.ending)
    if job.state == DEAD:
        return "%s: %s, attempt %d; moved to the dead letter queue" % (job.id, job.ending, job.attempts)
    if job.state == COMPLETED:
        return "%s: completed in %.2f s" % (job.id, seconds)
    if job.run_at is None:
        return "%s: back in the queue" % job.id
    wait = parse_time(job.run_at) - parse_time(job.updated_at)
    return "%s: %s, attempt %d; again in %g s" % (job.id, job.ending, job.attempts, round(wait, 2))
