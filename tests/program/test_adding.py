"""What can be given to `enqueue`, and what it answers."""
from __future__ import annotations

import json
import os
import sys
import time
import unittest

from core.system import quote_words
from core.times import parse_time
from tests.support.home import MAIN, WINDOWS, QueueTest, typed
from tests.support.terminal import NEEDS_PTY, Terminal


class AddingTest(QueueTest):
    """enqueue, typed as a user would."""

    def refuse_all(self, rows):
        """Each of these rows of arguments is refused with 2 and the words behind it, and adds nothing."""
        for arguments, *named in rows:
            with self.subTest(arguments):
                said = self.refuse("enqueue", *arguments, code=2)
                for word in named:
                    self.assertIn(word, said)
        self.assertEqual(self.ids(), [])

    def ids(self):
        """The ids in the queue."""
        return [record["id"] for record in self.records()] if "jobs.json" in self.files() else []

    def files(self):
        """The names in the home."""
        return os.listdir(self.home)


class TestCommands(AddingTest):
    """Commands that are typed, and lists of them."""

    def test_command_without_dashes_is_told_where_they_belong(self):
        enqueue = typed("enqueue ")
        self.write("jobs.txt", "x")
        path = quote_words([self.path("jobs.txt")])
        for arguments, meant in ((["echo", "hello"], "-- echo hello"), (["echo hello", "-u"], "-- %s -u" % quote_words(["echo hello"])),
                                 (["ls", "-la", "--color"], "-- ls -la --color"), (["--id", "x", "make"], "--id x -- make"),
                                 (["tar", "-f", "x", "-C", "/"], "-- tar -f x -C /"), (["--priority=3", "-u", "ls"], "--priority=3 -u -- ls"),
                                 (["-p3", "--uni", "--prio", "4", "ls"], "-p3 --uni --prio 4 -- ls"), (["5"], "-- 5"), (["true"], "-- true"),
                                 ([self.path("jobs.txt")], "-- %s; if it is a file of jobs: %s--file %s" % (path, enqueue, path))):
            with self.subTest(arguments):
                said = self.refuse("enqueue", *arguments, code=2)
                self.assertEqual(said, "queuectl: error: put -- before the command: %s%s" % (enqueue, meant))
        self.assertIn(" --home here enqueue -- echo hello", self.refuse("--home", "here", "enqueue", "echo", "hello", code=2))
        said = self.refuse("enqueue", "echo hello", code=2)
        for words in (enqueue + "-- %s;" % quote_words(["echo hello"]), "not JSON (line 1, column 1: expecting value)", '{"id": "job1", '):
            self.assertIn(words, said)
        self.assertEqual(self.ids(), [])

    def test_help_shows_the_form_with_dashes_first(self):
        help = self.succeed("enqueue", "--help")
        self.assertRegex(help, r"\Ausage: .* enqueue \[options\] -- COMMAND")
        self.assertIn("example:\n  %s" % typed("enqueue --id job1 -- echo Hello"), help)

    def test_lines_adds_a_command_a_line_with_options_for_all_and_ids_of_the_files_name(self):
        self.write("cmds.txt", "\ufeff# a list\n\necho one\r\n   echo two | cat  \n\t# no\necho '#3'; exit 0")
        self.assertEqual(self.succeed("enqueue", "--lines", self.path("cmds.txt"), "-p", "2"), "3 jobs added to the queue (cmds-1 to cmds-3).\n")
        self.assertEqual([(record["id"], record["command"], record["priority"]) for record in self.records()],
                         [("cmds-1", "echo one", 2), ("cmds-2", "echo two | cat", 2), ("cmds-3", "echo '#3'; exit 0", 2)])

    def test_lines_come_from_standard_input_too_and_take_a_prefix(self):
        for arguments, stdin, answer in ((["-"], "true\n", "1 job added to the queue (lines-1)."),
                                         (["-", "--id-prefix", "night"], "true\ntrue", "2 jobs added to the queue (night-1 to night-2)."),
                                         (["-"], "# nothing\n\n", "0 jobs added to the queue.")):
            with self.subTest(arguments):
                self.assertEqual(self.succeed("enqueue", "--lines", *arguments, stdin=stdin), answer + "\n")
        self.assertEqual(self.succeed("enqueue", "-q", "--lines", "-", "--id-prefix", "é", stdin="true\ntrue"), "é-1\né-2\n")

    def test_bad_line_is_named_and_none_is_added(self):
        self.write("x" * 220 if not WINDOWS else "x", "true\ntrue\n" + "echo " + "x" * 140000 + "\n")
        self.assertIn("line 3, column 1", self.refuse("enqueue", "--lines", self.path("x" * 220 if not WINDOWS else "x"), code=2))
        self.assertIn("No such file", self.refuse("enqueue", "--lines", self.path("missing"), code=2))
        self.assertEqual(self.ids(), [])

    def test_list_of_commands_and_file_of_json_point_to_each_other(self):
        self.write("cmds.txt", "echo one\n")
        self.write("jobs.json.txt", '[\n{"id": "x", "command": "true"}]')
        self.write("brackets.txt", '[ -e x ] && echo "x"\n{ echo "y"; }\n')
        self.assertIn(typed("enqueue --lines %s" % quote_words([self.path("cmds.txt")])),
                      self.refuse("enqueue", "--file", self.path("cmds.txt"), code=2))
        self.assertIn("--lines -", self.refuse("enqueue", "-", stdin="echo one\n", code=2))
        self.assertIn(typed("enqueue --file %s" % quote_words([self.path("jobs.json.txt")])),
                      self.refuse("enqueue", "--lines", self.path("jobs.json.txt"), code=2))
        self.assertEqual(self.succeed("enqueue", "--lines", self.path("brackets.txt")), "2 jobs added to the queue (brackets-1 to brackets-2).\n")


