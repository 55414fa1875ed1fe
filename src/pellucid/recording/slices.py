"""A few seconds of samples of one process, as a recording has them, with the names that its numbers stand for."""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from pellucid.model import Frame
from pellucid.recording import schema

_SliceRow = tuple[float, float, Annotated[float, msgspec.Meta(gt=0)], int, int, int, int, int]


class Names:
    """What the numbers of one segment mean. `complete`: no more will come."""

    def __init__(
        self,
        segment: int,
        frames: dict[int, Frame],
        stacks: dict[int, tuple[int, int]],
        threads: dict[int, tuple[int, str]],
        *,
        complete: bool,
    ) -> None:
        self.segment = segment
        self.frames = frames
        self.stacks = {number: pair for number, pair in stacks.items() if pair[0] < number and pair[1] in frames}
        """A stack is called by one that was known before: so no walk goes on for ever."""
        self.threads = threads
        self.complete = complete

    def frames_of(self, stack: int) -> tuple[Frame, ...]:
        """Innermost first."""
        found = []
        while stack in self.stacks:
            stack, frame = self.stacks[stack]
            found.append(self.frames[frame])
        return tuple(found)


class Slice(Struct, frozen=True):
    """A few seconds of samples of one process. `rested`: so many more samples after the runs found each thread as its last run did."""

    names: Names
    began: float
    ended: float
    interval_s: float
    rested: int
    asked: int
    missed: int
    failed: int
    unstable: int
    lanes: tuple[schema.Lane, ...]


def slice_of(names: Names, row: tuple[Any, ...]) -> Slice:
    """From a row of the table: id, began, ... unstable, runs. Raises ValueError where it is damaged."""
    began, ended, interval, rested, asked, missed, failed, unstable = msgspec.convert(row[1:-1], _SliceRow)
    lanes = schema.unpack(row[-1], tuple[schema.Lane, ...])
    return Slice(names, began, ended, interval, rested, asked, missed, failed, unstable, lanes)
