"""How a job stands: the text of a column, and the object of a script."""
from __future__ import annotations

import unittest

from cli.standing import details, ending, standing
from cli.terminal import short_duration
from core.rules import NO_WAIT, Wait
from core.settings import DEFAULTS
from core.times import format_time
from tests.support.jobs import NOW, TIME, a_job

PENDING, RUNNING, DONE, DEAD = [{"state": state} for state in ("pending", "processing", "completed", "dead")]
ENDED = {"started_at": TIME, "updated_at": format_time(NOW + 0.5), "attempts": 1}


class StandingTest(unittest.TestCase):

    def test_each_state_in_a_few_words(self):
        for fields, wait, text in (
                (PENDING, NO_WAIT, "ready"),
                (dict(PENDING, attempts=2), NO_WAIT, "ready (attempt 3 of 4)"),
                (dict(PENDING, attempts=2), Wait("retry", 13.2, ()), "retry in 14s (attempt 3 of 4)"),
                (dict(PENDING, attempts=9), Wait("retry", 13.2, ()), "retry in 14s (attempt 10 of 10)"),  # max_retries is smaller since
                (dict(PENDING, attempts=1, max_retries=9), Wait("retry", 0.2, ()), "retry in 1s (attempt 2 of 10)"),
                (PENDING, Wait("time", 3420, ()), "in 57m"),
                (PENDING, Wait("jobs", None, ("train",)), "after train"),
                (PENDING, Wait("jobs", 90, ("train", "b")), "after train, b"),
                (PENDING, Wait("jobs", None, ("a", "b", "c", "d")), "after a, b and 2 more"),
                (PENDING, Wait("paused", None, ()), "paused"),
                (dict(PENDING, group="gpu", attempts=1), Wait("group", None, ()), "group gpu is full (attempt 2 of 4)"),
                (dict(RUNNING, attempts=1, started_at=format_time(NOW - 130)), NO_WAIT, "running for 2m10s"),
                (dict(RUNNING, attempts=3, started_at=format_time(NOW - 5)), NO_WAIT, "running for 5s (attempt 3 of 4)"),
                (dict(RUNNING, attempts=1), NO_WAIT, "running for 0s"),
                (dict(RUNNING, attempts=1, started_at=format_time(NOW + 130)), NO_WAIT, "running for 0s"),  # the clock was set back
                (dict(DONE, **ENDED), NO_WAIT, "took 0.5s"),
                (dict(DONE, **dict(ENDED, attempts=3)), NO_WAIT, "took 0.5s (3 attempts)"),
                (DONE, NO_WAIT, ""),  # set by hand
                (dict(DEAD, **dict(ENDED, exit_code=1, reason="failed", attempts=4)), NO_WAIT, "exit code 1 (4 attempts)"),
                (dict(DEAD, **dict(ENDED, exit_code=137, reason="killed")), NO_WAIT, "killed by signal 9"),
                (dict(DEAD, **dict(ENDED, reason="timeout", timeout=2)), NO_WAIT, "timed out after 2s"),
                (dict(DEAD, **dict(ENDED, reason="timeout")), NO_WAIT, "timed out"),
                (dict(DEAD, **dict(ENDED, reason="timeout", timed_out_after=90, timeout=2)), NO_WAIT, "timed out after 1m30s"),
                (dict(DEAD, reason="cancelled"), NO_WAIT, "cancelled"),
                (dict(DEAD, reason="dependency", after=["dump"]), NO_WAIT, "died because of dump"),
                (dict(DEAD, reason="dependency", after=["dump"], died_of="dump, which it comes after, is dead"), NO_WAIT,
                 "dump is dead"),
                (DEAD, NO_WAIT, ""),
        ):
            with self.subTest(fields, wait=wait):
                self.assertEqual(standing(a_job(**fields), wait, DEFAULTS, NOW), text)

    def test_dead_worker_and_no_worker_are_told(self):
        self.assertEqual(standing(a_job(**RUNNING), NO_WAIT, DEFAULTS, NOW, abandoned=True), "its worker died")
        self.assertEqual(standing(a_job(**PENDING), NO_WAIT, DEFAULTS, NOW, unmanned=True), "no worker runs")
        self.assertEqual(standing(a_job(**PENDING), Wait("paused", None, ()), DEFAULTS, NOW, unmanned=True), "paused")

    def test_time_limit_of_the_settings_is_told_too(self):
        self.assertEqual(ending(a_job(state="dead", reason="timeout"), DEFAULTS._replace(timeout=3600)), "timed out after 1h")

    def test_length_of_time_has_two_units_at_the_most(self):
        for seconds, text in ((0, "0s"), (0.004, "0s"), (0.06, "0.06s"), (0.5, "0.5s"), (2.04, "2s"), (9.96, "10s"), (14.9, "14s"), (60, "1m"), (130, "2m10s"),
                              (3420, "57m"), (3599, "59m59s"), (3600, "1h"), (43080, "11h58m"), (86400, "1d"), (273600, "3d4h"), (1e7, "115d17h")):
            with self.subTest(seconds):
                self.assertEqual(short_duration(seconds), text)

    def test_object_keeps_its_order_and_has_the_new_keys_behind(self):
        job = a_job(priority=3, own=1)
        told = details(job, Wait("time", 5.0, ()), DEFAULTS)
        self.assertEqual(list(told), list(job.to_dict()) + ["duration", "waits_for", "due_in", "max_retries", "inherited"])
        self.assertEqual([told[name] for name in list(told)[-5:]], [None, "time", 5.0, 3, {"max_retries": 3}])
        for options, holds in (({"max_retries": 0}, 0), ({"max_retries": None}, 3), ({"max_retries": "many"}, 3)):
            with self.subTest(options):
                job = a_job()._replace(options=options)
                self.assertEqual(details(job, NO_WAIT, DEFAULTS)["max_retries"], holds)
