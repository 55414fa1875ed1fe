"""Which descriptors a thread waits on: a system call's arguments, followed into the target's memory.

A `recv` with a timeout sits in poll(2), and its descriptor stands in an array of the target: it is read there, never asked for by
stopping the thread. The set of an epoll descriptor is the kernel's, and stands in /proc/PID/fdinfo (proc_pid_fdinfo(5)).
How long the call may still take is told by `kernel.timeouts`.
"""

from collections.abc import Callable
from struct import iter_unpack

from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.kernel.timeouts import timeout_left
from pellucid.model import Call, Gap
from pellucid.model.errors import os_words

__all__ = ["MAX_DESCRIPTORS", "Watching", "timeout_left", "watched", "watching"]

MAX_DESCRIPTORS = 1 << 16

_WANTS = {
    **dict.fromkeys(("read", "readv", "pread64", "preadv", "preadv2", "recvfrom", "recvmsg", "recvmmsg"), "read"),
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"), "write"),
    "sendfile": "write",
    "accept": "accept",
    "accept4": "accept",
    "connect": "connect",
}
"""The calls whose first argument is the descriptor."""

_IN = 0x0001 | 0x0002 | 0x0040 | 0x0080 | 0x2000  # POLLIN PRI RDNORM RDBAND RDHUP, include/uapi/asm-generic/poll.h
_OUT = 0x0004 | 0x0100 | 0x0200  # POLLOUT WRNORM WRBAND; EPOLL* has the same bits
_POLLFD = "<iHH"

Pairs = tuple[tuple[int, str], ...]


class Watching(Struct, frozen=True):
    """(descriptor, what for) of one call: `read`, `write`, `read or write`, `hangup`, `accept`, `connect`.

    `gap` is there when the call watches descriptors and they could not be read, or not all of them.
    """

    descriptors: Pairs = ()
    gap: Gap | None = None


def watched(memory: Memory | None, call: Call, pid: int) -> Pairs:
    """(descriptor, what for) of `call`; empty also where they could not be read, which `watching` tells apart."""
    return watching(memory, call, pid).descriptors


def watching(memory: Memory | None, call: Call, pid: int) -> Watching:
    """The descriptors that `call`, in which a thread of `pid` sits, waits on."""
    if call.name in ("poll", "ppoll"):
        return _from_memory(memory, call, call.arguments[1], _pollfds)
    if call.name in ("select", "pselect6"):
        return _from_memory(memory, call, _int(call.arguments[0]), _fd_sets)
    if call.name in ("epoll_wait", "epoll_pwait", "epoll_pwait2"):
        return _epoll(pid, _int(call.arguments[0]))
    wants = _WANTS.get(call.name)
    return Watching(((_int(call.arguments[0]), wants),)) if wants and call.arguments else Watching()


def _int(register: int) -> int:
    """A C int: the low half of the register, with its sign."""
    low = register & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def _from_memory(memory: Memory | None, call: Call, count: int, read: Callable[[Memory, Call, int], Pairs]) -> Watching:
    what = f"the descriptors of a {call.name}"
    if count <= 0:
        return Watching()
    if memory is None:
        return Watching(gap=Gap(what, "the memory of the process could not be opened"))
    try:
        found = read(memory, call, min(count, MAX_DESCRIPTORS))
    except Unreadable as error:
        return Watching(gap=Gap(what, f"they could not be read from memory ({error})"))
    return Watching(found, Gap(what, f"the first {MAX_DESCRIPTORS} of {count}") if count > MAX_DESCRIPTORS else None)


def _pollfds(memory: Memory, call: Call, count: int) -> Pairs:
    """An array of struct pollfd { int fd; short events; short revents; }; a negative fd is skipped (poll(2))."""
    array = memory.read(call.arguments[0], 8 * count)
    return tuple((fd, _wants(events)) for fd, events, _ in iter_unpack(_POLLFD, array) if fd >= 0)


def _wants(events: int) -> str:
    if events & _IN and events & _OUT:
        return "read or write"
    return "read" if events & _IN else "write" if events & _OUT else "hangup"


def _fd_sets(memory: Memory, call: Call, count: int) -> Pairs:
    """Three bitmaps of `count` bits in words of 64 (select(2)); the third, exceptional conditions, counts as reading."""
    size = (count + 63) // 64 * 8
    read, write, urgent = (
        int.from_bytes(memory.read(address, size), "little") if address else 0 for address in call.arguments[1:4]
    )
    asked = (((read | urgent) >> fd & 1, write >> fd & 1, fd) for fd in range(count))
    return tuple(
        (fd, "read or write" if reads and writes else "read" if reads else "write")
        for reads, writes, fd in asked
        if reads or writes
    )


def _epoll(pid: int, fd: int) -> Watching:
    """The lines `tfd: 5 events: 19 data: ...` of the descriptor's fdinfo, events in hexadecimal."""
    what = f"what the epoll descriptor {fd} of pid {pid} watches"
    try:
        text = procfs.read_file(f"/proc/{pid}/fdinfo/{fd}", 256 * MAX_DESCRIPTORS)
    except OSError as error:
        return Watching(gap=Gap(what, os_words(error)))
    return Watching(epoll_targets(text))


def epoll_targets(fdinfo: bytes) -> Pairs:
    """(descriptor, what for) of each `tfd:` line of an epoll's fdinfo."""
    fields = (line.split() for line in fdinfo.split(b"\n") if line.startswith(b"tfd:"))
    return tuple((int(field[1]), _wants(int(field[3], 16))) for field in fields if len(field) > 3)
