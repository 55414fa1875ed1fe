"""The program at the end of a call: counts it, and tells of it when it failed, was slow, or is of a kind that was asked for.

sys_exit(struct pt_regs *, long result). Equal failed calls (same process, call, error, path, descriptor and Python stack) are
told once and counted: a program that fails a million times a second fills no ring. Of the calls that did not fail nothing
leaves the kernel but their counts, by process, call and stack.
"""

from msgspec import Struct

from pellucid.kernel.bpf_assembler import (
    KTIME_GET_NS,
    MAP_DELETE,
    MAP_LOOKUP,
    MAP_UPDATE,
    PROBE_READ_KERNEL,
    PROBE_READ_USER,
    PROBE_READ_USER_STR,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
    RINGBUF_OUTPUT,
    Assembler,
    Register,
)
from pellucid.kernel.bpf_follow import lookup
from pellucid.kernel.bpf_python import MIXING, SCRATCH, PythonMaps, finish_mixing, mix, python_parts
from pellucid.kernel.bpf_records import (
    ADDRESS_ROOM,
    CALL,
    CALL_DATA_ROOM,
    CALLED,
    CALLS,
    CLOSES_FD,
    EVERY,
    FAILURE,
    FD_FIRST,
    LOST,
    MAKES_FD,
    MAX_FRAMES,
    MOVED,
    NEW_FD,
    PATH_ROOM,
    PROCESS,
    REGISTERS,
    REGISTERS_SIZE,
    SEGMENT_32_BIT,
    SHALLOW,
    TELL,
    THREAD,
    TOTAL,
    WANTED,
)
from pellucid.kernel.traced import COMPAT

_IDS = -8
_NOW = -24
_KEY = -48  # of totals (16 bytes), of moved (8)
_VALUE = -80  # a first value (32 bytes)
_FAILED, _SLOW, _ASKED = 1, 2, 4
_LAST_ERROR = -4096  # results above it, taken as unsigned, are errors (include/linux/err.h, MAX_ERRNO)
_DATA = SCRATCH["call"] + CALL.size
_WORDS = (CALL_DATA_ROOM + 7) // 8
_IN_REGISTERS = SCRATCH["call"] + CALL["r10"] - REGISTERS  # where offset 0 of struct pt_regs would lie
_REGISTER_BITS = 127


class ExitMaps(Struct, frozen=True):
    """Descriptors of the maps that this program uses."""

    processes: int
    threads: int
    wanted: int
    scratch: int
    totals: int
    failures: int
    moved: int
    ring: int
    lost: int


class Told(Struct, frozen=True):
    """What this program tells. `slow_ns`: calls that took so long; None for none. `every_line`: stacks of all calls."""

    slow_ns: int | None
    every_line: bool
    descriptors: bool


def ended(maps: ExitMaps, python: PythonMaps, told: Told) -> bytes:
    """The whole program."""
    code = Assembler()
    _find(code, maps)
    _describe(code, maps)
    _interest(code, told)
    _stack(code, told)
    _count(code, maps)
    if told.descriptors:
        _count_moved(code, maps)
    code.load(R1, R7, SCRATCH["interest"])
    code.jump_if(R1, "==", 0, "out")
    _data(code)
    if told.descriptors:
        _tell_moved(code, maps)
    _failure(code, maps)
    _tell(code, maps)
    code.label("out")
    code.leave(0)
    python_parts(code, python)
    return code.assembled()


def _find(code: Assembler, maps: ExitMaps) -> None:
    """R8 = the thread, R9 = its process, R7 = scratch, R6 = registers; leaves where the call's beginning was not seen."""
    code.load(R6, R1, 0)
    code.call(14)
    code.store(R10, _IDS, R0)
    lookup(code, maps.threads, _IDS)
    code.jump_if(R0, "==", 0, "out")
    code.move(R8, R0)
    code.load(R1, R8, THREAD["in_call"], 4)
    code.jump_if(R1, "==", 0, "out")
    code.store(R8, THREAD["in_call"], 0, 4)
    code.call(KTIME_GET_NS)
    code.store(R10, _NOW, R0)
    lookup(code, maps.processes, _IDS + 4)
    code.jump_if(R0, "==", 0, "out")
    code.move(R9, R0)
    code.store(R10, _KEY, 0)
    lookup(code, maps.scratch, _KEY)
    code.jump_if(R0, "==", 0, "out")
    code.move(R7, R0)


