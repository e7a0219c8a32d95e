"""What each command does: `cmd_x(args, queue) -> exit code`. Results go to stdout, remarks to stderr; faults are raised."""
from __future__ import annotations

import os
import sys
import time

from helpers import (DEFAULTS, SETTINGS, JsonError, QueueError, UsageError, check_owner, check_setting, decode_json, decode_json_at,
                     decode_utf8, encode_json, format_time, load_settings, parse_time, printable, printable_json, read_config,
                     save_setting, setting_named, settings_from, skip_whitespace, split_words)
from job import CANCELLED, COMPLETED, DEAD, PENDING, PROCESSING, InvalidJob, given_up, jobs_meant
from job_choice import Choice
from job_file import NotConfirmed, StorageFault, remove_quietly
from job_format import STATES, CorruptFile
from job_manager import JobManager, JobRefused
from system import EDITOR, quote_words
from terminal import (Follower, Progress, bar, bars, copy_to_stdout, display_width, fit, get_width, is_terminal, knows_unicode, length,
                      paint_state, showable, table, use_color, watch, when)

_EXAMPLE = "queuectl enqueue '{\"id\": \"job1\", \"command\": \"echo Hello\"}', or: queuectl enqueue --id job1 -- echo Hello"


_LOOK_AGAIN = 0.1  # seconds between two looks at a job that is waited for


class Queue:
    """One home, and what the commands need of it; each part is made when it is first asked for."""

    def __init__(self, home):
        self.home = home
        self.config_path = os.path.join(home, "config.json")
        self._jobs = None

    def path(self, name):
        """A path in the home."""
        return os.path.join(self.home, name)

    @property
    def settings(self):
        """The settings as config.json has them now. Keys that are none are kept, with a warning."""
        record = read_config(self.config_path)
        for key in record:
            if key not in DEFAULTS._fields:
                notice("%s: there is no setting %s; it is ignored" % (self.config_path, encode_json(key)))
        return settings_from(record, self.config_path)

    @property
    def jobs(self):
        """The JobManager of this home."""
        if self._jobs is None:
            self._refuse_links()
            self._jobs = JobManager(self.home, self.settings, notice)
        return self._jobs

    @property
    def workers(self):
        """The WorkerManager of this home."""
        from worker_manager import WorkerManager
        self._refuse_links()
        return WorkerManager(self.home, self.config_path)

    def _refuse_links(self):
        """Raise QueueError if a folder of ours is a link: root, who has more rights than those who can write the home, would change files
        elsewhere for them."""
        for name in ("run", "logs"):
            if os.path.islink(self.path(name)):
                raise QueueError("%s is a link, and must be a folder of its own: move it away (the home itself may be a link)"
                                 % self.path(name))


def notice(message):
    """A remark for the user that is no error."""
    sys.stderr.write("queuectl: %s\n" % printable(message))
    sys.stderr.flush()


def json_text(value):
    """JSON as people read it."""
    import json
    return printable_json(json.dumps(value, indent=2, ensure_ascii=False), not knows_unicode())


def _print_json(value):
    print(json_text(value))


def _print_json_array(records):
    """A JSON array, an element a line, as they come."""
    first, ascii_only = True, not knows_unicode()
    for record in records:
        sys.stdout.write(("[\n" if first else ",\n") + printable_json(encode_json(record), ascii_only))
        first = False
    print("[]" if first else "\n]")


def _counted(number, noun, plural="s"):
    return "%d %s%s" % (number, noun, "" if number == 1 else plural)


# ---------------------------------------------------------------- inside of a job

def _own_job(queue):
    """The job of this queue that this command is a part of, or None. Its variables alone do not tell: what a job has left in the background
    keeps them, so that the job must still run under their token."""
    token, home = os.environ.get("QUEUECTL_WORKER"), os.environ.get("QUEUECTL_HOME")
    if not token or not home or not os.environ.get("QUEUECTL_JOB_ID") or not _is_same_folder(home, queue.home):
        return None
    jobs = JobManager(queue.home, DEFAULTS, notice)  # config.json may be broken, which keeps nobody from stopping workers
    return next((job for job in jobs.running() if job.worker == token), None)


