"""The private memory of a process as it was at one moment: one copy, from which everything of its heap is read afterwards.

The target is stopped, if that was asked for, only while the bytes are copied; they are made sense of when it runs again. A copy
that is taken without a pause is torn where the program wrote meanwhile: counts stay right within a fraction of a percent, since a page
is copied in one go, and single references may be wrong.

Arrays: `bytes` (uint8) is the copy, `words` (uint64) the same. Run i has the addresses `starts[i]` to `ends[i]` and begins at `offsets[i]`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from errno import EFAULT, EINVAL

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel import bulk, maps, resident
from pellucid.kernel.memory import MAX_BYTES, TOP, Memory, Unreadable
from pellucid.kernel.pause import Pause
from pellucid.model import Gap
from pellucid.model.errors import NoSuchProcess

Words = NDArray[np.uint64]
Places = NDArray[np.int64]

_SHORT = 1 << 30  # bytes: copied in some tenths of a second
_TRIES = 4  # each with twice as much to spare
_SPARE = (
    4 << 20
)  # bytes more than the process had when the buffer was made, and a sixteenth: it grows until it stands still


class Image:
    """`paused_s`: for how long the process stood still, None where it did not. `gaps`: what could not be copied."""

    def __init__(
        self, buffer: bulk.Buffer, runs: tuple[tuple[int, int], ...], paused_s: float | None, gaps: tuple[Gap, ...]
    ) -> None:
        self.starts: Words = np.array([start for start, _ in runs], np.uint64)
        self.ends: Words = np.array([end for _, end in runs], np.uint64)
        sizes = (self.ends - self.starts).astype(np.int64)
        self.offsets: Places = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
        self.size = int(sizes.sum())
        self.bytes: NDArray[np.uint8] = np.frombuffer(buffer.view, np.uint8, self.size)
        self.words: Words = self.bytes.view(np.uint64)
        self.paused_s = paused_s
        self.gaps = gaps
        self._buffer = buffer
        self._shift: Words = self.starts - self.offsets.astype(
            np.uint64
        )  # address of a place = place + shift of its run
        self._low, self._high = (int(self.starts[0]), int(self.ends[-1])) if runs else (1, 0)

    def places(self, addresses: Words) -> Places:
        """The offset in `bytes` of each address, -1 where it was not copied."""
        if not len(self.starts):
            return np.full(len(addresses), -1, np.int64)
        run = np.searchsorted(self.starts, addresses, "right") - 1
        np.maximum(run, 0, out=run)
        inside = (addresses >= self.starts[run]) & (addresses < self.ends[run])
        return np.where(inside, (addresses - self._shift[run]).view(np.int64), -1)

    def place(self, address: int) -> int:
        """The offset of one address, -1 where it was not copied."""
        return int(self.places(np.array([address], np.uint64))[0]) if 0 < address < TOP else -1

    def addresses(self, places: Places) -> Words:
        """The address of each offset in `bytes`."""
        run = np.searchsorted(self.offsets, places, "right") - 1
        return places.astype(np.uint64) + self._shift[run]

    def mapped(self, addresses: Words) -> NDArray[np.bool_]:
        """Which addresses are of memory that the process has, copied here or not."""
        return self.places(addresses) >= 0

    def may_be(self, words: Words) -> NDArray[np.bool_]:
        """Which words can be an address in the copy, at the first glance: aligned, and between the lowest and the highest."""
        return (words >= np.uint64(self._low)) & (words < np.uint64(self._high)) & ((words & np.uint64(7)) == 0)


class CopiedMemory(Memory):
    """Reads like a process's memory; what was copied comes from the copy, the rest (code, constants of files) from the live process."""

    __slots__ = ("_ends", "_image", "_live", "_offsets", "_starts")

    def __init__(self, image: Image, live: Memory) -> None:
        super().__init__(live.pid, -1)
        self._image = image
        self._live: Memory | None = live
        self._starts = image.starts.tolist()
        self._ends = image.ends.tolist()
        self._offsets = image.offsets.tolist()

    def close(self) -> None:
        """The live memory belongs to who opened it."""

    def let_go(self) -> None:
        """From now on only the copy is read: the live memory is about to be closed, and its descriptor may become another file's."""
        self._live = None

    def read_some(self, address: int, size: int) -> bytes:
        if not 0 <= address < TOP or not 0 < size <= MAX_BYTES:
            raise Unreadable(address, size, EFAULT if 0 < size <= MAX_BYTES else EINVAL)
        from bisect import bisect_right

        run = bisect_right(self._starts, address) - 1
        if run < 0 or address >= self._ends[run]:
            if self._live is None:
                raise Unreadable(address, size, EFAULT)
            return self._live.read_some(address, size)
        start = address - self._starts[run] + self._offsets[run]
        return self._image.bytes[start : start + min(size, self._ends[run] - address)].tobytes()

    def read(self, address: int, size: int) -> bytes:
        found = self.read_some(address, size)
        while len(found) < size:
            found += self.read_some(address + len(found), size - len(found))
        return found

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        return [self._or_none(address, size) for address, size in ranges]


