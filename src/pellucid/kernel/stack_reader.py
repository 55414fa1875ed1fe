"""The Python stack of a thread that is stopped in a system call, read from outside: the walk of `bpf_python`, made here.

For the tracers that can't walk in the kernel. The thread stands still, so one copy is enough; what is told of it has the form
that the programs in the kernel give it, so that nobody after this has to know who looked.
"""

from collections.abc import Iterator
from struct import Struct as Packing

from pellucid.kernel.bpf_records import FILE_ROOM, MAX_FRAMES, NAME_ROOM
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.kernel.stack_layout import FRAME_BYTES, MAX_STATES, NAMES_BYTES, OWNED_BY_C, StackLayout
from pellucid.kernel.traced import FRAME, OWNER_SHIFT, CodeTold, StackTold

_MAX_TABLE = 1 << 22
_NAMES = Packing("<4Q")


class StackReader:
    """Reads the stacks of one process. What was told before is not told again."""

    def __init__(self, pid: int, memory: Memory, layout: StackLayout, *, born_of: int = 0) -> None:
        """`born_of`: the thread of the parent that forked this process, whose native id its first thread has for a while."""
        self.pid = pid
        self.layout = layout
        self._born_of = born_of
        self._memory = memory
        self._states: dict[int, int] = {}
        self._stacks: set[int] = set()
        self._codes: set[int] = set()

    def close(self) -> None:
        self._memory.close()

    def read(self, tid: int, depth: int) -> tuple[int, list[StackTold | CodeTold]]:
        """(the number of this thread's stack, 0 for none; what has to be told of it), of its `depth` innermost frames."""
        try:
            frames = list(self._frames(tid, depth))
        except Unreadable:
            return 0, []
        if not frames:
            return 0, []
        packed = b"".join(FRAME.pack(identity, code, instruction) for identity, code, instruction, _ in frames)
        stack = hash((self.pid, packed)) & (1 << 63) - 1 | 1
        if stack in self._stacks:
            return stack, []
        self._stacks.add(stack)
        told: list[StackTold | CodeTold] = []
        for identity, code, _, names in frames:
            if identity not in self._codes:
                self._codes.add(identity)
                told += self._code(identity, code, names)
        told.append(StackTold(stack, self.pid, packed, cut=len(frames) >= depth))
        return stack, told

    def _frames(self, tid: int, depth: int) -> Iterator[tuple[int, int, int, bytes]]:
        """(identity, code, instruction with owner, names) of each frame. Raises Unreadable."""
        layout, memory = self.layout, self._memory
        state = self._state(tid)
        if not state:
            return
        frame = memory.u64(state + layout.thread_frame)
        if layout.by_cframe:
            frame = memory.u64(frame + layout.cframe_frame)
        found = 0
        for _ in range(MAX_FRAMES + 16):
            if not frame or found >= min(depth, MAX_FRAMES):
                return
            raw = memory.read(frame, FRAME_BYTES)

            def word(at: int, raw: bytes = raw) -> int:
                return int.from_bytes(raw[at : at + 8], "little")

            frame = word(layout.frame_previous)
            owner = raw[layout.frame_owner]
            code = word(layout.frame_code) & ~7
            if owner >= OWNED_BY_C or not code:
                continue
            names = memory.read(code + layout.code_names, NAMES_BYTES)
            found += 1
            identity = hash((self.pid, code, names)) & (1 << 64) - 1
            yield identity, code, word(layout.frame_instruction) | owner << OWNER_SHIFT, names

    def _state(self, tid: int) -> int:
        """The address of this thread's PyThreadState, 0 for none. Raises Unreadable."""
        layout, memory = self.layout, self._memory
        ids = (tid, self._born_of) if tid == self.pid else (tid,)
        known = self._states.get(tid, 0)
        if known and memory.u64(known + layout.native_id) in ids:
            return known
        interpreter = memory.u64(layout.runtime + layout.interpreters_head)
        for _ in range(MAX_STATES):
            if not interpreter:
                break
            state = memory.u64(interpreter + layout.threads_head)
            for _ in range(MAX_STATES):
                if not state:
                    break
                if memory.u64(state + layout.native_id) in ids:
                    self._states[tid] = state
                    return state
                state = memory.u64(state + layout.thread_next)
            interpreter = memory.u64(interpreter + layout.interpreter_next)
        return 0

    def _code(self, identity: int, code: int, names: bytes) -> Iterator[CodeTold]:
        file, name, qualname, table = _NAMES.unpack(names)
        memory = self._memory
        try:
            size = memory.u64(table + 16)
            lines = memory.read(table + 32, size) if 0 < size <= _MAX_TABLE else b""
            yield CodeTold(
                identity,
                self.pid,
                code,
                memory.read(code, self.layout.code_size),
                memory.read_some(file, FILE_ROOM),
                memory.read_some(name, NAME_ROOM),
                memory.read_some(qualname, NAME_ROOM),
                lines,
                size == len(lines),
            )
        except Unreadable:
            return
