"""Other queues beside ours, in the same run: how fast they run jobs that do nothing, two at a time, and how fast jobs are added to them.

Whole processes, with the adding where jobs are added one by one; each with its own defaults, so that what they promise differs (the
README says how). What is not here is named as skipped: the programs come from the system's packages, the Python packages are installed
into an environment of their own, which is removed afterwards.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

from benchmarks.figures import rate_of_adding
from benchmarks.measure import RATE, Home, Row, Target, environ, job_lines, seconds

_PACKAGES = ("litequeue", "huey", "persist-queue")

# Each shell script gets the number of jobs as $1, and runs in an empty folder.
_PROGRAMS = {
    "xargs": ("xargs -P2", 1, 'seq "$1" | xargs -P2 -n1 sh -c true'),
    "parallel": ("GNU parallel -j2", 0.2, 'seq "$1" | parallel --will-cite -j2 "true {}"'),
    "tsp": ("task-spooler -S 2", 0.2, 'export TS_SOCKET="$PWD/socket" TS_MAXFINISHED=10 TMPDIR="$PWD"; tsp -S 2; i=0; '
            'while [ $i -lt "$1" ]; do tsp -n sh -c true >/dev/null; i=$((i+1)); done; '
            'while tsp | grep -Eq "running|queued"; do :; done; tsp -K'),
    "nq": ("nq, one at a time", 0.1, 'export NQDIR="$PWD"; i=0; while [ $i -lt "$1" ]; do nq -q sh -c true >/dev/null; i=$((i+1)); done; '
           'nq -w'),
}

_THREADS = """
import subprocess, sys, threading
count, ran, lock = int(sys.argv[1]), [0], threading.Lock()
def run_one():
    subprocess.run("true", shell=True)
    with lock: ran[0] += 1
def in_two_threads(loop):
    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    sys.exit(ran[0] != count)
"""

# Python programs, each in an empty folder: run `count` jobs, or add them.
_RUN = {
    "litequeue": _THREADS + """
from litequeue import LiteQueue
queue = LiteQueue("queue.db")
for number in range(count): queue.put("true")
def loop():
    mine = LiteQueue("queue.db")
    while True:
        task = mine.pop()
        if task is None: return
        run_one()
        mine.done(task.message_id)
in_two_threads(loop)
""",
    "huey": _THREADS + """
import logging
from huey import SqliteHuey
huey = SqliteHuey(filename="queue.db", results=False)
over = threading.Event()
@huey.task()
def job():
    run_one()
    if ran[0] == count: over.set()
for number in range(count): job()
logging.getLogger("huey").setLevel(logging.ERROR)
consumer = huey.create_consumer(workers=2, periodic=False, initial_delay=0.001, check_worker_health=False)
consumer.start()
over.wait()
consumer.stop(graceful=True)
""",
    "persist-queue": _THREADS + """
from persistqueue import SQLiteAckQueue, Empty
queue = SQLiteAckQueue("queue", multithreading=True)
for number in range(count): queue.put("true")
def loop():
    while True:
        try: item = queue.get(block=False)
        except Empty: return
        run_one()
        queue.ack(item)
in_two_threads(loop)
""",
}
_ADD = {
    "litequeue": """
import sys, time
from litequeue import LiteQueue
queue = LiteQueue("queue.db")
queue.conn.execute("PRAGMA synchronous = FULL")
started = time.perf_counter()
for number in range(int(sys.argv[1])): queue.put("true")
print(time.perf_counter() - started)
""",
    "huey": """
import sys, time
from huey import SqliteHuey
huey = SqliteHuey(filename="queue.db", fsync=True)
@huey.task()
def job(): pass
started = time.perf_counter()
for number in range(int(sys.argv[1])): job()
print(time.perf_counter() - started)
""",
}


def peers(scale):
    """Jobs that do nothing, two at a time, by us and by each of the others."""
    rows = []
    for program, (name, part, script) in _PROGRAMS.items():
        row = _row(name)
        if shutil.which(program) is None or shutil.which("seq") is None:
            row.skipped = "%s is not installed" % program
        elif program == "parallel" and not _is_gnu_parallel():
            row.skipped = "the program of that name here is another one (of moreutils)"
        else:
            _race(row, scale, part, lambda count, script=script: _shell(script, count))
        rows.append(row)
    with _Packages() as python:
        for name, program in _RUN.items():
            row = _row(name)
            if python is None:
                row.skipped = "it cannot be installed"
            else:
                _race(row, scale, 0.5, lambda count, program=program: _python(python, program, count))
            rows.append(row)
    return rows


def _is_gnu_parallel():
    shown = subprocess.run(["parallel", "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return b"GNU parallel" in shown.stdout


def _row(name):
    return Row("peers", "two at a time, whole, against " + name, name, RATE, Target("ratio", 1))


def _race(row, scale, part, run):
    """Add rounds to a row: ours with all jobs, theirs with a part of them, since some are slow."""
    count = max(20, int(scale.drain_jobs * part))
    row.race(max(2, scale.rounds // 2 + 1), lambda: scale.drain_jobs / _ours(scale.drain_jobs),
             lambda: count / seconds(lambda: run(count)))


def _ours(count):
    with Home() as home:
        content = job_lines(count)
        return seconds(lambda: (home.run("enqueue", "-", content=content),
                                home.run("worker", "start", "--count", "2", "--drain", output=subprocess.DEVNULL)))


def add_beside_peers(scale):
    """Adding jobs so that they are on the disk: ours from standard input, theirs one by one, as their interface has it."""
    rows = []
    with _Packages() as python:
        for name, times in (("litequeue", 5), ("huey", 30)):
            row = Row("put", f"enqueue - with {scale.many:,} lines, against {name}", "%s's put, synchronous" % name, RATE,
                      Target("ratio", 1 / times))
            if python is None:
                row.skipped = "it cannot be installed"
            else:
                row.race(max(2, scale.rounds // 2 + 1), lambda: rate_of_adding(scale.many),
                         lambda name=name: _put_theirs(python, _ADD[name], scale.drain_jobs))
            rows.append(row)
    return rows


def _put_theirs(python, program, count):
    return count / float(_python(python, program, count))


def _shell(script, count):
    with Home() as home:
        subprocess.run(["sh", "-c", script, "sh", str(count)], cwd=home.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       env=environ(), check=True)


def _python(python, program, count):
    with Home() as home:
        return subprocess.run([python, "-c", program, str(count)], cwd=home.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=environ(), check=True).stdout


class _Packages:
    """An environment with the Python packages, for `with`: the path of its Python, or None if they cannot be had."""

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="queuectl-peers-")
        python = os.path.join(self._folder, "Scripts" if os.name == "nt" else "bin", "python")
        for command in ([sys.executable, "-m", "venv", self._folder], [python, "-m", "pip", "install", "--quiet", *_PACKAGES]):
            try:
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except (OSError, subprocess.CalledProcessError):
                return None
        return python

    def __exit__(self, *exception):
        shutil.rmtree(self._folder, ignore_errors=True)


FIGURES = {"peers": peers, "put": add_beside_peers}
