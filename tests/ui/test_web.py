"""The live page as a person meets it, over processes that are in trouble: each view, the keyboard, a telephone, the dark, names that would do harm.

What is seen is kept as pictures in build/screenshots.
"""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from pellucid.kernel import bpf
from tests.web import Web

ROOT = Path(__file__).parents[2]
TARGETS = ROOT / "tests/targets"
PICTURES = ROOT / "build/screenshots"
AXE = ROOT / "tests/viewers/node_modules/axe-core/axe.min.js"
SOON = 60_000
"""Milliseconds: the machine may be crowded, and the walk over all processes has a budget."""
MINE = f"of-{uuid.uuid4().hex[:12]}"
"""On a command line here and on no other: other tests run the same programs meanwhile."""


class Shown:
    """The server, and the pids of what it shows."""

    def __init__(self, web, pids):
        self.web, self.pids = web, pids

    def recorded_s(self, name):
        """Seconds that the recordings of this process hold."""
        history = json.loads(self.web.ask("GET", f"/api/p/{self.pids[name]}/history")[2])
        return max((kept["end"] - kept["begin"] for kept in history["kept"]), default=0.0)

    def address(self, name, view):
        return f"{self.web.base}/#/p/{self.pids[name]}/{view}"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    programs = {
        "deadlock": ("waiting.py", "abba"),
        "hostile": ("hostile_page.py", "<b>argv</b>\x1b[31m\u202e"),
        "spin": ("states.py", "spin", MINE),
        "tasks": ("tasks.py", "abba"),
    }
    quiet = (tmp_path_factory.mktemp("web") / "stderr").open("w")
    started = {
        name: subprocess.Popen(
            [sys.executable, str(TARGETS / line[0]), *line[1:]], stdout=subprocess.PIPE, stderr=quiet
        )
        for name, line in programs.items()
    }
    for process in started.values():
        assert process.stdout.readline() == b"ready\n"
    with Web(env={**os.environ, "XDG_DATA_HOME": str(tmp_path_factory.mktemp("state"))}) as web:
        yield Shown(web, {name: process.pid for name, process in started.items()})
    for process in started.values():
        with process:
            process.kill()
    quiet.close()


@pytest.fixture
def open_web(browser, shown):
    """`open_web(address, **options)` → a page that came in by the printed address. What it complains about, or asks of others, fails the test."""
    opened, complaints = [], []

    def start(address=None, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(SOON)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(error.stack))
        page.on("request", lambda asked: None if asked.url.startswith(shown.web.base) else complaints.append(asked.url))
        page.goto(shown.web.url)
        if address is not None:
            page.goto(address)
        opened.append(context)
        return page

    yield start
    for context in opened:
        context.close()
    assert not complaints


def picture(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"web-{name}.png", full_page=True)


def text(page, selector="main"):
    return page.inner_text(selector)


def test_who_needs_somebody_stands_on_top_in_a_sentence_with_the_way_to_it(open_web, shown):
    page = open_web(shown.address("deadlock", "now"))  # the walk over all may take its time on a crowded machine
    assert shown.web.token not in page.url, "the token does not stay in the address"
    page.locator(".finding", has_text="Deadlock: pay-1 and pay-2").wait_for()
    page.keyboard.press("Escape")
    mine = page.locator(
        f"#needy-heading ~ .findings .finding:has(a[href='#/p/{shown.pids['deadlock']}/now'])",
        has_text="Deadlock: pay-1 and pay-2 wait for each other",
    )
    mine.wait_for()
    assert "Neither can ever go on" in mine.inner_text()
    mine.locator("summary").click()
    assert f"pellucid waits {shown.pids['deadlock']}" in mine.inner_text()
    assert re.search(r"\d+ of \d+ Python process(es)? looked at", text(page))
    row = page.locator(f"#processes tbody tr[data-key='{shown.pids['deadlock']}']")
    row.filter(has_text="stuck or failing").filter(has_text="asleep in futex").wait_for()
    picture(page, "list")
    mine.locator("text=who waits").click()
    assert page.url.endswith(f"#/p/{shown.pids['deadlock']}/waits")


