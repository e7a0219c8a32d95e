"""What `status` says of pending jobs."""
from __future__ import annotations

import unittest

from cli.facts import KINDS, kinds_text
from cli.terminal import display_width, flow


class StatusTextTest(unittest.TestCase):

    def test_pending_jobs_are_broken_down_where_not_all_are_ready(self):
        for pending, numbers, text in (
                (38, (31, 1, 5, 1), "31 ready, 1 between attempts, 5 scheduled, 1 after others"),
                (5, (0, 0, 5), "5 scheduled"),
                (6, (0, 0, 0, 0, 2, 3, 1), "2 in full groups, 3 in paused groups, 1 held"),
                (5, (5,), ""),
                (0, (0,), ""),
                (0, (None,), ""),
                (9, (None,), "what they wait for is not looked at: there are too many"),
        ):
            with self.subTest(pending=pending, numbers=numbers):
                keys = [key for _, key, _ in KINDS]
                facts = dict(dict.fromkeys(keys, 0), pending=pending, **dict(zip(keys, numbers)))
                self.assertEqual(kinds_text(facts), text)

    def test_texts_flow_into_lines_that_fit(self):
        parts = ["31 ready", "1 between attempts", "5 scheduled"]
        for width, lines in ((80, ["  31 ready, 1 between attempts, 5 scheduled"]), (32, ["  31 ready, 1 between attempts,", "  5 scheduled"]),
                             (30, ["  31 ready,", "  1 between attempts,", "  5 scheduled"])):
            with self.subTest(width=width):
                self.assertEqual(flow(parts, width, ", ", "  "), lines)
        self.assertEqual(max(map(display_width, flow(["x" * 50, "y"], 20))), 20)
        self.assertEqual(flow([], 20), [])
