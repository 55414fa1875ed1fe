"""Who alone holds whom: the immediate dominators of a graph of references with tens of millions of objects, in little more memory than the graph.

Most of a heap is simple, and is settled by whole arrays at once; what remains takes the classical way, one object after the other:

    1  what has one holder is dominated by that one: nine of ten objects
    2  a region is an object with all that is known to hang below it. What is held from a single other region (its own does not count: a
       parent that its children point back to) becomes a part of that; it hangs below the nearest common dominator of its holders
       ("T1 and T2", M. Hecht and J. Ullman, "Flow Graph Reducibility", 1972)
    3  what is only held from the region of the roots becomes a part of that, and maybe those are next that it holds in turn
    4  of the rest each hangs below its nearest holder at first, then below the nearest common ancestor of all its holders in that tree, and
       again in the tree that this makes, until nothing moves: a few rounds, where the ways into a knot are short
    5  where they are not, the knots with several ways into them (entries of a LinkedHashMap), together with what lies above them, by
       semi-dominators (L. Georgiadis, "Linear-Time Algorithms for Dominators and Related Problems", 2005)
    6  what holds nothing is on nobody's way: it hangs below the nearest common dominator of all that hold it

A nearest common dominator is found by climbing. The length of a shortest way from the roots tells who has to climb: it is smaller for a
dominator than for what that dominates, in a tree that is not complete too.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pellucid.runtimes.references import Indices, References, chain_ends, packed, retained
from pellucid.runtimes.semidominators import semi_nca

Flags = NDArray[np.bool_]

_FEW = 24
"""With fewer at a time a loop is faster than an operation on arrays."""
_MANY = 4 * _FEW
_STEPS = 24
"""So often the number of objects and references may be climbed in all, before the way object by object is the shorter one."""
_CLIMBS = 32
"""So often the references between the regions may be climbed in rounds: some tenth of what the way object by object costs."""
_AT_ONCE = 1 << 18  # rows
_WORTH = 16
"""A round that settles less than one of so many is the last one of its kind."""
_SHALLOW = 256


def dominators(graph: References, roots: Indices) -> Indices:
    """The immediate dominator of each object: len(graph) for what only the roots together hold, -1 for what they don't reach."""
    count = len(graph)
    depths = np.zeros(count + 1, np.int32)  # the last stands for the roots together
    depths[:-1] = graph.depths(roots)
    depths[:-1] += depths[:-1] >= 0
    idom, several = _only_holders(graph, np.unique(roots).astype(np.int32), depths)
    tree = _Tree(idom, depths, _STEPS * (count + graph.edges))
    inner = several & (graph.first[1:] > graph.first[:-1])
    knots = np.flatnonzero(inner).astype(np.int32)
    if len(knots):
        _settle(graph, tree, knots)
    several &= ~inner
    if several.any():
        _settle_leaves(graph, tree, several)
    return idom[:-1]