def _is_same_folder(one, other):
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _refuse_in_job(queue, what, way_out, waits_for=lambda job: True):
    """Raise QueueError if this command is a part of a job of this queue, and `waits_for(job)`: it would never end. `way_out` says what
    helps instead."""
    job = _own_job(queue)
    if job is not None and waits_for(job):
        raise QueueError("%s inside of a job, here %r, would wait for ever for that job itself; %s" % (what, job.id, way_out))


def _held_up_by(queue, own):
    """The keys of the jobs that cannot end before this running one: itself, and those that come after it. While it runs it is meant by
    all that name its id (`jobs_meant`), also by those that were added before it."""
    keys, ids = {own.key}, {own.id}
    later = list(queue.jobs.jobs((PENDING,), b', "after": '))
    while True:
        found = [job for job in later if job.key not in keys and not ids.isdisjoint(job.after)]
        if not found:
            return keys
        keys.update(job.key for job in found)
        ids.update(job.id for job in found)


# ---------------------------------------------------------------- adding

class _Records:
    """The jobs in a text: a JSON array of them, or one after another (JSON Lines, or spread over lines). Iterate once."""

    def __init__(self, text, source, progress=None):
        self._text = text
        self._source = source
        self._at = 0
        self._progress = progress

    @property
    def is_array(self):
        """Whether it is an array, as a job file is."""
        return self._text.startswith("[", skip_whitespace(self._text, 0))

    def __iter__(self):
        text, array = self._text, self.is_array
        at = skip_whitespace(text, 0)
        at = skip_whitespace(text, at + 1) if array else at
        number = 0
        while at < len(text) and not (array and text[at] == "]"):
            self._at = at
            record, at = decode_json_at(text, at)
            yield record
            number += 1
            if self._progress is not None and not number % 20000:
                self._progress.say("%d jobs read" % number)
            at = skip_whitespace(text, at)
            if array and text[at:at + 1] == ",":
                at = skip_whitespace(text, at + 1)
            elif array and text[at:at + 1] != "]":
                raise JsonError("expected ',' or ']'", text, at)
        if array and text[at:].strip() != "]":
            raise JsonError("extra text after the closing ]" if at < len(text) else "the closing ] is missing", text,
                            min(at + 1, len(text)))

    def fault(self, error):
        """An error about the record at hand, with its place."""
        if isinstance(error, JsonError):
            return UsageError("%s, %s; nothing was added" % (self._source, error))
        return UsageError("%s, %s; nothing was added" % (self._source, JsonError(str(error), self._text, self._at)))


def cmd_enqueue(args, queue):
    """Add one job or many."""
    check_owner([queue.home, queue.path("jobs.json")])
    progress = Progress()
    records, source = _requested(args, progress)
    single = source is None
    ended: list = []
    if source is not None and source.is_array:
        records = _without_ended(records, ended)
    try:
        ids = queue.jobs.enqueue(_with_options(records, _options(args)), _current_folder(), time.time(), args.unique)
    except (InvalidJob, JsonError) as error:
        if source is None:
            raise
        raise source.fault(error) from None
    except JobRefused as error:
        raise JobRefused("%s; nothing was added" % error) from None
    finally:
        progress.clear()
    if ended:
        notice("%s that had ended %s left out; 'queuectl retry' brings dead ones of this queue back"
               % (_counted(len(ended), "job"), "was" if len(ended) == 1 else "were"))
    if args.quiet:
        for job_id in ids:
            print(printable(job_id))
    elif single:
        print("Job '%s' added to the queue." % printable(ids[0]))
    else:
        print("%s added to the queue." % _counted(len(ids), "job"))
    return 0


