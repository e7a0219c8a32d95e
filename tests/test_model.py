"""Random histories of a queue, step by step beside a model of it: a few lists. Several managers, as worker processes have them, commands
between, and edits by hand; the time is given, so that no test waits.

After each step the file holds what the model holds, and a claim gives the job that the model says comes next. A history that fails is
told with its seed and its steps: HISTORIES=1 SEED=that one runs it alone. QUEUECTL_FAULTS=all runs many more.
"""
from __future__ import annotations

import json
import os
import random
import unittest

from helpers import format_time, parse_time
from job import CANCELLED, COMPLETED, DEAD, DEPENDENCY, FAILED, PENDING, PROCESSING, Outcome
from job_choice import Choice, JobNotFound
from tests.base import HomeTest

START = 1700000000.0  # long ago, so that an edit by hand is an old one, and nothing waits until it holds still
SEED = int(os.environ.get("SEED", 1))
HISTORIES = int(os.environ.get("HISTORIES", 2000 if os.environ.get("QUEUECTL_FAULTS") == "all" else 40))
STEPS = 60
IDS = "abcde"
SETTINGS = {"fsync": False, "max_retries": 1, "backoff_base": 4.0}


class Job:
    """A job of the model."""

    def __init__(self, job_id, after=(), priority=0, due=0.0):
        self.id, self.after, self.priority = job_id, list(after), priority
        self.attempts = 0
        self.become(PENDING, due=due)
        self.end = 0  # which of all ends was its last one
        self.ended_before = {}  # the ends that lay behind the jobs it comes after when it was added

    @property
    def ended(self):
        return self.state in (COMPLETED, DEAD)

    def become(self, state, reason=None, due=0.0):
        self.state, self.reason, self.token = state, reason, None
        self.due = parse_time(format_time(due))  # to the microsecond


class Model:
    """What the queue must be: `jobs` in the order of the file, and dead ones of which only dlq.json tells, as they died."""

    def __init__(self):
        self.jobs = []
        self.only_buried = []
        self.ends = 0

    def add(self, jobs):
        for job in jobs:
            job.ended_before = {other: other.end for other in self.jobs if other.id in job.after and other.ended}
        self.jobs += jobs

    def end(self, job, state, reason=None):
        self.ends += 1
        job.end = self.ends
        job.become(state, reason)

    def predecessors(self, job):
        """For each id that a job names, the jobs that it waits for: those that had not ended when it was added; else the newest."""
        for job_id in job.after:
            jobs = [other for other in self.jobs if other.id == job_id]
            yield [other for other in jobs if not (other.ended and job.ended_before.get(other) == other.end)] or jobs[-1:]

    def doomed(self, job):
        return job.state == PENDING and any(not jobs or any(other.state == DEAD for other in jobs) for jobs in self.predecessors(job))

    def bury_doomed(self, dead):
        """Let those of these jobs die that come after one that is dead or gone; how many did."""
        doomed = [job for job in dead if self.doomed(job)]
        for job in doomed:
            self.end(job, DEAD, DEPENDENCY)
        return len(doomed) + (self.bury_doomed(dead) if doomed else 0)

    def may_run(self, job, now):
        return job.state == PENDING and job.due <= now and all(jobs and all(other.state == COMPLETED for other in jobs)
                                                               for jobs in self.predecessors(job))

    def next(self, now):
        ready = [job for job in self.jobs if self.may_run(job, now)]
        return max(ready, key=lambda job: job.priority, default=None)  # the first of them

    def claim(self, job, token):
        job.become(PROCESSING)
        job.attempts += 1
        job.token = token

    def needed(self):
        """The ids that `clean` leaves."""
        return {job_id for job in self.jobs if job.state != COMPLETED for job_id in job.after}


