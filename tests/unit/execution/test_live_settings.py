"""Tests of the settings that a running worker process follows."""
from __future__ import annotations

import os

from core import errors, settings as core_settings
from execution import live_settings
from tests.support.home import QueueTest


class TestFollowedSettings(QueueTest):
    """What a look at config.json gives back."""

    def test_config_that_is_empty_or_gone_counts_as_such_after_some_seconds(self):
        now = [100.0]
        followed = live_settings.FollowedSettings(self.path("config.json"), clock=lambda: now[0])

        def looks(*times):
            """What is seen at those times: a max_retries, None for no change, or a refusal."""
            seen = []
            for moment in times:
                now[0] = moment
                try:
                    settings = followed.look()
                    seen.append(None if settings is None else settings.max_retries)
                except errors.InvalidSettings:
                    seen.append("refused")
            return seen

        self.settings(max_retries=7)
        self.assertEqual(looks(1, 2), [7, None])
        for name, spoil in (("empty", lambda: self.write("config.json", "")), ("blank", lambda: self.write("config.json", " \n")),
                            ("gone", lambda: os.unlink(self.path("config.json")))):
            with self.subTest(name):
                spoil()
                self.assertEqual(looks(10, 14.9), ["refused", "refused"])
                self.settings(max_retries=7)
                self.assertEqual(looks(15.1), [None])
                spoil()
                self.assertEqual(looks(20, 24.9, 25, 26), ["refused", "refused", core_settings.DEFAULTS.max_retries, None])
                self.settings(max_retries=7)
                self.assertEqual(looks(30, 31), [7, None])
        self.write("config.json", "{")
        self.assertEqual(looks(40, 50), ["refused", "refused"])
        self.write("config.json", "{}")  # which says that all are the defaults
        self.assertEqual(looks(51, 52), [core_settings.DEFAULTS.max_retries, None])

    def test_without_a_config_from_the_start_there_is_nothing_to_report(self):
        os.unlink(self.path("config.json"))
        followed = live_settings.FollowedSettings(self.path("config.json"))
        self.assertEqual((followed.look(), followed.look()), (None, None))

    def test_own_settings_take_the_place_of_those_in_the_file(self):
        followed = live_settings.FollowedSettings(self.path("config.json"), {"max_retries": 9})
        self.settings(max_retries=7, poll_interval=0.5)
        settings = followed.look()
        self.assertEqual((settings.max_retries, settings.poll_interval), (9, 0.5))
