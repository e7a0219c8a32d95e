"""What is told of jobs whose worker is dead, and of answers that cannot be printed."""
from __future__ import annotations

import json
import signal

from tests.support.home import DEADLINE
from tests.support.workers import GATE, WorkerTest


class TestDeadWorkers(WorkerTest):
    """status, worker list and cancel after a worker process was killed."""

    def kill_one(self):
        """A job runs, and its worker process dies."""
        self.add("x", GATE)
        worker = self.start_worker()
        self.wait_for_state("x", "processing")
        worker.send_signal(signal.SIGKILL)
        worker.wait(DEADLINE)

    def tearDown(self):
        self.write("go", "")
        super().tearDown()

    def test_a_job_whose_worker_is_dead_does_not_run(self):
        self.kill_one()
        said = self.succeed("status")
        self.assertNotIn("running ", said)
        self.assertRegex(said, "abandoned   x, its worker is dead; the next worker to start runs it again: ")
        self.assertEqual(json.loads(self.succeed("status", "--json"))["abandoned"], ["x"])
        self.assertIn("queuectl: the worker of 'x' is dead; the next worker to start ends what is left of it and runs it again\n",
                      self.run_program("worker", "list").stderr)
        self.assertEqual(self.succeed("cancel", "x"),
                         "Job 'x' cancelled; its worker is dead: the next worker to start ends what is left of it.\n")

    def test_a_job_whose_worker_is_alive_runs(self):
        self.add("x", GATE)
        worker = self.start_worker()
        self.wait_for_state("x", "processing")
        self.assertRegex(self.succeed("status"), "running     x, for [0-9]+s: ")
        self.assertEqual(json.loads(self.succeed("status", "--json"))["abandoned"], [])
        self.assertNotIn("dead", self.succeed("worker", "list"))
        self.write("go", "")
        self.wait_for_state("x", "completed")
        worker.terminate()
        worker.wait(DEADLINE)

    def test_reset_leaves_no_pause(self):
        self.succeed("pause")
        self.succeed("reset", "--yes")
        self.assertFalse(json.loads(self.succeed("status", "--json"))["paused"])
