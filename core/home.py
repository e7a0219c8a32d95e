"""The home: the folder that holds a queue. Where it is, and whether commands may be run from it."""
from __future__ import annotations

import os

from core.errors import NotAllowed, QueueError


def find_home(given, environ, program):
    """The folder that holds the queue, as an absolute path: `given`, else $QUEUECTL_HOME, else the folder of the program
    (symbolic links resolved) when config.json stands beside it, else ~/.queuectl (DESIGN, "Where data lives")."""
    if given or environ.get("QUEUECTL_HOME"):
        return os.path.abspath(os.path.expanduser(given or environ["QUEUECTL_HOME"]))
    folder = os.path.dirname(os.path.realpath(program))
    if os.path.isfile(os.path.join(folder, "config.json")):
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
    """Refuse to run commands from files that others can write. Raises NotAllowed with the path and what mends it (DESIGN, "Where data
    lives"): who can write them can run commands as this user."""
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