class TooLarge(Exception):  # noqa: N818  a value of the look: the caller streams instead
    """The process has `size` bytes, more than the `limit` that was given."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit


def resident_runs(pid: int, command: str = "heap") -> tuple[tuple[int, int], ...]:
    """(first address, end) of all that a copy would take. Raises NoSuchProcess, NotPermitted."""
    return _resident(pid, command).runs


def take(pid: int, *, pause: bool, limit: int, command: str = "heap") -> Image:
    """Copies the memory of the process, at most `limit` bytes of it.

    Raises TooLarge before anything is stopped or copied, NoSuchProcess (also when it replaced itself by exec meanwhile), NotPermitted,
    and LookError where no pause is possible.
    """
    with Memory.open(pid, command) as memory:  # stands for this one address space: an exec makes a new one
        first = _resident(pid, command)
        if first.bytes > limit:
            raise TooLarge(first.bytes, limit)
        wanted, paused = first.bytes, 0.0
        for number in range(_TRIES):
            stop = Pause(pid, command, short=wanted <= _SHORT) if pause else None
            if stop is not None:
                stop.arm()
            buffer = bulk.Buffer(wanted + (wanted // 16 + _SPARE << number))
            try:
                with stop if stop is not None else nullcontext():
                    found, lost = _copy(memory, buffer, command, last=number == _TRIES - 1)
            except _Grown as grown:
                wanted = grown.size
                if wanted > limit:
                    raise TooLarge(wanted, limit) from None
                continue
            except OSError as error:
                raise NoSuchProcess.ended(pid, f"copy the memory of pid {pid}") from error
            finally:
                paused += stop.seconds if stop is not None else 0.0
            buffer.give_back(found.bytes)
            return Image(buffer, found.runs, paused if pause else None, tuple(_gaps(pid, found, lost, stop)))
    raise AssertionError("the last try takes what fits")


class _Grown(Exception):  # noqa: N818
    """The process has more than the buffer can take: it grew since it was asked."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def _resident(pid: int, command: str) -> resident.Resident:
    mappings = maps.read(pid, command)
    try:
        return resident.resident(pid, mappings)
    except OSError as error:
        raise NoSuchProcess.ended(pid, f"read the page table of pid {pid} (/proc/{pid}/pagemap)") from error


def _copy(
    memory: Memory, buffer: bulk.Buffer, command: str, *, last: bool
) -> tuple[resident.Resident, list[bulk.Lost]]:
    """The list is made anew: what it was before the pause is history. Raises _Grown, but for the `last` try, which takes what fits."""
    found = _resident(memory.pid, command)
    if found.bytes <= buffer.size:
        return found, bulk.copy(memory, found.runs, buffer)
    if not last:
        raise _Grown(found.bytes)
    fitting = []
    left = buffer.size
    for start, end in found.runs:
        if left:
            fitting.append((start, min(end, start + left)))
            left -= fitting[-1][1] - start
    lost = [bulk.Lost(fitting[-1][1], found.bytes - buffer.size)]
    found = resident.Resident(tuple(fitting), buffer.size, found.swapped, found.whole)
    return found, lost + bulk.copy(memory, found.runs, buffer)


def _gaps(pid: int, found: resident.Resident, lost: list[bulk.Lost], stop: Pause | None) -> list[Gap]:
    gaps = []
    if lost:
        size = sum(each.size for each in lost)
        gaps.append(
            Gap(
                f"{size:,} bytes of the memory of pid {pid}",
                "they were unmapped, or came, while the copy was made",
                "" if stop is not None else f"pellucid heap {pid}",
            )
        )
    if found.swapped:
        gaps.append(
            Gap(
                f"how the process was before {found.swapped >> 20:,} MB of it were read back from swap",
                "the kernel brings a page in when it is copied, which took longer than a copy of memory",
            )
        )
    if stop is not None and stop.moving:
        gaps.append(
            Gap(f"a stop of {len(stop.moving)} threads", "they sleep in the kernel, and stop only when they wake")
        )
    return gaps
