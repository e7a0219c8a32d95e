"""`enqueue`: adds the jobs that a command line, a JSON text or a file describes."""
from __future__ import annotations

import os
import sys
import time

from cli.context import current_folder, notice, tell_of_standstill
from cli.options import NO_LIMIT
from cli.terminal import counted, is_terminal
from core.errors import InvalidJob, JobRefused, JsonError, QueueError, UsageError, hint, typed
from core.home import check_owner, jobs_path
from core.job import COMPLETED, DEAD, EXAMPLE, HELD
from core.new_job import TIMED, without_inherited
from core.strict_json import decode_json, encode_json
from core.system import quote_words
from core.times import format_duration, parse_time
from helpers import printable


def _example():
    """Both ways to write a job; cmd.exe knows the first one alone."""
    return "%s, or: %s" % (typed("enqueue --id job1 -- echo Hello"), typed("enqueue '%s'" % EXAMPLE))


def cmd_enqueue(args, queue):
    """Add one job or many."""
    queue.establish()
    check_owner([queue.home, jobs_path(queue.home)])
    records, ended = _requested(args, queue), []
    source = None if type(records) is list else records
    if source is not None and source.is_array:
        records = _without_ended(records, ended)
    keep = queue.store.settings.keep_env if args.keep_env is None else args.keep_env
    try:
        added = queue.jobs.enqueue(_filled_in(records, job_fields(args), keep), current_folder(), time.time(), args.unique)
    except (InvalidJob, JsonError) as error:
        if source is None:
            raise
        raise source.fault(error) from None
    except JobRefused as error:
        raise JobRefused("%s; nothing was added." % error) from None
    finally:
        if source is not None:
            source.close()
    if ended:
        notice("%s that had ended %s left out; %s brings dead ones of this queue back"
               % (counted(len(ended), "job"), "was" if len(ended) == 1 else "were", hint("retry")))
    try:
        _tell(added, source is None, args)
    except OSError as error:
        raise QueueError("%s added, but stdout cannot be written: %s" % (counted(len(added.ids), "job"), error.strerror)) from None
    if args.wait or args.follow:
        return _wait_for(added.jobs(), queue, args)
    if added.ids and not args.quiet and is_terminal(sys.stdout):
        tell_of_standstill(queue, added.has_worker)
    return 0


def _wait_for(jobs, queue, args):
    """Wait until the jobs that were added have ended, and print what they write if that is wanted: the exit code."""
    from cli.own_job import refuse_in_job
    from cli.waiting import NamedJobs, wait_for
    refuse_in_job(queue, "enqueue --wait", "it is added, and runs after that", jobs)
    if args.follow:
        from cli.logs import follow
        if follow(queue, jobs) == 0:
            return 0
    return wait_for(queue, NamedJobs(queue.store, jobs))


def _tell(added, single, args):
    """Print what was added, and be sure that it is written."""
    if args.quiet:
        for job_id in added.ids:
            print(printable(job_id))
    else:
        who = "Job '%s'" % printable(added.ids[0]) if single else counted(len(added.ids), "job")
        made = " (%s)" % printable(" to ".join(added.ids[:1] + added.ids[1:][-1:])) if args.lines is not None and added.ids else ""
        print("%s added%s%s." % (who, _time_told(added, args.at) or " to the queue", made))
    sys.stdout.flush()


def _time_told(added, at):
    """When the added jobs run, as the end of a sentence; "" if they may run at once, and no option `at` says otherwise."""
    if added.run_at is None:
        return ""
    from core.local_times import tell_time
    moment, now = parse_time(added.run_at), time.time()
    if added.run_at == HELD:
        one = len(added.ids) == 1
        return "; %s held until %s" % ("it is" if one else "they are", hint("release", *added.ids) if one else hint("release --all"))
    they = "it runs" if len(added.ids) == 1 else "they run"
    if moment > now:
        return "; %s at %s (in %s)" % (they, tell_time(moment, now), format_duration(moment - now))
    return "; %s at once, since %s is past" % (they, tell_time(moment, now)) if at is not None else ""


