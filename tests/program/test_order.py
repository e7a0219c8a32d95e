"""What runs next: priority, then arrival, not before its time, not before what it comes after; with several workers, and restarts."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import unittest

from core.errors import InvalidJob, JobRefused
from core.job import DEAD, FAILED, Outcome
from core.job_record import job_from_record
from core.new_job import first_run_at
from core.dependencies import find_cycle, in_circles
from core.rules import backoff_delay, ready_at, time_limit
from core.settings import DEFAULTS
from core.times import format_time
from storage.selection import Choice
from tests.support.home import ROOT, WINDOWS, HomeTest, QueueTest

NOW = 1800000000.0
DONE = Outcome(0, None)
FAIL = Outcome(3, FAILED)


def job(job_id, **fields):
    """A job as a user describes it."""
    return dict({"id": job_id, "command": "true"}, **fields)


class OrderTest(HomeTest):
    """The order in which managers give out jobs."""

    def add(self, *records, manager=None, now=NOW):
        """Add jobs."""
        (manager or self.manager()).enqueue(records, "/", now)

    def claim(self, manager, now=NOW):
        """The id of the next job, or None, and the job."""
        self.tokens = getattr(self, "tokens", 0) + 1
        return manager.claim("worker-%d" % self.tokens, now)

    def order(self, manager, now=NOW, outcome=DONE):
        """The ids of the jobs in the order in which one worker runs them."""
        ids = []
        while True:
            following = self.claim(manager, now)
            if following is None:
                return ids
            ids.append(following.id)
            manager.record(following, outcome, now)

    def test_the_order_is_priority_then_arrival_then_not_before_its_time_or_its_turn(self):
        table = (
            ("arrival", [job("a"), job("b"), job("c")], "abc"),
            ("priority", [job("a"), job("b", priority=5), job("c", priority=-5), job("d", priority=5), job("e")], "bdaec"),
            ("not before its time", [job("a", delay=10), job("b", run_at=format_time(NOW + 20)), job("c")], "c"),
            ("a time that has passed", [job("a", run_at=format_time(NOW - 20)), job("b")], "ab"),
            ("a priority does not hurry a schedule", [job("a", delay=10, priority=9), job("b")], "b"),
            ("after", [job("a", after=["c"]), job("b"), job("c")], "bca"),
            ("a chain", [job("a", after=["b"]), job("b", after=["c"]), job("c")], "cba"),
            ("after several", [job("a", after=["b", "c"]), job("b"), job("c", priority=1)], "cba"),
            ("after with a priority", [job("a", after=["c"], priority=9), job("b"), job("c", priority=1)], "cab"),
            ("after all jobs with that id", [job("a", after=["b"]), job("b"), job("x"), job("b")], "bxba"),
            ("after one that is scheduled", [job("a", after=["b"]), job("b", delay=10)], ""),
        )
        for name, records, expected in table:
            with self.subTest(name):
                self.manager().reset()
                self.add(*records)
                self.assertEqual("".join(self.order(self.manager())), expected)

    def test_a_restart_in_the_middle_changes_nothing(self):
        self.add(job("a"), job("b", priority=5), job("c", after=["a"]), job("d", delay=10), job("e", priority=-1))
        ids = []
        while True:
            manager = self.manager()
            following = self.claim(manager)
            if following is None:
                break
            ids.append(following.id)
            manager.record(following, DONE, NOW)
        self.assertEqual(ids, ["b", "a", "c", "e"])
        self.assertEqual(self.order(self.manager(), NOW + 11), ["d"])

    def test_two_workers_and_one_that_adds_cancels_and_retries_keep_to_the_same_order(self):
        first, second, other = self.manager(), self.manager(), self.manager(max_retries=0)
        self.add(*[job("n%d" % number) for number in range(4)], manager=other)
        self.assertEqual(self.claim(first).id, "n0")
        self.add(job("urgent", priority=9), manager=other)
        self.assertEqual(self.claim(second).id, "urgent")
        other.cancel(["n1"], NOW)
        self.assertEqual(self.claim(first).id, "n2")
        self.assertEqual(other.retry(Choice(["n1"], None), NOW).ids, ["n1"])
        self.add(job("late", after=["n3"]), manager=other)
        self.assertEqual(self.claim(second).id, "n1")
        last = self.claim(first)
        self.assertEqual(last.id, "n3")
        self.assertIsNone(self.claim(second))
        first.record(last, DONE, NOW)
        self.assertEqual(self.claim(second).id, "late")
        self.assertIsNone(self.claim(first))

    def test_a_job_added_later_with_an_id_that_is_waited_for_is_waited_for_too(self):
        manager = self.manager()
        self.add(job("a", after=["a0"]), job("a0"))
        first = self.claim(manager)
        self.add(job("a0"))
        manager.record(first, DONE, NOW)
        second = self.claim(manager)
        self.assertEqual(second.id, "a0")
        self.assertIsNone(self.claim(manager))
        manager.record(second, DONE, NOW)
        self.assertEqual(self.claim(manager).id, "a")

    def test_what_waits_for_a_dead_job_dies_with_it_and_is_retried_like_any_other(self):
        manager = self.manager(max_retries=0)
        self.add(job("a"), job("b", after=["a"]), job("c", after=["b"]), job("d"))
        self.assertEqual(self.order(manager, outcome=FAIL), ["a", "d"])
        reasons = {dead.id: dead.reason for dead in manager.dead()}
        self.assertEqual(reasons, {"a": "failed", "d": "failed", "b": "dependency", "c": "dependency"})
        self.assertEqual(sorted(self.manager().retry(Choice(None, None), NOW).ids), ["a", "b", "c", "d"])
        self.assertEqual(self.order(manager), ["a", "b", "c", "d"])
        self.assertEqual(list(manager.dead()), [])

    def test_who_buries_a_dependent_is_told_of_it_and_of_what_it_died(self):
        manager, told = self.manager(max_retries=0), []
        manager.claims.buried = told.extend
        self.add(job("a"), job("b", after=["a"]), job("c", after=["b"]), manager=manager)
        self.assertEqual(self.order(manager, outcome=FAIL), ["a"])
        self.assertEqual([(dead.id, dead.state, dead.ending) for dead in told],
                         [("b", DEAD, "a, which it comes after, is dead"), ("c", DEAD, "b, which it comes after, is dead")])
        self.assertEqual([dead.ending for dead in self.manager().dead()][1:], [dead.ending for dead in told])

    def test_what_it_died_of_does_not_come_back_with_it(self):
        manager = self.manager(max_retries=0)
        self.add(job("a"), job("b", after=["a"]))
        self.order(manager, outcome=FAIL)
        self.write("jobs.json", "[]")  # now only dlq.json has them
        self.manager().retry(Choice(None, None), NOW)
        self.assertEqual([record for record in self.records() if "died_of" in record], [])

    def test_many_that_die_with_one_keep_others_waiting_for_a_part_of_them_only(self):
        manager, told = self.manager(max_retries=0, fsync=False), []
        manager.claims.buried = lambda jobs: told.append(len(jobs))
        self.add(job("a"), *[job("b%d" % number, after=["a"]) for number in range(450)], manager=manager)
        self.assertEqual(self.order(manager, outcome=FAIL), ["a"])
        self.assertEqual(told, [200, 200, 50])

    def test_a_dependent_is_buried_by_a_worker_that_only_looks_too(self):
        manager = self.manager(max_retries=0)
        self.add(job("a"), job("b", after=["a"]))
        manager.record(self.claim(manager), FAIL, NOW)
        self.assertIsNone(self.claim(self.manager()))
        self.assertEqual([record["state"] for record in self.records()], [DEAD, DEAD])

    def test_what_a_worker_saw_dead_and_was_retried_takes_nothing_along(self):
        """The worker is busy all the time; it looks each second."""
        manager, other = self.manager(), self.manager()
        self.add(job("long"), job("build"), job("deploy", after=["build"]))
        long = self.claim(manager)
        other.cancel(["build"], NOW)
        self.assertEqual(manager.taken_away([long]), [])
        other.retry(Choice(["build"], None), NOW)
        following = manager.record(long, DONE, NOW, token="worker-next")[1]
        self.assertEqual(following.id, "build")
        manager.record(following, DONE, NOW)
        self.assertEqual(self.claim(manager).id, "deploy")

    def test_jobs_that_are_retried_together_run_whichever_worker_has_seen_them_dead(self):
        first, second = self.manager(), self.manager()
        self.add(job("long"), job("build"), job("deploy", after=["build"]))
        self.claim(second)
        first.cancel(["build"], NOW)
        second.taken_away([])
        self.assertIsNone(self.claim(first))  # it buries deploy
        self.assertEqual(first.retry(Choice(["build", "deploy"], None), NOW).ids, ["build", "deploy"])
        self.assertEqual(self.order(second), ["build", "deploy"])

    def test_a_twin_that_another_worker_has_taken_at_once_is_waited_for_too(self):
        first, second = self.manager(), self.manager()
        self.add(job("build"), job("deploy", after=["build"]))
        build = self.claim(first)
        self.assertIsNone(self.claim(second))
        self.add(job("build"))
        twin = self.claim(second)
        self.assertIsNone(first.record(build, DONE, NOW, token="worker-next")[1])
        self.assertIsNone(self.claim(first))
        second.record(twin, FAIL, NOW)
        self.assertIsNone(self.claim(first))
        self.assertEqual(self.order(second, NOW + 9), ["build", "deploy"])

    def test_a_twin_that_is_added_before_the_dependent_is_taken_is_waited_for_too(self):
        manager = self.manager()
        self.add(job("build"), job("deploy", after=["build"]))
        manager.record(self.claim(manager), DONE, NOW)
        self.add(job("build"))
        self.assertEqual(self.order(manager), ["build", "deploy"])

    def test_the_priority_that_an_editor_gave_a_running_job_counts_when_it_comes_back(self):
        manager = self.manager()
        self.add(job("a"))
        running = self.claim(manager)
        self.write("jobs.json", json.dumps([dict(self.records()[0], priority=-1)]))
        self.assertIsNone(self.claim(manager))
        manager.record(running, FAIL, NOW)
        self.add(job("b"), job("c"))
        self.assertEqual(self.order(manager, NOW + 9), ["b", "c", "a"])

    def test_what_had_ended_before_says_nothing_about_what_comes_after(self):
        """Two nights: in the first dump died, or it completed; what comes after the second one's goes by the second."""
        for last_night, tonight, expected in ((FAIL, DONE, "upload"), (DONE, FAIL, None), (DONE, DONE, "upload")):
            with self.subTest(last_night=last_night, tonight=tonight):
                manager = self.manager(max_retries=0)
                manager.reset()
                self.add(job("dump"))
                manager.record(self.claim(manager), last_night, NOW + 10)
                self.add(job("dump"), now=NOW + 20)
                self.add(job("upload", after=["dump"]), now=NOW + 20)
                manager.record(self.claim(manager, NOW + 20), tonight, NOW + 30)
                following = self.claim(manager, NOW + 30)
                self.assertEqual(following and following.id, expected)
                self.assertEqual(self.records()[2]["reason"], None if expected else "dependency")

    def test_what_had_ended_counts_if_there_is_nothing_newer_and_no_clock_changes_that(self):
        for outcomes, state in (((FAIL, DONE), "pending"), ((DONE, FAIL), "dead")):
            with self.subTest(outcomes):
                manager = self.manager(max_retries=0)
                manager.reset()
                for outcome in outcomes:
                    self.add(job("dump"))
                    manager.record(self.claim(manager), outcome, NOW + 3600)
                self.add(job("upload", after=["dump"]))  # an hour before they have ended, by a clock that was set back
                self.claim(self.manager())
                self.assertEqual(self.records()[2]["state"], "processing" if state == "pending" else state)

    def test_who_adds_a_job_after_a_dead_one_is_told(self):
        manager = self.manager(max_retries=0)
        self.add(job("dump"), job("other"))
        self.order(manager, outcome=FAIL)
        self.add(job("dump"), job("upload", after=["dump"]))
        self.assertEqual(self.notices, [])
        self.add(job("upload", after=["other", "dump"]))
        self.assertEqual(self.notices, ["'other' is dead, so that what comes after goes to the dead letter queue, too; 'queuectl retry' "
                                        "brings both back"])

    def test_a_job_that_has_failed_can_be_put_off(self):
        for number, change in enumerate((self.edit_command, self.edit_by_hand)):
            with self.subTest(change=change.__name__):
                manager = self.manager()
                manager.reset()
                self.add(job("a"))
                manager.record(self.claim(manager), FAIL, NOW)
                change(format_time(NOW + 7200))
                for now in (NOW + 3, NOW + 7199, NOW - 60):
                    self.assertIsNone(self.claim(manager, now))
                    self.assertIsNone(self.claim(self.manager(), now))
                self.assertEqual(self.claim(manager, NOW + 7200).id, "a")

    def edit_command(self, run_at):
        """Put the job off as `queuectl edit` does."""
        manager = self.manager()
        found = manager.find("a")[0]
        manager.edit(found, dict(found.to_dict(), run_at=run_at), NOW + 1)

    def edit_by_hand(self, run_at):
        """Put the job off in the file."""
        self.write("jobs.json", json.dumps([dict(self.records()[0], run_at=run_at)]))

    def test_a_cancelled_job_takes_those_that_wait_for_it_along(self):
        manager = self.manager()
        self.add(job("a"), job("b", after=["a"]))
        self.manager().cancel(["a"], NOW)
        self.assertIsNone(self.claim(manager))
        self.assertEqual({dead.id: dead.reason for dead in manager.dead()}, {"a": "cancelled", "b": "dependency"})

    def test_a_job_whose_predecessor_was_removed_by_hand_dies_visibly(self):
        self.write("jobs.json", json.dumps([job("b", after=["gone"])]))
        self.assertIsNone(self.claim(self.manager()))
        self.assertEqual([dead.reason for dead in self.manager().dead()], ["dependency"])

    def test_clean_keeps_completed_jobs_that_a_waiting_one_names(self):
        manager = self.manager()
        self.add(job("a"), job("x"), job("b", after=["a"], delay=10))
        self.order(manager)
        self.assertEqual([removed.id for removed in self.manager().clean(("completed",), Choice(None, None))], ["x"])
        self.assertEqual(self.order(manager, NOW + 11), ["b"])
        self.assertEqual(len(self.manager().clean(("completed",), Choice(None, None))), 2)

    def test_an_id_that_is_not_there_or_a_circle_is_refused_and_nothing_added(self):
        self.add(job("a"), job("w", after=["a"]))
        for name, records, words in (
                ("not there", [job("b"), job("c", after=["x"])], '"x"'),
                ("itself", [job("s", after=["s"])], "circle: s after s"),
                ("two", [job("p", after=["q"]), job("q", after=["p"])], "circle"),
                ("through one that is there", [job("a", after=["w"])], "circle")):
            with self.subTest(name):
                before = self.read("jobs.json")
                with self.assertRaisesRegex(JobRefused, words):
                    self.add(*records)
                self.assertEqual(self.read("jobs.json"), before)

    def test_ids_of_one_file_count_wherever_they_stand_in_it(self):
        self.add(job("a", after=["b"]), job("b"))
        self.assertEqual(self.order(self.manager()), ["b", "a"])

    def test_unique_ids_are_checked_under_the_lock_for_the_batch_and_the_queue(self):
        self.add(job("a"))
        for records, settings, unique in (([job("a")], {}, True), ([job("b"), job("b")], {}, True),
                                          ([job("a")], {"unique_ids": True}, False)):
            with self.subTest(records), self.assertRaises(JobRefused):
                self.manager(**settings).enqueue(records, "/", NOW, unique)
        self.assertEqual([record["id"] for record in self.records()], ["a"])
        self.add(job("a"))
        self.assertEqual([record["id"] for record in self.records()], ["a", "a"])

    def test_of_many_that_add_the_same_unique_id_one_succeeds(self):
        program = ("import sys; sys.path.insert(0, %r); import time; from core.errors import QueueError; from core.settings import DEFAULTS\n"
                   "from tests.support.queue import Queue\n"
                   "manager = Queue(%r, DEFAULTS, print)\n"
                   "try: manager.enqueue([{'id': 'u', 'command': 'true'}], '/', time.time(), True)\n"
                   "except QueueError: sys.exit(1)\n" % (ROOT, self.home))
        children = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(6)]
        self.assertEqual(sorted(child.wait() for child in children), [0, 1, 1, 1, 1, 1])

    def test_a_failed_job_is_put_off_and_others_run_meanwhile(self):
        manager = self.manager(retry_in_place=False)
        self.add(job("a"), job("b"))
        manager.record(self.claim(manager), FAIL, NOW)
        self.assertEqual(self.claim(manager).id, "b")
        self.assertIsNone(self.claim(manager, NOW + 1))
        self.assertEqual(self.claim(manager, NOW + 2.1).id, "a")


