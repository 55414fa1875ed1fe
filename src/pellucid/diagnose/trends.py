"""A straight line through a number over time, with its error: least squares, and whether the growth goes on.

Two points are no slope. Growth that has ended (a warm-up, a cache that is full) makes a line, too: so the second half of the look is
compared with the first, and a line of which hardly anything lies in the second half is called levelled.
"""

import math
from collections.abc import Sequence

from pellucid.diagnose.trend import Trend as Line
from pellucid.diagnose.trend import trend
from pellucid.model.memory import Trend

_LEVEL = 0.15
"""Less than this share of the growth in the last two fifths of the time: it has levelled."""


def fit(name: str, points: Sequence[tuple[float, float]]) -> Trend | None:
    """The line through (second, value) points in the order of time; None for fewer than three, or all at one moment."""
    line = trend(points)
    if line is None:
        return None
    return Trend(
        name=name,
        per_s=line.slope,
        error_per_s=_error(line),
        first=line.first,
        last=line.last,
        samples=line.points,
        span_s=line.span_s,
        levelled=_levelled(points),
    )


def _error(line: Line) -> float:
    """One standard error of the slope, from R²: |b| · √((1 - R²) / (R² · (n - 2)))."""
    if not line.fit:
        return abs(line.last - line.first) / line.span_s
    return abs(line.slope) * math.sqrt(max(0.0, 1 - line.fit) / (line.fit * (line.points - 2)))


def _levelled(points: Sequence[tuple[float, float]]) -> bool:
    (begin, low), (end, high) = points[0], points[-1]
    grown = high - low
    if grown <= 0:
        return True
    turn = begin + 0.6 * (end - begin)
    at_turn = _at(points, turn)
    return high - at_turn < _LEVEL * grown


def _at(points: Sequence[tuple[float, float]], moment: float) -> float:
    """The value at `moment`, between its two neighbours."""
    before = points[0]
    for point in points:
        if point[0] >= moment:
            span = point[0] - before[0]
            return before[1] + (point[1] - before[1]) * ((moment - before[0]) / span if span else 1.0)
        before = point
    return points[-1][1]
