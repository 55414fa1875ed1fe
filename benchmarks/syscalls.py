"""What watching the system calls of a program costs that program: `pellucid syscalls` against strace and perf trace.

Three commands tell their own time, so that the start of a tool counts for nothing: `dd bs=1`, which does nothing but calls of
some 0.1 µs; `import pandas`, which does some thousand of them and much else; and a loop whose every call fails, thirteen Python
frames deep, in a recursion and in as many functions. Before anything is timed, pellucid has to count what strace counts: a tool that loses what it should tell looks cheap.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from benchmarks import harness, machine
from tests.interpreters import find

ROUNDS = 5
ROUNDS_OF_PTRACE = 3
STORM_GOAL, IMPORT_GOAL, FAILURE_GOAL_US = 5.0, 1.1, 1.0
STORM = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=50000"]
_IMPORT = "w, c = perf_counter(), process_time(); import pandas; print(perf_counter() - w, process_time() - c)"
IMPORT = [sys.executable, "-c", f"from time import *; {_IMPORT}"]
FAILING = ["-S", str(harness.here() / "benchmarks" / "targets" / "failing.py"), "/nowhere/at/all"]
STACKS = ("recursion", "functions")
PELLUCID = [str(Path(sys.executable).with_name("pellucid")), "syscalls", "--json"]
BEST = "pellucid, all calls with their lines"
WITH_PATHS = "pellucid --written --read --net"
_FAILURES = """Each function on a stack is one more read of the program's memory: at each call before CPython 3.13, and once a program from there on,
where CPython counts its code objects.
"""
_REPORT = Path(tempfile.gettempdir()) / f"pellucid-bench-{os.getpid()}.json"
"""Where pellucid's own report goes, which tells what was lost."""
_COPIED = re.compile(r"copied, ([0-9.e+-]+) s")


class Measured(Struct, frozen=True):
    """What the command told of its own time, in seconds, and of its CPU where it did; why it counts for nothing; what the tool says it lost."""

    wall_s: float = 0.0
    cpu_s: float | None = None
    error: str = ""
    lost: int | None = None


Tell = Callable[[harness.Ended], Measured]
Runs = dict[str, list[Measured]]
Values = Callable[[Sequence[Measured]], list[float | None]]


def report() -> str:
    if os.geteuid() != 0:
        raise harness.Failed("watching without stopping needs root")
    try:
        parts = _parts()
    finally:
        _REPORT.unlink(missing_ok=True)
    return "\n".join(parts)


def _parts() -> list[str]:
    storm, imported = _rounds(_tools(), STORM, _copied), _rounds(_tools(), IMPORT, _printed)
    return [
        machine.described(["pellucid", "numpy", "msgspec"]),
        f"{_version('strace')}; {_version('perf')}. {ROUNDS} rounds, every tool once a round.",
        "`×` is the time of the command under the tool over its time alone, as the command itself tells it.\n",
        _agreement(),
        "### dd bs=1 count=50000: 100,000 calls and nothing else\n",
        _goal("Goal: all calls with their lines at most 5 times", STORM_GOAL, storm[BEST], storm["nothing"], _walls),
        _table(storm),
        "### import pandas: 8,400 calls, and much else\n",
        _goal("Goal: with paths at most 1.10 times", IMPORT_GOAL, imported[WITH_PATHS], imported["nothing"], _walls),
        _goal("The same of its CPU", IMPORT_GOAL, imported[WITH_PATHS], imported["nothing"], _cpus),
        _table(imported),
        "### One failed call in a loop, with its Python stack of 13 frames (strace: without)\n",
        _FAILURES,
        *_per_failure(),
    ]


def _goal(goal: str, limit: float, ours: list[Measured], alone: list[Measured], of: Values) -> str:
    return harness.verdict(goal, limit, harness.ratios(of(ours), of(alone))) + "\n"


def _version(tool: str) -> str:
    if shutil.which(tool) is None:
        return f"{tool} is not installed"
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False, timeout=20).stdout
    return said.splitlines()[0].replace(" -- version", "") if said else tool


