"""Locks on files, joined: who holds one and who waits for it, shown on the descriptors of either.

5 file  /srv/jobs.db   locked for writing by fcntl, bytes 0–9; pid 51 waits for it
7 file  /run/app.lock  pid 42 has it locked for writing by flock
"""

from collections.abc import Sequence

from msgspec.structs import replace

from pellucid.kernel import fds, filelocks, procfs
from pellucid.kernel.filelocks import Locked
from pellucid.model import FileLock, Gap, OpenFile
from pellucid.model.errors import os_words

_MAX_MOUNTS = 1 << 24
_NAMES = {"flock": "flock", "posix": "fcntl", "ofd": "fcntl, of the open file", "lease": "lease"}


def with_locks(pid: int, files: Sequence[OpenFile]) -> tuple[tuple[OpenFile, ...], tuple[Gap, ...]]:
    """The descriptors of `pid` with the locks on their files. /proc/locks is read once; most machines have a dozen lines there."""
    try:
        held = filelocks.read()
    except OSError as error:
        return tuple(files), (Gap("locks on files (/proc/locks)", os_words(error)),)
    by_inode: dict[int, list[Locked]] = {}
    for lock in held:
        by_inode.setdefault(lock.inode, []).append(lock)
    return tuple(_with(pid, file, by_inode) for file in files), ()


def _with(pid: int, file: OpenFile, by_inode: dict[int, list[Locked]]) -> OpenFile:
    if file.fd is None or file.kind != "file" or file.inode not in by_inode:
        return file
    try:
        key, mine = identity(pid, file.fd)
    except OSError:  # closed meanwhile
        return file
    there = [lock for lock in by_inode[file.inode] if (lock.device, lock.inode) == key]
    if not there:
        return file
    names = frozenset({file.path, f"{file.path} (deleted)"})
    found = filelocks.holders(there, names)
    told = [
        filelocks.told(lock, tuple(holder for holder, _ in found[lock]))
        for lock in there
        if (pid, file.fd) in found[lock] or not any(holder == pid for holder, _ in found[lock])
    ]
    ours = any((pid, file.fd) in found[lock] for lock in there) or bool(mine)
    said = "; ".join(words(lock, pid if ours else None) for lock in told)
    return replace(file, locks=tuple(told), detail=said or file.detail)


def identity(pid: int, fd: int) -> tuple[tuple[str, int], tuple[Locked, ...]]:
    """(device, inode) of the file as /proc/locks spells them, and the locks that this very descriptor holds. Raises OSError."""
    info = procfs.read_file(f"/proc/{pid}/fdinfo/{fd}")
    told = procfs.parse_status(info)
    tables = fds.mounts(procfs.read_file("/proc/self/mountinfo", _MAX_MOUNTS))
    number = int(told["mnt_id"])
    if number not in tables:
        tables = fds.mounts(procfs.read_file(f"/proc/{pid}/mountinfo", _MAX_MOUNTS))
    device = tables[number].device if number in tables else ""
    return (device, int(told.get("ino", "0"))), filelocks.of_fdinfo(info)


def blocking(pid: int, fd: int, call: str) -> tuple[FileLock, ...]:
    """The locks that keep a thread of `pid` in `call` (flock or fcntl) on descriptor `fd`, with their holders. Raises OSError.

    A waiter's own line in /proc/locks names what it waits for; the lock above it is in its way. Lines of open-file locks carry no
    pid: then every lock of that family on the file which has a waiter is named.
    """
    key, _ = identity(pid, fd)
    there = [lock for lock in filelocks.read() if (lock.device, lock.inode) == key and lock.waiters]
    family = [lock for lock in there if (lock.kind == "flock") == (call == "flock")]
    mine = [lock for lock in family if any(wait.pid == pid for wait in lock.waiters)]
    file = fds.open_file(pid, fd)
    names = frozenset({file.path, f"{file.path} (deleted)"}) if isinstance(file, OpenFile) else frozenset()
    chosen = mine or [lock for lock in family if any(wait.pid < 0 for wait in lock.waiters)]
    found = filelocks.holders(chosen, names)
    return tuple(filelocks.told(lock, tuple(holder for holder, _ in found[lock])) for lock in chosen)


def words(lock: FileLock, pid: int | None) -> str:
    """`locked for writing by flock; pid 51 waits for it`, seen from `pid`, a holder; None for somebody else."""
    how = f"for {'writing' if lock.mode == 'write' else 'reading'} by {_NAMES.get(lock.kind, lock.kind)}{span(lock)}"
    others = [one for one in lock.holders if one != pid]
    if pid in lock.holders:
        text = f"locked {how}" + (f", together with {_pids(others)}" if others else "")
    else:
        text = f"{_pids(others)} {'has' if len(others) == 1 else 'have'} it locked {how}" if others else f"locked {how}"
    waiters = [one for one in lock.waiters if one not in lock.holders or one == pid]
    return text + (f"; {_pids(waiters)} {'waits' if len(waiters) == 1 else 'wait'} for it" if waiters else "")


def span(lock: FileLock) -> str:
    """`, bytes 0–9`; "" for the whole file."""
    if lock.start == 0 and lock.end is None:
        return ""
    return f", bytes {lock.start}–{'end' if lock.end is None else lock.end}"


def _pids(pids: Sequence[int]) -> str:
    shown = ", ".join(str(pid) for pid in pids[:4]) + (", ..." if len(pids) > 4 else "")
    return f"pid {shown}" if len(pids) == 1 else f"pids {shown}"
