"""Code objects: what a frame is called and which line it is at.

Each code object is read once and kept by its address. An address may be given to another code object when the first is freed,
so `revalidate` compares the headers of all that are kept.
"""

from bisect import bisect_right, insort
from struct import Struct

from pellucid.kernel.memory import Memory
from pellucid.model import Frame
from pellucid.runtimes.cpython.lines import Lines
from pellucid.runtimes.cpython.objects import Objects

MAX_LINETABLE = 1 << 25  # bytes
MAX_KEPT = 1 << 16  # code objects, and frames

_U64 = Struct("<Q")
_U32 = Struct("<I")
_I32 = Struct("<i")
_I64 = Struct("<q")


class Code:
    """One code object. `lines` is decoded when first asked for; `identity` tells it from another at the same address.

    `version`: by which specialised calls know the functions that are made of it; 0 where that is not known.
    """

    __slots__ = ("_lines", "_table", "file", "first_line", "first_traceable", "identity", "name", "qualname", "version")

    def __init__(
        self, identity: tuple[int, ...], texts: tuple[str, str, str], first_traceable: int, table: bytes, version: int
    ) -> None:
        self.version = version
        self.identity = identity
        self.name, self.qualname, self.file = texts
        self.first_line = identity[-1]
        self.first_traceable = first_traceable
        self._table = table
        self._lines: Lines | None = None

    def frame(self, unit: int) -> Frame:
        """The frame that is at code unit `unit`."""
        return Frame(self.name, self.qualname, self.file, self.lines.at(unit))

    @property
    def lines(self) -> Lines:
        if self._lines is None:
            self._lines = Lines(self._table, self.first_line)
        return self._lines


class Codes:
    """The code objects of one process that frames were seen in."""

    def __init__(self, memory: Memory, objects: Objects) -> None:
        self._memory = memory
        self._objects = objects
        layout = objects.layout
        self._pointers = tuple(layout[f"code_object.{name}"] for name in ("name", "qualname", "filename", "linetable"))
        self._first_line = layout["code_object.firstlineno"]
        self._first_traceable = layout["code_object.firsttraceable"]
        self.instructions = layout["code_object.co_code_adaptive"]
        self._code_type = 0
        self._version = layout.get("code_object.version")
        self._units = layout["code_object.ob_size"]
        self._codes: dict[int, Code | None] = {}
        self._ends: dict[int, int] = {}
        self._order: list[int] = []
        """The addresses of code objects, in order; some are not kept any more."""
        self._due: list[int] = []
        self._frames: dict[tuple[int, int], Frame | None] = {}
        self._texts: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def frame(self, code: int, instruction: int, *, generator: bool) -> Frame | None:
        """The frame that is at `instruction`, None where CPython itself would not show it.

        That is so for what is no code object, and for a frame that has not begun (pycore_frame.h, _PyFrame_IsIncomplete),
        among them the one that the specialised call of a class puts below `__init__`. Raises Unreadable.
        """
        key = (code, instruction)
        try:
            return self._frames[key]
        except KeyError:
            pass
        known = self.code(code)
        found = None
        if known is not None:
            unit = (instruction - code - self.instructions) >> 1
            if generator or unit >= known.first_traceable:
                found = known.frame(unit)
        if len(self._frames) >= MAX_KEPT:
            self._frames.clear()
        self._frames[key] = found
        return found

    def code(self, address: int) -> Code | None:
        """The code object at `address`, None where something else lies there. Raises Unreadable."""
        try:
            return self._codes[address]
        except KeyError:
            pass
        if len(self._codes) >= MAX_KEPT:
            self._codes.clear()
            self._frames.clear()
            self._ends.clear()
            self._order.clear()
        found = self._codes[address] = self._read(address)
        return found

    def holding(self, instruction: int) -> int:
        """The address of the code object that an instruction is part of, 0 where it is of none that is known."""
        number = bisect_right(self._order, instruction) - 1
        address = self._order[number] if number >= 0 else 0
        return address if address in self._codes and instruction < self._ends[address] else 0

    def reaches(self, address: int, instruction: int) -> bool:
        """Whether an instruction is part of the known code object at `address`, or stands before its first one, as in a frame that begins."""
        return address + self.instructions - 2 <= instruction < self._ends[address]

    def _read(self, address: int) -> Code | None:
        objects = self._objects
        kind = objects.type_of(address)
        if kind != self._code_type:
            if objects.type_name(kind) != "code":
                return None
            self._code_type = kind
        head = objects.pages.read(address, self.instructions)
        identity = self._identity(head)
        name, qualname, file, table, _ = identity
        if address not in self._ends:
            insort(self._order, address)
        self._ends[address] = address + self.instructions + 2 * _I64.unpack_from(head, self._units)[0]
        return Code(
            identity,
            (self._text(name), self._text(qualname), self._text(file)),
            _I32.unpack_from(head, self._first_traceable)[0],
            objects.data(table, MAX_LINETABLE),
            0 if self._version is None else _U32.unpack_from(head, self._version)[0],
        )

    def _text(self, address: int) -> str:
        """A name or a path: functions of one file share its path, and plain functions their two names."""
        text = self._texts.get(address)
        if text is None:
            text = self._texts[address] = self._objects.text(address)
        return text

    def revalidate(self) -> None:
        """Forgets each code object whose memory has become something else."""
        self._texts.clear()
        kept = list(self._codes.items())
        heads = self._memory.read_many([(address, self.instructions) for address, _ in kept])
        gone = {
            address
            for (address, code), head in zip(kept, heads, strict=True)
            if code is None or head is None or self._identity(head) != code.identity
        }
        if gone:
            self._codes = {address: code for address, code in kept if address not in gone}
            self._frames = {key: frame for key, frame in self._frames.items() if key[0] not in gone}

    def revalidate_some(self, count: int) -> bool:
        """The next `count` code objects of a round through all; True where one had become something else, and was forgotten."""
        if not self._due:
            self._due = list(self._codes)
        some = [(address, self._codes.get(address)) for address in self._due[-count:]]
        del self._due[-count:]
        heads = self._memory.read_many([(address, self.instructions) for address, _ in some])
        gone = [
            address
            for (address, code), head in zip(some, heads, strict=True)
            if code is None or head is None or self._identity(head) != code.identity
        ]
        for address in gone:
            self._codes.pop(address, None)
        self._texts.clear()
        return any(code is not None for address, code in some if address in gone)

    def _identity(self, head: bytes) -> tuple[int, ...]:
        """Where its name, qualified name, file and lines lie, and its first line."""
        return (*(_U64.unpack_from(head, at)[0] for at in self._pointers), _I32.unpack_from(head, self._first_line)[0])
