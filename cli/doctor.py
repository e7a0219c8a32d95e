"""Checks every file of a home and, with --repair, saves what can be read of a broken job file.

Nothing is lost: a copy of the file is kept beside it before the repair, and the lines that cannot be read are named.
"""
from __future__ import annotations

import os
import re
from collections import namedtuple

from core.errors import InvalidJob, QueueError, hint
from core.file_systems import remote_file_system
from core.home import CONFIG, DEAD_LETTERS, JOBS, LOGS, RUN, config_path, look_at_modes
from core.job import PENDING, job_from_record
from core.order import find_cycle, told_circle
from core.settings import settings_from, unknown_settings
from core.strict_json import decode_json, decode_json_at
from helpers import load_settings, read_config
from storage.foreign import keep_beside
from storage.layout import encode_line1
from storage.recognition import is_damaged

# A finding about one file: its name, whether it is sound, a sentence, and whether `repair` can help.
Finding = namedtuple("Finding", "name sound text repairable")


def examine(home, store, workers):
    """Findings about config.json, jobs.json, dlq.json, logs and run, in that order, and about the home if everyone can write it. `store` is
    the home's Store, `workers` its WorkerManager."""
    findings = [_examine_config(home), _examine_jobs(home, JOBS, store), _examine_jobs(home, DEAD_LETTERS, store),
                _examine_folder(home, LOGS, ".log", "%d logs"), _examine_run(home, workers)]
    return [_examine_owner(home, finding.name) or finding for finding in findings] + _examine_modes(home)


def _examine_owner(home, name):
    """A Finding if a file, or one in a folder, belongs to another user than the home does, or, where that is root's, to another than this
    user: it cannot be opened then by whom it should belong to. None if all is well, or the system knows no owners as numbers."""
    path = os.path.join(home, name)
    if not hasattr(os, "geteuid") or os.path.islink(path) or not os.path.exists(path):
        return None
    belongs = os.stat(home)
    users = {belongs.st_uid} if belongs.st_uid else {0, os.geteuid()}
    inside = [os.path.join(path, entry) for entry in os.listdir(path)] if os.path.isdir(path) and os.access(path, os.R_OK) else []
    for strange in [path] + inside:
        try:
            stat = os.lstat(strange)
        except OSError:
            continue  # removed meanwhile
        if stat.st_uid not in users and not (name == CONFIG and stat.st_mode & 0o004):  # an administrator's, for all to read
            from shlex import quote
            return Finding(name, False, "%s belongs to another user (uid %d) than the home; as root: chown -hR %d:%d %s"
                           % (strange, stat.st_uid, belongs.st_uid, belongs.st_gid, quote(path)), False)
    return None


def _examine_modes(home):
    """A Finding, in a list, if everyone can write the home."""
    try:
        fault, warning = look_at_modes(home, lambda: load_settings(config_path(home)).trust_home)
    except QueueError:
        return []  # what cannot be looked at is told of by its name
    text = fault or warning
    return [Finding("home", fault is None, text if fault else "is not safe: " + str(text), False)] if text else []


def _examine_config(home):
    path = config_path(home)
    if not os.path.lexists(path):
        return Finding(CONFIG, True, "is not there; the defaults hold", False)
    try:
        record = read_config(path)
        settings_from(record, path)
    except QueueError as error:
        return Finding(CONFIG, False, str(error), False)
    unknown = unknown_settings(record)
    return Finding(CONFIG, True, "is sound, but %s" % "; ".join(unknown) if unknown else "is sound", False)


