"""Tests of the worker files and the two kinds of token."""
from __future__ import annotations

import os

import unittest

from execution import worker_files
from tests.support.home import HomeTest
from tests.support.jobs import a_job


class TestTokens(unittest.TestCase):
    """An attempt token begins with that of its process."""

    def test_an_attempt_token_is_taken_apart_into_what_it_was_made_of(self):
        process_token = worker_files.new_process_token()
        self.assertEqual(worker_files.split_attempt_token(worker_files.attempt_token(process_token, 17)), (process_token, 17))

    def test_what_a_hand_has_written_is_no_attempt_of_any_process(self):
        for token, parts in ((None, ("", None)), ("", ("", None)), ("me", ("", None)), ("a-b", ("a", None)), ("a-b-1", ("a-b", 1)),
                             ("a-\u00b2", ("a", None)), ("a-" + "9" * 5000, ("a", None))):
            with self.subTest(token=token and token[:9]):
                self.assertEqual(worker_files.split_attempt_token(token), parts)


class TestGivenToken(HomeTest):
    """The token that the environment gives to a process in the background."""

    def test_a_token_in_the_environment_that_is_none_or_taken_is_not_used(self):
        folder = self.path("run")
        file = worker_files.WorkerFile(folder, 1)
        self.addCleanup(file.remove)
        for token in ("", "x", "../../../../x", "é" * 12, file.process_token):
            self.assertIsNone(worker_files.given_process_token({"QUEUECTL_TOKEN": token}, folder))
        self.assertEqual(worker_files.given_process_token({"QUEUECTL_TOKEN": "0123456789ab"}, folder), "0123456789ab")


class TestWaits(HomeTest):
    """The job whose retry a thread waits for."""

    def test_it_is_read_back_and_is_nothing_that_runs(self):
        folder, job = self.path("run"), a_job(attempts=1)._replace(place=4711)
        file = worker_files.WorkerFile(folder, 2)
        self.addCleanup(file.remove)
        file.note(1, waits=job)
        process = worker_files.all_workers(folder)[0]
        self.assertEqual((process.waits, process.running), (((4711, job.digest),), [None, None]))
        file.note(1)
        self.assertEqual(worker_files.all_workers(folder)[0].waits, ())

    def test_what_a_hand_has_written_there_is_none(self):
        for waits in ([], [1], ["x", 1], [1, 2], [True, "x"], [1, "x", 3], None, {}):
            with self.subTest(waits=waits):
                self.assertEqual(worker_files._read_waits([{"waits": waits}, None, 5]), ())
class TestManyWorkers(HomeTest):
    """The file of a process with very many workers."""

    def test_it_is_read_whole(self):
        folder = self.path("run")
        os.mkdir(folder)
        file = worker_files.WorkerFile(folder, 20000)
        self.addCleanup(file.remove)
        worker, = worker_files.live_workers(folder)
        self.assertEqual((worker.pid, worker.count), (os.getpid(), 20000))
