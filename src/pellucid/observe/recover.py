"""Deleted files back: a file lives as long as somebody has it open or mapped, and can be copied through /proc until then.

Opening /proc/PID/fd/N makes an open file of our own (proc_pid_fd(5)), with an offset of its own: the process's descriptor does not
move. The copy is written beside its place under a name that begins with a dot, compared with the file by size and SHA-256, and gets
its name only then: a full disk or Ctrl-C leaves nothing behind. The file itself can't be given a name again: the kernel makes none for
a file that has none left (fs/namei.c, vfs_link, Linux 6.18: ENOENT).
"""

import os
import time
from collections.abc import Callable
from errno import EDQUOT, EEXIST, EFBIG, ENOSPC, EOPNOTSUPP, EPERM

from msgspec.structs import replace

from pellucid.kernel import fds, maps, procfs, sparse
from pellucid.model import Gap, OpenFile, Process, Recovered
from pellucid.model.errors import UsageError, os_words
from pellucid.model.report import RecoverReport
from pellucid.observe.deleted import mapped_row
from pellucid.observe.files import NOT_FILES

POLL_S = 0.1
_TRIES = 3
"""Times that a file which changes while it is compared is copied again."""
_FULL = (ENOSPC, EDQUOT, EFBIG)

Wanted = Callable[[int], bool]
"""Called with the bytes copied so far, every `POLL_S` while it follows; False ends it."""


def recoverable(pid: int) -> RecoverReport:
    """The deleted files that `pid` has open or mapped, descriptors first. NoSuchProcess, NotPermitted, NotUnderstood (zombie)."""
    process = _alive(pid)
    opened, gaps = fds.open_files(pid, "recover")
    files = [_listed(file) for file in opened if file.deleted and file.kind == "file"]
    known = {(file.device, file.inode) for file in opened if file.deleted}
    mapped = {
        (one.device, one.inode): one
        for one in reversed(maps.read(pid, "recover"))
        if one.deleted and one.of_file and not one.path.startswith(NOT_FILES)
    }
    files += [_listed(mapped_row(pid, one)) for key, one in sorted(mapped.items()) if key not in known]
    return RecoverReport(process=process, taken_at=time.time(), gaps=gaps, files=tuple(files))


def _alive(pid: int) -> Process:
    process = procfs.process(pid)
    if process.state == "zombie":
        from pellucid.kernel import access

        raise access.no_memory(process)
    return process


def _listed(file: OpenFile) -> Recovered:
    return Recovered(
        fd=file.fd,
        path=file.path,
        size=file.size,
        allocated=file.allocated,
        address=file.address,
        open_for=file.flags,
    )


def recover(
    pid: int, fd: int | None, out: str, *, address: str = "", force: bool = False, follow: Wanted | None = None
) -> RecoverReport:
    """Copy one deleted file to `out`: the one of descriptor `fd`, or the one that is mapped at `address`.

    UsageError: it is not deleted, `out` exists (without `force`), or there is no room; nothing is left behind then. With `follow` it
    goes on while the file grows, until `follow` says so, the descriptor is closed, or the process ends.
    """
    process = _alive(pid)
    wanted = _wanted(pid, fd, address)
    tried = f"copy {wanted.path} (deleted) to {out}"
    out = os.path.abspath(out)
    if not force and os.path.lexists(out):
        raise UsageError(tried=tried, said="there is something of this name", remedy="another -o, or --force")
    source = _opened(pid, wanted, tried)
    try:
        _enough_room(source, out, tried)
        copy = _Copy(source, out, tried)
        try:
            gaps = copy.run(follow, lambda: _still_open(pid, wanted))
            done = replace(wanted, size=copy.size, sha256=copy.verified(gaps), copy=out)
            copy.named(force)
        except BaseException:
            copy.forget()
            raise
        finally:
            os.close(copy.fd)
    finally:
        os.close(source)
    return RecoverReport(process=process, taken_at=time.time(), gaps=tuple(gaps), files=(done,))


def _wanted(pid: int, fd: int | None, address: str) -> Recovered:
    tried = f"find the deleted file at {address or f'descriptor {fd}'} of pid {pid}"
    there = recoverable(pid).files
    for file in there:
        if (fd is not None and file.fd == fd) or (fd is None and file.address and file.address == address):
            return file
    if fd is not None:
        other = fds.open_file(pid, fd, "recover")
        if isinstance(other, Gap):
            raise UsageError(tried=tried, said=other.why, remedy=other.remedy or f"pellucid recover {pid}")
        if other.kind == "memfd":
            return _listed(other)
        if other.kind != "file":
            raise UsageError(tried=tried, said=f"it is no file but: {other.kind}", remedy=f"pellucid recover {pid}")
        if not other.deleted:
            remedy = f"cp /proc/{pid}/root{other.path} OUT" if other.path.startswith("/") else f"pellucid recover {pid}"
            raise UsageError(tried=tried, said=f"{other.path} is not deleted", remedy=remedy)
    raise UsageError(tried=tried, said="there is none", remedy=f"pellucid recover {pid}  (lists those that are)")