class _Tree:
    """What is known of the dominators: `idom` of each object, -1 where that is not known, and how many steps may still be climbed."""

    def __init__(self, idom: Indices, depths: Indices, steps: int) -> None:
        self.idom = idom
        self.depths = depths
        self.steps = steps
        self._above, self._depths = idom.data, depths.data
        self._tops: Indices | None = None

    def common(self, one: Indices, other: Indices) -> Indices:
        """The nearest common dominator of each pair, whose ways up have to meet. Wrong where the steps are used up: see `steps`."""
        if self._tops is not None:
            return self._common_of_complete(one, other, self._tops)
        idom, depths = self.idom, self.depths
        one, other = one.copy(), other.copy()
        live = np.flatnonzero(one != other)
        while len(live) >= _FEW and self.steps >= 0:
            self.steps -= len(live)
            a, b = one[live], other[live]
            above, below = depths[a], depths[b]
            one[live] = a = np.where(above >= below, idom[a], a)
            other[live] = b = np.where(below >= above, idom[b], b)
            live = live[a != b]
        for place in live.tolist():
            one[place] = self.common_of(int(one[place]), int(other[place]))
        return one

    def common_of(self, one: int, other: int) -> int:
        """The same of one pair."""
        idom, depths = self._above, self._depths
        steps = 0
        while one != other and steps <= self.steps:
            steps += 1
            if depths[one] >= depths[other]:
                one = idom[one]
            else:
                other = idom[other]
        self.steps -= steps
        return one

    def complete(self) -> None:
        """All that hold something are settled: in a deep tree whole paths are climbed in one step from here on (heavy paths)."""
        self.steps = np.iinfo(np.int64).max
        if self.depths.max() <= _SHALLOW:
            return
        idom = self.idom[:-1]
        count = len(idom)
        weights = retained(idom, np.ones(count, np.int64))
        there = np.flatnonzero(idom >= 0).astype(np.int32)
        above = idom[there]
        most = np.zeros(count + 1, np.int64)
        np.maximum.at(most, above, weights[there])
        heaviest = np.full(count + 1, -1, np.int32)
        best = weights[there] == most[above]
        heaviest[above[best]] = there[best]
        tops = np.arange(count + 1, dtype=np.int32)
        chained = there[heaviest[above] == there]
        tops[chained] = idom[chained]
        self._tops = chain_ends(tops)

    def _common_of_complete(self, one: Indices, other: Indices, tops: Indices) -> Indices:
        one, other = one.copy(), other.copy()
        depths = self.depths
        live = np.flatnonzero(tops[one] != tops[other])
        while len(live):
            a, b = one[live], other[live]
            first, second = tops[a], tops[b]
            higher = depths[first] < depths[second]
            one[live] = a = np.where(higher, a, self.idom[first])
            other[live] = b = np.where(higher, self.idom[second], b)
            live = live[tops[a] != tops[b]]
        return np.where(depths[one] <= depths[other], one, other)

    def joined(self, things: Indices, holders: Indices) -> tuple[Indices, Indices]:
        """Each thing once (equal ones stand together), with the nearest common dominator of its holders: joined in pairs, so that the turns are few."""
        holders = holders.copy()
        while len(things):
            fresh = np.concatenate(([True], things[1:] != things[:-1]))
            starts = np.flatnonzero(fresh)
            if len(starts) == len(things):
                break
            odd = (np.arange(len(things)) - starts[np.cumsum(fresh) - 1]) % 2 == 1
            second = np.flatnonzero(odd)
            holders[second - 1] = self.common(holders[second - 1], holders[second])
            things, holders = things[~odd], holders[~odd]
        return things, holders


def _edges(graph: References, depths: Indices, wanted: Flags) -> Iterator[tuple[Indices, Indices]]:
    """(holder, held) of the references to wanted objects from others that are reached, in parts."""
    for low, high in graph.stretches():
        held = graph.targets[graph.first[low] : graph.first[high]]
        holders = np.repeat(np.arange(low, high, dtype=np.int32), np.diff(graph.first[low : high + 1]))
        keep = np.flatnonzero(wanted[held])
        held, holders = held[keep], holders[keep]
        keep = np.flatnonzero((depths[holders] > 0) & (holders != held))
        yield holders[keep], held[keep]


def _only_holders(graph: References, roots: Indices, depths: Indices) -> tuple[Indices, Flags]:
    """(the holder of each object that has one, the roots together for each root and above themselves, else -1; which have several)."""
    count = len(graph)
    idom = np.full(count + 1, -1, np.int32)
    several = np.zeros(count, bool)
    wanted = depths[:-1] > 1
    for holders, held in _edges(graph, depths, wanted):
        before = idom[held]
        idom[held] = holders  # the last one stays
        several[held[(idom[held] != holders) | ((before >= 0) & (before != holders))]] = True
    idom[:-1][several] = -1
    idom[roots] = idom[count] = count
    return idom, several


def _settle(graph: References, tree: _Tree, knots: Indices) -> None:
    """Steps 2 to 5, for the objects that hold something and have several holders."""
    left = _Knots(graph, tree, knots)
    while left.unsettled:
        before = left.unsettled
        left.merge_regions()
        left.settle_from_roots()
        if tree.steps < 0 or before - left.unsettled <= before // _WORTH:
            break
    if left.unsettled and not left.settle_by_rounds():
        left.untie()


