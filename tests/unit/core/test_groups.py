"""Groups with limits: their jobs in order, what runs, which group has room."""
from __future__ import annotations

import random
import unittest

from core.groups import Groups
from core.slots import group_digest, slot_of, with_slot


def token(number, slot=None):
    """An attempt token."""
    return "w-%d" % number if slot is None else with_slot("w-%d" % number, slot)


class GroupsTest(unittest.TestCase):

    def setUp(self):
        self.groups = Groups(("gpu", "net"))
        self.groups.learn_noted({})
        self.groups.limit({"gpu": 1, "net": 2})

    def take(self):
        """The place of the job that comes first, which runs from now on with its slot; None if none may."""
        first = self.groups.first()
        if first is None:
            return None
        place = self.groups.pop(first[-1])
        self.assertEqual(first[1], place)
        group = "gpu" if place < 1000 else "net"
        self.groups.runs(place, group, token(place, self.groups.slot(group)))
        return place

    def add(self, *places, priority=0):
        for place in places:
            self.groups.add("gpu" if place < 1000 else "net", place, priority)

    def test_no_groups_are_false_and_have_nothing(self):
        groups = Groups()
        self.assertEqual((groups.names, groups.first(), groups.is_unsure, "gpu" in groups), ((), None, False, False))
        groups.left(5)

    def test_jobs_of_a_full_group_are_in_nobodys_way_and_keep_their_order(self):
        self.add(30, 10, 20, 1010, 1020, 1030)
        self.assertEqual([self.take() for _ in range(4)], [10, 1010, 1020, None])
        self.groups.left(10)
        self.groups.left(1010)
        self.assertEqual([self.take() for _ in range(3)], [20, 1030, None])
        self.assertEqual(self.groups.size, 1)

    def test_priority_counts_within_a_group_and_between_groups(self):
        self.add(10, 1020)
        self.add(30, 1040, priority=5)
        self.assertEqual([self.take() for _ in range(4)], [30, 1040, 1020, None])

    def test_slot_is_the_smallest_that_no_running_job_of_the_group_has(self):
        self.groups.limit({"net": 3})
        for place, slot in ((1010, 0), (1020, 1), (1030, 2)):
            self.assertEqual(self.groups.slot("net"), slot)
            self.groups.runs(place, "net", token(place, slot))
        self.assertEqual((self.groups.has_room("net"), self.groups.slot("net")), (False, None))
        self.groups.left(1020)
        self.assertEqual((self.groups.has_room("net"), self.groups.slot("net")), (True, 1))

    def test_change_of_a_limit_holds_at_once_also_where_more_run(self):
        self.add(*range(1001, 1010))
        self.assertEqual([self.take() for _ in range(3)], [1001, 1002, None])
        self.groups.limit({"net": 4})
        self.assertEqual([self.take() for _ in range(3)], [1003, 1004, None])
        self.groups.limit({"net": 1})
        for place in (1001, 1002, 1003):
            self.groups.left(place)
            self.assertIsNone(self.take())
        self.groups.left(1004)
        self.assertEqual([self.take(), self.take()], [1005, None])
        self.groups.limit({})
        self.assertEqual((self.take(), self.take(), self.groups.slot("net")), (1006, 1007, None))
        self.groups.limit({"net": 0})
        self.assertIsNone(self.take())

    def test_job_that_runs_again_under_another_token_counts_once(self):
        for number, slot in ((1, 0), (2, 1)):
            self.groups.runs(1001, "net", token(number, slot))
        self.assertEqual((self.groups.has_room("net"), self.groups.slot("net"), self.groups.is_unsure), (True, 0, True))

    def test_job_that_moves_to_another_group_counts_there(self):
        self.groups.runs(5, "gpu", token(1, 0))
        self.groups.runs(5, "net", token(1, 0))
        self.assertEqual((self.groups.has_room("gpu"), self.groups.slot("net")), (True, 1))

    def test_attempt_that_a_worker_file_notes_and_the_file_does_not_counts_until_it_has_ended(self):
        self.add(20)
        self.groups.runs(10, "gpu", token(1, 0))
        self.groups.left(10, ended=False)
        self.assertTrue(self.groups.is_unsure)
        self.groups.learn_noted({token(1, 0): group_digest("gpu"), token(8, 0): group_digest("else"), token(9, 0): "None"})
        self.assertEqual((self.take(), self.groups.is_unsure), (None, True))
        self.groups.learn_noted({token(8, 0): group_digest("else")})
        self.assertEqual((self.take(), self.groups.is_unsure), (20, False))

    def test_attempt_that_both_tell_of_counts_once(self):
        self.groups.runs(1001, "net", token(1, 0))
        self.groups.learn_noted({token(1, 0): group_digest("net")})
        self.assertEqual((self.groups.is_unsure, self.groups.slot("net")), (False, 1))

    def test_in_random_histories_no_limit_is_exceeded_no_slot_held_twice_and_the_order_kept(self):
        for seed in range(30):
            chance = random.Random(seed)
            self.setUp()
            limits, waiting, running = {"gpu": 1, "net": 2}, [], {}
            for step in range(400):
                what = chance.random()
                if what < 0.4:
                    place, priority = chance.randrange(1, 2000), chance.choice((0, 0, 3, -2))
                    self.add(place, priority=priority)
                    waiting.append((-priority, place))
                elif what < 0.7:
                    room = [item for item in waiting if sum(1 for p in running if (p < 1000) == (item[1] < 1000))
                            < limits["gpu" if item[1] < 1000 else "net"] and item[1] not in running]
                    if any(item[1] in running for item in waiting):
                        continue
                    place = self.take()
                    with self.subTest(seed=seed, step=step):
                        self.assertEqual(place, min(room)[1] if room else None)
                    if place is not None:
                        waiting.remove(min(room))
                        running[place] = slot_of(self.groups._running["gpu" if place < 1000 else "net"][place])
                elif what < 0.95 and running:
                    place = chance.choice(sorted(running))
                    del running[place]
                    self.groups.left(place)
                else:
                    limits = {"gpu": chance.randrange(3), "net": chance.randrange(4)}
                    self.groups.limit(limits)
                for of_gpu in (True, False):
                    slots = [slot for place, slot in running.items() if (place < 1000) == of_gpu]
                    self.assertEqual(len(slots), len(set(slots)))


if __name__ == "__main__":
    unittest.main()
