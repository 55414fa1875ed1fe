"""A lock taken by calling `lock.acquire()`: the code of a frame ran that call, and has not come to `lock.release()` yet.

Nothing in memory says who took a plain Lock, and any thread may release it. So this reads the frame's own instructions, from the first to
the current one: the last of `X.acquire()` and `X.release()` on the way decides, where X (`lock`, `self.lock`, `accounts.lock`) is still the
same object now. Only calls without arguments count, since one with a timeout may have failed. What it says is likely, never certain.
"""

from collections.abc import Iterator

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.layouts.opcodes import CACHES, NUMBERS
from pellucid.runtimes.cpython.slots import Opener, Shape, Slots
from pellucid.runtimes.cpython.values import Values

MAX_UNITS = 1 << 16
MAX_PATH = 4

Path = tuple[str, ...]
"""`("self", "lock")`; a global begins with `::name`."""


class Acquisitions:
    """Reads the code of frames; what a code object does is kept by its address."""

    def __init__(self, values: Values, opener: Opener) -> None:
        self._values = values
        self._opener = opener
        numbers = NUMBERS.get(values.layout.minor, {})
        self._names = {number: name for name, several in numbers.items() for number in several}
        self._caches = CACHES.get(values.layout.minor, {})
        self._minor = values.layout.minor
        self._calls: dict[int, tuple[Shape, tuple[tuple[int, bool, Path], ...]]] = {}

    def of(self, frame: Slots) -> Iterator[tuple[int, int | None, bool]]:
        """(address of the lock, line of the call, whether this code gives it back) for each lock that the frame took and has not released.

        Code that takes a lock and nowhere releases it may mean it as a signal: somebody else gives it back.
        """
        gives_back = {path for _, acquires, path in self._called(frame.shape) if not acquires}
        last: dict[Path, tuple[bool, int]] = {}
        for unit, acquires, path in self._called(frame.shape):
            if unit >= frame.unit:
                break
            last[path] = acquires, unit
        for path, (acquires, unit) in last.items():
            if acquires:
                lock = self._resolved(path, frame)
                if lock:
                    yield lock, frame.shape.code.lines.at(unit), path in gives_back

    def _called(self, shape: Shape) -> tuple[tuple[int, bool, Path], ...]:
        known = self._calls.get(shape.instructions)
        if known is None or known[0] is not shape:
            try:
                found = tuple(self._scan(shape))
            except Unreadable:
                found = ()
            known = self._calls[shape.instructions] = shape, found
        return known[1]

    def _scan(self, shape: Shape) -> Iterator[tuple[int, bool, Path]]:
        """(code unit of the call, it acquires, path) in the order of the code."""
        values, layout = self._values, self._values.layout
        code = shape.instructions - layout["code_object.co_code_adaptive"]
        count = min(values.pages.u64(code + layout["code_object.ob_size"]), MAX_UNITS)
        names = values.tuple_items(values.pages.u64(code + layout["code_object.names"]), MAX_UNITS)
        wanted = {place: values.text(name, 64) for place, name in enumerate(names)}
        if not {"acquire", "release"} & set(wanted.values()):
            return
        text = values.pages.read(shape.instructions, 2 * count)
        path: Path = ()
        method: bool | None = None
        unit = extended = 0
        while unit < count:
            number, argument = text[2 * unit], text[2 * unit + 1] | extended
            name = self._names.get(number, "")
            here, extended = unit, 0
            unit += 1 + self._caches.get(number, 0)
            if name == "EXTENDED_ARG":
                extended = argument << 8
            elif name in {"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_DEREF"}:
                path, method = ((shape.names[argument],) if argument < len(shape.names) else ()), None
            elif name in {"LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"}:
                second = argument & 15
                path, method = ((shape.names[second],) if second < len(shape.names) else ()), None
            elif name == "LOAD_GLOBAL":
                path, method = (f"::{wanted.get(argument >> 1, '')}",), None
            elif name == "LOAD_NAME":
                path, method = (f"::{wanted.get(argument, '')}",), None
            elif name in {"LOAD_ATTR", "LOAD_METHOD"} and path:
                place = argument if name == "LOAD_METHOD" or self._minor < 12 else argument >> 1
                attribute = wanted.get(place, "")
                is_call = name == "LOAD_METHOD" or (self._minor >= 12 and argument & 1)
                if is_call and attribute in {"acquire", "release"}:
                    method = attribute == "acquire"
                elif len(path) < MAX_PATH:
                    path, method = (*path, attribute), None
                else:
                    path, method = (), None
            elif name == "CALL" and method is not None and argument == 0:
                yield here, method, path
                path, method = (), None
            elif name not in {"PRECALL", "PUSH_NULL"}:
                path, method = (), None

    def _resolved(self, path: Path, frame: Slots) -> int:
        """What the path leads to now, 0 where to nothing."""
        values = self._values
        try:
            if path[0].startswith("::"):
                at = values.item(self._opener.globals(frame), path[0][2:]) or 0
            else:
                at = frame.local(path[0])
            for attribute in path[1:]:
                if not at:
                    return 0
                kind = values.kind(at)
                if kind.name == "module":
                    at = values.item(values.pages.u64(at + values.layout["module_object.md_dict"]), attribute) or 0
                else:
                    at = values.named(at, attribute) or (values.class_attribute(kind, attribute) if kind.heap else 0)
        except (Unreadable, IndexError):
            return 0
        return at
