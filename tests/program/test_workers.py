"""Real worker processes: what they run, how they are stopped, and what becomes of their jobs when they are killed."""
from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
from unittest import mock

from core import times as core_times
from core.system import quote_words
from execution import worker_files
from storage import output
from tests.support.home import DEADLINE, MAIN
from tests.support.workers import FOR_EVER, GATE, KNOWS_GROUPS, MEETING, WorkerTest, is_alive
from worker_manager import WorkerManager


class TestThreads(WorkerTest):
    """One process, several threads."""

    def test_n_workers_run_n_jobs_at_once(self):
        for number in range(4):
            self.add("job%d" % number, MEETING % 4)
        self.drain("--count", "4")
        self.assertEqual(self.queue.count()["completed"], 4)

    def test_no_more_than_n_jobs_run_at_once(self):
        for number in range(8):
            self.add("job%d" % number, "echo + >> ran; sleep 0.03; echo - >> ran")
        self.drain("--count", "2")
        running, most = 0, 0
        for sign in self.text("ran").split():
            running += 1 if sign == "+" else -1
            most = max(most, running)
        self.assertLessEqual(most, 2)
        self.assertEqual(len(self.text("ran").split()), 16)

    def test_adding_jobs_wakes_the_idle_workers_and_one_look_is_enough_for_all_of_them(self):
        self.settings(poll_interval=3600)
        worker = self.worker("--count", "4")
        self.succeed("enqueue", json.dumps([{"id": "job%d" % number, "command": MEETING % 4} for number in range(4)]), cwd=self.home)
        self.wait_for(lambda: self.queue.count()["completed"] == 4)
        self.stop(worker)

    def test_each_poll_looks_for_jobs_that_came_without_a_call(self):
        worker = self.worker("--count", "4")
        self.write("jobs.json", json.dumps([{"id": "job%d" % number, "command": MEETING % 4, "cwd": self.home} for number in range(4)]))
        self.wait_for(lambda: self.queue.count()["completed"] == 4)
        self.stop(worker)

    def test_jobs_start_in_the_order_in_which_they_were_added(self):
        for number in range(20):
            self.add("job%d" % number, 'echo "$QUEUECTL_JOB_ID" >> ran')
        self.drain()
        self.assertEqual(self.text("ran").split(), ["job%d" % number for number in range(20)])


class TestManyJobs(WorkerTest):
    """Two processes of four threads each, and a thousand jobs."""

    def test_every_job_runs_exactly_once_and_the_list_is_whole_at_any_time(self):
        workers = [self.worker("--count", "4"), self.worker("--count", "4")]
        names = ["job%d" % number for number in range(1000)]
        self.queue.enqueue([{"id": name, "command": 'echo "$QUEUECTL_JOB_ID" >> ran'} for name in names], self.home, time.time())
        looks, counts = 0, {}
        while counts.get("completed") != 1000:
            jobs = json.loads(self.succeed("list", "--json"))
            self.assertEqual([job["id"] for job in jobs], names)
            states = [job["state"] for job in jobs]
            counts = {state: states.count(state) for state in set(states)}
            self.assertLessEqual(set(states), {"pending", "processing", "completed"})
            looks += 1
        self.assertGreater(looks, 1)
        self.stop(*workers)
        self.assertEqual(sorted(self.text("ran").split()), sorted(names))
        self.assertEqual({(job.attempts, job.exit_code) for job in self.queue.jobs()}, {(1, 0)})
        completed = [self.text(worker.words).count(": completed") for worker in workers]
        self.assertEqual(sum(completed), 1000)
        self.assertGreater(min(completed), 0, "one process did it all")

    def test_the_group_of_a_job_that_takes_longer_than_those_before_it_is_noted_too(self):
        self.queue.enqueue([{"id": "short%d" % number, "command": "true"} for number in range(200)] + [{"id": "long", "command": GATE}],
                           self.home, time.time())
        worker = self.worker()
        self.wait_for_file("here-long")
        self.wait_for(lambda: re.search(r'"group": [1-9]', self.worker_files()))
        self.write("go", "")
        self.wait_for_state("long", "completed")
        self.stop(worker)
        self.assertEqual(os.listdir(self.path("logs")), [])


