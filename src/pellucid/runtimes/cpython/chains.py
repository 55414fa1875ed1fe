"""A walk that begins where the last one of the same thread still holds: what a sampler pays for is what has changed.

A frame that has called another lies still until that returns, with all of its locals. So if the first bytes of the top chunk, up to
and with a frame's header, are those of the last walk, that frame and all its callers are what they were, and one comparison of
memory proves it (the double copy, `frames`, still has to agree on them). Only frames above are walked. What lies outside of the
top chunk (generators, coroutines, entry frames on the C stack, older chunks) is copied each time, and compared as a whole.

Where a deep recursion begins anew between two ticks, its locals differ and its frames do not: there all headers are taken out of the copy
by one unpack (`Shape`), and compared as two tuples.
"""

from struct import Struct as Bytes

from pellucid.kernel.memory import Memory
from pellucid.runtimes.cpython.copies import Copies, Plan
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.frames import Frames, Header, Walked
from pellucid.runtimes.cpython.trie import EMPTY, Trie

MAX_CHAIN = 1 << 15
"""Frames of one stack that are walked; the outer ones of a deeper stack are left out."""
ROOT = (0, 0)
"""Stands for the caller of an outermost frame."""
LONG = 16
"""So many frames are taken together sooner than walked one by one."""


class Shape:
    """Where the headers of `addresses`, outermost first, lie in a side of the copy that begins with the outer pieces.

    `numbers`: which frame each header of `unpack` is of.
    """

    __slots__ = ("addresses", "numbers", "unpack")

    def __init__(self, addresses: list[int], places: list[int], span: int) -> None:
        self.addresses = addresses
        ordered = sorted(zip(places, range(len(places)), strict=True))
        pattern, end = "<", 0
        for place, _ in ordered:
            pattern += f"{place - end}x{span}s"
            end = place + span
        self.unpack = Bytes(pattern).unpack_from
        self.numbers = [number for _, number in ordered]

    def same(self, one: tuple[bytes, ...], other: tuple[bytes, ...]) -> int:
        """How many of the outermost frames have the same header in both."""
        if one == other:
            return len(self.numbers)
        return min(number for number, ours, theirs in zip(self.numbers, one, other, strict=True) if ours != theirs)


class Chain:
    """The last proved walk by one plan, the outermost frame first. `last`: the side of the copy that it was read from.

    `ends`: how many bytes of the top chunk prove the frame: to the end of its header, or its caller's where it lies outside.
    """

    __slots__ = ("addresses", "callers", "ends", "epoch", "index", "last", "nodes", "outer", "walked")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.addresses: list[int] = []
        self.index: dict[int, int] = {}
        self.nodes: list[int] = []
        self.callers: list[tuple[int, int]] = []
        """Code and instruction of each."""
        self.ends: list[int] = []
        self.last = b""
        self.outer = b""
        self.walked = Walked(())

    def cut(self, count: int) -> None:
        """Keep the outermost `count` frames."""
        for address in self.addresses[count:]:
            self.index.pop(address, None)
        del self.addresses[count:]
        del self.nodes[count:]
        del self.callers[count:]
        del self.ends[count:]


