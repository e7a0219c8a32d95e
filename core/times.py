"""Times and lengths of time as texts: the one place that reads and writes them."""
from __future__ import annotations

import time
from functools import lru_cache


@lru_cache(maxsize=4)
def _format_second(second):
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    except OSError:  # Windows knows no year after 3000
        from datetime import datetime, timedelta
        return (datetime(1970, 1, 1) + timedelta(seconds=second)).isoformat()


@lru_cache(maxsize=16)
def format_time(seconds):
    """Seconds since the epoch as `2026-11-24T02:09:06.123456Z`: UTC, always 27 characters, so that texts sort as times do."""
    second, micro = divmod(int(round(seconds * 1e6)), 1000000)
    return "%s.%06dZ" % (_format_second(second), micro)


END_OF_TIME = 253402300799.99997  # the last moment of the year 9999, which is the last with four digits, as a float holds it
_ISO_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(?:[Zz]|[+-][0-9:]{5,8})\Z"
_STORED_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z\Z"


def parse_time(text):
    """A time in ISO 8601 with an offset or Z, as seconds since the epoch. Raises ValueError."""
    import re
    from datetime import datetime, timedelta, timezone
    if not re.match(_ISO_TIME, text):
        raise ValueError("not ISO 8601")
    iso = text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text
    iso = re.sub(r"\.([0-9]{1,6})(?=[+-])", lambda match: "." + match.group(1).ljust(6, "0"), iso)  # before 3.11: 3 or 6 digits alone
    moment = datetime.fromisoformat(iso)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    if not 0 <= since.days < 2932897:  # from 1970 to the end of 9999
        raise ValueError("out of range")
    return min(since // timedelta(microseconds=1) / 1e6, END_OF_TIME)


@lru_cache(maxsize=64)
def _is_day(text):
    try:
        parse_time(text + "T00:00:00Z")
    except ValueError:
        return False
    return True


def is_stored_time(text):
    """Whether a text is a time as `format_time` makes it."""
    import re
    return re.match(_STORED_TIME, text) and _is_day(text[:10])


parse_again = lru_cache(maxsize=16384)(parse_time)  # for who looks at the same jobs each second


# The units of a length of time, in the order in which they may follow each other, with all their names.
_UNITS = ((604800, "w", "week"), (86400, "d", "day"), (3600, "h", "hr", "hour"), (60, "m", "min", "minute"), (1, "s", "sec", "second"))
LENGTHS = "90, 10s, 5m, 1h30m, 7d or 1w"


def parse_duration(text):
    """The seconds in `90`, `90 s`, `5m`, `1h30m`, `7 days` or `1w`; fractions are allowed. Raises ValueError."""
    import re
    parts = re.findall(r"([0-9]*\.?[0-9]+|[0-9]+\.) *([a-z]*) *", text)
    if not parts or re.sub(r"(?:[0-9]*\.?[0-9]+|[0-9]+\.) *[a-z]* *", "", text.strip()):
        raise ValueError("no length of time")
    if len(parts) == 1 and not parts[0][1]:
        parts = [(parts[0][0], "s")]
    seconds, smallest = 0.0, 604801
    for number, name in parts:
        unit = next((unit for unit, *names in _UNITS if name in names or (name[-1:] == "s" and name[:-1] in names[1:])), 0)
        if not 0 < unit < smallest:
            raise ValueError("no unit, or not in its place")
        seconds, smallest = seconds + float(number) * unit, unit
    if seconds >= 1e10:
        raise ValueError("out of range")
    return seconds


def format_duration(seconds):
    """A length of time in its two largest units: `12s`, `2m 10s`, `11h 58m`, `3d 4h`."""
    for (size, larger), (unit, smaller) in (((86400, "d"), (3600, "h")), ((3600, "h"), (60, "m")), ((60, "m"), (1, "s"))):
        if seconds >= size:
            rest = int(seconds % size) // unit
            return "%d%s" % (seconds // size, larger) + (" %d%s" % (rest, smaller) if rest else "")
    return "%ds" % seconds


def micros_of(created_at):
    """A created_at as microseconds since the epoch; 0 for none."""
    return int(round(parse_time(created_at) * 1e6)) if created_at else 0
