"""One attempt of one job: its process tree, its output, and how it ended. Knows nothing of the queue.

The command runs through the shell, in a session of its own (so that Ctrl+C in the worker's terminal does not reach it), with stdin from
the null device and both streams to one log file. A file, not a pipe: a grandchild that keeps it open must not hang the worker.

Whose processes are whose: the tree of an attempt is its process group. While the shell is not reaped its pid cannot be used again, so
the group may be signalled. Later, or from another process, a group is signalled only if one of its members carries the attempt's token
in its environment (Linux), or, where the system does not tell, if the attempt's log is still locked by what inherited it.
"""
from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import time
from _thread import allocate_lock

from file_lock import try_lock
from helpers import WINDOWS, make_folder, open_private, pread, remove_file
from job import FAILED, KILLED, UNSTARTABLE, Outcome

_UNSAFE = re.compile(r"[^0-9A-Za-z_-]+")
_TAIL_BYTES = 4096
_TAIL_LINES = 10
_TERM = signal.SIGTERM
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


# ---------------------------------------------------------------- output

def log_stem(job):
    """The start of a job's log names: readable, safe on every file system, unlike any other job's."""
    return "%s-%s" % (_UNSAFE.sub("_", job.id)[:40], job.digest)


def log_path(home, job, attempt):
    """Where the output of an attempt (from 1) of a job is kept."""
    return os.path.join(home, "logs", "%s.%d.log" % (log_stem(job), attempt))


def logged_attempts(home, job):
    """The attempts of a job whose output is there, in order."""
    prefix = log_stem(job) + "."
    try:
        names = os.listdir(os.path.join(home, "logs"))
    except OSError:
        return []
    numbers = [name[len(prefix):-len(".log")] for name in names if name.startswith(prefix) and name.endswith(".log")]
    return sorted(int(number) for number in numbers if number.isdigit())


def remove_logs(home, jobs):
    """Remove the output of these jobs."""
    folder = os.path.join(home, "logs")
    stems = {log_stem(job) for job in jobs}
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if name.split(".")[0] in stems:
            remove_file(os.path.join(folder, name))


def last_lines(path):
    """The last few lines of a log as text, for the dead letter queue; "" if there is none."""
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        size = os.fstat(descriptor).st_size
        content = pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    finally:
        os.close(descriptor)
    return "\n".join(content.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])


# ---------------------------------------------------------------- one attempt

class Attempt:
    """An attempt of a claimed job: `start`, then `wait` in the worker's thread; `end` from any other one."""

    def __init__(self, home, job, environ):
        self.job = job
        self.pid = 0
        self.path = log_path(home, job, job.attempts)
        self.ended = False  # someone called `end`
        self._home = home
        self._environ = environ
        self._log = None
        self._process = None
        self._mutex = allocate_lock()  # guards _process against being reaped while it is signalled
        self._kill_at = None

    def start(self):
        """Start the command. Returns None, or an Outcome if the system refused. Raises OSError if the log cannot be made, which
        is not the job's fault."""
        self._log = self._open_log()
        job = self.job
        environ = dict(self._environ)
        environ.update({b"QUEUECTL_JOB_ID": job.id.encode("utf-8"), b"QUEUECTL_ATTEMPT": b"%d" % job.attempts,
                        b"QUEUECTL_WORKER": job.worker.encode("ascii")})
        try:
            self._process = _start(job.command, job.options.get("cwd") or self._home, environ, self._log)
        except (OSError, ValueError) as error:
            os.write(self._log, ("queuectl: cannot start this command in %s: %s\n"
                                 % (job.options.get("cwd"), getattr(error, "strerror", None) or error)).encode("utf-8", "replace"))
            self._close_log()
            return Outcome(None, UNSTARTABLE)
        self.pid = self._process.pid
        return None

    def _open_log(self):
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
        try:
            descriptor = open_private(self.path, flags)
        except FileNotFoundError:
            make_folder(os.path.dirname(self.path))
            descriptor = open_private(self.path, flags)
        except FileExistsError:  # of an attempt of that number before a retry
            remove_file(self.path)
            descriptor = open_private(self.path, flags)
        try_lock(descriptor)
        return descriptor

    def _close_log(self):
        if os.fstat(self._log).st_size == 0:
            remove_file(self.path)
        os.close(self._log)

    def wait(self, grace):
        """Wait for the end: an Outcome. What a failed attempt leaves running is ended; a successful one may leave something."""
        process = self._process
        if hasattr(os, "waitid"):
            # The shell stays a zombie, and its group's number ours, until what is left of a failed attempt was signalled.
            ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            failed = ended.si_code != os.CLD_EXITED or ended.si_status != 0
        else:
            failed = process.wait() != 0
        with self._mutex:
            if failed or self.ended:
                signal_group(process.pid, _TERM)
            code = process.wait()
            self._process = None
        if (failed or self.ended) and group_exists(process.pid):
            self._end_rest(process.pid, grace)
        self._close_log()
        if code < 0:
            return Outcome(128 - code, KILLED)
        return Outcome(code, FAILED if code else None)

    def _end_rest(self, group, grace):
        deadline = time.monotonic() + grace
        while group_exists(group):
            if time.monotonic() > deadline:
                if any(member == group for _, member in processes_of(self.job.worker)) or not _PROC:
                    signal_group(group, _KILL)
                return
            time.sleep(0.02)

    def end(self, grace):
        """Ask the tree to end (TERM); `hasten` sends KILL once `grace` seconds have passed."""
        with self._mutex:
            if self._kill_at is None:
                self.ended = True
                self._kill_at = time.monotonic() + grace
                if self._process is not None:
                    _end_process(self._process, _TERM)

    def hasten(self):
        """Send KILL to a tree that was asked to end and did not within its grace."""
        with self._mutex:
            if self._kill_at is not None and self._process is not None and time.monotonic() >= self._kill_at:
                _end_process(self._process, _KILL)


