"""What a future stands for: a call in an executor's thread, a task behind a shield, a coroutine that another thread handed to the loop.

Two futures are tied by callbacks. asyncio.wrap_future, and with it run_in_executor and to_thread, gives the asyncio future a callback
whose closure holds the concurrent one (`_chain_future`, Lib/asyncio/futures.py); run_coroutine_threadsafe does it the other way round;
shield's closure holds the inner future (Lib/asyncio/tasks.py). The thread that computes a concurrent future is in `_WorkItem.run`
(Lib/concurrent/futures/thread.py), whose `self` has that future.
"""

from collections.abc import Iterable

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.sight import Sight
from pellucid.runtimes.cpython.standard_library import library_path
from pellucid.runtimes.cpython.values import Values

MAX_CALLBACKS = 64
MAX_NAMES = 1 << 14
_CALLBACK0, _CALLBACKS = 1, 3  # words after fut_loop (Modules/_asynciomodule.c, FutureObj_HEAD, 3.11 to 3.15)
_SOURCES = frozenset({"source", "inner"})
_TIES = frozenset({"_chain_future.<locals>._call_check_cancel", "shield.<locals>._outer_done_callback"})


def tied_to(future: int, values: Values) -> int:
    """The future or task that has to be done first for this one to be; 0 where no callback says so."""
    try:
        for callback in _callbacks(future, values):
            found = _source(callback, values)
            if found:
                return found
    except Unreadable:
        return 0
    return 0


def computed_by(threads: Iterable[Sight], values: Values) -> dict[int, int]:
    """Concurrent future → the tid of the thread of an executor that computes it."""
    found: dict[int, int] = {}
    for sight in threads:
        for frame in sight.frames:
            if frame.qualname == "_WorkItem.run" and library_path(frame.file) == "concurrent/futures/thread.py":
                try:
                    found[values.named(frame.local("self"), "future")] = sight.tid
                except Unreadable:
                    continue
    return found


def _callbacks(future: int, values: Values) -> tuple[int, ...]:
    """The functions that are called when it is done; asyncio's are (function, context) from the second on."""
    if values.kind(future).heap and (own := values.namespace(future).get("_done_callbacks", 0)):
        return values.list_items(own, MAX_CALLBACKS)  # of concurrent.futures
    first = future + values.layout["pyobject.size"] + 8
    found = [values.pages.u64(first)]
    more = values.pages.u64(first + 8 * (_CALLBACKS - _CALLBACK0))
    for pair in values.list_items(more, MAX_CALLBACKS) if values.name_of_kind(more) == "list" else ():
        found += values.tuple_items(pair, 2)[:1]
    return tuple(found)


def _source(callback: int, values: Values) -> int:
    if values.name_of_kind(callback) != "function":
        return 0
    code = values.pages.u64(callback + values.layout["function.func_code"])
    if values.text(values.pages.u64(code + values.layout["code_object.qualname"]), 128) not in _TIES:
        return 0
    closure = values.pages.u64(callback + values.layout["function.func_closure"])
    cells = values.tuple_items(closure, 16) if closure else ()
    names = values.tuple_items(values.pages.u64(code + values.layout["code_object.localsplusnames"]), MAX_NAMES)
    for name, cell in zip(names[-len(cells) :], cells, strict=False):  # free variables come last
        held = values.pages.u64(cell + values.layout["cell_object.ob_ref"])
        if values.text(name, 32) in _SOURCES and values.name_of_kind(held).endswith(("Future", "Task")):
            return held
    return 0
