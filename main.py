#!/usr/bin/env python3
"""The command line of QueueCTL: parse, call the command, turn a fault into one line and an exit code."""
import sys

if sys.version_info < (3, 8):  # older ones must be able to read this file alone: no later syntax, nothing but ASCII
    sys.stderr.write("queuectl: error: QueueCTL needs Python 3.8 or newer, and this is Python %d.%d (%s)\n"
                     % (sys.version_info[0], sys.version_info[1], sys.executable))
    sys.exit(1)

import _signal  # type: ignore[import-not-found]
import gc

_heeds_interrupts = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
if _heeds_interrupts:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl+C among the imports ends the program without a traceback

gc.disable()  # what is imported is no garbage; to look for some is a twentieth of what an `enqueue` does itself

import os

if __package__ or sys.flags.isolated or getattr(sys.flags, "safe_path", False):
    # An installed copy is a package, and `python3 -I` or `-P` looks for nothing beside the program. In both cases a module of somebody
    # else, on PYTHONPATH or in site-packages, would be taken for ours (a `helpers.py`, the package `supervisor`).
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))


def _cut_cache(error):
    """What to say of a fault, if an import met a .pyc that does not read, as a full disk or a limit on the size of files may leave it:
    CPython does not make it anew, so that each start fails (importlib._bootstrap_external, _compile_bytecode). None for any other fault."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    path = trace.tb_frame.f_locals.get("bytecode_path") if trace.tb_frame.f_code.co_name == "_compile_bytecode" else None
    return path and ("%s does not read (%s): a full disk may have cut it short; remove the folder %s, which Python makes anew"
                     % (path, error, os.path.dirname(path)))


try:
    from cli import arguments
    from cli.context import Home
    from core.errors import EXIT_BUG, EXIT_FAILED, EXIT_INTERRUPTED, QueueError, advice, fault_text, name_program
    from core.home import find_home
    from helpers import guard_stdout, printable
except (EOFError, ValueError, TypeError) as _fault:
    _said = _cut_cache(_fault)
    if not _said:
        raise
    sys.exit("queuectl: error: %s" % _said)

if hasattr(gc, "freeze"):  # PyPy has none
    gc.freeze()  # nor will it be garbage
gc.enable()
if _heeds_interrupts:
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)

VERSION = "0.3.0.dev0"  # the one place; pyproject.toml reads it here

_LONGEST = 2000  # characters of a message


def _spelled(given=None, home=None):
    from cli.calling import spelled
    return spelled(given, home, __file__)


def _run(argv, stdout):
    name_program(lambda: _spelled(arguments.home_before(argv)[0]))
    command, args = arguments.parse(argv)
    if command in ("", "--help"):
        from cli.help_text import all_commands, first_steps
        print(all_commands(args) if command else first_steps())
        return 0
    if command == "--version":
        print("queuectl %s" % VERSION)
        return 0
    if stdout is not None:
        stdout.begun = command in arguments.CHANGING or getattr(args, "repair", False)
    module, _, function = command.partition(".")
    run_command = getattr(__import__("cli." + module, fromlist=[function]), function)  # its own module alone: a start is paid for each time
    home = find_home(args.home, os.environ, __file__)
    name_program(lambda: _spelled(args.home, home))
    return run_command(args, Home(home))


def _speak_utf8():
    """Start this program anew, in the same process, if Python takes arguments and names of files for another encoding than UTF-8, as the
    locale wants it: a job file holds UTF-8, and a command has to be stored with the bytes that were typed. (A locale cannot be had without
    that in any other way: PEP 540.) What is printed is for the terminal, and in its encoding."""
    if sys.getfilesystemencoding() == "utf-8" or "queuectl" in sys._xoptions or not sys.executable:
        return
    printed = sys.stdout or sys.stderr
    words = getattr(sys, "orig_argv", [sys.executable] + ["-I"] * sys.flags.isolated + sys.argv)[1:]  # Python 3.10 knows them all
    try:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-X", "queuectl=%s" % (printed.encoding if printed else "")] + words)
    except UnicodeError:  # the C library took bytes for characters that Python does not know in that encoding: C1 in EUC-JP
        sys.exit("queuectl: error: an argument is no text in the encoding of the locale, %s; LC_ALL=C.UTF-8 takes it"
                 % sys.getfilesystemencoding())


def _prepare_process():
    """Prepare the process: the owner may read and write new files, whatever the umask says; a closed stream becomes the null device; a
    character that a stream cannot show becomes an escape, not a traceback. Gives back what guards stdout, or None."""
    os.umask(os.umask(0o077) & 0o077)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))
        elif name == "stderr":
            stream.reconfigure(encoding=sys._xoptions.get("queuectl") or None, errors="backslashreplace")
    return guard_stdout(sys._xoptions.get("queuectl") or None)


def main(argv=None):
    """Run a command, and return its exit code (core.errors names them)."""
    stdout = _prepare_process()
    try:
        code = _run(sys.argv[1:] if argv is None else argv, stdout)
        sys.stdout.flush()
        if stdout is not None and stdout.fault is not None:
            raise QueueError("done, but stdout cannot be written: %s" % stdout.fault.strerror)
        return code
    except QueueError as error:
        message, code = str(error), error.exit_code
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        message, code = fault_text(error) + advice(error), EXIT_FAILED
    except MemoryError:
        message, code = "there is not enough memory for this; ask for less at a time, or raise the limit (ulimit -v)", EXIT_FAILED
    except Exception as error:
        message, code = _cut_cache(error), EXIT_FAILED
        if not message:
            import traceback
            traceback.print_exc()
            sys.stderr.write("queuectl: this is a bug in QueueCTL; please report it with the lines above\n")
            return EXIT_BUG
    if len(message) > _LONGEST:  # it repeats an argument
        message = "%s \u2026 %s" % (message[:_LONGEST // 2], message[-_LONGEST // 2:])
    sys.stderr.write("queuectl: error: %s\n" % printable(message))
    return code


def run():
    """Be the program. It ends without the cleaning up of the interpreter, a tenth of the time of a short command: all is written by now."""
    try:
        _speak_utf8()
        code = main()
    except KeyboardInterrupt:  # before `main` heeds it, or while it tells of something else
        code = EXIT_INTERRUPTED
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # a terminal that is gone
    os._exit(code)


if __name__ == "__main__":
    run()
