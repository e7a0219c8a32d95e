"""`logs`: what jobs wrote, byte for byte, also while they write it.

One job's output in a pipe is as the job wrote it. On a terminal, and where it is about several jobs, a header says which attempt it is and
how that ended. Where several are followed at once, the name of the job stands before each line.
"""
from __future__ import annotations

import os
import sys
import time

from cli.choosing import ago, called
from cli.context import notice
from cli.own_job import refuse_in_job
from cli.standing import ending, standing
from cli.terminal import counted, display_width, is_terminal, paint, short_duration, showable, use_color, when
from cli.waiting import LOOK_AGAIN, tell_of_hindrances
from core.errors import EXIT_FAILED, QueueError, UsageError, hint
from core.job import COMPLETED, PENDING, PROCESSING, STATES
from core.rules import NO_WAIT, states_meant
from core.system import open_private, pread
from storage.naming import find_all_named
from storage.output import dropped_at_start, log_path, logs_by_stem, stem_of

_COLORS = ("36", "33", "32", "35", "34", "31")  # of the names of jobs that are followed at once
_LONGEST = 1 << 16  # bytes of a line that is kept back until it ends


def cmd_logs(args, queue):
    """Print what jobs wrote, byte for byte."""
    if args.follow and (args.attempt is not None or args.all):
        raise UsageError("-f follows from the newest attempt on; it goes with neither --attempt nor --all")
    jobs = _chosen(args, queue)
    if args.follow:
        refuse_in_job(queue, "logs -f", "without -f it prints what there is so far", jobs)
        return follow(queue, jobs, args.lines)
    several = len(jobs) != 1 or args.state is not None
    out = _Output()
    logs = logs_by_stem(queue.home, jobs)
    for job in jobs:
        _print_logs(args, queue, out, job, logs.get(stem_of(job), []), several)
    return 0


def _chosen(args, queue):
    """The jobs that are asked for, each once."""
    if args.state is None and args.since is None and args.group is None:
        jobs = [found[-1] for found in find_all_named(queue.store, args.ids)] if args.ids else [_latest(queue.store)]
        return list({job.key: job for job in jobs}.values())
    if args.ids:
        raise UsageError("say which jobs: by their ids, or by --state, --group and --since")
    words, since = args.state or STATES, ago(args.since)
    jobs = [job for job, _ in called(queue.store, queue.store.jobs(states_meant(words), groups=args.group), words)
            if (job.updated_at or job.created_at) >= since]
    if not jobs:
        notice("no job is in that state, or changed in that time")
    return jobs


def _latest(store):
    latest = max((job for job in store.jobs() if job.started_at), key=lambda job: job.started_at, default=None)
    if latest is None:
        raise QueueError("no job has run yet; %s runs those in the queue" % hint("worker start"))
    return latest


def _print_logs(args, queue, out, job, kept, several):
    """Print those Logs of a job that are asked for; `kept` are all of it, `several` says that other jobs' are printed, too."""
    wanted = job.attempts if args.attempt is None else args.attempt
    if wanted > max(job.attempts, 1):
        raise QueueError("job %r has had %s; there is no attempt %d" % (job.id, counted(job.attempts, "attempt"), wanted))
    if job.state != PROCESSING:  # one that stayed empty is on its way to another job (see execution.log_file)
        kept = [log for log in kept if _has_bytes(log.path)]
    logs = kept if args.all else [log for log in kept if log.life is None and log.attempt == wanted]
    telling = several or is_terminal(sys.stdout)
    keeps_output = queue.store.settings.save_output  # as it is now: nothing says it of an attempt whose log is missing
    if not logs and several:
        nothing = "; it has written nothing" if keeps_output else "; no output is kept (save_output)"
        out.say("%s, %s%s" % (job.id, _told(queue, job, wanted), nothing if job.attempts else ""))
    elif not logs:
        _tell_of_nothing(job, kept, wanted, keeps_output)
    for log in logs:
        if telling:
            out.say("%s, %s" % (job.id, _told(queue, job, log.attempt, log.life)))
        elif args.all:
            out.say("%s, attempt %d%s" % (job.id, log.attempt, _life(log.life)))
        copied = _GrowingLog(log.path, out)
        copied.copy(args.lines)
        copied.close()


