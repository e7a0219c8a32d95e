"""The record of a job in a job file that someone else may have written: its defaults, and what is wrong with it. No I/O in here."""
from __future__ import annotations

import re
from collections import namedtuple

from core.errors import InvalidJob
from core.job import BETWEEN_ATTEMPTS, DEAD, HELD, MAX_ATTEMPTS, PENDING, PROCESSING, STATES, UNSTARTABLE
from core.job import check_fields, job_from_checked, option_faults, text_of
from core.strict_json import encode_json
from core.times import format_time, is_stored_time, parse_time

_WORD = r"[a-z][a-z_-]{0,13}\Z"
_TOKEN = r"[0-9A-Za-z-]{1,26}\Z"
_LAST_CREATED = "9999-12-31T00:00:00.000000Z"  # so that jobs that are added behind it, each a microsecond later, have a time, too

# What is wrong with an optional field of a job: the id, a sentence that names the field, and whether its value was dropped.
Fault = namedtuple("Fault", "id text dropped")


def job_from_record(record, place=0, faults=None, typed=True):
    """The Job that a record of a job file holds, with defaults for fields that are missing. Raises InvalidJob.

    A record that was typed by hand needs only id and command; its created_at is "" then, and `"hold": true` holds it. With a list `faults`,
    a wrong value of another field does not refuse the record but adds a Fault to the list. A wrong option is kept, and the job cannot be
    started. A wrong value of line 2 is dropped, and a job whose run_at is dropped is dead; a line 2 that was not `typed` is refused.
    """
    check_fields(record, options=faults is None)
    record = dict(record, id=text_of(record["id"]))
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
    if record.get("hold") is True and record["state"] == PENDING and record["run_at"] is None:
        del record["hold"]  # as `enqueue` takes it
        record["run_at"] = HELD
    record["attempts"] = record["attempts"] or 0
    record["created_at"] = record["created_at"] or ""
    return job_from_checked(record, place)


def _note_fault(record, name, text, faults):
    """Add a Fault for a wrong value of line 2, which was dropped."""
    dies = name == "run_at" and record["state"] in (PENDING, PROCESSING)
    if dies:
        record.update(state=DEAD, reason=UNSTARTABLE, worker=None)
    faults.append(Fault(record["id"], text + (", so that it is dead" if dies else ", and is left out"), True))


def _stored_time(name, value):
    """A time of a job file, as `format_time` makes it. One without a zone is UTC: other programs write it so. Raises InvalidJob."""
    if type(value) is str:
        if is_stored_time(value):
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


_CHECKS = (("attempts", lambda name, value: _integer(name, value, 0, MAX_ATTEMPTS)),
           ("exit_code", lambda name, value: _integer(name, value, -2 ** 31, 2 ** 32 - 1)),
           ("reason", lambda name, value: _word(name, value, _WORD)),
           ("worker", lambda name, value: _word(name, value, _TOKEN)),
           ("created_at", lambda name, value: min(_stored_time(name, value), _LAST_CREATED)),
           ("started_at", _stored_time), ("updated_at", _stored_time), ("run_at", _stored_time))
