"""How attempts end in the queue, and which job a worker runs next: several results are recorded, and several jobs claimed, at once.

To record a result and to claim the next job costs half as much as a command of a millisecond itself. So workers whose jobs take
milliseconds do both for several jobs at once, while the command of another job runs. A result waits no longer than STALE seconds until it
is recorded, and a claimed job no longer until it starts: each worker looks at their age after each job, and the main thread takes
everything away when no worker comes by.

The states of a job, with what changes them (in jobs.json it is `processing` between its claim and its record):

    pending ──next───────────────────▶ running ──finished──────────────────▶ recorded
       │                                 ▲ │                                    ▲
       │ claimed with others             │ │ finished well, and a job is ahead  │ with others: finished,
       ▼                                 │ ▼                                    │ claim_ahead, flush, close
     ahead ──next, finished──────────────┘ postponed ───────────────────────────┘
       │
       └──flush, close, a stop──▶ given back: pending, and no attempt is counted

A job is told of (in the log, to on_finish) once it is recorded, never before. What could not be recorded yet is never forgotten while the
process lives, and if it must end without, its worker file stays.
"""
from __future__ import annotations

import threading
import time
from collections import deque
from itertools import count as count_up

from core.home import wake_workers
from core.job import COMPLETED, DEAD
from core.slots import without_slot
from execution.waiting import TICK
from execution.worker_files import attempt_token
from helpers import log
from storage.claims import Finished

_MOST_AHEAD = 32  # jobs that are claimed at once
_AHEAD = 0.03  # seconds that they should take, if each takes as long as the last one did
_STOP_PATIENCE = 5  # times that a result is tried to be recorded again after a stop, a second between two
_NAMED = 10  # results that are named in one message
STALE = 0.05  # seconds after which an end must be recorded, and a claimed job must have been started


