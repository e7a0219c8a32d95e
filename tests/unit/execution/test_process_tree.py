"""Which processes are an attempt's, how that is proven after its worker's death, and what becomes of those that nobody can end."""
from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

from core.job import COMPLETED, DEAD, PENDING, PROCESSING
from core.settings import DEFAULTS
from core.locks import try_lock
from execution import attempt as execution_attempt, launcher, process_tree, recovery, worker_files
from storage import output
from tests.support.control import ControlTest, reap
from tests.support.home import MAIN, ROOT, set_everywhere
from tests.support.workers import SEES_STRAYS

NOBODY = 65534


BY_PROC = unittest.skipUnless(process_tree.HAS_PROC, "only /proc tells of these processes whose they are")


class LostTest(ControlTest):
    """Attempts whose worker is dead, without the time that a real one takes."""

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("run"))
        self.addCleanup(os.chdir, os.getcwd())
        self.launch = launcher.Launcher()
        self.addCleanup(self.launch.close)
        self.addCleanup(set_everywhere("PATIENCE", 0.4))

    def lose(self, command, home=None, naps=1, noted=True, **fields):
        """Let a worker of that home start a job that takes so many naps, and die: (the Attempt, the path of the worker's file)."""
        self.add("x", command, **fields)
        file = worker_files.WorkerFile(self.path("run"), 1)
        attempt = execution_attempt.Attempt(home or self.home, self.queue.claim(file.process_token + "-1", time.time()),
                                     execution_attempt.job_environ(os.environ, home or self.home), self.launch, DEFAULTS)
        self.addCleanup(reap, attempt)
        file.note(0, attempt)
        attempt.start()
        if noted:
            file.note(0, attempt)
        self.wait_for_naps(naps)
        os.close(file._descriptor)
        return attempt, file.path

    def dead_worker(self, path):
        """What looks after that worker's jobs."""
        descriptor = worker_files.open_if_there(path)
        self.assertTrue(try_lock(descriptor))
        return recovery.DeadWorker(descriptor, worker_files.read_worker_file(descriptor, path), self.home)

    def recover(self, dead):
        """Look after them until nothing is left to do; the lines that were said."""
        def step():
            if not process_tree.HAS_PROC:  # which tells a zombie from what runs
                self.reap_as_init_does()
            return dead.step(self.queue)

        with contextlib.redirect_stderr(io.StringIO()) as stream:
            self.wait_for(step)
        return stream.getvalue()

    def reap_as_init_does(self):
        """Reap the children of this process that have ended, which would be init's if it had died as a worker does."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue

    def assert_ended(self):
        """Nothing of the attempt that was lost runs beside the next one."""
        job = self.job("x")
        self.assertEqual((self.naps(), job.state, job.attempts, job.reason), ([], PENDING, 1, "lost"))


class TestLostTrees(LostTest):
    """What proves that a process belongs to an attempt that was lost."""

    def assert_is_found(self, command, home=None, **fields):
        _, path = self.lose(command, home, **fields)
        self.recover(self.dead_worker(path))
        self.assert_ended()

    def test_the_home_may_have_been_named_in_another_way(self):
        link = self.home + ".link"
        os.symlink(self.home, link)
        self.addCleanup(os.unlink, link)
        for noted in (True, False)[:1 + process_tree.HAS_PROC]:
            with self.subTest(noted=noted):
                self.assert_is_found("exec " + self.nap, link, noted=noted)
                self.queue.reset()

    def test_the_home_may_have_been_renamed(self):
        for noted in (True, False)[:1 + process_tree.HAS_PROC]:
            with self.subTest(noted=noted):
                _, path = self.lose("exec " + self.nap, noted=noted)
                os.rename(self.home, self.home + "-")
                self.home += "-"
                self.queue = self.manager(fsync=False)
                self.recover(self.dead_worker(self.path("run", os.path.basename(path))))
                self.assert_ended()
                self.queue.reset()

    @BY_PROC
    def test_the_job_may_have_asked_for_another_home_in_its_environment(self):
        self.assert_is_found('[ "$QUEUECTL_HOME" = "%s" ] && exec %s' % (self.home, self.nap), env={"QUEUECTL_HOME": "/elsewhere"}, noted=False)

    def test_the_program_may_have_cleared_its_environment_and_closed_its_output(self):
        self.assert_is_found("exec env -i %s > /dev/null 2>&1" % self.nap)

    @BY_PROC
    def test_its_children_may_be_in_groups_of_their_own(self):
        self.assert_is_found("timeout 900 env -i %s > /dev/null 2>&1; true" % self.nap)

    @BY_PROC
    def test_one_that_has_left_the_session_and_cleared_its_environment_is_known_by_the_output_that_it_has_open(self):
        self.assert_is_found("setsid env -i %s & wait" % self.nap)

    def test_a_worker_file_of_the_version_before_is_read_and_its_slots_prove_as_they_did(self):
        attempt, path = self.lose("exec " + self.nap)
        slot = '{"worker": "%s", "group": %d, "job": "%s"}' % (attempt.job.worker, attempt.pid, attempt.digest)
        self.write(os.path.relpath(path, self.home), '{"pid": 4711, "count": 1, "started_at": "", "running": [%s ]}' % slot.ljust(126))
        self.recover(self.dead_worker(path))
        self.assert_ended()

    @BY_PROC
    def test_what_was_seen_of_a_tree_whose_leader_is_gone_is_still_known_if_who_saw_it_dies_too(self):
        attempt, path = self.lose("trap '' TERM; env -i sh -c 'trap \"\" TERM; sleep 0.2; exec %s' > /dev/null 2>&1 & exec %s"
                                  % (self.nap, self.nap), naps=2)
        first = self.dead_worker(path)
        self.assertFalse(first.step(self.queue))
        os.kill(attempt.pid, signal.SIGKILL)
        os.waitpid(attempt.pid, 0)
        os.close(first._descriptor)
        self.recover(self.dead_worker(path))
        self.assert_ended()

    def test_what_cannot_be_proven_is_waited_for_for_a_while_then_named_and_never_signalled(self):
        attempt, path = self.lose("sleep 0.1; (sleep 0.1; exec env -i %s) > /dev/null 2>&1 & exec %s" % (self.nap, self.nap), naps=2)
        os.kill(attempt.pid, signal.SIGKILL)
        os.waitpid(attempt.pid, 0)
        said = self.recover(self.dead_worker(path))
        pid, = self.naps()
        self.assertRegex(said, r"x: processes that may be of .*\(pid %d\)" % (pid if process_tree.HAS_PROC else attempt.pid))
        self.assertEqual((self.job("x").state, self.job("x").attempts), (PENDING, 1))

    def test_a_job_is_not_given_back_while_what_it_started_runs_however_long_that_is_and_that_is_said(self):
        attempt, path = self.lose("exec " + self.nap)
        dead = self.dead_worker(path)
        killpg = os.killpg
        self.addCleanup(setattr, process_tree.os, "killpg", killpg)
        process_tree.os.killpg = lambda group, number: number or killpg(group, 0)  # as if it could not die, like one that waits for a disk
        said = []
        self.wait_for(lambda: dead.step(self.queue, say=said.append) or len(said) > 3)
        self.assertEqual(self.job("x").state, PROCESSING)
        self.assertEqual(set(said), {"x: processes of the attempt that was lost still run (pid %d); it is not started beside them"
                                     % attempt.pid})
        os.kill(attempt.pid, signal.SIGKILL)
        self.recover(dead)
        self.assert_ended()


class TestLostTreesWithoutProc(LostTest):
    """What proves that a group is the attempt's where there is no /proc."""

    def setUp(self):
        super().setUp()
        self.addCleanup(set_everywhere("HAS_PROC", False))

    @unittest.skipUnless(shutil.which("ps"), "there is no ps")
    def test_a_group_whose_leader_was_started_at_another_time_is_left_alone_although_someone_has_the_log(self):
        attempt, path = self.lose("exec " + self.nap)
        self.write(os.path.relpath(path, self.home), re.sub('"start": [0-9]+', '"start": 1234567890', self.text(os.path.relpath(path, self.home))))
        dead, said = self.dead_worker(path), []
        self.wait_for(lambda: dead.step(self.queue, say=said.append) or len(said) > 3)
        self.assertEqual(set(said), {"x: processes of the attempt that was lost still run (who has its output open cannot be seen); "
                                     "it is not started beside them"})
        self.assertEqual((self.naps(), self.job("x").state), ([attempt.pid], PROCESSING))
        os.kill(attempt.pid, signal.SIGKILL)
        self.recover(dead)
        self.assert_ended()


