"""The system calls of a process or of a launched command, and of all their children, with the Python lines that make them.

A tracer (`kernel.bpf_trace`, or what is permitted instead) tells; `Processes` knows who and where, `Calls` and `Uses` keep what a
report needs. The loop between them comes every 20 ms: a tracer that wakes its reader for each call would cost the target more
than the call.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import access, decode_calls, procfs, tasks
from pellucid.kernel.priority import hurry
from pellucid.kernel.traced import Called, CodeTold, Executed, Exited, Forked, StackTold, Told, Watch
from pellucid.model import Gap, Process
from pellucid.model.errors import LookError, NotPermitted, UsageError
from pellucid.model.syscalls import SyscallsReport, UnfinishedCall
from pellucid.observe.syscalls_backend import Backend, Tracer, choose
from pellucid.observe.syscalls_calls import Calls
from pellucid.observe.syscalls_launch import Launched
from pellucid.observe.syscalls_openers import Openers
from pellucid.observe.syscalls_processes import Processes, lives
from pellucid.observe.syscalls_uses import Uses

POLL_S = 0.02
PTRACE_S = 5.0
"""For so long a running process is stopped at its calls, where nothing else was asked for."""
_GRACE_S = 2.0
"""After an interruption, for so long a launched command is waited for: Ctrl-C in a terminal reaches it too."""
_LEAST_PAUSE_S = 0.0005
_MOST_ASKED = 64
"""Processes whose threads are asked for what they are doing at the end."""


class Asked(Struct, frozen=True):
    """What the report is to tell. `seconds`: None for until the end, or an interruption. `backend`: one of `BACKENDS`, or auto.

    `every_line`: the lines of all calls, for the summary; else only of those that are told one by one. `family`: also the children that
    a running process has already. `openers`: which calls made the descriptors. `command`: the one that looks, for what an error tells to try.
    """

    seconds: float | None = None
    every_line: bool = True
    slow_ms: float | None = None
    files: bool = False
    network: bool = False
    openers: bool = False
    backend: str = "auto"
    family: bool = True
    command: str = "syscalls"

    def watch(self) -> Watch:
        tell = decode_calls.ALWAYS
        tell |= decode_calls.FILES if self.files else frozenset()
        tell |= decode_calls.NETWORK if self.network else frozenset()
        tell |= decode_calls.OPENS if self.openers else frozenset()
        descriptors = self.files or self.network
        return Watch(
            wanted=decode_calls.wanted(tell, descriptors=descriptors),
            slow_ns=None if self.slow_ms is None else round(self.slow_ms * 1e6),
            every_line=self.every_line,
            descriptors=descriptors,
        )


Stopped = Callable[[], bool]
"""Whether the person who asked has had enough (Ctrl-C)."""


def attached(pid: int, asked: Asked, stopped: Stopped = lambda: False) -> SyscallsReport:
    """The calls of `pid` and of its children, those that it has and those that it makes, for some time.

    Raises NoSuchProcess, and NotPermitted where nothing here may trace it.
    """
    process = procfs.process(pid)
    with ExitStack() as open_:
        backend = choose(asked.watch(), asked.backend, pid=pid, command=asked.command)
        tracer = open_.enter_context(backend.tracer)
        if tracer.name == "ptrace":
            asked = _within_limits(asked, pid)
        look = _Look(tracer, backend, asked)
        open_.callback(look.processes.close)
        for each, parent in _family(pid) if asked.family else [(pid, process.ppid)]:
            look.begin(each, parent)
        try:
            look.run(stopped, lambda: not lives(pid))
        except PermissionError as error:
            raise _refused(pid, error) from error
        return look.report(process)


def launched(
    command: tuple[str, ...], asked: Asked, stopped: Stopped = lambda: False, stdout: int = 1
) -> SyscallsReport:
    """The calls of `command`, started here, and of its children, until it ends. Raises UsageError, NotPermitted."""
    with ExitStack() as open_:
        child = open_.enter_context(Launched(command, stdout))
        backend = choose(asked.watch(), asked.backend, child=child, limited=asked.seconds is not None)
        tracer = open_.enter_context(backend.tracer)
        look = _Look(tracer, backend, asked)
        open_.callback(look.processes.close)
        look.begin(child.pid, os.getpid(), command)
        process = _process(child)
        look.run(_with_grace(stopped, child), child.ended, child.release)
        report = look.report(process)
        gaps = report.gaps
        if child.status is None:
            said = "it was still running when the look ended, and goes on"
            if tracer.name == "seccomp":
                said = "it was ended with the look: under a seccomp filter it can't go on without its tracer"
                child.end()
            gaps = (*gaps, Gap(f"the rest of {command[0]} (pid {child.pid})", said))
        return replace(report, exit_status=child.status, gaps=gaps)


def _within_limits(asked: Asked, pid: int) -> Asked:
    """Stopping a process at each call slows it so much that it is done for a few seconds only, unless asked for longer.

    Raises UsageError for a process that we run under: a stop of the terminal, or of the shell, would be one of ourselves.
    """
    if pid in _ancestors():
        raise UsageError(
            tried=f"stop pid {pid} at its system calls",
            said="pellucid runs under it, and would stop with it",
            remedy=f"sudo pellucid syscalls {pid} --backend bpf",
        )
    return asked if asked.seconds is not None else replace(asked, seconds=PTRACE_S)


def _ancestors() -> set[int]:
    parents = {pid: seen.ppid for pid, seen in procfs.all_stats()}
    found = {os.getpid()}
    pid = os.getppid()
    while pid and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return found


def _refused(pid: int, error: PermissionError) -> LookError:
    """Why ptrace said no: a process has one tracer, or it is one of the checks of every look."""
    tried = f"trace pid {pid} (ptrace)"
    tracer = procfs.status(pid).get("TracerPid", "0")
    if tracer != "0":
        said = f"EPERM: pid {tracer} traces it already, and a process can have only one tracer"
        remedy = f"sudo pellucid syscalls {pid} --backend bpf"
        return NotPermitted(pid, tried=tried, said=said, remedy=remedy, errno=error.errno or 0)
    return access.refused(pid, tried, error, "syscalls")


def _with_grace(stopped: Stopped, child: Launched) -> Stopped:
    """An interruption counts once the command has had the time to end by it."""
    since: list[float] = []

    def enough() -> bool:
        if not stopped():
            return False
        since.append(time.monotonic())
        return child.ended() or since[-1] - since[0] > _GRACE_S

    return enough


def _family(pid: int) -> Iterator[tuple[int, int]]:
    """(pid, parent) of the process and of all that descend from it now."""
    parents: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for each, seen in procfs.all_stats():
        parents[each] = seen.ppid
        children.setdefault(seen.ppid, []).append(each)
    waiting, done = [pid], set[int]()
    while waiting:
        each = waiting.pop()
        if each not in done and each != os.getpid():
            done.add(each)
            yield each, parents.get(each, 0)
            waiting += children.get(each, [])


def _process(child: Launched) -> Process:
    """Who the launched command is: the child that waits to become it, under the command's name."""
    seen = procfs.process(child.pid)
    return replace(
        seen, name=child.program.rpartition("/")[2][:15], command=child.command, exe=child.program, threads=1
    )


