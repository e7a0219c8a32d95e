"""A stdout that cannot be written: whoever looks is told so, and whoever has changed something is told that it is done, too."""
from __future__ import annotations

import os
import unittest

from cli.arguments import CHANGING, COMMANDS
from core.job import DEAD, PENDING
from tests.support.home import WINDOWS, QueueTest

MANY = ["many%d" % number for number in range(1500)]  # to name them all takes more than a buffer
DONE = (["cancel", "a"], ["retry", "a"], ["hold", "a"], ["release", "a"], ["edit", "a", "--priority", "3"], ["remove", "b"],
        ["cancel"] + MANY, ["pause"], ["resume"], ["config", "set", "max_retries", "3"], ["config", "unset", "max_retries"], ["clean"],
        ["worker", "stop"], ["worker", "start", "--drain"], ["dlq", "purge", "--all"], ["reset", "--yes"])


@unittest.skipIf(WINDOWS, "descriptors are POSIX's")
class TestStdout(QueueTest):
    """Commands behind a stdout that is full, or that nobody reads any more."""

    def streams(self):
        """(its name, a descriptor of it)"""
        if os.path.exists("/dev/full"):
            yield "full", os.open("/dev/full", os.O_WRONLY), "No space left on device"
        reader, writer = os.pipe()
        os.close(reader)
        yield "closed", writer, "Broken pipe"

    def each(self):
        """Each stream, with and without a buffer of Python's."""
        for unbuffered in ("", "1"):
            for name, descriptor, reason in self.streams():
                with self.subTest(name, unbuffered=unbuffered):
                    yield dict(stdout=descriptor, env=self.environ(PYTHONUNBUFFERED=unbuffered)), reason
                os.close(descriptor)

    def said(self, words, options):
        """(the exit code, the last line on stderr)"""
        process = self.start(*words, **options)
        lines = process.communicate(timeout=60)[1].splitlines()
        return process.returncode, lines[-1] if lines else ""

    def test_what_was_added_is_told(self):
        for options, reason in self.each():
            for words, told in ((["--id", "a", "--", "true"], "1 job"), (["-q", "--id", "b", "--", "true"], "1 job"),
                                (["-q", '[%s]' % ", ".join('{"id": "%s", "command": "true"}' % job_id for job_id in MANY)], "1500 jobs")):
                self.assertEqual(self.said(["enqueue"] + words, options),
                                 (1, "queuectl: error: %s added, but stdout cannot be written: %s" % (told, reason)))
            self.assertEqual(len(self.records()), 2 + len(MANY))
            self.queue.reset()

    def test_what_was_changed_is_told_and_done_to_its_end(self):
        self.settings(on_finish="touch finished-$QUEUECTL_JOB_ID")
        for options, reason in self.each():
            self.queue.enqueue([{"id": job_id, "command": "true"} for job_id in ["a", "b"] + MANY], self.home, 1.0)
            for words in DONE:
                with self.subTest(words[:2]):
                    if words[1:] == MANY:
                        self.settings()
                    self.assertEqual(self.said(words, options), (1, "queuectl: error: done, but stdout cannot be written: %s" % reason))
                if words == DONE[0]:
                    self.assertEqual(self.job("a").state, DEAD)
                    self.wait_for_file("finished-a")
                elif words == DONE[1]:
                    self.assertEqual(self.job("a").state, PENDING)
            self.assertEqual(self.records(), [])
            os.unlink(self.path("finished-a"))
            self.settings(on_finish="touch finished-$QUEUECTL_JOB_ID")

    def test_each_command_is_known_to_look_or_to_change(self):
        functions = {row[3] for row in COMMANDS.values()}
        self.assertEqual(CHANGING - functions, set())
        self.assertEqual({function.partition("_")[2] for function in functions - CHANGING},
                         {"enqueue", "worker_list", "status", "list", "show", "logs", "wait", "stats", "dashboard", "dlq_list", "doctor", "config",
                          "completion"})

    def test_who_looks_is_told_where_it_is_full_and_ends_in_silence_where_nobody_reads(self):
        self.add("a", "true")
        for options, reason in self.each():
            for words in (["list"], ["status"], ["show", "a"], ["config"]):
                with self.subTest(words):
                    code, line = self.said(words, options)
                    self.assertEqual((code, line[:34]), (0, "") if reason == "Broken pipe" else (1, "queuectl: error: stdout: No space "))