class TestNotes(LostTest):
    """What a worker file says of the jobs of a dead worker."""

    def left_by(self, work):
        """What looks after a worker that had claimed five jobs, of which it did `work(its file, the five Attempts)` before it died."""
        file = worker_files.WorkerFile(self.path("run"), 2)
        attempts = []
        for number in range(1, 6):
            self.add("job-%d" % number, "exit 0")
            job = self.queue.claim("%s-%d" % (file.process_token, number), time.time())
            attempts.append(execution_attempt.Attempt(self.home, job, {}, self.launch, DEFAULTS))
        work(file, attempts)
        os.close(file._descriptor)
        return file.path

    def ends(self):
        return [(job.state, job.attempts) for job in self.queue.jobs()]

    @staticmethod
    def work(file, attempts):
        """Thread 0 has run the first and the third, and runs the fourth; thread 1 has run the second."""
        for thread, number in ((0, 0), (1, 1)):
            file.note(thread, attempts[number])
            file.completed(thread, attempts[number].job.worker)
        file.note(0, attempts[2])
        file.completed(0, attempts[2].job.worker)
        file.note(1)
        file.note(0, attempts[3])

    def test_what_had_ended_well_is_completed_what_ran_is_lost_and_what_was_not_started_is_given_back(self):
        said = self.recover(self.dead_worker(self.left_by(self.work)))
        self.assertEqual(self.ends(), 3 * [(COMPLETED, 1)] + [(PENDING, 1), (PENDING, 0)])
        self.assertEqual([line.split()[1] for line in said.splitlines()], ["job-1:", "job-2:", "job-3:", "job-4:"])

    def test_after_a_boot_or_in_a_copy_what_is_not_noted_may_have_been_started(self):
        for change in (lambda text: text.replace('"boot": "', '"boot": "0'), lambda text: text.replace('"file": [', '"file": [1')):
            path = self.left_by(self.work)
            name = os.path.relpath(path, self.home)
            self.write(name, change(self.text(name)))
            self.recover(self.dead_worker(path))
            self.assertEqual(self.ends(), 3 * [(COMPLETED, 1)] + [(PENDING, 1), (PENDING, 1)])
            self.queue.reset()

    def test_the_list_of_what_ended_well_is_exact_in_whatever_order_it_came(self):
        file = worker_files.WorkerFile(self.path("run"), 1)
        for number in (7, 3, 70, 12, 71):
            file.completed(0, "%s-%d" % (file.process_token, number))
        file.note(0)
        self.assertEqual(worker_files.read_worker_file(file._descriptor, file.path).done, {70, 12, 71})  # the others are too long ago
        file.completed(0, file.process_token + "-2")
        file.note(0)
        self.assertEqual(worker_files.read_worker_file(file._descriptor, file.path).done, {70, 12, 71})
        file.remove()


