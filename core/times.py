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


_ISO_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(?:[Zz]|[+-][0-9:]{5,8})\Z"


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
    if not 0 <= since.days < 2932896:  # the year 9999, the last with four digits
        raise ValueError("out of range")
    return since // timedelta(microseconds=1) / 1e6


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text):
    """The seconds in `90`, `10s`, `5m`, `2h` or `7d`; fractions are allowed. Raises ValueError."""
    unit = _UNITS.get(text[-1:])
    seconds = float(text[:-1] if unit else text) * (unit or 1)
    if not 0 <= seconds < 1e10:
        raise ValueError("out of range")
    return seconds


def micros_of(created_at):
    """A created_at as microseconds since the epoch; 0 for none."""
    return int(round(parse_time(created_at) * 1e6)) if created_at else 0
