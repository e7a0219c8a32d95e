"""What may run next: places in order, those that came back late, those that wait, and a clock that is set back."""
from __future__ import annotations

import random
import unittest

from core import order
from core.dependencies import Namesake
from core.job import COMPLETED, DEAD, PENDING, PROCESSING
from core.order import JobIndex

NOW = 1000.0


def all_of(index, now):
    """All places that are given at one time, in order."""
    places = []
    while True:
        place = index.pop(now)
        if place is None:
            return places
        places.append(place)


class JobIndexTest(unittest.TestCase):

    def setUp(self):
        self.index = JobIndex((1, 2, 3))

    def test_empty_index_has_nothing_to_give(self):
        self.assertEqual((self.index.pop(NOW), self.index.pop(NOW + 1e9), self.index.next_due()), (None, None, None))

    def test_version_is_kept(self):
        self.assertEqual(self.index.version, (1, 2, 3))

    def test_smallest_place_comes_first(self):
        for place in (10, 20, 30):
            self.index.add(place)
        self.assertEqual(all_of(self.index, NOW), [10, 20, 30])

    def test_places_come_in_order_however_they_were_added(self):
        places = list(range(0, 5000, 7))
        random.Random(5).shuffle(places)
        for place in places:
            self.index.add(place)
        self.assertEqual(all_of(self.index, NOW), sorted(places))

    def test_place_that_comes_back_late_comes_before_the_others(self):
        for place in (10, 20, 30, 40):
            self.index.add(place)
        self.assertEqual([self.index.pop(NOW), self.index.pop(NOW)], [10, 20])
        self.index.add(10)
        self.index.add(35)
        self.assertEqual(all_of(self.index, NOW), [10, 30, 35, 40])

    def test_place_that_was_taken_last_can_come_back(self):
        self.index.add(10)
        self.assertEqual(self.index.pop(NOW), 10)
        self.index.add(10)
        self.assertEqual(all_of(self.index, NOW), [10])

    def test_place_that_is_added_twice_is_given_twice(self):
        self.index.add(10)
        self.index.add(10)
        self.assertEqual(all_of(self.index, NOW), [10, 10])

    def test_waiting_place_is_given_when_it_is_due_and_not_before(self):
        self.index.add_delayed(NOW + 5, 10)
        for now, place in ((NOW, None), (NOW + 4.999, None), (NOW + 5, 10), (NOW + 6, None)):
            with self.subTest(now):
                self.assertEqual(self.index.pop(now), place)

    def test_waiting_places_that_are_due_come_in_the_order_of_the_file(self):
        self.index.add_delayed(NOW + 1, 30)
        self.index.add_delayed(NOW + 2, 10)
        self.index.add_delayed(NOW + 3, 20)
        self.index.add(15)
        self.assertEqual(all_of(self.index, NOW + 10), [10, 15, 20, 30])

    def test_others_are_given_while_a_place_waits(self):
        self.index.add_delayed(NOW + 5, 10)
        self.index.add(20)
        self.index.add(30)
        self.assertEqual([self.index.pop(NOW), self.index.pop(NOW + 5), self.index.pop(NOW + 5)], [20, 10, 30])

    def test_next_due_is_that_of_the_first_that_waits(self):
        self.index.add(5)
        for due in (NOW + 5, NOW + 3, NOW + 9):
            self.index.add_delayed(due, 10)
        self.assertEqual(self.index.next_due(), NOW + 3)
        all_of(self.index, NOW + 3)
        self.assertEqual(self.index.next_due(), NOW + 5)
        all_of(self.index, NOW + 100)
        self.assertIsNone(self.index.next_due())

    def test_every_wait_is_looked_at_again_when_the_clock_was_set_back(self):
        self.index.pop(NOW)
        self.index.add_delayed(NOW + 5, 20)
        self.index.add_delayed(NOW + 3600, 10)
        self.assertEqual(all_of(self.index, NOW - 3600), [10, 20])
        self.assertIsNone(self.index.next_due())

    def test_waits_go_on_from_the_clock_that_was_set_back(self):
        self.index.pop(NOW)
        self.index.add_delayed(NOW + 5, 20)
        self.assertEqual(self.index.pop(NOW - 3600), 20)
        self.index.add_delayed(NOW - 3598, 20)
        self.assertEqual([self.index.pop(NOW - 3599), self.index.pop(NOW - 3598)], [None, 20])

    def test_clock_that_is_corrected_by_less_than_a_second_changes_nothing(self):
        self.index.pop(NOW)
        self.index.add_delayed(NOW + 5, 20)
        self.assertEqual([self.index.pop(NOW - 0.5), self.index.pop(NOW + 4), self.index.pop(NOW + 5)], [None, None, 20])

    def test_time_of_the_last_look_is_known(self):
        self.assertEqual(self.index.now, 0)
        self.index.pop(NOW)
        self.index.pop(NOW + 7)
        self.assertEqual(self.index.now, NOW + 7)

    def test_order_holds_when_memory_is_given_back(self):
        self.addCleanup(setattr, order, "_TRIM", order._TRIM)
        order._TRIM = 4
        for place in range(0, 100, 10):
            self.index.add(place)
        given = [self.index.pop(NOW) for _ in range(4)]
        self.index.add(5)
        self.index.add(100)
        given += [self.index.pop(NOW) for _ in range(4)]
        self.index.add(85)
        given += all_of(self.index, NOW)
        self.assertEqual(given, [0, 10, 20, 30, 5, 40, 50, 60, 70, 80, 85, 90, 100])
        self.index.add(3)
        self.assertEqual(all_of(self.index, NOW), [3])

    def test_memory_is_given_back(self):
        count = 2 * order._TRIM + 10
        for place in range(count):
            self.index.add(place)
        self.assertEqual([self.index.pop(NOW) for _ in range(count)], list(range(count)))
        self.assertLess(len(self.index._places), order._TRIM)

    def test_places_beyond_4_gigabytes_are_kept(self):
        for place in (2 ** 33, 2 ** 40):
            self.index.add(place)
        self.assertEqual(all_of(self.index, NOW), [2 ** 33, 2 ** 40])

    def test_higher_priority_comes_first_then_the_smaller_place(self):
        for place, priority in ((10, 0), (20, 5), (30, -1), (40, 5), (50, 7), (60, 0), (70, -1)):
            self.index.add(place, priority)
        self.assertEqual(all_of(self.index, NOW), [50, 20, 40, 10, 60, 30, 70])

    def test_waiting_place_keeps_its_priority(self):
        self.index.add_delayed(NOW + 1, 30, 5)
        self.index.add_delayed(NOW + 1, 10, -5)
        self.index.add_delayed(NOW + 1, 20)
        self.assertEqual(self.index.pop(NOW), None)
        self.assertEqual(all_of(self.index, NOW + 1), [30, 20, 10])

    def test_waiting_place_keeps_its_priority_when_the_clock_was_set_back(self):
        self.index.pop(NOW)
        self.index.add_delayed(NOW + 60, 10)
        self.index.add_delayed(NOW + 90, 20, 5)
        self.assertEqual(all_of(self.index, NOW - 60), [20, 10])

    def test_nothing_is_lost_in_a_random_history(self):
        chance = random.Random(11)
        now, expected = NOW, {}
        for _ in range(5000):
            now += chance.random()
            if chance.random() < 0.5:
                place = chance.randrange(10 ** 6)
                due = now + chance.random() * 20 if chance.random() < 0.5 else 0
                expected.setdefault(place, []).append(due)
                self.index.add_delayed(due, place) if due else self.index.add(place)
            else:
                place = self.index.pop(now)
                ready = [other for other, dues in expected.items() if min(dues) <= now]
                self.assertEqual(place, min(ready, default=None))
                if place is not None:
                    expected[place].remove(min(expected[place]))
                    if not expected[place]:
                        del expected[place]
        self.assertEqual(sorted(all_of(self.index, now + 100)), sorted(place for place, dues in expected.items() for _ in dues))


