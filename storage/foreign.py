"""A file that someone else wrote: what is kept of it, and what it lacks."""
from __future__ import annotations

import os
import time

from core.job import STATES
from core.system import open_private, sync, sync_folder
from core.times import format_time, micros_of


def keep_beside(path, kind, content):
    """Keep bytes of a file beside it, named by the kind of fault and the time, and on the disk; the path. Raises OSError."""
    beside = "%s.%s-%s" % (path, kind, format_time(time.time()).replace(":", ""))
    with os.fdopen(open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(content)
        file.flush()
        sync(file.fileno())
    sync_folder(os.path.dirname(beside))
    return beside


def fault_sentences(faults):
    """Faults of jobs in one line."""
    more = "; and %d more" % (len(faults) - 20) if len(faults) > 20 else ""
    return "; ".join("the job %r: %s" % (fault.id, fault.text) for fault in faults[:20]) + more


def with_created_at(jobs, written, allow_duplicate_keys):
    """Jobs as an editor left them, each with a created_at: from `written` on (microseconds) if it has none, or if another job has its key
    and that is not allowed."""
    last = max([micros_of(job.created_at) for job in jobs] + [written])
    seen = set()
    told_apart = []
    for job in jobs:
        if job.worker is not None:
            if job.worker in seen:  # the line of a running job, copied to make another one
                job = job._replace(state=STATES[0], attempts=0, started_at=None, worker=None)
            seen.add(job.worker)
        if not job.created_at or (job.key in seen and not allow_duplicate_keys):
            last += 1
            job = job._replace(created_at=format_time(last / 1e6))
        seen.add(job.key)
        told_apart.append(job)
    return told_apart
