"""config.json while a worker runs: followed, with what a half-written one means."""
from __future__ import annotations

import time

from core.errors import InvalidSettings
from core.settings import DEFAULTS, settings_from
from helpers import config_content, decode_config

_BLANK = 5.0  # seconds after which an empty or missing config.json is meant


class FollowedSettings:
    """config.json as a running worker follows it.

    Whoever saves it in place, or moves another one to its place, leaves it empty or missing for a moment: `> config.json`, scp, an editor.
    Jobs of that moment would run by the defaults, without their runner or with fewer retries, so that it counts as broken until it has been
    so for some seconds.
    """

    def __init__(self, path, clock=time.monotonic):
        self._path = path
        self._clock = clock
        self._taken = None  # what it held when its settings were last taken, as bytes; blank is b""
        self._blank_since = None

    def look(self):
        """The settings, if they are others than at the last look (the first one, too); None if not. Raises InvalidSettings."""
        content = config_content(self._path)
        if not content.strip():
            return self._look_at_blank()
        self._blank_since = None
        if content == self._taken:
            return None
        settings = settings_from(decode_config(content, self._path), self._path)
        self._taken = content
        return settings

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
        return DEFAULTS
