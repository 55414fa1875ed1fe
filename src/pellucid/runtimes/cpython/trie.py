"""Stacks of one process as numbers: a stack is the number of its caller's stack, a code object, and how far it is in it.

What is sampled a thousand times a second has few different stacks, so each costs one look into a dict a frame that is new. Names are
read when a code object is first seen, before it can be freed; lines are resolved at the end, for what was seen at all.
"""

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.model import Frame
from pellucid.runtimes.cpython.codes import Code, Codes
from pellucid.runtimes.cpython.frames import OWNED_BY_C, OWNED_BY_GENERATOR

MAX_NODES = 1 << 22
"""Different stacks of one process; what comes then is told as its caller's, and counted."""
MAX_DOUBTS = 1 << 17

EMPTY = 0
"""The stack without frames."""

Place = tuple[Code | None, int]
"""A frame as what it means: its code object, None for one that is not known, and the code unit that it is at."""
UNKNOWN: Place = (None, 0)


class Doubt(Struct, frozen=True):
    """A stack that has to be judged again, once more is known: what it was above `start`, the outermost frame first."""

    start: int
    places: tuple[Place, ...]


class Trie:
    """All stacks that were seen. `epoch` grows when code objects were freed: numbers stay, but no address may be trusted any more."""

    __slots__ = ("_base", "_codes", "_doubtful", "_made", "_nodes", "_untagged", "doubts", "epoch", "left_out")

    def __init__(self, codes: Codes, untagged: int) -> None:
        """`untagged`: the mask that makes an address of what stands in a frame as its code."""
        self._codes = codes
        self._base = codes.instructions
        self._untagged = untagged
        self._nodes: list[tuple[int, Code | None, int]] = [(EMPTY, None, 0)]
        self._made: dict[tuple[int, int, int], int] = {}
        """(caller's stack, id() of the Code, code unit) → stack."""
        self.doubts: dict[int, Doubt] = {}
        self._doubtful: dict[tuple[int, tuple[Place, ...]], int] = {}
        self.epoch = 0
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def place(self, code: int, instruction: int, owner: int) -> Place | None:
        """What a frame means; None for what CPython would not show as one: an entry from C, a frame that has not begun.

        A frame that has returned has no code any more from 3.14 on (Python/frame.c, _PyFrame_ClearExceptCode and its callers), but its
        instruction stays.
        """
        if owner >= OWNED_BY_C:
            return None
        address = code & self._untagged or self._codes.holding(instruction)
        if not address:
            return UNKNOWN
        try:
            found = self._codes.code(address)
        except Unreadable:
            return UNKNOWN  # freed meanwhile, or never one
        unit = (instruction - address - self._base) >> 1
        if found is None:
            return None
        if not self._codes.reaches(address, instruction):
            return UNKNOWN  # the frame was made anew during the copy: its code is of one moment, its instruction of another
        if owner != OWNED_BY_GENERATOR and unit < found.first_traceable:
            return None
        return found, unit

    def of(self, node: int) -> Place:
        """The innermost frame of a stack; UNKNOWN for the empty one."""
        _, code, unit = self._nodes[node]
        return code, unit

    def child(self, parent: int, code: Code, unit: int) -> int:
        """The stack of a frame called from `parent`."""
        key = (parent, id(code), unit)
        node = self._made.get(key)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                self.left_out += 1
                return parent
            node = self._made[key] = len(self._nodes)
            self._nodes.append((parent, code, unit))
        return node

    def doubt(self, start: int, places: tuple[Place, ...], meanwhile: int) -> int:
        """A number for a stack that is to be judged again, `meanwhile` what it is told as until then."""
        known = self._doubtful.get((start, places))
        if known is not None:
            return known
        if len(self.doubts) >= MAX_DOUBTS:
            return meanwhile
        node = self._doubtful[start, places] = len(self._nodes)
        self._nodes.append((meanwhile, None, 0))
        self.doubts[node] = Doubt(start, places)
        return node

    def forget(self) -> None:
        """Code objects were freed, and their addresses may be those of others."""
        self.epoch += 1

    def parent(self, node: int) -> int:
        return self._nodes[node][0]

    def frame(self, node: int) -> Frame:
        """The innermost frame of the stack, with its line."""
        _, code, unit = self._nodes[node]
        return Frame("?", "?", "?", None) if code is None else code.frame(unit)
