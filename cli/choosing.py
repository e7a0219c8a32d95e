"""Which jobs the options of a command mean: --state, --search, --since."""
from __future__ import annotations

import time

from core.job import STATES
from core.rules import NO_WAIT, is_called
from core.times import format_time


def found_by(jobs, text):
    """Those of these jobs that have a text in their id or command; all of them for None."""
    return jobs if text is None else (job for job in jobs if text in job.command or text in job.id)


def called(store, jobs, words, with_waits=False):
    """Those of these jobs that the words of --state mean, as pairs (Job, Wait). Waits are worked out if the words or `with_waits` ask."""
    if not with_waits and set(STATES).issuperset(words):
        return ((job, NO_WAIT) for job in jobs)
    from storage.waits import Waits
    return ((job, wait) for job, wait in Waits(store, time.time()).each(jobs) if is_called(job, wait, words))


def ago(length):
    """The moment so many seconds ago, as a text that compares with those of jobs; "" for None, which is before all of them."""
    return "" if length is None else format_time(time.time() - length)
