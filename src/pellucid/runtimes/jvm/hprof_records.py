"""Where each object of a heap dump stands in the file: 0.1 µs an object where the dump has many segments.

Sub-records have no index: each begins where the one before ends. So thousands of cursors go on at the same time, all of them by one numpy
operation (lock-step): one from the begin of each segment, the others from places within, where a chain of records seems to begin. Such a guess
counts only when the cursor before it comes to stand exactly there; a segment in which one did not is walked record by record.

    0x21 instance         id @1, class @5+i, u4 bytes, fields          0x20 class            see `hprof_classes`
    0x22 array of objects id @1, u4 count @5+i, class, elements        0x23 primitive array  id @1, u4 count @5+i, u1 type, elements
    others: roots         tag, id, and 0, i, 4 or 8 bytes more (i: the size of an id)
"""

import struct
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.model import Gap
from pellucid.runtimes.jvm.hprof import Hprof, Segment
from pellucid.runtimes.jvm.hprof_classes import class_length

Offsets = NDArray[np.int64]
Kept = NDArray[Any]
"""Offsets that are many: int64, or uint32: in four bytes where the file is small enough."""

INSTANCE, OBJECTS, PRIMITIVES, CLASS = 0x21, 0x22, 0x23, 0x20
LOCK_STEP_FROM = 1 << 20
"""Bytes in all segments; with fewer a loop is faster."""
CURSORS = 1 << 13
_APART = 1 << 14
"""Bytes between two cursors, at least."""
_WINDOW = 768
"""Bytes in which a guess is looked for; most records are shorter."""
_CHAIN = 6
MAX_STEPS = 1 << 26
_STEPS_AT_ONCE = 256
_AT_ONCE = 1 << 20

SIZES = np.zeros(256, np.int64)
SIZES[[4, 5, 6, 7, 8, 9, 10, 11]] = [1, 2, 4, 8, 1, 2, 4, 8]
"""Bytes of boolean, char, float, double, byte, short, int, long; 2 is an object."""


class Places(Struct, frozen=True):
    """Offsets in the file of the objects and of the roots, in the order of the file, each with its tag."""

    objects: Kept
    tags: NDArray[np.uint8]
    roots: Kept
    root_tags: NDArray[np.uint8]
    gaps: tuple[Gap, ...]
    coverage: float
    """Of the bytes in the segments so many were understood, 0 to 1."""


class View:
    """The bytes of the dump as arrays of numbers at any offset."""

    def __init__(self, dump: Hprof) -> None:
        size = dump.size
        self.bytes = np.frombuffer(dump.map, np.uint8)
        # Overlapping views, one number at each byte: a gather of numbers at any offsets is then one operation.
        self.u4: NDArray[np.uint32] = np.ndarray((max(size - 3, 0),), ">u4", dump.map, 0, (1,))
        self.u8: NDArray[np.uint64] = np.ndarray((max(size - 7, 0),), ">u8", dump.map, 0, (1,))
        self.id_size = dump.id_size
        self.offsets: np.dtype[Any] = np.dtype(np.uint32 if size < 1 << 32 else np.int64)
        self._ids = self.u8 if dump.id_size == 8 else self.u4

    def ids(self, at: Kept) -> NDArray[np.uint64]:
        """The ids at these offsets."""
        return self._ids[at].astype(np.uint64)


def root_lengths(id_size: int) -> NDArray[np.int64]:
    """Length of each kind of root with its tag, 0 for what is none (heapDumper.cpp, hprofTag)."""
    found = np.zeros(256, np.int64)
    for tag, more in {
        0xFF: 0, 0x01: id_size, 0x02: 8, 0x03: 8, 0x04: 4, 0x05: 0, 0x06: 4, 0x07: 0, 0x08: 8
    }.items():  # fmt: skip
        found[tag] = 1 + id_size + more
    return found


_ROOTS = {4: root_lengths(4), 8: root_lengths(8)}


def places(dump: Hprof, view: View, *, ordered: bool = True) -> Places:
    """Finds every sub-record. What does not have the form of one ends its segment; that is a gap. Without `ordered` in no certain order."""
    find = _lock_step if sum(one.end - one.start for one in dump.segments) >= LOCK_STEP_FROM else _one_by_one
    offsets, lost = find(dump, view)
    if ordered:
        offsets.sort()  # what lies together in the file is then read together, and objects come in the order of their addresses
    tags = np.empty(len(offsets), np.uint8)
    for start in range(0, len(offsets), _AT_ONCE):
        tags[start : start + _AT_ONCE] = view.bytes[offsets[start : start + _AT_ONCE]]
    gaps = []
    number = sum(end - at for at, end in lost)
    whole = sum(one.end - one.start for one in dump.segments)
    if lost:
        gaps.append(
            Gap(
                f"{number:,} bytes in {len(lost)} of {len(dump.segments)} segments of the dump",
                f"at byte {lost[0][0]:,} there is no sub-record as the format has them: the dump is damaged there, or cut off",
            )
        )
    root = (root_lengths(dump.id_size) > 0)[tags]
    coverage = 1 - number / whole if whole else 0.0
    return Places(offsets[~root], tags[~root], offsets[root], tags[root], tuple(gaps), coverage)


