"""What it costs to say which kind of memory trouble it is: the table and the counters of `pellucid memory`, beside one census of the heap
(`pellucid heap` without its references) and what psutil tells from /proc.

Nothing is timed before the table has counted the small objects as the process itself does (sys.getallocatedblocks). All run in this
process, attached already; what is compared is one look. CPU is that of this process: the kernel's part of the reading is in it.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from benchmarks import harness, machine
from benchmarks.harness import Run
from pellucid.observe.heap import census
from pellucid.observe.memory import Watch

ROUNDS = 9
SIZES = (300_000, 1_500_000)
TARGET = harness.here() / "benchmarks" / "targets" / "records.py"
_TABLE, _COUNTERS, _CENSUS = "memory: the table", "memory: the counters", "a census (heap)"
_AGREES = 0.01


def report() -> str:
    parts = [machine.described(["pellucid", "numpy", "psutil"])]
    for records in SIZES:
        with _target(records) as (pid, blocks), Watch(pid) as watch:
            _agreed(watch, blocks)
            size = psutil.Process(pid).memory_info().rss
            runs = harness.interleave(_contenders(pid, watch), ROUNDS)
        parts += [f"### {records:,} records, {blocks:,} blocks, {size >> 20} MiB\n", _shown(runs)]
    return "\n".join(parts)


def _contenders(pid: int, watch: Watch) -> dict[str, Callable[[], Run]]:
    process = psutil.Process(pid)
    return {
        _TABLE: _timed(lambda: watch.sample(table=True)),
        _COUNTERS: _timed(lambda: watch.sample(table=False)),
        _CENSUS: _timed(lambda: census(pid)),
        "psutil memory_full_info": _timed(process.memory_full_info),
        "psutil memory_maps": _timed(process.memory_maps),
    }


def _timed(look: Callable[[], object]) -> Callable[[], Run]:
    def run() -> Run:
        began, cpu = time.perf_counter(), time.process_time()
        look()
        return Run(time.perf_counter() - began, time.process_time() - cpu)

    return run


def _shown(runs: dict[str, list[Run]]) -> str:
    base = harness.cpu(runs[_CENSUS])
    rows = [
        [
            name,
            harness.spread(harness.wall(measured)).text(1000),
            harness.spread(harness.cpu(measured)).text(1000),
            harness.ratios(harness.cpu(measured), base).text(digits=4),
            harness.errors(measured),
        ]
        for name, measured in runs.items()
    ]
    return harness.table(["one look", "ms", "CPU ms", "CPU, of a census", "errors"], rows)


def _agreed(watch: Watch, blocks: int) -> None:
    watch.sample(table=True)
    told = watch.tables[-1].pool_blocks
    if abs(told - blocks) > _AGREES * blocks:
        raise harness.Failed(f"the table counts {told} blocks in pools, the process itself {blocks}")


@contextmanager
def _target(records: int) -> Iterator[tuple[int, int]]:
    with subprocess.Popen([sys.executable, str(TARGET), str(records)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word, _, blocks = process.stdout.readline().partition(" ")
        if word != "ready":
            raise harness.Failed("the target did not start")
        try:
            yield process.pid, int(blocks)
        finally:
            process.kill()
