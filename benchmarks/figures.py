"""The figures: what is measured, against what, and what it should reach."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime

from benchmarks.measure import MAIN, NOTHING, RATE, ROOT, Home, Row, Target, environ, in_turn, job_lines, peak, read_records, run, seconds
from core.settings import DEFAULTS
from core.job import Outcome
from storage.claims import Claims
from storage.store import Store

# ---------------------------------------------------------------- running jobs

# Both loops: `loop(thread)` in threads, and how long they took.
_LOOP_ARGUMENTS = """
import sys, threading, time
from itertools import count
numbers, last, command, at_once = count(), int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
"""
_RUN_LOOP = """
threads = [threading.Thread(target=loop, args=(thread,)) for thread in range(at_once)]
started = time.perf_counter()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(time.perf_counter() - started)
"""

_BARE_LOOP = _LOOP_ARGUMENTS + """
import subprocess
def loop(thread):
    while next(numbers) < last:
        subprocess.run(command, shell=True)
""" + _RUN_LOOP


# The system calls that a worker's thread makes for its jobs, and next to nothing besides: what a queue of this kind costs at least. A job
# has a note of what runs and a log that is locked by whoever inherits it; twenty of them share one change of a job file.
_FLOOR_LOOP = _LOOP_ARGUMENTS + """
import fcntl, os, tempfile
sys.path.insert(0, sys.argv[4])
from execution.launcher import Launcher, encode_environ
launch, environ, mutex, home = Launcher(), encode_environ(os.environ), threading.Lock(), tempfile.mkdtemp()
def make(name, size):
    descriptor = os.open(os.path.join(home, name), os.O_RDWR | os.O_CREAT)
    os.write(descriptor, bytes(size))
    return descriptor
notes, hint, jobs = make("notes", 4096), make("hint", 65536), make("jobs", 1 << 20)
def change():
    with mutex:
        fcntl.flock(hint, fcntl.LOCK_EX)
        os.stat(os.path.join(home, "hint")), os.pread(hint, 112, 0)
        os.stat(os.path.join(home, "jobs")), os.pread(jobs, 10240, 4096), os.access(os.path.join(home, "paused"), os.F_OK)
        lines = os.pread(jobs, 7000, 4096)
        os.fstat(jobs), os.pwrite(jobs, lines, 4096), os.pwrite(hint, bytes(160), 8192)
        os.stat(os.path.join(home, "jobs")), os.pwrite(hint, bytes(112), 0)
        fcntl.flock(hint, fcntl.LOCK_UN)
    os.write(2, bytes(700))
def loop(thread):
    name, since = os.path.join(home, "log%d" % thread), 0
    while next(numbers) < last:
        os.pwrite(notes, bytes(126), 128 * thread)
        log = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        pid = launch.start(command, home, environ, {b"QUEUECTL_JOB_ID": b"x", b"QUEUECTL_WORKER": b"x"}, log)
        os.close(log)
        os.pwrite(notes, bytes(126), 128 * thread)
        since = (since + 1) % 20
        if not since:
            change()
        launch.wait(pid, mutex), launch.reap(pid), os.stat(name)
        log = os.open(name, os.O_RDONLY)
        while True:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.0001)
        os.close(log), os.unlink(name)
""" + _RUN_LOOP + """
for name in os.listdir(home):
    os.unlink(os.path.join(home, name))
