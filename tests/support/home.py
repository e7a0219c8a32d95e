"""What the tests share: a temporary home, the program run as a user runs it, and waiting for conditions instead of times."""
from __future__ import annotations

import contextlib
import glob
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from core import errors, job, settings as core_settings, system
from execution import worker_files
from execution.process_tree import FINDS_UNNOTED
from storage import store
from tests.support.queue import Queue

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAIN = os.path.join(ROOT, "main.py")
ROOMS = ("cli", "core", "execution", "storage")
DEADLINE = 60  # seconds that a condition may take; it usually takes a fraction of one
# Seconds that a test may take, whatever it waits for; however long it takes where many more faults are tried than usually.
LIMIT = None if os.environ.get("QUEUECTL_FAULTS") else 5 * DEADLINE
WINDOWS = os.name == "nt"
WINE = bool(os.environ.get("QUEUECTL_TEST_WINE"))  # tests/wine/run.sh says so: what only Wine's limits break is skipped
THEN = " & " if WINDOWS else "; "  # between two commands that a shell runs one after another


def longest(length):
    """A length for a command that is as near to this one as the system takes it."""
    return min(length, system.MAX_COMMAND or job.MAX_TEXT)


def as_command(text):
    """A text as a command that the system takes: on Windows without line breaks."""
    return text.translate({10: " ", 13: " "}) if WINDOWS else text


def product_modules():
    """The paths of all modules of the program."""
    return sorted(glob.glob(os.path.join(glob.escape(ROOT), "*.py"))
                  + [path for room in ROOMS for path in glob.glob(os.path.join(glob.escape(ROOT), room, "*.py"))])


def copy_program(folder):
    """Copy the program, without its settings, into a folder."""
    for path in product_modules() + glob.glob(os.path.join(glob.escape(ROOT), "*", "*.html")):
        place = os.path.join(folder, os.path.relpath(path, ROOT))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copy(path, place)


def replace_call(module, name, patched):
    """Let a function of a module be another one, also for the modules of ours that have imported it by its name."""
    original = getattr(module, name)
    for other in [module] + [each for each in list(sys.modules.values()) if (getattr(each, "__file__", None) or "").startswith(ROOT)]:
        if getattr(other, name, None) is original:
            setattr(other, name, patched)


def set_everywhere(name, value):
    """Let a name that some modules of the program have mean this value in all of them; a function that undoes that."""
    for module in ("storage.foreign", "cli.control"):  # those with such names that the program loads only once it needs them
        importlib.import_module(module)
    former = [(module, getattr(module, name)) for module in list(sys.modules.values())
              if (getattr(module, "__file__", None) or "").startswith(ROOT) and not module.__name__.startswith("tests") and hasattr(module, name)]
    assert former, name
    for module, _ in former:
        setattr(module, name, value)

    def undo():
        for module, before in former:
            setattr(module, name, before)

    return undo


def first_bytes(path):
    """The first two bytes of a file."""
    with open(path, "rb") as file:
        return file.read(2)


def typed(command, environ=os.environ):
    """A command as the program names it in its messages, when it was run as `run_program` runs it."""
    name = os.path.basename(sys.executable)
    found = shutil.which(name, path=environ.get("PATH"))
    python = name if found == sys.executable or found and first_bytes(found) == b"#!" else sys.executable
    return "%s %s" % (system.quote_words([python, MAIN]), command)


