"""Which line an instruction belongs to: the location table of a code object, `co_linetable` (3.11 and later).

The table is a run of entries. The first byte of each has bit 7 set, a code in bits 3–6 and the number of code units that it
covers, less one, in bits 0–2; what follows depends on the code (InternalDocs/code_objects.md; Objects/locations.md before
3.14; Include/internal/pycore_code.h, write_location_entry_start). A code unit has two bytes.
"""

from bisect import bisect_right

_NO_LOCATION, _LONG, _NO_COLUMNS, _ONE_LINE = 15, 14, 13, 10
_MAX_VARINT = 6  # bytes: 36 bits, and a line is an int of 32


class Lines:
    """The lines of one code object, for each code unit. Garbage gives wrong lines, and never an error."""

    __slots__ = ("_first", "_lines", "_starts")

    def __init__(self, table: bytes, first: int) -> None:
        """`first` is co_firstlineno."""
        self._first = first
        self._starts: list[int] = []
        self._lines: list[int | None] = []
        self._decode(table, first)

    def at(self, unit: int) -> int | None:
        """The line of code unit `unit`; the first line before the code has begun, None where the compiler gave none."""
        if unit < 0:
            return self._first
        place = bisect_right(self._starts, unit) - 1
        return self._lines[place] if place >= 0 else None

    def _decode(self, table: bytes, line: int) -> None:
        starts, lines = self._starts, self._lines
        place = unit = 0
        end = len(table)
        while place < end:
            head = table[place]
            place += 1
            code = head >> 3 & 15
            found: int | None
            if code == _NO_LOCATION:
                found = None
            else:
                if code >= _NO_COLUMNS:
                    delta, place = _signed(table, place)
                    line += delta
                    if code == _LONG:  # end line, column, end column
                        for _ in range(3):
                            _, place = _unsigned(table, place)
                elif code >= _ONE_LINE:
                    line += code - _ONE_LINE
                    place += 2
                else:
                    place += 1
                found = line
            if not lines or lines[-1] != found:
                starts.append(unit)
                lines.append(found)
            unit += (head & 7) + 1
        starts.append(unit)  # past the end there is no line
        lines.append(None)


def _unsigned(table: bytes, place: int) -> tuple[int, int]:
    """(value, next place): six bits a byte, lowest first, bit 6 says that another follows."""
    value = shift = 0
    for byte in table[place : place + _MAX_VARINT]:
        place += 1
        value |= (byte & 63) << shift
        if not byte & 64:
            break
        shift += 6
    return value, place


def _signed(table: bytes, place: int) -> tuple[int, int]:
    """As `_unsigned`, with the sign in the lowest bit."""
    value, place = _unsigned(table, place)
    return (-(value >> 1) if value & 1 else value >> 1), place
