"""The part of our programs that walks the Python stack of the thread that is in a system call, inside the kernel.

The thread sits in its call, so its stack can't move: no double copy, no stop, and no race with the end of the process. The
way is the one from outside (`runtimes.cpython`): _PyRuntime → interpreters → thread states, until one has this thread's
native id → current frame → its callers. Where the thread state lies is kept per thread and checked by its native id at each use.
A child of fork(2) has its parent's thread state with its parent's id until CPython corrects it
(Modules/posixmodule.c, PyOS_AfterFork_Child), and a child of vfork(2) for as long as it lives: so a child inherits the id too.

Every part takes its arguments in R1 to R5 and returns in R0.
"""

from pellucid.kernel.bpf_assembler import (
    GET_CURRENT_PID_TGID,
    GET_NS_CURRENT_PID_TGID,
    KTIME_GET_NS,
    MAP_LOOKUP,
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
    Assembler,
    Register,
)
from pellucid.kernel.bpf_parts import MIXING, finish_mixing, mix, user_word
from pellucid.kernel.bpf_records import CALL, FRAME, MAX_FRAMES, PROCESS, STACK_HEAD, THREAD
from pellucid.kernel.bpf_scratch import LAST, LAST_OF_STATE, PAGE, SCRATCH, SEEN_CODE, SEEN_CODES, TOLD_STACKS
from pellucid.kernel.stack_layout import (
    BEFORE_NAMES,
    FIELDS_BYTES,
    FRAME_BYTES,
    MAX_STATES,
    OWNED_BY_C,
    STATE_BYTES,
    StackLayout,
)

__all__ = ["StackLayout", "stack_parts"]

_MAX_STEPS = MAX_FRAMES + 16  # frames and, between them, the entries from C
_ABSENT_NS = 1_000_000


def stack_parts(code: Assembler, stacks: int) -> None:
    """Append `stack_of` and what it calls but `tell_stack` (`bpf_code`). `stacks`: the map of those that were told."""
    _stack_of(code, stacks)
    _walk(code)
    _find_state(code)


def _stack_of(code: Assembler, stacks: int) -> None:
    """stack_of(scratch, thread, process): put the number of the stack into the call's record; it stays 0 where there is none.

    The number is made of the innermost `depth` frames; the stack that is told for it, the first time, has all.
    """
    head = SCRATCH["stack"]
    code.label("stack_of")
    code.move(R6, R1)
    code.move(R8, R3)
    code.store(R6, head + STACK_HEAD["frames"], 0, 4)
    code.store(R6, SCRATCH["hash"], 0)
    code.load(R1, R6, SCRATCH["walk"])
    code.add(R1, 1)
    code.store(R6, SCRATCH["walk"], R1)
    code.move(R1, R6)
    code.move(R3, R8)
    code.call_part("find_state")
    code.jump_if(R0, "==", 0, "no stack")
    _epoch(code)
    _state_field(code, R3, R8, R6, "thread_frame")
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
    code.move(R9, R1)
    code.shift_right(R9, 32)
    code.bit_and(R9, TOLD_STACKS - 1)
    code.shift_left(R9, 3)
    code.add(R9, R6)
    code.load(R2, R9, SCRATCH["told_stacks"])
    code.jump_if(R1, "==", R2, "no stack")  # it was told before
    code.map_address(R1, stacks)
    code.address(R2, R6, head + STACK_HEAD["stack"])
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "==", 0, "a new stack")
    code.load(R1, R6, head + STACK_HEAD["stack"])
    code.store(R9, SCRATCH["told_stacks"], R1)
    code.jump("no stack")
    code.label("a new stack")
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


