"""The stacks of this process's own threads, summed sample by sample. It runs inside of a signal handler: it takes no lock and waits for nothing.

A stack is a number in a trie whose nodes are (caller, code object, instruction); lines are looked up when the profile is made. Equal
neighbouring samples of a thread are one run.
"""

import os
import sys
import threading
import time
from types import CodeType, FrameType

from pellucid.inside import tasks
from pellucid.model import redact
from pellucid.model.gap import Gap
from pellucid.model.profile import NO_STACK, Mode, Profile, Run, State, Taking
from pellucid.model.recorder import Recorder
from pellucid.model.thread import Frame

MOST_FRAMES = 10_000
"""Of one stack; what is above is cut off, and told."""
RAN = 0.1
"""A thread that used this share of a CPU since the sample before is said to run, one that used less to wait."""
LATE_NS = 50_000_000
"""A sample that comes later than this, and than ten intervals, knows nothing of the time before it, unless the thread has not moved."""

own_threads: set[int] = set()
"""Idents of the threads that only sample."""

_OURS = os.path.dirname(__file__) + os.sep

_SCHED = 2  # CPUCLOCK_SCHED
_PER_THREAD = 4  # CPUCLOCK_PERTHREAD_MASK


def thread_clock(tid: int) -> int:
    """The clock of a thread's CPU time, for time.clock_gettime.

    A bit pattern of its tid, so that a thread that has ended is EINVAL and no crash, as pthread_getcpuclockid of such a thread is (include/linux/posix-timers.h, Linux 6.8: make_thread_cpuclock).
    """
    return (~tid << 3) | _PER_THREAD | _SCHED


class _Track:
    """A thread, or the tasks of one coroutine function in it. A run is [at, stack, samples, weight, state]."""

    __slots__ = ("clock", "cpu_ns", "name", "runs", "tid")

    def __init__(self, tid: int, name: str, clock: int | None) -> None:
        self.tid = tid
        self.name = name
        self.clock = clock
        self.cpu_ns: int | None = 0  # it has begun since the sample before
        self.runs: list[tuple[int, int, int, int, State]] = []

    def ran_ns(self) -> int | None:
        """CPU time since this was asked before; None where it can't be known."""
        before, self.cpu_ns = self.cpu_ns, _cpu_ns(self.clock)
        return None if self.cpu_ns is None or before is None else self.cpu_ns - before

    def add(self, at: int, stack: int, weight: int, state: State) -> None:
        if self.runs:
            since, last, samples, sum_, before = self.runs[-1]
            if last == stack and before == state:
                self.runs[-1] = (since, stack, samples + 1, sum_ + weight, state)
                return
        self.runs.append((at, stack, 1, weight, state))


