"""A job file that someone else wrote: how often an idle worker looks at a long one."""
from __future__ import annotations

from core.job_record import job_from_record
from core.settings import DEFAULTS
from storage import foreign
from storage.foreign_copy import ForeignCopy
from storage.notes import Notes
from storage.recognition import Layout
from storage.store import Store
from tests.support.home import HomeTest


class LongLookTest(HomeTest):

    def setUp(self):
        super().setUp()
        jobs = [job_from_record({"id": job_id, "command": "true"}) for job_id in "ab"]
        copy = ForeignCopy(jobs, self.home, 1, allow_duplicate_keys=False)
        notes = Notes(Store(self.home, DEFAULTS, self.notices.append).lock, 0)
        self.file = foreign.ForeignFile(self.path("jobs.json"), Layout(1, tuple(copy.counts), copy=copy), notes, True)
        self.asked = []
        self.addCleanup(setattr, foreign, "_TOOK_LONG", foreign._TOOK_LONG)

    def looks(self, wanted):
        """How many jobs a look for one that may run has asked about, and what it has found."""
        self.asked = []
        found = self.file.has_pending(lambda job: self.asked.append(job.id) or wanted)
        return self.asked, found

    def test_where_it_took_long_to_find_none_the_next_look_comes_later(self):
        foreign._TOOK_LONG = -1.0  # each look took longer
        self.assertEqual(self.looks(wanted=False), (["a", "b"], False))
        self.file.copy.rest_until += 1000.0
        self.assertEqual(self.looks(wanted=True), ([], False))
        self.file.copy.rest_until = 0.0
        self.assertEqual(self.looks(wanted=True), (["a"], True))

    def test_a_short_look_is_made_again(self):
        for _ in range(2):
            self.assertEqual(self.looks(wanted=False), (["a", "b"], False))
