"""A file without a name, for what is too much for memory: it is gone with its process, however that ends.

It lies in run/. Where that takes nothing (a disk that is full, or may not be written), it is somewhere else, in memory in the end.
"""
from __future__ import annotations

import errno
import os
from functools import partial
from tempfile import TemporaryFile

from core.system import OPEN_FILES_MOVE, O_BINARY, pread, pwrite

_PIECE = 1 << 20


class Scratch:
    """Bytes that are appended, read and replaced by their place. `folder` is where they should lie."""

    def __init__(self, folder):
        memory = getattr(os, "memfd_create", None)
        self._places = iter([partial(TemporaryFile, dir=folder, buffering=0), partial(TemporaryFile, buffering=0)]
                            + ([lambda: os.fdopen(memory("queuectl"), "r+b", buffering=0)] if memory else []))
        self._descriptor = self._name = None
        self.size = 0

    def __del__(self):
        if self._descriptor is not None:
            os.close(self._descriptor)

    def append(self, content):
        """Add bytes at the end. Raises OSError if no place takes them."""
        while self._descriptor is None or not self._takes(content):
            self._move_on()
        self.size += len(content)

    def _takes(self, content):
        try:
            return pwrite(self._descriptor, content, self.size) == len(content)
        except OSError:
            return False

    def _move_on(self):
        """Go on in the next place that there is, with what was written so far."""
        for make in self._places:
            try:
                with make() as file:
                    for piece in self.pieces():
                        if file.write(piece) != len(piece):
                            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    descriptor, self._name = os.dup(file.fileno()), file.name
            except OSError:
                continue
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = descriptor
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replace(self, content, offset):
        """Write other bytes in the place of some. Raises OSError."""
        pwrite(self._descriptor, content, offset)

    def pieces(self):
        """All bytes, in pieces."""
        for offset in range(0, self.size, _PIECE):
            yield pread(self._descriptor, min(_PIECE, self.size - offset), offset)

    def open(self):
        """A descriptor of what was written, to read it, for the caller to close."""
        if OPEN_FILES_MOVE:
            return os.dup(self._descriptor)
        return os.open(self._name, os.O_RDONLY | O_BINARY | getattr(os, "O_TEMPORARY", 0))  # with a position of its own
