"""Files that are broken: refused with a named place or read right, never taken as empty, never overwritten, and saved by `doctor`.

The program runs inside this process here, so that thousands of broken files take seconds.
"""
from __future__ import annotations

import contextlib
import json
import os
import random
import re
import time
import unittest
from unittest import mock

from cli.salvage import salvage
from core.errors import CorruptFile, QueueError
from core.job import COMPLETED, DEAD, FAILED, PENDING, Outcome
from storage import layout as storage_layout
from storage.file_lock import FileLock
from storage.layout import COLUMNS
from storage.notes import Notes
from storage.selection import Choice
from tests.support.broken_files import CHANGES, DEFAULTS, LINKS, LOOKS, PLACE, BrokenFileTest
from tests.support.home import as_command

FLIPS = 5000 if os.environ.get("QUEUECTL_FAULTS") == "all" else 500
SEED = 20261124


class TestCut(BrokenFileTest):
    """A job file that ends too early."""

    def setUp(self):
        super().setUp()
        self.queue = self.manager(fsync=False)

    def add(self):
        """Add one more job."""
        self.queue.enqueue([{"id": "new", "command": "true"}], self.home, 1700001000)

    def assert_cut_refused(self, content):
        """A file is refused, both by who looks and by who adds, with its name and the place, and left to the byte."""
        self.write("jobs.json", content)
        for operation in (self.queue.count, self.add):
            with self.assertRaisesRegex(CorruptFile, re.escape(self.path("jobs.json")) + ", " + PLACE.pattern):
                operation()
        self.assertEqual(self.read("jobs.json"), content)

    def test_our_own_layout_cut_at_every_byte_is_read_up_to_its_last_whole_record_and_the_rest_kept_beside(self):
        self.queue.enqueue([{"id": "a", "command": "true"}, {"id": "b", "command": as_command("echo '{\n\"é\": \u007f}'"), "own": [1, {"x": "]"}]},
                            {"id": "c", "command": "echo \"state\": pending"}], self.home, 1700000000)
        content, originals = self.read("jobs.json"), self.records()
        ends = [match.end() for match in re.finditer(rb'\n "state": [^\n]*?}', content)]
        self.addCleanup(setattr, storage_layout, "CHUNK", storage_layout.CHUNK)
        for size, chunk in [(size, storage_layout.CHUNK) for size in range(len(b"[\n]"), len(content))] + [
                (size, chunk) for size in range(len(b"[\n]"), len(content), 7) for chunk in (100, 700)]:
            storage_layout.CHUNK = chunk
            self.write("jobs.json", content[:size])
            self.forget_notes()  # or another program has cut it
            whole = sum(end <= size for end in ends)
            self.assertEqual([job.to_dict() for job in self.queue.jobs()], originals[:whole], size)
            self.assertEqual((self.read("jobs.json"), self.notices), (content[:size], []), size)
            self.add()
            records = self.records()
            self.assertEqual((records[:-1], records[-1]["id"]), (originals[:whole], "new"), size)
            tail = content[ends[whole - 1] if whole else 1:size]
            copies = self.beside()
            self.assertEqual(list(copies.values()), [tail] if tail.strip(b",\n]") else [], size)
            self.assertEqual([name for name in copies if name in "".join(self.notices)], list(copies))
            self.assertEqual(len(self.notices), len(copies))
            self.forget_copies()
            self.notices.clear()

    def test_our_own_layout_that_another_program_cut_is_refused_at_every_byte_and_repaired(self):
        self.queue.enqueue([{"id": str(number), "command": "true"} for number in range(3)], self.home, 1700000000)
        content = self.read("jobs.json")
        ends = [match.end() for match in re.finditer(rb'\n "state": [^\n]*?}', content)]
        for size in range(3, ends[-1]):
            self.assert_cut_refused(content[:size])
        for size in (2, 40, ends[0] - 1, ends[0], ends[1], ends[1] + 5):
            with self.subTest(size):
                self.write("jobs.json", content[:size])
                said = {self.assert_refused(words) for words in LOOKS + CHANGES}
                self.assertEqual(len(said), 1, said)
                whole = sum(end <= size for end in ends)
                if size > 2:
                    self.assertIn("with %d of the 3 jobs that were in it; another program cut it short" % whole, said.pop())
                code, out, _ = self.run_inside("doctor")
                self.assertEqual((code, "with %d of the 3 jobs" % whole in out or size == 2), (1, True), out)
                self.run_inside("doctor", "--repair")
                self.assertEqual(list(self.beside().values()), [content[:size]])
                kept = whole + (size == ends[0] - 1)  # one that is known by its first line has not run yet
                self.assertEqual([record["id"] for record in self.records()], [str(number) for number in range(kept)])
                self.assertEqual(self.run_inside("doctor")[0], 0)
                self.forget_copies()
                self.write("jobs.json", content)
                self.assertEqual(self.run_inside("status")[::2], (0, ""))

    def test_a_file_with_nothing_in_it_is_refused_where_there_were_jobs(self):
        for content in (b"", b"\n", b" \r\n\t", b"\xef\xbb\xbf"):
            with self.subTest(content):
                self.add()
                self.write("jobs.json", content)
                said = {self.assert_refused(words) for words in LOOKS + CHANGES}
                self.assertEqual(len(said), 1, said)
                self.assertIn("write [] to start afresh", said.pop())
                self.write("jobs.json", "[]")
                self.assertEqual(self.queue.count()[PENDING], 0)
                self.add()
                self.assertEqual([record["id"] for record in self.records()], ["new"])
                self.queue.reset()
                self.write("jobs.json", content)
                self.add()  # no job was in it
                self.assertEqual([record["id"] for record in self.records()], ["new"])
                self.write("jobs.json", content)
                self.run_inside("doctor", "--repair")
                self.assertEqual((self.run_inside("doctor")[0], self.records()), (0, []))

    def test_an_array_that_is_closed_is_an_edit_however_short_it_is(self):
        for content in (b"[]", b"[\n]\n", b"[\n]", b"[ ]\n", b"{ours}", b"{ours without its last line feed}", b"{ours and zeros}"):
            with self.subTest(content):
                self.queue.reset()
                self.queue.enqueue([{"id": "a", "command": "true"}], self.home, 1700000000)
                one = self.read("jobs.json")
                self.queue.enqueue([{"id": "b", "command": "true"}, {"id": "c", "command": "true"}], self.home, 1700000000)
                left = {b"{ours}": one, b"{ours without its last line feed}": one[:-1], b"{ours and zeros}": one + b"\0\0"}
                self.write("jobs.json", left.get(content, content))
                self.assertEqual([job.id for job in self.queue.jobs()], ["a"] if content in left else [])
                self.add()
                self.assertEqual([record["id"] for record in self.records()], ["a", "new"] if content in left else ["new"])
                self.assertEqual((self.beside(), self.notices), ({}, []))

    def test_a_file_that_was_cut_before_the_machine_started_anew_is_what_a_power_cut_leaves(self):
        self.queue.enqueue([{"id": str(number), "command": "true"} for number in range(3)], self.home, 1700000000)
        self.write("jobs.json", self.read("jobs.json")[:-100])
        with mock.patch("storage.notes.boot_id", lambda: "another"):
            self.queue = self.manager(fsync=False)
            self.assertEqual([job.id for job in self.queue.jobs()], ["0", "1"])
            self.add()
        self.assertEqual([record["id"] for record in self.records()], ["0", "1", "new"])
        self.assertEqual(len(self.beside()), 1)

    def test_a_file_that_is_empty_once_the_machine_was_started_anew_is_told_of(self):
        self.add()
        self.write("jobs.json", b"")
        with mock.patch("storage.notes.boot_id", lambda: "another"):
            self.queue = self.manager(fsync=False)
            self.assertEqual((sum(self.queue.count().values()), self.read("jobs.json"), self.notices), (0, b"", []))
            self.add()
        self.assertEqual(self.notices, ["%s is empty, and 1 job was in it before the machine was started anew" % self.path("jobs.json")])
        self.assertEqual(len(self.records()), 1)

    def test_a_torn_tail_of_megabytes_is_cut_off(self):
        self.queue.enqueue([{"id": str(number), "command": ": " + "x" * 2000} for number in range(2000)], self.home, 1700000000)
        content = self.read("jobs.json")
        self.assertGreater(len(content), 4 * storage_layout.CHUNK)
        self.write("jobs.json", content[:-100])
        self.forget_notes()
        self.assertEqual(self.queue.count()[PENDING], 1999)
        self.add()
        self.assertEqual((len(self.records()), len(self.beside())), (2000, 1))

    def test_an_append_that_was_killed_whose_undoing_was_killed_is_undone_by_the_next(self):
        for before in (["a", "b"], []):
            for left in (b"", b"\n", b"\n]"):
                with self.subTest(before=before, left=left):
                    self.queue.reset()
                    if before:
                        self.queue.enqueue([{"id": job_id, "command": "true"} for job_id in before], self.home, 1700000000)
                    content = self.read("jobs.json")
                    start = len(content) - len(b"\n]\n")
                    lock = FileLock(self.path("run", "lock"))
                    with lock:  # the note of an append, of which nothing is left but what undoing it has written
                        notes = Notes(lock, 0)
                        notes.read()
                        notes.intent, notes.intent_end = start, start + 2000
                        notes.write()
                    os.truncate(self.path("jobs.json"), start)
                    with open(self.path("jobs.json"), "ab") as file:
                        file.write(left)
                    self.assertEqual(self.run_inside("status")[::2], (0, ""))
                    self.assertEqual(self.run_inside("enqueue", "--id", "new", "--", "true")[::2], (0, ""))
                    self.assertEqual([job["id"] for job in self.records()], before + ["new"])

    def test_less_than_an_empty_array_of_ours_is_refused_or_empty_and_never_in_the_way_for_ever(self):
        for content in (b"[", b"[\n"):
            with self.subTest(content):
                self.write("jobs.json", content)
                code, _, err = self.run_inside("status")
                self.assertTrue(code == 0 or PLACE.search(err), err)
                self.assertEqual(self.read("jobs.json"), content)
                self.run_inside("doctor", "--repair")
                self.assertEqual(self.run_inside("enqueue", "--id", "new", "--", "true")[::2], (0, ""))

    def test_another_layout_cut_at_every_byte_is_refused_and_left_to_the_byte(self):
        jobs = [{"id": "a", "command": "true", "own": {"x": [1, "]"]}}, {"command": "false", "id": "é", "state": "dead", "attempts": 4}]
        for layout in (json.dumps(jobs), json.dumps(jobs, indent=2, ensure_ascii=False) + "\n", "\ufeff" + json.dumps(jobs, indent=1),
                       json.dumps(jobs, indent=4).replace("\n", "\r\n")):
            content = layout.encode("utf-8")
            for size in range(4, len(content.rstrip())):
                self.assert_cut_refused(content[:size])

    def test_a_dead_letter_file_cut_at_every_byte_loses_no_dead_job(self):
        self.sample()
        content = self.read("dlq.json")
        for size in range(1, len(content)):
            self.write("dlq.json", content[:size])
            try:
                dead = [(job.id, job.exit_code) for job in self.queue.dead()]
            except CorruptFile as error:
                self.assertRegex(str(error), PLACE)
            else:
                self.assertEqual(dead, [("dead", 7)], size)
            self.assertEqual(self.read("dlq.json"), content[:size])


