"""A line through points: how fast something grows, how well a line fits, and when it meets a limit (ordinary least squares)."""

from collections.abc import Sequence

from msgspec import Struct

Point = tuple[float, float]
"""(seconds, bytes)."""


class Trend(Struct, frozen=True):
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


def trend(points: Sequence[Point], limit: float | None = None) -> Trend | None:
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
    fit = sxy * sxy / (sxx * syy) if syy > 0 else 1.0
    at, last = points[-1]
    left = None
    if limit is not None and slope > 0:
        meets = mean_x + (limit - mean_y) / slope
        left = max(0.0, meets - at)
    return Trend(len(points), at - points[0][0], points[0][1], last, slope, fit, left)