def _start(command, folder, environ, log):
    null = os.open(os.devnull, os.O_RDWR)
    try:
        if WINDOWS:
            text = {key.decode("utf-8"): value.decode("utf-8") for key, value in environ.items()}
            return subprocess.Popen(command, shell=True, cwd=folder, env=text, stdin=null, stdout=log, stderr=log,
                                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0))
        return subprocess.Popen(command.encode("utf-8"), shell=True, cwd=folder, env=environ, stdin=null, stdout=log, stderr=log,
                                start_new_session=True)
    finally:
        os.close(null)


def job_environ(environ, home):
    """The environment that all jobs of a worker process share, as bytes: its own, but for what a job that started it was told."""
    environ = {name: value for name, value in environ.items() if not name.startswith("QUEUECTL_")}
    if WINDOWS:
        shared = {key.encode("utf-8"): value.encode("utf-8") for key, value in environ.items()}
    else:
        shared = {os.fsencode(key): os.fsencode(value) for key, value in environ.items()}
    shared[b"QUEUECTL_HOME"] = home.encode("utf-8", "surrogateescape")
    return shared


# ---------------------------------------------------------------- process groups

_PROC = os.path.isdir("/proc/self")


def signal_group(group, number):
    """Send a signal to a process group that is known to be ours, if it is still there."""
    if WINDOWS:
        return
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # gone, or all of it runs as another user by now


def group_exists(group):
    """Whether a process group has members (also zombies count)."""
    if WINDOWS:
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_process(process, number):
    if WINDOWS:
        process.kill()
    else:
        signal_group(process.pid, number)


def processes_of(token):
    """The live processes (pid, group) that carry an attempt's token in their environment, wherever they have gone. [] if the system
    has no /proc."""
    found = []
    wanted = b"QUEUECTL_WORKER=%s\0" % token.encode("ascii")
    for name in os.listdir("/proc") if _PROC else ():
        if name.isdigit():
            try:
                with open("/proc/%s/environ" % name, "rb") as file:
                    if wanted in file.read():
                        found.append((int(name), os.getpgid(int(name))))
            except OSError:
                continue  # gone, or another user's
    return found


class LostTree:
    """What may still run of an attempt whose worker died. `group` is its process group, 0 if that was never noted."""

    def __init__(self, token, group, log):
        self._token = token
        self._group = group
        self._log = log
        self._proven = False  # a member of the group was seen with our token

    def _log_is_held(self):
        try:
            descriptor = open_private(self._log, os.O_RDONLY)
        except OSError as error:
            return error.errno in (errno.EACCES, errno.EPERM)  # Windows refuses while the tree has it open
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def signal(self, number):
        """Signal the attempt's group, if it is provably ours. Gives back whether anything of the attempt still runs, and the pids of
        those of its processes that have left the group."""
        processes = processes_of(self._token) if self._token else []
        held = self._log_is_held()
        groups = {self._group} if self._group else {group for _, group in processes}
        if self._group in [group for _, group in processes] or (held and not _PROC):
            self._proven = True
        if self._group and not (self._proven and group_exists(self._group)):
            groups = set()
        for group in groups:
            signal_group(group, number)
        return bool(processes or groups or held), [pid for pid, group in processes if group not in groups]
