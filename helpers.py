"""Settings, time, strict JSON and logging.

Every other module but `system` may use this one. It knows nothing of jobs or queues.
It must stay cheap to import, since each command pays for it: no subprocess, threading or datetime up here.
"""
from __future__ import annotations

import json
import os
import sys
import time
from collections import namedtuple
from functools import lru_cache

from system import ESCAPE, open_private, write_file


class QueueError(Exception):
    """A fault that a user, a disk or another program can cause; its text is the line that the user reads."""

    exit_code = 1


class UsageError(QueueError):
    """The command line, a field of a job or a setting is not usable as it was given."""

    exit_code = 2


class InvalidSettings(UsageError):
    """config.json cannot be read as settings, or a value does not fit its setting."""


def fault_text(error):
    """What the system refused, as an OSError tells it, with the file if one is named."""
    return "%s%s" % ("%s: " % error.filename if error.filename else "", error.strerror or error)


# ---------------------------------------------------------------- strict JSON

class JsonError(UsageError):
    """A text that is not JSON as RFC 8259 wants it, with the place of the fault (line and column, from 1)."""

    def __init__(self, what, text, position):
        self.what = what
        self.line = text.count("\n", 0, position) + 1
        self.column = position - (text.rfind("\n", 0, position) + 1) + 1
        super().__init__("line %d, column %d: %s" % (self.line, self.column, what))


class _Refused(ValueError):
    """Raised inside the decoder, which does not say where it stands: `literal` is the number or constant that it does not take; None for
    a key that its object has already."""

    def __init__(self, what, literal=None):
        super().__init__(what)
        self.literal = literal