def _requested(args, progress):
    """The records to add, and the _Records they come from, if any."""
    ways = [args.job is not None, args.file is not None, args.words is not None]
    if sum(ways) != 1:
        raise UsageError("say what to add in one way: %s; or a file: queuectl enqueue --file JOBS" % _EXAMPLE)
    if args.words is not None:
        if not args.words:
            raise UsageError("there is no command after --; write for example: queuectl enqueue --id job1 -- echo Hello")
        return [_from_words(args)], None
    if args.id is not None:
        raise UsageError("--id goes with a command after --, as in: queuectl enqueue --id job1 -- echo Hello")
    if args.job is not None and args.job != "-":
        return _from_json(args.job)
    path = args.file if args.job is None else "-"
    try:
        if path == "-":
            source, content = "standard input", sys.stdin.buffer.read()
        else:
            source = path
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        raise UsageError("cannot read %s: %s" % (path, error.strerror)) from None
    try:
        records = _Records(decode_utf8(content), source, progress)
    except JsonError as error:
        raise UsageError("%s, %s; nothing was added" % (source, error)) from None
    return records, records


def _from_words(args):
    command = args.words[0]
    if len(args.words) > 1:
        command = quote_words(args.words)
    return {"id": os.urandom(4).hex() if args.id is None else args.id, "command": command}


def _options(args):
    """The fields that options ask for; they hold for the jobs that do not name them themselves."""
    fields = {"priority": args.priority, "timeout": args.timeout, "run_at": args.at, "delay": args.delay, "after": args.after,
              "max_retries": args.max_retries, "backoff_base": args.backoff_base, "backoff_max": args.backoff_max, "cwd": args.cwd,
              "runner": args.runner}
    if args.cwd is not None:
        fields["cwd"] = os.path.abspath(args.cwd)
    if args.env:
        fields["env"] = dict(_env_pair(text) for text in args.env)
    return {name: value for name, value in fields.items() if value is not None}


def _env_pair(text):
    name, equals, value = text.partition("=")
    if not equals and name not in os.environ:
        raise UsageError("--env %s: there is no such variable to copy; write --env %s=VALUE" % (name, name))
    return name, value if equals else os.environ[name]


def _without_ended(records, ended):
    """The records of a job file but for those of jobs that have ended, whose ids go to the list `ended`."""
    for record in records:
        if type(record) is dict and record.get("state") in (COMPLETED, DEAD):
            ended.append(record.get("id"))
        else:
            yield record


def _with_options(records, options):
    for record in records:
        yield dict(options, **record) if options and type(record) is dict else record


def _from_json(text):
    try:
        value = decode_json(text)
    except JsonError as error:
        raise UsageError("this is not JSON (%s); write %s" % (error, _EXAMPLE)) from None
    if type(value) is not list:
        return [value], None
    records = _Records(text, "the list of jobs")
    return records, records


def _current_folder():
    try:
        return os.getcwd()
    except OSError:
        raise QueueError("the current folder is gone; change to another one") from None


# ---------------------------------------------------------------- looking

def cmd_list(args, queue):
    """Show the jobs, or those that were asked for."""
    jobs = queue.jobs.jobs(args.state)
    if args.search is not None:
        jobs = (job for job in jobs if args.search in job.command or args.search in job.id)
    if args.sort is not None:
        jobs = sorted(jobs, key=lambda job: (getattr(job, args.sort) is not None, getattr(job, args.sort)), reverse=args.reverse)
    elif args.reverse:
        jobs = reversed(list(jobs))
    if args.limit is not None:
        from itertools import islice
        jobs = islice(jobs, args.limit)
    if args.json:
        _print_json_array(job.to_dict() for job in jobs)
    elif args.jsonl:
        for job in jobs:
            print(printable_json(encode_json(job.to_dict()), not knows_unicode()))
    elif args.quiet:
        for job in jobs:
            print(printable(job.id))
    else:
        table(("ID", "STATE", "ATTEMPTS", "UPDATED", "COMMAND"),
              ((job.id, job.state, str(job.attempts), when(job.updated_at, args.utc), job.command) for job in jobs),
              use_color(os.environ, args.color))
    return 0


def cmd_show(args, queue):
    """Print all of a job as JSON."""
    found = queue.jobs.find(args.id)
    if len(found) > 1:
        notice("%d jobs have the id %r; this is the newest" % (len(found), args.id))
    _print_json(dict(found[-1].to_dict(), duration=found[-1].duration))
    return 0