class TestJson(AddingTest):
    """JSON as people type it."""

    def test_trailing_comma_is_refused_everywhere_with_its_place(self):
        self.write("many.json", '[\n  {"id": "a", "command": "b"},\n]')
        for arguments, stdin in ((["--file", self.path("many.json")], ""), (["-"], self.text("many.json")), ([self.text("many.json")], "")):
            with self.subTest(arguments):
                self.assertIn("line 2, column 30: trailing comma: remove it", self.refuse("enqueue", *arguments, stdin=stdin, code=2))
        self.assertIn("line 1, column 28: trailing comma", self.refuse("enqueue", '{"id": "a", "command": "b" ,}', code=2))
        self.assertIn("in no array", self.refuse("enqueue", "-", stdin='{"id": "a", "command": "b"},\n{"id": "c", "command": "d"}', code=2))
        self.write("config.json", '{\n  "max_retries": 5,\n}')
        self.assertIn("line 2, column 19: trailing comma: remove it", self.refuse("config", code=2))
        self.write("config.json", "{}")
        self.write("jobs.json", self.text("many.json"))
        self.assertIn("line 2, column 30: trailing comma: remove it", self.refuse("list", code=1))


    def test_field_that_may_have_been_meant_as_one_of_ours_is_kept_and_named_once(self):
        records = [{"id": "x", "command": "true", "timeout_seconds": 5, "note": 1}, {"id": "y", "command": "true", "timeout_seconds": 6}]
        done = self.run_program("enqueue", json.dumps(records))
        self.assertEqual((done.returncode, done.stdout), (0, "2 jobs added to the queue.\n"))
        self.assertEqual(done.stderr, 'queuectl: the field "timeout_seconds" means nothing here, and is kept as your own; '
                                      'did you mean "timeout"?\n')
        self.assertEqual([record["timeout_seconds"] for record in self.records()], [5, 6])
        self.succeed("enqueue", '{"id": "z", "command": "true", "timeout": 5, "timeout_seconds": 5, "cmd": "false"}')

    def test_missing_field_is_told_with_the_one_that_was_given_for_it(self):
        self.refuse_all((([json.dumps({"id": "x", "cmd": "true"})], '"command" is missing (there is "cmd"'),
                         ([json.dumps({"ID": "x", "command": "true"})], '"id" is missing (there is "ID"')))

    def test_relative_folder_is_one_of_where_the_job_was_added_and_a_tilde_the_home_folder(self):
        os.mkdir(self.path("here"))
        environ = self.environ(HOME=self.home, USERPROFILE=self.home)
        for cwd, folder in (("sub", self.path("here", "sub")), (".", self.path("here")), ("../run", self.path("run")), ("~", self.home),
                            ("~/x", self.path("x")), (self.home, self.home)):
            for arguments in ([json.dumps({"id": "x", "command": "true", "cwd": cwd})], ["--cwd", cwd, "--", "true"]):
                with self.subTest(arguments):
                    self.succeed("enqueue", *arguments, cwd=self.path("here"), env=environ)
                    self.assertEqual(os.path.normpath(os.path.realpath(self.records()[-1]["cwd"])), os.path.realpath(folder))
        self.assertIn('"cwd"', self.refuse("enqueue", '{"id": "x", "command": "true", "cwd": "~no-such-user-at-all/x"}', code=2))

    def test_relative_folder_in_a_job_file_that_was_typed_is_one_of_that_file(self):
        self.write("jobs.json", '[{"id": "x", "command": "%s", "cwd": "sub"}]' % ("cd" if WINDOWS else "pwd"))
        os.mkdir(self.path("sub"))
        done = self.run_program("worker", "start", "--drain", cwd=os.path.dirname(self.home))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.path.realpath(self.succeed("logs", "x").strip()), os.path.realpath(self.path("sub")))


    def test_what_show_told_of_the_settings_does_not_become_the_jobs_own(self):
        self.succeed("enqueue", '[{"id": "theirs", "command": "true"}, {"id": "own", "command": "true", "max_retries": 3}]')
        theirs, own = (self.succeed("show", job_id) for job_id in ("theirs", "own"))
        self.assertEqual([json.loads(text)["max_retries"] for text in (theirs, own)], [3, 3])
        for words, text, wanted in (((), theirs, None), ((), own, 3), (("--max-retries", "9"), theirs, 9), (("--max-retries", "3"), theirs, 3),
                                    (("--max-retries", "9"), own, 3),
                                    ((), theirs.replace('"max_retries": 3,', '"max_retries": 7,'), 7),
                                    ((), self.succeed("list", "--json", "--search", "theirs"), None)):
            with self.subTest(words=words, text=text):
                self.succeed("enqueue", *words, "-", stdin=text)
                self.assertEqual(self.records()[-1].get("max_retries"), wanted)
                self.assertNotIn("inherited", self.records()[-1])


