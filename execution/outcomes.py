"""How attempts end in the queue, and which job a worker runs next: several ends are recorded, and several jobs claimed, at once.

To record an end and to claim the next job costs half as much as a command of a millisecond itself. So workers whose jobs take milliseconds
do both for several jobs at once, while the command of another job runs. No end waits for longer than STALE seconds to be recorded, and no
claimed job for its start: a worker looks at their age after each job, and the main thread takes everything away when no worker comes by.

A job of this process is in one of these states (in brackets: what jobs.json says):

                      next                 finished                  finished, claim_ahead, flush
    [pending] ───▶ running [processing] ───▶ postponed [processing] ───▶ recorded [completed, pending, dead]
        │            ▲    │                                                ▲
        │ claimed    │    │ finished (a failure, a longer job, a stop)     │
        │ with others│ next, finished                                      │
        ▼            │    └────────────────────────────────────────────────┤
      ahead [processing] ───────────────────▶ given back [pending] ────────┘
                            flush, a stop

A job that was recorded as completed or dead is told of (in the log, to on_finish) after that, never before.
"""
from __future__ import annotations

import threading
import time
from collections import deque
from itertools import count as count_up

from core.home import wake_workers
from core.job import COMPLETED, DEAD, DEPENDENCY
from core.times import parse_time
from execution.waiting import TICK
from execution.worker_files import attempt_token
from helpers import log
from storage.claims import Finished

_MOST_AHEAD = 32  # jobs that are claimed at once
_AHEAD = 0.03  # seconds that they should take, by the last one that ended
_STOP_PATIENCE = 5  # times that a result is tried to be recorded again after a stop, a second between two
STALE = 0.05  # seconds after which an end must be recorded, and a claimed job must have been started


