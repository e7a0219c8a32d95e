"""A job file under the lock: changed in place, whole after every kind of accident, and kept from harm whoever else writes it."""
from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
import threading
import time
import unittest
from collections import namedtuple
from unittest import mock

from core import system
from core.errors import CorruptFile, StorageFault
from core.job import STATES
from core.job_record import job_from_record
from core.system import pwrite
from core.times import format_time
from storage import file_lock, foreign, noted_file, replaceable_file
from storage.file_lock import FileLock
from storage.job_file import JobFile, Replaced
from storage.layout import COLUMN_AT, EMPTY, END, PAGE, WIDTH, bare, column, encode_line1, encode_line2, lay_out
from storage.notes import RING, Notes, file_key
from storage.store import OpenFiles
from tests.support.home import DEADLINE, ROOT, HomeTest

TIME = "2026-11-24T02:09:06.%06dZ"
POSIX = os.name == "posix"

# Makes `file`, `rows(names)` and `OpenFiles` of the job file in the home that is its first argument.
CHILD = """
import os, sys
from core.errors import StorageFault
from core.job_record import job_from_record
from storage.file_lock import FileLock
from storage.job_file import JobFile, Replaced
from storage.layout import encode_line1, encode_line2
from storage.store import OpenFiles
home = sys.argv[1]
lock = FileLock(os.path.join(home, "run", "lock"))
file = JobFile(os.path.join(home, "jobs.json"), lock, 0, print)
def rows(names, command="echo"):
    moment = "2026-11-24T02:09:06.000000Z"
    return [(encode_line1(dict(id=name, command=command, created_at=moment)),
             encode_line2(("pending", 0, None, None, None, None, moment, None))) for name in names]
def limit(size):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


def line2(state="pending", attempts=0, run_at=None, worker=None):
    """A line 2."""
    return encode_line2((state, attempts, None, None, run_at, None, TIME % 0, worker))


def rows(*names, command="echo", state="pending"):
    """A row for each of these ids, with a created_at of its own."""
    return [(encode_line1(dict(id=name, command=command, created_at=TIME % number)), line2(state)) for number, name in enumerate(names)]


class JobFileTest(HomeTest):

    def setUp(self):
        super().setUp()
        self.locks = {}
        self.file = self.job_file()

    def job_file(self, notice=None):
        """A JobFile of the home as a process of its own would have it."""
        lock = FileLock(self.path("run", "lock"), notice)
        file = JobFile(self.path("jobs.json"), lock, 0, self.notices.append)
        self.locks[file] = lock
        self.addCleanup(file._close)
        return file

    def change(self, operation, file=None):
        """What `operation(file)` gives back, done as the queue does it: again if the file was replaced meanwhile."""
        file = file or self.file
        while True:
            try:
                with OpenFiles(self.locks[file], file, change=True):
                    result = operation(file)
                    file.commit()
                    return result
            except Replaced:
                continue

    def append(self, *names, file=None, **options):
        """Add a record for each of these ids."""
        self.change(lambda file: file.append(rows(*names, **options), len(names)), file)

    def overwrite(self, content):
        """Give the same file other bytes, written long ago."""
        descriptor = os.open(self.path("jobs.json"), os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)
        self.grow_old()

    def places(self, file=None):
        """The places of all records."""
        def look(file):
            with file.view(locked=True) as view:
                return [place for place, _ in view.rows()]
        return self.change(look, file)

    def put(self, number, new, file=None):
        """Replace line 2 of a record, counted from 0."""
        place = self.places(file)[number]
        self.change(lambda file: file.put(place, new), file)
        return place

    def look(self, file=None):
        """All records as a reader sees them, who changes nothing."""
        file = file or self.file
        with OpenFiles(self.locks[file], file):
            view = file.view()
        with view:
            return [record for _, record in view.records()]

    def ids(self, file=None):
        """The ids of all records as a reader sees them."""
        return [record["id"] for record in self.look(file)]

    def edit(self, content, name="jobs.json", age=10):
        """Write the file as another program does, so long ago that nobody waits for it to hold still."""
        self.write(name, content)
        self.grow_old(age, name)

    def grow_old(self, age=10, name="jobs.json"):
        """Let a file have been written some seconds ago."""
        then = time.time() - age
        os.utime(self.path(name), (then, then))

    def forget(self):
        """Delete the notes, as a power cut or a user does."""
        self.forget_notes()

    def assert_canonical(self):
        """The file is JSON, in our layout, and no line 2 crosses a page."""
        content = self.read("jobs.json")
        records = json.loads(content.decode("utf-8"))
        lines = content.split(b"\n")
        self.assertEqual((lines[0], lines[-2:], len(lines)), (b"[", [b"]", b""], 2 * len(records) + 3))
        at = 2
        for number, record in enumerate(records):
            first, second = lines[1 + 2 * number], lines[2 + 2 * number]
            at += len(first) + 1
            self.assertEqual((first[:1], first[-1:], second[WIDTH:]), (b"{", b",", b"," if number < len(records) - 1 else b""))
            self.assertLessEqual(at % PAGE + WIDTH, PAGE, record["id"])
            job = job_from_record(record)
            self.assertEqual((bare(first), second[:WIDTH]), (encode_line1(job.fields()), encode_line2(job.progress())))
            at += len(second) + 1
        return records

    def child(self, code, *arguments, wait=True):
        """Run code in another process with `file`, `rows`, `limit` and so on at hand; what it printed."""
        process = subprocess.Popen([sys.executable, "-c", CHILD + code, self.home] + list(arguments), cwd=ROOT, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, universal_newlines=True)
        self._processes.append(process)
        if not wait:
            return process
        output = process.communicate(timeout=DEADLINE)[0]
        self.assertEqual(process.returncode, 0, output)
        return output.strip()


class ChangeTest(JobFileTest):

    def test_first_record_makes_the_file_for_its_owner_alone(self):
        if POSIX:
            self.addCleanup(os.umask, os.umask(0))
        self.append("a")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["a"])
        if POSIX:
            self.assertEqual(stat.S_IMODE(os.stat(self.path("jobs.json")).st_mode), 0o600)

    def test_file_that_is_not_there_is_an_empty_queue_and_stays_away(self):
        self.assertEqual(self.ids(), [])
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_records_are_added_at_the_end(self):
        self.append("a")
        first = self.read("jobs.json")
        self.append("b", "c")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "b", "c"])
        self.assertTrue(self.read("jobs.json").startswith(first[:-len(END)] + b",\n"))

    def test_appends_of_all_lengths_keep_every_line_within_a_page(self):
        for length in range(0, 4200, 149):
            self.append("a%d" % length, "b%d" % length, command="x" * (length + 1))
        self.assertEqual(len(self.assert_canonical()), 2 * len(range(0, 4200, 149)))

    def test_change_rewrites_line_2_and_nothing_else(self):
        self.append("a", "b", "c")
        before = self.read("jobs.json")
        new = line2("processing", 1, worker="w-1")
        place = self.put(1, new)
        self.assertEqual(self.read("jobs.json"), before[:place] + new + before[place + WIDTH:])

    def test_change_of_a_record_with_a_long_command_writes_one_line(self):
        self.append("a", command="x" * 100000)
        before = self.read("jobs.json")
        place = self.put(0, line2("completed", 1))
        self.assertEqual((self.read("jobs.json")[:place], column(self.read("jobs.json")[place:place + WIDTH], "state")),
                         (before[:place], "completed"))

    def written(self, places, new):
        """Where the writes began that put `new` at these places at once."""
        writes = []

        def note(descriptor, content, offset):
            writes.append(offset)
            return pwrite(descriptor, content, offset)

        def put(file):
            for place in places:
                file.put(place, new)
            with mock.patch("storage.replaceable_file.pwrite", note):
                file.commit()

        self.change(put)
        return writes

    def test_neighbours_are_changed_by_one_write_and_what_lies_between_stays(self):
        self.append(*["job%d" % number for number in range(50)])
        before, new = self.read("jobs.json"), line2("completed", 1)
        changed = self.places()[3:40:2]
        self.assertEqual(self.written(changed[::-1], new), changed[:1])
        for place in changed:
            before = before[:place] + new + before[place + WIDTH:]
        self.assertEqual(self.read("jobs.json"), before)
        self.assert_canonical()

    def test_records_far_from_each_other_are_changed_without_what_lies_between(self):
        self.append("a", command="x" * 100)
        self.append("b", command="y" * 100000)
        self.append("c")
        places = self.places()
        self.assertEqual(self.written(places, line2("dead")), places[:2])
        self.assertEqual([record["state"] for record in self.assert_canonical()], ["dead"] * 3)

    def test_what_is_to_change_is_seen_by_who_changes_it_and_by_no_other(self):
        self.append("a")
        place = self.places()[0]

        def put(file):
            file.put(place, line2("dead"))
            return column(file.line2(place), "state"), column(file.lines(place)[1], "state"), b"pending" in self.read("jobs.json")

        self.assertEqual(self.change(put), ("dead", "dead", True))
        self.assertEqual(self.look()[0]["state"], "dead")

    @unittest.skipUnless(POSIX, "where the time of an open file is not known late")
    def test_a_save_in_place_before_a_change_is_written_is_kept(self):
        self.append("a", "b", command="echo 1")
        tries = []

        def put(file):
            file.put(places[0], line2("completed", 1))
            if not tries:
                self.grow_old()
                with open(self.path("jobs.json"), "r+b") as saved:
                    content = saved.read().replace(b"echo 1", b"echo 2")
                    saved.seek(0)
                    saved.write(content)
            tries.append(1)

        places = self.places()
        self.change(put)
        self.assertEqual((len(tries), [(record["command"], record["state"]) for record in self.assert_canonical()]),
                         (2, [("echo 2", "completed"), ("echo 2", "pending")]))

    @unittest.skipUnless(POSIX, "where the time of an open file is not known late")
    def test_a_shorter_save_in_place_before_a_change_is_written_is_kept(self):
        self.append("a")
        shorter = self.read("jobs.json")
        self.append("b")
        places = self.places()

        def put(file):
            for place in places:
                file.put(place, line2("completed", 1))
            if len(places) > 1:
                self.overwrite(shorter)
                places.pop()

        self.change(put)
        self.assertEqual([(record["id"], record["state"]) for record in self.assert_canonical()], [("a", "completed")])

    def test_what_is_noted_of_the_states_is_told_and_what_is_wrong_with_it_found(self):
        self.append("a", "b", "c")
        self.put(1, line2("dead"))
        self.put(2, line2("processing"))
        with OpenFiles(self.locks[self.file], self.file):
            self.file.notes.counts = (9, 9, 9, 9)
            with self.file.view() as view:
                self.assertEqual(view.count(), dict.fromkeys(STATES, 9))
                self.assertEqual(view.recount(), {"pending": 1, "processing": 1, "completed": 0, "dead": 1})
            self.assertFalse(self.file.counts_agree())
            self.file.forget_notes()
        with OpenFiles(self.locks[self.file], self.file):  # which has looked at all of it again
            self.assertTrue(self.file.counts_agree())
            with self.file.view() as view:
                self.assertEqual(view.count(), {"pending": 1, "processing": 1, "completed": 0, "dead": 1})

    def test_rewrite_replaces_the_file_whole(self):
        self.append("a", "b")
        former = os.stat(self.path("jobs.json")).st_ino
        self.change(lambda file: file.rewrite(rows("c", "d", "e")))
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["c", "d", "e"])
        self.assertEqual(sorted(os.listdir(self.home)), ["jobs.json", "run"])
        if POSIX:
            self.assertNotEqual(os.stat(self.path("jobs.json")).st_ino, former)

    def test_rewrite_of_several_chunks_is_canonical(self):
        many = ["job%d" % number for number in range(700)]
        self.change(lambda file: file.rewrite(rows(*many, command="x" * 4000)))
        self.assertEqual([record["id"] for record in self.assert_canonical()], many)

    def test_rewrite_without_records_leaves_an_empty_array(self):
        self.append("a")
        self.change(lambda file: file.rewrite(()))
        self.assertEqual(self.read("jobs.json"), EMPTY)
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["b"])

    def test_a_file_is_emptied_in_place_where_the_disk_has_no_room_for_the_name_of_another_one(self):
        self.append("a", "b")
        with mock.patch.object(replaceable_file, "replace", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
            self.change(lambda file: file.clear())
        self.assertEqual((self.read("jobs.json"), sorted(os.listdir(self.home))), (EMPTY, ["jobs.json", "run"]))
        self.append("c")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["c"])

    def test_leftover_of_a_rewrite_that_was_killed_is_no_obstacle(self):
        self.append("a")
        self.write("jobs.json.new", "half")
        self.change(lambda file: file.rewrite(rows("b")))
        self.assertEqual((self.ids(), sorted(os.listdir(self.home))), (["b"], ["jobs.json", "run"]))

    def test_greatest_created_at_is_remembered(self):
        self.change(lambda file: file.append(rows("a"), 1000))
        self.change(lambda file: file.append(rows("b"), 500))
        self.assertEqual(self.change(lambda file: file.notes.last_created), 1000)
        self.assertEqual(self.change(lambda file: file.notes.last_created, self.job_file()), 1000)

    def test_greatest_created_at_is_read_from_the_file_when_the_notes_are_gone(self):
        self.append("a", "b")
        self.forget()
        self.grow_old()
        last = self.change(lambda file: file.notes.last_created, self.job_file())
        self.assertEqual(format_time(last / 1e6), TIME % 1)

    @unittest.skipIf(os.name == "nt", "an open file cannot be replaced on Windows")
    def test_kept_descriptor_tells_whether_the_file_was_replaced(self):
        self.append("a")
        descriptor = self.change(lambda file: file.keep())
        try:
            self.assertTrue(self.file.is_current(descriptor))
            self.write("other", "[]")
            os.replace(self.path("other"), self.path("jobs.json"))
            self.assertFalse(self.file.is_current(descriptor))
            os.unlink(self.path("jobs.json"))
            self.assertFalse(self.file.is_current(descriptor))
        finally:
            os.close(descriptor)

    def test_view_shows_the_file_as_it_was_at_one_moment(self):
        self.append("a")
        with OpenFiles(self.locks[self.file], self.file):
            view = self.file.view()
        self.append("b")
        with view:
            self.assertEqual(([record["id"] for _, record in view.records()], view.count()["pending"]), (["a"], 1))

    def test_view_gives_records_by_state_and_by_what_line_1_contains(self):
        self.append("a", "b", "c")
        self.put(1, line2("dead"))
        with OpenFiles(self.locks[self.file], self.file):
            view = self.file.view()
        with view:
            self.assertEqual([record["id"] for _, record in view.records(("pending", "completed"))], ["a", "c"])
            self.assertEqual([record["id"] for _, record in view.records(containing=b"\"b\"")], ["b"])
            self.assertEqual([record["id"] for _, record in view.records(("dead",), containing=b"\"a\"")], [])
            self.assertEqual(view.count(), {"pending": 2, "processing": 0, "completed": 0, "dead": 1})

    def test_record_caught_in_the_middle_of_a_change_is_read_again_under_the_lock(self):
        """Half of a change is in the file, as a reader without the lock can see it, until the one who changes it gives up the lock."""
        self.addCleanup(setattr, file_lock, "NOTICE_AFTER", file_lock.NOTICE_AFTER)
        file_lock.NOTICE_AFTER = 0.05
        self.append("a", "b", "c")
        place, content = self.places()[1], self.read("jobs.json")
        looks = (("records", lambda view: [record["id"] for _, record in view.records()], ["a", "b", "c"]),
                 ("a count", lambda view: view.recount()["pending"], 3))
        for column_name, torn in (("state", b"\"procing\"   "), ("updated_at", b"\"2026-null ")):
            for name, look, expected in looks:
                with self.subTest(name, torn=column_name):
                    waits, found = [], []
                    reader = self.job_file(lambda: waits.append(1))
                    with OpenFiles(self.locks[reader], reader):
                        view = reader.view()
                    thread = threading.Thread(target=lambda: found.append(look(view)))
                    with view:
                        with self.locks[self.file]:
                            self.overwrite_bytes(place + COLUMN_AT[column_name], torn)
                            thread.start()
                            self.wait_for(lambda: waits or not thread.is_alive())
                            self.overwrite_bytes(place, content[place:place + WIDTH])
                        thread.join(DEADLINE)
                    self.assertEqual(found, [expected])

    def overwrite_bytes(self, place, new):
        """Change bytes of the file in place."""
        with open(self.path("jobs.json"), "r+b", buffering=0) as file:
            file.seek(place)
            file.write(new)

    def test_only_the_place_of_a_line_2_is_taken_for_one(self):
        self.append("a", "b")
        places = self.places()

        def look(file):
            for place in list(range(-3, len(self.read("jobs.json")) + 400)):
                found = file.line2(place), file.lines(place)
                if place not in places and found != (None, None):
                    self.fail("%d is taken for the place of a record" % place)
            return [(column(file.line2(place), "state"), file.lines(place)[1] == file.line2(place)) for place in places]

        self.assertEqual(self.change(look), [("pending", True)] * 2)

    @unittest.skipUnless(POSIX, "symbolic links need rights on Windows")
    def test_symbolic_link_is_refused_and_its_target_left_alone(self):
        self.write("precious", "[]")
        os.symlink(self.path("precious"), self.path("jobs.json"))
        for operation in (self.ids, lambda: self.append("a")):
            with self.assertRaises(StorageFault) as caught:
                operation()
            self.assertIn("must not be a symbolic link", str(caught.exception))
        self.assertEqual(self.read("precious"), b"[]")

    def test_folder_in_place_of_the_file_is_a_fault_with_its_path(self):
        os.mkdir(self.path("jobs.json"))
        for operation in (self.ids, lambda: self.append("a")):
            with self.assertRaises(StorageFault) as caught:
                operation()
            self.assertIn(self.path("jobs.json"), str(caught.exception))


class TornFileTest(JobFileTest):
    """What a crash leaves of an append: the new bytes up to some byte, over the old ones."""

    def torn(self, new):
        """The file before an append of these rows, where it began, and what it wrote."""
        content = self.read("jobs.json")
        start = len(content) - len(END)
        written = bytes(lay_out(new, start, content == EMPTY)) + END
        return content, start, written

    def cut(self, content, start, written, size):
        """The file with the first `size` bytes of an append written."""
        kept = content[:start] + written[:size]
        return kept + content[len(kept):]


class TornTest(TornFileTest):
    """The notes are lost with the power."""

    def assert_cut_and_usable(self, torn, whole, what):
        """A file that is torn can be read as it is, and is mended by the next change, without its notes."""
        try:
            self.assertEqual(self.ids(), whole, what)
            self.assertEqual(self.read("jobs.json"), torn, what)
            self.append("next")
        except CorruptFile as error:
            self.fail("%s: %s" % (what, error))
        self.assertEqual([record["id"] for record in self.assert_canonical()], whole + ["next"], what)

    def sweep(self, new, step):
        """Tear an append of these rows at many bytes: around each one where two parts meet, and every `step` bytes else
        (`test_job_format` looks at all of them)."""
        content, start, written = self.torn(new)
        before = [record["id"] for record in json.loads(content.decode("utf-8"))]
        added = [json.loads((first + b"}").decode("utf-8"))["id"] for first, _ in new]
        ends = [written.index(second, written.index(first)) + WIDTH for first, second in new]
        joints = [joint for first, second in new for joint in (written.index(first), written.index(second, written.index(first)))] + ends
        sizes = {joint + near for joint in joints for near in range(-3, 4)} | set(range(0, len(written), step))
        for size in sorted(sizes & set(range(len(written)))):
            torn = self.cut(content, start, written, size)
            self.forget()
            self.overwrite(torn)
            whole = before + [name for name, end in zip(added, ends) if end <= size]
            self.assert_cut_and_usable(torn, whole, "cut at byte %d of %d" % (size, len(written)))
            self.forget()
            self.overwrite(content)

    def test_torn_append_is_dropped_wherever_it_was_cut(self):
        self.append("a")
        self.sweep(rows("b", "c"), 23)

    def test_torn_first_append_is_dropped_wherever_it_was_cut(self):
        self.change(lambda file: file.rewrite(()))
        self.sweep(rows("b"), 23)

    def test_torn_append_of_a_long_command_is_dropped_wherever_it_was_cut(self):
        self.append("a")
        self.sweep(rows("b", command="x" * 9000), 397)

    def test_torn_append_that_pads_to_the_next_page_is_dropped_wherever_it_was_cut(self):
        self.append("a", command="x" * 3000)
        start = len(self.read("jobs.json")) - len(END)
        new = rows("b", command="y" * (PAGE - start % PAGE - 200))
        self.assertIn(b"    ,\n", bytes(lay_out(new, start, False)))
        self.sweep(new, 61)

    def test_append_that_stops_at_a_page_within_its_separator_is_dropped(self):
        """A kill stops a write where a page ends, which can be behind the comma of `,\\n{`; the old `]` still stands there then."""
        for size in (1, 2):
            with self.subTest(size):
                self.forget()
                self.edit(EMPTY)
                length = 0
                while True:
                    content = b"[" + bytes(lay_out(rows("a", command="x" * (length + 1)), 1, True)) + END
                    if (len(content) - len(END) + size) % PAGE == 0:
                        break
                    length += 1
                self.edit(content)
                _, start, written = self.torn(rows("b"))
                self.assertEqual((start + size) % PAGE, 0)
                torn = self.cut(content, start, written, size)
                self.edit(torn)
                self.assert_cut_and_usable(torn, ["a"], "cut at byte %d" % size)

    def test_tail_of_zeros_is_dropped(self):
        self.append("a")
        content, start, written = self.torn(rows("b"))
        for size in (3, 20, 100, len(written) - 100):
            with self.subTest(size):
                torn = content[:start] + written[:size] + bytes(len(written) - size)
                self.forget()
                self.edit(torn)
                self.assert_cut_and_usable(torn, ["a"], size)

    def test_append_of_several_pages_without_its_first_one_is_dropped(self):
        """As a power cut leaves it on a file system that does not delay to give out blocks: the first page is as it was."""
        for length in (100, 4096 - WIDTH - 200, 5000):
            for room in (1, 2, 3, 4, 500):
                with self.subTest(length=length, room=room):
                    self.forget()
                    self.edit(EMPTY)
                    self.append("a", command="x" * length)
                    shift = (PAGE - room - len(self.read("jobs.json")) + len(END)) % PAGE
                    self.edit(EMPTY)
                    self.append("a", command="x" * (length + shift))
                    content, start, written = self.torn(rows(*"bcdefghijklmnopq", command="y" * 700))
                    page = (start // PAGE + 1) * PAGE
                    self.forget()
                    torn = content[:page].ljust(page, b"\0") + written[page - start:]
                    self.edit(torn)
                    self.assert_cut_and_usable(torn, ["a"], "the first page")
                    self.forget()
                    torn = content[:page].ljust(page + PAGE, b"\0") + written[page + PAGE - start:]
                    self.edit(torn)
                    self.assert_cut_and_usable(torn, ["a"], "two pages")

    def test_bytes_that_are_cut_off_are_kept_beside_and_told(self):
        self.append("a")
        content, start, written = self.torn(rows("b"))
        self.forget()
        self.edit(content[:start] + written[:60])
        self.append("c")
        beside = [name for name in os.listdir(self.home) if ".torn-" in name]
        self.assertEqual([self.read(name) for name in beside], [written[:60]])
        self.assertEqual(len(self.notices), 1)
        self.assertIn(beside[0], self.notices[0])
        if POSIX:
            self.assertEqual(stat.S_IMODE(os.stat(self.path(beside[0])).st_mode), 0o600)

    def test_end_that_is_missing_alone_is_mended_without_a_word(self):
        self.append("a")
        for end in (b"", b"\n", b"\n]", b",", b",\n"):
            with self.subTest(end):
                content = self.read("jobs.json")
                self.forget()
                self.edit(content[:-len(END)] + end)
                self.append("b")
                self.assertEqual(self.notices, [])
                self.assertEqual([name for name in os.listdir(self.home) if ".torn-" in name], [])
                self.assert_canonical()

    def test_reader_leaves_a_torn_file_as_it_is(self):
        self.append("a")
        content, start, written = self.torn(rows("b"))
        self.forget()
        self.edit(content[:start] + written[:60])
        self.assertEqual((self.ids(), self.read("jobs.json")), (["a"], content[:start] + written[:60]))
        self.assertEqual(self.notices, [])


class IntentTest(TornFileTest):
    """The process was killed, and its note of an append that did not end is left."""

    def note(self, **changes):
        """Change the note of the last change, as a process that is killed leaves it."""
        lock = FileLock(self.path("run", "lock"))
        with lock:
            notes = Notes(lock, 0)
            notes.read()
            for name, value in changes.items():
                setattr(notes, name, value)
            notes.write()

    def test_append_that_was_begun_in_another_boot_is_known_by_its_shape_alone(self):
        """Behind a power cut the note may be older than what is there."""
        self.append("a", "b", "c")
        first, second, _ = self.places()
        self.edit(self.read("jobs.json")[:second + WIDTH + 1])
        self.note(intent=first + WIDTH, intent_end=second + 2000)
        with mock.patch("storage.notes.boot_id", lambda: "another"):
            reader = self.job_file()
        self.assertEqual(self.change(lambda file: file.view().count()["pending"], reader), 2)

    def test_why_a_file_is_torn_is_told_as_far_as_it_is_known(self):
        for name, boot, durable, told in (("another boot", "another", True, "as a power cut leaves it while jobs are added (they were never"),
                                          ("without fsync", "another", False, "as a power cut leaves it while jobs are added; its last"),
                                          ("no notes", None, True, "as a crash leaves it while jobs are added; its last"),
                                          ("this boot", "", True, "as another program left it; its last")):
            with self.subTest(name):
                self.change(lambda file: file.rewrite(rows("a")))
                content, start, written = self.torn(rows("b"))
                if boot is None:
                    self.forget()
                self.edit(content[:start] + written[:60])
                with mock.patch("storage.notes.boot_id", lambda: boot) if boot else contextlib.nullcontext():
                    file = self.job_file()
                file.durable = durable
                self.notices.clear()
                self.append("c", file=file)
                self.assertEqual(len(self.notices), 1)
                if boot != "" or file.notes.this_boot:
                    self.assertIn(told, self.notices[0])
                self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "c"])

    def test_append_that_was_killed_is_taken_back_wherever_it_stopped(self):
        self.append("a")
        content, start, written = self.torn(rows("b", "c", command="x" * 300))
        for size in list(range(len(END) + 1)) + list(range(19, len(written), 19)):
            self.overwrite(content)
            self.note(size=len(content), intent=start, intent_end=start + len(written), counts=(1, 0, 0, 0))
            self.overwrite(self.cut(content, start, written, size))
            self.assertEqual(self.ids(), ["a"], size)
            if size not in (1, 2):  # part of the separator over a part of the end is cut off by the next change
                self.assertEqual(self.read("jobs.json"), content, size)
            self.append("d")
            self.assertEqual(([record["id"] for record in self.assert_canonical()], self.notices), (["a", "d"], []), size)

    def test_first_append_that_was_killed_is_taken_back(self):
        self.change(lambda file: file.rewrite(()))
        content, start, written = self.torn(rows("b"))
        for size in list(range(len(END) + 1)) + list(range(19, len(written), 19)):
            self.overwrite(content)
            self.note(intent=start, intent_end=start + len(written), counts=(0, 0, 0, 0))
            self.overwrite(self.cut(content, start, written, size))
            self.assertEqual(self.ids(), [], size)
            self.append("d")
            self.assertEqual(([record["id"] for record in self.assert_canonical()], self.notices), (["d"], []), size)

    def test_append_that_is_whole_stays_although_its_note_does_too(self):
        self.append("a")
        content, start, written = self.torn(rows("b", "c"))
        self.note(intent=start, intent_end=start + len(written))
        self.overwrite(content[:start] + written)
        self.assertEqual(self.ids(), ["a", "b", "c"])
        self.append("d")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "b", "c", "d"])

    def test_undoing_that_was_killed_is_done_by_the_next(self):
        self.append("a")
        content, start, written = self.torn(rows("b"))
        for left in (b"", b"\n", b"\n]"):
            with self.subTest(left):
                self.note(intent=start, intent_end=start + len(written))
                self.overwrite(content[:start] + left)
                self.append("d")
                self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "d"])
                self.change(lambda file: file.rewrite(rows("a")))
                content, start, written = self.torn(rows("b"))

    def test_note_that_does_not_belong_to_the_file_is_ignored(self):
        self.append("a")
        first = len(self.read("jobs.json")) - len(END)
        self.append("b", "c")
        content = self.read("jobs.json")
        inode = os.stat(self.path("jobs.json")).st_ino
        for name, changes in (
                ("another file", dict(inode=inode + 1, intent=first, intent_end=len(content) + 100)),
                ("behind the end", dict(intent=len(content) + 5, intent_end=len(content) + 900)),
                ("a place where no record ends", dict(intent=first - 40, intent_end=len(content) + 900)),
                ("a whole append", dict(intent=first, intent_end=len(content))),
                ("an append before an edit that made the file longer", dict(intent=first, intent_end=len(content) - 10)),
                ("an append that has an end", dict(intent=first, intent_end=len(content) + 900)),
                ("nonsense", dict(intent=2 ** 64 - 1, intent_end=1)),
        ):
            with self.subTest(name):
                self.note(**changes)
                self.grow_old()
                self.assertEqual(self.ids(), ["a", "b", "c"])
                self.assertEqual(self.read("jobs.json"), content)

    def test_note_of_another_file_or_of_an_older_append_cuts_nothing_that_is_whole(self):
        """The file ends in a torn tail of its own, so that only its inode and its size tell that the note is about something else."""
        self.append("a")
        start = len(self.read("jobs.json")) - len(END)
        self.append("b")
        second = len(self.read("jobs.json")) - len(END)
        self.append("c")
        torn = self.read("jobs.json")[:second + 100]
        inode = os.stat(self.path("jobs.json")).st_ino
        for name, changes in (("another file", dict(inode=inode + 1, intent=start, intent_end=len(torn) + 300)),
                              ("an older append", dict(inode=inode, intent=start, intent_end=second + len(END)))):
            with self.subTest(name):
                self.overwrite(torn)
                self.note(size=second + len(END), **changes)
                self.assertEqual(self.ids(), ["a", "b"])
                self.append("d")
                self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "b", "d"])

    def test_note_is_gone_after_an_append(self):
        self.append("a")
        self.append("b")
        notes = Notes(self.locks[self.file], 0)
        with self.locks[self.file]:
            notes.read()
        self.assertEqual((notes.intent, notes.size), (0, len(self.read("jobs.json"))))

    def test_note_of_an_editors_file_is_ignored(self):
        self.append("a")
        content, start, written = self.torn(rows("b"))
        self.note(intent=start, intent_end=start + len(written))
        self.edit(json.dumps([{"id": "x", "command": "y" * 600}]), "saved")
        os.replace(self.path("saved"), self.path("jobs.json"))
        self.assertEqual(self.ids(), ["x"])


@unittest.skipUnless(POSIX, "forks, and times that can be set")
class TickTest(JobFileTest):
    """The clock for files stands still, as each does for some milliseconds but on a new Linux. (.ci/run has a file system of that kind.)"""

    FINEST = {"nanoseconds": 1, "100 ns": 100, "microseconds": 1000, "10 ms": 10 ** 7, "seconds": 10 ** 9, "2 s": 2 * 10 ** 9}

    def standing_clock(self, finest):
        """A system whose clock for files stands still, on a file system that keeps times in units of `finest` nanoseconds; 0 for one on
        which they cannot be set."""
        self.file = self.job_file()
        self.tick = tick = (int(time.time()) - 60) // 2 * 2 * 10 ** 9

        def write(descriptor, content, offset):
            written = pwrite(descriptor, content, offset)
            os.utime(descriptor, ns=(tick, tick))
            return written

        def set_mtime(descriptor, nanoseconds):
            if not finest:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            nanoseconds -= nanoseconds % finest
            os.utime(descriptor, ns=(nanoseconds, nanoseconds))

        def write_beside(path, pieces):
            beside = system.write_beside(path, pieces)
            os.utime(beside, ns=(tick, tick))
            return beside

        patches = contextlib.ExitStack()
        patches.enter_context(mock.patch.multiple(replaceable_file, pwrite=write, write_beside=write_beside))
        patches.enter_context(mock.patch.object(noted_file, "set_mtime", set_mtime))
        return patches

    def killed_at(self, point, change):
        """Do it in a child that is killed right before its call number `point` that changes anything; whether there is such a call."""
        def dies(call):
            def counted(*arguments):
                calls.append(call)
                if len(calls) > point:
                    os._exit(1)
                return call(*arguments)
            return counted

        calls = []
        child = os.fork()
        if not child:
            try:
                replaceable_file.pwrite, noted_file.set_mtime, file_lock.pwrite = (
                    dies(call) for call in (replaceable_file.pwrite, noted_file.set_mtime, file_lock.pwrite))
                change()
                os._exit(0)
            finally:
                os._exit(2)
        status = os.waitpid(child, 0)[1]
        self.assertIn(status, (0, 1 << 8))
        return bool(status)

    def test_change_of_a_process_that_is_killed_anywhere_within_it_is_seen_by_all(self):
        for name, finest in sorted(dict(self.FINEST, none=0).items()):
            with self.subTest(name), self.standing_clock(finest):
                point, killed = 0, True
                while killed:
                    self.change(lambda file: file.rewrite(rows("a", "b")))
                    reader = self.job_file()
                    self.put(0, line2("processing", 1), reader)
                    mark, place = self.change(lambda file: file.version, reader), self.places(reader)[1]
                    writer = self.job_file()
                    killed = self.killed_at(point, lambda: self.change(lambda file: file.put(place, line2("dead", 7)), writer))
                    changes = self.change(lambda file: file.notes.changes_since(mark), reader)
                    if self.look(reader)[1]["state"] == "dead":
                        self.assertIn(place, [place] if changes is None else changes, point)
                    self.assertEqual(self.change(lambda file: file.counts_agree(), reader), True, point)
                    point += 1
                self.assertGreater(point, 3)

    def test_save_in_place_of_the_same_size_behind_a_change_is_seen(self):
        changes = (("a change", lambda file: file.put(place, line2("processing", 1))),
                   ("an append", lambda file: file.append(rows("d"), 4)), ("a rewrite", lambda file: file.rewrite(rows("a", "b", "c"))))
        for name, finest in sorted(self.FINEST.items()):
            for what, change in changes:
                with self.subTest(name, change=what), self.standing_clock(finest):
                    self.change(lambda file: file.rewrite(rows("a", "b", "c")))
                    place = self.places()[0]
                    self.change(change)
                    content = self.read("jobs.json").replace(b'"id": "b"', b'"id": "x"')
                    with open(self.path("jobs.json"), "r+b") as file:
                        system.pwrite(file.fileno(), content, 0)
                        os.utime(file.fileno(), ns=(self.tick, self.tick))
                    mark = self.file.version
                    self.assertIsNone(self.change(lambda file: file.notes.changes_since(mark)))
                    self.assertEqual(self.ids()[:3], ["a", "x", "c"])

    def test_what_has_not_changed_is_not_looked_at_again(self):
        for name, finest in sorted(dict(self.FINEST, none=0).items()):
            with self.subTest(name), self.standing_clock(finest):
                self.change(lambda file: file.rewrite(rows("a", "b")))
                mark = self.change(lambda file: file.version)
                place = self.put(1, line2("dead"))
                self.append("c")
                reader = self.job_file()
                self.assertEqual(self.change(lambda file: list(file.notes.changes_since(mark)), reader), [place])

    def test_an_editors_file_that_is_only_looked_at_keeps_its_time(self):
        with self.standing_clock(1):
            self.append("a")
            self.edit(self.read("jobs.json").replace(b'"id": "a"', b'"id": "x"'))
            before = os.stat(self.path("jobs.json")).st_mtime_ns
            self.assertEqual(self.ids(), ["x"])
            self.assertEqual(os.stat(self.path("jobs.json")).st_mtime_ns, before)


@unittest.skipUnless(POSIX, "resource limits and kills of POSIX")
class DiskTest(JobFileTest):
    """A disk that takes no more, as a limit on the size of files shows it: first a short write, then an error."""

    APPEND = """
