"""Strict JSON with its places, times and durations, settings, private files, and text made safe for a terminal."""
from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import unittest

import helpers
from helpers import (DEFAULTS, SETTINGS, InvalidSettings, JsonError, check_setting, decode_json, decode_json_at, decode_utf8, find_home,
                     format_time, load_settings, parse_duration, parse_time, printable, save_setting, setting_named, skip_whitespace,
                     unknown_settings)
from tests.base import ROOT, HomeTest

POSIX = os.name == "posix"


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

    def test_comma_too_much_is_refused_at_itself_or_at_what_follows(self):
        for text in ("[1, 2,]", "[1, 2, ]", "{\"a\": 1,}"):
            with self.subTest(text):
                found = fault(text)
                self.assertIsNotNone(found, "accepted")
                self.assertEqual(found[0], 1)
                self.assertIn(found[1], range(text.rindex(",") + 1, len(text) + 1))

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
                ("the first half of a surrogate pair", "[1,\n \"x\\ud83d\"]", 2, 4, "\\ud83d is half of a surrogate pair"),
                ("the second half", "{\"a\": \"\\uDE00\"}", 1, 8, "half of a surrogate pair"),
                ("half a pair in a key", "{\"\\ud800\": 1}", 1, 3, "half of a surrogate pair"),
                ("two first halves", "[\"\\ud83d\\ud83d\"]", 1, 3, "half of a surrogate pair"),
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
        for levels, accepted in ((helpers.MAX_DEPTH, True), (helpers.MAX_DEPTH + 1, False), (400, False)):
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


class TimeTest(unittest.TestCase):

    def test_time_is_written_in_utc_with_microseconds(self):
        for seconds, text in (
                (0, "1970-01-01T00:00:00.000000Z"),
                (1795486146.123456, "2026-11-24T02:09:06.123456Z"),
                (1795486146, "2026-11-24T02:09:06.000000Z"),
                (1.9999996, "1970-01-01T00:00:02.000000Z"),
                (951782400.5, "2000-02-29T00:00:00.500000Z"),
                (253402300799, "9999-12-31T23:59:59.000000Z"),
        ):
            with self.subTest(text):
                self.assertEqual(format_time(seconds), text)

    def test_time_is_written_alike_in_every_time_zone(self):
        code = "import helpers; print(helpers.format_time(1795486146.123456), helpers.parse_time('2026-11-24T02:09:06.123456Z'))"
        for zone in ("UTC", "Asia/Kathmandu", "America/St_Johns"):
            with self.subTest(zone):
                printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ, TZ=zone))
                self.assertEqual(printed.split(), [b"2026-11-24T02:09:06.123456Z", b"1795486146.123456"])

    def test_time_is_read_as_it_was_written(self):
        for seconds in (0, 0.000001, 1.5, 1795486146.123456, 1795486146.999999, 4102444800.000001):
            with self.subTest(seconds):
                self.assertEqual(parse_time(format_time(seconds)), seconds)

    def test_texts_sort_as_times_do(self):
        times = [0.1, 0.2, 59.999999, 60, 3600, 86399.999999, 86400, 1e9, 1795486146.5, 4e9]
        texts = [format_time(seconds) for seconds in times]
        self.assertEqual(sorted(texts), texts)
        self.assertEqual({len(text) for text in texts}, {27})

    def test_time_of_other_programs_is_read(self):
        for text, seconds in (
                ("2026-11-24T02:09:06Z", 1795486146.0),
                ("2026-11-24T02:09:06z", 1795486146.0),
                ("2026-11-24T02:09:06.123Z", 1795486146.123),
                ("2026-11-24T03:09:06+01:00", 1795486146.0),
                ("2026-11-23T21:39:06-04:30", 1795486146.0),
                ("2026-11-24 02:09:06+00:00", 1795486146.0),
        ):
            with self.subTest(text):
                self.assertEqual(parse_time(text), seconds)

    def test_what_is_no_time_is_refused(self):
        for text in ("", "Z", "now", "2026-11-24", "2026-11-24T02:09:06", "2026-13-24T02:09:06Z", "2026-02-30T02:09:06Z",
                     "2026-11-24T25:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1795486146", "2026-11-24T02:09:06ZZ",
                     "\u0662\u0660\u0662\u0666-11-24T02:09:06Z", "9999-12-31T23:59:59-23:59"):
            with self.subTest(text):
                with self.assertRaises(ValueError):
                    parse_time(text)

    def test_duration_is_read_in_seconds(self):
        for text, seconds in (("90", 90), ("0", 0), ("10s", 10), ("5m", 300), ("2h", 7200), ("7d", 604800), ("1.5h", 5400), ("0.5", 0.5),
                              (".5m", 30)):
            with self.subTest(text):
                self.assertEqual(parse_duration(text), seconds)

    def test_what_is_no_duration_is_refused(self):
        for text in ("", "s", "d", "abc", "-1", "-1s", "nan", "nans", "inf", "infd", "1e300", "99999999999", "5 weeks", "1w", "5M5",
                     "1h30m"):
            with self.subTest(text):
                with self.assertRaises(ValueError):
                    parse_duration(text)


