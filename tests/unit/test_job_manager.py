"""The queue: adding, claiming, recording, retrying and removing jobs, by one process and by many."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import unittest
from collections import Counter
from unittest.mock import patch

from core.errors import CorruptFile, InvalidJob, JobNotFound, JobRefused, JsonError, StorageFault, storage_error
from core.job import COMPLETED, DEAD, FAILED, LOST, PENDING, PROCESSING, STATES, Outcome
from core.times import format_time, parse_time
from storage.claims import Finished
from storage import layout, view
from storage.selection import Choice
from tests.support.home import DEADLINE, ROOT, WINE, HomeTest, as_command, longest

NOW = 1795486146.5
ALL = Choice(None, None)
SUCCESS = Outcome(0, None)
FAILURE = Outcome(1, FAILED)

# Makes `manager` of the home that is its first argument.
CHILD = """
import os, sys, time
from core.job import Outcome
from core.settings import DEFAULTS
from storage.selection import Choice
from tests.support.queue import Queue
manager = Queue(sys.argv[1], DEFAULTS, print)
"""


class ManagerTest(HomeTest):

    def setUp(self):
        super().setUp()
        self.tokens = 0
        self.jobs = self.manager()

    def token(self):
        """A worker token that no attempt had before."""
        self.tokens += 1
        return "w-%d" % self.tokens

    def add(self, *ids, now=NOW, manager=None, **fields):
        """Add a job for each of these ids."""
        return (manager or self.jobs).enqueue([dict({"id": job_id, "command": "echo"}, **fields) for job_id in ids], "/", now)

    def claim(self, now=NOW, manager=None, preferred=None):
        """The job that comes next, or None."""
        return (manager or self.jobs).claim(self.token(), now, preferred)

    def claimed_ids(self, now=NOW, manager=None):
        """The ids of all jobs that may run, claimed one after another."""
        ids = []
        while True:
            job = self.claim(now, manager)
            if job is None:
                return ids
            ids.append(job.id)

    def finish(self, job, outcome=SUCCESS, now=NOW, output="", manager=None):
        """The job as it is after its attempt has ended."""
        return (manager or self.jobs).record(job, outcome, now, output)[0]

    def kill(self, *ids, now=NOW, output=""):
        """Let these jobs, which come next in this order, die at once."""
        self.jobs.settings = self.jobs.settings._replace(max_retries=0)
        for job_id in ids:
            job = self.claim(now)
            self.assertEqual(job.id, job_id)
            self.finish(job, now=now, outcome=FAILURE, output=output)

    def states(self):
        """id: state of every job, as the file has them."""
        return {record["id"]: record["state"] for record in self.records()}

    def dead_ids(self):
        """The ids in the dead letter queue, in order."""
        return [job.id for job in self.jobs.dead()]

    def edit(self, name, content):
        """Write a file as another program does, so long ago that nobody waits for it to hold still."""
        self.write(name, content)
        os.utime(self.path(name), (time.time() - 10, time.time() - 10))

    def child(self, code, *arguments):
        """A process in the background that runs this code with `manager` at hand."""
        process = subprocess.Popen([sys.executable, "-c", CHILD + code, self.home] + list(arguments), cwd=ROOT, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, universal_newlines=True)
        self._processes.append(process)
        return process

    def output_of(self, process):
        """What a process printed, once it has ended well."""
        output = process.communicate(timeout=DEADLINE)[0]
        self.assertEqual(process.returncode, 0, output)
        return output


class EnqueueTest(ManagerTest):

    def test_jobs_are_added_in_their_order_and_pending(self):
        self.assertEqual(self.add("a", "b", "c"), ["a", "b", "c"])
        self.assertEqual([(record["id"], record["state"], record["attempts"], record["worker"]) for record in self.records()],
                         [("a", PENDING, 0, None), ("b", PENDING, 0, None), ("c", PENDING, 0, None)])

    def test_job_is_stored_as_it_was_described(self):
        self.jobs.enqueue([{"command": "echo \"\u00e9\"\n", "id": 7, "own": [1, {"z": None}], "cwd": "/tmp"}], "/here", NOW)
        moment = format_time(NOW)
        self.assertEqual(list(self.records()[0].items()), [
            ("id", "7"), ("command", "echo \"\u00e9\"\n"), ("created_at", moment), ("own", [1, {"z": None}]), ("cwd", "/tmp"),
            ("state", PENDING), ("attempts", 0), ("exit_code", None), ("reason", None), ("run_at", None), ("started_at", None),
            ("updated_at", moment), ("worker", None)])

    def test_job_without_a_folder_runs_where_it_was_added(self):
        self.jobs.enqueue([{"id": "a", "command": "x"}, {"id": "b", "command": "x", "cwd": "/own"}, {"id": "c", "command": "x"}],
                          "/here", NOW)
        self.assertEqual([record["cwd"] for record in self.records()], ["/here", "/own", "/here"])

    def test_one_bad_job_and_none_is_added(self):
        self.add("before")
        content = self.read("jobs.json")
        good = {"id": "a", "command": "x"}
        for name, bad in (("no command", {"id": "b"}), ("no object", "b"),
                          ("half a surrogate pair in the command", {"id": "b", "command": "\ud800"}),
                          ("half a surrogate pair in the id", {"id": "\udcff", "command": "x"}),
                          ("half a surrogate pair in another field", {"id": "b", "command": "x", "own": ["\ud800"]}),
                          ("half a surrogate pair in a key", {"id": "b", "command": "x", "\ud800": 1})):
            for records in ([bad], [good, good, bad], [bad, good]):
                with self.subTest(name, of=len(records)):
                    with self.assertRaises(InvalidJob):
                        self.jobs.enqueue(records, "/", NOW)
                    self.assertEqual(self.read("jobs.json"), content)

    def test_bad_first_job_makes_no_file(self):
        with self.assertRaises(InvalidJob):
            self.jobs.enqueue([{"id": "a"}], "/", NOW)
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_source_that_breaks_off_adds_none(self):
        def source():
            yield {"id": "a", "command": "x"}
            raise JsonError("expecting value", "", 0)

        with self.assertRaises(JsonError):
            self.jobs.enqueue(source(), "/", NOW)
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_no_jobs_change_nothing(self):
        self.assertEqual(self.jobs.enqueue([], "/", NOW), [])
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_broken_file_is_refused_and_left_alone(self):
        self.edit("jobs.json", "[{\"id\": \"a\", \"command\": }]")
        for operation in (lambda: self.add("b"), self.claim, self.jobs.count, lambda: list(self.jobs.jobs()), lambda: self.jobs.find("a"),
                          lambda: list(self.jobs.dead()), lambda: self.jobs.retry(ALL, NOW), lambda: self.jobs.clean(COMPLETED, ALL)):
            with self.assertRaises(CorruptFile):
                operation()
        self.assertEqual(self.read("jobs.json"), b"[{\"id\": \"a\", \"command\": }]")

    def test_job_may_name_another_whose_own_fields_have_a_key_called_after(self):
        self.jobs.enqueue([{"id": "a", "command": "x", "own": {"before": 1, "after": "noon"}, "env": {"A": "1", "after": "x"}}], "/", NOW)
        self.assertEqual(self.add("b", after=["a"]), ["b"])
        self.finish(self.claim())
        self.assertEqual((self.jobs.clean(COMPLETED, ALL), self.claimed_ids()), ([], ["b"]))

    def test_created_at_is_strictly_increasing(self):
        later = NOW + 10
        for name, now in (("the same moment", NOW), ("a clock that was set back", NOW - 86400), ("a moment later", later),
                          ("the same again", later)):
            with self.subTest(name):
                self.add("a", "b", "c", now=now)
                self.add("d", now=now, manager=self.manager())
                times = [record["created_at"] for record in self.records()]
                self.assertEqual(times, sorted(set(times)))

    def test_created_at_is_the_time_of_adding_when_that_is_possible(self):
        self.add("a", now=NOW)
        self.add("b", now=NOW + 5)
        self.assertEqual([record["created_at"] for record in self.records()], [format_time(NOW), format_time(NOW + 5)])

    def test_created_at_of_many_jobs_goes_on_over_the_second(self):
        self.add(*map(str, range(10)), now=NOW + 0.499995)
        first = int(round((NOW + 0.499995) * 1e6))
        self.assertEqual([record["created_at"] for record in self.records()], [format_time((first + number) / 1e6) for number in range(10)])

    def test_created_at_is_greater_than_one_typed_by_hand(self):
        self.edit("jobs.json", json.dumps([{"id": "a", "command": "x", "created_at": "2100-01-01T00:00:00Z"}, {"id": "b", "command": "x"}]))
        self.add("c")
        times = [record["created_at"] for record in self.records()]
        self.assertEqual((max(times), len(set(times))), (times[2], 3))

    def test_created_at_is_strictly_increasing_without_the_notes(self):
        self.add("a", "b", now=NOW)
        self.forget_notes()
        self.add("c", now=NOW - 100)
        times = [record["created_at"] for record in self.records()]
        self.assertEqual(times, sorted(set(times)))

    def test_same_id_may_be_added_twice(self):
        self.add("a", "a")
        self.add("a", now=NOW + 1)
        found = self.jobs.find("a")
        self.assertEqual([job.id for job in found], ["a"] * 3)
        self.assertEqual([job.created_at for job in found], sorted(job.created_at for job in found))
        self.assertEqual(len({job.key for job in found}), 3)

    def test_many_jobs_are_added_at_once(self):
        ids = ["job%d" % number for number in range(20000)]
        self.assertEqual(self.add(*ids), ids)
        self.assertEqual([record["id"] for record in self.records()], ids)
        self.assertEqual(self.jobs.count(), {PENDING: 20000, PROCESSING: 0, COMPLETED: 0, DEAD: 0})

    def test_jobs_are_added_without_waiting_for_the_disk_when_told_so(self):
        process = self.child("calls = []\n"
                             "fsync = os.fsync\n"
                             "os.fsync = lambda descriptor: calls.append(1) or fsync(descriptor)\n"
                             "for wanted in (True, False):\n"
                             "    manager.settings = manager.settings._replace(fsync=wanted)\n"
                             "    manager.enqueue([{'id': 'a', 'command': 'x'}], '/', 1.0)\n"
                             "    del calls[:]\n"
                             "    manager.enqueue([{'id': 'b', 'command': 'x'}], '/', 1.0)\n"
                             "    print(len(calls) > 0)\n")
        self.assertEqual(self.output_of(process).split(), ["True", "False"])

    def test_disk_that_does_not_confirm_is_told_and_nothing_is_taken_back(self):
        self.add("a")
        process = self.child("from core.errors import NotConfirmed\n"
                             "calls = []\n"
                             "def fsync(descriptor):\n"
                             "    calls.append(1)\n"
                             "    raise OSError(5, 'Input/output error')\n"
                             "os.fsync = fsync\n"
                             "try:\n"
                             "    manager.enqueue([{'id': 'b', 'command': 'x'}], '/', 1.0)\n"
                             "except NotConfirmed as error:\n"
                             "    print(len(calls), error)\n")
        printed = self.output_of(process)
        self.assertTrue(printed.startswith("1 stored, but not confirmed on disk: %s" % self.path("jobs.json")), printed)
        self.assertEqual([record["id"] for record in self.records()], ["a", "b"])

    @unittest.skipIf(os.name == "nt", "an open file cannot be replaced on Windows")
    def test_job_that_an_editors_save_removes_before_it_is_acknowledged_is_added_again(self):
        self.add("a")
        self.edit("saved", json.dumps([{"id": "x", "command": "y"}]))
        process = self.child("fsync = os.fsync\n"
                             "def save_first(descriptor):\n"
                             "    if os.path.exists(manager.home + '/saved'):\n"
                             "        os.replace(manager.home + '/saved', manager.home + '/jobs.json')\n"
                             "    fsync(descriptor)\n"
                             "os.fsync = save_first\n"
                             "print(*manager.enqueue([{'id': 'b', 'command': 'x'}], '/', 1.0))\n")
        self.assertEqual(self.output_of(process), "b\n")
        self.assertEqual([record["id"] for record in self.records()], ["x", "b"])

    @unittest.skipIf(WINE, "half a minute for sixteen processes; tests.test_platforms has fewer")
    def test_3200_jobs_of_16_processes_are_all_there_once(self):
        code = ("for number in range(200):\n"
                "    manager.enqueue([{'id': '%s-%d' % (sys.argv[2], number), 'command': 'x'}], '/', time.time())\n")
        processes = [self.child(code, str(number)) for number in range(16)]
        for process in processes:
            self.output_of(process)
        records = self.records()
        self.assertEqual(Counter(record["id"] for record in records),
                         Counter("%d-%d" % (one, two) for one in range(16) for two in range(200)))
        times = [record["created_at"] for record in records]
        self.assertEqual(times, sorted(set(times)))
        for one in range(16):
            own = [int(record["id"].split("-")[1]) for record in records if record["id"].startswith("%d-" % one)]
            self.assertEqual(own, list(range(200)))


class ClaimTest(ManagerTest):

    def test_nothing_is_claimed_from_an_empty_queue(self):
        self.assertIsNone(self.claim())
        self.add("a")
        self.finish(self.claim())
        self.assertIsNone(self.claim())

    def test_first_in_is_first_out(self):
        self.add("c", "a")
        self.add("b")
        self.assertEqual(self.claimed_ids(), ["c", "a", "b"])

    def test_claimed_job_runs_on_disk_too(self):
        self.add("a", own=5)
        job = self.jobs.claim("w-7", NOW + 1)
        moment = format_time(NOW + 1)
        self.assertEqual((job.state, job.attempts, job.worker, job.started_at, job.updated_at, job.options["own"]),
                         (PROCESSING, 1, "w-7", moment, moment, 5))
        self.assertEqual(self.records()[0], job.to_dict())

    def test_command_of_any_length_and_content_comes_back(self):
        commands = [as_command("echo '\"\\ \n\u00e9\u4e16"), "x" * longest(300000), " \"state\": \"pending\" ", as_command(",\n{\"id\": \"x\""), "\x01\t"]
        self.jobs.enqueue([{"id": "a", "command": command} for command in commands], "/", NOW)
        self.assertEqual([self.claim().command for _ in commands], commands)

    def test_job_that_was_put_off_is_not_claimed_before_its_time(self):
        self.edit("jobs.json", json.dumps([{"id": "late", "command": "x", "run_at": format_time(NOW + 60)}, {"id": "now", "command": "x"}]))
        self.assertEqual(self.claimed_ids(NOW + 59.9), ["now"])
        self.assertEqual(self.jobs.next_due(), NOW + 60)
        self.assertEqual(self.claimed_ids(NOW + 60), ["late"])

    def test_jobs_added_later_are_seen(self):
        other = self.manager()
        self.add("a")
        self.assertEqual(self.claimed_ids(), ["a"])
        self.add("b")
        self.add("c", "d", manager=other)
        self.assertEqual(self.claimed_ids(), ["b", "c", "d"])

    def test_two_managers_in_turn_never_give_one_job_twice(self):
        ids = ["job%d" % number for number in range(60)]
        self.add(*ids)
        managers = [self.jobs, self.manager()]
        given = [self.claim(manager=managers[number % 2]).id for number in range(60)]
        self.assertEqual(given, ids)
        self.assertEqual([self.claim(manager=manager) for manager in managers], [None, None])

    def test_job_that_one_manager_gives_back_is_seen_by_the_other_in_its_old_place(self):
        other = self.manager()
        self.add("a", "b", "c", "d")
        first = self.claim()
        self.assertEqual([first.id, self.claim(manager=other).id], ["a", "b"])
        self.finish(first, None)
        self.assertEqual(self.claimed_ids(manager=other), ["a", "c", "d"])

    def test_changes_of_another_manager_cost_no_second_look_at_the_file(self):
        other = self.manager()
        self.add("a", "b", "c")
        self.claim(manager=self.jobs)
        for number in range(50):
            self.finish(self.claim(manager=other), None, manager=other)
            self.add("new%d" % number, manager=other)
        self.assertEqual(self.claim().id, "b")
        self.assertEqual((self.jobs.scans, other.scans), (1, 1))

    def test_file_that_was_rewritten_is_looked_at_again(self):
        self.add("a", "b", "c", "d")
        self.finish(self.claim())
        other = self.manager()
        other.clean(COMPLETED, ALL)
        self.assertEqual(self.claimed_ids(), ["b", "c", "d"])

    def test_file_that_was_edited_is_looked_at_again(self):
        self.add("a", "b")
        self.claim()
        self.edit("jobs.json", json.dumps([{"id": "x", "command": "y"}, {"id": "y", "command": "z"}]))
        self.assertEqual(self.claimed_ids(), ["x", "y"])

    def test_notes_may_be_deleted_at_any_time(self):
        self.add("a", "b", "c")
        job = self.claim()
        self.forget_notes()
        self.assertEqual(self.finish(job).state, COMPLETED)
        self.forget_notes()
        self.assertEqual(self.claimed_ids(), ["b", "c"])

    def test_line_2_on_disk_is_trusted_and_not_the_index(self):
        self.add("a", "b", "c")
        self.assertEqual(self.claim().id, "a")
        before = os.stat(self.path("jobs.json"))
        content = self.read("jobs.json").replace(b"\"state\": \"pending\"   ", b"\"state\": \"completed\" ", 1)
        with open(self.path("jobs.json"), "r+b") as file:
            file.write(content)
        os.utime(self.path("jobs.json"), ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertEqual(self.claimed_ids(), ["c"])
        self.jobs.reset()  # such a change is not counted

    def test_preferred_job_comes_before_any_other_when_it_may_run(self):
        self.add("a", "b", "c")
        job = self.finish(self.claim(), FAILURE)
        self.assertEqual(self.claim(NOW + 2, preferred=job).id, "a")
        later = self.finish(self.claim(NOW + 2), FAILURE, NOW + 2)
        self.assertEqual((later.id, self.claim(NOW + 3, preferred=later).id), ("b", "c"))
        self.assertEqual(self.claim(NOW + 4, preferred=later).id, "b")

    def test_preferred_job_that_another_one_took_is_not_given_twice(self):
        self.add("a", "b")
        job = self.finish(self.claim(), FAILURE)
        self.assertEqual(self.claim(NOW + 5, manager=self.manager()).id, "a")
        self.assertEqual(self.claim(NOW + 5, preferred=job).id, "b")

    def test_preferred_job_that_is_gone_is_no_fault(self):
        self.add("a", "b")
        job = self.finish(self.claim(), FAILURE)
        self.jobs.reset()
        self.add("c")
        self.assertEqual(self.claim(NOW + 5, preferred=job).id, "c")

    def test_job_whose_last_attempt_still_runs_is_left_alone_until_it_has_ended(self):
        self.add("a", "b")
        running = {self.jobs.find("a")[0].digest}
        self.jobs.claims.busy = lambda: frozenset(running)
        self.assertEqual(self.claimed_ids(), ["b"])
        running.clear()
        self.assertEqual(self.claimed_ids(NOW + 1), ["a"])

    def test_if_the_system_does_not_tell_who_runs_nothing_is_claimed_or_lost(self):
        def refuse():
            raise OSError(24, "Too many open files")

        self.add("a", "b")
        self.jobs.claims.busy = refuse
        with self.assertRaises(StorageFault):
            self.claim()
        self.jobs.claims.busy = frozenset
        self.assertEqual(self.claimed_ids(), ["a", "b"])

    def test_threads_that_share_a_manager_never_get_one_job_twice(self):
        ids = ["job%d" % number for number in range(300)]
        self.add(*ids)
        given = [[] for _ in range(8)]

        def claim_all(number):
            while True:
                job = self.jobs.claim("w%d-%d" % (number, len(given[number])), NOW)
                if job is None:
                    return
                given[number].append(job.id)
                self.jobs.record(job, SUCCESS, NOW)

        threads = [threading.Thread(target=claim_all, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(Counter(sum(given, [])), Counter(ids))
        self.assertEqual(self.jobs.count()[COMPLETED], 300)

    def test_processes_never_get_one_job_twice_while_others_are_added(self):
        code = ("done = 0\n"
                "while True:\n"
                "    job = manager.claim('w%s-%d' % (sys.argv[2], done), time.time())\n"
                "    if job is None:\n"
                "        if os.path.exists(manager.home + '/all-added'):\n"
                "            break\n"
                "        continue\n"
                "    done += 1\n"
                "    print(job.id)\n"
                "    manager.record(job, Outcome(0, None), time.time())\n")
        workers = [self.child(code, str(number)) for number in range(3)]
        ids = ["job%d" % number for number in range(300)]
        for start in range(0, 300, 10):
            self.add(*ids[start:start + 10], now=time.time())
        self.write("all-added", "")
        given = "".join(self.output_of(worker) for worker in workers).split()
        self.assertEqual(Counter(given), Counter(ids))
        self.assertEqual(set(self.states().values()), {COMPLETED})


    def test_nothing_is_claimed_while_the_queue_is_paused(self):
        self.add("a", "b", "c")
        job = self.claim()
        self.jobs.pause()
        self.assertIsNone(self.claim())
        self.assertIsNone(self.claim(manager=self.manager()))
        after, following = self.jobs.record(job, SUCCESS, NOW, token=self.token())
        self.assertEqual((after.state, following), (COMPLETED, None))
        self.jobs.resume()
        self.jobs.resume()
        self.assertEqual(self.claimed_ids(), ["b", "c"])

    def test_claim_is_not_lost_when_a_job_that_waits_for_a_dead_one_cannot_be_buried(self):
        """The dead letter queue is broken, so that the dependent cannot go there; who is not given a job must not have claimed one."""
        self.edit("jobs.json", json.dumps([{"id": "dead", "command": "x", "state": DEAD},
                                           {"id": "doomed", "command": "x", "after": ["dead"]},
                                           {"id": "a", "command": "x"}, {"id": "b", "command": "x"}]))
        self.edit("dlq.json", "[{]")
        given = []
        for _ in range(4):
            try:
                job = self.claim()
            except CorruptFile:
                continue
            given += [] if job is None else [job.id]
        running = [name for name, state in self.states().items() if state == PROCESSING]
        self.assertEqual(sorted(given), running)

    def test_next_job_is_not_lost_when_a_job_that_waits_for_a_dead_one_cannot_be_buried(self):
        self.add("a", "x")
        self.add("doomed", after=["x"])
        self.add("b")
        job = self.claim()
        self.manager().cancel(["x"], NOW, lambda job: "")
        self.edit("dlq.json", "[{]")
        given = []
        try:
            following = self.jobs.record(job, SUCCESS, NOW, token=self.token())[1]
            given += [] if following is None else [following.id]
        except CorruptFile:
            pass
        self.assertEqual(given, [name for name, state in self.states().items() if state == PROCESSING and name != "a"])


class CancelTest(ManagerTest):

    def cancel(self, *ids):
        """Cancel these and give back their ids and former states."""
        return [(job.id, job.state) for job in self.jobs.cancel(list(ids), NOW + 1, lambda job: "last words of " + job.id)]

    def test_pending_and_running_jobs_go_to_the_dlq(self):
        self.add("a", "b", "c")
        self.claim()
        self.assertEqual(self.cancel("a", "b"), [("a", PROCESSING), ("b", PENDING)])
        self.assertEqual([(job.id, job.reason, job.exit_code, job.options["output"], job.options["failed_at"]) for job in self.jobs.dead()],
                         [(name, "cancelled", None, "last words of " + name, format_time(NOW + 1)) for name in "ab"])
        self.assertEqual((self.states(), self.claimed_ids()), ({"a": DEAD, "b": DEAD, "c": PENDING}, ["c"]))

    def test_worker_sees_that_its_job_was_taken_away(self):
        self.add("a", "b")
        first, second = self.claim(), self.claim()
        self.manager().cancel(["a"], NOW, lambda job: "")
        self.assertEqual(self.jobs.taken_away([first, second]), [first])
        self.assertEqual((self.finish(first), self.states()), (None, {"a": DEAD, "b": PROCESSING}))

    def test_all_jobs_of_one_id_are_cancelled_but_those_that_have_ended(self):
        self.add("a", "a", "a")
        self.finish(self.claim())
        self.claim()
        self.assertEqual(self.cancel("a"), [("a", PROCESSING), ("a", PENDING)])
        self.assertEqual([record["state"] for record in self.records()], [COMPLETED, DEAD, DEAD])

    def test_id_that_is_given_twice_is_cancelled_once(self):
        self.add("a")
        self.assertEqual(self.cancel("a", "a"), [("a", PENDING)])
        self.assertEqual(len(self.records("dlq.json")), 1)

    def test_job_that_has_ended_or_is_not_there_is_refused_and_none_is_cancelled(self):
        self.add("a", "b", "c")
        self.finish(self.claim())
        self.kill("b")
        for ids in (["a"], ["b"], ["nope"], ["c", "a"], ["c", "nope"]):
            with self.subTest(ids):
                with self.assertRaises(JobNotFound):
                    self.cancel(*ids)
        self.assertEqual(self.states(), {"a": COMPLETED, "b": DEAD, "c": PENDING})

    def test_cancelled_job_is_retried_only_by_its_name(self):
        self.add("a", "b")
        self.cancel("a")
        self.kill("b")
        self.assertEqual(self.jobs.retry(ALL, NOW), ["b"])
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW), ["a"])
        self.assertEqual(self.claimed_ids(), ["a", "b"])


class RecordTest(ManagerTest):

    def test_success_completes_the_job(self):
        self.add("a")
        after = self.finish(self.claim(), now=NOW + 3)
        self.assertEqual((after.state, after.exit_code, after.reason, after.run_at, after.worker, after.updated_at),
                         (COMPLETED, 0, None, None, None, format_time(NOW + 3)))
        self.assertEqual(self.records()[0], after.to_dict())

    def test_failed_job_waits_on_disk_and_runs_again_when_it_is_due(self):
        self.add("a")
        after = self.finish(self.claim(), FAILURE)
        self.assertEqual((self.records()[0]["state"], self.records()[0]["run_at"], after.run_at),
                         (PENDING, format_time(NOW + 2), format_time(NOW + 2)))
        self.assertIsNone(self.claim(NOW + 1.9))
        self.assertEqual(self.jobs.next_due(), NOW + 2)
        again = self.claim(NOW + 2)
        self.assertEqual((again.id, again.attempts, again.run_at, again.exit_code, again.reason), ("a", 2, None, None, None))

    def test_wait_survives_the_manager(self):
        self.add("a")
        self.finish(self.claim(), FAILURE)
        other = self.manager()
        self.assertIsNone(self.claim(NOW + 1.9, other))
        self.assertEqual(self.claim(NOW + 2, other).attempts, 2)

    def test_wait_that_another_manager_began_is_kept(self):
        other = self.manager()
        self.add("a", "b")
        job = self.claim()
        self.assertEqual(self.claim(manager=other).id, "b")
        self.finish(job, FAILURE)
        self.assertIsNone(self.claim(NOW + 1.9, other))
        self.assertEqual(self.claim(NOW + 2, other).id, "a")

    def test_job_runs_four_times_with_waits_of_2_4_and_8_seconds_and_then_dies(self):
        self.add("a")
        now, waits = NOW, []
        while True:
            after = self.finish(self.claim(now), FAILURE, now)
            if after.state == DEAD:
                break
            waits.append(parse_time(after.run_at) - now)
            now += waits[-1]
        self.assertEqual((waits, after.attempts, self.states()), ([2, 4, 8], 4, {"a": DEAD}))
        self.assertIsNone(self.claim(now + 1e6))

    def test_others_run_while_a_job_waits(self):
        self.add("a", "b")
        self.finish(self.claim(), FAILURE)
        self.assertEqual((self.claim(NOW + 1).id, self.claim(NOW + 1)), ("b", None))

    def test_retry_that_is_due_comes_before_younger_jobs(self):
        self.add("a", "b", "c")
        self.finish(self.claim(), FAILURE)
        self.assertEqual(self.claimed_ids(NOW + 2), ["a", "b", "c"])

    def test_wait_is_no_longer_than_the_backoff_when_the_clock_was_set_back(self):
        self.add("a")
        self.finish(self.claim(), FAILURE)
        back = NOW - 86400
        self.assertEqual(next(seconds for seconds in range(10) if self.claim(back + seconds) is not None) <= 3, True)

    def test_outcome_and_next_job_are_one_step(self):
        self.add("a", "b", "c")
        after, following = self.jobs.record(self.claim(), SUCCESS, NOW, token="w-next")
        self.assertEqual((after.state, following.id, following.worker), (COMPLETED, "b", "w-next"))
        after, following = self.jobs.record(following, SUCCESS, NOW)
        self.assertEqual((after.state, following), (COMPLETED, None))
        self.assertEqual(self.states(), {"a": COMPLETED, "b": COMPLETED, "c": PENDING})

    def test_when_a_job_began_is_told_by_how_long_it_took_if_that_is_known(self):
        self.add("a", "b", "c")
        ended = [Finished(self.claim(), SUCCESS, NOW + 10, "", seconds) for seconds in (2.0, 0.0, 99.0)]
        self.assertEqual([job.started_at for job in self.jobs.finish_and_claim(ended, NOW + 10)[0]],
                         [format_time(NOW + 8), format_time(NOW), format_time(NOW)])

    def test_several_are_recorded_and_as_many_claimed_in_one_go(self):
        self.add("a", "b", "c", "d", "e")
        held = [self.claim() for _ in range(3)]
        outcomes = (SUCCESS, FAILURE, None)
        results, following = self.jobs.finish_and_claim([Finished(job, outcome, NOW, "", 0.0) for job, outcome in zip(held, outcomes)], NOW,
                                                  [self.token() for _ in range(9)])
        self.assertEqual([(job.id, job.state, job.attempts) for job in results],
                         [("a", COMPLETED, 1), ("b", PENDING, 1), ("c", PENDING, 0)])
        self.assertEqual([job.id for job in following], ["c", "d", "e"])
        self.assertEqual([job.worker for job in following], ["w-4", "w-5", "w-6"])

    def test_job_that_is_given_back_runs_again_and_that_attempt_does_not_count(self):
        self.add("a", "b")
        after = self.finish(self.claim(), None)
        self.assertEqual((after.state, after.attempts, after.run_at), (PENDING, 0, None))
        again = self.claim()
        self.assertEqual((again.id, again.attempts), ("a", 1))

    def test_lost_attempt_counts_and_the_job_runs_again_at_once(self):
        self.add("a")
        after = self.jobs.lose(self.claim(), NOW)
        self.assertEqual((after.state, after.reason, after.attempts, after.run_at), (PENDING, LOST, 1, None))
        self.assertEqual(self.claim().attempts, 2)

    def test_job_that_kills_every_worker_dies_in_the_end(self):
        self.add("a")
        for _ in range(4):
            after = self.jobs.lose(self.claim(), NOW, "last words")
        self.assertEqual((after.state, self.dead_ids(), next(self.jobs.dead()).options["output"]), (DEAD, ["a"], "last words"))

    def test_job_that_moved_in_the_file_is_found_by_its_token(self):
        self.add("a", "b")
        self.finish(self.claim())
        job = self.claim()
        self.manager().clean(COMPLETED, ALL)
        after = self.finish(job)
        self.assertEqual((after.id, after.state, self.states()), ("b", COMPLETED, {"b": COMPLETED}))
        self.assertNotEqual(after.place, job.place)

    def test_outcome_of_a_job_that_was_taken_away_counts_for_nothing(self):
        def edited():
            self.edit("jobs.json", json.dumps([dict(self.records()[0], worker="someone-else")]))

        def given_to_another():
            self.jobs.lose(self.jobs.find("a")[0], NOW)
            self.claim(manager=self.manager())

        for take_away in (self.jobs.reset, edited, given_to_another):
            for outcome in (SUCCESS, FAILURE, None):
                with self.subTest(take_away.__name__, outcome=outcome):
                    self.jobs.reset()
                    self.add("a")
                    job = self.claim()
                    take_away()
                    before = [other.to_dict() for other in self.jobs.jobs()]
                    self.assertEqual(self.jobs.record(job, outcome, NOW), (None, None))
                    self.assertEqual(([other.to_dict() for other in self.jobs.jobs()], self.dead_ids()), (before, []))

    def test_twins_are_told_apart(self):
        self.add("a", "a", "a")
        first, second = self.claim(), self.claim()
        self.finish(second)
        self.assertEqual([record["state"] for record in self.records()], [PROCESSING, COMPLETED, PENDING])
        self.finish(first, FAILURE)
        self.assertEqual([record["state"] for record in self.records()], [PENDING, COMPLETED, PENDING])

    def test_abandoned_jobs_are_those_whose_worker_does_not_live(self):
        self.add("a", "b", "c", "d")
        for worker in ("alive-1", "gone-1", "gone-2"):
            self.jobs.claim(worker, NOW)
        left = self.jobs.abandoned(lambda worker: worker.startswith("alive"))
        self.assertEqual([job.id for job in left], ["b", "c"])
        for job in left:
            self.jobs.lose(job, NOW)
        self.assertEqual(self.states(), {"a": PROCESSING, "b": PENDING, "c": PENDING, "d": PENDING})

    def test_running_job_without_a_worker_is_abandoned(self):
        self.edit("jobs.json", json.dumps([{"id": "a", "command": "x", "state": PROCESSING, "attempts": 1}]))
        left = self.jobs.abandoned(lambda worker: True)
        self.assertEqual([job.id for job in left], ["a"])
        self.assertEqual(self.jobs.lose(left[0], NOW).state, PENDING)

    def test_outcomes_are_synced_whatever_files_there_are(self):
        self.jobs.sync_outcomes()
        self.add("a", "b")
        self.finish(self.claim())
        self.jobs.sync_outcomes()
        self.kill("b")
        self.jobs.sync_outcomes()
        self.assertEqual(self.states(), {"a": COMPLETED, "b": DEAD})


class DeadTest(ManagerTest):

    def test_exhausted_job_moves_to_the_dlq(self):
        self.add("a", own=5)
        self.kill("a", now=NOW + 3, output="last\nlines\u00e9")
        record = self.records("dlq.json")[0]
        self.assertEqual((record["id"], record["state"], record["attempts"], record["exit_code"], record["reason"], record["failed_at"],
                          record["output"], record["own"]), ("a", DEAD, 1, 1, FAILED, format_time(NOW + 3), "last\nlines\u00e9", 5))
        self.assertEqual(self.states(), {"a": DEAD})

    def test_dlq_lists_jobs_in_the_order_in_which_they_died(self):
        self.add("a", "b", "c")
        first, second, third = self.claim(), self.claim(), self.claim()
        self.jobs.settings = self.jobs.settings._replace(max_retries=0)
        for number, job in enumerate((third, first, second)):
            self.finish(job, FAILURE, NOW + number)
        self.assertEqual(self.dead_ids(), ["c", "a", "b"])

    def test_empty_dlq_is_empty(self):
        self.assertEqual(self.dead_ids(), [])
        self.add("a")
        self.assertEqual(self.dead_ids(), [])

    def with_two_entries(self):
        """Two dead jobs, a and b, and two entries of a, as a crash between the two files leaves them: b, a, b, a died in turn."""
        self.add("a", "b")
        self.kill("a", "b", output="first")
        entries = self.read("dlq.json")
        self.jobs.retry(ALL, NOW)
        self.edit("dlq.json", entries)
        self.jobs = self.manager()
        self.jobs.settings = self.jobs.settings._replace(max_retries=0)
        a, b = self.claim(), self.claim()
        self.finish(b, FAILURE, output="second")
        self.finish(a, Outcome(9, FAILED), output="second")
        self.assertEqual([record["id"] for record in self.records("dlq.json")], ["a", "b", "b", "a"])

    def test_last_entry_of_a_job_counts(self):
        self.with_two_entries()
        self.assertEqual([(job.id, job.options["output"], job.exit_code) for job in self.jobs.dead()],
                         [("b", "second", 1), ("a", "second", 9)])

    def test_last_entry_of_a_job_counts_also_in_a_file_that_was_reformatted(self):
        self.with_two_entries()
        self.edit("dlq.json", json.dumps(self.records("dlq.json"), indent=2))
        self.assertEqual([(job.id, job.options["output"], job.exit_code) for job in self.jobs.dead()],
                         [("b", "second", 1), ("a", "second", 9)])

    def test_job_with_several_entries_is_retried_once(self):
        for name, reformat in (("as it was written", False), ("reformatted", True)):
            with self.subTest(name):
                self.jobs = self.manager()
                self.jobs.reset()
                self.with_two_entries()
                if reformat:
                    self.edit("dlq.json", json.dumps(self.records("dlq.json"), indent=2))
                self.assertEqual(sorted(self.jobs.retry(ALL, NOW)), ["a", "b"])
                self.assertEqual(([record["id"] for record in self.records()], self.dead_ids()), (["a", "b"], []))

    def test_entry_of_a_job_that_is_not_dead_is_ignored(self):
        self.add("a", "b")
        self.kill("a", "b")
        entries = self.read("dlq.json")
        self.jobs.retry(Choice(["a"], None), NOW)
        self.edit("dlq.json", entries)
        self.assertEqual(self.dead_ids(), ["b"])
        with self.assertRaises(JobNotFound):
            self.jobs.retry(Choice(["a"], None), NOW)
        with self.assertRaises(JobNotFound):
            self.jobs.purge(Choice(["a"], None))
        self.assertEqual(self.states(), {"a": PENDING, "b": DEAD})
        self.finish(self.claim(manager=self.manager()), manager=self.manager())
        self.assertEqual(self.dead_ids(), ["b"])

    def test_dead_job_without_an_entry_is_listed_and_can_be_retried(self):
        self.add("a", "b")
        self.kill("a", "b")
        os.unlink(self.path("dlq.json"))
        self.assertEqual(self.dead_ids(), ["a", "b"])
        self.assertEqual(self.jobs.retry(Choice(["b"], None), NOW), ["b"])
        self.assertEqual((self.states(), self.dead_ids()), ({"a": DEAD, "b": PENDING}, ["a"]))

    def test_entry_whose_job_is_gone_is_listed_and_can_be_retried(self):
        self.add("a", "b", own=5)
        self.kill("a", "b", output="last words")
        self.edit("jobs.json", json.dumps([record for record in self.records() if record["id"] == "b"]))
        self.assertEqual(self.dead_ids(), ["a", "b"])
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW + 9), ["a"])
        job = self.jobs.find("a")[0]
        self.assertEqual((job.state, job.attempts, job.reason, job.options), (PENDING, 0, None, {"own": 5, "cwd": "/"}))
        self.assertEqual((self.dead_ids(), self.claim(manager=self.manager()).id), (["b"], "a"))

    def test_entry_typed_by_hand_can_be_retried(self):
        self.edit("dlq.json", json.dumps([{"id": "a", "command": "x", "state": "dead"}]))
        self.assertEqual((self.dead_ids(), self.jobs.retry(ALL, NOW)), (["a"], ["a"]))
        self.assertEqual(([job.id for job in self.jobs.jobs((PENDING,))], self.dead_ids()), (["a"], []))

    def test_broken_dlq_is_refused_where_it_is_needed_and_left_alone(self):
        self.add("a", "b")
        self.kill("a")
        self.edit("dlq.json", "[{]")
        for operation in (self.dead_ids, lambda: self.jobs.retry(ALL, NOW), lambda: self.jobs.purge(ALL), self.jobs.reset):
            with self.assertRaises(CorruptFile):
                operation()
        self.assertEqual((self.read("dlq.json"), self.claimed_ids()), (b"[{]", ["b"]))


class BrokenDlqTest(ManagerTest):
    """No worker waits long for the repair of dlq.json: jobs.json says which jobs are dead, and the log has what they wrote."""

    def setUp(self):
        super().setUp()
        patience = patch("storage.dead_letters.DLQ_PATIENCE", 0)
        patience.start()
        self.addCleanup(patience.stop)

    def assert_dead_without_entry(self, *ids):
        """These jobs are dead in jobs.json alone, each was told of, and they are found once dlq.json is repaired."""
        self.assertEqual(sorted(job_id for job_id, state in self.states().items() if state == DEAD), sorted(ids))
        for job_id in ids:
            self.assertIn("that %s is dead is noted in jobs.json alone" % job_id, "".join(self.notices))
        if os.path.isdir(self.path("dlq.json")):
            os.rmdir(self.path("dlq.json"))
        else:
            self.edit("dlq.json", "[]")
        self.assertEqual(sorted(self.dead_ids()), sorted(ids))
        self.assertEqual(self.jobs.retry(ALL, NOW), list(ids))

    def test_a_job_dies_although_dlq_json_cannot_be_written(self):
        for name, spoil in (("broken", lambda: self.edit("dlq.json", "[{]")), ("a folder", lambda: os.mkdir(self.path("dlq.json")))):
            with self.subTest(name):
                self.jobs.reset()
                os.unlink(self.path("dlq.json"))
                self.add("a", "b", "c")
                spoil()
                self.kill("a", "b")
                self.assertEqual(self.claim().id, "c")
                self.assert_dead_without_entry("a", "b")

    def test_a_job_waits_for_a_dlq_json_that_is_broken_for_a_moment(self):
        self.add("a", "b")
        with patch("storage.dead_letters.DLQ_PATIENCE", 1000):
            self.edit("dlq.json", "[{]")
            job = self.claim()
            self.jobs.settings = self.jobs.settings._replace(max_retries=0)
            for _ in range(2):
                with self.assertRaises(CorruptFile):
                    self.finish(job, FAILURE)
            self.assertEqual(self.states()["a"], PROCESSING)
            self.edit("dlq.json", "[]")
            self.assertEqual(self.finish(job, FAILURE).state, DEAD)
        self.assertEqual([record["id"] for record in self.records("dlq.json")], ["a"])

    def test_a_job_dies_on_a_full_disk(self):
        self.add("a", "b")
        self.kill("a")
        with patch.object(self.jobs.store.dlq_json, "append", side_effect=storage_error("write", "dlq.json", OSError(28, "full"))):
            self.kill("b")
        self.assertEqual(self.states(), {"a": DEAD, "b": DEAD})
        self.assertIn("full; free some space and try again; that b is dead is noted in jobs.json alone", self.notices[0])
        self.assertEqual(self.dead_ids(), ["a", "b"])

    def test_a_job_dies_with_one_before_it_although_dlq_json_is_broken(self):
        self.add("a")
        self.add("b", after=["a"])
        self.add("c")
        self.edit("dlq.json", "[{]")
        self.kill("a")
        self.assertEqual(self.claimed_ids(), ["c"])
        self.assert_dead_without_entry("a", "b")


class RetryTest(ManagerTest):

    def test_retried_job_is_pending_again_with_all_its_attempts_before_it(self):
        self.add("a", own=5)
        self.kill("a")
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW + 9), ["a"])
        record = self.records()[0]
        self.assertEqual((record["state"], record["attempts"], record["exit_code"], record["reason"], record["run_at"],
                          record["updated_at"], record["own"]), (PENDING, 0, None, None, None, format_time(NOW + 9), 5))
        self.assertEqual((self.dead_ids(), self.records("dlq.json")), ([], []))

    def test_retried_job_keeps_its_place_in_the_queue(self):
        self.add("a", "b", "c")
        self.kill("a", "b")
        self.jobs.retry(Choice(["b"], None), NOW)
        self.jobs.retry(Choice(["a"], None), NOW)
        self.assertEqual(self.claimed_ids(manager=self.manager()), ["a", "b", "c"])

    def test_retried_job_is_seen_by_a_manager_that_has_claimed_before(self):
        other = self.manager()
        self.add("a", "b")
        self.kill("a")
        self.assertEqual(self.claim(manager=other).id, "b")
        self.jobs.retry(ALL, NOW)
        self.assertEqual(self.claimed_ids(manager=other), ["a"])

    def test_retried_job_is_seen_by_the_manager_that_retried_it(self):
        self.add("a")
        self.kill("a")
        self.jobs.retry(ALL, NOW)
        self.assertEqual(self.claimed_ids(), ["a"])

    def test_changes_of_others_are_seen_by_a_manager_that_retries(self):
        other = self.manager()
        self.add("a", "b", "c")
        self.kill("a")
        running = self.claim(manager=other)
        self.finish(running, None, manager=other)
        self.add("d", manager=other)
        self.jobs.retry(ALL, NOW)
        self.assertEqual(self.claimed_ids(), ["a", "b", "c", "d"])

    def test_all_or_those_that_are_named_are_retried(self):
        for ids, back in ((None, ["a", "b", "c"]), (["b"], ["b"]), (["c", "a"], ["a", "c"])):
            with self.subTest(ids):
                self.jobs = self.manager()
                self.jobs.reset()
                self.add("a", "b", "c", "d")
                self.kill("a", "b", "c")
                self.assertEqual(sorted(self.jobs.retry(Choice(ids, None), NOW)), back)
                self.assertEqual(self.states(), dict({name: PENDING if name in back else DEAD for name in "abc"}, d=PENDING))
                self.assertEqual(self.dead_ids(), [name for name in "abc" if name not in back])

    def test_all_of_one_id_are_retried(self):
        self.add("a", "a", "a")
        self.kill("a", "a")
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW), ["a", "a"])
        self.assertEqual([record["state"] for record in self.records()], [PENDING] * 3)

    def test_only_those_that_are_old_enough_are_chosen(self):
        self.add("a", "b")
        self.kill("a", now=NOW)
        self.kill("b", now=NOW + 100)
        self.assertEqual(self.jobs.retry(Choice(None, format_time(NOW + 50)), NOW + 200), ["a"])
        self.assertEqual(self.states(), {"a": PENDING, "b": DEAD})

    def test_unknown_id_is_refused_and_nothing_is_retried(self):
        self.add("a", "b", "c")
        self.kill("a", "b")
        self.finish(self.claim())
        for ids in (["nope"], ["a", "nope"], ["c"]):
            with self.subTest(ids):
                with self.assertRaises(JobNotFound) as caught:
                    self.jobs.retry(Choice(ids, None), NOW)
                self.assertIn(ids[-1], str(caught.exception))
                self.assertEqual((self.dead_ids(), self.states()["a"]), (["a", "b"], DEAD))

    def test_nothing_to_retry_is_no_fault(self):
        self.assertEqual(self.jobs.retry(ALL, NOW), [])
        self.add("a")
        self.assertEqual(self.jobs.retry(ALL, NOW), [])


class RemoveTest(ManagerTest):

    def mixed(self):
        """Jobs in all states: a and b completed, c and d dead, e running, f pending."""
        self.add("a", "b", "c", "d", "e", "f")
        self.finish(self.claim(), now=NOW)
        self.finish(self.claim(), now=NOW + 100)
        self.kill("c", now=NOW)
        self.kill("d", now=NOW + 100)
        return self.claim()

    def test_purged_jobs_are_gone_from_both_files(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.purge(Choice(["c"], None))], ["c"])
        self.assertEqual((list(self.states()), [record["id"] for record in self.records("dlq.json")], self.dead_ids()),
                         (["a", "b", "d", "e", "f"], ["d"], ["d"]))

    def test_all_dead_jobs_are_purged_or_those_that_are_old_enough(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.purge(Choice(None, format_time(NOW + 50)))], ["c"])
        self.assertEqual([job.id for job in self.jobs.purge(ALL)], ["d"])
        self.assertEqual((self.dead_ids(), list(self.states())), ([], ["a", "b", "e", "f"]))

    def test_completed_jobs_are_cleaned_and_no_others(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.clean(COMPLETED, ALL)], ["a", "b"])
        self.assertEqual((list(self.states()), self.dead_ids()), (["c", "d", "e", "f"], ["c", "d"]))

    def test_completed_jobs_are_cleaned_by_id_or_by_age(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.clean(COMPLETED, Choice(None, format_time(NOW + 50)))], ["a"])
        self.assertEqual([job.id for job in self.jobs.clean(COMPLETED, Choice(["b"], None))], ["b"])
        self.assertEqual(list(self.states()), ["c", "d", "e", "f"])

    def test_job_that_another_one_comes_after_is_kept_and_refused_by_its_id_with_the_name_of_that_one(self):
        self.mixed()
        self.add("g", after=["a"])
        with self.assertRaisesRegex(JobRefused, "'a' .*'g', which is pending"):
            self.jobs.clean(COMPLETED, Choice(["b", "a"], None))
        self.assertEqual(len(self.states()), 7)
        self.assertEqual([job.id for job in self.jobs.clean(COMPLETED, ALL)], ["b"])
        self.jobs.cancel(["g"], NOW, lambda job: "")
        with self.assertRaisesRegex(JobRefused, "'g', which is dead"):
            self.jobs.clean(COMPLETED, Choice(["a"], None))
        self.jobs.purge(Choice(["g"], None))
        self.assertEqual([job.id for job in self.jobs.clean(COMPLETED, Choice(["a"], None))], ["a"])

    def test_of_several_jobs_of_one_id_those_are_kept_that_a_dependent_means(self):
        self.add("a", "a")
        for now in (NOW, NOW + 1):
            self.finish(self.claim(), now=now)
        self.add("first", after=["a"], now=NOW + 2)  # comes after the second a, the newest
        self.assertEqual([job.created_at for job in self.jobs.clean(COMPLETED, ALL)], [format_time(NOW)])
        self.add("a", "a", priority=1, now=NOW + 3)
        for now in (NOW + 4, NOW + 5):
            self.finish(self.claim(), now=now)
        second = format_time(NOW + 0.000001)
        self.assertEqual([job.created_at for job in self.jobs.clean(COMPLETED, ALL)], [second])  # it comes after those two instead
        self.finish(self.claim(NOW + 6), now=NOW + 6)
        self.add("second", after=["a"], now=NOW + 7)
        self.assertEqual([(job.id, job.created_at) for job in self.jobs.clean(COMPLETED, ALL)],
                         [("first", format_time(NOW + 2)), ("a", format_time(NOW + 3))])
        self.assertEqual(self.claimed_ids(NOW + 8), ["second"])

    def test_dead_jobs_are_cleaned_as_they_are_purged(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.clean(DEAD, ALL)], ["c", "d"])
        self.assertEqual((list(self.states()), self.records("dlq.json")), (["a", "b", "e", "f"], []))

    def test_removed_is_only_what_is_in_that_state(self):
        self.mixed()
        for operation, ids in ((lambda choice: self.jobs.clean(COMPLETED, choice), ("c", "e", "f", "nope")),
                               (lambda choice: self.jobs.clean(DEAD, choice), ("a", "e", "f", "nope")),
                               (self.jobs.purge, ("a", "e", "f", "nope"))):
            for job_id in ids:
                with self.subTest(job_id):
                    with self.assertRaises(JobNotFound) as caught:
                        operation(Choice([job_id], None))
                    self.assertIn(job_id, str(caught.exception))
        self.assertEqual(len(self.states()), 6)

    def test_unknown_id_beside_a_known_one_removes_nothing(self):
        self.mixed()
        with self.assertRaises(JobNotFound):
            self.jobs.clean(COMPLETED, Choice(["a", "nope"], None))
        with self.assertRaises(JobNotFound):
            self.jobs.purge(Choice(["c", "nope"], None))
        self.assertEqual(len(self.states()), 6)

    def test_nothing_to_remove_leaves_the_files_as_they_are(self):
        self.add("a")
        self.assertEqual((self.jobs.clean(COMPLETED, ALL), self.jobs.purge(ALL)), ([], []))
        self.assertEqual((self.states(), os.path.exists(self.path("dlq.json"))), ({"a": PENDING}, False))

    def test_running_job_goes_on_while_others_are_removed(self):
        running = self.mixed()
        self.jobs.clean(COMPLETED, ALL)
        self.jobs.purge(ALL)
        self.assertEqual(self.finish(running).state, COMPLETED)
        self.assertEqual((self.states(), self.claimed_ids()), ({"e": COMPLETED, "f": PENDING}, ["f"]))

    def test_removed_jobs_leave_the_others_to_the_byte(self):
        self.add("a", "b", "c", command="x" * 5000, own={"z": [1.5, None, "\u00e9"]})
        self.finish(self.claim())
        before = self.records()[1:]
        self.jobs.clean(COMPLETED, ALL)
        self.assertEqual(self.records(), before)

    def test_dead_job_that_came_back_meanwhile_is_not_removed(self):
        self.add("a", "b")
        self.kill("a", "b")
        entries = self.read("dlq.json")
        self.jobs.retry(Choice(["a"], None), NOW)
        self.edit("dlq.json", entries)
        self.jobs.purge(ALL)
        self.assertEqual(self.states(), {"a": PENDING})

    def test_reset_removes_all_jobs_and_all_entries(self):
        running = self.mixed()
        self.jobs.reset()
        self.assertEqual((self.records(), self.records("dlq.json"), self.jobs.count()), ([], [], dict.fromkeys(STATES, 0)))
        self.assertIsNone(self.finish(running))
        self.add("new")
        self.assertEqual(self.claimed_ids(), ["new"])

    def test_reset_of_nothing_is_no_fault(self):
        self.jobs.reset()
        self.assertEqual((self.jobs.count(), self.dead_ids()), (dict.fromkeys(STATES, 0), []))

    def test_created_at_goes_on_after_jobs_were_removed(self):
        self.add("a", now=NOW + 100)
        self.finish(self.claim(NOW + 100))
        self.jobs.clean(COMPLETED, ALL)
        self.add("b", now=NOW)
        self.assertGreater(self.records()[0]["created_at"], format_time(NOW + 100))


class Between:
    """A lock that lets others do something before it is taken for the time number `turn` (from 0; None: each time)."""

    def __init__(self, lock, turn, action):
        self._lock, self._turn, self._action = lock, turn, action
        self.turns = 0

    def __enter__(self):
        if self._turn in (None, self.turns):
            self._action()
        self.turns += 1
        return self._lock.__enter__()

    def __exit__(self, *exception):
        return self._lock.__exit__(*exception)

    def __getattr__(self, name):
        return getattr(self._lock, name)


class MeanwhileTest(ManagerTest):
    """What others do at any moment of a command that chooses jobs."""

    def gaps(self, prepare, action):
        """A fresh queue, as `prepare()` fills it, for each moment at which the lock is free; `action(other manager)` is done there, or
        after the command. Ends once there is no such moment any more."""
        for turn in range(10):
            other = self.manager()
            self.jobs = self.manager()
            self.jobs.reset()
            prepare()
            did = []
            lock = self.jobs.store.lock = Between(self.jobs.store.lock, turn, lambda: did.append(action(other)))
            with self.subTest(turn):
                yield other
                self.jobs.store.lock = lock._lock
            if not did:
                self.assertGreater(lock.turns, 1)
                return
        self.fail("it takes the lock for ever")

    def complete(self, *ids):
        for job_id in ids:
            self.finish(self.claim())

    def test_job_that_another_one_is_added_after_is_not_removed(self):
        added = []

        def add(other):
            try:
                added.extend(self.add("b", after=["a"], manager=other))
            except JobRefused:
                pass  # it is gone already

        for _ in self.gaps(lambda: (self.add("a", "x"), self.complete("a", "x"), added.clear()), add):
            gone = {job.id for job in self.jobs.clean(COMPLETED, ALL)}
            self.assertEqual(gone, {"x"} if added else {"a", "x"})
            self.assertEqual(self.states(), {"a": COMPLETED, "b": PENDING} if added else {})

    def two_dead(self):
        self.add("a", "b")
        self.kill("a", "b")

    def test_dead_job_that_is_brought_back_is_not_purged_nor_said_to_be(self):
        back = []
        for _ in self.gaps(lambda: (self.two_dead(), back.clear()), lambda other: back.extend(other.retry(Choice(["a"], None), NOW))):
            gone = {job.id for job in self.jobs.purge(ALL)}
            self.assertEqual((gone, self.states()), ({"b"}, {"a": PENDING}) if back else ({"a", "b"}, {}))

    def test_dead_job_that_is_brought_back_is_refused_to_who_purges_it_by_its_id(self):
        back = []
        for _ in self.gaps(lambda: (self.two_dead(), back.clear()), lambda other: back.extend(other.retry(Choice(["a"], None), NOW))):
            try:
                gone = [job.id for job in self.jobs.purge(Choice(["a", "b"], None))]
            except JobNotFound:
                gone = []
            self.assertEqual((gone, self.states()), ([], {"a": PENDING, "b": DEAD}) if back else (["a", "b"], {}))

    def test_dead_job_that_is_purged_is_not_said_to_be_brought_back(self):
        gone = []
        for _ in self.gaps(lambda: (self.two_dead(), gone.clear()), lambda other: gone.extend(other.purge(Choice(["a"], None)))):
            back = self.jobs.retry(ALL, NOW)
            self.assertEqual((back, self.states()), (["b"], {"b": PENDING}) if gone else (["a", "b"], {"a": PENDING, "b": PENDING}))
            self.assertEqual(list(self.manager().dead()), [])

    def test_job_that_is_claimed_is_cancelled_as_a_running_one(self):
        for _ in self.gaps(lambda: self.add("a", "b"), lambda other: self.claim(manager=other)):
            running = any(record["state"] == PROCESSING for record in self.records())
            cancelled = [(job.id, job.state) for job in self.jobs.cancel(["a", "b"], NOW, lambda job: "")]
            running = running or cancelled[0][1] == PROCESSING
            self.assertEqual(cancelled, [("a", PROCESSING if running else PENDING), ("b", PENDING)])
            self.assertEqual(self.states(), {"a": DEAD, "b": DEAD})

    def test_job_that_ends_is_not_cancelled_nor_said_to_be(self):
        running, ended = [], []

        def prepare():
            self.add("a", "b")
            running[:], ended[:] = [self.claim()], []

        for _ in self.gaps(prepare, lambda other: ended.append(self.finish(running[0], manager=other))):
            try:
                cancelled = [job.id for job in self.jobs.cancel(["b", "a"], NOW, lambda job: "")]
            except JobNotFound as error:
                cancelled = []
                self.assertIn("'a'", str(error))
            self.assertEqual((cancelled, self.states()), ([], {"a": COMPLETED, "b": PENDING}) if ended else
                             (["b", "a"], {"a": DEAD, "b": DEAD}))

    def test_jobs_that_move_while_they_are_chosen_are_found_again(self):
        other = self.manager()

        def move():
            self.add("x", manager=other)
            self.finish(self.claim(manager=other), manager=other)
            other.clean(COMPLETED, Choice(["x"], None))

        for name, operation, left in (("clean", lambda: self.jobs.clean(COMPLETED, Choice(["a", "b"], None)), {"c": DEAD, "d": DEAD}),
                                      ("purge", lambda: self.jobs.purge(ALL), {"a": COMPLETED, "b": COMPLETED}),
                                      ("retry", lambda: self.jobs.retry(ALL, NOW),
                                       {"a": COMPLETED, "b": COMPLETED, "c": PENDING, "d": PENDING})):
            with self.subTest(name):
                self.jobs = self.manager()
                self.jobs.reset()
                self.add("a", "b", "c", "d")
                self.complete("a", "b")
                self.kill("c", "d")
                self.jobs.store.lock = Between(self.jobs.store.lock, None, move)
                self.assertEqual(len(operation()), 2)
                self.assertEqual({name: state for name, state in self.states().items() if name != "x"}, left)

    def test_no_record_is_parsed_under_the_lock_but_those_that_have_changed(self):
        parsed, held = [], []

        class Held(Between):
            def __enter__(self):
                self._action()
                held.append(self._lock.__enter__())

            def __exit__(self, *exception):
                held.pop()
                return self._lock.__exit__(*exception)

        def parse(*lines):
            parsed.append(bool(held))
            return layout.parse_record(*lines)

        for name, operation in (("clean", lambda: self.jobs.clean(COMPLETED, ALL)), ("purge", lambda: self.jobs.purge(ALL)),
                                ("retry", lambda: self.jobs.retry(ALL, NOW)),
                                ("cancel", lambda: self.jobs.cancel(["p%d" % number for number in range(20)], NOW, lambda job: ""))):
            with self.subTest(name):
                self.jobs = self.manager()
                self.jobs.reset()
                dead = ["d%d" % number for number in range(20)]
                self.add(*dead)
                self.kill(*dead)
                self.add(*["c%d" % number for number in range(20)])
                self.complete(*range(20))
                self.add(*["p%d" % number for number in range(20)])
                other, self.jobs = self.manager(), self.manager()
                self.jobs.store.lock = Held(self.jobs.store.lock, None, lambda: self.add("more", manager=other))
                del parsed[:]
                with patch("storage.view.parse_record", parse):
                    self.assertEqual(len(operation()), 20)
                self.assertGreaterEqual(parsed.count(False), 20)
                self.assertLessEqual(parsed.count(True), 4)

    def test_many_jobs_are_found_and_followed_over_a_rewrite_with_as_many_looks_at_the_file_as_one(self):
        looks = []
        for some in (["7"], list(map(str, range(300)))):
            self.jobs.reset()
            self.add("first", *map(str, range(300)))
            self.finish(self.claim())
            self.jobs = self.manager()
            with patch.object(view, "blocks", side_effect=layout.blocks) as blocks:
                jobs = [job for found in self.jobs.find_all(some) for job in found]
                self.jobs.clean(COMPLETED, ALL)
                self.assertEqual([job.id for job in self.jobs.refresh_all(jobs)], some)
            looks.append(blocks.call_count)
        self.assertEqual(looks[0], looks[1])
        with self.assertRaises(JobNotFound):
            self.jobs.find_all(["7", "nope"])
        self.jobs.reset()
        self.assertEqual(self.jobs.refresh_all(jobs), [None] * 300)

    def test_many_ids_take_no_more_looks_at_the_file_than_one(self):
        ids = list(map(str, range(300)))
        looks = []
        for some in (ids[:1], ids[1:]):
            self.jobs.reset()
            self.add(*ids)
            with patch.object(view, "blocks", side_effect=layout.blocks) as blocks:
                self.assertEqual([job.id for job in self.jobs.cancel(some, NOW, lambda job: "")], some)
                self.assertEqual(self.jobs.retry(Choice(some, None), NOW), some)
                self.jobs.cancel(some, NOW, lambda job: "")
                self.assertEqual([job.id for job in self.jobs.purge(Choice(some, None))], some)
            looks.append(blocks.call_count)
        self.assertEqual(looks[0], looks[1])


class LookTest(ManagerTest):

    def test_every_state_is_counted_also_those_without_jobs(self):
        self.assertEqual(self.jobs.count(), dict.fromkeys(STATES, 0))
        self.add("a", "b", "c", "d", "e")
        self.finish(self.claim())
        self.kill("b")
        self.claim()
        self.assertEqual(self.jobs.count(), {PENDING: 2, PROCESSING: 1, COMPLETED: 1, DEAD: 1})

    def test_jobs_are_listed_in_the_order_of_the_file_and_by_state(self):
        self.add("c", "a", "b")
        self.claim()
        self.assertEqual([job.id for job in self.jobs.jobs()], ["c", "a", "b"])
        self.assertEqual([job.id for job in self.jobs.jobs((PENDING,))], ["a", "b"])
        self.assertEqual([job.id for job in self.jobs.jobs((COMPLETED, PROCESSING))], ["c"])

    def test_job_is_found_by_its_whole_id(self):
        self.add("job1", "job11", "\u00e9 \"x\"\\", "7")
        for job_id in ("job1", "job11", "\u00e9 \"x\"\\", "7"):
            with self.subTest(job_id):
                self.assertEqual([job.id for job in self.jobs.find(job_id)], [job_id])

    def test_id_in_a_command_is_not_found(self):
        self.jobs.enqueue([{"id": "a", "command": "\"b\"", "b": "b"}], "/", NOW)
        with self.assertRaises(JobNotFound):
            self.jobs.find("b")

    def test_unknown_id_is_not_found(self):
        self.add("a")
        for job_id in ("b", "", "A", "a ", "\udcff", "\n"):
            with self.subTest(repr(job_id)):
                with self.assertRaises(JobNotFound):
                    self.jobs.find(job_id)

    def test_looking_changes_nothing_whatever_the_layout(self):
        content = json.dumps([{"id": "a", "command": "x"}, {"id": "b", "command": "y", "state": DEAD}], indent=3).encode("ascii")
        self.edit("jobs.json", content)
        self.assertEqual(self.jobs.count(), {PENDING: 1, PROCESSING: 0, COMPLETED: 0, DEAD: 1})
        self.assertEqual(([job.id for job in self.jobs.jobs()], self.jobs.find("b")[0].state, self.dead_ids()), (["a", "b"], DEAD, ["b"]))
        self.assertEqual(self.read("jobs.json"), content)

    def test_looking_makes_no_job_file(self):
        self.jobs.count()
        list(self.jobs.jobs())
        self.dead_ids()
        self.assertEqual([name for name in os.listdir(self.home) if name.endswith(".json")], [])

    def test_counts_and_lists_are_whole_while_others_change_the_file(self):
        ids = ["job%d" % number for number in range(40)]
        self.add(*ids, command="x" * 3000)
        code = ("number = 0\n"
                "while not os.path.exists(manager.home + '/enough'):\n"
                "    number += 1\n"
                "    job = manager.claim('w%s-%d' % (sys.argv[2], number), time.time())\n"
                "    if job is not None:\n"
                "        manager.record(job, None, time.time())\n"
                "print(number)\n")
        changers = [self.child(code, str(number)) for number in range(2)]
        self.wait_for(lambda: self.jobs.count()[PROCESSING] > 0)
        for _ in range(60):
            self.assertEqual(sum(self.jobs.count().values()), 40)
            self.assertEqual([job.id for job in self.jobs.jobs()], ids)
            self.assertEqual([job.id for job in self.jobs.find("job7")], ["job7"])
        self.write("enough", "")
        for changer in changers:
            self.assertGreater(int(self.output_of(changer)), 1)
        self.assertEqual(self.jobs.count()[PENDING], 40)

    def test_counts_never_go_down_while_jobs_are_added(self):
        adder = self.child("for number in range(300):\n"
                           "    manager.enqueue([{'id': str(number), 'command': 'x' * (number * 17 % 5000 + 1)}], '/', time.time())\n")
        seen = [0]
        while seen[-1] < 300:
            self.assertTrue(adder.poll() in (None, 0))
            count = self.jobs.count()[PENDING]
            listed = [job.id for job in self.jobs.jobs()]
            self.assertEqual(listed, [str(number) for number in range(len(listed))])
            seen += [count, len(listed)]
        self.output_of(adder)
        self.assertEqual(seen, sorted(seen))

    def test_manager_says_when_it_waits_for_the_lock(self):
        from storage import file_lock
        self.addCleanup(setattr, file_lock, "NOTICE_AFTER", file_lock.NOTICE_AFTER)
        file_lock.NOTICE_AFTER = 0.05
        holder = self.manager()
        thread = threading.Thread(target=self.add, args=("a",))
        with holder.store.lock:
            thread.start()
            self.wait_for(lambda: self.notices)
        thread.join(DEADLINE)
        self.assertIn(self.path("run", "lock"), self.notices[0])
        self.assertEqual(self.states(), {"a": PENDING})


if __name__ == "__main__":
    unittest.main()
