"""kill -9 at random moments, over real workers, enqueuers, retries, cleans and cancels: no acknowledged job is lost, none is doubled.

About 20 kills; 500 with QUEUECTL_FAULTS=all. It prints what it did. QUEUECTL_SEED repeats a run as far as chance goes.
"""
from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
import unittest

import main
from core.job import CANCELLED, COMPLETED, DEAD, PENDING, PROCESSING
from core.job_record import job_from_record
from storage.recognition import check_canonical
from storage.selection import Choice
from tests.support.home import DEADLINE
from tests.support.workers import WorkerTest

KILLS = 500 if os.environ.get("QUEUECTL_FAULTS") == "all" else 20
SHORT, SHORT_KILLS = (1000, 20) if KILLS > 20 else (300, 5)
SIZES = (1, 1, 2, 10, 60, 300) + ((2000,) if KILLS > 20 else ())
LONG = ": " + "x" * 9000
# Notes that it starts; complains if it runs already: the lock ends with the last process that has it.
LOCKED = 'echo "$QUEUECTL_JOB_ID" >> started; flock -n -E 99 "locks/$QUEUECTL_JOB_ID" sh -c \'sleep 0.0%d; exit %d\'; code=$?; ' \
         'if [ $code = 99 ]; then echo "$QUEUECTL_JOB_ID" >> doubled; fi; exit $code'


class Ledger:
    """What was promised."""

    def __init__(self):
        self.added = set()  # acknowledged
        self.unsure = []  # batches that were not acknowledged: all or nothing
        self.cancelled = set()  # acknowledged
        self.removed = set()  # acknowledged
        self.maybe_removed = set()  # a clean of these was killed
        self.counts = dict.fromkeys(("jobs", "worker", "enqueue one", "enqueue many", "add one by one", "retry", "clean", "cancel"), 0)


