"""Tests of the rules of a job."""
from __future__ import annotations

import unittest

from core.job import CANCELLED, COMPLETED, DEAD, FAILED, KILLED, LOST, MAX_ATTEMPTS, PENDING, PROCESSING, UNSTARTABLE, Outcome
from core.rules import (NO_WAIT, Wait, after_attempt, backoff_delay, claimed, given_back, given_up, is_called, is_retry, ready_at, retried,
                        states_meant, time_limit, wait_of)
from core.settings import DEFAULTS
from core.times import format_time
from storage.layout import WIDTH, encode_line2
from tests.support.jobs import NOW, TIME, a_job, running

SUCCESS = Outcome(0, None)
FAILURE = Outcome(1, FAILED)


class BackoffTest(unittest.TestCase):

    def test_waits_are_2_4_and_8_seconds_by_default(self):
        self.assertEqual([backoff_delay(running(attempts), DEFAULTS) for attempts in (1, 2, 3)], [2, 4, 8])

    def test_base_to_the_power_of_the_attempts_capped_by_the_most(self):
        for base, most, attempts, delay in (
                (2, 3600, 11, 2048), (2, 3600, 12, 3600), (2, 3600, 100, 3600), (3, 3600, 2, 9), (1.5, 3600, 2, 2.25), (1, 3600, 50, 1),
                (0, 3600, 1, 0), (0.5, 3600, 2, 0.25), (10, 5, 1, 5), (10, 0, 3, 0), (2, 0.5, 1, 0.5), (1000000, 31536000, 1, 1000000),
        ):
            with self.subTest(base=base, most=most, attempts=attempts):
                self.assertEqual(backoff_delay(running(attempts), DEFAULTS._replace(backoff_base=base, backoff_max=most)), delay)
                self.assertEqual(backoff_delay(running(attempts, backoff_base=base, backoff_max=most), DEFAULTS), delay)

    def test_power_that_no_number_can_hold_is_the_cap(self):
        for base, attempts in ((2, 1024), (2, MAX_ATTEMPTS), (1000000, MAX_ATTEMPTS), (1.0001, MAX_ATTEMPTS)):
            with self.subTest(base=base, attempts=attempts):
                self.assertEqual(backoff_delay(running(attempts), DEFAULTS._replace(backoff_base=base)), 3600)


class WaitTest(unittest.TestCase):

    def test_what_a_pending_job_waits_for_and_how_long(self):
        retry = {"attempts": 2, "updated_at": TIME, "run_at": format_time(NOW + 4)}
        put_off = {"attempts": 2, "updated_at": TIME, "run_at": format_time(NOW + 3600)}
        for fields, lacks, paused, wait in (
                ({}, (), False, NO_WAIT),
                ({}, (), True, Wait("paused", None, ())),
                ({}, ["a", "b"], False, Wait("jobs", None, ("a", "b"))),
                ({}, ["a"], True, Wait("jobs", None, ("a",))),
                ({"run_at": format_time(NOW + 60)}, (), False, Wait("time", 60, ())),
                ({"run_at": format_time(NOW + 60)}, (), True, Wait("time", 60, ())),
                ({"run_at": format_time(NOW + 60)}, ["a"], False, Wait("jobs", 60, ("a",))),
                ({"run_at": format_time(NOW - 60)}, (), False, NO_WAIT),
                ({"run_at": TIME}, (), False, NO_WAIT),
                (retry, (), False, Wait("retry", 4, ())),
                (retry, (), True, Wait("retry", 4, ())),
                (retry, ["a"], False, Wait("jobs", 4, ("a",))),
                (put_off, (), False, Wait("time", 3600, ())),
                ({"attempts": 2, "updated_at": TIME, "run_at": TIME}, (), False, NO_WAIT),
                ({"attempts": 2, "updated_at": TIME}, (), False, NO_WAIT),  # lost with its worker
                ({"attempts": 1, "state": "processing", "run_at": format_time(NOW + 4)}, ["a"], True, NO_WAIT),
                ({"attempts": 1, "state": "completed"}, (), True, NO_WAIT),
                ({"attempts": 4, "state": "dead"}, (), True, NO_WAIT),
        ):
            with self.subTest(fields, lacks=lacks, paused=paused):
                self.assertEqual(wait_of(a_job(**fields), DEFAULTS, NOW, lacks, paused), wait)

    def test_retry_that_waits_longer_than_its_backoff_since_the_clock_was_set_back_waits_for_nothing(self):
        job = a_job(attempts=2, updated_at=TIME, run_at=format_time(NOW + 4))
        self.assertEqual(wait_of(job, DEFAULTS, NOW - 3600), NO_WAIT)


