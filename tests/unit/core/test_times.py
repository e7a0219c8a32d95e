"""Tests of times as texts."""
from __future__ import annotations

import os
import subprocess
import sys
import unittest

from core.times import END_OF_TIME, format_duration, format_time, parse_duration, parse_time
from tests.support.home import ROOT


class TimeTest(unittest.TestCase):

    def test_time_is_written_in_utc_with_microseconds(self):
        for seconds, text in (
                (0, "1970-01-01T00:00:00.000000Z"),
                (1795486146.123456, "2026-11-24T02:09:06.123456Z"),
                (1795486146, "2026-11-24T02:09:06.000000Z"),
                (1.9999996, "1970-01-01T00:00:02.000000Z"),
                (951782400.5, "2000-02-29T00:00:00.500000Z"),
                (253402300799, "9999-12-31T23:59:59.000000Z"),
        ):
            with self.subTest(text):
                self.assertEqual(format_time(seconds), text)

    def test_time_is_written_alike_in_every_time_zone(self):
        code = "from core.times import format_time, parse_time; print(format_time(1795486146.123456), parse_time('2026-11-24T02:09:06.123456Z'))"
        for zone in ("UTC", "Asia/Kathmandu", "America/St_Johns"):
            with self.subTest(zone):
                printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ, TZ=zone))
                self.assertEqual(printed.split(), [b"2026-11-24T02:09:06.123456Z", b"1795486146.123456"])

    def test_time_is_read_as_it_was_written(self):
        for seconds in (0, 0.000001, 1.5, 1795486146.123456, 1795486146.999999, 4102444800.000001):
            with self.subTest(seconds):
                self.assertEqual(parse_time(format_time(seconds)), seconds)

    def test_texts_sort_as_times_do(self):
        times = [0.1, 0.2, 59.999999, 60, 3600, 86399.999999, 86400, 1e9, 1795486146.5, 4e9]
        texts = [format_time(seconds) for seconds in times]
        self.assertEqual(sorted(texts), texts)
        self.assertEqual({len(text) for text in texts}, {27})

    def test_time_of_other_programs_is_read(self):
        for text, seconds in (
                ("2026-11-24T02:09:06Z", 1795486146.0),
                ("2026-11-24T02:09:06z", 1795486146.0),
                ("2026-11-24T02:09:06.123Z", 1795486146.123),
                ("2026-11-24T03:09:06+01:00", 1795486146.0),
                ("2026-11-23T21:39:06-04:30", 1795486146.0),
                ("2026-11-24 02:09:06+00:00", 1795486146.0),
        ):
            with self.subTest(text):
                self.assertEqual(parse_time(text), seconds)

    def test_what_is_no_time_is_refused(self):
        for text in ("", "Z", "now", "2026-11-24", "2026-11-24T02:09:06", "2026-13-24T02:09:06Z", "2026-02-30T02:09:06Z",
                     "2026-11-24T25:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1795486146", "2026-11-24T02:09:06ZZ",
                     "\u0662\u0660\u0662\u0666-11-24T02:09:06Z", "9999-12-31T23:59:59-23:59"):
            with self.subTest(text):
                with self.assertRaises(ValueError):
                    parse_time(text)

    def test_duration_is_read_in_seconds(self):
        for text, seconds in (("90", 90), ("0", 0), ("10s", 10), ("5m", 300), ("2h", 7200), ("7d", 604800), ("1.5h", 5400), ("0.5", 0.5),
                              (".5m", 30), ("90 s", 90), ("1h30m", 5400), ("1h 30m", 5400), ("1w", 604800), ("1w2d3h4m5s", 788645),
                              ("5 weeks", 3024000), ("2 hrs", 7200), ("3 mins", 180), ("1 day", 86400), (" 5 m ", 300)):
            with self.subTest(text):
                self.assertEqual(parse_duration(text), seconds)

    def test_duration_is_written_in_its_two_largest_units(self):
        for seconds, text in ((0, "0s"), (0.9, "0s"), (12, "12s"), (130.7, "2m 10s"), (120, "2m"), (43080, "11h 58m"), (3600, "1h"),
                              (90061, "1d 1h"), (604800, "7d")):
            with self.subTest(text):
                self.assertEqual(format_duration(seconds), text)

    def test_what_is_no_duration_is_refused(self):
        for text in ("", "s", "d", "abc", "-1", "-1s", "nan", "nans", "inf", "infd", "1e300", "99999999999", "5 W", "5M5",
                     "1h30", "1m1h", "1h1h", "5 years", "5mi", "5ss", "m5", "1,5h", "1-2", "02:00", "\u0665m"):
            with self.subTest(text):
                with self.assertRaises(ValueError):
                    parse_duration(text)


class TestEdges(unittest.TestCase):
    """Times that some Pythons refuse."""

    def test_a_fraction_may_have_any_number_of_digits(self):
        for text, wanted in (("5", 0.5), ("25", 0.25), ("123", 0.123), ("1234", 0.1234), ("123456", 0.123456)):
            with self.subTest(text):
                self.assertAlmostEqual(parse_time("2026-12-01T00:00:00.%sZ" % text) - parse_time("2026-12-01T00:00:00Z"), wanted, places=5)

    def test_the_last_day_of_the_year_9999_has_a_time_and_there_is_none_after_it(self):
        for text in ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"):
            with self.subTest(text):
                moment = parse_time(text)
                self.assertLessEqual(moment, END_OF_TIME)
                self.assertEqual((format_time(moment)[:16], len(format_time(moment))), (text[:16], 27))
