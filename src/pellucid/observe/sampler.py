"""Where the time goes: all threads of a process and its children, looked at many times a second from outside, without stopping them.

    each interval has one tick, at a random moment in it  →  every process: what has changed  →  runs of equal samples  →  a Profile

A tick at even times would meet a program that does something every 10 ms always at the same place. A tick that comes too late, since the
sampler had no CPU or the last one took too long, is left out and counted. Whoever calls this does nothing else meanwhile: the command
line gives its terminal to another process (`present.cli.progress`), for a write that blocks would stop the sampling too.
"""

import gc
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.kernel.clock import TICKS_PER_SECOND, exact_sleep
from pellucid.kernel.procfs import read_small
from pellucid.model import Process
from pellucid.model.errors import NoSuchProcess
from pellucid.model.profile import NO_STACK, Mode, Profile, Run, Taking
from pellucid.model.recorder import Recorder
from pellucid.observe.sampler_family import LOOK_S, Family
from pellucid.observe.sampler_native import NativeSampler, spread
from pellucid.observe.sampler_process import Program, Watched, command_line
from pellucid.runtimes.cpython.trie import EMPTY

LEAST_HZ, MOST_HZ = 1.0, 10_000.0
QUIET_S = 0.2
"""So long the process is left alone first, and how long it waits for CPUs is compared."""
_PROGRESS_S = 0.25
_LONGEST_SLEEP_S = 0.1
_NICE = -10
_EXACT_HZ = 500
"""Above it, sleeping 50 µs longer than asked, as the kernel may, is much of an interval."""
_MOST_THREADS = 64
_ENOUGH_NS = 10_000_000
"""CPU time below which waiting for CPUs is no measure."""


class Asked(Struct, frozen=True):
    """What is to be sampled. `seconds`: None until all have ended, or an interruption."""

    rate_hz: float = 100.0
    seconds: float | None = None
    mode: Mode = "wall"
    children: bool = True
    native: bool = False
    """Also the innermost function in machine code (`sampler_native`)."""

    @property
    def interval_ns(self) -> int:
        return round(1e9 / self.rate_hz)


class Progress(Struct, frozen=True):
    """How far it is."""

    elapsed_s: float
    taken: int
    missed: int
    processes: int
    threads: int


Stopped = Callable[[], bool]


def whom(pid: int) -> Process:
    """Who is to be sampled. Raises NoSuchProcess, also for a zombie."""
    process = procfs.process(pid)
    if process.state in {"zombie", "dead"}:
        raise NoSuchProcess(
            pid,
            tried=f"profile pid {pid}",
            said=f"pid {pid} ({process.name}) has ended: it is a zombie, which waits for its parent",
            remedy=f"pellucid why {pid}",
        )
    return process


def sample(
    process: Process,
    asked: Asked,
    stopped: Stopped = lambda: False,
    progress: Callable[[Progress], None] | None = None,
    release: Callable[[], None] | None = None,
) -> Profile:
    """Sample `process` and its children. `release` lets a launched command begin, once all is ready.

    Raises NoSuchProcess, NotPermitted or NotUnderstood where not even one process could be read.
    """
    return _Sampling(process, asked, stopped, progress).run(release)


