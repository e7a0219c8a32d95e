"""What frees space or stops must work on a disk that is full: cancel, stop, clean, purge, reset, pause.

The disk is made full for one command, in a forked child: what would make a file longer fails, unless the command has freed as much before.
"""
from __future__ import annotations

import errno
import os
import signal
import stat
import unittest

import main
from core.job import CANCELLED, COMPLETED, PENDING, PROCESSING
from execution import worker_files
from tests.support.forked import end_of, start_forked
from tests.support.home import WINDOWS, replace_call
from tests.support.workers import GATE, WorkerTest


class FullDisk:
    """Patches os in this process so that no file grows by more than was freed since."""

    def __init__(self):
        self._room = 0
        for name in ("write", "pwrite", "unlink", "ftruncate"):
            original = getattr(os, name)
            patched = getattr(self, "_" + name)(original)
            replace_call(os, name, patched)

    def _take(self, descriptor, end):
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and end > status.st_size:
            if end - status.st_size > self._room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._room -= end - status.st_size

    def _write(self, original):
        def write(descriptor, content):
            if descriptor > 2 and stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._take(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR) + len(content))
            return original(descriptor, content)

        return write

    def _pwrite(self, original):
        def pwrite(descriptor, content, offset):
            self._take(descriptor, offset + len(content))
            return original(descriptor, content, offset)

        return pwrite

    def _unlink(self, original):
        def unlink(path, **options):
            size = os.lstat(path).st_size
            original(path, **options)
            self._room += size

        return unlink

    def _ftruncate(self, original):
        def ftruncate(descriptor, length):
            self._room += max(0, os.fstat(descriptor).st_size - length)
            original(descriptor, length)

        return ftruncate


