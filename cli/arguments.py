"""The command line: one table of all commands, with the arguments of each.

A command is a row of COMMANDS and two functions: the one here that adds its arguments, and its `cmd_x` in another module of this room.
It stands outside of main.py, which Python compiles anew at each start, and `enqueue` is called in loops.
"""
from __future__ import annotations

import os
import sys
from types import SimpleNamespace

# argparse imports gettext, and that locale, to translate its texts, which Python has in English alone: a twentieth of an `enqueue`.
_gettext = sys.modules.get("gettext")
sys.modules["gettext"] = SimpleNamespace(gettext=str, ngettext=lambda one, many, number: one if number == 1 else many)  # type: ignore
from argparse import REMAINDER, SUPPRESS, ArgumentError, ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter

if _gettext is None:
    del sys.modules["gettext"]
else:
    sys.modules["gettext"] = _gettext

from core.errors import UsageError
from core.job import STATES
from core.settings import check_setting, did_you_mean, setting_named, split_words
from core.times import parse_duration


def _states(text):
    """`pending,dead` as a tuple of states. Raises ArgumentTypeError."""
    chosen = tuple(word.strip() for word in text.split(","))
    for word in chosen:
        if word not in STATES:
            raise ArgumentTypeError("there is no state %r%s (the states are %s)" % (word, did_you_mean(word, STATES), ", ".join(STATES)))
    return chosen


def _duration(text):
    """`7d` in seconds. Raises ArgumentTypeError."""
    try:
        return parse_duration(text)
    except ValueError:
        raise ArgumentTypeError("%r is no length of time; write for example 90, 10s, 5m, 2h or 7d" % text) from None


def _whole(text):
    """A whole number, perhaps negative. Raises ArgumentTypeError."""
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError("%r must be a whole number" % text) from None


def _number(text):
    """A number. Raises ArgumentTypeError."""
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        raise ArgumentTypeError("%r must be a number" % text) from None


def _seconds(text):
    """A number of seconds above 0. Raises ArgumentTypeError."""
    value = _number(text)
    if not 0.05 <= value <= 86400:
        raise ArgumentTypeError("%r must be between 0.05 and 86400 seconds" % text)
    return value


def _runner(text):
    """`nice -n5` as a list of words. Raises UsageError."""
    return check_setting(setting_named("runner"), split_words(text))


