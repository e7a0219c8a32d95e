"""Makes what the documents say of commands and settings from the program's own tables: `python3 docs/make_manual.py`.

That is docs/queuectl.1, the manual page, which has no macro beyond man(7), and the table of settings in README.md. A test compares both
with the code, so that none is forgotten.
"""
from __future__ import annotations

import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "queuectl.1")
README = os.path.join(ROOT, "README.md")
_SETTINGS = re.compile("(<!-- settings: .*? -->\n\n).*?(\n<!-- end -->)", re.DOTALL)

_HEAD = """\
.\\" Made by docs/make_manual.py from the table of commands.
.TH QUEUECTL 1 "" "QueueCTL" "User Commands"
.SH NAME
queuectl \\- a job queue in plain files
.SH SYNOPSIS
.B queuectl
[\\fB\\-\\-home\\fR \\fIDIR\\fR]
.I COMMAND
\\&...
.SH DESCRIPTION
QueueCTL keeps jobs in a JSON file, runs their commands through the shell, tries failed ones again after growing waits, and moves what
keeps failing to a dead letter queue. Nothing has to be installed or administered: whoever wants jobs to run starts a worker.
.SH COMMANDS
"""

_TAIL = """\
.SH EXIT STATUS
.TP
0
Done.
.TP
1
Refused or failed.
.TP
2
Not understood.
.TP
3
A bug in QueueCTL.
.TP
4
.B wait
cannot know how a removed job ended.
.TP
124
.BR wait " or " "worker stop"
took longer than it may.
.TP
130
Interrupted.
.SH ENVIRONMENT
.TP
.B QUEUECTL_HOME
The folder of the queue, unless
.B \\-\\-home
names one.
.TP
.BR QUEUECTL_JOB_ID ", " QUEUECTL_ATTEMPT ", " QUEUECTL_WORKER ", " QUEUECTL_HOME
A job sees these. They are set by its worker.
.SH FILES
.TP
.I ~/.queuectl
The folder of the queue of an installed program.
.TP
.IR jobs.json ", " dlq.json
The jobs, and the dead ones with the reason.
.TP
.I config.json
The settings.
.TP
.I logs/
What jobs wrote, one file an attempt.
"""


def roff(text):
    """A text as roff shows it unchanged (groff_char(7))."""
    for sign, shown in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(sign, shown)
    return "\\&" + text if text[:1] == "." else text


def _option(action):
    """One argument of a command: its names and value, and its meaning."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest
    if action.option_strings:
        names = ", ".join("\\fB%s\\fR" % roff(name) for name in action.option_strings)
        if action.nargs != 0:
            names += " [\\fI%s\\fR]" % roff(value) if action.nargs == "?" else " \\fI%s\\fR" % roff(value)
    else:
        names = "\\fI%s\\fR" % roff(value)
    return ".TP\n%s\n%s\n" % (names, roff(action.help or ""))


def _usage(name, actions, own):
    """How a command is called, `own` if it says so itself; argparse's own line differs from one Python to the next."""
    if own:
        return "; ".join(" ".join(line.split()) for line in (own % {"prog": "queuectl " + name}).splitlines())
    forms = {None: "%s", "?": "[%s]", "*": "[%s...]", "+": "%s..."}
    values = [forms[action.nargs] % (action.metavar or action.dest) for action in actions if not action.option_strings]
    options = ["[options]"] * any(action.option_strings for action in actions)
    return " ".join(["queuectl", name] + options + values)


def _command(name, meaning, example, parser):
    """The part of the page about one command."""
    from argparse import SUPPRESS
    everywhere = {"--help", "--home"}
    shown = [action for action in parser._actions if action.help != SUPPRESS and everywhere.isdisjoint(action.option_strings)]
    text = ".SS %s\n%s.\n.PP\n.B %s\n" % (roff(name), roff(meaning[:1].upper() + meaning[1:]), roff(_usage(name, shown, parser.usage)))
    return text + "".join(map(_option, shown)) + ".PP\nExample: \\fB%s\\fR\n" % roff("queuectl " + example)


def page():
    """The manual page as a text."""
    sys.path.insert(0, ROOT)
    from cli.arguments import COMMANDS, build_parser
    commands = [_command(name, row[0], row[1], build_parser(name)) for name, row in COMMANDS.items()]
    return _HEAD + "".join(commands) + _TAIL


def settings_table():
    """The settings as a Markdown table: of what each means the first part, up to a semicolon or a colon. `config` prints the whole."""
    sys.path.insert(0, ROOT)
    from core.settings import SETTINGS
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        meaning = re.split("[;:] ", setting.meaning)[0] + (" (%s)" % setting.unit if setting.unit else "")
        rows.append("| `%s` | %s | %s |" % (setting.name, json.dumps(setting.default), meaning))
    return "\n".join(rows) + "\n"


def with_settings(text):
    """The text of README.md with the table of settings as it is now."""
    return _SETTINGS.sub(lambda found: found.group(1) + settings_table() + found.group(2), text)


if __name__ == "__main__":
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(page())
    with open(README, encoding="utf-8") as file:
        content = with_settings(file.read())
    with open(README, "w", encoding="utf-8") as file:
        file.write(content)
