"""Pieces that more than one of our programs are made of."""

from pellucid.kernel.bpf_assembler import (
    GET_CURRENT_PID_TGID,
    MAP_LOOKUP,
    PROBE_READ_USER,
    R0,
    R1,
    R2,
    R3,
    R10,
    Assembler,
    Register,
)
from pellucid.kernel.bpf_records import LOST

IDS = -8
"""Where each program keeps bpf_get_current_pid_tgid: the tid, and 4 bytes on the tgid."""
NO_WAKEUP, WAKEUP = 1, 2
"""BPF_RB_NO_WAKEUP: the reader comes by itself. BPF_RB_FORCE_WAKEUP: it has to come at once."""

MIXING = 0x9E3779B97F4A7C15
"""2**64 / the golden ratio: Knuth's multiplicative hashing."""


def lookup(code: Assembler, map_fd: int, key_at: int) -> None:
    """R0 = address of the value, 0 where there is none; the key lies at `key_at` from the top of the stack."""
    code.map_address(R1, map_fd)
    code.address(R2, R10, key_at)
    code.call(MAP_LOOKUP)


def own_process(code: Assembler, processes: int, absent: str) -> None:
    """Our ids on the stack, and R0 = this process in `processes`."""
    code.call(GET_CURRENT_PID_TGID)
    code.store(R10, IDS, R0)
    lookup(code, processes, IDS + 4)
    code.jump_if(R0, "==", 0, absent)


def count_lost(code: Assembler, lost: int, what: str, after: str, key_at: int) -> None:
    """Add one to a counter of `lost`, then jump to `after`. Uses R0 to R2 and the 4 bytes at `key_at` of the stack."""
    code.store(R10, key_at, LOST.index(what), 4)
    lookup(code, lost, key_at)
    code.jump_if(R0, "==", 0, after)
    code.move(R1, 1)
    code.atomic_add(R0, 0, R1)
    code.jump(after)


def user_word(code: Assembler, at: Register, unreadable: str) -> None:
    """R3 = the 8 bytes at address `at` of the thread's memory, by way of the 8 bytes 16 below the top of the stack."""
    if at is not R3:
        code.move(R3, at)
    code.address(R1, R10, -16)
    code.move(R2, 8)
    code.call(PROBE_READ_USER)
    code.jump_if(R0, "!=", 0, unreadable)
    code.load(R3, R10, -16)


def mix(code: Assembler, state: Register, word: Register, factor: Register) -> None:
    """Make `state` the hash of (state, word), where `factor` holds MIXING: a polynomial, whose high bits are well mixed."""
    code.add(state, word)
    code.multiply(state, factor)


def finish_mixing(code: Assembler, state: Register, spare: Register) -> None:
    """Bring the high bits into the low ones, and keep 0 free, which stands for nothing."""
    code.move(spare, state)
    code.shift_right(spare, 32)
    code.bit_xor(state, spare)
    code.bit_or(state, 1)
