"""A multiprocessing.Pool from the result that somebody waits for: its workers, its two pipes, and how much is still missing.

    ApplyResult._pool → Pool._pool (Process objects), ._inqueue._reader._handle, ._outqueue._reader._handle, ._cache (Lib/multiprocessing/pool.py)

A worker that is killed takes its task with it; the Pool starts another worker, and never learns that the task is gone.
"""

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.values import Values

MAX_WORKERS = 4096


class PoolState(Struct, frozen=True):
    """`pids` of the workers, the descriptors of both pipes in the process that has the Pool, and how many results are missing."""

    pids: tuple[int, ...]
    task_fd: int
    result_fd: int
    missing: int


def pool_of(thing: int, values: Values) -> PoolState | None:
    """The Pool at `thing`, or that an ApplyResult there belongs to; None where it has not the shape of the library's."""
    try:
        own = values.namespace(thing)
        if "_inqueue" not in own:
            own = values.namespace(own["_pool"])
        workers = values.list_items(own["_pool"], MAX_WORKERS)
        pids = tuple(values.number(values.named(values.named(worker, "_popen"), "pid")) for worker in workers)
        return PoolState(
            pids, _reader(own["_inqueue"], values), _reader(own["_outqueue"], values), values.length(own["_cache"])
        )
    except (Unreadable, KeyError):
        return None


def _reader(queue: int, values: Values) -> int:
    return values.number(values.named(values.named(queue, "_reader"), "_handle"))
