"""What lies in the heap of a process: how many objects of which type, how many bytes, and how much of its memory that explains."""

from msgspec import Struct

from pellucid.model.gap import Gap


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