class TestAttempts(WorkerTest):
    """What a job sees, and how its end is told."""

    def test_a_job_knows_its_id_its_attempt_its_worker_and_its_home(self):
        self.add("é x", 'echo "$QUEUECTL_JOB_ID|$QUEUECTL_ATTEMPT|$QUEUECTL_HOME|$OTHER|$QUEUECTL_OTHER" >> seen; '
                        'echo "$QUEUECTL_WORKER" >> workers; [ "$QUEUECTL_ATTEMPT" = 2 ]')
        done = self.run_program("worker", "start", "--drain", env=self.environ(OTHER="kept", QUEUECTL_OTHER="dropped"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.text("seen").splitlines(), ["é x|1|%s|kept|" % self.home, "é x|2|%s|kept|" % self.home])
        self.assertEqual(len(set(self.text("workers").split())), 2)

    def test_it_runs_in_the_folder_from_which_it_was_enqueued(self):
        os.mkdir(self.path("some where"))
        self.succeed("enqueue", "--id", "x", "--", "pwd", cwd=self.path("some where"))
        self.add("y", "pwd")
        self.add("z", "pwd", cwd=self.path("some where"))
        self.drain()
        for job_id, folder in (("x", self.path("some where")), ("y", self.home), ("z", self.path("some where"))):
            self.assertEqual(os.path.realpath(self.succeed("logs", job_id).rstrip("\n")), os.path.realpath(folder))

    def test_it_reads_nothing_from_the_worker_s_terminal_and_has_the_user_s_umask(self):
        self.add("x", "cat; umask; echo done")
        self.run_program("worker", "start", "--drain", stdin="typed\n", preexec_fn=lambda: os.umask(0o027))
        self.assertEqual(self.succeed("logs", "x"), "0027\ndone\n")

    def test_its_exit_code_says_how_it_ended(self):
        self.settings(max_retries=0)
        rows = (("fine", "exit 0", "completed", 0, None), ("fails", "exit 3", "dead", 3, "failed"),
                ("high", "exit 255", "dead", 255, "failed"),
                ("missing", "no-such-command-at-all", "dead", 127, "failed"), ("killed", "kill -KILL $$", "dead", 137, "killed"),
                ("ended", "kill -TERM $$", "dead", 143, "killed"), ("broken", "if", "dead", 2, "failed"))
        for job_id, command, _, _, _ in rows:
            self.add(job_id, command)
        self.add("no folder", "echo hello", cwd=self.path("missing"))
        self.add("last", "pwd")
        self.drain(code=1)
        for job_id, command, state, code, reason in rows:
            with self.subTest(command=command):
                job = self.job(job_id)
                self.assertEqual((job.state, job.exit_code, job.reason), (state, code, reason))
        with self.subTest("a folder that is not there"):
            job = self.job("no folder")
            self.assertEqual((job.state, job.exit_code, job.reason), ("dead", None, "unstartable"))
            self.assertIn(self.path("missing"), self.succeed("logs", "no folder"))
        self.assertEqual(self.succeed("logs", "last").rstrip("\n"), os.path.realpath(self.home))
        self.assertEqual([job["id"] for job in self.records("dlq.json")],
                         ["fails", "high", "missing", "killed", "ended", "broken", "no folder"])

    def test_logs_hold_byte_for_byte_what_the_command_wrote_and_empty_ones_are_removed(self):
        wanted = bytes(range(256)) * 500 + b"\r\n\xff tail"
        self.write("content", wanted)
        self.add("bytes", "cat content")
        self.add("quiet", "true")
        self.add("both", "echo one; echo two >&2; echo three; exit 1")
        self.add("quiet too", "true")
        self.settings(max_retries=0)
        self.drain(code=1)
        names = {name.split("-")[0]: name for name in os.listdir(self.path("logs"))}
        self.assertEqual(set(names), {"bytes", "both"})
        self.assertEqual(self.read(os.path.join("logs", names["bytes"])), wanted)
        self.assertEqual(self.read(os.path.join("logs", names["both"])), b"one\ntwo\nthree\n")
        self.assertEqual(self.records("dlq.json")[0]["output"], "one\ntwo\nthree")

    def leave_children(self, *traps):
        """Run a job that fails and leaves a child for each of these traps of TERM behind; all of them must be gone soon."""
        self.write("child.sh", 'trap "$1" TERM; echo $$ >> pids; while [ -d "$QUEUECTL_HOME" ]; do sleep 0.05; done')
        children = " ".join("sh child.sh '%s' &" % trap for trap in traps)
        self.add("x", "%s while [ $(cat pids 2>/dev/null | wc -l) -lt %d ]; do sleep 0.01; done; exit 1" % (children, len(traps)))
        self.drain(code=1)
        for pid in self.text("pids").split():
            self.wait_for(lambda: not is_alive(int(pid)))

    def test_children_that_a_failed_job_leaves_are_asked_to_end(self):
        self.settings(max_retries=0, kill_grace=DEADLINE)
        self.leave_children("exit", "echo tidied > tidied; exit")
        self.assertEqual(self.text("tidied"), "tidied\n")

    def test_those_that_do_not_care_are_killed_after_the_grace(self):
        self.settings(max_retries=0, kill_grace=0.2)
        self.leave_children("", "exit")

    def test_a_background_process_of_a_job_that_succeeded_is_left_alone_and_nobody_waits_for_it(self):
        self.add("first", '(while [ -d "$QUEUECTL_HOME" ] && [ ! -e go ]; do sleep 0.05; done; echo late words) & echo $! > pid')
        self.add("second", "echo second")
        self.drain()
        pid = int(self.text("pid"))
        self.assertEqual((self.job("first").state, self.job("second").state), ("completed", "completed"))
        self.assertTrue(is_alive(pid))
        self.write("go", "")
        self.wait_for(lambda: not is_alive(pid))
        self.assertEqual(self.succeed("logs", "first"), "late words\n")
        self.assertEqual(self.succeed("logs", "second"), "second\n")


class TestRetries(WorkerTest):
    """A failed job and its wait."""

    FAILS_ONCE = 'echo "$QUEUECTL_JOB_ID" >> ran; [ "$QUEUECTL_ATTEMPT" = 2 ]'

    def test_in_place_the_worker_waits_with_the_job_before_it_takes_another(self):
        self.settings(backoff_base=0.3)
        self.add("bad", self.FAILS_ONCE)
        self.add("other", "echo other >> ran")
        self.drain()
        self.assertEqual(self.text("ran").split(), ["bad", "bad", "other"])

    def test_not_in_place_it_takes_other_jobs_meanwhile(self):
        self.settings(backoff_base=0.3, retry_in_place=False)
        self.add("bad", self.FAILS_ONCE)
        self.add("other", "echo other >> ran")
        self.drain()
        self.assertEqual(self.text("ran").split(), ["bad", "other", "bad"])
        self.assertEqual((self.job("bad").state, self.job("bad").attempts), ("completed", 2))


class TestDrain(WorkerTest):
    """worker start --drain."""

    def test_it_ends_with_0_if_all_went_well_and_with_1_if_a_job_died(self):
        self.settings(max_retries=1)
        self.assertEqual(self.drain("--count", "2").splitlines()[1:], ["No job was run."])
        self.add("good", '[ "$QUEUECTL_ATTEMPT" = 2 ]')
        self.drain()
        self.add("bad", "exit 1")
        self.add("good too", "exit 0")
        self.drain("--count", "2", code=1)
        self.drain()  # it died before
        self.assertEqual(self.queue.count(), {"pending": 0, "processing": 0, "completed": 2, "dead": 1})

    def test_a_job_that_dies_since_one_before_it_is_dead_is_told_and_announced_and_counts(self):
        self.settings(on_finish='echo "$QUEUECTL_JOB_ID $QUEUECTL_STATE $QUEUECTL_REASON" >> told')
        self.add("dump", "exit 0")
        self.add("upload", "exit 0", after=["dump"])
        self.add("mail", "exit 0", after=["upload"])
        self.succeed("cancel", "dump")
        self.wait_for(lambda: self.text("told") == "dump dead cancelled\n")
        said = self.drain(code=1)
        self.assertRegex(said, "(?m) upload: dump, which it comes after, is dead; moved to the dead letter queue$")
        self.assertRegex(said, "(?m) mail: upload, which it comes after, is dead; moved to the dead letter queue$")
        self.assertEqual(self.text("told").splitlines()[1:], ["upload dead dependency", "mail dead dependency"])
        self.assertIn("dump, which it comes after, is dead", self.succeed("dlq", "list"))

    def test_it_waits_for_retries_but_not_for_scheduled_jobs_which_it_names(self):
        now = time.time()
        self.write("jobs.json", json.dumps([{"id": "retry", "command": "exit 0", "attempts": 1, "updated_at": core_times.format_time(now),
                                             "run_at": core_times.format_time(now + 0.2)},
                                            {"id": "some day", "command": "exit 0", "run_at": "2999-01-01T00:00:00Z"}]))
        self.settings(backoff_max=0.2)
        said = self.drain()
        self.assertEqual((self.job("retry").state, self.job("some day").state), ("completed", "pending"))
        self.assertRegex(said, "(?m)scheduled.*: some day$")

    def test_it_waits_for_what_another_process_runs_and_takes_it_over_if_it_comes_back(self):
        self.add("held", GATE)
        first = self.worker()
        self.wait_for_file("here-held")
        self.add("quick", "exit 0")
        second = self.worker("--drain")
        self.wait_for_state("quick", "completed")
        self.wait_for_looks(second)
        first.terminate()
        self.wait_for(lambda: "stopping" in self.text(first.words))
        self.assertIsNone(second.poll())
        self.signal_again(first, signal.SIGTERM)
        self.assert_ended(first)
        self.write("go", "")
        self.assert_ended(second)
        self.assertEqual((self.job("held").state, self.job("held").attempts), ("completed", 1))


class TestDetach(WorkerTest):
    """worker start --detach."""

    def test_it_returns_once_the_worker_runs_and_logs_to_a_file(self):
        self.add("x", "echo hello")
        printed = self.succeed("worker", "start", "--count", "2", "--detach")
        worker, = worker_files.live_workers(self.path("run"))
        self.assertEqual(worker.count, 2)
        for text in ("process %d " % worker.pid, self.home, self.path("run", "worker.log")):
            self.assertIn(text, printed)
        self.wait_for_state("x", "completed")
        self.wait_for(lambda: "x: completed" in self.text(os.path.join("run", "worker.log")))
        self.assertEqual(os.stat(self.path("run", "worker.log")).st_mode & 0o777, 0o600)
        self.assertEqual(os.getpgid(worker.pid), worker.pid)  # Ctrl+C in this terminal does not reach it
        self.assertEqual(self.succeed("worker", "stop"), "Stopped 1 worker process.\n")
        self.wait_for(lambda: not is_alive(worker.pid))

    def test_with_drain_and_nothing_to_do_it_is_no_error_that_it_has_ended_already(self):
        for _ in range(5):
            self.succeed("worker", "start", "--detach", "--drain")
            self.wait_for(lambda: not worker_files.live_workers(self.path("run")))

    def test_with_drain_it_is_no_error_either_that_a_job_has_died_before_anyone_saw_the_worker(self):
        self.add("x", "exit 1", max_retries=0)
        workers = WorkerManager(self.home, self.path("config.json"))
        command = [sys.executable, MAIN, "--home", self.home, "worker", "start", "--drain"]
        with mock.patch.object(workers, "running", return_value=[]):
            self.assertGreater(workers.detach(command, self.environ()), 0)
        self.wait_for_state("x", "dead")

    def test_a_job_of_one_may_start_another_one(self):
        self.succeed("worker", "start", "--detach")
        self.add("x", quote_words([sys.executable, MAIN, "--home", self.home, "worker", "start", "--detach"]))
        self.wait_for_state("x", "completed")
        self.assertEqual(len(worker_files.live_workers(self.path("run"))), 2)
        self.succeed("worker", "stop")

    def test_a_worker_that_does_not_come_up_is_an_error(self):
        os.makedirs(self.path("run", "lock"))  # where the lock should be
        said = self.refuse("worker", "start", "--detach", code=1)
        self.assertIn(self.path("run", "lock"), said)


class TestStop(WorkerTest):
    """worker stop, from another terminal."""

    def test_it_waits_for_the_running_jobs_and_no_more_are_started(self):
        for name in ("a", "b", "c"):
            self.add(name, GATE)
        busy = [self.worker(), self.worker()]
        self.wait_for_file("here-a")
        self.wait_for_file("here-b")
        stop = self.start("worker", "stop")
        self.wait_for(lambda: all("stopping" in self.text(worker.words) for worker in busy))
        self.write("go-a", "")
        self.wait_for(lambda: any(worker.poll() is not None for worker in busy))
        self.assertIsNone(stop.poll())
        self.assertEqual((self.job("a").state, self.job("b").state), ("completed", "processing"))
        self.write("go-b", "")
        for worker in busy:
            self.assert_ended(worker)
        self.assertEqual((stop.wait(), stop.stdout.read(), stop.stderr.read()), (0, "Stopped 2 worker processes.\n", ""))
        self.assertEqual((self.job("b").state, self.job("c").state), ("completed", "pending"))
        self.assertEqual(worker_files.worker_paths(self.path("run")), [])

    def test_a_worker_in_a_backoff_wait_stops_at_once(self):
        self.settings(backoff_base=1000)
        self.add("bad", "exit 1")
        self.add("other", "exit 0")
        worker = self.worker()
        self.wait_for(lambda: "again in 1000 s" in self.text(worker.words))
        self.assertEqual(self.succeed("worker", "stop"), "Stopped 1 worker process.\n")
        self.assert_ended(worker)
        job = self.job("bad")
        self.assertEqual((job.state, job.attempts, self.job("other").state), ("pending", 1, "pending"))
        self.assertIsNotNone(job.run_at)

    def test_the_wait_that_is_on_disk_is_kept_by_the_next_worker(self):
        self.settings(backoff_base=1000)
        self.add("bad", "echo >> ran; exit 1")
        worker = self.worker()
        self.wait_for(lambda: "again in 1000 s" in self.text(worker.words))
        self.stop(worker)
        worker = self.worker()
        self.add("other", "exit 0")
        self.wait_for_state("other", "completed")
        self.stop(worker)
        self.assertEqual((self.job("bad").attempts, len(self.text("ran").splitlines())), (1, 1))

    def test_now_ends_the_running_jobs_which_go_back_as_if_they_had_not_been_started(self):
        self.write("job.sh", FOR_EVER)
        self.add("x", "sh job.sh")
        self.add("next", "exit 0")
        worker = self.worker()
        pids = [int(pid) for pid in self.wait_for_file("pids").split()]
        self.assertEqual(self.succeed("worker", "stop", "--now"), "Stopped 1 worker process.\n")
        self.assert_ended(worker)
        job = self.job("x")
        self.assertEqual((job.state, job.attempts, job.exit_code, job.reason, job.run_at, job.worker),
                         ("pending", 0, None, None, None, None))
        self.assertEqual(self.job("next").state, "pending")
        for pid in pids:
            self.wait_for(lambda: not is_alive(pid))

    def test_now_kills_after_the_grace_what_does_not_care_for_term(self):
        self.settings(kill_grace=0.1)
        self.write("job.sh", FOR_EVER)
        self.add("x", "sh job.sh stubborn")
        worker = self.worker()
        pids = [int(pid) for pid in self.wait_for_file("pids").split()]
        self.succeed("worker", "stop", "--now")
        self.assert_ended(worker)
        self.assertEqual((self.job("x").state, self.job("x").attempts), ("pending", 0))
        for pid in pids:
            self.wait_for(lambda: not is_alive(pid))

    def test_now_after_a_patient_stop_ends_what_that_one_waits_for(self):
        self.add("x", GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        patient = self.start("worker", "stop")
        self.wait_for(lambda: "stopping" in self.text(worker.words))
        self.succeed("worker", "stop", "--now")
        self.assert_ended(worker)
        self.assertEqual((patient.wait(), self.job("x").state, self.job("x").attempts), (0, "pending", 0))

    def test_with_a_timeout_it_gives_up_with_124_and_the_worker_still_stops_when_its_job_ends(self):
        self.add("x", GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        done = self.run_program("worker", "stop", "--timeout", "0.2")
        self.assertEqual(done.returncode, 124)
        self.assertIn("pid %d" % worker.pid, done.stderr)
        self.assertIsNone(worker.poll())
        self.write("go", "")
        self.assert_ended(worker)
        self.assertEqual(self.job("x").state, "completed")


class TestSignals(WorkerTest):
    """INT, TERM and HUP."""

    SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

    def test_the_first_lets_the_running_job_end_and_starts_no_more(self):
        for name in self.SIGNALS:
            with self.subTest(signal=name):
                self.add(name, GATE)
                worker = self.worker()
                self.wait_for_file("here-" + name)
                self.add("after", "exit 0")
                worker.send_signal(getattr(signal, name))
                self.wait_for(lambda: "stopping" in self.text(worker.words))
                self.assertEqual(self.job(name).state, "processing")
                self.write("go-" + name, "")
                self.assert_ended(worker)
                self.assertEqual((self.job(name).state, self.job("after").state), ("completed", "pending"))
                self.queue.reset()

    def test_the_second_ends_it_and_it_goes_back_to_the_queue(self):
        for name in ("SIGINT", "SIGTERM"):
            with self.subTest(signal=name):
                self.add(name, GATE)
                worker = self.worker()
                self.wait_for_file("here-" + name)
                worker.send_signal(getattr(signal, name))
                self.wait_for(lambda: "stopping" in self.text(worker.words))
                self.signal_again(worker, getattr(signal, name))
                self.assert_ended(worker)
                job = self.job(name)
                self.assertEqual((job.state, job.attempts), ("pending", 0))
                self.queue.reset()

    def test_several_at_once_are_one(self):
        self.add("x", GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            worker.send_signal(number)
        self.wait_for(lambda: "stopping" in self.text(worker.words))
        self.wait_for_looks(worker)
        self.write("go", "")
        self.assert_ended(worker)
        self.assertEqual((self.job("x").state, self.job("x").attempts), ("completed", 1))

    def test_an_idle_worker_ends_at_the_first(self):
        for name in self.SIGNALS:
            with self.subTest(signal=name):
                worker = self.worker("--count", "3")
                worker.send_signal(getattr(signal, name))
                self.assert_ended(worker)
                self.assertEqual(self.text(worker.words), "")

    def test_ctrl_c_in_the_worker_s_terminal_does_not_reach_the_job(self):
        self.add("x", GATE)
        worker = self.worker(start_new_session=True)
        self.wait_for_file("here-x")
        os.killpg(worker.pid, signal.SIGINT)
        self.wait_for(lambda: "stopping" in self.text(worker.words))
        self.write("go", "")
        self.assert_ended(worker)
        self.assertEqual((self.job("x").state, self.job("x").exit_code), ("completed", 0))

    def test_under_nohup_a_hangup_is_ignored(self):
        worker = self.worker(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        worker.send_signal(signal.SIGHUP)
        self.add("x", "exit 0")
        self.wait_for_state("x", "completed")
        self.assertIsNone(worker.poll())
        self.stop(worker)


class TestInsideOfAJob(WorkerTest):
    """Commands that a job itself calls, and that would wait for its end."""

    def says(self, command, job_id="own"):
        """What a job says that runs this command of the program, and its exit code behind that; {} in it is the program."""
        self.add(job_id, "%s 2>&1; echo exit $?" % command.format(quote_words([sys.executable, MAIN])))
        self.wait_for_state(job_id, "completed")
        return self.succeed("logs", job_id)

    def test_what_would_wait_for_the_job_itself_is_refused_with_a_way_out(self):
        worker = self.worker()
        for number, (command, way_out) in enumerate((
                ("{} worker stop", "--no-wait"), ("{} wait", "--timeout"), ("{} wait $QUEUECTL_JOB_ID", "--timeout"),
                ("{0} enqueue -q --id then --after $QUEUECTL_JOB_ID -- true; {0} enqueue -q --id at-last --after then -- true; {0} wait at-last",
                 "do not come after it"),
                ("{0} enqueue -q --id later --after $QUEUECTL_JOB_ID -- true; {0} logs -f later", "without -f"),
                ("{} reset --yes", "outside"), ("{} worker start --drain", "--detach"), ("{} logs -f $QUEUECTL_JOB_ID", "without -f"))):
            with self.subTest(command):
                said = self.says(command, "own%d" % number)
                self.assertRegex(said, "(?m)^queuectl: error: .* inside of a job, here 'own%d', .*%s.*\nexit 1\n\\Z" % (number, way_out))
        self.stop(worker)

    def test_what_was_added_before_another_job_of_the_id_that_it_names_waits_for_that_one_too(self):
        self.add("own", "true", delay=3600)
        self.add("early", "true", after=["own"])
        worker = self.worker()
        self.assertIn("inside of a job, here 'own',", self.says("{} wait early"))
        self.stop(worker)

    def test_what_ends_is_done(self):
        worker = self.worker("--count", "2")
        other = self.path("other")
        for number, (command, said) in enumerate((
                ("{} wait --timeout 0.05", "still unfinished after 0.05 s\nexit 124"),
                ("{0} enqueue -q --id free -- true; {0} wait free", "exit 0"), ("{} --home %s worker start --drain" % other, "exit 0"),
                ("{} --home %s worker stop" % other, "No worker is running.\nexit 0"), ("{} logs -f free", "exit 0"))):
            with self.subTest(command):
                self.assertIn(said, self.says(command, "own%d" % number))
        self.assertEqual(self.says("{} worker stop --no-wait", "last"), "Asked 1 worker process to stop.\nexit 0\n")
        self.assert_ended(worker)

    def test_on_finish_does_not_wait_for_the_worker_that_waits_for_it_but_may_ask(self):
        stop = quote_words([sys.executable, MAIN]) + " worker stop"
        self.settings(on_finish=stop + " || " + stop + " --now || " + stop + " --no-wait")
        self.add("x", "true")
        self.assert_ended(self.worker())
        said = self.text(os.path.join("run", "worker.log"))
        self.assertEqual(said.count("queuectl: error: worker stop inside of on_finish would wait"), 2, said)
        self.assertIn("\nAsked 1 worker process to stop.\n", said)

    def test_what_a_job_has_left_in_the_background_is_no_part_of_it(self):
        worker = self.worker()
        self.says("{{ while [ ! -e go ]; do sleep 0.05; done; {} worker stop; echo exit $?; }} > left 2>&1 &")
        self.write("go", "")
        self.assert_ended(worker)
        self.wait_for(lambda: self.text("left") == "Stopped 1 worker process.\nexit 0\n")


class TestKilled(WorkerTest):
    """kill -9 of a worker process in the middle of a job."""

    def start_losing(self, *arguments):
        """A worker that runs the job `lost`, and the pids of that job's tree."""
        self.write("job.sh", FOR_EVER)
        self.add("lost", "sh job.sh " + " ".join(arguments))
        worker = self.worker()
        return worker, [int(pid) for pid in self.wait_for_file("pids").split()]

    def lose(self, worker, pids):
        """Kill that worker; the tree of its job goes on."""
        self.kill(worker)
        self.wait_for(lambda: all(is_alive(pid) for pid in pids) or self.job("lost").attempts > 1)

    def assert_ran_again(self):
        """The job ran again, once and well, after the first tree was gone; and nothing is left of the worker that died."""
        job = self.wait_for_state("lost", "completed")
        self.assertEqual((job.attempts, job.exit_code), (2, 0))
        self.assertEqual(self.text("survivors"), "")
        self.wait_for(lambda: len(worker_files.worker_paths(self.path("run"))) == len(worker_files.live_workers(self.path("run"))))

    def test_an_idle_other_process_takes_the_job_up(self):
        losing = self.start_losing()
        other = self.worker()
        self.lose(*losing)
        self.assert_ran_again()
        self.stop(other)

    def test_a_busy_other_process_ends_the_old_tree_and_returns_the_job(self):
        self.add("busy", GATE)
        other = self.worker()
        self.wait_for_file("here-busy")
        losing = self.start_losing("stubborn")
        self.lose(*losing)
        job = self.wait_for_state("lost", "pending")
        self.assertEqual((job.attempts, job.reason, self.job("busy").state), (1, "lost", "processing"))
        self.assertFalse(any(is_alive(pid) for pid in losing[1]))
        self.write("go", "")
        self.assert_ran_again()
        self.assertIn("lost: its worker", self.text(other.words))
        self.stop(other)

    def test_the_next_worker_that_is_started_takes_it_up(self):
        self.lose(*self.start_losing())
        self.assertEqual(self.job("lost").state, "processing")
        self.drain()
        self.assert_ran_again()

    @KNOWS_GROUPS
    def test_it_is_taken_up_although_run_was_deleted(self):
        self.lose(*self.start_losing())
        shutil.rmtree(self.path("run"))
        self.drain()
        self.assert_ran_again()

    def test_a_job_that_kills_its_worker_each_time_ends_in_the_dead_letter_queue(self):
        self.settings(max_retries=1)
        self.add("killer", "echo last words; kill -9 $PPID; sleep 1")
        for attempt in (1, 2):
            with self.subTest(attempt=attempt):
                self.assertEqual(self.run_program("worker", "start", "--drain").returncode, -signal.SIGKILL)
                self.assertEqual((self.job("killer").state, self.job("killer").attempts), ("processing", attempt))
        self.drain(code=1)  # a job died meanwhile
        job = self.job("killer")
        self.assertEqual((job.state, job.attempts, job.reason), ("dead", 2, "lost"))
        entry, = self.records("dlq.json")
        self.assertEqual((entry["id"], entry["output"]), ("killer", "last words"))

    def test_jobs_that_were_claimed_with_one_that_kills_its_worker_are_not_blamed(self):
        self.settings(max_retries=1)
        for number in range(30):
            self.add("before-%d" % number, ":")
        self.add("killer", "kill -9 $PPID; sleep 1")
        for number in range(30):
            self.add("behind-%d" % number, ":")
        for _ in range(2):
            self.assertEqual(self.run_program("worker", "start", "--drain").returncode, -signal.SIGKILL)
        self.drain(code=1)
        ends = {job.id: (job.state, job.attempts) for job in self.queue.jobs()}
        self.assertEqual(ends.pop("killer"), ("dead", 2))
        self.assertEqual(set(ends.values()), {("completed", 1)})


class TestDrainTogether(WorkerTest):
    """Worker processes that drain a queue side by side."""

    @unittest.skipUnless(hasattr(os, "mkfifo"), "needs FIFOs")
    def test_the_others_are_told_that_one_has_ended(self):
        self.add("a", ":")
        os.makedirs(self.path("run"), exist_ok=True)
        os.mkfifo(self.path("run", "other.wake"))
        other = os.open(self.path("run", "other.wake"), os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, other)
        self.drain()
        self.assertNotEqual(os.read(other, 100), b"")


class TestSeveralAtOnce(WorkerTest):
    """Short jobs, which a worker claims and records several at a time."""

    def test_a_long_one_among_them_holds_up_neither_the_ends_before_it_nor_the_jobs_behind_it(self):
        for number in range(40):
            self.add("before-%d" % number, ":")
        self.add("long", GATE)
        for number in range(10):
            self.add("behind-%d" % number, ":")
        worker = self.worker()
        self.wait_for_file("here-long")
        self.wait_for(lambda: self.queue.count() == {"pending": 10, "processing": 1, "completed": 40, "dead": 0})
        self.assertEqual({job.attempts for job in self.queue.jobs(("pending",))}, {0})
        other = self.worker()
        self.wait_for(lambda: self.queue.count()["completed"] == 50)
        self.write("go", "")
        self.wait_for_state("long", "completed")
        self.stop(worker, other)
        self.assertEqual({job.attempts for job in self.queue.jobs()}, {1})

    def test_a_long_one_is_treated_as_such_while_another_worker_goes_on_with_short_ones(self):
        self.queue.enqueue([{"id": "job-%d" % number, "command": GATE if number == 50 else ":"} for number in range(4000)],
                           self.home, time.time())
        worker = self.worker("--count", "2")
        self.wait_for_file("here-job-50")
        log = output.log_path(self.home, self.job("job-50"), 1)
        self.wait_for(lambda: os.path.exists(log))
        self.wait_for(lambda: [slot for slot in worker_files.live_workers(self.path("run"))[0].running if slot and slot["group"]])
        self.assertGreater(self.queue.count()["pending"], 0)
        self.write("go", "")
        self.stop(worker)
        self.assertEqual(self.job("job-50").state, "completed")

    def test_a_stop_gives_back_what_was_not_started(self):
        self.queue.enqueue([{"id": "job-%d" % number, "command": ":"} for number in range(3000)], self.home, time.time())
        worker = self.worker("--count", "3")
        self.wait_for(lambda: self.queue.count()["completed"] > 50)
        self.stop(worker)
        counts = self.queue.count()
        self.assertEqual((counts["processing"], counts["dead"]), (0, 0))
        self.assertEqual({(job.state, job.attempts) for job in self.queue.jobs()} - {("completed", 1), ("pending", 0)}, set())

    def test_times_are_those_of_each_job_itself(self):
        for number in range(60):
            self.add("job-%d" % number, ":")
        self.drain()
        jobs = list(self.queue.jobs())
        self.assertTrue(all(job.started_at <= job.updated_at for job in jobs))
        self.assertTrue(all(first.updated_at <= second.started_at for first, second in zip(jobs, jobs[1:])))


class TestFilesThatChange(WorkerTest):
    """config.json and jobs.json, edited while a worker runs."""

    def test_edited_settings_are_taken_up_and_a_broken_edit_is_reported_and_ignored(self):
        self.settings(max_retries=0)
        worker = self.worker()
        self.add("before", "exit 1")
        self.assertEqual(self.wait_for_state("before", "dead").attempts, 1)
        self.settings(max_retries=2)
        self.wait_for(lambda: "settings read again" in self.text(worker.words))
        self.add("after", "exit 1")
        self.assertEqual(self.wait_for_state("after", "dead").attempts, 3)
        self.write("config.json", '{"max_retries": 0,\n "backoff_base" 1}')
        self.wait_for(lambda: "line 2, column 17" in self.text(worker.words))
        self.assertIn("going on with the settings as they were", self.text(worker.words))
        self.add("last", "exit 1")
        self.assertEqual(self.wait_for_state("last", "dead").attempts, 3)
        self.stop(worker)

    def test_an_empty_or_missing_config_of_a_moment_changes_nothing(self):
        self.settings(max_retries=0)
        worker = self.worker()
        self.add("first", "exit 0")
        self.wait_for_state("first", "completed")  # so it has looked, or a file that is blank already counts as what it started with
        for number, spoil in enumerate((lambda: self.write("config.json", ""), lambda: os.unlink(self.path("config.json")))):
            spoil()
            self.wait_for(lambda: self.text(worker.words).count("is empty or gone; going on with the settings as they were") == 1)
            self.add("bad%d" % number, "exit 1")
            self.assertEqual(self.wait_for_state("bad%d" % number, "dead").attempts, number + 1)
            self.settings(max_retries=number + 1)
            self.wait_for(lambda: self.text(worker.words).count("settings read again") == number + 1)
        self.stop(worker)

    def test_a_job_file_that_is_broken_for_a_while_costs_no_result(self):
        self.add("x", GATE)
        self.add("next", "exit 0")
        worker = self.worker()
        self.wait_for_file("here-x")
        content = self.read("jobs.json")
        self.write("jobs.json", b"oops" + content)
        self.write("go", "")
        self.wait_for(lambda: "waits to be recorded" in self.text(worker.words))
        self.assertIn(self.path("jobs.json"), self.text(worker.words))
        self.assertIsNone(worker.poll())
        self.assertEqual(self.read("jobs.json"), b"oops" + content)
        self.write("jobs.json", content)
        self.wait_for(lambda: self.queue.count()["completed"] == 2)
        self.assertEqual(self.job("x").attempts, 1)
        self.stop(worker)

    def test_the_result_of_a_job_that_was_cleared_meanwhile_counts_for_nothing(self):
        self.add("x", GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        self.write("jobs.json", "[]")
        self.write("go", "")
        self.wait_for(lambda: "its result is not recorded" in self.text(worker.words))
        self.add("next", "exit 0")
        self.wait_for_state("next", "completed")
        self.assertEqual([job.id for job in self.queue.jobs()], ["next"])
        self.stop(worker)


class TestSafety(WorkerTest):
    """Who can write the home can run commands: `worker start` looks."""

    def test_what_everyone_can_write_is_refused_with_the_path_and_the_chmod_that_mends_it(self):
        self.add("x", "echo ran > ran")
        for path, mode in ((self.home, 0o777), (self.home, 0o1777), (self.path("jobs.json"), 0o666), (self.path("config.json"), 0o602)):
            for words in (["worker", "start", "--drain"], ["worker", "start", "--detach"]):
                with self.subTest(path=path, mode=oct(mode), arguments=words):
                    former = os.stat(path).st_mode
                    os.chmod(path, mode)
                    said = self.refuse(*words, code=1)
                    self.assertIn("chmod o-w %s" % path, said)
                    os.chmod(path, former)
        self.assertFalse(os.path.exists(self.path("ran")))
        self.drain()
        self.assertEqual(self.text("ran"), "ran\n")

    @unittest.skipUnless(hasattr(os, "geteuid") and os.geteuid() == 0, "only root can give files away")
    def test_what_belongs_to_another_user_is_refused(self):
        self.add("x", "echo ran > ran")
        for path in (self.path("jobs.json"), self.path("config.json"), self.home):
            with self.subTest(path=path):
                os.chown(path, 12345, -1)
                said = self.refuse("worker", "start", "--drain", code=1)
                self.assertIn("belongs to another user", said)
                self.assertIn(path, said)
                os.chown(path, 0, -1)
        self.assertFalse(os.path.exists(self.path("ran")))

    def test_a_home_as_umask_002_makes_it_works(self):
        os.chmod(self.home, 0o775)
        os.chmod(self.path("config.json"), 0o664)
        options = {"preexec_fn": lambda: os.umask(0o002)}
        self.succeed("enqueue", "--id", "x", "--", "umask", **options)
        done = self.run_program("worker", "start", "--drain", **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.succeed("logs", "x", **options), "0002\n")

    def limited(self, soft, hard, *arguments):
        """Start workers with such limits on open files: (exit code, stderr)."""
        import resource
        done = self.run_program("worker", "start", "--drain", *arguments,
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
        return done.returncode, done.stderr

    def test_more_workers_than_may_have_their_files_open_are_refused_with_what_would_do(self):
        self.add("x", "exit 0")
        for count in ("80", "1000"):
            code, said = self.limited(256, 256, "--count", count)
            self.assertEqual((code, said.count("\n")), (1, 1), said)
            self.assertIn("ulimit -n %d" % (64 + 4 * int(count)), said)
            self.assertIn("--count 48", said)
        self.assertEqual(self.limited(256, 256, "--count", "48")[0], 0)

    def test_a_limit_on_open_files_that_may_be_raised_is_raised(self):
        self.add("x", "ulimit -n")
        code, said = self.limited(64, 1024, "--count", "60")
        self.assertEqual(code, 0, said)
        self.assertEqual(self.succeed("logs", "x"), "304\n")
        self.add("y", "ulimit -n")
        self.assertEqual(self.limited(512, 1024, "--count", "60")[0], 0)
        self.assertEqual(self.succeed("logs", "y"), "512\n")

    @unittest.skipUnless(sys.platform.startswith("linux"), "needs a limit on memory")
    def test_more_threads_than_the_system_gives_are_refused_in_one_line(self):
        import resource
        self.add("x", "exit 0")
        limit = 1 << 30
        with open(self.path("words"), "wb") as file:
            process = self.start("worker", "start", "--drain", "--count", "2000", stdout=subprocess.DEVNULL, stderr=file,
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        self.wait_for(lambda: process.poll() is not None or "Traceback" in self.text("words"))
        said = self.text("words")
        self.assertNotIn("Traceback", said)
        self.assertEqual(process.returncode, 1, said)
        self.assertRegex(said, "(?m)^queuectl: error: .*thread")
        self.assertEqual(worker_files.worker_paths(self.path("run")), [])


if __name__ == "__main__":
    unittest.main()
