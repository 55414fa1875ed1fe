"""One worker: the event loop in its main thread, the predictions in another, and a pulse that ties both to the supervisor's slot.

It is forked from the template with everything imported and the model in memory, and shares those pages with its siblings.
"""

import asyncio
import errno
import logging
import os
import resource
import signal
import sys
import time
import traceback
from typing import Any, Protocol

import uvicorn
import uvicorn.lifespan.off  # before the fork: what a worker imports itself, it pays for itself
import uvloop
from msgspec import Struct

from pellucid.serve import accepting, health, processes, slots
from pellucid.serve.app import Answer, Service
from pellucid.serve.connection import Connection
from pellucid.serve.events import Level
from pellucid.serve.log import Pipe, Record
from pellucid.serve.options import Options
from pellucid.serve.pages import Pages
from pellucid.serve.predictor import Limits, Predictor, Work
from pellucid.serve.slots import Slot

SWITCH_S = 0.0005
"""How long one thread may keep the GIL while the other waits: with Python's 5 ms the loop would answer late during each prediction."""
PULSE_S = 0.1
START_PULSE_S = 0.01
"""Until the worker is ready, which then is not delayed."""
RSS_EVERY_S = 1.0
KEEP_ALIVE_S = 75
"""A connection that nobody uses is closed after so long. Longer than the 60 s of common proxies, so that they close first."""
FEW_DESCRIPTORS = 4
"""With so few left a worker is called full: the next connections, or files that the model opens, take them."""
LAST_REQUESTS_S = 1.0
"""A worker that leaves goes on answering so long, each answer with `Connection: close`: a connection that was closed while
a request is on its way to it would lose that request.
"""


class Stock(Struct, frozen=True):
    """What a worker is forked with. `expected` are the right answers to `sample`."""

    options: Options
    model: Any
    sample: list[Struct]
    expected: list[Any]
    example: list[dict[str, Any]]
    board: Any
    listener: Any


def run(stock: Stock, number: int, generation: int) -> int:
    """Serve until told to leave; returns the exit status. Never raises."""
    slot: Slot = stock.board.slots[number]
    log = Pipe(stock.options.log, slot.dropped)
    try:
        if slot.wanted_generation() != generation:  # another was forked meanwhile, for nobody had heard of this one
            return 0
        slot.begin(os.getpid(), generation)
        processes.name_thread(f"pellucid-w{number}")
        processes.let_look(stock.options.supervisor)
        _reseed()
        sys.setswitchinterval(SWITCH_S)
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn takes it over, and raises it again at its end
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _log_into(log, number)
        uvloop.run(_serve(stock, slot, log))
    except BaseException as error:  # noqa: BLE001  the last frame of this process: tell and end
        said = f"{type(error).__name__}: {error}"
        slot.say("error", said)
        trace = "".join(traceback.format_exception(error))
        log.write(
            Record(
                level="error",
                event="worker_failed",
                sentence=f"worker {number} failed: {said}",
                worker=number,
                trace=trace,
            )
        )
        return 1
    return 0


def _reseed() -> None:
    """Numpy's global generator is a copy of the template's; `random` renews its own after a fork."""
    import numpy as np

    np.random.seed()  # noqa: NPY002  it is the legacy global one that a transformer may use


