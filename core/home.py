"""The home: the folder that holds a queue. Which folder that is, the path of each file in it, and whether commands may be run from it.

No other module puts such a path together, but for the names in two folders: execution/worker_files.py gives those in run/ that belong to a
worker process, and storage/output.py those in logs/.
"""
from __future__ import annotations

import os

from core.errors import NotAllowed, QueueError
from core.system import wake

JOBS, DEAD_LETTERS, CONFIG, RUN, LOGS = "jobs.json", "dlq.json", "config.json", "run", "logs"


def jobs_path(home):
    """The path of the job file."""
    return os.path.join(home, JOBS)


def dead_letters_path(home):
    """The path of the dead letter queue."""
    return os.path.join(home, DEAD_LETTERS)


def config_path(home):
    """The path of the settings."""
    return os.path.join(home, CONFIG)


def paused_path(home):
    """The path of the file that is there while the queue is paused."""
    return os.path.join(home, "paused")


def logs_folder(home):
    """The folder of what jobs have written."""
    return os.path.join(home, LOGS)


def run_folder(home):
    """The folder of what running processes need: their lock, and a few files of each worker process. It may be removed while no process
    uses the queue."""
    return os.path.join(home, RUN)


def lock_path(home):
    """The path of the file that is locked for each change of the queue."""
    return os.path.join(home, RUN, "lock")


def worker_log_path(home):
    """The path of the file that holds what background workers print, and what on_finish prints."""
    return os.path.join(home, RUN, "worker.log")


def wake_workers(home):
    """Make the idle worker processes of a home look for jobs at once."""
    folder = run_folder(home)
    try:
        names = os.listdir(folder)
    except OSError:
        return  # nobody has ever worked here; or the folder cannot be read now, and workers look by themselves within a second
    for name in names:
        if name.endswith(".wake"):
            wake(os.path.join(folder, name))


def find_home(given, environ, program):
    """The folder that holds the queue, as an absolute path: `given`, else $QUEUECTL_HOME, else the folder of the program
    (symbolic links resolved) when config.json stands beside it, else ~/.queuectl."""
    if given or environ.get("QUEUECTL_HOME"):
        return os.path.abspath(os.path.expanduser(given or environ["QUEUECTL_HOME"]))
    folder = os.path.dirname(os.path.realpath(program))
    if os.path.isfile(config_path(folder)):
        return folder
    return os.path.join(os.path.expanduser("~"), ".queuectl")


def check_owner(paths):
    """Refuse to work with files of another user, root's excepted: either they could run commands as this user, or what this user adds
    runs as them. Raises QueueError with the path and what to do."""
    if not hasattr(os, "geteuid"):
        return  # a system that knows no owners as numbers
    for path in paths:
        try:
            owner = os.stat(path).st_uid
        except FileNotFoundError:
            continue
        except OSError as error:
            raise QueueError("cannot look at %s: %s" % (path, error.strerror)) from None
        if owner not in (os.geteuid(), 0):
            from shlex import quote
            raise QueueError("%s belongs to another user, as whom jobs would run, or who could run some as you; choose a home of your own "
                             "with --home, or be that user (sudo -u '#%d' ...), or: chown %d %s"
                             % (path, owner, os.geteuid(), quote(path)))


def check_safe(paths):
    """Refuse to run commands from files that others can write, since they could run commands as this user. Raises NotAllowed with the
    path and what mends it."""
    check_owner(paths)
    if not hasattr(os, "geteuid"):
        return  # nor has it modes that mean something
    from shlex import quote
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        if status.st_mode & 0o002:
            raise NotAllowed("%s can be written by everyone, who could run commands as you; chmod o-w %s mends it" % (path, quote(path)))
