"""Our own malloc, told to give large blocks back to the kernel as soon as they are freed."""

import ctypes

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc


def give_back(size: int) -> None:
    """From `size` bytes on a block is a mapping of its own for good. Nothing with a libc that has no mallopt(3) (musl).

    By itself glibc raises that size, to up to 32 MiB, each time that a larger block is freed (mallopt(3), M_MMAP_THRESHOLD): arrays of that
    size then lie in its heap, whose holes are ours for ever.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(ctypes.c_int(_M_MMAP_THRESHOLD), ctypes.c_int(size))
