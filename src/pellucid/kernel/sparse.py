"""Copying a file that another process may be writing, holes as holes: SEEK_DATA, SEEK_HOLE and copy_file_range(2).

The copy is made in pieces, so that Ctrl-C is heard. Where the kernel can't copy from one of the two file systems to the other
(EXDEV, EINVAL, ENOSYS, EOPNOTSUPP), or copies nothing, the piece is read and written here.
"""

import os
from errno import EINVAL, ENOSYS, ENXIO, EOPNOTSUPP, EXDEV

PIECE = 1 << 22
_NOT_THAT_WAY = (EXDEV, EINVAL, ENOSYS, EOPNOTSUPP)


def copy(source: int, target: int, start: int, end: int) -> int:
    """Data of `source` from `start` to `end` to the same places of `target`, whose holes stay holes. OSError (ENOSPC, ...).

    Returns how far it came: less than `end` where the source has become shorter.
    """
    size = min(end, os.fstat(source).st_size)
    at = start
    while at < size:
        data = _seek(source, at, os.SEEK_DATA, size)
        if data >= size:
            break
        hole = min(_seek(source, data, os.SEEK_HOLE, size), size)
        at = _copy_data(source, target, data, hole)
        if at < hole:  # it was made shorter meanwhile
            break
    reached = min(size, os.fstat(source).st_size)
    if os.fstat(target).st_size < reached:
        os.ftruncate(target, reached)
    return reached


def _seek(fd: int, at: int, whence: int, size: int) -> int:
    """`size` where there is no data any more. A file system that knows no holes has data everywhere."""
    try:
        return os.lseek(fd, at, whence)
    except OSError as error:
        if error.errno == ENXIO:
            return size
        if error.errno in (EINVAL, EOPNOTSUPP):
            return at if whence == os.SEEK_DATA else size
        raise


def _copy_data(source: int, target: int, at: int, end: int) -> int:
    by_kernel = True
    while at < end:
        wanted = min(PIECE, end - at)
        copied = 0
        if by_kernel:
            try:
                copied = os.copy_file_range(source, target, wanted, at, at)
            except OSError as error:
                if error.errno not in _NOT_THAT_WAY:
                    raise
            by_kernel = copied > 0
        if not copied:
            copied = _write(target, os.pread(source, wanted, at), at)
        if not copied:
            return at
        at += copied
    return at


def _write(target: int, data: bytes, at: int) -> int:
    view = memoryview(data)
    while view:
        written = os.pwrite(target, view, at)
        view, at = view[written:], at + written
    return len(data)


def sha256(fd: int, size: int) -> str:
    """Of the first `size` bytes, in hex; of fewer where there are fewer."""
    from hashlib import sha256 as new

    found = new()
    at = 0
    while at < size and (piece := os.pread(fd, min(PIECE, size - at), at)):
        found.update(piece)
        at += len(piece)
    return found.hexdigest()
