"""The control group whose memory limit a process shares with others."""

from msgspec import Struct


class MemoryGroup(Struct, frozen=True):
    """A memory cgroup (version 1 or 2) at one moment, in bytes. None where it has no such limit, or the file is not there.

    `path` is its name as the process knows it, `folder` where its files are seen from here.
    """

    path: str
    folder: str
    version: int
    current_bytes: int
    limit_bytes: int | None = None
    high_bytes: int | None = None
    """v2: above it its processes are slowed down and made to give back memory (memory.high)."""
    peak_bytes: int | None = None
    swap_bytes: int | None = None
    swap_limit_bytes: int | None = None
    anon_bytes: int | None = None
    file_bytes: int | None = None
    """Page cache, of which most can be taken back without harm."""
    shmem_bytes: int | None = None
    kernel_bytes: int | None = None
    hits: int = 0
    """How often the limit was reached (v2: `max` of memory.events; v1: memory.failcnt)."""
    ooms: int = 0
    """How often that could not be helped by taking back pages (`oom`; v1 does not tell it)."""
    kills: int = 0
    """Processes that the OOM killer ended here (`oom_kill`)."""
    stalled_percent: float | None = None
    """Share of the last 10 s in which some task here waited for memory (memory.pressure, `some avg10`)."""

    @property
    def fill(self) -> float | None:
        """0 to 1: how much of the limit is used, page cache included."""
        return self.current_bytes / self.limit_bytes if self.limit_bytes else None