class FieldsTest(unittest.TestCase):
    """What a job may ask for itself, as pure rules."""

    def job(self, **fields):
        """A stored job."""
        return job_from_record(dict(job("a"), **fields))

    def test_a_jobs_own_limits_go_before_the_settings(self):
        self.assertEqual(backoff_delay(self.job(attempts=2, backoff_base=3), DEFAULTS), 9)
        self.assertEqual(backoff_delay(self.job(attempts=2, backoff_base=3, backoff_max=5), DEFAULTS), 5)
        self.assertEqual(time_limit(self.job(timeout=0.5), DEFAULTS._replace(timeout=9)), 0.5)
        self.assertEqual(time_limit(self.job(), DEFAULTS._replace(timeout=9)), 9)

    def test_a_delay_is_from_now_and_a_time_is_kept(self):
        for record, expected in (({}, None), ({"delay": 90}, NOW + 90), ({"delay": "2m"}, NOW + 120), ({"delay": "1.5h"}, NOW + 5400),
                                 ({"run_at": "2027-01-15T10:00:00+02:00"}, 1800000000.0)):
            with self.subTest(record):
                self.assertEqual(first_run_at(record, NOW), None if expected is None else format_time(expected))

    def test_a_scheduled_job_is_not_taken_for_one_that_a_clock_put_off(self):
        self.assertEqual(ready_at(self.job(run_at=format_time(NOW + 9999)), DEFAULTS, NOW), NOW + 9999)

    def test_every_bad_value_is_named_with_its_field(self):
        for name, value in (("priority", "big"), ("priority", 1.5), ("priority", True), ("after", "a"), ("after", []), ("after", [1]),
                            ("timeout", 0), ("timeout", "soon"), ("max_retries", -1), ("max_retries", 2.5), ("backoff_base", "x"),
                            ("backoff_max", -1), ("env", []), ("env", {"A": 1}), ("env", {"A=B": "x"}), ("env", {"": "x"}), ("cwd", 3)):
            with self.subTest(name=name, value=value), self.assertRaisesRegex(InvalidJob, '"%s"' % name):
                job_from_record(dict(job("a"), **{name: value}))
        for record in ({"delay": -1}, {"delay": "soon"}, {"delay": []}, {"delay": True}, {"run_at": "2026-01"}, {"run_at": 5},
                       {"run_at": "2026-01-01T25:00:00"}, {"run_at": "2026-01-01T00:00:00Z", "delay": 5}):
            with self.subTest(record), self.assertRaisesRegex(InvalidJob, "delay|run_at"):
                first_run_at(record, NOW)

    def test_a_circle_is_found_wherever_it_is(self):
        for edges, expected in (({}, None), ({"a": ["b"], "b": ["c"]}, None), ({"a": ["b", "c"], "b": ["c"], "c": []}, None),
                                ({"a": ["a"]}, ["a", "a"]), ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c", "b"])):
            with self.subTest(edges):
                self.assertEqual(find_cycle(edges), expected)
        self.assertIsNone(find_cycle({"a": ["b"], "b": ["a"], "new": ["c"]}, ["new"]))
        long = {str(number): [str(number + 1)] for number in range(5000)}
        self.assertIsNone(find_cycle(long))
        self.assertEqual(len(find_cycle(dict(long, **{"5000": ["0"]}))), 5002)


    def test_those_in_a_circle_and_behind_one_never_run(self):
        for edges, never in (({}, ""), ({"a": ["b"], "b": ["c"]}, ""), ({"a": ["a"], "b": ["c"]}, "a"),
                             ({"a": ["b", "x"], "b": ["a"], "c": ["x"], "d": ["c", "b"], "e": ["d"]}, "abde")):
            with self.subTest(edges):
                self.assertEqual("".join(sorted(in_circles(edges))), never)


class CircleTest(QueueTest):
    """Jobs that wait for each other, which only a hand can make."""

    def type_circle(self, **more):
        """Let b come after a, which comes after b."""
        self.add("a", "true")
        self.add("b", "true", after=["a"])
        self.add("c", "touch c")
        self.write("jobs.json", json.dumps([dict(record, **(dict(more, after=["b"]) if record["id"] == "a" else {})) for record in self.records()]))

    def test_doctor_names_it_until_it_is_mended(self):
        self.type_circle()
        done = self.run_program("doctor")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, "jobs.json: jobs wait for each other in a circle, and never run: a after b after a; .* edit a.* mends that\n")
        self.succeed("cancel", "a")
        self.assertIn("jobs.json is sound", self.succeed("doctor"))

    def test_an_edit_mends_it_also_by_another_job_and_makes_none(self):
        self.type_circle()
        self.succeed("edit", "a", "--priority", "3")
        self.assertIn("circle", self.refuse("edit", "c", "--after", "b", code=1))
        self.succeed("edit", "a", "--after", "c")
        self.assertIn("jobs.json is sound", self.succeed("doctor"))
        for job_id, other in (("c", "c"), ("c", "b"), ("a", "b")):
            with self.subTest(job_id, other=other):
                self.assertIn("circle", self.refuse("edit", job_id, "--after", other, code=1))

    def test_a_drain_does_the_rest_names_it_and_fails(self):
        for more in ({}, {"attempts": 1}, {"attempts": 1, "run_at": "2001-01-01T00:00:00Z"}):
            with self.subTest(more):
                self.queue.reset()
                self.type_circle(**more)
                said = self.drain(code=1)
                self.assertIn("in a circle, and never run: a after b after a;", said)
                self.assertNotIn("not waiting for", said)
                self.assertEqual(self.states(), {"a": "pending", "b": "pending", "c": "completed"})

    def test_others_are_added_beside_it_and_none_behind_it(self):
        self.type_circle()
        self.succeed("enqueue", "--id", "d", "--after", "c", "--", "true")
        self.assertIn("a after b after a", self.refuse("enqueue", "--id", "e", "--after", "a", "--", "true", code=1))


