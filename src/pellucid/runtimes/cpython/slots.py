"""What lies in a frame: its local variables, and the part of its value stack that is certainly in use.

How deep the value stack of a running frame is can't be seen from outside: the interpreter keeps it in a register, and slots above are
stale. But the exception table of the code says to which depth the stack is unwound if the current instruction raises: all slots below
that are in use (InternalDocs/exception_handling.md; Objects/exception_handling_notes.txt before 3.13). Inside `with X:` that part holds
`X.__exit__`, and the handler's own position is the line of the `with`.
"""

from collections.abc import Iterator
from struct import unpack_from

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.codes import Code, Codes
from pellucid.runtimes.cpython.copies import Content
from pellucid.runtimes.cpython.frames import OWNED_BY_GENERATOR, Activation
from pellucid.runtimes.cpython.values import Values

MAX_SLOTS = 1 << 14
MAX_TABLE = 1 << 20
_IN_CELL = 0x40 | 0x80  # CO_FAST_CELL, CO_FAST_FREE (Include/internal/pycore_code.h)
_NULL_OR_INT = 3  # the low bits of a tagged small int (Include/internal/pycore_stackref.h, 3.14)


class Handler(Struct, frozen=True):
    """One line of the exception table, in code units: it guards `start` to `end`, and unwinds to `depth` slots."""

    start: int
    end: int
    target: int
    depth: int


class Shape:
    """What a frame of one code object has room for, and what was found out of it once for all of its frames."""

    __slots__ = (
        "_around",
        "_entered",
        "_places",
        "cells",
        "code",
        "handlers",
        "instructions",
        "locals_",
        "names",
        "room",
    )

    def __init__(
        self,
        code: Code,
        names: tuple[str, ...],
        cells: frozenset[int],
        locals_: int,
        room: int,
        handlers: tuple[Handler, ...],
        instructions: int,
    ) -> None:
        self.code = code
        self.names = names
        self.cells = cells
        """The places of variables that are shared with an inner or outer function, and lie in a cell."""
        self.locals_ = locals_
        self.room = room
        self.handlers = handlers
        self.instructions = instructions
        self._places = {name: place for place, name in reversed(list(enumerate(names)))}
        self._around: dict[int, Handler | None] = {}
        self._entered: dict[int, dict[int, int | None]] = {}

    def place(self, name: str) -> int:
        """Which slot the local variable `name` has, -1 for none."""
        return self._places.get(name, -1)

    def around(self, unit: int) -> Handler | None:
        """The innermost handler that guards code unit `unit`."""
        if unit not in self._around:
            self._around[unit] = next((one for one in self.handlers if one.start <= unit < one.end), None)
        return self._around[unit]

    def entered(self, unit: int) -> dict[int, int | None]:
        """Depths of the value stack that a handler around `unit` unwinds to, with the line of the handler: of its `with`.

        What a `with` has entered lies just below such a depth. What it is still entering does not: an `async with` that awaits
        `__aenter__` has its `__aexit__` in a live slot already, and no handler of its own yet.
        """
        found = self._entered.get(unit)
        if found is None:
            found = self._entered[unit] = {}
            for handler in self._enclosing(unit):
                line = self.code.lines.at(handler.target)
                if line is not None or handler.depth not in found:
                    found[handler.depth] = line  # the outermost of equal depth is that of the `with`
        return found

    def _enclosing(self, unit: int) -> Iterator[Handler]:
        """The handlers around `unit`, innermost first.

        The table names only the innermost one of each instruction. But the code of a handler is itself guarded by the next one outside:
        so the handler around its first instruction follows, and so on.
        """
        seen: set[int] = set()
        handler = self.around(unit)
        while handler is not None and handler.target not in seen:
            seen.add(handler.target)
            yield handler
            handler = self.around(handler.target)


class Slots:
    """One frame with what lies in it. `slots`: locals, cells and free variables first, then the value stack; 0 is empty."""

    __slots__ = ("_values", "address", "shape", "slots", "unit")

    def __init__(self, values: Values, address: int, shape: Shape, unit: int, slots: tuple[int, ...]) -> None:
        self._values = values
        self.address = address
        self.shape = shape
        self.unit = unit
        self.slots = slots

    @property
    def file(self) -> str:
        return self.shape.code.file

    @property
    def qualname(self) -> str:
        return self.shape.code.qualname

    @property
    def line(self) -> int | None:
        return self.shape.code.lines.at(self.unit)

    @property
    def stack(self) -> tuple[int, ...]:
        return self.slots[self.shape.locals_ :]

    def locals(self) -> dict[str, int]:
        """Name to address of each local variable that has a value; variables shared with an inner function too."""
        shape = self.shape
        if not shape.cells:
            return {name: slot for name, slot in zip(shape.names, self.slots, strict=False) if slot}
        found: dict[str, int] = {}
        for place, name in enumerate(shape.names):
            value = self._at(place)
            if value:
                found[name] = value
        return found

    def local(self, name: str) -> int:
        """The address of the local variable `name`, 0 where it has no value."""
        place = self.shape.place(name)
        return self._at(place) if 0 <= place < len(self.slots) else 0

    def live(self) -> tuple[int, ...]:
        """The slots of the value stack that are certainly in use."""
        handler = self.shape.around(self.unit)
        return self.stack[: handler.depth] if handler and handler.depth else ()

    def entered(self) -> dict[int, int | None]:
        """As `Shape.entered`, of the current instruction."""
        return self.shape.entered(self.unit)

    def _at(self, place: int) -> int:
        """A variable that an inner function shares lies in a cell, from when the frame has begun."""
        slot = self.slots[place]
        if slot and place in self.shape.cells and self._values.name_of_kind(slot) == "cell":
            try:
                return self._values.pages.u64(slot + self._values.layout["cell_object.ob_ref"])
            except Unreadable:
                return 0
        return slot


