"""The memory that the program at the end of a call works in: one piece for each CPU, since its stack has 512 bytes only.

A program that is running on a CPU is not started there a second time (kernel/trace/bpf_trace.c, __bpf_trace_run), so nobody else
writes here meanwhile. What it keeps here is unknown to the verifier, which therefore has to look at each path once only, and
not once for each value.
"""

from pellucid.kernel.bpf_records import (
    CALL,
    CALL_DATA_ROOM,
    CODE_HEAD,
    FRAME,
    MAX_FRAMES,
    PATH_ROOM,
    STACK_HEAD,
    TABLE_ROOM,
    Fields,
)
from pellucid.kernel.stack_layout import FIELDS_BYTES, FRAME_BYTES, STATE_BYTES

LAST = 127
"""Offsets that come from a map are cut to seven bits, so that the verifier knows their bounds."""
LAST_OF_STATE = 255
"""And those within a thread state to eight."""

SEEN_CODE = Fields("epoch:8 code:8 identity:8")
"""The identity of a code object that a walk of this epoch has met."""
SEEN_CODES = 256
TOLD_CODES, TOLD_STACKS = 128, 64

PAGE = 4096
WINDOW_BYTES = PAGE + FRAME_BYTES

SCRATCH = Fields(
    f"call:{CALL.size + CALL_DATA_ROOM + PATH_ROOM + 8} "  # and room for the verifier, which adds up the largest lengths
    f"stack:{STACK_HEAD.size + MAX_FRAMES * FRAME.size} "
    f"fields:{FIELDS_BYTES} hash:8 depth:8 interest:8 position:8 base:8 walk:8 epoch:8 seen:{SEEN_CODES * SEEN_CODE.size} "
    f"told:{TOLD_CODES * 8} told_stacks:{TOLD_STACKS * 8} "
    f"state:{STATE_BYTES + 8} window:{WINDOW_BYTES + LAST + 9}"
)
"""The record of a call, that of its stack, and what is needed on the way. `interest`: why a record is due.

`state`: a copy of the thread's PyThreadState. `walk`: the number of this walk; `epoch`: a number that stays while no address
of a code object of the process can come to mean another one; `seen`: the code objects that walks have met;
`told`, `told_stacks`: identities of some code objects, and numbers of some stacks, that need not be told again.

`window`: the memory of the thread from `base` on, a page at most, and the frame that begins there last.
"""

CODE_SCRATCH_SIZE = CODE_HEAD.size + TABLE_ROOM
"""The record of a code object is put together in a map of its own."""
