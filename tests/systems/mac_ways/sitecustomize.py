"""What a Mac lacks is taken from each Python that finds this on its PYTHONPATH: /proc, and so the boot id, and, as before Python 3.13, os.waitid."""
from __future__ import annotations

import errno
import os
import os.path
import sys

_HIDDEN = ("open", "os.listdir", "os.scandir")  # audit events whose first argument is a path


def _hide(event, arguments):
    if event in _HIDDEN and _is_in_proc(arguments[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])


def _is_in_proc(path):
    return isinstance(path, str) and (path + "/").startswith("/proc/")


def _without_proc(look):
    return lambda path: not _is_in_proc(path) and look(path)


vars(os).pop("waitid", None)
os.path.isdir, os.path.exists = _without_proc(os.path.isdir), _without_proc(os.path.exists)
sys.addaudithook(_hide)
