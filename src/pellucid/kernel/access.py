"""`EACCES: pid 4242 runs as root (uid 0), you are mina (uid 1000) without CAP_SYS_PTRACE` → `sudo pellucid why 4242`.

The kernel answers EPERM or EACCES and never says why. Its checks are few, they come in a fixed order, and what they look at can
be read without privileges. So the one that said no is found, not guessed: `circumstances` reads the facts, and
`kernel.permission` decides.
"""

import os
from errno import EACCES, EPERM

from pellucid.kernel import capabilities, procfs
from pellucid.kernel.permission import (
    INITIAL_PID_NS,
    INITIAL_USER_NS,
    Circumstances,
    decide,
    privileged,
    yama_forbids_all,
)
from pellucid.model import Process
from pellucid.model.errors import LookError, NoSuchProcess, NotPermitted, NotUnderstood, os_words
from pellucid.model.report import Check

_MAX_ANCESTORS = 4096


def refused(pid: int, tried: str, error: OSError, command: str = "why") -> LookError:
    """The error for `tried`, which the kernel answered with `error`.

    NoSuchProcess when it is gone, NotUnderstood for a zombie or a kernel thread (neither has memory), NotPermitted with the
    one check that said no, and a plain LookError for what is no refusal (EMFILE, EIO).
    """
    try:
        stat = procfs.parse_stat(procfs.read_small(f"/proc/{pid}/stat", 4096))
    except OSError as gone:
        return _invisible(pid, tried, gone)
    if procfs.gone(error):
        if stat.letter == "Z" or stat.kernel_thread:
            return _without_memory(pid, stat.name, stat.letter, stat.ppid, tried)
        return NoSuchProcess.ended(pid, tried)
    if error.errno not in (EACCES, EPERM):
        return LookError(
            pid,
            tried=tried,
            said=os_words(error),
            remedy="pellucid check  (what can be seen here)",
            errno=error.errno or 0,
        )
    try:
        refusal = decide(circumstances(pid, command))
    except OSError as gone:
        return _invisible(pid, tried, gone)
    return NotPermitted(
        pid, tried=tried, said=f"{os_words(error)}: {refusal.said}", remedy=refusal.remedy, errno=error.errno or 0
    )


def may_read(pid: int, command: str = "why") -> NotPermitted | None:
    """Why the memory of `pid` may not be read, None when it may. Raises NoSuchProcess, and NotUnderstood without memory."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
    except OSError as error:
        why = refused(pid, f"open the memory of pid {pid}", error, command)
        if isinstance(why, NotPermitted):
            return why
        raise why from error
    return None


def no_memory(process: Process) -> NotUnderstood:
    """The error for a process that has no memory to look into: a zombie or a kernel thread."""
    letter = "Z" if process.state in ("zombie", "dead") else "S"
    return _without_memory(process.pid, process.name, letter, process.ppid, f"read the memory of pid {process.pid}")


def _without_memory(pid: int, name: str, letter: str, ppid: int, tried: str) -> NotUnderstood:
    if letter == "Z":
        said = f"pid {pid} ({name}) is a zombie: it has ended, and its parent, pid {ppid}, has not collected it"
        return NotUnderstood(pid, tried=tried, said=said, remedy=f"pellucid why {ppid}")
    said = f"pid {pid} ({name}) is a thread of the kernel: it has no memory of its own and runs no program"
    return NotUnderstood(pid, tried=tried, said=said, remedy=f"pellucid info {pid}")


def _invisible(pid: int, tried: str, error: OSError) -> LookError:
    """/proc/PID is not there: no such process, or /proc is mounted with hidepid, which signal 0 can tell apart."""
    try:
        hidden = pid > 0 and _signallable(pid)
    except OverflowError:  # larger than any pid
        hidden = False
    if not hidden:
        return NoSuchProcess(pid, tried=tried, said=f"there is no process with pid {pid}", remedy=_LIST)
    if error.errno not in (EACCES, EPERM) and os.path.exists(f"/proc/{pid}/stat"):  # it was just starting
        return NoSuchProcess.ended(pid, tried)
    said = f"{os_words(error)}: pid {pid} exists, but /proc hides the processes of other users (mounted with hidepid)"
    return NotPermitted(pid, tried=tried, said=said, remedy=f"sudo pellucid why {pid}", errno=error.errno or 0)


def _signallable(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_LIST = "pellucid ps  (lists the processes that run now)"


def circumstances(pid: int, command: str = "why") -> Circumstances:
    """What the kernel's checks look at for a look of ours at `pid`. Raises OSError when it is gone."""
    ours = procfs.parse_status(procfs.read_file("/proc/self/status"))
    theirs = procfs.parse_status(procfs.read_file(f"/proc/{pid}/status"))
    uids = tuple(int(uid) for uid in theirs["Uid"].split()[:3])
    return Circumstances(
        pid=pid,
        command=command,
        uid=os.geteuid(),  # /proc checks the file system ids, which follow the effective ones
        gid=os.getegid(),
        user=procfs.user(os.geteuid()),
        capabilities=int(ours["CapEff"], 16),
        bounding=int(ours["CapBnd"], 16),
        no_new_privs=ours.get("NoNewPrivs") == "1",
        seccomp=int(ours.get("Seccomp", "0")),
        user_ns=_inode("/proc/self/ns/user"),
        pid_ns=_inode("/proc/self/ns/pid"),
        target_user=procfs.user(uids[1]),
        target_uids=uids,
        target_gids=tuple(int(gid) for gid in theirs["Gid"].split()[:3]),
        target_capabilities=int(theirs["CapPrm"], 16),
        same_user_ns=_same_user_ns(pid),
        dumpable=_dumpable(pid, uids[1]),
        yama=yama_scope(),
        descendant=_descends_from_us(pid),
        opens=_opens(pid),
    )


