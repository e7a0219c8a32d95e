"""What commands do to the queue: adding, cancelling, retrying and removing jobs."""
from __future__ import annotations

import json
import os
import unittest
from collections import Counter

from core.errors import CorruptFile, InvalidJob, JobNotFound, JobRefused, JsonError
from core.job import COMPLETED, DEAD, PENDING, PROCESSING, STATES, Outcome
from core.times import format_time
from storage.output import log_path
from storage.selection import Choice
from tests.support.home import WINE
from tests.support.manager import ALL, FAILURE, NOW, ManagerTest


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
        self.assertEqual(self.jobs.enqueue([], "/", NOW).ids, [])
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_broken_file_is_refused_and_left_alone(self):
        self.edit("jobs.json", "[{\"id\": \"a\", \"command\": }]")
        for operation in (lambda: self.add("b"), self.claim, self.jobs.count, lambda: list(self.jobs.jobs()), lambda: self.jobs.find("a"),
                          lambda: list(self.jobs.dead()), lambda: self.jobs.retry(ALL, NOW), lambda: self.jobs.clean((COMPLETED,), ALL)):
            with self.assertRaises(CorruptFile):
                operation()
        self.assertEqual(self.read("jobs.json"), b"[{\"id\": \"a\", \"command\": }]")

    def test_job_may_name_another_whose_own_fields_have_a_key_called_after(self):
        self.jobs.enqueue([{"id": "a", "command": "x", "own": {"before": 1, "after": "noon"}, "env": {"A": "1", "after": "x"}}], "/", NOW)
        self.assertEqual(self.add("b", after=["a"]), ["b"])
        self.finish(self.claim())
        self.assertEqual((self.jobs.clean((COMPLETED,), ALL), self.claimed_ids()), ([], ["b"]))

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
                             "print(*manager.enqueue([{'id': 'b', 'command': 'x'}], '/', 1.0).ids)\n")
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


class CancelTest(ManagerTest):

    def cancel(self, *ids):
        """Cancel these and give back their ids and former states."""
        return [(job.id, job.state) for job in self.jobs.cancel(list(ids), NOW + 1)]

    def test_pending_and_running_jobs_go_to_the_dlq(self):
        self.add("a", "b", "c")
        os.makedirs(self.path("logs"), exist_ok=True)
        running, failed = self.claim(), self.claim()
        self.finish(failed, FAILURE)
        for job in (running, failed):
            self.write(os.path.relpath(log_path(self.home, job, 1), self.home), "last words of %s\n" % job.id)
        self.assertEqual(self.cancel("a", "b"), [("a", PROCESSING), ("b", PENDING)])
        self.assertEqual([(job.id, job.reason, job.exit_code, job.options["output"], job.options["failed_at"]) for job in self.jobs.dead()],
                         [(name, "cancelled", None, "last words of " + name, format_time(NOW + 1)) for name in "ab"])
        self.assertEqual((self.states(), self.claimed_ids()), ({"a": DEAD, "b": DEAD, "c": PENDING}, ["c"]))

    def test_worker_sees_that_its_job_was_taken_away(self):
        self.add("a", "b")
        first, second = self.claim(), self.claim()
        self.manager().cancel(["a"], NOW)
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
        for ids, fault in ((["a"], JobRefused), (["b"], JobRefused), (["nope"], JobNotFound), (["c", "a"], JobRefused),
                           (["c", "nope"], JobNotFound)):
            with self.subTest(ids):
                with self.assertRaises(fault):
                    self.cancel(*ids)
        self.assertEqual(self.states(), {"a": COMPLETED, "b": DEAD, "c": PENDING})

    def test_cancelled_job_is_retried_only_by_its_name(self):
        self.add("a", "b")
        self.cancel("a")
        self.kill("b")
        self.assertEqual(self.jobs.retry(ALL, NOW).ids, ["b"])
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW).ids, ["a"])
        self.assertEqual(self.claimed_ids(), ["a", "b"])


