"""A process of another machine: each look is the command that a person would type, with `--host NAME`, as a process of its own.

So what may be asked, and what it answers, is a matter of the agent there; a refusal has its three lines like any other.
"""

import subprocess
import sys
import time

import msgspec
from msgspec import Struct

from pellucid.inert import inert
from pellucid.model.report import WaitsReport, WhyReport
from pellucid.present.view import groups as grouping
from pellucid.present.view import told
from pellucid.present.view import waits as waiting
from pellucid.present.view.deep import Deep
from pellucid.present.view.rows import Row
from pellucid.present.view.scan import Looked, Scan

LIMIT_S = 60.0
SHARE = 0.01
"""Of one CPU of the other machine, for the walk over its Python processes..."""
BEGIN_S = 6.0
"""...of which so many seconds may be spent at once in the beginning."""
YOUNG_S = 30.0
"""Who has begun only then is left for later: the list is some seconds old, and those that end soon would be gone."""
START_S = 0.3
"""CPU seconds that a command takes there before it looks: an interpreter starts, and reads its modules."""
AGAIN_S = 10.0
"""Between two looks at a process that somebody has open: each costs the other machine some tenths of a second of CPU."""


class _Told(Struct):
    code: str = "error"
    tried: str = ""
    said: str = ""
    remedy: str = ""


class _Refusal(Struct):
    error: _Told


def document(host: str, words: tuple[str, ...]) -> bytes | told.Failed:
    """What `pellucid WORDS --json --host NAME` prints, or why there is nothing."""
    line = [sys.executable, "-P", "-m", "pellucid", *words, "--json", "--host", host]
    shown = f"run `pellucid {' '.join(words)} --host {host}`"
    try:
        ended = subprocess.run(line, capture_output=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return told.Failed("error", shown, f"no answer within {LIMIT_S:g} s", "run it in a terminal")
    if ended.returncode in {0, 6}:
        return ended.stdout
    try:
        error = msgspec.json.decode(ended.stdout, type=_Refusal).error
    except msgspec.DecodeError:
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {ended.returncode}"]
        return told.Failed("error", shown, inert(said[0]), "run it in a terminal")
    return told.Failed(error.code, inert(error.tried), inert(error.said), inert(error.remedy))


def look(host: str, pid: int, view: str) -> Deep:
    """A closer look, for the view that is open. A failure is told by the value."""
    words = {"now": ("why", str(pid), "--quick"), "waits": ("waits", str(pid))}[view]
    found = document(host, words)
    if isinstance(found, told.Failed):
        return Deep(pid, time.time(), failed=found)
    try:
        return _why(pid, found) if view == "now" else _waits(pid, found)
    except msgspec.DecodeError as error:
        said = f"its answer is not understood: {error}"
        return Deep(
            pid,
            time.time(),
            failed=told.Failed("error", f"look at pid {pid} on {host}", said, "the same version of pellucid there"),
        )


def walk(host: str) -> Scan:
    """A slow walk over the Python processes of another machine, to be begun when somebody opens the page: who needs somebody there."""
    return Scan(SHARE, BEGIN_S, YOUNG_S, lambda row: learnt(row, look(host, row.pid, "now")))


def learnt(row: Row, deep: Deep) -> Looked:
    """What the list is told of a closer look."""
    return Looked(row.pid, row.started_at, deep.taken_at, deep.findings, deep.cost_s + START_S, deep.failed)


def _why(pid: int, content: bytes) -> Deep:
    report = msgspec.json.decode(content, type=WhyReport)
    return Deep(
        pid,
        report.taken_at,
        runtime=inert((report.process and report.process.runtime) or ""),
        findings=tuple(map(told.told, report.findings)),
        threads=len(report.threads),
        groups=grouping.shown(report.threads),
        others=grouping.others(report.threads),
        not_seen=told.not_seen(report.gaps),
        cost_s=report.cost.cpu_s,
        stopped_s=report.cost.stopped_s,
    )


def _waits(pid: int, content: bytes) -> Deep:
    report = msgspec.json.decode(content, type=WaitsReport)
    return Deep(
        pid,
        report.taken_at,
        findings=tuple(map(told.told, report.findings)),
        waits=waiting.waits(report.graph, pid),
        not_seen=told.not_seen(report.gaps),
        cost_s=report.reading_cpu_s,
    )
