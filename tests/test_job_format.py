"""The bytes of a job file: two lines a job, found at memory speed, checked to the byte, and read in any other layout."""
from __future__ import annotations

import json
import os
import unittest
from unittest import mock

import job_format
from helpers import encode_json
from job import InvalidJob, job_from_record
from job_format import (COLUMN_AT, COLUMNS, EMPTY, END, PAGE, STATES, WIDTH, CorruptFile, bare, blocks, check_canonical, column,
                        count_block, encode_line1, encode_line2, lay_out, parse_any, parse_lines, parse_record, pending_records, read_lines)
from system import pwrite
from tests.base import HomeTest

TIME = "2026-11-24T02:09:06.123456Z"
PENDING = ("pending", 0, None, None, None, None, TIME, None)
STANDINGS = (
    PENDING,
    ("processing", 9999999, None, None, None, TIME, TIME, "0123456789ab-0123456789abc"),
    ("completed", 1, 0, None, None, TIME, TIME, None),
    ("dead", 4, 4294967295, "unstartable", None, TIME, TIME, None),
    ("pending", 3, -2147483648, "abcdefghijklmn", "9999-12-30T23:59:59.999999Z", TIME, TIME, None),
    (None,) * 8,
)


def line1(job_id, command="echo Hello", created_at=TIME, **options):
    """Line 1 of a record."""
    return encode_line1(dict(id=job_id, command=command, created_at=created_at, **options))


def content_of(rows):
    """The bytes of a whole file of these rows."""
    return b"[" + bytes(lay_out(rows, 1, True)) + END


def places_of(content):
    """Where each line 2 starts in the bytes of a file."""
    places, at = [], content.find(b"\n \"state\": ")
    while at >= 0:
        places.append(at + 1)
        at = content.find(b"\n \"state\": ", at + 1)
    return places


def count_states(descriptor, end):
    """(how many records of a file are in each state, how many records there are)."""
    counts, total = [0] * len(STATES), 0
    for _, block in blocks(descriptor, end):
        of_block, records = count_block(block)
        counts, total = [known + more for known, more in zip(counts, of_block)], total + records
    return dict(zip(STATES, counts)), total


