"""Who has a file open, on a machine with 1,000 processes of 50 descriptors each: `pellucid files PATH` against lsof and fuser.

Before anything is timed, all have to name the same processes. `hard link` asks for the file by a second name: the link then may lie
anywhere, and more descriptors have to be compared. The floor is the search itself, without the start of a Python.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import harness, machine

ROUNDS = 9
PROCESSES, DESCRIPTORS = 1000, 50
GOAL = 0.3
TARGET = harness.here() / "benchmarks" / "targets" / "many_files.py"
_TOOLS = ("lsof", "fuser")


def report() -> str:
    missing = [tool for tool in _TOOLS if not _found(tool)]
    if missing:
        raise harness.Failed(f"{' and '.join(missing)} are not installed")
    with target() as folder:
        asked = f"{folder}/asked"
        holders = _agreed(asked)
        one_name = harness.interleave(_contenders(asked), ROUNDS, warm_up=2)
        os.link(asked, f"{folder}/again")
        two_names = harness.interleave(_contenders(f"{folder}/again"), ROUNDS, warm_up=1)
    ratio = harness.ratios(harness.wall(one_name["pellucid files PATH"]), harness.wall(one_name["lsof PATH"]))
    parts = [
        machine.described(["pellucid", "click", "msgspec"], programs=[_version("lsof"), _version("fuser")]),
        (
            f"{PROCESSES} processes with {DESCRIPTORS} descriptors each; all three name the same {holders} holders. {ROUNDS} rounds, every command once a "
            f"round. {harness.verdict(f'Goal: `pellucid files PATH` at most {GOAL} times lsof', GOAL, ratio)}\n"
        ),
        "### A file with one name\n",
        _table(one_name),
        "### A file with a hard link\n",
        _table(two_names),
    ]
    return "\n".join(parts)


def _table(runs: dict[str, list[harness.Run]]) -> str:
    theirs = {tool: harness.wall(runs[f"{tool} PATH"]) for tool in _TOOLS}
    rows = [
        [
            name,
            harness.spread(harness.wall(measured)).text(1000),
            *(harness.ratios(harness.wall(measured), theirs[tool]).text(digits=2) for tool in _TOOLS),
            harness.spread(harness.cpu(measured)).text(1000),
            harness.errors(measured),
        ]
        for name, measured in runs.items()
    ]
    return harness.table(["", "wall ms", *(f"× {tool}" for tool in _TOOLS), "CPU ms", "failed"], rows)


def _contenders(path: str) -> dict[str, Callable[[], harness.Run]]:
    pellucid = str(Path(sys.executable).with_name("pellucid"))
    return {
        "pellucid files PATH": harness.timed([pellucid, "files", path]),
        "lsof PATH": harness.timed(["lsof", path]),
        "fuser PATH": harness.timed(["fuser", path]),
        "floor: the search alone": lambda: _search(path),
    }


def _search(path: str) -> harness.Run:
    from pellucid.observe.holders import of_path

    wall, before = time.perf_counter(), os.times()
    of_path(path)
    after = os.times()  # the search is shared with children
    return harness.Run(time.perf_counter() - wall, sum(after[:4]) - sum(before[:4]))


def _agreed(path: str) -> int:
    """How many processes have it; Failed where the three don't say the same."""
    pellucid = str(Path(sys.executable).with_name("pellucid"))
    ours = json.loads(_output([pellucid, "files", path, "--json"]))["files"]
    said = {
        "pellucid": {row["pid"] for row in ours},
        "lsof": {int(line[1:]) for line in _output(["lsof", "-F", "p", path]).split("\n") if line.startswith("p")},
        "fuser": {int(word) for word in _output(["fuser", path]).split()},
    }
    if len({frozenset(pids) for pids in said.values()}) != 1 or len(said["pellucid"]) != PROCESSES // 100:
        counts = ", ".join(f"{name} {len(pids)}" for name, pids in said.items())
        raise harness.Failed(f"they name different processes: {counts}")
    return len(said["pellucid"])


def _output(line: list[str]) -> str:
    return harness.command(line).output


def _found(tool: str) -> bool:
    return any(os.access(f"{folder}/{tool}", os.X_OK) for folder in os.environ.get("PATH", "").split(":"))


def _version(tool: str) -> str:
    ended = harness.command([tool, "-v" if tool == "lsof" else "-V"])
    text = ended.output + ended.progress
    line = next((line for line in text.splitlines() if "revision" in line or "PSmisc" in line), tool)
    return f"{tool} {line.split()[-1]}"


@contextmanager
def target() -> Iterator[str]:
    """A folder whose files are open in all those processes."""
    with tempfile.TemporaryDirectory(prefix="pellucid-bench-") as folder:
        line = [sys.executable, "-S", "-E", str(TARGET), folder, str(PROCESSES), str(DESCRIPTORS)]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise harness.Failed("the processes could not be started")
            yield folder
