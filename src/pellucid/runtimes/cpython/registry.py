"""The Thread objects of a process: their names, whether they are daemons, and which thread each stands for.

    sys.modules["threading"]._active[ident] → Thread with _name, _daemonic, _native_id (Lib/threading.py)

In a child of fork `_active` keeps only the thread that called it; the main thread of such a process may be called `Thread-1`.
"""

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.values import Values

MAX_THREADS = 100_000


class Pythonic(Struct, frozen=True):
    """One threading.Thread."""

    thing: int
    name: str
    daemon: bool | None


class Registry:
    """What `threading` and `sys.modules` of each interpreter say."""

    def __init__(self, values: Values, python: CPython) -> None:
        self._values = values
        self._python = python
        self._modules: dict[str, int] = {}
        self._imported: dict[int, list[tuple[int, int]]] | None = None
        self._by_thing: dict[int, int] = {}
        self._threads: dict[int, Pythonic] = {}

    def module(self, name: str) -> int:
        """The address of the namespace of an imported module, 0 where it is not there."""
        if name not in self._modules:
            self._modules[name] = self._find(name)
        return self._modules[name]

    def variable(self, module: str, name: str) -> int:
        """The address of a module's global, 0 where it is not there. Raises Unreadable."""
        space = self.module(module)
        return (self._values.item(space, name) or 0) if space else 0

    def _find(self, name: str) -> int:
        values = self._values
        if self._imported is None:
            self._imported = self._by_length()
        for key, module in self._imported.get(len(name), ()):
            try:
                if values.text(key) == name:
                    return values.pages.u64(module + values.layout["module_object.md_dict"])
            except Unreadable:
                continue  # it was taken out meanwhile
        return 0

    def _by_length(self) -> dict[int, list[tuple[int, int]]]:
        """The items of every `sys.modules` by the length of the name: programs have thousands, and a search compares a handful of them."""
        values = self._values
        found: dict[int, list[tuple[int, int]]] = {}
        for interpreter in self._python.interpreters:
            try:
                modules = values.pages.u64(interpreter.address + values.layout["interpreter_state.imports_modules"])
                items = list(values.items(modules)) if modules else []
            except Unreadable:
                continue
            for key, module in items:
                try:
                    found.setdefault(values.text_length(key), []).append((key, module))
                except Unreadable:
                    continue
        return found

    def threads(self) -> dict[int, Pythonic]:
        """Ident to Thread object; what can't be read is left out."""
        values = self._values
        try:
            active = self._python.active_threads()
            items = list(values.items(active))[:MAX_THREADS] if active else []
        except Unreadable:
            return {}
        for key, thing in items:
            try:
                ident = values.number(key)
                daemon = values.named(thing, "_daemonic")
                self._threads[ident] = Pythonic(
                    thing, values.word(values.named(thing, "_name")), bool(values.number(daemon)) if daemon else None
                )
                self._by_thing[thing] = ident
            except Unreadable:
                continue
        return self._threads

    def tids_of(self, thing: int, tid_of: dict[int, int]) -> tuple[int, ...]:
        """The tid of a Thread object; empty where it is no live thread."""
        ident = self._by_thing.get(thing)
        tid = tid_of.get(ident) if ident is not None else None
        return (tid,) if tid is not None else ()

    def non_daemon(self, but: int, tid_of: dict[int, int]) -> tuple[int, ...]:
        """The tids of all threads that the interpreter waits for before it ends."""
        return tuple(
            tid_of[ident]
            for ident, thread in self._threads.items()
            if thread.daemon is False and ident in tid_of and tid_of[ident] != but
        )
