"""What goes through the socket to the exporter: one message a packet, msgpack inside."""

import msgspec
from msgspec import Struct

MOST_BYTES = 1 << 17
"""Of a message. What a socket takes at once is 208 KiB where nobody changed it (net.core.wmem_default)."""


class Batch(Struct, frozen=True, array_like=True):
    """Requests that were predicted together, where there were several. Its links lead to the `predict` spans of those that are traced."""

    trace: bytes
    span: bytes
    began: float
    ended: float
    rows: int
    requests: int
    links: tuple[tuple[bytes, bytes], ...]


class Request(Struct, frozen=True, array_like=True):
    """A request that was answered. Times are of CLOCK_MONOTONIC in seconds, 0 for what did not happen; ids are bytes, empty for what is not there.

    `method` and `path` only of pages: predictions are asked for by POST at `route` (a number of `slots.ROUTES`).
    `predicted`: 8 bytes, the id of its `predict` span; `batch`: trace and span of the batch, where it was not predicted alone.
    """

    trace: bytes
    span: bytes
    parent: bytes
    state: str
    route: int
    status: int
    began: float
    ended: float
    number: int = 0
    rows: int = 0
    queued: float = 0.0
    taken: float = 0.0
    done: float = 0.0
    predicted: bytes = b""
    batch: bytes = b""
    batch_rows: int = 0
    batch_requests: int = 0
    error: str = ""
    incident: str = ""
    method: str = "POST"
    path: str = ""
    template: str = ""


class Traced(Struct, frozen=True, array_like=True, tag="traced"):
    """Some requests of one worker. `ahead`: what has to be added to CLOCK_MONOTONIC to have the time of day."""

    worker: int
    pid: int
    model: str
    version: int
    engine: str
    ahead: float
    spans: int
    requests: tuple[Request, ...]
    batches: tuple[Batch, ...]


class Logged(Struct, frozen=True, array_like=True, tag="logged"):
    """What the supervisor has logged; ids are hexadecimal."""

    at: float
    level: str
    event: str
    sentence: str
    worker: int | None
    pid: int | None
    incident: str
    request: str
    trace_id: str
    span_id: str


Message = Traced | Logged

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Message).decode
