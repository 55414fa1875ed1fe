"""The model servers of this machine, found by their listening sockets and asked what they tell everybody: /healthz, /metrics, /incidents.

Only processes that are pellucid's own servers are asked, on an address of this machine, for a short time and a bounded answer.
"""

import http.client
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from pellucid.inert import inert
from pellucid.kernel import procfs
from pellucid.model import Socket
from pellucid.model.errors import LookError

WITHIN_S = 2.0
MOST_BYTES = 1 << 20
MOST_SERVERS = 16
MOST_INCIDENTS = 20
_LINE = re.compile(r'(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ANY = frozenset({"0.0.0.0", "[::]", "*"})  # an address that is listened on, not one that is bound


class Worker(Struct, frozen=True):
    """As /healthz tells it. `sentence`: what it does."""

    worker: int
    pid: int
    ready: bool
    sentence: str
    queued: int
    rss_bytes: int
    last_error: str = ""


class Happened(Struct, frozen=True):
    """One incident, without its looks. `kind` and `outcome` are words of the server's (`model/incident.py`)."""

    id: str
    at: float
    sentence: str
    cause: str = ""
    pid: int = 0
    kind: str = ""
    outcome: str = ""


class ModelServer(Struct, frozen=True):
    """`why_not`: it could not be asked, and the rest is empty. Counts are since its start, all workers together.

    `answers`: by status. `buckets`: (seconds, answers within that), the last one without a bound. `counts`: other totals by name.
    """

    address: str
    pid: int
    why_not: str = ""
    model: str = ""
    version: int = 0
    status: str = ""
    workers: tuple[Worker, ...] = ()
    answers: dict[str, int] = {}
    buckets: tuple[tuple[float | None, int], ...] = ()
    counts: dict[str, float] = {}
    kinds: dict[str, int] = {}
    """Incidents by kind."""
    incidents: tuple[Happened, ...] = ()


class _Health(Struct, frozen=True):
    status: str
    model: str
    version: int
    workers: tuple[Worker, ...]


class _Incidents(Struct, frozen=True):
    incidents: tuple[Happened, ...]


class _Refused(Exception):  # noqa: N818
    """It did not answer as a model server does; the text is for people."""


def servers() -> tuple[ModelServer, ...]:
    """All that are found, by address. Each is asked; one that does not answer says why.

    Workers listen on the port that is asked, the supervisor alone on its admin port: nobody but a person is to wake the page behind that.
    """
    from pellucid.observe.sockets import sockets

    listening, _ = sockets(None, whole=False)
    found = {}
    for socket in listening:
        if socket.state == "LISTEN" and socket.proto in {"tcp", "tcp6"} and (pid := _server(socket)) is not None:
            found[socket.local] = (pid, set(socket.pids))
    asked = {
        address: pid for address, (pid, pids) in found.items() if not any(pids < more for _, more in found.values())
    }
    return tuple(_asked(address, pid) for address, pid in sorted(asked.items())[:MOST_SERVERS])


def _server(socket: Socket) -> int | None:
    """The pid of the first process that listens there, if it is a supervisor or worker of `pellucid serve`; None for the page on its admin port."""
    commands = {pid: command for pid in socket.pids if (command := _command(pid))}
    if any("pellucid.present.web.activated" in command for command in commands.values()):
        return None
    return next((pid for pid, command in commands.items() if _serves(command)), None)


def _serves(command: tuple[str, ...]) -> bool:
    words = [word.rpartition("/")[2] for word in command]
    return "serve" in words[1:] and "pellucid" in words[: words.index("serve", 1)]


def _command(pid: int) -> tuple[str, ...]:
    """Empty where it has ended."""
    try:
        return procfs.command(pid)
    except LookError:
        return ()


def _asked(address: str, pid: int) -> ModelServer:
    try:
        health = _decoded(_ask(address, "/healthz", {200, 503}), _Health)
        metrics = list(_metrics(_ask(address, "/metrics", {200}).decode("utf-8", "replace")))
        incidents = _decoded(_ask(address, "/incidents", {200}), _Incidents).incidents
    except _Refused as refused:
        return ModelServer(inert(address), pid, why_not=inert(str(refused)))
    return ModelServer(
        address=inert(address),
        pid=pid,
        model=inert(health.model),
        version=health.version,
        status=inert(health.status),
        workers=tuple(
            msgspec.structs.replace(one, sentence=inert(one.sentence), last_error=inert(one.last_error))
            for one in health.workers
        ),
        answers=_by(metrics, "pellucid_requests_total", "status"),
        buckets=_buckets(metrics),
        counts=_counts(metrics),
        kinds=_by(metrics, "pellucid_incidents_total", "kind"),
        incidents=tuple(
            msgspec.structs.replace(
                one,
                id=inert(one.id),
                sentence=inert(one.sentence),
                cause=inert(one.cause),
                kind=inert(one.kind),
                outcome=inert(one.outcome),
            )
            for one in incidents[:MOST_INCIDENTS]
        ),
    )


def _ask(address: str, path: str, wanted: set[int]) -> bytes:
    host, _, port = address.rpartition(":")
    to = "127.0.0.1" if host in _ANY else host.strip("[]")
    connection = http.client.HTTPConnection(to, int(port), timeout=WITHIN_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read(MOST_BYTES)
    except http.client.HTTPException as error:
        raise _Refused("what it answers is not HTTP/1.1: another protocol is spoken there") from error
    except OSError as error:
        raise _Refused(
            f"it did not answer {path} within {WITHIN_S:g} s by HTTP ({error}); it may serve HTTPS"
        ) from error
    finally:
        connection.close()
    if answer.status not in wanted:
        raise _Refused(
            f"it answers {path} with {answer.status}" + (": it wants an API key" if answer.status == 401 else "")
        )
    return content


def _decoded(content: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise _Refused(f"its answer is not understood: {error}") from error


Metric = tuple[str, dict[str, str], float]


def _metrics(text: str) -> Iterator[Metric]:
    """(name, labels, value) of the Prometheus text format, 0.0.4; a line that is none is left out."""
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            yield found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])


def _by(metrics: list[Metric], wanted: str, label: str) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for name, labels, value in metrics:
        if name == wanted:
            sums[inert(labels.get(label, ""))] += int(value)
    return dict(sorted(sums.items()))


def _buckets(metrics: list[Metric]) -> tuple[tuple[float | None, int], ...]:
    sums: Counter[str] = Counter()
    for name, labels, value in metrics:
        if name == "pellucid_request_seconds_bucket":
            sums[labels.get("le", "+Inf")] += int(value)
    return tuple((None if bound == "+Inf" else float(bound), count) for bound, count in sums.items())


def _counts(metrics: list[Metric]) -> dict[str, float]:
    """The plain totals: `rows`, `predictions`, `batched_requests`, ..., and `connections` and `queue_length` now."""
    sums: dict[str, float] = {}
    for name, labels, value in metrics:
        if set(labels) <= {"worker"} and not name.endswith(("_bucket", "_ready", "_info")):
            short = name.removeprefix("pellucid_").removesuffix("_total")
            sums[short] = sums.get(short, 0.0) + value
    return sums
