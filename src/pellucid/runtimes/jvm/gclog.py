"""A log of collections, line by line, as events: unified (JDK 9 and later, any decorations), that of JDK 8, and OpenJ9's XML.

    [3.226s][info][gc] GC(21) Pause Full (Allocation Failure) 61M->61M(61M) 112.620ms          -Xlog:gc, -Xlog:gc*
    12.345: [Full GC (Ergonomics) [PSYoungGen: 10720K->0K(75776K)] ... 10736K->10000K(249344K), 0.05 secs]     -verbosegc, PrintGCDetails
    <af type="tenured" id="1" ...> ... <tenured freebytes="..." totalbytes="..."/> ... <time totalms="12.3"/> </af>

A log may begin and end anywhere: it is rotated, cut, or still being written. What is no event is passed over.
Formats: src/hotspot/share/gc/shared/gcTraceTime.inline.hpp (unified), gcTraceTime.cpp of JDK 8, the OpenJ9 documentation of -verbose:gc.
"""

import gzip
import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import IO, Protocol

from msgspec import Struct

from pellucid.model.errors import UsageError, os_words
from pellucid.model.gc_log import EventKind, LogEvent
from pellucid.runtimes.jvm.gclog_old import Java8
from pellucid.runtimes.jvm.gclog_openj9 import OpenJ9

MAX_LINE = 1 << 16
MAX_EVENTS = 1 << 21
MAX_FILES = 256

_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"(\d+(?:\.\d+)?)([BKMGT])"
_DECORATION = re.compile(r"\[(?!GC\b|Full GC)([^\]\n]*)\]\s?")
_UPTIME = re.compile(r"^(\d+(?:[.,]\d+)?)(s|ms|ns)$")
_GC = re.compile(r"^GC\((\d+)\) (.*)$")
_SUMMARY = re.compile(
    rf"^(?:[YO]: )?(?P<name>Pause [A-Z][^()\d]*?|Concurrent cleanup|Garbage Collection|Major Collection|Minor Collection)"
    rf"\s*(?P<causes>(?:\((?:[^()]|\([^()]*\))*\)\s*)*)"
    rf"(?:{_SIZE}(?:\(\d+%\))?->{_SIZE}(?:\((?:{_SIZE}|\d+%)\))?)?\s*(?:(?P<time>\d+[.,]\d+)(?P<unit>ms|s))?$"
)
_CAUSE = re.compile(r"\(((?:[^()]|\([^()]*\))*)\)")
_OLD_BYTES = re.compile(rf"^(?:Tenured|ParOldGen|PSOldGen): {_SIZE}(?:\([^)]*\))?->{_SIZE}")
_OLD_REGIONS = re.compile(r"^Old regions: (\d+)->(\d+)")
_REGION = re.compile(rf"Heap Region Size: {_SIZE}")
_USING = re.compile(
    r"\b(?:Using (?:The )?|CommandLine flags: .*-XX:\+Use)(G1|Serial|Parallel|Concurrent Mark Sweep|ConcMarkSweep|Z|Shenandoah|Epsilon)(?:GC)?\b"
)
_COLLECTORS = {"Z": "ZGC", "Concurrent Mark Sweep": "CMS", "ConcMarkSweep": "CMS"}
_LIMIT = re.compile(r"(?<!Soft )Max Capacity: (\d+)([BKMGT])(?!\w|\()|^CommandLine flags: .*-XX:MaxHeapSize=(\d+)")
"""Printed at the start: by `-Xlog:gc*` since JDK 15, by JDK 8 into its file."""
_ENOUGH = 4
OBSERVERS = ("Heap Inspection Initiated GC", "Heap Dump Initiated GC")
_TROUBLES = (
    ("Allocation Stall (", "allocation stall: a thread waited for memory"),
    ("To-space exhausted", "to-space exhausted: no room to copy what lives"),
    ("Evacuation Failure", "evacuation failure: no room to copy what lives"),
    ("G1 Humongous Allocation", "humongous allocation: an object of half a region or more"),
    ("Pause Degenerated GC", "degenerated collection: the concurrent one came too late"),
    ("concurrent mode failure", "concurrent mode failure: the concurrent collection came too late"),
    ("promotion failed", "promotion failed: the old generation had no room"),
)


