"""Several jobs with the same id: each can be named, in every command that takes an id."""
from __future__ import annotations

import json
import os
import time

from core.job import COMPLETED, DEAD, FAILED, PENDING, Outcome
from storage.output import log_path
from tests.support.home import WINDOWS, HomeTest, typed
from tests.support.workers import WorkerTest


class TestNumbers(HomeTest):

    def setUp(self):
        super().setUp()
        self.jobs = self.manager(max_retries=0)
        self.jobs.enqueue([{"id": "x", "command": "echo %d" % number} for number in (1, 2, 3)] + [{"id": "y", "command": "true"}],
                          self.home, time.time())

    def end(self, *outcomes):
        """End the jobs that come next: 0 completes one, 1 fails it."""
        for code in outcomes:
            job = self.jobs.claim("1-%d" % time.monotonic_ns(), time.time())
            os.makedirs(self.path("logs"), exist_ok=True)
            with open(log_path(self.home, job, 1), "w") as log:
                log.write("wrote %s\n" % job.command[-1])
            self.jobs.record(job, Outcome(code, FAILED if code else None), time.time())

    def states(self):
        return [record["state"] for record in self.records()]

    def test_show_and_logs_take_each_and_show_lists_them(self):
        self.end(0, 1)
        for name, command in (("x@1", "echo 1"), ("x@2", "echo 2"), ("x@3", "echo 3"), ("x@-1", "echo 3"), ("x@-3", "echo 1")):
            with self.subTest(name):
                self.assertEqual(json.loads(self.succeed("show", name))["command"], command)
        self.assertEqual([self.succeed("logs", "x@1"), self.succeed("logs", "x@2")], ["wrote 1\n", "wrote 2\n"])
        done = self.run_program("show", "x")
        self.assertEqual(json.loads(done.stdout)["command"], "echo 3")
        self.assertRegex(done.stderr, r"^queuectl: 3 jobs have the id 'x'; this is the newest\nqueuectl: x@1 was added \d+s ago: completed, took 0.*\n"
                                      r"queuectl: x@2 was added \d+s ago: dead, exit code 1\nqueuectl: x@3 was added \d+s ago: pending, ready\n$")

    def test_number_that_is_not_there_is_refused_and_says_how_many_there_are(self):
        before = self.read("jobs.json")
        for words in (["show"], ["logs"], ["wait"], ["cancel"], ["retry"], ["clean"], ["dlq", "purge"], ["edit"]):
            with self.subTest(words):
                self.assertIn("3 jobs have the id 'x'; x@1 is the oldest, x@-1 the newest", self.refuse(*words, "x@4", code=1))
                self.assertIn("'nobody@2'", self.refuse(*words, "nobody@2", code=1))
                self.assertIn("'x@0'", self.refuse(*words, "x@0", code=1))
        self.assertEqual(self.read("jobs.json"), before)

    def test_an_id_that_holds_an_at_itself_wins(self):
        self.jobs.enqueue([{"id": "x@1", "command": "echo own"}], self.home, time.time())
        self.assertEqual(json.loads(self.succeed("show", "x@1"))["command"], "echo own")
        self.succeed("cancel", "x@1")
        self.assertEqual(self.states(), [PENDING] * 4 + [DEAD])

    def test_cancel_retry_purge_and_clean_do_it_to_that_one_alone(self):
        self.assertEqual(self.succeed("cancel", "x@2", "y"), "Job 'x' cancelled.\nJob 'y' cancelled.\n")
        self.assertEqual(self.states(), [PENDING, DEAD, PENDING, DEAD])
        self.assertIn("'x@2' is not waiting or running", self.refuse("cancel", "x", "x@2", code=1))
        self.succeed("retry", "x@2")
        self.assertEqual(self.states(), [PENDING, PENDING, PENDING, DEAD])
        self.end(1, 1, 0)
        self.succeed("dlq", "purge", "x@1")
        self.assertEqual(self.states(), [DEAD, COMPLETED, DEAD])
        self.assertIn("remove x@1' removes it", self.refuse("clean", "x@1", code=1))
        self.succeed("clean", "x@-1")
        self.assertEqual(self.states(), [DEAD, DEAD])
        self.assertEqual([record["id"] for record in self.records("dlq.json")], ["y", "x"])

    def test_jobs_that_were_just_typed_have_their_numbers_too(self):
        self.write("jobs.json", json.dumps([{"id": "x", "command": "echo %d" % number} for number in (1, 2, 3)]))
        self.assertEqual(self.succeed("cancel", "x@2"), "Job 'x' cancelled.\n")
        self.assertEqual([(record["command"], record["state"]) for record in self.records()],
                         [("echo 1", PENDING), ("echo 2", DEAD), ("echo 3", PENDING)])
        self.assertEqual(json.loads(self.succeed("show", "x@3"))["command"], "echo 3")

    def test_remove_hold_and_release_do_it_to_that_one_alone(self):
        self.end(0)
        self.succeed("hold", "x@2")
        self.assertEqual(self.succeed("list", "-q", "--state", "held"), "x\n")
        self.succeed("remove", "x@1")
        self.succeed("release", "x@1")
        self.assertEqual([(record["command"], record["run_at"]) for record in self.records()[:2]], [("echo 2", None), ("echo 3", None)])

    def test_wait_waits_for_that_one_alone(self):
        self.end(0, 1)
        self.assertEqual([self.run_program("wait", name).returncode for name in ("x@1", "x@2")], [0, 1])
        self.assertEqual(self.run_program("wait", "x@3", "--timeout", "0.1").returncode, 124)

    def test_edit_changes_that_one_alone(self):
        if WINDOWS:
            self.skipTest("the editor is a shell's command")
        self.succeed("edit", "x@2", env=self.environ(EDITOR="sed -i.bak 's/echo 2/echo two/'", VISUAL=""))
        self.assertEqual([record["command"] for record in self.records()], ["echo 1", "echo two", "echo 3", "true"])

    def test_jobs_that_were_just_typed_into_the_file_have_numbers_too(self):
        self.write("jobs.json", json.dumps([{"id": "x", "command": "echo %d" % number} for number in (1, 2)]))
        self.assertEqual(json.loads(self.succeed("show", "x@1"))["command"], "echo 1")
        self.succeed("cancel", "x@1")
        self.assertEqual(self.states(), [DEAD, PENDING])


