"""Who holds most of a heap dump: the biggest trees of dominators, where each of them spreads out, and the way there from a root.

    static System.props → java.util.Properties .map → java.util.concurrent.ConcurrentHashMap .table → Node[] → 100,000 × MemLeak

A tree is followed down as long as one child has nearly all of it; where it spreads, the things are that fill the memory. The tables and
nodes of the library's maps are told as the map, with the classes of its keys and values.
"""

from itertools import pairwise

import numpy as np
from msgspec import Struct

from pellucid.model.heap import Hold
from pellucid.runtimes.dominators import dominators
from pellucid.runtimes.jvm.hprof_classes import OBJECT, TYPES, WIDTHS, Field
from pellucid.runtimes.jvm.hprof_graph import references
from pellucid.runtimes.jvm.hprof_heap import CLASS, INSTANCE, OBJECTS, PRIMITIVES, Heap, value_of
from pellucid.runtimes.jvm.hprof_threads import Threads
from pellucid.runtimes.references import Indices, Longs, References, chain_ends, retained

LEAST_SHARE = 0.1
"""Of what is reachable: smaller trees are no suspects."""
MOST_SUSPECTS = 5
_NEARLY_ALL = 0.8
_BIG = 0.01
"""Of what is reachable: a tree is not followed down to what is less."""
_MAX_WAY = 4096
_SAMPLE = 1000
_AT_ONCE, _FEW_PAGES = 1 << 20, 1 << 16
_TREE_BIN = "java.util.concurrent.ConcurrentHashMap$TreeBin"

NODES = {
    "java.util.HashMap$Node": ("key", "value"),
    "java.util.HashMap$TreeNode": ("key", "value"),
    "java.util.HashMap$Entry": ("key", "value"),
    "java.util.LinkedHashMap$Entry": ("key", "value"),
    "java.util.Hashtable$Entry": ("key", "value"),
    "java.util.concurrent.ConcurrentHashMap$Node": ("key", "val"),
    "java.util.concurrent.ConcurrentHashMap$TreeNode": ("key", "val"),
    "java.util.concurrent.ConcurrentHashMap$HashEntry": ("key", "value"),
    "java.util.TreeMap$Entry": ("key", "value"),
    "java.util.WeakHashMap$Entry": ("referent", "value"),
    "java.util.IdentityHashMap$Entry": ("key", "value"),
    "java.util.concurrent.ConcurrentSkipListMap$Node": ("key", "val"),
    "java.lang.ThreadLocal$ThreadLocalMap$Entry": ("referent", "value"),
    "java.util.LinkedList$Node": ("", "item"),
    "java.util.concurrent.LinkedBlockingQueue$Node": ("", "item"),
    "java.util.concurrent.LinkedBlockingDeque$Node": ("", "item"),
    "java.util.concurrent.ConcurrentLinkedQueue$Node": ("", "item"),
}
"""The nodes of the library's containers, with their fields for key and value (JDK 6 to 25); a list has no key."""


class Group(Struct, frozen=True):
    """Objects of one type among what a holder has. `bytes` are those that would go with them."""

    type: str
    count: int
    bytes: int


class Tree(Struct, frozen=True, kw_only=True):
    """What one object has to itself. `number` is where it spreads out, `container` the map or list that this is the inside of (or itself).

    `way`: the shortest one from a root. `groups`: what hangs on it, largest first. For a map `entries`, and the types of keys and values.
    `alike`: of `sampled` keys so many are equal to another one in every field.
    """

    number: int
    container: int
    type: str
    retained_bytes: int
    share: float
    root: str
    way: tuple[Hold, ...]
    groups: tuple[Group, ...]
    entries: int | None = None
    keys: tuple[Group, ...] = ()
    values: tuple[Group, ...] = ()
    alike: int = 0
    sampled: int = 0
    old_names: bool = False
    """A Properties keeps its entries in a ConcurrentHashMap since JDK 9, and was a Hashtable itself before."""