os.rmdir(home)
"""


def drain(scale):
    """Jobs that do nothing, run by two threads, by eight and by two processes of two: against as many threads that run the same command
    without a queue, against xargs, and against two threads. And what the system calls alone cost that a worker makes."""
    rows = _bare_rows(scale, 1, 2, Target("ratio", 1 / 0.95)) + [_xargs_row(scale, 1, 2, 1)]
    for processes, threads in ((1, 8), (2, 2)):
        rows += _bare_rows(scale, processes, threads) + [_xargs_row(scale, processes, threads, 1 / 0.95)]
        rows.append(_own_row(scale, processes, threads))
    return rows + ([_floor_row(scale, threads) for threads in (2, 8)] if os.name != "nt" else [])


def _own_row(scale, processes, threads):
    row = Row("drain", _what(scale, processes, threads), "two threads of ours", RATE, Target("ratio", 1))
    return row.race(scale.rounds, lambda: _drain(scale.drain_jobs, processes, threads)[0], lambda: _drain(scale.drain_jobs, 1, 2)[0])


def _floor_row(scale, threads):
    row = Row("drain", "%d times the system calls of a job alone, %d threads" % (scale.drain_jobs, threads), _bare(threads), RATE)
    return row.race(scale.rounds, lambda: _loop(_FLOOR_LOOP, scale.drain_jobs, threads)[0],
                    lambda: _loop(_BARE_LOOP, scale.drain_jobs, threads)[0])


def _bare(threads, command=NOTHING):
    return "%d threads around subprocess.run(%r, shell=True)" % (threads, command)


def _what(scale, processes, threads, part="first start to last end"):
    return "%d jobs, %s%d threads, %s" % (scale.drain_jobs, "%d x " % processes if processes > 1 else "", threads, part)


def _xargs_row(scale, processes, threads, limit):
    together = processes * threads
    row = Row("drain", _what(scale, processes, threads), "xargs -P%d" % together, RATE, Target("ratio", limit))
    if shutil.which("xargs") is None or shutil.which("seq") is None:
        row.skipped = "xargs is not installed"
        return row
    script = "seq %d | xargs -P%d -n1 sh -c %s" % (scale.drain_jobs, together, NOTHING)
    return row.race(scale.rounds, lambda: _drain(scale.drain_jobs, processes, threads)[0],
                    lambda: scale.drain_jobs / seconds(lambda: subprocess.run(script, shell=True, check=True)))


def _bare_rows(scale, processes, threads, target=None):
    together = processes * threads
    inner = Row("drain", _what(scale, processes, threads), _bare(together), RATE, target)
    whole = Row("drain", _what(scale, processes, threads, "whole processes"), _bare(together), RATE)
    for (ours, ours_whole), (bare, bare_whole) in in_turn(scale.rounds, lambda: _drain(scale.drain_jobs, processes, threads),
                                                          lambda: _loop(_BARE_LOOP, scale.drain_jobs, together)):
        inner.add(ours, bare)
        whole.add(ours_whole, bare_whole)
    return [inner, whole]


def _drain(count, processes, threads, runner=""):
    """Jobs a second of worker processes that drain a queue with the durable defaults: by the times in jobs.json, and from outside."""
    with Home() as home:
        home.fill(count)
        started = time.perf_counter()
        workers = [home.start_worker("--count", str(threads), "--drain", "--runner", runner) for _ in range(processes)]
        for worker in workers:
            worker.wait()
        whole = time.perf_counter() - started
        records = read_records(home.file("jobs.json"))
    if [record["state"] for record in records] != ["completed"] * count:
        raise RuntimeError("not every job was completed")
    first = min(_moment(record["started_at"]) for record in records)
    last = max(_moment(record["updated_at"]) for record in records)
    return count / (last - first).total_seconds(), count / whole


def _moment(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


def _loop(code, count, threads, command=NOTHING):
    """Jobs a second of a loop without a queue: by what it prints, and from outside."""
    started = time.perf_counter()
    inner = float(run(["-c", code, str(count), command, str(threads), ROOT], environ=environ()))
    return count / inner, count / (time.perf_counter() - started)


def runner(scale):
    """Jobs that do nothing on a Slurm, against srun called as often, and as many at a time, without a queue; and what a runner costs."""
    return [_slurm_row(scale, 4), _env_row(scale)]


_SRUN = "srun -n1 --quiet"


def _slurm_row(scale, at_once):
    count = scale.drain_jobs // 10
    row = Row("runner", "%d jobs with the runner '%s', %d at a time" % (count, _SRUN, at_once),
              _bare(at_once, _SRUN + " true"), RATE, Target("ratio", 1 / 0.9))
    try:
        subprocess.run(_SRUN.split() + ["true"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        row.skipped = "no Slurm is up (tests/engine/run.sh -- COMMAND runs a command with one)"
        return row
    return row.race(scale.rounds, lambda: _drain(count, 1, at_once, _SRUN)[0],
                    lambda: _loop(_BARE_LOOP, count, at_once, _SRUN + " true")[0])


def _env_row(scale):
    row = Row("runner", "%d jobs with the runner 'env', two at a time" % scale.drain_jobs, "the same without a runner", RATE)
    if os.name == "nt":
        row.skipped = "there is no env"
        return row
    return row.race(scale.rounds, lambda: _drain(scale.drain_jobs, 1, 2, "env")[0], lambda: _drain(scale.drain_jobs, 1, 2)[0])


# ---------------------------------------------------------------- claiming and finishing

def claim(scale):
    """Claim and finish through `Claims`, in a large file against a small one, by one process and by two at once."""
    with Home() as large:
        large.fill(scale.huge)
        return [_claim_row(scale, large, processes) for processes in (1, 2)]


def order(scale):
    """The same where jobs have priorities, have been scheduled, or come after others."""
    rows = []
    for what, fields in (("priorities", lambda number: {"priority": number % 7 - 3}),
                         ("schedules", lambda number: {"run_at": "2020-01-01T00:00:00Z"} if number % 3 else {}),
                         ("dependencies", lambda number: {"after": ["job%d" % (number - 1)]} if number % 2 else {})):
        with Home() as large:
            large.fill(scale.many, fields)
            rows.append(_claim_row(scale, large, 1, what, fields))
    return rows


def groups(scale):
    """The same in three groups, of which one is full, with half of all jobs waiting for it."""
    row = Row("groups", f"claim + finish, {scale.huge:,} jobs, 3 groups, one full", "the same with %d jobs, no groups" % scale.few, RATE,
              Target("ratio", 1.15))
    with Home() as large:
        large.fill(scale.huge, lambda number: {"group": ("full", "full", "some", "free")[number % 4]})
        limits = {"full": 1, "some": 4}
        Claims(store(large.path, limits=limits)).claim("full-1", time.time())
        return [row.race(scale.short_rounds, lambda: _claims(large, scale.few - 20, 1, limits=limits),
                         lambda: _claims_in_small_file(scale, scale.few - 20, 1))]


def _claim_row(scale, large, processes, what="", fields=None):
    row = Row("claim", f"claim + finish, {scale.many if what else scale.huge:,} jobs, "
              f"{what or '%d process%s' % (processes, 'es' * (processes > 1))}", "the same with %d jobs" % scale.few, RATE,
              Target("ratio", 1.15))
    count = (scale.few - 20) // processes
    return row.race(scale.short_rounds, lambda: _claims(large, count, processes),
                    lambda: _claims_in_small_file(scale, count, processes, fields))


def _claims_in_small_file(scale, count, processes, fields=None):
    with Home() as small:
        small.fill(scale.few, fields)
        return _claims(small, count, processes)


def _claims(home, count, processes, **settings):
    """Jobs a second that are claimed and finished, `count` by each process. Every process knows the file before the clock starts."""
    others = [_start_claimer(home, count) for _ in range(processes - 1)]
    claims = Claims(store(home.path, **settings))
    _claim_and_finish(claims, 1)
    for other in others:
        other.stdout.readline()
    started = time.perf_counter()
    for other in others:
        other.stdin.write(b"go\n")
        other.stdin.flush()
    _claim_and_finish(claims, count)
    for other in others:
        other.stdout.readline()
    elapsed = time.perf_counter() - started
    for other in others:
        other.communicate()
        if other.returncode:
            raise RuntimeError("a claiming process failed")
    return count * processes / elapsed


def _start_claimer(home, count):
    program = "import sys; from benchmarks.figures import be_claimer; be_claimer(sys.argv[1], int(sys.argv[2]))"
    return subprocess.Popen([sys.executable, "-c", program, home.path, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            cwd=ROOT, env=environ())


def be_claimer(home, count):
    """The other process: get ready, say so, wait for a line, claim and finish `count` jobs, say so."""
    claims = Claims(store(home))
    _claim_and_finish(claims, 1)
    print("ready", flush=True)
    sys.stdin.readline()
    _claim_and_finish(claims, count)
    print("done", flush=True)


def store(home, **settings):
    """The Store of a home, with the defaults but for these settings."""
    return Store(home, DEFAULTS._replace(**settings), lambda message: None)


def _claim_and_finish(claims, count):
    succeeded = Outcome(0, None)
    for number in range(count):
        job = claims.claim("bench%d-%d" % (os.getpid(), number), time.time())
        claims.finish(job, succeeded, time.time())


# ---------------------------------------------------------------- adding

_COPY = """
import json, os, sys
lines = [json.dumps(json.loads(line)) for line in sys.stdin.buffer.read().decode("utf-8").splitlines()]
with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write("\\n".join(lines))
    file.flush()
    os.fsync(file.fileno())