class Opener:
    """Opens frames: reads what lies in them."""

    def __init__(self, values: Values, codes: Codes) -> None:
        self._values = values
        self._codes = codes
        self._shapes: dict[int, tuple[Code, Shape]] = {}
        layout = values.layout
        self._localsplus = layout["interpreter_frame.localsplus"]
        self._instructions = layout["code_object.co_code_adaptive"]
        self._tagged = layout.minor >= 14

    def open(self, activation: Activation, content: Content | None = None) -> Slots | None:
        """The frame with its slots, None where CPython itself would not show it (`Codes.frame`). Raises Unreadable.

        `content` is the copy that proved the stack; what lies in it needs no further read.
        """
        loose = activation.owner == OWNED_BY_GENERATOR
        if self._codes.frame(activation.code, activation.instruction, generator=loose) is None:
            return None
        return self.at(activation.address, activation.code, activation.instruction, content)

    def at(self, address: int, code: int, instruction: int, content: Content | None = None) -> Slots | None:
        shape = self._shape(code)
        if shape is None:
            return None
        count = shape.locals_ + shape.room
        place = content.place(address + self._localsplus, 8 * count) if content is not None else None
        if content is not None and place is not None:
            slots: tuple[int, ...] = unpack_from(f"<{count}Q", content.copy, place)
        else:
            slots = unpack_from(
                f"<{count}Q", self._values.pages.read(address + self._localsplus, 8 * count) if count else b""
            )
        if self._tagged:
            slots = tuple(0 if slot & 3 == _NULL_OR_INT else slot & ~7 for slot in slots)
        return Slots(self._values, address, shape, (instruction - shape.instructions) >> 1, slots)

    def frame_at(self, address: int) -> Slots | None:
        """The frame whose _PyInterpreterFrame lies at `address`: of a generator, a coroutine, a greenlet. Raises Unreadable."""
        layout, pages = self._values.layout, self._values.pages
        code = pages.u64(address + layout["interpreter_frame.executable"])
        if self._tagged:
            code &= ~7
        return self.at(address, code, pages.u64(address + layout["interpreter_frame.instr_ptr"]))

    def globals(self, frame: Slots) -> int:
        """The address of the dict of the frame's module. Raises Unreadable."""
        at = self._values.pages.u64(frame.address + self._values.layout["interpreter_frame.globals"])
        return at & ~7 if self._tagged else at

    def _shape(self, address: int) -> Shape | None:
        code = self._codes.code(address)
        if code is None:
            return None
        known = self._shapes.get(address)
        if known is not None and known[0] is code:
            return known[1]
        values, layout = self._values, self._values.layout
        locals_ = values.pages.u32(address + layout["code_object.nlocalsplus"])
        room = values.pages.u32(address + layout["code_object.stacksize"])
        if locals_ + room > MAX_SLOTS:
            return None
        names = values.tuple_items(values.pages.u64(address + layout["code_object.localsplusnames"]), MAX_SLOTS)
        table = values.data(values.pages.u64(address + layout["code_object.exceptiontable"]), MAX_TABLE)
        kinds = values.data(values.pages.u64(address + layout["code_object.localspluskinds"]), MAX_SLOTS)
        shape = Shape(
            code,
            tuple(values.text(name, 128) for name in names),
            frozenset(place for place, kind in enumerate(kinds) if kind & _IN_CELL),
            locals_,
            room,
            handlers(table),
            address + self._instructions,
        )
        self._shapes[address] = code, shape
        return shape


def handlers(table: bytes) -> tuple[Handler, ...]:
    """The lines of an exception table: four numbers each, six bits a byte with the highest first; bit 6 says that more follow."""
    numbers: list[int] = []
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            numbers.append(value)
            value = 0
    return tuple(
        Handler(start, start + length, target, depth >> 1)
        for start, length, target, depth in zip(*(iter(numbers),) * 4, strict=False)
    )
