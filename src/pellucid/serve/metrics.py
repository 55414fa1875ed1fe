"""All workers as Prometheus text, from their slots: whichever worker is asked, it tells the same.

The label `worker` is the slot, whose counters go on when its process is replaced.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from pellucid.export import prometheus
from pellucid.export.prometheus import Family, Sample
from pellucid.serve import health, slots
from pellucid.serve.board import Board
from pellucid.serve.manifest import Manifest
from pellucid.serve.slots import BUCKETS, STATUSES

Used = list[tuple[slots.Seen, slots.Counts]]
Value = Callable[[slots.Counts], float]

BESIDE = {
    "pellucid_beside_sent_total": "Requests that the other version answered (canary), or copies that it did (shadow).",
    "pellucid_beside_failed_total": "Requests that it did not answer, or with 5xx.",
    "pellucid_beside_different_total": "Copies that it answered differently.",
}


def text(board: Board, manifest: Manifest, timeout_s: float) -> str:
    """The whole page."""
    columns = tuple(column.name for column in manifest.signature.columns)
    return prometheus.text(families(board, manifest.name, manifest.version, columns, timeout_s))


def families(board: Board, name: str, version: int, columns: Sequence[str], timeout_s: float) -> Iterator[Family]:
    """All numbers; `columns` are those of the model."""
    seen = [(slot.seen(), slot.counts()) for slot in board.slots]
    living = [one for one, _ in seen if one.pid and one.state != slots.EMPTY]
    used = [(one, counts) for one, counts in seen if one.generation]
    ready, _ = health.ready(board, timeout_s)
    now = time.monotonic()

    def each(name: str, says: str, value: Callable[[slots.Seen], float]) -> Family:
        return Family(name, "gauge", says, tuple(Sample(value(one), _worker(one.slot)) for one in living))

    info = (("model", name), ("version", str(version)))
    yield Family("pellucid_model_info", "gauge", "The model that is served.", (Sample(1, info),))
    yield Family(
        "pellucid_workers_ready", "gauge", "Workers that predicted rightly in the last seconds.", (Sample(ready),)
    )
    yield Family("pellucid_workers", "gauge", "Workers that live.", (Sample(len(living)),))
    starts = max((one.generation for one, _ in used), default=0)
    yield Family(
        "pellucid_worker_starts_total", "counter", "Workers that were forked, all slots together.", (Sample(starts),)
    )
    yield from _requests(used)
    yield from _counted(used)
    yield from _of_columns(board, columns, used)
    yield from _beside(board, used)
    yield from _telemetry(board, used)
    yield each("pellucid_connections", "Open connections.", lambda one: board.slots[one.slot].open_connections())
    kinds = tuple(Sample(count, (("kind", kind),)) for kind, count in board.incidents().items())
    yield Family("pellucid_incidents_total", "counter", "Incidents by kind.", kinds)
    yield each(
        "pellucid_queue_length",
        "Requests that wait for the predict thread, with the one in it.",
        lambda one: one.queued,
    )
    yield each("pellucid_resident_bytes", "Resident memory of a worker, with what it shares.", lambda one: one.rss)
    yield each(
        "pellucid_loop_beat_age_seconds",
        "Since the event loop of a worker turned last.",
        lambda one: round(max(0.0, now - one.loop_beat), 3),
    )


def _worker(slot: int) -> tuple[tuple[str, str], ...]:
    return (("worker", str(slot)),)


def _requests(used: Used) -> Iterator[Family]:
    answers = tuple(
        Sample(count, (*_worker(one.slot), ("status", str(status))))
        for one, counts in used
        for status, count in zip((*STATUSES, "other"), counts.answers, strict=True)
        if count
    )
    yield Family("pellucid_requests_total", "counter", "Answers to requests for predictions, by status.", answers)
    times = tuple(sample for one, counts in used for sample in _histogram(one.slot, counts))
    yield Family(
        "pellucid_request_seconds", "histogram", "From the head of a request for predictions to its answer.", times
    )


def _histogram(worker: int, counts: slots.Counts) -> Iterator[Sample]:
    below = 0
    for bound, count in zip((*BUCKETS, "+Inf"), counts.buckets, strict=True):
        below += count
        yield Sample(below, (*_worker(worker), ("le", str(bound))), part="bucket")
    yield Sample(round(counts.seconds, 6), _worker(worker), part="sum")
    yield Sample(below, _worker(worker), part="count")


def _counted(used: Used) -> Iterator[Family]:
    def each(name: str, says: str, value: Value) -> Family:
        return Family(name, "counter", says, tuple(Sample(value(counts), _worker(one.slot)) for one, counts in used))

    yield each("pellucid_rows_total", "Rows predicted.", lambda counts: counts.rows)
    yield each("pellucid_predictions_total", "Calls of the pipeline for requests.", lambda counts: counts.predicts)
    yield each("pellucid_batched_requests_total", "Requests in those calls.", lambda counts: counts.batched)
    yield each(
        "pellucid_self_checks_total",
        "Predictions of the stored sample, by which a worker checks itself.",
        lambda counts: counts.checks,
    )
    yield each(
        "pellucid_predict_seconds_total",
        "Time in the pipeline for requests.",
        lambda counts: round(counts.predict_s, 6),
    )
    yield each(
        "pellucid_expired_total", "Requests dropped unpredicted, past their deadline.", lambda counts: counts.expired
    )
    yield each("pellucid_log_dropped_total", "Log records that found the pipe full.", lambda counts: counts.dropped)


def _of_columns(board: Board, columns: Sequence[str], used: Used) -> Iterator[Family]:
    unseen = tuple(
        Sample(count, (*_worker(one.slot), ("column", column)))
        for one, _ in used
        for column, count in zip(columns, board.slots[one.slot].unseen_counts(len(columns)), strict=False)
        if count
    )
    yield Family("pellucid_unseen_category_total", "counter", "Values that were in no training row, by column.", unseen)


def _beside(board: Board, used: Used) -> Iterator[Family]:
    counts = {one.slot: board.slots[one.slot].beside_counts() for one, _ in used}
    if any(any(each) for each in counts.values()):
        for place, (name, says) in enumerate(BESIDE.items()):
            yield Family(
                name, "counter", says, tuple(Sample(each[place], _worker(slot)) for slot, each in counts.items())
            )


def _telemetry(board: Board, used: Used) -> Iterator[Family]:
    """Of an exporter, where one is asked for (`telemetry/`)."""
    told = board.tellings()
    lost = {signal: lost for signal, (_, lost) in told.items()}
    lost["traces"] += sum(counts.spans_lost for _, counts in used)
    if any(sent for sent, _ in told.values()) or any(lost.values()):
        sent = tuple(Sample(sent, (("signal", signal),)) for signal, (sent, _) in told.items())
        says = "that the receiver of OpenTelemetry's protocol has taken"
        yield Family("pellucid_telemetry_sent_total", "counter", f"Spans, metrics and log records {says}.", sent)
        gone = tuple(Sample(count, (("signal", signal),)) for signal, count in lost.items())
        says = "Spans, metrics and log records that it did not take, or that found no room."
        yield Family("pellucid_telemetry_lost_total", "counter", says, gone)
