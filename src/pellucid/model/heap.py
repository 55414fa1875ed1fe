"""What lies in the heap of a process: how many objects of which type, how many bytes, and how much of its memory that explains."""

from msgspec import Struct

from pellucid.model.gap import Gap
from pellucid.model.holder import Hold, Suspect, TypeGrowth
from pellucid.model.report import Report

__all__ = ["Census", "HeapDiffReport", "HeapReport", "Hold", "Note", "Seen", "Suspect", "TypeCount", "TypeGrowth"]


class TypeCount(Struct, frozen=True):
    """One row of the histogram. `type` with its module in front, but for builtins and the main program: `dict`, `shop.cart.Session`.

    `bytes` as `sys.getsizeof` counts them. `module` is "" where it could not be read. `own`: neither a builtin nor of the standard library.
    """

    type: str
    module: str
    count: int
    bytes: int
    own: bool = False


class Census(Struct, frozen=True, kw_only=True):
    """The histogram of one moment, largest first.

    `total_bytes` are those of all rows. `attribute_bytes`: values of instances' attributes, which no getsizeof counts. `anonymous_bytes`: the
    private memory of the process that no file backs (RssAnon). `coverage`: (total + attributes) / anonymous, 0 to 1.
    """

    types: tuple[TypeCount, ...]
    total_bytes: int
    attribute_bytes: int
    objects: int
    anonymous_bytes: int
    coverage: float
    pool_bytes: int
    """Of obmalloc's pools, and `pool_used_bytes` of the blocks in them that are in use."""
    pool_used_bytes: int
    taken_at: float
    paused_s: float | None
    """None: the process was not paused, and what it changed during the copy may be counted twice, or not at all."""
    copied_bytes: int
    seconds: float
    """What all of it took."""
    gaps: tuple[Gap, ...]

    def count_of(self, type_name: str) -> TypeCount | None:
        """The row of one type."""
        return next((row for row in self.types if row.type == type_name), None)


ENOUGH = 0.6
"""From this coverage on the histogram explains the memory of the process; below it is only a part of the answer."""


class Note(Struct, frozen=True):
    """Something else that was seen: `kind` is large (one object), equal-strings, empty, unreachable, uncollectable,
    outside, or type: who refers to the objects of a type that was asked for.
    """

    kind: str
    type: str
    count: int
    bytes: int
    holder: tuple[Hold, ...] = ()
    detail: str = ""
    sentence: str = ""


class HeapReport(Report, frozen=True, kw_only=True):
    """What `heap PID` and `heap FILE` print. `suspects` hold much of the heap; whether they grow, one look can't tell."""

    types: tuple[TypeCount, ...]
    total_bytes: int
    coverage: float
    suspects: tuple[Suspect, ...]
    notes: tuple[Note, ...]
    census: Census
    edges: int
    steps: dict[str, float]
    """Seconds of each part of the work."""


class Seen(Struct, frozen=True):
    """One look of several."""

    taken_at: float
    total_bytes: int
    objects: int
    paused_s: float | None


class HeapDiffReport(Report, frozen=True, kw_only=True):
    """What `heap diff` and `heap PID --every` print. `looks`: when each was taken, how many bytes and objects it had.

    `grown_bytes` of Python objects, `grown_private_bytes` of all private memory (RssAnon, and what of it is in swap).
    """

    types: tuple[TypeGrowth, ...]
    total_bytes: int
    grown_bytes: int
    grown_private_bytes: int
    coverage: float
    span_s: float
    looks: tuple[Seen, ...]
    suspects: tuple[Suspect, ...]
