"""What a dead worker left: its processes are ended, then its jobs go back into the queue."""
from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress

from core.home import run_folder
from core.job import COMPLETED, LOST, PENDING, Outcome
from core.system import pwrite
from execution.attempt import PATIENCE
from execution.process_tree import LostTree, Sight, is_denied
from execution.worker_files import SLOT_SIZE, live_workers, remove_worker_file, split_attempt_token
from helpers import log
from storage.output import last_lines, log_path

_LOST_GRACE = 2.0  # seconds between TERM and KILL for the tree of a dead worker; its jobs are to run again within five


class DeadWorker:
    """The file of a dead worker process, held locked by us, and what is to be done about its jobs.

    Without a descriptor: jobs that nobody runs although they are marked so. `runs(worker)` tells whether someone runs a token's job.
    """

    def __init__(self, descriptor, process, home, runs=None):
        self.process = process
        self._runs = runs or (lambda worker: split_attempt_token(worker)[0] != process.process_token)
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
        return {os.getpid()}.union(worker.pid for worker in live_workers(run_folder(self._home)))

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
                    pwrite(self._descriptor, json.dumps(slot).encode("ascii").ljust(SLOT_SIZE - 2), SLOT_SIZE * (thread + 1))

    def _look(self, jobs):
        left = jobs.abandoned(self._runs)
        slots = {slot["worker"]: slot for slot in self.process.running if slot}
        self._ran = frozenset(slots)
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
        if worker in self._ran or not self.process.pid:
            return LOST
        if split_attempt_token(worker)[1] in self.process.done:
            return COMPLETED
        return LOST if self.process.proof is False else PENDING

    def _log(self, job):
        return log_path(self._home, job, job.attempts)

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
