"""The part of our programs that walks the Python stack of the thread that is in a system call, inside the kernel.

The thread sits in its call, so its stack can't move: no double copy, no stop, and no race with the end of the process. The
way is the one from outside (`runtimes.cpython`): _PyRuntime → interpreters → thread states, until one has this thread's
native id → current frame → its callers. Where the thread state lies is kept per thread and checked by its native id at each use.
A child of fork(2) has its parent's thread state with its parent's id until CPython corrects it
(Modules/posixmodule.c, PyOS_AfterFork_Child), and a child of vfork(2) for as long as it lives: so a child inherits the id too.

A stack is told once, under a number made of its code objects and instructions, and so is each code object with all that
its lines need: nothing has to be read from the process afterwards, when it may be gone.

Every part takes its arguments in R1 to R5 and returns in R0.
"""

from msgspec import Struct

from pellucid.kernel.bpf_assembler import (
    GET_NS_CURRENT_PID_TGID,
    KTIME_GET_NS,
    MAP_LOOKUP,
    MAP_UPDATE,
    PROBE_READ_USER,
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
from pellucid.kernel.bpf_records import (
    CALL,
    CALL_DATA_ROOM,
    CODE,
    CODE_HEAD,
    CODE_ROOM,
    FILE_ROOM,
    FRAME,
    LOST,
    MAX_FRAMES,
    NAME_ROOM,
    PATH_ROOM,
    PROCESS,
    STACK,
    STACK_HEAD,
    TABLE_ROOM,
    THREAD,
    Fields,
)

MAX_STATES = 128
"""Thread states (and interpreters) that are looked at to find a thread's own; a thread beyond has no Python lines."""
_MAX_STEPS = MAX_FRAMES + 16  # frames and, between them, the entries from C
_ABSENT_NS = 1_000_000
_OWNED_BY_C = 3  # Include/internal/pycore_frame.h, enum _frameowner: an entry from C, no call of its own
_PAGE = 4096

FRAME_BYTES = 80  # of struct _PyInterpreterFrame before localsplus
NAMES_BYTES = 32  # co_filename, co_name, co_qualname, co_linetable: neighbours in 3.11 to 3.15
_LAST = 127  # offsets within these are cut to seven bits, so that the verifier knows their bounds

SCRATCH = Fields(
    f"call:{CALL.size + CALL_DATA_ROOM + PATH_ROOM + 8} "  # and room for the verifier, which adds the largest lengths
    f"stack:{STACK_HEAD.size + MAX_FRAMES * FRAME.size} "
    f"frame:{_LAST + 9} names:{NAMES_BYTES} hash:8 depth:8 interest:8 position:8"
)
"""One for each CPU: what a call's record and its stack are put together in."""
CODE_SCRATCH_SIZE = CODE_HEAD.size + TABLE_ROOM

MIXING = 0x9E3779B97F4A7C15  # 2**64 / the golden ratio: Knuth's multiplicative hashing


class StackLayout(Struct, frozen=True):
    """Where CPython keeps its stacks: `runtime` is the address of _PyRuntime, the others are offsets in bytes.

    `by_cframe`: 1 where thread_frame leads to a struct _PyCFrame (3.11 and 3.12) whose `cframe_frame` is the current frame.
    `code_names`: co_filename, co_name, co_qualname and co_linetable from there on. `code_size`: all before the instructions.
    """

    runtime: int
    interpreters_head: int
    interpreter_next: int
    threads_head: int
    thread_next: int
    native_id: int
    thread_frame: int
    by_cframe: int
    cframe_frame: int
    frame_code: int
    frame_previous: int
    frame_instruction: int
    frame_owner: int
    code_names: int
    code_size: int


class PythonMaps(Struct, frozen=True):
    """Descriptors of the maps that these parts use."""

    ring: int
    stacks: int
    codes: int
    code_scratch: int
    lost: int


def mix(code: Assembler, state: Register, word: Register, factor: Register) -> None:
    """Make `state` the hash of (state, word), where `factor` holds MIXING: a polynomial, whose high bits are well mixed."""
    code.add(state, word)
    code.multiply(state, factor)


def finish_mixing(code: Assembler, state: Register, spare: Register) -> None:
    """Bring the high bits into the low ones, and keep 0 free, which stands for nothing."""
    code.move(spare, state)
    code.shift_right(spare, 32)
    code.bit_xor(state, spare)
    code.bit_or(state, 1)


def count_lost(code: Assembler, lost: int, what: str, after: str) -> None:
    """Add one to a counter of `lost`, then jump to `after`. Uses R0 to R2 and the 4 bytes below the top of the stack."""
    code.store(R10, -4, LOST.index(what), 4)
    code.map_address(R1, lost)
    code.address(R2, R10, -4)
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "==", 0, after)
    code.move(R1, 1)
    code.atomic_add(R0, 0, R1)
    code.jump(after)