class TestUnique(AddingTest):
    """--unique, and the setting unique_ids."""

    def test_unique_refuses_an_id_while_a_job_of_that_id_waits_or_runs(self):
        self.add("hourly", "until [ -e go ]; do sleep 0.02; done" if not WINDOWS else "ping -n 3 127.0.0.1")
        again = ("enqueue", "--unique", "--id", "hourly", "--", "true")
        self.assertRegex(self.refuse(*again, code=1), r": Job 'hourly' is waiting in the queue since \d\d:\d\d(:\d\d)?; nothing was added\.$")
        worker = self.start_worker("--drain")
        self.wait_for_state("hourly", "processing")
        self.assertRegex(self.refuse(*again, code=1), r": Job 'hourly' is running since \d\d:\d\d(:\d\d)?; nothing was added\.$")
        self.write("go", "")
        self.wait_for(lambda: worker.poll() is not None)
        self.assertEqual(self.succeed(*again), "Job 'hourly' added to the queue.\n")
        self.assertEqual(self.ids(), ["hourly", "hourly"])

    def test_setting_refuses_an_id_whatever_has_become_of_its_job(self):
        self.settings(unique_ids=True)
        self.add("once", "true")
        self.drain()
        self.assertIn('there is a job with the id "once" already; nothing was added',
                      self.refuse("enqueue", "--id", "once", "--", "true", code=1))


