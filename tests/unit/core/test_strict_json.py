"""Tests of strict JSON."""
from __future__ import annotations

import json
import unittest

from core import strict_json
from core.errors import JsonError
from core.strict_json import decode_json, decode_json_at, decode_utf8, skip_whitespace


def fault(text):
    """(line, column, what is wrong) of a text that is not strict JSON; None if it is."""
    try:
        decode_json(text)
    except JsonError as error:
        return error.line, error.column, error.what
    return None


class StrictJsonTest(unittest.TestCase):

    def assert_refused(self, text, line, column, what):
        found = fault(text)
        self.assertIsNotNone(found, "accepted")
        self.assertEqual(found[:2], (line, column), found[2])
        self.assertIn(what, found[2])

    def test_what_is_not_json_is_refused_with_its_line_and_column(self):
        for name, text, line, column, what in (
                ("nothing", "", 1, 1, "expecting value"),
                ("only spaces", " \n  ", 2, 3, "expecting value"),
                ("a word", "\n  hello", 2, 3, "expecting value"),
                ("an end that is missing", "{\"a\": [1,\n 2", 2, 3, "expecting"),
                ("single quotes", "{'a': 1}", 1, 2, "expecting property name"),
                ("a text that does not end", "[\n \"abc", 2, 2, "unterminated string"),
                ("a raw line break in a text", "[\"a\nb\"]", 1, 4, "invalid control character"),
                ("a comment", "{} // no", 1, 4, "extra text"),
                ("a second value", "{}\n{}", 2, 1, "extra text"),
                ("a leading zero", "[01]", 1, 3, "expecting"),
                ("a hexadecimal escape", "[\"\\x41\"]", 1, 3, "invalid \\escape"),
        ):
            with self.subTest(name):
                self.assert_refused(text, line, column, what)

    def test_trailing_comma_is_refused_by_its_name_at_its_place(self):
        for text, line, column in (("[1, 2,]", 1, 6), ("[1, 2 , ]", 1, 7), ("{\"a\": 1,}", 1, 8), ("{\"a\": [1,\n\n] }", 1, 9),
                                   ("[{\"a\": 1},\n {\"b\": \"],\"}\n  ,\n]", 3, 3), ("[,]", 1, 2), ("{,}", 1, 2)):
            with self.subTest(text):
                self.assert_refused(text, line, column, "trailing comma: remove it")

    def test_other_commas_are_no_trailing_ones(self):
        for text in ("[1,,2]", "[1,", "{\"a\":,}", "[1,}", "{\"a\": 1,]", "[\"a,\"", "],", ",", ""):
            with self.subTest(text):
                found = fault(text)
                self.assertIsNotNone(found, "accepted")

    def test_what_python_lets_pass_is_refused_with_its_line_and_column(self):
        many = "1" * 5000
        for name, text, line, column, what in (
                ("a key twice", "{\"a\": 1,\n \"a\": 2}", 2, 2, "the key \"a\" appears twice"),
                ("a key twice, not in ASCII", "{\"\u00e9\": 1,\n  \"\u00e9\": 2}", 2, 3, "appears twice"),
                ("NaN", "[1,\n NaN]", 2, 2, "NaN is not JSON"),
                ("Infinity", "{\"a\":\n Infinity}", 2, 2, "Infinity is not JSON"),
                ("-Infinity", "[0, -Infinity]", 1, 5, "-Infinity is not JSON"),
                ("1e400", "[1,\n  1e400]", 2, 3, "the number 1e400 is too large"),
                ("-1e400", "[-1e400]", 1, 2, "too large"),
                ("a float of 400 digits", "[" + "9" * 400 + ".5]", 1, 2, "too large"),
                ("5,000 digits", "[1,\n " + many + "]", 2, 2, "more than"),
                ("-5,000 digits", "[-" + many + "]", 1, 2, "more than"),
                ("the first half of a surrogate pair", "[1,\n \"x\\ud83d\"]", 2, 4, "\\ud83d alone is no character: its bytes would not be UTF-8"),
                ("the second half", "{\"a\": \"\\uDE00\"}", 1, 8, "alone is no character: its bytes would not be UTF-8"),
                ("half a pair in a key", "{\"\\ud800\": 1}", 1, 3, "alone is no character: its bytes would not be UTF-8"),
                ("two first halves", "[\"\\ud83d\\ud83d\"]", 1, 3, "alone is no character: its bytes would not be UTF-8"),
        ):
            with self.subTest(name):
                self.assert_refused(text, line, column, what)

    def test_message_of_a_fault_is_short_however_long_the_text(self):
        for text in ("[" + "1" * 5000 + "]", "[1" + "0" * 5000 + ".0]", "[" * 100000):
            with self.subTest(text[:3]):
                with self.assertRaises(JsonError) as caught:
                    decode_json(text)
                self.assertLess(len(str(caught.exception)), 200)

    def test_place_of_a_fault_is_not_that_of_the_same_word_in_a_text(self):
        for name, text, line, column in (
                ("NaN", "{\"a\": \"NaN\",\n \"b\": NaN}", 2, 7),
                ("1e400", "[\"1e400\",\n 1e400]", 2, 2),
                ("a key that is a value before", "{\"x\": \"id\",\n \"id\": 1,\n \"id\": 2}", 3, 2),
                ("a key that other objects have too", "[{\"id\": 1},\n {\"id\": 2,\n \"id\": 3}]", 3, 2),
                ("letters behind it", "[1,\n NaNx]", 2, 2),
                ("half a pair behind a whole one", "[\"\\ud83d\\ude00\",\n \"\\ud83d\"]", 2, 3),
        ):
            with self.subTest(name):
                found = fault(text)
                self.assertIsNotNone(found, "accepted")
                self.assertEqual(found[:2], (line, column), found)

    def test_100000_levels_are_refused(self):
        for name, text in (("arrays", "[" * 100000), ("closed arrays", "[" * 100000 + "]" * 100000), ("objects", "{\"a\":" * 100000)):
            with self.subTest(name):
                found = fault(text)
                self.assertIsNotNone(found, "accepted")
                self.assertIn("nested", found[2])

    def test_depth_has_a_limit_of_its_own(self):
        for levels, accepted in ((strict_json.MAX_DEPTH, True), (strict_json.MAX_DEPTH + 1, False), (400, False)):
            for name, text in (("arrays", "[" * levels + "]" * levels), ("objects", "{\"a\":" * levels + "1" + "}" * levels)):
                with self.subTest(name, levels=levels):
                    self.assertEqual(fault(text) is None, accepted)

    def test_many_values_beside_each_other_are_not_deep(self):
        self.assertEqual(decode_json("[" + "[[]]," * 1000 + "{\"a\": {}}]")[-1], {"a": {}})

    def test_depth_that_is_accepted_does_not_depend_on_who_calls(self):
        deepest = max(levels for levels in range(1, 1100) if fault("[" * levels + "]" * levels) is None)

        def below(calls):
            return below(calls - 1) if calls else fault("[" * deepest + "]" * deepest)

        self.assertIsNone(below(50), "%d levels are accepted, but not by a function that is called deeper down" % deepest)

    def test_what_json_allows_is_accepted(self):
        for name, text, value in (
                ("a surrogate pair", "\"\\ud83d\\ude00\"", "\U0001f600"),
                ("a pair in capitals", "\"\\uD83D\\uDE00\"", "\U0001f600"),
                ("a backslash before what looks like half a pair", "\"\\\\ud800\"", "\\ud800"),
                ("the same key in two objects", "[{\"a\": 1}, {\"a\": 2}]", [{"a": 1}, {"a": 2}]),
                ("the same key within one another", "{\"a\": {\"a\": 1}}", {"a": {"a": 1}}),
                ("a number of 400 digits", "9" * 400, int("9" * 400)),
                ("a large float", "1e308", 1e308),
                ("a tiny float", "1e-400", 0.0),
                ("words in a text", "\"NaN Infinity 1e400\"", "NaN Infinity 1e400"),
                ("white space around", " \t\r\n[ ]\n ", []),
                ("100 levels", "[" * 100 + "]" * 100, json.loads("[" * 100 + "]" * 100)),
                ("raw text of any language", "\"\u00e9\u4e16\u0416\"", "\u00e9\u4e16\u0416"),
        ):
            with self.subTest(name):
                self.assertEqual(decode_json(text), value)

    def test_values_one_after_another_are_read_with_their_ends(self):
        text = "{\"a\": 1}  [2]"
        first, end = decode_json_at(text, 0)
        second, last = decode_json_at(text, skip_whitespace(text, end))
        self.assertEqual((first, second, last), ({"a": 1}, [2], len(text)))

    def test_fault_in_a_later_value_has_its_place_in_the_whole_text(self):
        with self.assertRaises(JsonError) as caught:
            decode_json_at("{\"a\": NaN}\n{\"a\": NaN}", 11)
        self.assertEqual((caught.exception.line, caught.exception.column), (2, 7))

    def test_whitespace_ends_with_the_text(self):
        for text, start, end in (("", 0, 0), ("  ", 0, 2), (" \t\r\n x", 0, 5), ("x", 0, 0), ("x  ", 1, 3), ("\u00a0x", 0, 0)):
            with self.subTest(repr(text)):
                self.assertEqual(skip_whitespace(text, start), end)


