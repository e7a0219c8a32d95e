"""Runners: what is put before a job's command, where it is named, what becomes of its words, and that jobs end with it as without it."""
from __future__ import annotations

import json
import os
import shutil
import time
import unittest

from core import errors, settings
from core.errors import InvalidJob
from core.job import COMPLETED, DEAD, FAILED, KILLED, PENDING, TIMEOUT, UNSTARTABLE
from core.job_record import job_from_record
from core.rules import runner_words
from tests.support.control import ControlTest
from tests.support.home import HomeTest
from tests.support.workers import GATE

SAYS = 'echo "$FROM"'


def from_(where):
    """A runner that says where it comes from."""
    return ["env", "FROM=" + where]


class TestWords(unittest.TestCase):
    """Which words are put before a job, and what is filled in."""

    def words(self, own, default=None, job_id="j", **fields):
        """The words of a job with this field, where the setting has the default."""
        job = job_from_record(dict(fields, id=job_id, command="true", runner=own))
        return runner_words(job, settings.DEFAULTS._replace(runner=default), "/work")

    def test_a_jobs_own_words_come_before_the_settings_and_none_at_all_are_words_too(self):
        for own, default, expected in ((None, None, []), (None, ["a"], ["a"]), (["b"], ["a"], ["b"]), ([], ["a"], []), (["b"], None, ["b"])):
            with self.subTest(own=own, default=default):
                self.assertEqual(self.words(own, default), expected)

    def test_three_placeholders_are_filled_in_and_no_other_brace_is_touched(self):
        self.assertEqual(self.words(["{id}", "-{id}-{id}", "{attempt}{cwd}", "{ID} {} {{id}} {id {host} {0}", "%s %(id)s \\1"], attempts=3),
                         ["j", "-j-j", "3/work", "{ID} {} {j} {id {host} {0}", "%s %(id)s \\1"])

    def test_what_was_filled_in_is_not_looked_through_again(self):
        self.assertEqual(self.words(["{id}"], job_id="{cwd}\\g<0>"), ["{cwd}\\g<0>"])

    def test_a_field_of_another_kind_is_refused_in_one_line(self):
        for value in ("nice", 5, True, {}, [5], [""], ["a\0b"], [["a"]], [None]):
            with self.subTest(value=value), self.assertRaises(InvalidJob) as caught:
                self.words(value)
            self.assertIn('"runner" must be a list of texts', str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_a_command_line_is_split_as_a_shell_does(self):
        for text, words in (("srun -n1", ["srun", "-n1"]), ("", []), (" a  'b c' \"d\" ", ["a", "b c", "d"]), ("a '' #b", ["a", "", "#b"]),
                            ('["a b", "c"]', ["a b", "c"])):
            with self.subTest(text=text):
                self.assertEqual(settings.split_words(text), words)
        for text in ("a 'b", '["a"'):
            with self.subTest(text=text), self.assertRaises(errors.UsageError):
                settings.split_words(text)


class TestNaming(HomeTest):
    """The setting, the field and the flags, as a user gives them."""

    def test_the_setting_is_given_as_text_or_as_a_list(self):
        for value, expected in (("srun -n1", ["srun", "-n1"]), ('["a b"]', ["a b"]), ('"x y"', ["x", "y"]), ("null", None), ("", [])):
            with self.subTest(value=value):
                said = "runner = %s\n" % json.dumps(expected)
                self.assertEqual(self.succeed("config", "set", "runner", value), said)
                self.assertEqual(json.loads(self.read("config.json").decode("utf-8")), {"runner": expected})
                self.assertEqual(self.succeed("config", "get", "runner"), json.dumps(expected) + "\n")

    def test_whatever_else_is_refused_with_what_it_must_be(self):
        job = '{"id": "j", "command": "true", "runner": %s}'
        for words in (["config", "set", "runner", "5"], ["config", "set", "runner", "[5]"], ["config", "set", "runner", '[""]'],
                      ["enqueue", job % '"nice"'], ["enqueue", job % "{}"], ["enqueue", "--runner", "[5]", "--", "true"],
                      ["worker", "start", "--runner", '["a", 5]']):
            with self.subTest(words=words):
                self.assertIn("must be a list of texts like", self.refuse(*words, code=2))
        for words in (["config", "set", "runner"], ["worker", "start", "--runner"]):
            with self.subTest(words=words):
                self.assertIn("no closing quotation", self.refuse(*words, "a 'b", code=2))
        self.write("config.json", '{"runner": "nice"}')
        self.assertIn("runner must be a list of texts like", self.refuse("enqueue", job % "[]"))

    def test_the_field_is_shown_enqueued_again_and_edited(self):
        self.succeed("enqueue", "--runner", "nice -n '5'", "--id", "j", "--", "true")
        shown = self.succeed("show", "j")
        self.assertEqual(json.loads(shown)["runner"], ["nice", "-n", "5"])
        self.succeed("enqueue", shown)
        self.assertEqual([job.options["runner"] for job in self.manager().find("j")], [["nice", "-n", "5"]] * 2)
        job = self.manager().find("j")[-1]
        with self.assertRaises(InvalidJob):
            self.manager().edit(job, dict(job.fields(), runner="env"), time.time())
        self.manager().edit(job, dict(job.fields(), runner=["env"]), time.time())
        self.assertEqual(self.manager().find("j")[-1].options["runner"], ["env"])

    def test_the_flag_of_enqueue_holds_for_the_jobs_that_do_not_say_themselves(self):
        self.succeed("enqueue", "--runner", "env", "-", stdin='{"id": "a", "command": "true"}\n{"id": "b", "command": "true", "runner": []}')
        self.assertEqual([job.options["runner"] for job in self.manager().jobs()], [["env"], []])

    def test_a_job_with_a_runner_that_is_none_in_a_file_is_not_run_without_one(self):
        self.write("config.json", '{"max_retries": 0, "runner": ["nice"]}')
        self.write("jobs.json", '[{"id": "a", "command": "true", "runner": "me"}]')
        self.assertIn("the job 'a': \"runner\" must be a list of texts", self.drain(code=1))
        self.assertIn('"runner" must be a list of texts', self.succeed("logs", "a"))


class TestRunner(ControlTest):
    """Jobs that run by a runner."""

    def log_of(self, job_id):
        """The output of a job's newest attempt."""
        return self.succeed("logs", job_id)

    def script(self, name, text):
        """An executable script in the home; its path."""
        self.write(name, text)
        os.chmod(self.path(name), 0o755)
        return self.path(name)

    def test_the_field_comes_before_the_workers_flag_and_that_before_the_setting(self):
        self.settings(runner=from_("setting"))
        for job_id, runner, flag, expected in (("field", from_("field"), "env FROM=flag", "field"), ("flag", None, "env FROM=flag", "flag"),
                                               ("setting", None, None, "setting"), ("plain", [], None, ""), ("plain flag", None, "", ""),
                                               ("plain field", [], "env FROM=flag", "")):
            with self.subTest(job_id):
                self.add(job_id, SAYS, runner=runner)
                self.drain(*[] if flag is None else ["--runner", flag])
                self.assertEqual(self.log_of(job_id), expected + "\n")

    def test_it_gets_the_shell_and_the_command_as_words_of_their_own(self):
        self.add("j", "echo \"it's  one\" && exit 0", runner=[self.script("says", '#!/bin/sh\nprintf "<%s>" "$@"'), "a b", "$HOME", ""])
        self.drain()
        self.assertEqual(self.log_of("j"), "<a b><$HOME><><sh><-c><echo \"it's  one\" && exit 0>")

    def test_a_running_worker_takes_a_changed_setting_but_keeps_its_flag(self):
        self.settings(runner=from_("one"))
        self.worker()
        self.add("a", SAYS)
        self.wait_for_state("a", COMPLETED)
        self.succeed("config", "set", "runner", "env FROM=two")
        self.wait_for(lambda: "settings read again" in self.text("words-0"))
        self.add("b", SAYS)
        self.wait_for_state("b", COMPLETED)
        self.succeed("worker", "stop")
        self.worker("--runner", "env FROM=flag")
        self.add("c", SAYS)
        self.wait_for_state("c", COMPLETED)  # it has read the settings as they were
        self.settings(runner=from_("three"), max_retries=1)
        self.wait_for(lambda: "settings read again" in self.text("words-1"))
        self.add("d", SAYS)
        self.wait_for_state("d", COMPLETED)
        self.assertEqual([self.log_of(job_id) for job_id in "abcd"], ["one\n", "two\n", "flag\n", "flag\n"])

    def test_a_flag_without_any_config_file_counts(self):
        os.unlink(self.path("config.json"))
        self.add("j", SAYS)
        self.drain("--runner", "env FROM=flag")
        self.assertEqual(self.log_of("j"), "flag\n")

    def test_a_detached_worker_is_told_the_flag(self):
        self.add("j", SAYS)
        self.succeed("worker", "start", "--detach", "--runner", "env 'FROM=a  \"b\"'")
        self.wait_for_state("j", COMPLETED)
        self.assertEqual(self.log_of("j"), 'a  "b"\n')
        self.succeed("worker", "stop")

    def test_placeholders_folder_and_environment_are_those_of_the_attempt(self):
        os.mkdir(self.path("there"))
        self.settings(runner=["env", "I={id}", "A={attempt}", "C={cwd}", "X={x}{}"], max_retries=1)
        self.add("j 1", 'echo "$I,$A,$C,$X"; pwd; echo "$QUEUECTL_JOB_ID,$QUEUECTL_ATTEMPT,$QUEUECTL_HOME,$OWN"; test -n "$QUEUECTL_WORKER" && '
                 '[ "$A" = 2 ]', cwd=self.path("there"), env={"OWN": "own"})
        self.drain()
        folder = self.path("there")
        self.assertEqual(self.log_of("j 1").splitlines(), ["j 1,2,%s,{x}{}" % folder, os.path.realpath(folder), "j 1,2,%s,own" % self.home])

    def test_it_is_looked_for_on_the_path_of_the_job_and_in_its_folder(self):
        os.makedirs(self.path("there", "bin"))
        self.script("there/bin/mine", '#!/bin/sh\necho "mine from $PWD"\nexec "$@"')
        path = self.path("there", "bin") + os.pathsep + os.environ["PATH"]
        for job_id, runner, fields in (("path", ["mine"], {"env": {"PATH": path}}), ("folder", ["bin/mine"], {}), ("dots", ["./bin/mine"], {}),
                                       ("relative", ["mine"], {"env": {"PATH": "bin" + os.pathsep + os.environ["PATH"]}})):
            with self.subTest(job_id):
                self.add(job_id, "echo ran", runner=runner, cwd=self.path("there"), **fields)
                self.drain()
                self.assertEqual(self.log_of(job_id), "mine from %s\nran\n" % os.path.realpath(self.path("there")))

    def test_exit_codes_signals_and_output_are_those_of_the_runner(self):
        self.settings(max_retries=0)
        for job_id, command, expected in (("good", "echo out; echo err >&2", (COMPLETED, 0, None)), ("bad", "exit 3", (DEAD, 3, FAILED)),
                                          ("killed", "kill -9 $$", (DEAD, 137, KILLED)), ("none", "no-such-command", (DEAD, 127, FAILED))):
            with self.subTest(job_id):
                self.add(job_id, command, runner=["env"])
                self.drain(code=0 if expected[0] == COMPLETED else 1)
                job = self.job(job_id)
                self.assertEqual((job.state, job.exit_code, job.reason), expected)
        self.assertEqual(self.log_of("good"), "out\nerr\n")

    @unittest.skipUnless(shutil.which("nice"), "needs nice(1)")
    def test_nice(self):
        self.add("j", "nice", runner=["nice", "-n", "3"])
        self.drain()
        self.assertEqual(int(self.log_of("j")), min(19, os.nice(0) + 3))

    def test_one_that_is_not_there_or_is_no_program_fails_by_name_and_is_tried_again(self):
        self.settings(max_retries=1)
        self.write("text", "")
        for job_id, runner in (("gone", ["no-such-runner"]), ("gone too", ["./no-such-runner"]), ("text", ["./text"]), ("folder", ["/"])):
            with self.subTest(job_id):
                self.add(job_id, "true", runner=runner)
                self.drain(code=1)
                job = self.job(job_id)
                self.assertEqual((job.state, job.attempts, job.exit_code, job.reason), (DEAD, 2, None, UNSTARTABLE))
                self.assertEqual(self.log_of(job_id), "queuectl: cannot start this command in %s: there is no program '%s' to run it with\n"
                                 % (self.home, runner[0]))
                self.assertIn("could not be started", self.succeed("dlq", "list"))

    def test_one_that_was_stored_before_the_field_meant_something_fails_by_name(self):
        self.settings(max_retries=0)
        self.add("j", "true", runner=["AAA"])
        content, stat = self.read("jobs.json"), os.stat(self.path("jobs.json"))
        with open(self.path("jobs.json"), "r+b") as file:  # as an older program wrote it, the last to change the file
            file.write(content.replace(b'["AAA"]', b'"AAAAA"'))
        os.utime(self.path("jobs.json"), ns=(stat.st_atime_ns, stat.st_mtime_ns))
        self.drain(code=1)
        self.assertEqual(self.job("j").reason, UNSTARTABLE)
        self.assertIn('"runner" must be a list of texts like ["srun"], not "AAAAA"', self.log_of("j"))

    # -- the end of the tree: a runner, its shell, and a grandchild

    def runner(self, trap=""):
        """A runner that stays, as srun and ssh do, and runs the job as its child, which has one of its own."""
        return [self.script("stays", '#!/bin/sh\n%s\n%s &\n"$@"\n' % (trap, self.nap))]

    def busy(self, **fields):
        """A job with a runner, of which two naps are taken: the runner's, and the command's."""
        self.add("j", "%s; exit 0" % self.nap, **fields)

    def test_a_time_out_ends_the_whole_tree(self):
        for job_id, trap in (("mild", ""), ("stubborn", 'trap "" TERM')):
            with self.subTest(job_id):
                self.settings(max_retries=0, kill_grace=0.2)
                self.add(job_id, "%s; exit 0" % self.nap, timeout=0.5, runner=self.runner(trap))
                self.drain(code=1)
                self.assertEqual(self.job(job_id).reason, TIMEOUT)
                self.assertEqual(self.naps(), [])

    def test_cancel_ends_the_whole_tree(self):
        self.busy(runner=self.runner())
        self.worker()
        self.wait_for_naps(2)
        self.succeed("cancel", "j")
        self.wait_for_naps(0)
        self.assertEqual(self.job("j").state, DEAD)

    def test_stop_now_ends_the_whole_tree_and_gives_the_job_back(self):
        self.busy()
        worker = self.worker("--runner", self.runner()[0])
        self.wait_for_naps(2)
        self.succeed("worker", "stop", "--now")
        self.assertEqual(worker.wait(60), 0)
        self.assertEqual(self.naps(), [])
        self.assertEqual((self.job("j").state, self.job("j").attempts), (PENDING, 0))

    def test_what_a_killed_worker_left_is_ended_before_the_job_runs_again(self):
        self.settings(max_retries=1)
        self.add("j", '[ "$QUEUECTL_ATTEMPT" = 2 ] || { %s; exit 0; }' % self.nap, runner=self.runner())
        worker = self.worker()
        self.wait_for_naps(2)
        self.kill(worker)
        self.add("after", "exit 0", after=["j"])
        self.worker()
        self.wait_for_state("after", COMPLETED)
        self.assertEqual(self.job("j").attempts, 2)
        self.wait_for_naps(1)  # the second attempt succeeded, and may leave something behind
        self.succeed("worker", "stop")

    def test_many_are_in_flight_at_once_under_one_small_process(self):
        for number in range(60):
            self.add("j%d" % number, GATE)
        worker = self.worker("--count", "60", "--runner", "env")
        self.wait_for(lambda: len([name for name in os.listdir(self.home) if name.startswith("here-")]) == 60)
        if os.path.exists("/proc/self/status"):
            with open("/proc/%d/status" % worker.pid, encoding="ascii", errors="replace") as file:
                self.assertLess(next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")), 60 * 1024)
        self.write("go", "")
        self.wait_for(lambda: set(self.states().values()) == {COMPLETED})
        self.succeed("worker", "stop")


class TestShell(ControlTest):
    """The words that run a command, in the place of the system's shell."""

    def test_a_jobs_own_shell_comes_before_the_settings_and_an_empty_list_is_the_systems(self):
        self.write("show", "#!/bin/sh\nprintf '<%s>' \"$@\"\n")
        os.chmod(self.path("show"), 0o755)
        self.settings(shell=[self.path("show"), "-x"])
        self.add("setting", "a  'b'")
        self.add("own", "a  'b'", shell=[self.path("show")])
        self.add("system", "printf '%s' a  'b'", shell=[])
        self.succeed("enqueue", "--id", "option", "--shell", "sh -e -c", "--", "false; echo never")
        self.add("behind", "echo 'b'", runner=["env", "A=1"], shell=["sh", "-c"])
        self.drain(code=1)
        self.assertEqual([self.succeed("logs", job_id) for job_id in ("setting", "own", "system", "behind")],
                         ["<-x><a  'b'>", "<a  'b'>", "ab", "b\n"])
        self.assertEqual((self.job("option").state, self.job("option").exit_code), (DEAD, 1))

    def test_a_shell_that_is_not_there_is_a_failure_that_says_so_and_one_that_is_no_list_is_refused(self):
        self.settings(max_retries=0)
        self.add("j", "true", shell=["no-such-shell", "-c"])
        self.drain(code=1)
        self.assertEqual(self.job("j").reason, UNSTARTABLE)
        self.assertIn("there is no program 'no-such-shell'", self.succeed("logs", "j"))
        self.assertIn('"shell" must be a list of texts', self.refuse("enqueue", '{"id": "x", "command": "y", "shell": "bash"}'))
