"""A job: its fields, which values they may have, and its states. No I/O in here; core/rules.py decides what becomes of a job.

    pending -> processing -> completed, or back to pending (a retry, a worker that died), or dead (in the dead letter queue)

A Job never changes: whoever changes one makes another Job.
"""
from __future__ import annotations

import re
from collections import namedtuple

from core.errors import InvalidJob
from core.settings import check_value, setting_fault, setting_named
from core.strict_json import encode_json
from core.times import parse_time

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
_CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029]"

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
        return tuple(dict.fromkeys([*after, *after_any]))

    @property
    def has_predecessors(self):
        """Whether it comes after other jobs."""
        return bool(self.options) and bool(self.after or self.after_any)

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
        from core.slots import slot_of
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


def text_of(value):
    """An id as a text: people also write numbers."""
    return str(value) if type(value) in (int, float) else value


def check_fields(record, options=True):
    """Check the fields of line 1 in a record that may lack any of them; without `options` only id and command. Raises InvalidJob."""
    job_id, command = text_of(record.get("id")), record.get("command")
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


def job_from_checked(record, place=0):
    """The Job of a record that needs no check: one of a file in our own layout. The record is its options afterwards."""
    take = record.pop
    return Job(take("id"), take("command"), take("created_at"), record, take("state"), take("attempts"), take("exit_code"),
               take("reason"), take("run_at"), take("started_at"), take("updated_at"), take("worker"), place)


def resolve_folder(folder, base):
    """A job's folder as an absolute path: `~` is the user's home folder, a relative one is in `base`. Raises InvalidJob for `~` unknown."""
    import os
    if folder[0] == "~":
        folder = os.path.expanduser(folder)
        if folder[0] == "~":
            raise InvalidJob("\"cwd\" begins with ~, and the folder of that user is not known; write the whole path")
    return folder if os.path.isabs(folder) else os.path.normpath(os.path.join(base, folder))
