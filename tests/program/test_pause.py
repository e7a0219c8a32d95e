"""Pauses: no job starts once `pause` has returned, and with --now those that run stand still where they are."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import unittest
from collections import namedtuple

from execution.process_tree import HAS_PROC
from tests.support.control import ControlTest
from tests.support.home import typed

Seen = namedtuple("Seen", "pid state")

TELL_PID = "echo $$ > part-%s; mv part-%s %s; "  # the file is there with its content
COUNT = "i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); echo $i; sleep 0.01; done"


class TestPause(ControlTest):
    """What starts after a pause."""

    def test_no_short_job_starts_once_pause_has_returned(self):
        self.queue.enqueue([{"id": "j%d" % number, "command": "echo . >> ran"} for number in range(3000)], self.home, 0)
        worker = self.worker("--count", "4")
        self.wait_for(lambda: self.queue.store.count()["completed"] > 200)
        self.succeed("pause")
        self.wait_for(lambda: not self.queue.store.running())
        ran = len(self.text("ran").split())
        self.wait_for_looks(worker)
        self.assertEqual(len(self.text("ran").split()), ran)
        self.assertEqual(self.queue.store.count(), dict(pending=3000 - ran, processing=0, completed=ran, dead=0))


@unittest.skipUnless(HAS_PROC or shutil.which("ps"), "nothing tells what a process does: neither /proc nor ps")
class TestStandstill(ControlTest):
    """`pause --now`."""

    def stands_still(self, shell):
        """Whether all of the session of a shell does. A shell that waits for a child by vfork(2), as dash does, shows D (U on a Mac) where
        that child was stopped before its exec."""
        states = [process.state for process in self.session(shell)]
        return "T" in states and set(states) <= set("TDUZ")

    @staticmethod
    def session(leader):
        """The processes of a session, or of a group where there is no /proc, with the letter by which the system says what each does."""
        if not HAS_PROC:
            listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
            rows = [line.split() for line in listed.splitlines()]
            return [Seen(int(pid), state[0]) for pid, group, state in rows if int(group) == leader]
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/stat" % name, encoding="ascii", errors="replace") as file:
                    state, _, _, session = file.read().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == leader:
                found.append(Seen(int(name), state))
        return found

    def wait_until_gone(self, pid):
        """Wait until a process has ended and was reaped."""
        def is_gone():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False

        self.wait_for(is_gone)

    def start_counting(self, **fields):
        """Let a worker run a job that counts in a child of its shell: the pid of the shell."""
        self.add("count", TELL_PID % (("shell",) * 3) + "(%s); echo end" % COUNT, **fields)
        self.worker_process = self.worker()
        self.wait_for_file("shell")
        return int(self.text("shell"))

    def test_the_running_jobs_stand_still_until_the_resume_and_then_go_on(self):
        shell = self.start_counting()
        self.assertIn("Paused: the running jobs stand still", self.succeed("pause", "--now"))
        self.wait_for(lambda: self.stands_still(shell))
        self.assertIn("the running jobs stand still", self.succeed("status"))
        self.assertTrue(json.loads(self.succeed("status", "--json"))["stands_still"])
        counted = self.succeed("logs", "count")
        self.wait_for_looks(self.worker_process)
        self.assertEqual(self.succeed("logs", "count"), counted)
        self.succeed("resume")
        self.wait_for(lambda: not self.stands_still(shell) and self.succeed("logs", "count") != counted)

    def test_a_second_pause_says_what_the_first_one_does(self):
        shell = self.start_counting()
        self.succeed("pause", "--now")
        self.wait_for(lambda: self.stands_still(shell))
        self.assertIn("Paused: the running jobs stand still", self.succeed("pause"))
        self.succeed("cancel", "count")
        self.wait_until_gone(shell)
        self.assertNotIn("stand still", self.succeed("status"))  # none runs
        self.wait_for_looks(self.worker_process)
        self.assertNotIn("go on", self.text(self.worker_process.words))

    def test_a_stop_says_that_it_waits_for_jobs_that_stand_still_and_what_helps(self):
        shell = self.start_counting()
        self.succeed("pause", "--now")
        self.wait_for(lambda: self.stands_still(shell))
        done = self.run_program("worker", "stop", "--timeout", "0.1")
        self.assertEqual(done.returncode, 124)
        self.assertIn("1 job stands still, and the workers wait for it; '%s' lets it go on, '%s' ends it"
                      % (typed("resume"), typed("worker stop --now")), done.stderr)
        self.wait_for(lambda: "stopping, but the running jobs stand still: '%s' lets them go on to their end" % typed("resume")
                      in self.text(self.worker_process.words))
        self.succeed("cancel", "count")
        self.assertEqual(self.run_program("worker", "stop").stderr, "")

    def test_its_time_limit_does_not_run_meanwhile(self):
        shell = self.start_counting(timeout=1.5, max_retries=0)
        self.succeed("pause", "--now")
        self.wait_for(lambda: self.stands_still(shell))
        time.sleep(2)
        self.assertEqual(self.job("count").state, "processing")
        self.succeed("resume")
        self.wait_for_state("count", "dead")
        self.assertEqual(self.job("count").reason, "timeout")

    def test_what_stands_still_is_ended_by_cancel_by_a_stop_and_after_the_death_of_its_worker(self):
        self.settings(kill_grace=30)
        for end in ("cancel", "stop", "death"):
            with self.subTest(end=end):
                self.succeed("resume")
                self.add(end, TELL_PID % ((end,) * 3) + COUNT)
                worker = self.worker()
                self.wait_for_file(end)
                shell = int(self.text(end))
                self.succeed("pause", "--now")
                self.wait_for(lambda: self.stands_still(shell))
                if end == "cancel":
                    self.succeed("cancel", end)
                    self.wait_until_gone(shell)
                    worker.send_signal(signal.SIGTERM)
                elif end == "stop":
                    self.succeed("worker", "stop", "--now")
                    self.succeed("cancel", end)
                else:
                    self.kill(worker)
                    self.worker()
                self.wait_until_gone(shell)
