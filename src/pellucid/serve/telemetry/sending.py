"""The process that sends: it reads what workers and supervisor tell, keeps so much of it, and has a thread for each signal (`outlet.py`)."""

import functools
import os
import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from pellucid import __version__
from pellucid.export import otlp
from pellucid.serve.board import Board
from pellucid.serve.log import Record, Screen
from pellucid.serve.options import Options
from pellucid.serve.telemetry import measured
from pellucid.serve.telemetry.messages import MOST_BYTES, Logged, Traced, decode
from pellucid.serve.telemetry.settings import Settings
from pellucid.serve.telemetry.spans import Spans

if TYPE_CHECKING:
    from pellucid.serve.telemetry.outlet import Body, Outlet

LAST_WORDS_S = 3.0
"""When the server stops, at the most."""
ORPHANED_S = 0.5
"""When the supervisor was killed."""
TICK_S = 1.0
MOST_SPANS = 50_000
"""That wait to be sent; beyond them the oldest are given up. A few seconds of a busy server whose receiver is away."""
MOST_RECORDS = 2048
SPANS_AT_ONCE = 4096
"""In one POST: 1 MB."""
LOG_DELAY_S = 1.0


class Sending:
    """The process itself."""

    def __init__(self, settings: Settings, options: Options, board: Board, screen: Screen, began: int) -> None:
        self._settings = settings
        self._options = options
        self._board = board
        self._screen = screen
        self._began = began
        self._resource = otlp.resource(settings.resource)
        self._scope = otlp.scope("pellucid.serve", __version__)
        self._spans = Spans("https" if options.tls_cert else "http")
        self._lock = threading.Lock()
        self._traced: deque[Traced] = deque()
        self._waiting = 0
        """Spans in `_traced`."""
        self._logged: deque[Logged] = deque()

    def run(self, supervisor: int, source: socket.socket) -> int:
        """Until SIGTERM, which comes too when the supervisor is gone."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        outlets = self._outlets()
        for outlet in outlets.values():
            outlet.start()
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(reading, select.POLLIN)
        while reading not in (ready := {fd for fd, _ in poll.poll(TICK_S * 1000)}):
            if source.fileno() in ready:
                self._read(source, outlets)
            for outlet in outlets.values():
                outlet.cut_off(time.monotonic())
        self._read(source, outlets)
        until = time.monotonic() + (LAST_WORDS_S if os.getppid() == supervisor else ORPHANED_S)
        for outlet in outlets.values():
            outlet.end()
        for outlet in outlets.values():
            outlet.ended(until - time.monotonic())
        return 0

    def _outlets(self) -> "dict[str, Outlet]":
        from pellucid.serve.telemetry.outlet import Outlet  # with http.client, which the supervisor does not need

        settings = self._settings
        sources: dict[str, tuple[float, Callable[[], Iterator[Body]]]] = {
            "traces": (settings.delay_s, self._bodies_of_spans),
            "metrics": (settings.metrics_s, self._bodies_of_metrics),
            "logs": (min(settings.delay_s, LOG_DELAY_S), self._bodies_of_records),
        }
        return {
            name: Outlet(name, target, every_s, bodies, functools.partial(self._count, name), self._say)
            for name, (every_s, bodies) in sources.items()
            if (target := settings.target(name)) is not None
        }

    def _say(self, sentence: str, well: bool) -> None:
        event = "telemetry_taken" if well else "telemetry_not_taken"
        self._screen.tell(Record(level="info" if well else "warning", event=event, sentence=sentence))

    def _count(self, name: str, sent: int, lost: int) -> None:
        with self._lock:
            self._board.told(name, sent=sent, lost=lost)

    def _read(self, source: socket.socket, outlets: "dict[str, Outlet]") -> None:
        """All that was told since."""
        while True:
            try:
                packet = source.recv(MOST_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not packet:
                return
            try:
                message = decode(packet)
            except msgspec.DecodeError:  # a worker that was killed within its write can't have written half of a packet
                continue
            if isinstance(message, Logged):
                self._keep_record(message)
            elif "traces" in outlets:
                self._keep(message, outlets["traces"])

    def _keep(self, message: Traced, outlet: "Outlet") -> None:
        lost = 0
        with self._lock:
            self._traced.append(message)
            self._waiting += message.spans
            while self._waiting > MOST_SPANS:
                oldest = self._traced.popleft()
                self._waiting -= oldest.spans
                lost += oldest.spans
        if lost:
            self._count("traces", 0, lost)
        if self._waiting >= SPANS_AT_ONCE:
            outlet.wake()

    def _keep_record(self, message: Logged) -> None:
        with self._lock:
            self._logged.append(message)
            lost = len(self._logged) > MOST_RECORDS
            if lost:
                self._logged.popleft()
        if lost:
            self._count("logs", 0, 1)

    def _bodies_of_spans(self) -> "Iterator[Body]":
        while True:
            taken: list[Traced] = []
            size = 0
            with self._lock:
                while self._traced and size < SPANS_AT_ONCE:
                    taken.append(self._traced.popleft())
                    size += taken[-1].spans
                self._waiting -= size
            if not taken:
                return
            yield self._posted([span for told in taken for span in self._spans.of(told)], size)

    def _bodies_of_records(self) -> "Iterator[Body]":
        while True:
            with self._lock:
                taken = list(self._logged)
                self._logged.clear()
            if not taken:
                return
            yield self._posted([_record(told) for told in taken], len(taken))

    def _bodies_of_metrics(self) -> "Iterator[Body]":
        shown = measured.metrics(self._board, self._options, self._began)
        yield self._posted(shown, len(shown))

    def _posted(self, items: list[bytes], size: int) -> "Body":
        return otlp.posted(self._resource, self._scope, items), size


def _record(told: Logged) -> bytes:
    about: list[tuple[str, otlp.Value]] = []
    if told.worker is not None:
        about.append(("pellucid.worker", told.worker))
    if told.pid is not None:
        about.append(("process.pid", told.pid))
    for name, value in (("pellucid.incident.id", told.incident), ("pellucid.request.id", told.request)):
        if value:
            about.append((name, value))
    return otlp.record(
        int(told.at * 1e9), time.time_ns(), told.level, f"pellucid.{told.event}", told.sentence, about,
        bytes.fromhex(told.trace_id), bytes.fromhex(told.span_id),
    )  # fmt: skip
