"""That tests which are run by several processes count as if one had run them."""
from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import unittest

from tests.support import home as base, spread
from tests.support.home import DEADLINE, ROOT, HomeTest

PASSING = """
import unittest
class Passing(unittest.TestCase):
    def test_one(self): pass
    def test_two(self): pass
"""
MIXED = """
import unittest
class Mixed(unittest.TestCase):
    def test_good(self): pass
    def test_bad(self):
        print("what it said")
        self.assertEqual(1, 2)
    def test_faulty(self): raise ValueError("a fault")
    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number): self.assertEqual(number, 1)
    @unittest.skip("the reason")
    def test_left_out(self): pass
    @unittest.expectedFailure
    def test_expected(self): self.fail()
    @unittest.expectedFailure
    def test_unexpected(self): pass
class NotSetUp(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError("no set-up")
    def test_never(self): pass
class LeftOut(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise unittest.SkipTest("not here")
    def test_never(self): pass
"""
ENDING = """
import os, unittest
class Ending(unittest.TestCase):
    def test_1(self): pass
    def test_2(self): os._exit(7)
"""

HANGING = """
import threading, unittest
class Hanging(unittest.TestCase):
    def test_1(self): pass
    def test_that_never_ends(self): threading.Event().wait()
"""
WARNING = """
import sys, unittest, warnings
class Warning(unittest.TestCase):
    def test_warns(self): warnings.warn("what it warns of")
    def test_is_left_open(self): open(__file__)
"""


@unittest.skipUnless(hasattr(signal, "setitimer"), "there is no alarm clock")
class DeadlineTest(HomeTest):
    """A test that hangs ends."""

    def test_one_that_waits_for_ever_is_an_error_and_its_processes_are_ended(self):
        started = []

        class Hanging(HomeTest):
            def test_that_never_ends(self):
                started.append(self.start("worker", "start"))
                started[0].wait()

        result, former = unittest.TestResult(), base.LIMIT
        self.addCleanup(setattr, base, "LIMIT", former)
        base.LIMIT = 1.5
        Hanging("test_that_never_ends").run(result)
        self.assertEqual((result.testsRun, len(result.errors), started[0].poll()), (1, 1, -signal.SIGKILL))
        self.assertIn("in test_that_never_ends", result.errors[0][1])


class SpreadTest(HomeTest):
    def run_tests(self, *flags, env=None, **modules):
        """(The exit code, what was printed) of the tests in these modules, run by a Python with these flags."""
        os.makedirs(self.path("tests", "support"), exist_ok=True)
        for name in ("__init__.py", "support/__init__.py", "support/spread.py"):
            shutil.copy(os.path.join(ROOT, "tests", name), self.path("tests", name))
        for name, text in modules.items():
            self.write("tests/test_%s.py" % name, text)
        done = subprocess.run([sys.executable, *flags, "-m", "unittest"], cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=DEADLINE, env=env)
        return done.returncode, done.stdout.decode("utf-8")

    def test_all_that_pass_pass(self):
        code, said = self.run_tests(a=PASSING, b=PASSING)
        self.assertEqual((code, said[:4]), (0, "...."))
        self.assertIn("Ran 4 tests", said)
        self.assertIn("OK", said)

    def test_each_end_is_told_with_its_reason(self):
        code, said = self.run_tests(a=PASSING, b=MIXED)
        self.assertEqual(code, 1)
        self.assertIn("Ran 9 tests", said)
        self.assertIn("FAILED (failures=3, errors=2, skipped=2, expected failures=1, unexpected successes=1)", said)
        for part in ("what it said", "AssertionError: 1 != 2", "ValueError: a fault", "(number=0)", "(number=2)", "OSError: no set-up"):
            self.assertIn(part, said)

    def test_those_of_a_process_that_ended_early_are_errors(self):
        code, said = self.run_tests(a=PASSING, b=ENDING)
        self.assertEqual(code, 1)
        self.assertIn("exit code 7", said)
        self.assertIn("FAILED (errors=1)", said)

    def test_a_module_that_hangs_is_named_with_where_it_hangs_and_ended(self):
        code, said = self.run_tests(env=dict(os.environ, QUEUECTL_TEST_LIMIT="1", QUEUECTL_FAULTS=""), a=PASSING, b=HANGING)
        self.assertEqual(code, 1)
        for part in ("test_b.Hanging", "test_b:", "in test_that_never_ends", "FAILED (errors=1)"):
            self.assertIn(part, said)

    def test_warnings_are_shown_and_the_flags_of_python_hold_in_every_process(self):
        code, said = self.run_tests(a=PASSING, b=WARNING)
        self.assertEqual(code, 0)
        self.assertIn("UserWarning: what it warns of", said)
        self.assertIn("ResourceWarning: unclosed file", said)
        code, said = self.run_tests("-W", "error", a=PASSING, b=WARNING)
        self.assertEqual(code, 1)
        self.assertIn("FAILED (errors=1)", said)
        code, said = self.run_tests("-W", "ignore", a=PASSING, b=WARNING)
        self.assertEqual((code, "what it warns of" in said), (0, False))

    def test_a_test_that_is_told_without_its_start_is_no_error(self):
        teller = spread.Teller(io.StringIO())
        teller.addSkip(self, "the reason")
        teller.stopTest(self)  # as Python 3.12.1 does it for one that is left out
        self.assertEqual(json.loads(teller._file.getvalue()), [self.id(), ["addSkip"], ["the reason"], None])

    def test_a_module_that_cannot_be_imported_is_an_error(self):
        code, said = self.run_tests(a=PASSING, b="import nothing_of_this_name")
        self.assertEqual(code, 1)
        self.assertIn("nothing_of_this_name", said)
        self.assertIn("FAILED (errors=1)", said)

    def test_no_test_is_no_success(self):
        self.assertIn("Ran 0 tests", self.run_tests()[1])
