"""The scripts of runners/, with programs in the place of ssh and Slurm that do on this machine what those do on another. The real ones
are tried by tests/engine/run.sh."""
from __future__ import annotations

import os
import subprocess
import unittest

from tests.support.home import ROOT, HomeTest

SSH = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do [ "$1" = -o ] && shift; shift; done
echo "to $1"
shift
exec sh -c "stty() { :; }; $*"
"""
SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""
SQUEUE = "#!/bin/sh\nprintf '%s' \"$LOST\"\n"


@unittest.skipIf(os.name == "nt", "the scripts are for a POSIX shell")
class TestRunnerScripts(HomeTest):
    """What a job's words become, and which exit code they end with."""

    def setUp(self):
        super().setUp()
        for name, text in (("ssh", SSH), ("srun", SRUN), ("squeue", SQUEUE), ("scancel", "#!/bin/sh\n")):
            with open(os.path.join(self.home, name), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(file.name, 0o755)

    def run_script(self, name, *words, **more):
        """(exit code, what was printed) of a script with these words behind it."""
        environ = dict(os.environ, PATH=self.home + os.pathsep + os.environ["PATH"], QUEUECTL_WORKER="w-1", **more)
        done = subprocess.run([os.path.join(ROOT, "runners", name)] + list(words), env=environ, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=60)
        return done.returncode, done.stdout

    def test_words_arrive_on_another_host_as_they_are(self):
        for word in ("plain", "it's", '"a  b"', "$HOME `x` \\n", "two\nlines", "ä", ""):
            with self.subTest(word=word):
                self.assertEqual(self.run_script("on-host", "build1", "printf", "<%s>", word), (0, "to build1\n<%s>" % word))
        self.assertEqual(self.run_script("on-host", "build1", "sh", "-c", "exit 3"), (3, "to build1\n"))

    def test_a_slurm_job_whose_node_is_lost_has_failed_whatever_srun_says(self):
        self.assertEqual(self.run_script("on-slurm", "sh", "-c", "echo done"), (0, "done\n"))
        self.assertEqual(self.run_script("on-slurm", "sh", "-c", "exit 4"), (4, ""))
        self.assertEqual(self.run_script("on-slurm", "true", LOST="17"), (1, ""))