class RetryTest(ManagerTest):

    def test_retried_job_is_pending_again_with_all_its_attempts_before_it(self):
        self.add("a", own=5)
        self.kill("a")
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW + 9).ids, ["a"])
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
                self.assertEqual(sorted(self.jobs.retry(Choice(ids, None), NOW).ids), back)
                self.assertEqual(self.states(), dict({name: PENDING if name in back else DEAD for name in "abc"}, d=PENDING))
                self.assertEqual(self.dead_ids(), [name for name in "abc" if name not in back])

    def test_all_of_one_id_are_retried(self):
        self.add("a", "a", "a")
        self.kill("a", "a")
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW).ids, ["a", "a"])
        self.assertEqual([record["state"] for record in self.records()], [PENDING] * 3)

    def test_only_those_that_are_old_enough_are_chosen(self):
        self.add("a", "b")
        self.kill("a", now=NOW)
        self.kill("b", now=NOW + 100)
        self.assertEqual(self.jobs.retry(Choice(None, format_time(NOW + 50)), NOW + 200).ids, ["a"])
        self.assertEqual(self.states(), {"a": PENDING, "b": DEAD})

    def test_unknown_id_is_refused_and_nothing_is_retried(self):
        self.add("a", "b", "c")
        self.kill("a", "b")
        for ids, fault in ((["nope"], JobNotFound), (["a", "nope"], JobNotFound), (["c"], JobRefused)):
            with self.subTest(ids):
                with self.assertRaises(fault) as caught:
                    self.jobs.retry(Choice(ids, None), NOW)
                self.assertIn(ids[-1], str(caught.exception))
                self.assertEqual((self.dead_ids(), self.states()["a"]), (["a", "b"], DEAD))

    def test_a_completed_job_comes_back_by_its_name_alone_and_of_several_the_newest(self):
        self.add("a", "b")
        self.add("a", now=NOW + 1)
        for _ in range(3):
            self.finish(self.claim(NOW + 2), now=NOW + 2)
        self.assertEqual(self.jobs.retry(ALL, NOW + 3).ids, [])
        self.assertEqual(self.jobs.retry(Choice(["a"], None), NOW + 3).ids, ["a"])
        self.assertEqual([(record["id"], record["state"], record["attempts"]) for record in self.records()],
                         [("a", COMPLETED, 1), ("b", COMPLETED, 1), ("a", PENDING, 0)])
        self.assertEqual(self.claimed_ids(NOW + 4), ["a"])

    def test_of_one_id_the_dead_ones_come_back_before_a_completed_one(self):
        self.add("a", "a")
        self.kill("a")
        self.finish(self.claim())
        self.jobs.retry(Choice(["a"], None), NOW)
        self.assertEqual([record["state"] for record in self.records()], [PENDING, COMPLETED])

    def die(self, job_id, now=NOW):
        """Let a job die, and what comes after it."""
        job = self.claim(now)
        self.assertEqual(job.id, job_id)
        self.finish(job, Outcome(1, "failed"), now)
        self.assertIsNone(self.claim(now))

    def test_what_died_because_of_a_job_comes_back_with_it(self):
        self.jobs = self.manager(max_retries=0)
        self.add("dump")
        self.add("upload", after=["dump"])
        self.add("tidy", after=["upload"])
        self.die("dump")
        self.assertEqual(set(self.states().values()), {DEAD})
        self.assertEqual(self.jobs.retry(Choice(["dump"], None), NOW + 1)[:2], (["dump"], ["upload", "tidy"]))
        self.assertEqual((set(self.states().values()), self.records("dlq.json")), ({PENDING}, []))
        for job_id in ("dump", "upload", "tidy"):
            job = self.claim(NOW + 2)
            self.assertEqual(job.id, job_id)
            self.finish(job, now=NOW + 2)

    def test_what_would_die_again_at_once_stays_dead(self):
        self.jobs = self.manager(max_retries=0)
        self.add("dump", "load")
        self.add("upload", after=["dump"])
        self.add("both", after=["dump", "load"])
        self.add("last", after=["both"])
        self.finish(self.claim(), Outcome(1, "failed"))
        self.die("load")
        self.assertEqual(self.jobs.retry(Choice(["dump"], None), NOW + 1)[:2], (["dump"], ["upload"]))
        self.assertEqual(self.jobs.retry(Choice(["load"], None), NOW + 1)[:2], (["load"], ["both", "last"]))

    def test_a_dependent_that_was_cancelled_or_failed_itself_stays_dead(self):
        self.jobs = self.manager(max_retries=0)
        self.add("dump")
        self.add("no", after=["dump"])
        self.jobs.cancel(["no"], NOW)
        self.die("dump")
        self.assertEqual(self.jobs.retry(Choice(["dump"], None), NOW + 1)[:2], (["dump"], []))

    def test_nothing_to_retry_is_no_fault(self):
        self.assertEqual(self.jobs.retry(ALL, NOW).ids, [])
        self.add("a")
        self.assertEqual(self.jobs.retry(ALL, NOW).ids, [])


