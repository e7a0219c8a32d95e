"""The documents tell the truth: the README's commands are run in a copy of the repository, its tables are compared with the code, and the
tests and the files that the README and the pages of docs/ name are there."""
from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

from cli import arguments
from core import settings
from docs.make_manual import PAGE, page, with_settings
from storage import layout
from tests.support.home import ROOMS, ROOT, HomeTest, copy_program, product_modules


def readme():
    """The README's text."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return file.read()


def documents():
    """path: the text of each document for people."""
    found = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(ROOT), "*.md")) + glob.glob(os.path.join(glob.escape(ROOT), "docs", "*.md"))):
        with open(path, encoding="utf-8") as file:
            found[path] = file.read()
    return found


def blocks(language, text):
    """The code blocks of a language in a document."""
    return re.findall(r"```%s\n(.*?)```" % language, text, re.DOTALL)


def steps(text):
    """(command, output) pairs of a console block."""
    return [(step.partition("\n")[0], step.partition("\n")[2]) for step in re.split(r"(?m)^\$ ", text)[1:]]


def plain(text):
    """Output with what differs from run to run made equal: times, pids, the home, and what this Python is called in a hint."""
    text = re.sub(r"[^\s'\"]*\bpython[0-9.]* main\.py", "python3 main.py", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "TIME", text)
    text = re.sub(r"(process|pid) \d+", r"\1 PID", text)
    text = re.sub(r"(jobs in) [\d.]+ s", r"\1 TIME", re.sub(r"sh: .*not found", "NOT FOUND", text))
    return re.sub(r"(home +)[^\s]+?(\.? |\n)", r"\1HOME\2", text)


@unittest.skipIf(os.name == "nt", "the README's commands are for a POSIX shell")
class ReadmeTest(HomeTest):
    """Each test has a fresh copy of what git knows, without QUEUECTL_HOME, as after a clone."""

    def setUp(self):
        super().setUp()
        self.clone = os.path.join(self.home, "clone")
        self.fresh_clone()
        os.mkdir(os.path.join(self.home, "bin"))
        with open(os.path.join(self.home, "bin", "python3"), "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\nexec "%s" "$@"\n' % sys.executable)
        os.chmod(file.name, 0o755)

    def fresh_clone(self):
        """Copy the program into an empty folder."""
        shutil.rmtree(self.clone, ignore_errors=True)
        copy_program(self.clone)
        shutil.copy(os.path.join(ROOT, "config.json"), self.clone)
        shutil.copytree(os.path.join(ROOT, "runners"), os.path.join(self.clone, "runners"))

    def shell(self, command):
        """What a shell command prints in the clone; it must succeed."""
        environ = self.environ()
        del environ["QUEUECTL_HOME"]
        environ["PATH"] = os.path.join(self.home, "bin") + os.pathsep + environ["PATH"]
        done = subprocess.run(["/bin/sh", "-c", command], cwd=self.clone, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
        self.assertIn(done.returncode, (0, 1) if "--drain" in command else (0,), (command, done.stdout, done.stderr))
        return done.stdout

    def test_the_first_command_adds_runs_and_shows_a_job(self):
        *first, second = blocks("sh", readme())[0].splitlines()
        self.assertEqual(second, "python3 -m unittest")
        self.assertTrue(self.shell("\n".join(first)).endswith("\nHello\n"))

    def test_every_command_that_a_document_shows_prints_what_it_says(self):
        seen = 0
        for path, text in documents().items():
            for block in blocks("console", text):
                for command, output in steps(block):
                    with self.subTest(document=os.path.relpath(path, ROOT), command=command):
                        self.assertEqual(plain(self.shell(command)).strip(), plain(output).strip())
                        seen += 1
            self.fresh_clone()
        self.assertGreater(seen, 10)

    def test_every_command_of_the_program_is_in_the_readme(self):
        for name in arguments.COMMANDS:
            with self.subTest(command=name):
                self.assertTrue(name.split()[-1] in readme())

    def test_the_config_that_comes_with_it_holds_the_defaults(self):
        with open(os.path.join(ROOT, "config.json"), encoding="utf-8") as file:
            self.assertEqual(settings.Settings(**json.load(file)), settings.DEFAULTS)

    def test_a_link_to_the_program_finds_the_same_queue(self):
        os.symlink(os.path.join(self.clone, "main.py"), os.path.join(self.home, "bin", "queuectl"))
        os.chmod(os.path.join(self.clone, "main.py"), 0o755)
        self.shell("queuectl enqueue --id linked -- true")
        self.assertEqual(self.shell("cd / && queuectl list -q"), "linked\n")


class DocumentsTest(unittest.TestCase):
    """What the documents point to."""

    def test_the_manual_page_is_that_of_the_commands(self):
        with open(PAGE, encoding="utf-8") as file:
            self.assertEqual(file.read(), page(), "make it anew: python3 docs/make_manual.py")

    def test_the_table_of_settings_is_that_of_the_code(self):
        self.assertEqual(readme(), with_settings(readme()), "make it anew: python3 docs/make_manual.py")
        self.assertIn("| `max_retries` | 3 |", readme())

    def test_no_line_of_the_readme_is_longer_than_100_columns(self):
        self.assertEqual([line for line in readme().splitlines() if len(line) > 100], [])

    def test_each_page_says_first_for_whom_it_is(self):
        for path, text in documents().items():
            if os.path.dirname(path) != ROOT:
                with self.subTest(document=os.path.relpath(path, ROOT)):
                    self.assertTrue(text.split("\n\n")[1].startswith("This page is for those who "))

    def test_the_tests_that_they_name_are_there(self):
        named = {name for text in documents().values() for name in re.findall(r"`(test_\w+)`", text)}
        self.assertGreater(len(named), 10)
        there = set()
        for path in glob.glob(os.path.join(glob.escape(ROOT), "tests", "**", "*.py"), recursive=True):
            with open(path, encoding="utf-8") as file:
                there.update(re.findall(r"def (test_\w+)\(", file.read()))
        self.assertEqual(named - there, set())

    def test_the_files_that_their_links_lead_to_are_there(self):
        seen = 0
        for path, text in documents().items():
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
                if "://" not in target:
                    with self.subTest(document=os.path.relpath(path, ROOT), link=target):
                        self.assertTrue(os.path.exists(os.path.join(os.path.dirname(path), target)))
                        seen += 1
        self.assertGreater(seen, 10)

    def test_the_modules_that_they_name_are_there(self):
        rooms = "|".join(ROOMS + ("tests", "docs", "benchmarks"))
        for path, text in documents().items():
            for name in re.findall(r"`((?:%s)/[\w./]+\.(?:py|md|sh))`" % rooms, text):
                with self.subTest(document=os.path.relpath(path, ROOT), name=name):
                    self.assertTrue(os.path.exists(os.path.join(ROOT, name)))

    def test_every_module_of_the_rooms_is_in_the_architecture(self):
        text = documents()[os.path.join(ROOT, "docs", "architecture.md")].partition("## What each module has")[2].partition("\n## ")[0]
        named = set(re.findall(r"`(\w+)`", text))
        names = {os.path.basename(path)[:-len(".py")] for path in product_modules() if os.path.dirname(path) != ROOT} - {"__init__"}
        self.assertEqual(names - named, set())
        self.assertEqual(named - names, set())

    def test_the_columns_of_line_2_are_those_of_the_code(self):
        text = documents()[os.path.join(ROOT, "docs", "storage.md")]
        rows = re.findall(r"(?m)^\| `(\w+)` \| (\d+) \| (\d+) \|", text)
        self.assertEqual(rows, [(name, str(layout.COLUMN_AT[name]), str(width)) for name, width in layout.COLUMNS])
        self.assertIn("always has %d bytes" % layout.WIDTH, text)

    def test_the_python_that_they_show_finds_what_it_imports(self):
        seen = 0
        for path, text in documents().items():
            for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
                with self.subTest(document=os.path.relpath(path, ROOT), begins=block[:40]):
                    compile(block, path, "exec")
                    exec("\n".join(re.findall(r"(?m)^(?:import|from) .*", block)), {})
                    seen += 1
        self.assertGreater(seen, 4)
