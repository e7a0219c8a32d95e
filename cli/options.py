"""What each command takes: the functions that add its arguments to a parser, and the types of their values.

cli/arguments.py names one of these functions in each row of its table.
"""
from __future__ import annotations

import sys
from types import SimpleNamespace

# argparse imports gettext, and that locale, to translate its texts, which Python has in English alone: a twentieth of an `enqueue`.
_english = SimpleNamespace(gettext=str, ngettext=lambda one, many, number: one if number == 1 else many)
sys.modules.setdefault("gettext", _english)  # type: ignore
from argparse import SUPPRESS, ArgumentTypeError

if sys.modules["gettext"] is _english:
    del sys.modules["gettext"]

from core.job import COMPLETED, DEAD, OPTION_CHECKS, STATES
from core.settings import check_setting, did_you_mean, setting_named, split_names, split_words
from core.times import LENGTHS, format_time, parse_duration

NO_LIMIT = "none"  # a time limit that lifts the one of the settings


# The types of values: each makes the value of a text, or raises an ArgumentTypeError (a setting its UsageError) that says what is wrong.

def _states(text):
    """`pending,dead` as a tuple of words of STATE_WORDS."""
    from core.rules import STATE_WORDS
    chosen = tuple(word.strip() for word in text.split(","))
    for word in chosen:
        if word not in STATE_WORDS:
            raise ArgumentTypeError("there is no state %r%s (the states are %s; also %s)" % (
                word, did_you_mean(word, STATE_WORDS), ", ".join(STATES), ", ".join(STATE_WORDS[len(STATES):])))
    return chosen


def _ended_states(text):
    chosen = _states(text)
    if not {COMPLETED, DEAD}.issuperset(chosen):
        raise ArgumentTypeError("%r must be completed, dead or both, with a comma between them" % text)
    return chosen


def _duration(text):
    """`7d` in seconds."""
    try:
        return parse_duration(text)
    except ValueError:
        raise ArgumentTypeError("%r is no length of time; write for example %s" % (text, LENGTHS)) from None


def _delay(text):
    if ":" in text:
        raise ArgumentTypeError("%r is a time, not a length of time; --at takes it" % text)
    return _duration(text)


def _moment(text):
    """A time as people write it, as a job has it."""
    from time import time
    from core.local_times import parse_local_time
    try:
        return format_time(parse_local_time(text, time()))
    except ValueError as error:
        said = "%r %s" % (text, error)
        raise ArgumentTypeError(said + "; --delay takes it" * said.endswith("not a time")) from None


def _time_limit(text):
    return text if text == NO_LIMIT else _duration(text)


def _whole(text):
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError("%r must be a whole number" % text) from None


def _number(text):
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        raise ArgumentTypeError("%r must be a number" % text) from None


def _seconds(text):
    value = _number(text)
    if not 0.05 <= value <= 86400:
        raise ArgumentTypeError("%r must be between 0.05 and 86400 seconds" % text)
    return value


def _names(text):
    """What --keep-env takes: names of variables, `true` or `false`."""
    names = split_names(text)
    if type(names) is list and not all(name.replace("_", "a").isalnum() for name in names):
        raise ArgumentTypeError("%r is no list of names; write --keep-env=PATH,VIRTUAL_ENV, or put --keep-env behind the job" % text)
    return names


def _runner(text):
    return check_setting(setting_named("runner"), split_words(text))


def _shell(text):
    return check_setting(setting_named("shell"), split_words(text))


def _group(text):
    fault = OPTION_CHECKS["group"](text)
    if fault:
        raise ArgumentTypeError("%r %s" % (text, fault))
    return text


def _port(text):
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise ArgumentTypeError("%r must be a port, from 0 to 65535 (0: one that is free)" % text)


def _positive(text):
    if text.isascii() and text.isdigit() and 0 < int(text) < 1000000:
        return int(text)
    raise ArgumentTypeError("%r must be a whole number from 1 to 999999" % text)


def _groups(parser, meaning):
    parser.add_argument("--group", "-g", action="append", type=_group, metavar="GROUP", help=meaning + "; may be repeated")


