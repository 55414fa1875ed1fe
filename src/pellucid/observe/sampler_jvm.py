"""A profile of a JVM by repeated thread dumps: each one stops all its threads at a safepoint, and shows them where they could be stopped.

That is a bias, and told in every such profile: compiled loops without a poll and inlined code show at the next place that has one (the
return of a method, the back edge of a loop). Where it waits, for which lock, and in which call is told exactly. The rate is kept so low that
the JVM stands still for at most a twentieth of the time. What a thread does (runs, waits) is the kernel's word, read just before each dump.
"""

import time
from collections.abc import Callable

from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.model import Gap, Process
from pellucid.model.errors import LookError, NoSuchProcess
from pellucid.model.profile import Profile, State, Taking
from pellucid.model.recorder import Recorder
from pellucid.runtimes.jvm.process import HotSpot, attach

MAX_RATE_HZ = 50.0
_MOST_STOPPED = 0.05
_BIAS = Gap(
    "where compiled code is between two safepoints",
    "a JVM shows its stacks only at safepoints: time in a loop may be told at its next poll",
    "compare with perf and a JVM started with -XX:+PreserveFramePointer",
)


def is_jvm(process: Process) -> bool:
    from pellucid.observe.identity import runtime

    return runtime(process.pid, process.exe) == "JVM"


def sample(
    process: Process,
    *,
    rate_hz: float,
    seconds: float | None,
    cpu: bool,
    stopped: Callable[[], bool],
    progress: Callable[[float, int, int], None],
) -> Profile:
    """Raises what `attach` raises. `progress` gets elapsed seconds, samples and threads."""
    java = attach(process.pid, "profile")
    try:
        return _Sampling(process, java, min(rate_hz, MAX_RATE_HZ), seconds, cpu=cpu).run(stopped, progress, rate_hz)
    finally:
        java.close()


class _Sampling:
    def __init__(self, process: Process, java: HotSpot, rate_hz: float, seconds: float | None, *, cpu: bool) -> None:
        self.process = process
        self.java = java
        self.interval_ns = round(1e9 / rate_hz)
        self.seconds = seconds
        self.cpu = cpu
        self.taken = self.missed = self.failed = 0
        self._before: dict[int, int] = {}
        self._last_ns = 0
        self._recorder = Recorder(
            "cpu" if cpu else "wall", " ".join(process.command) or process.name, time.time(), self.interval_ns
        )

    def run(
        self, stopped: Callable[[], bool], progress: Callable[[float, int, int], None], wished_hz: float
    ) -> Profile:
        began, began_cpu, began_at = time.monotonic_ns(), time.process_time(), time.time()
        self.java.read()  # the handshake is not part of it
        self.java.stopped_s = None
        self._used()
        began = due = time.monotonic_ns()
        ends = None if self.seconds is None else began + round(self.seconds * 1e9)
        why = ""
        while not stopped() and (ends is None or time.monotonic_ns() < ends):
            due += self.interval_ns
            if not self._sleep_until(due, stopped):
                break
            try:
                self._tick(time.monotonic_ns() - began)
            except NoSuchProcess:
                break
            except LookError as error:
                self.failed += 1
                why = error.said
                if self.failed > 3 and not self.taken:
                    raise
            now = time.monotonic_ns()
            progress((now - began) / 1e9, self.taken, len(self.java.by_tid))
            rest_ns = round((self.java.stopped_s or 0.0) * 1e9 / _MOST_STOPPED) - (now - began)
            if now - due > self.interval_ns or rest_ns > 0:
                late = max(now - due, rest_ns)
                skip = int(late // self.interval_ns)
                self.missed += skip
                due += skip * self.interval_ns
        duration = time.monotonic_ns() - began
        stood = self.java.stopped_s
        taking = Taking(
            interval_ns=self.interval_ns,
            asked=self.taken + self.missed + self.failed,
            taken=self.taken,
            missed=self.missed,
            unstable=0,
            failed=self.failed,
            cpu_s=time.process_time() - began_cpu,
            wall_s=duration / 1e9,
            slowdown=1 + stood / (duration / 1e9) if stood is not None and duration else None,
            slowdown_how="the share of the time that its threads stood still for the dumps, by the JVM's own counter",
        )
        gaps = [_BIAS]
        if wished_hz > MAX_RATE_HZ:
            gaps.append(Gap(f"more than {MAX_RATE_HZ:.0f} samples a second", "each dump stops the JVM", ""))
        if why:
            gaps.append(Gap(f"{self.failed} samples", why))
        profile = self._recorder.profile(duration, taking, tuple(gaps))
        return replace(profile, process=procfs.with_runtime(self.process, self.java.name), began_at=began_at)

    def _tick(self, at_ns: int) -> None:
        states = self._states()
        since_ns, self._last_ns = at_ns - self._last_ns, at_ns
        used = self._used() if self.cpu else {}
        reading = self.java.read()
        self.taken += 1
        for stack in reading.stacks:
            weight = used.get(stack.tid, 0) if self.cpu else since_ns  # a sample stands for the time since the last one
            if weight == 0:
                continue
            self._recorder.add(
                self.process.pid,
                stack.tid,
                stack.name,
                stack.frames,
                states.get(stack.tid, "unknown"),
                at_ns,
                weight_ns=weight,
                process=self.process.name,
                runtime=self.java.name,
            )

    def _states(self) -> dict[int, State]:
        """What the kernel says of each thread now."""
        found: dict[int, State] = {}
        for tid in self.java.by_tid:
            try:
                text = procfs.read_small(f"/proc/{self.process.pid}/task/{tid}/stat", 1024)
            except OSError:
                continue  # it has ended
            found[tid] = "running" if text[text.rindex(b")") + 2 : text.rindex(b")") + 3] == b"R" else "waiting"
        return found

    def _used(self) -> dict[int, int]:
        """Nanoseconds of CPU that each thread has used since the last time (sched-stats.rst)."""
        found: dict[int, int] = {}
        for tid in self.java.by_tid:
            try:
                text = procfs.read_small(f"/proc/{self.process.pid}/task/{tid}/schedstat", 128)
            except OSError:
                continue
            now = int(text.split()[0])
            found[tid] = now - self._before.get(tid, now)
            self._before[tid] = now
        return found

    @staticmethod
    def _sleep_until(due: int, stopped: Callable[[], bool]) -> bool:
        """False when it was stopped meanwhile."""
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep(min(left / 1e9, 0.1))
            if stopped():
                return False
        return True
