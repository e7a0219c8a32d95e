"""The "Testing Instructions" of the text that the product started from, step by step, with the program as a user runs it."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import unittest

from core.job import FAILED, Outcome
from tests.support.home import ROOT, HomeTest, copy_program

# Each job says that it is there, and ends well only once it has seen as many as it was told: none of them would if they ran in turn.
MEETING = """\
import os, sys, time
name, wanted = sys.argv[1], int(sys.argv[2])
open("here-" + name, "w").close()
deadline = time.monotonic() + 60
while sum(other.startswith("here-") for other in os.listdir(".")) < wanted:
    if time.monotonic() > deadline:
        sys.exit(1)
    time.sleep(0.02)
"""


class SeedTest(HomeTest):
    """What the steps share."""

    def settings(self, **values):
        """Put these settings into config.json."""
        self.write("config.json", json.dumps(values))

    def enqueue(self, job_id, command, **fields):
        """Add a job as the text says: as a JSON string with an id and a command."""
        printed = self.succeed("enqueue", json.dumps(dict(fields, id=job_id, command=command)))
        self.assertEqual(printed, "Job '%s' added to the queue.\n" % job_id)

    def counts(self):
        """What `status` shows: a name and a number a line."""
        words = [line.split() for line in self.succeed("status").splitlines()]
        return {name: int(value) for name, value, *_ in words if value.isdigit()}

    def state_on_disk(self, job_id):
        """The state of a job as jobs.json has it, as any other program would read it; None if it is not there (yet)."""
        try:
            return {record["id"]: record["state"] for record in self.records()}.get(job_id)
        except ValueError:
            return None  # caught in the middle of an append


class TestBasicFunctionality(SeedTest):
    """Add a simple job, start a worker, and make sure it gets processed and marked as completed."""

    def test_a_simple_job_is_run_and_marked_as_completed(self):
        self.enqueue("job1", "echo Hello")
        self.assertEqual(self.state_on_disk("job1"), "pending")
        worker = self.start_worker()
        self.wait_for(lambda: self.state_on_disk("job1") == "completed")
        self.succeed("worker", "stop")
        self.assertEqual(worker.wait(), 0)
        job = json.loads(self.succeed("show", "job1"))
        self.assertEqual((job["state"], job["attempts"], job["exit_code"], job["command"]), ("completed", 1, 0, "echo Hello"))
        self.assertEqual(self.succeed("logs", "job1"), "Hello\n")


class TestMultipleWorkers(SeedTest):
    """Add several jobs and start multiple workers. They should all work at the same time and process different jobs."""

    def test_several_workers_run_different_jobs_at_the_same_time(self):
        self.write("meet.py", MEETING)
        for number in range(3):
            self.enqueue("job%d" % number, '"%s" -S meet.py %d 3' % (sys.executable, number), cwd=self.home)
        self.drain("--count", "3")
        jobs = self.records()
        self.assertEqual([job["state"] for job in jobs], ["completed"] * 3)
        self.assertEqual([job["attempts"] for job in jobs], [1, 1, 1])
        # and what the file says of their times agrees: all had started before one had ended
        self.assertLess(max(job["started_at"] for job in jobs), min(job["updated_at"] for job in jobs))

    def test_one_worker_runs_one_job_at_a_time_in_the_order_in_which_they_were_added(self):
        for number in range(3):
            self.enqueue("job%d" % number, "echo job%d >> order" % number, cwd=self.home)
        self.drain()
        self.assertEqual(self.read("order").split(), [b"job0", b"job1", b"job2"])
        jobs = self.records()
        for former, following in zip(jobs, jobs[1:]):
            self.assertLessEqual(former["updated_at"], following["started_at"])


class TestRetries(SeedTest):
    """Add a job that will fail. Watch it retry a few times with increasing delays, then move to the dead letter queue."""

    def test_the_waits_are_2_4_and_8_seconds_and_then_comes_the_dead_letter_queue(self):
        queue = self.manager()
        now = 1800000000.0
        queue.enqueue([{"id": "bad", "command": "no-such-command"}], self.home, now)
        for attempt, delay in ((1, 2), (2, 4), (3, 8)):
            with self.subTest(attempt=attempt):
                job = queue.claim("test-%d" % attempt, now)
                self.assertEqual((job.id, job.attempts), ("bad", attempt))
                job, _ = queue.record(job, Outcome(127, FAILED), now)
                self.assertEqual(job.state, "pending")
                self.assertIsNone(queue.claim("early-%d" % attempt, now + delay - 0.001))
                now += delay
        job = queue.claim("test-4", now)
        self.assertEqual(job.attempts, 4)
        job, _ = queue.record(job, Outcome(127, FAILED), now)
        self.assertEqual(job.state, "dead")
        self.assertIsNone(queue.claim("test-5", now + 1000000))
        self.assertEqual([job.id for job in queue.dead()], ["bad"])

    def test_the_program_retries_a_command_that_does_not_exist_three_times_and_then_gives_up(self):
        self.settings(backoff_base=0.25)
        self.enqueue("bad", "no-such-command-at-all")
        said = self.drain(code=1)
        job = json.loads(self.succeed("show", "bad"))
        self.assertEqual((job["state"], job["attempts"]), ("dead", 4))
        self.assertNotEqual(job["exit_code"], 0)
        waits = [line for line in said.splitlines() if "again in" in line]
        self.assertEqual([line.partition("again in ")[2] for line in waits], ["0.25 s", "0.06 s", "0.02 s"])

    def test_config_json_says_how_often_and_how_long(self):
        self.settings(max_retries=1, backoff_base=0.01)
        self.enqueue("bad", "no-such-command-at-all")
        self.drain(code=1)
        self.assertEqual(self.records()[0]["attempts"], 2)


class TestDeadLetterQueue(SeedTest):
    """After a job fails completely, it shows up in the dead jobs list and `dlq.json` has it."""

    def test_a_dead_job_is_in_the_list_of_dead_jobs_and_in_dlq_json(self):
        self.settings(max_retries=0)
        self.enqueue("bad", "exit 3")
        self.enqueue("good", "echo fine")
        self.drain(code=1)
        listed = [line.split("\t") for line in self.succeed("list", "--state", "dead").splitlines()]
        self.assertEqual([(cells[0], cells[1], cells[2], cells[-1]) for cells in listed], [("bad", "dead", "1", "exit 3")])
        entry, = self.records("dlq.json")
        self.assertEqual((entry["id"], entry["command"], entry["state"], entry["exit_code"]), ("bad", "exit 3", "dead", 3))
        self.assertEqual([job["state"] for job in self.records()], ["dead", "completed"])  # "The jobs.json file has all jobs"


class TestStatusAndListing(SeedTest):
    """Use the status command to see counts, and the list command with different state filters."""

    def test_status_counts_each_state_and_the_filters_of_list_agree_with_it(self):
        # a hand-made file with every state: "You can also look at the JSON files directly"
        states = {"a": "pending", "b": "pending", "c": "completed", "d": "dead", "e": "completed", "f": "completed"}
        self.write("jobs.json", json.dumps([{"id": name, "command": "echo " + name, "state": state} for name, state in states.items()]))
        counts = self.counts()
        self.assertEqual({state: counts[state] for state in ("pending", "processing", "completed", "dead", "total")},
                         {"pending": 2, "processing": 0, "completed": 3, "dead": 1, "total": 6})
        for state in ("pending", "processing", "completed", "dead"):
            with self.subTest(state=state):
                lines = self.succeed("list", "--state", state).splitlines()
                self.assertEqual([line.split("\t")[0] for line in lines], [name for name in states if states[name] == state])
                self.assertEqual({line.split("\t")[1] for line in lines}, {state} if lines else set())
        self.assertEqual(len(self.succeed("list").splitlines()), 6)

    def test_the_list_shows_the_id_the_command_the_state_and_the_attempts(self):
        self.enqueue("job1", "echo Hello there")
        cells = self.succeed("list").rstrip("\n").split("\t")
        self.assertEqual((cells[0], cells[1], cells[2], cells[-1]), ("job1", "pending", "0", "echo Hello there"))

    def test_a_job_that_runs_is_processing(self):
        self.write("meet.py", MEETING)
        self.enqueue("long", '"%s" -S meet.py long 2' % sys.executable, cwd=self.home)
        worker = self.start_worker()
        self.wait_for(lambda: os.path.exists(self.path("here-long")))
        self.assertEqual(self.counts()["processing"], 1)
        self.assertEqual(self.succeed("list", "--state", "processing", "-q"), "long\n")
        self.write("here-test", "")
        self.succeed("worker", "stop")
        self.assertEqual(worker.wait(), 0)
        self.assertEqual(self.state_on_disk("long"), "completed")


class TestStoppingWorkers(SeedTest):
    """Start some workers, then stop them. They should stop cleanly without errors."""

    def assert_ended_cleanly(self, worker):
        """The worker process ended with 0 and said nothing on stderr."""
        printed, said = worker.communicate()
        self.assertEqual((worker.returncode, said), (0, ""), printed)
        self.assertEqual(self.worker_files(), "")

    def test_worker_stop_ends_all_workers(self):
        workers = [self.start_worker("--count", "3"), self.start_worker()]
        self.assertEqual(self.counts()["workers"], 4)
        self.assertEqual(self.succeed("worker", "stop"), "Stopped 2 worker processes.\n")
        for worker in workers:
            self.assert_ended_cleanly(worker)
        self.assertEqual(self.counts()["workers"], 0)

    @unittest.skipIf(os.name == "nt", "Windows sends Ctrl+C to a whole console alone")
    def test_ctrl_c_ends_them(self):
        worker = self.start_worker("--count", "3")
        worker.send_signal(signal.SIGINT)
        self.assert_ended_cleanly(worker)

    def test_stopping_lets_the_running_job_end(self):
        self.write("meet.py", MEETING)
        for name in ("long", "next"):
            self.enqueue(name, '"%s" -S meet.py %s 2' % (sys.executable, name), cwd=self.home)
        worker = self.start_worker()
        self.wait_for(lambda: os.path.exists(self.path("here-long")))
        stop = self.start("worker", "stop")
        self.assertIn("stopping", worker.stderr.readline())
        self.assertEqual(self.state_on_disk("long"), "processing")
        self.write("here-test", "")
        self.assertEqual(stop.wait(), 0)
        self.assertEqual(worker.wait(), 0)
        self.assertEqual((self.state_on_disk("long"), self.state_on_disk("next")), ("completed", "pending"))


class TestEdgeCases(SeedTest):
    """Invalid JSON, missing fields: helpful error messages. Workers without jobs just wait patiently."""

    def test_invalid_json_is_refused_with_its_place_and_an_example(self):
        for text in ("not json", "{id: job1}", "{'id': 'job1', 'command': 'echo'}", '{"id": "job1"', ""):
            with self.subTest(text=text):
                said = self.refuse("enqueue", text, code=2)
                self.assertIn("not JSON (line 1, column ", said)
                self.assertIn('\'{"id": "job1", "command": "echo Hello"}\'', said)
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_a_job_without_a_required_field_is_refused_and_the_error_names_the_field(self):
        for text, field in (('{"command": "echo"}', "id"), ('{"id": "job1"}', "command"), ("{}", "id"),
                            ('{"id": "", "command": "echo"}', "id"), ('{"id": "job1", "command": ""}', "command"),
                            ('{"id": null, "command": "echo"}', "id")):
            with self.subTest(text=text):
                self.assertIn('"%s"' % field, self.refuse("enqueue", text, code=2))
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_workers_without_jobs_wait_patiently_and_take_the_first_that_comes(self):
        worker = self.start_worker("--count", "2")
        self.assertEqual(self.counts()["workers"], 2)
        self.enqueue("late", "echo here")
        self.wait_for(lambda: self.state_on_disk("late") == "completed")
        self.assertIsNone(worker.poll())
        self.succeed("worker", "stop")
        _, said = worker.communicate()
        self.assertEqual(worker.returncode, 0)
        self.assertEqual(len(said.splitlines()), 1, said)  # that the job completed, and nothing while there was nothing to do

    def test_the_same_job_can_be_added_twice(self):
        for _ in range(2):
            self.enqueue("twin", "echo ran >> ran", cwd=self.home)
        self.drain()
        self.assertEqual(len(self.read("ran").splitlines()), 2)


class TestStartingFresh(SeedTest):
    """You can clear the job files by replacing their contents with empty arrays."""

    def test_empty_arrays_in_the_job_files_clear_the_queue(self):
        self.settings(max_retries=0)
        self.enqueue("bad", "exit 1")
        self.enqueue("good", "echo fine")
        self.drain(code=1)
        self.enqueue("waiting", "echo later")
        self.assertEqual(self.counts()["total"], 3)
        for name in ("jobs.json", "dlq.json"):
            self.write(name, "[]")
        self.assertEqual(self.counts(), {"pending": 0, "processing": 0, "completed": 0, "dead": 0, "total": 0, "workers": 0})
        self.assertEqual(self.succeed("list"), "")
        self.assertEqual(self.succeed("dlq", "list"), "")
        self.enqueue("fresh", "echo again")
        self.drain()
        self.assertEqual([(job["id"], job["state"]) for job in self.records()], [("fresh", "completed")])
        self.assertEqual(self.records("dlq.json"), [])

    def test_a_running_worker_sees_that_the_queue_was_cleared(self):
        self.settings(max_retries=0)
        self.enqueue("old", "exit 1")
        worker = self.start_worker()
        self.wait_for(lambda: self.state_on_disk("old") == "dead")
        for name in ("jobs.json", "dlq.json"):
            self.write(name, "[]")
        self.enqueue("new", "echo again")
        self.wait_for(lambda: self.state_on_disk("new") == "completed")
        self.assertEqual([job["id"] for job in self.records()], ["new"])
        self.succeed("worker", "stop")
        self.assertEqual(worker.wait(), 0)


class TestFromAClone(SeedTest):
    """`git clone`, `cd`, and it works: the queue is beside the program."""

    def test_a_copy_of_the_program_keeps_its_files_beside_itself(self):
        import shutil
        copy_program(self.home)
        shutil.copy(os.path.join(ROOT, "config.json"), self.home)
        environ = self.environ()
        del environ["QUEUECTL_HOME"]

        def run(*arguments):
            done = subprocess.run([sys.executable, "main.py"] + list(arguments), cwd=self.home, env=environ, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        run("enqueue", '{"id": "job1", "command": "echo Hello"}')
        run("worker", "start", "--drain")
        self.assertEqual(run("logs", "job1"), "Hello\n")
        self.assertEqual([(job["id"], job["state"]) for job in self.records()], [("job1", "completed")])


if __name__ == "__main__":
    unittest.main()