def _describe(code: Assembler, maps: ExitMaps) -> None:
    """The fixed part of the record. R6 = what is wanted of this call."""
    call = SCRATCH["call"]
    code.store(R7, call + CALL["kind"], CALLED, 4)
    for name, at in (("tid", _IDS), ("tgid", _IDS + 4)):
        code.load(R1, R10, at, 4)
        code.store(R7, call + CALL[name], R1, 4)
    code.load(R1, R9, PROCESS["pid"], 4)
    code.store(R7, call + CALL["pid"], R1, 4)
    code.load(R1, R10, _NOW)
    code.store(R7, call + CALL["time"], R1)
    code.load(R2, R8, THREAD["start"])
    code.subtract(R1, R2)
    code.store(R7, call + CALL["duration"], R1)
    code.store(R7, call + CALL["stack"], 0)
    code.store(R7, call + CALL["key"], 0)
    code.store(R7, call + CALL["slow"], 0, 4)
    for name in ("reads", "read_bytes", "writes", "written_bytes", "path_length"):
        code.store(R7, call + CALL[name], 0)  # path_length with the three that follow it
    code.address(R1, R7, call + CALL["r10"])
    code.move(R2, REGISTERS_SIZE)
    code.move(R3, R6)
    code.add(R3, REGISTERS)
    code.call(PROBE_READ_KERNEL)
    code.load(R1, R8, THREAD["number"], 4)
    code.load(R2, R7, call + CALL["cs"])
    code.jump_if(R2, "!=", SEGMENT_32_BIT, "64 bit")
    code.add(R1, COMPAT)
    code.label("64 bit")
    code.store(R7, call + CALL["number"], R1, 4)
    code.jump_if(R1, "<", CALLS, "in the table")
    code.move(R1, CALLS - 1)
    code.label("in the table")
    code.store(R10, _KEY, R1, 4)
    lookup(code, maps.wanted, _KEY)
    code.jump_if(R0, "==", 0, "out")
    code.move(R6, R0)


def _interest(code: Assembler, told: Told) -> None:
    """On the stack: why a record is due, 0 where none is."""
    call = SCRATCH["call"]
    code.move(R2, 0)
    code.load(R1, R7, call + CALL["result"])
    code.jump_if(R1, "<=", _LAST_ERROR, "no error")
    code.bit_or(R2, _FAILED)
    code.label("no error")
    if told.slow_ns is not None:
        code.load(R1, R7, call + CALL["duration"])
        code.constant(R3, told.slow_ns)
        code.jump_if(R1, "<", R3, "not slow")
        code.bit_or(R2, _SLOW)
        code.store(R7, call + CALL["slow"], 1, 4)
        code.label("not slow")
    code.load(R1, R6, WANTED["flags"], 4)
    code.bit_and(R1, TELL)
    code.jump_if(R1, "==", 0, "not asked for")
    code.bit_or(R2, _ASKED)
    code.label("not asked for")
    code.store(R7, SCRATCH["interest"], R2)


def _stack(code: Assembler, told: Told) -> None:
    code.load(R1, R9, PROCESS["runtime"])
    code.jump_if(R1, "==", 0, "stack done")
    code.load(R1, R7, SCRATCH["interest"])
    code.store(R7, SCRATCH["depth"], MAX_FRAMES)
    code.jump_if(R1, "!=", 0, "deep")
    if told.every_line:
        code.store(R7, SCRATCH["depth"], SHALLOW)
    else:
        code.jump("stack done")
    code.label("deep")
    code.move(R1, R7)
    code.move(R2, R8)
    code.move(R3, R9)
    code.call_part("stack_of")
    code.label("stack done")


