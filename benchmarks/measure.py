"""What the figures share: rounds in turn, medians and spreads, a temporary home, and the program run as a user runs it.

A figure is a list of Rows. Ours and the reference are measured in the same run and in turn, since machines differ and others use them:
the ratio says something where a time alone does not. Ratios are of costs: 2 means twice the time (or memory) of the reference.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from statistics import median

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAIN = os.path.join(ROOT, "main.py")
NOTHING = "rem" if os.name == "nt" else "true"  # the shell command that does nothing

# How much work a run does; `quick` is for trying that it works.
Scale = namedtuple("Scale", "drain_jobs many huge few outage rounds short_rounds process_rounds")
FULL = Scale(drain_jobs=2000, many=200000, huge=1000000, few=1000, outage=100000, rounds=5, short_rounds=15, process_rounds=40)
QUICK = Scale(drain_jobs=200, many=20000, huge=30000, few=200, outage=2000, rounds=2, short_rounds=3, process_rounds=5)

# What a figure should reach: the median of `quantity` ("ratio", or "ours" in the row's unit) at most, or for a rate at least, `limit`.
Target = namedtuple("Target", "quantity limit")
Spread = namedtuple("Spread", "median low high")

RATE = "jobs/s"  # the unit in which more is better


class Row:
    """One measured figure: values of ours and of the reference, one each a round, in `unit`. `skipped` says why there are none."""

    def __init__(self, name, what, against, unit, target=None, skipped=None):
        self.name = name
        self.what = what
        self.against = against
        self.unit = unit
        self.target = target
        self.skipped = skipped
        self.ours = []
        self.reference = []

    def add(self, ours, reference):
        """Take the values of one round."""
        self.ours.append(ours)
        self.reference.append(reference)

    def race(self, rounds, ours, reference):
        """Take the values of so many rounds, in which `ours()` and `reference()` take turns in going first; the row itself."""
        for values in in_turn(rounds, ours, reference):
            self.add(*values)
        return self

    def ratios(self):
        """The cost of ours in units of the reference's, one a round."""
        pairs = zip(self.ours, self.reference)
        return [reference / ours if self.unit == RATE else ours / reference for ours, reference in pairs]

    def met(self):
        """Whether the target is met; None without one, or without values."""
        if self.target is None or not self.ours:
            return None
        if self.target.quantity == "ratio":
            return median(self.ratios()) <= self.target.limit
        value = median(self.ours)
        return value >= self.target.limit if self.unit == RATE else value < self.target.limit

    def target_text(self):
        """The target as people write it; "-" for none."""
        if self.target is None:
            return "-"
        if self.target.quantity == "ratio":
            return "ratio <= %.3g" % self.target.limit
        return f"{'>=' if self.unit == RATE else '<'} {self.target.limit:,} {self.unit}".rstrip()

    def to_dict(self):
        """All of the row, for --json."""
        record = {"name": self.name, "what": self.what, "against": self.against, "unit": self.unit, "skipped": self.skipped}
        if self.ours:
            for name, values in (("ours", self.ours), ("reference", self.reference), ("ratio", self.ratios())):
                record[name] = dict(spread(values)._asdict(), rounds=values)
        record["target"] = None if self.target is None else self.target_text()
        record["met"] = self.met()
        return record


def spread(values):
    """The median of some values, the least and the greatest."""
    return Spread(median(values), min(values), max(values))


def in_turn(rounds, ours, reference):
    """What `ours()` and `reference()` give, as a pair a round. They take turns in going first, so that a drift hits both."""
    for number in range(rounds):
        if number % 2:
            other = reference()
            yield ours(), other
        else:
            mine = ours()
            yield mine, reference()


def seconds(operation):
    """How long `operation()` takes."""
    started = time.perf_counter()
    operation()
    return time.perf_counter() - started


class Home:
    """A home of its own on the disk, for `with`; removed at the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="queuectl-benchmark-")
        return self

    def __exit__(self, *exception):
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name):
        """A path in the home."""
        return os.path.join(self.path, name)

    def run(self, *arguments, **options):
        """Run a command of the program in this home; what it printed. Raises CalledProcessError."""
        return run([MAIN] + list(arguments), environ=environ(QUEUECTL_HOME=self.path), **options)

    def start_worker(self, *arguments, errors=subprocess.DEVNULL):
        """Start a worker process in this home: a Popen, whose stderr goes to `errors`."""
        return subprocess.Popen([sys.executable, MAIN, "worker", "start"] + list(arguments), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=errors, env=environ(QUEUECTL_HOME=self.path))

    def fill(self, count, fields=None):
        """Add `count` jobs that do nothing; `fields(number)` gives what each has besides."""
        content = job_lines(count)
        if fields is not None:
            jobs = [dict(json.loads(line), **fields(number)) for number, line in enumerate(content.splitlines())]
            content = json.dumps(jobs).encode("utf-8")
        self.run("enqueue", "-", content=content)


def job_lines(count):
    """`count` jobs that do nothing, as JSON Lines."""
    return b"".join(b'{"id": "job%d", "command": "%s"}\n' % (number, NOTHING.encode("ascii")) for number in range(count))


def environ(**more):
    """The environment of a user: nothing of ours, and bytecode is kept, as it is unless someone turns that off."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("QUEUECTL_") and name != "PYTHONDONTWRITEBYTECODE"}
    return dict(kept, **more)


def run(arguments, content=None, environ=None, output=subprocess.PIPE):
    """Run Python itself (the interpreter, not a shim in front of it) to its end; what it printed. Raises CalledProcessError."""
    done = subprocess.run([sys.executable] + list(arguments), input=b"" if content is None else content, stdout=output,
                          stderr=subprocess.PIPE, env=environ, cwd=ROOT, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr.decode("utf-8", "replace"))
        done.check_returncode()
    return (done.stdout or b"").decode("utf-8")


def most_memory(status):
    """The most memory that a process took, in MiB, from the text of its /proc/PID/status."""
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def peak(pid):
    """The most memory that a process has taken so far, in MiB; None where the system does not tell."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            return most_memory(file.read())
    except FileNotFoundError:
        return None


def read_records(path):
    """The array in a job file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)
