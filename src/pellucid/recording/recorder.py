"""The flight recorder: some processes with their children, or all that run Python or a JVM, from now on, into a recording.

    ticks (10 a second)  →  numbers (each second)  →  flush (each two seconds)  →  the file
    longer looks, in a thread of their own, as often as they are cheap enough

What it costs is measured, told, and kept: a tick that costs too much comes less often.
"""

import os
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pellucid import __version__
from pellucid.kernel import own_descriptors, procfs
from pellucid.kernel.clock import started_at
from pellucid.kernel.procfs import read_small
from pellucid.model import Process, redact
from pellucid.model.errors import LookError, NoSuchProcess, UsageError
from pellucid.model.recording import RecorderCost
from pellucid.observe.identity import runtime
from pellucid.observe.sampler_process import command_line
from pellucid.recording.budget import Budget
from pellucid.recording.looks import KINDS, Kept, Looks
from pellucid.recording.newcomers import Newcomers, leads
from pellucid.recording.store import MOST_BYTES, Before, Store
from pellucid.recording.subject import Subject, boot

if TYPE_CHECKING:
    from pellucid.recording.calls import Calls

COUNT_S = 1.0
FLUSH_S = 2.0
LOOK_S = 1.0
"""So often it is asked whether there are new processes."""
STATUS_S = 60.0
"""For so long it is asked with which status a process has ended that its parent has not collected yet."""
SETTLED_S = 2.0
"""With --all a process is recorded that lives for so long: the many short ones of a shell script cost more than they tell."""
MOST_PROCESSES = 500
_CHECK_S = 10.0
_UNINTERRUPTED_MS = 250.0
"""So long it may sleep before it asks whether it is to stop."""
_ATTACH_AT_ONCE = 2
_MOST_WAITING = 10_000
_DESCRIPTORS = 6
"""Of ours, that each process takes; all together at most half of those that we may have: the states of threads and looks need some too."""


class Asked(Struct, frozen=True, kw_only=True):
    """What is recorded. `pids` and their children, or with `every` all processes that run Python or a JVM, also those to come."""

    pids: tuple[int, ...] = ()
    every: bool = False
    children: bool = True
    rate_hz: float = 10.0
    seconds: float | None = None
    most_bytes: int = MOST_BYTES
    launched: tuple[str, ...] = ()
    """`pids` is a child of ours that waits before its execve, and becomes this command."""
    syscalls: bool = False
    """Count system calls by name. That costs each call of any process on the machine about a tenth of a microsecond (`kernel.bpf_counts`)."""
    tables: bool = True
    """Also where the bytes of each are. It needs numpy: some 7 MB of the recorder's own, which a recorder beside a small server does without.
    What forked processes share stays shared (`kernel.gather`)."""

    def __str__(self) -> str:
        return "all processes" if self.every else "pid " + ", ".join(map(str, self.pids))


class Progress(Struct, frozen=True):
    """How far it is. `rate_hz` is lower than what was asked where that would cost too much."""

    elapsed_s: float
    processes: int
    ended: int
    waiting: int
    """So many more are too many (MOST_PROCESSES, or fewer where we may have few descriptors), and recorded once others have ended."""
    rate_hz: float
    cost: RecorderCost
    failing: str
    """Why the file can't be written to just now, ""."""


def record(
    path: str,
    asked: Asked,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], None] | None = None,
    begun: Callable[[], None] = lambda: None,
    deaths: Callable[[], Sequence[tuple[int, int]]] = lambda: (),
) -> Progress:
    """Record until all that was asked for has ended, `asked.seconds` are over, or `stopped` says so. What was recorded before in `path` stays.

    `begun` is called once all is ready, before the first sample. `deaths` is asked for what the parent of the processes has collected since the
    last time: pids, each with its status as wait(2) gives it.
    Raises UsageError (the file), NoSuchProcess, NotPermitted and NotUnderstood where none of `asked.pids` can be recorded.
    """
    wanted = [_whom(pid, asked.launched) for pid in asked.pids]
    with Store(path, asked.most_bytes) as store:
        recorder = _Recording(store, asked, stopped, progress, deaths)
        try:
            return recorder.run(wanted, begun)
        finally:
            recorder.close()


