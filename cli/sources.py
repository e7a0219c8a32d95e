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
from core.strict_json import decode_json_at, decode_utf8, skip_whitespace, trailing_comma_error
from core.system import quote_words

_JSON = r'\s*(?:\[\s*)?(?:\{\s*"(?:[^"\\]|\\.)*"\s*:|\{\s*\}|\[\s*\])'  # how a file of jobs begins, and no shell command does


class JobStream:
    """The jobs in a text: one JSON array, or JSON objects one after another, on as many lines as they like. It can be iterated once.
    `source` names the text in messages."""

    def __init__(self, text, source, progress=None):
        self._text = text
        self._source = source
        self._at = 0
        self._progress = progress

    @property
    def is_array(self):
        """Whether the text is an array, as a job file is."""
        return self._text.startswith("[", skip_whitespace(self._text, 0))

    def __iter__(self):
        text, array = self._text, self.is_array
        at = skip_whitespace(text, 0)
        at = skip_whitespace(text, at + 1) if array else at
        number = 0
        while at < len(text) and not (array and text[at] == "]"):
            self._at = at
            record, at = decode_json_at(text, at)
            yield record
            number += 1
            if self._progress is not None and not number % 20000:
                self._progress.say("%d jobs read" % number)
            at = skip_whitespace(text, at)
            if array and text[at:at + 1] == ",":
                comma, at = at, skip_whitespace(text, at + 1)
                if text[at:at + 1] == "]":
                    raise trailing_comma_error(text, comma)
            elif array and text[at:at + 1] != "]":
                raise JsonError("expected ',' or ']'", text, at)
            elif text[at:at + 1] == ",":
                raise JsonError("a comma between jobs that are in no array: remove it", text, at)
        if array and text[at:].strip() != "]":
            raise JsonError("extra text after the closing ]" if at < len(text) else "the closing ] is missing", text,
                            min(at + 1, len(text)))

    def close(self):
        """End the line that tells how far it is."""
        if self._progress is not None:
            self._progress.clear()

    def fault(self, error):
        """A UsageError for an error in the current record, with its place."""
        return _fault(self._source, error, self._text, self._at)


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
        return _fault(self._source, error, self._text, self._at)


def _fault(source, error, text, position):
    placed = error if isinstance(error, JsonError) else JsonError(str(error), text, position)
    return UsageError("%s, %s; nothing was added" % (source, placed))


def jobs_in(path):
    """The JobStream of a file of JSON, or of standard input (`-`). Raises UsageError; it names --lines for a list of commands."""
    source, text = _read(path)
    start = skip_whitespace(text, 0)
    if text[start:start + 1] not in ("[", "{", ""):
        raise UsageError("%s, %s: this is no JSON; %s adds a list of commands, one a line; nothing was added" % (
            source, str(JsonError("", text, start)).rstrip(" :"), hint("enqueue --lines %s" % quote_words([path]))))
    from cli.progress import Progress
    return JobStream(text, source, Progress())


def commands_in(path, prefix):
    """The CommandLines of a file, or of standard input (`-`); the file's name, without its ending, is the prefix of the ids if `prefix` is
    None. Raises UsageError; it names --file for JSON."""
    source, text = _read(path)
    if re.match(_JSON, text):
        raise UsageError("%s holds JSON; %s adds the jobs in it; nothing was added"
                         % (source, hint("enqueue --file %s" % quote_words([path]))))
    if prefix is None:
        prefix = "lines" if path == "-" else os.path.splitext(os.path.basename(path))[0][:MAX_ID - 10]
    return CommandLines(text, source, prefix)


def _read(path):
    """(What a message calls it, its text.) Raises UsageError."""
    source = "standard input" if path == "-" else path
    try:
        if path == "-":
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        raise UsageError("cannot read %s: %s" % (path, error.strerror)) from None
    try:
        return source, decode_utf8(content)
    except JsonError as error:
        raise UsageError("%s, %s; nothing was added" % (source, error)) from None
