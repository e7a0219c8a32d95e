"""The settings: one table, and what is made from it. A new one is a row of SETTINGS and a field of Settings. helpers reads the file."""
from __future__ import annotations

from collections import namedtuple

from core.errors import InvalidSettings, UsageError, hint
from core.strict_json import decode_json, encode_json
from core.system import ESCAPE
from core.times import LENGTHS, parse_duration

MIN_TIMEOUT, MAX_TIMEOUT = 0.001, 31536000  # seconds
MAX_LIMIT = 1000  # jobs of a group at once: an attempt token has room for a slot of three digits

Setting = namedtuple("Setting", "name type default low high unit meaning")

# Validation, the defaults, the table of `config` and that of README come from this one.
SETTINGS = (
    Setting("max_retries", int, 3, 0, 1000000, "", "how often a failed job is tried again; then it goes to the dead letter queue"),
    Setting("backoff_base", float, 2, 0, 1000000, "", "the wait before retry N is backoff_base ** N seconds: 2, 4, 8"),
    Setting("backoff_max", float, 3600, 0, 31536000, "seconds", "no wait between two attempts is longer than this"),
    Setting("retry_in_place", bool, True, None, None, "", "a worker waits with a failed job and runs it again before any other; "
            "false: it takes other jobs meanwhile"),
    Setting("poll_interval", float, 1.0, 0.01, 3600, "seconds", "how often an idle worker looks for a job"),
    Setting("timeout", float, None, MIN_TIMEOUT, MAX_TIMEOUT, "seconds",
            "an attempt that runs for longer is ended, and has failed; null: no limit"),
    Setting("kill_grace", float, 5, 0, 3600, "seconds", "the time between TERM and KILL when a process tree is ended"),
    Setting("save_output", bool, True, None, None, "", "what a job writes is kept in logs/; false: it is thrown away"),
    Setting("max_output", int, 10485760, 1024, 1 << 40, "bytes", "a log that grows longer keeps only its last part"),
    Setting("keep_attempts", int, 10, 0, 1000000, "", "so many logs of a job's attempts are kept: that of the first one, and the "
            "newest; 0: all"),
    Setting("unique_ids", bool, False, None, None, "", "a job is refused whose id is in the queue already"),
    Setting("fsync", bool, True, None, None, "", "what is said to be stored survives a power cut; false: a crash of the machine may "
            "lose the last half minute or more"),
    Setting("runner", list, None, None, None, "", "a list of words put before each job's command: it is run as RUNNER… sh -c COMMAND; "
            "{id}, {attempt} and {cwd} in them are filled in; null: none"),
    Setting("shell", list, None, None, None, "", "the words that run a job's command, which is put behind them: [\"bash\", \"-o\", "
            "\"pipefail\", \"-c\"]; null: sh -c, on Windows cmd /c"),
    Setting("keep_env", (bool, list), False, None, None, "", "a job runs with the variables of the shell that added it: true: with all of "
            "them and no others; a list of names: with these; false: with none, but with the worker's"),
    Setting("on_finish", str, None, None, None, "", "a command that a worker runs when a job is completed or dead; "
            "what it says, and how it fails, is in run/worker.log, and it is ended after 60 s; null: none"),
    Setting("trust_home", bool, False, None, None, "", "workers start also on a disk that keeps no modes (NTFS, exFAT); everyone on the "
            "machine could run commands as you there"),
    Setting("limits", dict, {}, None, None, "", "how many jobs of a group run at once, over all worker processes: {\"gpu\": 1}; a group "
            "that is not named has no limit"),
)
# The names of SETTINGS, in this order; mypy wants them written out.
Settings = namedtuple("Settings", ("max_retries", "backoff_base", "backoff_max", "retry_in_place", "poll_interval", "timeout", "kill_grace",
                                   "save_output", "max_output", "keep_attempts", "unique_ids", "fsync", "runner", "shell", "keep_env",
                                   "on_finish", "trust_home", "limits"))
DEFAULTS = Settings(*[setting.default for setting in SETTINGS])
_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list of texts like [\"srun\"]",
               (bool, list): "true, false or a list of names like [\"PATH\"]", dict: "an object of whole numbers like {\"gpu\": 1}"}


def setting_named(key):
    """The setting of that name, in which - and _ are the same. Raises InvalidSettings."""
    name = key.replace("-", "_")
    for setting in SETTINGS:
        if setting.name == name:
            return setting
    raise InvalidSettings("there is no setting %r%s (%s lists them)" % (key, did_you_mean(name, Settings._fields), hint("config")))


