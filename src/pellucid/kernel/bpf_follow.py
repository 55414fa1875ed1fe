"""The small programs: a call begins, a process forks, starts another program, ends.

All are raw tracepoints, which exist in every kernel since 4.17 and need no tracefs; their arguments are those of the
TRACE_EVENTs in include/trace/events/{syscalls,sched}.h. They run for every process of the machine and leave at once
where the process is not one that is followed: a lookup, some 20 ns a call.
"""

from msgspec import Struct

from pellucid.kernel.bpf_assembler import (
    KTIME_GET_NS,
    MAP_DELETE,
    MAP_UPDATE,
    PROBE_READ_KERNEL,
    PROBE_READ_USER_STR,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    R10,
    RINGBUF_OUTPUT,
    Assembler,
    Register,
)
from pellucid.kernel.bpf_namespace import Namespace, ids_here
from pellucid.kernel.bpf_parts import IDS, NO_WAKEUP, WAKEUP, count_lost, lookup, own_process
from pellucid.kernel.bpf_records import (
    CALLS,
    CODE_SEGMENT,
    COUNTS,
    EXECUTED,
    EXITED,
    FORK,
    FORKED,
    HEAD,
    PATH_ROOM,
    PROCESS,
    SEEN,
    SEGMENT_32_BIT,
    THREAD,
    WAITS,
    WANTED,
)
from pellucid.kernel.traced import COMPAT

_HERE = -24
"""The place on the stack of the ids that our pid namespace has."""


class FollowMaps(Struct, frozen=True):
    """Descriptors of the maps that these programs use."""

    processes: int
    threads: int
    wanted: int
    blank: int
    ring: int
    lost: int
    awaited: int
    """Pids, as this process sees them, whose processes are to be followed from their next call on."""


def entered(maps: FollowMaps, namespace: Namespace | None) -> bytes:
    """sys_enter(struct pt_regs *, long number): keep when it began and where its path lies; the path too where execve(2) destroys it."""
    code = Assembler()
    code.move(R6, R1)
    own_process(code, maps.processes, "unknown" if namespace else "out")
    code.label("known")
    code.move(R9, R0)
    code.load(R8, R6, 8)
    code.load(R1, R9, PROCESS["counts"], 4)
    code.jump_if(R1, "!=", WAITS, "counts")
    for number in _EXECVE:
        code.jump_if(R8, "==", number, "starts")
    code.jump("out")
    code.label("starts")
    code.store(R9, PROCESS["counts"], COUNTS, 4)
    code.label("counts")
    if namespace:
        _first_seen(code, maps, namespace)
    lookup(code, maps.threads, IDS)
    code.jump_if(R0, "!=", 0, "thread known")
    code.store(R10, -16, 0)
    lookup(code, maps.blank, -16)
    code.jump_if(R0, "==", 0, "out")
    code.map_address(R1, maps.threads)
    code.address(R2, R10, IDS)
    code.move(R3, R0)
    code.move(R4, 0)
    code.call(MAP_UPDATE)
    lookup(code, maps.threads, IDS)
    code.jump_if(R0, "==", 0, "thread lost")
    code.label("thread known")
    code.move(R7, R0)
    _whether_32_bit(code)
    code.store(R7, THREAD["number"], R8, 4)
    code.load(R1, R10, IDS + 4, 4)
    code.store(R7, THREAD["tgid"], R1, 4)
    code.store(R7, THREAD["in_call"], 1, 4)
    code.store(R7, THREAD["path_length"], 0, 4)
    code.store(R7, THREAD["path_at"], 0)
    code.load(R1, R9, PROCESS["runtime"])
    code.jump_if(R1, "==", 0, "no Python")
    code.move(R1, 1)
    code.label("no Python")
    code.store(R7, THREAD["python"], R1, 4)
    wanted(code, maps.wanted, R8)
    code.load(R1, R0, WANTED["path"], 2)
    code.jump_if(R1, "==", 0, "timed")
    code.load(R3, R6, 0)
    code.add(R3, R1)
    code.address(R1, R7, THREAD["path_at"])
    code.move(R2, 8)
    code.call(PROBE_READ_KERNEL)
    for number in _EXECVE:
        code.jump_if(R8, "==", number, "path destroyed")
    code.jump("timed")
    code.label("path destroyed")
    code.load(R3, R7, THREAD["path_at"])
    code.address(R1, R7, THREAD["path"])
    code.move(R2, PATH_ROOM)
    code.call(PROBE_READ_USER_STR)
    code.jump_if(R0, "signed <=", 0, "timed")  # its page is not in memory: read again when the call ends
    code.store(R7, THREAD["path_length"], R0, 4)
    code.label("timed")
    code.call(KTIME_GET_NS)
    code.store(R7, THREAD["start"], R0)
    code.label("out")
    code.leave(0)
    code.label("thread lost")
    count_lost(code, maps.lost, "threads", "out", -16)
    if namespace:
        _awaited(code, maps, namespace)
    return code.assembled()


