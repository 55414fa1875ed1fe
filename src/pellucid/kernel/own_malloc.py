"""Our own malloc, told to give back to the kernel what is freed. Nothing of this is done with a libc that has no mallopt(3) (musl)."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc


def give_back(size: int) -> None:
    """From `size` bytes on a block is a mapping of its own for good.

    By itself glibc raises that size, to up to 32 MiB, each time that a larger block is freed (mallopt(3), M_MMAP_THRESHOLD): arrays of that
    size then lie in its heap, whose holes are ours for ever.
    """
    _set((_M_MMAP_THRESHOLD, size))


def hoard_nothing() -> None:
    """One arena for all threads, and no thresholds that grow with what was freed once: for a program of ours that lives long, and is small but for moments."""
    _set((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, 64 << 10), (_M_TRIM_THRESHOLD, 128 << 10))


def _set(*options: tuple[int, int]) -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in options:
            libc.mallopt(ctypes.c_int(option), ctypes.c_int(value))
