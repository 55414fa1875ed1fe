"""Where the threads of a process were while it was watched for a second or two: what the rules about time judge. Counts are of samples."""

from msgspec import Struct

from pellucid.model.thread import Frame


class Spot(Struct, frozen=True):
    """A place in the code, and in how many samples the thread was there."""

    frame: Frame
    samples: int


class Growing(Struct, frozen=True):
    """A str, bytes or tuple that a frame held at several looks, each time longer, and at another address: it was copied.

    `name` of the variable, "" where it lay on the value stack alone. `moved` of `steps` times it had another address than before.
    """

    name: str
    kind: str
    first: int
    last: int
    moved: int
    steps: int


class Searching(Struct, frozen=True):
    """One call of a compiled regular expression: how long it did not return, and on how long a text (None: not found)."""

    unbroken_s: float
    length: int | None


class Busy(Struct, frozen=True):
    """One thread. `running`, `waiting`, `wants_gil`, `holds_gil`: samples in that state; together `samples`, but for the last, which overlaps.

    `inner`: where it ran, the innermost frame, most first. `own`: the same by the innermost frame of the program's own code, callees
    included. `collecting`: of the samples in which it ran a garbage collection was under way, and `collected_at` where.
    """

    tid: int
    name: str
    samples: int
    running: int
    waiting: int
    wants_gil: int
    holds_gil: int
    inner: tuple[Spot, ...]
    own: tuple[Spot, ...]
    waits: tuple[Spot, ...]
    """Where it slept, the innermost frame."""
    lock: str
    """The lock of the program that it was found waiting for at `waits[0]`: `Lock self.lock`; "" for none."""
    turns: int
    """How often it stopped sleeping at a place of `waits` and slept there again: it got what it waited for."""
    collecting: int = 0
    collected_at: tuple[Spot, ...] = ()
    growing: Growing | None = None
    searching: Searching | None = None


class HotTime(Struct, frozen=True):
    """`seconds` of watching with `samples` looks at all threads. `collections`: how many garbage collections began, None where unknown."""

    seconds: float
    samples: int
    threads: tuple[Busy, ...]
    collections: int | None
    held_gil: tuple[Spot, ...] = ()
    """Where whoever had the GIL was, while another wanted it."""
