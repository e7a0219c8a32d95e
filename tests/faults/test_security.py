"""Modes, links, hostile ids, homes that others can write, and processes that are not ours."""
from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest

from core import system
from core.job import FAILED, Outcome
from execution import process_tree
from storage.output import log_path
from tests.support.broken_files import BrokenFileTest
from tests.support.home import MAIN, HomeTest, as_command
from tests.support.workers import GATE, WorkerTest, is_alive

POSIX = os.name != "nt"
# What a terminal obeys, what breaks a line, and what turns the direction of writing or cannot be seen.
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
HOSTILE = "\x1b[31m\x1b]0;title\x07\x9b31m\x7f\r\t\u202e\u2028\u200b"
# Ids that are allowed.
IDS = ("../x", "../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "a\\b", "CON", "con.txt", "NUL", "COM1", "LPT1.log", "-rf", "--help",
       "--home", " ", "a b", "*", "?", "a:b", "~", "~root", "$(touch owned)", "`touch owned`", "'; touch owned; '", '"; touch owned; "', "%s%n%x",
       "{}", "\\x1b", "🚀" * 200, "x" * 200, "é", "e\u0301", "\u202egnp.exe", "\u2066a\u2069", "\u200b", "\ufeff", "A", "a", "..\u2215x", "CON ", "a.", "0")
REFUSED_IDS = ("", "a\nb", "\n", "a\rb", "a\tb", "\x1b[31m", "\x9b31m", "a\x00b", "\x7f", "a\u2028b", "a\u2029b", "x" * 201, "🚀" * 201)


@unittest.skipUnless(POSIX, "modes are POSIX's")
class TestModes(WorkerTest):
    """Files are 0600 and folders 0700 whatever the umask."""

    def test_all_that_is_made_is_the_owners_alone_whatever_the_umask(self):
        for umask in (0, 0o022, 0o077, 0o777):
            if umask == 0o777 and os.geteuid() != 0:
                continue  # what is not ours, as a bytecode cache, could not be read any more
            with self.subTest(umask=oct(umask)):
                home = self.path("home-%o" % umask, "deep")
                options = {"env": self.environ(QUEUECTL_HOME=home), "preexec_fn": lambda: os.umask(umask)}
                jobs = [{"id": "good", "command": "echo hello"}, {"id": "bad", "command": "echo bye; exit 1"},
                        {"id": "held", "command": "echo held; until [ -e go ]; do sleep 0.05; done"}]
                self.succeed("enqueue", "-", stdin=json.dumps([dict(job, cwd=self.home) for job in jobs]), **options)
                self.succeed("config", "set", "max_retries", "0", **options)
                self.succeed("worker", "start", "--detach", **options)
                worker = json.loads(self.succeed("worker", "list", "--json", **options))[0]["pid"]
                self.addCleanup(lambda: is_alive(worker) and os.kill(worker, signal.SIGKILL))
                self.wait_for(lambda: os.path.isdir(os.path.join(home, "logs")) and len(os.listdir(os.path.join(home, "logs"))) == 3)
                self.succeed("pause", **options)
                self.run_program("worker", "stop", "--timeout", "0", **options)
                self.assert_private(home, "paused", "dlq.json", "run/lock", "run/worker.log", "run/*.json", "run/*.stop", "run/*.wake",
                                    "logs/*.log")
                self.write("go", "")
                self.wait_for(lambda: not is_alive(worker))
                with open(os.path.join(home, "jobs.json"), "r+b") as file:
                    file.truncate(os.path.getsize(file.name) - 100)
                shutil.rmtree(os.path.join(home, "run"))  # as after a power cut: within one boot it would be refused
                past = time.time() - 60  # it has held still
                os.utime(os.path.join(home, "jobs.json"), (past, past))
                self.run_program("enqueue", "--id", "new", "--", "true", **options)
                with open(os.path.join(home, "dlq.json"), "wb") as file:
                    file.write(b'[{"id": "a", "command": "b"}, oops]')
                self.run_program("doctor", "--repair", **options)
                self.assert_private(home, "jobs.json.torn-*", "dlq.json.broken-*", "jobs.json", "dlq.json", "config.json")
                os.unlink(self.path("go"))

    def assert_private(self, home, *patterns):
        """Every file and folder of a home is its owner's alone, and there is at least one of each of these."""
        modes = {}
        for folder, _, names in os.walk(home):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                modes[os.path.relpath(path, home)] = os.lstat(path).st_mode & 0o777
        for pattern in patterns:
            expression = re.escape(pattern).replace("\\*", ".*")
            self.assertTrue(any(re.fullmatch(expression, name) for name in modes), (pattern, sorted(modes)))
        self.assertEqual({name: oct(mode) for name, mode in modes.items()},
                         {name: oct(0o700 if os.path.isdir(os.path.join(home, name)) else 0o600) for name in modes})


