"""One job file under the lock, replaced whole: by other records, or by none.

What it promises: all or nothing, whatever is killed. The new file is written beside the old one and is on the disk before it takes its
name, with the same owner and mode. A save of someone else in the meantime is not overwritten.

What changes some bytes of the file in place is `job_file`.
"""
from __future__ import annotations

import os

from core.errors import ALL, NOTHING, PART, StorageFault, storage_error
from core.job import STATES
from core.system import pread, pwrite, remove_quietly, replace, short_write, sync_folder, write_beside
from storage.layout import EMPTY, counted, file_of
from storage.noted_file import NotedFile
from storage.notes import Replaced


class ReplaceableFile(NotedFile):
    """A job file that can be replaced whole. `durable` says whether its new name is synced, too; what it holds always is."""

    def __init__(self, path, lock, slot):
        super().__init__(path, lock, slot)
        self.durable = True
        self.stored = NOTHING  # of the changes that were asked for since it was opened
        self.unconfirmed = None  # the OSError of a folder that could not be synced behind a rewrite

    def rewrite(self, rows, last_created=0):
        """Replace the whole file by these records (rows as `lay_out` takes them): all or nothing. Raises Replaced, StorageFault."""
        counts = [0] * len(STATES)
        self._replace_by(file_of(counted(rows, counts)), counts, last_created)

    def clear(self):
        """Remove all records; on a full disk in place: a crash then leaves a file that is refused, with all in it. Raises as `rewrite`."""
        former = self._seen
        try:
            self.rewrite(())
        except StorageFault as fault:
            if not fault.lacks_space:
                raise
            if self._open_current() != former:  # it was closed if the new file was about to take its name
                raise Replaced from None
            if self._descriptor is None:
                return  # what is not there holds no record
            before = pread(self._descriptor, len(EMPTY), 0)
            try:
                write_all(self._descriptor, EMPTY, 0)
                os.ftruncate(self._descriptor, len(EMPTY))
            except OSError as error:
                self.stored = restore(self._descriptor, [(0, before, EMPTY)])
                raise storage_error("empty", self.path, error) from None
            self.stored = ALL
            self._note_as_ours([0] * len(STATES), 0)

    def _replace_by(self, pieces, counts, last_created):
        """Replace the whole file by these bytes; then so many of its jobs are in each state, and the last one was created then."""
        from storage.foreign import look_at
        try:
            new = write_beside(self.path, pieces)
            inode = os.stat(new).st_ino
            if look_at(self.path)[0] != self._seen:
                raise Replaced  # an editor has saved meanwhile, perhaps in place
            self._close()  # Windows replaces no open file
            replace(new, self.path)
            self.stored = ALL
            try:
                if self.durable:
                    sync_folder(os.path.dirname(self.path))
            except OSError as error:  # all is stored, and whoever confirms it tells
                self.unconfirmed = error
            if self._open_current()[0] != inode:
                raise Replaced
        except OSError as error:
            raise storage_error("rewrite", self.path, error) from None
        finally:
            remove_quietly(self.path + ".new")
        self._note_as_ours(counts, last_created)

    def _note_as_ours(self, counts, last_created):
        """Note that the open file, as we have left it, is in our layout, with all places new."""
        self._foreign = None
        self.notes.note_as_ours(counts, last_created)
        self._note_change()


def write_all(descriptor, content, offset):
    """One write; one that falls short is not continued. Raises OSError."""
    written = pwrite(descriptor, content, offset)
    if written != len(content):
        raise short_write(offset + len(content), "the disk took %d of %d bytes" % (written, len(content)))


def restore(descriptor, written):
    """Undo a change in place, or as much of it as can be: how much of it is left. `written` has (offset, old bytes, new bytes)."""
    try:
        for start, old, _ in written:
            pwrite(descriptor, old, start)
        return NOTHING
    except OSError:
        pass  # the first error is the one to tell
    try:
        new = [pread(descriptor, len(after), start) == after for start, _, after in written]
    except OSError:
        return PART  # or not: nobody can tell
    return ALL if all(new) else PART if any(new) else NOTHING
