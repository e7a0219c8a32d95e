"""Jobs under control, with real processes: time-outs, cancel, pause, Ctrl+C, what becomes of a job's process tree, and on_finish.

Jobs sleep for a length of time that no other process sleeps for, so that a test finds what it has started, and only that.
QUEUECTL_FAULTS=all makes the races more.
"""
from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
import unittest
from unittest import mock

import main
from core import settings
from core.errors import JobRefused
from core.job import CANCELLED, COMPLETED, DEAD, FAILED, PENDING, PROCESSING, TIMEOUT, Outcome
from execution import attempt as execution_attempt, launcher, on_finish
from tests.support.control import NAPS, ControlTest, spin, reap
from tests.support.home import DEADLINE, MAIN, set_everywhere, typed
from tests.support.workers import FOR_EVER, GATE, KNOWS_GROUPS, SEES_STRAYS, is_alive

ALL = os.environ.get("QUEUECTL_FAULTS") == "all"
# Says that it is here, with two children, one grandchild and one that its parent has left; then goes on with what follows.
TREE = 'sh -c "%(nap)s & %(nap)s" & (%(nap)s &); %(nap)s & touch "here-$QUEUECTL_JOB_ID"; '
CTRL_C = b"\x03"


class TestTimeouts(ControlTest):
    """A job that runs for too long."""

    def setUp(self):
        super().setUp()
        self.settings(max_retries=0)

    def test_it_is_ended_with_its_children_and_dies(self):
        self.succeed("enqueue", "--id", "slow", "--timeout", "1", "--", "sh", "-c", "%s & %s" % (self.nap, self.nap))
        self.drain(code=1)
        self.assertEqual(self.naps(), [])
        job = self.job("slow")
        self.assertEqual((job.state, job.reason, job.exit_code, job.attempts), (DEAD, TIMEOUT, None, 1))
        self.assertIn("\ttimed out after 1 s\t", self.succeed("dlq", "list"))

    def test_the_limit_comes_from_the_option_or_the_field_or_else_from_the_setting(self):
        self.settings(max_retries=0, timeout=0.2)
        self.succeed("enqueue", "--id", "option", "--timeout", "0.3s", "--", self.nap)
        self.succeed("enqueue", json.dumps({"id": "field", "command": self.nap, "timeout": 0.25}))
        self.add("setting", self.nap)
        self.add("null", "sleep 0.5", timeout=None)  # lifts the limit of the settings
        self.add("longer", "sleep 0.5", timeout=60)
        self.drain("--count", "5", code=1)
        said = {line.split("\t")[0]: line.split("\t")[3] for line in self.succeed("dlq", "list").splitlines()}
        self.assertEqual((self.job("longer").state, self.job("null").state), (COMPLETED, COMPLETED))
        for job_id, wanted in (("option", "timed out after 0.3 s"), ("field", "timed out after 0.25 s"),
                               ("setting", "timed out")):
            with self.subTest(job_id):
                self.assertEqual((self.job(job_id).state, self.job(job_id).reason), (DEAD, TIMEOUT))
                self.assertTrue(said[job_id].startswith(wanted), said)

    def test_the_list_says_after_how_long_also_if_the_setting_said_so(self):
        self.settings(max_retries=0, timeout=0.2)
        self.add("x", self.nap)
        self.drain(code=1)
        self.assertIn("\ttimed out after 0.2 s\t", self.succeed("dlq", "list"))

    def test_it_is_retried_like_any_other_failure(self):
        self.settings(max_retries=2)
        self.add("x", 'echo "$QUEUECTL_ATTEMPT"; [ "$QUEUECTL_ATTEMPT" = 3 ] || %s' % self.nap, timeout=0.3)
        said = self.drain()
        self.assertEqual((self.job("x").state, self.job("x").attempts), (COMPLETED, 3))
        self.assertEqual(said.count("timed out after 0.3 s"), 2, said)

    def test_it_gets_term_first_and_has_the_grace_to_end_by_itself(self):
        self.settings(max_retries=0, kill_grace=3600)
        self.add("x", "trap 'echo last words; exit 0' TERM; %s & wait" % self.nap, timeout=0.3)
        self.drain(code=1)
        self.assertEqual((self.job("x").reason, self.dlq("x")["output"]), (TIMEOUT, "last words"))

    def test_one_that_ignores_term_is_killed_after_the_grace(self):
        self.settings(max_retries=0, kill_grace=0.3)
        self.add("x", "trap '' TERM; %s & %s" % (self.nap, self.nap), timeout=0.3)
        self.drain(code=1)
        self.assertEqual((self.naps(), self.job("x").reason), ([], TIMEOUT))

    def test_children_that_ignore_term_are_killed_although_the_shell_has_ended(self):
        self.settings(max_retries=0, kill_grace=0.3)
        self.add("x", "(trap '' TERM; exec %s) & %s" % (self.nap, self.nap), timeout=0.3)
        self.drain(code=1)
        self.assertEqual((self.naps(), self.job("x").reason), ([], TIMEOUT))

    def test_of_fifty_children_none_is_left(self):
        self.settings(max_retries=0, kill_grace=0.3)
        self.add("x", "n=0; while [ $n -lt 50 ]; do %s & n=$((n+1)); done; touch forked; wait" % self.nap, timeout=1)
        self.drain(code=1)
        self.assertTrue(os.path.exists(self.path("forked")))
        self.assertEqual((self.naps(), self.job("x").reason), ([], TIMEOUT))


