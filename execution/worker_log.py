"""run/worker.log, which the background worker processes of a home write to: kept short.

Each of them has it open to append, and so do the on_finish commands that they have started. So it is never replaced: what it holds is
copied to worker.log.1, and then it is emptied. What somebody writes between the two is lost.
"""
from __future__ import annotations

import os
import sys
from functools import partial

from core.system import open_private, remove_quietly, replace, write_beside

_MOST = 10 << 20  # bytes
_PIECE = 1 << 20


def shorten_worker_log(path, lock):
    """If this process logs to that file, and it has more than 10 MB, let it begin anew; `lock` keeps others apart. Raises OSError."""
    if not _is_too_long(path):
        return
    with lock:
        if not _is_too_long(path):
            return
        log = open_private(path, os.O_RDWR)
        try:
            replace(write_beside(path, iter(partial(os.read, log, _PIECE), b"")), path + ".1")
            os.ftruncate(log, 0)
        finally:
            os.close(log)
            remove_quietly(path + ".new")


def _is_too_long(path):
    try:
        there, ours = os.stat(path), os.fstat(sys.stderr.fileno())
    except (FileNotFoundError, AttributeError, ValueError):
        return False  # no such file, or no stderr
    return there.st_size > _MOST and os.path.samestat(there, ours)
