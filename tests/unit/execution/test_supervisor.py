"""Tests of the supervisor."""
from __future__ import annotations

import contextlib
import io
import unittest

from execution import supervisor


class TestFaults(unittest.TestCase):
    """What a worker process logs of a fault that goes on."""

    def said(self, *messages):
        faults = supervisor.Faults(None)
        with contextlib.redirect_stderr(io.StringIO()) as stream:
            for message in messages:
                faults.tell(message)
        return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]

    def test_faults_that_alternate_are_logged_once_each_and_again_after_a_while(self):
        self.assertEqual(self.said("a", "b", "a", "b", "a"), ["a", "b"])
        self.addCleanup(setattr, supervisor, "_REMIND", supervisor._REMIND)
        supervisor._REMIND = 0.0
        self.assertEqual(self.said("a", "b", "a"), ["a", "b", "a"])
