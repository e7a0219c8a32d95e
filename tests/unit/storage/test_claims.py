"""Claiming jobs, and recording how their attempts ended, by one process and by many."""
from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from unittest.mock import patch

from core.errors import CorruptFile, StorageFault
from core.job import COMPLETED, DEAD, LOST, PENDING, PROCESSING
from core.times import format_time, parse_time
from execution.worker_files import Noted
from storage.claims import Finished
from storage.file_index import FileIndex
from tests.support.home import DEADLINE, as_command, longest
from tests.support.manager import ALL, FAILURE, NOW, SUCCESS, ManagerTest


class ClaimTest(ManagerTest):

    def test_nothing_is_claimed_from_an_empty_queue(self):
        self.assertIsNone(self.claim())
        self.add("a")
        self.finish(self.claim())
        self.assertIsNone(self.claim())

    def test_first_in_is_first_out(self):
        self.add("c", "a")
        self.add("b")
        self.assertEqual(self.claimed_ids(), ["c", "a", "b"])

    def test_claimed_job_runs_on_disk_too(self):
        self.add("a", own=5)
        job = self.jobs.claim("w-7", NOW + 1)
        moment = format_time(NOW + 1)
        self.assertEqual((job.state, job.attempts, job.worker, job.started_at, job.updated_at, job.options["own"]),
                         (PROCESSING, 1, "w-7", moment, moment, 5))
        self.assertEqual(self.records()[0], job.to_dict())

    def test_command_of_any_length_and_content_comes_back(self):
        commands = [as_command("echo '\"\\ \n\u00e9\u4e16"), "x" * longest(300000), " \"state\": \"pending\" ", as_command(",\n{\"id\": \"x\""), "\x01\t"]
        self.jobs.enqueue([{"id": "a", "command": command} for command in commands], "/", NOW)
        self.assertEqual([self.claim().command for _ in commands], commands)

    def test_job_that_was_put_off_is_not_claimed_before_its_time(self):
        self.edit("jobs.json", json.dumps([{"id": "late", "command": "x", "run_at": format_time(NOW + 60)}, {"id": "now", "command": "x"}]))
        self.assertEqual(self.claimed_ids(NOW + 59.9), ["now"])
        self.assertEqual(self.jobs.next_due(), NOW + 60)
        self.assertEqual(self.claimed_ids(NOW + 60), ["late"])

    def test_jobs_added_later_are_seen(self):
        other = self.manager()
        self.add("a")
        self.assertEqual(self.claimed_ids(), ["a"])
        self.add("b")
        self.add("c", "d", manager=other)
        self.assertEqual(self.claimed_ids(), ["b", "c", "d"])

    def test_two_managers_in_turn_never_give_one_job_twice(self):
        ids = ["job%d" % number for number in range(60)]
        self.add(*ids)
        managers = [self.jobs, self.manager()]
        given = [self.claim(manager=managers[number % 2]).id for number in range(60)]
        self.assertEqual(given, ids)
        self.assertEqual([self.claim(manager=manager) for manager in managers], [None, None])

    def test_job_that_one_manager_gives_back_is_seen_by_the_other_in_its_old_place(self):
        other = self.manager()
        self.add("a", "b", "c", "d")
        first = self.claim()
        self.assertEqual([first.id, self.claim(manager=other).id], ["a", "b"])
        self.finish(first, None)
        self.assertEqual(self.claimed_ids(manager=other), ["a", "c", "d"])

    def test_changes_of_another_manager_cost_no_second_look_at_the_file(self):
        other = self.manager()
        self.add("a", "b", "c")
        self.claim(manager=self.jobs)
        for number in range(50):
            self.finish(self.claim(manager=other), None, manager=other)
            self.add("new%d" % number, manager=other)
        self.assertEqual(self.claim().id, "b")
        self.assertEqual((self.jobs.scans, other.scans), (1, 1))

    def test_file_that_was_rewritten_is_looked_at_again(self):
        self.add("a", "b", "c", "d")
        self.finish(self.claim())
        other = self.manager()
        other.clean((COMPLETED,), ALL)
        self.assertEqual(self.claimed_ids(), ["b", "c", "d"])

    def test_file_that_was_edited_is_looked_at_again(self):
        self.add("a", "b")
        self.claim()
        self.edit("jobs.json", json.dumps([{"id": "x", "command": "y"}, {"id": "y", "command": "z"}]))
        self.assertEqual(self.claimed_ids(), ["x", "y"])

    def test_notes_may_be_deleted_at_any_time(self):
        self.add("a", "b", "c")
        job = self.claim()
        self.forget_notes()
        self.assertEqual(self.finish(job).state, COMPLETED)
        self.forget_notes()
        self.assertEqual(self.claimed_ids(), ["b", "c"])

    def test_line_2_on_disk_is_trusted_and_not_the_index(self):
        self.add("a", "b", "c")
        self.assertEqual(self.claim().id, "a")
        before = os.stat(self.path("jobs.json"))
        content = self.read("jobs.json").replace(b"\"state\": \"pending\"   ", b"\"state\": \"completed\" ", 1)
        with open(self.path("jobs.json"), "r+b") as file:
            file.write(content)
        os.utime(self.path("jobs.json"), ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertEqual(self.claimed_ids(), ["c"])
        self.jobs.reset()  # such a change is not counted

    def test_preferred_job_comes_before_any_other_when_it_may_run(self):
        self.add("a", "b", "c")
        job = self.finish(self.claim(), FAILURE)
        self.assertEqual(self.claim(NOW + 2, preferred=job).id, "a")
        later = self.finish(self.claim(NOW + 2), FAILURE, NOW + 2)
        self.assertEqual((later.id, self.claim(NOW + 3, preferred=later).id), ("b", "c"))
        self.assertEqual(self.claim(NOW + 4, preferred=later).id, "b")

    def test_preferred_job_that_another_one_took_is_not_given_twice(self):
        self.add("a", "b")
        job = self.finish(self.claim(), FAILURE)
        self.assertEqual(self.claim(NOW + 5, manager=self.manager()).id, "a")
        self.assertEqual(self.claim(NOW + 5, preferred=job).id, "b")

    def test_preferred_job_that_is_gone_is_no_fault(self):
        self.add("a", "b")
        job = self.finish(self.claim(), FAILURE)
        self.jobs.reset()
        self.add("c")
        self.assertEqual(self.claim(NOW + 5, preferred=job).id, "c")

    def test_job_whose_last_attempt_still_runs_is_left_alone_until_it_has_ended(self):
        self.add("a", "b")
        running = {self.jobs.find("a")[0].digest}
        self.jobs.claims.noted = lambda: {digest: Noted(digest, "None", 0) for digest in running}
        self.assertEqual(self.claimed_ids(), ["b"])
        running.clear()
        self.assertEqual(self.claimed_ids(NOW + 1), ["a"])

    def test_if_the_system_does_not_tell_who_runs_nothing_is_claimed_or_lost(self):
        def refuse():
            raise OSError(24, "Too many open files")

        self.add("a", "b")
        self.jobs.claims.noted = refuse
        with self.assertRaises(StorageFault):
            self.claim()
        self.jobs.claims.noted = dict
        self.assertEqual(self.claimed_ids(), ["a", "b"])

    def test_threads_that_share_a_manager_never_get_one_job_twice(self):
        ids = ["job%d" % number for number in range(300)]
        self.add(*ids)
        given = [[] for _ in range(8)]

        def claim_all(number):
            while True:
                job = self.jobs.claim("w%d-%d" % (number, len(given[number])), NOW)
                if job is None:
                    return
                given[number].append(job.id)
                self.jobs.record(job, SUCCESS, NOW)

        threads = [threading.Thread(target=claim_all, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(Counter(sum(given, [])), Counter(ids))
        self.assertEqual(self.jobs.count()[COMPLETED], 300)

    def test_thread_that_has_looked_at_the_file_hides_no_change_that_another_one_just_makes(self):
        self.add("a")
        self.add("b", after=["a"])
        claims, job = self.jobs.claims, self.claim()
        looked, changing = threading.Event(), threading.Event()

        def look():
            fill = FileIndex.fill

            def fill_and_wait(index, view):
                fill(index, view)
                looked.set()
                changing.wait(DEADLINE)

            with patch.object(FileIndex, "fill", fill_and_wait):
                claims._scan(True, NOW, locked=False)

        def commit():
            commit_now()
            changing.set()
            thread.join(0.3)

        thread, commit_now = threading.Thread(target=look), claims._file.commit
        thread.start()
        self.assertTrue(looked.wait(DEADLINE))
        claims._file.commit = commit
        self.finish(job)
        thread.join()
        self.assertEqual(self.claim().id, "b")

    def test_processes_never_get_one_job_twice_while_others_are_added(self):
        code = ("done = 0\n"
                "while True:\n"
                "    job = manager.claim('w%s-%d' % (sys.argv[2], done), time.time())\n"
                "    if job is None:\n"
                "        if os.path.exists(manager.home + '/all-added'):\n"
                "            break\n"
                "        continue\n"
                "    done += 1\n"
                "    print(job.id)\n"
                "    manager.record(job, Outcome(0, None), time.time())\n")
        workers = [self.child(code, str(number)) for number in range(3)]
        ids = ["job%d" % number for number in range(300)]
        for start in range(0, 300, 10):
            self.add(*ids[start:start + 10], now=time.time())
        self.write("all-added", "")
        given = "".join(self.output_of(worker) for worker in workers).split()
        self.assertEqual(Counter(given), Counter(ids))
        self.assertEqual(set(self.states().values()), {COMPLETED})


    def test_nothing_is_claimed_while_the_queue_is_paused(self):
        self.add("a", "b", "c")
        job = self.claim()
        self.jobs.pause()
        self.assertIsNone(self.claim())
        self.assertIsNone(self.claim(manager=self.manager()))
        after, following = self.jobs.record(job, SUCCESS, NOW, token=self.token())
        self.assertEqual((after.state, following), (COMPLETED, None))
        self.jobs.resume()
        self.jobs.resume()
        self.assertEqual(self.claimed_ids(), ["b", "c"])

    def test_claim_is_not_lost_when_a_job_that_waits_for_a_dead_one_cannot_be_buried(self):
        """The dead letter queue is broken, so that the dependent cannot go there; who is not given a job must not have claimed one."""
        self.edit("jobs.json", json.dumps([{"id": "dead", "command": "x", "state": DEAD},
                                           {"id": "doomed", "command": "x", "after": ["dead"]},
                                           {"id": "a", "command": "x"}, {"id": "b", "command": "x"}]))
        self.edit("dlq.json", "[{]")
        given = []
        for _ in range(4):
            try:
                job = self.claim()
            except CorruptFile:
                continue
            given += [] if job is None else [job.id]
        running = [name for name, state in self.states().items() if state == PROCESSING]
        self.assertEqual(sorted(given), running)

    def test_next_job_is_not_lost_when_a_job_that_waits_for_a_dead_one_cannot_be_buried(self):
        self.add("a", "x")
        self.add("doomed", after=["x"])
        self.add("b")
        job = self.claim()
        self.manager().cancel(["x"], NOW)
        self.edit("dlq.json", "[{]")
        given = []
        try:
            following = self.jobs.record(job, SUCCESS, NOW, token=self.token())[1]
            given += [] if following is None else [following.id]
        except CorruptFile:
            pass
        self.assertEqual(given, [name for name, state in self.states().items() if state == PROCESSING and name != "a"])


class RecordTest(ManagerTest):

    def test_success_completes_the_job(self):
        self.add("a")
        after = self.finish(self.claim(), now=NOW + 3)
        self.assertEqual((after.state, after.exit_code, after.reason, after.run_at, after.worker, after.updated_at),
                         (COMPLETED, 0, None, None, None, format_time(NOW + 3)))
        self.assertEqual(self.records()[0], after.to_dict())

    def test_failed_job_waits_on_disk_and_runs_again_when_it_is_due(self):
        self.add("a")
        after = self.finish(self.claim(), FAILURE)
        self.assertEqual((self.records()[0]["state"], self.records()[0]["run_at"], after.run_at),
                         (PENDING, format_time(NOW + 2), format_time(NOW + 2)))
        self.assertIsNone(self.claim(NOW + 1.9))
        self.assertEqual(self.jobs.next_due(), NOW + 2)
        again = self.claim(NOW + 2)
        self.assertEqual((again.id, again.attempts, again.run_at, again.exit_code, again.reason), ("a", 2, format_time(NOW + 2), None, None))

    def test_wait_survives_the_manager(self):
        self.add("a")
        self.finish(self.claim(), FAILURE)
        other = self.manager()
        self.assertIsNone(self.claim(NOW + 1.9, other))
        self.assertEqual(self.claim(NOW + 2, other).attempts, 2)

    def test_wait_that_another_manager_began_is_kept(self):
        other = self.manager()
        self.add("a", "b")
        job = self.claim()
        self.assertEqual(self.claim(manager=other).id, "b")
        self.finish(job, FAILURE)
        self.assertIsNone(self.claim(NOW + 1.9, other))
        self.assertEqual(self.claim(NOW + 2, other).id, "a")

    def test_job_runs_four_times_with_waits_of_2_4_and_8_seconds_and_then_dies(self):
        self.add("a")
        now, waits = NOW, []
        while True:
            after = self.finish(self.claim(now), FAILURE, now)
            if after.state == DEAD:
                break
            waits.append(parse_time(after.run_at) - now)
            now += waits[-1]
        self.assertEqual((waits, after.attempts, self.states()), ([2, 4, 8], 4, {"a": DEAD}))
        self.assertIsNone(self.claim(now + 1e6))

    def test_others_run_while_a_job_waits(self):
        self.add("a", "b")
        self.finish(self.claim(), FAILURE)
        self.assertEqual((self.claim(NOW + 1).id, self.claim(NOW + 1)), ("b", None))

    def test_retry_that_is_due_comes_before_younger_jobs(self):
        self.add("a", "b", "c")
        self.finish(self.claim(), FAILURE)
        self.assertEqual(self.claimed_ids(NOW + 2), ["a", "b", "c"])

    def test_wait_is_no_longer_than_the_backoff_when_the_clock_was_set_back(self):
        self.add("a")
        self.finish(self.claim(), FAILURE)
        back = NOW - 86400
        self.assertEqual(next(seconds for seconds in range(10) if self.claim(back + seconds) is not None) <= 3, True)

    def test_outcome_and_next_job_are_one_step(self):
        self.add("a", "b", "c")
        after, following = self.jobs.record(self.claim(), SUCCESS, NOW, token="w-next")
        self.assertEqual((after.state, following.id, following.worker), (COMPLETED, "b", "w-next"))
        after, following = self.jobs.record(following, SUCCESS, NOW)
        self.assertEqual((after.state, following), (COMPLETED, None))
        self.assertEqual(self.states(), {"a": COMPLETED, "b": COMPLETED, "c": PENDING})

    def test_when_a_job_began_is_told_by_how_long_it_took_if_that_is_known(self):
        self.add("a", "b", "c")
        ended = [Finished(self.claim(), SUCCESS, NOW + 10, "", seconds) for seconds in (2.0, 0.0, 99.0)]
        self.assertEqual([job.started_at for job in self.jobs.finish_and_claim(ended, NOW + 10)[0]],
                         [format_time(NOW + 8), format_time(NOW), format_time(NOW - 89)])  # the clock was set back meanwhile

    def test_several_are_recorded_and_as_many_claimed_in_one_go(self):
        self.add("a", "b", "c", "d", "e")
        held = [self.claim() for _ in range(3)]
        outcomes = (SUCCESS, FAILURE, None)
        results, following = self.jobs.finish_and_claim([Finished(job, outcome, NOW, "", 0.0) for job, outcome in zip(held, outcomes)], NOW,
                                                  [self.token() for _ in range(9)])
        self.assertEqual([(job.id, job.state, job.attempts) for job in results],
                         [("a", COMPLETED, 1), ("b", PENDING, 1), ("c", PENDING, 0)])
        self.assertEqual([job.id for job in following], ["c", "d", "e"])
        self.assertEqual([job.worker for job in following], ["w-4", "w-5", "w-6"])

    def test_job_that_is_given_back_runs_again_and_that_attempt_does_not_count(self):
        self.add("a", "b")
        after = self.finish(self.claim(), None)
        self.assertEqual((after.state, after.attempts, after.run_at), (PENDING, 0, None))
        again = self.claim()
        self.assertEqual((again.id, again.attempts), ("a", 1))

    def test_lost_attempt_counts_and_the_job_runs_again_at_once(self):
        self.add("a")
        after = self.jobs.lose(self.claim(), NOW)
        self.assertEqual((after.state, after.reason, after.attempts, after.run_at), (PENDING, LOST, 1, None))
        self.assertEqual(self.claim().attempts, 2)

    def test_job_that_kills_every_worker_dies_in_the_end(self):
        self.add("a")
        for _ in range(4):
            after = self.jobs.lose(self.claim(), NOW, "last words")
        self.assertEqual((after.state, self.dead_ids(), next(self.jobs.dead()).options["output"]), (DEAD, ["a"], "last words"))

    def test_job_that_moved_in_the_file_is_found_by_its_token(self):
        self.add("a", "b")
        self.finish(self.claim())
        job = self.claim()
        self.manager().clean((COMPLETED,), ALL)
        after = self.finish(job)
        self.assertEqual((after.id, after.state, self.states()), ("b", COMPLETED, {"b": COMPLETED}))
        self.assertNotEqual(after.place, job.place)

    def test_outcome_of_a_job_that_was_taken_away_counts_for_nothing(self):
        def edited():
            self.edit("jobs.json", json.dumps([dict(self.records()[0], worker="someone-else")]))

        def given_to_another():
            self.jobs.lose(self.jobs.find("a")[0], NOW)
            self.claim(manager=self.manager())

        for take_away in (self.jobs.reset, edited, given_to_another):
            for outcome in (SUCCESS, FAILURE, None):
                with self.subTest(take_away.__name__, outcome=outcome):
                    self.jobs.reset()
                    self.add("a")
                    job = self.claim()
                    take_away()
                    before = [other.to_dict() for other in self.jobs.jobs()]
                    self.assertEqual(self.jobs.record(job, outcome, NOW), (None, None))
                    self.assertEqual(([other.to_dict() for other in self.jobs.jobs()], self.dead_ids()), (before, []))

    def test_twins_are_told_apart(self):
        self.add("a", "a", "a")
        first, second = self.claim(), self.claim()
        self.finish(second)
        self.assertEqual([record["state"] for record in self.records()], [PROCESSING, COMPLETED, PENDING])
        self.finish(first, FAILURE)
        self.assertEqual([record["state"] for record in self.records()], [PENDING, COMPLETED, PENDING])

    def test_abandoned_jobs_are_those_whose_worker_does_not_live(self):
        self.add("a", "b", "c", "d")
        for worker in ("alive-1", "gone-1", "gone-2"):
            self.jobs.claim(worker, NOW)
        left = self.jobs.abandoned(lambda worker: worker.startswith("alive"))
        self.assertEqual([job.id for job in left], ["b", "c"])
        for job in left:
            self.jobs.lose(job, NOW)
        self.assertEqual(self.states(), {"a": PROCESSING, "b": PENDING, "c": PENDING, "d": PENDING})

    def test_running_job_without_a_worker_is_abandoned(self):
        self.edit("jobs.json", json.dumps([{"id": "a", "command": "x", "state": PROCESSING, "attempts": 1}]))
        left = self.jobs.abandoned(lambda worker: True)
        self.assertEqual([job.id for job in left], ["a"])
        self.assertEqual(self.jobs.lose(left[0], NOW).state, PENDING)

    def test_outcomes_are_synced_whatever_files_there_are(self):
        self.jobs.sync_outcomes()
        self.add("a", "b")
        self.finish(self.claim())
        self.jobs.sync_outcomes()
        self.kill("b")
        self.jobs.sync_outcomes()
        self.assertEqual(self.states(), {"a": COMPLETED, "b": DEAD})
