"""What can be read of a broken job file."""
from __future__ import annotations

import json
import unittest

from cli.salvage import salvage


class Counted(str):
    """A text that counts the characters of all pieces that are cut out of it."""

    cut = 0

    def __getitem__(self, key):
        piece = str.__getitem__(self, key)
        Counted.cut += len(piece)
        return piece


class CountedBytes(bytes):
    """Bytes that are decoded as a Counted text."""

    def decode(self, *arguments):
        return Counted(bytes.decode(self, *arguments))


class TestSalvage(unittest.TestCase):

    def cut_for(self, number, bad):
        """How many characters are cut out while a file of so many jobs on one line is read, every tenth of which is broken in that way."""
        jobs = [json.dumps({"id": "job%d" % each, "command": "echo %s" % ("x" * 200)}) for each in range(number)]
        jobs[::10] = [bad] * len(jobs[::10])
        Counted.cut = 0
        saved, lost = salvage(CountedBytes(("[%s]" % ", ".join(jobs)).encode("utf-8")))
        self.assertEqual((len(saved), len(lost)), (number - number // 10, number // 10))
        return Counted.cut

    def test_characters_that_are_looked_at_grow_with_the_size_of_a_line_and_not_with_its_square(self):
        for bad in ('{"id": "bad", "command": ?}', '{"id": "bad"}', '{"id": "bad", "command": "x", "state": "gone"}'):
            with self.subTest(bad):
                self.assertLess(self.cut_for(8000, bad), 5 * self.cut_for(2000, bad))

    def test_a_job_that_is_longer_than_what_is_looked_at_first_is_saved(self):
        for size in (4000, 4096, 5000, 40000, 400000):
            for text in ("x" * size, "é\\n" * size, '\\"' * size, "\\u00e9" * size):
                with self.subTest(size=size, text=text[:6]):
                    content = ('[{"id": "a", "command": "%s", "own": [1.5, {"b": null}]}, oops]' % text).encode("utf-8")
                    saved, lost = salvage(content)
                    self.assertEqual(([job.id for job in saved], lost), (["a"], ["line 1: oops"]))
