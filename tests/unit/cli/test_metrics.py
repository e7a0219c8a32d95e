"""The figures as Prometheus reads them: `stats --prometheus`."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

from cli.context import Home
from cli.metrics import exposition, waiting_since
from core.job import DEAD, Outcome
from core.times import parse_time
from storage.selection import Choice
from tests.support.home import DEADLINE, QueueTest

# The grammar of the text format, version 0.0.4.
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(r"(%s)\{((?:%s)(?:,%s)*)\} (-?[0-9.e+-]+)" % (NAME, LABEL, LABEL))


def parsed(text):
    """{metric: (its kind, {(the end of its name, its labels but `home`): value})}. Raises AssertionError for what is not the format."""
    found, metric = {}, None
    assert text.endswith("\n"), text
    for line in text.splitlines():
        if line.startswith("# HELP "):
            metric = line.split(" ")[2]
            assert metric not in found and len(line.split(" ", 3)[3]) > 10, line
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == metric and kind in ("gauge", "counter", "histogram"), line
            found[metric] = (kind, {})
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None and match.group(1).startswith(metric), line
            pairs = re.findall(LABEL, match.group(2))
            assert pairs[0].startswith('home="'), line
            key = match.group(1)[len(metric):], ",".join(pairs[1:])
            assert key not in found[metric][1], line
            found[metric][1][key] = float(match.group(3))
    return found


class TestExposition(QueueTest):

    def figures(self):
        """What the program prints, parsed."""
        return parsed(self.succeed("stats", "--prometheus"))

    def value(self, name, labels="", ending=""):
        """The value of a sample."""
        return self.figures()[name][1][ending, labels]

    def test_an_empty_queue_has_figures(self):
        figures = self.figures()
        self.assertEqual({labels: value for (_, labels), value in figures["queuectl_jobs"][1].items()},
                         {'state="%s",group=""' % state: 0 for state in ("pending", "processing", "completed", "dead")})
        self.assertEqual(figures["queuectl_oldest_waiting_age_seconds"][1]["", ""], 0)

    def test_jobs_are_counted_by_state_and_group_whatever_that_is_called(self):
        self.queue.enqueue([{"id": "a", "command": "x"}, {"id": "b", "command": "x", "group": "gpu"}, {"id": "c", "command": "x", "group": "gpu"},
                            {"id": "d", "command": "x", "group": "q\"u\\o}te,é"}], self.home, time.time())
        self.queue.cancel(["c"], time.time())
        samples = {labels: value for (_, labels), value in self.figures()["queuectl_jobs"][1].items() if value}
        self.assertEqual(samples, {'state="pending",group=""': 1, 'state="pending",group="gpu"': 1, 'state="dead",group="gpu"': 1,
                                   'state="pending",group="q\\"u\\\\o}te,é"': 1})

    def test_counters_are_those_of_the_attempts_and_outlive_clean(self):
        self.add("good", "true")
        self.add("bad", "exit 3", max_retries=1)
        self.add("slow", "sleep 60", timeout=0.1, max_retries=0)
        self.add("killed", "kill -9 $$", max_retries=0)
        self.drain(code=1)
        for _ in range(2):
            self.assertEqual(self.value("queuectl_attempts_ended_total"), 5)
            self.assertEqual({labels: value for (_, labels), value in self.figures()["queuectl_attempts_failed_total"][1].items() if value},
                             {'reason="failed"': 2, 'reason="killed"': 1, 'reason="timeout"': 1})
            self.assertEqual(self.value("queuectl_attempt_run_time_seconds", ending="_count"), 5)
            self.assertEqual(self.value("queuectl_attempt_run_time_seconds", 'le="0.05"', "_bucket")
                             <= self.value("queuectl_attempt_run_time_seconds", 'le="86400"', "_bucket"), True)
            self.assertEqual(self.value("queuectl_attempt_run_time_seconds", 'le="+Inf"', "_bucket"), 5)
            self.assertGreater(self.value("queuectl_attempt_run_time_seconds", ending="_sum"), 0.1)
            self.queue.clean(("completed",), Choice(None, None))
            self.queue.clean((DEAD,), Choice(None, None))

    def test_an_attempt_that_is_cancelled_or_lost_has_failed(self):
        self.add("a", "echo x > started; sleep 600")
        worker = self.start_worker()
        self.wait_for_file("started")
        self.assertEqual((self.value("queuectl_running_jobs"), self.value("queuectl_workers"), self.value("queuectl_worker_processes")), (1, 1, 1))
        self.succeed("cancel", "a")
        self.wait_for(lambda: self.value("queuectl_attempts_failed_total", 'reason="cancelled"') == 1)
        self.add("b", "echo x > again; sleep 600", max_retries=0)
        self.wait_for_file("again")
        self.kill(worker)
        self.assertEqual((self.value("queuectl_running_jobs"), self.value("queuectl_abandoned_jobs"), self.value("queuectl_workers")), (0, 1, 0))
        self.drain(code=1)
        self.assertEqual(self.value("queuectl_attempts_failed_total", 'reason="lost"'), 1)

    def test_a_job_that_dies_with_another_is_no_attempt(self):
        self.add("a", "exit 1", max_retries=0)
        self.add("b", "true", after=["a"])
        self.drain(code=1)
        self.assertEqual(self.value("queuectl_attempts_ended_total"), 1)
        self.assertEqual(self.value("queuectl_jobs", 'state="dead",group=""'), 2)

    def test_a_pause_is_told(self):
        self.assertEqual(self.value("queuectl_paused"), 0)
        self.queue.pause()
        self.assertEqual(self.value("queuectl_paused"), 1)

    def test_json_and_prometheus_go_not_together(self):
        self.assertIn("--prometheus", self.refuse("stats", "--json", "--prometheus", code=2))

    def test_a_broken_file_prints_no_half_of_them(self):
        self.write("jobs.json", "[{")
        self.refuse("stats", "--prometheus", code=1)

    def test_promtool_finds_nothing_to_say(self):
        promtool = shutil.which("promtool")
        if promtool is None:
            self.skipTest("there is no promtool here (Debian: apt-get install prometheus)")
        self.add("a", "true", group="g\"\\é")
        self.add("b", "false", max_retries=0)
        self.drain(code=1)
        done = subprocess.run([promtool, "check", "metrics"], input=self.succeed("stats", "--prometheus"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, timeout=DEADLINE, env=dict(os.environ, LC_ALL="C.UTF-8"), encoding="utf-8")
        self.assertEqual((done.returncode, done.stdout), (0, ""))


class TestWaitingSince(QueueTest):
    """Since when the first job waits that could have started."""

    NOW = 1795486146.0

    def since(self, now):
        """How many seconds behind NOW that is; None if none could have started."""
        found = waiting_since(self.queue.store, now)
        return None if found is None else round(found - self.NOW)

    def test_what_may_not_start_does_not_count(self):
        self.assertIsNone(self.since(self.NOW))
        self.queue.enqueue([{"id": "late", "command": "x", "delay": "1h"}], self.home, self.NOW)
        self.assertIsNone(self.since(self.NOW + 10))
        self.assertEqual(self.since(self.NOW + 3700), 3600)
        self.queue.enqueue([{"id": "a", "command": "x"}], self.home, self.NOW + 60)
        self.queue.enqueue([{"id": "b", "command": "x", "after": ["a"]}], self.home, self.NOW + 60)
        self.assertEqual(self.since(self.NOW + 100), 60)
        self.assertEqual(self.since(self.NOW + 3700), 60)

    def test_a_job_that_was_brought_back_waits_since_then(self):
        self.queue.enqueue([{"id": "a", "command": "x", "max_retries": 0}, {"id": "b", "command": "x"}], self.home, self.NOW)
        self.queue.record(self.queue.claim("t-1", self.NOW + 1), Outcome(1, "failed"), self.NOW + 2)
        self.queue.retry(Choice(["a"], None), self.NOW + 50)
        self.assertEqual(self.since(self.NOW + 100), 0)
        self.queue.cancel(["b"], self.NOW + 60)
        self.assertEqual(self.since(self.NOW + 100), 50)

    def test_it_is_told_as_an_age(self):
        self.queue.enqueue([{"id": "a", "command": "x"}], self.home, time.time() - 1000)
        age = parsed(exposition(Home(self.home)))["queuectl_oldest_waiting_age_seconds"][1]["", ""]
        self.assertTrue(1000 <= age < 1000 + DEADLINE, age)
        self.assertLess(parse_time(self.job("a").created_at), time.time())
