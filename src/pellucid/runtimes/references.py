"""Who holds whom among millions of objects: the graph of references, whatever runtime they belong to.

    objects   0 … n-1, numbered by the caller; `sizes` int64, bytes of each
    edges     CSR: the references of object v are `targets[first[v]:first[v + 1]]`; first int64 (n + 1), targets int32 (m)
    roots     int32, objects that something outside of the heap holds (a module, a thread's stack)
    parents   int32 (n): the object before it on a shortest way from a root; itself for a root, -1 for what no root reaches
    idom      int32 (n): the immediate dominator: all ways from the roots lead through it; n where only the roots together hold it, -1 as above
    retained  int64 (n): bytes that would go if it went: its own, and those of all that it dominates

Everything here is pure and works on whole arrays. Nothing recurses; each loop is bounded by the number of levels, or of rounds.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int32]
Longs = NDArray[np.int64]

MAX_DEPTH = 2_000
"""Levels up to which a level is one numpy operation; deeper graphs (long linked lists) are cheaper object by object."""

MAX_ROUNDS = 60
_AT_ONCE = 1 << 22  # edges


class References:
    """An immutable directed graph in CSR form; an edge may occur more than once."""

    __slots__ = ("first", "targets")

    def __init__(self, first: Longs, targets: Indices) -> None:
        self.first = first
        self.targets = targets

    @classmethod
    def of(cls, count: int, sources: Indices, targets: Indices) -> Self:
        """The graph of `count` objects with the edges `sources[i]` → `targets[i]`, in any order."""
        order = (sources.astype(np.uint64) << np.uint64(32)) | targets.astype(np.uint64)
        order.sort()
        first = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount((order >> np.uint64(32)).view(np.int64), minlength=count), out=first[1:])
        return cls(first, (order & np.uint64(0xFFFFFFFF)).astype(np.int32))

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
        front, level = np.unique(roots).astype(np.int32), 0
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
        inner = self.out_degrees() > 0
        numbers = np.cumsum(inner, dtype=np.int64) - 1
        keep = inner[self.targets]
        first = np.zeros(int(inner.sum()) + 2, np.int64)
        kept = np.concatenate(([0], np.cumsum(keep)))
        ends = kept[self.first]
        first[1:-1] = ends[1:][inner]
        core = len(first) - 2
        targets = np.concatenate((numbers[self.targets[keep]], numbers[roots[inner[roots]]])).astype(np.int32)
        first[-1] = len(targets)  # the last object of the core is a root above the roots
        graph = References(first, targets)
        tree, depths, levels = graph._search(np.array([core], np.int32))
        found = _rounds(graph, tree, depths, core) if levels <= MAX_DEPTH else None
        settled, depths = found or _semi_nca(graph, core)
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
        numbers: Longs,
        tree: Indices,
        depths: Indices,
        back: Indices,
    ) -> None:
        """Puts each object without references below the nearest common dominator of all that hold it."""
        top = len(tree) - 1
        holder = np.full(len(self), -1, np.int32)  # in numbers of the core
        holder[roots[~inner[roots]]] = top
        at = np.flatnonzero(~inner[self.targets])
        for part in range(0, len(at), _AT_ONCE):
            edges = at[part : part + _AT_ONCE]
            leaves = self.targets[edges]
            holders = numbers[np.searchsorted(self.first, edges, "right") - 1].astype(np.int32)
            there = tree[holders] >= 0
            leaves, holders = leaves[there], holders[there]
            order = np.argsort(leaves, kind="stable")
            leaves, holders = leaves[order], holders[order]
            while len(
                leaves
            ):  # one holder of each leaf a turn; two neighbours of one leaf are joined first, so that the turns are few
                fresh = np.concatenate(([True], leaves[1:] != leaves[:-1]))
                starts = np.flatnonzero(fresh)
                if len(starts) == len(leaves):
                    break
                place = np.arange(len(leaves)) - starts[np.cumsum(fresh) - 1]
                second = np.flatnonzero(place % 2 == 1)
                holders[second - 1] = _common(holders[second - 1], holders[second], tree, depths)
                keep = place % 2 == 0
                leaves, holders = leaves[keep], holders[keep]
            before = holder[leaves]
            holder[leaves] = np.where(
                before >= 0, _common(np.where(before >= 0, before, holders), holders, tree, depths), holders
            )
        held = np.flatnonzero(~inner & (holder >= 0))
        idom[held] = back[holder[held]]


def retained(idom: Indices, sizes: Longs) -> Longs:
    """The bytes of each object and all that it dominates; 0 for what no root reaches."""
    count = len(idom)
    order, firsts = _levels(idom)
    found = np.append(np.where(idom >= 0, sizes, 0), 0).astype(np.int64)
    for start, end in zip(firsts[-2::-1], firsts[:0:-1], strict=True):
        level = order[start:end]
        np.add.at(found, idom[level], found[level])
    return found[:count]


def _levels(idom: Indices) -> tuple[Indices, list[int]]:
    """The objects by their depth in the tree of dominators, and where each level begins (and the last ends)."""
    count = len(idom)
    reached = np.flatnonzero(idom >= 0).astype(np.int32)
    tree = References.of(count + 1, idom[reached], reached)
    front = tree.of_object(count)
    order, firsts = [], [0]
    while len(front):
        order.append(front)
        firsts.append(firsts[-1] + len(front))
        front = tree.from_all(front)[1]
    return (np.concatenate(order) if order else reached[:0]), firsts


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
    """
    holders, held = graph.sources(), graph.targets
    several = graph.in_degrees() > 1
    live = several[held] & (depths[holders] >= 0) & (held != root) & (holders != held)
    holders, held = holders[live], held[live]
    for _ in range(MAX_ROUNDS):
        moved_to = np.full(len(tree), -1, np.int32)
        best = np.iinfo(np.int32).max
        highest = np.full(len(tree), best, np.int32)
        for part in range(0, len(holders), _AT_ONCE):
            here, there = holders[part : part + _AT_ONCE], held[part : part + _AT_ONCE]
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
        depths = _depths(tree, root)
    return None


def _depths(tree: Indices, root: int) -> Indices:
    """The depth of each object in a tree of parents; -1 outside."""
    reached = np.flatnonzero((tree >= 0) & (np.arange(len(tree)) != root)).astype(np.int32)
    below = References.of(len(tree), tree[reached], reached)
    depths = np.full(len(tree), -1, np.int32)
    depths[root] = 0
    front, level = below.of_object(root), 0
    while len(front):
        level += 1
        depths[front] = level
        front = below.from_all(front)[1]
    return depths


def _semi_nca(graph: References, root: int) -> tuple[Indices, Indices]:
    """Semi-dominators and nearest common ancestors (L. Georgiadis, "Linear-Time Algorithms for Dominators and Related Problems", 2005),
    object by object: some 1.5 µs an edge, whatever the depth.
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
