"""Tests of text for the terminal."""
from __future__ import annotations

import io
import itertools
import os
import sys
import unittest
from contextlib import redirect_stdout
from unittest import mock

from cli import progress, terminal, watching
from core import console
from core.times import format_time
from tests.support.terminal import ESCAPE


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
                self.assertEqual(terminal.rough_duration(seconds), wanted)

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

        self.addCleanup(setattr, console, "takes_escapes", console.takes_escapes)
        console.takes_escapes = lambda descriptor: True  # what is no console of Windows takes none there
        table = (("auto", {}, True, True), ("auto", {}, False, False), ("auto", {"NO_COLOR": "1"}, True, False),
                 ("auto", {"NO_COLOR": ""}, True, True), ("auto", {"TERM": "dumb"}, True, False), ("auto", {"TERM": "xterm"}, True, True),
                 ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True), ("never", {}, True, False))
        saved = sys.stdout
        for wanted, environ, tty, colored in table:
            with self.subTest(wanted=wanted, environ=environ, tty=tty):
                sys.stdout = Tty() if tty else io.StringIO()
                try:
                    with mock.patch.dict(os.environ, environ, clear=True):
                        found = terminal.use_color(wanted)
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
                self.assertEqual(self.written(lambda: terminal.chart(values))[0], wanted)
        self.assertEqual(self.written(lambda: terminal.chart([0, 8, 4]), "ascii")[0], " @=")

    def test_bars_of_nothing_are_blank(self):
        self.assertEqual(self.written(lambda: terminal.chart([0, 0, 0]))[0], "   ")

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
        def count_down():
            with progress.Progress() as shown:
                shown.show(3)
                shown.say("more")
                shown.show(1)

        self.assertEqual(self.written(count_down), (None, "", ""))

    def test_watch_in_a_pipe_writes_one_after_another_without_escapes(self):
        def lines():
            if len(told) == 2:
                raise KeyboardInterrupt
            told.append(1)
            return ["round %d" % len(told)]

        told = []
        self.assertEqual(self.written(lambda: watching.repeat(lines, 0.001))[1], "round 1\n\nround 2\n\n")