class _Sampling:
    def __init__(
        self, process: Process, asked: Asked, stopped: Stopped, progress: Callable[[Progress], None] | None
    ) -> None:
        self.process = process
        self.asked = asked
        self.stopped = stopped
        self.progress = progress
        self.missed = self.unstable = 0
        self.native = NativeSampler(asked.interval_ns) if asked.native else None
        self.began_ns = 0
        self.launched = False
        self.machine_s = 0.0
        """CPU time that anybody used on this machine meanwhile."""
        self.before: tuple[int, int] | None = None
        self.while_: tuple[int, int] | None = None
        self.last_seen: tuple[int, int] | None = None

    def run(self, release: Callable[[], None] | None) -> Profile:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)  # a tick that waits for a CPU is one that is missed
        self.launched = release is not None
        if not self.launched:
            self._leave_alone()
        if self.asked.rate_hz > _EXACT_HZ:
            exact_sleep()
        cpu_s = time.process_time()
        family = Family(
            self.process.pid,
            self.asked.mode,
            self.asked.interval_ns,
            children=self.asked.children,
            not_yet=command_line(os.getpid()) if release else b"",
        )
        try:
            self._must_be_readable(family, launched=release is not None)
            if self.native is not None:
                for each in family.alive:
                    self.native.follow(each.pid)
            start = _delay(self.process.pid)
            if release is not None:
                release()
            began_at, began_ns = time.time(), time.monotonic_ns()
            self.began_ns = began_ns
            busy_s = _busy_s()
            with _without_collections():
                self._loop(family, began_ns)
            self.machine_s = _busy_s() - busy_s
            ended_ns = time.monotonic_ns()
            end = _delay(self.process.pid) or self.last_seen
            self.while_ = _difference(start, end)
            self._drain(family)
            for each in family.alive:
                each.end()
            self._must_be_readable(family, launched=release is not None)
            return self._profile(family, began_at, ended_ns - began_ns, time.process_time() - cpu_s)
        finally:
            family.close()
            if self.native is not None:
                self.native.close()

    def _must_be_readable(self, family: Family, *, launched: bool) -> None:
        """Raises what kept us from the process that was asked for, where no other can be read."""
        root = family.all[0] if family.all else None
        if launched or root is None or any(each.python_seen for each in family.all):
            return
        if root.refusal is not None:
            raise root.refusal

    def _leave_alone(self) -> None:
        """How long its threads wait for CPUs when nobody looks."""
        seconds = min(QUIET_S, (self.asked.seconds or QUIET_S) / 10)
        first = _delay(self.process.pid)
        time.sleep(seconds)
        self.before = _difference(first, _delay(self.process.pid))

    def _loop(self, family: Family, began_ns: int) -> None:
        interval = self.asked.interval_ns
        ends = None if self.asked.seconds is None else began_ns + round(self.asked.seconds * 1e9)
        clock, jitter = time.monotonic_ns, random.Random().random
        said = looked = began_ns
        number = 0
        while True:
            due = began_ns + int((number + jitter()) * interval)
            if ends is not None and due >= ends:
                self._rest(ends)
                return
            now = clock()
            if now - began_ns >= (number + 1) * interval:  # its interval is over
                late = (now - began_ns) // interval - number
                self.missed += late * max(1, len(family.reading))
                number += late
                continue
            if not self._sleep_until(due):
                return
            now = clock()
            for each in family.alive:
                each.tick(now - began_ns)
            number += 1
            if now - looked > (LOOK_S * 5e8 if family.settled else 0):
                looked = now
                for each in family.alive:
                    each.refresh(now - began_ns)
                self._drain(family)
                family.look()
                if family.over() or self.stopped():
                    return
            if now - said > _PROGRESS_S * 1e9:
                said = now
                self.last_seen = _delay(self.process.pid) or self.last_seen
                self._say(family, now - began_ns)

    def _drain(self, family: Family) -> None:
        if self.native is not None:
            for each in family.reading:
                for address in each.asleep_at():
                    self.native.meet(each.pid, address)
            self.native.drain()

    def _sleep_until(self, due: int) -> bool:
        """False when interrupted."""
        while (rest := due - time.monotonic_ns()) > 0:
            time.sleep(min(rest / 1e9, _LONGEST_SLEEP_S))
            if rest > _LONGEST_SLEEP_S * 1e9 and self.stopped():
                return False
        return True

    def _rest(self, ends: int) -> None:
        self._sleep_until(ends)

    def _say(self, family: Family, elapsed_ns: int) -> None:
        if self.progress is not None:
            reading = family.reading
            self.progress(
                Progress(
                    elapsed_s=elapsed_ns / 1e9,
                    taken=sum(each.ticks for each in family.all),
                    missed=self.missed,
                    processes=len(reading),
                    threads=sum(each.threads for each in reading),
                )
            )

    def _profile(self, family: Family, began_at: float, duration_ns: int, cpu_s: float) -> Profile:
        recorder = Recorder(self.asked.mode, _title(self.process), began_at, self.asked.interval_ns)
        for each in family.all:
            for number, program in enumerate(each.programs):
                self._record(recorder, each, number, program)
        slowdown, how = self._slowdown(cpu_s)
        taking = Taking(
            interval_ns=self.asked.interval_ns,
            asked=sum(each.asked for each in family.all) + self.missed,
            taken=sum(each.ticks for each in family.all),
            missed=self.missed,
            unstable=self.unstable,
            failed=sum(each.failed for each in family.all),
            cpu_s=cpu_s,
            wall_s=duration_ns / 1e9,
            slowdown=slowdown,
            slowdown_how=how,
        )
        runtimes = [program.sampled.python.name for program in family.all[0].programs] if family.all else []
        process = procfs.with_runtime(self.process, runtimes[0]) if runtimes else self.process
        return replace(
            recorder.profile(duration_ns, taking, (*family.gaps(), *(self.native.gaps() if self.native else ()))),
            process=process,
        )

    def _record(self, recorder: Recorder, watched: Watched, number: int, program: Program) -> None:
        """The runs of one program into the recorder, with numbers of stacks that all programs share."""
        trie = program.sampled.trie
        stacks: dict[int, int] = {EMPTY: NO_STACK}

        def stack(node: int) -> int:
            below = []
            while node not in stacks:
                below.append(node)
                node = trie.parent(node)
            found = stacks[node]
            for each in reversed(below):
                found = stacks[each] = recorder.child(found, trie.frame(each))
            return found

        for timeline in program.timelines:
            self.unstable += timeline.judge(program.sampled.judged)
            track = recorder.track(
                watched.pid,
                timeline.tid,
                timeline.name or f"thread {timeline.tid}",
                program.command,
                program.sampled.python.name,
                part=number,
            )
            inside = None if self.native is None else self.native.inside(watched.pid, timeline, self.began_ns)
            for run in range(len(timeline.samples)):
                state, moving = timeline.flag(run)
                at_ns, samples, weight = timeline.at_ns[run], timeline.samples[run], timeline.weights[run]
                outer = stack(timeline.nodes[run])
                if inside is None:
                    track.add(Run(at_ns, outer, samples, weight, state, moving))
                    continue
                for frame, part, heavy in spread(samples, weight, inside[run]):
                    whole = outer if frame is None else recorder.child(outer, frame)
                    track.add(Run(at_ns, whole, part, heavy, state, moving))
                    at_ns += part * timeline.interval_ns

    def _slowdown(self, cpu_s: float) -> tuple[float | None, str]:
        """By how much longer it took for want of a CPU.

        How much longer it waited for one than before is the most; and no more than its part of the CPU time that the sampler took from all
        who wanted it, for on a busy machine others come and go too.
        """
        if self.launched:
            return None, "not measured: there was no time before, to compare with"
        if self.before is None or self.while_ is None:
            return None, "not measured: its threads came and went"
        (ran, waited), (ran_while, waited_while) = self.before, self.while_
        if ran < _ENOUGH_NS or ran_while < _ENOUGH_NS:
            return None, "not measured: it used hardly any CPU"
        more = max(0.0, waited_while / ran_while - waited / ran)
        taken = cpu_s / max(self.machine_s, cpu_s)
        return 1 + min(more, taken), (
            f"its threads waited for a CPU {100 * waited_while / ran_while:.1f} % of their running time while they were sampled, "
            f"{100 * waited / ran:.1f} % in {self.quiet_s():.2f} s before; the sampler took {100 * taken:.1f} % of the CPU time that was used"
        )

    def quiet_s(self) -> float:
        return min(QUIET_S, (self.asked.seconds or QUIET_S) / 10)


