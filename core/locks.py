"""Locks on open files, as each system has them. A lock belongs to an open file, so that it ends with its process, however that ends."""
from __future__ import annotations

import errno
import os
import time

from core.system import WINDOWS, open_private

if WINDOWS:
    import _winapi
    import msvcrt

    _FAR = 1 << 40

    def _locking(descriptor, mode):
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, mode, 1)
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)  # or a job that inherits it would write there

    def try_lock(descriptor):
        """Lock an open file; False if another open file description holds the lock."""
        try:
            _locking(descriptor, msvcrt.LK_NBLCK)
        except OSError:  # EACCES, but Wine sets no number, so that it is that of some earlier fault
            return False
        return True

    def unlock(descriptor):
        """Give up the lock."""
        _locking(descriptor, msvcrt.LK_UNLCK)

    def is_held(path):
        """Whether a process has a file open for writing. (A lock would not tell: it ends with the process that took it, even if a child has
        inherited the file.)"""
        try:  # to read it, and to let nobody write meanwhile
            _winapi.CloseHandle(_winapi.CreateFile(path, _winapi.GENERIC_READ, 1, 0, _winapi.OPEN_EXISTING, 0, 0))
        except PermissionError:
            return True
        except OSError:
            return False
        return False

    def wait_for_lock(descriptor, notice, seconds):
        """Lock an open file; call `notice()` once, unless it is None, if that takes longer than so many seconds."""
        started = time.monotonic()
        while not try_lock(descriptor):
            time.sleep(0.001)  # nobody queues here: who asks seldom does not get it from those who take it all the time
            if notice and time.monotonic() - started > seconds:
                notice()
                notice = None
else:
    import fcntl

    def try_lock(descriptor):
        """Lock an open file; False if another open file description holds the lock."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        return True

    def unlock(descriptor):
        """Give up the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def is_held(path):
        """Whether a process has locked a file, or has inherited its locked descriptor. Raises OSError if that cannot be known now."""
        try:
            descriptor = open_private(path, os.O_RDONLY)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
                raise
            return error.errno in (errno.EACCES, errno.EPERM)
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def wait_for_lock(descriptor, notice, seconds):
        """Lock an open file; call `notice()` once, unless it is None, if that takes longer than so many seconds."""
        for _ in range(20):  # most holders are done within a fraction of a millisecond
            time.sleep(0.0005)
            if try_lock(descriptor):
                return
        from threading import Timer
        timer = Timer(seconds, notice or (lambda: None))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            pass  # the system has no room for a thread: wait without a word
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            timer.cancel()