class EditTest(ManagerTest):

    def test_a_dead_job_is_edited_in_both_files_and_stays_as_dead_as_it_was(self):
        self.add("a", "b")
        self.kill("a", output="said")
        before, = self.jobs.find("a")
        self.jobs.edit(before, dict(before.fields(), command="true", note=1), NOW + 9)
        after, = self.jobs.find("a")
        self.assertEqual(after, before._replace(command="true", options=dict(before.options, note=1), place=after.place))
        entry, = self.records("dlq.json")
        self.assertEqual((entry["command"], entry["note"], entry["output"], entry["failed_at"], entry["state"]),
                         ("true", 1, "said", before.updated_at, DEAD))
        self.jobs.retry(ALL, NOW + 10)
        self.assertEqual(self.claim(NOW + 11).command, "true")

    def test_of_several_entries_only_those_of_the_job_change(self):
        self.add("a", "a")
        self.kill("a", "a")
        self.jobs.edit(self.jobs.find("a")[0], {"id": "a", "command": "true"}, NOW)
        self.assertEqual([record["command"] for record in self.records("dlq.json")], ["true", "echo"])


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
        self.assertEqual([job.id for job in self.jobs.clean((DEAD,), Choice(["c"], None))], ["c"])
        self.assertEqual((list(self.states()), [record["id"] for record in self.records("dlq.json")], self.dead_ids()),
                         (["a", "b", "d", "e", "f"], ["d"], ["d"]))

    def test_all_dead_jobs_are_purged_or_those_that_are_old_enough(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.clean((DEAD,), Choice(None, format_time(NOW + 50)))], ["c"])
        self.assertEqual([job.id for job in self.jobs.clean((DEAD,), ALL)], ["d"])
        self.assertEqual((self.dead_ids(), list(self.states())), ([], ["a", "b", "e", "f"]))

    def test_completed_jobs_are_cleaned_and_no_others(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.clean((COMPLETED,), ALL)], ["a", "b"])
        self.assertEqual((list(self.states()), self.dead_ids()), (["c", "d", "e", "f"], ["c", "d"]))

    def test_completed_jobs_are_cleaned_by_id_or_by_age(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.clean((COMPLETED,), Choice(None, format_time(NOW + 50)))], ["a"])
        self.assertEqual([job.id for job in self.jobs.clean((COMPLETED,), Choice(["b"], None))], ["b"])
        self.assertEqual(list(self.states()), ["c", "d", "e", "f"])

    def test_job_that_another_one_comes_after_is_kept_and_refused_by_its_id_with_the_name_of_that_one(self):
        self.mixed()
        self.add("g", after=["a"])
        with self.assertRaisesRegex(JobRefused, "'a' .*'g', which is pending"):
            self.jobs.clean((COMPLETED,), Choice(["b", "a"], None))
        self.assertEqual(len(self.states()), 7)
        self.assertEqual([job.id for job in self.jobs.clean((COMPLETED,), ALL)], ["b"])
        self.jobs.cancel(["g"], NOW)
        with self.assertRaisesRegex(JobRefused, "'g', which is dead"):
            self.jobs.clean((COMPLETED,), Choice(["a"], None))
        self.jobs.clean((DEAD,), Choice(["g"], None))
        self.assertEqual([job.id for job in self.jobs.clean((COMPLETED,), Choice(["a"], None))], ["a"])

    def test_of_several_jobs_of_one_id_those_are_kept_that_a_dependent_means(self):
        self.add("a", "a")
        for now in (NOW, NOW + 1):
            self.finish(self.claim(), now=now)
        self.add("first", after=["a"], now=NOW + 2)  # comes after the second a, the newest
        self.assertEqual([job.created_at for job in self.jobs.clean((COMPLETED,), ALL)], [format_time(NOW)])
        self.add("a", "a", priority=1, now=NOW + 3)
        for now in (NOW + 4, NOW + 5):
            self.finish(self.claim(), now=now)
        second = format_time(NOW + 0.000001)
        self.assertEqual([job.created_at for job in self.jobs.clean((COMPLETED,), ALL)], [second])  # it comes after those two instead
        self.finish(self.claim(NOW + 6), now=NOW + 6)
        self.add("second", after=["a"], now=NOW + 7)
        self.assertEqual([(job.id, job.created_at) for job in self.jobs.clean((COMPLETED,), ALL)],
                         [("first", format_time(NOW + 2)), ("a", format_time(NOW + 3))])
        self.assertEqual(self.claimed_ids(NOW + 8), ["second"])

    def test_dead_jobs_are_cleaned_as_they_are_purged(self):
        self.mixed()
        self.assertEqual([job.id for job in self.jobs.clean((DEAD,), ALL)], ["c", "d"])
        self.assertEqual((list(self.states()), self.records("dlq.json")), (["a", "b", "e", "f"], []))

    def test_both_states_are_cleaned_at_once_and_a_dead_dependent_that_goes_too_keeps_nothing(self):
        self.mixed()
        self.add("after", after=["b"])
        self.jobs.cancel(["after"], NOW)
        self.assertEqual([job.id for job in self.jobs.clean((COMPLETED,), ALL)], ["a"])
        self.assertEqual({job.id for job in self.jobs.clean((COMPLETED, DEAD), ALL)}, {"b", "c", "d", "after"})
        self.assertEqual((list(self.states()), self.records("dlq.json")), (["e", "f"], []))

    def test_a_job_in_whatever_state_is_removed_with_its_entry(self):
        self.mixed()
        for job_id in ("a", "c", "f"):
            with self.subTest(job_id):
                self.assertEqual([job.id for job in self.jobs.remove([job_id])], [job_id])
                self.assertNotIn(job_id, self.states())
        self.assertEqual([record["id"] for record in self.records("dlq.json")], ["d"])
        self.assertEqual({job.id for job in self.jobs.remove(["b", "d"])}, {"b", "d"})

    def test_what_runs_and_what_another_job_needs_is_not_removed(self):
        self.mixed()
        self.add("waits", after=["f"])
        for ids, fault, said in ((["e"], JobRefused, "'queuectl cancel e'"), (["f"], JobRefused, "'waits', which is pending"),
                                 (["a", "nope"], JobNotFound, "nope"), (["a", "e"], JobRefused, "running")):
            with self.subTest(ids):
                with self.assertRaises(fault) as caught:
                    self.jobs.remove(ids)
                self.assertIn(said, str(caught.exception))
                self.assertIn("a", self.states())
        self.assertEqual({job.id for job in self.jobs.remove(["f", "waits"])}, {"f", "waits"})

    def test_all_of_one_id_are_removed_also_what_dlq_json_alone_has(self):
        self.add("a", "a", "b")
        self.kill("a")
        self.assertEqual(len(self.jobs.remove(["a"])), 2)
        self.kill("b")
        self.write("jobs.json", "[]")
        self.assertEqual([job.id for job in self.manager().remove(["b"])], ["b"])
        self.assertEqual(self.records("dlq.json"), [])

    def test_removed_is_only_what_is_in_that_state(self):
        self.mixed()
        for operation, ids in ((lambda choice: self.jobs.clean((COMPLETED,), choice), ("c", "e", "f", "nope")),
                               (lambda choice: self.jobs.clean((DEAD,), choice), ("a", "e", "f", "nope"))):
            for job_id in ids:
                with self.subTest(job_id):
                    with self.assertRaises(JobNotFound) as caught:
                        operation(Choice([job_id], None))
                    self.assertIn(job_id, str(caught.exception))
        self.assertEqual(len(self.states()), 6)

    def test_unknown_id_beside_a_known_one_removes_nothing(self):
        self.mixed()
        with self.assertRaises(JobNotFound):
            self.jobs.clean((COMPLETED,), Choice(["a", "nope"], None))
        with self.assertRaises(JobNotFound):
            self.jobs.clean((DEAD,), Choice(["c", "nope"], None))
        self.assertEqual(len(self.states()), 6)

    def test_nothing_to_remove_leaves_the_files_as_they_are(self):
        self.add("a")
        self.assertEqual((self.jobs.clean((COMPLETED,), ALL), self.jobs.clean((DEAD,), ALL)), ([], []))
        self.assertEqual((self.states(), os.path.exists(self.path("dlq.json"))), ({"a": PENDING}, False))

    def test_running_job_goes_on_while_others_are_removed(self):
        running = self.mixed()
        self.jobs.clean((COMPLETED,), ALL)
        self.jobs.clean((DEAD,), ALL)
        self.assertEqual(self.finish(running).state, COMPLETED)
        self.assertEqual((self.states(), self.claimed_ids()), ({"e": COMPLETED, "f": PENDING}, ["f"]))

    def test_removed_jobs_leave_the_others_to_the_byte(self):
        self.add("a", "b", "c", command="x" * 5000, own={"z": [1.5, None, "\u00e9"]})
        self.finish(self.claim())
        before = self.records()[1:]
        self.jobs.clean((COMPLETED,), ALL)
        self.assertEqual(self.records(), before)

    def test_dead_job_that_came_back_meanwhile_is_not_removed(self):
        self.add("a", "b")
        self.kill("a", "b")
        entries = self.read("dlq.json")
        self.jobs.retry(Choice(["a"], None), NOW)
        self.edit("dlq.json", entries)
        self.jobs.clean((DEAD,), ALL)
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
        self.jobs.clean((COMPLETED,), ALL)
        self.add("b", now=NOW)
        self.assertGreater(self.records()[0]["created_at"], format_time(NOW + 100))
