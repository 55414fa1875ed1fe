"""Whether the descriptors of a process become more while it is watched, and what the new ones are.

One list of numbers at each of some even times; what they are is asked only of the numbers that are new at the end, and only where there
are more than at the begin.
"""

import os
import time

from msgspec.structs import replace

from pellucid.kernel import fds, procfs
from pellucid.model import FileGroup, Gap, OpenFile, Process
from pellucid.model.errors import LookError
from pellucid.model.over_time import Descriptors
from pellucid.observe.files import with_sockets
from pellucid.observe.leaks import grouped, limit, what
from pellucid.observe.window import Seen, Window

_EVERY_S = 0.25
_LEAST_SHARE = 0.05
"""A process with very many descriptors is listed so rarely that it takes at most this share of a CPU."""
_MOST_ASKED = 512
_MOST_GROUPS = 5


def watch(process: Process, window: Window) -> Seen:
    """Those of `process` until the window is over. Raises NotPermitted, NoSuchProcess."""
    began = time.monotonic()
    first = last = _numbers(process.pid)
    every = max(_EVERY_S, (time.monotonic() - began) / _LEAST_SHARE)
    counts = [len(first)]
    while window.wait(every):
        last = _numbers(process.pid)
        counts.append(len(last))
    if procfs.exists(process.pid, process.start_ticks):  # else the last list is that of a process that ends
        last = _numbers(process.pid)
        counts.append(len(last))
    new = sorted(last - first)
    files, gaps = _files(process.pid, new) if counts[-1] > counts[0] else ((), ())
    return Seen(
        Descriptors(
            seconds=time.monotonic() - began,
            counts=tuple(counts),
            opened=len(new),
            limit=limit(process.pid),
            new=tuple(_with_numbers(group, files) for group in grouped(files)[:_MOST_GROUPS]),
        ),
        gaps,
    )


def _with_numbers(group: FileGroup, files: tuple[OpenFile, ...]) -> FileGroup:
    """With all of its descriptors, not only some examples: who opened them may be known of the later ones only."""
    return replace(group, fds=tuple(file.fd for file in files if file.fd is not None and what(file) == group.what))


def _numbers(pid: int) -> frozenset[int]:
    try:
        return frozenset(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except OSError as error:
        raise procfs.failed(pid, f"list the descriptors of pid {pid}", error) from error


def _files(pid: int, new: list[int]) -> tuple[tuple[OpenFile, ...], tuple[Gap, ...]]:
    """What they are; those that were closed meanwhile are left out."""
    found = tuple(file for fd in new[-_MOST_ASKED:] if isinstance(file := fds.open_file(pid, fd), OpenFile))
    try:
        return with_sockets(pid, found)
    except LookError as error:  # it has ended
        return found, (Gap(f"the sockets of pid {pid}", error.said, error.remedy),)
