"""The best tracer: BPF programs at the beginning and end of each system call. Nothing is stopped; a call costs some 0.2 µs.

It needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), Linux 5.8 for the ring buffer, and x86-64. It does not see calls that had
begun before it did, what io_uring does in the kernel (io_uring_enter is seen, not the reads and writes that it submits), and
calls that never return (exit_group).
"""

import os
import select
from collections.abc import Iterator
from contextlib import ExitStack
from struct import Struct as Packing
from types import TracebackType
from typing import Self

from msgspec.structs import asdict

from pellucid.kernel import bpf, bpf_decode, bpf_exit, bpf_follow, bpf_task
from pellucid.kernel.bpf_call import CallMaps
from pellucid.kernel.bpf_code import CodeMaps
from pellucid.kernel.bpf_namespace import Namespace
from pellucid.kernel.bpf_records import (
    ARGUMENTS,
    CALLS,
    CLOSES_FD,
    COUNTS,
    EVERY,
    FAILURE,
    FD_FIRST,
    LOST,
    MAKES_FD,
    MOVED,
    MOVED_KEY,
    NEW_FD,
    PATH_ROOM,
    PROCESS,
    TELL,
    THREAD,
    TOTAL,
    TOTAL_KEY,
    WAITS,
    WANTED,
)
from pellucid.kernel.bpf_ring import Ring
from pellucid.kernel.bpf_scratch import CODE_SCRATCH_SIZE, SCRATCH
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.kernel.stack_layout import StackLayout
from pellucid.kernel.traced import Failure, Moved, Told, Total, Unfinished, Wanted, Watch
from pellucid.model.errors import LookError

RING_BYTES = 1 << 23
MAX_PROCESSES, MAX_THREADS = 1 << 14, 1 << 16
MAX_KEPT = 1 << 16
"""Entries of each table of totals, failures, stacks, code objects and descriptors; what finds no room is counted as lost."""
MAX_AWAITED = 1 << 10

_U32 = Packing("<I")
_U64 = Packing("<Q")


def supported() -> bool:
    """The programs know the registers of x86-64 only."""
    return os.uname().machine == "x86_64"


