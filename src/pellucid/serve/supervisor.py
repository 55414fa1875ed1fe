"""The supervisor: one small process that never imports a model, its libraries or a web server, and does what `state.py` decides.

    supervisor ── template (loads the model) ──forks──▶ workers, which become the supervisor's own children
        └──────── look (a short-lived process for each look at a worker)

One poll loop: pidfds of all children, the template's socket, the workers' log, the output of looks, signals, and a tick.
All children are killed by the kernel when this process ends, in whatever way.
"""

import contextlib
import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pellucid.model.errors import UsageError
from pellucid.serve import events, look, oom, processes
from pellucid.serve.board import Board
from pellucid.serve.children import UNKNOWN, Children
from pellucid.serve.events import Event, Instruction
from pellucid.serve.incidents import Incidents
from pellucid.serve.log import Lines, Record, Screen
from pellucid.serve.looks import Looks
from pellucid.serve.options import Options
from pellucid.serve.page import Page
from pellucid.serve.recorder import Recorder
from pellucid.serve.state import Supervision
from pellucid.serve.supervised import Limits
from pellucid.serve.templates import Templates

if TYPE_CHECKING:
    from pellucid.serve.telemetry.exporter import Exporter
    from pellucid.serve.telemetry.settings import Settings

START_TICK_S = 0.01
"""While a worker starts: that it is ready is seen in its slot."""
BESIDE_AGAIN_S = 10.0
FOLLOW_S = 1.0
"""So often the alias is read that the server follows."""
INTERRUPTED = 130
"""The exit status after a second signal."""
HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """`run` serves until it is told to stop, and returns the exit status. UsageError when the model can't be served at all."""

    def __init__(
        self,
        options: Options,
        version: int,
        listener: socket.socket,
        screen: Screen,
        announce: Callable[[tuple[int, ...]], None],
        follow: Callable[[bool], int | None] = lambda _: None,
        beside: tuple[str, ...] = (),
        admin: socket.socket | None = None,
        telemetry: "Settings | None" = None,
    ) -> None:
        self.beside = beside
        """The command line of the other version's server, which runs as long as this one."""
        name = options.model.partition(":")[0]
        self.follow = follow
        """The version that is wanted now, None for the one that is served; True: anew, whatever it is (SIGHUP). UsageError."""
        self.screen = screen
        self.announce = announce
        self.incidents = Incidents(options.incidents)
        self.board = Board.new(2 * options.workers)
        self.state = Supervision(
            Limits(
                model=name,
                version=version,
                workers=options.workers,
                timeout_s=options.timeout_s,
                most_growth=options.max_growth << 20,
                descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            ),
            time.monotonic(),
        )
        self._beside_pid = 0
        self._beside_not_before = 0.0
        self._wanted = version
        self._followed = time.monotonic()
        self.tick_s = max(0.02, min(0.25, options.timeout_s / 40))
        self._listener: socket.socket | None = listener
        self._log_out, self._log_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.options = replace(
            options, supervisor=os.getpid(), listener=listener.fileno(), slots=self.board.fd, log=self._log_in
        )
        self._lines = Lines()
        self._selector = selectors.DefaultSelector()
        self._children = Children(self._selector)
        self._exporter = self._export(telemetry) if telemetry is not None else None
        self._looks = Looks(self._selector, self._children, self._learn)
        self._templates = Templates(
            self._selector, self._children, self.options, self._learn, self._watch_worker, self.screen
        )
        self._recorder = Recorder(self.options, self._children, self.screen)
        self.page = Page(admin, self._selector, self._children, self.screen) if admin is not None else None
        """The live page on the admin port, where one was asked for."""
        self._is_ready = False
        self._workers: dict[int, int] = {}  # pid → slot
        self._lost: list[tuple[int, int]] = []
        self._counters = oom.counters()
        self._kills = oom.read(self._counters)
        self._exit: events.Exit | None = None

    def _export(self, telemetry: "Settings") -> "Exporter":
        from pellucid.serve.telemetry.exporter import Exporter

        exporter = Exporter(telemetry, self.options, self.board, self._children, self.screen)
        if telemetry.traces is not None:
            self.options = replace(self.options, spans=exporter.workers_end, sampling=telemetry.sampling)
        return exporter

    def run(self) -> int:
        processes.adopt_orphans()
        processes.let_look(os.getpid())  # our own recorder and looks
        self._selector.register(self._log_out, selectors.EVENT_READ, self._read_log)
        with _signals() as wakeup:
            self._selector.register(wakeup, selectors.EVENT_READ, lambda: self._signalled(wakeup))
            try:
                if self._exporter is not None:
                    self._exporter.start(time.monotonic())
                self._do(self.state.start())
                ticked = 0.0
                while self._exit is None:
                    due = ticked + (START_TICK_S if self.state.starting() else self.tick_s)
                    for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                        if (
                            self._selector.get_map().get(key.fd) == key
                        ):  # an earlier one of this round may have closed it
                            key.data()
                    if time.monotonic() >= due:
                        self._tick()
                        ticked = time.monotonic()
            finally:
                if self.page is not None:
                    self.page.end()
                self._recorder.end()
                if self._exporter is not None:
                    self._exporter.end(wakeup, now=self._exit is None or self._exit.status == INTERRUPTED)
                self._children.end()
                self._read_log()
        if self._exit.trouble is not None:
            trouble = self._exit.trouble
            raise UsageError(tried=trouble.tried, said=trouble.said, remedy=trouble.remedy)
        return self._exit.status

    def _learn(self, event: Event) -> None:
        self._do(self.state.handle(event))

    def _tick(self) -> None:
        now = time.monotonic()
        self._looks.end_late(now)
        if not self.state.awaits_a_birth():  # a worker whose birth was not told yet keeps its status until it is
            self._children.reap_strangers()
        self._mourn()
        if self.beside and not self._beside_pid and self._listener is not None and now >= self._beside_not_before:
            self._start_beside(now)
        if self._is_ready and self._listener is not None:
            self._recorder.start(now)
        self.board.serves(self.state.version)
        if self._exporter is not None:
            self._exporter.start(now)
        if self.page is not None:
            self.page.tick(now)
        if now - self._followed >= FOLLOW_S:
            self._followed = now
            self._follow(anew=False)
        self._learn(events.Tick(now, time.time(), tuple(slot.seen() for slot in self.board.slots)))

    def _do(self, instructions: tuple[Instruction, ...]) -> None:
        for instruction in instructions:
            match instruction:
                case events.StartTemplate(version, as_next):
                    self._templates.start(version, as_next=as_next)
                case events.Swap():
                    self._templates.swap()
                case events.KillNext():
                    self._templates.kill_next()
                case events.Fork(slot, generation):
                    self.board.slots[slot].want(generation)
                    self._templates.order(instruction)
                case events.Adopt(slot, pid):
                    self._watch_worker(slot, pid)
                case events.Order(slot, command, incident):
                    if incident:
                        self.board.slots[slot].say("incident", incident)
                    self.board.slots[slot].order(command)
                case events.Describe(slot, sentence):
                    self.board.slots[slot].say("sentence", sentence)
                case events.Kill(pid):
                    self._children.kill(pid)
                case events.KillTemplate():
                    self._templates.kill()
                case events.Look():
                    self._looks.start(instruction)
                case events.Count(kind):
                    self.board.incident(kind)
                case events.Save():
                    self._save(instruction)
                case events.Say():
                    self._say(instruction)
                case events.Ready(pids):
                    self.announce(pids)
                    look.prepare()
                    self._is_ready = True
                case events.StopListening():
                    if self._listener is not None:
                        self._listener.close()
                        self._listener = None
                case events.Exit():
                    self._exit = instruction

    def _say(self, said: events.Say) -> None:
        if self._exporter is not None:
            self._exporter.log(said)
        self.screen.tell(
            Record(
                level=said.level,
                event=said.event,
                sentence=said.sentence,
                worker=said.worker,
                pid=said.pid,
                incident=said.incident,
                request=said.request,
                trace_id=said.trace_id,
            )
        )

    def _save(self, save: events.Save) -> None:
        try:
            self.incidents.save(self._recorder.attach(save.incident))
        except UsageError as error:
            said = f"incident {save.incident.id} could not be kept: {error.said} ({error.tried})"
            self.screen.tell(Record(level="error", event="not_kept", sentence=said, incident=save.incident.id))

    def _start_beside(self, now: float) -> None:
        self._beside_not_before = now + BESIDE_AGAIN_S
        with contextlib.suppress(FileNotFoundError):
            if self.options.beside is not None:
                os.unlink(self.options.beside.socket)
        self._beside_pid = processes.spawn(self.beside, os.environ, [])
        self._children.watch(self._beside_pid, self._beside_ended)

    def _beside_ended(self) -> None:
        death = self._children.reap(self._beside_pid)
        self._beside_pid = 0
        if self._listener is not None:
            told = f"the server of the version beside this one {'was ' if death.signal else ''}{death}; it is started again"
            self.screen.tell(Record(level="error", event="beside_ended", sentence=told))

    def _follow(self, *, anew: bool) -> None:
        """Another version may be wanted since we looked last."""
        try:
            version = self.follow(anew)
        except UsageError as error:
            if anew:
                self.screen.tell(Record(level="error", event="reload_failed", sentence=f"{error.tried}: {error.said}"))
            return
        if version is not None and (anew or version != self._wanted):
            self._wanted = version
            self._learn(events.Reload(time.monotonic(), version))

    def _watch_worker(self, slot: int, pid: int) -> None:
        if pid in self._children:
            return
        self._workers[pid] = slot
        try:
            self._children.watch(pid, lambda: self._worker_ended(pid))
        except ProcessLookupError:  # it ended unheard of, and was reaped as a stranger
            del self._workers[pid]
            self._lost.append((slot, pid))

    def _mourn(self) -> None:
        """Tell the state of workers that ended before they could be watched."""
        while self._lost:
            slot, pid = self._lost.pop()
            seen, death = self.board.slots[slot].seen(), processes.Death(status=255)
            self._learn(events.WorkerEnded(time.monotonic(), time.time(), pid, death, "", seen))

    def _worker_ended(self, pid: int) -> None:
        slot = self.board.slots[self._workers.pop(pid)]
        seen = slot.seen()
        slot.vacate()
        death = self._children.reap(pid)
        if death is not UNKNOWN:
            self._recorder.tell(pid, death)
        self._read_log()
        told = ""
        if death.signal == signal.SIGKILL:
            now = oom.read(self._counters)
            told = oom.verdict(self._counters, self._kills, now)
            self._kills = now
        self._learn(events.WorkerEnded(time.monotonic(), time.time(), pid, death, told, seen))

    def _read_log(self) -> None:
        while True:
            try:
                chunk = os.read(self._log_out, 1 << 16)
            except BlockingIOError:
                return
            for record in self._lines.feed(chunk):
                self.screen.tell(record)

    def _signalled(self, wakeup: int) -> None:
        for number in os.read(wakeup, 64):
            if number == signal.SIGHUP:
                self._follow(anew=True)
            else:
                self._learn(events.Stop(time.monotonic()))


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that has a byte for each signal that is heard: its number."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, lambda *_: None) for number in HEARD}
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
