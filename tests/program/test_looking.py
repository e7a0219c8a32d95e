"""What people look up: why a job does not run, how it ended, what it wrote."""
from __future__ import annotations

import json
import os
import re
import sys
import time

from core.job import FAILED, TIMEOUT, Outcome
from storage.output import log_path
from tests.support.home import MAIN, HomeTest
from tests.support.terminal import NEEDS_PTY, Terminal, outside


class LookingTest(HomeTest):

    def add(self, *ids, now=None, **fields):
        """Add a job for each of these ids."""
        now = time.time() if now is None else now
        self.manager().enqueue([dict({"id": job_id, "command": "echo %s" % job_id}, **fields) for job_id in ids], self.home, now)

    def attempt(self, outcome, now=None, took=0.5):
        """Let the job that comes next have an attempt that ends so; None: it still runs."""
        jobs, now = self.manager(), time.time() if now is None else now
        job = jobs.claim("1-1", now - took)
        return job if outcome is None else jobs.record(job, outcome, now)[0]

    def see(self, *arguments, columns=80, code=0):
        """The lines that a command shows on a terminal of that width."""
        shown = Terminal([sys.executable, MAIN] + list(arguments), self.environ(TERM="xterm", NO_COLOR="1"), columns)
        self.addCleanup(shown.close)
        self.assertEqual(shown.end(), code, shown.text())
        return outside(shown.text())


class TestWaiting(LookingTest):
    """list and show: what a job waits for, and how it ended."""

    def fill(self):
        """A queue with a job for each thing that is told."""
        self.add("good", "bad", "slow")
        self.add("again", backoff_base=1000)
        for outcome in (Outcome(0, None), Outcome(3, FAILED), Outcome(None, TIMEOUT)):
            jobs = self.manager(max_retries=0)
            now = time.time()
            jobs.record(jobs.claim("1-1", now - 2.5), outcome, now)
        self.attempt(Outcome(1, FAILED))
        self.add("late", delay="1h")
        self.add("behind", after=["again", "good", "late"])
        self.add("unwanted")
        self.manager().cancel(["unwanted"], time.time())
        self.add("free")

    @NEEDS_PTY
    def test_on_a_terminal_one_column_says_why_a_job_waits_or_how_it_ended(self):
        self.fill()
        lines = self.see("list", columns=90)
        self.assertEqual(lines[0].split(), ["ID", "STATE", "DETAIL", "UPDATED", "COMMAND"])
        for line, job_id, text in zip(lines[1:], ("good", "bad", "slow", "again", "late", "behind", "unwanted", "free"),
                                      ("took 2.5s", "exit code 3", "timed out", r"retry in \d\S+ \(attempt 2 of 4\)", r"in (1h|59m\d\ds)",
                                       "after again, late", "cancelled", "no worker runs")):
            with self.subTest(job_id):
                self.assertRegex(line, r"^%s +\w+ +%s  +" % (job_id, text))
        narrow = self.see("list", columns=40)
        self.assertEqual(narrow[0].split(), ["ID", "DETAIL", "COMMAND"])
        self.assertRegex(narrow[4], r"^again +retry in ")

    def test_scripts_get_it_as_new_keys_behind_the_others(self):
        self.fill()
        told = {job["id"]: job for job in map(json.loads, self.succeed("list", "--jsonl").splitlines())}
        self.assertEqual({job_id: job["waits_for"] for job_id, job in told.items()},
                         {"good": None, "bad": None, "slow": None, "again": "retry", "late": "time", "behind": "jobs", "unwanted": None,
                          "free": None})
        self.assertLess(3500, told["late"]["due_in"])
        self.assertEqual((told["good"]["duration"], told["good"]["max_retries"], told["free"]["due_in"]), (2.5, 3, None))
        shown = json.loads(self.succeed("show", "behind"))
        self.assertEqual((list(shown), shown["waits_for"]), (list(told["behind"]), "jobs"))
        self.succeed("pause")
        self.assertEqual(json.loads(self.succeed("show", "free"))["waits_for"], "paused")

    def test_words_that_people_use_for_states_choose_jobs(self):
        self.fill()
        for words, wanted in (("ready", "free"), ("retrying", "again"), ("failed", "again"), ("scheduled", "late"), ("blocked", "behind"),
                              ("queued", "again late behind free"), ("done", "good"), ("cancelled", "unwanted"), ("running", ""),
                              ("dead", "bad slow unwanted"), ("scheduled,done", "good late")):
            with self.subTest(words):
                self.assertEqual(self.succeed("list", "-q", "--state", words).split(), wanted.split())
        self.assertEqual(self.succeed("list", "--state", "running", "--json"), "[]\n")
        self.assertIn("did you mean 'retrying'", self.refuse("list", "--state", "retry", code=2))

    def test_sorted_by_priority_is_the_order_in_which_jobs_run(self):
        self.add("low", priority=-1)
        self.add("a", "b")
        self.add("high", priority=9)
        self.add("late", delay="1h")
        for words, wanted in (("priority", "high a b late low"), ("priority --reverse", "low a b late high"), ("run_at", "low a b high late"),
                              ("run_at -r -n 1", "late")):
            with self.subTest(words):
                self.assertEqual(self.succeed("list", "-q", "--sort", *words.split()).split(), wanted.split())

    def test_what_show_prints_can_be_added_again(self):
        self.add("a", own=1)
        self.succeed("enqueue", "-", stdin=self.succeed("show", "a"))
        first, second = self.records()
        self.assertEqual((second["own"], "due_in" in second, "waits_for" in second), (1, False, False))