@unittest.skipUnless(hasattr(os, "fork") and shutil.which("flock"), "needs fork and flock(1)")
class TestKill(WorkerTest):
    """Actors are started, some are killed, and in the end the books must balance."""

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("QUEUECTL_SEED") or time.time())
        self.chance = random.Random(self.seed)
        self.ledger = Ledger()
        self.serial = 0
        self.workers = []
        self.has_died = False  # a job has, so that there is a dlq.json
        self.typical = {}  # how long an actor takes if it is let be, in seconds
        os.mkdir(self.path("locks"))
        self.settings(max_retries=1, backoff_base=0.05, kill_grace=0.2, fsync=True)

    # -- actors

    def new_jobs(self, count):
        """Jobs of all kinds, with ids of their own."""
        jobs = []
        for _ in range(count):
            self.serial += 1
            kind = self.chance.random() if count < 100 else 1
            if kind < 0.5:
                command = LOCKED % (self.chance.randrange(10), self.chance.random() < 0.2)
            elif kind < 0.6:
                command = LOCKED % (1, 0) + " # " + "y" * 9000
            elif kind < 0.7:
                command = "exit 3"
            else:
                command = LONG if self.chance.random() < 0.1 else ":"
            jobs.append({"id": "job-%d" % self.serial, "command": command, "cwd": self.home})
        return jobs

    def enqueue_one(self):
        job, = self.new_jobs(1)
        return "enqueue one", lambda: main.main(["enqueue", json.dumps(job)]), lambda said: self.was_added([job["id"]], "added" in said)

    def enqueue_many(self):
        jobs = self.new_jobs(self.chance.choice(SIZES))
        path = self.path("batch-%d" % self.serial)
        self.write(path, "\n".join(json.dumps(job) for job in jobs))

        def settle(said):
            os.unlink(path)
            self.was_added([job["id"] for job in jobs], "added" in said)

        return "enqueue many", lambda: main.main(["enqueue", "--file", path]), settle

    def add_one_by_one(self):
        jobs = self.new_jobs(20)

        def run():
            manager = self.manager()
            for job in jobs:
                print(manager.enqueue([job], self.home, time.time()).ids[0], flush=True)

        def settle(said):
            done = set(said.split())
            for job in jobs:
                self.was_added([job["id"]], job["id"] in done)

        return "add one by one", run, settle

    def retry(self):
        return "retry", lambda: main.main(["retry", "--all"]), lambda said: None

    def clean(self):
        ids = {job.id for job in self.queue.jobs((COMPLETED,))}
        ids = set(self.chance.sample(sorted(ids), min(len(ids), 200)))

        def settle(said):
            (self.ledger.removed if "Removed" in said else self.ledger.maybe_removed).update(ids)

        return "clean", (lambda: main.main(["clean"] + sorted(ids))) if ids else None, settle

    def cancel(self):
        pending = [job.id for job in self.queue.jobs((PENDING, PROCESSING))]
        ids = self.chance.sample(pending, min(len(pending), 3))

        def settle(said):
            self.ledger.cancelled.update(job_id for job_id in ids if "'%s' cancelled" % job_id in said)

        return "cancel", (lambda: main.main(["cancel"] + ids)) if ids else None, settle

    def was_added(self, ids, acknowledged):
        """Enter a batch into the books."""
        if acknowledged:
            self.ledger.added.update(ids)
        else:
            self.ledger.unsure.append(ids)

    # -- running and killing

    def act(self, actor, kill):
        """Run an actor in a child, and kill it at a random moment if that is wanted."""
        name, run, settle = actor()
        if run is None:
            return
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 99
            try:
                os.environ["QUEUECTL_HOME"] = self.home
                sys.stdout = io.TextIOWrapper(io.FileIO(writer, "wb"), encoding="utf-8")
                sys.stderr = open(self.path("child-said"), "a", encoding="utf-8")
                code = run() or 0
                sys.stdout.flush()
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)
        os.close(writer)
        started = time.monotonic()
        if kill:
            time.sleep(self.chance.uniform(0, 1.1 * self.typical.get(name, 0.02)))
            os.kill(child, signal.SIGKILL)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read().decode("utf-8")
        status = os.waitpid(child, 0)[1]
        took = time.monotonic() - started
        if not kill:
            self.typical[name] = took
        settle(said)
        if os.WIFSIGNALED(status):
            self.ledger.counts[name] += 1
        else:
            self.assertIn(os.WEXITSTATUS(status), (0, 1), self.text("child-said"))

    def kill_a_worker(self):
        """Kill a worker process, or two, and start as many."""
        for _ in range(self.chance.choice((1, 1, 2))):
            worker = self.workers.pop(0)
            self.assertIsNone(worker.poll(), self.text(worker.words))
            worker.kill()
            worker.wait()
            self.ledger.counts["worker"] += 1
        while len(self.workers) < 2:
            self.workers.append(self.worker("--count", "2"))

    def run_all(self):
        """Start, kill, check, until there were enough kills."""
        actors = (self.enqueue_one, self.enqueue_many, self.enqueue_many, self.add_one_by_one, self.retry, self.clean, self.cancel)
        self.workers = [self.worker("--count", "2") for _ in range(2)]
        rounds = 0
        while sum(self.killed()) < KILLS:
            rounds += 1
            if self.chance.random() < 0.25:
                self.kill_a_worker()
            actor = self.chance.choice(actors)
            if self.chance.random() < 0.5:  # one of those that were killed least
                actor = min(actors, key=lambda actor: self.ledger.counts[actor.__name__.replace("_", " ")])
            self.act(actor, kill=self.chance.random() < 0.8)
            if rounds % 20 == 0:
                self.check_files()
                self.sweep()
        for worker in self.workers:
            worker.kill()
            worker.wait()
            self.ledger.counts["worker"] += 1

    def killed(self):
        """How many of each kind were killed."""
        return [number for name, number in self.ledger.counts.items() if name != "jobs"]

    def sweep(self):
        """Remove what is completed, lest the file grow without end."""
        if self.queue.count()[COMPLETED] > 2000:
            self.ledger.removed.update(job.id for job in self.queue.clean((COMPLETED,), Choice(None, None)))

    # -- the books

    def check_files(self):
        """After a command that changes them, both files parse and are in our layout, with no record twice."""
        job, = self.new_jobs(1)
        self.queue.enqueue([job], self.home, time.time())
        self.was_added([job["id"]], True)
        self.queue.retry(Choice(None, None), time.time())
        for name in ("jobs.json", "dlq.json"):
            if name == "dlq.json" and not self.has_died and not os.path.exists(self.path(name)):
                continue  # no job has died yet
            self.has_died = self.has_died or name == "dlq.json"
            content = self.read(name)
            keys = [(record["id"], record["created_at"]) for record in json.loads(content.decode("utf-8"))]
            if name == "jobs.json":
                self.assertEqual(len(keys), len(set(keys)), "a record is doubled")
                self.assertEqual(len(keys), len({job_id for job_id, _ in keys}), "a job is doubled")

    def check_layout(self, name):
        """A file that nobody changes any more is in our layout to the byte; there is no dlq.json if no job has ever died."""
        if name == "dlq.json" and not self.has_died and not os.path.exists(self.path(name)):
            self.assertEqual(list(self.queue.jobs((DEAD,))), [])
            return
        with open(self.path(name), "rb") as file:
            layout = check_canonical(file.fileno(), os.path.getsize(self.path(name)), job_from_record)
        self.assertIsNotNone(layout, name)
        self.assertFalse(layout.torn, name)

    def check_books(self):
        """What was promised is there, and what is there was asked for."""
        self.check_layout("jobs.json")
        self.check_layout("dlq.json")
        self.assertEqual([name for name in os.listdir(self.home) if ".torn-" in name or ".broken-" in name], [])
        ledger, jobs = self.ledger, {job.id: job for job in self.queue.jobs()}
        lost = ledger.added - set(jobs) - ledger.removed - ledger.maybe_removed
        self.assertEqual(lost, set())
        self.assertEqual(ledger.removed & set(jobs), set(), "removed jobs are back")
        asked_for = ledger.added.union(*ledger.unsure)
        self.assertEqual(set(jobs) - asked_for, set())
        gone = ledger.removed | ledger.maybe_removed
        for batch in ledger.unsure:
            self.assertIn(len(set(batch) & (set(jobs) | gone)), (0, len(batch)), "half of a batch")
        self.assertLessEqual({job.state for job in jobs.values()}, {COMPLETED, DEAD})
        self.assertEqual({jobs[job_id].reason for job_id in ledger.cancelled}, {CANCELLED} if ledger.cancelled else set())
        dead = [job.id for job in self.queue.dead()]
        self.assertEqual(sorted(dead), sorted(job.id for job in jobs.values() if job.state == DEAD))
        self.assertEqual(self.text("doubled"), "", "ran twice at the same time")
        started = set(self.text("started").split())
        for job in jobs.values():
            if job.state == COMPLETED and "flock" in job.command:
                self.assertIn(job.id, started)

    def test_no_acknowledged_job_is_lost_and_none_is_doubled_whatever_is_killed_and_when(self):
        started = time.monotonic()
        try:
            self.run_all()
            self.check_files()
            done = self.run_program("worker", "start", "--drain", "--count", "2", timeout=10 * DEADLINE)
            self.assertIn(done.returncode, (0, 1), done.stderr[-2000:])
            self.check_books()
            said = "".join(self.text(name) for name in os.listdir(self.home) if name.startswith("words-"))
            self.assertNotIn("Traceback", said + self.text("child-said") + done.stderr)
        except BaseException:
            sys.stderr.write("\nQUEUECTL_SEED=%d\n" % self.seed)
            raise
        counts = dict(self.ledger.counts, jobs=len(self.ledger.added))
        sys.stderr.write("\n%d kills in %.0f s: %s; 0 lost, 0 doubled\n" % (
            sum(self.killed()), time.monotonic() - started, ", ".join("%s %d" % pair for pair in counts.items())))


