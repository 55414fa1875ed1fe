"""Does the table fit the build in front of us? Asked once, on attach, of things that every CPython has.

A table is right for the builds of its minor version that have the same configuration: a vendor may patch a struct, or a later
patch release may change one. Then offsets point at something else, and a wrong stack would be worse than none.
"""

from pellucid.kernel.memory import Memory
from pellucid.runtimes.cpython.debug_offsets import Garbled, Layout
from pellucid.runtimes.cpython.interpreter import Census
from pellucid.runtimes.cpython.objects import Objects


def fits(memory: Memory, layout: Layout, runtime: int) -> None:
    """Raises Garbled with what does not add up, Unreadable where an offset leads nowhere."""
    interpreters = Census(memory, layout, runtime).interpreters(most_threads=1)
    if not interpreters:
        raise Garbled("it has no interpreter now: it is starting, or it has been finalised")
    if interpreters[-1].id != 0:
        raise Garbled(f"its oldest interpreter has the number {interpreters[-1].id}, not 0")
    if not interpreters[-1].threads:
        raise Garbled("no thread of its main interpreter names that interpreter")
    objects = Objects(memory, layout)
    modules = objects.pages.u64(interpreters[-1].address + layout["interpreter_state.imports_modules"])
    if modules:  # 0 while it starts
        kind = objects.type_of(modules)
        if objects.type_name(kind) != "dict" or objects.type_name(objects.type_of(kind)) != "type":
            raise Garbled("sys.modules is no dict")
