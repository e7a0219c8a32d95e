"""What each operating system does in its own way: files, their owners, what wakes a process, and the shell.

Only this module, `locks` and `console`, and those of execution/ that start and end processes, ask which system this is; all others ask for
what these offer. It imports no other module, knows nothing of jobs or queues, and must stay cheap to import.
"""
from __future__ import annotations

import errno
import os
import stat
import sys
import time
from functools import lru_cache

WINDOWS = os.name == "nt"
O_BINARY = getattr(os, "O_BINARY", 0)  # Windows would write "\r\n" for "\n" without it
O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
CANNOT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM)  # what a system says of a file or folder that may only be read
OPEN_FILES_MOVE = not WINDOWS  # whether a file that someone has open can be renamed, replaced and removed
REUSES_ADDRESSES = not WINDOWS  # whether a server may take an address that one before it has just left; there it could take another's away
STOPS_PROCESSES = not WINDOWS  # whether a running process can be stopped where it stands
SHELL_IS_SH = not WINDOWS  # whether commands are run by a POSIX shell
NAMES_END = WINDOWS  # whether a program's file has an ending that nobody types
EDITOR = "notepad" if WINDOWS else "vi"  # for those who name none
ESCAPE = "" if WINDOWS else "\\"  # in a command line that is split into words


def open_private(path, flags):
    """A descriptor of `path`, binary, not inherited, never through a symbolic link; a file it creates is its owner's alone (0600).

    The new file belongs to the user of this process; if that is root, to the owner of the folder. Raises OSError.
    """
    flags |= O_BINARY | O_NOFOLLOW
    if not flags & os.O_CREAT or not _is_root():
        return os.open(path, flags, 0o600)
    while True:
        try:
            descriptor = os.open(path, flags | os.O_EXCL, 0o600)
        except FileExistsError:  # its owner stays: it may be a hard link to a file that belongs to root for a reason
            if flags & os.O_EXCL:
                raise
            try:
                return os.open(path, flags & ~os.O_CREAT)
            except FileNotFoundError:
                continue  # removed meanwhile
        _give_to_owner_of(os.path.dirname(path), descriptor)
        return descriptor


def open_as_allowed(path, to_look=False):
    """(A descriptor to read and write a file that is there, True); one to read it alone, and False, if that will do `to_look` and the file
    cannot be written. Raises OSError."""
    try:
        return open_private(path, os.O_RDWR), True
    except OSError as error:
        if not to_look or error.errno not in CANNOT_WRITE:
            raise
    return open_private(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), False  # to open a FIFO for reading is to wait for a writer


def _is_root():
    return not WINDOWS and os.geteuid() == 0


def _give_to_owner_of(folder, descriptor):
    """Give a file or folder that root has made to the owner of the folder above, or `sudo` in a user's home would lock the user out."""
    try:
        owner = os.stat(folder or ".")
        if not WINDOWS and owner.st_uid != 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError:
        return  # a file system that knows no owners, or lets root give nothing away


def make_folder(path, and_above=True):
    """Make a folder, `and_above` it those that are missing, unless it is there: for its owner alone (0700; `open_private` says who that
    is). It must not be a symbolic link; those above it may be links. Raises OSError."""
    if os.path.islink(path):
        raise OSError(errno.ELOOP, "it is a link, and must be a folder of its own", path)
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if and_above and above not in ("", path) and not os.path.isdir(above):
        make_folder(above)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    if _is_root():
        descriptor = os.open(path, os.O_RDONLY | O_NOFOLLOW)
        try:
            _give_to_owner_of(above, descriptor)
        finally:
            os.close(descriptor)


def keep_owner(descriptor, path):
    """Give a new file, by its descriptor, the owner and the mode of the file at `path` that it is to replace, if there is one. Raises
    OSError, also if the old file belongs to another user, who could not open the new one."""
    if WINDOWS:
        return
    try:
        old = os.lstat(path)
    except FileNotFoundError:
        return
    new, mode = os.fstat(descriptor), stat.S_IMODE(old.st_mode) & 0o777
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            if old.st_uid != new.st_uid:
                raise PermissionError(errno.EPERM, "it belongs to another user (uid %d)" % old.st_uid, path) from None
            mode &= 0o707  # the group cannot be kept, and another one has no right to it
    if mode != stat.S_IMODE(new.st_mode):
        os.fchmod(descriptor, mode)


if not WINDOWS:
    pread, pwrite = os.pread, os.pwrite

    def set_mtime(descriptor, nanoseconds):
        """Set when an open file was last written. Raises OSError."""
        os.utime(descriptor, ns=(nanoseconds, nanoseconds))
else:
    # Windows has one position a descriptor; every caller either holds the lock or owns its descriptor alone.
    def pread(descriptor, size, offset):
        """Up to `size` bytes from `offset`."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)

    def pwrite(descriptor, content, offset):
        """Write at `offset`; the number of bytes written."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, content)

    def set_mtime(descriptor, nanoseconds):
        """Windows sets the time anew when the file is closed."""
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def sync(descriptor):
    """Put a file's content on the disk itself. Raises OSError; never try a failed fsync again, since the second one succeeds although the
    pages are lost (the PostgreSQL fsync finding of 2018)."""
    if sys.platform == "darwin":  # fsync stops at the drive's cache there (fsync(2) of macOS)
        import fcntl
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:
            pass  # a file system that has fsync alone
    os.fsync(descriptor)


