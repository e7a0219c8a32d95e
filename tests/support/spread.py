"""Runs the tests in several processes at once, since most of them wait most of the time for processes of their own.

The tests are collected as ever. Those of each module are then run by a process of its own, which is this file as a program with the flags
of Python that the runner was given, and the runner is told of each as if it had run it itself. What the tests of a module print is shown
only if one did not end well, or if Python warned. A module that has not ended in time shows where it stands, and is ended.
"""
from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AT_ONCE = 2 * (os.cpu_count() or 1)

ENDS = (0, 3)  # the exit codes of a process that has come to its end: all went well, or not
LIMIT = 600.0  # seconds that the tests of a module may take, which is ten times of what they do on a busy machine


class Elsewhere(Exception):
    """What went wrong in another process, as that has shown it."""


class Fixture:
    """What the tests of a class or a module need, as the runner shows it."""

    failureException = None  # the runner asks for it

    def __init__(self, name):
        self._name = name

    def __str__(self):
        return self._name

    id = __str__

    def shortDescription(self):
        """There is nothing to say but its name."""


class Spread(unittest.TestSuite):
    """Tests, of which those of one module are run together."""

    def run(self, result, debug=False):
        """Run all tests in processes of their own, those of large modules first, and tell `result` (a unittest.TestResult) of them."""
        modules = {}
        for test in _each(self):
            modules.setdefault(type(test).__module__, []).append(test)
        if debug or len(modules) < 2:
            return super().run(result, debug)
        for test in modules.pop("unittest.loader", ()):  # what stands for a module that cannot be imported
            test(result)
        groups = sorted(modules.values(), key=len, reverse=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            runs = {pool.submit(_run_elsewhere, tests, result): tests for tests in groups}
            try:
                for run in as_completed(runs):
                    _tell(result, runs[run], *run.result())
            finally:
                for run in runs:  # after Ctrl+C no others are begun
                    run.cancel()
        return result


def _each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _each(test)
        else:
            yield test


def _run_elsewhere(tests, result):
    """(What a process has told of these tests, one record each; what it printed, and its exit code.)"""
    if result.shouldStop:
        return [], "", 0
    with tempfile.TemporaryDirectory() as folder:
        told, printed = os.path.join(folder, "told"), os.path.join(folder, "printed")
        with open(printed, "wb") as output:
            done = subprocess.run([sys.executable, *_flags(), "-m", "tests.support.spread", told], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                                  input="\n".join(test.id() for test in tests).encode("utf-8"))
        with open(printed, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if not os.path.exists(told):
            return [], text, done.returncode
        with open(told, encoding="utf-8") as file:
            return [json.loads(line) for line in file], text, done.returncode


def _flags():
    """The flags that this Python was started with, such as `-W error` and `-X dev`, for another one."""
    return subprocess._args_from_interpreter_flags()  # what multiprocessing takes; no public function tells them


def _limit():
    """The seconds that the tests of a module may take; None for however long it takes, where many more faults are tried than usually."""
    return None if os.environ.get("QUEUECTL_FAULTS") else float(os.environ.get("QUEUECTL_TEST_LIMIT") or LIMIT)


def _tell(result, tests, records, printed, code):
    """Tell the runner of tests that were run elsewhere; one of which nothing was told is an error if their process has not come to its end."""
    known = {test.id(): test for test in tests}
    for name, ended, texts, seconds in records:
        test = known.pop(name, None)
        if test is not None:
            result.startTest(test)
        _add(result, test or Fixture(name), ended, texts)
        if test is not None:
            if seconds is not None and hasattr(result, "addDuration"):  # Python 3.12
                result.addDuration(test, seconds)
            result.stopTest(test)
    for test in known.values() if code not in ENDS else ():
        result.startTest(test)
        _add(result, test, ["addError"], ["its process ended with exit code %d, and told nothing of it" % code])
        result.stopTest(test)
    if printed and (code or "Warning: " in printed):
        sys.stderr.write("\n%s:\n%s\n" % (type(tests[0]).__module__, printed))


def _add(result, test, ended, texts):
    for how, text in zip(ended, texts):
        if how in ("addSuccess", "addUnexpectedSuccess"):
            getattr(result, how)(test)
        elif how == "addSkip":
            result.addSkip(test, text)
        else:
            getattr(result, how)(test, (Elsewhere, Elsewhere("\n" + text), None))


class Teller(unittest.TestResult):
    """Writes a line for each test: its name, the calls that tell how it ended, the text of each, and how long it took."""

    def __init__(self, file):
        super().__init__()
        self._file = file
        self._calls = []
        self._started = None

    def _note(self, how, test, text=""):
        self._calls.append((how, text))
        if self._started is None:  # not of a test but of what its class or module needs
            self._write(test)

    def _write(self, test, seconds=None):
        ended, texts = zip(*self._calls) if self._calls else ((), ())
        self._calls = []
        self._file.write(json.dumps([test.id(), ended, texts, seconds]) + "\n")
        self._file.flush()

    def startTest(self, test):
        super().startTest(test)
        self._started = time.perf_counter()

    def stopTest(self, test):
        super().stopTest(test)
        if self._started is None:
            return  # left out, which Python 3.12.1 tells without its start: it was told of already
        self._write(test, time.perf_counter() - self._started)
        self._started = None

    def addSuccess(self, test):
        self._note("addSuccess", test)

    def addSkip(self, test, reason):
        self._note("addSkip", test, reason)

    def addError(self, test, err):
        super().addError(test, err)
        self._note("addError", test, self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note("addFailure", test, self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        if err is not None:
            super().addSubTest(test, subtest, err)
            failed = issubclass(err[0], test.failureException)
            self._note("addFailure" if failed else "addError", test,
                       "%s\n%s" % (subtest.id(), (self.failures if failed else self.errors)[-1][1]))

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._note("addExpectedFailure", test, self.expectedFailures[-1][1])

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note("addUnexpectedSuccess", test)


def main():
    """Run the tests whose names come from stdin, and tell of them in the file that is named."""
    names = sys.stdin.read().split("\n")
    if not sys.warnoptions:
        warnings.simplefilter("default")  # as unittest's own runner does
    if _limit() is not None:
        faulthandler.dump_traceback_later(_limit(), exit=True)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        teller = Teller(file)
        unittest.defaultTestLoader.loadTestsFromNames(names).run(teller)
    return ENDS[not teller.wasSuccessful()]


if __name__ == "__main__":
    raise SystemExit(main())