class TestCancel(ControlTest):
    """cancel, from another terminal."""

    def test_a_pending_job_never_runs_and_is_in_the_dead_letter_queue(self):
        self.add("x", "touch ran")
        self.add("y", "true")
        self.assertEqual(self.succeed("cancel", "x"), "Job 'x' cancelled.\n")
        self.drain()
        self.assertFalse(os.path.exists(self.path("ran")))
        job = self.job("x")
        self.assertEqual((job.state, job.reason, job.attempts, self.job("y").state), (DEAD, CANCELLED, 0, COMPLETED))
        self.assertEqual((self.dlq("x")["state"], self.dlq("x")["reason"]), (DEAD, CANCELLED))
        self.assertIn("\tcancelled\t", self.succeed("dlq", "list"))

    def test_a_running_job_is_ended_with_its_tree_and_its_worker_goes_on(self):
        self.settings(poll_interval=3600)
        self.add("x", "echo so far; " + TREE % {"nap": self.nap} + "wait")
        self.add("next", "true")
        worker = self.worker()
        self.wait_for_file("here-x")
        self.succeed("cancel", "x")
        self.wait_for_state("next", COMPLETED)
        self.assertEqual(self.naps(), [])
        job = self.job("x")
        self.assertEqual((job.state, job.reason, job.exit_code, job.worker), (DEAD, CANCELLED, None, None))
        self.assertEqual(self.dlq("x")["output"], "so far")
        self.stop(worker)

    def test_one_that_ends_well_when_it_is_told_to_end_is_cancelled_all_the_same(self):
        self.settings(kill_grace=3600)
        self.add("x", "trap 'exit 0' TERM; touch here; %s & wait" % self.nap)
        worker = self.worker()
        self.wait_for_file("here")
        self.succeed("cancel", "x")
        self.wait_for_naps(0)
        self.stop(worker)
        self.assertEqual((self.job("x").state, self.job("x").reason), (DEAD, CANCELLED))

    def test_one_that_ignores_term_is_killed_after_the_grace(self):
        self.settings(kill_grace=0.3)
        self.add("x", "trap '' TERM; touch here; %s & %s" % (self.nap, self.nap))
        worker = self.worker()
        self.wait_for_file("here")
        self.succeed("cancel", "x")
        self.wait_for_naps(0)
        self.stop(worker)

    def test_several_at_once_whatever_they_do(self):
        self.settings(backoff_base=1000, retry_in_place=False)
        self.add("retries", "exit 1")
        self.add("runs", self.nap)
        self.add("waits", "true")
        self.add("stays", "true")
        worker = self.worker()
        self.wait_for_naps(1)
        self.assertEqual(self.succeed("cancel", "waits", "runs", "retries").count(" cancelled"), 3)
        self.wait_for_state("stays", COMPLETED)
        for job_id in ("waits", "runs", "retries"):
            self.assertEqual((self.job(job_id).state, self.job(job_id).reason, self.dlq(job_id)["id"]), (DEAD, CANCELLED, job_id))
        self.wait_for_naps(0)
        self.stop(worker)

    def test_all_jobs_of_one_id_are_cancelled(self):
        self.add("x", "true")
        self.add("x", "true")
        self.succeed("cancel", "x")
        self.assertEqual(self.queue.count()[DEAD], 2)

    def test_an_id_that_is_said_twice_is_one_job(self):
        self.add("x", "true")
        self.assertEqual(self.succeed("cancel", "x", "x"), "Job 'x' cancelled.\n")
        self.assertEqual(len(self.records("dlq.json")), 1)

    def test_what_is_not_there_or_has_ended_is_refused_and_nothing_is_cancelled(self):
        self.settings(max_retries=0)
        self.add("done", "true")
        self.add("dead", "false")
        self.drain(code=1)
        self.add("x", "true")
        for words in (["nope"], ["x", "nope"], ["done"], ["x", "dead"]):
            with self.subTest(words):
                self.assertIn(repr(words[-1]), self.refuse("cancel", *words, code=1))
                self.assertEqual(self.job("x").state, PENDING)

    def test_retry_brings_it_back_if_it_is_named_but_not_with_all(self):
        self.settings(max_retries=0)
        self.add("failed", "[ -e mended ]")
        self.drain(code=1)
        self.add("x", "true")
        self.succeed("cancel", "x")
        self.write("mended", "")
        self.assertEqual(self.succeed("retry", "--all"), "Job 'failed' is back in the queue; 1 cancelled job stays dead: '%s' brings it back.\n"
                         % typed("retry ID"))
        self.assertEqual((self.job("failed").state, self.job("x").state), (PENDING, DEAD))
        self.succeed("retry", "x")
        self.drain()
        self.assertEqual((self.job("x").state, self.job("x").attempts, self.job("failed").state), (COMPLETED, 1, COMPLETED))
        self.assertEqual(self.records("dlq.json"), [])

    def test_one_that_is_brought_back_does_not_start_while_its_old_tree_runs(self):
        self.settings(kill_grace=3600)
        self.write("job.sh", "trap '' TERM\n"
                             "if [ -e pid ]; then\n"
                             "    kill -0 $(cat pid) && ! grep -qs ') Z' /proc/$(cat pid)/stat && touch overlap\n"
                             "    exit 0\n"
                             "fi\n"
                             "echo $$ > pid\n" + GATE)
        self.add("x", "sh job.sh")
        worker = self.worker("--count", "2")
        self.wait_for_file("here-x")
        self.succeed("cancel", "x")
        self.succeed("retry", "x")
        for number in range(3):  # the other worker looks for something to do, again and again
            self.add("other%d" % number, "true")
            self.wait_for_state("other%d" % number, COMPLETED)
        self.assertEqual(self.job("x").state, PENDING)
        self.write("go", "")
        self.wait_for_state("x", COMPLETED)
        self.assertFalse(os.path.exists(self.path("overlap")))
        self.stop(worker)

    def test_a_worker_that_waits_with_a_failed_job_goes_on_once_that_is_cancelled(self):
        self.settings(backoff_base=1000)
        self.add("bad", "exit 1")
        worker = self.worker()
        self.wait_for(lambda: "again in 1000 s" in self.text(worker.words))
        self.add("other", "true")
        self.succeed("cancel", "bad")
        self.wait_for(lambda: self.job("other").state == COMPLETED, seconds=8)
        self.stop(worker)

    def test_the_tree_that_a_killed_worker_left_is_ended_also_if_its_job_is_cancelled_before_that_is_noticed(self):
        self.add("x", TREE % {"nap": self.nap} + "wait")
        worker = self.worker()
        self.wait_for_file("here-x")
        self.wait_for_naps(NAPS)
        self.kill(worker)
        self.succeed("cancel", "x")
        self.drain()
        self.assertEqual((self.naps(), self.job("x").state), ([], DEAD))

    def test_such_a_job_if_it_is_brought_back_does_not_start_while_its_old_tree_runs(self):
        self.write("job.sh", FOR_EVER.replace('"$QUEUECTL_ATTEMPT" = 1', "! -e pids"))
        self.add("x", "sh job.sh")
        worker = self.worker()
        self.wait_for_file("pids")
        self.kill(worker)
        self.succeed("cancel", "x")
        self.succeed("retry", "x")
        self.drain()
        self.assertEqual((self.job("x").state, self.text("survivors")), (COMPLETED, ""))


