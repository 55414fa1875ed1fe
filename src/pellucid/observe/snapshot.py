"""Two looks at one process and one at those it waits for: the `Snapshot` that the rules judge.

    tasks of all threads (/proc)  →  stacks  →  0.1 s of samples  →  tasks  →  stacks  →  sockets with both ends  →  peers

The second look is what makes a claim possible: a thread that has not woken between them (`Snapshot.steady`) really waits.
What only shows in a longer time is left to the longer looks (`observe.watching`), which begin after the second look, where they are asked for.
"""

import os
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pellucid.kernel import fds, procfs
from pellucid.model import Gap, LockWait, OpenFile, Peer, Snapshot, Socket, Stack, Task, Thread
from pellucid.model.errors import LookError, NoSuchProcess, NotPermitted, NotUnderstood, Unanswered
from pellucid.observe.resources import Uses
from pellucid.observe.stacks import Look, Sampled, cost, watched_inodes
from pellucid.observe.wait_graph import Beside, named

if TYPE_CHECKING:
    from pellucid.observe.watching import Watching

SPAN_S = 0.1
"""Between the two looks; 50 to 100 ms tell a waiting thread from a passing one."""
SAMPLES = 8
MAX_PEERS = 8
_TOLD = frozenset({"LISTEN", "CLOSE_WAIT"})
"""The states in which a socket is told also when no thread waits on it."""


def snapshot(
    pid: int,
    span_s: float = SPAN_S,
    watch_s: float = 0.0,
    *,
    alone: bool = False,
    ask: bool = True,
    untimed: bool = False,
) -> Snapshot:
    """Look at `pid` twice, `span_s` seconds apart, and once at the processes it waits for; watch it for `watch_s` seconds, 0 for not at all.

    `alone`: the waits are not followed beyond the processes at their other ends, which costs a fraction where there are many; a deadlock
    over several processes is not seen then. `ask`: whether JVMs may be asked for their stacks, which stops them for a moment. `untimed`: a wait
    that ends by itself is not followed beyond the process at its other end. No deadlock is missed by that, and the event loop of a server leads
    to all its clients, which may be of any size.
    NoSuchProcess when it does not exist or ended meanwhile. All else that can't be seen is a gap: a process whose memory may not
    be read, or that runs no Python, still has its system calls, files and sockets.
    """
    began, cpu = time.perf_counter(), time.process_time()
    with Look(pid, ask=ask) as look:
        _nothing_but_its_state(look)
        first_at = time.perf_counter()
        before, gaps = look.first
        look.gaps += gaps
        uses = Uses(pid)
        read = look.stacks()
        beside = Beside(look, before, read, alone=alone, ask=ask, untimed=untimed)
        sampled = Sampled()
        earlier_kernel, earlier_stacks = before, read
        try:
            _sample(look, sampled, first_at, span_s)
            kernel = look.tasks()
            span = time.perf_counter() - first_at
            graph = beside.graph(kernel)
        finally:
            beside.close()
        now = look.stacks()
        if not procfs.exists(pid, look.process.start_ticks):
            raise NoSuchProcess.ended(pid, f"look at pid {pid} twice")
        with _watch(look, kernel, watch_s) as watching:
            sockets = _sockets(look, kernel)
            by_inode = {socket.inode: socket for socket in sockets}
            threads = named(look.threads(kernel, now, by_inode), graph)
            earlier = look.threads(earlier_kernel, earlier_stacks, by_inode)
            threads = tuple(_moved(thread, earlier_kernel, sampled, span) for thread in threads)
            if look.why_not is not None:
                look.gaps.append(Gap(what=f"{look.language} stacks", why=look.why_not.said, remedy=look.why_not.remedy))
            locks = uses.locks(threads)
            peers = _peers(look, threads, locks, ask=ask)
            files = _files(look, threads)
            resources = uses.resources(look, threads, earlier, locks, sockets)
            state = procfs.stat(pid).state
            over_time, gaps = watching.collect() if watching is not None else (None, ())
            look.gaps += gaps
        return Snapshot(
            process=replace(look.process, state=state),
            taken_at=time.time(),
            span_s=span,
            threads=threads,
            earlier=earlier,
            sockets=sockets,
            files=files,
            peers=peers,
            gaps=tuple(dict.fromkeys(look.gaps)),
            cost=cost(look, began, cpu),
            cpus=len(os.sched_getaffinity(0)),
            samples=sampled.samples,
            gil_contended=sampled.contended,
            graph=graph,
            resources=resources,
            silence=look.why_not.silence if isinstance(look.why_not, Unanswered) else None,
            over_time=over_time,
            partial=isinstance(look.why_not, NotUnderstood) and bool(look.why_not.found),
        )


def _watch(look: Look, kernel: tuple[Task, ...], seconds: float) -> "AbstractContextManager[Watching | None]":
    """The longer looks, begun, where they are wanted and can show something."""
    if not seconds:
        return nullcontext()
    from pellucid.observe import watching  # `stacks` and the model server do without

    return nullcontext() if watching.pointless(look.process, kernel) else watching.Watching(look.process, seconds)


def _nothing_but_its_state(look: Look) -> None:
    """Raise what kept us from its memory and system calls, unless its state alone already is the verdict."""
    if isinstance(look.why_not, NotPermitted) and look.process.state not in {"stopped", "traced"}:
        raise look.why_not


