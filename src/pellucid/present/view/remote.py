"""The processes of another machine, for a screen that stays open: `pellucid ps --json --host NAME`, again and again, as a process of its own.

Who needs somebody there is the question of `elsewhere.walk`.
"""

import subprocess
import sys
import threading
import time

import msgspec

from pellucid.diagnose import words
from pellucid.inert import inert
from pellucid.model.report import PsReport
from pellucid.present.view.rows import Row

EVERY_S = 10.0
"""Between two lists: each costs the other machine some tenths of a second of CPU."""
LIMIT_S = 30.0
_COMMAND = 120


class _Said(msgspec.Struct):
    said: str = ""


class _Refusal(msgspec.Struct):
    error: _Said


class Remote:
    """`rows` and `failed` (why there is no newer list, "" where there is) are renewed by a thread between `start` and `stop`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: tuple[Row, ...] = ()
        self.failed = "not asked yet"
        self._before: dict[tuple[int, int], tuple[float, float]] = {}
        """CPU seconds, and when it began, by pid and its start in ticks: the wall clock's time of the start differs a little from list to list."""
        self._at = 0.0
        self.looks = 0
        """How often it was asked; a screen that was told of the last one needs nothing new."""
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._wanted.set()
        self._thread = threading.Thread(target=self._run, name=f"host {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._wanted.set()

    def wanted(self, *, by_anybody: bool) -> None:
        """Whether somebody looks; else the other machine is not asked."""
        if by_anybody:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wanted.wait()
            if self._ended.is_set():
                return
            self.look()
            self.looks += 1
            self._ended.wait(EVERY_S)

    def look(self) -> None:
        """One list. A failure is told by `failed`, and the rows stay as they were."""
        line = [sys.executable, "-m", "pellucid", "ps", "--json", "--host", self.name]
        try:
            ended = subprocess.run(line, capture_output=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            self.failed = f"no list within {LIMIT_S:g} s"
            return
        try:
            if ended.returncode:
                self.failed = inert(msgspec.json.decode(ended.stdout, type=_Refusal).error.said)
                return
            report = msgspec.json.decode(ended.stdout, type=PsReport)
        except msgspec.DecodeError as error:
            self.failed = f"its answer is not understood: {error}"
            return
        self._take(report)
        self.failed = ""

    def _take(self, report: PsReport) -> None:
        now = time.monotonic()
        span, self._at = now - self._at if self._at else 0.0, now
        rows, spent = [], {}
        for one in report.processes:
            process = one.process
            key = (process.pid, process.start_ticks)
            cpu_s, started_at = self._before.get(key, (None, process.started_at))
            spent[key] = one.cpu_s, started_at
            cpu = max(0.0, one.cpu_s - cpu_s) / span if span and cpu_s is not None else None
            runtime = process.runtime or ""
            rows.append(
                Row(
                    pid=process.pid,
                    ppid=process.ppid,
                    name=inert(process.name),
                    command=inert(words.command(process, _COMMAND, named=False)),
                    user=inert(process.user),
                    runtime=inert(runtime),
                    state=inert(one.state),
                    cpu=None if cpu is None else round(cpu, 3),
                    rss_bytes=one.rss_bytes,
                    threads=process.threads,
                    started_at=started_at,
                    readable=runtime.startswith(("Python", "JVM")),
                )
            )
        self._before = spent
        self.rows = tuple(rows)
