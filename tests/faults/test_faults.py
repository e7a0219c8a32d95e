"""Nothing acknowledged is lost: every write, fsync, replace and truncate of every operation fails once, and is the last one once.

The model is SQLite's: fail the Nth operation, for every N, until the command completes unfaulted; then check what must always hold.
The faults are put into a forked child, never into the product. QUEUECTL_FAULTS=all makes the batches larger.
"""
from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import time
import unittest

import main
from cli import salvage
from core.job import COMPLETED, DEAD, FAILED, PENDING, PROCESSING, Outcome
from execution.recovery import DeadWorker
from execution.worker_files import WorkerProcess
from storage.claims import Finished
from tests.support.forked import end_of, start_forked
from tests.support.home import HomeTest, replace_call, set_everywhere

BATCH = 20000 if os.environ.get("QUEUECTL_FAULTS") == "all" else 60
KINDS = ("ENOSPC", "EIO", "short", "kill", "torn")
PATCHED = ("write", "pwrite", "fsync", "replace", "ftruncate")
PAGE = 4096


class Faults:
    """Patches os in this process so that operation number `nth` (from 1) goes wrong in a certain way; counts the operations."""

    def __init__(self, nth, kind):
        self.count = 0
        self._nth = nth
        self._kind = kind
        for name in PATCHED:
            original = getattr(os, name)
            patched = self._patch(name, original)
            replace_call(os, name, patched)

    def _patch(self, name, original):
        def operation(*arguments):
            if name == "write" and arguments[0] <= 2:
                return original(*arguments)
            self.count += 1
            if self.count != self._nth:
                return original(*arguments)
            return self._fail(name, original, arguments)

        return operation

    def _fail(self, name, original, arguments):
        kind = self._kind
        writes = name in ("write", "pwrite")
        if kind in ("ENOSPC", "EIO"):
            number = getattr(errno, kind)
            raise OSError(number, os.strerror(number))
        if kind == "short" and writes:
            return original(arguments[0], arguments[1][:len(arguments[1]) // 2], *arguments[2:])
        if kind == "torn" and name == "pwrite":  # the kernel stops between two pages, never within one
            first = PAGE - arguments[2] % PAGE
            original(arguments[0], arguments[1][:first], arguments[2])
        else:
            original(*arguments)
        if kind != "short":
            os.kill(os.getpid(), signal.SIGKILL)
        return None


class Trace:
    """Patches os in this process so that each write, fsync and replace is noted, with the name of the file it went to."""

    def __init__(self, home):
        self.steps = []
        self._home = home
        self._paths = {}  # descriptor: what was opened
        for name in ("open", "dup", "write", "pwrite", "fsync", "replace"):
            original = getattr(os, name)
            patched = self._patch(name, original)
            replace_call(os, name, patched)

    def _patch(self, name, original):
        def operation(*arguments):
            result = original(*arguments)
            if name == "open":
                self._paths[result] = arguments[0]
            elif name == "dup":
                self._paths[result] = self._paths.get(arguments[0], "")
            elif name == "replace":
                self.steps.append((name, os.path.basename(arguments[1])))
            elif arguments[0] > 2:
                path = self._paths.get(arguments[0], "")
                self.steps.append((name, "home" if path == self._home else os.path.basename(path)))
            return result

        return operation


@unittest.skipUnless(hasattr(os, "fork"), "faults are injected into a forked child")
class FaultTest(HomeTest):
    """Each test is one operation under every fault."""

    points = 0

    def setUp(self):
        super().setUp()
        self.addCleanup(set_everywhere("_SETTLED", 0))  # nothing but the test writes here, so that no file has to hold still first

    @classmethod
    def tearDownClass(cls):
        sys.stderr.write("\n%d fault points\n" % FaultTest.points)

    # -- one faulted run

    def faulted(self, operation, nth, kind):
        """Run `operation()` in a child with one fault: (how the child ended, how many operations it did or None, its stdout, stderr)."""
        out, err = self.path("out"), self.path("err")

        def work():
            faults = Faults(nth, kind)
            try:
                return operation()
            finally:
                if faults.count < nth:
                    sys.stderr.write("unfaulted\n")

        code = end_of(start_forked(work, out, err))  # I5: it does not hang
        with open(out, encoding="utf-8") as file:
            stdout = file.read()
        with open(err, encoding="utf-8") as file:
            stderr = file.read()
        self.assertNotIn("Traceback", stderr, "I4")
        self.assertIn(code, (-signal.SIGKILL,) if code < 0 and kind in ("kill", "torn") else (0, 1), stderr)
        return stdout, stderr

    def sweep(self, prepare, operation, check, mend=None):
        """Fault every operation in every way. `prepare()` makes the home, `operation()` runs in the child, `check(stdout, stderr)` says
        what must hold besides I1 to I5. `mend()` is done first, for what a user would do again."""
        for kind in KINDS:
            nth = 0
            while True:
                nth += 1
                self.fresh_home()
                prepare()
                stdout, stderr = self.faulted(operation, nth, kind)
                with self.subTest(kind=kind, nth=nth):
                    if mend is not None:
                        mend()
                    self.check_files()
                    check(stdout, stderr)
                if "unfaulted" in stderr:
                    break
                self.assertLess(nth, 500)
                FaultTest.points += 1

    def fresh_home(self):
        """An empty home under the same name."""
        for folder, _, names in os.walk(self.home):
            for name in names:
                os.unlink(os.path.join(folder, name))

    def check_files(self):
        """I2 and I3, after the next command that changes both files."""
        manager = self.manager(max_retries=0)
        manager.enqueue([{"id": "probe", "command": "true"}], "/", time.time())
        job = manager.claim("probe-1", time.time())
        self.assertIsNotNone(manager.record(job, None, time.time())[0])
        self.records()
        if os.path.exists(self.path("dlq.json")):
            self.records("dlq.json")
        dead = {job.key for job in manager.dead()}
        for job in manager.jobs():
            self.assertEqual(job.key in dead, job.state == DEAD, "I3: %s %s" % (job.id, job.state))

    # -- what is there

    def ids(self):
        """The ids in jobs.json but for the probe's, in order."""
        return [record["id"] for record in self.records() if record["id"] != "probe"]

    def state(self, job_id):
        """The state of a job."""
        return [record["state"] for record in self.records() if record["id"] == job_id][-1]

    def add(self, *ids):
        """Add jobs, unfaulted."""
        self.manager().enqueue([{"id": job_id, "command": "true"} for job_id in ids], "/", time.time())

    def command(self, *arguments):
        """A function that runs a command of the program."""
        return lambda: main.main(["--home", self.home] + list(arguments))

    # -- the operations

    def test_adding_one_job_is_done_or_not_done(self):
        def check(stdout, stderr):
            added = [job_id for job_id in self.ids() if job_id == "new"]
            self.assertLessEqual(len(added), 1)
            if "added" in stdout:
                self.assertEqual(added, ["new"], "I1")
            if stderr.startswith("queuectl: error") and "not confirmed" not in stderr:
                self.assertEqual(added, [], stderr)
            self.assertEqual(self.ids()[:2], ["a", "b"])

        self.sweep(lambda: self.add("a", "b"), self.command("enqueue", "--id", "new", "--", "true"), check)

    def test_the_first_job_of_all_is_done_or_not_done(self):
        def check(stdout, stderr):
            if "added" in stdout:
                self.assertEqual(self.ids(), ["new"], "I1")

        self.sweep(lambda: None, self.command("enqueue", "--id", "new", "--", "true"), check)

    def test_adding_many_jobs_adds_all_or_none(self):
        path = os.path.join(self.home + ".many")
        self.addCleanup(os.unlink, path)
        with open(path, "w", encoding="utf-8") as file:
            for number in range(BATCH):
                file.write(json.dumps({"id": "new%d" % number, "command": "true", "pad": "x" * (number % 700)}) + "\n")

        def check(stdout, stderr):
            added = len(self.ids()) - 1
            self.assertIn(added, (0, BATCH))
            if "added" in stdout:
                self.assertEqual(added, BATCH, "I1")
            if stderr.startswith("queuectl: error") and "not confirmed" not in stderr:
                self.assertEqual(added, 0, stderr)

        self.sweep(lambda: self.add("a"), self.command("enqueue", "--file", path), check)

    def test_a_claim_loses_no_job(self):
        def check(stdout, stderr):
            self.assertEqual(self.ids(), ["a", "b"])
            self.assertEqual(self.state("b"), PENDING)

        self.sweep(lambda: self.add("a", "b"), lambda: print(self.manager().claim("worker-1", time.time()).id), check)

    def outcome(self, outcome, allowed, **settings):
        """Sweep over the recording of an outcome; afterwards the job is in one of the allowed states."""
        held = []

        def prepare():
            self.add("a", "b")
            held[:] = [self.manager().claim("worker-1", time.time())]

        def check(stdout, stderr):
            self.assertEqual(self.ids(), ["a", "b"])
            self.assertIn(self.state("a"), allowed)
            if "recorded" in stdout:
                self.assertEqual(self.state("a"), allowed[-1])

        def operation():
            after, _ = self.manager(**settings).record(held[0], outcome, time.time(), "the last line")
            print("recorded", after.state)

        self.sweep(prepare, operation, check)

    def test_a_completed_job_is_recorded_or_still_running(self):
        self.outcome(Outcome(0, None), (PROCESSING, "completed"))

    def test_a_failed_job_is_recorded_or_still_running(self):
        self.outcome(Outcome(3, FAILED), (PROCESSING, PENDING))

    def test_a_job_moves_to_the_dlq_whole_or_not_at_all(self):
        self.outcome(Outcome(3, FAILED), (PROCESSING, DEAD), max_retries=0)

    def test_of_several_jobs_each_is_recorded_or_still_running_and_the_next_are_found(self):
        held = []

        def prepare():
            self.add("a", "b", "c", "d", "e", "f")
            manager = self.manager()
            held[:] = [manager.claim("worker-%d" % number, time.time()) for number in range(3)]

        def operation():
            manager = self.manager(max_retries=0)
            now = time.time()
            ends = [Finished(job, outcome, now, "", 0.0) for job, outcome in zip(held, (Outcome(0, None), Outcome(3, FAILED), None))]
            first = manager.claim("worker-3", now)
            print("claimed", first.id)
            results, following = manager.finish_and_claim(ends, now, ("worker-4", "worker-5"))
            for job, after in zip(held, results):
                print("recorded", job.id, after.state)
            for job in following:
                print("claimed", job.id)
            while True:
                job = manager.claim("worker-9", now)
                if job is None:
                    print("no more")
                    return
                print("claimed", job.id)

        def check(stdout, stderr):
            self.assertEqual(self.ids(), list("abcdef"))
            for job_id, states in (("a", (PROCESSING, COMPLETED)), ("b", (PROCESSING, DEAD)), ("f", (PENDING, PROCESSING))):
                self.assertIn(self.state(job_id), states)
            said = [line.split() for line in stdout.splitlines()]
            for line in said:
                if line[0] == "recorded" and line[1] != "c":
                    self.assertEqual(self.state(line[1]), line[2])
            claimed = sorted(line[1] for line in said if line[0] == "claimed")
            self.assertEqual(len(set(claimed)), len(claimed))
            if ["no", "more"] in said:
                self.assertLessEqual(set("def"), set(claimed))

        self.sweep(prepare, operation, check)

    def bury(self, *ids):
        """Let jobs die, unfaulted."""
        self.add(*ids)
        manager = self.manager(max_retries=0)
        for number, _ in enumerate(ids):
            manager.record(manager.claim("worker-%d" % number, time.time()), Outcome(3, FAILED), time.time(), "the last line")

    def test_a_retried_job_is_dead_or_pending(self):
        def check(stdout, stderr):
            self.assertEqual(self.ids(), ["a", "b", "c"])
            if "back in the queue" in stdout:
                self.assertEqual(self.state("b"), PENDING)

        self.sweep(lambda: self.bury("a", "b", "c"), self.command("retry", "b"), check)

    def test_all_retried_jobs_are_dead_or_pending(self):
        def check(stdout, stderr):
            self.assertEqual(self.ids(), ["a", "b", "c"])
            if "back in the queue" in stdout:
                self.assertNotIn(DEAD, [self.state(job_id) for job_id in "abc"])

        self.sweep(lambda: self.bury("a", "b", "c"), self.command("retry", "--all"), check)

    def test_a_job_that_comes_back_with_what_died_because_of_it_is_dead_or_pending(self):
        def prepare():
            self.bury("a")
            self.manager().enqueue([{"id": "b", "command": "true", "after": ["a"]}, {"id": "c", "command": "true"}], "/", time.time())
            self.manager().claim("worker-9", time.time())

        def check(stdout, stderr):
            self.assertEqual(self.ids(), ["a", "b", "c"])
            if "with 1 that died because of it: b" in stdout:
                self.assertEqual([self.state(job_id) for job_id in "ab"], [PENDING, PENDING])
            self.assertIn(self.state("b"), (PENDING, DEAD))

        self.sweep(prepare, self.command("retry", "a"), check)

    def test_an_edited_dead_job_is_wholly_as_before_or_as_after(self):
        def check(stdout, stderr):
            self.assertEqual(self.ids(), ["a", "b"])
            command = self.manager().find("a")[-1].command
            self.assertIn(command, ("true", "false"))
            if "changed" in stdout:
                self.assertEqual(command, "false")
            self.assertEqual(self.state("a"), DEAD)

        self.sweep(lambda: self.bury("a", "b"), self.command("edit", "a", "--", "false"), check)

    def test_removing_removes_what_it_says_and_no_more(self):
        def check(stdout, stderr):
            self.assertEqual([job_id for job_id in self.ids() if job_id != "b"], ["a", "c"])
            if "Removed" in stdout:
                self.assertEqual(self.ids(), ["a", "c"])

        self.sweep(lambda: self.bury("a", "b", "c"), self.command("remove", "b"), check)

    def test_cleaning_removes_what_it_says_and_no_more(self):
        def prepare():
            self.add("a", "b", "c")
            manager = self.manager()
            manager.record(manager.claim("worker-1", time.time()), Outcome(0, None), time.time())

        def check(stdout, stderr):
            self.assertEqual(self.ids()[-2:], ["b", "c"])
            if "Removed" in stdout:
                self.assertEqual(self.ids(), ["b", "c"])

        self.sweep(prepare, self.command("clean"), check)

    def test_purging_removes_what_it_says_and_no_more(self):
        def check(stdout, stderr):
            self.assertEqual([job_id for job_id in self.ids() if job_id != "b"], ["a", "c"])
            if "Removed" in stdout:
                self.assertEqual(self.ids(), ["a", "c"])

        self.sweep(lambda: self.bury("a", "b", "c"), self.command("dlq", "purge", "b"), check)

    def test_a_hand_edited_file_is_normalised_without_loss(self):
        def check(stdout, stderr):
            self.assertEqual([job_id for job_id in self.ids() if job_id != "new"], ["a", "b"])
            if "added" in stdout:
                self.assertEqual(self.ids(), ["a", "b", "new"])

        def prepare():
            self.write("jobs.json", '[{"id": "a", "command": "true"},\n\n  {"command": "true", "id": "b", "mine": {"x": [1, 2]}}]')

        self.sweep(prepare, self.command("enqueue", "--id", "new", "--", "true"), check)

    def test_recovery_itself_may_be_cut_short(self):
        for retries, end in ((3, PENDING), (0, DEAD)):
            def prepare():
                self.add("a", "b")
                self.manager().claim("deadbeef-1", time.time())

            def operation(retries=retries):
                manager = self.manager(max_retries=retries)
                dead = DeadWorker(None, WorkerProcess("deadbeef", 0, 0, "", [], ""), self.home)
                while not dead.step(manager):
                    time.sleep(0.01)
                print("recovered")

            def check(stdout, stderr, end=end):
                self.assertEqual(self.ids(), ["a", "b"])
                if "recovered" in stdout:
                    self.assertEqual(self.state("a"), end)

            with self.subTest(retries=retries):
                self.sweep(prepare, operation, check)

    def test_a_repair_keeps_the_original_and_all_that_can_be_read(self):
        broken = '[{"id": "a", "command": "true"}, {"id": "b", "command": ?}, {"id": "c", "command": "true"}]'

        def mend():
            if self.read("jobs.json") == broken.encode("utf-8"):
                salvage.repair(self.path("jobs.json"), self.manager())

        def check(stdout, stderr):
            self.assertEqual(self.ids(), ["a", "c"])
            copies = [self.read(name) for name in os.listdir(self.home) if ".broken-" in name]
            self.assertIn(broken.encode("utf-8"), copies)

        self.sweep(lambda: self.write("jobs.json", broken), self.command("doctor", "--repair"), check, mend)


@unittest.skipUnless(hasattr(os, "fork") and sys.platform != "darwin", "calls are seen in a forked child; macOS syncs by fcntl(2)")
class OrderTest(HomeTest):
    """A power cut cannot be tried here; the order of writes and fsyncs that survives one can be looked at."""

    def traced(self, *arguments, operation=None):
        """The steps that a command (or an operation) takes, in a child: (operation, file) pairs, closed by ("say", what it printed)."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                sys.stdout = io.StringIO()
                trace = Trace(self.home)
                said = sys.stdout
                said.reconfigure = lambda **options: None
                write = said.write
                said.write = lambda text: trace.steps.append(("say", text)) or write(text)
                if operation is None:
                    main.main(["--home", self.home] + list(arguments))
                else:
                    operation()
                os.write(writer, json.dumps(trace.steps).encode("utf-8"))
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            content = file.read()
        os.waitpid(child, 0)
        return [tuple(step) for step in json.loads(content.decode("utf-8"))]

    def assert_in_order(self, steps, *wanted):
        """Each of `wanted` follows the one before it in `steps`."""
        at = 0
        for step in wanted:
            self.assertIn(step, steps[at:], steps)
            at = steps.index(step, at) + 1

    def said(self, steps):
        """The first words that were printed."""
        return next(step for step in steps if step[0] == "say")

    def test_a_job_is_said_to_be_added_after_it_is_on_the_disk(self):
        self.manager().enqueue([{"id": "a", "command": "true"}], "/", time.time())
        steps = self.traced("enqueue", "--id", "new", "--", "true")
        self.assert_in_order(steps, ("pwrite", "jobs.json"), ("fsync", "jobs.json"), self.said(steps))
        last = max(number for number, step in enumerate(steps) if step == ("pwrite", "jobs.json"))
        self.assertIn(("fsync", "jobs.json"), steps[last:])

    def test_a_new_file_is_on_the_disk_before_its_name_and_its_name_before_anything_is_said(self):
        steps = self.traced("enqueue", "--id", "new", "--", "true")
        self.assert_in_order(steps, ("fsync", "jobs.json.new"), ("replace", "jobs.json"), ("fsync", "home"), self.said(steps))

    def test_a_retried_job_is_on_the_disk_before_it_is_said_to_be_back(self):
        manager = self.manager(max_retries=0)
        manager.enqueue([{"id": "a", "command": "true"}], "/", time.time())
        manager.record(manager.claim("worker-1", time.time()), Outcome(3, FAILED), time.time())
        steps = self.traced("retry", "a")
        self.assert_in_order(steps, ("pwrite", "jobs.json"), ("fsync", "jobs.json"), ("fsync", "dlq.json.new"), ("replace", "dlq.json"),
                             ("fsync", "home"), self.said(steps))

    def test_a_retried_job_that_only_the_dead_letter_file_has_is_on_the_disk_before_its_entry_goes(self):
        for setting in ("true", "false"):
            with self.subTest(fsync=setting):
                self.write("config.json", '{"fsync": %s}' % setting)
                for name, job_id in (("jobs.json", "other"), ("dlq.json", "only")):
                    self.write(name, '[{"id": "%s", "command": "true", "state": "%s", "created_at": "2026-11-24T02:09:06Z"}]'
                               % (job_id, "dead" if job_id == "only" else "completed"))
                self.manager().tidy("jobs.json")
                self.manager().tidy("dlq.json")
                steps = self.traced("retry", "only")
                self.assert_in_order(steps, ("pwrite", "jobs.json"), ("fsync", "jobs.json"), ("replace", "dlq.json"), self.said(steps))
                self.assertEqual(self.said(steps)[1], "Job 'only' is back in the queue.")

    def test_a_job_dies_in_the_dead_letter_file_first(self):
        manager = self.manager(max_retries=0)
        manager.enqueue([{"id": "a", "command": "true"}, {"id": "b", "command": "true"}], "/", time.time())
        manager.record(manager.claim("worker-1", time.time()), Outcome(3, FAILED), time.time())
        job = manager.claim("worker-2", time.time())
        steps = self.traced(operation=lambda: self.manager(max_retries=0).record(job, Outcome(3, FAILED), time.time()))
        self.assertEqual([step for step in steps if step[1] in ("jobs.json", "dlq.json")], [("pwrite", "dlq.json"), ("pwrite", "jobs.json")])

    def test_without_the_setting_no_change_in_place_is_synced(self):
        self.write("config.json", '{"fsync": false}')
        self.manager(fsync=False).enqueue([{"id": "a", "command": "true"}], "/", time.time())
        for arguments in (("enqueue", "--id", "new", "--", "true"), ("cancel", "a"), ("pause",), ("resume",)):
            steps = self.traced(*arguments)
            self.assertNotIn(("fsync", "jobs.json"), steps)
            self.assertNotIn(("fsync", "home"), steps)
            self.said(steps)

    def test_without_the_setting_a_rewritten_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(self):
        self.write("config.json", '{"fsync": false}')
        self.write("jobs.json", '[{"id": "a", "command": "true"}, {"id": "b", "command": "true", "state": "completed"}]')
        for arguments in (("enqueue", "--id", "new", "--", "true"), ("clean",), ("reset", "--yes")):
            with self.subTest(arguments):
                steps = self.traced(*arguments)
                self.assert_in_order(steps, ("fsync", "jobs.json.new"), ("replace", "jobs.json"), self.said(steps))
                self.assertNotIn(("fsync", "home"), steps)

    def test_pause_and_resume_are_on_the_disk_before_they_are_said(self):
        for name in ("pause", "resume"):
            steps = self.traced(name)
            self.assert_in_order(steps, ("fsync", "home"), self.said(steps))

    def test_an_fsync_that_failed_is_neither_tried_again_nor_passed_over(self):
        self.manager().enqueue([{"id": "a", "command": "true"}], "/", time.time())
        def add():
            calls = []

            def fsync(descriptor):
                calls.append(descriptor)
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            os.fsync = fsync
            code = main.main(["--home", self.home, "enqueue", "--id", "new", "--", "true"])
            return code if len(calls) == 1 else 90 + len(calls)

        self.assertEqual(end_of(start_forked(add, os.devnull, self.path("err"))), 1)
        self.assertIn(b"stored, but not confirmed on disk", self.read("err"))


if __name__ == "__main__":
    unittest.main()