def _requested(args, queue):
    """The record to add that was typed, in a list; or a source of `cli.sources`."""
    path = _settle_short_f(args)
    ways = [args.job is not None, path is not None, args.lines is not None, args.words is not None]
    if sum(ways) != 1:
        raise UsageError("say what to add in one way: %s; or a file: %s; or a list of commands: %s" % (
            _example(), typed("enqueue --file JOBS"), typed("enqueue --lines FILE")))
    if args.id_prefix is not None and args.lines is None:
        raise UsageError("--id-prefix goes with --lines, as in: %s" % typed("enqueue --lines FILE --id-prefix night"))
    if args.words is not None:
        if not args.words:
            raise UsageError("there is no command after --; write for example: %s" % typed("enqueue --id job1 -- echo Hello"))
        return [{"id": os.urandom(4).hex() if args.id is None else args.id, "command": command_of(args.words)}]
    if args.id is not None:
        raise UsageError("--id goes with a command after --, as in: %s" % typed("enqueue --id job1 -- echo Hello"))
    if args.job is not None and args.job != "-":
        return _from_json(args.job)
    from cli.sources import commands_in, jobs_in
    return jobs_in(path or "-", queue.show_progress) if args.lines is None else commands_in(args.lines, args.id_prefix)


def _settle_short_f(args):
    """The path of a file of jobs, or None. `-f FILE` is --file; `-f` alone is --follow, also if the job behind it was taken for a file."""
    if args.short_f is True:
        args.follow = True
    elif args.short_f is not None and args.file is None:
        if not args.short_f.lstrip().startswith("{"):
            return args.short_f
        args.job, args.follow = args.short_f, True
    return args.file


def command_of(words):
    """The command that words behind `--` are: one word as it is, several quoted for the shell."""
    return words[0] if len(words) == 1 else quote_words(words)


def job_fields(args):
    """The fields of jobs that options set."""
    fields = {"priority": args.priority, "timeout": args.timeout, "run_at": args.at, "delay": args.delay, "hold": args.hold,
              "group": args.group, "after": args.after, "after_any": args.after_any, "max_retries": args.max_retries,
              "backoff_base": args.backoff_base, "backoff_max": args.backoff_max, "cwd": args.cwd, "runner": args.runner,
              "shell": args.shell}
    if args.env:
        fields["env"] = dict(_env_pair(text) for text in args.env)
    fields = {name: value for name, value in fields.items() if value is not None}
    if args.timeout == NO_LIMIT:
        fields["timeout"] = None
    return fields


def _env_pair(text):
    name, equals, value = text.partition("=")
    if not equals and name not in os.environ:
        raise UsageError("--env %s: there is no such variable to copy; write --env %s=VALUE" % (name, name))
    return name, value if equals else os.environ[name]


def _without_ended(records, ended):
    """The records of a job file without the jobs that have ended; the ids of those go to the list `ended`."""
    for record in records:
        if type(record) is dict and record.get("state") in (COMPLETED, DEAD):
            ended.append(record.get("id"))
        else:
            yield record


def _filled_in(records, options, keep):
    """The records, each with the options that it does not set itself (one that says when it is to run has its own time or delay), and with
    the variables of this shell that it keeps: those that its field `keep_env` names, or else `keep`, unless it has any."""
    known: dict = {}  # the variables that have been looked up
    for record in records:
        if options and type(record) is dict:
            record = without_inherited(record)
            timed = any(record.get(name) is not None for name in TIMED)
            record = dict({name: value for name, value in options.items() if not timed or name not in TIMED}, **record)
        if type(record) is dict and (keep or "keep_env" in record):
            wanted = record.get("keep_env", keep)
            if (wanted is True or wanted and type(wanted) is list) and type(record.get("kept_env")) is not dict:
                names = encode_json(wanted)
                known[names] = known[names] if names in known else _kept(wanted)
                record = dict(record, keep_env=wanted, kept_env=known[names])
        yield record


def _kept(wanted):
    """The variables of this shell with these names, or all of them; not ours, not `_`, which the shell sets for each command, and none that
    is not UTF-8, since no job can have it."""
    kept = {}
    for name in os.environ if wanted is True else wanted:
        value = os.environ.get(name) if type(name) is str else None
        if value is not None and "=" not in name and name != "_" and not name.startswith("QUEUECTL_"):
            if (name + value).encode("utf-8", "replace").decode("utf-8") == name + value:
                kept[name] = value
            else:
                notice("the variable %s is not kept: it is not UTF-8, and no JSON file can hold it" % name)
    return kept


def _from_json(text):
    try:
        value = decode_json(text)
    except JsonError as error:
        raise UsageError("this is not JSON (%s); write %s" % (error, _example())) from None
    if type(value) is not list:
        return [value]
    from cli.sources import JobStream
    from core.json_pieces import JsonPieces
    return JobStream(JsonPieces(None, text), "the list of jobs")
