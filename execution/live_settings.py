"""config.json while a worker process runs: whether its settings have changed, and what an empty file means.

A broken config.json never changes the settings of a running worker process.
"""
from __future__ import annotations

import time

from core.errors import InvalidSettings
from core.settings import DEFAULTS, settings_from, unknown_settings
from helpers import config_content, decode_config

_BLANK = 5.0  # seconds after which an empty or missing config.json is meant


class FollowedSettings:
    """The settings of a running worker process: those of config.json, with its `own` (names and values) in their place.

    A program that saves config.json in place, or moves another file there, leaves it empty or missing for a moment: `> config.json`, scp,
    an editor. Jobs of that moment would run by the defaults, without their runner or with fewer retries. So an empty or missing file counts
    as broken until it has been so for some seconds.
    """

    def __init__(self, path, own=None, clock=time.monotonic):
        self._path = path
        self._own = own or {}
        self._clock = clock
        self._taken = None  # the bytes of config.json when its settings were last taken; b"" if it was blank or missing
        self._blank_since = None
        self.unknown = []  # a sentence for each key that is no setting, as of when the settings were last taken

    def look(self):
        """The settings, if config.json has changed since the last look (and at the first one); None if not. Raises InvalidSettings."""
        content = config_content(self._path)
        if not content.strip():
            return self._look_at_blank()
        self._blank_since = None
        if content == self._taken:
            return None
        record = decode_config(content, self._path)
        settings = settings_from(record, self._path)
        self._taken, self.unknown = content, unknown_settings(record)
        return settings._replace(**self._own)

    def _look_at_blank(self):
        if not self._taken:  # as it was when this process was started
            self._taken = b""
            return None
        now = self._clock()
        if self._blank_since is None:
            self._blank_since = now
        if now - self._blank_since < _BLANK:
            raise InvalidSettings("%s is empty or gone" % self._path)
        self._taken, self._blank_since = b"", None
        return DEFAULTS._replace(**self._own)
