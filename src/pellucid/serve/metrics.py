"""Prometheus text (exposition format 0.0.4) of all workers, from their slots: whichever worker is asked, it tells the same.

The label `worker` is the slot, whose counters go on when its process is replaced.
"""

import time
from collections.abc import Callable, Iterator

from pellucid.serve import health, slots
from pellucid.serve.manifest import Manifest
from pellucid.serve.slots import BUCKETS, STATUSES, Board

Value = Callable[[slots.Counts], int | str]

BESIDE = {
    "pellucid_beside_sent_total": "Requests that the other version answered (canary), or copies that it did (shadow).",
    "pellucid_beside_failed_total": "Requests that it did not answer, or with 5xx.",
    "pellucid_beside_different_total": "Copies that it answered differently.",
}
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(board: Board, manifest: Manifest, timeout_s: float) -> str:
    """The whole page."""
    return "\n".join(_lines(board, manifest, timeout_s)) + "\n"


def _lines(board: Board, manifest: Manifest, timeout_s: float) -> Iterator[str]:
    seen = [(slot.seen(), slot.counts()) for slot in board.slots]
    living = [one for one, _ in seen if one.pid and one.state != slots.EMPTY]
    used = [(one, counts) for one, counts in seen if one.generation]
    ready, _ = health.ready(board, timeout_s)
    now = time.monotonic()
    yield from _head("pellucid_model_info", "gauge", "The model that is served.")
    yield f'pellucid_model_info{{model="{manifest.name}",version="{manifest.version}"}} 1'
    yield from _head("pellucid_workers_ready", "gauge", "Workers that predicted rightly in the last seconds.")
    yield f"pellucid_workers_ready {ready}"
    yield from _head("pellucid_workers", "gauge", "Workers that live.")
    yield f"pellucid_workers {len(living)}"
    yield from _head("pellucid_requests_total", "counter", "Answers to requests for predictions, by status.")
    for one, counts in used:
        for status, count in zip((*STATUSES, "other"), counts.answers, strict=True):
            if count:
                yield f'pellucid_requests_total{{worker="{one.slot}",status="{status}"}} {count}'
    yield from _head(
        "pellucid_request_seconds", "histogram", "From the head of a request for predictions to its answer."
    )
    for one, counts in used:
        yield from _histogram(one.slot, counts)
    yield from _simple(used, "pellucid_rows_total", "counter", "Rows predicted.", lambda counts: counts.rows)
    yield from _simple(
        used, "pellucid_predictions_total", "counter", "Calls of the pipeline.", lambda counts: counts.predicts
    )
    yield from _simple(
        used,
        "pellucid_batched_requests_total",
        "counter",
        "Requests in those calls.",
        lambda counts: counts.batched,
    )
    yield from _simple(
        used,
        "pellucid_predict_seconds_total",
        "counter",
        "Time in the pipeline.",
        lambda counts: f"{counts.predict_s:.6f}",
    )
    yield from _simple(
        used,
        "pellucid_expired_total",
        "counter",
        "Requests dropped unpredicted, past their deadline.",
        lambda counts: counts.expired,
    )
    yield from _simple(
        used,
        "pellucid_log_dropped_total",
        "counter",
        "Log records that found the pipe full.",
        lambda counts: counts.dropped,
    )
    yield from _head("pellucid_unseen_category_total", "counter", "Values that were in no training row, by column.")
    columns = manifest.signature.columns
    for one, slot in ((one, board.slots[one.slot]) for one, _ in used):
        for column, count in zip(columns, slot.unseen_counts(len(columns)), strict=False):
            if count:
                yield f'pellucid_unseen_category_total{{worker="{one.slot}",column="{_escaped(column.name)}"}} {count}'
    if any(any(board.slots[one.slot].beside_counts()) for one, _ in used):
        for place, (name, told) in enumerate(BESIDE.items()):
            yield from _head(name, "counter", told)
            yield from (
                f'{name}{{worker="{one.slot}"}} {board.slots[one.slot].beside_counts()[place]}' for one, _ in used
            )
    yield from _head("pellucid_connections", "gauge", "Open connections.")
    yield from (
        f'pellucid_connections{{worker="{one.slot}"}} {board.slots[one.slot].open_connections()}' for one in living
    )
    yield from _head("pellucid_incidents_total", "counter", "Incidents by kind.")
    for kind, count in board.incidents().items():
        yield f'pellucid_incidents_total{{kind="{kind}"}} {count}'
    yield from _head("pellucid_queue_length", "gauge", "Requests that wait for the predict thread, with the one in it.")
    yield from (f'pellucid_queue_length{{worker="{one.slot}"}} {one.queued}' for one in living)
    yield from _head("pellucid_resident_bytes", "gauge", "Resident memory of a worker, with what it shares.")
    yield from (f'pellucid_resident_bytes{{worker="{one.slot}"}} {one.rss}' for one in living)
    yield from _head("pellucid_loop_beat_age_seconds", "gauge", "Since the event loop of a worker turned last.")
    yield from (
        f'pellucid_loop_beat_age_seconds{{worker="{one.slot}"}} {max(0.0, now - one.loop_beat):.3f}' for one in living
    )


def _escaped(value: str) -> str:
    """A label's value as the exposition format wants it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _simple(
    used: list[tuple[slots.Seen, slots.Counts]], name: str, kind: str, told: str, value: Value
) -> Iterator[str]:
    yield from _head(name, kind, told)
    yield from (f'{name}{{worker="{one.slot}"}} {value(counts)}' for one, counts in used)


def _histogram(worker: int, counts: slots.Counts) -> Iterator[str]:
    name, below = "pellucid_request_seconds", 0
    for bound, count in zip((*BUCKETS, "+Inf"), counts.buckets, strict=True):
        below += count
        yield f'{name}_bucket{{worker="{worker}",le="{bound}"}} {below}'
    yield f'{name}_sum{{worker="{worker}"}} {counts.seconds:.6f}'
    yield f'{name}_count{{worker="{worker}"}} {below}'
