"""Tests of how settings are laid out in a window."""
from __future__ import annotations

import unittest

from cli.configuring import wrapped


class TestWrapped(unittest.TestCase):
    """Rows of a name, a value and a meaning."""

    ROWS = [("fsync", "true", "what is said to be stored survives a power cut"), ("on_finish", '"a command that is long"', "a command")]

    def test_a_meaning_is_wrapped_to_the_window_and_stays_whole(self):
        self.assertEqual(wrapped(self.ROWS, 60), [
            "fsync      true          what is said to be stored survives",
            "                         a power cut",
            'on_finish  "a command that is long"',
            "                         a command"])

    def test_in_a_narrow_window_it_stands_below_its_setting(self):
        self.assertEqual(wrapped(self.ROWS[:1], 40), ["fsync  true", "    what is said to be stored survives a", "    power cut"])

    def test_no_line_is_wider_than_the_window(self):
        for window in (20, 30, 40, 79, 80, 200):
            with self.subTest(window=window):
                lines = wrapped(self.ROWS[:1], window)
                self.assertLessEqual(max(map(len, lines)), window)
                self.assertEqual(" ".join(" ".join(lines).split()), " ".join(self.ROWS[0]))
