"""How the end of a log is found, and what is copied of one that grows."""
from __future__ import annotations

import itertools
import os
import tempfile
import unittest

from cli import logs
from tests.support.home import WINDOWS, HomeTest


class _Copied:
    """What is copied, in place of an _Output."""

    content = b""

    def write(self, piece):
        self.content += piece

    def flush(self):
        pass


@unittest.skipIf(WINDOWS, "an open file is neither renamed nor removed there")
class TestGrowing(HomeTest):

    def copied(self, first, later):
        """What is copied of a log that held these bytes at the first look; `later(path)` is called before the last one."""
        self.write("a.log", first)
        copied = _Copied()
        log = logs._GrowingLog(self.path("a.log"), copied)
        log.copy()
        later(self.path("a.log"))
        log.copy()
        log.close()
        return copied.content

    def become(self, name, content):
        """Let a log become that of another job, which writes something."""
        os.rename(self.path("a.log"), self.path(name))
        with open(self.path(name), "ab") as file:
            file.write(content)

    def test_a_log_that_stayed_empty_and_became_another_jobs_is_not_copied(self):
        self.assertEqual(self.copied(b"", lambda path: self.become("b.log", b"of b\n")), b"")
        self.assertEqual(self.copied(b"", lambda path: (self.become("b.log", b"of b\n"), self.write("a.log", b"of a\n"))), b"of a\n")

    def test_what_was_written_before_a_log_was_set_aside_or_removed_is_copied(self):
        self.assertEqual(self.copied(b"one\n", lambda path: self.become("a.1.log", b"two\n")), b"one\ntwo\n")

        def write_and_remove(path):
            with open(path, "ab") as file:
                file.write(b"one\n")
            os.remove(path)

        self.assertEqual(self.copied(b"", write_and_remove), b"one\n")


class TestLastLines(unittest.TestCase):
    def test_last_lines_start_where_counting_from_the_end_says(self):
        pieces = (b"", b"\n", b"a", b"a\n", b"\na", b"a\nb", b"a\nb\n", b"\n\n\n", b"a\n\nb\n\n", b"\na\nb\nc", b"one\ntwo\nthree\n",
                  b"x" * 70000 + b"\n" + b"y" * 70000, b"long\n" * 30000, b"\n" * 70000, b"z" * 65535 + b"\n" + b"z" * 65536 + b"\n")
        for content, number in itertools.product(pieces, (1, 2, 3, 4, 5, 29999, 30000, 30001)):
            with self.subTest(content=content[:12], size=len(content), lines=number), tempfile.TemporaryFile(buffering=0) as log:
                log.write(content)
                wanted = b"".join(content.splitlines(True)[-number:])
                self.assertEqual(content[logs._start_of_last(log.fileno(), number):], wanted)
