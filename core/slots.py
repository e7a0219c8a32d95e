"""Slots: the number that a running job has among those of its group. Which one it gets, and how it stands in its attempt token.

The slot stands in the job file, so that no crash of a process gives it to another job; and in the token, since each version of the program
keeps that as it is. All pure.
"""
from __future__ import annotations


_MARK = "s"  # before the slot in a token; the rest of one is hexadecimal digits and a number


def free_slot(limit, held):
    """The slot that the next job of a group gets, the smallest number from 0 to `limit` - 1 that is free; None if the group is full.

    `held` are the slots of its jobs that run, or the numbers by which those go that were claimed when the group had no limit; None for one
    whose number is not known. Where a limit was lowered there may be more of them, and greater ones: nothing is ended, and nothing starts
    before there are fewer than `limit`."""
    taken = set(held)
    return None if len(held) >= limit else next(number for number in range(limit) if number not in taken)


def with_slot(token, slot):
    """An attempt token with the slot that the attempt has. Beside a slot of three digits there is room for an attempt number of nine."""
    return "%s%s%d" % (token, _MARK, slot)


def without_slot(token):
    """The attempt token that `with_slot` was given."""
    if _MARK not in token:
        return token
    start, dash, number = token.rpartition("-")
    return start + dash + number.partition(_MARK)[0]


def slot_of(token):
    """The slot that an attempt token names; None if it names none, or is None."""
    if not token or _MARK not in token:  # most jobs have no group
        return None
    slot = token.rpartition("-")[2].partition(_MARK)[2]
    return int(slot) if slot.isdecimal() and len(slot) < 4 else None


def group_digest(group):
    """8 hexadecimal digits that stand for a group in worker files, where a user's text cannot stand."""
    import hashlib
    return hashlib.blake2b(group.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
