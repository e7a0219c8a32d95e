"""Commands that change jobs, as a user types them: retry, edit with options, remove, cancel and clean of many."""
from __future__ import annotations

import json
import os
import signal
import time
import unittest

from core.job import COMPLETED, DEAD, PENDING, PROCESSING
from tests.support.home import DEADLINE, QueueTest, typed

POSIX = os.name != "nt"


class ChangingTest(QueueTest):
    """A queue whose jobs fail at once."""

    def setUp(self):
        super().setUp()
        self.settings(max_retries=0)


class TestRetry(ChangingTest):
    """retry of what has ended."""

    def chain(self):
        """dump, which fails until `mended` is there, and two that come after it; all dead."""
        self.add("dump", "test -e mended || exit 1")
        self.add("upload", "echo up", after=["dump"])
        self.add("tidy", "echo tidied", after=["upload"])
        self.drain(code=1)

    @unittest.skipUnless(POSIX, "the jobs are written for sh")
    def test_what_died_because_of_a_job_comes_back_with_it(self):
        self.chain()
        self.write("mended", "")
        self.assertEqual(self.succeed("retry", "dump"), "Job 'dump' is back in the queue, with 2 that died because of it: upload, tidy.\n")
        self.drain()
        self.assertEqual(self.states(), {"dump": COMPLETED, "upload": COMPLETED, "tidy": COMPLETED})
        self.assertEqual(self.succeed("logs", "tidy"), "tidied\n")

    def test_a_completed_job_runs_again_and_keeps_what_it_wrote(self):
        self.add("a", "echo said")
        self.drain()
        self.assertEqual(self.succeed("retry", "a"), "Job 'a' is back in the queue.\n")
        self.assertEqual(self.succeed("retry", "--all"), "0 jobs back in the queue.\n")
        self.drain()
        self.assertEqual((self.job("a").state, self.job("a").attempts), (COMPLETED, 1))
        self.assertEqual(self.succeed("logs", "a", "--all").count("said\n"), 2)

    def test_a_job_that_has_not_ended_is_refused(self):
        self.add("waits", "true")
        self.assertIn("'waits' is pending", self.refuse("retry", "waits", code=1))

    @unittest.skipUnless(POSIX, "the editor is a script of sh")
    def test_edit_opens_it_first(self):
        self.chain()
        self.write("editor", "sed -i.old 's/test -e mended || exit 1/echo mended/' \"$1\"\n")
        environ = self.environ(EDITOR="sh '%s'" % self.path("editor"), VISUAL="")
        self.assertEqual(self.succeed("retry", "--edit", "dump", env=environ),
                         "Job 'dump' changed.\nJob 'dump' is back in the queue, with 2 that died because of it: upload, tidy.\n")
        self.drain()
        self.assertEqual(self.succeed("logs", "dump"), "mended\n")
        self.assertEqual(self.succeed("retry", "--edit", "tidy", env=self.environ(EDITOR="true", VISUAL="")),
                         "Job 'tidy' is as it was.\nJob 'tidy' is back in the queue.\n")
        self.assertIn("'tidy' is pending", self.refuse("retry", "--edit", "tidy", code=1))

    @unittest.skipUnless(POSIX, "the editor is a script of sh")
    def test_what_the_editor_refuses_brings_nothing_back(self):
        self.chain()
        self.refuse("retry", "--edit", "dump", env=self.environ(EDITOR="false", VISUAL=""), code=1)
        self.assertEqual(set(self.states().values()), {DEAD})


