"""One signal's way to its receiver: a thread that posts what there is, tries again what may be tried again, and counts what was taken and what was lost.

By OTLP/HTTP (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP response"): 429, 502, 503, 504 and a connection that fails may be tried again, after
Retry-After where that is told, else ever later; any other status means that this will never be taken.
"""

import contextlib
import email.utils
import gzip
import http.client
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pellucid import __version__
from pellucid.export import otlp
from pellucid.model.errors import os_words
from pellucid.serve.telemetry.settings import Target

AGAIN: Final = frozenset({429, 502, 503, 504})
TRIES = 5
"""For one body: a receiver that is away must not make this process grow."""
FIRST_S, LONGEST_S = 1.0, 300.0
"""Until the second try, doubled each time; and at the most, whatever Retry-After asks for."""
QUIET_S = 60.0
"""So often at the most it is said that a receiver does not take what it is sent."""
_ANSWER = 1 << 16

Body = tuple[bytes, int]
"""What is posted, and how many spans, metrics or log records that are."""


class Answer(NamedTuple):
    """`said`: why it was not taken, "" where it was, or all but `rejected` of it. `after_s`: what Retry-After asks for."""

    said: str = ""
    again: bool = False
    after_s: float | None = None
    rejected: int = 0


class Outlet:
    """`bodies` gives what there is to send now; `count` is told (sent, lost); `say` a sentence and whether all is well."""

    def __init__(
        self,
        signal: str,
        target: Target,
        every_s: float,
        bodies: Callable[[], Iterator[Body]],
        count: Callable[[int, int], None],
        say: Callable[[str, bool], None],
    ) -> None:
        self.signal = signal
        self._target = target
        self._every_s = every_s
        self._bodies = bodies
        self._count = count
        self._say = say
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._posting: tuple[http.client.HTTPConnection, float] | None = None
        """The connection that is in use, and until when it may take."""
        self._fails = False
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._run, name=f"otlp-{signal}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is enough for a body: send it now."""
        self._wake.set()

    def end(self) -> None:
        """Send what there is, each body with one more try."""
        self._ending.set()
        self._wake.set()

    def ended(self, within_s: float) -> bool:
        self._thread.join(max(0.0, within_s))
        return not self._thread.is_alive()

    def cut_off(self, now: float) -> None:
        """End an exchange that takes longer than it may. The timeout of a socket would be for each byte anew."""
        posting = self._posting
        if posting is not None and now > posting[1] and posting[0].sock is not None:
            with contextlib.suppress(OSError):  # it has ended, or was closed, meanwhile
                socket.socket.shutdown(posting[0].sock, socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(self._every_s)
            self._wake.clear()
            for body in self._bodies():
                self._deliver(*body)

    def _deliver(self, body: bytes, size: int) -> None:
        answer = Answer()
        for attempt in range(TRIES):
            last = self._ending.is_set()
            answer = self._post(body)
            if not answer.said:
                break
            self._tell(answer.said)
            if last or not answer.again or attempt == TRIES - 1:
                self._count(0, size)
                return
            pause = FIRST_S * 2**attempt * random.uniform(0.8, 1.2) if answer.after_s is None else answer.after_s
            self._ending.wait(min(pause, LONGEST_S))
        lost = min(answer.rejected, size)
        self._count(size - lost, lost)
        if lost:
            self._tell(f"{lost} of {size} were rejected")
        elif self._fails:
            self._fails = False
            self._say(f"{self.signal} are taken again by {self._target.shown}", True)

    def _tell(self, said: str) -> None:
        now = time.monotonic()
        if not self._fails and now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            told = f"{self.signal} are not taken by {self._target.shown}: {said}; what finds no room meanwhile is counted as lost (/metrics)"
            self._say(told, False)
        self._fails = True

    def _post(self, body: bytes) -> Answer:
        try:
            connection = self._connection()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError: a file that is no certificate
            return Answer(_words(error))
        self._posting = connection, time.monotonic() + self._target.timeout_s
        try:
            return self._exchanged(connection, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(_words(error), again=True)
        finally:
            self._posting = None
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts, target = urlsplit(self._target.url), self._target
        assert parts.hostname
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=target.timeout_s)
        context = ssl.create_default_context(cafile=target.ca or None)
        if target.certificate:
            context.load_cert_chain(target.certificate, target.key or None, password=lambda: b"")
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=target.timeout_s, context=context)

    def _exchanged(self, connection: http.client.HTTPConnection, body: bytes) -> Answer:
        parts = urlsplit(self._target.url)
        headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"pellucid/{__version__}",
            **dict(self._target.headers),
        }
        if self._target.gzip:
            body, headers["Content-Encoding"] = gzip.compress(body, compresslevel=1), "gzip"
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        reply = connection.getresponse()
        told = reply.read(_ANSWER)
        if reply.status != http.client.OK:
            said = f"HTTP {reply.status} {http.client.responses.get(reply.status, '')}".rstrip()
            return Answer(said, reply.status in AGAIN, _after(reply.getheader("Retry-After"), time.time()))
        try:
            rejected, _ = otlp.rejected(told)
        except ValueError:  # it has taken them, and says so in a way of its own
            rejected = 0
        return Answer(rejected=max(0, rejected))


def _after(told: str | None, now: float) -> float | None:
    """Seconds that Retry-After asks for: a number, or a date (RFC 9110, 10.2.3); None where it says nothing that is understood."""
    if told is None:
        return None
    if told.strip().isdecimal():
        return float(told)
    with contextlib.suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - now)
    return None


def _words(error: Exception) -> str:
    """In one line, without what a receiver may have sent."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it hung up without an answer"
    if isinstance(error, http.client.HTTPException):
        return f"it does not speak HTTP ({type(error).__name__})"
    return os_words(error) if isinstance(error, OSError) and error.errno else f"{type(error).__name__}: {error}"[:200]
