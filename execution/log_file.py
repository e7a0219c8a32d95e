"""The log of an attempt: made when its command is started, kept short while that runs, removed at the end if it stayed
empty, or kept as a later one's.

Whoever has the log open must be seen, even when the worker is dead. So the descriptor for the command is locked: such a lock belongs to the
open file, not to a process, and lasts until the last copy of the descriptor is closed (flock(2)). While it runs the worker keeps no copy.
"""
from __future__ import annotations

import errno
import os
import time
from _thread import allocate_lock
from collections import deque
from contextlib import suppress

from core.locks import is_held, try_lock
from core.system import OPEN_FILES_MOVE, make_folder, open_private, pread, pwrite, remove_file
from storage.output import dropped_line, emptied_line

_PAUSES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0)  # seconds before one tries again to lock a log


class EmptyLogs:
    """The empty logs of the last jobs of a worker. One that no process has open becomes the log of its next job: to rename it costs half of
    what it costs to remove it and to make another one (rename(2), a third of the system calls of a job that prints nothing).

    A command that another thread is just starting has a copy of every descriptor until its exec (fork(2), open(2) on O_CLOEXEC), and that
    may wait for the processor. So several logs are kept, the one that has rested longest is tried first, and none is waited for.
    """

    _MOST = 4

    def __init__(self):
        self._paths = deque()

    def add(self, path):
        """Keep the log at this path. Raises OSError."""
        self._paths.append(path)
        if len(self._paths) > self._MOST:
            remove_if_free(self._paths.popleft())

    def take(self, wanted):
        """Take out a log and give it the path that is `wanted`: a descriptor that holds its lock; None if none is free. One that is gone is
        forgotten, and so is one that is not empty any more, or that the system refuses: a new log is made then."""
        for _ in range(len(self._paths)):
            path, is_ours = self._paths.popleft(), False
            with suppress(OSError):
                descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
                try:
                    if not try_lock(descriptor):
                        self._paths.append(path)
                    elif os.fstat(descriptor).st_size == 0:
                        os.rename(path, wanted)
                        is_ours = True
                finally:
                    if not is_ours:
                        os.close(descriptor)
            if is_ours:
                return descriptor
        return None

    def discard(self):
        """Remove them: no attempt follows. Raises OSError."""
        while self._paths:
            remove_if_free(self._paths.popleft())


def remove_if_free(path, sleep=time.sleep):
    """Remove an empty log unless a process has it open for longer than until its exec. Raises OSError."""
    for pause in _PAUSES:
        if not is_held(path):
            with suppress(FileNotFoundError):
                if os.stat(path).st_size == 0:
                    remove_file(path)
            return
        sleep(pause)


class LogFile:
    """The log of one attempt: `begin`, run, `release` in the worker's thread; `trim` and `write` from any."""

    def __init__(self, path, sleep=time.sleep):
        self.path = path
        self._sleep = sleep
        self._begun = False
        self._dropped = 0  # bytes that `trim` took away
        self._seen = 0  # its size when it was looked at last
        self._emptied = 0  # bytes that went because the command, or someone else, made it shorter
        self._mutex = allocate_lock()  # `trim` touches no log that was released

    def begin(self, empties=None):
        """Make the log, from one of these EmptyLogs if one is free, in place of one of that name: of an attempt that did not count, or of
        a job that someone set back by hand. Gives back a locked descriptor, to be closed once the command has it. Raises OSError."""
        descriptor = empties.take(self.path) if empties is not None else None
        if descriptor is None:
            descriptor = self._create()
        self._begun = True
        return descriptor

    def _create(self):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        try:
            descriptor = open_private(self.path, flags)
        except FileNotFoundError:
            make_folder(os.path.dirname(self.path), and_above=False)
            descriptor = open_private(self.path, flags)
        except FileExistsError:
            remove_file(self.path)
            descriptor = open_private(self.path, flags)
        try:
            for pause in _PAUSES:
                if try_lock(descriptor):
                    break
                self._sleep(pause)  # someone looks whether it is held
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, text):
        """Write something behind the output of the command. Raises OSError."""
        descriptor = open_private(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, text.encode("utf-8", "replace"))
        finally:
            os.close(descriptor)

    def trim(self, limit):
        """Cut a log of more than `limit` bytes to its last part, and say in it how much was dropped. What the command writes in the same
        moment may be dropped too. Raises OSError."""
        with self._mutex:
            if self._begun and self._size() > limit:
                self._cut(limit)

    def _size(self):
        """Its size now. On Linux `> /dev/stderr` in a command opens the log anew and empties it (proc(5), /proc/PID/fd)."""
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            return 0  # someone has removed it
        if size < self._seen:
            self._emptied += self._seen - size
            self._dropped = 0  # the line that says so is gone, too
        self._seen = size
        return size

    def _cut(self, limit):
        descriptor = open_private(self.path, os.O_RDWR)  # not to append: Linux would heed no offset then (pwrite(2), BUGS)
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            kept = pread(descriptor, limit // 2, size - limit // 2)
            dropped = self._dropped + size - len(kept) - (len(dropped_line(self._dropped)) if self._dropped else 0)
            content = dropped_line(dropped) + kept
            # First over what is there, then cut: what the command adds meanwhile comes behind it, never in front.
            if pwrite(descriptor, content, 0) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
            os.ftruncate(descriptor, len(content))
            self._dropped, self._seen = dropped, len(content)
        finally:
            os.close(descriptor)

    def release(self, limit=None, empties=None):
        """The attempt has ended: trim the log if there is a limit, and say in it if it became shorter by other hands. One that is empty is
        removed if no process has it open, or kept in `empties` (EmptyLogs) if they are given. Raises OSError."""
        with self._mutex:
            begun, self._begun = self._begun, False
            size = self._size() if begun else None
            if limit is not None and size and size > limit:
                self._cut(limit)
        if self._emptied and size is not None:
            with suppress(FileNotFoundError):
                self.write(emptied_line(self._emptied))
        elif size == 0 and empties is not None and OPEN_FILES_MOVE:
            empties.add(self.path)
        elif size == 0:
            remove_if_free(self.path, self._sleep)

    def is_held(self):
        """Whether a process of the attempt, or one that it left behind, still has the log open."""
        return self._begun and is_held(self.path)
