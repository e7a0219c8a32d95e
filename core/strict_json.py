"""Strict JSON: RFC 8259 and nothing else. Each fault is told with its line and column."""
from __future__ import annotations

import json
import re

from core.errors import JsonError


class _Refused(ValueError):
    """A fault inside the decoder, without its position. `literal` is the number or constant that was refused; None for a second key."""

    def __init__(self, what, literal=None):
        super().__init__(what)
        self.literal = literal


def _place_of(text, position, literal):
    """Where a refused literal stands; for None, the second one of a key in its object, or a lone surrogate. Else `position`."""
    keys = []
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s\[\]{},:"]+', text[position:]):
        word = token.group()
        if word in "[{":
            keys.append(set())
        elif word in "]}":
            keys = keys[:-1]
        elif word[0] != '"':
            if literal is not None and word.startswith(literal):
                return position + token.start()
        elif literal is None:
            for escape in re.finditer(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..|\\.", word):
                if len(escape.group()) == 6:
                    return position + token.start() + escape.start()
            end = skip_whitespace(text, position + token.end())
            if keys and text[end:end + 1] == ":":
                if json.loads(word) in keys[-1]:
                    return position + token.start()
                keys[-1].add(json.loads(word))
    return position


def _trailing_comma(text, position):
    """Where the comma is behind which a decoder that stopped at `position` expected a value or a key, and found the closing bracket; None
    if that is not what was wrong. (Python 3.13 stops at the comma, the others at the bracket.)"""
    bracket = skip_whitespace(text, position + 1) if text[position:position + 1] == "," else position
    before = text[:bracket].rstrip(" \t\n\r") if text[bracket:bracket + 1] in ("]", "}") else ""
    return len(before) - 1 if before.endswith(",") else None


MAX_DIGITS = 1000
MAX_DEPTH = 100  # far from where any version of Python gives up, since what one reads another one must write


def _strict_object(pairs):
    record = dict(pairs)
    if len(record) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused("the key %s appears twice" % json.dumps(key))
            seen.add(key)
    return record


def _strict_int(literal):
    if len(literal) > MAX_DIGITS:
        raise _Refused("a number of more than %d digits" % MAX_DIGITS, literal)
    return int(literal)


def _strict_float(literal):
    number = float(literal)
    if number in (float("inf"), float("-inf")):
        raise _Refused("the number %s is too large" % literal[:40], literal)
    return number


def _strict_constant(literal):
    raise _Refused("%s is not JSON" % literal, literal)


_decoder = json.JSONDecoder(object_pairs_hook=_strict_object, parse_int=_strict_int, parse_float=_strict_float,
                            parse_constant=_strict_constant)
encode_json = json.JSONEncoder(ensure_ascii=False).encode
_SPACE = r"[ \t\n\r]*"


def skip_whitespace(text, position):
    """The first position from `position` on that holds no JSON whitespace (the length of the text if none does)."""
    return re.compile(_SPACE).match(text, position).end()


def _is_deeper(value, levels):
    """Whether arrays and objects are nested more than so many levels deep in a value."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer if type(outer) in (list, dict)
                 for inner in (outer.values() if type(outer) is dict else outer)]
    return any(type(value) in (list, dict) for value in layer)


def decode_json_at(text, position):
    """The JSON value that starts at `position`, and the position after it.

    Raises JsonError. Python's decoder would accept, or report otherwise, duplicate keys, NaN and Infinity, numbers that are out of range
    or endless, deep nesting, and the escape of a lone surrogate, which no file can hold; here all of them are JsonErrors.
    """
    try:
        value, end = _decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        comma = _trailing_comma(text, error.pos)
        if comma is not None:
            raise JsonError("trailing comma: remove it", text, comma) from None  # other programs read these files, too, and take none
        raise JsonError(error.msg[:1].lower() + error.msg[1:], text, error.pos) from None
    except _Refused as error:
        raise JsonError(str(error), text, _place_of(text, position, error.literal)) from None
    except RecursionError:
        raise JsonError("nested more than %d levels deep" % MAX_DEPTH, text, position) from None
    brackets = text.count("[", position, end) + text.count("{", position, end)
    if brackets > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise JsonError("nested more than %d levels deep" % MAX_DEPTH, text, position)
    if text.find("\\u", position, end) >= 0:
        try:
            encode_json(value).encode("utf-8")
        except UnicodeEncodeError as error:
            raise JsonError("\\u%04x alone is no character: its bytes would not be UTF-8"
                            % ord(error.object[error.start]), text, _place_of(text, position, None)) from None
    return value, end


_TAIL = 16  # characters: longer than any word, number sign or escape whose start alone is a fault


def is_cut_short(error, text):
    """Whether a JsonError may come from the end of `text` alone, so that there would be none if the text went on."""
    return error.position >= len(text) - _TAIL or error.what.startswith("unterminated string")


def decode_json(text):
    """The one JSON value that a text holds. Raises JsonError, as `decode_json_at` does."""
    start = skip_whitespace(text, 0)
    value, end = decode_json_at(text, start)
    end = skip_whitespace(text, end)
    if end != len(text):
        raise JsonError("extra text after the end", text, end)
    return value


def decode_utf8(content):
    """The text that bytes hold, without a byte order mark. Raises JsonError with the place of the first byte that is not UTF-8."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise JsonError("byte 0x%02x is not UTF-8: this is UTF-16, as PowerShell's > writes it; save it as UTF-8, there with: "
                        "... | Out-File -Encoding utf8 FILE" % content[0], "", 0)
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[:error.start].decode("utf-8", "replace")
        raise JsonError("byte 0x%02x is not UTF-8" % content[error.start], before, len(before)) from None
