"""What a command says after a fault is so: "nothing was changed", "stored, but …", or done. For each operation each system call fails once,
or from then on, and what was said is compared with the files.

By default a part of the points is tried, chosen evenly; QUEUECTL_FAULTS=all tries all of them.
"""
from __future__ import annotations

import errno
import io
import json
import os
import sys
import traceback
import unittest

import helpers
import main
import worker_manager
from cli import adding, configuring, control, editing, listing, logs, status, tidying, waiting
from core import errors
from core.errors import CorruptFile
from core.job import COMPLETED, DEAD, FAILED, Outcome
from execution import on_finish
from storage import store
from tests.support.home import HomeTest, replace_call, set_everywhere

IMPORTED = (adding, configuring, control, editing, listing, logs, status, tidying, waiting, on_finish, worker_manager)  # so that no import fails in a child
EVERY = os.environ.get("QUEUECTL_FAULTS") == "all"
WRITES = ("write", "pwrite", "fsync", "replace", "ftruncate")
OTHERS = ("open", "pread", "stat", "fstat", "dup", "unlink", "mkdir", "utime", "listdir")
NOW = 1795486146.5
NOTHING, STORED, IN_ONE, UNKNOWN = "nothing was ", "stored, but not confirmed", "stored in ", "in part"


class Faults:
    """Makes system call number `nth` (from 1) of this process fail with an error, and with `for_good` all writes behind it; counts them."""

    def __init__(self, nth, number, for_good):
        self.calls = []
        self._nth, self._number, self._for_good = nth, number, for_good
        for name in WRITES + OTHERS:
            original = getattr(os, name)
            patched = self._patch(name, original)
            replace_call(os, name, patched)

    def _patch(self, name, original):
        def operation(*arguments, **options):
            if name == "write" and arguments[0] <= 2:
                return original(*arguments)
            self.calls.append(name)
            count = len(self.calls)
            if count == self._nth or (self._for_good and count > self._nth > 0 and name in WRITES):
                raise OSError(self._number, os.strerror(self._number), *arguments[:1])
            return original(*arguments, **options)

        return operation


