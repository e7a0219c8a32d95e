"""The worker files, run/worker-TOKEN.json: which worker processes there are, what each of their threads runs, and which are alive.

A worker process holds its file locked from before it has its name until it ends. So a file without a lock is of a process that died, and
what it notes tells whoever cleans up behind that process (`recovery`) what may still run. A file is written in place, one slot for each
thread, so that a note needs no room on the disk. Beside it lie worker-TOKEN.stop, which holds a request to stop, and worker-TOKEN.wake,
which wakes the process (`waiting`).

A process token is random, one for each process. An attempt token begins with the token of the process that claimed the attempt. Only
`attempt_token` and `split_attempt_token` know how.
"""
from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
from collections import namedtuple

from core.errors import StorageFault, storage_error
from core.slots import group_digest, without_slot
from core.locks import is_held, try_lock
from core.system import OPEN_FILES_MOVE, boot_id, make_folder, open_as_allowed, open_private, pread, pwrite, remove_file, short_write, wake
from core.times import format_time
from execution.process_tree import start_of

_SLOT_SIZE = 256  # bytes for what one thread runs; they divide a page, so that no write of one is torn
_LISTED = 64  # the last attempts of a thread, listed if they completed; the few count that are not recorded yet
_BESIDE = re.compile(r"(?:new-)?worker-([0-9A-Za-z]{12})(?:\.(stop|wake))?", re.ASCII)
_STARTING = 60.0  # seconds that the start of a worker process takes at most
_NO_REQUEST = b"none".ljust(15) + b"\n"

WorkerProcess = namedtuple("WorkerProcess", "process_token pid count started_at running path proof done waits groups",
                           defaults=(None, frozenset(), (), None))
WorkerProcess.__doc__ = """What a worker file tells of its process.

`running` is what each thread runs, as `WorkerFile.note` wrote it, or None. `done` are the serials of attempts that completed. `proof` is
whether the file was written under this boot of the system and is no copy: then the processes in it are those meant, and an attempt that
it does not note was never started. It is None for a file of a version that did not say so. `waits` are the jobs whose retry a thread waits
for, as pairs (place, digest). `groups` are those of which it takes jobs, None for all jobs.
"""

Noted = namedtuple("Noted", "job group number")
Noted.__doc__ = """What a worker file notes of an attempt that runs: the digest of its job, that of its group if it has a slot, and the
number of its worker, by which it goes if it has none."""


def new_process_token():
    """A random token for a worker process."""
    return os.urandom(6).hex()


def given_process_token(environ, folder):
    """The token that `WorkerManager.detach` has chosen for this process, else None."""
    token = environ.get("QUEUECTL_TOKEN", "")
    is_ours = len(token) == 12 and token.isascii() and token.isalnum()
    return token if is_ours and not os.path.exists(worker_path(folder, token)) else None


def attempt_token(process_token, serial):
    """The token of an attempt: that of the process which claims it, and a number which this process uses once. A claim adds the slot, if
    the job gets one (`core.slots.with_slot`)."""
    return "%s-%d" % (process_token, serial)


def split_attempt_token(token):
    """The two parts of an attempt token, besides its slot: (process token, serial). The first is "" without a token (None), the second None
    if a hand has written something else into the job file."""
    process_token, _, serial = without_slot(token or "").rpartition("-")
    return process_token, int(serial) if serial.isdecimal() and len(serial) < 20 else None


def worker_path(folder, process_token):
    """The path of the worker file of a process."""
    return os.path.join(folder, "worker-%s.json" % process_token)


def path_beside(path, ending):
    """The path of what lies beside a worker file: the request ("stop"), or what its process sleeps on ("wake")."""
    return path[:-len("json")] + ending


