"""Tests of what becomes of the jobs of a dead worker process."""
from __future__ import annotations

import os
import time
import unittest

from core.errors import QueueError
from execution import recovery, worker_files
from storage import output
from tests.support.home import QueueTest


class TestRecovery(QueueTest):
    """What a worker process knows of others."""

    def test_worker_files_that_cannot_be_looked_at_are_told_as_such(self):
        self.write("run", "no folder")
        looks = recovery.Recovery(self.home, self.queue, None, None, None)
        with self.assertRaisesRegex(QueueError, "^cannot see what other workers run: .*run"):
            looks.noted()


@unittest.skipIf(os.name == "nt", "looks for process groups")
class TestDeadWorker(QueueTest):
    """What a dead process with two threads left."""

    def dead_worker(self, running, done=frozenset()):
        """Two jobs that a dead process with two threads had claimed, and noted that they ran in these; what looks after them."""
        for token in ("abc-1", "abc-2"):
            self.add(token, "exit 0")
            self.queue.claim(token, time.time())
        os.mkdir(self.path("logs"))
        slots = [token and {"worker": token, "group": 999999999, "job": "0"} for token in running]
        process = worker_files.WorkerProcess("abc", 999999999, 2, "", slots, self.path("run", "worker-abc.json"), None, done)
        return recovery.DeadWorker(None, process, self.home)

    def test_of_what_a_dead_worker_had_claimed_only_what_it_had_noted_to_run_counts_as_lost(self):
        dead = self.dead_worker([None, "abc-2"])
        self.write(os.path.relpath(output.log_path(self.home, self.queue.find("abc-1")[0], 1), self.home), "it has ended")
        self.wait_for(lambda: dead.step(self.queue))
        self.assertEqual([(job.state, job.attempts, job.reason) for job in self.queue.jobs()],
                         [("pending", 0, None), ("pending", 1, "lost")])

    def test_what_it_had_noted_as_completed_is_completed_and_runs_no_more(self):
        dead = self.dead_worker([None, None], done=frozenset([2]))
        self.wait_for(lambda: dead.step(self.queue))
        self.assertEqual([(job.state, job.attempts) for job in self.queue.jobs()], [("pending", 0), ("completed", 1)])
