"""What holds the objects of a heap from outside of it: modules, the local variables of running calls, and C.

Modules and calls are known by name. An object that has more references than the heap holds of it is held by something else as well: a
variable of C code, a value that a running instruction works on. Where a whole type has such objects by the thousand, an extension module
forgets to let go of them (a missing Py_DECREF).
"""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython import interpreter
from pellucid.runtimes.cpython.census import Heap
from pellucid.runtimes.cpython.heap_types import HEAP
from pellucid.runtimes.cpython.names import Names
from pellucid.runtimes.cpython.objects import Objects
from pellucid.runtimes.cpython.values import Values
from pellucid.runtimes.references import Indices, Longs, References

MAX_FRAMES = 10_000
MAX_SLOTS = 1 << 12
IMMORTAL = 1 << 29
"""Counts from here on are of objects that are never freed: PEP 683 begins at 1 << 30 (Include/refcount.h); what 3.11 has frozen into
the program begins at 999,999,999, and is counted from there (Include/internal/pycore_object.h).
"""


class Root(Struct, frozen=True):
    """Object `number`, held by a module (`name` is the module's) or by a variable `name` of a running call, told by `where`."""

    number: int
    how: str
    name: str
    where: str = ""


class Roots(Struct, frozen=True):
    """`named` ones, and the objects that are `outside`: held by something that has no name. `uncollectable`: those in gc.garbage."""

    named: tuple[Root, ...]
    outside: Indices
    uncollectable: tuple[int, ...]

    def numbers(self) -> Indices:
        """All of them."""
        return np.concatenate((np.array([root.number for root in self.named], np.int32), self.outside))


def roots(heap: Heap, graph: References, runtime: int) -> Roots:
    """Everything that holds the heap."""
    values = Values(heap.memory, heap.layout)
    named: dict[int, Root] = {}
    garbage: list[int] = []
    try:
        interpreters = interpreter.Census(heap.memory, heap.layout, runtime).interpreters()
    except Unreadable:
        interpreters = ()
    for one in interpreters:
        for root in (*_modules(heap, values, one.address), *_calls(heap, values, one)):
            if root.number >= 0:
                named.setdefault(root.number, root)
        garbage += _garbage(heap, values, one.address)
    outside = held_from_outside(heap, graph)
    outside = outside[~np.isin(outside, np.array(list(named), np.int32))]
    return Roots(tuple(named.values()), outside, tuple(garbage))


def counts(heap: Heap) -> Longs:
    """The count of references of each object; IMMORTAL and above: not counted."""
    words = heap.image.words[heap.places // 8] & np.uint64(0xFFFFFFFF)
    return words.view(np.int64)


def held_from_outside(heap: Heap, graph: References) -> Indices:
    """Objects with more references than the heap has of them."""
    seen = graph.in_degrees()
    types = heap.types
    per_type = np.bincount(heap.index, minlength=len(types))
    at = np.minimum(np.searchsorted(heap.places, types.places), max(len(heap) - 1, 0))
    own = np.flatnonzero((heap.places[at] == types.places) & types.has(HEAP)) if len(heap) else at[:0]
    seen[at[own]] += per_type[own]  # an instance holds its class, where that is no static one
    count = counts(heap)
    return np.flatnonzero((count > seen) & (count < IMMORTAL)).astype(np.int32)


def _modules(heap: Heap, values: Values, address: int) -> Iterator[Root]:
    try:
        modules = values.pages.u64(address + values.layout["interpreter_state.imports_modules"])
        for key, module in values.items(modules):
            yield Root(heap.number(module), "module", values.name_of(key))
    except Unreadable:
        return


def _garbage(heap: Heap, values: Values, address: int) -> list[int]:
    """gc.garbage: what the collector could not free."""
    try:
        at = values.pages.u64(address + values.layout["interpreter_state.gc_garbage"])
        if not at or values.name_of_kind(at) != "list":
            return []
        return [number for item in values.list_items(at) if (number := heap.number(item)) >= 0]
    except Unreadable:
        return []


def _calls(heap: Heap, values: Values, one: interpreter.Interpreter) -> Iterator[Root]:
    layout, pages = heap.layout, values.pages
    names = Names(Objects(heap.memory, layout)).of(one.address)
    for thread in one.threads:
        try:
            ident = pages.u64(thread + layout["thread_state.thread_id"])
            if layout.minor < 13:
                frame = pages.u64(pages.u64(thread + layout["thread_state.cframe"]) + layout["cframe.current_frame"])
            else:
                frame = pages.u64(thread + layout["thread_state.current_frame"])
            for _ in range(MAX_FRAMES):
                if not frame:
                    break
                yield from _locals(heap, values, frame, names.get(ident, ""))
                frame = pages.u64(frame + layout["interpreter_frame.previous"])
        except Unreadable:
            continue  # it was starting or ending


def _locals(heap: Heap, values: Values, frame: int, thread: str) -> Iterator[Root]:
    layout, pages = heap.layout, values.pages
    untag = ~7 if layout.minor >= 14 else ~0
    code = pages.u64(frame + layout["interpreter_frame.executable"]) & untag
    if not code or values.name_of_kind(code) != "code":
        return
    function = values.word(pages.u64(code + layout["code_object.qualname"]))
    file = values.word(pages.u64(code + layout["code_object.filename"])).rpartition("/")[2]
    where = f"{function} ({file}{f', thread {thread}' if thread else ''})"
    space = pages.u64(frame + layout["interpreter_frame.locals"])
    if space and function == "<module>":
        return  # its variables are the module's
    slots = values.tuple_items(pages.u64(code + layout["code_object.localsplusnames"]), MAX_SLOTS)
    for slot, name in enumerate(slots):
        at = pages.u64(frame + layout["interpreter_frame.localsplus"] + 8 * slot) & untag
        if at:
            yield Root(heap.number(at), "local", values.name_of(name), where)