size = os.path.getsize(file.path)
limit(size + int(sys.argv[2]))
try:
    with OpenFiles(lock, file, change=True):
        file.append(rows(["b", "c"], "y" * 500))
except StorageFault as error:
    print("refused: %s" % error)
"""

    def test_append_that_falls_short_changes_nothing(self):
        self.append("a")
        content = self.read("jobs.json")
        for room in (0, 1, 2, 3, 10, 500, 1000):
            with self.subTest(room):
                printed = self.child(self.APPEND, str(room))
                self.assertTrue(printed.startswith("refused: cannot write %s" % self.path("jobs.json")), printed)
                self.assertIn("nothing was changed", printed)
                self.assertEqual(self.read("jobs.json"), content)
                self.assertEqual(self.ids(), ["a"])

    def test_first_append_that_falls_short_changes_nothing(self):
        self.change(lambda file: file.rewrite(()))
        for room in (100, 500):
            with self.subTest(room):
                self.assertTrue(self.child(self.APPEND, str(room)).startswith("refused: "))
                self.assertEqual(self.read("jobs.json"), EMPTY)

    def test_append_that_was_undone_leaves_the_index_of_others_right(self):
        self.append("a")
        mark = self.change(lambda file: file.version)
        self.assertTrue(self.child(self.APPEND, "500").startswith("refused: "))
        self.append("d")
        changes, added = self.change(lambda file: (file.notes.changes_since(mark), [place for place, _ in file.pending_since(mark)]))
        self.assertEqual((list(changes), added), ([], self.places()[1:]))

    def test_records_can_be_added_again_when_there_is_room(self):
        self.append("a")
        self.child(self.APPEND, "500")
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "b"])

    def test_rewrite_that_falls_short_leaves_the_old_file(self):
        self.append("a", "b")
        content = self.read("jobs.json")
        for size in (0, 1, 300, len(content) - 1):
            with self.subTest(size):
                printed = self.child("limit(int(sys.argv[2]))\n"
                                     "file.notes.write = file.notes.add_changes = lambda *ignored: None\n"
                                     "try:\n"
                                     "    with OpenFiles(lock, file):\n"
                                     "        file.rewrite(rows(['a', 'b']))\n"
                                     "except StorageFault as error:\n"
                                     "    print('refused: %s' % error)\n", str(size))
                self.assertTrue(printed.startswith("refused: cannot rewrite"), printed)
                self.assertEqual((self.read("jobs.json"), sorted(os.listdir(self.home))), (content, ["jobs.json", "run"]))
                self.assertEqual(self.ids(), ["a", "b"])

    def test_change_that_cannot_be_noted_makes_others_look_again_at_everything(self):
        self.append("a", "b")
        reader = self.job_file()
        mark = self.change(lambda file: file.version, reader)
        place = self.places()[1]
        printed = self.child("limit(4096)\n"
                             "with OpenFiles(lock, file, change=True):\n"
                             "    place = int(sys.argv[2])\n"
                             "    old = file.line2(place)\n"
                             "    file.put(place, old.replace(b'\"attempts\": 0', b'\"attempts\": 7'))\n"
                             "    file.commit()\n"
                             "    print('changed')\n", str(place))
        self.assertEqual((printed, self.look(reader)[1]["attempts"]), ("changed", 7))
        self.assertIsNone(self.change(lambda file: file.notes.changes_since(mark), reader))

    def test_change_that_the_disk_refuses_changes_nothing(self):
        self.append("a", command="x" * 500)
        content = self.read("jobs.json")
        printed = self.child("place = int(sys.argv[2])\n"
                             "try:\n"
                             "    with OpenFiles(lock, file, change=True):\n"
                             "        old = file.line2(place)\n"
                             "        limit(place + 100)\n"
                             "        file.put(place, old.replace(b'pending', b'PENDING').replace(b'null', b'NULL'))\n"
                             "        file.commit()\n"
                             "except StorageFault as error:\n"
                             "    print('refused: %s' % error)\n", str(self.places()[0]))
        self.assertTrue(printed.startswith("refused: cannot change"), printed)
        self.assertEqual(self.read("jobs.json"), content)

    def test_changes_of_which_the_disk_refuses_one_are_all_undone(self):
        self.append("a", command="x" * 100)
        self.append("b", command="y" * 100000)
        content, places, writes = self.read("jobs.json"), self.places(), []

        def refuse_the_second(descriptor, content, offset):
            writes.append(offset)
            if len(writes) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return pwrite(descriptor, content, offset)

        def put(file):
            for place in places:
                file.put(place, line2("dead"))
            with mock.patch("storage.replaceable_file.pwrite", refuse_the_second):
                file.commit()

        with self.assertRaises(StorageFault) as caught:
            self.change(put)
        self.assertIn("free some space", str(caught.exception))
        self.assertEqual((self.read("jobs.json"), writes), (content, places + places))
        self.assertEqual([record["state"] for record in self.look()], ["pending"] * 2)

    def test_a_disk_that_cannot_be_read_is_told_of_with_the_path(self):
        self.append("a")
        place = self.places()[0]

        def fail(*ignored):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def edit():
            self.edit(b"[]")
            self.look()

        for name, operation in (("records", self.look), ("line 2", lambda: self.change(lambda file: file.line2(place))),
                                ("adding", lambda: self.append("b")), ("another's file", edit)):
            with self.subTest(name):
                with mock.patch("storage.job_file.pread", fail), mock.patch("storage.noted_file.pread", fail), \
                        mock.patch("storage.layout.pread", fail), mock.patch("storage.file_lock.pread", fail):
                    with self.assertRaises(StorageFault) as caught:
                        operation()
                self.assertIn("cannot read %s: " % self.path("jobs.json"), str(caught.exception))
                self.assertIn("the disk may be failing", str(caught.exception))

    def test_acknowledged_records_survive_kills_at_any_moment(self):
        code = ("for batch in range(10000):\n"
                "    names = ['%s-%d-%d' % (sys.argv[2], batch, number) for number in range(1000)]\n"
                "    while True:\n"
                "        try:\n"
                "            with OpenFiles(lock, file, change=True):\n"
                "                file.append(rows(names))\n"
                "            break\n"
                "        except Replaced:\n"
                "            continue\n"
                "    print(names[-1], flush=True)\n")
        acknowledged = []
        for life in range(8):
            process = self.child(code, str(life), wait=False)
            for _ in range(life % 3 + 1):
                acknowledged.append(process.stdout.readline().strip())
            process.kill()
            acknowledged.extend(line.strip() for line in process.stdout.readlines() if line.endswith("\n"))
            process.wait()
        self.append("last")
        present = [record["id"] for record in self.assert_canonical()]
        self.assertEqual(len(set(present)), len(present))
        self.assertLessEqual(set(filter(None, acknowledged)), set(present))
        batches = {}
        for name in present[:-1]:
            batches.setdefault(name.rpartition("-")[0], []).append(name)
        self.assertEqual({len(names) for names in batches.values()}, {1000})


class EditorTest(JobFileTest):
    """Someone else writes the file."""

    JOBS = [{"id": "a", "command": "x"},
            {"id": "b", "command": "y\n\"z\" \u00e9\u4e16", "created_at": TIME % 5, "state": "dead", "attempts": 4, "exit_code": 1,
             "reason": "failed", "own": [1, {"z": None}], "cwd": "/tmp"}]

    def test_file_that_was_saved_by_renaming_is_seen(self):
        self.append("a")
        self.assertEqual(self.ids(), ["a"])
        self.edit(json.dumps([{"id": "x", "command": "y"}]), "saved")
        os.replace(self.path("saved"), self.path("jobs.json"))
        self.assertEqual(self.ids(), ["x"])
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["x", "b"])

    @unittest.skipIf(system.WINDOWS, "there are no FIFOs")
    def test_file_that_comes_back_after_something_that_is_no_file_is_opened_again(self):
        self.append("a")
        os.rename(self.path("jobs.json"), self.path("away"))
        os.mkfifo(self.path("jobs.json"))
        with self.assertRaises(StorageFault):
            self.ids()
        os.replace(self.path("away"), self.path("jobs.json"))
        self.assertEqual(self.ids(), ["a"])
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "b"])

    def test_file_that_was_saved_in_place_is_seen(self):
        self.append("a")
        self.edit(json.dumps([{"id": "x", "command": "y"}]))
        self.assertEqual(self.ids(), ["x"])
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["x", "b"])

    def test_file_that_was_just_saved_is_waited_for_and_seen(self):
        self.append("a")
        self.write("jobs.json", json.dumps([{"id": "x", "command": "y"}]))
        self.assertEqual(self.ids(), ["x"])

    def test_file_that_was_deleted_is_an_empty_queue(self):
        self.append("a")
        os.unlink(self.path("jobs.json"))
        self.assertEqual(self.ids(), [])
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["b"])

    def test_file_that_was_emptied_is_refused_until_an_empty_array_is_written(self):
        self.append("a")
        self.edit("")
        for operation in (self.ids, lambda: self.append("b")):
            with self.assertRaisesRegex(CorruptFile, "write \\[\\] to start afresh"):
                operation()
        self.assertEqual(self.read("jobs.json"), b"")
        self.edit("[]")
        self.assertEqual((self.ids(), self.read("jobs.json")), ([], b"[]"))
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["b"])

    def test_file_that_is_empty_from_the_start_is_an_empty_queue(self):
        self.edit("")
        self.assertEqual((self.ids(), self.read("jobs.json")), ([], b""))
        self.append("b")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["b"])

    def test_file_that_is_empty_for_a_moment_is_waited_for(self):
        """An editor truncates and then writes: here it writes while the reader waits for the first time."""
        self.append("a", "b")
        for operation in ("with OpenFiles(lock, file): view = file.view()\n",
                          "with OpenFiles(lock, file, change=True): view = file.view()\n"):
            with self.subTest(operation):
                printed = self.child("import time\n"
                                     "content = open(file.path, 'rb').read()\n"
                                     "sleep = time.sleep\n"
                                     "def write_first(seconds):\n"
                                     "    time.sleep = sleep\n"
                                     "    open(file.path, 'r+b').write(content)\n"
                                     "    sleep(seconds)\n"
                                     "time.sleep = write_first\n"
                                     "open(file.path, 'wb').close()\n" + operation +
                                     "print(time.sleep is sleep, *[record['id'] for _, record in view.records()])\n")
                self.assertEqual(printed, "True a b")

    SLOW = """
