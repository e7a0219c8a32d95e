"""`status` and `worker list`: what pending jobs wait for, and a worker that waits with one."""
from __future__ import annotations

import json
import signal
import unittest

from tests.support.home import WINDOWS, QueueTest


class StatusTest(QueueTest):

    def status(self):
        """What `status --json` tells."""
        return json.loads(self.succeed("status", "--json"))

    def test_pending_jobs_are_broken_down(self):
        self.add("a", "exit 0")
        self.add("b", "exit 0")
        self.assertNotIn("ready", self.succeed("status"))
        self.add("tomorrow", "exit 0", delay="1d")
        self.add("c", "exit 0", after=["a"])
        told = self.status()
        self.assertEqual([told[name] for name in ("pending", "ready", "retrying", "scheduled", "blocked")], [4, 2, 0, 1, 1])
        self.assertIn("\npending     4\n            2 ready, 1 scheduled, 1 after others\nprocessing", "\n" + self.succeed("status"))

    def test_an_empty_queue_has_none_of_each(self):
        self.assertEqual([self.status()[name] for name in ("ready", "retrying", "scheduled", "blocked", "waiting")], [0, 0, 0, 0, []])

    @unittest.skipIf(WINDOWS, "a worker is stopped by a signal")
    def test_a_worker_that_waits_in_place_with_a_job_says_so_until_it_goes_on(self):
        self.settings(backoff_base=1000, backoff_max=1000)
        self.add("bad", "[ -e mended ]")
        self.add("other", "exit 0")
        worker = self.start_worker()
        self.wait_for(lambda: self.status()["waiting"] == ["bad"])
        self.assertEqual(self.status()["retrying"], 1)
        self.assertRegex(self.succeed("status"), r"(?m)^waiting     bad, retry in 1\dm( \d+s)?: \[ -e mended \]$")
        listed = json.loads(self.succeed("worker", "list", "--json"))
        self.assertEqual([(process["running"], process["waiting"]) for process in listed], [([], ["bad"])])
        self.assertEqual(self.succeed("worker", "list").rstrip("\n").split("\t")[3:], ["-", "bad", "-"])
        self.assertEqual(self.job("other").state, "pending")  # it waits for that worker
        self.succeed("cancel", "bad")
        self.wait_for_state("other", "completed")
        self.wait_for(lambda: '"waits"' not in self.worker_files())
        self.assertEqual(self.status()["waiting"], [])
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    def test_where_workers_take_other_jobs_meanwhile_none_waits(self):
        self.settings(backoff_base=1000, backoff_max=1000, retry_in_place=False)
        self.add("bad", "exit 1")
        self.add("other", "exit 0")
        self.start_worker()
        self.wait_for_state("other", "completed")
        self.assertEqual((self.status()["waiting"], self.status()["retrying"]), ([], 1))
