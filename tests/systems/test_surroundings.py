"""Where the program is run: shells, folders with odd names and on other file systems, locales, another user, a system without /proc."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import unittest

from core.job import MAX_TEXT
from execution import launcher, process_tree
from tests.support.home import DEADLINE, MAIN, ROOT, WINDOWS, QueueTest, copy_program, typed
from tests.support.workers import WorkerTest, is_alive

ROOT_USER = getattr(os, "geteuid", lambda: 1)() == 0
# Makes another program /bin/sh, for the processes that are started by it alone.
AS_SH = ["unshare", "-m", "sh", "-c", 'mount --bind "$1" /bin/sh && shift && exec "$@"', "sh"]


def can_replace_sh():
    """Whether this user may make another program /bin/sh in a name space of its own."""
    if not ROOT_USER or shutil.which("unshare") is None:
        return False
    return subprocess.run(AS_SH + [os.path.realpath("/bin/sh"), "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


class TestShells(WorkerTest):
    """Jobs under each shell that may be a system's /bin/sh."""

    # command, state in the end, exit code, output
    JOBS = {
        "plain": ("echo Hello", "completed", 0, "Hello\n"),
        "words": ("printf '%s|' a 'b c' \"$QUEUECTL_JOB_ID\"", "completed", 0, "a|b c|words|"),
        "status": ("exit 7", "dead", 7, ""),
        "pipe": ("printf 'a\\nb\\n' | grep b; (exit 3)", "dead", 3, "b\n"),
        "missing": ("no-such-program-anywhere 2>/dev/null", "dead", 127, ""),
        "killed": ("kill -9 $$", "dead", 137, ""),
        "child": ("sh -c 'kill -TERM $$'", "dead", 143, None),
        "behind": ("sleep 300 & echo $! > behind.pid", "completed", 0, ""),
        "hangs": ("sleep 300 & echo $! > hangs.pid; sleep 300", "dead", None, ""),
    }

    def test_jobs_do_the_same_under_each(self):
        if not can_replace_sh():
            self.skipTest("only root can make another program /bin/sh for a while")
        for name in ("dash", "bash", "busybox", "zsh", "ksh", "mksh", "yash"):
            shell = shutil.which(name)
            with self.subTest(shell=name):
                if shell is None:
                    self.skipTest("%s is not installed" % name)
                self.check_shell(os.path.realpath(shell))

    def check_shell(self, shell):
        for name in os.listdir(self.home):
            if name != "config.json":
                path = self.path(name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        for job_id, (command, _, _, _) in self.JOBS.items():
            self.add(job_id, command, max_retries=0, timeout=1 if job_id == "hangs" else None)
        done = subprocess.run(AS_SH + [shell, sys.executable, MAIN, "worker", "start", "--drain", "--count", "3"], env=self.environ(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        for job_id, (_, state, code, output) in self.JOBS.items():
            job = self.job(job_id)
            self.assertEqual((job_id, job.state, job.exit_code), (job_id, state, code))
            if output is not None:
                said = self.run_program("logs", job_id).stdout
                if job_id == "hangs" and os.path.basename(shell) == "mksh":
                    said = said.replace("Terminated \n", "")  # what it says itself of the TERM that ended its child
                self.assertEqual((job_id, said), (job_id, output))
        self.assertFalse(is_alive(int(self.text("hangs.pid"))))
        behind = int(self.text("behind.pid"))
        self.assertTrue(is_alive(behind))
        os.kill(behind, 9)


class TestHomes(QueueTest):
    """The whole way of a job in homes with odd names, on other file systems, and in odd locales."""

    def go(self, home, **more):
        """Add a job, run it, and look at it in every way; the environment."""
        env = self.environ(QUEUECTL_HOME=home, **more)
        self.succeed("enqueue", "--id", "a", "--", "echo Hello", env=env)
        done = self.run_program("worker", "start", "--drain", env=env)
        self.assertEqual((done.returncode, "Traceback" in done.stderr), (0, False), done.stderr)
        self.assertEqual(self.succeed("logs", "a", env=env), "Hello\n")
        self.assertIn("completed", self.succeed("list", env=env))
        self.assertIn('"exit_code": 0', self.succeed("show", "a", env=env))
        self.succeed("status", env=env)
        return env

    def go_the_whole_way(self, home, **more):
        """And with a worker in the background."""
        env = self.go(home, **more)
        self.succeed("worker", "start", "--detach", env=env)
        self.succeed("enqueue", "--id", "b", "--", "exit 0", env=env)
        self.succeed("wait", "b", env=env)
        self.assertEqual(self.succeed("worker", "stop", env=env), "Stopped 1 worker process.\n")
        self.succeed("doctor", env=env)

    def test_names(self):
        names = ["with space", "é漢🚀", "it's \"$HOME\" `x` $(y)", "-home", "a\\b", "x" * 100 + os.sep + "y" * 100, "%s%d{id}"]
        for name in names if not WINDOWS else names[:2] + ["-home", "%s%d{id}"]:
            with self.subTest(name=name):
                (self.go_the_whole_way if name == names[2] else self.go)(self.path(name))

    def test_a_memory_file_system(self):
        if not os.access("/dev/shm", os.W_OK):
            self.skipTest("there is no /dev/shm")
        home = "/dev/shm/queuectl-test-%d" % os.getpid()
        self.addCleanup(shutil.rmtree, home, True)
        self.go_the_whole_way(home)

    def test_a_file_system_that_keeps_no_modes(self):
        self.mount_without_modes(self.path("disk"))
        home = self.path("disk", "clone")
        path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))  # the Python that a hint names is this one
        options = {"env": self.environ(QUEUECTL_HOME=home, PATH=path)}
        self.succeed("enqueue", "--id", "a", "--", "echo Hello", **options)
        said = self.refuse("worker", "start", "--drain", code=1, **options)
        self.assertEqual(("keeps no modes" in said, "chmod" in said), (True, False), said)
        done = self.run_program("doctor", **options)
        self.assertEqual((done.returncode, "keeps no modes" in done.stdout), (1, True), done.stdout)
        mend = typed("config set trust_home true", options["env"])
        self.assertTrue(said.endswith("machine: " + mend), said)
        subprocess.run(mend, shell=True, check=True, stdout=subprocess.DEVNULL, **options)
        done = self.run_program("worker", "start", "--drain", **options)
        self.assertEqual((done.returncode, done.stderr.count("warning: %s is on a file system that keeps no modes" % home)), (0, 1), done.stderr)
        self.assertEqual(self.succeed("logs", "a", **options), "Hello\n")
        self.assertIn("home is not safe: ", self.succeed("doctor", **options))
        self.assertEqual(sorted(os.listdir(home)), ["config.json", "jobs.json", "logs", "run"])

    def mount_without_modes(self, place):
        """Mount a new file system that keeps no modes, as a disk of Windows is mounted, until the test is over."""
        if not ROOT_USER:
            self.skipTest("only root can mount a file system")
        image, reasons = self.path("image"), []
        os.mkdir(place)
        for make, mount in ((["mkfs.vfat"], ["mount", "-o", "loop,umask=0"]), (["mkntfs", "-F", "-q"], ["ntfs-3g", "-o", "umask=0"])):
            with open(image, "wb") as file:
                file.truncate(16 << 20)
            for words in (make + [image], mount + [image, place]):
                if shutil.which(words[0]) is None:
                    reasons.append("%s is not installed" % words[0])
                    break
                done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                                      check=False)
                if done.returncode:
                    reasons.append("%s: %s" % (words[0], " ".join(done.stderr.split())))
                    break
            else:
                self.addCleanup(subprocess.run, ["umount", place], check=True)
                return
        self.skipTest("no such file system can be mounted here: %s" % "; ".join(reasons))

    def test_locales(self):
        for more in ({"LC_ALL": "C", "LANG": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"},
                     {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}):
            with self.subTest(**more):
                self.go(self.path("-".join(sorted(more))), **more)

    def test_python_in_its_development_mode_has_nothing_to_warn_of(self):
        self.go_the_whole_way(self.path("home"), PYTHONDEVMODE="1")
        self.assertNotIn("Warning", self.text(os.path.join("home", "run", "worker.log")))

    @unittest.skipIf(WINDOWS, "its arguments are Unicode")
    def test_a_command_is_run_as_it_was_typed_whatever_encoding_the_locale_has(self):
        os.mkdir(self.path("d\u00e9"))
        self.write(os.path.join("d\u00e9", "caf\u00e9.txt"), "right")
        for name, more in self.locales_without_utf8():
            with self.subTest(name):
                home = self.path("d\u00e9", name)
                options = {"env": self.environ(**dict(more, QUEUECTL_HOME=home)), "cwd": self.path("d\u00e9"), "errors": "replace"}
                self.succeed("enqueue", "--id", "a\u00e9", "--env", "X=\u00e9", "--", "cat caf\u00e9.txt; printf '%s' $X $QUEUECTL_JOB_ID", **options)
                self.assertEqual(self.run_program("worker", "start", "--drain", **options).returncode, 0)
                self.assertEqual(self.succeed("logs", "a\u00e9", **dict(options, errors="strict", encoding="utf-8")), "right\u00e9a\u00e9")
                with open(os.path.join(home, "jobs.json"), encoding="utf-8") as file:
                    self.assertEqual(json.load(file)[0]["cwd"], os.path.realpath(self.path("d\u00e9")))
                said = self.refuse("enqueue", "--", b"cat caf\xe9.txt", code=2, **options)
                self.assertIn("byte 8 of its command, 0xe9, is not UTF-8", said)
                self.assertIn("byte 1 of its env X, 0xe9, is not UTF-8", self.refuse("enqueue", "--env", b"X=\xe9", "--", "true", code=2, **options))
                shown = self.run_program("list", "-q", **dict(options, encoding=more.get("SHOWN", "utf-8"))).stdout
                self.assertEqual(shown, "a\u00e9\n" if "SHOWN" in more else "a\\xe9\n")

    def locales_without_utf8(self):
        """(a name, the variables that choose it) of locales in another encoding: C with Python's own remedies off, and one that is made."""
        yield "ascii", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        made = self.made_locale("de_DE", "ISO-8859-1")
        if made is not None:
            yield "latin", dict(made, SHOWN="iso8859-1")

    def made_locale(self, language, encoding):
        """The variables that choose a locale which is made in the home; None where that cannot be."""
        name = "%s.%s" % (language, encoding)
        if shutil.which("localedef"):
            subprocess.run(["localedef", "-i", language, "-f", encoding, self.path(name)], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return {"LC_ALL": name, "LOCPATH": self.home} if os.path.isdir(self.path(name)) else None

    def test_an_argument_that_cannot_be_taken_over_from_the_encoding_of_the_locale_is_refused(self):
        made = self.made_locale("ja_JP", "EUC-JP")
        if made is None:
            self.skipTest("no such locale can be made here")
        said = self.refuse("show", b"\xf0\x9f\x98\x80", code=1, env=self.environ(**made))
        self.assertEqual(said, "queuectl: error: an argument is no text in the encoding of the locale, euc_jp; LC_ALL=C.UTF-8 takes it")

    def test_another_user_with_a_home_of_their_own(self):
        python = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), None)
        if not ROOT_USER or shutil.which("setpriv") is None or python is None:
            self.skipTest("needs root, setpriv and a Python that everyone can run")
        program, home = self.path("program"), self.path("theirs")
        os.chmod(self.home, 0o755)
        os.mkdir(home)
        copy_program(program)
        os.chown(home, 65534, 65534)

        def as_other(*words):
            return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, os.path.join(program, "main.py"),
                                   *words], env=self.environ(QUEUECTL_HOME=home, PYTHONDONTWRITEBYTECODE="1"), cwd="/",
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)

        if as_other("--version").returncode:
            self.skipTest("that Python is not one of ours")
        self.assertEqual(as_other("enqueue", "--id", "a", "--", "id -u").returncode, 0)
        self.assertEqual(as_other("worker", "start", "--drain").returncode, 0)
        self.assertEqual(as_other("logs", "a").stdout, "65534\n")
        os.mkdir(self.path("mine"), 0o755)
        refused = as_other("--home", self.path("mine"), "enqueue", "--", "true")
        self.assertEqual((refused.returncode, refused.stderr.count("\n"), "must be writable" in refused.stderr), (1, 1, True))
        self.assertEqual(("--home" in refused.stderr, "QUEUECTL_HOME" in refused.stderr), (True, True), refused.stderr)


