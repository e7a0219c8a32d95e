"""The lock that every change of the queue is made under, and the notes kept inside its file.

The locking protocol, here and nowhere else:

- The lock is an advisory lock on the whole of `run/lock` (flock; on Windows one byte far behind what anyone reads). It belongs to
  an open file description, so it ends with its process, however that process ends. It is never held while a command runs.
- The file is never replaced. Someone may delete it, so after locking the descriptor's inode is compared with the path's: if they
  differ, others lock another file by now, and this one is opened again.
- flock would not keep two threads with one descriptor apart; a mutex does.
- Released with LOCK_UN, not by closing alone: a child that is being started may hold a copy of the descriptor until its exec.
- Who only looks (`Look`) takes it by a descriptor to read where the file cannot be written (flock(2) wants no right to write), and goes
  without it where that cannot be had either: on a read-only file system without run/, or in a home that belongs to another user.

The file also holds the notes of the job files (`notes`), since whoever reads or writes those holds the lock, and has this file open.
"""
from __future__ import annotations

import errno
import os
from _thread import allocate_lock

from core.errors import LockError
from core.locks import try_lock, unlock, wait_for_lock
from core.system import CANNOT_WRITE, make_folder, open_as_allowed, open_private, pread, pwrite

NOTICE_AFTER = 3.0  # seconds of waiting before the user is told


class FileLock:
    """The lock. `notice()` is called once if the lock takes longer than NOTICE_AFTER to get."""

    def __init__(self, path, notice=None):
        self.path = path
        self.makes_home = False  # whether the folder above run/ is made if it is not there
        self._notice = notice
        self._mutex = allocate_lock()
        self._descriptor = None
        self._inode = None
        self._is_read_only = False  # it was taken by who only looks, and its file cannot be written

    def __enter__(self):
        self.enter()
        return self

    def enter(self, to_look=False):
        """Take the lock, or, `to_look`, as much of it as can be had (see above). Raises LockError."""
        self._mutex.acquire()
        try:
            self._lock(to_look)
        except BaseException:
            self._mutex.release()
            raise

    def __exit__(self, *exception):
        try:
            if self._descriptor is not None:
                unlock(self._descriptor)
        except OSError:
            self._close()
        finally:
            self._mutex.release()

    def __del__(self):
        self._close()

    def _lock(self, to_look):
        if self._is_read_only and not to_look:
            self._close()
        while True:
            if self._descriptor is None:
                self._open(to_look)
            if self._descriptor is None:
                return  # to look without it
            try:
                if not try_lock(self._descriptor):
                    wait_for_lock(self._descriptor, self._notice, NOTICE_AFTER)
                if os.stat(self.path).st_ino == self._inode:
                    return
            except FileNotFoundError:
                pass  # deleted: opened anew below, like one that was replaced
            except OSError as error:
                self._close()
                if self._is_read_only:
                    return  # NFS locks no file that is open to be read (flock(2), NFS details)
                raise LockError("cannot lock %s: %s" % (self.path, error.strerror)) from None
            self._close()

    def _close(self):
        """Close the file, which gives up the lock if we have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self, to_look):
        self._is_read_only = False
        try:
            make_folder(os.path.dirname(self.path), and_above=self.makes_home)
            try:
                self._descriptor, writable = open_as_allowed(self.path, to_look)
                self._is_read_only = not writable
            except FileNotFoundError:
                self._descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT)
            self._inode = os.fstat(self._descriptor).st_ino
        except OSError as error:
            self._close()
            self._is_read_only = to_look and error.errno in CANNOT_WRITE
            if self._is_read_only:
                return
            home = os.path.dirname(os.path.dirname(self.path))
            if isinstance(error, FileNotFoundError) and not os.path.isdir(home):
                raise LockError("%s is gone: someone has moved or removed it" % home) from None
            raise LockError("cannot open the lock %s: %s; the queue's folder must be writable for you; name another one with "
                            "--home DIR, or in QUEUECTL_HOME" % (self.path, error.strerror)) from None

    def read(self, size, offset):
        """Bytes of the lock's file; fewer at its end, none without it. Raises OSError."""
        return pread(self._descriptor, size, offset) if self._descriptor is not None else b""

    def write(self, content, offset):
        """Write bytes into the lock's file. Raises OSError."""
        if self._is_read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), self.path)
        try:
            pwrite(self._descriptor, content, offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None

    def sync(self):
        """Put the file on the disk. Raises OSError."""
        os.fsync(self._descriptor)


class Look:
    """The lock for who changes nothing: `with Look(lock): …` (see `FileLock.enter`)."""

    def __init__(self, lock):
        self._lock = lock

    def __enter__(self):
        self._lock.enter(to_look=True)

    def __exit__(self, *exception):
        self._lock.__exit__()
