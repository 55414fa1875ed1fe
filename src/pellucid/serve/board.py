"""The shared memory of a server: all slots (`slots.py`), and before them a page that tells how often what happened."""

import mmap
import os
from typing import Final

from pellucid.serve.slots import PAGE, Slot


class Board:
    """All slots, and a first page that only the supervisor writes, and what was exported the exporter: how often what happened."""

    DEATHS: Final = ("stuck", "silent", "died", "start", "grew", "descriptors")
    SIGNALS: Final = ("traces", "metrics", "logs")
    _VERSION: Final = 15
    _SENT: Final = 16
    _LOST: Final = 24
    _UNSAID: Final = 31

    def __init__(self, fd: int) -> None:
        self.fd = fd
        size = os.fstat(fd).st_size
        self._memory = mmap.mmap(fd, size)
        whole = memoryview(self._memory)
        self._head = whole[:PAGE].cast("q")
        self.slots = tuple(
            Slot(whole[PAGE * (number + 1) : PAGE * (number + 2)], number) for number in range(size // PAGE - 1)
        )

    @classmethod
    def new(cls, slots: int) -> "Board":
        fd = os.memfd_create("pellucid-slots", os.MFD_CLOEXEC)
        os.ftruncate(fd, PAGE * (slots + 1))
        return cls(fd)

    def incident(self, kind: str) -> None:
        """Count one incident of this kind."""
        self._head[self.DEATHS.index(kind)] += 1

    def serves(self, version: int) -> None:
        """New workers have this version of the model."""
        self._head[self._VERSION] = version

    def version(self) -> int:
        return self._head[self._VERSION]

    def unsaid(self) -> None:
        """A log record of the supervisor found no room."""
        self._head[self._UNSAID] += 1

    def told(self, signal: str, *, sent: int = 0, lost: int = 0) -> None:
        """So many more spans, metrics or log records were taken by their receiver, or will never be; written by the process that sends them."""
        place = self.SIGNALS.index(signal)
        self._head[self._SENT + place] += sent
        self._head[self._LOST + place] += lost

    def tellings(self) -> dict[str, tuple[int, int]]:
        """(sent, lost) of each signal."""
        return {
            signal: (
                self._head[self._SENT + place],
                self._head[self._LOST + place] + (self._head[self._UNSAID] if signal == "logs" else 0),
            )
            for place, signal in enumerate(self.SIGNALS)
        }

    def incidents(self) -> dict[str, int]:
        return {kind: self._head[place] for place, kind in enumerate(self.DEATHS)}
