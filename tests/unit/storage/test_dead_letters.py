"""Jobs that die, and what dlq.json says of them."""
from __future__ import annotations

import json
import os
from unittest.mock import patch

from core.errors import CorruptFile, JobNotFound, JobRefused, storage_error
from core.job import DEAD, FAILED, PENDING, PROCESSING, Outcome
from core.times import format_time
from storage.selection import Choice
from tests.support.manager import ALL, FAILURE, NOW, ManagerTest


class DeadTest(ManagerTest):

    def test_exhausted_job_moves_to_the_dlq(self):
        self.add("a", own=5)
        self.kill("a", now=NOW + 3, output="last\nlines\u00e9")
        record = self.records("dlq.json")[0]
        self.assertEqual((record["id"], record["state"], record["attempts"], record["exit_code"], record["reason"], record["failed_at"],
                          record["output"], record["own"]), ("a", DEAD, 1, 1, FAILED, format_time(NOW + 3), "last\nlines\u00e9", 5))
        self.assertEqual(self.states(), {"a": DEAD})

    def test_dlq_lists_jobs_in_the_order_in_which_they_died(self):
        self.add("a", "b", "c")
        first, second, third = self.claim(), self.claim(), self.claim()
        self.jobs.settings = self.jobs.settings._replace(max_retries=0)
        for number, job in enumerate((third, first, second)):
            self.finish(job, FAILURE, NOW + number)
        self.assertEqual(self.dead_ids(), ["c", "a", "b"])

    def test_empty_dlq_is_empty(self):
        self.assertEqual(self.dead_ids(), [])
        self.add("a")
        self.assertEqual(self.dead_ids(), [])

    def with_two_entries(self):
        """Two dead jobs, a and b, and two entries of a, as a crash between the two files leaves them: b, a, b, a died in turn."""
        self.add("a", "b")
        self.kill("a", "b", output="first")
        entries = self.read("dlq.json")
        self.jobs.retry(ALL, NOW)
        self.edit("dlq.json", entries)
        self.jobs = self.manager()
        self.jobs.settings = self.jobs.settings._replace(max_retries=0)
        a, b = self.claim(), self.claim()
        self.finish(b, FAILURE, output="second")
        self.finish(a, Outcome(9, FAILED), output="second")
        self.assertEqual([record["id"] for record in self.records("dlq.json")], ["a", "b", "b", "a"])

    def test_last_entry_of_a_job_counts(self):
        self.with_two_entries()
        self.assertEqual([(job.id, job.options["output"], job.exit_code) for job in self.jobs.dead()],
                         [("b", "second", 1), ("a", "second", 9)])

    def test_last_entry_of_a_job_counts_also_in_a_file_that_was_reformatted(self):
        self.with_two_entries()
        self.edit("dlq.json", json.dumps(self.records("dlq.json"), indent=2))
        self.assertEqual([(job.id, job.options["output"], job.exit_code) for job in self.jobs.dead()],
                         [("b", "second", 1), ("a", "second", 9)])

    def test_job_with_several_entries_is_retried_once(self):
        for name, reformat in (("as it was written", False), ("reformatted", True)):
            with self.subTest(name):
                self.jobs = self.manager()
                self.jobs.reset()
                self.with_two_entries()
                if reformat:
                    self.edit("dlq.json", json.dumps(self.records("dlq.json"), indent=2))
                self.assertEqual(sorted(self.jobs.retry(ALL, NOW).ids), ["a", "b"])
                self.assertEqual(([record["id"] for record in self.records()], self.dead_ids()), (["a", "b"], []))

    def test_entry_of_a_job_that_is_not_dead_is_ignored(self):
        self.add("a", "b")
        self.kill("a", "b")
        entries = self.read("dlq.json")
        self.jobs.retry(Choice(["a"], None), NOW)
        self.edit("dlq.json", entries)
        self.assertEqual(self.dead_ids(), ["b"])
        with self.assertRaises(JobRefused):
            self.jobs.retry(Choice(["a"], None), NOW)
        with self.assertRaises(JobNotFound):
            self.jobs.clean((DEAD,), Choice(["a"], None))
        self.assertEqual(self.states(), {"a": PENDING, "b": DEAD})
        self.finish(self.claim(manager=self.manager()), manager=self.manager())
        self.assertEqual(self.dead_ids(), ["b"])

    def test_dead_job_without_an_entry_is_listed_and_can_be_retried(self):
        self.add("a", "b")
        self.kill("a", "b")
        os.unlink(self.path("dlq.json"))
        self.assertEqual(self.dead_ids(), ["a", "b"])
        self.assertEqual(self.jobs.retry(Choice(["b"], None), NOW).ids, ["b"])
        self.assertEqual((self.states(), self.dead_ids()), ({"a": DEAD, "b": PENDING}, ["a"]))

    def test_entry_whose_job_is_gone_is_listed_and_can_be_retried(self):
        self.add("a", "b", own=5)
        self.kill("a", "b", output="last words")
        self.edit("jobs.json", json.dumps([record for record in self.records() if record["id"] == "b"]))
        self.assertEqual(self.dead_ids(), ["a", "b"])
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW + 9).ids, ["a"])
        job = self.jobs.find("a")[0]
        self.assertEqual((job.state, job.attempts, job.reason, job.options), (PENDING, 0, None, {"own": 5, "cwd": "/"}))
        self.assertEqual((self.dead_ids(), self.claim(manager=self.manager()).id), (["b"], "a"))

    def test_entry_typed_by_hand_can_be_retried(self):
        self.edit("dlq.json", json.dumps([{"id": "a", "command": "x", "state": "dead"}]))
        self.assertEqual((self.dead_ids(), self.jobs.retry(ALL, NOW).ids), (["a"], ["a"]))
        self.assertEqual(([job.id for job in self.jobs.jobs((PENDING,))], self.dead_ids()), (["a"], []))

    def test_broken_dlq_is_refused_where_it_is_needed_and_left_alone(self):
        self.add("a", "b")
        self.kill("a")
        self.edit("dlq.json", "[{]")
        for operation in (self.dead_ids, lambda: self.jobs.retry(ALL, NOW), lambda: self.jobs.clean((DEAD,), ALL), self.jobs.reset):
            with self.assertRaises(CorruptFile):
                operation()
        self.assertEqual((self.read("dlq.json"), self.claimed_ids()), (b"[{]", ["b"]))