@unittest.skipUnless(POSIX, "links are POSIX's")
class TestLinks(BrokenFileTest):
    """A symbolic link in the place of one of our files is neither followed nor written through."""

    SECRET = b'[\n{"id": "secret", "command": "true"}\n]\n'

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("elsewhere"))
        self.sample()

    def link(self, name, target):
        """Put a link in the place of a file."""
        if os.path.lexists(self.path(name)):
            os.unlink(self.path(name))
        os.makedirs(os.path.dirname(self.path(name)), mode=0o700, exist_ok=True)
        os.symlink(target, self.path(name))

    def assert_not_followed(self, name, *commands, refused=None):
        """None of the commands reads, changes or makes what a link with that name points to."""
        secret, dangling = self.path("elsewhere", "secret"), self.path("elsewhere", "dangling")
        for target in (secret, dangling):
            for words in commands:
                with self.subTest(name, command=words, dangling=target == dangling):
                    self.sample()
                    with open(secret, "wb") as file:
                        file.write(self.SECRET)
                    self.link(name, target)
                    code, out, err = self.run_inside(*words)
                    with open(secret, "rb") as file:
                        self.assertEqual(file.read(), self.SECRET)
                    self.assertFalse(os.path.lexists(dangling))
                    self.assertNotIn("secret", (out + err).replace(secret, ""))
                    if refused is not None:
                        self.assertEqual(code != 0, refused, out + err)
                        if refused:
                            self.assertEqual((err.count("\n"), self.path(name) in err), (1, True), err)
                    if os.path.lexists(self.path(name)):
                        os.unlink(self.path(name))

    def test_the_lock_is_not_followed(self):
        self.assert_not_followed(os.path.join("run", "lock"), ["status"], ["list"], ["enqueue", "--id", "x", "--", "true"],
                                 ["retry", "--all"], ["worker", "start", "--drain"], ["config", "set", "max_retries", "2"], ["pause"], refused=True)

    def test_the_job_file_is_not_followed(self):
        self.assert_not_followed("jobs.json", ["list"], ["enqueue", "--id", "x", "--", "true"], ["clean"], ["worker", "start", "--drain"],
                                 refused=True)

    def test_the_dead_letter_file_is_not_followed(self):
        self.assert_not_followed("dlq.json", ["dlq", "list"], ["retry", "dead"], ["dlq", "purge", "--all"], ["cancel", "last"],
                                 refused=True)

    def test_temporary_files_are_not_followed_and_stand_in_nobodys_way(self):
        self.assert_not_followed("jobs.json.new", ["clean"], ["reset", "--yes"], ["dlq", "purge", "--all"], refused=False)
        self.assert_not_followed("dlq.json.new", ["retry", "dead"], ["dlq", "purge", "--all"], refused=False)
        self.assert_not_followed("config.json.new", ["config", "set", "max_retries", "2"], refused=False)

    def test_pausing_does_not_follow_a_link(self):
        self.assert_not_followed("paused", ["pause"], refused=True)
        self.assert_not_followed("paused", ["resume"], refused=False)

    def test_a_log_is_not_followed_by_who_shows_it(self):
        job = [job for job in self.manager(fsync=False).jobs() if job.id == "dead"][0]
        name = os.path.relpath(log_path(self.home, job, 1), self.home)
        self.assert_not_followed(name, ["logs", "dead"], ["logs", "dead", "--all"], ["logs", "dead", "-n", "1"], ["logs", "dead", "-f"])

    def test_waking_a_worker_does_not_write_through_a_link(self):
        self.write(os.path.join("run", "worker-0.json"), "{}")
        self.assert_not_followed(os.path.join("run", "worker-0.wake"), ["resume"], ["enqueue", "--id", "x", "--", "true"], refused=False)

    def test_a_worker_file_is_not_followed_and_stands_in_nobodys_way(self):
        self.assert_not_followed(os.path.join("run", "worker-0.json"), ["status"], ["worker", "list"], ["worker", "stop"], ["resume"],
                                 ["reset", "--yes"], refused=False)

    def test_the_workers_log_is_not_followed(self):
        self.assert_not_followed(os.path.join("run", "worker.log"), ["worker", "start", "--detach", "--drain"], refused=True)

    def test_repair_does_not_read_through_a_link(self):
        self.assert_not_followed("jobs.json", ["doctor", "--repair"])
        self.assertEqual(self.beside(), {})

    def test_a_worker_replaces_a_link_in_the_place_of_a_log_and_goes_past_one_in_the_place_of_a_worker_file(self):
        self.write("precious", "precious")
        os.unlink(self.path("jobs.json"))
        self.run_inside("enqueue", "--id", "x", "--", "echo hello")
        job, = self.manager(fsync=False).jobs()
        self.link(os.path.relpath(log_path(self.home, job, 1), self.home), self.path("precious"))
        self.link(os.path.join("run", "worker-0.json"), self.path("precious"))
        done = self.run_program("worker", "start", "--drain")
        self.assertEqual((done.returncode, "Traceback" in done.stderr), (0, False), done.stderr)
        self.assertEqual((self.read("precious"), self.run_inside("logs", "x")[1]), (b"precious", "hello\n"))


    def test_a_folder_of_ours_that_is_a_link_is_not_followed(self):
        for name, commands in (("run", (["status"], ["list"], ["enqueue", "--id", "x", "--", "true"], ["worker", "list"], ["worker", "stop"],
                                        ["worker", "start", "--drain"], ["clean"], ["doctor"], ["reset", "--yes"])),
                               ("logs", (["logs", "dead"], ["clean"], ["worker", "start", "--drain"], ["reset", "--yes"], ["doctor"]))):
            for words in commands:
                with self.subTest(name, command=words):
                    self.sample()
                    shutil.rmtree(self.path(name), ignore_errors=True)
                    os.symlink(self.path("elsewhere"), self.path(name))
                    self.write(os.path.join("elsewhere", "x.1.log"), "precious")
                    before = {entry: self.read(os.path.join("elsewhere", entry)) for entry in os.listdir(self.path("elsewhere"))}
                    code, out, err = self.run_inside(*words)
                    self.assertEqual((code, self.path(name) in out + err), (1, True), out + err)
                    self.assertEqual({entry: self.read(os.path.join("elsewhere", entry)) for entry in os.listdir(self.path("elsewhere"))}, before)
                    os.unlink(self.path(name))

    def test_settings_may_be_kept_elsewhere_and_are_written_there(self):
        self.write(os.path.join("elsewhere", "settings.json"), '{"fsync": false, "max_retries": 7}')
        self.link("config.json", os.path.join("elsewhere", "settings.json"))
        self.assertEqual(self.run_inside("config", "get", "max_retries")[1], "7\n")
        self.assertEqual(self.run_inside("config", "set", "max_retries", "2")[0], 0)
        self.assertTrue(os.path.islink(self.path("config.json")))
        self.assertEqual(json.loads(self.read(os.path.join("elsewhere", "settings.json")).decode()), {"fsync": False, "max_retries": 2})
        self.link("config.json", "elsewhere")
        code, _, err = self.run_inside("config", "set", "max_retries", "2")
        self.assertEqual((code != 0, self.path("config.json") in err, os.path.isdir(self.path("elsewhere"))), (True, True, True))


