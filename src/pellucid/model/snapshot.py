"""One process at one moment, looked at twice: what every rule takes, live, saved, or from another machine."""

from msgspec import Struct

from pellucid.model.file import OpenFile
from pellucid.model.gap import Gap
from pellucid.model.graph import Graph
from pellucid.model.over_time import OverTime
from pellucid.model.process import Process
from pellucid.model.resources import Resources
from pellucid.model.silence import Silence
from pellucid.model.socket import Socket
from pellucid.model.thread import Thread


class Cost(Struct, frozen=True):
    """What the look itself took: wall and CPU seconds, reads of foreign memory, stacks that never held still."""

    wall_s: float
    cpu_s: float
    stacks: int = 0
    retries: int = 0
    moving: int = 0
    stopped_s: float | None = None
    """A JVM was asked for its stacks, and its threads stood still for so long; None where nothing was stopped."""


class Peer(Struct, frozen=True):
    """Another process that the looked-at one waits for: the other end of a socket or pipe, a child.

    `relation` says which; `fd` is the descriptor of the looked-at process that leads there, `fds` are all that do.
    """

    process: Process
    relation: str
    fd: int | None
    threads: tuple[Thread, ...]
    gaps: tuple[Gap, ...]
    fds: tuple[int, ...] = ()

    def at_the_end_of(self, fd: int) -> bool:
        """Whether this descriptor of the looked-at process leads there."""
        return fd == self.fd or fd in self.fds


class Snapshot(Struct, frozen=True):
    """`threads` are the second look, `earlier` the first, `span_s` apart (0 when there was only one look).

    `sockets` and `files` are those that some thread waits on, unless the observation was asked for all of them.
    """

    process: Process
    taken_at: float
    span_s: float
    threads: tuple[Thread, ...]
    earlier: tuple[Thread, ...]
    sockets: tuple[Socket, ...]
    files: tuple[OpenFile, ...]
    peers: tuple[Peer, ...]
    gaps: tuple[Gap, ...]
    cost: Cost
    cpus: int = 1
    samples: int = 0
    """Readings of the stacks between the two looks; in `gil_contended` of them some thread waited for the GIL."""
    gil_contended: int = 0
    partial: bool = False
    """A runtime is there that can't be read (a version without a table), so that the stacks are missing from the verdict."""

    graph: Graph | None = None
    """Who waits for whom, here and in the processes that the waits lead to; None where that was not asked."""

    resources: Resources = Resources()
    """What it holds and uses up."""

    silence: Silence | None = None
    """Why its JVM did not answer, where that could be seen; None where none was asked, and of one that did."""

    over_time: OverTime | None = None
    """What longer looks saw; None where none were asked for, or none could have shown more."""

    def before(self, tid: int) -> Thread | None:
        """The same thread at the first look, None if it was not there or there was none."""
        return next((thread for thread in self.earlier if thread.tid == tid), None)

    def steady(self, thread: Thread) -> bool:
        """It did not wake between the two looks: the same call with the same arguments, and no context switch."""
        if thread.steady is not None:
            return thread.steady
        first = self.before(thread.tid)
        if first is None:
            return False
        one, two = first.task, thread.task
        return (
            one.call == two.call
            and one.switches is not None
            and one.switches == two.switches
            and one.cpu_s == two.cpu_s
        )

    def peer(self, pid: int) -> Peer | None:
        return next((peer for peer in self.peers if peer.process.pid == pid), None)