class TestEdit(ChangingTest):
    """edit with options, without an editor."""

    def test_options_change_what_a_job_is(self):
        self.add("a", "echo old", env={"A": "1", "B": "2"}, note="mine", priority=1)
        self.assertEqual(self.succeed("edit", "a", "--priority", "10", "--timeout", "5m", "--env", "A=b", "--", "echo", "new one"),
                         "Job 'a' changed.\n")
        job = self.job("a")
        self.assertEqual((job.priority, job.options["timeout"], job.options["env"], job.options["note"]), (10, 300, {"A": "b", "B": "2"}, "mine"))
        self.drain()
        self.assertEqual(self.succeed("logs", "a"), "new one\n")

    def test_a_command_may_begin_with_a_dash(self):
        self.add("a", "true")
        self.succeed("edit", "a", "--", "-n", "x")
        self.assertEqual(self.job("a").command, "-n x")

    def test_a_time_takes_the_place_of_the_one_that_there_was(self):
        self.add("a", "true", delay="1d")
        self.succeed("edit", "a", "--delay", "1h")
        due = self.job("a").run_at
        self.succeed("edit", "a", "--at", "2099-01-01T00:00:00Z")
        self.assertLess(due, self.job("a").run_at)
        self.assertEqual(self.job("a").run_at[:10], "2099-01-01")
        self.succeed("edit", "a", "--hold")
        self.assertEqual(json.loads(self.succeed("list", "--json"))[0]["waits_for"], "hold")
        self.succeed("edit", "a", "--delay", "0")
        self.drain()
        self.assertEqual(self.states(), {"a": COMPLETED})

    def test_a_dead_job_is_changed_and_stays_dead_until_it_is_brought_back(self):
        self.add("a", "exit 3")
        self.drain(code=1)
        self.assertEqual(self.succeed("edit", "a", "--", "true"), "Job 'a' changed; '%s' runs it again.\n" % typed("retry a"))
        self.assertEqual(self.succeed("dlq", "list").split("\t")[3:], ["exit code 3", "true\n"])
        self.assertIn(typed("retry a"), self.refuse("edit", "a", "--at", "02:00", code=1))
        self.succeed("retry", "a")
        self.drain()
        self.assertEqual(self.states(), {"a": COMPLETED})

    def test_what_does_not_fit_is_refused_and_nothing_changed(self):
        self.add("a", "true")
        before = self.records()
        for words in (["--priority", "high"], ["--after", "a"], ["--after", "nope"], ["--timeout", "-1"], ["--"], ["--env", "NOT_THERE_1"]):
            with self.subTest(words):
                self.refuse("edit", "a", *words)
                self.assertEqual(self.records(), before)

    def test_one_that_is_completed_is_pointed_to_retry(self):
        self.add("a", "true")
        self.drain()
        self.assertIn(typed("retry --edit a"), self.refuse("edit", "a", "--priority", "1", code=1))


    def test_a_job_that_comes_after_one_that_is_gone_can_be_edited(self):
        self.add("gone", "exit 1")
        self.add("a", "true", after_any=["gone"])
        self.succeed("hold", "a")
        self.drain(code=1)
        self.succeed("dlq", "purge", "gone")
        self.succeed("edit", "a", "--priority", "5")
        self.assertEqual((self.job("a").priority, self.job("a").after_any), (5, ["gone"]))
        for words in (["--after", "gone"], ["--after-any", "nobody"]):  # which it did not name so before
            with self.subTest(words):
                self.assertIn("there is no such job", self.refuse("edit", "a", *words, code=1))

    def test_a_field_is_taken_away_so_that_the_default_holds(self):
        self.add("a", "true", timeout=5, group="g", max_retries=2, note="mine", env={"A": "1", "B": "2", "C": "3"})
        self.assertEqual(self.succeed("edit", "a", "--unset", "timeout", "--unset", "max-retries", "--unset", "note", "--unset", "env.A",
                                      "--env", "B=4"), "Job 'a' changed.\n")
        self.assertEqual({name: value for name, value in self.job("a").options.items() if name != "cwd"},
                         {"group": "g", "env": {"B": "4", "C": "3"}})
        self.succeed("edit", "a", "--unset", "env.B", "--unset", "env.C", "--unset", "group", "--unset", "runner")  # which it never had
        self.assertEqual(list(self.job("a").options), ["cwd"])

    def test_its_time_and_its_variables_of_a_shell_are_taken_away_too(self):
        for number, (words, field) in enumerate(((["--hold"], "hold"), (["--at", "2099-01-01"], "run_at"), (["--delay", "1h"], "delay"))):
            with self.subTest(field):
                name = "j%d" % number
                self.succeed("enqueue", "--id", name, "--keep-env=PATH", *words, "--", "true")
                self.assertTrue(self.job(name).run_at and self.job(name).kept_env)
                self.succeed("edit", name, "--unset", field)
                self.assertTrue(self.job(name).run_at is None and self.job(name).kept_env)
                self.succeed("edit", name, "--at", "2099-01-01T00:00:00Z")
                self.succeed("edit", name, "--unset", "hold")  # which it is not
                self.assertEqual(self.job(name).run_at, "2099-01-01T00:00:00.000000Z")
                self.succeed("edit", name, "--unset", "keep_env")
                self.assertEqual(self.job(name).kept_env, {})

    def test_what_cannot_be_taken_away_is_refused_and_nothing_changes(self):
        self.add("a", "true", timeout=5)
        before = self.read("jobs.json")
        for words, said in ((["tiemout"], "did you mean 'timeout'?"), (["id"], "no job is without id"), (["cwd"], "no job is without cwd"),
                            (["timeout", "--timeout", "3"], "say one of both"), (["env.A", "--env", "A=1"], "say one of both"),
                            (["hold", "--delay", "3"], "say one of both"), ([""], "it is empty")):
            with self.subTest(words):
                self.assertIn(said, self.refuse("edit", "a", "--unset", *words, code=2))
        self.assertEqual(self.read("jobs.json"), before)
        self.add("dies", "exit 1", priority=9)
        self.drain(code=1)
        self.assertIn("has no time", self.refuse("edit", "dies", "--unset", "run_at", code=1))

    @unittest.skipUnless(POSIX, "the editor is a script of sh")
    def test_an_interrupt_is_for_the_editor_alone(self):
        self.add("a", "true")
        self.write("editor", "cd \"${0%/*}\"; trap 'echo > interrupted' INT; echo > part; mv part open; while [ ! -e interrupted ]; do sleep 0.05; done; "
                             "sed -i.old s/true/false/ \"$1\"\n")
        self.write("killed", "kill -INT $$; sleep 60\n")
        editing = self.start("edit", "a", env=self.environ(EDITOR="exec sh '%s'" % self.path("editor"), VISUAL=""), start_new_session=True)
        self.wait_for(lambda: os.path.exists(self.path("open")))
        os.killpg(editing.pid, signal.SIGINT)
        self.assertEqual((editing.communicate(timeout=DEADLINE), editing.returncode), (("Job 'a' changed.\n", ""), 0))
        self.assertEqual(self.job("a").command, "false")
        said = self.refuse("edit", "a", env=self.environ(EDITOR="exec sh '%s'" % self.path("killed"), VISUAL=""), code=1)
        self.assertIn("nothing was changed, the text is in ", said)
        os.unlink(said.rpartition(" ")[2])

    @unittest.skipUnless(POSIX, "the editor is a script of sh")
    def test_a_field_that_is_misspelt_in_the_editor_is_told_of_once(self):
        self.add("a", "true", timeout=5)
        for change, told in (("s/timeout/tiemout/", 'did you mean "timeout"?'), ("s/true/false/", "")):
            with self.subTest(change):
                self.write("editor", "sed -i.old '%s' \"$1\"\n" % change)
                done = self.run_program("edit", "a", env=self.environ(EDITOR="sh '%s'" % self.path("editor"), VISUAL=""))
                self.assertEqual((done.returncode, done.stdout), (0, "Job 'a' changed.\n"))
                self.assertTrue(done.stderr.endswith(told + "\n") if told else not done.stderr, done.stderr)