def cmd_status(args, queue):
    """Count the jobs in each state, and the workers."""
    if args.json:
        facts = _status(queue)
        del facts["running_jobs"]
        _print_json(facts)
    elif args.watch is not None:
        watch(lambda: _status_lines(queue, args), args.watch)
    else:
        for line in _status_lines(queue, args):
            print(line)
    return 0


def _status(queue):
    """What `status` tells, as an object; `running_jobs` are Jobs."""
    counts = queue.jobs.count()
    running = queue.workers.running()
    now = time.time()
    ended, over = queue.jobs.ended_lately(now) if running else (0, 60.0)
    rate = 60.0 * ended / over if ended else 0.0
    left = counts["pending"] + counts["processing"]
    return dict(counts, total=sum(counts.values()), workers=sum(worker.count for worker in running),
                worker_processes=[worker.pid for worker in running], paused=queue.jobs.paused(), jobs_per_minute=round(rate, 1),
                seconds_left=round(60.0 * left / rate) if rate and left else None, home=queue.home,
                running_jobs=queue.jobs.running() if counts["processing"] else [])


def _status_lines(queue, args):
    """What `status` prints."""
    facts = _status(queue)
    color, window = use_color(os.environ, args.color), get_width() if is_terminal(sys.stdout) else 0
    width = len(str(facts["total"]))
    lines = []
    for name in STATES + ("total",):
        start = "%-10s  %*d" % (name, width, facts[name])
        room = min(20, window - len(start) - 2)
        bars_shown = "  " + bar(facts[name], facts["total"], room) if room > 0 and name != "total" else ""
        lines.append(paint_state(_cut(start + bars_shown, window), name, color))
    told = ["%-10s  %*d%s" % ("workers", width, facts["workers"], "  (pid %s)" % ", ".join(map(str, facts["worker_processes"]))
                              if facts["workers"] else "")]
    for job in facts["running_jobs"][:10]:
        since = length(time.time() - parse_time(job.started_at or job.updated_at))
        told.append("running     %s, for %s: %s" % (job.id, since, job.command))
    if len(facts["running_jobs"]) > 10:
        told.append("            and %d more" % (len(facts["running_jobs"]) - 10))
    if facts["jobs_per_minute"]:
        left = ", %s left at this rate" % length(facts["seconds_left"]) if facts["seconds_left"] else ""
        told.append("speed       %g jobs a minute%s" % (facts["jobs_per_minute"], left))
    if facts["paused"]:
        told.append("paused      yes; 'queuectl resume' lets workers take jobs again")
    told.append("home        %s" % queue.home)
    return lines + [_cut(showable(line), window) for line in told]


def _cut(line, window):
    return fit(line, window).rstrip() if window and display_width(line) > window else line


def cmd_stats(args, queue):
    """Figures about the jobs that have ended."""
    from stats import figures
    facts = figures(queue.jobs.jobs((COMPLETED, DEAD)), time.time())
    if args.json:
        _print_json(facts)
        return 0
    if not facts["completed"] + facts["dead"]:
        print("No job has ended yet.")
        return 0
    print("%-13s %.1f %%  (%d completed, %d dead)" % ("success", 100 * facts["success_rate"], facts["completed"], facts["dead"]))
    print("%-13s %.2f a job" % ("attempts", facts["attempts_per_job"]))
    for name, title in (("run_time", "run time"), ("waiting_time", "waiting time")):
        if facts[name]["max"] is not None:
            print("%-13s %s" % (title, "  ".join("%s %.2f s" % pair for pair in facts[name].items())))
    most = max(facts["per_minute"])
    if most:
        print("ended in each of the last %d minutes, %d at the most:" % (len(facts["per_minute"]), most))
        print("  " + bars(facts["per_minute"]))
    return 0


