"""What `pellucid syscalls` tells: calls counted, failed and slow ones with the line that made them, files and connections."""

from msgspec import Struct, field

from pellucid.model.over_time import Opener
from pellucid.model.report import Report
from pellucid.model.thread import Frame


class LineShare(Struct, frozen=True):
    """What one Python line accounts for of a call. `frame` is the program's own line where there is one on the stack.

    `inner` is the innermost frame, where that is another: the line of the library that made the call.
    """

    frame: Frame
    calls: int
    errors: int
    total_s: float
    inner: Frame | None = None


class CallSummary(Struct, frozen=True):
    """All calls of one name. `waits`: it is a call that threads sleep in (poll, futex, wait4), so its time is no work.

    `lines` are the Python lines with the largest part of its time, the rest has no line: see `lined_calls`.
    """

    name: str
    calls: int
    errors: int
    total_s: float
    max_s: float
    lines: tuple[LineShare, ...] = ()
    lined_calls: int = 0
    """Of the calls, those whose Python line is known."""
    waits: bool = False


class FailedCall(Struct, frozen=True):
    """Equal failed calls: the same call, error, path and Python line. The rest is that of the first of them.

    `noise` says why this is no trouble (`import search`), "" where it may be. `stack` is innermost first.
    """

    name: str
    error: str
    path: str | None
    fd: int | None
    ret: int
    stack: tuple[Frame, ...]
    count: int
    pid: int
    tid: int
    program: str
    call: str
    """`openat(AT_FDCWD, "/etc/x", O_RDONLY)`."""
    what: str = ""
    """What `fd` is; the address of a connect."""
    line: Frame | None = None
    """The program's own line, the innermost frame where it has none on the stack; None without a stack."""
    noise: str = ""
    total_s: float = 0.0
    max_s: float = 0.0
    processes: int = 1
    """How many processes made such calls."""
    path_certain: bool = True
    """False where the path was read after the call, from memory that may have been something else by then."""


class SlowCall(Struct, frozen=True):
    """One call that took long. `error` is "" where it did not fail."""

    name: str
    error: str
    path: str | None
    fd: int | None
    ret: int
    duration_s: float
    ended_at: float
    stack: tuple[Frame, ...]
    pid: int
    tid: int
    program: str
    call: str
    what: str = ""
    line: Frame | None = None
    waits: bool = False


class FileUse(Struct, frozen=True):
    """What was done with one path. `place`: cache, config, temporary, library, python, device, kernel, log, or data.

    `change`: created, replaced (truncated), written, appended, deleted, created and deleted, renamed, or "" where it was only read.
    `mapped_bytes`: what was mapped into memory, whose reads and writes are no calls.
    """

    path: str
    place: str
    change: str
    opens: int = 0
    reads: int = 0
    read_bytes: int = 0
    writes: int = 0
    written_bytes: int = 0
    mapped_bytes: int = 0
    renamed_from: str | None = None
    executed: int = 0
    kind: str = "file"
    line: Frame | None = None
    pids: tuple[int, ...] = ()


class NetUse(Struct, frozen=True):
    """Connections to or from one address. `role`: connects, listens, accepts, sends. `protocol`: tcp, udp, unix, ..."""

    role: str
    protocol: str
    address: str
    count: int
    errors: dict[str, int]
    sent_bytes: int
    received_bytes: int
    line: Frame | None = None
    pids: tuple[int, ...] = ()


class UnfinishedCall(Struct, frozen=True):
    """A call that a thread was still in when the look ended."""

    name: str
    pid: int
    tid: int
    since_s: float
    path: str | None = None
    waits: bool = False


class Traced(Struct, frozen=True):
    """One process that was followed: `runtime` where its Python lines could be read."""

    pid: int
    ppid: int
    command: tuple[str, ...]
    runtime: str | None = None
    ended: bool = False


class SyscallsReport(Report, frozen=True, kw_only=True):
    """`lost` is how many records, calls or counts are missing: 0 means that the numbers are whole; `losses` says of what.

    `backend`: bpf, perf, seccomp or ptrace; `unseen`: what that one can't see, in words.
    """

    summary: tuple[CallSummary, ...]
    events: tuple[FailedCall, ...]
    lost: int
    backend: str
    seconds: float
    slow: tuple[SlowCall, ...] = ()
    slow_ms: float | None = None
    files: tuple[FileUse, ...] = ()
    network: tuple[NetUse, ...] = ()
    openers: tuple[Opener, ...] = ()
    """Who made the descriptors of `process`; only where that was asked for, by `why`."""
    unfinished: tuple[UnfinishedCall, ...] = ()
    processes: tuple[Traced, ...] = ()
    losses: dict[str, int] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    own_cpu_s: float = 0.0
    stops: int = 0
    stopped_s: float = 0.0
    """How often threads were stopped to look at them, and for how long in all: 0 where nothing was stopped."""
    exit_status: int | None = None
    """Of the launched command."""
