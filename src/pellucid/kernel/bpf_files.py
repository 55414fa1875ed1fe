"""Which open file a descriptor leads to, inside of a BPF program: current → files → table → struct file, as the kernel itself goes.

Two descriptors are the same open file (dup, fork, a passed descriptor) when they lead to one struct file. The fields on the way
lie elsewhere in each kernel build. They are found by looking at ourselves, so that no debug information is needed: of all pointers
in our struct task_struct one leads to a struct files_struct, that is to something with a pointer to a table, whose size is a multiple
of 64 (include/linux/fdtable.h, Linux 6.18), and which says of three descriptors of ours which two of them are the same. Other memory
may happen to say so too (struct vfsmount has a number and an address where a table has them), so one of the three is changed there
and back: only our table follows.
"""

import ctypes
import os
from collections.abc import Iterator
from struct import Struct as Packing
from types import TracebackType
from typing import Self

from msgspec import Struct

from pellucid.kernel import bpf
from pellucid.kernel.bpf_assembler import (
    GET_CURRENT_TASK,
    MAP_LOOKUP,
    PROBE_READ_KERNEL,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R10,
    Assembler,
    Register,
)

_U64 = Packing("<Q")
_PIECE = 512
_TASK_BYTES = 16 << 10  # struct task_struct is 7 to 12 KiB long, CONFIG_* decides
_KERNEL = 0xFF00_0000_0000_0000  # page tables of five levels begin here, of four far above it: Documentation/arch/x86/x86_64/mm.rst
_FIRST_ROOM = 64  # NR_OPEN_DEFAULT: BITS_PER_LONG
_FD_ARRAY = 8  # struct fdtable: max_fds, then fd
_MAX_ROOM = 1 << 26
_MIN_FDT, _MAX_FDT = 16, 128  # where `fdt` may be: lock debugging enlarges the wait queue before it
_PIDFD_GETFD = 438
_TRIES = 5


class NotFound(Exception):  # noqa: N818
    """No field of our task_struct leads to our descriptors in the way that is known."""


class Layout(Struct, frozen=True):
    """Offsets of `files` in struct task_struct and of `fdt` in struct files_struct."""

    files: int
    fdt: int


def layout() -> Layout:
    """Of the running kernel. Raises OSError, Refused, NotFound."""
    one = os.open("/dev/null", os.O_RDONLY)
    same, other = os.dup(one), os.open("/dev/null", os.O_RDONLY)
    try:
        with _Peek() as peek:
            task = peek.own_task()
            for _ in range(_TRIES):  # another thread that opens many files makes the kernel move the table
                for offset, files in _pointers(peek.bytes(task, _TASK_BYTES)):
                    for fdt in _tables_of(peek, files, (one, same, other)):
                        if _follows(peek, files + fdt, (one, same, other)):
                            return Layout(offset, fdt)
    finally:
        for fd in (one, same, other):
            os.close(fd)
    raise NotFound


def _pointers(raw: bytes) -> list[tuple[int, int]]:
    """(offset, value) of what may be addresses of the kernel, each value once."""
    found: dict[int, int] = {}
    for offset in range(0, len(raw) - 7, 8):
        value: int = _U64.unpack_from(raw, offset)[0]
        if value >= _KERNEL and not value % 8 and value != (1 << 64) - 8:
            found.setdefault(value, offset)
    return [(offset, value) for value, offset in found.items()]


def _tables_of(peek: "_Peek", files: int, ours: tuple[int, int, int]) -> Iterator[int]:
    """The offsets in a would-be struct files_struct of pointers to what may be a table in which our three descriptors stand."""
    raw = peek.piece(files)
    if raw is None:
        return
    for at in range(_MIN_FDT, _MAX_FDT, 8):
        table: int = _U64.unpack_from(raw, at)[0]
        if table >= _KERNEL and not table % 8 and _stand(peek, table, ours):
            yield at


def _stand(peek: "_Peek", table: int, ours: tuple[int, int, int]) -> bool:
    """Whether the first two of these are one file in it, and the third another."""
    seen = peek.piece(table)
    if seen is None:
        return False
    room, array = int.from_bytes(seen[:4], "little"), int(_U64.unpack_from(seen, _FD_ARRAY)[0])
    if room % _FIRST_ROOM or not max(ours) < room <= _MAX_ROOM or array < _KERNEL:
        return False
    one, same, other = (peek.word(array + 8 * fd) for fd in ours)
    return one == same != other and one >= _KERNEL and other >= _KERNEL


def _follows(peek: "_Peek", pointer: int, ours: tuple[int, int, int]) -> bool:
    """Whether the table that is pointed to there tells it when the second descriptor becomes the third's file, and the first's again."""
    one, same, other = ours
    os.dup2(other, same, inheritable=False)
    moved = _stand(peek, peek.word(pointer), (other, same, one))
    os.dup2(one, same, inheritable=False)
    return moved and _stand(peek, peek.word(pointer), ours)


