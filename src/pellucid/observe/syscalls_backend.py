"""Which tracer looks: the best one that is permitted here, and why not a better one.

bpf and perf see the calls without stopping anything and need privileges. seccomp and ptrace stop the program at its calls and need
none; they are taken for a launched command, which expects to be watched, and for a running process only when they are asked for.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from pellucid.kernel import access, bpf, bpf_access, bpf_task
from pellucid.kernel.syscalls import number
from pellucid.kernel.traced import Failure, Moved, Told, Total, Unfinished, Watch
from pellucid.model import Gap
from pellucid.model.errors import LookError, NotPermitted, UsageError
from pellucid.observe.syscalls_launch import Launched
from pellucid.observe.syscalls_processes import Follows

BACKENDS = ("bpf", "perf", "seccomp", "ptrace")

_NEVER_RETURN = "calls that never return (exit_group), or had begun before the look"
_URING = "what io_uring does in the kernel"
UNSEEN = {
    "bpf": (_NEVER_RETURN, _URING),
    "perf": (
        _NEVER_RETURN,
        _URING,
        "Python lines",
        "how a connect that went on in the background ended",
        "paths for certain: they are read up to 20 ms after the call",
    ),
    "seccomp": (_NEVER_RETURN, _URING),
    "ptrace": (_NEVER_RETURN, _URING),
}
_OFTEN = ("read", "write", "close", "futex", "poll", "lseek")


class Tracer(Follows, Protocol):
    """What every tracer can do; `kernel.bpf_trace` says what each of these is."""

    name: str

    def start(self) -> None: ...

    def poll(self, seconds: float) -> Iterator[Told]: ...

    def stop(self) -> Iterator[Told]: ...

    def totals(self) -> Iterator[Total]: ...

    def failures(self) -> dict[int, Failure]: ...

    def moved(self) -> dict[tuple[int, int], Moved]: ...

    def unfinished(self) -> Iterator[Unfinished]: ...

    def lost(self) -> dict[str, int]: ...

    def stopped(self) -> tuple[int, float]:
        """How often it stopped a thread, and for how many seconds in all."""


class OpenTracer(Tracer, AbstractContextManager["OpenTracer"], Protocol):
    """A tracer, closed at the end."""


class Backend(Struct, frozen=True):
    """A tracer that is ready. `gaps`: why it is not a better one."""

    tracer: OpenTracer
    unseen: tuple[str, ...]
    gaps: tuple[Gap, ...] = ()


class Refused(Exception):  # noqa: N818  answered by trying the next one
    """A tracer is not permitted, or can't work here; its text says why."""


def choose(
    watch: Watch,
    asked: str,
    *,
    pid: int | None = None,
    child: Launched | None = None,
    limited: bool = False,
    command: str = "syscalls",
) -> Backend:
    """The best permitted tracer for a running process or a launched command, or the one that was asked for.

    `limited`: the look may end before the launched command does. `command`: of ours, for the remedy. Raises NotPermitted, UsageError.
    """
    order = _order(child, limited=limited) if asked == "auto" else (asked,)
    gaps: list[Gap] = []
    why = ""
    for name in order:
        try:
            return Backend(_MAKERS[name](watch, child), _unseen(name, watch), tuple(gaps))
        except Refused as refused:
            why = str(refused)
            gaps.append(Gap(f"system calls by {name}", why, _remedy(pid, child, command)))
    raise _none(pid, child, gaps, command)


def _order(child: Launched | None, *, limited: bool) -> tuple[str, ...]:
    """A command under a filter can't outlive its tracer, so a look that may end before it takes none."""
    if child is None:
        return ("bpf", "perf")
    return ("bpf", "perf", "ptrace") if limited else ("bpf", "perf", "seccomp", "ptrace")


def _unseen(name: str, watch: Watch) -> tuple[str, ...]:
    if name != "seccomp":
        return UNSEEN[name]
    from pellucid.kernel.ptrace_filter import through

    passed = through(watch)
    often = ", ".join(call for call in _OFTEN if number(call) in passed)
    return (*UNSEEN[name], f"the calls that are made most often, which it lets through ({often}, ...)")


def _bpf(watch: Watch, _: Launched | None) -> OpenTracer:
    from pellucid.kernel.bpf_trace import BpfTracer, supported

    if not supported():
        raise Refused("its programs are written for x86-64 only")
    try:
        return BpfTracer(watch)
    except OSError as error:
        raise Refused(bpf_access.why_not(error)) from error
    except bpf.Refused as error:
        raise Refused(str(error)) from error
    except bpf_task.NotFound:
        raise Refused("the ids of a task were not found in the kernel's memory") from None


def _perf(watch: Watch, _: Launched | None) -> OpenTracer:
    from pellucid.kernel import perf_access

    lacks = perf_access.lacking()
    if lacks:
        raise Refused(lacks)
    from pellucid.kernel.perf_trace import PerfTracer, Unfit  # with numpy: not for who may not use it

    try:
        return PerfTracer(watch)
    except OSError as error:
        raise Refused(perf_access.why_not(error)) from error
    except Unfit as error:
        raise Refused(str(error)) from error


def _seccomp(watch: Watch, child: Launched | None) -> OpenTracer:
    from pellucid.kernel.ptrace_filter import through
    from pellucid.kernel.ptrace_trace import PtraceTracer

    if child is None:
        raise UsageError(
            tried="put a seccomp filter on a running process",
            said="only a process itself can do that, so it has to be launched",
            remedy="pellucid syscalls --backend seccomp -- CMD",
        )
    child.filter(through(watch))
    return PtraceTracer(watch, filtered=True, child=child.pid, reaped=child.reaped)


def _ptrace(watch: Watch, child: Launched | None) -> OpenTracer:
    from pellucid.kernel.ptrace_trace import PtraceTracer

    if child is None:
        return PtraceTracer(watch)
    child.leave_waiting()
    return PtraceTracer(watch, child=child.pid, reaped=child.reaped)


_MAKERS: dict[str, Callable[[Watch, Launched | None], OpenTracer]] = {
    "bpf": _bpf,
    "perf": _perf,
    "seccomp": _seccomp,
    "ptrace": _ptrace,
}


def _remedy(pid: int | None, child: Launched | None, command: str) -> str:
    return f"sudo pellucid {command} {f'-- {child.command[0]} ...' if child else pid}"


def _none(pid: int | None, child: Launched | None, gaps: list[Gap], command: str) -> LookError:
    said = "; ".join(f"{gap.what.rpartition(' ')[2]}: {gap.why}" for gap in gaps)
    what = f"pid {pid}" if child is None else child.command[0]
    remedy = _remedy(pid, child, command)
    if command == "syscalls" and pid is not None and access.may_read(pid) is None:
        remedy += ", or `--backend ptrace`, which stops it at each of its calls"
    return NotPermitted(
        pid or (child.pid if child else 0),
        tried=f"see the system calls of {what} without stopping it",
        said=said,
        remedy=remedy,
    )
