"""Spans of what a worker has told: the names and attributes that OpenTelemetry's semantic conventions have for a server of HTTP.

    POST /predict            of the server, as long as the client waited for it   (child of the caller's span)
    ├── queue                until it was predicted
    └── predict              until the prediction was done; a link leads to the batch, where it was not predicted alone
    predict batch            a root of its own, with a link to each `predict` in it

(opentelemetry.io/docs/specs/semconv/http/http-spans.) Left out on purpose: client.address, user_agent.original and url.query.
"""

import random
from collections.abc import Iterator
from typing import Final

from pellucid.export import otlp
from pellucid.serve import slots
from pellucid.serve.telemetry.messages import Batch, Request, Traced

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_QUEUE = otlp.named("queue", otlp.INTERNAL)
_PREDICT = otlp.named("predict", otlp.INTERNAL)
_BATCH = otlp.named("predict batch", otlp.INTERNAL)


class Spans:
    """What is equal in many spans is encoded once. `scheme`: http or https."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._known: dict[tuple[object, ...], tuple[bytes, bytes]] = {}
        self._workers: dict[tuple[object, ...], bytes] = {}
        self._bits = random.Random().getrandbits

    def of(self, told: Traced) -> Iterator[bytes]:
        """All spans of a message."""
        key = (told.worker, told.pid, told.model, told.version, told.engine)
        worker = self._workers.get(key)
        if worker is None:
            if len(self._workers) > 1024:  # of workers that have come and gone
                self._workers.clear()
            worker = self._workers[key] = otlp.attributes(
                9,
                (
                    ("pellucid.worker", told.worker),
                    ("process.pid", told.pid),
                    ("pellucid.model.name", told.model),
                    ("pellucid.model.version", str(told.version)),
                    ("pellucid.engine", told.engine),
                ),
            )
        for request in told.requests:
            yield from self._request(request, worker, told)
        for batch in told.batches:
            yield _batch(batch, worker, told.ahead)

    def _request(self, one: Request, worker: bytes, told: Traced) -> Iterator[bytes]:
        ahead = told.ahead
        name, same = self._same(one, told)
        more = [same, worker]
        if one.path:
            more.append(otlp.attributes(9, (("url.path", one.path),)))
        if one.number:
            identity = slots.request_id(told.worker, one.number)
            more.append(otlp.attributes(9, (("pellucid.request.id", identity), ("pellucid.rows", one.rows))))
        ended = _ns(one.ended, ahead)
        if one.error:
            more.append(otlp.attributes(9, (("error.type", one.error),)))
        if one.incident:
            about = (("pellucid.incident.id", one.incident),)
            more += (otlp.attributes(9, about), otlp.event(ended, "pellucid.incident", about))
        yield otlp.span(
            one.trace, one.span, one.parent, name, _ns(one.began, ahead), ended, b"".join(more),
            remote=bool(one.parent), state=one.state,
        )  # fmt: skip
        if one.queued:
            until = one.taken or one.ended
            yield otlp.span(
                one.trace, self._id(), one.span, _QUEUE, _ns(one.queued, ahead), _ns(until, ahead), state=one.state
            )
        if one.taken:
            rows = (("pellucid.batch.rows", one.batch_rows), ("pellucid.batch.requests", one.batch_requests))
            of_it = otlp.attributes(9, rows)
            if one.batch:
                of_it += otlp.link(one.batch[:16], one.batch[16:])
            if one.status >= 500:
                of_it += otlp.failed()
            yield otlp.span(
                one.trace, one.predicted or self._id(), one.span, _PREDICT, _ns(one.taken, ahead), _ns(one.done, ahead),
                of_it, state=one.state,
            )  # fmt: skip

    def _same(self, one: Request, told: Traced) -> tuple[bytes, bytes]:
        """(the name, attributes and status) of all requests of this kind."""
        key = (one.method, one.route, one.template, one.status, bool(one.error), told.model, told.version)
        found = self._known.get(key)
        if found is None:
            if len(self._known) > 4096:  # methods are what a client likes
                self._known.clear()
            found = self._known[key] = self._encode(one, told)
        return found

    def _encode(self, one: Request, worker: Traced) -> tuple[bytes, bytes]:
        route = slots.ROUTES[one.route] if one.route >= 0 else one.template
        method = one.method if one.method in _METHODS else "_OTHER"
        told: list[tuple[str, otlp.Value]] = [
            ("http.request.method", method),
            ("http.response.status_code", one.status),
            ("url.scheme", self._scheme),
        ]
        if method == "_OTHER":
            told.append(("http.request.method_original", one.method[:32]))
        if not one.path:
            told.append(("url.path", route.format(model=worker.model, version=worker.version)))
        if route:
            told.append(("http.route", route))
        failed = b""
        if one.status >= 500:  # of a server a 4xx is no error
            failed = otlp.failed()
            if not one.error:
                told.append(("error.type", str(one.status)))
        shown = method if method != "_OTHER" else "HTTP"
        return otlp.named(f"{shown} {route}".rstrip(), otlp.SERVER), otlp.attributes(9, told) + failed

    def _id(self) -> bytes:
        return (self._bits(64) or 1).to_bytes(8, "big")


def _batch(one: Batch, worker: bytes, ahead: float) -> bytes:
    rows = otlp.attributes(9, (("pellucid.batch.rows", one.rows), ("pellucid.batch.requests", one.requests)))
    links = b"".join([otlp.link(trace, span) for trace, span in one.links])
    return otlp.span(
        one.trace, one.span, b"", _BATCH, _ns(one.began, ahead), _ns(one.ended, ahead), rows + worker + links
    )


def _ns(moment: float, ahead: float) -> int:
    return int((moment + ahead) * 1e9)
