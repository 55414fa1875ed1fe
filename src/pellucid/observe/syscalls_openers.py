"""Which call, of which Python line, made a descriptor: the last one for each number."""

from typing import NamedTuple

from pellucid.kernel import decode
from pellucid.kernel.decode_calls import OPENS, PAIRS
from pellucid.kernel.traced import Called
from pellucid.model import Frame
from pellucid.model.over_time import Opener
from pellucid.observe.syscalls_processes import Processes

MAX_NUMBERS = 1 << 16
"""Of each process; descriptors above it are not asked about."""


class _Made(NamedTuple):
    name: str
    stack: int


class Openers:
    """Collects from the records of one look."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._made: dict[tuple[int, int], _Made] = {}

    def called(self, call: Called) -> None:
        if call.failed:
            return
        name = decode.name(call.number)
        if (
            name in PAIRS and call.address is not None
        ):  # both were written to memory, which was copied as if it were an address
            numbers = [int.from_bytes(call.address[at : at + 4], "little") for at in (0, 4)]
        elif name in OPENS and name not in PAIRS:
            numbers = [call.result]
        else:
            return
        for fd in numbers:
            if fd < MAX_NUMBERS:
                self._made[call.pid, fd] = _Made(name, call.stack)

    def of(self, pid: int) -> tuple[Opener, ...]:
        """Those of one process, by call and stack of frames; who made most first."""
        found: dict[tuple[str, tuple[Frame, ...]], list[int]] = {}
        for (each, fd), made in self._made.items():
            if each == pid:
                found.setdefault((made.name, self._processes.frames(made.stack) if made.stack else ()), []).append(fd)
        return tuple(
            Opener(name=name, stack=stack, fds=tuple(sorted(numbers)))
            for (name, stack), numbers in sorted(found.items(), key=lambda item: -len(item[1]))
        )
