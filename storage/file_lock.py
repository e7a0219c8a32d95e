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
from _thread import allocate_lock

from core.errors import LockError
from core.system import boot_id, make_folder, open_private, pread, pwrite, try_lock, unlock, wait_for_lock

NOTICE_AFTER = 3.0  # seconds of waiting before the user is told

# A hint: magic, gen, ring_no, inode, size, mtime (ns), intent, intent_end, last created_at (µs), four counts, boot. All but gen and ring_no
# describe the job file after its last change; gen is new whenever places of records may have moved.
_HINT = struct.Struct("<8s14Q")  # the last one is a check sum
_MAGIC = b"QUEUECT3"
_MODULUS = (1 << 64) - 59  # a prime, so that no bit of a sum goes unseen
_PAGE = 4096
RING = 4096  # changed places remembered
_SLOT = _PAGE + 8 * RING


class Hint:
    """What the last change left of one job file. `intent` is where an append that has not ended began, else 0; `counts` says how many
    records are in each state; `boot` is the `FileLock.boot` of whoever made the change."""

    __slots__ = ("gen", "ring_no", "inode", "size", "mtime", "intent", "intent_end", "last_created", "counts", "boot")

    def __init__(self, gen, ring_no=0, inode=0, size=0, mtime=0, intent=0, intent_end=0, last_created=0, counts=(0, 0, 0, 0), boot=0):
        self.gen = gen
        self.ring_no = ring_no
        self.inode = inode
        self.size = size
        self.mtime = mtime
        self.intent = intent
        self.intent_end = intent_end
        self.last_created = last_created
        self.counts = counts
        self.boot = boot


def new_gen():
    """A random number that no former generation is likely to have had."""
    return int.from_bytes(os.urandom(7), "little")


class FileLock:
    """The lock, and the notes in its file. `notice()` is called once if the lock takes longer than NOTICE_AFTER to get. `boot` is another
    number after each start of the machine; 0 where the system does not tell."""

    def __init__(self, path, notice=None):
        self.path = path
        self.boot = int.from_bytes(boot_id().encode("ascii")[:8], "little")
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
        except OSError:
            self._close()
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
                    wait_for_lock(self._descriptor, self._notice, NOTICE_AFTER)
                if os.stat(self.path).st_ino == self._inode:
                    return
            except FileNotFoundError:
                pass  # deleted: opened anew below, like one that was replaced
            except OSError as error:
                self._close()
                raise LockError("cannot lock %s: %s" % (self.path, error.strerror)) from None
            self._close()

    def _close(self):
        """Close the file, which gives up the lock if we have it."""
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)

    def _open(self):
        try:
            make_folder(os.path.dirname(self.path))
            try:
                self._descriptor = open_private(self.path, os.O_RDWR)
            except FileNotFoundError:
                self._descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT)
            self._inode = os.fstat(self._descriptor).st_ino
        except OSError as error:
            if self._descriptor is not None:
                self._close()
            raise LockError("cannot open the lock %s: %s; the queue's folder must be writable"
                            % (self.path, error.strerror)) from None

    def read_hint(self, slot):
        """The hint of job file number `slot`; a fresh one, which fits no file, if there is none that reads right."""
        content = pread(self._descriptor, _HINT.size, slot * _SLOT)
        if len(content) == _HINT.size:
            fields = _HINT.unpack(content)
            if fields[0] == _MAGIC and fields[-1] == sum(fields[1:-1]) % _MODULUS:
                hint = Hint(*fields[1:9])
                hint.counts, hint.boot = fields[9:13], fields[13]
                return hint
        return Hint(new_gen())

    def write_hint(self, slot, hint):
        """Keep a hint. Raises OSError."""
        fields = (hint.gen, hint.ring_no, hint.inode, hint.size, hint.mtime, hint.intent, hint.intent_end, hint.last_created, *hint.counts,
                  hint.boot)
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
