"""The dashboard's page in a real browser: what a person sees and does there."""
from __future__ import annotations

import json
import os
import shlex
import time
import unittest

from storage.selection import Choice
from tests.support.browser import Browser, find_browser
from tests.support.dashboard import DashboardTest

HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
COLOURS = r"printf '\033[1;32mPASS\033[0m one\n\033]0;title\007<b>two</b>\033[2J\nhalf\rdone 100%%\n\033[38;5;208morange\033[0m\n'"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

# What of a page a screen reader or a keyboard could not use.
UNUSABLE = """(() => {
  const found = [];
  const named = e => (e.getAttribute("aria-label") || e.textContent || e.title || "").trim()
    || (e.labels && [...e.labels].some(label => label.textContent.trim())) || e.placeholder && e.labels && e.labels.length;
  for (const e of document.querySelectorAll("a, button, input, select, textarea")) if (e.checkVisibility() && !named(e)) found.push("no name: " + e.outerHTML);
  for (const e of document.querySelectorAll("[role=img], section, nav, article, dialog[open]"))
    if (!e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) found.push("no label: " + e.outerHTML.slice(0, 80));
  for (const e of document.querySelectorAll("th")) if (e.scope !== "col") found.push("no scope: " + e.outerHTML);
  for (const name of ["header", "nav", "main"]) if (!document.querySelector(name)) found.push("no " + name);
  if (document.querySelectorAll("h1").length < 2 || !document.documentElement.lang) found.push("no title or no language");
  const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice: " + ids);
  return found;
})()"""

# The texts whose contrast is below 4.5 (WCAG 2.1, 1.4.3), by the colours that they are shown in.
PALE = """(() => {
  const rgb = text => { const c = document.createElement("canvas").getContext("2d"); c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
  const light = text => { const [r, g, b] = rgb(text).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3]) return c; } return "white"; };
  const found = [];
  for (const e of document.querySelectorAll("main *, header *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest(".unseen, :disabled")) continue;
    const [one, other] = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
    if ((one + 0.05) / (other + 0.05) < 4.5) found.push(e.textContent.slice(0, 40) + " " + getComputedStyle(e).color + " on " + behind(e));
  }
  return found;
})()"""


