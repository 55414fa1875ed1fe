"""The sentences about a worker, from what its slot says."""

from pellucid.model.incident import IncidentKind, Served
from pellucid.serve.slots import Seen


def served(seen: Seen, now: float) -> Served | None:
    """The request in the predict thread, None while nothing is predicted."""
    if not seen.started:
        return None
    return Served(id=seen.request_id, rows=seen.rows, age_s=round(now - seen.started, 3))


def rows(request: Served) -> str:
    return "1 row" if request.rows == 1 else f"{request.rows} rows"


def what(worker: str, kind: IncidentKind, request: Served | None, silent_s: float, timeout_s: float) -> str:
    """`worker 1 (pid 42) has been in request r-1-5 (1 row) for 1.0 s of its 2 s`."""
    within = f" in request {request.id} ({rows(request)})" if request else ""
    if kind == "start":
        return f"{worker} did not become ready"
    if kind == "silent":
        return f"{worker} has not moved for {silent_s:.1f} s of its {timeout_s:g} s{within}"
    age = request.age_s if request else 0.0
    return f"{worker} has been{within} for {age:.1f} s of its {timeout_s:g} s"


def death(worker: str, request: Served | None) -> str:
    """`worker 1 (pid 42) died in request r-1-91, 100 rows, 3.2 s in predict`."""
    if request is None:
        return f"{worker} died while it predicted nothing"
    return f"{worker} died in request {request.id}, {rows(request)}, {request.age_s:.1f} s in predict"
