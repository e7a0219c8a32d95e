"""The rows of new jobs, made ready before the lock is taken: in memory, or, if they are very many, laid out on the disk."""
from __future__ import annotations

from core.errors import not_utf8, storage_error
from core.job import PENDING
from core.new_job import TIMED, first_run_at, new_job_fields
from core.strict_json import encode_json
from core.times import format_time
from storage.layout import encode_line1, encode_line2

_IN_MEMORY = 20000  # jobs that are added at once without laying them out before the lock is taken
_HEADWAY = 10  # seconds by which jobs are stamped ahead that are stamped anew: so long others may add theirs meanwhile


class NewRows:
    """New jobs for a JobFile: their `ids`, in order; the `times` when they may start; `dependent`, which ids each of them names in `after`
    and `after_any`, and `needed`, those in `after`; `shapes`, the names of all fields of those that have more than most. `folder` is where
    very many of them are laid out."""

    def __init__(self, file, folder, now):
        self.ids, self.times, self.dependent, self.needed, self.shapes = [], set(), {}, set(), set()
        self._file = file
        self._folder = folder
        self._now = now
        self._rows = []  # each the two pieces of its line 1, and when it may start
        self._laid = None  # LaidRows

    def read(self, records, cwd):
        """Add jobs as users describe them. Raises InvalidJob, StorageFault."""
        tails: dict = {}
        for record in records:
            fields = new_job_fields(record, cwd)
            run_at = None if TIMED.isdisjoint(record) else first_run_at(record, self._now)
            self.ids.append(fields["id"])
            if len(fields) > 3:
                self._note_options(fields)
            self._rows.append(_split_line1(fields, tails) + (run_at,))
            self.times.add(run_at)
            if len(self._rows) >= _IN_MEMORY:
                self._lay()
        if self._laid is not None and self._rows:
            self._lay()

    def _note_options(self, fields):
        self.shapes.add(tuple(fields))
        after, after_any = fields.get("after") or (), fields.get("after_any") or ()
        if after or after_any:
            self.dependent.setdefault(fields["id"], set()).update(after, after_any)
            self.needed.update(after)

    def _lay(self):
        """Lay out the rows that are in memory behind those that are on the disk."""
        from storage.laid_rows import LaidRows
        try:
            self._laid = self._laid or LaidRows(self._folder, int(self._now * 1e6))
            self._laid.add(_stamped(self._rows, self._laid.first + self._laid.count))
        except OSError as error:
            raise storage_error("write beside", self._file.path, error) from None
        self._rows = []

    def append(self, first):
        """Add them to the file, one created a microsecond after another; gives back when the first one was, in microseconds: at `first`, or
        as they were laid out. None if that was for an earlier time: `stamp` them, without the lock. Raises Replaced, StorageFault."""
        if self._laid is None:
            self._file.append(_stamped(self._rows, first), first + len(self._rows) - 1)
            return first
        if first > self._laid.first:  # others have added jobs since these were read
            return None
        self._file.append_laid(self._laid)
        return self._laid.first

    def stamp(self, first):
        """Lay them out for a time somewhat later than `first`. Raises StorageFault."""
        try:
            self._laid.stamp(first + int(1e6 * _HEADWAY))
        except OSError as error:
            raise storage_error("write beside", self._file.path, error) from None


def _split_line1(fields, tails):
    """Line 1 of a new job in two pieces, between which created_at goes. `tails` keeps the piece that most jobs of a batch share."""
    try:
        head = ('{"id": %s, "command": %s, "created_at": "' % (encode_json(fields["id"]), encode_json(fields["command"]))).encode("utf-8")
        cwd = fields["cwd"] if len(fields) == 3 else None
        tail = tails.get(cwd)
        if tail is None:
            rest = {name: value for name, value in fields.items() if name not in ("id", "command")}
            tail = b'", ' + encode_line1(rest)[1:]
            if cwd is not None:
                tails[cwd] = tail
    except UnicodeEncodeError:
        raise not_utf8(fields) from None
    return head, tail


def _stamped(rows, first):
    """Rows for `JobFile.append`: each with its created_at, one microsecond after another from `first` on."""
    def line2(run_at):
        return encode_line2((PENDING, 0, None, None, run_at, None, format_time(first / 1e6), None))

    second, prefix, at_once = None, "", line2(None)
    for number, (head, tail, run_at) in enumerate(rows, first):
        whole, micro = divmod(number, 1000000)
        if whole != second:
            second, prefix = whole, format_time(whole)[:20]
        yield head + ("%s%06dZ" % (prefix, micro)).encode("ascii") + tail, line2(run_at) if run_at else at_once
