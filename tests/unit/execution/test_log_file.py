"""Tests of the log of an attempt that stayed empty, and of what becomes of it."""
from __future__ import annotations

import os
import unittest
from unittest import mock

from core.locks import is_held, try_lock, unlock
from execution import log_file
from execution.log_file import EmptyLogs, LogFile
from tests.support.home import WINDOWS, HomeTest


@unittest.skipIf(WINDOWS, "an open file gets no other name there")
class EmptyLogsTest(HomeTest):
    """An empty log serves a later attempt."""

    def setUp(self):
        super().setUp()
        self.empties = EmptyLogs()

    def attempt(self, name, text=b"", keep=True):
        """Be an attempt that writes a text into a log of that name."""
        log = LogFile(self.path(name), sleep=lambda seconds: None)
        descriptor = log.begin(self.empties)
        os.write(descriptor, text)
        os.close(descriptor)
        log.release(None, self.empties if keep else None)

    def held(self, name):
        """Be an attempt that leaves a process behind: the descriptor of its log."""
        log = LogFile(self.path(name), sleep=lambda seconds: None)
        descriptor = log.begin()
        self.addCleanup(os.close, descriptor)
        log.release(None, self.empties)
        return descriptor

    def logs(self):
        return sorted(os.listdir(self.home))

    def test_it_gets_the_name_of_the_next_attempt_and_is_held_by_its_command(self):
        self.attempt("a")
        log = LogFile(self.path("b"))
        descriptor = log.begin(self.empties)
        self.addCleanup(os.close, descriptor)
        self.assertEqual(self.logs(), ["b"])
        os.write(descriptor, b"said")
        self.assertTrue(is_held(self.path("b")))
        self.assertEqual(self.read("b"), b"said")

    def test_one_that_holds_something_or_is_not_wanted_serves_no_other(self):
        self.attempt("a", text=b"said")
        self.attempt("b", keep=False)
        self.assertEqual(self.logs(), ["a"])
        self.assertIsNone(self.empties.take(self.path("next")))

    def test_one_that_is_held_serves_no_other_until_it_is_free(self):
        descriptor = self.held("a")
        self.assertIsNone(self.empties.take(self.path("next")))
        self.attempt("b", b"said")
        self.assertEqual(self.logs(), ["a", "b"])
        unlock(descriptor)
        self.attempt("c", b"said")
        self.assertEqual(self.logs(), ["b", "c"])

    def test_one_that_is_free_is_taken_while_another_is_held(self):
        self.held("a")
        LogFile(self.path("b")).release()
        self.attempt("b")
        self.attempt("c", b"said")
        self.assertEqual(self.logs(), ["a", "c"])

    def test_output_that_came_behind_the_end_of_its_attempt_stays_in_its_log(self):
        descriptor = self.held("a")
        os.write(descriptor, b"late")  # by a process that the command has left behind
        unlock(descriptor)
        self.attempt("b", b"said")
        self.assertEqual((self.read("a"), self.read("b")), (b"late", b"said"))

    def test_one_that_someone_has_removed_is_replaced_by_a_new_one(self):
        self.attempt("a")
        os.unlink(self.path("a"))
        self.attempt("b", b"said")
        self.assertEqual(self.read("b"), b"said")

    def test_one_that_someone_looks_at_while_it_is_made_is_held_by_its_command_nevertheless(self):
        def lock_behind_a_look(descriptor):
            if not looks:
                looks.append(open(self.path("a"), "rb"))
                self.assertTrue(try_lock(looks[0].fileno()))
            return try_lock(descriptor)

        looks = []
        with mock.patch.object(log_file, "try_lock", lock_behind_a_look):
            descriptor = LogFile(self.path("a"), sleep=lambda seconds: looks[0].close()).begin()
        self.addCleanup(os.close, descriptor)
        looks[0].close()
        self.assertTrue(is_held(self.path("a")))

    def test_no_more_than_a_few_are_kept(self):
        for name in "abcdef":
            log = LogFile(self.path(name))
            os.close(log.begin())
            log.release(None, self.empties)
        self.assertEqual(self.logs(), ["c", "d", "e", "f"])

    def test_those_that_no_attempt_follows_are_removed_but_for_one_that_holds_something_or_is_held(self):
        self.attempt("a")
        os.write(self.held("b"), b"late")
        self.held("c")
        self.empties.discard()
        self.assertEqual(self.logs(), ["b", "c"])
        self.assertIsNone(self.empties.take(self.path("next")))


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
        self.log.release(2000, EmptyLogs())
        self.assertRegex(self.read("a"), rb"\Arest\n\[queuectl: at least 996 bytes are missing: [^\n]*`tee -a`\]\n\Z")

    def test_one_that_is_empty_then_stays_and_says_so(self):
        os.write(self.descriptor, b"x" * 1000)
        self.log.trim(2000)
        os.truncate(self.path("a"), 0)
        self.log.release(2000, EmptyLogs())
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
