"""The jobs of a file that someone else wrote, in our layout: read from there as long as nobody changes it, and taken over whole.

Each job is written as it is read, so that memory does not hold them all. What depends on the others is made up for at the end: a job
without a time of creation, or with the key of another one, gets one of its own.
"""
from __future__ import annotations

import os
from array import array
from itertools import islice

from core.job import STATES
from core.times import format_time, micros_of
from storage.layout import CREATED_AT, END, blocks, counted, encode_line1, encode_line2, file_of, key_in, lines_of
from storage.scratch import Scratch

_NO_TIME = "0000-00-00T00:00:00.000000Z"  # in the place of a time of creation that is to come; as wide as one


class ForeignCopy:
    """A job file of ours with the jobs that are given. Making it raises OSError, and whatever reading the jobs does.

    `folder` is where it should lie; `written` (microseconds) is when the file was written; `allow_duplicate_keys` is as for `JobFile`.
    """

    def __init__(self, jobs, folder, written, allow_duplicate_keys):
        self.counts = [0] * len(STATES)
        self.rest_until = 0.0  # no job may run before, by the monotonic clock: see `ForeignFile.has_pending`
        self._latest = ""  # created_at so far
        self._lacks_time = self._is_out_of_turn = False  # some job, by its created_at
        self._scratch = Scratch(folder)
        for piece in file_of(counted(self._rows(jobs), self.counts)):
            self._scratch.append(piece)
        self.end = self._scratch.size - len(END)  # just behind the last record
        self.last_created = micros_of(self._latest)  # the greatest created_at, in microseconds
        twice = self._hashes_twice() if self._is_out_of_turn and not allow_duplicate_keys else ()
        if self._lacks_time or twice:
            self._tell_apart(twice, written)

    def _rows(self, jobs):
        workers = set()
        for job in jobs:
            if job.worker is not None:
                if job.worker in workers:  # the line of a running job, copied to make another one
                    job = job._replace(state=STATES[0], attempts=0, started_at=None, worker=None)
                workers.add(job.worker)
            if not job.created_at:
                self._lacks_time = True
                job = job._replace(created_at=_NO_TIME)
            elif job.created_at > self._latest:
                self._latest = job.created_at
            else:
                self._is_out_of_turn = True
            yield encode_line1(job.fields()), encode_line2(job.progress())

    def _hashes_twice(self):
        """The hashes of keys that several jobs may have."""
        ordered = sorted(array("q", (hash(key) for key, _ in self._keys_in_turn())))
        return {one for one, other in zip(ordered, islice(ordered, 1, None)) if one == other}

    def _tell_apart(self, twice, written):
        """Give times of creation of their own, in the order of the file, to jobs without one, and to those with the key of one before
        them, whose hash is among those in `twice`."""
        last, seen = max(self.last_created, written), set()
        for key, place in self._keys_in_turn():
            is_known = key in seen
            if twice and hash(key) in twice:
                seen.add(key)
            if is_known or key[1] == _NO_TIME.encode("ascii"):
                last += 1
                self._scratch.replace(format_time(last / 1e6).encode("ascii"), place)
        self.last_created = last

    def _keys_in_turn(self):
        """The key of each job, as `key_in` gives it, and the place of its time of creation."""
        descriptor = self.open()
        try:
            for offset, block in blocks(descriptor, self.end):
                firsts, _, places = lines_of(offset, block)
                for line1, place in zip(firsts, places):
                    yield key_in(line1), place - 1 - len(line1) + line1.find(CREATED_AT) + len(CREATED_AT)
        finally:
            os.close(descriptor)

    def open(self):
        """A descriptor of the copy to read it, for the caller to close."""
        return self._scratch.open()

    def contents(self):
        """The bytes of that job file, in pieces."""
        return self._scratch.pieces()
