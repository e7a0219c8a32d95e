"""Groups with limits, over several worker processes that are killed, and limits that are edited meanwhile: at no moment do more jobs of a
group run than may, and no two of them have one slot.

A job holds a lock on the file of its slot as long as anything of it runs. What two of them run one after another stands in one file in the
order in which it happened, since each line is one write at its end.
"""
from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import unittest

from tests.support.home import DEADLINE
from tests.support.workers import WorkerTest

ALL = os.environ.get("QUEUECTL_FAULTS") == "all"
JOBS, KILLS = (300, 30) if ALL else (80, 5)
LIMIT = 3
# Complains if another job has its slot.
HELD = 'flock -n -E 99 "slot-$QUEUECTL_SLOT" sh -c \'echo "$QUEUECTL_SLOT" >> slots; sleep 0.0%d\' || echo "$QUEUECTL_JOB_ID" >> doubled'
LISTED = 'echo "s $QUEUECTL_JOB_ID $QUEUECTL_SLOT" >> moments; sleep 0.0%d; echo "e $QUEUECTL_JOB_ID" >> moments'


def sweep(lines):
    """What is wrong by the lines that jobs have written, "s ID SLOT" and "e ID", with lines "limit N" between: a sentence each."""
    wrong, running, limit = [], {}, None
    for number, (what, name, *slot) in enumerate(map(str.split, lines)):
        if what == "limit":
            limit = int(name)
        elif what == "e":
            del running[name]
        else:
            if slot[0] in running.values():
                wrong.append("line %d: slot %s is held by another job" % (number, slot[0]))
            running[name] = slot[0]
            if len(running) > limit:
                wrong.append("line %d: %d jobs run, and %d may" % (number, len(running), limit))
    return wrong


class SweepTest(unittest.TestCase):

    def test_sweep_sees_what_it_is_for(self):
        for lines, wrong in ((["limit 1", "s a 0", "e a", "s b 0", "e b"], 0), (["limit 1", "s a 0", "s b 1"], 1),
                             (["limit 2", "s a 0", "s b 0"], 1), (["limit 2", "s a 0", "s b 1", "limit 1", "e a", "s c 0"], 1)):
            with self.subTest(lines):
                self.assertEqual(len(sweep(lines)), wrong)