class Held(Struct, frozen=True):
    """The graph of one dump and what follows from it. `total`: bytes that the roots reach."""

    heap: Heap
    graph: References
    roots: Indices
    idom: Indices
    retained: Longs
    total: int

    def reachable(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        return self.idom >= 0


def held(heap: Heap) -> Held:
    """Dominators and retained sizes; the long part of the work."""
    graph = references(heap)
    roots = heap.roots()
    heap.ids.forget()
    heap.dump.forget_pages()
    idom = dominators(graph, roots)
    sizes = retained(idom, heap.eighths)
    sizes *= 8
    return Held(heap, graph, roots, idom, sizes, heap.total(idom >= 0))


def trees(found: Held) -> tuple[Tree, ...]:
    """The largest trees of dominators, each told from where it spreads out."""
    idom, sizes = found.idom, found.retained
    big = np.flatnonzero(sizes >= max(_BIG * found.total, 1)).astype(np.int32)
    tops = big[(idom[big] == len(found.heap)) & (sizes[big] >= LEAST_SHARE * found.total)]
    tops = tops[np.argsort(-sizes[tops], kind="stable")][:MOST_SUSPECTS]
    below: dict[int, int] = {}
    for number, above in zip(big.tolist(), idom[big].tolist(), strict=True):
        if above not in below or sizes[number] > sizes[below[above]]:
            below[above] = number
    ways = Ways(found)
    return tuple(_tree(found, below, int(top), ways) for top in tops.tolist())


def _tree(found: Held, biggest_of: dict[int, int], top: int, ways: "Ways") -> Tree:
    heap = found.heap
    at = top
    while at in biggest_of and found.retained[biggest_of[at]] >= _NEARLY_ALL * found.retained[at]:
        at = biggest_of[at]
    below = np.flatnonzero(found.idom == at).astype(np.int32)
    nodes = _nodes_of(found, at, below)
    container = _container(found, at) if nodes is not None else at
    way, root = ways.to(container)
    keys: tuple[Group, ...] = ()
    values: tuple[Group, ...] = ()
    alike = sampled = 0
    if nodes is not None:
        keys, key_numbers = _field_types(heap, nodes, 0)
        values, _ = _field_types(heap, nodes, 1)
        alike, sampled = _alike(heap, key_numbers)
    names = {hold.type for hold in way}
    return Tree(
        number=at,
        container=container,
        type=heap.type_name(container),
        retained_bytes=int(found.retained[container]),
        share=float(found.retained[container]) / found.total,
        root=root,
        way=way,
        groups=_groups(heap, below, found.retained),
        entries=len(nodes) if nodes is not None else None,
        keys=keys,
        values=values,
        alike=alike,
        sampled=sampled,
        old_names="java.util.Properties" in names and "java.util.concurrent.ConcurrentHashMap" in names,
    )


def _nodes_of(found: Held, at: int, below: Indices) -> Indices | None:
    """The nodes of the library's container whose inside `at` is, in chains too; None where it is none."""
    heap = found.heap
    if not len(below):
        return None
    is_node, linked = (np.zeros(len(heap), bool) for _ in range(2))
    names = [*(one.name for one in heap.classes.all), ""]  # the last: a class that the dump does not have
    of_type = np.array([name in NODES for name in names])
    linking = of_type | np.array([name == _TREE_BIN for name in names])
    for start in range(0, len(heap), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        instances = np.flatnonzero((heap.kind[part] == INSTANCE) & (found.idom[part] >= 0))
        types = heap.type[part][instances]
        is_node[part][instances] = of_type[types]
        linked[part][instances] = linking[types]
    if 2 * int(is_node[below].sum()) < len(below):
        return None
    nodes = np.flatnonzero(is_node).astype(np.int32)
    del is_node
    # The first of each chain of nodes: each points to the one before it, the first to itself.
    top = np.arange(len(heap), dtype=np.int32)
    chained = np.flatnonzero(linked).astype(np.int32)
    over = found.idom[chained]
    chained = chained[(over < len(heap)) & linked[np.minimum(over, len(heap) - 1)]]
    top[chained] = found.idom[chained]
    chain_ends(top)
    inside: Indices = nodes[found.idom[top[nodes]] == at]
    return inside


def _container(found: Held, at: int) -> int:
    """The map or list that the table (or first node) `at` belongs to."""
    heap = found.heap
    for _ in range(3):
        name = heap.type_name(at)
        if heap.kind[at] == INSTANCE and name not in NODES:
            return at
        above = int(found.idom[at])
        if above >= len(heap) or above < 0:
            return at
        at = above
    return at


class Ways:
    """Shortest ways from the roots: from those that stay (classes, JNI) where there is one, else from a thread's local variables too."""

    def __init__(self, found: Held) -> None:
        self._heap = found.heap
        kinds = found.heap.root_kinds()
        self._threads = Threads(found.heap)
        found.heap.ids.forget()
        passing = np.array([kinds.get(one) in PASSING for one in found.roots.tolist()], bool)
        self._parents = found.graph.parents(found.roots[~passing], else_from=found.roots[passing])

    def to(self, number: int) -> tuple[tuple[Hold, ...], str]:
        """(the steps from a root, why that is one); empty where no root reaches it."""
        parents = self._parents
        if parents[number] < 0:
            return (), ""
        way = [number]
        while parents[way[-1]] != way[-1] and len(way) < _MAX_WAY:
            way.append(int(parents[way[-1]]))
        way.reverse()
        heap, first = self._heap, way[0]
        root = self._threads.root(first) or ROOT
        steps = [Hold(how="root", name=root, type=heap.type_name(first))]
        for holder, held_one in pairwise(way):
            how, name = link(heap, holder, held_one)
            steps.append(Hold(how=how, name=name, type=heap.type_name(held_one)))
        return tuple(steps), root


PASSING = frozenset({"local variable of a thread", "JNI local reference", "native stack", "thread", "thread block"})
ROOT = "root"


def link(heap: Heap, holder: int, held_one: int) -> tuple[str, str]:
    """(how, name) of the reference from one object to another: `attribute map`, `static props`, `item 17`."""
    wanted = heap.ids.id(held_one)
    kind, type_ = int(heap.kind[holder]), int(heap.type[holder])
    if kind == CLASS and type_ >= 0:
        one = heap.classes.all[type_]
        name = next((name for name, value in one.statics if value == wanted), "")
        if name:
            return "static", f"{one.name}.{name}"
        return ("loader", "") if one.loader_id == wanted else ("super", "") if one.super_id == wanted else ("other", "")
    if kind == OBJECTS:
        i = heap.dump.id_size
        at = int(heap.at[holder])
        ids = heap.view.ids(at + i * np.arange(int(heap.elements[holder]), dtype=np.int64))
        place = np.flatnonzero(ids == wanted)
        return ("item", str(int(place[0]))) if len(place) else ("other", "")
    if kind == INSTANCE and type_ >= 0:
        for field in heap.classes.fields(type_):
            if field.type == OBJECT and value_of(heap, holder, field) == wanted:
                return "attribute", field.name
        return "class", ""
    return "other", ""


def _field_types(heap: Heap, nodes: Indices, which: int) -> tuple[tuple[Group, ...], Indices]:
    """The types of what the key (0) or value (1) of the nodes is, and the objects themselves."""
    parts = [np.zeros(0, np.int32)]
    for type_ in np.unique(heap.type[nodes]).tolist():
        wanted = NODES[heap.classes.name(type_)][which]
        field = next((one for one in heap.classes.fields(type_) if one.name == wanted), None)
        if field is not None:
            of_type = nodes[heap.type[nodes] == type_]
            for start in range(0, len(of_type), _FEW_PAGES):
                at = heap.at[of_type[start : start + _FEW_PAGES]]
                parts.append(heap.ids.numbers(heap.view.ids(at + field.offset)))
                heap.dump.forget_pages()
    heap.ids.forget()
    numbers = np.concatenate(parts)
    numbers = numbers[numbers >= 0]
    return _groups(heap, numbers, None), numbers


def _groups(heap: Heap, numbers: Indices, sizes: Longs | None, most_told: int = 3) -> tuple[Group, ...]:
    """The types of these objects, those with the most bytes first: their own ones, or `sizes`."""
    if not len(numbers):
        return ()
    most = 4 * (max(len(heap.classes), *TYPES) + 2)
    counts, weights = np.zeros(most, np.int64), np.zeros(most, np.int64)
    one_of = np.zeros(most, np.int32)
    for start in range(0, len(numbers), _AT_ONCE):
        part = numbers[start : start + _AT_ONCE]
        key = (heap.type[part] + 1) * 4 + heap.kind[part]
        counts += np.bincount(key, minlength=most)
        weights += np.bincount(key, heap.sizes(part) if sizes is None else sizes[part], most).astype(np.int64)
        one_of[key] = part
    kinds = np.flatnonzero(counts)
    kinds = kinds[np.argsort(-weights[kinds], kind="stable")][:most_told]
    return tuple(Group(heap.type_name(int(one_of[one])), int(counts[one]), int(weights[one])) for one in kinds.tolist())


def _alike(heap: Heap, keys: Indices) -> tuple[int, int]:
    """(of a sample of keys of one class so many equal another one field by field, the size of the sample). Strings by their content."""
    keys = keys[(heap.kind[keys] == INSTANCE) & (heap.type[keys] >= 0)]
    if not len(keys):
        return 0, 0
    kinds, counts = np.unique(heap.type[keys], return_counts=True)
    type_ = int(kinds[np.argmax(counts)])
    if heap.classes.name(type_).startswith("java.lang."):
        return 0, 0  # String, Integer, ...: those have equals
    keys = np.unique(keys[heap.type[keys] == type_])[:_SAMPLE]
    fields = heap.classes.fields(type_)
    if not fields:
        return 0, 0
    seen: dict[tuple[bytes, ...], int] = {}
    for key in keys.tolist():
        print_ = tuple(_content(heap, key, field) for field in fields)
        seen[print_] = seen.get(print_, 0) + 1
    return sum(count for count in seen.values() if count > 1), len(keys)


def _content(heap: Heap, number: int, field: Field) -> bytes:
    at = int(heap.at[number]) + field.offset
    width = heap.dump.id_size if field.type == OBJECT else WIDTHS.get(field.type, 0)
    raw = heap.dump.map[at : at + width]
    if field.type != OBJECT:
        return raw
    text = string_bytes(heap, int.from_bytes(raw, "big"))
    return raw if text is None else text


def string_bytes(heap: Heap, id_: int) -> bytes | None:
    """What the String of this id consists of; None for anything else."""
    (number,) = heap.ids.numbers(np.array([id_], np.uint64)).tolist()
    if number < 0 or heap.type_name(number) != "java.lang.String":
        return None
    field = next((one for one in heap.classes.fields(int(heap.type[number])) if one.name == "value"), None)
    if field is None:
        return None
    (array,) = heap.ids.numbers(np.array([value_of(heap, number, field)], np.uint64)).tolist()
    if array < 0 or heap.kind[array] != PRIMITIVES:
        return None
    at, width = int(heap.at[array]), 2 if int(heap.type[array]) == 5 else 1
    return heap.dump.map[at : at + min(int(heap.elements[array]) * width, 4096)]
