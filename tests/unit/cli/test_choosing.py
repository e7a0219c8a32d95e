"""Which jobs --state, --search and --since mean."""
from __future__ import annotations

import unittest
from types import SimpleNamespace
from unittest import mock

from cli import choosing
from core.job import DEAD, PENDING, PROCESSING
from core.rules import NO_WAIT
from core.times import format_time
from tests.support.jobs import NOW, a_job
from tests.support.manager import NOW as ADDED, ManagerTest


class ChoosingTest(unittest.TestCase):

    def test_a_text_is_looked_for_in_ids_and_commands(self):
        jobs = [a_job(id="nightly", command="make"), a_job(id="x", command="make it"), a_job(id="y", command="rest")]
        for text, found in ((None, "nightly x y"), ("make", "nightly x"), ("night", "nightly"), ("rest", "y"), ("no", "")):
            with self.subTest(text):
                self.assertEqual(" ".join(job.id for job in choosing.found_by(jobs, text)), found)

    def test_states_alone_ask_for_no_waits(self):
        store = SimpleNamespace()  # which nobody may ask anything
        jobs = [a_job(id="a"), a_job(id="b", state=DEAD)]
        self.assertEqual(list(choosing.called(store, jobs, (PENDING, PROCESSING, DEAD))), [(job, NO_WAIT) for job in jobs])

    def test_a_moment_so_long_ago_compares_with_times_of_jobs_and_without_a_length_it_is_before_all_of_them(self):
        with mock.patch.object(choosing.time, "time", lambda: NOW):
            self.assertEqual(choosing.ago(90.0), format_time(NOW - 90))
        self.assertLess(choosing.ago(None), format_time(0))


class CalledTest(ManagerTest):

    def test_a_word_that_is_no_state_means_jobs_by_what_they_wait_for(self):
        self.add("a", "b")
        self.add("later", delay="1d")
        self.add("held", hold=True)
        store = self.jobs.store
        for words, found in ((("ready",), "a b"), (("held",), "held"), (("scheduled",), "later"), (("ready", "held"), "a b held")):
            with self.subTest(words), mock.patch.object(choosing.time, "time", lambda: ADDED):
                self.assertEqual(" ".join(job.id for job, _ in choosing.called(store, store.jobs(), words)), found)
