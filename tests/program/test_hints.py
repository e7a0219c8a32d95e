"""The commands that messages name, as a user pastes them: each is run by a shell, and must be about the same queue."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import unittest

from tests.support.home import DEADLINE, HomeTest, copy_program

POSIX = os.name != "nt"


class HintTest(HomeTest):
    """A copy of the program in a folder of its own, called in several ways from another folder."""

    def setUp(self):
        super().setUp()
        self.bin, self.work = self.path("bin"), self.path("at work")
        for folder in (self.bin, self.work, self.path("me")):
            os.mkdir(folder)
        copy_program(self.path("program"))

    def environ(self, **more):
        environ = dict(super().environ(), PATH=os.pathsep.join((self.bin, os.path.dirname(sys.executable), os.environ["PATH"])),
                       HOME=self.path("me"), **more)
        del environ["QUEUECTL_HOME"]
        return environ

    def shell(self, line, **more):
        """Run a line as a shell does: (exit code, stdout, stderr)."""
        done = subprocess.run(line, shell=True, cwd=self.work, env=self.environ(**more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=DEADLINE)
        return done.returncode, done.stdout, done.stderr

    def hint_in(self, text, command):
        """The command in quotes that ends so."""
        match = re.search(r"(['\"])((?:(?!\1).)*%s)\1" % re.escape(command), text)
        self.assertTrue(match, text)
        return match.group(2)


@unittest.skipUnless(POSIX, "the shell is sh")
class TestHints(HintTest):
    """What is pasted works."""

    def ways(self):
        """(how the program is called, how a hint is to begin)."""
        main = self.path("program", "main.py")
        os.symlink(main, os.path.join(self.bin, "qq"))
        python = os.path.basename(sys.executable)
        return (("%s ../program/main.py" % python, "%s ../program/main.py" % python),
                ("%s %s" % (sys.executable, main), "%s %s" % (python, main)),
                ("qq", "qq"), (os.path.join(self.bin, "qq"), "qq"))

    def test_a_hint_names_the_program_as_it_was_called_and_the_home_that_was_given(self):
        homes = ("--home gpu ", "--home=gpu ", "--home 'two words' ", "")
        for (called, begins), home in zip(self.ways(), homes):
            with self.subTest(called=called, home=home):
                self.shell("%s %s enqueue --id a -- true" % (called, home))
                code, _, said = self.shell("%s %s retry none" % (called, home))
                self.assertEqual(code, 1)
                hint = self.hint_in(said, "list")
                self.assertEqual(hint, "%s %slist" % (begins, home.replace("=", " ")))
                self.assertEqual(self.shell(hint + " -q -n1"), (0, "a\n", ""))
                self.assertEqual(self.shell(self.hint_in(self.shell("%s %s show b" % (called, home))[2], "list") + " -q -n1"), (0, "a\n", ""))

    def test_behind_the_command_or_in_the_environment_a_home_is_the_same_for_the_hint(self):
        called = self.ways()[2][0]
        self.shell("qq --home gpu enqueue --id a -- true")
        for line, environ, begins in (("%s retry none --home gpu" % called, {}, "qq --home gpu"),
                                      ("%s retry none" % called, {"QUEUECTL_HOME": self.path("at work", "gpu")}, "qq"),
                                      ("%s --home %s retry none" % (called, self.path("me", ".queuectl")), {}, "qq")):
            with self.subTest(line, **environ):
                self.shell("qq enqueue --id a -- true", **environ)
                self.assertEqual(self.hint_in(self.shell(line, **environ)[2], "list"), begins + " list")

    def test_what_a_job_or_a_background_worker_says_names_the_home_for_whoever_reads_it(self):
        self.ways()
        self.shell("qq --home gpu config set poll_interval 0.05; qq --home gpu enqueue --id a -- qq retry none; qq --home gpu worker start --drain")
        _, said, _ = self.shell("qq --home gpu logs a")
        self.assertEqual(self.hint_in(said, "list"), "qq --home '%s' list" % self.path("at work", "gpu"))

    def test_the_module_and_an_archive_of_the_program_are_named_as_such(self):
        package = self.path("at work", "queuectl")
        shutil.copytree(self.path("program"), package)
        open(os.path.join(package, "__init__.py"), "w").close()
        python = os.path.basename(sys.executable)
        subprocess.run([sys.executable, "-m", "zipapp", self.path("program"), "-m", "main:run", "-o", self.path("at work", "q.pyz")], check=True)
        for called in ("%s -m queuectl.main" % python, "%s q.pyz" % python):
            with self.subTest(called):
                said = self.shell("%s --home gpu list" % called)[2]
                self.assertEqual(self.hint_in(said, "enqueue"), "%s --home gpu enqueue" % called)

    def test_an_unknown_command_and_the_usage_name_the_program_too(self):
        self.ways()
        self.assertIn("'qq --help'", self.shell("qq xyzzy")[2])
        self.assertIn("'qq list --help'", self.shell("qq list --frobnicate")[2])
        self.assertTrue(self.shell("qq list --help")[1].startswith("usage: qq list "))


class TestNoHintIsWrittenByHand(unittest.TestCase):
    """`core.errors.hint` is the one place that names a command."""

    def test_no_message_spells_a_command_of_the_program(self):
        from tests.support.home import product_modules
        for path in product_modules():
            with self.subTest(path), open(path, encoding="utf-8") as file:
                if os.path.basename(path) != "completion.py":
                    self.assertIsNone(re.search(r"queuectl (?:[a-z]+ )*(?:list|start|stop|retry|enqueue|doctor|config|resume|logs|--help)\b",
                                                re.sub(r'(?s)""".*?"""', "", file.read())))