def _has_bytes(path):
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _life(life):
    return "" if life is None else " before retry %d" % life


def _told(queue, job, attempt, life=None):
    """What a header says of an attempt of a job: its number, how it ended, when."""
    if not attempt:
        return "no attempt yet" if job.state == PENDING else "no attempt: %s" % _ended(queue, job)
    return "attempt %d%s%s" % (attempt, _life(life), ": %s" % _ended(queue, job) if life is None and attempt == job.attempts else "")


def _ended(queue, job):
    """How the newest attempt of a job ended, and when; or for how long it runs."""
    settings = queue.store.settings
    if job.state == PROCESSING:
        return standing(job._replace(attempts=1), NO_WAIT, settings, time.time())
    how = ending(job, settings) or job.state
    if job.state == COMPLETED:
        how = "completed" + ("" if job.duration is None else ", took %s" % short_duration(job.duration))
    return "%s, %s" % (how, when(job.updated_at))


def _tell_of_nothing(job, kept, wanted, keeps_output):
    """Say that the wanted attempt of a job has no output, if these are the only Logs of it."""
    others = "; %s prints what other attempts wrote" % hint("logs --all", job.id) if kept else ""
    if job.attempts and not keeps_output:
        notice("there is no output of %r: the setting save_output is false, so that none is kept%s" % (job.id, others))
        return
    if wanted < job.attempts:
        notice("there is no output of attempt %d of %r: it wrote nothing, or that is not kept any more (see the setting keep_attempts)"
               % (wanted, job.id))
        return
    since = " since it was brought back" if any(log.life is not None for log in kept) else ""
    unrun = "" if job.attempts else "; it has not run yet" if not since else "; it has not run since"
    notice("%r has written nothing%s%s%s" % (job.id, since, unrun, others))


class _Output:
    """Stdout, for bytes and for headers between them; with `prefix` (bytes) each line has it in front, and comes once it has ended."""

    def __init__(self, prefix=b""):
        self.prefix = prefix
        self._rest = b""  # of a line that has not ended
        self._at_start = True  # of a line

    def write(self, piece):
        """Write bytes."""
        if self.prefix:
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) > _LONGEST:
                lines, self._rest = lines + [self._rest], b""
            piece = b"".join(self.prefix + line + b"\n" for line in lines)
        sys.stdout.buffer.write(piece)
        self._at_start = piece.endswith(b"\n") if piece else self._at_start

    def flush(self):
        """Let everyone see what was written."""
        sys.stdout.buffer.flush()

    def say(self, text):
        """Write a header on a line of its own, behind the end of the last one."""
        if self._rest or not self._at_start:
            self.write(b"\n")
            self.flush()
        header = "==> %s <==" % showable(text)
        if self.prefix:
            self.write(_encoded(header + "\n"))
            self.flush()
        else:
            print(header, flush=True)
            self._at_start = True


class _GrowingLog:
    """Copies a log to an _Output byte for byte as it grows, a piece at a time. One that was replaced or shortened is copied from its start;
    a missing one counts as empty. Of a log whose start was dropped no byte is copied twice."""

    def __init__(self, path, out):
        self._path = path
        self._out = out
        self._log = None  # its descriptor
        self._next = 0  # how many bytes were ever written to the log before the next one to copy

    def copy(self, lines=None):
        """Copy what is new since the last time. The first time `lines`, if given, says how many last lines to copy."""
        try:
            if self._log is None or os.stat(self._path).st_ino != os.fstat(self._log).st_ino:
                self._rest()
                self.close()
                self._log = open_private(self._path, os.O_RDONLY)
                dropped, line = dropped_at_start(self._log)
                self._next = dropped - line + (0 if lines is None else _start_of_last(self._log, lines))
        except FileNotFoundError:
            pass  # it was removed, or is still to come
        self._rest()

    def _rest(self):
        while self._log is not None:
            dropped, line = dropped_at_start(self._log)
            start, size = dropped - line, os.fstat(self._log).st_size
            if self._next > start + size:  # it is shorter: emptied, or read between the write of that line and the cut
                self._next = start + size if line else 0
            at = self._next - start if self._next >= dropped else 0  # where bytes are missing, with the line that says so
            piece = pread(self._log, 1 << 16, at)
            if not piece or (not self._next and self._is_of_another_job()):
                break
            self._next = start + at + len(piece)
            self._out.write(piece)
            self._out.flush()

    def _is_of_another_job(self):
        """Whether the file has another name by now: a log that stayed empty becomes that of another job (see execution.log_file)."""
        ours = os.fstat(self._log)
        try:
            return not os.path.samestat(os.stat(self._path), ours) and ours.st_nlink > 0
        except FileNotFoundError:
            return ours.st_nlink > 0

    def close(self):
        """Close the file."""
        if self._log is not None:
            os.close(self._log)
            self._log = None