class Reader(Protocol):
    """Takes the lines of one format, and keeps the events."""

    format: str
    collector: str
    events: list[LogEvent]
    first_s: float | None
    last_s: float | None

    def line(self, line: str) -> bool:
        """Whether the line was of this format."""


class Log(Struct, frozen=True):
    """`format`: unified, JDK 8 or OpenJ9; "" where no line was understood."""

    files: tuple[str, ...]
    format: str
    collector: str
    events: tuple[LogEvent, ...]
    troubles: dict[str, int]
    lines: int
    first_s: float | None
    last_s: float | None
    limit: int | None = None
    """-Xmx, where it is told."""

    def whole(self) -> tuple[tuple[tuple[float, float], ...], str]:
        """((seconds, bytes) that collections of the whole heap left, which these are): full ones, or where there are few mixed ones and cycles."""
        full = self._left("full")
        if len(full) >= _ENOUGH:
            return full, "full collections"
        cycles = self._left("cycle", "mixed")
        if len(cycles) > len(full):
            mixed = any(event.kind == "mixed" for event in self.events)
            return cycles, "mixed collections" if mixed else "concurrent cycles"
        return full, "full collections"

    def _left(self, *kinds: str) -> tuple[tuple[float, float], ...]:
        return tuple(
            (event.at_s if event.at_s is not None else float(number), float(event.after))
            for number, event in enumerate(self.events)
            if event.kind in kinds and event.after is not None and not event.observer
        )


def read(path: str) -> Log:
    """The log and, where it was rotated, the files beside it (`gc.log.0`, `gc.log.1`, ...), oldest first. Raises UsageError."""
    return parse(_lines(files := rotated(path)), files)


def rotated(path: str) -> tuple[str, ...]:
    """`path` with those that it was rotated into, by the times of their last change."""
    folder, name = os.path.split(path)
    try:
        beside = [
            os.path.join(folder, one)
            for one in os.listdir(folder or ".")
            if re.fullmatch(re.escape(name) + r"\.\d{1,3}(?:\.current)?(?:\.gz)?", one)
        ]
        found = sorted([path, *beside][:MAX_FILES], key=lambda one: os.stat(one).st_mtime_ns)
    except OSError as error:
        raise UsageError(tried=f"read {path}", said=os_words(error), remedy=f"ls -l {path}") from error
    return tuple(found)


def _lines(files: Iterable[str]) -> Iterator[str]:
    for path in files:
        try:
            with _opened(path) as file:
                while line := file.readline(MAX_LINE):
                    yield line.decode("utf-8", "replace").rstrip("\r\n")
        except (OSError, EOFError) as error:
            if isinstance(error, EOFError):
                continue  # a gzip'd part that was cut off: what could be unpacked counts
            raise UsageError(tried=f"read {path}", said=os_words(error), remedy=f"ls -l {path}") from error


def _opened(path: str) -> IO[bytes]:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")  # type: ignore[return-value]


def parse(lines: Iterable[str], files: tuple[str, ...] = ()) -> Log:
    """The events in these lines, in their order."""
    unified, java8, openj9 = _Unified(), Java8(), OpenJ9()
    troubles: dict[str, int] = {}
    count = 0
    collector = ""
    limit: int | None = None
    for line in lines:
        count += 1
        if len(unified.events) + len(java8.events) + len(openj9.events) >= MAX_EVENTS:
            break
        if not (openj9.line(line) or unified.line(line)):
            java8.line(line)
        if limit is None and (found := _LIMIT.search(line)):
            limit = int(found[3]) if found[3] else size_of(found[1], found[2])
        if not collector and (found := _USING.search(line)):
            collector = _COLLECTORS.get(found[1], found[1])
        for mark, what in _TROUBLES:
            if mark in line and "[gc,start" not in line:
                troubles[what] = troubles.get(what, 0) + 1
                break
    readers: list[Reader] = [unified, java8, openj9]
    best = max(readers, key=lambda one: len(one.events))
    return Log(
        files=files,
        format=best.format if best.events else "",
        collector=collector or best.collector,
        events=tuple(_renumbered(best.events)),
        troubles=troubles,
        lines=count,
        limit=limit,
        first_s=best.first_s,
        last_s=best.last_s,
    )


def _renumbered(events: list[LogEvent]) -> Iterator[LogEvent]:
    """In the order of time where all carry one, so that rotated parts in a wrong order do no harm."""
    if all(one.at_s is not None for one in events):
        yield from sorted(events, key=lambda one: one.at_s or 0.0)
    else:
        yield from events


