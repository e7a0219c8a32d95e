"""A job: its fields, its states, and what makes it valid. No I/O in here; what becomes of a job is decided in core/rules.py.

    pending -> processing -> completed, or back to pending (a retry, a worker that died), or dead (in the dead letter queue)

A Job never changes: whoever changes one makes another Job.
"""
from __future__ import annotations

import re
from collections import namedtuple
from functools import lru_cache

from core.errors import InvalidJob
from core.slots import slot_of
from core.settings import check_value, in_seconds, setting_fault, setting_named
from core.strict_json import encode_json
from core.system import MAX_COMMAND
from core.times import LENGTHS, format_time, parse_duration, parse_time

STATES = ("pending", "processing", "completed", "dead")

# The names of the columns that tell where a job stands, in the order in which they are stored.
COLUMN_NAMES = ("state", "attempts", "exit_code", "reason", "run_at", "started_at", "updated_at", "worker")

PENDING, PROCESSING, COMPLETED, DEAD = STATES

BETWEEN_ATTEMPTS = "failed"  # what other programs call a job that is pending again after an attempt that failed

# Why an attempt failed, in one word; the exit code says the rest.
FAILED = "failed"  # the command exited with another code than 0
KILLED = "killed"  # a signal ended it: exit code 128 + signal
LOST = "lost"  # its worker died while it ran
UNSTARTABLE = "unstartable"  # the system refused to start it
TIMEOUT = "timeout"  # it ran for longer than it may
CANCELLED = "cancelled"  # someone did not want it any more
DEPENDENCY = "dependency"  # a job that it comes after is dead or gone

EXAMPLE = '{"id": "job1", "command": "echo Hello"}'

# The run_at of a job that is held until someone releases it. A version that knows no holding waits as long.
HELD = "9999-12-31T23:59:59.999999Z"

MAX_ID = 200
MAX_GROUP = 100
MAX_ATTEMPTS = 9999999
MAX_PRIORITY = 1000000
MAX_TEXT = 131071  # bytes of a command, or of a variable with its name: MAX_ARG_STRLEN of Linux, execve(2), without the NUL
# Compiled when they are first used: `enqueue` needs none of them.
_CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029]"
_WORD = r"[a-z][a-z_-]{0,13}\Z"
_TOKEN = r"[0-9A-Za-z-]{1,26}\Z"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z\Z"

# How an attempt ended: an exit code (None if there is none) and a reason (None if it succeeded).
Outcome = namedtuple("Outcome", "exit_code reason")


