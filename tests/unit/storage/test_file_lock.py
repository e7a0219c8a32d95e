"""The lock between threads and between processes, its file deleted or replaced meanwhile."""
from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

from core.errors import LockError
from core.locks import try_lock, unlock
from core.system import open_private
from storage import file_lock
from storage.file_lock import FileLock
from tests.support.home import DEADLINE, ROOT, WINE, HomeTest

# Holds the lock from "held" until its stdin ends.
HOLDER = """
import sys
from storage.file_lock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""

# Adds 1 to the number in a file, in two steps, as often as it is told.
COUNTER = """
import os, sys
from storage.file_lock import FileLock
lock = FileLock(sys.argv[1])
for _ in range(int(sys.argv[3])):
    with lock:
        with open(sys.argv[2]) as file:
            number = int(file.read())
        os.sched_yield() if hasattr(os, "sched_yield") else None
        with open(sys.argv[2], "w") as file:
            file.write(str(number + 1))
"""


class LockTest(HomeTest):

    def setUp(self):
        super().setUp()
        self.lock_path = self.path("run", "lock")

    def lock(self, notice=None):
        """A FileLock of the home."""
        return FileLock(self.lock_path, notice)

    def is_free(self):
        """Whether nobody holds the lock file that the path names now."""
        descriptor = open_private(self.lock_path, os.O_RDWR)
        try:
            if not try_lock(descriptor):
                return False
            unlock(descriptor)
            return True
        finally:
            os.close(descriptor)

    def python(self, code, *arguments):
        """A Python process in the background that runs this code with the product at hand."""
        process = subprocess.Popen([sys.executable, "-c", code] + list(arguments), cwd=ROOT, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, universal_newlines=True)
        self._processes.append(process)
        return process

    def notice_soon(self):
        """Let whoever waits for the lock say so at once."""
        self.addCleanup(setattr, file_lock, "NOTICE_AFTER", file_lock.NOTICE_AFTER)
        file_lock.NOTICE_AFTER = 0.05

    def thread(self, target):
        """A thread that runs; the test waits for its end afterwards."""
        thread = threading.Thread(target=target, daemon=True)
        self.addCleanup(thread.join, DEADLINE)
        thread.start()
        return thread

    def waiter(self, lock_again=None):
        """A thread that takes the lock and keeps it until told: (is inside, may leave, how often it gave notice that it waits)."""
        self.notice_soon()
        inside, leave, notices = threading.Event(), threading.Event(), []
        lock = lock_again or self.lock(lambda: notices.append(1))

        def take():
            with lock:
                inside.set()
                leave.wait(DEADLINE)

        self.thread(take)
        self.addCleanup(leave.set)
        return inside, leave, notices


class ExclusionTest(LockTest):

    def test_lock_is_held_inside_and_free_behind(self):
        lock = self.lock()
        with lock:
            self.assertFalse(self.is_free())
        self.assertTrue(self.is_free())

    def test_lock_is_free_after_an_error_inside(self):
        with self.assertRaises(ZeroDivisionError):
            with self.lock():
                raise ZeroDivisionError
        self.assertTrue(self.is_free())

    def test_lock_can_be_taken_again_and_again(self):
        lock = self.lock()
        for _ in range(3):
            with lock:
                self.assertFalse(self.is_free())
            self.assertTrue(self.is_free())

    @unittest.skipUnless(os.name == "posix" and os.path.isdir("/dev/fd"), "the open descriptors of a process")
    def test_lock_keeps_one_descriptor_and_gives_it_back(self):
        gc.collect()
        before = len(os.listdir("/dev/fd"))
        lock = self.lock()
        for number in range(5):
            with lock:
                self.assertEqual(len(os.listdir("/dev/fd")), before + 1)
            if number == 2:
                os.unlink(self.lock_path)
        del lock
        gc.collect()
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_threads_that_share_a_lock_exclude_each_other(self):
        lock = self.lock()
        self.assertEqual(self.counted_by_threads(lambda: lock), 8 * 200)

    def test_threads_with_locks_of_their_own_exclude_each_other(self):
        self.assertEqual(self.counted_by_threads(self.lock), 8 * 200)

    def counted_by_threads(self, lock_for):
        box = [0]

        def count(lock):
            for _ in range(200):
                with lock:
                    number = box[0]
                    time.sleep(0)
                    box[0] = number + 1

        threads = [self.thread(lambda lock=lock_for(): count(lock)) for _ in range(8)]
        for thread in threads:
            thread.join(DEADLINE)
        return box[0]

    def test_processes_exclude_each_other(self):
        self.write("number", "0")
        each = 40 if WINE else 150  # there files are opened so slowly that more would not end in time on a busy machine
        counters = [self.python(COUNTER, self.lock_path, self.path("number"), str(each)) for _ in range(6)]
        self.assertEqual([process.wait(DEADLINE) for process in counters], [0] * 6)
        self.assertEqual(self.read("number"), b"%d" % (6 * each))

    def test_lock_of_another_process_is_waited_for(self):
        holder = self.python(HOLDER, self.lock_path)
        self.assertEqual(holder.stdout.readline(), "held\n")
        inside, leave, notices = self.waiter()
        self.wait_for(lambda: notices)
        self.assertFalse(inside.is_set())
        holder.stdin.close()
        self.assertTrue(inside.wait(DEADLINE))

    def test_lock_of_a_killed_process_is_free(self):
        holder = self.python(HOLDER, self.lock_path)
        self.assertEqual(holder.stdout.readline(), "held\n")
        self.assertFalse(self.is_free())
        holder.kill()
        holder.wait()
        with self.lock():
            self.assertFalse(self.is_free())

    @unittest.skipIf(os.name == "nt", "descriptors are passed on otherwise on Windows")
    def test_child_that_was_started_inside_does_not_keep_the_lock(self):
        with self.lock():
            child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False)
            self._processes.append(child)
        self.assertTrue(self.is_free())

    @unittest.skipIf(os.name == "nt", "signals of POSIX")
    def test_interrupted_wait_leaves_no_lock_behind(self):
        class Interrupted(Exception):
            pass

        def interrupt(number, frame):
            raise Interrupted

        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, interrupt))
        self.notice_soon()
        main = threading.main_thread().ident
        lock = self.lock(lambda: signal.pthread_kill(main, signal.SIGUSR1))
        with self.lock():
            with self.assertRaises(Interrupted):
                with lock:
                    self.fail("two are inside")
        with lock:
            self.assertFalse(self.is_free())
        self.assertTrue(self.is_free())

    def test_lock_file_and_its_folder_are_made_for_their_owner_alone(self):
        if os.name == "posix":
            self.addCleanup(os.umask, os.umask(0))
        with self.lock():
            self.assertTrue(os.path.isfile(self.lock_path))
        if os.name == "posix":
            self.assertEqual([os.stat(path).st_mode & 0o777 for path in (self.path("run"), self.lock_path)], [0o700, 0o600])

    def test_lock_file_keeps_what_it_holds(self):
        os.mkdir(self.path("run"))
        self.write("run/lock", "x" * 100)
        with self.lock():
            pass
        self.assertEqual(self.read("run/lock"), b"x" * 100)

    def test_lock_that_cannot_be_opened_is_a_fault_with_its_path(self):
        def folder_instead():
            os.makedirs(self.lock_path)

        def link_instead():
            os.mkdir(self.path("run"))
            self.write("target", "")
            os.symlink(self.path("target"), self.lock_path)

        def file_above():
            self.write("run", "")

        for make in (folder_instead, file_above) + ((link_instead,) if os.name == "posix" else ()):
            with self.subTest(make.__name__):
                make()
                for _ in range(2):  # the mutex must be free again after a fault
                    with self.assertRaises(LockError) as caught:
                        with self.lock():
                            self.fail("locked")
                    self.assertIn(self.lock_path, str(caught.exception))
                shutil.rmtree(self.path("run")) if os.path.isdir(self.path("run")) else os.unlink(self.path("run"))

    def test_fault_leaves_the_lock_usable(self):
        lock = self.lock()
        self.write("run", "")
        with self.assertRaises(LockError):
            with lock:
                self.fail("locked")
        os.unlink(self.path("run"))
        with lock:
            self.assertFalse(self.is_free())


@unittest.skipIf(os.name == "nt", "an open file can be neither deleted nor replaced on Windows")
class ReplacedLockTest(LockTest):

    def test_waiter_locks_the_new_file_when_the_lock_file_was_deleted(self):
        with self.lock():
            inside, leave, notices = self.waiter()
            self.wait_for(lambda: notices)
            os.unlink(self.lock_path)
        self.assertTrue(inside.wait(DEADLINE))
        self.assertFalse(self.is_free())
        leave.set()
        self.wait_for(self.is_free)

    def test_waiter_locks_the_new_file_when_the_whole_folder_was_deleted(self):
        with self.lock():
            inside, leave, notices = self.waiter()
            self.wait_for(lambda: notices)
            shutil.rmtree(self.path("run"))
        self.assertTrue(inside.wait(DEADLINE))
        self.assertFalse(self.is_free())

    def test_waiter_also_waits_for_the_holder_of_the_file_that_replaced_its_own(self):
        first, second = self.lock(), self.lock()
        with first:
            inside, leave, notices = self.waiter()
            self.wait_for(lambda: notices)
            self.write("new", "")
            os.replace(self.path("new"), self.lock_path)
            second.__enter__()
        try:
            self.wait_for(lambda: len(notices) == 2)
            self.assertFalse(inside.is_set())
        finally:
            second.__exit__()
        self.assertTrue(inside.wait(DEADLINE))

    def test_kept_descriptor_of_a_deleted_file_is_not_locked(self):
        kept, other = self.lock(), self.lock()
        for remove in (lambda: os.unlink(self.lock_path), lambda: shutil.rmtree(self.path("run"))):
            with kept:
                pass
            remove()
            with other:
                self.assertFalse(self.is_free())
            with kept:
                self.assertFalse(self.is_free())


class NoticeTest(LockTest):

    def test_notice_is_given_once_while_another_one_holds_the_lock(self):
        with self.lock():
            inside, leave, notices = self.waiter()
            self.wait_for(lambda: notices)
            self.assertFalse(inside.is_set())
        self.assertTrue(inside.wait(DEADLINE))
        self.assertEqual(notices, [1])

    def test_no_notice_is_given_for_a_lock_that_is_free(self):
        self.notice_soon()
        notices, before = [], threading.enumerate()  # one of another test may just be ending
        lock = self.lock(lambda: notices.append(1))
        for _ in range(100):
            with lock:
                pass
        new = [thread for thread in threading.enumerate() if thread not in before]
        self.assertEqual((notices, [thread.name for thread in new if isinstance(thread, threading.Timer)]), ([], []))

    def test_wait_without_a_notice_ends_all_the_same(self):
        self.notice_soon()
        started, inside = threading.Event(), threading.Event()
        waiting = self.lock()

        def take():
            started.set()
            with waiting:
                inside.set()

        with self.lock():
            self.thread(take)
            self.assertTrue(started.wait(DEADLINE))
        self.assertTrue(inside.wait(DEADLINE))

    @unittest.skipIf(os.name == "nt", "no thread is needed there")
    def test_without_room_for_the_thread_that_would_say_so_the_wait_goes_on(self):
        refused, inside, waiting = threading.Event(), threading.Event(), self.lock()

        def refuse(timer):
            refused.set()
            raise RuntimeError("can't start new thread")

        def take():
            with waiting:
                inside.set()

        with mock.patch.object(threading.Timer, "start", refuse):
            with self.lock():
                self.thread(take)
                self.assertTrue(refused.wait(DEADLINE))
            self.assertTrue(inside.wait(DEADLINE))

    def test_user_is_told_after_a_few_seconds(self):
        self.assertTrue(1 <= file_lock.NOTICE_AFTER <= 10)


if __name__ == "__main__":
    unittest.main()
