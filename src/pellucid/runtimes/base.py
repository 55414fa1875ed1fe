"""What every runtime can tell of a process, and what a reading of its stacks is."""

from typing import Protocol

from msgspec import Struct

from pellucid.model import Gap, Stack


class Reading(Struct, frozen=True):
    """All stacks of one process at one moment, in the order of their thread ids.

    `retries` counts the copies that had to be taken again because a thread moved meanwhile.
    """

    stacks: tuple[Stack, ...]
    retries: int
    gaps: tuple[Gap, ...]


class Runtime(Protocol):
    """An attached runtime. It stays attached until `close()`, and each `read()` costs only the reading."""

    @property
    def name(self) -> str:
        """`CPython 3.13.0`."""

    def read(self) -> Reading:
        """Every stack now. Raises NoSuchProcess when the process has ended."""

    @property
    def stops(self) -> bool:
        """A reading stops the process's threads for a moment, so that as few as possible are made."""

    @property
    def stopped_s(self) -> float | None:
        """Seconds that its threads have stood still for the readings so far; None where nobody counted, or nothing stops."""

    def in_gil(self, address: int) -> bool:
        """Whether a futex at `address` belongs to the lock that the interpreter's threads take turns with."""

    def close(self) -> None:
        """Lets go of the process."""
