"""Process trees: how commands are started, and how all that one of them has started is found and ended. Nothing here knows of jobs.

The tree of an attempt is its process group. Whose processes are whose: while a shell is not reaped its pid cannot be used again, so its
group may be signalled. Later, or from another process, a group is signalled only if one of its members carries the attempt's token in its
environment (Linux), or, where the system does not tell, if the attempt's log is still locked by what inherited it.
"""
from __future__ import annotations

import errno
import os
import signal
import subprocess
from _thread import allocate_lock

from system import WINDOWS, is_held

TERM = signal.SIGTERM
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
# What a system says that has no room for another process, thread or open file, as errno, and as Windows numbers it.
_NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_NO_ROOM_ON_WINDOWS = (1450, 1455)  # ERROR_NO_SYSTEM_RESOURCES, ERROR_COMMITMENT_LIMIT
HAS_PROC = not WINDOWS and os.path.isdir("/proc/self")

if WINDOWS:
    import msvcrt

    _KILL_ON_JOB_CLOSE = 0x2000
    _START = subprocess.CREATE_NEW_PROCESS_GROUP | 0x4  # Ctrl+C does not reach it; CREATE_SUSPENDED
    # A console that is not seen, rather than none: each command that the process starts would open one of its own.
    _DETACHED = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    _APPEND = 0x100084  # SYNCHRONIZE, FILE_READ_ATTRIBUTES, FILE_APPEND_DATA

    class Launcher:
        """Starts commands, each in a job object of its own, which holds whatever the command starts.

        The system ends all in the object when the last handle of it is closed, and we have the only one: so the tree ends with this
        process, however that ends. That is revoked when a command has succeeded, since it may leave something running.
        """

        def __init__(self):
            import ctypes  # here, since only a worker should pay for it
            from ctypes import c_uint32, c_void_p
            kernel, pointer = ctypes.WinDLL("kernel32"), ctypes.sizeof(c_void_p)
            self._make, self._limit = kernel.CreateJobObjectW, kernel.SetInformationJobObject
            self._assign, self._terminate = kernel.AssignProcessToJobObject, kernel.TerminateJobObject
            self._close, self._reopen, self._resume = kernel.CloseHandle, kernel.ReOpenFile, ctypes.WinDLL("ntdll").NtResumeProcess
            for function, result, types in (
                    (self._make, c_void_p, (c_void_p, c_void_p)), (self._assign, c_uint32, (c_void_p, c_void_p)),
                    (self._limit, c_uint32, (c_void_p, c_uint32, ctypes.c_char_p, c_uint32)),
                    (self._terminate, c_uint32, (c_void_p, c_uint32)), (self._close, c_uint32, (c_void_p,)),
                    (self._reopen, c_void_p, (c_void_p, c_uint32, c_uint32, c_uint32)), (self._resume, c_uint32, (c_void_p,))):
                function.restype, function.argtypes = result, types
            self._limits = 144 if pointer == 8 else 112  # the size of JOBOBJECT_EXTENDED_LIMIT_INFORMATION
            self._processes: dict = {}  # pid: the Popen, and the handle of its job object

        def start(self, command, folder, environ, own, log, runner=()):
            """Start a command, or a runner (words) with `cmd /c` and the command behind it; its pid. Its environment is `environ` with
            `own` over it. Raises OSError."""
            if runner:
                command = "%s cmd /c %s" % (subprocess.list2cmdline(runner), command)
            text = {key.decode("utf-8", "surrogatepass").upper(): value.decode("utf-8", "surrogatepass")
                    for variables in (environ, own) for key, value in variables.items()}
            # Opened again so that each write goes to the end, wherever that is by then: what is inherited has a position, not O_APPEND.
            handle = self._reopen(msvcrt.get_osfhandle(log), _APPEND, 7, 0)
            output = log if handle in (None, 2 ** 64 - 1, 2 ** 32 - 1) else msvcrt.open_osfhandle(handle, os.O_APPEND)
            tree = self._make(None, None)
            self._set_flags(tree, _KILL_ON_JOB_CLOSE)
            try:
                process = subprocess.Popen(command, shell=not runner, cwd=folder, env=text, stdin=subprocess.DEVNULL, stdout=output,
                                           stderr=output, creationflags=_START)
            except BaseException:
                self._close(tree)
                raise
            finally:
                if output != log:
                    os.close(output)
            handle = int(process._handle)  # type: ignore[attr-defined]
            self._assign(tree, handle)  # it is suspended: if we are killed before this, it never runs
            self._resume(handle)  # the whole process, since Popen keeps no handle of its thread
            self._processes[process.pid] = process, tree
            return process.pid

        def _set_flags(self, tree, flags):
            self._limit(tree, 9, bytes(16) + flags.to_bytes(4, "little") + bytes(self._limits - 20), self._limits)

        def wait_without_reaping(self, pid):
            """Wait for the end of a command; whether it failed."""
            return self._processes[pid][0].wait() != 0

        def reap(self, pid):
            """The exit code. What a failed command has left running is ended."""
            process, tree = self._processes.pop(pid)
            code = process.wait()
            if code == 0:
                self._set_flags(tree, 0)
            self._close(tree)
            return code

        def signal(self, pid, number):
            """End a command, and all that it has started, at once: there is no signal here that asks for it."""
            if pid in self._processes:
                process, tree = self._processes[pid]
                self._terminate(tree, 1)
                process.kill()  # in case that it could not be put into its object

        def close(self):
            """Nothing is kept."""
