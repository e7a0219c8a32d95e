"""Jobs that are held until someone releases them, as users hold and release them."""
from __future__ import annotations

import json

from core.job import HELD
from tests.support.control import ControlTest


class TestHolding(ControlTest):
    """A held job is in nobody's way, keeps its place, and starts once it is released."""

    def listed(self):
        """{id: what it waits for}."""
        return {job["id"]: job["waits_for"] for job in json.loads(self.succeed("list", "--json"))}

    def test_a_held_job_waits_until_it_is_released_and_the_drain_names_it(self):
        self.assertRegex(self.succeed("enqueue", "--hold", "--id", "a", "--", "echo ran"), r"^Job 'a' added; it is held until '.* release a'\.$")
        self.add("b", "exit 0")
        self.assertIn("held or scheduled, or come after one that is: a", self.drain())
        self.assertEqual(self.listed(), {"a": "hold", "b": None})
        self.assertEqual(self.job("a").run_at, HELD)
        self.assertEqual(self.succeed("release", "a"), "Job 'a' may start now.\n")
        self.drain()
        self.assertEqual(self.succeed("logs", "a"), "ran\n")

    def test_a_job_that_is_held_and_released_keeps_its_place(self):
        for job_id in ("a", "b", "c"):
            self.add(job_id, "echo %s >> order" % job_id)
        self.succeed("hold", "b", "a")
        self.succeed("release", "--all")
        self.assertEqual(self.succeed("release", "--all"), "No job is held.\n")
        self.drain()
        self.assertEqual(self.text("order").split(), ["a", "b", "c"])

    def test_one_of_several_of_an_id_is_released_by_the_name_that_held_it(self):
        for _ in range(2):
            self.add("a", "exit 0")
        said = self.succeed("hold", "a@2")
        self.assertRegex(said, r"^Job 'a' is held until '.* release a@2'\.$")
        self.succeed("hold", "a@1")
        self.succeed("release", said.split("'")[-2].split()[-1])
        self.assertEqual([job["waits_for"] for job in json.loads(self.succeed("list", "--json"))], ["hold", None])

    def test_a_running_worker_heeds_both_at_once(self):
        self.settings(poll_interval=60)
        self.worker()
        self.succeed("enqueue", "--hold", "--id", "a", "--", "exit 0")
        self.add("b", "exit 0")
        self.wait_for_state("b", "completed")
        self.assertEqual(self.job("a").state, "pending")
        self.succeed("release", "a")
        self.wait_for_state("a", "completed")

    def test_release_starts_a_scheduled_job_and_one_between_two_attempts(self):
        self.settings(backoff_base=3600, retry_in_place=False)
        self.succeed("enqueue", "--id", "later", "--delay", "1h", "--", "exit 0")
        self.add("failing", "test $QUEUECTL_ATTEMPT = 2")
        self.worker()
        self.wait_for(lambda: self.job("failing").attempts == 1 and self.job("failing").state == "pending")
        self.succeed("release", "later", "failing")
        self.wait_for_state("later", "completed")
        self.wait_for_state("failing", "completed")

    def test_what_cannot_be_held_or_released_is_refused_and_nothing_is_changed(self):
        self.add("a", "exit 0")
        self.add("done", "exit 0", priority=1)
        self.succeed("hold", "a")
        self.drain()
        for words, said in ((("hold", "b"), "there is no job 'b'"), (("hold", "done"), "job 'done' is not waiting"),
                            (("hold", "a"), "or is held already"), (("release", "a", "done"), "job 'done' is neither held nor due later"),
                            (("release",), "say which jobs"), (("release", "a", "--all"), "say which jobs"),
                            (("enqueue", '{"id": "x", "command": "y", "hold": "yes"}'), '"hold" must be true or false'),
                            (("enqueue", '{"id": "x", "command": "y", "hold": true, "delay": 5}'), '"hold" goes with neither')):
            with self.subTest(words=words):
                done = self.run_program(*words)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(said, done.stderr)
        self.assertEqual(self.listed(), {"a": "hold", "done": None})
        self.assertEqual(self.succeed("list", "--state", "held", "-q"), "a\n")
        self.assertEqual(json.loads(self.succeed("status", "--json"))["held"], 1)

    def test_a_job_that_is_typed_into_the_file_may_be_held_there(self):
        self.write("jobs.json", '[{"id": "a", "command": "exit 0", "hold": true}, {"id": "b", "command": "exit 0", "hold": false}]')
        self.assertEqual(self.listed(), {"a": "hold", "b": None})
        self.drain()
        self.assertEqual(self.states(), {"a": "pending", "b": "completed"})
        self.succeed("release", "a")
        self.drain()
        self.assertEqual((self.states()["a"], "hold" in self.job("a").options), ("completed", False))
