"""One replica of Ray Serve: the application, predictor and pulse of a worker, in the event loop that Ray gives to a deployment's code.

It becomes ready only once it has predicted its stored sample as at the training, and its health check is that of /readyz: a prediction that was right in the
last seconds, through the thread that predicts. Ray's own check asks whether the event loop turns, and calls a replica with a stuck prediction healthy.
"""

import asyncio
import os
import subprocess
import sys

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pellucid import home
from pellucid.serve import health, package, processes, slots
from pellucid.serve.app import Service
from pellucid.serve.board import Board
from pellucid.serve.bundle import Carried
from pellucid.serve.cluster.warden import Watched
from pellucid.serve.log import Pipe
from pellucid.serve.options import Options
from pellucid.serve.pages import Pages
from pellucid.serve.predictor import Limits, Predictor
from pellucid.serve.worker import Pulse, Stock


class Gate:
    """Connections come in by Ray's proxies: there is no listener here to close (`worker.Door`)."""

    started = True
    should_exit = False

    def close(self) -> None:
        """Ray sends nothing more to a replica that fails its health check."""

    def idle(self) -> bool:
        return True

    def cut_off_slow(self) -> None:
        pass


class Handed(Response):
    """An answer that the whole ASGI application gives, where Ray Serve expects a Response of Starlette."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.service(scope, receive, send)


class Replica:
    """`bundle`: the version as `bundle.packed` makes it. Raises UsageError where it can't be served here, and RuntimeError where its sample is predicted differently."""

    async def __init__(self, options: Options, bundle: bytes) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        self.options = replace(options, incidents=home.incidents())
        shelf = Carried(bundle, f"the deployment of {options.model}")
        model = package.load(shelf, shelf.manifest, options.max_rows, options.engine)
        sample, expected = package.sample(shelf, model)
        self.board = Board.new(1)
        self.slot = self.board.slots[0]
        self.slot.want(1)
        self.slot.begin(os.getpid(), 1)
        log = Pipe(2, self.slot.dropped)
        predictor = Predictor(model, self.slot, log, Limits(queue=options.max_queue, batch=options.max_batch))
        predictor.start()
        if options.unseen == "count":
            model.use_reader(self.slot.unseen)
        self.service = Service(self.options, model, self.board, self.slot, predictor)
        example = package.example(shelf, model.manifest)
        self.service.pages = Pages(self.service, self.board, example).application()
        stock = Stock(
            options=self.options, model=model, sample=sample, expected=expected, example=example, board=self.board,
            listener=None,
        )  # fmt: skip
        self._warden = self._guarded(model.manifest.name, model.manifest.version)
        self._pulse = asyncio.create_task(Pulse(stock, self.slot, log, self.service, Gate(), predictor).go())
        await self._ready()

    def _guarded(self, model: str, version: int) -> "subprocess.Popen[bytes]":
        pidfd = os.pidfd_open(os.getpid())
        watched = Watched(
            pid=os.getpid(), pidfd=pidfd, parent=os.getppid(), board=self.board.fd, model=model, version=version,
            timeout_s=self.options.timeout_s,
        )  # fmt: skip
        warden = subprocess.Popen(
            [sys.executable, "-P", "-m", "pellucid.serve.cluster.warden", msgspec.json.encode(watched).decode()],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=[self.board.fd, pidfd],
            start_new_session=True,
        )
        os.close(pidfd)
        processes.let_look(warden.pid)
        return warden

    async def _ready(self) -> None:
        """Until it has predicted its sample. The warden ends a replica whose sample hangs."""
        while self.slot.seen().state != slots.READY:
            await asyncio.wait({self._pulse}, timeout=0.02)
            if self._pulse.done():
                self._pulse.result()

    async def __call__(self, request: Request) -> Response:  # noqa: ARG002  Handed gets it as ASGI
        return Handed(self.service)

    async def check_health(self) -> None:
        """Ray Serve asks now and then, and replaces a replica that has raised three times."""
        if self._pulse.done():
            self._pulse.result()
            raise RuntimeError("its pulse has ended")
        if self._warden.poll() is not None:
            self._warden = self._guarded(self.service.model.manifest.name, self.service.model.manifest.version)
        ready, _ = health.ready(self.board, self.options.timeout_s)
        if not ready:
            found = health.health(self.board, "", 0, self.options.timeout_s)
            raise RuntimeError("; ".join(worker.sentence for worker in found.workers) or "it has not predicted yet")

    def __del__(self) -> None:
        """Ray Serve calls it before it ends a replica that it wants to end: what comes now is no incident."""
        slot = getattr(self, "slot", None)
        if slot is not None:
            slot.state(slots.LEAVING)