def add_enqueue(parser):
    parser.description = ("Add jobs to the queue. A job runs in the folder that it was added from, and in the environment of the worker, "
                          "not in that of this shell, unless it keeps that (--keep-env).")
    parser.usage = "%(prog)s [options] -- COMMAND...\n       %(prog)s [options] JSON | - | --file FILE | --lines FILE"
    parser.add_argument("job", nargs="?", metavar="JSON", help="a job as JSON with id and command; - reads jobs from standard input")
    parser.add_argument("--file", metavar="FILE", help="read jobs from a file: a JSON array, or one JSON object after another")
    parser.add_argument("--lines", metavar="FILE", help="read shell commands from a file, one a line (-: standard input); "
                        "not blank lines, and none that begin with #")
    parser.add_argument("--id", help="the id of a job whose command follows --")
    parser.add_argument("--id-prefix", metavar="TEXT", help="the ids with --lines are TEXT-1, TEXT-2 ...; default: the name of the file")
    parser.add_argument("--wait", action="store_true", help="wait until all that was added has ended; exit code as that of wait")
    parser.add_argument("--follow", action="store_true", help="print what the job writes, and wait until it has ended")
    parser.add_argument("-f", dest="short_f", nargs="?", const=True, metavar="FILE",
                        help="with a FILE, as --file; without one, as --follow")
    parser.add_argument("--unique", "-u", action="store_true", help="add nothing while a job with that id waits or runs")
    add_job_fields(parser)
    parser.add_argument("--keep-env", nargs="?", type=_names, const=True, metavar="NAMES",
                        help="run it with the variables of this shell: with all of them and no others, or as --keep-env=PATH,VIRTUAL_ENV "
                        "with these; false: with none (see the setting)")
    parser.add_argument("--quiet", "-q", action="store_true", help="print the ids alone")


def add_job_fields(parser):
    """The fields of a job that options set."""
    parser.add_argument("--priority", "-p", type=_whole, metavar="N", help="higher ones run first; default 0")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--hold", action="store_true", default=None, help="hold it until 'release ID' lets it start")
    when.add_argument("--delay", type=_delay, metavar="TIME", help="run it no sooner than in this time: 90, 5m, 1h30m, 1d")
    when.add_argument("--at", type=_moment, metavar="WHEN",
                      help="run it no sooner than then: 02:00 (the next one), 'tomorrow 7:30', '2026-12-24 02:00'; local time")
    parser.add_argument("--group", "-g", type=_group, metavar="GROUP", help="its group; the setting limits says how many run at once")
    parser.add_argument("--after", action="append", metavar="ID", help="run it once that job is completed; may be repeated")
    parser.add_argument("--after-any", action="append", metavar="ID", help="run it once that job has ended, however; may be repeated")
    parser.add_argument("--timeout", type=_time_limit, metavar="TIME",
                        help="end an attempt that runs for longer: 90, 5m, 1h30m; none: no limit")
    parser.add_argument("--max-retries", type=_whole, metavar="N", help="how often it is tried again if it fails")
    parser.add_argument("--backoff-base", type=_number, metavar="N", help="the wait before retry K is N to the power of K seconds")
    parser.add_argument("--backoff-max", type=_duration, metavar="TIME", help="no wait between two attempts is longer than this")
    parser.add_argument("--cwd", metavar="DIR", help="the folder to run it in; default: the one you are in")
    parser.add_argument("--env", "-e", action="append", metavar="NAME[=VALUE]", help="a variable for it; without a value, as it is here")
    parser.add_argument("--runner", type=_runner, metavar="WORDS", help="what it is run with, like 'srun -n1'; '': nothing, plainly")
    parser.add_argument("--shell", type=_shell, metavar="WORDS", help="what runs the command, like 'bash -c'; '': that of the system")