class _Knots:
    """The objects with several holders, by number, as what they are held from: one row for each reference that comes from another region.

    held     the knot    region  the knot in whose region the holder is; len(knots) is the region of the roots    holder  the object itself
    """

    def __init__(self, graph: References, tree: _Tree, knots: Indices) -> None:
        self.tree = tree
        self.knots = knots
        self.unsettled = len(knots)
        count = len(graph)
        number = np.full(count + 1, -1, np.int32)
        number[knots] = np.arange(len(knots), dtype=np.int32)
        wanted = np.zeros(count, bool)
        wanted[knots] = True
        rows = [packed(number[held], holders) for holders, held in _edges(graph, tree.depths, wanted)]
        del wanted
        edges = np.concatenate(rows)
        rows.clear()
        edges.sort()
        self.held = (edges >> np.uint64(32)).astype(np.int32)
        self.holder = edges.astype(np.uint32).view(np.int32)  # the lower half
        del edges
        above = tree.idom.copy()
        unknown = np.flatnonzero(above < 0)
        above[unknown] = unknown
        del unknown
        region = chain_ends(above)[self.holder]
        del above
        number[count] = len(knots)
        self.region: Indices = number[region]
        self._keep(self.region != self.held)

    def _keep(self, rows: Flags) -> None:
        if not rows.all():
            self.held, self.region, self.holder = self.held[rows], self.region[rows], self.holder[rows]

    def _hang(self, rows: NDArray[np.intp]) -> bool:
        """Puts the knots of these rows below the nearest common dominator of their holders; False where that is too far to climb."""
        held, over = self.tree.joined(self.held[rows], self.holder[rows])
        if self.tree.steps < 0:
            return False
        self.tree.idom[self.knots[held]] = over
        self.unsettled -= len(held)
        return True

    def merge_regions(self) -> None:
        """Makes each knot that one other region holds a part of that, as long as many are."""
        while len(self.held):
            starts = np.flatnonzero(np.concatenate(([True], self.held[1:] != self.held[:-1])))
            lowest, highest = np.minimum.reduceat(self.region, starts), np.maximum.reduceat(self.region, starts)
            one = lowest == highest
            merged = self.held[starts[one]]
            into = np.arange(len(self.knots) + 1, dtype=np.int32)
            into[merged] = lowest[one]
            gone = into[self.held] != self.held
            if not len(merged) or not self._hang(np.flatnonzero(gone)):
                break
            self._keep(~gone)
            self.region = chain_ends(into)[self.region]
            self._keep(self.region != self.held)
            if len(merged) <= self.unsettled // _WORTH:
                break

    def settle_from_roots(self) -> None:
        """Settles what only the region of the roots holds, then what that holds in turn."""
        top = len(self.knots)
        open_ = np.bincount(self.held[self.region != top], minlength=top).astype(np.int32)
        first = np.searchsorted(self.held, np.arange(top + 1))
        outward = References.of(top + 1, self.region, np.arange(len(self.held), dtype=np.int32))
        settled = np.zeros(top + 1, bool)
        front = np.flatnonzero((open_ == 0) & (np.diff(first) > 0))
        while len(front) and self.tree.steps >= 0:
            if len(front) < _FEW:
                front = self._settle_few(front.tolist(), first, open_, outward, settled)
                continue
            counts = first[front + 1] - first[front]
            rows = np.repeat(first[front] - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
            if not self._hang(rows):
                break
            settled[front] = True
            reached = self.held[outward.from_all(front.astype(np.int32))[1]]
            np.subtract.at(open_, reached, 1)
            front = np.unique(reached[open_[reached] == 0])
        self.region[settled[self.region]] = top
        self._keep(~settled[self.held])

    def _settle_few(
        self, front: list[int], first: NDArray[np.intp], open_: Indices, outward: References, settled: Flags
    ) -> NDArray[np.intp]:
        """The same, knot by knot, until there are many at a time again: along a list each knot frees one."""
        tree = self.tree
        idom, holder, held = tree.idom.data, self.holder.data, self.held.data
        starts, waits, done = first.data, open_.data, settled.data
        edges, rows = outward.first.data, outward.targets.data
        following: list[int] = []
        while front:
            knot = front.pop()
            over = holder[starts[knot]]
            for place in range(starts[knot] + 1, starts[knot + 1]):
                over = tree.common_of(over, holder[place])
            if tree.steps < 0:
                return np.zeros(0, np.intp)
            idom[self.knots[knot]] = over
            done[knot] = True
            self.unsettled -= 1
            for place in range(edges[knot], edges[knot + 1]):
                reached = held[rows[place]]
                waits[reached] -= 1
                if not waits[reached]:
                    following.append(reached)
            if not front:
                if len(following) >= _MANY:
                    break
                front, following = following, []
        return np.array(following, np.intp)

    def settle_by_rounds(self) -> bool:
        """Step 4; False, and nothing is settled, where that would take too many steps.

        Whatever dominates an object lies above it in the first tree, since it dominates its holder too. To hang it higher below what all of
        its holders have in common keeps that; once nothing moves, all that lies above dominates. What hangs higher is nearer to the roots, so
        that `depths` still tells who has to climb.
        """
        tree, idom = self.tree, self.tree.idom
        starts = np.flatnonzero(np.concatenate(([True], self.held[1:] != self.held[:-1])))
        left = self.knots[self.held[starts]]
        rows = np.diff(np.append(starts, len(self.held)))
        tree.steps = _CLIMBS * len(self.held)
        over = self._nearest(self.holder, starts)
        while True:
            idom[left] = over
            above = np.repeat(over, rows)
            for low in range(0, len(above), _AT_ONCE):
                above[low : low + _AT_ONCE] = tree.common(
                    self.holder[low : low + _AT_ONCE], above[low : low + _AT_ONCE]
                )
            if tree.steps < 0:
                idom[left] = -1
                return False
            higher = self._nearest(above, starts)
            if np.array_equal(higher, over):
                self.unsettled = 0
                return True
            over = higher

    def _nearest(self, objects: Indices, starts: NDArray[np.intp]) -> Indices:
        """Of the objects beside the rows of each knot the one nearest to the roots."""
        return np.minimum.reduceat(packed(self.tree.depths[objects], objects), starts).astype(np.uint32).view(np.int32)

    def untie(self) -> None:
        """Step 5, of the knots that are left and all that lies above their holders."""
        idom = self.tree.idom
        left = self.knots[np.unique(self.held)]
        there = np.zeros(len(idom), bool)
        there[left] = True
        front = np.unique(self.holder[~there[self.holder]])
        above = [left]
        while len(front):
            if len(front) < _FEW:
                above.append(_ways_up(idom, there, front))
                break
            there[front] = True
            above.append(front)
            front = idom[front]
            front = np.unique(front[~there[front]])
        objects = np.unique(np.concatenate(above))
        place = np.full(len(idom), -1, np.int32)
        place[objects] = np.arange(len(objects), dtype=np.int32)
        root = len(idom) - 1
        hanging = objects[(idom[objects] >= 0) & (objects != root)]
        sources = np.concatenate((place[idom[hanging]], place[self.holder]))
        targets = np.concatenate((place[hanging], place[self.knots[self.held]]))
        found = semi_nca(References.of(len(objects), sources, targets), int(place[root]))
        idom[left] = objects[found[place[left]]]
        self.unsettled = 0


def _ways_up(idom: Indices, there: Flags, starts: Indices) -> Indices:
    """What lies above a few objects and is not `there` yet, themselves included."""
    above, known = idom.data, there.data
    found = []
    for at in starts.tolist():
        while not known[at]:
            known[at] = True
            found.append(at)
            at = above[at]
    return np.array(found, np.int32)


def _settle_leaves(graph: References, tree: _Tree, leaves: Flags) -> None:
    """Step 6: of objects that hold nothing and are held by several."""
    tree.complete()
    over = np.full(len(tree.idom), -1, np.int32)
    for holders, held in _edges(graph, tree.depths, leaves):
        order = np.argsort(held, kind="stable")
        things, above = tree.joined(held[order], holders[order])
        before = over[things]
        over[things] = tree.common(np.where(before >= 0, before, above), above)
    found = np.flatnonzero(over >= 0)
    tree.idom[found] = over[found]
