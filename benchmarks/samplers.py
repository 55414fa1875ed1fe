"""The samplers that `benchmarks.profile` runs: their commands, what they say of themselves, and how their output becomes collapsed stacks."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from benchmarks import harness
from tests.interpreters import Interpreter


class Sampler(Struct, frozen=True):
    """`line(pid, rate, out)`: the command; `told(printed)`: (samples, what it dropped); `lines`: how its output becomes collapsed stacks."""

    name: str
    line: Callable[[int, int, str], list[str]]
    told: Callable[[str], tuple[int, str]]
    lines: Callable[[str], str]
    unit: Callable[[int], float] = lambda _rate: 1.0
    """What one sample counts in its output, at a rate."""
    per_thread: bool = False
    """It counts the stacks of all threads as samples."""
    status: str = ""
    """How it ends when all is well, where that is not 0."""


def _near(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _pellucid_told(printed: str) -> tuple[int, str]:
    match = re.search(r"(\d+) asked, (\d+) taken, (\d+) missed, (\d+) failed; of \d+ stacks (\d+) are cut", printed)
    if match is None:
        return 0, "?"
    missed, failed, moving = match[3], match[4], match[5]
    return int(match[2]), f"{missed} missed, {failed} failed, {moving} cut"


def _py_spy_told(printed: str) -> tuple[int, str]:
    match = re.search(r"Samples: (\d+) Errors: (\d+)", printed)
    behind = " (behind)" if "behind in sampling" in printed else ""
    return (int(match[1]), f"{match[2]} errors{behind}") if match else (0, "?")


def _austin_told(printed: str) -> tuple[int, str]:
    match = re.search(r"(\d+)/(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", printed).partition("Error rate")[2])
    return (0, f"{match[1]} errors") if match else (0, "?")


def _profiling_told(printed: str) -> tuple[int, str]:
    match = re.search(r"Captured ([\d,]+) samples", printed)
    errors = re.search(r"Error rate: ([\d.]+)", printed)
    missed = re.search(r"missed (\d+) samples", printed)
    told = f"error rate {errors[1]} %" if errors else "?"
    return int(match[1].replace(",", "")) if match else 0, told + (f", {missed[1]} missed" if missed else "")


PELLUCID = Sampler(
    "pellucid",
    lambda pid, rate, out: [
        _near("pellucid"),
        "profile",
        str(pid),
        "-d",
        "SECONDS",
        "-r",
        str(rate),
        "-o",
        out,
        "-F",
        "collapsed",
    ],
    _pellucid_told,
    _text,
    unit=lambda rate: 1e6 / rate,  # microseconds
)
_SPY = ["record", "-d", "SECONDS", "-f", "raw", "--idle"]
PY_SPY = Sampler(
    "py-spy",
    lambda pid, rate, out: [_near("py-spy"), *_SPY, "-r", str(rate), "-o", out, "--pid", str(pid)],
    _py_spy_told,
    _text,
    per_thread=True,
)
PY_SPY_FREE = Sampler(
    "py-spy --nonblocking",
    lambda pid, rate, out: [*PY_SPY.line(pid, rate, out), "--nonblocking"],
    _py_spy_told,
    _text,
    per_thread=True,
)


def austin(pythons: dict[str, Interpreter]) -> list[Sampler]:
    """Austin 4 needs glibc 2.38: where this machine's is older, it runs by the loader and libraries of a fetched CPython."""
    binary = _near("austin")
    line = [binary]
    if harness.command([binary, "--version"]).run.error:
        folders = [
            Path(each.path).parents[1] / "lib" for each in pythons.values() if "pellucid/interpreters" in each.path
        ]
        loaders = [found for folder in folders for found in folder.glob("*/ld-linux-*.so.*")]
        if not loaders:
            return []
        line = [str(loaders[-1]), "--library-path", str(loaders[-1].parent), binary]

    def converted(out: str) -> str:
        ended = harness.command([_near("mojo2austin"), out, out + ".txt"])
        if ended.run.error:
            raise OSError(ended.run.error)
        return re.sub(
            r" \d+$", " 1", _text(out + ".txt"), flags=re.MULTILINE
        )  # a line is a sample, its number the time

    return [
        Sampler(
            "austin",
            lambda pid, rate, out: [*line, "-i", f"{1_000_000 // rate}us", "-x", "SECONDS", "-o", out, "-p", str(pid)],
            _austin_told,
            converted,
            per_thread=True,
            status="ended with 254",
        )
    ]


def profiling(python: Interpreter) -> Sampler:
    words = ["-m", "profiling.sampling", "attach", "-a", "-d", "SECONDS", "--collapsed"]
    return Sampler(
        "profiling.sampling",
        lambda pid, rate, out: [python.path, *words, "-r", str(rate), "-o", out, str(pid)],
        _profiling_told,
        _text,
    )
