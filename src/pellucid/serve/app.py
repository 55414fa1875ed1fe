"""The HTTP side of a worker: what is asked, in which form it may be asked, and how each refusal is told.

    POST /predict, /v2/models/NAME/infer, /invocations     predictions (`forms/`), by the short way: ASGI without a framework
    GET  /livez /readyz /healthz /metrics /incidents /docs /openapi.json /v2/…        by Starlette (`pages.py`)

Every refusal is JSON; a wrong field is named by its path (`loc`), as FastAPI spells it.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from pellucid.serve import keys, slots
from pellucid.serve.beside import Other, Unanswered
from pellucid.serve.board import Board
from pellucid.serve.forms.form import Asked, Form
from pellucid.serve.forms.mlflow import Mlflow
from pellucid.serve.forms.records import Records
from pellucid.serve.forms.v2 import V2
from pellucid.serve.keys import Gate
from pellucid.serve.options import Options
from pellucid.serve.package import Model
from pellucid.serve.predictor import Full, ModelFailed, Predictor, Work
from pellucid.serve.records import BadInput, Problem
from pellucid.serve.slots import Slot

if TYPE_CHECKING:
    from pellucid.serve.telemetry.traces import Trace, Traces

BODY_S = 30.0
"""A client that sends its body more slowly is told 408."""
READ_ON = 8
"""So many times the limit of a body is read and thrown away before 413, so that a client which sends all before it reads gets the answer."""
PASSED_ON = frozenset({"x-request-id", "retry-after"})
"""Headers of the other version's answer that the client gets too."""
OPEN = frozenset({"/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"})
"""Probes need no API key."""
UNTRACED = OPEN | {"/metrics"}
"""What asks again and again, and by itself."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


Reply = tuple[int, bytes, Mapping[str, str]]
"""(status, body, further headers)."""


class Answer(Exception):  # noqa: N818  an answer that is no prediction
    """Ends the handling of a request with this status. `detail`: a sentence, or a tuple of Problems; `more`: further keys of the body."""

    def __init__(
        self, status: int, detail: Any, headers: Mapping[str, str] | None = None, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})


class Gone(Exception):  # noqa: N818  not an error: nobody reads the answer
    """The client hung up before it had sent its request."""


class Service:
    """One ASGI application a worker."""

    def __init__(self, options: Options, model: Model, board: Board, slot: Slot, predictor: Predictor) -> None:
        self.options = options
        self.model = model
        self.slot = slot
        self.predictor = predictor
        self.gate = Gate(options.keys, board, slot) if options.keys else None
        self.traces: Traces | None = None
        """Where spans of requests go, if they are wanted."""
        self.suspect = False
        """The supervisor has given this worker up for new requests."""
        self.leaving = False
        """It answers what comes, and each answer closes its connection."""
        self.pages: ASGIApp
        name, version = model.manifest.name, model.manifest.version
        self.forms: dict[str, Form] = {
            "/predict": Records(model),
            "/invocations": Mlflow(model),
            f"/v2/models/{name}/infer": V2(model),
            f"/v2/models/{name}/versions/{version}/infer": V2(model, route=3),
        }
        self.other = Other(options.beside, slot) if options.beside is not None else None
        self.direct_forms = {path.encode(): form for path, form in self.forms.items()} if self.other is None else {}
        """Those whose requests need nobody else for their answer."""
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._too_slow: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = self.forms.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if form is not None:
            await self._post(form, scope, receive, send)
            return
        if self.gate is not None and scope["path"] not in OPEN:
            try:
                self._let_in(self.gate, dict(scope["headers"]))
            except Answer as answer:
                await self._send(
                    send, answer.status, self.forms["/predict"].refusal(answer.detail, {}), answer.headers, {}
                )
                return
        if self.traces is None or scope["type"] != "http" or scope["path"] in UNTRACED:
            await self.pages(scope, receive, send)
        else:
            await self.traces.page(self.pages, scope, receive, send)

    async def _post(self, form: Form, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        headers = dict(scope["headers"])
        trace = None if self.traces is None else self.traces.begin(headers)
        try:
            status, body, more = await self._answer(form, scope, headers, receive, trace)
        except Answer as answer:
            status, body, more = self.refused(form, answer)
        except Gone:
            self.answered(408, began, form.route, trace)
            return
        self.answered(status, began, form.route, trace)
        await self._send(send, status, body, more, headers, trace)

    def answered(self, status: int, began: float, route: int, trace: "Trace | None") -> None:
        """Count an answer to a request for predictions; `began` is of time.monotonic()."""
        now = time.monotonic()
        self.slot.answered(status, now - began, route)
        if trace is not None:
            trace.end(status, began, now, route)

    async def _send(
        self,
        send: Send,
        status: int,
        body: bytes,
        more: Mapping[str, str],
        asked: Mapping[bytes, bytes],
        trace: "Trace | None" = None,
    ) -> None:
        headers = self.headers(body, more, asked, trace)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def headers(
        self, body: bytes, more: Mapping[str, str], asked: Mapping[bytes, bytes], trace: "Trace | None" = None
    ) -> list[tuple[bytes, bytes]]:
        """Those of an answer. `asked`: those of its request."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in more.items()]
        if trace is not None:
            headers.append((b"traceparent", trace.header()))
        elif given := asked.get(b"traceparent"):
            headers.append((b"traceparent", given))
        if self.leaving and "connection" not in more:
            headers.append((b"connection", b"close"))
        return headers

    async def _answer(
        self, form: Form, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, trace: "Trace | None"
    ) -> Reply:
        within_s = self.admit(headers, _length(headers))
        body = await self._body(receive)
        path = scope["path"]
        if self.other is None or "/versions/" in path:
            return await self._here(form, scope, body, within_s, trace)
        if self.other.beside.kind == "canary":
            if self.other.takes(body):
                with contextlib.suppress(Unanswered):
                    reply = await self.other.answer(path, body, within_s, trace.header() if trace else b"")
                    told = {name: value for name, value in reply.headers.items() if name in PASSED_ON}
                    return reply.status, reply.body, told
            return await self._here(form, scope, body, within_s, trace)
        answer = await self._here(form, scope, body, within_s, trace)
        self.other.copy(path, body, answer[1], len(self.predictor.waiting), within_s)
        return answer

    async def _here(self, form: Form, scope: Scope, body: bytes, within_s: float, trace: "Trace | None") -> Reply:
        asked, work = self.begin(form, body, scope["query_string"].decode("latin-1"), within_s, trace)
        if work is None:
            return 200, asked.render([]), {}
        with contextlib.suppress(ModelFailed, Answer):
            await work.future
        return self.ended(asked, work)

    def admit(self, headers: Mapping[bytes, bytes], length: int) -> float:
        """The seconds that this client waits. Raises Answer where the request is refused by its head, or by the length of its body."""
        if self.gate is not None:
            self._let_in(self.gate, headers)
        within_s = self._deadline(headers)
        _only_json(headers)
        if length > self.options.max_body * READ_ON:
            raise _too_large(self.options.max_body)
        return within_s

    def begin(
        self, form: Form, body: bytes, query: str, within_s: float, trace: "Trace | None" = None
    ) -> tuple[Asked, Work | None]:
        """What is asked, and its place in the queue; None where there are no records. Raises Answer."""
        if len(body) > self.options.max_body:
            raise _too_large(self.options.max_body)
        try:
            asked = form.read(body, query)
        except BadInput as bad:
            raise Answer(bad.status, self._told(bad)) from bad
        if not asked.records:
            return asked, None
        if self.suspect:
            told = "this worker is being replaced; ask again on a new connection"
            raise Answer(503, told, {"retry-after": "1", "connection": "close"})
        try:
            return asked, self.predictor.submit(asked.records, within_s, trace=trace)
        except Full as full:
            told = f"{self.predictor.limits.queue} requests wait already; ask again later"
            raise Answer(503, told, {"retry-after": str(full.retry_s)}) from full

    def ended(self, asked: Asked, work: Work) -> Reply:
        """The answer, once the work is done. Raises Answer."""
        name = slots.request_id(self.slot.number, work.number)
        try:
            labels = work.future.result()
        except ModelFailed as failed:
            told = f"the model failed on these records: {failed}"
            raise Answer(500, told, {"x-request-id": name}, {"request": name}) from failed
        return 200, asked.render(labels), {"x-request-id": name}

    def refused(self, form: Form, answer: Answer) -> Reply:
        """As this form spells it."""
        return form.status(answer.status), form.refusal(answer.detail, answer.more), answer.headers

    def _told(self, bad: BadInput) -> Any:
        """As much of what is wrong as this server says: all of it, only where, or only that."""
        if self.options.errors == "full" or bad.status != 422:
            return bad.problems
        if self.options.errors == "field":
            return tuple(Problem(problem.loc, "is wrong") for problem in bad.problems)
        return "the records do not fit the model"

    def _let_in(self, gate: Gate, headers: Mapping[bytes, bytes]) -> None:
        number = gate.known(keys.given(dict(headers)))
        if number is None:
            told = "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
            raise Answer(401, told, {"www-authenticate": "Bearer"})
        if not gate.within_its_rate(number, time.time()):
            raise Answer(429, f"this key may have {gate.keys[number].rate} requests a second", {"retry-after": "1"})

    def _deadline(self, headers: Mapping[bytes, bytes]) -> float:
        """Seconds that this client waits: what it says in X-Request-Timeout, at most the server's own. Raises Answer."""
        told = headers.get(b"x-request-timeout")
        if told is None:
            return self.options.timeout_s
        try:
            wanted = float(told)
        except ValueError:
            wanted = 0.0
        if not 0 < wanted < math.inf:
            msg = f"must be a number of seconds above 0, not {told[:40].decode('latin-1')!r}"
            raise Answer(422, (Problem(("header", "x-request-timeout"), msg),))
        return min(wanted, self.options.timeout_s)

    def expire(self, works: list[Work]) -> None:
        """Tell clients whose deadline has passed; the incident, where the supervisor has opened one, is in the slot."""
        seen = self.slot.seen()
        for work in works:
            predicted = seen.started and seen.request <= work.number < seen.request + seen.requests
            within = "it is still being predicted" if predicted else "it waited in the queue"
            if predicted and work.trace is not None:
                work.trace.interrupted(seen.started, seen.rows, seen.requests)
            self._end(work, 504, f"no prediction within the deadline of {work.within_s:g} s: {within}", {})

    def send_away(self, works: list[Work]) -> None:
        """Tell clients that wait behind a prediction which hangs: they may ask again, another worker is there."""
        for work in works:
            told = "the request before this one hangs, and its worker is being replaced; ask again"
            self._end(work, 503, told, {"retry-after": "1"})

    def _end(self, work: Work, status: int, detail: str, headers: Mapping[str, str]) -> None:
        name = slots.request_id(self.slot.number, work.number)
        more = {"request": name}
        if incident := self.slot.text("incident"):
            more |= {"incident": incident, "see": f"/incidents/{incident}"}
        if not work.future.done():
            work.future.set_exception(
                Answer(status, detail, {"x-request-id": name, "connection": "close", **headers}, more)
            )

    async def _body(self, receive: Receive) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        self._reading[task] = time.monotonic()
        try:
            return await self._whole(self.options.max_body, receive)
        except asyncio.CancelledError:
            if task not in self._too_slow:
                raise
            self._too_slow.discard(task)
            task.uncancel()
            problem = Problem(("body",), f"did not arrive whole within {BODY_S:g} s")
            raise Answer(408, (problem,), {"connection": "close"}) from None
        finally:
            del self._reading[task]

    async def _whole(self, most: int, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            chunk = message["body"]
            more = message["more_body"]
            size += len(chunk)
            if size <= most:
                chunks.append(chunk)
            elif size > most * READ_ON:
                break
        if size > most:
            raise _too_large(most)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def cut_off_slow(self) -> None:
        """End the reading of bodies that take too long to come. One look at all of them now and then is cheaper than a timer for each."""
        before = time.monotonic() - BODY_S
        for task, began in list(self._reading.items()):
            if began < before and task not in self._too_slow:
                self._too_slow.add(task)
                task.cancel()


def _length(headers: Mapping[bytes, bytes]) -> int:
    """Of the body, as far as it is told."""
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _only_json(headers: Mapping[bytes, bytes]) -> None:
    kind = headers.get(b"content-type", b"application/json")
    if kind != b"application/json":
        kind = kind.partition(b";")[0].strip().lower()
        if kind != b"application/json" and not kind.endswith(b"+json"):
            msg = f"must be application/json, not {kind[:80].decode('latin-1')}"
            raise Answer(415, (Problem(("header", "content-type"), msg),))
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding != b"identity":
        msg = f"must be identity, not {encoding[:80].decode('latin-1')}: send the body as it is"
        raise Answer(415, (Problem(("header", "content-encoding"), msg),))


def _too_large(most: int) -> Answer:
    problem = Problem(("body",), f"is larger than {most} bytes; send the records in several requests")
    return Answer(413, (problem,), {"connection": "close"})
