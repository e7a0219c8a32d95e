"""Process trees: how all that a command has started is found and ended. Nothing here knows of jobs.

The tree of an attempt is the session that its shell leads (setsid(2)), with all groups that `timeout` or a shell made in it. Where there is
no /proc it is the process group.

Which processes may be signalled:
(1) Before a shell is reaped, all of its tree: its pid, and so the number of its session and group, is not used again (fork(2)).
(2) Afterwards, or from another process, only a tree that is proven to be the attempt's. One of these proves it:
    - its leader was started when the worker noted that it was (starttime in /proc/PID/stat, proc(5); without /proc as ps(1) tells it);
    - its leader is gone, and a process of it is as old as one that was seen in it before;
    - a process of it carries the attempt's token and this home in its environment (/proc/PID/environ);
    - a process of it has inherited the lock on the attempt's log (/proc/PID/fdinfo; without /proc, somebody has, and ps does not tell
      that its leader was started at another time).
(3) Never our own group, and never the numbers that mean several processes to kill(2): 0, 1 and those below.
"""
from __future__ import annotations

import os
import signal
import time
from collections import namedtuple

from core.locks import is_held
from core.system import WINDOWS

TERM = signal.SIGTERM
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
STOP, CONTINUE = getattr(signal, "SIGSTOP", signal.SIGTERM), getattr(signal, "SIGCONT", signal.SIGTERM)  # never sent on Windows
HAS_PROC = not WINDOWS and os.path.isdir("/proc/self")
FINDS_UNNOTED = HAS_PROC or WINDOWS  # whether a lost attempt is found though its group was not noted; on Windows it ends with its worker


def signal_group(group, number):
    """Send a signal to a process group that is known to be ours, if it is still there; False if all of it runs as another user. A process
    that was stopped gets a TERM once it goes on (signal(7)), so CONT follows that."""
    if not WINDOWS:
        try:
            os.killpg(group, number)
            if number == TERM:
                os.killpg(group, CONTINUE)
        except ProcessLookupError:
            return True  # it is gone
        except PermissionError:
            return False
    return True


def group_runs(group):
    """Whether a process group has members, as far as the system tells without /proc: a zombie is one, and what runs as another user."""
    if WINDOWS:
        return False
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, OverflowError):  # the latter of a number that someone has written into a worker file
        return False
    except PermissionError:
        return True
    return True


def is_denied(number):
    """Whether a process of that number runs, or a group, that we may not signal. (Without /proc nothing but a group is known.)"""
    for pid in (number, -number):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (OSError, OverflowError):
            continue
    return False


_PS_SECONDS = 2  # by which the start of a process, as ps tells it, may differ from the time at which we noted it
_NOT_THERE = (FileNotFoundError, ProcessLookupError, PermissionError)  # gone, or another user's
Process = namedtuple("Process", "pid parent group session start runs")
Process.__doc__ = """A process as /proc tells of it: `start` is when it was started, in ticks since the boot; a zombie does not run."""


def find_process(pid):
    """The Process with that pid, or None if there is none, or the system does not tell. Raises OSError if it cannot be looked at now."""
    try:
        descriptor = os.open("/proc/%d/stat" % pid, os.O_RDONLY)
    except _NOT_THERE:
        return None
    try:
        state, parent, group, session, *rest = os.read(descriptor, 4096).rpartition(b")")[2].split(None, 20)  # the name may hold anything
        runs = state not in (b"Z", b"X") or int(rest[13]) > 1  # a zombie whose threads go on has only ended its first one
        return Process(pid, int(parent), int(group), int(session), int(rest[15]), runs)
    except (ProcessLookupError, ValueError, IndexError):
        return None  # it has just ended
    finally:
        os.close(descriptor)


def start_of(pid, moment):
    """When a process was started that was started at a `moment` of the monotonic clock: in ticks since the boot, or, without /proc, in
    seconds since the epoch; 0 if it is gone. Raises OSError."""
    if not HAS_PROC:
        return int(time.time() - (time.monotonic() - moment))
    process = find_process(pid)
    return process.start if process is not None else 0