class Outcomes:
    """The jobs that a worker process has claimed, from their claim until their result is recorded. A result is a `Finished`.

    Workers call `next`, `finished` and `claim_ahead`; the main thread calls `flush`, and `close` once all workers have ended. `faults` is
    what meets the faults of `claims`, `account` is told what has ended, `announcer` runs on_finish, and `wake()` makes the main thread call
    `flush` soon.
    """

    def __init__(self, home, claims, process_token, count, stop, faults, account, announcer, wake):
        self.unrecorded = []  # the Finished that could not be recorded before the process had to end
        self.ignored = 0  # results that counted for nothing, since the job was taken away
        self._home = home
        self._claims = claims
        self._process_token = process_token
        self._stop = stop
        self._faults = faults
        self._account = account
        self._announcer = announcer
        self._wake = wake
        self._batch = Batch(count)
        self._is_watched = False  # whether the main thread comes in time for what is in the batch
        self._serials = count_up(1)
        self._tokens = set()  # of the attempts that this process has claimed, or is about to; without their slots

    def holds(self, token):
        """Whether an attempt token is of a job that this process has claimed, or is about to."""
        return without_slot(token) in self._tokens

    def has_lost_slot(self, job):
        """Whether another job may have got the slot of a claimed one (see `Claims`)."""
        return self._faults.guarded("look at %s" % job.id, self._claims.has_lost_slot, job, otherwise=False)

    # -- for the workers

    def next(self, preferred=None):
        """The job that a worker is to run next, claimed; None if none may run now. `preferred` comes before all others, if it may run."""
        if self._is_paused():
            self._record(self._batch.take(), 0)
        job = self._batch.next() if preferred is None else None
        if job is not None:
            return job
        token = self._new_token()
        job = self._faults.guarded("take a job", self._claims.claim, token, time.time(), preferred)
        if job is None:
            self._tokens.discard(token)
        return job

    def finished(self, result, moment):
        """Record how an attempt ended, now or with others: (the job that its worker is to run next, the job whose retry it waits for), each
        None if there is none. `moment` is when the attempt ended, by the monotonic clock."""
        following, retry = self._postpone(result, moment), None
        if following is None:
            following, retry = self._record_now(result, moment)
        self._call_for_flush()
        return following, retry

    def claim_ahead(self):
        """Record what was postponed, and claim jobs for all workers, if there are too few: while a command runs this costs no time."""
        wanted = self._batch.wanted(time.monotonic())
        if wanted and not self._stop.is_set():
            self._record_postponed(self._batch.take_results(), wanted)
            self._call_for_flush()

    def are_short(self):
        """Whether the jobs of this process take milliseconds now, by those that ended last."""
        return bool(self._batch)

    # -- for the main thread

    def flush(self):
        """Record what was postponed for too long, and give back the jobs that nobody has started in time. Gives back the seconds until this
        is to be called again."""
        self._is_watched = False  # first: a worker that fills the batch from now on wakes the main thread
        if self._batch.is_stale(time.monotonic()):
            self._record_postponed(self._batch.take(), 0)
            wake_workers(self._home)
        self._is_watched = bool(self._batch)
        return STALE if self._is_watched else TICK

    def close(self):
        """Record all that is left, once no worker runs."""
        self._record(self._batch.take(), 0)

    def tell_unrecorded(self):
        """Say what is known of the results that could not be recorded: how each attempt ended here, and who looks after its job."""
        known = ["%s (%s)" % (result.job.id, _how_it_was(result.outcome)) for result in self.unrecorded if result.started]
        others = len(self.unrecorded) - len(known)
        named = ", ".join(known[:_NAMED] + ["…"] * (len(known) > _NAMED))
        if known:
            log("%d result%s could not be recorded: %s; the next worker to start takes up what still counts as running, and may run it "
                "again" % (len(known), "" if len(known) == 1 else "s", named))
        if others:
            log("%d job%s that had not started could not be given back; the next worker to start does that"
                % (others, "" if others == 1 else "s"))

    def count_end(self, job):
        """Count a job that may have ended, and run on_finish for it if it has."""
        self._account.count(job)
        command = self._claims.store.settings.on_finish
        if command and job.state in (COMPLETED, DEAD):
            self._announcer.announce(command, job)

    def tell_buried(self, jobs):
        """Tell of jobs that died with one that they come after, as of those that died by themselves."""
        for job in jobs:
            self.count_end(job)
        self._account.ended([(job, job, 0.0) for job in jobs])

    # -- how

    def _is_paused(self):
        """Whether the queue is paused, or the group of a job that was claimed ahead: no job that was claimed ahead is to start."""
        store, groups = self._claims.store, self._batch.groups
        if not self._batch:
            return False
        if store.paused():
            return True
        if not groups:
            return False
        return not groups.isdisjoint(self._faults.guarded("look which groups are paused", store.paused_groups, otherwise=groups))

    def _holds_back(self):
        """Whether no job that was claimed ahead is to start any more: this process stops, or the queue is paused."""
        return self._stop.is_set() or self._is_paused()

    def _new_token(self):
        token = attempt_token(self._process_token, next(self._serials))
        self._tokens.add(token)
        return token

    def _call_for_flush(self):
        """Wake the main thread if it would come too late for what is in the batch."""
        if self._batch and not self._is_watched:
            self._wake()

    def _postpone(self, result, moment):
        """The job to run next while this result waits to be recorded; None if that must be done now: others wait for a slot."""
        if not _is_success(result) or result.job.slot is not None or self._holds_back():
            return None
        following = self._batch.postpone(result, moment)
        if following is None:
            with self._batch.filling:  # another worker may just be claiming
                following = self._batch.postpone(result, moment)
        return following

    def _record_now(self, result, moment):
        """Record a result with those that were postponed, as `finished` does."""
        batch, retries = self._batch, self._claims.store.settings.retry_in_place
        stops = self._holds_back()
        succeeded, gives_back = _is_success(result), stops or batch.is_stale(moment)
        waits = not succeeded and (result.outcome is None or retries)
        wanted = 0 if waits or stops else batch.how_many(result.seconds, moment) if succeeded else 1
        after = self._record((batch.take() if gives_back else batch.take_results()) + [result], wanted)
        if gives_back:
            wake_workers(self._home)
        return (None if waits or stops or self._holds_back() else batch.next(),
                after if retries and after is not None and after.run_at is not None else None)

    def _record(self, results, wanted):
        """Record results and claim `wanted` jobs for the batch. Gives back what the job of the last result has become, or None.

        It is tried each second for as long as the job file is broken or the disk full, with the results kept in memory; a stop waits for
        them for some seconds."""
        patience = _STOP_PATIENCE
        while results:
            afters = self._finish_and_claim(results, wanted, "record it", "%s: its result waits to be recorded: " % results[0].job.id)
            if afters is not None:
                return afters[-1]
            patience -= self._stop.is_set()
            if patience < 0 or self._stop.homeless:
                self.unrecorded += results
                break
            self._stop.wait(TICK) if not self._stop.is_set() else time.sleep(TICK)
        return None

    def _record_postponed(self, results, wanted):
        """Record what was postponed, and claim `wanted` jobs, while others run. What cannot be recorded now stays postponed."""
        if self._finish_and_claim(results, wanted, "record them", "%d results wait to be recorded: " % len(results)) is None:
            self._batch.put_back(results, time.monotonic())

    def _finish_and_claim(self, results, wanted, task, about):
        """Record results, claim `wanted` jobs for the batch unless another worker just has claimed enough, and tell of the results. Gives
        back what each job has become, or None if a fault was in the way."""
        if self._stop.homeless:
            return None

        def change():
            with self._batch.filling:
                tokens, claimed = [self._new_token() for _ in range(0 if self._batch.is_full() else wanted)], []
                try:
                    afters, claimed = self._claims.finish_and_claim(results, time.time(), tokens)
                finally:
                    self._tokens.difference_update(tokens[len(claimed):])
                self._batch.add(claimed, time.monotonic())
            return afters

        afters = self._faults.guarded(task, change, about=about)
        if afters is not None:
            self._tell(results, afters)
        if self._claims.made_room:
            self._claims.made_room = False
            wake_workers(self._home)
        return afters

    def _tell(self, results, afters):
        """Tell of results that were recorded, but for those of jobs that were never started."""
        ends = []
        for result, after in zip(results, afters):
            self._tokens.discard(without_slot(result.job.worker))
            if after is None:
                self.ignored += 1
            elif result.started:
                self.count_end(after)
            if result.started:
                ends.append((result.job, after, result.seconds))
        self._account.ended(ends)


