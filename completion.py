"""Completion for bash, zsh and fish: small scripts that ask the program itself, so that they know each option, state and id there is."""
from __future__ import annotations

import argparse

from arguments import ALIASES, COMMANDS, build_parser
from helpers import printable
from job_format import STATES

SCRIPTS = {
    "bash": """_queuectl() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$(queuectl completion --words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _queuectl queuectl
""",
    "zsh": """#compdef queuectl
_queuectl() {
    local -a found
    found=("${(@f)$(queuectl completion --words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "$found" ]] && compadd -a found || _files
}
compdef _queuectl queuectl
""",
    "fish": """function __queuectl
    set -l words (commandline -opc) (commandline -ct)
    queuectl completion --words $words[2..-1] 2>/dev/null
end
complete -c queuectl -f -a '(__queuectl)'
""",
}

# Which states the ids belong to that a command takes.
_IDS = {"cancel": STATES[:2], "edit": STATES[:1], "retry": STATES[3:], "dlq retry": STATES[3:], "dlq purge": STATES[3:],
        "clean": STATES[2:], "show": STATES, "logs": STATES, "wait": STATES[:2]}
_MOST_IDS = 200


def candidates(words, jobs):
    """What may stand in place of the last of `words` (what was typed behind the program's name), as texts. `jobs` is a JobManager."""
    *before, word = words or [""]
    before = [ALIASES.get(one, one) for one in before if not one.startswith("-")]
    pair, single = " ".join(before[:2]), before[0] if before else ""
    name = pair if pair in COMMANDS else single
    if name not in COMMANDS or (len(before) == 1 and any(other.startswith(name + " ") for other in COMMANDS)):
        depth = len(before)
        found = [other.split(" ")[depth] for other in COMMANDS if other.split(" ")[:depth] == before and len(other.split(" ")) > depth]
        found += list(ALIASES) if not before else []
        if found:
            return [one for one in dict.fromkeys(found) if one.startswith(word)]
    if name not in COMMANDS:
        return []
    return [one for one in _arguments(name, words[-2] if len(words) > 1 else "", word, jobs) if one.startswith(word)]


def _arguments(name, previous, word, jobs):
    parser = build_parser(name)
    for action in parser._actions:
        if previous in action.option_strings and action.nargs != 0:
            return list(STATES) if action.dest == "state" else [str(choice) for choice in action.choices or ()]
    if word.startswith("-"):
        return [option for action in parser._actions if action.help != argparse.SUPPRESS for option in action.option_strings
                if option.startswith("--")]
    ids = []
    for job in jobs.jobs(_IDS[name]) if name in _IDS else ():
        if printable(job.id) == job.id and " " not in job.id and job.id.startswith(word):
            ids.append(job.id)
            if len(ids) == _MOST_IDS:
                break
    positional = [action for action in parser._actions if not action.option_strings and action.choices]
    return ids + [str(choice) for action in positional for choice in action.choices or ()]