class Samples:
    """`cpu`: what a sample weighs is the CPU that its thread used since the one before, else the time that passed."""

    def __init__(self, interval_ns: int, *, cpu: bool) -> None:
        self.interval_ns = interval_ns
        self.cpu = cpu
        self.taken = 0
        self.cut = 0
        self.unseen_ns = 0
        self.tasks_left_out = 0
        self._hidden: set[int] = set()  # our own: a signal may come while the one before is handled
        self._codes: dict[int, CodeType] = {}  # kept alive, so that an id is never that of another one
        self._nodes: dict[tuple[int, int, int], int] = {}
        self._threads: dict[tuple[int, int], _Track] = {}
        self._tasks: dict[tuple[int, str], _Track] = {}
        self._began = time.time()

    def begin(self) -> None:
        """CPU time that was used before the first sample is nobody's."""
        for ident in sys._current_frames():  # noqa: SLF001  the documented way to the stacks of all threads
            self._thread(ident).ran_ns()

    def take(self, current: FrameType | None, at_ns: int, elapsed_ns: int, *, part: float = 1.0) -> None:
        """One sample of all threads. `current`: where this one was interrupted, if it was.

        `at_ns`: now, since the profile began; `elapsed_ns`: since the sample before; `part` of the CPU time counts.
        """
        here = threading.get_ident()
        late = elapsed_ns > max(LATE_NS, 10 * self.interval_ns)
        self.taken += 1
        for ident, frame in sys._current_frames().items():  # noqa: SLF001
            if ident in own_threads:
                continue
            if ident == here and current is not None:
                frame = current
            track = self._thread(ident)
            ran = track.ran_ns()
            if self.cpu:
                ran = round((ran or 0) * part)
                if not ran:
                    continue
            loop = self._walk(track, frame, at_ns, elapsed_ns, ran, late=late)
            if loop is not None and not self.cpu:
                self._take_tasks(loop, track.tid, at_ns, elapsed_ns)

    def _walk(
        self, track: _Track, frame: FrameType | None, at_ns: int, elapsed_ns: int, ran: int | None, *, late: bool
    ) -> object:
        """Add the sample of one thread; the event loop that it runs, or None."""
        loop = None
        path: list[tuple[int, int]] = []
        while frame is not None:
            key = self._key(frame.f_code)
            if key not in self._hidden:
                path.append((key, frame.f_lasti))
            if loop is None:
                loop = tasks.loop_of(frame)
            frame = frame.f_back
            if len(path) >= MOST_FRAMES:
                self.cut += 1
                break
        stack = NO_STACK
        nodes = self._nodes
        for key, instruction in reversed(path):
            stack = nodes.setdefault((stack, key, instruction), len(nodes))
        if self.cpu:
            track.add(max(at_ns - elapsed_ns, 0), stack, ran or 0, "running")
            return loop
        state: State = "unknown" if ran is None else "running" if ran >= RAN * elapsed_ns else "waiting"
        if late and track.runs and track.runs[-1][1] != stack:
            unseen = elapsed_ns - self.interval_ns
            track.add(max(at_ns - elapsed_ns, 0), NO_STACK, unseen, "unknown")
            self.unseen_ns = max(self.unseen_ns, unseen)
            elapsed_ns = self.interval_ns
        track.add(max(at_ns - elapsed_ns, 0), stack, elapsed_ns, state)
        return loop

    def _key(self, code: CodeType) -> int:
        key = id(code)
        if key not in self._codes:
            self._codes[key] = code
            if code.co_filename.startswith(_OURS):
                self._hidden.add(key)
        return key

    def _take_tasks(self, loop: object, tid: int, at_ns: int, elapsed_ns: int) -> None:
        """Where the suspended tasks of a loop wait. The one that runs is on the stack of its thread."""
        waiting, left_out = tasks.suspended(loop)
        self.tasks_left_out = max(self.tasks_left_out, left_out)
        for name, chain in waiting:
            stack = NO_STACK
            for code, instruction in chain:
                key = self._key(code)
                if key not in self._hidden:
                    stack = self._nodes.setdefault((stack, key, instruction), len(self._nodes))
            track = self._tasks.get((tid, name))
            if track is None:
                track = self._tasks[tid, name] = _Track(tid, f"tasks of {name}", None)
            track.add(max(at_ns - elapsed_ns, 0), stack, elapsed_ns, "waiting")

    def _thread(self, ident: int) -> _Track:
        # threading.enumerate() would wait for a lock that the interrupted thread may have; the table itself is read without.
        known = threading._active.get(ident)  # type: ignore[attr-defined]  # noqa: SLF001
        tid = getattr(known, "native_id", None) or 0
        track = self._threads.get((ident, tid))
        if track is None:
            clock = thread_clock(tid) if tid else _clock_by_ident(ident)
            name = known.name if known is not None else f"thread {ident:#x}"
            track = self._threads[ident, tid] = _Track(tid or ident, name, clock)
        return track

    def profile(self, mode: Mode, duration_ns: int, taking: Taking, gaps: tuple[Gap, ...]) -> Profile:
        """What was seen so far. Nodes that are the same line of the same function become one."""
        recorder = Recorder(mode, _command(), self._began, self.interval_ns)
        # A signal may come now too. Samples that it adds are not in it; nodes are, so that each sample in it has its own.
        tracks = [(track, list(track.runs)) for track in (*self._threads.values(), *self._tasks.values())]
        numbers: dict[int, int] = {NO_STACK: NO_STACK}
        lines: dict[tuple[int, int], Frame] = {}
        for (parent, key, instruction), number in list(self._nodes.items()):
            frame = lines.get((key, instruction))
            if frame is None:
                frame = lines[key, instruction] = frame_of(self._codes[key], instruction)
            numbers[number] = recorder.child(numbers[parent], frame)
        runtime = f"CPython {sys.version.split()[0]}"
        process = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
        for track, runs in tracks:
            built = recorder.track(os.getpid(), track.tid, track.name, process, runtime).runs
            for at, stack, samples, weight, state in runs:
                _append(built, Run(at, numbers[stack], samples, weight, state))
        return recorder.profile(duration_ns, taking, gaps)


def _append(runs: list[Run], run: Run) -> None:
    """Two instructions of one line are one stack now, and so perhaps neighbours."""
    if runs and (runs[-1].stack, runs[-1].state) == (run.stack, run.state):
        last = runs.pop()
        run = Run(last.at_ns, run.stack, last.samples + run.samples, last.weight_ns + run.weight_ns, run.state)
    runs.append(run)


def frame_of(code: CodeType, instruction: int) -> Frame:
    """The frame of an instruction (a byte offset, `f_lasti`) of a code object; its line by co_lines (PEP 626)."""
    line = code.co_firstlineno
    for start, end, found in code.co_lines():
        if start <= instruction < end:
            line = found if found is not None else line
            break
    return Frame(code.co_name, code.co_qualname, code.co_filename, line)


def _cpu_ns(clock: int | None) -> int | None:
    if clock is None:
        return None
    try:
        return time.clock_gettime_ns(clock)
    except OSError:  # it has just ended
        return None


def _clock_by_ident(ident: int) -> int | None:
    """Of a thread that the threading module does not know. It is in _current_frames and we have the GIL: so it has not ended."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    return time.pthread_getcpuclockid(ident)


def _command() -> str:
    return " ".join(redact.command(getattr(sys, "orig_argv", sys.argv)))
