"""Tests of how fast jobs end."""
from __future__ import annotations

import unittest

from cli.speed import jobs_per_second, speed_text
from tests.support.jobs import NOW


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

    def test_one_end_within_a_minute_is_no_speed_of_one_a_minute_where_work_began_earlier(self):
        self.check(1 / 70, [(80, 10), (10, None)])
        self.check(3 / 10800, [(10800 - 3600 * n, 7200 - 3600 * n) for n in range(3)])

    def test_until_the_next_end_is_due_the_speed_stays_and_then_it_falls(self):
        for ago, wanted in ((0, 2 / 20), (9, 2 / 20), (10, 2 / 20), (20, 2 / 30), (50, 2 / 60)):
            with self.subTest(ago=ago):
                self.check(wanted, [(20 + ago, 10 + ago), (10 + ago, ago), (ago, None)])

    def test_what_runs_now_is_work_that_has_begun(self):
        self.check(2 / 15, [(20, 10), (10, 5), (5, None)])

    def test_a_long_rest_is_no_work(self):
        self.check(3 / 5.5, [(6, 4), (4, 2), (2, 0.5)] + [(1806 + n, 1800 + n) for n in range(100)])

    def test_without_an_end_there_is_none_and_a_clock_set_back_is_no_matter(self):
        self.check(0, [])
        self.check(0, [(5, None)])
        self.check(1 / 2, [(4, 2), (-50, -60), (-70, None)])

    def test_the_speed_is_told_in_a_unit_that_suits_it(self):
        for rate, left, text in (
                (0.0, None, ""),
                (1.0, None, "1 job a minute"),
                (0.75, 160, "45 jobs an hour, 2m 40s left at this rate"),
                (1 / 60, None, "1 job an hour"),
                (1.5, 40, "1.5 jobs a minute, 40s left at this rate"),
                (120.6, 3, "121 jobs a minute, 3s left at this rate"),
        ):
            with self.subTest(rate=rate):
                self.assertEqual(speed_text({"jobs_per_minute": rate, "seconds_left": left}), text)
