"""Files that are whole or not there: written beside their place, synced, renamed; and the lock that one writer holds.

rename(2) replaces a file in one step, but says nothing about when its content reaches the disk: the file is synced before, the folder
after (fsync(2), "Calling fsync() does not necessarily ensure that the entry in the directory ... has also reached disk").
A flock(2) is released by the kernel when its holder dies in any way, so a killed writer leaves no lock behind. It does leave the file that it had
begun: `.ab12….4242.81…`, which nobody reads, and which it had locked. Whoever gets that lock knows that the writer is no more, whichever pid
namespace it lived in, and removes the file (`sweep`).
"""

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator

from pellucid.model.errors import UsageError, os_words

LOCK_S = 30.0
_TRIES = 100
_BEGUN = re.compile(r"\..+\.\d+\.\d+")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""Some file systems of a network have none."""


def write(path: str, content: bytes, *, synced: bool = True) -> None:
    """Put `content` at `path`, in one step. UsageError when the disk is full or the folder can't be written.

    Not `synced`, it is whole for every reader, but may be lost or cut off when the machine itself stops: for a writer that must not wait for a disk.
    """
    folder = os.path.dirname(path)
    temporary = ""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        temporary, fd = begun(path)
        try:
            _write(fd, content, synced=synced)
            os.replace(temporary, path)
        finally:
            os.close(fd)
        if synced:
            _sync(folder)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise _unwritable(path, error) from error


def begun(path: str) -> tuple[str, int]:
    """(name, descriptor) of a new file beside `path`, locked for as long as that descriptor is open. Raises OSError."""
    folder, name = os.path.split(path)
    for _ in range(_TRIES):
        temporary = os.path.join(folder, f".{name}.{os.getpid()}.{time.monotonic_ns()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if _locked_in_time(fd):
            return temporary, fd
        os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)


def _locked_in_time(fd: int) -> bool:
    """False where somebody swept it between its creation and the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:  # then nobody can sweep here either
            return True
        os.close(fd)
        raise
    return os.fstat(fd).st_nlink > 0


def sweep(folder: str) -> int:
    """Remove what writers that were killed have begun in this folder; returns how many files. What can't be removed stays: it harms nobody."""
    swept = 0
    try:
        names = [name for name in os.listdir(folder) if _BEGUN.fullmatch(name)]
    except OSError:
        return 0
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError, an OSError: its writer lives
                os.unlink(path)
                swept += 1
            finally:
                os.close(fd)
    return swept


def _write(fd: int, content: bytes, *, synced: bool) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]
    if synced:
        os.fsync(fd)


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def prepared(folder: str) -> None:
    """Make `folder`, and write nothing. UsageError when it can't be made or written: said before hours of work that would go there."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(folder, OSError(errno.EACCES, os.strerror(errno.EACCES)))


def _unwritable(path: str, error: OSError) -> UsageError:
    remedy = "make room on that disk, then try again" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
    return UsageError(
        tried=f"write {path}",
        said=os_words(error),
        remedy=remedy or "set XDG_DATA_HOME to a folder that you may write, then try again",
    )


@contextlib.contextmanager
def locked(folder: str, within_s: float = LOCK_S) -> Iterator[None]:
    """Hold the folder's lock. UsageError when another process holds it longer than `within_s`."""
    path = os.path.join(folder, ".lock")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        _lock(fd, path, within_s)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, path: str, within_s: float) -> None:
    until = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise UsageError(
                    tried=f"lock {path}",
                    said=f"another process has held it for more than {within_s:.0f} s",
                    remedy=f"fuser -v {path}  (names the process that holds it)",
                ) from None
            time.sleep(0.02)
        else:
            return