@unittest.skipIf(WINDOWS, "the disk is made full in a forked child")
class TestFullDisk(WorkerTest):
    """Commands on a full disk."""

    def on_full_disk(self, *arguments, code=0):
        """What a command says on a full disk, which ends with this exit code."""
        def work():
            FullDisk()
            return main.main(["--home", self.home] + list(arguments))

        ended = end_of(start_forked(work, self.path("said")))
        said = self.text("said")
        self.assertEqual(ended, code, said)
        return said

    def end(self, *ids, code=0, command="echo word"):
        """Add jobs and run them to their ends."""
        for job_id in ids:
            self.add(job_id, command, max_retries=0)
        self.drain(code=code)

    def test_nothing_is_added(self):
        self.end("a")
        self.assertIn("nothing was changed", self.on_full_disk("enqueue", "--id", "b", "--", "true", code=1))
        self.assertEqual(list(self.states()), ["a"])

    def test_a_pending_and_a_running_job_are_cancelled(self):
        self.add("runs", GATE)
        worker = self.worker()
        self.wait_for_state("runs", PROCESSING)
        self.add("waits", "true")
        said = self.on_full_disk("cancel", "runs", "waits")
        self.assertIn("Job 'runs' cancelled; its worker ends it.", said)
        self.wait_for(lambda: "it was cancelled" in self.text(worker.words))
        self.assertEqual([(job.id, job.reason) for job in self.queue.dead()], [("runs", CANCELLED), ("waits", CANCELLED)])
        self.stop(worker)

    def test_workers_stop_with_their_jobs_or_behind_them(self):
        for words, state in ((("--now",), PENDING), ((), COMPLETED)):
            with self.subTest(words=words):
                self.succeed("reset", "--yes")
                self.add("runs", GATE)
                worker = self.worker()
                self.wait_for_file("here-runs")  # else the worker has nothing to say of it
                if not words:
                    self.on_full_disk("worker", "stop", "--timeout", "0", code=124)
                    self.wait_for(lambda worker=worker: "stopping" in self.text(worker.words))
                    self.write("go", "")
                    self.assert_ended(worker)
                else:
                    self.assertEqual(self.on_full_disk("worker", "stop", *words), "Stopped 1 worker process.\n")
                self.assertEqual(self.job("runs").state, state)
                os.unlink(self.path("here-runs"))

    def test_now_is_not_taken_for_a_plain_stop(self):
        self.add("runs", GATE)
        worker = self.worker()
        self.wait_for_state("runs", PROCESSING)
        worker.send_signal(signal.SIGSTOP)
        self.on_full_disk("worker", "stop", "--now", "--timeout", "0", code=124)
        worker.send_signal(signal.SIGCONT)
        self.assert_ended(worker)
        self.assertEqual((self.job("runs").state, self.job("runs").attempts), (PENDING, 0))

    def test_one_that_cannot_be_asked_to_stop_is_named_with_another_way_and_all_others_are_asked(self):
        first, second = self.worker(), self.worker()
        paths = {worker.pid: worker.path for worker in worker_files.live_workers(self.path("run"))}
        request = worker_files.path_beside(paths[first.pid], "stop")
        os.unlink(request)
        os.mkdir(request)
        said = self.refuse("worker", "stop", code=1)
        self.assertIn("it also stops with: kill %d" % first.pid, said)
        self.assert_ended(second)
        os.rmdir(request)
        self.stop(first)

    def test_finished_jobs_are_removed_with_their_output_first(self):
        self.end(*["job%d" % number for number in range(40)], command="seq 200")
        self.add("waits", "true")
        self.assertEqual(self.on_full_disk("clean"), "Removed 40 jobs.\n")
        self.assertEqual((self.states(), os.listdir(self.path("logs"))), ({"waits": PENDING}, []))

    def test_where_that_frees_too_little_nothing_else_is_changed_and_said(self):
        self.end("a", "b")
        self.add("waits", "true" + " " * 5000)
        self.assertIn("nothing was changed, except that the output of these jobs was removed", self.on_full_disk("clean", "a", code=1))
        self.assertEqual(self.states(), {"a": COMPLETED, "b": COMPLETED, "waits": PENDING})
        self.assertEqual(self.succeed("logs", "b"), "word\n")

    def test_all_dead_jobs_are_purged(self):
        self.end("a", "b", code=1, command="exit 3")
        self.assertEqual(self.on_full_disk("dlq", "purge", "--all"), "Removed 2 jobs.\n")
        self.assertEqual((self.states(), self.records("dlq.json")), ({}, []))
        self.succeed("enqueue", "--id", "new", "--", "true")
        self.assertEqual(self.states(), {"new": PENDING})

    def test_all_jobs_are_removed(self):
        self.end("a", code=1, command="exit 3")
        self.add("waits", "true")
        self.assertEqual(self.on_full_disk("reset", "--yes"), "Removed all jobs.\n")
        self.assertEqual((self.states(), self.records("dlq.json")), ({}, []))
        self.end("new")
        self.assertEqual(self.states(), {"new": COMPLETED})

    def test_all_jobs_are_removed_where_none_has_died_yet(self):
        self.end("a")
        self.succeed("clean")  # nothing is left that would free a byte
        self.assertFalse(os.path.exists(self.path("dlq.json")))
        self.assertEqual(self.on_full_disk("reset", "--yes"), "Removed all jobs.\n")
        self.assertEqual(self.states(), {})

    def test_the_queue_is_paused_and_resumed(self):
        self.end("a")
        self.on_full_disk("pause")
        self.assertIn("Resumed", self.on_full_disk("resume"))

    def test_a_pause_whose_running_jobs_cannot_be_stopped_is_said_to_be_one(self):
        self.end("a")
        said = self.on_full_disk("pause", "--now", code=1)
        self.assertTrue(said.endswith("; workers take no new jobs, but those that run go on\n"), said)
        self.assertTrue(self.queue.store.paused())
        self.assertFalse(self.queue.store.pauses.stops_running())


if __name__ == "__main__":
    unittest.main()
