"""A search of /proc that is shared among the CPUs: forked children read their part of the processes and tell what they found.

One readlink takes the kernel some two microseconds, in which nothing of ours can run: on a machine with fifty thousand descriptors the
search is all the time there is, and as long again as it needs to be on two CPUs. A child that dies, or says nothing that can be read, has
its part searched again by the parent: nothing is lost but time.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

Found = TypeVar("Found")
Search = Callable[[Sequence[int]], Found]

MOST_CHILDREN = 7
LEAST_SHARE = 64
"""Fewer processes than that are searched in less time than a fork takes."""


def shared(search: Search[Found], pids: Sequence[int], kind: type[Found]) -> list[Found]:
    """`search` over all of `pids`, in parts; a result of the type `kind`, which msgspec can encode, for each."""
    parts = 1 if _has_threads() else min(MOST_CHILDREN + 1, len(os.sched_getaffinity(0)), len(pids) // LEAST_SHARE or 1)
    shares = [pids[part::parts] for part in range(parts)]
    children = [_begun(search, share) for share in shares[1:]]
    try:
        found = [search(shares[0])]
        for (_, reading), share in zip(children, shares[1:], strict=True):
            told = _read(reading)
            try:
                found.append(msgspec.msgpack.decode(told, type=kind))
            except msgspec.DecodeError:
                found.append(search(share))
    finally:
        for child, reading in children:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return found


def _has_threads() -> bool:
    """Python warns of a fork among threads, whose locks the child may find taken (os.fork, since 3.12)."""
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1


def _begun(search: Search[Found], share: Sequence[int]) -> tuple[int, int]:
    """The child that searches, and the end of the pipe to read from."""
    reading, writing = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            _tell(search, share, writing)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return child, reading


def _tell(search: Search[Found], share: Sequence[int], writing: int) -> None:
    """The child, which never returns; it ends by SIGPIPE or SIGKILL with its parent."""
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        rest = memoryview(msgspec.msgpack.encode(search(share)))
        while rest:
            rest = rest[os.write(writing, rest) :]
    finally:
        os._exit(0)


def _read(reading: int) -> bytes:
    parts = []
    while part := os.read(reading, 1 << 20):
        parts.append(part)
    return b"".join(parts)