@unittest.skipIf(WINDOWS, "the jobs are written for sh")
class TestStarts(WorkerTest):
    """What a command finds when it starts."""

    SAYS = ("grep -E '^Sig(Ign|Blk)' /proc/self/status; readlink /proc/$$/fd/0; ls /proc/$$/fd; pwd; "
            '[ "$(cut -d " " -f 5,6 /proc/$$/stat)" = "$$ $$" ] && echo "leads its session"; '
            'echo "$QUEUECTL_JOB_ID|$QUEUECTL_ATTEMPT|$QUEUECTL_HOME|$MINE|$OURS"; echo to stderr >&2')
    FINDS = ("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n/dev/null\n0\n1\n2\n%(cwd)s\nleads its session\n"
             "%(id)s|1|%(home)s|%(mine)s|ours\nto stderr\n")

    def work(self, code=0):
        done = self.run_program("worker", "start", "--drain", env=self.environ(OURS="ours"), preexec_fn=block_and_ignore)
        self.assertEqual(done.returncode, code, done.stderr)

    @unittest.skipUnless(process_tree.HAS_PROC, "a command looks at itself in /proc")
    def test_a_command_finds_the_same_however_it_is_started(self):
        os.mkdir(self.path("folder"))
        many = {"MANY%d" % number: "x" for number in range(9)}
        jobs = (("plain", "", {}), ("own", "mine", {"env": {"MINE": "mine"}}), ("many", "mine", {"env": dict(many, MINE="mine")}),
                ("folder", "", {"cwd": self.path("folder")}), ("over", "mine", {"env": {"MINE": "mine", "PATH": os.environ["PATH"]}}))
        for name, _, fields in jobs:
            self.add(name, self.SAYS, **fields)
        self.work()
        for name, mine, fields in jobs:
            with self.subTest(job=name):
                finds = self.FINDS % {"cwd": fields.get("cwd", self.home), "home": self.home, "id": name, "mine": mine}
                found = self.succeed("logs", name).replace("0000000180000000", "0" * 16)  # 32 and 33 are the C library's own
                self.assertEqual(found, finds)

    def test_many_folders(self):
        folders = [self.path("folder%d" % number) for number in range(150)]
        for folder in folders:
            os.makedirs(folder, exist_ok=True)
        self.succeed("enqueue", "-", stdin=json.dumps([{"id": os.path.basename(folder), "command": "pwd > pwd", "cwd": folder}
                                                      for folder in folders]))
        self.work()
        self.assertEqual([self.text(os.path.join(folder, "pwd")) for folder in folders], [folder + "\n" for folder in folders])

    def test_one_that_cannot_be_started_says_why(self):
        self.add("x", "true", cwd=self.path("gone"), max_retries=0)
        self.work(code=1)
        self.assertEqual((self.job("x").reason, self.succeed("logs", "x")),
                         ("unstartable", "queuectl: cannot start this command in %s: No such file or directory\n" % self.path("gone")))

    def test_the_longest_command_and_the_longest_variable_that_are_taken_run(self):
        command = "echo ${#LONG}; exit 0; "
        self.add("x", command + "x" * (MAX_TEXT - len(command)), env={"LONG": "y" * (MAX_TEXT - len("LONG="))})
        self.drain()
        self.assertEqual((self.job("x").state, self.succeed("logs", "x")), ("completed", "%d\n" % (MAX_TEXT - len("LONG="))))

    def test_a_nul_is_refused_where_the_system_would_take_it_for_the_end(self):
        launch = launcher.Launcher()
        self.addCleanup(launch.close)
        null = os.open(os.devnull, os.O_WRONLY)
        self.addCleanup(os.close, null)
        for command, folder, own in (("echo\0", self.home, {}), ("echo", self.home + "\0", {}), ("echo", self.home, {b"A": b"b\0"})):
            with self.subTest(command=command, folder=folder, own=own), self.assertRaises(ValueError):
                launch.start(command, folder, {}, own, null)


