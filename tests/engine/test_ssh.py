"""Jobs on another host by ssh, with runners/on-host: words and output arrive as they are, and nothing outlives the end of an attempt."""
from __future__ import annotations

import os
import unittest

from core.job import COMPLETED, DEAD, FAILED, PENDING, TIMEOUT
from tests.support.control import ControlTest
from tests.support.home import ROOT

ON_HOST = os.path.join(ROOT, "runners", "on-host")


@unittest.skipUnless(os.environ.get("ENGINE"), "tests/engine/run.sh sets up what this needs")
class TestSsh(ControlTest):
    """A worker whose jobs run on the host build1."""

    def setUp(self):
        super().setUp()
        self.settings(max_retries=0, runner=[ON_HOST, "build1"])

    def environ(self, **more):
        """With an ssh that knows the host."""
        environ = super().environ(**more)
        environ["PATH"] = os.path.join(os.environ["ENGINE"], "bin") + os.pathsep + environ["PATH"]
        return environ

    def log_of(self, job_id):
        """The output of a job's newest attempt."""
        return self.succeed("logs", job_id)

    def test_words_output_and_exit_code_arrive_as_they_are(self):
        for number, (command, output) in enumerate((
                ("echo \"it's\" '$HOME' \"a  b\"", "it's $HOME a  b\n"), ("printf 'a\\nb\\n'; printf 'c\\n' >&2", "a\nb\nc\n"),
                ("echo one\necho 'two\\'", "one\ntwo\\\n"), ("echo \"`echo x`\"; echo ä", "x\nä\n"), ("tty >/dev/null && cat; echo read", "read\n"))):
            with self.subTest(command=command):
                self.add("j%d" % number, command)
                self.drain()
                self.assertEqual(self.log_of("j%d" % number), output)
        self.add("failing", "exit 3")
        self.drain(code=1)
        self.assertEqual((self.job("failing").exit_code, self.job("failing").reason), (3, FAILED))

    def test_it_really_is_a_session_of_sshd(self):
        self.add("j", 'echo "$SSH_CONNECTION"')
        self.drain()
        self.assertTrue(self.log_of("j").startswith("127.0.0.1 "))

    def test_a_host_that_cannot_be_reached_is_a_failure_that_says_so(self):
        self.add("j", "true", runner=[ON_HOST, "build9.invalid"])
        self.drain(code=1)
        self.assertEqual((self.job("j").state, self.job("j").exit_code), (DEAD, 255))
        self.assertIn("build9.invalid", self.log_of("j"))

    def test_a_time_out_leaves_nothing_running(self):
        self.add("j", "(%s &); %s" % (self.nap, self.nap), timeout=2)
        self.drain(code=1)
        self.assertEqual(self.job("j").reason, TIMEOUT)
        self.wait_for_naps(0)

    def test_cancel_leaves_nothing_running(self):
        self.add("j", "(%s &); %s" % (self.nap, self.nap))
        self.worker()
        self.wait_for_naps(2)
        self.succeed("cancel", "j")
        self.wait_for_naps(0)

    def test_stop_now_leaves_nothing_running(self):
        self.add("j", "(%s &); %s" % (self.nap, self.nap))
        worker = self.worker()
        self.wait_for_naps(2)
        self.succeed("worker", "stop", "--now")
        self.assertEqual(worker.wait(60), 0)
        self.assertEqual((self.job("j").state, self.job("j").attempts), (PENDING, 0))
        self.wait_for_naps(0)

    def test_a_killed_worker_is_followed_by_one_that_ends_what_it_left_and_runs_it_again(self):
        self.settings(max_retries=1, runner=[ON_HOST, "build1"])
        self.add("j", "[ -e %s ] && exit; touch %s; %s" % (self.path("again"), self.path("again"), self.nap))
        worker = self.worker()
        self.wait_for_naps(1)
        worker.kill()
        worker.wait()
        self.drain()
        self.assertEqual((self.job("j").state, self.job("j").attempts), (COMPLETED, 2))
        self.wait_for_naps(0)
