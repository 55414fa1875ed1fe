"""The stack of a thread at the moment of a tick: one copy that begins with the thread's state (`copies`), judged by calls that are known.

The thread goes on while its frames are copied, so that their callers may stand elsewhere than at that moment. To copy twice and to believe
what is the same (`frames`) would prove a stack, but only those that hold still: what calls all the time would be seen in its pauses. So
stacks are proved by the side, as long as there are calls that are not known, and each frame of a sample is told if its caller is known to
call it: at this very instruction, or at one before, from where it has gone on (`calls`). What is judged by the latter, or is not known at
all, is judged again at the end, when most is known. A stack is cut where that fails, and counted as moving.

A frame that has called another lies still until that returns, with all of its locals. So if the first bytes of the top chunk, up to
and with a frame's header, are those of the last walk, that frame and all its callers are what they were, and one comparison of
memory says so. Only frames above are walked. What lies outside of the top chunk (generators, coroutines, entry frames on the C stack, older
chunks) is compared one by one; what is met there for the first time is read at once, by a call of its own.

Where a deep recursion begins anew between two ticks, its locals differ and its frames do not: there all headers are taken out of the copy
by one unpack (`Shape`), and compared as two tuples.
"""

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.runtimes.cpython.calls import ROOT
from pellucid.runtimes.cpython.copies import Plan
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.frames import MAX_CHUNK, OWNED_BY_C, OWNED_BY_GENERATOR, Header, Walked
from pellucid.runtimes.cpython.proofs import SPARE, Proofs
from pellucid.runtimes.cpython.shapes import Shape
from pellucid.runtimes.cpython.trie import EMPTY, Place, Trie

MAX_CHAIN = 1 << 15
"""Frames of one stack that are walked; the outer ones of a deeper stack are left out."""
MAX_LATE = 64
"""Frames of one stack that are read by a call each."""
PROOFS_A_SECOND = 1000
WHOLE_EVERY = 8
"""Of so many, one is of the whole stack."""
MOST_PROOFS = 20
"""Double copies that are taken for one sample where samples are rare."""
LEFT = 1
"""No address of a frame."""
LOST = Walked((), moving=True)
"""A stack of which nothing is known: what was read of it belongs to several moments."""
LONG = 16
"""So many frames are taken together sooner than walked one by one."""


class Chain:
    """The last walk by one plan as far as each caller stood at its call, the outermost frame first; `last`: the copy that it was read from.

    `ends`: how many bytes of the top chunk hold the frame: to the end of its header, or its caller's where it lies outside; `outside`:
    (which frame, place of its header among the outer pieces or -1) of those.
    """

    __slots__ = ("addresses", "ends", "epoch", "index", "last", "nodes", "outside", "walked")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.addresses: list[int] = []
        self.index: dict[int, int] = {}
        self.nodes: list[int] = []
        self.ends: list[int] = []
        self.outside: list[tuple[int, int]] = []
        self.last = b""
        self.walked = Walked(())

    def cut(self, count: int) -> None:
        """Keep the outermost `count` frames."""
        for address in self.addresses[count:]:
            self.index.pop(address, None)
        del self.addresses[count:]
        del self.nodes[count:]
        del self.ends[count:]
        while self.outside and self.outside[-1][0] >= count:
            self.outside.pop()


