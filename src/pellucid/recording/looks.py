"""The longer looks of the recorder: `why`, the table of memory, descriptors and sockets, the collector. One thread makes them, one after another.

Each kind may take so much of a core for each process, and no more: after a look that was costly the next one waits the longer. A process in
which nothing has run since the last look is not looked at again: what was seen still holds, and that is what is written.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import nlargest
from operator import itemgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pellucid.diagnose.engine import diagnose
from pellucid.kernel import fds
from pellucid.kernel.memory import Unreadable
from pellucid.model import Finding, Gap, Snapshot
from pellucid.model.errors import LookError
from pellucid.model.report import FilesReport, SocketsReport
from pellucid.observe.memory import Watch
from pellucid.observe.snapshot import snapshot
from pellucid.observe.sockets import sockets
from pellucid.recording import later, schema
from pellucid.recording.reading import Recording
from pellucid.recording.store import Before, Store
from pellucid.recording.subject import Subject
from pellucid.recording.trends import RULES, trends

SETTLED_S = 2.0
"""A process that ran and now rests for so long is looked at sooner than it would have been."""
FIRST_S = 0.5
LATER_S = {"why": 5.0, "files": 5.0, "memory": 20.0}
"""The same for those that were not asked for by name: many processes live for seconds, and the first looks are the dearest ones."""
_LONGEST_S = 3600.0
_RESTING_S = 60.0
"""Of a process that rests it is written at least so often that it still does."""
_IDLE_S = 1.0
"""Where nothing is due, it is asked again so often whether anything has become so: to wake a thread costs more than to look."""
_LEAST_S = 0.05
_AT_ONCE = 16
"""Looks that are made before it is asked again which are due, which takes a pass over all of them."""
_OF_ITS_OWN = frozenset({"files", "trends"})
"""Made again though nothing ran in the process."""
_JAVA_S = 30.0
"""A JVM stands still while it tells its stacks."""


class Kind(Struct, frozen=True):
    """`share`: of a core, for each process; `least_s`: never more often than this."""

    name: str
    share: float
    least_s: float


KINDS = (
    Kind("gc", 0.0001, 5.0),
    Kind("why", 0.0006, 5.0),
    Kind("memory", 0.0003, 10.0),
    Kind("files", 0.0003, 10.0),
    Kind("trends", 0.0001, 120.0),
)


class Looked(Struct, frozen=True):
    """One look that was made, for the thread that writes. `value` is None where what was seen before still holds."""

    subject: Subject
    kind: str
    at: float
    value: Any
    findings: tuple[Finding, ...] = ()


_Identity = tuple[str, tuple[int, ...] | str]
"""What makes two findings the same one at two moments: the rule and its threads; the title where it is about none. The titles of trends have
figures, so that it is the rule alone."""


_PUT_FINDING = (
    "INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?) ON CONFLICT (id) DO UPDATE SET last = excluded.last, "
    "severity = excluded.severity, confidence = excluded.confidence, title = excluded.title, about = excluded.about"
)


class _Due:
    """When one kind of look at one process is due."""

    __slots__ = ("checked_at", "cpu_s", "kind", "made_at", "next_at", "snapshot", "subject")

    def __init__(self, subject: Subject, kind: Kind, next_at: float) -> None:
        self.subject = subject
        self.kind = kind
        self.next_at = next_at
        self.made_at = 0.0
        """Wall clock of the last look, 0 for none."""
        self.checked_at = 0.0
        """The same, or when it was last found that the look still holds."""
        self.cpu_s = 0.0
        self.snapshot: Snapshot | None = None
        """What the last look of `why` saw."""

    def wanted(self, now: float) -> float:
        """How long it has been due; negative where it is not."""
        if self.still_holds():  # this costs next to nothing, whatever a look costs
            return now - self.checked_at - min(_RESTING_S, max(self.kind.least_s, (now - self.made_at) / 4))
        if self.kind.name == "why" and self.made_at and self._has_settled():
            least = max(self.kind.least_s, self.cpu_s / self.kind.share / 2)
            return now - min(self.next_at, self.made_at + least)
        return now - self.next_at

    def still_holds(self) -> bool:
        """Nothing has run in the process since the last look, and what was seen depends on nobody else: not on the other ends of its connections."""
        if not self.made_at or self.subject.java or self.kind.name in _OF_ITS_OWN or not self.subject.watched.reading:
            return False
        return self.subject.active_at < self.made_at and not (self.snapshot is not None and self.snapshot.peers)

    def _has_settled(self) -> bool:
        active = self.subject.active_at
        return not self.subject.java and active > self.made_at and time.time() - active > SETTLED_S


class Looks:
    """The thread. `begin` and `end` name the processes; `take` gives what was seen."""

    def __init__(self, path: str, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._path = path
        self._kinds = kinds
        self._due: dict[int, list[_Due]] = {}
        self._seen: deque[Looked] = deque()
        self._closing: list[Subject] = []
        self._lock = threading.Lock()
        self._stop = False
        self._news = threading.Event()
        """Processes have come, or it is to end."""
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)
        self._makes: dict[str, Callable[[Subject], tuple[Any, tuple[Finding, ...]] | None]] = {
            "why": _why,
            "memory": _memory,
            "files": _files,
            "gc": _collector,
            "trends": self._trends,
        }

    def start(self) -> None:
        """Begin. What is imported at the first look only is imported now, so that it is no part of what a look costs."""
        import pellucid.diagnose.rules

        if any(kind.name == "memory" for kind in self._kinds):
            import pellucid.observe.memory_map  # noqa: F401

            with suppress(ImportError):
                import numpy  # noqa: F401, ICN001
        self._thread.start()

    def begin(self, subject: Subject) -> None:
        """Look at it from now on: soon, for it may not live long, and after some samples, so that it is known whether anything runs in it."""
        now = time.time()
        wait = {kind.name: FIRST_S if subject.asked else LATER_S.get(kind.name, FIRST_S) for kind in self._kinds}
        with self._lock:
            self._due[subject.key] = [_Due(subject, kind, now + wait[kind.name]) for kind in self._kinds]
        self._news.set()

    def end(self, subject: Subject) -> None:
        """It has ended, and is closed when no look goes on."""
        with self._lock:
            self._due.pop(subject.key, None)
            self._closing.append(subject)

    def take(self) -> list[Looked]:
        """What was seen since the last call. Raises what went wrong in the thread, if anything that is no error of a look."""
        if self._failed is not None:
            raise self._failed
        taken = []
        while self._seen:
            taken.append(self._seen.popleft())
        return taken

    def close(self) -> bool:
        """End the thread; False where a look goes on, which is given up: it ends with the program."""
        self._stop = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(0.5)
        if self._thread.is_alive():
            return False
        self._close_ended()
        return True

    def _run(self) -> None:
        try:
            while not self._stop:
                self._close_ended()
                several, rest_s = self._next()
                for due in several:
                    if not self._stop:
                        self._look(due)
                if not several:
                    self._news.wait(rest_s)
                    self._news.clear()
        except BaseException as error:  # noqa: BLE001  raised again by `take`, in the thread that records
            self._failed = error

    def _close_ended(self) -> None:
        with self._lock:
            closing, self._closing = self._closing, []
        for subject in closing:
            subject.close()

    def _next(self) -> tuple[list[_Due], float]:
        """(some that are due, the longest waiting first; how long to rest where none is)."""
        now = time.time()
        with self._lock:
            waiting = [(each.wanted(now), each) for several in self._due.values() for each in several]
        due = nlargest(_AT_ONCE, (one for one in waiting if one[0] >= 0), key=itemgetter(0))
        soonest = max(map(itemgetter(0), waiting), default=-_IDLE_S)
        return [each for _, each in due], min(_IDLE_S, max(_LEAST_S, -soonest))

    def _look(self, due: _Due) -> None:
        began, cpu = time.time(), time.thread_time()
        subject, kind = due.subject, due.kind
        attached = subject.memory is not None
        if due.still_holds():
            findings: tuple[Finding, ...] = ()
            if due.snapshot is not None:  # a wait that is longer may be worse
                findings = diagnose(later.snapshot(due.snapshot, began - due.snapshot.taken_at))
            self._seen.append(Looked(subject, kind.name, began, None, findings))
            due.checked_at = began
            return
        try:
            made = self._makes[kind.name](subject)
        except LookError as error:
            if subject.death is None and not subject.gone():
                subject.gaps[Gap(f"`{kind.name}` of pid {subject.pid}", error.said, error.remedy)] = None
            made = None
        except (OSError, Unreadable):  # what was there a moment ago: it ends, or becomes another program (execve)
            made = None
        except Exception as error:  # noqa: BLE001  one look that fails as nobody thought of must not end the recording: it is told
            why = f"it failed: {type(error).__name__}: {error}"
            subject.gaps[Gap(f"`{kind.name}` of pid {subject.pid}", why, "report it, with the recording")] = None
            made = None
        if made is not None:
            self._seen.append(Looked(subject, kind.name, began, *made))
            due.made_at = due.checked_at = began
            due.snapshot = made[0] if isinstance(made[0], Snapshot) else None
        once = kind.name == "gc" and not attached and subject.memory is not None
        due.cpu_s = (
            0.0 if once else time.thread_time() - cpu
        )  # to attach is done once, and says nothing of the next look
        least = max(kind.least_s, _JAVA_S) if subject.java and kind.name == "why" else kind.least_s
        due.next_at = began + min(_LONGEST_S, max(least, due.cpu_s / kind.share))

    def _trends(self, subject: Subject) -> tuple[Any, tuple[Finding, ...]] | None:
        """From the file; of a JVM nothing, whose heap grows and shrinks as it likes."""
        if subject.java:
            return None
        with Recording(self._path) as recording:
            return (), trends(recording, subject.key)


def _why(subject: Subject) -> tuple[Snapshot, tuple[Finding, ...]]:
    seen = snapshot(subject.pid)
    return seen, diagnose(seen)


def _memory(subject: Subject) -> tuple[Any, tuple[Finding, ...]] | None:
    if subject.memory is None:
        return None
    table = subject.memory.where.look()
    subject.table = table
    return table, ()


def _files(subject: Subject) -> tuple[Any, tuple[Finding, ...]]:
    """Descriptors, with their sockets' ends; who else holds its pipes is left out, which takes a pass over all processes."""
    opened, gaps = fds.open_files(subject.pid, "files")
    found, unknown = sockets(subject.pid, far=False) if any(file.kind == "socket" for file in opened) else ((), ())
    now = time.time()
    process = subject.process
    files = FilesReport(process=process, taken_at=now, gaps=gaps, files=opened)
    return (files, SocketsReport(process=process, taken_at=now, gaps=unknown, sockets=found)), ()