class SettingsTest(HomeTest):

    def config(self, content=None):
        """The path of config.json, holding this text if one is given."""
        if content is not None:
            self.write("config.json", content)
        return self.path("config.json")

    def refused(self, content):
        """The message with which a config.json of that content is refused."""
        with self.assertRaises(InvalidSettings) as caught:
            load_settings(self.config(content))
        return str(caught.exception)

    def test_without_config_the_defaults_hold_and_nothing_is_written(self):
        self.assertEqual(load_settings(self.config()), DEFAULTS)
        self.assertEqual(os.listdir(self.home), [])

    def test_defaults_are_those_of_the_design(self):
        self.assertEqual((DEFAULTS.max_retries, DEFAULTS.backoff_base, DEFAULTS.backoff_max, DEFAULTS.retry_in_place,
                          DEFAULTS.poll_interval, DEFAULTS.kill_grace, DEFAULTS.fsync), (3, 2, 3600, True, 1.0, 5, True))

    def test_defaults_fit_their_own_rules(self):
        for setting in SETTINGS:
            with self.subTest(setting.name):
                if setting.default is not None:
                    check_setting(setting, setting.default)

    def test_empty_config_means_the_defaults(self):
        for content in ("", " \n", "{}", "\ufeff{}"):
            with self.subTest(repr(content)):
                self.assertEqual(load_settings(self.config(content)), DEFAULTS)

    def test_setting_that_is_named_replaces_its_default_alone(self):
        self.assertEqual(load_settings(self.config("{\"max_retries\": 7}")), DEFAULTS._replace(max_retries=7))

    def test_every_wrong_type_is_refused_by_name(self):
        wrong = {int: (True, False, 1.5, 3.0, "3", [], {}), float: (True, False, "3", [], {}), bool: (0, 1, 0.0, "true", "", [], {})}
        for setting in SETTINGS:
            for value in wrong.get(setting.type, ()):
                with self.subTest(setting.name, value=value):
                    message = self.refused(json.dumps({setting.name: value}))
                    self.assertIn(setting.name, message)
                    self.assertIn("must be", message)
                    self.assertIn(json.dumps(value), message)
                    self.assertIn(self.path("config.json"), message)

    def test_null_is_refused_where_it_is_no_default(self):
        for setting in SETTINGS:
            if setting.default is not None:
                with self.subTest(setting.name):
                    self.assertIn(setting.name, self.refused(json.dumps({setting.name: None})))

    def test_every_range_has_its_ends_inside_and_nothing_beyond(self):
        for setting in SETTINGS:
            if setting.low is None:
                continue
            for value in (setting.low, setting.high):
                with self.subTest(setting.name, accepted=value):
                    self.assertEqual(getattr(load_settings(self.config(json.dumps({setting.name: value}))), setting.name), value)
            for value in (setting.low - 1, setting.high + 1, -10 ** 30, 10 ** 30):
                with self.subTest(setting.name, refused=value):
                    message = self.refused(json.dumps({setting.name: value}))
                    self.assertIn("%s must be between %s and %s" % (setting.name, setting.low, setting.high), message)

    def test_whole_number_does_for_a_number(self):
        self.assertEqual(load_settings(self.config("{\"poll_interval\": 2, \"backoff_base\": 1.5}"))[1:5:3], (1.5, 2))

    def test_what_is_no_object_is_refused(self):
        for content in ("[]", "3", "\"max_retries\"", "null", "true"):
            with self.subTest(content):
                self.assertIn("must be a JSON object", self.refused(content))

    def test_broken_json_is_refused_with_file_line_and_column(self):
        for name, content, place in (
                ("a comma too few", "{\"max_retries\": 3\n \"fsync\": true}", "line 2, column 2"),
                ("a key twice", "{\"max_retries\": 3,\n \"max_retries\": 4}", "line 2, column 2"),
                ("NaN", "{\"backoff_base\": NaN}", "line 1, column 18"),
                ("bad UTF-8", b"{\n\"\xff\": 1}", "line 2, column 2"),
        ):
            with self.subTest(name):
                message = self.refused(content)
                self.assertIn(self.path("config.json"), message)
                self.assertIn(place, message)

    def test_config_that_cannot_be_read_is_refused(self):
        os.mkdir(self.config())
        with self.assertRaises(InvalidSettings) as caught:
            load_settings(self.config())
        self.assertIn("cannot read %s" % self.config(), str(caught.exception))

    def test_unknown_keys_are_named_and_do_no_harm(self):
        record = {"max_retries": 1, "colour": "blue", "Max_Retries": 9}
        self.assertEqual(unknown_settings(record), ["colour", "Max_Retries"])
        self.assertEqual(load_settings(self.config(json.dumps(record))), DEFAULTS._replace(max_retries=1))

    def test_setting_has_two_spellings(self):
        self.assertEqual(setting_named("max-retries"), setting_named("max_retries"))
        self.assertEqual(setting_named("max-retries").name, "max_retries")

    def test_unknown_setting_is_refused_with_the_nearest_name(self):
        for key, near in (("max_retires", "max_retries"), ("max-retrys", "max_retries"), ("backof_base", "backoff_base"),
                          ("fsnyc", "fsync")):
            with self.subTest(key):
                with self.assertRaises(InvalidSettings) as caught:
                    setting_named(key)
                self.assertIn("did you mean '%s'?" % near, str(caught.exception))

    def test_unknown_setting_without_a_near_name_gets_no_guess(self):
        with self.assertRaises(InvalidSettings) as caught:
            setting_named("zzz")
        self.assertNotIn("did you mean", str(caught.exception))

    def test_faults_of_settings_are_faults_of_usage(self):
        self.assertEqual((InvalidSettings.exit_code, JsonError.exit_code), (2, 2))

    def test_saved_setting_keeps_all_other_keys_and_their_order(self):
        path = self.config("{\"zebra\": [1, 2], \"fsync\": false, \"max_retries\": 3, \"\u00e9t\u00e9\": \"\u4e16\", \"backoff_base\": 4}")
        save_setting(path, setting_named("max_retries"), 9)
        self.assertEqual(list(json.loads(self.read("config.json").decode("utf-8")).items()),
                         [("zebra", [1, 2]), ("fsync", False), ("max_retries", 9), ("\u00e9t\u00e9", "\u4e16"), ("backoff_base", 4)])
        self.assertIn("\u00e9t\u00e9", self.read("config.json").decode("utf-8"))

    def test_new_setting_comes_last(self):
        path = self.config("{\"zebra\": 1, \"fsync\": false}")
        save_setting(path, setting_named("kill-grace"), 2.5)
        self.assertEqual(list(json.loads(self.read("config.json").decode("utf-8")).items()),
                         [("zebra", 1), ("fsync", False), ("kill_grace", 2.5)])

    def test_first_setting_makes_the_file_for_its_owner_alone(self):
        save_setting(self.config(), setting_named("max_retries"), 0)
        self.assertEqual(load_settings(self.config()), DEFAULTS._replace(max_retries=0))
        self.assertEqual(os.listdir(self.home), ["config.json"])
        if POSIX:
            self.assertEqual(stat.S_IMODE(os.stat(self.config()).st_mode), 0o600)

    def test_refused_setting_leaves_the_file_as_it_was(self):
        for name, content, value in (
                ("a bad value", "{\"max_retries\":  3}", -1),
                ("a bad type", "{\"max_retries\":  3}", "5"),
                ("a broken file", "{\"max_retries\": ", 5),
                ("another bad setting in the file", "{\"fsync\": \"no\"}", 5),
                ("a file that is no object", "[1]", 5),
        ):
            with self.subTest(name):
                path = self.config(content)
                with self.assertRaises(InvalidSettings):
                    save_setting(path, setting_named("max_retries"), value)
                self.assertEqual(self.read("config.json").decode("utf-8"), content)

    def test_bad_value_in_the_file_can_be_mended_by_saving_that_setting(self):
        path = self.config("{\"max_retries\": -5}")
        save_setting(path, setting_named("max_retries"), 5)
        self.assertEqual(load_settings(path).max_retries, 5)


