"""How a command is started, ended and waited for on Windows. Imported there alone."""
from __future__ import annotations

import errno
import msvcrt
import os
import subprocess
import sys

assert sys.platform == "win32"  # for mypy, too

_KILL_ON_JOB_CLOSE = 0x2000
_START = subprocess.CREATE_NEW_PROCESS_GROUP | 0x4  # Ctrl+C does not reach it; CREATE_SUSPENDED
# A console that is not seen, rather than none: each command that the process starts would open one of its own.
DETACHED = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
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
        self._processes: dict = {}  # pid: the Popen, whose handle keeps the pid from being used again, and the handle of its job object

    def start(self, command, folder, environ, own, log, runner=(), shell=()):
        """Start a command as on POSIX systems, but by `cmd /c` unless the words of a `shell` are given; its pid. Raises OSError."""
        program = (*runner, *shell)
        if shell:
            command = subprocess.list2cmdline((*program, command))
        elif runner:
            command = "%s cmd /c %s" % (subprocess.list2cmdline(runner), command)
        text = {key.decode("utf-8", "surrogatepass").upper(): value.decode("utf-8", "surrogatepass")
                for variables in (environ, own) for key, value in variables.items()}
        # Opened again so that each write goes to the end, wherever that is by then: what is inherited has a position, not O_APPEND.
        handle = self._reopen(msvcrt.get_osfhandle(log), _APPEND, 7, 0)
        output = log if handle in (None, 2 ** 64 - 1, 2 ** 32 - 1) else msvcrt.open_osfhandle(handle, os.O_APPEND)
        tree = self._make(None, None)
        self._set_flags(tree, _KILL_ON_JOB_CLOSE)
        try:
            process = subprocess.Popen(command, shell=not program, cwd=folder, env=text, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output, creationflags=_START)
        except FileNotFoundError as error:  # Windows does not name it; a folder that is not there is NotADirectoryError
            self._close(tree)
            raise (FileNotFoundError(errno.ENOENT, "there is no program %r to run it with" % program[0]) if program else error) from None
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

    def wait(self, pid, mutex):
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
        return True

    def reap_orphans(self):
        """There is nothing to reap here."""

    def close(self):
        """Nothing is kept."""
