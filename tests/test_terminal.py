"""What a person sees, in a real terminal (a pty), and what a pipe gets: tables, colours, `status --watch`, progress, figures, `edit`, help.

A terminal's output is read back by `Screen`, a small emulator, so that a test says what stands on the screen and not which escapes came.
"""
from __future__ import annotations

import io
import itertools
import json
import os
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import time
import unittest
from contextlib import redirect_stdout

import arguments
import main
import stats
import terminal
from helpers import SETTINGS, format_time
from job import COMPLETED, DEAD, Outcome, job_from_record
from tests.base import MAIN, ROOT, WINDOWS, HomeTest, as_command, default_signals

if os.name != "nt":
    import fcntl
    import pty
    import struct
    import termios

NEEDS_PTY = unittest.skipIf(os.name == "nt", "Windows has no pty")
NEEDS_SH = unittest.skipIf(os.name == "nt", "the script is written for sh")
ESCAPE = re.compile(r"\033\[[0-9;?]*[A-Za-z]")
CTRL_C = b"\x03"
EMOJI_ID = "😀" * 200
HOSTILE = as_command("printf 'a\nb'; echo \033[31mred\033[0m \x9b5m \u202e end")
OK, FAILED = Outcome(0, None), Outcome(1, "failed")
# Every command that prints for people and for scripts.
LOOKS = ("list", "status", "dlq list", "worker list", "stats", "config")


