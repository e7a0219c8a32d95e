"""The jobs of a file that someone else wrote, as they are kept in our layout; and where they are kept."""
from __future__ import annotations

import errno
import json
import os
import sys
import unittest

from core.job import PENDING, PROCESSING
from core.job_record import job_from_record
from core.times import format_time
from storage import scratch
from storage.foreign_copy import ForeignCopy
from storage.layout import CHUNK
from storage.recognition import check_canonical
from tests.support.home import HomeTest
from tests.support.manager import NOW, ManagerTest

WRITTEN = int(NOW * 1e6)


class CopyTest(HomeTest):

    def copied(self, records, allow_duplicate_keys=False):
        """(the records of the copy, the copy)."""
        jobs = (job_from_record(dict({"command": "true"}, **record)) for record in records)
        copy = ForeignCopy(jobs, self.home, WRITTEN, allow_duplicate_keys)
        content = b"".join(copy.contents())
        self.write("copy.json", content)
        with open(self.path("copy.json"), "rb") as file:
            layout = check_canonical(file.fileno(), len(content), job_from_record, allow_duplicate_keys)
        self.assertEqual((layout.end, list(layout.counts), layout.torn), (copy.end, copy.counts, False))
        return json.loads(content.decode("utf-8")), copy

    def test_copy_is_a_job_file_of_ours(self):
        for number in (0, 1, 7, 2000):
            with self.subTest(number):
                made = ["2026-11-01T00:00:00.%06dZ" % each for each in range(number)]
                records, copy = self.copied([{"id": "job%d" % each, "created_at": made[each], "own": "x" * each} for each in range(number)])
                self.assertEqual([(record["id"], record["created_at"], record["state"]) for record in records],
                                 [("job%d" % each, made[each], PENDING) for each in range(number)])
                self.assertEqual(format_time(copy.last_created / 1e6) if number else None, made[-1] if number else None)

    def test_job_without_a_time_of_creation_gets_one_behind_all_others(self):
        records, copy = self.copied([{"id": "a"}, {"id": "b", "created_at": "2030-01-01T00:00:00Z"}, {"id": "a"}])
        self.assertEqual([record["created_at"] for record in records],
                         ["2030-01-01T00:00:00.000001Z", "2030-01-01T00:00:00.000000Z", "2030-01-01T00:00:00.000002Z"])
        self.assertEqual(format_time(copy.last_created / 1e6), "2030-01-01T00:00:00.000002Z")
        self.assertEqual(self.copied([{"id": "a"}])[0][0]["created_at"], format_time((WRITTEN + 1) / 1e6))

    def test_second_job_with_a_key_gets_another_time_unless_keys_may_repeat(self):
        twice = [{"id": "a", "created_at": "2030-01-01T00:00:00Z"}, {"id": "b", "created_at": "2030-01-01T00:00:00Z"},
                 {"id": "a", "created_at": "2030-01-01T00:00:00Z"}, {"id": "c", "created_at": "2029-01-01T00:00:00Z"}]
        times = [record["created_at"][:26] for record in self.copied(twice)[0]]
        self.assertEqual(times, ["2030-01-01T00:00:00.000000"] * 2 + ["2030-01-01T00:00:00.000001", "2029-01-01T00:00:00.000000"])
        times = [record["created_at"][:26] for record in self.copied(twice, allow_duplicate_keys=True)[0]]
        self.assertEqual(times, ["2030-01-01T00:00:00.000000"] * 3 + ["2029-01-01T00:00:00.000000"])

    def test_copied_line_of_a_running_job_is_another_job_that_waits(self):
        records, _ = self.copied([{"id": "a", "created_at": "2030-01-01T00:00:0%dZ" % each, "state": PROCESSING, "worker": "w-1",
                                   "attempts": 1} for each in range(2)])
        self.assertEqual([(record["state"], record["worker"], record["attempts"]) for record in records],
                         [(PROCESSING, "w-1", 1), (PENDING, None, 0)])


class ScratchTest(HomeTest):

    def test_what_a_place_does_not_take_goes_to_the_next_one_with_all_before_it(self):
        for fails_at in (0, 1, 3):
            with self.subTest(fails_at):
                kept, calls = scratch.Scratch(self.path("nowhere")), []

                def write(descriptor, content, offset, fails_at=fails_at, calls=calls, pwrite=scratch.pwrite):
                    calls.append(offset)
                    if len(calls) == fails_at + 1:
                        raise OSError(errno.ENOSPC, "full")
                    return pwrite(descriptor, content, offset)

                self.addCleanup(setattr, scratch, "pwrite", scratch.pwrite)
                former, scratch.pwrite = scratch.pwrite, write
                if fails_at and not hasattr(os, "memfd_create"):
                    continue
                for number in range(5):
                    kept.append(b"%d" % number * 1000)
                scratch.pwrite = former
                self.assertEqual(b"".join(kept.pieces()), b"".join(b"%d" % number * 1000 for number in range(5)))

    def test_nothing_is_left_in_the_folder(self):
        kept = scratch.Scratch(self.home)
        kept.append(b"x")
        before = os.listdir(self.home) if sys.platform == "win32" else []
        self.assertEqual([name for name in os.listdir(self.home) if name not in before], [])
        descriptor = kept.open()
        self.assertEqual(os.read(descriptor, 10), b"x")
        os.close(descriptor)


class ManyJobsTest(ManagerTest):
    """How much of a long foreign file is in memory at once."""

    def test_memory_does_not_grow_with_a_foreign_file(self):
        import tracemalloc
        peaks = []
        for number in (2000, 20000):
            jobs = [{"id": "job%d" % each, "command": "echo %s" % ("x" * 300), "created_at": format_time(NOW + each)} for each in range(number)]
            self.edit("jobs.json", json.dumps(jobs, indent=2))
            manager = self.manager()
            tracemalloc.start()
            self.assertEqual(manager.count()[PENDING], number)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        self.assertLess(peaks[1], peaks[0] + 12 * CHUNK)


if __name__ == "__main__":
    unittest.main()
