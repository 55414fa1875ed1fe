"""How often processes make each system call, added up in the kernel: nothing is told of a call but that it was begun.

    every call of the machine  →  is its process a wanted one?  →  counts[process, number] += 1

What it costs is not ours alone: a tracepoint at the beginning of calls sends each call of every process through the kernel's slow way in
(SYSCALL_WORK_SYSCALL_TRACEPOINT, kernel/entry/syscall-common.c, Linux 6.18), about a tenth of a microsecond more.

Not seen: what io_uring does; 32-bit programs have other numbers. It needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), Linux 5.10, x86-64.
"""

from contextlib import ExitStack
from struct import Struct as Packing
from types import TracebackType
from typing import Self

from pellucid.kernel import bpf
from pellucid.kernel.bpf_assembler import (
    GET_CURRENT_PID_TGID,
    MAP_UPDATE,
    R0,
    R1,
    R2,
    R3,
    R4,
    R7,
    R10,
    Assembler,
)
from pellucid.kernel.bpf_namespace import Namespace, ids_here
from pellucid.kernel.bpf_parts import lookup

MAX_PROCESSES = 1 << 12
MAX_COUNTS = 1 << 16
_KEY, _VALUE = Packing("<II"), Packing("<Q")
_PID = Packing("<I")
_NOEXIST = 1
_NUMBER, _HERE, _ENTRY, _ONE = 8, -8, -16, -24
"""Of the tracepoint's arguments; places on the stack."""


class Counts:
    """The loaded program; a context manager. Raises OSError where the kernel refuses, and bpf.Refused."""

    def __init__(self) -> None:
        self._open = ExitStack()
        try:
            self._wanted = self._map(4, 4, MAX_PROCESSES, b"procs")
            self._counts = self._map(8, 8, MAX_COUNTS, b"calls")
            program = self._open.enter_context(bpf.Program("counts", self._code(Namespace.own())))
            self._open.enter_context(program.attach("sys_enter"))
        except BaseException:
            self._open.close()
            raise

    def _map(self, key: int, value: int, entries: int, name: bytes) -> bpf.Map:
        return self._open.enter_context(bpf.Map(bpf.HASH, key, value, entries, name=name, flags=bpf.NO_PREALLOC))

    def follow(self, pid: int) -> None:
        """Count what it does from now on; `pid` as we see it. OSError (E2BIG): too many."""
        self._wanted.set(_PID.pack(pid), _PID.pack(1))

    def forget(self, pid: int) -> None:
        """No longer, and what was counted of it is gone."""
        self._wanted.delete(_PID.pack(pid))
        for key, _ in list(self._counts.items()):
            if _KEY.unpack(key)[0] == pid:
                self._counts.delete(key)

    def counted(self) -> dict[int, dict[int, int]]:
        """Process → number of the call → how often."""
        found: dict[int, dict[int, int]] = {}
        for key, value in self._counts.items():
            pid, number = _KEY.unpack(key)
            found.setdefault(pid, {})[number] = _VALUE.unpack(value)[0]
        return found

    def _code(self, namespace: Namespace | None) -> bytes:
        code = Assembler()
        code.load(R7, R1, _NUMBER)
        if namespace is None:
            code.call(GET_CURRENT_PID_TGID)
            code.store(R10, _HERE, R0)  # the tgid is its upper half
        else:
            ids_here(code, namespace, _HERE, "out")
        lookup(code, self._wanted.fd, _HERE + 4)
        code.jump_if(R0, "==", 0, "out")
        code.load(R1, R10, _HERE + 4, 4)
        code.store(R10, _ENTRY, R1, 4)
        code.store(R10, _ENTRY + 4, R7, 4)
        lookup(code, self._counts.fd, _ENTRY)
        code.jump_if(R0, "!=", 0, "add")
        code.store(R10, _ONE, 1)
        code.map_address(R1, self._counts.fd)
        code.address(R2, R10, _ENTRY)
        code.address(R3, R10, _ONE)
        code.move(R4, _NOEXIST)
        code.call(MAP_UPDATE)
        code.jump_if(R0, "==", 0, "out")
        lookup(code, self._counts.fd, _ENTRY)  # another thread was first, or the map is full
        code.jump_if(R0, "==", 0, "out")
        code.label("add")
        code.move(R1, 1)
        code.atomic_add(R0, 0, R1)
        code.label("out")
        code.leave(0)
        return code.assembled()

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
