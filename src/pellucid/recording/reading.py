"""Reads a recording, also while it is written: who was recorded, when something was wrong, numbers over time, and the past at a moment.

    with Recording("app.recording") as past:
        for each in past.processes():
            past.series(each.key, ("cpu", "rss_bytes"), each.first_at, each.last_at, points=600)
            past.snapshot(each.key, at=each.last_at)   # for diagnose.engine.diagnose
            past.profile((each.key,), each.first_at, each.last_at)

All of it raises UsageError where the file turns out to be damaged. Each call sees what was committed by then.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from pellucid.model import Confidence, Finding, Frame, Gap, Process, Severity, Snapshot
from pellucid.model.collector import Collector as JavaCollector
from pellucid.model.gc import Collector
from pellucid.model.memory import MemoryMap, MemorySample
from pellucid.model.recording import (
    CallCounts,
    Death,
    Interval,
    Measure,
    RecordedProcess,
    RecorderCost,
    RecordingReport,
    Series,
    Session,
)
from pellucid.model.report import FilesReport, SocketsReport
from pellucid.recording import schema
from pellucid.recording.slices import Names, Slice, slice_of

Kind = TypeVar("Kind")

_LEVELS: dict[Measure, str] = {
    "rss_bytes": "anon + file + shmem",
    "anon_bytes": "anon",
    "swap_bytes": "swap",
    "threads": "threads",
    "descriptors": "descriptors",
    "heap_bytes": "coalesce(heap, known)",
}
_RATES: dict[Measure, str] = {
    "cpu": "cpu_s",
    "major_faults": "major",
    "collections": "gen0 + gen1 + gen2",
    "read_calls": "read_calls",
    "write_calls": "write_calls",
    "read_bytes": "read_bytes",
    "written_bytes": "written_bytes",
}
MEASURES: tuple[Measure, ...] = (*_LEVELS, *_RATES, "collecting")
_FrameRow = tuple[int, str, str, str, int | None]
_StackRow = tuple[int, int, int]
_ThreadRow = tuple[int, int, str]
_FindingRow = tuple[int, int, str, Severity, Confidence, str, float, float, float | None]
_HOLE_S = 10.0
"""Between two readings that are further apart than this (and than three steps) nobody looked."""


class Recording:
    """An open recording; a context manager. Raises UsageError where it is none, is newer than this pellucid, or damaged."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._tried = f"read the recording {path}"
        self._connection = schema.open_to_read(path)
        self._segments: dict[int, Names] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def span(self) -> tuple[float, float]:
        """(from, to) of what is kept; (0, 0) where nothing is yet."""
        first, last = self._row("SELECT (SELECT min(began) FROM segment), (SELECT max(last) FROM session)")
        return (float(first), float(last)) if first is not None and last is not None else (0.0, 0.0)

    def sessions(self) -> tuple[Session, ...]:
        """The runs of the recorder, in the order of time."""
        sql = "SELECT began, last, ended, host, asked, rate_hz, version FROM session ORDER BY began"
        return tuple(Session(*row) for row in self._rows(sql))

    def processes(self) -> tuple[RecordedProcess, ...]:
        """All of which something is kept, in the order in which they were first seen."""
        sql = "SELECT id, about, asked, first, last, death, samples, gaps FROM process ORDER BY first, id"
        with self._reading():
            return tuple(
                RecordedProcess(
                    key=key,
                    process=schema.unpack(about, Process),
                    asked=bool(asked),
                    first_at=float(first),
                    last_at=float(last),
                    death=None if death is None else schema.unpack(death, Death),
                    samples=samples,
                    gaps=() if gaps is None else schema.unpack(gaps, tuple[Gap, ...]),
                )
                for key, about, asked, first, last, death, samples, gaps in self._rows(sql)
            )

    def findings(
        self, key: int | None = None, begin: float | None = None, end: float | None = None
    ) -> tuple[Interval, ...]:
        """What was wrong, of one process or of all, at some moment from `begin` to `end`; in the order of time."""
        sql = (
            "SELECT f.process, p.pid, f.rule, f.severity, f.confidence, f.title, f.first, f.last, f.ended, f.about "
            "FROM finding f JOIN process p ON p.id = f.process WHERE (?1 IS NULL OR f.process = ?1) "
            "AND (?2 IS NULL OR coalesce(f.ended, f.last) >= ?2) AND (?3 IS NULL OR f.first <= ?3) ORDER BY f.first, f.id"
        )
        with self._reading():
            return tuple(_interval(row) for row in self._rows(sql, key, begin, end))

    def series(
        self, key: int, measures: Sequence[Measure], begin: float, end: float, points: int = 600
    ) -> tuple[Series, ...]:
        """Numbers over time, at most about `points` of each."""
        step = max(1e-3, (end - begin) / max(1, points))
        wanted = {measure: _LEVELS.get(measure) or _RATES.get(measure) for measure in measures}
        columns = ", ".join(f"{sql or 'NULL'}" for sql in wanted.values())
        sql = (
            f"SELECT max(at), gc_readings, gc_set, {columns} FROM counters WHERE process = ? AND at BETWEEN ? AND ? "
            "AND segment IN (SELECT id FROM segment) GROUP BY CAST((at - ?) / ? AS INTEGER) ORDER BY 1"
        )
        rows = self._rows(sql, key, begin, end, begin, step)
        hole = max(_HOLE_S, 3 * step)
        return tuple(
            _series(key, measure, step, [(row[0], row[1], row[2], row[3 + place]) for row in rows], hole)
            for place, measure in enumerate(wanted)
        )

    def look(self, key: int, kind: str, at: float, of: type[Kind]) -> tuple[float, float, Kind] | None:
        """(at, until, the look): the last one of this kind not after `at`; else None."""
        sql = "SELECT at, until, content FROM look WHERE process = ? AND kind = ? AND at <= ? ORDER BY at DESC LIMIT 1"
        with self._reading():
            for looked, until, content in self._rows(sql, key, kind, at):
                return looked, until, schema.unpack(content, of)
        return None

    def looks(self, key: int, kind: str, begin: float, end: float) -> tuple[tuple[float, float], ...]:
        """(at, until) of the looks of one kind."""
        sql = "SELECT at, until FROM look WHERE process = ? AND kind = ? AND at BETWEEN ? AND ? ORDER BY at"
        return tuple((at, until) for at, until in self._rows(sql, key, kind, begin, end))

    def snapshot(self, key: int, at: float) -> tuple[float, Snapshot] | None:
        """(until, the look of `why`): the last one not after `at`; nothing ran in the process from its `taken_at` to `until`."""
        found = self.look(key, "why", at, Snapshot)
        return None if found is None else (found[1], found[2])

    def files(self, key: int, at: float) -> FilesReport | None:
        """Its descriptors as of `at`."""
        found = self.look(key, "files", at, FilesReport)
        return None if found is None else found[2]

    def sockets(self, key: int, at: float) -> SocketsReport | None:
        """Its sockets as of `at`."""
        found = self.look(key, "sockets", at, SocketsReport)
        return None if found is None else found[2]

    def collectors(self, key: int, at: float) -> tuple[float, tuple[Collector, ...]] | None:
        """(when, the collectors of its interpreters): the last reading not after `at`."""
        found = self.look(key, "gc", at, tuple[Collector, ...])
        return None if found is None else (found[0], found[2])

    def java(self, key: int, at: float) -> tuple[float, JavaCollector] | None:
        """(when, the generations and collections of a JVM): the last reading not after `at`."""
        found = self.look(key, "jvm", at, JavaCollector)
        return None if found is None else (found[0], found[2])

    def calls(self, key: int, at: float) -> tuple[float, float, dict[str, int]] | None:
        """(since when it was so, until when, how often each system call was begun by then since it is recorded): the last count not after `at`."""
        found = self.look(key, "calls", at, CallCounts)
        return None if found is None else (found[0], found[1], found[2].calls)

    def collecting(self, key: int, begin: float, end: float) -> tuple[int, int]:
        """(readings of the flag `collecting` of Python's collector from `begin` to `end`, those that found it set)."""
        sql = (
            "SELECT max(gc_readings) - min(gc_readings), max(gc_set) - min(gc_set) FROM counters "
            "WHERE process = ? AND at BETWEEN ? AND ? AND segment IN (SELECT id FROM segment)"
        )
        readings, found = self._row(sql, key, begin, end)
        return int(readings or 0), int(found or 0)

    def memory_map(self, key: int, at: float) -> tuple[float, MemoryMap] | None:
        """(when, where its bytes were): the last table not after `at`."""
        found = self.look(key, "memory", at, MemoryMap)
        return None if found is None else (found[0], found[2])

    def memory_samples(self, key: int, begin: float, end: float, points: int = 600) -> tuple[MemorySample, ...]:
        """The counters of memory, the first at 0 seconds; those with a table of where the bytes were are all there."""
        step = max(1e-3, (end - begin) / max(1, points))
        sql = (
            "SELECT max(at), anon, file, shmem, swap, virtual, minor, major, cpu_s, threads, descriptors, mappings, gen0, gen1, gen2, "
            "known, native, free, arrays FROM counters WHERE process = ? AND at BETWEEN ? AND ? AND segment IN (SELECT id FROM segment) "
            "GROUP BY CAST((at - ?) / ? AS INTEGER), known IS NULL ORDER BY 1"
        )
        rows = self._rows(sql, key, begin, end, begin, step)
        return tuple(
            MemorySample(
                at_s=at - rows[0][0],
                rss_anon_bytes=anon or 0,
                rss_file_bytes=file or 0,
                rss_shmem_bytes=shmem or 0,
                swap_bytes=swap or 0,
                virtual_bytes=virtual or 0,
                minor_faults=minor or 0,
                major_faults=major or 0,
                cpu_s=cpu_s or 0.0,
                threads=threads or 0,
                descriptors=descriptors,
                mappings=mappings,
                collections=() if gen0 is None else (gen0, gen1 or 0, gen2 or 0),
                known_bytes=known,
                native_bytes=native,
                free_bytes=free,
                array_bytes=arrays,
            )
            for at, anon, file, shmem, swap, virtual, minor, major, cpu_s, threads, descriptors, mappings, gen0, gen1, gen2, known, native, free, arrays in rows
        )

    def cost(self, begin: float | None = None, end: float | None = None) -> RecorderCost:
        """What the recorder used, all of it or from `begin` to `end`."""
        sql = (
            "SELECT total(wall_s), total(cpu_s), total(wall_s * processes), total(samples), total(missed), total(lost) FROM cost "
            "WHERE (?1 IS NULL OR at >= ?1) AND (?2 IS NULL OR at <= ?2)"
        )
        wall, cpu, weighed, samples, missed, lost = self._row(sql, begin, end)
        return RecorderCost(wall, cpu, weighed / wall if wall else 0.0, int(samples), int(missed), int(lost))

    def report(self) -> RecordingReport:
        """What is in it, as a document."""
        first, last = self.span()
        most = self._row("SELECT most_bytes FROM session ORDER BY began DESC LIMIT 1")
        processes = self.processes()
        return RecordingReport(
            process=None,
            taken_at=last,
            gaps=tuple(dict.fromkeys(gap for each in processes for gap in each.gaps)),
            file=self.path,
            size_bytes=os.stat(self.path).st_size,
            most_bytes=most[0] if most else 0,
            first_at=first,
            last_at=last,
            sessions=self.sessions(),
            processes=processes,
            findings=self.findings(),
            cost=self.cost(),
        )

    def slices(self, key: int, begin: float, end: float) -> Iterator[Slice]:
        """The samples of one process that lie at least partly between `begin` and `end`, in the order of time."""
        sql = (
            "SELECT id, began, ended, interval_s, rested, asked, missed, failed, unstable, runs FROM slice "
            "WHERE process = ? AND began <= ? AND began >= coalesce((SELECT max(began) FROM slice WHERE process = ? AND began <= ?), 0) "
            "ORDER BY began"
        )
        rows = self._rows(sql, key, end, key, begin)
        segment, names = -1, None
        with self._reading():
            for row in rows:
                if names is None or row[0] // schema.ROWS_OF_SEGMENT != segment:
                    segment = row[0] // schema.ROWS_OF_SEGMENT
                    names = self._names(segment)  # all that the rows refer to was committed before, or with them
                yield slice_of(names, row)

    def _names(self, segment: int) -> Names:
        """The frames, stacks and threads of a segment. Raises ValueError."""
        found = self._segments.get(segment)
        if found is None or not found.complete:
            (newest,) = self._row("SELECT max(id) FROM segment")
            frames = self._rows(
                "SELECT id, function, qualname, file, line FROM frame WHERE segment = ? ORDER BY id", segment
            )
            stacks = self._rows("SELECT id, parent, frame FROM stack WHERE segment = ? ORDER BY id", segment)
            threads = self._rows("SELECT id, tid, name FROM thread WHERE segment = ?", segment)
            found = self._segments[segment] = Names(
                segment,
                {row[0]: Frame(row[1], row[2], row[3], row[4]) for row in msgspec.convert(frames, list[_FrameRow])},
                {number: (parent, frame) for number, parent, frame in msgspec.convert(stacks, list[_StackRow])},
                {number: (tid, name) for number, tid, name in msgspec.convert(threads, list[_ThreadRow])},
                complete=newest is not None and segment < newest,
            )
        return found

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError) as error:  # a column of another type, a blob that is none
            raise schema.damaged(self._tried, error) from None

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise schema.damaged(self._tried, error) from None

    def _row(self, sql: str, *values: object) -> tuple[Any, ...]:
        rows = self._rows(sql, *values)
        return rows[0] if rows else ()


