"""The layout of a job file: its records as bytes, how they are found and checked. Nothing here locks, writes, or knows what a job means.

    [
    {"id": "job1", "command": "echo hello", "created_at": "2026-11-24T02:09:06.123456Z"   ,
     "state": "completed" , "attempts": 1      , "exit_code": 0          , … }
    ]

Line 1 of a record says what it is; line 2 where it stands: columns of fixed width, WIDTH bytes in all, so that it can be rewritten in
place. A line 2 never crosses a multiple of 4096 (line 1 is padded): the kernel copies a write page by page, and `kill -9` can stop it
between two pages, but not within one. A raw newline cannot occur inside a JSON string, so `
 "state": "pending"` finds pending
records exactly, at memory speed and without parsing.
"""
from __future__ import annotations

import json
import re
from collections import Counter
from itertools import accumulate, count
from operator import add, itemgetter

from core.errors import rotten_record_error
from core.job import COLUMN_NAMES, STATES, job_from_checked
from core.strict_json import encode_json
from core.system import pread


def job_from_lines(lines, place):
    """The Job whose two lines stand in a file in our own layout. Raises CorruptFile if they do not read right any more."""
    try:
        return job_from_checked(parse_record(*lines), place)
    except ValueError as error:
        raise rotten_record_error(place, error) from None


# Line 2: each column's name and the width of its value, quotes included.
COLUMNS = tuple(zip(COLUMN_NAMES, (12, 7, 11, 16, 29, 29, 29, 28)))
LINE2 = " " + ", ".join(['"%s": %%-%ds' % column for column in COLUMNS]) + "}"
WIDTH = len(LINE2 % (("",) * len(COLUMNS)))
# Where a column's value starts within line 2.
COLUMN_AT = {name: (LINE2 % tuple("\0" if name == other else "" for other, _ in COLUMNS)).index("\0") for name, _ in COLUMNS}
_COLUMN_SLICES = {name: slice(COLUMN_AT[name], COLUMN_AT[name] + width) for name, width in COLUMNS}

_FIELDS = frozenset(("id", "command", "created_at") + COLUMN_NAMES)

PAGE = 4096
_parse = json.JSONDecoder().raw_decode
CHUNK = 1 << 18
END = b"\n]\n"
EMPTY = b"[\n]\n"


def encode_line2(standing):
    """Line 2 as bytes, for the values of COLUMNS in order: short ASCII texts, integers, None. Always WIDTH bytes."""
    values = ["null" if value is None else value if type(value) is int else '"' + value + '"' for value in standing]
    line = (LINE2 % tuple(values)).encode("ascii")
    if len(line) != WIDTH:
        raise AssertionError("a column is too wide: %r" % (standing,))
    return line


def column(line2, name):
    """The text in one column of a line 2, without quotes; None for null."""
    value = line2[_COLUMN_SLICES[name]].rstrip()
    return None if value == b"null" else value.strip(b'"').decode("ascii")


def encode_line1(fields):
    """Line 1 as bytes, without its padding and comma. Raises UnicodeEncodeError for a lone surrogate."""
    return encode_json(fields)[:-1].encode("utf-8")


def parse_record(line1, line2):
    """The object that the two lines of a record of ours hold. Raises ValueError if they do not read right any more."""
    record = _parse((line1 + line2).decode("utf-8"))[0]
    if type(record) is not dict:
        raise ValueError("it is no object")
    if not record.keys() >= _FIELDS:
        raise ValueError("it has no %r" % min(_FIELDS.difference(record)))
    return record


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


def file_of(rows):
    """The bytes of a whole job file of these records (rows as `lay_out` takes them), in pieces of about CHUNK bytes."""
    yield b"["
    offset, batch, size = 1, [], 0
    for row in rows:
        batch.append(row)
        size += len(row[0]) + WIDTH
        if size >= CHUNK:
            piece = lay_out(batch, offset, offset == 1)
            yield piece
            offset += len(piece)
            batch, size = [], 0
    yield lay_out(batch, offset, offset == 1) + END


def blocks(descriptor, end, start=2, longest=1 << 62):
    """The records of a canonical file from `start` (where one begins) up to `end` (just behind the last one), as (offset, bytes)
    blocks that never cut one, unless it has more than `longest` bytes."""
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
            elif len(block) == wanted and size < longest:
                size *= 2  # a record that is longer
                continue
        yield offset, block
        offset += len(block)
        size = CHUNK


def lines_of(offset, block):
    """The lines of a block that `blocks` gave: (all first ones, all second ones with their commas, the places of the second ones)."""
    lines = block.split(b"\n")
    ends = list(accumulate(map(len, lines)))
    return lines[:-1:2], lines[1::2], list(map(add, ends[:-1:2], count(offset + 1, 2)))


