"""Which field of a job someone may have meant."""
from __future__ import annotations

import unittest

from core.field_names import field_meant
from core.job import ASKED_FOR


class FieldNamesTest(unittest.TestCase):

    def test_names_of_other_queues_other_spellings_and_slips_are_understood(self):
        for field, names in (("timeout", ("timeout_seconds", "timeoutSeconds", "Timeout", "timout", "time-limit")),
                             ("max_retries", ("maxRetries", "max-retries", "MAX_RETRIES", "retries", "max_retry")),
                             ("run_at", ("runAt", "run-at", "at", "not_before")), ("after", ("depends_on", "dependsOn", "needs", "afters")),
                             ("priority", ("prioriy", "priorty", "Priority")), ("command", ("cmd", "comand", "commands")),
                             ("cwd", ("working_directory", "workdir", "CWD")), ("env", ("environment", "Env")), ("id", ("ID", "job_id"))):
            for name in names:
                with self.subTest(name):
                    self.assertEqual(field_meant(name, ASKED_FOR), field)

    def test_names_of_the_users_own_are_like_none(self):
        for name in ("note", "name", "tags", "owner", "user", "host", "project", "url", "description", "time", "type", "args", "order", "", "_"):
            with self.subTest(name):
                self.assertIsNone(field_meant(name, ASKED_FOR))

    def test_each_of_our_fields_means_itself(self):
        for field in ASKED_FOR:
            self.assertEqual(field_meant(field, ASKED_FOR), field)
