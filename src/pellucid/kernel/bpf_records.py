"""What our programs and this process say to each other: the fields of the maps' values and of the records in the ring.

Programs address a field by its name here, and the decoder unpacks the same names, so that a field can't move in one of them
alone. All numbers are little-endian, as the one architecture that is supported is.
"""

from struct import Struct as Packing

from pellucid.kernel.stack_layout import CODE_ROOM

_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Fields(dict[str, int]):
    """Names to offsets in bytes, in the order given as `name:bytes`; other sizes than 1, 2, 4 and 8 are plain bytes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        pattern = "<"
        end = 0
        for field in text.split():
            name, _, digits = field.partition(":")
            size = int(digits)
            if size in _FORMATS and end % size:
                raise ValueError(f"{name} is not aligned")
            self[name] = end
            pattern += _FORMATS.get(size, f"{size}s")
            end += size
        self.size = end
        self.packing = Packing(pattern)

    def pack(self, **values: int) -> bytes:
        """The numbers given, zero for the others; for structs of numbers only."""
        return self.packing.pack(*(values.get(name, 0) for name in self))

    def unpack(self, raw: bytes, at: int = 0) -> dict[str, int]:
        """Names to numbers, for structs of numbers only; `raw` may go on behind them."""
        return dict(zip(self, self.packing.unpack_from(raw, at), strict=True))


PATH_ROOM = 512
"""Bytes of a path that are read, with its NUL: PATH_MAX is 4096, and almost no path is longer than this."""
ADDRESS_ROOM = 128
"""struct sockaddr_storage."""
NAME_ROOM, FILE_ROOM, TABLE_ROOM = 256, 512, 16384
"""Bytes that are read of a code object's names, file and line table."""
MAX_FRAMES = 64
SHALLOW = 8
"""So many inner frames tell calls apart that neither failed nor were slow: a walk costs some 50 ns a frame."""

PROCESS = Fields(
    # counts: 1, or WAITS while a launched command has not called execve yet. pid: as we see it, 0 where not known yet.
    "counts:4 pid:4 "
    # `StackLayout`, by the names of its fields; runtime 0: no CPython that can be read. program: a number of its own for each layout told.
    "runtime:8 interpreters_head:4 interpreter_next:4 threads_head:4 thread_next:4 native_id:4 thread_frame:4 "
    "state_interpreter:4 code_counter:4 code_counter_least:4 "
    "by_cframe:4 cframe_frame:4 frame_code:4 frame_previous:4 frame_instruction:4 frame_owner:4 code_names:4 "
    "code_size:4 program:4 "
    # The pid namespace in which its thread ids count; 0 for the first one.
    "namespace_device:8 namespace_inode:8"
)
"""The value of `processes`, by the kernel's own tgid."""
COUNTS, WAITS = 1, 2

THREAD = Fields(
    "start:8 state:8 absent_until:8 path_at:8 number:4 in_call:4 native_id:4 path_length:4 tgid:4 python:4 bits:4 spare:4 "
    f"path:{PATH_ROOM}"
)
"""The value of `threads`, by the kernel's own tid: the call that it is in, and where its PyThreadState was found.

`path_at`: the address of the path that it was called with, 0 for none; `path`: what lay there, where execve destroys it.
`python`: its process has a CPython that can be read. `bits`: 64 or 32, 0 where it was not looked at yet."""

WANTED = Fields("flags:4 path:2 second:2 address:2 reads:2 writes:2 spare:2")
"""The value of `wanted`, by call number. All but `flags` are offsets into pt_regs of the argument that is a path, a second
path, a socket address, the descriptor that is read from or written to; 0 for none."""
CALLS = 512
"""Entries of `wanted`; the last one stands for all numbers that are larger."""

TELL = 1  # a record for every call, not only for one that failed or was slow
FD_FIRST = 2  # the first argument is a descriptor, which tells failures apart
MAKES_FD = 4  # the result is a new descriptor: what was counted for an older one of that number is told now
CLOSES_FD = 8  # the same for its first argument
NEW_FD = 16  # the same for its second argument (dup2)
EVERY = 32  # a record for every failed one too, also when it is equal to an earlier one

TOTAL_KEY = Fields("tgid:4 number:4 stack:8")
TOTAL = Fields("calls:8 errors:8 total_ns:8 max_ns:8")
"""`totals`: per process, call and stack."""

FAILURE = Fields("count:8 total_ns:8 max_ns:8 last:8")
"""`failures`: by the key that stands in the one record of equal failed calls."""

MOVED_KEY = Fields("tgid:4 fd:4")
MOVED = Fields("reads:8 read_bytes:8 writes:8 written_bytes:8")
"""`moved`: what went through each descriptor since it was last told."""

LOST = ("records", "threads", "processes", "totals", "failures", "stacks", "codes", "descriptors")
"""The counters of `lost`, in the order of the array: what found no room, and where."""

REGISTERS, REGISTERS_SIZE = 56, 88
"""The part of struct pt_regs that is copied: r10 to cs."""
ARGUMENTS = (112, 104, 96, 56, 72, 64)
"""Offsets in struct pt_regs of the six arguments: rdi, rsi, rdx, r10, r8, r9. They are ABI (arch/x86/include/uapi/asm/ptrace.h),
and each still has its value when the call returns."""
CODE_SEGMENT = 136
SEGMENT_32_BIT = 0x23  # __USER32_CS: a 32-bit program, whose numbers mean other calls
CALLED, FORKED, EXECUTED, EXITED, SEEN, STACK, CODE = range(1, 8)
"""Kinds of records."""

_HEAD = "kind:4 tgid:4 pid:4 tid:4 time:8 "
HEAD = Fields(_HEAD)
"""Every record begins so; `time` is in ns of CLOCK_MONOTONIC. tgid and tid are the kernel's own, pid is as we see it."""

CALL = Fields(
    _HEAD + "duration:8 stack:8 key:8 number:4 slow:4 "
    "r10:8 r9:8 r8:8 result:8 cx:8 dx:8 si:8 di:8 call:8 ip:8 cs:8 "
    "reads:8 read_bytes:8 writes:8 written_bytes:8 path_length:2 second_length:2 address_length:2 spare:2"
)
"""A call that has ended; behind it its path, second path and address, each as long as told."""
CALL_DATA_ROOM = 2 * PATH_ROOM + ADDRESS_ROOM

FORK = Fields(_HEAD + "child:4 child_pid:4")
"""`child` is the kernel's own number, `child_pid` what we see, 0 where that is not known yet."""

FRAME = Fields("identity:8 code:8 instruction:8")
"""One frame. The top byte of `instruction` is its owner; `identity` names the CODE record."""
STACK_HEAD = Fields(_HEAD + "stack:8 frames:4 spare:4")

CODE_HEAD = Fields(
    _HEAD + "identity:8 address:8 table_size:8 torn:8 "
    f"head:{CODE_ROOM} file:{FILE_ROOM} name:{NAME_ROOM} qualname:{NAME_ROOM}"
)
"""A code object: its first bytes, those of its three strings (objects too) and, behind this, of its line table."""
