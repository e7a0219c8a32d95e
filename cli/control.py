"""Commands that steer: worker, edit, cancel, pause, resume, config, completion."""
from __future__ import annotations

import os
import sys
import time

from cli.context import Home, abandoned_jobs, is_same_folder, notice, refuse_in_job
from cli.terminal import counted, json_text, print_json, table, when
from core.errors import EXIT_FAILED, EXIT_TIMEOUT, JsonError, NotConfirmed, QueueError, StorageFault, UsageError
from core.home import wake_workers
from core.job import CANCELLED, PENDING, PROCESSING
from core.rules import given_up
from core.settings import SETTINGS, check_setting, setting_named, split_words
from core.strict_json import decode_json, decode_utf8, encode_json
from core.system import EDITOR, quote_words
from helpers import load_settings, printable, printable_json, save_setting
from storage.job_file import remove_quietly

_WHO_ENDS = ("the next worker to start ends", "another worker ends")  # by whether one runs


def cmd_worker_start(args, queue):
    """Be a worker process, or start one in the background."""
    from core.file_systems import remote_file_system
    from core.home import check_safe, worker_log_path
    from worker_manager import check_open_files
    queue.establish()
    warning = check_safe(queue.home, lambda: queue.store.settings.trust_home)
    if warning:
        notice("warning: " + warning)
    check_open_files(args.count)
    if args.drain and queue.store.paused():
        raise QueueError("the queue is paused, so that nothing would be drained; 'queuectl resume' first")
    if args.drain and not args.detach:
        refuse_in_job(queue, "worker start --drain", "add --detach, or name another queue by --home")
    queue.store.count()  # what is broken is better said now than by a worker that waits for its repair
    remote = remote_file_system(queue.home)
    if remote:
        notice("warning: %s is on a file system of another machine (%s), where locks may not hold; run workers and commands on one machine "
               "alone, better with --home on a disk of its own" % (queue.home, remote))
    workers = counted(args.count, "worker")
    if args.detach:
        command = [sys.executable, _program(), "--home", queue.home, "worker", "start", "--count", str(args.count)]
        command += [] if args.runner is None else ["--runner", encode_json(args.runner)]
        pid = queue.workers.detach(command + ["--drain"] * args.drain, _without_job(os.environ))
        print(printable("Worker process %d started: %s, home %s, log %s" % (pid, workers, queue.home, worker_log_path(queue.home))))
        return 0
    print("Worker process %d: %s, home %s. Ctrl+C or 'queuectl worker stop' ends it." % (os.getpid(), workers, printable(queue.home)))
    sys.stdout.flush()
    return queue.workers.start(queue.store, args.count, args.drain, os.environ, args.runner)


def _program():
    """What Python runs as this program: main.py, or the archive that holds it (`python3 -m zipapp`)."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "main.py")
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _without_job(environ):
    """An environment without what tells a job's processes from others."""
    return {name: value for name, value in environ.items() if not name.startswith("QUEUECTL_")}


def cmd_worker_stop(args, queue):
    """Ask all worker processes to end, and wait until they have."""
    if args.timeout is None and not args.no_wait:
        way_out = "with --no-wait it only asks: the workers end once their jobs have"
        if not args.now:
            refuse_in_job(queue, "worker stop", way_out)
        if os.environ.get("QUEUECTL_STATE") and is_same_folder(os.environ.get("QUEUECTL_HOME", ""), queue.home):
            raise QueueError("worker stop inside of on_finish would wait for the worker that waits for it; %s" % way_out)
    stopped, left = queue.workers.stop(args.now, 0 if args.no_wait else args.timeout)
    if args.no_wait and left:
        print("Asked %s to stop." % counted(len(stopped) + len(left), "worker process", "es"))
        return 0
    if left:
        notice("after %g s %s still run%s (pid %s)%s" % (args.timeout, counted(len(left), "worker process", "es"),
               "s" if len(left) == 1 else "", ", ".join(str(worker.pid) for worker in left),
               "" if args.now else "; 'queuectl worker stop --now' ends the jobs they wait for"))
        return EXIT_TIMEOUT
    print("Stopped %s." % counted(len(stopped), "worker process", "es") if stopped
          else "No worker is running.")
    return 0


def cmd_worker_list(args, queue):
    """Show the worker processes and what each runs."""
    jobs = queue.store.running()
    running, workers, abandoned = queue.workers.ids_by_process(jobs), queue.workers.running(), abandoned_jobs(queue, jobs)
    if args.json:
        print_json([{"pid": worker.pid, "workers": worker.count, "started_at": worker.started_at,
                      "running": running.get(worker.process_token, [])} for worker in workers])
        return 0
    if not workers:
        notice("no worker is running; 'queuectl worker start' starts one")
    if abandoned:
        notice("the worker of %s is dead; %s what is left of it and runs it again"
               % (", ".join(repr(job.id) for job in abandoned[:5]) + " and others" * (len(abandoned) > 5), _WHO_ENDS[bool(workers)]))
    table(("PID", "WORKERS", "STARTED", "RUNNING"),
          ((str(worker.pid), str(worker.count), when(worker.started_at, args.utc), " ".join(running.get(worker.process_token, ["-"])))
           for worker in workers))
    return 0


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
        raise UsageError("which shell: bash, zsh or fish? For bash: source <(queuectl completion bash)")
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
        how = "; its worker is dead: %s what is left of it" % _WHO_ENDS[bool(queue.workers.running())] if job in abandoned \
            else "; its worker ends it" if job.state == PROCESSING else ""
        print("Job '%s' cancelled%s." % (printable(job.id), how))
    return _announce(queue, [given_up(job, CANCELLED, time.time()) for job in done])


def _announce(queue, jobs):
    """Run on_finish for cancelled jobs: 0, or 1 if it could not be started for one of them."""
    code = 0
    for job in jobs if queue.store.settings.on_finish else ():
        try:
            queue.workers.announce(queue.store.settings.on_finish, job, os.environ)
        except OSError as error:
            code = EXIT_FAILED
            notice("on_finish could not be run for %r: %s" % (job.id, error.strerror or error))
    return code


def cmd_pause(args, queue):
    """Let workers take no new jobs."""
    queue.jobs.pause()
    print("Paused: workers take no new jobs until 'queuectl resume'.")
    return 0


def cmd_resume(args, queue):
    """Let workers take jobs again."""
    was_paused = queue.store.paused()
    queue.jobs.resume()
    wake_workers(queue.home)
    print("Resumed." if was_paused else "It was not paused.")
    return 0


def cmd_config(args, queue):
    """Show or change settings."""
    if args.action == "set":
        return _config_set(args, queue)
    settings = load_settings(queue.config_path)
    if args.key is not None:
        value = getattr(settings, setting_named(args.key).name)
        print(printable_json(encode_json({setting_named(args.key).name: value} if args.json else value)))
    elif args.json:
        print_json(settings._asdict())
    else:
        table(("SETTING", "VALUE", "MEANING"),
              ((setting.name, encode_json(getattr(settings, setting.name)), setting.meaning) for setting in SETTINGS))
    return 0


def _config_set(args, queue):
    setting = setting_named(args.key)
    try:
        value = decode_json(args.value)
    except JsonError:
        value = args.value
    if setting.type is str and value is not None and type(value) is not str:
        value = args.value
    elif setting.type is list and type(value) is str:
        value = split_words(value)
    check_setting(setting, value)
    queue.settle_for_defaults()
    with queue.store.lock:
        save_setting(queue.config_path, setting, value)
    print("%s = %s" % (setting.name, printable_json(encode_json(value))))
    return 0
