"""Clocks that jump while a retry waits, and processes that stand still while they hold the lock."""
from __future__ import annotations

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

from core.job import FAILED, PENDING, Outcome
from tests.support.home import DEADLINE, MAIN, ROOT, HomeTest, set_everywhere
from tests.support.workers import GATE, WorkerTest

DAY = 86400
START = 1700000000.0
# The library that gives a running process another time; Debian's package is faketime.
FAKETIME = (glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + glob.glob("/usr/lib*/faketime/libfaketimeMT.so.1") + [""])[0]


class TestJumps(HomeTest):
    """The queue with a clock of the test's own."""

    def setUp(self):
        super().setUp()
        self.addCleanup(set_everywhere("_SETTLED", 0))  # nobody else writes here

    def waits(self, jump, after, **settings):
        """How many seconds a failed job waits, looked for each half second, if the clock jumps by `jump` seconds `after` so many."""
        for name in ("jobs.json", "dlq.json"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        manager = self.manager(fsync=False, **settings)
        manager.enqueue([{"id": "a", "command": "false"}], "/", START)
        manager.record(manager.claim("worker-0", START), Outcome(1, FAILED), START)
        for half in range(1, 20000):
            elapsed = half / 2
            now = START + elapsed + (jump if elapsed >= after else 0)
            due = manager.next_due()
            if manager.claim("worker-%d" % half, now) is not None:
                return elapsed
            if elapsed > after:
                self.assertLessEqual(due - now, settings.get("backoff_base", 8) + 2)  # what the worker sleeps at the most
        return None

    def test_without_a_jump_it_waits_for_its_backoff(self):
        self.assertEqual(self.waits(0, 0, backoff_base=8), 8)

    def test_a_clock_that_jumps_on_ends_the_wait(self):
        for jump, after in ((30 * DAY, 1), (30 * DAY, 7.5), (3600, 3), (8, 3)):
            with self.subTest(jump=jump, after=after):
                self.assertEqual(self.waits(jump, after, backoff_base=8), after)

    def test_a_clock_that_jumps_a_little_on_shortens_the_wait_by_as_much(self):
        self.assertEqual(self.waits(3, 2, backoff_base=8), 5)

    def test_a_clock_that_is_set_back_by_more_than_the_backoff_ends_the_wait(self):
        for jump, after in ((-DAY, 1), (-DAY, 7.5), (-30 * DAY, 3), (-3600, 3), (-10, 7.5)):
            with self.subTest(jump=jump, after=after):
                self.assertEqual(self.waits(jump, after, backoff_base=8), after)

    def test_after_a_clock_is_set_back_no_wait_is_longer_than_the_backoff(self):
        for jump in (-0.5, -1, -1.5, -3, -8, -9, -9.5):
            for after in (1, 4, 7.5):
                with self.subTest(jump=jump, after=after):
                    waited = self.waits(jump, after, backoff_base=8)
                    self.assertLessEqual(waited - after, 8 + 1)
                    self.assertGreaterEqual(waited, min(after, 8))

    def test_the_cap_of_the_backoff_counts_too(self):
        self.assertEqual(self.waits(-DAY, 5, backoff_base=1000000, backoff_max=20), 5)
        self.assertEqual(self.waits(0, 0, backoff_base=1000000, backoff_max=20), 20)

    def test_a_process_that_starts_after_the_jump_knows_it_too(self):
        for jump in (30 * DAY, -DAY):
            with self.subTest(jump=jump):
                manager = self.manager(fsync=False, backoff_base=1000)
                manager.enqueue([{"id": "a", "command": "false"}], "/", START)
                manager.record(manager.claim("worker-0", START), Outcome(1, FAILED), START)
                self.assertIsNone(self.manager(fsync=False, backoff_base=1000).claim("worker-1", START + 10))
                self.assertEqual(self.manager(fsync=False, backoff_base=1000).claim("worker-2", START + jump).id, "a")
                manager.reset()

    def test_a_job_for_a_certain_time_is_not_taken_earlier_because_the_clock_was_set_back(self):
        manager = self.manager(fsync=False)
        manager.enqueue([{"id": "a", "command": "true", "delay": 100}], "/", START)
        for now in (START, START + 99, START - DAY, START - 30 * DAY, START + 99.5):
            self.assertIsNone(manager.claim("worker-1", now))
        self.assertEqual(manager.claim("worker-2", START + 100).id, "a")

    def test_jobs_added_after_the_clock_was_set_back_stay_behind_the_others_and_are_told_apart(self):
        manager = self.manager(fsync=False)
        for number, now in enumerate((START, START + 30 * DAY, START, START - DAY, START)):
            manager.enqueue([{"id": "a", "command": "true"}] * 2, "/", now)
            created = [job.created_at for job in manager.jobs()]
            self.assertEqual((created, len(set(created))), (sorted(created), 2 * number + 2))
        self.assertEqual([manager.claim("worker-%d" % number, START).created_at for number in range(10)], created)


def _forget_shared_clock(pid):
    """Remove what libfaketime leaves of a process that ends without the C library's exit(3)."""
    for path in glob.glob("/dev/shm/*faketime_*_%d" % pid):
        os.unlink(path)


@unittest.skipUnless(FAKETIME, "needs libfaketime (Debian: apt-get install faketime)")
class TestWorkerClock(WorkerTest):
    """A real worker whose clock is set while a retry waits and a job with a time limit runs."""

    def set_clock(self, offset):
        """Let the worker's clock be so far from ours."""
        self.write("clock.new", offset + "\n")
        os.replace(self.path("clock.new"), self.path("clock"))

    @unittest.skipIf(not hasattr(os, "waitid") and sys.version_info >= (3, 11),
                     "libfaketime breaks clock_nanosleep(2), by which time.sleep waits, and that is how a command is waited for without waitid")
    def test_the_retry_runs_in_time_and_the_running_job_goes_on(self):
        for offset in ("+30d", "-1d"):
            for in_place in (True, False):
                with self.subTest(offset=offset, in_place=in_place):
                    self.settings(backoff_base=1000, retry_in_place=in_place)
                    self.set_clock("+0")
                    worker = self.worker("--count", "2", env=self.environ(
                        LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=self.path("clock"), FAKETIME_NO_CACHE="1", NO_FAKE_STAT="1",
                        FAKETIME_DONT_FAKE_MONOTONIC="1"))
                    self.addCleanup(_forget_shared_clock, worker.pid)
                    self.add("running", GATE, timeout=3600)
                    self.add("bad", '[ "$QUEUECTL_ATTEMPT" = 2 ]')
                    self.wait_for_file("here-running")
                    self.wait_for(lambda: "again in 1000 s" in self.text(worker.words))
                    self.set_clock(offset)
                    self.assertEqual(self.wait_for_state("bad", "completed").attempts, 2)
                    self.assertEqual(self.job("running").state, "processing")
                    self.write("go", "")
                    self.assertEqual(self.wait_for_state("running", "completed").attempts, 1)
                    self.stop(worker)
                    self.queue.reset()
                    for name in ("go", "here-running"):
                        os.unlink(self.path(name))


@unittest.skipUnless(shutil.which("strace") and sys.platform.startswith("linux"), "needs strace")
class TestTimedWaits(WorkerTest):
    """Waits as the kernel sees them: one until a time of the wall clock lasts for a day more if that is set back by a day."""

    def test_a_worker_that_waits_for_a_retry_waits_by_no_wall_clock(self):
        self.settings(backoff_base=2)
        self.add("bad", '[ "$QUEUECTL_ATTEMPT" = 2 ]')
        self.add("next", "exit 0")
        done = subprocess.run(["strace", "-f", "-qq", "-o", self.path("trace"), "-e", "trace=futex,clock_nanosleep", sys.executable, MAIN,
                               "worker", "start", "--drain"], env=self.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=DEADLINE)
        if done.returncode and "ptrace" in done.stderr:
            self.skipTest("strace is not allowed here")
        self.assertIn("again in 2 s", done.stderr)
        self.assertEqual(re.findall(r".*CLOCK_REALTIME.*tv_sec=[1-9].*", self.text("trace")), [])


@unittest.skipUnless(hasattr(signal, "SIGSTOP"), "needs SIGSTOP")
class TestStandingStill(WorkerTest):
    """Processes that are stopped by SIGSTOP, as a debugger, a full terminal or a sleeping laptop does."""

    def stop_inside_the_lock(self):
        """A process of the program that stands still while it holds the lock: a Popen."""
        program = ("import os, signal, sys; from core.settings import DEFAULTS; from storage.store import Store\n"
                   "store = Store(sys.argv[1], DEFAULTS, print)\n"
                   "with store.lock:\n"
                   "    os.kill(os.getpid(), signal.SIGSTOP)\n")
        process = subprocess.Popen([sys.executable, "-c", program, self.home], cwd=ROOT, stdin=subprocess.DEVNULL)
        self._processes.append(process)
        self.assertTrue(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]))
        return process

    def test_others_wait_for_the_lock_say_so_once_and_go_on_when_it_goes_on(self):
        holder = self.stop_inside_the_lock()
        commands = (["enqueue", "--id", "new", "--", "true"], ["status"], ["list"], ["worker", "start", "--drain"])
        waiting = []
        for number, words in enumerate(commands):
            with open(self.path("said-%d" % number), "wb") as file:
                waiting.append(self.start(*words, stderr=file))
        names = ["said-%d" % number for number in range(len(commands))]
        for name in names:
            self.wait_for(lambda: "\n" in self.text(name))
        self.assertEqual([process.poll() for process in waiting], [None] * 4)
        holder.send_signal(signal.SIGCONT)
        self.assertEqual([process.wait(DEADLINE) for process in waiting], [0] * 4)
        self.assertIn("added", waiting[0].stdout.read())
        for name in names:
            said = [line for line in self.text(name).splitlines() if "waiting for" in line]
            self.assertEqual((len(said), self.path("run", "lock") in said[0]), (1, True), self.text(name))
        self.assertEqual([self.text(name).count("\n") for name in names[:3]], [1] * 3)
        self.assertEqual([job.id for job in self.queue.jobs()], ["new"])

    def test_a_worker_that_stands_still_is_alive_and_keeps_its_job(self):
        self.add("held", GATE)
        stopped = self.worker()
        self.wait_for_file("here-held")
        stopped.send_signal(signal.SIGSTOP)
        other = self.worker()
        self.add("next", "exit 0")
        self.wait_for_state("next", "completed")
        self.drained_by_another()
        self.assertEqual((self.job("held").state, self.job("held").attempts), ("processing", 1))
        self.write("go", "")
        stopped.send_signal(signal.SIGCONT)
        self.assertEqual(self.wait_for_state("held", "completed").attempts, 1)
        self.stop(stopped, other)

    def drained_by_another(self):
        """Let one more worker process look at everything: it must find that there is nothing to bring back."""
        self.add("last", "exit 0")
        self.wait_for(lambda: all(job.state != PENDING for job in self.queue.jobs()))
        self.assertNotIn("held: its worker", "".join(self.text(name) for name in os.listdir(self.home) if name.startswith("words-")))


if __name__ == "__main__":
    unittest.main()