class TestCancelRaces(ControlTest):
    """cancel against claim: either cancelled before it ran, or ended; never both completed and cancelled."""

    def test_a_job_is_either_cancelled_or_completed_and_both_sides_know_which(self):
        rounds = 1000 if ALL else 200
        go, ready = os.pipe(), os.pipe()

        def worker():
            jobs = self.manager(fsync=False)
            for number in range(rounds):
                os.read(go[0], 1)
                spin(number % 17 * 0.0001)
                job = jobs.claim("worker-%d" % number, time.time())
                after = None
                if job is not None:
                    spin(number % 3 * 0.0003)
                    after, _ = jobs.record(job, Outcome(0, None), time.time())
                state = b"-" if job is None else b"?" if after is None else b"+"
                os.write(ready[1], state)
            return 0

        pid = self.in_child(worker)
        try:
            for number in range(rounds):
                name = "job%d" % number
                self.add(name, "true")
                os.write(go[1], b".")
                spin(number % 13 * 0.00015)
                try:
                    cancelled = [job.state for job in self.queue.cancel([name], time.time())]
                except JobRefused:
                    cancelled = []
                ran = {b"-": "never", b"?": "taken away", b"+": "completed"}[os.read(ready[0], 1)]
                job = self.job(name)
                self.assertIn((cancelled, ran, job.state, job.reason), (([PENDING], "never", DEAD, CANCELLED),
                                                                        ([PROCESSING], "taken away", DEAD, CANCELLED),
                                                                        ([], "completed", COMPLETED, None)))
        finally:
            for descriptor in go + ready:
                os.close(descriptor)
            _, status = os.waitpid(pid, 0)
        self.assertEqual(status, 0, self.text("words-child"))
        self.assertEqual({job["id"] for job in self.records("dlq.json")}, {job.id for job in self.queue.jobs((DEAD,))})

    def test_whatever_the_worker_is_about_to_do_with_it_nothing_of_it_is_left(self):
        self.settings(kill_grace=3600)  # what misses TERM stays
        worker = self.worker("--count", "2")
        names = ["job%d" % number for number in range(300 if ALL else 40)]
        for number, name in enumerate(names):
            self.add(name, self.nap)
            spin(number % 20 * 0.0005)
            self.queue.cancel([name], time.time())
        self.add("last", "true")
        self.wait_for_state("last", COMPLETED)
        self.wait_for_naps(0)
        self.stop(worker)
        self.assertEqual({(self.job(name).state, self.job(name).reason) for name in names}, {(DEAD, CANCELLED)})
        self.assertEqual([job["id"] for job in self.records("dlq.json")], names)


