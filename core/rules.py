"""What becomes of a job: what follows an attempt, how long a retry waits, how long an attempt may run, what a job waits for. All pure."""
from __future__ import annotations

import re
from collections import namedtuple

from core.job import CANCELLED, COMPLETED, DEAD, LOST, MAX_ATTEMPTS, OPTION_CHECKS, PENDING, PROCESSING, STATES, check_fields
from core.settings import in_seconds
from core.times import format_time, parse_time

# What a pending job may wait for.
RETRY, TIME, OTHER_JOBS, GROUP, PAUSED, HOLD = "retry", "time", "jobs", "group", "paused", "hold"

# What keeps a pending job from starting (one of those words, None for nothing), the seconds until it is due (None: it is), and the ids of
# the jobs that it still comes after.
Wait = namedtuple("Wait", "waits_for due_in after")
NO_WAIT = Wait(None, None, ())

# What people call jobs in some state: the state, and what they wait for (None: anything), or the reason of their end.
_CALLED = {"ready": (PENDING, (None, GROUP, PAUSED)), "retrying": (PENDING, (RETRY,)), "failed": (PENDING, (RETRY,)),
           "scheduled": (PENDING, (TIME,)), "held": (PENDING, (HOLD,)), "blocked": (PENDING, (OTHER_JOBS,)), "queued": (PENDING, None),
           "running": (PROCESSING, None), "done": (COMPLETED, None), "cancelled": (DEAD, CANCELLED)}
STATE_WORDS = STATES + tuple(_CALLED)

_SLACK = 1.0  # seconds by which a clock may be adjusted without anyone calling it set back


def time_limit(job, settings):
    """How many seconds an attempt may run; None without a limit. The job's own null lifts the limit of the settings."""
    if job.options.get("timeout", 0) is None:
        return None
    return own_or_setting(job, "timeout", settings)


def own_or_setting(job, name, settings):
    """The value of an option that is also a setting: the job's own, if it has one that it can have. Lengths are in seconds."""
    value = job.options.get(name)
    return getattr(settings, name) if value is None or OPTION_CHECKS[name](value) else in_seconds(value)


def runner_words(job, settings, folder):
    """The words before the job's command, with {id}, {attempt} and {cwd} filled in; [] for none. Raises InvalidJob as `shell_words`."""
    words = _words(job, "runner", settings)
    if not words:
        return []
    values = {"{id}": job.id, "{attempt}": str(job.attempts), "{cwd}": folder}
    return ["".join(values.get(part, part) for part in re.split(r"(\{(?:id|attempt|cwd)\})", word)) for word in words]


def shell_words(job, settings):
    """The words that run the job's command, which is the word behind them; [] for those of the system. Raises InvalidJob if the field is no
    list of words: a job that was added before the field had a meaning was not checked."""
    return _words(job, "shell", settings)


def _words(job, name, settings):
    words = job.options.get(name)
    words = getattr(settings, name) if words is None else words
    if words:
        check_fields({"id": job.id, "command": job.command, name: words})
    return words or []


def backoff_delay(job, settings):
    """Seconds from the end of a job's last attempt to the next one: backoff_base ** attempts, at most backoff_max."""
    longest = own_or_setting(job, "backoff_max", settings)
    try:
        return min(float(own_or_setting(job, "backoff_base", settings)) ** job.attempts, longest)
    except OverflowError:
        return longest


def ready_at(job, settings, now):
    """When a pending job may run, in seconds since the epoch; 0 for at once.

    A retry that is due later than one backoff from now got its time from a clock that was set back since; it may run at once. A job that
    its user has delayed keeps its time.
    """
    if job.run_at is None:
        return 0
    due = parse_time(job.run_at)
    return 0 if is_retry(job, settings) and due - now > backoff_delay(job, settings) + _SLACK else due


