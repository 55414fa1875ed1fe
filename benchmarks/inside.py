"""What a profiler inside of a program costs it, and how far off its shares are: `pellucid.Profiler` beside pyinstrument and cProfile.

One program does the same work under each: many small calls, a loop, a loop under sixty frames. The shares that are true are those of its
CPU time without a profiler in the same round.
"""

import json
import sys
from functools import partial
from typing import Any

from benchmarks import harness, machine

ROUNDS = 9
TARGET = harness.here() / "benchmarks" / "targets" / "inside.py"
NAMES = ("plain", "pellucid real 1 ms", "pellucid thread 1 ms", "pellucid prof 4 ms", "pyinstrument 1 ms", "cProfile")
Told = dict[str, Any]


def report() -> str:
    told = harness.interleave({name: partial(_run, name) for name in NAMES}, ROUNDS, warm_up=1)
    rows = [_row(name, told) for name in NAMES]
    head = ["", "CPU × plain", "farthest share off, points", "samples (calls)", "failed"]
    return "\n".join(
        [
            machine.described(["pellucid", "pyinstrument"]),
            f"CPU of the same work, {ROUNDS} rounds, every profiler once a round. Goal: 1.05 beside plain, and nearer than pyinstrument.\n",
            harness.table(head, rows),
        ]
    )


def _row(name: str, told: dict[str, list[Told | None]]) -> list[str]:
    mine, plain = told[name], told["plain"]
    cpu = harness.ratios([_cpu(one) for one in mine], [_cpu(one) for one in plain])
    off = harness.spread(_off(one, true) for one, true in zip(mine, plain, strict=True))
    samples = harness.spread(None if one is None else float(one["samples"]) for one in mine)
    failed = sum(one is None for one in mine)
    return [name, cpu.text(digits=3), off.text(100, 2), samples.text(digits=0) if name != "plain" else "–", str(failed)]


def _cpu(one: Told | None) -> float | None:
    return float(sum(one["spent"].values())) if one is not None else None


def _off(one: Told | None, true: Told | None) -> float | None:
    """The largest difference of a part's share from its share of the CPU time without a profiler."""
    if one is None or true is None or one["shares"] is None:
        return None
    whole = sum(true["spent"].values())
    return float(max(abs(one["shares"][part] - spent / whole) for part, spent in true["spent"].items()))


def _run(name: str) -> Told | None:
    ended = harness.command([sys.executable, str(TARGET), name])
    if ended.run.error:
        print(f"{name}: {ended.run.error}", file=sys.stderr)
        return None
    found: Told = json.loads(ended.output)
    return found
