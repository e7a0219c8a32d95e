"""Jobs of work as they come up in a day, each done by at most two commands, typed as a user types them."""
from __future__ import annotations

import json
import os
import sys
import unittest

from tests.support.home import MAIN, WINDOWS, QueueTest
from tests.support.terminal import NEEDS_PTY, Terminal, outside


@unittest.skipIf(WINDOWS, "the commands are for a POSIX shell")
class DaysWorkTest(QueueTest):
    """A queue with settings that make tests fast, and files of the user's beside it."""

    def user_file(self, name, text):
        """Write a file of the user's; its path."""
        self.write(name, text)
        return self.path(name)

    def waiting_ids(self):
        """The ids that have not ended, in their order."""
        return self.succeed("list", "--state", "pending,processing", "-q").split()


class TestByCron(DaysWorkTest):
    """What cron starts: it mails whatever is printed."""

    def night(self, *commands):
        """Add a file with these commands, run it, and give back what cron mails, and the exit code."""
        jobs = [{"id": "night-%d" % number, "command": command, "max_retries": 0} for number, command in enumerate(commands, 1)]
        self.succeed("enqueue", "-q", "--file", self.user_file("nightly.json", json.dumps(jobs)))
        done = self.run_program("worker", "start", "--drain", "--quiet")
        return done.stdout + done.stderr, done.returncode

    def test_nightly_file_mails_a_summary_only_if_something_died(self):
        self.assertEqual(self.night("echo fine", "echo fine"), ("", 0))
        mail, code = self.night("echo fine", "echo no disk; exit 3")
        self.assertEqual(code, 1)
        for word in ("night-2", "exit code 3", "no disk"):
            self.assertIn(word, mail)

    def test_hourly_job_does_not_pile_up(self):
        hourly = ("enqueue", "--unique", "-q", "--id", "hourly", "--", "until [ -e %s ]; do sleep 0.02; done" % self.path("go"))
        self.assertEqual(self.succeed(*hourly), "hourly\n")
        worker = self.start_worker("--drain")
        self.wait_for_state("hourly", "processing")
        self.assertIn("is running since", self.refuse(*hourly, code=1))
        self.assertEqual(self.waiting_ids(), ["hourly"])
        self.write("go", "")
        self.wait_for(lambda: worker.poll() is not None)
        self.assertEqual(self.succeed(*hourly), "hourly\n")


class TestLists(DaysWorkTest):
    """Many commands at once."""

    def test_list_of_plain_commands(self):
        path = self.user_file("cmds.txt", "# of the day\necho one > one\n\necho two > two; test -e one\n")
        self.assertIn("2 jobs added", self.succeed("enqueue", "--lines", path, "--cwd", self.home))
        self.drain()
        self.assertEqual((self.text("one"), self.text("two")), ("one\n", "two\n"))
        self.assertEqual(self.states(), {"cmds-1": "completed", "cmds-2": "completed"})


class TestRuns(DaysWorkTest):
    """Work that takes a while, and what becomes of it."""

    def test_200_files_with_4_workers_and_the_two_failed_ones_found_mended_and_retried(self):
        self.settings(max_retries=0)
        lines = "".join("cat %d.txt >> out-%d\n" % (number, number) for number in range(1, 201))
        for number in range(1, 201):
            if number not in (17, 150):
                self.write("%d.txt" % number, "")
        self.succeed("enqueue", "--lines", self.user_file("files.txt", lines), "--cwd", self.home)
        said = self.run_program("worker", "start", "--count", "4", "--drain")
        self.assertEqual(said.returncode, 1)
        self.assertRegex(said.stdout, r"(?m)^200 jobs in [0-9.]+ s: 198 completed, 2 dead$")
        for number in (17, 150):
            self.assertRegex(said.stdout, r"(?m)^  files-%d \(cat %d.txt >> out-%d\): exit code 1: .*%d.txt.*\n    .* logs files-%d$" % ((number,) * 5))
            self.write("%d.txt" % number, "")
        self.succeed("retry", "--all")
        self.assertRegex(self.drain("--count", "4"), r"(?m)^2 jobs in [0-9.]+ s: 2 completed$")

    def test_stop_for_a_reboot_and_go_on(self):
        self.add("short", "echo run >> short")
        self.add("long", "echo run >> long; [ -e rebooted ] || sleep 1000")
        self.add("later", "echo run >> later")
        worker = self.start_worker("--count", "1")
        self.wait_for_line("long")
        self.assertEqual(self.succeed("worker", "stop", "--now"), "Stopped 1 worker process.\n")
        self.assertRegex(worker.communicate(timeout=60)[0], r"(?m)^2 jobs in [0-9.]+ s: 1 completed, 1 to run again$")
        self.write("rebooted", "")
        self.assertRegex(self.drain(), r"(?m)^2 jobs in [0-9.]+ s: 2 completed$")
        self.assertEqual([self.text(name).count("run") for name in ("short", "long", "later")], [1, 2, 1])
        self.assertEqual(self.job("long").attempts, 1)  # the one that was ended is not counted


