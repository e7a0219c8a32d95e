"""The core with real processes, the same on every system: all that a job does here is written in Python, so that Windows runs it too.

Whether a process lives is told by a lock that it holds, since a system gives the number of a process that has ended to another one.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import unittest
import warnings

from core import system
from core.job import CANCELLED, COMPLETED, DEAD, LOST, PENDING, PROCESSING, TIMEOUT
from core.locks import try_lock
from execution.waiting import Waker
from storage import output
from tests.support.home import DEADLINE, MAIN, ROOT, WINDOWS, WINE, QueueTest
from worker_manager import WorkerManager

# job.py MODE: holds the lock `parent`, starts a child that holds the lock `child`, and once both are held does as it is told:
# `stay` goes on for ever, an exit code ends with it and leaves the child behind. The second attempt looks for survivors of the first.
JOB = """\
import os, subprocess, sys, time
sys.path.insert(0, %r)
from core.locks import try_lock
from core.system import open_private
def hold(name):
    descriptor = open_private(name, os.O_RDWR | os.O_CREAT)
    if not try_lock(descriptor):
        sys.exit("%%s of another attempt lives" %% name)
    open("here-" + name, "w").close()
mode = sys.argv[1]
if mode == "child":
    hold("child")
elif os.environ["QUEUECTL_ATTEMPT"] == "2":
    hold("parent"), hold("child")
    sys.exit(0)
else:
    print("begins", flush=True)
    hold("parent")
    subprocess.Popen([sys.executable, "-S", __file__, "child"], stdout=sys.stdout)
    while not os.path.exists("here-child"):
        time.sleep(0.01)
    if mode != "stay":
        sys.exit(int(mode))
    open("ready", "w").close()
while os.path.exists("config.json") and not os.path.exists("go"):
    time.sleep(0.02)
