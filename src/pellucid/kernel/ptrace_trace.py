"""The tracer that needs no privileges: it stops each thread at its calls, looks, and lets it go on.

`ptrace` stops at every call; a program that does nothing else is slowed 150 times and more. `seccomp`, for a launched command,
stops at those that `ptrace_filter` doesn't let through. A thread stands still while it is looked at, so its Python stack and
paths are exact. Everything must be called from one thread, the one that called `start`.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from errno import ECHILD, EPERM, ESRCH
from types import TracebackType
from typing import Self

from pellucid.kernel import ptrace
from pellucid.kernel.bpf_records import ADDRESS_ROOM, MAX_FRAMES, PATH_ROOM, SHALLOW
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.kernel.procfs import parse_status, read_file, stat
from pellucid.kernel.stack_layout import StackLayout
from pellucid.kernel.stack_reader import StackReader
from pellucid.kernel.syscalls import number as number_of
from pellucid.kernel.tally import Tally
from pellucid.kernel.traced import (
    Called,
    Executed,
    Exited,
    Failure,
    Forked,
    Moved,
    Told,
    Total,
    Unfinished,
    Watch,
    asks_for_error,
)
from pellucid.model.errors import LookError

_MAX_ERRNO = 4096
_GROUP_STOPS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_LETTING_GO_S = 1.0
_ENOUGH = 512  # records that are handed over at once
_EXECVE = frozenset(number_of(name) for name in ("execve", "execveat"))


class _Call:
    """A call that a thread is in."""

    __slots__ = ("arguments", "number", "path", "start")

    def __init__(self, number: int, arguments: tuple[int, ...], path: bytes | None) -> None:
        self.number = number
        self.arguments = arguments
        self.path = path
        self.start = time.monotonic_ns()


class PtraceTracer:
    """A context manager. `reaped` is told the wait status of a launched command, whose parent we are: it can end only here."""

    most_pause_s = 0.005
    """Each of its calls is slow, and on a busy machine very much so: an eighth of the age of a program may be the rest of its life."""

    def __init__(
        self,
        watch: Watch,
        *,
        filtered: bool = False,
        child: int | None = None,
        reaped: Callable[[int], None] | None = None,
    ) -> None:
        self.name = "seccomp" if filtered else "ptrace"
        self._watch = watch
        self._filtered = filtered
        self._options = ptrace.FOLLOW_FILTERED if filtered else ptrace.FOLLOW
        self._child = child
        self._reaped = reaped
        self._roots: list[int] = []
        self._waiting: set[int] = set()
        self._process: dict[int, int] = {}
        """Thread → its process, of all that are traced."""
        self._calls: dict[int, _Call] = {}
        self._memories: dict[int, Memory] = {}
        self._readers: dict[int, StackReader] = {}
        self._told: list[Told] = []
        self._tally = Tally(watch)
        self._mask: set[int | signal.Signals] | None = None
        self._stops = 0
        self._stopped_s = 0.0

    def follow(self, pid: int, *, waits: bool = False) -> None:
        """Trace it from `start` on; with `waits` only from its execve on."""
        self._roots.append(pid)
        if waits:
            self._waiting.add(pid)

    def understand(self, pid: int, layout: StackLayout | None, namespace: os.stat_result | None = None) -> None:  # noqa: ARG002
        """Read Python stacks of `pid` from now on; with None, no more."""
        known = self._readers.pop(pid, None)
        if known is not None:
            known.close()
        if layout is not None:
            self._read_stacks(pid, layout)

    def _read_stacks(self, pid: int, layout: StackLayout, *, born_of: int = 0) -> None:
        try:
            self._readers[pid] = StackReader(pid, Memory.open(pid, "syscalls"), layout, born_of=born_of)
        except LookError:
            return  # it has ended

    def forget(self, pid: int) -> None:
        self.understand(pid, None)
        memory = self._memories.pop(pid, None)
        if memory is not None:
            memory.close()

    def start(self) -> None:
        """Seize all threads. Raises OSError: EPERM where it may not be traced, or has a tracer already."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        for pid in self._roots:
            for tid in self._threads(pid):
                if tid in self._process:
                    continue  # named twice, or a new child of one that is traced already
                try:
                    ptrace.call(ptrace.SEIZE, tid, 0, self._options)
                except OSError as error:
                    if error.errno == ESRCH or (error.errno == EPERM and _is_ending(tid)):
                        continue
                    raise
                self._process[tid] = pid
                if not self._filtered:  # the filter stops it by itself
                    ptrace.call(ptrace.INTERRUPT, tid)

    @staticmethod
    def _threads(pid: int) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
        except OSError:
            return []

    def poll(self, seconds: float) -> Iterator[Told]:
        """Serve the stops for so long, and give what was told; sooner when a process has become another program."""
        deadline = time.monotonic() + seconds
        while len(self._told) < _ENOUGH:
            served = self._serve_one()
            if served is None:
                break
            left = deadline - time.monotonic()
            if left <= 0 or (self._told and isinstance(self._told[-1], Executed)):
                break
            if not served:
                signal.sigtimedwait([signal.SIGCHLD], left)
        told, self._told = self._told, []
        return iter(told)

    def _serve_one(self) -> bool | None:
        """Whether a stop was there to be served; None when nobody is left who could stop."""
        try:
            tid, status = os.waitpid(-1, os.WNOHANG | ptrace.WALL)
        except OSError as error:
            if error.errno == ECHILD:
                return None
            raise
        if not tid:
            return False
        if os.WIFSTOPPED(status):
            try:
                self._stopped(tid, os.WSTOPSIG(status), status >> 16)
            except OSError as error:
                if error.errno != ESRCH:  # it was killed while it was stopped
                    raise
        else:
            self._ended(tid, status)
        return True

    def _ended(self, tid: int, status: int) -> None:
        pid = self._process.pop(tid, 0)
        self._calls.pop(tid, None)
        if tid == self._child and self._reaped is not None:
            self._reaped(status)
        if tid == pid:
            self._told.append(Exited(pid, time.monotonic_ns()))

    def _stopped(self, tid: int, stop: int, event: int) -> None:
        seen = time.perf_counter()
        if tid not in self._process:
            self._process[tid] = _process_of(tid)
        sent = 0
        how = ptrace.CONTINUE if self._filtered else ptrace.SYSCALL
        if stop == ptrace.CALL_STOP or event == ptrace.EVENT_SECCOMP:
            how = self._at_call(tid, how)
        elif event in (*ptrace.NEW_CHILD, ptrace.EVENT_CLONE):
            self._new_child(tid, ptrace.event_message(tid))
        elif event == ptrace.EVENT_EXEC:
            self._executed(tid)
        elif event == ptrace.EVENT_STOP:
            if stop in _GROUP_STOPS:
                how = ptrace.LISTEN  # it stays stopped, as the signal demands, until SIGCONT
        elif not event:
            sent = stop
        call = self._calls.get(tid)
        if call is not None:
            call.start = time.monotonic_ns()  # our own work is not the call's time
        ptrace.resume(how, tid, sent)
        self._stops += 1
        self._stopped_s += time.perf_counter() - seen

    def _new_child(self, tid: int, child: int) -> None:
        parent = self._process[tid]
        pid = _process_of(child)
        self._process[child] = pid
        if pid == parent:
            return
        self._told.append(Forked(parent, child, time.monotonic_ns()))
        reader = self._readers.get(parent)
        if reader is not None:
            self._read_stacks(child, reader.layout, born_of=tid)

    def _executed(self, tid: int) -> None:
        """All other threads are gone, and the one that called execve has the process's id."""
        before = ptrace.event_message(tid)
        if before != tid and before in self._calls:
            self._calls[tid] = self._calls.pop(before)
        self._process.pop(before, None)
        self._process[tid] = tid
        self.forget(tid)
        self._told.append(Executed(tid, time.monotonic_ns()))

    def _at_call(self, tid: int, how: int) -> int:
        """Keep the beginning of a call, or count its end; how to go on."""
        stop = ptrace.call_stop(tid)
        if stop is None:
            return how
        if stop.kind == ptrace.EXIT:
            call = self._calls.pop(tid, None)
            if call is not None:
                self._finished(tid, call, stop.result)
            return how
        pid = self._process[tid]
        if pid in self._waiting:
            if stop.number not in _EXECVE:
                return how
            self._waiting.discard(pid)
        wanted = self._watch.wanted.get(stop.number)
        path = self._string(pid, stop.arguments, wanted.path) if wanted else None
        self._calls[tid] = _Call(stop.number, stop.arguments, path)
        return ptrace.SYSCALL

    def _finished(self, tid: int, call: _Call, result: int) -> None:
        now = time.monotonic_ns()
        pid = self._process[tid]
        wanted = self._watch.wanted.get(call.number)
        if not result and asks_for_error(call.number, call.arguments):
            result = -self._error_told(pid, call.arguments[3])
        whole = Called(pid, tid, call.number, call.arguments, result, now, now - call.start, call.path)
        interest = self._tally.interest(whole)
        if wanted is not None and interest:
            whole = Called(
                pid,
                tid,
                call.number,
                call.arguments,
                result,
                now,
                now - call.start,
                call.path,
                self._string(pid, call.arguments, wanted.second),
                self._address(pid, call.arguments, wanted.address),
            )
        reader = self._readers.get(pid)
        if reader is not None and (interest or self._watch.every_line):
            stack, told = reader.read(tid, MAX_FRAMES if interest else SHALLOW)
            self._told += told
            whole = whole.at(stack)
        due = self._tally.count(whole)
        if due is not None:
            self._told.append(due)

    def _memory(self, pid: int) -> Memory | None:
        known = self._memories.get(pid)
        if known is None:
            try:
                known = self._memories[pid] = Memory.open(pid, "syscalls")
            except LookError:
                return None
        return known

    def _string(self, pid: int, arguments: tuple[int, ...], place: int | None) -> bytes | None:
        memory = self._memory(pid) if place is not None else None
        if memory is None or place is None or not arguments[place]:
            return None
        try:
            return memory.string(arguments[place], PATH_ROOM)
        except Unreadable:
            return None

    def _error_told(self, pid: int, at: int) -> int:
        """How a connect in the background ended, 0 where it did not fail."""
        memory = self._memory(pid)
        try:
            told = memory.u32(at) if memory is not None else 0
        except Unreadable:
            return 0
        return told if told < _MAX_ERRNO else 0

    def _address(self, pid: int, arguments: tuple[int, ...], place: int | None) -> bytes | None:
        memory = self._memory(pid) if place is not None else None
        if memory is None or place is None or not arguments[place]:
            return None
        try:
            return memory.read_some(arguments[place], ADDRESS_ROOM)
        except Unreadable:
            return None

    def stop(self) -> Iterator[Told]:
        """Let all threads go on by themselves. Under a filter that can't be done: they end when this process does."""
        if not self._filtered:
            deadline = time.monotonic() + _LETTING_GO_S
            for tid in list(self._process):
                try:
                    ptrace.call(ptrace.INTERRUPT, tid)
                except OSError:
                    self._process.pop(tid, None)  # it has ended
            while self._process and time.monotonic() < deadline:
                if not self._release_one():
                    signal.sigtimedwait([signal.SIGCHLD], 0.01)
        told, self._told = self._told, []
        return iter(told)

    def _release_one(self) -> bool:
        try:
            tid, status = os.waitpid(-1, os.WNOHANG | ptrace.WALL)
        except ChildProcessError:
            self._process.clear()
            return True
        if not tid:
            return False
        if not os.WIFSTOPPED(status):
            self._ended(tid, status)
            return True
        stop, event = os.WSTOPSIG(status), status >> 16
        sent = stop if not event and stop != ptrace.CALL_STOP else 0
        if ptrace.resume(ptrace.DETACH, tid, sent):
            self._process.pop(tid, None)
        return True

    def totals(self) -> Iterator[Total]:
        return self._tally.totals()

    def failures(self) -> dict[int, Failure]:
        return self._tally.failures()

    def moved(self) -> dict[tuple[int, int], Moved]:
        return self._tally.moved()

    def unfinished(self) -> Iterator[Unfinished]:
        for tid, call in self._calls.items():
            yield Unfinished(self._process.get(tid, tid), tid, call.number, call.start, call.path)

    def lost(self) -> dict[str, int]:
        return self._tally.lost

    def stopped(self) -> tuple[int, float]:
        """How often a thread was stopped, and for how many seconds in all, without the switches to us and back."""
        return self._stops, self._stopped_s

    def close(self) -> None:
        for pid in {*self._memories, *self._readers}:
            self.forget(pid)
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._mask = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _process_of(tid: int) -> int:
    """The process that a thread belongs to; itself where that can't be told any more."""
    try:
        return int(parse_status(read_file(f"/proc/{tid}/status"))["Tgid"])
    except (OSError, KeyError):
        return tid


def _is_ending(tid: int) -> bool:
    """The kernel refuses to trace what is on its way out with EPERM, too (kernel/ptrace.c, ptrace_attach: exit_state)."""
    try:
        return stat(tid).letter in "ZX"
    except LookError:
        return True
