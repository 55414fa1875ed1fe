"""Sampling from outside: `pellucid profile` beside py-spy, austin and CPython 3.15's own profiling.sampling.

The target never holds still (tests/targets/ladder.py): each of its lines that calls names its callee, so that a stack that was read torn is
seen, and it counts how often it got to the bottom, so that what a sampler costs it is seen. CPU of a sampler is that of its process less
what it takes to start. The bias of each is how far its shares of innermost functions are from those of stacks that were read while the
process was stopped at random moments.
"""

import contextlib
import itertools
import math
import mmap
import os
import random
import re
import signal
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator

from msgspec import Struct

from benchmarks import harness, machine
from benchmarks.samplers import PELLUCID, PY_SPY, PY_SPY_FREE, Sampler, austin, profiling
from pellucid.kernel import procfs
from pellucid.model.hot import UNKNOWN, hottest
from pellucid.observe.sampler import Asked, sample
from pellucid.runtimes import cpython
from tests.interpreters import Interpreter, find

ROUNDS = 3
SECONDS = 2  # the peers take whole seconds
RATES = (100, 1000, 10_000)
GOAL = 1000
"""The rate that the goals are about."""
REFERENCE = 1000
LEAF = "sum_of_ten"
"""The longest of the short calls."""
TIMEOUT_S = 7.0  # for SECONDS of sampling: what takes longer can't keep up
TARGET = harness.here() / "tests" / "targets" / "ladder.py"
SOURCE = TARGET.read_text(encoding="utf-8").splitlines()
_FRAME = re.compile(r"^(?:(?P<name>[^;]+) \([^()]*:(?P<line>\d+)\)|[^;]*?:(?P<name2>[^:;]+):(?P<line2>\d+))$")

Stack = tuple[tuple[str, int], ...]
"""Outermost first: (function, line)."""


class Taken(Struct, frozen=True):
    """One run: CPU and wall of the sampler; what it says it took; the stacks of the busy thread that it wrote, with how often."""

    cpu_s: float
    samples: int
    dropped: str
    stacks: tuple[tuple[Stack, int], ...]
    speed: float
    error: str = ""


class Target(Struct, frozen=True):
    pid: int
    counter: mmap.mmap
    threads: int

    def count(self) -> int:
        found: int = struct.unpack("q", self.counter[:8])[0]
        return found


def report() -> str:
    pythons = {python.version: python for python in find()}
    if "3.13" not in pythons:
        raise harness.Failed("there is no CPython 3.13 to sample")
    goals = (
        "Goals at 1 kHz: CPU ≤ 0.25 × py-spy, ≤ 0.5 × profiling.sampling, ≤ 2 × austin with fewer impossible stacks; "
        "the target at ≥ 0.98 of its speed."
    )
    parts = [
        machine.described(["pellucid", "py-spy", "austin-dist"]),
        f"{SECONDS} s a run, {ROUNDS} rounds at {GOAL} Hz and one at the others, every sampler in turn beside the target without one. A sample is one look at all threads.",
        goals + "\n",
    ]
    parts.append(_rates(pythons["3.13"], [PELLUCID, PY_SPY, PY_SPY_FREE, *austin(pythons)]))
    if "3.15" in pythons:
        own = profiling(pythons["3.15"])
        parts.append(_rates(pythons["3.15"], [PELLUCID, PY_SPY, own]))
        parts.append(_shapes(pythons["3.15"], [PELLUCID, PY_SPY, own]))
    parts.append(_shapes(pythons["3.13"], [PELLUCID, PY_SPY, *austin(pythons)]))
    parts += [_bias(pythons[version]) for version in ("3.11", "3.15") if version in pythons]
    return "\n".join(parts)


def _rates(python: Interpreter, samplers: list[Sampler]) -> str:
    rows, verdicts = [], []
    with target(python, 14, 0) as at:
        true = _stopped(at.pid)
        start = {each.name: _start(each, at) for each in samplers}
        for rate in RATES:
            alone: Callable[[], Taken] = lambda: _alone(at)  # noqa: E731
            contenders = {each.name: (lambda each=each, rate=rate: _run(each, at, rate, SECONDS)) for each in samplers}
            runs = harness.interleave({"no sampler": alone, **contenders}, ROUNDS if rate == GOAL else 1, warm_up=0)
            for each in samplers:
                row = _row(each.name, rate, runs[each.name], runs["no sampler"], start[each.name])
                rows.append([*row[:6], *_biased(runs[each.name], true), *row[6:]])
            if rate == GOAL:
                verdicts = _verdicts(runs, start, samplers)
    head = [
        "30 frames, 1 thread",
        "Hz",
        "µs CPU a sample",
        "started, s CPU",
        "samples a second",
        "dropped, as told",
        f"in {LEAF}",
        "shares apart, points",
        "impossible stacks",
        "target's speed",
        "failed",
    ]
    return (
        f"### A target on CPython {python.version}\n\n{_told(true)}\n\n"
        + harness.table(head, rows)
        + "\n"
        + "\n".join(verdicts)
        + "\n"
    )


