"""Tests of where the home is."""
from __future__ import annotations

import os
import unittest

from core.home import find_home
from tests.support.home import HomeTest

POSIX = os.name == "posix"


class HomeFolderTest(HomeTest):

    def test_home_is_looked_for_in_the_order_of_the_design(self):
        clone, bare = self.path("clone"), self.path("bare")
        os.mkdir(clone)
        os.mkdir(bare)
        self.write("clone/config.json", "{}")
        for name, given, environ, program, home in (
                ("--home", "given", {"QUEUECTL_HOME": "/elsewhere"}, os.path.join(clone, "main.py"), os.path.abspath("given")),
                ("the environment", None, {"QUEUECTL_HOME": "/elsewhere"}, os.path.join(clone, "main.py"), os.path.abspath("/elsewhere")),
                ("an empty variable is none", None, {"QUEUECTL_HOME": ""}, os.path.join(clone, "main.py"), os.path.realpath(clone)),
                ("the program's folder", None, {}, os.path.join(clone, "main.py"), os.path.realpath(clone)),
                ("without config.json", None, {}, os.path.join(bare, "main.py"), os.path.join(os.path.expanduser("~"), ".queuectl")),
                ("a tilde", "~/queue", {}, os.path.join(clone, "main.py"), os.path.join(os.path.expanduser("~"), "queue")),
        ):
            with self.subTest(name):
                self.assertEqual(find_home(given, environ, program), home)

    @unittest.skipUnless(POSIX, "symbolic links need rights on Windows")
    def test_program_is_found_through_a_symbolic_link(self):
        os.mkdir(self.path("clone"))
        self.write("clone/config.json", "{}")
        self.write("clone/main.py", "")
        os.mkdir(self.path("bin"))
        os.symlink(self.path("clone", "main.py"), self.path("bin", "queuectl"))
        self.assertEqual(find_home(None, {}, self.path("bin", "queuectl")), os.path.realpath(self.path("clone")))
