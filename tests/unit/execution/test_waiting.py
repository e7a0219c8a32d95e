"""Tests of what the threads of a worker process wait on."""
from __future__ import annotations

import errno
import threading
import unittest
from unittest import mock

from core import system
from execution import waiting
from tests.support.home import DEADLINE, HomeTest


class TestWaker(HomeTest):
    """What the main thread sleeps on, with a FIFO and without."""

    def waker(self, make_fifo=system.make_fifo):
        with mock.patch.object(waiting, "make_fifo", make_fifo):
            waker = waiting.Waker(self.path("wake"))
        self.addCleanup(waker.close)
        return waker

    def assert_wakes(self, waker):
        """A wake-up from inside ends the sleep and tells nothing; one by another process tells that the queue has changed."""
        self.assertFalse(waker.wait(0))
        waker.wake()
        self.assertFalse(waker.wait(DEADLINE))
        self.assertTrue(system.wake(self.path("wake")))
        self.assertTrue(waker.wait(DEADLINE))
        self.assertFalse(waker.wait(0))

    def test_both_kinds_of_wake_ups_end_the_sleep_and_are_told_apart(self):
        self.assert_wakes(self.waker())

    def test_where_there_are_no_fifos_as_well(self):
        self.assert_wakes(self.waker(make_fifo=lambda path: None))

    @unittest.skipIf(system.WINDOWS, "there are no FIFOs")
    def test_more_wake_ups_than_there_is_room_for_are_no_fault(self):
        waker = self.waker()
        for _ in range(1 << 17):
            waker.wake()
        self.assertFalse(waker.wait(DEADLINE))

    @unittest.skipIf(system.WINDOWS, "there are no FIFOs")
    def test_one_that_cannot_sleep_looks_at_the_queue_instead(self):
        waker = self.waker()
        with mock.patch("select.select", side_effect=OSError(errno.ENOMEM, "no memory")):
            self.assertTrue(waker.wait(0.01))


class TestDueCall(unittest.TestCase):
    """When a worker is called for a delayed job."""

    def test_a_worker_is_called_once_for_each_time(self):
        call = waiting.DueCall()
        for due, now, seconds in ((None, 5.0, None), (9.0, 5.0, 4.0), (9.0, 8.5, 0.5), (9.0, 8.999, 0.01), (9.0, 9.0, 0.01), (9.0, 9.1, None),
                                  (9.0, 60.0, None), (10.0, 60.0, 0.01), (10.0, 60.0, None), (70.0, 60.0, 10.0), (9.0, 60.0, 0.01)):
            with self.subTest(due=due, now=now):
                self.assertEqual(call.seconds(due, now), seconds)

    def test_an_overdue_job_that_nobody_may_take_wakes_the_process_only_at_its_ticks(self):
        call, now, wakes = waiting.DueCall(), 100.0, 0
        while now < 110:
            now += min(waiting.TICK, call.seconds(50.0, now) or waiting.TICK)
            wakes += 1
        self.assertLessEqual(wakes, 12)


class TestCrew(unittest.TestCase):
    """Who is busy, and how idle workers are called and dismissed."""

    def setUp(self):
        self.stop, self.last_idle = waiting.StopFlag(), threading.Event()
        self.addCleanup(self.stop.close)
        self.crew = waiting.Crew(2, self.stop, self.last_idle.set)
        self.woken = threading.Semaphore(0)

    def idle_thread(self):
        """A worker that is idle once, and then leaves."""
        def work():
            self.crew.be_idle()
            self.woken.release()
            self.crew.leave()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE)

    def test_the_last_that_becomes_idle_is_told_and_one_call_wakes_one(self):
        self.assertFalse(self.crew.has_idle())
        self.idle_thread()
        self.idle_thread()
        self.assertTrue(self.last_idle.wait(DEADLINE))
        self.crew.call_one()
        self.assertTrue(self.woken.acquire(timeout=DEADLINE))
        self.assertFalse(self.woken.acquire(blocking=False))
        self.crew.dismiss()
        self.assertTrue(self.woken.acquire(timeout=DEADLINE))

    def test_who_becomes_idle_after_a_stop_does_not_sleep(self):
        self.crew.dismiss()
        self.assertTrue(self.stop.is_set())
        self.idle_thread()
        self.assertTrue(self.woken.acquire(timeout=DEADLINE))
