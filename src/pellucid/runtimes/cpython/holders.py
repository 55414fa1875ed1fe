"""Who is inside `with X:`, of all threads: X lies in the frame as the `__exit__` that will be called.

Up to 3.13 the value stack holds the bound method `X.__exit__`; from 3.14 on the function and, in the slot above, X itself
(Python/bytecodes.c, LOAD_SPECIAL and WITH_EXCEPT_START), or a bound method. A thread that still waits in `__enter__` has not come so
far, and is never taken for a holder. A `with` over a generator made by contextlib.contextmanager holds what that generator's own
frame is inside of, and one over an ExitStack what was entered into it.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.slots import Opener, Slots
from pellucid.runtimes.cpython.values import Values

_FUNCTIONS = frozenset({"function", "method_descriptor", "cython_function_or_method"})
EXITS = frozenset({"__exit__", "__aexit__"})
_MAX_DEPTH = 3  # of context managers inside of generators inside of context managers


class Hold(Struct, frozen=True):
    """`who` (an ident, or the address of a task) is inside a `with` over `thing`, at `file`:`line`."""

    who: int
    thing: int
    file: str
    line: int | None
    frame: Slots


def holds(who: int, frames: Iterable[Slots], values: Values, opener: Opener) -> Iterator[Hold]:
    """What the frames of one thread, or of one coroutine chain, are inside of."""
    for frame in frames:
        yield from _of(who, frame, values, opener, 0)


def _of(who: int, frame: Slots, values: Values, opener: Opener, depth: int) -> Iterator[Hold]:
    live = frame.live()
    entered = frame.entered() if any(live) else {}
    for place, slot in enumerate(live):
        if not slot:
            continue
        try:
            thing, last = _exited(slot, place, live, values)
            if not thing or last + 1 not in entered:
                continue
            line = entered[last + 1]
            yield Hold(who, thing, frame.file, line, frame)
            if depth < _MAX_DEPTH:
                yield from _inner(who, thing, frame, line, values, opener, depth)
        except Unreadable:
            continue  # a slot that is no object: this frame moved


def _exited(slot: int, place: int, live: tuple[int, ...], values: Values) -> tuple[int, int]:
    """(X, the last slot that the pair takes) where the slot is the `__exit__` of X, else (0, 0)."""
    layout, pages = values.layout, values.pages
    kind = values.kind(slot).name
    if kind == "method":
        function = pages.u64(slot + layout["method.im_func"])
        return (pages.u64(slot + layout["method.im_self"]), place) if _name(function, values) in EXITS else (0, 0)
    if kind == "builtin_function_or_method":
        name = pages.string(pages.u64(pages.u64(slot + layout["builtin_function.m_ml"]) + layout["method_def.ml_name"]))
        return (
            (pages.u64(slot + layout["builtin_function.m_self"]), place)
            if name.decode("ascii", "replace") in EXITS
            else (0, 0)
        )
    pair = layout.minor >= 14 and kind in _FUNCTIONS and place + 1 < len(live)
    if pair and live[place + 1] and _name(slot, values) in EXITS:
        return live[place + 1], place + 1
    return 0, 0


def _name(function: int, values: Values) -> str:
    """`__name__` of a function or of a method descriptor."""
    kind = values.kind(function).name
    if kind == "cython_function_or_method":  # it begins as a PyCFunctionObject does (Cython/Utility/CythonFunction.c)
        table = values.pages.u64(function + values.layout["builtin_function.m_ml"])
        text = values.pages.string(values.pages.u64(table + values.layout["method_def.ml_name"]), 32)
        return text.decode("ascii", "replace")
    field = {"function": "function.func_name", "method_descriptor": "descriptor.d_name"}.get(kind)
    if field is None:
        return ""
    name = values.pages.u64(function + values.layout[field])
    return values.word(name, 32)


def _inner(
    who: int, thing: int, outer: Slots, line: int | None, values: Values, opener: Opener, depth: int
) -> Iterator[Hold]:
    """What a context manager of contextlib holds for the one who is inside of it."""
    kind = values.kind(thing)
    if not kind.heap:
        return
    bases = values.bases(kind)
    if "_GeneratorContextManagerBase" in bases:
        generator = values.named(thing, "gen")
        frame = generator_frame(generator, values, opener) if generator else None
        if frame is not None:
            for hold in _of(who, frame, values, opener, depth + 1):
                yield Hold(who, hold.thing, outer.file, line, outer)
    elif "_BaseExitStack" in bases:
        callbacks = values.named(thing, "_exit_callbacks")
        for item in values.deque_items(callbacks, 256) if callbacks else ():
            parts = values.tuple_items(item, 2)
            inner = _exited(parts[1], 0, parts[1:], values)[0] if len(parts) == 2 else 0
            if inner:
                yield Hold(who, inner, outer.file, line, outer)


def generator_frame(generator: int, values: Values, opener: Opener) -> Slots | None:
    """The frame of a generator or coroutine that has not ended; None for anything else. Raises Unreadable."""
    if values.kind(generator).name not in {"generator", "coroutine", "async_generator"}:
        return None
    layout = values.layout
    state = values.pages.read(generator + layout["gen_object.gi_frame_state"], 1)[0]
    if layout["frame_state.finished"] <= state < 1 << 7:  # a signed byte
        return None
    return opener.frame_at(generator + layout["gen_object.gi_iframe"])
