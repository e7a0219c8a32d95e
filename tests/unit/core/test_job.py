"""What a job is, and which of several with one id is meant."""
from __future__ import annotations

import unittest

from core.job import DEAD, FAILED, KILLED, LOST, UNSTARTABLE
from core.dependencies import jobs_meant
from tests.support.jobs import a_job


class JobTest(unittest.TestCase):

    def test_jobs_are_told_apart_by_id_and_creation(self):
        jobs = [a_job(), a_job(id="job2"), a_job(created_at="2026-11-24T02:09:06.123457Z")]
        self.assertEqual((len({job.key for job in jobs}), len({job.digest for job in jobs})), (3, 3))
        self.assertEqual((a_job(state=DEAD).key, a_job(state=DEAD).digest), (a_job().key, a_job().digest))

    def test_digest_is_safe_in_a_file_name(self):
        for job_id in ("../../etc", "a b", "\u00e9", "x" * 200, "CON", "."):
            with self.subTest(job_id[:10]):
                self.assertRegex(a_job(id=job_id).digest, r"\A[0-9a-f]{16}\Z")

    def test_digest_stays_the_same_from_version_to_version(self):
        self.assertEqual(a_job().digest, a_job(command="other").digest)
        self.assertNotEqual(a_job(id="a\u00e9").digest, a_job(id="ae").digest)

    def test_ending_is_said_in_words(self):
        for fields, words in (
                ({}, ""), ({"exit_code": 0}, "exit code 0"), ({"exit_code": 3, "reason": FAILED}, "exit code 3"), ({"reason": FAILED}, ""),
                ({"exit_code": 137, "reason": KILLED}, "killed by signal 9"), ({"reason": LOST}, "its worker died"),
                ({"reason": UNSTARTABLE}, "could not be started"), ({"reason": "timeout"}, "timed out"),
                ({"reason": "timeout", "timeout": 1.5}, "timed out after 1.5 s"),
                ({"reason": "cancelled"}, "cancelled"),
        ):
            with self.subTest(fields):
                self.assertEqual(a_job(**fields).ending, words)

    def test_ending_that_was_typed_by_hand_is_no_fault(self):
        self.assertIsInstance(a_job(reason=KILLED).ending, str)


class NamesakesTest(unittest.TestCase):

    def jobs(self, *texts):
        """Jobs of one id, each from its state and the hours when it was added and when it last changed."""
        day = "2026-11-24T%02d:00:00.000000Z"
        return [a_job(state=state, created_at=day % int(added), updated_at=day % int(changed) if changed else None)
                for state, added, changed in [(text.split() + [""])[:3] for text in texts]]

    def test_of_several_with_one_id_those_are_meant_that_had_not_ended_or_else_the_newest(self):
        for texts, added, now in (
                (["dead 1 2", "completed 3 4"], [1], [1]),
                (["completed 1 2", "dead 3 4"], [1], [1]),
                (["dead 1 11", "completed 3 4"], [0], [1]),  # it had not ended at 10
                (["dead 1 10", "completed 3 4"], [0], [1]),
                (["dead 1 2", "completed 3 11"], [1], [1]),
                (["dead 1 2", "pending 3", "processing 4 4"], [1, 2], [1, 2]),
                (["dead 1 2", "pending 11 11"], [1], [1]),
                (["dead 1 2", "completed 11 12"], [1], [1]),
                (["pending 1 2", "completed 3 4"], [0], [0]),  # it was retried
                (["dead 1 2", "completed 11 5"], [1], [1]),  # the clock was set back
                (["dead 1"], [0], [0]),
                (["dead 1", "dead 2"], [1], [1]),
                ([], [], [])):
            with self.subTest(texts):
                jobs = self.jobs(*texts)
                self.assertEqual([jobs.index(job) for job in jobs_meant(jobs, "2026-11-24T10:00:00.000000Z")], added)
                self.assertEqual([jobs.index(job) for job in jobs_meant(jobs)], now)


if __name__ == "__main__":
    unittest.main()
