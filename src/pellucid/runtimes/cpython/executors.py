"""Calls that were given to worker processes: which result each stands for, and which worker runs which, by numbers that both sides keep.

    ProcessPoolExecutor: a key of `pending_work_items` in `_ExecutorManagerThread.run`, `call_item.work_id` in a worker's `_process_worker`
    Pool:                `_job` of the result,                                           `job` in a worker's `worker`

(Lib/concurrent/futures/process.py and Lib/multiprocessing/pool.py, 3.9 to 3.15.) A worker has the number from when it takes the call to when
its result is sent.
"""

from collections.abc import Iterable

from pellucid.kernel.memory import Unreadable
from pellucid.model.sync import Ordered
from pellucid.runtimes.cpython.pools import pool_of
from pellucid.runtimes.cpython.sight import Sight
from pellucid.runtimes.cpython.standard_library import library_path
from pellucid.runtimes.cpython.values import Values

MAX_CALLS = 1 << 12
_EXECUTOR, _POOL = "concurrent/futures/process.py", "multiprocessing/pool.py"


def ordered(threads: Iterable[Sight], values: Values) -> dict[int, Ordered]:
    """Concurrent future → the call that it stands for; of the executors of this process, at most MAX_CALLS of each."""
    found: dict[int, Ordered] = {}
    for sight in threads:
        for frame in sight.frames:
            if frame.qualname != "_ExecutorManagerThread.run" or library_path(frame.file) != _EXECUTOR:
                continue
            try:
                own = values.namespace(frame.local("self"))
                workers = tuple(values.number(pid) for pid, _ in values.items(own["processes"]))
                calls = list(values.items(own["pending_work_items"]))[:MAX_CALLS]
            except (Unreadable, KeyError):
                continue
            for number, item in calls:
                try:
                    call = Ordered("executor", values.number(number), workers)
                    found[values.named(item, "future")] = call
                except Unreadable:
                    continue  # it is done, and was taken out meanwhile
    return found


def of_pool(result: int, values: Values) -> Ordered | None:
    """The call behind a result of a Pool; None where it has not the shape of the library's. An iterator goes on with its next part."""
    pool = pool_of(result, values)
    try:
        job = values.named(result, "_job")
        every = "IMap" not in values.kind(result).name
        return Ordered("pool", values.number(job), pool.pids, every) if pool is not None and job else None
    except Unreadable:
        return None


def working_on(threads: Iterable[Sight], values: Values) -> dict[int, tuple[str, int]]:
    """Tid → (executor or pool, the number of the call) that it runs as a worker."""
    found: dict[int, tuple[str, int]] = {}
    for sight in threads:
        for frame in sight.frames:
            path = library_path(frame.file)
            try:
                if frame.qualname == "_process_worker" and path == _EXECUTOR:
                    item = frame.local("call_item")
                    if item and values.name_of_kind(item) == "_CallItem":
                        found[sight.tid] = "executor", values.number(values.named(item, "work_id"))
                elif frame.qualname == "worker" and path == _POOL:
                    job = frame.local("job")
                    if job and values.name_of_kind(job) == "int":
                        found[sight.tid] = "pool", values.number(job)
            except Unreadable:
                continue
    return found