if __name__ == "__main__":
    unittest.main()


class TestShortJobs(WorkerTest):
    """A worker is killed among jobs that take milliseconds."""

    def test_a_job_that_ran_more_than_once_is_counted_each_time_and_told_of(self):
        self.settings(max_retries=99, backoff_base=0.01)
        self.queue.enqueue([{"id": "j%d" % number, "command": 'echo "$QUEUECTL_JOB_ID" >> ran'} for number in range(SHORT)], self.home, time.time())
        chance, said = random.Random(1), ""
        for kill in range(SHORT_KILLS + 1):
            worker = self.worker("--count", "2", "--drain")
            if kill < SHORT_KILLS:
                ran = len(self.text("ran"))
                self.wait_for(lambda: len(self.text("ran")) > ran or worker.poll() is not None)
                time.sleep(chance.random() * 0.05)
                worker.kill()
            worker.wait(DEADLINE)
            said += self.text(worker.words)
        ran = self.text("ran").split()
        for job in self.queue.jobs():
            times = ran.count(job.id)
            self.assertEqual(job.state, COMPLETED, job.id)
            self.assertLessEqual(1, times, job.id)
            self.assertLessEqual(times, job.attempts, job.id)
            if times > 1:
                self.assertIn("%s: its worker" % job.id, said)
