"""Holders that everybody has met before, by the name that users know them under, and what lets them go.

way on which an object is held → (name, remedy), or None
"""

from collections.abc import Callable

from pellucid.model.heap import Suspect


def known(suspect: Suspect) -> tuple[str, str] | None:
    """(what it is, what to do) of a holder that is told by its way, or by what it holds."""
    for rule in _RULES:
        found = rule(suspect)
        if found is not None:
            return found
    return None


def weak(suspect: Suspect) -> bool:
    """It keeps nothing by itself: its entries come and go with objects that somebody else holds (Lib/weakref.py)."""
    return _weak(suspect) is not None


def _weak(suspect: Suspect) -> tuple[str, str] | None:
    kinds = {hold.type.rpartition(".")[2] for hold in suspect.holder}
    if _held(suspect, "KeyedRef") or (_held(suspect, "ReferenceType") and kinds & {"WeakSet", "WeakKeyDictionary"}):
        return "a weak container: it holds none of these objects, and an entry goes with its object", _ELSEWHERE
    if suspect.held_type == "weakref._Info":
        return "weakref.finalize: one callback for each object that is still alive", _ELSEWHERE
    if "WeakKeyDictionary" in kinds:
        return "a WeakKeyDictionary: a value lives as long as its key", (
            "a value that refers to its own key keeps both for ever; else look for who holds the keys"
        )
    return None


_ELSEWHERE = "look for who holds the objects"


def _lru_cache(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    last = way[-1] if way else None
    if last is None or last.how != "lru_cache":
        return None
    if suspect.limit is not None:
        return f"an lru_cache that is bounded by maxsize={suspect.limit:,}", "lower maxsize if that is too much"
    return "an lru_cache without maxsize", f"give lru_cache of {last.name} a maxsize"


def _figures(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    manager = any(hold.name.rpartition(".")[2] in ("Gcf", "figs") for hold in way)
    if manager and (
        _held(suspect, "Figure", "FigureManagerBase", "FigureManager") or any("Gcf" in hold.name for hold in way)
    ):
        return "matplotlib's figure manager: figures that were never closed", "plt.close(figure) after each"
    return None


def _logging(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    if not any(
        hold.name.startswith("logging") or hold.type.startswith("logging.") for hold in way
    ) and not suspect.held_type.startswith("logging."):
        return None
    if any(hold.name in ("handlers", "_handlerList", "_handlers") for hold in way):
        return "logging's handlers: one is added again and again", "add a handler once, or remove it"
    if any(hold.name == "buffer" for hold in way):
        return "the buffer of a logging handler that is never flushed", "give the MemoryHandler a target"
    if any(hold.name == "loggerDict" for hold in way):
        return "logging's table of loggers: each name makes one for ever", "use a bounded number of names"
    return None


def _thread_local(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    if any(hold.type in ("_thread._local", "_thread._localdummy", "threading.local") for hold in way):
        return "a thread local: it lives as long as its thread", "empty it at the end of each piece of work"
    return None


def _tasks(suspect: Suspect) -> tuple[str, str] | None:
    if _held(suspect, "Task"):
        return (
            "asyncio tasks that are kept: never awaited, or never taken out when they were done",
            "await them, or drop each by add_done_callback(tasks.discard); pellucid stacks --tasks tells what they wait for",
        )
    if suspect.held_type == "coroutine":
        return "coroutines that are never awaited", "await them"
    return None


def _queue(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    if suspect.holder_type == "collections.deque" and way and way[-1].name in ("queue", "_queue"):
        return "a queue that is filled faster than it is emptied", "give it a maxsize, or more consumers"
    return None


def _traceback(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    if suspect.held_type == "traceback" or any(hold.type == "traceback" for hold in way):
        return (
            "a traceback that is kept, with all locals of its frames",
            "keep str(error), or error.with_traceback(None)",
        )
    return None


def _library_cache(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    module = way[0].name if way and way[0].how == "module" else ""
    name = way[1].name if len(way) > 1 and way[1].how == "global" else ""
    words = _CACHES.get((module, name))
    return (words, "it is the library's own") if words else None


def _closure(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    return ("a variable that a closure keeps", "") if any(hold.how == "closure" for hold in way) else None


def _default(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    if any(hold.how == "default" for hold in way):
        return "a mutable default argument: one object for all calls", "use None, and make it in the function"
    return None


def _class_attribute(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    if len(way) >= 2 and way[0].how == "class" and way[1].how == "attribute":
        return "a class attribute: one for all instances", ""
    return None


def _global(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    return ("a global of a module", "") if len(way) == 2 and way[1].how == "global" else None


def _outside(suspect: Suspect) -> tuple[str, str] | None:
    way = suspect.holder
    if way and way[0].how == "outside" and len(way) == 1 and not suspect.holder_type:
        return "C code, or an extension module that does not let go of its references", ""
    return None


def _held(suspect: Suspect, *names: str) -> bool:
    return suspect.held_type.rpartition(".")[2] in names


_CACHES = {
    ("linecache", "cache"): "linecache's cache of source lines",
    ("re", "_cache"): "re's cache of compiled patterns",
    ("sys", "modules"): "the imported modules",
    ("sys", "path_importer_cache"): "the import system's cache of folders",
    ("atexit", ""): "callbacks for the end of the program",
    ("copyreg", "dispatch_table"): "copyreg's table",
    ("mimetypes", "_db"): "the table of MIME types",
}

_RULES: tuple[Callable[[Suspect], tuple[str, str] | None], ...] = (
    _weak,
    _lru_cache,
    _figures,
    _logging,
    _thread_local,
    _tasks,
    _queue,
    _traceback,
    _library_cache,
    _closure,
    _default,
    _class_attribute,
    _global,
    _outside,
)
