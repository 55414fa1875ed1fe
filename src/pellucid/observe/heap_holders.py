"""Who holds the bytes: the object below which they hang, and of what they consist.

An object is heavy if it retains at least a `floor`. The bytes of a heavy one that do not belong to heavy ones below it are spread over
many small objects: if they are many bytes, it is a holder. So one cache of a million sessions is found, and so are three caches in one
module. What several containers hold together hangs on none of them: then those are named that refer to most of it.
"""

import numpy as np
from msgspec import Struct

from pellucid.model.heap import Hold, Suspect
from pellucid.observe.heap_dump import Dump, Holder
from pellucid.runtimes.references import Indices, Longs, retained

MOST = 5
_MOST_HOLDERS = 16
_SHARED = 0.5
"""The part of the objects that a container has to refer to, to be named as their holder."""


class Pile(Struct, frozen=True):
    """Many small objects: `count` of the type `held` hang on object `holder`, which is the number of objects where they hang on none.

    `bytes` would go with all that hangs there; `container` is who refers to them: mostly `holder` itself, -1 where nobody refers to most.
    """

    holder: int
    container: int
    held: int
    count: int
    bytes: int


def piles(dump: Dump, weights: Longs, floor: int) -> list[Pile]:
    """Every holder of at least `floor`, the largest first. `weights` are the bytes that are asked for, one an object."""
    top = len(dump)
    below = dump.retained if weights is dump.sizes else retained(dump.idom, weights)
    heavy = np.flatnonzero(below >= floor)
    rest = {one: int(below[one] - weights[one]) for one in heavy.tolist()}
    rest[top] = int(below[dump.idom == top].sum())
    for one, over in zip(heavy.tolist(), dump.idom[heavy].tolist(), strict=True):
        rest[over] -= int(below[one])  # who dominates a heavy one is heavy
    holders = sorted((one for one, size in rest.items() if size >= floor), key=lambda one: -rest[one])[:_MOST_HOLDERS]
    found = []
    for holder in holders:
        children = dump.below(holder)
        children = children[below[children] < floor]
        by_type = np.bincount(dump.index[children], weights=below[children], minlength=len(dump.types))
        kinds = np.argsort(-by_type)[: 1 if holder != top else 3]
        for kind in kinds.tolist():
            if by_type[kind] < (floor if holder == top else 1):
                continue
            mine = children[dump.index[children] == kind]
            size = int(by_type[kind]) if holder == top else int(rest[holder])
            found.append(Pile(holder, _container(dump, mine, holder), kind, len(mine), size))
    return sorted(found, key=lambda pile: -pile.bytes)


def _container(dump: Dump, held: Indices, holder: int) -> int:
    """Who refers to most of the objects."""
    wanted = np.zeros(len(dump), bool)
    wanted[held] = True
    edges = np.flatnonzero(wanted[dump.graph.targets])
    if not len(edges):
        return -1
    holders = np.searchsorted(dump.graph.first, edges, "right") - 1
    counts = np.bincount(holders)
    best = int(np.argmax(counts))
    if holder < len(counts) and counts[holder] >= _SHARED * len(held):
        return holder
    return best if counts[best] >= _SHARED * len(held) else (holder if holder < len(dump) else -1)


def retained_by(dump: Dump, pile: Pile) -> int:
    """The bytes that its holder retains: more than `pile.bytes` where only some of them were asked for, as those of new objects."""
    if pile.holder < len(dump):
        return int(dump.retained[pile.holder])
    held = np.unique(dump.graph.of_object(pile.container))
    return int(dump.retained[held[dump.index[held] == pile.held]].sum())


def suspect(dump: Dump, pile: Pile, size: int | None = None) -> Suspect:
    """The pile in names, which retains `size` bytes (else its own); its sentence is not yet made."""
    size = pile.bytes if size is None else size
    if pile.container >= 0:
        known = dump.describe(pile.container)
        kind = dump.type_of(pile.container)
    else:
        known, kind = Holder((Hold("outside", "", dump.types[pile.held].name),)), ""
    total = int(dump.sizes.sum())
    return Suspect(
        holder=known.path,
        holder_type=kind,
        held_type=dump.types[pile.held].name,
        held_count=pile.count,
        retained_bytes=size,
        share=size / total if total else 0.0,
        length=known.length,
        keys=known.keys,
        limit=known.limit,
        sentence="",
    )
