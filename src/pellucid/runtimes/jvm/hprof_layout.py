"""How many bytes an object of a dump had in its heap: the dump tells its fields, and not the JVM's layout of them.

The addresses tell it: objects lie one after the other, so that the distance to the next one is the size of most. Of the four layouts that
HotSpot has, the one that explains most distances is taken.

    header  reference  array    of
    12      4          16       compressed references and class pointers (the default below 32 GiB of heap)
    16      8          24       neither
    12      8          16       compressed class pointers only (ZGC, heaps of 32 GiB and more)
    8       4          12       compact headers (JDK 24 and later, -XX:+UseCompactObjectHeaders)

oops/instanceOop.hpp, oops/arrayOop.hpp; objects are aligned to 8 bytes (-XX:ObjectAlignmentInBytes).
"""

from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.runtimes.jvm.hprof_records import SIZES

if TYPE_CHECKING:
    from pellucid.runtimes.jvm.hprof_heap import Heap

Longs = NDArray[np.int64]
_INSTANCE, _OBJECTS, _PRIMITIVES, _CLASS = range(4)
_SAMPLE = 1 << 18


class Layout(Struct, frozen=True):
    """Bytes of an object's header, of a reference, and of an array's header. `proved`: the share of sampled distances that it explains."""

    header: int
    reference: int
    array: int
    proved: float = 0.0

    @property
    def words(self) -> str:
        return f"header {self.header}, references {self.reference}, arrays {self.array} bytes"

    def sizes(self, heap: "Heap", numbers: "NDArray[np.int32]") -> Longs:
        """Bytes of each of these objects, aligned to 8."""
        kind, type_, elements = heap.kind[numbers], heap.type[numbers], heap.elements[numbers]
        found = np.zeros(len(kind), np.int64)
        arrays = kind == _OBJECTS
        found[arrays] = self.array + self.reference * elements[arrays].astype(np.int64)
        primitive = kind == _PRIMITIVES
        found[primitive] = self.array + SIZES[type_[primitive]] * elements[primitive]
        shapes = np.array(
            [self._instance(heap, number) for number in range(len(heap.classes))] or [self.header], np.int64
        )
        instance = kind == _INSTANCE
        found[instance] = np.where(type_[instance] >= 0, shapes[type_[instance]], self.header + elements[instance])
        class_ = kind == _CLASS
        found[class_] = self._class(heap)
        return (found + 7) // 8 * 8

    def _instance(self, heap: "Heap", number: int) -> int:
        objects, others = heap.classes.shape(number)
        return self.header + self.reference * objects + others

    def _class(self, heap: "Heap") -> int:
        """Of a java.lang.Class; its static fields are not told apart in a dump."""
        number = next((n for n, one in enumerate(heap.classes.all) if one.name == "java.lang.Class"), None)
        return self.header if number is None else self._instance(heap, number)


LAYOUTS = (Layout(12, 4, 16), Layout(16, 8, 24), Layout(12, 8, 16), Layout(8, 4, 12))


def infer(heap: "Heap") -> Layout:
    """The layout that explains most distances between objects that follow one another in the heap."""
    if heap.dump.id_size == 4:
        return Layout(8, 4, 12)  # 32-bit JVMs: mark word and class pointer of 4 bytes each, and the length of an array
    count = max(len(heap) - 1, 0)
    numbers = np.arange(0, count, max(count // _SAMPLE, 1), dtype=np.int32)
    numbers = numbers[heap.kind[numbers] != _CLASS]
    if not len(numbers):
        return LAYOUTS[0]
    distances = (heap.ids.of(numbers + 1) - heap.ids.of(numbers)).astype(np.int64)
    best = LAYOUTS[0]
    for layout in LAYOUTS:
        share = float((layout.sizes(heap, numbers) == distances).mean())
        if share > best.proved:
            best = Layout(layout.header, layout.reference, layout.array, share)
    return best
