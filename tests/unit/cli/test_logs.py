"""How the end of a log is found."""
from __future__ import annotations

import itertools
import tempfile
import unittest

from cli import logs


class TestLastLines(unittest.TestCase):
    def test_last_lines_start_where_counting_from_the_end_says(self):
        pieces = (b"", b"\n", b"a", b"a\n", b"\na", b"a\nb", b"a\nb\n", b"\n\n\n", b"a\n\nb\n\n", b"\na\nb\nc", b"one\ntwo\nthree\n",
                  b"x" * 70000 + b"\n" + b"y" * 70000, b"long\n" * 30000, b"\n" * 70000, b"z" * 65535 + b"\n" + b"z" * 65536 + b"\n")
        for content, number in itertools.product(pieces, (1, 2, 3, 4, 5, 29999, 30000, 30001)):
            with self.subTest(content=content[:12], size=len(content), lines=number), tempfile.TemporaryFile(buffering=0) as log:
                log.write(content)
                wanted = b"".join(content.splitlines(True)[-number:])
                self.assertEqual(content[logs._start_of_last(log.fileno(), number):], wanted)