else:
    _DETACHED = 0
    _BUFFER = 512  # bytes for an object of posix_spawn(3), which take up to 336 in glibc and musl
    _ROOM = 4  # variables that one command has besides those that all have
    _SETSIGDEF, _SETSID = 0x04, 0x80  # spawn.h of glibc and musl

    class _FileActions:
        """What a command does to its streams and its folder before it is executed, as posix_spawn(3) takes it."""

        def __init__(self, ctypes, library, streams, folder):
            self.buffer = ctypes.create_string_buffer(_BUFFER)
            self._destroy = library.posix_spawn_file_actions_destroy
            codes = [library.posix_spawn_file_actions_init(self.buffer)]
            for number, descriptor in enumerate(streams):
                codes.append(library.posix_spawn_file_actions_adddup2(self.buffer, descriptor, number))
            codes.append(library.posix_spawn_file_actions_addchdir_np(self.buffer, os.fsencode(folder)))
            if any(codes):
                raise OSError(max(codes), os.strerror(max(codes)))

        def __del__(self):
            self._destroy(self.buffer)

    class _Spawner:
        """posix_spawn(3) of Linux, called so that other threads go on while a command is on its way to its exec. Python's own holds its
        lock for that time, which is a third of a short command's.

        Raises ImportError or AttributeError where there is none that knows sessions and folders.
        """

        def __init__(self):
            import ctypes
            if os.uname().sysname != "Linux":
                raise AttributeError("its constants are not known")
            self._ctypes, self._library, pointer = ctypes, ctypes.CDLL(None), ctypes.c_void_p
            self._spawn = self._library.posix_spawn
            self._spawn.argtypes = (pointer, ctypes.c_char_p, pointer, pointer, pointer, pointer)
            self._attributes, signals = ctypes.create_string_buffer(_BUFFER), ctypes.create_string_buffer(_BUFFER)
            self._library.posix_spawnattr_init(self._attributes)
            self._library.sigfillset(signals)
            self._library.posix_spawnattr_setsigdefault(self._attributes, signals)
            no_sessions = self._library.posix_spawnattr_setflags(self._attributes, _SETSIGDEF | _SETSID)
            if no_sessions or not hasattr(self._library, "posix_spawn_file_actions_addchdir_np"):
                raise AttributeError("it knows no sessions or no folders")
            self._shared: tuple = ()  # the environment that was asked for first, and how execve takes it; kept, since copies point there
            self._mutex = allocate_lock()
            self._actions: dict = {}  # (streams, folder): _FileActions

        def __call__(self, program, arguments, folder, environ, own, streams):
            """Execute a program with these arguments in a session of its own, all signals as they are by default; its pid. `environ` and
            `own` as for `Launcher.start`. Raises OSError, ValueError."""
            texts = [b"%s=%s" % pair for pair in own.items()]
            if b"\0" in b"".join(texts + arguments) or "\0" in folder:
                raise ValueError("a NUL in a command, its folder or its environment")
            actions = self._actions.get((streams, folder))
            if actions is None:
                if len(self._actions) >= 64:
                    self._actions.clear()
                actions = self._actions[streams, folder] = _FileActions(self._ctypes, self._library, streams, folder)
            pid = self._ctypes.c_int()
            code = self._spawn(self._ctypes.byref(pid), program, actions.buffer, self._attributes, self._array(arguments + [None]),
                               self._block(environ, own, texts))
            if code:
                raise OSError(code, os.strerror(code))
            return pid.value

        def _array(self, texts):
            return (self._ctypes.c_char_p * len(texts))(*texts)

        def _block(self, environ, own, texts):
            """An environment as execve(2) takes it. What all commands have is put together only once."""
            if not self._shared:
                with self._mutex:
                    self._shared = self._shared or (
                        environ, self._array([b"%s=%s" % pair for pair in environ.items()] + [None] * (_ROOM + 1)))
            known, block = self._shared
            if known is not environ or len(own) > _ROOM or not environ.keys().isdisjoint(own):
                return self._array([b"%s=%s" % pair for pair in {**environ, **own}.items()] + [None])
            block = type(block).from_buffer_copy(block)
            block[len(environ):len(environ) + len(own)] = texts
            return block

    class _PythonSpawner:
        """The same with Python's own posix_spawn, for other systems and where there is no ctypes. It knows no folder to start in: that of
        the whole process is changed, which uses absolute paths alone."""

        def __init__(self):
            self._mutex = allocate_lock()
            self._sessions = True
            # Python ignores SIGPIPE and SIGXFSZ, and a program that inherits that does not end with its pipe. Naming all signals saves
            # the C library the asking for each.
            self._signals = tuple(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

        def __call__(self, program, arguments, folder, environ, own, streams):
            """As `_Spawner`."""
            both = {**environ, **own}
            actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(streams)]
            with self._mutex:
                os.chdir(folder)
                if self._sessions:
                    try:
                        return os.posix_spawn(program, arguments, both, file_actions=actions, setsigdef=self._signals, setsid=True)
                    except NotImplementedError:  # a C library that knows no sessions here; a group keeps Ctrl+C away as well
                        self._sessions = False
                return os.posix_spawn(program, arguments, both, file_actions=actions, setsigdef=self._signals, setpgroup=0)

    def _best_spawner():
        try:
            return _Spawner()
        except (ImportError, AttributeError):
            return _PythonSpawner()

    class Launcher:
        """Starts commands as `subprocess.Popen(command, shell=True, start_new_session=True)` would, in half of the time, and reaps them.

        Descriptors are not closed: ours are never inherited, and those that we inherited ourselves are marked so.
        """

        def __init__(self):
            self._null = os.open(os.devnull, os.O_RDWR)
            self._spawn = _best_spawner()
            for descriptor in range(3, 256):
                try:
                    os.set_inheritable(descriptor, False)
                except OSError:
                    continue

        def start(self, command, folder, environ, own, log, runner=()):
            """Start a command, or a runner (words) with `sh -c` and the command behind it; its pid. Its environment is `environ`, which
            is never changed, with `own` over it. Raises OSError, ValueError."""
            program, arguments = b"/bin/sh", [b"sh", b"-c", command.encode("utf-8")]
            if runner:
                program = _find_program(runner[0], folder, own.get(b"PATH", environ.get(b"PATH")))
                arguments = [word.encode("utf-8", "surrogateescape") for word in runner] + arguments
            return self._spawn(program, arguments, folder, environ, own, (self._null, log, log))

        def wait_without_reaping(self, pid):
            """Wait for the end of a command; whether it failed, or None where that cannot be waited for. It stays a zombie, and the number
            of its group ours, until `reap`."""
            if not hasattr(os, "waitid"):
                return None  # macOS before Python 3.13: `reap` waits
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return ended.si_code != os.CLD_EXITED or ended.si_status != 0

        def reap(self, pid):
            """The exit code, or minus the signal that ended it."""
            _, status = os.waitpid(pid, 0)
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

        def signal(self, pid, number):
            """Signal the group of a command that is not reaped."""
            signal_group(pid, number)

        def close(self):
            """Give back the descriptor."""
            os.close(self._null)


