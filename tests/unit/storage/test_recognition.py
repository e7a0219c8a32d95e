"""Tests of the recognition of layouts."""
from __future__ import annotations

import io
import json
import os
import unittest
from unittest import mock

from core.errors import CorruptFile, InvalidJob
from core.job_record import job_from_record
from core.strict_json import encode_json
from core.system import pwrite
from storage.layout import EMPTY, END, PAGE, WIDTH, encode_line1, encode_line2
from core.json_pieces import JsonPieces
from storage.recognition import check_canonical, parse_any
from tests.support.job_files import PENDING, STANDINGS, TIME, FormatTest, content_of, line1, places_of


def pieces(content):
    """JsonPieces of a text, or of bytes."""
    return JsonPieces(io.BytesIO(content if type(content) is bytes else content.encode("utf-8")).read)


class CanonicalTest(FormatTest):

    def check(self, content, allow_duplicate_keys=True):
        """The Layout of a file of these bytes, or None."""
        descriptor = os.open(self.path("jobs.json"), os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0))
        try:
            pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
            return check_canonical(descriptor, len(content), job_from_record, allow_duplicate_keys)
        finally:
            os.close(descriptor)

    def some(self):
        """Three rows: a bare one, one with options, one that waits."""
        return [(line1("a", "echo 1", "2026-11-24T02:09:06.000001Z", cwd="/"), encode_line2(STANDINGS[2])),
                (line1("\u00e9", "echo 2", "2026-11-24T02:09:06.000003Z", x=[1, {"y": None}]), encode_line2(STANDINGS[3])),
                (line1("c", "echo 3", "2026-11-24T02:09:06.000002Z"), encode_line2(STANDINGS[4]))]

    def test_our_own_layout_is_known(self):
        content = content_of(self.some())
        layout = self.check(content)
        self.assertEqual((layout.end, layout.torn, layout.copy, layout.last_created),
                         (len(content) - len(END), False, None, "2026-11-24T02:09:06.000003Z"))

    def test_file_with_two_equal_keys_is_another_layout_wherever_the_copy_stands(self):
        rows = self.some() + [(line1("d", "echo 4", "2026-11-24T02:09:06.000004Z"), encode_line2(PENDING))]
        for copied in range(4):
            for place in range(5):
                content = content_of(rows[:place] + [rows[copied]] + rows[place:])
                self.assertIsNone(self.check(content, allow_duplicate_keys=False), "%d, copied to %d" % (copied, place))
                self.assertFalse(self.check(content).torn)  # as in dlq.json, where a job may have died twice

    def test_times_that_repeat_or_go_back_are_no_copies(self):
        rows = [(line1(job_id, "x, \"created_at\": \"y", "2026-11-24T02:09:06.00000%dZ" % number), encode_line2(PENDING))
                for job_id in ("a", "a\", \"command\": \"b", "b") for number in (3, 1, 2)]
        self.assertFalse(self.check(content_of(rows), allow_duplicate_keys=False).torn)

    def test_keys_that_increase_are_not_looked_at_again(self):
        rows = [(line1("a", "x", "2026-11-24T02:09:06.%06dZ" % number), encode_line2(PENDING)) for number in range(20)]
        with mock.patch("storage.recognition._has_duplicate_keys", side_effect=AssertionError):
            self.assertFalse(self.check(content_of(rows), allow_duplicate_keys=False).torn)

    def test_empty_array_of_ours_is_known(self):
        layout = self.check(EMPTY)
        self.assertEqual((layout.end, layout.torn, layout.copy), (1, False, None))

    def test_line1_may_be_padded_more_than_needed(self):
        first, second = self.some()[0]
        self.assertFalse(self.check(b"[\n" + first + b" " * 40 + b",\n" + second + END).torn)

    def test_layouts_that_only_look_like_ours_are_others(self):
        rows = self.some()
        first, second = rows[0]
        whole = content_of(rows)
        crossing = PAGE - WIDTH + 1
        for name, content in (
                ("a line 2 of another width", whole.replace(b"\"reason\": null  ", b"\"reason\": null ", 1)),
                ("a line 2 across a page", b"[\n" + first + b" " * (crossing - len(first) - 4) + b",\n" + second + END),
                ("a space too much before line 1", b"[\n " + first + b",\n" + second + END),
                ("a space too much behind line 2", b"[\n" + first + b",\n" + second + b" " + END),
                ("an empty line", b"[\n\n" + first + b",\n" + second + END),
                ("no comma between two records", whole.replace(b"},\n{", b"}\n{", 1)),
                ("a comma behind the last record", b"[\n" + first + b",\n" + second + b"," + END),
                ("an empty line at the end", whole + b"\n"),
                ("line ends of Windows", whole.replace(b"\n", b"\r\n")),
                ("a byte order mark", b"\xef\xbb\xbf" + whole),
                ("another opening", b"[ " + whole[2:]),
                ("columns in another order", whole.replace(b"\"state\": \"completed\" , \"attempts\": 1      ",
                                                           b"\"attempts\": 1      , \"state\": \"completed\" ", 1)),
                ("fields written otherwise", whole.replace(b"\"command\": \"echo 1\"", b"\"command\":  \"echo 1\"", 1)),
                ("escapes that are not needed", whole.replace("\u00e9".encode("utf-8"), b"\\u00e9", 1)),
                ("created_at before the command", whole.replace(
                    b"\"command\": \"echo 1\", \"created_at\": \"2026-11-24T02:09:06.000001Z\"",
                    b"\"created_at\": \"2026-11-24T02:09:06.000001Z\", \"command\": \"echo 1\"", 1)),
                ("a time with an offset", whole.replace(b"02:09:06.000001Z", b"02:09:06.00+00:00", 1)),
                ("a state of the first line", b"[\n" + first + b", \"state\": \"dead\",\n" + second + END),
                ("no created_at", b"[\n{\"id\": \"a\", \"command\": \"b\",\n" + second + END),
                ("compact JSON", b"[{\"id\":\"a\",\"command\":\"b\"}]"),
        ):
            with self.subTest(name):
                self.assertNotEqual(content, whole)
                self.assertIsNone(self.check(content))

    def test_what_is_no_job_is_not_ours(self):
        first, second = self.some()[0]
        for name, content in (
                ("an unknown state", b"[\n" + first + b",\n" + second.replace(b"\"completed\"", b"\"finished\" ") + END),
                ("no id", b"[\n{\"command\": \"x\", \"created_at\": \"" + TIME.encode("ascii") + b"\",\n" + second + END),
                ("a key twice", b"[\n" + first + b", \"cwd\": \"/\",\n" + second + END),
                ("bad UTF-8", b"[\n" + first.replace(b"echo", b"ech\xff") + b",\n" + second + END),
                ("NaN", b"[\n" + first + b", \"x\": NaN,\n" + second + END),
                ("half a surrogate pair", b"[\n" + first + b", \"x\": \"\\ud800\",\n" + second + END),
                ("a time that is none", b"[\n" + first.replace(b"2026-11", b"2026-13") + b",\n" + second + END),
                ("a time in digits of another script", b"[\n" + first + b",\n" + second.replace(
                    TIME.encode("ascii"), TIME.replace("2026", "\u0662\u0660\u0662\u0666").encode("utf-8"), 1)[:WIDTH - 1] + b"}" + END),
        ):
            with self.subTest(name):
                self.assertIsNone(self.check(content))

    def test_single_byte_of_damage_is_never_overlooked(self):
        rows = self.some()
        content = content_of(rows)
        jobs = json.loads(content.decode("utf-8"))
        for position in range(len(content)):
            for byte in {content[position] ^ 1, content[position] ^ 0x20, 0, 10, 32, 34, 44, 92, 125, 255} - {content[position]}:
                damaged = content[:position] + bytes([byte]) + content[position + 1:]
                layout = self.check(damaged)
                if layout is None:
                    continue
                what = "byte %d: %r instead of %r" % (position, damaged[position:position + 1], content[position:position + 1])
                if layout.torn:  # the closing bracket's line alone
                    self.assertEqual((position >= len(content) - len(END), layout.end), (True, len(content) - len(END)), what)
                    continue
                try:
                    records = json.loads(damaged.decode("utf-8"))
                except ValueError:
                    self.fail(what + " is taken for a sound file")
                self.assertEqual((len(records), layout.end), (len(jobs), len(content) - len(END)), what)
                self.assertEqual([job_from_record(record).to_dict() for record in records], records, what)
                laid = content_of([(encode_line1(job_from_record(record).fields()), encode_line2(job_from_record(record).progress()))
                                   for record in records])
                self.assertEqual(laid, damaged, what)

    def test_file_cut_short_is_torn_or_none_of_ours_but_never_whole(self):
        content = content_of(self.some())
        ends = [place + WIDTH for place in places_of(content)]
        for size in range(len(EMPTY) - 1, len(content)):
            layout = self.check(content[:size])
            self.assertIsNotNone(layout, "cut at %d" % size)
            self.assertTrue(layout.torn, "cut at %d" % size)
            self.assertEqual(layout.end, max([end for end in ends if end <= size], default=1), "cut at %d" % size)

    def test_long_line1_cut_short_is_torn(self):
        first = (line1("a"), encode_line2(PENDING))
        content = content_of([first, (line1("b", "x" * 5000), encode_line2(PENDING))])
        end = places_of(content)[0] + WIDTH
        for size in range(end + 10, places_of(content)[1], 17):
            layout = self.check(content[:size])
            self.assertIsNotNone(layout, "cut %d bytes into line 1" % (size - end - 2))
            self.assertEqual((layout.torn, layout.end), (True, end))

    def test_tail_of_nothing_but_zeros_is_torn(self):
        content = content_of(self.some())
        ends = [place + WIDTH for place in places_of(content)]
        for cut in (ends[0], ends[1], ends[2] - 10, ends[2] - WIDTH - 10, ends[1] + 10):
            with self.subTest(cut):
                layout = self.check(content[:cut] + bytes(3000))
                self.assertIsNotNone(layout)
                self.assertEqual((layout.torn, layout.end), (True, max(end for end in ends if end <= cut)))

    def test_what_an_append_never_leaves_is_not_torn(self):
        rows = self.some()
        whole = content_of(rows)
        end = len(whole) - len(END)
        for name, content in (
                ("text behind the end", whole + b"x"),
                ("text instead of the end", whole[:end] + b"\nhello"),
                ("another key first", whole[:end] + b",\n{\"command\": \"x\""),
                ("a line 2 of another kind", whole[:end] + b",\n{\"id\": \"x\",\n \"attempts\": 1"),
                ("a third line", whole[:end] + b",\n{\"id\": \"x\",\n \"state\": \"pending\" ,\n"),
                ("one object too many, whole", whole[:end] + b",\n{\"id\": \"x\", \"command\": \"y\"}"),
                ("one object too many, whole, and a line end", whole[:end] + b",\n{\"id\": \"x\", \"command\": \"y\"}\n"),
                ("one job typed by hand, the bracket forgotten", b"[\n{\"id\": \"a\", \"command\": \"echo 1\"}\n"),
                ("two jobs typed by hand, the bracket forgotten",
                 b"[\n{\"id\": \"a\", \"command\": \"b\"},\n{\"id\": \"c\", \"command\": \"d\"}\n"),
                ("a job typed by hand, the brace forgotten", b"[\n{\"id\": \"a\", \"command\": \"echo 1\"\n"),
        ):
            with self.subTest(name):
                self.assertIsNone(self.check(content))


