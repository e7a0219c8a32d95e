"""One attempt of one job: its process tree, its output, and how it ended. Knows nothing of the queue.

The command runs through the shell, behind its runner if it has one, in a session of its own (so that Ctrl+C in the worker's terminal does
not reach it), with stdin from the null device and both streams to one log file. A file, not a pipe: a grandchild that keeps it open must
not hang the worker.
"""
from __future__ import annotations

import errno
import os
import re
import time
from _thread import allocate_lock
from collections import namedtuple

import helpers
from job import FAILED, KILLED, LOST, TIMEOUT, UNSTARTABLE, InvalidJob, Outcome, option_faults, runner_words, time_limit
from launcher import encode_environ, lacks_room, start_detached
from process_tree import HAS_PROC, KILL, TERM, Tree, is_denied, signal_group
from system import OPEN_FILES_MOVE, is_held, leave_append_mode, make_folder, open_private, pread, pwrite, remove_file, try_lock, unlock

_OURS = os.O_RDWR | (os.O_APPEND if OPEN_FILES_MOVE else 0)  # how a log is opened that the next attempt may inherit
_UNSAFE = re.compile(r"[^0-9A-Za-z_-]+")
STOPPED = "stopped"  # why an attempt was ended that goes back to the queue
PATIENCE = 10.0  # seconds to wait for processes that have left a tree on purpose
_LOOK_AGAIN = 1.0  # seconds until it is tried again to start something for which there was no room
_TAIL_BYTES = 4096
_TAIL_LINES = 10


# ---------------------------------------------------------------- output

# The names of logs, here and nowhere else: STEM.ATTEMPT.log; once a job was brought back, those of the life before it are
# STEM.LIFE-ATTEMPT.log, LIFE from 1 on. A life is what lies between two retries; attempts are counted from 1 in each.
_LOG_NAME = re.compile(r"([^.]+)\.(?:([1-9][0-9]*)-)?([1-9][0-9]*)\.log", re.ASCII)

# A log that is there. `life` is None for the present one.
Log = namedtuple("Log", "life attempt path")


def _log_stem(job_id, digest):
    """The start of a job's log names: readable, safe on every file system, unlike any other job's."""
    return "%s-%s" % (job_id[:40] if job_id.isalnum() and job_id.isascii() else _UNSAFE.sub("_", job_id)[:40], digest)


def _log_path(home, job_id, digest, attempt):
    return "%s%slogs%s%s.%d.log" % (home, os.sep, os.sep, _log_stem(job_id, digest), attempt)


def log_path(home, job, attempt):
    """Where the output of an attempt (from 1) of a job is kept, of its present life."""
    return _log_path(home, job.id, job.digest, attempt)


def young_log_path(home, process, number):
    """Where the output of thread `number` (from 0) of a worker process is, by its token, while the attempt is too young for a log of its
    own name."""
    return os.path.join(home, "logs", "worker-%s-%d.log" % (process, number))


def _logs_by_stem(home, jobs):
    """stem: the Logs that are there, for each of these jobs that has any, by one look at the folder."""
    folder = os.path.join(home, "logs")
    found = {}
    stems = {_log_stem(job.id, job.digest) for job in jobs}
    try:
        names = os.listdir(folder) if stems else ()
    except OSError:
        return found
    for name in names:
        match = _LOG_NAME.fullmatch(name) if name.partition(".")[0] in stems else None
        if match:
            stem, life, attempt = match.groups()
            log = Log(int(life) if life else None, int(attempt), os.path.join(folder, name))
            found.setdefault(stem, []).append(log)
    return found


def logs_of(home, job):
    """The Logs of a job that are there, in the order in which its attempts ran."""
    logs = [log for of_one in _logs_by_stem(home, [job]).values() for log in of_one]
    return sorted(logs, key=lambda log: (log.life is None, log.life or 0, log.attempt))