class TestAttempt(ControlTest):
    """One attempt in the hands of two threads: the worker's, which starts it and waits for it, and the main one, which may end it."""

    def attempt(self, command):
        """An Attempt of a claimed job with this command."""
        self.add("x", command)
        self.addCleanup(os.chdir, os.getcwd())  # it starts in the job's folder, and leaves the process there
        launch = launcher.Launcher()
        self.addCleanup(launch.close)
        attempt = execution_attempt.Attempt(self.home, self.queue.claim("abc-1", time.time()), execution_attempt.job_environ(os.environ, self.home),
                                            launch, settings.DEFAULTS)
        self.addCleanup(reap, attempt)
        return attempt

    def failing_with_stray(self):
        """An attempt that has failed with exit code 1, whose stray is still waited for: (it, the thread that waits, its outcomes)."""
        attempt = self.attempt("setsid sh -c 'touch away; exec %s' & while [ ! -e away ]; do sleep 0.05; done; exit 1" % self.nap)
        attempt.start()
        outcomes = []
        waiting = threading.Thread(target=lambda: outcomes.append(attempt.wait(0.1)[0]))
        waiting.start()
        self.wait_for(lambda: attempt.outcome_decided)  # that the shell has ended is not yet that someone has seen it
        self.wait_for_naps(1)
        return attempt, waiting, outcomes

    def test_one_that_is_to_end_before_it_has_started_gets_term(self):
        attempt = self.attempt("trap 'exit 7' TERM; %s & wait" % self.nap)
        attempt.end(CANCELLED, 3600)  # by the main thread, between the claim and the start
        attempt.start()
        attempt.end(CANCELLED, 3600)  # by the worker's thread, once it has started
        self.wait_for(lambda: not is_alive(attempt.pid), seconds=20)

    def test_one_that_has_failed_does_not_time_out_while_its_strays_are_waited_for(self):
        attempt, waiting, outcomes = self.failing_with_stray()
        attempt.end(TIMEOUT, 3600)
        self._wake_all()
        waiting.join()
        self.assertEqual(outcomes, [Outcome(1, FAILED)])

    def test_while_its_strays_are_waited_for_there_is_nothing_to_check_without_a_pause(self):
        attempt, waiting, _ = self.failing_with_stray()
        attempt.end(CANCELLED, 0)
        for _ in range(2):
            attempt.check(0)
        due = attempt.next_check()
        self._wake_all()
        waiting.join()
        self.assertTrue(due is None or due > time.monotonic(), due)


class TestRoom(ControlTest):
    """A system that has no room for another process at the moment."""

    def drain_without_room(self, code, times):
        """What a draining worker with two threads says whose first commands are refused with that error; its exit code is 0."""
        start, refused = launcher.Launcher.start, []

        def refuse(launcher, *arguments):
            if len(refused) < times:
                refused.append(1)
                raise OSError(code, os.strerror(code))
            return start(launcher, *arguments)

        def work():
            launcher.Launcher.start = refuse
            set_everywhere("TICK", 0.02)
            return main.main(["--home", self.home, "worker", "start", "--drain", "--count", "2"])

        self.assertEqual(os.waitpid(self.in_child(work), 0)[1], 0, self.text("words-child"))
        return self.text("words-child")

    def test_no_job_pays_for_it_with_an_attempt_and_it_is_said_in_one_line(self):
        self.settings(max_retries=0)
        for code in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            with self.subTest(errno.errorcode[code]):
                for number in range(4):
                    self.add("job%d" % number, "echo $QUEUECTL_JOB_ID")
                said = self.drain_without_room(code, 20)
                self.assertEqual({(job.state, job.attempts) for job in self.queue.jobs()}, {(COMPLETED, 1)})
                self.assertEqual((said.count("no room"), said.count(os.strerror(code)), len(said.splitlines())), (1, 1, 5), said)
                for number in range(4):  # whoever was refused has left the job's log alone
                    self.assertEqual(self.succeed("logs", "job%d" % number), "job%d\n" % number)
                self.queue.reset()


def _end_child(pid):
    """End a forked child that a failed test has left."""
    try:
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    except ChildProcessError:
        return


