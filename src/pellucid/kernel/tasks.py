"""What each thread of a process is doing, as the kernel sees it: its system call with arguments, and since when it sleeps.

Everything is read from /proc, which neither stops nor wakes the target. The system calls of all threads are read first: they
are what a stop by ptrace would destroy (a poll with a timeout becomes restart_syscall and its arguments are lost), and what
changes soonest. Per thread three small files, opened relative to /proc/PID/task: syscall, stat, sched. More only where these
do not tell: wchan, for which the kernel unwinds the thread's stack, for one that sleeps outside of a system call or where no
signal wakes it; status and schedstat where there is no sched file (CONFIG_SCHED_DEBUG).
"""

import os
from collections.abc import Sequence
from errno import EACCES, EPERM

from pellucid.kernel import clock, procfs, syscalls
from pellucid.kernel.procfs import gone, read_small
from pellucid.model import Call, Gap, Task

RUNNING = "running"
OUTSIDE = "outside of system calls"
"""Call.name where the thread is on a CPU or wants one, and where it was stopped in user space or sits in a page fault."""

MAX_TASKS = 1 << 16
_LOW = 1 << 32  # the stack of a 32-bit program lies below it


def tasks(pid: int, command: str = "why") -> tuple[tuple[Task, ...], tuple[Gap, ...]]:
    """All threads, lowest tid first; those that could not be read whole are told by the gaps.

    Raises NoSuchProcess, and NotPermitted only where not even the list of threads may be seen.
    """
    try:
        directory = os.open(f"/proc/{pid}/task", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise procfs.failed(pid, f"list the threads of pid {pid}", error, command) from error
    try:
        tids = sorted(int(name) for name in os.listdir(directory))
        return _Look(pid, directory, command).all(tids)
    except OSError as error:
        raise procfs.failed(pid, f"list the threads of pid {pid}", error, command) from error
    finally:
        os.close(directory)


def task(pid: int, tid: int, command: str = "why") -> Task | Gap:
    """One thread of `pid`; a Gap when it is not there. Raises NoSuchProcess when the process is not."""
    try:
        directory = os.open(f"/proc/{pid}/task", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise procfs.failed(pid, f"look at thread {tid} of pid {pid}", error, command) from error
    try:
        found, gaps = _Look(pid, directory, command).all([tid])
    finally:
        os.close(directory)
    return found[0] if found else gaps[0]


def calls(pid: int, tids: Sequence[int] | None = None, most: int = MAX_TASKS) -> dict[int, Call]:
    """Only the system calls of some threads (None: of all), as cheap as can be; one that can't be read is left out. NoSuchProcess."""
    try:
        directory = os.open(f"/proc/{pid}/task", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise procfs.failed(pid, f"look at the threads of pid {pid}", error) from error
    try:
        look = _Look(pid, directory, "why")
        if tids is None:
            tids = sorted(int(name) for name in os.listdir(directory))
        return {tid: call for tid in tids[:most] if (call := look.call(tid)) is not None}
    finally:
        os.close(directory)


class _Look:
    """One look at some threads of one process."""

    def __init__(self, pid: int, directory: int, command: str) -> None:
        self.pid = pid
        self.directory = directory
        self.command = command
        self.clocks = clock.SchedulerClocks()
        self.refusal: OSError | None = None

    def all(self, tids: list[int]) -> tuple[tuple[Task, ...], tuple[Gap, ...]]:
        seen = tids[:MAX_TASKS]
        calls = [self.call(tid) for tid in seen]
        found = [task for tid, call in zip(seen, calls, strict=True) if (task := self._task(tid, call)) is not None]
        return tuple(found), tuple(self._gaps(len(tids), len(seen), len(found)))

    def _gaps(self, there: int, seen: int, read: int) -> list[Gap]:
        gaps: list[Gap] = []
        if read < seen:
            gaps.append(Gap(f"{seen - read} of {there} threads of pid {self.pid}", "they ended meanwhile"))
        if seen < there:
            gaps.append(Gap(f"{there - seen} of {there} threads of pid {self.pid}", f"at most {MAX_TASKS} are read"))
        if self.refusal is not None:
            tried = f"read the system calls of the threads of pid {self.pid} (/proc/{self.pid}/task/*/syscall)"
            error = procfs.failed(self.pid, tried, self.refusal, self.command)
            gaps.append(Gap(f"the system calls of the threads of pid {self.pid}", error.said, error.remedy))
        return gaps

    def call(self, tid: int) -> Call | None:
        try:
            return parse_call(read_small(f"{tid}/syscall", 256, self.directory))
        except OSError as error:
            if error.errno in (EACCES, EPERM):
                self.refusal = self.refusal or error
            elif not gone(error):
                raise
            return None

    def _wchan(self, tid: int, call: Call | None, letter: str) -> str | None:
        """The kernel function it sleeps in; "" where its system call tells enough, or the kernel hides the name ("0")."""
        if letter == "R" or (letter != "D" and call is not None and call.number is not None and call.number >= 0):
            return ""
        try:
            name = read_small(f"{tid}/wchan", 128, self.directory)
        except OSError:  # no CONFIG_KALLSYMS, or it ended, which `stat` is about to tell
            return None
        return "" if name == b"0" else name.decode("ascii", "replace")

    def _task(self, tid: int, call: Call | None) -> Task | None:
        """None when the thread has ended."""
        try:
            stat = procfs.parse_stat(read_small(f"{tid}/stat", 1024, self.directory))
            sched = self._sched(tid)
            cpu_s, switches = (sched.cpu_s, sched.voluntary) if sched else self._counted(tid, stat)
        except OSError as error:
            if gone(error):
                return None
            raise
        asleep = stat.letter not in "RZX" and sched is not None
        return Task(
            tid=tid,
            name=stat.name,
            state=stat.state,
            call=call,
            wchan=self._wchan(tid, call, stat.letter),
            cpu_s=cpu_s,
            switches=switches,
            asleep_s=self.clocks.asleep_s(stat.cpu, sched.exec_start_s) if asleep and sched else None,
        )

    def _sched(self, tid: int) -> clock.Sched | None:
        try:
            return clock.sched(read_small(f"{tid}/sched", 2048, self.directory))
        except OSError:  # no CONFIG_SCHED_DEBUG, or it ended, which `_counted` is about to tell
            return None

    def _counted(self, tid: int, stat: procfs.Stat) -> tuple[float, int | None]:
        """CPU seconds (schedstat has nanoseconds, stat ticks) and voluntary switches, without a sched file."""
        told = procfs.parse_status(read_small(f"{tid}/status", 4096, self.directory))
        switches = told.get("voluntary_ctxt_switches")
        try:
            cpu_s = int(read_small(f"{tid}/schedstat", 64, self.directory).split()[0]) / 1e9
        except (OSError, IndexError):  # no CONFIG_SCHED_INFO
            cpu_s = stat.cpu_s
        return cpu_s, None if switches is None else int(switches)


def parse_call(text: bytes) -> Call | None:
    """A line of proc_pid_syscall(5): `running`, `-1 SP PC`, or the number, six arguments, SP and PC. None when empty."""
    fields = text.split()
    if not fields:  # the thread is on its way out
        return None
    if fields[0] == b"running":
        return Call(RUNNING, None)
    number = int(fields[0])
    values = tuple(int(field, 16) for field in fields[1:])
    if number < 0 or len(values) < 8:
        return Call(OUTSIDE, -1, (), *values[-2:])
    arguments, (stack, instruction) = values[:6], values[6:8]
    if not stack and not instruction:  # a kernel thread has no user space to have called from
        return Call(OUTSIDE, -1)
    name = syscalls.name(number) if stack >= _LOW else f"32-bit syscall {number}"
    return Call(name, number, arguments, stack, instruction)
