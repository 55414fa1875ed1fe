"""The names that the program gave its threads: `threading._active` holds a Thread for each ident (Lib/threading.py).

sys.modules["threading"].__dict__["_active"][ident]._name
"""

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.objects import Objects

MAX_NAME = 256
MAX_NAMES = 100_000


class Names:
    """Finds the names anew at each call; where `threading` and its dict lie is kept."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._active: dict[int, int] = {}

    def of(self, interpreter: int) -> dict[int, str]:
        """Ident to name for the threads of one interpreter; what can't be read is left out."""
        names: dict[int, str] = {}
        objects = self._objects
        try:
            active = self.active_of(interpreter)
            for count, (ident, thread) in enumerate(objects.items(active) if active else ()):
                if count >= MAX_NAMES:
                    break
                name = self._name(thread)
                if name:
                    names[objects.integer(ident)] = name
        except Unreadable:
            self._active.pop(interpreter, None)  # threads come and go: what was found so far is true
        return names

    def _name(self, thread: int) -> str:
        try:
            name = self._objects.attribute(thread, "_name")
            return self._objects.text(name, MAX_NAME) if name else ""
        except Unreadable:
            return ""

    def active_of(self, interpreter: int) -> int:
        """The address of the dict `threading._active`, 0 while `threading` is not imported. Raises Unreadable."""
        found = self._active.get(interpreter, 0)
        if not found:
            objects = self._objects
            modules = objects.pages.u64(interpreter + objects.layout["interpreter_state.imports_modules"])
            module = objects.item(modules, "threading") if modules else None
            if module:
                namespace = objects.pages.u64(module + objects.layout["module_object.md_dict"])
                found = (objects.item(namespace, "_active") if namespace else None) or 0
            if found:
                self._active[interpreter] = found
        return found