def test_the_list_can_be_filtered_and_sorted(open_web, shown):
    page = open_web()
    page.locator("#processes").wait_for()
    page.keyboard.press("/")
    page.keyboard.type(MINE)
    page.wait_for_function("document.querySelectorAll('#processes tbody tr').length === 1")
    page.locator(f"#processes tbody tr[data-key='{shown.pids['spin']}']", has_text="running").wait_for()
    page.keyboard.press("Escape")
    page.select_option("#kind", "all")
    page.click("th >> text=pid")
    shown_pids = [
        int(key) for key in page.eval_on_selector_all("#processes tbody tr", "rows => rows.map(row => row.dataset.key)")
    ]
    assert shown_pids == sorted(shown_pids)
    assert page.get_attribute("th >> nth=0", "aria-sort") == "ascending"
    page.fill("#filter", "nothing-is-called-this")
    page.wait_for_selector("text=No process has")


def test_waits_are_drawn_and_stand_in_a_table_as_well(open_web, shown):
    page = open_web(shown.address("deadlock", "waits"))
    page.locator("svg.graph g.stuck").nth(1).wait_for()
    told = page.get_attribute("svg.graph", "aria-label")
    assert "pay-1 waits for Lock" in told
    assert "which pay-2 has or owes" in told
    assert page.locator("svg.graph g.stuck").count() == 2
    page.locator("table tbody tr", has_text="the end of thread pay-1").wait_for()
    rows = page.locator("table tbody tr").all_inner_texts()
    assert len([row for row in rows if "can never go on" in row]) == 2
    assert "pellucid waits" in text(page)
    picture(page, "waits")


def test_equal_stacks_are_one_group_with_what_it_waits_for(open_web, shown):
    page = open_web(shown.address("deadlock", "now"))
    group = page.locator(".group", has_text="pay-1, pay-2").filter(has_text="waits for Lock")
    group.wait_for()
    assert "×2" in group.inner_text()
    line = (TARGETS / "waiting.py").read_text().splitlines().index("        with other._lock:") + 1
    assert f"waiting.py:{line}" in group.inner_text()
    assert "frames of libraries" in group.inner_text()
    page.wait_for_selector("text=Nothing is missing from this look")
    page.click("[data-action=why]")
    page.wait_for_selector("text=What two seconds showed")
    picture(page, "now")


def test_the_tasks_of_a_loop_stand_below_its_threads(open_web, shown):
    page = open_web(shown.address("tasks", "now"))
    page.click("summary >> text=asyncio tasks")
    task = page.locator(".tasks li", has_text="waits for asyncio.Lock").filter(has=page.get_by_text("AB", exact=True))
    task.wait_for()
    assert "held by BA" in task.inner_text()
    assert "user" in task.inner_text()
    picture(page, "tasks")


def test_a_dump_of_a_jvm_says_who_holds_most_and_two_say_what_changed(open_web, shown, java):
    with java("MemLeak", "20000") as leaking:
        page = open_web(f"{shown.web.base}/#/p/{leaking.pid}/memory")
        page.locator("svg.chart").first.wait_for()
        page.wait_for_selector("text=Pauses it: the JVM counts its own objects")
        page.click("[data-action=dump]")
        page.locator(".finding", has_text="20,000 of its keys are MemLeak").wait_for()
        page.click("[data-action=dump]")
        page.click("text=What has changed since then?")
        page.wait_for_selector("text=What became more or fewer")
        with page.expect_download() as download:
            page.locator("a", has_text="the snapshot").first.click()
        assert download.value.suggested_filename == f"pid-{leaking.pid}.hprof"
        picture(page, "jvm")


