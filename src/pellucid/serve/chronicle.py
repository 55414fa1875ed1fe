"""How the record of an incident begins, grows with each look, and ends; and the sentences about a worker. Values in, values out."""

import time

from msgspec.structs import replace

from pellucid.model.incident import Incident, IncidentKind, LookAt, Served
from pellucid.serve.events import Level, Say
from pellucid.serve.processes import Death
from pellucid.serve.slots import SAMPLE, Seen, request_id

UNDECIDED = "it is being looked at"
NOBODY = "no client waited for a prediction"
LATE = "the prediction, late"


def served(seen: Seen, now: float) -> Served | None:
    """The request in the predict thread, None while nothing is predicted."""
    if not seen.started:
        return None
    return Served(
        id=seen.request_id,
        rows=seen.rows,
        age_s=round(now - seen.started, 3),
        requests=max(1, seen.requests),
        trace_id=seen.trace_id,
        span_id=seen.span_id,
    )


def rows(request: Served) -> str:
    """`3 rows`, or `5 rows of 4 requests in one batch`."""
    told = "1 row" if request.rows == 1 else f"{request.rows} rows"
    return told if request.requests == 1 else f"{told} of {request.requests} requests in one batch"


def named(seen: Seen) -> str:
    """`worker 1 (pid 42)`."""
    return f"worker {seen.slot} (pid {seen.pid})"


def opened(
    kind: IncidentKind,
    seen: Seen,
    *,
    now: float,
    wall: float,
    silent_s: float,
    timeout_s: float,
    model: str,
    version: int,
    grown: int = 0,
) -> Incident:
    """The beginning: who, when, in which request. `silent_s`: since its event loop turned."""
    request = served(seen, now)
    sentence = {
        "grew": f"{named(seen)} has grown by {grown / 1048576:.0f} MiB to {seen.rss / 1048576:.0f} MiB",
        "descriptors": f"{named(seen)} has hardly a descriptor left, so that it can accept no connections",
    }.get(kind) or _what(named(seen), kind, request, silent_s, timeout_s)
    return Incident(
        id=f"i-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(wall))}-{seen.pid}",
        at=wall,
        pid=seen.pid,
        worker=seen.slot,
        kind=kind,
        sentence=sentence,
        cause=UNDECIDED,
        model=model,
        version=version,
        request=request,
        rss_bytes=seen.rss or None,
        last_error=seen.error,
    )


def looked_at(incident: Incident, look: LookAt) -> Incident:
    """One look more. What was seen last decides the cause, unless it is known already. On a busy machine an earlier look may end later."""
    looks = tuple(sorted((*incident.looks, look), key=lambda one: one.at))
    newest = looks[-1] is look
    undecided = incident.cause == UNDECIDED or (incident.outcome == "open" and not look.why_not and newest)
    return replace(incident, looks=looks, cause=look.sentence if undecided else incident.cause)


def recovered(incident: Incident) -> Incident:
    """It answered before its deadline."""
    return replace(incident, outcome="recovered", client=LATE)


def crowded(seen: Seen, descriptors: int) -> str:
    """It is full of clients."""
    return (
        f"{named(seen)} can accept no more connections: clients keep {seen.connections} open, and it may have "
        f"{descriptors} descriptors; raise that limit (ulimit -n), or serve with more workers"
    )


def retired(incident: Incident) -> Incident:
    """It had grown too far or had hardly a descriptor left, and went after others had taken its place."""
    return replace(incident, outcome="replaced", client="every client was answered")


def killed(incident: Incident, *, mute: bool, timeout_s: float) -> Incident:
    """It was killed past its deadline. `mute`: its event loop did not run at that time, so nobody could answer the client."""
    request = incident.request
    if request is None or request.id == request_id(incident.worker, SAMPLE):
        client = NOBODY
    elif mute:
        client = "its connection was closed without an answer, for the event loop that should answer did not run"
    else:
        client = f"504 with this incident's id, after {timeout_s:g} s"
    late = replace(request, age_s=max(request.age_s, timeout_s)) if request is not None else None
    sentence = _what(f"worker {incident.worker} (pid {incident.pid})", incident.kind, late, timeout_s, timeout_s)
    return replace(incident, outcome="replaced", client=client, sentence=sentence)


def died(incident: Incident, seen: Seen, death: Death | str, oom: str, now: float) -> Incident:
    """It ended, and nobody had asked it to; `seen` is what its slot still says, `oom` what is known of the OOM killer. `death`: in words where
    only another process was told its status.
    """
    request = served(seen, now)
    within = (
        f"in request {request.id}, {rows(request)}, {request.age_s:.1f} s in predict"
        if request
        else "while it predicted nothing"
    )
    error = f"the last error it told: {seen.error}" if seen.error else ""
    return replace(
        incident,
        outcome="replaced",
        sentence=f"{named(seen)} died {within}",
        cause="; ".join(part for part in (str(death), oom, error) if part),
        client="its connection was closed without an answer" if request else NOBODY,
        request=request,
    )


def said(level: Level, event: str, sentence: str, incident: Incident) -> Say:
    """About an incident: with its worker, its request, and the trace of that."""
    request = incident.request
    return Say(
        level,
        event,
        sentence,
        worker=incident.worker,
        pid=incident.pid,
        incident=incident.id,
        request=request.id if request else None,
        trace_id=request.trace_id if request else "",
        span_id=request.span_id if request else "",
    )


def noticed(incident: Incident, look: LookAt) -> Say:
    """The one sentence that is said at half the deadline, or of a worker that has grown."""
    return said("warning", incident.kind, f"{incident.sentence}: {look.sentence}", incident)


def _what(worker: str, kind: IncidentKind, request: Served | None, silent_s: float, timeout_s: float) -> str:
    """`worker 1 (pid 42) has been in request r-1-5 (1 row) for 1.0 s of its 2 s`."""
    within = f" in request {request.id} ({rows(request)})" if request else ""
    if kind == "start":
        return f"{worker} did not become ready"
    if kind == "silent":
        return f"{worker} has not moved for {silent_s:.1f} s of its {timeout_s:g} s{within}"
    age = request.age_s if request else 0.0
    return f"{worker} has been{within} for {age:.1f} s of its {timeout_s:g} s"
