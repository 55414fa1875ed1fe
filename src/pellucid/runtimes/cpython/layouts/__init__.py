"""Where the fields of CPython's structs lie, one generated table a minor version.

A new version: fetch its headers, run scripts/generate_layouts.py for it, and add its row here.
"""

from importlib import import_module

from msgspec import Struct

TABLES: dict[int, str] = {11: "v3_11", 12: "v3_12", 13: "v3_13", 14: "v3_14", 15: "v3_15"}
"""The minor versions of CPython 3 that can be read."""


class Table(Struct, frozen=True):
    """`offsets`: `struct.field` to bytes. `published`: the order of the fields that a build of 3.13 or later has in memory."""

    minor: int
    offsets: dict[str, int]
    published: tuple[str, ...]


def table(minor: int) -> Table | None:
    """The table of CPython 3.`minor`, None where there is none."""
    name = TABLES.get(minor)
    if name is None:
        return None
    module = import_module(f"{__name__}.{name}")
    return Table(minor, module.OFFSETS, module.PUBLISHED)
