"""`stats --prometheus` and `/metrics`: the figures of a queue in the text format that Prometheus reads.

The format is that of prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4. Each sample has the label `home`, since two
queues of one machine may be written into the same folder for node_exporter.
"""
from __future__ import annotations

import sys
import time
from itertools import accumulate

from cli.context import abandoned_jobs, visible_workers
from core.job import PENDING
from core.rules import GROUP, PAUSED
from core.times import parse_time
from helpers import printable
from storage.tally import LIMITS, REASONS
from storage.waits import Waits

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(queue):
    """The figures of a queue as a text. Raises QueueError."""
    now, store = time.time(), queue.store
    counters = store.counters()
    running, workers = store.running(), visible_workers(queue)
    abandoned, oldest = abandoned_jobs(queue, running), waiting_since(store, now)
    steps = list(accumulate(counters.run_times))
    metrics = (
        ("queuectl_jobs", "gauge", "Jobs in the queue, by state and group.",
         [({"state": state, "group": group}, count) for group, counts in sorted(store.count_by_group().items())
          for state, count in counts.items()]),
        ("queuectl_running_jobs", "gauge", "Jobs that a live worker runs.", [({}, len(running) - len(abandoned))]),
        ("queuectl_abandoned_jobs", "gauge", "Jobs whose worker is dead, and which another one takes over.", [({}, len(abandoned))]),
        ("queuectl_workers", "gauge", "Workers (threads) that are alive.", [({}, sum(worker.count for worker in workers))]),
        ("queuectl_worker_processes", "gauge", "Worker processes that are alive.", [({}, len(workers))]),
        ("queuectl_paused", "gauge", "1 while the queue is paused, else 0.", [({}, int(store.paused()))]),
        ("queuectl_oldest_waiting_age_seconds", "gauge",
         "For how long the job has waited that could have started first; 0 if none could.",
         [({}, max(0.0, now - oldest) if oldest else 0)]),
        ("queuectl_attempts_ended_total", "counter", "Attempts that ended, however.", [({}, sum(counters.attempts))]),
        ("queuectl_attempts_failed_total", "counter", "Attempts that failed, by reason.",
         [({"reason": reason}, count) for reason, count in zip(REASONS, counters.attempts) if reason is not None]),
        ("queuectl_attempt_run_time_seconds", "histogram", "How long attempts ran.",
         [({"le": "%g" % limit}, count, "_bucket") for limit, count in zip(LIMITS, steps)]
         + [({"le": "+Inf"}, steps[-1], "_bucket"), ({}, counters.micros[0] / 1e6, "_sum"), ({}, steps[-1], "_count")]),
    )
    return "".join(line + "\n" for metric in metrics for line in _lines(queue.home, *metric))


def print_exposition(queue):
    """Print it, in UTF-8 whatever the terminal has, since that is the format."""
    content = exposition(queue).encode("utf-8")
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def waiting_since(store, now):
    """Since when the job waits that could have started first (seconds since the epoch); None if none could start."""
    oldest = None
    for job, wait in Waits(store, now).each(store.jobs((PENDING,))):
        if wait.waits_for not in (None, GROUP, PAUSED):
            continue
        brought_back = job.updated_at if job.started_at else None
        since = parse_time(max(job.created_at, job.run_at or "", brought_back or ""))
        oldest = since if oldest is None else min(oldest, since)
        if job.run_at is None and brought_back is None:
            break  # those behind it were added later
    return oldest


def _lines(home, name, kind, meaning, samples):
    """The lines of a metric; a sample is (labels, value), and perhaps the end of its name."""
    yield "# HELP %s %s" % (name, meaning)
    yield "# TYPE %s %s" % (name, kind)
    for labels, value, *ending in samples:
        pairs = ",".join('%s="%s"' % (label, _escaped(text)) for label, text in dict({"home": home}, **labels).items())
        yield "%s%s{%s} %s" % (name, "".join(ending), pairs, repr(value))


def _escaped(text):
    """The value of a label. A text of a user may reach a terminal, too."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
