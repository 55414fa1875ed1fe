"""The memory of a process over a while: cheap counters ten times a second, the whole table less often.

    counters (status, stat, cgroup, collections)  …  table (memory_map)  …  counters  …  table  →  `MemorySeen`

The counters come from a few small files. A table is made as often as it costs no more than a tenth of the time, but at least three
times, since two points are no slope. Nothing is stopped, and nothing runs in the process.
"""

import os
import time
from collections.abc import Callable
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pellucid.kernel import cgroups, procfs, smaps
from pellucid.kernel.clock import TICKS_PER_SECOND
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model import Gap, Limit, Process
from pellucid.model.errors import LookError, NoSuchProcess, NotUnderstood
from pellucid.model.gc import Collector
from pellucid.model.memory import ChildMemory, MemoryMap, MemorySample, MemorySeen
from pellucid.observe.identity import limits
from pellucid.runtimes.cpython.gc_state import CollectorState, states
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.recognise import attach

if TYPE_CHECKING:
    from pellucid.observe.memory_map import Where

SHORT_S = 1.0
"""The look without --watch; a process that grows in it is looked at for GROWING_S."""
GROWING_S = 3.0
STEP_S = 0.1
MAX_SAMPLES = 600
MAX_CHILDREN = 64
_TABLES = 3
_DUTY = 0.1
_GROWN = 1 << 20


