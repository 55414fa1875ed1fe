"""One thread as it lies in memory, with its frames opened."""

from collections.abc import Sequence

from msgspec import Struct

from pellucid.runtimes.cpython.registry import Pythonic
from pellucid.runtimes.cpython.slots import Slots


class Sight(Struct, frozen=True):
    """`frames`, innermost first, are those of the program and of the library. `whole`: its stack held still, and all of it was opened.

    `copied`, further out, are those of the parent at the moment when multiprocessing forked this process: what they hold was copied with
    them, and they never go on.
    """

    tid: int
    ident: int
    name: str
    frames: tuple[Slots, ...]
    whole: bool
    known: Pythonic | None
    copied: tuple[Slots, ...] = ()


def split(frames: Sequence[Slots]) -> tuple[tuple[Slots, ...], tuple[Slots, ...]]:
    """(the frames of this process, those that fork copied). A child never returns from Popen._launch (Lib/multiprocessing/popen_fork.py)."""
    begun = False
    for place, frame in enumerate(frames):
        if frame.qualname == "BaseProcess._bootstrap":
            begun = True
        elif begun and frame.qualname == "Popen._launch" and frame.file.endswith("multiprocessing/popen_fork.py"):
            return tuple(frames[:place]), tuple(frames[place:])
    return tuple(frames), ()


def place_of(frame: Slots) -> str:
    """`bank.py:7 in transfer`."""
    return f"{frame.file.rpartition('/')[2]}:{frame.line if frame.line is not None else '?'} in {frame.qualname}"
