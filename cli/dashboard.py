"""`dashboard`: a page to look at the queue, served to the browsers of this machine: who is answered, and what may be asked for.

cli/api.py makes the answers; the page is cli/dashboard.html.

Every user of the machine can reach the port, and every page in a browser can send requests to it. So:

- It listens on the loopback address alone. There is no option for another one.
- What tells of the queue needs the token in a header (`Authorization: Bearer`), which no page of another origin can send without being
  asked to (no CORS: fetch.spec.whatwg.org). The page itself holds no data. The address that is printed has the token behind `#`, a part
  that a browser never sends.
- The Host header must name the loopback address: another name may lead here by DNS rebinding.
- It changes nothing but by POST, with --act, with the token, and with a body of JSON.
- A slow or silent client costs one thread of a limited number, for a limited time.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pkgutil
import secrets
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock
from urllib.parse import parse_qsl, unquote, urlsplit

from cli import metrics
from cli.api import Api, stamp
from cli.context import Home, current_folder
from core.errors import JobNotFound, JobRefused, NotConfirmed, QueueError, UsageError, advice, fault_text, hint
from core.strict_json import decode_json, decode_utf8
from core.system import REUSES_ADDRESSES, make_folder
from helpers import printable

_HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost", "[::1]")  # what Host may name, with any port: `ssh -L` has its own
_SHORTEST_TOKEN = 16
_CONNECTIONS = 128  # at once; each has a thread
_PATIENCE = 60.0  # seconds that a connection may take for a request, its answer, and the time between two
_LONGEST_BODY = 1 << 20
_HEADERS = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "default-src 'none'"}
# Whose fault it is: the request's (400), the job's state (409) or the queue's (503). What is stored and not confirmed has another one: a
# client may ask again after a 503 (RFC 9110, 15.6.4).
_STATUS = ((JobNotFound, 404), (UsageError, 400), (JobRefused, 409), (NotConfirmed, 500), (QueueError, 503))


def cmd_dashboard(args, queue):
    """Serve the page until Ctrl+C."""
    if args.act:
        make_folder(queue.home)  # jobs may be added
    queue.refuse_absence()
    token = os.environ.get("QUEUECTL_DASHBOARD_TOKEN") or secrets.token_urlsafe(24)
    if len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.replace("-", "").replace("_", "").isalnum()):
        raise UsageError("QUEUECTL_DASHBOARD_TOKEN must have at least %d characters, each a letter, a digit, - or _" % _SHORTEST_TOKEN)
    try:
        server = Server(args.port or 0, queue.home, token, Api(args.act, current_folder(queue.home)))
    except OSError as error:
        raise QueueError("cannot listen on port %d of this machine: %s; choose another one, or leave out --port"
                         % (args.port or 0, error.strerror)) from None
    try:
        print("Dashboard of %s. Ctrl+C ends it." % printable(queue.home))
        print("Whoever has this address can %s:" % ("run commands as you" if args.act else "look; with --act, change the queue"))
        print("http://%s:%d/#%s" % (_HOST, server.server_port, token))
        sys.stdout.flush()
        server.serve_forever(1.0)
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


class Server(ThreadingHTTPServer):
    """The server of one home. Threads answer; the main thread takes connections, and ends those that take too long."""

    daemon_threads = True
    allow_reuse_address = REUSES_ADDRESSES
    request_queue_size = 128

    def __init__(self, port, home, token, api):
        self.api = api
        self.page, self.page_headers = _page()
        self.token = token.encode("ascii")
        self._home = home
        self._queue = None
        self._settings = None  # what the file of the settings was when `_queue` was made
        self._mutex = Lock()
        self._used = {}  # socket: when it was last of use, by the monotonic clock
        super().__init__((_HOST, port), Handler)

    def server_bind(self):
        """Take the port. HTTPServer would look up the name of the machine, which may ask the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, self.server_address[1]

    def queue(self):
        """The Home, with the settings as they are now. Raises QueueError."""
        with self._mutex:
            home = Home(self._home)
            home.refuse_absence()
            settings = stamp(home.config_path)
            if self._queue is None or settings != self._settings:
                home.store  # noqa: B018  settings that are broken are told of here, once
                self._queue, self._settings = home, settings
            return self._queue

    def touch(self, connection):
        """Note that a connection is of use."""
        self._used[connection] = time.monotonic()

    def process_request(self, request, client_address):
        """Answer a new connection in a thread of its own, unless there are too many."""
        if len(self._used) >= _CONNECTIONS:
            self.shutdown_request(request)
            return
        self.touch(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system gives no more threads
            self.shutdown_request(request)

    def shutdown_request(self, request):
        """Close a connection."""
        self._used.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self):
        """End the connections that take too long; once a second."""
        now = time.monotonic()
        for connection, used in list(self._used.items()):
            if now - used > _PATIENCE:
                try:
                    connection.shutdown(socket.SHUT_RDWR)  # its thread closes it
                except OSError:
                    pass

    def handle_error(self, request, client_address):
        """A client that goes away is no news; anything else is a bug, and shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _page():
    """(the bytes of the page, its headers). Its one script and its one style are allowed by their digests; data brings none in."""
    content = pkgutil.get_data("cli", "dashboard.html").replace(b"\r\n", b"\n")  # as a browser reads it before it takes a digest
    allowed = {}
    for tag in ("script", "style"):
        inner = content.partition(b"<%s>" % tag.encode("ascii"))[2].partition(b"</%s>" % tag.encode("ascii"))[0]
        allowed[tag] = "'sha256-%s'" % base64.b64encode(hashlib.sha256(inner).digest()).decode("ascii")
    policy = ("default-src 'none'; script-src %(script)s; style-src %(style)s; connect-src 'self'; img-src data:; base-uri 'none'; "
              "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'" % allowed)
    return content, {"Content-Security-Policy": policy, "Content-Type": "text/html; charset=utf-8"}


class Handler(BaseHTTPRequestHandler):
    """One connection: its requests, one after another."""

    protocol_version = "HTTP/1.1"
    timeout = 30.0  # seconds of silence
    server: Server

    def version_string(self):
        """What the header Server says."""
        return "queuectl"

    def log_message(self, *arguments):
        """Requests are not logged: a page sends one each second."""

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        self._answer(self._post)

    def do_OPTIONS(self):
        """No page of another origin is allowed anything (CORS), and there are no other ways to ask."""
        self.close_connection = True
        self._send(405, b"", {"Allow": "GET, POST"})

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS

    def _answer(self, respond):
        """Send what `respond(path, query)` gives, as (bytes, headers), or the fault that it meets, as one line."""
        self._unread = _length(self.headers) or 0
        try:
            self._check_host()
            parts = urlsplit(self.path)
            path, query = parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))
            if path != "/" or self.command != "GET":
                self._check_token()
            content, headers = respond(path, query)
            status = headers.pop("Status", 200)
        except _Refused as refusal:
            status, why, *more = refusal.args
            content, headers = _as_json({"error": why}), more[0] if more else {}
        except QueueError as error:
            status = status_of(error)
            content, headers = _as_json({"error": printable(str(error))}), {}
        except OSError as error:
            status, content, headers = 503, _as_json({"error": printable(fault_text(error) + advice(error))}), {}
        except Exception:
            import traceback
            traceback.print_exc()
            status, content, headers = 500, _as_json({"error": "this is a bug in QueueCTL; the terminal of the dashboard shows more"}), {}
        if 0 < self._unread <= _LONGEST_BODY:
            self.rfile.read(self._unread)  # a socket that is closed before would take the answer with it (RFC 9112, 9.6)
        self._send(status, content, headers)
        self.server.touch(self.connection)

    def _send(self, status, content, headers):
        self.send_response(status)
        for name, value in dict(_HEADERS, **headers).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        if status >= 400:
            self.close_connection = True  # a body may not have been read
            self.send_header("Connection", "close")
        self.end_headers()
        if status != 304:
            self.wfile.write(content)

    # -- who may ask

    def _check_host(self):
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if host[-1:].isdigit() and ":" in host.rpartition("]")[2] else host
        if name.lower() not in _NAMES:
            raise _Refused(403, "this server answers for %s alone, and was asked for %s" % (_HOST, printable(host[:100]) or "nothing"))
        origin = self.headers.get("Origin")
        if origin is not None and origin != "http://" + host:
            raise _Refused(403, "a page of another origin may not ask")

    def _check_token(self):
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        is_ours = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), self.server.token)  # takes as long for each other
        if kind.lower() != "bearer" or not is_ours:
            raise _Refused(401, "the token is missing or wrong; the terminal of %s shows the address with the token of now"
                           % hint("dashboard"), {"WWW-Authenticate": "Bearer"})

    # -- what is asked for

    def _get(self, path, query):
        api = self.server.api
        if path == "/":
            return self.server.page, dict(self.server.page_headers)
        if path == "/metrics":
            return metrics.exposition(self.server.queue()).encode("utf-8"), {"Content-Type": metrics.CONTENT_TYPE}
        words = [unquote(word) for word in path.split("/")[1:]]
        if words == ["api", "status"]:
            queue = self.server.queue()
            version = '"%s"' % api.version(queue)
            if self.headers.get("If-None-Match") == version:
                return b"", {"Status": 304, "ETag": version}
            return _as_json(api.status(queue)), {"ETag": version}
        if words == ["api", "jobs"]:
            return _as_json(api.jobs(self.server.queue(), query)), {}
        if words[:2] == ["api", "jobs"] and len(words) == 3:
            return _as_json(api.job(self.server.queue(), words[2])), {}
        if words[:2] == ["api", "jobs"] and words[3:] == ["log"]:
            at, content, size, ended = api.log(self.server.queue(), words[2], query)
            return content, {"Content-Type": "application/octet-stream", "Queuectl-From": str(at), "Queuectl-Next": str(at + len(content)),
                             "Queuectl-Size": str(size), "Queuectl-Ended": "yes" if ended else "no"}
        raise _Refused(404, "there is nothing at %s" % printable(path[:100]))

    def _post(self, path, query):
        words = [unquote(word) for word in path.split("/")[1:]]
        if words[:1] != ["api"]:
            raise _Refused(404, "there is nothing at %s" % printable(path[:100]))
        if not self.server.api.acts:
            raise _Refused(403, "this dashboard only looks; start it with --act to let it change the queue")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "the body must be JSON, and its Content-Type application/json")
        record = self._body()
        if words == ["api", "jobs"]:
            action, key = "add", None
        elif len(words) == 2 and words[1] in ("pause", "resume"):
            action, key = words[1], None
        elif len(words) == 4 and words[1] == "jobs" and words[3] in ("retry", "cancel", "hold", "release"):
            action, key = words[3], words[2]
        else:
            raise _Refused(404, "there is nothing to do at %s" % printable(path[:100]))
        return _as_json({"done": self.server.api.act(self.server.queue(), action, key, record)}), {}

    def _body(self):
        length, self._unread = _length(self.headers), 0
        if length is None:
            raise _Refused(411, "the length of the body is missing")
        if length > _LONGEST_BODY:
            raise _Refused(413, "the body is longer than %d bytes" % _LONGEST_BODY)
        record = decode_json(decode_utf8(self.rfile.read(length)))
        if type(record) is not dict:
            raise UsageError("the body must be a JSON object")
        return record


class _Refused(Exception):
    """A request that is refused: its status, why, and perhaps headers."""


def status_of(error):
    """The status of an answer that tells of a QueueError."""
    return next(number for kind, number in _STATUS if isinstance(error, kind))


def _length(headers):
    """How long the body of a request is; None if that is not said."""
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _as_json(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
