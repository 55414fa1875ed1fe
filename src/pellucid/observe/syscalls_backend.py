"""Which tracer looks: the best one that the kernel permits here, and why not a better one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from pellucid.kernel.traced import Failure, Moved, Told, Total, Unfinished, Watch
from pellucid.model import Gap
from pellucid.observe.syscalls_launch import Launched
from pellucid.observe.syscalls_processes import Follows

BACKENDS = ("bpf", "perf", "seccomp", "ptrace")


class Tracer(Follows, Protocol):
    """What every tracer can do; `kernel.bpf_trace` says what each of these is."""

    @property
    def name(self) -> str: ...

    def start(self) -> None: ...

    def poll(self, seconds: float) -> Iterator[Told]: ...

    def stop(self) -> Iterator[Told]: ...

    def totals(self) -> Iterator[Total]: ...

    def failures(self) -> dict[int, Failure]: ...

    def moved(self) -> dict[tuple[int, int], Moved]: ...

    def unfinished(self) -> Iterator[Unfinished]: ...

    def lost(self) -> dict[str, int]: ...

    def close(self) -> None: ...


class Backend(Struct, frozen=True):
    """A tracer that is ready. `unseen`: what it can't see; `gaps`: why it is not a better one."""

    tracer: "TracerContext"
    unseen: tuple[str, ...]
    gaps: tuple[Gap, ...] = ()


class TracerContext(Tracer, AbstractContextManager["TracerContext"], Protocol):
    """A tracer is closed at the end."""


def choose(watch: Watch, backend: str, *, pid: int | None = None, child: Launched | None = None) -> Backend:
    """The best permitted tracer, or the one that was asked for. Raises NotPermitted."""
    from pellucid.kernel.bpf_trace import BpfTracer

    return Backend(
        BpfTracer(watch), ("what io_uring does in the kernel", "exit_group and other calls that never return")
    )
