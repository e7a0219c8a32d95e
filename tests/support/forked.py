"""A forked child of a test, in which calls of the system can be made to fail."""
from __future__ import annotations

import io
import os
import signal
import sys
import time
import traceback

from core.errors import QueueError
from tests.support.home import DEADLINE


def start_forked(work, out, err=None, told=QueueError):
    """Do `work()` in a forked child, its stdout in the file `out`, its stderr in `err` (None: in the same file); its pid. What it gives back
    is the exit code (None: 0); an exception that is `told`, as `main` would tell of it, has 1, and of any other the traceback is shown."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        sys.stdout = _unbuffered(out)
        sys.stderr = sys.stdout if err is None else _unbuffered(err)
        code = work() or 0
    except told as error:
        sys.stderr.write("refused: %s\n" % error)
        code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _unbuffered(path):
    return io.TextIOWrapper(open(path, "wb", buffering=0), encoding="utf-8", write_through=True)


def end_of(child, meanwhile=lambda: None, pause=0.001):
    """Wait for the end of a child, `meanwhile()` being done again and again: its exit code, or minus the signal that ended it. Raises
    AssertionError, and ends it, if that takes too long."""
    deadline = time.monotonic() + DEADLINE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("the child hangs")
        meanwhile()
        time.sleep(pause)
