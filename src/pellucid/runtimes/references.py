"""Who holds whom among millions of objects: the graph of references, whatever runtime they belong to.

    objects   0 … n-1, numbered by the caller; `sizes` int64, bytes of each
    edges     CSR: the references of object v are `targets[first[v]:first[v + 1]]`; first int64 (n + 1), targets int32 (m)
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

MAX_DEPTH = 2_000
"""Levels up to which a level is one numpy operation; deeper graphs (long linked lists) are cheaper object by object."""

MAX_ROUNDS = 200
"""Each object of a chain that is held from outside too takes a round: chains up to so many objects do not need the way object by object,
which takes several times the memory.
"""
_AT_ONCE = 1 << 18  # edges


class References:
    """An immutable directed graph in CSR form; an edge may occur more than once."""

    __slots__ = ("first", "targets")

    def __init__(self, first: Longs, targets: Indices) -> None:
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

    def parents(self, roots: Indices, blocked: NDArray[np.bool_] | None = None) -> Indices:
        """A shortest way from the roots to each object; earlier roots win. Through `blocked` objects no way leads on."""
        return self._search(roots, blocked)[0]

    def _search(self, roots: Indices, blocked: NDArray[np.bool_] | None = None) -> tuple[Indices, Indices, int]:
        """(parents, depth, levels)"""
        parents = np.full(len(self), -1, np.int32)
        depths = np.full(len(self), -1, np.int32)
        parents[roots] = roots
        depths[roots] = 0
        _, first = np.unique(roots, return_index=True)
        front, level = roots[np.sort(first)].astype(np.int32), 0
        while len(front):
            if blocked is not None:
                front = front[~blocked[front]]
            level += 1
            held = [front[:0]]
            step = max(len(front) * _AT_ONCE // max(int((self.first[front + 1] - self.first[front]).sum()), 1), 1)
            for part in range(0, len(front), step):
                holders, reached = self.from_all(front[part : part + step])
                new = parents[reached] < 0
                reached, holders = reached[new], holders[new]
                parents[reached[::-1]] = holders[::-1]  # the first holder is written last
                depths[reached] = level
                held.append(np.unique(reached))
            front = np.concatenate(held)
        return parents, depths, level

    def dominators(self, roots: Indices) -> Indices:
        """The immediate dominator of each object.

        An object that holds nothing is on nobody's way: it is left out, and put below the nearest common dominator of its holders
        at the end. The others are settled by rounds over all edges at once, or one by one where the graph is deep.
        """
        count = len(self)
        roots = np.unique(roots).astype(np.int32)
        inner = np.diff(self.first) > 0
        numbers = np.cumsum(inner, dtype=np.int32) - np.int32(1)
        core = int(inner.sum())
        keep = inner[self.targets]
        kept = np.concatenate((np.zeros(1, np.int32), np.cumsum(keep, dtype=np.int32)))
        first = np.zeros(core + 2, np.int64)
        first[1:-1] = kept[self.first[1:][inner]]
        del kept
        # The last object of the core is a root above the roots.
        targets = np.concatenate((numbers[self.targets[keep]], numbers[roots[inner[roots]]]))
        del keep
        first[-1] = len(targets)
        graph = References(first, targets)
        tree, depths, levels = graph._search(np.array([core], np.int32))
        found = _rounds(graph, tree, depths, core) if levels <= MAX_DEPTH else None
        settled, depths = found or _semi_nca(graph, core)
        del graph, first, targets, tree, found
        back = np.concatenate((np.flatnonzero(inner), [count])).astype(np.int32)
        idom = np.full(count, -1, np.int32)
        reached = np.flatnonzero(settled[:core] >= 0)
        idom[back[reached]] = back[settled[reached]]
        self._leaves(idom, roots, inner, numbers, settled, depths, back)
        return idom

    def _leaves(
        self,
        idom: Indices,
        roots: Indices,
        inner: NDArray[np.bool_],
        numbers: Indices,
        tree: Indices,
        depths: Indices,
        back: Indices,
    ) -> None:
        """Puts each object without references below the nearest common dominator of all that hold it."""
        top = len(tree) - 1
        holder = np.full(len(self), -1, np.int32)  # in numbers of the core
        held_by_none = roots[~inner[roots]]
        holder[held_by_none] = top
        several = np.zeros(len(self), bool)
        for leaves, holders in self._held_leaves(inner, numbers, tree):
            before = holder[leaves]
            holder[leaves] = holders  # the last one stays
            several[leaves[(holder[leaves] != holders) | ((before >= 0) & (before != holders))]] = True
        holder[several] = -1
        holder[held_by_none] = top
        for leaves, holders in self._held_leaves(inner, numbers, tree):
            wanted = several[leaves]
            leaves, holders = leaves[wanted], holders[wanted]
            order = np.argsort(leaves, kind="stable")
            leaves, holders = _joined(leaves[order], holders[order], tree, depths)
            before = holder[leaves]
            before = np.where(before >= 0, before, holders)
            holder[leaves] = _common(before, holders, tree, depths)
        held = np.flatnonzero(~inner & (holder >= 0))
        idom[held] = back[holder[held]]

    def _held_leaves(
        self, inner: NDArray[np.bool_], numbers: Indices, tree: Indices
    ) -> Iterator[tuple[Indices, Indices]]:
        """(leaf, its holder in numbers of the core) of each edge from an object that is reached to one without references, in parts."""
        for low, high in self._stretches():
            leaves = self.targets[self.first[low] : self.first[high]]
            holders = np.repeat(np.arange(low, high, dtype=np.int32), np.diff(self.first[low : high + 1]))
            wanted = ~inner[leaves]
            leaves, holders = leaves[wanted], numbers[holders[wanted]]
            there = tree[holders] >= 0
            yield leaves[there], holders[there]

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """(first, end) of neighbouring objects that have about _AT_ONCE references together."""
        low = 0
        while low < len(self):
            high = int(np.searchsorted(self.first, self.first[low] + _AT_ONCE, "right")) - 1
            high = min(max(high, low + 1), len(self))
            yield low, high
            low = high


def _joined(leaves: Indices, holders: Indices, tree: Indices, depths: Indices) -> tuple[Indices, Indices]:
    """Each leaf once, with the nearest common dominator of its holders. Neighbours are joined in pairs, so that the turns are few."""
    while len(leaves):
        fresh = np.concatenate(([True], leaves[1:] != leaves[:-1]))
        starts = np.flatnonzero(fresh)
        if len(starts) == len(leaves):
            break
        odd = (np.arange(len(leaves)) - starts[np.cumsum(fresh) - 1]) % 2 == 1
        second = np.flatnonzero(odd)
        holders[second - 1] = _common(holders[second - 1], holders[second], tree, depths)
        leaves, holders = leaves[~odd], holders[~odd]
    return leaves, holders


def packed(sources: Indices, targets: Indices) -> NDArray[np.uint64]:
    """Each edge in one word: its source in the upper half, its target in the lower."""
    edges = sources.astype(np.uint64)
    edges <<= np.uint64(32)
    edges |= targets.view(np.uint32)
    return edges


def retained(idom: Indices, sizes: Longs) -> Longs:
    """The bytes of each object and all that it dominates; 0 for what no root reaches."""
    count = len(idom)
    depths = _depth_below(idom)
    order = np.argsort(depths, kind="stable").astype(np.int32)
    ends = (
        np.cumsum(np.bincount(depths + 1)) if count else np.zeros(1, np.int64)
    )  # depth -1 comes first: what is not reached
    del depths
    found = np.zeros(count + 1, np.int64)
    found[:count] = sizes
    found[:count][idom < 0] = 0
    for start, end in zip(ends[-2::-1].tolist(), ends[:0:-1].tolist(), strict=True):
        level = order[start:end]
        np.add.at(found, idom[level], found[level])
    return found[:count]


def _depth_below(idom: Indices) -> Indices:
    """The depth of each object in the tree of dominators, 0 below the roots, -1 for what is not reached: by doubling the steps."""
    count = len(idom)
    depths = np.where(idom >= 0, np.int32(0), np.int32(-1))
    above = np.where(idom >= 0, idom, np.int32(count))
    depths[(idom >= 0) & (idom < count)] = 1
    live = np.flatnonzero(above < count).astype(np.int32)
    while len(live):
        over = above[live]
        further = above[over]
        depths[live] += depths[over]
        above[live] = further
        live = live[further < count]
    return depths


def dominated(idom: Indices) -> References:
    """The tree of dominators: `of_object(v)` are those that v dominates immediately; object n stands for all roots together."""
    reached = np.flatnonzero(idom >= 0).astype(np.int32)
    return References.of(len(idom) + 1, idom[reached], reached)


def _common(one: Indices, other: Indices, tree: Indices, depths: Indices) -> Indices:
    """The nearest common ancestor in `tree` of each pair."""
    one, other = one.copy(), other.copy()
    live = np.flatnonzero(one != other)
    while len(live):
        a, b = one[live], other[live]
        above, below = depths[a], depths[b]
        one[live] = np.where(above >= below, tree[a], a)
        other[live] = np.where(below >= above, tree[b], b)
        live = live[one[live] != other[live]]
    return one


def _rounds(graph: References, tree: Indices, depths: Indices, root: int) -> tuple[Indices, Indices] | None:
    """From any tree of ways to that of the dominators: as long as a holder of v lies outside of the tree below v's parent, v is moved
    up to the nearest common ancestor of the two. None after MAX_ROUNDS.

    Only an edge between objects that hang below a moved one can have become such a case.
    """
    holders, held = graph.sources(), graph.targets
    several = graph.in_degrees() > 1
    live = several[held] & (depths[holders] >= 0) & (held != root) & (holders != held)
    holders, held = holders[live], held[live]
    active = np.arange(len(held))
    for _ in range(MAX_ROUNDS):
        moved_to = np.full(len(tree), -1, np.int32)
        highest = np.full(len(tree), np.iinfo(np.int32).max, np.int32)
        for part in range(0, len(active), _AT_ONCE):
            edges = active[part : part + _AT_ONCE]
            here, there = holders[edges], held[edges]
            under = tree[there]
            common = _common(here, under, tree, depths)
            up = depths[common] < depths[under]
            common, there = common[up], there[up]
            order = np.argsort(-depths[common], kind="stable")  # the highest is written last
            common, there = common[order], there[order]
            better = depths[common] < highest[there]
            moved_to[there[better]] = common[better]
            highest[there[better]] = depths[common[better]]
        moved = np.flatnonzero(moved_to >= 0)
        if not len(moved):
            return tree, depths
        tree = tree.copy()
        tree[moved] = moved_to[moved]
        depths, below = _settled(tree, root, moved)
        active = np.flatnonzero(below[holders] | below[held])
    return None


def _settled(tree: Indices, root: int, moved: NDArray[np.intp]) -> tuple[Indices, NDArray[np.bool_]]:
    """(the depth of each object in a tree of parents, -1 outside; which of them hang below one of `moved`, or are one): by doubling."""
    depths = np.where(tree >= 0, np.int32(1), np.int32(-1))
    depths[root] = 0
    below = np.zeros(len(tree), bool)
    below[moved] = True
    above = np.where(tree >= 0, tree, np.int32(root))
    above[root] = root
    live = np.flatnonzero((tree >= 0) & (above != root)).astype(np.int32)
    while len(live):
        over = above[live]
        depths[live] += depths[over]
        below[live] |= below[over]
        above[live] = above[over]
        live = live[above[live] != root]
    return depths, below


def _semi_nca(graph: References, root: int) -> tuple[Indices, Indices]:
    """Semi-dominators and nearest common ancestors (L. Georgiadis, "Linear-Time Algorithms for Dominators and Related Problems", 2005),
    object by object: some 4 µs an edge, whatever the depth.
    """
    count = len(graph)
    turned = graph.turned()
    first, targets = graph.first.tolist(), graph.targets.tolist()
    held_first, holders = turned.first.tolist(), turned.targets.tolist()
    number = [-1] * count  # of each object, in the order of a depth-first search
    objects, parent = [root], [-1]
    number[root] = 0
    stack, following = [root], {root: first[root]}
    while stack:
        at = stack[-1]
        place, end = following[at], first[at + 1]
        while place < end and number[targets[place]] >= 0:
            place += 1
        if place == end:
            stack.pop()
            del following[at]
            continue
        following[at] = place + 1
        new = targets[place]
        number[new] = len(objects)
        objects.append(new)
        parent.append(number[at])
        stack.append(new)
        following[new] = first[new]
    size = len(objects)
    semi, label, above, idom = list(range(size)), list(range(size)), parent[:], parent[:]
    path: list[int] = []
    for at in range(size - 1, 0, -1):
        best = parent[at]
        thing = objects[at]
        for place in range(held_first[thing], held_first[thing + 1]):
            holder = number[holders[place]]
            if holder < 0:
                continue
            if holder > at:
                up = holder
                while above[up] > at:
                    path.append(up)
                    up = above[up]
                while path:  # path compression
                    low = path.pop()
                    if semi[label[up]] < semi[label[low]]:
                        label[low] = label[up]
                    above[low] = above[up]
                    up = low
                holder = semi[label[holder]]
            best = min(best, holder)
        semi[at] = best
    depth = [0] * size
    for at in range(1, size):
        over = idom[at]
        while over > semi[at]:
            over = idom[over]
        idom[at] = over
        depth[at] = depth[over] + 1
    tree, depths = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
    place = np.array(objects, np.int32)
    tree[place[1:]] = place[np.array(idom[1:], np.int64)]
    tree[root] = root
    depths[place] = depth
    return tree, depths