def yama_scope() -> int | None:
    """kernel.yama.ptrace_scope, None where the kernel has no Yama."""
    try:
        return int(procfs.read_small("/proc/sys/kernel/yama/ptrace_scope", 16))
    except OSError:
        return None


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:  # reading a namespace needs the right that was refused
        return None


def _same_user_ns(pid: int) -> bool:
    """By the namespace where it may be read, else by the map of its user ids, which everybody may read."""
    theirs = _inode(f"/proc/{pid}/ns/user")
    if theirs is not None:
        return theirs == _inode("/proc/self/ns/user")
    return procfs.read_file(f"/proc/{pid}/uid_map") == procfs.read_file("/proc/self/uid_map")


def _dumpable(pid: int, uid: int) -> bool | None:
    """The files of a process that is not dumpable belong to root (fs/proc/base.c, task_dump_owner)."""
    owner = os.stat(f"/proc/{pid}/stat").st_uid
    return True if owner == uid != 0 else None if uid == 0 else False


def _descends_from_us(pid: int) -> bool:
    """Yama's scope 1 asks for this; bounded, since parents may change while we climb."""
    mine = os.getpid()
    for _ in range(_MAX_ANCESTORS):
        if pid == mine:
            return True
        if pid <= 1:
            return False
        pid = procfs.parse_stat(procfs.read_small(f"/proc/{pid}/stat", 4096)).ppid
    return False


def _opens(pid: int) -> bool:
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
    except OSError:
        return False
    return True


def checks() -> tuple[Check, ...]:
    """What this user can see on this machine, and why not."""
    ours = circumstances(os.getpid(), "check")
    return (
        _same_user(ours),
        _other_users(ours),
        _all_processes(),
        _whole_host(ours),
        _copying(ours),
        _sleeping(),
        _sockets(),
        _other_networks(ours),
        _system_calls(),
    )


def _system_calls() -> Check:
    from pellucid.kernel import bpf_access  # needs ctypes, which the other checks do without

    return bpf_access.check()


def _capable(ours: Circumstances) -> bool:
    return bool(ours.capabilities & capabilities.SYS_PTRACE)


def _sudo(ours: Circumstances) -> str:
    return privileged(ours).replace(f"{ours.command} {ours.pid}", "...")


