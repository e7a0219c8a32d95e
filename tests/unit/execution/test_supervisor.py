"""Tests of the supervisor."""
from __future__ import annotations

import contextlib
import io
import signal
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


@unittest.skipUnless(hasattr(signal, "SIGHUP"), "a system without HUP")
class TestStopSignals(unittest.TestCase):
    """Which of several signals is a second wish."""

    def test_which_is_a_second_one(self):
        int_, term, hup = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
        for numbers, times, again in (((term,), (5,), False), ((term, term), (5, 5.9), False), ((term, int_), (5, 6), True),
                                      ((term, term, term), (5, 5.3, 6.1), True), ((hup, hup), (5, 60), False),
                                      ((int_, hup), (5, 60), False), ((hup, int_), (5, 7), True), ((hup, hup, term), (5, 7, 9), True)):
            with self.subTest(numbers=numbers, times=times):
                clock = iter(times)
                signals = supervisor.StopSignals(lambda: next(clock))
                self.assertFalse(signals)
                for number in numbers:
                    signals.note(number)
                self.assertEqual((bool(signals), signals.again), (True, again))
