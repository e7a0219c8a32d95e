"""The on_finish command: run for each job that has ended, by a thread of the worker process, or by the command that has ended it.

What it says, and how it fails, goes to run/worker.log, whoever runs it. Each job for which it is not run to its end is named there.
"""
from __future__ import annotations

import os
import sys
import time
from _thread import allocate_lock
from collections import deque
from threading import Condition, Thread

from core.home import worker_log_path
from core.system import SHELL_IS_SH, open_private
from execution.launcher import lacks_room, start_detached
from execution.process_tree import KILL
from execution.waiting import wait_until
from helpers import log, printable

_NAMED = 50  # ids in a line
_LOOK_AGAIN = 1.0  # seconds until it is tried again to start something for which there was no room
_AT_ONCE = 8  # commands that run for jobs that no worker has ended
_PATIENCE = 60.0  # seconds until one of them ends


def finish_environ(job):
    """What the on_finish command is told about a job that has ended."""
    told = {b"QUEUECTL_GROUP": job.group.encode("utf-8")} if job.group is not None else {}
    return {**told, b"QUEUECTL_JOB_ID": job.id.encode("utf-8"), b"QUEUECTL_STATE": job.state.encode("ascii"),
            b"QUEUECTL_ATTEMPT": b"%d" % job.attempts, b"QUEUECTL_REASON": (job.reason or "").encode("ascii"),
            b"QUEUECTL_EXIT_CODE": b"" if job.exit_code is None else b"%d" % job.exit_code}


def announce_all(command, jobs, home, environ, tell):
    """Run the on_finish command for jobs that no worker has ended, some at a time, and wait for none of the last ones; whether it was
    started for all. `tell(message)` names those for which it was not. Where the shell is sh, run/worker.log has how it fails."""
    all_started, started, left = True, [], deque(jobs)
    try:
        while left and wait_until(lambda: _how_many_run(started) < _AT_ONCE, _PATIENCE, 0.01):
            try:
                started.append(_start_one(command, left[0], home, environ))
            except OSError as error:
                all_started = False
                tell("on_finish could not be run for %r: %s" % (left[0].id, error.strerror or error))
            left.popleft()
    finally:
        if left:  # none of those that run ends, or the user does not wait
            tell("on_finish was not run for %s" % _named([job.id for job in left]))
    return all_started and not left


def _how_many_run(processes):
    processes[:] = [process for process in processes if process.poll() is None]
    return len(processes)


def _start_one(command, job, home, environ):
    """Start the on_finish command for a job that no worker has ended: its Popen. Raises OSError."""
    text = {name.decode("ascii"): value.decode("utf-8") for name, value in finish_environ(job).items()}
    if SHELL_IS_SH:
        text["QUEUECTL_ON_FINISH"], command = command, _TELLING
    output = _open_log(home)
    shared = {name: value for name, value in environ.items() if name != "QUEUECTL_GROUP"}  # that of the job that has started this command
    try:
        return start_detached(command, dict(shared, QUEUECTL_HOME=home, **text), output, shell=True, folder=home)
    finally:
        os.close(output)


# Runs the command of that variable in a shell of its own, which no syntax error in it can break, and tells how it failed.
_TELLING = ('sh -c "$QUEUECTL_ON_FINISH"; code=$?; [ $code = 0 ] || '
            'echo "$(date +%H:%M:%S) $QUEUECTL_JOB_ID: on_finish failed with exit code $code"')


def _named(ids):
    return "%d job%s: %s" % (len(ids), "" if len(ids) == 1 else "s", ", ".join(ids))