"""


def add(scale):
    """Many jobs from standard input, against a script that reads each line, writes it out again and syncs; whole processes."""
    content = job_lines(scale.many)
    row = Row("add", f"enqueue - with {scale.many:,} lines", "json.loads, json.dumps, write, fsync", RATE, Target("ours", 100000))

    def reference():
        with Home() as home:
            return scale.many / seconds(lambda: run(["-c", _COPY, home.file("copy")], content=content, environ=environ()))

    return [row.race(scale.rounds, lambda: rate_of_adding(scale.many), reference)]


def rate_of_adding(count):
    """Jobs a second that one enqueue process adds from standard input."""
    content = job_lines(count)
    with Home() as home:
        return count / seconds(lambda: home.run("enqueue", "-", content=content))


def start(scale):
    """One enqueue process, against Python with the two modules that any such program needs; both without site."""
    row = Row("start", "one enqueue process (fsync included)", "python -S -c 'import argparse, json'", "ms", Target("ratio", 1.25))
    with Home() as home:
        mine = ["-S", MAIN, "--home", home.path, "enqueue", json.dumps({"id": "job", "command": NOTHING})]
        bare = ["-S", "-c", "import argparse, json"]
        for arguments in (mine, bare):
            run(arguments, environ=environ())  # from now on the bytecode is cached
        for ours, reference in in_turn(scale.process_rounds, lambda: seconds(lambda: run(mine, environ=environ())),
                                       lambda: seconds(lambda: run(bare, environ=environ()))):
            row.add(1000 * ours, 1000 * reference)
    return [row]


# ---------------------------------------------------------------- memory

def memory(scale):
    """The most memory that a worker process took with many jobs waiting, against one with none."""
    return [_memory_row(scale, "pending", _fill_pending), _memory_row(scale, "scheduled", _fill_scheduled),
            _memory_row(scale, "grouped", _fill_grouped)]


def _memory_row(scale, what, fill):
    row = Row("memory", f"a worker with {scale.many:,} {what} jobs", "a worker with none", "MiB", Target("ours", 60))
    if not os.path.exists("/proc/self/status"):
        row.skipped = "there is no /proc"
        return row
    return row.race(2, lambda: _peak(lambda home: fill(home, scale.many)), lambda: _peak(_fill_busy))


def _fill_busy(home):
    home.run("enqueue", '{"id": "busy", "command": "exec sleep 300"}')


def _fill_pending(home, count):
    _fill_busy(home)
    home.fill(count)


def _fill_scheduled(home, count):
    """Jobs with a time, as a script would write them; the enqueue behind them puts the file into the layout."""
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    records = [{"id": "job%d" % number, "command": NOTHING, "run_at": tomorrow} for number in range(count)]
    with open(home.file("jobs.json"), "w", encoding="utf-8") as file:
        json.dump(records, file)
    _fill_busy(home)


def _fill_grouped(home, count):
    """Jobs of a group of which none may run."""
    home.run("config", "set", "limits.full", "0")
    _fill_busy(home)
    home.fill(count, lambda number: {"group": "full"})


def _peak(fill):
    """The most memory in MiB of a worker process that runs the busy job and has looked at its queue for some seconds."""
    with Home() as home:
        fill(home)
        worker = home.start_worker()
        try:
            while not any(process["running"] for process in json.loads(home.run("worker", "list", "--json"))):
                if worker.poll() is not None:
                    raise RuntimeError("the worker ended")
                time.sleep(0.1)
            time.sleep(3)  # three of its looks at everything
            most = peak(worker.pid)
            home.run("worker", "stop", "--now")
        finally:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
    return most


# ---------------------------------------------------------------- counting

READ = "import sys\nfile = open(sys.argv[1], 'rb', buffering=0)\nwhile file.read(1 << 20):\n    pass"


def count(scale):
    """Counting the jobs, against reading the file once, within a process and as whole processes."""
    inner = Row("count", f"the counts alone, {scale.many:,} jobs", "reading the file once", "ms")
    whole = Row("count", f"status, {scale.many:,} jobs, the whole process", "a process that reads the file once", "ms")
    with Home() as home:
        home.fill(scale.many)
        path = home.file("jobs.json")
        jobs = store(home.path)
        for ours, reference in in_turn(scale.short_rounds, lambda: seconds(jobs.count), lambda: seconds(lambda: _read(path))):
            inner.add(1000 * ours, 1000 * reference)
        for ours, reference in in_turn(scale.short_rounds, lambda: seconds(lambda: home.run("status")),
                                       lambda: seconds(lambda: run(["-c", READ, path], environ=environ()))):
            whole.add(1000 * ours, 1000 * reference)
    return [inner, whole]


def _read(path):
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


FIGURES = {"drain": drain, "runner": runner, "claim": claim, "order": order, "groups": groups, "add": add, "start": start, "memory": memory,
           "count": count}
