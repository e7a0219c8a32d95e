"""jobs.json saved by an editor while real workers run: no worker breaks, no running job is started twice, no result is lost."""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import unittest

from storage.file_lock import FileLock
from storage.job_file import JobFile, Replaced
from storage.layout import COLUMNS
from storage.store import OpenFiles
from tests.support.home import DEADLINE, ROOT
from tests.support.workers import WorkerTest

# Says that it runs, and whether it does so already: a lock ends with the last process that has it. What follows it is a gate's name, which
# it waits at; "stubborn" does not care for TERM.
JOB = """\
import fcntl, os, signal, sys, time
me = os.environ["QUEUECTL_JOB_ID"]
def say(name):
    with open(name, "a") as file:
        file.write(me + "\\n")
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open("lock-" + me, "w") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("doubled")
    say("ran")
    while len(sys.argv) > 1 and os.path.isdir(os.environ["QUEUECTL_HOME"]) and not os.path.exists(sys.argv[1]):
        time.sleep(0.02)
"""


class EditorTest(WorkerTest):
    """A home with jobs that find out whether they run twice, and the two ways in which editors save."""

    def setUp(self):
        super().setUp()
        self.settings(kill_grace=1, max_retries=100)
        self.write("job.py", JOB)

    def add_job(self, job_id, *words):
        """Add a job that says that it runs."""
        self.add(job_id, " ".join([sys.executable, "-I", "-S", "job.py"] + list(words)))

    def ran(self):
        """The ids of the jobs that have started, once for each start."""
        return self.text("ran").split()

    def save_by_renaming(self, content):
        """Save as vim and most editors do: another file takes the name."""
        self.write("jobs.json.swp", content)
        os.replace(self.path("jobs.json.swp"), self.path("jobs.json"))

    def save_in_place(self, content):
        """Save as nano and `>` do: the file is empty, then half, then whole."""
        with open(self.path("jobs.json"), "wb", buffering=0) as file:
            time.sleep(0.01)
            file.write(content[:len(content) // 2])
            time.sleep(0.01)
            file.write(content[len(content) // 2:])

    def saves(self):
        """(name, function) of each way to save."""
        return (("by renaming", self.save_by_renaming), ("in place", self.save_in_place))

    def reset_home(self):
        """Forget what former jobs have left."""
        self.queue.reset()
        for name in os.listdir(self.home):
            if name in ("ran", "doubled", "go") or name.startswith("lock-"):
                os.unlink(self.path(name))

    def edited(self, job_id, **changes):
        """The array with one job changed, as an editor shows it."""
        records = self.records()
        for record in records:
            if record["id"] == job_id:
                record.update(changes)
        return json.dumps(records, indent=2, ensure_ascii=False).encode("utf-8")

    def assert_well(self, *workers):
        """These workers still run, and have not met a bug; no job ran twice at the same time."""
        for worker in workers:
            self.assertIsNone(worker.poll(), self.text(worker.words))
            self.assertNotIn("Traceback", self.text(worker.words))
        self.assertEqual(self.text("doubled"), "")


class TestSaves(EditorTest):
    """Saves of what is there, over and over."""

    def test_saves_while_jobs_come_and_go_break_no_worker_and_start_no_running_job_twice(self):
        workers = [self.worker("--count", "2"), self.worker("--count", "2")]
        for name, save in self.saves():
            with self.subTest(name):
                for number in range(24):
                    self.add_job("job%d" % number)
                for layout in range(5):
                    started = len(self.ran())
                    self.wait_for(lambda: len(self.ran()) > started or self.queue.count()["completed"] == 24, seconds=20)
                    content = self.read("jobs.json")
                    save(json.dumps(json.loads(content.decode("utf-8")), indent=layout).encode("utf-8") if layout % 2 else content)
                self.wait_for(lambda: self.queue.count()["completed"] == 24, seconds=20)
                self.assert_well(*workers)
                self.assertEqual(set(self.ran()), {"job%d" % number for number in range(24)})
                self.assertEqual([job.id for job in self.queue.jobs()], ["job%d" % number for number in range(24)])
            self.reset_home()
        self.stop(*workers)

    def test_a_file_that_is_empty_for_a_moment_is_not_believed_although_its_time_is_an_old_one(self):
        self.add_job("a")
        program = ("import os, sys, time; from core.settings import DEFAULTS; from tests.support.queue import Queue\n"  # the kernel sets the size before the time, when a file is truncated
                   "path, sleep = sys.argv[1], time.sleep\n"
                   "content = open(path, 'rb').read()\n"
                   "def go_on(seconds):\n"
                   "    if not os.path.getsize(path): open(path, 'wb').write(content)\n"
                   "    sleep(seconds)\n"
                   "time.sleep = go_on\n"
                   "open(path, 'wb').close()\n"
                   "os.utime(path, (1700000000, 1700000000))\n"
                   "manager = Queue(os.path.dirname(path), DEFAULTS, print)\n"
                   "manager.enqueue([{'id': 'b', 'command': 'true'}], '/', time.time())\n")
        subprocess.run([sys.executable, "-c", program, self.path("jobs.json")], cwd=ROOT, check=True, timeout=DEADLINE)
        self.assertEqual([job.id for job in self.queue.jobs()], ["a", "b"])

    def test_a_save_in_place_between_a_change_and_its_note_is_not_taken_for_what_was_changed(self):
        self.add_job("a")
        self.add_job("b")
        saved = json.dumps([{"id": "x", "command": "true"}, {"id": "y", "command": "true"}, {"id": "z", "command": "true"}] * 9, indent=2)
        lock = FileLock(self.path("run", "lock"))
        file = JobFile(self.path("jobs.json"), lock, 0, self.notices.append)
        place = next(self.queue.jobs()).place
        with contextlib.suppress(Replaced), OpenFiles(lock, file, change=True):
            file.put(place, file.line2(place))
            self.save_in_place(saved.encode("utf-8"))
            file.commit()
        self.assertEqual([job.id for job in self.manager(fsync=False).jobs()], ["x", "y", "z"] * 9)
        self.assertEqual(self.manager(fsync=False).count()["pending"], 27)
        self.add_job("c")
        self.assertEqual([record["id"] for record in self.records()], ["x", "y", "z"] * 9 + ["c"])

    def test_a_save_while_the_file_is_rewritten_is_not_overwritten(self):
        for name, save in self.saves():
            with self.subTest(name):
                self.add_job("a")
                self.add_job("b")
                saved = self.edited("a", own="a remark")

                def rows():
                    with file.view(locked=True) as view:
                        for number, (_, row) in enumerate(view.rows()):
                            if number:
                                save(saved)
                            yield row

                lock = FileLock(self.path("run", "lock"))
                file = JobFile(self.path("jobs.json"), lock, 0, self.notices.append)
                with contextlib.suppress(Replaced), OpenFiles(lock, file, change=True):
                    file.rewrite(rows())
                self.assertEqual([job.options.get("own") for job in self.manager(fsync=False).jobs()], ["a remark", None])
            self.reset_home()

    def test_a_save_loses_no_result_of_a_running_job(self):
        workers = [self.worker(), self.worker()]
        for name, save in self.saves():
            with self.subTest(name):
                self.add_job("a", "go")
                self.add_job("b", "go")
                self.wait_for(lambda: len(self.ran()) == 2)
                save(self.edited("a", own="a remark"))
                self.assertEqual(self.job("a").options["own"], "a remark")
                self.write("go", "")
                for job_id in ("a", "b"):
                    job = self.wait_for_state(job_id, "completed")
                    self.assertEqual((job.attempts, job.exit_code), (1, 0))
                self.assertEqual(sorted(self.ran()), ["a", "b"])
                self.assert_well(*workers)
            self.reset_home()
        self.stop(*workers)

    def test_jobs_typed_by_hand_meanwhile_run(self):
        worker = self.worker()
        for name, save in self.saves():
            with self.subTest(name):
                self.add_job("held", "go")
                self.wait_for(lambda: "held" in self.ran())
                content = self.read("jobs.json").rstrip()[:-1].rstrip()
                typed = [{"id": "typed %d" % number, "command": "echo typed >> typed"} for number in range(3)]
                save(content + b",\n" + b",\n".join(json.dumps(job).encode("ascii") for job in typed) + b"]")
                self.write("go", "")
                self.wait_for(lambda: self.queue.count()["completed"] == 4)
                self.assertEqual(self.text("typed").split(), ["typed"] * 3)
                self.assertEqual(self.ran(), ["held"])
                self.assert_well(worker)
                os.unlink(self.path("typed"))
            self.reset_home()
        self.stop(worker)


class TestLooks(EditorTest):
    """Who only looks writes nothing."""

    def test_a_worker_with_nothing_to_run_leaves_what_someone_else_wrote_as_it_is(self):
        job = {"id": "a", "command": "true"}
        for name, jobs, paused in (("an empty array", [], False), ("none that is pending", [dict(job, state="completed")], False),
                                   ("none that is due", [dict(job, run_at="2999-01-01T00:00:00.000000Z")], False),
                                   ("a pause", [job], True), ("nothing at all", None, False)):
            with self.subTest(name):
                self.queue.reset()
                self.save_by_renaming(b"" if jobs is None else json.dumps(jobs).encode("ascii"))
                os.utime(self.path("jobs.json"), (1700000000, 1700000000))
                if paused:
                    self.queue.pause()
                before = os.stat(self.path("jobs.json"))
                for manager in (self.queue, self.manager(fsync=False)):
                    for number in range(3):
                        self.assertIsNone(manager.claim("worker-%d" % number, time.time()))
                    self.assertEqual(manager.taken_away([]), [])
                after = os.stat(self.path("jobs.json"))
                self.assertEqual((after.st_ino, after.st_mtime_ns, after.st_size), (before.st_ino, before.st_mtime_ns, before.st_size))
                self.queue.resume()
        self.save_by_renaming(json.dumps([job]).encode("ascii"))
        self.assertEqual(self.queue.claim("worker-9", time.time()).id, "a")

    def test_a_save_in_place_that_stands_still_while_workers_look_loses_no_job(self):
        self.add("held", "exit 0", delay=3600)
        self.add("later", "exit 0", delay=3600)
        backup = self.read("jobs.json")
        worker = self.worker("--count", "2")
        self.add("first", "exit 0")
        self.wait_for_state("first", "completed")
        for stop in (0, len(backup) - 150):
            self.queue.reset()
            with self.subTest(stop), open(self.path("jobs.json"), "wb", buffering=0) as file:
                file.write(backup[:stop])
                looks = self.manager(fsync=False)
                end = time.monotonic() + 0.7
                while time.monotonic() < end:
                    looks.count()
                    time.sleep(0.05)
                file.write(backup[stop:])
            self.wait_for(lambda: [job.id for job in self.queue.jobs()] == ["held", "later"])
            self.assertEqual(self.read("jobs.json"), backup)
            self.assert_well(worker)
        self.stop(worker)

    def test_running_jobs_of_nobody_in_a_file_without_pending_ones_are_given_back(self):
        worker = self.worker()
        for save in (self.save_by_renaming, self.save_in_place):
            save(json.dumps([{"id": "a", "command": "true", "state": "processing", "attempts": 1, "worker": "gone-0"}]).encode("ascii"))
            self.wait_for_state("a", "completed")
        self.stop(worker)


class TestHistoryUndone(EditorTest):
    """Saves of what was there some time ago, or of what never was."""

    def test_a_running_job_that_is_set_back_to_pending_is_not_started_while_it_runs(self):
        self.settings(kill_grace=0.5, max_retries=100)
        for (processes, threads), (name, save) in zip(((1, 2), (2, 1)), self.saves()):
            workers = [self.worker("--count", str(threads)) for _ in range(processes)]
            with self.subTest(name, processes=processes):
                self.add_job("a", "go", "stubborn")
                self.wait_for(lambda: self.ran() == ["a"])
                save(self.edited("a", state="pending", attempts=0, started_at=None, worker=None))
                self.wait_for(lambda: len(self.ran()) == 2)  # the first one was killed after its grace
                self.assert_well(*workers)
                self.write("go", "")
                self.assertEqual(self.wait_for_state("a", "completed").attempts, 1)
            self.stop(*workers)
            self.reset_home()

    def test_a_job_that_completed_meanwhile_and_is_processing_again_runs_again_and_completes(self):
        workers = [self.worker("--count", "2"), self.worker()]
        for name, save in self.saves():
            with self.subTest(name):
                self.add_job("a", "go")
                self.wait_for(lambda: self.ran() == ["a"])
                running = self.edited("a")
                self.write("go", "")
                self.wait_for_state("a", "completed")
                save(running)
                self.add_job("b")
                self.wait_for(lambda: self.queue.count()["completed"] == 2)
                self.assert_well(*workers)
                self.assertEqual(sorted(self.ran()), ["a", "a", "b"])
            self.reset_home()
        self.stop(*workers)

    def test_a_running_job_that_gets_another_id_runs_again_though_its_end_was_put_off_beside_short_ones(self):
        self.settings(kill_grace=10)
        self.add("a", "trap 'sleep 1.2; exit 0' TERM; touch here-a; while [ -d \"$QUEUECTL_HOME\" ] && [ ! -e go ]; do sleep 0.05; done")
        self.queue.enqueue([{"id": "short-%d" % number, "command": "sleep 0.005"} for number in range(600)], self.home, time.time())
        worker = self.worker("--drain", "--count", "2")
        self.wait_for_file("here-a")
        with self.queue.store.lock:
            self.save_by_renaming(self.read("jobs.json").replace(b'"id": "a"', b'"id": "b"'))
        self.wait_for(lambda: "its result is not recorded" in self.text(worker.words))
        self.write("go", "")
        self.assertEqual(worker.wait(DEADLINE), 0)
        self.assertEqual(self.queue.count()["completed"], 601)
        self.assertEqual(self.job("b").attempts, 2)

    def test_the_line_of_a_running_job_that_is_copied_to_make_another_job_runs_too(self):
        for name, place in (("behind it", 1), ("before it", 0)):
            with self.subTest(name):
                self.add_job("a", "go")
                worker = self.worker("--drain", "--count", "4")
                self.wait_for(lambda: self.ran() == ["a"])
                records = self.records()
                records[place:place] = [dict(records[0], id="b"), dict(records[0], id="c", created_at=None)]
                self.save_by_renaming(json.dumps(records).encode("utf-8"))
                self.add("meanwhile", "sleep 1.5")  # until the worker has seen what there is
                self.wait_for_state("meanwhile", "completed")
                self.write("go", "")
                self.wait_for(lambda: self.queue.count()["completed"] == 4, seconds=20)
                self.assertEqual((self.text("doubled"), set(self.ran())), ("", {"a", "b", "c"}))
                self.assert_ended(worker)
            self.reset_home()

    def test_two_lines_that_are_copied_make_another_job(self):
        """Yank and paste: the file stays in our own layout, but for two equal keys."""
        self.add("a", "echo $QUEUECTL_JOB_ID >> ran; exit 1", max_retries=0)
        self.drain(code=1)
        first, second = self.read("jobs.json").split(b"\n")[1:3]
        for name, save in self.saves():
            with self.subTest(name):
                before = self.text("ran").count("a")
                lines = self.read("jobs.json").split(b"\n")
                save(b"\n".join([b"[", first, second + b","] + lines[1:]))
                copies = (len(lines) - 3) // 2 + 1
                self.assertEqual(len({job.key for job in self.queue.find("a")}), copies)
                self.assertIn("%d jobs back in the queue" % copies, self.succeed("retry", "a"))
                self.assertEqual(self.queue.count()["pending"], copies)
                self.drain(code=1)
                self.assertEqual(self.text("ran").count("a") - before, copies)
                self.assertEqual((len(self.records("dlq.json")), len(list(self.queue.dead()))), (copies, copies))

    def test_an_empty_array_while_a_job_runs_ends_in_an_empty_queue_and_one_line_in_the_log(self):
        worker = self.worker()
        for name, save in self.saves():
            with self.subTest(name):
                self.write(worker.words, "")
                self.add_job("job-a", "go")
                self.wait_for(lambda: self.ran() == ["job-a"])
                save(b"[]")
                self.wait_for(lambda: "its result is not recorded" in self.text(worker.words))
                self.assertEqual(sum(self.queue.count().values()), 0)
                self.add_job("next")
                self.wait_for_state("next", "completed")
                self.assertEqual([record["id"] for record in self.records()], ["next"])
                self.assertEqual(self.text(worker.words).count("job-a"), 1)
                self.assert_well(worker)
            self.reset_home()
        self.stop(worker)

    def test_a_worker_that_waits_for_a_retry_does_not_wait_for_a_job_that_is_gone_or_that_may_run_now(self):
        self.settings(backoff_base=1000, max_retries=100)
        for name, change in (("cleared", lambda: self.save_by_renaming(b"[]")), ("cancelled", lambda: self.succeed("cancel", "bad")),
                             ("completed by hand", lambda: self.save_in_place(self.edited("bad", run_at=None, state="completed")))):
            with self.subTest(name):
                worker = self.worker()
                self.add("bad", "exit 1")
                self.wait_for(lambda: "again in 1000 s" in self.text(worker.words))
                change()
                self.add_job("next")
                try:
                    self.wait_for(lambda: self.job("next").state == "completed", seconds=10)
                finally:
                    self.stop(worker)
                    self.reset_home()


class TestBroken(EditorTest):
    """A save that is no array of jobs."""

    def test_workers_wait_with_their_results_until_it_is_mended(self):
        workers = [self.worker("--count", "2"), self.worker()]
        for name, save in self.saves():
            with self.subTest(name):
                for job_id in ("a", "b", "c"):
                    self.add_job(job_id, "go")
                self.add_job("waits")
                self.wait_for(lambda: len(self.ran()) == 3)
                for worker in workers:
                    self.write(worker.words, "")
                good = self.edited("a", own="a remark")
                broken = good[:-20]
                save(broken)
                self.write("go", "")
                self.wait_for(lambda: sum(self.text(worker.words).count("waits to be recorded") for worker in workers) >= 2)
                for worker in workers:
                    self.wait_for(lambda: "line " in self.text(worker.words))
                    self.assertIn(self.path("jobs.json"), self.text(worker.words))
                self.assertEqual((self.read("jobs.json"), sorted(self.ran())), (broken, ["a", "b", "c"]))
                save(good)
                for job_id in ("a", "b", "c", "waits"):
                    job = self.wait_for_state(job_id, "completed")
                    self.assertEqual((job.attempts, job.exit_code), (1, 0))
                self.assertEqual(sorted(self.ran()), ["a", "b", "c", "waits"])
                self.assertEqual(self.job("a").options["own"], "a remark")
                self.assert_well(*workers)
            self.reset_home()
        self.stop(*workers)

    def test_a_dead_letter_file_that_is_broken_for_a_while_costs_no_dead_job(self):
        self.settings(max_retries=0)
        worker = self.worker()
        self.add("first", "exit 3")
        self.wait_for_state("first", "dead")
        good = self.read("dlq.json")
        broken = b"oops" + good
        self.write("dlq.json", broken)
        self.add("bad", "echo its last words; exit 4")
        self.add("good", "exit 0")
        self.wait_for(lambda: "waits to be recorded" in self.text(worker.words))
        self.assertEqual((self.job("bad").state, self.read("dlq.json")), ("processing", broken))
        self.write("dlq.json", good)
        self.wait_for_state("bad", "dead")
        self.wait_for_state("good", "completed")
        self.assertEqual([(record["id"], record["exit_code"]) for record in self.records("dlq.json")], [("first", 3), ("bad", 4)])
        self.assert_well(worker)
        self.stop(worker)

    @unittest.skipUnless(os.environ.get("QUEUECTL_FAULTS") == "all", "takes some seconds; set QUEUECTL_FAULTS=all")
    def test_a_worker_that_is_stopped_before_it_is_mended_leaves_the_job_to_the_next_one(self):
        self.add_job("a", "go")
        worker = self.worker()
        self.wait_for(lambda: self.ran() == ["a"])
        good = self.read("jobs.json")
        self.save_by_renaming(b"oops")
        self.write("go", "")
        self.wait_for(lambda: "waits to be recorded" in self.text(worker.words))
        worker.terminate()
        worker.wait(60)
        self.assertEqual((worker.returncode, self.read("jobs.json")), (1, b"oops"))
        self.assertIn("could not be recorded", self.text(worker.words))
        self.assertNotIn("Traceback", self.text(worker.words))
        self.save_by_renaming(good)
        self.drain()
        self.assertEqual((self.job("a").state, self.ran()), ("completed", ["a", "a"]))

    def test_every_field_of_line_2_may_be_removed_by_an_editor(self):
        worker = self.worker()
        self.add_job("held", "go")
        self.wait_for(lambda: self.ran() == ["held"])
        records = self.records()
        bare = {name: value for name, value in records[0].items() if name not in dict(COLUMNS)}
        self.save_by_renaming(json.dumps([bare]).encode("utf-8"))
        self.write("go", "")
        self.wait_for_state("held", "completed")
        self.assert_well(worker)
        self.stop(worker)


if __name__ == "__main__":
    unittest.main()