def add_list(parser):
    parser.add_argument("--state", "-s", type=_states, default=STATES,
                        metavar="S[,S]", help="only jobs in these states: pending, processing, completed, dead; or ready, held, retrying, "
                        "scheduled, blocked, running, queued, done, cancelled")
    parser.add_argument("--limit", "-n", type=_positive, metavar="N", help="at most N jobs")
    parser.add_argument("--sort", choices=("id", "state", "attempts", "priority", "run_at", "created_at", "started_at", "updated_at",
                                             "command"), metavar="FIELD",
                        help="id, state, attempts, priority (the highest first), run_at, created_at, started_at, updated_at or command; "
                        "else as they were added")
    parser.add_argument("--reverse", "-r", action="store_true", help="the last one first")
    _groups(parser, "only jobs of that group")
    parser.add_argument("--search", metavar="TEXT", help="only jobs with TEXT in their id or command")
    parser.add_argument("--quiet", "-q", action="store_true", help="print the ids alone")
    parser.add_argument("--jsonl", action="store_true", help="print JSON, a job a line")
    add_table(parser)
    _color(parser)


def add_table(parser):
    """Options of each command that prints a table."""
    add_json(parser)
    parser.add_argument("--utc", action="store_true", help="print times as they are, not how long ago they were")


def _color(parser):
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="colour; default: on a terminal")


def add_status(parser):
    add_json(parser)
    _color(parser)
    parser.add_argument("--watch", "-w", nargs="?", type=_seconds, const=1.0, metavar="SECONDS", help="show it again and again, in place")


def add_edit(parser):
    parser.usage = "%(prog)s [options] ID [-- COMMAND...]"
    parser.add_argument("id", metavar="ID", help="a job that waits or is dead; of several with that id the newest. Without an option it is "
                        "opened in your editor; -- COMMAND gives it another command")
    add_job_fields(parser)
    parser.add_argument("--unset", action="append", metavar="FIELD", help="take a field away, so that the default holds: timeout, env, "
                        "env.NAME, run_at (also of a job that is held) ...; may be repeated")


def add_completion(parser):
    parser.add_argument("shell", nargs="?", choices=("bash", "zsh", "fish", "powershell"), metavar="bash|zsh|fish|powershell",
                        help="the shell that the script is for")
    parser.set_defaults(words_so_far=None)


def add_json(parser):
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_dashboard(parser):
    parser.add_argument("--port", "-p", type=_port, metavar="N", help="listen on this port; default: one that is free")
    parser.add_argument("--act", action="store_true", help="let the page change the queue: add, cancel, retry, hold, pause")


def add_stats(parser):
    how = parser.add_mutually_exclusive_group()
    add_json(how)
    parser.add_argument("--since", type=_duration, metavar="TIME", help="only of jobs that ended in this time: 24h, 7d")
    parser.add_argument("--by", choices=("command", "program", "group"), metavar="WHAT",
                        help="what became of the jobs of each command, or program (the first word of it) or group; the worst first")
    _groups(parser, "only jobs of that group")
    how.add_argument("--prometheus", action="store_true", help="print the figures of the queue as Prometheus reads them")


def add_show(parser):
    parser.add_argument("id", metavar="ID", help="the job; of several with that id the newest, or as ID@2 the second oldest")
    parser.add_argument("--env", action="store_true", help="print the values of the variables that it keeps of a shell, too")
    parser.add_argument("--json", action="store_true", help=SUPPRESS)


def add_worker_start(parser):
    parser.add_argument("--count", "-c", type=_positive, default=1, metavar="N", help="how many workers (threads); default 1")
    _groups(parser, "take only jobs of that group")
    parser.add_argument("--drain", action="store_true", help="end when nothing is left to run; exit code 1 if a job died meanwhile")
    parser.add_argument("--quiet", "-q", action="store_true", help="print nothing but a summary at the end, and that only if a job died")
    parser.add_argument("--detach", "-d", action="store_true", help="run in the background, with its log in run/worker.log")
    parser.add_argument("--runner", type=_runner, metavar="WORDS",
                        help="words before the command of each job that names none itself: 'srun -n1'")


def add_worker_stop(parser):
    parser.add_argument("--now", action="store_true", help="end the running jobs too; they go back to the queue")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--timeout", type=_duration, metavar="TIME", help="give up waiting after this time, with exit code 124")
    until.add_argument("--no-wait", action="store_true", help="only ask, and do not wait until they have ended")


