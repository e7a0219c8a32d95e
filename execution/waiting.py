"""What the threads of a worker process wait on, and what wakes them: from inside, by a signal, or from another process."""
from __future__ import annotations

import os
import select
import signal
import threading
import time

from core.system import make_fifo, make_pipe, open_private


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


_INSIDE = b"i"


class Waker:
    """What a worker process sleeps on. `wake` ends the sleep, from a thread, a signal or, through the FIFO, another process. Where there
    are no FIFOs it is a file, and looked at ten times a second: it grows when another process writes to it."""

    def __init__(self, path):
        self._event = None
        self._path, self._size = path, 0
        self._descriptor = make_fifo(path)
        if self._descriptor is not None:
            signal.set_wakeup_fd(self._descriptor, warn_on_full_buffer=False)
        else:
            self._event = threading.Event()
            os.close(open_private(path, os.O_WRONLY | os.O_CREAT))

    def wait(self, seconds):
        """Sleep for so long at the most; whether someone outside wants the queue to be looked at."""
        if self._event is not None:
            return self._wait_without_fifo(time.monotonic() + seconds)
        try:
            if not select.select([self._descriptor], [], [], max(0, seconds))[0]:
                return False
            return bool(os.read(self._descriptor, 4096).strip(_INSIDE))
        except OSError:
            time.sleep(max(0, min(seconds, 0.1)))  # it cannot be woken now, and looks often instead
            return True

    def _wait_without_fifo(self, deadline):
        woken = False
        while not woken:
            size, self._size = self._size, self._size_now()
            if self._size > size:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            woken = self._event.wait(min(left, 0.1))
        self._event.clear()
        return False

    def _size_now(self):
        try:
            return os.stat(self._path).st_size
        except OSError:
            return 0  # it is gone, or cannot be looked at

    def wake(self):
        """End the sleep, from inside: the queue itself has not changed."""
        if self._event is not None:
            self._event.set()
            return
        try:
            os.write(self._descriptor, _INSIDE)
        except OSError:
            return  # it has more than enough to wake up for, or looks often as it is

    def close(self):
        """Give back the descriptor."""
        if self._descriptor is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._descriptor)


class StopFlag:
    """Set once, and waited for by all threads. Not threading.Event, which waits by the wall clock on Python 3.8: a clock that is set back
    by a day would make a wait of a second last a day."""

    def __init__(self):
        self._event = threading.Event()
        self._pipe = make_pipe()

    def is_set(self):
        """Whether it was set."""
        return self._event.is_set()

    def set(self):
        """Set it, and end all waits."""
        self._event.set()
        if self._pipe is not None:
            try:
                os.write(self._pipe[1], b"x")  # which nobody reads
            except OSError:
                return  # no wait is longer than its own seconds

    def wait(self, seconds):
        """Wait for it, but no longer than so many seconds."""
        if self._pipe is None:
            self._event.wait(seconds)
            return
        try:
            select.select([self._pipe[0]], [], [], seconds)
        except OSError:
            time.sleep(min(seconds, 0.1))

    def close(self):
        """Give back the descriptors."""
        for descriptor in self._pipe or ():
            os.close(descriptor)


TICK = 1.0  # seconds between two looks at requests and at dead workers
