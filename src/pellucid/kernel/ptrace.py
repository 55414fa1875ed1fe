"""The system call ptrace(2): each thread that is traced stops at its calls, and its tracer lets it go on.

Two switches to the tracer and back a stop, so a call costs its program 10 to 30 µs instead of 0.1. A tracee is seized
(PTRACE_SEIZE), not attached: it is not stopped by that, and when the tracer dies the kernel lets it run on
(kernel/ptrace.c, exit_ptrace, Linux 6.18). A thread can have one tracer only: a debugger and this exclude each other.
"""

import ctypes
import os
from errno import ESRCH
from struct import Struct as Packing

from msgspec import Struct

from pellucid.kernel.traced import COMPAT

SEIZE, INTERRUPT, LISTEN, SYSCALL, CONTINUE, DETACH = 0x4206, 0x4207, 0x4208, 24, 7, 17
_GET_EVENT_MESSAGE, _GET_SYSCALL_INFO, _SET_OPTIONS = 0x4201, 0x420E, 0x4200

# PTRACE_O_*, include/uapi/linux/ptrace.h
_MARK_CALLS, _FORK, _VFORK, _CLONE, _EXEC, _SECCOMP, EXIT_KILL = 1, 2, 4, 8, 16, 0x80, 1 << 20
FOLLOW = _MARK_CALLS | _FORK | _VFORK | _CLONE | _EXEC
FOLLOW_FILTERED = FOLLOW | _SECCOMP | EXIT_KILL

EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_SECCOMP, EVENT_STOP = 1, 2, 3, 4, 7, 128
NEW_CHILD = (EVENT_FORK, EVENT_VFORK)
CALL_STOP = 0x85  # SIGTRAP | 0x80, by PTRACE_O_TRACESYSGOOD
WALL = 0x40000000  # __WALL: children of clone too

ENTRY, EXIT, FILTERED = 1, 2, 3  # PTRACE_SYSCALL_INFO_*
_INFO = Packing("<BxxxIQQ")  # op, arch, instruction pointer, stack pointer
_ENTRY = Packing("<7Q")
_EXIT = Packing("<qB")
_I386 = 0x40000003  # AUDIT_ARCH_I386
_AT = 24
_ROOM = 128


class CallStop(Struct, frozen=True, gc=False):
    """A thread at a call: `kind` is ENTRY or FILTERED, with number and arguments, or EXIT with the result.

    The number of a call of a 32-bit program has COMPAT added: it is another call.
    """

    kind: int
    number: int = 0
    arguments: tuple[int, ...] = ()
    result: int = 0


def call(request: int, tid: int, address: int = 0, value: int = 0) -> None:
    """One request. Raises OSError; ESRCH also when the thread is not stopped."""
    if _ptrace(request, tid, address, value) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def resume(request: int, tid: int, signal: int = 0) -> bool:
    """Let a stopped thread go on; False when it has been killed meanwhile."""
    try:
        call(request, tid, 0, signal)
    except OSError as error:
        if error.errno == ESRCH:
            return False
        raise
    return True


def event_message(tid: int) -> int:
    """The id of the new child, or, at an exec, the thread's id before it. Raises OSError."""
    value = ctypes.c_ulong()
    call(_GET_EVENT_MESSAGE, tid, 0, ctypes.addressof(value))
    return value.value


def call_stop(tid: int) -> CallStop | None:
    """What the thread is stopped at; None where that is no call (since Linux 5.3). Raises OSError."""
    call(_GET_SYSCALL_INFO, tid, _ROOM, _buffer_at)
    raw = _buffer.raw
    kind, architecture, _, _ = _INFO.unpack_from(raw)
    if kind in (ENTRY, FILTERED):
        number, *arguments = _ENTRY.unpack_from(raw, _AT)
        return CallStop(kind, number + COMPAT if architecture == _I386 else number, tuple(arguments))
    if kind == EXIT:
        return CallStop(kind, result=_EXIT.unpack_from(raw, _AT)[0])
    return None


_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p)
_buffer = ctypes.create_string_buffer(_ROOM)
_buffer_at = ctypes.addressof(_buffer)
