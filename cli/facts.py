"""What `status` tells of a queue, as an object, and parts of it in words: for the command, its screen and the dashboard."""
from __future__ import annotations

import time
from collections import namedtuple
from math import ceil

from cli.context import abandoned_jobs, hint_to_resume, visible_workers
from cli.speed import jobs_per_second
from cli.terminal import display_width, showable
from core.job import PENDING
from core.rules import GROUP, HOLD, OTHER_JOBS, PAUSED, RETRY, TIME
from storage.waits import look_at_pending, running_by_group

_FEW = 500000  # jobs in a queue whose pending ones are looked at for what they wait for: half a second
_FEW_SPECIAL = 20000  # and how many of these may have something to wait for, or a priority

# What pending jobs are called in JSON and for people, by what they wait for, as their Wait has it.
KINDS = ((None, "ready", "ready"), (RETRY, "retrying", "between attempts"), (TIME, "scheduled", "scheduled"),
         (OTHER_JOBS, "blocked", "after others"), (GROUP, "in_full_groups", "in full groups"),
         (PAUSED, "in_paused_groups", "in paused groups"), (HOLD, "held", "held"))


# What was seen of a queue: `facts` is the object that `status` tells; `running` are the jobs that run, and `abandoned` those of them whose
# worker is dead; `runs` is how many run in each group (see `running_by_group`); `workers` are the worker processes, and `waiting` has by
# their tokens the jobs whose retry each waits for; `pending` is the Pending by which the pending jobs were told, or None.
Look = namedtuple("Look", "facts running abandoned runs workers waiting pending")


def look(queue, former=None, following=0):
    """A Look at a queue. `former` is what an older look at all pending jobs found: (a Pending or None, what `waiting_in_groups` gave).
    Without it they are looked at now, unless they are too many, and so many `following` ones are noted."""
    store = queue.store
    counts, workers, now = store.count(), visible_workers(queue), time.time()
    total = sum(counts.values())
    running = store.running() if counts["processing"] else []
    runs = running_by_group(store, running)
    abandoned, waiting = abandoned_jobs(queue, running), queue.workers.waiting(workers, store)
    rate = jobs_per_second(store.attempts_lately(), now) if workers else 0.0
    if former is None:
        pending = look_at_pending(store, now, _FEW_SPECIAL, following, runs) if total <= _FEW else None
        in_groups = waiting_in_groups(store)
    else:
        pending, in_groups = former
    left = counts["pending"] + counts["processing"] - (pending.delayed if pending is not None else 0)
    facts = dict(counts, total=total, workers=sum(worker.count for worker in workers), worker_processes=[worker.pid for worker in workers],
                 paused=store.paused(), jobs_per_minute=_rounded(60.0 * rate),
                 seconds_left=ceil(left / rate) if rate and left > 0 else None, home=queue.home,
                 abandoned=[job.id for job in abandoned], **_kinds(counts["pending"], pending),
                 waiting=[job.id for of_one in waiting.values() for job in of_one], stands_still=store.pauses.stops_running(),
                 groups=_groups(store, runs, in_groups))
    return Look(facts, running, abandoned, runs, workers, waiting, pending)


def waiting_in_groups(store):
    """How many jobs wait in each group that has a limit or is paused, as {name: number}."""
    names = store.limits()
    counts = store.count_by_group() if names else {}
    return {name: counts[name][PENDING] if name in counts else 0 for name in names}


def _groups(store, runs, waiting):
    """How the groups stand that have a limit or are paused, as {name: object}, by how many jobs of each run and wait."""
    paused = store.paused_groups()
    return {name: {"limit": store.settings.limits.get(name), "running": runs[name],
                   "waiting": waiting.get(name), "paused": name in paused} for name in store.limits()}


def group_pieces(of_one, way_out=""):
    """How a group stands, "1 of 1 running, 4 waiting", in pieces, for lines; `way_out` is the command that ends its pause."""
    pieces = ["%d%s running" % (of_one["running"], "" if of_one["limit"] is None else " of %d" % of_one["limit"])]
    if of_one["waiting"] is not None:
        pieces = [pieces[0] + ",", "%d waiting" % of_one["waiting"]]
    if of_one["paused"]:
        pieces[-1] += ";"
        pieces += ["paused:", *way_out.split(" ")] if way_out else ["paused"]
    return pieces


def group_rows(facts):
    """The same for each group that has a limit or is paused, behind its name."""
    widths = {name: display_width(showable(name)) for name in facts["groups"]}
    for name, of_one in facts["groups"].items():
        first, *others = group_pieces(of_one, hint_to_resume([name]))
        yield [name + " " * (max(widths.values()) - widths[name]) + "  " + first] + others


def _rounded(number):
    """A number with a digit behind the point, or with three that count if it is below 1."""
    return round(number, 1) if number >= 1 else float("%.3g" % number)


def _kinds(number, pending):
    """How many of so many pending jobs there are of each kind, by a Pending, which may be older; None for each if there is none."""
    if pending is None:
        return {key: None for _, key, _ in KINDS}
    others = {key: pending.counts.get(word, 0) for word, key, _ in KINDS[1:]}
    return dict(ready=max(0, number - sum(others.values())), **others)


def kinds_text(facts):
    """The kinds of pending jobs in words, with their numbers; "" if all are ready."""
    if facts["ready"] is None:
        return "what they wait for is not looked at: there are too many" if facts["pending"] else ""
    if facts["ready"] == facts["pending"]:
        return ""
    return ", ".join("%d %s" % (facts[key], said) for _, key, said in KINDS if facts[key])
