"""What a job wrote, and waiting for its end, with real processes: the saved output, logs -f and wait."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import unittest

from core.job import COMPLETED, DEAD, PENDING
from execution import log_file
from storage import output
from tests.support.control import ControlTest, spin
from tests.support.home import DEADLINE, MAIN, typed
from tests.support.workers import GATE

CLEAR = b"\r\033[K"  # what takes the progress line away

NO_WORKER = r"queuectl: no worker is running; \S.* runs what is in the queue\n"


class Terminal:
    """A pseudo-terminal: `slave` is for a program, `text()` is all that it wrote there until now."""

    def __init__(self, test):
        import pty
        master, self.slave = pty.openpty()
        os.set_blocking(master, False)
        self._master = master
        self._seen = b""
        test.addCleanup(os.close, master)
        test.addCleanup(os.close, self.slave)

    def text(self):
        """The bytes so far."""
        while True:
            try:
                piece = os.read(self._master, 4096)
            except OSError:  # nothing more now
                return self._seen
            if not piece:
                return self._seen
            self._seen += piece


class TestOutput(ControlTest):
    """logs/ and the last lines in dlq.json."""

    def output(self, job_id, attempt):
        """The bytes in the log of an attempt."""
        with open(output.log_path(self.home, self.job(job_id), attempt), "rb") as file:
            return file.read()

    def test_each_attempt_has_a_file_with_the_bytes_it_wrote_and_an_empty_one_has_none(self):
        self.settings(max_retries=3)
        wanted = [bytes(range(256)) * 300 + b"\0\xff\xfe\r\n\xc3 no newline", b"", b"third\n\0"]
        for number, content in enumerate(wanted, 1):
            self.write("bytes-%d" % number, content)
        self.add("x", 'cat "bytes-$QUEUECTL_ATTEMPT"; [ "$QUEUECTL_ATTEMPT" = 3 ]')
        self.drain()
        self.assertEqual(len(os.listdir(self.path("logs"))), 2)
        self.assertEqual([self.output("x", 1), self.output("x", 3)], [wanted[0], wanted[2]])
        done = subprocess.run([sys.executable, MAIN, "logs", "x", "--attempt", "1"], env=self.environ(), stdout=subprocess.PIPE)
        self.assertEqual(done.stdout, wanted[0])

    def test_the_last_lines_are_in_the_dead_letter_queue(self):
        self.settings(max_retries=0)
        self.add("x", "n=0; while [ $n -lt 30 ]; do n=$((n+1)); echo line $n; done; printf 'bad \\377 \\000 end'; exit 1")
        self.drain(code=1)
        lines = self.dlq("x")["output"].splitlines()
        self.assertEqual(lines[-2:], ["line 30", "bad \ufffd \0 end"])
        self.assertLess(len(lines), 30)

    def test_without_the_setting_nothing_is_kept(self):
        self.settings(max_retries=0, save_output=False)
        self.add("good", "echo words")
        self.add("bad", "echo words >&2; exit 1")
        self.drain(code=1)
        self.assertEqual((self.job("good").state, self.job("bad").exit_code, self.dlq("bad")["output"]), (COMPLETED, 1, ""))
        self.assertFalse(os.path.exists(self.path("logs")) and os.listdir(self.path("logs")))

    def test_without_the_setting_nobody_is_told_that_nothing_was_written(self):
        self.add("kept", "echo former; exit 1")
        self.settings(max_retries=0)
        self.drain(code=1)
        self.settings(max_retries=0, save_output=False)
        self.succeed("retry", "kept")
        self.add("good", "echo words")
        self.add("new", "true", run_at="2999-01-01")
        self.drain(code=1)
        unkept = "queuectl: there is no output of '%s': the setting save_output is false, so that none is kept"
        for words, said in ((["good"], unkept % "good"), (["good", "--attempt", "1"], unkept % "good"), (["good", "--all"], unkept % "good"),
                            (["kept"], unkept % "kept" + "; '%s' prints what other attempts wrote" % typed("logs --all kept")),
                            (["new"], "queuectl: 'new' has written nothing; it has not run yet"),
                            (["-f", "good"], "queuectl: the setting save_output is false, so that what jobs write now is not kept")):
            with self.subTest(words):
                done = self.run_program("logs", *words)
                self.assertEqual((done.stdout, done.stderr), ("", said + "\n"))
        self.assertRegex(self.succeed("logs", "good", "new"),
                         r"^==> good, attempt 1: completed, took .*; no output is kept \(save_output\) <==\n==> new, no attempt yet <==\n\Z")

    def test_an_empty_log_that_waits_for_another_job_counts_as_none(self):
        self.add("quiet", "true")
        self.drain()
        self.write(os.path.relpath(output.log_path(self.home, self.job("quiet"), 1), self.home), b"")
        for words in (["quiet"], ["quiet", "--all"]):
            done = self.run_program("logs", *words)
            self.assertEqual((done.stdout, done.stderr), ("", "queuectl: 'quiet' has written nothing\n"))

    def test_if_it_is_turned_off_meanwhile_no_job_gets_the_words_of_another(self):
        self.settings(max_retries=0)
        worker = self.worker()
        self.add("good", "echo words of good")
        self.wait_for_state("good", COMPLETED)
        self.settings(max_retries=0, save_output=False)
        self.wait_for(lambda: "settings read again" in self.text(worker.words))
        self.add("bad", "exit 1")
        self.wait_for_state("bad", DEAD)
        self.stop(worker)
        self.assertEqual(self.dlq("bad")["output"], "")

    def test_output_without_end_does_not_fill_the_disk_and_what_was_dropped_is_said(self):
        limit = 20000
        self.settings(max_output=limit)
        self.add("x", "while [ ! -e go ]; do echo 0123456789012345678901234567890123456789; sleep 0.0005; done; echo the end")
        worker = self.worker()
        path = self.wait_for(lambda: os.path.isdir(self.path("logs")) and output.log_path(self.home, self.job("x"), 1))
        for _ in range(2):  # it is shortened, and again
            self.wait_for(lambda: os.path.exists(path) and os.path.getsize(path) > limit)
            self.wait_for(lambda: os.path.getsize(path) < limit)
        self.write("go", "")
        self.assertEqual(self.wait_for_state("x", COMPLETED).exit_code, 0)
        self.stop(worker)
        said = self.succeed("logs", "x")
        self.assertRegex(said, r"\A\[queuectl: (\d+) bytes were dropped here, since the output exceeds max_output\]\n")
        self.assertGreater(int(said.split()[1]), limit)
        self.assertTrue(said.endswith("\nthe end\n"), said[-100:])

    def test_an_empty_log_does_not_stay_because_another_command_is_just_being_started(self):
        """A child has copies of all descriptors until its exec."""
        copies = []
        log = log_file.LogFile(self.path("log-0"), sleep=lambda seconds: os.close(copies.pop()))
        inherited = log.begin()
        copies += [os.dup(inherited), os.dup(inherited)]
        os.close(inherited)
        log.release()
        self.assertEqual(copies, [])
        self.assertEqual([name for name in os.listdir(self.home) if name.startswith("log-")], [])

    def test_a_log_stays_if_there_is_something_in_it(self):
        for number, said in enumerate((b"", b"", b"one", b"", b"", b"two")):
            path = self.path("log-%d" % number)
            log = log_file.LogFile(path)
            inherited = log.begin()
            os.write(inherited, said)
            os.close(inherited)
            log.release()
            if said:
                self.assertEqual(self.read(path), said)
        self.assertEqual(sorted(name for name in os.listdir(self.home) if name.startswith("log")), ["log-2", "log-5"])

    def test_an_empty_log_stays_as_long_as_a_process_has_it_open(self):
        log = log_file.LogFile(self.path("log-0"), sleep=lambda seconds: None)
        inherited = log.begin()
        log.release()
        os.write(inherited, b"late words")
        os.close(inherited)
        self.assertEqual(self.text("log-0"), "late words")

    def test_a_log_takes_the_place_of_one_of_that_name_also_if_it_stays_empty(self):
        log = log_file.LogFile(self.path("log-1"))
        self.write("log-1", "what the worker that was stopped in mid-attempt has left")
        os.close(log.begin())
        self.assertEqual(self.text("log-1"), "")
        log.release()
        self.assertEqual([name for name in os.listdir(self.home) if name.startswith("log")], [])

    def test_the_log_of_a_long_attempt_behind_short_ones_has_its_name_while_it_runs(self):
        for _ in range(40):
            self.add("short", ":")
        self.add("long", "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo done")
        worker = self.worker()
        self.wait_for(lambda: self.run_program("logs", "long").stdout == "begun\n")
        self.write("go", "")
        self.wait_for_state("long", COMPLETED)
        self.stop(worker)
        self.assertEqual((self.succeed("logs", "long"), len(os.listdir(self.path("logs")))), ("begun\ndone\n", 1))

    def test_a_shortened_log_begins_with_what_was_dropped_whatever_the_job_writes_meanwhile(self):
        log = log_file.LogFile(self.path("log"))
        inherited = log.begin()
        writer = subprocess.Popen([sys.executable, "-c", "import os\nwhile True: os.write(1, b'0123456789\\n')"], stdout=inherited)
        os.close(inherited)
        self.addCleanup(writer.wait)
        self.addCleanup(writer.kill)
        for _ in range(200):
            self.wait_for(lambda: os.path.getsize(self.path("log")) > 5000)
            log.trim(5000)
            with open(self.path("log"), "rb") as file:
                said = file.read()
            self.assertTrue(said.startswith(b"[queuectl: "), said[:20])
            self.assertNotIn(b"\0", said)
        log.release()

    def test_shortening_a_log_whose_attempt_ends_meanwhile_touches_no_other_file(self):
        self.write("other", "precious")
        for number in range(8):
            log = log_file.LogFile(self.path("log-%d" % number))
            inherited = log.begin()
            os.ftruncate(inherited, 1 << 27)  # as large as this, it takes a moment to read, and no room on the disk
            os.close(inherited)
            faults = []
            trimming = threading.Thread(target=self._trim, args=(log, 1 << 26, faults))
            trimming.start()
            spin(number * 0.002)  # somewhere in the middle of it, at least once
            log.release()
            with open(self.path("other"), "r+b") as file:  # gets the number of the descriptor that was given back
                trimming.join()
                self.assertEqual((file.read(100), faults), (b"precious", []))
            os.unlink(self.path("log-%d" % number))

    def _trim(self, log, limit, faults):
        try:
            log.trim(limit)
        except OSError as error:
            faults.append(error)


class TestFollow(ControlTest):
    """logs -f."""

    def follow(self, *arguments):
        """Start logs -f: a Popen whose stdout goes to the file `followed`."""
        with open(self.path("followed"), "wb") as file:
            return self.start("logs", "-f", *arguments, stdout=file)

    def assert_followed(self, process, code, content, words=""):
        """It ends with this exit code, after it has written this, and without other words on stderr but once that no worker runs."""
        self.wait_for(lambda: process.poll() is not None)
        said = re.sub(NO_WORKER, "", process.stderr.read(), count=1)
        self.assertEqual((process.returncode, said, self.read("followed")), (code, words, content))

    def test_it_attaches_before_the_job_starts_and_ends_with_it(self):
        self.add("before", GATE)
        self.add("x", "printf 'one \\377\\n'; %s; printf 'two \\000'" % GATE)
        follower = self.follow("x")
        worker = self.worker()
        self.wait_for_file("here-before")
        self.assertEqual(self.read("followed"), b"")
        self.write("go-before", "")
        self.wait_for(lambda: self.read("followed") == b"one \xff\n")
        self.assertIsNone(follower.poll())
        self.write("go-x", "")
        self.assert_followed(follower, 0, b"one \xff\ntwo \0")
        self.stop(worker)

    def test_it_goes_on_over_retries_until_the_job_is_completed_or_dead(self):
        self.settings(max_retries=2, backoff_base=0.2)
        for job_id, last, code in (("good", "[ $QUEUECTL_ATTEMPT = 3 ]", 0), ("bad", "exit 1", 1)):
            with self.subTest(job_id):
                self.add(job_id, 'echo "begin $QUEUECTL_ATTEMPT"; sleep 0.1; echo "end $QUEUECTL_ATTEMPT"; ' + last)
                follower = self.follow(job_id)
                self.run_program("worker", "start", "--drain")
                wanted = b"".join(b"begin %d\nend %d\n" % (attempt, attempt) for attempt in (1, 2, 3))
                self.assert_followed(follower, code, wanted)

    def test_quick_attempts_are_all_told(self):
        self.settings(max_retries=20, backoff_base=0, keep_attempts=0)  # else a slow follower finds the middle ones gone
        self.add("x", 'echo "$QUEUECTL_ATTEMPT"; if [ "$QUEUECTL_ATTEMPT" = 1 ]; then %s; fi; [ "$QUEUECTL_ATTEMPT" = 15 ]' % GATE)
        follower = self.follow("x")
        worker = self.worker("--drain")
        self.wait_for(lambda: self.read("followed") == b"1\n")  # it is there before the quick ones begin
        self.write("go", "")
        self.assert_ended(worker)
        wanted = b"".join(b"%d\n" % attempt for attempt in range(1, 16))
        self.wait_for(lambda: follower.poll() is not None)
        followed = self.read("followed")
        self.assertTrue(followed and wanted.endswith(followed) and (followed == wanted or followed[:1] != b"1"), followed)

    def test_of_a_job_that_has_ended_it_tells_the_output_and_the_exit_code(self):
        self.settings(max_retries=0)
        self.add("good", "echo fine")
        self.add("bad", "echo not fine; exit 9")
        self.add("quiet", "true")
        self.drain(code=1)
        for words, code, content in ((["good"], 0, b"fine\n"), (["bad"], 1, b"not fine\n"), (["quiet"], 0, b"")):
            with self.subTest(words):
                self.assert_followed(self.follow(*words), code, content)
        self.refuse("logs", "-f", "nope", code=1)

    def test_with_n_it_begins_with_the_last_lines(self):
        self.add("x", "n=0; while [ $n -lt 50 ]; do n=$((n+1)); echo $n; done; %s; echo last" % GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        follower = self.follow("-n", "2", "x")
        self.wait_for(lambda: self.read("followed"))
        self.write("go", "")
        self.assert_followed(follower, 0, b"49\n50\nlast\n")
        self.stop(worker)

    def test_it_ends_with_1_when_the_job_is_cancelled_or_removed(self):
        for job_id, end, said in (("cancelled", lambda: self.succeed("cancel", "cancelled"), ""),
                                  ("removed", lambda: self.write("jobs.json", "[]"),
                                   "queuectl: 'removed' was removed; how it ended is not known\n")):
            with self.subTest(job_id):
                self.add(job_id, "echo here; " + self.nap)
                worker = self.worker()
                follower = self.follow(job_id)
                self.wait_for(lambda: self.read("followed"))
                end()
                self.assert_followed(follower, 1, b"here\n", said)
                self.wait_for_naps(0)
                self.stop(worker)

    def test_it_ends_with_1_when_the_job_is_cancelled_before_it_has_started(self):
        self.add("x", "true")
        follower = self.follow("x")
        self.succeed("cancel", "x")
        self.assert_followed(follower, 1, b"")

    def test_an_attempt_that_was_given_back_and_begins_anew_is_told_again(self):
        self.add("x", "echo begin; " + GATE)
        worker = self.worker()
        follower = self.follow("x")
        self.wait_for(lambda: self.read("followed") == b"begin\n")
        self.succeed("worker", "stop", "--now")
        self.assert_ended(worker)
        self.assertEqual(self.job("x").state, PENDING)
        self.write("go", "")
        self.drain()
        self.assert_followed(follower, 0, b"begin\nbegin\n")

    def test_it_follows_a_log_that_is_shortened(self):
        self.settings(max_output=10000)
        self.add("x", "n=0; while [ $n -lt 3000 ]; do n=$((n+1)); echo line $n; done; %s; echo the end" % GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        follower = self.follow("x")
        self.wait_for(lambda: b"line 3000" in self.read("followed"))
        log, = os.listdir(self.path("logs"))
        self.wait_for(lambda: b"bytes were dropped" in self.read(os.path.join("logs", log)))
        self.write("go", "")
        self.wait_for(lambda: follower.poll() is not None)
        self.assertEqual((follower.returncode, self.read("followed").splitlines()[-2:]), (0, [b"line 3000", b"the end"]))
        self.stop(worker)

    def test_of_a_log_that_is_shortened_again_and_again_nothing_is_told_twice(self):
        self.settings(max_output=4000)
        self.add("x", "n=0; while [ $n -lt 3000 ]; do n=$((n+1)); echo line $n; [ $((n % 100)) = 0 ] && sleep 0.05; done")
        worker = self.worker()
        follower = self.follow("x")
        self.wait_for(lambda: follower.poll() is not None)
        numbers = [int(line[5:]) for line in self.read("followed").splitlines() if re.fullmatch(rb"line [0-9]+", line)]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(numbers[-1], 3000)
        self.stop(worker)

    def test_a_job_that_is_moved_in_the_file_is_still_followed(self):
        self.add("first", "true")
        self.add("x", "echo one; %s; echo two" % GATE)
        worker = self.worker()
        follower = self.follow("x")
        self.wait_for(lambda: self.read("followed") == b"one\n")
        self.succeed("clean", "first")
        self.write("go", "")
        self.assert_followed(follower, 0, b"one\ntwo\n")
        self.stop(worker)

    def test_interrupting_it_is_no_fault(self):
        self.add("x", "echo here; " + self.nap)
        worker = self.worker()
        follower = self.follow("x")
        self.wait_for(lambda: self.read("followed"))
        follower.send_signal(signal.SIGINT)
        self.assert_followed(follower, 130, b"here\n")
        self.succeed("worker", "stop", "--now")
        self.assert_ended(worker)

    @unittest.skipUnless(sys.platform.startswith("linux"), "needs a limit on memory")
    def test_however_large_the_output_is_only_a_piece_of_it_is_in_memory(self):
        import resource
        size, memory = 50 << 20, 40 << 20
        self.add("x", "echo some")
        self.drain()
        path = output.log_path(self.home, self.job("x"), 1)
        with open(path, "r+b") as file:
            file.truncate(size - 9)  # without a newline, so that the last line is as large; a hole, which takes no room
            file.seek(0, os.SEEK_END)
            file.write(b"\nthe last")
        for words, wanted in ((["logs", "x"], size), (["logs", "-f", "x"], size), (["logs", "-n", "2", "x"], size - 5),
                              (["logs", "-f", "-n", "1", "x"], 8), (["logs", "--all", "x"], size + len("==> x, attempt 1 <==\n"))):
            with self.subTest(words):
                done = self._count(words, lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory, memory)))
                self.assertEqual(done, (0, wanted, ""))

    def _count(self, words, limit):
        """Run a command under a limit: its exit code, how many bytes it wrote, and its stderr."""
        process = subprocess.Popen([sys.executable, MAIN] + words, env=self.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=limit)
        count = 0
        with process.stdout, process.stderr:
            for piece in iter(lambda: process.stdout.read(1 << 20), b""):
                count += len(piece)
            return process.wait(), count, process.stderr.read().decode("utf-8")


class TestWait(ControlTest):
    """wait."""

    def setUp(self):
        super().setUp()
        self.settings(max_retries=0)
        self.add("old", "exit 1")
        self.drain(code=1)  # an old one lies in the dead letter queue

    def finish(self, *names):
        """Let gated jobs end."""
        for name in names:
            self.write("go-" + name, "")

    def wait_on_terminal(self, *words):
        """Start a wait on a terminal, so that it can be seen what it has seen: (a Popen, its Terminal)."""
        terminal = Terminal(self)
        return self.start("wait", *words, stderr=terminal.slave), terminal

    def assert_says(self, terminal, words):
        """It says this sooner or later."""
        self.wait_for(lambda: words in terminal.text())

    def assert_done(self, process, code):
        """It ends with this exit code, and without a word."""
        self.wait_for(lambda: process.poll() is not None)
        self.assertEqual((process.returncode, process.stdout.read(), process.stderr.read()), (code, "", ""))

    def test_it_waits_for_those_that_are_named_and_for_no_others(self):
        for name in ("a", "b", "c"):
            self.add(name, GATE)
        worker = self.worker("--count", "3")
        waiting, terminal = self.wait_on_terminal("a", "b")
        self.assert_says(terminal, b"] 0 of 2 done")
        self.finish("a")
        self.assert_says(terminal, b"] 1 of 2 done")
        self.assertIsNone(waiting.poll())
        self.finish("b")
        self.assertEqual(waiting.wait(DEADLINE), 0)
        self.assertEqual(self.job("c").state, "processing")
        self.finish("c")
        self.stop(worker)

    def test_without_ids_it_waits_for_all_that_is_unfinished_and_for_what_is_added_meanwhile(self):
        self.add("a", GATE)
        worker = self.worker("--count", "2")
        waiting, terminal = self.wait_on_terminal()
        self.assert_says(terminal, b"] 0 of 1 done")
        self.add("b", GATE)
        self.assert_says(terminal, b"] 0 of 2 done")
        self.finish("a")
        self.assert_says(terminal, b"] 1 of 2 done")
        self.assertIsNone(waiting.poll())
        self.finish("b")
        self.assertEqual(waiting.wait(DEADLINE), 0)
        self.stop(worker)

    def test_the_exit_code_says_whether_one_died(self):
        self.add("good", "true")
        self.add("bad", "exit 1")
        self.add("gone", "true")
        self.succeed("cancel", "gone")
        self.drain(code=1)
        for words, code in ((["good"], 0), (["bad"], 1), (["good", "bad"], 1), (["gone"], 1), (["old"], 1), ([], 0)):
            with self.subTest(words):
                self.assert_done(self.start("wait", *words), code)
        self.assertIn("'nope'", self.refuse("wait", "good", "nope", code=1))

    def test_without_ids_it_is_1_if_one_dies_or_is_cancelled_meanwhile(self):
        for name, end in (("dies", lambda: self.finish("dies")), ("cancelled", lambda: self.succeed("cancel", "cancelled"))):
            with self.subTest(name):
                self.add(name, GATE + "; exit 1")
                worker = self.worker()
                waiting, terminal = self.wait_on_terminal()
                self.assert_says(terminal, b"] 0 of 1 done")
                end()
                self.assertEqual(waiting.wait(DEADLINE), 1)
                self.stop(worker)

    def test_a_retry_is_waited_for(self):
        self.settings(max_retries=1, backoff_base=0.3)
        self.add("x", '[ "$QUEUECTL_ATTEMPT" = 2 ]')
        worker = self.worker()
        self.assert_done(self.start("wait", "x"), 0)
        self.assertEqual(self.job("x").attempts, 2)
        self.stop(worker)

    def test_after_its_time_it_gives_up_with_124_and_says_so(self):
        self.add("a", "true")
        self.add("b", "true")
        for words in (["a", "b"], []):
            with self.subTest(words):
                done = self.run_program("wait", "--timeout", "0.2", *words)
                self.assertEqual((done.returncode, done.stdout), (124, ""))
                self.assertRegex(done.stderr, r"\A%squeuectl: 2 jobs still unfinished after 0.2 s\n\Z" % NO_WORKER)
        self.drain()
        self.succeed("wait", "--timeout", "0.2", "a")

    def test_in_a_script_it_decides_what_follows(self):
        worker = self.worker()
        script = '"$1" "$2" enqueue --id %s -- sh -c "%s" && "$1" "$2" wait %s && echo ok || echo failed'
        for name, command, said in (("good", "sleep 0.1", "ok"), ("bad", "sleep 0.1; exit 3", "failed")):
            with self.subTest(name):
                done = subprocess.run(["sh", "-c", script % (name, command, name), "sh", sys.executable, MAIN], env=self.environ(),
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=DEADLINE)
                self.assertEqual((done.stdout, done.stderr), ("Job '%s' added to the queue.\n%s\n" % (name, said), ""))
        self.stop(worker)

    def test_a_job_that_is_moved_in_the_file_is_still_waited_for(self):
        self.add("first", "true")
        self.add("x", GATE)
        worker = self.worker()
        self.wait_for_file("here-x")
        waiting, terminal = self.wait_on_terminal("x")
        self.assert_says(terminal, b"] 0 of 1 done")
        self.succeed("clean", "first")
        self.finish("x")
        self.assertEqual(waiting.wait(DEADLINE), 0)
        self.stop(worker)

    def test_on_a_terminal_a_line_tells_how_far_it_is_and_is_gone_when_done(self):
        for name in ("a", "b", "c"):
            self.add(name, GATE)
        worker = self.worker("--count", "3")
        waiting, terminal = self.wait_on_terminal()
        self.assert_says(terminal, b"] 0 of 3 done")
        self.finish("a")
        self.assert_says(terminal, b"] 1 of 3 done, ")
        self.finish("b")
        self.assert_says(terminal, b"] 2 of 3 done, ")
        self.assertRegex(terminal.text().decode("ascii"), r"\[#+\.+\] 2 of 3 done, \d+\.\d a second\Z")
        self.finish("c")
        self.assertEqual((waiting.wait(DEADLINE), waiting.stdout.read()), (0, ""))
        self.assertTrue(terminal.text().endswith(CLEAR), terminal.text())
        self.stop(worker)

    def test_the_line_is_gone_also_when_it_gives_up_or_is_interrupted(self):
        self.add("a", GATE)
        worker = self.worker()
        self.wait_for_file("here-a")
        for words, code, last in ((["--timeout", "0.5"], 124, b"unfinished after 0.5 s\r\n"), ([], 130, CLEAR)):
            with self.subTest(code=code):
                waiting, terminal = self.wait_on_terminal(*words)
                self.assert_says(terminal, b"] 0 of 1 done")
                if code == 130:
                    waiting.send_signal(signal.SIGINT)
                self.assertEqual(waiting.wait(DEADLINE), code)
                self.assertTrue(terminal.text().endswith(last), terminal.text())
                self.assertIn(b" of 1 done" + CLEAR, terminal.text())
        self.finish("a")
        self.stop(worker)

    def test_on_a_terminal_it_reminds_of_the_workers_if_none_runs(self):
        self.add("a", "true")
        waiting, terminal = self.wait_on_terminal()
        self.assert_says(terminal, typed("worker start").encode("utf-8"))
        self.drain()
        self.assertEqual(waiting.wait(DEADLINE), 0)


if __name__ == "__main__":
    unittest.main()

    def test_a_job_that_is_removed_before_it_was_seen_to_end_is_told_with_an_exit_code_of_its_own(self):
        self.add("a", "true")
        self.add("b", "true")
        waiting, terminal = self.wait_on_terminal("a", "b")
        self.assert_says(terminal, b"] 0 of 2 done")
        self.succeed("reset", "--yes")
        self.assertEqual(waiting.wait(DEADLINE), 4)
        for name in (b"'a'", b"'b'"):
            self.assertIn(b"queuectl: %s was removed; how it ended is not known" % name, terminal.text())

    def test_without_ids_what_died_and_was_purged_or_brought_back_meanwhile_has_died(self):
        for words in (["dlq", "purge", "bad"], ["retry", "bad"]):
            with self.subTest(words):
                self.add("bad", "true")
                self.add("last", "true")
                waiting, terminal = self.wait_on_terminal()
                self.assert_says(terminal, b"] 0 of 2 done")
                self.succeed("cancel", "bad")
                self.assert_says(terminal, b"] 1 of 2 done")
                self.succeed(*words)
                self.drain()
                self.assertEqual(waiting.wait(DEADLINE), 1)

    def test_without_ids_what_was_dead_before_counts_not_although_its_time_is_to_come(self):
        self.write("jobs.json", self.read("jobs.json").decode().replace(self.job("old").updated_at, "2099-01-01T00:00:00.000000Z"))
        self.succeed("wait")
