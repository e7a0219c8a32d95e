"""The keyboard and the window of a terminal, as each system has them: keys that come at once, text that goes out at once, what it takes.

It draws nothing, and decides nothing. Imported only where something is drawn on a terminal.
"""
from __future__ import annotations

import os
import signal

from core.system import WINDOWS

if not WINDOWS:
    import termios

    def let_keys_come(keyboard):
        """Let keys of a terminal come at once and unseen, and Ctrl+C be a signal as ever; how it was before, for `keyboard_as_before`."""
        mode, former = termios.tcgetattr(keyboard), termios.tcgetattr(keyboard)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(keyboard, termios.TCSADRAIN, mode)
        return former

    def keyboard_as_before(keyboard, mode):
        """Undo `let_keys_come`. A terminal that is gone is no fault."""
        try:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, mode)
        except termios.error:
            return

    def key_pressed():
        """The key that was pressed, where keys cannot be waited for; "" for none."""
        return ""

    def end_waits_by_signals(pipe):
        """Let each signal write to a pipe, for whoever waits for that."""
        os.set_blocking(pipe[1], False)
        signal.set_wakeup_fd(pipe[1], warn_on_full_buffer=False)

    def write_at_once(stream, text):
        """Write all of a text to a stream's terminal, past the buffers of Python: a signal may come in the middle of this."""
        content = text.encode(stream.encoding or "ascii", "backslashreplace")
        while content:
            content = content[os.write(stream.fileno(), content):]
else:
    import msvcrt

    def let_keys_come(keyboard):
        return None  # they do, by key_pressed

    def keyboard_as_before(keyboard, mode):
        return

    def key_pressed():
        return msvcrt.getwch() if msvcrt.kbhit() else ""

    def end_waits_by_signals(pipe):
        return  # there is no pipe to wait for

    def write_at_once(stream, text):
        stream.write(text)  # the console takes characters by Python's stream alone, and bytes in an encoding of its own
        stream.flush()


def takes_output(descriptor):
    """Whether a write to a terminal would not have to wait, as for someone who has stopped it by Ctrl+S. On Windows nobody knows: True."""
    if WINDOWS:
        return True
    import select
    return bool(select.select([], [descriptor], [], 0)[1])


def takes_escapes(descriptor):
    """Whether a terminal takes escape sequences. The console of Windows does after it was asked to, unless it is very old."""
    if not WINDOWS:
        return True
    import ctypes
    import msvcrt
    kernel, handle, mode = ctypes.WinDLL("kernel32"), ctypes.c_void_p(msvcrt.get_osfhandle(descriptor)), ctypes.c_uint32()
    return bool(kernel.GetConsoleMode(handle, ctypes.byref(mode)) and kernel.SetConsoleMode(handle, mode.value | 4))
