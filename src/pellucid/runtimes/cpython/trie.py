"""Stacks of one process as numbers: a stack is the number of its caller's stack, a code object, and how far it is in it.

What is sampled a thousand times a second has few different stacks, so each costs one look into a dict a frame that is new. Names are
read when a code object is first seen, before it can be freed; lines are resolved at the end, for what was seen at all.
"""

from pellucid.kernel.memory import Unreadable
from pellucid.model import Frame
from pellucid.runtimes.cpython.codes import Code, Codes
from pellucid.runtimes.cpython.frames import OWNED_BY_C, OWNED_BY_GENERATOR

MAX_NODES = 1 << 22
"""Different stacks of one process; what comes then is told as its caller's, and counted."""

EMPTY = 0
"""The stack without frames."""

_UNKNOWN = Frame("?", "?", "?", None)


class Trie:
    """All stacks that were seen. `epoch` grows when code objects were freed: numbers stay, but no address may be trusted any more."""

    __slots__ = ("_base", "_codes", "_known", "_made", "_nodes", "_untagged", "epoch", "left_out", "unnamed")

    def __init__(self, codes: Codes, untagged: int) -> None:
        """`untagged`: the mask that makes an address of what stands in a frame as its code."""
        self._codes = codes
        self._base = codes.instructions
        self._untagged = untagged
        self._nodes: list[tuple[int, Code | None, int]] = [(EMPTY, None, 0)]
        self._known: dict[tuple[int, int, int], int] = {}
        """(caller's stack, address of the code object, address of the instruction) → stack."""
        self._made: dict[tuple[int, int, int], int] = {}
        """The same by what the addresses mean: (caller's stack, id() of the Code, code unit)."""
        self.epoch = 0
        self.unnamed = 0
        """How often a code object was freed before its name could be read."""
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def child(self, parent: int, code: int, instruction: int, owner: int) -> int:
        """The stack of a frame called from `parent`; `parent` itself for what CPython would not show as a frame."""
        node = self._known.get((parent, code, instruction))
        return self._new(parent, code, instruction, owner) if node is None else node

    def _new(self, parent: int, code: int, instruction: int, owner: int) -> int:
        address = code & self._untagged
        if owner >= OWNED_BY_C or not address:
            return parent  # an entry from C; a frame that returns just now has no code any more
        try:
            found = self._codes.code(address)
        except Unreadable:
            self.unnamed += 1
            return self._node(parent, None, 0)
        unit = (instruction - address - self._base) >> 1
        if found is None or (owner != OWNED_BY_GENERATOR and unit < found.first_traceable):
            node = parent
        else:
            node = self._node(parent, found, unit)
        self._known[parent, code, instruction] = node
        return node

    def _node(self, parent: int, code: Code | None, unit: int) -> int:
        key = (parent, id(code), unit)
        node = self._made.get(key)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                self.left_out += 1
                return parent
            node = self._made[key] = len(self._nodes)
            self._nodes.append((parent, code, unit))
        return node

    def forget(self) -> None:
        """Code objects were freed, and their addresses may be those of others."""
        self._known.clear()
        self.epoch += 1

    def parent(self, node: int) -> int:
        return self._nodes[node][0]

    def frame(self, node: int) -> Frame:
        """The innermost frame of the stack, with its line."""
        _, code, unit = self._nodes[node]
        return _UNKNOWN if code is None else code.frame(unit)