class Job(namedtuple("Job", "id command created_at options state attempts exit_code reason run_at started_at updated_at worker place")):
    """A job. `options` holds all other fields of its line 1, the user's own included. Times are texts as `format_time` makes them.
    `place` is where its line 2 was last seen. It may be out of date: only the attempt token in `worker` proves whose job it is."""

    __slots__ = ()

    def fields(self):
        """The fields that line 1 of its record holds."""
        return dict(id=self.id, command=self.command, created_at=self.created_at, **self.options)

    def progress(self):
        """What line 2 of its record holds: how far the job is, as values in the order of COLUMN_NAMES."""
        return self[4:-1]

    def with_progress(self, *progress):
        """The same job with another line 2."""
        return Job._make(self[:4] + progress + self[-1:])

    def to_dict(self):
        """All of the job but the variables that it keeps of a shell, which are many, and may hold passwords."""
        fields = dict(self.fields(), **dict(zip(COLUMN_NAMES, self.progress())))
        fields.pop("kept_env", None)
        return fields

    @property
    def key(self):
        """The identity of this job, also among jobs with the same id."""
        return (self.id, self.created_at)

    @property
    def priority(self):
        """Jobs with a higher priority run first."""
        value = self.options.get("priority")
        return value if type(value) is int else 0

    @property
    def after(self):
        """The ids of the jobs that must be completed before this one starts."""
        return self._ids("after")

    @property
    def after_any(self):
        """The ids of the jobs that must have ended before this one starts, however they ended."""
        return self._ids("after_any")

    def _ids(self, name):
        value = self.options.get(name)
        return value if value and _check_after(value) is None else ()

    @property
    def predecessors(self):
        """All ids that this job names in `after` and `after_any`, each once."""
        after, after_any = self.after, self.after_any
        return tuple(dict.fromkeys([*after, *after_any])) if after or after_any else ()

    @property
    def group(self):
        """The name of its group, or None."""
        value = self.options.get("group")
        return value if value is not None and _check_group(value) is None else None

    @property
    def is_held(self):
        """Whether it waits until someone releases it."""
        return self.run_at == HELD

    @property
    def slot(self):
        """The number that it has among the running jobs of its group, if that had a limit when it was claimed; else None."""
        return slot_of(self.worker)

    @property
    def kept_env(self):
        """The variables of the shell that added it, by name."""
        value = self.options.get("kept_env")
        return value if type(value) is dict else {}

    @property
    def duration(self):
        """How long the last attempt took, in seconds; None if it has not ended."""
        if self.started_at is None or self.updated_at is None or self.state == PROCESSING or not self.attempts:
            return None
        return max(0.0, round(parse_time(self.updated_at) - parse_time(self.started_at), 6))

    @property
    def digest(self):
        """16 hexadecimal digits that stand for the key where a user's text cannot stand: in file names, in worker files."""
        import hashlib
        return hashlib.blake2b(("%s\n%s" % (self.created_at, self.id)).encode("utf-8"), digest_size=8).hexdigest()

    @property
    def ending(self):
        """How the last attempt ended, in words for people; "" if there is nothing to say."""
        if self.reason == LOST:
            return "its worker died"
        if self.reason == KILLED and self.exit_code:
            return "killed by signal %d" % (self.exit_code - 128)
        if self.reason in (None, FAILED):
            return "" if self.exit_code is None else "exit code %d" % self.exit_code
        if self.reason == TIMEOUT:
            limit = self.options.get("timed_out_after") or self.options.get("timeout")
            return "timed out" + (" after %g s" % limit if limit and type(limit) in (int, float) else "")
        if self.reason == DEPENDENCY:
            return str(self.options.get("died_of") or "a job that it comes after is dead or gone")
        return {UNSTARTABLE: "could not be started"}.get(self.reason, self.reason)


def encode_id(job_id):
    """An id as a job file holds it: the bytes of its JSON. No file has an id with a lone surrogate, and so its bytes match none."""
    return encode_json(job_id).encode("utf-8", "surrogatepass")


def _text(value):
    """An id as a text: people also write numbers."""
    return str(value) if type(value) in (int, float) else value


def check_fields(record, options=True):
    """Check the fields of line 1 in a record that may lack any of them; without `options` only id and command. Raises InvalidJob."""
    job_id, command = _text(record.get("id")), record.get("command")
    for name, value in (("id", job_id), ("command", command)):
        if value is None:
            raise InvalidJob("the field \"%s\" is missing%s; a job looks like %s" % (name, _instead_of(name, record), EXAMPLE))
        if type(value) is not str:
            raise InvalidJob("\"%s\" must be a text, not %s" % (name, encode_json(value)[:60]))
    if not 0 < len(job_id) <= MAX_ID:
        raise InvalidJob("\"id\" must have 1 to %d characters, not %d" % (MAX_ID, len(job_id)))
    if not job_id.isprintable() and re.search(_CONTROL, job_id):
        raise InvalidJob("\"id\" must not contain control characters")
    if not command.strip():
        raise InvalidJob("\"command\" must not be empty")
    if "\0" in command:
        raise InvalidJob("\"command\" must not contain a NUL character")
    if options:
        for fault in option_faults(record):
            raise InvalidJob(fault)


def _instead_of(name, record):
    """Which field of a record may have been meant as one that is missing, as the middle of a sentence; "" if none is like it."""
    from core.field_names import field_meant
    other = next((other for other in record if other != name and field_meant(other, ASKED_FOR) == name), None)
    return "" if other is None else " (there is %s, did you mean it?)" % encode_json(other)[:60]


