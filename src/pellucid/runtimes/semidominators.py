"""Immediate dominators of any graph, object by object: for the knots that nothing simpler unties.

L. Georgiadis, "Linear-Time Algorithms for Dominators and Related Problems" (Princeton, 2005), where it is called SNCA.
"""

import numpy as np

from pellucid.runtimes.references import Indices, References


def semi_nca(graph: References, root: int) -> Indices:
    """The immediate dominators of a small graph all of which `root` reaches, object by object: some µs a reference, however deep it is."""
    turned = graph.turned()
    held_first, holders = turned.first.data, turned.targets.data
    number, objects, parent = _depth_first(graph, root)
    size = len(objects)
    semi, label, above, idom = (one.data for one in (_counting(size), _counting(size), parent.copy(), parent))
    path: list[int] = []
    thing = objects.data
    for at in range(size - 1, 0, -1):
        best = idom[at]
        one = thing[at]
        for place in range(held_first[one], held_first[one + 1]):
            holder = number[holders[place]]
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
            if 0 <= holder < best:
                best = holder
        semi[at] = best
    for at in range(1, size):
        over = idom[at]
        while over > semi[at]:
            over = idom[over]
        idom[at] = over
    found = np.full(len(graph), -1, np.int32)
    found[objects[1:]] = objects[parent[1:]]
    found[root] = root
    return found


def _counting(size: int) -> Indices:
    return np.arange(size, dtype=np.int32)


def _depth_first(graph: References, root: int) -> "tuple[memoryview[int], Indices, Indices]":
    """(number of each object in the order of a depth-first search, -1 for what is not reached; the objects in that order; number of the one before)."""
    count = len(graph)
    number = np.full(count, -1, np.int32).data
    objects, parent = np.zeros(count, np.int32), np.full(count, -1, np.int32)
    order, before = objects.data, parent.data
    following = graph.first[:-1].copy().data
    first, targets = graph.first.data, graph.targets.data
    order[0], number[root], reached = root, 0, 1
    stack = [root]
    while stack:
        at = stack[-1]
        for place in range(following[at], first[at + 1]):
            new = targets[place]
            if number[new] < 0:
                following[at] = place + 1
                order[reached], before[reached], number[new] = new, number[at], reached
                reached += 1
                stack.append(new)
                break
        else:
            stack.pop()
    return number, objects[:reached], parent[:reached]
