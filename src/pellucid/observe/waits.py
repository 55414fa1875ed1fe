"""What a thread waits for: `recv on fd 3, tcp 127.0.0.1:4031 → 127.0.0.1:8000, for 41 s, gives up in 19 s`.

The kernel names the system call and its arguments (/proc/PID/task/TID/syscall); the descriptors behind a poll, the timeout
and the kind of each descriptor are read from the target's memory and from /proc/PID/fd. Nothing is stopped: a stop would turn
a sleeping call into restart_syscall(2), and its arguments would be lost.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from pellucid.kernel import fds, polling, tasks
from pellucid.kernel.memory import Memory
from pellucid.model import Gap, Socket, Stack, Task, Wait, Watched
from pellucid.model.wait import WaitKind

SLEEPS = frozenset({"nanosleep", "clock_nanosleep"})
CHILDREN = frozenset({"wait4", "waitid", "waitpid"})
SIGNALS = frozenset({"pause", "rt_sigsuspend", "rt_sigtimedwait", "signalfd"})
SYNCS = frozenset({"fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"})
POLLS = frozenset({"poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"})
_F_SETLKW, _F_OFD_SETLKW = 7, 38  # include/uapi/asm-generic/fcntl.h
_P_PID = 1  # waitid(2): idtype P_PID
_ANY_CHILD = (1 << 64) - 1, (1 << 32) - 1  # pid -1 as the register shows it

_IN_MEMORY = frozenset({"poll", "ppoll", "select", "pselect6"})
"""Calls whose descriptors stand in the memory of the process."""
_UNREAD = "a descriptor that could not be read"


class Looker(Struct, frozen=True):
    """What is needed to explain the waits of one process; made once a look.

    `in_gil` says whether an address belongs to the interpreter's global lock; `sockets` are those of the process by inode.
    """

    pid: int
    memory: Memory | None
    sockets: Mapping[int, Socket]
    in_gil: Callable[[int], bool]

    def wait(self, task: Task, stack: Stack | None) -> tuple[Wait | None, tuple[Gap, ...]]:
        """The wait of one task, None when it runs or waits for nothing. Gaps: what could not be told of it."""
        call = task.call
        if task.state == "disk-sleep":
            return Wait(
                kind="disk", call=call.name if call and call.number is not None else "page fault", since_s=task.asleep_s
            ), ()
        if call is None or call.number is None or task.state in {"running", "zombie", "dead"}:
            return None, ()
        if call.number < 0:
            return Wait(kind="other", call="no system call", since_s=task.asleep_s), ()
        timed, left = polling.timeout_left(self.memory, call, task.asleep_s)
        watched, gaps = self._watched(call.name, task)
        if call.name in _IN_MEMORY and any(one.what == _UNREAD for one in watched):
            # The array of a call that has ended meanwhile is memory that others use now.
            if tasks.calls(self.pid, (task.tid,)).get(task.tid) != call:
                return None, (Gap(f"what thread {task.tid} waits for", "its call ended during the look"),)
            watched, gaps = self._watched(call.name, task)
        kind, address, child = self._kind(task, stack, watched)
        return (
            Wait(
                kind=kind,
                call=call.name,
                since_s=task.asleep_s,
                timed=timed,
                left_s=left,
                watched=watched,
                address=address,
                child=child,
            ),
            gaps,
        )

    def _kind(
        self, task: Task, stack: Stack | None, watched: tuple[Watched, ...]
    ) -> tuple[WaitKind, int | None, int | None]:
        call = task.call
        assert call is not None
        name, arguments = call.name, call.arguments
        if name in SLEEPS:
            return "sleep", None, None
        if name == "futex":
            address = arguments[0] if arguments else 0
            gil = self.in_gil(address) or (stack is not None and stack.wants_gil is True)
            return ("gil" if gil else "lock"), address, None
        if name in CHILDREN:
            return "child", None, _child(name, arguments)
        if name in SIGNALS:
            return "signal", None, None
        if name in SYNCS:
            return "disk", None, None
        if name == "flock" or (name == "fcntl" and len(arguments) > 1 and arguments[1] in {_F_SETLKW, _F_OFD_SETLKW}):
            return "file-lock", None, None
        if name in POLLS and not watched:
            return "sleep", None, None
        if len(watched) == 1:
            return _kind_of_one(watched[0]), None, None
        return ("poll" if watched else "other"), None, None

    def _watched(self, name: str, task: Task) -> tuple[tuple[Watched, ...], tuple[Gap, ...]]:
        assert task.call is not None
        gaps: list[Gap] = []
        if name in {"flock", "fcntl", "fsync", "fdatasync"} and task.call.arguments:
            pairs: tuple[tuple[int, str], ...] = (
                (task.call.arguments[0] & 0xFFFFFFFF, "lock" if name in {"flock", "fcntl"} else "write"),
            )
        else:
            watching = polling.watching(self.memory, task.call, self.pid)
            pairs = watching.descriptors
            if watching.gap is not None:
                gaps.append(watching.gap)
        found: list[Watched] = []
        for fd, wants in pairs:
            file = fds.open_file(self.pid, fd)
            if isinstance(file, Gap):
                gaps.append(file)
                found.append(Watched(fd=fd, what=_UNREAD, wants=wants))
                continue
            socket = self.sockets.get(file.inode) if file.kind == "socket" and file.inode is not None else None
            found.append(
                Watched(fd=fd, what=_words(socket) if socket else file.path, wants=wants, socket=socket, kind=file.kind)
            )
        return tuple(found), tuple(gaps)


def _kind_of_one(one: Watched) -> WaitKind:
    if one.kind == "socket":
        return "socket"
    if one.kind in {"pipe", "fifo"}:
        return "pipe"
    return "poll" if one.kind in {"eventfd", "timerfd", "signalfd", "inotify", "epoll", "pidfd"} else "file"


def _child(name: str, arguments: tuple[int, ...]) -> int | None:
    """The pid a wait4(2) or waitid(2) names; None for any child or a process group."""
    if name == "waitid":
        return arguments[1] & 0xFFFFFFFF if len(arguments) > 1 and arguments[0] == _P_PID else None
    first = arguments[0] if arguments else _ANY_CHILD[0]
    return None if first in _ANY_CHILD or first == 0 or first >> 31 else first


def _words(socket: Socket) -> str:
    if socket.state == "LISTEN":
        return f"{socket.proto} listening on {socket.local}"
    return (
        f"{socket.proto} {socket.local} → {socket.remote}"
        if socket.remote
        else f"{socket.proto} {socket.local or '(unnamed)'}"
    )