def is_retry(job, settings):
    """Whether a pending job with a run_at waits between two attempts. If it is due later than its backoff, its user delayed it."""
    if not job.attempts or not job.updated_at:
        return False
    return parse_time(job.run_at) - parse_time(job.updated_at) <= backoff_delay(job, settings) + _SLACK


def wait_of(job, settings, now, lacks=(), paused=False, is_full=False):
    """The Wait of a job at `now` (seconds since the epoch); NO_WAIT for one that is not pending.

    `lacks` are the ids that `core.dependencies.lacking` gives, `is_full` says that as many jobs of its group run as may, and `paused` that
    workers take no new jobs. Of several reasons one is told: that it is held before other jobs, these before its time, that before its
    group, and that before the pause."""
    if job.state != PENDING:
        return NO_WAIT
    if job.is_held:
        return Wait(HOLD, None, ())
    left = ready_at(job, settings, now) - now
    due_in = round(left, 3) if left > 0 else None
    if lacks:
        return Wait(OTHER_JOBS, due_in, tuple(lacks))
    if due_in is not None:
        return Wait(RETRY if is_retry(job, settings) else TIME, due_in, ())
    return Wait(GROUP if is_full else PAUSED if paused else None, None, ())


def states_meant(words):
    """The states in which jobs are that these words of STATE_WORDS mean, in the order of STATES."""
    return tuple(state for state in STATES if any(state == _CALLED.get(word, (word,))[0] for word in words))


def is_called(job, wait, words):
    """Whether one of these words of STATE_WORDS means a job with that Wait."""
    for word in words:
        state, which = _CALLED.get(word, (word, None))
        if job.state == state and (which is None or (job.reason == which if state == DEAD else wait.waits_for in which)):
            return True
    return False


def claimed(job, worker, now):
    """The job as a worker claims it. An attempt counts from its start, so that a job that kills its workers dies in the end. `run_at`
    stays, so that it tells how long the job waited; for one that was brought back it is the time when that was done."""
    moment = format_time(now)
    due = job.updated_at if job.started_at and not job.attempts else job.run_at
    return job.with_progress(PROCESSING, min(job.attempts + 1, MAX_ATTEMPTS), None, None, due, moment, moment, worker)


def after_attempt(job, outcome, settings, now, seconds=0.0):
    """The job after an attempt: completed, pending with a wait, or dead if its retries are used up. The next attempt follows at once if
    this one was lost with its worker.

    `now` is when the attempt ended, `seconds` how long it ran (0: not known): its start may be later than its claim.
    """
    state, run_at = PENDING, None
    started_at = format_time(now - seconds) if seconds else job.started_at  # the clock may have been set meanwhile
    if outcome.reason is None:
        state, run_at = COMPLETED, job.run_at
    elif job.attempts > own_or_setting(job, "max_retries", settings):
        state, run_at = DEAD, job.run_at
    elif outcome.reason != LOST:
        run_at = format_time(now + backoff_delay(job, settings))
    return job.with_progress(state, job.attempts, outcome.exit_code, outcome.reason, run_at, started_at, format_time(now), None)


def put_off(job, run_at, now):
    """A pending job that may run at another time (a text; None for at once)."""
    return job._replace(run_at=run_at, updated_at=format_time(now))


def given_back(job, now):
    """The job after its worker was told to stop at once: pending again, and that attempt does not count."""
    return job._replace(state=PENDING, attempts=max(job.attempts - 1, 0), exit_code=None, reason=None, run_at=None, started_at=None,
                        updated_at=format_time(now), worker=None)


def retried(job, now):
    """A dead job as `retry` brings it back: pending, with no attempts. Its started_at stays, since processes of it may still run."""
    return job._replace(state=PENDING, attempts=0, exit_code=None, reason=None, run_at=None, updated_at=format_time(now), worker=None)


def given_up(job, reason, now):
    """A pending or running job that is dead without an attempt having failed: it was cancelled, or comes after a dead job."""
    return job._replace(state=DEAD, exit_code=None, reason=reason, run_at=None, updated_at=format_time(now), worker=None)
