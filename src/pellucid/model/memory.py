"""The memory of a process: where its bytes are, what moves over time, and the group whose limit it shares."""

from msgspec import Struct

from pellucid.model.cgroup import MemoryGroup
from pellucid.model.finding import Finding
from pellucid.model.gap import Gap
from pellucid.model.process import Limit, Process
from pellucid.model.report import Report


class Part(Struct, frozen=True):
    """One row of the table of where the bytes are. `kind` is a name for programs, `what` for people.

    `anonymous`: it is part of RssAnon, of which all such parts are the whole.
    """

    kind: str
    what: str
    resident_bytes: int
    anonymous: bool = True
    count: int | None = None
    detail: str = ""


class SizeClass(Struct, frozen=True):
    """Blocks of malloc of one size (with its head of 16 bytes) that are in use and of which no Python object is known."""

    size: int
    count: int

    @property
    def bytes(self) -> int:
        return self.size * self.count


class LargeBlock(Struct, frozen=True):
    """The largest single block that is in use: `what` it holds, as far as that can be said."""

    what: str
    bytes: int


class MemoryMap(Struct, frozen=True):
    """Where the bytes of one process are, at one moment. `cost_s` is what it took to find out.

    `known_bytes` are those that Python objects are known for: small blocks in use, large objects and tables, NumPy buffers. `pool_bytes`
    are the pools of CPython's allocator, of which `pool_used_bytes` are in use; `malloc_used_bytes` and `malloc_free_bytes` are the
    chunks of the C library's, numbers without a meaning where `walked` is less than 1.
    """

    parts: tuple[Part, ...]
    rss_anon_bytes: int
    known_bytes: int
    pool_bytes: int = 0
    pool_used_bytes: int = 0
    pool_blocks: int = 0
    malloc_used_bytes: int = 0
    malloc_free_bytes: int = 0
    native_bytes: int = 0
    """Blocks of malloc in use that no Python object is known for."""
    array_bytes: int = 0
    arrays: int = 0
    arenas: int = 0
    """Of malloc: the main one and those of threads."""
    walked: float = 1.0
    """0 to 1: how much of malloc's heaps could be walked."""
    sizes: tuple[SizeClass, ...] = ()
    largest: LargeBlock | None = None
    pss_anon_bytes: int | None = None
    """Its part of its own anonymous pages, those shared since a fork counted by halves, thirds, ... (Pss_Anon of smaps_rollup)."""
    allocator: str = ""
    """`glibc`, or the name of another library that replaces malloc, which can't be walked."""
    cost_s: float = 0.0

    def part(self, kind: str) -> int:
        """Resident bytes of that kind."""
        return sum(part.resident_bytes for part in self.parts if part.kind == kind)


class MemorySample(Struct, frozen=True):
    """The counters of one moment, `at_s` seconds after the first sample. None where it was not asked or could not be read.

    Faults, collections and CPU seconds count since the process began.
    """

    at_s: float
    rss_anon_bytes: int
    rss_file_bytes: int
    rss_shmem_bytes: int
    swap_bytes: int
    virtual_bytes: int
    minor_faults: int
    major_faults: int
    cpu_s: float
    threads: int
    descriptors: int | None = None
    mappings: int | None = None
    collections: tuple[int, ...] = ()
    """Of Python's collector, one number a generation, the youngest first."""
    collecting: bool | None = None
    known_bytes: int | None = None
    native_bytes: int | None = None
    free_bytes: int | None = None
    """Kept by the allocators and not in use: free blocks of pools, free chunks of malloc."""
    array_bytes: int | None = None
    modules: int | None = None
    """len(sys.modules) of Python's main interpreter."""


class Trend(Struct, frozen=True):
    """A straight line through one number over time: `per_s` ± `error_per_s` (one standard error), from `first` to `last`.

    `levelled`: hardly any of the growth is in the second half, so that the line does not tell what comes.
    """

    name: str
    per_s: float
    error_per_s: float
    first: float
    last: float
    samples: int
    span_s: float
    levelled: bool = False

    @property
    def grown(self) -> float:
        return self.last - self.first


class ChildMemory(Struct, frozen=True):
    """A descendant process. `pss_bytes` counts a page that several processes share in parts, so that sums are true (proc_pid_smaps(5))."""

    pid: int
    name: str
    rss_anon_bytes: int
    rss_bytes: int
    pss_bytes: int | None


class MemorySeen(Struct, frozen=True):
    """All that the rules of memory judge: samples over time, the table at the first and the last moment, the group, the children."""

    process: Process
    samples: tuple[MemorySample, ...]
    first: MemoryMap | None
    last: MemoryMap | None
    trends: tuple[Trend, ...] = ()
    groups: tuple[MemoryGroup, ...] = ()
    children: tuple[ChildMemory, ...] = ()
    limits: tuple[Limit, ...] = ()
    machine_stalled_percent: float | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def span_s(self) -> float:
        return self.samples[-1].at_s if self.samples else 0.0

    def trend(self, name: str) -> Trend | None:
        return next((trend for trend in self.trends if trend.name == name), None)


class MemoryReport(Report, frozen=True, kw_only=True):
    """`category` is the rule of the first finding: heap-leak, native-leak, fragmentation, resource-limit, swapping, page-faults, gc-churn,
    page-cache, shared-memory, descriptor-leak, thread-leak, mapping-leak, giant-object, growing or steady.
    """

    category: str
    known_bytes: int
    rss_anon_bytes: int
    findings: tuple[Finding, ...]
    table: MemoryMap | None
    before: MemoryMap | None
    """The table at the first moment."""
    trends: tuple[Trend, ...]
    samples: tuple[MemorySample, ...]
    groups: tuple[MemoryGroup, ...]
    children: tuple[ChildMemory, ...]
