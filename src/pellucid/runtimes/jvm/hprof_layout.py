"""How many bytes an object of a dump had in its heap: the dump tells its fields, and not the JVM's layout of them.

The addresses tell it: objects lie one after the other, so that the distance to the next one is the size of most. Of the layouts that HotSpot
has, the one that explains most distances is taken.

    header  reference  array    of
    12      4          16       compressed references and class pointers (the default below 32 GiB of heap)
    16      8          24       neither; an array's header is 20 where its elements need no more (JDK 23 and later), as in the next one
    16      4          24       compressed references only
    12      8          16       compressed class pointers only (ZGC, heaps of 32 GiB and more)
    8       4          12       compact headers (JDK 24 and later, -XX:+UseCompactObjectHeaders, the default since JDK 27)
    8       8          12       compact headers, references not compressed

oops/instanceOop.hpp, oops/arrayOop.hpp (elements of 8 bytes are aligned to 8). Objects are aligned to 8 bytes, or to what all distances are a
multiple of (-XX:ObjectAlignmentInBytes).
"""

from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.runtimes.jvm.hprof_records import SIZES

if TYPE_CHECKING:
    from pellucid.runtimes.jvm.hprof_classes import Classes
    from pellucid.runtimes.jvm.hprof_heap import Heap

Longs = NDArray[np.int64]
_INSTANCE, _OBJECTS, _PRIMITIVES, _CLASS = range(4)
_SAMPLE = 1 << 16
_LEAST_ALIGNED = 64
_MOST_ALIGNED = 256


class Sample(Struct, frozen=True):
    """Objects, none of them a class, each with the distance in bytes to the next one in the heap; arrays as `Heap` has them."""

    kind: NDArray[np.uint8]
    type: NDArray[np.int32]
    elements: NDArray[np.int32]
    distances: Longs


class Layout(Struct, frozen=True):
    """Bytes of an object's header, of a reference, of an array's header, and what all sizes are a multiple of.

    `proved`: the share of sampled distances that it explains.
    """

    header: int
    reference: int
    array: int
    aligned: int = 8
    proved: float = 0.0

    @property
    def words(self) -> str:
        aligned = f", aligned to {self.aligned}" if self.aligned != 8 else ""
        return f"header {self.header}, references {self.reference}, arrays {self.array} bytes{aligned}"

    def sizes(self, heap: "Heap", numbers: "NDArray[np.int32]") -> Longs:
        """Bytes of each of these objects, aligned."""
        return self.of(heap.classes, heap.kind[numbers], heap.type[numbers], heap.elements[numbers])

    def of(
        self, classes: "Classes", kind: NDArray[np.uint8], type_: NDArray[np.int32], elements: NDArray[np.int32]
    ) -> Longs:
        """Bytes of each of these objects, aligned."""
        found = np.zeros(len(kind), np.int64)
        arrays = kind == _OBJECTS
        found[arrays] = self.array + self.reference * elements[arrays].astype(np.int64)
        primitive = kind == _PRIMITIVES
        found[primitive] = self.array + SIZES[type_[primitive]] * elements[primitive]
        shapes = self.instances(classes)
        instance = kind == _INSTANCE
        found[instance] = np.where(type_[instance] >= 0, shapes[type_[instance]], self.header + elements[instance])
        class_ = kind == _CLASS
        found[class_] = self.mirror(classes)
        return self.up(found)

    def up(self, sizes: Longs) -> Longs:
        """Each of them with what aligns it."""
        return (sizes + (self.aligned - 1)) // self.aligned * self.aligned

    def instances(self, classes: "Classes") -> Longs:
        """Bytes of an instance of each class, not aligned; one more than there are classes, so that a class that is not there has one."""
        references, others = classes.shapes()
        return np.append(self.header + self.reference * references + others, self.header)

    def mirror(self, classes: "Classes") -> int:
        """Of a java.lang.Class; its static fields are not told apart in a dump."""
        number = next((n for n, one in enumerate(classes.all) if one.name == "java.lang.Class"), -1)
        return int(self.instances(classes)[number])


LAYOUTS = (
    Layout(12, 4, 16),
    Layout(8, 4, 12),
    Layout(12, 8, 16),
    Layout(8, 8, 12),
    Layout(16, 8, 24),
    Layout(16, 8, 20),
    Layout(16, 4, 24),
    Layout(16, 4, 20),
)
OF_32_BITS = Layout(8, 4, 12)
"""Mark word and class pointer of 4 bytes each, and the length of an array."""


def infer(heap: "Heap") -> Layout:
    """The layout of the JVM that the heap was of."""
    if heap.dump.id_size == 4:
        return OF_32_BITS
    count = max(len(heap) - 1, 0)
    numbers = np.arange(0, count, max(count // _SAMPLE, 1), dtype=np.int32)
    numbers = numbers[heap.kind[numbers] != _CLASS]
    distances = (heap.ids.of(numbers + 1) - heap.ids.of(numbers)).astype(np.int64)
    sample = Sample(heap.kind[numbers], heap.type[numbers], heap.elements[numbers], distances)
    return explains(heap.classes, sample)


def explains(classes: "Classes", sample: Sample) -> Layout:
    """The layout that explains most of the distances; the default one where there are none."""
    if not len(sample.distances):
        return LAYOUTS[0]
    together = int(np.bitwise_or.reduce(sample.distances))
    aligned = min(together & -together, _MOST_ALIGNED) if len(sample.distances) >= _LEAST_ALIGNED else 8
    best = LAYOUTS[0]
    for header, reference, array in ((one.header, one.reference, one.array) for one in LAYOUTS):
        layout = Layout(header, reference, array, max(aligned, 8))
        share = float((layout.of(classes, sample.kind, sample.type, sample.elements) == sample.distances).mean())
        if share > best.proved:
            best = Layout(header, reference, array, layout.aligned, share)
    return best