def cmd_logs(args, queue):
    """Print what a job wrote, byte for byte."""
    from job_runner import logs_of
    job = queue.jobs.find(args.id)[-1] if args.id is not None else _latest(queue.jobs)
    if args.follow and (args.attempt is not None or args.all):
        raise UsageError("-f follows from the newest attempt on; it goes with neither --attempt nor --all")
    if args.follow:
        _refuse_in_job(queue, "logs -f", "without -f it prints what there is so far", lambda own: job.key in _held_up_by(queue, own))
        return _follow(args, queue, job)
    logs = kept = logs_of(queue.home, job)
    if not args.all:
        wanted = job.attempts if args.attempt is None else args.attempt
        logs = [log for log in kept if log.life is None and log.attempt == wanted]
    if not logs:
        _tell_of_nothing(job, kept)
    for log in logs:
        if args.all:
            life = "" if log.life is None else " before retry %d" % log.life
            print("==> %s, attempt %d%s <==" % (printable(job.id), log.attempt, life))
        copy_to_stdout(log.path, args.lines)
    return 0


def _tell_of_nothing(job, kept):
    """Say that there is no output, where there are only these Logs."""
    since = " since it was brought back" if any(log.life is not None for log in kept) else ""
    unrun = "" if job.attempts else "; it has not run yet" if not since else "; it has not run since"
    others = "; 'queuectl logs %s --all' prints what other attempts wrote" % quote_words([job.id]) if kept else ""
    notice("%r has written nothing%s%s%s" % (job.id, since, unrun, others))


def _follow(args, queue, job):
    """Print what a job writes until it has ended: 0 if it completed, 1 if it died or is gone."""
    from job_runner import log_path
    attempt, lines, follower = 0, args.lines, None
    while True:
        now = queue.jobs.refresh(job)
        for number in range(attempt or job.attempts, (now or job).attempts + 1):  # also those that began and ended meanwhile
            if number and number != attempt:
                if follower is not None:
                    follower.copy()
                    follower.close()
                attempt, follower = number, Follower(log_path(queue.home, job, number))
        if follower is not None:
            follower.copy(lines)
            lines = None
        if now is None or now.state in (COMPLETED, DEAD):
            return 0 if now is not None and now.state == COMPLETED else 1
        job = now
        time.sleep(_LOOK_AGAIN)


def cmd_wait(args, queue):
    """Wait until jobs have ended: 0 if all completed, 1 if some died, 124 if it took too long."""
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    since = format_time(time.time())
    waiting = [job for of_one in queue.jobs.find_all(args.ids) for job in jobs_meant(of_one)]
    if deadline is None:
        _refuse_in_job(queue, "wait" if args.ids else "wait without ids", "name jobs that do not come after it, or give a --timeout",
                       lambda own: not args.ids or not _held_up_by(queue, own).isdisjoint(job.key for job in waiting))
    _remind_of_workers(queue)
    died, mark, left = False, None, 1
    with Progress() as progress:
        while True:
            changed, mark = queue.jobs.changed_since(mark)
            if changed and args.ids:
                now = queue.jobs.refresh_all(waiting)
                died = died or any(job is None or job.state == DEAD for job in now)
                waiting = [job for job in now if job is not None and job.state not in (COMPLETED, DEAD)]
                left = len(waiting)
            elif changed:
                counts = queue.jobs.count()
                left = counts["pending"] + counts["processing"]
            if not left:
                break
            progress.show(left)
            if deadline is not None and time.monotonic() >= deadline:
                progress.clear()
                notice("%s still unfinished after %g s" % (_counted(left, "job"), args.timeout))
                return 124
            time.sleep(_LOOK_AGAIN)
    if not args.ids:
        died = any(job.updated_at >= since for job in queue.jobs.jobs((DEAD,)) if job.updated_at)
    return 1 if died else 0


def _remind_of_workers(queue):
    if is_terminal(sys.stderr) and not queue.workers.running():
        notice("no worker is running; 'queuectl worker start' runs what is in the queue")


def _latest(jobs):
    latest = max((job for job in jobs.jobs() if job.started_at), key=lambda job: job.started_at, default=None)
    if latest is None:
        raise QueueError("no job has run yet; 'queuectl worker start' runs those in the queue")
    return latest


# ---------------------------------------------------------------- workers

