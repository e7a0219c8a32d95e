"""Tests of the log of an attempt that stayed empty, and of what becomes of it."""
from __future__ import annotations

import os
import unittest

from core.locks import is_held
from execution.log_file import LogFile
from tests.support.home import WINDOWS, HomeTest


@unittest.skipIf(WINDOWS, "an open file gets no other name there")
class SpareTest(HomeTest):
    """An empty log serves the next attempt."""

    def attempt(self, name, spare=None, text=b"", keep=True):
        """Be an attempt that writes a text into a log of that name: what `release` gave back."""
        log = LogFile(self.path(name), sleep=lambda seconds: None)
        descriptor = log.begin(spare)
        os.write(descriptor, text)
        os.close(descriptor)
        return log.release(None, keep)

    def test_it_gets_the_name_of_the_next_attempt_and_is_held_by_its_command(self):
        spare = self.attempt("a")
        log = LogFile(self.path("b"))
        descriptor = log.begin(spare)
        self.addCleanup(os.close, descriptor)
        self.assertEqual((os.path.exists(self.path("a")), os.path.exists(self.path("b"))), (False, True))
        os.write(descriptor, b"said")
        self.assertTrue(is_held(self.path("b")))
        self.assertEqual(self.read("b"), b"said")

    def test_one_that_holds_something_or_is_held_or_is_not_wanted_is_none(self):
        self.assertIsNone(self.attempt("a", text=b"said"))
        self.assertIsNone(self.attempt("b", keep=False))
        log = LogFile(self.path("c"), sleep=lambda seconds: None)
        held = log.begin()
        self.addCleanup(os.close, held)
        self.assertIsNone(log.release(None, True))
        self.assertEqual(sorted(os.listdir(self.home)), ["a", "c"])

    def test_one_that_someone_has_removed_is_replaced_by_a_new_one(self):
        spare = self.attempt("a")
        os.unlink(self.path("a"))
        self.assertIsNone(self.attempt("b", spare, b"said"))
        self.assertEqual(self.read("b"), b"said")

    def test_one_that_no_attempt_follows_is_removed(self):
        self.attempt("a").discard()
        self.assertEqual(os.listdir(self.home), [])


@unittest.skipIf(WINDOWS, "an open file is emptied by nobody there")
class EmptiedTest(HomeTest):
    """A log that its own command makes shorter."""

    def setUp(self):
        super().setUp()
        self.log = LogFile(self.path("a"))
        self.descriptor = self.log.begin()
        self.addCleanup(os.close, self.descriptor)

    def test_it_says_so_at_its_end(self):
        os.write(self.descriptor, b"x" * 1000)
        self.log.trim(2000)
        os.truncate(self.path("a"), 0)
        os.write(self.descriptor, b"rest")
        self.assertIsNone(self.log.release(2000, True))
        self.assertRegex(self.read("a"), rb"\Arest\n\[queuectl: at least 996 bytes are missing: [^\n]*`tee -a`\]\n\Z")

    def test_one_that_is_empty_then_stays_and_says_so(self):
        os.write(self.descriptor, b"x" * 1000)
        self.log.trim(2000)
        os.truncate(self.path("a"), 0)
        self.assertIsNone(self.log.release(2000, True))
        self.assertIn(b"at least 1000 bytes are missing", self.read("a"))

    def test_one_that_was_trimmed_was_not_emptied(self):
        for _ in range(3):
            os.write(self.descriptor, b"x" * 1000)
            self.log.trim(500)
        self.log.release(500)
        self.assertNotIn(b"missing", self.read("a"))

    def test_one_that_someone_has_removed_is_no_fault(self):
        os.write(self.descriptor, b"x")
        self.log.trim(500)
        os.unlink(self.path("a"))
        self.log.trim(500)
        with open(self.path("a"), "w"):
            pass
        self.log.trim(500)
        os.unlink(self.path("a"))
        self.assertIsNone(self.log.release(500))
