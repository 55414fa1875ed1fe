"""The collector's own record: struct _gc_runtime_state of each interpreter (Include/internal/pycore_gc.h, pycore_interp_structs.h).

3.11 to 3.13 and 3.14.5 on have three generations; 3.14.0 to 3.14.4 collect a young and two old ones in steps, in a struct of the same
shape whose last fields are missing (its published size tells). 3.15 keeps its statistics in rings of the last collections, each entry
with the sums so far, and counts the seconds.
"""

from struct import Struct as Bytes
from struct import unpack_from

from pellucid.kernel.memory import Unreadable
from pellucid.model.gc import Collector, Generation
from pellucid.runtimes.cpython.objects import Pages
from pellucid.runtimes.cpython.process import CPython

GENERATIONS = 3
MAX_FROZEN = 100_000
_DEBUG = ((1, "STATS"), (2, "COLLECTABLE"), (4, "UNCOLLECTABLE"), (32, "SAVEALL"))  # Modules/gcmodule.c
_INCREMENTAL = ("young", "old, being visited", "old")
_LINK = ~3  # flags in the lowest bits of a link
_I32 = Bytes("<i")
_I64 = Bytes("<q")
_U64 = Bytes("<Q")


class CollectorState:
    """Of one interpreter of an attached CPython. Each read raises Unreadable when the process ended."""

    def __init__(self, python: CPython, interpreter: int, number: int) -> None:
        layout = python.layout
        self._memory = python.memory
        self._layout = layout
        self.address = interpreter + layout["interpreter_state.gc"]
        self._generations = interpreter + layout["interpreter_state.gc_generations"]
        self._number = number
        self._size = layout["gc.size"]
        self.incremental = layout.minor == 14 and self._size < layout["gc.long_lived_pending"] + 8
        self._frozen: tuple[int, bool] | None = None

    def collecting(self) -> bool:
        """Whether a collection runs now: one read of four bytes."""
        return self._memory.i32(self.address + self._layout["gc.collecting"]) != 0

    def read(self, *, frozen: bool = True) -> Collector:
        """All of it now; `frozen`: count also what gc.freeze() took away, which follows a list."""
        layout = self._layout
        raw = self._memory.read(self.address, self._size)
        debug = _I32.unpack_from(raw, layout["gc.debug"])[0]
        heads = self._memory.read(self._generations, GENERATIONS * layout["gc_generation.size"])
        stats = self._stats(raw)
        counted = self._count_frozen(raw) if frozen else (0, True)
        return Collector(
            interpreter=self._number,
            enabled=_I32.unpack_from(raw, layout["gc.enabled"])[0] != 0,
            debug=tuple(name for bit, name in _DEBUG if debug & bit),
            incremental=self.incremental,
            generations=tuple(self._generation(number, heads, stats[number]) for number in range(GENERATIONS)),
            collecting=_I32.unpack_from(raw, layout["gc.collecting"])[0] != 0,
            garbage=self._garbage(raw),
            frozen=counted[0],
            frozen_all=counted[1],
            long_lived=self._optional(raw, "gc.long_lived_total"),
            pending=self._optional(raw, "gc.long_lived_pending"),
            heap_objects=self._optional(raw, "gc.heap_size"),
        )

    def _optional(self, raw: bytes, name: str) -> int | None:
        at = self._layout.get(name)
        if at is None or at + 8 > len(raw) or (self.incremental and "long_lived" in name):
            return None
        value: int = _I64.unpack_from(raw, at)[0]
        return value

    def _generation(
        self, number: int, heads: bytes, stats: tuple[int, int, int, float | None, int | None]
    ) -> Generation:
        layout = self._layout
        at = number * layout["gc_generation.size"]
        collections, collected, uncollectable, time_s, candidates = stats
        return Generation(
            number=number,
            name=_INCREMENTAL[number] if self.incremental else f"generation {number}",
            threshold=_I32.unpack_from(heads, at + layout["gc_generation.threshold"])[0],
            count=_I32.unpack_from(heads, at + layout["gc_generation.count"])[0],
            collections=collections,
            collected=collected,
            uncollectable=uncollectable,
            time_s=time_s,
            candidates=candidates,
        )

    def _stats(self, raw: bytes) -> list[tuple[int, int, int, float | None, int | None]]:
        layout = self._layout
        at, size = layout["gc.generation_stats"], layout["gc_stats.size"]
        if layout.get("gc_stats_buffers.size") is None:
            return [self._entry(raw, at + number * size) for number in range(GENERATIONS)]
        ring = self._memory.read(_U64.unpack_from(raw, at)[0], layout["gc_stats_buffers.size"])
        young, first, second = 0, layout["gc_stats_buffers.old_1"], layout["gc_stats_buffers.old_2"]
        places = (
            (young, layout["gc_stats_buffers.young_index"]),
            (first, first + layout["gc_stats_buffers.old_index"]),
            (second, second + layout["gc_stats_buffers.old_index"]),
        )
        return [
            self._entry(ring, start + size * _entry_number(ring, index, index - start, size)) for start, index in places
        ]

    def _entry(self, raw: bytes, at: int) -> tuple[int, int, int, float | None, int | None]:
        layout = self._layout
        collections, collected, uncollectable = (
            _I64.unpack_from(raw, at + layout[f"gc_stats.{name}"])[0]
            for name in ("collections", "collected", "uncollectable")
        )
        if layout.get("gc_stats.duration") is None:
            return collections, collected, uncollectable, None, None
        duration = unpack_from("<d", raw, at + layout["gc_stats.duration"])[0]
        return (
            collections,
            collected,
            uncollectable,
            duration,
            _I64.unpack_from(raw, at + layout["gc_stats.candidates"])[0],
        )

    def _garbage(self, raw: bytes) -> int:
        """len(gc.garbage)"""
        address = _U64.unpack_from(raw, self._layout["gc.garbage"])[0]
        if not address:
            return 0
        length: int = _I64.unpack(self._memory.read(address + self._layout["list_object.ob_size"], 8))[0]
        return max(0, length)

    def _count_frozen(self, raw: bytes) -> tuple[int, bool]:
        """(objects in the permanent generation, whether that is all): the list is followed."""
        at = self._layout["gc.permanent_generation"]
        head = self.address + at
        link = _U64.unpack_from(raw, at)[0] & _LINK
        pages = Pages(self._memory)
        count = 0
        try:
            while link and link != head and count < MAX_FROZEN:
                count += 1
                link = pages.u64(link) & _LINK
        except Unreadable:
            return count, False
        return count, link == head or not link


def _entry_number(ring: bytes, index: int, length: int, size: int) -> int:
    """Where the last collection stands: `index` of the ring, within its bounds."""
    number: int = unpack_from("<b", ring, index)[0]
    return number if 0 <= number < length // size else 0


def states(python: CPython) -> tuple[CollectorState, ...]:
    """One for each interpreter, the main one first. `python` has been read once."""
    found = sorted(python.interpreters, key=lambda one: one.id)
    return tuple(CollectorState(python, one.address, one.id) for one in found)
