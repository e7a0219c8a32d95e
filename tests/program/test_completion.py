"""Completion: what may follow some words, and the scripts in the shells that they are for (those that are installed)."""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

from cli import arguments, completion
from core.job import Outcome
from core.rules import STATE_WORDS
from tests.support.home import MAIN, HomeTest
from tests.support.terminal import NEEDS_PTY, Terminal


class CompletionTest(HomeTest):
    """A queue with a job in each state: wait, run, good and bad."""

    def setUp(self):
        super().setUp()
        jobs = self.manager(max_retries=0)
        jobs.enqueue([{"id": name, "command": "true"} for name in ("good", "bad", "run")], self.home, time.time())
        for code in (0, 1):
            jobs.record(jobs.claim("1-1", time.time()), Outcome(code, "failed" if code else None), time.time())
        jobs.claim("1-1", time.time())
        self.add("wait")

    def add(self, *ids):
        """Add jobs."""
        self.manager().enqueue([{"id": job_id, "command": "true"} for job_id in ids], self.home, time.time())

    def candidates(self, *words):
        """What may stand in place of the last word."""
        return completion.candidates(list(words), self.manager())


class TestCandidates(CompletionTest):
    """What is offered."""

    def test_commands_are_completed_from_their_start(self):
        for words, wanted in ((["enq"], ["enqueue"]), (["st"], ["status", "stats"]), (["lo"], ["logs", "log"]), (["dl"], ["dlq"]),
                              (["x"], []), (["list", "nothing"], []), (["help", "lo"], ["logs"]), (["help", "dlq", "l"], ["list"])):
            with self.subTest(words=words):
                self.assertEqual(sorted(self.candidates(*words)), sorted(wanted))

    def test_nothing_typed_offers_every_first_word_once(self):
        first = [name.split()[0] for name in arguments.COMMANDS] + list(arguments.ALIASES) + ["help"]
        self.assertEqual(sorted(self.candidates("")), sorted(set(first)))
        self.assertEqual(sorted(completion.candidates([], self.manager())), sorted(set(first)))

    def test_commands_of_two_words_are_completed_word_by_word(self):
        for words, wanted in ((["worker", ""], ["start", "stop", "list"]), (["worker", "st"], ["start", "stop"]),
                              (["dlq", ""], ["list", "retry", "purge"]), (["config", "ma"], ["max_retries", "max_output"]), (["config", "uns"], ["unset"]),
                              (["config", "get", "max_r"], ["max_retries"]), (["config", "unset", "max_r"], ["max_retries"])):
            with self.subTest(words=words):
                self.assertEqual(sorted(self.candidates(*words)), sorted(wanted))

    def test_values_of_settings_are_completed(self):
        for words, wanted in ((["retry_in_place", ""], ["true", "false"]), (["save-output", "f"], ["false"]), (["max_retries", ""], ["3"]),
                              (["on_finish", ""], ["null"]), (["max_retries", "3", ""], []), (["nothing", ""], [])):
            with self.subTest(words=words):
                self.assertEqual(self.candidates("config", "set", *words), wanted)

    def test_words_of_other_programs_are_completed_like_ours(self):
        for words, like in ((["rm"], ["remove"]), (["ls"], ["list"]), (["tail"], ["logs"]), (["stop"], ["cancel"]), (["kill"], ["cancel"])):
            with self.subTest(words=words):
                self.assertEqual(self.candidates(*words, ""), self.candidates(*like, ""))
                self.assertEqual(self.candidates(*words, "--"), self.candidates(*like, "--"))

    def test_behind_two_dashes_the_command_of_another_program_stands(self):
        self.assertEqual(self.candidates("enqueue", "--", "li"), [])

    def test_options_are_those_of_the_parser(self):
        for name in arguments.COMMANDS:
            with self.subTest(command=name):
                wanted = {option for action in arguments.build_parser(name)._actions if action.help != argparse.SUPPRESS
                          for option in action.option_strings if option.startswith("--")}
                self.assertEqual(set(self.candidates(*name.split(), "--")), wanted)
                self.assertIn("--help", self.candidates(*name.split(), "--h"))

    def test_an_alias_completes_like_its_command(self):
        for alias, name in arguments.ALIASES.items():
            self.assertEqual(self.candidates(alias, "--"), self.candidates(name, "--"))

    def test_states_follow_the_option_in_any_spelling(self):
        for words in (["list", "--state"], ["list", "-s"], ["list", "--reverse", "--state"]):
            with self.subTest(words=words):
                self.assertEqual(self.candidates(*words, ""), list(STATE_WORDS))
                self.assertEqual(self.candidates(*words, "p"), ["pending", "processing"])

    def test_fields_that_an_edit_takes_away_are_completed_and_groups_where_there_is_a_queue(self):
        self.assertEqual(self.candidates("edit", "wait", "--unset", "t"), ["timeout"])
        self.assertIn("run_at", self.candidates("edit", "wait", "--unset", ""))
        self.assertEqual(completion.candidates(["list", "--group", ""], None), [])

    def test_a_second_state_is_completed_behind_the_comma(self):
        self.assertEqual(self.candidates("list", "--state", "pending,de"), ["pending,dead"])

    def test_states_are_those_that_the_command_takes(self):
        self.assertEqual(self.candidates("clean", "--state", ""), ["completed", "dead"])
        self.assertEqual(self.candidates("cancel", "--state", "p"), ["pending", "processing"])
        self.assertNotIn("dead", self.candidates("cancel", "--state", ""))

    def test_values_of_an_option_are_those_that_its_parser_takes(self):
        for name in arguments.COMMANDS:
            for action in arguments.build_parser(name)._actions:
                if action.option_strings and action.choices:
                    with self.subTest(command=name, option=action.dest):
                        self.assertEqual(self.candidates(*name.split(), action.option_strings[0], ""), list(action.choices))

    def test_ids_are_those_of_the_states_that_the_command_is_for(self):
        for name, wanted in (("show", "good bad run wait"), ("logs", "good bad run wait"), ("log", "good bad run wait"),
                             ("cancel", "run wait"), ("edit", "bad wait"), ("retry", "good bad"), ("dlq retry", "good bad"), ("dlq purge", "bad"),
                             ("wait", "run wait"), ("clean", "good bad"), ("remove", "good bad wait"), ("hold", "wait")):
            with self.subTest(command=name):
                self.assertEqual(sorted(self.candidates(*name.split(), "")), sorted(wanted.split()))

    def test_ids_are_completed_from_their_start_also_behind_options_and_other_ids(self):
        for words, wanted in ((["show", "g"], ["good"]), (["logs", "--lines", "5", "g"], ["good"]), (["logs", "-f", "w"], ["wait"]),
                              (["cancel", "run", "w"], ["wait"])):
            with self.subTest(words=words):
                self.assertEqual(self.candidates(*words), wanted)

    def test_an_id_that_does_not_fit_a_line_is_not_offered(self):
        self.add("two words", "turned\u202e", "日本", "plain")
        self.assertEqual(set(self.candidates("hold", "")), {"wait", "日本", "plain"})

    def test_a_long_queue_offers_only_so_many(self):
        self.add(*["job%03d" % number for number in range(300)])
        self.assertEqual(len(self.candidates("edit", "job")), 200)
        self.assertEqual(self.candidates("edit", "job29"), ["job29%d" % digit for digit in range(10)])

    def test_a_home_before_the_command_is_no_command(self):
        self.assertEqual(self.candidates("--home", self.home, "dlq", "p"), ["purge"])
        self.assertIn("--reverse", self.candidates("--home", self.home, "list", "--re"))
        self.assertEqual(self.succeed("completion", "--words", "show", "--home", self.home, "g", env=self.environ(QUEUECTL_HOME="none")), "good\n")

    def test_a_word_that_is_to_begin_is_an_empty_one_or_none(self):
        for words in (["--words", "dlq", ""], ["--new-word", "--words", "dlq"]):
            self.assertEqual(self.succeed("completion", *words), "list\nretry\npurge\n")
        self.assertIn("--state\n", self.succeed("completion", "--words", "list", "--"))

    def test_a_shell_is_completed(self):
        self.assertEqual(self.candidates("completion", ""), ["bash", "zsh", "fish", "powershell"])


