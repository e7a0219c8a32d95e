"""Which logs of a job are kept."""
from __future__ import annotations

import os
import unittest

from core.job_record import job_from_record
from storage.output import log_path, logs_by_stem, logs_of, outdated, remove_outdated_logs, set_aside_logs
from tests.support.home import HomeTest


class TestOutdated(unittest.TestCase):

    def test_which_logs_go(self):
        for number, keep, gone in ((5, 0, []), (5, 5, []), (5, 6, []), (5, 4, [2]), (5, 3, [2, 3]), (5, 2, [2, 3, 4]), (5, 1, [1, 2, 3, 4]),
                                   (1, 1, []), (0, 3, [])):
            with self.subTest(number=number, keep=keep):
                self.assertEqual(outdated(list(range(1, number + 1)), keep), gone)


class OutputTest(HomeTest):

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("logs"))
        self.job = job_from_record({"id": "a", "command": "x", "created_at": "2026-01-01T00:00:00Z"})

    def attempt(self, number, keep):
        with open(log_path(self.home, self.job, number), "w", encoding="utf-8") as file:
            file.write("output")
        remove_outdated_logs(self.home, self.job._replace(attempts=number), keep)

    def kept(self):
        return [(log.life, log.attempt) for log in logs_of(self.home, self.job)]

    def test_of_400_attempts_the_first_and_the_newest_are_kept(self):
        for number in range(1, 401):
            self.attempt(number, 10)
            self.assertLessEqual(len(os.listdir(self.path("logs"))), 10)
        self.assertEqual(self.kept(), [(None, 1)] + [(None, number) for number in range(392, 401)])
        self.attempt(401, 3)  # the setting was changed
        self.assertEqual(self.kept(), [(None, 1), (None, 400), (None, 401)])

    def test_of_all_former_lives_as_many_are_kept(self):
        for life in range(1, 6):
            for number in (1, 2):
                self.attempt(number, 3)
            set_aside_logs(self.home, logs_by_stem(self.home, [self.job]), 3)
            self.assertEqual(self.kept(), [(1, 1), (1, 2)] if life == 1 else [(1, 1), (life, 1), (life, 2)])
