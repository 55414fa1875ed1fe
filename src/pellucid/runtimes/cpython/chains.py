"""A walk that begins where the last one of the same thread still holds: what a sampler pays for is what has changed.

A frame that has called another lies still until that returns, with all of its locals. So if the first bytes of the top chunk, up to
and with a frame's header, are those of the last walk, that frame and all its callers are what they were, and one comparison of
memory proves it (the double copy, `frames`, still has to agree on them). Only frames above are walked. What lies outside of the
top chunk (generators, coroutines, entry frames on the C stack, older chunks) is copied each time, and compared as a whole.
"""

from pellucid.kernel.memory import Memory
from pellucid.runtimes.cpython.copies import Copies, Plan
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.frames import Frames, Header, Walked
from pellucid.runtimes.cpython.trie import EMPTY, Trie

MAX_CHAIN = 1 << 15
"""Frames of one stack that are walked; the outer ones of a deeper stack are left out."""


class Chain:
    """The last proved walk by one plan, the outermost frame first. `last`: the side of the copy that it was read from.

    `ends`: how many bytes of the top chunk prove the frame: to the end of its header, or its caller's where it lies outside.
    """

    __slots__ = ("addresses", "ends", "epoch", "index", "last", "nodes", "outer", "walked")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.addresses: list[int] = []
        self.index: dict[int, int] = {}
        self.nodes: list[int] = []
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
        del self.ends[count:]


class Chains(Frames):
    """As `Frames`, but what it gives is the number of the stack (`Walked.node`), and no frames. The same value where nothing moved."""

    most = MAX_CHAIN

    def __init__(self, memory: Memory, layout: Layout, trie: Trie) -> None:
        super().__init__(memory, layout)
        self._trie = trie

    def walk(self, plan: Plan, copies: Copies) -> Walked | None:
        """As of `Frames`."""
        frame = self._current(plan, copies.state)
        if frame is None:
            plan.stale = True
            return None
        chain = plan.chain
        kept = 0
        if chain is not None and chain.epoch == self._trie.epoch:
            kept = _still_there(chain, plan, copies)
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
        chain.last = after
        if plan.outer_size:
            chain.outer = after[plan.chunk_size :]
        return chain.walked

    def _extend(self, chain: Chain, kept: int, found: list[Header], plan: Plan) -> None:
        """The chain from `kept` frames on; `found` is innermost first."""
        chain.cut(kept)
        addresses, nodes, ends, index, child = chain.addresses, chain.nodes, chain.ends, chain.index, self._trie.child
        node = nodes[-1] if nodes else EMPTY
        end = ends[-1] if ends else 0
        chunk, header, size = plan.chunk, self._frame.start + self._frame.size, plan.chunk_size
        for frame, code, _, instruction, owner in reversed(found):
            node = child(node, code, instruction, owner)
            if 0 <= frame - chunk < size:
                end = frame - chunk + header
            index[frame] = len(addresses)
            addresses.append(frame)
            nodes.append(node)
            ends.append(end)
        if node != chain.walked.node:
            chain.walked = Walked((), node=node)

    def _walked(self, found: list[Header], *, moving: bool = False, cut: bool = False) -> Walked:
        node = EMPTY
        for _, code, _, instruction, owner in reversed(found):
            node = self._trie.child(node, code, instruction, owner)
        return Walked((), moving, cut, node)


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