def _shapes(python: Interpreter, samplers: list[Sampler]) -> str:
    rows = []
    start: dict[str, float] = {}
    for title, stay, waiting, rate in (
        ("50 threads", 14, 49, 1000),
        ("500 threads", 14, 499, 100),
        ("500 frames", 484, 0, 1000),
    ):
        with target(python, stay, waiting) as at:
            runs = {each.name: [_run(each, at, rate, SECONDS)] for each in samplers}
            alone = [_alone(at)]
            start = start or {each.name: _start(each, at) for each in samplers}
            rows += [[title, *_row(each.name, rate, runs[each.name], alone, start[each.name])] for each in samplers]
    head = [
        "",
        f"CPython {python.version}",
        "Hz",
        "µs CPU a sample",
        "started, s CPU",
        "samples a second",
        "dropped, as told",
        "impossible stacks",
        "target's speed",
        "failed",
    ]
    return harness.table(head, rows)


def _row(name: str, rate: int, runs: list[Taken], alone: list[Taken], start_s: float) -> list[str]:
    good = [run for run in runs if not run.error]
    bad, whole = _impossible(good)
    return [
        name,
        str(rate),
        harness.spread(_each(run, start_s) for run in good).text(1e6, 0),
        f"{start_s:.2f}",
        harness.spread(run.samples / SECONDS for run in good).text(1, 0),
        "; ".join(dict.fromkeys(run.dropped for run in good)) or "–",
        f"{100 * bad / whole:.2f} % ({bad} of {whole})" if whole else "–",
        harness.ratios([run.speed for run in runs], [run.speed for run in alone]).text(digits=2),
        next((run.error for run in runs if run.error), "0"),
    ]


def _each(run: Taken, start_s: float) -> float | None:
    """CPU seconds of one sample, without the start."""
    return max(0.0, run.cpu_s - start_s) / run.samples if run.samples else None


def _verdicts(runs: dict[str, list[Taken]], start: dict[str, float], samplers: list[Sampler]) -> list[str]:
    ours = [_each(run, start["pellucid"]) for run in runs["pellucid"]]
    told = []
    for each in samplers[1:]:
        theirs = [_each(run, start[each.name]) for run in runs[each.name]]
        told.append(f"{harness.ratios(ours, theirs).text(digits=2)} × {each.name}")
    return ["CPU of a sample of pellucid at 1 kHz: " + ", ".join(told) + ".\n"]


def _impossible(runs: list[Taken]) -> tuple[int, int]:
    """(impossible stacks, stacks) of the busy thread."""
    bad = whole = 0
    for run in runs:
        for stack, count in run.stacks:
            if any(name == "main" for name, _ in stack) or not any(name == "wait" for name, _ in stack):
                whole += count
                bad += count * (not possible(stack))
    return bad, whole


def possible(stack: Stack) -> bool:
    """Whether every line calls the function that was found called by it, from the root."""
    if not stack or stack[0][0] != "<module>":
        return False
    for (caller, line), (callee, _) in itertools.pairwise(stack):
        text = SOURCE[line - 1] if 0 < line <= len(SOURCE) else ""
        if f"{callee}(" not in text.removeprefix(f"def {caller}(): "):
            return False
    return True


def _start(sampler: Sampler, at: Target) -> float:
    """CPU seconds of a run with one sample. Raises Failed."""
    good = [run.cpu_s for run in (_run(sampler, at, 1, 1) for _ in range(2)) if not run.error]
    if not good:
        raise harness.Failed(f"{sampler.name} does not even start")
    return min(good)


def _alone(at: Target) -> Taken:
    before, began = at.count(), time.perf_counter()
    time.sleep(1)
    return Taken(0.0, 0, "", (), (at.count() - before) / (time.perf_counter() - began))


