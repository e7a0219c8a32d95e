"""Jobs a page at a time, and one job by its key: for whoever shows a queue that may hold a million of them.

What it promises: a page costs what its jobs cost, wherever it is in the file. Only a sieve that few jobs pass (a rare state, a text) makes
it read further, once through the file at the most. It changes nothing.

A *job key* here is a text that fits an address: the microseconds of `created_at`, a hyphen, the digest. A place is a hint.
"""
from __future__ import annotations

import re

from core.errors import JobNotFound
from core.job import STATES, job_from_checked
from core.strict_json import encode_json
from core.times import format_time, micros_of
from storage.layout import of_group

_KEY = re.compile(r"([0-9]{1,17})-([0-9a-f]{16})", re.ASCII)


def key_of(job):
    """The job key of a job."""
    return "%d-%s" % (micros_of(job.created_at), job.digest)


def is_key(text):
    """Whether a text looks like a job key."""
    return _KEY.fullmatch(text) is not None


def _created_at(key):
    micros = int(_KEY.fullmatch(key).group(1))
    return format_time(micros / 1e6) if micros else ""


def find_by_key(store, key, place=0):
    """The job with that job key; at once if it is still at that place, else by one read of the file. Raises JobNotFound."""
    job = _at(store, key, place)
    if job is None:
        with store.view(store.jobs_json) as view:
            found = (job_from_checked(record, at) for at, record in view.records(containing=_created_at(key).encode("ascii")))
            job = next((job for job in found if key_of(job) == key), None)
    if job is None:
        raise JobNotFound("this job is gone: it was removed from the queue")
    return job


def _at(store, key, place):
    """The job with that job key if it is at that place, else None."""
    return next((job for job in store.at([place]) if key_of(job) == key), None)


def jobs_beyond(store, states=STATES, group=None, search=None, after=None, place=0, back=False):
    """The jobs in these states as they come, in the order of the file, or with `back` the last one first: those with that group, and with
    `search` in their id or command (None: any). `after` is the job key of the last job of the page before, and `place` where that was."""
    containing = [encode_json(search)[1:-1].encode("utf-8", "surrogatepass")] if search else []
    containing += [of_group(group)] if group else []
    if after is not None and _at(store, after, place) is None:
        try:
            place = find_by_key(store, after).place
        except JobNotFound:
            place = 0
    with store.view(store.jobs_json) as view:
        start = place if after is not None else 0
        jobs = (job_from_checked(record, at) for at, record in view.records_beyond(start, states, containing, back))
        if after is not None and not place:
            moment = _created_at(after)
            jobs = (job for job in jobs if (job.created_at < moment if back else job.created_at > moment))
        for job in jobs:
            if (group is None or job.group == group) and (search is None or search in job.command or search in job.id):
                yield job
