"""What a process holds and uses up, for the rules of `why`: a few small files of /proc at each of the two looks.

Costly questions are asked only where a cheap one gives a reason: the kinds of descriptors when they are near their limit, the
other processes of the machine when several threads here want a CPU, the mounts when a file is open for writing.
"""

import os
from stat import S_ISREG

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import fds, filelocks, procfs
from pellucid.kernel.cgroups import cpu_quota, memory_groups
from pellucid.kernel.filelocks import Locked
from pellucid.model import (
    Disk,
    FileGroup,
    Gap,
    LockWait,
    OpenFile,
    Process,
    Resources,
    Socket,
    SqliteLock,
    Thread,
    redact,
)
from pellucid.model.errors import LookError, os_words
from pellucid.observe import locks as file_locks
from pellucid.observe.leaks import grouped, limit
from pellucid.observe.stacks import Look
from pellucid.observe.unserved import unserved

NEAR_LIMIT = 0.8
LARGE_BYTES, LARGE_SHARE = 100 << 20, 0.01
"""A deleted file is told from so many bytes on disk on, or from such a share of its file system."""

MAX_LINKS = 1 << 14
_MAX_WRITTEN = 32
_MAX_DELETED = 64
_MAX_ZOMBIES = 16
_MAX_CHILDREN = 512
_MAX_THREADS = 512
_MAX_MOUNTS = 1 << 24
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
_VIRTUAL = ("/dev/", "/proc/", "/sys/", "/memfd:", "/dev/shm/", "/SYSV")

# Where SQLite locks bytes of a database (os.h: PENDING_BYTE) and of its -shm file (wal.c: WAL_WRITE_LOCK), SQLite 3.46.
_PENDING, _RESERVED, _SHARED, _SHARED_SIZE, _WAL_WRITE = 0x40000000, 0x40000001, 0x40000002, 510, 120


