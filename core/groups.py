"""The groups of a worker process that have a limit: which of their jobs wait, which run, and which group has room. No I/O in here.

A job counts as running as long as the file says so, whoever claimed it, and beyond that as long as a worker file notes its attempt: a job
that was cancelled, or that an editor has set back, is still being ended. A group's own jobs keep their order; while it is full they wait
here, in the way of nobody. What people are told of that is in storage/waits.py.
"""
from __future__ import annotations

from heapq import heappop, heappush

from core.slots import free_slot, group_digest, slot_of


class Groups:
    """The jobs of these groups (names), by their places.

    `names` are these, `size` is how many places wait. `is_unsure`: an attempt may run that is not in the file; `learn_noted` finds out.
    """

    def __init__(self, names=()):
        self.names = tuple(names)
        self.size = 0
        self.is_unsure = bool(names)
        self._digests = {group_digest(name): name for name in names}
        self._limits = dict.fromkeys(names, 0)
        self._waiting = {name: [] for name in names}  # heaps of (-priority, place)
        self._running = {name: {} for name in names}  # of each group {place: attempt token}
        self._leaving = {name: [] for name in names}  # the tokens of attempts that are being ended
        self._group_of = {}  # {place of a running job: its group}

    def __contains__(self, group):
        return group in self._waiting

    def limit(self, limits):
        """Let other limits hold, from {group: limit} of all groups; a group without one has room for any number."""
        self._limits = {name: limits.get(name) for name in self._limits}

    # -- what runs

    def has_room(self, group):
        """Whether one more job of a group may run."""
        limit = self._limits[group]
        return limit is None or len(self._running[group]) + len(self._leaving[group]) < limit

    def slot(self, group, numbers=dict):
        """The slot that the next job of a group gets, which has room; None if it has no limit any more. `numbers()` gives the numbers by
        which jobs go that were claimed when the group had no limit, by their tokens; it is asked if there are such jobs."""
        limit, tokens = self._limits[group], [*self._running[group].values(), *self._leaving[group]]
        if limit is None:
            return None
        held = [slot_of(token) for token in tokens]
        if None in held:
            known = numbers()
            held = [known.get(token) if slot is None else slot for token, slot in zip(tokens, held)]
        return free_slot(limit, held)

    def runs(self, place, group, token):
        """Take in that the job at a place runs under a token."""
        known = self._group_of.get(place)
        if known is not None and (known != group or self._running[known][place] != token):
            self.left(place, ended=False)  # it has ended, and run again meanwhile
        self._group_of[place] = group
        self._running[group][place] = token

    def left(self, place, ended=True):
        """Take in that the job at a place does not run by the file. Unless it has `ended`, its attempt may still run."""
        group = self._group_of.pop(place, None)
        if group is None:
            return
        del self._running[group][place]
        self.is_unsure = self.is_unsure or not ended

    def learn_noted(self, noted):
        """Take in what worker files note, as {attempt token: digest of its group}: what does not run by the file is being ended."""
        leaving = {name: [] for name in self._waiting}
        for token, digest in noted.items():
            group = self._digests.get(digest)
            if group is not None and token not in self._running[group].values():
                leaving[group].append(token)
        self._leaving = leaving
        self.is_unsure = any(leaving.values())

    # -- what waits

    def add(self, group, place, priority=0):
        """Add a job that may run as soon as its group has room."""
        heappush(self._waiting[group], (-priority, place))
        self.size += 1

    def first(self):
        """(-priority, place, group) of the job that comes first among those whose group has room, or None."""
        if not self.size:
            return None
        return min([waiting[0] + (group,) for group, waiting in self._waiting.items() if waiting and self.has_room(group)], default=None)

    def pop(self, group):
        """Take out the place of the first job of a group that waits."""
        self.size -= 1
        return heappop(self._waiting[group])[1]