class AnyLayoutTest(unittest.TestCase):

    def parse(self, content):
        """The ids of the jobs in these bytes."""
        return [job.id for job in parse_any("jobs.json", pieces(content), job_from_record)]

    def test_nothing_at_all_is_an_empty_array(self):
        for content in ("", " ", "\n\n", "\ufeff", "[]", "[ \n ]\n", "\ufeff[]"):
            with self.subTest(repr(content)):
                self.assertEqual(self.parse(content), [])

    def test_every_layout_of_an_array_of_jobs_is_read(self):
        jobs = [{"id": "a", "command": "x"}, {"id": "b", "command": "y", "state": "dead", "attempts": 2, "own": [1, {"z": None}]}]
        for name, content in (
                ("compact", json.dumps(jobs, separators=(",", ":"))),
                ("indented", json.dumps(jobs, indent=4)),
                ("with tabs", json.dumps(jobs, indent="\t")),
                ("line ends of Windows", json.dumps(jobs, indent=2).replace("\n", "\r\n")),
                ("a byte order mark", "\ufeff" + json.dumps(jobs)),
                ("white space around", "\n\n " + json.dumps(jobs) + " \n\n"),
                ("one job a line", "[" + ",\n".join(map(encode_json, jobs)) + "]"),
                ("keys in another order", json.dumps([dict(reversed(list(job.items()))) for job in jobs])),
        ):
            with self.subTest(name):
                self.assertEqual(self.parse(content), ["a", "b"])

    def test_number_as_an_id_is_read_as_text(self):
        self.assertEqual(self.parse("[{\"id\": 7, \"command\": \"x\"}, {\"id\": 1.5, \"command\": \"x\"}]"), ["7", "1.5"])

    def test_every_kind_of_broken_file_is_refused_with_file_line_and_column(self):
        good = "{\"id\": \"a\", \"command\": \"x\"}"
        for name, content, line, column_, what in (
                ("text", "hello", 1, 1, "array"),
                ("an object", "\n {\"id\": \"a\"}", 2, 2, "array"),
                ("a text", "\"[]\"", 1, 1, "array"),
                ("JSON Lines", good + "\n" + good, 1, 1, "array"),
                ("only an opening", "[", 1, 2, "expecting value"),
                ("no end", "[\n" + good + "\n", 3, 1, "expected"),
                ("no comma", "[\n" + good + "\n" + good + "]", 3, 1, "expected"),
                ("a comma too much", "[\n" + good + ",\n]", 2, len(good) + 1, "trailing comma"),
                ("a comma first", "[,\n" + good + "]", 1, 2, "expecting value"),
                ("two commas", "[" + good + ",\n," + good + "]", 2, 1, "expecting value"),
                ("the wrong bracket", "[\n" + good + "\n}", 3, 1, "expected"),
                ("text behind the end", "[" + good + "]\nx", 2, 1, "extra text"),
                ("a second array", "[]\n[]", 2, 1, "extra text"),
                ("a number instead of a job", "[\n" + good + ",\n  3]", 3, 3, "object"),
                ("null instead of a job", "[null]", 1, 2, "object"),
                ("an array instead of a job", "[\n[" + good + "]]", 2, 1, "object"),
                ("a job cut short", "[\n{\"id\": \"a\",\n \"comm", 3, 2, "unterminated"),
                ("a key twice", "[" + good + ",\n{\"id\": \"a\",\n \"id\": \"b\", \"command\": \"x\"}]", 3, 2, "twice"),
                ("NaN", "[\n{\"id\": \"a\", \"command\": \"x\", \"n\": NaN}]", 2, 34, "NaN"),
                ("NaN with letters behind", "[\n{\"id\": \"a\", \"command\": \"x\", \"n\": NaNx}]", 2, 34, "NaN"),
                ("1e400 with letters behind", "[1e400x]", 1, 2, "too large"),
                ("Infinity", "[\n{\"id\": \"a\", \"command\": \"x\", \"n\": Infinity}]", 2, 34, "Infinity"),
                ("1e400", "[\n{\"id\": \"a\", \"command\": \"x\", \"n\": 1e400}]", 2, 34, "too large"),
                ("5,000 digits", "[\n{\"id\": \"a\", \"command\": \"x\", \"n\": " + "9" * 5000 + "}]", 2, 34, "digits"),
                ("half a surrogate pair", "[\n{\"id\": \"a\", \"command\": \"\\ud800\"}]", 2, 25, "not be UTF-8"),
                ("too deep", "[\n" + "[" * 100000, 2, 1, "nested"),
                ("bad UTF-8", b"[\n{\"id\": \"a\", \"command\": \"\xff\"}]", 2, 25, "UTF-8"),
                ("UTF-16", "[]".encode("utf-16"), 1, 1, "UTF-8"),
                ("zeros", bytes(10), 1, 1, "array"),
                ("zeros behind the end", b"[]" + bytes(10), 1, 3, "extra text"),
                ("no id", "[" + good + ",\n {\"command\": \"x\"}]", 2, 2, "\"id\" is missing"),
                ("no command", "[" + good + ",\n {\"id\": \"x\"}]", 2, 2, "\"command\" is missing"),
                ("an unknown state", "[\n{\"id\": \"a\", \"command\": \"x\", \"state\": \"done\"}]", 2, 1, "\"state\""),
                ("a wrong type", "[\n{\"id\": \"a\", \"command\": \"x\", \"attempts\": \"3\"}]", 2, 1, "\"attempts\""),
                ("a time that is none", "[\n{\"id\": \"a\", \"command\": \"x\", \"run_at\": \"tomorrow\"}]", 2, 1, "\"run_at\""),
        ):
            with self.subTest(name):
                with self.assertRaises(CorruptFile) as caught:
                    self.parse(content)
                message = str(caught.exception)
                self.assertTrue(message.startswith("jobs.json, line %d, column %d: " % (line, column_)), message)
                self.assertIn(what, message)
                self.assertIn("nothing was changed", message)
                self.assertEqual(caught.exception.exit_code, 1)

    def test_message_is_one_line(self):
        with self.assertRaises(CorruptFile) as caught:
            self.parse("[{\"id\": \"a\", \"command\": \"x\", \"state\": \"a\\nb\"}]")
        self.assertNotIn("\n", str(caught.exception))

    def test_fault_of_a_job_names_the_field(self):
        def decode(record, typed):
            raise InvalidJob("\"priority\" must be a whole number")

        with self.assertRaises(CorruptFile) as caught:
            list(parse_any("dlq.json", pieces("[{\"id\": \"a\"}]"), decode))
        self.assertIn("dlq.json, line 1, column 2: \"priority\" must be", str(caught.exception))
