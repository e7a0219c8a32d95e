"""WorkerManager: the worker processes of a home. Start, detach, list, stop."""
from __future__ import annotations

import os
import time

from core.errors import EXIT_FAILED, NotAllowed, fault_text, hint
from core.home import run_folder, worker_log_path
from core.job import PENDING
from core.locks import is_held
from core.system import allow_open_files, make_folder, open_private, remove_file
from execution.launcher import start_detached
from execution.worker_files import (WorkerFile, ask_to_stop, given_process_token, leftovers, live_workers, new_process_token,
                                    noted_attempts, split_attempt_token, worker_paths)

_SAFE_AGE = 3600.0  # seconds that what is left over must be old while workers run
_FILES = 64  # that a worker process has open besides those of its workers, some inherited ones and looks at other workers included
_FILES_A_WORKER = 4  # its log, the same for the job, and a pipe while that is started


class WorkerManager:
    """The worker processes of one home."""

    def __init__(self, home, config_path):
        self._home = home
        self._config_path = config_path
        self._folder = run_folder(home)

    def start(self, store, count, drain, environ, runner=None, quiet=False, screen=None, groups=None):
        """Be a worker process for a Store, with `count` workers, until stopped; with `drain`, until no job is left that could run.

        `runner` (words) takes the place of the setting; `quiet` and `screen` are an Account's; with `groups` (names) it takes jobs of these
        groups alone. Gives back (the exit code, the Account). The code is 0, or 1 if a job died while draining, if a result could not be
        recorded, or if on_finish was given up for a job; 3 after a bug. One that `detach` started has come up, which is all that is asked
        of its code: 0 in place of 1. Raises QueueError, OSError.
        """
        from execution.account import Account
        from execution.live_settings import FollowedSettings
        from execution.supervisor import StopSignals, Supervisor
        from storage.claims import Claims
        own = {} if runner is None else {"runner": runner}
        store.settings = store.settings._replace(**own)
        store.lock.makes_home = False  # one that is moved away while the workers run is not made anew
        settings, account = FollowedSettings(self._config_path, own), Account(quiet, screen)
        with StopSignals() as signals:  # before anyone can find this process to send one
            process_token = given_process_token(environ, self._folder)
            file = WorkerFile(self._folder, count, process_token, tuple(dict.fromkeys(groups)) if groups else None)
            claims = Claims(store, groups=frozenset(groups) if groups else None)
            code = Supervisor(self._home, claims, settings, environ, file, signals, account, count, drain).run()
            return 0 if process_token and code == EXIT_FAILED else code, account

    def detach(self, command, environ):
        """Start a worker process in the background by running `command`; its pid once it is up. Raises NotAllowed if it is not."""
        make_folder(self._folder)
        process_token = new_process_token()
        path = worker_log_path(self._home)
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            # Known by its token, not by its pid: the Python of a virtual environment, say, may start another one.
            # And it is no part of an attempt that may have started it.
            process = start_detached(command, dict(environ, QUEUECTL_TOKEN=process_token, QUEUECTL_WORKER=""), descriptor)
        finally:
            os.close(descriptor)
        while process.poll() is None:
            for worker in self.running():
                if worker.process_token == process_token:
                    return worker.pid
            time.sleep(0.02)
        if process.returncode == 0:
            return process.pid  # it has drained the queue already
        raise NotAllowed("the worker process ended at once with exit code %d; see %s" % (process.returncode, path))

    def announce(self, command, jobs, environ, tell):
        """Run the on_finish command, if any, for jobs that no worker has ended; whether for all: `tell(message)` names the others."""
        from execution.on_finish import announce_all
        return not command or announce_all(command, jobs, self._home, environ, tell)

    def running(self):
        """The worker processes that are alive."""
        return live_workers(self._folder)

    def ids_by_process(self, running):
        """The ids of running jobs, in lists by the token of the worker process that each runs in."""
        ids: dict = {}
        for job in running:
            ids.setdefault(split_attempt_token(job.worker)[0], []).append(job.id)
        return ids

    def abandoned(self, running):
        """Those of these running jobs whose worker process is dead."""
        alive = {worker.process_token for worker in self.running()}
        return [job for job in running if split_attempt_token(job.worker)[0] not in alive]

    def noted_slots(self):
        """The attempts that run, as {attempt token: digest of its group, if it has a slot}; none where that cannot be seen. What a dead
        worker was running last may have ended, and have been recorded, before it died."""
        try:
            return {token: noted.group for token, noted in noted_attempts(self._folder, live_workers).items()}
        except PermissionError:
            return {}

    def waiting(self, workers, store):
        """The jobs that these worker processes wait with until their retry, in lists by the token of the process."""
        places = {place for worker in workers for place, _ in worker.waits}
        jobs = {(job.place, job.digest): job for job in store.at(places) if job.state == PENDING} if places else {}
        return {worker.process_token: [jobs[pair] for pair in worker.waits if pair in jobs] for worker in workers}

    def left_behind(self):
        """The paths of the files of worker processes that died."""
        alive = [worker.path for worker in self.running()]
        return [path for path in worker_paths(self._folder) if path not in alive]

    def leftovers(self):
        """The paths of what killed worker processes left that is of no use to anyone. Raises OSError."""
        return leftovers(self._folder)

    def remove_leftovers(self, store, age):
        """Remove the output of jobs that are gone, and what killed worker processes left, that is so many seconds old and held open by
        nobody; how many files that were. While workers run it must be old: an editor may just be saving its jobs. Raises OSError."""
        from storage.output import stray_logs
        before, removed = time.time() - max(age, _SAFE_AGE if self.running() else 0), 0
        for path in stray_logs(self._home, store.all_jobs()) + self.leftovers():
            try:
                is_old = os.lstat(path).st_mtime <= before
            except FileNotFoundError:
                continue
            if is_old and (path.endswith(".wake") or not is_held(path)):
                remove_file(path)
                removed += 1
        return removed

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
            tokens = {worker.process_token for worker in self.running()}
            left = [worker for worker in asked if worker.process_token in tokens]
            if not left or (deadline is not None and time.monotonic() >= deadline):
                return [worker for worker in asked if worker.process_token not in tokens], left
            time.sleep(0.05)

    def refuse_if_running(self, what):
        """Raise NotAllowed if a worker process runs."""
        running = self.running()
        if running:
            raise NotAllowed("%s is refused while a worker process runs (pid %s); %s first"
                             % (what, ", ".join(str(worker.pid) for worker in running), hint("worker stop")))


def check_open_files(count):
    """Make sure that so many workers can have their files open. Raises NotAllowed with what would do."""
    wanted = _FILES + count * _FILES_A_WORKER
    allowed = allow_open_files(wanted)
    if allowed is not None:
        fewer = (allowed - _FILES) // _FILES_A_WORKER
        raise NotAllowed("%d workers need %d open files, and the system allows %d; %sallow more with: ulimit -n %d"
                         % (count, wanted, allowed, "start fewer with --count %d, or " % fewer if fewer > 0 else "", wanted))
