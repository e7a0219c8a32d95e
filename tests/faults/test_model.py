"""Random histories of a queue, step by step beside a model of it: a few lists. Several managers, as worker processes have them, commands
between, and edits by hand; the time is given, so that no test waits.

After each step the file holds what the model holds, and a claim gives the job that the model says comes next. A history that fails is
told with its seed and its steps: HISTORIES=1 SEED=that one runs it alone. QUEUECTL_FAULTS=all runs many more; without it some seconds'
worth of them are run.
"""
from __future__ import annotations

import json
import os
import random
import time
import unittest

from core.errors import JobNotFound, JobRefused
from core.job import CANCELLED, COMPLETED, DEAD, DEPENDENCY, FAILED, PENDING, PROCESSING, Outcome
from core.slots import without_slot
from core.times import format_time, parse_time
from storage.selection import Choice
from tests.support.home import HomeTest

START = 1700000000.0  # long ago, so that an edit by hand is an old one, and nothing waits until it holds still
SEED = int(os.environ.get("SEED", 1))
ALL = os.environ.get("QUEUECTL_FAULTS") == "all"
HISTORIES = int(os.environ.get("HISTORIES", 2000 if ALL else 60))
SECONDS = 600.0 if ALL else 3.0
STEPS = 60
IDS = "abcde"
LIMITS = {"one": 1, "two": 2}
GROUPS = (None, None, None, "one", "two", "free")
SETTINGS = {"fsync": False, "max_retries": 1, "backoff_base": 4.0, "limits": LIMITS}


class Job:
    """A job of the model."""

    def __init__(self, job_id, after=(), priority=0, due=0.0, group=None):
        self.id, self.after, self.priority, self.group = job_id, list(after), priority, group
        self.attempts = 0
        self.become(PENDING, due=due)
        self.wait = 0.0  # that of the backoff, if it made `due`
        self.end = 0  # which of all ends was its last one
        self.ended_before = {}  # the ends that lay behind the jobs it comes after when it was added

    @property
    def ended(self):
        return self.state in (COMPLETED, DEAD)

    def become(self, state, reason=None, due=0.0):
        self.state, self.reason, self.token = state, reason, None
        self.put_off(due)

    def put_off(self, due, wait=0.0):
        self.due = parse_time(format_time(due))  # to the microsecond
        self.wait = wait

    def is_due(self, now):
        return self.due <= now or bool(self.wait and self.due - now > self.wait + 1)  # the clock was set back


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
        return job.state == PENDING and job.is_due(now) and all(jobs and all(other.state == COMPLETED for other in jobs)
                                                                   for jobs in self.predecessors(job))

    def next(self, now, preferred=None):
        running = [job.group for job in self.jobs if job.state == PROCESSING]
        full = [group for group, limit in LIMITS.items() if running.count(group) >= limit]
        ready = [job for job in self.jobs if self.may_run(job, now) and job.group not in full]
        return preferred if preferred in ready else max(ready, key=lambda job: job.priority, default=None)  # the first of them

    def claim(self, job, token):
        job.become(PROCESSING)
        job.attempts += 1
        job.token = token

    def is_needed(self, job):
        """Whether `clean` leaves a completed job: one that has not completed comes after its id, and after this one, or it is the newest."""
        dependents = [other for other in self.jobs if other.state != COMPLETED and job.id in other.after]
        newest = [other for other in self.jobs if other.id == job.id and other.state == COMPLETED][-1]
        return bool(dependents) and (job is newest or any(other.ended_before.get(job) != job.end for other in dependents))


