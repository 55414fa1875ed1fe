"""One connection of a client: HTTP/1.1 by uvicorn's protocol, with a short way for the requests that are nearly all of the load.

A request for predictions whose head and body came whole is read, queued and answered right here, in one write, without a task, an event and the
messages of ASGI. What comes in pieces, pipelined or with `Expect`, what another version answers too (`beside.py`) and every page go the long way.
"""

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pellucid.serve.app import Answer, Service

if TYPE_CHECKING:
    from pellucid.serve.accepting import Server
    from pellucid.serve.forms.form import Asked, Form
    from pellucid.serve.predictor import Work
    from pellucid.serve.telemetry.traces import Trace

MOST_HEAD = 64 << 10
"""Bytes of a request's head. The parser would take any number of them, and put them together anew with each piece that comes."""
HEAD_S = 30.0
"""A client that sends its head more slowly is told 408."""

_log = logging.getLogger(__name__)


class Connection(HttpToolsProtocol):
    """Counts in the slot from its acceptance to its end."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server.config, server.server_state, server.lifespan.state)
        self.slot = server.slot
        self.service: Service = server.service
        self._coming: Direct | None = None
        """Its head is there, and so far its body comes along."""
        self._heading = True
        """A head comes, or may come; or what follows the body."""
        self._head = 0
        """Bytes of it so far; those that came along with the request before are not counted."""
        self._since = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        self.slot.connections(-1)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._heading:
            if not self._head:
                self._since = time.monotonic()
            self._head += len(data)
        super().data_received(data)
        if self._heading and self._head > MOST_HEAD and not self.transport.is_closing():
            self._refuse(431, f"the head of a request is larger than {MOST_HEAD} bytes")
        if self._coming is not None:  # not whole yet: the rest may take its time
            coming, self._coming = self._coming, None
            if self.transport.is_closing():  # it was no HTTP
                return
            super().on_headers_complete()
            for chunk in coming.chunks:
                super().on_body(chunk)

    def cut_off_slow(self, now: float) -> None:
        """End it where a head has come for too long, or its first one not at all. uvicorn ends those that rest after an answer."""
        waits = self._heading and (self._head or self.cycle is None) and not self.transport.is_closing()
        if waits and now - self._since > HEAD_S:
            self._refuse(408, f"the head of a request did not arrive whole within {HEAD_S:g} s")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _refuse(self, status: int, told: str) -> None:
        """Told of what is no request yet, if it is not the turn of another answer; the connection ends."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        body = msgspec.json.encode({"detail": told})
        head = [STATUS_LINE[status]]
        for name, value in (
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ):
            head += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join((*head, b"\r\n", body)))
        self.transport.close()

    def on_headers_complete(self) -> None:
        self._heading = False
        form = self.service.direct_forms.get(self.url)
        if (
            form is None
            or self.parser.get_method() != b"POST"
            or self.expect_100_continue
            or self.flow.write_paused
            or self.parser.should_upgrade()
            or not (self.cycle is None or self.cycle.response_complete)
        ):
            super().on_headers_complete()
        else:
            keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            self._coming = Direct(self, form, dict(self.headers), keep_alive=keep_alive)

    def on_chunk_header(self) -> None:
        """After the last chunk, which has no body, more headers may come (RFC 9112, 7.1.2): they are bounded as the first ones are."""
        self._heading, self._head = True, 0

    def on_body(self, body: bytes) -> None:
        self._heading = False
        if self._coming is None:
            super().on_body(body)
        else:
            self._coming.chunks.append(body)

    def on_message_complete(self) -> None:
        self._heading, self._head = True, 0
        if self._coming is None:
            super().on_message_complete()
            return
        direct, self._coming = self._coming, None
        self.cycle = direct  # type: ignore[assignment]  # it has all that is asked of the exchange that goes on
        direct.begin()


class _Nobody:
    """Nobody waits for the rest of a body that came whole."""

    def set(self) -> None:
        pass


class Direct:
    """One request that goes the short way. Its first attributes are those that uvicorn's protocol reads and writes of an exchange."""

    message_event = _Nobody()

    def __init__(self, connection: Connection, form: "Form", headers: dict[bytes, bytes], *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.chunks: list[bytes] = []
        self._connection = connection
        self._form = form
        self._headers = headers
        self._trace: Trace | None = None
        self._began = time.monotonic()

    def begin(self) -> None:
        """Queue it, or refuse it."""
        service = self._connection.service
        body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        if service.traces is not None:
            self._trace = service.traces.begin(self._headers)
        try:
            within_s = service.admit(self._headers, len(body))
            asked, work = service.begin(self._form, body, "", within_s, self._trace)
        except Answer as answer:
            self._reply(*service.refused(self._form, answer))
        except Exception as error:  # noqa: BLE001  in a callback of the parser it would count as the client's mistake
            self._failed(error)
        else:
            if work is None:
                self._reply(200, asked.render([]), {})
            else:
                work.future.add_done_callback(lambda _: self._end(asked, work))

    def _end(self, asked: "Asked", work: "Work") -> None:
        service = self._connection.service
        if work.future.cancelled():
            return
        try:
            reply = service.ended(asked, work)
        except Answer as answer:
            reply = service.refused(self._form, answer)
        except Exception as error:  # noqa: BLE001  a label that can't be written as JSON, and what else there may be
            self._failed(error)
            return
        self._reply(*reply)

    def _failed(self, error: Exception) -> None:
        _log.error("a request could not be answered", exc_info=error)
        failed = Answer(500, "the server failed on this request", {"connection": "close"})
        self._reply(*self._connection.service.refused(self._form, failed))

    def _reply(self, status: int, body: bytes, more: Mapping[str, str]) -> None:
        connection = self._connection
        now = time.monotonic()
        connection.slot.answered(status, now - self._began, self._form.route)
        if self._trace is not None:
            self._trace.end(status, self._began, now, self._form.route)
        self.response_complete = True
        transport = connection.transport
        if transport.is_closing():  # the client is gone; uvloop would raise
            return
        headers = connection.service.headers(body, more, self._headers, self._trace)
        closes = (b"connection", b"close") in headers
        if not self.keep_alive and not closes:
            headers.append((b"connection", b"close"))
        head = [STATUS_LINE[status]]
        for name, value in (*connection.server_state.default_headers, *headers):
            head += (name, b": ", value, b"\r\n")
        transport.write(b"".join((*head, b"\r\n", body)))
        if closes or not self.keep_alive:
            transport.close()
        connection.on_response_complete()