def _epoch(code: Assembler) -> None:
    """In the scratch (R6): the epoch of the process (R8), odd; where it has no counter, an even one of this walk alone.

    The counter is the interpreter's own: how many code objects were freed (3.14 and newer; Objects/codeobject.c, code_dealloc), or the
    version that the next one gets (3.13; init_code). It is read before the frames whose code objects are looked up.
    """
    code.load(R9, R6, SCRATCH["walk"])
    code.shift_left(R9, 1)
    code.load(R7, R8, PROCESS["code_counter"], 4)
    code.jump_if(R7, "==", 0, "epoch known")
    _state_field(code, R3, R8, R6, "state_interpreter")
    code.add(R3, R7)
    code.move(R7, R3)
    user_word(code, R3, "epoch known")
    code.shift_left(R3, 32)
    code.shift_right(R3, 32)
    code.load(R1, R8, PROCESS["code_counter_least"], 4)
    code.jump_if(R3, "<", R1, "epoch known")
    code.constant(R2, MIXING)
    code.load(R9, R6, SCRATCH["call"] + CALL["tgid"], 4)
    code.load(R1, R8, PROCESS["program"], 4)
    for word in (R1, R7, R3):
        mix(code, R9, word, R2)
    code.bit_or(R9, 1)
    code.label("epoch known")
    code.store(R6, SCRATCH["epoch"], R9)


def _walk(code: Assembler) -> None:
    """walk(scratch, process, frame): append frames to the stack until it has `depth`; returns the next frame."""
    head, window = SCRATCH["stack"], SCRATCH["window"]

    def field(to: Register, name: str) -> None:
        """`to` = address of the copied frame's field; R5 is where the frame lies in the window."""
        code.load(to, R7, PROCESS[name], 4)
        code.bit_and(to, LAST)
        code.add(to, R5)

    code.label("walk")
    code.move(R6, R1)
    code.move(R7, R2)
    code.move(R8, R3)
    code.store(R10, -8, 0)
    code.store(R6, SCRATCH["base"], 0)
    code.label("next frame")
    code.load(R1, R10, -8)
    code.add(R1, 1)
    code.store(R10, -8, R1)
    code.jump_if(R1, ">", _MAX_STEPS, "walked")
    code.jump_if(R8, "==", 0, "walked")
    code.load(R1, R6, head + STACK_HEAD["frames"], 4)
    code.load(R2, R6, SCRATCH["depth"])
    code.jump_if(R1, ">=", R2, "walked")
    code.jump_if(R1, ">=", MAX_FRAMES, "walked")
    _show(code)
    code.move(R5, R6)
    code.add(R5, R9)
    field(R1, "frame_previous")
    code.load(R8, R1, window)
    field(R1, "frame_owner")
    code.load(R2, R1, window, 1)
    code.jump_if(R2, ">=", OWNED_BY_C, "next frame")
    code.shift_left(R2, 56)
    field(R1, "frame_instruction")
    code.load(R3, R1, window)
    code.bit_or(R2, R3)
    code.store(R10, -16, R2)
    field(R1, "frame_code")
    code.load(R3, R1, window)
    code.bit_and(R3, -8)  # 3.14: the low bits are a tag, _PyStackRef
    code.jump_if(R3, "==", 0, "next frame")
    code.store(R10, -24, R3)
    _identify(code)
    _append(code)
    code.jump("next frame")
    code.label("walked")
    code.move(R0, R8)
    code.leave()


def _show(code: Assembler) -> None:
    """R9 = where the frame R8 lies in the window, after moving that to the frame's page if it lies elsewhere.

    Callers lie below those whom they call, close together (Python/pystate.c, _PyThreadState_PushFrame): one read of what is in use of
    the page brings some dozen frames, in less than two reads of a frame each would take.
    """
    code.load(R1, R6, SCRATCH["base"])
    code.move(R9, R8)
    code.subtract(R9, R1)
    code.jump_if(R9, "<", PAGE, "shown")
    code.move(R9, R8)
    code.bit_and(R9, PAGE - 1)
    code.move(R3, R8)
    code.subtract(R3, R9)
    code.store(R6, SCRATCH["base"], R3)
    code.address(R1, R6, SCRATCH["window"])
    code.move(R2, R9)
    code.add(R2, FRAME_BYTES)
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "==", 0, "shown")
    code.move(R8, 0)
    code.jump("walked")
    code.label("shown")


