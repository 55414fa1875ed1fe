"""Pids and tids as this process's pid namespace has them: by itself the kernel gives a program the numbers of the first one."""

import os
from typing import Self

from msgspec import Struct

from pellucid.kernel.bpf_assembler import GET_NS_CURRENT_PID_TGID, R0, R1, R2, R3, R4, R10, Assembler
from pellucid.kernel.permission import INITIAL_PID_NS


class Namespace(Struct, frozen=True):
    """A pid namespace: st_dev of /proc/PID/ns/pid as the kernel packs it, and st_ino."""

    device: int
    inode: int

    @classmethod
    def of(cls, seen: os.stat_result) -> Self | None:
        """None for the first pid namespace, whose numbers are the kernel's own."""
        if seen.st_ino == INITIAL_PID_NS:
            return None
        # Major and minor are packed otherwise than stat(2) gives them (include/linux/kdev_t.h, MKDEV).
        return cls(os.major(seen.st_dev) << 20 | os.minor(seen.st_dev), seen.st_ino)

    @classmethod
    def own(cls) -> Self | None:
        return cls.of(os.stat("/proc/self/ns/pid"))


def ids_here(code: Assembler, namespace: Namespace, at: int, failed: str) -> None:
    """At `at` from the top of the stack: this thread's tid as `namespace` has it, and 4 bytes on the tgid. Uses R0 to R4."""
    code.constant(R1, namespace.device)
    code.constant(R2, namespace.inode)
    code.address(R3, R10, at)  # struct bpf_pidns_info
    code.move(R4, 8)
    code.call(GET_NS_CURRENT_PID_TGID)
    code.jump_if(R0, "!=", 0, failed)