class HomeFolderTest(HomeTest):

    def test_home_is_looked_for_in_the_order_of_the_design(self):
        clone, bare = self.path("clone"), self.path("bare")
        os.mkdir(clone)
        os.mkdir(bare)
        self.write("clone/config.json", "{}")
        for name, given, environ, program, home in (
                ("--home", "given", {"QUEUECTL_HOME": "/elsewhere"}, os.path.join(clone, "main.py"), os.path.abspath("given")),
                ("the environment", None, {"QUEUECTL_HOME": "/elsewhere"}, os.path.join(clone, "main.py"), os.path.abspath("/elsewhere")),
                ("an empty variable is none", None, {"QUEUECTL_HOME": ""}, os.path.join(clone, "main.py"), os.path.realpath(clone)),
                ("the program's folder", None, {}, os.path.join(clone, "main.py"), os.path.realpath(clone)),
                ("without config.json", None, {}, os.path.join(bare, "main.py"), os.path.join(os.path.expanduser("~"), ".queuectl")),
                ("a tilde", "~/queue", {}, os.path.join(clone, "main.py"), os.path.join(os.path.expanduser("~"), "queue")),
        ):
            with self.subTest(name):
                self.assertEqual(find_home(given, environ, program), home)

    @unittest.skipUnless(POSIX, "symbolic links need rights on Windows")
    def test_program_is_found_through_a_symbolic_link(self):
        os.mkdir(self.path("clone"))
        self.write("clone/config.json", "{}")
        self.write("clone/main.py", "")
        os.mkdir(self.path("bin"))
        os.symlink(self.path("clone", "main.py"), self.path("bin", "queuectl"))
        self.assertEqual(find_home(None, {}, self.path("bin", "queuectl")), os.path.realpath(self.path("clone")))