@unittest.skipIf(os.name == "nt", "the shells are those of Unix")
class ShellTest(CompletionTest):
    """The scripts in a real shell, with a `queuectl` that is a link on the PATH."""

    shell = ""

    def setUp(self):
        super().setUp()
        if shutil.which(self.shell) is None:
            self.skipTest("%s is not installed" % self.shell)
        os.mkdir(self.path("bin"))
        os.symlink(MAIN, self.path("bin", "queuectl"))
        os.symlink(sys.executable, self.path("bin", "python3"))
        self.write("script", completion.SCRIPTS["powershell" if self.shell == "pwsh" else self.shell])

    def run_shell(self, text):
        """What a script prints; `script` is the completion's."""
        done = subprocess.run([self.shell] + {"zsh": ["-f"], "pwsh": ["-NoProfile", "-Command", "-"]}.get(self.shell, []), input=text, cwd=self.home, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.environ(PATH=self.path("bin") + os.pathsep + os.environ["PATH"]),
                              universal_newlines=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def check(self, ask, cases):
        """Ask for each (typed words, wanted) in one shell; `ask(words)` is a piece of script that prints the candidates."""
        text = "".join("%s\necho '====='\n" % ask(words) for words, _ in cases)
        found = self.run_shell(self.BEGIN + text).split("=====\n")
        for (words, wanted), told in zip(cases, found):
            with self.subTest(words=words):
                self.assertEqual(sorted(line.partition("\t")[0] for line in told.splitlines()), sorted(wanted))  # fish describes some

    # What is typed, with Tab at its end, and the arguments that the program is run with then.
    TYPED = (("li", "list"), ("dlq l", "dlq list"), ("list --re", "list --reverse"), ("list --state=pe", "list --state=pending"),
             ("list --state comp", "list --state completed"), ("show g", "show good"), ("rm g", "rm good"),
             ("config set fsync t", "config set fsync true"), ("help comp", "help completion"),
             ("enqueue --file my-own-j", "enqueue --file my-own-jobs.txt"), ("enqueue -- own-com", "enqueue -- own-command"),
             ("enqueue --id x -- own-command my-own-j", "enqueue --id x -- own-command my-own-jobs.txt"))

    def run_typed(self, begin):
        """Type each of TYPED into an interactive shell that has read the lines `begin` first, and compare what is run."""
        os.unlink(self.path("bin", "queuectl"))
        self.script("queuectl", "[ \"$1\" = completion ] && exec '%s' '%s' \"$@\"\nprintf 'ran <%%s>\\n' \"$*\"" % (sys.executable, MAIN))
        self.script("own-command", "true")
        self.write("my-own-jobs.txt", "")
        environ = self.environ(PATH=self.path("bin") + os.pathsep + os.environ["PATH"], TERM="xterm", HISTFILE=os.devnull, INPUTRC=os.devnull,
                               HOME=self.home, LC_ALL="C.UTF-8", XDG_CONFIG_HOME=self.home, XDG_DATA_HOME=self.home)
        shell = Terminal(self.INTERACTIVE, environ, columns=200)
        self.addCleanup(shell.close)
        os.write(shell.master, ("cd '%s'; %s\n" % (self.home, begin)).encode("utf-8"))
        for number, (typed, wanted) in enumerate(self.TYPED, 1):
            os.write(shell.master, b"queuectl %s\t\n" % typed.encode("utf-8"))
            said = self.wait_for(lambda: re.findall(r"ran <([^>]*)>", shell.text())[number - 1:])
            with self.subTest(typed=typed):
                self.assertEqual(said[0].strip(), wanted)

    def script(self, name, text):
        """Make a program on the PATH."""
        self.write(os.path.join("bin", name), "#!/bin/sh\n%s\n" % text)
        os.chmod(self.path("bin", name), 0o755)

    CASES = ((["li"], ["list"]), (["dlq", ""], ["list", "retry", "purge"]), (["list", "--re"], ["--reverse"]),
             (["list", "--state", "p"], ["pending", "processing"]), (["show", "g"], ["good"]), (["dlq", "purge", ""], ["bad"]),
             (["list", "--s"], ["--state", "--sort", "--search"]), (["rm", "g"], ["good"]), (["config", "set", "fsync", "t"], ["true"]),
             (["enqueue", "--", "queuec"], ["queuectl"]))


class TestBash(ShellTest):
    """In bash."""

    shell = "bash"
    BEGIN = "source ./script\n"

    def ask(self, words):
        """What bash does when Tab is pressed behind some words."""
        quoted = " ".join("'%s'" % word for word in ["queuectl"] + words)
        return ("COMPREPLY=(); COMP_WORDS=(%s); COMP_CWORD=%d; COMP_LINE=\"${COMP_WORDS[*]}\"; COMP_POINT=${#COMP_LINE}; "
                "_queuectl queuectl; printf '%%s\\n' ${COMPREPLY[@]+\"${COMPREPLY[@]}\"}" % (quoted, len(words)))

    def test_the_script_is_what_the_program_prints(self):
        for shell in completion.SCRIPTS:
            self.assertEqual(self.succeed("completion", shell), completion.SCRIPTS[shell])

    INTERACTIVE = ["bash", "--norc", "--noprofile", "-i"]

    @NEEDS_PTY
    def test_what_is_typed_is_completed(self):
        self.run_typed("source ./script")

    def test_it_is_registered_for_the_program(self):
        self.assertIn("-F _queuectl queuectl", self.run_shell(self.BEGIN + "complete -p queuectl"))

    def test_it_completes_commands_options_states_and_ids(self):
        self.check(self.ask, self.CASES)

    def test_an_id_is_never_run_or_expanded(self):
        self.add("$(touch${IFS}pwned)", "`>pwned`", "$(>pwned)", "$HOME", "it's", 'q"uote', "back\\slash", "glob*")
        self.run_shell(self.BEGIN + self.ask(["edit", ""]))
        self.assertFalse(os.path.exists(self.path("pwned")))

    def type_and_enter(self, *starts):
        """Type `queuectl edit START`, Tab and Enter in an interactive bash, for each start: the ids of the jobs that were opened so (None:
        Tab offered nothing, so that the start itself was taken for an id)."""
        environ = self.environ(PATH=self.path("bin") + os.pathsep + os.environ["PATH"], EDITOR="true", TERM="dumb", INPUTRC=os.devnull,
                               HISTFILE=os.devnull, PYTHONIOENCODING="utf-8", LC_ALL="C")
        environ.pop("VISUAL", None)
        shell = Terminal([self.shell, "--norc", "--noprofile", "-i"], environ, columns=200)
        self.addCleanup(shell.close)
        os.write(shell.master, b"cd '%s'; source ./script\n" % os.fsencode(self.home))
        opened = []
        for start in starts:
            os.write(shell.master, b"queuectl edit %s\t\nprintf 'ended %%d\\n' %d\n" % (start.encode("utf-8"), len(opened)))
            text = self.wait_for(lambda: "ended %d\r" % len(opened) in shell.text() and shell.text())
            line, said = text.rpartition("queuectl edit ")[2].split("\r\n", 1)
            found = re.match(r"Job '(.*)' is as it was\.\r\n", said)
            opened.append(found[1] if found else None if line.strip("\x07 ") == start else line + "\n" + said)
        return opened

    @NEEDS_PTY
    def test_tab_completes_what_is_typed(self):
        self.assertEqual(self.type_and_enter("wa"), ["wait"])

    @NEEDS_PTY
    def test_tab_inserts_an_id_so_that_the_shell_reads_it_as_it_is_or_not_at_all(self):
        odd = ["v$HOME", "it's", 'q"uote', "z\\slash", "m;n", "k&k"]
        self.add(*odd)
        for job_id, opened in zip(odd, self.type_and_enter(*[job_id[:1] for job_id in odd])):
            with self.subTest(id=job_id):
                self.assertIn(opened, (job_id, None))

    @NEEDS_PTY
    def test_tab_completes_an_id_with_a_colon(self):  # bash takes a colon for the end of a word (COMP_WORDBREAKS)
        self.add("night:one", "night:two")
        self.assertEqual(self.type_and_enter("night:t"), ["night:two"])


class TestZsh(ShellTest):
    """In zsh, whose own functions exist only while somebody types: stand-ins print what they are given."""

    shell = "zsh"
    INTERACTIVE = ["zsh", "-f", "-i"]
    BEGIN = 'compdef() { : }\n_normal() { print -r -- queuectl }\n_files() { : }\ncompadd() { print -rl -- "${(@P)2}" }\nsource ./script\n'

    def test_it_completes_commands_options_states_and_ids(self):
        def ask(words):
            return "words=(queuectl %s); CURRENT=%d; _queuectl >found; grep \"^${words[-1]}\" found" % (
                " ".join("'%s'" % word for word in words), len(words) + 1)

        self.check(ask, self.CASES)


    @NEEDS_PTY
    def test_what_is_typed_is_completed(self):
        self.run_typed("autoload -Uz compinit; compinit -u -D; source ./script")


class TestFish(ShellTest):
    """In fish."""

    shell = "fish"
    BEGIN = "source ./script\n"
    INTERACTIVE = ["fish", "--no-config", "-i"]

    @NEEDS_PTY
    def test_what_is_typed_is_completed(self):
        self.run_typed("source ./script")

    def test_it_completes_commands_options_states_and_ids(self):
        self.check(lambda words: "complete -C 'queuectl %s'" % " ".join(words), self.CASES)


class TestPowerShell(ShellTest):
    """In PowerShell."""

    shell = "pwsh"
    BEGIN = "Invoke-Expression (Get-Content -Raw ./script)\n"

    def test_it_completes_commands_options_states_and_ids(self):
        def ask(words):
            line = "queuectl " + " ".join(words)
            return "(TabExpansion2 '%s' %d).CompletionMatches | ForEach-Object CompletionText" % (line, len(line))

        self.check(ask, self.CASES)


class TestPowerShellByReading(unittest.TestCase):
    """What can be told of its script where there is no PowerShell."""

    def test_brackets_are_closed_and_each_way_to_ask_is_one_that_the_program_takes(self):
        script, opened = completion.SCRIPTS["powershell"], []
        pairs = {")": "(", "}": "{", "]": "["}
        for char in script:
            if char in "({[":
                opened.append(char)
            elif char in pairs:
                self.assertEqual(opened.pop(), pairs[char])
        self.assertEqual(opened, [])
        for words in ("--words", "--new-word --words"):
            self.assertIn("queuectl completion %s @words" % words, script)
            self.assertIsNotNone(arguments.parse(["completion", *words.split(), "li"])[1].words_so_far)


if __name__ == "__main__":
    unittest.main()
