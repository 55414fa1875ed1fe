"""`stacks --tasks` of a JVM: its virtual threads, as tasks."""

import time

from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.model import Cost
from pellucid.model.report import TasksReport
from pellucid.model.task import AsyncTask
from pellucid.runtimes.jvm.attach import Attach
from pellucid.runtimes.jvm.virtual import VirtualThread, virtual_threads


def tasks(pid: int) -> TasksReport:
    """Raises NotUnderstood for a JVM before Java 21, and what `Attach` raises."""
    began, cpu = time.perf_counter(), time.process_time()
    process = procfs.process(pid)
    with Attach(pid, "stacks") as attach:
        found = virtual_threads(attach)
        process = replace(process, runtime=attach.jvm.name)
    return TasksReport(
        process=process,
        taken_at=time.time(),
        gaps=(),
        tasks=tuple(_task(one) for one in found),
        cost=Cost(wall_s=time.perf_counter() - began, cpu_s=time.process_time() - cpu, stacks=len(found)),
    )


def _task(one: VirtualThread) -> AsyncTask:
    own = next((frame for frame in one.frames if frame.own), one.frames[0] if one.frames else None)
    waits = one.waits_for or None
    inner = one.frames[0].function if one.frames else ""
    parked = inner in {"yield", "yield0", "park", "parkNanos", "yieldContinuation"} or one.state in {
        "WAITING",
        "TIMED_WAITING",
        "BLOCKED",
    }
    if waits is None and parked:
        sleeps = any(frame.function.startswith("sleep") for frame in one.frames[:8])
        waits = "sleep" if sleeps else "something that it is parked for"
    return AsyncTask(
        name=one.name or f"virtual thread #{one.number}",
        coroutine=own.qualname if own else "",
        state="waiting" if waits else "running",
        stack=one.frames,
        awaits=waits,
        awaited_by=(),
    )
