"""The whole window of a terminal, drawn again and again, and its keys. Whatever ends the program, the terminal is as it was before.

A frame is one write: it goes over the former one, and clears only behind its lines, so that nothing flickers. It says nothing of what is
drawn; that is `watching`.
"""
from __future__ import annotations

import os
import re
import select
import signal
import sys
import time

from cli.progress import Diverted
from cli.terminal import display_width, is_terminal, last_line, window
from core.console import end_waits_by_signals, key_pressed, keyboard_as_before, let_keys_come, write_at_once
from core.system import make_pipe

_OTHER_SCREEN, _FORMER_SCREEN = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"  # and without the cursor, with it
_COLOR = re.compile("\033\\[[0-9;]*m")
_LOOK_FOR_KEYS = 0.05  # seconds between two looks for a key where none can be waited for
QUIT = "quit"  # the key of someone who is not there any more


class Screen:
    """The window as `with Screen() as screen` has it: `draw` what it shows, `wait` for a key. Ctrl+C raises KeyboardInterrupt, other
    signals that end a program SystemExit; Ctrl+Z gives the terminal back until the program goes on."""

    def __init__(self):
        self._output = sys.stdout
        self._keyboard = sys.stdin.fileno() if is_terminal(sys.stdin) else None
        self._mode = None  # of the keyboard, as it was
        self._wake = make_pipe()
        self._former: list = []  # (signal, its former handler)
        self.said = ""  # the last line that anyone has written to stderr meanwhile
        self._stderr = sys.stderr

    def __enter__(self):
        handlers = [(name, self._end) for name in ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")]
        # The number of a signal in the pipe ends the wait, which is all that a new size of the window needs.
        for name, handler in handlers + [("SIGTSTP", self._suspend), ("SIGWINCH", lambda number, frame: None)]:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # a shell without jobs ignores SIGTSTP
                self._former.append((number, signal.signal(number, handler)))
        end_waits_by_signals(self._wake)
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self._give_back()
        signal.set_wakeup_fd(-1)
        for number, handler in self._former:
            signal.signal(number, handler)
        for descriptor in self._wake or ():
            os.close(descriptor)

    def _take(self):
        sys.stderr = Diverted(self._stderr, self._keep)  # it would spoil the screen
        if self._keyboard is not None:
            self._mode = let_keys_come(self._keyboard)
        write_at_once(self._output, _OTHER_SCREEN)

    def _give_back(self):
        sys.stderr = self._stderr
        try:
            write_at_once(self._output, _FORMER_SCREEN)
        except OSError:
            pass  # the terminal is gone
        if self._mode is not None:
            keyboard_as_before(self._keyboard, self._mode)

    def _keep(self, text):
        self.said = last_line(text) or self.said

    def _end(self, number, frame):
        raise SystemExit(128 + number)

    def _suspend(self, number, frame):
        """Stop, as the former handler of Ctrl+Z would, and go on when the shell says so."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._suspend)
        self._take()

    def size(self):
        """How many columns and lines the window has."""
        return window(self._output)

    def draw(self, lines):
        """Show these lines, none of them wider than the window, and as many as that has at the most."""
        columns, height = self.size()
        lines = lines + [""] * (height - len(lines))
        # Behind a line as wide as the window it would clear the last character (the cursor waits there for a next one).
        ends = ["" if display_width(_COLOR.sub("", line)) >= columns else "\033[K" for line in lines]
        write_at_once(self._output, "\033[H" + "\r\n".join(line + end for line, end in zip(lines, ends)))

    def wait(self, seconds):
        """Wait so long for a key: it, "" if there is none or the window was resized, QUIT if the keyboard is gone."""
        if self._wake is None:
            return self._wait_without_select(time.monotonic() + seconds)
        sources = [self._wake[0]] + ([self._keyboard] if self._keyboard is not None else [])
        ready = select.select(sources, [], [], max(0.0, seconds))[0]
        if self._wake[0] in ready:
            os.read(self._wake[0], 4096)
        if self._keyboard not in ready:
            return ""
        try:
            return os.read(self._keyboard, 64).decode("utf-8", "replace") or QUIT
        except OSError:
            return QUIT

    def _wait_without_select(self, deadline):
        """Wait on Windows, where select(2) knows sockets alone."""
        size = self.size()
        while time.monotonic() < deadline and self.size() == size:
            key = key_pressed() if self._keyboard is not None else ""
            if key:
                return key
            time.sleep(_LOOK_FOR_KEYS)
        return ""
