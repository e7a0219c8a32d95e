"""How a job stands: in one short text for people (the column DETAIL of `list`), and what `show` and `list` tell scripts. No I/O in here."""
from __future__ import annotations

from math import ceil

from cli.terminal import short_duration
from core.job import COMPLETED, DEPENDENCY, PENDING, PROCESSING, TIMEOUT
from core.rules import GROUP, HOLD, OTHER_JOBS, RETRY, own_or_setting, time_limit
from core.rules import TIME as LATER
from core.times import parse_time

_COMES_AFTER = ", which it comes after,"  # in what dlq.json says of a job that died because of another one
_NAMED = 2  # ids of other jobs that are named


def details(job, wait, settings):
    """All of a job as `show` and `list --json` print it: what its file holds, then what follows from it. `inherited` has what is from the
    settings, so that `enqueue` does not take it for the job's own (`without_inherited`)."""
    retries = own_or_setting(job, "max_retries", settings)
    return dict(job.to_dict(), duration=job.duration, waits_for=wait.waits_for, due_in=wait.due_in, max_retries=retries,
                inherited={} if job.options.get("max_retries") == retries else {"max_retries": retries})


def standing(job, wait, settings, now, abandoned=False, unmanned=False):
    """What one wants to know of a job at `now`: why it does not run yet, how long it runs, how it ended. `abandoned` says that its worker
    is dead, `unmanned` that no worker runs."""
    if job.state == PENDING:
        return _waiting(job, wait, settings, unmanned)
    if job.state == PROCESSING:
        if abandoned:
            return "its worker died"
        again = " (%s)" % _attempt(job, settings, job.attempts) if job.attempts > 1 else ""
        return "running for %s%s" % (short_duration(running_for(job, now)), again)
    tried = " (%d attempts)" % job.attempts if job.attempts > 1 else ""
    if job.state == COMPLETED:
        return "" if job.duration is None else "took %s%s" % (short_duration(job.duration), tried)
    return ending(job, settings) + tried


def running_for(job, now):
    """For how many seconds a running job has run at `now`; 0 if that is not known."""
    began = job.started_at or job.updated_at
    return max(0.0, now - parse_time(began)) if began else 0.0


def due_in(job, now):
    """In how many seconds a job may run that has a time for that."""
    return max(0.0, parse_time(job.run_at) - now)


def died_at(job):
    """When a dead job died, as a text."""
    return str(job.options.get("failed_at") or job.updated_at or job.created_at)


def _waiting(job, wait, settings, unmanned):
    attempt = _attempt(job, settings, job.attempts + 1)
    if wait.waits_for == HOLD:
        return "held"
    if wait.waits_for == OTHER_JOBS:
        return "after %s" % _few(wait.after)
    if wait.waits_for == LATER:
        return "in %s" % short_duration(ceil(wait.due_in))
    if wait.waits_for == RETRY:
        return "retry in %s (%s)" % (short_duration(ceil(wait.due_in)), attempt)
    tried = " (%s)" % attempt if job.attempts else ""
    if wait.waits_for == GROUP:
        return "group %s is full%s" % (job.group, tried)
    return (wait.waits_for or ("no worker runs" if unmanned else "ready")) + tried


def _attempt(job, settings, number):
    return "attempt %d of %d" % (number, max(number, own_or_setting(job, "max_retries", settings) + 1))


def _few(ids):
    left = len(ids) - _NAMED
    return ", ".join(ids[:_NAMED]) + (" and %d more" % left if left > 0 else "")


def ending(job, settings):
    """How the last attempt of a job that has failed ended, in a few words; "" if there is nothing to say."""
    if job.reason == TIMEOUT:
        limit = job.options.get("timed_out_after") or time_limit(job, settings)
        return "timed out" + (" after %s" % short_duration(limit) if limit and type(limit) in (int, float) else "")
    if job.reason == DEPENDENCY:
        died_of = str(job.options.get("died_of") or "").replace(_COMES_AFTER, "")
        return died_of or ("died because of %s" % _few(job.after) if job.after else job.ending)
    return job.ending
