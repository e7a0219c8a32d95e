"""What `worker start` shows meanwhile, and its summary."""
from __future__ import annotations

import unittest
from types import SimpleNamespace

from cli.working import progress_text, summary
from core.job import DEAD
from tests.support.jobs import a_job


def account(completed=0, dead=0, unfinished=0, taken_away=0, seconds=6.2, died=()):
    """What an Account tells."""
    return SimpleNamespace(completed=completed, dead=dead, unfinished=unfinished, taken_away=taken_away, seconds=seconds, died=died)


class SummaryTest(unittest.TestCase):

    def test_numbers_and_the_time(self):
        for facts, line in (
                (account(2, seconds=0.44), "2 jobs in 0.4 s: 2 completed"),
                (account(1, seconds=6.0), "1 job in 6 s: 1 completed"),
                (account(1, 0, 2, 1, 65), "4 jobs in 65 s: 1 completed, 1 cancelled, 2 to run again"),
                (account(1, seconds=600), "1 job in 10 min: 1 completed"),
                (account(1, seconds=90000), "1 job in 25 h: 1 completed"),
                (account(), "No job was run."),
        ):
            with self.subTest(line):
                self.assertEqual(summary(facts, []), [line])

    def test_each_dead_job_has_its_command_its_reason_its_last_words_and_where_to_look(self):
        died = [a_job(id="a b", command="sh  convert.sh\n17", state=DEAD, reason="failed", exit_code=2, attempts=4),
                a_job(id="b", command="x" * 100, state=DEAD, reason="timeout", timeout=5, attempts=1),
                a_job(id="c", command="true", state=DEAD, reason="dependency", died_of="b, which it comes after, is dead")]
        self.assertEqual(summary(account(2, 3, died=died), ["first\nno such file\n\n", "y" * 300, ""]), [
            "5 jobs in 6.2 s: 2 completed, 3 dead",
            "  a b (sh convert.sh 17): exit code 2: no such file", "    queuectl logs 'a b'",
            "  b (%s...): timed out after 5 s: %s..." % ("x" * 57, "y" * 197), "    queuectl logs b",
            "  c (true): b, which it comes after, is dead", "    queuectl show c"])

    def test_the_rest_is_counted(self):
        died = [a_job(id=str(number), state=DEAD, reason="failed", exit_code=1) for number in range(10)]
        lines = summary(account(0, 22, died=died), [""] * 10)
        self.assertEqual((len(lines), lines[-1]), (22, "  and 12 more; 'queuectl dlq list' shows all"))


class ProgressTest(unittest.TestCase):

    def test_the_line_says_how_far_it_is_or_what_is_waited_for(self):
        for facts, line in (
                ((0, 4, 0, 0.0, False, 0), "[....................] 0 of 4 done"),
                ((6, 6, 2, 2.94, False, 5), "[##########..........] 6 of 12 done, 2 running, 2.9 a second"),
                ((6, 1, 1, 0.0, True, 0), "[#################...] 6 of 7 done, 1 running"),
                ((6, 3, 0, 0.0, True, 0), "paused: 'queuectl resume' lets workers take jobs again"),
                ((0, 0, 0, 0.0, False, 0), "no job to run now; waiting for more"),
                ((0, 3, 0, 0.0, False, 1, 13.2, (13.2, "flaky")), "waiting with flaky, retry in 14s; 3 jobs after that"),
                ((0, 0, 0, 0.0, False, 1, 13.2, (13.2, "flaky")), "waiting with flaky, retry in 14s"),
                ((3, 0, 0, 0.0, False, 2), "no job to run now, 2 later; waiting for more"),
                ((3, 0, 0, 0.0, False, 2, 13.2), "no job to run now, 2 later, the next in 14s; waiting for more"),
        ):
            with self.subTest(line):
                self.assertEqual(progress_text(*facts), line)
