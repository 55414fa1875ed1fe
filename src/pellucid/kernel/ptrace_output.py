"""What a process writes to where its stdout and stderr lead, seen by stopping it at each of its calls: for who may load no BPF program.

A thread stands still at the end of a write, so nothing is lost; each call of the process costs it 10 to 30 µs. Files are told apart by
the links in /proc/PID/fd: two that were opened separately under one name are taken for the same.
"""

import os
import time
from collections.abc import Iterator
from struct import iter_unpack

from pellucid.kernel.bpf_output import STDERR, STDOUT, Written
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.kernel.ptrace_trace import PtraceTracer
from pellucid.kernel.ptrace_trace import _Call as Call  # what it keeps of a call that has begun
from pellucid.kernel.syscalls import number as number_of
from pellucid.kernel.traced import Watch

MAX_VECTORS = 1024  # IOV_MAX: the kernel takes no more
_SERVE_S = 0.02

_PLAIN = tuple(number_of(name) for name in ("write", "pwrite64", "sendto"))
_VECTORS = tuple(number_of(name) for name in ("writev", "pwritev", "pwritev2", "vmsplice"))
_SENDMSG = number_of("sendmsg")
_SPLICED: dict[int | None, int] = {
    number_of(name): at for name, at in (("sendfile", 0), ("splice", 2), ("tee", 1), ("copy_file_range", 2))
}


class PtraceOutput(PtraceTracer):
    """As `bpf_output.OutputTracer`, but everything must be called from one thread. A context manager. Raises OSError."""

    def __init__(self) -> None:
        super().__init__(Watch(wanted={}))
        self._written: list[Written] = []
        self._missed: dict[str, int] = {}
        self._wanted: dict[str, int] = {}
        self._children = True
        self._root = 0

    def want(self, links: dict[int, str]) -> None:
        """Copy what is written to these: descriptor 1 or 2 to the link that it is."""
        self._wanted = {}
        for fd, link in links.items():
            self._wanted[link] = self._wanted.get(link, 0) | fd

    def follow(self, pid: int, *, waits: bool = False) -> None:
        self._root = self._root or pid
        super().follow(pid, waits=waits)

    def seize(self, *, children: bool) -> None:
        """All threads of those that are followed; `children`: copy what those write too. Raises OSError."""
        self._children = children
        self.start()

    def records(self) -> Iterator[Written]:
        """Serve its stops for a moment, and give what was written."""
        for _ in self.poll(_SERVE_S):
            continue  # forks and exits, which only keep the tracer's books
        written, self._written = self._written, []
        return iter(written)

    def lost(self) -> dict[str, int]:
        return dict(self._missed)

    def _finished(self, tid: int, call: Call, result: int) -> None:
        """A call has ended, and its thread stands still."""
        pid = self._process[tid]
        if result <= 0 or (not self._children and pid != self._root):
            return
        number, arguments = call.number, call.arguments
        if number in _SPLICED:
            fd = arguments[_SPLICED[number]] & 0xFFFFFFFF
            if self._stream(pid, fd):
                self._missed["spliced"] = self._missed.get("spliced", 0) + result
            return
        if number not in (*_PLAIN, *_VECTORS, _SENDMSG):
            return
        fd = arguments[0] & 0xFFFFFFFF
        stream = self._stream(pid, fd)
        if not stream:
            return
        memory = self._memory(pid)
        content = _content(memory, number, arguments, result) if memory is not None else b""
        if len(content) < result:
            self._missed["memory"] = self._missed.get("memory", 0) + result - len(content)
        if content:
            self._written.append(Written(pid, tid, time.monotonic_ns(), stream, fd, True, content))

    def _stream(self, pid: int, fd: int) -> int:
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}").removesuffix(" (deleted)")
        except OSError:  # closed by another thread meanwhile
            return 0
        stream = self._wanted.get(link, 0)
        if stream == STDOUT | STDERR:
            return STDERR if fd == STDERR else STDOUT
        return stream


def _content(memory: Memory, number: int, arguments: tuple[int, ...], size: int) -> bytes:
    """What was written, up to what can't be read."""
    try:
        if number in _PLAIN:
            return memory.read_some(arguments[1], size)
        vectors, count = arguments[1], arguments[2]
        if number == _SENDMSG:
            vectors, count = memory.u64(arguments[1] + 16), memory.u64(arguments[1] + 24)
        raw = memory.read(vectors, 16 * min(count, MAX_VECTORS))
        parts: list[bytes] = []
        for base, length in iter_unpack("<QQ", raw):
            part = memory.read_some(base, min(length, size)) if length else b""
            parts.append(part)
            size -= len(part)
            if size <= 0 or len(part) < length:
                break
        return b"".join(parts)
    except Unreadable:
        return b""