def file_of(code: Assembler, known: Layout, fd: Register, failed: str) -> None:
    """The 8 bytes 64 below the top of the stack become the struct file of descriptor `fd` (R6 to R9) of the running thread."""
    at = -64
    code.call(GET_CURRENT_TASK)
    code.move(R3, R0)
    for offset in (known.files, known.fdt, _FD_ARRAY, None):
        if offset is None:
            code.load(R3, R10, at)
            code.move(R1, fd)
            code.shift_left(R1, 3)
            code.add(R3, R1)
        elif offset == known.files:
            code.add(R3, offset)
        else:
            code.load(R3, R10, at)
            code.add(R3, offset)
        code.address(R1, R10, at)
        code.move(R2, 8)
        code.call(PROBE_READ_KERNEL)
        code.jump_if(R0, "!=", 0, failed)


def identities(pid: int, fds: tuple[int, ...], known: Layout) -> dict[int, int]:
    """Each of these descriptors of `pid` that is open: the address of its struct file, which only BPF programs can use.

    Each is taken over for a moment by pidfd_getfd(2), which needs the right to trace, and closed again. Raises OSError, Refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    found: dict[int, int] = {}
    pidfd = os.pidfd_open(pid)
    try:
        with _Own(known) as own:
            for fd in fds:
                mine = libc.syscall(_PIDFD_GETFD, pidfd, fd, 0)
                if mine < 0:
                    number = ctypes.get_errno()
                    if number == 9:  # EBADF: it has closed it
                        continue
                    raise OSError(number, os.strerror(number))
                try:
                    found[fd] = own.file(mine)
                finally:
                    os.close(mine)
    finally:
        os.close(pidfd)
    return found


class _Loaded:
    """A program with one map, that runs in this thread when it is told to."""

    def __init__(self, size: int) -> None:
        self._map = bpf.Map(bpf.ARRAY, 4, size, 1, name=b"peek")
        try:
            self._program = bpf.Program("peek", self._code())
        except BaseException:
            self._map.close()
            raise

    def _code(self) -> bytes:
        code = Assembler()
        code.store(R10, -4, 0, 4)
        code.map_address(R1, self._map.fd)
        code.address(R2, R10, -4)
        code.call(MAP_LOOKUP)
        code.jump_if(R0, "==", 0, "out")
        code.move(R7, R0)
        self._body(code)
        code.label("out")
        code.leave(0)
        return code.assembled()

    def _body(self, code: Assembler) -> None:
        raise NotImplementedError

    def _run(self, value: bytes) -> bytes:
        self._map.set(bytes(4), value)
        self._program.run()
        return self._map.get(bytes(4)) or bytes(len(value))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._program.close()
        self._map.close()


class _Peek(_Loaded):
    """Reads of kernel memory: address, what was read (8 bytes: 0 when it went well, or our task), content."""

    def __init__(self) -> None:
        super().__init__(16 + _PIECE)

    def _body(self, code: Assembler) -> None:
        code.load(R6, R7, 0)
        code.jump_if(R6, "!=", 0, "read")
        code.call(GET_CURRENT_TASK)
        code.store(R7, 8, R0)
        code.jump("out")
        code.label("read")
        code.address(R1, R7, 16)
        code.move(R2, _PIECE)
        code.move(R3, R6)
        code.call(PROBE_READ_KERNEL)
        code.store(R7, 8, R0)

    def own_task(self) -> int:
        task: int = _U64.unpack_from(self._run(bytes(16 + _PIECE)), 8)[0]
        return task

    def piece(self, address: int) -> bytes | None:
        """_PIECE bytes; None where there is no memory."""
        told = self._run(_U64.pack(address).ljust(16 + _PIECE, b"\0"))
        return None if any(told[8:16]) else told[16:]

    def word(self, address: int) -> int:
        """0 where there is no memory."""
        piece = self.piece(address)
        return 0 if piece is None else int(_U64.unpack_from(piece)[0])

    def bytes(self, address: int, size: int) -> bytes:
        """Up to where there is no memory any more."""
        found = b""
        while len(found) < size and (piece := self.piece(address + len(found))):
            found += piece
        return found


class _Own(_Loaded):
    """The struct file of a descriptor of ours: descriptor, address."""

    def __init__(self, known: Layout) -> None:
        self._known = known
        super().__init__(16)

    def _body(self, code: Assembler) -> None:
        code.load(R6, R7, 0)
        file_of(code, self._known, R6, "out")
        code.load(R1, R10, -64)
        code.store(R7, 8, R1)

    def file(self, fd: int) -> int:
        """Raises NotFound."""
        address: int = _U64.unpack_from(self._run(_U64.pack(fd) + bytes(8)), 8)[0]
        if address < _KERNEL:
            raise NotFound
        return address
