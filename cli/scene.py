"""What `status --watch` draws: a Scene, which is all that is known of a queue at one moment, as lines that fit a window. No I/O in here."""
from __future__ import annotations

import time
from collections import namedtuple

from cli.facts import group_pieces, kinds_text
from cli.speed import speed_text
from cli.standing import died_at, ending, running_for, standing
from cli.terminal import bar, counted, cut, display_width, fit, flow, knows_unicode, one_line, paint, paint_state, showable, short_duration
from core.errors import hint, typed
from core.job import STATES
from core.rules import RETRY
from core.times import parse_time

SHOWN = 60  # jobs of a kind that a Scene has at the most

_BOLD, _DIM, _YELLOW, _RED = "1", "2", "33", "31"  # SGR numbers

# What is drawn. `facts` are those of `status --json`, and whether pending jobs are still being looked at (`looking`); `running` and `died`
# are pairs (Job, the last line of its output); `waiting` are triples (Job, Wait, the last line); `following` the Jobs that may run next;
# `error` is a fault that was met, `message` what is said at the bottom.
Scene = namedtuple("Scene", "facts now running waiting following died settings error message", defaults=(None, ""))


def draw(scene, width, height, color=False):
    """The lines of a window of this size, at most `height` of them, each cut to `width`."""
    top = _header(scene, width) + (_fault(scene, width) if scene.error else _numbers(scene, width))
    bottom = [(cut(_keys(scene), width - 1), _DIM)] if height > 6 else []
    room = height - len(top) - len(bottom)
    lines = top + ([] if scene.error else _share(_sections(scene, width, max(0, room)), room))
    lines = lines[:height - len(bottom)]
    lines += [("", None)] * (height - len(bottom) - len(lines)) + bottom
    lines = [(cut(text, width), style) for text, style in lines]
    return [_painted(text, style) if color else text for text, style in lines]


def _painted(text, style):
    if style is not STATES:
        return paint(text, style)
    for state in STATES:  # each stands in the text but once
        before, found, after = text.partition(state + " ")
        number, blank, rest = after.partition("  ")
        text = before + (paint_state(found + number, state) + blank + rest if found else "")
    return text


def _header(scene, width):
    clock, home = time.strftime("%H:%M:%S", time.localtime(scene.now)), showable(scene.facts["home"])
    room = width - len(clock) - 2
    while display_width(home) > max(1, room):
        home = "…" + home[2:] if knows_unicode() else "~" + home[2:]
    return [((home + " " * (room - display_width(home)) + "  " + clock)[:width], _BOLD)]


def _fault(scene, width):
    return [("", None)] + [(line, _RED) for line in flow(showable(scene.error).split(" "), width, " ")]


