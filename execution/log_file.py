"""The log that a running command writes to."""
from __future__ import annotations

import errno
import os
import time
from _thread import allocate_lock

from core.system import OPEN_FILES_MOVE, is_held, leave_append_mode, make_folder, open_private, pread, pwrite, remove_file, try_lock, unlock

_OURS = os.O_RDWR | (os.O_APPEND if OPEN_FILES_MOVE else 0)  # how a log is opened that the next attempt may inherit


class LogFile:
    """The log of the attempts that one thread runs, one after another: `begin`, run, `end`.

    A file that stayed empty serves the next attempt, since making and removing one costs a short job a tenth of its time. It must not if
    a process of the former attempt still has it open, so the descriptor that the job inherits is a lock of its own: as long as any
    process has it, nobody else gets the lock.
    """

    def __init__(self, sleep=time.sleep):
        self.path = None
        self._descriptor = None
        self._sleep = sleep
        self._dropped = 0  # bytes that `trim` took away
        self._mutex = allocate_lock()  # `trim` comes from another thread

    def begin(self, path):
        """Make the log of an attempt, in place of one of that name (an attempt that did not count had it, or someone set the job back by
        hand); a descriptor for the job, which the caller closes once the job has it. Raises OSError."""
        with self._mutex:
            if self._descriptor is None:
                return self._create(path)
            os.rename(self.path, path)
            self.path = path
            inherited, self._descriptor = self._descriptor, open_private(path, _OURS)  # `end` has locked the former
            return inherited

    def _create(self, path):
        """Make a new file the log; a locked descriptor of it for the job."""
        own = self._open_new(path)
        try:
            inherited = open_private(path, os.O_WRONLY | os.O_APPEND)
            try_lock(inherited)
        except OSError:
            os.close(own)
            raise
        self.path, self._descriptor, self._dropped = path, own, 0
        return inherited

    def _open_new(self, path):
        flags = _OURS | os.O_CREAT | os.O_EXCL
        try:
            return open_private(path, flags)
        except FileNotFoundError:
            make_folder(os.path.dirname(path))
        except FileExistsError:
            remove_file(path)
        return open_private(path, flags)

    def write(self, text):
        """Say this in the log of a command, behind what it has written. Raises OSError."""
        self._size()  # whose position counts once `trim` has been here
        os.write(self._descriptor, text.encode("utf-8", "replace"))

    def trim(self, limit):
        """Keep only the last part of a log that has grown beyond `limit` bytes, and say in it how much was dropped. What the job writes
        in the same moment may be dropped too. Raises OSError."""
        with self._mutex:
            if self._descriptor is not None:
                self._trim(self._size(), limit)

    def _size(self):
        return os.lseek(self._descriptor, 0, os.SEEK_END)  # a quarter of what fstat costs

    def _trim(self, size, limit):
        if size <= limit:
            return
        kept = pread(self._descriptor, limit // 2, size - limit // 2)
        dropped = self._dropped + size - len(kept)
        content = b"[queuectl: %d bytes were dropped here, since the output exceeds max_output]\n" % dropped + kept
        # Over what is there, and only then cut: what the job adds meanwhile comes behind it, never in front.
        leave_append_mode(self._descriptor)
        if pwrite(self._descriptor, content, 0) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        os.ftruncate(self._descriptor, len(content))
        self._dropped = dropped

    def end(self, limit=None):
        """Let go of a log that holds something, or that someone may still write to, shortened once more if there is a limit; keep an
        empty one for the next attempt. Raises OSError."""
        with self._mutex:
            if self._descriptor is None:
                return
            size, kept = 1, False  # what cannot be looked at holds something
            try:
                size = self._size()
                if limit is not None:
                    self._trim(size, limit)
                kept = not size and OPEN_FILES_MOVE and self._lock()
            finally:
                if not kept:
                    self._let_go()
                    if not size and not is_held(self.path):  # where an open file gets no other name, none serves the next attempt
                        remove_file(self.path)

    def _let_go(self):
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)

    def _lock(self):
        """Lock the log; False if it is held. A command that another thread is just starting has a copy of the descriptor until its exec."""
        for pause in (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008):
            if try_lock(self._descriptor):
                return True
            self._sleep(pause)
        return try_lock(self._descriptor)

    def is_held(self):
        """Whether a process of the attempt, or one that it left behind, still has the log open."""
        if self._descriptor is None or not try_lock(self._descriptor):
            return self._descriptor is not None
        unlock(self._descriptor)
        return False

    def discard(self):
        """Remove an empty log that no attempt follows. Raises OSError, and has let go of it nonetheless."""
        with self._mutex:
            if self._descriptor is not None:
                try:
                    if not self._size():
                        remove_file(self.path)
                finally:
                    self._let_go()
