"""Commands that steer: edit, cancel, pause, resume, config, completion."""
from __future__ import annotations

import os
import time

from cli.context import WHO_ENDS, Home, notice
from cli.terminal import json_text
from core.errors import EXIT_FAILED, NotConfirmed, QueueError, StorageFault, UsageError, hint, typed
from core.home import wake_workers
from core.job import CANCELLED, PENDING, PROCESSING
from core.rules import given_up
from core.strict_json import decode_json, decode_utf8
from core.system import EDITOR, quote_words
from helpers import printable
from storage.job_file import remove_quietly
from storage.selection import Choice

def cmd_edit(args, queue):
    """Open a pending job in an editor, and write it back."""
    import subprocess
    import tempfile
    job = queue.store.find(args.id)[-1]
    if job.state != PENDING:
        raise QueueError("job %r is %s; only a pending one can be edited" % (args.id, job.state))
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR
    text = json_text(dict(job.fields(), run_at=job.run_at)) + "\n"
    descriptor, path = tempfile.mkstemp(prefix="queuectl-", suffix=".json")
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("utf-8"))
    if subprocess.run("%s %s" % (editor, quote_words([path])), shell=True, check=False).returncode:
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
    except (StorageFault, NotConfirmed) as error:  # it says itself what was changed
        error.args = ("%s; your text is in %s" % (error.args[0], path),)
        raise
    except QueueError as error:
        error.args = ("%s; nothing was changed, your text is in %s" % (error, path),)
        raise
    remove_quietly(path)
    return 0


def cmd_completion(args, queue):
    """Print a shell's completion script, or what may follow some words."""
    from cli import completion
    if args.words_so_far is not None:
        home, _ = completion.home_in(args.words_so_far)
        asked = Home(os.path.abspath(home)) if home else queue
        for word in completion.candidates(args.words_so_far, asked.store if os.path.isdir(asked.home) else None):
            print(word)
    elif args.shell is None:
        raise UsageError("which shell: bash, zsh or fish? For bash: source <(%s)" % typed("completion bash"))
    else:
        print(completion.SCRIPTS[args.shell], end="")
    return 0


def cmd_cancel(args, queue):
    """Take jobs out of the queue, and end those that run."""
    from storage.output import last_lines, log_path
    done = queue.jobs.cancel(args.ids, time.time(), lambda job: last_lines(log_path(queue.home, job, job.attempts)))
    abandoned = queue.workers.abandoned([job for job in done if job.state == PROCESSING])
    if any(job.state == PROCESSING for job in done):
        wake_workers(queue.home)
    for job in done:
        how = "; its worker is dead: %s what is left of it" % WHO_ENDS[bool(queue.workers.running())] if job in abandoned \
            else "; its worker ends it" if job.state == PROCESSING else ""
        print("Job '%s' cancelled%s." % (printable(job.id), how))
    return announce(queue, [given_up(job, CANCELLED, time.time()) for job in done])


def announce(queue, jobs):
    """Run on_finish for cancelled jobs: 0, or 1 if it could not be started for one of them."""
    code = 0
    for job in jobs if queue.store.settings.on_finish else ():
        try:
            queue.workers.announce(queue.store.settings.on_finish, job, os.environ)
        except OSError as error:
            code = EXIT_FAILED
            notice("on_finish could not be run for %r: %s" % (job.id, error.strerror or error))
    return code


def cmd_hold(args, queue):
    """Let waiting jobs wait until they are released."""
    for job in queue.jobs.hold(Choice(args.ids, None), time.time()):
        print("Job '%s' is held until %s." % (printable(job.id), printable(hint("release %s" % quote_words([job.id])))))
    return 0


def cmd_release(args, queue):
    """Let jobs start that are held, or due later."""
    if bool(args.ids) == args.all:
        raise UsageError("say which jobs: ids, or --all")
    released = queue.jobs.release(Choice(args.ids or None, None), time.time())
    for job in released:
        print("Job '%s' may start now." % printable(job.id))
    if not released:
        print("No job is held.")
    return 0


def cmd_pause(args, queue):
    """Let workers take no new jobs."""
    queue.jobs.pause()
    print(printable("Paused: workers take no new jobs until %s." % hint("resume")))
    return 0


def cmd_resume(args, queue):
    """Let workers take jobs again."""
    was_paused = queue.store.paused()
    queue.jobs.resume()
    wake_workers(queue.home)
    print("Resumed." if was_paused else "It was not paused.")
    return 0
