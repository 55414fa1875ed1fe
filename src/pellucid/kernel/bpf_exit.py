"""The program at the end of a call: counts it, and tells of it when it failed, was slow, or is of a kind that was asked for.

sys_exit(struct pt_regs *, long result). Equal failed calls (same process, call, error, path, descriptor and Python stack) are
told once and counted: a program that fails a million times a second fills no ring. Of the calls that did not fail nothing
leaves the kernel but their counts, by process, call and stack.

Registers, throughout: R6 what is wanted of this call, R7 the scratch, R8 the thread, R9 its process where one is needed.
"""

from msgspec import Struct

from pellucid.kernel.bpf_assembler import (
    GET_CURRENT_PID_TGID,
    KTIME_GET_NS,
    PROBE_READ_USER,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    R10,
    Assembler,
)
from pellucid.kernel.bpf_call import (
    ASKED,
    BACKGROUND,
    FAILED,
    KEY,
    REGISTERS_AT,
    SLOW,
    CallMaps,
    describe,
    first_value,
    keep_largest,
    moved,
    record,
    registers,
)
from pellucid.kernel.bpf_code import CodeMaps, code_parts
from pellucid.kernel.bpf_parts import IDS, count_lost, lookup
from pellucid.kernel.bpf_python import stack_parts
from pellucid.kernel.bpf_records import CALL, CALLS, MAX_FRAMES, SHALLOW, TELL, THREAD, TOTAL, WANTED
from pellucid.kernel.bpf_scratch import SCRATCH
from pellucid.kernel.traced import GETSOCKOPT, SO_ERROR, SOL_SOCKET

_LAST_ERROR = -4096  # results above it, taken as unsigned, are errors (include/linux/err.h, MAX_ERRNO)


class Telling(Struct, frozen=True):
    """What this program tells. `slow_ns`: calls that took so long; None for none. `every_line`: stacks of all calls."""

    slow_ns: int | None
    every_line: bool
    descriptors: bool


def ended(maps: CallMaps, python: CodeMaps, telling: Telling) -> bytes:
    """The whole program."""
    code = Assembler()
    _find(code, maps)
    _background(code)
    _interest(code, telling)
    _if_due(code, telling)
    code.load(R1, R7, SCRATCH["interest"])
    code.jump_if(R1, "&", BACKGROUND, "registers known")  # they hold the result too, which is another one now
    registers(code)
    code.label("registers known")
    _if_counted_alone(code, telling)
    describe(code, maps)
    _stack(code, telling)
    code.label("count")
    _count(code, maps)
    if telling.descriptors:
        moved(code, maps)
    code.load(R1, R7, SCRATCH["interest"])
    code.jump_if(R1, "==", 0, "out")
    record(code, maps, descriptors=telling.descriptors)
    code.label("out")
    code.leave(0)
    stack_parts(code, python.stacks)
    code_parts(code, python)
    return code.assembled()


def _find(code: Assembler, maps: CallMaps) -> None:
    """The thread, the scratch with what every count needs, and what is wanted; leaves where the beginning was not seen."""
    call = SCRATCH["call"]
    code.load(R6, R1, 0)
    code.load(R9, R1, 8)
    code.call(GET_CURRENT_PID_TGID)
    code.store(R10, IDS, R0)
    lookup(code, maps.threads, IDS)
    code.jump_if(R0, "==", 0, "out")
    code.move(R8, R0)
    code.load(R1, R8, THREAD["in_call"], 4)
    code.jump_if(R1, "==", 0, "out")
    code.store(R8, THREAD["in_call"], 0, 4)
    code.store(R10, KEY, 0)
    lookup(code, maps.scratch, KEY)
    code.jump_if(R0, "==", 0, "out")
    code.move(R7, R0)
    code.store(R10, REGISTERS_AT, R6)
    code.store(R7, call + CALL["result"], R9)
    code.call(KTIME_GET_NS)
    code.store(R7, call + CALL["time"], R0)
    code.load(R2, R8, THREAD["start"])
    code.subtract(R0, R2)
    code.store(R7, call + CALL["duration"], R0)
    code.store(R7, call + CALL["stack"], 0)
    code.load(R1, R8, THREAD["number"], 4)
    code.store(R7, call + CALL["number"], R1, 4)
    code.jump_if(R1, "<", CALLS, "in the table")
    code.move(R1, CALLS - 1)
    code.label("in the table")
    code.store(R10, KEY, R1, 4)
    lookup(code, maps.wanted, KEY)
    code.jump_if(R0, "==", 0, "out")
    code.move(R6, R0)