def _count(code: Assembler, maps: ExitMaps) -> None:
    """Add the call to `totals`."""
    call = SCRATCH["call"]
    code.load(R1, R10, _IDS + 4, 4)
    code.store(R10, _KEY, R1, 4)
    code.load(R1, R7, call + CALL["number"], 4)
    code.store(R10, _KEY + 4, R1, 4)
    code.load(R1, R7, call + CALL["stack"])
    code.store(R10, _KEY + 8, R1)
    lookup(code, maps.totals, _KEY)
    code.jump_if(R0, "!=", 0, "has a total")
    _first(code, maps.totals, _KEY, TOTAL.size)
    lookup(code, maps.totals, _KEY)
    code.jump_if(R0, "!=", 0, "has a total")
    count_lost_here(code, maps.lost, "totals", "counted")
    code.label("has a total")
    code.move(R1, 1)
    code.atomic_add(R0, TOTAL["calls"], R1)
    code.load(R2, R7, call + CALL["duration"])
    code.atomic_add(R0, TOTAL["total_ns"], R2)
    _keep_largest(code, TOTAL["max_ns"], R2, "total")
    code.load(R2, R7, SCRATCH["interest"])
    code.bit_and(R2, _FAILED)
    code.jump_if(R2, "==", 0, "counted")
    code.atomic_add(R0, TOTAL["errors"], R1)
    code.label("counted")


def _first(code: Assembler, map_fd: int, key_at: int, size: int) -> None:
    """A value of zeros under the key, unless another thread has just made one."""
    for at in range(0, size, 8):
        code.store(R10, _VALUE + at, 0)
    code.map_address(R1, map_fd)
    code.address(R2, R10, key_at)
    code.address(R3, R10, _VALUE)
    code.move(R4, 1)  # BPF_NOEXIST
    code.call(MAP_UPDATE)


def _keep_largest(code: Assembler, offset: int, value: Register, name: str) -> None:
    """Two threads at once may lose the smaller of two maxima, never the sum."""
    code.load(R3, R0, offset)
    code.jump_if(R3, ">=", value, f"{name} is larger")
    code.store(R0, offset, value)
    code.label(f"{name} is larger")


def count_lost_here(code: Assembler, lost: int, what: str, after: str) -> None:
    """As `count_lost`, which uses the place where this program keeps its ids."""
    code.load(R5, R10, _IDS)
    code.store(R10, _VALUE, R5)
    code.store(R10, _KEY, LOST.index(what), 4)
    lookup(code, lost, _KEY)
    code.jump_if(R0, "==", 0, after)
    code.move(R1, 1)
    code.atomic_add(R0, 0, R1)
    code.jump(after)


def _register(code: Assembler, to: Register, name: str, none: str) -> None:
    """`to` = the argument whose offset in pt_regs stands in the field `name` of what is wanted."""
    code.load(to, R6, WANTED[name], 2)
    code.jump_if(to, "==", 0, none)
    code.bit_and(to, _REGISTER_BITS)
    code.add(to, R7)
    code.load(to, to, _IN_REGISTERS)


def _count_moved(code: Assembler, maps: ExitMaps) -> None:
    """Add the bytes of a read or write to its descriptor's count."""
    for name, calls, size in (("reads", "reads", "read_bytes"), ("writes", "writes", "written_bytes")):
        done = f"{name} counted"
        code.load(R1, R7, SCRATCH["call"] + CALL["result"])
        code.jump_if(R1, "signed <", 0, done)
        _register(code, R1, name, done)
        code.store(R10, _KEY + 4, R1, 4)
        code.load(R1, R10, _IDS + 4, 4)
        code.store(R10, _KEY, R1, 4)
        lookup(code, maps.moved, _KEY)
        code.jump_if(R0, "!=", 0, f"{name} known")
        _first(code, maps.moved, _KEY, MOVED.size)
        lookup(code, maps.moved, _KEY)
        code.jump_if(R0, "!=", 0, f"{name} known")
        count_lost_here(code, maps.lost, "descriptors", done)
        code.label(f"{name} known")
        code.move(R1, 1)
        code.atomic_add(R0, MOVED[calls], R1)
        code.load(R1, R7, SCRATCH["call"] + CALL["result"])
        code.atomic_add(R0, MOVED[size], R1)
        code.label(done)


