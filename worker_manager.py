"""Worker processes from outside: how they are found, started in the background, stopped, and succeeded when they die.

A worker process is a file `run/worker-TOKEN.json`, locked for as long as the process lives. The held lock, not the pid in it, says that
it is alive; one that is not locked is a crash left behind, and whoever finds it first returns its jobs. The token is random, since a
restarted container has the same pids. Beside it lie `.stop`, which is made with it and has room for a request to stop, and `.wake`, a FIFO
that ends the wait for the next look.
"""
from __future__ import annotations

import errno
import json
import os
import signal
import stat
import time
from collections import namedtuple
from contextlib import suppress

from helpers import QueueError, check_owner, fault_text, format_time, log
from job import COMPLETED, LOST, PENDING, Outcome
from job_runner import PATIENCE, last_lines, log_path, young_log_path
from launcher import start_detached
from process_tree import LostTree, Sight, is_denied, start_of
from system import OPEN_FILES_MOVE, allow_open_files, boot_id, make_folder, open_private, pread, pwrite, remove_file, try_lock, wake

_SLOT = 256  # bytes for what one thread runs; they divide a page, so that no write of one is torn
_LISTED = 64  # the last attempts that a thread lists as successful; few of them are not recorded yet
_FILES = 64  # that a worker process has open besides those of its workers, some inherited ones and looks at other workers included
_FILES_A_WORKER = 4  # its log, the same for the job, and a pipe while that is started
_NO_REQUEST = b"none".ljust(15) + b"\n"
_LOST_GRACE = 2.0  # seconds between TERM and KILL for the tree of a dead worker; its jobs are to run again within five

WorkerProcess = namedtuple("WorkerProcess", "token pid count started_at running path proof done", defaults=(None, frozenset()))
WorkerProcess.__doc__ = """What a worker file tells. `done` are the numbers of attempts that have ended well. `proof`: whether what it notes
of processes, and does not note of jobs, is to be believed, since this very file was written under this boot of the system; None if the
version that wrote it noted too little for that."""


class NotAllowed(QueueError):
    """Something that is refused while workers run, or because none can."""


# ---------------------------------------------------------------- worker files

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
        slots = [b"null".ljust(_SLOT - 2) + (b",\n" if number < count - 1 else b"\n ") for number in range(count)]
        header = json.dumps({"pid": os.getpid(), "count": count, "started_at": format_time(time.time()), "boot": boot_id(),
                             "file": _identity(self._descriptor)})[:-1] + ', "running": ['
        os.write(self._descriptor, header.encode("ascii").ljust(_SLOT - 1) + b"\n" + b"".join(slots) + b"]}\n")
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
        pwrite(self._descriptor, text.encode("ascii").ljust(_SLOT - 2), _SLOT * (number + 1))

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


# ---------------------------------------------------------------- what a dead worker left

