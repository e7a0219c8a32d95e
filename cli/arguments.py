"""The command line: one table of all commands, with the arguments of each.

A command is a row of COMMANDS and two functions: the one in cli/options.py that adds its arguments, and its `cmd_x` in another module of
this room, whose name stands in CHANGING, too, if it changes the queue. The table stands outside of main.py, which Python compiles anew at
each start, and `enqueue` is called in loops.
"""
from __future__ import annotations

import os
import sys

from cli import options  # first: it imports argparse without gettext
from argparse import SUPPRESS, ArgumentError, ArgumentParser, HelpFormatter, Namespace
from cli.terminal import window
from core.errors import JsonError, UsageError, hint, typed
from core.job import EXAMPLE
from core.settings import did_you_mean
from core.strict_json import decode_json
from core.system import quote_words

# name: its meaning, an example, the function that adds its arguments, and its module in this room with the function there
COMMANDS = {
    "enqueue": ("add jobs to the queue", "enqueue --id job1 -- echo Hello", options.add_enqueue, "adding.cmd_enqueue"),
    "edit": ("change a job, in your editor or by options", "edit job1 --priority 5", options.add_edit, "editing.cmd_edit"),
    "cancel": ("take jobs out of the queue, or end them", "cancel job1", options.add_cancel, "control.cmd_cancel"),
    "worker start": ("run jobs, with N workers at once", "worker start --count 3", options.add_worker_start, "working.cmd_worker_start"),
    "worker stop": ("let all workers finish their job and end", "worker stop", options.add_worker_stop, "working.cmd_worker_stop"),
    "worker list": ("show the worker processes", "worker list", options.add_table, "working.cmd_worker_list"),
    "hold": ("let waiting jobs wait until they are released", "hold job1", options.add_hold, "control.cmd_hold"),
    "release": ("let jobs start that are held or due later", "release job1", options.add_release, "control.cmd_release"),
    "pause": ("let workers take no new jobs", "pause", options.add_pause, "control.cmd_pause"),
    "resume": ("let workers take jobs again", "resume", options.add_resume, "control.cmd_resume"),
    "status": ("count the jobs in each state, and the workers", "status --watch", options.add_status, "status.cmd_status"),
    "list": ("show jobs", "list --state pending,dead", options.add_list, "listing.cmd_list"),
    "show": ("print all of a job, as JSON", "show job1", options.add_show, "listing.cmd_show"),
    "logs": ("print what a job wrote", "logs -f job1", options.add_logs, "logs.cmd_logs"),
    "wait": ("wait until jobs have ended", "wait job1 --timeout 5m", options.add_wait, "waiting.cmd_wait"),
    "stats": ("tell how jobs fare: success, times, speed", "stats", options.add_stats, "stats.cmd_stats"),
    "dashboard": ("show the queue in a browser, on this machine alone", "dashboard", options.add_dashboard, "dashboard.cmd_dashboard"),
    "dlq list": ("show the dead letter queue", "dlq list --since 1d", options.add_dlq_list, "listing.cmd_dlq_list"),
    "retry": ("run jobs again that are dead or completed", "retry --all", options.add_retry, "control.cmd_retry"),
    "dlq retry": ("the same as retry", "dlq retry job1", options.add_retry, "control.cmd_retry"),
    "dlq purge": ("remove dead jobs for good", "dlq purge --all --older-than 7d", options.add_dlq_purge, "tidying.cmd_dlq_purge"),
    "clean": ("remove completed jobs and their output", "clean --older-than 7d", options.add_clean, "tidying.cmd_clean"),
    "remove": ("remove jobs in whatever state", "remove job1", options.add_remove, "tidying.cmd_remove"),
    "reset": ("remove everything but the settings", "reset --yes", options.add_reset, "tidying.cmd_reset"),
    "doctor": ("look over every file, and mend what is broken", "doctor --repair", options.add_doctor, "doctor.cmd_doctor"),
    "config": ("show the settings, or one", "config max_retries", options.add_config, "configuring.cmd_config"),
    "config get": ("show one setting", "config get max_retries", options.add_config, "configuring.cmd_config"),
    "config set": ("change a setting", "config set max_retries 5", options.add_config_set, "configuring.cmd_set"),
    "config unset": ("let the default of a setting hold", "config unset max_retries", options.add_config_unset, "configuring.cmd_unset"),
    "completion": ("print a shell's completion script", "completion bash", options.add_completion, "completion.cmd_completion"),
}
# The functions that have changed something before they print. `enqueue` tells of its jobs itself.
CHANGING = frozenset(("editing.cmd_edit", "control.cmd_cancel", "control.cmd_hold", "control.cmd_release", "control.cmd_pause",
                      "control.cmd_resume", "working.cmd_worker_start", "working.cmd_worker_stop", "control.cmd_retry",
                      "tidying.cmd_dlq_purge", "tidying.cmd_clean", "tidying.cmd_remove", "tidying.cmd_reset", "configuring.cmd_set",
                      "configuring.cmd_unset"))