def _start_of_last(log, lines):
    """Where the last so many lines of a file start, by its descriptor. A newline at the end of the file closes its last line."""
    end = os.fstat(log).st_size - 1
    while end > 0:
        start = max(0, end - (1 << 16))
        before, *behind = pread(log, end - start, start).rsplit(b"\n", lines)
        if len(behind) == lines:
            return start + len(before) + 1
        lines, end = lines - len(behind), start
    return 0


class _Followed:
    """A job whose output is copied as it grows, over its attempts. `look` copies what is new; `completed` says in the end how it ended.
    `telling` says that headers are wanted."""

    def __init__(self, queue, job, lines, out, telling):
        self.job = job
        self._name = "" if out.prefix else job.id + ", "
        self.completed = False
        self._queue, self._lines, self._out, self._telling = queue, lines, out, telling
        self._attempt, self._log = 0, None
        self._failed = 0  # the attempt of which was told that it failed and another one follows

    def look(self, now):
        """Copy what is new; `now` is the job as it is now, None if it is gone. Whether it goes on."""
        newest = (now or self.job).attempts
        for number in range(self._attempt or self.job.attempts, newest + 1):  # also those that began and ended meanwhile
            if number and number != self._attempt:
                self._close()
                self._attempt, self._log = number, _GrowingLog(log_path(self._queue.home, self.job, number), self._out)
                if self._telling:
                    self._out.say("%sattempt %d" % (self._name, number))
        if self._log is not None:
            self._log.copy(self._lines)
            self._lines = None
        if now is not None and now.state in (PENDING, PROCESSING):
            self.job = now
            self._tell_of_retry(now)
            return True
        self._close()
        self.completed = now is not None and now.state == COMPLETED
        if self._telling:
            self._out.say(self._name + ("it was removed" if now is None else _told(self._queue, now, now.attempts)))
        elif now is None:
            notice("%r was removed; how it ended is not known" % self.job.id)
        return False

    def _tell_of_retry(self, job):
        if self._telling and job.state == PENDING and job.reason is not None and job.attempts not in (0, self._failed):
            self._log.copy()
            self._failed = job.attempts
            self._out.say(self._name + _told(self._queue, job, job.attempts))

    def _close(self):
        if self._log is not None:
            self._log.copy()
            self._log.close()
            self._log = None


def follow(queue, jobs, lines=None):
    """Print what jobs write until all have ended, from the last `lines` on (None: all): 0 if all completed, 1 if one died or is gone."""
    telling = len(jobs) != 1 or is_terminal(sys.stdout)
    if not queue.store.settings.save_output:
        notice("the setting save_output is false, so that what jobs write now is not kept")
    going_on = followed = [_Followed(queue, job, lines, out, telling) for job, out in zip(jobs, _outputs(jobs))]
    told = False
    while going_on:
        now = queue.store.refresh_all([each.job for each in going_on])
        going_on = [each for each, job in zip(going_on, now) if each.look(job)]
        if going_on and not told:
            tell_of_hindrances(queue, [each.job for each in going_on])
            told = True
        if going_on:
            time.sleep(LOOK_AGAIN)
    return 0 if all(each.completed for each in followed) else EXIT_FAILED


def _outputs(jobs):
    """An _Output for each of these jobs: plain for one, else with its name before each line."""
    if len(jobs) == 1:
        return [_Output()]
    names = [showable(job.id) for job in jobs]
    width, colored = max(map(display_width, names), default=0), use_color()
    colors = [_COLORS[number % len(_COLORS)] if colored else None for number in range(len(names))]
    painted = [paint(name, color) + " " * (width - display_width(name)) for name, color in zip(names, colors)]
    return [_Output(_encoded("%s | " % shown)) for shown in painted]


def _encoded(text):
    return text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
