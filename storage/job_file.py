"""A job file under the lock: opened, checked against the notes of the last change, and changed in place or replaced whole.

The layout is `job_format`'s; here is what makes a change safe whatever is killed, and when (PROTOCOL has the measurements):

- Records are changed by one write from the first one's line 2 to the last one's, with what lies between as it is: no line 2 is ever torn,
  and a kill leaves each of them as it was or as it is to be. Right before it the file's time and size are looked at once more.
- An append is one write over the closing bracket. Where it began is noted before (the hint's *intent*), so that whoever comes next
  takes back one that was cut short; without the note it is known by its shape.
- A file that is not as the hint says was written by someone else: it is left alone until it has held still, then checked whole.
  What is not an array of records is refused and never overwritten. Another layout is read as it is and rewritten at the next change.
- Before each change and after it the inode of the open file is compared with the path's: an editor may have replaced it.
- The clock for files may stand still for some milliseconds, so that two writes have one time. There, behind each change of ours and once it
  is noted, the file's time is set back by the least step there is: a write that is not noted leaves another time. Where it cannot be set,
  no note fits the file while it is changed.
- A write that failed or fell short is undone. Who wants to say that something is stored syncs the file first, after unlocking.
"""
from __future__ import annotations

import errno
import os
import time
from functools import partial

from core.errors import ALL, NOTHING, PART, CorruptFile, StorageFault, storage_error
from core.job import COLUMN_NAMES, STATES
from core.system import (OPEN_FILES_MOVE, has_exact_times, keep_owner, open_private, pread, pwrite, remove_file, replace, set_mtime, sync,
                         sync_folder)
from core.times import micros_of
from storage.file_lock import RING, new_gen
from storage.foreign import fault_sentences, keep_beside, with_created_at
from storage.layout import (CHUNK, EMPTY, END, STATE_AT, WIDTH, counted, encode_line1, encode_line2, find_ids, lay_out, pending_records,
                            read_lines, recounted)
from storage.recognition import Layout, check_canonical, parse_any
from storage.view import View

_SETTLED = 0.2  # seconds that a strange file must have held still; an editor that truncates first shows an empty one for a moment
_PATIENCE = 5.0  # seconds that one that is empty or torn must have held still before it is changed: who writes it may be slow
_MISSING = (0, 0, 0)
_COMPARED = 3 if OPEN_FILES_MOVE else 2  # parts of a file's key that its open descriptor tells: Windows may be late with the time
_GAP = 4096  # bytes between two changed records at the most that are written together


class Replaced(Exception):
    """Someone else replaced or changed the file while it was being changed: look again and redo."""


def _write_all(descriptor, content, offset):
    """One write; one that falls short means a full disk and is not continued."""
    written = pwrite(descriptor, content, offset)
    if written != len(content):
        raise OSError(errno.ENOSPC, "the disk took %d of %d bytes" % (written, len(content)))


_64_BITS = (1 << 64) - 1


def _key(stat):
    # As much of it as a note can hold: Windows has file systems with numbers of 128 bits, and there are times before 1970.
    return (stat.st_ino & _64_BITS, stat.st_size, max(0, stat.st_mtime_ns))


