"""Which private, writable memory of a process is really there: the runs of pages that a copy of its heap has to take.

/proc/PID/maps tells the mappings, the page map (`kernel.pagemap`) which of their pages were ever written to.
"""

from errno import EACCES, EPERM

import numpy as np
from msgspec import Struct

from pellucid.kernel.maps import Mapping
from pellucid.kernel.pagemap import PAGE, PageMap, Regions, Stretches

_JOINED = 16
"""Holes of at most so many pages are copied too: fewer and longer runs are quicker to copy."""


class Resident(Struct, frozen=True):
    """`runs`: (first address, end) of each, lowest first. `swapped`: bytes of it that are in swap, and come back when they are read."""

    runs: tuple[tuple[int, int], ...]
    bytes: int
    swapped: int
    whole: bool
    """False where pagemap could not be read: then all of the mappings are taken."""


def resident(pid: int, mappings: tuple[Mapping, ...]) -> Resident:
    """What is there now of the private, writable mappings. Raises OSError when the process has ended."""
    wanted = _joined(mappings)
    try:
        pages = PageMap(pid)
    except OSError as error:
        if error.errno not in (EACCES, EPERM):
            raise
        return Resident(tuple(wanted), sum(end - start for start, end in wanted), 0, whole=False)
    with pages:
        regions = pages.regions(wanted)
    runs = runs_of(regions, wanted)
    swapped = int((regions.ends - regions.starts)[regions.swapped].sum())
    return Resident(runs, sum(end - start for start, end in runs), swapped, whole=True)


def runs_of(regions: Regions, mapped: Stretches) -> tuple[tuple[int, int], ...]:
    """The regions with the small holes between them; a run lies in one of the stretches that are `mapped`."""
    if not len(regions.starts):
        return ()
    within = np.searchsorted(np.array([start for start, _ in mapped], np.uint64), regions.starts, "right")
    apart = (regions.starts[1:] - regions.ends[:-1] > _JOINED * PAGE) | (within[1:] != within[:-1])
    first = regions.starts[np.concatenate(([True], apart))]
    last = regions.ends[np.concatenate((apart, [True]))]
    return tuple(zip(first.tolist(), last.tolist(), strict=True))


def _joined(mappings: tuple[Mapping, ...]) -> Stretches:
    """Private, writable mappings, without those of devices and the kernel's own; neighbours as one."""
    found: Stretches = []
    for mapping in mappings:
        if not mapping.permissions.startswith("rw") or mapping.permissions[3] != "p":
            continue
        if mapping.path.startswith(("[v", "/dev/", "/memfd:", "/SYSV")):
            continue
        if found and found[-1][1] == mapping.start:
            found[-1] = (found[-1][0], mapping.end)
        else:
            found.append((mapping.start, mapping.end))
    return found
