"""Where `enqueue` finds jobs: JSON in a file or on standard input, or a list of shell commands, one a line.

A source yields records (objects with id and command), and knows the place of each, for the message if it is refused. It checks nothing in
them and adds nothing.
"""
from __future__ import annotations

import os
import re
import sys

from core.errors import JsonError, UsageError, hint
from core.job import MAX_ID
from core.json_pieces import JsonPieces
from core.strict_json import decode_utf8
from core.system import quote_words

_JSON = r'\s*(?:\[\s*)?(?:\{\s*"(?:[^"\\]|\\.)*"\s*:|\{\s*\}|\[\s*\])'  # how a file of jobs begins, and no shell command does


class JobStream:
    """The jobs in JsonPieces: one JSON array, or JSON objects one after another, on as many lines as they like. It can be iterated once.
    `source` names the text in messages, `tell(text)` shows how far it is. Raises JsonError, for `fault`."""

    def __init__(self, pieces, source, tell=lambda text: None):
        self._pieces = pieces
        self._source = source
        self._tell = tell
        self.is_array = pieces.peek() == "["  # as a job file is

    def __iter__(self):
        pieces, number = self._pieces, 0
        if self.is_array:
            pieces.take()
        following = pieces.peek()
        closed = self.is_array and following == "]"
        while not closed and following:
            yield pieces.value()
            number += 1
            if not number % 20000:
                self._tell("%d jobs read" % number)
            following = pieces.peek()
            closed = self.is_array and following == "]"
            if self.is_array and following == ",":
                pieces.take()
                following = pieces.peek()
            elif self.is_array and not closed:
                raise JsonError("expected ',' or ']'" if following else "the closing ] is missing", pieces.text, pieces.at)
            elif following == ",":
                raise JsonError("a comma between jobs that are in no array: remove it", pieces.text, pieces.at)
        if closed:
            pieces.take()
        if self.is_array and (pieces.peek() or not closed):
            raise JsonError("extra text after the closing ]" if closed else "the closing ] is missing", pieces.text, pieces.at)

    def close(self):
        """End the line that tells how far it is."""
        self._tell("")

    def fault(self, error):
        """A UsageError for an error in the current record, with its place."""
        return _refusal(self._source, self._pieces.placed(error) if isinstance(error, JsonError) else self._pieces.fault(str(error)))


class CommandLines:
    """The jobs in a list of shell commands, one a line: blank lines, and those that begin with #, are none. Their ids are `prefix`, a
    hyphen and a number, from 1 on. It can be iterated once."""

    is_array = False

    def __init__(self, text, source, prefix):
        self._text = text
        self._source = source
        self._prefix = prefix
        self._at = 0

    def __iter__(self):
        number = 0
        for line in re.finditer(r"[^\r\n]+", self._text):
            command = line.group().strip()
            if command and not command.startswith("#"):
                number += 1
                self._at = line.start()
                yield {"id": "%s-%d" % (self._prefix, number), "command": command}

    def close(self):
        """Nothing is left of it."""

    def fault(self, error):
        """A UsageError for an error in the current command, with its place."""
        return _refusal(self._source, error if isinstance(error, JsonError) else JsonError(str(error), self._text, self._at))


def _refusal(source, error):
    return UsageError("%s, %s; nothing was added" % (source, error))


def jobs_in(path, tell):
    """The JobStream of a file of JSON, or of standard input (`-`). Raises UsageError; it names --lines for a list of commands."""
    source, file = _open(path)

    def read(size):
        try:
            return file.read1(size)
        except OSError as error:
            raise _unreadable(path, error) from None

    pieces = JsonPieces(read)
    try:
        first = pieces.peek()
        if first in ("[", "{", ""):
            return JobStream(pieces, source, tell)
    except JsonError as error:
        raise _refusal(source, pieces.placed(error)) from None
    raise UsageError("%s, %s: this is no JSON; %s adds a list of commands, one a line; nothing was added" % (
        source, str(pieces.fault("", pieces.at)).rstrip(" :"), hint("enqueue --lines %s" % quote_words([path]))))


def commands_in(path, prefix):
    """The CommandLines of a file, or of standard input (`-`); the file's name, without its ending, is the prefix of the ids if `prefix` is
    None. Raises UsageError; it names --file for JSON."""
    source, file = _open(path)
    try:
        text = decode_utf8(file.read())
    except OSError as error:
        raise _unreadable(path, error) from None
    except JsonError as error:
        raise _refusal(source, error) from None
    if re.match(_JSON, text):
        raise UsageError("%s holds JSON; %s adds the jobs in it; nothing was added"
                         % (source, hint("enqueue --file %s" % quote_words([path]))))
    if prefix is None:
        prefix = "lines" if path == "-" else os.path.splitext(os.path.basename(path))[0][:MAX_ID - 10]
    return CommandLines(text, source, prefix)


def _open(path):
    """(What a message calls it, a file to read its bytes.) Raises UsageError."""
    try:
        return ("standard input", sys.stdin.buffer) if path == "-" else (path, open(path, "rb"))  # noqa: SIM115, it is read to its end
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path, error):
    return UsageError("cannot read %s: %s" % (path, error.strerror))