def _examine_jobs(home, name, store):
    path = os.path.join(home, name)
    if not os.path.lexists(path):
        return Finding(name, True, "is not there; it is made when it is needed", False)
    try:
        number, damage = store.examine(name)
    except (QueueError, OSError) as error:
        return Finding(name, False, str(error), os.path.isfile(path) and not os.path.islink(path))
    if damage:
        return Finding(name, False, damage, True)
    edges: dict = {}
    for job in store.jobs((PENDING,), b', "after') if name == JOBS else ():
        edges.setdefault(job.id, set()).update(job.predecessors)
    circle = find_cycle(edges)
    if circle:
        return Finding(name, False, told_circle(circle), False)
    return Finding(name, True, "is sound: %d job%s" % (number, "" if number == 1 else "s"), False)


def _examine_folder(home, name, ending, text):
    path = os.path.join(home, name)
    if not os.path.lexists(path):
        return Finding(name, True, "is not there; it is made when it is needed", False)
    if os.path.islink(path) or not os.path.isdir(path):
        return Finding(name, False, "%s must be a folder of its own: move away what is there" % path, False)
    try:
        names = [entry for entry in os.listdir(path) if entry.endswith(ending)]
    except OSError as error:
        return Finding(name, False, "%s cannot be read: %s" % (path, error.strerror), False)
    for entry in names:
        inside = os.path.join(path, entry)
        if os.path.islink(inside) or (os.path.exists(inside) and not os.path.isfile(inside)):
            return Finding(name, False, "%s is no file of ours: move it away" % inside, False)
    return Finding(name, True, "is sound: " + text % len(names), False)


def _examine_run(home, workers):
    finding = _examine_folder(home, RUN, ".json", "%d worker files")
    remote = remote_file_system(home)
    if finding.sound and remote:
        return Finding(RUN, True, "is on a file system of another machine (%s), where locks may not hold; use the queue from one machine "
                       "alone" % remote, False)
    dead = len(workers.left_behind()) if finding.sound else 0
    if dead:
        return Finding(RUN, True, "holds %d file%s of worker processes that died; the next %s returns their jobs"
                       % (dead, "" if dead == 1 else "s", hint("worker start")), False)
    return finding


_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}]')
_FAR = 1 << 20  # characters behind the start of a broken record in which its end is looked for


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
        job, length, faults = _job_in(text[start:following])
        lost += [(start, fault) for fault in faults]
        if job is None:
            end = _end_of_broken(text, start, following)
            _note_lost(text, start, end, lost)
        else:
            saved.append(job)
            end = start + length


def _next_record(text, start):
    """Where the next line starts a record with the indentation of the record at `start`; the end of the text if none does."""
    line = text.rfind("\n", 0, start) + 1
    before = text[line:start]
    if before.strip(" \t"):
        return len(text)  # it stands within a line
    at = text.find("\n%s{" % before, start)
    return len(text) if at < 0 else at + 1 + len(before)


def _job_in(text):
    """(the job whose record starts the text, the length of the record, what is wrong with the job), or (None, 0, ()). If a record in
    our own layout has only a line 1 that can be read, its job has not run yet."""
    for read in (_whole_record, _line1_alone):
        faults: list = []
        try:
            record, length, lost = read(text)
            job = job_from_record(record, faults=faults)
            encode_line1(job.fields())  # fails for bytes that are no text
            return job, length, lost + [fault.text for fault in faults]
        except (QueueError, UnicodeEncodeError, AttributeError):
            continue
    return None, 0, ()


def _whole_record(text):
    record, length = decode_json_at(text, 0)
    if is_damaged(record, text, 0, length):
        raise InvalidJob("its second line is damaged")
    return record, length, []


def _line1_alone(text):
    line1, newline, rest = text.partition("\n")
    line2 = rest.partition("\n")[0]
    record = decode_json(line1.rstrip(" ").rstrip(",") + "}")
    length = len(line1) + len(newline) + (len(line2) if line2.startswith(" ") else 0)
    return record, length, ["how far the job %r is: it counts as not yet run" % record.get("id")]


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
    copy = keep_beside(path, "broken", content)
    saved, lost = salvage(content)
    store.replace_broken(os.path.basename(path), saved, content)
    return copy, len(saved), lost
