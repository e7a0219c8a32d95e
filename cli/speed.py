"""How fast jobs end: worked out by those that ended lately, and told in words. No I/O in here."""
from __future__ import annotations

from core.times import format_duration

# Seconds over which a speed is measured: the first that hold ENOUGH ends, else all ends since work began.
_WINDOWS = (60.0, 300.0, 900.0, 3600.0)
_ENOUGH = 5
_REST = 60.0  # seconds without an attempt after which work began anew


def jobs_per_second(attempts, now):
    """How fast jobs end, by the last attempts (pairs of start and end in seconds since the epoch, the end None for one that runs): how
    many ended in a window, by its length or, if that is shorter, by the time since work began. 0 if none has ended since."""
    began, ends = now, []
    for start, end in sorted(attempts, key=lambda attempt: now if attempt[1] is None else attempt[1], reverse=True):
        if end is not None and end > now or start > now:
            continue  # the clock was set back
        if end is not None and end < began - _REST:
            break
        began = min(began, start)
        ends += [] if end is None else [end]
    for window in _WINDOWS:
        if now - began <= window:
            break
        recent = sum(1 for end in ends if end >= now - window)
        if recent >= _ENOUGH:
            return recent / window
    return _since(began, ends, now) if ends else 0.0


def _since(began, ends, now):
    """How fast jobs end that have ended since work began. What runs has not ended, and so the time since the last end counts only as far as
    it is longer than one job took: else the speed would fall until each end, and the time that is left grow."""
    took = max(ends) - began
    return len(ends) / max(took, now - began - took / len(ends), 0.001)


def speed_text(facts):
    """How fast jobs end, in words; "" if none have ended since work began."""
    rate = facts["jobs_per_minute"]
    if not rate:
        return ""
    number, unit = (rate, "a minute") if rate >= 1 else (round(60 * rate), "an hour")
    fast = "%s job%s %s" % ("%.0f" % number if number >= 10 else "%g" % number, "" if number == 1 else "s", unit)
    return fast + (", %s left at this rate" % format_duration(facts["seconds_left"]) if facts["seconds_left"] else "")
