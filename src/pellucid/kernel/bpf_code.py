"""The part of our programs that tells a Python stack: once, under its number, and each code object with all that its lines need.

So nothing has to be read from the process afterwards, when it may be gone, and a call that was told before costs a walk alone.
"""

from msgspec import Struct

from pellucid.kernel.bpf_assembler import (
    MAP_LOOKUP,
    MAP_UPDATE,
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
from pellucid.kernel.bpf_parts import NO_WAKEUP, count_lost, lookup, user_word
from pellucid.kernel.bpf_records import (
    CODE,
    CODE_HEAD,
    FILE_ROOM,
    FRAME,
    HEAD,
    MAX_FRAMES,
    NAME_ROOM,
    PROCESS,
    STACK,
    STACK_HEAD,
    TABLE_ROOM,
)
from pellucid.kernel.bpf_scratch import LAST, SCRATCH, TOLD_CODES
from pellucid.kernel.stack_layout import CODE_ROOM

_PAGE = 4096


class CodeMaps(Struct, frozen=True):
    """Descriptors of the maps that these parts use."""

    ring: int
    stacks: int
    codes: int
    code_scratch: int
    lost: int


def code_parts(code: Assembler, maps: CodeMaps) -> None:
    """Append `tell_stack` and what it calls."""
    _tell_stack(code, maps)
    _tell_code(code, maps)
    _copy_object(code)


def _copy_head(code: Assembler, to: Register, at: int, kind: int) -> None:
    """A record begins as that of the call does which it belongs to (R6: the scratch)."""
    for place in range(0, HEAD.size, 8):
        code.load(R1, R6, SCRATCH["call"] + place)
        code.store(to, at + place, R1)
    code.store(to, at + HEAD["kind"], kind, 4)


def _tell_stack(code: Assembler, maps: CodeMaps) -> None:
    """tell_stack(scratch, process): every code object that was not told yet, then the stack."""
    head = SCRATCH["stack"]
    code.label("tell_stack")
    code.move(R6, R1)
    code.move(R7, R2)
    _copy_head(code, R6, head, STACK)
    code.move(R8, 0)
    code.label("next code")
    code.jump_if(R8, ">=", MAX_FRAMES, "codes told")
    code.load(R1, R6, head + STACK_HEAD["frames"], 4)
    code.jump_if(R8, ">=", R1, "codes told")
    code.move(R9, R8)
    code.multiply(R9, FRAME.size)
    code.add(R9, R6)
    code.add(R9, head + STACK_HEAD.size)
    _among_told(code)
    code.load(R2, R1, SCRATCH["told"])
    code.jump_if(R2, "==", R3, "code known")
    code.map_address(R1, maps.codes)
    code.move(R2, R9)
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "!=", 0, "code told before")
    code.move(R1, R6)
    code.move(R2, R7)
    code.load(R3, R9, FRAME["identity"])
    code.load(R4, R9, FRAME["code"])
    code.call_part("tell_code")
    code.jump("code known")
    code.label("code told before")
    _among_told(code)
    code.store(R1, SCRATCH["told"], R3)
    code.label("code known")
    code.add(R8, 1)
    code.jump("next code")
    code.label("codes told")
    code.load(R3, R6, head + STACK_HEAD["frames"], 4)
    code.jump_if(R3, ">", MAX_FRAMES, "stack told")
    code.multiply(R3, FRAME.size)
    code.add(R3, STACK_HEAD.size)
    code.map_address(R1, maps.ring)
    code.address(R2, R6, head)
    code.move(R4, NO_WAKEUP)
    code.call(RINGBUF_OUTPUT)
    code.jump_if(R0, "!=", 0, "stack lost")
    code.store(R10, -8, 1)
    code.map_address(R1, maps.stacks)
    code.address(R2, R6, head + STACK_HEAD["stack"])
    code.address(R3, R10, -8)
    code.move(R4, 0)
    code.call(MAP_UPDATE)
    code.label("stack told")
    code.leave(0)
    code.label("stack lost")
    count_lost(code, maps.lost, "stacks", "stack told", -8)


def _among_told(code: Assembler) -> None:
    """R3 = the identity of the frame R9, and R1 + `told` = where it stands in the scratch when it was found in `codes` before."""
    code.load(R3, R9, FRAME["identity"])
    code.move(R1, R3)
    code.shift_right(R1, 32)  # the high bits of a hash are the mixed ones
    code.bit_and(R1, TOLD_CODES - 1)
    code.shift_left(R1, 3)
    code.add(R1, R6)


