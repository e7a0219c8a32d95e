"""The queue of a home in one object, for tests that add jobs, claim them and look at them."""
from __future__ import annotations

from core.job import LOST, Outcome
from job_manager import JobManager
from storage.claims import Claims, Finished
from storage.naming import find_all_named, find_named
from storage.store import Store


class Queue:
    """A Store, the JobManager that changes it for commands, and the Claims of a worker process, one behind another: what is not here is
    asked of each in turn."""

    def __init__(self, home, settings, notice):
        self.store = Store(home, settings, notice)
        self.commands = JobManager(self.store)
        self.claims = Claims(self.store)

    def __getattr__(self, name):
        for part in (self.commands, self.claims):
            if hasattr(part, name):
                return getattr(part, name)
        return getattr(self.store, name)

    @property
    def settings(self):
        """The settings, which tests change."""
        return self.store.settings

    @settings.setter
    def settings(self, settings):
        self.store.settings = settings

    def find(self, name):
        """All jobs that a name means."""
        return find_named(self.store, name)

    def find_all(self, names):
        """For each of these names the jobs that it means."""
        return find_all_named(self.store, names)

    def lose(self, job, now, output=""):
        """Record that a job's attempt was lost with its worker: the job as it is now."""
        return self.claims.finish(job, Outcome(None, LOST), now, output)

    def record(self, job, outcome, now, output="", token=None):
        """Record how the attempt of one job ended: (the job as it is now, the next job, claimed under `token`)."""
        ended, following = self.claims.finish_and_claim([Finished(job, outcome, now, output, 0.0)], now, () if token is None else (token,))
        return ended[0], following[0] if following else None
