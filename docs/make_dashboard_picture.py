"""Makes docs/dashboard.png, the picture of the dashboard, from the program itself: `python3 docs/make_dashboard_picture.py`.

It needs a Chromium. The queue that it shows lives in a temporary folder; its commands are echo, sleep and false in other words.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests.support.browser import Browser  # noqa: E402  the folder of the program must be on the path first

PICTURE = os.path.join(ROOT, "docs", "dashboard.png")

_TRAIN = "for epoch in $(seq 1 90); do echo \"epoch $epoch of 90, loss 0.$((9000 / (epoch + 9)))\"; sleep 1; done"
_JOBS = (
    [{"id": "thumb-%03d" % number, "command": "sleep 0.%d; : convert photo-%03d.jpg thumb-%03d.png" % (number % 3 + 1, number, number)}
     for number in range(1, 61)]
    + [{"id": "fetch-rates", "command": "echo 'curl: (6) Could not resolve host: rates.example' >&2; exit 6", "max_retries": 0},
       {"id": "lint", "command": "echo 'src/queue.c:41: unused variable'; exit 1", "max_retries": 0}]
    + [{"id": "render-%02d" % number, "command": "sleep 30; : blender -b scene.blend -f %d" % number} for number in range(1, 19)]
    + [{"id": "nightly-backup", "command": "pg_dump shop | gzip > /backup/shop.sql.gz", "delay": "6h"},
       {"id": "mail-report", "command": "sendmail -t < report.eml", "after": ["train-a"]}])
_FIRST = [{"id": "train-a", "command": _TRAIN, "group": "gpu", "priority": 9},
          {"id": "train-b", "command": _TRAIN, "group": "gpu", "priority": 8}]


def main():
    with tempfile.TemporaryDirectory() as folder:
        home = os.path.join(folder, "queue")
        program = [sys.executable, os.path.join(ROOT, "main.py"), "--home", home]

        def queuectl(*arguments, text=""):
            subprocess.run(program + list(arguments), input=text, universal_newlines=True, check=True, stdout=subprocess.DEVNULL)

        queuectl("enqueue", "-", text="\n".join(map(json.dumps, _FIRST + _JOBS)))
        queuectl("config", "set", "limits", '{"gpu": 1}')
        worker = subprocess.Popen(program + ["worker", "start", "--count", "4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        dashboard = subprocess.Popen(program + ["dashboard", "--act"], stdout=subprocess.PIPE, universal_newlines=True)
        browser = Browser()
        try:
            address = [dashboard.stdout.readline() for _ in range(3)][-1].strip()
            browser.resize(1280, 800)
            browser.open(address)
            browser.wait_for("document.querySelectorAll('#panel-running li').length === 4 && document.body.innerText.includes('render-03')")
            time.sleep(4)  # so that something has run for a while
            browser.evaluate("document.querySelector('#home').textContent = '/home/you/queue'; 1")
            browser.picture(PICTURE)
        finally:
            browser.close()
            dashboard.kill()
            dashboard.communicate()
            subprocess.run(program + ["worker", "stop", "--now"], check=False, stdout=subprocess.DEVNULL)
            worker.wait()


if __name__ == "__main__":
    main()