class TestLogs(LookingTest):
    """logs: of several jobs, and on a terminal."""

    def wrote(self, job, text, attempt=1):
        """Let an attempt of a job have written this."""
        os.makedirs(self.path("logs"), exist_ok=True)
        with open(log_path(self.home, job, attempt), "wb") as log:
            log.write(text)

    def died(self, job_id, text, now=None):
        """A job that died at some time, and wrote this."""
        self.add(job_id, max_retries=0)
        job = self.attempt(Outcome(3, FAILED), now)
        self.wrote(job, text)
        return job

    def test_several_jobs_have_a_header_each_and_one_in_a_pipe_has_none(self):
        self.died("a", b"one\ntwo\nthree")
        self.died("b", b"four\n")
        self.add("c")
        self.attempt(Outcome(0, None))
        self.add("new")
        self.assertEqual(self.succeed("logs", "a"), "one\ntwo\nthree")
        told = re.sub(r"\d{4}-\S*Z", "TIME", self.succeed("logs", "a", "b", "c", "new", "a", "-n", "2"))
        self.assertEqual(told, "==> a, attempt 1: exit code 3, TIME <==\ntwo\nthree\n==> b, attempt 1: exit code 3, TIME <==\nfour\n"
                               "==> c, attempt 1: completed, took 0.5s, TIME; it has written nothing <==\n"
                               "==> new, no attempt yet <==\n")
        self.assertEqual(self.succeed("logs", "a", "--all"), "==> a, attempt 1 <==\none\ntwo\nthree")

    def test_what_died_without_an_attempt_and_what_is_tried_again_are_told_so(self):
        self.add("flaky", backoff_base=1000)
        self.wrote(self.attempt(Outcome(1, FAILED)), b"try\n")
        self.add("unwanted")
        self.succeed("cancel", "unwanted")
        self.assertRegex(self.succeed("logs", "unwanted", "flaky"), r"^==> unwanted, no attempt: cancelled, \S+ <==\n"
                                                                    r"==> flaky, attempt 1: exit code 1, \S+ <==\ntry\n$")
        process = self.start("logs", "-f", "flaky", "unwanted")
        lines = sorted(process.stdout.readline() for _ in range(4))
        self.assertRegex("".join(lines), r"^flaky    \| ==> attempt 1 <==\nflaky    \| ==> attempt 1: exit code 1, \S+ <==\n"
                                         r"flaky    \| try\nunwanted \| ==> no attempt: cancelled, \S+ <==\n$")
        self.succeed("cancel", "flaky")
        self.assertEqual((process.wait(60), process.stdout.readlines()[0][:26]), (1, "flaky    | ==> attempt 1: "))

    def test_output_of_what_failed_lately_is_one_command(self):
        self.died("old", b"old\n", time.time() - 90000)
        self.died("bad", b"no disk\n")
        self.add("good")
        self.attempt(Outcome(0, None))
        self.assertEqual(re.findall(r"^==> (\w+)|^(\w.*)", self.succeed("logs", "--state", "dead"), re.M),
                         [("old", ""), ("", "old"), ("bad", ""), ("", "no disk")])
        told = self.succeed("logs", "--state", "dead", "--since", "1d", "-n", "5")
        self.assertRegex(told, r"^==> bad, attempt 1: exit code 3, \S+ <==\nno disk\n$")
        done = self.run_program("logs", "--state", "running")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", "queuectl: no job is in that state, or changed in that time\n"))
        self.assertIn("by their ids, or by --state", self.refuse("logs", "bad", "--state", "dead", code=2))

    def test_attempt_that_never_was_is_refused_with_how_many_there_were(self):
        self.died("bad", b"x\n")
        self.add("new")
        self.assertIn("'bad' has had 1 attempt; there is no attempt 20", self.refuse("logs", "bad", "--attempt", "20", code=1))
        self.assertIn("'new' has had 0 attempts", self.refuse("logs", "new", "--attempt", "2", code=1))

    @NEEDS_PTY
    def test_on_a_terminal_a_header_says_how_the_attempt_ended_and_when(self):
        self.died("bad", b"no disk\n")
        self.assertRegex("\n".join(self.see("logs")), r"^==> bad, attempt 1: exit code 3, \d+s ago <==\nno disk$")
        self.assertRegex("\n".join(self.see("logs", "-f", "bad", code=1)),
                         r"^==> bad, attempt 1 <==\nno disk\n==> bad, attempt 1: exit code 3, \d+s ago <==$")
        self.add("runs")
        self.wrote(self.attempt(None), b"no line end")
        self.assertRegex("\n".join(self.see("logs", "runs")), r"^==> runs, attempt 1: running for \d\S*s <==\nno line end$")

    def test_several_that_are_followed_have_their_name_before_each_line(self):
        self.add("a", "long", "c", max_retries=0)
        first, second = self.attempt(None), self.attempt(None)
        self.wrote(first, b"one\ntwo")
        process = self.start("logs", "-f", "a", "long")
        self.wrote(second, b"three\n")
        lines = [process.stdout.readline() for _ in range(4)]
        self.manager().record(first, Outcome(0, None), time.time())
        lines += [process.stdout.readline() for _ in range(2)]
        self.manager().record(second, Outcome(1, FAILED), time.time())
        lines += process.stdout.readlines()
        self.assertEqual(process.wait(60), 1, process.stderr.read())
        told = [re.sub(r"took \S+ TIME", "TIME", re.sub(r"\d{4}-\S*Z", "TIME", line)).rstrip("\n") for line in lines]
        self.assertEqual([line for line in told if line.startswith("a ")],
                         ["a    | ==> attempt 1 <==", "a    | one", "a    | two", "a    | ==> attempt 1: completed, TIME <=="])
        self.assertEqual([line for line in told if not line.startswith("a ")],
                         ["long | ==> attempt 1 <==", "long | three", "long | ==> attempt 1: exit code 1, TIME <=="])


