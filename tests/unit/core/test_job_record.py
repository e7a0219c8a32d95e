"""How the record of a job is read that someone else may have written."""
from __future__ import annotations

import json
import unittest

from core.errors import InvalidJob
from core.job import COMPLETED, DEAD, FAILED, KILLED, LOST, MAX_ATTEMPTS, PENDING, PROCESSING, UNSTARTABLE, Job, job_from_checked
from core.job_record import job_from_record
from core.times import parse_time
from storage.layout import WIDTH, encode_line1, encode_line2
from tests.support.jobs import TIME, running


class JobRecordTest(unittest.TestCase):

    def test_missing_fields_get_their_defaults(self):
        job = job_from_record({"id": "a", "command": "x"})
        self.assertEqual(job, Job("a", "x", "", {}, PENDING, 0, None, None, None, None, None, None, 0))

    def test_null_is_as_good_as_missing(self):
        names = ("created_at", "state", "attempts", "exit_code", "reason", "run_at", "started_at", "updated_at", "worker")
        self.assertEqual(job_from_record(dict({"id": "a", "command": "x"}, **dict.fromkeys(names))),
                         job_from_record({"id": "a", "command": "x"}))

    def test_every_bad_value_is_refused_by_name(self):
        times = ("", "now", 5, True, [], {}, "2026-11", "02:00", "tomorrow", "2026-11-24T02:09:06+", "10000-01-01T00:00:00Z", "2026-13-01T00:00:00.000000Z",
                 "2026-02-30T00:00:00.000000Z", "2026-11-24T25:00:00.000000Z", "2026-11-24T02:60:00.000000Z",
                 "2026-11-24T02:09:06.123456Z\n", "0000-01-01T00:00:00.000000Z",
                 "1969-12-31T23:59:59.999999Z", "\u0662\u0660\u0662\u0666-11-24T02:09:06.123456Z", "x" * 10000)
        table = {
            "state": ("Pending", "done", "", 0, 1, False, [], {}, "pending ", "cancelled"),
            "attempts": (-1, MAX_ATTEMPTS + 1, "3", 1.5, 1.0, True, [1], {"a": 1}, 10 ** 50, "", False, [], {}, 0.0),
            "exit_code": (-2 ** 31 - 1, 2 ** 32, "0", 0.0, False, [], {}),
            "reason": ("", "Two Words", "UPPER", "-dash", "x" * 15, 3, [], "caf\u00e9", "a\n", "tab\t"),
            "worker": ("", "x" * 27, "a b", "a\n", 3, [], "caf\u00e9", "a_b", "\u0663"),
            "created_at": times, "run_at": times, "started_at": times, "updated_at": times,
        }
        for name, values in table.items():
            for value in values:
                with self.subTest(name, value=repr(value)[:40]):
                    with self.assertRaises(InvalidJob) as caught:
                        job_from_record({"id": "a", "command": "x", name: value})
                    self.assertIn("\"%s\"" % name, str(caught.exception))
                    self.assertLess(len(str(caught.exception)), 250)

    def test_time_without_a_zone_is_utc(self):
        for text in ("2026-11-24T02:09:06", "2026-11-24 02:09:06", "2026-11-24T02:09:06.000000"):
            job = job_from_record({"id": "a", "command": "x", "created_at": text, "run_at": text, "updated_at": text})
            self.assertEqual({job.created_at, job.run_at, job.updated_at}, {"2026-11-24T02:09:06.000000Z"})

    def test_day_alone_is_its_midnight_in_utc(self):
        job = job_from_record({"id": "a", "command": "x", "run_at": "2026-12-24", "updated_at": "9999-12-31"})
        self.assertEqual((job.run_at, job.updated_at), ("2026-12-24T00:00:00.000000Z", "9999-12-31T00:00:00.000000Z"))

    def test_creation_in_the_last_day_of_time_leaves_room_for_jobs_behind_it(self):
        job = job_from_record({"id": "a", "command": "x", "created_at": "9999-12-31T23:59:59.999999Z"})
        self.assertEqual(job.created_at, "9999-12-31T00:00:00.000000Z")

    def test_job_between_two_attempts_of_another_program_is_pending(self):
        job = job_from_record({"id": "a", "command": "x", "state": "failed", "attempts": 2})
        self.assertEqual((job.state, job.attempts), (PENDING, 2))

    def test_every_good_value_is_kept_and_fits_its_column(self):
        table = {
            "state": (PENDING, PROCESSING, COMPLETED, DEAD),
            "attempts": (0, 1, MAX_ATTEMPTS),
            "exit_code": (0, 255, -2 ** 31, 2 ** 32 - 1),
            "reason": (FAILED, KILLED, LOST, UNSTARTABLE, "timeout", "cancelled", "abcdefghijklmn", "two-words", "two_words"),
            "worker": ("w", "0123456789ab-0123456789abc", "A-Z"),
            "run_at": (TIME, "1970-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"),
            "started_at": (TIME,), "updated_at": (TIME,), "created_at": (TIME,),
        }
        for name, values in table.items():
            for value in values:
                with self.subTest(name, value=value):
                    job = job_from_record({"id": "a", "command": "x", name: value})
                    self.assertEqual(getattr(job, name), value)
                    self.assertEqual(len(encode_line2(job.progress())), WIDTH)

    def test_time_of_other_programs_is_kept_in_our_form(self):
        for given in ("2026-11-24T02:09:06Z", "2026-11-24T03:09:06+01:00", "2026-11-23T21:39:06-04:30", "2026-11-24 02:09:06+00:00"):
            with self.subTest(given):
                job = job_from_record({"id": "a", "command": "x", "run_at": given, "created_at": given})
                self.assertEqual((job.run_at, job.created_at), ("2026-11-24T02:09:06.000000Z",) * 2)

    def test_every_accepted_time_can_be_read(self):
        for text in ("1970-01-01T00:00:00.000000Z", "2024-02-29T23:59:59.999999Z", "9999-12-30T23:59:59.999999Z",
                     "2026-11-24T02:09:06+14:00"):
            with self.subTest(text):
                job = job_from_record({"id": "a", "command": "x", "created_at": text})
                self.assertGreaterEqual(parse_time(job.created_at), 0)

    def test_job_is_written_and_read_without_loss(self):
        record = dict(running(3, own=[1, {"z": None}], cwd="/tmp", place="Berne").to_dict())
        job = job_from_record(record, 77)
        line = (encode_line1(job.fields()) + b",\n" + encode_line2(job.progress())).decode("utf-8")
        self.assertEqual(json.loads(line), record)
        self.assertEqual(job_from_checked(json.loads(line), 77), job)
        self.assertEqual((job.place, job.options), (77, {"own": [1, {"z": None}], "cwd": "/tmp", "place": "Berne"}))


if __name__ == "__main__":
    unittest.main()
