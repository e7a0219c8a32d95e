"""The notes of the last change, in the file of the lock: read as they were written, or not believed."""
from __future__ import annotations

import subprocess
import sys
import unittest

from storage.file_lock import FileLock
from storage.notes import RING, Notes
from tests.support.home import ROOT, HomeTest

MOST = 2 ** 64 - 1
FIELDS = ("generation", "change_number", "inode", "size", "mtime", "intent", "intent_end", "last_created")


class NotesTest(HomeTest):

    def setUp(self):
        super().setUp()
        self.lock = FileLock(self.path("run", "lock"))
        self.lock.__enter__()
        self.addCleanup(self.lock.__exit__)

    def fields(self, notes):
        """The fields of notes, to compare."""
        return tuple(getattr(notes, name) for name in FIELDS) + tuple(notes.counts) + (notes.boot,)

    def write(self, *values, slot=0):
        """Notes with these fields, in the order of FIELDS, then the counts and the boot, written."""
        notes = Notes(self.lock, slot)
        for name, value in zip(FIELDS, values):
            setattr(notes, name, value)
        if len(values) > len(FIELDS):
            notes.counts, notes.boot = values[8:12], values[12]
        notes.write()
        return notes

    def read_notes(self, slot=0):
        """Notes as they are read."""
        notes = Notes(self.lock, slot)
        notes.read()
        return notes

    def add(self, first, places, slot=0):
        """Remember changed places from number `first` on; the notes behind them."""
        notes = Notes(self.lock, slot)
        notes.change_number = first
        notes.add_changes(places)
        return notes

    def test_notes_that_were_never_written_fit_no_file(self):
        first, second = self.read_notes(), self.read_notes()
        self.assertEqual(self.fields(first)[1:], (0,) * 12)
        self.assertNotEqual(first.generation, second.generation)

    def test_notes_are_read_as_they_were_written(self):
        for values in (tuple(range(1, 14)), (MOST,) * 13, (0,) * 13, (MOST, 0, MOST, 0, 1 << 63, 0, 1, MOST - 1, 0, MOST, 0, 1, MOST)):
            with self.subTest(values):
                self.write(*values)
                self.assertEqual(self.fields(self.read_notes()), values)

    def test_notes_fit_the_file_that_they_name_and_no_other(self):
        notes = self.write(1, 2, 30, 40, 50)
        self.assertTrue(notes.fit((30, 40, 50)))
        for other in ((31, 40, 50), (30, 41, 50), (30, 40, 51)):
            self.assertFalse(notes.fit(other))
        notes.forget()
        self.assertFalse(self.read_notes().fit((30, 40, 50)))

    def test_notes_are_read_by_another_process(self):
        self.write(11, 5, 0, 0, 0, 77, slot=1)
        self.add(3, [1000, 2000], slot=1)
        code = ("import sys; from storage.file_lock import FileLock; from storage.notes import Notes; lock = FileLock(sys.argv[1])\n"
                "with lock:\n"
                "    notes = Notes(lock, 1); notes.read()\n"
                "    print(notes.generation, notes.change_number, notes.intent, *notes.places(3))")
        self.lock.__exit__()
        printed = subprocess.check_output([sys.executable, "-c", code, self.lock.path], cwd=ROOT)
        self.lock.__enter__()
        self.assertEqual(printed.split(), [b"11", b"5", b"77", b"1000", b"2000"])

    def test_two_files_have_notes_and_rings_of_their_own(self):
        for slot in (0, 1):
            self.write(slot + 10, 0, 0, slot + 20, slot=slot)
            self.add(0, range(1 + slot * 10000, RING + slot * 10000), slot)
        for slot in (0, 1):
            with self.subTest(slot):
                notes = self.read_notes(slot)
                self.assertEqual((notes.generation, notes.size), (slot + 10, slot + 20))
                notes.change_number = RING - 1
                self.assertEqual(notes.places(0), list(range(1 + slot * 10000, RING + slot * 10000)))

    def test_notes_that_do_not_read_right_are_none(self):
        self.write(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
        whole = self.read("run/lock")
        for name, content in (("empty", b""), ("cut short", whole[:-1]), ("an older one", b"QUEUECT2" + whole[8:]),
                              ("zeros", bytes(len(whole))), ("text", b"x" * 4096)):
            with self.subTest(name):
                with open(self.lock.path, "r+b") as file:
                    file.truncate(0)
                    file.write(content)
                self.assertEqual(self.fields(self.read_notes())[1:], (0,) * 12)

    def test_places_are_read_as_they_were_noted(self):
        for first, places in ((0, [5]), (0, [7, 7, 7]), (1, [1, MOST, 0]), (RING - 1, [9]), (RING, [8, 9]), (MOST - 10, [1, 2, 3]),
                              (3 * RING + 17, list(range(1000)))):
            with self.subTest(first=first, count=len(places)):
                self.assertEqual(self.add(first, places).places(first), places)

    def test_places_go_round_the_end_of_the_ring(self):
        for first in (RING - 1, RING - 2, RING - 4, 5 * RING - 3):
            with self.subTest(first):
                places = [first + 100, first + 200, first + 300, first + 400]
                notes = self.add(first, places)
                self.assertEqual(notes.places(first), places)
                notes.change_number = first + 3
                self.assertEqual(notes.places(first + 1), places[1:3])

    def test_ring_remembers_the_last_places_one_by_one(self):
        for number in range(2 * RING + 100):
            notes = self.add(number, [number * 3])
        self.assertEqual(notes.places(RING + 100), [number * 3 for number in range(RING + 100, 2 * RING + 100)])

    def test_going_round_does_not_touch_what_is_behind_the_ring(self):
        self.write(42, 0, 0, 43, slot=1)
        self.add(RING - 1, [MOST] * (RING - 1))
        self.add(1, [MOST] * (RING - 1))
        self.assertEqual((self.read_notes(1).generation, self.read_notes(1).size), (42, 43))

    def test_more_places_than_the_ring_holds_begin_a_new_generation(self):
        self.add(0, [4] * (RING - 1))
        for count in (RING, RING + 1, 10 * RING):
            with self.subTest(count):
                notes = Notes(self.lock, 0)
                before = notes.version
                notes.add_changes([5] * count)
                self.assertEqual((notes.changes_since(before), notes.change_number), (None, count))
                notes.change_number = RING - 1
                self.assertEqual(notes.places(0), [4] * (RING - 1))

    def test_ring_that_is_cut_short_reads_as_zeros(self):
        notes = self.write(1, 13)
        self.assertEqual(notes.places(10), [0, 0, 0])

    def test_no_places_are_none(self):
        self.assertEqual(self.add(5, []).places(5), [])

    def test_generations_differ(self):
        notes, seen = Notes(self.lock, 0), set()
        for _ in range(1000):
            notes.begin_generation()
            seen.add(notes.generation)
        self.assertEqual(len(seen), 1000)


if __name__ == "__main__":
    unittest.main()