class Uses:
    """Made at the first look, asked at the second."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._gaps: list[Gap] = []
        self._zombies = frozenset(_ended_children(pid))
        self._faults = _major_faults(pid)
        self._sqlite = frozenset(_sqlite_locks(pid))

    def locks(self, threads: tuple[Thread, ...]) -> tuple[LockWait, ...]:
        """What is in the way of the threads that wait for a file lock."""
        found: dict[int, LockWait] = {}
        for thread in threads:
            wait = thread.wait
            if wait is None or wait.kind != "file-lock" or not wait.watched or wait.watched[0].fd in found:
                continue
            one = wait.watched[0]
            try:
                found[one.fd] = LockWait(one.fd, one.what, file_locks.blocking(self.pid, one.fd, wait.call))
            except OSError as error:
                self._gaps.append(Gap(f"who holds the lock on {one.what}", os_words(error)))
        return tuple(found.values())

    def resources(
        self,
        look: Look,
        threads: tuple[Thread, ...],
        earlier: tuple[Thread, ...],
        waits: tuple[LockWait, ...],
        sockets: tuple[Socket, ...],
    ) -> Resources:
        """All of it; what could not be read is left at its default and told by the gaps of `look`."""
        process = look.process
        if process.state == "zombie":
            return Resources(parent=_if_there(process.ppid))
        try:
            status = procfs.status(self.pid)
        except LookError:
            return Resources()
        opened = self._opened()
        zombies = tuple(sorted(self._zombies & set(_ended_children(self.pid)))) if self._zombies else ()
        running = _ran_at_both(threads, earlier)
        found = Resources(
            open_files=opened.count if opened else None,
            file_limit=opened.limit if opened else None,
            groups=self._groups(opened) if opened else (),
            deleted=self._deleted(opened) if opened else (),
            disks=self._disks(opened, process.uid) if opened else (),
            locks=waits,
            sqlite=self._sqlite_waits(opened) if opened and self._sqlite else (),
            unserved=unserved(self.pid, sockets, (*threads, *earlier), opened.links) if opened else (),
            zombies=tuple(one for pid in zombies[:_MAX_ZOMBIES] if (one := _if_there(pid)) is not None),
            zombie_count=len(zombies),
            parent=_if_there(process.ppid),
            tracer=_if_there(int(status.get("TracerPid", "0"))),
            swapped_bytes=_kib(status.get("VmSwap")),
            resident_bytes=_kib(status.get("VmRSS")),
            major_faults=max(0, _major_faults(self.pid) - self._faults),
            running=running,
            siblings_running=_siblings_running(process) if running > 1 else 0,
            usable_cpus=_usable_cpus(self.pid) if running > 1 else 0.0,
            thread_variables=_thread_variables(self.pid) if running > 1 else {},
            memory_groups=memory_groups(self.pid),
        )
        look.gaps += self._gaps
        return found

    def _opened(self) -> "_Opened | None":
        """The links of its descriptors: one readlink each."""
        links: dict[int, str] = {}
        try:
            directory = os.open(f"/proc/{self.pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if not procfs.gone(error):
                refused = procfs.failed(self.pid, f"list the descriptors of pid {self.pid}", error)
                self._gaps.append(Gap(f"the descriptors of pid {self.pid}", refused.said, refused.remedy))
            return None
        try:
            numbers = os.listdir(directory)
            for name in numbers[:MAX_LINKS]:
                try:
                    links[int(name)] = os.readlink(name, dir_fd=directory)
                except FileNotFoundError:  # closed meanwhile
                    continue
        except OSError as error:
            if not procfs.gone(error):
                raise procfs.failed(self.pid, f"list the descriptors of pid {self.pid}", error) from error
            return None
        finally:
            os.close(directory)
        if len(numbers) > MAX_LINKS:
            why = f"at most {MAX_LINKS} are looked at"
            self._gaps.append(Gap(f"{len(numbers) - MAX_LINKS} of {len(numbers)} descriptors of pid {self.pid}", why))
        return _Opened(len(numbers), limit(self.pid), links)

    def _groups(self, opened: "_Opened") -> tuple[FileGroup, ...]:
        if opened.limit is None or opened.count < NEAR_LIMIT * opened.limit:
            return ()
        from pellucid.observe.files import with_sockets

        try:
            files, _ = with_sockets(self.pid, fds.open_files(self.pid)[0])
        except LookError:
            return ()
        return grouped(files)[:5]

    def _deleted(self, opened: "_Opened") -> tuple[OpenFile, ...]:
        """Each once, by its allocated size; `fds` never asks a remote file system for it."""
        gone = [
            fd for fd, link in opened.links.items() if link.endswith(" (deleted)") and not link.startswith(_VIRTUAL)
        ]
        found: dict[tuple[str | None, int | None], OpenFile] = {}
        for fd in gone[:_MAX_DELETED]:
            file = fds.open_file(self.pid, fd)
            if isinstance(file, OpenFile) and file.deleted and file.allocated and _large(self.pid, fd, file.allocated):
                found.setdefault((file.device, file.inode), file)
        return tuple(sorted(found.values(), key=lambda file: -(file.allocated or 0)))

    def _disks(self, opened: "_Opened", uid: int) -> tuple[Disk, ...]:
        """File systems of this host on which a regular file is open for writing, each once."""
        found: dict[int, Disk] = {}
        tables: dict[int, fds.Mount] | None = None
        written = (fd for fd, link in opened.links.items() if link.startswith("/") and not link.startswith(_VIRTUAL))
        for fd, _ in zip(written, range(4 * _MAX_WRITTEN), strict=False):
            try:
                told = procfs.parse_status(procfs.read_small(f"/proc/{self.pid}/fdinfo/{fd}", 4096))
                number = int(told["mnt_id"])
                if not int(told["flags"], 8) & 3 or number in found:
                    continue
                tables = _mounts(self.pid) if tables is None else tables
                mount = tables.get(number)
                if mount is None or mount.remote:  # statvfs would ask its server
                    continue
                if not S_ISREG(os.stat(f"/proc/{self.pid}/fd/{fd}").st_mode):
                    continue
                room = os.statvfs(f"/proc/{self.pid}/fd/{fd}")
            except OSError:  # closed meanwhile
                continue
            if not room.f_blocks:
                continue
            free, inodes = (room.f_bfree, room.f_ffree) if uid == 0 else (room.f_bavail, room.f_favail)
            path = opened.links[fd].removesuffix(" (deleted)")
            total = room.f_blocks * room.f_frsize
            found[number] = Disk(path, mount.filesystem, free * room.f_frsize, total, inodes, room.f_files)
            if len(found) >= _MAX_WRITTEN:
                break
        return tuple(found.values())

    def _sqlite_waits(self, opened: "_Opened") -> tuple[SqliteLock, ...]:
        """Databases that it has open and that another process has locked at both looks."""
        still = {_sqlite_key(lock): lock for lock in self._sqlite & frozenset(_sqlite_locks(self.pid))}
        found: list[SqliteLock] = []
        for fd, link in opened.links.items():
            if not still or not link.startswith("/") or link.startswith(_VIRTUAL[:3]):
                continue
            try:
                key, _ = file_locks.identity(self.pid, fd)
            except OSError:  # closed meanwhile
                continue
            lock = still.pop(key, None)
            holder = _if_there(lock.pid) if lock is not None else None
            what = _sqlite_what(lock, link) if lock is not None else None
            if holder is not None and what is not None:
                found.append(SqliteLock(link.removesuffix("-shm"), fd, holder, what))
        return tuple(found)


class _Opened(Struct, frozen=True):
    count: int
    limit: int | None
    links: dict[int, str]


def _large(pid: int, fd: int, allocated: int) -> bool:
    if allocated >= LARGE_BYTES:
        return True
    try:
        room = os.statvfs(f"/proc/{pid}/fd/{fd}")  # of this host: `allocated` is known
    except OSError:
        return False
    return bool(room.f_blocks) and allocated >= LARGE_SHARE * room.f_blocks * room.f_frsize


def _mounts(pid: int) -> dict[int, fds.Mount]:
    ours = fds.mounts(procfs.read_file("/proc/self/mountinfo", _MAX_MOUNTS))
    return ours | fds.mounts(procfs.read_file(f"/proc/{pid}/mountinfo", _MAX_MOUNTS))


def _ended_children(pid: int) -> list[int]:
    """Its zombies now; of a process with very many children or threads, none are looked for."""
    try:
        if len(os.listdir(f"/proc/{pid}/task")) > _MAX_THREADS:
            return []
        children = procfs.children(pid)[:_MAX_CHILDREN]
        return [child for child in children if _letter(child) == "Z"]
    except OSError:  # one of them was collected meanwhile: so somebody collects
        return []


def _letter(pid: int) -> str:
    return procfs.parse_stat(procfs.read_small(f"/proc/{pid}/stat", 4096)).letter


def _major_faults(pid: int) -> int:
    try:
        text = procfs.read_small(f"/proc/{pid}/stat", 4096)
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[9])


def _kib(text: str | None) -> int:
    return int(text.split()[0]) * 1024 if text else 0


def _if_there(pid: int) -> Process | None:
    if pid <= 0:
        return None
    try:
        return procfs.process(pid)
    except LookError:
        return None


def _ran_at_both(threads: tuple[Thread, ...], earlier: tuple[Thread, ...]) -> int:
    before = {thread.tid for thread in earlier if thread.state == "running"}
    return sum(thread.state == "running" and thread.tid in before for thread in threads)


def _siblings_running(process: Process) -> int:
    """One pass over /proc/*/stat."""
    stats = procfs.all_stats()
    return sum(
        stat.letter == "R" and stat.name == process.name and pid not in (process.pid, os.getpid())
        for pid, stat in stats
    )


def _usable_cpus(pid: int) -> float:
    try:
        cpus = float(len(os.sched_getaffinity(pid)))
    except OSError:
        return 0.0
    quota = cpu_quota(pid)
    return min(cpus, quota) if quota else cpus


def _thread_variables(pid: int) -> dict[str, str]:
    try:
        text = procfs.read_file(f"/proc/{pid}/environ", 1 << 20)
    except OSError:
        return {}
    pairs = (one.decode("utf-8", "replace").partition("=") for one in text.split(b"\0"))
    return {name: redact.value(name, value)[0] for name, _, value in pairs if name in _THREAD_VARIABLES}


def _sqlite_locks(pid: int) -> list[Locked]:
    """Write locks of other processes at the places that SQLite uses."""
    try:
        held = filelocks.read()
    except OSError:
        return []
    return [
        replace(lock, number=0, waiters=())  # what may differ at the second look
        for lock in held
        if lock.kind == "posix" and lock.write and lock.pid not in (-1, 0, pid) and _sqlite_what(lock, "-shm")
    ]


def _sqlite_what(lock: Locked, path: str) -> str | None:
    if path.endswith("-shm") and lock.covers(_WAL_WRITE, _WAL_WRITE) and lock.end < 128:
        return "wal-write"
    if lock.start < _PENDING or lock.end > _SHARED + _SHARED_SIZE:
        return None
    if lock.covers(_SHARED, _SHARED):
        return "exclusive"
    return "pending" if lock.covers(_PENDING, _PENDING) else "reserved"


def _sqlite_key(lock: Locked) -> tuple[str, int]:
    return lock.device, lock.inode
