"""Jobs for tests."""
from __future__ import annotations

from core.job import PROCESSING
from core.job_record import job_from_record

NOW = 1795486146.123456
TIME = "2026-11-24T02:09:06.123456Z"


def a_job(**fields):
    """A job with these fields."""
    return job_from_record(dict({"id": "job1", "command": "echo Hello", "created_at": TIME}, **fields))


def running(attempts, **fields):
    """A job in its so-and-so-manieth attempt."""
    return a_job(state=PROCESSING, attempts=attempts, worker="w-1", started_at=TIME, **fields)
