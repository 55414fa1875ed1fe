"""What the commands of the server print: a result on stdout, progress on stderr."""

import sys
from typing import TYPE_CHECKING

import click

from pellucid.inert import inert as inert  # noqa: PLC0414  its commands print with it

if TYPE_CHECKING:
    from pellucid.model.report import Report

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def emit(report: "Report") -> None:
    """The JSON of a report on stdout."""
    from pellucid.export.json import encode

    sys.stdout.buffer.write(encode(report))
    sys.stdout.buffer.flush()


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their longest cell; the last one is as long as it is."""
    cells = [tuple(inert(cell) for cell in row) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
