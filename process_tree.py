"""Process trees: how all that a command has started is found and ended. Nothing here knows of jobs.

The tree of an attempt is its process group. Whose processes are whose: while a shell is not reaped its pid cannot be used again, so its
group may be signalled. Later, or from another process, a group is signalled only if one of its members carries the attempt's token in its
environment (Linux), or, where the system does not tell, if the attempt's log is still locked by what inherited it.
"""
from __future__ import annotations

import os
import signal

from system import WINDOWS, is_held

TERM = signal.SIGTERM
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
HAS_PROC = not WINDOWS and os.path.isdir("/proc/self")

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

    def signal(self, number):
        """Signal the attempt's group, if it is provably ours. Gives back whether anything of the attempt still runs, and the pids of
        those of its processes that have left the group."""
        processes = processes_of(self._home, self._token) if self._token else []
        held = bool(self._log) and is_held(self._log)
        groups = {self._group} if self._group else {group for _, group in processes}
        if self._group in [group for _, group in processes] or (held and not HAS_PROC):
            self._proven = True
        if self._group and not (self._proven and group_runs(self._group)):
            groups = set()
        for group in groups:
            signal_group(group, number)
        return bool(processes or groups or held), [pid for pid, group in processes if group not in groups]
