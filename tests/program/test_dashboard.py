"""The dashboard's server: whom it answers, what, and what becomes of those who are slow or hostile. The page itself: test_dashboard_page."""
from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from cli.dashboard import status_of
from core.errors import (CorruptFile, InvalidJob, JobNotFound, JobRefused, JsonError, LockError, NoQueue, NotConfirmed, QueueError,
                         StorageFault)
from core.job import Outcome
from storage.selection import Choice
from tests.support.dashboard import DashboardTest
from tests.support.home import WINDOWS, HomeTest

PATHS = ("/api/status", "/api/jobs", "/api/jobs/hello", "/api/jobs/hello/log", "/metrics", "/api/none", "/favicon.ico")
HOSTILE = ("<img src=x onerror=alert(1)>", "it's \"quoted\" & <b>", "a/b?c#d%20", "..", "\u202egnp.exe", "x" * 200)


class TestWhoMayAsk(DashboardTest):

    def setUp(self):
        super().setUp()
        self.add("hello", "echo Hello")

    def test_without_the_token_nobody_learns_anything_but_the_page(self):
        self.serve("--act")
        for path in PATHS:
            for token in (False, "", "x", self.token[:-1], self.token + "x", self.token.swapcase(), "\u00e9"):
                with self.subTest(path, token=token):
                    status, headers, content = self.request(path, token=token)
                    self.assertEqual((status, headers["WWW-Authenticate"], b"hello" in content), (401, "Bearer", False))
        status, _, content = self.request("/", token=False)
        self.assertEqual((status, b"hello" in content, self.token.encode("ascii") in content), (200, False, False))

    def test_each_start_has_another_token(self):
        tokens = set()
        for _ in range(2):
            self.serve()
            self.assertGreaterEqual(len(self.token), 32)
            tokens.add(self.token)
        self.assertEqual(len(tokens), 2)

    def test_a_token_of_the_environment_is_taken_if_it_is_long_enough(self):
        self.serve(env=self.environ(QUEUECTL_DASHBOARD_TOKEN="0123456789abcdef"))
        self.assertEqual(self.token, "0123456789abcdef")
        for token in ("short", "0123456789abcdef ", "0123456789abcdef/", "0123456789abcdef\u00e9"):
            self.assertIn("QUEUECTL_DASHBOARD_TOKEN", self.refuse("dashboard", code=2, env=self.environ(QUEUECTL_DASHBOARD_TOKEN=token)))

    def test_it_listens_on_the_loopback_address_alone(self):
        self.serve()
        if os.path.exists("/proc/net/tcp"):
            with open("/proc/net/tcp", encoding="ascii") as file:
                listening = [line.split()[1] for line in file if line.split()[3] == "0A"]
            self.assertEqual([address for address in listening if address.endswith(":%04X" % self.port)], ["0100007F:%04X" % self.port])
        for host in {address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}:
            with self.assertRaises(OSError):
                socket.create_connection((host, self.port), 5).close()
        self.assertIn("--help", self.refuse("dashboard", "--host", "0.0.0.0", code=2))

    def test_another_name_of_this_machine_is_not_answered(self):
        self.serve()
        for host, status in (("127.0.0.1:%d" % self.port, 200), ("localhost:9000", 200), ("LOCALHOST", 200), ("[::1]:9000", 200), ("127.0.0.1", 200),
                             ("evil.example", 403), ("evil.example:%d" % self.port, 403), ("127.0.0.1.evil.example", 403), ("localhost.evil", 403),
                             ("", 403), ("127.0.0.1:80@evil", 403), ("127.0.0.1:1:2", 403), ("localhost:x", 403)):
            for path in ("/", "/api/status"):
                with self.subTest(host, path=path):
                    self.assertEqual(self.request(path, Host=host)[0], status)

    def test_a_page_of_another_origin_is_not_answered_and_not_allowed(self):
        self.serve("--act")
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:%d" % self.port):
            for method, body in (("GET", None), ("POST", "{}")):
                status, headers, _ = self.request("/api/status" if body is None else "/api/pause", method, body, Origin=origin)
                self.assertEqual(status, 403)
                self.assertFalse([name for name in headers if name.lower().startswith("access-control")])
        status, headers, _ = self.request("/api/pause", "OPTIONS", token=False, Origin="http://evil.example", Access_Control_Request_Method="POST")
        self.assertEqual(status, 405)
        self.assertFalse([name for name in headers if name.lower().startswith("access-control")])
        self.assertEqual(self.request("/api/pause", "POST", "{}", Origin="http://127.0.0.1:%d" % self.port)[0], 200)

    def test_each_answer_has_the_headers_that_keep_a_browser_in_order(self):
        self.serve()
        for path, token in (("/", False), ("/api/status", True), ("/api/status", False), ("/metrics", True), ("/api/none", True)):
            with self.subTest(path, token=token):
                headers = self.request(path, token=token)[1]
                self.assertEqual([headers[name] for name in ("X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options", "Cache-Control")],
                                 ["nosniff", "no-referrer", "DENY", "no-store"])
                self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
                self.assertNotIn("Python", headers["Server"])
        policy = self.request("/")[1]["Content-Security-Policy"]
        self.assertNotIn("unsafe", policy)
        for directive in ("script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                          "form-action 'none'", "require-trusted-types-for 'script'"):
            self.assertIn(directive, policy)


class TestChanging(DashboardTest):

    def changes(self):
        """Each request that would change something: (path, object)."""
        return (("/api/jobs", {"command": "true"}), ("/api/pause", {}), ("/api/resume", {}), ("/api/jobs/hello/cancel", {}), ("/api/jobs/hello/retry", {}),
                ("/api/jobs/hello/hold", {}), ("/api/jobs/hello/release", {}))

    def test_without_act_no_request_changes_anything(self):
        self.add("hello", "echo Hello")
        self.serve()
        before = self.read("jobs.json")
        for path, record in self.changes():
            self.assertEqual(self.post(path, record), (403, {"error": "this dashboard only looks; start it with --act to let it change the queue"}))
        self.assertEqual((self.read("jobs.json"), os.path.exists(self.path("paused"))), (before, False))

    def test_with_act_only_json_with_the_token_changes_anything(self):
        self.add("hello", "echo Hello")
        self.serve("--act")
        before = self.read("jobs.json")
        for path, record in self.changes():
            body = json.dumps(record)
            for status, headers in ((401, {"token": False}), (415, {"Content_Type": "text/plain"}), (415, {"Content_Type": "application/x-www-form-urlencoded"}),
                                    (403, {"Host": "evil.example"}), (403, {"Origin": "http://evil.example"})):
                with self.subTest(path, **headers):
                    self.assertEqual(self.request(path, "POST", body, **headers)[0], status)
            self.assertEqual(self.request(path + "?token=" + self.token, "POST", body, token=False)[0], 401)
            self.assertEqual(self.request(path, "GET")[0], 200 if path == "/api/jobs" else 404)
        self.assertEqual((self.read("jobs.json"), os.path.exists(self.path("paused"))), (before, False))

    def test_a_request_to_do_something_that_asks_for_more_is_refused_and_not_done_to_the_whole_queue(self):
        self.add("hello", "echo Hello")
        self.serve("--act")
        before = self.read("jobs.json")
        for path, _ in self.changes()[1:]:
            with self.subTest(path):
                status, answer = self.post(path, {"groups": ["g"]})
                self.assertEqual((status, "takes an object without fields, and knows no \"groups\"" in answer["error"]), (400, True), answer)
        self.assertEqual((self.read("jobs.json"), os.path.exists(self.path("paused"))), (before, False))

    def test_bodies_that_cannot_be_understood_are_refused(self):
        self.serve("--act")
        for body, status in (("", 400), ("{", 400), ("[]", 400), ("1", 400), ('{"a": 1, "a": 2}', 400), ("\ufeff{", 400), ("{}", 400), ('{"command": 7}', 400),
                             ('{"command": "x", "priority": "high"}', 400), ('{"command": "x", "after": ["nobody"]}', 409)):
            with self.subTest(body[:40]):
                got, _, content = self.request("/api/jobs", "POST", body.encode("utf-8"))
                self.assertEqual(got, status, content)
                self.assertEqual(list(json.loads(content.decode("utf-8"))), ["error"])
        for length, status in (("2000000", b"413"), ("x", b"411"), ("-1", b"411"), ("9" * 30, b"411")):
            with socket.create_connection(("127.0.0.1", self.port), 60) as client:
                client.sendall(("POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                                "Content-Length: %s\r\n\r\n" % (self.token, length)).encode("ascii"))
                self.assertEqual(client.recv(100).split()[1], status)
        self.assertFalse(os.path.exists(self.path("jobs.json")))

    def test_jobs_are_added_ended_retried_and_the_queue_paused(self):
        self.serve("--act")
        self.assertEqual(self.post("/api/jobs", {"id": "a", "command": "exit 3", "max_retries": 0}), (200, {"done": "Job 'a' added to the queue."}))
        self.assertEqual(self.job("a").options["cwd"], os.getcwd())
        self.assertRegex(self.post("/api/jobs", {"command": "true"})[1]["done"], "^Job '[0-9a-f]{8}' added")
        self.assertEqual(self.post("/api/pause")[0], 200)
        self.assertTrue(self.queue.paused())
        self.assertEqual(self.post("/api/resume")[0], 200)
        self.drain(code=1)
        self.assertEqual(self.job("a").state, "dead")
        self.assertEqual(self.post("/api/jobs/%s/retry" % self.key("a")), (200, {"done": "Job 'a' is back in the queue."}))
        self.assertEqual(self.job("a").state, "pending")
        self.assertEqual(self.post("/api/jobs/%s/cancel" % self.key("a")), (200, {"done": "Job 'a' is cancelled."}))
        self.assertEqual((self.job("a").state, self.job("a").reason), ("dead", "cancelled"))
        status, answer = self.post("/api/jobs/%s/cancel" % self.key("a"))
        self.assertEqual((status, "cannot be cancelled" in answer["error"]), (409, True))
        self.assertEqual(self.post("/api/jobs/none/retry")[0], 404)

    def test_what_a_job_is_not_in_the_state_for_is_a_conflict_and_a_job_that_is_gone_is_not_found(self):
        self.serve("--act")
        for job_id, action in (("waits", "release"), ("waits", "retry"), ("held", "hold"), ("died", "hold"), ("died", "release"), ("died", "cancel")):
            self.queue.reset()
            self.add(job_id, "true", hold=job_id == "held")
            if job_id == "died":
                self.succeed("cancel", job_id)
            key = self.key(job_id)
            with self.subTest(job_id=job_id, action=action):
                self.assertEqual([self.post("/api/jobs/%s/%s" % (name, action))[0] for name in (key, job_id, "none")], [409, 409, 404])
                self.queue.reset()
                self.assertEqual(self.post("/api/jobs/%s/%s" % (key, action))[0], 404)

    def test_each_fault_has_a_status_that_says_whose_it_is(self):
        for kind, status in ((JsonError, 400), (InvalidJob, 400), (JobNotFound, 404), (JobRefused, 409), (NotConfirmed, 500), (CorruptFile, 503),
                             (StorageFault, 503), (LockError, 503), (NoQueue, 503), (QueueError, 503)):
            with self.subTest(kind.__name__):
                self.assertEqual(status_of(kind.__new__(kind)), status)

    def test_a_home_that_is_not_there_is_made_for_jobs_that_are_added(self):
        home, self.home = self.home, self.path("new")
        try:
            self.serve("--act", env=self.environ())
            self.assertEqual(self.get("/api/status")["total"], 0)
            self.assertEqual(self.post("/api/jobs", {"command": "true"})[0], 200)
            self.assertEqual(self.get("/api/status")["pending"], 1)
        finally:
            self.home = home

    def test_what_is_done_to_a_job_is_done_to_none_of_its_namesakes(self):
        self.serve("--act")
        for _ in range(3):
            self.add("a", "exit 3", max_retries=0)
        second = self.get("/api/jobs")["jobs"][1]["key"]

        def stand():
            return [(job.state, job.is_held) for job in self.queue.find("a")]

        for action, expected in (("hold", ("pending", True)), ("release", ("pending", False)), ("cancel", ("dead", False)), ("retry", ("pending", False))):
            self.assertEqual(self.post("/api/jobs/%s/%s" % (second, action))[0], 200, action)
            self.assertEqual(stand(), [("pending", False), expected, ("pending", False)])
        self.drain(code=1)
        self.assertEqual(self.post("/api/jobs/%s/retry" % second)[0], 200)
        self.assertEqual([state for state, _ in stand()], ["dead", "pending", "dead"])
        self.assertEqual(self.post("/api/jobs/%s/retry" % second)[0], 409)


class TestAnswers(DashboardTest):

    def test_they_are_the_objects_of_the_commands(self):
        for number, job_id in enumerate(HOSTILE):
            self.add(job_id, "echo %s" % job_id, priority=number)
        self.add("late", "true", delay="2h")
        self.drain(code=1)
        self.serve()
        jobs = self.get("/api/jobs")["jobs"]
        listed = json.loads(self.succeed("list", "--json"))
        for record in listed + [entry["job"] for entry in jobs]:
            record.pop("due_in")  # the clock goes on
        self.assertEqual([entry["job"] for entry in jobs], listed)
        status, told = self.get("/api/status"), json.loads(self.succeed("status", "--json"))
        self.assertEqual({name: status[name] for name in told if name in status}, told)
        for entry in jobs:
            shown = json.loads(self.succeed("show", "--", entry["job"]["id"]))
            shown.pop("due_in")
            self.assertEqual(dict(self.get("/api/jobs/" + entry["key"])["job"], due_in=None), dict(shown, due_in=None))
            if entry["job"]["id"] != "..":
                self.assertEqual(self.get("/api/jobs/" + quote(entry["job"]["id"], safe=""))["key"], entry["key"])

    def test_a_list_comes_a_page_at_a_time(self):
        self.queue.enqueue([{"id": "j%d" % number, "command": "true"} for number in range(250)], self.home, time.time())
        self.serve()
        for order, expected in (("oldest", list(range(250))), ("newest", list(range(249, -1, -1)))):
            found, after, sizes = [], "", []
            while after is not None:
                page = self.get("/api/jobs?order=%s&after=%s" % (order, after))
                found += [entry["job"]["id"] for entry in page["jobs"]]
                sizes.append(len(page["jobs"]))
                after = page["next"]
            self.assertEqual((found, sizes), (["j%d" % number for number in expected], [100, 100, 50]))
        self.assertEqual([entry["job"]["id"] for entry in self.get("/api/jobs?search=j24&limit=3")["jobs"]], ["j24", "j240", "j241"])
        self.assertEqual(self.get("/api/jobs?state=dead,completed")["jobs"], [])
        self.queue.hold(Choice(["j7"], None), time.time())
        self.assertEqual([entry["job"]["id"] for entry in self.get("/api/jobs?state=held")["jobs"]], ["j7"])

    def test_what_cannot_be_asked_is_said(self):
        self.add("hello", "true")
        self.serve()
        for path, status in (("/api/jobs?state=lost", 400), ("/api/jobs?limit=0", 400), ("/api/jobs?limit=1001", 400), ("/api/jobs?limit=x", 400),
                             ("/api/jobs?after=x", 400), ("/api/jobs?order=up", 400), ("/api/jobs/none", 404), ("/api/jobs/1-0123456789abcdef", 404),
                             ("/api/jobs/hello/log?from=x", 400), ("/api/jobs/hello/log?attempt=-1", 400), ("/api/jobs/hello/none", 404),
                             ("/api/jobs/hello/log/more", 404), ("/../../etc/passwd", 404), ("/api/jobs/..%2f..%2fconfig.json/log", 404)):
            with self.subTest(path):
                got, _, content = self.request(path)
                self.assertEqual((got, list(json.loads(content.decode("utf-8")))), (status, ["error"]))

    def test_what_has_not_changed_is_not_sent_again(self):
        self.serve()
        version = None
        for change in (lambda: None, lambda: self.add("a", "true"), self.queue.pause, lambda: self.queue.pause(now=True), self.queue.resume,
                       lambda: self.queue.pause(["g"]), lambda: self.queue.resume(["g"]), lambda: self.settings(max_retries=7),
                       lambda: self.start_worker() and self.wait_for_state("a", "completed")):
            change()
            former, version = version, self.wait_for(lambda: self.request("/api/status")[1]["ETag"])
            self.assertNotEqual(version, former)
            status, headers, content = self.request("/api/status", If_None_Match=version)
            # A minute, or the end of a job, may have passed between the two.
            self.assertTrue(status == 304 and not content or status == 200 and headers["ETag"] != version, status)

    def test_an_ended_worker_is_gone_from_the_page(self):
        self.serve()
        worker = self.start_worker()
        self.assertEqual([each["pid"] for each in self.get("/api/status")["page"]["workers"]], [worker.pid])
        before = self.request("/api/status")[1]["ETag"]
        worker.kill()
        worker.wait()
        self.assertEqual(self.get("/api/status")["page"]["workers"], [])
        self.assertNotEqual(self.request("/api/status")[1]["ETag"], before)

    def test_status_tells_what_runs_comes_next_waits_and_died(self):
        self.add("dies", "echo last words; exit 9", max_retries=0)
        self.drain(code=1)
        self.add("runs", "echo one; echo two; sleep 60")
        self.start_worker()
        self.wait_for_state("runs", "processing")
        self.queue.enqueue([{"id": "low", "command": "true"}, {"id": "high", "command": "true", "priority": 5}, {"id": "late", "command": "true", "delay": "1h"},
                            {"id": "last", "command": "true", "after": ["low"]}], self.home, time.time())
        self.serve()
        self.wait_for(lambda: self.get("/api/status")["page"]["running"][0]["last_line"] == "two")
        status = self.get("/api/status")["page"]
        self.assertEqual([entry["job"]["id"] for entry in status["running"]], ["runs"])
        self.assertEqual([entry["job"]["id"] for entry in status["next"]], ["high", "low"])
        self.assertEqual([(entry["job"]["id"], entry["job"]["waits_for"], entry["after"]) for entry in status["waiting"]],
                         [("late", "time", []), ("last", "jobs", ["low"])])
        self.assertEqual([(entry["job"]["id"], entry["job"]["output"]) for entry in status["died"]], [("dies", "last words")])
        self.wait_for(lambda: sum(self.get("/api/status")["page"]["ended_per_minute"]["dead"]) == 1)
        self.assertEqual(status["acts"], [])


class TestFaults(DashboardTest):

    def line(self, command="status"):
        """What a command prints of the fault."""
        return self.refuse(command)[len("queuectl: error: "):]

    def test_a_broken_or_missing_file_is_told_as_the_commands_tell_it_until_it_is_mended(self):
        self.add("hello", "true")
        self.serve()
        good = self.read("jobs.json")
        for content in (b"[{", b"{}", good[:-40] + b"\0" * 40, b"[1]"):
            self.write("jobs.json", content)
            for path in ("/api/status", "/api/jobs", "/metrics"):
                with self.subTest(content[-3:], path=path):
                    status, _, answer = self.request(path)
                    self.assertEqual((status, json.loads(answer.decode("utf-8"))["error"]), (503, self.line()))
            self.write("jobs.json", good)
            self.assertEqual(self.get("/api/status")["pending"], 1)
        os.remove(self.path("jobs.json"))
        self.assertEqual(self.get("/api/status")["total"], 0)
        self.write("jobs.json", good)
        os.rename(self.home, self.home + "-moved")
        try:
            status, _, answer = self.request("/api/status")
            self.assertEqual((status, json.loads(answer.decode("utf-8"))["error"]), (503, self.line()))
            self.assertFalse(os.path.exists(self.home))
        finally:
            os.rename(self.home + "-moved", self.home)
        self.assertEqual(self.get("/api/status")["total"], 1)

    def test_a_broken_config_or_dlq_keeps_nobody_from_looking(self):
        self.add("hello", "true")
        process = self.serve()
        self.write("config.json", "{")
        self.write("dlq.json", "{")
        self.assertEqual((self.get("/api/status")["pending"], self.get("/api/status")["page"]["died"]), (1, []))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.stderr.read().count("the defaults are used here"), 1)

    def test_a_home_that_is_not_there_or_a_port_that_is_taken_is_refused(self):
        self.assertIn("there is no queue at", self.refuse("--home", self.path("none"), "dashboard", code=1))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen(1)
            self.assertIn("cannot listen on port %d" % taken.getsockname()[1], self.refuse("dashboard", "--port", str(taken.getsockname()[1]), code=1))
        for port in ("-1", "65536", "http", ""):
            self.refuse("dashboard", "--port=" + port, code=2)

    @unittest.skipIf(WINDOWS, "Ctrl+C reaches no single process there")
    def test_it_ends_with_ctrl_c(self):
        process = self.serve()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(process.stderr.read(), "")


class TestLogs(DashboardTest):

    def log(self, job_id, **query):
        """(where it begins, its bytes, where the next begins, how much there is, whether it may grow) of a piece of the output of a job."""
        status, headers, content = self.request("/api/jobs/%s/log?%s" % (job_id, "&".join("%s=%s" % (name.strip("_"), value) for name, value in query.items())))
        self.assertEqual(status, 200, content)
        start, behind, size = (int(headers["Queuectl-" + name]) for name in ("From", "Next", "Size"))
        self.assertEqual(behind - start, len(content))
        self.assertEqual(headers["Content-Type"], "application/octet-stream")
        return start, content, size, headers["Queuectl-Ended"] == "no"

    def test_a_piece_begins_at_any_byte(self):
        self.add("a", "printf 0123456789; exit 1", max_retries=1)
        self.drain(code=1)
        self.serve()
        for start, expected in ((0, (0, b"0123456789")), (4, (4, b"456789")), (10, (10, b"")), (99, (10, b"")), (-3, (7, b"789")), (-99, (0, b"0123456789"))):
            self.assertEqual(self.log("a", from_=start), expected + (10, False))
        self.assertEqual(self.log("a", attempt=1)[1], b"0123456789")
        self.assertEqual(self.log("a", attempt=3), (0, b"", 0, False))
        self.queue.retry(Choice(["a"], None), time.time())
        self.assertEqual(self.log("a"), (0, b"", 0, False))
        self.assertEqual(self.log("a", life=1, attempt=2)[1], b"0123456789")
        self.assertEqual([(log["life"], log["attempt"], log["size"]) for log in self.get("/api/jobs/a")["logs"]], [(1, 1, 10), (1, 2, 10)])

    def test_output_is_followed_while_it_is_written(self):
        self.add("a", "echo one; while [ ! -f go ]; do sleep 0.05; done; echo two")
        self.start_worker()
        self.serve()
        self.wait_for(lambda: self.log("a")[:3] == (0, b"one\n", 4))
        self.assertTrue(self.log("a", from_=4)[3])
        self.write("go", "")
        self.wait_for(lambda: self.log("a", from_=4) == (4, b"two\n", 8, False))

    def test_places_stay_when_the_start_was_dropped(self):
        self.settings(max_output=2048)
        self.add("a", "i=100; while [ $i -lt 1100 ]; do echo line $i; i=$((i + 1)); done")
        self.drain()
        self.serve()
        whole = b"".join(b"line %d\n" % number for number in range(100, 1100))
        start, content, size, _ = self.log("a")
        self.assertEqual((size, content), (len(whole), whole[start:]))
        self.assertGreater(start, 0)
        self.assertEqual(self.log("a", from_=size - 5)[1], whole[-5:])

    def test_a_log_of_5_gb_is_sent_in_pieces(self):
        self.add("a", "echo x")
        self.drain()
        size, name = 5 << 30, os.listdir(self.path("logs"))[0]
        try:
            os.truncate(self.path("logs", name), size)
        except OSError as error:
            self.skipTest("no file can be so large here: %s" % error)
        process = self.serve()
        for start in (0, size // 2, size - 100):
            at, content, told, _ = self.log("a", from_=start)
            self.assertEqual((at, told), (start, size))
            self.assertLessEqual(len(content), 1 << 20)
            self.assertEqual(len(content), min(len(content), size - start))
        self.assertEqual(self.log("a", from_=-7)[1], b"\0" * 7)
        if os.path.exists("/proc/self/status"):
            with open("/proc/%d/status" % process.pid, encoding="ascii") as file:
                self.assertLess(int(file.read().partition("VmHWM:")[2].split()[0]), 100 << 10)


class TestSlowClients(DashboardTest):

    def slow(self, number, start):
        """Clients that send the start of a request, and no more."""
        clients = []
        for _ in range(number):
            client = socket.create_connection(("127.0.0.1", self.port), 60)
            self.addCleanup(client.close)
            client.sendall(start)
            clients.append(client)
        return clients

    def test_100_slow_clients_keep_nobody_from_looking_or_working(self):
        self.serve()
        self.start_worker()
        self.slow(50, b"GET /api/st")
        self.slow(50, b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{")
        self.add("a", "true")
        self.wait_for_state("a", "completed")
        self.assertEqual(self.get("/api/status")["completed"], 1)

    def test_more_connections_than_threads_are_closed_at_once_and_the_others_answered_later(self):
        self.serve()
        clients = self.slow(140, b"GET ")
        closed = 0
        for client in clients[128:]:
            try:
                closed += client.recv(1) == b""
            except OSError:
                closed += 1
        self.assertGreaterEqual(closed, 12)
        for client in clients:
            client.close()

        def answered():
            try:
                return self.get("/api/status")
            except (OSError, AssertionError, ValueError):
                return None
        self.assertEqual(self.wait_for(answered)["total"], 0)

    def test_many_may_look_at_the_same_time(self):
        self.queue.enqueue([{"id": "j%d" % number, "command": "true"} for number in range(500)], self.home, time.time())
        self.serve("--act")
        self.start_worker("--count", "2")
        done = threading.Event()

        def look(number):
            while not done.is_set():
                status, _, content = self.request(("/api/status", "/api/jobs?order=newest", "/metrics", "/api/jobs/j7")[number % 4])
                self.assertEqual(status, 200, content)

        with ThreadPoolExecutor(8) as pool:
            looks = [pool.submit(look, number) for number in range(8)]
            try:
                self.wait_for(lambda: self.queue.count()["completed"] == 500)
            finally:
                done.set()
            for each in looks:
                each.result()


class TestAbandoned(DashboardTest):

    def test_a_running_job_without_a_worker_is_told(self):
        self.add("a", "true")
        job = self.queue.claim("0123456789ab-1", time.time())
        self.serve()
        self.assertEqual([entry["abandoned"] for entry in self.get("/api/status")["page"]["running"]], [True])
        self.assertTrue(self.get("/api/jobs/a")["abandoned"])
        self.queue.record(job, Outcome(0, None), time.time())
        self.assertEqual(self.get("/api/status")["page"]["running"], [])


class TestHelp(HomeTest):

    def test_help_names_both_options(self):
        said = self.succeed("dashboard", "--help")
        self.assertIn("--port", said)
        self.assertIn("--act", said)
