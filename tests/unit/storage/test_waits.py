"""What pending jobs of a queue wait for, and how many looks at the file that takes."""
from __future__ import annotations

import json
from unittest.mock import patch

from core.rules import NO_WAIT, Wait
from core.slots import group_digest
from storage import waits
from storage.view import View
from storage.waits import Waits, look_at_pending, running_by_group
from tests.support.manager import FAILURE, NOW, ManagerTest


class WaitsTest(ManagerTest):

    def waits(self, now=NOW):
        """What each job waits for, by its id."""
        return {job.id: wait for job, wait in Waits(self.jobs.store, now).each(self.jobs.store.jobs())}

    def test_each_reason_in_a_queue(self):
        self.add("a", "b")
        self.add("tomorrow", delay="1d")
        self.add("after", after=["a", "b"])
        self.assertEqual(self.waits(), {"a": NO_WAIT, "b": NO_WAIT, "tomorrow": Wait("time", 86400.0, ()),
                                        "after": Wait("jobs", None, ("a", "b"))})
        self.finish(self.claim())
        self.finish(self.claim(), FAILURE)
        self.assertEqual(self.waits(NOW + 0.5), {"a": NO_WAIT, "b": Wait("retry", 1.5, ()), "tomorrow": Wait("time", 86399.5, ()),
                                                 "after": Wait("jobs", None, ("b",))})
        self.finish(self.claim(NOW + 2), now=NOW + 2)
        self.assertEqual(self.waits(NOW + 3)["after"], NO_WAIT)
        self.jobs.pause()
        self.assertEqual(self.waits(NOW + 3)["after"], Wait("paused", None, ()))

    def test_file_in_another_layout(self):
        self.write("jobs.json", json.dumps([{"id": "a", "command": "x"}, {"id": "b", "command": "x", "after": ["a", "gone"]},
                                            {"id": "c", "command": "x", "after": ["d"]}, {"id": "d", "command": "x", "state": "completed"}]))
        self.assertEqual(self.waits(), {"a": NO_WAIT, "b": Wait("jobs", None, ("a", "gone")), "c": NO_WAIT, "d": NO_WAIT})

    def test_many_dependents_take_two_more_looks_at_the_file_and_none_without_dependents(self):
        looks, look = [], View.find_ids
        with patch.object(View, "find_ids", lambda view, ids: looks.append(ids) or look(view, ids)), patch.object(waits, "_FIRST", 2):
            self.add("a", "b", "c")
            self.assertEqual(set(self.waits().values()), {NO_WAIT})
            self.assertEqual(looks, [])
            self.add("d", after=["c"])
            for number in range(20):
                self.add("n%d" % number, after=["d" if not number else "n%d" % (number - 1), "c"])
            looks.clear()
            found = self.waits()
        self.assertEqual(found["n19"], Wait("jobs", None, ("n18", "c")))
        self.assertEqual(len(looks), 1)


class RunningTest(ManagerTest):

    def test_what_starts_or_ends_between_two_looks_is_not_being_ended(self):
        store, noted = self.jobs.store, {}
        self.jobs.settings = self.jobs.settings._replace(limits={"gpu": 1})
        store.noted_slots = lambda: dict(noted)
        self.add("a", "b", group="gpu")
        first = self.claim()
        noted[first.worker] = group_digest("gpu")
        before = store.running()
        self.finish(first)
        second = self.claim()
        noted[second.worker] = group_digest("gpu")
        with patch("time.sleep"):
            noted["no slot"] = "None"
            self.assertEqual(running_by_group(store, before)["gpu"], 1)  # the second one started since
        with patch("time.sleep", lambda seconds: noted.pop(first.worker)):
            self.assertEqual(running_by_group(store, store.running())["gpu"], 1)  # the first one was about to be forgotten
        with patch("time.sleep", side_effect=AssertionError):
            running_by_group(store, store.running())  # what has no slot is nothing to wait for


class PendingTest(ManagerTest):

    def look(self, now=NOW, most=100, following=0):
        """What the pending jobs wait for: the counts, how many are not due, the ids of those that wait and of those that follow."""
        pending = look_at_pending(self.jobs.store, now, most, following)
        places = {job.place: job.id for job in self.jobs.store.jobs()}
        return (pending.counts, pending.delayed, [job.id for job, _ in pending.found],
                [job.id if job is not None else places[place] for place, job in pending.following])

    def fill(self):
        """Jobs of each kind: one has completed, one is between two attempts."""
        self.add("a", "b", "c", "d")
        self.add("tomorrow", delay="1d")
        self.add("free", after=["a"])
        self.add("blocked", after=["b"])
        self.add("first", priority=5)
        claimed = {job.id: job for job in (self.claim(), self.claim(), self.claim())}
        self.finish(claimed["a"])
        self.finish(claimed["b"], FAILURE)
        self.finish(claimed["first"], None)

    def test_each_kind_is_counted_and_the_first_that_may_run_are_in_their_order(self):
        self.fill()
        counts = {None: 4, "time": 1, "jobs": 1, "retry": 1}
        self.assertEqual(self.look(following=9), (counts, 2, ["b", "tomorrow", "blocked"], ["first", "c", "d", "free"]))
        self.assertEqual(self.look(following=2)[3], ["first", "c"])
        self.jobs.pause()
        self.assertEqual(self.look()[0], counts)

    def test_in_another_layout_it_is_the_same(self):
        self.fill()
        wanted = self.look(following=9)
        self.write("jobs.json", json.dumps(self.records("jobs.json"), indent=1))
        self.assertEqual(self.look(following=9)[:3], wanted[:3])

    def test_too_many_to_be_read_are_not_looked_at(self):
        self.fill()
        self.assertIsNone(look_at_pending(self.jobs.store, NOW, 3))
        self.assertIsNotNone(look_at_pending(self.jobs.store, NOW, 7))

    def test_an_empty_queue_has_nothing_that_waits(self):
        self.assertEqual(self.look(following=3), ({None: 0}, 0, [], []))
