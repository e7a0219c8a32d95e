"""Tests of figures."""
from __future__ import annotations

import unittest

from cli import stats
from core.job import COMPLETED, DEAD
from core.job_record import job_from_record
from core.times import format_time
from tests.support.home import HomeTest

NOW = 1_800_000_000.0


class TestFigures(HomeTest):
    """The figures about ended jobs."""

    NOW = 1_800_000_000.0

    def jobs(self, *facts):
        """Ended jobs: (state, attempts, seconds it waited, seconds it ran, seconds since it ended) each."""
        for number, (state, attempts, waited, ran, ago) in enumerate(facts):
            ended = self.NOW - ago
            yield job_from_record({"id": str(number), "command": "true", "created_at": format_time(ended - ran - waited), "state": state,
                                   "attempts": attempts, "started_at": format_time(ended - ran), "updated_at": format_time(ended)})

    def test_an_empty_queue_has_no_rates_and_no_times(self):
        nothing = {"p50": None, "p95": None, "max": None}
        self.assertEqual(stats.figures([], self.NOW), {
            "completed": 0, "dead": 0, "success_rate": None, "attempts_per_job": None, "run_time": nothing, "waiting_time": nothing,
            "per_minute": [0] * stats.MINUTES, "cancelled": 0})

    def test_jobs_are_put_together_by_command_program_or_group_the_worst_first(self):
        jobs = [job_from_record(dict({"id": "x", "command": command, "created_at": format_time(NOW), "state": state, "attempts": 2,
                                      "started_at": format_time(NOW), "updated_at": format_time(NOW + took)}, **fields))
                for command, state, took, fields in (("cp a", COMPLETED, 1, {}), ("make a", COMPLETED, 9, {"group": "big"}), ("cp a", DEAD, 3, {}),
                                                     ("cp b", DEAD, 5, {"reason": "cancelled"}), ("cp b", COMPLETED, 2, {}))]
        for name, wanted in (("command", [("cp a", 2, 1, 0, 2, 1.0), ("make a", 1, 0, 0, 1, 9.0), ("cp b", 1, 0, 1, 2, 2.0)]),
                             ("program", [("cp", 3, 1, 1, 4, 2.0), ("make", 1, 0, 0, 1, 9.0)]),
                             ("group", [(None, 3, 1, 1, 4, 2.0), ("big", 1, 0, 0, 1, 9.0)])):
            with self.subTest(name):
                self.assertEqual([(each[name], each["jobs"], each["failed"], each["cancelled"], each["retries"], each["run_time"]["p50"])
                                  for each in stats.figures_by(name, jobs)], wanted)
        self.assertEqual(stats.figures_by("command", []), [])

    def test_success_and_attempts_are_those_of_all_ended_jobs(self):
        facts = [(state, attempts, 0, 1, 0) for state, attempts in ((COMPLETED, 1), (COMPLETED, 2), (COMPLETED, 1), (DEAD, 4))]
        found = stats.figures(self.jobs(*facts), self.NOW)
        self.assertEqual([found[name] for name in ("completed", "dead", "success_rate", "attempts_per_job")], [3, 1, 0.75, 2.0])

    def test_percentiles_are_values_that_occurred_in_any_order(self):
        facts = [(COMPLETED, 1, 1000 - number, number, 0) for number in range(1, 102)]
        found = stats.figures(self.jobs(*facts[50:], *facts[:50]), self.NOW)
        for name, wanted in (("run_time", [51, 96, 101]), ("waiting_time", [949, 994, 999])):
            for (part, value), expected in zip(found[name].items(), wanted):
                with self.subTest(name=name, part=part):
                    self.assertAlmostEqual(value, expected, places=3)

    def test_one_value_is_every_percentile(self):
        found = stats.figures(self.jobs((COMPLETED, 1, 2, 3, 0)), self.NOW)
        for name, wanted in (("run_time", 3), ("waiting_time", 2)):
            for value in found[name].values():
                self.assertAlmostEqual(value, wanted, places=3)

    def test_percentile_is_the_smallest_value_that_so_many_do_not_exceed(self):
        for count, p50, p95 in ((2, 1, 2), (4, 2, 4), (20, 10, 19), (100, 50, 95)):
            with self.subTest(count=count):
                found = stats.figures(self.jobs(*[(COMPLETED, 1, 0, number + 1, 0) for number in range(count)]), self.NOW)
                self.assertEqual([round(found["run_time"][part]) for part in ("p50", "p95")], [p50, p95])

    def test_minutes_count_back_from_now_and_older_jobs_are_not_in_them(self):
        found = stats.figures(self.jobs(*[(COMPLETED, 1, 0, 1, ago) for ago in (0, 59, 60, 61, 600, 1799, 1800, 90000)]), self.NOW)
        wanted = [0] * 30
        wanted[29], wanted[28], wanted[19], wanted[0] = 2, 2, 1, 1
        self.assertEqual(found["per_minute"], wanted)

    def test_a_queue_without_ended_jobs_says_so(self):
        done = self.run_program("stats")
        self.assertEqual(done.stdout, "No job has ended yet.\n")


class TestEnded(unittest.TestCase):
    """The figures of jobs that were cancelled, delayed, or run while the clock was set."""

    def ended(self, state="completed", started=0.0, ended=0.0, **fields):
        """A job that was added 1000 s ago, by when its last attempt started and ended in seconds before now."""
        record = {"id": "x", "command": "true", "created_at": format_time(NOW - 1000), "state": state, "attempts": 1, "exit_code": 0,
                  "reason": None, "run_at": None, "started_at": format_time(NOW - started), "updated_at": format_time(NOW - ended),
                  "worker": None}
        return job_from_record(dict(record, **fields))

    def test_a_cancelled_job_is_no_failure(self):
        cancelled = self.ended("dead", 0, 0, reason="cancelled", started_at=None, attempts=0, exit_code=None)
        told = stats.figures([self.ended(), self.ended("dead", exit_code=1, reason="failed"), cancelled, cancelled], NOW)
        self.assertEqual((told["success_rate"], told["dead"], told["cancelled"]), (0.5, 3, 2))
        self.assertIsNone(stats.figures([cancelled], NOW)["success_rate"])

    def test_a_delay_is_no_waiting(self):
        self.assertEqual(stats.figures([self.ended(started=5, ended=3, run_at=format_time(NOW - 6))], NOW)["waiting_time"]["max"], 1.0)
        self.assertEqual(stats.figures([self.ended(started=5, ended=3)], NOW)["waiting_time"]["max"], 995.0)

    def test_no_time_is_negative(self):
        told = stats.figures([self.ended(started=3, ended=5)], NOW)
        self.assertEqual(told["run_time"]["max"], 0.0)
