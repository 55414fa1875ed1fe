"""Files that are whole or not there: written beside their place, synced, renamed; and the lock that one writer holds.

rename(2) replaces a file in one step, but says nothing about when its content reaches the disk: the file is synced before, the folder
after (fsync(2), "Calling fsync() does not necessarily ensure that the entry in the directory ... has also reached disk").
A flock(2) is released by the kernel when its holder dies in any way, so a killed writer leaves no lock behind.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from pellucid.model.errors import UsageError, os_words

LOCK_S = 30.0


def write(path: str, content: bytes, *, synced: bool = True) -> None:
    """Put `content` at `path`, in one step. UsageError when the disk is full or the folder can't be written.

    Not `synced`, it is whole for every reader, but may be lost or cut off when the machine itself stops: for a writer that must not wait for a disk.
    """
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _write(temporary, content, synced=synced)
        os.replace(temporary, path)
        if synced:
            _sync(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise _unwritable(path, error) from error


def _write(path: str, content: bytes, *, synced: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if synced:
            os.fsync(fd)
    finally:
        os.close(fd)


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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
