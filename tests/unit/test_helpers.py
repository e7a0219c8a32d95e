"""Strict JSON with its places, times and durations, settings, private files, and text made safe for a terminal."""
from __future__ import annotations

import contextlib
import io
import os
import unittest

import helpers
from helpers import printable

POSIX = os.name == "posix"


class PrintableTest(unittest.TestCase):

    def test_control_characters_become_escapes(self):
        for text, shown in (
                ("plain text", "plain text"), ("\u00e9\u4e16\U0001f600", "\u00e9\u4e16\U0001f600"), ("", ""),
                ("a\nb", "a\\nb"), ("a\tb\r", "a\\tb\\r"), ("\x1b[31mred", "\\x1b[31mred"), ("\x9b31m", "\\x9b31m"),
                ("\x07\x7f", "\\x07\\x7f"),
                ("\u202eabc", "\\u202eabc"), ("a\u2028b\u2029", "a\\u2028b\\u2029"), ("\udcff", "\\udcff"), ("\x00", "\\x00"),
        ):
            with self.subTest(repr(text)):
                self.assertEqual(printable(text), shown)

    def test_no_character_below_300_gets_through_that_is_not_printable(self):
        self.assertTrue(printable("".join(map(chr, range(300)))).isprintable())

    def test_log_is_one_line_whatever_the_message(self):
        stream = io.StringIO()
        with contextlib.redirect_stderr(stream):
            helpers.log("two\nlines \x1b[2J")
        self.assertRegex(stream.getvalue(), r"\A\d\d:\d\d:\d\d two\\nlines \\x1b\[2J\n\Z")

    def test_log_outlives_its_stream(self):
        closed = io.StringIO()
        closed.close()
        for stream in (None, closed):
            with self.subTest(stream is None):
                with contextlib.redirect_stderr(stream):
                    helpers.log("still here")

    @unittest.skipUnless(POSIX and os.path.exists("/dev/full"), "a device that is full")
    def test_log_outlives_a_full_disk(self):
        with open("/dev/full", "w") as stream:
            with contextlib.redirect_stderr(stream):
                self.assertIsNone(helpers.log("still here"))
            with contextlib.suppress(OSError):
                stream.close()


if __name__ == "__main__":
    unittest.main()
