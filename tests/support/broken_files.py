"""What tests of broken files share."""
from __future__ import annotations

import gc
import io
import json
import os
import re
import sys
import tempfile

import main
from core.job import COMPLETED, DEAD, FAILED, PENDING, PROCESSING, Outcome
from core.times import parse_time
from storage.layout import COLUMNS
from tests.support.home import HomeTest, set_everywhere

LINKS = os.name == "posix"  # making one needs rights on Windows
PLACE = re.compile(r"line [0-9]+, column [0-9]+: \S")
TIMES = ("created_at", "run_at", "started_at", "updated_at")
DEFAULTS = dict({name: None for name, _ in COLUMNS}, state=PENDING, attempts=0)
# Commands that look, and commands that change something.
LOOKS = (["status"], ["list"], ["list", "--json"], ["show", "a"], ["logs", "a"], ["stats"], ["wait", "--timeout", "0"])
CHANGES = (["enqueue", "--id", "new", "--", "true"], ["retry", "--all"], ["retry", "a"], ["dlq", "purge", "--all"], ["clean"],
           ["cancel", "a"], ["reset", "--yes"], ["worker", "start", "--drain"])


class BrokenFileTest(HomeTest):
    """A home without fsync in which nobody else writes, so that no file has to hold still before it is believed."""

    def setUp(self):
        former = tempfile.tempdir
        tempfile.tempdir = "/dev/shm" if os.name == "posix" and os.access("/dev/shm", os.W_OK) else None  # in memory, if that can be
        try:
            super().setUp()
        finally:
            tempfile.tempdir = former
        self._runs = 0
        self._clock = 1700000000000000000
        self.addCleanup(set_everywhere("_SETTLED", 0))
        self.write("config.json", '{"fsync": false}')

    def write(self, name, content):
        """Make a file in the home hold this, with a time of its own: two files of one size within a tick of the clock could not be told
        apart."""
        super().write(name, content)
        self._clock += 1000000000
        os.utime(self.path(name), ns=(self._clock, self._clock))

    def run_inside(self, *arguments):
        """Run a command in this process: (exit code, stdout, stderr). A traceback is a failure."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
        self._runs += 1
        if self._runs % 100 == 0:
            gc.collect()  # what the program leaves open until its process ends
        former = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = streams
        try:
            code = main.main(["--home", self.home] + list(arguments))
        finally:
            sys.stdout, sys.stderr = former
        for stream in streams:
            stream.flush()
        out, err = [stream.buffer.getvalue().decode("utf-8") for stream in streams]
        self.assertNotEqual(code, 3, err)
        self.assertNotIn("Traceback", err)
        return code, out, err

    def beside(self):
        """The copies that were kept beside the files, as name: bytes."""
        return {name: self.read(name) for name in os.listdir(self.home) if ".broken-" in name or ".torn-" in name}

    def forget_copies(self):
        """Remove what was kept beside the files."""
        for name in self.beside():
            os.unlink(self.path(name))

    def assert_refused(self, arguments, name="jobs.json"):
        """A command is refused in one line that names the place in that file, and changes nothing; that line."""
        before, copies = self.read(name), self.beside()
        code, out, err = self.run_inside(*arguments)
        self.assertEqual((code, out), (1, ""), err)
        self.assertEqual((err.count("\n"), err.startswith("queuectl: error: ")), (1, True), err)
        self.assertIn(self.path(name), err)
        self.assertRegex(err, PLACE)
        self.assertEqual((self.read(name), self.beside()), (before, copies))
        return err

    def sample(self):
        """The bytes of a job file of ours with a job in every state, a wait, a page that is padded, and texts of all kinds."""
        for name in ("jobs.json", "dlq.json"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.forget_notes()
        manager = self.manager(fsync=False, max_retries=0)
        manager.enqueue([{"id": "done", "command": "true"}, {"id": "dead", "command": "false"}, {"id": "runs", "command": "sleep 1"}],
                        self.home, 1700000000)
        manager.record(manager.claim("worker-1", 1700000001), Outcome(0, None), 1700000002)
        manager.record(manager.claim("worker-2", 1700000003), Outcome(7, FAILED), 1700000004, "its last words")
        manager.claim("worker-3", 1700000005)
        manager.enqueue([{"id": "waits", "command": "exit 1", "own": {"é": [1, 2.5, None, "}\n]"]}}], self.home, 1700000006)
        waiting = self.manager(fsync=False)
        waiting.record(waiting.claim("worker-4", 1700000007), Outcome(1, FAILED), 1700000008)
        manager.enqueue([{"id": "long ü 🚀", "command": "echo " + "x" * 1500 + ' "{\'id\': 1}"'}, {"id": "last", "command": "true"}],
                        self.home, 1700000009)
        self.assertEqual([job.state for job in manager.jobs()], [COMPLETED, DEAD, PROCESSING, PENDING, PENDING, PENDING])
        self.originals = self.records()
        return self.read("jobs.json")

    def listed(self):
        """(exit code, the jobs that `list --json` shows, without what follows from them, stderr)."""
        code, out, err = self.run_inside("list", "--json")
        shown = json.loads(out) if code == 0 else None
        for job in shown or ():
            for name in list(job)[list(job).index("worker") + 1:]:
                del job[name]
        return code, shown, err

    def assert_same(self, shown, record):
        """A job that is shown has all that a record says, and the defaults for what it does not say."""
        for name, value in dict(DEFAULTS, **record).items():
            if name in TIMES and value is not None and shown.get(name) != value:
                self.assertEqual(parse_time(shown[name]), parse_time(value), name)
            elif not (name == "created_at" and not value) and not (name == "id" and type(value) in (int, float)):
                self.assertEqual(shown.get(name), value, name)
