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
from core.job import STATES, Outcome
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
                              (["x"], []), (["list", "nothing"], [])):
            with self.subTest(words=words):
                self.assertEqual(sorted(self.candidates(*words)), sorted(wanted))

    def test_nothing_typed_offers_every_first_word_once(self):
        first = [name.split()[0] for name in arguments.COMMANDS] + list(arguments.ALIASES)
        self.assertEqual(sorted(self.candidates("")), sorted(set(first)))
        self.assertEqual(sorted(completion.candidates([], self.manager())), sorted(set(first)))

    def test_commands_of_two_words_are_completed_word_by_word(self):
        for words, wanted in ((["worker", ""], ["start", "stop", "list"]), (["worker", "st"], ["start", "stop"]),
                              (["dlq", ""], ["list", "retry", "purge"]), (["config", ""], ["get", "set"])):
            with self.subTest(words=words):
                self.assertEqual(sorted(self.candidates(*words)), sorted(wanted))

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
                self.assertEqual(self.candidates(*words, ""), list(STATES))
                self.assertEqual(self.candidates(*words, "p"), ["pending", "processing"])

    def test_a_second_state_is_completed_behind_the_comma(self):
        self.assertEqual(self.candidates("list", "--state", "pending,de"), ["pending,dead"])

    def test_values_of_an_option_are_those_that_its_parser_takes(self):
        for name in arguments.COMMANDS:
            for action in arguments.build_parser(name)._actions:
                if action.option_strings and action.choices:
                    with self.subTest(command=name, option=action.dest):
                        self.assertEqual(self.candidates(*name.split(), action.option_strings[0], ""), list(action.choices))

    def test_ids_are_those_of_the_states_that_the_command_is_for(self):
        for name, wanted in (("show", "good bad run wait"), ("logs", "good bad run wait"), ("log", "good bad run wait"),
                             ("cancel", "run wait"), ("edit", "wait"), ("retry", "bad"), ("dlq retry", "bad"), ("dlq purge", "bad"),
                             ("wait", "run wait"), ("clean", "good bad")):
            with self.subTest(command=name):
                self.assertEqual(sorted(self.candidates(*name.split(), "")), sorted(wanted.split()))

    def test_ids_are_completed_from_their_start_also_behind_options_and_other_ids(self):
        for words, wanted in ((["show", "g"], ["good"]), (["logs", "--lines", "5", "g"], ["good"]), (["logs", "-f", "w"], ["wait"]),
                              (["cancel", "run", "w"], ["wait"])):
            with self.subTest(words=words):
                self.assertEqual(self.candidates(*words), wanted)

    def test_an_id_that_does_not_fit_a_line_is_not_offered(self):
        self.add("two words", "turned\u202e", "日本", "plain")
        self.assertEqual(set(self.candidates("edit", "")), {"wait", "日本", "plain"})

    def test_a_long_queue_offers_only_so_many(self):
        self.add(*["job%03d" % number for number in range(300)])
        self.assertEqual(len(self.candidates("edit", "job")), 200)
        self.assertEqual(self.candidates("edit", "job29"), ["job29%d" % digit for digit in range(10)])

    def test_a_home_before_the_command_is_no_command(self):
        self.assertEqual(self.candidates("--home", self.home, "dlq", "p"), ["purge"])
        self.assertIn("--reverse", self.candidates("--home", self.home, "list", "--re"))

    def test_a_shell_is_completed(self):
        self.assertEqual(self.candidates("completion", ""), ["bash", "zsh", "fish"])


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
        self.write("script", completion.SCRIPTS[self.shell])

    def run_shell(self, text):
        """What a script prints; `script` is the completion's."""
        done = subprocess.run([self.shell] + (["-f"] if self.shell == "zsh" else []), input=text, cwd=self.home, stdout=subprocess.PIPE,
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
                self.assertEqual(sorted(told.splitlines()), sorted(wanted))

    CASES = ((["li"], ["list"]), (["dlq", ""], ["list", "retry", "purge"]), (["list", "--re"], ["--reverse"]),
             (["list", "--state", "p"], ["pending", "processing"]), (["show", "g"], ["good"]), (["dlq", "retry", ""], ["bad"]))


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
        for shell in ("bash", "zsh", "fish"):
            self.assertEqual(self.succeed("completion", shell), completion.SCRIPTS[shell])

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
    BEGIN = 'compdef() { : }\n_files() { : }\ncompadd() { print -rl -- "${(@P)2}" }\nsource ./script\n'

    def test_it_completes_commands_options_states_and_ids(self):
        def ask(words):
            return "words=(queuectl %s); CURRENT=%d; _queuectl >found; grep \"^${words[-1]}\" found" % (
                " ".join("'%s'" % word for word in words), len(words) + 1)

        self.check(ask, self.CASES)


class TestFish(ShellTest):
    """In fish."""

    shell = "fish"
    BEGIN = "source ./script\n"

    def test_it_completes_commands_options_states_and_ids(self):
        self.check(lambda words: "complete -C 'queuectl %s'" % " ".join(words), self.CASES)


if __name__ == "__main__":
    unittest.main()
