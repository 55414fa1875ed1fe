"""Several fields of one foreign struct, taken with one unpack: the walking code names fields and never adds numbers."""

from struct import Struct, calcsize

from pellucid.runtimes.cpython.debug_offsets import Garbled, Layout


class Record:
    """The named fields of one struct, in the order in which they lie there.

    `start` and `size`: which bytes of the struct to copy; `unpack(bytes)` and `unpack_from(buffer, place of start)`.
    """

    __slots__ = ("size", "start", "unpack", "unpack_from")

    def __init__(self, layout: Layout, fields: tuple[tuple[str, str], ...]) -> None:
        """`fields`: (name in the layout, format of the struct module). Raises Garbled where their order is another."""
        self.start = end = layout[fields[0][0]]
        pattern = "<"
        for name, kind in fields:
            gap = layout[name] - end
            if gap < 0:
                raise Garbled(f"{name} lies at {layout[name]}, before the end of the field that precedes it")
            pattern += f"{gap}x{kind}"
            end = layout[name] + calcsize("<" + kind)
        compiled = Struct(pattern)
        self.size = compiled.size
        self.unpack = compiled.unpack
        self.unpack_from = compiled.unpack_from