def cmd_worker_start(args, queue):
    """Be a worker process, or start one in the background."""
    from system import remote_file_system
    from worker_manager import check_open_files, check_safe
    check_safe([queue.home, queue.path("jobs.json"), queue.config_path])
    check_open_files(args.count)
    if args.drain and queue.jobs.paused():
        raise QueueError("the queue is paused, so that nothing would be drained; 'queuectl resume' first")
    if args.drain and not args.detach:
        _refuse_in_job(queue, "worker start --drain", "add --detach, or name another queue by --home")
    queue.jobs.count()  # what is broken is better said now than by a worker that waits for its repair
    remote = remote_file_system(queue.home)
    if remote:
        notice("warning: %s is on a file system of another machine (%s), where locks may not hold; run workers and commands on one machine "
               "alone, better with --home on a disk of its own" % (queue.home, remote))
    workers = _counted(args.count, "worker")
    if args.detach:
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
        command = [sys.executable, program, "--home", queue.home, "worker", "start", "--count", str(args.count)]
        command += [] if args.runner is None else ["--runner", encode_json(args.runner)]
        pid = queue.workers.detach(command + ["--drain"] * args.drain, _without_job(os.environ))
        print("Worker process %d started: %s, home %s, log %s" % (pid, workers, queue.home, queue.path(os.path.join("run", "worker.log"))))
        return 0
    print("Worker process %d: %s, home %s. Ctrl+C or 'queuectl worker stop' ends it." % (os.getpid(), workers, printable(queue.home)))
    sys.stdout.flush()
    return queue.workers.start(queue.jobs, args.count, args.drain, os.environ, args.runner)


def _without_job(environ):
    """An environment without what tells a job's processes from others."""
    return {name: value for name, value in environ.items() if not name.startswith("QUEUECTL_")}


def cmd_worker_stop(args, queue):
    """Ask all worker processes to end, and wait until they have."""
    if args.timeout is None and not args.no_wait:
        way_out = "with --no-wait it only asks: the workers end once their jobs have"
        if not args.now:
            _refuse_in_job(queue, "worker stop", way_out)
        if os.environ.get("QUEUECTL_STATE") and _is_same_folder(os.environ.get("QUEUECTL_HOME", ""), queue.home):
            raise QueueError("worker stop inside of on_finish would wait for the worker that waits for it; %s" % way_out)
    stopped, left = queue.workers.stop(args.now, 0 if args.no_wait else args.timeout)
    if args.no_wait and left:
        print("Asked %s to stop." % _counted(len(stopped) + len(left), "worker process", "es"))
        return 0
    if left:
        notice("after %g s %s still run%s (pid %s)%s" % (args.timeout, _counted(len(left), "worker process", "es"),
               "s" if len(left) == 1 else "", ", ".join(str(worker.pid) for worker in left),
               "" if args.now else "; 'queuectl worker stop --now' ends the jobs they wait for"))
        return 124
    print("Stopped %s." % _counted(len(stopped), "worker process", "es") if stopped
          else "No worker is running.")
    return 0


def cmd_worker_list(args, queue):
    """Show the worker processes and what each runs."""
    running = {}
    for job in queue.jobs.running():
        running.setdefault((job.worker or "").rpartition("-")[0], []).append(job.id)
    workers = queue.workers.running()
    if args.json:
        _print_json([{"pid": worker.pid, "workers": worker.count, "started_at": worker.started_at,
                      "running": running.get(worker.token, [])} for worker in workers])
        return 0
    if not workers:
        notice("no worker is running; 'queuectl worker start' starts one")
    table(("PID", "WORKERS", "STARTED", "RUNNING"),
          ((str(worker.pid), str(worker.count), when(worker.started_at, args.utc), " ".join(running.get(worker.token, ["-"])))
           for worker in workers))
    return 0


