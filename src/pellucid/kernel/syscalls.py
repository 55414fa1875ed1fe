"""`recvfrom` for 45: the names of this machine's system calls.

The numbers are the kernel's ABI and differ by architecture; `syscall_tables` is generated from the kernel's headers by
scripts/generate_syscalls.py. Both tables are for 64-bit programs only: a 32-bit program on a 64-bit kernel uses another one
(on x86-64 the numbers of i386), so its calls keep their number (see `kernel.tasks`).
"""

import os

from pellucid.kernel import syscall_tables


def name(number: int) -> str:
    """The name of system call `number` on this machine, `syscall 999` where it has none."""
    return _NAMES.get(number) or f"syscall {number}"


def number(name: str) -> int | None:
    """The number of the system call `name` on this machine, None where it doesn't exist (`poll` on aarch64)."""
    return _NUMBERS.get(name)


def names(runs: dict[int, str]) -> dict[int, str]:
    """`{0: "read write"}` to `{0: "read", 1: "write"}`."""
    return {first + i: name for first, line in runs.items() for i, name in enumerate(line.split())}


_TABLES = {"x86_64": syscall_tables.X86_64, "aarch64": syscall_tables.AARCH64}
_NAMES = names(_TABLES.get(os.uname().machine, {}))
_NUMBERS = {name: number for number, name in _NAMES.items()}
