"""How this program was called: the words that make a shell call it again for the same queue. Hints and help are made of them.

It promises that they can be pasted where they are read: in the terminal in which the program was called, and, of a job's output or the
log of a background worker, in any. It is imported when a hint is printed, not before.
"""
from __future__ import annotations

import os
import sys
from shutil import which

from core.errors import QueueError
from core.home import find_home
from core.system import NAMES_END, quote_words

_NAME = "queuectl"
_SCRIPTS = (".py", ".pyw", ".pyz", ".pyzw")  # what Python is called with; other names are called by themselves


def spelled(given, home, program):
    """The program as it was called, for the shell of this system, with `--home` where the next call would find another queue without it.

    `given` is the home as it was given on the command line, or None; `home` its path, or None if that was not looked for; `program` is the
    path of main.py.
    """
    return quote_words(_program_words(program) + _home_words(given, home, program))


def _home_words(given, home, program):
    inside = _is_in_job()
    if not given and not inside:
        return []
    try:
        home = home or find_home(given, os.environ, program)
        if find_home(None, {} if inside else os.environ, program) == home:
            return []
    except QueueError:  # a user's folder that is not known
        home = home or given
    return ["--home", home if inside else given]


def _is_in_job():
    """Whether a job has called the program: whoever reads its output is in another folder, and has not its variables."""
    return bool(os.environ.get("QUEUECTL_JOB_ID"))


def _program_words(program):
    main = sys.modules["__main__"]
    module = getattr(getattr(main, "__spec__", None), "name", None)
    called, python = sys.argv[0] if sys.argv else "", getattr(sys, "orig_argv", [sys.executable])[0] or sys.executable
    if module and module != "__main__" and module.rpartition(".")[2] == "main":  # python3 -m queuectl.main
        return [_shortest(python), "-m", module]
    if not os.path.exists(called) and not os.path.exists(called + ".exe"):  # as the script of a package on Windows says its name
        return [_NAME]
    name = os.path.splitext(os.path.basename(called))[0] if NAMES_END else os.path.basename(called)
    if _found_as(name, called):
        return [name]
    if os.path.isabs(called) and os.path.isabs(python) and _is_installed(program):
        return [_NAME]  # such a call comes from a program: from `worker start --detach`, or from cron
    called = os.path.abspath(called) if _is_in_job() else called
    if os.path.splitext(called)[1].lower() in _SCRIPTS or not os.access(called, os.X_OK):
        return [_shortest(python), called]
    return [called]


def _shortest(python):
    """An interpreter's name alone, if the shell finds the same one by it, or a script that starts it, as pyenv has them."""
    name = os.path.basename(python)
    return name if os.path.dirname(python) == "" or _found_as(name, python) or _is_script(name) else python


def _is_script(name):
    try:
        with open(which(name) or "", "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _found_as(name, path):
    found = which(name)
    return bool(found) and _plain(found) in (_plain(path), _plain(path + ".exe"))


def _plain(path):
    return os.path.normcase(os.path.abspath(path))


def _is_installed(program):
    """Whether the shell finds this very program by its own name: as a link to main.py, or as the script of its package."""
    found = which(_NAME)
    if not found:
        return False
    target, main = os.path.realpath(found), os.path.realpath(program)
    prefix = os.path.realpath(sys.prefix) + os.sep
    return target == main or main.startswith(prefix) and target.startswith(prefix)