class ProgramTest(HomeTest):
    """The same, typed as a user would."""

    def test_every_option_of_enqueue_reaches_the_job(self):
        environ = self.environ(COPIED="here")
        self.succeed("enqueue", "--id", "first", "--", "true")
        self.succeed("enqueue", "--id", "a", "-p", "7", "--delay", "1h", "--after", "first", "--timeout", "2m", "--max-retries", "1",
                     "--backoff-base", "1.5", "--backoff-max", "9", "--cwd", "/", "--env", "X=1=2", "--env", "COPIED", "--", "true",
                     env=environ)
        shown = json.loads(self.succeed("show", "a"))
        expected = {"priority": 7, "after": ["first"], "timeout": 120, "max_retries": 1, "backoff_base": 1.5, "backoff_max": 9,
                    "cwd": os.path.abspath("/"), "env": {"X": "1=2", "COPIED": "here"}}
        self.assertEqual({name: shown[name] for name in expected}, expected)
        self.assertIsNotNone(shown["run_at"])

    def test_options_hold_for_the_jobs_of_a_file_that_do_not_name_them(self):
        self.succeed("enqueue", "-p", "7", "-", stdin='{"id": "a", "command": "true"}\n{"id": "b", "command": "true", "priority": 1}\n')
        self.assertEqual([record["priority"] for record in self.records()], [7, 1])

    def test_a_bad_value_exits_2_and_names_field_and_value(self):
        for words, named in ((["-p", "big"], ("priority", "big")), (["--at", "next week"], ("--at", "next week")),
                             (["--delay=-1"], ("delay", "-1")), (["--env", "NOT_THERE_AT_ALL"], ("env", "NOT_THERE_AT_ALL")),
                             (["--max-retries", "-1"], ("max_retries", "-1"))):
            with self.subTest(words):
                said = self.refuse("enqueue", *words, "--id", "x", "--", "true", code=2)
                for word in named:
                    self.assertIn(word, said)
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_a_job_runs_in_its_folder_with_its_environment(self):
        self.succeed("enqueue", "--cwd", "/", "--env", "X=y z", "--id", "a", "--", "cd & echo %X%" if WINDOWS else "pwd; echo $X")
        self.drain()
        self.assertEqual(self.succeed("logs", "a"), "%s\ny z\n" % os.path.abspath("/"))

    def test_drain_does_not_wait_for_what_is_scheduled_and_names_it(self):
        self.succeed("enqueue", "--id", "later", "--delay", "1h", "--", "true")
        self.succeed("enqueue", "--id", "then", "--after", "later", "--", "true")
        self.assertIn("later, then", self.drain())

    def test_drain_does_not_wait_for_a_job_that_has_failed_and_was_put_off(self):
        self.succeed("enqueue", "--id", "a", "--", "exit 1")
        self.succeed("config", "set", "retry_in_place", "false")
        self.succeed("config", "set", "backoff_base", "1000")
        worker = self.start_worker()
        self.wait_for(lambda: self.records()[0]["state"] == "pending" and self.records()[0]["attempts"])
        self.succeed("worker", "stop")
        worker.wait()
        self.write("jobs.json", json.dumps([dict(self.records()[0], run_at="2999-01-01T00:00:00Z")]))
        self.assertIn("held or scheduled, or come after one that is: a", self.drain())

    def test_wait_is_for_those_that_have_not_ended_or_the_newest(self):
        self.write("config.json", '{"max_retries": 0}')
        self.succeed("enqueue", "--id", "build", "--", "exit 1")
        self.drain(code=1)
        self.assertEqual(self.run_program("wait", "build").returncode, 1)
        self.succeed("enqueue", "--id", "build", "--", "exit 0")
        self.assertEqual(self.run_program("wait", "build", "--timeout", "0").returncode, 124)
        self.drain()
        self.assertEqual(self.run_program("wait", "build").returncode, 0)

    def test_an_idle_worker_is_woken_by_enqueue(self):
        self.write("config.json", '{"poll_interval": 3600}')
        self.start_worker()
        time.sleep(0.3)  # until it sleeps; if it does not yet, the test proves less, and does not fail
        self.succeed("enqueue", "--id", "a", "--", "exit 0")
        self.wait_for(lambda: self.states() == {"a": "completed"}, 30)

    def test_show_tells_how_long_a_job_took_and_can_be_enqueued_again(self):
        self.succeed("enqueue", "--id", "a", "--", sys.executable, "-S", "-c", "import time; time.sleep(0.2)")
        self.drain()
        shown = self.succeed("show", "a")
        self.assertGreater(json.loads(shown)["duration"], 0.19)
        self.succeed("enqueue", "-", stdin=shown)
        self.assertNotIn("duration", self.records()[1])
        self.assertEqual(self.records()[1]["state"], "pending")


if __name__ == "__main__":
    unittest.main()