def user_word(code: Assembler, at: Register, unreadable: str) -> None:
    """R3 = the 8 bytes at address `at` of the thread's memory, by way of the 8 bytes 16 below the top of the stack."""
    if at is not R3:
        code.move(R3, at)
    code.address(R1, R10, -16)
    code.move(R2, 8)
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "!=", 0, unreadable)
    code.load(R3, R10, -16)


def python_parts(code: Assembler, maps: PythonMaps) -> None:
    """Append all parts; `stack_of` is the one to call."""
    _stack_of(code, maps)
    _walk(code)
    _find_state(code)
    _tell_stack(code, maps)
    _tell_code(code, maps)
    _copy_object(code)


def _stack_of(code: Assembler, maps: PythonMaps) -> None:
    """stack_of(scratch, thread, process): put the number of the stack into the call's record; it stays 0 where there is none.

    The number is made of the innermost `depth` frames; the stack that is told for it, the first time, has all.
    """
    head = SCRATCH["stack"]
    code.label("stack_of")
    code.move(R6, R1)
    code.move(R8, R3)
    code.store(R6, head + STACK_HEAD["frames"], 0, 4)
    code.store(R6, SCRATCH["hash"], 0)
    code.move(R1, R2)
    code.move(R2, R8)
    code.load(R3, R6, SCRATCH["interest"])
    code.call_part("find_state")
    code.jump_if(R0, "==", 0, "no stack")
    code.load(R3, R8, PROCESS["thread_frame"], 4)
    code.add(R3, R0)
    user_word(code, R3, "no stack")
    code.load(R1, R8, PROCESS["by_cframe"], 4)
    code.jump_if(R1, "==", 0, "frame known")
    code.load(R1, R8, PROCESS["cframe_frame"], 4)
    code.add(R3, R1)
    user_word(code, R3, "no stack")
    code.label("frame known")
    code.move(R1, R6)
    code.move(R2, R8)
    code.call_part("walk")
    code.move(R7, R0)  # the next frame
    code.load(R1, R6, head + STACK_HEAD["frames"], 4)
    code.jump_if(R1, "==", 0, "no stack")
    code.load(R1, R6, SCRATCH["hash"])
    finish_mixing(code, R1, R2)
    code.store(R6, SCRATCH["call"] + CALL["stack"], R1)
    code.store(R6, head + STACK_HEAD["stack"], R1)
    code.map_address(R1, maps.stacks)
    code.address(R2, R6, head + STACK_HEAD["stack"])
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "!=", 0, "no stack")  # it was told before
    code.store(R6, SCRATCH["depth"], MAX_FRAMES)
    code.move(R1, R6)
    code.move(R2, R8)
    code.move(R3, R7)
    code.call_part("walk")
    code.move(R1, R6)
    code.move(R2, R8)
    code.call_part("tell_stack")
    code.label("no stack")
    code.leave(0)