def _whether_32_bit(code: Assembler) -> None:
    """Add COMPAT to the number (R8) in a thread of a 32-bit program; looked at once a thread, and again after an execve.

    Before that its registers (R6: the context) have to be asked for the code segment.
    """
    code.load(R1, R7, THREAD["bits"], 4)
    code.jump_if(R1, "==", _64_BIT, "bits known")
    code.jump_if(R1, "==", _32_BIT, "32 bit")
    code.load(R3, R6, 0)
    code.add(R3, CODE_SEGMENT)
    code.address(R1, R10, -16)
    code.move(R2, 8)
    code.call(PROBE_READ_KERNEL)
    code.load(R1, R10, -16)
    code.jump_if(R1, "==", SEGMENT_32_BIT, "is 32 bit")
    code.store(R7, THREAD["bits"], _64_BIT, 4)
    code.jump("bits known")
    code.label("is 32 bit")
    code.store(R7, THREAD["bits"], _32_BIT, 4)
    code.label("32 bit")
    code.add(R8, COMPAT)
    code.label("bits known")


_64_BIT, _32_BIT = 64, 32
_EXECVE = (59, 322)  # execve, execveat on x86-64


def wanted(code: Assembler, wanted_fd: int, number: Register) -> None:
    """R0 = what is wanted of the call `number`. Leaves by "out"; the 8 bytes 16 below the top of the stack are its key."""
    code.store(R10, -16, number, 4)
    code.jump_if(number, "<", CALLS, "in the table")
    code.store(R10, -16, CALLS - 1, 4)
    code.label("in the table")
    lookup(code, wanted_fd, -16)
    code.jump_if(R0, "==", 0, "out")


def _first_seen(code: Assembler, maps: FollowMaps, namespace: Namespace) -> None:
    """Tell the pid of a process (R9) as our namespace has it, once: fork only knew the kernel's own."""
    code.load(R1, R9, PROCESS["pid"], 4)
    code.jump_if(R1, "!=", 0, "seen before")
    ids_here(code, namespace, _HERE, "seen before")
    code.load(R1, R10, _HERE + 4, 4)
    code.store(R9, PROCESS["pid"], R1, 4)
    _tell(code, maps.ring, SEEN, NO_WAKEUP, R9)
    code.label("seen before")


def _awaited(code: Assembler, maps: FollowMaps, namespace: Namespace) -> None:
    """A process that is not followed yet: is it one that our namespace knows by an awaited pid?"""
    code.label("unknown")
    ids_here(code, namespace, _HERE, "out")
    lookup(code, maps.awaited, _HERE + 4)
    code.jump_if(R0, "==", 0, "out")
    code.map_address(R1, maps.processes)
    code.address(R2, R10, IDS + 4)
    code.move(R3, R0)
    code.move(R4, 0)
    code.call(MAP_UPDATE)
    code.map_address(R1, maps.awaited)
    code.address(R2, R10, _HERE + 4)
    code.call(MAP_DELETE)
    lookup(code, maps.processes, IDS + 4)
    code.jump_if(R0, "==", 0, "out")
    code.store(R0, PROCESS["pid"], 0, 4)  # so that it is told
    code.jump("known")


def _tell(code: Assembler, ring: int, kind: int, wake: int, process: Register) -> None:
    """A record that is its head alone."""
    base = -64
    code.store(R10, base + HEAD["kind"], kind, 4)
    code.load(R1, R10, IDS + 4, 4)
    code.store(R10, base + HEAD["tgid"], R1, 4)
    code.load(R1, R10, IDS, 4)
    code.store(R10, base + HEAD["tid"], R1, 4)
    code.load(R1, process, PROCESS["pid"], 4)
    code.store(R10, base + HEAD["pid"], R1, 4)
    code.call(KTIME_GET_NS)
    code.store(R10, base + HEAD["time"], R0)
    code.map_address(R1, ring)
    code.address(R2, R10, base)
    code.move(R3, HEAD.size)
    code.move(R4, wake)
    code.call(RINGBUF_OUTPUT)


