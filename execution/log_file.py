"""The log of an attempt: made when its command is started, kept short while that runs, removed at the end if it stayed
empty, or kept as the next one's.

Whoever has the log open must be seen, even when the worker is dead. So the descriptor for the command is locked: such a lock belongs to the
open file, not to a process, and lasts until the last copy of the descriptor is closed (flock(2)). While it runs the worker keeps no copy.
"""
from __future__ import annotations

import errno
import os
import time
from _thread import allocate_lock
from collections import namedtuple
from contextlib import suppress

from core.locks import is_held, try_lock
from core.system import OPEN_FILES_MOVE, make_folder, open_private, pread, pwrite, remove_file
from storage.output import dropped_line, emptied_line

_PAUSES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008)  # seconds before one looks again whether an empty log is held


class Spare(namedtuple("Spare", "path descriptor")):
    """An empty log that no process has open, for the next attempt of the same worker: to rename one costs half of what it costs to
    remove one and make another (rename(2), a third of the system calls of a job that prints nothing). The descriptor holds the lock."""

    __slots__ = ()

    def discard(self):
        """Remove it: no attempt follows. Raises OSError."""
        os.close(self.descriptor)
        remove_file(self.path)


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

    def begin(self, spare=None):
        """Make the log, from a Spare if there is one, in place of one of that name: of an attempt that did not count, or of a job that
        someone set back by hand. Gives back a locked descriptor for the command, which the caller closes once the command has it. Raises
        OSError."""
        if spare is not None:
            try:
                os.rename(spare.path, self.path)
            except OSError:  # someone has removed it
                os.close(spare.descriptor)
            else:
                self._begun = True
                return spare.descriptor
        descriptor = self._create()
        try:
            try_lock(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._begun = True
        return descriptor

    def _create(self):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        try:
            return open_private(self.path, flags)
        except FileNotFoundError:
            make_folder(os.path.dirname(self.path), and_above=False)
        except FileExistsError:
            remove_file(self.path)
        return open_private(self.path, flags)

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

    def release(self, limit=None, keep=False):
        """The attempt has ended: trim the log if there is a limit, and say in it if it became shorter by other hands. One that is empty,
        and that no process has open, is removed, or with `keep` given back as a Spare. Raises OSError."""
        with self._mutex:
            begun, self._begun = self._begun, False
            size = self._size() if begun else None
            if limit is not None and size and size > limit:
                self._cut(limit)
        if self._emptied and size is not None:
            with suppress(FileNotFoundError):
                self.write(emptied_line(self._emptied))
            return None
        if size == 0:
            if keep and OPEN_FILES_MOVE:
                return self._as_spare()
            if self._is_free():
                remove_file(self.path)
        return None

    def _as_spare(self):
        """The log as a Spare, or None if a process has it open."""
        descriptor = open_private(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            if self._becomes(lambda: try_lock(descriptor)):
                spare, descriptor = Spare(self.path, descriptor), None
                return spare
            return None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _is_free(self):
        """Whether no process has the log open."""
        return self._becomes(lambda: not is_held(self.path))

    def _becomes(self, condition):
        """Whether `condition()` is true, or soon becomes so: a command that another thread is just starting has a copy of the descriptor
        until its exec (fork(2), open(2) on O_CLOEXEC)."""
        for pause in _PAUSES:
            if condition():
                return True
            self._sleep(pause)
        return condition()

    def is_held(self):
        """Whether a process of the attempt, or one that it left behind, still has the log open."""
        return self._begun and is_held(self.path)
