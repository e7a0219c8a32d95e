"""Tests of figures."""
from __future__ import annotations

from cli import stats
from core.job import COMPLETED, DEAD, job_from_record
from core.times import format_time
from tests.support.home import HomeTest


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
            "per_minute": [0] * stats.MINUTES})

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
