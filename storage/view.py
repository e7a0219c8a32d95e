"""A job file as it was at one moment, read without the lock."""
from __future__ import annotations

import os
import re
from collections import Counter

from core.errors import rotten_record_error, storage_error
from core.job import PENDING, STATES, encode_id
from core.strict_json import decode_json, encode_json
from core.system import pread
from storage.layout import (AFTER_ID, GROUP, ID_AT, WIDTH, bare, blocks, blocks_back, count_block, find_ids, lines_of, parse_record,
                            pending_blocks, pending_records, read_lines)

_OBJECT = b'{"'  # begins each object but an empty one; in a text the quote is escaped, unless it ends there
_GROUP_AND_STATE = GROUP + rb'("[^"\\]*(?:\\.[^"\\]*)*")[^\n]*\n "state": "(%s)"' % "|".join(STATES).encode("ascii")


class View:
    """A job file as it was at one moment, read without the lock. Records that change meanwhile are seen before or after the change.

    Of a file in another layout it reads the copy in ours (`is_copy`); then the place of each record is 0."""

    def __init__(self, lock, path, descriptor, end, counts=None, start=2, is_copy=False):
        self._lock = lock
        self._is_copy = is_copy
        self._start = start
        self._counts = counts
        self._path = path
        self._descriptor = descriptor
        self._end = end

    def __enter__(self):
        return self

    def __exit__(self, kind=None, error=None, trace=None):
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if isinstance(error, OSError):
            raise storage_error("read", self._path, error) from None

    def count(self):
        """How many records are in each state, by what is noted of it."""
        return self.recount() if self._counts is None else dict(zip(STATES, self._counts))

    def recount(self):
        """How many records are in each state, by a look at each, without parsing it."""
        counts = [0] * len(STATES)
        for _, _, of_block in self._sound_blocks():
            counts = [known + more for known, more in zip(counts, of_block)]
        return dict(zip(STATES, counts))

    def count_by_group(self):
        """How many records are in each state, as {group: {state: number}}: for each group that has any, and as "" for those without."""
        found, counts = Counter(), {"": dict.fromkeys(STATES, 0)}
        for offset, block, of_block in self._sound_blocks():
            has_objects = block.count(_OBJECT) != sum(of_block)  # without one in another each such field is a group
            found.update(self._grouped(offset, block) if has_objects else re.findall(_GROUP_AND_STATE, block))
            for state, number in zip(STATES, of_block):
                counts[""][state] += number
        for (text, state_bytes), number in found.items():
            state = state_bytes.decode("ascii")
            counts.setdefault(decode_json(text.decode("utf-8")), dict.fromkeys(STATES, 0))[state] += number
            counts[""][state] -= number
        return counts

    def _grouped(self, offset, block):
        """Of each record of a block that has a group, as bytes: (the group as JSON, the state). One is parsed only where "env", or another
        field, might hold what looks like a group."""
        for start, middle in _matches(block, STATES, (GROUP,)):
            at = block.find(GROUP, start, middle)
            found = re.compile(_GROUP_AND_STATE).match(block, at) if block.count(_OBJECT, start, at) == 1 else None
            if found:
                yield found.groups()
                continue
            record = self._record_at(block, offset, start, middle)[1]
            if type(record.get("group")) is str:  # another value is no group
                yield encode_json(record["group"]).encode("utf-8"), record["state"].encode("ascii")

    def _sound_blocks(self, start=None, back_from=None, sieve=()):
        """The blocks of the file as (offset, bytes, the counts of states), from `start` on, or with `back_from` (0: the end) the last ones
        first; those that lack one of the byte strings `sieve` are left out. One in which a record was caught in the middle of a change is
        read again while no one changes it."""
        for offset, block in (blocks(self._descriptor, self._end, start or self._start) if back_from is None
                              else blocks_back(self._descriptor, back_from or self._end)):
            if not all(text in block for text in sieve):
                continue
            counts, total = count_block(block)
            if sum(counts) != total and self._lock is not None:
                with self._lock:
                    block = pread(self._descriptor, len(block), offset)
                counts = count_block(block)[0]
            yield offset, block, counts

    def rows(self, without=()):
        """All records as (place, row), the row as `lay_out` takes it, without parsing them, but for those at the places `without`. The
        file must be in our layout. Behind the last one the view is closed: Windows replaces no open file."""
        for offset, block in blocks(self._descriptor, self._end):
            firsts, seconds, places = lines_of(offset, block)
            for place, line1, line2 in zip(places, firsts, seconds):
                if place not in without:
                    yield place, (bare(line1), line2[:WIDTH])
        self.__exit__()

    def find_ids(self, ids):
        """The records with one of these ids, as (id, Namesake)."""
        found = find_ids(self._descriptor, self._end, {encode_id(job_id): job_id for job_id in ids})
        return ((job_id, job._replace(place=0)) for job_id, job in found) if self._is_copy else found

    def pending_blocks(self, groups):
        """The pending records as `layout.pending_blocks` gives them. The file must be in our layout."""
        return pending_blocks(self._descriptor, self._end, again=self._read_again, groups=groups)

    def all_pending(self, groups):
        """The pending records as (place, object), the object None for one that may run at once and in its turn, and is in none of these
        groups; in any layout, where the place of each is 0 in another one than ours."""
        if self._is_copy:
            return self.records((PENDING,))
        return pending_records(self._descriptor, self._end, again=self._read_again, groups=groups)

    def records(self, states=STATES, containing=b"", ids=None):
        """The records in those states as (place, object), in order; with `ids`, only those with one of them, and with `containing`, only
        those whose line 1 has these bytes (a quick sieve). The place is 0 where the file is in another layout."""
        names = None if ids is None else set(map(encode_id, ids))
        if names is not None and len(names) == 1 and not containing:
            containing = next(iter(names))
        for block, offset, start, middle in self._found(states, (containing,) if containing else ()):
            if names is not None:
                after_id = block.find(AFTER_ID, start, middle)
                if after_id >= 0 and block[start + ID_AT:after_id] not in names:
                    continue  # without a command it is rotten_record_error, which the next line tells
            yield self._record_at(block, offset, start, middle)

    def records_beyond(self, place, states=STATES, containing=(), back=False):
        """The records in those states as `records` gives them, from behind the one at a place on (0: from the first one); with `back` those
        before it (0: before the end), the last one first. `containing` has several byte strings, each of which line 1 has."""
        first, end = place + WIDTH + len(",\n") if place else None, 0
        if place and back:
            end = max(1, place - len(read_lines(self._read, place)[0]) - len("\n,\n"))
        for block, offset, start, middle in self._found(states, containing, first, end if back else None):
            yield self._record_at(block, offset, start, middle)

    def _found(self, states, containing, first=None, back_from=None):
        """The records in these states whose line 1 has these byte strings, from where `_sound_blocks` begins, as (block, its offset, where
        line 1 starts in it, where line 1 ends)."""
        # A block without the one state that is wanted is left out even if a record was caught there: before or behind its change it is not
        # in that state.
        one = (b'\n "state": "%s"' % states[0].encode("ascii"),) if len(states) == 1 else ()
        for offset, block, _ in self._sound_blocks(first, back_from, (*containing, *one)):
            for start, middle in _matches(block, states, containing, back_from is not None):
                yield block, offset, start, middle

    def _record_at(self, block, offset, start, middle):
        """(place, object) of the record whose line 1 is from `start` to `middle` in a block."""
        place = offset + middle + 1
        try:
            record = parse_record(block[start:middle], block[middle + 1:middle + 1 + WIDTH])
        except ValueError:
            record = self._read_again(place)
        return 0 if self._is_copy else place, record

    def _read(self, start, size):
        return pread(self._descriptor, size, start)

    def _read_again(self, place):
        """A record that was caught in the middle of a change, read while no one changes it."""
        try:
            if self._lock is None:
                return parse_record(*read_lines(self._read, place))
            with self._lock:
                return parse_record(*read_lines(self._read, place))
        except ValueError as error:
            raise rotten_record_error(place, error, self._path) from None


def _matches(block, states, containing=(), back=False):
    """Where line 1 starts and ends in a block, of each record in these states whose line 1 has these byte strings."""
    matches = re.compile(b'\n "state": "(?:%s)"' % "|".join(states).encode("ascii")).finditer(block)
    for match in reversed(list(matches)) if back else matches:
        middle = match.start()
        start = block.rfind(b"\n", 0, middle) + 1
        if not containing or all(block.find(text, start, middle) >= 0 for text in containing):
            yield start, middle
