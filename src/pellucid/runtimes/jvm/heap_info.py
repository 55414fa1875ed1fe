"""What a JVM answers to GC.heap_info: the use of heap and metaspace at this moment.

    garbage-first heap   total 65536K, used 9150K [...)          G1; since JDK 24 `total reserved 65536K, committed 65536K, used 9150K`
    def new generation   total 19648K, used 9266K [...)          Serial, a line a generation; PSYoungGen, ParOldGen: Parallel
    ZHeap           used 24M, capacity 256M, max capacity 256M   256M max, 256M committed, 8960K used: Shenandoah
    Metaspace       used 129K, committed 320K, reserved 1114112K
     class space    used 4K, committed 128K, reserved 1048576K

Printed by print_on of each heap (src/hotspot/share/gc), and MetaspaceUtils::print_on.
"""

import re

from msgspec.structs import replace

from pellucid.model.collector import Collector, Metaspace

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"(\d+)\s*([BKMGT]?)"
_GENERATION = re.compile(
    rf"^\s*(garbage-first heap|def new generation|tenured generation|PSYoungGen|ParOldGen|PSOldGen|par new generation|"
    rf"concurrent mark-sweep generation|DefNew|Tenured)\s+total .*?used {_SIZE}",
    re.MULTILINE,
)
_Z = re.compile(rf"^\s*ZHeap\s+used {_SIZE}", re.MULTILINE)
_SHENANDOAH = re.compile(rf"committed, {_SIZE} used", re.MULTILINE)
_METASPACE = re.compile(rf"^\s*Metaspace\s+used {_SIZE}(?:, capacity {_SIZE})?, committed {_SIZE}", re.MULTILINE)
_CLASSES = re.compile(rf"^\s*class space\s+used {_SIZE}(?:, capacity {_SIZE})?, committed {_SIZE}", re.MULTILINE)


def with_heap_info(found: Collector, told: str) -> Collector:
    """`found` with `heap_used` and `metaspace` of now; what the text does not tell stays as it was."""
    heap = heap_used(told)
    return replace(
        found,
        heap_used=found.heap_used if heap is None else heap,
        metaspace=_metaspace(told, found.metaspace),
    )


def heap_used(told: str) -> int | None:
    """Bytes of the heap in use; None where the text tells none."""
    generations = _GENERATION.findall(told)
    if generations:
        return sum(_bytes(count, unit) for _, count, unit in generations)
    for one in (_Z, _SHENANDOAH):
        found = one.search(told)
        if found:
            return _bytes(found[1], found[2])
    return None


def _metaspace(told: str, before: Metaspace | None) -> Metaspace | None:
    whole, classes = _METASPACE.search(told), _CLASSES.search(told)
    if whole is None:
        return before
    return Metaspace(
        used=_bytes(whole[1], whole[2]),
        capacity=_bytes(whole[5], whole[6]),
        limit=before.limit if before else None,
        class_used=_bytes(classes[1], classes[2]) if classes else 0,
        class_capacity=_bytes(classes[5], classes[6]) if classes else 0,
        class_limit=before.class_limit if before else None,
    )


def _bytes(count: str, unit: str) -> int:
    return int(count) * _UNITS[unit]
