"""What tests share that steer jobs."""
from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
import traceback

import main
from tests.support.home import DEADLINE, set_everywhere
from tests.support.workers import WorkerTest

_serials = itertools.count(1)
NAPS = 4


def processes_running(command):
    """The pids of the processes with exactly this command line. A zombie has none."""
    if not os.path.isdir("/proc/self"):
        listed = subprocess.run(["ps", "-A", "-o", "pid=,command="], stdout=subprocess.PIPE, universal_newlines=True).stdout
        rows = [line.strip().partition(" ") for line in listed.splitlines()]
        return [int(pid) for pid, _, line in rows if line.strip() == command]
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as file:
                    line = file.read().replace(b"\0", b" ").strip()
            except OSError:
                continue  # it has just ended
            if line == command.encode("ascii"):
                found.append(int(name))
    return found


class ControlTest(WorkerTest):
    """A worker test whose jobs may sleep for ever: `nap` is a command that does, and that no other test runs."""

    def setUp(self):
        self.nap = "sleep 987.%d%04d" % (os.getpid(), next(_serials))
        self.addCleanup(self._wake_all)  # after the workers, which could start more, are ended
        super().setUp()

    def _wake_all(self):
        for pid in self.naps():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def naps(self):
        """The pids of the naps that are taken now."""
        return processes_running(self.nap)

    def wait_for_naps(self, number):
        """Wait until so many naps are taken."""
        self.wait_for(lambda: len(self.naps()) == number)

    def dlq(self, job_id):
        """The only entry of a job in dlq.json."""
        entry, = [record for record in self.records("dlq.json") if record["id"] == job_id]
        return entry

    def in_child(self, work):
        """Run `work()` in a forked child, its stderr in the file `words-child`; the pid. What it gives back is its exit code."""
        pid = os.fork()
        if pid:
            return pid
        code = 99
        try:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")
            sys.stderr = open(self.path("words-child"), "w", encoding="utf-8")
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def drain_impatiently(self, code=0):
        """What a draining worker says that waits half a second for what it waits ten for otherwise."""
        def work():
            set_everywhere("PATIENCE", 0.5)
            return main.main(["--home", self.home, "worker", "start", "--drain"])

        pid = self.in_child(work)
        ended = []

        def has_ended():
            ended[:] = os.waitpid(pid, os.WNOHANG)
            return ended[0]

        try:
            self.wait_for(has_ended)
        finally:
            if not ended[0]:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        said = self.text("words-child")
        self.assertEqual(ended[1], code << 8, said)
        self.assertNotIn("Traceback", said)
        return said


def spin(seconds):
    """Let a little time pass, more exactly than sleep does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def reap(attempt):
    """End and reap the leader of an attempt's process group, and what is in it, unless that has happened."""
    process = attempt._launch._processes.pop(attempt.pid, None)
    if process is not None:
        if process.poll() is None:
            os.killpg(attempt.pid, signal.SIGKILL)
        process.wait(DEADLINE)
