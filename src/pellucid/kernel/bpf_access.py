"""Why this process may not load BPF programs: which of the kernel's checks says no.

bpf(2) asks for CAP_BPF, and tracing programs for CAP_PERFMON, or for CAP_SYS_ADMIN instead of both, always in the first user
namespace (kernel/bpf/syscall.c, bpf_prog_load; kernel/bpf/token.c). Besides, a kernel in lockdown lets nobody read its memory,
a seccomp filter may forbid the call, and an old kernel may not know what is asked of it.
"""

import os
from errno import E2BIG, EINVAL, ENOSYS, EPERM

from pellucid.kernel import capabilities, procfs
from pellucid.kernel.permission import INITIAL_USER_NS
from pellucid.model.errors import os_words
from pellucid.model.report import Check

_PERFMON = 1 << capabilities.NAMES.index("perfmon")
_BPF = 1 << capabilities.NAMES.index("bpf")
_NEEDED_RELEASE = (5, 8)
_SECCOMP_FILTER = "2"


def check() -> Check:
    """Whether system calls can be seen without stopping anything, for `pellucid check`."""
    from pellucid.kernel import bpf

    name = "system calls, without stopping the process"
    try:
        bpf.Program("check", bytes.fromhex("b7000000000000009500000000000000")).close()  # R0 = 0; leave
    except OSError as error:
        return Check(name, ok=False, detail=why_not(error), remedy="sudo pellucid ...")
    return Check(name, ok=True, detail="BPF programs can be loaded")


def why_not(error: OSError) -> str:
    """In one sentence, why bpf(2) answered with `error`."""
    own = procfs.parse_status(procfs.read_file("/proc/self/status"))
    held = int(own["CapEff"], 16)
    if error.errno == EPERM:
        return _forbidden(held, own.get("Seccomp", "0"))
    release = os.uname().release
    if error.errno in (EINVAL, ENOSYS, E2BIG) and _release(release) < _NEEDED_RELEASE:
        return f"Linux {release} is too old for it: it needs 5.8"
    return f"the kernel said {os_words(error)}"


def _forbidden(held: int, seccomp: str) -> str:
    if not held & capabilities.SYS_ADMIN:
        lacking = [name for name, bit in (("CAP_BPF", _BPF), ("CAP_PERFMON", _PERFMON)) if not held & bit]
        if lacking:
            return f"you lack {' and '.join(lacking)}"
    if os.stat("/proc/self/ns/user").st_ino != INITIAL_USER_NS:
        return "your capabilities count in this user namespace only"
    lockdown = _lockdown()
    if lockdown:
        return f"the kernel is locked down ({lockdown})"
    if seccomp == _SECCOMP_FILTER:
        return "a seccomp filter on this shell forbids the system call bpf"
    return "a security module forbids it"


def _lockdown() -> str:
    """`confidentiality` where /sys/kernel/security/lockdown says `none integrity [confidentiality]`, "" for none."""
    try:
        words = procfs.read_small("/sys/kernel/security/lockdown", 256).decode().split()
    except OSError:
        return ""
    chosen = next((word.strip("[]") for word in words if word.startswith("[")), "none")
    return "" if chosen == "none" else chosen


def _release(text: str) -> tuple[int, int]:
    numbers = text.split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if all(number.isdigit() for number in numbers) else (0, 0)