class Chains(Proofs):
    """Walks samples (`Plan.first`); gives the number of a stack (`Walked.node`), and no frames. The same value where nothing moved."""

    most = MAX_CHAIN

    def __init__(self, memory: Memory, layout: Layout, trie: Trie, rate_hz: float) -> None:
        super().__init__(memory, layout, trie)
        self._most_proofs = max(1, min(MOST_PROOFS, int(PROOFS_A_SECOND / rate_hz)))
        self._turn = 0
        self._good: dict[tuple[int, int, int], int] = {}
        """(caller's stack, address of the code object, of the instruction) → stack, where the caller is known to call it there."""
        self._epoch = trie.epoch
        self._span = layout["interpreter_frame.instr_ptr"] + 8 - self._frame.start

    def sample(self, plan: Plan, copy: bytes) -> Walked | None:
        """The stack at the moment of the copy's state; None where too much of it was not planned for.

        `copy` may be of the state alone, where the frames are not where they were.
        """
        plan.late, plan.top = 0, (0, b"")
        frame = self._innermost(plan, copy)
        if frame is None or frame == LEFT:
            return LOST if frame else None
        if self._epoch != self._trie.epoch:
            self._good.clear()
            self._epoch = self._trie.epoch
        chain = plan.chain
        kept = 0
        if chain is not None and chain.epoch == self._epoch and len(copy) == plan.size:
            kept = _still_there(chain, plan, copy, self._frame.size)
            if kept + LONG < len(chain.nodes):
                kept = max(kept, _by_shape(chain, plan, copy))
        if chain is None or not kept:
            chain = plan.chain = Chain(self._epoch)
        found: list[Header] = []
        base = self._walk(plan, copy, frame, chain, kept, found)
        if plan.loose or plan.late:
            self._remember(plan, found)
        if base is None:
            plan.chain = None
            return None if plan.late > MAX_LATE else LOST
        if len(found) >= self.most:
            plan.chain = None
            return self._cut(found)
        if found or base != len(chain.nodes) - 1:
            chain.cut(base + 1)
            self._extend(chain, found, plan, copy)
            if len(found) > LONG:
                self._learn_shape(chain, plan)
        chain.last = copy
        done = len(chain.nodes) - base - 1
        if done < len(found):
            return self._judged(chain, found[: len(found) - done], plan, copy)
        node = chain.nodes[-1] if chain.nodes else EMPTY
        if node == EMPTY and not self._in_state(plan, frame):
            plan.chain = None
            return LOST  # no frame of Python: then none stands there, or one in the thread state
        if node != chain.walked.node or chain.walked.moving:
            chain.walked = Walked((), node=node)
        return chain.walked

    def judged(self, node: int, moving: bool) -> tuple[int, bool]:
        """What a stack is by all that is known now, and whether it is cut."""
        doubt = self._trie.doubts.get(node)
        if doubt is None:
            return node, moving
        node, whole = self._judge(doubt.start, doubt.places)
        return node, not whole

    def _innermost(self, plan: Plan, copy: bytes) -> int | None:
        """The innermost frame, 0 for none, LEFT where it has been left by now; None where it lies in what was not planned for."""
        _, _, frame, _, _, chunk, top = self.state.unpack_from(copy)
        if chunk != plan.chunk or (chunk and top - chunk > plan.chunk_size):
            plan.stale = True
        if plan.stale:
            plan.top = self._top(chunk, top)
        if self._by_cframe and frame:
            place = plan.cframes.get(frame)
            if place is None:
                plan.recent.meet_cframe(frame)
                plan.stale = True
                return None
            return self._named(copy, place) or (0 if self._in_state(plan, frame) else LEFT)
        return int(frame)

    def _walk(self, plan: Plan, copy: bytes, frame: int, chain: Chain, kept: int, found: list[Header]) -> int | None:
        """Walks to the innermost frame of the chain that is `kept`; returns which it is, -1 for none. None where it leads nowhere."""
        index, unpack, chunk = chain.index, self._frame.unpack_from, plan.chunk
        last, top = plan.chunk_size - self._frame.start - self._frame.size, plan.state_size + self._frame.start
        if len(copy) < plan.size:
            last = -1
        outside, most = len(plan.loose) + MAX_LATE, self.most
        left = False
        while frame:
            base = index.get(frame, -1)
            if 0 <= base < kept:
                return base
            place = frame - chunk
            if 0 <= place <= last:
                code, previous, instruction, owner = unpack(copy, top + place)
                if frame <= previous <= chunk + last:
                    return None  # who calls lies below; so this ends
                left = False
            else:
                header = self._header_outside(plan, copy, frame)
                if header is None:
                    return None
                code, previous, instruction, owner = header
                outside -= frame in plan.loose
                if outside < 0:
                    return None
                if left or (owner == OWNED_BY_GENERATOR and not previous):
                    # It is suspended by now, and who had resumed it is told no more, nor are entries from C that have returned.
                    left = True
                    if owner != OWNED_BY_GENERATOR:
                        previous, owner = plan.recent.caller(frame, 0), OWNED_BY_C
                    elif not previous:
                        previous = plan.recent.caller(frame, code if code & self._untagged else 0)
                    if not previous:
                        return None
            found.append((frame, code, previous, instruction, owner))
            if len(found) >= most:
                break
            frame = previous
        return -1

    def _header_outside(self, plan: Plan, copy: bytes, frame: int) -> tuple[int, int, int, int] | None:
        """(code, caller, instruction, owner) of a frame that is not in the top chunk; None where it can't be read."""
        planned = self._outside(plan, frame) if len(copy) == plan.size else None
        if planned is not None:
            planned += plan.state_size + plan.chunk_size
        else:
            start, copy = plan.top
            planned = frame - start + self._frame.start
            if not self._frame.start <= planned <= len(copy) - self._frame.size:
                return self._late(plan, frame)
            plan.late += not plan.late
        code, previous, instruction, owner = self._frame.unpack_from(copy, planned)
        return code, previous, instruction, owner

    def _top(self, chunk: int, top: int) -> tuple[int, bytes]:
        """The chunk that is on top now, as it is a moment after the state; nothing where that is not there any more."""
        try:
            return chunk, self._memory.read_some(chunk, min(max(top - chunk, 0) + SPARE, MAX_CHUNK))
        except Unreadable:
            return 0, b""

    def _late(self, plan: Plan, frame: int) -> tuple[int, int, int, int] | None:
        """The header of a frame that was not copied, as it is by now; None where there is none, or too many were read in this way."""
        plan.late += 1
        if plan.late > MAX_LATE:
            plan.stale = True
            return None
        if plan.recent.meet_frame(frame):
            plan.stale = True
        try:
            code, previous, instruction, owner = self._frame.unpack(
                self._memory.read(frame + self._frame.start, self._frame.size)
            )
        except Unreadable:
            return None
        return code, previous, instruction, owner

    def _remember(self, plan: Plan, found: list[Header]) -> None:
        """Who calls the frames outside of the top chunk: a generator says so as long as it runs, and only then."""
        chunk, size, loose = plan.chunk, plan.chunk_size, plan.loose
        for frame, code, previous, _, owner in found:
            if (
                (owner == OWNED_BY_GENERATOR or owner >= OWNED_BY_C)
                and not 0 <= frame - chunk < size
                and (0 <= previous - chunk < size or previous in loose)
            ):
                plan.recent.called(frame, code, previous)

    def _extend(self, chain: Chain, found: list[Header], plan: Plan, copy: bytes) -> None:
        """The chain by the frames of `found`, innermost first, as far as each caller stands at a call that is known."""
        addresses, nodes, ends, index, good = chain.addresses, chain.nodes, chain.ends, chain.index, self._good
        node = nodes[-1] if nodes else EMPTY
        end = ends[-1] if ends else 0
        chunk, header, size = plan.chunk, self._frame.start + self._frame.size, plan.chunk_size
        below = 0
        for frame, code, _, instruction, owner in reversed(found):
            callee = good.get((node, code, instruction))
            if callee is None:
                caller = below or self._instruction(chain, plan, copy)
                callee = self._called(node, caller, frame, code, instruction, owner)
                if callee is None:
                    return
            if callee != node:
                node, below = callee, instruction
            if 0 <= frame - chunk < size:
                end = frame - chunk + header
            else:
                planned = self._outside(plan, frame)
                chain.outside.append((len(addresses), -1 if planned is None else planned))
            index[frame] = len(addresses)
            addresses.append(frame)
            nodes.append(node)
            ends.append(end)

    def _called(self, node: int, at: int, frame: int, code: int, instruction: int, owner: int) -> int | None:
        """The stack of a frame that is known to be called from where `node` is, which is kept; None where that is not known.

        `at`: the instruction of the caller, 0 for none.
        """
        place = self._trie.place(code, instruction, owner)
        if place is None:
            callee = node
        else:
            called, unit = place
            if called is None:
                return None
            caller, caller_unit = self._trie.of(node)
            if self._calls.site(caller, caller_unit, called) != caller_unit:
                if not at or not self.is_written(at, frame, code, called):
                    return None
                self._calls.know(caller, caller_unit, called)
            callee = self._trie.child(node, called, unit)
        self._good[node, code, instruction] = callee
        return callee

    def _instruction(self, chain: Chain, plan: Plan, copy: bytes) -> int:
        """That of the innermost frame of the chain which is one of Python; 0 for none."""
        for number in range(len(chain.nodes) - 1, -1, -1):
            if chain.nodes[number] != (chain.nodes[number - 1] if number else EMPTY):
                frame = chain.addresses[number]
                place = frame - plan.chunk
                if 0 <= place <= plan.chunk_size - self._frame.start - self._frame.size and len(copy) == plan.size:
                    _, _, instruction, _ = self._frame.unpack_from(copy, plan.state_size + self._frame.start + place)
                    return int(instruction)
                header = self._header_outside(plan, copy, frame)
                return header[2] if header else 0
        return 0

    def _judged(self, chain: Chain, rest: list[Header], plan: Plan, copy: bytes) -> Walked:
        """The stack of `chain` and of `rest`, innermost first, whose outermost frame is not known to be called from where the chain ends."""
        trie = self._trie
        for _ in range(self._most_proofs):
            if not self._is_worth_a_proof(chain, rest[-1]):
                break
            frames = [frame for frame, *_ in rest] + chain.addresses[-1:]
            self._turn = (self._turn + 1) % WHOLE_EVERY
            if not (self._turn and chain.addresses and self.prove_part(plan, frames, SPARE * (self._turn % 2))):
                self.prove(plan)
            before = len(chain.nodes)
            self._extend(chain, rest, plan, copy)
            rest = rest[: before - len(chain.nodes) + len(rest)]
            if not rest:
                chain.walked = Walked((), node=chain.nodes[-1])
                return chain.walked
        start = chain.nodes[-1] if chain.nodes else EMPTY
        places = [trie.place(code, instruction, owner) for _, code, _, instruction, owner in reversed(rest)]
        shown = tuple(place for place in places if place is not None)
        node, whole = self._judge(start, shown)
        return Walked((), not whole, node=trie.doubt(start, shown, node))

    def _judge(self, node: int, places: tuple[Place, ...]) -> tuple[int, bool]:
        """The stack `node` with `places` above it, and whether all of them could be told."""
        trie = self._trie
        for called, unit in places:
            caller, at = trie.of(node)
            site = None if called is None else self._calls.site(caller, at, called)
            if site is None or called is None:
                return node, False
            if site != at and caller is not ROOT:
                node = trie.child(trie.parent(node), caller, site)
            node = trie.child(node, called, unit)
        return node, True

    def _is_worth_a_proof(self, chain: Chain, header: Header) -> bool:
        _, code, _, instruction, owner = header
        caller, at = self._trie.of(chain.nodes[-1] if chain.nodes else EMPTY)
        place = self._trie.place(code, instruction, owner)
        return self._calls.worth_a_try(caller, at, place[0] if place else None)

    def _cut(self, found: list[Header]) -> Walked:
        """The innermost frames of a stack that has too many."""
        node = EMPTY
        for _, code, _, instruction, owner in reversed(found):
            place = self._trie.place(code, instruction, owner)
            if place is not None and place[0] is not None:
                node = self._trie.child(node, place[0], place[1])
        return Walked((), cut=True, node=node)

    def _learn_shape(self, chain: Chain, plan: Plan) -> None:
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
        """Where a header lies in a copy, from the top chunk on."""
        place = frame - plan.chunk
        if 0 <= place <= plan.chunk_size - self._frame.start - self._frame.size:
            return place + self._frame.start
        outside = self._outside(plan, frame)
        return None if outside is None else plan.chunk_size + outside


def _by_shape(chain: Chain, plan: Plan, copy: bytes) -> int:
    """As `_still_there`, by the headers alone."""
    shape = plan.shape
    if shape is None or chain.addresses[: len(shape.addresses)] != shape.addresses:
        return 0
    return shape.same(shape.unpack(copy, plan.state_size), shape.unpack(chain.last, plan.state_size))


def _still_there(chain: Chain, plan: Plan, copy: bytes, size: int) -> int:
    """How many of the outermost frames are as they were: tried from the innermost, in ever larger steps, then between.

    `size`: bytes of a header.
    """
    last, ends, top = chain.last, chain.ends, plan.state_size
    outer = top + plan.chunk_size
    count = len(ends)
    for number, place in chain.outside:
        if place < 0 or last[outer + place : outer + place + size] != copy[outer + place : outer + place + size]:
            count = number
            break
    moved = count + 1
    step = 1
    while count > 0:
        if copy.startswith(last[top : top + ends[count - 1]], top):
            break
        moved = count
        count -= step
        step *= 2
    count = max(count, 0)
    while moved - count > 2:
        middle = (moved + count) // 2
        if copy.startswith(last[top : top + ends[middle - 1]], top):
            count = middle
        else:
            moved = middle
    return count