def _tell_moved(code: Assembler, maps: ExitMaps) -> None:
    """A descriptor that was closed, or whose number was given out again: what went through it goes into this record."""
    call = SCRATCH["call"]
    code.load(R1, R7, SCRATCH["interest"])
    code.bit_and(R1, _FAILED)
    code.jump_if(R1, "!=", 0, "moved told")
    code.load(R2, R6, WANTED["flags"], 4)
    code.load(R3, R7, call + CALL["result"])
    code.move(R1, R2)
    code.bit_and(R1, MAKES_FD)
    code.jump_if(R1, "!=", 0, "descriptor known")
    code.load(R3, R7, call + CALL["di"])
    code.move(R1, R2)
    code.bit_and(R1, CLOSES_FD)
    code.jump_if(R1, "!=", 0, "descriptor known")
    code.load(R3, R7, call + CALL["si"])
    code.bit_and(R2, NEW_FD)
    code.jump_if(R2, "==", 0, "moved told")
    code.label("descriptor known")
    code.store(R10, _KEY + 4, R3, 4)
    code.load(R1, R10, _IDS + 4, 4)
    code.store(R10, _KEY, R1, 4)
    lookup(code, maps.moved, _KEY)
    code.jump_if(R0, "==", 0, "moved told")
    for name, at in MOVED.items():
        code.load(R1, R0, at)
        code.store(R7, call + CALL[name], R1)
    code.map_address(R1, maps.moved)
    code.address(R2, R10, _KEY)
    code.call(MAP_DELETE)
    code.label("moved told")


def _data(code: Assembler) -> None:
    """Path, second path and address behind the record, one after the other; `position` says how long they are."""
    call = SCRATCH["call"]
    code.store(R7, SCRATCH["position"], 0)
    code.load(R2, R8, THREAD["path_length"], 4)
    code.jump_if(R2, "==", 0, "path not kept")
    code.jump_if(R2, ">", PATH_ROOM, "path not kept")
    code.address(R1, R7, _DATA)
    code.store(R7, SCRATCH["position"], R2)
    code.address(R3, R8, THREAD["path"])
    code.call(PROBE_READ_KERNEL)
    code.load(R1, R7, SCRATCH["position"])
    code.store(R7, call + CALL["path_length"], R1, 2)
    code.jump("path told")
    code.label("path not kept")
    _string(code, "path", "path_length", "path told")
    code.label("path told")
    _string(code, "second", "second_length", "second told")
    code.label("second told")
    _register(code, R3, "address", "address told")
    code.jump_if(R3, "==", 0, "address told")
    _place(code, R1)
    code.move(R2, ADDRESS_ROOM)
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "!=", 0, "address told")
    code.store(R7, call + CALL["address_length"], ADDRESS_ROOM, 2)
    code.load(R1, R7, SCRATCH["position"])
    code.add(R1, ADDRESS_ROOM)
    code.store(R7, SCRATCH["position"], R1)
    code.label("address told")
    _place(code, R1)
    code.store(R1, 0, 0)  # so that equal data are equal to the end of their last word


def _place(code: Assembler, to: Register) -> None:
    """`to` = where the next piece of data goes."""
    code.load(to, R7, SCRATCH["position"])
    code.jump_if(to, ">", CALL_DATA_ROOM, "out")
    code.add(to, R7)
    code.add(to, _DATA)


def _string(code: Assembler, argument: str, length: str, none: str) -> None:
    """The string that an argument points to, with its NUL; nothing where it can't be read."""
    _register(code, R3, argument, none)
    _place(code, R1)
    code.move(R2, PATH_ROOM)
    code.call(PROBE_READ_USER_STR)
    code.jump_if(R0, "signed <=", 0, none)
    code.store(R7, SCRATCH["call"] + CALL[length], R0, 2)
    code.load(R1, R7, SCRATCH["position"])
    code.add(R1, R0)
    code.store(R7, SCRATCH["position"], R1)


