"""Contenders run in turn, A B C, B C A, C A B, ...: what the machine does meanwhile hits all of them alike.

A number in the tables is a median with its smallest and largest value, and a ratio is the median of the ratios inside
each round. A run that failed is counted and shown, never dropped in silence; its time is not used.
"""

import os
import select
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

from msgspec import Struct

Result = TypeVar("Result")


class Failed(Exception):  # noqa: N818  it is the outcome of a benchmark, which its caller prints
    """A benchmark has no result: an answer was wrong, a server did not start, a request was refused."""


class Run(Struct, frozen=True):
    """One run: seconds, and why it failed ("" if it did not)."""

    wall_s: float
    cpu_s: float
    error: str = ""


class Ended(Struct, frozen=True):
    """A command that ran to its end: its run, and what it printed to stdout and stderr."""

    run: Run
    output: str
    progress: str


class Spread(Struct, frozen=True):
    """A median with its extremes, over `count` values."""

    median: float
    low: float
    high: float
    count: int

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """`12.3 (11.9–14.0)`; a dash where there was no value."""
        if not self.count:
            return "–"
        median, low, high = (f"{value * scale:.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median} ({low}–{high})"


def spread(values: Iterable[float | None]) -> Spread:
    """Of the values that are there; None (a failed run) is none."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return Spread(0.0, 0.0, 0.0, 0)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], len(ordered))


def ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Spread:
    """Ours over theirs, round by round; a round in which either has no value counts for nothing."""
    return spread(
        mine / other if mine is not None and other else None for mine, other in zip(ours, theirs, strict=True)
    )


def verdict(goal: str, limit: float, measured: Spread, digits: int = 2) -> str:
    """`Goal: at most 5 times, ...: reached, 3.42 (3.10–3.90).` or `missed`; the goal's own words come before."""
    if not measured.count:
        return f"{goal}: not measured."
    return f"{goal}: {'reached' if measured.median <= limit else 'missed'}, {measured.text(digits=digits)}."


def interleave(
    contenders: Mapping[str, Callable[[], Result]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[Result]]:
    """Every contender once a round, each round beginning with the next one. Warm-up rounds run and are forgotten."""
    names = list(contenders)
    results: dict[str, list[Result]] = {name: [] for name in names}
    for turn in range(warm_up + rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            result = contenders[name]()
            if turn >= warm_up:
                results[name].append(result)
    return results


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of this process without the variables that change what an interpreter does at start-up."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "NO_COLOR": "1", **more}


def command(
    arguments: Sequence[str], *, timeout_s: float = 60.0, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a command to its end: wall seconds from before the spawn to its exit, CPU of it and the children it waited for.

    What it prints goes to a file, so that no pipe slows it. After `timeout_s` it is killed, and that is its error.
    """
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complained:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, printed.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, complained.fileno(), 2),
        ]
        environment = clean_environment() if environment is None else environment
        began = time.perf_counter()
        pid = os.posix_spawnp(arguments[0], list(arguments), environment, file_actions=actions)
        in_time = _wait(pid, timeout_s)
        _, status, usage = os.wait4(pid, 0)
        wall_s = time.perf_counter() - began
        output, progress = (_all_of(file) for file in (printed, complained))
    error = ""
    if not in_time:
        error = f"did not end within {timeout_s:.0f} s"
    elif code := os.waitstatus_to_exitcode(status):
        error = f"ended with {code}: {_last_line(progress) or _last_line(output)}"
    run = Run(wall_s, usage.ru_utime + usage.ru_stime, error)
    return Ended(run, output, progress)


def timed(arguments: Sequence[str]) -> Callable[[], Run]:
    """A contender that runs this command."""
    return lambda: command(arguments).run


def _wait(pid: int, timeout_s: float) -> bool:
    """Wait for the exit without reaping, so that wait4 can still tell the CPU time; kill at the deadline."""
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if poller.poll(timeout_s * 1000):
            return True
        os.kill(pid, 9)
        return False
    finally:
        os.close(pidfd)


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1][:200] if lines else ""


def good(runs: Sequence[Run], value: Callable[[Run], float]) -> list[float | None]:
    """One value a run, None where the run failed: the shape that `ratios` takes."""
    return [None if run.error else value(run) for run in runs]


def wall(runs: Sequence[Run]) -> list[float | None]:
    return good(runs, lambda run: run.wall_s)


def cpu(runs: Sequence[Run]) -> list[float | None]:
    return good(runs, lambda run: run.cpu_s)


def errors(runs: Sequence[Run]) -> str:
    """`0`, or how many failed and the first reason."""
    failed = [run.error for run in runs if run.error]
    return f"{len(failed)} of {len(runs)}: {failed[0]}" if failed else "0"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a `|` inside a cell is escaped."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def replace_section(text: str, name: str, body: str) -> str:
    """`text` with its section `## name` replaced by `body`, or added at the end."""
    head, *sections = text.split("\n## ")
    kept = {section.partition("\n")[0].strip(): section.partition("\n")[2].strip() for section in sections}
    kept[name] = body.strip()
    return head.strip() + "\n" + "".join(f"\n## {title}\n\n{content}\n" for title, content in kept.items())


def here() -> Path:
    """The top of the checkout."""
    return Path(__file__).resolve().parent.parent