def _run(sampler: Sampler, at: Target, rate: int, seconds: int) -> Taken:
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        before, began = at.count(), time.perf_counter()
        line = [word.replace("SECONDS", str(seconds)) for word in sampler.line(at.pid, rate, out)]
        ended = harness.command(line, timeout_s=TIMEOUT_S)
        speed = (at.count() - before) / (time.perf_counter() - began)
        if ended.run.error and not (sampler.status and ended.run.error.startswith(sampler.status)):
            return Taken(0.0, 0, "", (), speed, ended.run.error)
        samples, dropped = sampler.told(ended.output + ended.progress)
        try:
            stacks = _stacks(sampler.lines(out), sampler.unit(rate))
        except OSError as error:
            return Taken(0.0, 0, "", (), speed, f"wrote nothing: {error}")
    samples = samples or sum(count for _, count in stacks)
    return Taken(ended.run.cpu_s, samples // at.threads if sampler.per_thread else samples, dropped, stacks, speed)


def _stacks(text: str, unit: float) -> tuple[tuple[Stack, int], ...]:
    """Collapsed stacks; what is no frame (a process, a thread, a mark) is left out, and stacks that are marked as moving."""
    found = []
    for row in text.splitlines():
        path, _, count = row.rpartition(" ")
        if not path or row.startswith("#") or "(moving)" in path:
            continue
        frames = []
        for word in path.split(";"):
            match = _FRAME.match(word)
            if match and not word.startswith(("tid:", "T0:", "P")):
                frames.append((match["name"] or match["name2"], int(match["line"] or match["line2"])))
        if frames:
            found.append((tuple(frames), round(float(count) / unit)))
    return tuple(found)


@contextlib.contextmanager
def target(python: Interpreter, stay: int, waiting: int) -> Iterator[Target]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(8))
        file.flush()
        line = [python.path, str(TARGET), str(stay), str(waiting), file.name]
        with subprocess.Popen(line, stdout=subprocess.PIPE, env=harness.clean_environment()) as process:
            try:
                if process.stdout is None or process.stdout.readline() != b"ready\n":
                    raise harness.Failed(f"the target did not start under {python.path}")
                time.sleep(0.3)
                yield Target(process.pid, mmap.mmap(file.fileno(), 8), waiting + 1)
            finally:
                process.kill()


def _bias(python: Interpreter) -> str:
    """Innermost functions as the sampler sees them, and as they are when the process is stopped at random moments."""
    lines = []
    with target(python, 14, 0) as at:
        true = _stopped(at.pid)
        for rate in (100, GOAL):
            profile = sample(procfs.process(at.pid), Asked(rate_hz=rate, seconds=4))
            ours = Counter(
                {hot.qualname: hot.self_samples for hot in hottest(profile, most=1 << 20) if hot.qualname != UNKNOWN}
            )
            share, apart = _compared(ours, true)
            lines.append(
                f"at {rate} Hz {share} in {LEAF}, {apart} points apart in all, {profile.taking.unstable} of {profile.taking.taken} cut"
            )
    return f"### Shares on CPython {python.version}\n\n{_told(true)} pellucid: {'; '.join(lines)}.\n"


def _told(true: Counter[str]) -> str:
    whole = true.total()
    return f"{whole} stacks were read while the process was stopped at random moments: {100 * true[LEAF] / whole:.1f} % in {LEAF}."


def _biased(runs: list[Taken], true: Counter[str]) -> tuple[str, str]:
    """The share of LEAF in the stacks of a sampler, and how far its shares are from the true ones."""
    found = Counter[str]()
    for run in runs:
        for stack, count in run.stacks:
            found[stack[-1][0]] += count
    return _compared(found, true)


def _compared(found: Counter[str], true: Counter[str]) -> tuple[str, str]:
    """The share of LEAF; half of the sum of all differences, with what chance alone would make it between two samples of these sizes."""
    ours, theirs = found.total(), true.total()
    if not ours:
        return "–", "–"
    apart = sum(abs(found[name] / ours - true[name] / theirs) for name in {*found, *true}) / 2
    shares = [count / theirs for count in true.values()]
    chance = sum((2 / math.pi * share * (1 - share) * (1 / ours + 1 / theirs)) ** 0.5 for share in shares) / 2
    return f"{100 * found[LEAF] / ours:.1f} %", f"{100 * apart:.1f} (chance: {100 * chance:.1f})"


def _stopped(pid: int) -> Counter[str]:
    found = Counter[str]()
    with cpython.attach(pid) as runtime:
        for _ in range(REFERENCE):
            time.sleep(random.uniform(0.0005, 0.0015))
            os.kill(pid, signal.SIGSTOP)
            try:
                while procfs.stat(pid).letter != "T":
                    time.sleep(0.0001)
                for stack in runtime.read().stacks:
                    if stack.frames:
                        found[stack.frames[0].qualname] += 1
            finally:
                os.kill(pid, signal.SIGCONT)
    return found
