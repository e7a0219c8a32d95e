"""What the dashboard's server answers: the objects of the commands' --json, and what a page needs besides, for one request each.

It changes the queue in `act` alone, by the methods of JobManager that the commands call. Objects of users (jobs) are values under a name of
ours, never mixed with our names: a job may have any field.
"""
from __future__ import annotations

import os
import time
from itertools import islice

from cli.choosing import called
from cli.context import abandoned_jobs, notice, visible_workers
from cli.facts import kinds_text, look
from cli.speed import speed_text
from cli.standing import details, standing
from cli.terminal import last_line
from cli.working import as_objects
from core.errors import JobRefused, QueueError, UsageError, typed
from core.home import wake_workers
from core.job import CANCELLED, DEAD, PENDING, PROCESSING, STATES
from core.rules import NO_WAIT, STATE_WORDS, given_up, states_meant
from core.strict_json import encode_json
from core.system import open_private, pread
from helpers import printable
from storage.naming import find_named
from storage.output import dropped_at_start, last_lines, log_path, logs_of, path_of_log
from storage.paging import find_by_key, is_key, jobs_beyond, key_of
from storage.selection import Choice
from storage.tally import ended_by_minute
from storage.waits import Waits

MOST = 1000  # jobs in one answer
PIECE = 1 << 18  # bytes of a log in one answer
_SHOWN = 8  # jobs in each short list of the status
_RUNNING = 64  # running jobs with their last line
_LINE = 500  # characters of that
_FEW_GROUPED = 100000  # jobs in a queue of which each is looked at for its group: 50 ms
_HINTS = 50000  # places that are remembered