class TestDead(LookingTest):
    """dlq list and retry: what died lately."""

    def setUp(self):
        super().setUp()
        for job_id, code, hours, output in (("old", 1, 30, "a\n"), ("dump", 2, 3, "reading\nno space left\n\n"), ("load", 3, 2, "")):
            self.add(job_id, max_retries=0)
            jobs, now = self.manager(), time.time() - 3600 * hours
            jobs.record(jobs.claim("1-1", now - 1), Outcome(code, FAILED), now, output)

    def test_options_choose_jobs(self):
        for words, wanted in (("", "old dump load"), ("--since 1d", "dump load"), ("--since 150m", "load"), ("--limit 2", "dump load"),
                              ("-n 1", "load"), ("--search space", "dump"), ("--search echo", "old dump load"), ("--search nothing", ""),
                              ("--since 1d --search o -n 1", "load")):
            with self.subTest(words):
                lines = self.succeed("dlq", "list", *words.split()).splitlines()
                self.assertEqual([line.split("\t")[0] for line in lines], wanted.split())
                told = json.loads(self.succeed("dlq", "list", "--json", *words.split()))
                self.assertEqual([job["id"] for job in told], wanted.split())
        self.assertEqual(len(self.succeed("dlq", "list").splitlines()[0].split("\t")), 5)

    @NEEDS_PTY
    def test_on_a_terminal_the_last_line_of_output_is_told(self):
        lines = self.see("dlq", "list")
        self.assertEqual(lines[0].split(), ["ID", "DIED", "REASON", "COMMAND", "LAST", "LINE"])
        self.assertRegex(lines[2], r"^dump  3h ago  exit code 2  echo dump  no space left$")
        self.assertRegex(lines[3], r"^load  2h ago  exit code 3  echo load$")
        self.assertRegex(self.see("dlq", "list", columns=40)[2], r"^dump  3h ago  exit code 2  \S")

    def test_retry_since_brings_back_what_died_lately_and_was_not_cancelled(self):
        self.add("unwanted")
        self.succeed("cancel", "unwanted")
        self.assertIn("2 jobs back in the queue", self.succeed("retry", "--since", "1d"))
        self.assertEqual({job["id"]: job["state"] for job in self.records()},
                         {"old": "dead", "dump": "pending", "load": "pending", "unwanted": "dead"})
        self.assertIn("--since", self.refuse("retry", code=2))
        self.assertIn("say which jobs", self.refuse("retry", "old", "--since", "1d", code=2))