class History:
    """One history: each method named in STEPS_OF takes one step, of the queue and of the model."""

    def __init__(self, test, seed):
        self.test, self.chance, self.now, self.told = test, random.Random(seed), START, []
        self.now += seed * 1e5  # after the history before, since the file's jobs are never older than those that were there
        self.model = Model()
        self.other = test.manager(**SETTINGS)  # that of the commands; it never claims
        self.workers = [test.manager(**SETTINGS) for _ in range(2)]
        self.running = []  # (worker, job of the queue, job of the model)
        self.serial = 0

    def run(self):
        self.other.reset()
        names = [name for name, weight in STEPS_OF for _ in range(weight)]
        for _ in range(STEPS):
            self.now += self.chance.choice((0.01, 0.01, 1, 5))
            name = self.chance.choice(names)
            self.told.append(name)
            getattr(self, name)()
            self.compare()
        self.finish()

    def finish(self):
        """Whatever is left can be brought to its end: nothing waits for ever."""
        while True:
            self.told.append("(rest)")
            self.now += 1000
            while self.running:
                self.record(DONE)
                self.compare()
            came = [self.claim_with(worker) for worker in self.workers]
            if not self.compare() and not any(came):
                break
        left = [job.id for job in self.model.jobs if not job.ended and not self.in_a_circle(job)]
        self.test.assertEqual(left, [])

    def in_a_circle(self, job):
        """Whether a job waits for itself, which edits by hand and ids that repeat can bring about, or for one that does."""
        return any(not other.ended for jobs in self.model.predecessors(job) for other in jobs)

    def compare(self):
        """The file holds what the model holds. A job that comes after a dead one may have died of it by now, or not yet: how many have."""
        records = self.test.records() if os.path.exists(self.test.path("jobs.json")) else []
        died = self.model.bury_doomed([job for job, record in zip(self.model.jobs, records) if record["state"] == DEAD])
        found = [(record["id"], record["state"], record["attempts"], record["reason"]) for record in records]
        self.test.assertEqual(found, [(job.id, job.state, job.attempts, job.reason) for job in self.model.jobs])
        return died

    # -- commands

    def enqueue(self):
        there = sorted({job.id for job in self.model.jobs})
        added = []
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            after = self.chance.sample(there, min(len(there), self.chance.choice((0, 1, 1, 2))))
            there = sorted(set(there) | {job.id for job in added})
            due = self.now + 20 if self.chance.random() < 0.1 else 0.0
            added.append(Job(self.chance.choice(IDS), after, self.chance.choice((0, 0, 0, 5)), due))
        records = [{"id": job.id, "command": "x", "after": job.after or None, "priority": job.priority,
                    "run_at": format_time(job.due) if job.due else None} for job in added]
        self.told[-1] += " %s" % ["%s after %s" % (job.id, job.after) for job in added]
        try:
            self.other.enqueue(records, "/", self.now)
        except Exception as error:
            if "circle" not in str(error):
                raise
            return
        self.model.add(added)

    def cancel(self):
        self.on_some_id(lambda job_id: self.other.cancel([job_id], self.now, lambda job: ""),
                        self.model.jobs, lambda job: not job.ended, lambda job: self.model.end(job, DEAD, CANCELLED))

    def retry(self):
        self.on_some_id(lambda job_id: self.other.retry(Choice([job_id], None), self.now), self.dead(), lambda job: True, self.bring_back)

    def retry_all(self):
        self.other.retry(Choice(None, None), self.now)
        for job in self.dead():
            if job.reason != CANCELLED:
                self.bring_back(job)

    def dead(self):
        return [job for job in self.model.jobs if job.state == DEAD] + sorted(self.model.only_buried, key=lambda job: job.end)

    def bring_back(self, job):
        job.become(PENDING)
        job.attempts = 0
        if job not in self.model.jobs:
            self.model.only_buried.remove(job)
            self.model.jobs.append(job)

    def purge(self):
        self.on_some_id(lambda job_id: self.other.purge(Choice([job_id], None)), self.dead(), lambda job: True, self.remove)

    def remove(self, job):
        (self.model.jobs if job in self.model.jobs else self.model.only_buried).remove(job)

    def clean(self):
        self.other.clean(COMPLETED, Choice(None, None))
        needed = self.model.needed()
        self.model.jobs = [job for job in self.model.jobs if job.state != COMPLETED or job.id in needed]

    def on_some_id(self, command, jobs, fits, change):
        """A command for one id, and what it does to each job of that id that fits. It refuses an id without any."""
        job_id = self.chance.choice(IDS)
        self.told[-1] += " " + job_id
        chosen = [job for job in jobs if job.id == job_id and fits(job)]
        if not chosen:
            self.test.assertRaises(JobNotFound, command, job_id)
            return
        command(job_id)
        for job in chosen:
            change(job)

    # -- workers

    def claim(self):
        self.claim_with(self.chance.choice(self.workers))

    def claim_with(self, worker):
        """Claim with a worker; whether there was a job."""
        self.serial += 1
        token = "w-%d" % self.serial
        expected = self.model.next(self.now)
        job = worker.claim(token, self.now)
        self.told[-1] += " %d: %s" % (self.workers.index(worker), job.id if job else None)
        self.take(worker, job, expected, token)
        return job is not None

    def take(self, worker, job, expected, token):
        """A job was claimed, or None: that which was expected."""
        place = [record["worker"] for record in self.test.records()].index(token) if job is not None else None
        self.test.assertIs(None if place is None else self.model.jobs[place], expected)
        if job is not None:
            self.model.claim(expected, token)
            self.running.append((worker, job, expected))

    def done(self):
        self.record(DONE)

    def fail(self):
        self.record(FAIL)

    def give_back(self):
        self.record(None)

    def record(self, outcome):
        """End the attempt of some running job; its worker may claim the next one at once."""
        if not self.running:
            return
        worker, job, known = self.running.pop(self.chance.randrange(len(self.running)))
        self.told[-1] += " %s" % job.id
        after = worker.record(job, outcome, self.now)[0]
        held = known in self.model.jobs and known.token == job.worker
        self.test.assertEqual(after is not None, held)
        if not held:
            return
        if outcome is None:
            known.attempts -= 1
            known.become(PENDING)
        elif outcome == DONE:
            self.model.end(known, COMPLETED)
        elif known.attempts > SETTINGS["max_retries"]:
            self.model.end(known, DEAD, FAILED)
        else:
            known.become(PENDING, FAILED, self.now + SETTINGS["backoff_base"] ** known.attempts)

    def look(self):
        """What the supervisor of a worker process does each second."""
        for worker in self.workers:
            mine = [(job, known) for owner, job, known in self.running if owner is worker]
            gone = worker.taken_away([job for job, _ in mine])
            self.test.assertEqual(gone, [job for job, known in mine if known not in self.model.jobs or known.token != job.worker])

    def restart(self):
        """A worker process ends, and another one starts."""
        worker = self.chance.choice(self.workers)
        if not any(owner is worker for owner, _, _ in self.running):
            self.workers[self.workers.index(worker)] = self.test.manager(**SETTINGS)

    # -- an editor

    def edit_by_hand(self):
        """Someone removes a job, changes one or types one, and saves the file in another layout."""
        if not self.model.jobs:
            return
        records = self.test.records()
        number = self.chance.randrange(len(records))
        job, record = self.model.jobs[number], records[number]
        way = self.chance.choice(("remove", "priority", "type", "complete", "format"))
        self.told[-1] += " %s %s" % (way, job.id)
        if way == "remove":
            del records[number], self.model.jobs[number]
            if job.state == DEAD:
                self.model.only_buried.append(job)
        elif way == "priority":
            job.priority = record["priority"] = self.chance.randrange(9)
        elif way == "type":
            typed = Job(self.chance.choice(IDS), [job.id])
            records.append({"id": typed.id, "command": "x", "after": typed.after})
            self.model.add([typed])
        elif way == "complete" and job.state == PENDING:
            record.update(state=COMPLETED, reason=None, run_at=None, updated_at=format_time(self.now))
            self.model.end(job, COMPLETED)
        self.test.write("jobs.json", json.dumps(records, indent=self.chance.choice((None, 2))))
        os.utime(self.test.path("jobs.json"), (self.now, self.now))
        self.other.tidy("jobs.json")


DONE, FAIL = Outcome(0, None), Outcome(1, FAILED)
STEPS_OF = (("enqueue", 6), ("claim", 8), ("done", 5), ("fail", 3), ("give_back", 1), ("look", 3), ("cancel", 2), ("retry", 2),
            ("retry_all", 1), ("purge", 1), ("clean", 1), ("restart", 1), ("edit_by_hand", 1))


class ModelTest(HomeTest):

    def test_a_queue_does_what_a_model_of_it_does(self):
        for seed in range(SEED, SEED + HISTORIES):
            history = History(self, seed)
            try:
                history.run()
            except Exception as error:
                raise AssertionError("SEED=%d: %s\n%s" % (seed, error, "\n".join(history.told))) from error


if __name__ == "__main__":
    unittest.main()
