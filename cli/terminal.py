"""Output for people: tables, colours, times in words. A pipe gets the same facts plainly: tab-separated, nothing shortened, no colour.

Control characters in ids, commands and messages reach neither.
"""
from __future__ import annotations

import os
import sys
import time

from core.strict_json import encode_json
from core.times import format_duration, parse_time
from helpers import printable, printable_json

_COLORS = {"pending": "33", "processing": "36", "completed": "32", "dead": "31"}
_LAST = 8  # columns that the last cell of a row has at least, and one that is cut to leave it these
_MEASURED_ROWS = 200  # rows looked at before the first is shown; the widths are theirs


def is_terminal(stream):
    """Whether a stream is a terminal; a closed stream is not."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def is_screen(stream):
    """Whether a stream is a terminal that takes escape sequences. TERM=dumb says that it takes none (terminfo(5))."""
    if not is_terminal(stream) or os.environ.get("TERM") == "dumb":
        return False
    from core.console import takes_escapes
    return takes_escapes(stream.fileno())


def knows_unicode():
    """Whether stdout takes all characters."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")


def use_color(wanted="auto"):
    """Whether to print colours: always if that is wanted, else on a terminal unless NO_COLOR is set (no-color.org)."""
    if wanted != "auto":
        return wanted == "always"
    return is_screen(sys.stdout) and not os.environ.get("NO_COLOR")


def get_width():
    """Columns of a table: those of the window, or what COLUMNS says."""
    from shutil import get_terminal_size
    return get_terminal_size().columns


def window(stream):
    """(Columns, lines) of the window of a stream; 80 and 24 without one, or where nobody gave it a size, so that it says 0."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, lines = 0, 0
    return columns or 80, lines or 24


def showable(text):
    """A text as stdout can show it, without control characters, so that its width is known."""
    text = printable(text)
    if knows_unicode() or text.isascii():
        return text
    return text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)


def one_line(text):
    """A text in one line, with single blanks between its words."""
    return " ".join(text.split())


def last_line(text):
    """The last line of a text that is not blank; "" if there is none."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def counted(number, noun, plural="s"):
    """A number and its noun: `1 job`, `2 jobs`."""
    return "%d %s%s" % (number, noun, "" if number == 1 else plural)


