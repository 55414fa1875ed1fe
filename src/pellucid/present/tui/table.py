"""A table that is renewed while somebody reads it: only cells that changed are drawn anew, and the cursor stays."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from pellucid.present.view.columns import GAP, Column, cut

SCROLLBAR = 1
"""Characters at the right that are left to it."""
Row = tuple[tuple[str, ...], str]
"""(cells, the style of all of them)."""


class Table(DataTable[Text]):
    """Its cursor is a whole row; home and end go to the first and the last of them."""

    DEFAULT_CSS = f"Table {{ scrollbar-size-vertical: {SCROLLBAR}; overflow-x: hidden; }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_top", "first", show=False),
        Binding("end", "scroll_bottom", "last", show=False),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002  textual's name
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=0)
        self._drawn: tuple[Column, ...] = ()
        self._lines: list[Row] = []

    @property
    def room(self) -> int:
        """Characters that a row may have."""
        return max(1, (self.size.width or self.app.size.width) - SCROLLBAR)

    def show(self, columns: tuple[Column, ...], rows: Sequence[Row], *, cursor: int | None = None) -> None:
        """The rows, and the cursor in row `cursor` (None: where it is). Rows are known by their place: to build a table anew costs some hundred
        times as much as to change a cell, and the order of processes changes all the time.
        """
        at = self.cursor_row if cursor is None else cursor
        if columns != self._drawn or len(rows) < len(self._lines) // 2:
            self._begin(columns)
        for place, (row, before) in enumerate(zip(rows, self._lines, strict=False)):
            self._change(place, row, before)
        for place in range(len(self._lines), len(rows)):
            self.add_row(*self._cells(rows[place]), key=str(place))
        for place in reversed(range(len(rows), len(self._lines))):
            self.remove_row(str(place))
        self._lines = list(rows)
        if rows and self.cursor_row != min(at, len(rows) - 1):
            self.move_cursor(row=min(at, len(rows) - 1))

    def _begin(self, columns: tuple[Column, ...]) -> None:
        self.clear(columns=True)
        self._lines = []
        self._drawn = columns
        for place, column in enumerate(columns):
            self.add_column(_spaced(column.head, column, ""), width=column.wide + GAP, key=str(place))

    def _change(self, place: int, row: Row, before: Row) -> None:
        if row == before:
            return
        for number, (cell, last) in enumerate(zip(row[0], before[0], strict=True)):
            if cell != last or row[1] != before[1]:
                self.update_cell(str(place), str(number), _spaced(cell, self._drawn[number], row[1]))

    def _cells(self, row: Row) -> list[Text]:
        return [_spaced(cell, column, row[1]) for cell, column in zip(row[0], self._drawn, strict=True)]


def _spaced(text: str, column: Column, style: str) -> Text:
    shown = cut(text, column.wide)
    return Text(f"{shown.rjust(column.wide)} " if column.right else shown, style=style, no_wrap=True)