@unittest.skipUnless(find_browser(), "there is no Chromium here (Debian: apt-get install chromium)")
class PageTest(DashboardTest):
    """A queue, its dashboard, and a browser that shows it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        super().tearDownClass()

    def look(self, *arguments, width=1280, dark=False):
        """Serve the page and open it."""
        process = self.serve(*arguments)
        self.browser.resize(width, dark=dark)
        self.browser.open(self.address)
        self.browser.wait_for("document.querySelector('#panel-counts dd') !== null")
        self.browser.errors.clear()
        self.browser.evaluate("window.marked = true")
        return process

    def go(self, place):
        """Go to another place of the page."""
        self.browser.evaluate("location.hash = %s; 1" % json.dumps(place))

    def open_job(self, job_id):
        """Open the page of a job by a click in the list."""
        self.go("/jobs")
        self.browser.wait_for("[...document.querySelectorAll('td.c-id a')].some(e => e.textContent === %s && (e.id = 'wanted'))" % json.dumps(job_id))
        self.browser.click("#wanted")
        self.browser.wait_for("document.querySelector('.head h1') && document.querySelector('.head h1').textContent === %s" % json.dumps(job_id))

    def counts(self):
        """The four numbers that the page shows."""
        return self.browser.evaluate("[...document.querySelectorAll('#panel-counts dd')].map(e => Number(e.textContent.replace(/\\D/g, '')))")

    def check(self):
        """It is still the same page, and reports no fault."""
        self.assertTrue(self.browser.evaluate("window.marked"))
        self.browser.evaluate("1")
        self.assertEqual(self.browser.errors, [])
        self.assertLessEqual(self.browser.evaluate(OVERFLOW), 0)

    def picture(self, name):
        """Keep what is shown, for those who want to look at it."""
        if os.environ.get("QUEUECTL_PICTURES"):
            self.browser.picture(os.path.join(os.environ["QUEUECTL_PICTURES"], name + ".png"))


class TestLooking(PageTest):

    def test_a_job_is_seen_to_appear_to_run_and_to_end(self):
        self.look()
        self.assertEqual(self.counts(), [0, 0, 0, 0])
        self.browser.wait_for_text("No worker runs.")
        self.add("first", "echo on its way; while [ ! -f go ]; do sleep 0.05; done")
        self.browser.wait_for("document.querySelector('#panel-next').innerText.includes('first')")
        self.start_worker()
        self.browser.wait_for("document.querySelector('#panel-running').innerText.includes('on its way')")
        self.assertEqual(self.counts(), [0, 1, 0, 0])
        self.write("go", "")
        self.browser.wait_for("document.querySelector('#panel-running').innerText.includes('Nothing runs.')")
        self.assertEqual(self.counts(), [0, 0, 1, 0])
        self.browser.wait_for_text("1 ended in the last hour")
        self.check()

    def test_output_is_followed_and_its_colours_are_shown(self):
        self.add("colours", COLOURS + "; while [ ! -f go ]; do sleep 0.05; done; echo the end")
        self.start_worker()
        self.look()
        self.open_job("colours")
        self.browser.wait_for("document.querySelector('.log').innerText.includes('orange')")
        lines = self.browser.evaluate("[...document.querySelectorAll('.log div')].map(e => e.textContent)")
        self.assertEqual(lines, ["PASS one", "<b>two</b>", "done 100%", "orange"])
        self.assertEqual(self.browser.evaluate("[...document.querySelectorAll('.log span')].map(e => [e.textContent, e.className, e.style.color])"),
                         [["PASS", "b f2", ""], ["orange", "", "rgb(255, 135, 0)"]])
        self.picture("job-1280")
        self.write("go", "")
        self.browser.wait_for("document.querySelector('.log').innerText.includes('the end')")
        self.browser.wait_for("document.querySelector('.head .state').textContent === 'completed'")
        self.check()

    def test_hostile_texts_are_shown_as_text(self):
        self.add(HOSTILE, "echo %s; printf '\\033]8;;javascript:alert(1)\\007link\\033]8;;\\007\\n'; exit 1 # <script>document.title = 'broken'</script>"
                 % shlex.quote(HOSTILE), max_retries=0, group=HOSTILE, note={"<b>": HOSTILE})
        self.add("it's \"quoted\" & <b>bold</b>", HOSTILE)
        self.drain(code=1)
        self.add("</script><script>document.title='broken'</script>", HOSTILE, after=["it's \"quoted\" & <b>bold</b>"])
        self.look(width=400)
        self.browser.wait_for_text(HOSTILE)
        self.go("/jobs")
        self.browser.wait_for_text("it's \"quoted\" & <b>bold</b>")
        self.open_job(HOSTILE)
        self.browser.wait_for("document.querySelector('.log').innerText.includes('link')")
        self.assertEqual(self.browser.evaluate("[...document.querySelectorAll('.log div')].map(e => e.textContent)"), [HOSTILE, "link"])
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('img, b, main script, iframe, .log a').length"), 0)
        self.assertIn("QueueCTL", self.browser.evaluate("document.title"))
        self.check()

    def test_the_token_leaves_the_address_and_is_asked_for_if_it_is_wrong(self):
        self.look()
        self.assertEqual(self.browser.evaluate("location.href"), "http://127.0.0.1:%d/#/" % self.port)
        self.assertFalse(self.browser.evaluate("document.documentElement.outerHTML.includes(%s)" % json.dumps(self.token)))
        self.browser.call("Page.reload")
        self.browser.wait_for("!window.marked && document.querySelector('#panel-counts dd') !== null")
        self.browser.evaluate("sessionStorage.clear(); 1")
        self.browser.call("Page.reload")
        self.browser.wait_for("document.querySelector('#token') !== null")
        self.browser.type("wrong")
        self.browser.press("Enter", 13)
        self.browser.wait_for_text("The token is missing or wrong")
        self.browser.evaluate("document.querySelector('#token').focus(); 1")
        self.browser.type(self.token)
        self.browser.press("Enter", 13)
        self.browser.wait_for("document.querySelector('#panel-counts dd') !== null")

    def test_a_broken_file_is_told_as_the_commands_tell_it_until_it_is_mended(self):
        self.add("hello", "true")
        self.look()
        good = self.read("jobs.json")
        self.write("jobs.json", b"[{")
        self.browser.wait_for_text(self.refuse("status"))
        self.write("jobs.json", good)
        self.browser.wait_for("document.querySelector('#fault').hidden")
        self.assertEqual(self.counts(), [1, 0, 0, 0])

    def test_a_dashboard_that_has_ended_is_told(self):
        process = self.look()
        process.kill()
        self.browser.wait_for_text("The dashboard does not answer.")


class TestList(PageTest):

    def setUp(self):
        super().setUp()
        self.queue.enqueue([{"id": "job-%03d" % number, "command": "echo %d" % number} for number in range(250)], self.home, time.time())
        self.queue.cancel(["job-007"], time.time())

    def ids(self):
        """The ids that the list shows."""
        return self.browser.evaluate("[...document.querySelectorAll('td.c-id')].map(e => e.textContent)")

    def wait_for_ids(self, first, last, number):
        """Wait until the list shows so many jobs, from one to another."""
        self.browser.wait_for("(ids => ids.length === %d && ids[0] === %s && ids[%d] === %s)([...document.querySelectorAll('td.c-id')].map(e => e.textContent))"
                              % (number, json.dumps(first), number - 1, json.dumps(last)))

    def test_it_comes_a_page_at_a_time_and_is_searched(self):
        self.look()
        self.go("/jobs")
        self.wait_for_ids("job-249", "job-150", 100)
        self.browser.click("nav.tools button:last-child")
        self.wait_for_ids("job-149", "job-050", 100)
        self.browser.click("nav.tools button:last-child")
        self.wait_for_ids("job-049", "job-000", 50)
        self.assertTrue(self.browser.evaluate("document.querySelector('nav.tools button:last-child').disabled"))
        self.browser.click("nav.tools button:first-child")
        self.wait_for_ids("job-149", "job-050", 100)
        self.browser.press("/")
        self.browser.wait_for("document.activeElement.id === 'search'")
        self.browser.type("24")
        self.wait_for_ids("job-249", "job-024", 13)
        self.check()

    def test_a_count_leads_to_its_jobs_and_back_goes_back(self):
        self.look()
        self.browser.click("dt a .dead")
        self.wait_for_ids("job-007", "job-007", 1)
        self.assertIn("cancelled", self.browser.evaluate("document.querySelector('td.c-state').textContent"))
        self.assertEqual(self.browser.evaluate("location.hash"), "#/jobs?state=dead")
        self.browser.evaluate("history.back(); 1")
        self.browser.wait_for("document.querySelector('#panel-counts dd') !== null")
        self.check()

    def test_what_changes_is_seen_in_the_list(self):
        self.look()
        self.go("/jobs")
        self.wait_for_ids("job-249", "job-150", 100)
        self.add("job-250", "true")
        self.wait_for_ids("job-250", "job-151", 100)
        self.queue.cancel(["job-250"], time.time())
        self.browser.wait_for("document.querySelector('td.c-state .dead') !== null")
        self.check()


class TestActing(PageTest):

    def button(self, text):
        """Click a button of the job's page by its text."""
        self.browser.wait_for("[...document.querySelectorAll('.head button')].some(e => e.textContent === %s && (e.id = 'pressed'))" % json.dumps(text))
        self.browser.click("#pressed")

    def test_without_act_nothing_can_be_pressed(self):
        self.add("a", "true")
        self.look()
        self.assertTrue(self.browser.evaluate("document.querySelector('#add').hidden && document.querySelector('#pause').hidden"))
        self.open_job("a")
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('.head button').length"), 0)

    def test_a_dead_job_is_retried_and_completes(self):
        self.add("a", "[ -f mended ]", max_retries=0)
        self.drain(code=1)
        self.look("--act")
        self.browser.wait_for("document.querySelector('#panel-died').innerText.includes('exit code 1')")
        self.open_job("a")
        self.write("mended", "")
        self.button("Retry")
        self.browser.wait_for("document.querySelector('.head .state').textContent === 'pending'")
        self.browser.wait_for_text("Job 'a' is back in the queue.")
        self.start_worker()
        self.browser.wait_for("document.querySelector('.head .state').textContent === 'completed'")
        self.check()

    def test_a_job_is_held_and_released(self):
        self.add("a", "true", delay="1h")
        self.look("--act")
        self.open_job("a")
        self.browser.wait_for_text("it has not run yet")
        for button, said in (("Hold", "held"), ("Release", "")):
            self.button(button)
            self.browser.wait_for("document.querySelector('.head .soft').textContent.startsWith(%s) && ![...document.querySelectorAll('.head button')].some(e => e.textContent === %s)"
                                  % (json.dumps(said), json.dumps(button)))
            self.assertEqual((self.job("a").is_held, self.job("a").run_at is None), (button == "Hold", button == "Release"))
            self.assertNotIn("9999", self.browser.text())
        self.check()

    def test_a_running_job_is_ended_once_that_is_confirmed(self):
        self.add("a", "sleep 600")
        self.start_worker()
        self.wait_for_state("a", "processing")
        self.look("--act", width=400)
        self.open_job("a")
        for button, state in (("button:first-child", "processing"), ("button.main", "dead")):
            self.button("Cancel")
            self.browser.wait_for("document.querySelector('dialog').open")
            self.assertEqual(self.browser.evaluate(UNUSABLE), [])
            self.browser.click("dialog .end " + button)
            self.browser.wait_for("!document.querySelector('dialog').open")
            self.browser.wait_for("document.querySelector('.head .state').textContent === %s" % json.dumps(state))
        self.assertEqual(self.job("a").reason, "cancelled")
        self.check()

    def test_a_job_is_added_by_a_form(self):
        self.look("--act")
        self.browser.click("#add")
        self.browser.wait_for("document.querySelector('dialog textarea') === document.activeElement")
        self.browser.type("echo 'from a form'")
        self.browser.press("Tab", 9)
        self.browser.type("made")
        self.browser.press("Tab", 9)
        self.browser.type("high")
        self.assertEqual(self.browser.evaluate(UNUSABLE), [])
        self.browser.press("Enter", 13)
        self.browser.wait_for_text("\"priority\" must be a whole number")
        self.browser.evaluate("document.querySelector('dialog [name=priority]').value = '7'; 1")
        self.browser.press("Enter", 13)
        self.browser.wait_for("!document.querySelector('dialog').open")
        self.browser.wait_for("document.querySelector('#panel-next').innerText.includes('priority 7')")
        job = self.job("made")
        self.assertEqual((job.command, job.priority), ("echo 'from a form'", 7))

    def test_the_queue_is_paused_and_resumed(self):
        self.look("--act")
        self.browser.click("#pause")
        self.browser.wait_for_text("The queue is paused: workers take no new jobs.")
        self.assertTrue(self.queue.paused())
        self.browser.click("#pause")
        self.browser.wait_for("document.querySelector('#paused').hidden")
        self.assertFalse(self.queue.paused())
        self.check()