class TestStats(LookingTest):
    """stats: of some time, and of each command."""

    def setUp(self):
        super().setUp()
        for command, code, took, hours in (("make a", 0, 2, 30), ("make a", 0, 4, 2), ("make a", 0, 6, 2), ("make b", 1, 8, 2), ("cp x y", 0, 1, 2)):
            self.add("j", command=command, max_retries=0)
            self.attempt(Outcome(code, FAILED if code else None), time.time() - 3600 * hours, took)
        self.add("unwanted", command="cp x y")
        self.succeed("cancel", "unwanted")

    def test_since_leaves_out_what_ended_before(self):
        self.assertIn("80.0 %  (4 completed, 1 dead, 1 cancelled)", self.succeed("stats"))
        self.assertIn("75.0 %  (3 completed, 1 dead, 1 cancelled)", self.succeed("stats", "--since", "24h"))
        told = json.loads(self.succeed("stats", "--since", "24h", "--json"))
        self.assertEqual((told["completed"], told["dead"], told["cancelled"], told["success_rate"]), (3, 2, 1, 0.75))
        self.manager().reset()
        self.assertEqual(self.succeed("stats", "--since", "24h"), "No job has ended in this time.\n")
        self.assertEqual(self.succeed("stats", "--by", "command", "--json"), "[]\n")

    def test_by_command_has_the_worst_first(self):
        self.assertEqual(self.succeed("stats", "--by", "command"), "1\t1\t8.00\tmake b\n3\t0\t4.00\tmake a\n1\t0\t1.00\tcp x y\n")
        told = json.loads(self.succeed("stats", "--by", "program", "--since", "1d", "--json"))
        self.assertEqual([(each["program"], each["jobs"], each["failed"], each["cancelled"], each["run_time"]["p50"]) for each in told],
                         [("make", 3, 1, 0, 6.0), ("cp", 1, 0, 1, 1.0)])
        self.assertIn("--prometheus", self.refuse("stats", "--by", "command", "--prometheus", code=2))

    @NEEDS_PTY
    def test_by_command_on_a_terminal_is_a_table(self):
        lines = self.see("stats", "--by", "command", columns=40)
        self.assertEqual([line.split() for line in lines], [["JOBS", "FAILED", "MEDIAN", "COMMAND"], ["1", "1", "8s", "make", "b"],
                                                            ["3", "0", "4s", "make", "a"], ["1", "0", "1s", "cp", "x", "y"]])
