"""Which jobs a job comes after, and which of them keep it waiting."""
from __future__ import annotations

import unittest

from core.dependencies import Namesake, keeps_waiting, lacking
from core.job import COMPLETED, DEAD, PENDING, PROCESSING
from tests.support.jobs import TIME, a_job


class LackingTest(unittest.TestCase):

    def test_ids_that_still_keep_a_job_from_starting(self):
        before, later = "2026-11-23T00:00:00.000000Z", "2026-11-25T00:00:00.000000Z"  # than TIME, when the dependent was added
        for jobs, lacks in (
                ([], ["a"]),  # gone
                ([(before, COMPLETED, before)], []),
                ([(before, COMPLETED, later)], []),
                ([(before, PENDING, before)], ["a"]),
                ([(before, PROCESSING, before)], ["a"]),
                ([(before, DEAD, before)], ["a"]),
                ([(before, DEAD, before), (before, COMPLETED, before)], []),  # last night's
                ([(before, DEAD, later), (before, COMPLETED, later)], ["a"]),
                ([(before, COMPLETED, before), (later, PENDING, later)], ["a"]),
        ):
            with self.subTest(jobs):
                self.assertEqual(lacking(a_job(after=["a", "a"], created_at=TIME), {"a": [Namesake(9, *job) for job in jobs]}), lacks)

    def test_each_id_is_named_once_in_the_order_of_after(self):
        done = Namesake(9, TIME, COMPLETED, TIME)
        self.assertEqual(lacking(a_job(after=["c", "b", "a", "c"]), {"b": [done]}), ["c", "a"])
        self.assertEqual(lacking(a_job(), {}), [])

    def test_what_keeps_a_job_waiting(self):
        for states, needed, any_of in (([], True, False), ([COMPLETED], False, False), ([DEAD], True, False), ([PENDING], True, True),
                                       ([COMPLETED, DEAD], True, False), ([COMPLETED, PROCESSING], True, True), ([DEAD, PENDING], True, True)):
            with self.subTest(states):
                jobs = [Namesake(place, "", state, "") for place, state in enumerate(states)]
                self.assertEqual((keeps_waiting(jobs, True), keeps_waiting(jobs, False)), (needed, any_of))
