"""The objects of a heap that an earlier census did not have, and who holds them."""

import time

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from pellucid.model.heap import Census
from pellucid.model.holder import Suspect
from pellucid.observe import heap
from pellucid.observe.heap_dump import Dump
from pellucid.observe.heap_growth import numbered
from pellucid.observe.heap_holders import MOST, piles, retained_by, suspect
from pellucid.observe.heap_look import look
from pellucid.runtimes.references import Indices, Longs

_SHARE = 0.2
"""The part of the new bytes that one holder has to hold."""
_LEAST = 64 << 10
_POOLED = 512
"""Only objects in pools are counted by a census alone (Objects/obmalloc.c, SMALL_REQUEST_THRESHOLD): a larger one may only seem new."""


class Counted(Struct, frozen=True):
    """A census with the addresses of its objects, lowest first, and the place of the type of each in `names`."""

    census: Census
    addresses: NDArray[np.uint64]
    index: Indices
    names: tuple[str, ...]


def counted(pid: int, *, pause: bool, limit: int, command: str) -> Counted:
    """Raises as `heap.census` does."""
    began = time.perf_counter()
    with heap.attached(pid, command) as python:
        found = heap.counted(python, pause=pause, limit=limit, command=command)
        addresses = found.image.addresses(found.places)
        order = np.argsort(addresses, kind="stable")
        names = tuple(heap.spelt(*found.types.module_and_name(number)) for number in range(len(found.types)))
        return Counted(heap.value(pid, found, began), addresses[order], found.index[order], names)


def followed(pid: int, first: Counted, *, pause: bool, limit: int, command: str) -> tuple[Census, tuple[Suspect, ...]]:
    """(the census now, who holds what is new since `first`, most first). Raises as `heap.census` does."""
    seen = look(pid, pause=pause, limit=limit, command=command)
    return seen.counted or seen.census, holders(first, seen.dump)


def holders(first: Counted, last: Dump) -> tuple[Suspect, ...]:
    """Below whom most of the new objects hang."""
    new = _new(first, last)
    weights: Longs = np.where(new, np.minimum(last.sizes, _POOLED), 0)
    floor = max(int(_SHARE * int(weights.sum())), _LEAST)
    found = []
    for pile in piles(last, weights, floor)[:MOST]:
        if pile.container < 0 and pile.holder >= len(last):
            continue  # many small things that hang on nothing: no holder to name
        children = last.tree.of_object(pile.holder) if pile.holder < len(last) else last.graph.of_object(pile.container)
        mine = children[last.index[children] == pile.held]
        more = int(np.count_nonzero(new[mine]))
        if more:
            found.append(
                replace(
                    suspect(last, pile, retained_by(last, pile)),
                    held_count=len(mine),
                    grown_count=more,
                    grown_bytes=pile.bytes,
                )
            )
    return tuple(found)


def _new(first: Counted, last: Dump) -> NDArray[np.bool_]:
    """Which objects of `last` are new: `first` has none of their type at their address."""
    if not len(first.addresses):
        return np.ones(len(last), np.bool_)
    at = np.minimum(np.searchsorted(first.addresses, last.addresses), len(first.addresses) - 1)
    before, after = numbered(first.names, tuple(kind.name for kind in last.types))
    same: NDArray[np.bool_] = (first.addresses[at] == last.addresses) & (before[first.index[at]] == after[last.index])
    return ~same
