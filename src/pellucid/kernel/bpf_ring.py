"""The ring buffer in which programs leave their records for this process (kernel/bpf/ringbuf.c, Linux 6.18).

Two pages of positions and then the data, which the kernel maps twice in a row, so that a record that wraps around can be read
as one piece. A record is a header of eight bytes, whose first four are its length with two flags, and its content, padded to
eight. The reader comes by itself, every 20 ms or so: a program that wakes it for each record costs the target 3 to 10 µs.
"""

import mmap
from collections.abc import Iterator
from struct import Struct as Packing
from types import TracebackType
from typing import Self

from pellucid.kernel import bpf

_PAGE = mmap.PAGESIZE
_POSITION = Packing("<Q")
_LENGTH = Packing("<I")
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEADER = 8


class Ring:
    """A ring of `size` bytes, a power of two and at least a page; a context manager. Raises OSError."""

    def __init__(self, size: int) -> None:
        self.map = bpf.Map(bpf.RING_BUFFER, 0, 0, size, name=b"ring")
        self.size = size
        self._consumer = mmap.mmap(self.map.fd, _PAGE)
        self._producer = mmap.mmap(self.map.fd, _PAGE + 2 * size, prot=mmap.PROT_READ, offset=_PAGE)

    def records(self) -> Iterator[bytes]:
        """Those that are there now, oldest first; each is gone from the ring when the next one is asked for."""
        at: int = _POSITION.unpack_from(self._consumer)[0]
        end: int = _POSITION.unpack_from(self._producer)[0]
        while at < end:
            start = _PAGE + (at & (self.size - 1))
            length: int = _LENGTH.unpack_from(self._producer, start)[0]
            if length & _BUSY:  # being written on another CPU
                return
            size = length & ~_DISCARDED
            if not length & _DISCARDED:
                yield self._producer[start + _HEADER : start + _HEADER + size]
            at += (size + _HEADER + 7) & ~7
            _POSITION.pack_into(self._consumer, 0, at)

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()
        self.map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
