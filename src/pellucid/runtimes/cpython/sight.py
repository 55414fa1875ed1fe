"""One thread as it lies in memory, with its frames opened."""

from msgspec import Struct

from pellucid.runtimes.cpython.registry import Pythonic
from pellucid.runtimes.cpython.slots import Slots


class Sight(Struct, frozen=True):
    """`frames`, innermost first, are those of the program and of the library. `whole`: its stack held still, and all of it was opened."""

    tid: int
    ident: int
    name: str
    frames: tuple[Slots, ...]
    whole: bool
    known: Pythonic | None


def place_of(frame: Slots) -> str:
    """`bank.py:7 in transfer`."""
    return f"{frame.file.rpartition('/')[2]}:{frame.line if frame.line is not None else '?'} in {frame.qualname}"
