"""What a drain waits for, and what it leaves."""
from __future__ import annotations

import unittest

from core.drain import what_is_left
from core.job import PENDING, PROCESSING
from core.job_record import job_from_record
from core.dependencies import those_of_groups
from core.settings import DEFAULTS
from core.times import format_time

NOW = 1700000000.0


def job(job_id, state=PENDING, attempts=0, in_seconds=None, ago=0.0, **fields):
    """A job that has not ended, due in so many seconds, and last changed so long ago."""
    return job_from_record(dict(fields, id=job_id, command="true", state=state, attempts=attempts, created_at=format_time(NOW - 60),
                                run_at=None if in_seconds is None else format_time(NOW + in_seconds), updated_at=format_time(NOW - ago)))


class DrainTest(unittest.TestCase):

    def left(self, *jobs, limits=None):
        left = what_is_left(jobs, DEFAULTS, NOW, limits or {})
        return left.job.id if left.job is not None else (list(left.scheduled), list(left.standing))

    def test_what_keeps_a_drain_from_its_end(self):
        for what, held, *jobs in (
                ("a job that runs", "a", job("a", PROCESSING, 1)), ("one that could run", "a", job("a")),
                ("a retry", "a", job("a", attempts=1, in_seconds=1.5)), ("one that was lost", "a", job("a", attempts=1)),
                ("what others come after", "a", job("b", after=["a"]), job("a")),
                ("one whose others have just ended", "b", job("b", after=["a"])),
                ("one of a group that is full", "a", job("a", group="gpu"))):
            with self.subTest(what):
                self.assertEqual(self.left(*jobs, limits={"gpu": 1}), held)

    def test_what_a_drain_leaves(self):
        later, gpu = job("a", in_seconds=99), job("g", group="gpu")
        for what, scheduled, standing, *jobs in (
                ("nothing", [], []), ("what is scheduled", ["a"], [], later),
                ("what comes after that", ["a", "b", "c"], [], later, job("b", after=["a"]), job("c", after_any=["b"])),
                ("a retry that was put behind that", ["a", "b"], [], later, job("b", attempts=1, in_seconds=1.5, after=["a"])),
                ("a group of which none may run", [], ["g"], gpu), ("what comes after that", [], ["c", "g", "b"], job("c", after_any=["b"]), gpu, job("b", after=["g"])),
                ("what comes after both kinds", ["a"], ["g", "b"], later, gpu, job("b", after=["g", "a"])),
                ("what is scheduled itself", ["b"], ["g"], gpu, job("b", in_seconds=99, after=["g"])),
                ("a retry in such a group", [], ["g"], job("g", attempts=1, in_seconds=1.5, group="gpu")),
                ("a circle", [], [], job("x", after=["y"]), job("y", after_any=["x"]))):
            with self.subTest(what):
                self.assertEqual(self.left(*jobs, limits={"gpu": 0}), (scheduled, standing))

    def test_circle_is_told(self):
        left = what_is_left([job("x", after=["y"]), job("y", after=["x"])], DEFAULTS, NOW, {})
        self.assertEqual((left.job, sorted(set(left.circle))), (None, ["x", "y"]))

    def test_workers_for_some_groups_see_to_their_jobs_and_to_all_that_those_come_after(self):
        jobs = [job("a"), job("b", after=["a"]), job("c", after=["b"], after_any=["d"], group="gpu"), job("d", group="net"), job("e"),
                job("f", after=["e"], group="net"), job("b")]
        for groups, ids in ((("gpu",), "abcdb"), (("net",), "def"), (("none",), ""), (("gpu", "net"), "abcdefb")):
            with self.subTest(groups):
                self.assertEqual("".join(job.id for job in those_of_groups(iter(jobs), groups)), ids)


if __name__ == "__main__":
    unittest.main()
