"""What a process has open: `3 socket:[815]`, `4 /var/log/app.log, deleted, at 12,288`, and who else holds the same.

The link /proc/PID/fd/N names the thing; /proc/PID/fdinfo/N tells flags, offset and mount (proc_pid_fdinfo(5)). A stat(2) through the
link would ask the file's server, and hang when that is an NFS server which no longer answers; so it is done only on file systems
of this host, which the mount id and /proc/PID/mountinfo tell without asking anybody.
"""

import os
import stat
from collections.abc import Sequence
from errno import EACCES, EPERM

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.kernel.fdinfo import detail, flag_words
from pellucid.kernel.procfs import gone, read_file
from pellucid.kernel.shared_search import shared
from pellucid.model import Gap, OpenFile
from pellucid.model.errors import os_words

MAX_OPEN = 1 << 17
"""Descriptors of one process that are looked at."""

_MAX_MOUNTS = 1 << 24
_MAX_FDINFO = 1 << 22
_DELETED = " (deleted)"
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFCHR: "char-device",
    stat.S_IFBLK: "block-device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_REMOTE = ("nfs", "cifs", "smb", "ceph", "9p", "afs", "gfs", "lustre", "gluster", "autofs", "fuse", "ncp", "coda")
_UNASKED = "not asked for its kind and size"


class Mount(Struct, frozen=True):
    """One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)): its device as major:minor, and the file system."""

    device: str
    filesystem: str

    @property
    def remote(self) -> bool:
        """A server, or a program, has to answer for it, and may never do so."""
        return self.filesystem.startswith(_REMOTE)


def open_files(pid: int, command: str = "files") -> tuple[tuple[OpenFile, ...], tuple[Gap, ...]]:
    """Every descriptor, lowest first. Raises NoSuchProcess and NotPermitted."""
    tried = f"list the descriptors of pid {pid} (/proc/{pid}/fd)"
    files: list[OpenFile] = []
    try:
        numbers = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        mounts = _mounts(pid)
        for fd in numbers[:MAX_OPEN]:
            try:
                files.append(_described(pid, fd, mounts))
            except OSError as error:
                if not gone(error):
                    raise
    except OSError as error:
        raise procfs.failed(pid, tried, error, command) from error
    if numbers and not files:
        procfs.stat(pid)  # raises NoSuchProcess where it was the process that went
    return tuple(files), tuple(_gaps(pid, len(numbers), files))


def _gaps(pid: int, there: int, files: list[OpenFile]) -> list[Gap]:
    gaps = []
    closed = min(there, MAX_OPEN) - len(files)
    unasked = sum(file.detail == _UNASKED for file in files)
    if closed:
        gaps.append(Gap(f"{closed} of {there} descriptors of pid {pid}", "they were closed meanwhile"))
    if there > MAX_OPEN:
        gaps.append(Gap(f"{there - MAX_OPEN} of {there} descriptors of pid {pid}", f"at most {MAX_OPEN} are read"))
    if unasked:
        why = "they are on a remote file system, or on one that is not mounted here: asking may hang"
        gaps.append(Gap(f"kind and size of {unasked} of {there} files of pid {pid}", why))
    return gaps


def open_file(pid: int, fd: int, command: str = "why") -> OpenFile | Gap:
    """One descriptor; a Gap where it is not open or may not be seen."""
    what = f"descriptor {fd} of pid {pid}"
    try:
        return _described(pid, fd, None)
    except OSError as error:
        if error.errno in (EACCES, EPERM):
            refused = procfs.failed(pid, f"look at {what}", error, command)
            return Gap(what, refused.said, refused.remedy)
        return Gap(what, "it is not open any more" if gone(error) else os_words(error))


def _described(pid: int, fd: int, mounts: dict[int, Mount] | None) -> OpenFile:
    """Raises OSError. Without `mounts` they are read when they are needed."""
    link = f"/proc/{pid}/fd/{fd}"
    target = os.readlink(link)
    info = read_file(f"/proc/{pid}/fdinfo/{fd}", _MAX_FDINFO)
    told = procfs.parse_status(info)
    flags = int(told["flags"], 8)
    file = OpenFile(
        fd=fd,
        kind="anon",
        path=target,
        inode=int(told["ino"]) if "ino" in told else None,  # since Linux 5.14
        device=None,
        deleted=False,
        flags=flag_words(flags),
        offset=int(told["pos"]),
    )
    if target.startswith("/"):
        known = _mounts(pid) if mounts is None else mounts
        return _of_file_system(file, link, known.get(int(told["mnt_id"])), detail("file", info, flags))
    kind = _anonymous(target)
    return replace(file, kind=kind, inode=_bracketed(target), detail=detail(kind, info, flags))