class DeadWorker:
    """The file of a dead worker process, held locked by us, and what is to be done about its jobs.

    Without a descriptor: jobs that nobody runs although they are marked so. `runs(worker)` tells whether someone runs a token's job.
    """

    def __init__(self, descriptor, process, home, runs=None):
        self.process = process
        self._runs = runs or (lambda worker: worker.rpartition("-")[0] != process.token)
        self._descriptor = descriptor
        self._home = home
        self._since = time.monotonic()
        self._left = None  # (job, LostTree) pairs; the job None for a tree whose job was taken away
        self._ran = frozenset()  # the tokens of the attempts that it had noted to run when it died

    def step(self, jobs, ended=None, say=log):
        """End what still runs of its attempts, and return its jobs once nothing does; False while there is more to do. `ended(job)` is
        called for each job that was returned or died, `say(message)` for what has to be known, which may be the same again and again."""
        if self._left is None:
            self._left = self._look(jobs)
        waited = time.monotonic() - self._since
        sight = Sight(self._home, self._spared()) if any(tree is not None for _, tree in self._left) else None
        still = [(job, tree) for job, tree in self._left if tree is not None and self._holds(job, tree, sight, waited, say)]
        for job, _ in self._left:
            if job is not None and job not in [held for held, _ in still]:
                self._return(jobs, job, ended)
        self._left = still
        if still:
            return False
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None  # given back, also if the file cannot be removed now
            remove_worker_file(self.process.path, descriptor)
        return True

    def _spared(self):
        """The pids of worker processes, which the attempt may have started."""
        return {os.getpid()}.union(worker.pid for worker in live_workers(os.path.join(self._home, "run")))

    def _holds(self, job, tree, sight, waited, say):
        """Signal what is left of an attempt; whether its job is to wait for that: as long as something runs that is provably its own, and
        for some seconds for what may be its own."""
        left = tree.signal(sight, _urgency(waited), None if waited < PATIENCE else _urgency(waited - PATIENCE))
        self._note_seen(tree)
        name, late = job.id if job is not None else "a job", waited >= PATIENCE
        if left.own or left.held:
            if late:
                named = _named(left.own) or " (who has its output open cannot be seen)"
                say("%s: processes of the attempt that was lost still run%s; it is not started beside them" % (name, named))
            return True
        if left.unsure and late:
            say("%s: processes that may be of the attempt that was lost still run%s; it is not waited for them any longer"
                % (name, _named(left.unsure)))
        return bool(left.unsure) and not late

    def _note_seen(self, tree):
        """Note what was seen of a tree while it was proven, for whoever comes if we die, too, before it has ended."""
        for thread, slot in enumerate(self.process.running):
            if self._descriptor is not None and slot and slot["worker"] == tree.token and 0 < slot.get("seen", 0) < tree.seen:
                slot["seen"] = tree.seen
                with suppress(OSError):
                    pwrite(self._descriptor, json.dumps(slot).encode("ascii").ljust(_SLOT - 2), _SLOT * (thread + 1))

    def _look(self, jobs):
        left = jobs.abandoned(self._runs)
        slots = {slot["worker"]: slot for slot in self.process.running if slot}
        self._ran = frozenset(slots)
        self._name_logs(left)
        trees = [(job, self._tree(job.worker, slots.pop(job.worker, None), self._log(job))) for job in left]
        return trees + [(None, self._tree(worker, slot, "")) for worker, slot in slots.items()]

    def _tree(self, worker, slot, path):
        """What may run of an attempt; None if it has ended well, since that may leave something, or was never started."""
        if self._fate(worker) != LOST:
            return None
        if not slot or not self.process.proof:
            return LostTree(worker, path, slot["group"] if slot else 0)
        return LostTree(worker, path, slot["group"], slot.get("start", 0), slot.get("seen", 0))

    def _fate(self, worker):
        """What became of an attempt that was claimed under a token: COMPLETED, PENDING (it was not started), or LOST without proof."""
        serial = worker.rpartition("-")[2]
        if worker in self._ran or not self.process.pid:
            return LOST
        if serial.isdigit() and int(serial) in self.process.done:
            return COMPLETED
        return LOST if self.process.proof is False else PENDING

    def _log(self, job):
        return log_path(self._home, job, job.attempts)

    def _name_logs(self, left):
        """Give the young logs of the jobs that ran their own names, and remove the others."""
        logs = {job.worker: self._log(job) for job in left}
        for thread, slot in enumerate(self.process.running):
            young, own = young_log_path(self._home, self.process.token, thread), logs.get(slot["worker"]) if slot else None
            if own is None:
                remove_file(young)
            elif os.path.exists(young):
                os.replace(young, own)  # also over one from before a retry, as `LogFile.begin` does

    def _return(self, jobs, job, ended):
        fate = self._fate(job.worker)
        if fate == PENDING:
            jobs.record(job, None, time.time())  # claimed, and not started
            return
        if fate == COMPLETED:
            after, what = jobs.record(job, Outcome(0, None), time.time())[0], "it had completed"
        else:
            after = jobs.lose(job, time.time(), last_lines(self._log(job)))
            what = "it runs again" if after is not None and after.state == PENDING else "moved to the dead letter queue"
        if after is not None:
            log("%s: its worker%s died; %s" % (job.id, " (pid %d)" % self.process.pid if self.process.pid else "", what))
            if ended is not None:
                ended(after)


