"""What grew between looks at one heap: by type, and by who holds it.

An object of the later look is new if the earlier one has none of its type at its address. The new bytes are piled up below their
holders as all bytes are (`heap_holders`), and a pile counts by what its holder really gained: a cache that throws out as much as it
takes in has gained nothing.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from pellucid.model.heap import Suspect, TypeGrowth
from pellucid.observe.heap_dump import Dump
from pellucid.observe.heap_holders import MOST, Pile, piles, retained_by, suspect
from pellucid.runtimes.references import Longs

_SHARE = 0.1
"""The part of the growth that one holder has to account for."""

_LEAST = 64 << 10
_GAINED = 0.5
"""The part of its new bytes that a holder has to have gained in all."""

_SLOWER = 0.5
"""A holder that gains less than this part of what it gained in the interval before is about to stop."""


class Interval(Struct, frozen=True):
    """What grew from one look to the next. `gains`: address of the container and its held type → (pile, bytes gained, objects gained)."""

    gains: "dict[tuple[int, str], Gain]"
    span_s: float


class Gain(Struct, frozen=True):
    pile: Pile
    bytes: int
    count: int


def types(first: Dump, last: Dump) -> tuple[TypeGrowth, ...]:
    """Every type of either look, what grew most first; bytes with the values of the attributes."""
    before, after = _by_type(first), _by_type(last)
    rows = []
    for name in before.keys() | after.keys():
        count, size, own = after.get(name, (0, 0, before.get(name, (0, 0, False))[2]))
        was_count, was_size, _ = before.get(name, (0, 0, False))
        rows.append(TypeGrowth(name, own, count, size, count - was_count, size - was_size))
    return tuple(sorted(rows, key=lambda row: (-row.grown_bytes, -row.grown_count, row.type)))


def _by_type(dump: Dump) -> dict[str, tuple[int, int, bool]]:
    counts = np.bincount(dump.index, minlength=len(dump.types))
    sizes = np.bincount(dump.index, weights=dump.sizes, minlength=len(dump.types))
    found: dict[str, tuple[int, int, bool]] = {}
    for number in np.flatnonzero(counts).tolist():
        kind = dump.types[number]
        count, size, _ = found.get(kind.name, (0, 0, False))
        found[kind.name] = (count + int(counts[number]), size + int(sizes[number]), kind.own)
    return found


def _same(first: Dump, last: Dump) -> Longs:
    """For each object of `last` its number in `first`, -1 for a new one."""
    if not len(first):
        return np.full(len(last), -1, np.int64)
    at = np.minimum(np.searchsorted(first.addresses, last.addresses), len(first) - 1)
    before, after = numbered([kind.name for kind in first.types], [kind.name for kind in last.types])
    same = (first.addresses[at] == last.addresses) & (before[first.index[at]] == after[last.index])
    return np.where(same, at, -1)


def numbered(first: Sequence[str], last: Sequence[str]) -> tuple[Longs, Longs]:
    """A number for each name, the same in both for the same name."""
    names: dict[str, int] = {}
    before = np.array([names.setdefault(name, len(names)) for name in first] or [0], np.int64)
    after = np.array([names.setdefault(name, len(names)) for name in last] or [0], np.int64)
    return before, after


def interval(first: Dump, last: Dump) -> Interval:
    """Who gained what."""
    same = _same(first, last)
    new = np.where(same >= 0, np.maximum(last.sizes - first.sizes[same], 0), last.sizes)
    floor = max(int(_SHARE * int(new.sum())), _LEAST)
    gains = {}
    for pile in piles(last, new, floor):
        if pile.holder >= len(last) and pile.container < 0:
            continue  # many small things that hang on nothing: no holder to name
        gained, count = _gained(first, last, same, pile)
        if gained >= _GAINED * pile.bytes and count > 0:
            name = last.types[pile.held].name
            gains[(int(last.addresses[pile.container]), name)] = Gain(pile, gained, count)
    return Interval(gains, last.census.taken_at - first.census.taken_at)


def _gained(first: Dump, last: Dump, same: Longs, pile: Pile) -> tuple[int, int]:
    """(bytes, objects) that its holder has more of than before."""
    held = last.types[pile.held].name
    if pile.holder >= len(last):
        return _of_type(last, held) - _of_type(first, held), _references(last, pile.container, held) - (
            _references(first, int(same[pile.container]), held) if same[pile.container] >= 0 else 0
        )
    before = int(same[pile.holder])
    now = int(last.retained[pile.holder])
    if before < 0:
        return now, pile.count
    return now - int(first.retained[before]), _below(last, pile.holder, held) - _below(first, before, held)


def _of_type(dump: Dump, name: str) -> int:
    return _by_type(dump).get(name, (0, 0, False))[1]


def _below(dump: Dump, number: int, name: str) -> int:
    """How many objects of the type hang immediately on this one."""
    return _count(dump, dump.below(number), name)


def _references(dump: Dump, number: int, name: str) -> int:
    return _count(dump, dump.graph.of_object(number), name)


def _count(dump: Dump, objects: np.typing.NDArray[np.int32], name: str) -> int:
    kinds = np.bincount(dump.index[objects], minlength=len(dump.types))
    return sum(int(kinds[number]) for number, kind in enumerate(dump.types) if kind.name == name)


def suspects(first: Dump, last: Dump, intervals: list[Interval]) -> tuple[Suspect, ...]:
    """Who gained most over all of it. `steady` where that was so in each of at least two intervals, and no slower at the end."""
    whole = intervals[0] if len(intervals) == 1 else interval(first, last)
    found = []
    for key, gain in whole.gains.items():
        each = [one.gains[key].bytes if key in one.gains else 0 for one in intervals]
        rates = [size / max(one.span_s, 1e-3) for size, one in zip(each, intervals, strict=True)]
        steady = len(each) > 1 and min(rates[-2:]) > 0 and rates[-1] >= _SLOWER * max(rates[:-1])
        found.append(
            replace(
                suspect(last, gain.pile, retained_by(last, gain.pile)),
                grown_count=gain.count,
                grown_bytes=gain.bytes,
                per_s=gain.count / whole.span_s if whole.span_s > 0 else None,
                steady=steady,
            )
        )
    return tuple(sorted(found, key=lambda one: -(one.grown_bytes or 0))[:MOST])