class Screen:
    """What stands on a terminal after it got some bytes: a small part of a VT100, and an error for the rest."""

    def __init__(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.rows, self.row, self.column = [{}], 0, 0
        self.saved, self.cursor, self.other = None, True, False
        self.scrolled = 0

    def feed(self, text):
        """Take what a program wrote."""
        for part in re.split(r"(\033\[[0-9;?]*[A-Za-z])", text):
            if ESCAPE.fullmatch(part):
                self._escape(part[2:])
            else:
                for char in part:
                    self._char(char)
        return self

    def text(self):
        """The rows that have something on them."""
        rows = ["".join(row.get(at, " ") for at in range(max(row, default=-1) + 1)).rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def _char(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self._down()
        else:
            width = terminal.display_width(char)
            if self.column + width > self.columns:
                self.column = 0
                self._down()
            self.rows[self.row][self.column] = char
            self.column += width

    def _down(self):
        self.row += 1
        if self.row == self.lines:
            self.scrolled += 1
            self.row -= 1
            del self.rows[0]
        while len(self.rows) <= self.row:
            self.rows.append({})

    def _escape(self, code):
        if code == "H":
            self.row = self.column = 0
        elif code == "K":
            self.rows[self.row] = {at: char for at, char in self.rows[self.row].items() if at < self.column}
        elif code == "J":
            self._escape("K")
            del self.rows[self.row + 1:]
        elif code in ("?25l", "?25h"):
            self.cursor = code == "?25h"
        elif code == "?1049h":
            self.saved, self.other = (self.rows, self.row, self.column), True
            self.rows, self.row, self.column = [{}], 0, 0
        elif code == "?1049l":
            (self.rows, self.row, self.column), self.other = self.saved, False
        elif not code.endswith("m"):
            raise ValueError("the screen does not know ESC[" + code)


class Terminal:
    """A command in a pty of a size; with `only_stderr` its stdout is the null device."""

    def __init__(self, command, environ, columns=80, lines=24, only_stderr=False):
        self.master, slave = pty.openpty()
        self.output = b""
        self._resize(columns, lines)

        def own():
            default_signals()
            fcntl.ioctl(2, termios.TIOCSCTTY, 0)

        try:
            self.process = subprocess.Popen(command, stdin=slave, stdout=subprocess.DEVNULL if only_stderr else slave, stderr=slave,
                                            env=environ, start_new_session=True, preexec_fn=own)
        finally:
            os.close(slave)

    def _resize(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        """Another size, of which the program is told."""
        self._resize(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def read(self, seconds=0.0):
        """Take what has been written; whether there may be more."""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                piece = os.read(self.master, 1 << 16)
            except OSError:  # Linux: nobody has the other end any more
                return False
            if not piece:
                return False
            self.output += piece
        return True

    def text(self):
        """All that was written so far."""
        self.read()
        return self.output.decode("utf-8", "replace")

    def end(self):
        """Read to the end: the exit code."""
        deadline = time.monotonic() + 60
        while self.read(0.02) and self.process.poll() is None and time.monotonic() < deadline:
            pass
        self.read()
        return self.process.wait(timeout=60)

    def close(self):
        """Leave no process and no descriptor."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def outside(text):
    """The lines of a terminal's output without escapes."""
    return ESCAPE.sub("", text).replace("\r\n", "\n").splitlines()


class LookTest(HomeTest):
    """A home, and the program in a terminal, in a pipe or in this process."""

    def environ(self, **more):
        environ = super().environ(**dict({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}, **more))
        for name in ("COLUMNS", "LINES", "VISUAL") + (() if "NO_COLOR" in more else ("NO_COLOR",)):
            environ.pop(name, None)
        return environ

    def open_terminal(self, *arguments, environ=None, columns=80, lines=24, only_stderr=False):
        """The program started in a terminal."""
        opened = Terminal([sys.executable, MAIN] + list(arguments), environ or self.environ(), columns, lines, only_stderr)
        self.addCleanup(opened.close)
        return opened

    def see(self, *arguments, code=0, **options):
        """What the program writes in a terminal."""
        opened = self.open_terminal(*arguments, **options)
        self.assertEqual(opened.end(), code, opened.text())
        return opened.text()

    def pipe(self, *arguments, environ=None):
        """What the program writes into a pipe, as UTF-8; it must succeed."""
        done = subprocess.run([sys.executable, MAIN] + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environ or self.environ(), timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(b"Traceback", done.stderr)
        return done.stdout.decode("utf-8")

    def call(self, *arguments):
        """The program in this process: exit code, stdout, stderr."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
        saved, umask = (sys.stdout, sys.stderr), os.umask(0o077)
        sys.stdout, sys.stderr = streams
        try:
            code = main.main(["--home", self.home] + list(arguments))
        except SystemExit as stopped:  # argparse ends its --help so
            code = stopped.code or 0
        finally:
            sys.stdout, sys.stderr = saved
            os.umask(umask)
        texts = []
        for stream in streams:
            stream.flush()
            texts.append(stream.buffer.getvalue().decode("utf-8"))
        return (code, *texts)

    def add(self, *pairs):
        """Add jobs: (id, command) each."""
        return self.manager().enqueue([{"id": job_id, "command": command} for job_id, command in pairs], self.home, time.time())

    def fill(self):
        """One job in each state: wait, run, good and bad; the one that waits is hostile to look at."""
        jobs = self.manager(max_retries=0)
        jobs.enqueue([{"id": name, "command": "true"} for name in ("good", "bad", "run")], self.home, time.time())
        for outcome in (OK, FAILED):
            jobs.record(jobs.claim("1-1", time.time()), outcome, time.time())
        jobs.claim("1-1", time.time())
        jobs.enqueue([{"id": "wait", "command": HOSTILE}], self.home, time.time())


class TestText(unittest.TestCase):
    """How wide a text is, and how it is made as wide as a column."""

    def test_width_counts_columns_and_not_characters(self):
        for text, width in (("", 0), ("abc", 3), ("é", 1), ("e\u0301", 1), ("日本", 4), ("😀", 2), ("ｱ", 1), ("Ａ", 2), ("한국", 4),
                            ("a\u0300\u0301b", 2), ("❤\ufe0f", 1)):
            with self.subTest(text=text):
                self.assertEqual(terminal.display_width(text), width)

    def test_marks_that_take_no_column_are_not_counted(self):
        for name, text, width in (("Thai", "ที่", 1), ("Hindi", "कु", 1), ("keycap", "1\u20e3", 1)):
            with self.subTest(name):
                self.assertEqual(terminal.display_width(text), width)

    def test_a_text_is_made_exactly_as_wide_as_asked(self):
        texts = ("", "a", "abcdefgh", "日本語日本語", "a日b本c語", "e\u0301" * 9, "😀" * 200, "x" * 1000, "日" + "\u0301" * 30 + "本本")
        for text, width in itertools.product(texts, (1, 2, 3, 4, 5, 8, 13, 500)):
            with self.subTest(text=text, width=width):
                self.assertEqual(terminal.display_width(terminal.fit(text, width)), width)

    def test_a_text_that_fits_is_only_padded(self):
        for text, width, wanted in (("abc", 3, "abc"), ("abc", 5, "abc  "), ("日本", 4, "日本"), ("日本", 5, "日本 ")):
            with self.subTest(text=text, width=width):
                self.assertEqual(terminal.fit(text, width), wanted)

    def test_a_text_that_does_not_fit_keeps_its_start_and_ends_in_an_ellipsis(self):
        for text, width, wanted in (("abcd", 3, "ab…"), ("abcd", 1, "…"), ("日本語", 5, "日本…"), ("日本語", 4, "日… "), ("日本", 1, "…"),
                                    ("e\u0301e\u0301e\u0301", 2, "e\u0301…")):
            with self.subTest(text=text, width=width), redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
                self.assertEqual(terminal.fit(text, width), wanted)

    def test_lengths_of_time_are_told_in_the_largest_unit(self):
        for seconds, wanted in ((0, "0s"), (0.9, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"),
                                (86400, "1d"), (1e7, "115d")):
            with self.subTest(seconds=seconds):
                self.assertEqual(terminal.length(seconds), wanted)

    def test_an_age_looks_back_or_ahead(self):
        now = 1_800_000_000.0
        for seconds, wanted in ((0, "0s ago"), (12, "12s ago"), (7200, "2h ago"), (-90, "in 1m")):
            with self.subTest(seconds=seconds):
                self.assertEqual(terminal.age(format_time(now - seconds), now), wanted)
        self.assertEqual(terminal.age(None, now), "-")

    def test_colour_is_asked_of_the_option_then_of_the_environment(self):
        class Tty(io.StringIO):
            def isatty(self):
                return True

            def fileno(self):
                return 1

        self.addCleanup(setattr, terminal, "takes_escapes", terminal.takes_escapes)
        terminal.takes_escapes = lambda descriptor: True  # what is no console of Windows takes none there
        table = (("auto", {}, True, True), ("auto", {}, False, False), ("auto", {"NO_COLOR": "1"}, True, False),
                 ("auto", {"NO_COLOR": ""}, True, True), ("auto", {"TERM": "dumb"}, True, False), ("auto", {"TERM": "xterm"}, True, True),
                 ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True), ("never", {}, True, False))
        saved = sys.stdout
        for wanted, environ, tty, colored in table:
            with self.subTest(wanted=wanted, environ=environ, tty=tty):
                sys.stdout = Tty() if tty else io.StringIO()
                try:
                    found = terminal.use_color(environ, wanted)
                finally:
                    sys.stdout = saved
                self.assertEqual(found, colored)

    def test_a_closed_stream_is_no_terminal(self):
        closed = io.StringIO()
        closed.close()
        for stream in (None, closed, io.StringIO()):
            self.assertFalse(terminal.is_terminal(stream))


class TestPlain(unittest.TestCase):
    """What the parts write where no terminal is."""

    def written(self, function, encoding="utf-8"):
        """What a function writes to stdout and stderr, where these are no terminals."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n") for _ in range(2)]
        saved = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = streams
        try:
            result = function()
        finally:
            sys.stdout, sys.stderr = saved
        for stream in streams:
            stream.flush()
        return (result, *[stream.buffer.getvalue().decode(encoding) for stream in streams])

    def test_bar_is_filled_by_its_share_and_always_as_wide(self):
        for part, whole, width, wanted in ((0, 0, 4, "...."), (0, 5, 4, "...."), (5, 5, 4, "####"), (1, 2, 4, "##.."), (1, 1000, 4, "#..."),
                                           (999, 1000, 20, "#" * 20)):
            with self.subTest(part=part, whole=whole):
                self.assertEqual(self.written(lambda: terminal.bar(part, whole, width), "ascii")[0], wanted)
        self.assertEqual(self.written(lambda: terminal.bar(1, 2, 4))[0], "██░░")

    def test_bars_are_a_column_a_value_and_anything_above_nothing_is_seen(self):
        for values, wanted in (([0, 8, 4], " █▄"), ([0, 1, 1000], " ▁█"), ([1], "█"), ([0, 1, 2, 3, 4, 5, 6, 7, 8], " ▁▂▃▄▅▆▇█")):
            with self.subTest(values=values):
                self.assertEqual(self.written(lambda: terminal.bars(values))[0], wanted)
        self.assertEqual(self.written(lambda: terminal.bars([0, 8, 4]), "ascii")[0], " @=")

    def test_bars_of_nothing_are_blank(self):
        self.assertEqual(self.written(lambda: terminal.bars([0, 0, 0]))[0], "   ")

    def test_table_in_a_pipe_is_tabs_without_headers_whole_and_escaped(self):
        rows = [("a", "pending", "x" * 5000), ("\t\033[1m", "日本", "two\nlines \x9b \u202e")]
        out = self.written(lambda: terminal.table(("ID", "STATE", "COMMAND"), rows, color=True))[1]
        self.assertEqual(ESCAPE.sub("", out), "a\tpending\t%s\n\\t\\x1b[1m\t日本\ttwo\\nlines \\x9b \\u202e\n" % ("x" * 5000))

    def test_table_prints_a_row_as_soon_as_it_has_it(self):
        seen = []

        def rows():
            for number in range(3):
                sys.stdout.flush()
                seen.append(sys.stdout.buffer.getvalue().count(b"\n"))
                yield (str(number),)

        self.written(lambda: terminal.table(("ID",), rows()))
        self.assertEqual(seen, [0, 1, 2])

    def test_progress_is_silent_where_no_terminal_is(self):
        def progress():
            with terminal.Progress() as shown:
                shown.show(3)
                shown.say("more")
                shown.show(1)

        self.assertEqual(self.written(progress), (None, "", ""))

    def test_watch_in_a_pipe_writes_one_after_another_without_escapes(self):
        def lines():
            if len(told) == 2:
                raise KeyboardInterrupt
            told.append(1)
            return ["round %d" % len(told)]

        told = []
        self.assertEqual(self.written(lambda: terminal.watch(lines, 0.001))[1], "round 1\n\nround 2\n\n")

    def test_last_lines_start_where_counting_from_the_end_says(self):
        pieces = (b"", b"\n", b"a", b"a\n", b"\na", b"a\nb", b"a\nb\n", b"\n\n\n", b"a\n\nb\n\n", b"\na\nb\nc", b"one\ntwo\nthree\n",
                  b"x" * 70000 + b"\n" + b"y" * 70000, b"long\n" * 30000, b"\n" * 70000, b"z" * 65535 + b"\n" + b"z" * 65536 + b"\n")
        for content, number in itertools.product(pieces, (1, 2, 3, 4, 5, 29999, 30000, 30001)):
            with self.subTest(content=content[:12], size=len(content), lines=number):
                wanted = b"".join(content.splitlines(True)[-number:])
                self.assertEqual(content[terminal._start_of_last(io.BytesIO(content), number):], wanted)


class TestFigures(HomeTest):
    """The figures about ended jobs."""

    NOW = 1_800_000_000.0

    def jobs(self, *facts):
        """Ended jobs: (state, attempts, seconds it waited, seconds it ran, seconds since it ended) each."""
        for number, (state, attempts, waited, ran, ago) in enumerate(facts):
            ended = self.NOW - ago
            yield job_from_record({"id": str(number), "command": "true", "created_at": format_time(ended - ran - waited), "state": state,
                                   "attempts": attempts, "started_at": format_time(ended - ran), "updated_at": format_time(ended)})

    def test_an_empty_queue_has_no_rates_and_no_times(self):
        nothing = {"p50": None, "p95": None, "max": None}
        self.assertEqual(stats.figures([], self.NOW), {
            "completed": 0, "dead": 0, "success_rate": None, "attempts_per_job": None, "run_time": nothing, "waiting_time": nothing,
            "per_minute": [0] * stats.MINUTES})

    def test_success_and_attempts_are_those_of_all_ended_jobs(self):
        facts = [(state, attempts, 0, 1, 0) for state, attempts in ((COMPLETED, 1), (COMPLETED, 2), (COMPLETED, 1), (DEAD, 4))]
        found = stats.figures(self.jobs(*facts), self.NOW)
        self.assertEqual([found[name] for name in ("completed", "dead", "success_rate", "attempts_per_job")], [3, 1, 0.75, 2.0])

    def test_percentiles_are_values_that_occurred_in_any_order(self):
        facts = [(COMPLETED, 1, 1000 - number, number, 0) for number in range(1, 102)]
        found = stats.figures(self.jobs(*facts[50:], *facts[:50]), self.NOW)
        for name, wanted in (("run_time", [51, 96, 101]), ("waiting_time", [949, 994, 999])):
            for (part, value), expected in zip(found[name].items(), wanted):
                with self.subTest(name=name, part=part):
                    self.assertAlmostEqual(value, expected, places=3)

    def test_one_value_is_every_percentile(self):
        found = stats.figures(self.jobs((COMPLETED, 1, 2, 3, 0)), self.NOW)
        for name, wanted in (("run_time", 3), ("waiting_time", 2)):
            for value in found[name].values():
                self.assertAlmostEqual(value, wanted, places=3)

    def test_percentile_is_the_smallest_value_that_so_many_do_not_exceed(self):
        for count, p50, p95 in ((2, 1, 2), (4, 2, 4), (20, 10, 19), (100, 50, 95)):
            with self.subTest(count=count):
                found = stats.figures(self.jobs(*[(COMPLETED, 1, 0, number + 1, 0) for number in range(count)]), self.NOW)
                self.assertEqual([round(found["run_time"][part]) for part in ("p50", "p95")], [p50, p95])

    def test_minutes_count_back_from_now_and_older_jobs_are_not_in_them(self):
        found = stats.figures(self.jobs(*[(COMPLETED, 1, 0, 1, ago) for ago in (0, 59, 60, 61, 600, 1799, 1800, 90000)]), self.NOW)
        wanted = [0] * 30
        wanted[29], wanted[28], wanted[19], wanted[0] = 2, 2, 1, 1
        self.assertEqual(found["per_minute"], wanted)

    def test_a_queue_without_ended_jobs_says_so(self):
        done = self.run_program("stats")
        self.assertEqual(done.stdout, "No job has ended yet.\n")


@NEEDS_PTY
class TestTables(LookTest):
    """`list` in windows of any size."""

    def widest(self, text):
        """The columns that the widest line takes."""
        return max(terminal.display_width(line) for line in outside(text))

    def test_no_line_is_wider_than_the_window(self):
        self.fill()
        self.add((EMOJI_ID, "echo " + "日本語" * 60), ("x" * 200, "y" * 3000), ("e\u0301" * 60, "e\u0301" * 200))
        for columns in (200, 80, 40, 20):
            with self.subTest(columns=columns):
                text = self.see("list", columns=columns)
                self.assertLessEqual(self.widest(text), columns, text)
                self.assertEqual(len(outside(text)), 8, text)

    def test_three_columns_hold_nothing_and_break_nothing(self):
        self.fill()
        self.add((EMOJI_ID, "true"))
        for words in (("list",), ("status",), ("dlq", "list"), ("config",), ("list", "--help")):
            with self.subTest(words=words):
                self.assertNotIn("Traceback", self.see(*words, columns=3))

    def test_columns_start_at_the_same_place_in_every_row(self):
        self.add(("short", "COMMAND1"), ("日本語", "COMMAND2"), ("e\u0301e\u0301", "COMMAND3"), ("😀" * 4, "COMMAND4"))
        lines = outside(self.see("list"))
        places = {terminal.display_width(line[:line.index("COMMAND")]) for line in lines}
        self.assertEqual(len(places), 1, lines)

    def test_rows_after_those_that_were_measured_are_cut_too(self):
        self.add(*[("job%d" % number, "true") for number in range(210)], ("w" * 190, "c" * 500))
        text = self.see("list")
        self.assertEqual((len(outside(text)), self.widest(text) <= 80), (212, True), outside(text)[-1])

    def test_a_long_command_is_shortened_and_a_wide_window_shows_more_of_it(self):
        self.add(("job", "echo " + "z" * 120))
        self.assertIn("…", self.see("list"))
        self.assertIn("z" * 120, self.see("list", columns=200))

    def test_a_command_with_newlines_and_escapes_stays_on_its_line_and_does_nothing(self):
        self.add(("job", HOSTILE))
        text = self.see("list", "--color", "never", columns=200)
        self.assertEqual(len(outside(text)), 2, text)
        self.assertIn("printf 'a\\nb'; echo \\x1b[31mred\\x1b[0m \\x9b5m \\u202e end", text)
        self.assertNotIn("\033", text)

    def test_times_are_ages_unless_utc_is_asked_for(self):
        jobs = self.manager(max_retries=0)
        self.add(("job", "true"))
        jobs.record(jobs.claim("1-1", time.time()), FAILED, time.time())
        for words in (["list"], ["dlq", "list"]):
            with self.subTest(words=words):
                self.assertRegex(self.see(*words, columns=200), r"\d+[sm] ago")
                self.assertRegex(self.see(*words, "--utc", columns=200), r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")

    def test_a_terminal_that_knows_only_ascii_gets_lines_that_fit(self):
        self.add(("job", "echo " + "z" * 120), ("日本語", "echo " + "é" * 100))
        text = self.see("list", environ=self.environ(PYTHONIOENCODING="ascii"))
        self.assertLessEqual(self.widest(text), 80, text)

    def test_status_fits_the_window(self):
        self.fill()
        self.manager().pause()
        for columns in (80, 40):
            with self.subTest(columns=columns):
                text = self.see("status", columns=columns)
                self.assertLessEqual(self.widest(text.replace(self.home, "HOME")), columns, text)


@NEEDS_PTY
class TestColors(LookTest):
    """Where colours are, and where not."""

    def test_each_state_has_its_colour_on_a_terminal(self):
        self.fill()
        text = self.see("list")
        for state, color in (("pending", 33), ("processing", 36), ("completed", 32), ("dead", 31)):
            self.assertRegex(text, r"\033\[%dm%s *\033\[0m" % (color, state))

    def test_nothing_but_a_state_is_coloured(self):
        self.add(("dead", "completed"))
        self.assertEqual(re.findall(r"\033\[\d+m(\w+)", self.see("list")), ["pending"])

    def test_no_color_and_never_and_a_dumb_terminal_mean_none(self):
        self.fill()
        for command in ("list", "status"):
            for words, more in (((), {"NO_COLOR": "1"}), (("--color", "never"), {}), ((), {"TERM": "dumb"})):
                with self.subTest(command=command, words=words, environ=more):
                    self.assertNotIn("\033", self.see(command, *words, environ=self.environ(**more)))

    def test_always_means_in_a_pipe_too(self):
        self.fill()
        for command in ("list", "status"):
            with self.subTest(command=command):
                self.assertIn("\033[33m", self.pipe(command, "--color", "always"))

    def test_always_in_a_pipe_still_shows_no_escape_of_a_users(self):
        self.fill()
        self.assertIn("echo \\x1b[31mred", self.pipe("list", "--color", "always"))


@NEEDS_PTY
class TestStatus(LookTest):
    """`status`, once and again and again."""

    def test_each_state_has_a_bar(self):
        self.fill()
        text = self.see("status", "--color", "never")
        for state in ("pending", "processing", "completed", "dead"):
            self.assertRegex(text, r"(?m)^%s +1  █{5}░{15}\r$" % state)

    def test_running_jobs_are_shown_with_how_long_they_have_run(self):
        self.fill()
        self.assertRegex(self.see("status"), r"running +run, for \d+s: true")

    def test_bars_are_ascii_where_no_other_characters_are_known(self):
        self.fill()
        self.assertIn("#####.....", self.see("status", environ=self.environ(PYTHONIOENCODING="ascii")))

    def watching(self, columns=80, lines=24, shown="pending"):
        """`status --watch` in a terminal, once it shows something."""
        opened = self.open_terminal("status", "--watch", "0.1", columns=columns, lines=lines)
        self.wait_for(lambda: shown in opened.text())
        return opened

    def frames(self, opened):
        """How often it has been drawn."""
        return opened.text().count("\033[J")

    def test_watch_redraws_in_place_on_the_other_screen(self):
        self.fill()
        opened = self.watching()
        self.wait_for(lambda: self.frames(opened) >= 3)
        self.add(("another", "true"))
        self.wait_for(lambda: self.frames(opened) and re.search(r"total +5", opened.text()))
        screen = Screen(80, 24).feed(opened.text().rpartition("\033[H")[0])
        self.assertTrue(screen.other and not screen.cursor)
        self.assertEqual(sum(line.startswith("pending") for line in screen.text()), 1, screen.text())

    def test_watch_never_clears_what_it_draws_over(self):
        self.fill()
        opened = self.watching()
        self.wait_for(lambda: self.frames(opened) >= 2)
        self.assertNotIn("\033[2J", opened.text())

    def test_ctrl_c_ends_watch_with_0_and_the_screen_as_it_was(self):
        self.fill()
        opened = self.watching()
        opened.read()
        os.write(opened.master, CTRL_C)
        self.assertEqual(opened.end(), 0)
        screen = Screen(80, 24).feed("$ before\n" + opened.text().replace("^C", ""))
        self.assertEqual((screen.text(), screen.other, screen.cursor), (["$ before"], False, True))

    def test_watch_survives_a_resize_and_draws_for_the_new_size(self):
        jobs = self.manager()
        self.add(("run", "echo " + "z" * 300))
        jobs.claim("1-1", time.time())
        opened = self.watching(columns=100, shown="z…")
        opened.resize(50, 6)
        drawn = self.frames(opened)
        self.wait_for(lambda: self.frames(opened) > drawn + 2)
        frame = outside(opened.text().rpartition("\033[J")[0].rpartition("\033[H")[2])
        self.assertEqual((len(frame), opened.process.poll()), (5, None), frame)

    def test_a_frame_of_watch_never_scrolls_the_window(self):
        self.fill()
        self.manager().pause()
        for columns, lines in ((40, 24), (40, 6), (20, 8)):
            with self.subTest(columns=columns, lines=lines):
                opened = self.watching(columns, lines)
                self.wait_for(lambda: self.frames(opened) >= 2)
                screen = Screen(columns, lines).feed(opened.text().rpartition("\033[H")[0])
                self.assertEqual(screen.scrolled, 0, screen.text())

    def test_watch_that_is_terminated_leaves_the_screen_as_it_was(self):
        self.fill()
        opened = self.watching()
        opened.process.terminate()
        opened.end()
        screen = Screen(80, 24).feed(opened.text())
        self.assertEqual((screen.other, screen.cursor), (False, True))


@NEEDS_PTY
class TestProgress(LookTest):
    """The line that `wait` shows meanwhile."""

    def wait_and_finish(self, columns):
        """A Terminal in which `wait` has shown its progress and come to its end."""
        jobs = self.manager()
        self.add(("one", "true"), ("two", "true"))
        opened = self.open_terminal("wait", columns=columns, only_stderr=True)
        self.wait_for(lambda: "] 0 of 2 done" in opened.text())
        jobs.record(jobs.claim("1-1", time.time()), OK, time.time())
        self.wait_for(lambda: "] 1 of 2 done" in opened.text())
        jobs.record(jobs.claim("1-1", time.time()), OK, time.time())
        self.assertEqual(opened.end(), 0)
        return opened

    def test_wait_shows_a_bar_on_stderr_and_leaves_none_of_it(self):
        for columns in (80, 40):
            with self.subTest(columns=columns):
                opened = self.wait_and_finish(columns)
                self.assertIn("[##########..........] 1 of 2 done", opened.text())
                self.assertNotIn("[", "".join(Screen(columns, 24).feed(opened.text()).text()))
                self.manager().reset()

    def test_wait_in_a_pipe_is_silent(self):
        done = self.run_program("wait")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


class TestPipes(LookTest):
    """What scripts get."""

    def test_no_escape_reaches_a_pipe(self):
        self.fill()
        for name in LOOKS:
            for more in ([], ["--json"]):
                with self.subTest(command=name, more=more):
                    code, out, err = self.call(*name.split(), *more)
                    self.assertEqual((code, [char for char in out + err if not (char.isprintable() or char in "\n\t")]), (0, []))

    @NEEDS_PTY
    def test_json_parses_and_has_the_same_keys_in_a_pipe_and_on_a_terminal(self):
        self.fill()
        commands = [words.split() + ["--json"] for words in list(LOOKS) + ["show run", "config get max_retries"]]
        program = "import json, sys, main\nfor words in json.loads(sys.argv[1]):\n    main.main(words); print('=====', flush=True)"
        opened = Terminal([sys.executable, "-c", program, json.dumps(commands)], self.environ(PYTHONPATH=ROOT), columns=20)
        self.addCleanup(opened.close)
        self.assertEqual(opened.end(), 0, opened.text())
        seen = opened.text().replace("\r\n", "\n").split("=====\n")
        for words, text in zip(commands, seen):
            with self.subTest(words=words):
                told = json.loads(re.sub(r"(?m)^queuectl: .*$", "", text))
                self.assertEqual(self.shape(told), self.shape(json.loads(self.call(*words)[1])))

    def shape(self, value):
        """The keys of a JSON value, all the way down."""
        if isinstance(value, dict):
            return {key: self.shape(inner) for key, inner in value.items()}
        return [self.shape(inner) for inner in value] if isinstance(value, list) else None

    def test_jsonl_is_a_job_a_line_and_the_same_as_json(self):
        self.fill()
        lines = self.call("list", "--jsonl")[1].splitlines()
        self.assertEqual([json.loads(line) for line in lines], json.loads(self.call("list", "--json")[1]))

    def test_json_holds_a_text_exactly(self):
        self.fill()
        self.assertEqual({job["id"]: job["command"] for job in json.loads(self.call("list", "--json")[1])}["wait"], HOSTILE)

    def test_json_of_an_empty_queue_parses(self):
        for name in LOOKS:
            with self.subTest(command=name):
                json.loads(self.call(*name.split(), "--json")[1])
        self.assertEqual(self.call("list", "--jsonl")[1], "")

    def test_json_parses_whatever_stdout_can_encode(self):
        self.add(("é😀", "echo 日本"))
        for encoding, words in itertools.product(("ascii", "latin-1"), (["list", "--json"], ["list", "--jsonl"], ["show", "é😀"])):
            with self.subTest(encoding=encoding, words=words):
                done = subprocess.run([sys.executable, MAIN] + words, stdout=subprocess.PIPE, env=self.environ(PYTHONIOENCODING=encoding))
                told = json.loads(done.stdout.decode(encoding))
                self.assertEqual((told[0] if isinstance(told, list) else told)["command"], "echo 日本")

    def test_a_fault_in_json_mode_stays_on_stderr(self):
        self.write("jobs.json", "{")
        code, out, err = self.call("list", "--json")
        self.assertEqual((code > 0, out), (True, ""))
        self.assertTrue(err.startswith("queuectl: error: "), err)

    @NEEDS_SH
    def test_a_reader_that_has_seen_enough_is_no_fault(self):
        self.add(*[("job%d" % number, "echo " + "z" * 200) for number in range(2000)])
        for words in ("list", "list --json", "list --jsonl", "list -q", "config"):
            with self.subTest(words=words):
                script = '("$0" "$1" %s; echo $? >code) | head -n 1' % words
                done = subprocess.run(["sh", "-c", script, sys.executable, MAIN], cwd=self.home, env=self.environ(), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, timeout=60)
                self.assertEqual((done.stdout.count(b"\n"), done.stderr), (1, b""))
                code = self.wait_for(lambda: os.path.exists(self.path("code")) and self.read("code").strip())
                self.assertIn(code, (b"0", b"141"))
                os.unlink(self.path("code"))

    @NEEDS_SH
    def test_streams_that_are_closed_are_no_fault(self):
        self.fill()
        for words in ("list >&-", "list --json >&-", "status >&- 2>&-", "logs good >&-", "list <&- >&-", "dlq list >&-"):
            with self.subTest(words=words):
                done = subprocess.run(["sh", "-c", '"$0" "$1" ' + words, sys.executable, MAIN], env=self.environ(), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
                self.assertNotIn(b"Traceback", done.stderr)
        self.assertEqual(len(self.states()), 4)

    def test_an_ascii_locale_shows_other_characters_as_escapes(self):
        self.add(("日本é", "echo 😀"))
        for more in ({"LC_ALL": "C", "LANG": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
            environ = self.environ(**more)
            if WINDOWS:  # which has a code page instead
                environ["PYTHONIOENCODING"] = "ascii"
            else:
                del environ["PYTHONIOENCODING"]
            for words in (["list"], ["list", "-q"], ["status"]):
                with self.subTest(words=words, environ=more):
                    self.pipe(*words, environ=environ)

    def test_options_of_list_choose_and_order(self):
        self.fill()
        for words, wanted in ((["--state", "pending,dead"], ["bad", "wait"]), (["--reverse"], ["wait", "run", "bad", "good"]),
                              (["--sort", "id"], ["bad", "good", "run", "wait"]), (["--sort", "id", "--reverse", "--limit", "1"], ["wait"]),
                              (["--search", "oo"], ["good"]), (["--search", "printf"], ["wait"]), (["--search", "nothing"], [])):
            with self.subTest(words=words):
                self.assertEqual(self.call("list", "-q", *words)[1].split(), wanted)


class TestMany(LookTest):
    """A long list streams."""

    # Runs a command in a process of its own, so that its memory is measured and not that of the tests (a fork starts as large as we are).
    # With "first" it reads one line, says how far the job file has been read (-1: not known here), and ends the command.
    MEASURE = r"""
import json, os, resource, subprocess, sys
command = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
line, at = command.stdout.readline(), -1
if sys.argv[1] == "first":
    folder = "/proc/%d/fd" % command.pid
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if os.readlink(os.path.join(folder, name)).endswith("jobs.json"):
            with open("/proc/%d/fdinfo/%s" % (command.pid, name)) as file:
                at = max(at, int(file.readline().split()[1]))
    running = command.poll() is None
    command.kill()
else:
    running = None
    while command.stdout.read(1 << 16):
        pass
command.wait()
unit = 1 if sys.platform == "darwin" else 1024
memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
print(json.dumps([line.decode(), running, at, memory]))
"""

    def setUp(self):
        super().setUp()
        if os.name == "nt":
            self.skipTest("Windows does not tell the memory of a process that has ended")
        records = ({"id": "job%05d" % number, "command": "echo " + "z" * 1500} for number in range(20000))
        self.manager().enqueue(records, self.home, time.time())

    def measure(self, how, *words):
        """Of a command: its first line, whether it was running then, how far it had read, and the most memory it took, in bytes."""
        done = subprocess.run([sys.executable, "-c", self.MEASURE, how, sys.executable, MAIN] + list(words), stdout=subprocess.PIPE,
                              env=self.environ(), timeout=60, check=True)
        return json.loads(done.stdout.decode("utf-8"))

    def test_a_list_of_20000_starts_before_it_has_read_all_and_takes_little_memory(self):
        size = os.path.getsize(self.path("jobs.json"))
        line, running, at, _ = self.measure("first", "list")
        self.assertTrue(line.startswith("job00000\tpending\t0\t"), line)
        self.assertTrue(running)
        self.assertLess(at, size // 2)
        for words in (["list"], ["list", "--json"], ["list", "--search", "job19999"]):
            with self.subTest(words=words):
                self.assertLess(self.measure("all", *words)[3], 60 << 20)


@NEEDS_SH
class TestEdit(LookTest):
    """`edit`, with a script as the editor."""

    def edit(self, script, job_id="two", code=0):
        """Edit a job with a script for sh, to which $1 is the file: the program's output."""
        path = self.path("editor")
        self.write("editor", "#!/bin/sh\n" + script)
        os.chmod(path, stat.S_IRWXU)
        os.makedirs(self.path("tmp"), exist_ok=True)
        done = self.run_program("edit", job_id, env=self.environ(EDITOR=path, TMPDIR=self.path("tmp"), PROGRAM=MAIN, PYTHON=sys.executable))
        self.assertEqual(done.returncode, code, (done.stdout, done.stderr))
        self.assertNotIn("Traceback", done.stderr)
        return done.stdout + done.stderr

    def kept(self, said, text):
        """Check that the text is still in a file whose path was named."""
        names = os.listdir(self.path("tmp"))
        self.assertEqual(len(names), 1)
        path = self.path("tmp", names[0])
        self.assertIn(path, said)
        with open(path, encoding="utf-8") as file:
            self.assertIn(text, file.read())

    def setUp(self):
        super().setUp()
        self.add(*[(name, "echo %s >>ran" % name) for name in ("one", "two", "three")])

    CHANGE = 'sed "s/echo two/echo changed/" "$1" >"$1.new" && cat "$1.new" >"$1" && rm "$1.new"\n'

    def test_the_edited_job_keeps_its_place_and_runs(self):
        self.assertIn("changed", self.edit(self.CHANGE))
        self.assertEqual(list(self.states()), ["one", "two", "three"])
        self.drain()
        self.assertEqual(self.read("ran").split(), [b"one", b"changed", b"three"])
        self.assertEqual(os.listdir(self.path("tmp")), [])

    def test_an_editor_that_replaces_the_file_is_understood(self):
        self.edit('sed "s/echo two/echo changed/" "$1" >"$1.new" && mv "$1.new" "$1"\n')
        self.assertEqual(self.records()[1]["command"], "echo changed >>ran")

    def test_a_job_that_is_left_alone_stays_as_it_was(self):
        before = self.read("jobs.json")
        self.assertIn("is as it was", self.edit("true\n"))
        self.assertEqual((self.read("jobs.json"), os.listdir(self.path("tmp"))), (before, []))

    def test_what_cannot_be_taken_changes_nothing_and_the_text_is_kept(self):
        before = self.read("jobs.json")
        for name, script, text in (("broken JSON", 'echo "{broken" >"$1"\n', "{broken"),
                                   ("another id", 'sed s/two/other/ "$1" >"$1.n"; mv "$1.n" "$1"\n', '"other"'),
                                   ("no job", 'echo 17 >"$1"\n', "17"),
                                   ("a command that is none", 'echo \'{"id": "two", "command": 5}\' >"$1"\n', '"command": 5'),
                                   ("a job it cannot follow", 'echo \'{"id": "two", "command": "x", "after": ["gone"]}\' >"$1"\n', "gone")):
            with self.subTest(name):
                said = self.edit(script, code=1 if text == "gone" else 2)  # it is understood, and does not fit the queue
                self.kept(said, text)
                self.assertEqual(self.read("jobs.json"), before)
                os.unlink(self.path("tmp", os.listdir(self.path("tmp"))[0]))

    def test_an_editor_that_fails_changes_nothing_and_the_text_is_kept(self):
        before = self.read("jobs.json")
        self.kept(self.edit(self.CHANGE + "exit 1\n", code=1), "echo changed")
        self.assertEqual(self.read("jobs.json"), before)

    def test_a_job_that_ran_meanwhile_is_not_changed_and_the_text_is_kept(self):
        self.kept(self.edit(self.CHANGE + '"$PYTHON" "$PROGRAM" worker start --drain >/dev/null\n', code=1), "echo changed")
        self.assertEqual((self.states()["two"], self.records()[1]["command"]), ("completed", "echo two >>ran"))

    def test_a_job_that_was_cancelled_meanwhile_is_not_changed_and_the_text_is_kept(self):
        self.kept(self.edit('"$PYTHON" "$PROGRAM" cancel two >/dev/null\n' + self.CHANGE, code=1), "echo changed")
        self.assertEqual((self.states()["two"], self.records()[1]["command"]), ("dead", "echo two >>ran"))

    def test_only_a_pending_job_is_opened(self):
        self.manager().claim("1-1", time.time())
        self.assertIn("is processing", self.edit('touch "$QUEUECTL_HOME/opened"\n', job_id="one", code=1))
        self.assertFalse(os.path.exists(self.path("opened")))

    def test_every_field_survives_an_edit_of_another(self):
        self.manager().enqueue([{"id": "rich", "command": "echo two", "priority": 5, "delay": "1h", "env": {"A": "é"}, "note": [1, None]}],
                               self.home, time.time())
        before = self.records()[3]
        self.edit(self.CHANGE, job_id="rich")
        after = self.records()[3]
        self.assertEqual({name for name in before if before[name] != after.get(name)} - {"updated_at"}, {"command"})
        self.assertEqual(set(before), set(after))


class TestHelp(LookTest):
    """Help that teaches."""

    def test_a_mistyped_word_is_answered_with_the_nearest_one(self):
        for words, wanted in ((["enqeue"], "enqueue"), (["staus"], "status"), (["dlq", "retyr"], "retry"), (["worker", "strat"], "start"),
                              (["config", "get", "max_retry"], "max_retries"), (["config", "set", "backof_base", "3"], "backoff_base"),
                              (["list", "--state", "complete"], "completed")):
            with self.subTest(words=words):
                code, out, err = self.call(*words)
                self.assertEqual((code, out), (2, ""))
                self.assertIn("did you mean '%s'?" % wanted, err)

    def test_a_word_that_is_near_nothing_is_answered_without_a_guess(self):
        self.assertNotIn("did you mean", self.call("xyzzyxyzzy")[2])

    def test_the_program_alone_shows_every_command_in_its_group_with_an_example(self):
        code, out, err = self.call()
        self.assertEqual((code, err), (0, ""))
        for name, row in arguments.COMMANDS.items():
            with self.subTest(command=name):
                self.assertRegex(out, r"(?m)^  %s +%s +queuectl %s$" % (name, re.escape(row[0]), re.escape(row[1])))
        titles = re.findall(r"(?m)^([A-Z][a-z ]+):$", out)
        self.assertEqual(titles, [title for title, _ in arguments.GROUPS])

    def test_the_help_of_each_command_ends_with_an_example_that_its_parser_takes(self):
        for name, row in arguments.COMMANDS.items():
            with self.subTest(command=name):
                code, out, _ = self.call(*name.split(), "--help")
                self.assertEqual((code, out.splitlines()[-1]), (0, "  queuectl " + row[1]))
                arguments.parse(shlex.split(row[1]))

    def test_help_of_a_group_of_commands_lists_them(self):
        for name in ("worker", "dlq"):
            with self.subTest(name):
                code, out, err = self.call(name, "--help")
                self.assertEqual((code, err), (0, ""))
                self.assertIn("%s list" % name, out)

    def test_every_setting_is_shown_with_its_meaning(self):
        rows = [line.split("\t") for line in self.call("config")[1].splitlines()]
        self.assertEqual([(row[0], row[2]) for row in rows], [(setting.name, setting.meaning) for setting in SETTINGS])


if __name__ == "__main__":
    unittest.main()
