"""How commands are started: the Launcher of this system, and what all systems share."""
from __future__ import annotations

import errno
import os
import subprocess

from core.system import WINDOWS

if WINDOWS:
    from execution.launcher_windows import DETACHED, Launcher
else:
    from execution.launcher_posix import DETACHED, Launcher

__all__ = ["Launcher", "encode_environ", "lacks_room", "start_detached"]

# What a system says that has no room for another process, thread or open file, as errno, and as Windows numbers it.
_NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_NO_ROOM_ON_WINDOWS = (1450, 1455)  # ERROR_NO_SYSTEM_RESOURCES, ERROR_COMMITMENT_LIMIT


def lacks_room(error):
    """Whether an OSError says that there is no room for a process now: this will pass, and is not the fault of what was to be started."""
    return error.errno in _NO_ROOM or getattr(error, "winerror", None) in _NO_ROOM_ON_WINDOWS


def encode_environ(environ):
    """An environment as the bytes that `Launcher.start` takes."""
    return {os.fsencode(key): os.fsencode(value) for key, value in environ.items()}


class _Detached(subprocess.Popen):
    """A process that outlives this one: nobody has to wait for its end."""

    def __del__(self):
        """Say nothing of that it still runs, where Popen warns."""


def start_detached(command, environ, output=subprocess.DEVNULL, shell=False, folder=None):
    """Start a process that outlives this one and its terminal, with both streams to one file; its Popen. Raises OSError."""
    return _Detached(command, shell=shell, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                     start_new_session=not WINDOWS, creationflags=DETACHED)
