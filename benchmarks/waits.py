"""Who waits for whom among 11, 101 and 1,001 threads: `pellucid waits` against a stack dump by py-spy and pystack, and against jstack.

All but two of the threads wait in ways that a healthy program has, and two hold what the other needs (targets/waiting_threads.py). The
dumps show where each thread is; jstack names the deadlock of the same program in Java, and pellucid that of the Python one: before
anything is timed, both have to. The reading is what pellucid takes to read all of it, as it tells itself (`reading_s`).
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import which

from msgspec import Struct

from benchmarks import harness, machine
from tests.interpreters import EXPECTED, find

COUNTS = (11, 101, 1001)
GOALS_MS = (5, 25, 200)
ROUNDS = {11: 9, 101: 9, 1001: 5}
BESIDE = "3.13"
"""The peers look at a target of this version."""
SPAN_MS = 60
"""Between the two looks, by default."""
TARGETS = harness.here() / "benchmarks" / "targets"
OURS, JSTACK = "pellucid waits", "jstack (the same in Java)"


class Reading(Struct, frozen=True):
    """The time that pellucid's own reading took, of several looks."""

    wall: harness.Spread
    cpu: harness.Spread


def report() -> str:
    interpreters = {python.version: python.path for python in find() if python.version in EXPECTED}
    if BESIDE not in interpreters:
        raise harness.Failed(f"there is no CPython {BESIDE} here to look at")
    programs = ["jstack"] if which("jstack") and which("java") else []
    rounds = ", ".join(map(str, ROUNDS.values()))
    intro = (
        f"A program of N threads of which two are deadlocked; {rounds} rounds for the three sizes, every tool once a round, each a "
        f"command from its start to its end. pellucid looks twice, {SPAN_MS} ms apart, which is part of its time. "
        "Named: says who is deadlocked.\n"
    )
    parts = [machine.described(["pellucid", "py-spy", "pystack", "click", "msgspec"]), intro]
    readings: dict[str, dict[int, Reading]] = {}
    for count in COUNTS:
        table, read = _beside(interpreters[BESIDE], count, java=bool(programs))
        parts += [f"### {count} threads, CPython {BESIDE}\n", table]
        readings.setdefault(BESIDE, {})[count] = read
    for version, path in interpreters.items():
        if version != BESIDE:
            readings[version] = {count: _reading(path, count) for count in COUNTS}
    parts += ["### The reading alone\n", _readings(readings)]
    return "\n".join(parts)


def _beside(python: str, count: int, *, java: bool) -> tuple[str, Reading]:
    """(the table of one size, our reading time)."""
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(_running([python, str(TARGETS / "waiting_threads.py"), str(count)]))
        commands = _commands(pid)
        if java:
            jvm = stack.enter_context(_running(["java", str(TARGETS / "WaitingThreads.java"), str(count)]))
            commands[JSTACK] = [which("jstack") or "jstack", str(jvm)]
        first = {name: harness.command(line) for name, line in commands.items()}
        named = {name: _names_it(ended.output) for name, ended in first.items()}
        for name in (OURS, JSTACK):
            if name in named and not named[name]:
                raise harness.Failed(f"{name} does not name the deadlock of {count} threads: {first[name].run.error}")
        ended = harness.interleave({name: _run(line) for name, line in commands.items()}, ROUNDS[count], warm_up=1)
    runs = {name: [one.run for one in several] for name, several in ended.items()}
    rows = [
        [
            name,
            harness.spread(harness.wall(runs[name])).text(1000),
            harness.spread(harness.cpu(runs[name])).text(1000),
            harness.ratios(harness.wall(runs[OURS]), harness.wall(runs[name])).text(digits=2),
            "yes" if named[name] else "no",
            harness.errors(runs[name]),
        ]
        for name in runs
    ]
    table = harness.table(["", "wall ms", "CPU ms", f"{OURS} takes of its wall", "named", "failed"], rows)
    return table, _told(ended[OURS])


def _commands(pid: int) -> dict[str, list[str]]:
    near = Path(sys.executable)
    return {
        OURS: [str(near.with_name("pellucid")), "waits", str(pid), "--json"],
        "py-spy dump": [str(near.with_name("py-spy")), "dump", "--pid", str(pid)],
        "pystack remote": [str(near.with_name("pystack")), "remote", str(pid)],
    }


def _run(line: Sequence[str]) -> Callable[[], harness.Ended]:
    return lambda: harness.command(line)


def _names_it(output: str) -> bool:
    return ("Deadlock" in output or "Java-level deadlock" in output) and "pay-1" in output and "pay-2" in output


def _told(looks: Sequence[harness.Ended]) -> Reading:
    """What pellucid tells of its reading, in the looks that did not fail."""
    told = [json.loads(look.output) for look in looks if not look.run.error]
    return Reading(
        harness.spread(one["reading_s"] for one in told), harness.spread(one["reading_cpu_s"] for one in told)
    )


def _reading(python: str, count: int) -> Reading:
    with _running([python, str(TARGETS / "waiting_threads.py"), str(count)]) as pid:
        line = _commands(pid)[OURS]
        return _told([harness.command(line) for _ in range(ROUNDS[count] + 1)][1:])


def _readings(found: dict[str, dict[int, Reading]]) -> str:
    headers = ["CPython", *(f"{count} threads: wall · CPU ms" for count in COUNTS), "CPU µs a thread: 101 · 1001"]
    rows = []
    for version in sorted(found, key=lambda version: int(version.partition(".")[2])):
        reads = found[version]
        cells = [f"{reads[count].wall.text(1000)} · {reads[count].cpu.text(1000)}" for count in COUNTS]
        few, many = (reads[count].cpu.median / count * 1e6 for count in COUNTS[1:])
        rows.append([version, *cells, f"{few:.0f} · {many:.0f}"])
    goals = ", ".join(f"{goal} ms for {count}" for goal, count in zip(GOALS_MS, COUNTS, strict=True))
    return harness.table(headers, rows) + f"\nGoals: {goals}; linear.\n"


@contextlib.contextmanager
def _running(line: Sequence[str]) -> Iterator[int]:
    """The pid of a target that has printed `ready`; killed at the end."""
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=harness.clean_environment())
    with process:
        try:
            if process.stdout is None or process.stdout.readline() != b"ready\n":
                raise harness.Failed(f"{' '.join(line)} did not start")
            yield process.pid
        finally:
            process.kill()
