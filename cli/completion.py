"""Completion for bash, zsh and fish. Each script asks the program itself, which knows all options, states and ids."""
from __future__ import annotations

import argparse
import re

from cli.arguments import ALIASES, COMMANDS, build_parser
from core.job import STATES
from core.settings import SETTINGS

SCRIPTS = {
    # The words are split anew, since bash splits them at colons and equal signs too; no candidate is ever expanded.
    "bash": """_queuectl() {
    local line=${COMP_LINE:0:COMP_POINT} word prefix found
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    prefix=${word%"${word##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r found; do
        COMPREPLY+=("${found#"$prefix"}")
    done < <(queuectl completion --words "${words[@]:1}" 2>/dev/null)
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

# The states of the jobs whose ids a command takes.
_IDS = {"cancel": STATES[:2], "edit": STATES[:1], "retry": STATES[3:], "dlq retry": STATES[3:], "dlq purge": STATES[3:],
        "clean": STATES[2:], "show": STATES, "logs": STATES, "wait": STATES[:2]}
_MOST_IDS = 200
_PLAIN = re.compile(r"[\w@%+:,./-]+\Z")  # an id that every shell takes as it is


def home_in(words):
    """(the --home before the command or None, the words without it)."""
    if words[:1] == ["--home"] and len(words) > 2:
        return words[1], words[2:]
    if words and words[0].startswith("--home=") and len(words) > 1:
        return words[0][len("--home="):], words[1:]
    return None, words


def candidates(words, store):
    """The texts that could replace the last of `words`, which were typed behind the name of the program. `store` is None if there is no
    queue."""
    _, words = home_in(words)
    *before, word = words or [""]
    path = [ALIASES.get(one, one) for one in before if not one.startswith("-")][:2]
    name = " ".join(path) if " ".join(path) in COMMANDS else path[0] if path else ""
    found = []
    if len(path) == len(before) and path != name.split(" ")[:2] or len(before) == len(name.split()) or not before:
        depth = len(before)
        found = [other.split(" ")[depth] for other in COMMANDS if other.split(" ")[:depth] == path and other.count(" ") >= depth]
        found += list(ALIASES) if not before else []
    if name in COMMANDS:
        found += _arguments(name, before[-1] if before else "", word, store)
    return [one for one in dict.fromkeys(found) if one.startswith(word)]


def _arguments(name, previous, word, store):
    parser = build_parser(name)
    option, equals, value = word.partition("=")
    for action in parser._actions:
        if equals and option in action.option_strings:
            return ["%s=%s" % (option, one) for one in _values(action, value, store)]
        if previous in action.option_strings and action.nargs != 0:
            return _values(action, word, store)
    if word.startswith("-"):
        return [option for action in parser._actions if action.help != argparse.SUPPRESS for option in action.option_strings
                if option.startswith("--")]
    if name in ("config get", "config set"):
        return [setting.name for setting in SETTINGS] if previous in ("get", "set") else []
    positional = [action for action in parser._actions if not action.option_strings and action.choices]
    return (_ids(store, _IDS[name], word) if name in _IDS else []) + [str(one) for action in positional for one in action.choices or ()]


def _values(action, word, store):
    """The values that an option takes."""
    if action.choices:
        return [str(choice) for choice in action.choices]
    if action.dest == "state":
        first = word.rpartition(",")[0]
        return ["%s,%s" % (first, state) if first else state for state in STATES if state not in first.split(",")]
    return _ids(store, STATES, word) if action.dest == "after" else []


def _ids(store, states, word):
    ids: dict = {}
    for job in store.jobs(states) if store is not None else ():
        if job.id.startswith(word) and _PLAIN.match(job.id) and not job.id.startswith("-"):
            ids[job.id] = None
            if len(ids) == _MOST_IDS:
                break
    return list(ids)
