"""A dashboard that is served, as its page asks it."""
from __future__ import annotations

import http.client
import json
import re

from tests.support.home import DEADLINE, QueueTest


class DashboardTest(QueueTest):
    """A queue with a dashboard, started by `serve`; `port` and `token` are those of its address."""

    def serve(self, *arguments, **options):
        """Start a dashboard and wait until it listens: a Popen."""
        process = self.start("dashboard", *arguments, **options)
        said = "".join(process.stdout.readline() for _ in range(3))
        found = re.search(r"\nhttp://127\.0\.0\.1:(\d+)/#([0-9A-Za-z_-]+)\n$", said)
        self.assertIsNotNone(found, (said, process.poll()))
        self.port, self.token = int(found.group(1)), found.group(2)
        return process

    @property
    def address(self):
        """The address that is printed."""
        return "http://127.0.0.1:%d/#%s" % (self.port, self.token)

    def request(self, path, method="GET", body=None, token=True, **headers):
        """(the status, the headers, the bytes) of an answer. `token` False sends none, a text is sent instead."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        if token:
            headers["Authorization"] = "Bearer " + (self.token if token is True else token)
        if body is not None:
            headers.setdefault("Content_Type", "application/json")
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        """The object that a request gives, which must be answered."""
        status, _, content = self.request(path, **headers)
        self.assertEqual(status, 200, content)
        return json.loads(content.decode("utf-8"))

    def post(self, path, record=None, **headers):
        """(the status, the object) of a request to do something."""
        status, _, content = self.request(path, "POST", json.dumps(record or {}), **headers)
        return status, json.loads(content.decode("utf-8"))

    def key(self, job_id):
        """The key of the newest job with that id."""
        return next(entry["key"] for entry in self.get("/api/jobs?order=newest")["jobs"] if entry["job"]["id"] == job_id)
