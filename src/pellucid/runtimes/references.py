"""Who holds whom among millions of objects: the graph of references, whatever runtime they belong to.

    objects   0 … n-1, numbered by the caller; `sizes` int64, bytes of each
    edges     CSR: the references of object v are `targets[first[v]:first[v + 1]]`; first int64 (or int32, where m is small enough) (n + 1),
              targets int32 (m)
    roots     int32, objects that something outside of the heap holds (a module, a thread's stack)
    parents   int32 (n): the object before it on a shortest way from a root; itself for a root, -1 for what no root reaches
    idom      int32 (n): the immediate dominator: all ways from the roots lead through it; n where only the roots together hold it, -1 as above
    retained  int64 (n): bytes that would go if it went: its own, and those of all that it dominates

Everything here is pure and works on whole arrays. Nothing recurses; each loop is bounded by the number of levels, or of rounds.
"""

from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int32]
Longs = NDArray[np.int64]

_AT_ONCE = 1 << 18  # edges
_LEVELS = 64
"""Down to this depth a level is found by a search of all objects, deeper ones by sorting."""
_FEW = 48
"""With fewer at a time a loop is faster than an operation on arrays."""


class References:
    """An immutable directed graph in CSR form; an edge may occur more than once."""

    __slots__ = ("first", "targets")

    def __init__(self, first: Longs | Indices, targets: Indices) -> None:
        self.first = first
        self.targets = targets

    @classmethod
    def of(cls, count: int, sources: Indices, targets: Indices) -> Self:
        """The graph of `count` objects with the edges `sources[i]` → `targets[i]`, in any order."""
        return cls.of_packed(count, packed(sources, targets))

    @classmethod
    def of_packed(cls, count: int, edges: NDArray[np.uint64]) -> Self:
        """The same of edges as `packed` makes them, which are sorted in place."""
        edges.sort()
        first = np.zeros(count + 1, np.int64)
        for part in range(0, len(edges), _AT_ONCE):
            held = (edges[part : part + _AT_ONCE] >> np.uint64(32)).view(np.int64)
            if len(held):
                counts = np.bincount(held - held[0])
                first[held[0] + 1 : held[0] + 1 + len(counts)] += counts
        np.cumsum(first, out=first)
        return cls(first, edges.astype(np.uint32).view(np.int32))  # the lower half

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def edges(self) -> int:
        return len(self.targets)

    def out_degrees(self) -> Longs:
        return np.diff(self.first)

    def in_degrees(self) -> Longs:
        return np.bincount(self.targets, minlength=len(self)).astype(np.int64)

    def of_object(self, number: int) -> Indices:
        """What one object holds."""
        return self.targets[self.first[number] : self.first[number + 1]]

    def sources(self) -> Indices:
        """The holder of each edge, beside `targets`."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.out_degrees())

    def turned(self) -> "References":
        """The same edges the other way: `turned().of_object(v)` are the holders of v."""
        return References.of(len(self), self.targets, self.sources())

    def from_all(self, objects: Indices) -> tuple[Indices, Indices]:
        """The edges of `objects`: (the holder, the held) of each, in the order of `objects`."""
        counts = self.first[objects + 1] - self.first[objects]
        holders = np.repeat(objects, counts)
        starts = np.cumsum(counts) - counts
        held = self.targets[np.repeat(self.first[objects] - starts, counts) + np.arange(len(holders))]
        return holders, held

    def parents(
        self, roots: Indices, blocked: NDArray[np.bool_] | None = None, *, else_from: Indices | None = None
    ) -> Indices:
        """A shortest way from the roots to each object; earlier roots win. Through `blocked` objects no way leads on.

        What they don't reach is reached from the roots `else_from`, on ways through what they don't reach either.
        """
        parents = np.full(len(self), -1, np.int32)
        self._search(roots, parents, None, blocked)
        if else_from is not None:
            self._search(else_from[parents[else_from] < 0], parents, None, blocked)
        return parents

    def depths(self, roots: Indices) -> Indices:
        """How many references a shortest way from the roots to each object has: 0 for a root, -1 for what they don't reach."""
        depths = np.full(len(self), -1, np.int32)
        self._search(roots, depths, depths, None)
        return depths

    def _search(self, roots: Indices, seen: Indices, depths: Indices | None, blocked: NDArray[np.bool_] | None) -> None:
        """Fills `seen` with the holder of each object that is reached, or `depths` with the level; -1 is what was not seen before."""
        seen[roots] = roots if depths is None else 0
        _, first = np.unique(roots, return_index=True)
        front, level = roots[np.sort(first)].astype(np.int32), 0
        fresh = np.zeros(len(self), bool)
        while len(front):
            if blocked is not None:
                front = front[~blocked[front]]
            level += 1
            edges = int((self.first[front + 1] - self.first[front]).sum())
            if edges < _FEW:
                front = self._few(front.tolist(), seen, None if depths is None else level)
                continue
            held = []
            for holders, reached in self._from_parts(front):
                new = np.flatnonzero(seen[reached] < 0)
                reached = reached[new]
                if depths is None:
                    seen[reached[::-1]] = holders[new][::-1]  # the first holder is written last
                else:
                    depths[reached] = level
                held.append(reached)
            front = _each_once(held, fresh)

    def _from_parts(self, objects: Indices) -> Iterator[tuple[Indices, Indices]]:
        """What `from_all` tells, about _AT_ONCE references at a time."""
        ends = np.cumsum(self.first[objects + 1] - self.first[objects])
        begin = 0
        while begin < len(objects):
            stop = int(np.searchsorted(ends, (ends[begin - 1] if begin else 0) + _AT_ONCE, "right"))
            if stop > begin + 1:
                yield self.from_all(objects[begin:stop])
            else:
                stop = begin + 1
                held = self.of_object(int(objects[begin]))
                for start in range(0, len(held), _AT_ONCE):
                    part = held[start : start + _AT_ONCE]
                    yield np.full(len(part), objects[begin], np.int32), part
            begin = stop

    def _few(self, front: list[int], seen: Indices, level: int | None) -> Indices:
        """What a few objects hold that was not seen before: a long list is followed faster by a loop than by arrays of one."""
        first, targets, known = self.first.data, self.targets.data, seen.data
        reached = []
        for at in front:
            for place in range(first[at], first[at + 1]):
                held = targets[place]
                if known[held] < 0:
                    known[held] = at if level is None else level
                    reached.append(held)
        return np.array(sorted(reached), np.int32)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """(first, end) of neighbouring objects that have about _AT_ONCE references together."""
        low = 0
        while low < len(self):
            high = int(np.searchsorted(self.first, self.first.dtype.type(self.first[low] + _AT_ONCE), "right")) - 1
            high = min(max(high, low + 1), len(self))
            yield low, high
            low = high


