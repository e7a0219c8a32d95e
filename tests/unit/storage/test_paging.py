"""Jobs a page at a time, and one job by its key."""
from __future__ import annotations

import json
from itertools import islice

from core.errors import JobNotFound
from core.job import PENDING, PROCESSING, STATES, Outcome
from storage import layout
from storage.paging import find_by_key, is_key, jobs_beyond, key_of
from storage.selection import Choice
from tests.support.home import QueueTest

NOW = 1795486146.123456


def page(store, limit, **wanted):
    """A page of jobs."""
    return list(islice(jobs_beyond(store, **wanted), limit))


class TestPage(QueueTest):
    """A queue of 300 jobs, of which each third has ended, each seventh is in a group."""

    def setUp(self):
        super().setUp()
        self.queue.enqueue([dict({"id": "j%03d" % number, "command": "echo %s %d" % ("é\"<\\" if number % 10 == 0 else "x" * number, number)},
                                 **({"group": "gpu"} if number % 7 == 0 else {})) for number in range(300)], self.home, NOW)
        for number in range(100):
            job = self.queue.claim("token-%d" % number, NOW + 1)
            self.queue.record(job, Outcome(0, None) if number % 2 else Outcome(1, "failed"), NOW + 2)
        self.all = list(self.queue.jobs())

    def pages(self, limit=37, hints=True, **wanted):
        """All jobs that are wanted, a page at a time."""
        found, last = [], None
        while True:
            jobs = page(self.queue.store, limit, after=last and key_of(last), place=last.place if last and hints else 0, **wanted)
            self.assertLessEqual(len(jobs), limit)
            found += jobs
            if len(jobs) < limit:
                return found
            last = jobs[-1]

    def check_all(self):
        """Compare the pages of each kind with what a look at all jobs gives."""
        for wanted, fits in (({}, lambda job: True),
                             ({"states": ("pending",)}, lambda job: job.state == "pending"),
                             ({"states": ("completed", "dead")}, lambda job: job.state in ("completed", "dead")),
                             ({"group": "gpu"}, lambda job: job.options.get("group") == "gpu"),
                             ({"search": "é\"<\\"}, lambda job: "é\"<\\" in job.command),
                             ({"search": "j29"}, lambda job: "j29" in job.id),
                             ({"search": "created_at"}, lambda job: False),
                             ({"search": "0", "group": "gpu", "states": ("pending",)},
                              lambda job: "0" in job.id + job.command and job.options.get("group") == "gpu" and job.state == "pending")):
            expected = [job.id for job in self.queue.jobs() if fits(job)]
            for back in (False, True):
                for hints in (True, False):
                    with self.subTest(wanted, back=back, hints=hints):
                        found = [job.id for job in self.pages(back=back, hints=hints, **wanted)]
                        self.assertEqual(found, expected[::-1] if back else expected)

    def test_pages_hold_each_wanted_job_once_and_in_order(self):
        self.check_all()

    def test_blocks_of_any_size_make_no_difference(self):
        self.addCleanup(setattr, layout, "CHUNK", layout.CHUNK)
        for size in (100, 700, 4096):
            layout.CHUNK = size
            self.check_all()

    def test_a_file_in_another_layout_has_pages_too(self):
        self.write("jobs.json", json.dumps(self.records()))
        self.check_all()

    def test_a_page_goes_on_where_the_last_job_was_once_that_is_removed(self):
        for back in (False, True):
            with self.subTest(back=back):
                first = page(self.queue.store, 50, states=("completed", "dead"), back=back)
                self.queue.clean(("completed",), Choice([first[-1].id] if first[-1].state == "completed" else [first[-2].id], None))
                expected = [job.id for job in self.queue.jobs(("completed", "dead"))]
                rest = page(self.queue.store, 500, states=("completed", "dead"), after=key_of(first[-1]), place=first[-1].place, back=back)
                seen = {job.id for job in first}
                self.assertEqual([job.id for job in rest], [job_id for job_id in (expected[::-1] if back else expected) if job_id not in seen])

    def test_a_job_is_found_by_its_key_wherever_it_is(self):
        job = self.all[150]
        self.assertTrue(is_key(key_of(job)))
        for place in (job.place, 0, self.all[3].place, 10**9, 7):
            self.assertEqual(find_by_key(self.queue.store, key_of(job), place).key, job.key)
        self.queue.clean(("completed",), Choice(None, None))
        self.assertEqual(find_by_key(self.queue.store, key_of(job), job.place).key, job.key)
        gone = next(each for each in self.all if each.state == "completed")
        with self.assertRaises(JobNotFound):
            find_by_key(self.queue.store, key_of(gone), gone.place)

    def test_two_jobs_of_one_id_have_two_keys(self):
        self.queue.enqueue([{"id": "j000", "command": "again"}], self.home, NOW)
        self.assertEqual([find_by_key(self.queue.store, key_of(job)).command for job in self.queue.find("j000")],
                         [self.all[0].command, "again"])

    def test_what_is_no_key(self):
        for text in ("", "job1", "1-2", "123-0123456789ABCDEF", "-0123456789abcdef", "1-0123456789abcdef0", "\u0661-0123456789abcdef"):
            self.assertFalse(is_key(text), text)


class TestGroups(QueueTest):
    """How many jobs each group has."""

    def test_jobs_are_counted_by_group_and_state(self):
        self.queue.enqueue([{"id": "a", "command": "x", "group": "gpu"}, {"id": "b", "command": "x"}, {"id": "c", "command": "x", "group": "\"é\\"},
                            {"id": "d", "command": "{}", "group": "gpu"}, {"id": "f", "command": "x", "group": None},
                            {"id": "g", "command": "x", "env": {"A": "b", "group": "no"}},
                            {"id": "h", "command": ', "group": "no"', "env": {"group": "no", "z": ""}, "group": "gpu"}], self.home, NOW)
        self.queue.cancel(["a"], NOW)
        expected = {"": [3, 0, 0, 0], "gpu": [2, 0, 0, 1], "\"é\\": [1, 0, 0, 0]}
        expected = {group: dict(zip(STATES, counts)) for group, counts in expected.items()}
        for content in (self.read("jobs.json"), json.dumps(self.records())):
            self.write("jobs.json", content)
            with self.queue.view(self.queue.jobs_json) as view:
                self.assertEqual(view.count_by_group(), expected)

    def test_jobs_of_some_groups_are_counted_by_their_own_field_alone(self):
        fields = ({"group": "gpu"}, {"group": "net"}, {"meta": {"x": 1, "group": "gpu"}}, {"meta": {"x": 1, "group": "gpu"}, "group": "net"},
                  {"group": "gpu", "meta": {"x": 1, "group": "net"}}, {"meta": [{"x": "{", "group": "gpu"}]}, {})
        for count, command in ((2, "x"), (7, "x"), (7, "${X}")):
            with self.subTest(count=count, command=command):
                self.queue.reset()
                self.queue.enqueue([dict(more, id="j%d" % number, command=command) for number, more in enumerate(fields[:count])], self.home, NOW)
                self.queue.claim("token-1", NOW + 1)
                typed = [dict(record, group=[1]) if record["id"] == "j2" else record for record in self.records()]  # no group
                for content in (self.read("jobs.json"), json.dumps(self.records()), json.dumps(typed)):
                    self.write("jobs.json", content)
                    counts = self.queue.store.count_by_group()
                    self.assertEqual({group: (of_one[PENDING], of_one[PROCESSING]) for group, of_one in counts.items() if group},
                                     {"gpu": (0 if count == 2 else 1, 1), "net": (1 if count == 2 else 2, 0)})
