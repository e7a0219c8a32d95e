"""One job file under the lock: opened, added to, changed in place. `replaceable_file` replaces it whole.

The layout is `layout`'s, `notes` tell whether a file is ours, and `foreign` looks at one that is not. Here is what makes a change safe
whatever is killed, and when (docs/storage.md has the measurements):

- A change writes from the first record's line 2 to the last one's at once, if they are close, with what lies between as it is. No line 2
  is ever torn, and a kill leaves each of them as it was or as it is to be. Right before it the file's time and size are looked at again.
- An append is one write over the closing bracket. Where it begins is noted before (the *intent*), so that whoever comes next takes back
  one that was cut short; without the note it is known by its shape.
- A file that is not as the notes say was written by someone else: it is left alone until it has held still, then checked whole. What is
  not an array of jobs is refused and never overwritten. Another layout is read as it is and rewritten at the next change.
- Before each change and after it the inode of the open file is compared with the path's: an editor may have replaced it.
- A write that failed or fell short is undone. Who wants to say that something is stored syncs the file first, after unlocking.
"""
from __future__ import annotations

import os

from core.errors import ALL, NOTHING, storage_error
from core.system import OPEN_FILES_MOVE, pread, sync
from core.times import micros_of
from storage.layout import CHUNK, EMPTY, END, STATE_AT, WIDTH, counted, lay_out, recounted
from storage.notes import MISSING, Replaced, file_key
from storage.replaceable_file import ReplaceableFile, restore, write_all

_COMPARED = 3 if OPEN_FILES_MOVE else 2  # parts of a file's key that its open descriptor tells: Windows may be late with the time
# Bytes between two changed records at the most that are written together: each write gives up the interpreter's lock, and with one for
# each record 8 threads that run `true` do a tenth fewer jobs.
_GAP = 4096