def cmd_edit(args, queue):
    """Open a pending job in an editor, and write it back."""
    import subprocess
    import tempfile
    job = queue.jobs.find(args.id)[-1]
    if job.state != PENDING:
        raise QueueError("job %r is %s; only a pending one can be edited" % (args.id, job.state))
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR
    text = json_text(dict(job.fields(), run_at=job.run_at)) + "\n"
    descriptor, path = tempfile.mkstemp(prefix="queuectl-", suffix=".json")
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("utf-8"))
    if subprocess.run("%s %s" % (editor, quote_words([path])), shell=True, check=False).returncode:
        raise QueueError("the editor (%s) failed; nothing was changed, the text is in %s" % (editor, path))
    with open(path, "rb") as file:
        content = file.read()
    try:
        edited = decode_json(decode_utf8(content))
        if content == text.encode("utf-8"):
            print("Job '%s' is as it was." % printable(job.id))
        else:
            queue.jobs.edit(job, edited, time.time())
            print("Job '%s' changed." % printable(job.id))
    except (StorageFault, NotConfirmed) as error:  # it says itself what was changed
        error.args = ("%s; your text is in %s" % (error.args[0], path),)
        raise
    except QueueError as error:
        error.args = ("%s; nothing was changed, your text is in %s" % (error, path),)
        raise
    remove_quietly(path)
    return 0


def cmd_completion(args, queue):
    """Print a shell's completion script, or what may follow some words."""
    import completion
    if args.words_so_far is not None:
        home, _ = completion.home_in(args.words_so_far)
        for word in completion.candidates(args.words_so_far, Queue(os.path.abspath(home)).jobs if home else queue.jobs):
            print(word)
    elif args.shell is None:
        raise UsageError("which shell: bash, zsh or fish? For bash: source <(queuectl completion bash)")
    else:
        print(completion.SCRIPTS[args.shell], end="")
    return 0


def cmd_cancel(args, queue):
    """Take jobs out of the queue, and end those that run."""
    from job_runner import last_lines, log_path
    done = queue.jobs.cancel(args.ids, time.time(), lambda job: last_lines(log_path(queue.home, job, job.attempts)))
    if any(job.state == PROCESSING for job in done):
        queue.jobs.wake_workers()
    for job in done:
        print("Job '%s' cancelled%s." % (printable(job.id), "; its worker ends it" if job.state == PROCESSING else ""))
    return _announce(queue, [given_up(job, CANCELLED, time.time()) for job in done])


def _announce(queue, jobs):
    """Run on_finish for cancelled jobs: 0, or 1 if it could not be started for one of them."""
    from job_runner import announce_once
    code = 0
    for job in jobs if queue.jobs.settings.on_finish else ():
        try:
            announce_once(queue.jobs.settings.on_finish, job, queue.home, os.environ)
        except OSError as error:
            code = 1
            notice("on_finish could not be run for %r: %s" % (job.id, error.strerror or error))
    return code


def cmd_pause(args, queue):
    """Let workers take no new jobs."""
    queue.jobs.pause()
    print("Paused: workers take no new jobs until 'queuectl resume'.")
    return 0


def cmd_resume(args, queue):
    """Let workers take jobs again."""
    was_paused = queue.jobs.paused()
    queue.jobs.resume()
    queue.jobs.wake_workers()
    print("Resumed." if was_paused else "It was not paused.")
    return 0


# ---------------------------------------------------------------- the dead letter queue, and removing

def cmd_dlq_list(args, queue):
    """Show the dead jobs, and why they died."""
    jobs = queue.jobs.dead()
    if args.json:
        _print_json_array(job.to_dict() for job in jobs)
        return 0
    table(("ID", "ATTEMPTS", "FAILED", "REASON", "COMMAND"),
          ((job.id, str(job.attempts), when(job.options.get("failed_at") or job.updated_at, args.utc), job.ending, job.command)
           for job in jobs))
    return 0


def _choice(args):
    """Which jobs a command is about."""
    every = getattr(args, "all", False)
    if bool(args.ids) == every and hasattr(args, "all"):
        raise UsageError("say which jobs: ids, or --all")
    older = getattr(args, "older_than", None)
    return Choice(args.ids or None, None if older is None else format_time(time.time() - older))


def cmd_retry(args, queue):
    """Bring dead jobs back into the queue."""
    from job_runner import set_aside_logs
    ids = queue.jobs.retry(_choice(args), time.time(), lambda jobs: set_aside_logs(queue.home, jobs))
    if len(ids) == 1:
        print("Job '%s' is back in the queue." % printable(ids[0]))
    else:
        print("%s back in the queue." % _counted(len(ids), "job"))
    return 0