@unittest.skipIf(WINDOWS, "TZ is not written so there")
class TestTimes(AddingTest):
    """Times and lengths as people write them."""

    def environ(self, **more):
        """In a zone one hour before UTC, without summer time."""
        return super().environ(TZ="CET-1", **more)

    def run_at(self, *arguments):
        """When the job runs that these arguments add, in UTC to the second; and the answer."""
        answer = self.succeed("enqueue", *arguments)
        return self.records()[-1]["run_at"].replace(".000000Z", "Z"), answer

    def test_time_without_a_zone_is_local_on_the_command_line_and_in_run_at_and_stored_in_utc(self):
        for text in ("2996-12-24 02:00", "2996-12-24T02:00:00", "2996-12-24T02:00+01:00"):
            for arguments in (["--id", "x", "--at", text, "--", "true"], [json.dumps({"id": "x", "command": "true", "run_at": text})]):
                with self.subTest(arguments):
                    moment, answer = self.run_at(*arguments)
                    self.assertEqual(moment, "2996-12-24T01:00:00Z")
                    self.assertRegex(answer, r"^Job 'x' added; it runs at 02:00 on 2996-12-24 \(in \d+d( \d+h)?\)\.\n$")

    def test_time_of_day_is_the_next_one_and_the_answer_says_when_that_is(self):
        moment, answer = self.run_at("--id", "x", "--at", "02:00", "--", "true")
        self.assertEqual(moment[10:], "T01:00:00Z")
        self.assertTrue(-1 < parse_time(moment) - time.time() <= 86400)
        self.assertRegex(answer, r"^Job 'x' added; it runs at 02:00(:00)?( tomorrow)? \(in (\d+h ?)?(\d+m ?)?(\d+s)?\)\.\n$")

    def test_time_that_is_past_runs_at_once_and_says_so(self):
        self.assertEqual(self.run_at("--id", "x", "--at", "2026-01-02 03:04", "--", "true"),
                         ("2026-01-02T02:04:00Z", "Job 'x' added; it runs at once, since 03:04 on 2026-01-02 is past.\n"))

    def test_delay_takes_lengths_and_holds_for_all_jobs_of_a_file(self):
        answer = self.succeed("enqueue", "--delay", "1h30m", "-", stdin='{"id": "a", "command": "true"}\n{"id": "b", "command": "true"}')
        self.assertRegex(answer, r"^2 jobs added; they run at \d\d:\d\d( tomorrow)? \(in 1h (30|29)m\)\.\n$")

    def test_job_of_a_file_that_says_when_it_runs_keeps_its_own_time(self):
        self.succeed("enqueue", "--at", "2996-01-01", "-", stdin='{"id": "a", "command": "true", "delay": "1w"}\n{"id": "b", "command": "true"}')
        first, second = self.records()
        self.assertLess(first["run_at"], "2900")
        self.assertEqual(second["run_at"], "2995-12-31T23:00:00.000000Z")

    def test_lengths_may_be_written_as_texts_in_fields_and_settings(self):
        self.succeed("enqueue", '{"id": "x", "command": "true", "timeout": "5m", "backoff_max": "1h30m"}')
        self.assertEqual((self.records()[0]["timeout"], self.records()[0]["backoff_max"]), (300, 5400))
        self.assertEqual(self.succeed("config", "set", "timeout", "5m"), "timeout = 300\n")
        self.assertEqual(self.succeed("config", "get", "timeout"), "300\n")
        self.write("config.json", '{"timeout": "90 s"}')
        self.assertEqual(self.succeed("config", "get", "timeout"), "90\n")

    def test_limit_of_the_settings_is_lifted_by_null_and_by_none(self):
        self.settings(timeout=0.2, max_retries=0)
        self.succeed("enqueue", '{"id": "field", "command": "sleep 0.5", "timeout": null}')
        self.succeed("enqueue", "--id", "option", "--timeout", "none", "--", "sleep 0.5")
        self.succeed("enqueue", "--id", "limited", "--", "sleep 60")
        self.drain("--count", "3", code=1)
        self.assertEqual(self.states(), {"field": "completed", "option": "completed", "limited": "dead"})

    def test_what_is_no_time_names_the_option_or_the_field_and_what_is_missing(self):
        self.refuse_all((
            (["--at", "2026-12", "--", "x"], "--at", "'2026-12' lacks the day"),
            (["--at", "2026-12-24 02", "--", "x"], "--at", "lacks the minutes"),
            (["--at", "5m", "--", "x"], "--at", "is a length of time", "--delay"),
            (["--at", "2026-02-30", "--", "x"], "--at", "no such day"),
            (["--delay", "02:00", "--", "x"], "--delay", "--at"),
            (["--delay", "soon", "--", "x"], "--delay", "1h30m"),
            (["--at", "02:00", "--delay", "5m", "--", "x"], "--at", "--delay"),
            (["--timeout", "5 apples", "--", "x"], "--timeout", "1h30m"),
            (['{"id": "x", "command": "x", "run_at": "2026-12"}'], '"run_at"', '"2026-12" lacks the day'),
            (['{"id": "x", "command": "x", "run_at": "5m"}'], '"run_at"', '"delay"'),
            (['{"id": "x", "command": "x", "delay": "02:00"}'], '"delay"', '"run_at"'),
            (['{"id": "x", "command": "x", "timeout": "02:00"}'], '"timeout"', "1h30m"),
        ))

    def test_time_without_a_zone_in_the_job_file_is_utc(self):
        self.write("jobs.json", '[{"id": "x", "command": "true", "run_at": "2996-12-24 02:00"}]')
        self.assertEqual(json.loads(self.succeed("show", "x"))["run_at"], "2996-12-24T02:00:00.000000Z")


