"""What has to be copied of one thread to know its stack, and the copies themselves: each is one process_vm_readv.

    a sample (`chains`)    THREAD STATE, top chunk, outer pieces
    a proof (`frames`)     outer pieces, top chunk, THREAD STATE, top chunk, outer pieces

Which moment a sample is of is decided by what is copied first. To copy a frame takes its cache line from the CPU that runs the thread,
which then waits for it where it writes to frames next, at a call or a return: a state that is copied later is one in which the thread has
just called or is about to.
"""

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct, field

from pellucid.kernel.memory import TOP, Vector

if TYPE_CHECKING:
    from pellucid.runtimes.cpython.chains import Chain
    from pellucid.runtimes.cpython.shapes import Shape

MOST_RECENT = 48
"""Frames outside of the chunks that are copied because they were met there before."""
MOST_CFRAMES = 8
MOST_CALLERS = 1024
NAMED_ONCE = 2
"""Ranges of the state where just one _PyCFrame is copied."""
PIECE = 192
"""Bytes of the top chunk that a double copy takes at once: about two frames."""
MOST_PIECES = 24
"""... of its upper part; what lies below moves seldom, and is one piece."""
WORTH_A_PLACE = 2
"""So often such a frame is met before it gets a place in the plan."""


class Copies(Struct, frozen=True, gc=False):
    """A double copy: the frames before the state, the state, and the frames after it, the top chunk first."""

    before: bytes
    state: bytes
    after: bytes


class Content(Struct, frozen=True, gc=False):
    """The top chunk of one thread as it was when its stack was proved: `copy` has the byte at `address` in place `start`."""

    address: int
    start: int
    size: int
    copy: bytes

    def place(self, address: int, size: int) -> int | None:
        """Where in `copy` these bytes lie; None where it has not all of them."""
        at = address - self.address
        return self.start + at if 0 <= at <= self.size - size else None


