"""`status --watch` in a real terminal (a pty): what stands there, its keys, and what it leaves behind."""
from __future__ import annotations

import json
import os
import re
import signal
import sys
import time

from core.job import Outcome
from tests.support.home import MAIN, ROOT, HomeTest
from tests.support.terminal import NEEDS_PTY, Screen, Terminal

CTRL_C, CTRL_Z = b"\x03", b"\x1a"


@NEEDS_PTY
class WatchTest(HomeTest):

    def fill(self):
        """One job in each state: wait, run, good and bad."""
        jobs = self.manager(max_retries=0)
        jobs.enqueue([{"id": name, "command": "true"} for name in ("good", "bad", "run", "wait")], self.home, time.time())
        for outcome in (Outcome(0, None), Outcome(1, "failed")):
            jobs.record(jobs.claim("1-1", time.time()), outcome, time.time(), "reading\nno such file\n")
        jobs.claim("1-1", time.time())

    def open(self, *arguments, columns=80, lines=24, **environ):
        """A command in a terminal."""
        more = dict({"TERM": "xterm", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}, **environ)
        opened = Terminal([sys.executable] + list(arguments), self.environ(**more), columns, lines)
        self.addCleanup(opened.close)
        self.size = columns, lines
        return opened

    def watching(self, shown="pending 1", **options):
        """`status --watch` in a terminal, once it shows something."""
        opened = self.open(MAIN, "status", "--watch", "0.1", **options)
        self.wait_for(lambda: shown in opened.text())
        return opened

    def screen(self, opened):
        """What stands on its screen: whole frames alone."""
        return Screen(*self.size).feed(opened.text().rpartition("\033[H")[0])

    def wait_to_see(self, opened, text):
        """Wait until a frame has some text; the rows of that frame."""
        def rows():
            found = self.screen(opened).text()
            return found if any(text in row for row in found) else None

        return self.wait_for(rows)

    def assert_restored(self, opened):
        """The terminal is as it was before, with its cursor."""
        screen = Screen(80, 24).feed("$ before\n" + opened.text().replace("^C", ""))
        self.assertEqual((screen.text()[:1], screen.other, screen.cursor), (["$ before"], False, True))

    def test_it_shows_what_goes_on_and_follows_it_in_place(self):
        self.fill()
        opened = self.watching()
        rows = self.wait_to_see(opened, "Died lately")
        text = "\n".join(rows)
        for line in (r"(?m)^%s +\d\d:\d\d:\d\d$" % re.escape(self.home), r"2 of 4 done, 50 %", "pending 1  processing 1  completed 1  dead 1",
                     r"(?m)^Running: 1$", r"(?m)^  run  \d+s  true$", r"(?m)^Next$", r"(?m)^  wait  true$", r"(?m)^  bad  .* ago  exit code 1: no such file"):
            self.assertRegex(text, line)
        self.manager().enqueue([{"id": "new", "command": "true"}], self.home, time.time())
        self.wait_to_see(opened, "pending 2")
        screen = self.screen(opened)
        self.assertTrue(screen.other and not screen.cursor)
        self.assertEqual((screen.scrolled, sum(row.startswith("pending") for row in screen.text())), (0, 1))
        self.assertNotIn("\033[2J", opened.text())
        self.assertNotIn("\033[J", opened.text())

    def test_a_frame_never_scrolls_the_window(self):
        self.fill()
        for columns, lines in ((40, 24), (40, 6), (20, 8), (200, 60)):
            with self.subTest(columns=columns, lines=lines):
                opened = self.watching(columns=columns, lines=lines)
                self.wait_for(lambda: opened.text().count("\033[H") >= 2)
                self.assertEqual(self.screen(opened).scrolled, 0)

    def test_q_and_ctrl_c_end_it_with_0_and_the_screen_as_it_was(self):
        self.fill()
        for key in (b"q", CTRL_C):
            with self.subTest(key):
                opened = self.watching()
                os.write(opened.master, key)
                self.assertEqual(opened.end(), 0)
                self.assert_restored(opened)

    def test_signals_that_end_it_leave_the_screen_as_it_was(self):
        self.fill()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(number):
                opened = self.watching()
                opened.process.send_signal(number)
                self.assertNotEqual(opened.end(), 0)
                self.assert_restored(opened)

    def test_a_bug_leaves_the_screen_as_it_was_with_its_traceback(self):
        opened = self.open("-c", "import sys; sys.path.insert(0, %r)\nfrom cli.screen import Screen\n"
                           "with Screen() as screen: screen.draw(['shown']); sys.stderr.write('noted'); raise ValueError(screen.said)" % ROOT)
        self.assertEqual(opened.end(), 1)
        screen = Screen(200, 24).feed(opened.text())
        self.assertEqual((screen.text()[-1], screen.other, screen.cursor), ("ValueError: noted", False, True))

    def test_ctrl_z_gives_the_screen_back_until_it_goes_on(self):
        self.fill()
        opened = self.watching()
        os.write(opened.master, CTRL_Z)  # nobody could let this process go on, and so the system does not stop it
        self.wait_for(lambda: opened.text().count("\033[?1049h") == 2)
        self.assertEqual(opened.text().count("\033[?25h\033[?1049l"), 1)
        self.wait_for(lambda: "pending 1" in opened.text().rpartition("\033[?1049h")[2])
        os.write(opened.master, b"q")
        self.assertEqual(opened.end(), 0)
        self.assert_restored(opened)

    def test_p_pauses_the_queue_and_lets_it_go_on(self):
        self.fill()
        opened = self.watching()
        os.write(opened.master, b"p")
        self.wait_to_see(opened, "the queue is paused")
        self.assertTrue(os.path.exists(self.path("paused")))
        os.write(opened.master, b"p")
        self.wait_to_see(opened, "p pause   resumed")
        self.assertFalse(os.path.exists(self.path("paused")))

    def test_a_resize_is_followed_at_once(self):
        self.fill()
        opened = self.watching(columns=100)
        opened.resize(50, 8)
        before = len(opened.text())
        self.wait_for(lambda: opened.text()[before:].count("\033[H") >= 2)
        frame = opened.text()[before:].rpartition("\033[H")[0].rpartition("\033[H")[2]
        rows = re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", frame).replace("\r", "").split("\n")
        self.assertEqual((len(rows), max(map(len, rows)) <= 50), (8, True), rows)

    def test_a_broken_file_is_told_and_survived(self):
        self.fill()
        opened = self.watching()
        whole = self.read("jobs.json")
        self.write("jobs.json", '[{"id": 1')
        self.wait_to_see(opened, "jobs.json, line 1")
        self.write("jobs.json", whole)
        self.wait_to_see(opened, "pending 1")
        os.write(opened.master, b"q")
        self.assertEqual(opened.end(), 0)

    def test_a_job_between_two_attempts_says_why_it_failed_and_when_it_goes_on(self):
        jobs = self.manager(backoff_base=1000)
        self.write("config.json", json.dumps({"backoff_base": 1000}))
        jobs.enqueue([{"id": "bad", "command": "true"}], self.home, time.time())
        jobs.record(jobs.claim("1-1", time.time()), Outcome(3, "failed"), time.time())
        opened = self.watching("Between attempts: 1")
        self.assertRegex("\n".join(self.wait_to_see(opened, "Between attempts")), r"  bad  in 16m\d*s? \(attempt 2 of 4\)  exit code 3  \(true\)")

    def test_without_a_keyboard_it_shows_the_same(self):
        self.fill()
        opened = self.open("-c", "import os, sys; sys.stdin.close(); os.close(0); os.open(os.devnull, 0)\n"
                           "os.execv(sys.executable, [sys.executable, %r, 'status', '--watch', '0.1'])" % MAIN)
        self.wait_for(lambda: "pending 1" in opened.text())
        opened.process.terminate()
        opened.end()
        self.assert_restored(opened)

    def test_a_terminal_that_takes_no_escapes_and_a_pipe_get_one_after_another(self):
        self.fill()
        opened = self.open(MAIN, "status", "--watch", "0.1", TERM="dumb")
        self.wait_for(lambda: len(re.findall(r"(?m)^pending     1", opened.text())) >= 2)
        self.assertNotIn("\033", opened.text())
        process = self.start("status", "--watch", "0.1")
        self.assertEqual([process.stdout.readline()[:7] for _ in range(9)][0], "pending")
        process.kill()
