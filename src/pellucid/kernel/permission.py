"""Which of the kernel's checks forbids a look at a process: a pure decision over what they look at.

The checks come in a fixed order: __ptrace_may_access in kernel/ptrace.c (ids, dumpable), cap_ptrace_access_check in
security/commoncap.c (user namespace, capabilities), yama_ptrace_access_check in security/yama/yama_lsm.c, other modules.
Each passes for who holds CAP_SYS_PTRACE in the target's user namespace; only Yama's scope 3 does not. So the first one
that the facts do not pass is the one that said no; when they pass all of them, it was a security module.
"""

from msgspec import Struct

from pellucid.kernel import capabilities

INITIAL_USER_NS = 0xEFFFFFFD
INITIAL_PID_NS = 0xEFFFFFFC
"""The inode numbers of the namespaces that the kernel boots with (include/linux/proc_ns.h)."""

_SECCOMP_FILTER = 2


class Circumstances(Struct, frozen=True, kw_only=True):
    """All that the kernel's checks look at. `target_*` is the process that was refused, the rest is ours."""

    pid: int
    command: str = "why"
    """What the remedy repeats: `pellucid COMMAND PID`."""
    uid: int
    gid: int
    user: str
    capabilities: int
    bounding: int
    no_new_privs: bool = False
    seccomp: int = 0
    user_ns: int | None = INITIAL_USER_NS
    pid_ns: int | None = INITIAL_PID_NS
    target_user: str
    target_uids: tuple[int, ...]
    """Real, effective, saved."""
    target_gids: tuple[int, ...]
    target_capabilities: int = 0
    """CapPrm: permitted."""
    same_user_ns: bool = True
    dumpable: bool | None = True
    """prctl(PR_SET_DUMPABLE); None where it can't be told (a process of root)."""
    yama: int | None = None
    """kernel.yama.ptrace_scope, None where the kernel has no Yama."""
    descendant: bool = False
    opens: bool = False
    """Its memory can be opened all the same: what was refused was the one call."""


class Refusal(Struct, frozen=True):
    """The check that said no: its name, a sentence, and the one remedy."""

    check: str
    said: str
    remedy: str


def decide(facts: Circumstances) -> Refusal:
    """The first check of the kernel, in the kernel's order, that these facts do not pass."""
    pid, capable = facts.pid, bool(facts.capabilities & capabilities.SYS_PTRACE)
    you = f"{facts.user} (uid {facts.uid})"
    if facts.opens:
        return _not_the_process(facts)
    if capable:
        return _capable_and_refused(facts)
    if set(facts.target_uids) != {facts.uid}:
        other = next(uid for uid in facts.target_uids if uid != facts.uid)
        said = f"pid {pid} runs as {facts.target_user} (uid {other}), you are {you} without CAP_SYS_PTRACE"
        return Refusal("uid", said, privileged(facts))
    if set(facts.target_gids) != {facts.gid}:
        other = next(gid for gid in facts.target_gids if gid != facts.gid)
        said = f"pid {pid} runs with group id {other}, you with {facts.gid}, and you have no CAP_SYS_PTRACE"
        return Refusal("gid", said, privileged(facts))
    if facts.dumpable is False:
        said = (
            f"pid {pid} is yours but not dumpable (it was started set-uid or with file capabilities, or called "
            "prctl(PR_SET_DUMPABLE, 0)), and you have no CAP_SYS_PTRACE"
        )
        return Refusal("dumpable", said, privileged(facts))
    if not facts.same_user_ns:
        said = f"pid {pid} is in another user namespace, and you have no CAP_SYS_PTRACE there"
        return Refusal("user-namespace", said, privileged(facts))
    more = facts.target_capabilities & ~facts.capabilities
    if more:
        said = f"pid {pid} has capabilities that you lack ({_few(capabilities.names(more))}), and you have no CAP_SYS_PTRACE"
        return Refusal("capability", said, privileged(facts))
    if facts.yama == 3:
        return yama_forbids_all(pid)
    if facts.yama == 2 or (facts.yama == 1 and not facts.descendant):
        whom = "nobody without CAP_SYS_PTRACE" if facts.yama == 2 else "only a process's own ancestors"
        said = f"kernel.yama.ptrace_scope is {facts.yama}: {whom} may look into a process"
        return Refusal("yama", said, privileged(facts))
    return _security_module(pid)


def _capable_and_refused(facts: Circumstances) -> Refusal:
    """We hold CAP_SYS_PTRACE: it counts in our user namespace and those made inside it, and Yama's scope 3 ignores it."""
    if facts.yama == 3:
        return yama_forbids_all(facts.pid)
    if facts.user_ns != INITIAL_USER_NS and not facts.same_user_ns:
        said = (
            f"pid {facts.pid} belongs to a user namespace outside of this one: "
            "the CAP_SYS_PTRACE that you have here does not count there"
        )
        return Refusal(
            "user-namespace", said, f"on the host, outside of this user namespace: sudo pellucid {_line(facts)}"
        )
    return _security_module(facts.pid)


def _not_the_process(facts: Circumstances) -> Refusal:
    """The memory can be opened, so no check on the process says no."""
    if facts.seccomp == _SECCOMP_FILTER:
        said = "a seccomp filter on this shell forbids the system call (Seccomp is 2 in /proc/self/status)"
        return Refusal("seccomp", said, f"from a shell outside of the sandbox: pellucid {_line(facts)}")
    said = f"pid {facts.pid} may be read now; it was changing its user or starting a new program at that moment"
    return Refusal("passed", said, f"pellucid {_line(facts)}")


def yama_forbids_all(pid: int) -> Refusal:
    said = (
        f"kernel.yama.ptrace_scope is 3: nobody may look into pid {pid}, and it can't be lowered while the system runs"
    )
    return Refusal("yama", said, "set kernel.yama.ptrace_scope = 1 in /etc/sysctl.d and reboot")


def _security_module(pid: int) -> Refusal:
    said = f"user, capabilities, namespace and Yama allow it: a security module (SELinux, AppArmor, BPF) protects pid {pid}"
    return Refusal(
        "security-module", said, f"sudo journalctl -k --grep denied  (its name, and what it says of pid {pid})"
    )


def privileged(facts: Circumstances) -> str:
    """The one way to CAP_SYS_PTRACE from here."""
    if not facts.bounding & capabilities.SYS_PTRACE:
        if facts.pid_ns != INITIAL_PID_NS:
            return "start this container with --cap-add SYS_PTRACE"
        return f"from a login shell (this one can never gain CAP_SYS_PTRACE, CapBnd lacks it): sudo pellucid {_line(facts)}"
    if facts.no_new_privs:
        return f"from a login shell (no_new_privs keeps sudo from working in this one): sudo pellucid {_line(facts)}"
    return f"sudo pellucid {_line(facts)}"


def _line(facts: Circumstances) -> str:
    return f"{facts.command} {facts.pid}"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
