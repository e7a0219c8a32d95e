"""Completion for bash, zsh, fish and PowerShell. Each script asks the program itself, which knows all options, states and ids.

Behind `--` stands another program's command: there the scripts offer commands and files, and the program is not asked. Where it offers
nothing they offer files.
"""
from __future__ import annotations

import argparse
import os
import re
from itertools import islice

from cli.arguments import ALIASES, COMMANDS, SYNONYMS, build_parser
from cli.context import Home
from core.errors import UsageError, typed
from core.job import COMPLETED, DEAD, OPTION_CHECKS, PENDING, PROCESSING, STATES
from core.rules import STATE_WORDS, states_meant
from core.settings import SETTINGS
from core.strict_json import encode_json
from storage.layout import GROUP

SCRIPTS = {
    # The words are split anew, since bash splits them at colons and equal signs too; no candidate is ever expanded.
    "bash": """_queuectl() {
    local line=${COMP_LINE:0:COMP_POINT} word prefix found place
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    COMPREPLY=()
    for (( place = 1; place < ${#words[@]} - 1; place++ )); do
        [[ ${words[place]} == -- ]] || continue
        (( place == ${#words[@]} - 2 )) || return
        while IFS= read -r found; do
            COMPREPLY+=("$found")
        done < <(compgen -c -- "$word" | sort -u)
        return
    done
    prefix=${word%"${word##*[:=]}"}
    while IFS= read -r found; do
        COMPREPLY+=("${found#"$prefix"}")
    done < <(queuectl completion --words "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _queuectl queuectl
""",
    "zsh": """#compdef queuectl
_queuectl() {
    local -a found
    local -i place=${words[(i)--]}
    if (( place > 1 && place < CURRENT )); then
        shift place words
        (( CURRENT -= place ))
        _normal
        return
    fi
    found=("${(@f)$(queuectl completion --words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "$found" ]] && compadd -a found || _files
}
compdef _queuectl queuectl
""",
    "fish": """function __queuectl
    set -l words (commandline -opc) (commandline -ct)
    set -l place (contains -i -- -- $words)
    if test -n "$place"; and test $place -lt (count $words)
        complete -C (string join ' ' -- $words[(math $place + 1)..-1])
        return
    end
    set -l found (queuectl completion --words $words[2..-1] 2>/dev/null)
    if test -n "$found"
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c queuectl -f -a '(__queuectl)'
""",
    # Windows PowerShell leaves out empty arguments, so that --new-word says that a word is to begin.
    "powershell": """Register-ArgumentCompleter -Native -CommandName queuectl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { if ($_ -is [Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text } })
    if ($words -contains '--') {
        if ($words[-1] -eq '--') { [Management.Automation.CompletionCompleters]::CompleteCommand($wordToComplete) }
        return
    }
    $found = if ($wordToComplete) { queuectl completion --words @words $wordToComplete 2>$null }
        else { queuectl completion --new-word --words @words 2>$null }
    $found | Where-Object { $_ } | ForEach-Object { [Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
}
""",
}

# The states of the jobs whose ids a command takes.
_IDS = {"cancel": (PENDING, PROCESSING), "hold": (PENDING,), "release": (PENDING,), "edit": (PENDING, DEAD), "retry": (COMPLETED, DEAD),
        "dlq retry": (COMPLETED, DEAD), "dlq purge": (DEAD,), "clean": (COMPLETED, DEAD), "remove": (PENDING, COMPLETED, DEAD),
        "show": STATES, "logs": STATES, "wait": (PENDING, PROCESSING)}
# The words that --state takes, of a command that does not take all.
_STATE_WORDS = {"clean": (COMPLETED, DEAD),
                "cancel": tuple(word for word in STATE_WORDS if set(states_meant([word])) <= {PENDING, PROCESSING})}
_MOST_IDS = 200
_MOST_LOOKED_AT = 10000  # jobs that are looked at for their groups
_PLAIN = re.compile(r"[\w@%+:,./-]+\Z")  # an id that every shell takes as it is


def cmd_completion(args, queue):
    """Print a shell's completion script, or what may follow some words."""
    if args.words_so_far is not None:
        home, _ = home_in(args.words_so_far)
        asked = Home(os.path.abspath(os.path.expanduser(home))) if home else queue
        for word in candidates(args.words_so_far, asked.store if os.path.isdir(asked.home) else None):
            print(word)
    elif args.shell is None:
        raise UsageError("which shell: bash, zsh, fish or powershell? For bash: source <(%s)" % typed("completion bash"))
    else:
        print(SCRIPTS[args.shell], end="")
    return 0


