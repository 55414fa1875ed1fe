"""A worker's side of tracing: which requests are traced, when each was where, and how that leaves the worker without ever holding it up.

A request's trace is its caller's, where it came with `traceparent` (W3C Trace Context, w3.org/TR/trace-context), or a new one. What is told of it
is a row of numbers; spans are made of it by the exporter. No body, header, query string or address of a client is among it.
"""

import bisect
import itertools
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pellucid.serve.sampling import Sampling
from pellucid.serve.slots import ROUTES, Slot
from pellucid.serve.telemetry.messages import MOST_BYTES, Batch, Request, Traced, encode

if TYPE_CHECKING:
    from pellucid.serve.package import Model
    from pellucid.serve.predictor import Work

AT_ONCE = 64
"""Requests in a message: 10 to 20 kB."""
MOST_KEPT = 2048
"""Requests that wait for room in the socket; further ones are not told of."""
MOST_STATE = 512
"""Characters of `tracestate` that are handed on; vendors have to (W3C, 3.3.1.5)."""
MOST_PATH = 256
MOST_LINKS = 128
"""Of a span, as in OpenTelemetry's SDKs."""
_GIVEN = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_UNTRACED = bytes(24)

Scope = MutableMapping[str, Any]
Page = Callable[..., Awaitable[None]]


class Taken(NamedTuple):
    """When a request was predicted, with how much else."""

    began: float
    ended: float
    rows: int
    requests: int
    own: bytes = b""
    """The id of its `predict` span."""
    batch: bytes = b""


class Trace:
    """A request that is traced."""

    __slots__ = ("_traces", "error", "id", "number", "parent", "queued_at", "rows", "span", "state", "taken")

    def __init__(self, traces: "Traces", trace: bytes, span: bytes, parent: bytes, state: str) -> None:
        self._traces = traces
        self.id = trace
        self.span = span
        self.parent = parent
        self.state = state
        self.number = 0
        self.rows = 0
        self.queued_at = 0.0
        self.taken: Taken | None = None
        self.error = ""

    def header(self) -> bytes:
        """`traceparent` of the answer: by it a client finds its request."""
        return b"00-%b-%b-01" % (self.id.hex().encode(), self.span.hex().encode())

    def queued(self, work: "Work") -> None:
        """It has its place in the queue."""
        self.number = work.number
        self.rows = len(work.records)
        self.queued_at = work.deadline - work.within_s

    def interrupted(self, began: float, rows: int, requests: int) -> None:
        """Its client is told that it takes too long; the prediction goes on."""
        self.taken = Taken(began, time.monotonic(), rows, requests, self._traces.id(8))

    def end(self, status: int, began: float, ended: float, route: int) -> None:
        """It is answered."""
        self._traces.tell(self, status, began, ended, route)