class TestPause(ControlTest):
    """pause and resume."""

    def test_running_jobs_end_and_no_more_are_started(self):
        self.add("x", GATE)
        self.add("next", "true")
        worker = self.worker()
        self.wait_for_file("here-x")
        self.assertIn(typed("resume"), self.succeed("pause"))
        self.write("go", "")
        self.wait_for_state("x", COMPLETED)
        self.stop(worker)
        self.assertEqual(self.job("next").state, PENDING)

    def test_it_survives_a_restart_until_resume_wakes_the_workers(self):
        self.settings(poll_interval=3600)
        self.succeed("pause")
        worker = self.worker("--count", "2")
        self.add("x", '[ ! -e "$QUEUECTL_HOME/paused" ]')
        self.assertRegex(self.succeed("status"), "(?m)^paused +yes.*%s" % re.escape(typed("resume")))
        self.assertTrue(json.loads(self.succeed("status", "--json"))["paused"])
        self.assertEqual(self.succeed("resume"), "Resumed.\n")
        self.wait_for(lambda: self.job("x").state in (COMPLETED, DEAD))
        self.assertEqual((self.job("x").state, self.job("x").attempts), (COMPLETED, 1))
        self.stop(worker)
        self.assertNotIn("paused", self.succeed("status"))

    def test_a_failed_job_is_not_tried_again_meanwhile(self):
        self.settings(backoff_base=0)
        self.add("x", 'echo >> ran; if [ "$QUEUECTL_ATTEMPT" = 1 ]; then %s; exit 1; fi' % GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        self.succeed("pause")
        self.write("go", "")
        self.wait_for_state("x", PENDING)
        self.succeed("status")  # some time, in which it would be tried again
        self.assertEqual((self.job("x").state, len(self.text("ran").splitlines())), (PENDING, 1))
        self.succeed("resume")
        self.wait_for_state("x", COMPLETED)
        self.stop(worker)

    def test_draining_a_paused_queue_is_refused_with_a_hint(self):
        self.add("x", "touch ran")
        self.succeed("pause")
        for words in ([], ["--detach"]):
            with self.subTest(words):
                self.assertIn("'%s'" % typed("resume"), self.refuse("worker", "start", "--drain", *words, code=1))
        self.assertFalse(os.path.exists(self.path("ran")))

    def test_doing_it_twice_or_undoing_what_is_not_is_no_error(self):
        for command in ("pause", "pause", "resume", "resume"):
            said = self.succeed(command)
        self.assertEqual(said, "It was not paused.\n")


class TestCtrlC(ControlTest):
    """A worker in the foreground of a terminal, and the key that sends SIGINT to all that is in the foreground there."""

    def setUp(self):
        super().setUp()
        import pty
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)

    def _take_terminal(self):
        import fcntl
        import termios
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # also if whoever runs the tests ignores it
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def test_the_first_does_not_reach_the_job_and_the_second_ends_it_without_counting_the_attempt(self):
        self.add("x", "trap 'touch reached' INT; " + TREE % {"nap": self.nap} + "wait; wait")
        worker = self.worker(preexec_fn=self._take_terminal)
        self.wait_for_file("here-x")
        self.wait_for_naps(NAPS)
        os.write(self.master, CTRL_C)
        self.wait_for(lambda: "stopping" in self.text(worker.words))
        self.assertEqual((len(self.naps()), self.job("x").state), (NAPS, PROCESSING))
        self.wait_for(lambda: os.write(self.master, CTRL_C) and "ending" in self.text(worker.words))
        self.assert_ended(worker)
        self.assertEqual((self.naps(), self.job("x").state, self.job("x").attempts), ([], PENDING, 0))
        self.assertFalse(os.path.exists(self.path("reached")))


class TestStopNow(ControlTest):
    """worker stop --now, with several processes and threads."""

    def test_all_that_runs_is_ended_and_goes_back_without_counting_that_attempt(self):
        for number in range(4):
            self.add("job%d" % number, '[ "$QUEUECTL_ATTEMPT" = 2 ] || exit 1; ' + TREE % {"nap": self.nap} + "wait")
        workers = [self.worker("--count", "2"), self.worker("--count", "2")]
        self.wait_for_naps(4 * NAPS)
        self.assertEqual(self.succeed("worker", "stop", "--now"), "Stopped 2 worker processes.\n")
        for worker in workers:
            self.assert_ended(worker)
        self.assertEqual(self.naps(), [])
        for job in self.queue.jobs():
            self.assertEqual((job.state, job.attempts, job.reason), (PENDING, 1, None))


