"""The objects of a process with 2.8 million of them: how long it stands still, how long the answer takes, and how much memory that takes.

`pellucid heap` copies the memory and reads the copy; guppy3, objgraph and a walk with gc.get_referents and sys.getsizeof run in the process,
which does nothing else meanwhile. memray attaches to it and sees what is allocated from then on: how long the attaching takes is told.
py-spy and pystack tell nothing of the heap. Beside that: what each step costs an object, and the dominators of large graphs.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from benchmarks import harness, machine

ROUNDS = 3
SIZE = 200_000
TARGET = harness.here() / "benchmarks" / "targets" / "many_objects.py"
INSIDE = {
    "walk": "a walk inside, by gc and getsizeof",
    "guppy": "guppy3 inside, hpy().heap()",
    "objgraph": "objgraph inside, typestats()",
}
GRAPHS = ((500_000, 1_000_000), (5_000_000, 10_000_000))
PAUSE_GOAL_MS, WALK_GOAL, CENSUS_GOAL_US, EDGES_GOAL_US, MEMORY_GOAL = 20.0, 50.0, 0.3, 1.2, 2.5


class Look(Struct, frozen=True):
    """One answer: seconds that the process stood still (None: it was not stopped), seconds until the answer, objects that were counted.

    `peak_bytes` of the one who looked from outside, beside the private memory of the process at that moment; 0 for who looked from inside.
    """

    still_s: float | None
    wall_s: float
    objects: int
    peak_bytes: int = 0
    anonymous_bytes: int = 0
    error: str = ""


def report() -> str:
    with target() as process:
        anonymous = _anonymous(process.pid)
        contenders: dict[str, Callable[[], Look]] = {
            "pellucid heap": lambda: pellucid(process.pid),
            "pellucid heap --no-pause": lambda: pellucid(process.pid, "--no-pause"),
        }
        for word, name in INSIDE.items():
            contenders[name] = lambda word=word: inside(process, word)  # type: ignore[misc]
        looks = harness.interleave(contenders, ROUNDS)
        steps = [parts(process.pid) for _ in range(ROUNDS)]
        attached = memray(process)
    ours, walked = looks["pellucid heap"], looks[INSIDE["walk"]]
    objects = ours[0].objects
    pause = harness.spread(look.still_s * 1e9 / look.objects if look.still_s is not None else None for look in ours)
    ratio = harness.ratios([look.still_s for look in walked], [look.still_s for look in ours])
    memory = harness.spread(look.peak_bytes / look.anonymous_bytes for look in ours if not look.error)
    goals = [
        (
            "stands still, ms for a million objects",
            f"≤ {PAUSE_GOAL_MS:.0f}",
            pause.text(),
            pause.median <= PAUSE_GOAL_MS,
        ),
        ("the walk inside takes so many times longer", f"≥ {WALK_GOAL:.0f}", ratio.text(), ratio.median >= WALK_GOAL),
        *_step_goals(steps),
        (
            "our memory over the process's (RssAnon)",
            f"≤ {MEMORY_GOAL}",
            memory.text(digits=2),
            memory.median <= MEMORY_GOAL,
        ),
    ]
    return "\n".join(
        [
            machine.described(["pellucid", "numpy", "guppy3", "objgraph", "memray"]),
            f"One process with {objects:,} objects and {anonymous >> 20:,} MB of private memory; {ROUNDS} rounds, each asked once a round.\n",
            _table(looks),
            f"memray attach: {attached}\n",
            "### What was aimed at\n",
            harness.table(
                ["", "goal", "measured", ""], [[*row[:3], "reached" if row[3] else "missed"] for row in goals]
            ),
            "### Dominators and retained sizes\n",
            _graphs(),
        ]
    )


def _table(looks: dict[str, list[Look]]) -> str:
    walked = [look.still_s for look in looks[INSIDE["walk"]]]
    rows = []
    for name, several in looks.items():
        still = [None if look.error else look.still_s for look in several]
        errors = [look.error for look in several if look.error]
        rows.append(
            [
                name,
                harness.spread(still).text(1000) if any(one is not None for one in still) else "never",
                harness.ratios(still, walked).text(digits=4),
                harness.spread(None if look.error else look.wall_s for look in several).text(digits=2),
                f"{several[0].objects:,}",
                f"{len(errors)} of {len(several)}: {errors[0]}" if errors else "0",
            ]
        )
    return harness.table(["", "stands still, ms", "× the walk", "answer, s", "objects", "failed"], rows)


def _step_goals(steps: list[tuple[float, float]]) -> list[tuple[str, str, str, bool]]:
    census, edges = (harness.spread(step[number] * 1e6 for step in steps) for number in (0, 1))
    return [
        ("census, µs an object (CPU)", f"≤ {CENSUS_GOAL_US}", census.text(digits=2), census.median <= CENSUS_GOAL_US),
        ("references, µs an object (CPU)", f"≤ {EDGES_GOAL_US}", edges.text(digits=2), edges.median <= EDGES_GOAL_US),
    ]


def pellucid(pid: int, *more: str) -> Look:
    """The whole command, as a person runs it, with its peak."""
    line = [str(Path(sys.executable).with_name("pellucid")), "heap", str(pid), "--json", *more]
    began = time.perf_counter()
    peak = 0
    with tempfile.TemporaryFile() as printed:
        with subprocess.Popen(
            line, stdout=printed, stderr=subprocess.DEVNULL, env=harness.clean_environment()
        ) as child:
            while child.poll() is None:
                peak = max(peak, _high(child.pid))
                time.sleep(0.01)
        wall = time.perf_counter() - began
        printed.seek(0)
        text = printed.read()
    if child.returncode:
        return Look(None, wall, 0, error=f"ended with {child.returncode}")
    census = json.loads(text)["census"]
    return Look(census["paused_s"], wall, census["objects"], peak, census["anonymous_bytes"])


def _high(pid: int) -> int:
    """VmHWM (proc_pid_status(5)): ru_maxrss would count what the one had who started it."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("VmHWM:")), 0)


