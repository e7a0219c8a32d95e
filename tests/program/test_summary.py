"""What `worker start` says: on a terminal, in a pipe, and for cron."""
from __future__ import annotations

import os
import re
import signal
import sys
import unittest

from tests.support.home import MAIN, ROOT, WINDOWS, QueueTest
from tests.support.terminal import NEEDS_PTY, Screen, Terminal

NEEDS_SH = unittest.skipIf(WINDOWS, "the commands are written for sh")


@NEEDS_SH
class SummaryTest(QueueTest):
    """The summary behind a drain or a stop."""

    def without_program(self, lines):
        """These lines with only the command of each that calls the program, however that was called."""
        return [re.sub(r"^    .*main\.py ", "    ", line) for line in lines]

    def add_four(self):
        """Two jobs that complete, and two that die."""
        self.settings(max_retries=0)
        self.add("good", "true")
        self.add("bad", "echo reading; echo 'cannot open 17.png' >&2; exit 2")
        self.add("mute", "exit 3")
        self.add("late", "true")

    def test_a_drain_in_a_pipe_ends_with_what_was_done_and_why_jobs_died(self):
        self.add_four()
        done = self.run_program("worker", "start", "--drain")
        self.assertEqual(done.returncode, 1)
        lines = done.stdout.splitlines()[1:]
        self.assertRegex(lines[0], r"^4 jobs in [0-9.]+ s: 2 completed, 2 dead$")
        self.assertEqual(self.without_program(lines[1:]), ["  bad (echo reading; echo 'cannot open 17.png' >&2; exit 2): exit code 2: cannot open 17.png",
                                     "    logs bad", "  mute (exit 3): exit code 3", "    show mute"])
        self.assertRegex(done.stderr, r"(?m)^\d\d:\d\d:\d\d good: completed in \d+\.\d\d s$")
        self.assertNotIn("\033", done.stdout + done.stderr)
        self.assertNotIn("started", done.stderr)

    def test_quiet_says_nothing_unless_a_job_died_and_then_the_summary_alone(self):
        self.add("good", "true")
        self.add("tomorrow", "true", delay="1d")
        self.assertEqual(self.succeed("worker", "start", "--drain", "--quiet"), "")
        self.settings(max_retries=0)
        self.add("bad", "exit 1")
        done = self.run_program("worker", "start", "--drain", "-q")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertRegex(done.stdout, r"\A1 job in [0-9.]+ s: 1 dead\n")
        self.assertEqual(self.without_program(done.stdout.splitlines()[1:]), ["  bad (exit 1): exit code 1", "    show bad"])

    def test_quiet_still_says_what_is_wrong(self):
        self.write("config.json", '{"poll_interval": 0.05, "no_such_setting": 1}')
        done = self.run_program("worker", "start", "--drain", "--quiet")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("no_such_setting", done.stderr)

    def test_a_stop_says_what_was_done_until_then(self):
        self.add("one", "touch one")
        worker = self.start_worker()
        self.wait_for_state("one", "completed")
        worker.send_signal(signal.SIGINT)
        self.assertRegex(worker.communicate(timeout=60)[0], r"\n1 job in [0-9.]+ s: 1 completed\n\Z")
        self.assertEqual(worker.returncode, 0)

    def test_a_worker_without_a_reader_of_its_summary_ends_as_ever(self):
        self.add_four()
        read, write = os.pipe()
        worker = self.start("worker", "start", "--drain", stdout=write)
        os.close(write)
        os.close(read)
        worker.communicate(timeout=60)
        self.assertIn(worker.returncode, (0, 1))  # 0 if its first line met the closed pipe already

    def test_the_log_of_a_worker_in_the_background_keeps_its_form(self):
        self.add_four()
        self.succeed("worker", "start", "--drain", "--detach")
        self.wait_for(lambda: "2 completed, 2 dead" in self.text("run/worker.log"))
        self.assertRegex(self.text("run/worker.log"), r"(?m)^\d\d:\d\d:\d\d good: completed in \d+\.\d\d s$")
        self.assertNotIn("\033", self.text("run/worker.log"))


@NEEDS_PTY
class TerminalTest(QueueTest):
    """`worker start` on a terminal."""

    def open_drain(self, *options):
        """A drain in a terminal."""
        environ = dict(self.environ(), TERM="xterm", PYTHONIOENCODING="utf-8")
        opened = Terminal([sys.executable, MAIN, "worker", "start", "--drain", *options], environ)
        self.addCleanup(opened.close)
        return opened

    def test_starts_and_ends_are_told_with_their_commands_above_a_line_that_is_gone_at_the_end(self):
        self.add("one", "until [ -e go ]; do sleep 0.02; done")
        self.add("two", "echo    two")
        opened = self.open_drain()
        self.wait_for(lambda: re.search(r"\[\.{20}\] 0 of 2 done, 1 running", opened.text()))
        self.write("go", "")
        self.assertEqual(opened.end(), 0)
        lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in Screen(80, 24).feed(opened.text()).text()]
        self.assertIn("one (until [ -e go ]; do sleep …): started", lines)
        self.assertEqual([line.partition(" completed")[0] for line in lines if "completed in" in line],
                         ["one (until [ -e go ]; do sleep …):", "two (echo two):"])
        self.assertRegex(lines[-1], r"^2 jobs in [0-9.]+ s: 2 completed$")
        self.assertNotIn("done,", "\n".join(lines))

    def test_quiet_shows_nothing_on_a_terminal_either(self):
        self.add("one", "true")
        opened = self.open_drain("--quiet")
        self.assertEqual((opened.end(), opened.text()), (0, ""))

    def test_what_others_write_stands_above_the_line_also_in_pieces(self):
        code = ("import os, sys, time; sys.path.insert(0, %r)\nfrom cli.progress import Progress\n"
                "with Progress(below=True) as progress:\n"
                "    progress.say('line'); sys.stderr.write('first\\nsec'); progress.say('another')\n"
                "    sys.stderr.write('ond\\n'); progress.say('wide ' * 40)\n"
                "    while not os.path.exists(%r): time.sleep(0.01)" % (ROOT, self.path("go")))
        opened = Terminal([sys.executable, "-c", code], dict(self.environ(), TERM="xterm", PYTHONIOENCODING="utf-8"))
        self.addCleanup(opened.close)
        self.wait_for(lambda: "wide" in opened.text())
        screen = Screen(80, 24).feed(opened.text())
        self.assertEqual((screen.text()[:2], len(screen.text()), screen.text()[2][:9]), (["first", "second"], 3, "wide wide"))
        self.write("go", "")
        self.assertEqual(opened.end(), 0)
        self.assertNotIn("wide", "".join(Screen(80, 24).feed(opened.text()).text()))

    def test_a_terminal_that_was_stopped_does_not_keep_time_limits_from_being_kept(self):
        self.settings(max_retries=0)
        self.add("slow", "sleep 1000", timeout=2.5)
        opened = self.open_drain()
        self.wait_for(lambda: "1 running" in opened.text())
        os.write(opened.master, b"\x13")  # Ctrl+S
        self.wait_for_state("slow", "dead")
        os.write(opened.master, b"\x11")  # Ctrl+Q
        self.assertEqual(opened.end(), 1)
        self.assertIn("timed out after 2.5 s", opened.text())