def _collector(subject: Subject) -> tuple[Any, tuple[Finding, ...]]:
    if subject.memory is None:
        subject.memory = Watch(subject.pid)
    if subject.java:
        from pellucid.runtimes.jvm.collector import collector  # only where there is one
        from pellucid.runtimes.jvm.perfdata import PerfData

        data = PerfData(subject.pid, "record")
        try:
            subject.java_seen = collector(data.read(), time.time() - subject.process.started_at)
        finally:
            data.close()
        return subject.java_seen, ()
    return subject.memory.collectors(), ()


class Kept:
    """Writes what was seen: looks that differ, and findings from when to when."""

    def __init__(self, store: Store, before: Before) -> None:
        self._store = store
        self._before = before
        self._next = before.next_finding
        self._last: dict[tuple[int, str], tuple[int, bytes, float]] = {}
        """(process, kind) → (id of the last look that was written, its blob, its moment)."""
        self._open: dict[tuple[int, bool], dict[_Identity, tuple[int, float]]] = {}
        """(process, whether they are trends) → identity of a finding that lasts → (its id, since when)."""

    def resume(self, key: int) -> None:
        """The process was recorded by an earlier session: what was wrong then may still be."""
        for number, first, about in self._before.findings.pop(key, ()):
            finding = schema.unpack(about, Finding)
            trend = finding.rule in RULES
            self._open.setdefault((key, trend), {})[_identity(finding, trend=trend)] = number, first

    def keep(self, looked: Looked) -> None:
        """Write one look."""
        key, at = looked.subject.key, looked.at
        if looked.kind == "trends":
            self._findings(key, at, looked.findings, trend=True)
            return
        if looked.value is None:
            self._still(key, looked.kind, at)
            if looked.kind == "why":
                self._findings(key, at, looked.findings)
            return
        if looked.kind == "files":
            files, found = looked.value
            self._write(key, "files", at, files, same=replace(files, taken_at=0.0))
            self._write(key, "sockets", at, found, same=replace(found, taken_at=0.0))
            return
        self._write(key, "jvm" if looked.kind == "gc" and looked.subject.java else looked.kind, at, looked.value)
        if looked.kind == "why":
            self._findings(key, at, looked.findings)

    def _still(self, key: int, kind: str, at: float) -> None:
        """It is as it was."""
        known = self._last.get((key, kind))
        if known is not None:
            self._store.add("UPDATE look SET until = ? WHERE id = ?", at, known[0])

    def _write(self, key: int, kind: str, at: float, value: Any, same: Any = None) -> None:
        """`same`: the value without what is never the same; a look that tells nothing new is only kept for longer."""
        blob = schema.pack(value)
        told = schema.pack(same) if same is not None else blob
        known = self._last.get((key, kind))
        if known is not None and known[1] == told and known[0] // schema.ROWS_OF_SEGMENT == self._store.segment:
            self._store.add("UPDATE look SET until = ? WHERE id = ?", at, known[0])
            return
        number = self._store.serial()
        self._store.add("INSERT INTO look VALUES (?, ?, ?, ?, ?, ?)", number, key, kind, at, at, blob)
        self._last[key, kind] = number, told, at

    def _findings(self, key: int, at: float, findings: tuple[Finding, ...], *, trend: bool = False) -> None:
        """What is healthy, said in words (info), is in the look itself and has no interval."""
        before = self._open.get((key, trend), {})
        now: dict[_Identity, tuple[int, float]] = {}
        for finding in findings:
            if finding.severity == "info":
                continue
            identity = _identity(finding, trend=trend)
            if identity in now:
                continue
            number, first = before.get(identity) or (self._next, at)
            self._next = max(self._next, number + 1)
            told = (finding.rule, finding.severity, finding.confidence, finding.title, first, at)
            self._store.add(_PUT_FINDING, number, key, *told, schema.pack(finding))
            now[identity] = number, first
        for identity, (number, _) in before.items():
            if identity not in now:
                self._store.add("UPDATE finding SET ended = ? WHERE id = ?", at, number)
        self._open[key, trend] = now

    def end(self, subject: Subject) -> None:
        """The process has ended, and with it what was wrong with it."""
        at = subject.death.at if subject.death is not None else time.time()
        for trend in (False, True):
            for number, _ in self._open.pop((subject.key, trend), {}).values():
                self._store.add("UPDATE finding SET ended = ? WHERE id = ?", at, number)
        for key, kind in [known for known in self._last if known[0] == subject.key]:
            number, _, looked_at = self._last.pop((key, kind))
            if kind == "why" and subject.active_at < looked_at and subject.death is not None:
                until = subject.death.at  # nothing ran in it after that look: it held to the end
                self._store.add("UPDATE look SET until = ? WHERE id = ?", until, number)


def _identity(finding: Finding, *, trend: bool) -> _Identity:
    return finding.rule, () if trend else finding.tids or finding.title
