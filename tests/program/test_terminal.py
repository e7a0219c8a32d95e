"""What a person sees, in a real terminal (a pty), and what a pipe gets: tables, colours, `status --watch`, progress, figures, `edit`, help.

A terminal's output is read back by `Screen`, a small emulator, so that a test says what stands on the screen and not which escapes came.
"""
from __future__ import annotations

import io
import itertools
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
import unittest

import main
from cli import arguments, help_text, terminal
from core.job import Outcome
from core.settings import SETTINGS
from tests.support.home import MAIN, ROOT, WINDOWS, HomeTest, as_command
from tests.support.terminal import NEEDS_PTY, Screen, Terminal, outside

NEEDS_SH = unittest.skipIf(os.name == "nt", "the script is written for sh")
CTRL_C = b"\x03"
EMOJI_ID = "😀" * 200
HOSTILE = as_command("printf 'a\nb'; echo \033[31mred\033[0m \x9b5m \u202e end")
OK, FAILED = Outcome(0, None), Outcome(1, "failed")
# Every command that prints for people and for scripts.
LOOKS = ("list", "status", "dlq list", "worker list", "stats", "config")


class LookTest(HomeTest):
    """A home, and the program in a terminal, in a pipe or in this process."""

    def environ(self, **more):
        environ = super().environ(**dict({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}, **more))
        for name in ("COLUMNS", "LINES", "VISUAL") + (() if "NO_COLOR" in more else ("NO_COLOR",)):
            environ.pop(name, None)
        return environ

    def open_terminal(self, *arguments, environ=None, columns=80, lines=24, only_stderr=False):
        """The program started in a terminal."""
        opened = Terminal([sys.executable, MAIN] + list(arguments), environ or self.environ(), columns, lines, only_stderr)
        self.addCleanup(opened.close)
        return opened

    def see(self, *arguments, code=0, **options):
        """What the program writes in a terminal."""
        opened = self.open_terminal(*arguments, **options)
        self.assertEqual(opened.end(), code, opened.text())
        return opened.text()

    def pipe(self, *arguments, environ=None):
        """What the program writes into a pipe, as UTF-8; it must succeed."""
        done = subprocess.run([sys.executable, MAIN] + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environ or self.environ(), timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(b"Traceback", done.stderr)
        return done.stdout.decode("utf-8")

    def call(self, *arguments):
        """The program in this process, called by its name, however the tests were started: exit code, stdout, stderr."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
        saved, umask = (sys.stdout, sys.stderr, sys.argv), os.umask(0o077)
        sys.stdout, sys.stderr, sys.argv = streams[0], streams[1], ["queuectl"]
        try:
            code = main.main(["--home", self.home] + list(arguments))
        except SystemExit as stopped:  # argparse ends its --help so
            code = stopped.code or 0
        finally:
            sys.stdout, sys.stderr, sys.argv = saved
            os.umask(umask)
        texts = []
        for stream in streams:
            stream.flush()
            texts.append(stream.buffer.getvalue().decode("utf-8"))
        return (code, *texts)

    def add(self, *pairs):
        """Add jobs: (id, command) each."""
        return self.manager().enqueue([{"id": job_id, "command": command} for job_id, command in pairs], self.home, time.time())

    def fill(self):
        """One job in each state: wait, run, good and bad; the one that waits is hostile to look at."""
        jobs = self.manager(max_retries=0)
        jobs.enqueue([{"id": name, "command": "true"} for name in ("good", "bad", "run")], self.home, time.time())
        for outcome in (OK, FAILED):
            jobs.record(jobs.claim("1-1", time.time()), outcome, time.time())
        jobs.claim("1-1", time.time())
        jobs.enqueue([{"id": "wait", "command": HOSTILE}], self.home, time.time())


@NEEDS_PTY
class TestTables(LookTest):
    """`list` in windows of any size."""

    def widest(self, text):
        """The columns that the widest line takes."""
        return max(terminal.display_width(line) for line in outside(text))

    def test_no_line_is_wider_than_the_window(self):
        self.fill()
        self.add((EMOJI_ID, "echo " + "日本語" * 60), ("x" * 200, "y" * 3000), ("e\u0301" * 60, "e\u0301" * 200))
        for columns in (200, 80, 40, 20):
            with self.subTest(columns=columns):
                text = self.see("list", columns=columns)
                self.assertLessEqual(self.widest(text), columns, text)
                self.assertEqual(len(outside(text)), 8, text)

    def test_three_columns_hold_nothing_and_break_nothing(self):
        self.fill()
        self.add((EMOJI_ID, "true"))
        for words in (("list",), ("status",), ("dlq", "list"), ("config",), ("list", "--help")):
            with self.subTest(words=words):
                self.assertNotIn("Traceback", self.see(*words, columns=3))

    def test_columns_start_at_the_same_place_in_every_row(self):
        self.add(("short", "COMMAND1"), ("日本語", "COMMAND2"), ("e\u0301e\u0301", "COMMAND3"), ("😀" * 4, "COMMAND4"))
        lines = outside(self.see("list"))
        places = {terminal.display_width(line[:line.index("COMMAND")]) for line in lines}
        self.assertEqual(len(places), 1, lines)

    def test_rows_after_those_that_were_measured_are_cut_too(self):
        self.add(*[("job%d" % number, "true") for number in range(210)], ("w" * 190, "c" * 500))
        text = self.see("list")
        self.assertEqual((len(outside(text)), self.widest(text) <= 80), (212, True), outside(text)[-1])

    def test_a_long_command_is_shortened_and_a_wide_window_shows_more_of_it(self):
        self.add(("job", "echo " + "z" * 120))
        self.assertIn("…", self.see("list"))
        self.assertIn("z" * 120, self.see("list", columns=200))

    def test_a_command_with_newlines_and_escapes_stays_on_its_line_and_does_nothing(self):
        self.add(("job", HOSTILE))
        text = self.see("list", "--color", "never", columns=200)
        self.assertEqual(len(outside(text)), 2, text)
        self.assertIn("printf 'a\\nb'; echo \\x1b[31mred\\x1b[0m \\x9b5m \\u202e end", text)
        self.assertNotIn("\033", text)

    def test_times_are_ages_unless_utc_is_asked_for(self):
        jobs = self.manager(max_retries=0)
        self.add(("job", "true"))
        jobs.record(jobs.claim("1-1", time.time()), FAILED, time.time())
        for words in (["list"], ["dlq", "list"]):
            with self.subTest(words=words):
                self.assertRegex(self.see(*words, columns=200), r"\d+[sm] ago")
                self.assertRegex(self.see(*words, "--utc", columns=200), r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")

    def test_a_terminal_that_knows_only_ascii_gets_lines_that_fit(self):
        self.add(("job", "echo " + "z" * 120), ("日本語", "echo " + "é" * 100))
        text = self.see("list", environ=self.environ(PYTHONIOENCODING="ascii"))
        self.assertLessEqual(self.widest(text), 80, text)

    def test_status_fits_the_window(self):
        self.fill()
        self.manager().pause()
        for columns in (80, 40):
            with self.subTest(columns=columns):
                text = self.see("status", columns=columns)
                self.assertLessEqual(self.widest(text.replace(self.home, "HOME")), columns, text)


@NEEDS_PTY
class TestColors(LookTest):
    """Where colours are, and where not."""

    def test_each_state_has_its_colour_on_a_terminal(self):
        self.fill()
        text = self.see("list")
        for state, color in (("pending", 33), ("processing", 36), ("completed", 32), ("dead", 31)):
            self.assertRegex(text, r"\033\[%dm%s *\033\[0m" % (color, state))

    def test_nothing_but_a_state_is_coloured(self):
        self.add(("dead", "completed"))
        self.assertEqual(re.findall(r"\033\[\d+m(\w+)", self.see("list")), ["pending"])

    def test_no_color_and_never_and_a_dumb_terminal_mean_none(self):
        self.fill()
        for command in ("list", "status"):
            for words, more in (((), {"NO_COLOR": "1"}), (("--color", "never"), {}), ((), {"TERM": "dumb"})):
                with self.subTest(command=command, words=words, environ=more):
                    self.assertNotIn("\033", self.see(command, *words, environ=self.environ(**more)))

    def test_always_means_in_a_pipe_too(self):
        self.fill()
        for command in ("list", "status"):
            with self.subTest(command=command):
                self.assertIn("\033[33m", self.pipe(command, "--color", "always"))

    def test_always_in_a_pipe_still_shows_no_escape_of_a_users(self):
        self.fill()
        self.assertIn("echo \\x1b[31mred", self.pipe("list", "--color", "always"))


@NEEDS_PTY
class TestStatus(LookTest):
    """`status`, once."""

    def test_each_state_has_a_bar(self):
        self.fill()
        text = self.see("status", "--color", "never")
        for state in ("pending", "processing", "completed", "dead"):
            self.assertRegex(text, r"(?m)^%s +1  █{5}░{15}\r$" % state)

    def test_a_running_job_without_a_worker_is_shown_as_abandoned(self):
        self.fill()
        self.assertRegex(self.see("status"), r"abandoned +run, its worker is dead; the next worker to start runs it again: tr")

    def test_bars_are_ascii_where_no_other_characters_are_known(self):
        self.fill()
        self.assertIn("#####.....", self.see("status", environ=self.environ(PYTHONIOENCODING="ascii")))


@NEEDS_PTY
class TestProgress(LookTest):
    """The line that `wait` shows meanwhile."""

    def wait_and_finish(self, columns):
        """A Terminal in which `wait` has shown its progress and come to its end."""
        jobs = self.manager()
        self.add(("one", "true"), ("two", "true"))
        opened = self.open_terminal("wait", columns=columns, only_stderr=True)
        self.wait_for(lambda: "] 0 of 2 done" in opened.text())
        jobs.record(jobs.claim("1-1", time.time()), OK, time.time())
        self.wait_for(lambda: "] 1 of 2 done" in opened.text())
        jobs.record(jobs.claim("1-1", time.time()), OK, time.time())
        self.assertEqual(opened.end(), 0)
        return opened

    def test_wait_shows_a_bar_on_stderr_and_leaves_none_of_it(self):
        for columns in (80, 40):
            with self.subTest(columns=columns):
                opened = self.wait_and_finish(columns)
                self.assertIn("[##########..........] 1 of 2 done", opened.text())
                self.assertNotIn("[", "".join(Screen(columns, 24).feed(opened.text()).text()))
                self.manager().reset()

    def test_a_terminal_that_takes_no_escapes_gets_none(self):
        self.fill()
        opened = self.open_terminal("status", "--watch", "0.1", environ=self.environ(TERM="dumb"))
        self.wait_for(lambda: opened.text().count("dead ") >= 2)
        self.assertNotIn("\033", opened.text())
        opened = self.open_terminal("wait", "--timeout", "1", environ=self.environ(TERM="dumb"))
        self.assertEqual((opened.end(), "\033" in opened.text()), (124, False))

    def test_wait_in_a_pipe_is_silent(self):
        done = self.run_program("wait")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


class TestPipes(LookTest):
    """What scripts get."""

    def test_no_escape_reaches_a_pipe(self):
        self.fill()
        for name in LOOKS:
            for more in ([], ["--json"]):
                with self.subTest(command=name, more=more):
                    code, out, err = self.call(*name.split(), *more)
                    self.assertEqual((code, [char for char in out + err if not (char.isprintable() or char in "\n\t")]), (0, []))

    @NEEDS_PTY
    def test_json_parses_and_has_the_same_keys_in_a_pipe_and_on_a_terminal(self):
        self.fill()
        commands = [words.split() + ["--json"] for words in list(LOOKS) + ["show run", "config get max_retries"]]
        program = "import json, sys, main\nfor words in json.loads(sys.argv[1]):\n    main.main(words); print('=====', flush=True)"
        opened = Terminal([sys.executable, "-c", program, json.dumps(commands)], self.environ(PYTHONPATH=ROOT), columns=20)
        self.addCleanup(opened.close)
        self.assertEqual(opened.end(), 0, opened.text())
        seen = opened.text().replace("\r\n", "\n").split("=====\n")
        for words, text in zip(commands, seen):
            with self.subTest(words=words):
                told = json.loads(re.sub(r"(?m)^queuectl: .*$", "", text))
                self.assertEqual(self.shape(told), self.shape(json.loads(self.call(*words)[1])))

    def shape(self, value):
        """The keys of a JSON value, all the way down."""
        if isinstance(value, dict):
            return {key: self.shape(inner) for key, inner in value.items()}
        return [self.shape(inner) for inner in value] if isinstance(value, list) else None

    def test_jsonl_is_a_job_a_line_and_the_same_as_json(self):
        self.fill()
        lines = self.call("list", "--jsonl")[1].splitlines()
        self.assertEqual([json.loads(line) for line in lines], json.loads(self.call("list", "--json")[1]))

    def test_json_holds_a_text_exactly(self):
        self.fill()
        self.assertEqual({job["id"]: job["command"] for job in json.loads(self.call("list", "--json")[1])}["wait"], HOSTILE)

    def test_json_of_an_empty_queue_parses(self):
        for name in LOOKS:
            with self.subTest(command=name):
                json.loads(self.call(*name.split(), "--json")[1])
        self.assertEqual(self.call("list", "--jsonl")[1], "")

    def test_json_parses_whatever_stdout_can_encode(self):
        self.add(("é😀", "echo 日本"))
        for encoding, words in itertools.product(("ascii", "latin-1"), (["list", "--json"], ["list", "--jsonl"], ["show", "é😀"])):
            with self.subTest(encoding=encoding, words=words):
                done = subprocess.run([sys.executable, MAIN] + words, stdout=subprocess.PIPE, env=self.environ(PYTHONIOENCODING=encoding))
                told = json.loads(done.stdout.decode(encoding))
                self.assertEqual((told[0] if isinstance(told, list) else told)["command"], "echo 日本")

    def test_a_fault_in_json_mode_stays_on_stderr(self):
        self.write("jobs.json", "{")
        code, out, err = self.call("list", "--json")
        self.assertEqual((code > 0, out), (True, ""))
        self.assertTrue(err.startswith("queuectl: error: "), err)

    @NEEDS_SH
    def test_a_reader_that_has_seen_enough_is_no_fault(self):
        self.add(*[("job%d" % number, "echo " + "z" * 200) for number in range(2000)])
        for words in ("list", "list --json", "list --jsonl", "list -q", "config"):
            with self.subTest(words=words):
                script = '("$0" "$1" %s; echo $? >code) | head -n 1' % words
                done = subprocess.run(["sh", "-c", script, sys.executable, MAIN], cwd=self.home, env=self.environ(), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, timeout=60)
                self.assertEqual((done.stdout.count(b"\n"), done.stderr), (1, b""))
                code = self.wait_for(lambda: os.path.exists(self.path("code")) and self.read("code").strip())
                self.assertIn(code, (b"0", b"141"))
                os.unlink(self.path("code"))

    @NEEDS_SH
    def test_streams_that_are_closed_are_no_fault(self):
        self.fill()
        for words in ("list >&-", "list --json >&-", "status >&- 2>&-", "logs good >&-", "list <&- >&-", "dlq list >&-"):
            with self.subTest(words=words):
                done = subprocess.run(["sh", "-c", '"$0" "$1" ' + words, sys.executable, MAIN], env=self.environ(), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
                self.assertNotIn(b"Traceback", done.stderr)
        self.assertEqual(len(self.states()), 4)

    def test_an_ascii_locale_shows_other_characters_as_escapes(self):
        self.add(("日本é", "echo 😀"))
        for more in ({"LC_ALL": "C", "LANG": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
            environ = self.environ(**more)
            if WINDOWS:  # which has a code page instead
                environ["PYTHONIOENCODING"] = "ascii"
            else:
                del environ["PYTHONIOENCODING"]
            for words in (["list"], ["list", "-q"], ["status"]):
                with self.subTest(words=words, environ=more):
                    self.pipe(*words, environ=environ)

    def test_options_of_list_choose_and_order(self):
        self.fill()
        for words, wanted in ((["--state", "pending,dead"], ["bad", "wait"]), (["--reverse"], ["wait", "run", "bad", "good"]),
                              (["--sort", "id"], ["bad", "good", "run", "wait"]), (["--sort", "id", "--reverse", "--limit", "1"], ["wait"]),
                              (["--search", "oo"], ["good"]), (["--search", "printf"], ["wait"]), (["--search", "nothing"], [])):
            with self.subTest(words=words):
                self.assertEqual(self.call("list", "-q", *words)[1].split(), wanted)


class TestMany(LookTest):
    """A long list streams."""

    # Runs a command in a process of its own, so that its memory is measured and not that of the tests (a fork starts as large as we are).
    # With "first" it reads one line, says how far the job file has been read (-1: not known here), and ends the command.
    MEASURE = r"""
import json, os, resource, subprocess, sys
command = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
line, at = command.stdout.readline(), -1
if sys.argv[1] == "first":
    folder = "/proc/%d/fd" % command.pid
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if os.readlink(os.path.join(folder, name)).endswith("jobs.json"):
            with open("/proc/%d/fdinfo/%s" % (command.pid, name)) as file:
                at = max(at, int(file.readline().split()[1]))
    running = command.poll() is None
    command.kill()
else:
    running = None
    while command.stdout.read(1 << 16):
        pass
command.wait()
unit = 1 if sys.platform == "darwin" else 1024
memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
print(json.dumps([line.decode(), running, at, memory]))
"""

    def setUp(self):
        super().setUp()
        if os.name == "nt":
            self.skipTest("Windows does not tell the memory of a process that has ended")
        records = ({"id": "job%05d" % number, "command": "echo " + "z" * 1500} for number in range(20000))
        self.manager().enqueue(records, self.home, time.time())

    def measure(self, how, *words):
        """Of a command: its first line, whether it was running then, how far it had read, and the most memory it took, in bytes."""
        done = subprocess.run([sys.executable, "-c", self.MEASURE, how, sys.executable, MAIN] + list(words), stdout=subprocess.PIPE,
                              env=self.environ(), timeout=60, check=True)
        return json.loads(done.stdout.decode("utf-8"))

    def test_a_list_of_20000_starts_before_it_has_read_all_and_takes_little_memory(self):
        size = os.path.getsize(self.path("jobs.json"))
        line, running, at, _ = self.measure("first", "list")
        self.assertTrue(line.startswith("job00000\tpending\t0\t"), line)
        self.assertTrue(running)
        self.assertLess(at, size // 2)
        for words in (["list"], ["list", "--json"], ["list", "--search", "job19999"]):
            with self.subTest(words=words):
                self.assertLess(self.measure("all", *words)[3], 60 << 20)


@NEEDS_SH
class TestEdit(LookTest):
    """`edit`, with a script as the editor."""

    def edit(self, script, job_id="two", code=0):
        """Edit a job with a script for sh, to which $1 is the file: the program's output."""
        path = self.path("editor")
        self.write("editor", "#!/bin/sh\n" + script)
        os.chmod(path, stat.S_IRWXU)
        os.makedirs(self.path("tmp"), exist_ok=True)
        done = self.run_program("edit", job_id, env=self.environ(EDITOR=path, TMPDIR=self.path("tmp"), PROGRAM=MAIN, PYTHON=sys.executable))
        self.assertEqual(done.returncode, code, (done.stdout, done.stderr))
        self.assertNotIn("Traceback", done.stderr)
        return done.stdout + done.stderr

    def kept(self, said, text):
        """Check that the text is still in a file whose path was named."""
        names = os.listdir(self.path("tmp"))
        self.assertEqual(len(names), 1)
        path = self.path("tmp", names[0])
        self.assertIn(path, said)
        with open(path, encoding="utf-8") as file:
            self.assertIn(text, file.read())

    def setUp(self):
        super().setUp()
        self.add(*[(name, "echo %s >>ran" % name) for name in ("one", "two", "three")])

    CHANGE = 'sed "s/echo two/echo changed/" "$1" >"$1.new" && cat "$1.new" >"$1" && rm "$1.new"\n'

    def test_the_edited_job_keeps_its_place_and_runs(self):
        self.assertIn("changed", self.edit(self.CHANGE))
        self.assertEqual(list(self.states()), ["one", "two", "three"])
        self.drain()
        self.assertEqual(self.read("ran").split(), [b"one", b"changed", b"three"])
        self.assertEqual(os.listdir(self.path("tmp")), [])

    def test_an_editor_that_replaces_the_file_is_understood(self):
        self.edit('sed "s/echo two/echo changed/" "$1" >"$1.new" && mv "$1.new" "$1"\n')
        self.assertEqual(self.records()[1]["command"], "echo changed >>ran")

    def test_a_job_that_is_left_alone_stays_as_it_was(self):
        before = self.read("jobs.json")
        self.assertIn("is as it was", self.edit("true\n"))
        self.assertEqual((self.read("jobs.json"), os.listdir(self.path("tmp"))), (before, []))

    def test_what_cannot_be_taken_changes_nothing_and_the_text_is_kept(self):
        before = self.read("jobs.json")
        for name, script, text in (("broken JSON", 'echo "{broken" >"$1"\n', "{broken"),
                                   ("another id", 'sed s/two/other/ "$1" >"$1.n"; mv "$1.n" "$1"\n', '"other"'),
                                   ("no job", 'echo 17 >"$1"\n', "17"),
                                   ("a command that is none", 'echo \'{"id": "two", "command": 5}\' >"$1"\n', '"command": 5'),
                                   ("a job it cannot follow", 'echo \'{"id": "two", "command": "x", "after": ["gone"]}\' >"$1"\n', "gone")):
            with self.subTest(name):
                said = self.edit(script, code=1 if text == "gone" else 2)  # it is understood, and does not fit the queue
                self.kept(said, text)
                self.assertEqual(self.read("jobs.json"), before)
                os.unlink(self.path("tmp", os.listdir(self.path("tmp"))[0]))

    def test_an_editor_that_fails_changes_nothing_and_the_text_is_kept(self):
        before = self.read("jobs.json")
        self.kept(self.edit(self.CHANGE + "exit 1\n", code=1), "echo changed")
        self.assertEqual(self.read("jobs.json"), before)

    def test_a_job_that_ran_meanwhile_is_not_changed_and_the_text_is_kept(self):
        self.kept(self.edit(self.CHANGE + '"$PYTHON" "$PROGRAM" worker start --drain >/dev/null\n', code=1), "echo changed")
        self.assertEqual((self.states()["two"], self.records()[1]["command"]), ("completed", "echo two >>ran"))

    def test_a_job_that_was_cancelled_meanwhile_is_not_changed_and_the_text_is_kept(self):
        self.kept(self.edit('"$PYTHON" "$PROGRAM" cancel two >/dev/null\n' + self.CHANGE, code=1), "echo changed")
        self.assertEqual((self.states()["two"], self.records()[1]["command"]), ("dead", "echo two >>ran"))

    def test_only_a_job_that_waits_or_is_dead_is_opened(self):
        self.manager().claim("1-1", time.time())
        self.assertIn("is processing", self.edit('touch "$QUEUECTL_HOME/opened"\n', job_id="one", code=1))
        self.assertFalse(os.path.exists(self.path("opened")))

    def test_every_field_survives_an_edit_of_another(self):
        self.manager().enqueue([{"id": "rich", "command": "echo two", "priority": 5, "delay": "1h", "env": {"A": "é"}, "note": [1, None]}],
                               self.home, time.time())
        before = self.records()[3]
        self.edit(self.CHANGE, job_id="rich")
        after = self.records()[3]
        self.assertEqual({name for name in before if before[name] != after.get(name)} - {"updated_at"}, {"command"})
        self.assertEqual(set(before), set(after))


class TestHelp(LookTest):
    """Help that teaches."""

    def setUp(self):
        super().setUp()
        self.home = "q"  # a name that is short, so that the lines are those of a user; nothing is written there

    def test_a_mistyped_word_is_answered_with_the_nearest_one(self):
        for words, wanted in ((["enqeue"], "enqueue"), (["staus"], "status"), (["dlq", "retyr"], "retry"), (["worker", "strat"], "start"),
                              (["config", "get", "max_retry"], "max_retries"), (["config", "set", "backof_base", "3"], "backoff_base"),
                              (["list", "--state", "complete"], "completed")):
            with self.subTest(words=words):
                code, out, err = self.call(*words)
                self.assertEqual((code, out), (2, ""))
                self.assertIn("did you mean '%s'?" % wanted, err)

    def test_a_word_that_is_near_nothing_is_answered_without_a_guess(self):
        self.assertNotIn("did you mean", self.call("xyzzyxyzzy")[2])

    def test_the_help_of_the_program_shows_every_command_in_its_group(self):
        code, out, err = self.call("--help")
        self.assertEqual((code, err), (0, ""))
        for name, row in arguments.COMMANDS.items():
            with self.subTest(command=name):
                self.assertRegex(out, r"(?m)^  %s +%s$" % (name, re.escape(row[0])))
        titles = re.findall(r"(?m)^([A-Z][a-z ]+):$", out)
        self.assertEqual(titles, [title for title, _ in help_text.GROUPS])

    def test_the_first_example_needs_no_quotes_which_cmd_does_not_know(self):
        for words in (("enqueue", "--help"), ("enqueue",)):
            with self.subTest(words):
                said = "".join(self.call(*words)[1:])
                self.assertRegex(said.partition("enqueue '")[0], "queuectl (--home [^ ]+ )?enqueue --id job1 -- echo Hello")

    def test_the_help_of_each_command_ends_with_an_example_that_its_parser_takes(self):
        for name, row in arguments.COMMANDS.items():
            with self.subTest(command=name):
                code, out, err = self.call(*name.split(), "--help")
                self.assertEqual((code, err, out.splitlines()[-2:]), (0, "", ["example:", "  queuectl --home q " + row[1]]))
                self.assertTrue(out.startswith("usage: queuectl --home q " + name), out)
                self.assertEqual(row[1].split()[:len(name.split())], name.split())
                self.assertEqual(self.call("help", *name.split()), (code, out, err))
                arguments.parse(shlex.split(row[1]))

    def test_each_line_of_help_fits_80_columns_and_each_argument_has_a_text(self):
        for words in ((), ("--help",), ("worker", "--help"), *((*name.split(), "--help") for name in arguments.COMMANDS)):
            with self.subTest(words):
                self.assertLessEqual(max(map(len, self.call(*words)[1].splitlines())), 80)
        for name in arguments.COMMANDS:
            for action in arguments.build_parser(name)._actions:
                with self.subTest(command=name, argument=action.dest):
                    self.assertTrue(action.help)

    def test_help_of_a_group_of_commands_lists_them(self):
        for name in ("worker", "dlq"):
            with self.subTest(name):
                code, out, err = self.call(name, "--help")
                self.assertEqual((code, err), (0, ""))
                self.assertIn("%s list" % name, out)

    def test_every_setting_is_shown_with_its_meaning(self):
        rows = [line.split("\t") for line in self.call("config")[1].splitlines()]
        self.assertEqual([(row[0], row[2]) for row in rows], [(setting.name, setting.meaning) for setting in SETTINGS])


if __name__ == "__main__":
    unittest.main()
