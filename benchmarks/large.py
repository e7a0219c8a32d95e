"""What must not depend on the number of jobs, or on time: a million jobs in the file, an idle worker, an outage."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

from benchmarks.figures import READ, store
from benchmarks.measure import (MAIN, NOTHING, RATE, ROOT, Home, Row, Target, environ, in_turn, job_lines, most_memory, peak, run,
                                seconds)
from cli.salvage import salvage
from core.settings import DEFAULTS
from core.job import DEAD, FAILED, Outcome
from core.rules import given_up
from job_manager import JobManager
from storage.claims import Claims
from storage.dead_letters import DeadLetters
from storage.selection import Choice


def large(scale):
    """With very many jobs in the file: one enqueue, status, and a worker's start."""
    with Home() as home:
        home.fill(scale.huge)
        return [_enqueue_row(scale, home)] + _status_rows(scale, home) + _worker_rows(scale, home)


def _enqueue_row(scale, home):
    row = Row("large", f"one enqueue process, {scale.huge:,} jobs", "the same with none", "ms", Target("ratio", 1.15))
    job = json.dumps({"id": "one more", "command": NOTHING})

    def into_an_empty_one():
        with Home() as empty:
            return seconds(lambda: empty.run("enqueue", job))

    for ours, reference in in_turn(scale.short_rounds, lambda: seconds(lambda: home.run("enqueue", job)), into_an_empty_one):
        row.add(1000 * ours, 1000 * reference)
    return row


def _status_rows(scale, home):
    path = home.file("jobs.json")
    wc = shutil.which("wc")
    row = Row("large", f"status, {scale.huge:,} jobs", "wc -l of the file" if wc else "a process that reads the file once", "ms",
              Target("ratio", 2))
    read = (lambda: subprocess.run([wc, "-l", path], stdout=subprocess.DEVNULL, check=True)) if wc \
        else lambda: run(["-c", READ, path], environ=environ())
    for ours, reference in in_turn(scale.rounds, lambda: seconds(lambda: home.run("status")), lambda: seconds(read)):
        row.add(1000 * ours, 1000 * reference)
    memory = Row("large", f"the memory of status, {scale.huge:,} jobs", "with none", "MiB", Target("ours", 40))
    with Home() as empty:
        _compare(memory, lambda: _peak_of_command(home, "status"), lambda: _peak_of_command(empty, "status"), 2)
    return [row, memory]


def _compare(row, ours, reference, rounds):
    """Add rounds of two measurements that may give None, where the system does not tell."""
    for pair in in_turn(rounds, ours, reference):
        if None in pair:
            row.skipped = "the system does not tell"
            return
        row.add(*pair)


def _peak_of_command(home, *arguments, content=b""):
    """The most memory that a command took, in MiB; None where the system does not tell."""
    program = "import sys, main; main.main(sys.argv[1:]); sys.stderr.write(open('/proc/self/status').read())"
    if not os.path.exists("/proc/self/status"):
        return None
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, env=environ(QUEUECTL_HOME=home.path), check=True,
                          input=content, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return most_memory(done.stderr.decode("utf-8"))


def _worker_rows(scale, home):
    """A worker process on a large file: until its first job ends, and the memory it takes then and after some thousand jobs more."""
    until = Row("large", f"worker start, {scale.huge:,} pending, until a job is done", "the same with one job", "s", Target("ours", 3))
    with Home() as small:
        small.fill(1)
        for ours, reference in in_turn(2, lambda: _until_first(home), lambda: _until_first(small)):
            until.add(ours[0], reference[0])
            small.run("enqueue", json.dumps({"id": "again", "command": NOTHING}))
    memory = Row("large", f"a worker's memory, {scale.huge:,} pending", "the same worker at the start", "MiB", Target("ours", 80))
    _compare(memory, lambda: _until_first(home, scale.drain_jobs)[1], lambda: _until_first(home)[1], 2)
    return [until, memory]


def _until_first(home, more=1):
    """Start a worker process and stop it once so many jobs are done: (seconds until then, the most memory in MiB, None if unknown)."""
    jobs = store(home.path)
    before = jobs.count()["completed"]
    started = time.perf_counter()
    worker = home.start_worker(errors=subprocess.PIPE)
    try:
        for _ in range(more):
            worker.stderr.readline()  # a line a job
        elapsed = time.perf_counter() - started
        most = peak(worker.pid)
        home.run("worker", "stop")
    finally:
        worker.kill()
        worker.communicate()
    if jobs.count()["completed"] <= before:
        raise RuntimeError("no job was completed")
    return elapsed, most


# ---------------------------------------------------------------- an idle worker