def option_faults(record):
    """A sentence for each field of OPTION_CHECKS that has a value it cannot have."""
    for name, value in record.items():
        if name in OPTION_CHECKS and value is not None:
            fault = OPTION_CHECKS[name](value)
            if fault:
                yield "\"%s\" %s, not %s" % (name, fault, encode_json(value)[:60])


def _check_cwd(value):
    return "must be a folder's path" if type(value) is not str or not value or "\0" in value else None


def _check_after(value):
    fits = type(value) is list and value and all(type(job_id) is str and 0 < len(job_id) <= MAX_ID for job_id in value)
    return None if fits else "must be a list of ids, like [\"job1\"]"


def _check_group(value):
    fits = type(value) is str and 0 < len(value) <= MAX_GROUP and value.isprintable() and value == value.strip()
    return None if fits else "must be a name of 1 to %d characters, without control characters or spaces around it" % MAX_GROUP


def _check_env(value):
    fits = type(value) is dict and all(name and "=" not in name and "\0" not in name and type(text) is str and "\0" not in text
                                       for name, text in value.items())
    return None if fits else "must be an object of texts, like {\"NAME\": \"value\"}"


def _as_setting(name):
    setting = setting_named(name)
    return lambda value: setting_fault(setting, value)


# The options that QueueCTL knows, each with a function that says what is wrong with a value, or None. Any other field is the user's own.
OPTION_CHECKS = {"cwd": _check_cwd, "after": _check_after, "after_any": _check_after, "group": _check_group,
                 "env": _check_env, "kept_env": lambda value: None if type(value) is str else _check_env(value),
                 "priority": lambda value: check_value(value, int, -MAX_PRIORITY, MAX_PRIORITY),
                 **{name: _as_setting(name) for name in ("timeout", "max_retries", "backoff_base", "backoff_max", "keep_env",
                                                     "runner", "shell")}}


ASKED_FOR = ("id", "command", "run_at", "delay", "hold", *OPTION_CHECKS)  # all fields by which users say what they want


def new_job_fields(record, cwd):
    """Line 1 of a new job without its created_at, from what the user asked for. Raises InvalidJob.

    Fields that say how far a job is (state, attempts, times, …) are dropped, so that the output of `show` can be enqueued again. So are
    `run_at`, `delay` and `hold`: see `first_run_at`. `cwd` is the folder of a job that names none, and where a relative one is.
    """
    if type(record) is not dict:
        raise InvalidJob("a job must be an object like %s, not %s" % (EXAMPLE, encode_json(record)[:60]))
    check_fields(record)
    if MAX_COMMAND is not None:
        _check_for_cmd(record["command"])
    if len(record["command"]) > MAX_TEXT // 4 or record.get("env"):
        _check_lengths(record)
    fields = {"id": _text(record["id"]), "command": record["command"]}
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


def resolve_folder(folder, base):
    """A job's folder as an absolute path: `~` is the home folder of the user, and a relative one is looked for in `base`. Raises
    InvalidJob where the home folder is not known."""
    import os
    if folder[0] == "~":
        folder = os.path.expanduser(folder)
        if folder[0] == "~":
            raise InvalidJob("\"cwd\" begins with ~, and the folder of that user is not known; write the whole path")
    return folder if os.path.isabs(folder) else os.path.normpath(os.path.join(base, folder))


def _check_for_cmd(command):
    """Raise InvalidJob if cmd.exe would not run the whole of a command."""
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


_LENGTHS = ("timeout", "backoff_max")  # fields that are lengths of time, stored in seconds
_NOT_KEPT = frozenset(COLUMN_NAMES + ("created_at", "delay", "hold", "duration", "waits_for", "due_in"))


TIMED = frozenset(("run_at", "delay", "hold"))  # the fields of a new job that say when it may start


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
    if _is_stored_time(value):
        return value
    try:
        return format_time(parse_local_time(value, now))
    except ValueError as error:
        raise InvalidJob("\"run_at\" must be a time, and %s %s" % (encode_json(value)[:60], str(error).replace("length of time, not a time",
                         "length of time; that is given as \"delay\""))) from None


@lru_cache(maxsize=64)
def _is_day(text):
    try:
        parse_time(text + "T00:00:00Z")
    except ValueError:
        return False
    return True