class TestIds(BrokenFileTest):
    """Ids are untrusted text."""

    def assert_tame(self, *words):
        """A command prints nothing that a terminal obeys; what it printed."""
        code, out, err = self.run_inside(*words)
        self.assertIn(code, (0, 1, 2, 124), err)
        self.assertEqual(RAW.findall(out + err), [], (words, out, err))
        return out + err

    def test_ids_that_break_lines_or_steer_terminals_are_refused_and_their_error_is_tame(self):
        for job_id in REFUSED_IDS:
            with self.subTest(job_id[:20]):
                record = json.dumps({"id": job_id, "command": "true"})
                said = self.assert_tame("enqueue", record)
                self.assertRegex(said, '^queuectl: error: .*"id"')
                if "\0" not in job_id:
                    self.assert_tame("enqueue", "--id", job_id, "--", "true")
                    for words in (["show"], ["logs"], ["wait"], ["cancel"], ["retry"], ["clean"], ["dlq", "purge"], ["edit"]):
                        self.assertIn("error", self.assert_tame(*(words + [job_id or HOSTILE])))
                self.write("jobs.json", "[%s]" % record)
                self.assert_refused(["list"])
                self.assert_tame("list")
                self.assert_tame("doctor")
                self.assert_tame("doctor", "--repair")
                self.assertEqual(self.records(), [])
                os.unlink(self.path("jobs.json"))

    def test_no_command_prints_ids_commands_or_broken_text_raw(self):
        ids = [job_id for job_id in IDS if not job_id.startswith("-") and len(job_id) < 200]
        jobs = [{"id": job_id, "command": as_command("echo # " + HOSTILE), HOSTILE: [HOSTILE], "after": [job_id + "x"]} for job_id in ids]
        self.manager(fsync=False).enqueue(jobs + [{"id": job_id + "x", "command": "true"} for job_id in ids], "/", time.time())
        manager = self.manager(fsync=False, max_retries=0)
        for number in range(6):
            job = manager.claim("test-%d" % number, time.time())
            if number % 3:
                manager.record(job, Outcome(number % 2, FAILED if number % 2 else None), time.time(), HOSTILE)
        for words in (["list"], ["list", "--json"], ["list", "--jsonl"], ["list", "-q"], ["status"], ["status", "--json"], ["stats"],
                      ["dlq", "list"], ["dlq", "list", "--json"], ["worker", "list"], ["doctor"], ["completion", "--words", "show", ""],
                      ["completion", "--words", "cancel", ""], ["completion", "--words", "retry", ""], ["wait", "--timeout", "0"],
                      ["config", "get", HOSTILE], [HOSTILE], ["--home=" + self.path(HOSTILE), "status"]):
            with self.subTest(words):
                self.assert_tame(*words)
        for job_id in ids:
            with self.subTest(job_id[:20]):
                for words in (["show", job_id], ["wait", job_id, "--timeout", "0"], ["cancel", job_id], ["retry", job_id], ["logs", job_id],
                              ["logs", "--all", job_id], ["enqueue", "--unique", "--id", job_id, "--", "true"], ["dlq", "purge", job_id],
                              ["enqueue", json.dumps({"id": "b", "command": "true", "after": [job_id + HOSTILE]})],
                              ["enqueue", "-q", "--id", job_id, "--", "true"], ["enqueue", "--id", job_id, "--", "true"],
                              ["clean", job_id]):
                    self.assert_tame(*words)
        text = "x" + HOSTILE
        self.write("jobs.json", '[{"id": "a", "command": "true"}, "%s", {"id": "%s", "command": "true", "state": "%s"}]' % (text, text, text))
        for words in (["list"], ["doctor"], ["doctor", "--repair"]):
            with self.subTest(words):
                self.assert_tame(*words)
        self.write("config.json", json.dumps({"fsync": False, "max_retries": HOSTILE}))
        self.assert_tame("status")
        self.write("config.json", json.dumps({"fsync": False, HOSTILE: 1}))
        self.assert_tame("status")

    @unittest.skipUnless(POSIX, "the jobs are written for sh")
    def test_hostile_ids_do_not_leave_logs_nor_reach_a_shell_and_each_has_its_own_output(self):
        inside = self.path("deep", "home")
        ids = list(IDS) + [job_id + " dies" for job_id in IDS if len(job_id) <= 195]
        command = 'printf "%s\\n" "$QUEUECTL_JOB_ID"; case "$QUEUECTL_JOB_ID" in *dies) exit 1; esac'
        self.write("jobs", json.dumps([{"id": job_id, "command": command, "max_retries": 0} for job_id in ids]))
        env = self.environ(QUEUECTL_HOME=inside, PYTHONUTF8="1")
        self.assertEqual(self.run_program("enqueue", "--file", self.path("jobs"), env=env).returncode, 0)
        self.assertEqual(self.run_program("config", "set", "on_finish", 'printf "%s\\n" "$QUEUECTL_JOB_ID" >> finished',
                                          env=env).returncode, 0)
        before = self.outside(inside)
        done = subprocess.run([sys.executable, MAIN, "worker", "start", "--drain", "--count", "2"], env=env, cwd=self.home,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = (done.stdout + done.stderr).decode("utf-8")
        self.assertEqual((done.returncode, RAW.findall(said)), (1, []))
        self.assertEqual(said.count(": completed"), len(IDS))
        self.assertEqual(self.outside(inside), before)
        self.assertEqual(set(os.listdir(inside)), {"config.json", "jobs.json", "dlq.json", "run", "logs", "finished"})
        names = os.listdir(os.path.join(inside, "logs"))
        self.assertEqual(len(names), len(ids))
        self.assertEqual(len({name.lower() for name in names}), len(ids))  # also where case does not count
        for name in names:
            self.assertRegex(name, r"\A[0-9A-Za-z_-]{1,60}-[0-9a-f]{16}\.1\.log\Z")
        self.home = inside
        for job in list(self.manager(fsync=False).jobs()):
            with self.subTest(job.id[:20]):
                words = [job.id] if not job.id.startswith("-") else ["--", job.id]
                self.assertEqual(self.run_inside("logs", *words)[1], job.id + "\n")
                self.assertRegex(self.run_inside("logs", "--all", *words)[1].replace(job.id + "\n", ""), r"\A==> [^\n]*, attempt 1 <==\n\Z")
        with open(os.path.join(inside, "finished"), encoding="utf-8") as file:
            self.assertEqual(sorted(file.read().splitlines()), sorted(ids))

    def outside(self, inside):
        """All paths in the test's home that are not in that folder."""
        return sorted(os.path.join(folder, name) for folder, folders, names in os.walk(self.home) for name in folders + names
                      if not os.path.join(folder, name).startswith(inside))


@unittest.skipUnless(POSIX, "modes are POSIX's")
class TestOthers(WorkerTest):
    """Who can write the home, the job file or config.json can run commands."""

    def test_what_is_refused_is_told_with_a_command_that_mends_it_when_it_is_copied_into_a_shell(self):
        self.home = self.path("a home; touch owned #'")
        os.mkdir(self.home, 0o700)
        self.queue = self.manager(fsync=False)
        self.settings()
        self.add("x", "echo ran > ran")
        for path in (self.home, self.path("jobs.json"), self.path("config.json")):
            with self.subTest(path):
                os.chmod(path, os.stat(path).st_mode | 0o002)
                said = self.refuse("worker", "start", "--drain", code=1)
                self.assertFalse(os.path.exists(self.path("ran")))
                command = re.search("(chmod o-w .*?)(?: mends it)?$", said)
                self.assertIsNotNone(command, said)
                subprocess.run(["sh", "-c", command.group(1)], cwd=os.path.dirname(self.home), stderr=subprocess.DEVNULL, check=False)
                self.assertEqual(os.stat(path).st_mode & 0o002, 0, said)
                os.chmod(path, os.stat(path).st_mode & ~0o002)
        self.drain()
        self.assertEqual(self.text("ran"), "ran\n")

    def test_all_that_is_wrong_is_told_at_once_and_one_command_mends_it(self):
        self.add("x", "true")
        paths = [self.home, self.path("jobs.json"), self.path("config.json")]
        for path in paths:
            os.chmod(path, os.stat(path).st_mode | 0o002)
        said = self.refuse("worker", "start", "--drain", code=1)
        self.assertIn("chmod o-w %s mends it" % " ".join(map(shlex.quote, paths)), said)
        done = self.run_program("doctor")
        self.assertEqual((done.returncode, said.partition("error: ")[2] in done.stdout), (1, True), done.stdout)
        subprocess.run(["sh", "-c", said[said.index("chmod"):said.rindex(" mends")]], check=True)
        self.drain()

    def test_where_modes_are_kept_nobody_can_allow_it_who_can_write_the_home(self):
        self.add("x", "true")
        self.settings(trust_home=True)
        os.chmod(self.home, 0o777)
        self.assertIn("chmod o-w", self.refuse("worker", "start", "--drain", code=1))


@unittest.skipUnless(POSIX and getattr(os, "geteuid", int)() == 0, "only root can work in the home of another user")
class TestRoot(HomeTest):
    """What root does in a user's home leaves it the user's."""

    USER, GROUP = 12345, 12346

    def setUp(self):
        super().setUp()
        self.write("config.json", '{"fsync": false}')
        manager = self.manager(fsync=False, max_retries=0)
        manager.enqueue([{"id": "done", "command": "true"}, {"id": "dead", "command": "false"}, {"id": "waits", "command": "true"}], "/",
                        time.time())
        for code in (0, 1):
            manager.record(manager.claim("t-1", time.time()), Outcome(code, FAILED if code else None), time.time())
        shutil.rmtree(self.path("run"))
        for name in ("config.json", "jobs.json", "dlq.json", ""):
            os.chown(self.path(name), self.USER, self.GROUP)
        os.chmod(self.path("jobs.json"), 0o640)

    def strangers(self):
        """The paths in the home that are not the user's."""
        paths = [os.path.join(folder, name) for folder, folders, names in os.walk(self.home) for name in folders + names]
        return [path for path in paths if (os.lstat(path).st_uid, os.lstat(path).st_gid) != (self.USER, self.GROUP)]

    def test_what_is_made_or_replaced_keeps_its_owner_and_its_mode(self):
        for words in (["status"], ["retry", "dead"], ["clean"], ["cancel", "dead"], ["dlq", "purge", "--all"], ["pause"], ["resume"],
                      ["config", "set", "max_retries", "2"], ["worker", "stop"], ["doctor"], ["reset", "--yes"]):
            with self.subTest(words):
                self.succeed(*words)
                self.assertEqual(self.strangers(), [])
        self.assertEqual([os.stat(self.path(name)).st_mode & 0o777 for name in ("jobs.json", "config.json", "run", "run/lock")],
                         [0o640, os.stat(self.path("config.json")).st_mode & 0o777, 0o700, 0o600])

    def test_copies_that_are_kept_beside_are_the_users(self):
        with open(self.path("jobs.json"), "r+b") as file:
            file.write(b"oops")
        self.run_program("doctor", "--repair")
        self.assertEqual([len([name for name in os.listdir(self.home) if ".broken-" in name]), self.strangers()], [1, []])

    def test_a_new_home_in_a_users_folder_is_the_users(self):
        self.succeed("--home", self.path("new", "home"), "config", "set", "max_retries", "2")
        self.assertEqual(self.strangers(), [])

    def test_a_job_is_not_added_to_the_home_of_another_user_and_what_helps_is_told(self):
        before = self.read("jobs.json")
        for path in (self.home, self.path("jobs.json")):
            with self.subTest(path):
                said = self.refuse("enqueue", "--id", "x", "--", "true", code=1)
                self.assertIn("%s belongs to another user" % path, said)
                self.assertIn("--home", said)
                self.assertIn("sudo -u '#%d'" % self.USER, said)
                os.chown(self.home, 0, 0)
        self.assertEqual(self.read("jobs.json"), before)

    def test_doctor_names_the_chown_that_mends_what_is_anothers(self):
        for name in ("jobs.json", "dlq.json", "config.json", "logs", os.path.join("logs", "x.1.log"), "run"):
            with self.subTest(name):
                path = self.path(name)
                if not os.path.exists(path):
                    os.mkdir(path) if "." not in name else self.write(name, "")
                os.chown(path, 0, 0)
                os.chmod(path, 0o700)
                done = self.run_program("doctor")
                self.assertEqual(done.returncode, 1)
                self.assertIn(path, done.stdout)
                command = re.search("(chown -hR .*)", done.stdout)
                self.assertIsNotNone(command, done.stdout)
                subprocess.run(["sh", "-c", command.group(1)], check=True, timeout=60)
                self.assertEqual(self.strangers(), [])
                self.assertEqual(self.run_program("doctor").returncode, 0)

    def test_what_cannot_stay_its_owners_is_refused(self):
        os.chown(self.home, 0, self.GROUP)
        os.chmod(self.home, 0o770)
        before = os.stat(self.path("config.json"))
        program = ("import os, sys; from core.system import write_file; os.setgroups([]); os.setgid(%d); os.setuid(%d); write_file(sys.argv[1], b'{}')"
                   % (self.GROUP, self.USER + 1))
        done = subprocess.run([sys.executable, "-c", program, "./config.json"], cwd=self.home,  # the folders above it may be closed to them
                              env=self.environ(PYTHONPATH=os.path.dirname(MAIN)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertIn(b"it belongs to another user (uid 12345)", done.stderr)
        after = os.stat(self.path("config.json"))
        self.assertEqual((after.st_ino, after.st_mtime_ns, sorted(os.listdir(self.home))),
                         (before.st_ino, before.st_mtime_ns, ["config.json", "dlq.json", "jobs.json"]))

    def test_a_hard_link_to_a_file_of_roots_is_given_to_nobody(self):
        self.write("precious", "")
        os.link(self.path("precious"), self.path("paused"))
        self.succeed("pause")
        self.assertEqual(os.stat(self.path("precious")).st_uid, 0)

    def test_settings_behind_a_link_of_the_user_are_neither_read_nor_written(self):
        self.write("elsewhere", '{"max_retries": 7}')
        os.unlink(self.path("config.json"))
        os.symlink(self.path("elsewhere"), self.path("config.json"))
        os.lchown(self.path("config.json"), self.USER, self.GROUP)
        for words in (["config", "get", "max_retries"], ["config", "set", "max_retries", "2"]):
            with self.subTest(words):
                self.assertIn(self.path("config.json"), self.refuse(*words))
        self.assertRegex(self.run_program("status").stderr, "link of another user.*; the defaults are used here")
        self.assertEqual(self.read("elsewhere"), b'{"max_retries": 7}')


@unittest.skipUnless(POSIX, "on Windows what a worker had started ends with it")
class TestInnocents(WorkerTest):
    """Processes that are not ours are never signalled."""

    def innocent(self, **environ):
        """A process in a session of its own that has nothing to do with the queue."""
        process = subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=subprocess.DEVNULL, env=dict(os.environ, **environ))
        self._processes.append(process)
        return process

    def forge(self, text, token="dead"):
        """The file of a worker process that died, and a job that it ran; all else is forgotten."""
        self.queue.reset()
        for name in ["ran"] + [os.path.join("run", name) for name in os.listdir(self.path("run")) if name != "lock"]:
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.add("lost", "echo ran >> ran")
        self.assertEqual(self.queue.claim(token + "-1", time.time()).id, "lost")
        os.makedirs(self.path("run"), exist_ok=True)
        self.write(os.path.join("run", "worker-%s.json" % token), text)

    def assert_innocents_live(self, *innocents):
        """A worker runs the lost job again and ends well, and these processes go on."""
        done = self.run_program("worker", "start", "--drain")
        self.assertEqual((done.returncode, "Traceback" in done.stderr), (0, False), done.stderr)
        self.assertEqual((self.job("lost").state, self.text("ran")), ("completed", "ran\n"))  # the attempt that was lost may never have begun
        for process in innocents:
            self.assertIsNone(process.poll())
            self.assertTrue(is_alive(process.pid))
        self.assertEqual([name for name in os.listdir(self.path("run")) if name.endswith(".json")], [])

    def worker_file(self, **slot):
        """The text of a worker file."""
        return json.dumps({"pid": slot.pop("pid", 1), "count": 1, "started_at": "2026-01-01T00:00:00.000000Z", "running": [slot]})

    def test_a_group_whose_number_another_process_has_by_now_is_left_alone(self):
        innocent = self.innocent()
        self.forge(self.worker_file(worker="dead-1", group=innocent.pid, job="0" * 16, pid=innocent.pid))
        self.assert_innocents_live(innocent)

    def test_a_group_that_started_when_ours_did_before_the_boot_or_in_the_home_that_this_is_a_copy_of_is_left_alone(self):
        innocent = self.innocent()
        started = process_tree.start_of(innocent.pid, time.monotonic())
        for boot, inode in (("another", 0), (system.boot_id(), 0)):
            with self.subTest(boot=boot):
                text = self.worker_file(worker="dead-1", group=innocent.pid, start=started, seen=started, job="0" * 16)
                self.forge(text.replace('"pid"', '"boot": "%s", "file": [%d, %d], "pid"' % (boot, os.stat(self.home).st_dev, inode)))
                self.assert_innocents_live(innocent)

    def test_a_group_in_which_another_attempt_runs_is_left_alone(self):
        innocent = self.innocent(QUEUECTL_WORKER="dead-11", QUEUECTL_JOB_ID="lost", QUEUECTL_ATTEMPT="1", QUEUECTL_HOME=self.home)
        self.forge(self.worker_file(worker="dead-1", group=innocent.pid, job="0" * 16))
        self.assert_innocents_live(innocent)

    def test_a_group_that_was_never_noted_is_not_guessed(self):
        innocent = self.innocent(QUEUECTL_WORKER="dead-2", QUEUECTL_HOME=self.home)
        self.forge(self.worker_file(worker="dead-1", group=0, job="0" * 16, pid=innocent.pid))
        self.assert_innocents_live(innocent)

    def test_a_slot_of_another_job_is_no_proof(self):
        innocent = self.innocent()
        self.forge(self.worker_file(worker="dead-9", group=innocent.pid, job="0" * 16))
        self.assert_innocents_live(innocent)

    def test_numbers_that_mean_something_else_to_the_system_signal_nobody(self):
        innocent = self.innocent()
        for group in (0, 1, -1, os.getpgid(0), os.getpid(), -innocent.pid, 2 ** 31, 2 ** 70, 1.5, True, None, str(innocent.pid),
                      [innocent.pid], {}):
            with self.subTest(group=group):
                self.forge(self.worker_file(worker="dead-1", group=group, job="0" * 16))
                self.assert_innocents_live(innocent)

    def test_worker_files_that_do_not_read_right_harm_nobody_and_are_cleared_away(self):
        innocent = self.innocent()
        for text in ("", "garbage", "\0" * 300, "[]", "[1]", "null", "{}", '{"running": 1}', '{"running": [1]}',
                     '{"pid": "x", "running": []}', "[" * 100000,
                     '{"pid": 1, "count": 1, "started_at": 1, "running": ["x", 5, [], {}]}',
                     '{"pid": 1, "count": 1, "started_at": "", "running": {"a": 1}}',
                     '{"pid": 1e400, "count": 1, "started_at": "", "running": []}',
                     '{"pid": 1, "count": 1000000000000000, "started_at": "", "running": []}',
                     '{"pid": 1, "count": 1, "started_at": "", "running": [{"job": []}]}',
                     '{"pid": 1, "count": 1, "started_at": "", "running": [{"worker": {}, "group": [], "job": {}}]}',
                     self.worker_file(worker="dead-1", group=innocent.pid, job="0" * 16)[:-1]):
            with self.subTest(text[:60]):
                self.forge(text)
                for words in (["worker", "stop"], ["doctor"]):
                    self.assertIn(self.run_program(*words).returncode, (0, 1))
                self.assert_innocents_live(innocent)

    def test_the_jobs_of_the_home_that_this_one_is_a_copy_of_go_on(self):
        self.add("held", GATE)
        worker = self.worker()
        self.wait_for_file("here-held")
        shutil.copytree(self.home, self.path("copy"), ignore=shutil.ignore_patterns("*.wake", "copy"))
        environ = self.environ(QUEUECTL_HOME=self.path("copy"))
        other = self.start("worker", "start", env=environ)
        self.wait_for(lambda: json.loads(self.run_program("show", "held", env=environ).stdout)["attempts"] == 2)
        self.write("go", "")
        self.assertEqual((self.wait_for_state("held", "completed").attempts, self.job("held").exit_code), (1, 0))
        other.terminate()
        other.wait()
        self.stop(worker)

    def test_cancel_and_stop_signal_nobody_by_a_number_from_a_file(self):
        innocent = self.innocent()
        self.forge(self.worker_file(worker="dead-1", group=innocent.pid, job="0" * 16, pid=innocent.pid))
        self.succeed("worker", "stop", "--now")
        self.succeed("cancel", "lost")
        self.assertEqual(self.run_program("worker", "start", "--drain").returncode, 0)
        self.assertTrue(is_alive(innocent.pid))

    def test_what_an_attempt_left_is_ended_and_what_stands_beside_it_is_not(self):
        self.write("job.sh",
                   'echo $$ > pid; while [ -d "$QUEUECTL_HOME" ] && [ "$QUEUECTL_ATTEMPT" = 1 ]; do sleep 0.05; done; echo ran >> ran')
        self.add("lost", "sh job.sh")
        innocent = self.innocent()
        worker = self.worker()
        lost = int(self.wait_for_line("pid"))
        self.kill(worker)
        self.assertTrue(is_alive(lost))
        self.assert_innocents_live(innocent)
        self.assertFalse(is_alive(lost))


class TestQuoting(HomeTest):
    """Words on the command line do not become commands."""

    @unittest.skipUnless(POSIX, "the jobs are written for sh")
    def test_words_reach_the_command_as_they_are(self):
        words = ["printf", "%s\n", "$(touch owned)", "`touch owned`", "; touch owned", "' ; touch owned ; '", '"', "\\", "*", "~", "a  b",
                 "é"]
        self.succeed("enqueue", "--id", "x", "--", *words, cwd=self.home)
        self.drain()
        self.assertEqual(self.succeed("logs", "x").splitlines(), words[2:])
        self.assertFalse(os.path.exists(self.path("owned")))
        self.assertEqual(shlex.split(self.records()[0]["command"]), words)


if __name__ == "__main__":
    unittest.main()
