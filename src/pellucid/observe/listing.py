"""All processes again and again, for a screen that stays open: what changes is read each time, who they are only once.

`ps` asks each process for everything; of 200 processes that is most of a second of CPU in a minute. Here a process costs one small file
a look, `stat`, which stays open between the looks: opening it anew costs more than reading it. `syscall` is read too while it sleeps and has
done something since. Its command line, user and runtime are read when it is new, when its name changed (execve), and now and then.
"""

import os
import resource
import threading
import time

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import procfs, tasks
from pellucid.model import Process
from pellucid.model.errors import NoSuchProcess
from pellucid.observe.identity import in_words, runtime, with_version

AGAIN = 64
"""After so many looks, who a process is is read once more, and a kernel thread's pid may have become somebody else's."""
CALLS = 4
"""The system call of one that has used no CPU is read each so many looks."""
BUSY = 0.02
"""CPU seconds a second from which a process is called running, though it slept at the moment of the look."""
MOST_OPEN = 2048
"""Files that stay open; a quarter of what we may open at most."""


class Live(Struct, frozen=True):
    """One process at one look. `cpu` is CPU seconds a second since the look before, None at the first."""

    process: Process
    state: str
    """In words, as `ps` has them."""
    cpu: float | None
    rss_bytes: int
    cpu_s: float
    """CPU seconds since its start."""


class _Known(Struct):
    process: Process
    cpu_s: float
    looks: int
    live: Live | None = None
    fd: int = -1
    """Its `stat`, open; the kernel answers ESRCH once it has ended, whoever has its pid then (fs/proc/base.c, proc_single_show)."""


class Listing:
    """`read()` as often as wanted; kernel threads and this process itself are left out."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._kernel: set[int] = set()
        self._own = os.getpid()
        self._looks = 0
        self._last = 0.0
        self._lock = threading.Lock()  # a screen may end while a look is under way
        self._open = 0
        self._most_open = min(MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)

    def read(self) -> tuple[Live, ...]:
        """Lowest pid first. A process that ends meanwhile is left out; of which nothing has changed, the value is the same object as before."""
        with self._lock:
            return self._read()

    def _read(self) -> tuple[Live, ...]:
        now = time.monotonic()
        span, self._last = now - self._last, now
        self._looks += 1
        if self._looks % AGAIN == 0:
            self._kernel.clear()
        found = []
        alive: dict[int, _Known] = {}
        for pid in procfs.pids():
            if pid in self._kernel or pid == self._own:
                continue
            try:
                live = self._one(pid, span, alive)
            except NoSuchProcess:
                continue
            if live is not None:
                found.append(live)
        for pid, known in self._known.items():
            if alive.get(pid) is not known:
                self._shut(known)
        self._known = alive
        return tuple(found)

    def close(self) -> None:
        """Its open files are closed."""
        with self._lock:
            for known in self._known.values():
                self._shut(known)

    def _shut(self, known: _Known) -> None:
        if known.fd >= 0:
            os.close(known.fd)
            known.fd = -1
            self._open -= 1

    def _stat(self, pid: int) -> procfs.Stat:
        """Raises NoSuchProcess."""
        known = self._known.get(pid)
        if known is not None and known.fd >= 0:
            try:
                return procfs.parse_stat(os.pread(known.fd, 4096, 0))
            except OSError as error:
                if not procfs.gone(error):
                    raise procfs.failed(pid, f"read /proc/{pid}/stat", error) from error
                self._shut(known)  # another process may have its pid by now
        return procfs.stat(pid)

    def _one(self, pid: int, span: float, alive: dict[int, _Known]) -> Live | None:
        """None for a kernel thread."""
        stat = self._stat(pid)
        if stat.kernel_thread:
            self._kernel.add(pid)
            return None
        known = self._known.get(pid)
        cpu = None
        if known is not None and known.process.start_ticks == stat.start_ticks:
            cpu = max(0.0, stat.cpu_s - known.cpu_s) / span if span > 0 else None
        else:
            known = None
        if known is None or known.process.name != stat.name or known.looks >= AGAIN:
            process = procfs.process(pid)
            found = with_version(pid, runtime(pid, process.exe))
            before, known = known, _Known(procfs.with_runtime(process, found) if found else process, stat.cpu_s, 0)
            if before is not None:
                known.fd, before.fd = before.fd, -1
        elif known.fd < 0 and self._open < self._most_open:
            self._keep_open(known)
        rested = known.cpu_s == stat.cpu_s
        known.cpu_s = stat.cpu_s
        known.looks += 1
        alive[pid] = known
        process = known.process
        if process.state != stat.state or process.threads != stat.threads or process.ppid != stat.ppid:
            process = known.process = replace(process, state=stat.state, threads=stat.threads, ppid=stat.ppid)
        last = known.live
        if last is not None and rested and last.process is process and known.looks % CALLS:
            state = last.state
        else:
            state = _state(process, running=stat.letter == "R" or (cpu or 0.0) >= BUSY)
        live = Live(process, state, cpu, stat.rss_bytes, stat.cpu_s)
        known.live = last if last is not None and last.process is process and last == live else live
        return known.live

    def _keep_open(self, known: _Known) -> None:
        """From its second look on: most processes that end soon have ended by then."""
        try:
            known.fd = os.open(f"/proc/{known.process.pid}/stat", os.O_RDONLY)
        except OSError:  # it has just ended, or we have no descriptor left: it is read by its name as before
            return
        self._open += 1


def _state(process: Process, *, running: bool) -> str:
    if running and process.state in {"running", "sleeping"}:
        return "running"
    call = ""
    if process.state in {"sleeping", "disk-sleep"}:
        try:
            told = tasks.parse_call(procfs.read_small(f"/proc/{process.pid}/syscall", 256))
        except OSError:  # it has ended, or is not ours to trace: its state alone is told then
            told = None
        call = told.name if told and told.number is not None and told.number >= 0 else ""
    return in_words(process, call, 0)
