"""Commands that bring jobs back, remove them, and repair files: retry, purge, clean, reset, doctor."""
from __future__ import annotations

import os
import time

from cli.context import notice, refuse_in_job
from cli.terminal import counted
from core.errors import EXIT_FAILED, CorruptFile, JobNotFound, JobRefused, QueueError, StorageFault, UsageError, fault_text, hint, typed
from core.home import logs_folder
from core.job import COMPLETED, DEAD, PROCESSING
from core.settings import DEFAULTS
from core.locks import is_held
from core.system import quote_words, remove_file
from core.times import format_time
from helpers import printable
from storage.naming import find_all_named, find_named
from storage.selection import Choice
from storage.store import Store


_SAFE_AGE = 3600.0  # seconds


def _choice(args):
    """The Choice of jobs that the arguments make."""
    older, since = getattr(args, "older_than", None), getattr(args, "since", None)
    every = getattr(args, "all", False) or since is not None
    if bool(args.ids) == every and hasattr(args, "all"):
        raise UsageError("say which jobs: ids, or --all" + ", or --since TIME" * hasattr(args, "since"))
    now = time.time()
    return Choice(args.ids or None, *(None if length is None else format_time(now - length) for length in (older, since)))


def cmd_retry(args, queue):
    """Bring jobs back into the queue."""
    if args.edit:
        _open_first(args, queue)
    back = queue.jobs.retry(_choice(args), time.time())
    what = "Job '%s' is" % back.ids[0] if len(back.ids) == 1 else counted(len(back.ids), "job")
    print(printable("%s back in the queue%s%s." % (what, _with_them(back.followers, len(back.ids)), _left_out(back.cancelled))))
    return 0


def _with_them(ids, number):
    """What is said of jobs that came back because of so many others."""
    if not ids:
        return ""
    some = ", ".join(ids[:10]) + " and others" * (len(ids) > 10)
    return ", with %d that died because of %s: %s" % (len(ids), "it" if number == 1 else "them", some)


def _left_out(number):
    """What is said of so many cancelled jobs that stay where all others come back."""
    if not number:
        return ""
    stays, one = ("1 cancelled job stays", "it") if number == 1 else ("%d cancelled jobs stay" % number, "one")
    return "; %s dead: %s brings %s back" % (stays, hint("retry ID"), one)


def _open_first(args, queue):
    """Let a user edit the job that is to come back."""
    from cli.editing import edit_in_editor
    if len(args.ids) != 1:
        raise UsageError("--edit opens one job; name it")
    job = find_named(queue.store, args.ids[0])[-1]
    if job.state not in (COMPLETED, DEAD):
        raise QueueError("job %r is %s; %s opens one that waits" % (job.id, job.state, hint("edit %s" % quote_words(args.ids))))
    edit_in_editor(queue, job)


def _remove_output(queue, jobs):
    from storage.output import remove_logs
    remove_logs(queue.home, jobs)


def _removed(queue, jobs):
    print("Removed %s." % counted(len(jobs), "job"))
    try:
        _remove_output(queue, jobs)
    except OSError as error:
        raise QueueError("the jobs are removed, but not all of their output: %s" % fault_text(error)) from None
    return 0


def cmd_dlq_purge(args, queue):
    """Remove dead jobs for good."""
    return _clean(args, queue, (DEAD,))


def cmd_clean(args, queue):
    """Remove finished jobs and their output."""
    code = _clean(args, queue, args.state)
    if not args.ids:
        try:
            removed = _remove_leftovers(queue, args.older_than or 0)
        except OSError as error:
            raise QueueError("the jobs are removed, but not all that is left over: %s" % fault_text(error)) from None
        if removed:
            print("Removed %s that belonged to no job." % counted(removed, "file"))
    return code