def lacks_room(error):
    """Whether an OSError says that there is no room for a process now: this will pass, and is not the fault of what was to be started."""
    return error.errno in _NO_ROOM or getattr(error, "winerror", None) in _NO_ROOM_ON_WINDOWS


def encode_environ(environ):
    """An environment as the bytes that `Launcher.start` takes."""
    if WINDOWS:
        return {key.encode("utf-8", "surrogatepass"): value.encode("utf-8", "surrogatepass") for key, value in environ.items()}
    return {os.fsencode(key): os.fsencode(value) for key, value in environ.items()}


def start_detached(command, environ, output=subprocess.DEVNULL, shell=False, folder=None):
    """Start a process that outlives this one and its terminal, with both streams to one file; its Popen. Raises OSError."""
    return subprocess.Popen(command, shell=shell, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                            start_new_session=not WINDOWS, creationflags=_DETACHED)


def _find_program(name, folder, path):
    """Where a runner is, by the PATH (bytes or None) that it is to have, as a shell in the job's place and folder would look for it
    (posix_spawnp looks along our own PATH). Raises OSError."""
    from shutil import which
    places = (os.fsdecode(path) if path is not None else os.defpath).split(os.pathsep)
    found = which(os.path.join(folder, name) if os.sep in name else name, path=os.pathsep.join(os.path.join(folder, at) for at in places))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "there is no program %r to run it with" % name)
    return os.fsencode(found)


