"""What dead workers left: their processes are ended, then their jobs go back into the queue.

A job runs again only once nothing of its lost attempt runs that is provably its own; what may be its own is waited for some seconds. Jobs
that a dead worker had claimed and not started go back uncounted, and what it had noted as completed is recorded so.
"""
from __future__ import annotations

import json
import os
import time
from contextlib import suppress

from core.errors import QueueError, fault_text
from core.home import run_folder, wake_workers
from core.job import COMPLETED, LOST, PENDING, Outcome
from core.locks import try_lock
from core.system import OPEN_FILES_MOVE, is_there
from execution.attempt import PATIENCE
from execution.process_tree import KILL, TERM, LostTree, Sight, is_denied
from execution.worker_files import (WorkerProcess, live_workers, noted_attempts, open_if_there, read_worker_file, remove_worker_file,
                                    split_attempt_token, worker_path, worker_paths, write_slot)
from helpers import log
from storage.output import last_lines, log_path

_OUTCOMES = {PENDING: None, COMPLETED: Outcome(0, None), LOST: Outcome(None, LOST)}  # by what became of an attempt: how it is recorded
_LOST_GRACE = 2.0  # seconds between TERM and KILL for the tree of a dead worker; its jobs are to run again within five seconds


class Recovery:
    """Finds dead worker processes, and orphans, jobs that are marked as running although nobody runs them; and returns their jobs to the
    queue.

    The main thread of a worker process calls `step`, again and again. `outcomes` knows which jobs the process itself has claimed.
    """

    def __init__(self, home, claims, own_file, outcomes, faults):
        self._home = home
        self._folder = run_folder(home)
        self._claims = claims
        self._own_file = own_file
        self._outcomes = outcomes
        self._faults = faults
        self._dead_workers = []
        self._looked_at = None  # what was known when orphans were last looked for

    def __bool__(self):
        """Whether there is more to do."""
        return bool(self._dead_workers)

    def step(self):
        """Look for what dead workers left, and do what can be done about it now."""
        known = [self._own_file.path] + [dead.process.path for dead in self._dead_workers]
        for path in worker_paths(self._folder):
            if path not in known:
                self._faults.guarded("look at %s" % path, self._take_over_if_dead, path)
        self._faults.guarded("look for jobs that nobody runs", self._find_orphans)
        for dead in list(self._dead_workers):
            if self._faults.guarded("return the jobs of a dead worker", dead.step, self._claims, self._outcomes.count_end,
                                    self._faults.tell):
                self._dead_workers.remove(dead)
                wake_workers(self._home)  # its jobs may run again, and those that waited for a slot of its

    def noted(self):
        """The attempts that run, as `noted_attempts` gives them. Raises QueueError."""
        try:
            return noted_attempts(self._folder)
        except OSError as error:
            raise QueueError("cannot see what other workers run: %s" % fault_text(error)) from None

    def _take_over_if_dead(self, path):
        """Take over the file of a worker process that has died."""
        descriptor = open_if_there(path)
        if descriptor is None:
            return
        dead = None
        try:
            stat = os.fstat(descriptor)
            is_new = not OPEN_FILES_MOVE and not stat.st_size and time.time() - stat.st_mtime < PATIENCE  # and not locked yet
            if not is_new and try_lock(descriptor) and is_there(path):
                dead = DeadWorker(descriptor, read_worker_file(descriptor, path), self._home)
                self._dead_workers.append(dead)
        finally:
            if dead is None:
                os.close(descriptor)

    def _find_orphans(self):
        """Look for orphans, jobs that are marked as running although nobody runs them: run/ was deleted, or an editor's save brought them
        back. There can be new ones once someone else has written the job file, or once a result was ignored: the token of that attempt may
        now stand with a copy of the job's line."""
        known = self._claims.scans, self._outcomes.ignored
        if self._looked_at == known:
            return
        for process_token in {split_attempt_token(job.worker)[0] for job in self._claims.abandoned(self._is_run)}:
            process = WorkerProcess(process_token, 0, 0, "", [], "")
            self._dead_workers.append(DeadWorker(None, process, self._home, self._is_run))
        self._looked_at = known

    def _is_run(self, token):
        """Whether a live process, or what a dead one left, runs the attempt with this token."""
        process_token = split_attempt_token(token)[0]
        if process_token == self._own_file.process_token:
            return self._outcomes.holds(token)
        return is_there(worker_path(self._folder, process_token))


