"""How the program's own code calls an object: `cv`, `self.lock (ThreadPool.lock)`, `forks[2]`, `door (global of app.py)`,
`first (books, global of bank.py)`.

Looked for where the code of the waiting thread can reach it: a local variable, an attribute of one, an item of a container, the class of
a local; then the same among the globals of the modules that its frames belong to. What is not found has no name.
"""

from collections.abc import Iterable, Iterator, Sequence

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.slots import Opener, Slots
from pellucid.runtimes.cpython.values import Kind, Values

MAX_FRAMES = 12
MAX_GLOBALS = 4000
MAX_ITEMS = 256
_CONTAINERS = frozenset({"list", "tuple", "dict", "deque"})
_HIDDEN = frozenset({"_semlock", "_tstate_lock", "_handle"})  # the inner half of an object that has a name itself


class Spelling:
    """Finds names. What a module's globals reach is kept, as threads share modules."""

    def __init__(self, values: Values, opener: Opener) -> None:
        self._values = values
        self._opener = opener
        self._modules: dict[int, dict[int, str]] = {}
        self._globals: dict[int, dict[int, str]] = {}

    def of(self, thing: int, frames: Sequence[Slots], main: int = 0) -> str | None:
        """The name of the object at `thing` in `frames`, innermost first; None where the code has none that was found.

        `main` is the namespace of the program's first module, which is asked last.
        """
        near = frames[:MAX_FRAMES]
        for place, frame in enumerate(near):
            found = self._local(thing, frame)
            if found:
                return self._also(found, thing, near)
            found = self._reached(thing, frame) if not place else None
            if found:  # as the line says that waits, however callers of it call the same object
                return found
        for look in (self._reached, self._deeper):
            for frame in near:
                found = look(thing, frame)
                if found:
                    return found
        for frame in near:
            found = self._global(thing, frame)
            if found:
                return found
        return self._in_module(main, "__main__").get(thing) if main else None

    def _also(self, name: str, thing: int, near: Sequence[Slots]) -> str:
        """A parameter may be called alike for several objects: `first (books, global of bank.py)`."""
        for frame in near:
            try:
                found = self._names_in(self._opener.globals(frame)).get(thing)
            except Unreadable:
                continue
            if found is not None:
                return name if found == name else f"{name} ({found}, global of {frame.file.rpartition('/')[2]})"
        return name

    def _local(self, thing: int, frame: Slots) -> str | None:
        return next(
            (name for name, value in frame.locals().items() if value == thing and not name.startswith(".")), None
        )

    def _reached(self, thing: int, frame: Slots) -> str | None:
        for name, value in frame.locals().items():
            found = next((spelt for target, spelt in self._parts(name, value) if target == thing), None)
            if found:
                return found
        return None

    def _deeper(self, thing: int, frame: Slots) -> str | None:
        """An attribute of an attribute of `self`: `self.pool.lock (Pool.lock)`."""
        me = frame.local("self")
        for name, value in self._attributes(me):
            found = next((spelt for target, spelt in self._parts(f"self.{name}", value) if target == thing), None)
            if found:
                return found
        return None

    def _parts(self, name: str, value: int) -> Iterator[tuple[int, str]]:
        """(address, name) of all that `value`, called `name`, leads to in one step."""
        try:
            kind = self._values.kind(value)
        except Unreadable:
            return
        if kind.name in _CONTAINERS:
            yield from self._items(name, value, kind)
        elif kind.name == "type" or "type" in self._metaclass(kind):
            yield from self._of_class(name, value)
        elif kind.heap:
            for attribute, target in self._attributes(value):
                spelt = name if attribute in _HIDDEN else f"{name}.{attribute} ({kind.name}.{attribute})"
                yield target, spelt
            yield from (
                (target, f"{name}.{key} ({kind.name}.{key})") for target, key in self._class_items(kind.address)
            )

    def _metaclass(self, kind: Kind) -> tuple[str, ...]:
        return self._values.bases(kind) if kind.heap else ()

    def _of_class(self, name: str, value: int) -> Iterator[tuple[int, str]]:
        yield from ((target, f"{name}.{key}") for target, key in self._class_items(value))

    def _class_items(self, kind: int) -> Iterator[tuple[int, str]]:
        """(value, name) of what the class statement itself assigned, its functions too."""
        values = self._values
        try:
            if not values.pages.u64(kind + values.layout["type_object.tp_flags"]) & 1 << 9:
                return
            space = values.pages.u64(kind + values.layout["type_object.tp_dict"])
            found = [(value, values.text(key, 64)) for key, value in values.items(space)][:MAX_ITEMS] if space else []
        except Unreadable:
            return
        yield from found

    def _items(self, name: str, value: int, kind: Kind) -> Iterator[tuple[int, str]]:
        values = self._values
        try:
            if values.length(value) > MAX_ITEMS:
                return
            if kind.name == "dict":
                for key, item in values.items(value):
                    yield item, f"{name}[{self._key(key)}]"
                return
            read = {"list": values.list_items, "tuple": values.tuple_items, "deque": values.deque_items}[kind.name]
            items = read(value, MAX_ITEMS)
        except Unreadable:
            return
        for place, item in enumerate(items):
            yield item, f"{name}[{place}]"

    def _key(self, key: int) -> str:
        values = self._values
        try:
            return repr(values.text(key, 32)) if values.is_text(key) else str(values.number(key))
        except Unreadable:
            return "..."

    def _attributes(self, value: int) -> Iterable[tuple[str, int]]:
        try:
            if not value or not self._values.kind(value).heap:
                return ()
            return list(self._values.namespace(value).items())[:MAX_ITEMS]
        except Unreadable:
            return ()

    def _global(self, thing: int, frame: Slots) -> str | None:
        try:
            space = self._opener.globals(frame)
        except Unreadable:
            return None
        return self._in_module(space, frame.file.rpartition("/")[2]).get(thing)

    def _in_module(self, space: int, file: str) -> dict[int, str]:
        known = self._modules.get(space)
        if known is None:
            known = self._modules[space] = self._index(space, file)
        return known

    def _names_in(self, space: int) -> dict[int, str]:
        """Value to its first name, of the globals of a module."""
        known = self._globals.get(space)
        if known is None:
            known = self._globals[space] = {}
            values = self._values
            try:
                for key, value in list(values.items(space))[:MAX_GLOBALS]:
                    known.setdefault(value, values.text(key, 64))
            except Unreadable:
                return known
        return known

    def _index(self, space: int, file: str) -> dict[int, str]:
        """All that a module's globals lead to: by name first, then in one step."""
        values = self._values
        names = self._names_in(space)
        found = {value: f"{name} (global of {file})" for value, name in names.items()}
        for value, name in names.items():
            if values.name_of_kind(value) not in {"module", "function", "str", "int", "type"}:
                for target, spelt in self._parts(name, value):
                    found.setdefault(target, spelt)
        return found
