"""What others do at any moment of a command that chooses jobs."""
from __future__ import annotations

from unittest.mock import patch

from core.errors import JobNotFound, JobRefused
from core.job import COMPLETED, DEAD, PENDING, PROCESSING
from storage import layout, view
from storage.selection import Choice
from tests.support.manager import ALL, NOW, ManagerTest


class Between:
    """A lock that lets others do something before it is taken for the time number `turn` (from 0; None: each time)."""

    def __init__(self, lock, turn, action):
        self._lock, self._turn, self._action = lock, turn, action
        self.turns = 0

    def __enter__(self):
        self.enter()

    def enter(self, to_look=False):
        """Take it, or as much of it as can be had."""
        if self._turn in (None, self.turns):
            self._action()
        self.turns += 1
        self._lock.enter(to_look)

    def __exit__(self, *exception):
        return self._lock.__exit__(*exception)

    def __getattr__(self, name):
        return getattr(self._lock, name)


class MeanwhileTest(ManagerTest):
    """What others do at any moment of a command that chooses jobs."""

    def gaps(self, prepare, action):
        """A fresh queue, as `prepare()` fills it, for each moment at which the lock is free; `action(other manager)` is done there, or
        after the command. Ends once there is no such moment any more."""
        for turn in range(10):
            other = self.manager()
            self.jobs = self.manager()
            self.jobs.reset()
            prepare()
            did = []
            lock = self.jobs.store.lock = Between(self.jobs.store.lock, turn, lambda: did.append(action(other)))
            with self.subTest(turn):
                yield other
                self.jobs.store.lock = lock._lock
            if not did:
                self.assertGreater(lock.turns, 1)
                return
        self.fail("it takes the lock for ever")

    def complete(self, *ids):
        for job_id in ids:
            self.finish(self.claim())

    def test_job_that_another_one_is_added_after_is_not_removed(self):
        added = []

        def add(other):
            try:
                added.extend(self.add("b", after=["a"], manager=other))
            except JobRefused:
                pass  # it is gone already

        for _ in self.gaps(lambda: (self.add("a", "x"), self.complete("a", "x"), added.clear()), add):
            gone = {job.id for job in self.jobs.clean((COMPLETED,), ALL)}
            self.assertEqual(gone, {"x"} if added else {"a", "x"})
            self.assertEqual(self.states(), {"a": COMPLETED, "b": PENDING} if added else {})

    def two_dead(self):
        self.add("a", "b")
        self.kill("a", "b")

    def test_dead_job_that_is_brought_back_is_not_purged_nor_said_to_be(self):
        back = []
        for _ in self.gaps(lambda: (self.two_dead(), back.clear()), lambda other: back.extend(other.retry(Choice(["a"], None), NOW).ids)):
            gone = {job.id for job in self.jobs.clean((DEAD,), ALL)}
            self.assertEqual((gone, self.states()), ({"b"}, {"a": PENDING}) if back else ({"a", "b"}, {}))

    def test_dead_job_that_is_brought_back_is_refused_to_who_purges_it_by_its_id(self):
        back = []
        for _ in self.gaps(lambda: (self.two_dead(), back.clear()), lambda other: back.extend(other.retry(Choice(["a"], None), NOW).ids)):
            try:
                gone = [job.id for job in self.jobs.clean((DEAD,), Choice(["a", "b"], None))]
            except JobNotFound:
                gone = []
            self.assertEqual((gone, self.states()), ([], {"a": PENDING, "b": DEAD}) if back else (["a", "b"], {}))

    def test_dead_job_that_is_purged_is_not_said_to_be_brought_back(self):
        gone = []
        for _ in self.gaps(lambda: (self.two_dead(), gone.clear()), lambda other: gone.extend(other.clean((DEAD,), Choice(["a"], None)))):
            back = self.jobs.retry(ALL, NOW).ids
            self.assertEqual((back, self.states()), (["b"], {"b": PENDING}) if gone else (["a", "b"], {"a": PENDING, "b": PENDING}))
            self.assertEqual(list(self.manager().dead()), [])

    def test_job_that_is_claimed_is_cancelled_as_a_running_one(self):
        for _ in self.gaps(lambda: self.add("a", "b"), lambda other: self.claim(manager=other)):
            running = any(record["state"] == PROCESSING for record in self.records())
            cancelled = [(job.id, job.state) for job in self.jobs.cancel(["a", "b"], NOW)]
            running = running or cancelled[0][1] == PROCESSING
            self.assertEqual(cancelled, [("a", PROCESSING if running else PENDING), ("b", PENDING)])
            self.assertEqual(self.states(), {"a": DEAD, "b": DEAD})

    def test_job_that_ends_is_not_cancelled_nor_said_to_be(self):
        running, ended = [], []

        def prepare():
            self.add("a", "b")
            running[:], ended[:] = [self.claim()], []

        for _ in self.gaps(prepare, lambda other: ended.append(self.finish(running[0], manager=other))):
            try:
                cancelled = [job.id for job in self.jobs.cancel(["b", "a"], NOW)]
            except JobRefused as error:
                cancelled = []
                self.assertIn("'a'", str(error))
            self.assertEqual((cancelled, self.states()), ([], {"a": COMPLETED, "b": PENDING}) if ended else
                             (["b", "a"], {"a": DEAD, "b": DEAD}))

    def test_jobs_that_move_while_they_are_chosen_are_found_again(self):
        other = self.manager()

        def move():
            self.add("x", manager=other)
            self.finish(self.claim(manager=other), manager=other)
            other.clean((COMPLETED,), Choice(["x"], None))

        for name, operation, left in (("clean", lambda: self.jobs.clean((COMPLETED,), Choice(["a", "b"], None)), {"c": DEAD, "d": DEAD}),
                                      ("purge", lambda: self.jobs.clean((DEAD,), ALL), {"a": COMPLETED, "b": COMPLETED}),
                                      ("retry", lambda: self.jobs.retry(ALL, NOW).ids,
                                       {"a": COMPLETED, "b": COMPLETED, "c": PENDING, "d": PENDING})):
            with self.subTest(name):
                self.jobs = self.manager()
                self.jobs.reset()
                self.add("a", "b", "c", "d")
                self.complete("a", "b")
                self.kill("c", "d")
                self.jobs.store.lock = Between(self.jobs.store.lock, None, move)
                self.assertEqual(len(operation()), 2)
                self.assertEqual({name: state for name, state in self.states().items() if name != "x"}, left)

    def test_no_record_is_parsed_under_the_lock_but_those_that_have_changed(self):
        parsed, held = [], []

        class Held(Between):
            def enter(self, to_look=False):
                self._action()
                held.append(self._lock.enter(to_look))

            def __exit__(self, *exception):
                held.pop()
                return self._lock.__exit__(*exception)

        def parse(*lines):
            parsed.append(bool(held))
            return layout.parse_record(*lines)

        for name, operation in (("clean", lambda: self.jobs.clean((COMPLETED,), ALL)), ("purge", lambda: self.jobs.clean((DEAD,), ALL)),
                                ("retry", lambda: self.jobs.retry(ALL, NOW).ids),
                                ("cancel", lambda: self.jobs.cancel(["p%d" % number for number in range(20)], NOW))):
            with self.subTest(name):
                self.jobs = self.manager()
                self.jobs.reset()
                dead = ["d%d" % number for number in range(20)]
                self.add(*dead)
                self.kill(*dead)
                self.add(*["c%d" % number for number in range(20)])
                self.complete(*range(20))
                self.add(*["p%d" % number for number in range(20)])
                other, self.jobs = self.manager(), self.manager()
                self.jobs.store.lock = Held(self.jobs.store.lock, None, lambda: self.add("more", manager=other))
                del parsed[:]
                with patch("storage.view.parse_record", parse):
                    self.assertEqual(len(operation()), 20)
                self.assertGreaterEqual(parsed.count(False), 20)
                self.assertLessEqual(parsed.count(True), 4)

    def test_many_jobs_are_found_and_followed_over_a_rewrite_with_as_many_looks_at_the_file_as_one(self):
        looks = []
        for some in (["7"], list(map(str, range(300)))):
            self.jobs.reset()
            self.add("first", *map(str, range(300)))
            self.finish(self.claim())
            self.jobs = self.manager()
            with patch.object(view, "blocks", side_effect=layout.blocks) as blocks:
                jobs = [job for found in self.jobs.find_all(some) for job in found]
                self.jobs.clean((COMPLETED,), ALL)
                self.assertEqual([job.id for job in self.jobs.refresh_all(jobs)], some)
            looks.append(blocks.call_count)
        self.assertEqual(looks[0], looks[1])
        with self.assertRaises(JobNotFound):
            self.jobs.find_all(["7", "nope"])
        self.jobs.reset()
        self.assertEqual(self.jobs.refresh_all(jobs), [None] * 300)

    def test_many_ids_take_no_more_looks_at_the_file_than_one(self):
        ids = list(map(str, range(300)))
        looks = []
        for some in (ids[:1], ids[1:]):
            self.jobs.reset()
            self.add(*ids)
            with patch.object(view, "blocks", side_effect=layout.blocks) as blocks:
                self.assertEqual([job.id for job in self.jobs.cancel(some, NOW)], some)
                self.assertEqual(self.jobs.retry(Choice(some, None), NOW).ids, some)
                self.jobs.cancel(some, NOW)
                self.assertEqual([job.id for job in self.jobs.clean((DEAD,), Choice(some, None))], some)
            looks.append(blocks.call_count)
        self.assertEqual(looks[0], looks[1])
