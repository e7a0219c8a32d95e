"""Groups, their limits and slots, and after_any, as a user meets them."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from tests.support.home import DEADLINE, WINDOWS, QueueTest, typed
from tests.support.workers import GATE, WorkerTest

SAY = "echo %QUEUECTL_SLOT% %QUEUECTL_GROUP%" if WINDOWS else "echo $QUEUECTL_SLOT ${QUEUECTL_GROUP-none}"


class GroupTest(QueueTest):

    def enqueue(self, job_id, *options, command="echo"):
        self.succeed("enqueue", "--id", job_id, *options, "--", command)

    def group_records(self):
        return {record["id"]: record.get("group") for record in self.records()}

    def test_job_has_a_group_and_is_told_of_it_and_of_its_slot(self):
        self.settings(limits={"gpu": 3})
        self.enqueue("g", "-g", "gpu", command=SAY)
        self.enqueue("other", "--group", "my net", command=SAY)
        self.enqueue("none", command=SAY)
        self.assertEqual(self.group_records(), {"g": "gpu", "other": "my net", "none": None})
        self.assertEqual(json.loads(self.succeed("show", "g"))["group"], "gpu")
        self.assertNotIn("group", json.loads(self.succeed("show", "none")))
        self.drain()
        self.assertEqual([self.succeed("logs", job_id).split() for job_id in ("g", "other")], [["0", "gpu"], ["0", "my", "net"]])
        if not WINDOWS:
            self.assertEqual(self.succeed("logs", "none").split(), ["0", "none"])

    def test_group_that_is_no_name_is_refused_and_nothing_is_added(self):
        for group in ("", " gpu", "a\nb", "x" * 101):
            with self.subTest(repr(group)):
                self.refuse("enqueue", "-g", group, "--", "echo", code=2)
                said = self.refuse("enqueue", json.dumps({"id": "a", "command": "echo", "group": group}), code=2)
                self.assertIn("\"group\" must be a name", said)
        self.assertIn("\"group\" must be", self.refuse("enqueue", '{"id": "a", "command": "echo", "group": 5}', code=2))
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_limit_is_set_got_and_removed_by_the_name_of_its_group(self):
        for arguments, said in ((("set", "limits.gpu", "2"), "limits.gpu = 2"), (("get", "limits.gpu"), "2"),
                                (("set", "limits.a.b", "0"), "limits.a.b = 0"), (("get", "limits"), '{"gpu": 2, "a.b": 0}'),
                                (("get", "limits.a.b", "--json"), '{"limits.a.b": 0}'), (("get", "limits.none"), "null"),
                                (("unset", "limits.a.b"), "limits.a.b = null"), (("set", "limits.gpu", "null"), "limits.gpu = null"),
                                (("get", "limits"), "{}"), (("set", "limits", '{"x": 1}'), 'limits = {"x": 1}')):
            with self.subTest(arguments):
                self.assertEqual(self.succeed("config", *arguments).strip(), said)
        for key, value, said in (("limits.gpu", "1001", "limits.gpu must be a whole number from 0 to 1000, or null for no limit, not 1001"),
                                 ("limits.gpu", "many", "not \"many\""), ("limits.", "1", "names no group"),
                                 ("limits", '{"gpu": true}', "must be an object of whole numbers"), ("timeout.gpu", "1", "only limits has parts")):
            with self.subTest(key, value=value):
                self.assertIn(said, self.refuse("config", "set", key, value, code=2))
        self.assertEqual(json.loads(self.text("config.json"))["limits"], {"x": 1})

    def test_workers_for_some_groups_end_when_none_of_theirs_is_left(self):
        self.enqueue("g", "-g", "gpu")
        self.enqueue("n", "-g", "net", "--after", "g")
        self.enqueue("a")
        self.assertIn(": 1 worker for the group none, home", self.drain("--group", "none"))
        self.assertEqual(set(self.states().values()), {"pending"})
        net = self.start("worker", "start", "--drain", "--group", "net", stdout=subprocess.DEVNULL)
        self.assertIn("waiting for other workers to run g, which comes before", net.stderr.readline())
        self.drain("-g", "gpu", "-g", "none")
        self.assertEqual((net.wait(DEADLINE), self.states()), (0, {"g": "completed", "n": "completed", "a": "pending"}))
        net.communicate()

    def test_worker_list_says_of_which_groups_a_process_takes_jobs(self):
        for groups in ((), ("gpu", "my net", "gpu")):
            self.start("worker", "start", *("--group=" + group for group in groups), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listed = self.wait_for(lambda: (lambda found: found if len(found) == 2 else None)(json.loads(self.succeed("worker", "list", "--json"))))
        self.assertEqual({process["groups"] and tuple(process["groups"]) for process in listed}, {None, ("gpu", "my net")})
        self.assertEqual({row.split("\t")[5] for row in self.succeed("worker", "list").splitlines()}, {"-", "gpu 'my net'"})
        self.succeed("worker", "stop")

    def test_paused_group_waits_and_the_others_run(self):
        self.enqueue("g", "-g", "gpu")
        self.enqueue("a")
        self.enqueue("behind", "--after", "g")
        said = self.succeed("pause", "--group", "gpu")
        self.assertIn("no new jobs of the group gpu until '%s'" % typed("resume --group gpu"), said)
        said = self.drain()
        self.assertIn("whose group is paused, or has the limit 0, or that come after one of these: g, behind", said)
        self.assertNotIn("scheduled", said)
        self.assertEqual(self.states(), {"g": "pending", "a": "completed", "behind": "pending"})
        self.assertIn("is paused", self.refuse("worker", "start", "--drain", "-g", "gpu", code=1))
        self.assertIn("The group gpu is still paused", self.succeed("resume"))
        self.assertEqual(self.succeed("resume", "-g", "gpu"), "Resumed.\n")
        self.assertEqual(self.succeed("resume", "-g", "gpu"), "It was not paused.\n")
        self.drain()
        self.assertEqual(self.states()["g"], "completed")

    def fill(self):
        """Three jobs of the group gpu, which may run one at once, one of another, and one of none."""
        self.settings(limits={"gpu": 1})
        for job_id, group in (("g1", "gpu"), ("g2", "gpu"), ("g3", "gpu"), ("n", "my net"), ("a", None)):
            self.enqueue(job_id, *(() if group is None else ("-g", group)))

    def test_commands_that_look_may_ask_for_the_jobs_of_some_groups(self):
        self.fill()
        self.assertEqual(self.succeed("list", "-q", "--group", "gpu").split(), ["g1", "g2", "g3"])
        self.assertEqual(self.succeed("list", "-q", "-g", "gpu", "-g", "my net").split(), ["g1", "g2", "g3", "n"])
        self.assertEqual(json.loads(self.succeed("list", "--json", "-g", "none")), [])
        self.drain()
        self.assertEqual(json.loads(self.succeed("stats", "--json", "--group", "gpu"))["completed"], 3)
        self.assertEqual(self.succeed("logs", "--group", "gpu").count("==>"), 3)

    def test_status_has_a_line_for_each_group_with_a_limit_or_that_is_paused(self):
        self.fill()
        self.succeed("pause", "-g", "my net")
        job = self.queue.claim("w-1", time.time())
        self.queue.settings = self.queue.settings._replace(limits={"gpu": 1})
        self.assertEqual(job.id, "g1")
        lines = self.succeed("status").splitlines()
        self.assertIn("group       gpu     1 of 1 running, 2 waiting", lines)
        self.assertTrue([line for line in lines if line.startswith("group       my net  0 running, 1 waiting; paused: ")], lines)
        self.assertEqual(json.loads(self.succeed("status", "--json"))["groups"], {
            "gpu": {"limit": 1, "running": 1, "waiting": 2, "paused": False},
            "my net": {"limit": None, "running": 0, "waiting": 1, "paused": True}})
        for command in ("resume", "pause"):
            with self.subTest(command):  # a paused group waits for its own resume
                self.succeed(command)
                told = json.loads(self.succeed("status", "--json"))
                self.assertEqual([told[key] for key in ("ready", "in_full_groups", "in_paused_groups")], [1, 2, 1])

    def test_show_says_that_the_group_of_a_job_is_full(self):
        self.fill()
        self.queue.claim("w-1", time.time())
        self.assertEqual([json.loads(self.succeed("show", job_id))["waits_for"] for job_id in ("g2", "a")], ["group", None])

    def test_jobs_of_a_group_are_waited_for_and_cancelled(self):
        self.fill()
        self.assertIn("say which jobs", self.refuse("wait", "g1", "--group", "gpu"))
        self.assertEqual(self.run_program("wait", "-g", "gpu", "--timeout", "0.1").returncode, 124)
        self.assertEqual(self.run_program("wait", "-g", "none", "--timeout", "9").returncode, 0)
        self.assertIn("3 jobs cancelled", self.succeed("cancel", "--group", "gpu"))
        self.assertEqual(self.run_program("wait", "-g", "gpu", "--timeout", "9").returncode, 0)
        self.assertEqual(set(self.states().items()), {("g1", "dead"), ("g2", "dead"), ("g3", "dead"), ("n", "pending"), ("a", "pending")})

    def test_groups_are_completed(self):
        self.fill()
        self.assertEqual(self.succeed("completion", "--words", "list", "--group", "").split(), ["gpu"])
        self.assertEqual(self.succeed("completion", "--words", "config", "get", "limits.").split(), ["limits.gpu"])
        self.assertEqual(self.succeed("completion", "--words", "enqueue", "--after-any", "g").split(), ["g1", "g2", "g3"])

    def test_reset_lets_all_groups_go_on(self):
        self.succeed("pause", "-g", "gpu")
        self.succeed("reset", "--yes")
        self.assertFalse(os.path.exists(self.path("paused-groups")))

    def test_job_file_of_before_is_read_as_it_is_and_its_jobs_have_no_group(self):
        self.enqueue("a")
        before = self.read("jobs.json")
        self.settings(limits={"gpu": 1})
        self.assertEqual(self.read("jobs.json"), before)
        shown = json.loads(self.succeed("show", "a"))
        self.assertEqual(set(shown) & {"group", "after_any", "slot"}, set())
        self.drain()
        self.assertEqual(self.states(), {"a": "completed"})

    def test_user_field_that_looks_like_a_group_within_is_none(self):
        self.settings(limits={"gpu": 0})
        self.succeed("enqueue", json.dumps({"id": "a", "command": "echo", "meta": {"x": 1, "group": "gpu"}}))
        self.succeed("enqueue", json.dumps({"id": "b", "command": "echo {}", "group": "gpu", "env": {"group": "net"}}))
        self.assertEqual(json.loads(self.succeed("status", "--json"))["groups"]["gpu"]["waiting"], 1)
        self.drain()
        self.assertEqual(self.states(), {"a": "completed", "b": "pending"})


class EndingTest(WorkerTest):

    def test_a_group_is_full_as_long_as_a_cancelled_job_of_it_is_being_ended(self):
        self.settings(limits={"gpu": 1}, kill_grace=60)
        self.add("first", "trap '' TERM; " + GATE, group="gpu")
        worker = self.worker()
        self.wait_for_file("here-first")
        self.add("next", "true", group="gpu")
        self.succeed("cancel", "first")
        told = json.loads(self.succeed("status", "--json"))
        self.assertEqual((told["ready"], told["in_full_groups"], told["processing"]), (0, 1, 0))
        self.assertEqual(told["groups"]["gpu"], {"limit": 1, "running": 1, "waiting": 1, "paused": False})
        self.assertEqual(json.loads(self.succeed("show", "next"))["waits_for"], "group")
        self.assertEqual([job["waits_for"] for job in json.loads(self.succeed("list", "--json", "--state", "pending"))], ["group"])
        self.write("go", "")
        self.wait_for_state("next", "completed")
        self.stop(worker)
        self.assertEqual(json.loads(self.succeed("status", "--json"))["groups"]["gpu"]["running"], 0)

    def test_what_a_dead_worker_was_running_last_does_not_count_once_it_has_ended(self):
        self.settings(limits={"gpu": 1})
        self.add("first", "kill -KILL $PPID", group="gpu")
        worker = self.worker()
        self.wait_for(lambda: worker.poll() is not None)
        self.add("next", "true", group="gpu")
        self.succeed("cancel", "first")
        told = json.loads(self.succeed("status", "--json"))
        self.assertEqual((told["ready"], told["groups"]["gpu"]["running"]), (1, 0))


class AfterAnyTest(QueueTest):

    def test_job_runs_once_others_have_ended_however_and_names_what_is_there(self):
        self.settings(max_retries=0)
        self.succeed("enqueue", "--id", "bad", "--", "exit 3")
        self.succeed("enqueue", "--id", "good", "--", "exit 0")
        self.succeed("enqueue", "--id", "report", "--after-any", "bad", "--after", "good", "--", "echo")
        self.succeed("enqueue", "--id", "never", "--after-any", "good", "--after", "bad", "--", "echo")
        self.assertEqual((self.records()[2]["after"], self.records()[2]["after_any"]), (["good"], ["bad"]))
        self.assertIn("\"after_any\" names \"nobody\", and there is no such job",
                      self.refuse("enqueue", "--after-any", "nobody", "--", "echo", code=1))
        self.drain(code=1)
        self.assertEqual(self.states(), {"bad": "dead", "good": "completed", "report": "completed", "never": "dead"})
        self.assertIn("bad, which it comes after, is dead", self.succeed("dlq", "list"))
        self.assertEqual(json.loads(self.succeed("dlq", "list", "--json"))[1]["reason"], "dependency")

    def test_circle_over_after_and_after_any_is_refused(self):
        records = [{"id": "a", "command": "echo", "after": ["b"]}, {"id": "b", "command": "echo", "after_any": ["a"]}]
        self.assertIn("in a circle", self.refuse("enqueue", json.dumps(records), code=1))
        self.succeed("enqueue", "--id", "a", "--", "echo")
        self.succeed("enqueue", "--id", "b", "--after-any", "a", "--", "echo")
        self.assertIn("in a circle", self.refuse("enqueue", "--id", "a", "--after", "b", "--", "echo", code=1))

    def test_what_a_dead_job_takes_with_it_is_announced_and_counted(self):
        self.settings(max_retries=0, on_finish='%s -c "import os; print(os.environ[\'QUEUECTL_JOB_ID\'], os.environ[\'QUEUECTL_REASON\'],'
                                               ' file=open(\'told\', \'a\'))"' % sys.executable)
        self.succeed("enqueue", "--id", "bad", "--", "exit 3")
        self.succeed("enqueue", "--id", "next", "--after", "bad", "--", "echo")
        said = self.drain(code=1)
        self.assertIn("next: bad, which it comes after, is dead; moved to the dead letter queue", said)
        self.assertEqual(self.text("told").splitlines(), ["bad failed", "next dependency"])
        self.assertEqual(json.loads(self.succeed("show", "next"))["reason"], "dependency")

    def test_batch_of_jobs_with_one_id_is_waited_for_whole(self):
        self.succeed("enqueue", json.dumps([{"id": "part", "command": "echo"}] * 10 + [{"id": "whole", "command": "echo", "after": ["part"]}]))
        self.drain("--count", "4")
        jobs = json.loads(self.succeed("list", "--json"))
        self.assertEqual({job["state"] for job in jobs}, {"completed"})
        self.assertGreaterEqual(jobs[-1]["started_at"], max(job["updated_at"] for job in jobs[:-1]))