class Outcomes:
    """The jobs that a worker process has claimed, from their claim until their end is recorded.

    Workers call `next`, `finished` and `claim_ahead`; the main thread calls `flush`, and `close` once all workers have ended. `faults` is
    what meets the faults of `claims`, `announcer` runs on_finish, and `wake()` makes the main thread call `flush` soon.
    """

    def __init__(self, home, claims, process_token, count, stop, faults, announcer, wake):
        self.deaths = 0  # jobs that this process moved to the dead letter queue
        self.unrecorded = 0  # results that could not be recorded before the process had to end
        self.ignored = 0  # ends that counted for nothing, since the job was taken away
        self._home = home
        self._claims = claims
        self._process_token = process_token
        self._stop = stop
        self._faults = faults
        self._announcer = announcer
        self._wake = wake
        self._batch = Batch(count)
        self._is_watched = False  # whether the main thread comes in time for what is in the batch
        self._serials = count_up(1)
        self._tokens = set()  # of the attempts that this process has claimed, or is about to

    def holds(self, token):
        """Whether an attempt token is of a job that this process has claimed, or is about to."""
        return token in self._tokens

    # -- for the workers

    def next(self, preferred=None):
        """The job that a worker is to run next, claimed; None if none may run now. `preferred` comes before all others, if it may run."""
        job = self._batch.next() if preferred is None else None
        if job is not None:
            return job
        token = self._new_token()
        job = self._faults.guarded("take a job", self._claims.claim, token, time.time(), preferred)
        if job is None:
            self._tokens.discard(token)
        return job

    def finished(self, end, moment):
        """Record how an attempt ended, now or with others: (the job that its worker is to run next, the job whose retry it waits for), each
        None if there is none. `moment` is when it ended, by the monotonic clock."""
        following, retry = self._postpone(end, moment), None
        if following is None:
            following, retry = self._record_now(end, moment)
        self._have_flushed()
        return following, retry

    def claim_ahead(self):
        """Record what was postponed, and claim jobs for all workers, if there are too few: while a command runs this costs no time."""
        wanted = self._batch.wanted()
        if wanted and not self._stop.is_set():
            self._record_postponed(self._batch.take_ended(), wanted)
            self._have_flushed()

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

    def count_end(self, job):
        """Count a job that may have ended, and run on_finish for it if it has."""
        if job.state == DEAD:
            self.deaths += 1
        command = self._claims.store.settings.on_finish
        if command and job.state in (COMPLETED, DEAD) and not self._announcer.announce(command, job):
            self._faults.tell("on_finish is too slow: it was not run for some jobs")

    def tell_buried(self, jobs):
        """Tell of jobs that died with one that they come after, as of those that died by themselves."""
        for job in jobs:
            self.count_end(job)
        log(*[_report(job, 0.0) for job in jobs])

    # -- how

    def _new_token(self):
        token = attempt_token(self._process_token, next(self._serials))
        self._tokens.add(token)
        return token

    def _have_flushed(self):
        """Wake the main thread if it would come too late for what is in the batch."""
        if self._batch and not self._is_watched:
            self._wake()

    def _postpone(self, end, moment):
        """The job that is to run next while this end waits to be recorded; None if the end must be recorded now."""
        if not _has_succeeded(end) or self._stop.is_set():
            return None
        following = self._batch.postpone(end, moment)
        if following is None:
            with self._batch.filling:  # another worker may just be claiming
                following = self._batch.postpone(end, moment)
        return following

    def _record_now(self, end, moment):
        """Record an end with those that were postponed, as `finished` does."""
        batch, stops, retries = self._batch, self._stop.is_set(), self._claims.store.settings.retry_in_place
        succeeded, gives_back = _has_succeeded(end), stops or batch.is_stale(moment)
        waits = not succeeded and (end.outcome is None or retries)
        wanted = 0 if waits or stops else batch.how_many(end.seconds) if succeeded else 1
        after = self._record((batch.take() if gives_back else batch.take_ended()) + [end], wanted)
        if gives_back:
            wake_workers(self._home)
        return (None if waits or self._stop.is_set() else batch.next(),
                after if retries and after is not None and after.run_at is not None else None)

    def _record(self, ended, wanted):
        """Record how jobs ended and claim `wanted` others for the batch; gives back the last of those that ended as it is now, or None.

        It is tried each second for as long as the job file is broken or the disk full, with the results kept in memory; a stop waits for
        them for some seconds."""
        patience = _STOP_PATIENCE
        while ended:
            results = self._finish_and_claim(ended, wanted, "record it", "%s: its result waits to be recorded: " % ended[0].job.id)
            if results is not None:
                return results[-1]
            patience -= self._stop.is_set()
            if patience < 0:
                self.unrecorded += len(ended)
                break
            self._stop.wait(TICK) if not self._stop.is_set() else time.sleep(TICK)
        return None

    def _record_postponed(self, ended, wanted):
        """Record what was postponed, and claim `wanted` jobs, while others run. What cannot be recorded now stays postponed."""
        if self._finish_and_claim(ended, wanted, "record them", "%d results wait to be recorded: " % len(ended)) is None:
            self._batch.put_back(ended, time.monotonic())

    def _finish_and_claim(self, ended, wanted, task, about):
        """Record how jobs ended, claim `wanted` others for the batch, and tell of those that ended: what became of each, or None if a fault
        was in the way. None are claimed if another worker just has claimed enough."""
        def change():
            with self._batch.filling:
                tokens, claimed = [self._new_token() for _ in range(0 if self._batch.is_full() else wanted)], []
                try:
                    results, claimed = self._claims.finish_and_claim(ended, time.time(), tokens)
                finally:
                    self._tokens.difference_update(tokens[len(claimed):])
                self._batch.add(claimed, time.monotonic())
            return results

        results = self._faults.guarded(task, change, about=about)
        if results is not None:
            self._tell(ended, results)
        return results

    def _tell(self, ended, results):
        """Tell of jobs whose end was recorded, but for those that were never started."""
        lines = []
        for (job, _, _, _, seconds, was_started), after in zip(ended, results):
            self._tokens.discard(job.worker)
            if after is None:
                self.ignored += 1
            if not was_started:
                continue
            if after is not None:
                self.count_end(after)
                lines.append(_report(after, seconds))
            else:
                lines.append("%s: it was cancelled, or the queue was cleared or edited; how it ended counts for nothing" % job.id)
        if lines:
            log(*lines)


