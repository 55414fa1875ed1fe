"""How a process died of memory, or may soon: what the kernel's log, the cgroup's counters and a message of the program say."""

from msgspec import Struct

from pellucid.model.cgroup import MemoryGroup
from pellucid.model.collector import Collector
from pellucid.model.finding import Finding
from pellucid.model.process import Limit, Process
from pellucid.model.report import Report


class Resident(Struct, frozen=True):
    """One line of the table that the OOM killer logs: who was in its reach, and how big."""

    pid: int
    name: str
    resident_bytes: int


class Kill(Struct, frozen=True):
    """One process that the kernel's OOM killer ended, as its log tells it. None where the log does not say.

    `cgroup` is the group whose limit was reached, "" when the whole machine was out of memory. `at` is the stamp of the line.
    """

    pid: int
    name: str
    at: str = ""
    cgroup: str = ""
    task_cgroup: str = ""
    anon_bytes: int | None = None
    file_bytes: int | None = None
    shmem_bytes: int | None = None
    limit_bytes: int | None = None
    invoked_by: str = ""
    """The process whose request found no memory: not always the one that was killed."""
    others: tuple[Resident, ...] = ()
    """The largest of the table, without the killed one."""
    whole_group: bool = False
    """Its whole cgroup was killed with it (memory.oom.group)."""
    lines: tuple[str, ...] = ()
    """Of the log, as they stood."""


class OomSeen(Struct, frozen=True):
    """All that the rules of `oom` judge: a text, a process, a cgroup, or what is there of them.

    `pid` is what was asked for, also when there is no such process any more; `process` the one that has it now.
    """

    text: str = ""
    pid: int | None = None
    process: Process | None = None
    kills: tuple[Kill, ...] = ()
    groups: tuple[MemoryGroup, ...] = ()
    """Its own first, then those above it."""
    members: tuple[Resident, ...] = ()
    """The largest processes that are in its own group now."""
    limits: tuple[Limit, ...] = ()
    virtual_bytes: int | None = None
    data_bytes: int | None = None
    resident_bytes: int | None = None
    oom_score: int | None = None
    """0 to 2000: the share of the memory in reach, in thousandths, moved by oom_score_adj (proc_pid_oom_score(5))."""
    oom_score_adj: int | None = None
    collector: Collector | None = None
    """Of a JVM."""
    log_read: bool = True
    """False where the kernel's log may not be read."""


class OomReport(Report, frozen=True, kw_only=True):
    """Findings about one death or danger; `kills` also those of the same cgroup that concern another process."""

    findings: tuple[Finding, ...]
    kills: tuple[Kill, ...]
    groups: tuple[MemoryGroup, ...]