class BrokenDlqTest(ManagerTest):
    """No worker waits long for the repair of dlq.json: jobs.json says which jobs are dead, and the log has what they wrote."""

    def setUp(self):
        super().setUp()
        patience = patch("storage.dead_letters.DLQ_PATIENCE", 0)
        patience.start()
        self.addCleanup(patience.stop)

    def assert_dead_without_entry(self, *ids):
        """These jobs are dead in jobs.json alone, each was told of, and they are found once dlq.json is repaired."""
        self.assertEqual(sorted(job_id for job_id, state in self.states().items() if state == DEAD), sorted(ids))
        for job_id in ids:
            self.assertIn("that %s is dead is noted in jobs.json alone" % job_id, "".join(self.notices))
        if os.path.isdir(self.path("dlq.json")):
            os.rmdir(self.path("dlq.json"))
        else:
            self.edit("dlq.json", "[]")
        self.assertEqual(sorted(self.dead_ids()), sorted(ids))
        self.assertEqual(self.jobs.retry(ALL, NOW).ids, list(ids))

    def test_a_job_dies_although_dlq_json_cannot_be_written(self):
        for name, spoil in (("broken", lambda: self.edit("dlq.json", "[{]")), ("a folder", lambda: os.mkdir(self.path("dlq.json")))):
            with self.subTest(name):
                self.jobs.reset()
                os.unlink(self.path("dlq.json"))
                self.add("a", "b", "c")
                spoil()
                self.kill("a", "b")
                self.assertEqual(self.claim().id, "c")
                self.assert_dead_without_entry("a", "b")

    def test_a_job_waits_for_a_dlq_json_that_is_broken_for_a_moment(self):
        self.add("a", "b")
        with patch("storage.dead_letters.DLQ_PATIENCE", 1000):
            self.edit("dlq.json", "[{]")
            job = self.claim()
            self.jobs.settings = self.jobs.settings._replace(max_retries=0)
            for _ in range(2):
                with self.assertRaises(CorruptFile):
                    self.finish(job, FAILURE)
            self.assertEqual(self.states()["a"], PROCESSING)
            self.edit("dlq.json", "[]")
            self.assertEqual(self.finish(job, FAILURE).state, DEAD)
        self.assertEqual([record["id"] for record in self.records("dlq.json")], ["a"])

    def test_a_job_dies_on_a_full_disk(self):
        self.add("a", "b")
        self.kill("a")
        with patch.object(self.jobs.store.dlq_json, "append", side_effect=storage_error("write", "dlq.json", OSError(28, "full"))):
            self.kill("b")
        self.assertEqual(self.states(), {"a": DEAD, "b": DEAD})
        self.assertIn("full; free some space and try again; that b is dead is noted in jobs.json alone", self.notices[0])
        self.assertEqual(self.dead_ids(), ["a", "b"])

    def test_a_job_dies_with_one_before_it_although_dlq_json_is_broken(self):
        self.add("a")
        self.add("b", after=["a"])
        self.add("c")
        self.edit("dlq.json", "[{]")
        self.kill("a")
        self.assertEqual(self.claimed_ids(), ["c"])
        self.assert_dead_without_entry("a", "b")
