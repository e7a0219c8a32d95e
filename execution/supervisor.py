"""The main thread of a worker process: it looks after the workers, which are threads (`worker`), from their start to their end.

Each second, or when it is woken, it looks for requests to stop, for cancelled jobs, for what dead workers left, and for a changed
config.json; it ends attempts whose time is over, and wakes an idle worker. It decides when a queue is drained, and never runs a job.
"""
from __future__ import annotations

import signal
import threading
import time

from core.dependencies import those_of_groups, told_circle
from core.drain import what_is_left
from core.errors import QueueError, fault_text, hint
from core.home import wake_workers, worker_log_path
from core.job import CANCELLED, PENDING, PROCESSING
from core.system import folder_identity, is_there
from execution.attempt import PATIENCE, STOPPED, job_environ
from execution.launcher import Launcher
from execution.on_finish import Announcer
from execution.outcomes import STALE, Outcomes
from execution.recovery import Recovery
from execution.waiting import TICK, Crew, DueCall, StopFlag, Waker
from execution.worker import Shared, Worker
from execution.worker_files import path_beside
from execution.worker_log import shorten_worker_log
from helpers import log
from storage import foreign  # noqa: F401  by the threads, that is: a .pyc of it that a full disk has cut would end them as a bug

_REMIND = 60.0  # seconds between two times that the same fault is logged
_AGAIN = 1.0  # seconds after the first signal from which another one is a second wish
_TOGETHER = 0.1  # seconds: what is due within them is done at once, since each wake-up costs
_RECOVERY_TICK = 0.2  # seconds between two looks at what a dead worker left running


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


class Faults:
    """The one place where a thread of a worker process meets a fault of the system or of a file: it is logged, and the thread goes on."""

    def __init__(self, stop):
        self._stop = stop
        self._said = {}  # message: when it was logged last

    def guarded(self, task, step, *arguments, otherwise=None, pause=0.0, about=""):
        """What `step(*arguments)` gives back. If it meets a fault, that is logged as one of this task, behind what it is `about`; then this
        waits for so many seconds, or for a stop, and gives back what is `otherwise`."""
        try:
            return step(*arguments)
        except QueueError as error:
            self.tell("%s%s" % (about, error))
        except OSError as error:
            self.tell("%scannot %s: %s" % (about, task, fault_text(error)))
        if pause:
            self._stop.wait(pause)
        return otherwise

    def tell(self, message):
        """Log a fault, and once a minute that it is still there, however often it recurs."""
        now, last = time.monotonic(), self._said.get(message)
        if last is None or now - last >= _REMIND:
            self._said = {said: at for said, at in list(self._said.items()) if now - at < _REMIND}
            self._said[message] = now
            log(message)


