"""Saves what can be read of a broken job file (`doctor --repair`).

Nothing is lost: a copy of the file is kept beside it before the repair, and the lines that cannot be read are named. The time grows with
the size of the file, however its lines are laid out: nothing looks at all of it for each job.
"""
from __future__ import annotations

import os
import re

from core.errors import InvalidJob, JsonError, QueueError
from core.job import STATES
from core.job_record import job_from_record
from core.strict_json import decode_json, decode_json_at, is_cut_short
from storage.foreign import keep_beside
from storage.layout import COLUMNS, COLUMN_AT, WIDTH, encode_line1
from storage.recognition import is_damaged

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}]')
_FAR = 1 << 20  # characters behind the start of a broken record in which its end is looked for
_NEAR = 1 << 12  # characters of a record that are looked at first; more if it is longer
_INDENTATION = 1000  # characters that may stand before a record on its line


def salvage(content):
    """(the jobs that can be read in the bytes of a broken job file, a sentence with line numbers for each piece that cannot be read)."""
    text = content.decode("utf-8", "surrogateescape")
    saved, lost = [], []
    end = 0
    while True:
        start = text.find("{", end)
        _note_lost(text, end, len(text) if start < 0 else start, lost)
        if start < 0:
            return saved, _with_lines(text, lost)
        following = _next_record(text, start)
        job, length, faults = _job_in(text, start, following)
        lost += [(start, fault) for fault in faults]
        if job is None:
            end = _end_of_broken(text, start, following)
            _note_lost(text, start, end, lost)
        else:
            saved.append(job)
            end = start + length


def _next_record(text, start):
    """Where the next line starts a record with the indentation of the record at `start`; the end of the text if none does."""
    before = text[max(0, start - _INDENTATION - 1):start].rpartition("\n")[2]
    if before.strip(" \t") or len(before) > _INDENTATION:
        return len(text)  # it stands within a line
    at = text.find("\n%s{" % before, start)
    return len(text) if at < 0 else at + 1 + len(before)


def _job_in(text, start, following):
    """(the job whose record starts there, the length of the record, what is wrong with the job), or (None, 0, ()). Of a record in our own
    layout whose line 2 does not read right, the columns count that do; without its state the job has not run yet."""
    for read in (lambda: _whole_record(text, start, following), lambda: _by_columns(*_two_lines(text, start, following)),
                 lambda: _line1_alone(*_two_lines(text, start, following))):
        faults: list = []
        try:
            record, length, lost = read()
            job = job_from_record(record, faults=faults)
            encode_line1(job.fields())  # fails for bytes that are no text
            return job, length, lost + [fault.text for fault in faults]
        except (QueueError, UnicodeEncodeError, AttributeError):
            continue
    return None, 0, ()


def _whole_record(text, start, following):
    size = _NEAR
    while True:
        piece = text[start:min(start + size, following)]
        try:
            record, length = decode_json_at(piece, 0)
            break
        except JsonError as error:
            if start + size >= following or not is_cut_short(error, piece):
                raise
        size *= 8
    if is_damaged(record, piece, 0, length):
        raise InvalidJob("its second line is damaged")
    return record, length, []


def _two_lines(text, start, following):
    """(line 1 of the record that starts there, its length with the line feed, line 2 or ""), as far as they stand before `following`; no
    line 1 where the record stands within a line, which none of ours does."""
    if text[start - 1:start] not in ("", "\n"):
        return "", 0, ""
    far = min(following, start + _FAR)
    end = text.find("\n", start, far)
    end = far if end < 0 else end
    line2 = text[end + 1:min(end + 2 + WIDTH, following)]
    return text[start:end], min(end + 1, following) - start, line2.partition("\n")[0]


def _by_columns(line1, length, line2):
    """A record of which some columns may be damaged: each is read at its place, whatever stands there for its name."""
    if not (line2[:1] == " " and len(line2.rstrip(",")) == WIDTH):
        raise InvalidJob("it has no second line")
    record = decode_json(line1.rstrip(" ,") + "}")
    values = {name: line2[COLUMN_AT[name]:COLUMN_AT[name] + width].rstrip(" ") for name, width in COLUMNS}
    state = _state_like(values.pop("state"), dict(COLUMNS)["state"])
    named = sum(line2.startswith('"%s": ' % name, COLUMN_AT[name] - len(name) - 4) for name, _ in COLUMNS)
    if state is None or named < len(COLUMNS) - 2:
        raise InvalidJob("nothing says how far it is")
    return dict(record, state=state, **{name: _value(text) for name, text in values.items()}), length + WIDTH, \
        ["a part of how far the job %r is: it counts as %s" % (record.get("id"), state)]


def _state_like(text, width):
    """The state that a column of that width holds, of which one character may be damaged; None if it is none."""
    padded = text.ljust(width)
    return next((state for state in STATES if sum(one != other for one, other in zip(padded, ('"%s"' % state).ljust(width))) < 2), None)


def _value(text):
    """What a column holds; the text itself if that is nothing that a column can hold."""
    try:
        return decode_json(text)
    except JsonError:
        return text


def _line1_alone(line1, length, line2):
    record = decode_json(line1.rstrip(" ,") + "}")
    return record, length + (len(line2) if line2.startswith(" ") else 0), \
        ["how far the job %r is: it counts as not yet run" % record.get("id")]


def _end_of_broken(text, start, following):
    """The end of a record that cannot be read: its closing brace, or the start of the next record."""
    depth = 0
    for token in _TOKEN.finditer(text, start, min(following, start + _FAR)):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    if following < len(text):
        return following
    again = re.compile(r"\}\s*,\s*(?=\{)").search(text, start)
    return again.end() if again else len(text)


def _note_lost(text, start, end, lost):
    left = text[start:end].strip(" \t\r\n,[]\0\ufeff")
    if left:
        lost.append((text.index(left, start), left))


def _with_lines(text, lost):
    """A sentence with line numbers for each lost piece."""
    sentences, line, position = [], 1, 0
    for start, left in lost:
        line += text.count("\n", position, start)
        position = start
        last = line + left.count("\n")
        sentences.append("line%s: %s" % (" %d" % line if line == last else "s %d to %d" % (line, last), left[:120]))
    return sentences


def repair(path, store):
    """Save what can be read of a broken job file: (the path of a copy of the old file, how many jobs were saved, sentences about the rest).
    Raises OSError or QueueError, and leaves the file as it was."""
    with open(path, "rb") as file:
        content = file.read()
    copy = keep_beside(path, "broken", [content])
    saved, lost = salvage(content)
    store.replace_broken(os.path.basename(path), saved, content)
    return copy, len(saved), lost