class CalledTest(unittest.TestCase):

    def test_words_of_people_mean_states_and_what_a_job_waits_for(self):
        jobs = {"at once": ("pending", NO_WAIT), "pausing": ("pending", Wait("paused", None, ())), "failing": ("pending", Wait("retry", 2, ())),
                "later": ("pending", Wait("time", 9, ())), "behind": ("pending", Wait("jobs", None, ("a",))), "runs": ("processing", NO_WAIT),
                "ended": ("completed", NO_WAIT), "died": ("dead", NO_WAIT)}
        pending = {"at once", "pausing", "failing", "later", "behind"}
        for words, states, called in (
                (("pending",), ("pending",), pending), (("queued",), ("pending",), pending), (("ready",), ("pending",), {"at once", "pausing"}),
                (("retrying",), ("pending",), {"failing"}), (("failed",), ("pending",), {"failing"}), (("scheduled",), ("pending",), {"later"}),
                (("blocked",), ("pending",), {"behind"}), (("running",), ("processing",), {"runs"}), (("done",), ("completed",), {"ended"}),
                (("completed",), ("completed",), {"ended"}), (("dead",), ("dead",), {"died", "stopped"}), (("cancelled",), ("dead",), {"stopped"}),
                (("dead", "ready"), ("pending", "dead"), {"died", "stopped", "at once", "pausing"}),
                (("ready", "pending"), ("pending",), pending),
        ):
            with self.subTest(words):
                self.assertEqual(states_meant(words), states)
                found = {name for name, (state, wait) in jobs.items() if is_called(a_job(state=state), wait, words)}
                found |= {"stopped"} if is_called(a_job(state="dead", reason=CANCELLED), NO_WAIT, words) else set()
                self.assertEqual(found, called)


class ReadyTest(unittest.TestCase):

    def test_job_without_a_time_is_ready_at_any_time(self):
        for now in (0, NOW, 1e11):
            self.assertEqual(ready_at(a_job(), DEFAULTS, now), 0)

    def test_job_is_ready_when_its_time_has_come(self):
        for attempts in (0, 1, 5):
            with self.subTest(attempts):
                self.assertEqual(ready_at(a_job(run_at=TIME, attempts=attempts), DEFAULTS, NOW), NOW)
                self.assertLessEqual(ready_at(a_job(run_at=TIME, attempts=attempts), DEFAULTS, NOW + 1000), NOW + 1000)

    def test_retry_waits_for_its_time(self):
        job = a_job(run_at=format_time(NOW + 4), attempts=2)
        for passed, left in ((0, 4), (1, 3), (3.5, 0.5), (4, 0)):
            with self.subTest(passed):
                self.assertAlmostEqual(ready_at(job, DEFAULTS, NOW + passed) - (NOW + passed), left, places=5)

    def test_retry_never_waits_longer_than_its_backoff_when_the_clock_was_set_back(self):
        job = a_job(run_at=format_time(NOW + 4), updated_at=format_time(NOW), attempts=2)
        for back in (0.5, 1, 1.5, 60, 3600, 86400 * 365):
            with self.subTest(back):
                self.assertLessEqual(ready_at(job, DEFAULTS, NOW - back), NOW - back + 4 + 1)

    def test_retry_is_ready_when_the_clock_was_set_forward(self):
        self.assertLessEqual(ready_at(a_job(run_at=format_time(NOW + 4), attempts=2), DEFAULTS, NOW + 86400), NOW + 86400)

    def test_job_that_was_put_off_by_its_user_waits_however_long(self):
        self.assertEqual(ready_at(a_job(run_at=format_time(NOW + 86400)), DEFAULTS, NOW), NOW + 86400)

    def test_job_that_has_failed_and_was_put_off_since_waits_however_long(self):
        for back in (0, 3600, 86400 * 365):
            for fields in ({"updated_at": TIME}, {"updated_at": None}, {"updated_at": format_time(NOW - 30)}):
                with self.subTest(back, **fields):
                    job = a_job(run_at=format_time(NOW + 86400), attempts=2, **fields)
                    self.assertEqual(ready_at(job, DEFAULTS, NOW - back), NOW + 86400)
                    self.assertFalse(is_retry(job, DEFAULTS))

    def test_wait_that_is_longer_than_the_backoff_by_the_settings_of_now_was_not_made_by_it(self):
        job = a_job(run_at=format_time(NOW + 8), updated_at=format_time(NOW), attempts=3)
        self.assertLessEqual(ready_at(job, DEFAULTS, NOW - 60), NOW - 60)
        self.assertEqual(ready_at(job, DEFAULTS._replace(backoff_max=5), NOW - 60), NOW + 8)
        self.assertEqual([is_retry(job, DEFAULTS), is_retry(job, DEFAULTS._replace(backoff_max=5))], [True, False])


