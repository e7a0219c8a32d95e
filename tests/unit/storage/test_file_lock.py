"""The lock between threads and between processes, its file deleted or replaced meanwhile, and the notes in that file."""
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
from core.system import open_private, try_lock, unlock
from storage import file_lock
from storage.file_lock import RING, FileLock, Hint
from tests.support.home import DEADLINE, ROOT, HomeTest

MOST = 2 ** 64 - 1

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

    @unittest.skipUnless(os.name == "posix" and os.path.isdir("/proc/self/fd"), "the open descriptors of a process")
    def test_lock_keeps_one_descriptor_and_gives_it_back(self):
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        lock = self.lock()
        for number in range(5):
            with lock:
                self.assertEqual(len(os.listdir("/proc/self/fd")), before + 1)
            if number == 2:
                os.unlink(self.lock_path)
        del lock
        gc.collect()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

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
        counters = [self.python(COUNTER, self.lock_path, self.path("number"), "150") for _ in range(6)]
        self.assertEqual([process.wait(DEADLINE) for process in counters], [0] * 6)
        self.assertEqual(self.read("number"), b"900")

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

    def test_notes_are_read_by_another_process(self):
        with self.lock() as lock:
            lock.write_hint(1, Hint(11, 5, intent=77))
            lock.note_places(1, 3, [1000, 2000])
        code = ("import sys; from storage.file_lock import FileLock; lock = FileLock(sys.argv[1])\n"
                "with lock:\n"
                "    hint = lock.read_hint(1); print(hint.gen, hint.ring_no, hint.intent, *lock.places(1, 3, 5))")
        printed = subprocess.check_output([sys.executable, "-c", code, self.lock_path], cwd=ROOT)
        self.assertEqual(printed.split(), [b"11", b"5", b"77", b"1000", b"2000"])

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
        notices = []
        lock = self.lock(lambda: notices.append(1))
        for _ in range(100):
            with lock:
                pass
        self.assertEqual((notices, [thread.name for thread in threading.enumerate() if isinstance(thread, threading.Timer)]), ([], []))

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


class NotesTest(LockTest):

    def setUp(self):
        super().setUp()
        self.held = self.lock()
        self.held.__enter__()
        self.addCleanup(self.held.__exit__)

    def fields(self, hint):
        """The fields of a hint, to compare."""
        return tuple(getattr(hint, name) for name in Hint.__slots__ if name not in ("counts", "boot")) + tuple(hint.counts) + (hint.boot,)

    def test_hint_that_was_never_written_fits_no_file(self):
        first, second = self.held.read_hint(0), self.held.read_hint(0)
        self.assertEqual(self.fields(first)[1:], (0,) * 12)
        self.assertNotEqual(first.gen, second.gen)

    def test_hint_is_read_as_it_was_written(self):
        for values in (tuple(range(1, 14)), (MOST,) * 13, (0,) * 13, (MOST, 0, MOST, 0, 1 << 63, 0, 1, MOST - 1, 0, MOST, 0, 1, MOST)):
            with self.subTest(values):
                self.held.write_hint(0, Hint(*values[:8], values[8:12], values[12]))
                self.assertEqual(self.fields(self.held.read_hint(0)), values)

    def test_two_files_have_hints_and_rings_of_their_own(self):
        for slot in (0, 1):
            self.held.write_hint(slot, Hint(slot + 10, size=slot + 20))
            self.held.note_places(slot, 0, range(1 + slot * 10000, RING + slot * 10000))
        for slot in (0, 1):
            with self.subTest(slot):
                hint = self.held.read_hint(slot)
                self.assertEqual((hint.gen, hint.size), (slot + 10, slot + 20))
                self.assertEqual(self.held.places(slot, 0, RING - 1), list(range(1 + slot * 10000, RING + slot * 10000)))

    def test_hint_that_does_not_read_right_is_no_hint(self):
        self.held.write_hint(0, Hint(1, 2, 3, 4, 5, 6, 7, 8, (9, 10, 11, 12), 13))
        whole = self.read("run/lock")
        for name, content in (("empty", b""), ("cut short", whole[:-1]), ("an older one", b"QUEUECT2" + whole[8:]),
                              ("zeros", bytes(len(whole))), ("text", b"x" * 4096)):
            with self.subTest(name):
                with open(self.lock_path, "r+b") as file:
                    file.truncate(0)
                    file.write(content)
                self.assertEqual(self.fields(self.held.read_hint(0))[1:], (0,) * 12)

    def test_places_are_read_as_they_were_noted(self):
        for first, places in ((0, [5]), (0, [7, 7, 7]), (1, [1, MOST, 0]), (RING - 1, [9]), (RING, [8, 9]), (MOST - 10, [1, 2, 3]),
                              (3 * RING + 17, list(range(1000)))):
            with self.subTest(first=first, count=len(places)):
                self.held.note_places(0, first, places)
                self.assertEqual(self.held.places(0, first, first + len(places)), places)

    def test_places_go_round_the_end_of_the_ring(self):
        for first in (RING - 1, RING - 2, RING - 4, 5 * RING - 3):
            with self.subTest(first):
                places = [first + 100, first + 200, first + 300, first + 400]
                self.held.note_places(0, first, places)
                self.assertEqual(self.held.places(0, first, first + 4), places)
                self.assertEqual(self.held.places(0, first + 1, first + 3), places[1:3])

    def test_ring_remembers_the_last_places_one_by_one(self):
        for number in range(2 * RING + 100):
            self.held.note_places(0, number, [number * 3])
        self.assertEqual(self.held.places(0, RING + 100, 2 * RING + 100), [number * 3 for number in range(RING + 100, 2 * RING + 100)])

    def test_going_round_does_not_touch_what_is_behind_the_ring(self):
        self.held.write_hint(1, Hint(42, size=43))
        self.held.note_places(0, RING - 1, [MOST] * (RING - 1))
        self.held.note_places(0, 1, [MOST] * (RING - 1))
        self.assertEqual((self.held.read_hint(1).gen, self.held.read_hint(1).size), (42, 43))

    def test_more_places_than_the_ring_holds_are_refused(self):
        self.held.note_places(0, 0, [4] * (RING - 1))
        for count in (RING, RING + 1, 10 * RING):
            with self.subTest(count):
                with self.assertRaises(OSError):
                    self.held.note_places(0, 0, [5] * count)
                self.assertEqual(self.held.places(0, 0, RING - 1), [4] * (RING - 1))

    def test_ring_that_is_cut_short_reads_as_zeros(self):
        self.held.write_hint(0, Hint(1))
        self.assertEqual(self.held.places(0, 10, 13), [0, 0, 0])

    def test_no_places_are_none(self):
        self.held.note_places(0, 5, [])
        self.assertEqual(self.held.places(0, 5, 5), [])

    def test_generations_differ(self):
        self.assertEqual(len({file_lock.new_gen() for _ in range(1000)}), 1000)


if __name__ == "__main__":
    unittest.main()
