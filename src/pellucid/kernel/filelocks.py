"""Who has locked which file, and who waits for it: /proc/locks, and the `lock:` lines of /proc/PID/fdinfo/N.

    1: FLOCK  ADVISORY  WRITE 4242 08:01:131 0 EOF
    1: -> FLOCK  ADVISORY  WRITE 4250 08:01:131 0 EOF          (this one waits for the one above)

/proc/locks (fs/locks.c, lock_get_status, Linux 6.18) names the process that made the lock. A lock of flock(2), and an "open file
description" lock of fcntl(2), belongs to the open file and not to that process: a child that inherited it holds it too, also after
its parent ended, and the second kind is listed with pid -1. So holders are asked for by the fdinfo of those who have the file open,
which lists a lock for each descriptor that leads to it. Lines of processes in other pid namespaces are not shown to us at all.
"""

import os
from collections.abc import Iterable

from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.model import FileLock

EOF = (1 << 63) - 1
"""The last byte of a lock that has no end (OFFSET_MAX)."""

_MAX_LOCKS = 1 << 24
_MAX_FDINFO = 1 << 20
_KINDS = {"FLOCK": "flock", "POSIX": "posix", "OFDLCK": "ofd", "LEASE": "lease", "DELEG": "lease", "ACCESS": "posix"}


class Locked(Struct, frozen=True):
    """One line: a lock that is held, with `waiters` below it, or (`waits`) one that is wanted. Device as major:minor in decimal."""

    number: int
    kind: str
    write: bool
    pid: int
    device: str
    inode: int
    start: int
    end: int
    waits: bool = False
    waiters: tuple["Locked", ...] = ()

    def covers(self, first: int, last: int) -> bool:
        """It holds some byte of this range, ends included."""
        return self.start <= last and first <= self.end

    def excludes(self, other: "Locked") -> bool:
        """Both can't be held at once, by two holders: same file, same family, a common byte, and one of them is to write.

        flock(2) and fcntl(2) locks don't see each other on a local file system.
        """
        return (
            (self.device, self.inode) == (other.device, other.inode)
            and (self.kind == "flock") == (other.kind == "flock")
            and self.covers(other.start, other.end)
            and (self.write or other.write)
        )


def read() -> tuple[Locked, ...]:
    """Every lock that is held. Raises OSError (no /proc/locks: CONFIG_FILE_LOCKING is off)."""
    return parse(procfs.read_file("/proc/locks", _MAX_LOCKS))


def parse(text: bytes) -> tuple[Locked, ...]:
    """Lines of /proc/locks; those with an arrow wait for the last one without. A line that is not understood is left out."""
    held: list[Locked] = []
    waiting: list[list[Locked]] = []
    for line in text.decode("ascii", "replace").split("\n"):
        one = _line(line)
        if one is None:
            continue
        if not one.waits:
            held.append(one)
            waiting.append([])
        elif held and held[-1].number == one.number:
            waiting[-1].append(one)
    return tuple(_with_waiters(one, tuple(wait)) for one, wait in zip(held, waiting, strict=True))


def _line(line: str) -> Locked | None:
    number, colon, rest = line.partition(":")
    fields = rest.split()
    waits = bool(fields) and fields[0] == "->"
    fields = fields[waits:]
    if not colon or len(fields) < 7 or not number.strip().isdigit() or fields[4].count(":") != 2:
        return None
    major, minor, inode = fields[4].split(":")
    try:
        return Locked(
            number=int(number),
            kind=_KINDS.get(fields[0], "other"),
            write=fields[2] != "READ",
            pid=int(fields[3]),
            device=f"{int(major, 16)}:{int(minor, 16)}",
            inode=int(inode),
            start=int(fields[5]),
            end=EOF if fields[6] == "EOF" else int(fields[6]),
            waits=waits,
        )
    except ValueError:
        return None


def _with_waiters(one: Locked, waiters: tuple[Locked, ...]) -> Locked:
    return Locked(one.number, one.kind, one.write, one.pid, one.device, one.inode, one.start, one.end, False, waiters)


def of_descriptor(pid: int, fd: int) -> tuple[Locked, ...]:
    """The locks that this descriptor holds, by its fdinfo. Raises OSError."""
    return of_fdinfo(procfs.read_file(f"/proc/{pid}/fdinfo/{fd}", _MAX_FDINFO))


def of_fdinfo(info: bytes) -> tuple[Locked, ...]:
    """The `lock:` lines of a fdinfo; empty for most descriptors."""
    if b"lock:\t" not in info:
        return ()
    lines = (line.removeprefix(b"lock:\t") for line in info.split(b"\n") if line.startswith(b"lock:\t"))
    return parse(b"\n".join(lines))


def holders(wanted: Iterable[Locked], names: frozenset[str]) -> dict[Locked, tuple[tuple[int, int], ...]]:
    """(pid, descriptor) of those who hold each of these locks, by the fdinfo of their descriptors.

    The process that made a lock comes first; a lock that others can have inherited is looked for in all processes, among the
    descriptors that are links to one of `names` (the file's names: reading every fdinfo of a machine takes long).
    """
    found: dict[Locked, list[tuple[int, int]]] = {one: [] for one in wanted}
    made = {one.pid for one in found if one.pid > 0}
    for pid in made:
        _held_by(pid, [one for one in found if one.kind != "posix" or one.pid == pid], found, None)
    inherited = [one for one in found if one.kind != "posix"]
    if inherited and names:
        for pid in procfs.pids():
            if pid not in made:
                _held_by(pid, inherited, found, names)
    return {one: tuple(held) for one, held in found.items()}


def _held_by(
    pid: int, wanted: list[Locked], found: dict[Locked, list[tuple[int, int]]], names: frozenset[str] | None
) -> None:
    try:
        directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it ended, or it may not be seen: the pid in /proc/locks is all that is known then
        return
    try:
        for name in os.listdir(directory):
            for lock in _locks(pid, name, directory, names):
                for one in wanted:
                    if _same(one, lock):
                        found[one].append((pid, int(name)))
    except OSError:  # it ended meanwhile
        return
    finally:
        os.close(directory)


def _locks(pid: int, name: str, directory: int, names: frozenset[str] | None) -> tuple[Locked, ...]:
    try:
        target = os.readlink(name, dir_fd=directory)
        if not target.startswith("/") or (names is not None and target not in names):
            return ()
        return of_descriptor(pid, int(name))
    except OSError:  # closed meanwhile
        return ()


def _same(one: Locked, other: Locked) -> bool:
    return (one.kind, one.write, one.device, one.inode, one.start, one.end) == (
        other.kind,
        other.write,
        other.device,
        other.inode,
        other.start,
        other.end,
    )


def told(one: Locked, held_by: tuple[int, ...]) -> FileLock:
    """The lock as a value for the screen; `held_by` from `holders`, else who made it, where that one must still hold it or hides."""
    pids = held_by or ((one.pid,) if one.pid > 0 and (one.kind == "posix" or _hides(one.pid)) else ())
    return FileLock(
        kind=one.kind,
        mode="write" if one.write else "read",
        start=one.start,
        end=None if one.end == EOF else one.end,
        holders=tuple(dict.fromkeys(pids)),
        waiters=tuple(dict.fromkeys(wait.pid for wait in one.waiters if wait.pid > 0)),
    )


def _hides(pid: int) -> bool:
    """It is there, and its descriptors may not be seen. One that may be seen and has no such lock is another process by now."""
    return os.path.exists(f"/proc/{pid}") and not os.access(f"/proc/{pid}/fd", os.R_OK | os.X_OK)
