"""Tests of the settings."""
from __future__ import annotations

import json
import os
import stat

from core.errors import InvalidSettings, JsonError
from core.settings import DEFAULTS, SETTINGS, check_setting, setting_named, unknown_settings
from helpers import load_settings, save_setting
from tests.support.home import HomeTest

POSIX = os.name == "posix"


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
            for value in wrong.get(setting.type, ()) if setting.unit != "seconds" else (True, False, "soon", "02:00", [], {}):
                with self.subTest(setting.name, value=value):
                    message = self.refused(json.dumps({setting.name: value}))
                    self.assertIn(setting.name, message)
                    self.assertIn("must be", message)
                    self.assertIn(json.dumps(value), message)
                    self.assertIn(self.path("config.json"), message)

    def test_length_of_time_may_be_a_text_and_counts_in_seconds(self):
        for text, seconds in (("5m", 300), ("50m 5s", 3005), ("90 s", 90), ("0.5", 0.5)):
            with self.subTest(text):
                settings = load_settings(self.config(json.dumps({"timeout": text, "backoff_max": text, "kill_grace": text})))
                self.assertEqual((settings.timeout, settings.backoff_max, settings.kill_grace), (seconds,) * 3)
        self.assertIn("timeout must be between", self.refused(json.dumps({"timeout": "60w"})))

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
        self.assertEqual(str(caught.exception), "%s is no file" % self.config())

    def test_unknown_keys_are_named_and_do_no_harm(self):
        record = {"max_retries": 1, "colour": "blue", "Max_Retries": 9}
        self.assertEqual(unknown_settings(record), ['the key "colour" is ignored: there is no such setting',
                                                    'the key "Max_Retries" is ignored: there is no such setting, did you mean \'max_retries\'?'])
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