@contextmanager
def _without_collections() -> Iterator[None]:
    """A search for cycles through a million runs would take longer than many ticks, and a sampler makes none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _title(process: Process) -> str:
    return " ".join(process.command) or process.name


def _delay(pid: int) -> tuple[int, int] | None:
    """(nanoseconds on a CPU, ready and waiting for one) of its threads until now (sched/stats in Documentation/scheduler/sched-stats.rst)."""
    try:
        tids = os.listdir(f"/proc/{pid}/task")[:_MOST_THREADS]
    except OSError:
        return None
    ran = waited = 0
    for tid in tids:
        try:
            fields = read_small(f"/proc/{pid}/task/{tid}/schedstat", 64).split()
            ran, waited = ran + int(fields[0]), waited + int(fields[1])
        except (OSError, IndexError, ValueError):
            continue  # it ended, or there is no CONFIG_SCHED_INFO
    return ran, waited


def _busy_s() -> float:
    """CPU seconds that were used on this machine since it started (proc_stat(5)): all but idle and waiting for a disk."""
    fields = [int(field) for field in read_small("/proc/stat", 512).split(b"\n")[0].split()[1:9]]
    return (sum(fields) - sum(fields[3:5])) / TICKS_PER_SECOND


def _difference(one: tuple[int, int] | None, two: tuple[int, int] | None) -> tuple[int, int] | None:
    if one is None or two is None or two[0] < one[0] or two[1] < one[1]:
        return None
    return two[0] - one[0], two[1] - one[1]
