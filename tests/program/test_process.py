"""The process itself: interrupted among its imports, short of memory, with something else in place of its files. No traceback, no waiting."""
from __future__ import annotations

import os
import signal
import unittest

from tests.support.home import WINDOWS, HomeTest

# What Python imports by itself at its start: it interrupts the process once a certain module of the program is imported.
INTERRUPTS = """
import os, signal, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
"""


@unittest.skipIf(WINDOWS, "signals, limits and FIFOs are POSIX's")
class TestProcess(HomeTest):

    def test_an_interrupt_among_the_imports_ends_it_in_silence(self):
        self.write("sitecustomize.py", INTERRUPTS)
        for name in ("cli", "core.errors", "helpers", "cli.listing", "storage.view"):
            with self.subTest(name):
                done = self.run_program("list", env=self.environ(PYTHONPATH=self.home, AT=name),
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
                self.assertIn(done.returncode, (130, -signal.SIGINT))
                self.assertEqual((done.stdout, done.stderr), ("", ""))

    def test_one_that_ignores_interrupts_goes_on(self):
        self.write("sitecustomize.py", INTERRUPTS)
        done = self.run_program("list", env=self.environ(PYTHONPATH=self.home, AT="helpers"),
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_too_little_memory_is_one_line(self):
        self.write("sitecustomize.py", "import core.strict_json as json\ndef decode(*words): raise MemoryError\njson.decode_json = decode\n")
        env = self.environ(PYTHONPATH=os.pathsep.join((self.home, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))))
        self.assertIn("not enough memory", self.refuse("enqueue", '{"id": "a", "command": "true"}', env=env, code=1))

    def test_a_fifo_in_place_of_a_file_is_waited_for_by_nobody(self):
        self.succeed("enqueue", "--id", "a", "--", "true")
        for name, words, said in (("config.json", ["enqueue", "--", "true"], "is no file"), ("config.json", ["worker", "start", "--drain"], "is no file"),
                                  ("dlq.json", ["dlq", "list"], "it is no file"), ("jobs.json", ["list"], "it is no file"),
                                  ("jobs.json", ["enqueue", "--", "true"], "it is no file"), ("jobs.json", ["worker", "start", "--drain"], "it is no file")):
            with self.subTest(name=name, words=words):
                kept = self.read(name) if os.path.exists(self.path(name)) else None
                if kept is not None:
                    os.unlink(self.path(name))
                os.mkfifo(self.path(name))
                refused = self.refuse(*words, code=2 if name == "config.json" else 1)
                self.assertEqual((self.path(name) in refused, said in refused, "None" in refused), (True, True, False), refused)
                self.assertIn(said, self.run_program("doctor").stdout)
                os.unlink(self.path(name))
                if kept is not None:
                    self.write(name, kept)
        self.assertEqual(self.succeed("list", "-q"), "a\n")