@unittest.skipIf(WINDOWS, "the commands are for a POSIX shell")
class TestWaiting(AddingTest):
    """enqueue --wait and --follow, and what is said where nothing would start."""

    def test_wait_has_the_exit_code_of_exactly_the_jobs_that_were_added(self):
        self.settings(max_retries=0)
        self.add("a", "exit 1")  # an older one of the same id does not count
        worker = self.start_worker("--count", "2")
        for stdin, code in (('{"id": "a", "command": "sleep 0.1"}', 0), ('[{"id": "a", "command": "exit 3"}, {"id": "b", "command": "true"}]', 1),
                            ("[]", 0)):
            with self.subTest(stdin):
                done = self.run_program("enqueue", "--wait", "-", stdin=stdin)
                self.assertEqual((done.returncode, done.stderr), (code, ""))
                self.assertRegex(done.stdout, r"^\d jobs? added to the queue\.\n$")
        self.assertEqual(self.run_program("enqueue", "--wait", "-q", "--id", "c", "--", "exit 7").returncode, 1)
        self.assertIsNone(worker.poll())

    def test_follow_prints_what_the_job_writes_too(self):
        self.start_worker()
        for option in ("-f", "--follow"):
            with self.subTest(option):
                done = self.run_program("enqueue", option, "--id", "x", "--", "echo one; sleep 0.1; echo two")
                self.assertEqual((done.returncode, done.stdout), (0, "Job 'x' added to the queue.\none\ntwo\n"))
        done = self.run_program("enqueue", "--wait", "-f", '{"id": "x", "command": "echo bad; exit 1", "max_retries": 0}')
        self.assertEqual((done.returncode, done.stdout), (1, "Job 'x' added to the queue.\nbad\n"))

    def test_job_that_is_removed_while_it_is_waited_for_ends_the_wait_with_4(self):
        waiting = self.start("enqueue", "--wait", "--id", "x", "--", "true")
        self.wait_for(lambda: self.ids() == ["x"])
        self.succeed("reset", "--yes")
        self.assertEqual((waiting.wait(60), "how it ended is not known" in waiting.stderr.read()), (4, True))

    def test_what_would_wait_for_the_job_that_asks_is_refused(self):
        self.settings(max_retries=0)
        self.add("own", '"%s" "%s" enqueue --wait --id later --after own -- true' % (sys.executable, MAIN))
        self.drain(code=1)
        self.assertIn("would wait for ever for that job itself", self.succeed("logs", "own"))

    def test_in_a_pipe_wait_and_logs_say_once_that_nothing_starts(self):
        self.add("x", "echo done")
        self.succeed("pause")
        waiting = [self.start("wait"), self.start("logs", "-f", "x"), self.start("enqueue", "--wait", "--id", "y", "--", "true")]
        heard = ["".join(process.stderr.readline() for _ in range(2)) for process in waiting]
        worker = self.start("worker", "start")
        self.assertIn("the queue is paused", worker.stderr.readline())
        time.sleep(0.2)
        self.succeed("resume")
        for process, said in zip(waiting, heard):
            said += process.stderr.read()
            self.wait_for(lambda process=process: process.poll() is not None)
            self.assertEqual((process.returncode, said.count("is paused"), said.count("no worker is running")), (0, 1, 1), said)

    def test_who_waits_for_a_held_job_or_one_of_a_paused_group_is_told_what_lets_it_start(self):
        self.start_worker()
        self.succeed("pause", "--group", "g")
        self.succeed("enqueue", "--id", "held", "--hold", "--", "true")
        self.succeed("enqueue", "--id", "grouped", "--group", "g", "--", "true")
        self.queue.enqueue([{"id": "next", "command": "true", "after": ["held"]}, {"id": "last", "command": "true", "after_any": ["next"]}],
                           self.home, time.time())
        held = "'held' is held; '%s' lets it start" % typed("release held")
        paused = "the group g is paused; '%s' lets workers take those jobs" % typed("resume --group g")
        for words, said in ((["wait", "held"], [held]), (["wait", "last"], [held]), (["wait", "grouped"], [paused]), (["wait"], [held, paused]),
                            (["wait", "--group", "g"], [paused]),
                            (["logs", "-f", "held"], [held]), (["logs", "-f", "last"], [held]), (["logs", "-f", "grouped"], [paused])):
            with self.subTest(words=words):
                waiting = self.start(*words)
                self.assertEqual([waiting.stderr.readline() for _ in said], ["queuectl: %s\n" % one for one in said])
                waiting.kill()
                waiting.communicate()

    def test_held_jobs_of_one_id_are_named_once(self):
        self.queue.enqueue([{"id": "twin", "command": "true", "hold": True}] * 2, self.home, time.time())
        self.assertIn("queuectl: 2 jobs are held; '%s' lets them start\n" % typed("release twin"),
                      self.run_program("wait", "--timeout", "0").stderr)

    def test_in_a_pipe_enqueue_says_nothing_of_it(self):
        self.succeed("pause")
        self.assertEqual(self.succeed("enqueue", "--id", "x", "--", "true"), "Job 'x' added to the queue.\n")


