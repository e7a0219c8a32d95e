"""A home that is moved or removed while workers run: they end, say why, and make nothing in its place."""
from __future__ import annotations

import os
import shutil
import unittest

from core.errors import QueueError
from core.job import COMPLETED, PROCESSING
from tests.support.control import ControlTest
from tests.support.home import WINDOWS, HomeTest


@unittest.skipIf(WINDOWS, "a folder with open files cannot be moved there")
class TestLostHome(ControlTest):
    """The home is a folder inside of the test's own."""

    def setUp(self):
        super().setUp()
        self.home = self.path("home")
        os.mkdir(self.home)
        self.queue = self.manager(fsync=False)
        self.settings(kill_grace=1)

    def start_napping(self):
        """A worker process that runs a nap."""
        self.add("a", self.nap, cwd="/")
        worker = self.start_worker()
        self.wait_for_naps(1)
        return worker

    def end_of_worker(self, worker):
        """What a worker that ends by itself said."""
        said = worker.communicate(timeout=60)[1]
        self.assertEqual((worker.returncode, "Traceback" in said, "cancelled" in said), (1, False, False), said)
        self.assertIn("%s was moved or removed; ending" % self.home, said)
        self.assertEqual(self.naps(), [])
        self.assertLess(said.count("\n"), 8, said)
        return said

    def test_one_that_is_moved_ends_the_jobs_which_run_again_where_it_is_now(self):
        worker, former = self.start_napping(), self.home
        os.rename(former, self.home + "2")
        said = self.end_of_worker(worker)
        self.assertIn("1 result could not be recorded: a (ended by a stop); the next worker to start", said)
        self.assertFalse(os.path.exists(former))
        self.home = former + "2"
        self.queue = self.manager(fsync=False)
        self.assertEqual(self.job("a").state, PROCESSING)
        self.start_worker()
        self.wait_for_naps(1)
        self.assertEqual(self.job("a").attempts, 2)

    def test_one_that_is_removed_is_not_made_again(self):
        worker = self.start_napping()
        shutil.rmtree(self.home)
        self.end_of_worker(worker)
        self.assertFalse(os.path.exists(self.home))

    def test_in_one_that_took_its_place_nothing_is_taken_for_its_own(self):
        worker = self.start_napping()
        os.rename(self.home, self.home + "2")
        self.succeed("enqueue", "--id", "new", "--at", "2099-01-01", "--", "true")
        self.end_of_worker(worker)
        self.assertEqual(self.states(), {"new": "pending"})

    def test_an_idle_worker_ends_too(self):
        self.add("a", "true")
        worker = self.start_worker()
        self.wait_for(lambda: self.job("a").state == COMPLETED)  # no file says that it has begun: it opens what it has made
        os.rename(self.home, self.home + "2")
        self.end_of_worker(worker)
        self.assertFalse(os.path.exists(self.home))

    def test_run_alone_may_be_removed_and_what_runs_is_recorded(self):
        self.add("a", 'touch here; while [ ! -e go ]; do sleep 0.05; done')
        worker = self.start_worker()
        self.wait_for_file("here")
        shutil.rmtree(self.path("run"))
        self.write("go", "")
        self.assertEqual((worker.wait(60), self.job("a").state), (0, COMPLETED))


class TestLookingMeanwhile(HomeTest):
    """A home that is removed behind the first look of a command."""

    def test_the_lock_makes_no_home(self):
        self.home = self.path("home")
        with self.assertRaisesRegex(QueueError, "home is gone: someone has moved or removed it"):
            self.manager().count()
        self.assertFalse(os.path.exists(self.home))
