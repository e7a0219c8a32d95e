"""A headless Chromium, driven over its DevTools port: a page as a person would see and use it.

The port speaks WebSocket (RFC 6455): `_Socket` has as much of it as this needs. What the page reports as a fault (exceptions, messages of
the console at level error, violations of its policy) is collected in `errors`.
"""
from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from urllib.request import urlopen

DEADLINE = 60  # seconds that anything may take
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class _Socket:
    """A WebSocket, as a client; texts alone."""

    def __init__(self, port, path):
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        key = base64.b64encode(os.urandom(16)).decode("ascii")
        self._socket.sendall(("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: %s\r\n\r\n" % (path, port, key)).encode("ascii"))
        self._file = self._socket.makefile("rb")
        if b" 101 " not in self._file.readline():
            raise OSError("the browser speaks no WebSocket")
        while self._file.readline().strip():
            pass

    def send(self, text):
        """Send a text; a client masks what it sends."""
        content, mask = text.encode("utf-8"), os.urandom(4)
        size = len(content)
        head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size) if size < 65536 else struct.pack("!BBQ", 0x81, 0xFF, size)
        self._socket.sendall(head + mask + bytes(byte ^ mask[number % 4] for number, byte in enumerate(content)))

    def receive(self, seconds=DEADLINE):
        """The next text; None if none comes within so many seconds."""
        text = b""
        while True:
            self._socket.settimeout(seconds)
            try:
                first, size = self._file.read(2)
            except socket.timeout:
                return None
            finally:
                self._socket.settimeout(DEADLINE)
            size = struct.unpack("!H", self._file.read(2))[0] if size == 126 else struct.unpack("!Q", self._file.read(8))[0] if size == 127 else size
            text += self._file.read(size)
            if first & 0x80 and first & 0x0F in (0, 1):
                return text.decode("utf-8")

    def close(self):
        """Close it."""
        self._file.close()
        self._socket.close()


class Browser:
    """A browser with one page, ended by `close`."""

    def __init__(self):
        self.errors = []
        self._folder = tempfile.mkdtemp(prefix="queuectl-browser-")
        self._process = subprocess.Popen(
            [find_browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0", "--user-data-dir=" + self._folder, "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            port = self._port()
            with urlopen("http://127.0.0.1:%d/json/list" % port, timeout=DEADLINE) as answer:
                page = next(each for each in json.load(answer) if each["type"] == "page")
            self._socket = _Socket(port, "/" + page["webSocketDebuggerUrl"].split("/", 3)[3])
        except BaseException:
            self.close()
            raise
        self._number = 0
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def _port(self):
        """The port, once the browser listens."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with open(os.path.join(self._folder, "DevToolsActivePort"), encoding="ascii") as file:
                    return int(file.readline())
            except (OSError, ValueError):
                time.sleep(0.05)
        raise OSError("the browser did not start")

    def call(self, method, **parameters):
        """Let the browser do something; what it answers."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            text = self._socket.receive()
            if text is None:
                raise AssertionError("the browser does not answer: %s" % method)
            message = json.loads(text)
            if message.get("id") == self._number:
                if "error" in message:
                    raise AssertionError("%s: %s" % (method, message["error"]))
                return message["result"]
            self._note(message)

    def _note(self, message):
        """Note an event, if it tells of a fault."""
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.errors.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append("%s %s" % (told["entry"]["text"], told["entry"].get("url", "")))

    def open(self, address):
        """Go to an address, in this page."""
        self.call("Page.navigate", url=address)

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError("%s: %s" % (expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def wait_for(self, expression, seconds=DEADLINE):
        """Wait until an expression is true; its value. Fails with the text of the page."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                value = self.evaluate(expression)
            except AssertionError:  # the page is just being replaced
                value = None
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError("not within %d s: %s\n%s\n%s" % (seconds, expression, self.text(), self.errors))
            time.sleep(0.05)

    def text(self):
        """What the page shows as text."""
        return self.evaluate("document.body.innerText")

    def wait_for_text(self, text):
        """Wait until the page shows a text."""
        self.wait_for("document.body.innerText.includes(%s)" % json.dumps(text))

    def click(self, selector):
        """Click in the middle of an element, once it is there, as a mouse does."""
        self.wait_for("document.querySelector(%s)" % json.dumps(selector) + " !== null")
        at = self.evaluate("(e => { e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })"
                           "(document.querySelector(%s))" % json.dumps(selector))
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def type(self, text):
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key, code=0):
        """Press a key, by its name and its number: Tab 9, Enter 13."""
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text if kind == "keyDown" else "")

    def resize(self, width, height=900, dark=False):
        """Let the window have this size, and the system this taste."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path):
        """Keep what the window shows, as a PNG."""
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        """End the browser."""
        if hasattr(self, "_socket"):
            self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
