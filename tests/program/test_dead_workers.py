"""What is told of jobs whose worker is dead, and of answers that cannot be printed."""
from __future__ import annotations

import json
import os
import signal
import unittest

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

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full there")
    def test_what_was_done_is_told_where_stdout_cannot_be_written(self):
        env = self.environ()
        env.pop("PYTHONUNBUFFERED", None)
        with open("/dev/full", "w", encoding="utf-8") as full:
            for words, wanted in ((["enqueue", "--id", "a", "--", "true"], "1 job added, but stdout cannot be written: "),
                                  (["enqueue", "-q", "--id", "b", "--", "true"], "1 job added, but stdout cannot be written: "),
                                  (["cancel", "a"], "done, but stdout cannot be written: ")):
                with self.subTest(words):
                    process = self.start(*words, stdout=full, env=env)
                    self.assertIn("queuectl: error: " + wanted, process.communicate(timeout=DEADLINE)[1])
                    self.assertEqual(process.returncode, 1)
        self.assertEqual(self.states(), {"a": "dead", "b": "pending"})

    def test_reset_leaves_no_pause(self):
        self.succeed("pause")
        self.succeed("reset", "--yes")
        self.assertFalse(json.loads(self.succeed("status", "--json"))["paused"])