def _interval(row: tuple[Any, ...]) -> Interval:
    key, pid, rule, severity, confidence, title, first, last, ended = msgspec.convert(row[:-1], _FindingRow)
    finding = schema.unpack(row[-1], Finding)
    return Interval(key, pid, rule, severity, confidence, title, first, last, ended, finding)


def _series(
    key: int,
    measure: Measure,
    step: float,
    rows: Sequence[tuple[float, int | None, int | None, float | None]],
    hole: float,
) -> Series:
    at: list[float] = []
    values: list[float | None] = []
    before: tuple[float, int | None, int | None, float | None] | None = None
    for row in rows:
        if before is not None and row[0] - before[0] > hole:
            at.append(before[0] + (row[0] - before[0]) / 2)
            values.append(None)
            before = None
        if measure in _LEVELS:
            at.append(row[0])
            values.append(row[3])
        elif before is not None:
            at.append(row[0])
            values.append(_collecting(before, row) if measure == "collecting" else _rate(before, row))
        before = row
    return Series(key, measure, step, tuple(at), tuple(values))


def _rate(
    before: tuple[float, int | None, int | None, float | None], row: tuple[float, int | None, int | None, float | None]
) -> float | None:
    one, two = before[3], row[3]
    return None if one is None or two is None else max(0.0, two - one) / (row[0] - before[0])


def _collecting(
    before: tuple[float, int | None, int | None, float | None], row: tuple[float, int | None, int | None, float | None]
) -> float | None:
    """Of the readings of the collector's flag those that found it set."""
    if row[1] is None or row[2] is None or before[1] is None or before[2] is None or row[1] <= before[1]:
        return None
    return (row[2] - before[2]) / (row[1] - before[1])