ALIASES = {"add": "enqueue", "log": "logs"}

# What other programs call these commands. `stop` is `worker stop`, or `cancel` with a job.
SYNONYMS = {"submit": "enqueue", "push": "enqueue", "run": "enqueue", "kill": "cancel", "start": "worker start", "ls": "list", "ps": "list",
            "inspect": "show", "tail": "logs --follow", "follow": "logs --follow", "watch": "status --watch",
            "metrics": "stats --prometheus",
            "restart": "retry", "rerun": "retry", "requeue": "retry", "rm": "remove", "delete": "remove"}

_MAY_BE_EMPTY = ("runner", "shell", "id")  # none, twice; told by the rule of jobs
_FORMS: dict = {None: "%s", "?": "[%s]", "*": "[%s...]", "+": "%s..."}  # of an argument, by how many times it may be given


class _Parser(ArgumentParser):
    """A parser that raises its faults, so that main prints them as all others."""

    command = ""  # its name in COMMANDS
    given: list | tuple = ()  # what it is to parse, as far as a --

    def error(self, message):
        if any(action.metavar == "ID" for action in self._actions) and any(
                word[:1] == "-" and word[1:2] != "-" and word[:2] not in self._option_string_actions for word in self.given):
            message += "; an ID that begins with - stands behind --"
        raise UsageError("%s; %s shows what it takes" % (message, hint(self.command + " --help")))

    def format_help(self):
        """The help, in which the program has the name by which it was called."""
        self.prog = typed(self.command)
        if self.usage is None:
            values = [_FORMS[action.nargs] % (action.metavar or action.dest) for action in self._actions
                      if not action.option_strings and action.help != SUPPRESS]
            self.usage = " ".join(["%(prog)s [options]"] + values)
        return "%s\nexample:\n  %s\n" % (super().format_help(), typed(COMMANDS[self.command][1]))

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


def _formatter(prog):
    """A formatter of help. argparse would import shutil to measure the window, also when nobody asks for help."""
    return HelpFormatter(prog, max_help_position=30, width=min(window(sys.stdout)[0], 110) - 2)


def parse(argv):
    """The command, as `module.function`, and its arguments. Raises UsageError; SystemExit after the help of a command was printed.

    Instead of a command it may be "--help" or "--version", or "" if none is given; then the arguments are the group to be explained, or "".
    """
    if argv[:1] == ["completion"] and "--words" in argv[1:3]:  # what was typed so far is no argument of this command: not even its --
        words = argv[argv.index("--words") + 1:] + [""] * (argv[1] == "--new-word")
        return COMMANDS["completion"][3], Namespace(words_so_far=words, home=None)
    home, name, rest, words = _split(argv)
    if not name or name.startswith("-"):
        return name, "".join(rest)
    parser = build_parser(name)
    if words is not None and name not in ("enqueue", "edit"):
        rest, words = rest + ["--"] + words, None
    elif words is None and name == "enqueue":
        _refuse_bare_command(parser, rest)
    elif name == "edit" and words and words[0].startswith("-"):
        rest, words = _with_id(parser, rest, words)
    parser.given = rest[:rest.index("--")] if "--" in rest else rest
    args = parser.parse_args(rest)
    args.words = words
    args.home = home if args.home is None else args.home
    return COMMANDS[name][3], args


def _with_id(parser, rest, words):
    """The arguments of `edit`, and the words of the new command or None. The id may stand behind --, as in `edit -- -x -- COMMAND`."""
    try:
        parser.parse_args(rest)
        return rest, words  # the id stands before the --
    except UsageError:
        id_alone, end = words[:1], words[1:2]
        return (rest + ["--"] + id_alone, words[2:]) if end == ["--"] else (rest + ["--"] + words, None)


