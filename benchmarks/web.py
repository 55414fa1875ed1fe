"""The live page with 200 processes: what it takes while nobody looks and while somebody does, beside top(1), and how long a refresh is.

A refresh is what the server does each two seconds (read all processes, tell what changed) and what the browser does with it (change the
page). The two are measured apart: by the server's own clock, and in a Chromium without a screen by the page's.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import harness, machine

PROCESSES = 200
ROUNDS = 3
WINDOW_S = 6.0
WALK_S = 75.0
"""The first walk may take more at once than what comes after it: it is waited for, so long at most."""
IDLE_GOAL, REFRESH_GOAL_MS = 0.01, 100.0
TARGET = harness.here() / "benchmarks" / "targets" / "forked.py"
_TICKS = os.sysconf("SC_CLK_TCK")


def report() -> str:
    with _processes(), _web() as (pid, address):
        walk_s = _walked(address)
        looks, refreshes, spent = _idle(pid, address)
        drawn = _drawn(address)
    rows = [[name, harness.spread([100 * share for share in shares]).text(digits=2)] for name, shares in looks.items()]
    idle = statistics.median(looks["`pellucid web`, a page open"])
    worst = max(refreshes) + (max(drawn) if drawn else 0.0)
    verdicts = (
        f"Goal: at most {IDLE_GOAL:.0%} of a core with a page open: {'reached' if idle <= IDLE_GOAL else 'missed'}. "
        f"Goal: a refresh within {REFRESH_GOAL_MS:.0f} ms: {'reached' if worst <= REFRESH_GOAL_MS else 'missed'} (the slowest of each together: {worst:.1f} ms).\n"
    )
    refresh = [
        ["the server: read all processes, and wait for a CPU", harness.spread(refreshes).text(digits=1)],
        ["of that CPU time", harness.spread(spent).text(digits=1)],
        [
            "the page: change what differs, all processes shown",
            harness.spread(drawn).text(digits=1) if drawn else "not measured: no Chromium, or no playwright",
        ],
    ]
    return "\n".join(
        [
            machine.described(["pellucid", "starlette", "uvicorn", "msgspec"]),
            f"{PROCESSES} sleeping Python processes beside those of the machine. {ROUNDS} rounds of {WINDOW_S:g} s each, one after the other. "
            + (
                "The first walk over all of them was not over in time, and is in the figures.\n"
                if walk_s is None
                else f"The first walk over all of them, before that, took {walk_s:.0f} s.\n"
            ),
            verdicts,
            harness.table(["who", "CPU, % of a core"], rows),
            harness.table(["a refresh", "ms"], refresh),
        ]
    )


@contextmanager
def _processes() -> Iterator[None]:
    with subprocess.Popen([sys.executable, str(TARGET), str(PROCESSES)], stdout=subprocess.PIPE) as target:
        assert target.stdout is not None
        if target.stdout.readline() != b"ready\n":
            raise harness.Failed("the 200 processes did not start")
        try:
            yield
        finally:
            target.kill()


@contextmanager
def _web() -> Iterator[tuple[int, str]]:
    """(pid, the address that it printed)."""
    line = [sys.executable, "-m", "pellucid", "web"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=harness.clean_environment()) as web:
        assert web.stdout is not None
        address = web.stdout.readline().strip()
        if not address.startswith("http"):
            raise harness.Failed("pellucid web did not start")
        try:
            yield web.pid, address
        finally:
            web.terminate()


def _walked(address: str) -> float | None:
    """Seconds of the first walk over all processes, for which a page has to be open; None where it is not over in time."""
    began = time.monotonic()
    with _page(address) as page:
        while time.monotonic() - began < WALK_S:
            time.sleep(0.5)
            if page.looks >= PROCESSES:
                return time.monotonic() - began
    return None


def _idle(pid: int, address: str) -> tuple[dict[str, list[float]], list[float], list[float]]:
    """(shares of a core, by who; milliseconds of each refresh of the server's list, and of CPU in it)."""
    shares: dict[str, list[float]] = {
        "`pellucid web`, nobody looks": [],
        "`pellucid web`, a page open": [],
        "`top -b -d 2`": [],
    }
    pages = []
    for _ in range(ROUNDS):
        time.sleep(1.0)  # what the page before left is put away
        shares["`pellucid web`, nobody looks"].append(_share(pid))
        with _page(address) as page:
            time.sleep(1.0)  # the first news are the whole list
            shares["`pellucid web`, a page open"].append(_share(pid))
        pages.append(page)
        if shutil.which("top"):
            line = ["top", "-b", "-d", "2"]
            with subprocess.Popen(line, stdout=subprocess.DEVNULL, env=harness.clean_environment(TERM="dumb")) as top:
                time.sleep(1.0)
                shares["`top -b -d 2`"].append(_share(top.pid))
                top.kill()
    refreshes = [number for page in pages for number in page.refreshes]
    spent = [number for page in pages for number in page.spent]
    return {name: found for name, found in shares.items() if found}, refreshes, spent


def _share(pid: int) -> float:
    before, began = _cpu_s(pid), time.monotonic()
    time.sleep(WINDOW_S)
    return (_cpu_s(pid) - before) / (time.monotonic() - began)


def _cpu_s(pid: int) -> float:
    field = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(field[11]) + int(field[12])) / _TICKS


class _Page:
    """What an open page was told: milliseconds of each refresh of the server's list, of CPU in it, and how many processes were looked at."""

    def __init__(self) -> None:
        self.refreshes: list[float] = []
        self.spent: list[float] = []
        self.looks = 0

    def read(self, stream: HTTPResponse) -> None:
        name = b""
        while line := stream.readline():
            if line.startswith(b"event: "):
                name = line.removeprefix(b"event: ").strip()
            elif line.startswith(b"data: ") and name == b"list":
                told = json.loads(line.removeprefix(b"data: "))
                self.refreshes.append(1000 * told["refresh_s"])
                self.spent.append(1000 * told["own"]["list_s"])
                self.looks = told["own"]["looks"]


@contextmanager
def _page(address: str) -> Iterator[_Page]:
    """A reader of the events, as an open page is one."""
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("GET", "/api/live", headers={"authorization": f"Bearer {parts.query.partition('=')[2]}"})
    stream = connection.getresponse()
    page = _Page()
    reader = threading.Thread(target=page.read, args=(stream,), daemon=True)
    reader.start()
    try:
        yield page
    finally:
        if connection.sock is not None:
            connection.sock.shutdown(2)
        reader.join(5)
        connection.close()


def _drawn(address: str) -> list[float]:
    """Milliseconds of each drawing of the page with all processes; empty where there is no browser."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return []
    if chromium is None:
        return []
    found: list[float] = []
    try:
        _draw(sync_playwright, chromium, address, found)
    except Error as error:
        raise harness.Failed(f"the page in Chromium: {error.message.splitlines()[0]}") from error
    return found


def _draw(sync_playwright: Any, chromium: str, address: str, found: list[float]) -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.wait_for_selector("#processes")
        page.select_option("#kind", "all")
        page.wait_for_function(
            "least => document.querySelectorAll('#processes tbody tr').length >= least", arg=PROCESSES
        )
        page.wait_for_timeout(1000)
        for _ in range(4):
            page.wait_for_timeout(2000)
            found.append(float(page.evaluate("document.documentElement.dataset.drawn")))
        browser.close()
