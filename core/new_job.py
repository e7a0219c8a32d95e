"""A new job: what makes it valid, and when it may start, from what its user asked for. No I/O in here."""
from __future__ import annotations

from core.errors import InvalidJob
from core.job import ASKED_FOR, COLUMN_NAMES, EXAMPLE, HELD, MAX_TEXT, OPTION_CHECKS, check_fields, resolve_folder, text_of
from core.settings import in_seconds
from core.strict_json import encode_json
from core.system import MAX_COMMAND
from core.times import LENGTHS, format_time, is_stored_time, parse_duration

TIMED = frozenset(("run_at", "delay", "hold"))  # the fields of a new job that say when it may start

_NONE = object()
_LENGTHS = ("timeout", "backoff_max")  # fields that are lengths of time, stored in seconds
_NOT_KEPT = frozenset(COLUMN_NAMES + ("created_at", "delay", "hold", "duration", "waits_for", "due_in", "inherited"))


def new_job_fields(record, cwd):
    """Line 1 of a new job without its created_at, from what the user asked for. Raises InvalidJob.

    Fields that say how far a job is (state, attempts, times, …) are dropped, so that the output of `show` can be enqueued again. So are
    `run_at`, `delay` and `hold`: see `first_run_at`. `cwd` is the folder of a job that names none, and where a relative one is.
    """
    if type(record) is not dict:
        raise InvalidJob("a job must be an object like %s, not %s" % (EXAMPLE, encode_json(record)[:60]))
    record = without_inherited(record)
    check_fields(record)
    if MAX_COMMAND is not None:
        _check_for_cmd(record["command"])
    if len(record["command"]) > MAX_TEXT // 4 or record.get("env"):
        _check_lengths(record)
    fields = {"id": text_of(record["id"]), "command": record["command"]}
    for name, value in record.items():
        if name not in fields and name not in _NOT_KEPT:
            fields[name] = value
    if len(fields) == 2:  # as most are
        fields["cwd"] = cwd
        return fields
    if type(fields.get("kept_env")) is str:
        del fields["kept_env"]  # the names alone, as `show` prints them
    for name in _LENGTHS:
        if name in fields:
            fields[name] = in_seconds(fields[name])
    fields["cwd"] = cwd if fields.get("cwd") is None else resolve_folder(fields["cwd"], cwd)
    return fields


def without_inherited(record):
    """A record without what `show` told of the settings, as its `inherited` says, or it would be the job's own from now on. A value that
    someone has changed since is. `inherited` goes with it, so that what is added to the record later counts as the job's own."""
    inherited = record.get("inherited")
    if type(inherited) is not dict:
        return record
    return {name: value for name, value in record.items()
            if name != "inherited" and (name not in OPTION_CHECKS or inherited.get(name, _NONE) != value)}


def _check_for_cmd(command):
    if len(command.encode("utf-16-le", "replace")) > 2 * MAX_COMMAND:
        raise InvalidJob("\"command\" must have %d characters at the most, which is what cmd.exe takes; put it into a file" % MAX_COMMAND)
    if "\n" in command.strip() or "\r" in command.strip():
        raise InvalidJob("\"command\" must be one line, since cmd.exe runs only the first; put it into a file, or join lines by &")


def _check_lengths(record):
    """Raise InvalidJob if a text of a new job is too long for Linux, which would refuse to start the command."""
    too_long = "%s must be shorter than 128 KiB, which is what the system takes; put it into a file"
    if _is_too_long(record["command"]):
        raise InvalidJob(too_long % "\"command\"")
    for name, value in (record.get("env") or {}).items():
        if _is_too_long("%s=%s" % (name, value)):
            raise InvalidJob(too_long % ("the variable %s in \"env\"" % name))


def _is_too_long(text):
    return len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT


def own_fields(names):
    """Those of these names of a new job's fields that are the user's own."""
    return [name for name in names if name not in ASKED_FOR and name not in _NOT_KEPT]


def first_run_at(record, now):
    """When a new job may start, as a text, by its `run_at` (a time, local if it names no zone), `delay` (a length of time) or `hold` (true:
    once it is released); None for at once. Raises InvalidJob."""
    delay, run_at, hold = record.get("delay"), record.get("run_at"), record.get("hold")
    if hold not in (None, True, False):
        raise InvalidJob("\"hold\" must be true or false, not %s" % encode_json(hold)[:60])
    if hold:
        if delay is not None or (run_at is not None and run_at != HELD):
            raise InvalidJob("\"hold\" goes with neither \"run_at\" nor \"delay\": a job that is released starts at once")
        return HELD
    if delay is None:
        return None if run_at is None else _given_time(run_at, now)
    if run_at is not None:
        raise InvalidJob("\"delay\" and \"run_at\" cannot both be given")
    try:
        seconds = parse_duration(delay) if type(delay) is str else delay
        if type(seconds) not in (int, float) or not 0 <= seconds < 1e10:
            raise ValueError("no length")
        return format_time(now + seconds)
    except ValueError:
        raise InvalidJob("\"delay\" must be a length of time like %s, not %s%s" % (
            LENGTHS, encode_json(delay)[:60], "; a time is given as \"run_at\"" if type(delay) is str and ":" in delay else "")) from None


def _given_time(value, now):
    """A `run_at` as a person gives it, as `format_time` makes it. Raises InvalidJob."""
    from core.local_times import FORMS, parse_local_time
    if type(value) is not str:
        raise InvalidJob("\"run_at\" must be a time like %s, not %s" % (FORMS, encode_json(value)[:60]))
    if is_stored_time(value):
        return value
    try:
        return format_time(parse_local_time(value, now))
    except ValueError as error:
        raise InvalidJob("\"run_at\" must be a time, and %s %s" % (encode_json(value)[:60], str(error).replace("length of time, not a time",
                         "length of time; that is given as \"delay\""))) from None