class _Unified:
    format = "unified"

    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self.collector = ""
        self.first_s: float | None = None
        self.last_s: float | None = None
        self._epoch: float | None = None
        self._region = 0
        self._promoted: dict[str, int] = {}
        self._cleaned: dict[str, tuple[float | None, int, int, int | None]] = {}

    def line(self, line: str) -> bool:
        """Whether the line is of this format: it has decorations, or the form of an event."""
        at, text = self._undecorated(line)
        if at is not None:
            self.first_s = at if self.first_s is None else min(self.first_s, at)
            self.last_s = at if self.last_s is None else max(self.last_s, at)
        found = _GC.match(text)
        if found is None:
            region = _REGION.search(text)
            if region:
                self._region = size_of(region[1], region[2])
            return text is not line
        number, said = found[1], found[2].strip()
        old = _OLD_BYTES.match(said)
        if old:
            self._promoted[number] = max(0, size_of(old[3], old[4]) - size_of(old[1], old[2]))
        elif self._region and (regions := _OLD_REGIONS.match(said)):
            self._promoted[number] = max(0, int(regions[2]) - int(regions[1])) * self._region
        self._event(number, said, at)
        return True

    def _event(self, number: str, said: str, at: float | None) -> None:
        found = _SUMMARY.match(said)
        if found is None:
            return
        has_sizes = found[3] is not None
        if found["time"] is None and not (has_sizes and "Collection" in found["name"]):
            return  # the line that tells of the beginning
        name = found["name"].strip()
        pause = 0.0
        if found["time"] is not None and name.startswith("Pause"):
            pause = float(found["time"].replace(",", ".")) * (0.001 if found["unit"] == "ms" else 1.0)
        causes = _CAUSE.findall(found["causes"])
        before = size_of(found[3], found[4]) if has_sizes else None
        after = size_of(found[5], found[6]) if has_sizes else None
        capacity = size_of(found[7], found[8]) if found[7] else None
        kind = _kind(name, causes)
        if name == "Concurrent cleanup":
            kind = "cycle"
        self.events.append(
            LogEvent(
                kind=kind,
                at_s=at,
                pause_s=pause,
                cause=_cause(name, causes),
                before=before,
                after=after,
                capacity=capacity,
                promoted=self._promoted.pop(number, None) if kind in {"young", "mixed"} else None,
                observer=any(cause in OBSERVERS for cause in causes),
            )
        )

    def _undecorated(self, line: str) -> tuple[float | None, str]:
        """(seconds, the text behind the decorations)."""
        at, time = 0, None
        clock = None
        for _ in range(12):
            found = _DECORATION.match(line, at)
            if found is None:
                break
            word = found[1].strip()
            uptime = _UPTIME.match(word)
            if uptime:
                value = float(uptime[1].replace(",", ".")) * {"s": 1.0, "ms": 1e-3, "ns": 1e-9}[uptime[2]]
                time = value if time is None or uptime[2] != "ns" else time
            elif clock is None and word[:1].isdigit() and "T" in word:
                clock = self._since_first(word)
            at = found.end()
        return (time if time is not None else clock), line[at:].lstrip() if at else line

    def _since_first(self, stamp: str) -> float | None:
        seconds = clock_of(stamp)
        if seconds is None:
            return None
        if self._epoch is None:
            self._epoch = seconds
        return seconds - self._epoch


def clock_of(stamp: str) -> float | None:
    """Seconds since the epoch of `2026-11-26T10:52:07.508+0000`; None where it is no time."""
    text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", stamp)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def size_of(number: str, unit: str) -> int:
    """`61`, `M` → bytes."""
    return int(float(number) * _UNITS[unit])


def _kind(name: str, causes: list[str]) -> EventKind:
    if name.startswith(("Garbage Collection", "Major Collection", "Minor Collection")):
        return "cycle" if not name.startswith("Minor") else "pause"
    if name.startswith(("Pause Full", "Pause Degenerated")):
        return "full"
    if name.startswith("Pause Young"):
        return "mixed" if "Mixed" in causes else "young"
    return "pause"


def _cause(name: str, causes: list[str]) -> str:
    told = [one for one in causes if one not in {"Normal", "Mixed", "Concurrent Start", "Prepare Mixed"}]
    return told[0] if told else name.removeprefix("Pause ")
