"""Every fault that a user, a disk or another program can cause: its exit code, and what to do about it.

The text of a QueueError is the line that the user reads. `main` alone catches it.
"""
from __future__ import annotations

import errno

from core.system import OPEN_FILES_MOVE


class QueueError(Exception):
    """A fault that a user, a disk or another program can cause; its text is the line that the user reads."""

    exit_code = 1


class UsageError(QueueError):
    """The command line, a field of a job or a setting is not usable as it was given."""

    exit_code = 2


class InvalidSettings(UsageError):
    """config.json cannot be read as settings, or a value does not fit its setting."""


def fault_text(error):
    """What the system refused, as an OSError tells it, with the file if one is named."""
    return "%s%s" % ("%s: " % error.filename if error.filename else "", error.strerror or error)


class JsonError(UsageError):
    """A text that is not JSON as RFC 8259 wants it, with the place of the fault (line and column, from 1)."""

    def __init__(self, what, text, position):
        self.what = what
        self.line = text.count("\n", 0, position) + 1
        self.column = position - (text.rfind("\n", 0, position) + 1) + 1
        super().__init__("line %d, column %d: %s" % (self.line, self.column, what))


class InvalidJob(UsageError):
    """A field of a job is missing or has a value that it cannot have; the message names the field."""


class CorruptFile(QueueError):
    """A job file does not hold an array of jobs; its message names the place. `path` is the file's, where that is known."""

    path = None


def rotten_record_error(place, fault, path=None):
    """A CorruptFile for a record that `parse_record` refuses, although the file's time and size are those of the last change of ours."""
    return CorruptFile("%sthe record whose second line is at byte %d does not read right (%s); the disk may be failing: 'queuectl doctor' "
                       "looks over all files" % ("%s: " % path if path else "", place, fault))


class LockError(QueueError):
    """The lock file cannot be opened or locked."""


NOTHING, PART, ALL = range(3)  # how much of a change is in the file: see `JobFile.stored`
_ADVICE = {errno.ENOSPC: "; free some space and try again", errno.EDQUOT: "; free some space and try again",
           errno.EFBIG: "; raise the limit on file sizes", errno.EIO: "; the disk may be failing: save a copy of the queue's folder",
           errno.EACCES: "; it must be readable and writable by you" + ", and another program may have it open" * (not OPEN_FILES_MOVE),
           errno.EPERM: "; it must be readable and writable by you", errno.EROFS: "; the queue needs a folder that can be written",
           errno.ELOOP: "; it must not be a symbolic link"}


class StorageFault(QueueError):
    """The disk refused a read or a write. `path` is the file's; `effect` says what has become of what was asked for, and is put right by
    whoever has looked; `besides` is added to that. `lacks_space` says that the disk is full."""

    path = None
    lacks_space = False
    effect = "nothing was changed"
    besides = ""

    def __str__(self):
        return "%s; %s%s" % (self.args[0], self.effect, self.besides)


class NotConfirmed(QueueError):
    """Everything is stored, but the disk did not confirm it, so that a power cut may undo it."""


def storage_error(action, path, error):
    """A StorageFault for an OSError, with what can be done about it."""
    fault = StorageFault("cannot %s %s: %s%s" % (action, path, error.strerror, _ADVICE.get(error.errno, "")))
    fault.path = path
    fault.lacks_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return fault


def not_confirmed(path, error):
    """A NotConfirmed for an fsync that failed."""
    return NotConfirmed("stored, but not confirmed on disk: %s: %s; check the disk before you trust it" % (path, error.strerror))


class JobRefused(QueueError):
    """What is asked for was understood, but cannot be done with the jobs that there are."""


class JobChanged(QueueError):
    """A job is not what it was when it was read."""


class JobNotFound(QueueError):
    """No job has that id."""


class NotAllowed(QueueError):
    """Something that is refused while workers run, or because none can."""
