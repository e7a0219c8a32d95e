"""What pending jobs of a queue wait for, and how many looks at the file that takes."""
from __future__ import annotations

import json
from unittest.mock import patch

from core.rules import NO_WAIT, Wait
from storage import waits
from storage.view import View
from storage.waits import Waits
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