def _tools() -> dict[str, list[str]]:
    """What stands before the command."""
    tools = {
        "nothing": [],
        BEST: _pellucid(),
        "pellucid --failed": _pellucid("--failed"),
        WITH_PATHS: _pellucid("--written", "--read", "--net"),
        "pellucid --failed --backend perf": _pellucid("--failed", "--backend", "perf"),
        "pellucid --failed --backend seccomp": _pellucid("--failed", "--backend", "seccomp"),
        "pellucid --failed --backend ptrace": _pellucid("--failed", "--backend", "ptrace"),
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


def _pellucid(*options: str) -> list[str]:
    return [*PELLUCID, *options, "-o", str(_REPORT), "--force", "--"]


def _agreement() -> str:
    """Counted by both on the storm. Raises Failed where they differ, or where something was lost."""
    seen = json.loads(_run([*PELLUCID, "--", *STORM]).output)
    ours = {call["name"]: call["calls"] for call in seen["summary"]}
    if seen["lost"]:
        raise harness.Failed(f"pellucid lost {seen['losses']}")
    if shutil.which("strace") is None:
        return f"pellucid counts {ours['read']} reads; strace is not installed.\n"
    rows = [line.split() for line in _run(["strace", "-f", "-c", *STORM]).progress.splitlines()]
    theirs = {row[-1]: int(row[3]) for row in rows if row and row[-1] in ("read", "write")}
    if {name: ours[name] for name in theirs} != theirs:
        raise harness.Failed(f"pellucid counts {ours}, strace {theirs}")
    return f"Both count {theirs['read']} reads and {theirs['write']} writes; pellucid lost nothing.\n"


def _run(command: Sequence[str]) -> harness.Ended:
    ended = _once(command)
    if ended.run.error:
        raise harness.Failed(f"{' '.join(command[:4])} ...: {ended.run.error}")
    return ended


def _once(command: Sequence[str]) -> harness.Ended:
    return harness.command(command, timeout_s=120, environment=harness.clean_environment(LC_ALL="C"))


def _copied(ended: harness.Ended) -> Measured:
    found = _COPIED.search(ended.progress)
    if found is None:
        raise harness.Failed("dd did not tell its time")
    return Measured(float(found[1]))


def _printed(ended: harness.Ended) -> Measured:
    wall, *cpu = (float(word) for word in ended.output.split())
    return Measured(wall, cpu[0] if cpu else None)


def _rounds(tools: dict[str, list[str]], command: Sequence[str], tell: Tell, rounds: int | None = None) -> Runs:
    def timed(before: Sequence[str]) -> Callable[[], Measured]:
        def once() -> Measured:
            ended = _once([*before, *command])
            if ended.run.error:
                return Measured(error=ended.run.error)
            told = tell(ended)
            return replace(told, lost=json.loads(_REPORT.read_bytes())["lost"]) if _REPORT.name in str(before) else told

        return once

    return harness.interleave({name: timed(before) for name, before in tools.items()}, rounds or ROUNDS)


def _table(found: Runs) -> str:
    rows = []
    with_cpu = any(run.cpu_s is not None for run in found["nothing"])
    for name, runs in found.items():
        walls, alone = _walls(runs), _walls(found["nothing"])
        row = [
            name,
            harness.spread(walls).text(1e3),
            "–" if runs is found["nothing"] else harness.ratios(walls, alone).text(digits=2),
        ]
        if with_cpu:
            cpus, cpu_alone = _cpus(runs), _cpus(found["nothing"])
            row += [
                harness.spread(cpus).text(1e3),
                "–" if runs is found["nothing"] else harness.ratios(cpus, cpu_alone).text(digits=2),
            ]
        rows.append([*row, *_trouble(runs)])
    return harness.table(["", "ms", "×", *(["CPU ms", "× CPU"] if with_cpu else []), "lost", "failed"], rows)


def _trouble(runs: Sequence[Measured]) -> tuple[str, str]:
    """Records that were lost in all of these runs, where the tool tells that, and how many of them failed."""
    lost = [run.lost for run in runs if run.lost is not None]
    failed = [run.error for run in runs if run.error]
    return str(sum(lost)) if lost else "–", f"{len(failed)}: {failed[0]}" if failed else "0"


def _walls(runs: Sequence[Measured]) -> list[float | None]:
    return [None if run.error else run.wall_s for run in runs]


def _cpus(runs: Sequence[Measured]) -> list[float | None]:
    return [None if run.error else run.cpu_s for run in runs]


def _per_failure() -> Iterator[str]:
    """Microseconds that one failed call costs more, in each round, than alone: by this interpreter and by the newest one here."""
    goal = "Goal: pellucid --failed at most 1 µs more, where the CPU is free"
    all_tools = _tools()
    tools = {name: all_tools[name] for name in ("nothing", BEST, "pellucid --failed", "strace -f") if name in all_tools}
    stopping = {name: all_tools[name] for name in ("nothing", "pellucid --failed --backend ptrace")}
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    pythons = {own: sys.executable} | {python.version: python.path for python in find()[-1:]}
    for version, path in pythons.items():
        for stack in STACKS:
            yield f"#### CPython {version}, {'a recursion' if stack == 'recursion' else 'thirteen functions'}\n"
            found = _rounds(tools, [path, *FAILING, stack], _printed)
            ours, alone = found["pellucid --failed"], found["nothing"]
            yield harness.verdict(goal, FAILURE_GOAL_US, _more(_walls(ours), _walls(alone))) + "\n"
            yield harness.verdict("The same of its CPU", FAILURE_GOAL_US, _more(_cpus(ours), _cpus(alone))) + "\n"
            yield _failure_table(found)
    yield f"#### CPython {own}, a recursion, by ptrace, which stops the program at each call\n"
    yield _failure_table(_rounds(stopping, [sys.executable, *FAILING, STACKS[0]], _printed, ROUNDS_OF_PTRACE))


def _failure_table(found: Runs) -> str:
    rows = []
    for name, runs in found.items():
        row = [name]
        for values in (_walls, _cpus):
            more = _more(values(runs), values(found["nothing"])).text(digits=2)
            row += [harness.spread(values(runs)).text(1e-3, 2), more if name != "nothing" else "–"]
        rows.append([*row, *_trouble(runs)])
    return harness.table(["", "µs a call", "µs more", "CPU µs", "CPU µs more", "lost", "failed"], rows)


def _more(ours: Sequence[float | None], alone: Sequence[float | None]) -> harness.Spread:
    """Microseconds, round by round."""
    pairs = zip(ours, alone, strict=True)
    return harness.spread((mine - other) / 1e3 for mine, other in pairs if mine is not None and other is not None)
