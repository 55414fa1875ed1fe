"""What a tracer has to know of CPython's structures to walk the stack of a thread that stands still in a call."""

from msgspec import Struct

FRAME_BYTES = 80
"""Of struct _PyInterpreterFrame before its locals: 72 to 80 in CPython 3.11 to 3.15."""
STATE_BYTES = 256
"""Of PyThreadState: current frame and native id lie 56 to 192 bytes from its begin in 3.11 to 3.15."""
NAMES_BYTES = 32
"""co_filename, co_name, co_qualname, co_linetable: neighbours in 3.11 to 3.15."""
BEFORE_NAMES = 48
"""The fields from co_firstlineno on, with co_version where there is one, and those of the local variables."""
FIELDS_BYTES = BEFORE_NAMES + NAMES_BYTES
CODE_ROOM = 216
"""At most so many bytes of a code object lie before its instructions: 184 to 208."""

OWNED_BY_C = 3
"""Include/internal/pycore_frame.h, enum _frameowner: frames of this owner and above are entries from C, no calls."""
MAX_STATES = 128
"""Thread states (and interpreters) that are looked at to find a thread's own; one beyond has no Python lines."""


class StackLayout(Struct, frozen=True):
    """`runtime` is the address of _PyRuntime, the others are offsets in bytes.

    `by_cframe`: 1 where thread_frame leads to a struct _PyCFrame (3.11 and 3.12) whose `cframe_frame` is the current frame.
    `state_interpreter`: in a thread state. `code_counter`: four bytes of an interpreter that change before the address of a code object
    can become that of another one, from the value `code_counter_least` on; 0 where it has no such bytes.
    `code_names`: NAMES_BYTES of names lie there in a code object. `code_size`: all that lies before the instructions.
    """

    runtime: int
    interpreters_head: int
    interpreter_next: int
    threads_head: int
    thread_next: int
    native_id: int
    state_interpreter: int
    code_counter: int
    code_counter_least: int
    thread_frame: int
    by_cframe: int
    cframe_frame: int
    frame_code: int
    frame_previous: int
    frame_instruction: int
    frame_owner: int
    code_names: int
    code_size: int