def _walk(code: Assembler) -> None:
    """walk(scratch, process, frame): append frames to the stack until it has `depth`; returns the next frame."""
    head, frame = SCRATCH["stack"], SCRATCH["frame"]

    def field(to: Register, name: str) -> None:
        """`to` = address of the copied frame's field."""
        code.load(to, R7, PROCESS[name], 4)
        code.bit_and(to, _LAST)
        code.add(to, R6)

    code.label("walk")
    code.move(R6, R1)
    code.move(R7, R2)
    code.move(R8, R3)
    code.load(R9, R6, SCRATCH["depth"])
    code.store(R10, -8, 0)
    code.label("next frame")
    code.load(R1, R10, -8)
    code.add(R1, 1)
    code.store(R10, -8, R1)
    code.jump_if(R1, ">", _MAX_STEPS, "walked")
    code.jump_if(R8, "==", 0, "walked")
    code.load(R1, R6, head + STACK_HEAD["frames"], 4)
    code.jump_if(R1, ">=", R9, "walked")
    code.jump_if(R1, ">=", MAX_FRAMES, "walked")
    code.address(R1, R6, frame)
    code.move(R2, FRAME_BYTES)
    code.move(R3, R8)
    code.call(PROBE_READ_USER)
    code.move(R8, 0)
    code.jump_if(R0, "!=", 0, "walked")
    field(R1, "frame_previous")
    code.load(R8, R1, frame)
    field(R1, "frame_owner")
    code.load(R2, R1, frame, 1)
    code.jump_if(R2, ">=", _OWNED_BY_C, "next frame")
    code.shift_left(R2, 56)
    field(R1, "frame_instruction")
    code.load(R3, R1, frame)
    code.bit_or(R2, R3)
    code.store(R10, -16, R2)
    field(R1, "frame_code")
    code.load(R3, R1, frame)
    code.bit_and(R3, -8)  # 3.14: the low bits are a tag, _PyStackRef
    code.jump_if(R3, "==", 0, "next frame")
    code.store(R10, -24, R3)
    code.load(R1, R7, PROCESS["code_names"], 4)
    code.add(R3, R1)
    code.address(R1, R6, SCRATCH["names"])
    code.move(R2, NAMES_BYTES)
    code.call(PROBE_READ_USER)  # a failed read leaves zeros
    # Addresses of freed code objects are given out again, so the identity holds those of its strings and lines too.
    code.load(R3, R10, -24)
    code.load(R1, R6, SCRATCH["call"] + CALL["tgid"], 4)
    code.constant(R2, MIXING)
    mix(code, R3, R1, R2)
    for at in range(0, NAMES_BYTES, 8):
        code.load(R1, R6, SCRATCH["names"] + at)
        mix(code, R3, R1, R2)
    code.load(R4, R6, head + STACK_HEAD["frames"], 4)
    code.move(R5, R4)
    code.bit_and(R5, MAX_FRAMES - 1)
    code.multiply(R5, FRAME.size)
    code.add(R5, R6)
    code.store(R5, head + STACK_HEAD.size + FRAME["identity"], R3)
    code.load(R1, R10, -24)
    code.store(R5, head + STACK_HEAD.size + FRAME["code"], R1)
    code.load(R1, R10, -16)
    code.store(R5, head + STACK_HEAD.size + FRAME["instruction"], R1)
    code.add(R4, 1)
    code.store(R6, head + STACK_HEAD["frames"], R4, 4)
    code.load(R4, R6, SCRATCH["hash"])
    mix(code, R4, R3, R2)
    mix(code, R4, R1, R2)
    code.store(R6, SCRATCH["hash"], R4)
    code.jump("next frame")
    code.label("walked")
    code.move(R0, R8)
    code.leave()


def _find_state(code: Assembler) -> None:
    """find_state(thread, process, interest): the address of this thread's PyThreadState, 0 where it has none.

    A call without interest is not looked for again and again in a thread that had none a moment ago: it may run no Python, or be so
    young that CPython has not entered it yet.
    """
    code.label("find_state")
    code.move(R6, R1)
    code.move(R7, R2)
    code.store(R10, -40, R3)
    code.load(R8, R6, THREAD["state"])
    code.jump_if(R8, "==", 0, "not known")
    code.load(R3, R7, PROCESS["native_id"], 4)
    code.add(R3, R8)
    user_word(code, R3, "not known")
    code.load(R1, R6, THREAD["native_id"], 4)
    code.jump_if(R1, "==", R3, "state found")
    code.label("not known")
    code.store(R6, THREAD["state"], 0)
    code.load(R1, R10, -40)
    code.jump_if(R1, "!=", 0, "search")
    code.call(KTIME_GET_NS)
    code.load(R1, R6, THREAD["absent_until"])
    code.jump_if(R0, "<", R1, "no state")
    code.label("search")
    _own_id(code)
    code.store(R6, THREAD["native_id"], R9, 4)
    code.load(R3, R7, PROCESS["runtime"])
    code.load(R1, R7, PROCESS["interpreters_head"], 4)
    code.add(R3, R1)
    user_word(code, R3, "no state")
    code.jump_if(R3, "==", 0, "no state")  # CPython is still starting
    code.store(R10, -24, R3)  # the interpreter to go to next
    code.move(R8, 0)
    code.store(R10, -32, 0)
    code.label("next state")
    code.load(R1, R10, -32)
    code.add(R1, 1)
    code.store(R10, -32, R1)
    code.jump_if(R1, ">", MAX_STATES, "absent")
    code.jump_if(R8, "!=", 0, "look at state")
    code.load(R3, R10, -24)
    code.jump_if(R3, "==", 0, "absent")
    code.load(R1, R7, PROCESS["threads_head"], 4)
    code.add(R3, R1)
    user_word(code, R3, "absent")
    code.move(R8, R3)
    code.load(R3, R10, -24)
    code.load(R1, R7, PROCESS["interpreter_next"], 4)
    code.add(R3, R1)
    user_word(code, R3, "absent")
    code.store(R10, -24, R3)
    code.jump("next state")
    code.label("look at state")
    code.load(R3, R7, PROCESS["native_id"], 4)
    code.add(R3, R8)
    user_word(code, R3, "absent")
    code.jump_if(R3, "==", R9, "remember")
    code.load(R3, R7, PROCESS["thread_next"], 4)
    code.add(R3, R8)
    user_word(code, R3, "absent")
    code.move(R8, R3)
    code.jump("next state")
    code.label("remember")
    code.store(R6, THREAD["state"], R8)
    code.label("state found")
    code.move(R0, R8)
    code.leave()
    code.label("absent")
    code.call(KTIME_GET_NS)
    code.add(R0, _ABSENT_NS)
    code.store(R6, THREAD["absent_until"], R0)
    code.label("no state")
    code.leave(0)


