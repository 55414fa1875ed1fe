"""A seccomp filter that stops a launched command at the calls that are worth it, and lets the frequent harmless ones through.

A filter can't be taken off again, and when its tracer is gone the filtered calls fail with ENOSYS (kernel/seccomp.c,
__seccomp_filter, SECCOMP_RET_TRACE). So a command under it can't outlive its tracer: PTRACE_O_EXITKILL ends it too.
Setting the filter without privileges needs no_new_privs, so that set-uid programs (sudo) run as the user.
"""

import ctypes
from collections.abc import Sequence
from struct import Struct as Packing

from pellucid.kernel import syscalls
from pellucid.kernel.traced import Wanted, Watch

_LET_THROUGH = """
read write pread64 pwrite64 readv writev lseek fstat close mmap munmap mprotect mremap brk madvise futex futex_waitv poll
ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2 epoll_ctl nanosleep clock_nanosleep clock_gettime gettimeofday time
getpid gettid getppid getuid geteuid getgid getegid getrandom getcpu getrusage times sched_yield sched_getaffinity
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack set_robust_list set_tid_address rseq arch_prctl restart_syscall recvfrom
recvmsg sendmsg fcntl getdents64 wait4 waitid exit exit_group
"""
THROUGH = tuple(_LET_THROUGH.split())
"""What a filtered command is not stopped at, so that its failures are not seen; but where bytes are counted, at those that move them."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # struct seccomp_data
_INSTRUCTION = Packing("<HBBI")
_PROGRAM = Packing("<HxxxxxxQ")


def through(watch: Watch) -> tuple[int, ...]:
    """The numbers of the calls that are let through: of THROUGH those that this watch does not want told or counted."""
    numbers = [number for name in THROUGH if (number := syscalls.number(name)) is not None]
    return tuple(number for number in numbers if not _is_wanted(watch.wanted.get(number)))


def _is_wanted(wanted: Wanted | None) -> bool:
    return wanted is not None and (wanted.tell or wanted.reads is not None or wanted.writes is not None)


def program(machine: str, numbers: Sequence[int]) -> bytes:
    """The filter in classic BPF: a call of another architecture, and these, go through; the rest is traced."""
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _TRACE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def install(machine: str, numbers: Sequence[int]) -> None:
    """Put the filter on this very thread and all that it starts. Raises OSError."""
    code = program(machine, numbers)
    instructions = ctypes.create_string_buffer(code, len(code))
    filter_ = ctypes.create_string_buffer(
        _PROGRAM.pack(len(code) // _INSTRUCTION.size, ctypes.addressof(instructions)), _PROGRAM.size
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")
