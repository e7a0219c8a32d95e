"""Which field of a job someone may have meant by a name that is none: that of another queue, or a misspelt one.

Such a field is the user's own, and is kept. It is worth a remark.
"""
from __future__ import annotations

_OTHER_NAMES = {"retries": "max_retries", "maxattempts": "max_retries", "retrylimit": "max_retries",
                "timeoutseconds": "timeout", "timeoutsec": "timeout", "timeoutsecs": "timeout", "timelimit": "timeout", "ttl": "timeout",
                "at": "run_at", "eta": "run_at", "scheduledat": "run_at",
                "scheduleat": "run_at", "notbefore": "run_at", "startat": "run_at",
                "dependson": "after", "depends": "after", "dependencies": "after", "deps": "after", "needs": "after", "requires": "after",
                "workdir": "cwd", "workingdirectory": "cwd", "workingdir": "cwd", "dir": "cwd", "directory": "cwd", "folder": "cwd",
                "environment": "env", "environ": "env", "envs": "env", "envvars": "env", "variables": "env", "nice": "priority",
                "delayseconds": "delay", "countdown": "delay", "cmd": "command", "script": "command", "shell": "command", "jobid": "id",
                "backoff": "backoff_base", "retrydelay": "backoff_base"}  # without - and _, in small letters


def field_meant(name, known):
    """Which of our fields (`known`) someone may have meant by the name of another queue, or a misspelt one; None if none is like it."""
    plain = name.replace("_", "").replace("-", "").lower()
    for field in known:
        if plain == field.replace("_", ""):
            return field
    if plain in _OTHER_NAMES:
        return _OTHER_NAMES[plain]
    from difflib import get_close_matches
    return next(iter(get_close_matches(name.lower(), [field for field in known if len(field) > 3], 1, 0.8)), None)