def _remove_leftovers(queue, age):
    """Remove the output of jobs that are gone, and what killed worker processes left, that is so many seconds old, and held open by nobody;
    how many files that were. While workers run it must be old, since an editor may just be saving the jobs that it belongs to."""
    from storage.output import stray_logs
    before = time.time() - max(age, _SAFE_AGE if queue.workers.running() else 0)
    removed = 0
    for path in stray_logs(queue.home, queue.store.all_jobs()) + queue.workers.leftovers():
        try:
            is_old = os.lstat(path).st_mtime <= before
        except FileNotFoundError:
            continue
        if is_old and (path.endswith(".wake") or not is_held(path)):
            remove_file(path)
            removed += 1
    return removed


def _clean(args, queue, states):
    try:
        jobs = queue.jobs.clean(states, _choice(args), lambda jobs: _remove_output(queue, jobs))
    except JobNotFound as error:
        raise _in_another_state(args, queue, states) or error from None
    return _removed(queue, jobs)


def _in_another_state(args, queue, states):
    """A JobRefused that says what to do with the first of the jobs that are in none of these states; None if that is not the reason."""
    for name, jobs in zip(args.ids, find_all_named(queue.store, args.ids)):
        if not any(job.state in states for job in jobs):
            job, words = jobs[-1], quote_words([name])
            removes = hint("cancel %s" % words) + " ends it first" if job.state == PROCESSING else hint("remove %s" % words) + " removes it"
            return JobRefused("job %r is %s, not %s; %s" % (name, job.state, " or ".join(states), removes))
    return None


def cmd_remove(args, queue):
    """Remove jobs in whatever state, with their output."""
    return _removed(queue, queue.jobs.remove(args.ids, lambda jobs: _remove_output(queue, jobs)))


def cmd_reset(args, queue):
    """Remove all jobs, the dead letter queue and all output."""
    if not args.yes:
        raise UsageError("reset removes all jobs, the dead letter queue and all output; say so with: %s" % typed("reset --yes"))
    refuse_in_job(queue, "reset", "it needs all workers to have ended; call it from outside of a job")
    queue.workers.refuse_if_running("reset")
    queue.jobs.reset()
    try:
        queue.jobs.resume()
        queue.jobs.resume(queue.store.paused_groups())
    except StorageFault as fault:
        fault.effect = "the jobs are removed, but the queue may still be paused"
        raise
    from shutil import rmtree
    rmtree(logs_folder(queue.home), ignore_errors=True)
    print("Removed all jobs.")
    return 0


def cmd_doctor(args, queue):
    """Check every file; with --repair, save what can be read of a broken job file."""
    from cli import doctor
    from worker_manager import WorkerManager
    queue.refuse_absence()
    store = Store(queue.home, DEFAULTS, notice)  # config.json may be what is broken
    code = 0
    for finding in doctor.examine(queue.home, store, WorkerManager(queue.home, queue.config_path)):
        if finding.sound:
            print(printable("%s %s" % (finding.name, finding.text)))
        elif args.repair and finding.repairable:
            code = _repair(finding, queue, store) or code
        else:
            code = EXIT_FAILED
            print(printable("%s: %s" % (finding.name, finding.text)))
    return code


def _repair(finding, queue, store):
    """Repair one job file: 0 if nothing of it was lost."""
    from cli.salvage import repair
    try:
        try:
            store.tidy(finding.name)
            store.examine(finding.name)
            print(printable("%s: mended; before, %s" % (finding.name, finding.text)))
            return 0
        except CorruptFile:
            copy, saved, lost = repair(os.path.join(queue.home, finding.name), store)
    except (QueueError, OSError) as error:
        print(printable("%s: cannot be repaired: %s" % (finding.name, error)))
        return EXIT_FAILED
    if not saved:
        print(printable("%s: saved 0 jobs: none in it can be read; it is empty now, and the file as it was is %s" % (finding.name, copy)))
        return EXIT_FAILED
    print(printable("%s: saved %s; the file as it was is %s" % (finding.name, counted(saved, "job"), copy)))
    for sentence in lost:
        print(printable("%s: could not read %s" % (finding.name, sentence)))
    return EXIT_FAILED if lost else 0
