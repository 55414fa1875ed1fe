r"""What processes write to some open files, byte for byte, seen at the end of each call that writes. Nothing is stopped.

    write(1, "line 1\n", 7) = 7   →   when it returns: the struct file behind descriptor 1 is a wanted one: copy 7 bytes

Files are told apart as the kernel does it (`bpf_files`), so a dup'ed or inherited descriptor of any number is the same file. A
buffer goes to the ring in pieces; its pages are in memory then, since the kernel has just read them. What a record could not hold
is counted by bytes: no room in the ring, memory that could not be read, one call of more than 512 pieces (8 MiB, or as many
buffers of a writev), and what never passed through the process's memory (sendfile, splice, copy_file_range).

Not seen: io_uring, and 32-bit programs. It needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), Linux 5.10, x86-64.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from errno import E2BIG
from struct import Struct as Packing
from types import TracebackType
from typing import Self

from msgspec import Struct

from pellucid.kernel import bpf, bpf_files, bpf_task
from pellucid.kernel.bpf_assembler import (
    GET_CURRENT_PID_TGID,
    KTIME_GET_NS,
    MAP_UPDATE,
    PROBE_READ_KERNEL,
    PROBE_READ_USER,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    R10,
    RINGBUF_OUTPUT,
    Assembler,
    Register,
)
from pellucid.kernel.bpf_namespace import Namespace, ids_here
from pellucid.kernel.bpf_parts import lookup
from pellucid.kernel.bpf_records import Fields
from pellucid.kernel.bpf_ring import Ring

RING_BYTES = 1 << 24
PIECE = 1 << 14
MAX_PIECES = 512
MAX_PROCESSES = 1 << 16
MAX_FILES = 16

STDOUT, STDERR = 1, 2
LOST = ("ring", "memory", "long", "spliced", "messages")
"""Bytes that were not copied, by the reason; `messages` are calls of sendmmsg."""

_LRU_HASH = 9
_NO_WAKEUP = 1
_U32, _U64 = Packing("<I"), Packing("<Q")
_IDS, _KEY, _HERE, _VECTOR, _FILE = (
    -8,
    -16,
    -24,
    -48,
    -64,
)  # places on the stack; _FILE is where bpf_files.file_of answers

# struct pt_regs, arch/x86/include/uapi/asm/ptrace.h: the part that is copied begins with r10.
_FROM, _REGISTERS = 56, 88
_DX, _SI, _DI, _NUMBER, _SEGMENT = 96, 104, 112, 120, 136
_SEGMENT_32_BIT = 0x23
_MESSAGE_VECTORS, _MESSAGE_COUNT = 16, 24  # struct user_msghdr: msg_iov, msg_iovlen

_PLAIN = (1, 18, 44)  # write, pwrite64, sendto
_VECTORS = (20, 296, 328, 278)  # writev, pwritev, pwritev2, vmsplice
_SENDMSG, _SENDMMSG = 46, 307
_SPLICED = {
    40: _DI,
    275: _DX,
    276: _SI,
    326: _DX,
}  # sendfile, splice, tee, copy_file_range: which argument is written to

RECORD = Fields("pid:4 tid:4 time:8 stream:4 length:4 fd:4 first:4")
"""Before the bytes. `stream`: 1 or 2, `first`: 1 where a call begins. Time in ns of CLOCK_MONOTONIC."""
_SCRATCH = Fields(
    f"registers:{_REGISTERS} fd:8 at:8 left:8 vector:8 vectors:8 remaining:8 "
    f"pid:4 tid:4 time:8 stream:4 length:4 number:4 first:4 bytes:{PIECE}"
)
"""From `pid` on it is a record."""
_RECORD_AT, _BYTES_AT = _SCRATCH["pid"], _SCRATCH["bytes"]


class Written(Struct, frozen=True, gc=False):
    """A piece of what one call wrote. `stream`: 1 is stdout, 2 stderr. `first`: a call begins with it."""

    pid: int
    tid: int
    time_ns: int
    stream: int
    fd: int
    first: bool
    content: bytes


class OutputTracer:
    """Loaded programs; a context manager. Raises OSError where the kernel refuses, bpf.Refused, bpf_files.NotFound, bpf_task.NotFound."""

    def __init__(self, ring_bytes: int = RING_BYTES) -> None:
        self._open = ExitStack()
        self._links = ExitStack()
        try:
            self.layout = bpf_files.layout()
            self._ring = self._open.enter_context(Ring(ring_bytes))
            self._processes = self._new(_LRU_HASH, 4, 4, MAX_PROCESSES, b"procs")
            self._awaited = self._new(bpf.HASH, 4, 4, MAX_PROCESSES, b"await")
            self._files = self._new(bpf.HASH, 8, 4, MAX_FILES, b"files")
            self._lost = self._new(bpf.ARRAY, 4, 8, len(LOST), b"lost")
            self._scratch = self._new(bpf.PERCPU_ARRAY, 4, _SCRATCH.size, 1, b"call")
            self._namespace = Namespace.own()
            self._ended = self._open.enter_context(bpf.Program("out_x", self._at_exit()))
            self._forked = self._open.enter_context(bpf.Program("out_f", self._at_fork(bpf_task.ids_offset())))
        except BaseException:
            self._open.close()
            raise

    def _new(self, kind: int, key: int, value: int, entries: int, name: bytes) -> bpf.Map:
        flags = bpf.NO_PREALLOC if kind == bpf.HASH else 0
        return self._open.enter_context(bpf.Map(kind, key, value, entries, name=name, flags=flags))

    def want_file(self, file: int, stream: int) -> None:
        """Copy what is written to this struct file (`bpf_files.identities`). OSError when full.

        One file may be both streams, as in a terminal: then descriptor 2 is stderr and every other one stdout.
        """
        key = _U64.pack(file)
        known: int = _U32.unpack(self._files.get(key) or bytes(4))[0]
        self._files.set(key, _U32.pack(known | stream))

    def follow(self, pid: int) -> None:
        """Of this process, as we see its pid."""
        known = self._awaited if self._namespace else self._processes
        try:
            known.set(_U32.pack(pid), _U32.pack(1))
        except OSError as error:
            if error.errno != E2BIG:
                raise

    def start(self, *, children: bool) -> None:
        """From now on it is copied; with `children`, also what those write that are forked from now on. Raises OSError."""
        self._links.enter_context(self._ended.attach("sys_exit"))
        if children:
            self._links.enter_context(self._forked.attach("sched_process_fork"))

    def records(self) -> Iterator[Written]:
        """What was written since, in the order in which the calls ended."""
        for raw in self._ring.records():
            pid, tid, time_ns, stream, length, fd, first = RECORD.packing.unpack_from(raw)
            yield Written(pid, tid, time_ns, stream, fd, bool(first), raw[RECORD.size : RECORD.size + length])

    def stop(self) -> None:
        """Copy no more; what is in the ring stays readable."""
        self._links.close()

    def lost(self) -> dict[str, int]:
        """By the names of LOST, those that are not 0; `skipped`: calls at whose end the program could not run."""
        found = {name: _U64.unpack(self._lost.get(_U32.pack(at)) or bytes(8))[0] for at, name in enumerate(LOST)}
        found["skipped"] = self._ended.missed()
        return {name: count for name, count in found.items() if count}

    def close(self) -> None:
        self._links.close()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _at_exit(self) -> bytes:
        """sys_exit(struct pt_regs *, long result). R7 = scratch, R8 = the call's number and then the piece, R9 = the descriptor."""
        code = Assembler()
        code.load(R6, R1, 0)
        code.load(R9, R1, 8)
        code.jump_if(R9, "signed <=", 0, "out")
        self._followed(code)
        code.store(R10, _KEY, 0)
        lookup(code, self._scratch.fd, _KEY)
        code.jump_if(R0, "==", 0, "out")
        code.move(R7, R0)
        code.store(R7, _SCRATCH["remaining"], R9)
        code.address(R1, R7, _SCRATCH["registers"])
        code.move(R2, _REGISTERS)
        code.address(R3, R6, _FROM)
        code.call(PROBE_READ_KERNEL)
        code.jump_if(R0, "!=", 0, "out")
        _load(code, R1, _SEGMENT)
        code.bit_and(R1, 0xFFFF)
        code.jump_if(R1, "==", _SEGMENT_32_BIT, "out")
        _load(code, R8, _NUMBER)
        self._which(code)
        self._copy(code)
        code.label("out")
        code.leave(0)
        self._unknown(code)
        return code.assembled()

    def _followed(self, code: Assembler) -> None:
        """Our ids at _IDS; leaves where this process is not followed."""
        code.call(GET_CURRENT_PID_TGID)
        code.store(R10, _IDS, R0)
        lookup(code, self._processes.fd, _IDS + 4)
        code.jump_if(R0, "==", 0, "unknown" if self._namespace else "out")
        code.label("followed")

    def _unknown(self, code: Assembler) -> None:
        """In a pid namespace: a process that is not known by the kernel's own number may be one that is awaited by ours."""
        if not self._namespace:
            return
        code.label("unknown")
        ids_here(code, self._namespace, _HERE, "out")
        lookup(code, self._awaited.fd, _HERE + 4)
        code.jump_if(R0, "==", 0, "out")
        code.store(R10, _KEY, 1)
        code.map_address(R1, self._processes.fd)
        code.address(R2, R10, _IDS + 4)
        code.address(R3, R10, _KEY)
        code.move(R4, 0)
        code.call(MAP_UPDATE)
        code.jump("followed")

    def _which(self, code: Assembler) -> None:
        """What is written from where, and whether to a wanted file: at, left, vector, vectors; the stream."""
        for field in ("at", "left", "vector", "vectors"):
            code.store(R7, _SCRATCH[field], 0)
        for number in _PLAIN:
            code.jump_if(R8, "==", number, "plain")
        for number in _VECTORS:
            code.jump_if(R8, "==", number, "vectors")
        code.jump_if(R8, "==", _SENDMSG, "message")
        code.jump_if(R8, "==", _SENDMMSG, "at di")
        for number in _SPLICED:
            code.jump_if(R8, "==", number, f"spliced {number}")
        code.jump("out")
        for number, argument in _SPLICED.items():
            code.label(f"spliced {number}")
            _load(code, R9, argument)
            code.jump("descriptor")
        code.label("plain")
        _load(code, R1, _SI)
        code.store(R7, _SCRATCH["at"], R1)
        code.store(R7, _SCRATCH["left"], R9)
        code.jump("at di")
        code.label("vectors")
        _load(code, R1, _SI)
        code.store(R7, _SCRATCH["vector"], R1)
        _load(code, R1, _DX)
        code.store(R7, _SCRATCH["vectors"], R1)
        code.jump("at di")
        code.label("message")
        code.address(R1, R10, _VECTOR)
        code.move(R2, 16)
        _load(code, R3, _SI)
        code.add(R3, _MESSAGE_VECTORS)
        code.call(PROBE_READ_USER)
        code.jump_if(R0, "!=", 0, "at di")  # told as memory that could not be read, if the file is wanted
        code.load(R1, R10, _VECTOR)
        code.store(R7, _SCRATCH["vector"], R1)
        code.load(R1, R10, _VECTOR + _MESSAGE_COUNT - _MESSAGE_VECTORS)
        code.store(R7, _SCRATCH["vectors"], R1)
        code.label("at di")
        _load(code, R9, _DI)
        code.label("descriptor")
        code.shift_left(R9, 32)
        code.shift_right(R9, 32)
        code.store(R7, _SCRATCH["fd"], R9)
        bpf_files.file_of(code, self.layout, R9, "out")
        lookup(code, self._files.fd, _FILE)
        code.jump_if(R0, "==", 0, "out")
        code.load(R1, R0, 0, 4)
        code.jump_if(R1, "!=", STDOUT | STDERR, "one stream")
        code.move(R1, STDERR)
        code.jump_if(R9, "==", 2, "one stream")
        code.move(R1, STDOUT)
        code.label("one stream")
        code.store(R7, _SCRATCH["stream"], R1, 4)
        for number in _SPLICED:
            code.jump_if(R8, "==", number, "lost spliced")
        code.jump_if(R8, "==", _SENDMMSG, "lost messages")

    def _copy(self, code: Assembler) -> None:
        """Piece by piece; R6 counts them, R8 is the size of one."""
        self._who(code)
        code.store(R7, _SCRATCH["first"], 1, 4)
        code.move(R6, 0)
        code.label("next")
        code.add(R6, 1)
        code.jump_if(R6, ">", MAX_PIECES, "lost long")
        code.load(R8, R7, _SCRATCH["left"])
        code.jump_if(R8, "!=", 0, "piece")
        code.load(R1, R7, _SCRATCH["vectors"])
        code.jump_if(R1, "==", 0, "lost memory")
        code.subtract(R1, 1)
        code.store(R7, _SCRATCH["vectors"], R1)
        code.address(R1, R10, _VECTOR)
        code.move(R2, 16)
        code.load(R3, R7, _SCRATCH["vector"])
        code.call(PROBE_READ_USER)
        code.jump_if(R0, "!=", 0, "lost memory")
        code.load(R1, R7, _SCRATCH["vector"])
        code.add(R1, 16)
        code.store(R7, _SCRATCH["vector"], R1)
        code.load(R1, R10, _VECTOR)
        code.store(R7, _SCRATCH["at"], R1)
        code.load(R8, R10, _VECTOR + 8)
        code.store(R7, _SCRATCH["left"], R8)
        code.jump_if(R8, "==", 0, "next")
        code.label("piece")
        code.load(R1, R7, _SCRATCH["remaining"])
        code.jump_if(R8, "<=", R1, "not more than was written")
        code.move(R8, R1)
        code.label("not more than was written")
        code.jump_if(R8, "<=", PIECE, "small enough")
        code.move(R8, PIECE)
        code.label("small enough")
        code.address(R1, R7, _BYTES_AT)
        code.move(R2, R8)
        code.load(R3, R7, _SCRATCH["at"])
        code.call(PROBE_READ_USER)
        code.jump_if(R0, "!=", 0, "lost memory")
        code.store(R7, _SCRATCH["length"], R8, 4)
        code.map_address(R1, self._ring.map.fd)
        code.address(R2, R7, _RECORD_AT)
        code.move(R3, R8)
        code.add(R3, RECORD.size)
        code.move(R4, _NO_WAKEUP)
        code.call(RINGBUF_OUTPUT)
        code.jump_if(R0, "==", 0, "told")
        _add_lost(code, self._lost, "ring", R8, "told")
        code.label("told")
        code.store(R7, _SCRATCH["first"], 0, 4)
        for field, sign in (("at", 1), ("left", -1), ("remaining", -1)):
            code.load(R1, R7, _SCRATCH[field])
            if sign > 0:
                code.add(R1, R8)
            else:
                code.subtract(R1, R8)
            code.store(R7, _SCRATCH[field], R1)
        code.jump_if(R1, "!=", 0, "next")
        code.jump("out")
        for name in ("memory", "long", "spliced", "messages"):
            code.label(f"lost {name}")
            code.load(R8, R7, _SCRATCH["remaining"])
            _add_lost(code, self._lost, name, R8, "out")
            code.jump("out")

    def _who(self, code: Assembler) -> None:
        if self._namespace:
            ids_here(code, self._namespace, _HERE, "ids of the kernel")
            code.load(R1, R10, _HERE + 4, 4)
            code.load(R2, R10, _HERE, 4)
            code.jump("ids")
            code.label("ids of the kernel")
        code.load(R1, R10, _IDS + 4, 4)
        code.load(R2, R10, _IDS, 4)
        code.label("ids")
        code.store(R7, _SCRATCH["pid"], R1, 4)
        code.store(R7, _SCRATCH["tid"], R2, 4)
        code.load(R1, R7, _SCRATCH["fd"])
        code.store(R7, _SCRATCH["number"], R1, 4)
        code.call(KTIME_GET_NS)
        code.store(R7, _SCRATCH["time"], R0)

    def _at_fork(self, ids_offset: int) -> bytes:
        """sched_process_fork(struct task_struct *parent, *child): the child of a followed process is followed."""
        code = Assembler()
        code.load(R6, R1, 8)
        self._followed(code)
        code.move(R3, R6)
        code.add(R3, ids_offset)
        code.address(R1, R10, _VECTOR)
        code.move(R2, 8)
        code.call(PROBE_READ_KERNEL)
        code.jump_if(R0, "!=", 0, "out")
        code.store(R10, _KEY, 1)
        code.map_address(R1, self._processes.fd)
        code.address(R2, R10, _VECTOR + 4)  # its tgid; of a new thread that is its process's, which is there already
        code.address(R3, R10, _KEY)
        code.move(R4, 0)
        code.call(MAP_UPDATE)
        code.label("out")
        code.leave(0)
        self._unknown(code)
        return code.assembled()


def _load(code: Assembler, to: Register, register: int) -> None:
    code.load(to, R7, _SCRATCH["registers"] + register - _FROM)


def _add_lost(code: Assembler, lost: bpf.Map, name: str, amount: Register, absent: str) -> None:
    code.store(R10, _KEY, LOST.index(name))
    lookup(code, lost.fd, _KEY)
    code.jump_if(R0, "==", 0, absent)
    code.atomic_add(R0, 0, amount)