def named(place, state, created_at="", updated_at=""):
    """What is known of a job with an id that others come after."""
    return Namesake(place, created_at, state, updated_at)


class GroupOrderTest(unittest.TestCase):

    def setUp(self):
        self.index = JobIndex((1, 2, 3), ("gpu",))
        self.index.groups.limit({"gpu": 1})

    def test_job_of_a_group_with_room_comes_in_its_turn_and_of_a_full_one_not_at_all(self):
        for place, priority, group in ((10, 0, "gpu"), (20, 0, None), (30, 5, None), (40, 5, "gpu"), (50, -1, "gpu"), (60, -1, None)):
            self.index.add(place, priority, group)
        self.assertEqual([self.index.pop(NOW), self.index.pop(NOW)], [30, 40])
        self.index.groups.runs(40, "gpu", "w-1s0")
        self.assertEqual(self.index.pop(NOW), 20)
        self.index.groups.left(40)
        self.assertEqual([self.index.pop(NOW) for _ in range(2)], [10, 50])
        self.index.groups.runs(50, "gpu", "w-2s0")
        self.assertEqual([self.index.pop(NOW) for _ in range(2)], [60, None])

    def test_without_groups_nothing_is_given_that_comes_after_a_job_of_a_group(self):
        self.index.add(10)
        self.index.add(20, 0, "gpu")
        self.index.add(30)
        self.assertEqual([self.index.pop(NOW, grouped=False) for _ in range(3)], [10, None, None])
        self.assertEqual([self.index.pop(NOW) for _ in range(3)], [20, 30, None])

    def test_job_of_a_group_that_waits_for_a_time_or_for_others_comes_back_into_its_group(self):
        self.index.groups.limit({"gpu": 0})
        self.index.add_delayed(NOW + 5, 10, 0, "gpu")
        self.index.add_dependent(20, ["a"], "", group="gpu")
        self.index.learn([("a", named(5, COMPLETED))])
        self.index.pop(NOW - 3600)
        self.assertEqual((all_of(self.index, NOW + 5), self.index.groups.size), ([], 2))
        self.index.groups.limit({"gpu": 1})
        self.assertEqual(all_of(self.index, NOW + 5), [10, 20])

    def test_half_a_million_that_wait_for_a_full_group_cost_no_look(self):
        self.index.groups.runs(1, "gpu", "w-1s0")
        for place in range(2, 2000):
            self.index.add(place, 0, "gpu")
        self.index.add(5000)
        self.assertEqual((self.index.pop(NOW), self.index.pop(NOW), self.index.groups.size), (5000, None, 1998))


