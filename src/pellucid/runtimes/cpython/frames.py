"""The stack of a thread that goes on running, proved by copying it twice.

    one process_vm_readv: older chunks and loose frames, top chunk upwards, THREAD STATE, top chunk downwards, loose frames and older chunks

A thread that runs tears a single copy: the frame at an address is another call's by the time its caller is copied, and 3 to
10 % of such stacks are impossible ones. So the thread state is copied once, and all its frames before and after it. The walk
from its current frame goes on only where a frame header (code, caller, instruction) is the same on both sides: then it was so at
the moment in between, unless the thread has gone and come back, which a stack of short calls does (`proofs` rules it out). Only
the innermost instruction may differ: it moves all the time and names no other frame. Comparing the current_frame pointer alone
proves nothing, since sibling calls are given the same address; and a state copied after both sides may point at a frame that came
last and whose header they have from an earlier call.

Frames lie in chunks (Include/cpython/pystate.h, _PyStackChunk; Python/pystate.c, _PyThreadState_PushFrame), or loose: in
generators and coroutines, and, for each entry from C, on the C stack (Python/ceval.c, entry_frame; 3.12 and later). The top
chunk moves most, and its upper end more than its lower one: so that lies innermost in the copy. The less time between two sides, the
fewer copies have to be repeated, and the less can come back meanwhile.
"""

from struct import Struct as Bytes
from typing import TYPE_CHECKING

from msgspec import Struct

from pellucid.kernel.memory import Memory
from pellucid.runtimes.cpython.copies import Copies, Plan, Recent, worth
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FRAMES = 10_000  # of one stack; the recursion limit is 1000 unless a program raises it
MAX_CHUNKS = 1024
MAX_CHUNK = 1 << 22  # bytes of one; the first has 16 KiB, and each is as large as its largest frame needs
MAX_OLDER = 1 << 24  # bytes of all but the top one: frames below are read one by one
_SPARE = 320  # bytes above the top that are copied too: a few short calls more need no new plan
_LEAST = 1024
MAX_STATE = 1 << 12
"""Bytes that a PyThreadState may have."""
_U64 = Bytes("<Q")

OWNED_BY_GENERATOR = 1
OWNED_BY_C = 3  # Include/internal/pycore_frame.h, enum _frameowner: an entry from C, no call of its own


class Activation(Struct, frozen=True, gc=False):
    """One frame in memory: `address` of its _PyInterpreterFrame, of its code object, and of the instruction that it is at."""

    address: int
    code: int
    instruction: int
    owner: int


class Walked(Struct, frozen=True):
    """One stack as it was walked, innermost first; frames of C are left out. `cut`: it has more than MAX_FRAMES frames.

    `node`: its number in a `trie`, for a sampler, whose walks have no activations.
    """

    activations: tuple[Activation, ...]
    moving: bool = False
    cut: bool = False
    node: int = 0


Header = tuple[int, int, int, int, int]
"""A frame's address, then what its header says: code, caller, instruction, owner."""


