"""How an object is held, step by step, in the words of the program: module, global, class, attribute, key, closure, local variable.

The steps are those of a shortest way through the references, from what has a name. A class or a function is a beginning of its own, and so is
what a function keeps: how it is reached in turn says nothing more.
"""

from functools import cached_property

import numpy as np

from pellucid.kernel.memory import Unreadable
from pellucid.model.heap import Hold
from pellucid.runtimes.cpython.census import Heap
from pellucid.runtimes.cpython.heap_roots import Root, Roots
from pellucid.runtimes.cpython.heap_types import HEAP
from pellucid.runtimes.cpython.values import Values
from pellucid.runtimes.references import Indices, References

MAX_STEPS = 64
MAX_SHOWN = 48  # characters of a key
_SAMPLE = 1000  # keys of a dict that are looked at
_FUNCTION_FIELDS = (
    ("function.func_closure", "closure"),
    ("function.func_defaults", "default"),
    ("function.func_kwdefaults", "default"),
    ("function.func_globals", "globals"),
    ("function.func_code", "code"),
)


class Paths:
    """Ways to the objects of one heap. `include_values`: keys that are no names are spelt out too."""

    def __init__(self, heap: Heap, graph: References, roots: Roots, *, include_values: bool = False) -> None:
        self._heap = heap
        self._layout = heap.layout
        self._values = Values(heap.memory, heap.layout)
        self._include = include_values
        self._roots: dict[int, Root] = {}
        for root in roots.named:
            self._roots.setdefault(root.number, root)
        order = {"module": 0, "local": 1}
        named = sorted(roots.named, key=lambda root: order.get(root.how, 2))
        self._parents = graph.parents(np.array([root.number for root in named], np.int32))
        self._graph, self._unnamed = graph, roots.outside

    @cached_property
    def _outside(self) -> Indices:
        """Ways from what has no name, for who is reached by no other."""
        return self._graph.parents(self._unnamed) if len(self._unnamed) else self._parents

    def nodes(self, number: int) -> list[int]:
        """The objects on the way, the root first, `number` last; itself alone where nothing reaches it."""
        parents = self._parents if self._parents[number] >= 0 else self._outside
        found = [number]
        while len(found) < MAX_STEPS:
            over = int(parents[found[-1]])
            if over < 0 or over == found[-1]:
                break
            found.append(over)
        return found[::-1]

    def to(self, number: int) -> tuple[Hold, ...]:
        """How the object is held. Empty where only something without a name holds it."""
        nodes = self.nodes(number)
        holds: list[Hold] = []
        root = self._roots.get(nodes[0])
        if root is not None:
            if root.how == "module":
                holds.append(Hold("module", root.name, "module"))
            else:
                holds.append(Hold("local", root.name, self.type_name(nodes[0]), root.where))
        elif self._parents[number] < 0 and len(nodes) > 1:
            holds.append(Hold("outside", "", self.type_name(nodes[0])))
        at = 0
        while at < len(nodes) - 1:
            try:
                step, used = self._step(nodes, at)
            except Unreadable:
                step, used = Hold("other", "", self.type_name(nodes[at + 1])), 1
            if step.how == "global" and self._heap.kind(nodes[at]) != "module":
                holds = [Hold("module", self._module_of(nodes[at + 1]), "module")]
            at += used
            if step.how in ("class", "function", "closure", "default", "lru_cache"):
                holds = [step]
            elif step.how != "inner":
                holds.append(step)
        return tuple(holds) or self._alone(number)

    def _alone(self, number: int) -> tuple[Hold, ...]:
        kind = self._heap.kind(number)
        return (Hold("class", self.class_name(number), "type"),) if kind == "type" else ()

    def _step(self, nodes: list[int], at: int) -> tuple[Hold, int]:
        """(the step from nodes[at] on, how many references it leads over)."""
        holder, held = nodes[at], nodes[at + 1]
        further = nodes[at + 2] if at + 2 < len(nodes) else -1
        kind, name = self._heap.kind(holder), self._heap.types.names[self._heap.index[holder]]
        if kind == "module":
            return (
                (self._of_class_or(self._named("global", held, further), further), 2)
                if further >= 0
                else (self._inner(held), 1)
            )
        if kind == "type" and self._is_space(holder, held):
            if further < 0:
                return Hold("class", self.class_name(holder), "type"), 1
            return self._of_class_or(self._named("attribute", held, further), further), 2
        if name == "function":
            return self._of_function(holder, held, further)
        if name == "functools._lru_cache_wrapper":
            return self._lru_cache(holder, held), 1
        if kind in ("frame", "generator"):
            if further >= 0 and self._is_globals_of(holder, held):
                return self._of_class_or(self._named("global", held, further), further), 2
            return Hold("local", self._local(holder, held), self.type_name(held), self._code_name(holder)), 1
        if kind in ("dict", "odict"):
            return self._of_class_or(self._named("key", holder, held), held), 1
        if kind in ("list", "tuple", "deque", "set"):
            return Hold("item", self._index(holder, held), self.type_name(held)), 1
        if self._heap.kind(held) == "dict" and further >= 0 and self._is_dict_of(holder, held):
            return self._of_class_or(self._named("attribute", held, further), further), 2
        return self._of_class_or(Hold("attribute", self._attribute(holder, held), self.type_name(held)), held), 1

    def _is_globals_of(self, holder: int, held: int) -> bool:
        space = self._values.pages.u64(self._frame_of(holder) + self._layout["interpreter_frame.globals"])
        return space == self._heap.address(held)

    def _module_of(self, space: int) -> str:
        """The `__name__` in a namespace."""
        try:
            for key, value in self._values.items(self._heap.address(space)):
                if self._values.name_of(key) == "__name__":
                    return self._values.word(value)
        except Unreadable:
            pass
        return "?"

    def _inner(self, held: int) -> Hold:
        return Hold("inner", "", self.type_name(held))

    def _of_class_or(self, step: Hold, held: int) -> Hold:
        """A class that is held is a beginning of its own, and so is a function."""
        if held >= 0 and self._heap.kind(held) == "type":
            return Hold("class", self.class_name(held), "type")
        if held >= 0 and self.type_name(held) in ("function", "functools._lru_cache_wrapper"):
            return Hold("function", self._function_name(held), self.type_name(held))
        return step

    def type_name(self, number: int) -> str:
        """`dict`, `Session` of the main program, `shop.cart.Session`."""
        module, name = self._heap.types.module_and_name(int(self._heap.index[number]))
        return name if module in ("builtins", "__main__", "") else f"{module}.{name}"

    def class_name(self, number: int) -> str:
        """The name of the class that object `number` is."""
        index = int(self._heap.types.index(np.array([self._heap.address(number)], np.uint64))[0])
        if index < 0:
            return self.type_name(number)
        module, name = self._heap.types.module_and_name(index)
        return name if module in ("builtins", "__main__", "") else f"{module}.{name}"

    def _is_space(self, kind: int, held: int) -> bool:
        address = self._heap.address(kind)
        return self._values.pages.u64(address + self._layout["type_object.tp_dict"]) == self._heap.address(held)

    def _is_dict_of(self, instance: int, held: int) -> bool:
        """Whether the dict is the instance's __dict__, and none of its attributes."""
        address, target = self._heap.address(instance), self._heap.address(held)
        types, index = self._heap.types, self._heap.index[instance]
        if types.flags[index] & np.uint64(1 << 4):
            return self._values.pages.u64(address + self._layout["pyobject.managed_dict"]) == target
        offset = int(types.dict_offsets[index])
        return 0 < offset < 1 << 16 and self._values.pages.u64(address + offset) == target

    def _named(self, how: str, space: int, held: int) -> Hold:
        key, kind = self.key(space, held)
        return Hold(how, key, self.type_name(held), kind if how == "key" else "")

    def key(self, space: int, held: int) -> tuple[str, str]:
        """(the key that leads to `held` in a dict, the key's type). The key is "" where it is no name and values are not asked for."""
        entries = self._entries(space)
        if entries is None:
            return "", ""
        keys, items = entries
        target = np.uint64(self._heap.address(held))
        found = np.flatnonzero(items == target)
        if not len(found):
            return "", ""
        key = int(keys[found[0]])
        number = self._heap.number(key)
        return self._spelt(key), self.type_name(number) if number >= 0 else ""

    def _entries(self, space: int) -> tuple[np.ndarray, np.ndarray] | None:
        """(addresses of the keys, of the values) of a dict, as arrays."""
        heap, layout = self._heap, self._layout
        places = heap.places[space : space + 1]
        table = heap.image.places(heap.measure.field(places, "dict_object.ma_keys"))
        values = int(heap.measure.field(places, "dict_object.ma_values")[0])
        if table[0] < 0:
            return None
        head = int(heap.measure.field(table, "dict_keys.log2_size")[0])
        count = int(heap.measure.field(table, "dict_keys.nentries")[0])
        width = 3 if (head >> 16) & 255 == 0 else 2
        begin = int(table[0]) + layout["dict_keys.indices"] + (1 << min(head >> 8 & 255, 43))
        if count < 0 or begin + 8 * width * count > heap.image.size:
            return None
        rows = heap.image.words[begin // 8 : begin // 8 + width * count].reshape(-1, width)
        keys, items = rows[:, width - 2], rows[:, width - 1]
        if values:
            at = heap.image.place(values)
            if at < 0 or at + 8 * count + 8 > heap.image.size:
                return None
            first = (at + layout["dict_values.values"]) // 8
            items = heap.image.words[first : first + count]
        return keys, items

    def _spelt(self, key: int) -> str:
        """A key that is a name, a number or a bool; other text only where values are asked for."""
        values = self._values
        try:
            name = values.name_of_kind(key)
            if values.is_text(key):
                text = values.text(key, MAX_SHOWN)
                if text.isidentifier() and len(text) < MAX_SHOWN:
                    return text
                return repr(text) if self._include else ""
            if name == "int":
                return str(values.number(key))
        except Unreadable:
            return ""
        return ""

    def _index(self, holder: int, held: int) -> str:
        kind = self._heap.kind(holder)
        if kind not in ("list", "tuple"):
            return ""
        address, values = self._heap.address(holder), self._values
        limit = 1 << 22
        items = values.list_items(address, limit) if kind == "list" else values.tuple_items(address, limit)
        target = self._heap.address(held)
        return str(items.index(target)) if target in items else ""

    def _attribute(self, holder: int, held: int) -> str:
        target = self._heap.address(held)
        for name, value in self._values.namespace(self._heap.address(holder)).items():
            if value == target:
                return name
        return ""

    def _of_function(self, holder: int, held: int, further: int) -> tuple[Hold, int]:
        address, target = self._heap.address(holder), self._heap.address(held)
        name = self._function_name(holder)
        field = next(
            (how for field, how in _FUNCTION_FIELDS if self._values.pages.u64(address + self._layout[field]) == target),
            "",
        )
        if field == "closure" and further >= 0:
            cells = self._values.tuple_items(target)
            cell = self._heap.address(further)
            names = self._variables(self._values.pages.u64(address + self._layout["function.func_code"]))
            free = names[len(names) - len(cells) :]
            variable = free[cells.index(cell)] if cell in cells and len(free) == len(cells) else ""
            content = self._values.pages.u64(cell + self._layout["cell_object.ob_ref"])
            number = self._heap.number(content) if content else -1
            return Hold("closure", variable, self.type_name(number) if number >= 0 else "cell", name), 3
        if field == "globals" and further >= 0:
            return self._of_class_or(self._named("global", held, further), further), 2
        if field == "default" and further >= 0:
            return Hold("default", self._index(held, further), self.type_name(further), name), 2
        return Hold(
            "attribute", "__dict__" if self._heap.kind(held) == "dict" else field, self.type_name(held), name
        ), 1

    def _lru_cache(self, holder: int, held: int) -> Hold:
        return Hold("lru_cache", self._function_name(holder), self.type_name(held), self._limit(holder))

    def _limit(self, wrapper: int) -> str:
        size = self._values.pages.i64(self._heap.address(wrapper) + self._layout["lru_cache.maxsize"])
        return str(size) if size >= 0 else ""

    def _function_name(self, number: int) -> str:
        address, values = self._heap.address(number), self._values
        try:
            if self._heap.types.names[self._heap.index[number]] == "functools._lru_cache_wrapper":
                wrapped = values.pages.u64(address + self._layout["lru_cache.func"])
                inner = self._heap.number(wrapped)
                return self._function_name(inner) if inner >= 0 and inner != number else ""
            if values.name_of_kind(address) != "function":
                return ""
            return values.word(values.pages.u64(address + self._layout["function.func_qualname"]))
        except Unreadable:
            return ""

    def _variables(self, code: int) -> list[str]:
        names = self._values.pages.u64(code + self._layout["code_object.localsplusnames"])
        return [self._values.name_of(name) for name in self._values.tuple_items(names)]

    def _frame_of(self, number: int) -> int:
        address = self._heap.address(number)
        if self._heap.kind(number) == "generator":
            return address + self._layout["gen_object.gi_iframe"]
        return self._values.pages.u64(address + self._layout["frame_object.f_frame"])

    def _code_of(self, frame: int) -> int:
        code = self._values.pages.u64(frame + self._layout["interpreter_frame.executable"])
        return code & ~7 if self._layout.minor >= 14 else code

    def _code_name(self, number: int) -> str:
        code = self._code_of(self._frame_of(number))
        return self._values.word(self._values.pages.u64(code + self._layout["code_object.qualname"]))

    def _local(self, holder: int, held: int) -> str:
        frame = self._frame_of(holder)
        target = self._heap.address(held)
        for slot, name in enumerate(self._variables(self._code_of(frame))):
            at = self._values.pages.u64(frame + self._layout["interpreter_frame.localsplus"] + 8 * slot)
            if (at & ~7 if self._layout.minor >= 14 else at) == target:
                return name
        return ""

    def length(self, number: int) -> int | None:
        """len() of a container, None of anything else."""
        try:
            return self._values.length(self._heap.address(number))
        except Unreadable:
            return None

    def key_types(self, number: int) -> str:
        """`str`, or `str and tuple`, of the first keys of a dict; "" for anything else."""
        if self._heap.kind(number) not in ("dict", "odict"):
            return ""
        entries = self._entries(number)
        if entries is None:
            return ""
        keys = entries[0][:_SAMPLE]
        places = self._heap.image.places(keys[keys != 0])
        at = np.minimum(np.searchsorted(self._heap.places, places), len(self._heap) - 1)
        good = self._heap.places[at] == places
        kinds = {self.type_name(int(number)) for number in at[good][:_SAMPLE]} if good.any() else set()
        return " and ".join(sorted(kinds)[:3])

    def is_heap_type(self, number: int) -> bool:
        """Whether its class was made by a class statement, or by an extension module."""
        return bool(self._heap.types.flags[self._heap.index[number]] & np.uint64(HEAP))
