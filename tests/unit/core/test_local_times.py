"""Times as people write them, in several time zones, and where the clocks are set."""
from __future__ import annotations

import os
import time
import unittest

from core.local_times import parse_local_time, tell_time
from core.times import END_OF_TIME, format_time, parse_time
from tests.support.home import WINDOWS

NOW = parse_time("2026-11-26T13:00:00Z")


class LocalTimeTest(unittest.TestCase):
    """Each test sets the time zone of this process."""

    def setUp(self):
        if not hasattr(time, "tzset"):
            self.skipTest("the time zone of a process cannot be changed there")
        self._former = os.environ.get("TZ")

    def tearDown(self):
        self.be_in(self._former)

    def be_in(self, zone):
        """Be in a time zone; None is the system's."""
        if zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone
        if not WINDOWS:
            time.tzset()

    def meant(self, text, now=NOW):
        """The moment that a text means, in UTC to the second."""
        return format_time(parse_local_time(text, now)).replace(".000000Z", "Z")

    def test_every_form_is_understood_in_local_time(self):
        for zone, offset in (("UTC", 0), ("CET-1", 1), ("EST5", -5), ("IST-5:30", 5.5), ("NZDT-13", 13)):
            self.be_in(zone)
            for text, local in (("2026-12-24 02:00", "2026-12-24T02:00:00Z"), ("2026-12-24T02:00:00", "2026-12-24T02:00:00Z"),
                                ("2026-12-24t2:00", "2026-12-24T02:00:00Z"), ("2026-12-24", "2026-12-24T00:00:00Z"),
                                ("2026-2-3, 4:05:06", "2026-02-03T04:05:06Z"), ("  2026-12-24   02:00 ", "2026-12-24T02:00:00Z")):
                with self.subTest(zone, text=text):
                    self.assertEqual(self.meant(text), self.meant(local, NOW).replace(local, format_time(
                        parse_time(local) - offset * 3600).replace(".000000Z", "Z")))

    def test_time_of_day_is_the_next_one(self):
        self.be_in("CET-1")  # 14:00 there
        for text, meant in (("14:01", "2026-11-26T13:01:00Z"), ("14:00", "2026-11-27T13:00:00Z"), ("02:00", "2026-11-27T01:00:00Z"),
                            ("2:00", "2026-11-27T01:00:00Z"), ("00:00", "2026-11-26T23:00:00Z"), ("14:00:01", "2026-11-26T13:00:01Z"),
                            ("02:00Z", "2026-11-27T02:00:00Z"), ("16:00+02:00", "2026-11-26T14:00:00Z")):
            with self.subTest(text):
                self.assertEqual(self.meant(text), meant)

    def test_today_and_tomorrow_are_days_of_here(self):
        for zone, text, meant in (("CET-1", "tomorrow 7:30", "2026-11-27T06:30:00Z"), ("CET-1", "today 7:30", "2026-11-26T06:30:00Z"),
                                  ("CET-1", "Tomorrow", "2026-11-26T23:00:00Z"), ("NZDT-13", "tomorrow 7:30", "2026-11-27T18:30:00Z"),
                                  ("HST10", "tomorrow 7:30", "2026-11-27T17:30:00Z")):
            with self.subTest(zone, text=text):
                self.be_in(zone)
                self.assertEqual(self.meant(text), meant)

    def test_zone_that_is_named_holds(self):
        self.be_in("EST5")
        for text in ("2026-12-24T01:00:00Z", "2026-12-24T02:00:00+01:00", "2026-12-24 02:00+01", "2026-12-24 02:00 +0100",
                     "2026-12-23 21:00-04:00", "2026-12-24 01:00z"):
            with self.subTest(text):
                self.assertEqual(self.meant(text), "2026-12-24T01:00:00Z")

    def test_time_that_the_clocks_skip_is_counted_from_before_and_of_one_that_comes_twice_the_first_counts(self):
        berlin, new_york = "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0"
        saturday, autumn = parse_time("2026-03-28T19:00:00Z"), parse_time("2026-10-24T19:00:00Z")
        for zone, text, now, meant in (
                (berlin, "2026-03-29 01:59", NOW, "2026-03-29T00:59:00Z"), (berlin, "2026-03-29 02:30", NOW, "2026-03-29T01:30:00Z"),
                (berlin, "2026-03-29 03:00", NOW, "2026-03-29T01:00:00Z"), (berlin, "02:30", saturday, "2026-03-29T01:30:00Z"),
                (berlin, "tomorrow 2:30", saturday, "2026-03-29T01:30:00Z"), (berlin, "12:00", saturday, "2026-03-29T10:00:00Z"),
                (berlin, "2026-10-25 02:30", NOW, "2026-10-25T00:30:00Z"), (berlin, "02:30", autumn, "2026-10-25T00:30:00Z"),
                (berlin, "2026-10-25 03:00", NOW, "2026-10-25T02:00:00Z"), (berlin, "tomorrow", autumn, "2026-10-24T22:00:00Z"),
                (berlin, "02:30", parse_time("2026-10-25T00:45:00Z"), "2026-10-26T01:30:00Z"),
                (new_york, "2026-03-08 02:30", NOW, "2026-03-08T07:30:00Z"), (new_york, "2026-11-01 01:30", NOW, "2026-11-01T05:30:00Z")):
            with self.subTest(zone, text=text):
                self.be_in(zone)
                self.assertEqual(self.meant(text, now), meant)

    def test_what_is_no_time_says_why(self):
        for text, said in (("2026-12", "lacks the day"), ("2026-12-24 02", "lacks the minutes"), ("7", "lacks the minutes"),
                           ("tomorrow 7", "lacks the minutes"), ("5m", "is a length of time"), ("2026-02-30", "no such day"),
                           ("2026-13-01 02:00", "no such day"), ("25:00", "no such time"), ("tomorrow 07:60", "no such time"),
                           ("02:00:61", "no such time"), ("1795486146", "is a number"), ("12/24/2026", "is no time"), ("soon", "is no time"),
                           ("", "is no time"), ("Z", "is no time"), ("T", "is no time"), ("2026-12-24T", "is no time"),
                           ("T02:00", "is no time"), ("tomorrow7:30", "is no time"), ("2026-12-2402:00", "is no time"),
                           ("2026-12-24 02:00 CET", "is no time"), ("02:00+99:00", "no"), ("1960-01-01", "before 1970"),
                           ("\u0660\u0662:00", "is no time"), ("0000-01-01", "no such day")):
            with self.subTest(text):
                with self.assertRaisesRegex(ValueError, said):
                    parse_local_time(text, NOW)

    def test_the_last_day_of_the_year_9999_is_one_everywhere(self):
        for zone in ("UTC", "CET-1", "EST5", "NZDT-13"):
            self.be_in(zone)
            for text in ("9999-12-31", "9999-12-31 23:59", "9999-12-31T23:59:59Z"):
                with self.subTest(zone, text=text):
                    moment = parse_local_time(text, NOW)
                    self.assertLessEqual(moment, END_OF_TIME)
                    self.assertEqual((format_time(moment)[:8], len(format_time(moment))), ("9999-12-", 27))
                    tell_time(moment, NOW)

    def test_moment_is_told_by_the_clock_and_day_of_here(self):
        self.be_in("CET-1")
        for text, told in (("2026-11-26T14:00:00Z", "15:00"), ("2026-11-27T01:00:00Z", "02:00 tomorrow"),
                           ("2026-11-25T06:30:00Z", "07:30 yesterday"), ("2026-12-24T01:00:00Z", "02:00 on 2026-12-24"),
                           ("2026-11-26T13:00:45Z", "14:00:45"), ("2026-11-26T23:30:00Z", "00:30 tomorrow")):
            with self.subTest(text):
                self.assertEqual(tell_time(parse_time(text), NOW), told)