class JobFile:
    """One job file. All methods but `inspect` are called with the lock held and the file opened by `OpenFiles`.

    `decode(record)` turns a record's object into a namedtuple with `fields()` (line 1), `progress()` (line 2), `key` and `created_at`
    ("" if it has none), or raises QueueError; `decode(record, faults=[], typed=True)` adds what is wrong with that job alone to the
    list instead, as `Fault`s of `job`. `warn(message)` is called when a torn tail was cut off. `allow_duplicate_keys` says that
    several records may have one key. `durable` says whether the name of a rewritten file is synced, too; what it holds always is.
    """

    def __init__(self, path, lock, slot, decode, warn, allow_duplicate_keys=False):
        self.path = path
        self._allow_duplicate_keys = allow_duplicate_keys
        self.durable = True
        self._lock = lock
        self._slot = slot
        self._decode = decode
        self._warn = warn
        self._descriptor = None  # stays open between operations; its inode cannot be used again meanwhile
        self._inode = 0
        self._seen = _MISSING  # the file's key when it was opened, or last changed by us
        self._hint = None
        self._checked = None  # (key, Layout, seconds it had held still) of the last check of a file that someone else wrote
        self._patient = False  # whether `inspect` is to wait longer, since the file is to be changed
        self._foreign = None  # the Layout of the open file where it is not ours
        self._cause = ""  # why that one is torn, as far as it is known
        self._held = 0  # how many jobs were in it before, as far as it is known
        # How far back the mark of a change sets the file's time, in nanoseconds; 0 where times are exact and none is needed, -1 where it
        # cannot be set, None before it was tried.
        self._step = None
        self._new = {}  # place: the line 2 that `commit` is to write there
        self._changed = []  # places changed since it was opened
        self.stored = NOTHING  # of the changes that were asked for since it was opened
        self.unconfirmed = None  # the OSError of a folder that could not be synced behind a rewrite

    def __del__(self):
        self._close()

    # -- opening

    def begin(self, changes=None):
        """Open the file; False if it is not what the last change left: call `inspect` without the lock, then try again.

        With `changes`, a file that someone else wrote is brought into our layout if `changes(self)` says so."""
        self._hint = hint = self._lock.read_hint(self._slot)
        self._foreign = None
        self._new, self._changed = {}, []
        self.stored = NOTHING
        key = self._open_current()
        # A power cut may leave older bytes under the inode, the size and the time of newer ones.
        believed = hint.boot == self._lock.boot or key == _MISSING
        if not believed:
            hint.intent = 0
        elif hint.intent:
            key = self._undo_unfinished_append(key)
        if believed and key == (hint.inode, hint.size, hint.mtime):
            return True
        if self._checked is None or self._checked[0] != key:
            return False
        layout = self._checked[1]
        if hint.boot == self._lock.boot:
            self._refuse_cut(layout)
        if layout.records is None and not layout.torn:
            self._note_as_ours(layout.counts, micros_of(layout.last_created))
            self._note_state()
            return True
        self._foreign, self._cause, self._held = layout, self._why_torn(layout), sum(hint.counts)
        hint.size, hint.counts = layout.end + len(END), layout.counts
        if changes is not None and changes(self):
            if layout.unfinished and self._checked[2] < _PATIENCE:
                self._patient = True
                return False
            self._rewrite_if_foreign()
        return True

    def _refuse_cut(self, layout):
        """Raise CorruptFile for a file that ends too early, if no power cut can be why: then it was not we who cut it. A closed array that
        is shorter than it was is an edit."""
        before, end, left = sum(self._hint.counts), self.end, sum(layout.counts)
        tail = pread(self._descriptor, self._seen[1] - layout.end, layout.end) if layout.torn and layout.end < end else b"]"
        if tail.strip(b"\0\n") != b"]":
            place = (1 + 2 * left + tail.count(b"\n"), len(tail) - tail.rfind(b"\n"))
            fault = "the file ends within the array, with %d of the %d jobs that were in it" % (left, before)
            remedy = "write all of it again, or let 'queuectl doctor --repair' keep what is there"
        elif layout.blank and before:
            place = (1, 1)
            fault = "the file is empty, and %d job%s in it" % (before, " was" if before == 1 else "s were")
            remedy = "write it again, or write [] to start afresh"
        else:
            return
        error = CorruptFile("%s, line %d, column %d: %s; another program cut it short, and nothing was changed: %s"
                            % ((self.path,) + place + (fault, remedy)))
        error.path = self.path
        raise error

    def _why_torn(self, layout):
        """How the end of a torn file came about, as far as the notes tell."""
        hint = self._hint
        if not hint.size:
            return "as a crash leaves it while jobs are added"
        if hint.boot == self._lock.boot:
            return "as another program left it" if hint.boot else "as a crash or another program leaves it"
        known = self.durable and layout.end >= self.end
        return "as a power cut leaves it while jobs are added" + " (they were never said to be added)" * known

    @property
    def is_ours(self):
        """Whether the open file is in our layout, so that there are places in it."""
        return self._foreign is None

    def has_pending(self, wanted):
        """Whether a file that someone else wrote has a pending job for which `wanted(job)` holds. One that is torn may have it, too."""
        if self._foreign.records is None:
            return bool(self._foreign.counts[0])
        return any(job.state == STATES[0] and wanted(job) for job in self._foreign.records)

    def _open_current(self):
        """Open the file that the path names now, unless it still is open; its key."""
        try:
            key = _key(os.stat(self.path))
            if self._descriptor is None or self._inode != key[0]:
                self._close()
                self._descriptor = open_private(self.path, os.O_RDWR)
                key = _key(os.fstat(self._descriptor))
                self._inode = key[0]
            self._seen = key
            return key
        except FileNotFoundError:
            self._close()
            self._refuse_link()
            self._seen = _MISSING
            return _MISSING
        except OSError as error:
            raise storage_error("open", self.path, error) from None

    def _refuse_link(self):
        if os.path.islink(self.path):  # one that leads nowhere
            raise storage_error("open", self.path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))

    def _undo_unfinished_append(self, key):
        """Undo an append that was cut short. One that is whole (only its note was left) stays, and so does all that a note names
        which does not belong to this file: one from before an editor's save, or, where the system tells of no boots, a power cut."""
        hint = self._hint
        inode, size, _ = key
        start, hint.intent = hint.intent, 0
        if inode != hint.inode or size < start or size >= hint.intent_end:
            return key
        seen = pread(self._descriptor, 4, start - 1)
        undone = any((before + END[:-1]).startswith(seen) for before in (b"}", b"["))  # a part of the end, which undoing it writes
        if not (b"},\n{".startswith(seen) or b"[\n{".startswith(seen[:3]) or undone) or pread(self._descriptor, 3, max(0, size - 3)) == END:
            return key
        try:
            os.ftruncate(self._descriptor, start)
            _write_all(self._descriptor, END, start)
        except OSError as error:
            raise storage_error("mend", self.path, error) from None
        self._note_change()
        return self._seen

    def inspect(self):
        """Wait until the file has held still for 200 ms, or for some seconds before an empty or a torn one is changed, then check it whole.
        Raises CorruptFile. Call without the lock.

        A time of its own that is older stands for having held still. For an empty file that is so after 200 ms: its size may change before
        its time. A time in whole seconds may have been two seconds old when it was written."""
        wanted, self._patient = _PATIENCE if self._patient else _SETTLED, False
        key, since, told = None, time.monotonic(), False
        while True:
            now, age = self._look()
            if now != key:
                key, since = now, time.monotonic()
            still = time.monotonic() - since
            if key[1] or still >= _SETTLED:
                still = max(still, age - (2 if key[2] % 10 ** 9 == 0 else 0))
            if still >= _SETTLED:
                layout = self._checked_layout(key, still)
                if layout is None or still >= wanted or not layout.unfinished:
                    return
                if not told:
                    told = True
                    self._warn("waiting for %s, which is empty or ends too early, as while someone saves it: it is changed once it has "
                               "held still for %g seconds" % (self.path, _PATIENCE))
            time.sleep(0.02)

    def _checked_layout(self, key, still):
        """The Layout of the file with that key, which has held still for so long; None if it has changed."""
        known = self._checked[1] if self._checked is not None and self._checked[0] == key else None
        layout = known or self._check(key)
        if layout is not None:
            self._checked = (key, layout, still)
        return layout

    def _look(self):
        """The file's key, and how long ago it was last written by the wall clock, in seconds."""
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            self._refuse_link()
            return _MISSING, 0
        except OSError as error:
            raise storage_error("read", self.path, error) from None
        return _key(stat), time.time() - stat.st_mtime

    def _check(self, key):
        """The Layout of the file with that key, or None if it changed meanwhile."""
        if key == _MISSING:
            return Layout(1, records=[])
        try:
            descriptor = open_private(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error("open", self.path, error) from None
        with os.fdopen(descriptor, "rb") as file:
            if _key(os.fstat(descriptor)) != key:
                return None
            layout = check_canonical(descriptor, key[1], self._decode, self._allow_duplicate_keys)
            if layout is None:
                file.seek(0)
                content = file.read()
                faults: list = []
                try:
                    jobs = parse_any(self.path, content, partial(self._decode, faults=faults))
                except CorruptFile:
                    if _key(os.fstat(descriptor)) == key:
                        raise
                    return None
                jobs = with_created_at(jobs, key[2] // 1000, self._allow_duplicate_keys)
                layout = Layout(1, records=jobs, faults=faults, blank=not jobs and b"[" not in content)
            return layout if _key(os.fstat(descriptor)) == key else None

    def _close(self):
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def end_operation(self):
        """The end of an operation. Where the file can be replaced nonetheless it stays open, which saves a worker the next opening."""
        if not OPEN_FILES_MOVE:
            self._close()

    def keep(self):
        """A descriptor for the caller, who syncs and closes it once the lock is free; None if there is no file."""
        self.commit()
        return None if self._descriptor is None else os.dup(self._descriptor)

    def is_current(self, descriptor):
        """Whether the path still names the file that is open as `descriptor`."""
        try:
            return os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False

    # -- reading

    @property
    def end(self):
        """Just behind the last record: where the closing bracket's line starts."""
        return self._hint.size - len(END)

    @property
    def version(self):
        """What `changes_since` needs to know later: generation, number of changes, end."""
        return (self._hint.gen, self._hint.ring_no + len(self._changed), self.end)

    @property
    def fingerprint(self):
        """Another value once the open file is another one or was changed, whoever did it."""
        return self.version + (() if self.is_ours else self._seen)

    @property
    def generation(self):
        """The generation: another one once places may have moved."""
        return self._hint.gen

    @property
    def has_changes(self):
        """Whether `put` was asked for changes that are not made yet."""
        return bool(self._changed)

    def version_after_own_changes(self, version):
        """That version, which was the version when the file was opened, behind the changes that were made since with `put`."""
        return (version[0], self._hint.ring_no, version[2])

    @property
    def last_created(self):
        """The greatest created_at so far, in microseconds since the epoch."""
        return self._hint.last_created

    def changes_since(self, version):
        """The places changed since `version`, or None if that is not known and the whole file must be looked at."""
        hint = self._hint
        if version == (hint.gen, hint.ring_no, hint.size - len(END)):
            return ()
        gen, ring_no, end = version
        if gen != hint.gen or not 0 <= hint.ring_no - ring_no <= RING or end > self.end:
            return None
        return self._lock.places(self._slot, ring_no, hint.ring_no) if ring_no != hint.ring_no else []

    def last_changed(self):
        """The places that were changed last, ascending; as many as are known, and none in another layout than ours."""
        last = self._hint.ring_no if self._foreign is None else 0
        return sorted(set(self._lock.places(self._slot, max(0, last - RING), last)))

    def pending_since(self, version):
        """The pending records that were added since `version`, as `pending_records` gives them."""
        return pending_records(self._descriptor, self.end, _behind(version)) if self.end > version[2] else ()

    def ids_since(self, version, wanted):
        """The records that were added since `version` and have one of the `wanted` ids, as `find_ids` takes and gives them."""
        return find_ids(self._descriptor, self.end, wanted, _behind(version)) if wanted and self.end > version[2] else ()

    def line2(self, place):
        """The line 2 at a place, or None if no record has its line 2 there."""
        if self._descriptor is None or not 2 < place <= self.end - WIDTH:
            return None
        content = pread(self._descriptor, WIDTH + 2, place - 2)
        if not (content.startswith(b',\n "state": "') and content.endswith(b"}")):
            return None
        return self._new.get(place) or content[2:]

    def lines(self, place):
        """Line 1 and line 2 at a place, or None if no record has its line 2 there."""
        line2 = self.line2(place)
        return None if line2 is None else (read_lines(self._descriptor, place)[0], line2)

    @property
    def damage(self):
        """What is wrong with the open file that the next change mends, as a sentence; None for nothing."""
        if self._foreign is None:
            return None
        if self._foreign.torn:
            return ("%s ends in the middle of a record, as a crash leaves it; the next change cuts that off and keeps the bytes beside it"
                    % self.path)
        if self._foreign.faults:
            return "%s: %s" % (self.path, fault_sentences(self._foreign.faults))
        return None

    def view(self, locked=False, since=None):
        """A View of the file as it is now, or of what was added `since` a version; the caller closes it. `locked` says that it is done with
        before the lock is released."""
        lock = None if locked else self._lock
        if self._foreign is not None and self._foreign.records is not None:
            parsed = [dict(job.fields(), **dict(zip(COLUMN_NAMES, job.progress()))) for job in self._foreign.records]
        elif self._descriptor is None:
            parsed = []
        else:
            start = 2 if since is None else _behind(since)
            return View(lock, self.path, os.dup(self._descriptor), self.end, None, self._hint.counts, start)
        return View(lock, self.path, None, 0, parsed)

    # -- changing

    def _rewrite_if_foreign(self):
        """Bring the file into our layout before it is changed: drop a torn tail, or rewrite what an editor left."""
        foreign = self._foreign
        if self._descriptor is None:
            self._foreign = None
            return  # it is not there: `append` makes it
        if foreign.torn:
            self._cut_tail(foreign)
            return
        if foreign.blank and self._held:
            self._warn("%s is empty, and %d job%s in it before the machine was started anew"
                       % (self.path, self._held, " was" if self._held == 1 else "s were"))
        jobs = foreign.records
        self._tell_faults(foreign)
        self.rewrite([(encode_line1(job.fields()), encode_line2(job.progress())) for job in jobs],
                     max([micros_of(job.created_at) for job in jobs], default=0))

    def _tell_faults(self, foreign):
        """Tell what is wrong with single jobs of a file that is about to be rewritten, and keep the file as it was if something goes."""
        beside = ""
        if any(fault.dropped for fault in foreign.faults):
            try:
                beside = "; the file as it was is " + keep_beside(
                    self.path, "broken", pread(self._descriptor, os.fstat(self._descriptor).st_size, 0))
            except OSError as error:
                raise storage_error("copy", self.path, error) from None
        if foreign.faults:
            self._warn("%s: %s%s" % (self.path, fault_sentences(foreign.faults), beside))

    def replace_broken(self, jobs, content):
        """Replace a file that was refused, and whose bytes are `content`, by these jobs. Raises Replaced if it has changed meanwhile."""
        self._hint = self._lock.read_hint(self._slot)
        self.stored = NOTHING
        self._open_current()
        if self._descriptor is None or pread(self._descriptor, len(content) + 1, 0) != content:
            raise Replaced
        jobs = with_created_at(jobs, self._look()[0][2] // 1000, self._allow_duplicate_keys)
        self.rewrite([(encode_line1(job.fields()), encode_line2(job.progress())) for job in jobs],
                     max([micros_of(job.created_at) for job in jobs], default=0))

    def _cut_tail(self, layout):
        tail = pread(self._descriptor, os.fstat(self._descriptor).st_size - layout.end, layout.end)
        try:
            if tail.strip(b"\0\n,]"):
                self._warn("%s ended in the middle of a record, %s; its last %d bytes are in %s now"
                           % (self.path, self._cause, len(tail), keep_beside(self.path, "torn", tail)))
            os.ftruncate(self._descriptor, layout.end)
            _write_all(self._descriptor, END, layout.end)
            sync(self._descriptor)
        except OSError as error:
            raise storage_error("mend", self.path, error) from None
        self._foreign = None
        self._note_as_ours(layout.counts, micros_of(layout.last_created))
        self._note_change()

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
        hint = self._hint
        start = self.end
        before = pread(self._descriptor, 5, start - 1)
        if before not in (b"}" + END, EMPTY):  # written by someone else within one tick of the clock
            self.forget_notes()
            raise Replaced
        counts = list(hint.counts)
        content = lay_out(counted(rows, counts), start, before == EMPTY) + END
        hint.intent, hint.intent_end = start, start + len(content)
        try:
            self._lock.write_hint(self._slot, hint)
            _write_all(self._descriptor, content, start)
        except OSError as error:
            self._undo_append(start)
            raise storage_error("write", self.path, error) from None
        self.stored = ALL
        hint.intent = 0
        hint.counts = counts
        hint.last_created = max(hint.last_created, last_created)
        self._note_change(start + len(content))

    def commit(self):
        """Do what `put` was asked for, all or nothing, and make it known. Raises StorageFault, and Replaced if an editor has saved."""
        if not self._changed:
            return
        self._write_new()
        try:
            self._lock.note_places(self._slot, self._hint.ring_no, self._changed)
        except OSError:  # a full disk: let the others look again at everything
            self._hint.gen = new_gen()
        self._hint.ring_no += len(self._changed)
        self._changed = []
        self._note_change(self._hint.size)

    def _write_new(self):
        changes, self._new = self._new, {}
        pieces = [(places, pread(self._descriptor, places[-1] + WIDTH - places[0], places[0])) for places in _neighbours(sorted(changes))]
        if _key(os.fstat(self._descriptor))[:_COMPARED] != self._seen[:_COMPARED]:
            raise Replaced
        written, before, after = [], bytearray(), bytearray()
        for places, old in pieces:
            start, new = places[0], bytearray(old)
            for place in places:
                at, line2 = place - start, changes[place]
                before.append(old[at + STATE_AT])
                after.append(line2[STATE_AT])
                new[at:at + WIDTH] = line2
            written.append((start, old, new))
        try:
            self._announce_change()
            for start, _, new in written:
                _write_all(self._descriptor, new, start)
        except OSError as error:
            self._changed = []
            self.stored = self._restore(written)
            raise storage_error("change", self.path, error) from None
        self.stored = ALL
        self._hint.counts = recounted(self._hint.counts, before, after)

    def _restore(self, written):
        """Undo a change in place, or as much of it as can be: how much of it is left. `written` has (offset, old bytes, new bytes)."""
        try:
            for start, old, _ in written:
                pwrite(self._descriptor, old, start)
            return NOTHING
        except OSError:
            pass  # the first error is the one to tell
        try:
            new = [pread(self._descriptor, len(after), start) == after for start, _, after in written]
        except OSError:
            return PART  # or not: nobody can tell
        return ALL if all(new) else PART if any(new) else NOTHING

    def _undo_append(self, start):
        """Back to what was there; if even that fails, the note of the intent stays for whoever comes next."""
        try:
            os.ftruncate(self._descriptor, start)
            _write_all(self._descriptor, END, start)
            self._hint.intent = 0
            self._note_change()
            self._lock.sync()  # lest a power cut bring the note back, and what is added next is taken for a torn append
        except (OSError, Replaced):
            self.stored = ALL if self._has_append() else NOTHING

    def _has_append(self):
        """Whether an append that could not be undone is whole nonetheless, so that whoever comes next lets it stand."""
        try:
            size = os.fstat(self._descriptor).st_size
            return size >= self._hint.intent_end and pread(self._descriptor, len(END), size - len(END)) == END
        except OSError:
            return False

    def rewrite(self, rows, last_created=0):
        """Replace the whole file by these records (rows as `lay_out` takes them): all or nothing. Raises Replaced, StorageFault."""
        temporary = self.path + ".new"
        former, counts = self._seen, [0] * len(STATES)
        try:
            remove_file(temporary)
            descriptor = open_private(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                _write_rows(descriptor, counted(rows, counts))
                keep_owner(descriptor, self.path)
                sync(descriptor)  # or a power cut may leave an empty file under the name of a whole one (xfs, ext4 with noauto_da_alloc)
                inode = _key(os.fstat(descriptor))[0]
            finally:
                os.close(descriptor)
            if self._look()[0] != former:
                raise Replaced  # an editor has saved meanwhile, perhaps in place
            self._close()  # Windows replaces no open file
            replace(temporary, self.path)
            self.stored = ALL
            self._sync_name()
            self._open_current()
            if self._inode != inode:
                raise Replaced
        except OSError as error:
            raise storage_error("rewrite", self.path, error) from None
        finally:
            remove_quietly(temporary)
        self._foreign = None
        self._note_as_ours(counts, last_created)
        self._note_change()

    def _sync_name(self):
        """Sync the folder once the name means another file. If that fails all is stored, and whoever confirms it tells."""
        try:
            if self.durable:
                sync_folder(os.path.dirname(self.path))
        except OSError as error:
            self.unconfirmed = error

    def clear(self):
        """Remove all records; on a full disk in place. A crash in the middle of that leaves a file that is refused, with all records in it.
        Raises Replaced, StorageFault."""
        try:
            self.rewrite(())
        except StorageFault as fault:
            if not fault.lacks_space or self._descriptor is None:
                raise
            before = pread(self._descriptor, len(EMPTY), 0)
            try:
                _write_all(self._descriptor, EMPTY, 0)
                os.ftruncate(self._descriptor, len(EMPTY))
            except OSError as error:
                self.stored = self._restore([(0, before, EMPTY)])
                raise storage_error("empty", self.path, error) from None
            self.stored = ALL
            self._foreign = None
            self._note_as_ours([0] * len(STATES), 0)
            self._note_change()

    @property
    def is_open(self):
        """Whether there is a file, and it is open."""
        return self._descriptor is not None

    # -- notes

    def counts_agree(self):
        """Whether the records in each state are as many as is noted."""
        with self.view(locked=True) as view:
            return view.count() == view.recount()

    def forget_notes(self):
        """Let whoever opens the file next check all of it. Raises OSError."""
        self._hint.inode = 0
        self._checked = None
        self._lock.write_hint(self._slot, self._hint)

    def _note_as_ours(self, counts, last_created):
        """Take the open file as ours, with all places new."""
        self._hint.gen = new_gen()
        self._hint.counts = counts
        self._hint.intent = 0
        self._hint.last_created = max(self._hint.last_created, last_created)

    def _note_state(self, size=None, back=0):
        """Note what the file is now, but for its time, which is to be set `back` by so much; whether that could be done. Raises Replaced if
        the path names another file by now, or if its size is not `size`: an editor has saved, and what was written is gone or may be."""
        hint = self._hint
        try:
            key = _key(os.stat(self.path))
        except FileNotFoundError:
            raise Replaced from None
        if key[0] != self._inode or (size is not None and key[1] != size):
            raise Replaced
        self._seen = key
        hint.inode, hint.size, hint.mtime = key[0], key[1], max(0, key[2] - back)
        hint.boot = self._lock.boot
        try:
            self._lock.write_hint(self._slot, hint)
        except OSError:
            return False  # a full disk: the next one checks the whole file, no more
        return True

    def _note_change(self, size=None):
        """Note what we have made of the file, as `_note_state` does, then mark it: whatever is written from now on, within the same tick of
        the clock too, leaves another time than the noted one. (Marked before it is noted, it could look like the change before.)"""
        self._learn_step()
        if self._note_state(size, back=max(0, self._step)) and self._step > 0:
            try:
                set_mtime(self._descriptor, self._hint.mtime)
                self._seen = self._seen[:2] + (self._hint.mtime,)
            except OSError:
                self._step = -1

    def _announce_change(self):
        """Before the first write of a change: where files can bear no mark, let no note fit this one until the change is noted."""
        self._learn_step()
        if self._step < 0:
            self._hint.inode = 0
            self._lock.write_hint(self._slot, self._hint)

    def _learn_step(self):
        """Find out, once, what is to be done where the open file is (see `_step`). No note fits the file while this is tried."""
        if self._step is not None:
            return
        try:
            if has_exact_times(self._descriptor):
                self._step = 0
                return
            before = os.fstat(self._descriptor).st_mtime_ns
            set_mtime(self._descriptor, before - 1)
            step = before - os.fstat(self._descriptor).st_mtime_ns
            self._step = step if step > 0 else -1
        except OSError:
            self._step = -1


def remove_quietly(path):
    """Remove a file that nobody needs any more; the next one who makes it removes it first."""
    try:
        remove_file(path)
    except OSError:
        return


def _behind(version):
    """Where the first record begins that was added since a version, if any was."""
    return version[2] + (1 if version[2] == 1 else 2)


def _write_rows(descriptor, rows):
    """A whole file of records, in pieces of about CHUNK bytes."""
    _write_all(descriptor, b"[", 0)
    offset, batch, size = 1, [], 0
    for row in rows:
        batch.append(row)
        size += len(row[0]) + WIDTH
        if size >= CHUNK:
            content = lay_out(batch, offset, offset == 1)
            _write_all(descriptor, content, offset)
            offset += len(content)
            batch, size = [], 0
    _write_all(descriptor, lay_out(batch, offset, offset == 1) + END, offset)


def _neighbours(places):
    """Places (ascending) of records, in groups of those that are written together."""
    group: list = []
    for place in places:
        if group and place - group[-1] > WIDTH + _GAP:
            yield group
            group = []
        group.append(place)
    yield group
