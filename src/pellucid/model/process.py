"""A process as the kernel knows it: who it is, since when, and what it may use."""

from msgspec import Struct


class Process(Struct, frozen=True):
    """The identity of one process.

    `started_at` is seconds since the epoch; `start_ticks` (field 22 of /proc/PID/stat, proc_pid_stat(5)) tells a
    recycled pid from the process that was meant. `state` is a word (`kernel.procfs.STATES`).
    """

    pid: int
    ppid: int
    name: str
    command: tuple[str, ...]
    state: str
    uid: int
    user: str
    started_at: float
    start_ticks: int
    threads: int
    exe: str | None = None
    runtime: str | None = None
    """`CPython 3.13.0`, once it was looked for and found."""


class Limit(Struct, frozen=True):
    """One line of /proc/PID/limits; None is unlimited."""

    name: str
    soft: int | None
    hard: int | None
    unit: str


class Identity(Struct, frozen=True):
    """All that `pellucid info` tells beside the process itself; None is "could not be read" and stands in the gaps."""

    cwd: str | None
    root: str | None
    groups: tuple[int, ...]
    limits: tuple[Limit, ...]
    cgroups: tuple[str, ...]
    namespaces: dict[str, str]
    ns_pids: tuple[int, ...]
    """Its pid in each pid namespace, outermost first (NSpid of /proc/PID/status)."""
    parents: tuple[Process, ...]
    children: tuple[Process, ...]
    tracer: int
    seccomp: int
    capabilities: int
    """CapEff as a bit mask, capabilities(7)."""
    cpu_s: float
    rss_bytes: int
    open_files: int | None


class Variable(Struct, frozen=True):
    """One environment variable; `now` and `start` are None where it did not exist, `redacted` where both are hidden."""

    name: str
    start: str | None
    now: str | None
    redacted: bool = False
    python: str | None = None
    """What os.environ of a Python program has, where `differs`: that is another value than `now`, or none."""
    differs: bool = False