class PrintableTest(unittest.TestCase):

    def test_control_characters_become_escapes(self):
        for text, shown in (
                ("plain text", "plain text"), ("\u00e9\u4e16\U0001f600", "\u00e9\u4e16\U0001f600"), ("", ""),
                ("a\nb", "a\\nb"), ("a\tb\r", "a\\tb\\r"), ("\x1b[31mred", "\\x1b[31mred"), ("\x9b31m", "\\x9b31m"),
                ("\x07\x7f", "\\x07\\x7f"),
                ("\u202eabc", "\\u202eabc"), ("a\u2028b\u2029", "a\\u2028b\\u2029"), ("\udcff", "\\udcff"), ("\x00", "\\x00"),
        ):
            with self.subTest(repr(text)):
                self.assertEqual(printable(text), shown)

    def test_no_character_below_300_gets_through_that_is_not_printable(self):
        self.assertTrue(printable("".join(map(chr, range(300)))).isprintable())

    def test_log_is_one_line_whatever_the_message(self):
        stream = io.StringIO()
        with contextlib.redirect_stderr(stream):
            helpers.log("two\nlines \x1b[2J")
        self.assertRegex(stream.getvalue(), r"\A\d\d:\d\d:\d\d two\\nlines \\x1b\[2J\n\Z")

    def test_log_outlives_its_stream(self):
        closed = io.StringIO()
        closed.close()
        for stream in (None, closed):
            with self.subTest(stream is None):
                with contextlib.redirect_stderr(stream):
                    helpers.log("still here")

    @unittest.skipUnless(POSIX and os.path.exists("/dev/full"), "a device that is full")
    def test_log_outlives_a_full_disk(self):
        with open("/dev/full", "w") as stream:
            with contextlib.redirect_stderr(stream):
                helpers.log("still here")
            with contextlib.suppress(OSError):
                stream.close()


if __name__ == "__main__":
    unittest.main()
