"""Stacks that begin anew between two ticks with frames that lie as before: all headers at once."""

from struct import Struct as Bytes


class Shape:
    """Where the headers of `addresses`, outermost first, lie in a copy, from the top chunk on.

    `numbers`: which frame each header of `unpack` is of.
    """

    __slots__ = ("addresses", "numbers", "unpack")

    def __init__(self, addresses: list[int], places: list[int], span: int) -> None:
        self.addresses = addresses
        ordered = sorted(zip(places, range(len(places)), strict=True))
        pattern, end = "<", 0
        for place, _ in ordered:
            pattern += f"{place - end}x{span}s"
            end = place + span
        self.unpack = Bytes(pattern).unpack_from
        self.numbers = [number for _, number in ordered]

    def same(self, one: tuple[bytes, ...], other: tuple[bytes, ...]) -> int:
        """How many of the outermost frames have the same header in both."""
        if one == other:
            return len(self.numbers)
        return min(number for number, ours, theirs in zip(self.numbers, one, other, strict=True) if ours != theirs)