class Api:
    """The answers about one home. `acts` says whether it may change the queue. Threads may share it."""

    def __init__(self, acts, cwd):
        self.acts = acts
        self._cwd = cwd
        self._places = {}  # job key: where the job was last seen
        self._watched = ()  # the paths of the logs whose last lines the last status showed

    # -- looking

    def version(self, queue):
        """Another text whenever `status` may say something else; it costs a look at a few files, however many jobs there are."""
        changed = queue.store.fingerprint()
        workers = [(worker.pid, worker.count, worker.started_at) for worker in visible_workers(queue)]
        files = [stamp(path) for path in (queue.store.dlq_json.path, queue.config_path) + tuple(self._watched)]
        paused = queue.store.paused(), queue.store.paused_groups(), queue.store.pauses.stops_running()
        return "%x" % (hash((changed, tuple(workers), tuple(files), paused, int(time.time() // 60))) & (1 << 64) - 1)

    def status(self, queue):
        """What `status --json` tells; and behind it, as `page`, what else the first page shows."""
        now, store, seen = time.time(), queue.store, look(queue, following=_SHOWN)
        facts, lost, shown = seen.facts, {job.key for job in seen.abandoned}, seen.running[:_RUNNING]
        self._watched = tuple(log_path(queue.home, job, job.attempts) for job in shown)
        coming, waiting = _pending(store, seen.pending)
        completed, dead = ended_by_minute(store.counters(), now)
        return dict(facts, page={
            "now": now, "acts": self.actions(), "commands": {"worker_start": typed("worker start")},
            "pending": kinds_text(facts), "speed": speed_text(facts),
            "running": [dict(self._entry(store, job, NO_WAIT, job.key in lost), last_line=last_line(last_lines(path))[:_LINE])
                        for job, path in zip(shown, self._watched)],
            "next": [self._entry(store, job, NO_WAIT) for job in coming],
            "waiting": waiting and [self._entry(store, job, wait) for job, wait in waiting],
            "died": [self._entry(store, job, NO_WAIT) for job in _died_lately(store)],
            "groups": _groups(store, seen.runs, facts["total"]),
            "workers": as_objects(seen.workers, queue.workers.ids_by_process(seen.running), seen.waiting),
            "ended_per_minute": {"completed": completed, "dead": dead}})

    def actions(self):
        """The names of what `act` can do here; none if it may change nothing."""
        return ["add", "retry", "cancel", "hold", "release", "pause", "resume"] if self.acts else []

    def jobs(self, queue, query):
        """A page of the jobs, as `list --json` has them: `next` is the `after` of the page behind it, null behind the last one."""
        words = tuple(word for word in query.get("state", "").split(",") if word) or STATES
        for word in words:
            if word not in STATE_WORDS:
                raise UsageError("there is no state %r (there are %s)" % (word, ", ".join(STATE_WORDS)))
        limit, after, order = _number(query, "limit", 100, 1, MOST), query.get("after") or None, query.get("order", "oldest")
        if after is not None and not is_key(after):
            raise UsageError("\"after\" must be the key of a job, as the page before gave it in \"next\"")
        if order not in ("oldest", "newest"):
            raise UsageError("\"order\" must be oldest or newest, not %r" % order)
        jobs = jobs_beyond(queue.store, states_meant(words), query.get("group") or None, query.get("search") or None, after,
                           self._places.get(after, 0), order == "newest")
        found = [self._entry(queue.store, job, wait) for job, wait in islice(called(queue.store, jobs, words, with_waits=True), limit + 1)]
        return {"jobs": found[:limit], "next": found[limit - 1]["key"] if len(found) > limit else None}

    def job(self, queue, key):
        """All of one job, as `show` prints it, and which of its output there is."""
        job = self._find(queue, key)
        lost = job.state == PROCESSING and bool(abandoned_jobs(queue, [job]))
        logs = [{"attempt": log.attempt, "life": log.life, "size": _size(log.path)} for log in logs_of(queue.home, job)]
        return dict(self._entry(queue.store, job, Waits(queue.store, time.time()).of(job), lost), logs=logs, acts=self.actions())

    def log(self, queue, key, query):
        """A piece of what an attempt of a job has written: (where it begins, its bytes, how much there is, whether that is all there will
        be). Places count from the first byte that was ever written, a `from` below 0 from the end. What was dropped since is left out."""
        job = self._find(queue, key)
        attempt, life = _number(query, "attempt", job.attempts, 0), _number(query, "life", 0, 0)
        start = _number(query, "from", 0)
        path = next((log.path for log in logs_of(queue.home, job) if (log.life or 0, log.attempt) == (life, attempt)), None) \
            if life else path_of_log(queue.home, job.id, job.digest, attempt)
        ended = bool(life) or attempt != job.attempts or job.state != PROCESSING
        at, content, size = _read_log(path, start) if path else (0, b"", 0)
        return at, content, size, ended

    def _find(self, queue, key):
        """The job with a job key, or the newest one with an id. Raises JobNotFound."""
        if not is_key(key):
            return find_named(queue.store, key)[-1]
        job = find_by_key(queue.store, key, self._places.get(key, 0))
        self._remember(key, job.place)
        return job

    def _entry(self, store, job, wait, abandoned=False):
        """A job under its key, with what it waits for and how it stands in words."""
        key = key_of(job)
        self._remember(key, job.place)
        return {"key": key, "job": details(job, wait, store.settings), "after": list(wait.after), "abandoned": abandoned,
                "standing": standing(job, wait, store.settings, time.time(), abandoned)}

    def _remember(self, key, place):
        if len(self._places) > _HINTS:
            self._places = {}
        self._places[key] = place

    # -- changing

    def act(self, queue, action, key, record):
        """Do what was asked for, one of `actions`, with the object that came along; a sentence about what was done. Raises QueueError."""
        if record and action != "add":
            raise UsageError("%s takes an object without fields, and knows no %s" % (action, encode_json(next(iter(record)))))
        if action == "add":
            record.setdefault("id", os.urandom(4).hex())
            return "Job '%s' added to the queue." % printable(queue.jobs.enqueue([record], self._cwd, time.time()).ids[0])
        if action in ("pause", "resume"):
            getattr(queue.jobs, action)()
            wake_workers(queue.home)
            return "Paused: workers take no new jobs." if action == "pause" else "Resumed."
        job, now = self._find(queue, key), time.time()
        if action == "cancel":
            return self._cancel(queue, job, now)
        done = getattr(queue.jobs, action)(Choice([job.id], None, keys={job.id: job.key}), now)
        more = len(done.followers) if action == "retry" else 0
        said = {"retry": "is back in the queue", "hold": "is held until it is released", "release": "may start now"}[action]
        return "Job '%s' %s%s." % (printable(job.id), said, ", and %d that died because of it" % more if more else "")

    def _cancel(self, queue, job, now):
        done = queue.jobs.cancel(None, now, {job.key: job.state})
        if job.state not in (PENDING, PROCESSING) or not done:
            raise JobRefused("job %r is not waiting or running any more, and cannot be cancelled" % job.id)
        wake_workers(queue.home)
        queue.workers.announce(queue.store.settings.on_finish, [given_up(each, CANCELLED, now) for each in done], os.environ, notice)
        return "Job '%s' is cancelled." % printable(job.id)


def _number(query, name, default, low=None, high=None):
    text = query.get(name, "")
    if not text:
        return default
    try:
        value = int(text) if len(text) < 20 else None
    except ValueError:
        value = None
    if value is None or (low is not None and value < low) or (high is not None and value > high):
        limits = "" if low is None else " of at least %d" % low if high is None else " from %d to %d" % (low, high)
        raise UsageError("\"%s\" must be a whole number%s, not %s" % (name, limits, printable(text[:40])))
    return value


def _pending(store, pending):
    """(the jobs that come next, the first that wait for something as pairs (Job, Wait), None where too many are pending to look at each),
    by a Pending, None where there is none."""
    if pending is None:
        return list(islice(jobs_beyond(store, (PENDING,)), _SHOWN)), None
    unread = {job.place: job for job in store.at({place for place, job in pending.following if job is None})}
    coming = [job or unread.get(place) for place, job in pending.following]
    waiting = sorted(pending.found, key=lambda pair: (pair[1].due_in is None, pair[1].due_in or 0, pair[0].place))
    return list(filter(None, coming)), waiting[:_SHOWN]


def _groups(store, runs, total):
    """{group: its limit or None, how many of its jobs run and wait, whether it is paused}, for the groups that have a limit, are paused, or
    have unfinished jobs; `runs` is as in a Look. How many wait is None where there are too many jobs to look at."""
    limits, paused = store.settings.limits, store.paused_groups()
    by_group = store.count_by_group() if total <= _FEW_GROUPED else {}
    waiting = {group: counts[PENDING] for group, counts in by_group.items()}
    names = {*limits, *paused, *[name for name in runs if name], *[name for name, count in waiting.items() if name and count]}
    return {name: {"limit": limits.get(name), "running": runs[name], "paused": name in paused,
                   "waiting": waiting.get(name, 0) if total <= _FEW_GROUPED else None} for name in sorted(names)}


def _died_lately(store):
    """The jobs that died last, the last one first; none if dlq.json cannot be read, which keeps nobody from looking at the others."""
    try:
        return [job for job in store.died_last(_SHOWN) if job.state == DEAD]
    except QueueError:
        return []


def stamp(path):
    """What tells one state of a file from another; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _size(path):
    state = stamp(path)
    return state[1] if state else 0


def _read_log(path, start):
    """(where the piece begins, its bytes, how much was ever written) of a log, from a place on; (0, b"", 0) if there is none. While the
    worker cuts its start off, it is read again."""
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0, b"", 0
    try:
        while True:
            dropped, line = dropped_at_start(descriptor)
            size = dropped + max(0, os.fstat(descriptor).st_size - line)
            at = min(size, max(dropped, size + start if start < 0 else start))
            content = pread(descriptor, PIECE, at - dropped + line)
            if dropped_at_start(descriptor) == (dropped, line):
                return at, content, max(size, at + len(content))
    finally:
        os.close(descriptor)


