"""A home that can be read and not written: whoever looks sees what is true, and whoever would change something is refused in one line."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unittest

from tests.support.home import DEADLINE, MAIN, WINDOWS
from tests.support.workers import GATE, WorkerTest

ROOT_USER = not WINDOWS and os.geteuid() == 0
STRANGER = 12345

# What looks, with its exit code and a part of what it prints.
LOOKS = ((["list"], 0, "a\tcompleted\t1\t"), (["status"], 0, "completed   1\n"), (["show", "a"], 0, '"state": "completed"'),
         (["logs", "a"], 0, "word\n"), (["dlq", "list"], 0, "b\t1\t"), (["stats"], 0, "1 completed, 1 dead"),
         (["stats", "--prometheus"], 0, "queuectl_attempts_ended_total{"), (["wait", "a"], 0, ""),
         (["wait", "b"], 1, ""), (["wait", "p", "--timeout", "0"], 124, ""), (["worker", "list"], 0, ""), (["config", "get", "max_retries"], 0, "3\n"),
         (["doctor"], 0, "jobs.json is sound: 3 jobs\n"))
CHANGES = (["enqueue", "--id", "n", "--", "true"], ["cancel", "p"], ["retry", "b"], ["dlq", "purge", "--all"], ["pause"], ["clean"], ["reset", "--yes"],
           ["config", "set", "max_retries", "5"], ["worker", "start"], ["worker", "start", "--drain"], ["worker", "start", "--detach"])


@unittest.skipIf(WINDOWS, "modes and mounts are POSIX's")
class ReadOnlyTest(WorkerTest):
    """A queue with a completed, a dead and a pending job, which is made read-only once it is there."""

    def fill(self):
        self.add("a", "echo word")
        self.add("b", "exit 1", max_retries=0)
        self.drain(code=1)
        self.add("p", "true")

    def check(self, run, changes=CHANGES):
        """`run(words)` runs a command: (exit code, stdout, stderr)."""
        before = self.tree()
        for words, wanted, part in LOOKS:
            with self.subTest(words):
                code, out, err = run(words)
                self.assertEqual((code, part in out, "error" in err), (wanted, True, False), (out, err))
        for words in changes:
            with self.subTest(words):
                code, out, err = run(words)
                self.assertEqual((code, out, err.count("\n")), (1, "", 1), (out, err))
                self.assertRegex(err, r"\Aqueuectl: error: .*(Read-only file system|Permission denied|belongs to another user)")
        self.assertEqual(self.tree(), before)

    def tree(self):
        """What there is in the home, and of what size."""
        return sorted((folder, name, os.stat(os.path.join(folder, name)).st_size) for folder, _, names in os.walk(self.home) for name in names
                      if not name.endswith(".wake"))

    def run_here(self, words):
        done = self.run_program(*words)
        return done.returncode, done.stdout, done.stderr


class TestReadOnlyFileSystem(ReadOnlyTest):
    """The home is on a file system that is mounted to be read; another mount of it can be written."""

    def setUp(self):
        super().setUp()
        if not ROOT_USER or shutil.which("mount") is None:
            self.skipTest("only root can mount a file system")
        self.written, self.read_only = self.home, self.path("seen")
        self.home = self.written
        os.mkdir(self.read_only)

    def mount(self):
        """Let the home be seen where it cannot be written, as a container may have it."""
        for words in (["mount", "--bind", self.written, self.read_only], ["mount", "-o", "remount,ro,bind", self.read_only]):
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
            if done.returncode:
                self.skipTest("it cannot be mounted here: %s" % done.stdout)
            if words[1] == "--bind":
                self.addCleanup(subprocess.run, ["umount", "-l", self.read_only], check=True)
        self.home = self.read_only

    def test_root_looks_and_changes_nothing(self):
        self.fill()
        self.mount()
        self.check(self.run_here)

    def test_without_run_it_is_looked_at_without_the_lock(self):
        self.fill()
        self.forget_notes()
        self.mount()
        self.check(self.run_here, CHANGES[:1])
        self.assertNotIn("run", os.listdir(self.home))

    def test_what_an_append_left_that_was_cut_short_is_left_out(self):
        self.fill()
        with open(self.path("jobs.json"), "r+b") as file:
            content = file.read()
            file.seek(len(content) - 3)
            file.write(b',\n{"id": "torn", "comm')
        self.mount()
        self.assertEqual([line.split("\t")[0] for line in self.succeed("list").splitlines()], ["a", "b", "p"])
        self.assertEqual(self.run_program("doctor").returncode, 1)

    def test_a_worker_that_can_write_is_seen_at_work(self):
        self.add("long", GATE)
        self.start_worker()
        self.wait_for_state("long", "processing")
        self.mount()
        self.assertRegex(self.succeed("status"), r"workers +1 +\(pid [0-9]+\)\nrunning +long")
        self.assertIn("long", self.succeed("worker", "list"))
        with open(os.path.join(self.written, "go"), "w", encoding="utf-8"):
            self.assertEqual(self.succeed("wait", "long"), "")
        self.assertIn("long\tcompleted", self.succeed("list"))


class TestAnotherUser(ReadOnlyTest):
    """The home belongs to someone else, who lets others read it."""

    def setUp(self):
        super().setUp()
        if not ROOT_USER or shutil.which("setpriv") is None:
            self.skipTest("only root can give files away, and become as weak as others (setpriv)")

    def as_other(self, words):
        """Run a command as one to whom the modes of files apply, and who owns nothing here."""
        done = subprocess.run(["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", sys.executable, MAIN] + words, env=self.environ(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=DEADLINE)
        return done.returncode, done.stdout, done.stderr

    def let_read(self, *closed):
        """Give the home away to someone who lets everyone read it, but for what has these names."""
        for folder, _, names in os.walk(self.home):
            os.chown(folder, STRANGER, STRANGER)
            os.chmod(folder, 0o755)
            for name in names:
                os.chown(os.path.join(folder, name), STRANGER, STRANGER)
                os.chmod(os.path.join(folder, name), 0o644)
        for name in closed:
            os.chmod(self.path(name), 0o700)

    def test_everything_may_be_read(self):
        self.fill()
        self.let_read()
        self.check(self.as_other)

    def test_without_a_sight_of_run_it_is_said_that_the_workers_cannot_be_seen(self):
        self.add("long", GATE)
        self.start_worker()
        self.wait_for_state("long", "processing")
        self.let_read("run")
        code, out, err = self.as_other(["status"])
        self.assertEqual((code, "processing  1" in out, "its worker is dead" in out), (0, True, False), (out, err))
        self.assertRegex(err, r"\Aqueuectl: it cannot be seen which workers run: .*Permission denied\n\Z")
        self.write("go", "")
        self.wait_for_state("long", "completed")

    def test_what_may_not_be_seen_is_not_said_to_be_empty_or_absent(self):
        self.fill()
        for closed, words in (("logs", ["logs", "a"]), ("jobs.json", ["list"]), (".", ["list"])):
            with self.subTest(closed):
                self.let_read(closed)
                code, out, err = self.as_other(words)
                self.assertEqual((code, out), (1, ""), err)
                self.assertRegex(err.splitlines()[-1], r"\Aqueuectl: error: .*Permission denied")
