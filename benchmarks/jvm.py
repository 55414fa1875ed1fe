"""A JVM looked at without a JDK: its counters, histogram and stacks beside jstat, jmap and jstack; a heap dump beside VisualVM's engine.

Each question is asked twice: by a program that already runs (a watch, a page, an agent: only the reading), and as a command with its
start. Before anything is timed, the answers have to agree: the same counts of the same classes. The dump has some 250 MB, or what is asked
for: `HPROF_MB=1000 make bench ONLY=jvm`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from benchmarks import harness, machine

ROUNDS, DUMP_ROUNDS = 5, 3
SMALL = 60_000
DUMP_MB = int(os.environ.get("HPROF_MB", "250"))
ORDERS_A_MB = 3_700
READING, HISTOGRAM, MEMORY = 0.1, 1.0, 1.5
"""The goals: of a reading against the JDK's tool, of the histogram against VisualVM's engine, of memory against the file."""
JFLUID = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pellucid" / "jfluid-heap.jar"
PELLUCID = str(Path(sys.executable).with_name("pellucid"))
_SOURCES = harness.here() / "benchmarks" / "targets"
_ORACLE = harness.here() / "tests" / "targets" / "jvm" / "HeapOracle.java"

_COUNTS = """
import re, sys, threading
most, ended = [0, 0], threading.Event()

def watch():
    while not ended.wait(0.02):
        anonymous, mapped = (int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10 for name in ("RssAnon", "RssFile"))
        most[:] = max(most[0], anonymous), max(most[1], anonymous + mapped)

