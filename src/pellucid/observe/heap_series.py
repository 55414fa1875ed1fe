"""Several looks at one heap, and what grew between them."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from pellucid.model import Gap, Process
from pellucid.model.errors import NoSuchProcess, UsageError
from pellucid.model.heap import Census, Suspect, TypeGrowth
from pellucid.observe import heap_growth
from pellucid.observe.heap_dump import Dump
from pellucid.observe.heap_look import HeapSeen, look


class Series(Struct, frozen=True):
    """What `diagnose.heap.compare` makes sentences of."""

    process: Process | None
    censuses: tuple[Census, ...]
    types: tuple[TypeGrowth, ...]
    suspects: tuple[Suspect, ...]
    gaps: tuple[Gap, ...]


def of(looks: Sequence[HeapSeen]) -> Series:
    """Of two or more looks, live or from files, of one process. Raises UsageError where they can't be of one."""
    dumps = [seen.dump for seen in looks]
    for first, last in pairwise(dumps):
        _comparable(first, last)
    intervals = [heap_growth.interval(first, last) for first, last in pairwise(dumps)]
    return _series([dump.census for dump in dumps], dumps[0], dumps[-1], intervals, ())


def _comparable(first: Dump, last: Dump) -> None:
    one, other = first.process, last.process
    if one is not None and other is not None and (one.pid, one.start_ticks) != (other.pid, other.start_ticks):
        raise UsageError(
            tried="compare two snapshots",
            said=f"one is of pid {one.pid} ({one.name}), the other of pid {other.pid} ({other.name}), started at another time: "
            "their addresses have nothing to do with each other",
            remedy="take both of one process: pellucid heap PID --save FILE",
        )
    if last.census.taken_at < first.census.taken_at:
        raise UsageError(
            tried="compare two snapshots", said="the second is older than the first", remedy="name the older one first"
        )


def every(
    pid: int,
    seconds: float,
    looks: int,
    *,
    pause: bool,
    include_values: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Iterator[Series]:
    """Looks every so many seconds, `looks` times; after each but the first, what grew since the first."""
    intervals: list[heap_growth.Interval] = []
    censuses: list[Census] = []
    gaps: tuple[Gap, ...] = ()
    first = last = None
    for number in range(looks):
        if number:
            time.sleep(max(seconds - (time.time() - censuses[-1].taken_at), 0))
        try:
            seen = look(pid, pause=pause, include_values=include_values, told=told)
        except NoSuchProcess as ended:
            if last is None or first is None or len(censuses) < 2:
                raise
            gaps = (Gap(f"look {number + 1} of {looks}", ended.said),)
            yield _series(censuses, first, last, intervals, gaps)
            return
        dump = seen.dump
        censuses.append(dump.census)
        if first is None:
            first = dump
        else:
            assert last is not None
            intervals.append(heap_growth.interval(last, dump))
            yield _series(censuses, first, dump, intervals, gaps)
        last = dump


def _series(
    censuses: list[Census], first: Dump, last: Dump, intervals: list[heap_growth.Interval], gaps: tuple[Gap, ...]
) -> Series:
    seen = tuple(dict.fromkeys((*gaps, *(gap for census in censuses for gap in census.gaps))))
    return Series(
        last.process,
        tuple(censuses),
        heap_growth.types(first, last),
        heap_growth.suspects(first, last, intervals),
        seen,
    )
