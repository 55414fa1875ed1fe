"""Another version beside the one that serves: a share of the requests goes to it (canary), or copies of them do (shadow).

    worker ── /predict ──▶ its own model
       └── some of them ──▶ unix socket ──▶ the other version: a supervised server of its own, with workers, incidents and metrics

Which request goes there is decided by a hash of its body, so that equal requests always get the same version. Where the other version refuses to
talk or fails (5xx), the client is answered by this one. A copy is only sent when next to nothing waits here; its answer is compared and never shown.
"""

import asyncio
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pellucid.serve.options import Beside

if TYPE_CHECKING:
    from pellucid.serve.slots import Slot

MOST_IDLE = 8
"""Connections to the other version that are kept open."""
MOST_COPIES = 16
"""Copies on their way; a further one is left out."""
BUSY = 4
"""With so many requests waiting here, no copy is sent."""
KEPT = 20
_HEAD = 1 << 16


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Unanswered(Exception):  # noqa: N818  it is answered here then
    """The other version could not be asked."""


class Other:
    """A worker's way to the other version."""

    def __init__(self, beside: Beside, slot: "Slot") -> None:
        self.beside = beside
        self.slot = slot
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._copies: set[asyncio.Task[None]] = set()
        self.differences: deque[dict[str, Any]] = deque(maxlen=KEPT)
        """The last ones that this worker saw."""

    def takes(self, body: bytes) -> bool:
        """Whether this request belongs to the share."""
        return zlib.crc32(body) % 10_000 < self.beside.share * 100

    async def answer(self, path: str, body: bytes, within_s: float, trace: bytes = b"") -> Reply:
        """The other version's answer to a request of the share; `trace` is its traceparent, if it has one. Raises Unanswered."""
        try:
            async with asyncio.timeout(within_s):
                reply = await self._ask(b"POST", path, body, trace)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:  # TimeoutError is an OSError
            self.slot.beside(failed=1)
            raise Unanswered from error
        if reply.status >= 500:
            self.slot.beside(failed=1)
            raise Unanswered
        self.slot.beside(sent=1)
        return reply

    def copy(self, path: str, body: bytes, shown: bytes, waiting: int, within_s: float) -> None:
        """Send a copy of what was answered with `shown`, if there is room for it."""
        if waiting <= BUSY and len(self._copies) < MOST_COPIES and self.takes(body):
            task = asyncio.get_running_loop().create_task(self._compare(path, body, shown, within_s))
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)

    async def _compare(self, path: str, body: bytes, shown: bytes, within_s: float) -> None:
        try:
            reply = await self.answer(path, body, within_s)
        except Unanswered:
            return
        ours, theirs = _predictions(shown), _predictions(reply.body)
        if ours != theirs:
            self.slot.beside(different=1)
            pairs = (
                zip(ours, theirs, strict=False)
                if isinstance(ours, list) and isinstance(theirs, list)
                else [(ours, theirs)]
            )
            first = next(((one, other) for one, other in pairs if one != other), (ours, theirs))
            self.differences.append({"here": first[0], "there": first[1]})

    async def get(self, path: str, within_s: float) -> Reply:
        """A page of the other version. Raises Unanswered."""
        try:
            async with asyncio.timeout(within_s):
                return await self._ask(b"GET", path, b"")
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise Unanswered from error

    async def _ask(self, method: bytes, path: str, body: bytes, trace: bytes = b"") -> Reply:
        while self._idle:
            try:
                return await self._over(self._idle.pop(), method, path, body, trace)
            except (OSError, asyncio.IncompleteReadError):  # it was closed meanwhile
                continue
        fresh = await asyncio.open_unix_connection(self.beside.socket, limit=_HEAD)
        return await self._over(fresh, method, path, body, trace)

    async def _over(
        self,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        method: bytes,
        path: str,
        body: bytes,
        trace: bytes,
    ) -> Reply:
        reader, writer = connection
        kept = False
        try:
            head = b"%b %b HTTP/1.1\r\nhost: beside\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
            more = b"traceparent: %b\r\n" % trace if trace else b""
            writer.write(head % (method, path.encode(), len(body), more) + body)
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            reply = Reply(int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
            kept = headers.get("connection", "") != "close" and len(self._idle) < MOST_IDLE
        except (KeyError, IndexError, asyncio.LimitOverrunError) as error:
            raise ValueError("no answer that is understood") from error
        finally:
            if kept:
                self._idle.append(connection)
            else:
                writer.close()
        return reply


def _predictions(body: bytes) -> Any:
    """What is compared: not the version and not the id of the request."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if not isinstance(found, dict):
        return None
    return found.get("predictions", [output.get("data") for output in found.get("outputs", ())])
