"""What happened to a worker of the model server: two looks at it, the request it was in, and how it ended."""

from typing import Literal

from msgspec import Struct

from pellucid.model.finding import Finding
from pellucid.model.snapshot import Snapshot

IncidentKind = Literal[
    "stuck",  # a prediction went on past half the deadline
    "silent",  # the event loop did not turn: stopped, or blocked
    "died",  # it ended, and nobody had asked it to
    "start",  # it did not become ready
    "grew",  # its memory grew past what a worker may take
    "descriptors",  # it has hardly one left: it can't accept connections, and the model can't open files
]

Outcome = Literal[
    "open",  # not decided yet
    "recovered",  # it answered after all, before the deadline
    "replaced",  # it was killed, or had died, and another took its place
]


Moment = Literal["half", "deadline", "grown", "full"]
"""When a look was made: at half the deadline, at the deadline, when too much memory had been taken, or when hardly a descriptor was left."""


class Served(Struct, frozen=True):
    """The request that was in the predict thread, `age_s` seconds after the prediction began; of a batch of several requests the first, with
    the rows of all.
    """

    id: str
    rows: int
    age_s: float
    requests: int = 1
    trace_id: str = ""
    """Of OpenTelemetry, in hexadecimal, where the request is traced."""
    span_id: str = ""


class LookAt(Struct, frozen=True):
    """One look from outside. `why_not` says why there is no snapshot; `sentence` is never empty."""

    moment: Moment
    at: float
    took_s: float
    sentence: str
    line: str = ""
    """`transform (preprocessing.py:41)`: where the thread in question is; "" where no stack was seen."""
    snapshot: Snapshot | None = None
    findings: tuple[Finding, ...] = ()
    why_not: str = ""


class Incident(Struct, frozen=True, kw_only=True):
    """`sentence` tells what happened, `cause` why as far as it was seen; `client` what the waiting client was told."""

    schema: int = 1
    id: str
    at: float
    pid: int
    worker: int
    kind: IncidentKind
    sentence: str
    cause: str
    model: str
    version: int
    outcome: Outcome = "open"
    client: str = ""
    request: Served | None = None
    rss_bytes: int | None = None
    last_error: str = ""
    looks: tuple[LookAt, ...] = ()
    recording: str = ""
    """The file in which the minutes before are kept, until newer ones take their room; "" where nothing was recorded."""
    replay: tuple[str, ...] = ()
    """The commands that look back at that moment."""