def build_parser(name):
    """The parser of the command with that name."""
    meaning, _, add_arguments, _ = COMMANDS[name]
    parser = _Parser(prog=name, description=meaning[:1].upper() + meaning[1:] + ".", formatter_class=_formatter)
    parser.command = name
    parser.add_argument("--home", metavar="DIR", help="the folder of the queue")
    add_arguments(parser)
    return parser


def home_before(argv):
    """(the --home before the command or None, the arguments without it). Raises UsageError."""
    home = None
    while argv and argv[0].partition("=")[0] == "--home":
        _, equals, value = argv[0].partition("=")
        if not equals and len(argv) < 2:
            raise UsageError("--home needs a folder")
        home, argv = (value, argv[1:]) if equals else (argv[1], argv[2:])
    return home, argv


def _refuse_bare_command(parser, rest):
    """Raise UsageError if a command stands in the arguments of enqueue without -- before it, as other queues take it."""
    at, known = 0, parser._option_string_actions
    while at < len(rest) and rest[at].startswith("-") and rest[at] != "-":
        name = rest[at] if rest[at] in known else next((name for name in known if name.startswith(rest[at])), None)
        values = known[name].nargs if name else 0
        at += 2 if values is None or values == "?" and rest[at + 1:] and not rest[at + 1].startswith("-") else 1
    if at >= len(rest) or rest[at] == "-" or rest[at][:1] in tuple("{[\"'") or not rest[at].strip():
        return
    meant = typed("enqueue " + quote_words(rest[:at] + ["--"] + rest[at:]))
    raise UsageError("put -- before the command: %s%s" % (meant, _what_else_is_meant(rest[at]) if len(rest) == 1 else ""))


def _what_else_is_meant(word):
    """What a word that enqueue was given may be, if it is no command, as the end of a sentence."""
    if os.path.isfile(word):
        return "; if it is a file of jobs: " + typed("enqueue --file " + quote_words([word]))
    try:
        decode_json(word)
    except JsonError as error:
        return "; if it is a job: this is not JSON (%s); write %s" % (error, typed("enqueue '%s'" % EXAMPLE))
    return ""


def _split(argv):
    """(the --home before the command or None, the name of the command, the other arguments, the words behind -- or None)."""
    words = None
    if "--" in argv:
        place = argv.index("--")
        argv, words = argv[:place], argv[place + 1:]
    home, argv = home_before(argv)
    if not argv:
        return home, "", [], None
    if argv[0].startswith("-"):
        for option, short in (("--help", "-h"), ("--version", "-V")):
            if argv[0] in (option, short):
                return home, option, [], None
        raise UsageError("there is no option %s before the command; %s shows what there is" % (argv[0].partition("=")[0], hint("--help")))
    if argv[0] == "help":
        argv = [word for word in argv[1:] if not word.startswith("-")] + ["--help"]
        if len(argv) == 1:
            return home, "--help", [], None
    argv = _in_our_words(argv, words)
    name, rest = argv[0], argv[1:]
    if rest and "%s %s" % (name, rest[0]) in COMMANDS:
        name, rest = "%s %s" % (name, rest[0]), rest[1:]
    if name == "config" and rest[:1] in (["list"], ["show"]):  # as other programs have it
        rest = rest[1:]
    if name not in COMMANDS:
        if rest[:1] in (["-h"], ["--help"]) and any(other.startswith(name + " ") for other in COMMANDS):
            return home, "--help", [name], None
        _explain_unknown(name, rest)
    return home, name, rest, words


def _in_our_words(argv, words):
    """A command and its arguments, with our name in place of another program's name for it."""
    name, rest = ALIASES.get(argv[0], argv[0]), argv[1:]
    if name == "stop":
        name = "cancel" if rest and not rest[0].startswith("-") else "worker stop"
    if name == "run" and not words and (not rest or rest[0].startswith("-") and rest[0] not in ("-", "-h", "--help", "-f", "--file")):
        raise UsageError("what is to be run? %s runs what is in the queue; %s adds a job"
                         % (hint("worker start"), hint("enqueue -- COMMAND")))
    return SYNONYMS.get(name, name).split(" ") + rest


def _explain_unknown(name, rest):
    inner = [other.partition(" ")[2] for other in COMMANDS if other.startswith(name + " ")]
    if inner:
        said = "%s needs one of: %s" % (name, ", ".join(inner))
        raise UsageError(said + (did_you_mean(rest[0], inner) if rest else ""))
    known = list(COMMANDS) + list(ALIASES)
    raise UsageError("there is no command %r%s (%s lists them)" % (name, did_you_mean(name, known), hint("--help")))
