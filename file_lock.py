"""The lock that every change of the queue is made under, and the notes kept inside its file.

The locking protocol, here and nowhere else:

- The lock is an advisory lock on the whole of `run/lock` (flock; on Windows one byte far behind what anyone reads). It belongs to
  an open file description, so it ends with its process, however that process ends. It is never held while a command runs.
- The file is never replaced. Someone may delete it, so after locking the descriptor's inode is compared with the path's: if they
  differ, others lock another file by now, and this one is opened again.
- flock would not keep two threads with one descriptor apart; a mutex does.
- Released with LOCK_UN, not by closing alone: a child that is being started may hold a copy of the descriptor until its exec.

Inside, a *hint* a job file says what the last change left there, and a ring names the last changed places (PROTOCOL). Both only save
work: a file without them, or with ones that do not fit, costs a rescan and nothing else. They are never synced to the disk, but for
the moments named in `job_file`.
"""
from __future__ import annotations

import errno
import os
import struct
import time
from _thread import allocate_lock

from helpers import WINDOWS, QueueError, make_folder, open_private, pread, pwrite

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
        """Lock an open file for its description alone; False if another one holds it."""
        try:
            _locking(descriptor, msvcrt.LK_NBLCK)
        except OSError:  # EACCES, but Wine sets no number, so that it is that of some earlier fault
            return False
        return True

    def unlock(descriptor):
        """Give up the lock."""
        _locking(descriptor, msvcrt.LK_UNLCK)

    def is_held(path):
        """Whether a process has a file open to write to it. (A lock would not tell: it ends with the process that took it, whoever has
        inherited the file.)"""
        try:  # to read it, and to let nobody write meanwhile
            _winapi.CloseHandle(_winapi.CreateFile(path, _winapi.GENERIC_READ, 1, 0, _winapi.OPEN_EXISTING, 0, 0))
        except PermissionError:
            return True
        except OSError:
            return False
        return False

    def _wait_for(descriptor, notice):
        started = time.monotonic()
        while not try_lock(descriptor):
            time.sleep(0.001)  # nobody queues here: who asks seldom does not get it from those who take it all the time
            if notice and time.monotonic() - started > NOTICE_AFTER:
                notice()
                notice = None
else:
    import fcntl

    def try_lock(descriptor):
        """Lock an open file for its description alone; False if another one holds it."""
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
        """Whether a process still has, or has inherited, a descriptor of a file that is locked."""
        try:
            descriptor = open_private(path, os.O_RDONLY)
        except OSError as error:
            return error.errno in (errno.EACCES, errno.EPERM)
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def _wait_for(descriptor, notice):
        for _ in range(20):  # most holders are done within a fraction of a millisecond
            time.sleep(0.0005)
            if try_lock(descriptor):
                return
        from threading import Timer
        timer = Timer(NOTICE_AFTER, notice or (lambda: None))
        timer.daemon = True
        timer.start()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            timer.cancel()

# File systems of other machines, by Linux's names: whether a lock there keeps out a process on another one, and whether it ends with its
# process, depends on servers and mount options.
_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "ceph", "lustre", "glusterfs", "virtiofs", "fuse.sshfs",
                     "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph-fuse", "fuse.davfs", "davfs"))


def remote_file_system(path, mounts="/proc/self/mounts"):
    """The kind of file system of another machine that a folder is on, or None if it is on none, or the system does not tell. `mounts` is a
    table as in fstab(5)."""
    path = os.path.realpath(path)
    if WINDOWS:
        return "network drive" if path.startswith("\\\\") and not path.startswith("\\\\?\\") else None
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ") for line in file]
    except OSError:
        return None
    kind, longest = None, -1
    for row in rows:
        # Spaces and the like are written as octal numbers there.
        place = row[1].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\").rstrip("/")
        if (path == place or path.startswith(place + "/")) and len(place) >= longest:
            kind, longest = row[2], len(place)
    return kind if kind in _REMOTE else None


NOTICE_AFTER = 3.0  # seconds of waiting before the user is told


class LockError(QueueError):
    """The lock file cannot be opened or locked."""


