"""Who takes the next connection: the worker that has the fewest, so that two busy cores share the work evenly.

Every worker waits for the same listener, and the kernel wakes them all or the one that waits first: left to that, one worker may take all
eight connections of a client pool while the other idles: of 30 times (two workers, eight connections at once, Linux 6.18) all eight came to one in
12, and seven in 8 more. Requests of 100 rows, where batching gains little, then have half of the cores. So a worker takes one connection at a time, and lets it go by for a moment while a
living sibling has fewer; if nobody has taken it after `PATIENCE` moments, it is taken anyway. The counts stand in the slots.
"""

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from pellucid.serve import slots
from pellucid.serve.connection import Connection

if TYPE_CHECKING:
    from pellucid.serve.app import Service
    from pellucid.serve.board import Board
    from pellucid.serve.slots import Slot

MOMENT_S = 0.001
PATIENCE = 5
FRESH_S = 0.5
"""A sibling whose loop has not turned for so long takes nothing."""


class Server(uvicorn.Server):
    """uvicorn's server, but for how connections come in."""

    def __init__(
        self, config: uvicorn.Config, service: "Service", board: "Board", slot: "Slot", listener: socket.socket
    ) -> None:
        super().__init__(config)
        self.service = service
        self.board = board
        self.slot = slot
        self.listener = listener
        self.servers = []
        self._waited = 0
        self._open = False
        self._joining: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  the listener is ours
        await self.lifespan.startup()
        self._open = True
        self._listen()
        self.started = True

    def close(self) -> None:
        """Take no more connections; those that are there stay."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self.listener.fileno())

    def idle(self) -> bool:
        """No connection is open."""
        return not self.server_state.connections

    def cut_off_slow(self) -> None:
        """End connections on which the head of a request comes too slowly."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.cut_off_slow(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.close()
        await super().shutdown(sockets)

    def _listen(self) -> None:
        if self._open:
            asyncio.get_running_loop().add_reader(self.listener.fileno(), self._knock)

    def _knock(self) -> None:
        if self._waited < PATIENCE and self._another_has_fewer():
            self._waited += 1
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.listener.fileno())
            loop.call_later(MOMENT_S, self._listen)
            return
        self._waited = 0
        try:
            connection, _ = self.listener.accept()
        except (
            BlockingIOError,
            InterruptedError,
            ConnectionAbortedError,
        ):  # another worker was quicker, or the client left
            return
        except OSError:  # no descriptor is free: it waits in the queue of the kernel until one is
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.listener.fileno())
            loop.call_later(0.1, self._listen)
            return
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.slot.connections(1)
        task = asyncio.get_running_loop().create_task(self._join(connection))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        except OSError:  # it left, or its TLS handshake failed (ssl.SSLError is an OSError)
            self.slot.connections(-1)
            connection.close()

    def _protocol(self) -> asyncio.Protocol:
        return Connection(self)

    def _another_has_fewer(self) -> bool:
        own, now = self.slot.open_connections(), time.monotonic()
        return any(
            other is not self.slot and other.open_connections() < own and _takes(other, now)
            for other in self.board.slots
        )


def _takes(slot: "Slot", now: float) -> bool:
    return slot.is_ready() and slot.command() == slots.SERVE and now - slot.loop_beat() < FRESH_S