class TestTrees(ControlTest):
    """What a job started and left behind."""

    def test_nothing_survives(self):
        def cancel(worker):
            self.succeed("cancel", "x")
            self.wait_for_state("x", DEAD)
            self.wait_for_naps(0)
            self.stop(worker)

        def stop_now(worker):
            self.succeed("worker", "stop", "--now")

        def kill(worker):
            self.kill(worker)
            self.run_program("worker", "start", "--drain")

        def wait(worker):
            self.wait_for_state("x", DEAD)
            self.stop(worker)

        self.settings(max_retries=0, kill_grace=3600)  # TERM is to be enough
        for ending, last, fields, end in (("cancel", "wait", {}, cancel), ("stop --now", "wait", {}, stop_now),
                                          ("kill -9", "wait", {}, kill), ("time-out", "wait", {"timeout": 0.8}, wait),
                                          ("failure", "while [ ! -e go ]; do sleep 0.05; done; exit 1", {}, wait)):
            with self.subTest(ending):
                self.add("x", TREE % {"nap": self.nap} + last, **fields)
                worker = self.worker()
                self.wait_for_file("here-x")
                self.wait_for(lambda: len(self.naps()) == NAPS or self.job("x").state == DEAD)
                self.write("go", "")
                end(worker)
                self.assertEqual(self.naps(), [])
            self.queue.reset()
            os.unlink(self.path("here-x"))
            os.unlink(self.path("go"))

    def test_what_ignores_term_and_has_cleared_its_environment_is_killed_too(self):
        self.settings(max_retries=0, kill_grace=0.3)
        stubborn = "(trap '' TERM; touch armed; exec env -i %s) & while [ ! -e armed ]; do sleep 0.05; done; rm armed; " % self.nap
        for ending, last, fields in (("failure", "exit 1", {}), ("time-out", "wait", {"timeout": 0.6})):
            with self.subTest(ending):
                self.add(ending, stubborn + last, **fields)
                self.drain_impatiently(code=1)
                left = self.naps()
                self._wake_all()
                self.assertEqual((left, self.job(ending).state), ([], DEAD))

    def test_what_a_job_that_succeeded_left_is_left_alone_and_not_waited_for(self):
        self.add("x", self.nap + " & echo started")
        self.drain()
        self.wait_for_naps(1)  # it may have had no turn yet
        self.assertEqual((self.job("x").state, len(self.naps())), (COMPLETED, 1))

    @SEES_STRAYS
    def test_what_left_the_group_on_purpose_is_not_waited_for_for_ever_and_then_named(self):
        self.settings(max_retries=0)
        for name, save_output, streams in (("with the log open", True, ""), ("with all streams closed", True, " >/dev/null 2>&1"),
                                           ("with save_output false", False, "")):
            with self.subTest(name):
                self.settings(max_retries=0, save_output=save_output)
                self.add("x", "setsid sh -c 'touch away; exec %s'%s & while [ ! -e away ]; do sleep 0.05; done; rm away; exit 1"
                         % (self.nap, streams))
                said = self.drain_impatiently(code=1)
                pid, = self.naps()
                self.assertEqual((self.job("x").state, self.job("x").exit_code), (DEAD, 1))
                self.assertRegex(said, r"x: .*pid %d\b" % pid)
            self._wake_all()
            self.queue.reset()

    @SEES_STRAYS
    def test_after_the_loss_of_its_worker_it_is_waited_for_and_then_ended_too_and_nothing_runs_beside_it(self):
        self.add("x", '[ "$QUEUECTL_ATTEMPT" = 2 ] || { setsid sh -c "touch here; exec %s" & %s & wait; }; touch again' % (self.nap, self.nap))
        worker = self.worker()
        self.wait_for_file("here")
        self.wait_for_naps(2)
        self.kill(worker)
        self.drain_impatiently()
        self.assertEqual((self.job("x").state, self.job("x").attempts, self.naps()), (COMPLETED, 2, []))