class Utf8Test(unittest.TestCase):

    def test_byte_order_mark_is_dropped(self):
        self.assertEqual(decode_utf8(b"\xef\xbb\xbf[]"), "[]")

    def test_bytes_that_are_not_utf8_are_refused_with_line_and_column(self):
        for name, content, line, column, byte in (
                ("at the start", b"\xff[]", 1, 1, "0xff"),
                ("in a text", b"[\n \"ab\xffcd\"]", 2, 5, "0xff"),
                ("behind letters of two and three bytes", "[\"\u00e9\u4e16".encode("utf-8") + b"\xfe\"]", 1, 5, "0xfe"),
                ("a letter cut short", b"[\"\xe4\xb8\"]", 1, 3, "0xe4"),
                ("a letter cut short by the end", b"[\"\xe4\xb8", 1, 3, "0xe4"),
                ("an encoded surrogate", b"[\"\xed\xa0\x80\"]", 1, 3, "0xed"),
                ("more bytes than needed", b"[\"\xc0\x80\"]", 1, 3, "0xc0"),
                ("UTF-16", "[]".encode("utf-16"), 1, 1, "0xff"),
                ("behind a byte order mark", b"\xef\xbb\xbf[\n \"ab\xffcd\"]", 2, 5, "0xff"),
        ):
            with self.subTest(name):
                with self.assertRaises(JsonError) as caught:
                    decode_utf8(content)
                self.assertEqual((caught.exception.line, caught.exception.column), (line, column), caught.exception)
                self.assertIn("byte %s is not UTF-8" % byte, caught.exception.what)

    def test_utf16_is_named_with_how_to_save_it_otherwise(self):
        for content in ('[{"id": "x"}]'.encode("utf-16"), "\ufeff[]".encode("utf-16-be")):
            with self.subTest(content), self.assertRaises(JsonError) as caught:
                decode_utf8(content)
            self.assertIn("UTF-16", caught.exception.what)
            self.assertIn("-Encoding utf8", caught.exception.what)