class TestFlips(BrokenFileTest):
    """One byte that is another one."""

    def flips(self, content, count):
        """(place, the content with one byte changed), always the same ones."""
        chance = random.Random(SEED)
        for _ in range(count):
            place = chance.randrange(len(content))
            flipped = bytearray(content)
            flipped[place] ^= chance.randrange(1, 256)
            yield place, bytes(flipped)

    def check_read(self, flipped, shown):
        """What was read of a file with one changed byte is what the file says."""
        self.assertEqual(len(shown), len(self.originals))
        try:
            said = json.loads(flipped.decode("utf-8-sig"))
        except ValueError:
            said = None
        for number, job in enumerate(shown):
            record = said[number] if said is not None else self.originals[number]
            self.assertLessEqual({name for name, _ in COLUMNS}, set(record))
            self.assert_same(job, record)

    def test_each_of_hundreds_is_refused_with_its_place_or_read_right(self):
        content = self.sample()
        outcomes = {"refused": 0, "read": 0}
        for place, flipped in self.flips(content, FLIPS):
            with self.subTest(place=place, was=content[place:place + 1], now=flipped[place:place + 1]):
                self.write("jobs.json", flipped)
                code, shown, err = self.listed()
                self.assertEqual(self.read("jobs.json"), flipped)
                if code:
                    self.assert_refused(["list", "--json"])
                    self.assert_refused(["enqueue", "--id", "new", "--", "true"])
                    outcomes["refused"] += 1
                    continue
                self.check_read(flipped, shown)
                code, _, err = self.run_inside("enqueue", "--id", "new", "--", "true")
                self.assertEqual(code, 0, err)
                records = self.records()
                self.assertEqual((records[:-1], records[-1]["id"]), (shown, "new"))
                self.assertEqual(self.beside(), {})
                outcomes["read"] += 1
            self.forget_copies()
        self.assertTrue(all(outcomes.values()), outcomes)

    def test_flips_that_change_neither_the_size_nor_the_time_of_the_file_end_in_no_traceback(self):
        content = self.sample()
        stat = os.stat(self.path("jobs.json"))
        self.run_inside("status")
        for place, flipped in self.flips(content, FLIPS // 4):
            with self.subTest(place=place, was=content[place:place + 1], now=flipped[place:place + 1]):
                self.write("jobs.json", flipped)
                os.utime(self.path("jobs.json"), ns=(stat.st_atime_ns, stat.st_mtime_ns))
                for words in (["list"], ["list", "--json"], ["show", "last"], ["clean", "--older-than", "9999d"]):
                    self.assertIn(self.run_inside(*words)[0], (0, 1))
                with contextlib.suppress(QueueError):
                    manager = self.manager(fsync=False)
                    while manager.claim("worker-9", time.time()) is not None:
                        continue

    def test_a_record_that_rots_unseen_is_named_by_every_command_and_repaired(self):
        for was, now in ((b'"command"', b'"commend"'), (b'"true"', b'"tr\x8ce"'), (b'"id"', b'"hd"'), (b'{"id"', b'""id"'), (b'{"id"', b'1"id"'),
                         (b'"created_at"', b'"creatad_at"')):
            with self.subTest(now):
                for job_id in ("a", "b"):
                    self.run_inside("enqueue", "--id", job_id, "--", "true")
                content = self.read("jobs.json")
                stat = os.stat(self.path("jobs.json"))
                self.write("jobs.json", content.replace(was, now, 1))
                os.utime(self.path("jobs.json"), ns=(stat.st_atime_ns, stat.st_mtime_ns))
                manager = self.manager(fsync=False)
                with self.assertRaisesRegex(CorruptFile, "queuectl.* doctor"):
                    manager.claim("worker-1", time.time())
                self.assertEqual(manager.claim("worker-1", time.time()).id, "b")  # it is in nobody's way
                for words in (["list"], ["list", "--json"], ["show", "a"], ["doctor"]):
                    code, out, err = self.run_inside(*words)
                    self.assertEqual((code, "does not read right" in out + err), (1, True), (words, out, err))
                self.run_inside("doctor", "--repair")
                self.assertEqual(self.run_inside("doctor")[0], 0)
                self.run_inside("reset", "--yes")

    def test_flips_in_config_json_are_refused_or_read(self):
        content = json.dumps({"fsync": False, "max_retries": 2, "backoff_base": 1.5, "on_finish": "true", "own": "é"},
                             indent=2).encode("utf-8")
        for place, flipped in self.flips(content, FLIPS // 5):
            with self.subTest(place=place, now=flipped[place:place + 1]):
                self.write("config.json", flipped)
                code, _, err = self.run_inside("config", "--json")
                if code:
                    self.assertEqual((err.count("\n"), self.path("config.json") in err), (1, True), err)
                self.assertEqual(self.read("config.json"), flipped)

    def test_flips_in_the_notes_of_the_lock_cost_no_job(self):
        self.sample()
        lock = os.path.join("run", "lock")
        for place in range(72):
            for bit in (0x01, 0x80):
                with self.subTest(place=place, bit=bit):
                    notes = bytearray(self.read(lock))
                    notes[place] ^= bit
                    self.write(lock, bytes(notes))
                    before = self.records()
                    self.assertEqual(self.listed()[:2], (0, before))
                    self.assertEqual(self.run_inside("enqueue", "--id", "new", "--", "true")[0], 0)
                    records = self.records()
                    self.assertEqual((records[:-1], records[-1]["id"]), (before, "new"))
                    self.assertLess(records[-1]["created_at"], "2100")
                    self.sample()

    def test_a_line_2_that_does_not_read_right_is_refused_and_its_columns_that_do_are_kept(self):
        content = self.sample()
        start = content.index(b' "state": "completed"')
        for old, new in ((b'"state"', b'"stale"'), (b'"attempts"', b'"attemqts"'), (b'"worker"', b'"workes"'), (b'"completed"', b'"comqleted"'),
                         (b'"completed"', b'"completed '), (b'"reason"', b'"rea\xffon"'), (b', "exit_code"', b'? "exit_code"')):
            with self.subTest(new):
                self.forget_copies()
                self.write("jobs.json", content[:start] + content[start:].replace(old, new, 1))
                self.assert_refused(["list", "--json"])
                code, out, _ = self.run_inside("doctor", "--repair")
                self.assertEqual((code, "a part of how far the job 'done' is: it counts as completed" in out), (1, True), out)
                self.assertEqual(self.listed()[1], self.originals)

    def test_a_column_that_does_not_read_is_left_out_and_told(self):
        content = self.sample()
        start = content.index(b' "state": "completed"')
        self.write("jobs.json", content[:start] + content[start:].replace(b'"exit_code": 0', b'"exit_code": ~', 1))
        code, out, _ = self.run_inside("doctor", "--repair")
        self.assertEqual((code, '"exit_code" must be a whole number' in out), (1, True), out)
        self.assertEqual(self.listed()[1], [dict(self.originals[0], exit_code=None)] + self.originals[1:])

    def test_a_file_without_a_job_is_said_to_have_none_in_one_line(self):
        for content in (b"hello", b'{"a": 1}', b'["x", "y"]', b"\x89PNG\r\n\x1a\n{}{}{}"):
            with self.subTest(content):
                self.forget_copies()
                self.write("jobs.json", content)
                code, out, _ = self.run_inside("doctor", "--repair")
                told = [line for line in out.splitlines() if line.startswith("jobs.json")]
                self.assertEqual((code, len(told)), (1, 1), out)
                self.assertIn("saved 0 jobs: none in it can be read", told[0])
                self.assertEqual(list(self.beside().values()), [content])
                self.assertEqual(self.listed()[1], [])

    def test_a_line_2_without_its_state_is_refused_and_repaired_as_not_yet_run(self):
        content = self.sample()
        start = content.index(b' "state": "completed"')
        for name, damaged in (("zeros", b"\0" * 40), ("no JSON", b"?" * 40), ("no UTF-8", b"\xff" * 40), ("two letters", b' "state": "cccc'),
                              ("an end", b' "state":}   "')):
            with self.subTest(name):
                self.forget_copies()
                flipped = content[:start] + damaged + content[start + len(damaged):]
                self.write("jobs.json", flipped)
                for words in (["list", "--json"], ["enqueue", "--id", "new", "--", "true"]):
                    self.assertRegex(self.assert_refused(words), "line [23], column [0-9]+: ")
                code, out, _ = self.run_inside("doctor", "--repair")
                self.assertEqual((code, "how far the job 'done' is: it counts as not yet run" in out), (1, True), out)
                line1 = {field: value for field, value in self.originals[0].items() if field not in dict(COLUMNS)}
                self.assertEqual(self.listed()[1], [dict(DEFAULTS, **line1)] + self.originals[1:])
                self.assertEqual(list(self.beside().values()), [flipped])
                self.assertIn(list(self.beside())[0], out)


def _with(text):
    """A file of two jobs, the second of which holds this text."""
    return ('[{"id": "a", "command": "true"},\n {"id": "b", "command": "true"%s}]' % text).encode("utf-8")


REFUSED = (
    ("zeros in the middle", b'[{"id": "a", "command": "tr\0\0\0e"}]'), ("zeros alone", b"\0" * 5000), ("zeros first", b"\0\0" + _with("")),
    ("no UTF-8", b'[{"id": "a", "command": "caf\xe9"}]'), ("half a character at the end", b'[{"id": "a", "command": "\xc3'),
    ("a surrogate as bytes", b'[{"id": "a", "command": "\xed\xa0\x80"}]'), ("a half pair", _with(', "x": "\\ud83d"')),
    ("a half pair in an id", b'[{"id": "\\udc00", "command": "true"}]'), ("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf" + _with("")),
    ("UTF-16", _with("").decode("utf-8").encode("utf-16")), ("a key twice", _with(', "own": {"k": 1, "k": 2}')),
    ("an id twice", b'[{"id": "a", "id": "b", "command": "true"}]'), ("NaN", _with(', "x": NaN')), ("Infinity", _with(', "x": -Infinity')),
    ("1e400", _with(', "x": 1e400')), ("-1e400", _with(', "x": [-1e400]')), ("5,000 digits", _with(', "x": ' + "7" * 5000)),
    ("5,000 digits as attempts", _with(', "attempts": ' + "7" * 5000)), ("100,000 arrays", b"[" * 100000),
    ("100,000 objects", b'[{"id": ' + b'{"a":' * 100000), ("100,000 levels that end", _with(', "x": ' + "[" * 100000 + "]" * 100000)),
    ("101 levels", _with(', "x": ' + "[" * 101 + "]" * 101)), ("an object", b'{"id": "a", "command": "true"}'), ("a number", b"5"),
    ("a text", b'"jobs"'), ("words", b"hello"), ("two arrays", b"[] []"), ("a comma too many", _with("").replace(b"}]", b"},]")),
    ("a comma too few", _with("").replace(b"},", b"} ")), ("a line of its own", b"\n".join([_with(""), b"x"])),
    ("a comment", b"// jobs\n[]"),
    ("single quotes", b"[{'id': 'a'}]"), ("a raw line end in a text", b'[{"id": "a", "command": "x\ny"}]'),
    ("JSON Lines", b'{"id": "a", "command": "true"}\n{"id": "b", "command": "true"}\n'), ("null as a job", b"[null]"),
    ("a list as a job", b"[[]]"),
    ("no id", b'[{"command": "true"}]'), ("no command", b'[{"id": "a"}]'), ("a conflict of git", b"<<<<<<< HEAD\n" + _with("")),
) + tuple((text, _with(", " + text)) for text in (
    '"state": "running"', '"state": "Pending"', '"state": 1', '"state": []')) + tuple(
    (text, ("[%s]" % text).encode("utf-8")) for text in (
        '{"id": "", "command": "true"}', '{"id": null, "command": "true"}', '{"id": true, "command": "true"}',
        '{"id": ["a"], "command": "true"}',
        '{"id": "%s", "command": "true"}' % ("x" * 201), '{"id": "a\\nb", "command": "true"}', '{"id": "a\\u001b[31m", "command": "true"}',
        '{"id": "a", "command": ""}', '{"id": "a", "command": " "}', '{"id": "a", "command": 5}', '{"id": "a", "command": "a\\u0000b"}'))

# What is wrong with one optional field of one job alone, by the program or by hand.
FAULTY = (
    '"attempts": "1"', '"attempts": -1', '"attempts": 1.5',
    '"attempts": true', '"attempts": 10000000', '"exit_code": "0"', '"exit_code": 1e3', '"exit_code": 99999999999', '"reason": 5',
    '"reason": "Two Words"', '"reason": "' + "x" * 99 + '"', '"worker": {}', '"worker": "\\u001b"', '"run_at": 5', '"run_at": "soon"',
    '"run_at": "2026-13-45T00:00:00.000000Z"', '"run_at": "2026-02-30T00:00:00.000000Z"', '"run_at": "2026-01-01T25:00:00.000000Z"',
    '"run_at": "\u0662026-11-24T02:09:06.123456Z"',
    '"created_at": "2026-13-45T00:00:00.000000Z"', '"created_at": "0000-01-01T00:00:00.000000Z"',
    '"created_at": "10000-01-01T00:00:00Z"',
    '"started_at": false', '"updated_at": "2026-01"', '"timeout": "soon"', '"timeout": 0', '"cwd": 1', '"cwd": ""', '"env": []',
    '"env": {"A": 1}', '"env": {"A=B": "x"}', '"after": "a"', '"after": [1]', '"priority": "high"', '"priority": 1e9', '"max_retries": -1',
    '"backoff_base": "2"', '"backoff_max": null, "backoff_base": -1')


class TestContents(BrokenFileTest):
    """What is no array of jobs, and what is one although it looks odd."""

    def test_every_command_refuses_it_with_its_place_and_changes_nothing(self):
        for name, content in REFUSED:
            with self.subTest(name[:60]):
                self.write("jobs.json", content)
                started = time.process_time()
                said = {self.assert_refused(words) for words in LOOKS + CHANGES}
                self.assertEqual(len(said), 1, said)
                self.assertLess(len(said.pop()), 600)
                self.assertLess(time.process_time() - started, 10 * len(LOOKS + CHANGES))

    def test_a_dead_letter_file_is_refused_in_the_same_way(self):
        for name, content in REFUSED:
            with self.subTest(name[:60]):
                self.sample()
                self.write("dlq.json", content)
                for words in (["dlq", "list"], ["dlq", "retry", "--all"], ["retry", "dead"], ["dlq", "purge", "--all"], ["cancel", "last"]):
                    self.assert_refused(words, "dlq.json")
                self.assertEqual(self.records(), self.originals)

    def test_what_is_wrong_with_a_field_of_one_job_is_that_jobs_fault_and_is_named(self):
        for text in FAULTY:
            with self.subTest(text[:60]):
                for name in ("jobs.json", "dlq.json"):
                    if os.path.exists(self.path(name)):
                        os.unlink(self.path(name))
                content = _with(", " + text)
                self.write("jobs.json", content)
                field = text.rpartition(", ")[2].partition(":")[0]
                code, shown, err = self.listed()
                self.assertEqual((code, err, [job["id"] for job in shown]), (0, "", ["a", "b"]))
                self.assertIn("the job 'b': %s must" % field, self.run_inside("doctor")[1])
                self.assertEqual(self.read("jobs.json"), content)
                code, _, err = self.run_inside("enqueue", "--id", "new", "--", "true")
                self.assertEqual((code, err.count("the job 'b': %s must" % field), err.count("\n")), (0, 1, 1), err)
                record = json.loads(content.decode("utf-8"))[1]
                if "cannot run" in err:
                    self.assertEqual({name: self.records()[1][name] for name in record}, record)
                    self.assertEqual(self.beside(), {})
                else:
                    self.assertEqual(list(self.beside().values()), [content])
                self.forget_copies()
                manager = self.manager(fsync=False)
                state = DEAD if field == '"run_at"' else PENDING
                self.assertEqual([job.state for job in manager.jobs()], [PENDING, state, PENDING])
                job = manager.find("b")[-1]
                self.assertEqual(manager.retry(Choice(["b"], None), 1800000000).ids if state == DEAD else [], ["b"] if state == DEAD else [])
                claimed = [manager.claim("worker-%d" % number, 1800000000) for number in range(3)]
                self.assertEqual([job.id for job in claimed], ["a", "b", "new"])
                after = manager.record(claimed[1], Outcome(1, FAILED), 1800000001)[0]
                self.assertEqual((after.state, bool(job.ending)), (PENDING, state == DEAD))

    def test_a_job_with_an_option_that_means_nothing_dies_by_itself_and_the_others_run(self):
        for text in ('"timeout": "5 apples"', '"cwd": 1', '"env": {"A": 1}', '"after": "a"', '"priority": "high"', '"runner": "nice"',
                     '"max_retries": "many"'):
            with self.subTest(text):
                self.write("config.json", '{"fsync": false, "max_retries": 0}')
                self.write("jobs.json", _with(", " + text))
                self.assertEqual(self.run_inside("worker", "start", "--drain")[0], 1)
                self.assertEqual([job["state"] for job in self.listed()[1]], [COMPLETED, DEAD])
                out = self.run_inside("logs", "b")[1]
                self.assertIn("queuectl: cannot start this command in ", out)
                self.assertIn(text.partition(":")[0] + " must be", out)

    def test_the_seeds_files_are_read_and_its_unfinished_jobs_run(self):
        """Its times have no zone, and a job between two attempts is in a state of its own."""
        states = ("completed", "dead", "failed", "pending")
        jobs = [{"id": state, "command": "exit 0", "state": state, "attempts": number, "max_retries": 3,
                 "created_at": "2025-11-08T15:00:1%d.296461" % number, "updated_at": "2025-11-08T17:07:29"}
                for number, state in enumerate(states)]
        self.write("jobs.json", json.dumps(jobs, indent=4))
        self.write("dlq.json", json.dumps([dict(jobs[1], attempts=4)], indent=4))
        self.assertEqual(self.run_inside("doctor")[0], 0)
        code, shown, err = self.listed()
        self.assertEqual((code, err, [job["state"] for job in shown]), (0, "", ["completed", "dead", "pending", "pending"]))
        self.assertEqual([(job["created_at"], job["updated_at"]) for job in shown[:1]],
                         [("2025-11-08T15:00:10.296461Z", "2025-11-08T17:07:29.000000Z")])
        self.assertIn("2025-11-08T17:07:29", self.run_inside("dlq", "list")[1])
        self.assertEqual(self.run_inside("worker", "start", "--drain")[0], 0)
        self.assertEqual([(job["state"], job["attempts"]) for job in self.listed()[1]],
                         [("completed", 0), ("dead", 1), ("completed", 3), ("completed", 4)])
        self.assertEqual(self.run_inside("retry", "dead")[:2], (0, "Job 'dead' is back in the queue.\n"))

    def test_odd_but_sound_files_are_read_right_and_become_ours_at_the_next_change(self):
        ours = self.sample()
        both = [{"id": "a", "command": "true"}, {"id": "b", "command": "true"}]
        for name, content, wanted in (
                ("zeros at the end", ours + b"\0" * 5000, None), ("one zero at the end", ours + b"\0", None),
                ("zeros in place of the end", ours[:-3] + b"\0" * 300, None), ("a byte order mark", b"\xef\xbb\xbf" + ours, None),
                ("line ends of Windows", ours.replace(b"\n", b"\r\n"), None), ("blank lines at the end", ours + b"\n \n\t\n", None),
                ("a byte order mark, typed by hand", b"\xef\xbb\xbf" + _with(""), both), ("nothing", b"", []), ("[]", b"[]", []),
                ("a byte order mark alone", b"\xef\xbb\xbf", []), ("blanks", b" \n\t\r\n", []),
                ("100 levels", _with(', "x": ' + "[" * 99 + "]" * 99), both),
                ("1,000 digits", _with(', "x": ' + "7" * 1000), both), ("a pair", _with(', "x": "\\ud83d\\ude00"'), both),
                ("escaped keys", b'[{"\\u0069d": "a", "command": "true"}, {"id": "b", "comm\\u0061nd": "true"}]', both),
                ("nulls", _with(', "state": null, "attempts": null, "run_at": null, "timeout": null, "created_at": null'), both)):
            with self.subTest(name):
                self.write("jobs.json", content)
                self.forget_notes()  # or nothing, where there were jobs, is refused
                wanted = self.originals if wanted is None else wanted
                code, shown, err = self.listed()
                self.assertEqual((code, err, len(shown)), (0, "", len(wanted)))
                for job, record in zip(shown, wanted):
                    self.assert_same(job, record)
                self.assertEqual(self.read("jobs.json"), content)
                code, _, err = self.run_inside("enqueue", "--id", "new", "--", "true")
                self.assertEqual((code, err, self.beside()), (0, "", {}))
                self.assertEqual([job["id"] for job in self.records()], [job["id"] for job in wanted] + ["new"])

    def test_zeros_where_a_page_of_records_was_are_refused(self):
        content = self.sample()
        self.write("jobs.json", content[:1000] + b"\0" * 800 + content[1800:])
        self.assert_refused(["list"])
        self.assert_refused(["enqueue", "--id", "new", "--", "true"])


class DoctorTest(BrokenFileTest):
    """What `doctor` says and does."""

    def examine(self, *arguments):
        """(exit code, {file: what is said of it}); one line a file, nothing on stderr."""
        code, out, err = self.run_inside("doctor", *arguments)
        self.assertEqual(err, "")
        said = {}
        for line in out.splitlines():
            name, _, text = line.partition(" ")
            said.setdefault(name.rstrip(":"), []).append(text)
        return code, said

    def repair(self, name="jobs.json"):
        """Repair a broken file: (the ids that it holds afterwards, what is said to be lost); a byte copy is kept beside."""
        self.forget_copies()
        before = self.read(name)
        started = time.process_time()  # of this process alone, however busy the machine is
        code, said = self.examine("--repair")
        self.assertLess(time.process_time() - started, 10)
        copies = {copy: content for copy, content in self.beside().items() if copy.startswith(name + ".broken-")}
        self.assertTrue(list(copies.values()) == [before], list(copies))  # a difference of megabytes takes minutes to show
        self.assertIn(list(copies)[0], said[name][0])
        lost = said[name][1:]
        self.assertEqual(code, 1 if lost or not self.records(name) else 0, said)
        ids = [job["id"] for job in self.records(name)]
        self.assertIn("saved %d job" % len(ids), said[name][0])
        self.forget_copies()
        self.assertEqual(self.examine()[0], 0)
        return ids, lost


class TestDoctor(DoctorTest):
    """Each file broken in turn."""

    FILES = {"config.json", "jobs.json", "dlq.json", "logs", "run"}

    def test_a_sound_home_is_told_so_with_exit_code_0(self):
        self.assertEqual(self.examine()[0], 0)  # nothing but config.json
        self.sample()
        os.mkdir(self.path("logs"), 0o700)
        code, said = self.examine()
        self.assertEqual((code, set(said)), (0, self.FILES))

    def test_a_change_that_nobody_saw_is_found_and_then_counted(self):
        self.manager().enqueue([{"id": job_id, "command": "true"} for job_id in "abc"], self.home, time.time())
        before = os.stat(self.path("jobs.json"))
        with open(self.path("jobs.json"), "r+b") as file:
            content = file.read().replace(b'"state": "pending"   ', b'"state": "completed" ', 1)
            file.seek(0)
            file.write(content)
        os.utime(self.path("jobs.json"), ns=(before.st_atime_ns, before.st_mtime_ns))
        code, said = self.examine()
        self.assertEqual((code, said["jobs.json"]), (1, ["%s was changed unseen; the next command looks at all of it"
                                                         % self.path("jobs.json")]))
        self.assertEqual(self.manager().count(), {"pending": 2, "processing": 0, "completed": 1, "dead": 0})
        self.assertEqual(self.examine()[0], 0)

    def test_each_broken_file_is_told_in_plain_words_with_exit_code_1_and_all_others_are_looked_at(self):
        def symlink(name):
            return lambda: os.symlink("/dev/null", self.path(name))

        def log_link():
            os.mkdir(self.path("logs"))
            os.symlink("/dev/null", self.path("logs", "x-0.1.log"))

        for file, what, breaks in (
                ("config.json", "no JSON", lambda: self.write("config.json", '{"max_retries": 3,}')),
                ("config.json", "a bad value", lambda: self.write("config.json", '{"max_retries": "3"}')),
                ("config.json", "no object", lambda: self.write("config.json", "[]")),
                ("config.json", "no UTF-8", lambda: self.write("config.json", b'{"own": "\xff"}')),
                ("jobs.json", "no JSON", lambda: self.write("jobs.json", "oops")),
                ("jobs.json", "a bad state", lambda: self.write("jobs.json", _with(', "state": "gone"'))),
                ("jobs.json", "a folder", lambda: os.mkdir(self.path("jobs.json"))),
                ("jobs.json", "a link", symlink("jobs.json")),
                ("dlq.json", "no JSON", lambda: self.write("dlq.json", "{}")),
                ("dlq.json", "a folder", lambda: os.mkdir(self.path("dlq.json"))),
                ("logs", "a file", lambda: self.write("logs", "")),
                ("logs", "a link", symlink("logs")),
                ("logs", "a log that is a link", log_link)):
            if what.endswith("link") and not LINKS:
                continue
            with self.subTest(file=file, what=what):
                self.sample()
                for name in (file,):
                    if os.path.isfile(self.path(name)):
                        os.unlink(self.path(name))
                breaks()
                code, said = self.examine()
                self.assertEqual((code, set(said)), (1, self.FILES), said)
                self.assertIn(self.path(file), said[file][0])
                self.assertEqual([name for name in said if self.path(name) in said[name][0]], [file])
            for name in self.FILES:
                if os.path.islink(self.path(name)) or os.path.isfile(self.path(name)):
                    os.unlink(self.path(name))
                elif os.path.isdir(self.path(name)) and name != "run":
                    for entry in os.listdir(self.path(name)):
                        os.unlink(self.path(name, entry))
                    os.rmdir(self.path(name))

    def test_a_run_that_is_no_folder_is_told(self):
        for what in ("a file", "a link")[:1 + LINKS]:
            with self.subTest(what):
                if what == "a file":
                    self.write("run", "")
                else:
                    os.symlink("/dev/null", self.path("run"))
                code, said = self.examine()
                self.assertEqual((code, set(said)), (1, self.FILES))
                self.assertIn(self.path("run"), said["run"][0])
                os.unlink(self.path("run"))

    def test_a_worker_file_that_is_no_file_is_told(self):
        for what in ("a folder", "a link")[:1 + LINKS]:
            with self.subTest(what):
                os.makedirs(self.path("run"), exist_ok=True)
                path = self.path("run", "worker-0.json")
                if what == "a link":
                    os.symlink("/dev/null", path)
                else:
                    os.mkdir(path)
                try:
                    code, said = self.examine()
                finally:
                    os.unlink(path) if what == "a link" else os.rmdir(path)
                self.assertEqual((code, set(said)), (1, self.FILES))
                self.assertIn(path, said["run"][0])

    def test_damage_that_the_next_change_mends_is_told(self):
        content = self.sample()
        start = content.index(b' "state": "completed"')
        for name, broken in (("a torn tail", content[:-200]), ("a line 2", content[:start] + b"\0" * 40 + content[start + 40:])):
            with self.subTest(name):
                self.write("jobs.json", broken)
                code, said = self.examine()
                self.assertEqual(code, 1, said)
                self.assertIn(self.path("jobs.json"), said["jobs.json"][0])
                self.assertEqual(self.read("jobs.json"), broken)

    def test_without_repair_nothing_is_changed(self):
        for name in ("jobs.json", "dlq.json"):
            with self.subTest(name):
                self.sample()
                self.write(name, b"[{\"id\": \"a\", \"command\": \"true\"}, oops]")
                before = self.read(name)
                self.assertEqual(self.examine()[0], 1)
                self.assertEqual((self.read(name), self.beside()), (before, {}))

    def test_repair_leaves_sound_files_to_the_byte(self):
        content = self.sample()
        for name, sound in (("ours", content), ("typed by hand", _with(""))):
            with self.subTest(name):
                self.write("jobs.json", sound)
                dead = self.read("dlq.json")
                self.assertEqual(self.examine("--repair")[0], 0)
                self.assertEqual((self.read("jobs.json"), self.read("dlq.json"), self.beside()), (sound, dead, {}))

    def test_repair_goes_on_with_the_other_file_and_works_although_config_json_is_broken(self):
        self.write("config.json", "{oops")
        self.write("jobs.json", '[{"id": "a", "command": "true"}, oops]')
        self.write("dlq.json", '[{"id": "b", "command": "true", "state": "dead"}, oops]')
        code, said = self.examine("--repair")
        self.assertEqual(code, 1)
        self.assertIn("saved 1 job", said["jobs.json"][0])
        self.assertIn("saved 1 job", said["dlq.json"][0])
        self.assertEqual(([job["id"] for job in self.records()], [job["id"] for job in self.records("dlq.json")]), (["a"], ["b"]))

    def test_what_repair_cannot_mend_is_told_and_the_rest_is_still_looked_at(self):
        for file in ("jobs.json", "dlq.json"):
            for what in ("a folder", "a link")[:1 + LINKS]:
                with self.subTest(file=file, what=what):
                    self.sample()
                    os.unlink(self.path(file))
                    os.mkdir(self.path(file)) if what == "a folder" else os.symlink("/dev/null", self.path(file))
                    try:
                        code, said = self.examine("--repair")
                        self.assertEqual((code, set(said), self.beside()), (1, self.FILES, {}))
                    finally:
                        os.rmdir(self.path(file)) if what == "a folder" else os.unlink(self.path(file))
                        self.forget_copies()


class TestRepair(DoctorTest):
    """What is saved of broken job files."""

    GOOD = ({"id": "a", "command": "echo {\"id\": 1}", "own": [1, {"x": "]"}]},
            {"id": "é", "command": "false", "state": "dead", "attempts": 4},
            {"id": "c", "command": "true", "state": "completed", "exit_code": 0}, {"id": "d", "command": "true", "attempts": 2})
    BAD = ('{"id": "bad", "command": ?}', '{"id": "bad"}', '{"id": "bad", "command": "x", "state": "gone"}',
           '{"id": "bad", "command": "x",,}',
           '{"id": "bad", "id": "bad", "command": "x"}', '{"id": "bad", "command": 1e999}', "oops", '"a text"', '["a", "list"]',
           '{"id": "bad", "command": "x" "own": 1}', '{"id": "bad", "command": "x\\q"}')

    def arrays(self, records):
        """The same records (texts) as an array in several layouts."""
        yield "compact", "[" + ",".join(records) + "]"
        yield "a line each", "[\n" + ",\n".join(records) + "\n]\n"
        yield "line ends of Windows", "[\r\n  " + ",\r\n  ".join(records) + "\r\n]\r\n"
        yield "a byte order mark", "\ufeff[" + ",\n".join(records) + "]"
        yield "no end", "[" + ", ".join(records)

    def test_every_job_that_can_be_read_is_saved_with_several_broken_ones_between_them(self):
        for bad in self.BAD:
            for indent in (None, 2):
                good = [json.dumps(job, ensure_ascii=False, indent=indent) for job in self.GOOD]
                for name, text in self.arrays([bad, good[0], bad, bad, good[1], good[2], bad, good[3], bad]):
                    with self.subTest(bad=bad, layout=name, indent=indent):
                        self.write("jobs.json", text)
                        ids, lost = self.repair()
                        self.assertEqual(ids, [job["id"] for job in self.GOOD])
                        for shown, job in zip(self.records(), self.GOOD):
                            self.assert_same(shown, job)
                        self.assertTrue(lost)
                        for sentence in lost:
                            self.assertRegex(sentence, r"could not read lines? [0-9]+")

    def test_what_is_lost_is_named_by_its_line(self):
        good = json.dumps(self.GOOD[0])
        self.write("jobs.json", "[\n%s,\n%s,\nnot a job at all,\n%s,\n{\"id\": \"bad\",\n \"command\": 5},\n%s\n]" % ((good,) * 4))
        ids, lost = self.repair()
        self.assertEqual(len(ids), 4)
        self.assertEqual(len(lost), 2, lost)
        self.assertRegex(lost[0], "line 4: .*not a job at all")
        self.assertRegex(lost[1], "lines 6 to 7: .*bad")

    def test_bytes_that_are_no_text_cost_the_job_that_holds_them_and_no_other(self):
        for bad in (b'{"id": "bad", "command": "caf\xe9"}', b'{"id": "b\xff", "command": "true"}', b"\xff\xfe\xfd", b"\0\0\0\0",
                    b'{"id": "bad", "command": "true", "own": "\xed\xa0\x80"}', b'{"id": "bad", "command": "true", "\x80": 1}'):
            with self.subTest(bad):
                good = [json.dumps(job, ensure_ascii=False).encode("utf-8") for job in self.GOOD]
                self.write("jobs.json", b"[" + b",\n".join([good[0], bad, good[1], good[2], bad, good[3]]) + b"]")
                ids, _ = self.repair()
                self.assertEqual([job_id for job_id in ids if job_id in "aécd"], [job["id"] for job in self.GOOD])

    def test_an_object_inside_a_job_that_cannot_be_read_is_no_job(self):
        for bad in ('{"id": "bad", "command": "x",, "own": {"id": "inner", "command": "rm -rf /"}}',
                    '{"id": "bad", "own": {"id": "inner", "command": "rm -rf /"}, "state": "gone", "command": "x"}',
                    '{"id": "bad", "own": [{"id": "inner", "command": "rm -rf /"}, {"id": "inner", "command": "x"}]}',
                    '{"id": "bad",\n "own":\n {"id": "inner", "command": "rm -rf /"}\n, "command": 5}'):
            with self.subTest(bad):
                self.write("jobs.json", "[%s, %s]" % (bad, json.dumps(self.GOOD[0])))
                self.assertEqual(self.repair()[0], ["a"])

    def test_our_own_layout_with_damage_anywhere_keeps_all_other_jobs(self):
        content = self.sample()
        ids = [job["id"] for job in self.originals]
        chance = random.Random(SEED)
        tried = 0
        while tried < FLIPS // 5:
            place, length = chance.randrange(2, len(content) - 3), chance.choice((1, 1, 3, 40))
            broken = content[:place] + bytes(chance.randrange(256) for _ in range(length)) + content[place + length:]
            self.write("jobs.json", broken)
            if self.run_inside("list")[0] == 0:
                continue
            tried += 1
            with self.subTest(place=place, length=length):
                saved, _ = self.repair()
                hit = sum(content.count(b'\n "state": ', 0, at) for at in (place, place + length)) // 2
                for number, job_id in enumerate(ids):
                    if not hit - 1 <= number <= hit + 1:
                        self.assertIn(job_id, saved)
                self.assertGreaterEqual(len(saved), len(ids) - 2)

    def test_a_file_cut_anywhere_keeps_every_whole_job(self):
        content = ("\ufeff" + json.dumps(self.GOOD, indent=2, ensure_ascii=False)).encode("utf-8")
        for size in range(5, len(content) - 1, 5):
            with self.subTest(size=size):
                self.write("jobs.json", content[:size])
                ids, _ = self.repair()
                ends = [match.end() for match in re.finditer(b"\n  }", content)]
                self.assertEqual(ids, [job["id"] for job in self.GOOD][:sum(end <= size for end in ends)])

    def test_a_file_that_is_nested_100000_levels_deep_is_repaired_in_time(self):
        good = json.dumps(self.GOOD[0])
        for name, deep in (("arrays", "[" * 100000), ("objects", '{"a":' * 100000), ("both", '[{"a":' * 50000), ("braces", "{" * 100000)):
            with self.subTest(name):
                self.write("jobs.json", "[%s, %s" % (good, deep))
                self.assertEqual(self.repair()[0], ["a"])

    def test_many_broken_jobs_are_repaired_in_time(self):
        good, bad = json.dumps(self.GOOD[0]), '{"id": "bad", "command": "%s", "state": "gone"}' % ("x" * 100)
        self.write("jobs.json", "[\n" + ",\n".join([good, bad] * 10000) + "\n]")
        ids, lost = self.repair()
        self.assertEqual((len(ids), len(lost)), (10000, 10000))

    def test_the_dead_letter_file_is_repaired_with_what_it_says_of_the_end(self):
        self.sample()
        content = self.read("dlq.json")
        self.write("dlq.json", content[:-3] + b",\noops\n]\n")
        self.assertEqual(self.repair("dlq.json")[0], ["dead"])
        entry, = self.records("dlq.json")
        self.assertEqual((entry["output"], entry["exit_code"]), ("its last words", 7))
        self.assertEqual(self.run_inside("retry", "dead")[0], 0)

    def test_a_repaired_queue_runs(self):
        self.write("jobs.json", '[{"id": "a", "command": "exit 0"}, {"id": "b", "command": oops}, {"id": "c", "command": "exit 0"}]')
        self.repair()
        self.drain()
        self.assertEqual({job["id"]: job["state"] for job in self.records()}, {"a": COMPLETED, "c": COMPLETED})

    def test_salvage_of_nothing_is_nothing(self):
        for content in (b"", b"[", b"[]", b"\0\0", b"\xef\xbb\xbf["):
            with self.subTest(content):
                self.assertEqual(salvage(content), ([], []))


if __name__ == "__main__":
    unittest.main()
