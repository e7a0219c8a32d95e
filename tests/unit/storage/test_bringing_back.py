"""Dead jobs come back or go for good: what is worked out while others wait for the lock."""
from __future__ import annotations

import os
import sys

from core.job import DEAD, PENDING
from core.times import format_time
from storage.file_lock import FileLock
from storage.output import log_path, logs_of
from storage.selection import Choice
from tests.support.manager import ALL, NOW, ManagerTest


class CallsUnderLock:
    """Counts the Python functions that are called while the lock is held: `with CallsUnderLock() as calls: …; calls.count`."""

    def __enter__(self):
        self.count, self._is_held = 0, False
        sys.setprofile(self._note)
        return self

    def __exit__(self, *fault):
        sys.setprofile(None)

    def _note(self, frame, event, argument):
        if event == "return" and frame.f_code is FileLock.__enter__.__code__:
            self._is_held = True
        elif event == "call":
            if frame.f_code is FileLock.__exit__.__code__:
                self._is_held = False
            self.count += self._is_held


class BringingBackTest(ManagerTest):

    def with_dead(self, number):
        """A manager of a fresh queue with so many dead jobs, and one that waits."""
        for name in ("jobs.json", "dlq.json"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.jobs = self.manager()
        ids = ["job%d" % each for each in range(number)]
        self.add(*ids)
        self.kill(*ids)
        self.add("waits")
        self.jobs = self.manager()

    def test_work_under_the_lock_does_not_grow_with_the_jobs_that_come_back_or_go(self):
        for what, change in (("retry", lambda: self.jobs.retry(ALL, NOW).ids), ("purge", lambda: self.jobs.clean((DEAD,), ALL))):
            with self.subTest(what):
                counts = []
                for number in (20, 80):
                    self.with_dead(number)
                    with CallsUnderLock() as calls:
                        self.assertEqual(len(change()), number)
                    counts.append(calls.count)
                self.assertLess(counts[1], counts[0] + 20)

    def test_purge_of_all_entries_but_one_keeps_that_one(self):
        self.with_dead(3)
        self.jobs.clean((DEAD,), Choice(["job0", "job2"], None))
        self.assertEqual([record["id"] for record in self.records("dlq.json")], ["job1"])
        self.assertEqual([record["id"] for record in self.records("jobs.json")], ["job1", "waits"])


    def test_output_of_jobs_that_come_back_is_that_of_a_former_life(self):
        self.with_dead(2)
        os.makedirs(self.path("logs"))
        dead = {job.id: job for job in self.jobs.jobs() if job.id != "waits"}
        for job in dead.values():
            with open(log_path(self.home, job, 1), "w", encoding="utf-8") as file:
                file.write("of %s" % job.id)
        self.assertEqual(self.jobs.retry(Choice(["job1"], None), NOW).ids, ["job1"])
        self.assertEqual([(log.life, log.attempt) for log in logs_of(self.home, dead["job0"])], [(None, 1)])
        self.assertEqual([(log.life, log.attempt) for log in logs_of(self.home, dead["job1"])], [(1, 1)])

    def test_jobs_that_are_back_are_pending_since_now(self):
        self.with_dead(2)
        self.jobs.retry(ALL, NOW + 5)
        self.assertEqual([(record["state"], record["attempts"], record["updated_at"]) for record in self.records("jobs.json")[:2]],
                         [(PENDING, 0, format_time(NOW + 5))] * 2)
        self.assertEqual(self.records("dlq.json"), [])