def _own_id(code: Assembler) -> None:
    """R9 = this thread's id as the process itself knows it (R7), which in a pid namespace is not the kernel's own."""
    from pellucid.kernel.bpf_assembler import GET_CURRENT_PID_TGID

    code.load(R1, R7, PROCESS["namespace_device"])
    code.load(R2, R7, PROCESS["namespace_inode"])
    code.jump_if(R2, "==", 0, "first namespace")
    code.address(R3, R10, -16)
    code.move(R4, 8)
    code.call(GET_NS_CURRENT_PID_TGID)
    code.jump_if(R0, "!=", 0, "no state")
    code.load(R9, R10, -16, 4)  # struct bpf_pidns_info: pid, tgid
    code.jump("id known")
    code.label("first namespace")
    code.call(GET_CURRENT_PID_TGID)
    code.move(R9, R0)
    code.shift_left(R9, 32)
    code.shift_right(R9, 32)
    code.label("id known")


def _tell_stack(code: Assembler, maps: PythonMaps) -> None:
    """tell_stack(scratch, process): every code object that was not told yet, then the stack."""
    head = SCRATCH["stack"]
    code.label("tell_stack")
    code.move(R6, R1)
    code.move(R7, R2)
    for at in range(0, 24, 8):  # the head of every record
        code.load(R1, R6, SCRATCH["call"] + at)
        code.store(R6, head + at, R1)
    code.store(R6, head + STACK_HEAD["kind"], STACK, 4)
    code.move(R8, 0)
    code.label("next code")
    code.jump_if(R8, ">=", MAX_FRAMES, "codes told")
    code.load(R1, R6, head + STACK_HEAD["frames"], 4)
    code.jump_if(R8, ">=", R1, "codes told")
    code.move(R9, R8)
    code.multiply(R9, FRAME.size)
    code.add(R9, R6)
    code.add(R9, head + STACK_HEAD.size)
    code.map_address(R1, maps.codes)
    code.move(R2, R9)
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "!=", 0, "code known")
    code.move(R1, R6)
    code.move(R2, R7)
    code.load(R3, R9, FRAME["identity"])
    code.load(R4, R9, FRAME["code"])
    code.call_part("tell_code")
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
    code.move(R4, 1)  # BPF_RB_NO_WAKEUP
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
    count_lost(code, maps.lost, "stacks", "stack told")


def _tell_code(code: Assembler, maps: PythonMaps) -> None:
    """tell_code(scratch, process, identity, address): the code object with its names and lines."""
    code.label("tell_code")
    code.move(R6, R1)
    code.move(R7, R2)
    code.store(R10, -24, R3)
    code.move(R9, R4)
    code.store(R10, -4, 0, 4)
    code.map_address(R1, maps.code_scratch)
    code.address(R2, R10, -4)
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "==", 0, "code told")
    code.move(R8, R0)
    for at in range(0, 24, 8):
        code.load(R1, R6, SCRATCH["call"] + at)
        code.store(R8, at, R1)
    code.store(R8, CODE_HEAD["kind"], CODE, 4)
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
    code.move(R4, 1)
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
    count_lost(code, maps.lost, "codes", "code told")


def _pointer(code: Assembler, number: int) -> None:
    """R2 = the pointer to one of the neighbours file, name, qualname, line table of the copied code object (R8)."""
    code.load(R1, R7, PROCESS["code_names"], 4)
    code.bit_and(R1, _LAST)
    code.add(R1, R8)
    code.load(R2, R1, CODE_HEAD["head"] + 8 * number)


def _copy_table(code: Assembler) -> None:
    """The content of the bytes object at R2 behind the head in R8, in one read, and R3 = how much of it.

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


def _up_to_page_end(code: Assembler, address: Register, to: Register, spare: Register) -> None:
    """`to` = bytes from `address` to the end of its page: 1 to 4096."""
    code.move(spare, address)
    code.bit_and(spare, _PAGE - 1)
    code.move(to, _PAGE)
    code.subtract(to, spare)


def _copy_object(code: Assembler) -> None:
    """copy_object(buffer, address, size, place): so many bytes of an object that may be shorter.

    What lies on the object's first page can be read for certain; on the next one it can if the object reaches there.
    """
    code.label("copy_object")
    code.move(R6, R1)
    code.move(R7, R2)
    code.move(R8, R3)
    code.add(R6, R4)
    _up_to_page_end(code, R7, R9, R1)
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