def _anonymous(target: str) -> str:
    """`pipe:[12]` is a pipe, `anon_inode:[eventpoll]` an epoll; what has no word of ours is anon, and its path names it."""
    scheme, _, rest = target.partition(":")
    name = rest.strip("[]") if scheme == "anon_inode" else scheme
    kind = "epoll" if name == "eventpoll" else name
    return kind if kind in ("pipe", "socket", "eventfd", "epoll", "timerfd", "signalfd", "inotify", "pidfd") else "anon"


def _bracketed(target: str) -> int | None:
    inode = target.rpartition("[")[2].rstrip("]")
    return int(inode) if inode.isdigit() else None


def _of_file_system(file: OpenFile, link: str, mount: Mount | None, said: str) -> OpenFile:
    if file.path.startswith("/memfd:"):  # always shown as deleted: it never had a name
        size = os.stat(link).st_size
        return replace(file, kind="memfd", path=file.path.removesuffix(_DELETED), size=size, detail=said)
    if mount is None or mount.remote:
        path, deleted = file.path.removesuffix(_DELETED), file.path.endswith(_DELETED)
        device = mount.device if mount else None
        return replace(file, kind="file", path=path, deleted=deleted, device=device, detail=_UNASKED)
    seen = os.stat(link)
    deleted = file.path.endswith(_DELETED) and not _so_named(link, file.path, seen)
    kind = _KINDS.get(stat.S_IFMT(seen.st_mode), "anon")
    if kind.endswith("-device"):
        said = f"device {os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}"
    return replace(
        file,
        kind=kind,
        path=file.path.removesuffix(_DELETED) if deleted else file.path,
        inode=seen.st_ino,
        device=f"{os.major(seen.st_dev)}:{os.minor(seen.st_dev)}",
        deleted=deleted,
        size=seen.st_size if kind == "file" else None,
        detail=said,
        allocated=seen.st_blocks * 512 if kind == "file" else None,
    )


def _so_named(link: str, path: str, seen: os.stat_result) -> bool:
    """The name itself ends in ` (deleted)`: then there is this file under this name."""
    if not seen.st_nlink:
        return False
    try:
        there = os.stat(f"{link.partition('/fd/')[0]}/root{path}")
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (seen.st_dev, seen.st_ino)


def _mounts(pid: int) -> dict[int, Mount]:
    """By mount id: those that the process sees, and ours, from which it may have inherited descriptors."""
    return mounts(read_file("/proc/self/mountinfo", _MAX_MOUNTS)) | mounts(
        read_file(f"/proc/{pid}/mountinfo", _MAX_MOUNTS)
    )


def mounts(text: bytes) -> dict[int, Mount]:
    """The lines of a mountinfo by mount id; the file system stands after the lone dash."""
    found: dict[int, Mount] = {}
    for line in text.decode("utf-8", "replace").split("\n"):
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if dash:
            found[int(fields[0])] = Mount(fields[2], after.split()[0])
    return found