def block_and_ignore():
    """In a worker process: signals as no command should find them."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


WITHOUT_PROC = "from execution import process_tree; process_tree.HAS_PROC = process_tree.FINDS_UNNOTED = False"
WITHOUT_WAITID = "import os; vars(os).pop('waitid', None)"


@unittest.skipIf(WINDOWS, "process groups are a POSIX matter")
class TestWithoutProc(WorkerTest):
    """What a system without /proc has (macOS, the BSDs) suffices: the paths that are taken there, taken here."""

    WAYS = WITHOUT_PROC  # what is done to the system before our program is loaded
    PROGRAM = "import sys; sys.path.insert(0, %r); %s; import main; sys.exit(main.main(sys.argv[1:]))"

    def command(self, *arguments):
        """A worker's command, which runs with these ways."""
        return [sys.executable, "-c", self.PROGRAM % (ROOT, self.WAYS), "worker", "start", *arguments]

    def work(self, *arguments):
        done = subprocess.run(self.command("--drain", *arguments), env=self.environ(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def start_so(self, ways=""):
        """A worker process, with these ways, too, which is killed at the end: a Popen."""
        command = [sys.executable, "-c", self.PROGRAM % (ROOT, self.WAYS + ways), "worker", "start"]
        worker = subprocess.Popen(command, env=self.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self._processes.append(worker)
        return worker

    def test_a_running_job_is_cancelled_with_its_tree_and_its_worker_goes_on(self):
        self.add("hangs", "sleep 300 & echo $! > pid.new; mv pid.new pid; sleep 300")
        self.start_so()
        pid = int(self.wait_for_file("pid"))
        self.succeed("cancel", "hangs")
        self.wait_for_state("hangs", "dead")
        self.wait_for(lambda: not is_alive(pid))
        self.add("next", "true")
        self.wait_for_state("next", "completed")

    def test_a_worker_that_is_to_stop_at_once_does(self):
        self.add("hangs", "sleep 300 & echo $! > pid.new; mv pid.new pid; sleep 300")
        worker = self.start_so()
        pid = int(self.wait_for_file("pid"))
        self.succeed("worker", "stop", "--now")
        self.assertEqual(worker.wait(DEADLINE), 0)
        self.assertEqual((self.job("hangs").state, self.job("hangs").attempts), ("pending", 0))
        self.wait_for(lambda: not is_alive(pid))

    @unittest.skipUnless(os.path.exists("/bin/sh"), "an on_finish command is one for sh")
    def test_an_on_finish_command_that_takes_too_long_is_ended(self):
        self.settings(on_finish="echo $$ > pid.new; mv pid.new pid; exec sleep 300")
        self.add("x", "true")
        ways = self.WAYS + "; from execution.on_finish import Announcer; Announcer.LIMIT = 0.5"
        done = subprocess.run([sys.executable, "-c", self.PROGRAM % (ROOT, ways), "worker", "start", "--drain"], env=self.environ(),
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True, check=False)
        self.assertIn("x: on_finish was ended after 0.5 s", done.stderr)
        self.assertFalse(is_alive(int(self.text("pid"))))

    def test_a_tree_is_ended_after_its_time(self):
        self.add("hangs", "sleep 300 & echo $! > pid; sleep 300", max_retries=0, timeout=1)
        self.assertEqual(self.work().returncode, 1)
        self.assertEqual(self.job("hangs").reason, "timeout")
        self.wait_for(lambda: not is_alive(int(self.text("pid"))))

    def test_what_a_failed_attempt_left_is_ended_and_what_a_good_one_left_is_not(self):
        self.add("fails", "sleep 300 & echo $! > fails; exit 1", max_retries=0)
        self.add("succeeds", "sleep 300 & echo $! > succeeds; exit 0")
        self.assertEqual(self.work().returncode, 1)
        self.wait_for(lambda: not is_alive(int(self.wait_for_line("fails"))))
        self.assertTrue(is_alive(int(self.text("succeeds"))))
        os.kill(int(self.text("succeeds")), 9)

    def test_a_lost_job_runs_again_once_its_tree_has_ended(self):
        self.add("lost", "if [ $QUEUECTL_ATTEMPT = 1 ]; then echo $$ > pid; sleep 300; fi")
        worker = self.start_so()
        pid = int(self.wait_for_line("pid"))
        self.wait_for(lambda: '"group": %d' % pid in self.worker_files())  # else nobody may signal it, and the job waits for its end
        self.kill(worker)
        self.assertEqual(self.work().returncode, 0)
        self.assertEqual((self.job("lost").state, self.job("lost").attempts, is_alive(pid)), ("completed", 2, False))

    @unittest.skipUnless(shutil.which("ps"), "there is no ps")
    def test_a_lost_job_whose_output_goes_elsewhere_is_known_by_the_start_of_its_process(self):
        self.add("lost", "if [ $QUEUECTL_ATTEMPT = 1 ]; then echo $$ > pid.new; mv pid.new pid; exec sleep 300 > /dev/null 2>&1; fi")
        worker = self.start_so()
        pid = int(self.wait_for_file("pid"))
        self.wait_for(lambda: '"group": %d' % pid in self.worker_files())
        self.kill(worker)
        self.assertTrue(is_alive(pid))
        self.assertEqual(self.work().returncode, 0)
        self.assertEqual((self.job("lost").state, self.job("lost").attempts, is_alive(pid)), ("completed", 2, False))

    def test_the_module_says_what_the_system_has(self):
        self.assertEqual(process_tree.HAS_PROC, os.path.isdir("/proc/self"))


class TestWithoutWaitid(TestWithoutProc):
    """The same where Python cannot wait for a process without reaping it: PyPy."""

    WAYS = WITHOUT_WAITID


class TestAsOnMacOS(TestWithoutProc):
    """The same with both: macOS before Python 3.13."""

    WAYS = WITHOUT_WAITID + "; " + WITHOUT_PROC

    def test_the_group_of_a_job_behind_those_of_milliseconds_is_noted_at_once_since_nothing_else_tells_of_it(self):
        for number in range(5):
            self.add("short-%d" % number, "exit 0")
        self.add("lost", "echo $$ > pid.new; mv pid.new pid; exec sleep 300")
        self.start_so("; from execution import outcomes; outcomes.STALE = 1000")  # the main thread would note it after that
        pid = int(self.wait_for_file("pid"))
        self.wait_for(lambda: '"group": %d' % pid in self.worker_files())