class TestDashes(WorkerTest):
    """An id or a group may begin with a dash, which argparse takes for an option."""

    def test_each_command_that_a_message_names_can_be_pasted(self):
        self.settings(max_retries=0)
        self.assertIn("'%s'" % typed("release -- -x"), self.succeed("enqueue", "--id=-x", "--hold", "--", "echo word; exit 1"))
        self.succeed("release", "--", "-x")
        self.assertIn("'%s'" % typed("release -- -x"), self.succeed("hold", "--", "-x"))
        self.assertIn("'%s'" % typed("remove -- -x"), self.refuse("dlq", "purge", "--", "-x", code=1))
        self.assertIn("'%s'" % typed("edit -- -x"), self.refuse("retry", "--edit", "--", "-x", code=1))
        self.succeed("release", "--", "-x")
        self.assertIn("    %s\n" % typed("logs -- -x"), self.drain(code=1))
        self.assertIn("'%s'" % typed("retry -- -x"), self.succeed("edit", "--priority", "1", "--", "-x"))
        self.assertIn("'%s'" % typed("resume --group=-g"), self.succeed("pause", "--group=-g"))
        self.assertEqual(self.succeed("resume", "--group=-g"), "Resumed.\n")

    def test_one_can_be_edited_by_options_by_a_command_and_in_an_editor(self):
        self.succeed("enqueue", "--id=-x", "--", "true")
        self.succeed("edit", "--priority", "3", "--", "-x")
        self.succeed("edit", "--timeout", "5", "--", "-x", "--", "echo", "two words")
        job = self.job("-x")
        self.assertEqual((job.priority, job.options["timeout"], job.command), (3, 5, "echo 'two words'"))
        self.assertIn("no job '-y'", self.refuse("edit", "--", "-y", "--", "true", code=1))
        if not WINDOWS:
            self.assertEqual(self.run_program("edit", "--", "-x", env=self.environ(EDITOR="true")).stdout, "Job '-x' is as it was.\n")

    def test_who_types_one_as_it_is_is_told_where_it_stands(self):
        for words in (["show"], ["cancel"], ["hold"], ["edit"], ["logs"], ["remove"]):
            with self.subTest(words):
                self.assertIn("an ID that begins with - stands behind --", self.refuse(*words, "-x", code=2))
        self.assertNotIn("behind --", self.refuse("show", code=2))
