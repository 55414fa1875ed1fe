"""Tables that fit the width of a screen: every column but the last is as wide as it needs, up to a most; the last gets the rest of the line."""

from collections.abc import Sequence

from msgspec import Struct

GAP = 1
_CUT = "..."
_LEAST = 8
"""Characters that the last column has at least: of what is shorter nothing can be recognised."""


class Column(Struct, frozen=True):
    """`wide` in characters, without the gap behind it; `right` for numbers, which are compared by their last digits."""

    head: str
    wide: int
    right: bool = False


def cut(text: str, wide: int) -> str:
    """At most `wide` characters of `text`; three dots where something is missing."""
    if len(text) <= wide:
        return text
    return text[: wide - len(_CUT)] + _CUT if wide > _LEAST else text[:wide]


def end(text: str, wide: int) -> str:
    """As `cut`, of a path, which is known by its end."""
    return text if len(text) <= wide else _CUT + text[len(text) - wide + len(_CUT) :]


def rest(columns: Sequence[Column], last: str, width: int) -> tuple[Column, ...]:
    """`columns` and behind them `last`, with what they leave of `width`."""
    return (*columns, Column(last, max(_LEAST, width - sum(column.wide + GAP for column in columns))))


def fitted(heads: Sequence[str], most: Sequence[int], rows: Sequence[Sequence[str]], width: int) -> tuple[Column, ...]:
    """Columns for these rows; `most` has a number for each but the last."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    columns = [Column(head, min(wide, top)) for head, wide, top in zip(heads[:-1], widths[:-1], most, strict=True)]
    return rest(columns, heads[-1], width)


def line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    """One row as text."""
    return (
        (" " * GAP)
        .join(
            cell.rjust(column.wide) if column.right else cell.ljust(column.wide)
            for cell, column in zip(
                (cut(cell, column.wide) for cell, column in zip(cells, columns, strict=True)), columns, strict=True
            )
        )
        .rstrip()
    )
