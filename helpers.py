"""Reads and writes config.json, prints the log of a worker, and makes texts safe to print. What jobs have written is alone printed raw,
by cli/logs.py.

It must stay cheap to import, since each command pays for that.
"""
from __future__ import annotations

import io
import json
import os
import sys
import time

from core.errors import InvalidSettings, JsonError
from core.settings import check_setting, settings_from
from core.strict_json import decode_json, decode_utf8
from core.system import open_private, write_file


def _config_file(path):
    """The file of the settings: `path`, or the target of a link there, which some people make to keep all such files in one place. Raises
    InvalidSettings if another user made the link, who may have fewer rights than this one."""
    if not os.path.islink(path):
        if os.path.lexists(path) and not os.path.isfile(path):
            raise InvalidSettings("%s is no file" % path)  # to open a FIFO is to wait for whoever writes it
        return path
    if hasattr(os, "geteuid") and os.lstat(path).st_uid not in (os.geteuid(), 0):
        raise InvalidSettings("%s is a link of another user, and is not followed; replace it by a file" % path)
    target = os.path.realpath(path)
    if os.path.lexists(target) and not os.path.isfile(target):
        raise InvalidSettings("%s is a link to %s, which is no file" % (path, target))
    return target


def read_config(path):
    """The object in config.json, with unknown keys; empty if there is no such file. Raises InvalidSettings."""
    return decode_config(config_content(path), path)


def config_content(path):
    """The bytes of config.json; none if there is no such file. Raises InvalidSettings."""
    try:
        with os.fdopen(open_private(_config_file(path), os.O_RDONLY), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InvalidSettings("cannot read %s: %s" % (path, error.strerror)) from None


def decode_config(content, path):
    """The object in these bytes of config.json; empty if they are blank. Raises InvalidSettings."""
    try:
        record = decode_json(decode_utf8(content)) if content.strip() else {}
    except JsonError as error:
        raise InvalidSettings("%s, %s; mend it, or remove the file for the defaults" % (path, error)) from None
    if type(record) is not dict:
        raise InvalidSettings("%s: must be a JSON object like {\"max_retries\": 3}" % path)
    return record


def load_settings(path):
    """The settings in config.json; the defaults if there is no such file. Raises InvalidSettings."""
    return settings_from(read_config(path), path)


def save_setting(path, setting, value, part=None):
    """Write one setting, or only a `part` of it, which None removes, into config.json; all else stays. Raises InvalidSettings, OSError."""
    record = read_config(path)
    if part is not None:
        parts = dict(check_setting(setting, record.get(setting.name, {})), **{part: value})
        value = {name: value for name, value in parts.items() if value is not None}
    record[setting.name] = check_setting(setting, value)
    settings_from(record, path)
    _write_config(path, record)


def unset_key(path, key):
    """Remove a key, if it is there, from config.json, keeping all others and their order. Raises InvalidSettings, OSError."""
    record = read_config(path)
    record.pop(key, None)
    _write_config(path, record)


def _write_config(path, record):
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:  # a byte of the command line that is not UTF-8 is a lone surrogate (PEP 383)
        line = text.split("\n")[text.count("\n", 0, error.start)].strip()
        raise InvalidSettings("%s holds UTF-8 alone, and cannot hold %s" % (path, line)) from None
    write_file(_config_file(path), content)


def printable(text):
    """A text that is safe on a terminal and stays on one line: control characters (also C1, line separators, and characters that change the
    direction of writing) become escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def printable_json(text, ascii_only=False):
    """JSON that is safe on a terminal: characters that `printable` would escape, or all but ASCII, become escapes of JSON."""
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(char if char == "\n" or (char.isprintable() and (char.isascii() or not ascii_only)) else json.dumps(char)[1:-1]
                   for char in text)


class Stdout(io.FileIO):
    """The file of stdout. An OSError of it names stdout. Once a command has `begun` to change something, what cannot be written is dropped,
    and the `fault` kept: whoever wants to know what was done must be told that it was, and the command goes on to its end."""

    begun = False
    fault = None
    below: object = None  # the stream whose descriptor it uses, lest that is closed

    def write(self, content):
        """Write some bytes; how many were."""
        try:
            return super().write(content)
        except OSError as error:
            if not self.begun:
                raise OSError(error.errno, error.strerror, "stdout") from None
            self.fault = error
            return len(content)


def guard_stdout(encoding=None):
    """Let sys.stdout be one with a Stdout below, and give that back; None where it is a console of Windows, or no file."""
    stream = sys.stdout
    raw = getattr(getattr(stream, "buffer", None), "raw", getattr(stream, "buffer", None))
    if type(raw) is io.FileIO:
        stream.flush()
        guarded = Stdout(raw.fileno(), "w", closefd=False)
        guarded.below = stream
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(guarded), encoding or stream.encoding, "backslashreplace",
                                      line_buffering=bool(stream.line_buffering or getattr(stream, "write_through", False)))
        return guarded
    stream.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
    return raw if type(raw) is Stdout else None


def log(*messages):
    """Print lines to stderr with the time of day. A stderr that is gone is no fault: a worker must outlive its terminal."""
    try:
        clock = time.strftime("%H:%M:%S")
        sys.stderr.write("".join(["%s %s\n" % (clock, printable(message)) for message in messages]))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return
