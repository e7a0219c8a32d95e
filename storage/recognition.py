"""Which layout some bytes are in: ours, ours with a torn tail, another one, or none. Reads and checks; writes nothing."""
from __future__ import annotations

import re
from collections import namedtuple

from core.errors import CorruptFile, JsonError, QueueError, hint
from core.job import COLUMN_NAMES, EXAMPLE, STATES
from core.strict_json import decode_json, decode_json_at
from core.system import pread
from storage.layout import (CHUNK, COLUMNS, COLUMN_AT, CREATED_AT, EMPTY, END, LINE2, PAGE, WIDTH, bare, blocks, encode_line1,
                            encode_line2, key_in)


class Layout(namedtuple("Layout", "end counts torn copy last_created faults blank",
                        defaults=((0,) * len(STATES), False, None, "", (), False))):
    """What a check found: `end` is just behind the last whole record; `counts` says how many are in each state; `copy` is a
    ForeignCopy where the layout is another one; `faults` what is wrong with single jobs, as `decode` tells it. `blank` says that there is
    nothing at all in the file, not even an empty array."""

    __slots__ = ()

    @property
    def unfinished(self):
        """Whether it looks like a file that is still being written."""
        return self.torn or self.blank


def _looks_torn(tail, first):
    """Whether bytes behind the last whole record are what an append leaves that was cut short: the separator, then the start of one
    record in our layout. What it had not yet overwritten of the closing bracket may still stand behind the first bytes."""
    separator = b"\n{" if first else b",\n{"
    if any(tail in (separator[:size], separator[:size] + END[size:]) for size in range(len(separator) + 1)) or END.startswith(tail):
        return True
    if not tail.startswith(separator):
        return False
    line1, newline, line2 = tail[len(separator) - 1:].partition(b"\n")
    if newline:
        return line1.endswith(b",") and CREATED_AT in line1 and _starts_line2(line2)
    start = b'{"id": "'
    if not line1.startswith(start):
        return start.startswith(line1)
    try:
        decode_json_at(line1.decode("utf-8", "replace"), 0)
    except JsonError:
        return True
    return False  # a whole object, which line 1 never is: someone typed it


def _looks_half_written(tail, end, first):
    """Whether bytes behind the last whole record, which ends at `end`, are an append of several pages of which the first one never reached
    the disk (ext3, or ext4 without delayed allocation): up to the page's end still stands what stood there, the closing bracket and
    NULs. Nobody had heard of such an append, since to confirm it is to put all of its pages on the disk."""
    room = PAGE - end % PAGE
    old, new = tail[:room], tail[room:]
    if not new or old != END[:room].ljust(room, b"\0"):
        return False
    start = (b"\n{" if first else b",\n{") + b'"id": "'
    return room > len(END) or new[:1] == b"\0" or new.startswith(start[room:])


def _starts_line2(start):
    """Whether these bytes are the start of a line 2, but not all of one."""
    if b"\n" in start or len(start) >= WIDTH:
        return False
    text = start.decode("ascii", "replace")
    for name, width in COLUMNS:
        at = COLUMN_AT[name]
        value = text[at:at + width].rstrip(" ")
        if at < len(text) and not (any(('"%s"' % state).startswith(value) for state in STATES) if name == "state" else
                                   re.match(r'(?:null|nul|nu|n|-?[0-9]*|"[0-9A-Za-z_:.-]*"?)\Z', value)):
            return False
    empty = LINE2 % ((" ",) * len(COLUMNS))
    return all(char == wanted for char, wanted in zip(text, empty) if wanted != " ")


def _without_zeros(descriptor, size):
    """The size of a file without the NULs at its end, which a file system leaves where data never reached the disk."""
    while size:
        start = max(0, size - CHUNK)
        left = pread(descriptor, size - start, start).rstrip(b"\0")
        size = start + len(left)
        if left:
            break
    return size


def check_canonical(descriptor, size, decode, allow_duplicate_keys=True):
    """A Layout if the file is in our layout (also with a torn tail), else None. `decode(record)` raises QueueError for a bad one. Without
    `allow_duplicate_keys`, a file in which two records have one key is in another layout."""
    start = pread(descriptor, 3, 0)
    if size < len(EMPTY) - 1 or start[:2] != b"[\n" or start[2:] not in (b"", b"{", b"]", b"\0"):
        return None
    used = _without_zeros(descriptor, size)
    end, last_created, counts = 1, "", dict.fromkeys(STATES, 0)
    late: set = set()  # keys of records that are no newer than one before them; in a file that nobody has edited there are few
    for job, line1, end in _whole_records(descriptor, used, decode):
        if job.created_at > last_created:
            last_created = job.created_at
        elif not allow_duplicate_keys:
            late.add(key_in(line1))
        counts[job.state] += 1
    tail = pread(descriptor, used - end, end)
    if tail == END and used == size:
        if late and _has_duplicate_keys(descriptor, end, late):
            return None
        return Layout(end, tuple(counts.values()), last_created=last_created)
    if _looks_torn(tail, end == 1) or _looks_half_written(tail, end, end == 1):
        return Layout(end, tuple(counts.values()), torn=True, last_created=last_created)
    return None


