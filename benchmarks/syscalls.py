"""What watching the system calls of a program costs that program: `pellucid syscalls` against strace and perf trace.

Three commands tell their own time, so that the start of a tool counts for nothing: `dd bs=1`, which does nothing but calls of
some 0.1 µs; `import pandas`, which does some thousand of them and much else; and a loop whose every call fails, twelve Python
frames deep. Before anything is timed, pellucid has to count what strace counts. A run that lost something has failed: a tool
that throws away what it should tell looks cheap.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks import harness, machine

ROUNDS = 7
TARGETS = harness.here() / "benchmarks" / "targets"
STORM = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=50000"]
IMPORT = [sys.executable, "-c", "import time; t = time.perf_counter(); import pandas; print(time.perf_counter() - t)"]
FAILING = [sys.executable, "-S", str(TARGETS / "failing.py"), "/nowhere/at/all"]
PELLUCID = [str(Path(sys.executable).with_name("pellucid")), "syscalls"]
_COPIED = re.compile(r"copied, ([0-9.e+-]+) s")
_NOT_MEASURED = "–"


class Measured(Struct, frozen=True):
    """What the command told of its own time, in seconds; and why it counts for nothing ("" where it does)."""

    seconds: float
    error: str = ""


Tell = Callable[[str, str], float]


def report() -> str:
    if os.geteuid() != 0:
        raise harness.Failed("watching without stopping needs root")
    parts = [
        machine.described(["pellucid", "numpy", "msgspec"]),
        (
            f"{_version('strace')}; {_version('perf')}. {ROUNDS} rounds, every tool once a round. `×` is the time of the command under the "
            "tool over its time alone, as the command itself tells it.\n"
        ),
        _agreement(),
        _table("dd bs=1 count=50000: 100,000 calls and nothing else", STORM, _copied, scale=1e3, unit="ms"),
        _table("import pandas", IMPORT, _printed, scale=1e3, unit="ms"),
        _per_failure(),
    ]
    return "\n".join(parts)


def _version(tool: str) -> str:
    if shutil.which(tool) is None:
        return f"{tool} is not installed"
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False, timeout=20).stdout
    return said.splitlines()[0].replace(" -- version", "") if said else tool


def _tools() -> dict[str, list[str]]:
    """What stands before the command."""
    tools = {
        "nothing": [],
        "pellucid, all calls with lines (bpf)": [*PELLUCID, "--json", "-o", os.devnull, "--force", "--"],
        "pellucid --written --read --net (bpf)": [
            *PELLUCID,
            "--json",
            "--written",
            "--read",
            "--net",
            "-o",
            os.devnull,
            "--force",
            "--",
        ],
        "pellucid --backend perf": [*PELLUCID, "--json", "--backend", "perf", "-o", os.devnull, "--force", "--"],
        "pellucid --backend seccomp": [*PELLUCID, "--json", "--backend", "seccomp", "-o", os.devnull, "--force", "--"],
        "pellucid --backend ptrace": [*PELLUCID, "--json", "--backend", "ptrace", "-o", os.devnull, "--force", "--"],
    }
    if shutil.which("strace"):
        tools |= {
            "strace -f": ["strace", "-f", "-o", os.devnull],
            "strace -f -c": ["strace", "-f", "-c", "-o", os.devnull],
            "strace -f --seccomp-bpf, files": ["strace", "-f", "--seccomp-bpf", "-e", "trace=%file", "-o", os.devnull],
        }
    if shutil.which("perf"):
        tools["perf trace -s"] = ["perf", "trace", "-s", "-o", os.devnull]
    return tools


def _agreement() -> str:
    """Counted by both on the storm. Raises Failed where they differ, or where something was lost."""
    seen = json.loads(_run([*PELLUCID, "--json", "--", *STORM]).output)
    ours = {call["name"]: call["calls"] for call in seen["summary"]}
    if seen["lost"]:
        raise harness.Failed(f"pellucid lost {seen['losses']}")
    if shutil.which("strace") is None:
        return f"pellucid counts {ours['read']} reads; strace is not installed.\n"
    with_strace = _run(["strace", "-f", "-c", *STORM]).progress
    theirs = {
        line.split()[-1]: int(line.split()[3])
        for line in with_strace.splitlines()
        if line.endswith((" read", " write"))
    }
    if {name: ours[name] for name in theirs} != theirs:
        raise harness.Failed(f"pellucid counts {ours}, strace {theirs}")
    return f"Both count {theirs['read']} reads and {theirs['write']} writes; pellucid lost nothing.\n"


def _run(command: Sequence[str]) -> harness.Ended:
    ended = harness.command(command, timeout_s=120, environment=harness.clean_environment(LC_ALL="C"))
    if ended.run.error:
        raise harness.Failed(f"{' '.join(command[:4])} ...: {ended.run.error}")
    return ended


def _copied(_: str, progress: str) -> float:
    found = _COPIED.search(progress)
    if found is None:
        raise harness.Failed("dd did not tell its time")
    return float(found[1])


def _printed(output: str, _: str) -> float:
    return float(output.split(maxsplit=1)[0])


def _timed(before: Sequence[str], command: Sequence[str], tell: Tell) -> Callable[[], Measured]:
    def once() -> Measured:
        ended = harness.command([*before, *command], timeout_s=120, environment=harness.clean_environment(LC_ALL="C"))
        if ended.run.error:
            return Measured(0.0, ended.run.error)
        return Measured(tell(ended.output, ended.progress))

    return once


def _table(title: str, command: Sequence[str], tell: Tell, *, scale: float, unit: str) -> str:
    found = harness.interleave({name: _timed(before, command, tell) for name, before in _tools().items()}, ROUNDS)
    alone = _seconds(found["nothing"])
    rows = []
    for name, runs in found.items():
        failed = [run.error for run in runs if run.error]
        slower = harness.ratios(_seconds(runs), alone).text(digits=2) if name != "nothing" else _NOT_MEASURED
        spread = harness.spread(run.seconds for run in runs if not run.error)
        rows.append([name, spread.text(scale), slower, failed[0] if failed else "0"])
    return f"### {title}\n\n" + harness.table(["", unit, "×", "failed"], rows)


def _seconds(runs: Sequence[Measured]) -> list[float | None]:
    return [None if run.error else run.seconds for run in runs]


def _per_failure() -> str:
    """Microseconds that one failed call costs more, in each round, than alone."""
    tools = {
        name: before
        for name, before in _tools().items()
        if name in ("nothing", "pellucid, all calls with lines (bpf)", "pellucid --backend ptrace", "strace -f")
    }
    found = harness.interleave({name: _timed(before, FAILING, _printed) for name, before in tools.items()}, ROUNDS)
    alone = _seconds(found["nothing"])
    rows = []
    for name, runs in found.items():
        more = harness.spread(
            (mine - base) / 1e3
            for mine, base in zip(_seconds(runs), alone, strict=True)
            if mine is not None and base is not None
        )
        each = harness.spread(run.seconds / 1e3 for run in runs if not run.error)
        rows.append([name, each.text(digits=2), more.text(digits=2) if name != "nothing" else _NOT_MEASURED])
    title = "### One failed call in a loop, with its Python stack of 13 frames (strace: without)\n\n"
    return title + harness.table(["", "µs a call", "µs more"], rows)
