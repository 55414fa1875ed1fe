"""What the sampled threads of one process do: on a CPU or ready for one, asleep, or in want of the GIL; and the CPU time of each.

/proc/PID/task/TID/syscall says `running` or the system call that a thread sleeps in (proc_pid_syscall(5)), by which one knows a futex in
the GIL. It costs microseconds a thread, so few are read at each tick: those that moved or were awake, and one or two of the others in
turn. The CPU clock of the process (clock_getcpuclockid(3)) costs a tenth of that, and says whether anybody ran; not that nobody did: for
who runs now it is brought up to date at the kernel's own ticks only (kernel/sched/cputime.c, thread_group_cputime).
"""

import os
import time
from collections.abc import Callable, Iterable

from pellucid.kernel import own_descriptors, syscalls
from pellucid.kernel.procfs import gone, read_small
from pellucid.model.profile import State

MOST_READ = 8
"""States that are read at one tick."""
MOST_OPEN = 128
"""Files that are kept open for it; the states of more threads are read through files that are opened for each reading."""
_IN_TURN = 2
_SELDOM_S = 0.05
"""With ticks that are further apart it is one: what a resting thread does tells less than it costs then."""
_BUSY = 0.8
"""A process with one thread that used so much of the time since the last tick was running."""
_FUTEX = str(syscalls.number("futex")).encode()


def _most_of_all() -> int:
    return own_descriptors.most() // 4


class Doing:
    """One thread. `dirty`: it moved since its state was read."""

    __slots__ = ("cpu_ns", "dirty", "fd", "futex", "holds", "instruction", "state", "tid")

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.state: State = "unknown"
        self.dirty = True
        self.futex = 0
        """The address that it sleeps on in futex(2), as who waits for a lock does; 0 for none."""
        self.holds = False
        """It has the GIL."""
        self.instruction = 0
        """Where it sleeps: the address of the instruction after its system call."""
        self.fd = -1
        self.cpu_ns: int | None = None
        """CPU time at the last call of `States.used_ns`."""


class States:
    """The threads of process `pid`. `in_gil`: whether a futex at this address is part of the GIL."""

    all_open = 0
    """Files that are kept open for it, of all processes."""

    def __init__(self, pid: int, in_gil: Callable[[int], bool]) -> None:
        self._in_gil = in_gil
        self._directory = os.open(f"/proc/{pid}/task", os.O_RDONLY | os.O_DIRECTORY)
        self._clock = (~pid << 3) | 2  # CPUCLOCK_SCHED of a process, include/linux/posix-timers.h
        self._cpu_s = 0.0
        self._at = time.monotonic()
        self._open = 0
        self._turn: list[Doing] = []
        self.threads: dict[int, Doing] = {}
        self.refused = False
        """The kernel does not let us see system calls."""

    def close(self) -> None:
        for each in list(self.threads.values()):
            self.forget(each)
        os.close(self._directory)

    def watch(self, tid: int) -> Doing:
        found = self.threads[tid] = Doing(tid)
        return found

    def forget(self, doing: Doing) -> None:
        if doing.fd >= 0:
            os.close(doing.fd)
            doing.fd = -1
            self._open -= 1
            States.all_open -= 1
        self.threads.pop(doing.tid, None)

    def tick(self, cpu_s: float) -> list[Doing]:
        """Reads again what may have changed; returns the threads whose state is not what it was. `cpu_s`: `process_cpu_s()` now."""
        now = time.monotonic()
        ran, span = cpu_s - self._cpu_s, now - self._at
        self._cpu_s, self._at = cpu_s, now
        return self._changed(ran, span)

    @property
    def all_slept(self) -> bool:
        """At the last tick, as far as their states were read at it."""
        return all(each.state == "waiting" for each in self.threads.values())

    def rested(self, cpu_s: float) -> bool:
        """Nobody has run since the last tick, as far as the kernel has counted, and all slept at it. `cpu_s`: `process_cpu_s()` now."""
        return cpu_s == self._cpu_s and self.all_slept

    def _changed(self, ran: float, span: float) -> list[Doing]:
        threads = self.threads
        if self.refused:
            return []
        if len(threads) == 1:
            (only,) = threads.values()
            if ran > _BUSY * span:
                only.dirty = False
                if only.state == "running":
                    return []
                only.state = "running"
                return [only]
            return self._read((only,))
        due = [each for each in threads.values() if each.dirty or each.state != "waiting"]
        if len(due) > MOST_READ:
            due = [each for each in due if each.state == "unknown"] or self._some(due, MOST_READ)
        elif ran:
            in_turn = _IN_TURN if span < _SELDOM_S else 1
            due += [each for each in self._some(threads.values(), in_turn) if each not in due]
        return self._read(due)

    def _some(self, threads: Iterable[Doing], count: int) -> list[Doing]:
        """The next ones of a round through all of `threads`."""
        wanted = {id(each) for each in threads}
        chosen: list[Doing] = []
        for _ in range(2):
            while self._turn and len(chosen) < count:
                each = self._turn.pop()
                if id(each) in wanted:
                    chosen.append(each)
                    wanted.discard(id(each))
            if len(chosen) == count:
                break
            self._turn = list(self.threads.values())
        return chosen

    def _read(self, due: Iterable[Doing]) -> list[Doing]:
        changed: list[Doing] = []
        for each in due:
            moved, each.dirty = each.dirty, False
            state = self._state(each)
            if state == "running" and each.state == "gil" and not (moved or each.holds):
                continue  # it is ready to take the GIL, and has not had it since it was seen to want it
            if state != each.state:
                each.state = state
                changed.append(each)
        return changed

    def _state(self, doing: Doing) -> State:
        try:
            if doing.fd < 0 and self._open < MOST_OPEN and States.all_open < _most_of_all():
                doing.fd = os.open(f"{doing.tid}/syscall", os.O_RDONLY, dir_fd=self._directory)
                self._open += 1
                States.all_open += 1
            if doing.fd >= 0:
                text = os.pread(doing.fd, 256, 0)
            else:
                text = read_small(f"{doing.tid}/syscall", 256, self._directory)
        except OSError as error:
            if not gone(error):
                self.refused = True
            return "unknown"
        if text.startswith(b"running"):
            doing.instruction = 0
            return "running"
        number, _, rest = text.partition(b" ")
        doing.instruction = int(text.rpartition(b" ")[2], 16)
        doing.futex = int(rest.partition(b" ")[0], 16) if number == _FUTEX else 0
        if doing.futex and self._in_gil(doing.futex):
            return "gil"
        return "waiting"

    def process_cpu_s(self) -> float:
        """CPU seconds of the whole process until now; those of the last call once it has ended."""
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return self._cpu_s

    def used_ns(self, doing: Doing) -> int:
        """CPU time of one thread since the last call; 0 at the first one, and once it has ended.

        The kernel brings the number of a running thread up to date at its own ticks, up to 10 ms ago (kernel/sched/fair.c, update_curr).
        """
        try:
            now = int(read_small(f"{doing.tid}/schedstat", 64, self._directory).split(None, 1)[0])
        except (OSError, IndexError, ValueError):
            return 0
        before, doing.cpu_ns = doing.cpu_ns, now
        return 0 if before is None else max(0, now - before)
