"""Makes docs/status.svg, a picture of `status --watch`, from the real program: `python3 docs/make_pictures.py`.

It fills a queue in a temporary folder, runs workers on it, and draws what the program prints on a terminal of 80 columns and 24 lines.
It needs a POSIX system.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from html import escape

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests.support.terminal import Cell, Screen, Terminal  # noqa: E402

COLUMNS, LINES = 80, 24

_COLORS = {"30": "#6b7280", "31": "#f87171", "32": "#4ade80", "33": "#facc15", "34": "#60a5fa", "35": "#c084fc", "36": "#22d3ee",
           "37": "#e5e7eb", "90": "#9ca3af"}
_PLAIN = "#e5e7eb"

# What the queue of the picture holds: scripts and jobs as a small team might have them for a night.
SCRIPTS = {"resize.sh": "sleep 0.6; echo resized $1 to 1600x1200",
           "train.sh": "for e in 1 2 3 4 5 6 7 8 9; do echo epoch $e of 9, loss 0.$((95 - 9 * e)); sleep 3; done",
           "upload.sh": "sleep 1; echo backup.example: connection refused >&2; exit 7",
           "lint.sh": "sleep 0.2; echo src/app.py:14: undefined name >&2; exit 1"}
JOBS = (
    *({"id": "photo-%03d" % number, "command": "sh resize.sh %03d.jpg" % number} for number in range(1, 90)),
    {"id": "train", "command": "sh train.sh --model small", "priority": 9},
    {"id": "upload", "command": "sh upload.sh photos.tar", "priority": 8},
    {"id": "lint", "command": "sh lint.sh src", "priority": 8, "max_retries": 0},
    {"id": "report", "command": "sh report.sh", "after": ["train"]},
    {"id": "backup", "command": "sh backup.sh", "delay": "5h30m"},
)


def draw(rows, title):
    """A screen as SVG."""
    width, height, step = 8.43, 19, 14
    texts = []
    for number, cells in enumerate(rows):
        row = [cells.get(column, Cell(" ")) for column in range(COLUMNS)]
        runs, at = [], 0
        while at < len(row):
            end = at
            while end < len(row) and row[end].style == row[at].style:
                end += 1
            text, style = "".join(row[at:end]), row[at].style.split(";")
            color = next((_COLORS[code] for code in style if code in _COLORS), _PLAIN)
            color = "#9ca3af" if "2" in style and color == _PLAIN else color
            if text.strip():
                runs.append('<tspan x="%.1f" fill="%s"%s textLength="%.1f">%s</tspan>' % (
                    20 + at * width, color, ' font-weight="bold"' if "1" in style else "", len(text) * width, escape(text)))
            at = end
        if runs:
            texts.append('<text y="%d" xml:space="preserve">%s</text>' % (60 + number * height, "".join(runs)))
    size = (40 + COLUMNS * width, 60 + LINES * height)
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s">\n'
            '<rect width="100%%" height="100%%" rx="8" fill="#111827"/>\n<rect width="100%%" height="32" rx="8" fill="#1f2937"/>\n'
            '<text x="20" y="21" fill="#9ca3af" font-family="sans-serif" font-size="13">%s</text>\n'
            '<g font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="%d">\n%s\n</g>\n</svg>\n' % (
                size + size + (escape(title, quote=True), escape(title), step, "\n".join(texts))))


def watch(words, home, seconds, shown):
    """The rows of a terminal on which a command of the program runs, after some seconds; with `shown` in the place of the home."""
    environ = dict(os.environ, TERM="xterm-256color", LANG="C.UTF-8")
    terminal = Terminal([sys.executable, os.path.join(ROOT, "main.py"), "--home", home] + words, environ, COLUMNS, LINES)
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            terminal.read(0.1)
        return Screen(COLUMNS, LINES).feed(terminal.text().replace(home, shown.ljust(len(home)))).rows
    finally:
        terminal.close()


def main():
    """Make the picture."""
    def queuectl(*words, **more):
        return subprocess.Popen([sys.executable, os.path.join(ROOT, "main.py"), "--home", home] + list(words), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, **more)

    with tempfile.TemporaryDirectory() as folder:
        home = os.path.join(folder, "night")
        for name, text in SCRIPTS.items():
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write(text)
        queuectl("enqueue", "-", stdin=subprocess.PIPE, cwd=folder).communicate("\n".join(map(json.dumps, JOBS)).encode())
        queuectl("config", "set", "retry_in_place", "false").wait()
        workers = queuectl("worker", "start", "--count", "4")
        rows = watch(["status", "--watch"], home, 12, "/srv/batch/night")
        workers.terminate()
        queuectl("worker", "stop", "--now").wait()
        workers.wait()
    with open(os.path.join(ROOT, "docs", "status.svg"), "w", encoding="utf-8") as file:
        file.write(draw(rows, "queuectl status --watch"))


if __name__ == "__main__":
    main()