class TestRemove(ChangingTest):
    """remove, and clean of both states."""

    def test_a_job_in_whatever_state_goes_with_its_output_and_its_entry(self):
        for job_id, command in (("bad", "echo said && exit 1"), ("good", "echo said"), ("other", "true")):
            self.add(job_id, command)
        self.drain(code=1)
        self.add("waits", "true")
        self.assertEqual(self.succeed("rm", "bad", "good", "waits"), "Removed 3 jobs.\n")
        self.assertEqual((self.states(), self.records("dlq.json"), os.listdir(self.path("logs"))), ({"other": COMPLETED}, [], []))

    def test_what_runs_or_is_needed_stays_and_the_error_says_what_to_do(self):
        self.add("a", "true")
        self.add("b", "true", after=["a"])
        self.assertIn("'b', which is pending, comes after it", self.refuse("remove", "a", code=1))
        self.manager().claim("1-1", time.time())
        self.assertIn(typed("cancel a"), self.refuse("remove", "a", "b", code=1))
        self.assertIn(typed("cancel a"), self.refuse("clean", "a", code=1))
        self.assertEqual(self.states(), {"a": PROCESSING, "b": PENDING})

    def test_clean_takes_both_states(self):
        self.add("good", "true")
        self.add("bad", "exit 1")
        self.drain(code=1)
        self.add("waits", "true")
        self.assertEqual(self.succeed("clean", "--state", "completed,dead"), "Removed 2 jobs.\n")
        self.assertEqual((self.states(), self.records("dlq.json")), ({"waits": PENDING}, []))


class TestCancelMany(ChangingTest):
    """cancel without ids."""

    def setUp(self):
        super().setUp()
        self.add("one", "echo one")
        self.manager().claim("1-1", time.time())
        self.add("two", "echo two")
        self.add("later", "echo three", delay="1d")

    def cancelled(self):
        """The ids of the jobs that are dead."""
        return [job_id for job_id, state in self.states().items() if state == DEAD]

    def test_chosen_by_state_and_text(self):
        for words, ids, said in ((["--search", "three"], ["later"], "1 job cancelled.\n"), (["--state", "ready"], ["two"], "1 job cancelled.\n"),
                                 (["--state", "scheduled"], ["later"], "1 job cancelled.\n"),
                                 (["--state", "pending"], ["two", "later"], "2 jobs cancelled.\n"),
                                 (["--state", "pending", "--search", "two"], ["two"], "1 job cancelled.\n"),
                                 (["--search", "nothing"], [], "0 jobs cancelled.\n"),
                                 (["--all"], ["one", "two", "later"], "3 jobs cancelled; workers end 1 of them.\n")):
            with self.subTest(words):
                before = self.read("jobs.json")
                self.assertEqual(self.succeed("cancel", *words), said)
                self.assertEqual(self.cancelled(), ids)
                self.write("jobs.json", before)
                self.write("dlq.json", "[]")

    def test_ids_and_the_others_do_not_go_together_and_what_has_ended_is_not_cancelled(self):
        for words in ([], ["two", "--all"], ["two", "--search", "x"], ["--state", "dead"], ["--state", "done"]):
            with self.subTest(words):
                self.refuse("cancel", *words, code=2)
        self.assertEqual(self.cancelled(), [])