def _urgency(seconds):
    """The signal for what was asked to end so many seconds ago."""
    return signal.SIGTERM if seconds < _LOST_GRACE else getattr(signal, "SIGKILL", signal.SIGTERM)


def _named(pids):
    """Processes by their pids, with what is to be known of them, for a message; "" without any."""
    if not pids:
        return ""
    foreign = " of another user, which must end by themselves" if any(map(is_denied, pids)) else ""
    return " (pid %s%s)" % (", ".join(map(str, pids)), foreign)


# ---------------------------------------------------------------- what commands use

class WorkerManager:
    """The worker processes of one home."""

    def __init__(self, home, config_path):
        self._home = home
        self._config_path = config_path
        self._folder = os.path.join(home, "run")

    def start(self, jobs, count, drain, environ, runner=None):
        """Be a worker process for a JobManager, with `count` workers, until stopped; with `drain`, until nothing is left that could run.
        `runner` (words) takes the setting's place.
        The exit code: 0, or 1 if a job died while draining, if a result could not be recorded, or if on_finish was given up for a job."""
        from supervisor import Supervisor
        return Supervisor(self._home, jobs, self._config_path, environ, count, drain, runner).run()

    def detach(self, command, environ):
        """Start a worker process in the background by running `command`; its pid once it is up. Raises NotAllowed if it is not."""
        make_folder(self._folder)
        token = new_token()
        path = os.path.join(self._folder, "worker.log")
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            # Known by its token, not by its pid: the Python of a virtual environment, say, may start another one.
            # And it is no part of an attempt that may have started it.
            process = start_detached(command, dict(environ, QUEUECTL_TOKEN=token, QUEUECTL_WORKER=""), descriptor)
        finally:
            os.close(descriptor)
        while process.poll() is None:
            for worker in self.running():
                if worker.token == token:
                    return worker.pid
            time.sleep(0.02)
        if process.returncode == 0:
            return process.pid  # it has drained the queue already
        raise NotAllowed("the worker process ended at once with exit code %d; see %s" % (process.returncode, path))

    def running(self):
        """The worker processes that are alive."""
        return live_workers(self._folder)

    def left_behind(self):
        """The paths of the files of worker processes that died."""
        alive = [worker.path for worker in self.running()]
        return [path for path in worker_files(self._folder) if path not in alive]

    def stop(self, now, timeout):
        """Ask all worker processes to stop, and wait until they have. Gives back those that stopped, and those that still run after
        `timeout` seconds (None: however long it takes). With `now` their jobs are ended and go back to the queue."""
        asked, faults = self.running(), []
        for worker in asked:
            try:
                ask_to_stop(worker.path, now)
            except OSError as error:
                faults.append("cannot ask worker process %d to stop: %s; it also stops with: kill %d"
                              % (worker.pid, fault_text(error), worker.pid))
        if faults:  # once all others are asked
            raise NotAllowed("; ".join(faults))
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            tokens = {worker.token for worker in self.running()}
            left = [worker for worker in asked if worker.token in tokens]
            if not left or (deadline is not None and time.monotonic() >= deadline):
                return [worker for worker in asked if worker.token not in tokens], left
            time.sleep(0.05)

    def refuse_if_running(self, what):
        """Raise NotAllowed if a worker process runs."""
        running = self.running()
        if running:
            raise NotAllowed("%s is refused while a worker process runs (pid %s); 'queuectl worker stop' first"
                             % (what, ", ".join(str(worker.pid) for worker in running)))


def check_open_files(count):
    """Make sure that so many workers can have their files open. Raises NotAllowed with what would do."""
    wanted = _FILES + count * _FILES_A_WORKER
    allowed = allow_open_files(wanted)
    if allowed is not None:
        fewer = (allowed - _FILES) // _FILES_A_WORKER
        raise NotAllowed("%d workers need %d open files, and the system allows %d; %sallow more with: ulimit -n %d"
                         % (count, wanted, allowed, "start fewer with --count %d, or " % fewer if fewer > 0 else "", wanted))


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
