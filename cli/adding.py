"""`enqueue`: adds the jobs that a command line, a JSON text or a file describes."""
from __future__ import annotations

import os
import sys
import time

from cli.context import notice
from cli.options import NO_LIMIT
from cli.progress import Progress
from cli.terminal import counted
from core.errors import InvalidJob, JobRefused, JsonError, QueueError, UsageError, hint, typed
from core.home import check_owner, jobs_path
from core.job import COMPLETED, DEAD, EXAMPLE
from core.strict_json import decode_json, decode_json_at, decode_utf8, skip_whitespace, trailing_comma_error
from core.system import quote_words
from core.times import format_duration, parse_time
from helpers import printable


def _example():
    """Both ways to write a job; cmd.exe knows the first one alone."""
    return "%s, or: %s" % (typed("enqueue --id job1 -- echo Hello"), typed("enqueue '%s'" % EXAMPLE))


class JobStream:
    """The jobs in a text: one JSON array, or JSON objects one after another, on as many lines as they like. It can be iterated once."""

    def __init__(self, text, source, progress=None):
        self._text = text
        self._source = source
        self._at = 0
        self._progress = progress

    @property
    def is_array(self):
        """Whether the text is an array, as a job file is."""
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
                comma, at = at, skip_whitespace(text, at + 1)
                if text[at:at + 1] == "]":
                    raise trailing_comma_error(text, comma)
            elif array and text[at:at + 1] != "]":
                raise JsonError("expected ',' or ']'", text, at)
            elif text[at:at + 1] == ",":
                raise JsonError("a comma between jobs that are in no array: remove it", text, at)
        if array and text[at:].strip() != "]":
            raise JsonError("extra text after the closing ]" if at < len(text) else "the closing ] is missing", text,
                            min(at + 1, len(text)))

    def fault(self, error):
        """A UsageError for an error in the current record, with its place."""
        if isinstance(error, JsonError):
            return UsageError("%s, %s; nothing was added" % (self._source, error))
        return UsageError("%s, %s; nothing was added" % (self._source, JsonError(str(error), self._text, self._at)))


def cmd_enqueue(args, queue):
    """Add one job or many."""
    queue.establish()
    check_owner([queue.home, jobs_path(queue.home)])
    progress = Progress()
    records, source = _requested(args, progress)
    single = source is None
    ended: list = []
    if source is not None and source.is_array:
        records = _without_ended(records, ended)
    try:
        added = queue.jobs.enqueue(_with_options(records, _options(args)), _current_folder(), time.time(), args.unique)
    except (InvalidJob, JsonError) as error:
        if source is None:
            raise
        raise source.fault(error) from None
    except JobRefused as error:
        raise JobRefused("%s; nothing was added" % error) from None
    finally:
        progress.clear()
    if ended:
        notice("%s that had ended %s left out; %s brings dead ones of this queue back"
               % (counted(len(ended), "job"), "was" if len(ended) == 1 else "were", hint("retry")))
    try:
        _tell(added, single, args)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise QueueError("%s added, but stdout cannot be written: %s" % (counted(len(added.ids), "job"), error.strerror)) from None
    return 0


def _tell(added, single, args):
    """Print what was added, and be sure that it is written."""
    if args.quiet:
        for job_id in added.ids:
            print(printable(job_id))
    else:
        who = "Job '%s'" % printable(added.ids[0]) if single else counted(len(added.ids), "job")
        print("%s added%s." % (who, _time_told(added, args.at) or " to the queue"))
    sys.stdout.flush()


def _time_told(added, at):
    """When the added jobs run, as the end of a sentence; "" if they may run at once, and no option `at` says otherwise."""
    if added.run_at is None:
        return ""
    from core.local_times import tell_time
    moment, now = parse_time(added.run_at), time.time()
    they = "it runs" if len(added.ids) == 1 else "they run"
    if moment > now:
        return "; %s at %s (in %s)" % (they, tell_time(moment, now), format_duration(moment - now))
    return "; %s at once, since %s is past" % (they, tell_time(moment, now)) if at is not None else ""


def _requested(args, progress):
    """The records to add, and the JobStream that they come from, or None."""
    ways = [args.job is not None, args.file is not None, args.words is not None]
    if sum(ways) != 1:
        raise UsageError("say what to add in one way: %s; or a file: %s" % (_example(), typed("enqueue --file JOBS")))
    if args.words is not None:
        if not args.words:
            raise UsageError("there is no command after --; write for example: %s" % typed("enqueue --id job1 -- echo Hello"))
        return [_from_words(args)], None
    if args.id is not None:
        raise UsageError("--id goes with a command after --, as in: %s" % typed("enqueue --id job1 -- echo Hello"))
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
        records = JobStream(decode_utf8(content), source, progress)
    except JsonError as error:
        raise UsageError("%s, %s; nothing was added" % (source, error)) from None
    return records, records


def _from_words(args):
    command = args.words[0]
    if len(args.words) > 1:
        command = quote_words(args.words)
    return {"id": os.urandom(4).hex() if args.id is None else args.id, "command": command}


def _options(args):
    """The fields that options set, for all jobs that do not set them themselves."""
    fields = {"priority": args.priority, "timeout": args.timeout, "run_at": args.at, "delay": args.delay, "after": args.after,
              "max_retries": args.max_retries, "backoff_base": args.backoff_base, "backoff_max": args.backoff_max, "cwd": args.cwd,
              "runner": args.runner}
    if args.cwd is not None:
        fields["cwd"] = os.path.abspath(args.cwd)
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


def _with_options(records, options):
    """The records, each with the options that it does not set itself. One that says when it is to run has its own time or delay."""
    for record in records:
        if options and type(record) is dict:
            timed = record.get("run_at") is not None or record.get("delay") is not None
            record = dict({name: value for name, value in options.items() if not timed or name not in ("run_at", "delay")}, **record)
        yield record


def _from_json(text):
    try:
        value = decode_json(text)
    except JsonError as error:
        raise UsageError("this is not JSON (%s); write %s" % (error, _example())) from None
    if type(value) is not list:
        return [value], None
    records = JobStream(text, "the list of jobs")
    return records, records


def _current_folder():
    try:
        return os.getcwd()
    except OSError:
        raise QueueError("the current folder is gone; change to another one") from None