def part_named(key):
    """(the setting that a key names, the part of it or None): `limits.gpu` is the limit of the group gpu. Raises InvalidSettings."""
    name, dot, part = key.partition(".")
    setting = setting_named(name)
    if dot and (setting.type is not dict or not part):
        raise InvalidSettings("%s %s, as in limits.gpu" % (encode_json(key), "names no group" if setting.type is dict else
                                                           "is no setting; only limits has parts"))
    return setting, part or None


def did_you_mean(word, known):
    """`", did you mean 'x'?"` with the known word that is most like this one; "" if none is."""
    from difflib import get_close_matches
    near = get_close_matches(word, known, 1)
    return ", did you mean %r?" % near[0] if near else ""


def check_value(value, kind, low, high):
    """What is wrong with a value, as a phrase ("must be …"), or None if it has the type and lies in the range (`high` included)."""
    if type(value) is not kind and not (kind is float and type(value) is int) and not (type(kind) is tuple and type(value) in kind):
        return "must be %s" % _TYPE_NAMES[kind]
    if kind is dict and not all(name and type(number) is int and 0 <= number <= MAX_LIMIT for name, number in value.items()):
        return "must be %s, each from 0 to %d" % (_TYPE_NAMES[dict], MAX_LIMIT)
    if low is not None and not low <= value <= high:
        return "must be between %s and %s" % (low, high)
    if kind == (bool, list) and type(value) is list and not all(type(name) is str and name and "=" not in name for name in value):
        return "must be %s" % _TYPE_NAMES[kind]
    if kind is list and (value[:1] == [""] or not all(type(word) is str and "\0" not in word for word in value)):
        return "must be %s" % _TYPE_NAMES[kind]
    return None


def in_seconds(value):
    """A length of time that is a text (`5m`) in seconds; any other value as it is, also a text that is none."""
    if type(value) is not str:
        return value
    try:
        seconds = parse_duration(value)
    except ValueError:
        return value
    return int(seconds) if seconds.is_integer() else seconds


def setting_fault(setting, value):
    """What is wrong with a value for a setting, or for the job's field of that name, as a phrase ("must be …"); None if it fits."""
    if setting.unit != "seconds":
        return check_value(value, setting.type, setting.low, setting.high)
    seconds = in_seconds(value)
    if type(seconds) is str:
        return "must be a length of time like %s" % LENGTHS
    return check_value(seconds, setting.type, setting.low, setting.high)


def split_words(text):
    """The words of a JSON list, or of a command line as a shell splits it (on Windows a backslash is a letter). Raises UsageError."""
    from shlex import shlex
    if text.lstrip().startswith("["):
        return decode_json(text)
    lexer = shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ESCAPE
    try:
        return list(lexer)
    except ValueError as error:
        raise UsageError("cannot split %s into words: %s" % (encode_json(text), str(error).lower())) from None


def split_names(text):
    """The names in `PATH,VIRTUAL_ENV`; True for `true`, and False for `false`."""
    return {"true": True, "false": False}.get(text, [name.strip() for name in text.split(",")])


def check_setting(setting, value):
    """The value, if it fits its setting, a length of time in seconds; None fits a setting without a default. Raises InvalidSettings."""
    if value is None and setting.default is None:
        return None
    fault = setting_fault(setting, value)
    if fault:
        raise InvalidSettings("%s %s, not %s" % (setting.name, fault, encode_json(value)))
    return in_seconds(value) if setting.unit == "seconds" else value


def key_of(setting, part):
    """The key that `part_named` was given."""
    return setting.name if part is None else "%s.%s" % (setting.name, part)


def check_part(setting, part, value):
    """The value, if it fits a part of a setting; None is for a part that is not to be. Raises InvalidSettings."""
    if value is not None and check_value({part: value}, setting.type, setting.low, setting.high):
        raise InvalidSettings("%s must be a whole number from 0 to %d, or null for no limit, not %s"
                              % (key_of(setting, part), MAX_LIMIT, encode_json(value)))
    return value


def settings_from(record, path):
    """Settings from the object in config.json, with defaults for what it does not name. Raises InvalidSettings."""
    values = DEFAULTS._asdict()
    for setting in SETTINGS:
        if setting.name in record:
            try:
                values[setting.name] = check_setting(setting, record[setting.name])
            except InvalidSettings as error:
                raise InvalidSettings("%s: %s" % (path, error)) from None
    return Settings(**values)


def unknown_settings(record):
    """A sentence for each key of a config.json's object that is no setting; they are kept, and worth a warning."""
    return ["the key %s is ignored: there is no such setting%s" % (encode_json(key), did_you_mean(key, Settings._fields)) for key in record
            if key not in Settings._fields]
