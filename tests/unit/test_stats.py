"""How fast jobs end, and what is told of those that have ended."""
from __future__ import annotations

import unittest

from cli.stats import figures, jobs_per_second
from core.job import job_from_record
from core.times import format_time

NOW = 1800000000.0


class TestSpeed(unittest.TestCase):
    """`jobs_per_second`, by what has ended and by what runs."""

    def check(self, wanted, attempts):
        """The speed is this one, for attempts in seconds before now."""
        shifted = [(NOW - start, None if end is None else NOW - end) for start, end in attempts]
        self.assertAlmostEqual(60 * jobs_per_second(shifted, NOW), 60 * wanted, places=3)

    def test_shortly_after_the_start_it_is_by_the_time_since_then(self):
        self.check(2.0, [(4 - n / 2, 3.5 - n / 2) for n in range(8)])

    def test_later_it_is_by_the_last_minute(self):
        self.check(0.5, [(n + 2, n) for n in range(1, 400, 2)])

    def test_jobs_of_more_than_a_minute_have_a_speed_too(self):
        self.check(1 / 90, [(90 * n + 90, 90 * n) for n in range(10)])

    def test_what_runs_now_is_work_that_has_begun(self):
        self.check(2 / 20, [(20, 10), (10, 5), (5, None)])

    def test_a_long_rest_is_no_work(self):
        self.check(3 / 6, [(6, 4), (4, 2), (2, 0.5)] + [(1806 + n, 1800 + n) for n in range(100)])

    def test_without_an_end_there_is_none_and_a_clock_set_back_is_no_matter(self):
        self.check(0, [])
        self.check(0, [(5, None)])
        self.check(1 / 4, [(4, 2), (-50, -60), (-70, None)])
