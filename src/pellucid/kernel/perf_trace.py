"""The second tracer: perf events at the beginning and end of each call. Nothing is stopped; a call costs some 0.4 µs.

It needs CAP_PERFMON (or CAP_SYS_ADMIN, or kernel.perf_event_paranoid -1) and tracefs. Counts, times and errors are exact. What
arguments point to is read when the records are, up to 20 ms after the call, so a path is probable, not certain; the Python
stack has moved on by then, so no line is told.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from errno import ESRCH
from types import TracebackType
from typing import Self

import numpy as np

from pellucid.kernel import perf, perf_decode, syscalls
from pellucid.kernel.bpf_records import ADDRESS_ROOM, PATH_ROOM
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.kernel.perf_decode import Pairs, Records
from pellucid.kernel.stack_layout import StackLayout
from pellucid.kernel.tally import Tally
from pellucid.kernel.traced import Called, Failure, Moved, Told, Total, Unfinished, Wanted, Watch
from pellucid.kernel.tracefs import Tracefs
from pellucid.model.errors import LookError

PAGES = 512  # of each ring: 2 MiB hold 20,000 beginnings of calls
MAX_TOLD = 20_000
"""Failed, slow and asked-for calls of one look that are taken one by one."""
_TASK_PAGES = 64
_LEAST_PATH = 3  # shorter strings are found everywhere
_LOOKS_FOR_THREADS = 4
_EXECVE = [number for name in ("execve", "execveat") if (number := syscalls.number(name)) is not None]


class Unfit(Exception):  # noqa: N818
    """The tracepoints of this kernel are not as expected; the text says how."""


class PerfTracer:
    """Events, opened at `start`; a context manager. Raises OSError where the kernel refuses, Unfit."""

    name = "perf"
    most_pause_s = 1.0

    def __init__(self, watch: Watch, pages: int = PAGES) -> None:
        self._watch = watch
        self._pages = pages
        self._tally = Tally(watch)
        self._described = _described()
        self._roots: list[int] = []
        self._waiting: set[int] = set()
        self._open = ExitStack()
        self._rings: dict[str, list[perf.Ring]] = {name: [] for name in self._described}
        self._events: list[int] = []
        self._pending: Records = np.empty(0, perf_decode.ENTER)
        self._memories: dict[int, Memory | None] = {}
        self._tell = np.zeros(1 << 10, bool)
        for number, wanted in watch.wanted.items():
            self._tell[number] = wanted.tell or (watch.descriptors and _moves(wanted))
        _probe(self._described["sys_enter"])

    def follow(self, pid: int, *, waits: bool = False) -> None:
        """Trace it and its children from `start` on; with `waits` only from its execve on."""
        self._roots.append(pid)
        if waits:
            self._waiting.add(pid)

    def understand(self, pid: int, layout: StackLayout | None, namespace: os.stat_result | None = None) -> None:
        """It reads no Python stacks."""

    def forget(self, pid: int) -> None:
        memory = self._memories.pop(pid, None)
        if memory is not None:
            memory.close()

    def start(self) -> None:
        """Open and enable the events of all threads, on each CPU. Raises OSError."""
        seen: set[int] = set()
        for _ in range(
            _LOOKS_FOR_THREADS
        ):  # a thread that was made meanwhile by one not opened yet is found the next time
            new = {tid for pid in self._roots for tid in _threads(pid)} - seen
            if not new:
                break
            seen |= new
            for tid in sorted(new):
                self._open_thread(tid)
        for fd in self._events:
            perf.enable(fd)

    def _open_thread(self, tid: int) -> None:
        for cpu in range(os.cpu_count() or 1):
            for name, described in self._described.items():
                try:
                    fd = perf.open_event(described, tid, cpu)
                except OSError as error:
                    if error.errno == ESRCH:
                        return  # it has ended
                    raise
                self._events.append(fd)
                self._open.callback(os.close, fd)
                rings = self._rings[name]
                if len(rings) <= cpu:
                    rings.append(
                        self._open.enter_context(perf.Ring(fd, _TASK_PAGES if name == "tasks" else self._pages))
                    )
                else:
                    rings[cpu].share(fd)

    def poll(self, seconds: float) -> Iterator[Told]:
        """What was told, after `seconds`."""
        time.sleep(seconds)
        return self._drain()

    def stop(self) -> Iterator[Told]:
        return self._drain()

    def _drain(self) -> Iterator[Told]:
        """Ends first, then beginnings: so each end that was read has its beginning among what was read."""
        ended = self._samples("sys_exit", perf_decode.EXIT)
        begun = self._samples("sys_enter", perf_decode.ENTER)
        for ring in self._rings["tasks"]:
            events, lost = perf_decode.tasks(ring.read())
            self._lose(lost)
            yield from sorted(events, key=lambda event: event.at_ns)
        pairs = perf_decode.paired(np.concatenate([self._pending, begun]), ended)
        self._pending = pairs.open
        if self._waiting:
            pairs = self._since_execve(pairs)
        for each in perf_decode.summed(pairs):
            self._tally.add(Total(each.pid, each.number, 0, each.calls, each.errors, each.total_ns, each.max_ns))
        yield from self._interesting(pairs)

    def _samples(self, name: str, shape: "np.dtype[np.void]") -> Records:
        found = []
        for ring in self._rings[name]:
            records, lost = perf_decode.samples(ring.read(), shape)
            self._lose(lost)
            found.append(records)
        return np.concatenate(found) if found else np.empty(0, shape)

    def _lose(self, count: int) -> None:
        if count:
            self._tally.lose("records", count)

    def _since_execve(self, pairs: Pairs) -> Pairs:
        """Without the calls that a launched command made before it was the command."""
        for pid in list(self._waiting):
            own = (pairs.begin["pid"] == pid) & np.isin(pairs.begin["number"], _EXECVE)
            if own.any():
                begun = pairs.begin["time"][own].min()
                late = (pairs.begin["pid"] != pid) | (pairs.begin["time"] >= begun)
                pairs = Pairs(pairs.begin[late], pairs.end[late], pairs.open)
                self._waiting.discard(pid)
            else:
                others = pairs.begin["pid"] != pid
                pairs = Pairs(pairs.begin[others], pairs.end[others], pairs.open)
        return pairs

    def _interesting(self, pairs: Pairs) -> Iterator[Told]:
        """A record for each call that failed, was slow or was asked for, in the order of their ends."""
        durations = pairs.end["time"] - pairs.begin["time"]
        chosen = perf_decode.is_error(pairs.end["result"]) | self._tell[np.clip(pairs.begin["number"], 0, 1023)]
        if self._watch.slow_ns is not None:
            chosen |= durations >= self._watch.slow_ns
        which = np.nonzero(chosen)[0]
        which = which[np.argsort(pairs.end["time"][which], kind="stable")]
        if len(which) > MAX_TOLD:
            self._tally.lose("kept", len(which) - MAX_TOLD)
            which = which[:MAX_TOLD]
        for begin, end in zip(pairs.begin[which], pairs.end[which], strict=True):
            due = self._tally.notice(self._call(begin, end))
            if due is not None:
                yield due

    def _call(self, begin: np.void, end: np.void) -> Called:
        pid, number = int(begin["pid"]), int(begin["number"])
        arguments = tuple(int(value) for value in begin["arguments"])
        wanted = self._watch.wanted.get(number, Wanted())
        return Called(
            pid,
            int(begin["tid"]),
            number,
            arguments,
            int(end["result"]),
            int(end["time"]),
            int(end["time"]) - int(begin["time"]),
            self._string(pid, arguments, wanted.path),
            self._string(pid, arguments, wanted.second),
            self._bytes(pid, arguments, wanted.address),
        )

    def _memory(self, pid: int) -> Memory | None:
        if pid not in self._memories:
            try:
                self._memories[pid] = Memory.open(pid, "syscalls")
            except LookError:
                self._memories[pid] = None  # it has ended
        return self._memories[pid]

    def _string(self, pid: int, arguments: tuple[int, ...], place: int | None) -> bytes | None:
        """A string that looks like one: the memory may have been given to something else since the call."""
        found = self._bytes(pid, arguments, place, PATH_ROOM)
        text, end, _ = (found or b"").partition(b"\0")
        try:
            return text if end and len(text) >= _LEAST_PATH and text.decode().isprintable() else None
        except UnicodeDecodeError:
            return None

    def _bytes(self, pid: int, arguments: tuple[int, ...], place: int | None, room: int = ADDRESS_ROOM) -> bytes | None:
        memory = self._memory(pid) if place is not None else None
        if memory is None or place is None or not arguments[place]:
            return None
        try:
            return memory.read_some(arguments[place], room)
        except Unreadable:
            return None

    def totals(self) -> Iterator[Total]:
        return self._tally.totals()

    def failures(self) -> dict[int, Failure]:
        return self._tally.failures()

    def moved(self) -> dict[tuple[int, int], Moved]:
        return self._tally.moved()

    def unfinished(self) -> Iterator[Unfinished]:
        for begin in self._pending:
            yield Unfinished(int(begin["pid"]), int(begin["tid"]), int(begin["number"]), int(begin["time"]), None)

    def lost(self) -> dict[str, int]:
        return self._tally.lost

    def stopped(self) -> tuple[int, float]:
        """Nothing is stopped."""
        return 0, 0.0

    def close(self) -> None:
        for pid in list(self._memories):
            self.forget(pid)
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _described() -> dict[str, bytes]:
    """The events that are opened of each thread. Raises OSError, Unfit."""
    with Tracefs() as tracefs:
        events = {name: tracefs.event(f"raw_syscalls/{name}") for name in ("sys_enter", "sys_exit")}
    for name, event in events.items():
        if not perf_decode.fits(name, event.fields):
            raise Unfit(f"the fields of raw_syscalls:{name} lie at {event.fields}")
    described = {name: perf.attributes(perf.TRACEPOINT, event.number) for name, event in events.items()}
    return described | {"tasks": perf.attributes(perf.SOFTWARE, perf.DUMMY, tasks=True)}


def _probe(described: bytes) -> None:
    """Whether such an event may be opened here: of this very process, on its CPU. Raises OSError."""
    os.close(perf.open_event(described, 0, 0))


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _moves(wanted: Wanted) -> bool:
    return wanted.reads is not None or wanted.writes is not None or wanted.makes_fd or wanted.closes is not None
