"""Job files for tests, made by hand."""
from __future__ import annotations

import os

from core.job import STATES
from storage import layout as storage_layout
from storage.layout import END, blocks, count_block, encode_line1, lay_out
from tests.support.home import HomeTest

TIME = "2026-11-24T02:09:06.123456Z"
PENDING = ("pending", 0, None, None, None, None, TIME, None)
STANDINGS = (
    PENDING,
    ("processing", 9999999, None, None, None, TIME, TIME, "0123456789ab-0123456789abc"),
    ("completed", 1, 0, None, None, TIME, TIME, None),
    ("dead", 4, 4294967295, "unstartable", None, TIME, TIME, None),
    ("pending", 3, -2147483648, "abcdefghijklmn", "9999-12-30T23:59:59.999999Z", TIME, TIME, None),
    (None,) * 8,
)


def line1(job_id, command="echo Hello", created_at=TIME, **options):
    """Line 1 of a record."""
    return encode_line1(dict(id=job_id, command=command, created_at=created_at, **options))


def content_of(rows):
    """The bytes of a whole file of these rows."""
    return b"[" + bytes(lay_out(rows, 1, True)) + END


def places_of(content):
    """Where each line 2 starts in the bytes of a file."""
    places, at = [], content.find(b"\n \"state\": ")
    while at >= 0:
        places.append(at + 1)
        at = content.find(b"\n \"state\": ", at + 1)
    return places


def count_states(descriptor, end):
    """(how many records of a file are in each state, how many records there are)."""
    counts, total = [0] * len(STATES), 0
    for _, block in blocks(descriptor, end):
        of_block, records = count_block(block)
        counts, total = [known + more for known, more in zip(counts, of_block)], total + records
    return dict(zip(STATES, counts)), total


class FormatTest(HomeTest):

    def open(self, content):
        """A descriptor of a file of these bytes, closed after the test."""
        self.write("jobs.json", content)
        descriptor = os.open(self.path("jobs.json"), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.addCleanup(os.close, descriptor)
        return descriptor

    def chunks_of(self, size):
        """Let files be read in pieces of so many bytes."""
        self.addCleanup(setattr, storage_layout, "CHUNK", storage_layout.CHUNK)
        storage_layout.CHUNK = size
