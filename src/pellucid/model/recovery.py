"""A deleted file that a process still holds, and the copy that was made of it."""

from msgspec import Struct


class Recovered(Struct, frozen=True):
    """`fd` is None for one that is only mapped, at `address` (`7f00-8f00`).

    `size` in bytes; of a copy, as long as the copy is. `sha256` (hex) and `copy` (its path) are None until it was copied; the hash was
    found equal for both.
    """

    fd: int | None
    path: str
    size: int | None
    sha256: str | None = None
    allocated: int | None = None
    """Bytes that it takes on its file system; less than `size` where it has holes, which the copy has too."""
    address: str = ""
    copy: str | None = None
    open_for: str = ""
    """The flags of the descriptor, as in `OpenFile.flags`."""
