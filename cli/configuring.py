"""`config`: shows the settings, changes one, or removes it from config.json."""
from __future__ import annotations

import sys

from cli.terminal import get_width, is_terminal, json_line, print_json, showable, table
from core.errors import InvalidSettings, JsonError, UsageError, hint
from core.home import wake_workers
from core.settings import (DEFAULTS, SETTINGS, check_part, check_setting, did_you_mean, key_of, part_named, split_names, split_words)
from core.strict_json import decode_json, encode_json
from core.system import quote_words
from helpers import printable, read_config, save_setting, unset_key

_NARROW = 30  # columns; where less are left for the meanings of the settings, each stands below its setting


def cmd_config(args, queue):
    """Show all settings, or one."""
    if args.value is not None:
        raise UsageError("to change a setting: %s" % hint("config set %s" % quote_words([args.key, args.value])))
    settings = queue.read_settings()
    if args.key is not None:
        setting, part = part_named(args.key)
        value = getattr(settings, setting.name)
        value = value if part is None else value.get(part)
        print(json_line({key_of(setting, part): value} if args.json else value))
    elif args.json:
        print_json(settings._asdict())
    else:
        rows = [(setting.name, json_line(getattr(settings, setting.name)), setting.meaning) for setting in SETTINGS]
        if is_terminal(sys.stdout):
            print("\n".join(wrapped(rows, get_width())))
        else:
            table(("SETTING", "VALUE", "MEANING"), rows)
    return 0


def wrapped(rows, window):
    """Lines of at most `window` columns for rows (name, value, meaning)."""
    from textwrap import wrap
    rows = [(name, showable(value), meaning) for name, value, meaning in rows]
    names = max(len(name) for name, _, _ in rows)
    values = min(max(len(value) for _, value, _ in rows), 12)
    start = names + values + 4
    is_narrow = window - start < _NARROW
    lines: list = []
    for name, value, meaning in rows:
        first, indent = "%-*s  %s" % (names, name, value), " " * (4 if is_narrow else start)
        if is_narrow or len(value) > values:
            lines.append(first)
            first = ""
        lines += wrap(meaning, max(14, window), initial_indent=first.ljust(len(indent)), subsequent_indent=indent)
    return lines


def cmd_set(args, queue):
    """Change a setting."""
    setting, part = part_named(args.key)
    try:
        value = decode_json(args.value)
    except JsonError:
        value = args.value
    if setting.type is str and value is not None and type(value) is not str:
        value = args.value
    elif setting.type is list and type(value) is str:
        value = split_words(value)
    elif type(setting.type) is tuple and type(value) is str:
        value = split_names(value)
    return _save(queue, setting, part, value)


def _save(queue, setting, part, value):
    value = check_setting(setting, value) if part is None else check_part(setting, part, value)
    queue.establish(DEFAULTS)  # whatever config.json says, which is about to be changed
    with queue.store.lock:
        save_setting(queue.config_path, setting, value, part)
    wake_workers(queue.home)  # they look at config.json once a second, and when they are woken
    print("%s = %s" % (printable(key_of(setting, part)), json_line(value)))
    return 0


def cmd_unset(args, queue):
    """Remove a setting, or a key that is none, from config.json, so that the default holds."""
    record = read_config(queue.config_path)
    name = args.key if args.key in record else args.key.replace("-", "_")
    if name not in record and "." in name:
        setting, part = part_named(args.key)
        return _save(queue, setting, part, None)
    if name not in record and name not in DEFAULTS._fields:
        raise InvalidSettings("config.json has no key %s%s" % (encode_json(args.key), did_you_mean(name, list(record))))
    if name in record:
        queue.establish(DEFAULTS)
        with queue.store.lock:
            unset_key(queue.config_path, name)
    if name in DEFAULTS._fields:
        print("%s = %s, the default" % (name, json_line(getattr(DEFAULTS, name))))
    else:
        print("%s is removed." % json_line(name))
    return 0