class DependencyTest(unittest.TestCase):

    def setUp(self):
        self.index = JobIndex((1, 2, 3))

    def block(self, place, *after, states=(), since="", **options):
        """A job that comes after these ids, of which these (id, place, state) are known."""
        self.index.add_dependent(place, list(after), since, **options)
        if self.index.unknown:
            self.index.learn([(job_id, named(*known)) for job_id, *known in states if job_id in self.index.unknown])

    def change(self, place, state, updated_at=""):
        """A job is in another state."""
        self.index.changed(place, state, updated_at)

    def run_all(self):
        """All places that are given at one time, each of whose jobs is taken and completed."""
        given = all_of(self.index, NOW)
        for place in given:
            self.assertTrue(self.index.may_run(place))
            self.change(place, PROCESSING)
            self.change(place, COMPLETED)
        return given

    def test_job_that_comes_back_is_given_again_without_another_look(self):
        self.block(50, "a", states=[("a", 10, COMPLETED)])
        self.assertEqual(all_of(self.index, NOW), [50])
        self.change(50, PROCESSING)
        self.index.appeared("a", named(60, DEAD))
        self.assertEqual(self.index.doomed, {})
        self.change(60, COMPLETED)
        self.change(50, PENDING)
        self.index.add_dependent(50, ["a"], "")
        self.assertEqual((self.index.unknown, all_of(self.index, NOW)), (set(), [50]))

    def test_job_that_comes_back_when_what_it_comes_after_has_died_is_doomed(self):
        self.block(50, "a", states=[("a", 10, COMPLETED)])
        self.change(50, PROCESSING)
        self.index.appeared("a", named(60, DEAD))
        self.change(50, PENDING)
        self.index.add_dependent(50, ["a"], "")
        self.assertEqual(list(self.index.doomed), [50])

    def test_blocked_job_is_given_when_all_it_names_are_completed(self):
        self.block(50, "a", "b", states=[("a", 10, PROCESSING), ("b", 20, PENDING), ("b", 30, PROCESSING)])
        for place, given in ((10, []), (30, []), (20, [50])):
            self.assertEqual((self.index.may_run(50), sorted(self.index.named.values())), (False, ["a", "b"]))
            self.change(place, COMPLETED)
            self.assertEqual(self.run_all(), given)
        self.assertEqual((self.index.named, self.index.doomed), ({}, {}))

    def test_job_whose_predecessors_are_completed_already_is_given_at_once(self):
        self.block(50, "a", states=[("a", 10, COMPLETED)])
        self.assertEqual((self.run_all(), self.index.named), ([50], {}))

    def test_ids_that_are_named_must_be_looked_up_once(self):
        self.index.add_dependent(50, ["a", "b"], "")
        self.assertEqual((self.index.unknown, all_of(self.index, NOW)), ({"a", "b"}, []))
        self.index.learn([("a", named(10, PENDING)), ("b", named(20, PENDING))])
        self.index.add_dependent(60, ["b"], "")
        self.assertEqual(self.index.unknown, set())

    def test_job_that_waits_for_a_dead_or_a_missing_one_is_doomed(self):
        self.block(50, "a", "b", states=[("a", 10, COMPLETED), ("b", 20, PROCESSING)])
        self.block(60, "nobody")
        self.assertEqual((list(self.index.doomed), self.index.died_of(60)), ([60], ("nobody", "gone", 0)))
        self.change(20, DEAD)
        self.assertEqual((list(self.index.doomed), self.index.died_of(50)), ([60, 50], ("b", "dead", 20)))
        self.assertEqual(all_of(self.index, NOW), [])
        self.change(50, DEAD)
        self.change(60, DEAD)
        self.assertEqual((self.index.doomed, self.index.named), ({}, {}))

    def test_job_is_doomed_no_more_when_what_was_dead_runs_again_or_what_was_gone_is_there(self):
        self.block(50, "a", "b", states=[("a", 10, DEAD)])
        self.change(10, PENDING)
        self.assertEqual(self.index.died_of(50), ("b", "gone", 0))
        self.index.appeared("b", named(60, PROCESSING))
        self.assertEqual(self.index.doomed, {})
        self.change(60, COMPLETED)
        self.change(10, COMPLETED)
        self.assertEqual(self.run_all(), [50])

    def test_twin_that_appears_later_is_waited_for_too(self):
        self.block(50, "a", states=[("a", 10, PROCESSING)])
        self.index.appeared("a", named(60, PENDING))
        self.index.appeared("other", named(70, PENDING))
        self.change(10, COMPLETED)
        self.assertEqual(all_of(self.index, NOW), [])
        self.change(60, COMPLETED)
        self.assertEqual(self.run_all(), [50])

    def test_twin_that_appears_before_the_job_is_taken_is_waited_for_too(self):
        self.block(50, "a", states=[("a", 10, COMPLETED)])
        self.index.appeared("a", named(60, PROCESSING))
        self.assertEqual((self.index.may_run(50), all_of(self.index, NOW)), (False, [50]))
        self.change(60, COMPLETED)
        self.assertEqual(self.run_all(), [50])

    def test_what_had_ended_when_a_job_was_added_counts_only_where_it_is_the_newest(self):
        for states, expected in (([("a", 10, DEAD, "1", "2"), ("a", 20, COMPLETED, "3", "4")], [50]),
                                 ([("a", 10, DEAD, "1", "2"), ("a", 20, COMPLETED, "3", "6")], [50]),
                                 ([("a", 10, DEAD, "1", "6"), ("a", 20, COMPLETED, "3", "4")], []),
                                 ([("a", 10, COMPLETED, "1", "2"), ("a", 20, DEAD, "3", "4")], []),
                                 ([("a", 10, DEAD, "1", "2"), ("a", 60, COMPLETED, "6", "7")], [50])):
            with self.subTest(states):
                self.setUp()
                self.block(50, "a", since="5", states=states)
                self.assertEqual((self.run_all(), list(self.index.doomed)), (expected, [50] * (not expected)))

    def test_job_that_comes_after_others_however_they_end_is_given_once_all_have_ended(self):
        for ends, given in (((COMPLETED, COMPLETED), True), ((DEAD, DEAD), True), ((DEAD, COMPLETED), True), ((DEAD, PENDING), False)):
            with self.subTest(ends):
                self.setUp()
                self.block(50, states=[("a", 10, PROCESSING), ("a", 20, PROCESSING)], after_any=["a"])
                self.change(10, ends[0])
                self.assertEqual(all_of(self.index, NOW), [])
                self.change(20, ends[1])
                self.assertEqual((self.run_all(), list(self.index.doomed)), ([50] * given, []))

    def test_job_whose_others_are_gone_or_dead_already_is_given_at_once(self):
        self.block(50, states=[("a", 10, DEAD)], after_any=["a", "gone"])
        self.assertEqual((self.run_all(), self.index.doomed, self.index.named), ([50], {}, {}))

    def test_job_that_comes_after_some_and_after_the_end_of_others_waits_for_both(self):
        self.block(50, "a", states=[("a", 10, PROCESSING), ("b", 20, PROCESSING)], after_any=["b", "a"])
        self.change(20, DEAD)
        self.assertEqual(all_of(self.index, NOW), [])
        self.change(10, COMPLETED)
        self.assertEqual(self.run_all(), [50])
        self.block(60, "a", states=[("a", 10, DEAD), ("b", 20, PROCESSING)], after_any=["b", "a"])
        self.assertEqual((list(self.index.doomed), self.index.died_of(60)), ([60], ("a", "dead", 10)))

    def test_job_that_is_brought_back_is_waited_for_again_however_it_ends(self):
        self.block(50, states=[("a", 10, DEAD)], after_any=["a"])
        self.change(10, PENDING)
        self.assertFalse(self.index.may_run(50))
        self.change(10, DEAD)
        self.assertTrue(self.index.may_run(50))

    def test_job_that_runs_again_is_waited_for_again(self):
        self.block(50, "a", "b", states=[("a", 10, COMPLETED), ("b", 20, PROCESSING)])
        self.change(10, PENDING)
        self.change(20, COMPLETED)
        self.assertEqual(all_of(self.index, NOW), [])
        self.change(10, COMPLETED)
        self.assertEqual(self.run_all(), [50])

    def test_unblocked_job_keeps_its_priority_and_its_time(self):
        self.block(50, "a", states=[("a", 10, PROCESSING)], priority=3)
        self.block(60, "a", due=NOW + 5)
        self.index.add(40)
        self.change(10, COMPLETED)
        self.assertEqual((all_of(self.index, NOW), all_of(self.index, NOW + 5)), ([50, 40], [60]))

    def test_job_that_is_put_off_is_given_at_its_new_time(self):
        self.block(50, "a", states=[("a", 10, PROCESSING)])
        self.block(50, "a", due=NOW + 5)
        self.change(10, COMPLETED)
        self.assertEqual((all_of(self.index, NOW), all_of(self.index, NOW + 5)), ([], [50]))
        self.block(50, "a", due=NOW + 9)
        self.assertEqual((all_of(self.index, NOW + 8), all_of(self.index, NOW + 9)), ([], [50]))

    def test_id_that_is_named_twice_counts_once(self):
        self.block(50, "a", "a", states=[("a", 10, PROCESSING)])
        self.change(10, COMPLETED)
        self.assertEqual((self.run_all(), self.index.named), ([50], {}))

    def test_states_of_jobs_that_nobody_waits_for_are_of_no_interest(self):
        self.change(10, COMPLETED)
        self.index.appeared("a", named(20, PENDING))
        self.block(50, "a", states=[("a", 20, PROCESSING)])
        self.change(99, DEAD)
        self.assertEqual((all_of(self.index, NOW), self.index.doomed), ([], {}))

    def test_long_chain_is_given_one_after_another(self):
        for number in range(1, 500):
            self.block(number, "job%d" % (number - 1), states=[("job%d" % (number - 1), number - 1, PENDING)])
        self.index.add(0)
        given = []
        for number in range(500):
            given += all_of(self.index, NOW)
            self.change(number, PROCESSING)
            self.change(number, COMPLETED)
        self.assertEqual(given, list(range(500)))

    def looks(self, jobs):
        """How often the rule is asked until a job that comes after all these (id, place, state) runs, as they are completed in turn."""
        asked, rule = [], order.jobs_meant
        self.addCleanup(setattr, order, "jobs_meant", rule)

        def count(jobs, since):
            asked.append(1)
            return rule(jobs, since)

        order.jobs_meant = count
        self.block(10 ** 6, *dict.fromkeys(job_id for job_id, _, _ in jobs), states=jobs)
        for _, place, _ in jobs:
            self.assertEqual(all_of(self.index, NOW), [])
            self.change(place, COMPLETED)
        self.assertEqual(self.run_all(), [10 ** 6])
        return len(asked)

    def test_job_after_many_others_costs_one_look_at_each_of_them(self):
        self.assertLessEqual(self.looks([("job%d" % number, number, PENDING) for number in range(1000)]), 2 * 1000)

    def test_job_after_many_with_one_id_is_looked_at_when_the_last_of_them_ends(self):
        self.assertLessEqual(self.looks([("a", number, PENDING) for number in range(1000)]), 2)


if __name__ == "__main__":
    unittest.main()