class WorkerFile:
    """The file of this worker process."""

    def __init__(self, folder, count, process_token=None, groups=None):
        """Make the file: from now on this process can be found. It takes jobs of these `groups` (names) alone, if they are given. Raises
        StorageFault, OSError."""
        self._groups = groups
        self.process_token = process_token or new_process_token()
        self.path = worker_path(folder, self.process_token)
        self._done = [(0, 0)] * count  # of each thread, as `note` writes it
        make_folder(folder, and_above=False)
        # The file for requests is there first, and has room for one: whoever sees this process can ask it to stop, on a full disk, too.
        requests = path_beside(self.path, "stop")
        self._requests = _make_file(requests, os.O_TRUNC, lambda descriptor: _NO_REQUEST)
        temporary = os.path.join(folder, "new-worker-%s" % self.process_token) if OPEN_FILES_MOVE else self.path
        try:
            self._descriptor = _make_file(temporary, os.O_EXCL, lambda descriptor: self._first_content(descriptor, count))
            if temporary != self.path:
                os.rename(temporary, self.path)
        except (OSError, StorageFault):
            os.close(self._requests)
            remove_file(requests)
            raise

    def _first_content(self, descriptor, count):
        """What the file holds at first. It is locked before it has its name, or where that cannot be, its content: without a lock it would
        be taken for one of a dead process."""
        while not try_lock(descriptor):  # another process looks whether this one is dead
            time.sleep(0.01)
        slots = [b"null".ljust(_SLOT_SIZE - 2) + (b",\n" if number < count - 1 else b"\n ") for number in range(count)]
        header = json.dumps({"pid": os.getpid(), "count": count, "started_at": format_time(time.time()), "boot": boot_id(),
                             "file": _identity(descriptor)})[:-1] + ', "running": ['
        # Behind the slots, since there may be many groups with long names.
        end = b"]}\n" if self._groups is None else b'], "groups": %s}\n' % json.dumps(list(self._groups)).encode("ascii")
        return header.encode("ascii").ljust(_SLOT_SIZE - 1) + b"\n" + b"".join(slots) + end

    def completed(self, number, token):
        """Let the next note of thread `number` say that the attempt with this token completed in it."""
        (_, serial), (last, bits) = split_attempt_token(token), self._done[number]
        newest = max(serial, last)
        self._done[number] = newest, (bits << newest - last | 1 << newest - serial) & ((1 << _LISTED) - 1)

    def note(self, number, attempt=None, waits=None):
        """Note which attempt thread `number` (from 0) runs, and which completed in it, for whoever has to clean up behind this process; and
        for people the job whose retry it `waits` for. The process group is 0 while it is not known. Raises OSError."""
        listed = '"done": [%d, %d]' % self._done[number]
        if attempt is None:
            text = "{%s}" % listed if waits is None else '{"waits": [%d, "%s"], %s}' % (waits.place, waits.digest, listed)
        else:
            start = start_of(attempt.pid, attempt.started) if attempt.pid else 0
            slot = '"limited": "%s", ' % group_digest(attempt.job.group or "") if attempt.slot is not None else ""
            text = '{"worker": "%s", "group": %d, "start": %d, "seen": %d, "job": "%s", %s%s}' % (
                attempt.job.worker, attempt.pid, start, start, attempt.digest, slot, listed)
        write_slot(self._descriptor, number, text)

    def request(self):
        """What someone has asked this process for: "stop", "now" (stop, and end the running jobs), or None. Raises OSError."""
        word = pread(self._requests, len(_NO_REQUEST), 0).strip().decode("ascii", "replace")
        return word if word in ("stop", "now") else None

    def remove(self):
        """Take the file away: this process has ended. Raises OSError."""
        os.close(self._requests)
        remove_worker_file(self.path, self._descriptor)


