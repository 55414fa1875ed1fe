"""Where each object of a heap dump stands in the file: 0.1 µs an object where the dump has many segments.

Sub-records have no index: each begins where the one before ends. A dump of a large heap has hundreds of segments, and one cursor in each
goes on at the same time, all of them by one numpy operation (lock-step). With few segments, or one (JDK 5), it is a loop that takes runs
of instances of one class at a time.

    0x21 instance         id @1, class @5+i, u4 bytes, fields          0x20 class            see `hprof_classes`
    0x22 array of objects id @1, u4 count @5+i, class, elements        0x23 primitive array  id @1, u4 count @5+i, u1 type, elements
    others: roots         tag, id, and 0, i, 4 or 8 bytes more (i: the size of an id)
"""

import struct

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.model import Gap
from pellucid.runtimes.jvm.hprof import Hprof, Segment
from pellucid.runtimes.jvm.hprof_classes import class_length

Offsets = NDArray[np.int64]

INSTANCE, OBJECTS, PRIMITIVES, CLASS = 0x21, 0x22, 0x23, 0x20
LOCK_STEP_FROM = 48
"""Segments; with fewer the loop is faster."""
MAX_STEPS = 1 << 26
_STEPS_AT_ONCE = 4096

SIZES = np.zeros(256, np.int64)
SIZES[[4, 5, 6, 7, 8, 9, 10, 11]] = [1, 2, 4, 8, 1, 2, 4, 8]
"""Bytes of boolean, char, float, double, byte, short, int, long; 2 is an object."""


class Places(Struct, frozen=True):
    """Offsets in the file of the objects and of the roots, in the order of the file, each with its tag."""

    objects: Offsets
    tags: NDArray[np.uint8]
    roots: Offsets
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
        self._ids = self.u8 if dump.id_size == 8 else self.u4

    def ids(self, at: Offsets) -> NDArray[np.uint64]:
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


def places(dump: Hprof, view: View) -> Places:
    """Finds every sub-record. What does not have the form of one ends its segment; that is a gap."""
    find = _lock_step if len(dump.segments) >= LOCK_STEP_FROM else _one_by_one
    offsets, lost = find(dump, view)
    offsets.sort()  # what lies together in the file is then read together, and objects come in the order of their addresses
    tags = view.bytes[offsets]
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
    root = root_lengths(dump.id_size)[tags] > 0
    return Places(
        offsets[~root], tags[~root], offsets[root], tags[root], tuple(gaps), 1 - number / whole if whole else 0.0
    )


Lost = list[tuple[int, int]]


def _lock_step(dump: Hprof, view: View) -> tuple[Offsets, Lost]:
    """One cursor in each segment, all of them a record further with each step."""
    i = dump.id_size
    at = np.array([one.start for one in dump.segments], np.int64)
    end = np.array([one.end for one in dump.segments], np.int64)
    # A record's header has at most 1 + 3 i + 8 bytes: nearer to the end of the file the loop below is more careful.
    safe = view.u8.size - 40
    roots = root_lengths(i)
    found: list[Offsets] = []
    kept: list[Offsets] = []
    lost: Lost = []
    tail: list[Segment] = []
    for _ in range(MAX_STEPS):
        if not len(at):
            break
        if int(at[-1]) > safe or int(at.max()) > safe:
            near = at > safe
            tail += (Segment(int(start), int(stop)) for start, stop in zip(at[near], end[near], strict=True))
            at, end = at[~near], end[~near]
            continue
        tag = view.bytes[at]
        length = roots[tag]
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
        after = at + length
        wrong = (length <= 0) | (after > end)
        if wrong.any():
            lost += ((int(start), int(stop)) for start, stop in zip(at[wrong], end[wrong], strict=True))
            at, end, after = at[~wrong], end[~wrong], after[~wrong]
        found.append(at)
        if len(found) == _STEPS_AT_ONCE:
            kept.append(np.concatenate(found))
            found = []
        live = after < end
        if live.all():
            at = after
        else:
            at, end = after[live], end[live]
    for segment in tail:
        offsets, more = _walk(dump, view, segment)
        found.append(offsets)
        lost += more
    return np.concatenate([*kept, *found, np.zeros(0, np.int64)]), lost


def _one_by_one(dump: Hprof, view: View) -> tuple[Offsets, Lost]:
    offsets: list[Offsets] = [np.zeros(0, np.int64)]
    lost: Lost = []
    for segment in dump.segments:
        found, more = _walk(dump, view, segment)
        offsets.append(found)
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