Lost = list[tuple[int, int]]


def _lock_step(dump: Hprof, view: View) -> tuple[Kept, Lost]:
    """Many cursors in each segment, all of them a record further with each step."""
    begins, stops, numbers = _cursors(dump, view)
    at, end, number = begins, stops, numbers
    # A record's header has at most 1 + 3 i + 8 bytes: what begins nearer to the end of the file is left to the careful loop.
    safe = view.u8.size - 40
    found: list[Kept] = []
    kept: list[Kept] = [np.zeros(0, view.offsets)]
    bad = np.zeros(len(dump.segments), bool)
    for _ in range(MAX_STEPS):
        if not len(at):
            break
        near = at > safe
        if near.any():
            bad[number[near]] = True
            at, end, number = at[~near], end[~near], number[~near]
            continue
        after = at + lengths(dump, view, at, end)
        wrong = (after <= at) | (after > end)
        if wrong.any():
            bad[number[wrong]] = True
            at, end, number, after = at[~wrong], end[~wrong], number[~wrong], after[~wrong]
        found.append(at.astype(view.offsets))
        if len(found) == _STEPS_AT_ONCE:
            kept.append(np.concatenate(found))
            found = []
        live = after < end
        if live.all():
            at = after
        else:
            at, end, number = after[live], end[live], number[live]
    if found:
        kept.append(np.concatenate(found))
        found.clear()
    offsets = np.concatenate(kept)
    kept.clear()
    lost: Lost = []
    if not bad.any():
        return offsets, lost
    parts = []
    for segment in (one for one, is_bad in zip(dump.segments, bad.tolist(), strict=True) if is_bad):
        offsets = offsets[(offsets < segment.start) | (offsets >= segment.end)]
        walked, more = _walk(dump, view, segment)
        parts.append(walked.astype(view.offsets))
        lost += more
    return np.concatenate([offsets, *parts]), lost


def lengths(dump: Hprof, view: View, at: Offsets, end: Offsets) -> Offsets:
    """Bytes of the record at each offset; 0 where there is none."""
    i = dump.id_size
    tag = view.bytes[at]
    length: Offsets = _ROOTS[i][tag]
    which = np.flatnonzero(tag == INSTANCE)
    if len(which):
        length[which] = 9 + 2 * i + view.u4[at[which] + (5 + 2 * i)].astype(np.int64)
    which = np.flatnonzero(tag == OBJECTS)
    if len(which):
        length[which] = 9 + 2 * i + i * view.u4[at[which] + (5 + i)].astype(np.int64)
    which = np.flatnonzero(tag == PRIMITIVES)
    if len(which):
        here = at[which]
        width = SIZES[view.bytes[here + (9 + i)]]
        length[which] = np.where(width > 0, 10 + i + width * view.u4[here + (5 + i)].astype(np.int64), 0)
    for place in np.flatnonzero(tag == CLASS).tolist():
        length[place] = class_length(dump, int(at[place]), int(end[place]))
    return length


