"""Where the output of attempts lies, its last lines, and its removal."""
from __future__ import annotations

import os
import re
from collections import namedtuple

from core.home import logs_folder
from core.system import open_private, pread, remove_file

_UNSAFE = re.compile(r"[^0-9A-Za-z_-]+")
_TAIL_BYTES = 4096
_TAIL_LINES = 10

# The names of logs, here and nowhere else: STEM.ATTEMPT.log; once a job was brought back, those of the life before it are
# STEM.LIFE-ATTEMPT.log, LIFE from 1 on. A life is what lies between two retries; attempts are counted from 1 in each.
_LOG_NAME = re.compile(r"([^.]+)\.(?:([1-9][0-9]*)-)?([1-9][0-9]*)\.log", re.ASCII)

# Those that some version of this program has made, the second kind empty, for a worker's next job: others in that folder are a user's own.
_OF_A_JOB = re.compile(r"([0-9A-Za-z_-]{0,40}-[0-9a-f]{16})\.(?:[1-9][0-9]*-)?[1-9][0-9]*\.log", re.ASCII)
_OF_A_WORKER = re.compile(r"worker-[0-9a-f]{12}-[0-9]+\.log", re.ASCII)

_DROPPED = re.compile(rb"\[queuectl: ([0-9]+) bytes were dropped here, since the output exceeds max_output\]\n")

# A log that is there. `life` is None for the present one.
Log = namedtuple("Log", "life attempt path")


def _log_stem(job_id, digest):
    """The start of a job's log names: readable, safe on every file system, unlike any other job's."""
    return "%s-%s" % (job_id[:40] if job_id.isalnum() and job_id.isascii() else _UNSAFE.sub("_", job_id)[:40], digest)


def path_of_log(home, job_id, digest, attempt):
    return "%s%s%s.%d.log" % (logs_folder(home), os.sep, _log_stem(job_id, digest), attempt)


def log_path(home, job, attempt):
    """Where the output of an attempt (from 1) of a job is kept, of its present life."""
    return path_of_log(home, job.id, job.digest, attempt)


def stem_of(job):
    """The start of a job's log names."""
    return _log_stem(job.id, job.digest)


def logs_by_stem(home, jobs):
    """stem: the Logs that are there, in the order of the attempts, for each of these jobs that has any. Raises OSError."""
    folder = logs_folder(home)
    found: dict = {}
    try:
        names = os.listdir(folder) if jobs else ()
    except (FileNotFoundError, NotADirectoryError):
        return found
    stems = {stem_of(job) for job in jobs} if names else ()
    for name in names:
        match = _LOG_NAME.fullmatch(name) if name.partition(".")[0] in stems else None
        if match:
            stem, life, attempt = match.groups()
            log = Log(int(life) if life else None, int(attempt), os.path.join(folder, name))
            found.setdefault(stem, []).append(log)
    for logs in found.values():
        logs.sort(key=lambda log: (log.life is None, log.life or 0, log.attempt))
    return found


def logs_of(home, job):
    """The Logs of a job that are there, in the order in which its attempts ran. Raises OSError."""
    return logs_by_stem(home, [job]).get(stem_of(job), [])


def set_aside_logs(home, by_stem, keep):
    """Let this output (as `logs_by_stem` gives it), of jobs that are about to be brought back, be that of a former life. Of all former
    lives of a job `keep` logs stay, as the setting keep_attempts has it."""
    for stem, logs in by_stem.items():
        life = max([log.life or 0 for log in logs]) + 1
        former = []
        for log in logs:
            path = os.path.join(logs_folder(home), "%s.%d-%d.log" % (stem, life, log.attempt)) if log.life is None else log.path
            try:
                if log.life is not None:
                    former.append(path)
                elif os.stat(log.path).st_size:  # an empty one tells nothing
                    os.rename(log.path, path)
                    former.append(path)
            except OSError:
                pass  # it goes when the attempt of that number begins: see `LogFile.begin`
        for path in outdated(former, keep):
            _remove_if_possible(path)


def outdated(logs, keep):
    """Of logs, the oldest first, those that go where `keep` (0: all) stay: the first one, which often tells most, and the newest."""
    if not keep or len(logs) <= keep:
        return []
    return logs[1:len(logs) - keep + 1] if keep > 1 else logs[:-1]


def remove_outdated_logs(home, job, keep):
    """Remove the output of former attempts that goes once the job's present one has begun, where `keep` are kept (0: all)."""
    attempts = outdated(range(1, job.attempts + 1), keep)
    for attempt in reversed(attempts):
        if not _remove_if_possible(log_path(home, job, attempt)):
            return  # those before it are gone already


def _remove_if_possible(path):
    """Remove a file; whether it was there, and is gone."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def remove_logs(home, jobs):
    """Remove the output of these jobs. Raises OSError."""
    for logs in logs_by_stem(home, jobs).values():
        for log in logs:
            remove_file(log.path)


def remove_all_logs(home):
    """Remove all output, as far as the system allows."""
    from shutil import rmtree
    rmtree(logs_folder(home), ignore_errors=True)


def stray_logs(home, jobs):
    """The paths of the logs of no job. `jobs` gives all Jobs, after the look at the logs: a job is there before its log. Raises OSError."""
    folder = logs_folder(home)
    found: dict = {}
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        names = []
    for name in names:
        match = _OF_A_JOB.fullmatch(name)
        if match or _OF_A_WORKER.fullmatch(name):
            found.setdefault(match.group(1) if match else None, []).append(os.path.join(folder, name))
    for job in jobs if found.keys() - {None} else ():
        found.pop(stem_of(job), None)
    return sorted(path for paths in found.values() for path in paths)


def dropped_line(number):
    """The first line of a log from whose start so many bytes were dropped."""
    return b"[queuectl: %d bytes were dropped here, since the output exceeds max_output]\n" % number


def emptied_line(number):
    """The last line of a log that became shorter by so many bytes while its command ran."""
    return ("\n[queuectl: at least %d bytes are missing: this log was emptied while the command ran, as `> /dev/stderr` does; "
            "write `>&2`, or `tee -a`]\n" % number)


def dropped_at_start(descriptor):
    """(how many bytes were dropped from the start of a log, how long the line is that says so); (0, 0) if none were."""
    match = _DROPPED.match(pread(descriptor, 128, 0))
    return (int(match.group(1)), match.end()) if match else (0, 0)


def last_words(home, job):
    """The last few lines that the newest attempt of a job wrote, for the dead letter queue."""
    return last_lines(log_path(home, job, job.attempts)) if job.attempts else ""


def last_lines(path):
    """The last few lines of a log as text; "" if there is none."""
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        size = os.fstat(descriptor).st_size
        content = pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    except OSError:
        return ""  # no reason not to tell how the job ended
    finally:
        os.close(descriptor)
    return "\n".join(content.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
