"""What a process and its children wrote on stdout and stderr."""

from msgspec import Struct

from pellucid.model.report import Report


class Printed(Struct, frozen=True):
    """What one call wrote: `at` in seconds since the epoch, when the call ended; `fd` is the descriptor that it was written to.

    `text` is decoded as UTF-8; other bytes stand as U+FFFD.
    """

    at: float
    pid: int
    tid: int
    stream: str
    fd: int
    text: str


class OutputReport(Report, frozen=True, kw_only=True):
    """`printed` is empty where it went to a file. `bytes` by stream; `lost_bytes` were written and are not there, why in the gaps."""

    printed: tuple[Printed, ...]
    bytes: dict[str, int]
    lost_bytes: int
    span_s: float
    backend: str
    ended: str
    """Why it is over: "the process ended", "the time is over", "interrupted"."""