def sync_folder(path):
    """Put the names in a folder on the disk itself. Windows cannot open a folder, and nothing is done there."""
    if WINDOWS:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _patiently(operation, *paths):
    """Do an operation; try it for about 2 s on Windows, which refuses it while a reader has the file open. Raises OSError."""
    for _ in range(40 if WINDOWS else 0):
        try:
            return operation(*paths)
        except PermissionError:
            time.sleep(0.05)
    return operation(*paths)


def replace(source, target):
    """os.replace, with patience. Raises OSError."""
    _patiently(os.replace, source, target)


def short_write(end, what=None):
    """The OSError of a write that fell short of `end` of its file: it came to the limit on file sizes of this process, or the disk is full,
    as `what` says, too. (write(2) tells which only of a write of no byte at all.)"""
    if not WINDOWS:
        import resource
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit != resource.RLIM_INFINITY and end > limit:
            return OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return OSError(errno.ENOSPC, what or os.strerror(errno.ENOSPC))


def write_beside(path, pieces):
    """Write these bytes into the file that is to replace the one at `path`: wholly and on the disk, with the same owner and mode. Gives
    back its path, `path` and ".new". Raises OSError; the caller removes what is there then."""
    beside, size = path + ".new", 0
    remove_file(beside)
    descriptor = open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        for piece in pieces:
            size += len(piece)
            if os.write(descriptor, piece) != len(piece):
                raise short_write(size)
        keep_owner(descriptor, path)
        sync(descriptor)  # or a power cut may leave an empty file under the name of a whole one (xfs, ext4 with noauto_da_alloc)
    finally:
        os.close(descriptor)
    return beside


def write_file(path, content):
    """Replace a file by these bytes, wholly and on the disk, with the same owner and mode. Raises OSError and leaves the old file."""
    try:
        replace(write_beside(path, [content]), path)
    except OSError as error:
        remove_quietly(path + ".new")
        raise OSError(error.errno, error.strerror, path) from None
    sync_folder(os.path.dirname(path))


def allow_open_files(number):
    """Allow this process, and those that it starts, to have so many files open. None if it may; else the number that the system allows."""
    if WINDOWS:
        return None  # it has no such limit
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= number:
        return None
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS has another limit besides (setrlimit(2), COMPATIBILITY)
        return soft
    return None if wanted == number else wanted


def make_fifo(path):
    """Make a FIFO at which a process waits for `wake` by `select`: its descriptor; None on a system or file system without FIFOs."""
    if WINDOWS:
        return None
    try:
        os.mkfifo(path, 0o600)
    except OSError:
        return None
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        remove_file(path)  # or whoever opens it as a file waits for ever
        return None


def make_pipe():
    """Both ends of a pipe for `select`; None on Windows, whose select takes no pipes."""
    return None if WINDOWS else os.pipe()


def wake(path):
    """Wake the process that waits at this FIFO, or, on a system without FIFOs, waits for this file to grow; whether there is one, as far as
    that can be seen without a FIFO."""
    try:
        descriptor = open_private(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False  # nobody waits there any more
    try:
        os.write(descriptor, b"w")
    except OSError:
        return True  # it has more than enough to wake up for
    finally:
        os.close(descriptor)
    return True


def is_there(path):
    """Whether a path names something. Raises OSError if that is not known; os.path.exists would say no."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def folder_identity(path):
    """What tells a folder from another one that takes its path; None if there is none. Raises OSError."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def remove_file(path):
    """Remove a file if it is there. Raises OSError."""
    try:
        _patiently(os.unlink, path)
    except FileNotFoundError:
        pass


def remove_quietly(path):
    """Remove a file that nobody needs any more; the next one who makes it removes it first."""
    try:
        remove_file(path)
    except OSError:
        return


@lru_cache(maxsize=1)
def boot_id():
    """A UUID that changes at each start of the machine (random(4)); "" on a system other than Linux. Others tell the time of the
    start, which moves when the clock is set."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


if not WINDOWS:
    MAX_COMMAND = None

    def quote_words(words):
        """One command that the shell splits into these words again."""
        from shlex import quote
        return " ".join(quote(word) for word in words)
else:
    # cmd.exe takes lines of 8,191 characters, and Popen puts its path, " /c " and two quotes around the command.
    MAX_COMMAND = 8191 - len(os.environ.get("COMSPEC", "cmd.exe")) - len(' /c ""')

    def _quote(word):
        import re
        if word and not re.search(r'[\s"&|<>^()%!,;=]', word):
            return word
        # As programs take a command line apart: a backslash means itself, but before a quote. Percent signs stand outside of the quotes:
        # there is no variable whose name starts with one.
        escaped = re.sub(r"(\\+)(?=%|\Z)", r"\1\1", re.sub(r'(\\*)"', r'\1\1\\"', word))
        quoted = '"' + escaped.replace("%", '"%"') + '"'
        # cmd.exe leaves alone what stands in quotes, but takes a quote inside for their end: then all of it is escaped for it.
        return re.sub(r'[()!^"<>&|]', r"^\g<0>", quoted) if '"' in word else quoted

    def quote_words(words):
        """One command that the shell, and the program that it starts, split into these words again."""
        return " ".join(_quote(word) for word in words)
