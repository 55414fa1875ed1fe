"""One headless Chromium for the tests of a file, and one `pellucid web` over processes in trouble for all of them; each test gets a page of its own."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.web import Web

ROOT = Path(__file__).parents[2]
TARGETS = ROOT / "tests/targets"
PICTURES = ROOT / "build/screenshots"
AXE = ROOT / "tests/viewers/node_modules/axe-core/axe.min.js"
CHROMIUM = shutil.which("chromium")
SOON = 60_000
"""Milliseconds: the machine may be crowded, and the walk over all processes has a budget."""
MINE = f"of-{uuid.uuid4().hex[:12]}"
"""On a command line here and on no other: other tests run the same programs meanwhile."""
NARROW = 390
"""Pixels: a telephone."""


def text(page, selector="main"):
    return page.inner_text(selector)


def harmless(page):
    shown = text(page, "body")
    assert "owned" not in page.title()
    assert page.query_selector("main img") is None
    assert not set(shown) & set("\x1b\u202e")
    assert "<img src=x" in shown or "<b>argv</b>" in shown, "it is there, as text"


@pytest.fixture(scope="module")  # not of the session: while it is open, no other test can run an event loop
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no chromium: run scripts/install_test_tools.sh")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """`open_page(content, **options)` → a page that shows it. What it complains about or asks the network for fails the test."""
    opened, complaints = [], []

    def start(content: bytes, **options):
        file = tmp_path / f"{len(opened)}.html"
        file.write_bytes(content)
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if asked.url == file.as_uri() else complaints.append(asked.url))
        page.goto(file.as_uri())
        opened.append(context)
        return page

    yield start
    for context in opened:
        context.close()
    assert not complaints


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


@pytest.fixture(scope="package")
def shown(tmp_path_factory):
    programs = {
        "deadlock": ("waiting.py", "abba"),
        "hostile": ("hostile_page.py", "<b>argv</b>\x1b[31m\u202e\udcff" + 4096 * "x"),
        "spin": ("states.py", "spin", MINE),
        "tasks": ("tasks.py", "abba"),
        "serving": ("serving/telling.py", "pellucid", "serve"),
    }
    with contextlib.ExitStack() as ends:
        quiet = ends.enter_context((tmp_path_factory.mktemp("web") / "stderr").open("w"))
        started = {}
        for name, line in programs.items():
            process = subprocess.Popen(
                [sys.executable, str(TARGETS / line[0]), *line[1:]],
                stdout=subprocess.PIPE,
                stderr=quiet,
                env={**os.environ, "PELLUCID_TEST_PASSWORD": "hunter2-of-the-test"},
            )
            ends.enter_context(process)
            ends.callback(process.kill)
            started[name] = process
        for name, process in started.items():
            assert process.stdout.readline() == b"ready\n", name
        state = str(tmp_path_factory.mktemp("state"))
        web = ends.enter_context(Web(env={**os.environ, "XDG_DATA_HOME": state}))
        yield Shown(web, {name: process.pid for name, process in started.items()})


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


@pytest.fixture(scope="session")
def audit():
    """`audit(page, name)`: what axe says of a page with what is on it now, wide in the light and narrow in the dark; and keeps pictures of both."""
    rules = AXE.read_text() if AXE.is_file() else None

    def run(page, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        if rules is not None and not page.evaluate("() => 'axe' in window"):
            page.evaluate(rules)
        wide = page.viewport_size
        for scheme, width in (("light", wide["width"]), ("dark", NARROW)):
            page.set_viewport_size({"width": width, "height": wide["height"]})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.screenshot(path=PICTURES / f"web-{name}-{scheme}-{width}.png", full_page=True)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (name, width)
            if rules is not None:
                found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
                told = [(one["id"], one["nodes"][0]["target"], one["nodes"][0]["failureSummary"]) for one in found]
                assert told == [], (name, scheme, width)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(wide)

    return run
