"""The help of the whole program: how to begin, all commands, or one group of them. It fits 80 columns; main prints it."""
from __future__ import annotations

from cli.arguments import COMMANDS
from core.errors import hint, typed

# The first command of each group of commands in COMMANDS, with the title above it.
GROUPS = (("Add jobs", "enqueue"), ("Run them", "worker start"), ("Look", "status"), ("Deal with failures", "dlq list"),
          ("Tidy up", "clean"), ("Settings", "config"))

_FIRST_STEPS = (("add a job", "enqueue -- echo Hello"), ("run what is in the queue", "worker start"), ("see how far it is", "status"),
                ("see all jobs", "list"), ("see what a job wrote", "logs ID"), ("run a dead job again", "retry ID"))


def first_steps():
    """How to begin, in ten lines: what the program alone prints."""
    lines = ["QueueCTL runs commands, tries failed ones again, and keeps what they write.", ""]
    lines += ["  %-26s %s" % (what, typed(command)) for what, command in _FIRST_STEPS]
    return "\n".join(lines + ["", "%s lists all commands." % hint("--help")])


def all_commands(group=""):
    """All commands; or those of one group (`worker`, `dlq`, `config`)."""
    if group:
        return "\n".join(_row(name) for name in COMMANDS if name.split(" ")[0] == group)
    lines = ["QueueCTL: a job queue in plain files.", "", "usage: %s" % typed("COMMAND …"), ""]
    titles = {first: title for title, first in GROUPS}
    for name in COMMANDS:
        if name in titles:
            lines.append(titles[name] + ":")
        lines.append(_row(name))
    return "\n".join(lines + ["", "%s explains a command." % hint("help COMMAND"),
                              "The queue is in --home DIR, else $QUEUECTL_HOME, else beside the program,",
                              "else in ~/.queuectl."])


def _row(name):
    return "  %-14s %s" % (name, COMMANDS[name][0])
