"""The home: the folder that holds a queue. Which folder that is, the path of each file in it, and whether commands may be run from it.

No other module puts such a path together, but for the names in two folders: execution/worker_files.py gives those in run/ that belong to a
worker process, and storage/output.py those in logs/.
"""
from __future__ import annotations

import os
import stat

from core.errors import NotAllowed, QueueError, UsageError, typed
from core.system import quote_words, wake

JOBS, DEAD_LETTERS, CONFIG, RUN, LOGS = "jobs.json", "dlq.json", "config.json", "run", "logs"


def _in_home(*names):
    return lambda home: os.path.join(home, *names)


# The path of each, by the path of the home.
jobs_path = _in_home(JOBS)
dead_letters_path = _in_home(DEAD_LETTERS)
config_path = _in_home(CONFIG)
paused_path = _in_home("paused")  # a file that is there while the queue is paused
paused_groups_path = _in_home("paused-groups")  # the names of the groups which are paused, one a line
logs_folder = _in_home(LOGS)  # what jobs have written
run_folder = _in_home(RUN)  # the lock, and a few files of each worker process; it may be removed while no process uses the queue
lock_path = _in_home(RUN, "lock")  # the file that is locked for each change of the queue
worker_log_path = _in_home(RUN, "worker.log")  # what background workers print, and what on_finish prints


def wake_workers(home):
    """Make the idle worker processes of a home look for jobs at once; whether there is a worker process (see `wake`)."""
    folder = run_folder(home)
    try:
        names = os.listdir(folder)
    except OSError:
        return False  # nobody has ever worked here; or the folder cannot be read now, and workers look by themselves within a second
    return sum(wake(os.path.join(folder, name)) for name in names if name.endswith(".wake")) > 0


def find_home(given, environ, program):
    """The folder that holds the queue, as an absolute path: `given`, else $QUEUECTL_HOME, else the folder of the program
    (symbolic links resolved) when config.json stands beside it, else ~/.queuectl. Raises UsageError, QueueError."""
    if given == "":
        raise UsageError("--home is empty; name a folder, or leave it out")  # `--home "$UNSET" reset` must not take another queue
    if given or environ.get("QUEUECTL_HOME"):
        return os.path.abspath(_expand_user(given or environ["QUEUECTL_HOME"]))
    folder = os.path.dirname(os.path.realpath(program))
    if os.path.isfile(config_path(folder)):
        return folder
    return os.path.join(_expand_user("~"), ".queuectl")


def _expand_user(path):
    """A path with `~` or `~user` at its start replaced by that user's folder. Raises QueueError where it is not known: a folder of the
    name `~` would be another queue in each folder."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise QueueError("the folder of the user (%s) is not known, since neither HOME nor the system says it; name a queue with --home"
                         % path.partition(os.sep)[0])
    return expanded


def check_owner(paths):
    """Refuse to work with files of another user, root's excepted: either they could run commands as this user, or what this user adds
    runs as them. Raises QueueError with all such paths and what to do."""
    faults = _owner_faults(paths)
    if faults:
        raise QueueError("; ".join(faults))


def check_safe(home, trusts_home):
    """Refuse to run commands from files of another user, or that everyone can write. Raises NotAllowed with all that is wrong and what
    mends it. Gives back the warning of `look_at_modes`, if any."""
    faults = _owner_faults(_paths(home))
    fault, warning = look_at_modes(home, trusts_home)
    if fault:
        faults.append(fault)
    if faults:
        raise NotAllowed("; ".join(faults))
    return warning


def look_at_modes(home, trusts_home):
    """What is wrong if everyone can write the home, and so run commands as this user: (a fault with what mends it, a warning), one of which
    is None, or both.

    Where the file system keeps no modes (`keeps_modes`) no command mends that, and it is a warning if `trusts_home()`. Elsewhere that
    setting means nothing, since who can write the home could set it.
    """
    from core.file_systems import keeps_modes
    writable = [path for path in _paths(home) if _is_writable_by_everyone(path)]
    if not writable:
        return None, None
    if keeps_modes(home):
        return "%s can be written by everyone, who could run commands as you; chmod o-w %s mends it" % (
            " and ".join(writable), quote_words(writable)), None
    exposed = ("%s is on a file system that keeps no modes, so that everyone on this machine can write it, and could run commands as you"
               % home)
    if trusts_home():
        return None, exposed + "; the setting trust_home allows it"
    return exposed + ("; use a home elsewhere (--home, QUEUECTL_HOME), or, if you trust everyone on this machine: "
                      + typed("config set trust_home true")), None


def _paths(home):
    return [home, jobs_path(home), config_path(home)]


def _owner_faults(paths):
    """A sentence for each of these paths that belongs to another user than root or this one."""
    if not hasattr(os, "geteuid"):
        return []  # a system that knows no owners as numbers
    owners = [(path, status.st_uid) for path, status in zip(paths, map(_status, paths)) if status is not None]
    return ["%s belongs to another user, as whom jobs would run, or who could run some as you; choose a home of your own with --home, or "
            "be that user (sudo -u '#%d' ...), or: chown %d %s" % (path, owner, os.geteuid(), quote_words([path]))
            for path, owner in owners if owner not in (os.geteuid(), 0)]


def _is_writable_by_everyone(path):
    """Whether everyone can write a file or a folder; a device (a link to /dev/null) holds no commands."""
    status = _status(path) if hasattr(os, "geteuid") else None  # Windows' modes mean something else
    return status is not None and bool(status.st_mode & 0o002) and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))


def _status(path):
    """What the system tells of a file; None if there is none. Raises QueueError."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise QueueError("cannot look at %s: %s" % (path, error.strerror)) from None
