"""What `status --watch` draws."""
from __future__ import annotations

import itertools
import unittest

from cli.facts import KINDS
from cli.scene import Scene, draw
from cli.terminal import display_width
from core.job import DEAD, PROCESSING
from core.rules import OTHER_JOBS, RETRY, Wait
from core.settings import DEFAULTS
from core.times import format_time
from tests.support.jobs import NOW, a_job
from tests.support.terminal import ESCAPE

AGO = format_time(NOW - 130)
HOSTILE = "printf 'a\nb' \033[31mred \u202e 日本語 " + "x" * 300


def facts(**changed):
    """What `status --json` tells of a queue in which all kinds of things go on."""
    told = dict.fromkeys([key for _, key, _ in KINDS], 0)
    told.update({"pending": 38, "processing": 2, "completed": 158, "dead": 2, "total": 200, "workers": 4, "paused": False, "stands_still": False, "groups": {}, "looking": False,
                 "jobs_per_minute": 12.0, "seconds_left": 200, "home": "/srv/queue", "abandoned": [], "waiting": [], "ready": 36, "retrying": 1, "blocked": 1})
    return dict(told, **changed)


def scene(more=None, **changed):
    """A Scene of that queue."""
    running = [(a_job(id="c%d" % n, command="convert %d" % n, state=PROCESSING, attempts=1, started_at=AGO), "frame %d" % n) for n in (1, 2)]
    retry = a_job(id="c7", command="convert 7", attempts=1, exit_code=2, reason="failed", run_at=format_time(NOW + 14), updated_at=AGO)
    waiting = [(retry, Wait(RETRY, 13.2, ()), "cannot open 7"), (a_job(id="up", command="upload", after=["c9"]), Wait(OTHER_JOBS, None, ("c9",)), "")]
    died = [(a_job(id="c3", command="convert 3", state=DEAD, reason="timeout", timeout=5, attempts=4, failed_at=AGO), "frame 9")]
    known = Scene(facts(**more or {}), NOW, running, waiting, [a_job(id="c8", command="convert 8")], died, DEFAULTS)
    return known._replace(**changed)


