"""The layout of a job file: its records as bytes, how they are found and checked. Nothing here locks, writes, or knows what a job means.

    [
    {"id": "job1", "command": "echo hello", "created_at": "2026-11-24T02:09:06.123456Z"   ,
     "state": "completed" , "attempts": 1      , "exit_code": 0          , … }
    ]

Line 1 of a record says what it is; line 2 where it stands: columns of fixed width, WIDTH bytes in all, so that it can be rewritten in
place. A line 2 never crosses a multiple of 4096 (line 1 is padded): the kernel copies a write page by page, and `kill -9` can stop it
between two pages, but not within one. A raw newline cannot occur inside a JSON string, so `\n "state": "pending"` finds pending
records exactly, at memory speed and without parsing.
"""
from __future__ import annotations

import json
import re
from collections import namedtuple
from functools import lru_cache

from helpers import JsonError, QueueError, decode_json, decode_json_at, decode_utf8, encode_json, skip_whitespace
from system import pread

STATES = ("pending", "processing", "completed", "dead")

# Line 2: each column's name and the width of its value, quotes included.
COLUMNS = (("state", 12), ("attempts", 7), ("exit_code", 11), ("reason", 16), ("run_at", 29), ("started_at", 29), ("updated_at", 29),
           ("worker", 28))
_FEW = 5  # columns in front of those that tell two jobs apart
_CELLS = ['"%s": %%-%ds' % column for column in COLUMNS]
_FIRST_COLUMNS, _LAST_COLUMNS = " " + ", ".join(_CELLS[:_FEW]), ", " + ", ".join(_CELLS[_FEW:]) + "}"
_LINE2 = _FIRST_COLUMNS + _LAST_COLUMNS
WIDTH = len(_LINE2 % (("",) * len(COLUMNS)))
# Where a column's value starts within line 2.
COLUMN_AT = {name: (_LINE2 % tuple("\0" if name == other else "" for other, _ in COLUMNS)).index("\0") for name, _ in COLUMNS}
_COLUMN_SLICES = {name: slice(COLUMN_AT[name], COLUMN_AT[name] + width) for name, width in COLUMNS}

COLUMN_NAMES = tuple(name for name, _ in COLUMNS)
_FIELDS = frozenset(("id", "command", "created_at") + COLUMN_NAMES)

PAGE = 4096
_parse = json.JSONDecoder().raw_decode
CHUNK = 1 << 18
END = b"\n]\n"
EMPTY = b"[\n]\n"


class CorruptFile(QueueError):
    """A job file does not hold an array of jobs; its message names the place. `path` is the file's, where that is known."""

    path = None


# ---------------------------------------------------------------- records as bytes

def encode_line2(standing):
    """Line 2 as bytes, for the values of COLUMNS in order: short ASCII texts, integers, None. Always WIDTH bytes."""
    started_at, updated_at, worker = standing[_FEW:]
    line = (_first_columns(*standing[:_FEW]) + _LAST_COLUMNS % (
        '"' + started_at + '"' if started_at else "null", '"' + updated_at + '"' if updated_at else "null",
        '"' + worker + '"' if worker else "null")).encode("ascii")
    if len(line) != WIDTH:
        raise AssertionError("a column is too wide: %r" % (standing,))
    return line


@lru_cache(maxsize=64)
def _first_columns(*standing):
    """The columns of a line 2 that are the same for many jobs."""
    return _FIRST_COLUMNS % tuple(["null" if value is None else value if type(value) is int else '"' + value + '"' for value in standing])


def column(line2, name):
    """The text in one column of a line 2, without quotes; None for null."""
    value = line2[_COLUMN_SLICES[name]].rstrip()
    return None if value == b"null" else value.strip(b'"').decode("ascii")


def encode_line1(fields):
    """Line 1 as bytes, without its padding and comma. Raises UnicodeEncodeError for a lone surrogate."""
    return encode_json(fields)[:-1].encode("utf-8")


def parse_record(line1, line2):
    """The object that the two lines of a record hold, in a file that was checked when someone else had written it. Raises ValueError if
    they do not read right any more."""
    record = _parse((line1 + line2).decode("utf-8"))[0]
    if type(record) is not dict:
        raise ValueError("it is no object")
    if not record.keys() >= _FIELDS:
        raise ValueError("it has no %r" % min(_FIELDS.difference(record)))
    return record


def parse_lines(line1, line2):
    """The object that a line 1 holds, and the values of COLUMNS in its line 2. Raises ValueError as `parse_record`, which is for many
    records: here most have a line 2 that was seen before, as jobs have that were added together."""
    text = bare(line1).decode("utf-8") + "}"
    record, end = _parse(text)
    if type(record) is not dict or end != len(text):
        raise ValueError("its first line is no object without its end")
    return record, _standing(line2)


