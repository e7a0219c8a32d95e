"""Homes that are not there, settings that cannot be read, options that are empty: who looks sees what is true, and makes nothing."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest

from tests.support.home import MAIN, HomeTest

LOOKS = (["list"], ["status"], ["status", "--json"], ["stats"], ["wait"], ["logs"], ["show", "x"], ["logs", "x"], ["wait", "x"], ["dlq", "list"],
         ["worker", "list"])
STEERS = (["worker", "stop"], ["pause"], ["resume"], ["cancel", "x"], ["edit", "x"], ["retry", "--all"], ["dlq", "purge", "--all"], ["clean"],
          ["reset", "--yes"], ["doctor"], ["doctor", "--repair"])


class TestNoQueue(HomeTest):
    """A home that is not there."""

    def setUp(self):
        super().setUp()
        self.home = self.path("none")

    def test_who_looks_or_steers_is_told_and_none_is_made(self):
        for words in LOOKS + STEERS:
            with self.subTest(words):
                self.assertIn("there is no queue at %s;" % self.home, self.refuse(*words, code=1))
                self.assertFalse(os.path.exists(self.home))

    def test_what_is_not_understood_makes_none(self):
        for words in (["enqueue", "{"], ["enqueue", '{"id": "x"}'], ["config", "set", "max_retries", "many"], ["worker", "start", "--count", "0"]):
            with self.subTest(words):
                self.refuse(*words, code=2)
                self.assertFalse(os.path.exists(self.home))

    def test_adding_and_setting_and_a_worker_make_one(self):
        for name, words in (("a", ["enqueue", '{"id": "x", "command": "true"}']), ("s", ["config", "set", "max_retries", "1"]),
                            ("w", ["worker", "start", "--drain"])):
            with self.subTest(words):
                self.home = os.path.join(self._folder, name)
                self.succeed(*words)
                self.succeed("status")

    def test_words_are_completed_without_one_and_none_is_made(self):
        self.assertEqual(self.succeed("completion", "--words", "cancel", ""), "")
        self.assertEqual(self.succeed("completion", "--words", "stat"), "status\nstats\n")
        self.assertEqual(self.succeed("completion", "--words", "--home", self.home, "cancel", ""), "")
        self.assertFalse(os.path.exists(self.home))

    @unittest.skipIf(os.name == "nt", "HOME is POSIX's")
    def test_where_the_folder_of_the_user_is_not_known_no_other_one_is_taken(self):
        env = self.environ()
        del env["QUEUECTL_HOME"]
        for more in (["--home", "~nobody-of-that-name/q"], ["--home=~nobody-of-that-name"]):
            with self.subTest(more):
                self.assertIn("~nobody-of-that-name", self.refuse(*more, "enqueue", '{"id": "x", "command": "true"}', env=env, cwd=self._folder,
                                                                  code=1))
        program = ("import os, pwd, sys; sys.path.insert(0, %r); del os.environ['HOME']\ndef unknown(uid): raise KeyError\n"
                   "pwd.getpwuid = unknown\nfrom core import home\ntry: print(home.find_home(None, os.environ, '/nowhere/main.py'))\n"
                   "except home.QueueError as error: print('refused:', error)" % os.path.dirname(MAIN))
        done = subprocess.run([sys.executable, "-c", program], env=dict(env, HOME="/"), cwd=self._folder, stdout=subprocess.PIPE,
                              universal_newlines=True)
        self.assertRegex(done.stdout, r"\Arefused: .*--home.*\n\Z")
        self.assertEqual(os.listdir(self._folder), [])


class TestSettings(HomeTest):
    """A config.json that cannot be read, or has keys that are none."""

    def setUp(self):
        super().setUp()
        self.succeed("enqueue", '[{"id": "x", "command": "exit 1", "max_retries": 0}, {"id": "y", "command": "true"}, '
                     '{"id": "z", "command": "true", "run_at": "2099-01-01T00:00:00Z"}]')

    def test_who_looks_or_steers_goes_on_with_the_defaults_and_is_warned(self):
        for text in ('{"max_retries": 3,}', "[]", '{"max_retries": "3"}'):
            self.write("config.json", text)
            for words in (["list"], ["status"], ["show", "x"], ["stats"], ["wait", "x", "--timeout", "0"], ["dlq", "list"], ["worker", "list"],
                          ["pause"], ["resume"], ["logs", "x"]):
                with self.subTest(text=text, words=words):
                    done = self.run_program(*words)
                    self.assertEqual(done.returncode, 124 if words[0] == "wait" else 0, done.stderr)
                    self.assertRegex(done.stderr, r"\Aqueuectl: [^\n]*config\.json[^\n]*; the defaults are used here\n")
        self.assertEqual(self.run_program("cancel", "x").stdout, "Job 'x' cancelled.\n")
        self.assertEqual(self.run_program("retry", "x").stdout, "Job 'x' is back in the queue.\n")

    def test_who_adds_runs_or_sets_is_refused(self):
        self.write("config.json", '{"max_retries": 3,}')
        for words in (["enqueue", '{"id": "n", "command": "true"}'], ["worker", "start", "--drain"], ["worker", "start", "--detach"],
                      ["config", "set", "max_retries", "2"], ["config"]):
            with self.subTest(words):
                self.assertRegex(self.refuse(*words, code=2), "config.json, line 1, column 1[89]: ")  # Python 3.13 names the comma, others what follows
        self.assertEqual(self.read("config.json"), b'{"max_retries": 3,}')

    def test_a_value_that_does_not_fit_is_mended_by_setting_another_one(self):
        self.write("config.json", '{"max_retries": "3"}')
        self.succeed("config", "set", "max_retries", "4")
        self.assertEqual(json.loads(self.read("config.json").decode()), {"max_retries": 4})

    def test_a_key_that_is_none_is_told_with_its_neighbour_also_by_doctor(self):
        self.write("config.json", '{"max_retires": 3, "colour": 1}')
        said = self.run_program("status").stderr
        near = """the key "max_retires" is ignored: there is no such setting, did you mean 'max_retries'?"""
        far = 'the key "colour" is ignored: there is no such setting'
        self.assertEqual(said, "".join("queuectl: %s: %s\n" % (self.path("config.json"), each) for each in (near, far)))
        self.assertEqual(self.succeed("doctor").splitlines()[0], "config.json is sound, but %s; %s" % (near, far))

    @unittest.skipUnless(hasattr(os, "mkfifo"), "no FIFOs there")
    def test_a_fifo_is_refused_and_nobody_waits_for_what_is_written_into_it(self):
        os.mkfifo(self.path("config.json"))
        self.assertIn("config.json", self.refuse("enqueue", '{"id": "n", "command": "true"}', code=2))
        self.assertEqual(self.run_program("status").returncode, 0)
        self.assertEqual(self.run_program("doctor").returncode, 1)


class TestEmptyOptions(HomeTest):
    """Options whose value is --, and those whose value is empty."""

    def test_two_dashes_behind_an_equals_sign_are_a_value(self):
        self.succeed("enqueue", '[{"id": "a", "command": "ls -- x"}, {"id": "b", "command": "true"}]')
        self.assertEqual(self.succeed("list", "-q", "--search=--"), "a\n")
        for words in (["list", "--limit=--"], ["list", "--sort=--"], ["list", "--state=--"], ["wait", "--timeout=--"], ["status", "--watch=--"],
                      ["enqueue", "--timeout=--", "--id", "x", "--", "true"], ["logs", "--attempt=--"]):
            with self.subTest(words):
                self.assertIn("'--'", self.refuse(*words, code=2))
        self.assertIn("there is no queue at", self.refuse("status", "--home=--", code=1, cwd=self.home))
        self.succeed("enqueue", "--cwd=--", "--id", "c", "--", "true", cwd=self.home)
        self.assertEqual(os.path.basename(json.loads(self.succeed("show", "c"))["cwd"]), "--")

    def test_a_home_that_is_empty_is_no_home(self):
        self.succeed("enqueue", '{"id": "a", "command": "true"}')
        for words in (["--home", "", "reset", "--yes"], ["--home=", "reset", "--yes"], ["reset", "--yes", "--home", ""],
                      ["reset", "--yes", "--home="]):
            with self.subTest(words):
                self.assertIn("empty", self.refuse(*words, code=2))
        self.assertEqual(self.succeed("list", "-q"), "a\n")

    def test_an_option_that_is_empty_is_refused_but_no_runner(self):
        for words in (["list", "--search="], ["list", "--search", ""], ["enqueue", "--cwd", "", "--id", "x", "--", "true"],
                      ["enqueue", "--after=", "--id", "x", "--", "true"], ["enqueue", "--file", ""]):
            with self.subTest(words):
                self.assertIn("is empty", self.refuse(*words, code=2))
        self.succeed("enqueue", "--runner", "", "--id", "x", "--", "true")


class TestHostileTexts(HomeTest):
    """What control characters and very long arguments do to what is printed."""

    def test_a_setting_is_printed_without_raw_control_characters(self):
        self.succeed("config", "set", "on_finish", "echo \x9b31m\x7f\u202e")
        for words in (["config", "get", "on_finish"], ["config", "get", "on_finish", "--json"], ["config", "set", "on_finish", "e \x9b\x7f\u202e"]):
            with self.subTest(words):
                said = self.succeed(*words)
                self.assertTrue(said.strip("\n").isprintable(), ascii(said))

    def test_an_error_does_not_repeat_a_long_argument_whole(self):
        for words in (["cancel", "x" * 100000], ["show", "x" * 100000], ["list", "--limit", "9" * 100000], ["config", "set", "max_retries", "9" * 4000]):
            with self.subTest(words[0]):
                self.assertLess(len(self.run_program(*words).stderr), 2200)