@unittest.skipUnless(hasattr(os, "fork") and hasattr(os, "pread"), "faults are injected into a forked child")
class SaidTest(HomeTest):
    """Each test is one operation."""

    points = 0

    def setUp(self):
        super().setUp()
        self.addCleanup(set_everywhere("_SETTLED", 0))

    @classmethod
    def tearDownClass(cls):
        sys.stderr.write("\n%d fault points\n" % SaidTest.points)

    # -- one run

    def run_with(self, operation, nth, number, for_good):
        """Run `operation()` in a child: (exit code, what it printed, the system calls it made)."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            said, code, write = io.StringIO(), 99, os.write
            try:
                sys.stdout = sys.stderr = said
                said.reconfigure = lambda **options: None
                faults = Faults(nth, number, for_good)
                try:
                    code = operation() or 0
                except BaseException:
                    traceback.print_exc()
                write(writer, json.dumps([said.getvalue(), faults.calls]).encode("utf-8"))
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            content = file.read()
        return (os.WEXITSTATUS(os.waitpid(child, 0)[1]),) + tuple(json.loads(content.decode("utf-8")))

    def fresh_home(self):
        """An empty home under the same name."""
        for folder, _, names in os.walk(self.home):
            for name in names:
                os.unlink(os.path.join(folder, name))

    def standing(self):
        """((what jobs.json says, which entries of dlq.json count, what else there is), all entries), as the next command sees it."""
        manager = self.manager()
        try:
            jobs = [(job.id, job.state, job.command, job.attempts) for job in manager.jobs()]
        except CorruptFile:
            jobs = [("as it was", "", self.read("jobs.json"), 0)]
        with store.OpenFiles(manager.store.lock, manager.store.dlq_json), manager.store.dlq_json.view(locked=True) as view:
            entries = sorted(record["id"] for _, record in view.records())
        alive = {job_id for job_id, state, _, _ in jobs if state != DEAD}
        return (jobs, sorted(set(entries) - alive), manager.paused(), helpers.read_config(self.path("config.json"))), entries

    def sweep(self, prepare, operation):
        """Let every system call of an operation fail, and compare what it says with what it did."""
        self.fresh_home()
        prepare()
        before = self.standing()
        code, said, calls = self.run_with(operation, 0, 0, False)
        self.assertEqual(code, 0, said)
        after = self.standing()
        for number, for_good in ((errno.EIO, False), (errno.ENOSPC, True)):
            for nth, name in enumerate(calls, 1):
                if (for_good and name not in WRITES) or (not EVERY and nth % (3 if for_good else 8 if name in OTHERS else 1)):
                    continue
                SaidTest.points += 1
                self.fresh_home()
                prepare()
                code, said, _ = self.run_with(operation, nth, number, for_good)
                with self.subTest(nth=nth, call=name, error=errno.errorcode[number], for_good=for_good):
                    self.assertNotIn("Traceback", said)
                    self.compare(code, said, before, after)

    def compare(self, code, said, before, after):
        """Compare what was said with what is so."""
        now = self.standing()
        told = "exit %d, %r" % (code, said)
        if code == 0:
            if "noted in jobs.json alone" in said:
                now, after = now[0][:1], after[0][:1]
            self.assertEqual(now[0], after[0], told)
        elif STORED in said or "are removed, but" in said:
            self.assertEqual(now[0], after[0], told)
        elif IN_ONE in said:
            self.assertNotIn(NOTHING, said)
            held = said[said.index(IN_ONE):].split(", but not in ")
            self.assertEqual(now[0][0], (after if "jobs.json" in held[0] else before)[0][0], told)
            self.assertEqual(now[1], (after if "dlq.json" in held[0] else before)[1], told)
        elif UNKNOWN not in said:
            self.assertEqual(now[0], before[0], told)  # also where nothing is said of it
            self.assertNotIn("tored", said)

    # -- what there is

    def add(self, *ids):
        """Add jobs, unfaulted."""
        self.manager(fsync=False).enqueue([{"id": job_id, "command": "true"} for job_id in ids], "/", NOW)

    def some(self):
        """A job in each state but running."""
        self.add("done", "dead", "waits")
        manager = self.manager(fsync=False, max_retries=0)
        manager.record(manager.claim("worker-1", NOW), Outcome(0, None), NOW)
        manager.record(manager.claim("worker-2", NOW), Outcome(3, FAILED), NOW, "its last words")

    def command(self, *arguments):
        """A function that runs a command of the program."""
        return lambda: main.main(["--home", self.home] + list(arguments))

    # -- the operations

    def test_enqueue_of_the_first_job(self):
        self.sweep(lambda: None, self.command("enqueue", "--id", "new", "--", "true"))

    def test_enqueue(self):
        self.sweep(self.some, self.command("enqueue", "--id", "new", "--", "true"))

    def test_enqueue_into_a_file_that_someone_else_wrote(self):
        self.sweep(lambda: self.write("jobs.json", '[{"id": "a", "command": "true"}]'), self.command("enqueue", "--id", "new", "--", "true"))

    def test_retry(self):
        self.sweep(self.some, self.command("retry", "dead"))

    def test_retry_of_a_job_that_only_dlq_json_has(self):
        def prepare():
            self.some()
            self.write("jobs.json", "[]")
            self.manager().tidy("jobs.json")

        self.sweep(prepare, self.command("retry", "--all"))

    def test_retry_of_a_completed_job_and_of_one_with_what_died_because_of_it(self):
        self.sweep(self.some, self.command("retry", "done"))
        self.sweep(self.with_follower, self.command("retry", "dead"))

    def with_follower(self):
        """A dead job, and one that died because of it."""
        self.some()
        self.manager(fsync=False).enqueue([{"id": "follower", "command": "true", "after": ["dead"]}], "/", NOW)
        manager = self.manager(fsync=False)
        manager.record(manager.claim("worker-3", NOW), Outcome(0, None), NOW)

    def test_cancel(self):
        self.sweep(self.some, self.command("cancel", "waits"))
        self.sweep(self.some, self.command("cancel", "--all"))

    def test_remove(self):
        for job_id in ("done", "dead", "waits"):
            self.sweep(self.some, self.command("remove", job_id))

    def test_purge(self):
        self.sweep(self.some, self.command("dlq", "purge", "--all"))

    def test_clean(self):
        self.sweep(self.some, self.command("clean"))
        self.sweep(self.some, self.command("clean", "--state", "completed,dead"))

    def test_reset(self):
        self.sweep(self.some, self.command("reset", "--yes"))

    def test_pause_and_resume(self):
        self.sweep(self.some, self.command("pause"))
        self.sweep(lambda: self.write("paused", ""), self.command("resume"))

    def test_repair(self):
        def repair():
            code = main.main(["--home", self.home, "doctor", "--repair"])
            return 0 if code == 1 and "saved 1 job" in sys.stdout.getvalue() else code  # not all of it could be read

        self.sweep(lambda: self.write("jobs.json", '[{"id": "a", "command": "true"}, oops]'), repair)

    def test_a_setting(self):
        self.sweep(lambda: self.write("config.json", '{"max_retries": 2}'), self.command("config", "set", "max_retries", "5"))
        self.sweep(lambda: self.write("config.json", '{"max_retries": 2}'), self.command("config", "unset", "max_retries"))

    def test_edit(self):
        def edit():
            manager = self.manager()
            try:
                manager.edit(manager.find("waits")[-1], {"id": "waits", "command": "false"}, NOW)
            except (errors.QueueError, OSError) as error:
                print(error)
                return 1
            return 0

        self.sweep(self.some, edit)
        self.sweep(self.some, self.command("edit", "dead", "--priority", "5", "--", "false"))

    def test_an_end_is_recorded(self):
        for outcome, state in ((Outcome(0, None), COMPLETED), (Outcome(3, FAILED), DEAD)):
            held = []

            def prepare(held=held):
                self.some()
                held[:] = [self.manager(fsync=False).claim("worker-9", NOW)]

            def record(held=held, outcome=outcome, state=state):
                manager = self.manager(max_retries=0)
                try:
                    return 0 if manager.record(held[0], outcome, NOW)[0].state == state else 1
                except (errors.QueueError, OSError) as error:
                    print(error)
                    return 1

            self.sweep(prepare, record)


if __name__ == "__main__":
    unittest.main()