def default_signals():
    """In a child: undo what nohup, or a shell that starts us in the background, has let us ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class TooLate(BaseException):
    """A test has not ended in time. No part of the program takes it for a fault that it knows."""


def _be_too_late(number, frame):
    raise TooLate("the test has not ended within %g s" % LIMIT)


class HomeTest(unittest.TestCase):
    """A test with an empty home of its own, removed afterwards together with the processes that it started. It waits for nothing without a
    deadline: where the system has an alarm clock, what takes too long is an error with the place where it hangs, and the next test goes on."""

    def run(self, result=None):
        """Run the test, with a limit to its time."""
        if LIMIT is None or not hasattr(signal, "setitimer"):
            return super().run(result)
        former = signal.signal(signal.SIGALRM, _be_too_late)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            return super().run(result)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)

    def setUp(self):
        self.home = self._folder = tempfile.mkdtemp(prefix="queuectl-test-")
        self.notices = []
        errors.name_program(lambda: "queuectl")  # a test that calls `main` in this process has changed it
        self._processes = []
        self.addCleanup(self._clean_up)

    def tearDown(self):
        """Whatever was done to a queue, what is noted of it says how many jobs are in each state."""
        queue = store.Store(self.home, core_settings.DEFAULTS, self.notices.append)
        for file in (queue.jobs_json, queue.dlq_json):
            if os.path.isfile(file.path):
                with contextlib.suppress(errors.QueueError), store.OpenFiles(queue.lock, file):
                    self.assertTrue(file.counts_agree(), file.path)

    def _clean_up(self):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        if WINE:
            self._show_vain_starts()
        shutil.rmtree(self._folder, ignore_errors=True)  # `home` may have become a folder inside of it

    def _show_vain_starts(self):
        """Print what jobs of the test said of programs that Wine did not start, by which tests/wine/run.sh knows such tests."""
        for path in glob.glob(self.path("logs", "*.log")):
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if "Internal error" in line or "Can't recognize" in line:  # as Python says it, and cmd.exe
                        print("(%s) %s" % (self.id(), line.strip()), file=sys.stderr, flush=True)

    # -- the queue from inside

    def manager(self, **settings):
        """The queue of the home, with the defaults but for these settings; its notices go to self.notices."""
        return Queue(self.home, core_settings.DEFAULTS._replace(**settings), self.notices.append)

    def path(self, *names):
        """A path in the home."""
        return os.path.join(self.home, *names)

    def read(self, name):
        """The bytes of a file in the home."""
        with open(self.path(name), "rb") as file:
            return file.read()

    def write(self, name, content):
        """Make a file in the home hold this text or these bytes."""
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode("utf-8"))

    def forget_notes(self):
        """Delete run/, as a power cut or a user does; on Windows, where no open file can be deleted, empty the notes in it."""
        if WINDOWS and os.path.exists(self.path("run", "lock")):
            os.truncate(self.path("run", "lock"), 0)
        else:
            shutil.rmtree(self.path("run"), ignore_errors=True)

    def records(self, name="jobs.json"):
        """The array that a job file holds, as any JSON parser reads it."""
        return json.loads(self.read(name).decode("utf-8"))

    # -- the program from outside

    def environ(self, **more):
        """The environment that the program is run in."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
        environ.update({"QUEUECTL_HOME": self.home}, **more)
        return environ

    def run_program(self, *arguments, stdin=None, **options):
        """Run a command to its end: a CompletedProcess with texts. `stdin` is a text."""
        options.setdefault("env", self.environ())
        options.setdefault("timeout", DEADLINE)
        return subprocess.run([sys.executable, MAIN] + list(arguments), input=stdin if stdin is not None else "", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, **options)

    def succeed(self, *arguments, **options):
        """Run a command that must succeed and be silent on stderr; what it printed."""
        done = self.run_program(*arguments, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), (arguments, done.stdout))
        return done.stdout

    def refuse(self, *arguments, code=None, **options):
        """Run a command that must be refused: one line on stderr, no traceback, nothing on stdout; that line."""
        done = self.run_program(*arguments, **options)
        self.assertIn(done.returncode, (1, 2) if code is None else (code,), (arguments, done.stdout, done.stderr))
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith("queuectl: error: ") and done.stderr.count("\n") == 1, done.stderr)
        return done.stderr.strip()

    def drain(self, *arguments, code=0):
        """Run a worker until nothing is left to do; what it printed to stdout and stderr."""
        done = self.run_program("worker", "start", "--drain", *arguments)
        self.assertEqual(done.returncode, code, (done.stdout, done.stderr))
        return done.stdout + done.stderr

    def start(self, *arguments, **options):
        """Start a command in the background: a Popen, killed after the test."""
        options.setdefault("env", self.environ())
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        if not WINDOWS:
            options.setdefault("preexec_fn", default_signals)
        process = subprocess.Popen([sys.executable, MAIN] + list(arguments), stdin=subprocess.DEVNULL, universal_newlines=True, **options)
        self._processes.append(process)
        return process

    def start_worker(self, *arguments, **options):
        """Start a worker process in the background and wait until it has registered: a Popen."""
        process = self.start("worker", "start", *arguments, **options)
        self.wait_for(lambda: process.poll() is not None or '"pid": %d,' % process.pid in self.worker_files())
        return process

    def kill(self, process, home=None):
        """Kill a worker process of this home, or of that one. Where there is no /proc, only once it has noted the groups of what it runs:
        nobody could end those then."""
        def has_noted():
            return all(slot["group"] for worker in worker_files.live_workers(os.path.join(home or self.home, "run"))
                       if worker.pid == process.pid for slot in worker.running if slot)

        if not FINDS_UNNOTED:
            self.wait_for(has_noted)
        process.kill()
        process.wait(DEADLINE)

    def worker_files(self):
        """The text of all worker files."""
        texts = []
        for name in os.listdir(self.path("run")) if os.path.isdir(self.path("run")) else ():
            if name.startswith("worker-") and name.endswith(".json"):
                try:
                    texts.append(self.read(os.path.join("run", name)).decode("utf-8"))
                except FileNotFoundError:
                    continue
        return "".join(texts)

    def states(self):
        """id: state of every job, as `list --json` tells."""
        return {job["id"]: job["state"] for job in json.loads(self.succeed("list", "--json"))}

    def wait_for(self, condition, seconds=DEADLINE):
        """Wait until `condition()` is true, and give back what it gave; fail after a generous time."""
        deadline = time.monotonic() + seconds
        while True:
            result = condition()
            if result:
                return result
            if time.monotonic() > deadline:
                self.fail("not within %d s: %s" % (seconds, condition))
            time.sleep(0.02)


class QueueTest(HomeTest):
    """A home whose settings make tests fast, and its queue from inside."""

    def setUp(self):
        super().setUp()
        self.queue = self.manager(fsync=False)
        self.settings()

    def settings(self, **values):
        """Write config.json."""
        self.write("config.json", json.dumps(dict({"poll_interval": 0.05, "backoff_base": 0.05, "fsync": False}, **values)))

    def add(self, job_id, command, **fields):
        """Add a job of the home's folder without starting a program for it."""
        self.queue.enqueue([dict(fields, id=job_id, command=command)], self.home, time.time())

    def job(self, job_id):
        """The job as it stands."""
        return self.queue.find(job_id)[-1]

    def wait_for_state(self, job_id, state):
        """Wait until a job is in a state; the job."""
        self.wait_for(lambda: self.job(job_id).state == state)
        return self.job(job_id)

    def wait_for_file(self, name):
        """Wait for a file that a job makes; its text."""
        self.wait_for(lambda: os.path.exists(self.path(name)))
        return self.text(name)

    def wait_for_line(self, name):
        """Wait for a file that a job writes a line into, which is there before its line is; its text."""
        self.wait_for(lambda: self.text(name).endswith("\n"))
        return self.text(name)

    def text(self, name):
        """The text of a file in the home; "" if there is none."""
        return self.read(name).decode("utf-8") if os.path.exists(self.path(name)) else ""