class TestEnvironments(DaysWorkTest):
    """Commands that need what the shell has."""

    def test_command_in_the_activated_virtual_environment(self):
        """The worker runs elsewhere, without it; the tool is found as in the shell."""
        folder = self.path("venv", "bin")
        os.makedirs(folder)
        tool = self.user_file(os.path.join("venv", "bin", "tool"), '#!/bin/sh\necho "in $VIRTUAL_ENV"\n')
        os.chmod(tool, 0o700)
        activated = self.environ(VIRTUAL_ENV=self.path("venv"), PATH=folder + os.pathsep + os.environ["PATH"])
        self.succeed("enqueue", "--id", "x", "--keep-env=PATH,VIRTUAL_ENV", "--", "tool", env=activated)
        self.drain()
        self.assertEqual(self.succeed("logs", "x"), "in %s\n" % self.path("venv"))


class TestAnswers(DaysWorkTest):
    """What one asks a queue."""

    @NEEDS_PTY
    def test_why_a_pending_job_waits(self):
        for job_id, fields in (("dump", {}), ("tidy", {"after": ["dump"]}), ("late", {"delay": "1h"}), ("mine", {"hold": True})):
            self.add(job_id, "true", **fields)
        shown = Terminal([sys.executable, MAIN, "list", "--state", "pending"], self.environ(TERM="xterm", NO_COLOR="1"))
        self.addCleanup(shown.close)
        self.assertEqual(shown.end(), 0)
        rows = [line.split("  ") for line in outside(shown.text())[1:]]
        told = {cells[0]: [cell.strip() for cell in cells if cell][2] for cells in rows}
        self.assertRegex(told.pop("late"), "^in (1h|59m5[0-9]s)$")
        self.assertEqual(told, {"dump": "no worker runs", "tidy": "after dump", "mine": "held"})
        job = json.loads(self.succeed("show", "tidy"))
        self.assertEqual((job["waits_for"], job["due_in"]), ("jobs", None))

    def test_last_nights_failed_output(self):
        self.add("good", "echo fine")
        self.add("bad", "echo reading; echo no disk >&2; exit 3", max_retries=0)
        self.drain(code=1)
        told = self.succeed("logs", "--state", "dead", "--since", "12h", "-n", "5")
        self.assertRegex(told, r"^==> bad, attempt 1: exit code 3, \S+ <==\nreading\nno disk\n$")

    def test_rerun_of_what_failed_found_by_list(self):
        for name in ("a.png", "b.png", "c.txt"):
            self.add(name, "test -e %s" % name, max_retries=0)
        self.write("b.png", "")
        self.drain(code=1)
        self.write("a.png", "")
        failed = self.succeed("list", "--state", "dead", "--search", ".png", "-q")
        self.assertEqual(self.succeed("retry", *failed.split()), "Job 'a.png' is back in the queue.\n")
        self.drain(code=0)
        self.assertEqual(self.states(), {"a.png": "completed", "b.png": "completed", "c.txt": "dead"})


class TestChanges(DaysWorkTest):
    """What has gone wrong, or is to be done anew."""

    def test_rerun_of_a_completed_job_with_what_comes_after_it(self):
        self.add("extract", "cat data > extracted")
        self.add("report", "cat extracted", after=["extract"])
        self.write("data", "old")
        self.drain()
        self.write("data", "new")
        self.assertEqual(self.succeed("rerun", "extract", "report"), "2 jobs back in the queue.\n")
        self.drain()
        self.assertEqual(self.succeed("logs", "report"), "new")
        self.assertEqual(self.succeed("logs", "report", "--all").count("==>"), 2)

    def test_a_mistake_in_the_settings_while_workers_run(self):
        self.settings(max_retries=0)
        with open(self.path("words"), "w", encoding="utf-8") as words:
            worker = self.start_worker("--count", "2", stderr=words)
        self.write("config.json", '{"max_retries": 0, "poll_interval": 0.05,}\n')  # the commonest mistake
        self.wait_for(lambda: "going on with the settings as they were" in self.text("words"))
        said = self.run_program("doctor")
        self.assertEqual(said.returncode, 1)
        self.assertRegex(said.stdout, "config.json, line 1, column 41: trailing comma")
        self.add("meanwhile", "true")
        self.wait_for_state("meanwhile", "completed")
        self.write("config.json", '{"max_retrys": 0, "poll_interval": 0.05, "fsync": false}\n')
        self.wait_for(lambda: "did you mean 'max_retries'" in self.text("words"))
        self.assertEqual(self.run_program("config", "unset", "max_retrys").returncode, 0)
        self.assertEqual(self.succeed("config", "set", "max_retries", "0"), "max_retries = 0\n")
        self.add("bad", "exit 1")
        self.wait_for_state("bad", "dead")
        self.succeed("worker", "stop")
        self.assertEqual(worker.wait(), 0)
