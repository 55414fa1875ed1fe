"""What a tracer counted: every call of a program, or every line of some functions; and by how much the tracing itself changed the times."""

from msgspec import Struct


class TracedFunction(Struct, frozen=True):
    """A function over all threads: its `calls`, and how many it `made`. `file` is "" for one in C.

    `own_ns` and `total_ns`: as traced, without and with what it called. `true_ns`: its own time without what tracing added to it. `share`
    and `true_share`: of all own time, as traced and without. `distorted`: the two differ so much that the traced one misleads.
    """

    qualname: str
    file: str
    line: int
    calls: int
    made: int
    own_ns: int
    total_ns: int
    true_ns: int
    share: float
    true_share: float
    distorted: bool


class TracedLine(Struct, frozen=True):
    """A line of a function whose lines were timed. Shares are of its function's time."""

    qualname: str
    file: str
    line: int
    hits: int
    own_ns: int
    true_ns: int
    share: float
    true_share: float
    distorted: bool


class Trace(Struct, frozen=True, kw_only=True):
    """`engine`: the tracer, with the version of Python that ran it.

    `inflation`: the traced time by the time without what tracing added. That is the number of calls (or lines) by what one costs, which was
    measured in the same process before the program began: `call_ns`, `builtin_ns`, `line_ns`; 0 where it does not apply.
    `busy`: by how much other work on the machine stretched it (2.0: it had half a CPU); then `inflation` is the least that it can be.
    """

    engine: str
    inflation: float
    calls: int
    call_ns: int
    builtin_ns: int
    line_ns: int
    busy: float
    functions: tuple[TracedFunction, ...]
    lines: tuple[TracedLine, ...]