@lru_cache(maxsize=16)
def _standing(line2):
    record = _parse("{" + line2.decode("ascii"))[0]
    if tuple(record) != COLUMN_NAMES:
        raise ValueError("it has other columns")
    return tuple(record.values())


def rotten(place, fault, path=None):
    """A CorruptFile for a record that `parse_record` refuses, although the file's time and size are those of the last change of ours."""
    return CorruptFile("%sthe record whose second line is at byte %d does not read right (%s); the disk may be failing: 'queuectl doctor' "
                       "looks over all files" % ("%s: " % path if path else "", place, fault))


def bare(line1):
    """A line 1 from a file without its padding and comma."""
    return line1[:-1].rstrip(b" ")


def lay_out(rows, offset, first):
    """Records as bytes for a file in which they start at `offset`: rows are pairs of line 1 (unpadded, without comma) and line 2.

    `first` says that no record stands before them. A line 2 that would cross a multiple of 4096 is pushed over it.
    """
    laid = bytearray()
    for line1, line2 in rows:
        laid += b"\n" if first else b",\n"
        first = False
        place = (offset + len(laid) + len(line1) + 2) % PAGE
        padding = 0 if place + WIDTH <= PAGE else PAGE - place
        laid += line1
        if padding:
            laid += b" " * padding
        laid += b",\n"
        laid += line2
    return laid


# ---------------------------------------------------------------- reading at memory speed

def blocks(descriptor, end, start=2):
    """The records of a canonical file from `start` (where one begins) up to `end` (just behind the last one), as (offset, bytes)
    blocks that never cut one."""
    offset, size = start, CHUNK
    while offset < end:
        wanted = min(size, end - offset)
        block = pread(descriptor, wanted, offset)
        if not block:
            return
        if offset + len(block) < end:
            cut = block.rfind(b",\n{") + 2
            if cut >= 2:
                block = block[:cut]
            elif len(block) == wanted:
                size *= 2  # a record that is longer
                continue
        yield offset, block
        offset += len(block)
        size = CHUNK


# States are told by their third letter, since looking for whole words takes several times as long. In one that is just being changed
# the letter that is five further on, or what stands there instead, does not belong to it.
STATE_AT = COLUMN_AT["state"] + len('"pe')  # where that letter is in a line 2
_LETTER_AT = 1 + STATE_AT
_LETTERS = bytes(ord(state[2]) for state in STATES)
_LATER = bytes.maketrans(_LETTERS, bytes(ord(('%s"    ' % state)[7]) for state in STATES))
_QUOTE = ord('"')
_SPECIAL = (b', "priority": ', b', "after": ')  # a quote inside a text is escaped, so these are keys


def pending_records(descriptor, end, start=2, again=None):
    """The pending records as (place, object), the object None for one that may run at any time and in its turn, which need not be parsed.
    One that was caught in the middle of a change is what `again(place)` gives."""
    at = COLUMN_AT["run_at"] + 1
    for offset, block in blocks(descriptor, end, start):
        special = any(key in block for key in _SPECIAL)
        for middle in _middles(block):
            if block[middle + _LETTER_AT] != _LETTERS[0]:
                continue
            record = None
            if special or block[middle + at] == _QUOTE:  # not the n of null
                first = block.rfind(b"\n", 0, middle) + 1
                try:
                    record = parse_record(block[first:middle], block[middle + 1:middle + 1 + WIDTH])
                except ValueError:
                    record = again(offset + middle + 1) if again is not None else None
            yield offset + middle + 1, record


def _middles(block):
    """Where the line feeds are between the two lines of each record of a block."""
    found, find, last = [], block.find, len(block) - WIDTH - 1
    middle = find(b"\n")
    while 0 <= middle <= last:
        found.append(middle)
        middle = find(b"\n", middle + WIDTH + 3)
    return found


# What is to be known of a job to say whether others that come after its id may run.
Namesake = namedtuple("Namesake", "place created_at state updated_at")


def find_ids(descriptor, end, wanted, start=2):
    """The records of a canonical file from `start` on with one of the `wanted` ids ({the id as `encode_id` gives it: id}), as (id,
    Namesake), without parsing the others."""
    for offset, block in blocks(descriptor, end, start):
        if len(wanted) == 1 and next(iter(wanted)) not in block:
            continue
        lines = block.split(b"\n")
        for number in range(0, len(lines) - 1, 2):
            line1, line2 = lines[number], lines[number + 1]
            job_id = wanted.get(line1[ID_AT:line1.find(AFTER_ID)])
            offset += len(line1) + 1
            if job_id is not None:
                created_at = line1.partition(_CREATED_AT)[2].partition(b'"')[0].decode("ascii")
                yield job_id, Namesake(offset, created_at, column(line2, "state"), column(line2, "updated_at"))
            offset += len(line2) + 1


