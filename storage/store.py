"""Job files under the lock, open and sound."""
from __future__ import annotations

import os

from core.errors import ALL, NOTHING, PART, storage_error
from storage.job_file import Replaced


def what_is_stored(files):
    """What has become of a change of these job files that a fault has ended, as a sentence; by what each of them holds."""
    names = {amount: [os.path.basename(file.path) for file in files if file.stored == amount] for amount in (NOTHING, PART, ALL)}
    if names[PART]:
        return "%s may be changed in part; 'queuectl list' shows how far" % " and ".join(names[PART])
    if not names[ALL]:
        return "nothing was changed"
    if not names[NOTHING]:
        return "it is stored, but not confirmed on disk"
    return "it is stored in %s, but not in %s" % (" and ".join(names[ALL]), " and ".join(names[NOTHING]))


class OpenFiles:
    """The lock, with job files open and sound inside: `with OpenFiles(lock, jobs, dlq): …`.

    With `change=True` each is in our layout then; `change(file)` is asked for one that someone else wrote whether it is to be. Raises
    CorruptFile, StorageFault, LockError.
    """

    def __init__(self, lock, *files, change=False):
        self._lock = lock
        self._files = files
        self._changes = (lambda file: True) if change is True else change or None

    def __enter__(self):
        while True:
            self._lock.__enter__()
            strange = None
            try:
                strange = next((file for file in self._files if not file.begin(self._changes)), None)
                if strange is None:
                    for file in self._files if self._changes else ():
                        file.stored = NOTHING  # to bring a file into our layout changes no job
                    return self
            except Replaced:
                strange = None
            except BaseException as error:
                self.__exit__(None, error)
                raise
            self.__exit__()
            if strange is not None:
                try:
                    strange.inspect()
                except OSError as error:
                    raise storage_error("read", strange.path, error) from None

    def __exit__(self, kind=None, error=None, trace=None):
        try:
            for file in self._files:
                file.end_operation()
        finally:
            self._lock.__exit__()
        if isinstance(error, OSError):  # a write tells of its own
            raise storage_error("read", self._files[0].path, error) from None