@unittest.skipIf(WINDOWS, "the commands are for a POSIX shell")
class TestEnvironment(AddingTest):
    """The variables of the shell that a job keeps."""

    MINE = {"MINE": "from the shell", "SECRET": "s3cret"}

    def setUp(self):
        super().setUp()
        self.settings(max_retries=0)
        self.own = self.environ(**self.MINE)
        self.theirs = self.environ(MINE="from the worker", ONLY_THEIRS="1")

    def written(self, *arguments, runs=1):
        """What a job writes of the variables, that was added with these arguments and has run so often."""
        self.succeed("enqueue", *arguments, "--", 'echo "$MINE,$SECRET,$ONLY_THEIRS,$EXPLICIT"; exit 1', env=self.own)
        for _ in range(runs):
            self.assertEqual(self.run_program("worker", "start", "--drain", env=self.theirs).returncode, 1)
            job_id = self.ids()[-1]
            text = self.succeed("logs", job_id).strip()
            self.succeed("retry", job_id)
        self.succeed("cancel", job_id)
        return text

    def test_job_runs_in_the_workers_environment_or_with_what_it_keeps_of_the_shells(self):
        for arguments, written in (((), "from the worker,,1,"), (("--keep-env",), "from the shell,s3cret,,"),
                                   (("--keep-env=MINE,NOT_THERE",), "from the shell,,1,"), (("--keep-env=false",), "from the worker,,1,"),
                                   (("--keep-env", "--env", "EXPLICIT=yes", "--env", "MINE=mine"), "mine,s3cret,,yes")):
            with self.subTest(arguments):
                self.assertEqual(self.written(*arguments), written)

    def test_what_is_kept_holds_for_retries_too(self):
        self.assertEqual(self.written("--keep-env=MINE", runs=2), "from the shell,,1,")

    def test_setting_is_the_default_and_option_and_field_come_before_it(self):
        self.assertEqual(self.succeed("config", "set", "keep_env", "MINE,PATH"), 'keep_env = ["MINE", "PATH"]\n')
        self.assertEqual(self.written(), "from the shell,,1,")
        self.assertEqual(self.written("--keep-env=SECRET"), "from the worker,s3cret,1,")
        self.assertEqual(self.succeed("config", "set", "keep_env", "true"), "keep_env = true\n")
        self.assertEqual(self.written(), "from the shell,s3cret,,")
        self.succeed("enqueue", '{"id": "x", "command": "true", "keep_env": false}', env=self.own)
        self.assertNotIn("kept_env", self.records()[-1])
        self.assertIn("keep_env must be true, false or a list of names", self.refuse("config", "set", "keep_env", "5", code=2))

    def test_show_masks_the_values_and_list_has_nothing_of_them(self):
        self.succeed("enqueue", "--id", "x", "--keep-env=SECRET,MINE", "--env", "EXPLICIT=yes", "--", "exit 1", env=self.own)
        shown = json.loads(self.succeed("show", "x"))
        self.assertEqual((shown["keep_env"], shown["kept_env"], shown["env"]),
                         (["SECRET", "MINE"], "MINE, SECRET (--env prints the values)", {"EXPLICIT": "yes"}))
        self.assertEqual(json.loads(self.succeed("show", "x", "--env"))["kept_env"], self.MINE)
        self.drain(code=1)
        for words in (("list",), ("list", "--json"), ("list", "--jsonl"), ("dlq", "list", "--json"), ("show", "x"), ("status", "--json")):
            with self.subTest(words):
                self.assertNotIn("s3cret", self.succeed(*words))

    def test_what_show_prints_can_be_added_again_and_keeps_what_there_is_then(self):
        self.succeed("enqueue", "--id", "x", "--keep-env=MINE", "--", "true", env=self.own)
        for words, mine in ((("show", "x"), "from the worker"), (("show", "x", "--env"), "from the shell")):
            with self.subTest(words):
                shown = self.succeed(*words)
                self.write("jobs.json", "[]")
                self.succeed("enqueue", shown, env=self.theirs)
                self.assertEqual(self.records()[0]["kept_env"], {"MINE": mine})
                self.succeed("enqueue", "--id", "x", "--keep-env=MINE", "--", "true", env=self.own)
                self.write("jobs.json", json.dumps(self.records()[1:]))
        self.succeed("edit", "x", "--priority", "5")
        self.assertEqual((self.records()[-1]["priority"], self.records()[-1]["kept_env"]), (5, {"MINE": "from the shell"}))

    def test_job_file_of_a_queue_that_is_added_to_another_one_keeps_its_variables(self):
        self.succeed("enqueue", "--id", "x", "--keep-env", "--", "true", env=self.own)
        self.succeed("--home", self.path("other"), "enqueue", "--file", self.path("jobs.json"), env=self.theirs)
        self.assertEqual(self.records(os.path.join("other", "jobs.json"))[0]["kept_env"], self.records()[0]["kept_env"])
        self.assertEqual(self.records()[0]["kept_env"]["MINE"], "from the shell")

    def test_what_no_json_file_can_hold_and_what_is_ours_is_not_kept(self):
        own = {os.fsencode(name): os.fsencode(value) for name, value in self.own.items()}
        own.update({b"BAD": b"\xff", b"_": b"/bin/x", b"QUEUECTL_JOB_ID": b"7"})
        done = self.run_program("enqueue", "--keep-env", "--", "true", env=own)
        self.assertEqual((done.returncode, "variable BAD is not kept" in done.stderr), (0, True), done.stderr)
        kept = self.records()[0]["kept_env"]
        self.assertEqual([name for name in kept if name in ("BAD", "_") or name.startswith("QUEUECTL_")], [])

    def test_bad_names_are_refused(self):
        self.refuse_all(((["--keep-env", '{"id": "x", "command": "true"}'], "--keep-env=PATH,VIRTUAL_ENV"),
                         (['{"id": "x", "command": "true", "keep_env": "PATH"}'], '"keep_env" must be true, false or a list of names'),
                         (['{"id": "x", "command": "true", "keep_env": [5]}'], '"keep_env"'),
                         (['{"id": "x", "command": "true", "kept_env": {"A": 5}}'], '"kept_env"')))


@NEEDS_PTY
class TestTerminal(AddingTest):
    """enqueue on a terminal."""

    def said(self, *arguments):
        """What a command prints on a terminal."""
        opened = Terminal([sys.executable, MAIN, *arguments], dict(self.environ(), TERM="xterm"))
        self.addCleanup(opened.close)
        self.assertEqual(opened.end(), 0)
        return opened.text().replace("\r\n", "\n")

    def test_it_says_that_no_worker_runs_or_that_the_queue_is_paused(self):
        added = "Job 'x' added to the queue.\n"
        command = ("enqueue", "--id", "x", "--", "true")
        self.assertEqual(self.said(*command), added + "queuectl: no worker is running; '%s' runs what is in the queue\n" % typed("worker start"))
        self.start_worker()
        self.assertEqual(self.said(*command), added)
        self.succeed("pause")
        self.assertEqual(self.said(*command), added + "queuectl: the queue is paused, so that no job starts; '%s' lets workers take jobs again\n"
                         % typed("resume"))
        self.assertEqual(self.said("enqueue", "-q", "--id", "x", "--", "true"), "x\n")