def holders(targets: set[str]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Who holds `socket:[815]` or `pipe:[41]`: (pid, descriptor) of each, lowest first. `holders_and_gaps` tells who hid."""
    return holders_and_gaps(targets)[0]


def holders_and_gaps(
    targets: set[str], command: str = "why"
) -> tuple[dict[str, tuple[tuple[int, int], ...]], tuple[Gap, ...]]:
    """One pass over the descriptors of all processes, by readlink; a target that nobody holds has an empty tuple."""
    found: dict[str, list[tuple[int, int]]] = {target: [] for target in targets}
    hidden: list[tuple[int, OSError]] = []
    for part in shared(lambda pids: _held(targets, pids), procfs.pids() if targets else (), _Held):
        for target, held in part.found.items():
            found[target] += held
        hidden += ((pid, OSError(number, os.strerror(number))) for pid, number in part.hidden)
    return {
        target: tuple(sorted(held)) if len(held) > 1 else tuple(held) for target, held in found.items()
    }, hidden_gap(sorted(hidden, key=lambda one: one[0]), command)


def socket_holders(inodes: set[int], command: str = "why") -> tuple[dict[int, tuple[int, ...]], tuple[Gap, ...]]:
    """The processes that hold each of these sockets, lowest first, in one pass; a socket that nobody holds is left out."""
    found: dict[int, tuple[int, ...]] = {}
    hidden: list[tuple[int, OSError]] = []
    for part in shared(lambda pids: _held_sockets(inodes, pids), procfs.pids() if inodes else (), _HeldSockets):
        for inode, held in part.found.items():
            found[inode] = tuple(sorted((*found[inode], *held))) if inode in found else held
        hidden += ((pid, OSError(number, os.strerror(number))) for pid, number in part.hidden)
    return found, hidden_gap(sorted(hidden, key=lambda one: one[0]), command)


class _HeldSockets(Struct, frozen=True):
    """As `_Held`, by inode and without descriptors: a host may have very many."""

    found: dict[int, tuple[int, ...]]
    hidden: list[tuple[int, int]]


def _held_sockets(inodes: set[int], pids: Sequence[int]) -> _HeldSockets:
    held = _HeldSockets({}, [])
    found = held.found
    for pid in pids:
        alone = (pid,)
        for inode in inodes.intersection(_sockets_of(pid, held.hidden)):
            found[inode] = tuple(sorted((*found[inode], pid))) if inode in found else alone
    return held


def _sockets_of(pid: int, hidden: list[tuple[int, int]]) -> set[int]:
    """The inodes of the sockets that a process has open; what hides them is added to `hidden`."""
    found: set[int] = set()
    readlink, add = os.readlink, found.add
    try:
        directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if not gone(error):
            hidden.append((pid, error.errno or 0))
        return found
    try:
        for name in os.listdir(directory):
            try:
                target = readlink(name, dir_fd=directory)
            except FileNotFoundError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                add(int(target[8:-1]))
    except OSError as error:
        if not gone(error):
            hidden.append((pid, error.errno or 0))
    finally:
        os.close(directory)
    return found


class _Held(Struct, frozen=True):
    """(pid, fd) by target, of some processes; and those that hide their descriptors, with the number of the error."""

    found: dict[str, list[tuple[int, int]]]
    hidden: list[tuple[int, int]]


def _held(targets: set[str], pids: Sequence[int]) -> _Held:
    held = _Held({}, [])
    for pid in pids:
        try:
            directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if not gone(error):
                held.hidden.append((pid, error.errno or 0))
            continue
        try:
            _collect(pid, directory, targets, held.found)
        except OSError as error:
            if not gone(error):
                held.hidden.append((pid, error.errno or 0))
        finally:
            os.close(directory)
    return held


def _collect(pid: int, directory: int, targets: set[str], found: dict[str, list[tuple[int, int]]]) -> None:
    readlink = os.readlink
    for name in os.listdir(directory):
        try:
            target = readlink(name, dir_fd=directory)
        except FileNotFoundError:  # closed meanwhile
            continue
        if target in targets:
            found.setdefault(target, []).append((pid, int(name)))


def hidden_gap(hidden: Sequence[tuple[int, OSError]], command: str) -> tuple[Gap, ...]:
    """One gap for all processes whose descriptors the kernel did not show; none when there is none."""
    if not hidden:
        return ()
    pid, error = hidden[0]
    refused = procfs.failed(pid, f"list the descriptors of pid {pid}", error, command)
    who = f"pid {pid}" if len(hidden) == 1 else f"{len(hidden)} processes, among them pid {pid}"
    return (Gap(f"the descriptors of {who}", refused.said, refused.remedy),)


class Ends:
    """Which end of a pipe a descriptor is, each asked once: {"read"}, {"write"}, or both; empty where it is closed or hidden."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], frozenset[str]] = {}

    def of(self, pid: int, fd: int) -> frozenset[str]:
        found = self._known.get((pid, fd))
        return self._known.setdefault((pid, fd), _end(pid, fd)) if found is None else found


def _end(pid: int, fd: int) -> frozenset[str]:
    try:
        told = procfs.parse_status(procfs.read_small(f"/proc/{pid}/fdinfo/{fd}", 256))
    except OSError:  # closed since its link was read, or hidden, which the pass over all processes has told
        return frozenset()
    return _ENDS[int(told["flags"], 8) & 3]


_ENDS = (frozenset({"read"}), frozenset({"write"}), frozenset({"read", "write"}), frozenset[str]())
