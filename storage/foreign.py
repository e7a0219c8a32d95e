"""A job file that someone else wrote: looked at once it holds still, read as it is, and taken over at the next change.

What it promises: such a file is believed only after it has held still, and what is not an array of jobs is refused and never overwritten.
What is left out of a file when it is taken over is kept beside it, and told. Nothing here locks or changes a job file.
"""
from __future__ import annotations

import os
import time
from functools import partial

from core.errors import CorruptFile, hint, storage_error
from core.home import run_folder
from core.job import PENDING, job_from_checked
from core.job_record import job_from_record
from core.json_pieces import JsonPieces
from core.system import open_private, sync, sync_folder
from core.times import format_time
from storage.foreign_copy import ForeignCopy
from storage.noted_file import refuse_link
from storage.notes import MISSING, file_key
from storage.recognition import Layout, check_canonical, parse_any
from storage.view import View

_SETTLED = 0.2  # seconds that a strange file must have held still; an editor that truncates first shows an empty one for a moment
_LONG, _TELL = 2.0, 0.3  # seconds until it is told how far a long file is read, and between two times
_TOOK_LONG, _REST = 0.5, 20  # seconds of a look for jobs that may run, and for how many times as long it holds that there is none
_PATIENCE = 5.0  # seconds that one that is empty or torn must have held still before it is changed: who writes it may be slow