class TestForEverybody(PageTest):

    def setUp(self):
        super().setUp()
        self.add("dies", "echo 'connection refused'; exit 7", max_retries=0, group="net")
        self.drain(code=1)
        self.queue.enqueue([{"id": "thumb-%d" % number, "command": "convert photo-%d.jpg -resize 400x thumb-%d.png" % (number, number)} for number in range(12)]
                           + [{"id": "x" * 200, "command": "y" * 2000, "priority": -1}, {"id": "late", "command": "true", "delay": "2h", "group": "net"}],
                           self.home, time.time())
        self.add("runs", "echo 'epoch 1'; sleep 600", priority=9)
        self.start_worker()
        self.wait_for_state("runs", "processing")

    def places(self):
        """Each kind of page: its name, and what is to be seen there."""
        key = self.key("runs")
        return (("overview", "/", "#panel-running .more"), ("jobs", "/jobs", "td.c-id"), ("job", "/job/" + key, ".log div"))

    def test_each_page_fits_each_window_and_can_be_read_in_each_theme(self):
        self.look("--act")
        places = self.places()
        for width in (400, 1280, 1600):
            for dark in (False, True):
                self.browser.resize(width, dark=dark)
                for name, place, seen in places:
                    with self.subTest(name, width=width, dark=dark):
                        self.go(place)
                        self.browser.wait_for("document.querySelector(%s) !== null" % json.dumps(seen))
                        self.assertEqual(self.browser.evaluate(PALE), [])
                        self.check()
                        self.picture("%s-%d-%s" % (name, width, "dark" if dark else "light"))

    def test_each_page_can_be_used_with_a_keyboard_and_a_screen_reader(self):
        self.look("--act")
        for name, place, seen in self.places():
            with self.subTest(name):
                self.go(place)
                self.browser.wait_for("document.querySelector(%s) !== null" % json.dumps(seen))
                self.assertEqual(self.browser.evaluate(UNUSABLE), [])
        self.go("/")
        self.browser.wait_for("document.querySelector('#panel-running a') !== null")
        self.browser.evaluate("document.activeElement.blur(); 1")
        self.browser.evaluate("document.querySelector('#skip').focus(); 1")
        self.browser.press("Enter", 13)
        self.browser.wait_for("document.activeElement.id === 'main'")
        for _ in range(40):
            self.browser.press("Tab", 9)
            if self.browser.evaluate("document.activeElement.textContent") == "runs":
                break
        self.assertNotEqual(self.browser.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "none")
        self.browser.press("Enter", 13)
        self.browser.wait_for("document.querySelector('.head h1') && document.querySelector('.head h1').textContent === 'runs'")
        self.assertEqual(self.browser.evaluate("document.activeElement.id"), "main")

    def test_the_focus_stays_where_it_is_while_the_page_changes(self):
        self.look()
        self.browser.wait_for("document.querySelector('#panel-next a') !== null")
        self.browser.evaluate("document.querySelectorAll('#panel-next a')[1].focus(); 1")
        name = self.browser.evaluate("document.activeElement.textContent")
        self.queue.cancel(["thumb-0"], time.time())
        self.browser.wait_for("!document.querySelector('#panel-next').innerText.includes('thumb-0')")
        self.assertEqual(self.browser.evaluate("document.activeElement.textContent"), name)
        self.queue.retry(Choice(["thumb-0"], None), time.time())