def _make_file(path, flags, content):
    """A new file with what `content(descriptor)` gives: its descriptor. Raises StorageFault, OSError, with no file left behind."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT | flags)
    try:
        text = content(descriptor)
        if os.write(descriptor, text) != len(text):
            raise short_write(len(text))
    except OSError as error:
        os.close(descriptor)
        remove_file(path)
        raise storage_error("write", path, error) from None
    return descriptor


def ask_to_stop(path, now):
    """Ask the worker process with that worker file to stop. Raises OSError."""
    descriptor = open_private(path_beside(path, "stop"), os.O_WRONLY | os.O_CREAT)
    try:
        pwrite(descriptor, (b"now" if now else b"stop").ljust(len(_NO_REQUEST)), 0)  # in place, which needs no space
    finally:
        os.close(descriptor)
    wake(path_beside(path, "wake"))


def write_slot(descriptor, number, text):
    """Write what thread `number` (from 0) runs into a worker file. Raises OSError."""
    pwrite(descriptor, text.encode("ascii").ljust(_SLOT_SIZE - 2), _SLOT_SIZE * (number + 1))


def remove_worker_file(path, descriptor):
    """Remove a worker file that this process holds locked by its descriptor, and what lies beside it. Raises OSError."""
    if not OPEN_FILES_MOVE:
        os.close(descriptor)  # where an open file cannot be removed; without a lock it does no harm meanwhile, since it lists no job
    try:
        for ending in ("stop", "wake", "json"):
            remove_file(path_beside(path, ending))
    finally:
        if OPEN_FILES_MOVE:
            os.close(descriptor)  # a locked one would say that this process is alive


def read_worker_file(descriptor, path):
    """The WorkerProcess that a worker file tells of. Of a file that cannot be understood only the token is known."""
    process_token = os.path.basename(path)[len("worker-"):-len(".json")]
    try:
        record = json.loads(pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8"))
        running = [slot if _is_slot(slot) else None for slot in record["running"]]
        count = min(int(record["count"]), len(record["running"]))  # there is a slot for each thread
        proof = None if "boot" not in record else (record["boot"], record.get("file")) == (boot_id(), _identity(descriptor))
        done, waits = _read_done(record["running"]), _read_waits(record["running"])
        return WorkerProcess(process_token, int(record["pid"]), count, str(record["started_at"]), running, path, proof, done, waits,
                             _read_groups(record.get("groups")))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return WorkerProcess(process_token, 0, 0, "", [], path)


def _identity(descriptor):
    """The device and inode of a file: a copy of it has others."""
    status = os.fstat(descriptor)
    return [status.st_dev, status.st_ino]


def _read_done(slots):
    """The serials of the attempts that these slots list as completed: [the last serial, a bit for each one from that back]."""
    pairs = [slot["done"] for slot in slots if type(slot) is dict and type(slot.get("done")) is list]
    return frozenset(last - back for last, bits in pairs for back in range(_LISTED) if bits >> back & 1)


def _read_waits(slots):
    """The jobs whose retry these slots say that their threads wait for, as pairs (place, digest)."""
    found = [slot["waits"] for slot in slots if type(slot) is dict and type(slot.get("waits")) is list]
    return tuple((pair[0], pair[1]) for pair in found if list(map(type, pair)) == [int, str])


def _read_groups(groups):
    """The groups that a worker file names; None if it names none."""
    return tuple(groups) if type(groups) is list and all(type(group) is str for group in groups) else None


def _is_slot(slot):
    """Whether `note` can have written this of an attempt. Above all, its process group is none that kill(2) takes for more than a group
    (0, -1) or that is init's (1)."""
    return (type(slot) is dict and type(slot.get("worker")) is str and slot["worker"].isascii() and type(slot.get("job")) is str
            and type(slot.get("group")) is int and (slot["group"] > 1 or slot["group"] == 0)
            and type(slot.get("start", 0)) is int and type(slot.get("seen", 0)) is int)


def worker_paths(folder):
    """The paths of all worker files, those of dead processes included."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name) for name in sorted(names) if name.startswith("worker-") and name.endswith(".json")]


def leftovers(folder):
    """The paths of what a worker process left that was killed while it started or ended: a file that had no name yet, or what lies beside a
    worker file that is gone. Nothing of the last minute is among them: a process may just be starting. Raises OSError."""
    tokens = {os.path.basename(path)[len("worker-"):-len(".json")] for path in worker_paths(folder)}
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        match, path = _BESIDE.fullmatch(name), os.path.join(folder, name)
        if match and match.group(1) not in tokens and _age(path) > _STARTING and not (match.group(2) is None and is_held(path)):
            found.append(path)
    return found


def _age(path):
    try:
        return time.time() - os.lstat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def open_if_there(path, to_look=False):
    """A descriptor of a worker file, one that cannot be written too `to_look`; None if it is gone, or is no file. Raises OSError."""
    try:
        descriptor = open_as_allowed(path, to_look)[0]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise
    is_file = False
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    finally:
        if not is_file:
            os.close(descriptor)
    return descriptor if is_file else None


def live_workers(folder):
    """The worker processes that are alive, as WorkerProcess records. Raises OSError."""
    return all_workers(folder, lambda descriptor: not try_lock(descriptor))


def all_workers(folder, is_wanted=lambda descriptor: True):
    """All worker processes that have a file, alive or dead, as WorkerProcess records; with `is_wanted(descriptor)`, those whose file it
    accepts. Raises OSError."""
    found = []
    for path in worker_paths(folder):
        descriptor = open_if_there(path, to_look=True)
        if descriptor is not None:
            try:
                if is_wanted(descriptor):
                    found.append(read_worker_file(descriptor, path))
            finally:
                os.close(descriptor)
    return found


def noted_attempts(folder, workers=all_workers):
    """The attempts that run by the files of these `workers`, also of dead ones, as {attempt token: Noted}. Raises OSError."""
    return {slot["worker"]: Noted(slot["job"], str(slot.get("limited")), number) for process in workers(folder)
            for number, slot in enumerate(process.running) if slot}
