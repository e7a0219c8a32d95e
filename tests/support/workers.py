"""What tests of workers share."""
from __future__ import annotations

import os
import signal
import subprocess
import unittest

from execution import worker_files
from execution.process_tree import HAS_PROC
from tests.support.home import DEADLINE, QueueTest

# Runs until the file go-ID (or go) appears. It ends with the home too, lest a test that failed leaves it behind.
GATE = ('touch "here-$QUEUECTL_JOB_ID"; while [ -d "$QUEUECTL_HOME" ] && [ ! -e go ] && [ ! -e "go-$QUEUECTL_JOB_ID" ];'
        " do sleep 0.05; done")
# Ends well once so many jobs of its kind are there at the same time.
MEETING = ('touch "here-$QUEUECTL_JOB_ID"; tries=0; while [ "$(ls | grep -c ^here-)" -lt %d ];'
           " do tries=$((tries+1)); [ $tries -lt 1200 ] || exit 1; sleep 0.05; done")
# The first attempt goes on for ever, with a child, and both do not care about TERM if that is said; the second one looks for survivors.
FOR_EVER = """\
[ "$1" = stubborn ] && trap "" TERM
if [ "$QUEUECTL_ATTEMPT" = 1 ]; then
    while [ -d "$QUEUECTL_HOME" ]; do sleep 0.05; done &
    echo "$$ $!" > pids.new
    mv pids.new pids
    while [ -d "$QUEUECTL_HOME" ]; do sleep 0.05; done
fi
for pid in $(cat pids); do
    if kill -0 "$pid" 2>/dev/null && ! grep -qs ") Z" "/proc/$pid/stat"; then echo "$pid" >> survivors; fi
done
"""

# What a system without /proc cannot do, and a Mac has none.
SEES_STRAYS = unittest.skipUnless(HAS_PROC, "without /proc nobody sees what has left the group of an attempt, nor ends it")
KNOWS_GROUPS = unittest.skipUnless(HAS_PROC, "without /proc an attempt is waited for and not ended whose worker died before it noted its group, "
                                   "or whose worker file was deleted")


def is_alive(pid):
    """Whether a process runs. A zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if not HAS_PROC:
        told = subprocess.run(["ps", "-o", "stat=", "-p", "%d" % pid], stdout=subprocess.PIPE, check=False).stdout.strip()
        return told[:1] not in (b"", b"Z")
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False  # gone meanwhile


@unittest.skipIf(os.name == "nt", "the jobs are written for sh, and the tests send signals")
class WorkerTest(QueueTest):
    """Workers whose words are kept in files."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.kill_workers)

    def kill_workers(self):
        """End what a test that failed has left running, detached workers too."""
        for pid in {worker.pid for worker in worker_files.live_workers(self.path("run"))} - {0, 1, os.getpid()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def worker(self, *arguments, **options):
        """Start a worker process and wait until it can be signalled: a Popen whose `words` name the file with its stderr."""
        words = "words-%d" % len(self._processes)
        with open(self.path(words), "wb") as file:
            process = self.start_worker(*arguments, stdout=subprocess.DEVNULL, stderr=file, **options)
        process.words = words
        self.wait_for(lambda: process.poll() is not None or _handles_signals(process.pid))
        return process

    def assert_ended(self, process, code=0):
        """Wait for a worker's end: with this exit code, without a traceback, and with nothing left in run/."""
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.fail("it still runs; it said: " + self.text(process.words))
        said = self.text(process.words)
        self.assertEqual(process.returncode, code, said)
        self.assertNotIn("Traceback", said)
        self.assertNotIn('"pid": %d,' % process.pid, self.worker_files())

    def wait_for_looks(self, process):
        """Let a worker's main thread wake up and sleep again some times, where the system tells of that."""
        if os.path.exists("/proc/self/status"):
            before = int(_status(process.pid).get("voluntary_ctxt_switches", 0))
            self.wait_for(lambda: process.poll() is not None
                          or int(_status(process.pid).get("voluntary_ctxt_switches", 0)) > before + 10)

    def signal_again(self, process, number):
        """Signal a worker that has had its first signal, until it says that it has taken this for another one."""
        def taken():
            process.send_signal(number)
            return "ending the running jobs" in self.text(process.words)

        self.wait_for(taken)

    def stop(self, *workers):
        """Stop workers as a signal does, and wait for their clean end."""
        for process in workers:
            process.terminate()
        for process in workers:
            self.assert_ended(process)


def _status(pid):
    """What /proc tells of a process; nothing where there is none."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            return dict(line.split(":", 1) for line in file if ":" in line)
    except (FileNotFoundError, ProcessLookupError):
        return {}


def _handles_signals(pid):
    """Whether a process has its handlers for TERM and HUP (or ignores HUP). True where that cannot be seen."""
    status = _status(pid)
    if "SigCgt" not in status:
        return True
    caught, ignored = int(status["SigCgt"], 16), int(status["SigIgn"], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1 and (caught | ignored) >> (signal.SIGHUP - 1) & 1)
