"""The past of one process, from the recordings in the folder where `pellucid record` keeps them: numbers over time, what was wrong from when
to when, and what each thread did at a moment.

A recording that is being written can be read too. A name is that of a file in that folder, and nothing else is opened.
"""

import os
import re

from msgspec import Struct

from pellucid import home
from pellucid.inert import inert
from pellucid.model.errors import PellucidError, UsageError
from pellucid.model.memory import MemoryMap
from pellucid.model.profile import Profile
from pellucid.model.recording import Interval, Measure, RecordedProcess
from pellucid.model.report import FilesReport, SocketsReport
from pellucid.present.view import deep, told
from pellucid.present.view import groups as grouping
from pellucid.present.view import waits as waiting
from pellucid.recording import past
from pellucid.recording.reading import Recording
from pellucid.recording.schema import SUFFIX

MOST_FILES = 40
"""The newest ones are looked into."""
MOST_POINTS = 240
MOST_FINDINGS = 100
MEASURES: tuple[Measure, ...] = ("cpu", "rss_bytes", "heap_bytes", "threads", "descriptors", "collecting")
_NAME = re.compile(r"[^/\0]{1,200}" + re.escape(SUFFIX))


class Line(Struct, frozen=True):
    """One measure over time: `values[n]` at `at[n]`, None where nobody looked."""

    measure: str
    at: tuple[float, ...]
    values: tuple[float | None, ...]


class Wrong(Struct, frozen=True):
    """A finding, from when to when; `ended_at` None while it lasts."""

    title: str
    severity: str
    means: str
    first_at: float
    last_at: float
    ended_at: float | None


class Past(Struct, frozen=True):
    """What one recording keeps of one process. `ended`: how it ended, "" while it lives; `cost`: of a core, what the recorder took for each process."""

    file: str
    key: int
    command: str
    begin: float
    end: float
    ended: str
    ended_at: float | None
    lines: tuple[Line, ...]
    wrong: tuple[Wrong, ...]
    cost: float


class History(Struct, frozen=True):
    """All that is kept of a pid, the newest first. `failed`: files that could not be read."""

    folder: str
    kept: tuple[Past, ...]
    failed: tuple[told.Failed, ...]


class Moment(Struct, frozen=True):
    """As it was at `at`. `looked_at`: when the last look of `why` before that was made, None where there was none."""

    at: float
    looked_at: float | None
    findings: tuple[told.Told, ...]
    groups: tuple[grouping.Shown, ...]
    others: tuple[grouping.Shown, ...]
    not_seen: tuple[told.NotSeen, ...]
    waits: waiting.Waits | None = None
    """As of the look."""


class Kept(Struct, frozen=True):
    """What else a recording keeps of that moment, each as of the last time it was read before, None where it was not: where the bytes were, descriptors, sockets."""

    at: float
    table: MemoryMap | None = None
    table_at: float | None = None
    files: FilesReport | None = None
    sockets: SocketsReport | None = None


def history(pid: int) -> History:
    """Of all processes that had this pid."""
    folder = home.recordings()
    kept: list[Past] = []
    failed = []
    for name in _files(folder):
        try:
            with Recording(os.path.join(folder, name)) as recording:
                kept += [_past(recording, name, each) for each in recording.processes() if each.process.pid == pid]
        except PellucidError as error:
            failed.append(told.failed(error))
    return History(inert(folder), tuple(sorted(kept, key=lambda one: -one.end)), tuple(failed))


def moment(name: str, key: int, at: float) -> Moment:
    """Raises UsageError: no such recording, or nothing in it of that process."""
    with _opened(name) as recording:
        process = _process(recording, name, key)
        seen = past.snapshot(recording, key, at)
        stacks = past.stacks(recording, process, at)
        threads = stacks.threads if stacks is not None else seen.threads if seen is not None else ()
        looked = deep.of(seen) if seen is not None else None
        return Moment(
            at=stacks.taken_at if stacks is not None else at,
            looked_at=seen.taken_at if seen is not None else None,
            findings=looked.findings if looked is not None else (),
            groups=grouping.shown(threads),
            others=grouping.others(threads),
            not_seen=told.not_seen(process.gaps) if looked is None else looked.not_seen,
            waits=looked.waits if looked is not None else None,
        )


def kept(name: str, key: int, at: float) -> Kept:
    """What the other views would have shown. Raises UsageError."""
    with _opened(name) as recording:
        _process(recording, name, key)
        table = recording.memory_map(key, at)
        return Kept(
            at=at,
            table=table[1] if table is not None else None,
            table_at=table[0] if table is not None else None,
            files=recording.files(key, at),
            sockets=recording.sockets(key, at),
        )


def profile(name: str, key: int, begin: float, end: float) -> Profile:
    """Where its threads were meanwhile. Raises UsageError."""
    with _opened(name) as recording:
        return past.profile(recording, (_process(recording, name, key),), begin, end)


def _files(folder: str) -> list[str]:
    """The newest recordings there; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.stat().st_mtime, entry.name) for entry in entries if entry.name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []
    return [name for _, name in sorted(found, reverse=True)[:MOST_FILES]]


def _opened(name: str) -> Recording:
    if _NAME.fullmatch(name) is None:
        raise UsageError(tried="read a recording", said="that is no name of one", remedy="pellucid replay FILE")
    return Recording(os.path.join(home.recordings(), name))


def _process(recording: Recording, name: str, key: int) -> RecordedProcess:
    for each in recording.processes():
        if each.key == key:
            return each
    raise UsageError(
        tried=f"look into {name}", said="it does not keep that process any more", remedy=f"pellucid replay {name}"
    )


def _past(recording: Recording, name: str, each: RecordedProcess) -> Past:
    lines = recording.series(each.key, MEASURES, each.first_at, each.last_at, MOST_POINTS)
    return Past(
        file=name,
        key=each.key,
        command=inert(" ".join(each.process.command) or each.process.name),
        begin=each.first_at,
        end=each.last_at,
        ended=inert(str(each.death)) if each.death is not None else "",
        ended_at=each.death.at if each.death is not None else None,
        lines=tuple(Line(one.measure, one.at, one.values) for one in lines if any(one.values)),
        wrong=tuple(map(_wrong, recording.findings(each.key)[-MOST_FINDINGS:])),
        cost=recording.cost().share,
    )


def _wrong(one: Interval) -> Wrong:
    return Wrong(inert(one.title), one.severity, told.MARKS[one.severity], one.first_at, one.last_at, one.ended_at)
