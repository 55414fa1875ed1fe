"""The HTTP side of a worker: what is asked, in which form it may be asked, and how each refusal is told.

    POST /predict          JSON records → one prediction a record, with its id
    GET  /livez /readyz /healthz /metrics /incidents /incidents/ID

Every refusal is JSON with `detail`; a wrong field is named by its path (`loc`), as FastAPI spells it.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pellucid.model.errors import UsageError
from pellucid.serve import health, metrics, slots
from pellucid.serve.incidents import Incidents
from pellucid.serve.options import Options
from pellucid.serve.package import Model
from pellucid.serve.predictor import Full, ModelFailed, Predictor, Work
from pellucid.serve.records import BadInput, Problem
from pellucid.serve.slots import Board, Slot

BODY_S = 30.0
"""A client that sends its body more slowly is told 408."""
READ_ON = 8
"""So many times the limit of a body is read and thrown away before 413, so that a client which sends all before it reads gets the answer."""
LISTED = 50

_encode = msgspec.json.Encoder().encode


class Answer(Exception):  # noqa: N818  an answer that is no prediction
    """Ends the handling of a request with this status and body."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


class Service:
    """The handlers, and what they need."""

    def __init__(self, options: Options, model: Model, board: Board, slot: Slot, predictor: Predictor) -> None:
        self.options = options
        self.model = model
        self.board = board
        self.slot = slot
        self.predictor = predictor
        self.incidents = Incidents(options.incidents)
        self.suspect = False
        """The supervisor has given this worker up for new requests."""
        self._model = {"model": model.manifest.name, "version": model.manifest.version}

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/predict", self.predict, methods=["POST"]),
                Route("/livez", self.livez),
                Route("/readyz", self.readyz),
                Route("/healthz", self.healthz),
                Route("/metrics", self.metrics),
                Route("/incidents", self.list_incidents),
                Route("/incidents/{name}", self.show_incident),
            ],
            exception_handlers={HTTPException: _refused},
        )

    async def predict(self, request: Request) -> Response:
        began = time.monotonic()
        try:
            response = await self._predict(request)
        except Answer as answer:
            response = _json(answer.status, answer.body, answer.headers)
        except ClientDisconnect:
            response = Response(status_code=408)  # nobody reads it
        self.slot.answered(response.status_code, time.monotonic() - began)
        return response

    async def _predict(self, request: Request) -> Response:
        body = await self._body(request)
        try:
            records = self.model.reader.read(body)
        except BadInput as bad:
            raise Answer(bad.status, {"detail": bad.problems}) from bad
        if not records:
            return _json(200, {"predictions": [], **self._model})
        if self.suspect:
            told = {"detail": "this worker is being replaced; ask again on a new connection"}
            raise Answer(503, told, {"retry-after": "1", "connection": "close"})
        try:
            work = self.predictor.submit(records, self._deadline(request))
        except Full as full:
            told = {"detail": f"{self.predictor.limits.queue} requests wait already; ask again later"}
            raise Answer(503, told, {"retry-after": str(full.retry_s)}) from full
        name = slots.request_id(self.slot.number, work.number)
        try:
            labels = await work.future
        except ModelFailed as failed:
            told = {"detail": f"the model failed on these records: {failed}", "request": name}
            raise Answer(500, told, {"x-request-id": name}) from failed
        predictions = self.model.answers(records, labels)
        return _json(200, {"predictions": predictions, **self._model}, {"x-request-id": name})

    def _deadline(self, request: Request) -> float:
        """Seconds that this client waits: what it says in X-Request-Timeout, at most the server's own. Raises Answer."""
        told = request.headers.get("x-request-timeout")
        if told is None:
            return self.options.timeout_s
        try:
            wanted = float(told)
        except ValueError:
            wanted = 0.0
        if not 0 < wanted < math.inf:
            msg = f"must be a number of seconds above 0, not {told[:40]!r}"
            raise Answer(422, {"detail": [Problem(("header", "x-request-timeout"), msg)]})
        return min(wanted, self.options.timeout_s)

    def expire(self, works: list[Work]) -> None:
        """Tell clients whose deadline has passed; the incident, where the supervisor has opened one, is in the slot."""
        seen = self.slot.seen()
        for work in works:
            predicted = seen.started and seen.request <= work.number < seen.request + seen.requests
            within = "it is still being predicted" if predicted else "it waited in the queue"
            self._end(work, 504, f"no prediction within the deadline of {work.within_s:g} s: {within}", {})

    def send_away(self, works: list[Work]) -> None:
        """Tell clients that wait behind a prediction which hangs: they may ask again, another worker is there."""
        for work in works:
            told = "the request before this one hangs, and its worker is being replaced; ask again"
            self._end(work, 503, told, {"retry-after": "1"})

    def _end(self, work: Work, status: int, detail: str, headers: Mapping[str, str]) -> None:
        name = slots.request_id(self.slot.number, work.number)
        told = {"detail": detail, "request": name}
        if incident := self.slot.text("incident"):
            told |= {"incident": incident, "see": f"/incidents/{incident}"}
        if not work.future.done():
            work.future.set_exception(Answer(status, told, {"x-request-id": name, "connection": "close", **headers}))

    async def _body(self, request: Request) -> bytes:
        self._only_json(request)
        most = self.options.max_body
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most * READ_ON:
            raise _too_large(most)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size <= most:
                        chunks.append(chunk)
                    elif size > most * READ_ON:
                        break
        except TimeoutError:
            told = {"detail": [Problem(("body",), f"did not arrive whole within {BODY_S:g} s")]}
            raise Answer(408, told, {"connection": "close"}) from None
        if size > most:
            raise _too_large(most)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _only_json(self, request: Request) -> None:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            msg = f"must be application/json, not {kind}"
            raise Answer(415, {"detail": [Problem(("header", "content-type"), msg)]})
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            msg = f"must be identity, not {encoding}: send the body as it is"
            raise Answer(415, {"detail": [Problem(("header", "content-encoding"), msg)]})

    async def livez(self, request: Request) -> Response:  # noqa: ARG002
        return Response(b"ok\n", media_type="text/plain")

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        ready, living = health.ready(self.board, self.options.timeout_s)
        told = f"{ready} of {living} workers predicted rightly in the last seconds"
        return _json(200 if ready else 503, {"ready": bool(ready), "detail": told, **self._model})

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002
        name, version = self.model.manifest.name, self.model.manifest.version
        found = health.health(self.board, name, version, self.options.timeout_s)
        return _json(503 if found.status == "down" else 200, found)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        name, version = self.model.manifest.name, self.model.manifest.version
        page = metrics.text(self.board, name, version, self.options.timeout_s)
        return Response(page, headers={"content-type": metrics.CONTENT_TYPE})

    async def list_incidents(self, request: Request) -> Response:  # noqa: ARG002
        rows, gaps = self.incidents.newest(LISTED)
        return _json(200, {"schema": 1, "process": None, "taken_at": time.time(), "gaps": gaps, "incidents": rows})

    async def show_incident(self, request: Request) -> Response:
        try:
            return _json(200, self.incidents.load(request.path_params["name"]))
        except UsageError as error:
            return _json(404, {"detail": error.said})


def _too_large(most: int) -> Answer:
    told = {"detail": [Problem(("body",), f"is larger than {most} bytes; send the records in several requests")]}
    return Answer(413, told, {"connection": "close"})


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    """404 and 405 as JSON."""
    assert isinstance(error, HTTPException)
    return _json(error.status_code, {"detail": f"{error.detail}: {request.method} {request.url.path}"}, error.headers)