""" % ROOT


class PlatformTest(QueueTest):
    """Jobs that are Python scripts in the home, and are not tried again unless a test says so."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self._end_all)

    def _end_all(self):
        for name in ("parent", "child"):
            if os.path.exists(self.path(name)):
                self.write("go", "")
                self.wait_for(lambda: not self.lives(name))

    def settings(self, **values):
        """Write config.json."""
        super().settings(**dict({"max_retries": 0}, **values))

    def script(self, text, *arguments):
        """Words that run this script with these arguments."""
        self.write("job.py", text)
        return [sys.executable, "-S", self.path("job.py")] + list(arguments)

    def add(self, job_id, words, **fields):
        """Add a job of the home's folder that runs these words."""
        super().add(job_id, system.quote_words(words), **fields)

    def lives(self, name):
        """Whether the process that locked this file runs."""
        descriptor = os.open(self.path(name), os.O_RDWR)
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def assert_tree_has_ended(self):
        """Neither of the job's two processes runs, or only for a moment."""
        for name in ("parent", "child"):
            self.wait_for(lambda: not self.lives(name))

    def start_tree(self, **fields):
        """A worker that runs a job `tree` with a child; a Popen."""
        self.add("tree", self.script(JOB, "stay"), **fields)
        worker = self.start_worker(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for_file("ready")
        self.assertTrue(self.lives("parent") and self.lives("child"))
        return worker


class TestTrees(PlatformTest):
    """What becomes of the processes that a job has started."""

    def test_one_that_is_cancelled_ends_with_its_children_and_its_worker_goes_on(self):
        worker = self.start_tree()
        self.add("next", ["echo", "next"])
        self.succeed("cancel", "tree")
        self.assert_tree_has_ended()
        self.wait_for_state("next", COMPLETED)
        self.assertEqual((self.job("tree").state, self.job("tree").reason), (DEAD, CANCELLED))
        self.assertEqual(self.records("dlq.json")[0]["output"], "begins")
        self.succeed("worker", "stop")
        self.assertEqual(worker.wait(), 0)

    def test_one_that_takes_too_long_ends_with_its_children(self):
        self.add("tree", self.script(JOB, "stay"), timeout=2)
        self.drain(code=1)
        self.assertEqual((self.job("tree").state, self.job("tree").reason, self.job("tree").exit_code), (DEAD, TIMEOUT, None))
        self.assert_tree_has_ended()

    def test_stop_now_ends_it_with_its_children_and_it_goes_back_as_if_it_had_not_been_started(self):
        worker = self.start_tree()
        self.assertEqual(self.succeed("worker", "stop", "--now"), "Stopped 1 worker process.\n")
        self.assertEqual(worker.wait(), 0)
        self.assert_tree_has_ended()
        self.assertEqual((self.job("tree").state, self.job("tree").attempts, self.job("tree").reason), (PENDING, 0, None))

    def test_what_a_failed_one_leaves_behind_is_ended(self):
        self.add("tree", self.script(JOB, "3"))
        self.drain(code=1)
        self.assertEqual((self.job("tree").state, self.job("tree").exit_code), (DEAD, 3))
        self.assert_tree_has_ended()

    def test_what_a_successful_one_leaves_behind_is_left_alone_also_when_its_worker_has_ended(self):
        self.add("tree", self.script(JOB, "0"))
        self.drain()
        self.assertEqual((self.job("tree").state, self.lives("parent"), self.lives("child")), (COMPLETED, False, True))
        self.assertEqual(self.succeed("logs", "tree"), "begins\n")
        self.assertEqual(self.succeed("clean"), "Removed 1 job.\n")  # also the log, which is still open there
        self.assertTrue(self.lives("child"))
        self.write("go", "")
        self.assert_tree_has_ended()

    def test_one_whose_worker_is_killed_runs_again_once_its_former_processes_have_ended(self):
        worker = self.start_tree()
        self.kill(worker)
        self.assertEqual(self.job("tree").state, PROCESSING)
        self.settings(max_retries=1)
        self.drain()
        self.assertEqual((self.job("tree").state, self.job("tree").attempts, self.job("tree").exit_code), (COMPLETED, 2, 0))
        self.assertEqual(os.listdir(self.path("run")), ["lock"])

    def test_one_that_loses_its_worker_each_time_ends_in_the_dead_letter_queue(self):
        worker = self.start_tree()
        self.kill(worker)
        self.drain(code=1)
        self.assertEqual((self.job("tree").state, self.job("tree").reason), (DEAD, LOST))
        self.assertEqual(self.records("dlq.json")[0]["output"], "begins")
        self.assert_tree_has_ended()

    @unittest.skipUnless(WINDOWS, "elsewhere a process outlives the one that started it, until another worker ends it")
    def test_on_windows_the_system_ends_it_with_its_worker(self):
        worker = self.start_tree()
        self.kill(worker)
        self.assert_tree_has_ended()


class TestWorkers(PlatformTest):
    """Several processes, waiting, stopping."""

    def test_two_processes_run_every_job_exactly_once(self):
        names = ["job%d" % number for number in range(60)]
        self.queue.enqueue([{"id": name, "command": "echo %s>ran-%s" % (name, name)} for name in names], self.home, time.time())
        workers = [self.start_worker("--count", "2", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
        while self.queue.count()[COMPLETED] < len(names):
            self.assertEqual([job["id"] for job in json.loads(self.succeed("list", "--json"))], names)
        self.assertEqual(self.succeed("worker", "stop"), "Stopped 2 worker processes.\n")
        said = [worker.communicate()[1] for worker in workers]
        self.assertEqual([worker.returncode for worker in workers], [0, 0], said)
        self.assertEqual(sum(text.count(": completed") for text in said), len(names))
        self.assertEqual({(job.attempts, job.exit_code) for job in self.queue.jobs()}, {(1, 0)})

    def test_many_processes_add_at_once_and_each_job_is_there(self):
        adding = [self.start("enqueue", "--file", self._jobs_file(number), "-q") for number in range(4)]
        for process in adding:
            out, err = process.communicate()
            self.assertEqual((process.returncode, err, len(out.split())), (0, "", 50))
        self.assertEqual(len({job["id"] for job in self.records()}), 200)

    def _jobs_file(self, number):
        self.write("jobs-%d" % number, json.dumps([{"id": "%d-%d" % (number, place), "command": "exit 0"} for place in range(50)]))
        return self.path("jobs-%d" % number)

    def test_enqueue_wakes_a_worker_that_would_sleep_for_an_hour(self):
        self.settings(poll_interval=3600)
        worker = self.start_worker(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.succeed("enqueue", "--id", "x", "--", "exit 0")
        self.succeed("wait", "x", "--timeout", "30")
        self.succeed("worker", "stop")
        self.assertEqual(worker.wait(), 0)

    def test_without_a_fifo_a_sleeper_is_woken_from_outside_and_from_inside(self):
        def refuse(path, mode):
            raise OSError("a file system without FIFOs")

        if not WINDOWS:
            self.addCleanup(setattr, os, "mkfifo", os.mkfifo)
            os.mkfifo = refuse
        waker = Waker(self.path("sleeper"))
        started = time.monotonic()
        system.wake(self.path("sleeper"))
        self.assertTrue(waker.wait(DEADLINE))
        waker.wake()
        self.assertFalse(waker.wait(DEADLINE))
        self.assertLess(time.monotonic() - started, DEADLINE)
        self.assertFalse(waker.wait(0.01))
        os.unlink(self.path("sleeper"))
        self.assertFalse(waker.wait(0.01))
        system.wake(self.path("sleeper"))  # nobody sleeps there any more
        self.assertFalse(os.path.exists(self.path("sleeper")))
        waker.close()

    def test_detach_starts_one_in_the_background_that_stop_finds(self):
        printed = self.succeed("worker", "start", "--detach")
        pid, = [worker["pid"] for worker in json.loads(self.succeed("worker", "list", "--json"))]
        self.assertIn("Worker process %d started" % pid, printed)
        self.succeed("enqueue", "--id", "x", "--", "echo", "hello")
        self.succeed("wait", "x", "--timeout", "30")
        self.assertEqual(self.succeed("worker", "stop"), "Stopped 1 worker process.\n")
        self.assertEqual(self.succeed("logs", "x"), "hello\n")
        self.assertIn("x: completed", self.read(os.path.join("run", "worker.log")).decode("utf-8"))

    def test_detach_finds_a_worker_that_a_launcher_has_started(self):
        launcher = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:], stdin=0, stdout=1, stderr=2))"
        command = [sys.executable, "-S", "-c", launcher, sys.executable, MAIN, "--home", self.home, "worker", "start"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the launcher goes on
            pid = WorkerManager(self.home, self.path("config.json")).detach(command, self.environ())
        self.assertEqual([worker["pid"] for worker in json.loads(self.succeed("worker", "list", "--json"))], [pid])
        self.succeed("worker", "stop")

    def test_a_failing_job_is_retried_dies_and_comes_back(self):
        self.settings(max_retries=1)
        self.add("x", self.script("import os, sys; sys.exit(0 if os.path.exists('mended') else 4)"))
        said = self.drain(code=1)
        self.assertIn("x: exit code 4, attempt 1; again in 0.05 s", said)
        self.assertEqual((self.job("x").state, self.job("x").attempts, self.job("x").exit_code), (DEAD, 2, 4))
        self.write("mended", "")
        self.succeed("dlq", "retry", "x")
        self.drain()
        self.assertEqual((self.job("x").state, self.job("x").attempts, self.records("dlq.json")), (COMPLETED, 1, []))

    def test_what_cannot_be_started_or_found_fails(self):
        self.add("no folder", ["echo", "x"], cwd=self.path("missing"))
        self.add("no command", ["no-such-command-at-all"])
        self.drain(code=1)
        self.assertEqual((self.job("no folder").reason, self.job("no command").reason), ("unstartable", "failed"))
        self.assertNotEqual(self.job("no command").exit_code, 0)

    def test_a_runner_that_is_not_there_is_named(self):
        self.add("x", self.script(""), runner=["no-such-runner", "-n1"])
        self.drain(code=1)
        self.assertIn("there is no program 'no-such-runner' to run it with", self.succeed("logs", "x"))

    def test_any_exit_code_that_a_system_knows_is_kept(self):
        code = 0xC0000005 if WINDOWS else 255
        self.add("x", self.script("import sys; sys.exit(int(sys.argv[1]))" if not WINDOWS else
                                  "import ctypes, sys; ctypes.windll.kernel32.ExitProcess(int(sys.argv[1]))", str(code)))
        self.drain(code=1)
        self.assertEqual((self.job("x").exit_code, self.records("dlq.json")[0]["exit_code"]), (code, code))
        self.assertEqual(self.succeed("clean", "--state", "dead"), "Removed 1 job.\n")

    def test_a_command_is_told_of_each_job_that_has_ended(self):
        self.write("tell.py", "import os; open('told-' + os.environ['QUEUECTL_JOB_ID'], 'w').write(os.environ['QUEUECTL_STATE'])")
        self.settings(on_finish=system.quote_words([sys.executable, "-S", self.path("tell.py")]))
        self.add("good", ["echo", "x"])
        self.add("bad", self.script("raise SystemExit(1)"))
        self.drain(code=1)
        self.assertEqual((self.read("told-good"), self.read("told-bad")), (b"completed", b"dead"))


class TestOutput(PlatformTest):
    """Logs."""

    def test_output_is_kept_byte_for_byte_and_an_empty_log_is_removed(self):
        self.add("bytes", self.script("import os; os.write(1, bytes(range(256)) * 300); os.write(2, b'\\r\\nend')"))
        self.add("silent", ["exit", "0"])
        self.drain()
        done = subprocess.run([sys.executable, MAIN, "logs", "bytes"], env=self.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((done.stdout, done.stderr), (bytes(range(256)) * 300 + b"\r\nend", b""))
        self.assertEqual([name.split("-")[0] for name in os.listdir(self.path("logs"))], ["bytes"])

    def test_without_the_setting_nothing_is_kept(self):
        self.settings(save_output=False)
        self.add("good", ["echo", "words"])
        self.add("bad", self.script("import sys; print('words'); sys.exit(3)"))
        self.drain(code=1)
        self.assertEqual((self.job("good").state, self.job("bad").exit_code), (COMPLETED, 3))
        self.assertFalse(os.path.exists(self.path("logs")))

    def test_each_attempt_adds_to_a_log_of_its_own(self):
        self.settings(max_retries=1)
        self.add("x", self.script("import os, sys; print('attempt', os.environ['QUEUECTL_ATTEMPT']); sys.exit(5)"))
        self.drain(code=1)
        self.assertEqual(self.succeed("logs", "x", "--all"), "==> x, attempt 1 <==\nattempt 1\n==> x, attempt 2 <==\nattempt 2\n")

    def test_it_can_be_followed_until_the_job_ends(self):
        self.add("x", self.script("import os, time\nprint('one', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint('two')"))
        following = self.start("logs", "-f", "x")
        worker = self.start_worker("--drain", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(following.stdout.readline(), "one\n")
        self.write("go", "")
        self.assertEqual((following.stdout.read(), following.wait(), worker.wait()), ("two\n", 0, 0))

    def test_what_grows_without_end_is_shortened_while_the_job_writes_on(self):
        self.settings(max_output=20000)
        self.add("x", self.script("import os, time\nwhile not os.path.exists('go'): print('0123456789' * 10, flush=True); time.sleep(0.001)\n"
                                  "print('the end')"))
        worker = self.start_worker("--drain", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = output.log_path(self.home, self.job("x"), 1)
        for _ in range(2):
            self.wait_for(lambda: os.path.exists(log) and os.path.getsize(log) > 20000)
            self.wait_for(lambda: os.path.getsize(log) < 20000)
        self.write("go", "")
        self.assertEqual(worker.wait(), 0)
        said = self.read(log)
        self.assertTrue(said.startswith(b"[queuectl: ") and said.rstrip().endswith(b"the end"), said[:100])
        self.assertNotIn(b"\0", said)

    def test_names_that_mean_devices_or_differ_in_case_alone_have_logs_of_their_own(self):
        ids = ["CON", "con", "nul", "AUX", "COM1", "LPT9.txt", "a", "A", "dot.", "space ", "..", "C:", "a/b", "a\\b", "é", "?*<>|\""]
        self.write("say.py", "import os; print(ascii(os.environ['QUEUECTL_JOB_ID']))")
        for job_id in ids:
            self.add(job_id, [sys.executable, "-S", self.path("say.py")])
        self.drain("--count", "4")
        for job_id in ids:
            with self.subTest(job_id):
                self.assertEqual(self.succeed("logs", job_id), ascii(job_id) + "\n")
        self.assertEqual(len({name.lower() for name in os.listdir(self.path("logs"))}), len(ids))
        self.succeed("clean")
        self.assertEqual(os.listdir(self.path("logs")), [])


class TestWords(PlatformTest):
    """Commands as words, and their limits."""

    WORDS = ["a b", "", "it's", 'say "hi"', "%PATH%", "%", "100%", "a&b", "|", "<x>", "^", "^^", "(x)", "!x!", "back\\", "back \\", '\\"',
             "a\\\\b", "$HOME", "`x`", "*", "~", "--", "x;y", "x,y=z", "é", "%PATH% & \"quoted\" ^ > <", "'"]

    def test_words_after_the_dashes_reach_the_program_as_they_are(self):
        self.write("say.py", "import sys; print(ascii(sys.argv[1:]))")
        self.succeed("enqueue", "--id", "x", "--", sys.executable, "-S", self.path("say.py"), *self.WORDS)
        self.drain()
        self.assertEqual(self.succeed("logs", "x"), ascii(self.WORDS) + "\n")

    def test_a_program_whose_path_has_a_space_is_found(self):
        os.mkdir(self.path("some where"))
        name = self.path("some where", "hello & co.bat" if WINDOWS else "hello & co")
        with open(name, "w") as file:
            file.write("@echo %1\n" if WINDOWS else "#!/bin/sh\necho \"$1\"\n")
        os.chmod(name, 0o700)
        self.succeed("enqueue", "--id", "x", "--", name, "there")
        self.drain()
        self.assertEqual(self.succeed("logs", "x"), "there\n")

    @unittest.skipUnless(WINDOWS, "the limit is that of cmd.exe")
    def test_a_command_that_is_too_long_for_cmd_is_refused_and_the_longest_runs(self):
        longest = "echo " + "x" * (system.MAX_COMMAND - 5)
        self.assertIn("cmd.exe", self.refuse("enqueue", "-", stdin=json.dumps({"id": "x", "command": longest + "x"}), code=2))
        self.succeed("enqueue", "-", stdin=json.dumps({"id": "x", "command": longest}))
        self.drain()
        self.assertEqual(len(self.succeed("logs", "x")), len(longest) - 5 + 1)

    @unittest.skipUnless(WINDOWS, "cmd.exe's limit")
    def test_a_command_of_several_lines_is_refused_since_cmd_runs_the_first_alone(self):
        self.assertIn("must be one line", self.refuse("enqueue", json.dumps({"id": "x", "command": "echo 1\necho 2"})))

    def test_the_environment_of_a_job_replaces_that_of_its_worker_whatever_its_case_on_windows(self):
        self.write("say.py", "import os; print(os.environ['QUEUECTL_test'] if os.name == 'nt' else os.environ['Own'], os.environ['OTHER'])")
        self.add("x", [sys.executable, "-S", self.path("say.py")], env={"Own": "é", "queuectl_TEST": "é", "other" if WINDOWS else "OTHER": "new"})
        done = self.run_program("worker", "start", "--drain", env=self.environ(OTHER="old", PYTHONIOENCODING="utf-8"))
        self.assertEqual(done.returncode, 0, done.stderr)
        log, = os.listdir(self.path("logs"))
        self.assertEqual(self.read(os.path.join("logs", log)).decode("utf-8").rstrip(), "é new")


class TestText(PlatformTest):
    """Files that people edit, and consoles that know few characters."""

    def test_line_ends_of_windows_in_edited_files_are_fine(self):
        self.write("config.json", b'{\r\n  "max_retries": 0\r\n}\r\n')
        self.write("jobs.json", b'[\r\n  {\r\n    "id": "x",\r\n    "command": "echo hello"\r\n  }\r\n]\r\n')
        self.assertEqual(self.succeed("config", "get", "max_retries"), "0\n")
        self.drain()
        self.assertEqual(self.succeed("logs", "x"), "hello\n")
        self.write("jobs.json", self.read("jobs.json").replace(b"\n", b"\r\n"))
        self.succeed("enqueue", "--id", "y", "--", "echo hello")
        self.assertNotIn(b"\r", self.read("jobs.json"))
        self.assertEqual([job["state"] for job in self.records()], [COMPLETED, PENDING])

    def test_a_file_that_a_reader_has_open_is_replaced_when_that_lets_go(self):
        self.add("x", ["exit", "0"])
        self.drain()
        with open(self.path("jobs.json"), "rb"):
            cleaning = self.start("clean")
            time.sleep(0.5)  # on Windows it waits; elsewhere it need not
        self.assertEqual((cleaning.communicate(), cleaning.returncode), (("Removed 1 job.\n", ""), 0))
        self.assertEqual(self.records(), [])

    @unittest.skipUnless(WINDOWS, "elsewhere an open file can be replaced")
    def test_one_that_a_reader_does_not_let_go_of_is_left_as_it_is_and_the_error_says_why(self):
        self.add("x", ["exit", "0"])
        self.drain()
        before = self.read("jobs.json")
        with open(self.path("jobs.json"), "rb"):
            said = self.refuse("clean", code=1)
        self.assertIn("another program may have it open", said)
        self.assertEqual((self.read("jobs.json"), [name for name in os.listdir(self.home) if name.endswith(".new")]), (before, []))

    def test_a_console_that_knows_few_characters_gets_escapes_and_no_traceback(self):
        self.queue.enqueue([{"id": "日本 🚀 é", "command": "exit 1"}, {"id": "x", "command": "echo 日本 🚀"}], self.home, time.time())
        for encoding in ("ascii", "cp437", "cp1252"):
            environ = self.environ(PYTHONIOENCODING=encoding)
            for words in (["list"], ["list", "--json"], ["show", "日本 🚀 é"], ["status"], ["worker", "start", "--drain"], ["dlq", "list"],
                          ["logs"], ["stats"], ["config"], ["retry", "日本 🚀 é"], ["doctor"]):
                with self.subTest(encoding=encoding, words=words):
                    done = subprocess.run([sys.executable, MAIN] + words, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, timeout=60)
                    self.assertIn(done.returncode, (0, 1), done.stderr)
                    self.assertNotIn(b"Traceback", done.stderr)

    @unittest.skipIf(WINE, "Wine 8 makes no console without a terminal or a screen")
    @unittest.skipUnless(WINDOWS, "elsewhere a terminal need not be asked")
    def test_the_console_of_windows_is_asked_to_take_colours_and_a_file_takes_none(self):
        ask = ("import sys; sys.path.insert(0, %r); from core.system import takes_escapes; out = open('CONOUT$', 'w')\n"
               "open('said', 'w').write(repr((takes_escapes(out.fileno()), takes_escapes(open('job', 'w').fileno()))))" % ROOT)
        subprocess.run([sys.executable, "-c", ask], cwd=self.home, creationflags=subprocess.CREATE_NEW_CONSOLE, timeout=60, check=True)
        self.assertEqual(self.read("said"), b"(True, False)")

    def test_a_job_is_edited_with_an_editor_and_one_that_saves_nothing_changes_nothing(self):
        self.add("x", ["echo", "old"])
        self.write("change.py", "import sys\ntext = open(sys.argv[1], encoding='utf-8', newline='').read().replace('echo old', 'echo new')\n"
                                "open(sys.argv[1], 'w', encoding='utf-8', newline='\\r\\n').write(text)")
        self.write("leave.py", "")
        for script, printed in (("leave.py", "Job 'x' is as it was.\n"), ("change.py", "Job 'x' changed.\n")):
            editor = system.quote_words([sys.executable, "-S", self.path(script)])
            self.assertEqual(self.succeed("edit", "x", env=self.environ(VISUAL=editor)), printed)
        self.assertEqual(self.job("x").command, "echo new")


if __name__ == "__main__":
    unittest.main()