class DeadWorker:
    """What a dead worker process left, by its file, which this process holds locked by a descriptor.

    Without a descriptor there is no such file, and its jobs are orphans. `runs(token)` tells whether someone else runs the attempt with
    that token.
    """

    def __init__(self, descriptor, process, home, runs=None):
        self.process = process
        self._runs = runs or (lambda token: split_attempt_token(token)[0] != process.process_token)
        self._descriptor = descriptor
        self._home = home
        self._since = time.monotonic()
        self._left = None  # (job, LostTree) pairs; the job is None if it was taken away meanwhile, the tree if nothing can run
        self._ran = frozenset(slot["worker"] for slot in process.running if slot)  # the tokens of the attempts that it had noted to run

    def step(self, claims, ended=None, say=log):
        """End what still runs of its attempts, and return its jobs once nothing does; False while there is more to do. `ended(job)` is
        called for each job that was returned or died, `say(message)` for what a user has to know; it may get the same again and again."""
        if self._left is None:
            self._left = self._look(claims)
        waited = time.monotonic() - self._since
        sight = None
        if any(tree is not None for _, tree in self._left):  # an attempt may have started a worker process, which is no part of it
            sight = Sight(self._home, {os.getpid()}.union(worker.pid for worker in live_workers(run_folder(self._home))))
        still = [(job, tree) for job, tree in self._left if tree is not None and self._holds(job, tree, sight, waited, say)]
        for job, _ in self._left:
            if job is not None and job not in [held for held, _ in still]:
                self._return(claims, job, ended)
        self._left = still
        if still:
            return False
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None  # unlocked, also if the file cannot be removed now
            remove_worker_file(self.process.path, descriptor)
        return True

    def _holds(self, job, tree, sight, waited, say):
        """Signal what is left of an attempt. Whether its job must wait: as long as something runs that is provably of the attempt, and for
        some seconds for what may be of it."""
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
        """Note what was seen of a tree while it was proven to be the attempt's: for the next process, if this one dies before it ends."""
        for number, slot in enumerate(self.process.running):
            if self._descriptor is not None and slot and slot["worker"] == tree.token and 0 < slot.get("seen", 0) < tree.seen:
                slot["seen"] = tree.seen
                with suppress(OSError):
                    write_slot(self._descriptor, number, json.dumps(slot))

    def _look(self, claims):
        left = claims.abandoned(self._runs)
        slots = {slot["worker"]: slot for slot in self.process.running if slot}
        trees = [(job, self._tree(job.worker, slots.pop(job.worker, None), self._log(job))) for job in left]
        return trees + [(None, self._tree(token, slot, "")) for token, slot in slots.items()]

    def _tree(self, token, slot, path):
        """What may run of an attempt; None if it completed, since it may leave something running then, or was never started."""
        if self._fate(token) != LOST:
            return None
        if not slot or not self.process.proof:
            return LostTree(token, path, slot["group"] if slot else 0)
        return LostTree(token, path, slot["group"], slot.get("start", 0), slot.get("seen", 0))

    def _fate(self, token):
        """What became of the attempt with this token: COMPLETED, PENDING (it was not started), or LOST if neither is proven."""
        if token in self._ran or not self.process.pid:
            return LOST
        if split_attempt_token(token)[1] in self.process.done:
            return COMPLETED
        return LOST if self.process.proof is False else PENDING

    def _log(self, job):
        return log_path(self._home, job, job.attempts)

    def _return(self, claims, job, ended):
        fate = self._fate(job.worker)
        output = last_lines(self._log(job)) if fate == LOST else ""
        after = claims.finish(job, _OUTCOMES[fate], time.time(), output)
        if after is not None and fate != PENDING:
            lost = "it runs again" if after.state == PENDING else "moved to the dead letter queue"
            what = "it had completed" if fate == COMPLETED else lost
            log("%s: its worker%s died; %s" % (job.id, " (pid %d)" % self.process.pid if self.process.pid else "", what))
            if ended is not None:
                ended(after)


def _urgency(seconds):
    """The signal for processes that were asked to end so many seconds ago."""
    return TERM if seconds < _LOST_GRACE else KILL


def _named(pids):
    """The pids of processes for a message, with a word about those of another user; "" if there are none."""
    if not pids:
        return ""
    foreign = " of another user, which must end by themselves" if any(map(is_denied, pids)) else ""
    return " (pid %s%s)" % (", ".join(map(str, pids)), foreign)
