"""The program as a user runs it: every command, its output, its exit code, and that what is refused changes nothing."""
from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from cli import arguments
from core.job import FAILED, Outcome
from tests.support.home import DEADLINE, MAIN, THEN, HomeTest, as_command, copy_program, longest, typed

POSIX = os.name != "nt"
STATES = ("pending", "processing", "completed", "dead")
OLD = "2020-01-01T00:00:00.000000Z"
ADD = ["enqueue", '{"id": "x", "command": "y"}']
# Text that would steer a terminal: escape sequences, a C1 control (begins one too), DEL, line breaks, what turns the direction of writing.
HOSTILE = as_command("\x1b[31m\x9b31m\x7f\r\n\t\u202e\u2028\x07")


class CliTest(HomeTest):
    """What the tests of commands share."""

    def files(self):
        """The bytes of each file in the home, but for the lock and its notes in run/."""
        found = {}
        for folder, _, names in os.walk(self.home):
            if os.path.basename(folder) != "run":
                for name in names:
                    path = os.path.join(folder, name)
                    if os.path.isfile(path):
                        with open(path, "rb") as file:
                            found[os.path.relpath(path, self.home)] = file.read()
        return found

    def refuse_and_keep(self, *arguments, **options):
        """Run a command that must be refused and change nothing; the line that it says."""
        before = self.files()
        said = self.refuse(*arguments, **options)
        self.assertEqual(self.files(), before)
        return said

    def refuse_each(self, rows, code):
        """Rows of (arguments, what the error must name): each refused with this exit code, nothing changed. Some run at a time."""
        before = self.files()
        with ThreadPoolExecutor(2) as pool:
            each = list(pool.map(lambda row: self.run_program(*row[0]), rows))
        self.assertEqual(self.files(), before)
        for (words, *named), done in zip(rows, each):
            with self.subTest(arguments=words):
                self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
                self.assertRegex(done.stderr, "\\Aqueuectl: error: [^\n]+\n\\Z")
                for text in named:
                    self.assertIn(text, done.stderr)

    def add(self, *records):
        """Add jobs without starting a program for it."""
        self.manager().enqueue(records, self.home, time.time())

    def finish(self, **outcomes):
        """Let jobs come to an end without running them: id=exit code (another one than 0 sends them to the DLQ)."""
        queue = self.manager(max_retries=0)
        for number in range(len(outcomes)):
            job = queue.claim("test-%d" % number, time.time())
            code = outcomes[job.id]
            queue.record(job, Outcome(code, FAILED if code else None), time.time(), "its last words")

    def raw(self, *arguments):
        """The bytes that a command prints; it must succeed and be silent on stderr."""
        done = subprocess.run([sys.executable, MAIN] + list(arguments), env=self.environ(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout

    def rows(self, *arguments):
        """What a table in a pipe holds: a list of cells a line."""
        return [line.split("\t") for line in self.succeed(*arguments).splitlines()]


class TestEnqueue(CliTest):
    """enqueue, in all its forms."""

    def test_a_json_object_becomes_a_pending_job_of_the_current_folder(self):
        printed = self.succeed("enqueue", '{"id": "job1", "command": "echo Hello"}', cwd=self.home)
        self.assertEqual(printed, "Job 'job1' added to the queue.\n")
        job, = self.records()
        self.assertEqual((job["id"], job["command"], job["state"], job["attempts"]), ("job1", "echo Hello", "pending", 0))
        self.assertEqual(os.path.realpath(job["cwd"]), os.path.realpath(self.home))
        for name in ("created_at", "updated_at"):
            self.assertRegex(job[name], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")

    def test_a_json_array_adds_all_of_its_jobs_in_order(self):
        printed = self.succeed("enqueue", '[{"id": "b", "command": "one"}, {"id": "a", "command": "two"}]')
        self.assertEqual(printed, "2 jobs added to the queue.\n")
        self.assertEqual([job["id"] for job in self.records()], ["b", "a"])

    def test_an_empty_json_array_adds_nothing(self):
        self.assertEqual(self.succeed("enqueue", "[]"), "0 jobs added to the queue.\n")

    def test_a_number_as_id_is_taken_as_text(self):
        self.assertEqual(self.succeed("enqueue", '{"id": 42, "command": "echo"}'), "Job '42' added to the queue.\n")
        self.assertEqual(self.records()[0]["id"], "42")

    def test_one_word_after_the_dashes_is_the_command_as_it_is(self):
        self.succeed("enqueue", "--id", "x", "--", "echo $HOME | tr a b; exit 3")
        self.assertEqual(self.records()[0]["command"], "echo $HOME | tr a b; exit 3")

    @unittest.skipUnless(POSIX, "words are quoted for cmd.exe there")
    def test_several_words_after_the_dashes_are_quoted_so_that_the_shell_sees_the_same_words(self):
        words = ["printf", "%s|", "a b", "it's", "$HOME", "", "--home", "-q", "--", "*", "é\n"]
        self.assertEqual(self.succeed("enqueue", "--id", "x", "--", *words), "Job 'x' added to the queue.\n")
        self.assertEqual(shlex.split(self.records()[0]["command"]), words)
        self.drain()
        self.assertEqual(self.raw("logs", "x"), "|".join(words[2:] + [""]).encode("utf-8"))

    def test_without_an_id_a_short_one_is_made_that_differs_each_time(self):
        made = [self.succeed("enqueue", "-q", "--", "echo", "hi").strip() for _ in range(3)]
        self.assertEqual([job["id"] for job in self.records()], made)
        self.assertEqual(len(set(made)), 3)
        for job_id in made:
            self.assertRegex(job_id, r"^[0-9a-z]{4,12}$")

    def test_of_a_job_file_what_has_not_ended_is_added_and_what_has_is_counted(self):
        jobs = [{"id": state, "command": "echo %s" % state, "state": state, "attempts": 2, "created_at": "2025-11-08T15:00:18.296461"}
                for state in ("completed", "failed", "dead", "pending", "processing", "completed")]
        self.write("old.json", json.dumps(jobs, indent=4))
        for words, stdin in ((("--file", self.path("old.json")), None), (("-",), self.read("old.json").decode("utf-8"))):
            done = self.run_program("enqueue", *words, stdin=stdin)
            self.assertEqual((done.returncode, done.stdout), (0, "3 jobs added to the queue.\n"))
            self.assertIn("queuectl: 3 jobs that had ended were left out", done.stderr)
        self.assertEqual([(job["id"], job["state"], job["attempts"]) for job in self.records()],
                         [(job_id, "pending", 0) for job_id in ("failed", "pending", "processing")] * 2)
        self.write("old.json", json.dumps(jobs[:1]))
        done = self.run_program("enqueue", "--file", self.path("old.json"))
        self.assertEqual((done.returncode, done.stdout), (0, "0 jobs added to the queue.\n"))
        self.assertIn("queuectl: 1 job that had ended was left out", done.stderr)
        self.write("one.json", json.dumps(jobs[0]))  # as `show` prints a job
        self.assertEqual(self.succeed("enqueue", "--file", self.path("one.json")), "1 job added to the queue.\n")

    def test_many_jobs_come_from_standard_input_or_a_file_in_any_layout(self):
        jobs = [{"id": "a", "command": "echo 1"}, {"id": "b", "command": "echo [2]"}, {"id": "c", "command": "echo é"}]
        lines = [json.dumps(job, ensure_ascii=False) for job in jobs]
        layouts = {"an array": json.dumps(jobs), "a pretty array": json.dumps(jobs, indent=4), "JSON Lines": "\n".join(lines) + "\n",
                   "JSON Lines without the last newline": "\n".join(lines),
                   "pretty objects": "\n".join(json.dumps(job, indent=2) for job in jobs),
                   "CRLF, blank lines and a byte order mark": "\ufeff\r\n" + "\r\n\r\n".join(lines) + "\r\n"}
        for number, (name, text) in enumerate(layouts.items()):
            with self.subTest(name):
                self.write("jobs.txt", text)
                home = "home-%d" % number
                with open(self.path("jobs.txt"), "rb") as file:
                    done = subprocess.run([sys.executable, MAIN, "--home", self.path(home), "enqueue", "-"], stdin=file,
                                          stdout=subprocess.PIPE)
                self.assertEqual((done.returncode, done.stdout.split()[:2]), (0, [b"3", b"jobs"]))
                self.assertEqual([(job["id"], job["command"]) for job in self.records(os.path.join(home, "jobs.json"))],
                                 [(job["id"], job["command"]) for job in jobs])
        self.assertEqual(self.succeed("enqueue", "--file", self.path("jobs.txt")), "3 jobs added to the queue.\n")
        self.assertEqual(self.succeed("enqueue", "-q", "-f", self.path("jobs.txt")), "a\nb\nc\n")
        self.assertEqual([job["id"] for job in self.records()], ["a", "b", "c"] * 2)

    def test_nothing_on_standard_input_adds_nothing(self):
        self.assertEqual(self.succeed("enqueue", "-", stdin=" \n"), "0 jobs added to the queue.\n")
        self.assertEqual(self.succeed("enqueue", "-q", "-", stdin="[]"), "")

    def test_quiet_prints_the_id_alone(self):
        self.assertEqual(self.succeed("enqueue", "-q", '{"id": "a b", "command": "echo"}'), "a b\n")

    def test_add_is_another_name_for_enqueue(self):
        self.assertEqual(self.succeed("add", '{"id": "x", "command": "echo"}'), "Job 'x' added to the queue.\n")

    def test_fields_of_the_users_own_are_kept_and_what_show_prints_can_be_added_again(self):
        self.succeed("enqueue", '{"id": "x", "command": "exit 1", "note": {"by": ["me", 1.5, null]}, "cwd": %s}' % json.dumps(self.home))
        self.finish(x=1)
        shown = self.succeed("show", "x")
        self.assertEqual(self.succeed("enqueue", shown), "Job 'x' added to the queue.\n")
        first, second = self.records()
        self.assertEqual((first["state"], first["attempts"], first["exit_code"]), ("dead", 1, 1))
        self.assertEqual((second["state"], second["attempts"], second["exit_code"]), ("pending", 0, None))
        self.assertGreater(second["created_at"], first["created_at"])
        self.assertEqual(second["note"], {"by": ["me", 1.5, None]})
        self.assertEqual(second["cwd"], self.home)

    def test_the_longest_command_is_kept_whole(self):
        command = "echo " + "é" * ((longest(500000) - 5) // 2)
        self.succeed("enqueue", "-", stdin=json.dumps({"id": "big", "command": command}))
        self.assertEqual(json.loads(self.succeed("show", "big"))["command"], command)

    def test_one_bad_job_in_a_file_and_none_is_added_and_the_error_names_its_line(self):
        good = '{"id": "ok", "command": "echo"}\n'
        self.succeed("enqueue", good)
        for bad, named in (('{"id": "x"}', '"command"'), ('{"command": "echo"}', '"id"'), ('{"id": "x", "command": ""}', '"command"'),
                           ("5", "object"), ("{,", "line 3, column 2"),
                           ('{"id": "x", "command": "y"} trailing', "column 29"), ('["x"]', "object"),
                           ('{"id": "x", "id": "y", "command": "z"}', "twice"), ('{"id": "x", "command": NaN}', "NaN")):
            with self.subTest(bad=bad):
                self.write("jobs.txt", good * 2 + bad + "\n" + good)
                said = self.refuse_and_keep("enqueue", "--file", self.path("jobs.txt"), code=2)
                self.assertIn("line 3", said)
                self.assertIn(named, said)
                self.assertIn("nothing was added", said)
        self.write("jobs.txt", b'{"id": "ok", "command": "\xff"}')
        self.assertIn("line 1, column 26", self.refuse_and_keep("enqueue", "--file", self.path("jobs.txt"), code=2))


class TestEnqueueErrors(CliTest):
    """What enqueue refuses."""

    def test_what_was_understood_but_does_not_fit_the_queue_is_refused_with_1_and_said_once(self):
        self.add({"id": "a", "command": "true"})
        twins = '{"id": "t", "command": "true"}\n' * 2
        circle = '{"id": "p", "command": "true", "after": ["q"]}\n{"id": "q", "command": "true", "after": ["p"]}\n'
        for words, stdin, named in ((["--unique", "--id", "a", "--", "true"], "", "'a'"), (["--after", "nope", "--", "true"], "", '"nope"'),
                                    (["--unique", "-"], twins, '"t"'), (["-"], circle, "circle: p after q after p"),
                                    (['{"id": "x", "command": "true", "after": ["x"]}'], "", "circle: x after x")):
            with self.subTest(words):
                said = self.refuse_and_keep("enqueue", *words, stdin=stdin, code=1)
                self.assertIn(named, said)
                self.assertEqual((said.count("nothing was added"), "line" in said), (1, False), said)

    def test_what_is_no_job_is_refused_with_the_field_and_an_example(self):
        self.add({"id": "there", "command": "echo"})
        self.refuse_each((
            (["enqueue", "{"], "line 1, column 2", '{"id": "job1", "command": "echo Hello"}'),
            (["enqueue", '{"id": "x", "command": "y"} z'], "column 29"),
            (["enqueue", '"text"'], "object"),
            (["enqueue", "[null]"], "object"),
            (["enqueue", "{}"], '"id"'),
            (["enqueue", '{"id": "x"}'], '"command"', "missing"),
            (["enqueue", '{"command": "x"}'], '"id"', "missing"),
            (["enqueue", '{"id": "", "command": "x"}'], '"id"'),
            (["enqueue", '{"id": "x", "command": ""}'], '"command"', "empty"),
            (["enqueue", '{"id": "x", "command": " \\t"}'], '"command"', "empty"),
            (["enqueue", '{"id": true, "command": "x"}'], '"id"', "true"),
            (["enqueue", '{"id": ["x"], "command": "x"}'], '"id"'),
            (["enqueue", '{"id": "x", "command": 5}'], '"command"', "5"),
            (["enqueue", '{"id": "x", "command": ["ls", "-l"]}'], '"command"'),
            (["enqueue", '{"id": "x", "command": {}}'], '"command"'),
            (["enqueue", '{"id": "%s", "command": "x"}' % ("x" * 201)], '"id"', "200"),
            (["enqueue", '{"id": "a\\nb", "command": "x"}'], '"id"', "control"),
            (["enqueue", '{"id": "a\\u001bb", "command": "x"}'], '"id"', "control"),
            (["enqueue", '{"id": "x", "command": "echo \\u0000"}'], '"command"', "NUL"),
            (["enqueue", '{"id": "x", "command": "\\ud800"}'], "not be UTF-8"),
            (["enqueue", '{"id": "x", "command": "y", "n": 1e400}'], "too large"),
            (["enqueue", '{"id": "x", "command": "y", "cwd": 5}'], '"cwd"'),
            (["enqueue", '[{"id": "x", "command": "y"}, {"id": "z"}]'], '"command"'),
            (["enqueue", "--id", "a\x1bb", "--", "x"], '"id"', "control"),
            (["enqueue", "--id", "", "--", "x"], '"id"'),
            (["enqueue", "--", ""], '"command"'),
        ), code=2)

    def test_what_is_to_be_added_must_be_said_in_one_way(self):
        self.refuse_each((
            (["enqueue"], typed("enqueue")),
            (["enqueue", "--"], "--"),
            (["enqueue", "--id", "x"], "--"),
            (["enqueue", "{}", "--", "echo"], "one way"),
            (["enqueue", "-", "--file", "x"], "one way"),
            (["enqueue", "--id", "x", '{"id": "y", "command": "z"}'], "--id"),
            (["enqueue", "{}", "two"], "two"),
            (["enqueue", "--id-prefix", "x", "{}"], "--lines"),
            (["enqueue", "--lines", "x", "--", "echo"], "one way"),
            (["enqueue", "--file", self.path("missing")], self.path("missing"), "No such file"),
            (["enqueue", "--file", self.home], self.home),
        ), code=2)
        self.assertEqual(self.files(), {})

    @unittest.skipUnless(POSIX, "no such arguments there")
    def test_an_argument_that_is_not_utf8_is_refused_in_one_line(self):
        self.add({"id": "there", "command": "echo"})
        for words in ([b"enqueue", b'{"id": "x", "command": "\xff"}'], [b"enqueue", b"--id", b"\xff", b"--", b"echo"],
                      [b"enqueue", b"--", b"\xff"], [b"show", b"\xff"], [b"logs", b"\xff"], [b"retry", b"\xff"], [b"clean", b"\xff"],
                      [b"config", b"get", b"\xff"], [b"list", b"--state", b"\xff"], [b"\xff"]):
            with self.subTest(arguments=words):
                self.refuse_and_keep(*words)

    def test_a_list_of_jobs_as_an_argument_says_which_one_is_bad(self):
        said = self.refuse("enqueue", '[{"id": "first", "command": "y"}, {"id": "second"}]', code=2)
        self.assertRegex(said, r"second|\b2\b|column 35")


class TestList(CliTest):
    """list and its flags."""

    def setUp(self):
        super().setUp()
        self.add({"id": "b", "command": "echo one"}, {"id": "a", "command": "false"}, {"id": "C", "command": "echo two"},
                 {"id": "d", "command": "sleep 1"})
        self.finish(b=0, a=1)

    def test_in_a_pipe_it_is_a_tab_separated_line_a_job_with_nothing_shortened(self):
        long = "echo " + "x" * 5000
        self.add({"id": "i" * 200, "command": long})
        rows = self.rows("list")
        self.assertEqual([row[:3] + row[4:] for row in rows],
                         [["b", "completed", "1", "echo one"], ["a", "dead", "1", "false"], ["C", "pending", "0", "echo two"],
                          ["d", "pending", "0", "sleep 1"], ["i" * 200, "pending", "0", long]])
        self.assertEqual([row[3] for row in rows], [job["updated_at"] for job in self.records()])

    def test_the_flags_choose_and_order(self):
        for flags, wanted in (
                ("", "b a C d"),
                ("--state pending", "C d"),
                ("--state=completed", "b"),
                ("-s dead", "a"),
                ("--state processing", ""),
                ("--state pending,dead", "a C d"),
                ("--limit 2", "b a"),
                ("-n 1 --state pending", "C"),
                ("--limit 100", "b a C d"),
                ("--reverse", "d C a b"),
                ("-r --limit 3", "d C a"),
                ("--sort id", "C a b d"),
                ("--sort id --reverse", "d b a C"),
                ("--sort command", "b C a d"),
                ("--sort state", "b a C d"),
                ("--sort run_at", "b a C d"),
                ("--state ready,done", "b C d"),
                ("--state queued -n 1", "C"),
                ("--state retrying,scheduled,blocked,running,cancelled", ""),
                ("--sort attempts --reverse --limit 2", "b a"),
                ("--sort updated_at", "C d b a"),
                ("--sort created_at", "b a C d"),
                ("--sort started_at --reverse --limit 1", "a"),
                ("--search echo", "b C"),
                ("--search a", "a"),
                ("--search C", "C"),
                ("--search Echo", ""),
                ("--search o --limit 1 --reverse", "C")):
            with self.subTest(flags=flags):
                self.assertEqual(self.succeed("list", "-q", *flags.split()).split(), wanted.split())

    def test_json_holds_every_field_of_the_chosen_jobs(self):
        records, fields = self.records(), len(self.records()[0])
        told = json.loads(self.succeed("list", "--json"))
        self.assertEqual([dict(list(job.items())[:fields]) for job in told], records)
        self.assertEqual([list(job)[fields:] for job in told], [["duration", "waits_for", "due_in", "max_retries", "inherited"]] * len(records))
        self.assertEqual([job["id"] for job in json.loads(self.succeed("list", "--json", "--state", "dead"))], ["a"])
        self.assertEqual(json.loads(self.succeed("list", "--json", "--search", "nothing like it")), [])

    def test_an_empty_queue_lists_nothing(self):
        for name in ("jobs.json", "dlq.json"):
            self.write(name, "[]")
        self.assertEqual(self.succeed("list"), "")
        self.assertEqual(json.loads(self.succeed("list", "--json")), [])

    def test_flags_that_make_no_sense_are_refused(self):
        self.refuse_each((
            (["list", "--state", "walking"], "walking", ", ".join(STATES)),
            (["list", "--state", "complete"], "did you mean 'completed'"),
            (["list", "--state", "pending,"], "''"),
            (["list", "--state"], "--state"),
            (["list", "--limit", "0"], "0"),
            (["list", "--limit", "-1"], "-1"),
            (["list", "--limit", "many"], "many"),
            (["list", "--sort", "colour"], "colour", "created_at"),
            (["list", "extra"], "extra"),
        ), code=2)

    @unittest.skipUnless(POSIX, "pseudo-terminals are POSIX's")
    def test_on_a_terminal_it_is_a_table_that_fits_with_a_header_and_no_raw_control_characters(self):
        import pty
        self.add({"id": "e", "command": "echo " + "x" * 500 + HOSTILE})
        self.add({"id": "f", "command": "echo " + HOSTILE})
        master, slave = pty.openpty()
        process = self.start("list", stdout=slave, env=self.environ(TERM="xterm", COLUMNS="100"))
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux: the other side has closed it
                break
            if not piece:
                break
            seen += piece
        os.close(master)
        self.assertEqual((process.wait(), process.stderr.read()), (0, ""))
        text = re.sub("\x1b\\[[0-9;]*m", "", seen.decode("utf-8")).replace("\r\n", "\n")
        lines = text.splitlines()
        self.assertEqual(lines[0].split(), ["ID", "STATE", "DETAIL", "UPDATED", "COMMAND"])
        self.assertEqual(len(lines), 7)
        for line in lines:
            self.assertLessEqual(len(line), 100)
            self.assertTrue(line.isprintable(), line)
        self.assertIn("…", lines[5])


class TestShow(CliTest):
    """show."""

    def test_it_prints_all_of_a_job_as_json(self):
        self.add({"id": "x", "command": "echo é", "own": [1, {"a": None}]})
        record, = self.records()
        for words in (["show", "x"], ["show", "x", "--json"]):
            told = json.loads(self.succeed(*words))
            self.assertEqual({name: told.get(name, "missing") for name in record}, record)

    def test_of_several_jobs_with_the_same_id_it_prints_the_newest_and_says_so(self):
        self.add({"id": "x", "command": "one"}, {"id": "x", "command": "two"})
        done = self.run_program("show", "x")
        self.assertEqual((done.returncode, json.loads(done.stdout)["command"]), (0, "two"))
        self.assertRegex(done.stderr, "^queuectl: 2 jobs .*newest\nqueuectl: x@1 .*\nqueuectl: x@2 .*\n$")

    def test_an_id_that_is_not_there_is_refused(self):
        self.add({"id": "x", "command": "echo"})
        self.assertIn("'y'", self.refuse_and_keep("show", "y", code=1))
        self.assertIn("ID", self.refuse_and_keep("show", code=2))


class TestStatus(CliTest):
    """status."""

    def test_it_counts_each_state_zeros_too_and_names_the_home(self):
        self.add({"id": "a", "command": "x"}, {"id": "b", "command": "x"}, {"id": "c", "command": "x"})
        self.finish(a=0)
        words = [line.split(None, 1) for line in self.succeed("status").splitlines()]
        self.assertEqual(words, [["pending", "2"], ["processing", "0"], ["completed", "1"], ["dead", "0"], ["total", "3"], ["workers", "0"],
                                 ["home", self.home]])
        told = json.loads(self.succeed("status", "--json"))
        wanted = {"pending": 2, "processing": 0, "completed": 1, "dead": 0, "total": 3, "workers": 0, "worker_processes": [],
                  "home": self.home}
        self.assertEqual({name: told[name] for name in wanted}, wanted)

    def test_it_counts_the_workers_and_names_their_processes(self):
        one, two = self.start_worker("--count", "2"), self.start_worker()
        told = json.loads(self.succeed("status", "--json"))
        self.assertEqual((told["workers"], sorted(told["worker_processes"])), (3, sorted([one.pid, two.pid])))
        self.assertRegex(self.succeed("status"), r"(?m)^workers +3 +\(pid (%d, %d|%d, %d)\)$" % (one.pid, two.pid, two.pid, one.pid))


@unittest.skipUnless(POSIX, "the jobs are written for sh")
class TestLogs(CliTest):
    """logs, with the output of real attempts."""

    def setUp(self):
        super().setUp()
        self.write("config.json", '{"max_retries": 1, "backoff_base": 0.01}')
        self.add({"id": "twice", "command": 'echo "attempt $QUEUECTL_ATTEMPT"; echo second line; echo third >&2; exit 1'},
                 {"id": "odd", "command": "printf 'no newline \\377\\000\\033[31m\\r\\n\\ntail'"},
                 {"id": "quiet", "command": "true"})
        self.drain(code=1)

    def test_what_was_written_comes_out_as_it_was(self):
        self.add({"id": "later", "command": "echo"})
        odd = b"no newline \xff\x00\x1b[31m\r\n\ntail"
        first, last = (b"attempt %d\nsecond line\nthird\n" % attempt for attempt in (1, 2))
        for words, wanted in ((["logs", "odd"], odd), (["logs", "twice"], last), (["log", "twice"], last),
                              (["logs", "twice", "--attempt", "1"], first),
                              (["logs", "twice", "--all"], b"==> twice, attempt 1 <==\n" + first + b"==> twice, attempt 2 <==\n" + last),
                              (["logs", "twice", "-n", "2"], b"second line\nthird\n"),
                              (["logs", "twice", "--lines", "1"], b"third\n"),
                              (["logs", "twice", "-n", "99"], last),
                              (["logs", "odd", "-n", "1"], b"tail"),
                              (["logs", "odd", "-n", "2"], b"\ntail")):
            with self.subTest(arguments=words):
                self.assertEqual(self.raw(*words), wanted)
        for job_id in ("quiet", "later"):
            with self.subTest(nothing_of=job_id):
                done = self.run_program("logs", job_id)
                self.assertEqual((done.returncode, done.stdout), (0, ""))
                self.assertRegex(done.stderr, "^queuectl: '%s' has written nothing.*\n$" % job_id)
        self.refuse_each(((["logs", "nope"], "'nope'"),), code=1)
        self.refuse_each(((["logs", "twice", "--attempt", "1", "--all"], "--all"), (["logs", "twice", "-n", "0"], "0"),
                          (["logs", "twice", "--attempt", "x"], "x")), code=2)

    def test_an_attempt_whose_output_is_not_kept_is_not_said_to_have_written_nothing(self):
        self.succeed("config", "set", "keep_attempts", "1")
        self.add({"id": "again", "command": "echo $QUEUECTL_ATTEMPT; exit 1", "max_retries": 1, "backoff_base": 0.01})
        self.drain(code=1)
        self.assertEqual(self.raw("logs", "again"), b"2\n")
        done = self.run_program("logs", "again", "--attempt", "1")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("no output of attempt 1 of 'again': it wrote nothing, or that is not kept any more", done.stderr)

    def test_what_was_written_before_a_retry_is_shown_as_such_and_never_as_the_present_lifes(self):
        first, last = (b"attempt %d\nsecond line\nthird\n" % attempt for attempt in (1, 2))
        former = b""
        for number in (1, 2):
            self.succeed("retry", "twice")
            with self.subTest(retry=number):
                done = self.run_program("logs", "twice")
                self.assertEqual((done.returncode, done.stdout), (0, ""))
                self.assertIn("written nothing since it was brought back; it has not run since; '%s'" % typed("logs --all twice"), done.stderr)
                former += b"".join(b"==> twice, attempt %d before retry %d <==\n%s" % (attempt, number, said)
                                   for attempt, said in ((1, first), (2, last)))
                self.assertEqual(self.raw("logs", "twice", "--all"), former)
                self.drain(code=1)
                self.assertEqual((self.raw("logs", "twice"), self.raw("logs", "twice", "--attempt", "1")), (last, first))
                self.assertEqual(self.raw("logs", "twice", "--all"), former + b"==> twice, attempt 1 <==\n" + first +
                                 b"==> twice, attempt 2 <==\n" + last)
        self.succeed("clean", "--state", "dead")
        self.assertEqual([name.split("-")[0] for name in os.listdir(self.path("logs"))], ["odd"])

    def test_a_job_that_is_silent_after_a_retry_has_no_words_of_its_former_life(self):
        self.add({"id": "silent", "command": "[ -e ../dead ] && exit 1; [ -e ../good ] || { echo FAILED; exit 1; }", "cwd": self.path("run")})
        self.drain(code=1)
        for name, code, end in (("dead", 1, "dead"), ("good", 0, "completed")):
            with self.subTest(end):
                self.write(name, "")
                self.add({"id": "first-%s" % name, "command": "true", "priority": 1})  # it is not the worker's first one
                self.succeed("retry", "silent")
                self.drain(code=code)
                if name == "dead":
                    self.assertEqual([job["output"] for job in json.loads(self.succeed("dlq", "list", "--json")) if job["id"] == "silent"], [""])
                    os.unlink(self.path(name))
                self.assertEqual(self.states()["silent"], end)
                done = self.run_program("logs", "silent")
                self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_names_in_the_folder_that_no_log_has_are_left_alone(self):
        name = next(name for name in os.listdir(self.path("logs")) if name.startswith("odd-"))
        strange = [name.replace(".1.", between) for between in (".\u00b2.", ".x.", ".0.", ".1-.", ".-1.", ".1-2-3.", ".")]
        for other in strange:
            self.write(os.path.join("logs", other), "strange")
        self.assertEqual(self.raw("logs", "odd", "--all"), b"==> odd, attempt 1 <==\nno newline \xff\x00\x1b[31m\r\n\ntail")
        self.succeed("clean", "odd")
        self.assertTrue(set(strange) <= set(os.listdir(self.path("logs"))))

    def test_without_an_id_it_is_the_job_that_was_started_last(self):
        self.add({"id": "newest", "command": "echo me"})
        self.drain()
        self.add({"id": "waiting", "command": "echo not me"})
        self.assertEqual(self.succeed("logs"), "me\n")

    def test_empty_logs_are_not_kept_and_the_others_are_the_owners_alone(self):
        names = os.listdir(self.path("logs"))
        self.assertEqual(sorted(name.split("-")[0] for name in names), ["odd", "twice", "twice"])
        for name in names:
            self.assertEqual(os.stat(self.path("logs", name)).st_mode & 0o777, 0o600)


class TestLogsWithoutAny(CliTest):
    """logs, when nothing has run."""

    def test_it_says_that_nothing_has_run_yet(self):
        self.assertIn("no job has run yet", self.refuse("logs", code=1))


class TestWorkerCommands(CliTest):
    """worker start, stop and list from the user's side; `test_worker_manager` looks closer."""

    def test_without_workers_list_and_stop_say_so_and_succeed(self):
        self.assertEqual(self.succeed("worker", "stop"), "No worker is running.\n")
        self.assertEqual(self.succeed("worker", "stop", "--now", "--timeout", "5"), "No worker is running.\n")
        done = self.run_program("worker", "list")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("'%s'" % typed("worker start"), done.stderr)
        self.assertEqual(json.loads(self.succeed("worker", "list", "--json")), [])

    @unittest.skipUnless(POSIX, "the job is written for sh")
    def test_list_shows_the_process_its_threads_and_what_they_run_and_stop_gives_up_with_124(self):
        self.add({"id": "long", "command": 'touch here; while [ ! -e go ] && [ -d "$QUEUECTL_HOME" ]; do sleep 0.05; done'})
        worker = self.start_worker("--count", "2")
        self.assertEqual(worker.stdout.readline(),
                         "Worker process %d: 2 workers, home %s. Ctrl+C or '%s' ends it.\n"
                         % (worker.pid, self.home, typed("worker stop")))
        self.wait_for(lambda: os.path.exists(self.path("here")))
        told, = json.loads(self.succeed("worker", "list", "--json"))
        self.assertEqual((told["pid"], told["workers"], told["running"]), (worker.pid, 2, ["long"]))
        row, = self.rows("worker", "list")
        self.assertEqual((row[:2], row[3]), ([str(worker.pid), "2"], "long"))
        done = self.run_program("worker", "stop", "--timeout", "0.1")
        self.assertEqual((done.returncode, done.stdout), (124, ""))
        self.assertRegex(done.stderr, r"^queuectl: .*pid %d.*--now.*\n$" % worker.pid)
        self.refuse_each(((["reset", "--yes"], "pid %d" % worker.pid, typed("worker stop")),), code=1)
        self.write("go", "")
        self.assertEqual(worker.wait(), 0)
        self.assertEqual(self.states(), {"long": "completed"})

    def test_arguments_that_make_no_sense_are_refused(self):
        self.refuse_each((
            (["worker"], "start, stop, list"),
            (["worker", "strat"], "did you mean 'start'"),
            (["worker", "start", "--count", "0"], "0"),
            (["worker", "start", "--count", "two"], "two"),
            (["worker", "start", "--count"], "--count"),
            (["worker", "start", "--cuont", "2"], "--cuont"),
            (["worker", "stop", "--timeout", "soon"], "soon"),
            (["worker", "stop", "all"], "all"),
        ), code=2)


class TestDeadLetterQueue(CliTest):
    """dlq list, dlq retry (= retry), dlq purge."""

    def setUp(self):
        super().setUp()
        self.add(*({"id": name, "command": "exit %d" % code} for name, code in (("a", 3), ("b", 0), ("c", 137), ("d", 1))))
        self.finish(a=3, b=0, c=137, d=1)

    def test_list_shows_the_dead_jobs_and_why_they_died(self):
        self.assertEqual([(row[0], row[1], row[3], row[4]) for row in self.rows("dlq", "list")],
                         [("a", "1", "exit code 3", "exit 3"), ("c", "1", "exit code 137", "exit 137"),
                          ("d", "1", "exit code 1", "exit 1")])
        told = json.loads(self.succeed("dlq", "list", "--json"))
        self.assertEqual([(job["id"], job["exit_code"]) for job in told], [("a", 3), ("c", 137), ("d", 1)])
        self.assertEqual({(job["reason"], job["output"]) for job in told}, {("failed", "its last words")})
        self.assertTrue(all(job["failed_at"] for job in told))

    def test_retry_brings_the_named_jobs_back(self):
        self.assertEqual(self.succeed("dlq", "retry", "a"), "Job 'a' is back in the queue.\n")
        self.assertEqual(self.succeed("retry", "c"), "Job 'c' is back in the queue.\n")
        self.assertEqual([(job["id"], job["state"], job["attempts"], job["exit_code"]) for job in self.records()],
                         [("a", "pending", 0, None), ("b", "completed", 1, 0), ("c", "pending", 0, None), ("d", "dead", 1, 1)])
        self.assertEqual([job["id"] for job in self.records("dlq.json")], ["d"])

    def test_retry_all_brings_all_back_and_they_keep_their_places(self):
        self.assertEqual(self.succeed("retry", "--all"), "3 jobs back in the queue.\n")
        self.assertEqual([(job["id"], job["state"]) for job in self.records()],
                         [("a", "pending"), ("b", "completed"), ("c", "pending"), ("d", "pending")])
        self.assertEqual(self.records("dlq.json"), [])
        self.assertEqual(self.succeed("retry", "--all"), "0 jobs back in the queue.\n")

    def test_a_dead_job_that_was_deleted_from_dlq_json_can_still_be_retried(self):
        self.write("dlq.json", "[]")
        self.assertEqual([row[0] for row in self.rows("dlq", "list")], ["a", "c", "d"])
        self.assertEqual(self.succeed("retry", "c"), "Job 'c' is back in the queue.\n")
        self.assertEqual(self.records()[2]["state"], "pending")

    def test_purge_removes_the_named_jobs_for_good(self):
        self.assertEqual(self.succeed("dlq", "purge", "a", "d"), "Removed 2 jobs.\n")
        self.assertEqual([job["id"] for job in self.records()], ["b", "c"])
        self.assertEqual([job["id"] for job in self.records("dlq.json")], ["c"])
        self.assertEqual(self.succeed("dlq", "purge", "--all"), "Removed 1 job.\n")
        self.assertEqual([job["id"] for job in self.records()], ["b"])
        self.assertEqual(self.succeed("dlq", "list"), "")

    def test_purge_with_an_age_leaves_the_younger_ones(self):
        records = self.records()
        records[0]["updated_at"] = OLD
        self.write("jobs.json", json.dumps(records))
        entries = self.records("dlq.json")
        entries[0].update(updated_at=OLD, failed_at=OLD)
        self.write("dlq.json", json.dumps(entries))
        self.assertEqual(self.succeed("dlq", "purge", "--all", "--older-than", "1d"), "Removed 1 job.\n")
        self.assertEqual([job["id"] for job in self.records()], ["b", "c", "d"])
        self.assertEqual([job["id"] for job in self.records("dlq.json")], ["c", "d"])

    def test_what_names_no_dead_job_is_refused_and_none_of_the_others_is_touched(self):
        self.refuse_each((
            (["retry", "nope"], "'nope'", typed("list")),
            (["dlq", "retry", "a", "nope"], "'nope'"),
            (["dlq", "purge", "d", "nope"], "'nope'"),
            (["dlq", "purge", "b"], "'b' is completed, not dead", typed("remove b")),
            (["clean", "a"], "'a' is dead, not completed", typed("remove a")),
        ), code=1)
        self.refuse_each((
            (["dlq"], "list, retry, purge"),
            (["dlq", "lsit"], "did you mean 'list'"),
            (["retry"], "--all"),
            (["retry", "a", "--all"], "--all"),
            (["clean", "--state", "pending"], "completed, dead or both"),
            (["retry", "--edit", "a", "d"], "--edit"),
            (["dlq", "purge"], "--all"),
            (["dlq", "purge", "--older-than", "1d"], "--all"),
            (["dlq", "purge", "--all", "--older-than", "old"], "old"),
        ), code=2)


class TestClean(CliTest):
    """clean and reset."""

    def setUp(self):
        super().setUp()
        self.write("config.json", '{"max_retries": 0}')
        self.write("jobs.json", json.dumps([{"id": name, "command": "echo %s%sexit %d" % (name, THEN, code), "cwd": self.home}
                                            for name, code in (("a", 0), ("b", 1), ("c", 0), ("d", 0))]))

    def run_jobs(self):
        """Run the jobs of the home, then add one more."""
        self.drain(code=1)
        self.add({"id": "e", "command": "echo later"})
        self.assertEqual(self.logged(), ["a", "b", "c", "d"])

    def logged(self):
        """The ids of jobs that have a log."""
        return sorted(name.split("-")[0] for name in os.listdir(self.path("logs")))

    def test_it_removes_completed_jobs_and_their_logs_and_nothing_else(self):
        self.run_jobs()
        self.assertEqual(self.succeed("clean", "c"), "Removed 1 job.\n")
        self.assertEqual([job["id"] for job in self.records()], ["a", "b", "d", "e"])
        self.assertEqual(self.logged(), ["a", "b", "d"])
        self.assertEqual(self.succeed("clean"), "Removed 2 jobs.\n")
        self.assertEqual([job["id"] for job in self.records()], ["b", "e"])
        self.assertEqual([job["id"] for job in self.records("dlq.json")], ["b"])
        self.assertEqual(self.logged(), ["b"])
        self.assertEqual(self.succeed("clean", "--state", "dead"), "Removed 1 job.\n")
        self.assertEqual([job["id"] for job in self.records()], ["e"])
        self.assertEqual(self.records("dlq.json"), [])
        self.assertEqual(self.logged(), [])
        self.assertEqual(self.succeed("clean"), "Removed 0 jobs.\n")

    def test_with_an_age_it_leaves_the_younger_ones(self):
        self.write("config.json", "{}")
        self.write("jobs.json", json.dumps([{"id": "old", "command": "x", "state": "completed", "updated_at": OLD},
                                            {"id": "waits", "command": "x", "updated_at": OLD}]))
        self.add({"id": "young", "command": "x"})
        queue = self.manager()
        queue.record(queue.claim("test-1", time.time()), None, time.time())  # makes the file ours; `waits` is still pending
        self.assertEqual(self.succeed("clean", "--older-than", "7d"), "Removed 1 job.\n")
        self.assertEqual([job["id"] for job in self.records()], ["waits", "young"])

    def test_reset_clears_jobs_dead_letter_queue_and_logs_but_not_the_settings(self):
        self.run_jobs()
        said = self.refuse_and_keep("reset", code=2)
        self.assertIn(typed("reset --yes"), said)
        config = self.read("config.json")
        self.assertEqual(self.succeed("reset", "--yes"), "Removed all jobs.\n")
        self.assertEqual((self.records(), self.records("dlq.json")), ([], []))
        self.assertFalse(os.path.exists(self.path("logs")) and os.listdir(self.path("logs")))
        self.assertEqual(self.read("config.json"), config)

    def test_what_names_no_such_job_is_refused(self):
        self.refuse_each(((["clean", "nope"], "'nope'"), (["clean", "--state", "dead", "a"], "'a'"), (["clean", "a"], "'a'")), code=1)
        self.refuse_each(((["clean", "--state", "pending"], "pending"), (["clean", "--older-than", "yesterday"], "yesterday")), code=2)


class TestConfig(CliTest):
    """config, config get, config set."""

    def test_without_a_file_the_defaults_are_shown_and_nothing_is_written(self):
        rows = {row[0]: row[1] for row in self.rows("config")}
        told = json.loads(self.succeed("config", "--json"))
        self.assertEqual({name: json.loads(value) for name, value in rows.items()}, told)
        self.assertEqual((told["max_retries"], told["backoff_base"], told["backoff_max"], told["retry_in_place"], told["poll_interval"]),
                         (3, 2, 3600, True, 1.0))
        self.assertEqual(self.files(), {})

    def test_get_prints_one_setting_and_dashes_are_as_good_as_underscores(self):
        self.write("config.json", '{"max_retries": 7}')
        for words, wanted in ((["max_retries"], "7\n"), (["max-retries"], "7\n"), (["backoff_base"], "2\n"), (["retry-in-place"], "true\n"),
                              (["max-retries", "--json"], '{"max_retries": 7}\n')):
            with self.subTest(arguments=words):
                self.assertEqual(self.succeed("config", "get", *words), wanted)
        self.assertEqual(json.loads(self.succeed("config", "get", "--json"))["max_retries"], 7)

    def test_a_value_is_json_whatever_stdout_can_encode(self):
        limits = {"g\u00fc": 2}
        for encoding in ("ascii", "cp1252", "utf-8"):
            with self.subTest(encoding):
                environ = self.environ(PYTHONIOENCODING=encoding)
                said = self.succeed("config", "set", "limits", json.dumps(limits), env=environ, encoding=encoding)
                self.assertEqual(json.loads(said.partition(" = ")[2]), limits)
                for words, wanted in ((["limits"], limits), (["limits", "--json"], {"limits": limits})):
                    self.assertEqual(json.loads(self.succeed("config", "get", *words, env=environ, encoding=encoding)), wanted)
                rows = dict(line.split("\t")[:2] for line in self.succeed("config", env=environ, encoding=encoding).splitlines())
                self.assertEqual(json.loads(rows["limits"]), limits)

    @unittest.skipUnless(POSIX, "arguments are Unicode there")
    def test_what_is_not_utf8_is_refused_with_its_place(self):
        self.succeed("config", "set", "max_retries", "1")
        before = self.read("config.json")
        for words, named in ((["on_finish", b"caf\xe9"], r'"on_finish": "caf\udce9"'), ([b"limits.\xe9", "3"], r'"\udce9": 3'),
                             (["runner", b"nice \xe9"], r'"\udce9"'), (["keep_env", b"\xe9"], r'"\udce9"')):
            with self.subTest(words):
                said = self.refuse("config", "set", *words, code=2)
                self.assertEqual(said, "queuectl: error: %s holds UTF-8 alone, and cannot hold %s" % (self.path("config.json"), named))
                self.assertEqual(self.read("config.json"), before)

    def test_set_writes_the_setting_and_keeps_all_else_in_the_file(self):
        self.assertEqual(self.succeed("config", "set", "max-retries", "5"), "max_retries = 5\n")
        self.assertEqual(json.loads(self.read("config.json").decode()), {"max_retries": 5})
        self.assertEqual(os.stat(self.path("config.json")).st_mode & 0o077 if POSIX else 0, 0)
        self.write("config.json", '{"theirs": [1, 2], "backoff_base": 3, "max_retries": 1}')
        for key, value in (("max_retries", "0"), ("backoff_base", "1.5"), ("retry_in_place", "false")):
            done = self.run_program("config", "set", key, value)
            self.assertEqual((done.returncode, done.stdout), (0, "%s = %s\n" % (key, value)))
        record = json.loads(self.read("config.json").decode())
        self.assertEqual(list(record.items()), [("theirs", [1, 2]), ("backoff_base", 1.5), ("max_retries", 0), ("retry_in_place", False)])

    def test_list_and_show_are_other_words_for_all_and_a_key_alone_for_get(self):
        self.write("config.json", '{"max_retries": 7}')
        everything = self.succeed("config")
        for words in (["list"], ["show"], ["get"]):
            self.assertEqual(self.succeed("config", *words), everything)
        self.assertEqual((self.succeed("config", "max-retries"), self.succeed("config", "list", "max_retries")), ("7\n", "7\n"))
        self.refuse_each(((["config", "max_retries", "5"], typed("config set max_retries 5")), (["config", "retrys"], "'retrys'")), code=2)

    def test_unset_lets_the_default_hold_and_removes_keys_that_are_no_settings(self):
        self.write("config.json", '{"theirs": 1, "max_retries": "many", "maxRetries": 4}')
        self.assertEqual(self.succeed("config", "unset", "max-retries"), "max_retries = 3, the default\n")
        self.assertEqual(self.run_program("config", "unset", "maxRetries").stdout, '"maxRetries" is removed.\n')
        self.assertEqual(json.loads(self.read("config.json").decode()), {"theirs": 1})
        self.assertEqual(self.succeed("config", "unset", "timeout"), "timeout = null, the default\n")
        self.refuse_each(((["config", "unset", "their"], "did you mean 'theirs'"),), code=2)

    def test_a_setting_that_was_set_is_the_one_that_counts(self):
        self.succeed("config", "set", "max_retries", "0")
        self.add({"id": "x", "command": "exit 1"})
        self.drain(code=1)
        self.assertEqual(self.records()[0]["attempts"], 1)

    def test_a_key_that_is_no_setting_is_kept_with_a_warning(self):
        self.write("config.json", '{"max_retrys": 5}')
        for words in (["status"], ["config"], ["config", "get", "max_retries"]):
            with self.subTest(words):
                done = self.run_program(*words)
                self.assertEqual(done.returncode, 0)
                self.assertRegex(done.stderr, "^queuectl: .*config.json: .*\"max_retrys\" is ignored.*did you mean 'max_retries'.*\n$")
        self.assertIn("did you mean 'max_retries'", self.succeed("doctor"))
        self.assertEqual(self.read("config.json"), b'{"max_retrys": 5}')

    def test_unknown_settings_and_values_that_do_not_fit_are_refused(self):
        self.write("config.json", '{"max_retries": 2}')
        self.refuse_each((
            (["config", "set", "max_retrys", "3"], "did you mean 'max_retries'"),
            (["config", "get", "colour"], "'colour'", typed("config")),
            (["config", "set", "colour", "red"], "'colour'"),
            (["config", "set", "max_retries", "many"], "max_retries", "whole number", "many"),
            (["config", "set", "max_retries", "1.5"], "max_retries", "whole number"),
            (["config", "set", "max_retries", "-1"], "max_retries", "between 0"),
            (["config", "set", "max_retries", "true"], "max_retries", "whole number"),
            (["config", "set", "max_retries", '"3"'], "max_retries"),
            (["config", "set", "max_retries", ""], "max_retries"),
            (["config", "set", "max_retries", "null"], "max_retries"),
            (["config", "set", "max_retries", "99999999999999999999"], "max_retries"),
            (["config", "set", "backoff_base", "NaN"], "backoff_base"),
            (["config", "set", "backoff_base", "1e999"], "backoff_base"),
            (["config", "set", "backoff_max", "-5"], "backoff_max"),
            (["config", "set", "poll_interval", "0"], "poll_interval"),
            (["config", "set", "retry_in_place", "1"], "retry_in_place", "true or false"),
            (["config", "set", "retry_in_place", "yes"], "retry_in_place", "true or false"),
            (["config", "set", "fsync", "[]"], "fsync"),
            (["config", "set", "max_retries"], "VALUE"),
            (["config", "set"], "KEY"),
            (["config", "reset"], "reset"),
        ), code=2)

    def test_a_config_json_that_is_broken_stops_every_command_that_needs_it_and_is_left_alone(self):
        for text, named in (("{", "line 1, column 2"), ('{"max_retries": 3,\n "backoff_base" 2}', "line 2, column 17"), ("[]", "object"),
                            ("3", "object"), ('{"max_retries": "3"}', "max_retries"), ('{"max_retries": -1}', "max_retries"),
                            ('{"backoff_base": null}', "backoff_base"),
                            ('{"max_retries": 3, "max_retries": 4}', "twice"), ('{"poll_interval": Infinity}', "Infinity")):
            with self.subTest(text=text):
                self.write("config.json", text)
                said = self.refuse_and_keep("worker", "start", "--drain")
                self.assertIn(self.path("config.json"), said)
                self.assertIn(named, said)
        for words in (ADD, ["config"], ["config", "get", "max_retries"], ["config", "set", "max_retries", "3"]):
            with self.subTest(arguments=words):
                self.assertIn(self.path("config.json"), self.refuse_and_keep(*words))

    def test_workers_can_be_stopped_although_config_json_is_broken(self):
        worker = self.start_worker()
        self.write("config.json", "{")
        done = self.run_program("worker", "stop", "--timeout", "30")
        self.assertEqual((done.returncode, done.stdout), (0, "Stopped 1 worker process.\n"), done.stderr)
        self.assertEqual(worker.wait(), 0)

    def test_an_empty_config_json_means_the_defaults(self):
        self.write("config.json", "")
        self.assertEqual(self.succeed("config", "get", "max_retries"), "3\n")


class TestHome(CliTest):
    """Where the queue is."""

    def home_told(self, *arguments, **environ):
        """The home that status tells of, with these arguments and this environment."""
        env = self.environ()
        del env["QUEUECTL_HOME"]
        done = self.run_program(*arguments, env=dict(env, **environ), cwd=self.home)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)["home"]

    def test_the_option_comes_first_then_the_environment(self):
        one, two = self.path("one"), self.path("two")
        os.mkdir(one)
        for words, environ, wanted in ((["--home", one, "status", "--json"], {}, one), (["status", "--json", "--home", one], {}, one),
                                       (["--home=" + one, "status", "--json"], {}, one), (["status", "--home=" + one, "--json"], {}, one),
                                       (["--home", two, "status", "--home", one, "--json"], {}, one),
                                       (["status", "--json"], {"QUEUECTL_HOME": one}, one),
                                       (["--home", one, "status", "--json"], {"QUEUECTL_HOME": two}, one),
                                       (["--home", "one", "status", "--json"], {}, one)):
            with self.subTest(arguments=words, environ=environ):
                self.assertEqual(os.path.realpath(self.home_told(*words, **environ)), os.path.realpath(wanted))

    def test_jobs_of_two_homes_do_not_meet(self):
        one, two = self.path("one"), self.path("two")
        self.succeed("--home", one, "enqueue", '{"id": "x", "command": "echo"}')
        self.succeed("enqueue", '{"id": "y", "command": "echo"}', "--home", two)
        self.assertEqual(self.succeed("list", "-q", "--home", one), "x\n")
        self.assertEqual(self.succeed("--home", two, "list", "-q"), "y\n")

    @unittest.skipUnless(POSIX, "links need privileges there")
    def test_through_a_link_it_is_the_folder_of_the_program_and_without_a_config_json_there_the_users_own(self):
        os.makedirs(self.path("user", ".queuectl"))
        os.mkdir(self.path("bin"))
        copy_program(self.path("program"))
        os.symlink(self.path("program", "main.py"), self.path("bin", "queuectl"))
        env = self.environ(HOME=self.path("user"))
        del env["QUEUECTL_HOME"]

        def told(**more):
            done = subprocess.run([sys.executable, self.path("bin", "queuectl"), "status", "--json"], env=dict(env, **more),
                                  stdout=subprocess.PIPE)
            return os.path.realpath(json.loads(done.stdout.decode())["home"])

        self.assertEqual(told(), os.path.realpath(self.path("user", ".queuectl")))
        self.write(os.path.join("program", "config.json"), "{}")
        self.assertEqual(told(), os.path.realpath(self.path("program")))
        self.assertEqual(told(QUEUECTL_HOME=""), os.path.realpath(self.path("program")))

    @unittest.skipUnless(POSIX, "modes are POSIX's")
    def test_a_new_home_and_all_in_it_are_the_owners_alone_whatever_the_umask(self):
        for umask in (0, 0o777):
            with self.subTest(umask=oct(umask)):
                home = self.path("home-%o" % umask, "deep")
                options = {"preexec_fn": lambda: os.umask(umask)}
                if umask == 0o777 and os.geteuid() != 0:
                    continue  # the bytecode cache and the like would be unreadable to ourselves
                self.succeed("--home", home, "enqueue", '{"id": "x", "command": "echo; exit 1", "cwd": "/"}', **options)
                self.succeed("--home", home, "config", "set", "max_retries", "0", **options)
                self.run_program("--home", home, "worker", "start", "--drain", **options)
                modes = {}
                for folder, _, names in os.walk(home):
                    for path in [folder] + [os.path.join(folder, name) for name in names]:
                        modes[os.path.relpath(path, home)] = os.stat(path).st_mode & 0o777
                self.assertTrue({".", "jobs.json", "dlq.json", "config.json", "run", "logs"} <= set(modes), modes)
                self.assertEqual({name: oct(mode) for name, mode in modes.items()},
                                 {name: oct(0o700 if os.path.isdir(os.path.join(home, name)) else 0o600) for name in modes})


class TestProgram(CliTest):
    """Help, version, words that are no commands, exit codes."""

    def test_help_names_every_command_and_each_has_its_own(self):  # (test_terminal looks at that of each)
        overview = self.succeed("--help")
        self.assertEqual(self.succeed("-h"), overview)
        self.assertEqual(self.succeed("help"), overview)
        for name, (meaning, *_) in arguments.COMMANDS.items():
            self.assertRegex(overview, r"(?m)^  %s +%s" % (name, re.escape(meaning)))
        for name in ("enqueue", "worker start"):
            with self.subTest(command=name):
                text = self.succeed(*name.split(), "--help")
                self.assertTrue(text.startswith("usage: " + typed(name)), text)
                self.assertIn("example:\n  " + typed(name), text)
                self.assertEqual(self.succeed("help", *name.split()), text)
        self.assertIn("usage: %s" % typed("enqueue"), self.succeed("add", "-h"))
        self.assertEqual(self.files(), {})

    def test_version(self):
        self.assertRegex(self.succeed("--version"), r"^queuectl \d+\.\d+\.\d+(\.dev\d+)?\n$")
        self.assertEqual(self.succeed("-V"), self.succeed("--version"))

    def test_alone_it_tells_in_ten_lines_how_to_begin_with_commands_that_its_parsers_take(self):
        said = self.succeed()
        self.assertEqual(len(said.splitlines()), 10)
        commands = re.findall(r"(?m)^  [a-z ]+ %s(.*)$" % re.escape(typed("")), said)
        self.assertEqual(len(commands), 6)
        for command in commands:
            arguments.parse(command.split())

    def test_the_words_of_other_programs_mean_the_same_here(self):
        self.add({"id": "a", "command": "echo said"}, {"id": "b", "command": "true"})
        for words, wanted in ((["ls", "-q"], "a\nb\n"), (["ps", "-q"], "a\nb\n"), (["stop", "b"], "Job 'b' cancelled.\n"),
                              (["restart", "b"], "Job 'b' is back in the queue.\n"), (["kill", "b"], "Job 'b' cancelled.\n"),
                              (["stop"], "No worker is running.\n"), (["stop", "--now"], "No worker is running.\n"),
                              (["submit", "--id", "c", "--", "true"], "Job 'c' added to the queue.\n"),
                              (["push", "--id", "d", "--", "true"], "Job 'd' added to the queue.\n"),
                              (["run", "--id", "e", "--", "true"], "Job 'e' added to the queue.\n"),
                              (["rerun", "b"], "Job 'b' is back in the queue.\n")):
            with self.subTest(words):
                self.assertEqual(self.succeed(*words), wanted)
        self.assertIn("completed", self.run_program("start", "--drain").stderr)
        self.assertEqual((self.succeed("tail", "a"), self.succeed("follow", "-n1", "a")), ("said\n", "said\n"))
        self.refuse_each(((["run"], typed("worker start"), typed("enqueue -- COMMAND")), (["run", "--count", "3"], typed("worker start"))), code=2)

    def test_a_word_that_is_no_command_is_refused_with_the_nearest_one_that_is(self):
        self.refuse_each((
            (["enqeue", "{}"], "'enqeue'", "did you mean 'enqueue'"),
            (["lst"], "did you mean 'list'"),
            (["statuss"], "did you mean 'status'"),
            (["workers"], "did you mean 'worker"),
            (["xyzzy"], "'xyzzy'", "--help"),
            ([""], "''"),
            (["--frobnicate"], "--frobnicate"),
            (["--home"], "--home"),
            (["status", "extra"], "extra", typed("status --help")),
            (["status", "--frobnicate"], "--frobnicate"),
        ), code=2)
        self.assertEqual(self.files(), {})

    @unittest.skipUnless(hasattr(os, "mkfifo"), "needs a FIFO")
    def test_an_interrupt_ends_with_130_and_says_nothing(self):
        os.mkfifo(self.path("fifo"))
        process = self.start("enqueue", "--file", self.path("fifo"))
        with open(self.path("fifo"), "wb"):  # opens once the program has opened it
            for _ in range(DEADLINE):
                process.send_signal(signal.SIGINT)
                try:  # a signal between the opening and the reading, which then waits, is heard of with the next one
                    process.wait(5)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self.assertEqual(process.poll(), 130)
        self.assertEqual((process.stdout.read(), process.stderr.read()), ("", ""))
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_a_bug_ends_with_3_and_a_traceback(self):
        program = "import sys, main; from cli import status; status.cmd_status = None; sys.exit(main.main(['status']))"
        done = subprocess.run([sys.executable, "-c", program], cwd=os.path.dirname(MAIN), env=self.environ(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True)
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("Traceback", done.stderr)
        self.assertIn("bug", done.stderr.splitlines()[-1])


class TestOutput(CliTest):
    """Where output goes, and what must never be in it."""

    def test_nothing_printed_holds_raw_control_characters_of_ids_commands_or_arguments(self):
        self.add({"id": "i\u202ed", "command": "echo x # " + HOSTILE, "own": HOSTILE})
        self.add({"id": "dead\u2066", "command": "exit 1 # " + HOSTILE})
        self.finish(**{"i\u202ed": 0, "dead\u2066": 1})
        self.add({"id": "again\u202e", "command": "exit 1 # " + HOSTILE})
        self.write("config.json", json.dumps({"max_retries": 0, HOSTILE: 1}))
        hostile = json.dumps({"id": "\u202e", "command": HOSTILE})
        for words in (["list"], ["list", "--json"], ["list", "-q"], ["show", "i\u202ed"], ["dlq", "list"], ["dlq", "list", "--json"],
                      ["logs", "i\u202ed"], ["worker", "start", "--drain"], ["enqueue", "-q", hostile], ["enqueue", hostile],
                      ["retry", "dead\u2066"], ["show", HOSTILE], ["logs", HOSTILE], ["retry", HOSTILE], ["enqueue", HOSTILE],
                      ["enqueue", "--id", HOSTILE, "--", "x"], ["enqueue", "--file", HOSTILE], [HOSTILE], ["status", HOSTILE],
                      ["config", "get", HOSTILE], ["config", "set", "max_retries", HOSTILE], ["list", "--state", HOSTILE],
                      ["list", "--sort", HOSTILE], ["list", "--limit", HOSTILE], ["clean", "--older-than", HOSTILE],
                      ["status", "--home", self.path("h" + HOSTILE)]):
            with self.subTest(arguments=words):
                done = self.run_program(*words, env=self.environ(PYTHONUTF8="1"), encoding="utf-8", errors="surrogateescape")
                self.assertIn(done.returncode, (0, 1, 2))
                for char in (done.stdout + done.stderr).replace("\n", "").replace("\t", ""):
                    self.assertTrue(char.isprintable(), (char, done.stdout, done.stderr))

    @unittest.skipUnless(POSIX, "pipes end otherwise there")
    def test_a_reader_that_has_seen_enough_is_no_error(self):
        self.add(*({"id": "job%d" % number, "command": "echo " + "x" * 500} for number in range(1000)))
        for words in (["list"], ["list", "--json"], ["list", "--sort", "id"], ["show", "job1"]):
            with self.subTest(arguments=words):
                process = self.start(*words)
                self.assertTrue(process.stdout.readline())
                process.stdout.close()
                self.assertEqual(process.stderr.read(), "")
                self.assertEqual(process.wait(), 0)

    @unittest.skipUnless(POSIX, "the job is written for sh")
    def test_a_reader_of_logs_that_has_seen_enough_is_no_error(self):
        self.add({"id": "big", "command": "i=0; while [ $i -lt 300 ]; do printf '%01000d\\n' $i; i=$((i+1)); done"})
        self.drain()
        process = self.start("logs", "big")
        self.assertEqual(len(process.stdout.readline()), 1001)
        process.stdout.close()
        self.assertEqual((process.stderr.read(), process.wait()), ("", 0))

    @unittest.skipUnless(POSIX, "descriptors are POSIX's")
    def test_standard_streams_that_are_closed_are_no_error(self):
        for descriptor, words in ((0, ["status"]), (1, ["status"]), (2, ["status"]), (0, ["enqueue", "-"]), (1, ADD)):
            with self.subTest(closed=descriptor, arguments=words):
                done = self.run_program(*words, preexec_fn=lambda number=descriptor: os.close(number))
                self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([job["id"] for job in self.records()], ["x"])

    @unittest.skipUnless(POSIX and os.path.exists("/dev/full"), "needs /dev/full")
    def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(self):
        self.add(*({"id": "job%d" % number, "command": "echo"} for number in range(300)))
        for words in (["status"], ["list"], ["list", "--json"]):
            with self.subTest(arguments=words), open("/dev/full", "w") as full:
                process = self.start(*words, stdout=full)
                said = process.stderr.read()
                self.assertEqual(process.wait(), 1, said)
                self.assertRegex(said, "^queuectl: error: [^\n]+\n$")

    def test_what_the_output_cannot_encode_comes_as_an_escape(self):
        self.add({"id": "é", "command": "echo 漢"})
        done = self.run_program("list", env=self.environ(PYTHONIOENCODING="ascii"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([done.stdout.split("\t")[0], done.stdout.strip().split("\t")[-1]], ["\\xe9", "echo \\u6f22"])


class TestBrokenFiles(CliTest):
    """A job file that is no array of jobs, a home that cannot be used, a disk that is full."""

    def settled(self, name, content):
        """Write a file that looks as if it was written a while ago, so that nobody waits for it to hold still."""
        self.write(name, content)
        os.utime(self.path(name), (1700000000, 1700000000))

    def test_a_job_file_that_is_broken_is_refused_with_its_place_and_never_overwritten(self):
        good = '{"id": "a", "command": "echo"}'
        for content, named in (("{", "line 1, column 1"), ("not json", "line 1, column 1"), ("[" + good, "line 1"),
                               ("[\n%s,\n]" % good, "line 2, column 31: trailing comma"), ("[\n%s\n%s]" % (good, good), "line 3, column 1"),
                               ("[%s] x" % good, "column 34"), ('[{"id": "a"}]', '"command"'),
                               ('[{"id": "a", "command": "b", "state": "running"}]', '"state"'), ("[1]", "line 1, column 2"),
                               ('[{"id": "a", "id": "b", "command": "c"}]', "twice"),
                               ('[{"id": "a", "command": "b", "x": NaN}]', "NaN"), (b'[{"id": "\xff", "command": "b"}]', "column 10"),
                               ("[" * 100000, "deep"),
                               ("\0" * 50, "line 1")):
            with self.subTest(content=content[:60]):
                self.settled("jobs.json", content)
                said = self.refuse_and_keep(*ADD, code=1)
                self.assertIn(self.path("jobs.json"), said)
                self.assertIn(named, said)
        for words in (["list"], ["list", "--json"], ["show", "a"], ["status"], ["logs"], ["worker", "start", "--drain"], ["worker", "list"],
                      ["dlq", "list"], ["retry", "--all"], ["dlq", "purge", "--all"], ["clean"]):
            with self.subTest(arguments=words):
                self.assertIn(self.path("jobs.json"), self.refuse_and_keep(*words, code=1))

    def test_damage_in_the_last_record_is_no_append_that_was_cut_short_and_is_refused(self):
        self.add({"id": "a", "command": "echo"}, {"id": "b", "command": "echo"})
        content = self.read("jobs.json")
        for what, damaged in (("a word over the end", content[:-10] + b"oops"), ("a word in its second line", content[:-250] + b"oops"),
                              ("a bracket too few", content[:-5] + b"\n]\n")):
            with self.subTest(what):
                self.settled("jobs.json", damaged)
                self.assertIn(self.path("jobs.json"), self.refuse_and_keep(*ADD, code=1))

    def test_a_broken_dead_letter_file_is_refused_where_it_is_needed_alone(self):
        self.add({"id": "a", "command": "echo"}, {"id": "b", "command": "echo"})
        self.finish(a=1)
        self.settled("dlq.json", '[{"id": "a"')
        for words in (["dlq", "list"], ["retry", "--all"], ["dlq", "purge", "a"]):
            with self.subTest(arguments=words):
                self.assertIn(self.path("dlq.json"), self.refuse_and_keep(*words, code=1))
        self.assertEqual(self.succeed("list", "-q"), "a\nb\n")
        self.assertEqual(self.succeed("enqueue", "-q", '{"id": "c", "command": "y"}'), "c\n")

    def test_a_file_as_an_editor_or_a_hand_leaves_it_is_understood_and_tidied_at_the_next_change(self):
        self.settled("jobs.json", '\ufeff[{"command":"echo 1","id":"a"},\r\n{"id":"b","command":"echo 2","mine":[1]},'
                                  '{"id":3,"command":"x","state":"dead"}]')
        before = self.read("jobs.json")
        self.assertEqual(self.succeed("list", "-q"), "a\nb\n3\n")
        self.assertEqual(self.read("jobs.json"), before)
        self.succeed("enqueue", '{"id": "new", "command": "echo"}')
        records = self.records()
        self.assertEqual([(job["id"], job["state"], job["attempts"]) for job in records],
                         [("a", "pending", 0), ("b", "pending", 0), ("3", "dead", 0), ("new", "pending", 0)])
        self.assertEqual(records[1]["mine"], [1])
        self.assertEqual(self.read("jobs.json").count(b"\n"), 2 * 4 + 2)

    def test_an_empty_file_is_an_empty_queue(self):
        for content in ("", " \n", "[]", "[ ]\n"):
            with self.subTest(content=content):
                self.settled("jobs.json", content)
                self.assertEqual(self.succeed("list"), "")
                self.assertEqual(self.read("jobs.json"), content.encode())

    @unittest.skipUnless(POSIX, "links need privileges there")
    def test_a_job_file_that_is_a_link_or_a_folder_is_refused(self):
        self.write("elsewhere", "[]")
        os.symlink("elsewhere", self.path("jobs.json"))
        self.assertIn(self.path("jobs.json"), self.refuse_and_keep(*ADD, code=1))
        os.remove(self.path("jobs.json"))
        os.mkdir(self.path("jobs.json"))
        self.assertIn(self.path("jobs.json"), self.refuse_and_keep(*ADD, code=1))

    def test_a_home_that_is_no_folder_is_refused(self):
        self.write("file", "")
        for home in (self.path("file"), self.path("file", "below")):
            for words in (["status"], ADD, ["worker", "start"], ["config", "set", "max_retries", "1"]):
                with self.subTest(home=home, arguments=words):
                    self.assertIn(self.path("file"), self.refuse_and_keep("--home", home, *words))

    @unittest.skipUnless(POSIX, "modes are POSIX's")
    def test_a_home_that_cannot_be_written_is_refused_and_the_error_names_what(self):
        options = {}
        if os.geteuid() == 0:
            options["preexec_fn"] = _give_up_the_right_to_everything()
            if options["preexec_fn"] is None:
                self.skipTest("root may write everything, and cannot give that up here")
        self.add({"id": "a", "command": "echo"})
        set_one = ["config", "set", "max_retries", "1"]
        for mode, path, refused in ((0o400, self.path("jobs.json"), [ADD]), (0o500, self.home, [set_one])):
            os.chmod(path, mode)
            for words in refused:
                with self.subTest(path=path, arguments=words):
                    self.assertIn(self.home, self.refuse_and_keep(*words, code=1, **options))
            self.assertEqual(self.succeed("list", "-q", **options), "a\n")  # who looks needs to write nothing
            os.chmod(path, 0o700)
        shutil.rmtree(self.path("run"))
        os.chmod(self.home, 0o500)
        self.assertIn("pending     1\n", self.succeed("status", **options))
        for words in (ADD, ["worker", "start"], ["worker", "start", "--detach"], ["reset", "--yes"]):
            with self.subTest(run="missing", arguments=words):
                said = self.refuse_and_keep(*words, code=1, **options)
                self.assertIn(self.home, said)
                self.assertIn("writable", said)
        with self.subTest(home="cannot be made"):
            self.assertIn(self.home, self.refuse_and_keep("--home", self.path("new"), *ADD, code=1, **options))
        os.chmod(self.home, 0o700)
        self.assertEqual(self.succeed("list", "-q", **options), "a\n")

    @unittest.skipUnless(POSIX, "limits are POSIX's")
    def test_a_limit_on_file_sizes_adds_nothing_and_says_so(self):
        import resource
        self.add(*({"id": "job%d" % number, "command": "echo"} for number in range(10)))
        limit = len(self.read("jobs.json")) + 1000
        many = json.dumps([{"id": "more%d" % number, "command": "echo"} for number in range(20)])
        options = {"env": self.environ(PYTHONDONTWRITEBYTECODE="1"),
                   "preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}
        said = self.refuse_and_keep("enqueue", "-", stdin=many, code=1, **options)
        self.assertIn(self.path("jobs.json"), said)
        self.assertIn("nothing was changed", said)
        self.assertEqual(self.succeed("enqueue", "-", stdin=many), "20 jobs added to the queue.\n")
        self.assertEqual(len(self.records()), 30)

    @unittest.skipUnless(POSIX, "limits are POSIX's")
    def test_where_no_file_may_be_written_it_is_named_with_what_helps_and_nothing_is_left(self):
        import resource
        self.add({"id": "x", "command": "true"})
        options = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))}
        for words, path in ((["config", "set", "max_retries", "1"], self.path("config.json")), (["worker", "start", "--drain"], self.path("run")),
                            (["enqueue", "--", "true"], self.path("jobs.json"))):
            with self.subTest(command=words):
                done = self.run_program(*words, **options)
                self.assertEqual((done.returncode, path in done.stderr, "raise the limit on file sizes" in done.stderr), (1, True, True), done.stderr)
        self.assertEqual(os.listdir(self.path("run")), ["lock"])

    def test_a_full_disk_adds_nothing_and_says_so(self):
        home = self.path("disk")
        os.mkdir(home)
        mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", home]
        if not shutil.which("mount") or subprocess.call(mount, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
            self.skipTest("no right to mount a small disk")
        self.addCleanup(subprocess.call, ["umount", "-l", home])
        self.succeed("--home", home, "enqueue", '{"id": "first", "command": "echo"}')
        job = {"id": "x", "command": "echo " + "x" * 1000}
        with open(os.path.join(home, "filler"), "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        for words, stdin in ((["enqueue", "-"], json.dumps([job] * 50)), (["config", "set", "max_retries", "1"], ""),
                             (["enqueue", "--id", "big", "--", "echo " + "x" * 9000], "")):
            with self.subTest(arguments=words[:2]):
                said = self.refuse_and_keep("--home", home, *words, stdin=stdin, code=1)
                self.assertRegex(said, "(?i)space")
                self.assertIn(home, said)
        self.assertEqual(self.succeed("--home", home, "list", "-q"), "first\n")
        os.remove(os.path.join(home, "filler"))
        self.assertEqual(self.succeed("--home", home, "enqueue", "-", stdin=json.dumps([job] * 50)), "50 jobs added to the queue.\n")
        with open(os.path.join(home, "jobs.json"), encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)), 51)


def _give_up_the_right_to_everything():
    """For a child of root's: a function that drops the capabilities which let root pass every mode; None where that is not possible."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes
    libc = ctypes.CDLL(None)
    return lambda: [libc.prctl(24, capability, 0, 0, 0) for capability in (1, 2)]  # PR_CAPBSET_DROP of DAC_OVERRIDE, DAC_READ_SEARCH


if __name__ == "__main__":
    unittest.main()