def add_logs(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="default: the job that was started last")
    parser.add_argument("--state", "-s", type=_states, metavar="S[,S]", help="of all jobs in these states, as list has them: dead, running")
    _groups(parser, "of all jobs of that group")
    parser.add_argument("--since", type=_duration, metavar="TIME", help="of all jobs that ended or changed in this time: 12h, 1d")
    parser.add_argument("--lines", "-n", type=_positive, metavar="N", help="only the last N lines")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until the job has ended, over its retries; 0 completed, 1 dead")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--attempt", type=_positive, metavar="N", help="the output of that attempt; default: the last one")
    which.add_argument("--all", "-a", action="store_true", help="the output of every attempt")


def add_wait(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="default: all that are unfinished now, and those added meanwhile")
    _groups(parser, "all of that group that are unfinished now, and those added meanwhile")
    parser.add_argument("--timeout", type=_duration, metavar="TIME", help="give up after this time, with exit code 124")


def add_cancel(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="a job that waits or runs")
    parser.add_argument("--all", "-a", action="store_true", help="every job that waits or runs")
    parser.add_argument("--state", "-s", type=_states, metavar="S[,S]",
                        help="those in these states: pending, processing; or ready, held, retrying, scheduled, blocked, queued, running")
    _groups(parser, "those of that group")
    parser.add_argument("--search", metavar="TEXT", help="those with TEXT in their id or command")


def add_hold(parser):
    parser.add_argument("ids", nargs="+", metavar="ID", help="a job that waits")


def add_release(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="a job that is held, or due later")
    parser.add_argument("--all", "-a", action="store_true", help="every job that is held")


def add_pause(parser):
    _groups(parser, "only jobs of that group")
    parser.add_argument("--now", action="store_true", help="stop the running jobs too, where they stand; their time limits wait")


def add_resume(parser):
    _groups(parser, "only jobs of that group")


def add_retry(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="a job that is dead or completed; what died because of it comes back, too")
    parser.add_argument("--all", "-a", action="store_true", help="every dead job that was not cancelled")
    parser.add_argument("--since", type=_duration, metavar="TIME", help="every job that died in this time and was not cancelled: 12h, 1d")
    parser.add_argument("--edit", action="store_true", help="open the job in your editor first")


def add_dlq_list(parser):
    parser.add_argument("--limit", "-n", type=_positive, metavar="N", help="at most N jobs, those that died last")
    parser.add_argument("--search", metavar="TEXT", help="only jobs with TEXT in their id, their command or what they wrote last")
    parser.add_argument("--since", type=_duration, metavar="TIME", help="only jobs that died in this time: 12h, 1d")
    add_table(parser)


def add_dlq_purge(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="a dead job")
    parser.add_argument("--all", "-a", action="store_true", help="every dead job")
    _older_than(parser)


def _older_than(parser):
    parser.add_argument("--older-than", type=_duration, metavar="TIME", help="only those that ended so long ago: 90s, 2h, 7d")


def add_clean(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these jobs")
    parser.add_argument("--state", "-s", type=_ended_states, default=(COMPLETED,), metavar="S[,S]",
                        help="completed (the default), dead or both")
    _older_than(parser)


def add_remove(parser):
    parser.add_argument("ids", nargs="+", metavar="ID", help="a job that does not run; all jobs with that id go")


def add_reset(parser):
    parser.add_argument("--yes", action="store_true", help="say that you mean it: all jobs and all output are removed")


def add_doctor(parser):
    parser.add_argument("--repair", action="store_true", help="save what can be read of a broken job file, and keep a copy of it")


def add_config(parser):
    parser.add_argument("key", nargs="?", metavar="KEY", help="the name of a setting; default: all")
    parser.add_argument("value", nargs="?", help=SUPPRESS)
    add_json(parser)


def add_config_unset(parser):
    parser.add_argument("key", metavar="KEY", help="the name of a setting, or of a key of config.json that is none")


def add_config_set(parser):
    parser.add_argument("key", metavar="KEY", help="the name of a setting")
    parser.add_argument("value", metavar="VALUE", help="its value, as JSON or plain; null: none")
