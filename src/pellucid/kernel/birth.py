"""When a file was made: statx(2), which Python has only from 3.15 on. Most file systems know it, NFS and some others don't."""

import os
from struct import Struct as Packing

_SYSTEM_CALL = {"x86_64": 332, "aarch64": 291}
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _STATX_BTIME = -100, 0x100, 0x800
_MASK = Packing("<I")
_BTIME = Packing("<qI")
_BTIME_AT = 80  # struct statx.stx_btime, include/uapi/linux/stat.h


def born_at(path: str) -> float | None:
    """Seconds since the epoch; None where there is no such file, or nobody knows."""
    import ctypes

    number = _SYSTEM_CALL.get(os.uname().machine)
    if number is None:
        return None
    found = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, found) < 0:
        return None
    if not _MASK.unpack_from(found)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BTIME.unpack_from(found, _BTIME_AT)
    return float(seconds) + float(nanoseconds) / 1e9
