"""The bytes of a job file: two lines a job, found at memory speed, checked to the byte, and read in any other layout."""
from __future__ import annotations

import json
import os
import unittest

from core.job import STATES
from core.job_record import job_from_record
from core.system import pread
from storage import layout as storage_layout
from storage.layout import (COLUMNS, COLUMN_AT, EMPTY, END, PAGE, WIDTH, bare, blocks, column, encode_line1, encode_line2, lay_out,
                            parse_record, pending_records, read_lines)
from storage.recognition import check_canonical
from tests.support.job_files import PENDING, STANDINGS, TIME, FormatTest, content_of, count_states, line1, places_of


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

    def test_record_is_read_as_it_was_written(self):
        for standing in STANDINGS:
            with self.subTest(standing):
                read = parse_record(line1("a", zebra=1) + b"   ,", encode_line2(standing))
                self.assertEqual(read, dict({"id": "a", "command": "echo Hello", "created_at": TIME, "zebra": 1},
                                            **{name: value for (name, _), value in zip(COLUMNS, standing)}))

    def test_record_is_refused_if_one_of_its_lines_is_not_whole(self):
        line, line2 = line1("a", zebra=1) + b",", encode_line2(PENDING)
        for bad in (line.replace(b', "zebra"', b'} "zebra"'), line.replace(b"{", b"["), line.replace(b'"a"', b'"a'), b"1,", b","):
            with self.subTest(bad), self.assertRaises(ValueError):
                parse_record(bad, line2)
        for bad in (line2.replace(b"worker", b"wirker"), line2.replace(b"state", b"st\xffte"), line2[:-1], b""):
            with self.subTest(bad), self.assertRaises(ValueError):
                parse_record(line, bad)


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
        self.assertGreater(len(content), 3 * storage_layout.CHUNK)
        descriptor, end = self.open(content), len(content) - len(END)
        self.assertEqual(count_states(descriptor, end), (dict.fromkeys(STATES, 225), 900))
        self.assertEqual([place for place, _ in pending_records(descriptor, end)], places_of(content)[::4])
        self.assertEqual(b"".join(block for _, block in blocks(descriptor, end)), content[2:end])

    def test_file_of_several_real_chunks_is_known_as_ours(self):
        content = self.mixed(900, 8000)
        layout = check_canonical(self.open(content), len(content), job_from_record)
        self.assertEqual((layout.end, layout.torn), (len(content) - len(END), False))

    def test_record_larger_than_a_chunk_is_read_whole(self):
        content = content_of([(line1("a", "x" * (2 * storage_layout.CHUNK + 5)), encode_line2(PENDING)), (line1("b"), encode_line2(PENDING))])
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
                first, second = read_lines(lambda start, size: pread(descriptor, size, start), place)
                self.assertEqual((bare(first), first[-1:], second), (line1("job%d" % length, "x" * length), b",", encode_line2(PENDING)))


if __name__ == "__main__":
    unittest.main()
