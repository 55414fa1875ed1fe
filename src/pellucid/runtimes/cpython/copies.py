"""What has to be copied of one thread to prove its stack (`frames`), and the double copy itself: one process_vm_readv."""

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct

from pellucid.kernel.memory import TOP, Vector

if TYPE_CHECKING:
    from pellucid.runtimes.cpython.chains import Chain, Shape


class Copies(Struct, frozen=True, gc=False):
    """What came of one thread: its frames before its state, the state, and its frames after it, the top chunk first.

    `first`: the state before all of them. It alone is of a random moment: to copy the frames takes their cache lines from the CPU that
    runs the thread, which then waits for them wherever it writes to frames next, at a call or a return.
    """

    before: bytes
    state: bytes
    after: bytes
    first: bytes

    def at_first(self) -> "Copies":
        """With the first state as the state."""
        return Copies(self.before, self.first, self.after, self.first)


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


class Plan:
    """What has to be copied of one thread, and where in the copy each part lies. `stale`: it has to be made anew.

    `before` is: the outer pieces (older chunks, loose frames), then the top chunk; `after`: the top chunk, then the outer pieces.
    """

    __slots__ = (
        "_between",
        "_last",
        "cframe",
        "chain",
        "chunk",
        "chunk_size",
        "entries",
        "loose",
        "older",
        "outer",
        "outer_size",
        "seen",
        "shape",
        "side",
        "size",
        "stale",
        "state",
        "state_size",
    )

    def __init__(self, chunk: int, chunk_size: int, cframe: int) -> None:
        self.chunk = chunk
        self.chunk_size = chunk_size
        self.cframe = cframe
        self.outer: list[tuple[int, int]] = []
        self.outer_size = 0
        self.side = chunk_size
        """The bytes of all frames, copied once."""
        self.size = 2 * chunk_size
        """The bytes of a double copy."""
        self.older: list[tuple[int, int, int]] = []
        """(start, end, place among the outer pieces) of each older chunk, lowest address first."""
        self.loose: dict[int, int] = {}
        """Address of a loose frame → place of its header among the outer pieces."""
        self.entries: set[int] = set()
        """The places of those that are entries from C, and no calls."""
        self.state: list[tuple[int, int]] = []
        self.state_size = 0
        self.stale = False
        self.chain: Chain | None = None
        """The last walk by this plan, where walks are continued."""
        self.shape: Shape | None = None
        self.seen: list[int] = []
        """The addresses of the frames of the last long walk."""
        self._between: Vector | None = None
        self._last: Vector | None = None

    def add_outer(self, address: int, size: int) -> int:
        """Adds a range, and returns its place among the outer pieces."""
        place = self.outer_size
        self.outer.append((address, size))
        self.outer_size += size
        self.side += size
        self.size += 2 * size
        return place

    def add_older(self, chunks: list[tuple[int, int]]) -> None:
        """Adds the older chunks: (address, bytes in use) of each."""
        self.older = sorted((address, address + used, self.add_outer(address, used)) for address, used in chunks)

    def older_with(self, address: int) -> tuple[int, int, int] | None:
        """The older chunk that `address` lies in."""
        number = bisect_right(self.older, (address, TOP)) - 1
        if number >= 0 and address < self.older[number][1]:
            return self.older[number]
        return None

    def add_state(self, address: int, size: int) -> None:
        self.state.append((address, size))
        self.state_size += size
        self.size += 2 * size

    @property
    def once(self) -> list[tuple[int, int]]:
        """The ranges of a single copy: as `before` and `state`."""
        return [*self.outer, *self._top, *self.state]

    @property
    def resting(self) -> list[tuple[int, int]]:
        """As `once` without entries from C: they stay as they are as long as the calls on both sides do."""
        found = []
        place = 0
        for address, size in self.outer:
            if place not in self.entries:
                found.append((address, size))
            place += size
        return [*found, *self._top, *self.state]

    def rested(self, once: bytes) -> bytes:
        """The bytes of `resting` in a copy of `once`."""
        if not self.entries:
            return once
        parts = []
        place = 0
        for _, size in self.outer:
            if place not in self.entries:
                parts.append(once[place : place + size])
            place += size
        return b"".join((*parts, once[place:]))

    @property
    def twice(self) -> list[tuple[int, int]]:
        """The ranges of a double copy with the state before and between both sides."""
        return [*self.state, *self.outer, *self._top, *self.state, *self._top, *self.outer]

    @property
    def _top(self) -> list[tuple[int, int]]:
        return [(self.chunk, self.chunk_size)] if self.chunk_size else []

    def cut(self, whole: bytes, start: int) -> Copies:
        """The double copy of the ranges `twice` that begins at `start` of `whole`."""
        before = start + self.state_size
        state = before + self.side
        after = state + self.state_size
        return Copies(whole[before:state], whole[state:after], whole[after : after + self.side], whole[start:before])

    def copy(self, pid: int) -> Copies | None:
        """A double copy, taken now by a call for this thread alone; None where a part of it could not be read."""
        if self._between is None:
            self._between = Vector(pid, self.twice)
        whole = self._taken(self._between)
        return None if whole is None else self.cut(whole, 0)

    def copy_fast(self, pid: int) -> Copies | None:
        """As `copy`, with the state after both sides of the top chunk: half the time lies between them, and less is proved."""
        if self._last is None:
            self._last = Vector(pid, [*self.outer, *self._top, *self._top, *self.state, *self.outer])
        whole = self._taken(self._last)
        if whole is None:
            return None
        state = self.side + self.chunk_size
        outer = state + self.state_size
        last = whole[state:outer]
        return Copies(whole[: self.side], last, whole[self.side : state] + whole[outer:], last)

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
