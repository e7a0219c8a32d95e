"""A terminal for tests."""
from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
import unittest

from cli import terminal
from tests.support.home import default_signals

if os.name != "nt":
    import fcntl
    import pty
    import struct
    import termios

NEEDS_PTY = unittest.skipIf(os.name == "nt", "Windows has no pty")
ESCAPE = re.compile(r"\033\[[0-9;?]*[A-Za-z]")


class Cell(str):
    """A character on a screen, and the SGR numbers that it is shown with."""

    style = ""


class Screen:
    """What stands on a terminal after it got some bytes: a small part of a VT100, and an error for the rest."""

    def __init__(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.rows, self.row, self.column = [{}], 0, 0
        self.saved, self.cursor, self.other = None, True, False
        self.scrolled = 0
        self.style = ""

    def feed(self, text):
        """Take what a program wrote."""
        for part in re.split(r"(\033\[[0-9;?]*[A-Za-z])", text):
            if ESCAPE.fullmatch(part):
                self._escape(part[2:])
            else:
                for char in part:
                    self._char(char)
        return self

    def text(self):
        """The rows that have something on them."""
        rows = ["".join(row.get(at, " ") for at in range(max(row, default=-1) + 1)).rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def _char(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self._down()
        else:
            width = terminal.display_width(char)
            if self.column + width > self.columns:
                self.column = 0
                self._down()
            cell = self.rows[self.row][self.column] = Cell(char)
            cell.style = self.style
            self.column += width

    def _down(self):
        self.row += 1
        if self.row == self.lines:
            self.scrolled += 1
            self.row -= 1
            del self.rows[0]
        while len(self.rows) <= self.row:
            self.rows.append({})

    def _escape(self, code):
        if code == "H":
            self.row = self.column = 0
        elif code == "K":
            self.rows[self.row] = {at: char for at, char in self.rows[self.row].items() if at < self.column}
        elif code == "J":
            self._escape("K")
            del self.rows[self.row + 1:]
        elif code in ("?25l", "?25h"):
            self.cursor = code == "?25h"
        elif code == "?1049h":
            self.saved, self.other = (self.rows, self.row, self.column), True
            self.rows, self.row, self.column = [{}], 0, 0
        elif code == "?1049l":
            (self.rows, self.row, self.column), self.other = self.saved, False
        elif code.endswith("m"):
            self.style = "" if code in ("m", "0m") else ";".join(filter(None, (self.style, code[:-1])))
        else:
            raise ValueError("the screen does not know ESC[" + code)


class Terminal:
    """A command in a pty of a size; with `only_stderr` its stdout is the null device."""

    def __init__(self, command, environ, columns=80, lines=24, only_stderr=False):
        self.master, slave = pty.openpty()
        self.output = b""
        self._resize(columns, lines)

        def own():
            default_signals()
            fcntl.ioctl(2, termios.TIOCSCTTY, 0)

        try:
            self.process = subprocess.Popen(command, stdin=slave, stdout=subprocess.DEVNULL if only_stderr else slave, stderr=slave,
                                            env=environ, start_new_session=True, preexec_fn=own)
        finally:
            os.close(slave)

    def _resize(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        """Another size, of which the program is told."""
        self._resize(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def read(self, seconds=0.0):
        """Take what has been written; whether there may be more."""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                piece = os.read(self.master, 1 << 16)
            except OSError:  # Linux: nobody has the other end any more
                return False
            if not piece:
                return False
            self.output += piece
        return True

    def text(self):
        """All that was written so far."""
        self.read()
        return self.output.decode("utf-8", "replace")

    def end(self):
        """Read to the end: the exit code."""
        deadline = time.monotonic() + 60
        while self.read(0.02) and self.process.poll() is None and time.monotonic() < deadline:
            pass
        self.read()
        return self.process.wait(timeout=60)

    def close(self):
        """Leave no process and no descriptor."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def outside(text):
    """The lines of a terminal's output without escapes."""
    return ESCAPE.sub("", text).replace("\r\n", "\n").splitlines()