def _calls() -> "Calls":
    from pellucid.recording.calls import Calls  # with what loads programs into the kernel, which few want

    return Calls()


def _whom(pid: int, launched: tuple[str, ...]) -> Process:
    """Raises NoSuchProcess, also for a zombie, and what else keeps us from it."""
    process = procfs.process(pid)
    if launched:  # still our own program
        name = os.path.basename(launched[0])[:15]
        process = replace(process, name=name, command=redact.command(launched), exe=launched[0], threads=1)
    if process.state in {"zombie", "dead"}:
        raise NoSuchProcess(
            pid,
            tried=f"record pid {pid}",
            said=f"pid {pid} ({process.name}) has ended: it is a zombie, which waits for its parent",
            remedy=f"pellucid why {pid}",
        )
    if pid == os.getpid():
        raise UsageError(tried=f"record pid {pid}", said="that is this recorder itself", remedy="another pid")
    from pellucid.kernel.memory import Memory

    Memory.open(pid, "record").close()  # whether it may be read at all is said now, and not in a file that nobody reads
    return process


class _Recording:
    def __init__(
        self,
        store: Store,
        asked: Asked,
        stopped: Callable[[], bool],
        progress: Callable[[Progress], None] | None,
        deaths: Callable[[], Sequence[tuple[int, int]]],
    ) -> None:
        self.store = store
        self.asked = asked
        self.stopped = stopped
        self.progress = progress
        self.deaths = deaths
        self.budget = Budget(asked.rate_hz)
        self.subjects: dict[int, Subject] = {}
        """Those that live, by pid."""
        self.ended: list[Subject] = []
        """Those whose last samples are not written yet."""
        self.ended_count = 0
        self._most = min(MOST_PROCESSES, own_descriptors.most() // 2 // _DESCRIPTORS)
        self.uncollected: list[Subject] = []
        self.looks = Looks(store.path, tuple(kind for kind in KINDS if asked.tables or kind.name != "memory"))
        before = Before(store.connection)
        self.calls = _calls() if asked.syscalls else None
        self.kept = Kept(store, before)
        self._before = before
        self._next_key = before.next_process
        self._newcomers = Newcomers()
        self._waiting: deque[int] = deque(maxlen=_MOST_WAITING)
        """Those for which there was no room; many of them have ended since."""
        self._found_at = 0.0
        self._young: list[int] = []
        """Those that may not live long enough to be recorded."""
        self._poll = select.poll()
        self._lives: dict[int, Subject] = {}
        self._boot = boot()
        self._session = before.next_session
        self._taken = self._missed = 0
        """Ticks since the last flush."""

    def run(self, wanted: list[Process], begun: Callable[[], None]) -> Progress:
        for process in wanted:
            self._add(process, None, asked=True)
        self._find()
        begun()
        self.began, self.began_ns = time.time(), time.monotonic_ns()
        self._put_session()
        self.store.flush()
        self.looks.start()
        try:
            self._loop()
        finally:
            ended_ns = time.monotonic_ns() - self.began_ns
            for subject in [*self.subjects.values()]:
                if subject.gone():
                    self._end(subject)
            self._flush(ended_ns)
            self._collect(ended_ns)
            self.store.add("UPDATE session SET ended = ? WHERE id = ?", time.time(), self._session)
            self.store.flush()
        return self._now()

    def close(self) -> None:
        if self.calls is not None:
            self.calls.close()
        if self.looks.close():  # else a look still reads by their descriptors
            for subject in (*self.subjects.values(), *self.ended, *self.uncollected):
                subject.close()

    def _add(self, process: Process, like: Subject | None, *, asked: bool) -> None:
        """Raises NoSuchProcess."""
        key, before = self._key(process)
        not_yet = command_line(os.getpid()) if asked and self.asked.launched else b""
        subject = Subject(key, process, round(self.budget.interval_s * 1e9), like, asked=asked, not_yet=not_yet)
        if before is not None:
            subject.first_at, subject.samples = before
            self.kept.resume(key)
        subject.java = runtime(process.pid, process.exe) == "JVM"
        self.subjects[process.pid] = subject
        if subject.life is not None:
            self._poll.register(subject.life.fd, select.POLLIN)
            self._lives[subject.life.fd] = subject
        if self.calls is not None:
            self.calls.begin(subject)
        subject.attach()
        self.looks.begin(subject)

    def _key(self, process: Process) -> tuple[int, tuple[float, int] | None]:
        """Its number, and (since when it is recorded, samples so far): one that an earlier session has recorded goes on under the same."""
        known = self._before.processes.get((self._boot, process.pid, process.start_ticks))
        if known is not None:
            return known[0], known[1:]
        self._next_key += 1
        return self._next_key - 1, None

    def _find(self) -> None:
        """Processes that have come: children of those that are recorded, or with `every` all that run Python or a JVM."""
        before, self._found_at = self._found_at, time.time()
        ran = any(each.active_at >= before or not each.watched.reading for each in self.subjects.values())
        if not (self.asked.every or (self.asked.children and ran)):
            return  # who sleeps starts none
        again, self._young = self._young, []
        room = min(len(self._waiting), max(0, self._most - len(self.subjects)))
        again += [self._waiting.popleft() for _ in range(room)]
        for pid in (*again, *self._newcomers.pids()):
            if pid in self.subjects:
                continue
            try:
                self._consider(pid, procfs.parse_stat(read_small(f"/proc/{pid}/stat", 4096)))
            except (OSError, LookError):  # it has ended
                continue

    def _consider(self, pid: int, seen: procfs.Stat) -> None:
        """Raises OSError and LookError: it has ended."""
        parent = self.subjects.get(seen.ppid) if self.asked.children else None
        if parent is None and not self.asked.every:
            return
        if seen.kernel_thread or seen.letter in "ZX" or os.getpid() in (pid, seen.ppid) or not leads(pid):
            return
        if parent is None and time.time() - started_at(seen.start_ticks) < SETTLED_S:
            self._young.append(pid)
            return
        process = procfs.process(pid)
        if parent is None and not runtime(pid, process.exe):
            return
        if len(self.subjects) >= self._most:
            self._waiting.append(pid)
            return
        self._add(process, parent, asked=False)

    def _loop(self) -> None:
        clock, jitter = time.monotonic_ns, random.Random().random
        ends = None if self.asked.seconds is None else self.began_ns + round(self.asked.seconds * 1e9)
        base = clock()
        number = 0
        counted = flushed = looked = checked = base
        self.budget.begin()
        while not self.stopped():
            interval = round(self.budget.interval_s * 1e9)
            due = base + int((number + jitter()) * interval)
            if not self._sleep_until(min(due, ends) if ends is not None else due):
                return
            now = clock()
            if ends is not None and now >= ends:
                return
            if now - base >= (number + 1) * interval and (late := (now - base) // interval - number):
                self._missed += late  # too late: no sample at even times, which would all be of one moment
                number += late
            since = now - self.began_ns
            for subject in self.subjects.values():
                subject.tick(since)
            self._taken += 1
            number += 1
            if now - looked > LOOK_S * 1e9:
                looked = now
                self._refresh(since)
            if now - counted > COUNT_S * 1e9:
                counted = now
                for subject in self.subjects.values():
                    subject.count(self.store)
            if now - flushed > FLUSH_S * 1e9 or self.ended:
                flushed = now
                self._flush(since)
                if not self.subjects and not self.asked.every:
                    return
            if now - checked > _CHECK_S * 1e9:
                if self.budget.adapt(len(self.subjects)):
                    base, number = now, 0
                checked = now

    def _sleep_until(self, due: int) -> bool:
        """Meanwhile processes may end. False when interrupted."""
        while True:
            rest = due - time.monotonic_ns()
            if rest <= 0:
                return True
            for fd, _ in self._poll.poll(min(rest / 1e6, _UNINTERRUPTED_MS)):
                self._end(self._lives[fd])
            if self.stopped():
                return False

    def _end(self, subject: Subject) -> None:
        """It has ended."""
        if subject.life is not None and subject.life.fd in self._lives:
            self._poll.unregister(subject.life.fd)
            del self._lives[subject.life.fd]
        self.subjects.pop(subject.pid, None)
        subject.end()
        self.ended.append(subject)
        self.ended_count += 1

    def _refresh(self, since_ns: int) -> None:
        self._find()
        attached = 0
        for subject in list(self.subjects.values()):
            try:
                subject.refresh(since_ns)
                if subject.life is None and subject.gone():
                    self._end(subject)
                elif not subject.java and not subject.watched.reading and attached < _ATTACH_AT_ONCE:
                    subject.attach()
                    attached += subject.watched.reading
            except NoSuchProcess:  # it has just ended: its pidfd says so in its turn
                continue
        self._collect(since_ns)

    def _collect(self, since_ns: int) -> None:
        """How those have ended of whom it was not known yet."""
        for pid, status in self.deaths():
            for subject in (*self.uncollected, *self.ended, *self.subjects.values()):
                if subject.pid == pid and subject.collected is None and subject.gone():
                    subject.collected = status
        for subject in list(self.uncollected):
            known = subject.ask_status()
            if known or (subject.death is not None and time.time() - subject.death.at > STATUS_S):
                self.uncollected.remove(subject)
                subject.flush(self.store, since_ns, self.budget.interval_s, 0)
                self.looks.end(subject)

    def _flush(self, since_ns: int) -> None:
        """All that is known now, as one commit."""
        for looked in self.looks.take():
            self.kept.keep(looked)
            looked.subject.learn(looked.value)
        if self.calls is not None and (self.ended or self.calls.due()):
            for counted in self.calls.counted((*self.subjects.values(), *self.ended)):
                self.kept.keep(counted)
            for subject in self.ended:
                self.calls.end(subject)
        if self.store.segment_is_full():
            self.store.begin_segment()
            self._put_session()
        taken, missed, self._taken, self._missed = self._taken, self._missed, 0, 0
        for subject in (*self.subjects.values(), *self.ended):
            subject.flush(self.store, since_ns, self.budget.interval_s, missed)
        for subject in self.ended:
            self.kept.end(subject)
            if subject.death is not None and subject.death.known_by:
                self.looks.end(subject)
            else:
                self.uncollected.append(subject)
        self.ended = []
        self.budget.account(self.store, len(self.subjects), taken, missed)
        self.store.add("UPDATE session SET last = ? WHERE id = ?", time.time(), self._session)
        self.store.flush()
        if self.progress is not None:
            self.progress(self._now())

    def _put_session(self) -> None:
        """Again with each segment: the row may have been lost while the disk was full."""
        values = (time.time(), None, socket.gethostname(), self._boot, str(self.asked), self.asked.rate_hz, __version__)
        sql = "INSERT OR IGNORE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self.store.add(sql, self._session, self.began, *values, self.store.most_bytes, os.getpid())

    def _now(self) -> Progress:
        return Progress(
            elapsed_s=time.time() - self.began,
            processes=len(self.subjects),
            ended=self.ended_count,
            waiting=len(self._waiting),
            rate_hz=1 / self.budget.interval_s,
            cost=self.budget.total,
            failing="" if self.store.failed is None else str(self.store.failed),
        )
