"""One job file under the lock, as it is open: opened if it is another one, read by place, and noted as we have left it.

It changes no byte of the file: `replaceable_file` and `job_file` do.

The clock for files may stand still for some milliseconds, so that two writes have one time. So behind each change of ours, once it is
noted, the file's time is set back by the least step there is: a write that is not noted leaves another time. Where it cannot be set, no
note fits the file while it is changed.
"""
from __future__ import annotations

import errno
import os
import stat

from core.errors import storage_error
from core.system import open_as_allowed, pread, set_mtime
from storage.file_lock import Look
from storage.layout import WIDTH, find_ids, pending_records, read_lines
from storage.notes import MISSING, RING, Notes, Replaced, file_key


_PIECE = 16384  # bytes that are read at once where records are looked at one by one: some 40 of them
_BEFORE = 2048  # of these, how many lie before the line that is wanted: line 1, most often


class NotedFile:
    """What `JobFile` knows of its file: the notes of the last change, the file as it is open, and the changes that it is asked for."""

    def __init__(self, path, lock, slot):
        self.path = path
        self.notes = Notes(lock, slot)
        self._lock = lock
        self._descriptor = None  # stays open between operations; its inode cannot be used again meanwhile
        self._is_read_only = False  # it is open to be read alone
        self._seen = MISSING  # the file's key when it was opened, or last changed by us
        self._step = None  # how many nanoseconds the mark of a change sets the file's time back; 0 if it cannot be set, None: not tried
        self._foreign = None  # the ForeignFile that is open, if it is not in our layout
        self._new = {}  # place: the line 2 that is to be written there
        self._piece = (0, b"")  # what `_read` has read last in this operation: where it begins, its bytes
        self._changed = []  # places changed since it was opened

    def __del__(self):
        self._close()

    def _close(self):
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open_current(self, to_look=False):
        """Open the file that the path names now, unless it still is open; its key. One that cannot be written will do `to_look`."""
        try:
            key = file_key(os.stat(self.path))
            if self._descriptor is None or self._seen[0] != key[0] or (self._is_read_only and not to_look):
                self._close()
                self._descriptor, writable = open_as_allowed(self.path, to_look)
                self._is_read_only = not writable
                status = os.fstat(self._descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(errno.EINVAL, "it is no file, as a job file must be")
                key = file_key(status)
            self._seen = key
        except FileNotFoundError:
            self._close()
            refuse_link(self.path)
            self._seen = MISSING
        except OSError as error:
            self._close()
            raise storage_error("open", self.path, error) from None
        return self._seen

    @property
    def is_open(self):
        """Whether there is a file, and it is open."""
        return self._descriptor is not None

    @property
    def is_in_our_layout(self):
        """Whether the open file is in our layout, so that there are places in it."""
        return self._foreign is None

    @property
    def version(self):
        """What `changes_since` needs to know later: generation, number of changes, end."""
        generation, number, end = self.notes.version
        return (generation, number + len(self._changed), end)

    @property
    def fingerprint(self):
        """Another value once the open file is another one or was changed, whoever did it."""
        return self.version + (() if self.is_in_our_layout else self._seen)

    @property
    def has_changes(self):
        """Whether `put` was asked for changes that are not made yet."""
        return bool(self._changed)

    def counts_agree(self):
        """Whether the records in each state are as many as is noted."""
        with self.view(locked=True) as view:
            return view.count() == view.recount()

    # -- reading

    def last_changed(self):
        """The places that were changed last, ascending; as many as are known, and none in another layout than ours."""
        return sorted(set(self.notes.places(max(0, self.notes.change_number - RING)))) if self.is_in_our_layout else []

    def pending_since(self, version, groups=()):
        """The pending records that were added since `version`, as `pending_records` gives them."""
        return pending_records(self._descriptor, self.notes.end, _behind(version), groups=groups) if self.notes.end > version[2] else ()

    def ids_since(self, version, wanted):
        """The records that were added since `version` and have one of the `wanted` ids, as `find_ids` takes and gives them."""
        return find_ids(self._descriptor, self.notes.end, wanted, _behind(version)) if wanted and self.notes.end > version[2] else ()

    def _read(self, start, size):
        """So many bytes of the file, and what lies around them: the records that one change looks at lie close together, and each read
        lets another thread have the interpreter. It is forgotten when an operation begins, and when the file is noted behind a change."""
        begin, piece = self._piece
        if not begin <= start <= begin + len(piece) - size:
            begin = max(0, start - _BEFORE)
            piece = pread(self._descriptor, max(_PIECE, start - begin + size), begin)
            self._piece = (begin, piece)
        return piece[start - begin:start - begin + size]

    def line2(self, place):
        """The line 2 at a place, or None if no record has its line 2 there."""
        if self._descriptor is None or not 2 < place <= self.notes.end - WIDTH:
            return None
        content = self._read(place - 2, WIDTH + 2)
        if not (content.startswith(b',\n "state": "') and content.endswith(b"}")):
            return None
        return self._new.get(place) or content[2:]

    def lines(self, place):
        """Line 1 and line 2 at a place, or None if no record has its line 2 there."""
        line2 = self.line2(place)
        return None if line2 is None else (read_lines(self._read, place)[0], line2)

    def view(self, locked=False, since=None):
        """A View of the file as it is now, or of what was added `since` a version; the caller closes it. `locked` says that it is done with
        before the lock is released."""
        if self._foreign is not None and self._foreign.copy is not None:
            return self._foreign.view()
        from storage.view import View
        lock = None if locked else Look(self._lock)
        if self._descriptor is None:
            return View(lock, self.path, None, 0)
        start = 2 if since is None else _behind(since)
        return View(lock, self.path, os.dup(self._descriptor), self.notes.end, self.notes.counts, start)

    # -- noting

    def _note_state(self, size=None, back=0):
        """Note what the file is now, but for its time, which is to be set `back` by so much; whether that could be done. Raises Replaced if
        the path names another file by now, or if its size is not `size`: an editor has saved, and what was written is gone or may be."""
        notes = self.notes
        try:
            key = file_key(os.stat(self.path))
        except FileNotFoundError:
            raise Replaced from None
        if key[0] != self._seen[0] or (size is not None and key[1] != size):
            raise Replaced
        self._seen, self._piece = key, (0, b"")
        notes.inode, notes.size, notes.mtime = key[0], key[1], max(0, key[2] - back)
        notes.boot = notes.this_boot
        try:
            notes.write()
        except OSError:
            return False  # a full disk: the next one checks the whole file, no more
        return True

    def _note_change(self, size=None):
        """Note what we have made of the file, as `_note_state` does, then mark it: whatever is written from now on, within the same tick of
        the clock too, leaves another time than the noted one. (Marked before it is noted, it could look like the change before.)"""
        self._learn_step()
        if self._note_state(size, back=self._step) and self._step:
            try:
                set_mtime(self._descriptor, self.notes.mtime)
                self._seen = self._seen[:2] + (self.notes.mtime,)
            except OSError:
                self._step = 0

    def _announce_change(self):
        """Before the first write of a change: where files can bear no mark, let no note fit this one until the change is noted."""
        self._learn_step()
        if not self._step:
            self.notes.forget()

    def _learn_step(self):
        """Find out, once, what is to be done where the open file is (see `_step`). No note fits the file while this is tried."""
        if self._step is not None:
            return
        try:
            before = os.fstat(self._descriptor).st_mtime_ns
            set_mtime(self._descriptor, before - 1)
            self._step = max(0, before - os.fstat(self._descriptor).st_mtime_ns)
        except OSError:
            self._step = 0


def _behind(version):
    """Where the first record begins that was added since a version, if any was."""
    return version[2] + (1 if version[2] == 1 else 2)


def refuse_link(path):
    """Raise StorageFault for a path without a file that is a link: one that leads nowhere."""
    if os.path.islink(path):
        raise storage_error("open", path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