class Watch:
    """One process, looked at again and again; a context manager. Raises NoSuchProcess, NotPermitted."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.gaps: dict[Gap, None] = {}
        self.process: Process = procfs.process(pid)
        self._python = self._attached()
        self._memory = self._python.memory if self._python is not None else Memory.open(pid, "memory")
        self._collectors: tuple[CollectorState, ...] = ()
        self._collector: CollectorState | None = None
        self.runtime = self._python is not None
        if self._python is not None:
            self.process = procfs.with_runtime(self.process, self._python.name)
            try:
                self._python.read()
                self._collectors = states(self._python)
                self._collector = next(iter(self._collectors), None)
            except (NoSuchProcess, Unreadable):
                self.close()
                raise NoSuchProcess.ended(pid, f"look at the memory of pid {pid}") from None
        self.tables: list[MemoryMap] = []
        self.samples: list[MemorySample] = []
        self._began = time.perf_counter()

    @cached_property
    def where(self) -> "Where":
        """What makes the tables, and all that it needs: numpy takes 15 MB of who only counts."""
        from pellucid.observe.memory_map import Where

        return Where(self.pid, self._memory, self._python)

    def _attached(self) -> CPython | None:
        Memory.open(self.pid, "memory").close()  # a refusal names the command that was asked for
        try:
            return attach(self.pid)
        except NotUnderstood as error:
            if error.found:  # else it is another program, whose memory has other names
                self.gaps[Gap("Python's objects", error.said, error.remedy)] = None
            return None

    def close(self) -> None:
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def sample(self, *, table: bool) -> MemorySample:
        """The counters now, with `table` the table too. Kept in `samples` and `tables`. Raises NoSuchProcess."""
        made = self.where.look() if table else None
        if made is not None:
            self.tables.append(made)
            self.gaps.update(self.where.gaps)
        status = _status(self.pid)
        minor, major, cpu_s = _faults(self.pid)
        found = MemorySample(
            at_s=time.perf_counter() - self._began if self.samples else 0.0,
            rss_anon_bytes=1024 * _number(status, b"\nRssAnon:"),
            rss_file_bytes=1024 * _number(status, b"\nRssFile:"),
            rss_shmem_bytes=1024 * _number(status, b"\nRssShmem:"),
            swap_bytes=1024 * _number(status, b"\nVmSwap:"),
            virtual_bytes=1024 * _number(status, b"\nVmSize:"),
            minor_faults=minor,
            major_faults=major,
            cpu_s=cpu_s,
            threads=_number(status, b"\nThreads:"),
            descriptors=_descriptors(self.pid),
            mappings=_mappings(self.pid) if made is not None else None,
            collections=self._collections(),
            collecting=self.collecting(),
            known_bytes=made.known_bytes if made else None,
            native_bytes=made.native_bytes if made else None,
            free_bytes=made.pool_bytes - made.pool_used_bytes + made.malloc_free_bytes if made else None,
            array_bytes=made.array_bytes if made else None,
            modules=self._modules(),
        )
        if not self.samples:
            self._began = time.perf_counter()
        self.samples.append(found)
        return found

    def _modules(self) -> int | None:
        if self._python is None or not self._python.interpreters:
            return None
        layout, memory = self._python.layout, self._memory
        main = min(self._python.interpreters, key=lambda one: one.id)
        try:
            table = memory.u64(main.address + layout["interpreter_state.imports_modules"])
            return memory.u64(table + layout["dict_object.ma_used"])
        except Unreadable:  # it ends: the next look at its files says so
            return None

    def _collections(self) -> tuple[int, ...]:
        if self._collector is None:
            return ()
        try:
            return tuple(one.collections for one in self._collector.read(frozen=False).generations)
        except Unreadable:
            self.gaps[Gap("Python's collector", "it ends, or has become another program (execve)", "look again")] = None
            return ()

    def collecting(self) -> bool | None:
        if self._collector is None:
            return None
        try:
            return self._collector.collecting()
        except Unreadable:
            return None

    def collectors(self) -> tuple[Collector, ...]:
        """The records of the collectors of its interpreters; none for another runtime. Raises Unreadable."""
        return tuple(each.read(frozen=False) for each in self._collectors)

    def run(self, seconds: float, progress: Callable[[MemorySample], None] = lambda _: None) -> None:
        """Sample until `seconds` after the first sample; fewer after Ctrl-C, or when the process ends."""
        if not self.samples:
            self.sample(table=True)
        step = max(STEP_S, seconds / MAX_SAMPLES)
        planned = [seconds * part / (_TABLES - 1) for part in range(1, _TABLES)]
        tabled = 0.0
        try:
            while (now := time.perf_counter() - self._began) < seconds:
                time.sleep(min(step, max(0.0, seconds - now)))
                now = time.perf_counter() - self._began
                due = bool(planned) and now >= planned[0] - step / 2
                cheap = self.tables[-1].cost_s <= _DUTY * (now - tabled)
                if due or cheap:
                    tabled = now
                    planned = [moment for moment in planned if moment > now + step / 2]
                progress(self.sample(table=due or cheap))
        except KeyboardInterrupt:
            self.gaps[Gap("the rest of the time", f"interrupted after {self.samples[-1].at_s:.1f} s")] = None
        except LookError as error:
            lives = procfs.lives(self.pid, self.process.start_ticks)
            if len(self.samples) < 2 or (lives and not isinstance(error, NoSuchProcess)):
                raise
            became = "became another program (execve)" if lives else "ended"
            self.gaps[Gap("the rest of the time", f"the process {became} after {self.samples[-1].at_s:.1f} s")] = None

    def grows(self) -> bool:
        """By more than a little, since the first sample."""
        first, last = self.samples[0], self.samples[-1]
        before = first.rss_anon_bytes + first.swap_bytes + first.rss_shmem_bytes
        return last.rss_anon_bytes + last.swap_bytes + last.rss_shmem_bytes - before >= _GROWN


def watch(
    pid: int,
    seconds: float | None,
    *,
    children: bool = True,
    progress: Callable[[MemorySample], None] = lambda _: None,
) -> MemorySeen:
    """Look at `pid` for `seconds`; None: for SHORT_S, and longer when it grows. Raises NoSuchProcess, NotPermitted."""
    with Watch(pid) as looking:
        looking.run(SHORT_S if seconds is None else seconds, progress)
        if seconds is None and looking.grows():
            looking.run(GROWING_S)
        return seen(looking, children=children)


def seen(looking: Watch, *, children: bool = True) -> MemorySeen:
    """What was seen so far, with what surrounds it."""
    gaps = dict(looking.gaps)
    family: tuple[ChildMemory, ...] = ()
    if children:
        family, left_out = _descendants(looking.pid)
        if left_out:
            gaps[Gap(f"the memory of {left_out} of its descendants", f"at most {MAX_CHILDREN} are looked at")] = None
    return MemorySeen(
        process=looking.process,
        samples=tuple(looking.samples),
        first=looking.tables[0] if looking.tables else None,
        last=looking.tables[-1] if looking.tables else None,
        groups=cgroups.memory_groups(looking.pid),
        children=family,
        limits=_limits(looking.pid),
        machine_stalled_percent=cgroups.machine_stalled(),
        gaps=tuple(gaps),
    )


def _limits(pid: int) -> tuple[Limit, ...]:
    try:
        return limits(procfs.read_file(f"/proc/{pid}/limits"))
    except OSError:  # it ended meanwhile
        return ()


def _descendants(pid: int) -> tuple[tuple[ChildMemory, ...], int]:
    """(at most MAX_CHILDREN of them with their memory, the largest first; how many more there are)."""
    found: list[int] = []
    ahead = list(procfs.children(pid))
    while ahead and len(found) < 16 * MAX_CHILDREN:
        one = ahead.pop()
        if one not in found:
            found.append(one)
            ahead += procfs.children(one)
    told = []
    for child in found[:MAX_CHILDREN]:
        try:
            status = procfs.status(child)
        except LookError:  # it ended meanwhile
            continue
        if "VmRSS" in status:
            told.append(
                ChildMemory(
                    child, status["Name"], _kib(status, "RssAnon"), _kib(status, "VmRSS"), smaps.proportional(child)
                )
            )
    return tuple(sorted(told, key=lambda one: -one.rss_bytes)), max(0, len(found) - MAX_CHILDREN)


def _status(pid: int) -> bytes:
    """As `procfs.status`, of which ten times a second few lines are wanted. Raises NoSuchProcess."""
    try:
        return procfs.read_file(f"/proc/{pid}/status")
    except OSError as error:
        raise procfs.failed(pid, f"read /proc/{pid}/status", error, "memory") from error


def _number(status: bytes, line: bytes) -> int:
    """Of a line of it, 0 where that is not there: a kernel thread has no memory."""
    begin = status.find(line)
    return int(status[begin + len(line) :].split(None, 1)[0]) if begin >= 0 else 0


def _faults(pid: int) -> tuple[int, int, float]:
    """(minor, major faults; CPU seconds) of the process: fields 10, 12, 14 and 15 of /proc/PID/stat (proc_pid_stat(5))."""
    try:
        text = procfs.read_small(f"/proc/{pid}/stat", 4096)
    except OSError as error:
        raise procfs.failed(pid, f"read /proc/{pid}/stat", error, "memory") from error
    field = text[text.rindex(b")") + 2 :].split()
    return int(field[7]), int(field[9]), (int(field[11]) + int(field[12])) / TICKS_PER_SECOND


def _descriptors(pid: int) -> int | None:
    """How many are open; since Linux 6.2 by the size of the directory alone (fs/proc/fd.c, proc_fd_getattr)."""
    try:
        size = os.stat(f"/proc/{pid}/fd").st_size
        return size or len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def _mappings(pid: int) -> int | None:
    try:
        return procfs.read_file(f"/proc/{pid}/maps", 1 << 26).count(b"\n")
    except OSError:
        return None


def _kib(status: dict[str, str], name: str) -> int:
    return int(status[name].split()[0]) * 1024 if name in status else 0
