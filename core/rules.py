"""The rules of a job: what follows an attempt, how long a retry waits, how long an attempt may run. All pure: a Job in, a Job out."""
from __future__ import annotations

import re

from core.job import COMPLETED, DEAD, LOST, MAX_ATTEMPTS, OPTION_CHECKS, PENDING, PROCESSING, check_fields
from core.times import format_time, parse_time

_SLACK = 1.0  # seconds by which a clock may be adjusted without anyone calling it set back


def time_limit(job, settings):
    """How many seconds an attempt may run, or None for as long as it likes."""
    return own_or_setting(job, "timeout", settings)


def own_or_setting(job, name, settings):
    value = job.options.get(name)
    return getattr(settings, name) if value is None or OPTION_CHECKS[name](value) else value


def runner_words(job, settings, folder):
    """The words that are put before its command, with {id}, {attempt} and {cwd} filled in, and nothing else; [] for none. Raises
    InvalidJob if they are none: nobody has looked at the field if the job was added before it meant something."""
    words = job.options.get("runner")
    words = settings.runner if words is None else words
    if not words:
        return []
    check_fields({"id": job.id, "command": job.command, "runner": words})
    values = {"{id}": job.id, "{attempt}": str(job.attempts), "{cwd}": folder}
    return ["".join(values.get(part, part) for part in re.split(r"(\{(?:id|attempt|cwd)\})", word)) for word in words]


def backoff_delay(job, settings):
    """Seconds to wait after the attempts that a job has had: backoff_base ** attempts, at most backoff_max."""
    longest = own_or_setting(job, "backoff_max", settings)
    try:
        return min(float(own_or_setting(job, "backoff_base", settings)) ** job.attempts, longest)
    except OverflowError:
        return longest


def ready_at(job, settings, now):
    """When a pending job may run, in seconds since the epoch; 0 for at any time.

    A retry that is due later than its backoff from now was put off by a clock that has been set back since, and may run at once; not one
    that its user has put off.
    """
    if job.run_at is None:
        return 0
    due = parse_time(job.run_at)
    return 0 if is_retry(job, settings) and due - now > backoff_delay(job, settings) + _SLACK else due


def is_retry(job, settings):
    """Whether a pending job that has a time waits between two attempts: not for longer than the backoff from its last change on, or
    somebody has put it off since."""
    if not job.attempts or not job.updated_at:
        return False
    return parse_time(job.run_at) - parse_time(job.updated_at) <= backoff_delay(job, settings) + _SLACK


def claimed(job, worker, now):
    """The job as a worker takes it. The attempt counts from its start, so that a job which kills its worker still comes to an end."""
    moment = format_time(now)
    return job.with_progress(PROCESSING, min(job.attempts + 1, MAX_ATTEMPTS), None, None, None, moment, moment, worker)


def after_attempt(job, outcome, settings, now, seconds=0.0):
    """What follows an attempt: completed, pending with a wait, or dead when its retries are used up. `now` is when it ended, after so many
    seconds (0: not known), since it may have been claimed some time before it was started.

    An attempt that was lost with its worker is followed by the next one at once.
    """
    state, run_at = PENDING, None
    started_at = max(job.started_at, format_time(now - seconds)) if seconds else job.started_at
    if outcome.reason is None:
        state = COMPLETED
    elif job.attempts > own_or_setting(job, "max_retries", settings):
        state = DEAD
    elif outcome.reason != LOST:
        run_at = format_time(now + backoff_delay(job, settings))
    return job.with_progress(state, job.attempts, outcome.exit_code, outcome.reason, run_at, started_at, format_time(now), None)


def given_back(job, now):
    """The job of a worker that was told to stop at once: pending again, as if that attempt had not been."""
    return job._replace(state=PENDING, attempts=max(job.attempts - 1, 0), exit_code=None, reason=None, run_at=None, started_at=None,
                        updated_at=format_time(now), worker=None)


def retried(job, now):
    """A dead job as `retry` brings it back: pending, with all its attempts before it again. That it was started before is kept, since
    something of it may still run."""
    return job._replace(state=PENDING, attempts=0, exit_code=None, reason=None, run_at=None, updated_at=format_time(now), worker=None)


def given_up(job, reason, now):
    """A pending or running job that is not to run any more: it was cancelled, or waits for a job that is dead."""
    return job._replace(state=DEAD, exit_code=None, reason=reason, run_at=None, updated_at=format_time(now), worker=None)