_LONGEST = 1 << 24  # bytes of a record in a file that may be in our layout; longer ones are read as another layout


def _whole_records(descriptor, used, decode):
    """The records in our layout up to the first one that is not, as (job, line 1, end)."""
    workers: set = set()
    for at, block in blocks(descriptor, used, longest=_LONGEST):
        lines = block.split(b"\n")
        if lines[-1]:
            lines.append(b"")  # a line 2 may be the last thing there is
        for number in range(0, len(lines) - 1, 2):
            line1, line2 = lines[number], lines[number + 1]
            place = at + len(line1) + 1
            job = _check_lines(line1, line2, place, decode)
            if job is None or job.worker in workers:  # two jobs of one worker: a line was copied
                return
            if job.worker is not None:
                workers.add(job.worker)
            yield job, line1, place + WIDTH
            if line2[WIDTH:] != b",":
                return
            at = place + len(line2) + 1


def _has_duplicate_keys(descriptor, end, keys):
    """Whether one of these keys, as `key_in` gives them, is that of several records of a canonical file."""
    seen = set()
    for _, block in blocks(descriptor, end):
        for line1 in block.split(b"\n")[::2]:
            key = key_in(line1)
            if key in keys:
                if key in seen:
                    return True
                seen.add(key)
    return False


def _check_lines(line1, line2, place, decode):
    """The job of a record in our layout, else None."""
    if len(line2) < WIDTH or place % PAGE + WIDTH > PAGE or line1[-1:] != b"," or line1[:1] != b"{":
        return None
    try:
        job = decode(decode_json((line1 + line2[:WIDTH]).decode("utf-8")))
    except (QueueError, ValueError):
        return None
    same = encode_line2(job.progress()) == line2[:WIDTH] and encode_line1(job.fields()) == bare(line1)
    return job if same else None


def parse_any(path, pieces, decode):
    """The records of a JSON array in any layout (JsonPieces), one after another, each completed by `decode(record, typed)`, which raises
    QueueError for one that makes the file a broken one; `typed` is False for a record whose line 2 still is as long as we made it.

    Raises CorruptFile, which names the place, for anything else. Nothing at all is an empty array.
    """
    try:
        yield from _records_in(pieces, decode)
    except JsonError as error:
        fault = CorruptFile("%s, %s; nothing was changed: mend it, or let %s save what can be read"
                            % (path, pieces.placed(error), hint("doctor --repair")))
        fault.path = path
        raise fault from None


def _records_in(pieces, decode):
    first = pieces.peek()
    if not first:
        return
    if first != "[":
        raise JsonError("a job file is a JSON array, and starts with [", pieces.text, pieces.at)
    pieces.take()
    more = pieces.peek() != "]"
    while more:
        yield _decode_at(pieces.value(), decode, pieces.text, pieces.start, pieces.at)
        following = pieces.peek()
        more = following == ","
        if more:
            pieces.take()
            pieces.peek()
        elif following != "]":
            raise JsonError("expected ',' or ']'", pieces.text, pieces.at)
    pieces.take()
    if pieces.peek():
        raise JsonError("extra text after the closing ]", pieces.text, pieces.at)


def _decode_at(record, decode, text, at, end):
    if type(record) is not dict:
        raise JsonError("a job must be an object like %s" % EXAMPLE, text, at)
    if is_damaged(record, text, at, end):
        raise JsonError("this line, which says how far the job is, is damaged", text, text.index("\n", at) + 1)
    last = text.rfind("\n", at, end) + 1
    try:
        return decode(record, typed=not (end - last == WIDTH and text.startswith(' "state": "', last)))
    except QueueError as error:
        raise JsonError(str(error), text, at) from None


def is_damaged(record, text, at, end):
    """Whether a record, which stands in a text from `at` to `end`, is in our layout but for the names of its columns: without this rule a
    bad byte in `"state"` would make a completed job one that has not yet run."""
    line2 = text.find("\n", at, end) + 1
    return line2 > 0 and end - line2 == WIDTH and text.startswith(',\n "', line2 - 2) and tuple(record)[-len(COLUMNS):] != COLUMN_NAMES