def _cursors(dump: Hprof, view: View) -> tuple[Offsets, Offsets, Offsets]:
    """(where each cursor begins, where it has to arrive, its segment)."""
    total = sum(one.end - one.start for one in dump.segments)
    apart = max(_APART, total // CURSORS)
    wanted: list[Offsets] = []
    owner: list[Offsets] = []
    for number, segment in enumerate(dump.segments):
        places_ = np.arange(segment.start + apart, segment.end - apart, apart, dtype=np.int64)
        wanted.append(places_)
        owner.append(np.full(len(places_), number, np.int64))
    guesses, numbers = _guessed(dump, view, np.concatenate(wanted), np.concatenate(owner))
    starts = np.array([one.start for one in dump.segments], np.int64)
    begins = np.concatenate((starts, guesses))
    numbers = np.concatenate((np.arange(len(starts)), numbers))
    order = np.argsort(begins, kind="stable")
    begins, numbers = begins[order], numbers[order]
    ends = np.array([one.end for one in dump.segments], np.int64)[numbers]
    following = np.append(begins[1:], 0)
    same = np.append(numbers[1:] == numbers[:-1], False)
    empty = begins < ends
    return begins[empty], np.where(same, following, ends)[empty], numbers[empty]


def _guessed(dump: Hprof, view: View, wanted: Offsets, owner: Offsets) -> tuple[Offsets, Offsets]:
    """Near each wanted place the first offset from which a chain of records leads on; those without one are left out."""
    i = dump.id_size
    known = np.array(sorted(dump.class_names), np.uint64)
    ends = np.array([one.end for one in dump.segments], np.int64)
    safe = view.u8.size - 40
    if not len(known) or not len(wanted):
        return wanted[:0], owner[:0]
    first: list[Offsets] = []
    numbers: list[Offsets] = []
    for part in range(0, len(wanted), 1024):
        number = owner[part : part + 1024]
        begin = (wanted[part : part + 1024, None] + np.arange(_WINDOW)).ravel()
        number = np.repeat(number, _WINDOW)
        place = begin.copy()
        for _ in range(_CHAIN):
            inside = place < np.minimum(ends[number], safe)
            begin, place, number = begin[inside], place[inside], number[inside]
            tag = view.bytes[place]
            # Only what is certain to be told from chance: a class that the dump has, or the type of a primitive array.
            good = (tag == PRIMITIVES) & (SIZES[view.bytes[np.minimum(place + 9 + i, safe)]] > 0)
            for kind, at_ in ((INSTANCE, 5 + i), (OBJECTS, 9 + i)):
                which = np.flatnonzero(tag == kind)
                ids = view.ids(place[which] + at_)
                near = np.minimum(np.searchsorted(known, ids), len(known) - 1)
                good[which] = known[near] == ids
            begin, place, number = begin[good], place[good], number[good]
            place = place + lengths(dump, view, place, ends[number])
        if len(begin):
            fresh = np.concatenate(([True], (begin[1:] - begin[:-1]) > _WINDOW // 2))
            keep = np.flatnonzero(fresh)
            first.append(begin[keep])
            numbers.append(number[keep])
    return np.concatenate([*first, wanted[:0]]), np.concatenate([*numbers, owner[:0]])


def _one_by_one(dump: Hprof, view: View) -> tuple[Kept, Lost]:
    offsets: list[Kept] = [np.zeros(0, view.offsets)]
    lost: Lost = []
    for segment in dump.segments:
        found, more = _walk(dump, view, segment)
        offsets.append(found.astype(view.offsets))
        lost += more
    return np.concatenate(offsets), lost


_RUN = 24
"""So many instances of one class in a row are taken as the beginning of a longer run."""


def _walk(dump: Hprof, view: View, segment: Segment) -> tuple[Offsets, Lost]:
    """The sub-records of one segment, one after the other; runs of instances of one class at once."""
    i, body, end = dump.id_size, dump.map, segment.end
    roots = root_lengths(i).tolist()
    widths = SIZES.tolist()
    count = struct.Struct(">I").unpack_from
    found: list[int] = []
    runs: list[Offsets] = []
    at = segment.start
    lost: Lost = []
    same, before = 0, b""
    while at < end:
        tag = body[at]
        try:
            if tag == INSTANCE:
                length = 9 + 2 * i + count(body, at + 5 + 2 * i)[0]
                head = body[at + 5 + i : at + 9 + 2 * i]
                same = same + 1 if head == before else 0
                before = head
                if same >= _RUN:
                    run = _run(view, at, end, length, i)
                    if len(run) > 1:
                        runs.append(run)
                        at += length * len(run)
                        same = 0
                        continue
                    same = 0
            elif tag == PRIMITIVES:
                width = widths[body[at + 9 + i]]
                length = 10 + i + width * count(body, at + 5 + i)[0] if width else 0
            elif tag == OBJECTS:
                length = 9 + 2 * i + i * count(body, at + 5 + i)[0]
            elif tag == CLASS:
                length = class_length(dump, at, end)
            else:
                length = roots[tag]
        except (struct.error, IndexError):
            length = 0
        if length <= 0 or at + length > end:
            lost.append((at, end))
            break
        found.append(at)
        at += length
    return np.concatenate([np.array(found, np.int64), *runs]), lost


def _run(view: View, at: int, end: int, length: int, i: int) -> Offsets:
    """The offsets of the instances from `at` on that have the same class and length, without a gap."""
    total, window = 0, 1024
    most = (end - at) // length
    key = view.bytes[at + 5 + i : at + 9 + 2 * i]
    while total < most:
        size = min(window, most - total)
        start = at + total * length
        rows = view.bytes[start : start + size * length].reshape(size, length)
        equal = (rows[:, 0] == INSTANCE) & (rows[:, 5 + i : 9 + 2 * i] == key).all(1)
        wrong = np.flatnonzero(~equal)
        good = int(wrong[0]) if len(wrong) else size
        total += good
        if good < size:
            break
        window *= 4
    return at + length * np.arange(total, dtype=np.int64)
