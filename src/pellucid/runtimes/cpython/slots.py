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
from pellucid.runtimes.cpython.frames import OWNED_BY_GENERATOR, Activation
from pellucid.runtimes.cpython.values import Values

MAX_SLOTS = 1 << 14
MAX_TABLE = 1 << 20
_NULL_OR_INT = 3  # the low bits of a tagged small int (Include/internal/pycore_stackref.h, 3.14)


class Handler(Struct, frozen=True):
    """One line of the exception table, in code units: it guards `start` to `end`, and unwinds to `depth` slots."""

    start: int
    end: int
    target: int
    depth: int


class Shape:
    """What a frame of one code object has room for."""

    __slots__ = ("code", "handlers", "instructions", "locals_", "names", "room")

    def __init__(
        self,
        code: Code,
        names: tuple[str, ...],
        locals_: int,
        room: int,
        handlers: tuple[Handler, ...],
        instructions: int,
    ) -> None:
        self.code = code
        self.names = names
        self.locals_ = locals_
        self.room = room
        self.handlers = handlers
        self.instructions = instructions


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
        found: dict[str, int] = {}
        for name, slot in zip(self.shape.names, self.slots, strict=False):
            value = self._inside(slot)
            if value:
                found[name] = value
        return found

    def local(self, name: str) -> int:
        """The address of the local variable `name`, 0 where it has no value."""
        try:
            return self._inside(self.slots[self.shape.names.index(name)])
        except (ValueError, IndexError):
            return 0

    def enclosing(self) -> Iterator[Handler]:
        """The handlers around the current instruction, innermost first.

        The table names only the innermost one of each instruction. But the code of a handler is itself guarded by the next one outside:
        so the handler around its first instruction follows, and so on.
        """
        seen: set[int] = set()
        handler = self._around(self.unit)
        while handler is not None and handler.target not in seen:
            seen.add(handler.target)
            yield handler
            handler = self._around(handler.target)

    def _around(self, unit: int) -> Handler | None:
        return next((one for one in self.shape.handlers if one.start <= unit < one.end), None)

    def live(self) -> tuple[int, ...]:
        """The slots of the value stack that are certainly in use."""
        handler = self._around(self.unit)
        return self.stack[: handler.depth] if handler else ()

    def entered(self) -> dict[int, int | None]:
        """Depths of the value stack that an enclosing handler unwinds to, with the line of the handler: of its `with`.

        What a `with` has entered lies just below such a depth. What it is still entering does not: an `async with` that awaits
        `__aenter__` has its `__aexit__` in a live slot already, and no handler of its own yet.
        """
        found: dict[int, int | None] = {}
        for handler in self.enclosing():
            line = self.shape.code.lines.at(handler.target)
            if line is not None or handler.depth not in found:
                found[handler.depth] = line  # the outermost of equal depth is that of the `with`
        return found

    def _inside(self, slot: int) -> int:
        """A variable that an inner function shares lies in a cell."""
        if slot and self._values.name_of_kind(slot) == "cell":
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

    def open(self, activation: Activation) -> Slots | None:
        """The frame with its slots, None where CPython itself would not show it (`Codes.frame`). Raises Unreadable."""
        loose = activation.owner == OWNED_BY_GENERATOR
        if self._codes.frame(activation.code, activation.instruction, generator=loose) is None:
            return None
        return self.at(activation.address, activation.code, activation.instruction)

    def at(self, address: int, code: int, instruction: int) -> Slots | None:
        shape = self._shape(code)
        if shape is None:
            return None
        count = shape.locals_ + shape.room
        raw = self._values.pages.read(address + self._localsplus, 8 * count) if count else b""
        slots: tuple[int, ...] = unpack_from(f"<{count}Q", raw)
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
        shape = Shape(
            code,
            tuple(values.text(name, 128) for name in names),
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
