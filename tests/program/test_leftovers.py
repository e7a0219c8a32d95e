"""Output whose job is gone, and what killed workers left: doctor names it, clean removes it, and nothing else."""
from __future__ import annotations

import json
import os

from tests.support.workers import GATE, WorkerTest

OLD = 1000000000


class TestLeftovers(WorkerTest):
    """A home with the output of three jobs, of which one is dead."""

    def setUp(self):
        super().setUp()
        for job_id in ("a", "b"):
            self.add(job_id, "echo word")
        self.add("dead", "echo word; exit 1", max_retries=0)
        self.drain(code=1)

    def drop(self, *ids):
        """Take jobs out of jobs.json by hand."""
        self.write("jobs.json", json.dumps([record for record in self.records() if record["id"] not in ids]))

    def logs(self):
        """The ids of the jobs whose output is there, and what else there is."""
        return sorted(name.rpartition("-")[0] if name[-5:] == "1.log" else name for name in os.listdir(self.path("logs")))

    def doctor(self):
        return dict(line.split(" ", 1) for line in self.succeed("doctor").splitlines())

    def make_old(self, *names):
        for name in names:
            if not os.path.exists(self.path(*name.split("/"))):
                self.write(os.path.join(*name.split("/")), "")
            os.utime(self.path(*name.split("/")), (OLD, OLD))

    def test_the_output_of_jobs_that_were_taken_out_by_hand_is_named_and_removed(self):
        self.drop("a", "b", "dead")  # dlq.json still has that one
        self.assertRegex(self.doctor()["logs"], r"is sound: 3 logs; left over: 2 files of jobs that are gone \(a-\S+\.1\.log, b-\S+\.1\.log\), which "
                         "'.*clean' removes")
        self.assertEqual(self.succeed("clean", "--older-than", "1h"), "Removed 0 jobs.\n")
        self.assertEqual(self.succeed("clean"), "Removed 0 jobs.\nRemoved 2 files that belonged to no job.\n")
        self.assertEqual(self.logs(), ["dead"])
        self.assertEqual(self.doctor()["logs"], "is sound: 1 logs")

    def test_what_is_not_ours_and_what_has_a_job_stays(self):
        self.write(os.path.join("logs", "mine.log"), "x")
        self.write(os.path.join("logs", "mine.1.log"), "x")  # whose start is "" below
        self.assertEqual(self.doctor()["logs"], "is sound: 5 logs")
        self.assertEqual(self.succeed("clean", "a"), "Removed 1 job.\n")
        self.assertEqual(self.logs(), ["", "b", "dead", "mine.log"])

    def test_while_a_worker_runs_only_what_is_old_is_removed(self):
        self.drop("a", "b")
        self.add("long", GATE)
        self.start_worker()
        self.wait_for_state("long", "processing")
        self.assertEqual(self.succeed("clean"), "Removed 0 jobs.\n")
        self.make_old(*["logs/" + name for name in os.listdir(self.path("logs")) if name.startswith("a-")])
        self.assertEqual(self.succeed("clean"), "Removed 0 jobs.\nRemoved 1 file that belonged to no job.\n")
        self.write("go", "")
        self.wait_for_state("long", "completed")

    def test_what_killed_workers_left_is_named_and_removed(self):
        left = ["run/new-worker-0123456789ab", "run/worker-0123456789ab.stop", "run/worker-0123456789ab.wake", "logs/worker-0123456789ab-0.log"]
        self.make_old(*left)
        self.write(os.path.join("run", "new-worker-ba9876543210"), "")  # of a process that may just be starting
        self.write(os.path.join("run", "worker-mine.txt"), "")
        said = self.doctor()
        self.assertIn("left over: 3 files of killed worker processes (new-worker-0123456789ab, ", said["run"])
        self.assertIn("left over: 1 file of jobs that are gone (worker-0123456789ab-0.log)", said["logs"])
        self.assertEqual(self.succeed("clean"), "Removed 2 jobs.\nRemoved 4 files that belonged to no job.\n")
        self.assertEqual([name for name in left if os.path.exists(self.path(*name.split("/")))], [])
        self.assertEqual(sorted(os.listdir(self.path("run"))), ["lock", "new-worker-ba9876543210", "worker-mine.txt"])

    def test_where_a_job_file_is_broken_nothing_is_removed(self):
        before = self.logs()
        self.write("dlq.json", "[{")
        self.assertIn("logs is sound: 3 logs\n", self.run_program("doctor").stdout)
        self.refuse("clean")
        self.assertEqual(self.logs(), before)