def _how_it_was(outcome):
    """How an attempt ended, for a message; None stands for one that was stopped."""
    if outcome is None:
        return "ended by a stop"
    return "completed" if outcome.reason is None else outcome.reason if outcome.exit_code is None else "exit code %d" % outcome.exit_code


def _is_success(result):
    return result.outcome is not None and result.outcome.reason is None


class Batch:
    """The jobs that a worker process has claimed and not started yet, and the results that are postponed. It touches no file.

    Threads share it. Each `moment` is one of the monotonic clock. `groups` holds the names of all groups of the jobs that were here when
    jobs were added last: groups without a limit, since others are not claimed ahead.
    """

    def __init__(self, count):
        self.filling = threading.Lock()  # held while results are recorded and jobs claimed: other workers wait for what that brings
        self._count = count
        self._mutex = threading.RLock()
        self._results = []
        self._ahead = deque()  # (job, when it was claimed)
        self._since = 0.0  # when the attempt of the first of _results ended
        self.groups = frozenset()
        self._filled = 0.0  # when jobs were added last
        self._handed_out = 0  # jobs since then

    def __bool__(self):
        return bool(self._results or self._ahead)

    def add(self, jobs, moment):
        """Take jobs that were claimed at that moment."""
        with self._mutex:
            self._ahead.extend([(job, moment) for job in jobs])
            self._filled, self._handed_out = moment, 0
            self.groups = frozenset(job.group for job, _ in self._ahead if job.options) - {None}

    def next(self):
        """The job that is to run next, or None."""
        with self._mutex:
            return self._hand_out() if self._ahead else None

    def _hand_out(self):
        self._handed_out += 1
        return self._ahead.popleft()[0]

    def wanted(self, moment):
        """How many jobs to claim while a command runs that is expected to be as short as those before it; 0 while there are enough here."""
        with self._mutex:
            if not self._results or self.is_full() or self.filling.locked():
                return 0
            return max(0, self.how_many(self._results[-1].seconds, moment) - len(self._ahead))

    def is_full(self):
        """Whether there is a job for each worker, so that none is to be claimed."""
        return len(self._ahead) >= self._count

    def how_many(self, seconds, moment):
        """How many jobs to claim at once after one that took so long: as many as start within _AHEAD. On a busy machine that is told by the
        last ones that were claimed so; by the time that a job takes, too many would be given back."""
        if not 0 < seconds < _AHEAD:
            return 1
        by_run_time = self._count * _AHEAD / seconds
        by_starts = self._handed_out * _AHEAD / (moment - self._filled) if self._handed_out and moment > self._filled else _MOST_AHEAD
        return max(1, min(_MOST_AHEAD, int(by_run_time), int(by_starts)))

    def postpone(self, result, moment):
        """Keep a result, and give back the job that is to run next. None, and the result is not kept, if no job is here, or if the oldest
        of what is here must be recorded now."""
        with self._mutex:
            if not self._ahead or self.is_stale(moment):
                return None
            if not self._results:
                self._since = moment
            self._results.append(result)
            return self._hand_out()

    def put_back(self, results, moment):
        """Take back results that could not be recorded; they are stale again in a second."""
        with self._mutex:
            self._results[:0] = results
            self._since = moment + TICK - STALE

    def take_results(self):
        """Take out the results that were kept."""
        with self._mutex:
            results, self._results = self._results, []
        return results

    def take(self):
        """Take out everything, as results: those of jobs that were not started give the job back."""
        with self._mutex:
            ahead, self._ahead = self._ahead, deque()
        return [Finished(job, None, time.time(), "", 0.0, started=False) for job, _ in ahead] + self.take_results()

    def is_stale(self, moment):
        """Whether what is here must be recorded now."""
        with self._mutex:
            return bool(self._results and moment - self._since > STALE or self._ahead and moment - self._ahead[0][1] > STALE)
