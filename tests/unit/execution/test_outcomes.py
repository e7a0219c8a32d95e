"""Tests of the batch of ends and claims."""
from __future__ import annotations

import time
import unittest
from types import SimpleNamespace

from core.job import Outcome
from core.job_record import job_from_record
from core.settings import DEFAULTS
from execution import outcomes
from storage.claims import Finished


class TestBatch(unittest.TestCase):
    """What the two workers of a process have claimed and not yet started or recorded."""

    def setUp(self):
        self.jobs = [job_from_record({"id": name, "command": ":"}) for name in "abc"]
        self.batch = outcomes.Batch(2)

    def finished(self, job, seconds=0.001):
        return Finished(job, Outcome(0, None), 1700000000.0, "", seconds)

    def test_jobs_run_in_order_and_are_recorded_together(self):
        self.batch.add(self.jobs, 10.0)
        first = self.batch.next()
        second = self.batch.postpone(self.finished(first), 10.001)
        third = self.batch.postpone(self.finished(second), 10.002)
        self.assertEqual([first.id, second.id, third.id], ["a", "b", "c"])
        self.assertIsNone(self.batch.postpone(self.finished(third), 10.003))
        self.assertIsNone(self.batch.next())
        self.assertTrue(self.batch)
        self.assertEqual([finished.job.id for finished in self.batch.take_results()], ["a", "b"])
        self.assertFalse(self.batch)

    def test_what_was_not_started_is_given_back(self):
        self.batch.add(self.jobs, 10.0)
        self.batch.postpone(self.finished(self.batch.next()), 10.001)
        self.assertTrue(self.batch)
        self.assertEqual([(finished.job.id, finished.outcome is None) for finished in self.batch.take()], [("c", True), ("a", False)])
        self.assertFalse(self.batch)

    def test_no_job_is_kept_from_running_for_long(self):
        self.batch.add(self.jobs, 10.0)
        self.batch.next()
        self.assertFalse(self.batch.is_stale(10.04))
        self.assertTrue(self.batch.is_stale(10.06))
        self.assertIsNone(self.batch.postpone(self.finished(self.jobs[0]), 10.06))

    def test_no_end_is_put_off_for_long(self):
        self.batch.add(self.jobs, 10.0)
        self.batch.postpone(self.finished(self.batch.next()), 10.04)
        self.batch.next()
        self.assertFalse(self.batch.is_stale(10.08))
        self.assertTrue(self.batch.is_stale(10.1))
        self.batch.take_results()
        self.assertFalse(self.batch.is_stale(10.1))

    def test_what_could_not_be_recorded_is_tried_again_a_second_later(self):
        self.batch.add(self.jobs, 10.0)
        finished = self.batch.take()
        self.batch.put_back(finished, 10.1)
        self.assertFalse(self.batch.is_stale(11.0))
        self.assertTrue(self.batch.is_stale(11.2))
        self.assertEqual(self.batch.take(), finished)

    def test_the_next_are_wanted_while_each_worker_runs_one_of_the_last(self):
        self.batch.add(self.jobs, 10.0)
        self.assertEqual(self.batch.wanted(10.002), 0)
        self.batch.postpone(self.finished(self.batch.next(), 0.004), 10.001)
        self.assertEqual(self.batch.wanted(10.002), 14)  # with the one that is here, as many as take two workers 30 ms
        self.assertFalse(self.batch.is_full())
        with self.batch.filling:
            self.assertEqual(self.batch.wanted(10.002), 0)
        self.batch.add(self.jobs[:1], 10.002)
        self.assertTrue(self.batch.is_full())
        self.assertEqual(self.batch.wanted(10.002), 0)
        self.batch.take_results()
        self.assertEqual(self.batch.wanted(10.002), 0)

    def test_only_short_jobs_are_claimed_together(self):
        self.assertEqual([self.batch.how_many(seconds, 10.0) for seconds in (0.0001, 0.002, 0.02, 0.03, 1.0, 0.0)], [32, 30, 3, 1, 1, 1])

    def test_fewer_are_claimed_together_where_they_start_slowly(self):
        for seconds_since, expected in ((0.001, 30), (0.005, 11), (0.02, 3), (0.2, 1)):
            with self.subTest(seconds_since):
                self.batch.add(self.jobs, 10.0)
                self.batch.postpone(self.finished(self.batch.next(), 0.002), 10.001)
                self.assertEqual(self.batch.how_many(0.002, 10.0 + seconds_since), expected)
                self.batch.take()


class TestPause(unittest.TestCase):
    """A pause that comes while a result is recorded."""

    def test_no_job_that_was_claimed_ahead_starts_once_the_queue_is_paused(self):
        for is_paused, groups, expected in ((False, (), "b"), (True, (), None), (False, ("gpu",), "b"), (False, ("disk",), None)):
            with self.subTest(is_paused=is_paused, groups=groups):
                first, ahead = (job_from_record({"id": name, "command": ":", "group": "disk"})._replace(worker="f00dfacef00d-1")
                                for name in "ab")
                store = SimpleNamespace(settings=DEFAULTS._replace(retry_in_place=False), paused=lambda: False, paused_groups=lambda: ())

                def record(results, now, tokens):
                    store.paused, store.paused_groups = lambda: is_paused, lambda: groups
                    return [result.job for result in results], []

                claims = SimpleNamespace(store=store, finish_and_claim=record, made_room=False)
                faults = SimpleNamespace(guarded=lambda task, do, about="", otherwise=None: do())
                account = SimpleNamespace(count=lambda job: None, ended=lambda ends: None)
                stop = SimpleNamespace(is_set=lambda: False, homeless=False)
                own = outcomes.Outcomes("", claims, "f00dfacef00d", 1, stop, faults, account, None, lambda: None)
                own._batch.add([ahead], time.monotonic())
                following, _ = own.finished(Finished(first, Outcome(1, "failed"), time.time(), "", 0.001), time.monotonic())
                self.assertEqual(following and following.id, expected)