# An id stands between these in a line 1; it holds no quote that is not escaped.
ID_AT = len('{"id": ')
AFTER_ID = b', "command": '
_CREATED_AT = b', "created_at": "'


def encode_id(job_id):
    """An id as it stands in a line 1. One with half of a surrogate pair is in none."""
    return encode_json(job_id).encode("utf-8", "surrogatepass")


def counted(rows, counts):
    """Rows, as `lay_out` takes them, as they come. Behind the last one, how many are in each state is added to four `counts`."""
    letters = bytearray()
    for row in rows:
        letters.append(row[1][STATE_AT])
        yield row
    counts[:] = recounted(counts, b"", letters)


def recounted(counts, before, after):
    """Four counts, in the order of STATES, once states have changed: of each line 2 the byte at STATE_AT before and after."""
    return [max(0, count - before.count(letter) + after.count(letter)) for count, letter in zip(counts, _LETTERS)]


def count_block(block):
    """How many records in a block are in each state, in the order of STATES, and how many records there are, without parsing them. A
    record that was caught in the middle of a change may be in none."""
    seconds = block.split(b"\n")[1::2]
    joined = b"".join(seconds)  # all of one width, with their commas
    letters, later = joined[STATE_AT::WIDTH + 1], joined[STATE_AT + 5::WIDTH + 1]
    if letters.translate(_LATER) != later:
        letters = bytes([letter for letter, other in zip(letters, later) if _LATER[letter] == other])
    return [letters.count(letter) for letter in _LETTERS], len(seconds)


def read_around(descriptor, place, ahead=WIDTH):
    """The bytes of a file from before the record whose line 2 is at `place` to `ahead` bytes behind that place, as (offset, bytes)."""
    reach = 2048
    while True:
        start = max(0, place - reach)
        content = pread(descriptor, place - start + ahead, start)
        if start == 0 or content.rfind(b"\n", 0, max(place - start - 1, 0)) >= 0:
            return start, content
        reach *= 8


def read_lines(descriptor, place):
    """Line 1 and line 2 of the record whose line 2 is at `place`; line 1 with its padding and comma."""
    start, content = read_around(descriptor, place)
    middle = place - start - 1
    return content[content.rfind(b"\n", 0, max(middle, 0)) + 1:middle], content[middle + 1:]


# ---------------------------------------------------------------- checking what someone else wrote

class Layout:
    """What a check found: `end` is just behind the last whole record; `counts` says how many are in each state; `records` are the parsed
    ones where the layout is another one; `damaged` the ids of those whose line 2 could not be read; `faults` what else was wrong with
    single jobs, as `decode` tells it. `blank` says that there is nothing at all in the file, not even an empty array."""

    __slots__ = ("end", "counts", "torn", "records", "last_created", "damaged", "faults", "blank")

    def __init__(self, end, counts=(0, 0, 0, 0), torn=False, records=None, last_created="", damaged=(), faults=(), blank=False):
        self.end = end
        self.blank = blank
        self.counts = counts
        self.damaged = damaged
        self.faults = faults
        self.torn = torn
        self.records = records
        self.last_created = last_created

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
        return line1.endswith(b",") and _CREATED_AT in line1 and _starts_line2(line2)
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
    empty = _LINE2 % ((" ",) * len(COLUMNS))
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


def check_canonical(descriptor, size, decode, twins=True):
    """A Layout if the file is in our layout (also with a torn tail), else None. `decode(record)` raises QueueError for a bad one. Without
    `twins`, a file in which two records have one key is in another layout."""
    if size < len(EMPTY) - 1 or pread(descriptor, 2, 0) != b"[\n":
        return None
    used = _without_zeros(descriptor, size)
    end, last_created, counts = 1, "", dict.fromkeys(STATES, 0)
    workers: set = set()
    late: set = set()  # keys of records that are no newer than one before them; in a file that nobody has edited there are few
    for offset, block in blocks(descriptor, used):
        lines = block.split(b"\n")
        if lines[-1]:
            lines.append(b"")  # a line 2 may be the last thing there is
        at = offset
        for number in range(0, len(lines) - 1, 2):
            line1, line2 = lines[number], lines[number + 1]
            place = at + len(line1) + 1
            job = _check_lines(line1, line2, place, decode)
            if job is None or job.worker in workers:  # two jobs of one worker: a line was copied
                break
            if job.worker is not None:
                workers.add(job.worker)
            if job.created_at > last_created:
                last_created = job.created_at
            elif not twins:
                late.add(_key_in(line1))
            counts[job.state] += 1
            at = place + len(line2) + 1
            end = place + WIDTH
            if line2[WIDTH:] != b",":
                break
        else:
            continue
        break
    tail = pread(descriptor, used - end, end)
    if tail == END and used == size:
        if late and _has_twins(descriptor, end, late):
            return None
        return Layout(end, tuple(counts.values()), last_created=last_created)
    if _looks_torn(tail, end == 1) or _looks_half_written(tail, end, end == 1):
        return Layout(end, tuple(counts.values()), torn=True, last_created=last_created)
    return None


