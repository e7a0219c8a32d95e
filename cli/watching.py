"""`status --watch`: the screen that people keep open. It looks at a queue again and again, and lets it be drawn (`scene`, `screen`).

A look is cheap, but for the one at all pending jobs: that is made in a thread of its own, and so seldom that it takes a thirtieth of a core
at the most. What is wrong with a file of the queue is shown, and ends nothing.
"""
from __future__ import annotations

import sys
import time
from threading import Thread

from cli.facts import look, waiting_in_groups
from cli.scene import SHOWN, Scene, draw
from cli.screen import QUIT, Screen
from cli.standing import due_in
from cli.terminal import last_line
from core.errors import InvalidSettings, QueueError, advice, fault_text
from core.home import wake_workers
from core.job import PENDING
from core.rules import RETRY
from helpers import load_settings
from storage.output import last_words
from storage.waits import look_at_pending

_REST = 30  # times as long as a look at all pending jobs took, until the next one
_FIRST_LOOK = 0.3  # seconds to wait for the first one
_MOST_SPECIAL = 100000  # pending jobs that are read for what they wait for
_MESSAGE = 5.0  # seconds that something is told at the bottom
_FOLLOWING = 500  # jobs that may run next, known from the last such look


class Looker:
    """Looks at a queue, again and again."""

    def __init__(self, queue):
        self._queue = queue
        self._store = queue.store
        self._pending = None  # a Pending: what the last look at all pending jobs found
        self._found = None  # another one, which the thread has found since
        self._thread = None
        self._next = 0.0  # when there may be another such look, by the monotonic clock
        self._in_groups = {}  # how many jobs waited in each group with a limit or a pause, at the last such look
        self._seen = None  # the fingerprint of jobs.json at the last one, and the limits
        self._scene = Scene(dict(home=queue.home, paused=False), time.time(), [], [], [], [], queue.store.settings)

    def scene(self, message=""):
        """A Scene of now; with the fault, if the queue cannot be read."""
        now = time.time()
        try:
            self._follow_settings()
            self._look_at_pending()
            self._pending, self._found = self._found or self._pending, None
            seen = look(self._queue, (self._pending, self._in_groups))
            facts = seen.facts
            facts["looking"] = self._pending is None and self._thread.is_alive()
            waiting, following = ([], []) if self._pending is None else (self._waiting(now), self._following())
            running = [(job, self._output(job)) for job in seen.running[:SHOWN]]
            self._scene = Scene(facts, now, running, waiting, following, self._died(facts), self._store.settings)
        except QueueError as error:
            return self._scene._replace(now=now, error=str(error), message=message)
        except OSError as error:
            return self._scene._replace(now=now, error=fault_text(error) + advice(error), message=message)
        return self._scene._replace(message=message)

    def _follow_settings(self):
        """Take in what config.json says now; a broken one changes nothing."""
        try:
            self._store.settings = load_settings(self._queue.config_path)
        except InvalidSettings:
            pass

    def _look_at_pending(self):
        """Let all pending jobs be looked at, if it is time for that and they, or the limits of groups, may have changed."""
        seen = self._store.fingerprint(), self._store.limits()
        changed = seen != self._seen
        due = self._pending is not None and any(wait.due_in is not None for _, wait in self._pending.found)
        if self._thread is not None and self._thread.is_alive() or time.monotonic() < self._next or not (changed or due):
            return
        self._seen = seen
        first, self._thread = self._thread is None, Thread(target=self._look, daemon=True)
        self._thread.start()
        self._thread.join(_FIRST_LOOK if first else 0.05)

    def _look(self):
        clock = getattr(time, "thread_time", time.monotonic)
        begun = clock()
        try:
            self._in_groups = waiting_in_groups(self._store)
            self._found = look_at_pending(self._store, time.time(), _MOST_SPECIAL, _FOLLOWING)
        except (QueueError, OSError):
            self._seen = None  # the next look of the main thread tells
        self._next = time.monotonic() + _REST * (clock() - begun)

    def _waiting(self, now):
        """What the last look at all pending jobs found to wait, as far as it still does, the next one first, as triples for a Scene."""
        found = sorted(self._pending.found, key=lambda pair: (pair[1].due_in is None, pair[1].due_in or 0.0))[:SHOWN]
        still = {job.place: job.progress() for job in self._store.at({job.place for job, _ in found if job.place})}
        return [(job, wait._replace(due_in=None if wait.due_in is None else due_in(job, now)),
                 self._output(job) if wait.waits_for == RETRY else "")
                for job, wait in found if not job.place or still.get(job.place) == job.progress()]

    def _following(self):
        while self._pending.following:
            some, rest = self._pending.following[:SHOWN], self._pending.following[SHOWN:]
            now = {job.place: job for job in self._store.at({place for place, _ in some if place})}
            kept = [(place, job) for place, job in ((place, now.get(place, job)) for place, job in some)
                    if job is not None and job.state == PENDING]
            self._pending = self._pending._replace(following=kept + rest)
            if kept:
                return [job for _, job in kept]
        return []

    def _died(self, facts):
        jobs = self._store.died_last(SHOWN) if facts["dead"] else ()
        return [(job, last_line(job.options.get("output") or "").strip()) for job in jobs]

    def _output(self, job):
        return last_line(last_words(self._queue.home, job)).strip()


def watch(queue, seconds, color):
    """Show the queue until someone presses q or Ctrl+C; p pauses it and lets it go on."""
    looker, message, until, next_look = Looker(queue), "", 0.0, 0.0
    try:
        with Screen() as screen:
            while True:
                now = time.monotonic()
                if screen.said:
                    message, until, screen.said = screen.said, now + _MESSAGE, ""
                if now >= next_look:
                    scene, next_look = looker.scene(message if now < until else ""), now + seconds
                width, height = screen.size()
                screen.draw(draw(scene, width, height, color))
                key = screen.wait(next_look - time.monotonic())
                if key in ("q", "Q", "\x03", "\x04", QUIT):
                    return
                if key in ("p", "P"):
                    message, until, next_look = _toggle(queue), time.monotonic() + _MESSAGE, 0.0
    except KeyboardInterrupt:
        return


def _toggle(queue):
    """Pause the queue, or let it go on; what is to be said of that."""
    try:
        if queue.store.paused():
            queue.jobs.resume()
            wake_workers(queue.home)
            return "resumed"
        queue.jobs.pause()
        return "paused"
    except QueueError as error:
        return str(error)


def repeat(lines, seconds):
    """Print what `lines()` returns, one after another, until Ctrl+C: for a pipe, and for a terminal that takes no escapes."""
    try:
        while True:
            sys.stdout.write("".join(line + "\n" for line in lines()) + "\n")
            sys.stdout.flush()
            time.sleep(seconds)
    except KeyboardInterrupt:
        return
