"""Worker processes: their threads, how they are found, stopped and succeeded when they die.

A worker process is a file `run/worker-TOKEN.json`, locked for as long as the process lives. The held lock, not the pid in it, says that
it is alive; one that is not locked is a crash left behind, and whoever finds it first returns its jobs. The token is random, since a
restarted container has the same pids. Beside it lie `.stop`, a request to stop, and `.wake`, a FIFO that ends the wait for the next look.

Within the process each worker is a thread, and the main thread supervises: it looks for requests, for what a dead worker left, and
wakes an idle worker; a worker that gets a job wakes the next.
"""
from __future__ import annotations

import errno
import json
import os
import select
import signal
import threading
import time
from collections import namedtuple
from itertools import count as count_up

from file_lock import try_lock
from helpers import (WINDOWS, QueueError, format_time, load_settings, log, make_folder, open_private, parse_time, pread, pwrite,
                     remove_file)
from job import DEAD, PENDING, PROCESSING, ready_at
from job_runner import Attempt, LogFile, LostTree, job_environ, last_lines, launcher, log_path

_SLOT = 128  # bytes for what one thread runs; they divide a page, so that no write of one is torn
_LOST_GRACE = 2.0  # seconds between TERM and KILL for the tree of a dead worker; its jobs are to run again within five
_LOST_PATIENCE = 10.0  # seconds to wait for processes that have left the tree on purpose
_TICK = 1.0  # seconds between two looks at requests and at dead workers

WorkerProcess = namedtuple("WorkerProcess", "token pid count started_at running path")


class NotAllowed(QueueError):
    """Something that is refused while workers run, or because none can."""


# ---------------------------------------------------------------- worker files

