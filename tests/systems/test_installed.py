"""An installed copy, whose modules stand in a package beside the modules of others; and what a package is made of."""
from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
import unittest
import zipapp
from urllib.request import urlopen

from main import VERSION
from tests.support.home import DEADLINE, MAIN, ROOMS, ROOT, HomeTest, copy_program, product_modules

THEIRS = "import sys\nprint('a module of somebody else')\nsys.exit(0)\n"


def text_of(name):
    """The text of a file of the repository."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def packages():
    """The packages that pyproject.toml names."""
    return re.findall('"(.*?)"', re.search(r"^packages = \[(.*?)\]", text_of("pyproject.toml"), re.S | re.M).group(1))


# The files beside the modules, as pyproject.toml names them.
DATA = {"queuectl.cli": ["dashboard.html"]}


def page_of(command, environ, folder):
    """The start of the page that this command serves."""
    process = subprocess.Popen(command, env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    try:
        address = re.search(r"http://127.0.0.1:\d+/", "".join(process.stdout.readline() for _ in range(3))).group()
        with urlopen(address, timeout=DEADLINE) as answer:
            return answer.read(15)
    finally:
        process.kill()
        process.communicate()


class TestInstalled(HomeTest):
    """The program as a package in a folder of packages, with the modules of others before and behind it."""

    def setUp(self):
        super().setUp()
        self.packages = self.path("site-packages")
        for package in packages():
            folder = os.path.join(*package.split("."))
            os.makedirs(os.path.join(self.packages, folder))
            for path in glob.glob(os.path.join(ROOT, os.path.relpath(folder, "queuectl"), "*.py")):
                shutil.copy(path, os.path.join(self.packages, folder))
        for package, names in DATA.items():
            for name in names:
                folder = os.path.join(*package.split("."))
                shutil.copy(os.path.join(ROOT, os.path.relpath(folder, "queuectl"), name), os.path.join(self.packages, folder))
        # On PYTHONPATH, beside our package, and where the shell stands: one of the same name as each of our modules.
        for folder in (self.path("theirs"), self.packages, self.path("here")):
            os.makedirs(folder, exist_ok=True)
            for name in [os.path.basename(path) for path in product_modules()] + [room + ".py" for room in ROOMS]:
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(THEIRS)

    def installed(self, *arguments, program="import sys; sys.path.pop(0); from queuectl.main import run; run()"):
        """Run a command as the script does that pip writes; what it printed."""
        environ = self.environ(PYTHONPATH=os.pathsep.join((self.path("theirs"), self.packages)), QUEUECTL_HOME=self.path("home"))
        done = subprocess.run([sys.executable, "-c", program, *arguments], env=environ, cwd=self.path("here"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=DEADLINE)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def test_modules_of_others_are_not_taken_for_ours(self):
        self.assertEqual(self.installed("--version"), "queuectl %s\n" % VERSION)
        self.assertEqual(self.installed("enqueue", "--id", "x", "--", "echo Hello"), "Job 'x' added to the queue.\n")
        self.installed("stats")
        self.assertIn("is sound: 1 job", self.installed("doctor"))

    def test_the_page_of_the_dashboard_is_there(self):
        self.installed("enqueue", "--id", "x", "--", "echo Hello")
        environ = self.environ(PYTHONPATH=os.pathsep.join((self.path("theirs"), self.packages)), QUEUECTL_HOME=self.path("home"))
        program = "import sys; sys.path.pop(0); from queuectl.main import run; run()"
        self.assertEqual(page_of([sys.executable, "-c", program, "dashboard"], environ, self.path("here")), b"<!doctype html>")

    def test_a_worker_that_is_started_in_the_background_is_ours_too(self):
        self.installed("enqueue", "--id", "x", "--", "echo Hello")
        self.assertNotIn("somebody else", self.installed("worker", "start", "--detach"))
        try:
            self.installed("wait", "x")
            self.assertEqual(self.installed("logs", "x"), "Hello\n")
        finally:
            self.installed("worker", "stop")

    def test_a_python_that_knows_no_folder_of_the_program_runs_it(self):
        for flag in ("-I", "-P") if sys.version_info >= (3, 11) else ("-I",):
            with self.subTest(flag):
                done = subprocess.run([sys.executable, flag, MAIN, "--version"], env=self.environ(PYTHONPATH=self.path("theirs")),
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=DEADLINE)
                self.assertEqual((done.returncode, done.stdout), (0, "queuectl %s\n" % VERSION))


class TestOtherWays(HomeTest):
    """The program as an archive, and under a Python that is too old."""

    def test_an_archive_runs_and_starts_workers_in_the_background(self):
        copy_program(self.path("source"))
        archive = self.path("queuectl.pyz")
        zipapp.create_archive(self.path("source"), archive, main="main:run")
        os.mkdir(self.path("home"))

        def run(*arguments):
            done = subprocess.run([sys.executable, archive, *arguments], env=self.environ(QUEUECTL_HOME=self.path("home")), cwd=self.path("source"),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                                  timeout=DEADLINE)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            return done.stdout

        run("enqueue", "--id", "x", "--", "echo Hello")
        environ = self.environ(QUEUECTL_HOME=self.path("home"))
        self.assertEqual(page_of([sys.executable, archive, "dashboard"], environ, self.path("source")), b"<!doctype html>")
        run("worker", "start", "--detach")
        try:
            run("wait", "x")
            self.assertEqual(run("logs", "x"), "Hello\n")
        finally:
            run("worker", "stop")

    def test_a_python_that_is_too_old_is_told_so(self):
        pyenv = os.environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
        for version in ("2.7", "3.5", "3.6", "3.7"):
            found = sorted(glob.glob(os.path.join(glob.escape(pyenv), "versions", version + ".*", "bin", "python")))
            python = found[-1] if found else shutil.which("python" + version)
            with self.subTest(version):
                if python is None:
                    self.skipTest("there is no Python %s" % version)
                done = subprocess.run([python, MAIN, "status"], env=self.environ(PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=""), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=DEADLINE)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertEqual(done.stderr.partition(" (")[0], "queuectl: error: QueueCTL needs Python 3.8 or newer, and this is Python " + version)


class TestPackage(unittest.TestCase):
    """What pyproject.toml and MANIFEST.in say agrees with the tree."""

    def test_each_folder_of_modules_is_a_package(self):
        rooms, looked_at = set(), [""]
        for room in looked_at:
            for path in glob.glob(os.path.join(ROOT, room, "*.py")):
                for name in re.findall(r"^ *(?:from|import) (\w+)", text_of(path), re.M):
                    if name not in rooms and glob.glob(os.path.join(ROOT, name, "*.py")):
                        rooms.add(name)
                        looked_at.append(name)
        self.assertEqual(sorted(packages()), sorted(["queuectl"] + ["queuectl." + room for room in rooms]))

    def test_each_file_beside_the_modules_goes_with_its_package(self):
        named = dict(re.findall(r'^"(queuectl[.a-z]*)" = \[(.*)\]$', text_of("pyproject.toml"), re.M))
        self.assertEqual({package: re.findall('"(.*?)"', names) for package, names in named.items()}, DATA)
        found = [name for room in ROOMS for name in os.listdir(os.path.join(ROOT, room)) if not name.endswith(".py") and not name.startswith((".", "__"))]
        self.assertEqual(found, [name for names in DATA.values() for name in names])

    def test_what_the_manifest_names_is_there(self):
        for line in text_of("MANIFEST.in").splitlines():
            verb, *names = line.split()
            for name in names if verb in ("include", "graft") else ():
                self.assertTrue(os.path.exists(os.path.join(ROOT, name)), name)

    def test_the_version_fits_the_changelog(self):
        """A release is the newest version of the changelog, with nothing unreleased before it; between releases the version is the
        development of one that comes after it."""
        headings = re.findall(r"^## \[(.*?)\]", text_of("CHANGELOG.md"), re.M)
        released = [heading for heading in headings if heading != "Unreleased"]
        number, _, development = VERSION.partition(".dev")
        if development:
            self.assertEqual(headings[0], "Unreleased")
            self.assertGreater([int(part) for part in number.split(".")], [int(part) for part in released[0].split(".")])
        else:
            self.assertEqual(headings[0], VERSION)
        self.assertEqual(re.findall(r"^version = ", text_of("pyproject.toml"), re.M), ["version = "])
        self.assertIn('version = { attr = "main.VERSION" }', text_of("pyproject.toml"))


if __name__ == "__main__":
    unittest.main()
