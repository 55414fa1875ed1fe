"""The flight recorder: what `pellucid record` costs beside py-spy at the same rate, and what a SIGKILL at any moment leaves.

CPU is that of the recording process in twelve seconds, from five seconds after it has begun, so that neither start counts. py-spy keeps stacks alone, and in memory until
it ends; the recorder keeps stacks, numbers, looks and findings, on the disk after two seconds.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from benchmarks import harness, machine
from pellucid.kernel import procfs
from pellucid.model.errors import PellucidError
from pellucid.recording import past
from pellucid.recording.reading import Recording

HZ = 10
BEGIN_S, SECONDS = 5.0, 12.0
GOAL = 0.005
KILLS, AT_ONCE = 100, 4
HERE = harness.here()
TARGETS: dict[str, list[Path | str]] = {
    "a small server, 9 threads": [HERE / "benchmarks" / "targets" / "serving_threads.py"],
    "one thread that computes": [HERE / "tests" / "targets" / "ladder.py"],
    "50 threads that wait": [HERE / "benchmarks" / "targets" / "waiting_threads.py", "50"],
}


class Used(Struct, frozen=True):
    """`share` of a core, by the kernel; `own_word`: what it says itself."""

    share: float
    own_word: float | None = None


def report() -> str:
    parts = [
        machine.described(["pellucid", "py-spy"]),
        f"{HZ} samples a second for {SECONDS:g} s, each tool in turn. Goal: at most {100 * GOAL:g} % of a core per process.\n",
        "| target | pellucid record | its own word | py-spy record | ratio |",
        "|---|---|---|---|---|",
    ]
    for name, program in TARGETS.items():
        with _target(program) as pid, tempfile.TemporaryDirectory() as folder:
            ours = _pellucid(pid, Path(folder) / "ours.recording")
            theirs = _py_spy(pid, Path(folder) / "theirs.txt")
        own = f"{100 * ours.own_word:.2f} %" if ours.own_word is not None else "–"
        parts.append(
            f"| {name} | {100 * ours.share:.2f} % | {own} | {100 * theirs.share:.2f} % | {ours.share / theirs.share:.2f} |"
            if theirs.share
            else f"| {name} | {100 * ours.share:.2f} % | {own} | 0 | – |"
        )
    parts += ["", _soak()]
    return "\n".join(parts)


@contextlib.contextmanager
def _target(program: Sequence[Path | str]) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, *map(str, program)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise harness.Failed(f"{program[0]} has ended")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def _used(process: subprocess.Popen[bytes]) -> float:
    """Of a core, in the window."""
    time.sleep(BEGIN_S)
    began, cpu = time.monotonic(), procfs.stat(process.pid).cpu_s
    time.sleep(SECONDS)
    return (procfs.stat(process.pid).cpu_s - cpu) / (time.monotonic() - began)


def _pellucid(pid: int, path: Path) -> Used:
    line = [sys.executable, "-m", "pellucid", "record", str(pid), "-o", str(path), "-r", str(HZ)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if _begun(path):
                break
            if process.poll() is not None:
                raise harness.Failed(f"pellucid record has ended with {process.returncode}")
            time.sleep(0.1)
        else:
            raise harness.Failed("pellucid record had written nothing after a minute")
        share = _used(process)
        process.send_signal(signal.SIGINT)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
    with Recording(str(path)) as recording:
        first, last = recording.span()
        whole = recording.cost(first + BEGIN_S, last)
    return Used(share, whole.share)


def _begun(path: Path) -> bool:
    try:
        with Recording(str(path)) as recording:
            return bool(recording.processes())
    except PellucidError:
        return False


def _py_spy(pid: int, path: Path) -> Used:
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        raise harness.Failed("py-spy is not here: pip install -r benchmarks/requirements.txt")
    line = [
        str(program),
        "record",
        "-r",
        str(HZ),
        "-d",
        "600",
        "-f",
        "raw",
        "--idle",
        "-o",
        str(path),
        "--pid",
        str(pid),
    ]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return Used(_used(process))
    finally:
        process.kill()
        process.wait()


def _soak() -> str:
    """Recorders that are killed at random moments of their first three seconds of recording, or while they begin, on files that others began."""
    dice = random.Random(7)
    with tempfile.TemporaryDirectory() as folder, _target(TARGETS["a small server, 9 threads"]) as pid:
        rounds = [[dice.uniform(0.0, 3.0) for _ in range(KILLS // AT_ONCE)] for _ in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as several:
            found = list(
                several.map(lambda one: _killed(pid, Path(folder) / f"{one[0]}.recording", one[1]), enumerate(rounds))
            )
    unreadable = [word for each in found for word in each[0]]
    lost = harness.spread(value for each in found for value in each[1])
    return (
        f"SIGKILL at {KILLS} random moments (a quarter of them while they begin), {AT_ONCE} recorders at once, each going on in the file of the one before: {len(unreadable)} recordings could not "
        f"be read{'' if not unreadable else ' (' + unreadable[0] + ')'}. What was kept ended {lost.text(digits=1)} s before the kill."
    )


def _written(path: Path, process: subprocess.Popen[bytes], began: float) -> None:
    """Wait until the recorder has begun its part of the recording."""
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(PellucidError), Recording(str(path)) as recording:
            if any(session.began_at > began for session in recording.sessions()):
                return
        time.sleep(0.1)


def _killed(pid: int, path: Path, moments: list[float]) -> tuple[list[str], list[float]]:
    """(what could not be read, and why; seconds before each kill at which what is kept ends, where anything was kept since the start)."""
    unreadable, lost = [], []
    for place, moment in enumerate(moments):
        began = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "pellucid", "record", str(pid), "-o", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if place % 4:  # the others are killed while they begin
            _written(path, process, began)
        time.sleep(moment)
        if process.poll() is not None:
            unreadable.append(f"a recorder has ended by itself with {process.returncode}")
            continue
        os.kill(process.pid, signal.SIGKILL)
        killed = time.time()
        process.wait()
        if not path.exists():
            continue  # it had not begun
        try:
            with Recording(str(path)) as recording:
                processes = recording.processes()
                recording.report()
                if processes:
                    past.profile(recording, processes, processes[0].last_at - 10, processes[0].last_at)
                    if processes[0].last_at > began:
                        lost.append(killed - processes[0].last_at)
        except PellucidError as error:
            unreadable.append(error.said)
    return unreadable, lost