class JobFile(ReplaceableFile):
    """One job file. All methods but `inspect` are called with the lock held and the file opened by `OpenFiles`.

    `warn(message)` is called when a torn tail was cut off, `progress` is as for `Store`. `allow_duplicate_keys` says that several records
    may have one key.
    """

    def __init__(self, path, lock, slot, warn, progress=None, allow_duplicate_keys=False):
        super().__init__(path, lock, slot)
        self._allow_duplicate_keys = allow_duplicate_keys
        self._warn = warn
        self._progress = progress
        self._looker = None  # an Inspector, once one is needed

    @property
    def _inspector(self):
        if self._looker is None:
            from storage.foreign import Inspector  # an `enqueue` beside a file of ours would pay for its start
            self._looker = Inspector(self.path, self._warn, self._allow_duplicate_keys, self._progress)
        return self._looker

    # -- opening

    def begin(self, changes=None):
        """Open the file; False if it is not what the last change left: call `inspect` without the lock, then try again.

        With `changes`, a file that someone else wrote is brought into our layout if `changes(self)` says so."""
        notes = self.notes
        notes.read()
        self._foreign, self._new, self._changed, self.stored, self._piece = None, {}, [], NOTHING, (0, b"")
        key = self._open_current(to_look=changes is None)
        believed = notes.are_of_this_boot or key == MISSING
        if not believed:
            notes.intent = 0
        elif notes.intent:
            key = self._undo_unfinished_append(key)
        if believed and notes.fit(key):
            return True
        layout = self._inspector.layout_of(key)
        return layout is not None and self._begin_inspected(layout, changes)

    def _begin_inspected(self, layout, changes):
        from storage.foreign import ForeignFile, refuse_cut
        notes = self.notes
        if notes.are_of_this_boot:
            refuse_cut(self.path, layout, notes, self._behind_last)
        if layout.copy is None and not layout.torn:
            notes.note_as_ours(layout.counts, micros_of(layout.last_created))
            self._note_state()
            return True
        self._foreign = ForeignFile(self.path, layout, notes, self.durable)
        notes.size, notes.counts = layout.end + len(END), layout.counts
        if changes is not None and changes(self):
            if not self._inspector.may_be_changed():
                return False
            self._rewrite_foreign()
        return True

    def inspect(self):
        """Wait until a file that someone else wrote holds still, and check it whole. Raises CorruptFile, OSError. Call without the lock."""
        self._inspector.inspect()

    def _undo_unfinished_append(self, key):
        """Undo an append that was cut short; the file's key then. A complete append is kept; a note that belongs to another file (an
        editor's save; a power cut, where the system tells of no boots) is ignored."""
        notes = self.notes
        inode, size, _ = key
        start, notes.intent = notes.intent, 0
        if self._is_read_only or inode != notes.inode or size < start or size >= notes.intent_end:
            return key
        seen = pread(self._descriptor, 4, start - 1)
        undone = any((before + END[:-1]).startswith(seen) for before in (b"}", b"["))  # a part of the end, which undoing it writes
        if not (b"},\n{".startswith(seen) or b"[\n{".startswith(seen[:3]) or undone) or pread(self._descriptor, 3, max(0, size - 3)) == END:
            return key
        try:
            self._cut(start)
        except OSError as error:
            raise storage_error("mend", self.path, error) from None
        self._note_change()
        return self._seen

    def end_operation(self):
        """Close the file where an open one cannot be replaced; elsewhere it stays open, which saves a worker the next opening."""
        if not OPEN_FILES_MOVE:
            self._close()

    def keep(self):
        """A descriptor for the caller, who syncs and closes it once the lock is free; None if there is no file. Commits first."""
        self.commit()
        return None if self._descriptor is None else os.dup(self._descriptor)

    def is_current(self, descriptor):
        """Whether the path still names the file that is open as `descriptor`."""
        try:
            return os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False

    @property
    def damage(self):
        """What is wrong with the open file that the next change mends, as a sentence; None for nothing."""
        return None if self._foreign is None else self._foreign.damage

    def has_pending(self, wanted):
        """Whether a file that someone else wrote has a pending job for which `wanted(job)` holds; a torn one may have it."""
        return self._foreign.has_pending(wanted)

    def forget_notes(self):
        """Let whoever opens the file next check all of it. Raises OSError."""
        self._inspector.forget()
        self.notes.forget()

    # -- what someone else wrote

    def _rewrite_foreign(self):
        """Bring the file into our layout before it is changed: drop a torn tail, or rewrite what an editor left."""
        foreign = self._foreign
        if self._descriptor is None:
            self._foreign = None  # it is not there: `append` makes it
        elif foreign.layout.torn:
            self._cut_tail(foreign)
        else:
            as_it_is = (pread(self._descriptor, CHUNK, offset) for offset in range(0, self._seen[1], CHUNK))
            foreign.keep_dropped(as_it_is, self._warn)
            self._replace_by(foreign.copy.contents(), foreign.copy.counts, foreign.copy.last_created)

    def _behind_last(self, layout):
        """What stands behind the last whole record of a torn file."""
        return pread(self._descriptor, self._seen[1] - layout.end, layout.end)

    def _cut_tail(self, foreign):
        layout = foreign.layout
        try:
            foreign.keep_tail(self._behind_last(layout), self._warn)
            self._cut(layout.end)
            sync(self._descriptor)
        except OSError as error:
            raise storage_error("mend", self.path, error) from None
        self._note_as_ours(layout.counts, micros_of(layout.last_created))

    def replace_broken(self, jobs, content):
        """Replace a file that was refused, and whose bytes are `content`, by these jobs. Raises Replaced if it has changed meanwhile."""
        self.notes.read()
        self.stored = NOTHING
        self._open_current()
        if self._descriptor is None or pread(self._descriptor, len(content) + 1, 0) != content:
            raise Replaced
        copy = self._inspector.copy_of(jobs, self._seen)
        self._replace_by(copy.contents(), copy.counts, copy.last_created)

    def _cut(self, end):
        """Let the file end behind the record that ends there. Raises OSError."""
        os.ftruncate(self._descriptor, end)
        write_all(self._descriptor, END, end)

    # -- changing

    def put(self, place, line2):
        """Replace the line 2 at `place`, where there is one. `commit` does it; until then `line2` and `lines` alone tell of it."""
        self._new[place] = line2
        self._changed.append(place)

    def append(self, rows, last_created=0):
        """Add records, rows as `lay_out` takes them, in one write: all or none. Raises Replaced, StorageFault.

        `last_created` is the greatest created_at among them, in microseconds. Nothing is synced: see `keep`.
        """
        if self._descriptor is None:
            self.rewrite(rows, last_created)
            return

        def contents(start, is_first):
            content = lay_out(counted(rows, counts), start, is_first)
            return len(content), [content]

        counts = list(self.notes.counts)
        self._append(contents, counts, last_created)

    def append_laid(self, laid):
        """Add LaidRows: all or none. Raises Replaced, StorageFault."""
        if self._descriptor is None:
            self.rewrite(())
            self.stored = NOTHING  # of the jobs
        counts = [known + more for known, more in zip(self.notes.counts, laid.counts)]
        self._append(laid.contents, counts, laid.first + laid.count - 1)

    def _append(self, contents, counts, last_created):
        """Add the records that `contents(start, is_first)` gives, as (their size, their bytes in pieces); then `counts` holds."""
        notes = self.notes
        start = notes.end
        before = pread(self._descriptor, 5, start - 1)
        if before not in (b"}" + END, EMPTY):  # written by someone else within one tick of the clock
            self.forget_notes()
            raise Replaced
        size, pieces = contents(start, before == EMPTY)
        notes.intent, notes.intent_end = start, start + size + len(END)
        try:
            notes.write()
            at = start
            for piece in pieces:
                is_last = at + len(piece) == start + size
                write_all(self._descriptor, piece + END if is_last else piece, at)
                at += len(piece)
        except OSError as error:
            self._undo_append(start)
            raise storage_error("write", self.path, error) from None
        self.stored = ALL
        notes.intent = 0
        notes.counts = counts
        notes.last_created = max(notes.last_created, last_created)
        self._note_change(start + size + len(END))

    def commit(self):
        """Do what `put` was asked for, all or nothing, and make it known. Raises StorageFault, and Replaced if an editor has saved."""
        if not self._changed:
            return
        self._write_new()
        self.notes.add_changes(self._changed)
        self._changed = []
        self._note_change(self.notes.size)

    def _write_new(self):
        changes, self._new = self._new, {}
        pieces = [(places, pread(self._descriptor, places[-1] + WIDTH - places[0], places[0])) for places in _neighbours(sorted(changes))]
        if file_key(os.fstat(self._descriptor))[:_COMPARED] != self._seen[:_COMPARED]:
            raise Replaced
        written, before, after = [], bytearray(), bytearray()
        for places, old in pieces:
            start, new = places[0], bytearray(old)
            for place in places:
                new[place - start:place - start + WIDTH] = changes[place]
            letters = [place - start + STATE_AT for place in places]
            before += bytes(map(old.__getitem__, letters))
            after += bytes(map(new.__getitem__, letters))
            written.append((start, old, new))
        try:
            self._announce_change()
            for start, _, new in written:
                write_all(self._descriptor, new, start)
        except OSError as error:
            self._changed = []
            self.stored = restore(self._descriptor, written)
            raise storage_error("change", self.path, error) from None
        self.stored = ALL
        self.notes.counts = recounted(self.notes.counts, before, after)

    def _undo_append(self, start):
        """Back to what was there; if even that fails, the note of the intent stays for whoever comes next."""
        try:
            if os.fstat(self._descriptor).st_size != start + len(END):
                self._cut(start)
            else:  # no more than the end was written over; behind the limit on file sizes what was not written cannot be written now
                left = pread(self._descriptor, len(END), start)
                over = max([0] + [number for number in range(1, len(END) + 1) if left[number - 1:number] != END[number - 1:number]])
                write_all(self._descriptor, END[:over], start)
            self.notes.intent = 0
            self._note_change()
            self._lock.sync()  # lest a power cut bring the note back, and what is added next is taken for a torn append
        except (OSError, Replaced):
            self.stored = ALL if self._has_append() else NOTHING

    def _has_append(self):
        """Whether an append that could not be undone is whole nonetheless, so that whoever comes next lets it stand."""
        try:
            size = os.fstat(self._descriptor).st_size
            return size >= self.notes.intent_end and pread(self._descriptor, len(END), size - len(END)) == END
        except OSError:
            return False


def _neighbours(places):
    """Places (ascending) of records, in groups of those that are written together."""
    group: list = []
    for place in places:
        if group and place - group[-1] > WIDTH + _GAP:
            yield group
            group = []
        group.append(place)
    yield group
