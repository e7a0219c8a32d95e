"""run/worker.log is kept short."""
from __future__ import annotations

import os
import sys

from execution import worker_log
from storage.file_lock import FileLock
from tests.support.home import HomeTest


class WorkerLogTest(HomeTest):

    def setUp(self):
        super().setUp()
        self.lock = FileLock(self.path("lock"))
        self.log = self.path("worker.log")
        self.addCleanup(setattr, worker_log, "_MOST", worker_log._MOST)
        worker_log._MOST = 1000
        self.addCleanup(setattr, sys, "stderr", sys.stderr)
        sys.stderr = open(self.log, "a", encoding="utf-8")  # noqa: SIM115
        self.addCleanup(sys.stderr.close)

    def say(self, text):
        sys.stderr.write(text)
        sys.stderr.flush()

    def content(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def shorten(self):
        worker_log.shorten_worker_log(self.log, self.lock)

    def test_long_log_begins_anew_and_the_former_one_stays_once(self):
        for number in range(3):
            self.say("%d" % number * 1001)
            self.shorten()
            self.say("next")
            self.assertEqual((self.content("worker.log"), self.content("worker.log.1")[-1001:]), ("next", "%d" % number * 1001))
        self.assertEqual(sorted(name for name in os.listdir(self.home) if name.startswith("worker")), ["worker.log", "worker.log.1"])

    def test_short_log_and_that_of_others_stay(self):
        self.say("x" * 1000)
        self.shorten()
        self.assertEqual(self.content("worker.log"), "x" * 1000)
        self.say("x")
        stream, sys.stderr = sys.stderr, sys.__stderr__
        self.shorten()
        sys.stderr = stream
        self.assertEqual(len(self.content("worker.log")), 1001)
        self.assertNotIn("worker.log.1", os.listdir(self.home))

    def test_no_log_is_no_fault(self):
        os.unlink(self.log)
        self.shorten()
        stream, sys.stderr = sys.stderr, None
        self.shorten()
        sys.stderr = stream
