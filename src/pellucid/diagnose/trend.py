"""A line through points over time: how fast something grows, with which error, when it meets a limit, and whether it goes on.

Ordinary least squares. Two points are no slope. Growth that has ended (a warm-up, a cache that is full) makes a line, too: so the last two
fifths of the look are compared with all of it, and a line of which hardly anything lies there is called levelled.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

from pellucid.model.memory import Trend

Point = tuple[float, float]
"""(seconds, bytes)."""

_LEVEL = 0.15
"""Less than this share of the growth in the last two fifths of the time: it has levelled."""


class Line(Struct, frozen=True):
    """`slope` in units a second; `fit` is R², 1 for points on a line, 0 where time explains nothing. `left_s`: from the last point until
    the line meets the limit; None where it never does, or none was given.
    """

    points: int
    span_s: float
    first: float
    last: float
    slope: float
    fit: float
    left_s: float | None = None


def line_through(points: Sequence[Point], limit: float | None = None) -> Line | None:
    """None for fewer than three points or none of them apart in time: two points always lie on a line."""
    if len(points) < 3:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    sxx = sum((x - mean_x) ** 2 for x, _ in points)
    syy = sum((y - mean_y) ** 2 for _, y in points)
    sxy = sum((x - mean_x) * (y - mean_y) for x, y in points)
    if sxx <= 0:
        return None
    slope = sxy / sxx
    explained = sxy * sxy / (sxx * syy) if syy > 0 else 1.0
    at, last = points[-1]
    left = None
    if limit is not None and slope > 0:
        meets = mean_x + (limit - mean_y) / slope
        left = max(0.0, meets - at)
    return Line(len(points), at - points[0][0], points[0][1], last, slope, explained, left)


def fit(name: str, points: Sequence[Point]) -> Trend | None:
    """The line through (second, value) points in the order of time; None for fewer than three, or all at one moment."""
    straight = line_through(points)
    if straight is None:
        return None
    return Trend(
        name=name,
        per_s=straight.slope,
        error_per_s=_error(straight),
        first=straight.first,
        last=straight.last,
        samples=straight.points,
        span_s=straight.span_s,
        levelled=_levelled(points),
    )


def _error(straight: Line) -> float:
    """One standard error of the slope, from R²: |b| · √((1 - R²) / (R² · (n - 2)))."""
    if not straight.fit:
        return abs(straight.last - straight.first) / straight.span_s
    return abs(straight.slope) * math.sqrt(max(0.0, 1 - straight.fit) / (straight.fit * (straight.points - 2)))


def _levelled(points: Sequence[Point]) -> bool:
    (begin, low), (end, high) = points[0], points[-1]
    grown = high - low
    if grown <= 0:
        return True
    turn = begin + 0.6 * (end - begin)
    at_turn = _at(points, turn)
    return high - at_turn < _LEVEL * grown


def _at(points: Sequence[Point], moment: float) -> float:
    """The value at `moment`, between its two neighbours."""
    before = points[0]
    for point in points:
        if point[0] >= moment:
            span = point[0] - before[0]
            return before[1] + (point[1] - before[1]) * ((moment - before[0]) / span if span else 1.0)
        before = point
    return points[-1][1]