def latency(scale):
    """From the moment that a job is acknowledged to the start of its command, with a worker that is idle."""
    row = Row("latency", "from an acknowledged job to its start, idle worker", "poll_interval", "ms", Target("ours", 50))
    if shutil.which("date") is None or os.name == "nt":
        row.skipped = "needs date(1)"
        return [row]
    with Home() as home, _Idle(home):
        jobs, path = JobManager(store(home.path)), home.file("stamp")
        command = "date +%%s.%%N > %s.new; mv %s.new %s" % (path, path, path)
        for _ in range(scale.process_rounds):
            jobs.enqueue([{"id": "job", "command": command}], home.path, time.time())
            added = time.time()
            while not os.path.exists(path):
                time.sleep(0.001)
            with open(path, encoding="ascii") as file:
                row.add(1000 * (float(file.read()) - added), 1000 * DEFAULTS.poll_interval)
            os.unlink(path)
    return [row]


def idle(scale):
    """What a worker process does while there is nothing to do."""
    wakeups = Row("idle", "wake-ups a second of an idle worker process", "2", "", Target("ours", 2.05))
    cpu = Row("idle", "percent of a core for an idle worker process", "0.3", "%", Target("ours", 0.3))
    with Home() as home, _Idle(home) as pid:
        try:
            before, clock = _effort(pid), time.monotonic()
            for _ in range(2 if scale.few < 500 else 3):
                time.sleep(10)
                after, now = _effort(pid), time.monotonic()
                wakeups.add((after[0] - before[0]) / (now - clock), 2)
                cpu.add(100 * (after[1] - before[1]) / (now - clock), 0.3)
                before, clock = after, now
        except FileNotFoundError:
            wakeups.skipped = cpu.skipped = "there is no /proc"
    return [wakeups, cpu]


def _effort(pid):
    """(how often the threads of a process went to sleep, seconds of processor time it took)."""
    switches = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task), encoding="ascii", errors="replace") as file:
            switches += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return switches, (int(fields[11]) + int(fields[12])) / 100  # USER_HZ


class _Idle:
    """A worker process that has nothing to do, for `with`: its pid."""

    def __init__(self, home):
        self._home = home

    def __enter__(self):
        self._worker = self._home.start_worker("--count", "4")
        while json.loads(self._home.run("worker", "list", "--json")) == []:
            time.sleep(0.05)
        time.sleep(1)
        return self._worker.pid

    def __exit__(self, *exception):
        self._home.run("worker", "stop")
        self._worker.wait()


# ---------------------------------------------------------------- an outage

def outage(scale):
    """Every job fails and goes to the dead letter queue: a job at the end against one at the start."""
    part = scale.outage // 10
    row = Row("outage", f"the last {part:,} of {scale.outage:,} jobs that die", f"the first {part:,}", RATE, Target("ratio", 1.15))
    with Home() as home:
        home.fill(scale.outage)
        jobs = store(home.path, max_retries=0)
        claims, rates = Claims(jobs), []
        for start in range(10):
            rates.append(part / seconds(lambda start=start: _die(claims, part, start * part)))
        row.add(rates[-1], rates[0])
        if sum(1 for _ in DeadLetters(jobs).jobs()) != scale.outage:
            raise RuntimeError("not every job died")
    return [row]


def _die(claims, count, first):
    failed = Outcome(1, FAILED)
    for number in range(first, first + count):
        claims.finish(claims.claim("bench-%d" % number, time.time()), failed, time.time(), "the last line")


# ---------------------------------------------------------------- many jobs in one command

def tidy(scale):
    """cancel and retry of many ids against few, and what others wait for while completed jobs are removed."""
    few, many = scale.few, 4 * scale.few
    cancel = Row("tidy", f"cancel of {many:,} ids, each", f"of {few:,} ids, each", "us", Target("ratio", 1.3))
    retry = Row("tidy", f"retry of {many:,} ids, each", f"of {few:,} ids, each", "us", Target("ratio", 1.3))
    with Home() as home:
        home.fill(10 * few)
        jobs = JobManager(store(home.path))
        for _ in range(scale.rounds):
            values = [_cancel_and_retry(jobs, ["job%d" % number for number in range(count)]) for count in (many, few)]
            cancel.add(*[value[0] for value in values])
            retry.add(*[value[1] for value in values])
    return [cancel, retry, _clean_row(scale)]


def _cancel_and_retry(jobs, ids):
    """How long it takes to cancel these jobs, and to bring them back, in microseconds a job."""
    to_cancel = seconds(lambda: jobs.cancel(ids, time.time()))
    to_retry = seconds(lambda: jobs.retry(Choice(ids, None), time.time()))
    return 1e6 * to_cancel / len(ids), 1e6 * to_retry / len(ids)


def _clean_row(scale):
    """The longest time that another process waits for the lock while most jobs of a large file are removed."""
    gone = scale.many - scale.many // 40
    row = Row("tidy", f"the longest wait for clean of {gone:,} of {scale.many:,} jobs", "clean itself", "ms", Target("ours", 300))
    for _ in range(2):
        with Home() as home:
            home.fill(scale.many)
            with open(home.file("jobs.json"), "r+b") as file:
                content = file.read()
                file.seek(0)
                file.write(content.replace(b'"pending"   ', b'"completed" ', gone))
            jobs, waits = store(home.path), [0.0]
            jobs.count()  # the file is checked once
            started = time.perf_counter()
            lock, command = jobs.lock, [sys.executable, MAIN, "clean"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environ(QUEUECTL_HOME=home.path)) as clean:
                while clean.poll() is None:
                    waits.append(seconds(lock.__enter__))
                    lock.__exit__()
                    time.sleep(0.002)
            row.add(1000 * max(waits), 1000 * (time.perf_counter() - started))
            if jobs.count()["completed"]:
                raise RuntimeError("not every job was removed")
    return row


