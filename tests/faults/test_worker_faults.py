"""A worker's whole life on a system that refuses: each of its system calls fails once, and from then on for good.

As in `test_faults`, the Nth call fails, for every N, in a forked child; here it is a worker process with its threads, which takes over what
a dead one left, claims, runs, records, and stops. Whatever fails, it ends when it is asked to, without a traceback and with few words, and
the next worker, on a sound system, brings every job to its end with each of its runs counted.

A sample of the points is tried; with QUEUECTL_FAULTS=all each of them is.
"""
from __future__ import annotations

import builtins
import errno
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import unittest

import worker_manager
from core import errors, locks, system
from core.errors import QueueError
from core.job import COMPLETED, DEAD, FAILED, Outcome
from core.settings import DEFAULTS
from execution import attempt as execution_attempt, launcher, log_file, supervisor, worker_files
from storage import file_lock
from tests.support.forked import end_of, start_forked
from tests.support.home import QueueTest, replace_call, set_everywhere
from tests.support.workers import is_alive

try:
    import fcntl
except ImportError:  # Windows, where nothing here is tried
    fcntl = None

ALL = os.environ.get("QUEUECTL_FAULTS") == "all"
SAMPLE = 20  # points that are tried, each with another error
LOOKS = 30  # looks into /proc that are points
FILES, NAMES = ("EIO", "EACCES", "EMFILE", "ENOSPC", "EROFS"), ("EIO", "EACCES", "EROFS", "ENOSPC")
# What each call can fail with.
CALLS = {(os, "open"): FILES, (builtins, "open"): ("EIO", "EACCES", "EMFILE"), (os, "dup"): ("EMFILE",), (os, "listdir"): FILES[:3],
         (os, "stat"): ("EIO", "EACCES"), (os, "fstat"): ("EIO",), (os, "lseek"): ("EIO",), (os, "read"): ("EIO",), (os, "pread"): ("EIO",),
         (os, "write"): ("EIO", "ENOSPC"), (os, "pwrite"): ("EIO", "ENOSPC"), (os, "fsync"): ("EIO", "ENOSPC"),
         (os, "ftruncate"): ("EIO", "EROFS"), (os, "rename"): NAMES, (os, "replace"): NAMES, (os, "unlink"): NAMES[:3],
         (os, "mkdir"): NAMES, (os, "mkfifo"): NAMES, (os, "getpgid"): ("EACCES",), (fcntl, "flock"): ("EIO",), (fcntl, "fcntl"): ("EIO",),
         (select, "select"): ("EIO",)}
DEAD_TOKEN = "deadbeef0000"


class Faults:
    """Patches the calls in this process so that the one with number `nth` fails, and with `for_good` all later ones that can fail in that
    way; `failed()` is called then. Where the call cannot fail with `name`, the next one that can does."""

    def __init__(self, nth, name, for_good, failed):
        self.count = 0
        self._nth, self._name, self._for_good, self._failed = nth, name, for_good, failed
        self._has_failed = False
        self._looks = 0
        for (module, call), names in CALLS.items():
            original = getattr(module, call)
            patched = self._patch(call, original, name in names)
            replace_call(module, call, patched)

    def _patch(self, call, original, can_fail):
        def operation(*arguments, **options):
            if call == "write" and arguments[0] <= 2:
                return original(*arguments)
            if self._is_one_process_more(arguments[0] if arguments else None):
                return original(*arguments, **options)
            self.count += 1
            if self.count < self._nth or not can_fail or (self._has_failed and not self._for_good):
                return original(*arguments, **options)
            if not self._has_failed:
                self._has_failed = True
                self._failed()
            number = getattr(errno, self._name)
            path = arguments[0] if isinstance(arguments[0], str) else None
            raise OSError(number, os.strerror(number), path)

        return operation


    def _is_one_process_more(self, place):
        """Whether a call looks at one of the machine's processes, of which the first ones are enough."""
        try:
            path = os.readlink("/proc/self/fd/%d" % place) if type(place) is int else str(place)
        except OSError:
            return False
        self._looks += path.startswith("/proc/")
        return path.startswith("/proc/") and self._looks > LOOKS


