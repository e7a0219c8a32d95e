"""`edit`: changes what a job is that waits or is dead, in an editor or by the options of `enqueue` and --unset."""
from __future__ import annotations

import os
import time

from cli.adding import command_of, job_fields
from cli.terminal import json_text
from core.errors import NotConfirmed, QueueError, StorageFault, UsageError, hint
from core.job import ASKED_FOR, DEAD, HELD, PENDING
from core.new_job import TIMED
from core.settings import did_you_mean
from core.strict_json import decode_json, decode_utf8
from core.system import EDITOR, quote_words, remove_quietly
from helpers import printable
from storage.naming import find_named


def cmd_edit(args, queue):
    """Change a job that waits, or is dead."""
    job = find_named(queue.store, args.id)[-1]
    if job.state not in (PENDING, DEAD):
        after = "; %s opens it and runs it again" % hint("retry --edit", job.id) if job.state != "processing" else ""
        raise QueueError("job %r is %s; only one that waits or is dead can be edited%s" % (args.id, job.state, after))
    fields = job_fields(args)
    if args.words is not None:
        if not args.words:
            raise UsageError("there is no command after --")
        fields["command"] = command_of(args.words)
    unset = [_field_named(name, job, fields) for name in args.unset or ()]
    if job.state == DEAD and not TIMED.isdisjoint([*fields, *unset]):
        raise QueueError("job %r is dead, and has no time at which it runs%s" % (job.id, _what_next(job)))
    if fields or unset:
        changed = _without_fields(_with_fields(job, fields), unset)
        queue.jobs.edit(job, changed, time.time())
        print("Job '%s' changed%s." % (printable(job.id), _what_next(job)))
    else:
        edit_in_editor(queue, job)
    return 0


def _what_next(job):
    return "; %s runs it again" % printable(hint("retry", job.id)) if job.state == DEAD else ""


def _as_written(job):
    """What a user sees of a job: what `enqueue` takes, and when it was added."""
    fields = dict(job.fields(), run_at=job.run_at)
    fields.pop("kept_env", None)  # `JobManager.edit` keeps it
    return fields


def _with_fields(job, fields):
    """A job as a user describes it, with some fields changed; variables are added to those that there are."""
    record = _as_written(job)
    if not TIMED.isdisjoint(fields):
        del record["run_at"]
    if "env" in fields and type(record.get("env")) is dict:
        fields = dict(fields, env=dict(record["env"], **fields["env"]))
    return dict(record, **fields)


def _field_named(name, job, fields):
    """The field that --unset names, as the job has it, or `env.NAME`; options set these `fields`. Raises UsageError."""
    known = name if name in job.options or name.startswith("env.") else name.replace("-", "_")
    if known in ("id", "command", "created_at", "cwd"):
        raise UsageError("no job is without %s; it cannot be taken away" % known)
    if known in fields or known.partition(".")[2] in fields.get("env", ()) or (known in TIMED and not TIMED.isdisjoint(fields)):
        raise UsageError("%s is to be set and to be taken away; say one of both" % known)
    if known not in job.options and known not in ASKED_FOR and not name.startswith("env."):
        raise UsageError("job %r has no field %r%s" % (job.id, name, did_you_mean(known, [*job.options, *ASKED_FOR])))
    return known


def _without_fields(record, names):
    """A job as a user describes it, without some fields or, by `env.NAME`, some of its variables."""
    for name in names:
        if name == "hold" and record.get("run_at") != HELD:
            continue  # a time that it has stays
        variable = name[len("env."):] if name.startswith("env.") and name not in record else None
        if variable is None:
            record = {field: value for field, value in record.items() if field != ("run_at" if name in TIMED else name)}
        elif type(record.get("env")) is dict:
            left = {other: value for other, value in record["env"].items() if other != variable}
            record = dict(record, env=left) if left else _without_fields(record, ["env"])
    return record


def _run_editor(command):
    """Run an editor to its end: its exit code. Ctrl+C is for the editor alone, which may know what to do with it (ed(1), emacs(1)): who
    ended with it would take the text away from an editor that goes on."""
    import signal
    import subprocess
    former = signal.getsignal(signal.SIGINT)
    if former == signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: None)  # the editor does not inherit that, as it would SIG_IGN
    try:
        return subprocess.run(command, shell=True, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, former)


def edit_in_editor(queue, job):
    """Open a job in an editor, and write it back. Raises QueueError; the text is kept then."""
    import tempfile
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR
    text = json_text(_as_written(job)) + "\n"
    descriptor, path = tempfile.mkstemp(prefix="queuectl-", suffix=".json")
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("utf-8"))
    if _run_editor("%s %s" % (editor, quote_words([path]))):
        raise QueueError("the editor (%s) failed; nothing was changed, the text is in %s" % (editor, path))
    with open(path, "rb") as file:
        content = file.read()
    try:
        edited = decode_json(decode_utf8(content))
        if content == text.encode("utf-8"):
            print("Job '%s' is as it was." % printable(job.id))
        else:
            queue.jobs.edit(job, edited, time.time())
            print("Job '%s' changed." % printable(job.id))
    except QueueError as error:
        unchanged = "" if isinstance(error, (StorageFault, NotConfirmed)) else "nothing was changed, "  # those say what was
        error.args = ("%s; %syour text is in %s" % (error.args[0], unchanged, path),)
        raise
    remove_quietly(path)
