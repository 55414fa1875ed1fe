"""What a process and its children print, copied while they print it; nothing is redirected and nothing stopped.

Where stdout and stderr of the process lead when the look begins, that is what is copied, whoever of the family writes there and by
whatever descriptor. A child whose output goes elsewhere (a pipeline, `echo x > file`) writes to another file, and is not copied.
When the process itself gets another stdout for good (a log file that is rotated by dup2), that is noticed and copied from then on.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from select import POLLIN, poll
from types import TracebackType
from typing import Protocol, Self

from pellucid.kernel import bpf, bpf_access, bpf_files, bpf_task, procfs
from pellucid.kernel.bpf_output import STDERR, STDOUT, OutputTracer, Written
from pellucid.kernel.priority import hurry
from pellucid.model import Gap
from pellucid.model.errors import LookError, NotPermitted, UsageError
from pellucid.model.output import OutputReport

POLL_S = 0.02
"""A program that woke us at each line would cost the target several µs a line."""
CHECK_S = 0.25
BACKENDS = ("bpf", "ptrace")
STREAMS = {STDOUT: "stdout", STDERR: "stderr"}

Sink = Callable[[Written], None]

_WHY_LOST = {
    "ring": "bytes were written faster than they could be taken over",
    "memory": "bytes were no longer in the writer's memory when its call ended",
    "long": "bytes stood at the end of single writes of more than 8 MiB",
    "spliced": "bytes went from file to file inside of the kernel (sendfile, splice, copy_file_range)",
    "messages": "calls of sendmmsg were not read",
    "skipped": "calls ended while another one was being copied on the same CPU",
}
_COUNT_BYTES = ("ring", "memory", "long", "spliced")


class Tracer(Protocol):
    """What sees the writes: `_Bpf` or `_Ptrace`."""

    name: str
    pause_s: float
    """How long it may be left alone."""

    def want(self, pid: int, links: dict[int, str]) -> None: ...

    def follow(self, pid: int) -> None: ...

    def start(self, *, children: bool) -> None: ...

    def records(self) -> Iterator[Written]: ...

    def stop(self) -> None: ...

    def lost(self) -> dict[str, int]: ...

    def close(self) -> None: ...


def output(
    pid: int,
    sink: Sink,
    *,
    children: bool = True,
    seconds: float | None = None,
    backend: str = "bpf",
    drained: Callable[[], None] = lambda: None,
    stopped: Callable[[], bool] = lambda: False,
) -> OutputReport:
    """Give everything that is written to `sink`, until the process ends, `seconds` are over, or `stopped`.

    What comes at once is given in a row, and then `drained` is called, 50 times a second: the moment to write it down. `stopped` is
    asked as often. (An exception for Ctrl-C could come amid a piece, which would then be there twice or not at all.)

    NoSuchProcess; NotPermitted where the kernel lets us load no BPF program or take over no descriptor; UsageError for a process
    without stdout and stderr. Only what was written after the call counts.
    """
    process = procfs.process(pid)
    links = _links(pid)
    if not links:
        said = "it has neither stdout nor stderr open"
        raise UsageError(tried=f"copy the output of pid {pid}", said=said, remedy=f"pellucid files {pid}")
    tracer = _bpf(pid) if backend == "bpf" else _ptrace(pid)
    with closing(tracer), _Capture(pid, tracer, sink, drained, links) as capture:
        began = time.monotonic()
        tracer.follow(pid)
        if backend == "ptrace" and children:
            _follow_family(pid, tracer)  # it seizes those that it knows
        hurry()  # the ring holds what is written in a third of a second, at 50 MB a second
        tracer.start(children=children)
        if backend == "bpf" and children:
            _follow_family(pid, tracer)
        ended = capture.run(None if seconds is None else began + seconds, stopped)
        span = time.monotonic() - began
        tracer.stop()
        capture.drain()
        lost = tracer.lost()
    return OutputReport(
        process=process,
        taken_at=time.time(),
        gaps=(*capture.gaps, *_lost_gaps(lost)),
        printed=(),
        bytes={name: capture.bytes.get(stream, 0) for stream, name in STREAMS.items()},
        lost_bytes=sum(lost.get(name, 0) for name in _COUNT_BYTES),
        span_s=span,
        backend=backend,
        ended=ended,
    )


def _lost_gaps(lost: dict[str, int]) -> tuple[Gap, ...]:
    return tuple(
        Gap(f"{count} {'bytes' if name in _COUNT_BYTES else 'calls'} of output", _WHY_LOST[name])
        for name, count in lost.items()
    )


def _links(pid: int) -> dict[int, str]:
    """Where descriptors 1 and 2 lead. Raises NoSuchProcess and NotPermitted."""
    found: dict[int, str] = {}
    for fd in STREAMS:
        try:
            found[fd] = os.readlink(f"/proc/{pid}/fd/{fd}").removesuffix(" (deleted)")
        except FileNotFoundError:
            procfs.stat(pid)  # raises NoSuchProcess where it is the process that is not there
        except OSError as error:
            raise procfs.failed(pid, f"look where the output of pid {pid} goes", error, "output") from error
    return found


class _Bpf(OutputTracer):
    name = "bpf"
    pause_s = POLL_S

    def want(self, pid: int, links: dict[int, str]) -> None:
        try:
            found = bpf_files.identities(pid, tuple(links), self.layout)
        except OSError as error:
            raise procfs.failed(pid, f"take over the output of pid {pid}", error, "output") from error
        for fd, file in found.items():
            self.want_file(file, fd)


def _bpf(pid: int) -> Tracer:
    tried = f"copy the output of pid {pid}"
    try:
        return _Bpf()
    except OSError as error:
        said = f"BPF programs can't be loaded: {bpf_access.why_not(error)}"
        remedy = f"sudo pellucid output {pid}, or `--backend ptrace`, which stops it at each of its calls"
        raise NotPermitted(pid, tried=tried, said=said, remedy=remedy, errno=error.errno or 0) from error
    except (bpf.Refused, bpf_files.NotFound, bpf_task.NotFound) as error:
        said = (
            f"this kernel ({os.uname().release}) is not as the BPF program expects it: {error or type(error).__name__}"
        )
        raise NotPermitted(pid, tried=tried, said=said, remedy=f"pellucid output {pid} --backend ptrace") from error


def _ptrace(pid: int) -> Tracer:
    from pellucid.kernel.ptrace_output import PtraceOutput

    class _Ptrace:
        """Everything of it happens in `records`, while its processes stand still."""

        name = "ptrace"
        pause_s = 0.0

        def __init__(self) -> None:
            self._tracer = PtraceOutput()
            self.follow, self.records, self.lost = self._tracer.follow, self._tracer.records, self._tracer.lost
            self.close = self._tracer.close

        def want(self, _pid: int, links: dict[int, str]) -> None:
            self._tracer.want(links)

        def start(self, *, children: bool) -> None:
            try:
                self._tracer.seize(children=children)
            except OSError as error:
                raise procfs.failed(pid, f"trace pid {pid}", error, "output") from error

        def stop(self) -> None:
            for _ in self._tracer.stop():
                continue

    return _Ptrace()


def _follow_family(pid: int, tracer: "Tracer") -> None:
    """The children that are there; those that come are followed by the kernel. A second pass for what came in between. Never ourselves."""
    for _ in range(2):
        waiting = [pid]
        seen = {pid, os.getpid()}
        while waiting:
            for child in procfs.children(waiting.pop()):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
                    tracer.follow(child)


class _Capture:
    """From the ring to the sink."""

    def __init__(
        self, pid: int, tracer: "Tracer", sink: Sink, drained: Callable[[], None], links: dict[int, str]
    ) -> None:
        self.pid = pid
        self.tracer = tracer
        self.sink = sink
        self.drained = drained
        self.gaps: list[Gap] = []
        self.bytes: dict[int, int] = {}
        self._links = links
        self._changed: dict[int, str] | None = None
        self._pidfd = os.pidfd_open(pid)
        try:
            tracer.want(pid, links)
        except BaseException:
            os.close(self._pidfd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._pidfd)

    def run(self, deadline: float | None, stopped: Callable[[], bool]) -> str:
        waiting = poll()
        waiting.register(self._pidfd, POLLIN)
        check = time.monotonic() + CHECK_S
        while True:
            over = bool(waiting.poll(self.tracer.pause_s * 1000))
            self.drain()
            now = time.monotonic()
            if over:
                return "the process ended"
            if deadline is not None and now >= deadline:
                return "the time is over"
            if stopped():
                return "interrupted"
            if now >= check:
                check = now + CHECK_S
                self._look_again()

    def drain(self) -> None:
        sink, count = self.sink, self.bytes
        for written in self.tracer.records():
            count[written.stream] = count.get(written.stream, 0) + len(written.content)
            sink(written)
        self.drained()

    def _look_again(self) -> None:
        """A shell's `echo x > file` changes its stdout for a moment; what is the same at two checks is there to stay."""
        try:
            now = _links(self.pid)
        except LookError:  # it ended, which its pidfd tells, or became another user
            return
        if now == self._links:
            self._changed = None
        elif now == self._changed:
            self._links, self._changed = now, None
            self.tracer.want(self.pid, now)
            where = ", ".join(f"{STREAMS[fd]} to {link}" for fd, link in now.items())
            why = f"it was redirected ({where}); up to {2 * CHECK_S:g} s passed until that was noticed"
            self.gaps.append(Gap(f"the first output of pid {self.pid} to its new place", why))
        else:
            self._changed = now