import time
content, sleep, left = open(file.path, 'rb').read(), time.sleep, [30]
def write_late(seconds):
    sleep(seconds)
    left[0] -= 1
    if not left[0]:
        open(file.path, 'r+b').write(content)
time.sleep = write_late
with open(file.path, 'r+b') as cut:
    cut.truncate(int(sys.argv[2]))
while True:
    try:
        with OpenFiles(lock, file, change=True):
            file.append(rows(['new']))
        break
    except Replaced:
        continue
"""

    def test_file_that_stands_still_empty_or_torn_is_changed_only_once_it_has_done_so_for_seconds(self):
        """Someone saves it in place and is slow: here the rest comes after 0.6 s."""
        self.append("a", "b")
        content = self.read("jobs.json")
        for size in (0, len(content) - 100):
            with self.subTest(size):
                self.overwrite(content)
                self.forget()
                self.assertIn("waiting for %s" % self.path("jobs.json"), self.child(self.SLOW, str(size)))
                self.assertEqual([record["id"] for record in self.assert_canonical()], ["a", "b", "new"])
                self.assertEqual([name for name in os.listdir(self.home) if ".torn-" in name], [])

    def test_file_that_stands_still_empty_or_torn_for_seconds_is_changed(self):
        self.append("a", "b")
        content = self.read("jobs.json")
        with mock.patch.object(foreign, "_PATIENCE", 0.3):
            for size, left in ((0, []), (len(content) - 100, ["a"])):
                with self.subTest(size):
                    self.overwrite(content)
                    self.forget()
                    os.truncate(self.path("jobs.json"), size)
                    self.append("new")
                    self.assertEqual([record["id"] for record in self.assert_canonical()], left + ["new"])

    def test_file_that_is_half_written_for_a_moment_is_not_refused(self):
        self.append("a", "b")
        printed = self.child("import time\n"
                             "content = open(file.path, 'rb').read()\n"
                             "sleep = time.sleep\n"
                             "def write_the_rest(seconds):\n"
                             "    time.sleep = sleep\n"
                             "    open(file.path, 'r+b').write(content)\n"
                             "    sleep(seconds)\n"
                             "time.sleep = write_the_rest\n"
                             "open(file.path, 'wb').write(b'[{\"id\": \"a\", ')\n"
                             "with OpenFiles(lock, file): view = file.view()\n"
                             "print(*[record['id'] for _, record in view.records()])\n")
        self.assertEqual(printed, "a b")

    def layouts(self):
        """(name, bytes) of the same two jobs as other programs write them."""
        jobs = [job_from_record(dict({"created_at": TIME % 1}, **job)) for job in self.JOBS]
        first, second = [(encode_line1(job.fields()), encode_line2(job.progress())) for job in jobs]
        ours = b"[" + bytes(lay_out([first, second], 1, True)) + END
        one, other = [json.dumps(job).encode("ascii") for job in self.JOBS]
        across = b" " * (PAGE - WIDTH - len(first[0]) - 3)
        return (
            ("compact", json.dumps(self.JOBS, separators=(",", ":")).encode("ascii")),
            ("indented", json.dumps(self.JOBS, indent=2).encode("ascii")),
            ("jq", json.dumps(self.JOBS, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"),
            ("line ends of Windows", json.dumps(self.JOBS, indent=2).replace("\n", "\r\n").encode("ascii")),
            ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(self.JOBS, ensure_ascii=False).encode("utf-8")),
            ("a line a job", b"[\n" + one + b",\n" + other + b"\n]\n"),
            ("a line a job, no last line end", b"[\n" + one + b",\n" + other + b"\n]"),
            ("a line a job, the bracket behind the last", b"[\n" + one + b",\n" + other + b"]"),
            ("a line a job, the bracket behind the last, a line end", b"[\n" + one + b",\n" + other + b"]\n"),
            ("all jobs in the second line", b"[\n" + one + b", " + other + b"]"),
            ("all jobs in the second line, a line end", b"[\n" + one + b", " + other + b"]\n"),
            ("ours, one column wider", ours.replace(b"\"reason\": null ", b"\"reason\": null  ", 1)),
            ("ours, an empty line behind", ours + b"\n"),
            ("ours, without padding", ours.replace(b"   ", b"")),
            ("ours, across a page", b"[\n" + first[0] + across + b",\n" + first[1] + b",\n" + other + END),
            ("ours, then one typed by hand", b"[\n" + first[0] + b",\n" + first[1] + b",\n" + other + END),
            ("ours, then one typed by hand, the bracket behind it", b"[\n" + first[0] + b",\n" + first[1] + b",\n" + other + b"]\n"),
        )

    def test_single_job_typed_by_hand_is_never_taken_for_a_torn_tail(self):
        for content in ("[\n{\"id\": \"a\", \"command\": \"x\"}]", "[\n{\"id\": \"a\", \"command\": \"x\"}]\n",
                        "[\n{\"id\": \"a\", \"command\": \"x\"}\n]",
                        "[\n{\"id\": \"a\", \"command\": \"x\"}\n]\n", "[\n{\"id\": \"a\",\n\"command\": \"x\"}]\n",
                        "[\n{\"id\": \"a\", \"command\": \"" + "x" * 1000 + "\"}]\n"):
            with self.subTest(content[:50]):
                self.edit(content)
                self.assertEqual(self.ids(), ["a"])
                self.append("b")
                self.assertEqual(([record["id"] for record in self.assert_canonical()], self.notices), (["a", "b"], []))

    def test_every_layout_is_read_as_it_is(self):
        for name, content in self.layouts():
            with self.subTest(name):
                self.assertEqual([job["id"] for job in json.loads(content.decode("utf-8-sig"))], ["a", "b"])
                self.edit(content)
                found = self.look()
                self.assertEqual(([record["id"] for record in found], self.read("jobs.json")), (["a", "b"], content))
                expected = dict(self.JOBS[1], run_at=None, started_at=None, updated_at=None, worker=None)
                self.assertEqual(found[1], expected)
                self.assertEqual((found[0]["state"], found[0]["attempts"], found[0]["worker"]), ("pending", 0, None))

    def test_every_layout_is_made_ours_by_the_next_change(self):
        for name, content in self.layouts():
            with self.subTest(name):
                self.notices.clear()
                self.edit(content)
                self.append("next")
                records = self.assert_canonical()
                self.assertEqual([record["id"] for record in records], ["a", "b", "next"])
                self.assertEqual(records[1], dict(self.JOBS[1], run_at=None, started_at=None, updated_at=None, worker=None))
                self.assertEqual(self.notices, [])

    def test_jobs_typed_by_hand_get_a_created_at_that_tells_them_apart(self):
        self.edit(json.dumps([{"id": "a", "command": "x"}, {"id": "a", "command": "x"}, {"id": "a", "command": "x", "created_at": TIME % 3},
                              {"id": "a", "command": "x", "created_at": TIME % 3}]))
        seen = [(record["id"], record["created_at"]) for record in self.look()]
        self.assertEqual((len(set(seen)), seen[2]), (4, ("a", TIME % 3)))
        self.append("next")
        self.assertEqual([(record["id"], record["created_at"]) for record in self.assert_canonical()][:4], seen)

    def test_count_of_another_layout_is_right(self):
        self.edit(json.dumps(self.JOBS, indent=1))
        with OpenFiles(self.locks[self.file], self.file):
            view = self.file.view()
        with view:
            self.assertEqual(view.count(), {"pending": 1, "processing": 0, "completed": 0, "dead": 1})

    def test_broken_file_is_refused_and_left_to_the_byte(self):
        self.append("a", "b")
        ours = self.read("jobs.json")
        for name, content, place in (
                ("no JSON", b"hello", "line 1, column 1"),
                ("JSON Lines", b"{\"id\": \"a\", \"command\": \"x\"}\n", "line 1, column 1"),
                ("an end that is missing", b"[{\"id\": \"a\", \"command\": \"x\"}", "line 1, column 29"),
                ("two arrays", b"[]\n[]\n", "line 2, column 1"),
                ("a comma too much", b"[{\"id\": \"a\", \"command\": \"x\"},\n]", "line 1, column 29"),
                ("an unknown state", b"[\n {\"id\": \"a\", \"command\": \"x\", \"state\": \"done\"}]", "line 2, column 2"),
                ("no command", b"[\n {\"id\": \"a\"}]", "line 2, column 2"),
                ("a key twice", b"[{\"id\": \"a\", \"command\": \"x\",\n \"id\": \"b\"}]", "line 2, column 2"),
                ("bad UTF-8", b"[{\"id\": \"a\",\n \"command\": \"\xff\"}]", "line 2, column 14"),
                ("zeros", bytes(4096), "line 1, column 1"),
                ("one job typed by hand, the bracket forgotten", b"[\n{\"id\": \"a\", \"command\": \"x\"}\n", "line 3, column 1"),
                ("one job typed by hand, the brace forgotten", b"[\n{\"id\": \"a\", \"command\": \"x\"\n]\n", "line 3, column 1"),
                ("ours, without the last bracket but text", ours[:-2] + b"x", "line 6, column 1"),
                ("ours, a record glued to the next", ours.replace(b"},\n{", b"}\n{", 1), "line 4, column 1"),
                ("ours, the end twice", ours + b"]\n", "line 7, column 1"),
                ("ours, line 1 damaged", ours.replace(b"\"command\": ", b"\"command\"; ", 1), "line 2, column 22"),
                ("ours, cut in the middle of the first record and mended by hand", ours[:60] + b"\n]\n", "line 2"),
        ):
            for what, operation in (("read", self.ids), ("change", lambda: self.append("c"))):
                with self.subTest(name, operation=what):
                    for left in set(os.listdir(self.home)) - {"run"}:
                        os.unlink(self.path(left))
                    self.notices.clear()
                    self.edit(content)
                    with self.assertRaises(CorruptFile) as caught:
                        operation()
                    self.assertTrue(str(caught.exception).startswith("%s, %s" % (self.path("jobs.json"), place)), caught.exception)
                    self.assertEqual(self.read("jobs.json"), content)
                    self.assertEqual((sorted(os.listdir(self.home)), self.notices), (["jobs.json", "run"], []))

    def test_broken_file_can_be_used_again_once_it_is_mended(self):
        self.append("a")
        self.edit("[{\"id\": ")
        with self.assertRaises(CorruptFile):
            self.ids()
        self.edit("[{\"id\": \"b\", \"command\": \"x\"}]")
        self.assertEqual(self.ids(), ["b"])

    def test_lock_is_free_after_a_broken_file_was_refused(self):
        self.edit("nonsense")
        with self.assertRaises(CorruptFile):
            self.append("a")
        self.assertEqual(self.child("with lock: print('locked')"), "locked")

    def test_file_with_a_damaged_line_2_is_refused_with_its_place_and_left_to_the_byte(self):
        self.append("a", "b", state="completed")
        place, content = self.places()[1], self.read("jobs.json")
        for damage in (b"\xff\0\x10", b" \"stale\": ", b"\0" * 40):
            with self.subTest(damage):
                damaged = content[:place] + damage + content[place + len(damage):]
                self.edit(damaged)
                for operation in (self.ids, lambda: self.append("c")):
                    with self.assertRaisesRegex(CorruptFile, "line 5, column [0-9]+: .*doctor --repair"):
                        operation()
                self.assertEqual((self.read("jobs.json"), self.notices), (damaged, []))

    @unittest.skipIf(os.name == "nt", "an open file cannot be replaced on Windows")
    def test_change_of_a_file_that_is_replaced_meanwhile_is_done_again(self):
        self.append("a", "b")
        saved = json.dumps([{"id": "x", "command": "y"}])
        tries = []

        def put(file):
            if not tries:
                self.edit(saved, "saved")
                os.replace(self.path("saved"), self.path("jobs.json"))
            tries.append(1)
            with file.view(locked=True) as view:
                place = next(place for place, _ in view.rows())
            file.put(place, line2("completed", 1))

        self.change(put)
        self.assertEqual((len(tries), [(record["id"], record["state"]) for record in self.assert_canonical()]), (2, [("x", "completed")]))

    @unittest.skipIf(os.name == "nt", "an open file cannot be replaced on Windows")
    def test_append_to_a_file_that_is_replaced_or_deleted_meanwhile_is_done_again(self):
        for name, meddle in (("replaced", lambda: os.replace(self.path("saved"), self.path("jobs.json"))),
                             ("deleted", lambda: os.unlink(self.path("jobs.json")))):
            with self.subTest(name):
                self.append("a")
                self.edit("[]", "saved")
                tries = []

                def add(file):
                    if not tries:
                        meddle()
                    tries.append(1)
                    file.append(rows("b"))

                self.change(add)
                self.assertEqual((len(tries), [record["id"] for record in self.assert_canonical()]), (2, ["b"]))

    @unittest.skipIf(os.name == "nt", "an open file cannot be replaced on Windows")
    def test_rewrite_of_a_file_that_is_replaced_meanwhile_is_done_again(self):
        self.append("a", "b")
        tries = []

        def rewrite(file):
            with file.view(locked=True) as view:
                kept = [row for _, row in view.rows()][1:]

            def give():
                for row in kept:
                    if not tries:
                        self.edit(json.dumps([{"id": "x", "command": "y"}, {"id": "z", "command": "y"}]), "saved")
                        os.replace(self.path("saved"), self.path("jobs.json"))
                    tries.append(1)
                    yield row

            file.rewrite(give())

        self.change(rewrite)
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["z"])
        self.assertEqual(sorted(os.listdir(self.home)), ["jobs.json", "run"])

    def test_edit_within_one_tick_of_the_clock_is_seen_before_something_is_added(self):
        self.append("a", "b")
        before = os.stat(self.path("jobs.json"))
        content = json.dumps([{"id": "x", "command": "y"}])
        self.write("jobs.json", content + " " * (before.st_size - len(content)))
        os.utime(self.path("jobs.json"), ns=(before.st_atime_ns, before.st_mtime_ns))
        self.append("c")
        self.assertEqual([record["id"] for record in self.assert_canonical()], ["x", "c"])


class NotesTest(JobFileTest):
    """What a second reader knows of the changes of the first, by the notes."""

    def changes(self, mark, file=None):
        """(the places changed, those of pending records added) since a mark, as another process sees them."""
        def look(file):
            changed = file.notes.changes_since(mark)
            return None if changed is None else (list(changed), [place for place, _ in file.pending_since(mark)])
        return self.change(look, file)

    def mark(self, file=None):
        """The mark of now."""
        return self.change(lambda file: file.version, file)

    def test_nothing_has_changed_since_now(self):
        self.append("a")
        reader = self.job_file()
        self.assertEqual(self.changes(self.mark(reader), reader), ([], []))

    def test_places_that_another_one_changed_are_known(self):
        self.append("a", "b", "c")
        reader = self.job_file()
        mark = self.mark(reader)
        changed = [self.put(2, line2("processing")), self.put(0, line2("dead")), self.put(2, line2("completed"))]
        self.assertEqual(self.changes(mark, reader), (changed, []))

    def test_places_changed_at_once_are_known(self):
        self.append("a", "b", "c")
        reader = self.job_file()
        mark, places = self.mark(reader), self.places()

        def put(file):
            for place in places:
                file.put(place, line2("dead"))

        self.change(put)
        self.assertEqual(self.changes(mark, reader), (places, []))

    def test_records_that_another_one_added_are_known(self):
        self.append("a")
        reader = self.job_file()
        mark = self.mark(reader)
        self.append("b", "c")
        self.append("d", state="completed")
        self.append("e")
        places = self.places()
        self.assertEqual(self.changes(mark, reader), ([], [places[1], places[2], places[4]]))

    def test_first_record_of_an_empty_file_is_known(self):
        self.change(lambda file: file.rewrite(()))
        reader = self.job_file()
        mark = self.mark(reader)
        self.append("a")
        self.assertEqual(self.changes(mark, reader), ([], self.places()))

    def test_first_record_of_an_empty_file_is_known_with_its_time(self):
        self.change(lambda file: file.rewrite(()))
        reader = self.job_file()
        mark = self.mark(reader)
        first = rows("a")[0][0]
        self.change(lambda file: file.append([(first, line2(run_at=TIME % 9))]))
        records = self.change(lambda file: [record and record["run_at"] for _, record in file.pending_since(mark)], reader)
        self.assertEqual(records, [TIME % 9])

    def test_own_changes_are_known_within_one_change(self):
        self.append("a")
        place = self.places()[0]

        def put(file):
            before = file.version
            file.put(place, line2("dead"))
            return before, file.version

        before, after = self.change(put)
        self.assertEqual((self.changes(before)[0], self.changes(after)[0]), ([place], []))

    def test_as_many_changes_as_the_ring_holds_are_known_and_no_more(self):
        self.append("a", "b")
        reader = self.job_file()
        places = self.places()

        def put_many(count):
            def put(file):
                for _ in range(count):
                    file.put(places[1], line2("processing"))
            self.change(put)

        mark = self.mark(reader)
        put_many(RING - 1)
        self.assertEqual(self.changes(mark, reader), ([places[1]] * (RING - 1), []))
        put_many(1)
        self.assertEqual(self.changes(mark, reader), ([places[1]] * RING, []))
        put_many(1)
        self.assertIsNone(self.changes(mark, reader))

    def test_more_changes_at_once_than_the_ring_holds_make_others_look_again(self):
        self.append("a")
        reader = self.job_file()
        mark, place = self.mark(reader), self.places()[0]

        def put(file):
            for _ in range(RING):
                file.put(place, line2("processing"))

        self.change(put)
        self.assertIsNone(self.changes(mark, reader))

    def test_changes_around_the_end_of_the_ring_are_known(self):
        self.append("a", "b")
        places = self.places()

        def put_all(which):
            def put(file):
                for place in which:
                    file.put(place, line2("processing"))
            self.change(put)

        put_all([places[0]] * (RING - 3))
        reader = self.job_file()
        mark = self.mark(reader)
        put_all([places[1], places[0], places[0], places[1], places[1], places[0], places[1]])
        self.assertEqual(self.changes(mark, reader)[0], [places[number] for number in (1, 0, 0, 1, 1, 0, 1)])

    def test_rewrite_makes_others_look_again_at_everything(self):
        self.append("a", "b")
        reader = self.job_file()
        mark = self.mark(reader)
        self.change(lambda file: file.rewrite(rows("a", "b")))
        self.assertIsNone(self.changes(mark, reader))

    def test_edit_makes_everyone_look_again_at_everything(self):
        self.append("a", "b")
        reader = self.job_file()
        mark = self.mark(reader)
        content = self.read("jobs.json")
        self.edit(content.replace(b"\"attempts\": 0", b"\"attempts\": 1", 1))
        self.assertIsNone(self.changes(mark, reader))
        self.assertEqual(self.look()[0]["attempts"], 1)

    def test_change_of_a_killed_process_makes_everyone_look_again(self):
        self.append("a", "b")
        reader = self.job_file()
        mark, place = self.mark(reader), self.places()[0]
        self.grow_old()
        mark = self.mark(reader)
        self.child("file.notes.add_changes = lambda *ignored: os._exit(0)\n"
                   "with OpenFiles(lock, file, change=True):\n"
                   "    old = file.line2(int(sys.argv[2]))\n"
                   "    file.put(int(sys.argv[2]), old.replace(b'\"attempts\": 0', b'\"attempts\": 8'))\n"
                   "    file.commit()\n", str(place))
        self.assertIsNone(self.changes(mark, reader))
        self.assertEqual(self.look(reader)[0]["attempts"], 8)

    def test_deleting_the_notes_costs_a_look_at_everything_and_nothing_else(self):
        self.append("a", "b")
        content = self.read("jobs.json")
        reader = self.job_file()
        mark = self.mark(reader)
        self.forget()
        self.assertIsNone(self.changes(mark, reader))
        self.assertEqual((self.read("jobs.json"), self.ids(), self.ids(reader)), (content, ["a", "b"], ["a", "b"]))
        mark = self.mark(reader)
        place = self.put(1, line2("dead"))
        self.append("c")
        self.assertEqual(self.changes(mark, reader), ([place], self.places()[2:]))
        self.assertEqual((len(self.assert_canonical()), self.notices), (3, []))

    def test_a_time_before_1970_and_an_inode_of_128_bits_have_their_place_in_the_notes(self):
        for jobs in ([], [{"id": "b", "command": "x"}]):
            with self.subTest(jobs):
                self.append("a")
                if jobs:
                    self.write("jobs.json", json.dumps(jobs))
                if POSIX:  # Windows knows no such time
                    os.utime(self.path("jobs.json"), (-315619200, -315619200))
                self.assertEqual(self.ids(), ["b"] if jobs else ["a"])
        found = namedtuple("Stat", "st_ino st_size st_mtime_ns")(1 << 100 | 5, 3, -1)
        self.assertEqual(file_key(found), (5, 3, 0))

    def test_boot_of_the_last_change_is_noted(self):
        self.append("a")
        notes = Notes(self.locks[self.file], 0)
        for _ in range(2):
            with self.locks[self.file]:
                notes.read()
            self.assertEqual(notes.boot, self.file.notes.this_boot)
            self.file.notes.this_boot += 1
            self.append("b")

    def test_notes_of_another_boot_are_not_believed(self):
        """A power cut may bring back older bytes, under the inode, the size and the time that the notes name."""
        self.append("a", "b")
        place = self.places()[0]
        older = self.read("jobs.json")
        self.put(0, line2("completed"))
        times = os.stat(self.path("jobs.json"))
        self.overwrite(older)
        os.utime(self.path("jobs.json"), ns=(times.st_atime_ns, times.st_mtime_ns))
        self.assertEqual(self.change(lambda file: file.view().count()["pending"]), 1)  # within one boot nobody does that
        reader = self.job_file()
        reader.notes.this_boot += 1
        mark = self.mark()
        self.assertEqual(self.change(lambda file: (file.view().count()["pending"], file.notes.changes_since(mark)), reader), (2, None))
        self.assertEqual(self.change(lambda file: file.line2(place), reader), line2())
        generation = self.change(lambda file: file.notes.generation, reader)
        self.assertEqual(self.change(lambda file: file.notes.generation, reader), generation)  # looked at once

    def test_notes_that_are_damaged_cost_a_look_at_everything_and_nothing_else(self):
        self.append("a", "b")
        reader = self.job_file()
        mark = self.mark(reader)
        for content in (b"", bytes(100), b"x" * 10000, os.urandom(80000)):
            with self.subTest(content[:4]):
                with open(self.path("run", "lock"), "r+b") as file:
                    file.truncate(0)
                    file.write(content)
                self.assertIsNone(self.changes(mark, reader))
                self.assertEqual(self.ids(), ["a", "b"])
                mark = self.mark(reader)

    def test_two_processes_that_change_in_turn_know_of_each_other(self):
        self.append(*["job%d" % number for number in range(20)])
        other = self.job_file()
        places = self.places()
        mark = self.mark(other)
        child = self.child("for line in sys.stdin:\n"
                           "    place = int(line)\n"
                           "    with OpenFiles(lock, file, change=True):\n"
                           "        file.put(place, rows(['x'])[0][1])\n"
                           "        file.commit()\n"
                           "    print(place, flush=True)\n", wait=False)
        for number in range(0, 20, 2):
            child.stdin.write("%d\n" % places[number])
            child.stdin.flush()
            self.assertEqual(child.stdout.readline(), "%d\n" % places[number])
            self.put(number + 1, line2("processing"))
        child.stdin.close()
        self.assertEqual(self.changes(mark, other), (places, []))


if __name__ == "__main__":
    unittest.main()
