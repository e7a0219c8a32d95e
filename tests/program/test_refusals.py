"""What the program refuses that no other test types, and what it says: a line that names what would do. Nothing is changed by it."""
from __future__ import annotations

import os
import tempfile
import unittest

from tests.support.home import HomeTest

REFUSED = (
    (("pause", "--now", "--group", "gpu"), "--now stops all jobs that run; it goes without --group"),
    (("logs", "-f", "--all"), "it goes with neither --attempt nor --all"),
    (("logs", "-f", "--attempt", "1"), "it goes with neither --attempt nor --all"),
    (("logs", "a", "--state", "dead"), "say which jobs: by their ids, or by --state, --group and --since"),
    (("status", "--watch", "0.01"), "must be between 0.05 and 86400 seconds"),
    (("completion",), "which shell: bash, zsh, fish or powershell?"),
    (("retry", "--edit", "--all"), "--edit opens one job; name it"),
    (("wait", "a", "--group", "gpu"), "say which jobs: ids, or --group"),
    (("stats", "--prometheus", "--by", "group"), "it goes with neither --by nor --since"),
    (("cancel", "--all", "--state", "dead"), "only what waits or runs can be cancelled"),
    (("enqueue", "--keep-env=a-b", "--id", "x", "--", "true"), "'a-b' is no list of names"),
    (("enqueue", "--env", "NOSUCH", "--id", "x", "--", "true"), "there is no such variable to copy; write --env NOSUCH=VALUE"),
    (("config", "set", "limits.gpu", "x"), "must be a whole number from 0 to 1000, or null for no limit"),
)
BROKEN_ARRAYS = (
    ('[{"id": "x", "command": "true"} {"id": "y", "command": "true"}]', "line 1, column 33: expected ',' or ']'"),
    ('[{"id": "x", "command": "true"},\n{"id": "y", "command": "true"}', "line 2, column 31: the closing ] is missing"),
    ("[", "line 1, column 2: the closing ] is missing"),
    ('[{"id": "x", "command": "true"},', "line 1, column 33: the closing ] is missing"),
    ('{"id": "x", "command": "true"},', "line 1, column 31: a comma between jobs that are in no array: remove it"),
    ('[{"id": "x", "command": "true"}]\n{"id": "y", "command": "true"}', "line 2, column 1: extra text after the closing ]"),
)


class RefusalsTest(HomeTest):

    def setUp(self):
        super().setUp()
        self.succeed("enqueue", "--id", "a", "--", "true")
        self.before = self.read("jobs.json")

    def refused(self, *words, code=2, **options):
        said = self.refuse(*words, code=code, **options)
        self.assertEqual(self.read("jobs.json"), self.before)
        return said

    def test_what_makes_no_sense_is_refused_in_one_line(self):
        for words, said in REFUSED:
            with self.subTest(words):
                self.assertIn(said, self.refused(*words))

    def test_an_array_of_jobs_that_is_broken_adds_none_and_its_fault_has_a_place(self):
        for content, said in BROKEN_ARRAYS:
            with self.subTest(said):
                self.assertIn("standard input, %s; nothing was added" % said, self.refused("enqueue", "-", stdin=content))

    def test_a_completed_job_that_is_too_young_to_be_cleaned_stays(self):
        self.drain()
        self.before = self.read("jobs.json")
        self.assertIn("there is no completed job 'a'", self.refused("clean", "--older-than", "7d", "a", code=1))

    @unittest.skipIf(os.name == "nt", "Windows removes no folder that a process is in")
    def test_a_job_cannot_be_added_from_a_folder_that_is_gone(self):
        folder = tempfile.mkdtemp(dir=self.home)
        said = self.refused("enqueue", "--id", "x", "--", "true", code=1, cwd=folder, preexec_fn=lambda: os.rmdir(folder))
        self.assertIn("the current folder is gone; change to another one", said)

    def test_where_no_job_is_held_a_release_of_all_says_so(self):
        self.assertEqual(self.succeed("release", "--all"), "No job is held.\n")

    def test_a_number_is_a_text_where_the_setting_is_one(self):
        self.assertEqual(self.succeed("config", "set", "on_finish", "5"), 'on_finish = "5"\n')
