"""How attempts have ended so far: counters for those who watch a queue, kept in the lock's file behind the notes.

They outlive `clean` and `purge`, which remove jobs. A worker process counts in memory (`Tally.note`) and adds that to the file once a
second and when it stops (`Tally.write`), so that a job costs no write. What it has not added yet is lost if it is killed: a second of
counts at the most. Who deletes run/, or cuts power while the bytes are on their way to the disk, lets them start from 0, as counters may.

Counters are no record: nothing that a command decides rests on them.
"""
from __future__ import annotations

import struct
from bisect import bisect_left
from collections import deque, namedtuple

from core.job import CANCELLED, COMPLETED, DEAD, FAILED, KILLED, LOST, TIMEOUT, UNSTARTABLE
from storage.notes import BEHIND_NOTES

REASONS = (None, FAILED, KILLED, TIMEOUT, LOST, UNSTARTABLE, CANCELLED)  # why attempts end; None: they succeed
LIMITS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 43200, 86400)  # seconds: the steps of the run times
MINUTES = 60  # minutes whose ended jobs are counted one by one

_MAGIC = b"QUEUETL1"
# Magic; attempts by REASONS; the sum of run times (µs) and how many are in each step, one above all LIMITS included; the last minute
# counted; the jobs that completed and died in each minute, that of minute M at M % MINUTES; a check sum. It stays within a page.
_PARTS = (len(REASONS), 1, len(LIMITS) + 1, 1, MINUTES, MINUTES)
_LAYOUT = struct.Struct("<8s%dQ" % (sum(_PARTS) + 1))
_MODULUS = 1 << 64

Counters = namedtuple("Counters", "attempts micros run_times minute completed dead")
Counters.__doc__ = """The counters: lists as the layout has them. `micros` and `minute` are lists of one number."""


def read_counters(lock):
    """The Counters as they are in the file of this lock, which the caller holds; all 0 if they do not read right. Raises OSError."""
    content, fields = lock.read(_LAYOUT.size, BEHIND_NOTES), [0] * sum(_PARTS)
    if len(content) == _LAYOUT.size:
        magic, *found, check = _LAYOUT.unpack(content)
        if magic == _MAGIC and check == sum(found) % _MODULUS:
            fields = found
    parts = []
    for size in _PARTS:
        parts.append(fields[:size])
        fields = fields[size:]
    return Counters(*parts)


def _write_counters(lock, counters):
    fields = [number % _MODULUS for part in counters for number in part]
    lock.write(_LAYOUT.pack(_MAGIC, *fields, sum(fields) % _MODULUS), BEHIND_NOTES)


def ended_by_minute(counters, now):
    """How many jobs completed, and how many died, in each of the last MINUTES minutes up to `now` (seconds since the epoch), as two lists,
    the oldest minute first. The last one is the minute that has just begun."""
    last = int(now // 60)
    minutes = range(last - MINUTES + 1, last + 1)
    return tuple([of_all[minute % MINUTES] if counters.minute[0] - MINUTES < minute <= counters.minute[0] else 0 for minute in minutes]
                 for of_all in (counters.completed, counters.dead))


class Tally:
    """What a worker process has counted. All its threads call `note`; one calls `write`."""

    def __init__(self):
        self._noted = deque()

    def note(self, attempted, reason, seconds, state, now):
        """Count the end of an attempt, or of a job that died without one (not `attempted`): why it ended, how many seconds it ran (0: not
        known), the state of its job behind it, when that was."""
        self._noted.append((attempted, reason, seconds, state, now))

    def write(self, lock):
        """Add what was noted to the file of this lock. Raises LockError, OSError with all of it kept for the next time."""
        if not self._noted:
            return
        with lock:
            counters, added = read_counters(lock), []
            try:
                while self._noted:
                    added.append(self._noted.popleft())
                    _add(counters, *added[-1])
                _write_counters(lock, counters)
            except OSError:
                self._noted.extendleft(reversed(added))
                raise


def _add(counters, attempted, reason, seconds, state, now):
    if attempted:
        counters.attempts[REASONS.index(reason if reason in REASONS else FAILED)] += 1
    if seconds > 0:
        counters.micros[0] += int(seconds * 1e6)
        counters.run_times[bisect_left(LIMITS, seconds)] += 1
    if state in (COMPLETED, DEAD):
        _turn_to(counters, int(now // 60))
        (counters.completed if state == COMPLETED else counters.dead)[counters.minute[0] % MINUTES] += 1


def _turn_to(counters, minute):
    """Let the counters of minutes end with this one. A clock that is set back by more than all of them starts them anew; by less, what ends
    is counted in the last minute until the clock has caught up."""
    last = counters.minute[0]
    if last - MINUTES < minute <= last:
        return
    for passed in range(MINUTES) if minute < last else range(last + 1, minute + 1)[-MINUTES:]:
        counters.completed[passed % MINUTES] = counters.dead[passed % MINUTES] = 0
    counters.minute[0] = minute
