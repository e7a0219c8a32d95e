"""What the threads of a worker process wait on, and what wakes them: from inside, by a signal, or from another process."""
from __future__ import annotations

import os
import select
import signal
import threading
import time

from core.system import make_fifo, make_pipe, open_private

TICK = 1.0  # seconds between two looks of the main thread at requests, dead workers and cancelled jobs
_INSIDE = b"i"  # the byte of a wake-up by this process itself


def wait_until(condition, seconds, look=0.02):
    """Wait until `condition()` is true, but no longer than so many seconds, with `look` seconds between two looks; whether it is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(look)
    return True


class Waker:
    """What the main thread sleeps on. A thread of this process ends the sleep by `wake`, another process through the FIFO, and a signal by
    itself. Where there are no FIFOs it is a file, which is looked at ten times a second: it grows when another process writes to it.
    """

    def __init__(self, path):
        self._event = threading.Event()  # what a wake-up from inside sets where there is no FIFO
        self._path, self._size = path, 0
        self._descriptor = make_fifo(path)
        if self._descriptor is not None:
            signal.set_wakeup_fd(self._descriptor, warn_on_full_buffer=False)
        else:
            os.close(open_private(path, os.O_WRONLY | os.O_CREAT))

    def wait(self, seconds):
        """Sleep for so many seconds at most. Whether another process has ended the sleep: then the queue has changed."""
        if self._descriptor is None:
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
        """End the sleep from inside, where the queue itself has not changed."""
        if self._descriptor is None:
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


class DueCall:
    """When a worker is to be called for the delayed job that is due first: at its time, and once. If none can take it then (the queue is
    paused, the job file broken), it is looked for at each poll."""

    def __init__(self):
        self._called_for = None  # the time of a job for which a worker is being called, or was

    def seconds(self, due, now):
        """Seconds until a worker is to be called for a job that is `due` (since the epoch; None: there is none); None if none is to be."""
        if due is None or due == self._called_for:
            return None
        if due <= now:
            self._called_for = due
        return max(0.01, due - now)


class StopFlag:
    """Tells all threads of a worker process to take no more jobs, and ends their waits.

    Not threading.Event alone, which waits by the wall clock on Python 3.8: a clock that is set back by a day would make a wait of a second
    last a day.
    """

    def __init__(self):
        self.at_once = False  # whether the running jobs are to be ended, too
        self.homeless = False  # whether the home was moved or removed, so that nothing can be recorded any more
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


class Crew:
    """The workers of a process: how many of them are busy, and how many have ended. Idle ones sleep here.

    `all_idle()`, if given, is called when the last busy worker becomes idle.
    """

    def __init__(self, count, stop, all_idle=None):
        self.count = count  # fewer if not all could be started
        self.busy = count
        self.ended = 0
        self.has_bug = False  # a thread ended with an exception, which Python has shown
        self._stop = stop
        self._all_idle = all_idle
        self._condition = threading.Condition()

    def has_idle(self):
        """Whether a worker is idle, or has ended."""
        return self.busy < self.count

    def be_idle(self):
        """Sleep until called, or until the process stops."""
        with self._condition:
            self.busy -= 1
            if self._all_idle is not None and not self.busy:
                self._all_idle()
            if not self._stop.is_set():
                self._condition.wait()
            self.busy += 1

    def call_one(self):
        """Let one idle worker look for a job."""
        if self.has_idle():
            with self._condition:
                self._condition.notify()

    def dismiss(self):
        """Let all workers end after the jobs that they run."""
        self._stop.set()
        with self._condition:
            self._condition.notify_all()

    def leave(self):
        """Count the calling worker as ended."""
        with self._condition:
            self.ended += 1
            self.busy -= 1
