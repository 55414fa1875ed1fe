"""`pellucid web`, running: a socket on the loopback interface, uvicorn on it, the hub behind it."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from msgspec import Struct

from pellucid import __version__
from pellucid.inert import inert
from pellucid.kernel.own_malloc import hoard_nothing
from pellucid.model.errors import UsageError, os_words
from pellucid.present.web.api import Api
from pellucid.present.web.gate import Gate
from pellucid.present.web.hub import Hub
from pellucid.present.web.opening import leading, show

ADDRESS = "127.0.0.1"
MOST_CONNECTIONS = 64
_BACKLOG = 64
_LEAVE_STEP_S = 5.0


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it answers, and ends the open event streams first: uvicorn would wait for pages that never hang up."""

    def __init__(self, config: uvicorn.Config, hub: Hub, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._hub = hub
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._hub.end()


class Way(Struct, frozen=True):
    """How the page is served. `leave_s`: end after so many seconds in which no page was open and no look ran; None: never.

    `announced`: the address is printed once it answers; `browser`: and opened.
    """

    token: str
    announced: bool = True
    browser: bool = False
    leave_s: float | None = None


def serve(port: int, *, browser: bool, hosts: tuple[str, ...] = ()) -> None:
    """Until Ctrl-C or SIGTERM. Prints the address once it answers. Raises UsageError where the port is taken."""
    serve_on(_listen(port), Way(secrets.token_urlsafe(32), browser=browser), hosts)


def serve_on(listener: socket.socket, way: Way, hosts: tuple[str, ...] = ()) -> None:
    """The same on a socket that is listened on already. `hosts`: other machines that are shown too."""
    logging.getLogger("uvicorn").setLevel(
        logging.CRITICAL
    )  # it would tell of each malformed request, and anybody can send many
    hoard_nothing()
    with listener, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(listener, way, hosts))


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            tried=f"listen on {ADDRESS}:{port}",
            said=os_words(error),
            remedy=f"pellucid web --port 0  (takes a free one; who has this one: pellucid files --port {port})",
        ) from error
    return listener


async def _serve(listener: socket.socket, way: Way, hosts: tuple[str, ...]) -> None:
    port = listener.getsockname()[1]
    token = way.token
    hello = {"host": inert(socket.gethostname()), "version": __version__, "pid": os.getpid(), "user": os.geteuid()}
    hub = Hub(hello, hosts)
    gate = Gate(Api(hub).app, token, f"pellucid-{port}")
    hub.hello["token"] = gate.post_token
    config = uvicorn.Config(
        gate,
        loop="asyncio",
        http="h11",
        lifespan="off",
        log_config=None,
        access_log=False,  # it would hold the token
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    address = f"http://{ADDRESS}:{port}/?token={token}"
    with leading(address) if way.browser else contextlib.nullcontext() as path:

        def announce() -> None:
            if way.announced:
                _tell(address, port)
            if path is not None:
                show(path)

        renewing = asyncio.create_task(hub.run())
        try:
            server = Server(config, hub, announce)
            leaving = asyncio.create_task(_leave(server, hub, way.leave_s)) if way.leave_s is not None else None
            await server.serve(sockets=[listener])
            if leaving is not None:
                leaving.cancel()
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await hub.jobs.close()


async def _leave(server: Server, hub: Hub, after_s: float) -> None:
    """End the server once nobody has looked for so long."""
    last = time.monotonic()
    while time.monotonic() - last < after_s:
        await asyncio.sleep(min(after_s, _LEAVE_STEP_S))
        if hub.pages or hub.jobs.running():
            last = time.monotonic()
    server.should_exit = True


def _tell(address: str, port: int) -> None:
    print(address, flush=True)
    if sys.stderr.isatty():
        told = (
            f"From another machine: ssh -L {port}:{ADDRESS}:{port} {socket.gethostname()}, then the same address there."
        )
        print(f"Who has this address may look. {told}\nCtrl-C ends it.", file=sys.stderr, flush=True)