class Inspector:
    """Looks at one job file without the lock, and remembers what it has found. `allow_duplicate_keys` is as for `JobFile`."""

    def __init__(self, path, warn, allow_duplicate_keys, progress):
        self._path = path
        self._warn = warn
        self._allow_duplicate_keys = allow_duplicate_keys
        self._progress = progress  # as for `Store`
        self._checked = None  # (key, Layout, seconds it had held still) of the last check
        self._patient = False  # whether the next inspection is to wait longer, since the file is to be changed

    def layout_of(self, key):
        """The Layout that the last inspection found; None if it saw another state of the file, or none was made."""
        return self._checked[1] if self._checked is not None and self._checked[0] == key else None

    def forget(self):
        """Believe no more what the last inspection found."""
        self._checked = None

    def may_be_changed(self):
        """Whether a file that looks unfinished has held still long enough to be changed; if not, the next inspection waits for that."""
        self._patient = self._checked[1].unfinished and self._checked[2] < _PATIENCE
        return not self._patient

    def inspect(self):
        """Wait until the file has held still, longer before an unfinished one is changed, and check it. Raises CorruptFile, OSError."""
        wanted, self._patient = _PATIENCE if self._patient else _SETTLED, False
        key, since, told = None, 0.0, False
        while True:
            key, since, still = self._wait_until_still(key, since)
            layout = self.layout_of(key) or self._check(key)
            if layout is not None:
                self._checked = (key, layout, still)
            if layout is None or still >= wanted or not layout.unfinished:
                return
            if not told:
                told = True
                self._warn("waiting for %s, which is empty or ends too early, as while someone saves it: it is changed once it has "
                           "held still for %g seconds" % (self._path, _PATIENCE))
            time.sleep(0.02)

    def _wait_until_still(self, key, since):
        """Wait until the file has held still, which it has with that key since then: (its key, since when, for how many seconds).

        A time of its own that is older stands for having held still. For an empty file that is so after 200 ms: its size may change before
        its time. A time in whole seconds may have been two seconds old when it was written."""
        while True:
            now, age = look_at(self._path)
            if now != key:
                key, since = now, time.monotonic()
            still = time.monotonic() - since
            if key[1] or still >= _SETTLED:
                still = max(still, age - (2 if key[2] % 10 ** 9 == 0 else 0))
            if still >= _SETTLED:
                return key, since, still
            time.sleep(0.02)

    def _check(self, key):
        """The Layout of the file with that key, or None if it changed meanwhile."""
        if key == MISSING:
            return Layout(1, copy=self.copy_of((), key))
        try:
            descriptor = open_private(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error("open", self._path, error) from None
        with os.fdopen(descriptor, "rb") as file:
            if file_key(os.fstat(descriptor)) != key:
                return None
            layout = check_canonical(descriptor, key[1], job_from_record, self._allow_duplicate_keys)
            if layout is None:
                file.seek(0)
                try:
                    layout = self._parse(file, key)
                except CorruptFile:
                    if file_key(os.fstat(descriptor)) == key:
                        raise
            return layout if file_key(os.fstat(descriptor)) == key else None

    def _parse(self, file, key):
        faults: list = []
        reading = _Reading(self._path, file, key[1], self._warn, self._progress)
        try:
            copy = self.copy_of(parse_any(self._path, JsonPieces(reading.read), partial(job_from_record, faults=faults)), key)
        finally:
            reading.done()
        return Layout(1, tuple(copy.counts), copy=copy, faults=faults, blank=copy.end == 1 and not reading.has_bracket)

    def copy_of(self, jobs, key):
        """A ForeignCopy of these jobs, which were read from a file with that key."""
        return ForeignCopy(jobs, run_folder(os.path.dirname(self._path)), key[2] // 1000, self._allow_duplicate_keys)


class _Reading:
    """A file that is read from its start to its end; who waits long is told how far it is."""

    def __init__(self, path, file, size, warn, progress):
        self.has_bracket = False  # whether a bracket was read that opens an array
        self._path, self._file, self._size, self._warn, self._progress = path, file, size, warn, progress
        self._started = self._told = time.monotonic()
        self._read = 0

    def read(self, size):
        """The next bytes, at most so many; none at the end. Raises OSError."""
        content = self._file.read(size)
        self._read += len(content)
        self.has_bracket = self.has_bracket or b"[" in content
        now = time.monotonic()
        if now - self._started > _LONG and now - self._told > _TELL and content:
            text = "reading %s, which another program wrote: %d of %d MB" % (self._path, self._read >> 20, self._size >> 20)
            if not (self._progress and self._progress(text)) and self._told == self._started:
                self._warn(text)
            self._told = now
        return content

    def done(self):
        """Tell nothing any more."""
        if self._progress is not None and self._told > self._started:
            self._progress("")


def look_at(path):
    """The key of the file that a path names, and how long ago it was last written by the wall clock, in seconds."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        refuse_link(path)
        return MISSING, 0
    except OSError as error:
        raise storage_error("read", path, error) from None
    return file_key(stat), time.time() - stat.st_mtime


class ForeignFile:
    """A job file that is not in our layout, as an inspection found it: what is in it, and what is to be told when it is taken over.
    `notes` are what was noted of the file before; `durable` is as for `JobFile`."""

    def __init__(self, path, layout, notes, durable):
        self.layout = layout
        self._path = path
        self._cause = _why_torn(layout, notes, durable)
        self._held = sum(notes.counts)

    def has_pending(self, wanted):
        """Whether there is a pending job for which `wanted(job)` holds. In a torn file any pending job may be one. Where it takes long to
        see that there is none, that holds for a while: an idle worker asks each second."""
        if self.copy is None or not self.layout.counts[0]:
            return bool(self.layout.counts[0])
        started = time.monotonic()
        if started < self.copy.rest_until:
            return False
        with self.view() as view:
            found = any(wanted(job_from_checked(record)) for _, record in view.records((PENDING,)))
        took = time.monotonic() - started
        if not found and took > _TOOK_LONG:
            self.copy.rest_until = started + _REST * took
        return found

    @property
    def copy(self):
        """The ForeignCopy of the file; None where the file is torn, and so in our layout."""
        return self.layout.copy

    def view(self):
        """A View of the copy; the caller closes it."""
        return View(None, self._path, self.copy.open(), self.copy.end, self.copy.counts, is_copy=True)

    @property
    def damage(self):
        """What is wrong with the file that the next change mends, as a sentence; None for nothing."""
        if self.layout.torn:
            return ("%s ends in the middle of a record, as a crash leaves it; the next change cuts that off and keeps the bytes beside it"
                    % self._path)
        return "%s: %s" % (self._path, _fault_sentences(self.layout.faults)) if self.layout.faults else None

    def keep_tail(self, tail, warn):
        """Keep the bytes beside the file that are about to be cut off, if they hold anything, and tell. Raises OSError."""
        if tail.strip(b"\0\n,]"):
            warn("%s ended in the middle of a record, %s; its last %d bytes are in %s now"
                 % (self._path, self._cause, len(tail), keep_beside(self._path, "torn", [tail])))

    def keep_dropped(self, pieces, warn):
        """Tell what is wrong with single jobs of the file, which is about to be rewritten; keep it, in these pieces, if any is left out."""
        if self.layout.blank and self._held:
            warn("%s is empty, and %s in it before the machine was started anew" % (self._path, _jobs_were(self._held)))
        if not self.layout.faults:
            return
        beside = ""
        try:
            if any(fault.dropped for fault in self.layout.faults):
                beside = "; the file as it was is " + keep_beside(self._path, "broken", pieces)
        except OSError as error:
            raise storage_error("copy", self._path, error) from None
        warn("%s: %s%s" % (self._path, _fault_sentences(self.layout.faults), beside))


def _why_torn(layout, notes, durable):
    """How the end of a torn file came about, as far as the notes tell."""
    if not notes.size:
        return "as a crash leaves it while jobs are added"
    if notes.are_of_this_boot:
        return "as another program left it" if notes.boot else "as a crash or another program leaves it"
    known = durable and layout.end >= notes.end
    return "as a power cut leaves it while jobs are added" + " (they were never said to be added)" * known


def refuse_cut(path, layout, notes, read_tail):
    """Raise CorruptFile for a file that ends too early, though no power cut can be why: then it was not we who cut it. Not for a closed
    array that is shorter than it was: that is an edit. `read_tail(layout)` gives what stands behind the last record of a torn file."""
    before, left = sum(notes.counts), sum(layout.counts)
    tail = read_tail(layout) if layout.torn and layout.end < notes.end else b"]"
    if tail.strip(b"\0\n") != b"]":
        place = (1 + 2 * left + tail.count(b"\n"), len(tail) - tail.rfind(b"\n"))
        fault = "the file ends within the array, with %d of the %d jobs that were in it" % (left, before)
        remedy = "write all of it again, or let %s keep what is there" % hint("doctor --repair")
    elif layout.blank and before:
        place = (1, 1)
        fault = "the file is empty, and %s in it" % _jobs_were(before)
        remedy = "write it again, or write [] to start afresh"
    else:
        return
    error = CorruptFile("%s, line %d, column %d: %s; another program cut it short, and nothing was changed: %s"
                        % ((path,) + place + (fault, remedy)))
    error.path = path
    raise error


def _jobs_were(number):
    return "%d job%s" % (number, " was" if number == 1 else "s were")


def _fault_sentences(faults):
    more = "; and %d more" % (len(faults) - 20) if len(faults) > 20 else ""
    return "; ".join("the job %r: %s" % (fault.id, fault.text) for fault in faults[:20]) + more


def keep_beside(path, kind, pieces):
    """Keep bytes of a file, in pieces, beside it and on the disk, named by the kind of fault and the time; the path. Raises OSError."""
    beside = "%s.%s-%s" % (path, kind, format_time(time.time()).replace(":", ""))
    with os.fdopen(open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        sync(file.fileno())
    sync_folder(os.path.dirname(beside))
    return beside