threading.Thread(target=watch, daemon=True).start()
from pellucid.observe.jvm_dump import of_file
report = of_file(sys.argv[1], suspects=sys.argv[2] == "all")
ended.set()
rows = {row.type: row.count for row in report.types}
print("rows", " ".join(f"{name}={rows.get(name, 0)}" for name in ("BigHeap$Order", "java.util.HashMap$Node", "double[]")))
print("took", report.took_s, "most", *most, "objects", report.objects)
"""


def report() -> str:
    if any(shutil.which(tool) is None for tool in ("java", "javac", "jstat", "jmap", "jstack")):
        raise harness.Failed("there is no JDK with jstat, jmap and jstack here")
    with tempfile.TemporaryDirectory(prefix="pellucid-bench-") as folder:
        subprocess.run(["javac", "-d", folder, str(_SOURCES / "BigHeap.java")], check=True, timeout=100)
        parts = [
            machine.described(["pellucid", "numpy", "msgspec"]),
            f"{_version()}. {ROUNDS} rounds, every contender once a round.\n",
            "### A JVM that runs: 300,000 objects, G1\n",
            _live(folder),
            "### A heap dump\n",
            _dump(folder),
        ]
    return "\n".join(parts)


def _version() -> str:
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True, timeout=20).stderr
    return said.splitlines()[1].strip()


class _Target:
    """A JVM with `count` orders in its heap."""

    def __init__(self, folder: str, count: int, heap: str) -> None:
        line = ["java", f"-Xmx{heap}", "-XX:+UseG1GC", "-cp", folder, "BigHeap", str(count)]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != b"ready":
            raise harness.Failed("the target did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()


def _live(folder: str) -> str:
    from pellucid.observe.jvm_heap import of_pid
    from pellucid.runtimes.jvm.collector import collector
    from pellucid.runtimes.jvm.perfdata import PerfData
    from pellucid.runtimes.jvm.process import attach

    with _Target(folder, SMALL, "256m") as target:
        pid = str(target.pid)
        data, java = PerfData(target.pid), attach(target.pid)
        java.read()
        histogram = {row.type: row.count for row in of_pid(target.pid).types}
        said = harness.command(["jmap", "-histo", pid]).output
        theirs = {
            name: int(count) for count, name in re.findall(r"^\s*\d+:\s+(\d+)\s+\d+\s+(BigHeap\S*)", said, re.MULTILINE)
        }
        if not theirs or any(histogram.get(name) != count for name, count in theirs.items()):
            raise harness.Failed(f"the histograms do not agree: {theirs}")
        questions: dict[str, tuple[Callable[[], object], list[str], list[str]]] = {
            "generations and collections": (
                lambda: collector(data.read(), 0.0),
                [PELLUCID, "gc", pid],
                ["jstat", "-gc", pid],
            ),
            "histogram, no forced collection": (
                lambda: of_pid(target.pid),
                [PELLUCID, "heap", pid],
                ["jmap", "-histo", pid],
            ),
            "stacks of all threads": (java.read, [PELLUCID, "stacks", pid], ["jstack", pid]),
        }
        lines = [
            f"| question | reading, ms | `pellucid`, ms | JDK's tool, ms | reading × | command × | failed | goal: reading ≤ {READING} × |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, (read, ours, other) in questions.items():
            runs = harness.interleave({"read": _timed(read), "ours": _command(ours), "other": _command(other)}, ROUNDS)
            failed = sum(value is None for values in runs.values() for value in values)
            cells = [
                harness.spread(runs[key]).text(1000, 2 if key == "read" else 0) for key in ("read", "ours", "other")
            ]
            reading = harness.ratios(runs["read"], runs["other"])
            lines.append(
                f"| {name} (`{' '.join(other[:-1])}`) | {' | '.join(cells)} | {reading.text(1, 4)} "
                f"| {harness.ratios(runs['ours'], runs['other']).text(1, 2)} | {failed} | {_met(reading.median, READING)} |"
            )
        data.close()
        java.close()
    lines.append(
        "\nA reading is what a watch, a page or the recorder pays for each further look; a command starts an interpreter for one of them, "
        "as the JDK's tools start a JVM."
    )
    return "\n".join(lines) + "\n"


def _met(value: float, goal: float) -> str:
    return "met" if value <= goal else f"missed: {value:.2f}"


def _timed(read: Callable[[], object]) -> Callable[[], float | None]:
    def once() -> float | None:
        began = time.perf_counter()
        read()
        return time.perf_counter() - began

    return once


def _command(line: list[str], timeout_s: float = 60.0) -> Callable[[], float | None]:
    def once() -> float | None:
        run = harness.command(line, timeout_s=timeout_s).run
        return None if run.error else run.wall_s

    return once


def _dump(folder: str) -> str:
    path = f"{folder}/big.hprof"
    with _Target(folder, DUMP_MB * ORDERS_A_MB, f"{max(1, 3 * DUMP_MB // 1000)}g") as target:
        began = time.perf_counter()
        made = harness.command(["jcmd", str(target.pid), "GC.heap_dump", path], timeout_s=100)
        written = time.perf_counter() - began
        if made.run.error:
            raise harness.Failed(f"no dump: {made.run.error}")
    size = os.stat(path).st_size
    contenders = {"ours": _command([sys.executable, "-c", _COUNTS, path, "counts"])}
    agreed = "VisualVM's engine is not here (scripts/install_test_tools.sh brings it)"
    if JFLUID.exists():
        subprocess.run(
            ["javac", "-nowarn", "-cp", str(JFLUID), "-d", folder, str(_ORACLE)],
            check=True,
            timeout=100,
            capture_output=True,
        )
        line = ["java", "-Xmx4g", "-cp", f"{JFLUID}:{folder}", "HeapOracle", path, "0"]
        agreed = _agree(path, line)
        contenders["theirs"] = _without_cache(folder, _command(line, 100))
    runs = harness.interleave(contenders, DUMP_ROUNDS, warm_up=0)
    whole = harness.command([sys.executable, "-c", _COUNTS, path, "all"], timeout_s=max(150, DUMP_MB // 2))
    lines = [
        f"{size / 1e6:,.0f} MB, written by the JVM in {written:.1f} s. {agreed}.\n",
        f"| | seconds | × VisualVM's engine | goal: ≤ {HISTOGRAM:g} × |",
        "|---|---|---|---|",
        f"| histogram, pellucid | {harness.spread(runs['ours']).text()} | "
        + (
            f"{(against := harness.ratios(runs['ours'], runs['theirs'])).text(1, 2)} | {_met(against.median, HISTOGRAM)}"
            if "theirs" in runs
            else "– | –"
        )
        + " |",
    ]
    if "theirs" in runs:
        lines.append(f"| histogram, VisualVM's engine | {harness.spread(runs['theirs']).text()} | 1 | |")
    if whole.run.error:
        lines.append(f"| with dominators, retained sizes, suspects | failed: {whole.run.error} | | |")
    else:
        told = re.search(r"most (\d+) (\d+) objects (\d+)", whole.output)
        if told is None:
            raise harness.Failed(f"the whole look said {whole.output[-200:]!r}")
        own, both, objects = (int(one) for one in told.groups())
        lines.append(
            f"| with dominators, retained sizes, suspects of {objects:,} objects | {whole.run.wall_s:.1f} | | |"
        )
        lines.append(
            f"\nThe last took at most {own / size:.2f} × the file of memory (goal: ≤ {MEMORY} ×, {_met(own / size, MEMORY)}), {both / size:.2f} × together with the pages of the mapped "
            "file, which are the system's cache. The histograms are VisualVM's engine with its start, and ours with Python's."
        )
    return "\n".join(lines) + "\n"


def _without_cache(folder: str, run: Callable[[], float | None]) -> Callable[[], float | None]:
    """VisualVM's engine leaves a folder with its index beside the dump, and would be fast the second time."""

    def once() -> float | None:
        for left in Path(folder).glob("*.hwcache"):
            shutil.rmtree(left)
        return run()

    return once


def _agree(path: str, line: list[str]) -> str:
    ours = harness.command([sys.executable, "-c", _COUNTS, path, "counts"])
    other = harness.command(line, timeout_s=100)
    mine = dict(pair.split("=") for pair in re.findall(r"\S+=\d+", ours.output))
    theirs = dict(re.findall(r"^class (\S+) (\d+)$", other.output, re.MULTILINE))
    if not mine or any(theirs.get(name) != count for name, count in mine.items()):
        raise harness.Failed(f"the histograms do not agree: {mine} {ours.run.error} {other.run.error}")
    return "Both count the same objects of the classes that were compared"