class BpfTracer:
    """Loaded programs and their maps; a context manager. Raises OSError where the kernel refuses, Refused, bpf_task.NotFound.

    `follow` names processes, `start` begins, `poll` gives what has been told since; at the end `stop`, and then the tables.
    """

    name = "bpf"
    most_pause_s = 1.0

    def __init__(self, watch: Watch, ring_bytes: int = RING_BYTES) -> None:
        self._open = ExitStack()
        try:
            self._make_maps(ring_bytes)
            self._load(watch)
        except BaseException:
            self._open.close()
            raise
        self._decoder = bpf_decode.Decoder()
        self._tgids = self._decoder.tgids  # it learns more while it decodes
        self._links = ExitStack()
        self._layouts = 0

    def _make_maps(self, ring_bytes: int) -> None:
        def new(kind: int, key: int, value: int, entries: int, name: bytes) -> bpf.Map:
            flags = bpf.NO_PREALLOC if kind == bpf.HASH else 0
            return self._open.enter_context(bpf.Map(kind, key, value, entries, name=name, flags=flags))

        self._ring = self._open.enter_context(Ring(ring_bytes))
        self._processes = new(bpf.HASH, 4, PROCESS.size, MAX_PROCESSES, b"procs")
        self._threads = new(bpf.HASH, 4, THREAD.size, MAX_THREADS, b"thrds")
        self._awaited = new(bpf.HASH, 4, PROCESS.size, MAX_AWAITED, b"await")
        self._wanted = new(bpf.ARRAY, 4, WANTED.size, CALLS, b"want")
        self._blank = new(bpf.ARRAY, 4, THREAD.size, 1, b"blank")
        self._lost = new(bpf.ARRAY, 4, 8, len(LOST), b"lost")
        self._totals = new(bpf.HASH, TOTAL_KEY.size, TOTAL.size, MAX_KEPT, b"total")
        self._failures = new(bpf.HASH, 8, FAILURE.size, MAX_KEPT, b"fail")
        self._moved = new(bpf.HASH, MOVED_KEY.size, MOVED.size, MAX_KEPT, b"moved")
        self._stacks = new(bpf.HASH, 8, 8, MAX_KEPT, b"stack")
        self._codes = new(bpf.HASH, 8, 8, MAX_KEPT, b"codes")
        self._scratch = new(bpf.PERCPU_ARRAY, 4, SCRATCH.size, 1, b"call")
        self._code_scratch = new(bpf.PERCPU_ARRAY, 4, CODE_SCRATCH_SIZE, 1, b"code")

    def _load(self, watch: Watch) -> None:
        for number, wanted in watch.wanted.items():
            self._wanted.set(_U32.pack(number), _packed(wanted))
        self._namespace = Namespace.own()
        follow = bpf_follow.FollowMaps(
            processes=self._processes.fd,
            threads=self._threads.fd,
            wanted=self._wanted.fd,
            blank=self._blank.fd,
            ring=self._ring.map.fd,
            lost=self._lost.fd,
            awaited=self._awaited.fd,
        )
        end = CallMaps(
            processes=self._processes.fd,
            threads=self._threads.fd,
            wanted=self._wanted.fd,
            scratch=self._scratch.fd,
            totals=self._totals.fd,
            failures=self._failures.fd,
            moved=self._moved.fd,
            ring=self._ring.map.fd,
            lost=self._lost.fd,
        )
        python = CodeMaps(
            ring=self._ring.map.fd,
            stacks=self._stacks.fd,
            codes=self._codes.fd,
            code_scratch=self._code_scratch.fd,
            lost=self._lost.fd,
        )
        told = bpf_exit.Telling(watch.slow_ns, watch.every_line, watch.descriptors)
        ids = bpf_task.ids_offset()
        programs = {
            "sys_exit": bpf_exit.ended(end, python, told),
            "sys_enter": bpf_follow.entered(follow, self._namespace),
            "sched_process_fork": bpf_follow.forked(follow, ids, namespace=self._namespace),
            "sched_process_exec": bpf_follow.executed(follow),
            "sched_process_exit": bpf_follow.exited(follow),
        }
        self._programs = {
            tracepoint: self._open.enter_context(bpf.Program(tracepoint.rpartition("_")[2], code))
            for tracepoint, code in programs.items()
        }

    def follow(self, pid: int, *, waits: bool = False) -> None:
        """Trace `pid` and the children that it makes from now on; with `waits` only from its execve on. OSError when full."""
        value = PROCESS.pack(counts=WAITS if waits else COUNTS, pid=pid)
        if self._namespace is None:
            self._tgids[pid] = pid
            self._processes.set(_U32.pack(pid), value)
        else:
            self._awaited.set(_U32.pack(pid), value)  # its number in the kernel's own namespace shows at its next call

    def understand(self, pid: int, layout: StackLayout | None, namespace: os.stat_result | None = None) -> None:
        """Read Python stacks of `pid` from now on; with None, no more. `namespace`: of /proc/PID/ns/pid, where not the first."""
        key = _U32.pack(self._tgids.get(pid, 0))
        value = self._processes.get(key)
        if value is None:
            return  # it has ended, or has not been seen yet: the caller is told of its next program, or of its first call
        known = PROCESS.unpack(value)
        if layout is None:
            known["runtime"] = 0
        else:
            self._layouts += 1
            known |= asdict(layout) | {"program": self._layouts}
            theirs = Namespace.of(namespace) if namespace is not None else None
            known["namespace_device"] = theirs.device if theirs else 0
            known["namespace_inode"] = theirs.inode if theirs else 0
        self._processes.set(key, PROCESS.pack(**known))

    def forget(self, pid: int) -> None:
        """It has ended."""
        tgid = self._tgids.pop(pid, None)
        if tgid is not None:
            self._processes.delete(_U32.pack(tgid))

    def start(self) -> None:
        """From now on calls are seen. Raises OSError."""
        self._epoll = self._links.enter_context(select.epoll())
        self._epoll.register(self._ring.map.fd, select.EPOLLIN | select.EPOLLET)
        for tracepoint, program in self._programs.items():
            self._links.enter_context(program.attach(tracepoint))

    def poll(self, seconds: float) -> Iterator[Told]:
        """What was told, after at most `seconds`; sooner when a process has become another program or has ended."""
        self._epoll.poll(seconds)
        return self._drain()

    def _drain(self) -> Iterator[Told]:
        for raw in self._ring.records():
            told = self._decoder.record(raw)
            if told is not None:
                yield told

    def stop(self) -> Iterator[Told]:
        """See no more calls; gives what is still in the ring. The tables stay readable until `close`."""
        self._links.close()
        return self._drain()

    def totals(self) -> Iterator[Total]:
        for key, value in self._totals.items():
            tgid, number, stack = TOTAL_KEY.packing.unpack(key)
            yield Total(self._pid(tgid), number, stack, *TOTAL.packing.unpack(value))

    def failures(self) -> dict[int, Failure]:
        """By `Called.key`."""
        return {_U64.unpack(key)[0]: Failure(*FAILURE.packing.unpack(value)) for key, value in self._failures.items()}

    def moved(self) -> dict[tuple[int, int], Moved]:
        """By pid and descriptor: what was not told by a `Called` yet."""
        found: dict[tuple[int, int], Moved] = {}
        for key, value in self._moved.items():
            tgid, fd = MOVED_KEY.packing.unpack(key)
            found[self._pid(tgid), fd] = Moved(*MOVED.packing.unpack(value))
        return found

    def unfinished(self) -> Iterator[Unfinished]:
        """The calls that threads are in, of those whose beginning was seen; in a pid namespace of each process's first thread only."""
        for key, value in self._threads.items():
            start, _, _, at, number, in_call, _, length, tgid, _, _, _, path = THREAD.packing.unpack(value)
            if in_call:
                pid = self._pid(tgid)
                tid: int = _U32.unpack(key)[0]
                if self._namespace is not None:
                    if tid != tgid:  # what number it has in our namespace is not known: /proc tells of its call
                        continue
                    tid = pid
                text = path[: length - 1] if length else _string(pid, at)
                yield Unfinished(pid, tid, number, start, text)

    def lost(self) -> dict[str, int]:
        """How much found no room, by what it was; `skipped`: how often a program was due while it ran on the same CPU."""
        found = {name: _U64.unpack(self._lost.get(_U32.pack(place)) or bytes(8))[0] for place, name in enumerate(LOST)}
        found["skipped"] = sum(program.missed() for program in self._programs.values())
        return {name: count for name, count in found.items() if count}

    def stopped(self) -> tuple[int, float]:
        """Nothing is stopped."""
        return 0, 0.0

    def _pid(self, tgid: int) -> int:
        return self._decoder.pids.get(tgid, tgid)

    def close(self) -> None:
        self._links.close()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _string(pid: int, address: int) -> bytes | None:
    """The path that a thread has lent to the call that it is in, None where there is none, or no longer a process."""
    if not address:
        return None
    try:
        with Memory.open(pid, "syscalls") as memory:
            return memory.string(address, PATH_ROOM)
    except (LookError, Unreadable):
        return None


def _packed(wanted: Wanted) -> bytes:
    flags = (
        TELL * wanted.tell
        | EVERY * wanted.every
        | FD_FIRST * wanted.fd_first
        | MAKES_FD * wanted.makes_fd
        | CLOSES_FD * (wanted.closes == 0)
        | NEW_FD * (wanted.closes == 1)
    )

    def register(argument: int | None) -> int:
        return 0 if argument is None else ARGUMENTS[argument]

    return WANTED.pack(
        flags=flags,
        path=register(wanted.path),
        second=register(wanted.second),
        address=register(wanted.address),
        reads=register(wanted.reads),
        writes=register(wanted.writes),
    )