class History:
    """One history: each method named in STEPS_OF takes one step, of the queue and of the model. In some of them no two jobs have one id,
    and the clock is set back now and then: which of two was added first is told by it."""

    def __init__(self, test, seed):
        self.test, self.chance, self.now, self.told = test, random.Random(seed), START, []
        self.now += seed * 1e5  # after the history before, since the file's jobs are never older than those that were there
        self.model = Model()
        self.other = test.manager(**SETTINGS)  # that of the commands; it never claims
        self.workers = [test.manager(**SETTINGS) for _ in range(2)]
        self.running = []  # (worker, job of the queue, job of the model)
        self.failed = {}  # worker: (job of the queue, job of the model) that it tried last
        self.unique = seed % 4 == 0
        self.serial = 0

    def run(self):
        self.other.reset()
        names = [name for name, weight in STEPS_OF for _ in range(weight)]
        for _ in range(STEPS):
            self.now += self.chance.choice((0.01, 0.01, 1, 5))
            if self.unique and self.chance.random() < 0.05:
                self.now -= self.chance.choice((3.3333, 60))
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

    def new_id(self):
        self.serial += 1
        return "j%d" % self.serial if self.unique else self.chance.choice(IDS)

    # -- commands

    def enqueue(self):
        there = sorted({job.id for job in self.model.jobs})
        added = []
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            after = self.chance.sample(there, min(len(there), self.chance.choice((0, 1, 1, 2))))
            there = sorted(set(there) | {job.id for job in added})
            due = self.now + 20 if self.chance.random() < 0.1 else 0.0
            added.append(Job(self.new_id(), after, self.chance.choice((0, 0, 0, 5)), due, self.chance.choice(GROUPS)))
        records = [{"id": job.id, "command": "x", "after": job.after or None, "priority": job.priority, "group": job.group,
                    "run_at": format_time(job.due) if job.due else None} for job in added]
        self.told[-1] += " %s" % ["%s after %s" % (job.id, job.after) for job in added]
        try:
            self.other.enqueue(records, "/", self.now)
        except JobRefused as error:
            self.test.assertIn("circle", str(error))
            return
        self.model.add(added)

    def cancel(self):
        self.on_some_id(lambda job_id: self.other.cancel([job_id], self.now),
                        self.model.jobs, lambda job: not job.ended, lambda job: self.model.end(job, DEAD, CANCELLED))

    def retry(self):
        job_id = self.some_id()
        completed = [job for job in self.model.jobs if job.id == job_id and job.state == COMPLETED]
        back = [job for job in self.dead() if job.id == job_id] or completed[-1:]
        if not back:
            self.test.assertRaises((JobNotFound, JobRefused), self.other.retry, Choice([job_id], None), self.now)
            return
        for job in back:
            self.bring_back(job)
        followers = self.bring_back_followers(back)
        done = self.other.retry(Choice([job_id], None), self.now)
        self.test.assertEqual((done.ids, sorted(done.followers)), ([job.id for job in back], sorted(job.id for job in followers)))

    def bring_back_followers(self, back):
        """Let what died because of these jobs come back, and what died because of that; all of it."""
        coming = [job for job in self.model.jobs if job.state == DEAD and job.reason == DEPENDENCY
                  and all(jobs and all(other.state != DEAD for other in jobs) for jobs in self.model.predecessors(job))
                  and any(other in back for jobs in self.model.predecessors(job) for other in jobs)]
        for job in coming:
            self.bring_back(job)
        return coming + self.bring_back_followers(back + coming) if coming else []

    def remove_all_of_an_id(self):
        job_id = self.some_id()
        there = [job for job in self.model.jobs if job.id == job_id]
        going = there + [job for job in self.model.only_buried if job.id == job_id]
        dependents = [job for job in self.model.jobs if job.state != COMPLETED and job_id in job.after and job not in going]
        if not going or any(job.state == PROCESSING for job in there) or (there and dependents):
            self.test.assertRaises((JobNotFound, JobRefused), self.other.remove, [job_id])
            return
        self.other.remove([job_id])
        for job in going:
            self.remove(job)

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
        self.on_some_id(lambda job_id: self.other.clean((DEAD,), Choice([job_id], None)), self.dead(), lambda job: True, self.remove)

    def remove(self, job):
        (self.model.jobs if job in self.model.jobs else self.model.only_buried).remove(job)

    def clean(self):
        self.other.clean((COMPLETED,), Choice(None, None))
        self.model.jobs = [job for job in self.model.jobs if job.state != COMPLETED or self.model.is_needed(job)]

    def some_id(self):
        job_id = self.chance.choice([job.id for job in self.model.jobs] if self.unique and self.model.jobs else IDS)
        self.told[-1] += " " + job_id
        return job_id

    def on_some_id(self, command, jobs, fits, change):
        """A command for one id, and what it does to each job of that id that fits. It refuses an id without any."""
        job_id = self.some_id()
        chosen = [job for job in jobs if job.id == job_id and fits(job)]
        if not chosen:
            self.test.assertRaises(JobRefused if any(job.id == job_id for job in jobs) else JobNotFound, command, job_id)
            return
        command(job_id)
        for job in chosen:
            change(job)

    # -- workers

    def claim(self):
        self.claim_with(self.chance.choice(self.workers))

    def claim_with(self, worker):
        """Claim with a worker, which may wait for the job that it tried last; whether there was a job."""
        token = self.token()
        failed, known = self.failed.pop(worker, (None, None))
        expected = self.model.next(self.now, known)
        job = worker.claim(token, self.now, failed)
        self.told[-1] += " %d: %s" % (self.workers.index(worker), job.id if job else None)
        self.take(worker, job, expected, token)
        return job is not None

    def token(self):
        self.serial += 1
        return "w-%d" % self.serial

    def take(self, worker, job, expected, token):
        """A job was claimed, or None: that which was expected."""
        place = [record["worker"] for record in self.test.records()].index(job.worker) if job is not None else None
        self.test.assertIs(None if place is None else self.model.jobs[place], expected)
        if job is not None:
            self.test.assertEqual(without_slot(job.worker), token)
            self.model.claim(expected, job.worker)
            self.check_slots()
            self.running.append((worker, job, expected))

    def check_slots(self):
        """No two jobs that run in a group with a limit have one slot, but where someone has put one of them there, or removed one, by hand."""
        for group in LIMITS:
            slots = [job.slot for _, job, known in self.running
                     if job.group == known.group == group and known.token == job.worker and known in self.model.jobs]
            self.test.assertEqual(len(slots), len(set(slots)))

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
        token = self.token() if self.chance.random() < 0.5 else None
        after, following = worker.record(job, outcome, self.now, token=token)
        held = known in self.model.jobs and known.token == job.worker
        self.test.assertEqual(after is not None, held)
        if held:
            self.change(known, outcome)
            if outcome == FAIL and known.state == PENDING and following is None and self.chance.random() < 0.5:
                self.failed[worker] = after, known
        if following is not None:
            self.told[-1] += ", then %s" % following.id
            self.take(worker, following, self.model.next(self.now), token)

    def change(self, known, outcome):
        """An attempt of a job ended."""
        if outcome is None:
            known.attempts -= 1
            known.become(PENDING)
        elif outcome == DONE:
            self.model.end(known, COMPLETED)
        elif known.attempts > SETTINGS["max_retries"]:
            self.model.end(known, DEAD, FAILED)
        else:
            known.become(PENDING, FAILED)
            wait = SETTINGS["backoff_base"] ** known.attempts
            known.put_off(self.now + wait, wait)

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

    def put_off(self):
        """`edit` of the time of a job, also of one that has failed."""
        pending = [job for job in self.model.jobs if job.state == PENDING]
        if pending:
            job = self.chance.choice(pending)
            due = self.now + self.chance.choice((10, 50))
            self.told[-1] += " %s" % job.id
            found = list(self.other.jobs())[self.model.jobs.index(job)]
            try:
                self.other.edit(found, dict(found.to_dict(), run_at=format_time(due)), self.now)
            except JobRefused:
                return  # what it comes after is gone, or comes after it
            job.put_off(due)

    # -- an editor

    def edit_by_hand(self):
        """Someone removes a job, changes one or types one, and saves the file in another layout."""
        if not self.model.jobs:
            return
        records = self.test.records()
        number = self.chance.randrange(len(records))
        job, record = self.model.jobs[number], records[number]
        way = self.chance.choice(("remove", "priority", "group", "type", "complete", "format"))
        self.told[-1] += " %s %s" % (way, job.id)
        if way == "remove":
            del records[number], self.model.jobs[number]
            if job.state == DEAD:
                self.model.only_buried.append(job)
        elif way == "priority":
            job.priority = record["priority"] = self.chance.randrange(9)
        elif way == "group":
            job.group = record["group"] = self.chance.choice(GROUPS)
        elif way == "type":
            typed = Job(self.new_id(), [job.id])
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
            ("retry_all", 1), ("purge", 1), ("clean", 1), ("remove_all_of_an_id", 1), ("restart", 1), ("put_off", 1), ("edit_by_hand", 1))


class ModelTest(HomeTest):

    def test_a_queue_does_what_a_model_of_it_does(self):
        end = time.process_time() + SECONDS
        for seed in range(SEED, SEED + HISTORIES):
            if time.process_time() > end:
                break
            history = History(self, seed)
            try:
                history.run()
            except Exception as error:
                raise AssertionError("SEED=%d: %s\n%s" % (seed, error, "\n".join(history.told))) from error
            self.assertTrue(history.told, "SEED=%d did nothing" % seed)


if __name__ == "__main__":
    unittest.main()
