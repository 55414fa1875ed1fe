"""The server's numbers as metrics of OpenTelemetry: what /metrics tells, and `http.server.request.duration`.

(opentelemetry.io/docs/specs/semconv/http/http-metrics. The bounds of its buckets are ours, which begin below a millisecond.)
"""

import time

from pellucid.export import otlp
from pellucid.model.errors import UsageError
from pellucid.serve import metrics as prometheus
from pellucid.serve import slots
from pellucid.serve.board import Board
from pellucid.serve.options import Options
from pellucid.serve.store import Store

DURATION = "http.server.request.duration"
TOLD_ALREADY = frozenset({"pellucid_request_seconds"})
"""By DURATION."""


def metrics(board: Board, options: Options, began: int) -> list[bytes]:
    """All of them now, encoded; they were counted from `began` on, in nanoseconds since the epoch."""
    now, name = time.time_ns(), options.model.partition(":")[0]
    version = board.version()
    columns = () if options.function else _columns(options.store, name, version)
    shown = [
        otlp.metric(family, began, now)
        for family in prometheus.families(board, name, version, columns, options.timeout_s)
        if family.samples and family.name not in TOLD_ALREADY
    ]
    if points := _durations(board, "https" if options.tls_cert else "http"):
        says = "Duration of HTTP server requests."
        shown.append(otlp.histogram(DURATION, says, slots.BUCKETS, points, began, now))
    return shown


def _columns(store: str, name: str, version: int) -> tuple[str, ...]:
    """Names for the counters of unseen categories."""
    try:
        manifest = Store(store).resolve(f"{name}:{version}")
    except UsageError:  # it was removed meanwhile
        return ()
    return tuple(column.name for column in manifest.signature.columns)


def _durations(board: Board, scheme: str) -> list[otlp.Point]:
    """Of predictions, all workers together, by route and status (opentelemetry.io/docs/specs/semconv/http/http-metrics)."""
    sums: dict[tuple[int, int], tuple[tuple[int, ...], float]] = {}
    for slot in board.slots:
        for one in slot.times():
            counts, seconds = sums.get((one.route, one.status), ((0,) * len(one.buckets), 0.0))
            added = tuple(map(sum, zip(counts, one.buckets, strict=True)))
            sums[one.route, one.status] = added, seconds + one.seconds
    found = []
    for (route, status), (counts, seconds) in sums.items():
        told: list[tuple[str, otlp.Value]] = [
            ("http.request.method", "POST"),
            ("http.route", slots.ROUTES[route]),
            ("url.scheme", scheme),
        ]
        if status:
            told.append(("http.response.status_code", status))
        if status >= 500:
            told.append(("error.type", str(status)))
        found.append(otlp.Point(tuple(told), counts, seconds))
    return found
