"""How long until pellucid says anything: `pellucid --version` against a Python that does nothing, and where the rest goes."""

import sys
from pathlib import Path

from benchmarks import harness, machine

ROUNDS = 30
GOAL = 6.0


def report() -> str:
    python = sys.executable
    pellucid = str(Path(python).with_name("pellucid"))
    commands = {
        "`python -c pass`": [python, "-c", "pass"],
        "`python -I -S -c pass` (no site)": [python, "-I", "-S", "-c", "pass"],
        "`python -c 'import click'`": [python, "-c", "import click"],
        "`python -c 'import msgspec'`": [python, "-c", "import msgspec"],
        "`pellucid --version`": [pellucid, "--version"],
        "`pellucid --help`": [pellucid, "--help"],
        "`pellucid stacks --help`": [pellucid, "stacks", "--help"],
    }
    runs = harness.interleave({name: harness.timed(line) for name, line in commands.items()}, ROUNDS, warm_up=3)
    bare = harness.wall(runs["`python -c pass`"])
    ratio = harness.ratios(harness.wall(runs["`pellucid --version`"]), bare)
    verdict = "reached" if ratio.count and ratio.median <= GOAL else "missed"
    head = (
        f"{ROUNDS} rounds, every command once a round. Goal: `pellucid --version` within {GOAL:.0f} times a bare start: "
        f"{verdict}, {ratio.text(digits=2)} times.\n"
    )
    rows = [
        [
            name,
            harness.spread(harness.wall(measured)).text(1000),
            harness.ratios(harness.wall(measured), bare).text(digits=2),
            harness.spread(harness.cpu(measured)).text(1000),
            harness.errors(measured),
        ]
        for name, measured in runs.items()
    ]
    versions = machine.described(["pellucid", "click", "msgspec"])
    return "\n".join([versions, head, harness.table(["command", "wall ms", "× bare start", "CPU ms", "failed"], rows)])
