"""What the last change left of a job file, kept inside the lock's file: whether we were the last to change it.

The notes say what the file was after the last change (inode, size, time), how many jobs are in each state, where an append began that has
not ended (the *intent*), and the places of the last changes (the *ring*). A file that they fit was last changed by us, and need not be
checked: `JobFile.begin` decides by them. Which layout a file is in is another question (`recognition`).

What it promises: notes only save work. Without them, or with ones that do not fit, the whole file is looked at, and nothing else is lost.
They are never synced to the disk but where `job_file` says so, and those of another boot are not believed: a power cut may bring older
bytes back under the inode, the size and the time of newer ones. docs/storage.md has their layout.
"""
from __future__ import annotations

import errno
import os
import struct

from core.system import boot_id
from storage.layout import END

# Magic, generation, change_number, inode, size, mtime (ns), intent, intent_end, last created_at (µs), four counts, boot, and a check sum.
_NOTES = struct.Struct("<8s14Q")
_MAGIC = b"QUEUECT3"
_MODULUS = (1 << 64) - 59  # a prime, so that no bit of a sum goes unseen
_64_BITS = (1 << 64) - 1
_PAGE = 4096
RING = 4096  # changed places remembered
_SLOT = _PAGE + 8 * RING
BEHIND_NOTES = 2 * _SLOT  # where the lock's file has room for other things (`tally`)

MISSING = (0, 0, 0)  # the key of a file that is not there


class Replaced(Exception):
    """Someone else replaced or changed the file while it was being changed: look again and redo."""


def file_key(stat):
    """What tells one state of a file from another, as (inode, size, time): as much of it as notes can hold. Windows has file systems with
    inodes of 128 bits, and there are times before 1970."""
    return (stat.st_ino & _64_BITS, stat.st_size, max(0, stat.st_mtime_ns))


class Notes:
    """The notes of job file number `slot`, read and written under the lock.

    `generation` is a new random number whenever places of records may have moved; `change_number` counts changed places; `counts` says how
    many records are in each state; `intent` is where an append that has not ended began, else 0; `boot` is the start of the machine in
    which they were written, and `this_boot` the one of now (0 where the system does not tell).
    """

    def __init__(self, lock, slot):
        self._lock = lock
        self._start = slot * _SLOT
        self.this_boot = int.from_bytes(boot_id().encode("ascii")[:8], "little")
        self._set(0)

    def _set(self, generation, change_number=0, inode=0, size=0, mtime=0, intent=0, intent_end=0, last_created=0, *counts_and_boot):
        self.generation = generation
        self.change_number = change_number
        self.inode = inode
        self.size = size
        self.mtime = mtime
        self.intent = intent
        self.intent_end = intent_end
        self.last_created = last_created
        *self.counts, self.boot = counts_and_boot or (0, 0, 0, 0, 0)

    def read(self):
        """Take over what was last written; fresh notes, which fit no file, if that does not read right."""
        content = self._lock.read(_NOTES.size, self._start)
        if len(content) == _NOTES.size:
            magic, *fields, check = _NOTES.unpack(content)
            if magic == _MAGIC and check == sum(fields) % _MODULUS:
                self._set(*fields)
                return
        self._set(0)
        self.begin_generation()

    def write(self):
        """Keep the notes. Raises OSError."""
        fields = (self.generation, self.change_number, self.inode, self.size, self.mtime, self.intent, self.intent_end, self.last_created,
                  *self.counts, self.boot)
        self._lock.write(_NOTES.pack(_MAGIC, *fields, sum(fields) % _MODULUS), self._start)

    def begin_generation(self):
        """Let nobody believe the places that he knows."""
        self.generation = int.from_bytes(os.urandom(7), "little")

    def note_as_ours(self, counts, last_created):
        """Say that a file with so many jobs in each state is ours, with all places new; nothing is written yet."""
        self.begin_generation()
        self.counts = counts
        self.intent = 0
        self.last_created = max(self.last_created, last_created)

    def forget(self):
        """Fit no file. Raises OSError."""
        self.inode = 0
        self.write()

    @property
    def are_of_this_boot(self):
        """Whether they were written since the machine was started."""
        return self.boot == self.this_boot

    def fit(self, key):
        """Whether the file with this key is as the last change left it."""
        return key == (self.inode, self.size, self.mtime)

    # -- changes

    @property
    def end(self):
        """Just behind the last record: where the closing bracket's line starts."""
        return self.size - len(END)

    @property
    def version(self):
        """What `changes_since` needs to know later: generation, number of changes, end."""
        return (self.generation, self.change_number, self.size - len(END))

    def add_changes(self, places):
        """Remember that the records at these places were changed. More than the ring holds are not worth it: all will be looked at."""
        try:
            self._write_places(places)
        except OSError:  # a full disk: let the others look again at everything
            self.begin_generation()
        self.change_number += len(places)

    def _write_places(self, places):
        if len(places) >= RING:
            raise OSError(errno.EOVERFLOW, "too many places")
        at = self.change_number % RING
        content = struct.pack("<%dQ" % len(places), *places)
        room = 8 * (RING - at)
        self._lock.write(content[:room], self._start + _PAGE + 8 * at)
        if len(content) > room:
            self._lock.write(content[room:], self._start + _PAGE)

    def changes_since(self, version):
        """The places changed since that version, or None if that is not known and the whole file must be looked at."""
        if version == self.version:
            return ()
        generation, number, end = version
        if generation != self.generation or not 0 <= self.change_number - number <= RING or end > self.end:
            return None
        return self.places(number)

    def places(self, first):
        """The changed places from number `first` on; at most RING of them are known."""
        if first == self.change_number:
            return []
        ring = self._lock.read(8 * RING, self._start + _PAGE).ljust(8 * RING, b"\0")
        numbers = range(first, self.change_number)
        return [int.from_bytes(ring[number % RING * 8:number % RING * 8 + 8], "little") for number in numbers]