class AttemptTest(unittest.TestCase):

    def test_claimed_job_runs_and_its_attempt_counts(self):
        job = claimed(a_job(attempts=1, exit_code=1, reason=FAILED, run_at=TIME, updated_at=TIME, own=5), "w-2", NOW + 1)
        moment = format_time(NOW + 1)
        self.assertEqual(job, a_job(state=PROCESSING, attempts=2, run_at=TIME, started_at=moment, updated_at=moment, worker="w-2", own=5))

    def test_the_wait_of_a_job_that_was_brought_back_is_counted_from_then_on(self):
        job = claimed(a_job(started_at=TIME, updated_at=format_time(NOW)), "w-2", NOW + 1)
        self.assertEqual((job.run_at, after_attempt(job, SUCCESS, DEFAULTS, NOW + 2).run_at), (format_time(NOW), format_time(NOW)))

    def test_attempts_never_outgrow_their_column(self):
        job = claimed(a_job(attempts=MAX_ATTEMPTS), "w-1", NOW)
        self.assertEqual((job.attempts, len(encode_line2(job.progress()))), (MAX_ATTEMPTS, WIDTH))

    def test_every_outcome_has_its_consequence(self):
        lost = Outcome(None, LOST)
        for name, attempts, outcome, state, wait in (
                ("success", 1, SUCCESS, COMPLETED, None),
                ("success at last", 4, SUCCESS, COMPLETED, None),
                ("success beyond the last", 99, SUCCESS, COMPLETED, None),
                ("first failure", 1, FAILURE, PENDING, 2),
                ("second failure", 2, FAILURE, PENDING, 4),
                ("third failure", 3, FAILURE, PENDING, 8),
                ("fourth failure", 4, FAILURE, DEAD, None),
                ("a failure beyond the last", 5, FAILURE, DEAD, None),
                ("not found", 1, Outcome(127, FAILED), PENDING, 2),
                ("killed", 1, Outcome(137, KILLED), PENDING, 2),
                ("killed at last", 4, Outcome(137, KILLED), DEAD, None),
                ("timed out", 2, Outcome(None, "timeout"), PENDING, 4),
                ("timed out at last", 4, Outcome(None, "timeout"), DEAD, None),
                ("not startable", 1, Outcome(None, UNSTARTABLE), PENDING, 2),
                ("not startable at last", 4, Outcome(None, UNSTARTABLE), DEAD, None),
                ("lost", 1, lost, PENDING, None),
                ("lost at last", 4, lost, DEAD, None),
        ):
            with self.subTest(name):
                after = after_attempt(running(attempts, own=5), outcome, DEFAULTS, NOW)
                run_at = None if wait is None else format_time(NOW + wait)
                self.assertEqual(after, a_job(state=state, attempts=attempts, exit_code=outcome.exit_code, reason=outcome.reason,
                                              run_at=run_at,
                                              started_at=TIME, updated_at=TIME, own=5))
                self.assertEqual(len(encode_line2(after.progress())), WIDTH)

    def test_number_of_attempts_is_one_more_than_that_of_retries(self):
        for retries in (0, 1, 3, 10):
            with self.subTest(retries):
                job, attempts = a_job(), 0
                while job.state == PENDING:
                    job = after_attempt(claimed(job, "w-1", NOW), FAILURE, DEFAULTS._replace(max_retries=retries), NOW)
                    attempts += 1
                self.assertEqual((attempts, job.attempts, job.state), (retries + 1, retries + 1, DEAD))

    def test_settings_of_the_moment_the_attempt_ends_count(self):
        job = running(3)
        self.assertEqual(after_attempt(job, FAILURE, DEFAULTS._replace(max_retries=2), NOW).state, DEAD)
        self.assertEqual(after_attempt(job, FAILURE, DEFAULTS._replace(backoff_base=10, backoff_max=50), NOW).run_at, format_time(NOW + 50))

    def test_jobs_own_limits_come_before_the_settings(self):
        self.assertEqual(after_attempt(running(1, max_retries=0), FAILURE, DEFAULTS, NOW).state, DEAD)
        self.assertEqual(after_attempt(running(4, max_retries=9), FAILURE, DEFAULTS, NOW).run_at, format_time(NOW + 16))
        self.assertEqual(after_attempt(running(3, backoff_max=5), FAILURE, DEFAULTS, NOW).run_at, format_time(NOW + 5))
        limited = DEFAULTS._replace(timeout=9)
        self.assertEqual((time_limit(running(1, timeout=2), limited), time_limit(running(1), limited), time_limit(running(1), DEFAULTS)),
                         (2, 9, None))

    def test_job_that_is_given_up_is_dead_for_that_reason(self):
        for job in (a_job(run_at=TIME, attempts=2, reason=FAILED, exit_code=1, updated_at=TIME), running(2)):
            with self.subTest(job.state):
                after = given_up(job, CANCELLED, NOW + 1)
                self.assertEqual((after.state, after.reason, after.exit_code, after.run_at, after.worker, after.attempts, after.updated_at),
                                 (DEAD, CANCELLED, None, None, None, 2, format_time(NOW + 1)))

    def test_job_that_is_given_back_stands_as_if_that_attempt_had_not_been(self):
        for attempts, left in ((1, 0), (3, 2), (0, 0)):
            with self.subTest(attempts):
                self.assertEqual(given_back(running(attempts, own=5), NOW), a_job(attempts=left, updated_at=TIME, own=5))

    def test_retried_job_has_all_its_attempts_before_it_again(self):
        dead = a_job(state=DEAD, attempts=4, exit_code=1, reason=FAILED, started_at=TIME, updated_at=TIME, own=5)
        self.assertEqual(retried(dead, NOW + 1), a_job(started_at=TIME, updated_at=format_time(NOW + 1), own=5))

    def test_rules_leave_the_job_they_were_given_as_it_was(self):
        job = running(2, own=[1])
        before = job.to_dict()
        for rule in (lambda: claimed(job, "w-9", NOW), lambda: after_attempt(job, FAILURE, DEFAULTS, NOW), lambda: given_back(job, NOW),
                     lambda: retried(job, NOW)):
            rule()
            self.assertEqual(job.to_dict(), before)

    def test_rules_keep_the_place(self):
        job = running(2)._replace(place=123)
        self.assertEqual({rule.place for rule in (claimed(job, "w", NOW), after_attempt(job, FAILURE, DEFAULTS, NOW), given_back(job, NOW),
                                                  retried(job, NOW))}, {123})