# A hint: magic, gen, ring_no, inode, size, mtime (ns), intent, intent_end, last created_at (µs). All but gen and ring_no describe
# the job file after its last change; gen is new whenever places of records may have moved.
_HINT = struct.Struct("<8s9Q")  # the last one is a check sum
_MAGIC = b"QUEUECT1"
_MODULUS = (1 << 64) - 59  # a prime, so that no bit of a sum goes unseen
_PAGE = 4096
RING = 4096  # changed places remembered
_SLOT = _PAGE + 8 * RING


class Hint:
    """What the last change left of one job file. `intent` is where an append that has not ended began, else 0."""

    __slots__ = ("gen", "ring_no", "inode", "size", "mtime", "intent", "intent_end", "last_created")

    def __init__(self, gen, ring_no=0, inode=0, size=0, mtime=0, intent=0, intent_end=0, last_created=0):
        self.gen = gen
        self.ring_no = ring_no
        self.inode = inode
        self.size = size
        self.mtime = mtime
        self.intent = intent
        self.intent_end = intent_end
        self.last_created = last_created


def new_gen():
    """A random number that no former generation is likely to have had."""
    return int.from_bytes(os.urandom(7), "little")


class FileLock:
    """The lock, and the notes in its file. `notice()` is called once if the lock takes longer than NOTICE_AFTER to get."""

    def __init__(self, path, notice=None):
        self.path = path
        self._notice = notice
        self._mutex = allocate_lock()
        self._descriptor = None
        self._inode = None

    def __enter__(self):
        self._mutex.acquire()
        try:
            self._lock()
        except BaseException:
            self._mutex.release()
            raise
        return self

    def __exit__(self, *exception):
        try:
            unlock(self._descriptor)
        finally:
            self._mutex.release()

    def __del__(self):
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _lock(self):
        while True:
            if self._descriptor is None:
                self._open()
            try:
                if not try_lock(self._descriptor):
                    _wait_for(self._descriptor, self._notice)
            except OSError as error:
                raise LockError("cannot lock %s: %s" % (self.path, error.strerror)) from None
            try:
                if os.stat(self.path).st_ino == self._inode:
                    return
            except FileNotFoundError:
                pass  # deleted: opened anew below, like one that was replaced
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self):
        try:
            make_folder(os.path.dirname(self.path))
            try:
                self._descriptor = open_private(self.path, os.O_RDWR)
            except FileNotFoundError:
                self._descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise LockError("cannot open the lock %s: %s; the queue's folder must be writable"
                            % (self.path, error.strerror)) from None
        self._inode = os.fstat(self._descriptor).st_ino

    def read_hint(self, slot):
        """The hint of job file number `slot`; a fresh one, which fits no file, if there is none that reads right."""
        content = pread(self._descriptor, _HINT.size, slot * _SLOT)
        if len(content) == _HINT.size:
            fields = _HINT.unpack(content)
            if fields[0] == _MAGIC and fields[-1] == sum(fields[1:-1]) % _MODULUS:
                return Hint(*fields[1:-1])
        return Hint(new_gen())

    def write_hint(self, slot, hint):
        """Keep a hint. Raises OSError."""
        fields = (hint.gen, hint.ring_no, hint.inode, hint.size, hint.mtime, hint.intent, hint.intent_end, hint.last_created)
        pwrite(self._descriptor, _HINT.pack(_MAGIC, *fields, sum(fields) % _MODULUS), slot * _SLOT)

    def note_places(self, slot, ring_no, places):
        """Write changed places into the ring, from number `ring_no` on; more than it holds are not worth it. Raises OSError."""
        if len(places) >= RING:
            raise OSError(errno.EOVERFLOW, "too many places")
        start = slot * _SLOT + _PAGE
        at = ring_no % RING
        content = struct.pack("<%dQ" % len(places), *places)
        room = 8 * (RING - at)
        pwrite(self._descriptor, content[:room], start + 8 * at)
        if len(content) > room:
            pwrite(self._descriptor, content[room:], start)

    def places(self, slot, first, last):
        """The changed places number `first` up to, but without, `last`; at most RING of them."""
        ring = pread(self._descriptor, 8 * RING, slot * _SLOT + _PAGE).ljust(8 * RING, b"\0")
        return [int.from_bytes(ring[number % RING * 8:number % RING * 8 + 8], "little") for number in range(first, last)]

    def sync(self):
        """Put the notes on the disk."""
        os.fsync(self._descriptor)