@unittest.skipUnless(hasattr(os, "fork"), "faults are injected into a forked child")
class LifeTest(QueueTest):
    """A worker process that takes over what a dead one left, and runs JOBS (id: (state in the end, command))."""

    JOBS: dict = {}
    DRAINS = True

    def prepare(self, group=0):
        """A home with jobs, one of which a dead worker has left, with its process group."""
        for folder, _, names in os.walk(self.home):
            for name in names:
                os.unlink(os.path.join(folder, name))
        self.queue = self.manager(fsync=False)
        self.add("lost", 'echo "$QUEUECTL_JOB_ID" >> ran; :', max_retries=5)
        job = self.queue.claim(DEAD_TOKEN + "-1", time.time())
        file = worker_files.WorkerFile(self.path("run"), 1, DEAD_TOKEN)
        attempt = execution_attempt.Attempt(self.home, job, {}, None, DEFAULTS)
        attempt.pid, attempt.started = group, time.monotonic()
        file.note(0, attempt)
        os.close(file._descriptor)
        for name, (_, command) in self.JOBS.items():
            if name != "lost":
                self.add(name, 'echo "$QUEUECTL_JOB_ID" >> ran; ' + command, max_retries=1 if name == "fails" else 5)

    def meanwhile(self):
        """What this process does, again and again, while the child lives."""

    def in_child(self, nth=0, name="EIO", for_good=False, drains=True):
        """Be a worker process in a child: its exit code, what it said and how many calls it made. `nth` 0: nothing fails."""
        child = start_forked(lambda: self.work(nth, name, for_good, drains), self.path("said"), told=(QueueError, OSError))
        try:
            code = end_of(child, self.meanwhile, 0.002)
        except AssertionError as error:
            self.fail("%s; it said: %s" % (error, self.text("said")))
        self.assertGreaterEqual(code, 0)
        return code, self.text("said")

    def work(self, nth, name, for_good, drains):
        """A worker's life in this process: its exit code."""
        for name, value in (("TICK", 0.02), ("PATIENCE", 0.2), ("_SETTLED", 0)):
            set_everywhere(name, value)
        supervisor._AGAIN = 0
        manager = self.manager(backoff_base=0, poll_interval=0.02, kill_grace=0.2)
        faults = Faults(nth or 1 << 60, name, for_good, self.end_soon if for_good else lambda: None)
        try:
            return worker_manager.WorkerManager(self.home, self.path("none.json")).start(manager, 2, drains, dict(os.environ))[0]
        finally:
            sys.stderr.write("%d calls\n" % faults.count)

    def end_soon(self):
        """Ask this process to stop, as its user would once nothing goes on."""
        def ask():
            for _ in range(1 if self.DRAINS else 2):
                time.sleep(0.1)
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=ask, daemon=True).start()

    def sweep(self, sample):
        """Try each point where something can fail, or so many of them."""
        tried, points = 0, self.points()
        for nth in range(1, points + 1, 1 if ALL else points // sample + 1):
            for for_good in (False, True):
                name = FILES[tried % len(FILES)]
                with self.subTest(nth=nth, name=name, for_good=for_good):
                    self.check(nth, name, for_good)
                tried += 1
        sys.stderr.write("\n%d calls of a worker's life, %d tries\n" % (points, tried))


class TestDrain(LifeTest):
    """A worker process that drains a queue."""

    JOBS = {"says": (COMPLETED, "echo word"), "fails": (DEAD, "exit 3"), "quiet": (COMPLETED, ":"), "lost": (COMPLETED, ":"),
            "quick1": (COMPLETED, ":"), "quick2": (COMPLETED, ":"), "quick3": (COMPLETED, ":"), "waits": (COMPLETED, "sleep 0.1")}

    def check(self, nth, name, for_good):
        """One life with a fault, then one without."""
        self.prepare()
        code, said = self.in_child(nth, name, for_good)
        self.assertIn(code, (0, 1), said)
        self.assertNotIn("Traceback", said)
        self.assertLess(len(said.splitlines()), 60, said)
        if not for_good and "refused" not in said:
            self.assert_all_ended(said)
        code, after = self.in_child()
        self.assertNotIn("Traceback", after)
        self.assert_all_ended(said + after)
        self.assertEqual(worker_files.worker_paths(self.path("run")), [])

    def assert_all_ended(self, said):
        """Each job has ended as it must, and each of its runs is counted."""
        ran = self.text("ran").split()
        for job in json.loads(self.read("jobs.json").decode("utf-8")):
            state = self.JOBS[job["id"]][0]
            self.assertEqual((job["id"], job["state"]), (job["id"], state), said)
            self.assertLessEqual(ran.count(job["id"]), job["attempts"], said)
            self.assertGreaterEqual(ran.count(job["id"]), 1, said)

    def points(self):
        """How many calls there are in a life without faults."""
        self.prepare()
        code, said = self.in_child()
        self.assert_all_ended(said)
        self.assertEqual(code, 1)  # one job has died
        return int(said.split()[-2])

    def test_whatever_fails_it_ends_when_asked_to_and_no_job_is_lost_or_runs_uncounted(self):
        self.sweep(SAMPLE)

    @unittest.skipUnless(hasattr(os, "waitid"), "the call that is to raise something odd")
    def test_a_thread_that_ends_by_a_bug_stops_its_process_whose_file_stays_for_the_next_one(self):
        self.prepare()

        def waitid(*arguments):
            os.waitid = original
            raise ZeroDivisionError

        original, os.waitid = os.waitid, waitid  # in the child, as it is forked with it
        try:
            code, said = self.in_child()
        finally:
            os.waitid = original
        self.assertEqual((code, "ZeroDivisionError" in said), (3, True), said)
        self.assertEqual(len(worker_files.worker_paths(self.path("run"))), 1)
        after = self.in_child()[1]
        self.assertIn("died; it runs again", after)
        self.assert_all_ended(said + after)
        self.assertEqual(worker_files.worker_paths(self.path("run")), [])


class TestStop(LifeTest):
    """A worker process that is to end at once, with all that it runs and what a dead one left running."""

    LONG = 'echo $$ >> pids; [ -e again ] || exec sleep 300'
    JOBS = {"long1": (COMPLETED, LONG), "long2": (COMPLETED, LONG), "lost": (COMPLETED, ":"), "quick": (COMPLETED, ":")}
    DRAINS = False

    def prepare(self, group=0):
        environ = dict(os.environ, QUEUECTL_HOME=self.home, QUEUECTL_WORKER=DEAD_TOKEN + "-1")
        self.left = subprocess.Popen(["sleep", "300"], env=environ, start_new_session=True)
        self._processes.append(self.left)
        super().prepare(self.left.pid)

    def meanwhile(self):
        self.left.poll()  # whoever has ended it waits for it to be gone
        if len(self.text("pids").split()) == 2 and not os.path.exists(self.path("again")):
            worker_manager.WorkerManager(self.home, None).stop(True, 0)

    def check(self, nth, name, for_good):
        self.prepare()
        code, said = self.in_child(nth, name, for_good, drains=False)
        self.assertIn(code, (0, 1), said)
        self.assertNotIn("Traceback", said)
        self.assertLess(len(said.splitlines()), 60, said)
        if "could not be recorded" not in said:
            self.assert_nothing_runs(said)
        self.write("again", "")
        after = self.in_child()[1]
        self.assertNotIn("Traceback", after)
        self.assert_nothing_runs(said + after)
        self.assertIsNotNone(self.left.poll(), said + after)
        self.assertEqual({job["id"]: job["state"] for job in self.records()}, dict.fromkeys(self.JOBS, COMPLETED), said + after)
        self.assertEqual(worker_files.worker_paths(self.path("run")), [])

    def assert_nothing_runs(self, said):
        """No attempt's process is left."""
        for pid in self.text("pids").split():
            self.assertFalse(is_alive(int(pid)), said)

    def points(self):
        self.prepare()
        code, said = self.in_child(drains=False)
        self.assertEqual(code, 0, said)
        return int(said.split()[-2])

    def test_whatever_fails_all_that_runs_is_ended_once_and_runs_again_later(self):
        self.sweep(SAMPLE // 2)


@unittest.skipIf(os.name == "nt", "FIFOs, and calls that are made to fail in this process")
class TestPlaces(QueueTest):
    """Single places where a fault left something behind that was in the way for ever."""

    def refuse(self, module, call, number=errno.EIO, when=lambda *arguments: True):
        """Let a call of this process fail until the test ends, where `when(*arguments)`."""
        original = getattr(module, call)

        def operation(*arguments, **options):
            if when(*arguments):
                raise OSError(number, os.strerror(number), arguments[0] if isinstance(arguments[0], str) else None)
            return original(*arguments, **options)

        setattr(module, call, operation)
        self.addCleanup(setattr, module, call, original)
        return lambda: setattr(module, call, original)

    def dead_worker(self):
        """The path of the file of a worker that has died."""
        file = worker_files.WorkerFile(self.path("run"), 1, DEAD_TOKEN)
        os.close(file._descriptor)
        return file.path

    def test_a_dead_worker_s_file_that_cannot_be_removed_is_not_kept_locked(self):
        path = self.dead_worker()
        descriptor = os.open(path, os.O_RDWR)
        locks.try_lock(descriptor)
        self.refuse(os, "unlink")
        with self.assertRaises(OSError):
            worker_files.remove_worker_file(path, descriptor)
        self.assertEqual(worker_files.live_workers(self.path("run")), [])

    def test_what_is_no_file_under_the_name_of_a_worker_file_is_no_worker_and_in_nobody_s_way(self):
        os.makedirs(self.path("run"))
        os.mkfifo(self.path("run", "worker-%s.json" % DEAD_TOKEN))
        self.assertEqual(worker_files.all_workers(self.path("run")), [])
        self.add("a", ":")
        self.assertIn("a: completed", self.drain())

    def test_a_lock_that_cannot_be_looked_at_is_not_kept(self):
        lock, other = [file_lock.FileLock(self.path("run", "lock")) for _ in range(2)]
        with lock:
            pass
        mended = self.refuse(os, "stat", when=lambda *arguments: arguments[0] == lock.path)
        with self.assertRaises(errors.LockError):
            lock.__enter__()
        mended()
        with other:
            self.assertFalse(locks.try_lock(os.open(lock.path, os.O_RDWR)))

    def test_a_log_that_cannot_be_removed_or_looked_at_makes_room_for_the_next_attempt(self):
        for call in ("unlink", "stat"):
            with self.subTest(call=call):
                log = log_file.LogFile(self.path("logs", "first.log"))
                os.close(log.begin())
                mended = self.refuse(os, call)
                with self.assertRaises(OSError):
                    log.release()
                mended()
                self.assertFalse(log.is_held())
                following = log_file.LogFile(log.path)
                os.close(following.begin())
                following.release()
                self.assertFalse(os.path.exists(log.path))

    def attempt(self, command):
        """An attempt of a job that has been started."""
        self.add("a", command, max_retries=0)
        job = self.queue.claim("worker-1", time.time())
        launch = launcher.Launcher()
        self.addCleanup(launch.close)
        attempt = execution_attempt.Attempt(self.home, job, {b"PATH": os.fsencode(os.defpath)}, launch, DEFAULTS)
        self.assertIsNone(attempt.start())
        return attempt

    def test_an_attempt_of_which_nothing_can_be_seen_any_more_has_failed_all_the_same(self):
        attempt = self.attempt("exit 3")
        self.refuse(os, "listdir", errno.ENOENT, when=lambda path=".": path == "/proc")
        self.assertEqual(attempt.wait(0.05)[0], Outcome(3, FAILED))

    def test_an_attempt_whose_tree_cannot_be_signalled_has_failed_all_the_same(self):
        attempt = self.attempt("sleep 0.2 & exit 3")
        self.refuse(os, "getpgid", errno.EACCES)
        self.assertEqual(attempt.wait(0.5)[0], Outcome(3, FAILED))

    def test_a_file_of_a_worker_that_cannot_be_looked_at_makes_no_job_of_it_an_orphan(self):
        path = self.dead_worker()
        self.assertTrue(system.is_there(path))
        self.assertFalse(system.is_there(path + ".none"))
        self.refuse(os, "stat", errno.EACCES)
        with self.assertRaises(PermissionError):
            system.is_there(path)


if __name__ == "__main__":
    unittest.main()
