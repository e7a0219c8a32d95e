"""Jobs on a Slurm of three nodes, which run.sh has set up: each runs once, and none is left there, however its attempt ends."""
from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import unittest

from core.job import COMPLETED, DEAD, PENDING, PROCESSING, TIMEOUT
from tests.support.control import ControlTest
from tests.support.home import ROOT

PLAIN = "srun -n1 --quiet"


def slurm(*words):
    """What a command of Slurm prints."""
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True, check=True, timeout=60).stdout


def parents():
    """pid: the pid of its parent, for all processes."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as file:
                    found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    return found


@unittest.skipUnless(os.environ.get("ENGINE"), "tests/engine/run.sh sets up what this needs")
class TestSlurm(ControlTest):
    """A worker whose jobs run in Slurm, by srun itself or by runners/on-slurm."""

    def setUp(self):
        self.addCleanup(slurm, "scancel", "--user", str(os.getuid()))  # last, when no worker starts more
        super().setUp()
        self.settings(max_retries=0)
        self.on_slurm = os.path.join(ROOT, "runners", "on-slurm")

    def wait_for_nothing(self):
        """Wait until nothing of ours is left in Slurm, nor on its nodes."""
        self.wait_for(lambda: not slurm("squeue", "-h").strip() and not self.naps())

    def test_500_jobs_run_once_each_on_all_nodes_with_their_own_output_and_exit_code(self):
        command = 'echo "$QUEUECTL_JOB_ID" >> ran; echo "$QUEUECTL_JOB_ID on $SLURMD_NODENAME"; exit %d'
        jobs = [{"id": "j%d" % number, "command": command % (7 if number % 10 == 3 else 0)} for number in range(500)]
        self.queue.enqueue(jobs, self.home, 0)
        done = self.run_program("worker", "start", "--drain", "--count", "5", "--runner", PLAIN, timeout=150)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(sorted(self.text("ran").split()), sorted(job["id"] for job in jobs))
        nodes = collections.Counter()
        for number in range(500):
            job = self.job("j%d" % number)
            expected = (DEAD, 7) if number % 10 == 3 else (COMPLETED, 0)
            self.assertEqual((job.state, job.exit_code, job.attempts), expected + (1,), job.id)
        for name in os.listdir(self.path("logs")):
            lines = self.text(os.path.join("logs", name)).splitlines()  # of a job that fails, srun says so besides
            said, = [line for line in lines if not line.startswith("srun: error: ")]
            self.assertTrue(name.startswith(said.split()[0] + "-"), lines)
            nodes[said.split()[2]] += 1
        self.assertEqual((sorted(nodes), sum(nodes.values())), (["n1", "n2", "n3"], 500))
        self.assertGreater(min(nodes.values()), 20, nodes)
        self.wait_for_nothing()

    def test_jobs_of_a_node_that_dies_run_again_on_another_one_and_none_is_lost(self):
        self.settings(max_retries=5, backoff_base=2, retry_in_place=False)
        self.addCleanup(self.revive, "n2")
        for number in range(12):
            self.add("j%d" % number, 'echo "$SLURMD_NODENAME" >> "on-$QUEUECTL_JOB_ID"; while [ ! -e go ]; do sleep 0.05; done; '
                     'echo "$QUEUECTL_JOB_ID" >> ended')
        worker = self.worker("--drain", "--count", "6", "--runner", self.on_slurm)
        self.wait_for(lambda: sum(bool(self.text("on-j%d" % number)) for number in range(12)) == 6)
        hit = ["j%d" % number for number in range(12) if self.text("on-j%d" % number) == "n2\n"]
        self.assertEqual(len(hit), 2)
        self.kill_node("n2")
        self.write("go", "")
        self.assertEqual(worker.wait(120), 0, self.text(worker.words))
        self.assertEqual(sorted(self.text("ended").split()), sorted("j%d" % number for number in range(12)))
        for job_id in hit:
            self.assertGreater(self.job(job_id).attempts, 1)
            self.assertNotEqual(self.text("on-" + job_id).split()[-1], "n2")
        self.wait_for_nothing()

    def kill_node(self, node):
        """SIGKILL to a node's slurmd, and to its steps with all that they run."""
        with open(os.path.join(os.environ["ENGINE"], "run", "slurmd.%s.pid" % node), encoding="ascii") as file:
            doomed = [int(file.read())]
        steps = ["slurmstepd: [%s." % job_id for job_id in slurm("squeue", "-h", "-w", node, "-o", "%i").split()]
        tree = parents()
        for pid in tree:
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as file:
                    line = file.read().decode("utf-8", "replace")
            except OSError:
                continue
            if line.startswith(tuple(steps)):
                doomed.append(pid)
        self.assertGreater(len(doomed), len(steps))
        while True:
            more = [pid for pid, parent in tree.items() if parent in doomed and pid not in doomed]
            if not more:
                break
            doomed += more
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # a nap of a command's

    def revive(self, node):
        """Start a node again, with nothing left to run."""
        self.kill_workers()
        slurm("scancel", "--user", str(os.getuid()))
        subprocess.run(["slurmd", "-f", os.environ["SLURM_CONF"], "-N", node], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True, timeout=60)
        self.wait_for(lambda: slurm("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "3")

    def runners(self):
        """The ways to run a job: (a runner, a name for it)."""
        return (PLAIN, "srun"), (self.on_slurm, "on-slurm")

    def test_a_time_out_leaves_nothing_running(self):
        for runner, name in self.runners():
            with self.subTest(name):
                self.add(name, self.nap, timeout=2)
                self.drain("--runner", runner, code=1)
                self.assertEqual((self.job(name).reason, self.job(name).exit_code), (TIMEOUT, None))
                self.wait_for_nothing()

    def test_cancel_leaves_nothing_running_and_nothing_waiting_for_a_node(self):
        for runner, name in self.runners():
            with self.subTest(name):
                for number in range(8):  # two more than there are processors
                    self.add("%s-%d" % (name, number), self.nap)
                self.worker("--count", "8", "--runner", runner)
                self.wait_for_naps(6)
                self.wait_for(lambda: len(slurm("squeue", "-h").splitlines()) == 8)
                self.succeed("cancel", *["%s-%d" % (name, number) for number in range(8)])
                self.wait_for_nothing()
                self.assertEqual(self.succeed("worker", "stop"), "Stopped 1 worker process.\n")
                self.wait_for_nothing()

    def test_stop_now_leaves_nothing_running(self):
        for runner, name in self.runners():
            with self.subTest(name):
                for number in range(8):
                    self.add("%s-%d" % (name, number), self.nap)
                worker = self.worker("--count", "8", "--runner", runner)
                self.wait_for_naps(6)
                self.succeed("worker", "stop", "--now")
                self.assertEqual(worker.wait(60), 0)
                states = [(job.state, job.attempts) for job in self.queue.jobs()]
                self.assertEqual(states, [(PENDING, 0)] * 8)
                self.queue.reset()
                self.wait_for_nothing()

    def test_a_killed_worker_is_followed_by_one_that_ends_what_it_left_and_runs_it_again(self):
        self.settings(max_retries=3)
        for runner, name in self.runners():
            with self.subTest(name):
                self.add(name, '[ "$QUEUECTL_ATTEMPT" = 2 ] || ' + self.nap)
                worker = self.worker("--runner", runner)
                self.wait_for_naps(1)
                worker.kill()
                worker.wait()
                self.assertEqual((len(self.naps()), self.job(name).state), (1, PROCESSING))
                self.drain("--runner", runner)
                self.assertEqual((self.job(name).state, self.job(name).attempts), (COMPLETED, 2))
                self.wait_for_nothing()

    def test_200_jobs_wait_for_a_node_under_one_worker_process(self):
        for number in range(200):
            self.add("j%d" % number, self.nap)
        worker = self.worker("--count", "200", "--runner", PLAIN)
        self.wait_for(lambda: len(slurm("squeue", "-h").splitlines()) == 200)
        with open("/proc/%d/status" % worker.pid, encoding="ascii", errors="replace") as file:
            resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
        self.assertLess(resident, 60 * 1024)
        self.assertEqual(json.loads(self.succeed("status", "--json"))["processing"], 200)
        self.succeed("worker", "stop", "--now")
        self.wait_for_nothing()