class Frames:
    """Plans and walks stacks in the layout of one build."""

    most = MAX_FRAMES
    """Frames of one stack that are walked."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._memory = memory
        self._by_cframe = layout.minor < 13  # tstate.cframe->current_frame, Include/cpython/pystate.h of 3.11 and 3.12
        self._cframe_offset = layout["cframe.current_frame"] if self._by_cframe else 0
        current = "thread_state.cframe" if self._by_cframe else "thread_state.current_frame"
        self._current_offset = layout[current]
        self.state = Record(
            layout,
            (
                ("thread_state.next", "Q"),
                ("thread_state.interp", "Q"),
                (current, "Q"),
                ("thread_state.thread_id", "Q"),
                ("thread_state.native_thread_id", "Q"),
                ("thread_state.datastack_chunk", "Q"),
                ("thread_state.datastack_top", "Q"),
            ),
        )
        self._frame = Record(
            layout,
            (
                ("interpreter_frame.executable", "Q"),
                ("interpreter_frame.previous", "Q"),
                ("interpreter_frame.instr_ptr", "Q"),
                ("interpreter_frame.owner", "B"),
            ),
        )
        self._chunk = Record(
            layout, (("stack_chunk.previous", "Q"), ("stack_chunk.size", "Q"), ("stack_chunk.top", "Q"))
        )
        self._chunk_data = layout["stack_chunk.data"]
        self._untagged = ~7 if layout.minor >= 14 else ~0  # _PyStackRef, Include/internal/pycore_stackref.h

    def plan(self, thread: int, least: int = 0, recent: Recent | None = None) -> Plan:
        """What to copy of the thread whose state is at `thread`, from a single look at it; of its top chunk at `least` so many bytes.

        `recent`: what was met outside of its former plans, and is copied again where it comes back. Raises Unreadable.
        """
        memory, state = self._memory, self.state
        _, _, frame, _, _, chunk, top = state.unpack(memory.read(thread + state.start, state.size))
        cframe = frame if self._by_cframe else 0
        if cframe:
            frame = memory.u64(cframe + self._cframe_offset)
        older: list[tuple[int, int]] = []
        content = b""
        if chunk:
            wanted = min(max((top - chunk + _SPARE) & -64, _LEAST, least), MAX_CHUNK)
            content = memory.read_some(chunk, wanted)
            previous, whole, _ = self._chunk.unpack_from(content, self._chunk.start)
            content = content[: max(whole, self._chunk_data)]
            older = self._older(previous)
        plan = Plan(chunk, len(content))
        plan.add_older(older)
        contents = {chunk: content} | {address: memory.read(address, used) for address, used in older}
        self._find_loose(plan, contents, frame)
        plan.add_state(thread + state.start, state.size)
        if cframe:
            plan.cframes[cframe] = plan.add_state(cframe + self._cframe_offset, 8)
        if recent is not None:
            self._add_recent(plan, recent)
        return plan

    def _add_recent(self, plan: Plan, recent: Recent) -> None:
        """The frames that come and go, too, as far as they can be read: one that can't would end the copy."""
        plan.recent = recent
        size = self._frame.size
        frames = [at for at in worth(recent.frames) if at not in plan.loose and not _in_chunks(plan, at)]
        heads = self._memory.read_many([(at + self._frame.start, size) for at in frames])
        for address, head in zip(frames, heads, strict=True):
            if head is not None:
                plan.loose[address] = plan.add_outer(address + self._frame.start, size)
        for address in worth(recent.cframes):
            if address not in plan.cframes:
                plan.cframes[address] = plan.add_state(address + self._cframe_offset, 8)

    def _older(self, chunk: int) -> list[tuple[int, int]]:
        """(address, bytes in use) of each chunk below the top one. `top` counts words here (_PyThreadState_PushFrame)."""
        found: list[tuple[int, int]] = []
        total = 0
        while chunk and len(found) < MAX_CHUNKS and total < MAX_OLDER:
            previous, size, top = self._chunk.unpack(self._memory.read(chunk + self._chunk.start, self._chunk.size))
            used = max(min(self._chunk_data + 8 * top, size, MAX_CHUNK), self._chunk_data)
            found.append((chunk, used))
            total += used
            chunk = previous
        return found

    def _find_loose(self, plan: Plan, contents: dict[int, bytes], frame: int) -> None:
        """Walks once, unproved, and adds each frame outside the chunks to the plan; `contents` has the chunks."""
        record = self._frame
        for _ in range(self.most):
            if not frame or frame in plan.loose:
                return  # the end, or a ring: torn
            start = plan.chunk
            if not start <= frame < start + plan.chunk_size:
                older = plan.older_with(frame)
                start = older[0] if older else 0
            content = contents[start] if start else b""
            if frame - start + record.start + record.size <= len(content):
                header = record.unpack_from(content, frame - start + record.start)
            else:
                header = record.unpack(self._memory.read(frame + record.start, record.size))
                place = plan.loose[frame] = plan.add_outer(frame + record.start, record.size)
                if header[3] >= OWNED_BY_C:
                    plan.entries.add(place)
            frame = header[1]

    def proved(self, plan: Plan, copies: Copies) -> list[Header] | None:
        """The frames, innermost first, where both sides agree on each; one more than `most` where there are more.

        None where they don't; then `plan.stale` says whether the plan no longer fits.
        """
        frame = self._current(plan, copies.state)
        if frame is None:
            plan.stale = True
            return None
        before, after = copies.before, copies.after
        unpack, start = self._frame.unpack_from, self._frame.start
        chunk, last = plan.chunk, plan.chunk_size - start - self._frame.size
        top_before, outer_after = plan.outer_size + start, plan.chunk_size
        found: list[Header] = []
        outside_left = len(plan.loose)
        while frame and len(found) <= self.most:
            place = frame - chunk
            if 0 <= place <= last:
                header, other = unpack(after, start + place), unpack(before, top_before + place)
            else:
                outside = self._outside(plan, frame)
                if outside is None:
                    plan.stale = True
                    return None
                header, other = unpack(after, outer_after + outside), unpack(before, outside)
                outside_left -= frame in plan.loose
            code, previous, instruction, owner = header
            if header != other and (found or other != (code, previous, other[2], owner)):
                return None
            if outside_left < 0 or chunk <= frame <= previous <= chunk + last or _is_suspended(header):
                return None  # a ring, or left: it came back to this between the two copies
            found.append((frame, code, previous, instruction, owner))
            frame = previous
        return found

    def agreed(self, plan: Plan, copies: Copies) -> list[Header]:
        """The outer frames on which both sides agree, innermost first."""
        walked = self._alone(plan, copies, copies.after, 0, plan.chunk_size)
        other = self._alone(plan, copies, copies.before, plan.outer_size, 0)
        if walked and other:
            agreed = _common_end(walked, other)
        else:  # the walk through one side was led astray: what the other found has to stand there, too
            agreed = _common_end(walked, self._again(plan, walked, copies.before, plan.outer_size, 0))
            agreed += _common_end(other, self._again(plan, other, copies.after, 0, plan.chunk_size))
        return agreed

    def _alone(self, plan: Plan, copies: Copies, side: bytes, top: int, outer: int) -> list[Header]:
        """The walk through one side, whose parts begin at `top` and `outer`; empty where it does not reach its end."""
        frame = self._current(plan, copies.state)
        found: list[Header] = []
        loose, end = len(plan.loose), plan.chunk + plan.chunk_size
        while frame:
            header = self._header(plan, frame, side, top, outer)
            if header is None or len(found) >= self.most:
                return []
            found.append(header)
            loose -= frame in plan.loose
            if loose < 0 or plan.chunk <= frame <= header[2] < end or _is_suspended(header[1:]):
                return []  # torn
            frame = header[2]
        return found

    def _again(self, plan: Plan, found: list[Header], side: bytes, top: int, outer: int) -> list[Header | None]:
        """The same frames as they stand in the other side."""
        return [self._header(plan, frame, side, top, outer) for frame, *_ in found]

    def _header(self, plan: Plan, frame: int, side: bytes, top: int, outer: int) -> Header | None:
        """(frame, code, caller, instruction, owner) from one side; None for a frame that was not planned for."""
        place = frame - plan.chunk
        if 0 <= place <= plan.chunk_size - self._frame.start - self._frame.size:
            return (frame, *self._frame.unpack_from(side, place + top + self._frame.start))
        outside = self._outside(plan, frame)
        return None if outside is None else (frame, *self._frame.unpack_from(side, outer + outside))

    def _current(self, plan: Plan, state: bytes) -> int | None:
        """The innermost frame, 0 for none; None where the thread has left what was planned."""
        _, _, frame, _, _, chunk, top = self.state.unpack_from(state)
        if chunk != plan.chunk or (chunk and top - chunk > plan.chunk_size):
            return None
        if self._by_cframe and frame:
            place = plan.cframes.get(frame)
            named = 0 if place is None else self._named(state, place)
            return named if named or (place is not None and self._in_state(plan, frame)) else None  # left meanwhile
        return int(frame)

    def _in_state(self, plan: Plan, address: int) -> bool:
        """Whether it is none, or is what each PyThreadState has within itself: `root_cframe`, and from 3.15 on `base_frame`."""
        return not address or 0 <= address - (plan.state[0][0] - self.state.start) < MAX_STATE

    @staticmethod
    def _named(state: bytes | bytearray, place: int) -> int:
        """The innermost frame that a _PyCFrame names."""
        frame: int = _U64.unpack_from(state, place)[0]
        return frame

    def _outside(self, plan: Plan, frame: int) -> int | None:
        """The place among the outer pieces of a header that is not in the top chunk; None where it was not planned for."""
        loose = plan.loose.get(frame)
        if loose is not None:
            return loose
        older = plan.older_with(frame)
        if older is None or frame + self._frame.start + self._frame.size > older[1]:
            return None
        return older[2] + frame - older[0] + self._frame.start

    def _walked(self, found: list[Header], *, moving: bool = False, cut: bool = False) -> Walked:
        # A frame without code is one that returns just now: 3.14 clears f_executable before it pops the frame
        # (Python/frame.c, _PyFrame_ClearExceptCode and its callers).
        untagged = self._untagged
        return Walked(
            tuple(
                [
                    Activation(address, code & untagged, instruction, owner)
                    for address, code, _, instruction, owner in found
                    if owner < OWNED_BY_C and code & untagged
                ]
            ),
            moving,
            cut,
        )


def _is_suspended(header: tuple[int, int, int, int]) -> bool:
    """Whether a frame is of a generator or coroutine that nobody runs: its caller is told only as long as it runs (Objects/genobject.c)."""
    _, previous, _, owner = header
    return not previous and owner == OWNED_BY_GENERATOR


def _in_chunks(plan: Plan, address: int) -> bool:
    return 0 <= address - plan.chunk < plan.chunk_size or plan.older_with(address) is not None


def _common_end(one: "Sequence[Header | None]", other: "Sequence[Header | None]") -> list[Header]:
    """The outermost frames of `one` that are the same in `other`."""
    count = 0
    for ours, theirs in zip(reversed(one), reversed(other), strict=False):
        if ours != theirs:
            break
        count += 1
    return [header for header in one[len(one) - count :] if header is not None]
