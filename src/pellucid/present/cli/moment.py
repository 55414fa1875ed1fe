"""A moment of the past as it is typed (`--at 12:03`, `--last 5m`), and as it is printed."""

import re
import time

from msgspec import Struct

from pellucid.model.errors import UsageError

LAST_S = 300.0
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?", re.ASCII)
_BEFORE = re.compile(r"-\s*(\S.*)", re.ASCII)


class Moment(Struct, frozen=True):
    """When: `text` as it was typed, None for the last moment; and how many seconds before belong to it, None where that was not said."""

    text: str | None
    seconds: float | None

    def at(self, first: float, last: float) -> float:
        """The moment, in a recording from `first` to `last`: not after its end. Raises UsageError."""
        if self.text is None:
            return last
        found = _moment(self.text.strip(), last)
        if found < first:
            raise UsageError(
                tried=f"look at {self.text}",
                said=f"nothing is kept of then: the recording begins at {clock(first)}",
                remedy=f"--at from '{clock(first)}' to '{clock(last)}'",
            )
        return min(found, last)

    def span(self, first: float, last: float, otherwise: float | None = LAST_S) -> tuple[float, float]:
        """(from, to). `otherwise`: seconds where none were said; None for all before."""
        end = self.at(first, last)
        seconds = self.seconds if self.seconds is not None else otherwise
        return (first if seconds is None else max(first, end - seconds)), end


def clock(moment: float) -> str:
    """`12:03:20`, with the day where it is not today."""
    there = time.localtime(moment)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", there)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", there)


def _moment(text: str, last: float) -> float:
    """Seconds since the epoch. A time without a day is the last such one that is not after `last`. Raises UsageError."""
    import datetime as dt

    wrong = UsageError(
        tried=f"understand the time {text!r}",
        said="it is none of: 12:03, 12:03:20, 2026-11-26 12:03, -5m (before the end), seconds since 1970",
        remedy="--at 12:03",
    )
    if found := _BEFORE.fullmatch(text):
        from click import UsageError as Wrong

        from pellucid.present.cli.options import seconds

        try:
            return last - seconds(found[1])
        except Wrong:
            raise wrong from None
    if found := _CLOCK.fullmatch(text):
        hour, minute, second = int(found[1]), int(found[2]), float(found[3] or 0)
        if hour > 23 or minute > 59 or second >= 60:
            raise wrong
        day = dt.datetime.fromtimestamp(last).astimezone()
        at = day.replace(hour=hour, minute=minute, second=0, microsecond=0).timestamp() + second
        return at if at <= last + 60 else at - 86400
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if 0 <= number < 1e11:
            return number
        raise wrong
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise wrong from None
