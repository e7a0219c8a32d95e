"""Groups with limits, as several worker processes claim from one file: never more at once than may run, never one slot twice."""
from __future__ import annotations

import json
import os
import random

from core.job import CANCELLED
from core.slots import group_digest, slot_of
from execution.worker_files import Noted
from storage.claims import Finished
from tests.support.manager import ALL, FAILURE, NOW, SUCCESS, ManagerTest


class GroupClaimTest(ManagerTest):

    def setUp(self):
        super().setUp()
        self.limit(gpu=2)

    def limit(self, *managers, **limits):
        for manager in managers or (self.jobs,):
            manager.settings = manager.settings._replace(limits=limits)

    def others(self, count=2, **limits):
        """So many worker processes besides."""
        found = [self.manager() for _ in range(count)]
        self.limit(*found, **(limits or {"gpu": 2}))
        return found

    def test_a_full_groups_jobs_are_left_alone_and_the_next_one_that_may_run_is_taken(self):
        self.add("g1", "g2", "g3", group="gpu")
        self.add("a", "b")
        jobs = [self.claim() for _ in range(5)]
        self.assertEqual([job and (job.id, job.slot) for job in jobs], [("g1", 0), ("g2", 1), ("a", None), ("b", None), None])
        self.assertEqual([record["worker"] for record in self.records()][:3], ["w-1s0", "w-2s1", None])
        self.finish(jobs[0])
        job = self.claim()
        self.assertEqual((job.id, job.slot, self.claim()), ("g3", 0, None))

    def test_several_processes_share_one_limit_and_slots(self):
        self.add(*["g%d" % number for number in range(9)], group="gpu")
        workers = self.others(3)
        jobs = [self.claim(manager=worker) for worker in workers]
        self.assertEqual([job and job.slot for job in jobs], [0, 1, None])
        self.finish(jobs[1], manager=workers[1])
        self.assertEqual([job and (job.id, job.slot) for job in (self.claim(manager=worker) for worker in workers)],
                         [("g2", 1), None, None])

    def test_a_job_that_failed_frees_its_slot_while_it_waits_and_finds_its_turn_again(self):
        self.limit(gpu=1)
        self.add("g1", "g2", group="gpu")
        job = self.claim()
        job = self.finish(job, FAILURE)
        other = self.claim(preferred=job)
        self.assertEqual((other.id, other.slot), ("g2", 0))
        self.assertIsNone(self.claim(NOW + 100, preferred=job))
        self.finish(other, now=NOW + 100)
        self.assertEqual(self.claim(NOW + 100, preferred=job).id, "g1")

    def test_a_claimed_job_that_an_editor_puts_into_another_group_has_lost_its_slot(self):
        self.add("g1", "g2", group="gpu")
        job = self.claim()
        self.assertFalse(self.jobs.claims.has_lost_slot(job))
        for indent in (None, 1):
            with self.subTest(indent=indent):
                changed = [dict(record, group="net") if record["id"] == "g1" else record for record in self.records()]
                self.write("jobs.json", json.dumps(changed, indent=indent))
                self.assertTrue(self.jobs.claims.has_lost_slot(job))
                self.write("jobs.json", json.dumps([dict(record, group="gpu") for record in changed], indent=indent))
                self.assertFalse(self.jobs.claims.has_lost_slot(job))
        self.jobs.claims.finish(job, None, NOW)
        self.assertTrue(self.jobs.claims.has_lost_slot(job))

    def test_limits_of_now_hold_at_once(self):
        self.add(*["g%d" % number for number in range(9)], group="gpu")
        jobs = [self.claim(), self.claim()]
        self.limit(gpu=3)
        jobs.append(self.claim())
        self.assertEqual((jobs[2].slot, self.claim()), (2, None))
        self.limit(gpu=1)
        for job in jobs[:2]:
            self.finish(job)
            self.assertIsNone(self.claim())
        self.finish(jobs[2])
        self.assertEqual((self.claim().slot, self.claim()), (0, None))
        self.limit()
        self.assertEqual([self.claim().slot for _ in range(3)], [None] * 3)

    def test_a_limit_that_a_group_gets_while_its_jobs_run_counts_those(self):
        self.limit()
        self.add(*["g%d" % number for number in range(9)], group="gpu")
        self.add("a")
        jobs = [self.claim() for _ in range(3)]
        self.limit(gpu=2)
        self.assertEqual((self.claim().id, self.claim()), ("a", None))
        self.finish(jobs[0])
        self.assertIsNone(self.claim())
        self.finish(jobs[1])
        self.assertEqual((self.claim().slot, self.claim()), (0, None))

    def test_paused_groups_jobs_are_left_alone_until_it_goes_on(self):
        self.add("g1", "g2", group="gpu")
        self.add("c1", "c2", group="cpu")
        self.jobs.pause(["cpu", "gpu"])
        self.assertIsNone(self.claim())
        self.assertEqual(self.jobs.paused_groups(), ("cpu", "gpu"))
        self.jobs.resume(["cpu"])
        self.assertEqual(self.claimed_ids(), ["c1", "c2"])
        self.jobs.pause(["cpu"])
        self.jobs.resume(["gpu", "cpu"])
        self.assertEqual((self.claimed_ids(), self.jobs.paused_groups()), (["g1", "g2"], ()))
        self.assertFalse(os.path.exists(self.path("paused-groups")))

    def test_a_worker_for_some_groups_takes_no_other_jobs(self):
        self.limit(net=1)
        self.add("g1", group="gpu")
        self.add("c1", group="cpu")
        self.add("a")
        self.add("g2", group="gpu", after=["c1"])
        self.jobs.claims.groups = frozenset(("gpu", "net"))
        self.assertEqual(self.claimed_ids(), ["g1"])
        self.add("g3", group="gpu")
        self.add("n1", group="net")
        self.assertEqual(self.claimed_ids(), ["g3", "n1"])
        other = self.manager()
        self.finish(self.claim(manager=other), manager=other)
        self.assertEqual(self.claimed_ids(), ["g2"])

    def test_no_job_of_a_group_is_claimed_ahead_nor_one_that_comes_after_it(self):
        self.add("a", "b")
        self.add("g1", group="gpu")
        self.add("c")
        job = self.claim()
        tokens = [self.token() for _ in range(4)]
        _, following = self.jobs.finish_and_claim([Finished(job, SUCCESS, NOW, "", 0.0)], NOW, tokens)
        self.assertEqual([job.id for job in following], ["b"])
        self.assertEqual(self.claimed_ids(), ["g1", "c"])

    def test_end_of_a_job_in_a_full_group_is_made_known(self):
        self.add("g1", "g2", "g3", group="gpu")
        self.add("a")
        jobs = [self.claim() for _ in range(3)]
        self.finish(jobs[2])
        self.assertFalse(self.jobs.claims.made_room)
        self.finish(jobs[1])
        self.assertTrue(self.jobs.claims.made_room)
        self.jobs.claims.made_room = False
        self.finish(jobs[0])
        self.assertFalse(self.jobs.claims.made_room)

    def test_a_new_process_counts_what_runs_by_the_file(self):
        self.add("g1", "g2", "g3", group="gpu")
        self.claim()
        other = self.others(1)[0]
        self.assertEqual((self.claim(manager=other).slot, self.claim(manager=other)), (1, None))

    def test_group_and_state_that_an_editor_changes_count_as_they_are_in_the_file(self):
        self.limit(gpu=1, net=1)
        self.add("g1", "g2", group="gpu")
        self.add("n1", group="net")
        self.assertEqual(self.claim().id, "g1")
        records = self.records()
        records[0]["group"], records[1]["group"] = "net", "other"
        self.edit("jobs.json", json.dumps(records))
        self.assertEqual([self.claim().id, self.claim()], ["g2", None])
        records = self.records()
        records[0].update(state="completed", worker=None)
        self.edit("jobs.json", json.dumps(records, indent=1))
        self.assertEqual((self.claim().id, self.claim()), ("n1", None))

    def test_a_cancelled_job_keeps_its_slot_while_its_attempt_is_being_ended(self):
        self.limit(gpu=1)
        self.add("g1", "g2", group="gpu")
        job, noted = self.claim(), {}
        other = self.others(1, gpu=1)[0]
        self.assertIsNone(self.claim(manager=other))
        for manager in (self.jobs, other):
            manager.claims.noted = lambda: noted
        noted[job.worker] = Noted(job.digest, group_digest("gpu"), 0)
        self.manager().cancel(["g1"], NOW)
        for manager in (other, self.jobs, self.others(1, gpu=1)[0]):
            manager.claims.noted = lambda: noted
            self.assertIsNone(self.claim(manager=manager))
            self.assertLess(manager.next_due(), NOW + 1)
        noted.clear()
        self.assertEqual((self.claim(manager=other).slot, self.claim()), (0, None))

    def test_a_job_that_was_cancelled_and_brought_back_unseen_keeps_its_slot_as_well(self):
        self.limit(gpu=1)
        self.add("g1", "g2", group="gpu")
        job, commands = self.claim(), self.manager()
        self.jobs.claims.noted = lambda: {job.worker: Noted(job.digest, group_digest("gpu"), 0)}
        commands.cancel(["g1"], NOW)
        commands.retry(ALL._replace(names=["g1"]), NOW)
        self.assertIsNone(self.claim())

    def test_an_index_full_of_what_others_have_done_is_made_anew(self):
        other = self.others(1, gpu=1)[0]
        self.limit(gpu=1)
        self.add("first", group="gpu")
        self.claim()
        self.assertIsNone(self.claim(manager=other))
        for batch in range(4):
            self.add(*["g%d" % number for number in range(500)], group="gpu")
            self.assertIsNone(self.claim(manager=other))
            self.manager().cancel(["g%d" % number for number in range(500)], NOW)
        self.claim(manager=other)
        self.assertLess(other.claims._index.groups.size, 1000)
        self.assertEqual(self.records()[-1]["reason"], CANCELLED)

    def test_in_random_histories_of_several_processes_no_limit_is_exceeded_and_no_slot_held_twice(self):
        for seed in range(8):
            chance = random.Random(seed)
            self.jobs.reset()
            limits = {"gpu": 2, "net": 1}
            workers, running, now, given = self.others(3, **limits), [], NOW, 0
            for step in range(150):
                now += chance.choice((0.01, 1, 5))
                what = chance.random()
                worker = chance.choice(workers)
                if what < 0.3:
                    self.add(*["j%d-%d" % (step, number) for number in range(chance.randrange(3))], now=now, priority=chance.choice((0, 1)),
                             group=chance.choice(("gpu", "net", "free")))
                elif what < 0.7:
                    job = self.claim(now, worker)
                    if job is not None:
                        given += 1
                        running.append((worker, job))
                elif what < 0.95 and running:
                    worker, job = running.pop(chance.randrange(len(running)))
                    worker.record(job, chance.choice((SUCCESS, FAILURE, None)), now)
                else:
                    workers[workers.index(worker)] = self.others(1, **limits)[0]
                    running = [(workers[0] if each is worker else each, job) for each, job in running]
                for group, limit in limits.items():
                    slots = [slot_of(record["worker"]) for record in self.records()
                             if record["state"] == "processing" and record["group"] == group]
                    self.assertLessEqual(len(slots), limit)
                    self.assertEqual(len(set(slots)), len(slots))
                    self.assertLessEqual(set(slots), set(range(limit)))
            self.assertGreater(given, 20)
            for _, job in running:
                workers[0].record(job, SUCCESS, now)
            while True:
                now += 1000
                jobs = [job for job in (self.claim(now, worker) for worker in workers) if job is not None]
                for job in jobs:
                    workers[0].record(job, SUCCESS, now)
                if not jobs:
                    break
            self.assertNotIn("pending", {record["state"] for record in self.records()})