def _background(code: Assembler) -> None:
    """A getsockopt that tells how a connect in the background ended gets that error as its result, and BACKGROUND as interest."""
    call = SCRATCH["call"]
    code.store(R7, SCRATCH["interest"], 0)
    if GETSOCKOPT is None:
        return
    code.load(R1, R7, call + CALL["number"], 4)
    code.jump_if(R1, "!=", GETSOCKOPT, "its own result")
    code.load(R1, R7, call + CALL["result"])
    code.jump_if(R1, "!=", 0, "its own result")
    registers(code)
    for name, value in (("si", SOL_SOCKET), ("dx", SO_ERROR)):
        code.load(R1, R7, call + CALL[name], 4)
        code.jump_if(R1, "!=", value, "its own result")
    code.address(R1, R10, KEY)
    code.move(R2, 4)
    code.load(R3, R7, call + CALL["r10"])
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "!=", 0, "its own result")
    code.load(R1, R10, KEY, 4)
    code.jump_if(R1, "==", 0, "its own result")
    code.jump_if(R1, ">=", -_LAST_ERROR, "its own result")
    code.move(R2, 0)
    code.subtract(R2, R1)
    code.store(R7, call + CALL["result"], R2)
    code.store(R7, SCRATCH["interest"], BACKGROUND)
    code.label("its own result")


def _interest(code: Assembler, telling: Telling) -> None:
    """In the scratch: why a record is due, 0 where none is."""
    call = SCRATCH["call"]
    code.load(R2, R7, SCRATCH["interest"])
    code.load(R1, R7, call + CALL["result"])
    code.jump_if(R1, "<=", _LAST_ERROR, "no error")
    code.bit_or(R2, FAILED)
    code.label("no error")
    code.store(R7, call + CALL["slow"], 0, 4)
    if telling.slow_ns is not None:
        code.load(R1, R7, call + CALL["duration"])
        code.constant(R3, telling.slow_ns)
        code.jump_if(R1, "<", R3, "not slow")
        code.bit_or(R2, SLOW)
        code.store(R7, call + CALL["slow"], 1, 4)
        code.label("not slow")
    code.load(R1, R6, WANTED["flags"], 4)
    code.bit_and(R1, TELL)
    code.jump_if(R1, "==", 0, "not asked for")
    code.bit_or(R2, ASKED)
    code.label("not asked for")
    code.store(R7, SCRATCH["interest"], R2)


def _if_due(code: Assembler, telling: Telling) -> None:
    """Straight to the counts where neither a record nor a stack nor bytes are due: of most calls of most programs."""
    code.load(R1, R7, SCRATCH["interest"])
    code.jump_if(R1, "!=", 0, "due")
    if telling.descriptors:
        code.load(R1, R6, WANTED["reads"], 4)  # and `writes`, which follows it
        code.jump_if(R1, "!=", 0, "due")
    if telling.every_line:
        code.load(R1, R8, THREAD["python"], 4)
        code.jump_if(R1, "!=", 0, "due")
    code.jump("count")
    code.label("due")


def _if_counted_alone(code: Assembler, telling: Telling) -> None:
    """To the counts where only bytes are to be counted: of most calls where descriptors are asked for."""
    code.load(R1, R7, SCRATCH["interest"])
    code.jump_if(R1, "!=", 0, "described")
    if telling.every_line:
        code.load(R1, R8, THREAD["python"], 4)
        code.jump_if(R1, "!=", 0, "described")
    code.jump("count")
    code.label("described")


def _stack(code: Assembler, telling: Telling) -> None:
    code.load(R1, R8, THREAD["python"], 4)
    code.jump_if(R1, "==", 0, "count")
    code.load(R1, R7, SCRATCH["interest"])
    code.store(R7, SCRATCH["depth"], MAX_FRAMES)
    code.jump_if(R1, "!=", 0, "deep")
    if telling.every_line:
        code.store(R7, SCRATCH["depth"], SHALLOW)
    else:
        code.jump("count")
    code.label("deep")
    code.move(R1, R7)
    code.move(R2, R8)
    code.move(R3, R9)
    code.call_part("stack_of")


def _count(code: Assembler, maps: CallMaps) -> None:
    """Add the call to `totals`."""
    call = SCRATCH["call"]
    code.load(R1, R10, IDS + 4, 4)
    code.store(R10, KEY, R1, 4)
    code.load(R1, R7, call + CALL["number"], 4)
    code.store(R10, KEY + 4, R1, 4)
    code.load(R1, R7, call + CALL["stack"])
    code.store(R10, KEY + 8, R1)
    lookup(code, maps.totals, KEY)
    code.jump_if(R0, "!=", 0, "has a total")
    first_value(code, maps.totals, KEY, TOTAL.size)
    lookup(code, maps.totals, KEY)
    code.jump_if(R0, "!=", 0, "has a total")
    count_lost(code, maps.lost, "totals", "counted", KEY)
    code.label("has a total")
    code.move(R1, 1)
    code.atomic_add(R0, TOTAL["calls"], R1)
    code.load(R2, R7, call + CALL["duration"])
    code.atomic_add(R0, TOTAL["total_ns"], R2)
    keep_largest(code, TOTAL["max_ns"], R2, "total")
    code.load(R2, R7, SCRATCH["interest"])
    code.bit_and(R2, FAILED | BACKGROUND)
    code.jump_if(R2, "!=", FAILED, "counted")
    code.atomic_add(R0, TOTAL["errors"], R1)
    code.label("counted")
