"""How much of CPython's small-object memory is in use: from the heads of its pools alone, some 48 bytes in 16 KiB.

pymalloc (Objects/obmalloc.c; Include/internal/pycore_obmalloc.h) takes arenas of 1 MiB and cuts them into pools of 16 KiB, each with
blocks of one size of up to 512 bytes. A pool begins with its header: how many of its blocks are in use, and which size they have. Pools
lie at multiples of their size, so each such address is asked; a header is taken as one only if six of its fields agree with each other.
An arena is given back to the system only when all of its pools are empty.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.kernel.gather import gather
from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import Memory
from pellucid.kernel.pages import Pages

POOL = 1 << 14  # POOL_SIZE with the radix tree, 3.10 and later, 64 bit
_HEADER = 48  # POOL_OVERHEAD: struct pool_header, rounded up to 16
_WORDS = 6
_CLASSES = 32  # NB_SMALL_SIZE_CLASSES
MAX_POOLS = 1 << 24  # 256 GiB of small objects


class Pools(Struct, frozen=True):
    """Arrays with one entry a pool. Bytes: `size` of a block, `used` blocks of it; `used` is 0 in a pool that is kept empty."""

    addresses: NDArray[np.uint64]
    size: NDArray[np.int64]
    used: NDArray[np.int64]
    resident_bytes: int

    @property
    def used_bytes(self) -> int:
        return int((self.size * self.used).sum())

    @property
    def blocks(self) -> int:
        return int(self.used.sum())

    def holds(self, addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each address lies in one of the pools."""
        if not len(self.addresses):
            return np.zeros(len(addresses), np.bool_)
        start = addresses & ~np.uint64(POOL - 1)
        at = np.minimum(np.searchsorted(self.addresses, start), len(self.addresses) - 1)
        found: NDArray[np.bool_] = self.addresses[at] == start
        return found


def may_hold_pools(mapping: Mapping) -> bool:
    """Arenas are private anonymous mappings; 3.15 gives them a name where the kernel has names (prctl PR_SET_VMA_ANON_NAME)."""
    return (
        mapping.permissions.startswith("rw-p")
        and not mapping.inode
        and (not mapping.path or mapping.path.startswith("[anon:"))
    )


def read(memory: Memory, mappings: tuple[Mapping, ...], pages: Pages) -> Pools:
    """The pools of a process now, lowest address first. Raises NoSuchProcess."""
    candidates = [_aligned(mapping) for mapping in mappings if may_hold_pools(mapping)]
    addresses = np.concatenate(candidates)[:MAX_POOLS] if candidates else np.zeros(0, np.uint64)
    addresses = addresses[pages.are_present(addresses)]
    heads, good = gather(memory, addresses, _WORDS)
    mask = np.uint64(0xFFFFFFFF)
    used = (heads[:, 0] & mask).astype(np.int64)
    arena = (heads[:, 4] & mask).astype(np.int64)
    index = (heads[:, 4] >> np.uint64(32)).astype(np.int64)
    following = (heads[:, 5] & mask).astype(np.int64)
    last = (heads[:, 5] >> np.uint64(32)).astype(np.int64)
    size = (index + 1) * 16
    blocks = (POOL - _HEADER) // np.maximum(size, 16)
    fits = good & (index < _CLASSES) & (last == POOL - size) & (arena < 1 << 24)
    fits &= (following >= _HEADER) & (following <= POOL) & ((following - _HEADER) % np.maximum(size, 16) == 0)
    fits &= used <= np.minimum(blocks, (following - _HEADER) // np.maximum(size, 16))
    addresses = addresses[fits]
    return Pools(
        addresses=addresses,
        size=size[fits],
        used=used[fits],
        resident_bytes=int(pages.resident(addresses, POOL).sum()) if len(addresses) else 0,
    )


def _aligned(mapping: Mapping) -> NDArray[np.uint64]:
    first = mapping.start + -mapping.start % POOL
    return np.arange(first, max(first, mapping.end - POOL + 1), POOL, dtype=np.uint64)