# ---------------------------------------------------------------- what grew with the square, or was in memory whole

def growth(scale):
    """Operations on four times as many jobs against the same on few, each by its costs a job; and the memory that many jobs take."""
    return [_repair_row(scale), _purge_row(scale)] + _foreign_rows(scale) + [_bulk_row(scale)]


def _repair_row(scale):
    few, many = scale.many // 40, scale.many // 10
    row = Row("growth", f"doctor --repair of {many:,} jobs on one line, each", f"of {few:,} jobs, each", "us", Target("ratio", 1.3))
    broken = {count: json.dumps(_records(count)).replace('"state": "pending"', '"state": ?pending"', 1).encode("utf-8")
              for count in (few, many)}
    return row.race(scale.rounds, lambda: 1e6 * seconds(lambda: salvage(broken[many])) / many,
                    lambda: 1e6 * seconds(lambda: salvage(broken[few])) / few)


def _records(count):
    return [{"id": "job%d" % number, "command": NOTHING, "created_at": "2026-11-25T22:36:06.%06dZ" % number, "state": "pending"}
            for number in range(count)]


def _purge_row(scale):
    """The longest time that the lock is held while nearly all jobs of a queue, which are dead, are removed, by jobs in the file."""
    row = Row("growth", f"the lock held by purge of {scale.many:,} dead jobs", "by retry of as many", "ms", Target("ours", 300))
    held = []
    for change in (lambda jobs: jobs.clean((DEAD,), Choice(None, None)), lambda jobs: jobs.retry(Choice(None, None), time.time())):
        with Home() as home:
            home.fill(scale.many)
            store_of_home = store(home.path)
            jobs = JobManager(store_of_home)
            _kill_all(store_of_home)
            with _Held(store_of_home.lock) as lock:
                change(jobs)
            held.append(1000 * lock.longest)
    row.add(*held)
    return row


def _kill_all(store_of_home):
    dead = [given_up(job, FAILED, time.time()) for job in store_of_home.jobs()]
    letters = DeadLetters(store_of_home)

    def bury():
        letters.bury([(job, "") for job in dead], letters.tell_unburied)
        for job in dead:
            store_of_home.put(job.place, job)

    store_of_home.change(bury, store_of_home.jobs_json, store_of_home.dlq_json)


class _Held:
    """How long a lock is held at once, at most, in seconds."""

    def __init__(self, lock):
        self._lock = lock
        self.longest = 0.0

    def __enter__(self):
        enter, leave, since = self._lock.enter, self._lock._mutex.release, [0.0]

        def note_enter(*arguments, **options):
            enter(*arguments, **options)
            since[0] = time.perf_counter()

        class Mutex:
            """The lock's mutex, which notes how long it was held."""

            acquire = self._lock._mutex.acquire

            @staticmethod
            def release():
                """Note it, and release."""
                self.longest = max(self.longest, time.perf_counter() - since[0])
                leave()

        self._former = self._lock._mutex
        self._lock.enter, self._lock._mutex = note_enter, Mutex
        return self

    def __exit__(self, *exception):
        del self._lock.enter
        self._lock._mutex = self._former


def _foreign_rows(scale):
    """A job file that another program has laid out anew: how long one look takes, and the memory."""
    count = scale.many
    row = Row("growth", f"list --limit 1, {count:,} jobs as json.dump(…, indent=2) writes them", "json.load of the file", "s")
    memory = Row("growth", f"the memory of that, {count:,} jobs", "with 100", "MiB", Target("ours", 60))
    with Home() as large, Home() as small:
        for home, number in ((large, count), (small, 100)):
            with open(home.file("jobs.json"), "w", encoding="utf-8") as file:
                json.dump(_records(number), file, indent=2)
        load = "import json, sys; json.load(open(sys.argv[1]))"
        row.race(2, lambda: seconds(lambda: large.run("list", "--limit", "1")),
                 lambda: seconds(lambda: run(["-c", load, large.file("jobs.json")], environ=environ())))
        look = ("list", "--limit", "1")
        _compare(memory, lambda: _peak_of_command(large, *look), lambda: _peak_of_command(small, *look), 1)
    return [row, memory]


def _bulk_row(scale):
    """The memory of one enqueue of very many jobs: all or none."""
    row = Row("growth", f"the memory of enqueue - with {scale.many:,} lines", "with one", "MiB", Target("ours", 80))
    with Home() as home:
        _compare(row, lambda: _peak_of_command(home, "enqueue", "-", content=job_lines(scale.many)),
                 lambda: _peak_of_command(home, "enqueue", "-", content=job_lines(1)), 1)
    return row


FIGURES = {"growth": growth, "large": large, "latency": latency, "idle": idle, "outage": outage, "tidy": tidy}
