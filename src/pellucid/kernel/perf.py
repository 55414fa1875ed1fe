"""perf_event_open(2): records that the kernel writes into rings which this process has mapped.

An event of a thread on one CPU, inherited by all threads and children that it makes. All events of a CPU write into one ring,
which holds records of one kind only, so that numpy can read it as an array. A record that found no room is counted by the kernel
and told by a LOST record (include/uapi/linux/perf_event.h, Linux 6.18).
"""

import ctypes
import fcntl
import mmap
import os
from errno import EINVAL, EPERM
from struct import Struct as Packing
from types import TracebackType
from typing import Self

TRACEPOINT, SOFTWARE = 2, 1
CPU_CLOCK = 0  # PERF_COUNT_SW_CPU_CLOCK: a timer that runs while the thread does
DUMMY = 9  # PERF_COUNT_SW_DUMMY: no event of its own, but a carrier of FORK, COMM and EXIT
LOST, COMM, EXIT, FORK, SAMPLE = 2, 3, 4, 7, 9
COMM_EXEC = 1 << 13

_SYSTEM_CALL = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES = Packing("<IIQQQQQIIQQQQIi32x")
_SIZE = 128
_SAMPLE = 2 | 4 | 0x400  # PERF_SAMPLE_TID, TIME, RAW
_DISABLED, _INHERIT, _COMM, _TASK, _ID_ALL, _COMM_EXEC, _CLOCK = 1, 1 << 1, 1 << 9, 1 << 13, 1 << 18, 1 << 24, 1 << 25
_SAMPLE_IP = 1 | 2 | 4  # PERF_SAMPLE_IP, TID, TIME
_EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 5, 1 << 6
CLOCK_SAMPLE = Packing("<IHHQIIQ")
"""type, misc, size; ip, pid, tid, time in nanoseconds of CLOCK_MONOTONIC."""
_MONOTONIC = 1
_CLOEXEC = 8
_ENABLE, _SET_OUTPUT = 0x2400, 0x2405
_HEAD, _TAIL = 1024, 1032  # struct perf_event_mmap_page.data_head, data_tail
_POSITION = Packing("<Q")
_PAGE = mmap.PAGESIZE
_LEAST_PAGES = 8
_NEVER = (1 << 31) - 1
"""wakeup_events: the kernel compares it as a signed int (kernel/events/core.c, perf_output_sample); one more, and each record would wake us."""


def attributes(kind: int, config: int, *, tasks: bool = False) -> bytes:
    """A struct perf_event_attr: every hit is a record, with pid, tid and time of CLOCK_MONOTONIC."""
    flags = _DISABLED | _INHERIT | _CLOCK | _ID_ALL
    if tasks:
        flags |= _TASK | _COMM | _COMM_EXEC
    # Nobody is woken: the reader comes by itself.
    return _ATTRIBUTES.pack(kind, _SIZE, config, 1, _SAMPLE, 0, flags, _NEVER, 0, 0, 0, 0, 0, 0, _MONOTONIC)


def clock_attributes(period_ns: int) -> bytes:
    """A struct perf_event_attr: each `period_ns` of CPU time in user space a record `CLOCK_SAMPLE`, of all threads that are made, too."""
    flags = _DISABLED | _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV | _CLOCK
    return _ATTRIBUTES.pack(
        SOFTWARE, _SIZE, CPU_CLOCK, period_ns, _SAMPLE_IP, 0, flags, _NEVER, 0, 0, 0, 0, 0, 0, _MONOTONIC
    )


def open_event(described: bytes, tid: int, cpu: int) -> int:
    """A descriptor. Raises OSError: EACCES or EPERM where it is not permitted, ESRCH where the thread has ended."""
    number = _SYSTEM_CALL.get(os.uname().machine)
    if number is None:
        raise OSError(EINVAL, "perf_event_open has no known number here")
    fd: int = _libc.syscall(number, described, tid, cpu, -1, _CLOEXEC)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


_libc = ctypes.CDLL(None, use_errno=True)


class Ring:
    """The ring of one event, which others of the same CPU may share; a context manager."""

    def __init__(self, fd: int, pages: int) -> None:
        """`pages`: a power of two; fewer where the limit of locked memory does not allow as many. Raises OSError."""
        self.fd = fd
        while True:
            try:
                self._memory = mmap.mmap(fd, (pages + 1) * _PAGE)
                break
            except OSError as error:
                if error.errno != EPERM or pages <= _LEAST_PAGES:
                    raise
                pages //= 2
        self.size = pages * _PAGE

    def share(self, fd: int) -> None:
        """Let another event of the same CPU write here."""
        fcntl.ioctl(fd, _SET_OUTPUT, self.fd)

    def read(self) -> bytes:
        """All records that are there, and room for new ones."""
        head: int = _POSITION.unpack_from(self._memory, _HEAD)[0]
        tail: int = _POSITION.unpack_from(self._memory, _TAIL)[0]
        if head == tail:
            return b""
        start, end = tail % self.size, head % self.size
        if start < end:
            found = self._memory[_PAGE + start : _PAGE + end]
        else:
            found = self._memory[_PAGE + start : _PAGE + self.size] + self._memory[_PAGE : _PAGE + end]
        _POSITION.pack_into(self._memory, _TAIL, head)
        return found

    def close(self) -> None:
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def enable(fd: int) -> None:
    fcntl.ioctl(fd, _ENABLE, 0)