def _start_by_ps(pid):
    """When a process was started, in seconds since the epoch, as ps(1) tells; 0 if it does not."""
    import subprocess
    try:
        told = subprocess.run(["ps", "-o", "lstart=", "-p", "%d" % pid], env=dict(os.environ, LC_ALL="C"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
        return time.mktime(time.strptime(told.decode("ascii", "replace").strip(), "%a %b %d %H:%M:%S %Y"))
    except (OSError, ValueError, OverflowError):
        return 0


def all_processes():
    """All processes that can be seen, as Process records; [] without /proc. Raises OSError.

    All, since a pid tells nothing of a process's age: the numbers start again from the lowest once the highest was given out.
    """
    if not HAS_PROC:
        return []
    found = [find_process(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    return [process for process in found if process is not None]


def _in_tree(leader, processes):
    """The processes that run in the tree of that leader."""
    return [process for process in processes if process.runs and leader in (process.session, process.group)]


def _signal_groups(processes, number):
    """Signal the groups of these processes, but for our own."""
    if not WINDOWS:
        for group in {process.group for process in processes} - {os.getpgid(0)}:
            signal_group(group, number)


def _carriers(processes, home, since=0):
    """token: the processes that carry it, and this home, in their environment, if they were started since then."""
    found: dict = {}
    for process in processes:
        if process.runs and process.start >= since:
            try:
                with open("/proc/%d/environ" % process.pid, "rb") as file:
                    environ = b"\0" + file.read()
            except _NOT_THERE:
                continue
            token, place = [environ.partition(b"\0QUEUECTL_%s=" % name)[2].partition(b"\0")[0] for name in (b"WORKER", b"HOME")]
            if token and _is_home(process.pid, place, home):
                found.setdefault(token.decode("ascii", "replace"), []).append(process)
    return found


def _is_home(pid, place, home):
    """Whether the folder that a process names is this home, by whatever path: a copy of a home has the same tokens. A folder that is gone
    counts as this home, renamed: nobody else has the token."""
    if not place.startswith(b"/"):
        return False
    try:
        return os.path.samestat(os.stat(b"/proc/%d/root%s" % (pid, place)), os.stat(home))  # as that process sees it
    except (FileNotFoundError, NotADirectoryError):
        return os.path.isdir("/proc/%d" % pid) and os.path.isdir(home)
    except OSError:
        return place == os.fsencode(home)


def _holders(processes, path):
    """The processes that have inherited the lock on a file."""
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    return [process for process in processes if process.runs and process.pid != os.getpid() and _holds(process.pid, wanted)]


def _holds(pid, wanted):
    try:
        for name in os.listdir("/proc/%d/fd" % pid):
            if os.path.samestat(os.stat("/proc/%d/fd/%s" % (pid, name)), wanted):
                with open("/proc/%d/fdinfo/%s" % (pid, name), "rb") as file:
                    if b"\nlock:" in file.read():  # whoever has merely opened it has no lock
                        return True
    except _NOT_THERE:
        pass
    return False


class Tree:
    """The tree of an attempt of ours. Its leader is not reaped yet; where that cannot be (see `Attempt.wait`) it has just been."""

    def __init__(self, home, token, leader):
        self._home = home
        self._token = token
        self._leader = leader
        self._processes = []
        self._inside = []

    def runs(self):
        """Look whether anything in the tree runs. Strays are not in it."""
        self._processes = all_processes()
        self._inside = _in_tree(self._leader, self._processes)
        return bool(self._inside) if HAS_PROC else group_runs(self._leader)

    def is_hidden(self):
        """Whether any of it, once its leader is reaped, runs as another user where /proc shows us only our own."""
        return not signal_group(self._leader, 0) and not any(process.group == self._leader for process in all_processes())

    def strays(self):
        """The pids of what had left the tree at the last look."""
        since = next((process.start for process in self._processes if process.pid == self._leader), 0)
        inside = {process.pid for process in self._inside}
        outside = [process for process in self._processes if process.pid not in inside]
        return [process.pid for process in _carriers(outside, self._home, since).get(self._token, ())]

    def signal(self, number):
        """Signal the groups that were seen at the last look, and whatever is in the leader's by now."""
        signal_group(self._leader, number)
        _signal_groups([process for process in self._inside if process.group != self._leader], number)

    def pids(self):
        """The pids of what ran at the last look; the number of the group where the system does not tell them."""
        return [process.pid for process in self._inside] or [self._leader]


class Sight:
    """What can be seen of all processes but the `spared` (pids) at one moment, to look for several trees of a home. Raises OSError."""

    def __init__(self, home, spared=()):
        self.processes = [process for process in all_processes() if process.pid not in spared]
        self.carriers = _carriers(self.processes, home)


Left = namedtuple("Left", "own held unsure")
Left.__doc__ = """What is left of an attempt: the pids that are proven to be its own; whether its log is held, by these or by others that
cannot be seen; the pids that may be its own, without proof."""


class LostTree:
    """What may still run of an attempt whose worker died.

    `group` is the number of its group, 0 if none was noted. `start` is when the leader of that was started, 0 if that was not noted or is
    not to be believed. `seen` is when the youngest process was started that was seen in it.
    """

    def __init__(self, token, log, group=0, start=0, seen=0):
        self.token = token
        self.seen = seen
        self._log = log
        self._group = group
        self._start = start
        self._proven = False

    def signal(self, sight, number, away=None):
        """Signal what is proven to be the attempt's: its tree with `number`, its strays with `away`, if not None. What is Left then."""
        held = bool(self._log) and is_held(self._log)
        if not HAS_PROC:
            return self._signal_group(number, held)
        processes = sight.processes
        inside = _in_tree(self._group, processes) if self._group else []
        own = sight.carriers.get(self.token, []) if self.token else []
        own = own + (_holders(processes, self._log) if held else [])
        proven = {process.pid for process in own}
        self._prove(processes, inside, proven)
        if self._proven:
            self.seen = max([self.seen] + [process.start for process in inside])
            _signal_groups(inside, number)
        inside_pids = {process.pid for process in inside}
        strays = [process for process in own if process.pid not in inside_pids]
        if away is not None or not self._group:
            _signal_groups(strays, number if away is None else away)
        unsure = sorted(inside_pids) if not self._proven else []
        return Left(sorted(proven | inside_pids if self._proven else proven), held, unsure)

    def _prove(self, processes, inside, proven):
        """Find out whether the group's tree is the attempt's. If it is another one's, `inside` is emptied."""
        leader = next((process for process in processes if process.pid == self._group), None)
        if self._start and leader is not None:
            self._proven = leader.start == self._start
        elif any(process.pid in proven or process.start <= self.seen for process in inside):
            self._proven = True
        if not self._proven and (not self._start or leader is not None):
            inside.clear()

    def _signal_group(self, number, held):
        """The same without /proc, of the noted group: the start of its leader proves it, or, where ps tells none, the lock on the log."""
        if WINDOWS or not self._group or not group_runs(self._group) or self._group == os.getpgid(0):
            self._group = 0  # another one may get its number from now on, or we have got it
            return Left([], held, [])
        began = _start_by_ps(self._group) if self._start and not self._proven else 0
        if not self._proven:
            self._proven = abs(began - self._start) <= _PS_SECONDS if began else held
        if self._proven:
            signal_group(self._group, number)
            return Left([self._group], held, [])
        return Left([], held, [self._group] if self._start and not began else [])
