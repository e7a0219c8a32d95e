"""A limit on file sizes (`ulimit -f`): what cannot be written is left as it was, and the limit is what one is told to raise."""
from __future__ import annotations

import glob
import importlib.util
import os
import shutil
import subprocess
import sys
import unittest

import main
from core.errors import StorageFault
from tests.support.forked import end_of, start_forked
from tests.support.home import DEADLINE, WINDOWS, QueueTest, copy_program

try:
    import resource
except ImportError:  # Windows, where nothing here is tried
    pass


@unittest.skipIf(WINDOWS, "limits are POSIX's")
class TestFileLimit(QueueTest):
    """Commands and workers of which no file may grow beyond a limit."""

    def limited(self, limit, work):
        """Do `work()` in a child with that limit: (its exit code, what it said)."""
        def within_it():
            sys.dont_write_bytecode = True  # Python would leave compiled modules that are cut short
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            return work()

        reader, writer = os.pipe()  # what it says is limited, too, in a file
        with os.fdopen(reader, encoding="utf-8") as said:
            child = start_forked(within_it, "/dev/fd/%d" % writer, told=(StorageFault,))
            os.close(writer)
            words = said.read()
        return end_of(child), words

    def test_an_append_that_was_cut_anywhere_leaves_the_file_to_the_byte(self):
        self.add("a", "true")
        self.add("b", "true")
        before = self.read("jobs.json")
        size = len(before)
        for limit in [0, 1, size // 2] + list(range(size - 4, size + 8)) + [size + 100, size + 350]:
            with self.subTest(limit - size):
                code, said = self.limited(limit, lambda: self.add("new", "echo " + "x" * 100))
                self.assertEqual((code, said.count("raise the limit on file sizes"), "nothing was changed" in said), (1, 1, True), said)
                self.assertEqual(self.read("jobs.json"), before)
                self.assertEqual(self.queue.count()["pending"], 2)

    def test_a_job_dies_where_its_entry_would_be_too_long_and_the_limit_is_named(self):
        self.add("b", "printf %4000s x; exit 1", max_retries=0)
        self.drain(code=1)
        limit = len(self.read("dlq.json")) + 100
        self.assertGreater(limit, len(self.read("jobs.json")) + 1000)
        self.add("c", "exit 1", max_retries=0)
        code, said = self.limited(limit, lambda: main.main(["--home", self.home, "cancel", "c"]))
        self.assertEqual((code, "cannot write %s: File too large; raise the limit on file sizes; that c is dead is noted in jobs.json alone"
                          % self.path("dlq.json") in said), (0, True), said)
        self.assertEqual(self.states()["c"], "dead")

    def start_compiled(self, *words):
        """Start a command of a copy of the program whose compiled modules are kept beside it: a Popen."""
        environ = {name: value for name, value in self.environ().items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")}
        process = subprocess.Popen([sys.executable, self.path("program", "main.py"), *words], env=environ, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, universal_newlines=True)
        self._processes.append(process)
        return process

    def test_a_worker_that_runs_needs_no_compiled_module_that_is_cut_then(self):
        copy_program(self.path("program"))
        foreign = '[\n{"id": "%s", "command": "true"}]'
        self.write("jobs.json", foreign % "a")
        done = self.start_compiled("worker", "start", "--drain")
        self.assertEqual((done.communicate(timeout=DEADLINE)[1].count("completed"), done.returncode), (1, 0))  # all is compiled
        worker = self.start_compiled("worker", "start", "--quiet")
        self.wait_for(lambda: '"pid": %d,' % worker.pid in self.worker_files())
        self.add("b", "true")
        self.wait_for(lambda: self.states()["b"] == "completed")
        for path in glob.glob(self.path("program", "**", "*.pyc"), recursive=True):
            os.truncate(path, os.path.getsize(path) // 2)
        self.write("jobs.json", foreign % "c")
        self.wait_for(lambda: worker.poll() is not None or b"completed" in self.read("jobs.json"))
        worker.terminate()
        self.assertEqual((*worker.communicate(timeout=DEADLINE), worker.returncode), ("", "", 0))

    def test_a_compiled_module_that_was_cut_is_named_with_what_helps(self):
        program = self.path("program")
        copy_program(program)

        def list_jobs():
            process = self.start_compiled("list")
            said = process.communicate(timeout=DEADLINE)
            return subprocess.CompletedProcess(process.args, process.returncode, *said)

        self.add("a", "true")
        for module in ("core/errors", "cli/listing"):  # one that each start needs, and one that this command needs
            with self.subTest(module):
                self.assertEqual(list_jobs().returncode, 0)
                path = importlib.util.cache_from_source(os.path.join(program, *(module + ".py").split("/")))
                os.truncate(path, os.path.getsize(path) // 2)
                done = list_jobs()
                self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
                self.assertTrue(done.stderr.startswith("queuectl: error: %s does not read" % path), done.stderr)
                folder = os.path.dirname(path)
                self.assertIn("remove the folder %s, which Python makes anew" % folder, done.stderr)
                shutil.rmtree(folder)
                self.assertEqual(list_jobs().returncode, 0)
