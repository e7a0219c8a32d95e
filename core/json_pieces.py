"""JSON that is read by pieces: the values in a text are decoded one after another, and no more of it is in memory than one of them needs.

As strict as `strict_json`, with the place of each fault in the whole text.
"""
from __future__ import annotations

import codecs

from core.errors import JsonError
from core.strict_json import decode_json_at, decode_utf8, is_cut_short, skip_whitespace

_PIECE = 1 << 20  # bytes
_CONTEXT = 1000  # characters before `at` that are kept: a fault may lie a little before the place where it is found


class JsonPieces:
    """The text that `read(size)` gives as bytes, b"" at its end; or a `text` that is there already (then `read` is None).

    `text` is the part in memory, and `at` the position in it up to which values were taken; `start` is where the last one begins."""

    def __init__(self, read, text=""):
        self.text = text
        self.start = self.at = 0
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._lines = self._columns = 0  # what stands before `text`: line feeds, and characters behind the last one
        self._is_first = True
        self._has_ended = read is None

    def peek(self):
        """The next character that is no white space; "" at the end. Raises JsonError for what is not UTF-8."""
        while True:
            self.at = skip_whitespace(self.text, self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._read_on():
                return ""

    def take(self):
        """Take one character, which `peek` has given."""
        self.at += 1

    def value(self):
        """Take the value that begins at `at`. Raises JsonError, whose place is that in `text`: see `placed`."""
        while True:
            try:
                value, end = decode_json_at(self.text, self.at)
            except JsonError as error:
                if not is_cut_short(error, self.text) or not self._read_on():
                    raise
                continue
            if end < len(self.text) - 2 or type(value) not in (int, float) or not self._read_on():  # a number may go on, as in 1e-7
                self.start, self.at = self.at, end
                return value

    def placed(self, error):
        """That JsonError, whose place is one in `text`, with its place in the whole text."""
        return error.behind(self._lines, self._columns)

    def fault(self, what, position=None):
        """A JsonError for a position in `text` (None: where the last value begins), with its place in the whole text."""
        return self.placed(JsonError(what, self.text, self.start if position is None else position))

    def _read_on(self):
        """Read another piece, and forget what stands before `at`; False at the end."""
        if self._has_ended:
            return False
        content = self._read(max(_PIECE, len(self.text) - self.at))
        try:
            piece = self._decoder.decode(content, not content)
        except UnicodeDecodeError as error:
            if self._is_first:
                decode_utf8(error.object + self._read(1))  # which tells of it, and of UTF-16 by the first two
            text = self.text + error.object[:error.start].decode("utf-8", "replace")
            raise JsonError("byte 0x%02x is not UTF-8" % error.object[error.start], text, len(text)) from None
        if self._is_first and piece:
            self._is_first = False
            piece = piece[1:] if piece[0] == "\ufeff" else piece  # a byte order mark
        self._has_ended = not content
        self._forget(max(0, self.at - _CONTEXT))
        self.text += piece
        return bool(content)

    def _forget(self, end):
        feeds = self.text.count("\n", 0, end)
        self._lines += feeds
        self._columns = end - self.text.rfind("\n", 0, end) - 1 if feeds else self._columns + end
        self.text = self.text[end:]
        self.start, self.at = self.start - end, self.at - end
