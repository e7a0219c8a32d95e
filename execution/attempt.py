"""One attempt of one job: its process tree, its output, and how it ended. Knows nothing of the queue.

The command runs through the shell, behind its runner if it has one. It leads a session of its own, so that Ctrl+C in the worker's terminal
does not reach it. Its stdin is the null device; both streams go to one log file. A file, not a pipe: a grandchild that keeps a pipe open
would hang the worker.

Once a command has run, no fault of the system may hide how it ended: such a fault is noted, and the attempt goes on.
"""
from __future__ import annotations

import os
import time
from _thread import allocate_lock

from core.errors import InvalidJob
from core.job import FAILED, KILLED, LOST, TIMEOUT, UNSTARTABLE, Outcome, option_faults, resolve_folder
from core.rules import runner_words, shell_words, time_limit
from execution.launcher import encode_environ, lacks_room
from execution.log_file import LogFile
from execution.process_tree import CONTINUE, HAS_PROC, KILL, STOP, TERM, Tree, is_denied, signal_group
from execution.waiting import wait_until
from storage.output import path_of_log, remove_outdated_logs

STOPPED = "stopped"  # why an attempt was ended that goes back to the queue
PATIENCE = 10.0  # seconds to wait for what others must end by themselves: processes that have left a tree, on_finish