class WorkerFile:
    """The file of this worker process."""

    def __init__(self, folder, count):
        self.token = os.urandom(6).hex()
        self.path = os.path.join(folder, "worker-%s.json" % self.token)
        self.stop_path = self.path[:-len("json")] + "stop"
        make_folder(folder)
        header = json.dumps({"pid": os.getpid(), "count": count, "started_at": format_time(time.time())})[:-1] + ', "running": ['
        temporary = self.path if WINDOWS else os.path.join(folder, "new-worker-%s" % self.token)
        self._descriptor = open_private(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try_lock(self._descriptor)  # before it gets its name: an unlocked one would be taken for dead
        slots = [b"null".ljust(_SLOT - 2) + (b",\n" if number < count - 1 else b"\n ") for number in range(count)]
        os.write(self._descriptor, header.encode("ascii").ljust(_SLOT - 1) + b"\n" + b"".join(slots) + b"]}\n")
        if temporary != self.path:
            os.rename(temporary, self.path)

    def note(self, number, attempt=None):
        """Note what thread `number` (from 0) runs, for whoever has to clean up behind this process. Raises OSError."""
        text = "null" if attempt is None else '{"worker": "%s", "group": %d, "job": "%s"}' % (attempt.job.worker, attempt.pid,
                                                                                           attempt.digest)
        pwrite(self._descriptor, text.encode("ascii").ljust(_SLOT - 2), _SLOT * (number + 1))

    def remove(self):
        """Take the file away: this process has ended."""
        remove_worker_file(self.path)
        os.close(self._descriptor)


def remove_worker_file(path):
    """Remove a worker file and what lies beside it."""
    for ending in ("stop", "wake", "json"):
        remove_file(path[:-len("json")] + ending)


def read_worker_file(descriptor, path):
    """The WorkerProcess that a worker file tells of; one that does not read right tells nothing but its token."""
    token = os.path.basename(path)[len("worker-"):-len(".json")]
    try:
        record = json.loads(pread(descriptor, 1 << 20, 0).decode("utf-8"))
        running = [slot for slot in record["running"] if slot]
        return WorkerProcess(token, int(record["pid"]), int(record["count"]), str(record["started_at"]), running, path)
    except (ValueError, KeyError, TypeError):
        return WorkerProcess(token, 0, 0, "", [], path)


def worker_files(folder):
    """The paths of all worker files, those of dead processes included."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name) for name in sorted(names) if name.startswith("worker-") and name.endswith(".json")]


def _open_if_there(path):
    try:
        return open_private(path, os.O_RDWR)
    except FileNotFoundError:
        return None


def live_workers(folder):
    """The worker processes that are alive, as WorkerProcess records."""
    found = []
    for path in worker_files(folder):
        descriptor = _open_if_there(path)
        if descriptor is not None:
            try:
                if not try_lock(descriptor):
                    found.append(read_worker_file(descriptor, path))
            finally:
                os.close(descriptor)
    return found


# ---------------------------------------------------------------- waking a process

class Waker:
    """What a worker process sleeps on. `wake` ends the sleep, from a thread, a signal or, through the FIFO, another process."""

    def __init__(self, path):
        self._event = self._descriptor = None
        try:
            os.mkfifo(path, 0o600)
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            signal.set_wakeup_fd(self._descriptor, warn_on_full_buffer=False)
        except (AttributeError, OSError):  # Windows, or a file system without FIFOs: it only looks once a second
            self._event = threading.Event()

    def wait(self, seconds):
        """Sleep for so long at the most; whether it was woken."""
        if self._event is not None:
            woken = self._event.wait(max(0, seconds))
            self._event.clear()
            return woken
        if not select.select([self._descriptor], [], [], max(0, seconds))[0]:
            return False
        os.read(self._descriptor, 4096)
        return True

    def wake(self):
        """End the sleep."""
        if self._event is not None:
            self._event.set()
            return
        try:
            os.write(self._descriptor, b"w")
        except BlockingIOError:
            return  # it has more than enough to wake up for

    def close(self):
        """Give back the descriptor."""
        if self._descriptor is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._descriptor)


def wake_worker(path):
    """Wake the worker process with that worker file, if it can be."""
    if WINDOWS:
        return
    try:
        descriptor = os.open(path[:-len("json")] + "wake", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return  # it ended, or has no FIFO
    try:
        os.write(descriptor, b"w")
    except OSError:
        return
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- what a dead worker left

class DeadWorker:
    """The file of a dead worker process, held locked by us, and what is to be done about its jobs."""

    def __init__(self, descriptor, process, home):
        self.process = process
        self._descriptor = descriptor
        self._home = home
        self._since = time.monotonic()
        self._trees = None

    def step(self, jobs):
        """End what still runs of its attempts, and return its jobs once nothing does; False while there is more to do."""
        left = jobs.abandoned(lambda token: token != self.process.token)
        if self._trees is None:
            groups = {slot.get("worker"): slot.get("group", 0) for slot in self.process.running}
            self._trees = [(job, LostTree(job.worker, groups.get(job.worker, 0), log_path(self._home, job, job.attempts)))
                           for job in left]
        waited = time.monotonic() - self._since
        still = []
        for job, tree in self._trees:
            runs, strays = tree.signal(signal.SIGTERM if waited < _LOST_GRACE else getattr(signal, "SIGKILL", signal.SIGTERM))
            if runs and waited < _LOST_PATIENCE:
                still.append((job, tree))
                continue
            if runs:
                log("%s: processes of the attempt that was lost still run%s; it is not waited for them any longer"
                    % (job.id, " (pid %s)" % ", ".join(map(str, strays)) if strays else ""))
            after = jobs.lose(job, time.time(), last_lines(log_path(self._home, job, job.attempts)))
            if after is not None:
                log("%s: its worker (pid %d) died; %s" % (job.id, self.process.pid, "it runs again" if after.state == PENDING
                                                          else "moved to the dead letter queue"))
        self._trees = still
        if still:
            return False
        if self._descriptor is not None:
            remove_worker_file(self.process.path)
            os.close(self._descriptor)
        return True


# ---------------------------------------------------------------- one worker process

class Supervisor:
    """A worker process from its start to its end. `run` is its life; everything else is called by it or by its threads."""

    def __init__(self, home, jobs, config_path, environ, count, drain):
        self._home = home
        self._jobs = jobs
        self._config_path = config_path
        self._config_key = None
        self._environ = job_environ(environ, home)
        self._launch = launcher()
        self._run_folder = os.path.join(home, "run")
        self._file = WorkerFile(self._run_folder, count)
        self._waker = Waker(self._file.path[:-len("json")] + "wake")
        self._count = count
        self._drain = drain
        self._attempts = [None] * count  # what each thread runs
        self._serials = count_up(1)
        self._stop = threading.Event()  # take no more jobs
        self._now = False  # and end those that run
        self._signals = 0
        self._idle = threading.Condition()
        self._busy_threads = count
        self._ended_threads = 0
        self._deaths = 0  # jobs that this process moved to the dead letter queue
        self._unrecorded = 0
        self._dead_workers = []
        self._last_fault = None
        jobs.busy = self._running_digests

    # -- the main thread

    def run(self):
        """Work until stopped, or, with drain, until nothing is left to do. The exit code."""
        former = self._take_signals()
        threads = [threading.Thread(target=self._work, args=(number,), name="worker-%d" % number) for number in range(self._count)]
        try:
            self._find_orphans()
            for thread in threads:
                thread.start()
            next_tick = next_poll = 0.0
            while self._ended_threads < self._count:
                now = time.monotonic()
                if now >= next_tick:
                    self._tick()
                    next_tick = now + (0.2 if self._dead_workers else _TICK)
                self._look_for_stop()
                if now >= next_poll:
                    with self._idle:
                        self._idle.notify()
                    self._finish_if_drained()
                    next_poll = now + self._jobs.settings.poll_interval
                due = now + self._until_due()
                if self._waker.wait(min(next_tick, next_poll, due) - time.monotonic()) or time.monotonic() >= due:
                    next_poll = 0.0
            for thread in threads:
                thread.join()
            self._sync()
        finally:
            for number, handler in former:
                signal.signal(number, handler)
            self._waker.close()
            self._launch.close()
            if self._unrecorded:
                log("%d results could not be recorded; those jobs run again" % self._unrecorded)
            else:
                self._file.remove()
        return 1 if self._unrecorded or (self._drain and self._deaths) else 0

    def _take_signals(self):
        def handle(number, frame):
            self._signals += 1

        former = []
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks
                former.append((number, signal.signal(number, handle)))
        return former

    def _until_due(self):
        """Seconds until the next waiting job is due, if a worker is idle; then the wait counts as having been woken."""
        due = self._jobs.next_due() if self._busy_threads < self._count else None
        return 2 * _TICK if due is None else max(0.01, due - time.time())

    def _tick(self):
        self._follow_settings()
        self._look_for_dead_workers()
        for attempt in list(self._attempts):
            if attempt is not None:
                attempt.hasten()
        self._sync()

    def _sync(self):
        try:
            self._jobs.sync_outcomes()
        except (OSError, QueueError) as error:
            self._fault("the last outcomes are not confirmed on disk: %s" % error)

    def _fault(self, message):
        """Log a fault once, however often it recurs."""
        if message != self._last_fault:
            self._last_fault = message
            log(message)

    def _follow_settings(self):
        try:
            stat = os.stat(self._config_path)
            key = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except OSError:
            key = None
        if key == self._config_key:
            return
        first, self._config_key = self._config_key is None, key
        try:
            settings = load_settings(self._config_path)
        except QueueError as error:
            log("%s; going on with the settings as they were" % error)
            return
        if settings != self._jobs.settings:
            self._jobs.settings = settings
            if not first:
                log("settings read again")

    def _look_for_stop(self):
        if not self._stop.is_set() or not self._now:
            request = self._stop_request()
            if self._signals or request:
                if not self._stop.is_set():
                    self._begin_stop("stopping: the running jobs may end (again: they are ended)")
            if (self._signals > 1 or request == "now") and not self._now:
                self._now = True
                log("ending the running jobs; they go back to the queue")
        if self._now:
            for attempt in list(self._attempts):
                if attempt is not None:
                    attempt.end(self._jobs.settings.kill_grace)

    def _begin_stop(self, message):
        if any(attempt is not None for attempt in self._attempts):
            log(message)
        self._stop.set()
        with self._idle:
            self._idle.notify_all()

    def _stop_request(self):
        try:
            with open(self._file.stop_path, "rb") as file:
                return "now" if b"now" in file.read(16) else "stop"
        except OSError:
            return None

    def _finish_if_drained(self):
        if not self._drain or self._stop.is_set() or self._busy_threads or self._dead_workers:
            return
        scheduled = []
        try:
            for job in self._jobs.jobs((PENDING, PROCESSING)):
                if job.state == PROCESSING or job.attempts or ready_at(job, self._jobs.settings, time.time()) <= time.time():
                    return
                scheduled.append(job.id)
        except QueueError as error:
            self._fault(str(error))
            return
        if scheduled:
            log("not waiting for scheduled jobs: %s" % ", ".join(scheduled[:20] + ["…"] * (len(scheduled) > 20)))
        self._begin_stop("")

    # -- dead workers

    def _running_digests(self):
        """The digests of the jobs that run now, in any live process or in what a dead one left."""
        running = [slot for process in live_workers(self._run_folder) for slot in process.running]
        running += [slot for dead in self._dead_workers for slot in dead.process.running]
        return frozenset(slot["job"] for slot in running)

    def _look_for_dead_workers(self):
        known = [dead.process.path for dead in self._dead_workers]
        for path in worker_files(self._run_folder):
            if path == self._file.path or path in known:
                continue
            descriptor = _open_if_there(path)
            if descriptor is None:
                continue
            if try_lock(descriptor) and os.path.exists(path):
                self._dead_workers.append(DeadWorker(descriptor, read_worker_file(descriptor, path), self._home))
            else:
                os.close(descriptor)
        for dead in list(self._dead_workers):
            try:
                if dead.step(self._jobs):
                    self._dead_workers.remove(dead)
            except (QueueError, OSError) as error:
                self._fault("cannot return the jobs of a dead worker: %s" % error)

    def _find_orphans(self):
        """Jobs that are marked as running by a worker process of which there is no file (run/ was deleted, or a hand edit)."""
        def has_file(token):
            return os.path.exists(os.path.join(self._run_folder, "worker-%s.json" % token))

        try:
            tokens = {job.worker.rpartition("-")[0] if job.worker else "" for job in self._jobs.abandoned(has_file)}
        except QueueError as error:
            self._fault(str(error))
            return
        self._dead_workers += [DeadWorker(None, WorkerProcess(token, 0, 0, "", [], ""), self._home) for token in tokens]

    # -- a worker's thread

    def _work(self, number):
        waiting_for = None
        log_file = LogFile()
        try:
            while not self._stop.is_set():
                if waiting_for is not None and self._wait_for_retry(waiting_for):
                    continue
                job = self._claim(waiting_for)
                waiting_for = None
                if job is None:
                    self._be_idle()
                while job is not None:
                    with self._idle:
                        self._idle.notify()
                    job, waiting_for = self._run_job(number, job, log_file)
                log_file.discard()
        finally:
            log_file.discard()
            with self._idle:
                self._ended_threads += 1
                self._busy_threads -= 1
            self._waker.wake()

    def _wait_for_retry(self, job):
        """Wait a little for a job's time; True if there is still some to wait. By the wall clock, in small steps: a clock that jumps
        and a computer that sleeps make no wait longer than the job's own backoff."""
        now = time.time()
        delay = min(parse_time(job.run_at) - now, ready_at(job, self._jobs.settings, now) - now)
        if delay > 0:
            self._stop.wait(min(delay, _TICK))
        return delay > 0

    def _token(self):
        return "%s-%d" % (self._file.token, next(self._serials))

    def _claim(self, preferred):
        try:
            job = self._jobs.claim(self._token(), time.time(), preferred)
        except QueueError as error:
            self._fault(str(error))
            return None
        if job is not None:
            self._last_fault = None
        return job

    def _be_idle(self):
        with self._idle:
            self._busy_threads -= 1
            if not self._busy_threads:
                self._waker.wake()
            if not self._stop.is_set():
                self._idle.wait()
            self._busy_threads += 1

    def _run_job(self, number, job, log_file):
        """Run one attempt and record how it ended: (the next job, the job whose retry this worker is to wait for)."""
        attempt = Attempt(self._home, job, self._environ, self._launch, log_file)
        self._attempts[number] = attempt
        started = time.monotonic()
        try:
            outcome = attempt.start()
            if outcome is None:
                self._file.note(number, attempt)
                if self._now:
                    attempt.end(self._jobs.settings.kill_grace)
                outcome = attempt.wait(self._jobs.settings.kill_grace)
        except OSError as error:
            self._fault("cannot run %s: %s: %s" % (job.id, error.filename, error.strerror))
            outcome = None
        self._attempts[number] = None
        in_place = self._jobs.settings.retry_in_place
        token = None if outcome is None or self._stop.is_set() or (outcome.reason and in_place) else self._token()
        output = last_lines(log_file.path) if outcome is not None and outcome.reason else ""
        log_file.end()
        after, following = self._record(job, outcome if not attempt.ended else None, output, token)
        if after is not None:
            self._report(after, outcome, time.monotonic() - started)
        if outcome is None:
            self._stop.wait(_TICK)
        if following is None:
            self._file.note(number)
        waits = after is not None and after.run_at is not None and in_place
        return following, after if waits else None

    def _record(self, job, outcome, output, token):
        """Record an outcome (None: give the job back) and claim the next job, trying each second for as long as the job file is broken
        or the disk full. The result is kept in memory meanwhile; a stop waits for it for some seconds."""
        now, patience = time.time(), 5
        while True:
            try:
                after, following = self._jobs.record(job, outcome, now, output, token)
                if after is None:
                    log("%s: not in the queue any more as it was started; its result counts for nothing" % job.id)
                return after, following
            except QueueError as error:
                self._fault("%s: its result waits to be recorded: %s" % (job.id, error))
                patience -= self._stop.is_set()
                if patience < 0:
                    self._unrecorded += 1
                    return None, None
                self._stop.wait(_TICK) if not self._stop.is_set() else time.sleep(_TICK)

    def _report(self, job, outcome, seconds):
        if job.state == DEAD:
            self._deaths += 1
            log("%s: %s, attempt %d; moved to the dead letter queue" % (job.id, job.ending, job.attempts))
        elif outcome is None or job.reason is None and job.state == PENDING:
            log("%s: back in the queue" % job.id)
        elif job.state == PENDING:
            wait = parse_time(job.run_at) - parse_time(job.updated_at)
            log("%s: %s, attempt %d; again in %g s" % (job.id, job.ending, job.attempts, round(wait, 2)))
        else:
            log("%s: completed in %.2f s" % (job.id, seconds))


# ---------------------------------------------------------------- what commands use

class WorkerManager:
    """The worker processes of one home."""

    def __init__(self, home, jobs, config_path):
        self._home = home
        self._jobs = jobs
        self._config_path = config_path
        self._folder = os.path.join(home, "run")

    def start(self, count, drain, environ):
        """Be a worker process with `count` workers until stopped; with `drain`, until nothing is left that could run. The exit code:
        0, or 1 if a job died while draining, or if a result could not be recorded."""
        return Supervisor(self._home, self._jobs, self._config_path, environ, count, drain).run()

    def detach(self, command, environ):
        """Start a worker process in the background by running `command`; its pid once it is up. Raises NotAllowed if it is not."""
        import subprocess
        make_folder(self._folder)
        path = os.path.join(self._folder, "worker.log")
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        options = {"creationflags": 0x00000208} if WINDOWS else {"start_new_session": True}  # detached, a process group of its own
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, env=environ, **options)
        finally:
            os.close(descriptor)
        while process.poll() is None:
            if any(worker.pid == process.pid for worker in self.running()):
                return process.pid
            time.sleep(0.02)
        raise NotAllowed("the worker process ended at once with exit code %d; see %s" % (process.returncode, path))

    def running(self):
        """The worker processes that are alive."""
        return live_workers(self._folder)

    def stop(self, now, timeout):
        """Ask all worker processes to stop, and wait until they have. Gives back those that stopped, and those that still run after
        `timeout` seconds (None: however long it takes). With `now` their jobs are ended and go back to the queue."""
        asked = self.running()
        for worker in asked:
            descriptor = open_private(worker.path[:-len("json")] + "stop", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                os.write(descriptor, b"now\n" if now else b"stop\n")
            finally:
                os.close(descriptor)
            wake_worker(worker.path)
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


def check_safe(paths):
    """Refuse to run commands from files that others can write. Raises NotAllowed with the path and what mends it (DESIGN, "Where data
    lives"): who can write them can run commands as this user."""
    if WINDOWS:
        return
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            raise NotAllowed("cannot look at %s: %s" % (path, error.strerror)) from None
        if stat.st_uid not in (os.geteuid(), 0):
            raise NotAllowed("%s belongs to another user, who could run commands as you; 'chown %d %s', or choose a home of your own"
                             % (path, os.geteuid(), path))
        if stat.st_mode & 0o002:
            raise NotAllowed("%s can be written by everyone, who could run commands as you; 'chmod o-w %s' mends it" % (path, path))