def _log_into(log: Pipe, number: int) -> None:
    """What the model's code and libraries log becomes records of ours. uvicorn's warnings are of what clients send, and they can send much."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
            level: Level = (
                "error"
                if record.levelno >= logging.ERROR
                else "warning"
                if record.levelno >= logging.WARNING
                else "info"
            )
            log.write(
                Record(
                    level=level,
                    event="log",
                    sentence=f"{record.name}: {record.getMessage()}",
                    worker=number,
                    trace=trace,
                )
            )

    logging.basicConfig(level=logging.WARNING, handlers=[Handler()], force=True)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


async def _serve(stock: Stock, slot: Slot, log: Pipe) -> None:
    options, model = stock.options, stock.model
    predictor = Predictor(model, slot, log, Limits(queue=options.max_queue, batch=options.max_batch))
    if options.unseen == "count":
        model.use_reader(slot.unseen)
    service = Service(options, model, stock.board, slot, predictor)
    if options.sampling is not None:
        from pellucid.serve.telemetry.traces import Traces

        service.traces = predictor.traces = Traces(options.sampling, options.spans, slot, model)
    service.pages = Pages(service, stock.board, stock.example).application()
    predictor.start()
    config = uvicorn.Config(
        service,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=options.tls_cert or None,
        ssl_keyfile=options.tls_key or None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(options.timeout_s) + 1),
    )
    server = accepting.Server(config, service, stock.board, slot, stock.listener)
    pulse = asyncio.create_task(Pulse(stock, slot, log, service, server, predictor).go())
    serving = asyncio.create_task(server.serve())
    await asyncio.wait({pulse, serving}, return_when=asyncio.FIRST_COMPLETED)
    if pulse.done():
        pulse.result()  # it ends only by raising: without a pulse there is nothing to supervise
    pulse.cancel()
    predictor.stop()
    if service.traces is not None:
        service.traces.flush()
    serving.result()


class Door(Protocol):
    """How connections come in, as far as a pulse has to do with it."""

    started: bool
    should_exit: bool

    def close(self) -> None:
        """Take no more of them."""

    def idle(self) -> bool:
        """None is open."""

    def cut_off_slow(self) -> None:
        """End those on which a request does not come to its end."""


class Pulse:
    """Ten times a second: beat, obey, tell those whose deadline passed, and now and then predict the sample."""

    def __init__(
        self, stock: Stock, slot: Slot, log: Pipe, service: Service, server: Door, predictor: Predictor
    ) -> None:
        self.stock = stock
        self.slot = slot
        self.log = log
        self.service = service
        self.server = server
        self.predictor = predictor
        self.every_s = min(PULSE_S, stock.options.timeout_s / 20)
        self._check: Work | None = None
        self._proved = False
        self._leaving_since = 0.0
        self._most_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        """Open from the beginning: later there may be no descriptor left for it."""

    async def go(self) -> None:
        next_rss = 0.0
        while True:
            self.slot.beat()
            self.slot.queued(len(self.predictor.waiting))
            if time.monotonic() >= next_rss:
                self.slot.rss(self._resident())
                self.slot.full(now=_descriptors_run_out(self._most_descriptors))
                next_rss = time.monotonic() + RSS_EVERY_S
            self._obey(self.slot.command())
            self._tell_late()
            self.service.cut_off_slow()
            self.server.cut_off_slow()
            if self.service.traces is not None:
                self.service.traces.flush()
            self._check_itself()
            await self._rest()

    async def _rest(self) -> None:
        """Until the next beat; while the worker is not ready, until it may be."""
        starting = self.slot.is_starting()
        if starting and self._check is not None:
            await asyncio.wait({self._check.future}, timeout=self.every_s)
        else:
            await asyncio.sleep(START_PULSE_S if starting else self.every_s)

    def _tell_late(self) -> None:
        """Who waited too long learns it now; when the prediction itself hangs, so do those behind it, for the kill is near."""
        now = time.monotonic()
        if late := self.predictor.overdue(now):
            self.service.expire(late)
        seen = self.slot.seen()
        hangs = seen.started and seen.started < now - self.stock.options.timeout_s
        if self.service.suspect and hangs and self.predictor.waiting:
            self.service.send_away(self.predictor.all_of_them())

    def _obey(self, command: int) -> None:
        if command == slots.SUSPECT and not self.service.suspect:
            self.service.suspect = True
            self.server.close()
        elif command == slots.LEAVE and not self.service.leaving:
            self.service.leaving = True
            self._leaving_since = time.monotonic()
            self.slot.state(slots.LEAVING)
            self.server.close()
        if self.service.leaving and not self.server.should_exit:
            self.server.should_exit = self.server.idle() or time.monotonic() - self._leaving_since > LAST_REQUESTS_S

    def _check_itself(self) -> None:
        """The first one makes the worker ready; later ones only while nobody else asks."""
        seen = self.slot.seen()
        if self._check is None:
            idle_s = time.monotonic() - seen.last_ok
            quiet = not self.predictor.waiting and not self.service.suspect
            if not self._proved or (quiet and idle_s > health.SELF_CHECK_S):
                self._check = self.predictor.submit(
                    self.stock.sample, self.stock.options.timeout_s, number=slots.SAMPLE
                )
        elif self._check.future.done():
            self._proved = self._right(self._check.future) or self._proved
            self._check = None
        if self._proved and seen.state == slots.STARTING and self.server.started:
            self.slot.state(slots.READY)

    def _resident(self) -> int:
        """Bytes, from the second field of /proc/self/statm (proc_pid_statm(5))."""
        return int(os.pread(self._statm, 256, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _right(self, done: "asyncio.Future[list[Any]]") -> bool:
        """It is as it was at the training. False past its deadline, which the supervisor sees for itself; a wrong one ends the worker."""
        error = done.exception()
        if error is None and done.result() == self.stock.expected:
            return True
        if isinstance(error, Answer):
            return False
        said = (
            f"failed on its stored sample: {error}"
            if error
            else "predicts its stored sample differently than at its training"
        )
        raise RuntimeError(f"the model {said}")


def _descriptors_run_out(limit: int) -> bool:
    """Whether this process has almost as many open as it may have. Linux 6.2 and later tell how many as the size of /proc/self/fd (fs/proc/fd.c)."""
    try:
        count = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError as error:  # there is none left for the list
        return error.errno == errno.EMFILE
    return count >= limit - FEW_DESCRIPTORS
