"""What pending jobs wait for: the rule of `core.rules.wait_of`, with what it needs to know of a queue.

What it promises: a look at many jobs looks at the whole file twice more at the most, and only if one of them comes after others. The first
jobs are told without a look at all the others. It changes nothing.
"""
from __future__ import annotations

import time
from collections import Counter, namedtuple
from itertools import islice

from core.dependencies import lacking
from core.job import PENDING, PROCESSING, job_from_checked
from core.rules import HOLD, NO_WAIT, wait_of
from core.slots import group_digest

_FIRST = 200  # jobs that are looked at before the first is told
_MOMENT = 0.03  # seconds; a worker that has recorded an end notes its next job in less

# What the pending jobs of a queue wait for. `counts` has their number by the word of their Wait, None for those that may run; `delayed` is
# how many are not due, or held; `found` are those that wait, as pairs (Job, Wait); `following` are the first that may run, in their order,
# as pairs (place, Job or None where it was not read).
Pending = namedtuple("Pending", "counts delayed found following")


def look_at_pending(store, now, most, following=0, running=None):
    """What the pending jobs of a Store wait for, as a Pending with so many `following` ones; None if more than `most` have something to
    wait for, or a priority: each of those is read. A pause of the queue is nothing to wait for here, since all wait for it. `running` is as
    for Waits."""
    special, plain, total = [], [], 0
    with store.view(store.jobs_json) as view:
        for place, record in view.all_pending(store.limits()) if view.count()[PENDING] else ():
            total += 1
            if record is None:
                if len(plain) < following:
                    plain.append((0, place, None))
            elif len(special) < most:
                special.append(job_from_checked(record, place))
            else:
                return None
    pairs = list(Waits(store, now, False, running).each(special))
    found = [pair for pair in pairs if pair[1].waits_for is not None]
    ready = [(-job.priority, job.place, job) for job, wait in pairs if wait.waits_for is None]
    counts = Counter(wait.waits_for for _, wait in found)
    counts[None] = total - len(found)
    first = sorted(plain + ready, key=lambda each: each[:2])[:following]
    return Pending(counts, sum(wait.due_in is not None or wait.waits_for == HOLD for _, wait in found), found, [each[1:] for each in first])


def running_by_group(store, running):
    """How many jobs of each group run, as a Counter: these, by the file, and those that were taken away and are still being ended, which
    keep their slot until then (see `core.groups`)."""
    counts, groups = Counter(job.group for job in running), {group_digest(name): name for name in store.settings.limits}
    ending = _being_ended(store, running, groups) if groups else {}
    if ending:
        # What starts or ends is in the worker file and in jobs.json one after the other: only what stays for a moment is being ended.
        time.sleep(_MOMENT)
        still = _being_ended(store, store.running(), groups)
        counts.update(groups[digest] for token, digest in ending.items() if token in still)
    return counts


def _being_ended(store, running, groups):
    """The attempts in these groups (by digests) that worker files note, without those of these running jobs, as {token: digest}."""
    known = {job.worker for job in running}
    return {token: digest for token, digest in store.noted_slots().items() if digest in groups and token not in known}


class Waits:
    """What the jobs of a Store wait for at `now`; `is_paused` says whether the queue counts as paused (None: as it is), `running` is what
    `running_by_group` gives (None: it is looked at if a job of a group with a limit is)."""

    def __init__(self, store, now, is_paused=None, running=None):
        self._store = store
        self._now = now
        self._paused = store.paused() if is_paused is None else is_paused
        self._paused_groups = store.paused_groups()
        self._running = running
        self._namesakes = {}  # id: the jobs that have it, at least until one that has not ended, for each id that was looked up

    def of(self, job):
        """The Wait of one job."""
        return next(self.each([job]))[1]

    def each(self, jobs):
        """These jobs as they come, as pairs (Job, Wait)."""
        jobs = iter(jobs)
        first = list(islice(jobs, _FIRST))
        self._look_up({job_id for job in first if job.state == PENDING for job_id in job.predecessors})
        for job in first:
            yield job, self._of(job)
        for job in jobs:
            named = job.predecessors if job.state == PENDING else ()
            if named and not self._namesakes.keys() >= set(named):
                self._look_up({*named, *self._all_named()})
            yield job, self._of(job)

    def _of(self, job):
        if job.state != PENDING:
            return NO_WAIT
        lacks = lacking(job, self._namesakes) if job.predecessors else ()
        paused = self._paused or job.group in self._paused_groups
        return wait_of(job, self._store.settings, self._now, lacks, paused, self._is_full(job.group))

    def _is_full(self, group):
        """Whether as many jobs of a group run as may."""
        limits = self._store.settings.limits
        if group not in limits:
            return False
        if self._running is None:
            self._running = running_by_group(self._store, self._store.running())
        return self._running[group] >= limits[group]

    def _all_named(self):
        """All ids that pending jobs come after."""
        return {job_id for job in self._store.jobs((PENDING,), b', "after') for job_id in job.predecessors}

    def _look_up(self, ids):
        unknown = ids - self._namesakes.keys()
        if not unknown:
            return
        self._namesakes.update((job_id, []) for job_id in unknown)
        undecided = set(unknown)
        with self._store.view(self._store.jobs_json) as view:
            for job_id, job in view.find_ids(unknown):
                self._namesakes[job_id].append(job)
                if job.state in (PENDING, PROCESSING):  # it keeps the others waiting, however its namesakes ended
                    undecided.discard(job_id)
                    if not undecided:
                        break