def _numbers(scene, width):
    """How far the queue is: a bar, the number of jobs in each state, what pending ones wait for, the speed."""
    facts = scene.facts
    if not facts["total"]:
        return [("The queue is empty. To add a job:", None), ("  " + typed("enqueue -- echo Hello"), None)]
    done = facts["completed"] + facts["dead"]
    told = " %d of %d done, %d %%" % (done, facts["total"], 100 * done // facts["total"])
    lines: list = [((bar(done, facts["total"], max(3, width - len(told))) + told)[:width], None)]
    lines += [(line, STATES) for line in flow(["%s %d" % (state, facts[state]) for state in STATES], width)]
    kinds = "looking at what they wait for" if facts["looking"] else kinds_text(facts)
    lines += [(line, None) for line in flow(kinds.split(", ") if kinds else [], width, ", ")]
    return lines + [(line, style) for text, style in [_work(facts)] for line in flow(text.split(" "), width, " ")]


def _work(facts):
    """What becomes of the jobs: who works, how fast, or why nobody does; as a text and its style."""
    workers = counted(facts["workers"], "worker") if facts["workers"] else "no worker runs"
    if facts["paused"]:
        still = facts["stands_still"] and facts["processing"]
        return "%s, and the queue is paused%s: p lets %s" % (workers, ", what runs stands still" if still else "",
                                                             "all go on" if still else "workers take jobs again"), _YELLOW
    if not facts["workers"]:
        return "%s: %s starts one" % (workers, hint("worker start")), _YELLOW
    waiting = "%d waiting for a retry" % len(facts["waiting"]) if facts["waiting"] else ""
    return ", ".join(filter(None, (workers, waiting, speed_text(facts)))), None


def _keys(scene):
    keys = "q quit   p %s" % ("resume" if scene.facts["paused"] else "pause")
    return keys + ("   " + showable(scene.message) if scene.message else "")


def _sections(scene, width, most):
    """The lists below the numbers, each with something in it, the most wanted first: (title, at most so many items as lists of lines)."""
    facts, settings, now = scene.facts, scene.settings, scene.now
    retries = [each for each in scene.waiting if each[1].waits_for == RETRY]
    following = [(job.id, "", one_line(job.command)) for job in scene.following]
    following += [(job.id, "", "%s: %s" % (standing(job, wait, settings, now), one_line(job.command)))
                  for job, wait, _ in scene.waiting if wait.waits_for != RETRY]
    died = [(job.id, short_duration(int(max(0.0, now - parse_time(died_at(job))))) + " ago", _why(job, output, settings))
            for job, output in scene.died]
    sections = [("Running: %d" % facts.get("processing", 0), _running(scene, width, most)),
                ("Groups", _items(_group_rows(facts["groups"]), width)),
                ("Between attempts: %d" % len(retries), _items(_retry_rows(retries[:most], settings, width), width)),
                ("Next", _items(following[:most], width)),
                ("Died lately (%d in all)" % facts.get("dead", 0), _items(died[:most], width))]
    return [(title, items) for title, items in sections if items]


def _running(scene, width, most):
    rows = [(job.id, short_duration(int(running_for(job, scene.now))), one_line(job.command)) for job, _ in scene.running[:most]]
    said = ["its worker is dead; the next worker to start runs it again" if job.id in scene.facts["abandoned"] else output
            for job, output in scene.running]
    return [item + [("      " + showable(text), _DIM)] * bool(text) for item, text in zip(_items(rows, width), said)]


def _group_rows(groups):
    """The groups with a limit or a pause, those first that have something to do."""
    idle = sorted(groups, key=lambda name: not (groups[name]["running"] or groups[name]["waiting"] or groups[name]["paused"]))
    return [(name, "", " ".join(group_pieces(groups[name]))) for name in idle]


def _retry_rows(retries, settings, width):
    when = [standing(job, wait, settings, 0.0).replace("retry ", "", 1) for job, wait, _ in retries]
    if width < 60:
        when = [text.partition(" (")[0] for text in when]
    return [(job.id, text, _why(job, output, settings)) for (job, _, output), text in zip(retries, when)]


def _why(job, output, settings):
    return "%s%s  (%s)" % (ending(job, settings), ": " + output if output else "", one_line(job.command))


def _items(rows, width):
    """Rows of three cells in columns, as items of a line each."""
    rows = [tuple(showable(cell[:4 * width]) for cell in row) for row in rows]
    first, second = (max([display_width(row[place]) for row in rows] or [0]) for place in (0, 1))
    first, second = min(first, max(8, width // 4)), min(second, max(6, width // 3))
    starts = ["  " + fit(row[0], first) + ("  " + fit(row[1], second) if second else "") + "  " for row in rows]
    return [[((start + row[2]).rstrip(), None)] for start, row in zip(starts, rows)]


def _share(sections, room):
    """The lines of sections, of each so many items that all fit into the room and each gets its part of it."""
    shown, used = [0] * len(sections), 0
    for turn in range(max((len(items) for _, items in sections), default=0)):
        for number, (_, items) in enumerate(sections):
            if shown[number] == turn < len(items):
                cost = len(items[turn]) + (not turn)  # the first one comes with the title
                if used + cost <= room:
                    shown[number], used = turn + 1, used + cost
    blank = [("", None)] if used + sum(map(bool, shown)) <= room else []
    lines = []
    for (title, items), number in zip(sections, shown):
        if number:
            lines += blank + [(title, _BOLD)] + [line for item in items[:number] for line in item]
    return lines