def test_time_is_recorded_shown_and_compared(open_web, shown):
    page = open_web(shown.address("spin", "time"))
    page.wait_for_selector("text=Nothing was recorded yet")
    page.select_option("#time-seconds", "5")
    for many in (
        1,
        2,
    ):  # to their ends: one that is stopped before it has begun, on a crowded machine, has nothing to keep
        page.click("[data-action=profile]")
        page.locator("[data-key=recordings] tbody tr").nth(many - 1).wait_for()
    assert "Does not pause it" in text(page)
    flame = page.frame_locator("iframe")
    flame.locator("#table >> text=hot").first.wait_for()
    assert "samples at 100 Hz were taken" in flame.locator("#facts").inner_text()
    picture(page, "time")
    page.click("text=Compare with what is shown")
    flame.locator("text=Own, change").wait_for()
    page.goto(f"{shown.web.base}/#/")
    page.goto(shown.address("spin", "time"))
    page.wait_for_selector("[data-key=recordings]")
    with page.expect_download() as download:
        page.locator("a", has_text="speedscope").first.click()
    assert download.value.suggested_filename == f"pid-{shown.pids['spin']}.speedscope.json"


def test_memory_is_drawn_over_time_and_its_objects_are_counted(open_web, shown):
    page = open_web(shown.address("deadlock", "memory"))
    page.locator("svg.chart").nth(1).wait_for()
    assert "Objects that the collector tracks, by generation, now: young" in page.locator("svg.chart").nth(
        1
    ).get_attribute("aria-label")
    page.locator("figure summary").first.click()
    assert page.locator("figure table tbody tr").count() >= 2
    page.click("[data-action=memory]")
    page.wait_for_selector("text=Python objects, up to 512 bytes each")
    assert "Pauses it: stands still while its memory is copied" in text(page)
    page.click("[data-action=heap]")
    page.wait_for_selector("text=Objects by type")
    assert re.search(r"It stood still for \d+ ms", text(page))
    page.check("#heap-still")
    page.click("[data-action=heap]")
    page.wait_for_selector("text=It was not paused")
    page.click("text=What has changed since then?")
    page.wait_for_selector("text=What became more or fewer")
    picture(page, "memory")


def test_the_past_is_recorded_and_can_be_gone_through(open_web, shown):
    page = open_web(shown.address("deadlock", "history"))
    page.wait_for_selector("text=No recording in")
    page.click("[data-action=record]")
    page.wait_for_selector("text=/It runs, for/")
    group = page.locator("section[data-key=moment] .group", has_text="pay-1, pay-2")
    limit = time.monotonic() + 90.0
    while not shown.recorded_s("deadlock") > 3.0:
        assert time.monotonic() < limit, "the recorder writes nothing down"
        time.sleep(0.5)
    page.click("text=Stop and keep what it has")
    page.wait_for_selector("text=/It runs, for/", state="detached")
    group.wait_for()
    page.click("section[data-key=moment] >> text=Waits")
    page.locator("section[data-key=moment] svg.graph g.stuck").nth(1).wait_for()
    page.click("section[data-key=moment] >> text=Files & sockets")
    page.locator("section[data-key=moment] table").or_(page.get_by_text("had not been read by then")).first.wait_for()
    page.click("section[data-key=moment] >> text=Now")
    before = page.inner_text("#moment-heading")
    page.focus("#moment")
    page.keyboard.press("Home")
    page.wait_for_function("before => document.getElementById('moment-heading').innerText !== before", arg=before)
    assert re.search(r"The recorder took \d+\.\d\d % of a core", text(page))
    picture(page, "history")


def test_names_that_would_do_harm_are_text_in_every_view(open_web, shown):
    page = open_web(shown.address("hostile", "now"))
    page.locator(".group").first.wait_for()
    for view, mark in (
        ("now", "account_lock"),
        ("waits", "account_lock"),
        ("files", "descriptors"),
        ("environment", "variables"),
    ):
        page.goto(shown.address("hostile", view))
        page.wait_for_selector(f"main >> text={mark}")
        harmless(page)
    page.goto(f"{shown.web.base}/#/")
    page.locator(f"#processes tbody tr[data-key='{shown.pids['hostile']}']").wait_for()
    harmless(page)


def test_what_is_printed_is_captured_and_is_text(open_web, shown):
    try:
        bpf.Map(bpf.ARRAY, 4, 4, 1).close()
    except OSError:
        pytest.skip("BPF programs may not be loaded here (root or CAP_BPF)")
    page = open_web()
    page.goto(shown.address("hostile", "output"))
    page.select_option("#output-seconds", "300")
    page.click("[data-action=output]")
    page.locator("pre", has_text=re.compile(r"stderr: line \d+ <img src=x")).wait_for()
    harmless(page)
    picture(page, "output")
    page.click("text=Stop and keep what it has")
    page.wait_for_selector("text=Ended at")


