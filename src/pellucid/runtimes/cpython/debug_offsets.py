"""Which layout a build of CPython has: the generated table of its minor version, and over it what the build itself publishes.

From 3.13 on `_PyRuntime` begins with struct _Py_DebugOffsets (Include/internal/pycore_debug_offsets.h; pycore_runtime.h in
3.13): the cookie `xdebugpy`, then 64-bit fields in an order that each minor version has of its own.
"""

from struct import Struct as Bytes
from struct import error

from msgspec import Struct

from pellucid.runtimes.cpython.layouts import Table

COOKIE = b"xdebugpy"
MAX_SIZE = 4096  # of _Py_DebugOffsets: 888 bytes in 3.15
MAX_OFFSET = 1 << 24  # of any field: PyInterpreterState has some 100 KB

_FIRST = Bytes("<8sQQ")


class Layout(Struct, frozen=True):
    """`layout["interpreter_frame.owner"]` is the offset of that field in bytes. KeyError: this version has no such field."""

    minor: int
    offsets: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.offsets[name]

    def get(self, name: str) -> int | None:
        return self.offsets.get(name)


class Garbled(Exception):  # noqa: N818
    """What the build publishes can't be offsets; the text says what is wrong with it."""


class Published(Struct, frozen=True):
    """The head of _Py_DebugOffsets: `version` is PY_VERSION_HEX."""

    version: int
    free_threaded: bool


def published(head: bytes) -> Published | None:
    """What the first bytes of `_PyRuntime` say of the build, None where they are no _Py_DebugOffsets (before 3.13)."""
    if len(head) < _FIRST.size or not head.startswith(COOKIE):
        return None
    _, version, free_threaded = _FIRST.unpack_from(head)
    return Published(version & 0xFFFFFFFF, free_threaded != 0)


def layout(table: Table, head: bytes) -> Layout:
    """The layout of the build whose `_PyRuntime` begins with `head`. Raises Garbled."""
    if not table.published:
        return Layout(table.minor, table.offsets)
    try:
        values = Bytes(f"<{len(table.published)}Q").unpack_from(head, len(COOKIE))
    except error:
        raise Garbled(f"its debug offsets end after {len(head)} bytes") from None
    found = dict(zip(table.published, values, strict=True))
    del found["version"], found["free_threaded"]
    for name, value in found.items():
        if value > MAX_OFFSET:
            raise Garbled(f"{name} would be {value:#x}")
    derived = _beside(table.offsets, found)
    for name, value in derived.items():
        if not 0 <= value <= (table.offsets["gil.size"] - 8 if name.startswith("gil.") else MAX_OFFSET):
            raise Garbled(f"{name} would be {value}")
    return Layout(table.minor, table.offsets | found | derived)


def _beside(known: dict[str, int], found: dict[str, int]) -> dict[str, int]:
    """Fields that no build publishes, as far from a published neighbour as in the generated table."""
    neighbours = (
        ("thread_state.datastack_top", "thread_state.datastack_chunk"),
        ("interpreter_state.gc_generations", "interpreter_state.gc"),
        ("interpreter_state.gc_garbage", "interpreter_state.gc"),
        ("interpreter_state.next_code_version", "interpreter_state.gc"),
        ("interpreter_frame.globals", "interpreter_frame.previous"),
        ("interpreter_frame.locals", "interpreter_frame.previous"),
    )
    gil = found["interpreter_state.gil_runtime_state"]
    return {name: found[beside] + known[name] - known[beside] for name, beside in neighbours} | {
        "gil.locked": found["interpreter_state.gil_runtime_state_locked"] - gil,
        "gil.last_holder": found["interpreter_state.gil_runtime_state_holder"] - gil,
    }
