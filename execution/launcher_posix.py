"""How a command is started, signalled and waited for on POSIX systems: by `subprocess`, in a session of its own."""
from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from _thread import allocate_lock
from contextlib import nullcontext, suppress

from execution.process_tree import all_processes, signal_group

assert sys.platform != "win32"  # for mypy, too

DETACHED = 0
_LONGEST_PAUSE = 0.05  # seconds between two looks at a command, as in subprocess.Popen.wait


class Launcher:
    """Starts commands through the shell and reaps them. A worker process has one, made before its threads.

    Descriptors of ours are not inherited (PEP 446), and those that this process inherited are marked so: so none has to be closed in
    each command.
    """

    def __init__(self):
        self._null = os.open(os.devnull, os.O_RDWR)
        self._processes: dict = {}  # pid: its Popen
        self._starting = allocate_lock() if os.getpid() == 1 else nullcontext()
        for descriptor in range(3, 256):
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                continue
        _give_commands_all_signals()

    def start(self, command, folder, environ, own, log, runner=(), shell=()):
        """Start a command by the words of a `shell`, which are `sh -c` unless they are given, or a `runner` (words) with all that behind
        it; its pid. Its environment is `environ`, which is never changed, with `own` over it. Raises OSError, ValueError."""
        program, words = b"/bin/sh", [b"sh", b"-c", command.encode("utf-8")]
        if runner or shell:
            words = [word.encode("utf-8", "surrogateescape") for word in (*runner, *(shell or ("sh", "-c")))] + words[2:]
            program = _find_program((*runner, *shell)[0], folder, own.get(b"PATH", environ.get(b"PATH")))
        with self._starting:
            process = subprocess.Popen(words, executable=program, cwd=folder, env={**environ, **own}, stdin=self._null, stdout=log,
                                       stderr=log, close_fds=False, start_new_session=True)
            self._processes[process.pid] = process
        return process.pid

    def wait(self, pid, mutex):
        """Wait for the end of a command; whether it failed. With os.waitid the command stays a zombie, and the number of its group ours,
        until `reap`. Without it (PyPy; before Python 3.13 on macOS) it is looked at again and again, and reaped under the `mutex` of its
        signals. Raises OSError."""
        if hasattr(os, "waitid"):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return ended.si_code != os.CLD_EXITED or ended.si_status != 0
        process, pause = self._processes[pid], 0.0005
        while True:
            with mutex:
                code = process.poll()
            if code is not None:
                return code != 0
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def reap(self, pid):
        """The exit code, or minus the signal that ended it."""
        return self._processes.pop(pid).wait()

    def signal(self, pid, number):
        """Signal the group of a command, unless that is reaped; False if all of it runs as another user."""
        process = self._processes.get(pid)
        return process is None or process.returncode is not None or signal_group(pid, number)

    def reap_orphans(self):
        """As process 1, of a container say, reap what has lost its parent, which is our child then. Raises OSError."""
        if os.getpid() != 1:
            return
        with self._starting:
            for process in all_processes():
                if process.parent == 1 and not process.runs and process.pid not in self._processes:
                    with suppress(ChildProcessError):
                        os.waitpid(process.pid, os.WNOHANG)

    def close(self):
        """Give back the descriptor."""
        os.close(self._null)


def _give_commands_all_signals():
    """Let no command inherit a signal that is ignored or blocked, as nohup, a shell's `&` or a container leaves it to this process.

    A new program keeps ignored signals, and sets those with a handler to their default (execve(2)): so a handler that does nothing
    takes the place of each that is ignored. subprocess itself restores SIGPIPE and SIGXFSZ, which Python ignores.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _ignore(number, frame):
    """A signal that this process ignores."""


def _find_program(name, folder, path):
    """Where a program is, by the PATH (bytes or None) that it is to have, as a shell in the job's place and folder would look for it
    (posix_spawnp looks along our own PATH). Raises OSError."""
    from shutil import which
    places = (os.fsdecode(path) if path is not None else os.defpath).split(os.pathsep)
    found = which(os.path.join(folder, name) if os.sep in name else name, path=os.pathsep.join(os.path.join(folder, at) for at in places))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "there is no program %r to run it with" % name)
    return os.fsencode(found)
