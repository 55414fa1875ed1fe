"""`pellucid.Profiler`: where this program's time goes, sampled by itself.

`with pellucid.Profiler() as profiler: work()`, then `profiler.save("work.html")`; or `@pellucid.Profiler(0.001, clock="prof")` on a function.
"""

import functools
import os
import resource
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, get_args

from pellucid.inside.clocks import BUDGET, Clock, CpuClock, SignalClock, ThreadClock
from pellucid.inside.samples import MOST_FRAMES, Samples
from pellucid.inside.tasks import MOST as MOST_TASKS
from pellucid.model.errors import UsageError
from pellucid.model.gap import Gap
from pellucid.model.profile import Profile, Taking

P = ParamSpec("P")
R = TypeVar("R")

SHORTEST, LONGEST = 0.0001, 60.0


class Profiler:
    """Samples the stacks of all threads of this process, every `interval` seconds of a `clock`.

    `clock`: "real" is time that passes (ITIMER_REAL, SIGALRM), "virtual" CPU time in user space (ITIMER_VIRTUAL, SIGVTALRM), "prof" CPU
    time in the kernel too (ITIMER_PROF, SIGPROF); these three start and stop in the main thread. "thread" is time that passes, told by a
    thread: it uses no signal, can be started anywhere, and where a C library gives up when a system call is interrupted (Python's
    own do not: PEP 475), it is the one to take. CPU timers tick no faster than the kernel does, mostly 250 or 1000 times a second.

    A context manager, a decorator (of functions and coroutine functions), or `start()` and `stop()`; several recordings add up. While a
    thread runs asyncio, the tasks that wait are sampled too: threads named `tasks of NAME`. A child made by fork is not sampled.

    Raises UsageError: an interval that can't be, a timer or signal that something else uses, not in the main thread.
    """

    def __init__(self, interval: float = 0.005, clock: Clock = "real") -> None:
        if clock not in get_args(Clock):
            raise UsageError(
                tried=f"sample with clock={clock!r}",
                said="there is no such clock",
                remedy=f"one of {', '.join(get_args(Clock))}",
            )
        if not SHORTEST <= interval <= LONGEST:
            raise UsageError(
                tried=f"sample every {interval!r} seconds",
                said=f"an interval is from {SHORTEST} to {LONGEST:g} seconds",
                remedy="pellucid.Profiler(0.001)  (a thousand times a second)",
            )
        self.interval = interval
        self.clock: Clock = clock
        self._depth = 0
        self._ticking: SignalClock | ThreadClock | CpuClock | None = None
        self._sampling = threading.Lock()
        self._pid = os.getpid()
        self._samples = Samples(round(interval * 1e9), cpu=clock in ("virtual", "prof"))
        self._recorded_ns = self._wall_ns = self._failed = self._spent_ns = 0
        self._sampler_cpu_s = 0.0
        self._gaps: list[Gap] = []

    @property
    def recording(self) -> bool:
        return self._ticking is not None

    @property
    def profile(self) -> Profile:
        """What was recorded so far, also while it still records."""
        return self._samples.profile(
            "cpu" if self._samples.cpu else "wall", self._duration_ns(), self._taking(), self._told()
        )

    def start(self) -> Self:
        """Begin, or go on after `stop`. Raises UsageError if it records already."""
        if self._ticking is not None:
            raise UsageError(
                tried="start a profiler",
                said="it records already",
                remedy="pellucid.Profiler(...)  (makes another one)",
            )
        ticking: SignalClock | ThreadClock | CpuClock
        if self.clock == "thread":
            ticking = ThreadClock(self.interval, self._tick)
        elif self.clock == "real":
            ticking = SignalClock(self.clock, self.interval, self._tick)
        else:
            ticking = CpuClock(self.clock, self.interval, self._tick, self._due)
        self._pid = os.getpid()
        self._samples.begin()
        self._since = self._last = time.perf_counter_ns()
        self._last_used = self._used_ns()
        self._used_since = self._last_used
        self._last_cpu = time.process_time_ns()
        self._not_before = 0
        self._ticking = ticking
        try:
            ticking.start()
        except UsageError:
            self._ticking = None
            raise
        return self

    def stop(self) -> Profile:
        """End the recording; the profile of all recordings of this profiler."""
        ticking, self._ticking = self._ticking, None
        if ticking is not None:
            if self._pid != os.getpid():
                self._gaps.append(Gap("what happened after fork", "timers and threads stay with the parent", ""))
            else:
                taken = ticking.stop()
                if taken:
                    self._gaps.append(Gap("the rest of the time", taken, "pellucid.Profiler(clock='thread')"))
                if not isinstance(ticking, SignalClock):
                    self._sampler_cpu_s += ticking.cpu_s
            now = time.perf_counter_ns()
            self._wall_ns += now - self._since
            self._recorded_ns += self._used_ns() - self._used_since
        return self.profile

    def save(self, path: str, *, force: bool = False) -> None:
        """Write the profile to `path`, in the format of its suffix: see `pellucid.save`."""
        import pellucid

        pellucid.save(self.profile, path, force=force)

    def print(self) -> None:
        """The hottest functions and the hottest path on standard output, as `pellucid profile` prints them."""
        import pellucid

        print(pellucid.text(self.profile))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Record while `function` runs; calls from within it, and others at the same time, are one recording."""
        import inspect

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(
                tried=f"record calls of {function.__qualname__}",
                said="it is a generator: a call of it only makes one, and takes no time",
                remedy="with pellucid.Profiler():  (around the loop that uses it)",
            )
        if inspect.iscoroutinefunction(function):
            recorder: Callable[P, R] = _coroutine_recorder(self, function)
            return recorder
        return _recorder(self, function)

    def _enter(self) -> None:
        if self._depth == 0:
            self.start()
        self._depth += 1

    def _leave(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.stop()

    def _tick(self, frame: FrameType | None) -> None:
        """One sample; nothing that goes wrong here may reach the program that is sampled."""
        began = time.perf_counter_ns()
        if began < self._not_before or self._ticking is None or not self._sampling.acquire(blocking=False):
            return
        try:
            used = self._used_ns()
            elapsed, self._last_used = used - self._last_used, used
            part = 1.0
            if self.clock == "virtual":
                cpu, self._last_cpu = time.process_time_ns() - self._last_cpu, time.process_time_ns()
                part = min(elapsed / cpu, 1.0) if cpu else 1.0
            self._samples.take(frame, self._recorded_ns + used - self._used_since, elapsed, part=part)
        except Exception as error:  # noqa: BLE001  it is counted, and told with the profile
            self._failed += 1
            if self._failed == 1:
                self._gaps.append(Gap("some samples", f"{type(error).__name__}: {error}", ""))
        finally:
            took = time.perf_counter_ns() - began
            self._spent_ns += took
            self._not_before = began + took * (BUDGET + 1) if took * BUDGET > self.interval * 1e9 else 0
            self._sampling.release()

    def _due(self) -> bool:
        return self._used_ns() - self._last_used > 1.5e9 * self.interval

    def _used_ns(self) -> int:
        """The time that the clock tells: what passed, or the CPU time of this process, or that of it in user space."""
        if self.clock == "virtual":
            return round(resource.getrusage(resource.RUSAGE_SELF).ru_utime * 1e9)
        return time.process_time_ns() if self.clock == "prof" else time.perf_counter_ns()

    def _duration_ns(self) -> int:
        running = self._used_ns() - self._used_since if self._ticking is not None else 0
        return self._recorded_ns + running

    def _taking(self) -> Taking:
        wall_ns = self._wall_ns + (time.perf_counter_ns() - self._since if self._ticking is not None else 0)
        asked = max(round(self._duration_ns() / (self.interval * 1e9)), self._samples.taken)
        slowdown = wall_ns / (wall_ns - self._spent_ns) if wall_ns > self._spent_ns else None
        return Taking(
            interval_ns=round(self.interval * 1e9),
            asked=asked,
            taken=self._samples.taken,
            missed=asked - self._samples.taken - self._failed if asked > self._samples.taken + self._failed else 0,
            unstable=0,
            failed=self._failed,
            cpu_s=max(self._sampler_cpu_s, self._spent_ns / 1e9),
            wall_s=wall_ns / 1e9,
            slowdown=slowdown,
            slowdown_how="by the time that its samples took, during which nothing else had the GIL",
        )

    def _told(self) -> tuple[Gap, ...]:
        samples = self._samples
        gaps = list(self._gaps)
        if samples.cut:
            gaps.append(Gap("the outermost callers", f"{samples.cut} stacks had more than {MOST_FRAMES} frames"))
        if samples.tasks_left_out:
            gaps.append(Gap(f"{samples.tasks_left_out} tasks", f"a sample looks at {MOST_TASKS} tasks"))
        if samples.unseen_ns:
            who = "the sampler" if self.clock == "thread" else "the main thread"
            gaps.append(
                Gap(
                    f"up to {samples.unseen_ns / 1e9:.2f} s at once",
                    f"{who} could run no Python then: C code went on, or others had the GIL or the CPU",
                    "pellucid profile PID  (looks from outside)",
                )
            )
        taking = self._taking()
        if samples.cpu and taking.asked > 10 and taking.taken < taking.asked / 2:
            rate = taking.taken * 1e9 / max(self._duration_ns(), 1)
            gaps.append(
                Gap(
                    "more samples",
                    f"the CPU timers of this kernel came {rate:.0f} times a second of CPU time, not {1 / self.interval:g}",
                )
            )
        return tuple(gaps)


def _recorder(profiler: Profiler, function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def recorded(*arguments: P.args, **named: P.kwargs) -> R:
        profiler._enter()  # noqa: SLF001  the same class in all but name
        try:
            return function(*arguments, **named)
        finally:
            profiler._leave()  # noqa: SLF001

    return recorded


def _coroutine_recorder(profiler: Profiler, function: Any) -> Any:
    @functools.wraps(function)
    async def recorded(*arguments: Any, **named: Any) -> Any:
        profiler._enter()  # noqa: SLF001
        try:
            return await function(*arguments, **named)
        finally:
            profiler._leave()  # noqa: SLF001

    return recorded
