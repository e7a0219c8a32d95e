"""A line at the bottom of a terminal, and what stands above it: how it is drawn. What it says comes from whoever shows it.

It is shown on stderr, on a terminal that takes escapes alone, and is gone at the end. A terminal that is gone is no fault.
"""
from __future__ import annotations

import sys
import time
from _thread import allocate_lock

from cli.terminal import cut, is_screen, showable, window
from core.console import takes_output


class Progress:
    """A line on stderr that tells how many jobs are left and how fast they run. It is shown on a terminal only, and removed at the end.

    With `below`, all that anyone writes to stderr within `with Progress(below=True)` goes above the line. Threads may share it.
    """

    def __init__(self, below=False):
        self._stream = sys.stderr
        self.is_shown = is_screen(sys.stderr)
        self._below = below and self.is_shown
        self._mutex = allocate_lock()
        self._first = None
        self._most = 0
        self._left = None
        self._text = ""  # the line, as it is shown
        self._at_start = True  # of a line, as others have left it

    def __enter__(self):
        if self._below:
            sys.stderr = Diverted(self._stream, self.above)
        return self

    def __exit__(self, *exception):
        self.say("")
        if self._below:
            sys.stderr = self._stream

    def show(self, left):
        """Show that so many jobs are left."""
        if not self.is_shown or left == self._left:
            return
        self._left = left
        now = time.monotonic()
        if self._first is None:
            self._first = (now, left)
        self._most = max(self._most, left)
        rate = (self._first[1] - left) / (now - self._first[0]) if now > self._first[0] and self._first[1] > left else 0
        self._put(done_text(self._most - left, self._most) + (", %.1f a second" % rate if rate else ""))

    def say(self, text):
        """Show another text; for "" the line is removed."""
        self._left = None
        if self.is_shown and (text or self._text):
            self._put(text)

    def above(self, text):
        """Write what others have to say above the line."""
        with self._mutex:
            self._stream.write(("\r\033[K" if self._text and self._at_start else "") + text)
            self._at_start = text.endswith("\n")
            self._stream.write(self._cut() if self._at_start else "")
            self._stream.flush()

    def _put(self, text):
        """Make the line this text, which is shown later if a line above it is just being written. It never waits: a terminal that someone
        has stopped by Ctrl+S must not stop a worker process."""
        self._text = text
        if not self._mutex.acquire(False):
            return
        try:
            if self._at_start and takes_output(self._stream.fileno()):
                self._stream.write("\r\033[K" + self._cut())
                self._stream.flush()
        except (OSError, ValueError):
            self.is_shown = False
        finally:
            self._mutex.release()

    def _cut(self):
        """The line as it fits the window: one that wraps could not be taken back."""
        return cut(showable(self._text), max(1, window(self._stream)[0] - 1))


class Diverted:
    """A stream whose texts someone else writes, by `write_text`."""

    def __init__(self, stream, write_text):
        self._stream = stream
        self._write_text = write_text

    def write(self, text):
        """Let a text be written; how many characters."""
        if text:
            self._write_text(text)
        return len(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


def done_text(done, total):
    """How many of some jobs are done, with a bar."""
    filled = 20 * done // total if total else 0
    return "[%s%s] %d of %d done" % ("#" * filled, "." * (20 - filled), done, total)