class LimitTest(WorkerTest):

    def add_all(self, command, count, group="gpu"):
        """Add so many jobs of a group, and some without one between them."""
        self.queue.enqueue([job for number in range(count) for job in (
            {"id": "%s-%d" % (group, number), "command": command % (number % 7), "group": group},
            {"id": "free-%s-%d" % (group, number), "command": "true"})][:2 * count], self.home, time.time())

    def wait_until_all_ended(self):
        self.wait_for(lambda: not any(self.queue.count()[state] for state in ("pending", "processing")), 3 * DEADLINE)

    def test_a_job_that_ran_before_its_group_had_a_limit_keeps_its_number_to_itself(self):
        told = 'echo "$QUEUECTL_SLOT" > part-%s; mv part-%s told-%s; while [ ! -e go ]; do sleep 0.05; done'
        self.queue.enqueue([{"id": "before", "group": "gpu", "command": told % (("before",) * 3)}], self.home, time.time())
        self.worker()
        self.wait_for_file("told-before")
        self.succeed("config", "set", "limits.gpu", "3")
        self.worker("--count", "3")
        self.queue.enqueue([{"id": name, "group": "gpu", "command": told % ((name,) * 3)} for name in ("one", "two", "three")],
                           self.home, time.time())
        for name in ("one", "two"):
            self.wait_for_file("told-" + name)
        self.assertEqual(sorted(self.text("told-" + name) for name in ("before", "one", "two")), ["0\n", "1\n", "2\n"])
        self.assertEqual(self.states()["three"], "pending")
        self.write("go", "")
        self.wait_until_all_ended()

    @unittest.skipUnless(shutil.which("flock"), "needs flock(1)")
    def test_no_slot_is_held_twice_whatever_worker_process_is_killed(self):
        seed = int(os.environ.get("QUEUECTL_SEED") or time.time())
        chance = random.Random(seed)
        self.settings(limits={"gpu": LIMIT}, max_retries=1000, kill_grace=0.2)
        self.add_all(HELD, JOBS)
        workers = [self.worker("--count", "3") for _ in range(2)]
        for _ in range(KILLS):
            time.sleep(chance.random() * 0.3)
            victim = workers.pop(0)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            workers.append(self.worker("--count", "3"))
        self.wait_until_all_ended()
        self.stop(*workers)
        self.assertEqual(self.text("doubled"), "", "seed %d" % seed)
        self.assertEqual(set(self.states().values()), {"completed"})
        self.assertEqual(set(self.text("slots").split()), {str(slot) for slot in range(LIMIT)})

    def test_limit_that_is_edited_meanwhile_holds_for_all_that_starts_from_then_on(self):
        self.settings(limits={"gpu": 3})
        self.write("moments", "limit 3\n")
        self.add_all(LISTED, JOBS)
        workers = [self.worker("--count", "4") for _ in range(2)]
        for number, limit in enumerate((1, 3, 2, 0, 4), 1):
            time.sleep(0.2)
            before = self.limit_in_force(number, limit)
            self.settings(limits={"gpu": limit})
            self.wait_for(lambda: all(self.text(worker.words).count("settings read again") == number for worker in workers))
            if before is not None:
                claimed = [job.id for job in self.queue.jobs(("processing",)) if job.group]  # by the limit of before; some start now
                self.wait_for(lambda: all("s %s " % job_id in self.text("moments") for job_id in claimed))
                self.note("limit %d" % limit)
        self.wait_until_all_ended()
        self.stop(*workers)
        lines = self.text("moments").splitlines()
        self.assertEqual(sweep(lines), [])
        self.assertEqual(len([line for line in lines if line.startswith("e ")]), JOBS)

    def limit_in_force(self, number, limit):
        """Note a limit that is raised before it is written, one that is lowered behind: whether it is still to be noted."""
        former = [int(line.split()[1]) for line in self.text("moments").splitlines() if line.startswith("limit ")][-1]
        if limit >= former:
            self.note("limit %d" % limit)
            return None
        return former

    def note(self, line):
        with open(self.path("moments"), "a", encoding="ascii") as file:
            file.write(line + "\n")

    @unittest.skipUnless(shutil.which("flock"), "needs flock(1)")
    def test_slot_of_a_job_that_was_cancelled_or_taken_away_by_an_edit_is_free_once_that_has_ended(self):
        self.settings(limits={"gpu": 1}, kill_grace=30)
        stubborn = 'exec flock -n "slot-$QUEUECTL_SLOT" sh -c \'trap "sleep 0.5; exit" TERM; echo > "$QUEUECTL_JOB_ID"; while :; do sleep 0.05; done\''
        for way in ("cancelled", "edited"):
            with self.subTest(way):
                self.add(way, stubborn, group="gpu")
                workers = [self.worker() for _ in range(2)]
                self.wait_for_file(way)
                self.add("after-" + way, HELD % 1, group="gpu")
                if way == "cancelled":
                    self.succeed("cancel", way)
                else:
                    records = [dict(record, worker=None, state="dead" if record["id"] == way else record["state"])
                               for record in self.records()]
                    self.write("jobs.json", json.dumps(records))
                self.wait_for_state("after-" + way, "completed")
                self.stop(*workers)
                self.assertEqual(self.text("doubled"), "")

    def test_end_in_one_process_wakes_another_one_that_waits_for_the_slot(self):
        self.settings(limits={"gpu": 1}, poll_interval=3600)
        self.add("first", "echo > started; while [ ! -e go ]; do sleep 0.02; done", group="gpu")
        self.add("second", "true", group="gpu")
        self.add("long", "while [ ! -e end ]; do sleep 0.02; done", priority=-1)
        one = self.worker()
        self.wait_for_file("started")
        other = self.worker()  # it takes the long one, since the group is full
        self.wait_for_state("long", "processing")
        third = self.worker("--group", "gpu")  # it idles
        self.wait_for_looks(third)
        self.add("next", "while [ ! -e end ]; do sleep 0.02; done", priority=5)
        self.write("go", "")
        for job_id in ("first", "second"):
            self.wait_for_state(job_id, "completed")
        self.write("end", "")
        self.wait_until_all_ended()
        self.stop(one, other, third)


if __name__ == "__main__":
    unittest.main()