class DrawTest(unittest.TestCase):

    def drawn(self, given, width=80, height=24):
        """The lines, but for the time at the end of the first one, without blanks at their ends."""
        lines = draw(given, width, height)
        self.assertRegex(lines[0], r"\d\d:\d\d:\d\d$")
        return [lines[0][:-8].rstrip()] + [line.rstrip() for line in lines[1:]]

    def test_all_that_one_wants_to_know_is_on_a_screen_of_80_columns(self):
        self.assertEqual(self.drawn(scene()), [
            "/srv/queue",
            "█" * 47 + "░" * 11 + " 160 of 200 done, 80 %",
            "pending 38  processing 2  completed 158  dead 2",
            "36 ready, 1 between attempts, 1 after others",
            "4 workers, 12 jobs a minute, 3m 20s left at this rate",
            "", "Running: 2",
            "  c1  2m10s  convert 1", "      frame 1",
            "  c2  2m10s  convert 2", "      frame 2",
            "", "Between attempts: 1",
            "  c7  in 14s (attempt 2 of 4)  exit code 2: cannot open 7  (convert 7)",
            "", "Next",
            "  c8  convert 8", "  up  after c9: upload",
            "", "Died lately (2 in all)",
            "  c3  2m10s ago  timed out after 5s: frame 9  (convert 3)",
            "", "", "q quit   p pause"])

    def test_a_narrow_and_low_window_has_the_first_of_each(self):
        lines = self.drawn(scene(), 40, 16)
        self.assertEqual(lines[2:], [
            "pending 38  processing 2  completed 158", "dead 2", "36 ready, 1 between attempts,", "1 after others",
            "4 workers, 12 jobs a minute, 3m 20s left", "at this rate",
            "Running: 2", "  c1  2m10s  convert 1", "      frame 1", "Between attempts: 1", "  c7  in 14s  exit code 2: cannot open …",
            "Next", "  c8  convert 8", "q quit   p pause"])

    def test_groups_with_a_limit_or_a_pause_have_a_line_each_those_with_something_to_do_first(self):
        groups = {"gpu": {"limit": 1, "running": 0, "waiting": 0, "paused": False}, "my net": {"limit": 4, "running": 2, "waiting": 5, "paused": False},
                  "日本": {"limit": None, "running": 0, "waiting": None, "paused": True}}
        drawn = self.drawn(scene({"groups": groups}), 40, 40)
        at = drawn.index("Groups")
        self.assertEqual(drawn[at:at + 5], ["Groups", "  my net  2 of 4 running, 5 waiting", "  日本    0 running; paused",
                                            "  gpu     0 of 1 running, 0 waiting", ""])
        many = {"g%02d" % number: groups["gpu"] for number in range(50)}
        drawn = self.drawn(scene({"groups": many}))
        for title in ("Running: 2", "Groups", "Between attempts: 1", "Next", "Died lately (2 in all)", "q quit   p pause"):
            self.assertIn(title, drawn)

    def test_a_pause_of_what_runs_is_told(self):
        self.assertIn("4 workers, and the queue is paused, what runs stands still: p lets all go on",
                      self.drawn(scene({"paused": True, "stands_still": True})))

    def test_no_window_is_too_small_and_no_line_too_wide(self):
        hostile = scene({"home": "/日本/" + "é" * 90, "groups": {HOSTILE: {"limit": 1, "running": 0, "waiting": 1, "paused": True}}}, message=HOSTILE, following=[a_job(id="日" * 60, command=HOSTILE)] * 30)
        empty = scene({"total": 0}, running=[], waiting=[], following=[], died=[])
        for given, width, height in itertools.product(
                (scene(), hostile, empty, scene(error=HOSTILE)), (200, 80, 40, 13, 3, 1), (60, 24, 7, 1)):
            with self.subTest(width=width, height=height):
                for color in (False, True):
                    lines = [ESCAPE.sub("", line) for line in draw(given, width, height, color)]
                    self.assertEqual(len(lines), height)
                    self.assertEqual([line for line in lines if display_width(line) > width or not line.isprintable()], [])

    def test_why_nothing_goes_on_is_said(self):
        for changes, line in (
                ({"workers": 0}, "no worker runs: 'queuectl worker start' starts one"),
                ({"workers": 1, "paused": True}, "1 worker, and the queue is paused: p lets workers take jobs again"),
                ({"workers": 0, "paused": True}, "no worker runs, and the queue is paused: p lets workers take jobs again"),
                ({"workers": 1, "jobs_per_minute": 0.0}, "1 worker"),
                ({"workers": 2, "waiting": ["c7"]}, "2 workers, 1 waiting for a retry, 12 jobs a minute, 3m 20s left at this rate"),
                ({"looking": True}, "looking at what they wait for"),
                ({"ready": None}, "what they wait for is not looked at: there are too many"),
                ({"abandoned": ["c2"]}, "      its worker is dead; the next worker to start runs it again"),
        ):
            with self.subTest(changes):
                self.assertIn(line, self.drawn(scene(changes)))
        self.assertEqual(self.drawn(scene({"paused": True}))[-1], "q quit   p resume")

    def test_an_empty_queue_says_how_to_add_a_job(self):
        lines = self.drawn(scene({"total": 0}, running=[], waiting=[], following=[], died=[]))
        self.assertEqual(lines[1:3], ["The queue is empty. To add a job:", "  queuectl enqueue -- echo Hello"])
        self.assertEqual(set(lines[3:-1]), {""})

    def test_a_fault_takes_the_place_of_what_is_not_known(self):
        lines = self.drawn(scene(error="/srv/queue/jobs.json, line 2: expecting ','", message="paused"), 30, 10)
        self.assertEqual(lines, ["/srv/queue", "", "/srv/queue/jobs.json, line 2:", "expecting ','", "", "", "", "", "",
                                 "q quit   p pause   paused"])

    def test_a_long_home_keeps_its_end(self):
        self.assertEqual(self.drawn(scene({"home": "/srv/" + "deep/" * 20 + "queue"}), 30)[0], "…eep/deep/deep/queue")

    def test_states_and_titles_are_coloured(self):
        lines = draw(scene(), 80, 24, True)
        self.assertEqual(lines[2], "\033[33mpending 38\033[0m  \033[36mprocessing 2\033[0m  \033[32mcompleted 158\033[0m  \033[31mdead 2\033[0m")
        self.assertIn("\033[1mRunning: 2\033[0m", lines)
