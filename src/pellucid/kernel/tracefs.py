"""What the kernel says of its tracepoints: their numbers and fields, from tracefs (Documentation/trace/events.rst).

It is mounted at /sys/kernel/tracing, on older systems below debugfs, in containers and small machines nowhere. Then it is opened
without being mounted anywhere that others could see: fsopen(2) and fsmount(2), which need CAP_SYS_ADMIN and Linux 5.2.
"""

import ctypes
import os
from types import TracebackType
from typing import Self

from msgspec import Struct

from pellucid.kernel.procfs import read_file

PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same numbers on all architectures
_CREATE, _CLOEXEC = 6, 1  # FSCONFIG_CMD_CREATE, FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
_MAX_FORMAT = 1 << 16


class Event(Struct, frozen=True):
    """A tracepoint: its number for perf_event_open(2), and where each field lies in its record."""

    number: int
    fields: dict[str, int]


class Tracefs:
    """tracefs, open for reading; a context manager. Raises OSError."""

    def __init__(self) -> None:
        self._directory = _opened()

    def event(self, name: str) -> Event:
        """`raw_syscalls/sys_enter`. Raises OSError, ValueError where its format is not one."""
        number = read_file(f"events/{name}/id", 64, self._directory)
        return Event(int(number), fields(read_file(f"events/{name}/format", _MAX_FORMAT, self._directory)))

    def close(self) -> None:
        os.close(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def fields(text: bytes) -> dict[str, int]:
    """Names to offsets, from lines like `field:unsigned long args[6];  offset:16;  size:48;  signed:0;`."""
    found = {}
    for line in text.decode("utf-8", "replace").split("\n"):
        declared, _, rest = line.strip().partition(";")
        place, _, _ = rest.strip().partition(";")
        if declared.startswith("field:") and place.startswith("offset:"):
            name = declared.split()[-1].partition("[")[0].lstrip("*")
            found[name] = int(place.removeprefix("offset:"))
    return found


def _opened() -> int:
    for place in PLACES:
        try:
            directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue  # not mounted there, or not for us: the next way may work
        if os.access("events", os.X_OK, dir_fd=directory):
            return directory
        os.close(directory)
    return _mounted_nowhere()


def _mounted_nowhere() -> int:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: "int | bytes | None") -> int:
        result: int = libc.syscall(number, *arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"tracefs can't be opened: {os.strerror(code)}")
        return result

    context = call(_FSOPEN, b"tracefs", _CLOEXEC)
    try:
        call(_FSCONFIG, context, _CREATE, None, None, 0)
        return call(_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)
