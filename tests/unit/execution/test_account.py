"""What a worker process has done, and what it says of that."""
from __future__ import annotations

import io
import re
import unittest
from contextlib import redirect_stderr

from core.job import COMPLETED, DEAD, DEPENDENCY, PENDING
from core.times import format_time
from execution.account import MOST_DEAD, Account
from tests.support.jobs import NOW, a_job

LATER = format_time(NOW + 2)
MOMENT = format_time(NOW)


class Screen:
    """A screen that notes what it is to show."""

    def __init__(self):
        self.shown = []

    def name(self, job):
        return "%s (%s)" % (job.id, job.command)

    def show(self, account, running):
        self.shown.append((account.completed, running))


class AccountTest(unittest.TestCase):

    def said(self, act, *arguments):
        """What `act` logs, without the times of day."""
        with redirect_stderr(io.StringIO()) as stream:
            act(*arguments)
        return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in stream.getvalue().splitlines()]

    def test_each_end_has_its_words(self):
        job = a_job(attempts=1)
        for after, words in (
                (job._replace(state=COMPLETED), "completed in 0.25 s"),
                (job._replace(reason="failed", exit_code=3, run_at=LATER, updated_at=MOMENT), "exit code 3, attempt 1; again in 2 s"),
                (job._replace(state=DEAD, reason="failed", exit_code=3, attempts=4), "exit code 3, attempt 4; moved to the dead letter queue"),
                (job._replace(state=DEAD, reason=DEPENDENCY, options={"died_of": "a, which it comes after, is gone"}),
                 "a, which it comes after, is gone; moved to the dead letter queue"),
                (job._replace(state=PENDING), "back in the queue"),
                (None, "it was cancelled, or the queue was cleared or edited; its result is not recorded"),
        ):
            with self.subTest(words):
                self.assertEqual(self.said(Account().ended, [(job, after, 0.25)]), ["job1: " + words])
                self.assertEqual(self.said(Account(screen=Screen()).ended, [(job, after, 0.25)]), ["job1 (echo Hello): " + words])
                self.assertEqual(self.said(Account(quiet=True).ended, [(job, after, 0.25)]), [])

    def test_a_start_is_told_on_a_screen_alone(self):
        self.assertEqual(self.said(Account().started, a_job(attempts=1)), [])
        self.assertEqual(self.said(Account(screen=Screen()).started, a_job(attempts=1)), ["job1 (echo Hello): started"])
        self.assertEqual(self.said(Account(screen=Screen()).started, a_job(attempts=2)), ["job1 (echo Hello): started, attempt 2"])

    def test_what_is_no_fault_is_not_said_when_quiet(self):
        self.assertEqual(self.said(Account(quiet=True).say, "settings read again"), [])
        self.assertEqual(self.said(Account().say, "one", "two"), ["one", "two"])

    def test_a_job_counts_once_as_it_ended_last(self):
        account, job = Account(), a_job(attempts=1)
        for after in (job._replace(run_at=LATER), job._replace(run_at=LATER, attempts=2), job._replace(state=COMPLETED, attempts=3),
                      a_job(id="b", state=DEAD), a_job(id="c", attempts=1, run_at=LATER)):
            account.count(after)
        self.assertEqual((account.completed, account.dead, account.unfinished), (1, 1, 1))
        self.assertEqual([dead.id for dead in account.died], ["b"])

    def test_only_the_first_dead_jobs_are_kept(self):
        account = Account()
        for number in range(MOST_DEAD + 5):
            account.count(a_job(id=str(number), state=DEAD))
        self.assertEqual((account.dead, [job.id for job in account.died]), (MOST_DEAD + 5, [str(number) for number in range(MOST_DEAD)]))

    def test_what_was_taken_away_is_counted(self):
        account = Account(quiet=True)
        account.ended([(a_job(), None, 1.0), (a_job(), a_job(state=COMPLETED), 1.0)])
        self.assertEqual(account.taken_away, 1)

    def test_the_screen_is_shown_how_many_run(self):
        screen = Screen()
        account = Account(screen=screen)
        account.count(a_job(state=COMPLETED))
        account.show(2)
        Account().show(2)
        self.assertEqual(screen.shown, [(1, 2)])