class FormatTest(HomeTest):

    def open(self, content):
        """A descriptor of a file of these bytes, closed after the test."""
        self.write("jobs.json", content)
        descriptor = os.open(self.path("jobs.json"), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.addCleanup(os.close, descriptor)
        return descriptor

    def chunks_of(self, size):
        """Let files be read in pieces of so many bytes."""
        self.addCleanup(setattr, job_format, "CHUNK", job_format.CHUNK)
        job_format.CHUNK = size


class RecordTest(unittest.TestCase):

    def test_line2_is_always_of_the_same_width(self):
        for standing in STANDINGS:
            with self.subTest(standing):
                self.assertEqual(len(encode_line2(standing)), WIDTH)

    def test_line2_is_the_second_half_of_a_json_object(self):
        for standing in STANDINGS:
            with self.subTest(standing):
                self.assertEqual(tuple(json.loads((b"{\"id\": 1," + encode_line2(standing)).decode("ascii")).items())[1:],
                                 tuple(zip([name for name, _ in COLUMNS], standing)))

    def test_every_column_is_read_back(self):
        for standing in STANDINGS:
            line2 = encode_line2(standing)
            for (name, _), value in zip(COLUMNS, standing):
                with self.subTest(standing, column=name):
                    self.assertEqual(column(line2, name), None if value is None else str(value))

    def test_every_column_starts_where_the_table_says(self):
        for standing in STANDINGS:
            line2 = encode_line2(standing)
            for name, at in COLUMN_AT.items():
                with self.subTest(standing, column=name):
                    self.assertTrue(line2[:at].endswith(b"\"%s\": " % name.encode("ascii")))

    def test_value_that_is_too_wide_is_never_written(self):
        for name, value in (("state", "x" * 11), ("attempts", 10 ** 7), ("exit_code", 10 ** 11), ("reason", "x" * 15),
                            ("run_at", TIME + "Z"),
                            ("worker", "x" * 27)):
            with self.subTest(name):
                standing = [value if name == other else old for (other, _), old in zip(COLUMNS, PENDING)]
                with self.assertRaises(AssertionError):
                    encode_line2(standing)

    def test_line1_holds_the_fields_in_their_order(self):
        fields = {"id": "a", "command": "echo \"\u00e9\n\"", "created_at": TIME, "zebra": 1, "apple": [None, True, {"x": 1.5}]}
        line = encode_line1(fields)
        self.assertNotIn(b"\n", line)
        self.assertEqual(list(json.loads(line.decode("utf-8") + "}").items()), list(fields.items()))

    def test_line1_with_half_a_surrogate_pair_is_refused(self):
        with self.assertRaises(UnicodeEncodeError):
            encode_line1({"id": "\ud800"})

    def test_line1_loses_its_padding_and_comma_alone(self):
        for line in (b"{\"id\": \"a\"", b"{\"id\": \"a  \"", b"{\"id\": \"a,\""):
            for padding in (0, 1, 500):
                with self.subTest(line, padding=padding):
                    self.assertEqual(bare(line + b" " * padding + b","), line)

    def test_record_is_read_from_its_two_lines(self):
        record = parse_record(line1("a", zebra=1) + b"   ,", encode_line2(PENDING))
        self.assertEqual((record["id"], record["zebra"], record["state"], record["worker"]), ("a", 1, "pending", None))

    def test_line_by_line_it_is_read_as_it_was_written(self):
        for standing in STANDINGS:
            with self.subTest(standing):
                record, read = parse_lines(line1("a", zebra=1) + b"   ,", encode_line2(standing))
                self.assertEqual((record, read), ({"id": "a", "command": "echo Hello", "created_at": TIME, "zebra": 1}, standing))

    def test_line_by_line_it_is_refused_if_one_of_them_is_not_whole(self):
        line, line2 = line1("a", zebra=1) + b",", encode_line2(PENDING)
        for bad in (line.replace(b', "zebra"', b'} "zebra"'), line.replace(b"{", b"["), line.replace(b'"a"', b'"a'), b"1,", b","):
            with self.subTest(bad), self.assertRaises(ValueError):
                parse_lines(bad, line2)
        for bad in (line2.replace(b"worker", b"wirker"), line2.replace(b"state", b"st\xffte"), line2[:-1], b""):
            with self.subTest(bad), self.assertRaises(ValueError):
                parse_lines(line, bad)


class LayoutTest(unittest.TestCase):

    def test_line2_never_crosses_a_page_whatever_the_length_of_line1(self):
        line2 = encode_line2(PENDING)
        for length in range(1, 2 * PAGE + 2):
            line = b"{" + b"x" * (length - 1)
            laid = lay_out([(line, line2)], 1, True)
            place = 1 + len(laid) - WIDTH
            if place % PAGE + WIDTH > PAGE or laid != b"\n" + line + b" " * (len(laid) - WIDTH - 3 - length) + b",\n" + line2:
                self.fail("line 1 of %d bytes: line 2 is at %d" % (length, place))

    def test_line2_never_crosses_a_page_wherever_the_record_starts(self):
        row = (line1("a"), encode_line2(PENDING))
        for offset in range(1, PAGE + 2):
            laid = lay_out([row], offset, False)
            place = offset + len(laid) - WIDTH
            if place % PAGE + WIDTH > PAGE or not laid.startswith(b",\n" + row[0]):
                self.fail("a record at %d: line 2 is at %d" % (offset, place))

    def test_line1_is_padded_no_more_than_needed(self):
        line2 = encode_line2(PENDING)
        for length in range(1, PAGE + 2):
            line = b"{" + b"x" * (length - 1)
            laid = lay_out([(line, line2)], 1, True)
            unpadded = 1 + 1 + length + 2
            expected = unpadded if unpadded % PAGE + WIDTH <= PAGE else -(-unpadded // PAGE) * PAGE
            if 1 + len(laid) - WIDTH != expected:
                self.fail("line 1 of %d bytes: line 2 is at %d, not %d" % (length, 1 + len(laid) - WIDTH, expected))

    def test_many_records_make_one_json_array(self):
        rows = [(line1("job%d" % number, "echo " + "x" * (number * 37 % 700)), encode_line2(STANDINGS[number % 5]))
                for number in range(300)]
        content = content_of(rows)
        self.assertEqual([record["id"] for record in json.loads(content.decode("utf-8"))], ["job%d" % number for number in range(300)])
        places = places_of(content)
        self.assertEqual((len(places), max(place % PAGE + WIDTH for place in places) <= PAGE), (300, True))

    def test_file_in_pieces_is_the_same_as_in_one(self):
        rows = [(line1("job%d" % number), encode_line2(PENDING)) for number in range(50)]
        for cut in (1, 10, 49):
            with self.subTest(cut):
                first = b"[" + bytes(lay_out(rows[:cut], 1, True))
                self.assertEqual(first + bytes(lay_out(rows[cut:], len(first), False)) + END, content_of(rows))

    def test_no_records_make_an_empty_array(self):
        self.assertEqual(content_of([]), EMPTY)
        self.assertEqual(json.loads(EMPTY.decode("ascii")), [])


class ReadingTest(FormatTest):

    def mixed(self, count, size=40):
        """The bytes of a file of so many records in all states, some of which wait."""
        rows = []
        for number in range(count):
            waits = TIME if number % 7 == 0 else None
            standing = (STATES[number % 4], number % 5, None, None, waits, None, TIME, None)
            rows.append((line1("job%d" % number, "x" * (number * 131 % size + 1)), encode_line2(standing)))
        return content_of(rows)

    def test_states_are_counted(self):
        content = self.mixed(103)
        counts, total = count_states(self.open(content), len(content) - len(END))
        self.assertEqual((counts, total), ({"pending": 26, "processing": 26, "completed": 26, "dead": 25}, 103))

    def test_record_caught_in_the_middle_of_a_change_is_in_the_total_alone(self):
        content = self.mixed(8).replace(b"\"completed\" ", b"\"comessing\" ", 1)
        counts, total = count_states(self.open(content), len(content) - len(END))
        self.assertEqual((sum(counts.values()), counts[STATES[2]], total), (7, 1, 8))

    def test_nothing_is_counted_in_an_empty_file(self):
        for content in (EMPTY, b""):
            with self.subTest(content):
                descriptor = self.open(content)
                end = max(len(content) - len(END), 0)
                self.assertEqual(count_states(descriptor, end), (dict.fromkeys(STATES, 0), 0))
                self.assertEqual(list(pending_records(descriptor, end)), [])
                self.assertEqual(list(blocks(descriptor, end)), [])

    def test_text_in_a_command_is_never_taken_for_a_state(self):
        trap = "\n \"state\": \"pending\" , \"attempts\": 0\n},\n{\"id\": \"x\""
        content = content_of([(line1("a", trap, note=trap), encode_line2(STANDINGS[2])), (line1(trap), encode_line2(PENDING))])
        descriptor = self.open(content)
        self.assertEqual(count_states(descriptor, len(content) - len(END))[0], {"pending": 1, "processing": 0, "completed": 1, "dead": 0})
        self.assertEqual([place for place, _ in pending_records(descriptor, len(content) - len(END))], places_of(content)[1:])

    def test_pending_records_are_found_with_their_places_and_parsed_only_if_they_wait(self):
        content = self.mixed(200)
        found = list(pending_records(self.open(content), len(content) - len(END)))
        self.assertEqual([place for place, _ in found], places_of(content)[::4])
        for number, (_, record) in zip(range(0, 200, 4), found):
            with self.subTest(number):
                self.assertEqual(record and (record["id"], record["run_at"]), ("job%d" % number, TIME) if number % 7 == 0 else None)

    def test_pending_records_are_found_from_where_one_begins(self):
        content = self.mixed(20)
        descriptor, places = self.open(content), places_of(content)
        for number in (0, 1, 7, 19):
            with self.subTest(number):
                start = 2 if number == 0 else places[number - 1] + WIDTH + 2
                found = [place for place, _ in pending_records(descriptor, len(content) - len(END), start)]
                self.assertEqual(found, [place for place in places[::4] if place >= places[number]])

    def test_records_behind_the_end_are_not_read(self):
        content = self.mixed(20)
        descriptor, places = self.open(content), places_of(content)
        end = places[10] + WIDTH
        self.assertEqual(count_states(descriptor, end)[1], 11)
        self.assertEqual([place for place, _ in pending_records(descriptor, end)], places[:11:4])

    def test_blocks_never_cut_a_record_wherever_a_chunk_ends(self):
        content = self.mixed(12, 700)
        descriptor, end = self.open(content), len(content) - len(END)
        for size in list(range(1, 60)) + list(range(60, end + 2, 13)) + [end - 3, end - 2, end - 1, end]:
            self.chunks_of(size)
            parts = list(blocks(descriptor, end))
            if b"".join(block for _, block in parts) != content[2:end]:
                self.fail("chunks of %d bytes: some bytes are missing or twice" % size)
            for offset, block in parts:
                if content[offset:offset + len(block)] != block or block[:1] != b"{" or not block.endswith((b",\n", b"}")):
                    self.fail("chunks of %d bytes: a record is cut at %d" % (size, offset))

    def test_counts_and_places_are_right_wherever_a_chunk_ends(self):
        content = self.mixed(12, 700)
        descriptor, end = self.open(content), len(content) - len(END)
        expected = list(places_of(content)[::4])
        for size in range(1, 1200, 7):
            self.chunks_of(size)
            if [place for place, _ in pending_records(descriptor, end)] != expected or count_states(descriptor, end)[1] != 12:
                self.fail("chunks of %d bytes" % size)

    def test_file_of_several_real_chunks_is_read_right(self):
        content = self.mixed(900, 8000)
        self.assertGreater(len(content), 3 * job_format.CHUNK)
        descriptor, end = self.open(content), len(content) - len(END)
        self.assertEqual(count_states(descriptor, end), (dict.fromkeys(STATES, 225), 900))
        self.assertEqual([place for place, _ in pending_records(descriptor, end)], places_of(content)[::4])
        self.assertEqual(b"".join(block for _, block in blocks(descriptor, end)), content[2:end])

    def test_file_of_several_real_chunks_is_known_as_ours(self):
        content = self.mixed(900, 8000)
        layout = check_canonical(self.open(content), len(content), job_from_record)
        self.assertEqual((layout.end, layout.torn), (len(content) - len(END), False))

    def test_record_larger_than_a_chunk_is_read_whole(self):
        content = content_of([(line1("a", "x" * (2 * job_format.CHUNK + 5)), encode_line2(PENDING)), (line1("b"), encode_line2(PENDING))])
        descriptor, end = self.open(content), len(content) - len(END)
        self.assertEqual([place for place, _ in pending_records(descriptor, end)], places_of(content))
        self.assertEqual(len(check_canonical(descriptor, len(content), job_from_record).last_created), 27)

    def test_file_that_became_shorter_than_it_was_is_no_fault(self):
        content = content_of([(line1("job%d" % number), encode_line2(PENDING[:4] + (TIME,) + PENDING[5:])) for number in range(3)])
        end = len(content) - len(END)
        self.write("jobs.json", content)
        for size in range(end - 1, -1, -1):
            descriptor = os.open(self.path("jobs.json"), os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                os.ftruncate(descriptor, size)
                self.assertLessEqual(len(list(pending_records(descriptor, end))), 3)
                self.assertLessEqual(count_states(descriptor, end)[1], 3)
                self.assertEqual(b"".join(block for _, block in blocks(descriptor, end)), content[2:size])
            except IndexError as error:
                self.fail("cut at %d: %s" % (size, error))
            finally:
                os.close(descriptor)

    def test_lines_of_a_record_are_read_by_the_place_of_the_second(self):
        lengths = (1, 1500, 1800, 2100, 5000, 30000, 200000)
        content = content_of([(line1("job%d" % length, "x" * length), encode_line2(PENDING)) for length in lengths])
        descriptor = self.open(content)
        for length, place in zip(lengths, places_of(content)):
            with self.subTest(length):
                first, second = read_lines(descriptor, place)
                self.assertEqual((bare(first), first[-1:], second), (line1("job%d" % length, "x" * length), b",", encode_line2(PENDING)))


class CanonicalTest(FormatTest):

    def check(self, content, twins=True):
        """The Layout of a file of these bytes, or None."""
        descriptor = os.open(self.path("jobs.json"), os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0))
        try:
            pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
            return check_canonical(descriptor, len(content), job_from_record, twins)
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
        self.assertEqual((layout.end, layout.torn, layout.records, layout.last_created),
                         (len(content) - len(END), False, None, "2026-11-24T02:09:06.000003Z"))

    def test_file_with_two_equal_keys_is_another_layout_wherever_the_copy_stands(self):
        rows = self.some() + [(line1("d", "echo 4", "2026-11-24T02:09:06.000004Z"), encode_line2(PENDING))]
        for copied in range(4):
            for place in range(5):
                content = content_of(rows[:place] + [rows[copied]] + rows[place:])
                self.assertIsNone(self.check(content, twins=False), "%d, copied to %d" % (copied, place))
                self.assertFalse(self.check(content).torn)  # as in dlq.json, where a job may have died twice

    def test_times_that_repeat_or_go_back_are_no_copies(self):
        rows = [(line1(job_id, "x, \"created_at\": \"y", "2026-11-24T02:09:06.00000%dZ" % number), encode_line2(PENDING))
                for job_id in ("a", "a\", \"command\": \"b", "b") for number in (3, 1, 2)]
        self.assertFalse(self.check(content_of(rows), twins=False).torn)

    def test_keys_that_increase_are_not_looked_at_again(self):
        rows = [(line1("a", "x", "2026-11-24T02:09:06.%06dZ" % number), encode_line2(PENDING)) for number in range(20)]
        with mock.patch("job_format._has_twins", side_effect=AssertionError):
            self.assertFalse(self.check(content_of(rows), twins=False).torn)

    def test_empty_array_of_ours_is_known(self):
        layout = self.check(EMPTY)
        self.assertEqual((layout.end, layout.torn, layout.records), (1, False, None))

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
                laid = content_of([(encode_line1(job_from_record(record).fields()), encode_line2(job_from_record(record).standing()))
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
        return [job.id for job in parse_any("jobs.json", content if type(content) is bytes else content.encode("utf-8"), job_from_record)]

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
                ("a comma too much", "[\n" + good + ",\n]", 3, 1, "expecting value"),
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
                ("half a surrogate pair", "[\n{\"id\": \"a\", \"command\": \"\\ud800\"}]", 2, 25, "surrogate"),
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
            parse_any("dlq.json", b"[{\"id\": \"a\"}]", decode)
        self.assertIn("dlq.json, line 1, column 2: \"priority\" must be", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
