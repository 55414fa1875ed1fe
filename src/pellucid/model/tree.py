"""A tree of processes with what lives in each: threads, tasks, greenlets."""

from msgspec import Struct

from pellucid.model.process import Process


class Leaf(Struct, frozen=True):
    """A thread, task or greenlet. `does`: `Lock self.lock (ThreadPool.lock)`, `sleep`, `runs`; `daemon` is None for what has no such flag."""

    what: str
    name: str
    tid: int | None
    does: str
    at: str
    daemon: bool | None = None


class Branch(Struct, frozen=True):
    """One process. `name` is what multiprocessing calls it, "" where it does not; `daemon` as multiprocessing has it.

    `orphan_of`: the pid of the process that started it and has ended; None where its parent is the one that started it.
    """

    process: Process
    name: str
    daemon: bool | None
    orphan_of: int | None
    leaves: tuple[Leaf, ...]
