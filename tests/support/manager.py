"""What the tests of the queue from inside share: jobs are added, claimed and finished without a worker process."""
from __future__ import annotations

import os
import subprocess
import sys
import time

from core.job import FAILED, Outcome
from storage.selection import Choice
from tests.support.home import DEADLINE, ROOT, HomeTest

NOW = 1795486146.5
ALL = Choice(None, None)
SUCCESS = Outcome(0, None)
FAILURE = Outcome(1, FAILED)

# Makes `manager` of the home that is its first argument.
CHILD = """
import os, sys, time
from core.job import Outcome
from core.settings import DEFAULTS
from storage.selection import Choice
from tests.support.queue import Queue
manager = Queue(sys.argv[1], DEFAULTS, print)
"""


class ManagerTest(HomeTest):

    def setUp(self):
        super().setUp()
        self.tokens = 0
        self.jobs = self.manager()

    def token(self):
        """A worker token that no attempt had before."""
        self.tokens += 1
        return "w-%d" % self.tokens

    def add(self, *ids, now=NOW, manager=None, **fields):
        """Add a job for each of these ids."""
        return (manager or self.jobs).enqueue([dict({"id": job_id, "command": "echo"}, **fields) for job_id in ids], "/", now).ids

    def claim(self, now=NOW, manager=None, preferred=None):
        """The job that comes next, or None."""
        return (manager or self.jobs).claim(self.token(), now, preferred)

    def claimed_ids(self, now=NOW, manager=None):
        """The ids of all jobs that may run, claimed one after another."""
        ids = []
        while True:
            job = self.claim(now, manager)
            if job is None:
                return ids
            ids.append(job.id)

    def finish(self, job, outcome=SUCCESS, now=NOW, output="", manager=None):
        """The job as it is after its attempt has ended."""
        return (manager or self.jobs).record(job, outcome, now, output)[0]

    def kill(self, *ids, now=NOW, output=""):
        """Let these jobs, which come next in this order, die at once."""
        self.jobs.settings = self.jobs.settings._replace(max_retries=0)
        for job_id in ids:
            job = self.claim(now)
            self.assertEqual(job.id, job_id)
            self.finish(job, now=now, outcome=FAILURE, output=output)

    def states(self):
        """id: state of every job, as the file has them."""
        return {record["id"]: record["state"] for record in self.records()}

    def dead_ids(self):
        """The ids in the dead letter queue, in order."""
        return [job.id for job in self.jobs.dead()]

    def edit(self, name, content):
        """Write a file as another program does, so long ago that nobody waits for it to hold still."""
        self.write(name, content)
        os.utime(self.path(name), (time.time() - 10, time.time() - 10))

    def child(self, code, *arguments):
        """A process in the background that runs this code with `manager` at hand."""
        process = subprocess.Popen([sys.executable, "-c", CHILD + code, self.home] + list(arguments), cwd=ROOT, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, universal_newlines=True)
        self._processes.append(process)
        return process

    def output_of(self, process):
        """What a process printed, once it has ended well."""
        output = process.communicate(timeout=DEADLINE)[0]
        self.assertEqual(process.returncode, 0, output)
        return output
