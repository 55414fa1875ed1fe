"""The memory of one process while a person watches it: counters of the kernel, and the generations of its collector, every few seconds.

Of Python the objects that its collector tracks, by generation; of a JVM the bytes of the spaces of its heap (eden, survivors, old) and of metaspace, read from the counters that it
publishes. Neither is asked for anything, and nothing is stopped. The table of where the bytes are costs more: `pellucid memory PID`.
"""

import time
from collections import deque
from typing import Protocol

from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.kernel.memory import Unreadable
from pellucid.model.errors import LookError
from pellucid.present.view import told

MOST_POINTS = 900
"""Half an hour, a point every two seconds."""


class Level(Struct, frozen=True):
    """One generation, or one space of it: `used` and `capacity` in bytes, or in objects, as `Point.unit` says; capacity 0 where there is none."""

    name: str
    used: int
    capacity: int = 0


class Point(Struct, frozen=True):
    """One moment. `unit` of the levels: bytes, objects, or "" where nothing is known of a collector."""

    at: float
    private_bytes: int
    file_bytes: int
    shared_bytes: int
    swap_bytes: int
    levels: tuple[Level, ...] = ()
    unit: str = ""
    collections: tuple[tuple[str, int], ...] = ()


class Generations(Protocol):
    """What reads a collector."""

    unit: str

    def read(self) -> tuple[tuple[Level, ...], tuple[tuple[str, int], ...]]:
        """(levels, how often each generation was collected). Raises LookError, Unreadable."""

    def close(self) -> None: ...


class MemoryLive:
    """`look()` again and again; `points` are kept. `failed` says why there are none, or why it goes on no more."""

    def __init__(self, pid: int, runtime: str) -> None:
        self.pid = pid
        self.points: deque[Point] = deque(maxlen=MOST_POINTS)
        self.count = 0
        """All points so far, also those that are kept no more."""
        self.failed: told.Failed | None = None
        self.no_collector = ""
        self._collector: Generations | None = None
        try:
            self._collector = _of(pid, runtime)
        except LookError as error:
            self.no_collector = f"{error.said} (try: {error.remedy})"

    def look(self) -> None:
        try:
            self.points.append(self._point())
            self.count += 1
            self.failed = None
        except LookError as error:
            self.failed = told.failed(error)

    def _point(self) -> Point:
        status = procfs.status(self.pid)
        levels: tuple[Level, ...] = ()
        collections: tuple[tuple[str, int], ...] = ()
        if self._collector is not None:
            try:
                levels, collections = self._collector.read()
            except (LookError, Unreadable):
                self.no_collector = "it ends, or has become another program (execve)"
                self.close()
        return Point(
            at=time.time(),
            private_bytes=_kib(status, "RssAnon"),
            file_bytes=_kib(status, "RssFile"),
            shared_bytes=_kib(status, "RssShmem"),
            swap_bytes=_kib(status, "VmSwap"),
            levels=levels,
            unit=self._collector.unit if self._collector is not None else "",
            collections=collections,
        )

    def close(self) -> None:
        if self._collector is not None:
            self._collector.close()
            self._collector = None


class _Python:
    unit = "objects"

    def __init__(self, pid: int) -> None:
        from pellucid.runtimes.cpython.gc_state import states
        from pellucid.runtimes.cpython.recognise import attach

        self._python = attach(pid)
        self._python.read()
        self._state = next(iter(states(self._python)), None)

    def read(self) -> tuple[tuple[Level, ...], tuple[tuple[str, int], ...]]:
        if self._state is None:
            return (), ()
        found = self._state.read(frozen=False)
        young = found.generations[0]
        levels = [Level("young", max(0, young.count), young.threshold)]
        if found.pending is not None:
            levels.append(Level("since the last full collection", found.pending))
        if found.long_lived is not None:
            levels.append(Level("old", found.long_lived))
        if found.heap_objects is not None:
            levels = [levels[0], Level("older", max(0, found.heap_objects - levels[0].used))]
        return tuple(levels), tuple((one.name, one.collections) for one in found.generations)

    def close(self) -> None:
        self._python.close()


class _Java:
    unit = "bytes"

    def __init__(self, pid: int) -> None:
        from pellucid.runtimes.jvm.perfdata import PerfData

        self._data = PerfData(pid)

    def read(self) -> tuple[tuple[Level, ...], tuple[tuple[str, int], ...]]:
        from pellucid.runtimes.jvm.collector import collector

        found = collector(self._data.read(), 0.0)
        spaces = tuple(space for one in found.generations for space in one.spaces)
        levels = tuple(Level(space.name, space.used, space.capacity) for space in spaces)
        outside = found.metaspace
        levels += (Level("metaspace", outside.used, outside.capacity) if outside else Level("metaspace", 0),)
        return levels, tuple((one.name, one.count) for one in found.collections)

    def close(self) -> None:
        self._data.close()


def _of(pid: int, runtime: str) -> Generations | None:
    if runtime.startswith("Python"):
        return _Python(pid)
    return _Java(pid) if runtime.startswith("JVM") else None


def _kib(status: dict[str, str], name: str) -> int:
    return int(status[name].split()[0]) * 1024 if name in status else 0