def forked(maps: FollowMaps, ids_offset: int, *, namespace: Namespace | None) -> bytes:
    """sched_process_fork(struct task_struct *parent, *child): the child of a followed process is followed too.

    It runs before the child does (kernel/fork.c, kernel_clone). `ids_offset`: of pid and tgid in struct task_struct.
    """
    child = -16
    code = Assembler()
    code.move(R6, R1)
    own_process(code, maps.processes, "out")
    code.move(R9, R0)
    code.load(R3, R6, 8)
    code.add(R3, ids_offset)
    code.address(R1, R10, child)
    code.move(R2, 8)
    code.call(PROBE_READ_KERNEL)
    code.load(R7, R10, child + 4, 4)
    code.load(R1, R10, IDS + 4, 4)
    code.jump_if(R7, "==", R1, "out")  # a new thread
    code.map_address(R1, maps.processes)
    code.address(R2, R10, child + 4)
    code.move(R3, R9)
    code.move(R4, 0)
    code.call(MAP_UPDATE)
    lookup(code, maps.processes, child + 4)
    code.jump_if(R0, "==", 0, "process lost")
    code.move(R8, R0)
    if namespace:
        code.store(R8, PROCESS["pid"], 0, 4)
    else:
        code.store(R8, PROCESS["pid"], R7, 4)
    _inherit_thread(code, maps, child)
    base = -64
    code.load(R8, R8, PROCESS["pid"], 4)
    _tell_fork(code, maps.ring, base, R9, R7, R8)
    code.label("out")
    code.leave(0)
    code.label("process lost")
    count_lost(code, maps.lost, "processes", "out", -16)
    return code.assembled()


def _inherit_thread(code: Assembler, maps: FollowMaps, child: int) -> None:
    """The child's thread begins with its parent's PyThreadState, under its parent's native id."""
    lookup(code, maps.threads, IDS)
    code.jump_if(R0, "==", 0, "no thread")
    code.map_address(R1, maps.threads)
    code.address(R2, R10, child)
    code.move(R3, R0)
    code.move(R4, 0)
    code.call(MAP_UPDATE)
    lookup(code, maps.threads, child)
    code.jump_if(R0, "==", 0, "no thread")
    code.store(R0, THREAD["in_call"], 0, 4)
    code.label("no thread")


def _tell_fork(code: Assembler, ring: int, base: int, parent: Register, child: Register, pid: Register) -> None:
    code.store(R10, base + FORK["kind"], FORKED, 4)
    code.load(R1, R10, IDS + 4, 4)
    code.store(R10, base + FORK["tgid"], R1, 4)
    code.load(R1, R10, IDS, 4)
    code.store(R10, base + FORK["tid"], R1, 4)
    code.load(R1, parent, PROCESS["pid"], 4)
    code.store(R10, base + FORK["pid"], R1, 4)
    code.store(R10, base + FORK["child"], child, 4)
    code.store(R10, base + FORK["child_pid"], pid, 4)
    code.call(KTIME_GET_NS)
    code.store(R10, base + FORK["time"], R0)
    code.map_address(R1, ring)
    code.address(R2, R10, base)
    code.move(R3, FORK.size)
    code.move(R4, NO_WAKEUP)
    code.call(RINGBUF_OUTPUT)


def executed(maps: FollowMaps) -> bytes:
    """sched_process_exec(struct task_struct *, pid_t old_pid, struct linux_binprm *): another program, other addresses.

    The thread that called execve gets the id of its process, and all others are gone (fs/exec.c, de_thread).
    """
    code = Assembler()
    code.move(R6, R1)
    own_process(code, maps.processes, "out")
    code.move(R9, R0)
    code.store(R9, PROCESS["runtime"], 0)
    code.load(R7, R6, 8)
    code.store(R10, -16, R7, 4)
    code.load(R1, R10, IDS, 4)
    code.jump_if(R1, "==", R7, "same id")
    lookup(code, maps.threads, -16)
    code.jump_if(R0, "==", 0, "same id")
    code.map_address(R1, maps.threads)
    code.address(R2, R10, IDS)
    code.move(R3, R0)
    code.move(R4, 0)
    code.call(MAP_UPDATE)
    code.map_address(R1, maps.threads)
    code.address(R2, R10, -16)
    code.call(MAP_DELETE)
    code.label("same id")
    lookup(code, maps.threads, IDS)
    code.jump_if(R0, "==", 0, "tell")
    code.store(R0, THREAD["state"], 0)
    code.store(R0, THREAD["absent_until"], 0)
    code.store(R0, THREAD["bits"], 0, 4)
    code.label("tell")
    _tell(code, maps.ring, EXECUTED, WAKEUP, R9)
    code.label("out")
    code.leave(0)
    return code.assembled()


def exited(maps: FollowMaps) -> bytes:
    """sched_process_exit(struct task_struct *, ...): forget the thread; tell the end of a process's first thread.

    That is not always the end of the process: its other threads may go on. Whoever reads the record looks.
    """
    code = Assembler()
    own_process(code, maps.processes, "out")
    code.move(R9, R0)
    code.map_address(R1, maps.threads)
    code.address(R2, R10, IDS)
    code.call(MAP_DELETE)
    code.load(R1, R10, IDS, 4)
    code.load(R2, R10, IDS + 4, 4)
    code.jump_if(R1, "!=", R2, "out")
    _tell(code, maps.ring, EXITED, WAKEUP, R9)
    code.label("out")
    code.leave(0)
    return code.assembled()