class Supervisor:
    """A worker process with `count` workers, which is registered by its worker file. `run` is its life.

    `settings` are those that it follows (FollowedSettings), `signals` what it was sent (StopSignals), `account` is told what it does; with
    `drain` it ends by itself.
    """

    def __init__(self, home, claims, settings, environ, file, signals, account, count, drain):
        self._home = home
        self._identity = folder_identity(home)
        self._claims = claims
        self._store = claims.store
        self._settings = settings
        self._file = file
        self._signals = signals
        self._account = account
        self._drain = drain
        self._circle = None  # jobs that wait for each other, at the end of a drain
        self._drained = False  # it has ended by itself, not since someone wanted it
        self._stands_still = False  # the running jobs do, by a pause
        self._looked_at = None  # the fingerprint of the job file, and the attempts, of the last look for cancelled jobs
        self._stop = StopFlag()
        self._due_call = DueCall()
        self._faults = Faults(self._stop)
        self._guarded = self._faults.guarded
        self._waker = Waker(path_beside(file.path, "wake"))
        self._launch = Launcher()
        environ = job_environ(environ, home)
        self._announcer = Announcer(home, environ, self._launch, self._faults.tell, 0 if drain else Announcer.MOST)
        self._crew = Crew(count, self._stop, self._waker.wake if drain else None)  # a drain may be over when all are idle
        self._outcomes = Outcomes(home, claims, file.process_token, count, self._stop, self._faults, account, self._announcer,
                                  self._waker.wake)
        self._recovery = Recovery(home, claims, file, self._outcomes, self._faults)
        claims.noted, claims.buried = self._recovery.noted, self._outcomes.tell_buried
        shared = Shared(home, environ, claims.store, file, self._launch, self._outcomes, self._crew, self._stop, self._faults, self._waker,
                        account)
        self._workers = [Worker(number, shared) for number in range(count)]

    def run(self):
        """Work until stopped, or, with drain, until nothing is left: the exit code. Raises QueueError for too few threads."""
        try:
            self._tick()  # first what a dead worker left, or its jobs might start while they still run
            threads, refused = self._start()
            self._supervise()
            for thread in threads:
                thread.join()
            self._outcomes.close()
            self._sync()
            if self._drain:
                wake_workers(self._home)  # another process that drains has waited for the last jobs of this one
            given_up = self._finish_announcing()
        except BaseException:
            self._crew.has_bug = True
            raise
        finally:
            self._close()
        if refused:
            raise QueueError(refused)
        if self._crew.has_bug:
            return 3
        failed = self._stop.homeless or self._circle or self._outcomes.unrecorded or given_up or (self._drain and self._account.dead)
        return 1 if failed else 0

    # -- the life of the process

    def _start(self):
        """Start the workers: (their threads, None). If there are too few threads: (these, what to say of it), and they stop at once."""
        threads = []
        for number, worker in enumerate(self._workers):
            thread = threading.Thread(target=worker.work, name="worker-%d" % number)
            try:
                thread.start()
            except RuntimeError:
                self._crew.count = number
                self._crew.dismiss()
                return threads, ("the system gives no more than %d of %d threads; choose a smaller --count" % (number, len(self._workers)))
            threads.append(thread)
        return threads, None

    def _supervise(self):
        """Look after the workers until all have ended."""
        next_tick = next_poll = next_look = 0.0
        while self._crew.ended < self._crew.count:
            now = time.monotonic()
            soon = now + _TOGETHER
            if soon >= next_tick:
                self._tick()
                next_tick = now + (_RECOVERY_TICK if self._recovery else TICK)
            self._guarded("look for a request to stop", self._look_for_stop)
            if soon >= next_look:
                self._guarded("look for cancelled jobs", self._look_for_taken_away)
                self._guarded("look whether jobs are to stand still", self._look_for_standstill)
                next_look = now + TICK
            if soon >= next_poll:
                self._crew.call_one()
                next_poll = now + self._store.settings.poll_interval
            next_flush = now + self._outcomes.flush()
            if [worker for worker in self._workers if worker.note_group_late(now)]:
                next_flush = min(next_flush, now + STALE)
            self._guarded("look whether all is done", self._finish_if_drained)
            due = now + self._until_due()
            wake_at = min([next_tick, next_poll, next_flush, due] + self._check_attempts())
            woken = self._waker.wait(wake_at - time.monotonic())
            if woken:
                self._guarded("follow the settings", self._follow_settings)
            if woken or time.monotonic() >= due:
                next_poll = next_look = 0.0

    def _finish_announcing(self):
        """Let the on_finish commands end: all after a drain, those of some seconds after a stop; how many were given up."""
        begun = time.monotonic()
        asked = None if self._drained else begun
        while self._announcer.left:
            now = time.monotonic()
            if asked is None and (self._signals or self._stop_request()):
                asked = now
            if asked is not None and now - asked > PATIENCE:
                break
            if now - begun > PATIENCE:
                self._faults.tell("all jobs have ended; waiting for on_finish, which is still to be run for some of them")
            self._guarded("look after on_finish", self._announcer.check)
            self._waker.wait(0.05)
        return self._announcer.close()

    def _close(self):
        """Give back what this process holds; not its worker file after a bug, or with a result unrecorded: the next process needs it."""
        self._waker.close()
        self._stop.close()
        self._launch.close()
        if self._outcomes.unrecorded:
            self._outcomes.tell_unrecorded()
        elif not self._crew.has_bug:
            self._guarded("remove the file of this process", self._file.remove)

    # -- each second

    def _tick(self):
        self._guarded("look for the file of this process", self._look_for_own_file)
        if self._stop.homeless:
            return
        self._guarded("follow the settings", self._follow_settings)
        self._guarded("look for dead workers", self._recovery.step)
        self._guarded("reap what has lost its parent", self._launch.reap_orphans)
        for attempt in self._running():
            self._guarded("shorten the output of %s" % attempt.job.id, attempt.log.trim, self._store.settings.max_output)
        self._guarded("look after on_finish", self._announcer.check)
        self._guarded("begin run/worker.log anew", shorten_worker_log, worker_log_path(self._home), self._store.lock)
        self._sync()
        self._guarded("show how far it is", self._account.show, len(self._running()))

    def _follow_settings(self):
        try:
            settings = self._settings.look()
        except QueueError as error:
            self._faults.tell("%s; going on with the settings as they were" % error)
            return
        if settings is not None and settings != self._store.settings:
            self._store.settings = settings
            self._account.say("settings read again")
        if settings is not None:
            for said in self._settings.unknown:
                self._account.say("config.json: %s" % said)

    def _look_for_own_file(self):
        """Stop if the worker file is gone: nobody can find this process any more, and others take its jobs for orphans. If the whole home
        was moved or removed the running jobs are ended, since nothing can be recorded any more, and another one may come in its place."""
        if self._stop.homeless or is_there(self._file.path):
            return
        if folder_identity(self._home) != self._identity:
            log("%s was moved or removed; ending: the running jobs are ended, too, since their results could not be recorded" % self._home)
            self._stop.homeless = self._stop.at_once = True
        elif not self._stop.is_set():
            log("%s is gone; stopping" % self._file.path)
        self._crew.dismiss()

    def _sync(self):
        if not self._stop.homeless:
            self._guarded("confirm the last outcomes on disk", self._claims.sync_outcomes)

    # -- the attempts that run

    def _running(self):
        """The attempts that run now."""
        return [attempt for attempt in [worker.attempt for worker in self._workers] if attempt is not None]

    def _check_attempts(self):
        """End the attempts that have run for too long. Gives back when to look at each again, by the monotonic clock."""
        for attempt in self._running():
            self._guarded("end %s" % attempt.job.id, attempt.check, self._store.settings.kill_grace)
        checks = [attempt.next_check() for attempt in self._running()]
        return [check for check in checks if check is not None]

    def _look_for_taken_away(self):
        """End the attempts whose job was cancelled: its token is gone from the file."""
        attempts = [attempt for attempt in self._running() if not attempt.end_reason]
        if not attempts:
            return
        known = self._store.fingerprint(), attempts
        if known == self._looked_at:
            return
        gone = self._claims.taken_away([attempt.job for attempt in attempts])
        if gone:
            self._look_for_own_file()  # they may be gone with the home
        for attempt in attempts:
            if attempt.job in gone and not self._stop.homeless:
                attempt.end(CANCELLED, self._store.settings.kill_grace)
        self._looked_at = known

    def _look_for_standstill(self):
        """Stop the running jobs where they stand while a pause says so, and let them go on after it."""
        attempts = self._running()
        wanted = bool(attempts) and self._store.pauses.stops_running()
        if wanted != self._stands_still:
            self._stands_still = wanted
            if attempts:  # those that stood still may have been cancelled meanwhile
                log("the running jobs stand still until the queue is resumed" if wanted else "the running jobs go on")
        for attempt in attempts:
            attempt.stand_still(wanted)

    # -- stopping

    def _stop_request(self):
        return self._guarded("look for a request to stop", self._file.request)

    def _look_for_stop(self):
        """Stop if a signal or a request asks for it; at the second signal, or if a request says so, end the running jobs, too."""
        if not self._stop.at_once:
            request = self._stop_request()
            if (self._signals or request) and not self._stop.is_set():
                if self._stands_still and self._running():
                    self._account.say("stopping, but the running jobs stand still: %s lets them go on to their end; whoever asks a second "
                                      "time ends them" % hint("resume"))
                elif self._running():
                    self._account.say("stopping: the running jobs may end; whoever asks a second time ends them")
                self._crew.dismiss()
            if self._signals.again or request == "now":
                self._stop.at_once = True
                self._account.say("ending the running jobs; they go back to the queue")
        if self._stop.at_once:
            for attempt in self._running():
                attempt.end(STOPPED, self._store.settings.kill_grace)

    def _finish_if_drained(self):
        """With drain, stop if nothing is left that it waits for, and say what it leaves."""
        if not self._drain or self._stop.is_set() or self._crew.busy or self._recovery:
            return
        jobs, groups = self._store.jobs((PENDING, PROCESSING)), self._claims.groups
        left = what_is_left(jobs if groups is None else those_of_groups(jobs, groups), self._store.settings, time.time(),
                            self._store.limits())
        self._circle = left.circle
        if left.job is not None:
            if groups is not None and left.job.group not in groups:
                self._faults.tell("waiting for other workers to run %s, which comes before jobs of these groups" % left.job.id)
            return
        if left.circle:
            log(told_circle(left.circle))
        for ids, what in ((left.scheduled, "that are held or scheduled, or come after one that is"),
                          (left.standing, "whose group is paused, or has the limit 0, or that come after one of these")):
            if ids:
                self._account.say("not waiting for jobs %s: %s" % (what, ", ".join(ids[:20] + ["…"] * (len(ids) > 20))))
        self._drained = True
        self._crew.dismiss()

    def _until_due(self):
        """Seconds until the next delayed job is due, if a worker is idle; more than a tick otherwise."""
        seconds = self._due_call.seconds(self._claims.next_due() if self._crew.has_idle() else None, time.time())
        return 2 * TICK if seconds is None else seconds