def _identify(code: Assembler) -> None:
    """R3 = the identity of the code object whose address lies on the stack.

    Addresses of freed code objects are given out again, so the identity of one is made of its fields up to its names and lines, too:
    among them is its version, which no other code object of the interpreter ever has (3.12 and newer; Objects/codeobject.c,
    init_code). They are read once an epoch and code object: a read of the thread's memory takes as long as the walk of some frames.
    """
    seen = SCRATCH["seen"]
    code.load(R3, R10, -24)
    code.move(R9, R3)
    code.shift_right(R9, 4)
    code.move(R1, R3)
    code.shift_right(R1, 10)
    code.bit_xor(R9, R1)
    code.bit_and(R9, SEEN_CODES - 1)
    code.multiply(R9, SEEN_CODE.size)
    code.add(R9, R6)
    code.load(R1, R9, seen + SEEN_CODE["epoch"])
    code.load(R2, R6, SCRATCH["epoch"])
    code.jump_if(R1, "!=", R2, "new code")
    code.load(R1, R9, seen + SEEN_CODE["code"])
    code.jump_if(R1, "!=", R3, "new code")
    code.load(R3, R9, seen + SEEN_CODE["identity"])
    code.jump("identified")
    code.label("new code")
    code.store(R9, seen + SEEN_CODE["epoch"], R2)
    code.store(R9, seen + SEEN_CODE["code"], R3)
    code.load(R1, R7, PROCESS["code_names"], 4)
    code.add(R3, R1)
    code.subtract(R3, BEFORE_NAMES)
    code.address(R1, R6, SCRATCH["fields"])
    code.move(R2, FIELDS_BYTES)
    code.call(PROBE_READ_USER)  # a failed read leaves zeros
    code.load(R3, R10, -24)
    code.load(R1, R6, SCRATCH["call"] + CALL["tgid"], 4)
    code.constant(R2, MIXING)
    mix(code, R3, R1, R2)
    for at in range(0, FIELDS_BYTES, 8):
        code.load(R1, R6, SCRATCH["fields"] + at)
        mix(code, R3, R1, R2)
    code.store(R9, seen + SEEN_CODE["identity"], R3)
    code.label("identified")


def _append(code: Assembler) -> None:
    """The frame with the identity R3, whose code and instruction lie on the stack, goes into the record and the stack's hash."""
    head = SCRATCH["stack"]
    code.constant(R2, MIXING)
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


def _find_state(code: Assembler) -> None:
    """find_state(scratch, thread, process): the address of this thread's PyThreadState, with a copy in the scratch; 0 where it has none.

    A call without interest is not looked for again and again in a thread that had none a moment ago: it may run no Python, or be so
    young that CPython has not entered it yet.
    """
    code.label("find_state")
    code.move(R6, R2)
    code.move(R7, R3)
    code.store(R10, -40, R1)
    code.load(R8, R6, THREAD["state"])
    code.jump_if(R8, "==", 0, "not known")
    _copy_state(code, "not known")
    code.load(R2, R10, -40)
    _state_field(code, R3, R7, R2, "native_id")
    code.load(R1, R6, THREAD["native_id"], 4)
    code.jump_if(R1, "==", R3, "state found")
    code.label("not known")
    code.store(R6, THREAD["state"], 0)
    code.load(R1, R10, -40)
    code.load(R1, R1, SCRATCH["interest"])
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
    _search(code)
    code.label("remember")
    code.store(R6, THREAD["state"], R8)
    _copy_state(code, "no state")
    code.label("state found")
    code.move(R0, R8)
    code.leave()
    code.label("absent")
    code.call(KTIME_GET_NS)
    code.add(R0, _ABSENT_NS)
    code.store(R6, THREAD["absent_until"], R0)
    code.label("no state")
    code.leave(0)


def _copy_state(code: Assembler, unreadable: str) -> None:
    """What is asked of the thread state R8, in one read; its pages are in memory, since CPython writes there all the time."""
    code.load(R1, R10, -40)
    code.add(R1, SCRATCH["state"])
    code.move(R2, STATE_BYTES)
    code.move(R3, R8)
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "!=", 0, unreadable)


def _state_field(code: Assembler, to: Register, process: Register, scratch: Register, name: str) -> None:
    """`to` = the field of the copied thread state."""
    code.load(to, process, PROCESS[name], 4)
    code.bit_and(to, LAST_OF_STATE)
    code.add(to, scratch)
    code.load(to, to, SCRATCH["state"])


def _search(code: Assembler) -> None:
    """R8 = the state whose native id is R9, of the interpreter R3 and those after it; goes to "absent" where there is none."""
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


def _own_id(code: Assembler) -> None:
    """R9 = this thread's id as the process itself knows it (R7), which in a pid namespace is not the kernel's own."""
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
