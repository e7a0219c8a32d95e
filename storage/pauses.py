"""The pauses of a queue: of all its jobs, or of some groups. A file in the home says that each is there.

What it promises: once `pause` returns no worker takes a new job, nor after a power cut. It knows nothing of jobs. `Claims` looks at a
pause before each claim, and `Outcomes` before it hands out a job that was claimed ahead; so to look is one system call. That of a group
counts as a limit of 0 (`Store.limits`).
"""
from __future__ import annotations

import os

from core.errors import not_confirmed, storage_error
from core.home import paused_groups_path, paused_path
from core.system import open_private, remove_file, sync_folder, write_file

_NOW = b"now\n"  # what the file holds while the jobs that run are to stand still, too


class Pauses:
    """The pauses of a home. `lock` is the lock of its job files."""

    def __init__(self, home, lock):
        self._all = paused_path(home)
        self._groups = paused_groups_path(home)
        self._lock = lock

    # -- looking

    def holds(self):
        """Whether workers are to take no new jobs at all."""
        return os.access(self._all, os.F_OK)

    def stops_running(self):
        """Whether the jobs that run are to stand still, too."""
        if not self.holds():
            return False
        try:
            with os.fdopen(open_private(self._all, os.O_RDONLY), "rb") as file:
                return file.read(len(_NOW)) == _NOW
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error("read", self._all, error) from None

    def groups(self):
        """The names of the groups of which workers are to take no new jobs. Raises StorageFault."""
        if not os.access(self._groups, os.F_OK):
            return ()
        try:
            with os.fdopen(open_private(self._groups, os.O_RDONLY), "rb") as file:
                return tuple(dict.fromkeys(filter(None, file.read().decode("utf-8", "replace").split("\n"))))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise storage_error("read", self._groups, error) from None

    # -- changing

    def pause(self, groups, now, durable):
        """Pause these groups (names), or all jobs if there are none; with `now` those that run, too. Raises StorageFault, NotConfirmed."""
        with self._lock:
            if groups:
                return self._write_groups(dict.fromkeys([*self.groups(), *groups]), durable)
            try:
                descriptor = open_private(self._all, os.O_WRONLY | os.O_CREAT)
            except OSError as error:
                raise storage_error("make", self._all, error) from None
            try:
                if now and os.write(descriptor, _NOW) != len(_NOW):
                    raise OSError(None, "no room for %d bytes" % len(_NOW))
            except OSError as error:
                fault = storage_error("write", self._all, error)
                fault.effect = "workers take no new jobs, but those that run go on"  # the file is there
                raise fault from None
            finally:
                self._close(descriptor)
        return self._sync_name(self._all, durable)

    @staticmethod
    def _close(descriptor):
        try:
            os.close(descriptor)
        except OSError:
            pass  # the file is there all the same

    def resume(self, groups, durable):
        """End the pause of these groups (names), or that of all jobs if there are none. Raises StorageFault, NotConfirmed."""
        if groups:
            with self._lock:
                return self._write_groups([name for name in self.groups() if name not in groups], durable)
        try:
            remove_file(self._all)
        except OSError as error:
            raise storage_error("remove", self._all, error) from None
        return self._sync_name(self._all, durable)

    def _write_groups(self, names, durable):
        try:
            if names:
                write_file(self._groups, "".join("%s\n" % name for name in names).encode("utf-8", "surrogatepass"))
            else:
                remove_file(self._groups)
        except OSError as error:
            raise storage_error("write", self._groups, error) from None
        self._sync_name(self._groups, durable)

    @staticmethod
    def _sync_name(path, durable):
        """Sync that a file is there, or is not. Raises NotConfirmed."""
        try:
            if durable:
                sync_folder(os.path.dirname(path))
        except OSError as error:
            raise not_confirmed(path, error) from None
