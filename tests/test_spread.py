"""That tests which are run by several processes count as if one had run them."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.base import HomeTest

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


class SpreadTest(HomeTest):
    def run_tests(self, **modules):
        """(The exit code, what was printed) of the tests in these modules."""
        folder = self.path("tests")
        os.mkdir(folder)
        for name in ("__init__.py", "spread.py"):
            shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), folder)
        for name, text in modules.items():
            self.write("tests/test_%s.py" % name, text)
        done = subprocess.run([sys.executable, "-m", "unittest"], cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
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

    def test_a_module_that_cannot_be_imported_is_an_error(self):
        code, said = self.run_tests(a=PASSING, b="import nothing_of_this_name")
        self.assertEqual(code, 1)
        self.assertIn("nothing_of_this_name", said)
        self.assertIn("FAILED (errors=1)", said)

    def test_no_test_is_no_success(self):
        self.assertIn("Ran 0 tests", self.run_tests()[1])