class TestOnFinish(ControlTest):
    """The command that is run when a job is completed or dead."""

    SAYS = ('echo "$QUEUECTL_JOB_ID|$QUEUECTL_STATE|$QUEUECTL_EXIT_CODE|$QUEUECTL_ATTEMPT|$QUEUECTL_REASON|$QUEUECTL_WORKER|$OTHER"'
            ' >> "$QUEUECTL_HOME/ended"')

    def said(self, number):
        """Wait for so many words of on_finish; they."""
        return self.wait_for(lambda: len(self.text("ended").splitlines()) >= number and self.text("ended").splitlines())

    def test_it_knows_how_the_job_ended_and_is_run_once_a_job(self):
        self.settings(max_retries=1, on_finish=self.SAYS)
        self.add("é x", "exit 0")
        self.add("second", '[ "$QUEUECTL_ATTEMPT" = 2 ]')
        self.add("bad", "exit 3")
        self.add("killed", "kill -KILL $$")
        self.add("slow", self.nap, timeout=0.2)
        done = self.run_program("worker", "start", "--drain", env=self.environ(OTHER="kept", QUEUECTL_WORKER="dropped"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(sorted(self.text("ended").splitlines()), sorted(
            ["é x|completed|0|1|||kept", "second|completed|0|2|||kept", "bad|dead|3|2|failed||kept", "killed|dead|137|2|killed||kept",
             "slow|dead||2|timeout||kept"]))

    def test_it_knows_the_group_of_the_job_and_no_other_one(self):
        self.settings(on_finish='echo "$QUEUECTL_JOB_ID|${QUEUECTL_GROUP-none}" >> "$QUEUECTL_HOME/ended"')
        self.add("grouped", "true", group="my gpu é")
        self.add("free", "true")
        self.add("waits", "true")
        self.add("outer", "%s %s cancel waits" % (shlex.quote(sys.executable), shlex.quote(MAIN)), group="other", env={"QUEUECTL_HOME": self.home})
        self.succeed("hold", "waits")
        self.assertEqual(self.run_program("worker", "start", "--drain", env=self.environ(QUEUECTL_GROUP="dropped")).returncode, 0)
        self.assertEqual(sorted(self.said(4)), ["free|none", "grouped|my gpu é", "outer|other", "waits|none"])

    def test_it_is_run_for_cancelled_jobs_too_whether_they_ran_or_not(self):
        self.settings(on_finish=self.SAYS)
        self.add("runs", self.nap)
        self.add("waits", "true")
        worker = self.worker()
        self.wait_for_naps(1)
        self.succeed("cancel", "waits", "runs")
        self.wait_for_naps(0)
        self.stop(worker)
        self.assertEqual(sorted(self.said(2)), ["runs|dead||1|cancelled||", "waits|dead||0|cancelled||"])

    @KNOWS_GROUPS
    def test_it_is_run_for_a_job_that_dies_because_its_worker_died(self):
        self.settings(max_retries=0, on_finish=self.SAYS)
        self.add("x", "kill -KILL $PPID; " + self.nap)
        for _ in range(2):  # the first is killed, the second finds out
            self.run_program("worker", "start", "--drain")
        self.assertEqual(self.job("x").state, DEAD)
        self.assertEqual(self.text("ended"), "x|dead||1|lost||\n")

    def impatient_worker(self, *arguments, limit=0.3):
        """A forked worker that ends on_finish after `limit` seconds, and waits for half a second where it waits for ten otherwise."""
        def work():
            set_everywhere("PATIENCE", 0.5)
            on_finish.Announcer.LIMIT = limit
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            return main.main(["--home", self.home, "worker", "start"] + list(arguments))

        pid = self.in_child(work)
        self.addCleanup(_end_child, pid)
        return pid

    def end_of(self, pid):
        """Wait for the end of such a worker: (its exit code, what it said)."""
        code = os.waitpid(pid, 0)[1]
        return (code >> 8 if not code & 0xff else -code), self.text("words-child")

    def test_a_drain_waits_for_all_of_them(self):
        self.settings(on_finish="sleep 0.1; " + self.SAYS)
        for number in range(12):
            self.add("job%d" % number, "true")
        code, said = self.end_of(self.impatient_worker("--drain", "--count", "2", limit=60))
        self.assertEqual((code, len(self.text("ended").splitlines())), (0, 12), said)

    def test_one_that_hangs_holds_up_no_job_and_is_ended_after_its_limit(self):
        self.settings(on_finish="echo >> ended; " + self.nap)
        for number in range(3):
            self.add("job%d" % number, "true")
        code, said = self.end_of(self.impatient_worker("--drain"))
        self.assertEqual((self.queue.count()[COMPLETED], len(self.naps()), code), (3, 0, 0), said)
        self.assertEqual([line.split(" ", 1)[1] for line in said.splitlines() if "on_finish was" in line],
                         ["job%d: on_finish was ended after 0.3 s" % number for number in range(3)])

    def test_what_a_stop_gives_up_is_counted_and_makes_it_a_failure(self):
        self.settings(on_finish=self.nap)
        for number in range(3):
            self.add("job%d" % number, "true")
        for arguments in ((), ("--drain",)):
            with self.subTest(arguments):
                worker = self.impatient_worker(*arguments, limit=60)
                self.wait_for(lambda: self.queue.count()[COMPLETED] == 3)
                self.wait_for_naps(1)
                os.kill(worker, signal.SIGTERM)
                code, said = self.end_of(worker)
                self.assertEqual((code, self.naps()), (1, []), said)
                self.assertRegex(said, "(?m) on_finish was given up for 3 jobs: job0, job1, job2$")
                self.assertIn("given up for 3 jobs: job0, job1, job2\n", self.text(os.path.join("run", "worker.log")))
                self.queue.reset()
                for number in range(3):
                    self.add("job%d" % number, "true")

    def announcer(self, launch, most=on_finish.Announcer.MOST, faults=None):
        """An Announcer in this process, whose words go to a file."""
        self.addCleanup(os.chdir, os.getcwd())
        self.addCleanup(setattr, sys, "stderr", sys.stderr)
        sys.stderr = open(self.path("words"), "w", encoding="utf-8")
        self.addCleanup(sys.stderr.close)
        announcer = on_finish.Announcer(self.home, {}, launch, [].append if faults is None else faults.append, most)
        self.addCleanup(self.let_end, announcer)
        return announcer

    def let_end(self, announcer):
        """Close it, and let its thread end: beside a thread no other test should fork."""
        thread = announcer._thread
        announcer.close()
        if thread is not None:
            thread.join(DEADLINE)
            self.assertFalse(thread.is_alive())

    def test_what_is_too_much_to_be_kept_is_counted_with_what_is_given_up(self):
        launch = launcher.Launcher()
        self.addCleanup(launch.close)
        announcer = self.announcer(launch, most=2)
        self.add("x", "true")
        jobs = [self.job("x")._replace(id="x%d" % number) for number in range(6)]
        taken = [announcer.announce(self.nap, jobs[0])]
        self.wait_for_naps(1)
        taken += [announcer.announce(self.nap, job) for job in jobs[1:5]]
        self.assertEqual((taken, announcer.left), ([True, True, True, False, False], 3))
        announcer.check()
        announcer.announce(self.nap, jobs[5])
        self.assertEqual((announcer.close(), len(self.naps())), (6, 0))
        self.assertEqual(re.findall("on_finish (.*)", self.text(os.path.join("run", "worker.log"))),
                         ["is too slow; it is never run for 2 jobs: x3, x4", "was given up for 4 jobs: x5, x0, x1, x2"])

    def test_where_there_is_no_room_for_it_it_waits_for_that(self):
        class Refusing(launcher.Launcher):
            """A launcher of a system that has no room for two times."""
            def start(self, *arguments):
                faults.append("refused")
                if faults.count("refused") < 3:
                    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                return super().start(*arguments)

        faults, launch = [], Refusing()
        self.addCleanup(launch.close)
        announcer = self.announcer(launch, faults=faults)
        self.add("x", "true")
        with mock.patch("execution.on_finish._LOOK_AGAIN", 0.01):
            announcer.announce('echo "$QUEUECTL_JOB_ID" > ended', self.job("x"))
            self.wait_for(lambda: not announcer.left)
        self.assertEqual((self.text("ended"), sum("no room" in fault for fault in faults), announcer.close()), ("x\n", 2, 0))

    def test_that_of_a_cancelled_job_is_not_waited_for_and_says_what_it_has_to_say_in_the_log_of_the_workers(self):
        self.settings(on_finish="echo >> ended; echo words; no-such-command; " + self.nap)
        self.add("x", "true")
        self.succeed("cancel", "x")
        self.assertEqual(self.job("x").state, DEAD)
        self.wait_for_naps(1)
        self.assertRegex(self.text(os.path.join("run", "worker.log")), "words\n.*no-such-command.*not found")

    def test_how_that_of_a_cancelled_job_fails_is_in_that_log_too(self):
        for command, code in (("exit 3", 3), ("if", 2), ("echo 'it''s'; false", 1)):
            with self.subTest(command):
                self.settings(on_finish=command)
                self.add("x", "true")
                self.succeed("cancel", "x")
                self.wait_for(lambda code=code: " x: on_finish failed with exit code %d\n" % code in self.text(os.path.join("run", "worker.log")))
                self.queue.reset()

    def test_of_many_cancelled_jobs_only_some_are_told_of_at_once(self):
        self.settings(on_finish="echo >> begun; until [ -e go ]; do sleep 0.02; done; " + self.SAYS)
        for number in range(20):
            self.add("job%02d" % number, "true")
        cancelling = self.start("cancel", "--all")
        self.wait_for(lambda: len(self.text("begun").splitlines()) == 8)
        self.assertIsNone(cancelling.poll())
        self.write("go", "")
        self.said(20)
        self.assertEqual(cancelling.wait(), 0)

    def test_those_that_are_never_told_of_are_named(self):
        self.settings(on_finish=self.nap)
        for number in range(10):
            self.add("job%02d" % number, "true")

        def cancel():
            set_everywhere("_PATIENCE", 0.3)
            return main.main(["--home", self.home, "cancel", "--all"])

        code, said = self.end_of(self.in_child(cancel))
        self.assertEqual(code, 1, said)
        self.assertIn("on_finish was not run for 2 jobs: job08, job09\n", said)

    def test_one_that_fails_fails_nothing_and_is_heard_of(self):
        log = os.path.join("run", "worker.log")
        for command, ending in (("exit 1", "failed with exit code 1"), ("no-such-command-at-all", "failed with exit code 127"),
                                ("if", "failed with exit code [0-9]+"), ("kill -KILL $$", "was killed by signal 9"),
                                ("echo words; echo more words >&2; false", "failed with exit code 1")):
            with self.subTest(command):
                self.settings(on_finish=command)
                self.add("x", "echo output")
                said = self.drain()
                self.assertEqual((self.job("x").state, self.succeed("logs", "x")), (COMPLETED, "output\n"))
                for text in (said, self.text(log)):
                    self.assertRegex(text, "(?m) x: on_finish %s$" % ending)
                self.assertEqual(re.findall("(?m)^(?:more )?words$", self.text(log)), ["words", "more words"] if "words" in command else [])
                self.assertNotIn("\nwords", said)
                self.queue.reset()
                self.write(log, "")

    def test_what_a_background_worker_says_of_it_is_there_once(self):
        self.settings(on_finish="echo words; exit 4")
        self.add("x", "true")
        self.succeed("worker", "start", "--detach", "--drain")
        said = self.wait_for(lambda: "exit code 4" in self.text(os.path.join("run", "worker.log")) and self.text(os.path.join("run", "worker.log")))
        self.assertEqual((said.count("words\n"), said.count("x: on_finish failed with exit code 4")), (1, 1))


if __name__ == "__main__":
    unittest.main()