def signal_group(group, number):
    """Send a signal to a process group that is known to be ours, if it is still there."""
    if WINDOWS:
        return
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # gone, or all of it runs as another user by now


def group_runs(group):
    """Whether a process group has members that run. Zombies do not, though killpg counts them: an init may be slow to reap."""
    if WINDOWS:
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not HAS_PROC or any(_state_and_group(pid) == ("runs", group) for pid in _pids_since(group))


def _pids_since(first):
    """The pids of the processes that may have been started since the one with pid `first`, itself included."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    with open("/proc/loadavg", "rb") as file:
        wrapped = int(file.read().split()[-1]) < first  # the last pid given out: they start again from the lowest
    return pids if wrapped else [pid for pid in pids if pid >= first]


def _state_and_group(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may hold anything
        return "runs" if fields[0] not in (b"Z", b"X") else "ended", int(fields[2])
    except (OSError, IndexError):
        return None  # it has just ended


def processes_of(home, token, first=0):
    """The live processes (pid, group) that carry an attempt's token, and the home of its queue, in their environment, wherever they have
    gone, among those started since the one with pid `first`. [] if the system has no /proc. (A copy of a home has the same tokens.)"""
    found: list = []
    if WINDOWS or not HAS_PROC:
        return found
    wanted = b"QUEUECTL_WORKER=%s\0" % token.encode("ascii")
    place = b"QUEUECTL_HOME=%s\0" % home.encode("utf-8", "surrogateescape")
    for pid in _pids_since(first):
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                environ = file.read()
                if wanted in environ and place in environ:
                    found.append((pid, os.getpgid(pid)))
        except OSError:
            continue  # gone, or another user's
    return found


class LostTree:
    """What may still run of an attempt whose worker died. `group` is its process group, 0 if that was never noted."""

    def __init__(self, home, token, group, log):
        self._home = home
        self._token = token
        self._group = group
        self._log = log
        self._proven = False  # a member of the group was seen with our token

    def signal(self, number):
        """Signal the attempt's group, if it is provably ours. Gives back whether anything of the attempt still runs, and the pids of
        those of its processes that have left the group."""
        processes = processes_of(self._home, self._token) if self._token else []
        held = bool(self._log) and is_held(self._log)
        groups = {self._group} if self._group else {group for _, group in processes}
        if self._group in [group for _, group in processes] or (held and not HAS_PROC):
            self._proven = True
        if self._group and not (self._proven and group_runs(self._group)):
            groups = set()
        for group in groups:
            signal_group(group, number)
        return bool(processes or groups or held), [pid for pid, group in processes if group not in groups]
