"""What makes a new job valid, and when it may start."""
from __future__ import annotations

import unittest

from core.errors import InvalidJob
from core.job import MAX_ID, MAX_TEXT
from core.job_record import job_from_record
from core.new_job import first_run_at, new_job_fields
from core.rules import backoff_delay, time_limit
from core.settings import DEFAULTS
from core.times import format_time
from tests.support.home import WINDOWS, as_command, longest
from tests.support.jobs import NOW, TIME, running


class NewJobTest(unittest.TestCase):

    def test_job_needs_an_id_and_a_command_and_nothing_else(self):
        self.assertEqual(new_job_fields({"id": "a", "command": "echo"}, "/here"), {"id": "a", "command": "echo", "cwd": "/here"})

    def test_names_of_kept_variables_as_show_prints_them_are_no_variables(self):
        shown = {"id": "a", "command": "echo", "keep_env": ["PATH"], "kept_env": "PATH (--env prints the values)"}
        self.assertEqual(new_job_fields(shown, "/here"), {"id": "a", "command": "echo", "keep_env": ["PATH"], "cwd": "/here"})

    def test_every_bad_field_is_refused_by_name(self):
        for name, record in (
                ("id", {"command": "x"}), ("id", {"id": None, "command": "x"}), ("id", {"id": "", "command": "x"}),
                ("id", {"id": True, "command": "x"}), ("id", {"id": ["a"], "command": "x"}), ("id", {"id": {"a": 1}, "command": "x"}),
                ("id", {"id": "x" * (MAX_ID + 1), "command": "x"}), ("id", {"id": "a\nb", "command": "x"}),
                ("id", {"id": "a\0", "command": "x"}), ("id", {"id": "\x1b[31m", "command": "x"}), ("id", {"id": "\x7f", "command": "x"}),
                ("id", {"id": "\x85", "command": "x"}), ("id", {"id": "\x9b", "command": "x"}), ("id", {"id": "a\u2028", "command": "x"}),
                ("id", {"id": "a\tb", "command": "x"}), ("id", {"id": int("9" * 300), "command": "x"}),
                ("command", {"id": "a"}), ("command", {"id": "a", "command": None}), ("command", {"id": "a", "command": ""}),
                ("command", {"id": "a", "command": " \n\t "}), ("command", {"id": "a", "command": "a\0b"}),
                ("command", {"id": "a", "command": ["echo", "x"]}), ("command", {"id": "a", "command": 5}),
                ("command", {"id": "a", "command": False}), ("command", {"id": "a", "command": {}}),
                ("cwd", {"id": "a", "command": "x", "cwd": ""}), ("cwd", {"id": "a", "command": "x", "cwd": 3}),
                ("cwd", {"id": "a", "command": "x", "cwd": "/a\0b"}), ("cwd", {"id": "a", "command": "x", "cwd": ["/"]}),
                ("cwd", {"id": "a", "command": "x", "cwd": False}),
        ) + tuple((name, {"id": "a", "command": "x", name: value}) for name, values in (
                ("timeout", (0, -1, "soon", "02:00", "0s", True, [], 1e9, 0.0)), ("max_retries", (-1, 1.5, "3", True, 1000001, {})),
                ("backoff_base", (-1, "2", False, 1000001, [])), ("backoff_max", (-0.5, "1y", True, 31536001)),
                ("priority", (1.5, "high", True, 1000001, -1000001, [1])),
                ("after", ("job1", [], [1], [""], ["x" * (MAX_ID + 1)], [None], {}, 5, False, [["a"]])),
                ("env", ("A=1", [], ["A"], {"": "x"}, {"A=B": "x"}, {"A": 1}, {"A": None}, {"A\0": "x"}, {"A": "x\0"}, 5, False)),
        ) for value in values):
            for what, check in (("new", lambda: new_job_fields(record, "/")), ("stored", lambda: job_from_record(record))):
                with self.subTest(name, record=repr(record)[:60], job=what):
                    with self.assertRaises(InvalidJob) as caught:
                        check()
                    self.assertIn("\"%s\"" % name, str(caught.exception))
                    self.assertLess(len(str(caught.exception)), 250)
                    self.assertEqual(caught.exception.exit_code, 2)

    def test_what_is_no_object_is_refused(self):
        for record in (None, "echo", 3, True, [], ["a"], 1.5):
            with self.subTest(repr(record)):
                with self.assertRaises(InvalidJob) as caught:
                    new_job_fields(record, "/")
                self.assertIn("object", str(caught.exception))

    def test_missing_field_is_explained_by_an_example(self):
        with self.assertRaises(InvalidJob) as caught:
            new_job_fields({"id": "a"}, "/")
        self.assertIn("{\"id\": \"job1\", \"command\": \"echo Hello\"}", str(caught.exception))

    def test_every_good_id_is_accepted(self):
        for given, kept in (("a", "a"), ("x" * MAX_ID, "x" * MAX_ID), (" ", " "), ("a b/c\\d\"e'", "a b/c\\d\"e'"),
                            ("\u00e9\u4e16\U0001f600", "\u00e9\u4e16\U0001f600"),
                            (7, "7"), (-1, "-1"), (0, "0"), (1.5, "1.5"), ("../../etc/passwd", "../../etc/passwd"), ("--all", "--all")):
            with self.subTest(repr(given)[:30]):
                self.assertEqual(new_job_fields({"id": given, "command": "x"}, "/")["id"], kept)
                self.assertEqual(job_from_record({"id": given, "command": "x"}).id, kept)

    def test_command_is_kept_to_the_letter(self):
        for command in ("echo 'a'  \"b\"", " leading and trailing ", as_command("first\nsecond\n"), "\t\x01\x1b[31m", "\u00e9\u2028", "x" * longest(200000)):
            with self.subTest(repr(command)[:30]):
                self.assertEqual(new_job_fields({"id": "a", "command": command}, "/")["command"], command)

    @unittest.skipIf(WINDOWS, "cmd.exe takes less")
    def test_what_the_system_does_not_take_as_one_argument_is_refused_when_it_is_added(self):
        for name, field, length in (("\"command\"", "command", MAX_TEXT), ("the variable LONG", "env", MAX_TEXT - len("LONG="))):
            for longest_one, too_long in (("x" * length, "x" * (length + 1)), ("\u00e9" * (length // 2), "\u00e9" * (length // 2 + 1))):
                with self.subTest(name, letter=longest_one[0]):
                    jobs = [{"id": "a", "command": "x", field: {"A": "b", "LONG": text} if field == "env" else text}
                            for text in (longest_one, too_long)]
                    self.assertEqual(new_job_fields(jobs[0], "/")[field], jobs[0][field])
                    with self.assertRaises(InvalidJob) as caught:
                        new_job_fields(jobs[1], "/")
                    self.assertRegex(str(caught.exception), "^%s .*128 KiB.*into a file$" % name)

    def test_where_a_job_stands_is_ignored_when_it_is_added(self):
        shown = running(3, own="kept").to_dict()
        self.assertEqual(new_job_fields(shown, "/"), {"id": "job1", "command": "echo Hello", "own": "kept", "cwd": "/"})

    def test_nonsense_in_where_a_job_stands_is_ignored_too_when_it_is_added(self):
        record = {"id": "a", "command": "x", "state": "flying", "attempts": "many", "created_at": 7, "worker": [], "run_at": "soon"}
        self.assertEqual(new_job_fields(record, "/"), {"id": "a", "command": "x", "cwd": "/"})

    def test_fields_of_the_users_own_are_kept_in_their_order(self):
        record = {"zebra": [1, {"a": None}], "command": "x", "place": "Berne", "id": "a", "key": 1.5, "self": True, "": "", "options": {}}
        fields = new_job_fields(record, "/")
        self.assertEqual(list(fields.items()), [("id", "a"), ("command", "x"), ("zebra", [1, {"a": None}]), ("place", "Berne"),
                                                ("key", 1.5), ("self", True), ("", ""), ("options", {}), ("cwd", "/")])

    def test_every_good_option_is_kept(self):
        options = {"cwd": "/tmp", "timeout": 0.5, "max_retries": 0, "backoff_base": 1.5, "backoff_max": 0, "priority": -1000000,
                   "after": ["b", "c"], "env": {"A": "", "B_1": "x=y\n"}}
        record = dict({"id": "a", "command": "x"}, **options)
        self.assertEqual(new_job_fields(record, "/"), record)
        self.assertEqual(job_from_record(record).options, options)

    def test_option_that_is_null_is_as_good_as_missing(self):
        names = ("timeout", "max_retries", "backoff_base", "backoff_max", "priority", "after", "env")
        job = job_from_record(dict({"id": "a", "command": "x"}, **dict.fromkeys(names)))
        self.assertEqual((job.priority, tuple(job.after), time_limit(job, DEFAULTS), backoff_delay(job._replace(attempts=3), DEFAULTS)),
                         (0, (), None, 8))

    def test_null_as_time_limit_lifts_that_of_the_settings(self):
        settings = DEFAULTS._replace(timeout=60.0)
        for options, limit in (({}, 60.0), ({"timeout": 5}, 5), ({"timeout": None}, None)):
            with self.subTest(options):
                self.assertEqual(time_limit(job_from_record(dict({"id": "a", "command": "x"}, **options)), settings), limit)
                self.assertEqual(new_job_fields(dict({"id": "a", "command": "x"}, **options), "/").get("timeout", 1), options.get("timeout", 1))

    def test_length_of_time_may_be_a_text_and_is_stored_in_seconds(self):
        given = {"id": "a", "command": "x", "timeout": "1h30m", "backoff_max": "90 s"}
        fields = new_job_fields(given, "/")
        self.assertEqual((fields["timeout"], fields["backoff_max"]), (5400, 90))
        typed = job_from_record(given)  # by hand, into the job file
        self.assertEqual((time_limit(typed, DEFAULTS), backoff_delay(typed._replace(attempts=9), DEFAULTS)), (5400, 90))
        self.assertEqual(typed.options["timeout"], "1h30m")

    def test_folder_is_the_jobs_own_or_the_current_one(self):
        for given, kept in (({"cwd": "/own"}, "/own"), ({"cwd": None}, "/here"), ({}, "/here")):
            with self.subTest(given):
                self.assertEqual(new_job_fields(dict({"id": "a", "command": "x"}, **given), "/here")["cwd"], kept)

    def test_what_is_given_is_not_changed(self):
        record = {"id": 1, "command": "x", "state": "dead"}
        new_job_fields(record, "/")
        job_from_record(record)
        self.assertEqual(record, {"id": 1, "command": "x", "state": "dead"})


class FirstRunTest(unittest.TestCase):

    def test_job_may_run_at_any_time_unless_it_says_otherwise(self):
        for record in ({}, {"run_at": None}, {"delay": None}, {"delay": None, "run_at": None}):
            self.assertIsNone(first_run_at(record, NOW))

    def test_job_may_run_at_its_time_or_after_its_delay(self):
        for record, run_at in (({"run_at": TIME}, TIME), ({"run_at": "2026-11-24T03:09:06+01:00"}, "2026-11-24T02:09:06.000000Z"),
                               ({"delay": 90}, format_time(NOW + 90)), ({"delay": 0}, format_time(NOW)),
                               ({"delay": 1.5}, format_time(NOW + 1.5)),
                               ({"delay": "2h"}, format_time(NOW + 7200)), ({"delay": "10s", "run_at": None}, format_time(NOW + 10))):
            with self.subTest(record):
                self.assertEqual(first_run_at(record, NOW), run_at)

    def test_what_is_no_time_and_no_delay_is_refused_by_name(self):
        for name, values in (("run_at", ("", "soon", 5, True, [], "2026-02-30T00:00:00Z", "2026-12", "5m")),
                             ("delay", ("", "soon", -1, "-1s", True, [], {}, 1e300, "1e300", "02:00", float("inf")))):
            for value in values:
                with self.subTest(name, value=repr(value)):
                    with self.assertRaises(InvalidJob) as caught:
                        first_run_at({name: value}, NOW)
                    self.assertIn("\"%s\"" % name, str(caught.exception))

    def test_refusal_of_a_time_says_what_is_missing_or_which_field_is_meant(self):
        for record, said in (({"run_at": "2026-12-24 02"}, "lacks the minutes"), ({"run_at": "2026-12"}, "lacks the day"),
                             ({"run_at": "5m"}, "is given as \"delay\""), ({"delay": "02:00"}, "is given as \"run_at\"")):
            with self.subTest(record):
                with self.assertRaisesRegex(InvalidJob, said):
                    first_run_at(record, NOW)

    def test_time_and_delay_exclude_each_other(self):
        with self.assertRaises(InvalidJob):
            first_run_at({"run_at": TIME, "delay": 5}, NOW)


if __name__ == "__main__":
    unittest.main()
