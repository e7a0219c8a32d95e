"""Looking at the queue while others change it."""
from __future__ import annotations

import json
import os
import threading
import unittest

from core.errors import JobNotFound
from core.job import COMPLETED, DEAD, PENDING, PROCESSING, STATES
from tests.support.home import DEADLINE
from tests.support.manager import NOW, ManagerTest


class LookTest(ManagerTest):

    def test_every_state_is_counted_also_those_without_jobs(self):
        self.assertEqual(self.jobs.count(), dict.fromkeys(STATES, 0))
        self.add("a", "b", "c", "d", "e")
        self.finish(self.claim())
        self.kill("b")
        self.claim()
        self.assertEqual(self.jobs.count(), {PENDING: 2, PROCESSING: 1, COMPLETED: 1, DEAD: 1})

    def test_jobs_are_listed_in_the_order_of_the_file_and_by_state(self):
        self.add("c", "a", "b")
        self.claim()
        self.assertEqual([job.id for job in self.jobs.jobs()], ["c", "a", "b"])
        self.assertEqual([job.id for job in self.jobs.jobs((PENDING,))], ["a", "b"])
        self.assertEqual([job.id for job in self.jobs.jobs((COMPLETED, PROCESSING))], ["c"])

    def test_job_is_found_by_its_whole_id(self):
        self.add("job1", "job11", "\u00e9 \"x\"\\", "7")
        for job_id in ("job1", "job11", "\u00e9 \"x\"\\", "7"):
            with self.subTest(job_id):
                self.assertEqual([job.id for job in self.jobs.find(job_id)], [job_id])

    def test_id_in_a_command_is_not_found(self):
        self.jobs.enqueue([{"id": "a", "command": "\"b\"", "b": "b"}], "/", NOW)
        with self.assertRaises(JobNotFound):
            self.jobs.find("b")

    def test_unknown_id_is_not_found(self):
        self.add("a")
        for job_id in ("b", "", "A", "a ", "\udcff", "\n"):
            with self.subTest(repr(job_id)):
                with self.assertRaises(JobNotFound):
                    self.jobs.find(job_id)

    def test_looking_changes_nothing_whatever_the_layout(self):
        content = json.dumps([{"id": "a", "command": "x"}, {"id": "b", "command": "y", "state": DEAD}], indent=3).encode("ascii")
        self.edit("jobs.json", content)
        self.assertEqual(self.jobs.count(), {PENDING: 1, PROCESSING: 0, COMPLETED: 0, DEAD: 1})
        self.assertEqual(([job.id for job in self.jobs.jobs()], self.jobs.find("b")[0].state, self.dead_ids()), (["a", "b"], DEAD, ["b"]))
        self.assertEqual(self.read("jobs.json"), content)

    def test_looking_makes_no_job_file(self):
        self.jobs.count()
        list(self.jobs.jobs())
        self.dead_ids()
        self.assertEqual([name for name in os.listdir(self.home) if name.endswith(".json")], [])

    def test_counts_and_lists_are_whole_while_others_change_the_file(self):
        ids = ["job%d" % number for number in range(40)]
        self.add(*ids, command="x" * 3000)
        code = ("number = 0\n"
                "while not os.path.exists(manager.home + '/enough'):\n"
                "    number += 1\n"
                "    job = manager.claim('w%s-%d' % (sys.argv[2], number), time.time())\n"
                "    if job is not None:\n"
                "        manager.record(job, None, time.time())\n"
                "    if number == 2:\n"
                "        open(manager.home + '/begun' + sys.argv[2], 'w').close()\n")
        changers = [self.child(code, str(number)) for number in range(2)]
        self.wait_for(lambda: all(os.path.exists(self.path("begun%d" % number)) for number in range(2)))
        for _ in range(60):
            self.assertEqual(sum(self.jobs.count().values()), 40)
            self.assertEqual([job.id for job in self.jobs.jobs()], ids)
            self.assertEqual([job.id for job in self.jobs.find("job7")], ["job7"])
        self.write("enough", "")
        for changer in changers:
            self.output_of(changer)
        self.assertEqual(self.jobs.count()[PENDING], 40)

    def test_counts_never_go_down_while_jobs_are_added(self):
        adder = self.child("for number in range(300):\n"
                           "    manager.enqueue([{'id': str(number), 'command': 'x' * (number * 17 % 5000 + 1)}], '/', time.time())\n")
        seen = [0]
        while seen[-1] < 300:
            self.assertTrue(adder.poll() in (None, 0))
            count = self.jobs.count()[PENDING]
            listed = [job.id for job in self.jobs.jobs()]
            self.assertEqual(listed, [str(number) for number in range(len(listed))])
            seen += [count, len(listed)]
        self.output_of(adder)
        self.assertEqual(seen, sorted(seen))

    def test_manager_says_when_it_waits_for_the_lock(self):
        from storage import file_lock
        self.addCleanup(setattr, file_lock, "NOTICE_AFTER", file_lock.NOTICE_AFTER)
        file_lock.NOTICE_AFTER = 0.05
        holder = self.manager()
        thread = threading.Thread(target=self.add, args=("a",))
        with holder.store.lock:
            thread.start()
            self.wait_for(lambda: self.notices)
        thread.join(DEADLINE)
        self.assertIn(self.path("run", "lock"), self.notices[0])
        self.assertEqual(self.states(), {"a": PENDING})


if __name__ == "__main__":
    unittest.main()