@SEES_STRAYS
class TestTreesInGroups(ControlTest):
    """An attempt that fails, or is cancelled, takes with it what its shell put into groups of their own."""

    def test_it_is_ended_with_them(self):
        for end in ("exit 1", "wait"):
            with self.subTest(end):
                self.settings(max_retries=0)
                self.add("x", "timeout 900 %s & while ! pgrep -f '^%s$' > pids; do sleep 0.05; done; %s" % (self.nap, self.nap, end), timeout=1.5)
                self.drain_impatiently(code=1)
                self.assertEqual((self.job("x").state, self.naps()), (DEAD, []))
                self.queue.reset()


@BY_PROC
@unittest.skipUnless(shutil.which("unshare") and hasattr(os, "geteuid") and os.geteuid() == 0
                     and subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], stderr=subprocess.DEVNULL,
                                        check=False).returncode == 0, "needs root and a namespace of pids")
class TestNamespaces(ControlTest):
    """A worker in a namespace of pids."""

    def start_inside(self, script):
        """Run a shell script, for which $0 is Python and $1 our program, in a namespace of its own: a Popen."""
        process = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, sys.executable, MAIN],
                                   env=self.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   universal_newlines=True)
        self._processes.append(process)
        return process

    def test_what_was_started_after_the_pids_began_again_is_ended_too(self):
        self.settings(max_retries=0)
        self.add("x", "echo 50 > /proc/sys/kernel/ns_last_pid; %s > /dev/null 2>&1 & "
                      "setsid sh -c 'touch away; exec %s' > /dev/null 2>&1 & echo 31000 > /proc/sys/kernel/ns_last_pid; "
                      "while [ ! -e away ]; do sleep 0.05; done; touch here; exit 1" % (self.nap, self.nap))
        worker = self.start_inside('echo 20000 > /proc/sys/kernel/ns_last_pid; "$0" "$1" worker start; true')
        self.wait_for_file("here")
        self.wait_for_naps(1)  # what is in the session is ended at once; what has left it is waited for
        self.wait_for(lambda: self.naps() and self.job("x").state == PROCESSING or self.job("x").state == DEAD)
        self.assertEqual(self.job("x").state, PROCESSING)
        self._wake_all()
        self.wait_for_state("x", DEAD)
        worker.kill()

    def test_process_1_reaps_what_has_lost_its_parent(self):
        for number in range(5):
            self.add("x%d" % number, "(sh -c 'sleep 0.1; echo >> ended' &)")
        outer = self.start_inside('exec "$0" "$1" worker start')
        self.wait_for(lambda: len(self.text("ended").split("\n")) == 6)

        def children(of):
            return [process.pid for process in process_tree.all_processes() if process.parent == of]

        inner, = self.wait_for(lambda: children(outer.pid))
        self.wait_for(lambda: not children(inner))
        self.assertEqual(self.queue.count()[COMPLETED], 5)
        outer.kill()