def _sample(look: Look, sampled: Sampled, first_at: float, span_s: float) -> None:
    """Stacks at even times until `span_s` is over, so that a busy thread shows where it spends its time."""
    for number in range(1, SAMPLES + 1):
        pause = first_at + span_s * number / (SAMPLES + 1) - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        sampled.add(look)
    rest = first_at + span_s - time.perf_counter()
    if rest > 0:
        time.sleep(rest)


def _moved(thread: Thread, earlier: tuple[Task, ...], sampled: Sampled, span: float) -> Thread:
    """The thread with what happened to it between the looks: CPU share, and the frames it was seen in."""
    first = next((task for task in earlier if task.tid == thread.tid), None)
    if first is None or span <= 0:
        return thread
    share = max(0.0, thread.task.cpu_s - first.cpu_s) / span
    return thread.between(
        cpu_share=share,
        seen=sampled.seen(thread.tid),
        samples=sampled.samples,
        gil_waits=sampled.gil_waits.get(thread.tid, 0),
        gil_holds=sampled.gil_holds.get(thread.tid, 0),
    )


def _sockets(look: Look, kernel: tuple[Task, ...]) -> tuple[Socket, ...]:
    """The sockets that threads wait on, with both ends, and those the process listens on."""
    from pellucid.observe.sockets import sockets

    inodes = watched_inodes(look, kernel)
    found, gaps = sockets(look.pid, far=bool(inodes))
    look.gaps += gaps
    return tuple(socket for socket in found if socket.inode in inodes or socket.state in _TOLD)


def _files(look: Look, threads: tuple[Thread, ...]) -> tuple[OpenFile, ...]:
    """The descriptors, other than sockets, that some thread waits on."""
    waited = {one.fd for thread in threads if thread.wait for one in thread.wait.watched if one.socket is None}
    files = (fds.open_file(look.pid, fd) for fd in sorted(waited))
    return tuple(file for file in files if isinstance(file, OpenFile))


def _peers(look: Look, threads: tuple[Thread, ...], locks: tuple[LockWait, ...], *, ask: bool) -> tuple[Peer, ...]:
    """One look at each process that a thread here waits for: the other end of a socket or pipe, a child, the holder of a file lock."""
    wanted: dict[int, tuple[str, int | None]] = {}
    led: dict[int, dict[int, None]] = {}

    def reach(pid: int, relation: str, fd: int | None = None) -> None:
        wanted.setdefault(pid, (relation, fd))
        if fd is not None:
            led.setdefault(pid, {})[fd] = None

    waits = [thread.wait for thread in threads if thread.wait is not None]
    for wait in sorted(
        waits, key=lambda wait: len(wait.watched)
    ):  # who waits for one thing first: an event loop has many
        for one in wait.watched:
            if one.socket is not None:
                for pid in one.socket.peer_pids[:MAX_PEERS]:
                    reach(pid, f"the other end of fd {one.fd}", one.fd)
        if wait.kind == "pipe":
            fd = wait.watched[0].fd
            for pid in _pipe_ends(look, fd):
                reach(pid, f"the other end of fd {fd}", fd)
        if wait.kind == "child":
            for pid in (wait.child,) if wait.child is not None else procfs.children(look.pid):
                reach(pid, "the child it waits for")
    for held in locks:
        for lock in held.locks:
            for pid in lock.holders:
                reach(pid, f"holds the lock on fd {held.fd}", held.fd)
    wanted.pop(look.pid, None)
    if len(wanted) > MAX_PEERS:
        look.gaps.append(
            Gap(what=f"{len(wanted) - MAX_PEERS} of {len(wanted)} processes at the other end", why="a look is bounded")
        )
    looked = []
    for pid, (relation, first) in list(wanted.items())[:MAX_PEERS]:
        try:
            looked.append(replace(_peer(pid, relation, first, ask=ask), fds=tuple(led.get(pid, ()))))
        except LookError as error:
            look.gaps.append(Gap(what=f"pid {pid}, {relation}", why=error.said, remedy=error.remedy))
    return tuple(looked)


def _pipe_ends(look: Look, fd: int) -> list[int]:
    """The other processes that hold the same pipe; who of them reads and who writes is in their fdinfo."""
    file = fds.open_file(look.pid, fd)
    if not isinstance(file, OpenFile) or file.inode is None:
        return []
    target = f"pipe:[{file.inode}]"
    holders = fds.holders({target}).get(target, ())
    return sorted({pid for pid, _ in holders} - {look.pid})


def _peer(pid: int, relation: str, fd: int | None, *, ask: bool) -> Peer:
    with Look(pid, ask=ask) as look:
        kernel, gaps = look.first
        look.gaps += gaps
        stacks: dict[int, Stack] = look.stacks()
        if look.why_not is not None:
            what = f"{look.language} stacks of pid {pid}"
            look.gaps.append(Gap(what=what, why=look.why_not.said, remedy=look.why_not.remedy))
        sockets = _peer_sockets(look, kernel)
        threads = look.threads(kernel, stacks, sockets)
        return Peer(process=look.process, relation=relation, fd=fd, threads=threads, gaps=tuple(look.gaps))


def _peer_sockets(look: Look, kernel: tuple[Task, ...]) -> dict[int, Socket]:
    from pellucid.observe.sockets import sockets

    inodes = watched_inodes(look, kernel)
    if not inodes:
        return {}
    found, gaps = sockets(look.pid, inodes=inodes, far=False)
    look.gaps += gaps
    return {socket.inode: socket for socket in found}
