"""TODO: what this owns."""
from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections import namedtuple

from core.system import OPEN_FILES_MOVE, boot_id, make_folder, open_private, pread, pwrite, remove_file, try_lock, wake
from core.times import format_time
from execution.process_tree import start_of

SLOT_SIZE = 256  # bytes for what one thread runs; they divide a page, so that no write of one is torn
_LISTED = 64  # the last attempts that a thread lists as successful; few of them are not recorded yet
_NO_REQUEST = b"none".ljust(15) + b"\n"

WorkerProcess = namedtuple("WorkerProcess", "token pid count started_at running path proof done", defaults=(None, frozenset()))
WorkerProcess.__doc__ = """What a worker file tells. `done` are the numbers of attempts that have ended well. `proof`: whether what it notes
of processes, and does not note of jobs, is to be believed, since this very file was written under this boot of the system; None if the
version that wrote it noted too little for that."""


class WorkerFile:
    """The file of this worker process."""

    def __init__(self, folder, count, token=None):
        self.token = token or new_token()
        self.path = os.path.join(folder, "worker-%s.json" % self.token)
        make_folder(folder)
        # With room for a request, so that one can be made on a full disk; before this file gets its name, so that who sees it finds that.
        self._requests = open_private(_request_path(self.path), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.write(self._requests, _NO_REQUEST)
        temporary = os.path.join(folder, "new-worker-%s" % self.token) if OPEN_FILES_MOVE else self.path
        self._descriptor = open_private(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._succeeded = [(0, 0)] * count  # of each thread, as `note` writes it
        while not try_lock(self._descriptor):  # before it gets its name, or else its content: it would be taken for dead
            time.sleep(0.01)  # someone looks whether it is
        slots = [b"null".ljust(SLOT_SIZE - 2) + (b",\n" if number < count - 1 else b"\n ") for number in range(count)]
        header = json.dumps({"pid": os.getpid(), "count": count, "started_at": format_time(time.time()), "boot": boot_id(),
                             "file": _identity(self._descriptor)})[:-1] + ', "running": ['
        os.write(self._descriptor, header.encode("ascii").ljust(SLOT_SIZE - 1) + b"\n" + b"".join(slots) + b"]}\n")
        if temporary != self.path:
            os.rename(temporary, self.path)

    def succeeded(self, number, token):
        """The attempt with this token, which ran in thread `number`, has ended well: the next note of that thread says so."""
        serial, (last, bits) = int(token.rpartition("-")[2]), self._succeeded[number]
        newest = max(serial, last)
        self._succeeded[number] = newest, (bits << newest - last | 1 << newest - serial) & ((1 << _LISTED) - 1)

    def note(self, number, attempt=None):
        """Note what thread `number` (from 0) runs, for whoever has to clean up behind this process, with what has ended well before in it;
        the group is 0 while it is not known. Raises OSError."""
        listed = '"done": [%d, %d]' % self._succeeded[number]
        if attempt is None:
            text = "{%s}" % listed
        else:
            start = start_of(attempt.pid) if attempt.pid else 0
            text = '{"worker": "%s", "group": %d, "start": %d, "seen": %d, "job": "%s", %s}' % (
                attempt.job.worker, attempt.pid, start, start, attempt.digest, listed)
        pwrite(self._descriptor, text.encode("ascii").ljust(SLOT_SIZE - 2), SLOT_SIZE * (number + 1))

    def request(self):
        """What someone has asked this process for: "stop", "now" (and end the running jobs), or None. Raises OSError."""
        word = pread(self._requests, len(_NO_REQUEST), 0).strip().decode("ascii", "replace")
        return word if word in ("stop", "now") else None

    def remove(self):
        """Take the file away: this process has ended. Raises OSError."""
        os.close(self._requests)
        remove_worker_file(self.path, self._descriptor)


def _request_path(path):
    """Where a request is put for the worker process with that worker file."""
    return path[:-len("json")] + "stop"


def ask_to_stop(path, now):
    """Ask the worker process with that worker file to stop. Raises OSError."""
    descriptor = open_private(_request_path(path), os.O_WRONLY | os.O_CREAT)
    try:
        pwrite(descriptor, (b"now" if now else b"stop").ljust(len(_NO_REQUEST)), 0)  # in place, which needs no space
    finally:
        os.close(descriptor)
    wake(path[:-len("json")] + "wake")


def new_token():
    """A random token for a worker process."""
    return os.urandom(6).hex()


def given_token(environ, folder):
    """The token that `detach` has chosen for this process, else None."""
    token = environ.get("QUEUECTL_TOKEN", "")
    is_ours = len(token) == 12 and token.isascii() and token.isalnum()
    return token if is_ours and not os.path.exists(os.path.join(folder, "worker-%s.json" % token)) else None


def remove_worker_file(path, descriptor):
    """Remove a worker file that is ours, by its locked descriptor, and what lies beside it."""
    if not OPEN_FILES_MOVE:
        os.close(descriptor)  # one without a lock that lists no job does no harm meanwhile
    try:
        for ending in ("stop", "wake", "json"):
            remove_file(path[:-len("json")] + ending)
    finally:
        if OPEN_FILES_MOVE:
            os.close(descriptor)  # a locked one would say that this process is alive


def read_worker_file(descriptor, path):
    """The WorkerProcess that a worker file tells of, with what each thread notes, or None; one that does not read right tells nothing but
    its token."""
    token = os.path.basename(path)[len("worker-"):-len(".json")]
    try:
        record = json.loads(pread(descriptor, 1 << 22, 0).decode("utf-8"))
        running = [slot if _is_slot(slot) else None for slot in record["running"]]
        count = min(int(record["count"]), len(record["running"]))  # there is a slot for each thread
        proof = None if "boot" not in record else (record["boot"], record.get("file")) == (boot_id(), _identity(descriptor))
        done = _read_done(record["running"])
        return WorkerProcess(token, int(record["pid"]), count, str(record["started_at"]), running, path, proof, done)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return WorkerProcess(token, 0, 0, "", [], path)


def _identity(descriptor):
    """What tells a file from any copy of it."""
    status = os.fstat(descriptor)
    return [status.st_dev, status.st_ino]


def _read_done(slots):
    """The numbers of the attempts that these slots list as successful: a bit each, from the last one on back."""
    pairs = [slot["done"] for slot in slots if type(slot) is dict and type(slot.get("done")) is list]
    return frozenset(last - back for last, bits in pairs for back in range(_LISTED) if bits >> back & 1)


def _is_slot(slot):
    """Whether this is what `note` has written of an attempt: above all, no number of a group that means something else to the system (1,
    -1)."""
    return (type(slot) is dict and type(slot.get("worker")) is str and slot["worker"].isascii() and type(slot.get("job")) is str
            and type(slot.get("group")) is int and (slot["group"] > 1 or slot["group"] == 0)
            and type(slot.get("start", 0)) is int and type(slot.get("seen", 0)) is int)


def worker_files(folder):
    """The paths of all worker files, those of dead processes included."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name) for name in sorted(names) if name.startswith("worker-") and name.endswith(".json")]


def open_if_there(path):
    """A descriptor of a worker file, or None if it is gone, or is none: a folder, a link, a FIFO."""
    try:
        descriptor = open_private(path, os.O_RDWR)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    if not is_file:
        os.close(descriptor)
        return None
    return descriptor


def all_workers(folder):
    """All worker processes that have a file, alive or dead, as WorkerProcess records."""
    found = []
    for path in worker_files(folder):
        descriptor = open_if_there(path)
        if descriptor is not None:
            try:
                found.append(read_worker_file(descriptor, path))
            finally:
                os.close(descriptor)
    return found


def live_workers(folder):
    """The worker processes that are alive, as WorkerProcess records."""
    found = []
    for path in worker_files(folder):
        descriptor = open_if_there(path)
        if descriptor is not None:
            try:
                if not try_lock(descriptor):
                    found.append(read_worker_file(descriptor, path))
            finally:
                os.close(descriptor)
    return found