def _remove_output(queue, jobs):
    from job_runner import remove_logs
    remove_logs(queue.home, jobs)


def _removed(queue, jobs):
    print("Removed %s." % _counted(len(jobs), "job"))
    try:
        _remove_output(queue, jobs)
    except OSError as error:
        raise QueueError("the jobs are removed, but not all of their output: %s: %s" % (error.filename, error.strerror)) from None
    return 0


def cmd_dlq_purge(args, queue):
    """Remove dead jobs for good."""
    return _removed(queue, queue.jobs.purge(_choice(args), lambda jobs: _remove_output(queue, jobs)))


def cmd_clean(args, queue):
    """Remove finished jobs and their output."""
    return _removed(queue, queue.jobs.clean(args.state, _choice(args), lambda jobs: _remove_output(queue, jobs)))


def cmd_reset(args, queue):
    """Remove all jobs, the dead letter queue and all output."""
    if not args.yes:
        raise UsageError("reset removes all jobs, the dead letter queue and all output; say so with: queuectl reset --yes")
    _refuse_in_job(queue, "reset", "it needs all workers to have ended; call it from outside of a job")
    queue.workers.refuse_if_running("reset")
    queue.jobs.reset()
    from shutil import rmtree
    rmtree(queue.path("logs"), ignore_errors=True)
    print("Removed all jobs.")
    return 0


def cmd_doctor(args, queue):
    """Look over every file; with --repair, save what can be read of a broken job file."""
    import doctor
    from worker_manager import WorkerManager
    jobs = JobManager(queue.home, DEFAULTS, notice)  # config.json may be what is broken
    code = 0
    for finding in doctor.examine(queue.home, jobs, WorkerManager(queue.home, queue.config_path)):
        if finding.sound:
            print(printable("%s %s" % (finding.name, finding.text)))
        elif args.repair and finding.repairable:
            code = _repair(finding, queue, jobs) or code
        else:
            code = 1
            print(printable("%s: %s" % (finding.name, finding.text)))
    return code


def _repair(finding, queue, jobs):
    """Repair one job file: 0 if nothing of it was lost."""
    import doctor
    try:
        try:
            jobs.tidy(finding.name)
            jobs.examine(finding.name)
            print(printable("%s: mended; before, %s" % (finding.name, finding.text)))
            return 0
        except CorruptFile:
            copy, saved, lost = doctor.repair(queue.path(finding.name), jobs)
    except (QueueError, OSError) as error:
        print(printable("%s: cannot be repaired: %s" % (finding.name, error)))
        return 1
    print(printable("%s: saved %s; the file as it was is %s" % (finding.name, _counted(saved, "job"), copy)))
    for sentence in lost:
        print(printable("%s: could not read %s" % (finding.name, sentence)))
    return 1 if lost else 0


# ---------------------------------------------------------------- settings

def cmd_config(args, queue):
    """Show or change settings."""
    if args.action == "set":
        return _config_set(args, queue)
    settings = load_settings(queue.config_path)
    if args.key is not None:
        value = getattr(settings, setting_named(args.key).name)
        print(encode_json({setting_named(args.key).name: value}) if args.json else encode_json(value))
    elif args.json:
        _print_json(settings._asdict())
    else:
        table(("SETTING", "VALUE", "MEANING"),
              ((setting.name, encode_json(getattr(settings, setting.name)), setting.meaning) for setting in SETTINGS))
    return 0


def _config_set(args, queue):
    setting = setting_named(args.key)
    try:
        value = decode_json(args.value)
    except JsonError:
        value = args.value
    if setting.type is str and value is not None and type(value) is not str:
        value = args.value
    elif setting.type is list and type(value) is str:
        value = split_words(value)
    check_setting(setting, value)
    with queue.jobs.locked():
        save_setting(queue.config_path, setting, value)
    print("%s = %s" % (setting.name, encode_json(value)))
    return 0
