"""Threads that wait in the same way for the same thing, so that forty workers make one sentence and not forty."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from pellucid.diagnose import words
from pellucid.model import Ref, Severity, Snapshot, Thread

LONG_S, SHORT_S = 10.0, 1.0


class Group(Struct, frozen=True):
    """Threads of one process with equal waits; `longest` is the one that has waited longest."""

    threads: tuple[Thread, ...]

    @property
    def longest(self) -> Thread:
        return max(self.threads, key=lambda thread: (thread.wait.since_s or 0.0) if thread.wait else 0.0)

    @property
    def who(self) -> str:
        """`MainThread`, or `3 threads (worker-0, worker-1, worker-2)`."""
        names = [name(thread) for thread in self.threads]
        if len(names) == 1:
            return names[0]
        return f"{len(names)} threads ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"

    @property
    def has(self) -> str:
        return "has" if len(self.threads) == 1 else "have"

    @property
    def tids(self) -> tuple[int, ...]:
        return tuple(thread.tid for thread in self.threads)


def name(thread: Thread) -> str:
    """The runtime's name, with the tid where it is a thread that the runtime does not know."""
    return thread.name if thread.python else f"{thread.name} (tid {thread.tid})"


def waiting(seen: Snapshot, wanted: Callable[[Thread], bool]) -> Iterator[Group]:
    """Groups of the threads that did not wake between the two looks, are not idle, and are `wanted`.

    None of a process that is stopped: what its threads wait for says nothing then.
    """
    if seen.process.state not in {"stopped", "traced"}:
        yield from grouped(thread for thread in seen.threads if _waits(seen, thread) and wanted(thread))


def _waits(seen: Snapshot, thread: Thread) -> bool:
    return (
        thread.wait is not None
        and seen.steady(thread)
        and (words.idle(thread) is None or _on_somebody_halted(seen, thread))
    )


def _on_somebody_halted(seen: Snapshot, thread: Thread) -> bool:
    """Work comes from a process that is stopped: it won't."""
    pids = (
        {pid for one in thread.wait.watched if one.socket is not None for pid in one.socket.peer_pids}
        if thread.wait
        else set()
    )
    peers = [peer for peer in seen.peers if peer.process.pid in pids]
    return bool(peers) and all(peer.process.state in {"stopped", "traced"} for peer in peers)


def grouped(threads: Iterator[Thread]) -> Iterator[Group]:
    """Equal waits at equal places together, in the order of the first of each."""
    by_key: dict[object, list[Thread]] = {}
    for thread in threads:
        wait = thread.wait
        key = (
            (wait.kind, wait.call, tuple(one.fd for one in wait.watched), wait.object, wait.child) if wait else None,
            words.place(thread.frames),
        )
        by_key.setdefault(key, []).append(thread)
    for members in by_key.values():
        yield Group(tuple(members))


def harm(since_s: float | None, *, timed: bool = False) -> Severity:
    """How bad a wait is by its length alone: warning from 10 s, notice from 1 s. A wait that ends by itself is a notice at most."""
    if since_s is None or since_s < SHORT_S:
        return "info"
    return "warning" if since_s >= LONG_S and not timed else "notice"


def evidence(seen: Snapshot, thread: Thread) -> tuple[Ref, ...]:
    """What was read of this thread: its system call, and its stack where there is one."""
    pid, call = seen.process.pid, thread.task.call
    refs = []
    if call is not None and call.number is not None:
        arguments = ", ".join(f"{value:#x}" for value in call.arguments[:4])
        held = ", unchanged at both looks" if seen.steady(thread) else ""
        refs.append(Ref(source=f"/proc/{pid}/task/{thread.tid}/syscall", said=f"{call.name}({arguments}){held}"))
    if thread.wait is not None and thread.wait.since_s is not None:
        refs.append(
            Ref(
                source=f"/proc/{pid}/task/{thread.tid}/sched",
                said=f"left the CPU {words.duration(thread.wait.since_s)} ago",
            )
        )
    if thread.frames:
        refs.append(Ref(source=f"stack of {thread.name}", said=words.path(thread.frames)))
    if not refs:
        refs.append(Ref(source=f"/proc/{pid}/task/{thread.tid}/stat", said=f"state {thread.state}"))
    return tuple(refs)


def at(thread: Thread) -> str:
    """` at client.py:12 in fetch`, or "" without a stack."""
    where = words.place(thread.frames)
    return f" at {where}" if where else ""
