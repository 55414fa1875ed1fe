"""Where Python allocated, as tracemalloc tells it from inside of a process: only what was allocated while it was on."""

from msgspec import Struct

from pellucid.model.report import Report


class AllocationLine(Struct, frozen=True):
    """One line of source: what it allocated within the time and still holds, and how many blocks that is."""

    file: str
    line: int
    bytes: int
    blocks: int


class TracemallocReport(Report, frozen=True, kw_only=True):
    """`ran_code` is always true: code of ours ran in the process. `lines`: what grew most first. `own_bytes` is what tracemalloc took itself.

    `already_on`: the program had started it, and it was left on; then `lines` is what it had seen from then on.
    """

    ran_code: bool
    seconds: float
    lines: tuple[AllocationLine, ...]
    traced_bytes: int
    peak_bytes: int
    own_bytes: int
    already_on: bool