def _same_user(ours: Circumstances) -> Check:
    name = f"processes of {ours.user}"
    if ours.yama == 3:
        return Check(name, ok=False, detail="kernel.yama.ptrace_scope is 3", remedy=yama_forbids_all(ours.pid).remedy)
    if ours.yama in (1, 2) and not _capable(ours):
        return Check(name, ok=False, detail=f"kernel.yama.ptrace_scope is {ours.yama}", remedy=_sudo(ours))
    scope = "no Yama" if ours.yama is None else f"kernel.yama.ptrace_scope is {ours.yama}"
    return Check(name, ok=True, detail=scope + (", CAP_SYS_PTRACE" if _capable(ours) else ""))


def _other_users(ours: Circumstances) -> Check:
    name = "processes of other users"
    if not _capable(ours):
        return Check(name, ok=False, detail="without CAP_SYS_PTRACE", remedy=_sudo(ours))
    if ours.user_ns != INITIAL_USER_NS:
        remedy = "on the host, outside of this user namespace: sudo pellucid ..."
        return Check(name, ok=False, detail="CAP_SYS_PTRACE counts in this user namespace only", remedy=remedy)
    return Check(name, ok=True, detail="CAP_SYS_PTRACE")


def _all_processes() -> Check:
    """By hidepid among the mount options of /proc (Documentation/filesystems/proc.rst, chapter 4)."""
    name = "/proc shows all processes"
    mounts = [
        line.split() for line in procfs.read_file("/proc/self/mounts", 1 << 20).decode(errors="replace").split("\n")
    ]
    options = next((mount[3].split(",") for mount in reversed(mounts) if len(mount) > 3 and mount[1] == "/proc"), [])
    hidden = next(
        (one for one in options if one.startswith("hidepid=") and one not in ("hidepid=0", "hidepid=off")), ""
    )
    if hidden and os.geteuid() != 0:
        return Check(name, ok=False, detail=f"/proc is mounted with {hidden}", remedy="sudo pellucid ...")
    return Check(name, ok=True, detail=hidden or "no hidepid")


def _whole_host(ours: Circumstances) -> Check:
    name = "processes outside of this container"
    if ours.pid_ns is None:
        return Check(name, ok=True, detail="the kernel has no pid namespaces")
    if ours.pid_ns == INITIAL_PID_NS:
        return Check(name, ok=True, detail="this is the first pid namespace")
    remedy = "run pellucid on the host, or start this container with --pid=host"
    return Check(name, ok=False, detail="this is a pid namespace of its own", remedy=remedy)


def _copying(ours: Circumstances) -> Check:
    """A process may always read its own memory, so a refusal here comes from a filter on the system call."""
    import ctypes

    from pellucid.kernel.memory import Vector

    name = "copying memory (process_vm_readv)"
    ours_to_read = ctypes.create_string_buffer(8)
    copied = Vector(os.getpid(), [(ctypes.addressof(ours_to_read), 8)]).copy()
    if copied == 8:
        return Check(name, ok=True, detail="works")
    remedy = "run pellucid outside of this sandbox, or allow process_vm_readv in its seccomp profile"
    detail = f"refused even for our own memory (Seccomp is {ours.seccomp} in /proc/self/status)"
    return Check(name, ok=False, detail=detail, remedy=remedy)


def _sleeping() -> Check:
    from pellucid.kernel.clock import monotonic_ahead

    name = "for how long a thread has slept"
    if monotonic_ahead(min(os.sched_getaffinity(0))) is not None:
        return Check(name, ok=True, detail="/proc/PID/sched")
    return Check(name, ok=False, detail="no /proc/PID/sched", remedy="a kernel with CONFIG_SCHED_DEBUG")


def _sockets() -> Check:
    import socket

    name = "sockets with queues and peers"
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG).close()
    except OSError as error:
        return Check(
            name, ok=False, detail=os_words(error), remedy="a kernel with CONFIG_INET_DIAG and CONFIG_UNIX_DIAG"
        )
    return Check(name, ok=True, detail="sock_diag")


_NETLINK_SOCK_DIAG = 4  # include/uapi/linux/netlink.h


def _other_networks(ours: Circumstances) -> Check:
    name = "sockets of containers"
    if ours.capabilities & capabilities.SYS_ADMIN:
        return Check(name, ok=True, detail="CAP_SYS_ADMIN (setns)")
    return Check(name, ok=False, detail="without CAP_SYS_ADMIN (setns)", remedy="sudo pellucid ...")