def _opened(pid: int, wanted: Recovered, tried: str) -> int:
    """For reading, without changing its time of last access where we may ask for that (open(2), O_NOATIME)."""
    link = f"/proc/{pid}/fd/{wanted.fd}" if wanted.fd is not None else f"/proc/{pid}/map_files/{wanted.address}"
    try:
        try:
            return os.open(link, os.O_RDONLY | os.O_NOATIME | os.O_CLOEXEC)
        except PermissionError:
            return os.open(link, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise procfs.failed(pid, tried, error, "recover") from error


def _still_open(pid: int, wanted: Recovered) -> bool:
    place = f"fd/{wanted.fd}" if wanted.fd is not None else f"map_files/{wanted.address}"
    try:
        return os.readlink(f"/proc/{pid}/{place}").removesuffix(" (deleted)") == wanted.path
    except OSError:
        return False


def _enough_room(source: int, out: str, tried: str) -> None:
    """Better not to begin than to fill somebody's disk first."""
    try:
        room = os.statvfs(os.path.dirname(out))
    except OSError as error:
        raise UsageError(tried=tried, said=os_words(error), remedy="an -o in a directory that is there") from error
    free = room.f_bavail * room.f_frsize
    needed = os.fstat(source).st_blocks * 512
    if room.f_blocks and needed > free:
        raise _full(tried, f"it takes {needed} bytes, and there are {free} free", out)


def _full(tried: str, said: str, out: str) -> UsageError:
    remedy = f"an -o on another file system (df -h {os.path.dirname(out)} tells the room there)"
    return UsageError(tried=tried, said=said, remedy=remedy)


class _Copy:
    """The copy under its passing name, from the first byte to the last."""

    def __init__(self, source: int, out: str, tried: str) -> None:
        self.source = source
        self.out = out
        self.tried = tried
        self.size = 0
        folder, name = os.path.split(out)
        self.passing = os.path.join(folder, f".{name[:200]}.pellucid-{os.getpid()}")
        try:
            self.fd = os.open(self.passing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                tried=tried, said=os_words(error), remedy="an -o in a directory that you may write to"
            ) from error

    def run(self, follow: Wanted | None, still_open: Callable[[], bool]) -> list[Gap]:
        """Copy what is there, and with `follow` what comes."""
        gaps: list[Gap] = []
        self._advance(os.fstat(self.source).st_size)
        while follow is not None:
            time.sleep(POLL_S)
            goes_on = still_open() and follow(self.size)
            self._advance(os.fstat(self.source).st_size)  # also what came before it was closed
            if not goes_on:
                break
        grown = os.fstat(self.source).st_size - self.size
        if follow is None and grown > 0:
            gaps.append(
                Gap(f"{grown} bytes", "they were written since the copy began", "--follow copies until it ends")
            )
        return gaps

    def _advance(self, end: int) -> None:
        if end < self.size:  # made shorter, as a log is that is emptied: what was copied of it is not there any more
            os.ftruncate(self.fd, 0)
            self.size = 0
        try:
            self.size = sparse.copy(self.source, self.fd, self.size, end)
        except OSError as error:
            if error.errno not in _FULL:
                raise UsageError(tried=self.tried, said=os_words(error), remedy="another -o") from error
            said = f"{os_words(error)}, after {os.fstat(self.fd).st_size} bytes; nothing is left of them"
            raise _full(self.tried, said, self.out) from error

    def verified(self, gaps: list[Gap]) -> str:
        """The SHA-256 of the copy, which is that of the file; what was overwritten meanwhile is copied again, a few times."""
        for attempt in range(_TRIES):
            if attempt:
                os.ftruncate(self.fd, 0)
                size, self.size = self.size, 0
                self._advance(max(size, 0))
            mine, theirs = sparse.sha256(self.fd, self.size), sparse.sha256(self.source, self.size)
            if mine == theirs and os.fstat(self.fd).st_size == self.size:
                return mine
        gaps.append(
            Gap("whether the copy is of one moment", f"what it holds was changed in each of {_TRIES} copies of it")
        )
        return mine

    def named(self, force: bool) -> None:
        """On disk, then under its name. Without `force` by a link, which fails where something has that name since."""
        os.fchmod(self.fd, os.fstat(self.source).st_mode & 0o666)
        try:
            os.fsync(self.fd)
            if force:
                os.rename(self.passing, self.out)
                return
            os.link(self.passing, self.out)
        except OSError as error:
            if error.errno in _FULL:
                raise _full(self.tried, f"{os_words(error)}; nothing is left of the copy", self.out) from error
            if error.errno not in (EPERM, EOPNOTSUPP) or os.path.lexists(self.out):
                said = "there is something of this name now" if error.errno == EEXIST else os_words(error)
                raise UsageError(tried=self.tried, said=said, remedy="another -o, or --force") from error
            os.rename(self.passing, self.out)  # a file system without hard links (vfat)
            return
        os.unlink(self.passing)

    def forget(self) -> None:
        try:
            os.unlink(self.passing)
        except FileNotFoundError:
            return
