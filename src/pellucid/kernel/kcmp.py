"""Do two processes share one memory? kcmp(2), which Python does not have.

A child of vfork(2), as subprocess makes it (Modules/_posixsubprocess.c, since 3.10), borrows its parent's memory until its execve. What is opened of it
before then is the parent's memory, and stays so.
"""

import os
from collections.abc import Callable
from functools import cache

_SYSTEM_CALL = {"x86_64": 312, "aarch64": 272}
_KCMP_VM = 1  # include/uapi/linux/kcmp.h


def share_memory(pid: int, other: int) -> bool | None:
    """None where nobody says: one of them has ended, the kernel has no CONFIG_KCMP, or it is not permitted."""
    number = _SYSTEM_CALL.get(os.uname().machine)
    if number is None or pid <= 0 or other <= 0:
        return None
    said = _syscall()(number, pid, other, _KCMP_VM, 0, 0)
    return None if said < 0 else bool(said == 0)


@cache
def _syscall() -> Callable[..., int]:
    import ctypes

    found: Callable[..., int] = ctypes.CDLL(None).syscall
    return found