def set_aside_logs(home, jobs):
    """Let the output of these jobs, which are about to be brought back, be that of a former life."""
    for stem, logs in _logs_by_stem(home, jobs).items():
        life = max([log.life or 0 for log in logs]) + 1
        for log in logs:
            if log.life is None:
                try:
                    if os.stat(log.path).st_size:  # a worker may go on with an empty one
                        os.rename(log.path, os.path.join(home, "logs", "%s.%d-%d.log" % (stem, life, log.attempt)))
                except OSError:
                    pass  # what cannot be kept for another name goes when the attempt of that number begins: see `LogFile.begin`


def remove_logs(home, jobs):
    """Remove the output of these jobs."""
    for logs in _logs_by_stem(home, jobs).values():
        for log in logs:
            remove_file(log.path)


def last_lines(path):
    """The last few lines of a log as text, for the dead letter queue; "" if there is none."""
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


class LogFile:
    """The log of the attempts that one thread runs, one after another: `begin`, run, `end`.

    A file that stayed empty serves the next attempt, since making and removing one costs a short job a tenth of its time. It must not if
    a process of the former attempt still has it open, so the descriptor that the job inherits is a lock of its own: as long as any
    process has it, nobody else gets the lock. A new name for it costs nearly as much, so that an attempt which is expected to be short
    writes to one under `young_path`, which gets its own name at the end if there is something in it, or when `trim` comes by.
    """

    def __init__(self, young_path=None, sleep=time.sleep):
        self.path = None  # where it is
        self._own_path = None  # and where it belongs
        self._young_path = young_path
        self._descriptor = None
        self._sleep = sleep
        self._dropped = 0  # bytes that `trim` took away
        self._mutex = allocate_lock()  # `trim` comes from another thread

    def begin(self, path, young=False):
        """Make the log of an attempt, in place of one of that name (an attempt that did not count had it, or someone set the job back by
        hand); a descriptor for the job, which the caller closes once the job has it. With `young` someone is to call `trim` if the
        attempt takes long. Raises OSError."""
        with self._mutex:
            if self._descriptor is not None:  # `end` has locked it
                # One that stays empty never gets its own name, and would leave the one that has it.
                self._move(self._young_path if young and not os.access(path, os.F_OK) else path)
                own = open_private(self.path, _OURS)
                inherited, self._descriptor = self._descriptor, own
            else:
                inherited = self._create(path)
            self._own_path = path
        return inherited

    def _move(self, path):
        if self.path != path:
            os.rename(self.path, path)
            self.path = path

    def _create(self, path):
        """Make a new file the log; a locked descriptor of it for the job."""
        own = self._open_new(path)
        try:
            inherited = open_private(path, os.O_WRONLY | os.O_APPEND)
            try_lock(inherited)
        except OSError:
            os.close(own)
            raise
        self.path, self._descriptor, self._dropped = path, own, 0
        return inherited

    def _open_new(self, path):
        flags = _OURS | os.O_CREAT | os.O_EXCL
        try:
            return open_private(path, flags)
        except FileNotFoundError:
            make_folder(os.path.dirname(path))
        except FileExistsError:
            remove_file(path)
        return open_private(path, flags)

    def write(self, text):
        """Say this in the log of a command, behind what it has written. Raises OSError."""
        self._size()  # whose position counts once `trim` has been here
        os.write(self._descriptor, text.encode("utf-8", "replace"))

    def trim(self, limit):
        """Keep only the last part of a log that has grown beyond `limit` bytes, and say in it how much was dropped. What the job writes
        in the same moment may be dropped too. One that is young no longer gets its name. Raises OSError."""
        with self._mutex:
            if self._descriptor is not None:
                self._move(self._own_path)
                self._trim(self._size(), limit)

    def _size(self):
        return os.lseek(self._descriptor, 0, os.SEEK_END)  # a quarter of what fstat costs

    def _trim(self, size, limit):
        if size <= limit:
            return
        kept = pread(self._descriptor, limit // 2, size - limit // 2)
        dropped = self._dropped + size - len(kept)
        content = b"[queuectl: %d bytes were dropped here, since the output exceeds max_output]\n" % dropped + kept
        # Over what is there, and only then cut: what the job adds meanwhile comes behind it, never in front.
        leave_append_mode(self._descriptor)
        if pwrite(self._descriptor, content, 0) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        os.ftruncate(self._descriptor, len(content))
        self._dropped = dropped

    def end(self, limit=None):
        """Let go of a log that holds something, or that someone may still write to, shortened once more if there is a limit; keep an
        empty one for the next attempt. Raises OSError."""
        with self._mutex:
            if self._descriptor is None:
                return
            size, kept = 1, False  # what cannot be looked at holds something
            try:
                size = self._size()
                if limit is not None:
                    self._trim(size, limit)
                kept = not size and OPEN_FILES_MOVE and self._lock()
            finally:
                self._own_path = self.path if kept else self._own_path
                if not kept:
                    self._let_go()
                    if not size and not is_held(self.path):  # where an open file gets no other name, none serves the next attempt
                        remove_file(self.path)

    def _let_go(self):
        try:
            self._move(self._own_path)
        finally:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _lock(self):
        """Lock the log; False if it is held. A command that another thread is just starting has a copy of the descriptor until its exec."""
        for pause in (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008):
            if try_lock(self._descriptor):
                return True
            self._sleep(pause)
        return try_lock(self._descriptor)

    def is_held(self):
        """Whether a process of the attempt, or one that it left behind, still has the log open."""
        if self._descriptor is None or not try_lock(self._descriptor):
            return self._descriptor is not None
        unlock(self._descriptor)
        return False

    def discard(self):
        """Remove an empty log that no attempt follows. Raises OSError, and has let go of it nonetheless."""
        with self._mutex:
            if self._descriptor is not None:
                try:
                    if not self._size():
                        remove_file(self.path)
                finally:
                    descriptor, self._descriptor = self._descriptor, None
                    os.close(descriptor)


# ---------------------------------------------------------------- one attempt

def _wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


class Attempt:
    """An attempt of a claimed job: `start`, then `wait` in the worker's thread; `end` and `check` from any other one."""

    def __init__(self, home, job, environ, launch, log, settings, young=False, say=None):
        """`say(message)` logs what its owner has to know; it may be called again and again with the same."""
        self.job = job
        self.pid = 0
        self.digest = job.digest
        self.log = log
        self.ended = None  # why someone called `end`: TIMEOUT, or another word
        self.fault = None  # the last OSError after which the attempt went on
        self.seen = False  # someone has looked whether the job is still ours
        self.young = young  # it is expected to be short; the supervisor makes up for what is left out then if it is not
        self.since = float("inf")  # when its command was started, by the monotonic clock
        self.has_output = False
        self.limit = time_limit(job, settings)  # seconds that it may run, or None
        self._settings = settings
        self._home = home
        self._fault = next(option_faults(job.options), None)  # of a job that was typed into the job file
        options = {} if self._fault else job.options
        self._folder = options.get("cwd") or home
        self._log_path = _log_path(home, job.id, self.digest, job.attempts)
        self._environ = environ
        self._own = {name.encode("utf-8"): value.encode("utf-8") for name, value in (options.get("env") or {}).items()}
        self._own.pop(b"QUEUECTL_HOME", None)  # like those below it is ours to set, since what the attempt starts is known by it
        self._own[b"QUEUECTL_JOB_ID"] = job.id.encode("utf-8")
        self._own[b"QUEUECTL_ATTEMPT"] = b"%d" % job.attempts
        self._own[b"QUEUECTL_WORKER"] = job.worker.encode("ascii")
        self._launch = launch
        self._running = False
        self._over = False
        self._mutex = allocate_lock()  # guards _running: nothing is reaped while it is signalled
        self._deadline = None
        self._kill_at = None
        self._say = say or (lambda message: None)
        self._said = False

    def start(self, keep_output=True):
        """Start the command. Returns None, or an Outcome if the system refused. Raises OSError if the log cannot be made, or if the system
        has no room for a process at the moment, which is not the job's fault."""
        job = self.job
        self.has_output = keep_output
        output = self.log.begin(self._log_path, self.young) if keep_output else os.open(os.devnull, os.O_WRONLY)
        try:
            if self._fault:
                raise InvalidJob(self._fault)
            self.pid = self._launch.start(job.command, self._folder, self._environ, self._own, output,
                                          runner_words(job, self._settings, self._folder))
            with self._mutex:
                self._running = True
                self.since = time.monotonic()
                if self._kill_at is not None:  # `end` was called meanwhile
                    self._launch.signal(self.pid, TERM)
            if self.limit is not None:
                self._deadline = self.since + self.limit
            return None
        except (OSError, ValueError, InvalidJob) as error:
            if isinstance(error, OSError) and lacks_room(error):
                self.log.discard()  # another thread may take the job, and make a log of that name
                raise
            if keep_output:
                self._say_why(getattr(error, "strerror", None) or error)
            return Outcome(None, UNSTARTABLE)
        finally:
            self._known(lambda: os.close(output), None)

    def _say_why(self, reason):
        """Say in the log of a command why it did not start."""
        self._known(lambda: self.log.write("queuectl: cannot start this command in %s: %s\n" % (self._folder, reason)), None)

    def wait(self, grace):
        """Wait for the end: (an Outcome, the pids of processes that have left the tree of a failed attempt and would not end). What a
        failed attempt leaves running is ended, and waited for if that is not allowed; a successful one may leave something.

        It raises no OSError: what has run is an attempt, whatever fails afterwards. Such an error is in `fault` then."""
        failed = self._known(lambda: self._launch.wait_without_reaping(self.pid), LOST)
        if failed == LOST:  # someone else has reaped it, so that its number may be another one's by now
            with self._mutex:
                self._running = False
                self._reap()
            return self._outcome(None), []
        if failed is not None:
            with self._mutex:
                self._over = True  # how it ended is settled; what is left of it is ended below
                self._running = False
                if not failed and not self.ended:
                    return self._outcome(self._reap()), []
        strays, tree = [], Tree(self._home, self.job.worker, self.pid)
        if (failed or self.ended) and HAS_PROC:
            strays = self._end_rest(tree, grace)
        with self._mutex:
            if failed or self.ended:
                signal_group(self.pid, TERM)
            code = self._reap()
            self._running = False
        if code != 0 or self.ended:
            if not HAS_PROC:
                strays = self._end_rest(tree, grace)
            while self._known(tree.is_hidden, False):
                self._tell_of_rest([])
                time.sleep(0.5)
        return self._outcome(code), strays

    def _reap(self):
        """The exit code, None if the system does not tell it."""
        return self._known(lambda: self._launch.reap(self.pid), None)

    def _outcome(self, code):
        if self.ended == TIMEOUT:
            return Outcome(None, TIMEOUT)
        if code is None:
            return Outcome(None, LOST)
        if code < 0:
            return Outcome(128 - code, KILLED)
        return Outcome(code, FAILED if code else None)

    def _known(self, question, otherwise):
        """What the system answers to a question; `otherwise` if it refuses to, which is noted as the fault."""
        try:
            return question()
        except OSError as error:
            self.fault = error
            return otherwise

    def _end_rest(self, tree, grace):
        """End what is left of the tree, and wait a little for processes that have left it; the pids of those that stay. Where the
        system tells zombies apart, the shell is one until this is done, so that its tree cannot be another one by now."""
        signal_group(self.pid, TERM)
        if self._runs(tree) is not False:
            self._known(lambda: tree.signal(TERM), None)
            _wait_until(lambda: self._runs(tree) is False, grace)
            self._end_stubborn(tree)
        if self.ended != STOPPED and self._has_strays(tree):
            _wait_until(lambda: self._runs(tree) is False and not self._has_strays(tree), PATIENCE)
        return self._known(tree.strays, [])

    def _runs(self, tree):
        """Whether anything of the tree runs; None if that cannot be seen now."""
        return self._known(tree.runs, None)

    def _has_strays(self, tree):
        return bool(self._known(tree.strays, ()) or self._known(self.log.is_held, False))

    def _end_stubborn(self, tree):
        """Kill what is left of the tree, and wait until all of it has ended, however long that takes: the next attempt must not run
        beside it."""
        patience, runs = time.monotonic() + 1.0, self._runs(tree)
        while runs is not False:
            self._known(lambda: tree.signal(KILL), None)
            late = time.monotonic() >= patience
            if late and (runs is None or not HAS_PROC and not is_denied(-self.pid)):
                return  # nothing is known, or these are zombies
            if late:
                self._tell_of_rest(tree.pids())
            time.sleep(0.5 if late else 0.02)
            runs = self._runs(tree)

    def _tell_of_rest(self, pids):
        """Say that the attempt does not end, in the log and once in its output."""
        denied = not pids or any(map(is_denied, pids))
        why = "run as another user and cannot be ended" if denied else "do not end although they were killed"
        named = " (pid %s)" % ", ".join(map(str, pids)) if pids else ""
        self._say("%s: processes of its attempt %s%s; it counts as running until they have ended" % (self.job.id, why, named))
        if self.has_output and not self._said:
            self._said = True
            said = "queuectl: processes of this attempt %s%s; it counts as running until they have ended\n" % (why, named)
            self._known(lambda: self.log.write(said), None)

    def end(self, why, grace):
        """Ask the tree to end (TERM); `check` sends KILL once `grace` seconds have passed. The first reason counts."""
        with self._mutex:
            if self.ended is None and not self._over:
                self.ended = why
                self._kill_at = time.monotonic() + grace
                if self._running:
                    self._launch.signal(self.pid, TERM)

    def check(self, grace):
        """End an attempt that has run for too long, and kill one that was asked to end and did not within its grace."""
        if self._deadline is not None and self._running and time.monotonic() >= self._deadline:
            self.end(TIMEOUT, grace)
        with self._mutex:
            due = self._kill_at is not None and self._running and time.monotonic() >= self._kill_at
            denied = due and self._launch.signal(self.pid, KILL) is False
            if due:
                self._kill_at = time.monotonic() + 1.0  # once more then, if it still runs
        if denied:
            self._tell_of_rest([self.pid])

    def if_running(self, action):
        """Call `action()` if its command runs; it counts as running until that returns."""
        with self._mutex:
            if self._running:
                action()

    def next_check(self):
        """When `check` has something to do, by the monotonic clock; None if it has not."""
        if not self._running:
            return None
        return self._kill_at if self._kill_at is not None else self._deadline


def job_environ(environ, home):
    """The environment that all jobs of a worker process share, as bytes: its own, but for what a job that started it was told."""
    shared = encode_environ({name: value for name, value in environ.items() if not name.startswith("QUEUECTL_")})
    shared[b"QUEUECTL_HOME"] = home.encode("utf-8", "surrogateescape")
    return shared


# ---------------------------------------------------------------- on_finish

def finish_environ(job):
    """What the on_finish command is told about a job that has ended."""
    return {b"QUEUECTL_JOB_ID": job.id.encode("utf-8"), b"QUEUECTL_STATE": job.state.encode("ascii"),
            b"QUEUECTL_ATTEMPT": b"%d" % job.attempts, b"QUEUECTL_REASON": (job.reason or "").encode("ascii"),
            b"QUEUECTL_EXIT_CODE": b"" if job.exit_code is None else b"%d" % job.exit_code}


def announce_once(command, job, home, environ):
    """Run the on_finish command for a job that no worker has ended, without waiting for it; what it says goes to run/worker.log. Raises
    OSError."""
    text = {name.decode("ascii"): value.decode("utf-8") for name, value in finish_environ(job).items()}
    output = open_private(os.path.join(home, "run", "worker.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        start_detached(command, dict(environ, QUEUECTL_HOME=home, **text), output, shell=True, folder=home)
    finally:
        os.close(output)


class Announcer:
    """Runs the on_finish command for one ended job after another, in a thread of its own, so that it holds up no job.

    What the command says goes to the descriptor `output`. `check`, which the supervisor calls, ends one that takes longer than LIMIT.
    `fault(message)` is called each time that there is no room for it. At most `most` jobs wait (0: any number): a command that slow will
    never catch up. `left` tells for how many it is still to be run, or runs.
    """

    LIMIT = 60.0  # seconds
    MOST = 10000

    def __init__(self, home, environ, launch, output, fault, most=MOST):
        from queue import Queue
        self._home = home
        self._environ = environ
        self._launch = launch
        self._output = output
        self._fault = fault
        self._queue = Queue(most)
        self.left = 0
        self._dropped = 0  # jobs for which it is never run
        self._pid = None  # of the command that runs
        self._deadline = None  # and when it must have ended
        self._closed = False
        self._thread = None
        self._mutex = allocate_lock()  # for what is counted
        self._starting = allocate_lock()  # for the command that runs; another one, since no worker is to wait while one is started

    def announce(self, command, job):
        """Run `command` for a job once those before it are done; False if too many wait."""
        from queue import Full
        with self._mutex:
            try:
                self._queue.put_nowait((command, job.id, finish_environ(job)))
            except Full:
                self._dropped += 1
                return False
            self.left += 1
            self._begin()
        return True

    def _begin(self):
        """Start the thread, unless it runs, there is nothing for it to do, or there is no room for one."""
        from threading import Thread
        if self._thread is None and self.left:
            thread = Thread(target=self._work, daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:
                return  # `check` tries it again

    def check(self):
        """End a command that has run for too long."""
        with self._mutex:
            self._begin()
        with self._starting:
            if self._pid is not None and time.monotonic() >= self._deadline:
                self._launch.signal(self._pid, KILL)

    def close(self):
        """Give up what is left, and end the command that runs; the number of jobs for which it was not run, or not to its end."""
        with self._starting:
            self._closed = True
            with self._mutex:
                given_up = self.left + self._dropped
            if self._pid is not None:
                self._launch.signal(self._pid, KILL)
        _wait_until(lambda: self._pid is None, 1.0)
        return given_up

    def _work(self):
        try:
            while not self._closed:
                self._work_once(*self._queue.get())
        finally:
            self._thread = None  # after a bug, which Python shows, `check` starts another one: nobody waits for ever

    def _work_once(self, command, job_id, told):
        try:
            fault = self._run(command, told)
            if fault and not self._closed:
                helpers.log("%s: on_finish %s" % (job_id, fault))
        finally:
            self._pid = None
            with self._mutex:
                self.left -= 1

    def _run(self, command, told):
        """Run a command to its end; what is wrong with that, as a phrase, or None."""
        try:
            pid = self._start(command, told)
        except (OSError, ValueError) as error:
            return "could not be started: %s" % (getattr(error, "strerror", None) or error)
        if pid is None:
            return None
        failed = self._launch.wait_without_reaping(pid)
        with self._starting:  # nothing is reaped while it is signalled
            late = time.monotonic() >= self._deadline
            if failed is not None:
                self._pid = None
        code = self._launch.reap(pid)
        if code and late:
            return "was ended after %g s" % self.LIMIT
        return ("was killed by signal %d" % -code if code < 0 else "failed with exit code %d" % code) if code else None

    def _start(self, command, told):
        """Start a command, as soon as there is room for a process: its pid, or None if this was closed meanwhile."""
        while True:
            with self._starting:
                if self._closed:
                    return None
                try:
                    self._pid = self._launch.start(command, self._home, self._environ, told, self._output)
                    self._deadline = time.monotonic() + self.LIMIT
                    return self._pid
                except OSError as error:
                    if not lacks_room(error):
                        raise
                    self._fault("the system has no room for another process (%s); on_finish waits for it" % error.strerror)
            time.sleep(_LOOK_AGAIN)
