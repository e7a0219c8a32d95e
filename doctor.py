"""Looks over every file of a home and, when asked to, saves what can be saved of a broken job file.

Nothing is ever dropped: before a file is repaired a byte copy is kept beside it, and what could not be read is named.
"""
from __future__ import annotations

import os
from collections import namedtuple

from helpers import QueueError, decode_json, decode_json_at, load_settings
from job import job_from_record
from job_file import keep_beside

# What was found about one file: its name, whether it is sound, and a sentence.
Finding = namedtuple("Finding", "name sound text")


def examine(home, jobs, workers):
    """Findings about config.json, jobs.json, dlq.json, logs and run, in that order. `jobs` and `workers` are the managers of the home."""
    return [_examine_config(home), _examine_jobs(home, "jobs.json", jobs.count_jobs), _examine_jobs(home, "dlq.json", jobs.count_dead),
            _examine_folder(home, "logs", ".log", "%d logs"), _examine_run(home, workers)]


def _examine_config(home):
    path = os.path.join(home, "config.json")
    if not os.path.lexists(path):
        return Finding("config.json", True, "is not there; the defaults hold")
    try:
        load_settings(path)
    except QueueError as error:
        return Finding("config.json", False, str(error))
    return Finding("config.json", True, "is sound")


def _examine_jobs(home, name, count):
    if not os.path.lexists(os.path.join(home, name)):
        return Finding(name, True, "is not there; it is made when it is needed")
    try:
        number = count()
    except QueueError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, "is sound: %d job%s" % (number, "" if number == 1 else "s"))


def _examine_folder(home, name, ending, text):
    path = os.path.join(home, name)
    if not os.path.lexists(path):
        return Finding(name, True, "is not there; it is made when it is needed")
    if os.path.islink(path) or not os.path.isdir(path):
        return Finding(name, False, "%s must be a folder of its own: move away what is there" % path)
    try:
        names = [entry for entry in os.listdir(path) if entry.endswith(ending)]
    except OSError as error:
        return Finding(name, False, "%s cannot be read: %s" % (path, error.strerror))
    strange = [entry for entry in names if os.path.islink(os.path.join(path, entry))]
    if strange:
        return Finding(name, False, "%s is a symbolic link: remove it" % os.path.join(path, strange[0]))
    return Finding(name, True, "is sound: " + text % len(names))


def _examine_run(home, workers):
    finding = _examine_folder(home, "run", ".json", "%d worker files")
    if not finding.sound:
        return finding
    dead = len(workers.left_behind())
    if dead:
        return Finding("run", True, "holds %d file%s of worker processes that died; the next 'queuectl worker start' returns their jobs"
                       % (dead, "" if dead == 1 else "s"))
    return finding


# ---------------------------------------------------------------- saving

def salvage(content):
    """(the jobs that can be read in the bytes of a broken job file, what could not be read). The latter as sentences with lines."""
    text = content.decode("utf-8", "surrogateescape")
    saved, lost = [], []
    position = clean = 0
    while True:
        start = text.find("{", position)
        if start < 0:
            break
        job, end = _job_at(text, start)
        if job is None:
            position = start + 1
            continue
        saved.append(job)
        _note_lost(text, clean, start, lost)
        position = clean = end
    _note_lost(text, clean, len(text), lost)
    return saved, lost


def _job_at(text, start):
    """The job whose record starts there, and where it ends; (None, 0) if there is none."""
    try:
        record, end = decode_json_at(text, start)
        return job_from_record(record), end
    except (QueueError, UnicodeEncodeError):
        pass  # perhaps its first line alone can be read
    line1, newline, rest = text[start:].partition("\n")
    try:
        job = job_from_record(decode_json(line1.rstrip().rstrip(",") + "}"))
    except (QueueError, UnicodeEncodeError):
        return None, 0
    line2 = rest.partition("\n")[0]
    return job, start + len(line1) + len(newline) + (len(line2) if line2.startswith(" ") else 0)


def _note_lost(text, start, end, lost):
    left = text[start:end]
    if left.strip(" \t\r\n,[]\0\ufeff"):
        first = text.count("\n", 0, start + len(left) - len(left.lstrip())) + 1
        last = first + left.strip().count("\n")
        lost.append("line%s: %s" % (" %d" % first if first == last else "s %d to %d" % (first, last), left.strip()[:60]))


def repair(path, manager):
    """Save what can be read of a broken job file: (the path of the byte copy of the original, how many jobs were saved, what was not)."""
    with open(path, "rb") as file:
        content = file.read()
    copy = keep_beside(path, "broken", content)
    saved, lost = salvage(content)
    manager.replace_broken(os.path.basename(path), saved, content)
    return copy, len(saved), lost