def _tell_code(code: Assembler, maps: CodeMaps) -> None:
    """tell_code(scratch, process, identity, address): the code object with its names and lines."""
    code.label("tell_code")
    code.move(R6, R1)
    code.move(R7, R2)
    code.store(R10, -24, R3)
    code.move(R9, R4)
    code.store(R10, -8, 0)
    lookup(code, maps.code_scratch, -8)
    code.jump_if(R0, "==", 0, "code told")
    code.move(R8, R0)
    _copy_head(code, R8, 0, CODE)
    code.load(R1, R10, -24)
    code.store(R8, CODE_HEAD["identity"], R1)
    code.store(R8, CODE_HEAD["address"], R9)
    code.address(R1, R8, CODE_HEAD["head"])
    code.load(R2, R7, PROCESS["code_size"], 4)
    code.jump_if(R2, ">", CODE_ROOM, "code told")
    code.move(R3, R9)
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "!=", 0, "code told")
    for number, (name, room) in enumerate((("file", FILE_ROOM), ("name", NAME_ROOM), ("qualname", NAME_ROOM))):
        _pointer(code, number)
        code.move(R1, R8)
        code.move(R3, room)
        code.move(R4, CODE_HEAD[name])
        code.call_part("copy_object")
    _pointer(code, 3)
    _copy_table(code)
    code.address(R3, R9, CODE_HEAD.size)
    code.map_address(R1, maps.ring)
    code.move(R2, R8)
    code.move(R4, NO_WAKEUP)
    code.call(RINGBUF_OUTPUT)
    code.jump_if(R0, "!=", 0, "code lost")
    code.store(R10, -8, 1)
    code.map_address(R1, maps.codes)
    code.address(R2, R10, -24)
    code.address(R3, R10, -8)
    code.move(R4, 0)
    code.call(MAP_UPDATE)
    code.label("code told")
    code.leave(0)
    code.label("code lost")
    count_lost(code, maps.lost, "codes", "code told", -8)


def _pointer(code: Assembler, number: int) -> None:
    """R2 = the pointer to one of the neighbours file, name, qualname, line table of the copied code object (R8)."""
    code.load(R1, R7, PROCESS["code_names"], 4)
    code.bit_and(R1, LAST)
    code.add(R1, R8)
    code.load(R2, R1, CODE_HEAD["head"] + 8 * number)


def _copy_table(code: Assembler) -> None:
    """The content of the bytes object at R2 behind the head in R8, in one read, and R9 = how much of it.

    It was written when the code object was made, so its pages are in memory, unless it is one that lies ready in the file of
    the interpreter (3.11 and 3.12: Tools/build/deepfreeze.py) and was never looked at.
    """
    code.move(R7, R2)  # the process is no longer needed
    code.store(R8, CODE_HEAD["table_size"], 0)
    code.store(R8, CODE_HEAD["torn"], 1)
    code.move(R9, 0)
    code.address(R3, R7, 16)  # ob_size, Include/object.h
    user_word(code, R3, "table copied")
    code.store(R8, CODE_HEAD["table_size"], R3)
    code.move(R9, R3)
    code.jump_if(R9, "<=", TABLE_ROOM, "table bounded")
    code.move(R9, TABLE_ROOM)
    code.label("table bounded")
    code.address(R1, R8, CODE_HEAD.size)
    code.move(R2, R9)
    code.address(R3, R7, 32)  # ob_sval
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "!=", 0, "table copied")
    code.store(R8, CODE_HEAD["torn"], 0)
    code.label("table copied")


def _copy_object(code: Assembler) -> None:
    """copy_object(buffer, address, size, place): so many bytes of an object that may be shorter.

    What lies on the object's first page can be read for certain; on the next one it can if the object reaches there.
    """
    code.label("copy_object")
    code.move(R6, R1)
    code.move(R7, R2)
    code.move(R8, R3)
    code.add(R6, R4)
    code.move(R1, R7)
    code.bit_and(R1, _PAGE - 1)
    code.move(R9, _PAGE)
    code.subtract(R9, R1)
    code.jump_if(R9, "<=", R8, "page bounded")
    code.move(R9, R8)
    code.label("page bounded")
    code.jump_if(R9, ">", FILE_ROOM, "object copied")
    code.move(R1, R6)
    code.move(R2, R9)
    code.move(R3, R7)
    code.call(PROBE_READ_USER)
    code.subtract(R8, R9)
    code.jump_if(R8, "==", 0, "object copied")
    code.jump_if(R8, ">", FILE_ROOM, "object copied")
    code.add(R6, R9)
    code.add(R7, R9)
    code.move(R1, R6)
    code.move(R2, R8)
    code.move(R3, R7)
    code.call(PROBE_READ_USER)
    code.label("object copied")
    code.leave(0)