class Chains(Frames):
    """As `Frames`, but what it gives is the number of the stack (`Walked.node`), and no frames. The same value where nothing moved."""

    most = MAX_CHAIN

    def __init__(self, memory: Memory, layout: Layout, trie: Trie) -> None:
        super().__init__(memory, layout)
        self._trie = trie
        self._calls: set[tuple[int, int, int]] = set()
        """(code, instruction, code of what it calls there) of stacks that were proved; of the epoch `_calls_epoch` of the trie."""
        self._calls_epoch = trie.epoch
        self._span = layout["interpreter_frame.instr_ptr"] + 8 - self._frame.start

    def walk(self, plan: Plan, copies: Copies) -> Walked | None:
        """As of `Frames`, and the first state has to agree too."""
        frame = self._current(plan, copies.first)
        if frame is None:
            plan.stale = True
            return None
        if copies.first != copies.state and frame != self._current(plan, copies.state):
            return None
        chain = plan.chain
        kept = 0
        if chain is not None and chain.epoch == self._trie.epoch:
            kept = _still_there(chain, plan, copies)
            if kept + LONG < len(chain.nodes):
                kept = max(kept, _by_shape(chain, plan, copies))
        if chain is None or not kept:
            chain = plan.chain = Chain(self._trie.epoch)
        before, after = copies.before, copies.after
        unpack, start = self._frame.unpack_from, self._frame.start
        index, chunk, last = chain.index, plan.chunk, plan.chunk_size - start - self._frame.size
        top_before, outer_after = plan.outer_size + start, plan.chunk_size
        found: list[Header] = []
        base = -1
        while frame:
            base = index.get(frame, -1)
            if 0 <= base < kept:
                break
            place = frame - chunk
            if 0 <= place <= last:
                header, other = unpack(after, start + place), unpack(before, top_before + place)
            else:
                outside = self._outside(plan, frame)
                if outside is None:
                    plan.stale = True
                    return None
                header, other = unpack(after, outer_after + outside), unpack(before, outside)
            code, previous, instruction, owner = header
            if header != other and (found or other != (code, previous, other[2], owner)):
                return None
            if len(found) >= self.most:
                plan.chain = None
                return self._walked(found, cut=True)
            found.append((frame, code, previous, instruction, owner))
            frame = previous
        else:
            base = -1
        if found or base != len(chain.nodes) - 1:
            self._extend(chain, base + 1, found, plan)
        if len(found) > LONG:
            self._learn(chain, plan)
        chain.last = after
        if plan.outer_size:
            chain.outer = after[plan.chunk_size :]
        return chain.walked

    def recognised(self, plan: Plan, copies: Copies) -> Walked | None:
        """The stack of one side, where each frame is known to call the next one at its instruction; None where that is not so.

        A torn stack, made of two moments, nearly always has a frame in it that calls somebody else. The earlier side is the nearer one
        to the first state.
        """
        if self._calls_epoch != self._trie.epoch:
            return None
        copies = copies.at_first()
        for side, top, outer in ((copies.before, plan.outer_size, 0), (copies.after, 0, plan.chunk_size)):
            found = self._alone(plan, copies, side, top, outer)
            calls = [ROOT, *((code, instruction) for _, code, _, instruction, _ in reversed(found))]
            called = [code for _, code, _, _, _ in reversed(found)]
            if found and self._calls.issuperset((*call, code) for call, code in zip(calls, called, strict=False)):
                return self._walked(found)
        return None

    def _extend(self, chain: Chain, kept: int, found: list[Header], plan: Plan) -> None:
        """The chain from `kept` frames on; `found` is innermost first."""
        chain.cut(kept)
        addresses, nodes, ends, index, child = chain.addresses, chain.nodes, chain.ends, chain.index, self._trie.child
        node = nodes[-1] if nodes else EMPTY
        end = ends[-1] if ends else 0
        chunk, header, size = plan.chunk, self._frame.start + self._frame.size, plan.chunk_size
        if self._calls_epoch != self._trie.epoch:
            self._calls.clear()
            self._calls_epoch = self._trie.epoch
        calls, callers = self._calls, chain.callers
        caller = callers[-1] if callers else ROOT
        for frame, code, _, instruction, owner in reversed(found):
            calls.add((*caller, code))
            caller = (code, instruction)
            callers.append(caller)
            node = child(node, code, instruction, owner)
            if 0 <= frame - chunk < size:
                end = frame - chunk + header
            index[frame] = len(addresses)
            addresses.append(frame)
            nodes.append(node)
            ends.append(end)
        if node != chain.walked.node:
            chain.walked = Walked((), node=node)

    def _learn(self, chain: Chain, plan: Plan) -> None:
        """Many frames were walked: where that is the second time that they lie so, their shape is kept for the next time."""
        addresses = chain.addresses[: len(chain.addresses) // LONG * LONG]
        if plan.shape is not None and plan.shape.addresses == addresses:
            return
        if plan.seen != addresses:
            plan.seen = addresses
            return
        places = [place for address in addresses if (place := self._place(plan, address)) is not None]
        if len(places) == len(addresses):
            plan.shape = Shape(addresses, places, self._span)

    def _place(self, plan: Plan, frame: int) -> int | None:
        """Where a header lies in a side of the copy that begins with the outer pieces."""
        place = frame - plan.chunk
        if 0 <= place <= plan.chunk_size - self._frame.start - self._frame.size:
            return plan.outer_size + place + self._frame.start
        return self._outside(plan, frame)

    def _walked(self, found: list[Header], *, moving: bool = False, cut: bool = False) -> Walked:
        node = EMPTY
        for _, code, _, instruction, owner in reversed(found):
            node = self._trie.child(node, code, instruction, owner)
        return Walked((), moving, cut, node)


def _by_shape(chain: Chain, plan: Plan, copies: Copies) -> int:
    """As `_still_there`, by the headers alone."""
    shape = plan.shape
    if shape is None or chain.addresses[: len(shape.addresses)] != shape.addresses:
        return 0
    size = plan.chunk_size
    after = shape.unpack(copies.after[size:] + copies.after[:size])
    kept = shape.same(after, shape.unpack(chain.last[size:] + chain.last[:size]))
    return min(kept, shape.same(after, shape.unpack(copies.before))) if kept else 0


def _still_there(chain: Chain, plan: Plan, copies: Copies) -> int:
    """How many of the outermost frames are as they were, on both sides: tried from the innermost, in ever larger steps, then between."""
    before, after, last, ends, top = copies.before, copies.after, chain.last, chain.ends, plan.outer_size
    if top and not (after.endswith(chain.outer) and before.startswith(chain.outer)):
        return 0
    moved = count = len(ends)
    step = 1
    moved += 1
    while count > 0:
        known = last[: ends[count - 1]]
        if after.startswith(known) and before.startswith(known, top):
            break
        moved = count
        count -= step
        step *= 2
    count = max(count, 0)
    while moved - count > 2:
        middle = (moved + count) // 2
        known = last[: ends[middle - 1]]
        if after.startswith(known) and before.startswith(known, top):
            count = middle
        else:
            moved = middle
    return count