def blocks_back(descriptor, end):
    """The same up to `end` (just behind a record), the last ones first, but that a block has each record whole, however long."""
    size = CHUNK
    while end > 2:
        offset = max(2, end - size)
        block = pread(descriptor, end - offset, offset)
        if offset > 2:
            cut = block.find(b",\n{") + 2
            if cut < 2:
                if len(block) < end - offset:
                    return
                size *= 2  # a record that is longer
                continue
            block = block[cut:]
            offset += cut
        yield offset, block
        end, size = offset - len(",\n"), CHUNK


STATE_AT = COLUMN_AT["state"] + len('"pe')  # where the third letter of the state is in a line 2, which tells it from all others
_LETTERS = bytes(ord(state[2]) for state in STATES)
_STATE = rb'\n "state": (.{%d})' % COLUMNS[0][1]  # all of its column
_STATES = [('"%s"' % state).ljust(COLUMNS[0][1]).encode("ascii") for state in STATES]
# The line 2 of a pending record, with the line feed before it, up to where its time begins: with null, or with a quote.
_PENDING = rb'\n "state": "pending"[^\n]{%d}([n"])' % (COLUMN_AT["run_at"] - len(' "state": "pending"'))
_SPECIAL = (b', "priority": ', b', "after": ', b', "after_any": ')  # a quote inside a text is escaped, so these are keys
GROUP = b', "group": '


def of_group(group):
    """The bytes by which a line 1 may be known whose job is of a group."""
    return GROUP + encode_json(group).encode("utf-8", "surrogatepass")


def pending_records(descriptor, end, start=2, again=None, groups=()):
    """The pending records as (place, object), the object None for one that may run at any time and in its turn, and is in none of these
    groups (names), which need not be parsed. One that was caught in the middle of a change is what `again(place)` gives."""
    for plain, special in pending_blocks(descriptor, end, start, again, groups):
        yield from sorted([(place, None) for place in plain] + special, key=itemgetter(0))


def pending_blocks(descriptor, end, start=2, again=None, groups=()):
    """The same for many records at once, as (the places of those that need not be parsed, ascending; the others as pairs)."""
    has_key = re.compile(b"|".join(map(re.escape, (*_SPECIAL, *map(of_group, groups))))).search
    for offset, block in blocks(descriptor, end, start):
        plain, special, may_have_key = [], [], has_key(block)
        for match in re.finditer(_PENDING, block):
            middle = match.start()
            if match[1] == b'"' or (may_have_key and has_key(block, block.rfind(b"\n", 0, middle) + 1, middle)):
                special.append(_pending_at(offset, block, middle, again))
            else:
                plain.append(offset + middle + 1)
        yield plain, special


def _pending_at(offset, block, middle, again):
    """The record whose line 1 ends at `middle`, as (place, object)."""
    first = block.rfind(b"\n", 0, middle) + 1
    try:
        return offset + middle + 1, parse_record(block[first:middle], block[middle + 1:middle + 1 + WIDTH])
    except ValueError:
        return offset + middle + 1, again(offset + middle + 1) if again is not None else None


def find_ids(descriptor, end, wanted, start=2):
    """The records from `start` on with one of the `wanted` ids ({as `encode_id` gives it: id}), as (id, Namesake); parsing no others."""
    from core.dependencies import Namesake  # an `enqueue` makes none
    for offset, block in blocks(descriptor, end, start):
        if len(wanted) == 1 and next(iter(wanted)) not in block:
            continue
        lines = block.split(b"\n")
        for number in range(0, len(lines) - 1, 2):
            line1, line2 = lines[number], lines[number + 1]
            job_id = wanted.get(line1[ID_AT:line1.find(AFTER_ID)])
            offset += len(line1) + 1
            if job_id is not None:
                created_at = line1.partition(CREATED_AT)[2].partition(b'"')[0].decode("ascii")
                yield job_id, Namesake(offset, created_at, column(line2, "state"), column(line2, "updated_at"))
            offset += len(line2) + 1


# An id stands between these in a line 1; it holds no quote that is not escaped.
ID_AT = len('{"id": ')
AFTER_ID = b', "command": '
CREATED_AT = b', "created_at": "'


def key_in(line1):
    """The bytes of id and created_at in a line 1."""
    at = line1.find(CREATED_AT) + len(CREATED_AT)
    return line1[:line1.find(AFTER_ID)], line1[at:line1.find(b'"', at)]


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
    found = Counter(re.findall(_STATE, block))
    return [found[state] for state in _STATES], sum(found.values())


def read_lines(read, place):
    """Line 1 and line 2 of the record whose line 2 is at `place`, by `read(start, size)`; line 1 with its padding and comma."""
    reach = 2048
    while True:
        start = max(0, place - reach)
        content = read(start, place - start + WIDTH)
        middle = max(place - start - 1, 0)
        first = content.rfind(b"\n", 0, middle) + 1
        if start == 0 or first:
            return content[first:middle], content[middle + 1:]
        reach *= 8
