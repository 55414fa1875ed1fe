"""BPF programs, written down as named instructions: what a compiler would have to be installed for, in one small file.

    code = Assembler()
    code.call(GET_CURRENT_PID_TGID)
    code.shift_right(R0, 32)
    code.jump_if(R0, "==", 0, "out")
    ...
    code.label("out")
    code.leave(0)

The machine has eleven registers of 64 bits. R0 is what a call returns, R1 to R5 are its arguments (lost by every call), R6 to
R9 survive calls, R10 is the top of a stack of 512 bytes that grows down. An instruction is eight bytes: operation, two
registers, a signed 16-bit offset, a signed 32-bit constant (Documentation/bpf/standardization/instruction-set.rst, Linux
6.18). The kernel's verifier walks every path of a program before it may run, so nothing here has to be trusted.
"""

from struct import Struct as Packing

from msgspec import Struct


class Register(Struct, frozen=True):
    """One of the machine's registers."""

    number: int


R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = (Register(number) for number in range(11))

# Helper functions, by their numbers in include/uapi/linux/bpf.h (___BPF_FUNC_MAPPER), which are ABI.
MAP_LOOKUP, MAP_UPDATE, MAP_DELETE = 1, 2, 3
KTIME_GET_NS = 5
GET_CURRENT_PID_TGID = 14
GET_CURRENT_TASK = 35
PROBE_READ_USER, PROBE_READ_KERNEL, PROBE_READ_USER_STR = 112, 113, 114
GET_NS_CURRENT_PID_TGID = 120
RINGBUF_OUTPUT = 130

_INSTRUCTION = Packing("<BBhi")
_SIZES = {8: 0x18, 4: 0x00, 2: 0x08, 1: 0x10}  # BPF_DW, BPF_W, BPF_H, BPF_B
_JUMPS = {
    "==": 0x10,
    ">": 0x20,
    ">=": 0x30,
    "&": 0x40,
    "!=": 0x50,
    "signed >": 0x60,
    "signed >=": 0x70,
    "<": 0xA0,
    "<=": 0xB0,
    "signed <": 0xC0,
    "signed <=": 0xD0,
}
_LD, _LDX, _ST, _STX, _JMP, _ALU64 = 0x18, 0x61, 0x62, 0x63, 0x05, 0x07
_FROM_REGISTER = 0x08
_PSEUDO_MAP_FD, _PSEUDO_CALL = 1, 1
_ATOMIC_ADD = 0xC3 | 0x18  # BPF_STX | BPF_ATOMIC | BPF_DW
_CALL, _EXIT = 0x85, 0x95


class Assembler:
    """A program under construction. Jumps and calls name labels, which may be set before or after them."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []
        self._calls: list[tuple[int, str]] = []

    def move(self, to: Register, value: Register | int) -> None:
        self._alu(0xB0, to, value)

    def add(self, to: Register, value: Register | int) -> None:
        self._alu(0x00, to, value)

    def subtract(self, to: Register, value: Register | int) -> None:
        self._alu(0x10, to, value)

    def multiply(self, to: Register, value: Register | int) -> None:
        self._alu(0x20, to, value)

    def bit_and(self, to: Register, value: Register | int) -> None:
        self._alu(0x50, to, value)

    def bit_or(self, to: Register, value: Register | int) -> None:
        self._alu(0x40, to, value)

    def bit_xor(self, to: Register, value: Register | int) -> None:
        self._alu(0xA0, to, value)

    def shift_left(self, to: Register, value: Register | int) -> None:
        self._alu(0x60, to, value)

    def shift_right(self, to: Register, value: Register | int) -> None:
        self._alu(0x70, to, value)

    def address(self, to: Register, base: Register, offset: int) -> None:
        """`to` = the address `base` + `offset`."""
        self.move(to, base)
        if offset:
            self.add(to, offset)

    def constant(self, to: Register, value: int) -> None:
        """All 64 bits of `value`; `move` takes what fits in 32 signed ones."""
        low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
        self._emit(_LD, to, 0, 0, _signed(low))
        self._emit(0, R0, 0, 0, _signed(high))

    def map_address(self, to: Register, map_fd: int) -> None:
        """The map behind descriptor `map_fd`, as helpers take it."""
        self._emit(_LD, to, _PSEUDO_MAP_FD, 0, map_fd)
        self._emit(0, R0, 0, 0, 0)

    def load(self, to: Register, base: Register, offset: int, size: int = 8) -> None:
        self._emit(_LDX | _SIZES[size], to, base.number, offset, 0)

    def store(self, base: Register, offset: int, value: Register | int, size: int = 8) -> None:
        if isinstance(value, Register):
            self._emit(_STX | _SIZES[size], base, value.number, offset, 0)
        else:
            self._emit(_ST | _SIZES[size], base, 0, offset, value)

    def atomic_add(self, base: Register, offset: int, value: Register) -> None:
        """Add to 8 bytes of a map that programs on other CPUs change too."""
        self._emit(_ATOMIC_ADD, base, value.number, offset, 0)

    def call(self, helper: int) -> None:
        """One of the kernel's helper functions."""
        self._emit(_CALL, R0, 0, 0, helper)

    def call_part(self, label: str) -> None:
        """A part of this program that begins at `label` and has a stack and R6 to R9 of its own."""
        self._calls.append((len(self._code), label))
        self._emit(_CALL, R0, _PSEUDO_CALL, 0, 0)

    def label(self, name: str) -> None:
        if name in self._labels:
            raise ValueError(f"the label {name!r} is set twice")
        self._labels[name] = len(self._code)

    def jump(self, label: str) -> None:
        self._jumps.append((len(self._code), label))
        self._emit(_JMP, R0, 0, 0, 0)

    def jump_if(self, left: Register, test: str, right: Register | int, label: str) -> None:
        """`test` is one of `== != < <= > >=`, these with `signed ` before them, and `&` (any common bit)."""
        self._jumps.append((len(self._code), label))
        if isinstance(right, Register):
            self._emit(_JMP | _JUMPS[test] | _FROM_REGISTER, left, right.number, 0, 0)
        else:
            self._emit(_JMP | _JUMPS[test], left, 0, 0, right)

    def leave(self, value: int | None = None) -> None:
        """End of the program or of a part; `value` is what it returns, None to return what R0 holds."""
        if value is not None:
            self.move(R0, value)
        self._emit(_EXIT, R0, 0, 0, 0)

    def assembled(self) -> bytes:
        """The program as the kernel takes it. Raises ValueError for a label that was never set or is too far away."""
        code = list(self._code)
        for at, label in self._jumps:
            distance = self._distance(at, label)
            if not -0x8000 <= distance < 0x8000:
                raise ValueError(f"the jump to {label!r} is {distance} instructions long")
            operation, registers, _, constant = code[at]
            code[at] = (operation, registers, distance, constant)
        for at, label in self._calls:
            operation, registers, offset, _ = code[at]
            code[at] = (operation, registers, offset, self._distance(at, label))
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)

    def _distance(self, at: int, label: str) -> int:
        if label not in self._labels:
            raise ValueError(f"the label {label!r} is never set")
        return self._labels[label] - at - 1

    def _alu(self, operation: int, to: Register, value: Register | int) -> None:
        if isinstance(value, Register):
            self._emit(_ALU64 | operation | _FROM_REGISTER, to, value.number, 0, 0)
        else:
            self._emit(_ALU64 | operation, to, 0, 0, value)

    def _emit(self, operation: int, to: Register, source: int, offset: int, constant: int) -> None:
        self._code.append((operation, to.number | source << 4, offset, constant))


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word
