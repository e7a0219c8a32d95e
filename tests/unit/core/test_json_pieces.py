"""JSON that is read by pieces."""
from __future__ import annotations

import io
import json
import unittest

from core.errors import JsonError
from core.json_pieces import JsonPieces
from core.strict_json import decode_json_at


class Drips:
    """Bytes that come so many at a time, whatever is asked for."""

    def __init__(self, content, size):
        self._file, self._size = io.BytesIO(content), size

    def read(self, size):
        return self._file.read(self._size)


def values_in(content, size):
    """The values one after another, and then the place and the text of the fault, if there is one."""
    pieces, found = JsonPieces(Drips(content, size).read), []
    try:
        while pieces.peek():
            found.append(pieces.value())
    except JsonError as error:
        found.append(str(pieces.placed(error)))
    return found


class TestJsonPieces(unittest.TestCase):

    def test_values_are_the_same_however_many_bytes_come_at_a_time(self):
        values = [{"id": "é\U0001f600\\\"", "n": [1, 2.5e3, -0.25, True, None, {"a": {}}]}, [], "", 12, -3.5e-7, "x" * 500, False]
        for indent in (None, 3):
            content = "\n ".join(json.dumps(value, ensure_ascii=False, indent=indent) for value in values).encode("utf-8")
            for size in (1, 2, 3, 7, 100, 5000):
                with self.subTest(indent=indent, size=size):
                    self.assertEqual(values_in(content, size), values)
                    self.assertEqual(values_in(b"\xef\xbb\xbf" + content, size), values)

    def test_a_fault_has_the_place_that_it_has_in_the_whole_text(self):
        for fault in ('{"a": 1, "a": 2}', '{"a": 1,}', '{"a" 1}', "nul", "NaN", '{"a": [1,]}', '{"a": "\t"}', '{"a": "\\q"}', '"\\ud800"', "{",
                      '{"a": ', '"open', "1e999", "[" * 200, '{"a": "b" "c"}', '{"a": "%s", oops}' % ("x" * 50)):
            for before in ("", '{"x": 1} ', '{"x": "é"}\n\n  ', '[\n1,\n2]\n' * 50 + " "):
                text = before + fault
                with self.assertRaises(JsonError) as caught:
                    decode_json_at(text, len(before))
                for size in (1, 5, 64, 100000):
                    with self.subTest(fault=fault[:20], before=before[:20], size=size):
                        self.assertEqual(values_in(text.encode("utf-8"), size)[-1], str(caught.exception))

    def test_bytes_that_are_not_utf_8_are_named_with_their_place(self):
        for content, told in ((b'{"a": "\xff"}', "line 1, column 8: byte 0xff is not UTF-8"), (b'1\n"\xc3\xa9\xc3', "line 2, column 3: byte 0xc3"),
                              (b'"\xed\xa0\x80"', "line 1, column 2: byte 0xed"), (b"\xff\xfe[\0]\0", "this is UTF-16")):
            for size in (1, 2, 1000):
                with self.subTest(content, size=size):
                    self.assertIn(told, values_in(content, size)[-1])

    def test_no_more_than_a_few_pieces_are_kept(self):
        pieces = JsonPieces(io.BytesIO(b'{"id": "a", "command": "%s"} ' % (b"x" * 1000) * 20000).read)
        most = 0
        while pieces.peek():
            pieces.value()
            most = max(most, len(pieces.text))
        self.assertLess(most, 3 << 20)


if __name__ == "__main__":
    unittest.main()