def _key_in(line1):
    """The bytes of id and created_at in a line 1."""
    at = line1.find(_CREATED_AT) + len(_CREATED_AT)
    return line1[:line1.find(AFTER_ID)], line1[at:line1.find(b'"', at)]


def _has_twins(descriptor, end, keys):
    """Whether one of these keys, as `_key_in` gives them, is that of several records of a canonical file."""
    seen = set()
    for _, block in blocks(descriptor, end):
        for line1 in block.split(b"\n")[::2]:
            key = _key_in(line1)
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
    same = encode_line2(job.standing()) == line2[:WIDTH] and encode_line1(job.fields()) == bare(line1)
    return job if same else None


def parse_any(path, content, decode):
    """The records of a JSON array in any layout, each completed by `decode(record, typed)`, which raises QueueError for one that makes the
    file a broken one; `typed` is False for a record whose line 2 still is as long as we made it.

    Raises CorruptFile, which names the place, for anything else. Nothing at all is an empty array.
    """
    text = ""
    at = 0
    try:
        text = decode_utf8(content)
        at = skip_whitespace(text, 0)
        if at == len(text):
            return []
        if text[at] != "[":
            raise JsonError("a job file is a JSON array, and starts with [", text, at)
        records = []
        at = skip_whitespace(text, at + 1)
        while text[at:at + 1] != "]" or records:
            record, end = decode_json_at(text, at)
            records.append(_decode_at(record, decode, text, at, end))
            at = skip_whitespace(text, end)
            if text[at:at + 1] == "]":
                break
            if text[at:at + 1] != ",":
                raise JsonError("expected ',' or ']'", text, at)
            at = skip_whitespace(text, at + 1)
        at = skip_whitespace(text, at + 1)
        if at != len(text):
            raise JsonError("extra text after the closing ]", text, at)
        return records
    except JsonError as error:
        fault = CorruptFile("%s, %s; nothing was changed: mend it, or let 'queuectl doctor --repair' save what can be read"
                            % (path, error))
        fault.path = path
        raise fault from None


def _decode_at(record, decode, text, at, end):
    if type(record) is not dict:
        raise JsonError("a job must be an object like {\"id\": \"job1\", \"command\": \"echo Hello\"}", text, at)
    last = text.rfind("\n", at, end) + 1
    try:
        return decode(record, typed=not (end - last == WIDTH and text.startswith(' "state": "', last)))
    except QueueError as error:
        raise JsonError(str(error), text, at) from None


def parse_damaged(content, decode):
    """(the jobs, the ids of those whose line 2 is damaged) for a file that is in our layout but for line 2s that do not read right any
    more, as a bad disk leaves them. Line 1 says what those jobs are; they count as not yet run. ([], []) for any other file.
    """
    lines = content.split(b"\n")
    if lines[0] != b"[" or lines[-2:] != [b"]", b""] or len(lines) % 2 == 0:
        return [], []
    jobs, damaged = [], []
    for line1, line2 in zip(lines[1:-2:2], lines[2:-2:2]):
        if len(line2.rstrip(b",")) != WIDTH or line1[-1:] != b",":
            return [], []
        try:
            if _has_our_columns(line2[:WIDTH]):
                jobs.append(decode(decode_json((line1 + line2[:WIDTH]).decode("utf-8"))))
            else:
                jobs.append(decode(decode_json((bare(line1) + b"}").decode("utf-8"))))
                damaged.append(jobs[-1].id)
        except (QueueError, ValueError):
            return [], []
    return jobs, damaged


def _has_our_columns(line2):
    try:
        return list(decode_json("{" + line2.decode("ascii"))) == [name for name, _ in COLUMNS]
    except (JsonError, ValueError):
        return False