def _is_stored_time(value):
    """Whether a text is a time as `format_time` makes it."""
    return re.match(_TIME, value) and _is_day(value[:10])


def _stored_time(name, value):
    """A time of a job file, as `format_time` makes it. One that names no zone is UTC: other programs write it so, and the file is read
    elsewhere too. Raises InvalidJob."""
    if type(value) is str:
        if _is_stored_time(value):
            return value
        for text in (value, value + "Z", value + "T00:00:00Z"):
            try:
                return format_time(parse_time(text))
            except ValueError:
                continue
    raise InvalidJob("\"%s\" must be a time like \"2026-11-24T02:09:06Z\", not %s" % (name, encode_json(value)[:60]))


def _integer(name, value, low, high):
    if type(value) is not int or not low <= value <= high:
        raise InvalidJob("\"%s\" must be a whole number between %d and %d, not %s" % (name, low, high, encode_json(value)[:60]))
    return value


def _word(name, value, pattern):
    if type(value) is not str or not re.match(pattern, value):
        raise InvalidJob("\"%s\" must be one short word, not %s" % (name, encode_json(value)[:60]))
    return value


# What is wrong with an optional field of a job: the id, a sentence that names the field, and whether its value was dropped.
Fault = namedtuple("Fault", "id text dropped")


def job_from_record(record, place=0, faults=None, typed=True):
    """The Job that a record of a job file holds, with defaults for fields that are missing. Raises InvalidJob.

    A record that was typed by hand needs only id and command; its created_at is "" then. With a list `faults`, a wrong value of another
    field does not refuse the record but adds a Fault to the list. A wrong option is kept, and the job cannot be started. A wrong value
    of line 2 is dropped, and a job whose run_at is dropped is dead; but if line 2 was not `typed`, it is damaged, and is refused.
    """
    check_fields(record, options=faults is None)
    record = dict(record, id=_text(record["id"]))
    if faults is not None:
        faults += [Fault(record["id"], text + ", so that it cannot run", False) for text in option_faults(record)]
    state = record.get("state")
    record["state"] = PENDING if state is None or state == BETWEEN_ATTEMPTS else state
    if record["state"] not in STATES:
        raise InvalidJob("\"state\" must be one of %s, not %s" % (", ".join(STATES), encode_json(state)[:60]))
    for name, check in _CHECKS:
        value = record.get(name)
        try:
            record[name] = None if value is None else check(name, value)
        except InvalidJob as error:
            if faults is None or not typed:
                raise
            record[name] = None
            _note_fault(record, name, str(error), faults)
    record["attempts"] = record["attempts"] or 0
    record["created_at"] = record["created_at"] or ""
    return job_from_checked(record, place)


def _note_fault(record, name, text, faults):
    """Add a Fault for a wrong value of line 2, which was dropped."""
    dies = name == "run_at" and record["state"] in (PENDING, PROCESSING)
    if dies:
        record.update(state=DEAD, reason=UNSTARTABLE, worker=None)
    faults.append(Fault(record["id"], text + (", so that it is dead" if dies else ", and is left out"), True))


def job_from_checked(record, place=0):
    """The Job of a record that needs no check: one of a file in our own layout. The record is its options afterwards."""
    take = record.pop
    return Job(take("id"), take("command"), take("created_at"), record, take("state"), take("attempts"), take("exit_code"),
               take("reason"), take("run_at"), take("started_at"), take("updated_at"), take("worker"), place)


_LAST_CREATED = "9999-12-31T00:00:00.000000Z"  # so that jobs that are added behind it, each a microsecond later, have a time, too
_CHECKS = (("attempts", lambda name, value: _integer(name, value, 0, MAX_ATTEMPTS)),
           ("exit_code", lambda name, value: _integer(name, value, -2 ** 31, 2 ** 32 - 1)),
           ("reason", lambda name, value: _word(name, value, _WORD)),
           ("worker", lambda name, value: _word(name, value, _TOKEN)),
           ("created_at", lambda name, value: min(_stored_time(name, value), _LAST_CREATED)),
           ("started_at", _stored_time), ("updated_at", _stored_time), ("run_at", _stored_time))
