"""The record of a call that has ended: its arguments, what they point to, what went through its descriptors, and its key.

Arguments lie in the registers until the call returns, so they are copied only when a record is due, and so are the strings that they
point to: by now the kernel has brought their pages in, which is why an empty string in such a record is really an empty string. Only
the path of an execve, which destroys it, is read when the call begins, and here where its page was not in memory then.
"""

from msgspec import Struct

from pellucid.kernel.bpf_assembler import (
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
from pellucid.kernel.bpf_parts import IDS, MIXING, NO_WAKEUP, count_lost, finish_mixing, lookup, mix
from pellucid.kernel.bpf_records import (
    ADDRESS_ROOM,
    CALL,
    CALL_DATA_ROOM,
    CALLED,
    CLOSES_FD,
    EVERY,
    FAILURE,
    FD_FIRST,
    MAKES_FD,
    MOVED,
    NEW_FD,
    PATH_ROOM,
    PROCESS,
    REGISTERS,
    REGISTERS_SIZE,
    THREAD,
    WANTED,
)
from pellucid.kernel.bpf_scratch import LAST, SCRATCH

REGISTERS_AT = -24
KEY = -48
"""Of totals (16 bytes), of moved (8)."""
VALUE = -80
"""A first value: at most 32 bytes."""
FAILED, SLOW, ASKED, BACKGROUND = 1, 2, 4, 8
"""Why a record is due. BACKGROUND with FAILED: the call itself did not fail, it told how an earlier connect did."""

_CALL = SCRATCH["call"]
_DATA = _CALL + CALL.size
_WORDS = (CALL_DATA_ROOM + 7) // 8
_IN_REGISTERS = _CALL + CALL["r10"] - REGISTERS  # where offset 0 of struct pt_regs would lie


class CallMaps(Struct, frozen=True):
    """Descriptors of the maps that the program at the end of a call uses."""

    processes: int
    threads: int
    wanted: int
    scratch: int
    totals: int
    failures: int
    moved: int
    ring: int
    lost: int


def describe(code: Assembler, maps: CallMaps) -> None:
    """The fixed part of the record, and R9 = the process."""
    lookup(code, maps.processes, IDS + 4)
    code.jump_if(R0, "==", 0, "out")
    code.move(R9, R0)
    code.store(R7, _CALL + CALL["kind"], CALLED, 4)
    for name, at in (("tid", IDS), ("tgid", IDS + 4)):
        code.load(R1, R10, at, 4)
        code.store(R7, _CALL + CALL[name], R1, 4)
    code.load(R1, R9, PROCESS["pid"], 4)
    code.store(R7, _CALL + CALL["pid"], R1, 4)
    code.store(R7, _CALL + CALL["key"], 0)
    for name in ("reads", "read_bytes", "writes", "written_bytes", "path_length"):
        code.store(R7, _CALL + CALL[name], 0)  # path_length with the three that follow it


def registers(code: Assembler) -> None:
    """The arguments of the call, into the record."""
    code.address(R1, R7, _CALL + CALL["r10"])
    code.move(R2, REGISTERS_SIZE)
    code.load(R3, R10, REGISTERS_AT)
    code.add(R3, REGISTERS)
    code.call(PROBE_READ_KERNEL)


def _register(code: Assembler, to: Register, name: str, none: str) -> None:
    """`to` = the argument whose offset in pt_regs stands in the field `name` of what is wanted."""
    code.load(to, R6, WANTED[name], 2)
    code.jump_if(to, "==", 0, none)
    code.bit_and(to, LAST)
    code.add(to, R7)
    code.load(to, to, _IN_REGISTERS)


def moved(code: Assembler, maps: CallMaps) -> None:
    """Add the bytes of a read or write to its descriptor's count."""
    for name, calls, size in (("reads", "reads", "read_bytes"), ("writes", "writes", "written_bytes")):
        done = f"{name} counted"
        code.load(R1, R7, _CALL + CALL["result"])
        code.jump_if(R1, "signed <", 0, done)
        _register(code, R1, name, done)
        code.store(R10, KEY + 4, R1, 4)
        code.load(R1, R10, IDS + 4, 4)
        code.store(R10, KEY, R1, 4)
        lookup(code, maps.moved, KEY)
        code.jump_if(R0, "!=", 0, f"{name} known")
        first_value(code, maps.moved, KEY, MOVED.size)
        lookup(code, maps.moved, KEY)
        code.jump_if(R0, "!=", 0, f"{name} known")
        count_lost(code, maps.lost, "descriptors", done, KEY)
        code.label(f"{name} known")
        code.move(R1, 1)
        code.atomic_add(R0, MOVED[calls], R1)
        code.load(R1, R7, _CALL + CALL["result"])
        code.atomic_add(R0, MOVED[size], R1)
        code.label(done)


def record(code: Assembler, maps: CallMaps, *, descriptors: bool) -> None:
    """The variable part of the record, and its way into the ring."""
    _data(code)
    if descriptors:
        _tell_moved(code, maps)
    _failure(code, maps)
    _tell(code, maps)


def _data(code: Assembler) -> None:
    """Path, second path and address behind the record, one after the other; `position` says how long they are."""
    code.store(R7, SCRATCH["position"], 0)
    code.load(R2, R8, THREAD["path_length"], 4)
    code.jump_if(R2, "==", 0, "path not kept")
    code.jump_if(R2, ">", PATH_ROOM, "path not kept")
    code.address(R1, R7, _DATA)
    code.store(R7, SCRATCH["position"], R2)
    code.address(R3, R8, THREAD["path"])
    code.call(PROBE_READ_KERNEL)
    code.load(R1, R7, SCRATCH["position"])
    code.store(R7, _CALL + CALL["path_length"], R1, 2)
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
    code.store(R7, _CALL + CALL["address_length"], ADDRESS_ROOM, 2)
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
    code.store(R7, _CALL + CALL[length], R0, 2)
    code.load(R1, R7, SCRATCH["position"])
    code.add(R1, R0)
    code.store(R7, SCRATCH["position"], R1)


def _tell_moved(code: Assembler, maps: CallMaps) -> None:
    """A descriptor that was closed, or whose number was given out again: what went through it goes into this record."""
    code.load(R1, R7, SCRATCH["interest"])
    code.bit_and(R1, FAILED)
    code.jump_if(R1, "!=", 0, "moved told")
    code.load(R2, R6, WANTED["flags"], 4)
    for flag, where in ((MAKES_FD, "result"), (CLOSES_FD, "di"), (NEW_FD, "si")):
        code.load(R3, R7, _CALL + CALL[where])
        code.move(R1, R2)
        code.bit_and(R1, flag)
        code.jump_if(R1, "!=", 0, "descriptor known")
    code.jump("moved told")
    code.label("descriptor known")
    code.store(R10, KEY + 4, R3, 4)
    code.load(R1, R10, IDS + 4, 4)
    code.store(R10, KEY, R1, 4)
    lookup(code, maps.moved, KEY)
    code.jump_if(R0, "==", 0, "moved told")
    for name, at in MOVED.items():
        code.load(R1, R0, at)
        code.store(R7, _CALL + CALL[name], R1)
    code.map_address(R1, maps.moved)
    code.address(R2, R10, KEY)
    code.call(MAP_DELETE)
    code.label("moved told")


def _failure(code: Assembler, maps: CallMaps) -> None:
    """A failed call that is equal to an earlier one is counted, and told again only when it was slow or each is asked for."""
    code.load(R1, R7, SCRATCH["interest"])
    code.bit_and(R1, FAILED)
    code.jump_if(R1, "==", 0, "tell it")
    _failure_key(code)
    code.store(R7, _CALL + CALL["key"], R4)
    _find_failure(code, maps)
    code.jump_if(R0, "==", 0, "a new failure")
    _add_failure(code, "known")
    code.load(R1, R7, SCRATCH["interest"])
    code.bit_and(R1, SLOW)
    code.jump_if(R1, "!=", 0, "tell it")
    code.load(R1, R6, WANTED["flags"], 4)
    code.bit_and(R1, EVERY)
    code.jump_if(R1, "==", 0, "out")
    code.jump("tell it")
    code.label("a new failure")
    for at in range(0, FAILURE.size, 8):
        code.store(R10, VALUE + at, 0)
    code.map_address(R1, maps.failures)
    code.address(R2, R7, _CALL + CALL["key"])
    code.address(R3, R10, VALUE)
    code.move(R4, 1)  # BPF_NOEXIST
    code.call(MAP_UPDATE)
    _find_failure(code, maps)
    code.jump_if(R0, "==", 0, "no room for it")
    _add_failure(code, "new")
    code.jump("tell it")
    code.label("no room for it")  # each further one is told by itself
    code.store(R7, _CALL + CALL["key"], 0)
    code.label("tell it")


def _find_failure(code: Assembler, maps: CallMaps) -> None:
    code.map_address(R1, maps.failures)
    code.address(R2, R7, _CALL + CALL["key"])
    code.call(MAP_LOOKUP)


def _add_failure(code: Assembler, name: str) -> None:
    code.move(R1, 1)
    code.atomic_add(R0, FAILURE["count"], R1)
    code.load(R2, R7, _CALL + CALL["duration"])
    code.atomic_add(R0, FAILURE["total_ns"], R2)
    keep_largest(code, FAILURE["max_ns"], R2, f"{name} failure")
    code.load(R1, R7, _CALL + CALL["time"])
    code.store(R0, FAILURE["last"], R1)


def _failure_key(code: Assembler) -> None:
    """R4 = the number of failures that are equal to this one."""
    code.load(R4, R10, IDS + 4, 4)
    code.constant(R2, MIXING)
    for name, size in (("number", 4), ("result", 8), ("stack", 8)):
        code.load(R1, R7, _CALL + CALL[name], size)
        mix(code, R4, R1, R2)
    code.load(R1, R6, WANTED["flags"], 4)
    code.bit_and(R1, FD_FIRST)
    code.jump_if(R1, "==", 0, "descriptor mixed")
    code.load(R1, R7, _CALL + CALL["di"])
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


def _tell(code: Assembler, maps: CallMaps) -> None:
    """The record into the ring. A failure that finds no room is forgotten, so that the next equal one is told."""
    code.load(R3, R7, SCRATCH["position"])
    code.jump_if(R3, ">", CALL_DATA_ROOM, "out")
    code.add(R3, CALL.size)
    code.map_address(R1, maps.ring)
    code.address(R2, R7, _CALL)
    code.move(R4, NO_WAKEUP)
    code.call(RINGBUF_OUTPUT)
    code.jump_if(R0, "==", 0, "out")
    code.load(R1, R7, _CALL + CALL["key"])
    code.jump_if(R1, "==", 0, "record lost")
    code.map_address(R1, maps.failures)
    code.address(R2, R7, _CALL + CALL["key"])
    code.call(MAP_DELETE)
    code.label("record lost")
    count_lost(code, maps.lost, "records", "out", KEY)


def first_value(code: Assembler, map_fd: int, key_at: int, size: int) -> None:
    """A value of zeros under the key, unless another thread has just made one."""
    for at in range(0, size, 8):
        code.store(R10, VALUE + at, 0)
    code.map_address(R1, map_fd)
    code.address(R2, R10, key_at)
    code.address(R3, R10, VALUE)
    code.move(R4, 1)  # BPF_NOEXIST
    code.call(MAP_UPDATE)


def keep_largest(code: Assembler, offset: int, value: Register, name: str) -> None:
    """Two threads at once may lose the smaller of two maxima, never the sum."""
    code.load(R3, R0, offset)
    code.jump_if(R3, ">=", value, f"{name} is larger")
    code.store(R0, offset, value)
    code.label(f"{name} is larger")