def harmless(page):
    shown = text(page, "body")
    assert "owned" not in page.title()
    assert page.query_selector("main img") is None
    assert not set(shown) & set("\x1b\u202e")
    assert "<img src=x" in shown or "<b>argv</b>" in shown, "it is there, as text"


def test_a_file_and_a_pipe_say_what_they_are(open_web, shown):
    page = open_web(shown.address("hostile", "files"))
    page.wait_for_selector("text=open descriptors")
    assert "\\x1b[31mred" in text(page)
    assert "O_WRONLY" in text(page)
    assert "pipe:[" in text(page)
    picture(page, "files")


def test_a_process_that_is_not_there_says_so(open_web, shown):
    page = open_web(f"{shown.web.base}/#/p/4194303/now")
    page.wait_for_selector("text=there is no such process any more")
    page.wait_for_selector("text=there is no process with pid 4194303")


def test_the_keyboard_alone_goes_everywhere(open_web, shown):
    page = open_web(shown.address("deadlock", "now"))
    page.locator(".group").first.wait_for()
    page.keyboard.press("2")
    page.locator("svg.graph").wait_for()
    assert page.get_attribute("#views a >> nth=1", "aria-current") == "page"
    page.keyboard.press("Escape")
    page.locator("#processes").wait_for()
    page.keyboard.press("/")
    page.keyboard.type(MINE)
    page.locator(f"#processes tbody tr[data-key='{shown.pids['spin']}']").wait_for()
    page.focus(f"#processes tbody tr[data-key='{shown.pids['spin']}'] a")
    for _ in range(2):  # pieces of news
        news = page.evaluate("import('/page/main.js').then(page => page.known.at)")
        page.wait_for_function("before => import('/page/main.js').then(page => page.known.at > before)", arg=news)
    assert page.evaluate("document.activeElement.closest('tr')?.dataset.key") == str(shown.pids["spin"]), (
        "news keep the focus"
    )
    page.keyboard.press("Enter")
    page.wait_for_selector(f"h2 >> text=pid {shown.pids['spin']}")
    page.keyboard.press("?")
    assert page.is_visible("#keys dl")


def test_a_telephone_shows_all_of_it_without_scrolling_sideways(open_web, shown):
    page = open_web(viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator("#processes").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    picture(page, "telephone")
    marks = {
        "now": ".group",
        "waits": "svg.graph",
        "memory": "svg.chart",
        "files": "table",
        "time": "[data-action=profile]",
        "environment": "table",
        "history": "[data-action=record]",
        "output": "[data-action=output]",
    }
    for view, mark in marks.items():
        page.goto(shown.address("deadlock", view))
        page.locator(mark).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: run scripts/install_test_tools.sh")
def test_an_audit_of_accessibility_finds_nothing(open_web, shown):
    page = open_web(bypass_csp=True, reduced_motion="reduce")
    page.locator("#processes").wait_for()
    page.fill("#filter", "states.py")  # it looks at each row
    page.locator("#needy-heading ~ .findings .finding").first.wait_for()
    page.evaluate(AXE.read_text())
    for name, view, mark in (
        (None, "list", "#processes"),
        ("deadlock", "now", ".group"),
        ("deadlock", "waits", "svg.graph"),
        ("deadlock", "memory", "svg.chart"),
        ("hostile", "files", "table"),
    ):
        if name is not None:
            page.goto(shown.address(name, view))
        page.locator(mark).first.wait_for()
        for scheme, rules in (("light", "{}"), ("dark", "{runOnly: ['color-contrast']}")):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(f"axe.run(document, {rules})")
            told = [
                (one["id"], one["nodes"][0]["target"], one["nodes"][0]["failureSummary"]) for one in found["violations"]
            ]
            assert told == [], (view, scheme)
            assert found["passes"]
        if view == "list":
            picture(page, "dark")
        page.emulate_media(color_scheme="light")