def _each_once(parts: list[Indices], marks: NDArray[np.bool_]) -> Indices:
    """What occurs in `parts`, ascending; `marks` are all unset, before and after."""
    if sum(len(one) for one in parts) < len(marks) // 64:
        return np.unique(np.concatenate(parts))
    for one in parts:
        marks[one] = True
    found = [
        (np.flatnonzero(marks[start : start + _AT_ONCE]) + start).astype(np.int32)
        for start in range(0, len(marks), _AT_ONCE)
    ]
    marks[:] = False
    return np.concatenate(found)


def packed(sources: Indices, targets: Indices) -> NDArray[np.uint64]:
    """Each edge in one word: its source in the upper half, its target in the lower."""
    edges = sources.astype(np.uint64)
    edges <<= np.uint64(32)
    edges |= targets.view(np.uint32)
    return edges


def retained(idom: Indices, sizes: Longs | NDArray[np.uint32]) -> Longs:
    """The bytes of each object and all that it dominates; 0 for what no root reaches."""
    count = len(idom)
    depths = _depth_below(idom)
    found = np.zeros(count + 1, np.int64)
    found[:count] = sizes
    found[:count][idom < 0] = 0
    deep = np.flatnonzero(depths > _LEVELS).astype(np.int32)
    if len(deep):
        order = np.argsort(depths[deep], kind="stable").astype(np.int32)
        ends = np.append(0, np.cumsum(np.bincount(depths[deep] - (_LEVELS + 1))))
        deep = deep[order]
        total, above, one = found.data, idom.data, deep.data
        for start, end in zip(ends[-2::-1].tolist(), ends[:0:-1].tolist(), strict=True):
            if end - start < _FEW:
                for place in range(start, end):
                    total[above[one[place]]] += total[one[place]]
            else:
                level = deep[start:end]
                np.add.at(found, idom[level], found[level])
    for depth in range(min(int(depths.max(initial=-1)), _LEVELS), -1, -1):
        for start in range(0, count, _AT_ONCE):
            here = np.flatnonzero(depths[start : start + _AT_ONCE] == depth) + start
            np.add.at(found, idom[here], found[here])
    return found[:count]


def _depth_below(idom: Indices) -> Indices:
    """The depth of each object in the tree of dominators, 0 below the roots, -1 for what is not reached: by doubling the steps."""
    count = len(idom)
    depths = np.full(count, -1, np.int32)
    depths[idom >= 0] = 1
    depths[idom == count] = 0
    above = idom.copy()
    above[idom < 0] = count
    left = list(range(0, count, _AT_ONCE))
    while left:
        again = []
        for start in left:
            part = above[start : start + _AT_ONCE]
            live = np.flatnonzero(part < count)
            over = part[live]
            depths[start + live] += depths[over]
            part[live] = above[over]
            if (part < count).any():
                again.append(start)
        left = again
    return depths


def chain_ends(above: Indices) -> Indices:
    """Where each chain of `above` ends, at what points to itself: in place, by doubling the steps."""
    left = list(range(0, len(above), _AT_ONCE))
    while left:
        again = []
        for start in left:
            part = above[start : start + _AT_ONCE]
            further = above[part]
            moved = not np.array_equal(further, part)
            part[:] = further
            if moved:
                again.append(start)
        left = again
    return above


def dominated(idom: Indices) -> References:
    """The tree of dominators: `of_object(v)` are those that v dominates immediately; object n stands for all roots together."""
    reached = np.flatnonzero(idom >= 0).astype(np.int32)
    return References.of(len(idom) + 1, idom[reached], reached)