class _Look:
    """One look: from the first process to the report."""

    def __init__(self, tracer: Tracer, backend: Backend, asked: Asked) -> None:
        self.tracer = tracer
        self.backend = backend
        self.asked = asked
        self.processes = Processes(tracer)
        self.calls = Calls(self.processes, certain=tracer.name != "perf")
        self.openers = Openers(self.processes) if asked.openers else None
        self.uses = Uses(self.calls) if asked.files or asked.network else None
        self.gaps: list[Gap] = list(backend.gaps)
        self.began = self.ended = time.monotonic()
        self.cpu = time.process_time()

    def begin(self, pid: int, ppid: int, command: tuple[str, ...] | None = None) -> None:
        try:
            self.processes.begin(pid, ppid, command, waits=command is not None)
        except LookError:
            return  # a child that has ended meanwhile
        if self.uses is not None:
            self.uses.begin(pid)

    def run(self, stopped: Stopped, over: Callable[[], bool], release: Callable[[], None] = lambda: None) -> None:
        """Until it is over, or enough. `release` lets a launched command go, once calls are seen."""
        self.processes.look()
        hurry()
        self.tracer.start()
        self.began = time.monotonic()
        release()
        deadline = None if self.asked.seconds is None else self.began + self.asked.seconds
        while not over() and not stopped() and (deadline is None or time.monotonic() < deadline):
            for told in self.tracer.poll(self._pause(deadline)):
                self.take(told)
            self.processes.look()
        self.ended = time.monotonic()
        for told in self.tracer.stop():
            self.take(told)

    def _pause(self, deadline: float | None) -> float:
        pauses = [POLL_S]
        due = self.processes.pause()
        if due is not None:
            pauses.append(max(due, _LEAST_PAUSE_S))
        if deadline is not None:
            pauses.append(max(deadline - time.monotonic(), 0.0))
        return min(pauses)

    def take(self, told: Told) -> None:
        """One thing that was told, to all whom it concerns; the most frequent first."""
        if isinstance(told, StackTold):
            self.processes.stack(told)
        elif isinstance(told, Called):
            if self.uses is not None:
                self.uses.called(told)
            if self.openers is not None:
                self.openers.called(told)
            self.calls.called(told)
        elif isinstance(told, CodeTold):
            self.processes.code(told)
        elif isinstance(told, Forked):
            self.processes.forked(told)
            if self.uses is not None:
                self.uses.forked(told)
        elif isinstance(told, Executed):
            self.processes.executed(told)
        elif isinstance(told, Exited):
            self.processes.exited(told)

    def _unfinished(self) -> tuple[UnfinishedCall, ...]:
        """The calls that threads are in: those that were seen to begin, and, by /proc, those that had begun before."""
        found = list(self.calls.unfinished(self.tracer.unfinished()))
        seen = {call.tid for call in found}
        alive = [each.pid for each in self.processes.known.values() if not each.ended]
        for pid in alive[:_MOST_ASKED]:
            with suppress(LookError):  # it has ended
                found.extend(
                    self.calls.sleeping(pid, task.tid, task.call.name, task.asleep_s)
                    for task in tasks.tasks(pid, "syscalls")[0]
                    if task.tid not in seen and task.call and task.call.arguments and task.asleep_s is not None
                )
        return tuple(sorted(found, key=lambda call: -call.since_s))

    def report(self, process: Process) -> SyscallsReport:
        failures = self.tracer.failures()
        lost = dict(self.tracer.lost())
        if self.calls.dropped:
            lost["kept"] = self.calls.dropped
        untold = sum(failure.count for key, failure in failures.items() if not self.calls.has(key))
        if untold:
            lost["failed calls"] = untold
        if self.uses is not None:
            self.uses.rest(self.tracer.moved())
        return SyscallsReport(
            process=process,
            taken_at=time.time(),
            gaps=(*self.gaps, *self.processes.gaps(), *_lost(lost)),
            summary=self.calls.summary(self.tracer.totals()),
            events=self.calls.failed(failures),
            slow=self.calls.slow(),
            slow_ms=self.asked.slow_ms,
            files=self.uses.files() if self.uses is not None and self.asked.files else (),
            network=self.uses.network() if self.uses is not None and self.asked.network else (),
            openers=self.openers.of(process.pid) if self.openers is not None else (),
            unfinished=self._unfinished(),
            processes=self.processes.traced(),
            lost=sum(lost.values()),
            losses=lost,
            backend=self.tracer.name,
            unseen=self.backend.unseen,
            seconds=self.ended - self.began,
            own_cpu_s=time.process_time() - self.cpu,
            stops=self.tracer.stopped()[0],
            stopped_s=self.tracer.stopped()[1],
        )


def _lost(lost: dict[str, int]) -> Iterator[Gap]:
    for what, count in lost.items():
        why, remedy = _LOSSES.get(what, ("they found no room", ""))
        yield Gap(f"{count} {_LOST_WORDS.get(what, what)}", why, remedy)


_LOST_WORDS = {
    "records": "records of calls",
    "threads": "first calls of threads",
    "processes": "children",
    "totals": "calls in the counts",
    "failures": "failed calls in the counts",
    "stacks": "Python stacks",
    "codes": "Python code objects",
    "descriptors": "reads and writes in the byte counts",
    "skipped": "calls",
    "kept": "failed and slow calls in detail",
    "failed calls": "failed calls in detail",
}
_LOSSES = {
    "records": ("the ring was full: calls came faster than they were read", "a shorter look, or a smaller question"),
    "skipped": ("another call was being counted on the same CPU at that moment", ""),
    "kept": ("so many are kept at most", "-d SECONDS"),
}