_AS_NOBODY = ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "--inh-caps=+dac_read_search",
              "--ambient-caps=+dac_read_search"]  # that user may read all, our program too


@unittest.skipUnless(hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("setpriv")
                     and subprocess.run(_AS_NOBODY + ["true"], stderr=subprocess.DEVNULL, check=False).returncode == 0,
                     "needs root and setpriv")
class TestAnotherUser(ControlTest):
    """A worker whose jobs start what it may not signal, as sudo does."""

    PROGRAM = "import sys; sys.path.insert(0, %r); import main; import execution.attempt; " \
              "import execution.recovery; execution.recovery.PATIENCE = execution.attempt.PATIENCE = 0.4; sys.exit(main.main(sys.argv[1:]))"

    def setUp(self):
        super().setUp()
        os.chmod(self.home, 0o755)
        shutil.copy(shutil.which("setpriv"), self.path("sudo"))
        os.chmod(self.path("sudo"), 0o4755)
        self.theirs = self.path("theirs")
        os.mkdir(self.theirs, 0o700)
        self.sudo = self.path("sudo") + " --reuid=0 --regid=0 --clear-groups"
        self.write("theirs/config.json", '{"poll_interval": 0.05, "backoff_base": 0.05, "fsync": false, "kill_grace": 0.1}')

    def as_nobody(self):
        """Start a worker of that user that drains the queue: a Popen."""
        with open(self.path("words-child"), "wb") as words:
            process = subprocess.Popen(_AS_NOBODY + [sys.executable, "-c", self.PROGRAM % ROOT, "worker", "start", "--drain"],
                                       env=self.environ(QUEUECTL_HOME=self.theirs), stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        self._processes.append(process)
        return process

    def work(self, command, **fields):
        """Let that user's worker run a job until nothing is left to do: that worker."""
        self.home_queue = type(self.queue)(self.theirs, DEFAULTS, self.notices.append)
        self.home_queue.enqueue([dict(fields, id="x", command=command)], self.home, time.time())
        for folder, _, files in os.walk(self.theirs):
            for path in [folder] + [os.path.join(folder, name) for name in files]:
                os.chown(path, NOBODY, NOBODY)
        return self.as_nobody()

    def wait_for_words(self, *words):
        self.wait_for(lambda: all(word in self.text("words-child") for word in words))

    def end(self, worker, code):
        """Wait for that worker's end; its job as it is then."""
        self.wait_for(lambda: worker.poll() is not None)
        self.assertEqual(worker.returncode, code, self.text("words-child"))
        return self.home_queue.find("x")[0]

    def test_what_a_failed_part_left_is_told_of_and_the_next_attempt_waits_for_it(self):
        worker = self.work("[ $QUEUECTL_ATTEMPT = 2 ] && exit; echo $$ > $QUEUECTL_HOME/group; "
                           "%s sh -c 'touch there; exec %s' & while [ ! -e there ]; do sleep 0.05; done; exit 1" % (self.sudo, self.nap))
        self.wait_for_words("x: processes of its attempt run as another user and cannot be ended (pid ")
        pid, = self.naps()
        if not process_tree.HAS_PROC:
            pid = int(self.text("theirs/group"))
        self.assertIn("(pid %d)" % pid, self.text("words-child"))
        self.assertEqual((self.home_queue.find("x")[0].state, self.home_queue.find("x")[0].attempts), (PROCESSING, 1))
        log = output.log_path(self.theirs, self.home_queue.find("x")[0], 1)
        self.assertIn("cannot be ended (pid %d)" % pid, self.text(os.path.relpath(log, self.home)))
        self._wake_all()
        job = self.end(worker, 0)
        self.assertEqual((job.state, job.attempts), (COMPLETED, 2))

    def test_a_runner_that_cannot_be_ended_is_told_of(self):
        worker = self.work(self.nap, runner=self.sudo.split(), timeout=0.2, max_retries=0)
        self.wait_for_naps(1)
        self.wait_for_words("x: processes of its attempt run as another user and cannot be ended (pid ")
        self._wake_all()
        self.assertEqual(self.end(worker, 1).reason, "timeout")

    def test_a_job_that_was_lost_waits_for_it_too(self):
        worker = self.work("[ $QUEUECTL_ATTEMPT = 2 ] || %s %s; true" % (self.sudo, self.nap))
        self.wait_for_naps(1)
        self.kill(worker, self.theirs)
        worker = self.as_nobody()
        self.wait_for_words("of another user, which must end by themselves")
        self.assertEqual(self.home_queue.find("x")[0].state, PROCESSING)
        self._wake_all()
        self.assertEqual(self.end(worker, 0).attempts, 2)


if __name__ == "__main__":
    unittest.main()
