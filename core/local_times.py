"""Times as people write and read them, in this machine's own time zone.

The rule: a time without a zone is local where a person gives it to a command: in an option, in a job that is enqueued or edited. In a job
file it is UTC (core/job.py), since a file is read on other days, in other zones and by other programs.

Where clocks are set, RFC 5545 (3.3.5) says which moment is meant, and so does datetime (PEP 495): a time that clocks skip is counted from
before they are set, so that 02:30 becomes 03:30; of a time that comes twice the first one counts.

Only commands that are given a time load this module.
"""
from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from core.times import END_OF_TIME, format_time, parse_duration

FORMS = "02:00, \"tomorrow 7:30\", \"2026-12-24 02:00\" or 2026-12-24T02:00:00+01:00"

_TEXT = re.compile(r"(?P<day>[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|today|tomorrow)?(?P<between>T|,? )?"
                   r"(?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?"
                   r" ?(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?\Z", re.IGNORECASE)


def parse_local_time(text, now):
    """The moment that a person means who writes a time (see FORMS), in seconds since the epoch; a time of day is the next one after `now`.
    Raises ValueError, which says what is wrong with the text or missing in it."""
    text = " ".join(text.split())
    found = _TEXT.match(text)
    if not found or not (found["day"] or found["clock"]) or bool(found["between"]) != bool(found["day"] and found["clock"]):
        raise ValueError(_what_is_missing(text))
    zone = _zone(found["zone"])
    here = datetime.fromtimestamp(now, zone)
    hour, minute, second = _clock(found["clock"] or "0:00")
    day = _day(found["day"], here)
    moment = _seconds(day, hour, minute, second, zone)
    if found["day"] is None and moment <= now:
        moment = _seconds(day + timedelta(days=1), hour, minute, second, zone)
    if moment < 0:
        raise ValueError("is before 1970")
    return moment


def _zone(text):
    """The time zone of `Z`, `+01`, `+0100` or `+01:00`; None, which is this machine's own, for none."""
    if not text:
        return None
    if text in "Zz":
        return timezone.utc
    hours, minutes = int(text[1:3]), int(text[-2:] if len(text) > 3 else 0)
    if hours > 23 or minutes > 59:
        raise ValueError("has the zone %s, which there is not" % text)
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


def _day(text, here):
    """Midnight of `today`, `tomorrow` or `2026-12-24`, where it is now `here`; without a zone."""
    if text is not None and text[0].isdigit():
        try:
            year, month, day = map(int, text.split("-"))
            return datetime(year, month, day)
        except ValueError:
            raise ValueError("names %s, and there is no such day" % text) from None
    today = datetime(here.year, here.month, here.day)
    return today + timedelta(days=1) if text is not None and text.lower() == "tomorrow" else today


def _clock(text):
    """Hour, minute and second (perhaps with a fraction) of `7:30` or `02:00:00.5`."""
    hour, minute, second = (text + ":0").split(":")[:3]
    if int(hour) > 23 or int(minute) > 59 or float(second) >= 60:
        raise ValueError("names %s, and the day has no such time (00:00 to 23:59)" % text)
    return int(hour), int(minute), float(second)


def _seconds(day, hour, minute, second, zone):
    """A time of a day as seconds since the epoch."""
    moment = day.replace(hour=hour, minute=minute)
    try:
        whole = (moment.replace(tzinfo=zone) if zone else moment).timestamp()
    except (ValueError, OverflowError, OSError):  # local times: none before 1970 on Windows, none after 3000 there, none in the last year
        whole = (moment - datetime(1970, 1, 1)).total_seconds() + time.timezone
    return min(round(whole + second, 6), END_OF_TIME)


def _what_is_missing(text):
    """Why a text is no time, as the end of a sentence that begins with it."""
    if re.match(r"[0-9]{4}-[0-9]{1,2}\Z", text):
        return "lacks the day; write %s" % FORMS
    if re.search(r"(?:^|[T ])[0-9]{1,2}(?: ?(?:Z|[+-][0-9:]+))?\Z", text, re.IGNORECASE) and text.lower() not in ("", "z"):
        return "lacks the minutes; write %s" % FORMS
    if re.match(r"[0-9]{5,}(?:\.[0-9]+)?\Z", text):
        return "is a number; a time is written as %s" % FORMS
    try:
        parse_duration(text)
    except ValueError:
        return "is no time; write %s" % FORMS
    return "is a length of time, not a time"


def tell_time(moment, now):
    """A moment for people: `14:00`, `02:00 tomorrow`, `07:30 yesterday`, `02:00 on 2026-12-24`; with seconds if it is near."""
    try:
        there, here = datetime.fromtimestamp(moment), datetime.fromtimestamp(now)
    except (ValueError, OverflowError, OSError):  # see `_seconds`
        return format_time(moment)
    clock = there.strftime("%H:%M:%S" if abs(moment - now) < 120 else "%H:%M")
    days = (there.date() - here.date()).days
    if days in (-1, 0, 1):
        return clock + (" yesterday", "", " tomorrow")[days + 1]
    return "%s on %s" % (clock, there.strftime("%Y-%m-%d"))