def _has_succeeded(end):
    return end.outcome is not None and end.outcome.reason is None


def _report(job, seconds):
    """A line for the log: how the attempt of a job ended, or why there will be none."""
    if job.reason == DEPENDENCY:
        return "%s: %s; moved to the dead letter queue" % (job.id, job.ending)
    if job.state == DEAD:
        return "%s: %s, attempt %d; moved to the dead letter queue" % (job.id, job.ending, job.attempts)
    if job.state == COMPLETED:
        return "%s: completed in %.2f s" % (job.id, seconds)
    if job.run_at is None:
        return "%s: back in the queue" % job.id
    wait = parse_time(job.run_at) - parse_time(job.updated_at)
    return "%s: %s, attempt %d; again in %g s" % (job.id, job.ending, job.attempts, round(wait, 2))


class Batch:
    """The jobs that a worker process has claimed and not started yet, and the ends that are not recorded yet. It touches no file.

    Threads share it. Each `moment` is one of the monotonic clock.
    """

    def __init__(self, count):
        self.filling = threading.Lock()  # held while ends are recorded and jobs claimed: other workers wait for what that brings
        self._count = count
        self._mutex = threading.RLock()
        self._ended = []
        self._ahead = deque()  # (job, when it was claimed)
        self._since = 0.0  # when the first of _ended has ended

    def __bool__(self):
        return bool(self._ended or self._ahead)

    def add(self, jobs, moment):
        """Take jobs that were claimed at that moment."""
        with self._mutex:
            self._ahead.extend([(job, moment) for job in jobs])

    def next(self):
        """The job that is to run next, or None."""
        with self._mutex:
            return self._ahead.popleft()[0] if self._ahead else None

    def wanted(self):
        """How many jobs to claim while a command runs that is expected to be as short as those before it; 0 while there are enough here."""
        with self._mutex:
            if not self._ended or self.is_full() or self.filling.locked():
                return 0
            return self.how_many(self._ended[-1].seconds)

    def is_full(self):
        """Whether there is a job for each worker, so that none is to be claimed."""
        return len(self._ahead) >= self._count

    def how_many(self, seconds):
        """How many jobs to claim at once after one that took so long."""
        return min(_MOST_AHEAD, int(self._count * _AHEAD / seconds)) if 0 < seconds < _AHEAD else 1

    def postpone(self, end, moment):
        """Keep an end, and give back the job that is to run next. None, and the end is not kept, if no job is here, or if the oldest of
        what is here must be recorded now."""
        with self._mutex:
            if not self._ahead or self.is_stale(moment):
                return None
            if not self._ended:
                self._since = moment
            self._ended.append(end)
            return self._ahead.popleft()[0]

    def put_back(self, ended, moment):
        """Take back ends that could not be recorded; they are stale again in a second."""
        with self._mutex:
            self._ended[:0] = ended
            self._since = moment + TICK - STALE

    def take_ended(self):
        """Take out the ends that were kept."""
        with self._mutex:
            ended, self._ended = self._ended, []
        return ended

    def take(self):
        """Take out everything, as ends: those of jobs that were not started give the job back."""
        with self._mutex:
            ahead, self._ahead = self._ahead, deque()
        return [Finished(job, None, time.time(), "", 0.0, started=False) for job, _ in ahead] + self.take_ended()

    def is_stale(self, moment):
        """Whether what is here must be recorded now."""
        with self._mutex:
            return bool(self._ended and moment - self._since > STALE or self._ahead and moment - self._ahead[0][1] > STALE)
