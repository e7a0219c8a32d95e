"""The job that has started this command, if one has: commands that would wait for it would never end, and are refused."""
from __future__ import annotations

import os

from cli.context import notice
from core.dependencies import with_those_before
from core.errors import QueueError
from core.job import PENDING
from core.settings import DEFAULTS
from storage.store import Store


def refuse_in_job(queue, what, way_out, jobs=None):
    """Raise QueueError if a job of this queue has started this command, which waits for these jobs (None: for all), and one of them cannot
    end before that job. `way_out` says what to do instead."""
    own = _own_job(queue)
    if own is not None and (jobs is None or _is_waited_for(queue, own, jobs)):
        raise QueueError("%s inside of a job, here %r, would wait for ever for that job itself; %s" % (what, own.id, way_out))


def is_in_on_finish(queue):
    """Whether an on_finish command of this queue has started this command."""
    return bool(os.environ.get("QUEUECTL_STATE")) and _is_of(queue)


def _is_of(queue):
    """Whether the variables that a worker sets name this queue."""
    try:
        return os.path.samefile(os.environ.get("QUEUECTL_HOME", ""), queue.home)
    except OSError:
        return False


def _own_job(queue):
    """The job of this queue that has started this command, or None. The variables that a worker sets are no proof, since a process that a
    job has left in the background keeps them: the job must still run under that attempt token."""
    token = os.environ.get("QUEUECTL_WORKER")
    if not token or not os.environ.get("QUEUECTL_JOB_ID") or not _is_of(queue):
        return None
    store = Store(queue.home, DEFAULTS, notice)  # config.json may be broken, which keeps nobody from stopping workers
    return next((job for job in store.running() if job.worker == token), None)


def _is_waited_for(queue, own, jobs):
    """Whether one of these jobs cannot end before this running one: it is the same, or comes after it. While that runs it is meant by all
    that name its id (`core.dependencies.jobs_meant`), also by those that were added before it."""
    keys = {job.key for job in jobs}
    later = list(queue.store.jobs((PENDING,), b', "after'))
    return own.key in keys or own.key in with_those_before([job for job in later if job.key in keys], [own, *later])