def _open_log(home):
    return open_private(worker_log_path(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Announcer:
    """Runs the on_finish command for one ended job after another, in a thread of its own, so that it holds up no job.

    `check`, which the supervisor calls, ends one that takes longer than LIMIT, and names the jobs that it was not run for. `fault(message)`
    is called each time that there is no room for it. At most `most` jobs wait (0: any number): a command that slow will never catch up.
    """

    LIMIT = 60.0  # seconds
    MOST = 10000

    def __init__(self, home, environ, launch, fault, most=MOST):
        self._home = home
        self._environ = environ
        self._launch = launch
        self._output = None  # the descriptor that it writes to, once it was run or had to be told of
        self._fault = fault
        self._most = most
        self._open = deque()  # (command, id, what it is told) for each job for which it is still to be run, or runs
        self._unrun = 0  # jobs for which it is never run
        self._unnamed = []  # the ids of those of them that were not named yet
        self._pid = None  # of the command that runs
        self._deadline = None  # and when it must have ended
        self._closed = False
        self._thread = None
        self._condition = Condition()  # for what is counted; the thread waits on it for the next job
        self._starting = allocate_lock()  # for the command that runs; another one, since no worker is to wait while one is started

    @property
    def left(self):
        """For how many jobs it is still to be run, or runs."""
        return len(self._open)

    def announce(self, command, job):
        """Run `command` for a job once those before it are done; False if too many wait."""
        with self._condition:
            if self._most and len(self._open) > self._most:
                self._unrun += 1
                self._unnamed.append(job.id)
                return False
            self._open.append((command, job.id, finish_environ(job)))
            self._condition.notify()
            self._begin()
        return True

    def _begin(self):
        """Start the thread, unless it runs, there is nothing for it to do, or there is no room for one."""
        if self._thread is None and self.left:
            thread = Thread(target=self._work, daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:
                return  # `check` tries it again

    def check(self):
        """End a command that has run for too long, and name the jobs that it was not run for."""
        with self._condition:
            self._begin()
            ids, self._unnamed = self._unnamed, []
        self._name(ids, "on_finish is too slow; it is never run for")
        with self._starting:
            if self._pid is not None and time.monotonic() >= self._deadline:
                self._launch.signal(self._pid, KILL)

    def close(self):
        """Give up what is left, name it, and end the command that runs; the number of jobs for which it was not run to its end."""
        with self._starting:
            self._closed = True
            with self._condition:
                ids, given_up = self._unnamed + [job_id for _, job_id, _ in self._open], self._unrun + len(self._open)
                self._unnamed = []
                self._open.clear()
                self._condition.notify()
            if self._pid is not None:
                self._launch.signal(self._pid, KILL)
        wait_until(lambda: self._pid is None, 1.0)
        self._name(ids, "on_finish was given up for")
        if self._output is not None:
            output, self._output = self._output, None
            os.close(output)
        return given_up

    def _name(self, ids, what):
        for start in range(0, len(ids), _NAMED):
            some = ids[start:start + _NAMED]
            self._say("%s %s" % (what, _named(some)))

    def _say(self, message):
        """Log a message, and write it to run/worker.log, if the log of this process is not that file."""
        log(message)
        try:
            output = self._log()
            if not os.path.samestat(os.fstat(output), os.fstat(sys.stderr.fileno())):
                os.write(output, ("%s %s\n" % (time.strftime("%H:%M:%S"), printable(message))).encode("utf-8", "backslashreplace"))
        except (AttributeError, OSError, ValueError):
            return  # it was logged

    def _log(self):
        if self._output is None:
            self._output = _open_log(self._home)
        return self._output

    def _work(self):
        try:
            while True:
                with self._condition:
                    self._condition.wait_for(lambda: self._open or self._closed)
                    if self._closed:
                        return
                    command, job_id, told = self._open[0]
                self._work_once(command, job_id, told)
        finally:
            self._thread = None  # after a bug, which Python shows, `check` starts another one: nobody waits for ever

    def _work_once(self, command, job_id, told):
        try:
            fault = self._run(command, told)
            if fault and not self._closed:
                self._say("%s: on_finish %s" % (job_id, fault))
        finally:
            self._pid = None
            with self._condition:
                if not self._closed:
                    self._open.popleft()

    def _run(self, command, told):
        """Run a command to its end; what is wrong with that, as a phrase, or None."""
        try:
            pid = self._start(command, told)
        except (OSError, ValueError) as error:
            return "could not be started: %s" % (getattr(error, "strerror", None) or error)
        if pid is None:
            return None
        self._launch.wait(pid, self._starting)
        with self._starting:  # nothing is reaped while it is signalled
            late = time.monotonic() >= self._deadline
            self._pid = None
        code = self._launch.reap(pid)
        if code and late:
            return "was ended after %g s" % self.LIMIT
        return ("was killed by signal %d" % -code if code < 0 else "failed with exit code %d" % code) if code else None

    def _start(self, command, told):
        """Start a command, as soon as there is room for a process: its pid, or None if this was closed meanwhile."""
        while True:
            with self._starting:
                if self._closed:
                    return None
                try:
                    self._pid = self._launch.start(command, self._home, self._environ, told, self._log())
                    self._deadline = time.monotonic() + self.LIMIT
                    return self._pid
                except OSError as error:
                    if not lacks_room(error):
                        raise
                    self._fault("the system has no room for another process (%s); on_finish waits for it" % error.strerror)
            time.sleep(_LOOK_AGAIN)
