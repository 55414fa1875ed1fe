"""Whether the service answers, read from the slots of all workers, so that any worker can tell it of all.

Ready means: a worker predicted rightly within the last seconds, a client's request or the stored sample, through the same thread as every
request. A loop that turns proves nothing about the thread behind it.
"""

import time

from msgspec import Struct

from pellucid.serve import chronicle, slots
from pellucid.serve.board import Board
from pellucid.serve.slots import Seen

FRESH_S = 10.0
SELF_CHECK_S = 4.0
"""A worker without requests predicts the sample so often."""


class WorkerHealth(Struct, frozen=True):
    worker: int
    pid: int
    ready: bool
    sentence: str
    queued: int
    rss_bytes: int
    last_error: str


class Health(Struct, frozen=True):
    """`status`: ok, degraded (some worker is not ready), down."""

    status: str
    model: str
    version: int
    workers: tuple[WorkerHealth, ...]


def health(board: Board, model: str, version: int, timeout_s: float, *, sampled: bool = True) -> Health:
    """Each living worker in a sentence. `sampled`: the model has a stored sample, whose answers are known."""
    now = time.monotonic()
    workers = tuple(
        _worker(slot, seen, now, timeout_s, does(sampled=sampled))
        for slot in board.slots
        if (seen := slot.seen()).pid and seen.state != slots.EMPTY
    )
    ready = sum(worker.ready for worker in workers)
    status = "down" if not ready else "ok" if ready == len(workers) else "degraded"
    return Health(status=status, model=model, version=version, workers=workers)


def ready(board: Board, timeout_s: float) -> tuple[int, int]:
    """(workers that are ready, workers that live)."""
    now = time.monotonic()
    seen = [(slot, slot.seen()) for slot in board.slots]
    living = [(slot, one) for slot, one in seen if one.pid and one.state != slots.EMPTY]
    return sum(_ready(slot, one, now, timeout_s) for slot, one in living), len(living)


def _ready(slot: slots.Slot, seen: Seen, now: float, timeout_s: float) -> bool:
    fresh = max(FRESH_S, timeout_s / 2)
    return (
        seen.state == slots.READY
        and not seen.full
        and slot.command() == slots.SERVE
        and now - seen.loop_beat < fresh
        and now - seen.last_ok < fresh
    )


def does(*, sampled: bool) -> str:
    """What a ready worker did: without a sample nobody knows what would be right."""
    return "predicted rightly" if sampled else "answered"


def _worker(slot: slots.Slot, seen: Seen, now: float, timeout_s: float, did: str) -> WorkerHealth:
    return WorkerHealth(
        worker=seen.slot,
        pid=seen.pid,
        ready=_ready(slot, seen, now, timeout_s),
        sentence=slot.text("sentence") or _sentence(slot, seen, now, did),
        queued=seen.queued,
        rss_bytes=seen.rss,
        last_error=seen.error,
    )


def _sentence(slot: slots.Slot, seen: Seen, now: float, did: str) -> str:
    who = chronicle.named(seen)
    if seen.state == slots.STARTING:
        return f"{who} starts"
    if seen.state == slots.LEAVING or slot.command() == slots.LEAVE:
        return f"{who} finishes what it has and leaves"
    request = chronicle.served(seen, now)
    if request is not None:
        return f"{who} has been in request {request.id} ({chronicle.rows(request)}) for {request.age_s:.2f} s"
    return f"{who} waits for requests; it last {did} {now - seen.last_ok:.1f} s ago"