def home_in(words):
    """(the --home among words that were typed, or None; the words without it, if it stands before the command)."""
    home, left = None, list(words)
    for place, word in enumerate(words[:-1]):
        option, equals, value = word.partition("=")
        if option == "--home" and (equals or place + 2 < len(words)):
            home = value if equals else words[place + 1]
            left = left if place else words[1 if equals else 2:]
    return home, left


def _path(before):
    """The command that these words name, as its one or two words, or what there is of one."""
    plain = [word for word in before if not word.startswith("-")]
    if plain[:1] == ["help"]:
        plain = plain[1:]
    if not plain:
        return []
    first = "cancel" if plain[0] == "stop" else ALIASES.get(plain[0], SYNONYMS.get(plain[0], plain[0]).partition(" --")[0])
    return (first.split(" ") + plain[1:])[:2]


def candidates(words, store):
    """What could replace the last of the `words` typed behind the name of the program. `store` is None if there is no queue."""
    _, words = home_in(words)
    *before, word = words or [""]
    if "--" in before:
        return []
    path = _path(before)
    name = " ".join(path) if " ".join(path) in COMMANDS else path[0] if path else ""
    depth = len(path)
    found = [other.split(" ")[depth] for other in COMMANDS if other.split(" ")[:depth] == path and other.count(" ") >= depth]
    found += list(ALIASES) + ["help"] if not before else []
    if name in COMMANDS and before[:1] != ["help"]:
        found += _arguments(name, before, word, store)
    return [one for one in dict.fromkeys(found) if one.startswith(word)]


def _arguments(name, before, word, store):
    parser, previous = build_parser(name), before[-1]
    option, equals, value = word.partition("=")
    for action in parser._actions:
        if equals and option in action.option_strings:
            return ["%s=%s" % (option, one) for one in _values(name, action, value, store)]
        if previous in action.option_strings and action.nargs not in (0, "?"):
            return _values(name, action, word, store)
    if word.startswith("-"):
        return [option for action in parser._actions if action.help != argparse.SUPPRESS for option in action.option_strings
                if option.startswith("--")]
    if name.split(" ")[0] == "config":
        return _of_setting(name, before, store)
    positional = [action for action in parser._actions if not action.option_strings and action.choices]
    return (_ids(store, _IDS[name], word) if name in _IDS else []) + [str(one) for action in positional for one in action.choices or ()]


def _of_setting(name, before, store):
    """The names of the settings, or, behind one, the values that `config set` offers for it."""
    plain = [word for word in before if not word.startswith("-")][len(name.split(" ")):]
    if not plain:
        return [setting.name for setting in SETTINGS] + ["limits." + group for group in _groups(store)]
    setting = next((setting for setting in SETTINGS if setting.name == plain[0].replace("-", "_")), None)
    if name != "config set" or setting is None or len(plain) > 1:
        return []
    return ["true", "false"] if setting.type is bool else [encode_json(setting.default)]


def _values(name, action, word, store):
    if action.choices:
        return [str(choice) for choice in action.choices]
    if action.dest == "state":
        first = word.rpartition(",")[0]
        return ["%s,%s" % (first, state) if first else state for state in _STATE_WORDS.get(name, STATE_WORDS)
                if state not in first.split(",")]
    if action.dest == "group":
        return _groups(store)
    if action.dest == "unset":
        return ["run_at", *OPTION_CHECKS]
    return _ids(store, STATES, word) if action.dest in ("after", "after_any") else []


def _groups(store):
    """The groups that have a limit, are paused, or that one of the first jobs has."""
    if store is None:
        return []
    known = dict.fromkeys([*store.settings.limits, *store.paused_groups()])
    known.update((job.group, None) for job in islice(store.jobs(containing=GROUP), _MOST_LOOKED_AT) if job.group)
    return [group for group in known if _PLAIN.match(group) and not group.startswith("-")][:_MOST_IDS]


def _ids(store, states, word):
    ids: dict = {}
    for job in store.jobs(states) if store is not None else ():
        if job.id.startswith(word) and _PLAIN.match(job.id) and not job.id.startswith("-"):
            ids[job.id] = None
            if len(ids) == _MOST_IDS:
                break
    return list(ids)
