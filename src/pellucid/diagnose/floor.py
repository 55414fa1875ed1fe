"""Does the heap leak? What is left after collections that looked at everything, the floor, says so: garbage is gone then.

A floor that rises along a line leaks (or a cache still fills: so "likely", never "certain"). One that has come near the limit, where full
collections free nothing any more, is full. Between collections the use goes up and down by itself, and means nothing.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from pellucid.diagnose.sizes import size
from pellucid.diagnose.trend import Line, Point, line_through
from pellucid.diagnose.words import duration

Kind = Literal["full", "rising", "steady", "unclear", "unknown"]

LEAST_POINTS = 4
FIT = 0.8
"""R² from which a rise is told as one."""
RISE = 0.05
"""Of the limit (or of the floor itself where there is none): what rises by less is told as steady."""
UNCLEAR = 0.25
"""Of the limit: what goes up and down by more, without a line, is called neither steady nor rising."""
NEARLY_ALL = 0.93
_LAST = 3


class Floor(Struct, frozen=True):
    """`sentence` is whole; `points` are those that it rests on, (seconds, bytes left)."""

    kind: Kind
    sentence: str
    trend: Line | None
    points: tuple[Point, ...]


def floor(points: Sequence[Point], limit: float | None, what: str = "full collections", *, timed: bool = True) -> Floor:
    """The verdict over what each of `what` left, in the order of time. `limit`: how much there may be. Without `timed` the seconds
    of the points only number them.
    """
    kept = tuple(points)
    line = line_through(kept, limit)
    if len(kept) >= _LAST and limit and all(used >= NEARLY_ALL * limit for _, used in kept[-_LAST:]):
        share = 100 * kept[-1][1] / limit
        said = (
            f"full: the last {_LAST} {what} left {size(int(kept[-1][1]))}, {share:.0f} % of the {size(int(limit))} that there may be: "
            "they free almost nothing any more"
        )
        if line is not None and len(kept) >= LEAST_POINTS and line.last > line.first * (1 + RISE):
            ago = duration(line.span_s) if timed else f"{line.points - 1} of them"
            said += f"; it came from {size(int(line.first))} {ago} before"
        return Floor("full", said, line, kept)
    if line is None or len(kept) < LEAST_POINTS:
        count = "none was seen" if not kept else f"only {len(kept)} {'was' if len(kept) == 1 else 'were'} seen"
        return Floor("unknown", f"not known: it takes {LEAST_POINTS} {what} to tell a trend, and {count}", line, kept)
    rise = line.slope * line.span_s
    low, high = min(used for _, used in kept), max(used for _, used in kept)
    if line.fit >= FIT and rise > RISE * (limit or line.last):
        later = f"{duration(line.span_s)} later, {_speed(line.slope)}" if timed else "at last"
        said = (
            f"rising: {what} left {size(int(line.first))} at first and {size(int(line.last))} {later} "
            f"(R² {line.fit:.2f} over {line.points})"
        )
        if line.left_s is not None and timed:
            said += f"; at that rate the {size(int(limit or 0))} are full in {duration(line.left_s)}"
        return Floor("rising", said, line, kept)
    if high - low > UNCLEAR * (limit or high):
        said = f"no clear trend: {len(kept)} {what} left {size(int(low))} to {size(int(high))}, {size(int(line.last))} at last (R² {line.fit:.2f})"
        return Floor("unclear", said, line, kept)
    said = f"steady: {len(kept)} {what} left between {size(int(low))} and {size(int(high))} (R² {line.fit:.2f})"
    return Floor("steady", said, line, kept)


def _speed(slope: float) -> str:
    """`1.5 MiB a second`, `4.0 MiB an hour`."""
    if slope >= 1 << 16:
        return f"{size(int(slope))} a second"
    return f"{size(int(slope * 60))} a minute" if slope * 60 >= 1 << 16 else f"{size(int(slope * 3600))} an hour"