def _positive(text):
    """A whole number from 1 on. Raises ArgumentTypeError."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 1000000:
        return int(text)
    raise ArgumentTypeError("%r must be a whole number from 1 to 999999" % text)


def _enqueue(parser):
    parser.add_argument("job", nargs="?", metavar="JSON", help="a job as JSON with id and command; - reads jobs from standard input")
    parser.add_argument("--file", "-f", metavar="FILE", help="read jobs from a file: a JSON array, or one JSON object after another")
    parser.add_argument("--id", help="the id of a job whose command follows --")
    parser.add_argument("--priority", "-p", type=_whole, metavar="N", help="higher ones run first; default 0")
    parser.add_argument("--delay", metavar="TIME", help="run it no sooner than in this time: 90, 10s, 5m, 2h, 1d")
    parser.add_argument("--at", metavar="WHEN", help="run it no sooner than at this time: 2026-11-24T02:00:00+01:00")
    parser.add_argument("--after", action="append", metavar="ID", help="run it once that job is completed; may be repeated")
    parser.add_argument("--unique", "-u", action="store_true", help="refuse an id that is in the queue already")
    parser.add_argument("--timeout", type=_duration, metavar="TIME", help="end an attempt that runs for longer: 90, 10s, 5m, 2h")
    parser.add_argument("--max-retries", type=_whole, metavar="N", help="how often it is tried again; likewise:")
    parser.add_argument("--backoff-base", type=_number, metavar="N", help="see the settings")
    parser.add_argument("--backoff-max", type=_number, metavar="S", help="see the settings")
    parser.add_argument("--cwd", metavar="DIR", help="the folder to run it in; default: this one")
    parser.add_argument("--env", "-e", action="append", metavar="NAME[=VALUE]", help="a variable for it; without a value, as it is here")
    parser.add_argument("--runner", type=_runner, metavar="WORDS", help="what it is run with, like 'srun -n1'; '': nothing, plainly")
    parser.add_argument("--quiet", "-q", action="store_true", help="print the ids alone")


def _list(parser):
    parser.add_argument("--state", "-s", type=_states, default=STATES,
                        metavar="S[,S]", help="only jobs in these states: pending, processing, completed, dead")
    parser.add_argument("--limit", "-n", type=_positive, metavar="N", help="at most N jobs")
    parser.add_argument("--sort", choices=("id", "state", "attempts", "created_at", "started_at", "updated_at", "command"),
                        metavar="FIELD", help="id, state, attempts, created_at, started_at, updated_at or command; else as they were added")
    parser.add_argument("--reverse", "-r", action="store_true", help="the last one first")
    parser.add_argument("--search", metavar="TEXT", help="only jobs with TEXT in their id or command")
    parser.add_argument("--quiet", "-q", action="store_true", help="print the ids alone")
    parser.add_argument("--jsonl", action="store_true", help="print JSON, a job a line")
    _table(parser)
    _color(parser)


def _table(parser):
    """Options of each command that prints a table."""
    _json(parser)
    parser.add_argument("--utc", action="store_true", help="print times as they are, not how long ago they were")


def _color(parser):
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="colour; default: on a terminal")


def _status(parser):
    _json(parser)
    _color(parser)
    parser.add_argument("--watch", "-w", nargs="?", type=_seconds, const=1.0, metavar="SECONDS", help="show it again and again, in place")


def _edit(parser):
    parser.add_argument("id", metavar="ID")


def _completion(parser):
    parser.add_argument("shell", nargs="?", choices=("bash", "zsh", "fish"), metavar="bash|zsh|fish")
    parser.add_argument("--words", dest="words_so_far", nargs=REMAINDER, metavar="WORD", help=SUPPRESS)


def _json(parser):
    parser.add_argument("--json", action="store_true", help="print JSON")


def _show(parser):
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--json", action="store_true", help=SUPPRESS)


def _worker_start(parser):
    parser.add_argument("--count", "-c", type=_positive, default=1, metavar="N", help="how many workers (threads); default 1")
    parser.add_argument("--drain", action="store_true", help="end when nothing is left to run; exit code 1 if a job died meanwhile")
    parser.add_argument("--detach", "-d", action="store_true", help="run in the background, with its log in run/worker.log")
    parser.add_argument("--runner", type=_runner, metavar="WORDS", help="what jobs are run with that do not say so: 'srun -n1'")


def _worker_stop(parser):
    parser.add_argument("--now", action="store_true", help="end the running jobs too; they go back to the queue")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--timeout", type=_duration, metavar="TIME", help="give up waiting after this time, with exit code 124")
    until.add_argument("--no-wait", action="store_true", help="only ask, and do not wait until they have ended")


def _logs(parser):
    parser.add_argument("id", nargs="?", metavar="ID", help="default: the job that was started last")
    parser.add_argument("--lines", "-n", type=_positive, metavar="N", help="only the last N lines")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until the job has ended, over its retries; 0 completed, 1 dead")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--attempt", type=_positive, metavar="N", help="the output of that attempt; default: the last one")
    which.add_argument("--all", "-a", action="store_true", help="the output of every attempt")


def _wait(parser):
    parser.add_argument("ids", nargs="*", metavar="ID", help="default: all that are unfinished now, and those added meanwhile")
    parser.add_argument("--timeout", type=_duration, metavar="TIME", help="give up after this time, with exit code 124")


def _cancel(parser):
    parser.add_argument("ids", nargs="+", metavar="ID")


def _nothing(parser):
    """A command without arguments of its own."""


def _dead_ids(parser):
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--all", "-a", action="store_true", help="every dead job")


def _dlq_purge(parser):
    _dead_ids(parser)
    _older_than(parser)


def _older_than(parser):
    parser.add_argument("--older-than", type=_duration, metavar="TIME", help="only those that ended so long ago: 90s, 2h, 7d")


def _clean(parser):
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--state", choices=("completed", "dead"), default="completed", help="default: completed")
    _older_than(parser)


def _reset(parser):
    parser.add_argument("--yes", action="store_true", help="yes, all of it")


def _doctor(parser):
    parser.add_argument("--repair", action="store_true", help="save what can be read of a broken job file, and keep a copy of it")


def _config(parser):
    parser.set_defaults(action="get", key=None)
    _json(parser)


def _config_get(parser):
    parser.add_argument("key", nargs="?", metavar="KEY")
    parser.set_defaults(action="get")
    _json(parser)


def _config_set(parser):
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("value", metavar="VALUE")
    parser.set_defaults(action="set")


# name: its meaning, an example, the function that adds its arguments, and its module in this room with the function there
COMMANDS = {
    "enqueue": ("add jobs to the queue", "enqueue --id job1 -- echo Hello", _enqueue, "adding.cmd_enqueue"),
    "edit": ("change a pending job in your editor", "edit job1", _edit, "control.cmd_edit"),
    "cancel": ("take jobs out of the queue, or end them", "cancel job1", _cancel, "control.cmd_cancel"),
    "worker start": ("run jobs, with N workers at once", "worker start --count 3", _worker_start, "control.cmd_worker_start"),
    "worker stop": ("let all workers finish their job and end", "worker stop", _worker_stop, "control.cmd_worker_stop"),
    "worker list": ("show the worker processes", "worker list", _table, "control.cmd_worker_list"),
    "pause": ("let workers take no new jobs", "pause", _nothing, "control.cmd_pause"),
    "resume": ("let them take jobs again", "resume", _nothing, "control.cmd_resume"),
    "status": ("count the jobs in each state, and the workers", "status --watch", _status, "looking.cmd_status"),
    "list": ("show jobs", "list --state pending,dead", _list, "looking.cmd_list"),
    "show": ("print all of a job, as JSON", "show job1", _show, "looking.cmd_show"),
    "logs": ("print what a job wrote", "logs -f job1", _logs, "looking.cmd_logs"),
    "wait": ("wait until jobs have ended", "wait job1 --timeout 5m", _wait, "looking.cmd_wait"),
    "stats": ("tell how jobs fare: success, times, speed", "stats", _json, "looking.cmd_stats"),
    "dlq list": ("show the dead letter queue", "dlq list", _table, "looking.cmd_dlq_list"),
    "dlq retry": ("bring dead jobs back", "dlq retry job1", _dead_ids, "tidying.cmd_retry"),
    "dlq purge": ("remove dead jobs for good", "dlq purge --all --older-than 7d", _dlq_purge, "tidying.cmd_dlq_purge"),
    "retry": ("the same as dlq retry", "retry --all", _dead_ids, "tidying.cmd_retry"),
    "clean": ("remove completed jobs and their output", "clean --older-than 7d", _clean, "tidying.cmd_clean"),
    "reset": ("remove everything but the settings", "reset --yes", _reset, "tidying.cmd_reset"),
    "doctor": ("look over every file, and mend what is broken", "doctor --repair", _doctor, "tidying.cmd_doctor"),
    "config": ("show the settings", "config", _config, "control.cmd_config"),
    "config get": ("show one setting", "config get max_retries", _config_get, "control.cmd_config"),
    "config set": ("change a setting", "config set max_retries 5", _config_set, "control.cmd_config"),
    "completion": ("print a shell's completion script", "completion bash", _completion, "control.cmd_completion"),
}
GROUPS = (("Add jobs", "enqueue"), ("Run them", "worker start"), ("Look", "status"), ("Deal with failures", "dlq list"),
          ("Tidy up", "clean"), ("Settings", "config"))
ALIASES = {"add": "enqueue", "log": "logs"}


_MAY_BE_EMPTY = ("runner", "id", "words_so_far")  # none; told by the rule of jobs; the shell's words


class _Parser(ArgumentParser):
    """A parser that raises its faults, so that main prints them as all others."""

    def error(self, message):
        raise UsageError("%s; 'queuectl %s --help' shows what it takes" % (message, self.prog.partition(" ")[2]))

    def _get_values(self, action, values):
        """The value of an argument. An option's `--`, as in --search=--, is a value: Python 3.8 to 3.12 drop it. One that is empty is
        most often a variable that is not set."""
        if action.option_strings and values == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        if action.option_strings and values == [""] and action.dest not in _MAY_BE_EMPTY:
            raise ArgumentError(action, "it is empty; leave it out if nothing is meant")
        return super()._get_values(action, values)


class _Help(RawDescriptionHelpFormatter):
    """Help as wide as the window. argparse would import shutil to measure it, also when nobody asks for help."""

    def __init__(self, prog):
        try:
            width = os.get_terminal_size().columns or 80
        except (OSError, ValueError):
            width = 80
        super().__init__(prog, max_help_position=30, width=min(width, 110) - 2)


def overview(group=""):
    """The help of the whole program, or of one group of commands (`worker`, `dlq`, `config`)."""
    if group:
        return "\n".join("  %-13s %-46s queuectl %s" % (name, meaning, example) for name, (meaning, example, _, _) in COMMANDS.items()
                         if name.startswith(group + " "))
    lines = ["QueueCTL: a job queue in plain files.", "", "usage: queuectl [--home DIR] COMMAND …", ""]
    titles = {first: title for title, first in GROUPS}
    for name, (meaning, example, _, _) in COMMANDS.items():
        if name in titles:
            lines += [titles[name] + ":"]
        lines.append("  %-13s %-46s queuectl %s" % (name, meaning, example))
    lines += ["", "'queuectl COMMAND --help' tells more. The queue is in --home DIR, else $QUEUECTL_HOME, else beside the program."]
    return "\n".join(lines)


def parse(argv):
    """The command, as `module.function`, and its arguments. Raises UsageError; SystemExit after the help of a command was printed.

    Instead of a command it may be "--help" or "--version"; the arguments are then the group of commands that help is wanted for, or "".
    """
    home, name, rest, words = _split(argv)
    if name.startswith("-"):
        return name, "".join(rest)
    parser = build_parser(name)
    if words is not None and name != "enqueue":
        rest, words = rest + ["--"] + words, None
    args = parser.parse_args(rest)
    args.words = words
    args.home = home if args.home is None else args.home
    return COMMANDS[name][3], args


def build_parser(name):
    """The parser of the command with that name."""
    meaning, example, add_arguments, _ = COMMANDS[name]
    parser = _Parser(prog="queuectl " + name, description=meaning[:1].upper() + meaning[1:] + ".",
                     epilog="example:\n  queuectl " + example, formatter_class=_Help)
    parser.add_argument("--home", metavar="DIR", help="the folder of the queue")
    add_arguments(parser)
    return parser


def _split(argv):
    """(the --home before the command or None, the name of the command, the other arguments, the words behind -- or None)."""
    words = None
    if "--" in argv:
        place = argv.index("--")
        argv, words = argv[:place], argv[place + 1:]
    home = None
    while argv and argv[0].startswith("-"):
        option, equals, value = argv[0].partition("=")
        if option != "--home":
            if option in ("-h", "--help", "--version"):
                return None, "--help" if option == "-h" else option, [], None
            raise UsageError("there is no option %s before the command; 'queuectl --help' shows what there is" % option)
        if not equals and len(argv) < 2:
            raise UsageError("--home needs a folder")
        home, argv = (value, argv[1:]) if equals else (argv[1], argv[2:])
    if not argv:
        return home, "--help", [], None
    name, rest = ALIASES.get(argv[0], argv[0]), argv[1:]
    if rest and "%s %s" % (name, rest[0]) in COMMANDS:
        name, rest = "%s %s" % (name, rest[0]), rest[1:]
    if name not in COMMANDS:
        if name == "help":
            return home, "--help", [], None
        if rest[:1] in (["-h"], ["--help"]) and any(other.startswith(name + " ") for other in COMMANDS):
            return home, "--help", [name], None
        _explain_unknown(name, rest)
    return home, name, rest, words


def _explain_unknown(name, rest):
    inner = [other.partition(" ")[2] for other in COMMANDS if other.startswith(name + " ")]
    if inner:
        said = "%s needs one of: %s" % (name, ", ".join(inner))
        raise UsageError(said + (did_you_mean(rest[0], inner) if rest else ""))
    known = list(COMMANDS) + list(ALIASES)
    raise UsageError("there is no command %r%s ('queuectl --help' lists them)" % (name, did_you_mean(name, known)))