class Recent(Struct):
    """What a sampler met outside of the plans of one thread: address → how often, the last one last.

    Coroutines and entries from C are given the addresses of others that have ended, so most are met again where they were.
    """

    frames: dict[int, int] = field(default_factory=dict)
    cframes: dict[int, int] = field(default_factory=dict)
    """Of 3.11 and 3.12, where the innermost frame stands in a struct on the C stack."""
    callers: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Frame outside of the chunks → (code, frame of the caller) as it was in the last stack with it that was certain."""
    by_code: dict[int, int] = field(default_factory=dict)
    """Code of such a frame → frame of the caller."""

    def meet_frame(self, address: int) -> bool:
        """Whether it has just become worth a place in the next plan."""
        return _meet(self.frames, address, MOST_RECENT)

    def called(self, frame: int, code: int, caller: int) -> None:
        """`frame`, which runs `code`, is called by the frame `caller`."""
        if len(self.callers) >= MOST_CALLERS or len(self.by_code) >= MOST_CALLERS:
            self.callers.clear()
            self.by_code.clear()
        self.callers[frame] = code, caller
        self.by_code[code] = caller

    def caller(self, frame: int, code: int) -> int:
        """Who called it, 0 where that is not known. `code` is 0 where it is known no more."""
        known, caller = self.callers.get(frame, (0, 0))
        return caller if known == code or not code else self.by_code.get(code, 0)

    def meet_cframe(self, address: int) -> bool:
        return _meet(self.cframes, address, MOST_CFRAMES)


class Plan:
    """What has to be copied of one thread, and where in the copy each part lies. `stale`: it has to be made anew.

    `before` of a double copy is: the outer pieces (older chunks, loose frames), then the top chunk; `after`: the top chunk, then the
    outer pieces.
    """

    __slots__ = (
        "_between",
        "_first",
        "cframes",
        "chain",
        "chunk",
        "chunk_size",
        "chunks",
        "entries",
        "late",
        "loose",
        "older",
        "outer",
        "outer_size",
        "proofs",
        "recent",
        "seen",
        "shape",
        "side",
        "size",
        "stale",
        "state",
        "state_size",
        "top",
    )

    def __init__(self, chunk: int, chunk_size: int) -> None:
        self.chunk = chunk
        self.chunk_size = chunk_size
        self.cframes: dict[int, int] = {}
        """Address of a _PyCFrame → place in the state of the innermost frame that it names."""
        self.outer: list[tuple[int, int]] = []
        self.outer_size = 0
        self.side = chunk_size
        """The bytes of all frames, copied once."""
        self.chunks: set[int] = set()
        """Addresses of the older chunks."""
        self.older: list[tuple[int, int, int]] = []
        """(start, end, place among the outer pieces) of each older chunk, lowest address first."""
        self.loose: dict[int, int] = {}
        """Address of a loose frame → place of its header among the outer pieces."""
        self.entries: set[int] = set()
        """The places of those that are entries from C, and no calls."""
        self.state: list[tuple[int, int]] = []
        self.state_size = 0
        self.size = chunk_size
        """The bytes of a single copy."""
        self.stale = False
        self.top = (0, b"")
        """Address and bytes of the chunk that was on top at the last sample, where that was not `chunk`, or more of it."""
        self.late = 0
        """Frames of the last walk of a sample that were not copied with the others."""
        self.chain: Chain | None = None
        """The last walk by this plan, where walks are continued."""
        self.shape: Shape | None = None
        self.seen: list[int] = []
        """The addresses of the frames of the last long walk."""
        self.recent = Recent()
        """What was met outside of it; of a sampler."""
        self.proofs: dict[tuple[int, int, tuple[int, ...]], Vector] = {}
        """Copies of a part of it."""
        self._between: Vector | None = None
        self._first: Vector | None = None

    def add_outer(self, address: int, size: int) -> int:
        """Adds a range, and returns its place among the outer pieces."""
        place = self.outer_size
        self.outer.append((address, size))
        self.outer_size += size
        self.side += size
        self.size += size
        return place

    def add_older(self, chunks: list[tuple[int, int]]) -> None:
        """Adds the older chunks: (address, bytes in use) of each."""
        self.chunks = {address for address, _ in chunks}
        self.older = sorted((address, address + used, self.add_outer(address, used)) for address, used in chunks)

    def older_with(self, address: int) -> tuple[int, int, int] | None:
        """The older chunk that `address` lies in."""
        number = bisect_right(self.older, (address, TOP)) - 1
        if number >= 0 and address < self.older[number][1]:
            return self.older[number]
        return None

    def add_state(self, address: int, size: int) -> int:
        """Adds a range, and returns its place in the state."""
        place = self.state_size
        self.state.append((address, size))
        self.state_size += size
        self.size += size
        return place

    @property
    def once(self) -> list[tuple[int, int]]:
        """The ranges of a single copy: as `before` and `state` of a double one."""
        return [*self.outer, *self._top, *self.state]

    @property
    def first(self) -> list[tuple[int, int]]:
        """The ranges of a sample, the state first, and of it first what names the innermost frame."""
        return [*self._state_first, *self._top, *self.outer]

    @property
    def resting(self) -> list[tuple[int, int]]:
        """As `first` without entries from C: they stay as they are as long as the calls on both sides do."""
        found = [*self._state_first, *self._top]
        place = 0
        for address, size in self.outer:
            if place not in self.entries:
                found.append((address, size))
            place += size
        return found

    def rested(self, first: bytes) -> bytes:
        """The bytes of `resting` in a copy of `first`."""
        state, outer = self.state[0][1], self.state_size + self.chunk_size
        parts = [first[:outer]]
        if len(self.state) == NAMED_ONCE:
            parts = [first[state : self.state_size], first[:state], first[self.state_size : outer]]
        place = 0
        for _, size in self.outer:
            if place not in self.entries:
                parts.append(first[outer + place : outer + place + size])
            place += size
        return b"".join(parts)

    def arranged(self, whole: bytes) -> bytes:
        """A copy of the ranges `first` with the thread state first, as it is in `state`."""
        if len(self.state) != NAMED_ONCE:
            return whole
        names = self.state[1][1]
        return whole[names : self.state_size] + whole[:names] + whole[self.state_size :]

    @property
    def _state_first(self) -> list[tuple[int, int]]:
        return self.state[::-1] if len(self.state) == NAMED_ONCE else self.state

    @property
    def twice(self) -> list[tuple[int, int]]:
        """The ranges of a double copy with the state between both sides."""
        return [*self.outer, *self._top, *self.state, *self._top, *self.outer]

    @property
    def twice_size(self) -> int:
        """The bytes of it."""
        return self.size + self.side

    @property
    def _top(self) -> list[tuple[int, int]]:
        return [(self.chunk, self.chunk_size)] if self.chunk_size else []

    def cut(self, whole: bytes, start: int) -> Copies:
        """The double copy of the ranges `twice` that begins at `start` of `whole`."""
        side = self.side
        state = start + side
        after = state + self.state_size
        return Copies(whole[start:state], whole[state:after], whole[after : after + side])

    def sample(self, pid: int) -> bytes | None:
        """A copy of the ranges `first`, taken now by a call for this thread alone.

        Of the state alone, where the frames could not be read, as a chunk that is on top no more; None where not even that could.
        """
        if self._first is None:
            self._first = Vector(pid, self.first)
        copied = self._first.copy()
        return self.of_copied(bytes(self._first.buffer), copied)

    def of_copied(self, whole: bytes, copied: int) -> bytes | None:
        """What `sample` gives, of a copy of the ranges `first` of which `copied` bytes came."""
        if copied < self.size:
            self.stale = True
            if copied < self.state_size:
                return None
            whole = whole[: self.state_size]
        return self.arranged(whole)

    def copy(self, pid: int) -> Copies | None:
        """As `sample`, a double copy, whose second side goes down where the first goes up.

        The higher a frame lies, the faster it moves, and the less time is between its two copies: it can't leave and come back meanwhile.
        """
        if self._between is None:
            pieces = upward(self.chunk, self.chunk_size)
            self._between = Vector(pid, [*self.outer, *pieces, *self.state, *reversed(pieces), *self.outer])
        whole = self._taken(self._between)
        if whole is None:
            return None
        state, after = self.side, self.side + self.state_size
        outer = after + self.chunk_size
        return Copies(whole[:state], whole[state:after], turned(whole[after:outer]) + whole[outer:])

    def _taken(self, vector: Vector) -> bytes | None:
        if vector.copy() == vector.size:
            return bytes(vector.buffer)
        self.stale = True
        return None

    def still(self, copies: Copies) -> bool:
        """Whether both sides are the same, byte for byte."""
        before, after = copies.before, copies.after
        return (
            before[self.outer_size :] == after[: self.chunk_size]
            and before[: self.outer_size] == after[self.chunk_size :]
        )


def upward(address: int, size: int) -> list[tuple[int, int]]:
    """The pieces in which so many bytes are copied, from below."""
    fine = min(size // PIECE, MOST_PIECES)
    rest = size - fine * PIECE
    pieces = [(address, rest)] if rest else []
    return pieces + [(address + rest + number * PIECE, PIECE) for number in range(fine)]


def turned(copied: bytes) -> bytes:
    """Bytes that were copied by the same pieces from above, in the order in which they lie in memory."""
    fine = min(len(copied) // PIECE, MOST_PIECES)
    end = fine * PIECE
    return b"".join([copied[end:], *(copied[at : at + PIECE] for at in range(end - PIECE, -1, -PIECE))])


def _meet(seen: dict[int, int], address: int, most: int) -> bool:
    times = seen.pop(address, 0) + 1
    seen[address] = times
    while len(seen) > most:
        del seen[next(iter(seen))]
    return times == WORTH_A_PLACE


def worth(seen: dict[int, int]) -> list[int]:
    """The addresses that have a place in plans."""
    return [address for address, times in seen.items() if times >= WORTH_A_PLACE]
