"""One home as the commands see it: its settings, its queue and its workers; and what several of them say of it."""
from __future__ import annotations

import os
import sys

from core.errors import InvalidSettings, NoQueue, QueueError, fault_text, hint
from core.home import config_path, logs_folder, run_folder
from core.settings import DEFAULTS, settings_from, unknown_settings
from core.system import folder_identity, quote_words
from helpers import printable, read_config
from job_manager import JobManager
from storage.store import Store

WHO_ENDS = ("the next worker to start ends", "another worker ends")  # what a dead worker left, by whether one runs


class Home:
    """One home, and what the commands need of it; each part is made when it is first asked for.

    A command that looks needs neither a sound config.json nor makes a home: it goes on with the defaults, and raises NoQueue where there
    is no folder. `establish` is for the others.
    """

    def __init__(self, home):
        self.home = home
        self.config_path = config_path(home)
        self._store = None
        self._may_be_new = False
        self._progress = None  # a Progress, once a long file was read

    def establish(self, settings=None):
        """Let this command make the home if there is none. It uses these settings, or else those of config.json. Raises InvalidSettings."""
        self._may_be_new = True
        self._store = self._open(self.read_settings() if settings is None else settings)

    def read_settings(self):
        """The settings as config.json has them now. Keys that are none are kept, with a warning. Raises InvalidSettings."""
        record = read_config(self.config_path)
        for said in unknown_settings(record):
            notice("%s: %s" % (self.config_path, said))
        return settings_from(record, self.config_path)

    @property
    def store(self):
        """The Store of this home, to look at jobs. Raises NoQueue."""
        if self._store is None:
            self.refuse_absence()
            try:
                settings = self.read_settings()
            except InvalidSettings as error:
                notice("%s; the defaults are used here" % error)
                settings = DEFAULTS
            self._store = self._open(settings)
        return self._store

    @property
    def jobs(self):
        """The JobManager of this home, to change jobs. Raises NoQueue."""
        return JobManager(self.store)

    def _open(self, settings):
        self._refuse_links()
        store = Store(self.home, settings, notice, self.show_progress, lambda: self.workers.noted_slots())
        store.lock.makes_home = self._may_be_new
        return store

    def show_progress(self, text):
        """Show a text at the bottom of the terminal, or nothing any more for ""; whether it could be shown."""
        from cli.progress import Progress  # seldom needed
        self._progress = self._progress or Progress()
        self._progress.say(text)
        return self._progress.is_shown

    def refuse_absence(self):
        """Raise NoQueue if there is no such folder, unless this command may make it. Raises OSError if nobody may look."""
        if not self._may_be_new and folder_identity(self.home) is None:
            raise NoQueue("there is no queue at %s; %s makes one" % (self.home, hint("enqueue")))

    @property
    def workers(self):
        """The WorkerManager of this home."""
        from worker_manager import WorkerManager
        if self._store is None:
            self.refuse_absence()
        self._refuse_links()
        return WorkerManager(self.home, self.config_path)

    def _refuse_links(self):
        """Raise QueueError if run/ or logs/ is a link: who can write the home could make root change files elsewhere by it."""
        for folder in (run_folder(self.home), logs_folder(self.home)):
            if os.path.islink(folder):
                raise QueueError("%s is a link, and must be a folder of its own: move it away (the home itself may be a link)" % folder)


def notice(message):
    """Print a remark to stderr that is no error."""
    sys.stderr.write("queuectl: %s\n" % printable(message))
    sys.stderr.flush()


def current_folder(instead=None):
    """The current folder; `instead` if that is gone. Raises QueueError without one."""
    try:
        return os.getcwd()
    except OSError:
        if instead is None:
            raise QueueError("the current folder is gone; change to another one") from None
        return instead


def tell_of_pause():
    """Say on stderr that the queue is paused."""
    notice("the queue is paused, so that no job starts; %s lets workers take jobs again" % hint("resume"))


def tell_of_standstill(queue, has_worker=None):
    """Say on stderr if no job of this queue starts, since it is paused or no worker runs (`has_worker`: whether one does; None: look)."""
    if queue.store.paused():
        tell_of_pause()
    if not (queue.workers.running() if has_worker is None else has_worker):
        notice("no worker is running; %s runs what is in the queue" % hint("worker start"))


def visible_workers(queue):
    """The worker processes that are alive: none, with a notice, where their files may not be looked at by this user."""
    try:
        return queue.workers.running()
    except PermissionError as error:
        notice("it cannot be seen which workers run: %s" % fault_text(error))
        return []


def abandoned_jobs(queue, running):
    """Those of these running jobs whose worker process is dead, and which nobody has taken over since; none where it cannot be seen."""
    try:
        suspects = queue.workers.abandoned(running)
    except PermissionError:
        return []
    now = queue.store.refresh_all(suspects) if suspects else ()
    return [was for was, job in zip(suspects, now) if job is not None and job.worker == was.worker]


def named_groups(groups):
    """These groups in the middle of a sentence."""
    return "the group%s %s" % ("" if len(groups) == 1 else "s", ", ".join(groups))


def hint_to_resume(groups):
    """The command that ends the pauses of these groups, as a hint."""
    return hint("resume " + " ".join(("--group=" if group.startswith("-") else "--group ") + quote_words([group]) for group in groups))
