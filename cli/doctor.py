"""`doctor`: checks every file of a home, and mends a broken job file."""
from __future__ import annotations

import os
from collections import namedtuple

from cli.context import notice
from cli.terminal import counted
from core.dependencies import find_cycle, told_circle
from core.errors import EXIT_FAILED, CorruptFile, QueueError, hint
from core.file_systems import remote_file_system
from core.home import CONFIG, DEAD_LETTERS, JOBS, LOGS, RUN, config_path, look_at_modes
from core.job import PENDING
from core.settings import DEFAULTS, settings_from, unknown_settings
from helpers import load_settings, printable, read_config
from storage.output import stray_logs
from storage.store import Store

# A finding about one file: its name, whether it is sound, a sentence, and whether `repair` can help.
Finding = namedtuple("Finding", "name sound text repairable", defaults=(False,))

_NAMED = 5  # files of one kind


def cmd_doctor(args, queue):
    """Check every file; with --repair, save what can be read of a broken job file."""
    from worker_manager import WorkerManager
    queue.refuse_absence()
    store = Store(queue.home, DEFAULTS, notice)  # config.json may be what is broken
    code = 0
    for finding in examine(queue.home, store, WorkerManager(queue.home, queue.config_path)):
        if finding.sound:
            print(printable("%s %s" % (finding.name, finding.text)))
        elif args.repair and finding.repairable:
            code = _repair(finding, queue, store) or code
        else:
            code = _tell(finding, finding.text)
    return code


def _tell(finding, text):
    """Print what is or was wrong with a file: the exit code for that."""
    print(printable("%s: %s" % (finding.name, text)))
    return EXIT_FAILED


def _repair(finding, queue, store):
    """Repair one job file: 0 if nothing of it was lost."""
    from cli.salvage import repair
    try:
        try:
            store.tidy(finding.name)
            store.examine(finding.name)
            _tell(finding, "mended; before, %s" % finding.text)
            return 0
        except CorruptFile:
            copy, saved, lost = repair(os.path.join(queue.home, finding.name), store)
    except (QueueError, OSError) as error:
        return _tell(finding, "cannot be repaired: %s" % error)
    if not saved:
        return _tell(finding, "saved 0 jobs: none in it can be read; it is empty now, and the file as it was is %s" % copy)
    _tell(finding, "saved %s; the file as it was is %s" % (counted(saved, "job"), copy))
    for sentence in lost:
        _tell(finding, "could not read %s" % sentence)
    return EXIT_FAILED if lost else 0


def examine(home, store, workers):
    """Findings about config.json, jobs.json, dlq.json, logs and run, in that order, and about the home if everyone can write it."""
    findings = [_examine_config(home), _examine_jobs(home, JOBS, store), _examine_jobs(home, DEAD_LETTERS, store),
                _examine_logs(home, store), _examine_run(home, workers)]
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
                           % (strange, stat.st_uid, belongs.st_uid, belongs.st_gid, quote(path)))
    return None


def _examine_modes(home):
    """A Finding, in a list, if everyone can write the home."""
    try:
        fault, warning = look_at_modes(home, lambda: load_settings(config_path(home)).trust_home)
    except QueueError:
        return []  # what cannot be looked at is told of by its name
    text = fault or warning
    return [Finding("home", fault is None, text if fault else "is not safe: " + str(text))] if text else []


def _examine_config(home):
    path = config_path(home)
    if not os.path.lexists(path):
        return Finding(CONFIG, True, "is not there; the defaults hold")
    try:
        record = read_config(path)
        settings_from(record, path)
    except QueueError as error:
        return Finding(CONFIG, False, str(error))
    unknown = unknown_settings(record)
    return Finding(CONFIG, True, "is sound, but %s" % "; ".join(unknown) if unknown else "is sound")


def _examine_jobs(home, name, store):
    path = os.path.join(home, name)
    if not os.path.lexists(path):
        return Finding(name, True, "is not there; it is made when it is needed")
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
        return Finding(name, False, told_circle(circle))
    return Finding(name, True, "is sound: %s" % counted(number, "job"))


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
    for entry in names:
        inside = os.path.join(path, entry)
        if os.path.islink(inside) or (os.path.exists(inside) and not os.path.isfile(inside)):
            return Finding(name, False, "%s is no file of ours: move it away" % inside)
    return Finding(name, True, "is sound: " + text % len(names))


def _examine_logs(home, store):
    finding = _examine_folder(home, LOGS, ".log", "%d logs")
    try:
        strays = stray_logs(home, store.all_jobs()) if finding.sound else ()
    except (QueueError, OSError):
        return finding  # which logs have a job cannot be known while a job file is broken
    return _with_leftovers(finding, strays, "of jobs that are gone")


def _with_leftovers(finding, paths, what):
    """A Finding about a folder, with these files in it that are left over named."""
    if not paths:
        return finding
    named = ", ".join([os.path.basename(path) for path in paths[:_NAMED]] + ["…"] * (len(paths) > _NAMED))
    return finding._replace(text="%s; left over: %s %s (%s), which %s removes"
                            % (finding.text, counted(len(paths), "file"), what, named, hint("clean")))


def _examine_run(home, workers):
    try:
        return _with_leftovers(_examine_workers(home, workers), workers.leftovers(), "of killed worker processes")
    except OSError as error:
        return Finding(RUN, False, "%s cannot be looked at: %s" % (error.filename or RUN, error.strerror))


def _examine_workers(home, workers):
    finding = _examine_folder(home, RUN, ".json", "%d worker files")
    remote = remote_file_system(home)
    if finding.sound and remote:
        return Finding(RUN, True, "is on a file system of another machine (%s), where locks may not hold; use the queue from one machine "
                       "alone" % remote)
    dead = len(workers.left_behind()) if finding.sound else 0
    if dead:
        return Finding(RUN, True, "holds %s of worker processes that died; the next %s returns their jobs"
                       % (counted(dead, "file"), hint("worker start")))
    return finding
