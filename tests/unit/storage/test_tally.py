"""The counters of ended attempts, in the file of the lock."""
from __future__ import annotations

import errno
import os

from core.job import COMPLETED, DEAD, PENDING
from storage.file_lock import FileLock
from storage.notes import Notes
from storage.tally import LIMITS, MINUTES, REASONS, Tally, ended_by_minute, read_counters
from tests.support.home import HomeTest

NOW = 1795486146.0
MINUTE = int(NOW // 60)


class TestTally(HomeTest):

    def setUp(self):
        super().setUp()
        self.lock = FileLock(self.path("run", "lock"))

    def counters(self):
        """The counters as they are in the file."""
        with self.lock:
            return read_counters(self.lock)

    def add(self, *notes):
        """Count these ends of attempts: (reason, seconds, state of the job, time)."""
        tally = Tally()
        for note in notes:
            tally.note(True, *note)
        tally.write(self.lock)

    def test_attempts_are_counted_by_how_they_ended(self):
        self.add(*[(reason, 1.0, PENDING, NOW) for reason in REASONS], (None, 2.0, COMPLETED, NOW))
        self.assertEqual(self.counters().attempts, [2] + [1] * (len(REASONS) - 1))

    def test_processes_add_to_each_other(self):
        for _ in range(3):
            self.add((None, 0.5, COMPLETED, NOW))
        self.assertEqual((self.counters().attempts[0], self.counters().micros), (3, [1500000]))

    def test_run_times_are_counted_in_steps_whose_limit_belongs_to_them(self):
        for seconds, step in ((0.001, 0), (0.01, 0), (0.0101, 1), (86400, len(LIMITS) - 1), (86401, len(LIMITS)), (1e9, len(LIMITS))):
            with self.subTest(seconds):
                before = self.counters().run_times
                self.add((None, seconds, COMPLETED, NOW))
                after = self.counters().run_times
                self.assertEqual([place for place in range(len(after)) if after[place] != before[place]], [step])

    def test_a_run_time_that_is_not_known_is_in_no_step(self):
        self.add(("lost", 0.0, PENDING, NOW))
        self.assertEqual((sum(self.counters().run_times), sum(self.counters().attempts)), (0, 1))

    def test_a_job_that_dies_without_an_attempt_is_none(self):
        tally = Tally()
        tally.note(False, "dependency", 0.0, DEAD, NOW)
        tally.write(self.lock)
        self.assertEqual((sum(self.counters().attempts), ended_by_minute(self.counters(), NOW)[1][-1]), (0, 1))

    def test_ended_jobs_are_counted_by_minute(self):
        minute = 60.0
        for ends, now, completed in (
                ((NOW,), NOW, {0: 1}),
                ((NOW + minute, NOW + minute, NOW + 3 * minute), NOW + 3 * minute, {0: 1, 2: 2, 3: 1}),
                ((), NOW + 62 * minute, {3: 1}),  # nothing was added meanwhile
                ((NOW + 63 * minute,), NOW + 63 * minute, {0: 1}),
                ((NOW + 62 * minute,), NOW + 63 * minute, {0: 2}),  # the clock was set back a little
                ((NOW - 9 * minute * MINUTES,), NOW - 9 * minute * MINUTES, {0: 1})):
            with self.subTest(ends=ends, now=now):
                self.add(*[(None, 1.0, COMPLETED, end) for end in ends])
                counted = ended_by_minute(self.counters(), now)[0]
                self.assertEqual(sorted(number for number in counted if number), sorted(completed.values()))
                self.assertEqual(len(counted), MINUTES)

    def test_bytes_that_do_not_read_right_count_as_none(self):
        self.add((None, 1.0, COMPLETED, NOW))
        content = self.read(os.path.join("run", "lock"))
        for spoiled in (content[:-1], content[:-9] + b"\1" + content[-8:], content.replace(b"QUEUETL1", b"QUEUETL0")):
            self.write(os.path.join("run", "lock"), spoiled)
            self.assertEqual(sum(self.counters().attempts), 0)

    def test_they_leave_the_notes_alone(self):
        with self.lock:
            notes = [Notes(self.lock, slot) for slot in (0, 1)]
            for number, each in enumerate(notes):
                each.generation = 7 + number
                each.add_changes([number + 1] * 4000)
                each.write()
        self.add((None, 1.0, COMPLETED, NOW))
        with self.lock:
            for number, each in enumerate(notes):
                each.read()
                self.assertEqual((each.generation, set(each.places(0))), (7 + number, {number + 1}))

    def test_what_cannot_be_written_is_kept_for_the_next_time(self):
        class FullDisk(FileLock):
            def write(self, content, offset):
                raise OSError(errno.ENOSPC, "no space")

        tally = Tally()
        tally.note(True, None, 1.0, COMPLETED, NOW)
        tally.note(True, "failed", 1.0, PENDING, NOW)
        with self.assertRaises(OSError):
            tally.write(FullDisk(self.lock.path))
        tally.write(self.lock)
        tally.write(self.lock)
        self.assertEqual(self.counters().attempts[:2], [1, 1])
