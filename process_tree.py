"""Process trees: how commands are started, and how all that one of them has started is found and ended. Nothing here knows of jobs.

The tree of an attempt is its process group. Whose processes are whose: while a shell is not reaped its pid cannot be used again, so its
group may be signalled. Later, or from another process, a group is signalled only if one of its members carries the attempt's token in its
environment (Linux), or, where the system does not tell, if the attempt's log is still locked by what inherited it.
"""
from __future__ import annotations

import errno
import os
import signal
import subprocess
from _thread import allocate_lock

from file_lock import try_lock
from helpers import WINDOWS, open_private

TERM = signal.SIGTERM
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
HAS_PROC = os.path.isdir("/proc/self")

if WINDOWS:
    class Launcher:
        """Starts commands, and waits for them."""

        def __init__(self):
            self._processes = {}

        def start(self, command, folder, environ, log, runner=()):
            """Start a command, or a runner (words) with `cmd /c` and the command behind it; its pid. Raises OSError."""
            text = {key.decode("utf-8"): value.decode("utf-8") for key, value in environ.items()}
            if runner:
                command = "%s cmd /c %s" % (subprocess.list2cmdline(runner), command)
            process = subprocess.Popen(command, shell=not runner, cwd=folder, env=text, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0))
            self._processes[process.pid] = process
            return process.pid

        def wait_without_reaping(self, pid):
            """Wait for the end of a command; whether it failed."""
            return self._processes[pid].wait() != 0

        def reap(self, pid):
            """The exit code."""
            return self._processes.pop(pid).wait()

        def signal(self, pid, number):
            """End a command."""
            self._processes[pid].kill()

        def close(self):
            """Nothing is kept."""
else:
    class Launcher:
        """Starts commands as `subprocess.Popen(command, shell=True, start_new_session=True)` would, in half of the time, and reaps them.

        posix_spawn knows no folder to start in, so the folder of the whole process is changed, which uses absolute paths alone. It closes
        no descriptors either: ours are never inherited, and those that we inherited ourselves are marked so.
        """

        def __init__(self):
            self._null = os.open(os.devnull, os.O_RDWR)
            self._mutex = allocate_lock()
            self._sessions = True
            # Python ignores SIGPIPE and SIGXFSZ, and a program that inherits that does not end with its pipe. Naming all signals saves
            # the C library the asking for each.
            self._signals = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
            for descriptor in range(3, 256):
                try:
                    os.set_inheritable(descriptor, False)
                except OSError:
                    continue

        def start(self, command, folder, environ, log, runner=()):
            """Start a command, or a runner (words) with `sh -c` and the command behind it; its pid. Raises OSError."""
            streams = [(os.POSIX_SPAWN_DUP2, self._null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
            program, arguments = "/bin/sh", [b"sh", b"-c", command.encode("utf-8")]
            with self._mutex:
                os.chdir(folder)
                if runner:
                    program = _find_program(runner[0], environ)
                    arguments = [word.encode("utf-8", "surrogateescape") for word in runner] + arguments
                if self._sessions:
                    try:
                        return os.posix_spawn(program, arguments, environ, file_actions=streams, setsigdef=self._signals, setsid=True)
                    except NotImplementedError:  # a C library that knows no sessions here; a group keeps Ctrl+C away as well
                        self._sessions = False
                return os.posix_spawn(program, arguments, environ, file_actions=streams, setsigdef=self._signals, setpgroup=0)

        def wait_without_reaping(self, pid):
            """Wait for the end of a command; whether it failed, or None where that cannot be waited for. It stays a zombie, and the number
            of its group ours, until `reap`."""
            if not hasattr(os, "waitid"):
                return None  # macOS before Python 3.13: `reap` waits
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return ended.si_code != os.CLD_EXITED or ended.si_status != 0

        def reap(self, pid):
            """The exit code, or minus the signal that ended it."""
            _, status = os.waitpid(pid, 0)
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

        def signal(self, pid, number):
            """Signal the group of a command that is not reaped."""
            signal_group(pid, number)

        def close(self):
            """Give back the descriptor."""
            os.close(self._null)


def _find_program(name, environ):
    """Where a runner is, by the PATH that it is to have, as a shell in the job's place would look for it (posix_spawnp looks along our
    own PATH). Raises OSError."""
    from shutil import which
    path = which(name, path=os.fsdecode(environ.get(b"PATH", os.defpath)))
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "there is no program %r to run it with" % name)
    return path


def signal_group(group, number):
    """Send a signal to a process group that is known to be ours, if it is still there."""
    if WINDOWS:
        return
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # gone, or all of it runs as another user by now


def group_runs(group):
    """Whether a process group has members that run. Zombies do not, though killpg counts them: an init may be slow to reap."""
    if WINDOWS:
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not HAS_PROC or any(_state_and_group(pid) == ("runs", group) for pid in _pids_since(group))


def _pids_since(first):
    """The pids of the processes that may have been started since the one with pid `first`, itself included."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    with open("/proc/loadavg", "rb") as file:
        wrapped = int(file.read().split()[-1]) < first  # the last pid given out: they start again from the lowest
    return pids if wrapped else [pid for pid in pids if pid >= first]


def _state_and_group(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may hold anything
        return "runs" if fields[0] not in (b"Z", b"X") else "ended", int(fields[2])
    except (OSError, IndexError):
        return None  # it has just ended


def processes_of(home, token, first=0):
    """The live processes (pid, group) that carry an attempt's token, and the home of its queue, in their environment, wherever they have
    gone, among those started since the one with pid `first`. [] if the system has no /proc. (A copy of a home has the same tokens.)"""
    found: list = []
    if WINDOWS or not HAS_PROC:
        return found
    wanted = b"QUEUECTL_WORKER=%s\0" % token.encode("ascii")
    place = b"QUEUECTL_HOME=%s\0" % home.encode("utf-8", "surrogateescape")
    for pid in _pids_since(first):
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                environ = file.read()
                if wanted in environ and place in environ:
                    found.append((pid, os.getpgid(pid)))
        except OSError:
            continue  # gone, or another user's
    return found


class LostTree:
    """What may still run of an attempt whose worker died. `group` is its process group, 0 if that was never noted."""

    def __init__(self, home, token, group, log):
        self._home = home
        self._token = token
        self._group = group
        self._log = log
        self._proven = False  # a member of the group was seen with our token

    def _log_is_held(self):
        if not self._log:
            return False
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
        processes = processes_of(self._home, self._token) if self._token else []
        held = self._log_is_held()
        groups = {self._group} if self._group else {group for _, group in processes}
        if self._group in [group for _, group in processes] or (held and not HAS_PROC):
            self._proven = True
        if self._group and not (self._proven and group_runs(self._group)):
            groups = set()
        for group in groups:
            signal_group(group, number)
        return bool(processes or groups or held), [pid for pid, group in processes if group not in groups]