class Attempt:
    """An attempt of a claimed job: `start`, then `wait` in the worker's thread; `end` and `check` from any other one."""

    def __init__(self, home, job, environ, launch, settings, say=None, number=0):
        """`say(message)` logs what the owner has to know; the same message may come again and again. `number` is that of the worker."""
        self.job = job
        self.pid = 0
        self.digest = job.digest
        self.slot = job.slot
        self.log = LogFile(path_of_log(home, job.id, self.digest, job.attempts))
        self.end_reason = None  # why someone called `end`: TIMEOUT, or another word
        self.fault = None  # the last OSError after which the attempt went on
        self.started = float("inf")  # when its command was started, by the monotonic clock
        self.is_noted = False  # its process group is in the worker file
        self.has_output = False
        self.limit = time_limit(job, settings)  # seconds that it may run, or None
        self._settings = settings
        self._home = home
        self._fault = next(option_faults(job.options), None)  # of a job that was typed into the job file
        options = {} if self._fault else job.options
        self._folder, folder = home, options.get("cwd")
        if folder:
            try:
                self._folder = resolve_folder(folder, home)  # relative in a job file that was typed: to that file
            except InvalidJob as error:
                self._fault = str(error)
        kept = {} if self._fault else job.kept_env
        self._environ = {b"QUEUECTL_HOME": environ[b"QUEUECTL_HOME"]} if kept and options.get("keep_env") is True else environ
        env = options.get("env") or {}
        self._own = _own_variables(job, {**kept, **env} if kept else env, number if self.slot is None else self.slot)
        self._launch = launch
        self._running = False
        self.outcome_decided = False  # its command has ended; only what it left may still run
        self._mutex = allocate_lock()  # guards _running: nothing is reaped while it is signalled
        self._deadline = None
        self._kill_at = None
        self._still_since = None  # since when it stands still, by the monotonic clock
        self._say = say or (lambda message: None)
        self._said = False

    def start(self, keep_output=True, empties=None):
        """Start the command, with a log from these EmptyLogs if there is one. Returns None, or an Outcome if the system refused. Raises
        OSError if the log cannot be made, or if the system has no room for a process at the moment, which is not the job's fault."""
        job = self.job
        self.has_output = keep_output
        output = self.log.begin(empties) if keep_output else os.open(os.devnull, os.O_WRONLY)
        if keep_output and job.attempts > 1:
            remove_outdated_logs(self._home, job, self._settings.keep_attempts)
        try:
            if self._fault:
                raise InvalidJob(self._fault)
            self.pid = self._launch.start(job.command, self._folder, self._environ, self._own, output,
                                          runner_words(job, self._settings, self._folder), shell_words(job, self._settings))
            self.started = time.monotonic()
            with self._mutex:
                self._running = True
                if self._kill_at is not None:  # `end` was called meanwhile
                    self._launch.signal(self.pid, TERM)
            if self.limit is not None:
                self._deadline = self.started + self.limit
            return None
        except (OSError, ValueError, InvalidJob) as error:
            if isinstance(error, OSError) and lacks_room(error):
                raise
            if keep_output:
                why = getattr(error, "strerror", None) or error
                self._known(lambda: self.log.write("queuectl: cannot start this command in %s: %s\n" % (self._folder, why)), None)
            return Outcome(None, UNSTARTABLE)
        finally:
            self._known(lambda: os.close(output), None)

    def wait(self, grace):
        """Wait for the end: (an Outcome, the pids of strays of a failed attempt, which would not end). What a failed attempt leaves in its
        tree is ended, or waited for if it cannot be; a successful one may leave something.

        Raises no OSError: the last one is in `fault`."""
        failed = self._known(lambda: self._launch.wait(self.pid, self._mutex), LOST)
        with self._mutex:
            self.outcome_decided = True
            self._running = False
        if failed == LOST:  # someone else has reaped it, so that its number may be another one's by now
            self._reap()
            return self._outcome(None), []
        if not failed and not self.end_reason:
            return self._outcome(self._reap()), []
        tree, strays = Tree(self._home, self.job.worker, self.pid), []
        rest_first = HAS_PROC and hasattr(os, "waitid")  # without /proc a zombie would count as running; without waitid there is none
        if rest_first:
            strays = self._end_rest(tree, grace)
        signal_group(self.pid, TERM)
        code = self._reap()
        if not rest_first:
            strays = self._end_rest(tree, grace)
        while self._known(tree.is_hidden, False):
            self._tell_of_rest([])
            time.sleep(0.5)
        return self._outcome(code), strays

    def _reap(self):
        """The exit code, None if the system does not tell it."""
        return self._known(lambda: self._launch.reap(self.pid), None)

    def _outcome(self, code):
        if self.end_reason == TIMEOUT:
            return Outcome(None, TIMEOUT)
        if code is None:
            return Outcome(None, LOST)
        if code < 0:
            return Outcome(128 - code, KILLED)
        return Outcome(code, FAILED if code else None)

    def _known(self, question, otherwise):
        """The answer of the system to `question()`; `otherwise` if that raises an OSError, which is noted as the fault."""
        try:
            return question()
        except OSError as error:
            self.fault = error
            return otherwise

    def _end_rest(self, tree, grace):
        """End what is left of the tree, and wait a little for its strays; the pids of the strays that stay."""
        signal_group(self.pid, TERM)
        if self._runs(tree) is not False:
            self._known(lambda: tree.signal(TERM), None)
            wait_until(lambda: self._runs(tree) is False, grace)
            self._end_stubborn(tree)
        if self.end_reason != STOPPED and self._has_strays(tree):
            wait_until(lambda: self._runs(tree) is False and not self._has_strays(tree), PATIENCE)
        return self._known(tree.strays, [])

    def _runs(self, tree):
        """Whether anything in the tree runs; None if that cannot be seen now."""
        return self._known(tree.runs, None)

    def _has_strays(self, tree):
        return bool(self._known(tree.strays, ()) or self._known(self.log.is_held, False))

    def _end_stubborn(self, tree):
        """Kill what is left of the tree, and wait for its end, however long that takes: the next attempt must not run beside it."""
        patience, runs = time.monotonic() + 1.0, self._runs(tree)
        while runs is not False:
            self._known(lambda: tree.signal(KILL), None)
            late = time.monotonic() >= patience
            if late and (runs is None or not HAS_PROC and not is_denied(self.pid)):
                return  # nothing is known, or these are zombies
            if late:
                self._tell_of_rest(tree.pids())
            time.sleep(0.5 if late else 0.02)
            runs = self._runs(tree)

    def _tell_of_rest(self, pids):
        """Say that the attempt does not end: in the log, and once in its output."""
        denied = not pids or any(map(is_denied, pids))
        why = "run as another user and cannot be ended" if denied else "do not end although they were killed"
        named = " (pid %s)" % ", ".join(map(str, pids)) if pids else ""
        self._say("%s: processes of its attempt %s%s; it counts as running until they have ended" % (self.job.id, why, named))
        if self.has_output and not self._said:
            self._said = True
            said = "queuectl: processes of this attempt %s%s; it counts as running until they have ended\n" % (why, named)
            self._known(lambda: self.log.write(said), None)

    def end(self, why, grace):
        """Ask the tree to end (TERM); `check` sends KILL once `grace` seconds have passed. The first reason counts."""
        with self._mutex:
            if self.end_reason is None and not self.outcome_decided:
                self.end_reason = why
                self._kill_at = time.monotonic() + grace
                self._still_since = None
                if self._running:
                    self._launch.signal(self.pid, TERM)

    def stand_still(self, wanted):
        """Stop all of its tree where it stands, or let it go on; its time limit does not run meanwhile. Raises OSError."""
        with self._mutex:
            if not self._running or self.end_reason or wanted == (self._still_since is not None):
                return
            tree = Tree(self._home, self.job.worker, self.pid)
            tree.runs()
            tree.signal(STOP if wanted else CONTINUE)
            now = time.monotonic()
            if not wanted and self._deadline is not None:
                self._deadline += now - self._still_since
            self._still_since = now if wanted else None

    def check(self, grace):
        """End an attempt that has run for too long, and kill one that was asked to end and did not within its grace."""
        if self._deadline is not None and self._running and self._still_since is None and time.monotonic() >= self._deadline:
            self.end(TIMEOUT, grace)
        with self._mutex:
            due = self._kill_at is not None and self._running and time.monotonic() >= self._kill_at
            denied = due and self._launch.signal(self.pid, KILL) is False
            if due:
                self._kill_at = time.monotonic() + 1.0  # once more then, if it still runs
        if denied:
            self._tell_of_rest([self.pid])

    def if_running(self, action):
        """Call `action()` if its command runs; it counts as running until that returns."""
        with self._mutex:
            if self._running:
                action()

    def next_check(self):
        """When `check` has something to do, by the monotonic clock; None if it has not."""
        if not self._running:
            return None
        return self._kill_at if self._kill_at is not None or self._still_since is not None else self._deadline


def job_environ(environ, home):
    """The environment that all jobs of a worker process share, as bytes: its own, but for what a job that started it was told."""
    shared = encode_environ({name: value for name, value in environ.items() if not name.startswith("QUEUECTL_")})
    shared[b"QUEUECTL_HOME"] = home.encode("utf-8", "surrogateescape")
    return shared


def _own_variables(job, env, slot):
    """The variables of one attempt alone: those in `env`, by name, and those by which what it starts is known, which nobody else sets."""
    own = {name.encode("utf-8"): value.encode("utf-8") for name, value in env.items()}
    own.pop(b"QUEUECTL_HOME", None)
    own[b"QUEUECTL_JOB_ID"] = job.id.encode("utf-8")
    own[b"QUEUECTL_ATTEMPT"] = b"%d" % job.attempts
    own[b"QUEUECTL_WORKER"] = job.worker.encode("ascii")
    own[b"QUEUECTL_SLOT"] = b"%d" % slot
    if job.group is not None:
        own[b"QUEUECTL_GROUP"] = job.group.encode("utf-8", "surrogatepass")
    return own
