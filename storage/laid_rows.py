"""Very many new jobs, laid out for a job file before the lock is taken, so that it is held for the writing alone. They lie on the disk.

They are laid out for a place at the start of a page; where they come to stand elsewhere in one, spaces in the first line 1 make up for it.
Their times of creation are those of when they were read; if others have added jobs meanwhile, they are stamped anew.
"""
from __future__ import annotations

import os

from core.job import STATES
from core.times import format_time
from storage.layout import CREATED_AT, PAGE, WIDTH, blocks, counted, lay_out, lines_of
from storage.scratch import Scratch


class LaidRows:
    """Rows in our layout, each behind a separator. `first` is the created_at of the first one in microseconds, each further one's is one
    more; `folder` is where they should lie."""

    def __init__(self, folder, first):
        self.first = first
        self.count = 0
        self.counts = [0] * len(STATES)  # in each state
        self._scratch = Scratch(folder)
        self._line1 = 0  # the length of the first line 1

    def add(self, rows):
        """Add rows as `lay_out` takes them, at least one. Raises OSError."""
        rows = list(rows)
        if not self.count:
            self._line1 = len(rows[0][0])
        self._scratch.append(lay_out(counted(rows, self.counts), self._scratch.size, False))
        self.count += len(rows)

    def stamp(self, first):
        """Give other times of creation, from `first` on. Raises OSError."""
        descriptor, number = self._scratch.open(), first
        try:
            for offset, block in blocks(descriptor, self._scratch.size):
                content = bytearray(block)
                firsts, _, places = lines_of(0, block)
                for line1, place in zip(firsts, places):
                    at = place - 1 - len(line1) + line1.find(CREATED_AT) + len(CREATED_AT)
                    stamp = format_time(number / 1e6).encode("ascii")
                    content[at:at + len(stamp)] = stamp
                    number += 1
                self._scratch.replace(content, offset)
        finally:
            os.close(descriptor)
        self.first = first

    def contents(self, start, is_first):
        """(how many bytes these rows take in a job file from `start` on, the bytes in pieces); `is_first`: no record is before them."""
        without = 1 if is_first else 0  # the comma of the separator
        padding = (without - start) % PAGE
        split = 2 + self._line1
        return self._scratch.size - without + padding, self._pieces(without, split, b" " * padding)

    def _pieces(self, without, split, padding):
        pieces = self._scratch.pieces()
        head = next(pieces)
        while len(head) < split + WIDTH:
            head += next(pieces)
        yield head[without:split] + padding + head[split:]
        yield from pieces
