"""Every fault that a user, a disk or another program can cause, its exit code, and the advice in its message.

The text of a QueueError is the line that the user reads; `main` alone catches it. What is no fault for a user stays where it is raised.
A message that names a command takes it from `hint`, so that it can be pasted; how the program was called `main` has said.
"""
from __future__ import annotations

import errno

from core.system import OPEN_FILES_MOVE, quote_words

# The exit codes of the program, which README lists; 0 is success.
EXIT_FAILED = 1  # something was refused or failed; or a job died that the command waited for
EXIT_USAGE = 2  # the command line, a field of a job or a setting was not understood
EXIT_BUG = 3
EXIT_UNKNOWN = 4  # a job was removed that the command waited for: how it ended is not known
EXIT_TIMEOUT = 124  # as timeout(1) has it: what the command waited for took too long
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports Ctrl+C


_called = {"spell": lambda: "queuectl"}  # a fact of the process, like sys.argv; `name_program` alone changes it


def name_program(spell):
    """Let the commands in messages begin with `spell()`, a text for the shell. It is asked once a message names a command."""
    _called["spell"] = spell


def typed(command, *ids):
    """A command as one types it to call this program again: `python3 main.py --home gpu worker stop` for "worker stop". Words in it that
    may hold blanks must be quoted already. Ids of jobs at its end are quoted here, and stand behind -- if one begins with a dash."""
    if ids:
        command += " " + "-- " * any(job_id.startswith("-") for job_id in ids) + quote_words(ids)
    return "%s %s" % (_called["spell"](), command)


def hint(command, *ids):
    """A command as `typed` has it, in quotes, for the middle of a sentence."""
    text = typed(command, *ids)
    return '"%s"' % text if "'" in text else "'%s'" % text


class QueueError(Exception):
    """A fault that a user, a disk or another program can cause."""

    exit_code = EXIT_FAILED


class UsageError(QueueError):
    """The command line, a field of a job or a setting is not usable as it was given."""

    exit_code = EXIT_USAGE


class InvalidSettings(UsageError):
    """config.json cannot be read as settings, or a value does not fit its setting."""


class JsonError(UsageError):
    """A text that is not JSON as RFC 8259 wants it, with the place of the fault (line and column, from 1)."""

    def __init__(self, what, text, position):
        self.what = what
        self.position = position
        self._place(text.count("\n", 0, position) + 1, position - (text.rfind("\n", 0, position) + 1) + 1)

    def _place(self, line, column):
        self.line, self.column = line, column
        super().__init__("line %d, column %d: %s" % (line, column, self.what))

    def behind(self, lines, columns):
        """This fault, of a text behind another one with so many line feeds, and so many characters behind the last one."""
        self._place(self.line + lines, self.column + columns * (self.line == 1))
        return self


class InvalidJob(UsageError):
    """A field of a job is missing or has a value that it cannot have; the message names the field."""


class NoQueue(QueueError):
    """There is no home where one was looked for."""


class JobNotFound(QueueError):
    """No job has that id."""


class JobRefused(QueueError):
    """The request was understood, but does not go with the jobs in the queue."""


class JobChanged(QueueError):
    """Another program has changed the job since it was read."""


class NotAllowed(QueueError):
    """The command is refused while workers run, or because none could run."""


class LockError(QueueError):
    """The lock file cannot be opened or locked."""


class CorruptFile(QueueError):
    """A job file does not hold an array of jobs; the message names the place. `path` is the file's, where it is known."""

    path = None


NOTHING, PART, ALL = range(3)  # how much of a change is in the file: see `JobFile.stored`


class StorageFault(QueueError):
    """The disk refused a read or a write. `path` is the file's, and `lacks_space` says that the disk is full. `effect` says how much was
    changed: "nothing", unless the Store has looked and says otherwise; `besides` adds to it."""

    path = None
    lacks_space = False
    effect = "nothing was changed"
    besides = ""

    def __str__(self):
        return "%s; %s%s" % (self.args[0], self.effect, self.besides)


class NotConfirmed(QueueError):
    """Everything is stored, but the disk did not confirm it, so that a power cut may undo it."""


_ADVICE = {errno.ENOSPC: "; free some space and try again", errno.EDQUOT: "; free some space and try again",
           errno.EFBIG: "; raise the limit on file sizes", errno.EIO: "; the disk may be failing: save a copy of the queue's folder",
           errno.EACCES: "; it must be readable and writable by you" + ", and another program may have it open" * (not OPEN_FILES_MOVE),
           errno.EPERM: "; it must be readable and writable by you", errno.EROFS: "; the queue needs a folder that can be written",
           errno.ELOOP: "; it must not be a symbolic link"}


def advice(error):
    """What can be done about an OSError, as the end of a sentence; "" if nothing is known."""
    return _ADVICE.get(error.errno, "")


def fault_text(error):
    """What the system refused, as an OSError tells it, with the file if it names one."""
    return "%s%s" % ("%s: " % error.filename if error.filename else "", error.strerror or error)


def storage_error(action, path, error):
    """A StorageFault for an OSError, with advice."""
    fault = StorageFault("cannot %s %s: %s%s" % (action, path, error.strerror or error, advice(error)))
    fault.path = path
    fault.lacks_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return fault


def not_confirmed(path, error):
    """A NotConfirmed for an fsync that failed."""
    return NotConfirmed("stored, but not confirmed on disk: %s: %s; check the disk before you trust it" % (path, error.strerror or error))


def rotten_record_error(place, fault, path=None):
    """A CorruptFile for a record that cannot be parsed, although the file's time and size are those of our own last change."""
    return CorruptFile("%sthe record whose second line is at byte %d does not read right (%s); the disk may be failing: %s "
                       "looks over all files" % ("%s: " % path if path else "", place, fault, hint("doctor")))


def not_utf8(fields):
    """An InvalidJob for fields of a job that no JSON file can hold: a byte that is not UTF-8 comes as a lone surrogate (PEP 383)."""
    for name, value in fields.items():
        inner = value.items() if type(value) is dict else enumerate(value, 1) if type(value) is list else ()
        for where, text in [(name, value)] + [("%s %s" % (name, key), item) for key, item in inner]:
            try:
                content = text.encode("utf-8", "surrogateescape") if type(text) is str else b""
                content.decode("utf-8")
            except UnicodeEncodeError:
                break  # a surrogate that stands for no byte, such as \ud800 in a JSON text
            except UnicodeDecodeError as error:
                byte = content[error.start]
                instead = "; in a shell's command, $(printf '\\%03o') stands for it" % byte if name == "command" else ""
                return InvalidJob("job %r: byte %d of its %s, 0x%02x, is not UTF-8, and no JSON file can hold it%s"
                                  % (fields["id"], error.start + 1, where, byte, instead))
    return InvalidJob("the job %r has characters that are not Unicode, which no JSON file can hold" % fields["id"])
