"""Very many jobs at once: all or none, in the layout, whoever adds others meanwhile."""
from __future__ import annotations

import os

from core.job import PENDING
from core.job_record import job_from_record
from core.times import format_time
from storage import new_rows, scratch
from storage.layout import PAGE, WIDTH
from storage.recognition import check_canonical
from tests.support.manager import NOW, ManagerTest


class LaidRowsTest(ManagerTest):

    def setUp(self):
        super().setUp()
        self.addCleanup(setattr, new_rows, "_IN_MEMORY", new_rows._IN_MEMORY)
        new_rows._IN_MEMORY = 3
        self.addCleanup(setattr, scratch, "_PIECE", scratch._PIECE)
        scratch._PIECE = 5000

    def assert_canonical(self, ids):
        """jobs.json has these jobs, as we write them; each one's created_at is greater than that of the one before it."""
        with open(self.path("jobs.json"), "rb") as file:
            layout = check_canonical(file.fileno(), os.fstat(file.fileno()).st_size, job_from_record, False)
        records = self.records("jobs.json")
        self.assertEqual([record["id"] for record in records], ids)
        self.assertEqual((layout.torn, layout.counts[0]), (False, len(ids)))
        times = [record["created_at"] for record in records]
        self.assertEqual(times, sorted(set(times)))
        content = self.read("jobs.json").encode("utf-8") if isinstance(self.read("jobs.json"), str) else self.read("jobs.json")
        places = [at for at in range(len(content)) if content.startswith(b' "state"', at) and content[at - 1:at] == b"\n"]
        self.assertEqual([place for place in places if place % PAGE + WIDTH > PAGE], [])

    def test_jobs_are_laid_out_as_few_ones_are_wherever_the_file_ends(self):
        expected = []
        for number, size in enumerate((7, 3, 4, 50, 200, 31)):
            ids = ["job%d-%d-%s" % (number, each, "é" * (each % 7)) for each in range(size)]
            self.assertEqual(self.add(*ids), ids)
            expected += ids
            self.assert_canonical(expected)
            self.assertEqual(self.add("single%d" % number, own="x" * 37 * number), ["single%d" % number])
            expected.append("single%d" % number)
        self.assert_canonical(expected)
        self.assertEqual(self.manager().count()[PENDING], len(expected))
        self.assertEqual(self.claimed_ids(now=NOW + 5), expected)

    def test_jobs_are_added_behind_those_that_came_while_they_were_read(self):
        self.add("before")
        other = self.manager()

        def records():
            for number in range(10):
                yield {"id": "job%d" % number, "command": "true"}
                if number == 7:
                    other.enqueue([{"id": "meanwhile", "command": "true"}], "/", NOW + 50)

        added = self.jobs.enqueue(records(), "/", NOW)
        self.assert_canonical(["before", "meanwhile"] + ["job%d" % number for number in range(10)])
        self.assertEqual(self.records("jobs.json")[2]["created_at"], format_time(added.first_created / 1e6))

    def test_append_that_was_killed_between_two_pieces_is_taken_back(self):
        self.add("before")
        whole = self.read("jobs.json")

        class Killed(BaseException):
            """The process is gone."""

        for piece in range(1, 6):
            from storage import job_file
            former, calls = job_file.write_all, []

            def write(descriptor, content, offset, former=former, calls=calls, piece=piece):
                calls.append(offset)
                if len(calls) == piece:
                    former(descriptor, content[:len(content) // 2], offset)
                    raise Killed
                former(descriptor, content, offset)

            job_file.write_all = write
            try:
                with self.assertRaises(Killed):
                    self.add(*["job%d" % number for number in range(100)], manager=self.manager())
            finally:
                job_file.write_all = former
            with self.subTest(piece):
                self.assertNotEqual(self.read("jobs.json"), whole)
                self.assertEqual([job.id for job in self.manager().jobs()], ["before"])
                self.assertEqual(self.read("jobs.json"), whole)

    def test_disk_that_is_full_leaves_the_file_as_it_was(self):
        self.add("before")
        whole = self.read("jobs.json")
        from core.errors import StorageFault
        from storage import replaceable_file
        former, calls = replaceable_file.pwrite, []

        def write(descriptor, content, offset):
            calls.append(offset)
            return former(descriptor, content[:len(content) // 2] if len(calls) == 3 else content, offset)

        replaceable_file.pwrite = write
        try:
            with self.assertRaisesRegex(StorageFault, "nothing was changed"):
                self.add(*["job%d" % number for number in range(100)])
        finally:
            replaceable_file.pwrite = former
        self.assertEqual(self.read("jobs.json"), whole)
