"""When things happened: ticks since boot to the calendar, and the scheduler's clock to "asleep for 41 s".

`se.exec_start` in /proc/PID/task/TID/sched is the scheduler's clock when the task last left a CPU (update_curr in
kernel/sched/fair.c, printed by kernel/sched/debug.c). That clock is one per CPU (rq_clock_task): it leaves out the time that the
hypervisor stole and that interrupts took, so two CPUs of one virtual machine drift apart by seconds within an hour. It is therefore
compared with CLOCK_MONOTONIC on the CPU that the task last ran on: our own thread goes there, yields, and reads its own
`se.exec_start`. Time stolen from that CPU since the task fell asleep is missing from the answer, so it is a lower bound.
"""

import os
import time

from msgspec import Struct

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
"""The unit of times in /proc/PID/stat (proc_pid_stat(5))."""

_READ = 512  # exec_start stands in the third line of sched
_TRIES = 3
_SET_TIMERSLACK = 29  # include/uapi/linux/prctl.h


class Sched(Struct, frozen=True):
    """What /proc/PID/task/TID/sched tells: seconds of its CPU's scheduler clock, CPU seconds, voluntary switches."""

    exec_start_s: float
    cpu_s: float
    voluntary: int | None


def started_at(start_ticks: int) -> float:
    """Seconds since the epoch for the start time of /proc/PID/stat (ticks since boot)."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + start_ticks / TICKS_PER_SECOND


def sched(text: bytes) -> Sched | None:
    """The content of a sched file; None where it has no such lines."""
    start, ran = _field(text, b"se.exec_start"), _field(text, b"se.sum_exec_runtime")
    if start is None or ran is None:
        return None
    switches = _field(text, b"nr_voluntary_switches")
    return Sched(start / 1000, ran / 1000, None if switches is None else int(switches))


def _field(text: bytes, name: bytes) -> float | None:
    at = text.find(name)
    colon = text.find(b":", at)
    end = text.find(b"\n", colon)
    return None if at < 0 or colon < 0 or end < 0 else float(text[colon + 1 : end])


class SchedulerClocks:
    """The scheduler clocks of this look, each compared with CLOCK_MONOTONIC the first time it is asked for."""

    def __init__(self) -> None:
        self._behind: dict[int, float | None] = {}

    def asleep_s(self, cpu: int, exec_start_s: float) -> float | None:
        """Seconds since a task that last ran on `cpu` left it; None where that clock can't be read from here.

        Also where exec_start is 0: the kernel sets it so when it puts a task on the queue of another CPU (kernel/sched/fair.c, enqueue_entity
        with ENQUEUE_MIGRATED), and a task that falls asleep can be moved before it is taken off its queue (6.18, delayed dequeue).
        """
        if exec_start_s <= 0:
            return None
        behind = self._behind[cpu] if cpu in self._behind else self._behind.setdefault(cpu, monotonic_ahead(cpu))
        return None if behind is None else max(0.0, time.monotonic() - behind - exec_start_s)


def monotonic_ahead(cpu: int) -> float | None:
    """Seconds by which CLOCK_MONOTONIC is ahead of the scheduler clock of `cpu`.

    None without /proc/thread-self/sched (CONFIG_SCHED_DEBUG), or for a CPU outside of our own cpuset.
    """
    try:
        mine = os.sched_getaffinity(0)
        own = os.open("/proc/thread-self/sched", os.O_RDONLY)
    except OSError:
        return None
    try:
        os.sched_setaffinity(0, {cpu})
        return _compared(own)
    except OSError:  # EINVAL: the CPU is not among those that our cgroup may use
        return None
    finally:
        os.close(own)
        os.sched_setaffinity(0, mine)


def _compared(own: int) -> float | None:
    differences: list[float] = []
    for _ in range(_TRIES):
        os.sched_yield()  # passes through schedule(), which brings our own exec_start up to now
        now = time.monotonic()
        seen = sched(os.pread(own, _READ, 0))
        if seen is not None:
            differences.append(now - seen.exec_start_s)
    return min(differences, default=None)


def exact_sleep() -> None:
    """From now on this thread's sleeps end within a microsecond of what was asked (PR_SET_TIMERSLACK, prctl(2)), and not within 50."""
    import ctypes

    ctypes.CDLL(None).prctl(_SET_TIMERSLACK, 1000, 0, 0, 0)
