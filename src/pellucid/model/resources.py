"""What a process holds and uses up, beside its waits: descriptors, disks, locks, children, memory, CPUs."""

from msgspec import Struct

from pellucid.model.cgroup import MemoryGroup
from pellucid.model.file import FileGroup, FileLock, OpenFile
from pellucid.model.process import Process


class Disk(Struct, frozen=True):
    """A file system that the process has a file open on for writing (`path` is one of those).

    `free_bytes` and `free_inodes` are what this process may still use: root may use the reserve too. `inodes` is 0 where the file
    system makes them as it needs them.
    """

    path: str
    filesystem: str
    free_bytes: int
    total_bytes: int
    free_inodes: int
    inodes: int


class LockWait(Struct, frozen=True):
    """A descriptor on which a thread waits for a file lock, and the locks that are in its way."""

    fd: int
    path: str
    locks: tuple[FileLock, ...]


class SqliteLock(Struct, frozen=True):
    """Another process holds a write lock of SQLite on a database that this process has open; it held it at both looks."""

    path: str
    fd: int
    holder: Process
    what: str
    """reserved (it writes), pending (it waits for readers to end), exclusive, or wal-write."""


class UnservedPort(Struct, frozen=True):
    """A listening socket on which no thread waited at either look, and that is in no epoll set of the process.

    `holders`: the other processes that have the very same socket; at most 8. `closes_on_exec`: it would not have survived an exec here.
    """

    fd: int
    local: str
    closes_on_exec: bool
    holders: tuple[Process, ...] = ()


class Resources(Struct, frozen=True):
    """None, and empty tuples, where it was not asked or could not be read; what is counted twice was so at both looks."""

    open_files: int | None = None
    file_limit: int | None = None
    groups: tuple[FileGroup, ...] = ()
    """What the descriptors are, the most numerous first; only read when they are near their limit."""
    deleted: tuple[OpenFile, ...] = ()
    """Deleted files that it has open, the large ones: see `observe.resources`."""
    disks: tuple[Disk, ...] = ()
    locks: tuple[LockWait, ...] = ()
    sqlite: tuple[SqliteLock, ...] = ()
    unserved: tuple[UnservedPort, ...] = ()
    zombies: tuple[Process, ...] = ()
    """Children that had ended at both looks and were not collected; at most 16 of `zombie_count`."""
    zombie_count: int = 0
    parent: Process | None = None
    tracer: Process | None = None
    swapped_bytes: int = 0
    resident_bytes: int = 0
    major_faults: int = 0
    """Pages that had to be read from disk or swap between the looks."""
    running: int = 0
    """Threads that ran, or were ready to run, at both looks."""
    siblings_running: int = 0
    """Other processes of the same name that run now; only counted where `running` is more than one."""
    usable_cpus: float = 0.0
    """CPUs that it may use: its affinity, or less by the quota of its cgroup; 0 where it was not asked."""
    thread_variables: dict[str, str] = {}
    """OMP_NUM_THREADS and the like, as it was started."""
    memory_groups: tuple[MemoryGroup, ...] = ()
    """Its memory cgroup and those above it, its own first."""