def display_width(text):
    """How many columns a text takes: a wide character takes two, a combining one none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width
    return sum(0 if category(char) in ("Mn", "Me", "Cf") else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text, width):
    """A text in at most `width` columns, with `…` at its end if it was longer."""
    if display_width(text) <= width:
        return text
    while text and display_width(text) > width - 1:
        text = text[:-max(1, (display_width(text) - width) // 2)]
    return text + ("…" if knows_unicode() else "~") if width > 0 else ""


def fit(text, width):
    """A text in exactly `width` columns: cut, or padded with spaces."""
    text = cut(text, width)
    return text + " " * (width - display_width(text))


def flow(parts, width, between="  ", indent=""):
    """Texts one behind another in lines of at most `width` columns; one that is wider has a line of its own, and is cut."""
    lines: list = []
    for part in parts:
        if lines and display_width(lines[-1] + between + part + between.rstrip()) <= width:
            lines[-1] += between + part
            continue
        if lines:
            lines[-1] += between.rstrip()
        lines.append(indent + part)
    return [cut(line, width) for line in lines]


def age(moment, now):
    """How long ago a time (as text) was, in the largest unit: `12s ago`; "-" for None."""
    if not moment:
        return "-"
    seconds = now - parse_time(moment)
    return rough_duration(seconds) + " ago" if seconds >= 0 else "in " + rough_duration(-seconds)


def rough_duration(seconds):
    """A length of time in the largest unit: `12s`, `5m`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return "%d%s" % (seconds // size, unit)
    return "%ds" % seconds


def short_duration(seconds):
    """A length of time for a column: `0.5s`, `14s`, `2m10s`, `11h58m`, `3d4h`."""
    return "%gs" % round(seconds, 1 if seconds >= 0.1 else 2) if seconds < 10 else format_duration(seconds).replace(" ", "")


def when(moment, utc=False):
    """A time in a table: how long ago it was on a terminal, unless `utc` is true; the time itself in a pipe."""
    return age(moment, time.time()) if is_terminal(sys.stdout) and not utc else moment or "-"


def bar(part, whole, width=20):
    """A bar of `width` columns, filled in proportion; in ASCII if stdout takes nothing else."""
    full, empty = ("█", "░") if knows_unicode() else ("#", ".")
    filled = min(width, -(-width * part // whole)) if whole else 0
    return full * filled + empty * (width - filled)


def chart(values):
    """A bar chart in one line, with a column for each value; in ASCII if stdout takes nothing else."""
    steps = " ▁▂▃▄▅▆▇█" if knows_unicode() else " .:-=+*#@"
    most = max(values) or 1
    return "".join(steps[-(-value * 8 // most)] for value in values)


def paint(text, color):
    """A text in a colour (an SGR number); None leaves it as it is."""
    return "\033[%sm%s\033[0m" % (color, text) if color else text


def paint_state(text, state):
    """A text in the colour of a state."""
    return paint(text, _COLORS.get(state))


def table(headers, rows, color=False, kept=None):
    """Print rows of texts under headers, in the width of the window; a column STATE is coloured. Without room for all, columns are left out
    from the right; the first, the last and the one named `kept` are cut. In a pipe: tabs between columns, no headers, nothing shortened."""
    state = headers.index("STATE") if color and "STATE" in headers else None
    if not is_terminal(sys.stdout):
        _print_plain(rows, state)
        return
    from itertools import chain, islice
    rows = iter(rows)
    measured = [[showable(cell) for cell in row] for row in islice(rows, _MEASURED_ROWS)]
    if not measured:
        return
    shown, widths = _columns(headers, measured, get_width(), kept)
    painted = headers.index(kept) if kept is not None and state not in shown else state
    for row in chain([headers], measured, ([showable(cell) for cell in row] for row in rows)):
        cells = {place: fit(row[place], widths[place]) for place in shown}
        if state is not None and painted in cells:
            cells[painted] = paint_state(cells[painted], row[state])
        print("  ".join(cells.values()).rstrip())


def _columns(headers, measured, window, kept):
    """(the places of the columns that are shown in a window, the widths of all), by some rows that were measured."""
    widths = [max(display_width(row[place]) for row in [headers] + measured) for place in range(len(headers))]
    widths[0] = min(widths[0], max(8, window // 3))
    shown = list(range(len(headers)))
    spare = [place for place in shown[1:-1] if headers[place] != kept]

    def missing():
        return sum(widths[place] + 2 for place in shown[:-1]) + _LAST - window

    while spare and missing() > 0:
        shown.remove(spare.pop())
    if kept is not None and missing() > 0:
        place = headers.index(kept)
        widths[place] -= missing()
        if widths[place] < _LAST:
            shown.remove(place)
    if len(shown) == 2:
        widths[0] = min(widths[0], max(1, window - 6))
    widths[-1] = max(1, window - sum(widths[place] + 2 for place in shown[:-1]))
    return shown, widths


def _print_plain(rows, state):
    for row in rows:
        cells = [printable(cell) for cell in row]
        if state is not None:
            cells[state] = paint_state(cells[state], row[state])
        print("\t".join(cells))


def json_text(value):
    """Indented JSON, safe to print."""
    import json
    return printable_json(json.dumps(value, indent=2, ensure_ascii=False), not knows_unicode())


def json_line(value):
    """JSON in one line, safe to print."""
    return printable_json(encode_json(value), not knows_unicode())


def print_json(value):
    """Print indented JSON."""
    print(json_text(value))


def print_json_array(records):
    """Print a JSON array, with each element on a line as it comes."""
    first = True
    for record in records:
        sys.stdout.write(("[\n" if first else ",\n") + json_line(record))
        first = False
    print("[]" if first else "\n]")
