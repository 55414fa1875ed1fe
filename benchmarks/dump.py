"""One look at all stacks of a process: `pellucid stacks` against py-spy and pystack, in wall time and CPU.

The target has fifty threads that wait and 470 Python frames. Before anything is timed, pellucid and py-spy have to agree
on both counts. The floor is what no Python program can go below: a bare start, then the imports of the command, then the
read itself, which pellucid reports as its own cost.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness, machine
from tests.interpreters import EXPECTED, Interpreter, find

ROUNDS = 15
TARGET = harness.here() / "benchmarks" / "targets" / "fifty_threads.py"
THREADS = 50
FRAMES = 470
COMPARED = ("pellucid stacks", "floor: bare start", "floor: start and imports")
# The same start and end as `pellucid.app.main`, without the command between them.
IMPORTS = "import gc, os, sys; gc.disable(); sys.modules['typing_extensions'] = None; import %s; os._exit(0)"
Runs = dict[str, list[harness.Run]]
REFERENCES = ("py-spy dump", "py-spy dump --nonblocking", "pystack remote", "pystack remote --no-block")


def report() -> str:
    interpreters = [python for python in find() if python.version in EXPECTED]
    if not interpreters:
        raise harness.Failed("no CPython 3.11 or newer was found to look at")
    parts = [
        machine.described(["pellucid", "py-spy", "pystack", "click", "msgspec"]),
        f"{THREADS} threads, {FRAMES} frames, {ROUNDS} rounds, every tool once a round; goal: 1 beside py-spy.",
        "pellucid's answer also says what each thread waits for: the lock by its name, the descriptor.\n",
    ]
    parts += [_one_interpreter(interpreter) for interpreter in interpreters]
    return "\n".join(parts)


def _one_interpreter(interpreter: Interpreter) -> str:
    with target(interpreter.path) as pid:
        agreed = _counts(pid)
        runs = harness.interleave(
            {name: harness.timed(line) for name, line in _commands(pid).items()}, ROUNDS, warm_up=2
        )
        read = harness.spread(_read_seconds(pid) for _ in range(5))
    return "\n".join(
        [
            f"### A target on CPython {interpreter.version}\n",
            agreed + "\n",
            harness.table(["", "wall ms", "CPU ms", "failed"], [_row(name, runs[name]) for name in runs]),
            harness.table(
                ["ratios of wall and CPU", *(f"× {name}" for name in REFERENCES)],
                [_ratios(runs, name) for name in COMPARED],
            ),
            _verdict(runs, read),
        ]
    )


def _verdict(runs: Runs, read: harness.Spread) -> str:
    def times(name: str) -> str:
        return harness.ratios(harness.wall(runs[name]), harness.wall(runs["py-spy dump"])).text(digits=2)

    return (
        f"Of py-spy's wall time, `pellucid stacks` takes {times('pellucid stacks')}, a Python that does nothing "
        f"{times('floor: bare start')}, one that imports what the command imports {times('floor: start and imports')}. "
        f"The look itself, as pellucid tells it (`cost.wall_s`, with what it imports on the way): {read.text(1000)} ms.\n"
    )


def _commands(pid: int) -> dict[str, list[str]]:
    python = sys.executable
    near = Path(python)
    pellucid = str(near.with_name("pellucid"))
    spy = [str(near.with_name("py-spy")), "dump", "--pid", str(pid)]
    pystack = [str(near.with_name("pystack")), "remote", str(pid)]
    return {
        "pellucid stacks": [pellucid, "stacks", str(pid)],
        "pellucid stacks --json": [pellucid, "stacks", str(pid), "--json"],
        "py-spy dump": spy,
        "py-spy dump --nonblocking": [*spy, "--nonblocking"],
        "pystack remote": pystack,
        "pystack remote --no-block": [*pystack, "--no-block"],
        "floor: bare start": [python, "-c", "pass"],
        "floor: start and imports": [python, "-c", IMPORTS % ", ".join(_imports(pid))],
    }


def _row(name: str, runs: Sequence[harness.Run]) -> list[str]:
    return [
        name,
        harness.spread(harness.wall(runs)).text(1000),
        harness.spread(harness.cpu(runs)).text(1000),
        harness.errors(runs),
    ]


def _ratios(runs: Runs, name: str) -> list[str]:
    row = [name]
    for other in REFERENCES:
        wall = harness.ratios(harness.wall(runs[name]), harness.wall(runs[other]))
        cpu = harness.ratios(harness.cpu(runs[name]), harness.cpu(runs[other]))
        row.append(f"{wall.text(digits=2)} · {cpu.text(digits=2)}")
    return row


@contextlib.contextmanager
def target(python: str) -> Iterator[int]:
    """The pid of a running target; it ends with its standard input, and is killed if it does not."""
    process = subprocess.Popen(
        [python, str(TARGET)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=harness.clean_environment()
    )
    with process:
        try:
            if process.stdout is None or process.stdout.readline() != b"ready\n":
                raise harness.Failed(f"the target did not start under {python}")
            yield process.pid
        finally:
            process.kill()


def _counts(pid: int) -> str:
    """What each of the two readers with a machine-readable answer saw; pellucid has to have seen everything."""
    near = Path(sys.executable)
    ours = _json([str(near.with_name("pellucid")), "stacks", str(pid), "--json"])["threads"]
    saw = f"pellucid saw {len(ours)} threads with {sum(len(thread['frames']) for thread in ours)} frames"
    if saw != f"pellucid saw {THREADS} threads with {FRAMES} frames":
        raise harness.Failed(f"{saw}; there are {THREADS} with {FRAMES}")
    try:
        theirs = _json([str(near.with_name("py-spy")), "dump", "--json", "--pid", str(pid)])
    except harness.Failed as failure:
        return f"{saw}. py-spy: {failure}."
    frames = sum(len(thread["frames"]) for thread in theirs)
    return f"{saw}; py-spy {len(theirs)} with {frames}."


def _json(line: Sequence[str]) -> Any:
    ended = harness.command(line)
    if ended.run.error:
        raise harness.Failed(f"{' '.join(line)} {ended.run.error}")
    return json.loads(ended.output)


def _read_seconds(pid: int) -> float:
    pellucid = str(Path(sys.executable).with_name("pellucid"))
    return float(_json([pellucid, "stacks", str(pid), "--json"])["cost"]["wall_s"])


def _imports(pid: int) -> list[str]:
    """Every module that `pellucid stacks` imports and that bare Python had not, in the order of -X importtime."""
    line = ["-X", "importtime", str(Path(sys.executable).with_name("pellucid")), "stacks", str(pid)]
    never = {"typing_extensions"}  # asked for by msgspec, and refused (`present/cli`)
    bare = never | set(imported(harness.command([sys.executable, "-X", "importtime", "-c", "pass"]).progress))
    return [name for name in imported(harness.command([sys.executable, *line]).progress) if name not in bare]


def imported(output: str) -> list[str]:
    """The module names in what `python -X importtime` printed: `import time: self | cumulative | name`."""
    lines = (line for line in output.splitlines() if line.startswith("import time:"))
    return [line.rpartition("|")[2].strip() for line in lines if not line.endswith("imported package")]
