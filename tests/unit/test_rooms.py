"""Tests of the rooms: imports run downward only, and no test module rests on another one."""
from __future__ import annotations

import ast
import glob
import os
import unittest

from tests.support.home import ROOMS, ROOT, product_modules

CARD = ("main", "job_manager", "worker_manager", "helpers")
# What the modules of each room, and those at the top, may import of ours (docs/architecture.md has the picture).
MAY = {"core": {"core"}, "storage": {"storage", "core"}, "execution": {"execution", "storage", "helpers", "core"},
       "helpers": {"core"}, "job_manager": {"storage", "core"}, "worker_manager": {"execution", "storage", "helpers", "core"},
       "cli": {"cli", "job_manager", "worker_manager", "storage", "helpers", "core"}, "main": {"cli", "helpers", "core"}}


# What changes files, and what starts or ends processes; docs/architecture.md says who never does.
FILES = {"core.system.write_file", "core.system.write_beside", "core.system.remove_file", "core.system.replace", "core.system.pwrite",
         "shutil.rmtree"} | {"os.%s" % name for name in ("unlink", "remove", "rename", "replace", "truncate", "ftruncate", "pwrite")}
PROCESSES = {"subprocess", "multiprocessing"} | {"os.%s" % name for name in ("fork", "kill", "killpg", "system", "popen", "posix_spawn")}
NEVER = {"cli": FILES, "storage": PROCESSES, "core": PROCESSES}


def used_by(path):
    """What a module imports, and what it calls of os."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return set(imports_of(path)).union("os.%s" % node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                                       and isinstance(node.value, ast.Name) and node.value.id == "os")


def imports_of(path):
    """The names of all modules that a module imports, at its top or in a function."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += ["%s.%s" % (node.module, alias.name) for alias in node.names]
    return names


def room_of(path):
    """The room of a module, or its own name for one at the top."""
    return os.path.relpath(path, ROOT).split(os.sep)[0].replace(".py", "")


class RoomsTest(unittest.TestCase):
    """Who may import whom."""

    def test_imports_run_downward_only(self):
        for path in product_modules():
            room = room_of(path)
            ours = {name.split(".")[0] for name in imports_of(path)} & set(ROOMS + CARD)
            self.assertEqual(ours - MAY[room], set(), path)

    def test_cli_changes_no_file_of_a_queue_and_storage_and_core_know_no_process(self):
        for path in product_modules():
            self.assertEqual(used_by(path) & NEVER.get(room_of(path), set()), set(), path)

    def test_no_module_imports_itself_through_others(self):
        modules = {os.path.relpath(path, ROOT)[:-3].replace(os.sep, "."): path for path in product_modules()}
        edges = {}
        for name, path in modules.items():
            wanted = imports_of(path)
            edges[name] = {other for other in modules if other != name and any(each == other or each.startswith(other + ".") for each in wanted)}
        done = set()

        def visit(name, path):
            self.assertNotIn(name, path)
            if name not in done:
                for other in edges[name]:
                    visit(other, path + (name,))
                done.add(name)

        for name in modules:
            visit(name, ())

    def test_no_test_module_imports_another_one(self):
        for path in glob.glob(os.path.join(glob.escape(ROOT), "tests", "**", "*.py"), recursive=True):
            for name in imports_of(path):
                words = name.split(".")
                self.assertFalse(words[0] == "tests" and any(word.startswith("test_") for word in words), (path, name))
