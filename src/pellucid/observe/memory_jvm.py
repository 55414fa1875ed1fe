"""The Java heap among the mappings of a JVM: the neighbouring anonymous mappings that are together as large as its heap may become.

HotSpot reserves all of -Xmx in one piece and commits parts of it (ReservedHeapSpace, memory/virtualspace.cpp); archived objects may be mapped
from classes.jsa at its end.
"""

from typing import Protocol

from pellucid.kernel.maps import Mapping
from pellucid.model.collector import Collector
from pellucid.model.errors import LookError
from pellucid.model.memory import Part


class Use(Protocol):
    """A mapping with its resident bytes: see `kernel.smaps.Use`."""

    @property
    def mapping(self) -> Mapping: ...
    @property
    def anonymous(self) -> int: ...


def collector_of(pid: int) -> Collector | None:
    """Of a JVM that publishes its counters; None for anything else."""
    from pellucid.runtimes.jvm.collector import collector
    from pellucid.runtimes.jvm.perfdata import PerfData

    try:
        data = PerfData(pid, "memory")
    except LookError:
        return None
    try:
        return collector(data.read(), 0.0)
    except LookError:
        return None
    finally:
        data.close()


def heap(uses: tuple[Use, ...], collector: Collector) -> Part | None:
    """The row of the table; None where no such mappings are found."""
    limit = collector.heap_limit
    if not limit:
        return None
    for begin in range(len(uses)):
        end, size = begin, 0
        while end < len(uses) and _may_be_heap(uses[end].mapping) and size < limit:
            if end > begin and uses[end].mapping.start != uses[end - 1].mapping.end:
                break
            size += uses[end].mapping.end - uses[end].mapping.start
            end += 1
        if size == limit:
            resident = sum(use.anonymous for use in uses[begin:end] if not use.mapping.inode)
            capacity = sum(one.capacity for one in collector.generations)
            detail = f"{collector.used >> 20} MiB used as of the last collection, {capacity >> 20} committed, at most {limit >> 20}"
            return Part("java-heap", "Java heap", resident, detail=detail)
    return None


def _may_be_heap(mapping: Mapping) -> bool:
    return not mapping.path or mapping.path.endswith(".jsa")