def inside(process: "subprocess.Popen[str]", word: str) -> Look:
    """The process walks its own heap, and does nothing else meanwhile."""
    assert process.stdout is not None
    _say(process, word)
    count, seconds, *error = process.stdout.readline().split(maxsplit=2)
    return Look(float(seconds), float(seconds), int(count), error=" ".join(error))


def parts(pid: int) -> tuple[float, float]:
    """(seconds of CPU an object of the census, of the references)."""
    from pellucid.runtimes.cpython import attach, census, heap_edges, image

    with attach(pid) as python:
        taken = image.take(pid, pause=True, limit=1 << 40)
        metaclass = census.metaclass(python.memory, python.layout, python.runtime)
        began = time.process_time()
        counted = census.census(taken, python.memory, python.layout, metaclass)
        done = time.process_time()
        heap_edges.link(counted)
        return (done - began) / len(counted), (time.process_time() - done) / len(counted)


def memray(process: "subprocess.Popen[str]") -> str:
    """How long attaching takes, and how long the process stands still by it; done last, for it leaves a library in the process.

    It attaches when the process next asks for memory: the process works meanwhile, for one that waits would be waited for.
    """
    _say(process, "work")
    with tempfile.TemporaryDirectory() as folder:
        line = [
            sys.executable,
            "-m",
            "memray",
            "attach",
            "--duration",
            "1",
            "-o",
            f"{folder}/out.bin",
            str(process.pid),
        ]
        ended = harness.command(line, timeout_s=40)
        _say(process, "stop")
        assert process.stdout is not None
        longest = int(process.stdout.readline().split()[0]) / 1e6
        process.stdout.readline()  # of "stop"
    if ended.run.error:
        return f"failed after {ended.run.wall_s:.1f} s: {ended.run.error}"
    return (
        f"{ended.run.wall_s:.1f} s until it was attached, for {longest * 1000:.0f} ms of which the process stood still (one run); of the objects "
        "that were there before it sees none, and a process that waits is not attached to until it asks for memory"
    )


def _say(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def _graphs() -> str:
    rows = []
    for objects, edges in GRAPHS:
        seconds, held, peak = _dominators(objects, edges)
        rows.append([f"{objects:,}", f"{edges:,}", f"{seconds:.2f}", f"{held:.2f}", f"{peak >> 20:,}"])
    return harness.table(["objects", "references", "dominators, s of CPU", "retained, s of CPU", "peak MB"], rows)


def _dominators(objects: int, edges: int) -> tuple[float, float, int]:
    """Of a tree with as many other references across it, in a process of its own."""
    program = f"""
import time, numpy as np
from pellucid.runtimes.dominators import dominators
from pellucid.runtimes.references import References, retained
rng = np.random.default_rng(1)
n, e = {objects}, {edges}
tree = (np.arange(1, n) * rng.random(n - 1) ** 0.3).astype(np.int32)
sources = np.concatenate((tree, rng.integers(0, n, e - n + 1).astype(np.int32)))
targets = np.concatenate((np.arange(1, n, dtype=np.int32), rng.integers(0, n, e - n + 1).astype(np.int32)))
graph = References.of(n, sources, targets)
del tree, sources, targets
began = time.process_time()
idom = dominators(graph, np.zeros(1, np.int32))
done = time.process_time()
retained(idom, np.ones(n, np.int64))
high = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(done - began, time.process_time() - done, high)
"""
    ended = harness.command([sys.executable, "-c", program], timeout_s=200)
    if ended.run.error:
        raise harness.Failed(f"dominators of {edges:,} references: {ended.run.error}")
    seconds, held, peak = ended.output.split()
    return float(seconds), float(held), int(peak) << 10


def _anonymous(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("RssAnon:"))


@contextmanager
def target() -> Iterator["subprocess.Popen[str]"]:
    """A process with that heap."""
    line = [sys.executable, str(TARGET), str(SIZE)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise harness.Failed("the process with many objects did not start")
            yield process
        finally:
            process.kill()