def _place_of(text, position, literal):
    """Where a number or constant stands as a value, or, for None, a key for the second time in its object, or else the first half of a
    surrogate pair; the start if nowhere."""
    import re
    keys = []
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s\[\]{},:"]+', text[position:]):
        word = token.group()
        if word in "[{":
            keys.append(set())
        elif word in "]}":
            keys = keys[:-1]
        elif word[0] != '"':
            if literal is not None and word.startswith(literal):
                return position + token.start()
        elif literal is None:
            for escape in re.finditer(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..|\\.", word):
                if len(escape.group()) == 6:
                    return position + token.start() + escape.start()
            end = skip_whitespace(text, position + token.end())
            if keys and text[end:end + 1] == ":":
                if json.loads(word) in keys[-1]:
                    return position + token.start()
                keys[-1].add(json.loads(word))
    return position


MAX_DIGITS = 1000
MAX_DEPTH = 100  # far from where any version of Python gives up, since what one reads another one must write


def _strict_object(pairs):
    record = dict(pairs)
    if len(record) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused("the key %s appears twice" % json.dumps(key))
            seen.add(key)
    return record


def _strict_int(literal):
    if len(literal) > MAX_DIGITS:
        raise _Refused("a number of more than %d digits" % MAX_DIGITS, literal)
    return int(literal)


def _strict_float(literal):
    number = float(literal)
    if number in (float("inf"), float("-inf")):
        raise _Refused("the number %s is too large" % literal[:40], literal)
    return number


def _strict_constant(literal):
    raise _Refused("%s is not JSON" % literal, literal)


_decoder = json.JSONDecoder(object_pairs_hook=_strict_object, parse_int=_strict_int, parse_float=_strict_float,
                            parse_constant=_strict_constant)
encode_json = json.JSONEncoder(ensure_ascii=False).encode
_WHITESPACE = " \t\n\r"


def skip_whitespace(text, position):
    """The first position from `position` on that holds no JSON whitespace (the length of the text if none does)."""
    while text[position:position + 1] in _WHITESPACE and position < len(text):
        position += 1
    return position


def _is_deeper(value, levels):
    """Whether a value has more than so many arrays and objects inside each other."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer if type(outer) in (list, dict)
                 for inner in (outer.values() if type(outer) is dict else outer)]
    return any(type(value) in (list, dict) for value in layer)


def decode_json_at(text, position):
    """The JSON value that starts at `position`, and the position after it.

    Raises JsonError also for what Python's decoder lets pass or answers otherwise: duplicate keys, NaN and Infinity, numbers
    out of range or endless, a text nested too deeply, and escapes of a lone surrogate, which no file can hold.
    """
    try:
        value, end = _decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise JsonError(error.msg[:1].lower() + error.msg[1:], text, error.pos) from None
    except _Refused as error:
        raise JsonError(str(error), text, _place_of(text, position, error.literal)) from None
    except RecursionError:
        raise JsonError("nested more than %d levels deep" % MAX_DEPTH, text, position) from None
    brackets = text.count("[", position, end) + text.count("{", position, end)
    if brackets > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise JsonError("nested more than %d levels deep" % MAX_DEPTH, text, position)
    if text.find("\\u", position, end) >= 0:
        try:
            encode_json(value).encode("utf-8")
        except UnicodeEncodeError as error:
            half = "\\u%04x" % ord(error.object[error.start])
            raise JsonError("%s is half of a surrogate pair" % half, text, _place_of(text, position, None)) from None
    return value, end


def decode_json(text):
    """The one JSON value that a text holds. Raises JsonError, as `decode_json_at` does."""
    start = skip_whitespace(text, 0)
    value, end = decode_json_at(text, start)
    end = skip_whitespace(text, end)
    if end != len(text):
        raise JsonError("extra text after the end", text, end)
    return value


def decode_utf8(content):
    """Bytes as text, without a byte order mark. Raises JsonError with the place of the first byte that is not UTF-8."""
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[:error.start].decode("utf-8", "replace")
        raise JsonError("byte 0x%02x is not UTF-8" % content[error.start], before, len(before)) from None


# ---------------------------------------------------------------- time

@lru_cache(maxsize=4)
def _format_second(second):
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    except OSError:  # Windows knows no year after 3000
        from datetime import datetime, timedelta
        return (datetime(1970, 1, 1) + timedelta(seconds=second)).isoformat()


@lru_cache(maxsize=16)
def format_time(seconds):
    """Seconds since the epoch as `2026-11-24T02:09:06.123456Z`: UTC, always 27 characters, so that texts sort as times do."""
    second, micro = divmod(int(round(seconds * 1e6)), 1000000)
    return "%s.%06dZ" % (_format_second(second), micro)


_ISO_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(?:[Zz]|[+-][0-9:]{5,8})\Z"


def parse_time(text):
    """Seconds since the epoch of an ISO 8601 time with an offset or Z. Raises ValueError."""
    import re
    from datetime import datetime, timedelta, timezone
    if not re.match(_ISO_TIME, text):
        raise ValueError("not ISO 8601")
    iso = text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text
    moment = datetime.fromisoformat(iso)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    if not 0 <= since.days < 2932896:  # the year 9999, the last with four digits
        raise ValueError("out of range")
    return since // timedelta(microseconds=1) / 1e6


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text):
    """Seconds of `90`, `10s`, `5m`, `2h` or `7d` (fractions allowed). Raises ValueError."""
    unit = _UNITS.get(text[-1:])
    seconds = float(text[:-1] if unit else text) * (unit or 1)
    if not 0 <= seconds < 1e10:
        raise ValueError("out of range")
    return seconds


# ---------------------------------------------------------------- settings

MIN_TIMEOUT, MAX_TIMEOUT = 0.001, 31536000  # seconds

Setting = namedtuple("Setting", "name type default low high unit meaning")

# The one table: validation, `config`, the defaults and the README's table all come from here.
SETTINGS = (
    Setting("max_retries", int, 3, 0, 1000000, "", "how often a failed job is tried again before it goes to the dead letter queue"),
    Setting("backoff_base", float, 2, 0, 1000000, "", "the wait before retry N is backoff_base ** N seconds: 2, 4, 8"),
    Setting("backoff_max", float, 3600, 0, 31536000, "seconds", "no wait between two attempts is longer than this"),
    Setting("retry_in_place", bool, True, None, None, "", "a worker waits with a failed job and runs it again before any other; "
            "false: it takes other jobs meanwhile"),
    Setting("poll_interval", float, 1.0, 0.01, 3600, "seconds", "how often an idle worker looks for a job"),
    Setting("timeout", float, None, MIN_TIMEOUT, MAX_TIMEOUT, "seconds",
            "an attempt that runs for longer is ended, and has failed; null: no limit"),
    Setting("kill_grace", float, 5, 0, 3600, "seconds", "the time between TERM and KILL when a process tree is ended"),
    Setting("save_output", bool, True, None, None, "", "what a job writes is kept in logs/; false: it is thrown away"),
    Setting("max_output", int, 10485760, 1024, 1 << 40, "bytes", "the log of an attempt that grows beyond this keeps only its last part"),
    Setting("unique_ids", bool, False, None, None, "", "a job is refused whose id is in the queue already"),
    Setting("fsync", bool, True, None, None, "", "what is said to be stored survives a power cut; false: a crash of the machine may "
            "lose the last half minute or more"),
    Setting("runner", list, None, None, None, "", "a list of words put before each job's command: it is run as RUNNER… sh -c COMMAND; "
            "{id}, {attempt} and {cwd} in them are filled in; null: none"),
    Setting("on_finish", str, None, None, None, "", "a command that a worker runs when a job is completed or dead; "
            "what it says is in the worker's log, and it is ended after 60 s; null: none"),
)
Settings = namedtuple("Settings", ("max_retries", "backoff_base", "backoff_max", "retry_in_place", "poll_interval", "timeout", "kill_grace",
                                   "save_output", "max_output", "unique_ids", "fsync", "runner", "on_finish"))  # in this order
DEFAULTS = Settings(*[setting.default for setting in SETTINGS])
_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list of texts like [\"srun\"]"}


def setting_named(key):
    """The setting of that name; `max-retries` and `max_retries` are the same. Raises InvalidSettings."""
    name = key.replace("-", "_")
    for setting in SETTINGS:
        if setting.name == name:
            return setting
    raise InvalidSettings("there is no setting %r%s ('queuectl config' lists them)" % (key, did_you_mean(name, Settings._fields)))


def did_you_mean(word, known):
    """`", did you mean 'x'?"` if a known word is near, else nothing."""
    from difflib import get_close_matches
    near = get_close_matches(word, known, 1)
    return ", did you mean %r?" % near[0] if near else ""


def check_value(value, kind, low, high):
    """What is wrong with a value of a kind, as a phrase ("must be …"), or None if it fits. `high` is included."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        return "must be %s" % _TYPE_NAMES[kind]
    if low is not None and not low <= value <= high:
        return "must be between %s and %s" % (low, high)
    if kind is list and (value[:1] == [""] or not all(type(word) is str and "\0" not in word for word in value)):
        return "must be %s" % _TYPE_NAMES[kind]
    return None


def split_words(text):
    """The words of a command line, split as a shell does (on Windows a backslash is a letter), or those of a JSON list. Raises
    UsageError."""
    from shlex import shlex
    if text.lstrip().startswith("["):
        return decode_json(text)
    lexer = shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ESCAPE
    try:
        return list(lexer)
    except ValueError as error:
        raise UsageError("cannot split %s into words: %s" % (encode_json(text), str(error).lower())) from None


def check_setting(setting, value):
    """The value, if it fits its setting; null fits those that have no default. Raises InvalidSettings."""
    if value is None and setting.default is None:
        return None
    fault = check_value(value, setting.type, setting.low, setting.high)
    if fault:
        raise InvalidSettings("%s %s, not %s" % (setting.name, fault, encode_json(value)))
    return value


def _config_file(path):
    """Where the settings are: `path`, or the file that it leads to if it is a link, as those make it who keep such files in one place.
    Raises InvalidSettings if another user has put that link there, who may have fewer rights than this one."""
    if not os.path.islink(path):
        return path
    if hasattr(os, "geteuid") and os.lstat(path).st_uid not in (os.geteuid(), 0):
        raise InvalidSettings("%s is a link of another user, and is not followed; replace it by a file" % path)
    target = os.path.realpath(path)
    if os.path.lexists(target) and not os.path.isfile(target):
        raise InvalidSettings("%s is a link to %s, which is no file" % (path, target))
    return target


def read_config(path):
    """The object that config.json holds, unknown keys included; empty if there is no such file. Raises InvalidSettings."""
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
    """The object that these bytes of a config.json hold; empty if they are blank. Raises InvalidSettings."""
    try:
        record = decode_json(decode_utf8(content)) if content.strip() else {}
    except JsonError as error:
        raise InvalidSettings("%s, %s; mend it, or remove the file for the defaults" % (path, error)) from None
    if type(record) is not dict:
        raise InvalidSettings("%s: must be a JSON object like {\"max_retries\": 3}" % path)
    return record


def settings_from(record, path):
    """Settings of a config.json's object, the defaults for what it does not name. Raises InvalidSettings."""
    values = DEFAULTS._asdict()
    for setting in SETTINGS:
        if setting.name in record:
            try:
                values[setting.name] = check_setting(setting, record[setting.name])
            except InvalidSettings as error:
                raise InvalidSettings("%s: %s" % (path, error)) from None
    return Settings(**values)


def unknown_settings(record):
    """The keys of a config.json's object that are no setting; they are kept, and worth a warning."""
    return [key for key in record if key not in Settings._fields]


def load_settings(path):
    """Settings as config.json has them; the defaults if there is no such file. Raises InvalidSettings."""
    return settings_from(read_config(path), path)


def save_setting(path, setting, value):
    """Write one setting into config.json, keeping all other keys and their order. Raises InvalidSettings, OSError."""
    record = read_config(path)
    record[setting.name] = check_setting(setting, value)
    settings_from(record, path)
    write_file(_config_file(path), (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))


# ---------------------------------------------------------------- the home, and logging

def find_home(given, environ, program):
    """The folder that holds the queue, as an absolute path: `given`, else $QUEUECTL_HOME, else the folder of the program
    (symbolic links resolved) when config.json stands beside it, else ~/.queuectl (DESIGN, "Where data lives")."""
    if given or environ.get("QUEUECTL_HOME"):
        return os.path.abspath(os.path.expanduser(given or environ["QUEUECTL_HOME"]))
    folder = os.path.dirname(os.path.realpath(program))
    if os.path.isfile(os.path.join(folder, "config.json")):
        return folder
    return os.path.join(os.path.expanduser("~"), ".queuectl")


def check_owner(paths):
    """Refuse to work with files of another user, root's excepted: either they could run commands as this user, or what this user adds
    runs as them. Raises QueueError with the path and what to do."""
    if not hasattr(os, "geteuid"):
        return  # a system that knows no owners as numbers
    for path in paths:
        try:
            owner = os.stat(path).st_uid
        except FileNotFoundError:
            continue
        except OSError as error:
            raise QueueError("cannot look at %s: %s" % (path, error.strerror)) from None
        if owner not in (os.geteuid(), 0):
            from shlex import quote
            raise QueueError("%s belongs to another user, as whom jobs would run, or who could run some as you; choose a home of your own "
                             "with --home, or be that user (sudo -u '#%d' ...), or: chown %d %s"
                             % (path, owner, os.geteuid(), quote(path)))


def printable(text):
    """Text that is safe on a terminal and stays on one line: control characters (also the C1 ones, and what turns the
    direction of writing or breaks a line) as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def printable_json(text, ascii_only=False):
    """JSON that is safe on a terminal: what `printable` would escape, or all that is not ASCII, as JSON escapes it."""
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(char if char == "\n" or (char.isprintable() and (char.isascii() or not ascii_only)) else json.dumps(char)[1:-1]
                   for char in text)


@lru_cache(maxsize=1)
def _time_of_day(second):
    return time.strftime("%H:%M:%S", time.localtime(second))


def log(*messages):
    """Lines to stderr with the time of day. A worker must outlive its terminal, so a stderr that is gone is no fault."""
    try:
        clock = _time_of_day(int(time.time()))
        sys.stderr.write("".join(["%s %s\n" % (clock, printable(message)) for message in messages]))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return
