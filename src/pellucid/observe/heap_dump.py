"""A heap as numbers: objects with their types, sizes and references, and who holds the largest of them. It needs no process any more.

    addresses   uint64 (n), ascending: the same object has the same address in a later dump, for CPython moves none
    index       int32 (n): place of the object's type in `types`
    sizes       int64 (n): bytes
    graph       runtimes.references.References
    roots       int32: objects that are held from outside

`describe` tells of an object how it is held; it asks the copy of the process, or what was written down in a file.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.model import Process
from pellucid.model.heap import Census, Hold
from pellucid.runtimes.dominators import dominators
from pellucid.runtimes.references import Indices, Longs, References, dominated, retained


class DumpedType(Struct, frozen=True):
    """`name` as in the histogram; `own`: of the program or of a library; `container`: may hold any number of objects."""

    name: str
    own: bool


class Holder(Struct, frozen=True):
    """What is known of an object that holds others: the way to it, len(), the types of its keys, and the most that it takes."""

    path: tuple[Hold, ...]
    length: int | None = None
    keys: str = ""
    limit: int | None = None


class Dump:
    """One heap at one moment; what is computed from it is kept."""

    def __init__(
        self,
        *,
        process: Process | None,
        census: Census,
        addresses: Callable[[], NDArray[np.uint64]],
        index: Indices,
        sizes: Longs,
        graph: References,
        roots: Indices,
        types: tuple[DumpedType, ...],
        describe: Callable[[int], Holder],
    ) -> None:
        self.process = process
        self.census = census
        self._addresses = addresses
        """Asked for only by who compares or saves: eight bytes an object."""
        self.index = index
        self.sizes = sizes
        self.graph = graph
        self.roots = roots
        self.types = types
        self.describe = describe
        self._idom: Indices | None = None
        self._retained: Longs | None = None
        self._tree: References | None = None

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def addresses(self) -> NDArray[np.uint64]:
        return self._addresses()

    @property
    def idom(self) -> Indices:
        """The immediate dominators; len(self) where only the roots together hold an object, -1 where nothing does."""
        if self._idom is None:
            self._idom = dominators(self.graph, self.roots)
        return self._idom

    def settle(self) -> None:
        """Computes the dominators now, and not when they are first asked for."""
        assert len(self.idom) == len(self)

    @property
    def retained(self) -> Longs:
        if self._retained is None:
            self._retained = retained(self.idom, self.sizes)
        return self._retained

    @property
    def tree(self) -> References:
        """What each object dominates immediately, for those who ask it of many: `below` asks of one."""
        if self._tree is None:
            self._tree = dominated(self.idom)
        return self._tree

    def below(self, number: int) -> Indices:
        """What the object dominates immediately; len(self) stands for all roots together."""
        return np.flatnonzero(self.idom == number).astype(np.int32)

    def type_of(self, number: int) -> str:
        return self.types[self.index[number]].name if number < len(self) else ""