class Traces:
    """All that a worker tells. `begins` and `predicted` are called by its predict thread, the others by its event loop."""

    def __init__(self, sampling: Sampling, fd: int, slot: Slot, model: "Model") -> None:
        self._sampling = sampling
        self._fd = fd
        self._slot = slot
        self._model = model
        self._requests: list[Request] = []
        self._batches: list[Batch] = []
        self._bits = (
            random.Random().getrandbits
        )  # not the generator that the model's code may seed, and made after the fork

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace | None:
        """A request has come; None where it is not traced."""
        given = headers.get(b"traceparent")
        found = _GIVEN.fullmatch(given) if given is not None else None
        if found is None or (found[0][:2] == b"00" and len(found[0]) != 55):  # version 00 ends with its flags
            number = self._bits(128) or 1
            if not self._sampling.wanted(number, None):
                return None
            return Trace(self, number.to_bytes(16, "big"), self.id(8), b"", "")
        if not self._sampling.wanted(int(found[1], 16), bool(int(found[3], 16) & 1)):
            return None
        state = headers.get(b"tracestate", b"")[:MOST_STATE].decode("latin-1") if b"tracestate" in headers else ""
        return Trace(self, bytes.fromhex(found[1].decode()), self.id(8), bytes.fromhex(found[2].decode()), state)

    def id(self, size: int) -> bytes:
        """A new one of so many bytes; none is all zeros."""
        return (self._bits(size * 8) or 1).to_bytes(size, "big")

    def begins(self, works: "list[Work]") -> None:
        """These are predicted now: should that go wrong, the supervisor knows whose trace it was."""
        first = next((work.trace for work in works if work.trace is not None), None)
        self._slot.tracing(first.id + first.span if first is not None else _UNTRACED)

    def predicted(self, works: "list[Work]", began: float, took_s: float) -> None:
        """They were. Several together have a span of their own, a root of which each is a link."""
        traced = [work.trace for work in works if work.trace is not None]
        if not traced:
            return
        ended, rows = began + took_s, sum(len(work.records) for work in works)
        trace, span = (self.id(16), self.id(8)) if len(works) > 1 else (b"", b"")
        for one in traced:
            one.taken = Taken(began, ended, rows, len(works), self.id(8), trace + span)
        if trace:
            links = tuple((one.id, one.taken.own) for one in traced[:MOST_LINKS] if one.taken is not None)
            self._batches.append(Batch(trace, span, began, ended, rows, len(works), links))

    def tell(self, trace: Trace, status: int, began: float, ended: float, route: int) -> None:
        """A request for predictions was answered."""
        taken = trace.taken or _NOT_TAKEN
        incident = self._slot.text("incident") if status >= 500 else ""
        self._keep(
            Request(
                trace.id, trace.span, trace.parent, trace.state, route, status, began, ended, trace.number, trace.rows,
                trace.queued_at, taken.began, taken.ended, taken.own, taken.batch, taken.rows, taken.requests,
                trace.error, incident,
            )
        )  # fmt: skip

    async def page(self, page: Page, scope: Scope, receive: Any, send: Any) -> None:
        """Answer what is no request for predictions, and tell of it."""
        began = time.monotonic()
        trace = self.begin(dict(scope["headers"]))
        status = 500

        async def sends(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if trace is not None:
                    message["headers"] = [*message.get("headers", ()), (b"traceparent", trace.header())]
            await send(message)

        try:
            await page(scope, receive, sends)
        finally:
            if trace is not None:
                self._keep(
                    Request(
                        trace.id, trace.span, trace.parent, trace.state, -1, status, began, time.monotonic(),
                        method=scope["method"], path=scope["path"][:MOST_PATH], template=_template(scope),
                    )
                )  # fmt: skip

    def _keep(self, request: Request) -> None:
        if len(self._requests) >= MOST_KEPT:
            self._slot.spans_lost(_spans(request))
            return
        self._requests.append(request)
        if len(self._requests) % AT_ONCE == 0:
            self.flush()

    def flush(self) -> None:
        """Hand on what the socket takes; the rest waits."""
        ahead = time.time() - time.monotonic()
        manifest = self._model.manifest
        while self._requests or self._batches:
            requests, batches = tuple(self._requests[:AT_ONCE]), _some(self._batches)
            spans = sum(map(_spans, requests)) + len(batches)
            told = encode(
                Traced(
                    self._slot.number, os.getpid(), manifest.name, manifest.version, self._model.engine.name, ahead,
                    spans, requests, batches,
                )
            )  # fmt: skip
            try:
                if len(told) <= MOST_BYTES:
                    os.write(self._fd, told)
                else:
                    self._slot.spans_lost(spans)
            except BlockingIOError:  # the exporter does not keep up, or is about to begin
                if len(self._batches) > MOST_KEPT:
                    self._slot.spans_lost(len(self._batches) - MOST_KEPT)
                    del self._batches[: len(self._batches) - MOST_KEPT]
                return
            except OSError:  # the supervisor is gone: then this process is about to go too
                self._slot.spans_lost(spans)
            del self._requests[: len(requests)]
            del self._batches[: len(batches)]


_NOT_TAKEN = Taken(0.0, 0.0, 0, 0)


def _some(batches: list[Batch]) -> tuple[Batch, ...]:
    """The first ones, as many as have room in a message."""
    links = list(itertools.accumulate(len(batch.links) + 1 for batch in batches[:AT_ONCE]))
    return tuple(batches[: bisect.bisect_right(links, 4 * AT_ONCE + MOST_LINKS)])


def _spans(request: Request) -> int:
    return 1 + (request.queued > 0) + (request.taken > 0)


def _template(scope: Scope) -> str:
    """`/incidents/{name}`, "" where there is no such page: a path that anybody may invent is no name of a span."""
    path: str = scope["path"]
    if "endpoint" not in scope:
        return ""
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(str(value), f"{{{name}}}")
    return path if scope["path"] not in ROUTES else ""