def _failure(code: Assembler, maps: ExitMaps) -> None:
    """A failed call that is equal to an earlier one is counted, and told again only when it was slow or asked for."""
    call = SCRATCH["call"]
    code.load(R1, R7, SCRATCH["interest"])
    code.bit_and(R1, _FAILED)
    code.jump_if(R1, "==", 0, "not counted as equal")
    _failure_key(code)
    code.store(R7, call + CALL["key"], R4)
    code.map_address(R1, maps.failures)
    code.address(R2, R7, call + CALL["key"])
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "==", 0, "a new failure")
    _add_failure(code, "known")
    code.load(R1, R7, SCRATCH["interest"])
    code.bit_and(R1, _SLOW)
    code.jump_if(R1, "!=", 0, "not counted as equal")
    code.load(R1, R6, WANTED["flags"], 4)
    code.bit_and(R1, EVERY)
    code.jump_if(R1, "==", 0, "out")
    code.jump("not counted as equal")
    code.label("a new failure")
    for at in range(0, FAILURE.size, 8):
        code.store(R10, _VALUE + at, 0)
    code.map_address(R1, maps.failures)
    code.address(R2, R7, call + CALL["key"])
    code.address(R3, R10, _VALUE)
    code.move(R4, 1)  # BPF_NOEXIST
    code.call(MAP_UPDATE)
    code.map_address(R1, maps.failures)
    code.address(R2, R7, call + CALL["key"])
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "==", 0, "failure lost")
    _add_failure(code, "new")
    code.jump("not counted as equal")
    code.label("failure lost")  # the table is full: each further one is told by itself
    code.store(R7, call + CALL["key"], 0)
    code.label("not counted as equal")


def _add_failure(code: Assembler, name: str) -> None:
    code.move(R1, 1)
    code.atomic_add(R0, FAILURE["count"], R1)
    code.load(R2, R7, SCRATCH["call"] + CALL["duration"])
    code.atomic_add(R0, FAILURE["total_ns"], R2)
    _keep_largest(code, FAILURE["max_ns"], R2, f"{name} failure")
    code.load(R1, R10, _NOW)
    code.store(R0, FAILURE["last"], R1)


def _failure_key(code: Assembler) -> None:
    """R4 = the number of failures that are equal to this one."""
    call = SCRATCH["call"]
    code.load(R4, R10, _IDS + 4, 4)
    code.constant(R2, MIXING)
    for name, size in (("number", 4), ("result", 8), ("stack", 8)):
        code.load(R1, R7, call + CALL[name], size)
        mix(code, R4, R1, R2)
    code.load(R1, R6, WANTED["flags"], 4)
    code.bit_and(R1, FD_FIRST)
    code.jump_if(R1, "==", 0, "descriptor mixed")
    code.load(R1, R7, call + CALL["di"])
    mix(code, R4, R1, R2)
    code.label("descriptor mixed")
    code.load(R5, R7, SCRATCH["position"])
    code.add(R5, 7)
    code.shift_right(R5, 3)
    code.move(R3, 0)
    code.label("next word")
    code.jump_if(R3, ">=", _WORDS, "words mixed")
    code.jump_if(R3, ">=", R5, "words mixed")
    code.move(R1, R3)
    code.shift_left(R1, 3)
    code.add(R1, R7)
    code.load(R1, R1, _DATA)
    mix(code, R4, R1, R2)
    code.add(R3, 1)
    code.jump("next word")
    code.label("words mixed")
    finish_mixing(code, R4, R1)


def _tell(code: Assembler, maps: ExitMaps) -> None:
    """The record into the ring. A failure that finds no room is forgotten, so that the next equal one is told."""
    code.load(R3, R7, SCRATCH["position"])
    code.jump_if(R3, ">", CALL_DATA_ROOM, "out")
    code.add(R3, CALL.size)
    code.map_address(R1, maps.ring)
    code.address(R2, R7, SCRATCH["call"])
    code.move(R4, 1)  # BPF_RB_NO_WAKEUP: the reader comes by itself
    code.call(RINGBUF_OUTPUT)
    code.jump_if(R0, "==", 0, "out")
    code.load(R1, R7, SCRATCH["call"] + CALL["key"])
    code.jump_if(R1, "==", 0, "record lost")
    code.map_address(R1, maps.failures)
    code.address(R2, R7, SCRATCH["call"] + CALL["key"])
    code.call(MAP_DELETE)
    code.label("record lost")
    count_lost_here(code, maps.lost, "records", "out")
