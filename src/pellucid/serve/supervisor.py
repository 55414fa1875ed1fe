"""The supervisor: one small process that never imports a model, its libraries or a web server, and does what `state.py` decides.

    supervisor ── template (loads the model) ──forks──▶ workers, which become the supervisor's own children
        └──────── look (a short-lived process for each look at a worker)

One poll loop: pidfds of all children, the template's socket, the workers' log, the output of looks, signals, and a tick.
All children are killed by the kernel when this process ends, in whatever way.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from pellucid.model.errors import UsageError
from pellucid.model.incident import LookAt
from pellucid.serve import control, events, look, oom, processes
from pellucid.serve.events import Event, Instruction, Trouble
from pellucid.serve.incidents import Incidents
from pellucid.serve.log import Lines, Record, Screen
from pellucid.serve.options import Options
from pellucid.serve.slots import Board
from pellucid.serve.state import Supervision
from pellucid.serve.supervised import Limits

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "ORT_DISABLE_TELEMETRY",  # onnxruntime starts a thread for it
    ),
    "1",
)
"""A pool of threads in each worker would fight for the cores, and a template with threads can't be forked."""

START_TICK_S = 0.01
"""While a worker starts: that it is ready is seen in its slot."""
LAST_WORDS_S = 1.0
LOOK_S = {"half": 10.0, "deadline": 5.0, "grown": 60.0}
"""A look takes 0.1 s and what it reads, a look at the heap longer; one that takes so long is killed."""
BESIDE_AGAIN_S = 10.0
FOLLOW_S = 1.0
"""So often the alias is read that the server follows."""
_MOST_OUTPUT = 1 << 26
HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Template:
    """A process that loads a version, or has loaded it. `end`: our end of its socket, None once it has hung up."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.end: socket.socket | None = end
        self.trouble: Trouble | None = None


class Looking:
    """A look that is going on."""

    def __init__(self, asked: events.Look, pid: int, output: int) -> None:
        self.asked = asked
        self.pid = pid
        self.output = output
        self.began = time.monotonic()
        self.said = bytearray()
        self.late = False


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
    ) -> None:
        self.beside = beside
        """The command line of the other version's server, which runs as long as this one."""
        """`follow`: the version that is wanted now, None for the one that is served; True: anew, whatever it is (SIGHUP). UsageError."""
        name = options.model.partition(":")[0]
        self.follow = follow
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
        self._pidfds: dict[int, int] = {}
        self._workers: dict[int, int] = {}  # pid → slot
        self._lost: list[tuple[int, int]] = []
        self._template: Template | None = None
        self._next: Template | None = None
        self._looks: dict[int, Looking] = {}  # by pid
        self._counters = oom.counters()
        self._kills = oom.read(self._counters)
        self._exit: events.Exit | None = None

    def run(self) -> int:
        processes.adopt_orphans()
        self._selector.register(self._log_out, selectors.EVENT_READ, self._read_log)
        with _signals() as wakeup:
            self._selector.register(wakeup, selectors.EVENT_READ, lambda: self._signalled(wakeup))
            try:
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
                self._end_children()
        if self._exit.trouble is not None:
            trouble = self._exit.trouble
            raise UsageError(tried=trouble.tried, said=trouble.said, remedy=trouble.remedy)
        return self._exit.status

    def _learn(self, event: Event) -> None:
        self._do(self.state.handle(event))

    def _tick(self) -> None:
        now = time.monotonic()
        for looking in self._looks.values():
            if now - looking.began > LOOK_S[looking.asked.moment] and not looking.late:
                looking.late = True
                self._kill(looking.pid)
        self._reap_strangers()
        self._mourn()
        if self.beside and not self._beside_pid and self._listener is not None and now >= self._beside_not_before:
            self._start_beside(now)
        if now - self._followed >= FOLLOW_S:
            self._followed = now
            self._follow(anew=False)
        self._learn(events.Tick(now, time.time(), tuple(slot.seen() for slot in self.board.slots)))

    def _do(self, instructions: tuple[Instruction, ...]) -> None:
        for instruction in instructions:
            match instruction:
                case events.StartTemplate(version, as_next):
                    self._start_template(version, as_next=as_next)
                case events.Swap():
                    self._swap()
                case events.KillNext():
                    if self._next is not None:
                        self._kill(self._next.pid)
                case events.Fork(slot, generation):
                    self.board.slots[slot].want(generation)
                    self._order(instruction)
                case events.Adopt(slot, pid):
                    self._watch_worker(slot, pid)
                case events.Order(slot, command, incident):
                    if incident:
                        self.board.slots[slot].say("incident", incident)
                    self.board.slots[slot].order(command)
                case events.Describe(slot, sentence):
                    self.board.slots[slot].say("sentence", sentence)
                case events.Kill(pid):
                    self._kill(pid)
                case events.KillTemplate():
                    if self._template is not None:
                        self._kill(self._template.pid)
                case events.Look():
                    self._start_look(instruction)
                case events.Count(kind):
                    self.board.incident(kind)
                case events.Save():
                    self._save(instruction)
                case events.Say():
                    self._say(instruction)
                case events.Ready(pids):
                    self.announce(pids)
                    look.prepare()
                case events.StopListening():
                    if self._listener is not None:
                        self._listener.close()
                        self._listener = None
                case events.Exit():
                    self._exit = instruction

    def _say(self, said: events.Say) -> None:
        self.screen.tell(
            Record(
                level=said.level,
                event=said.event,
                sentence=said.sentence,
                worker=said.worker,
                pid=said.pid,
                incident=said.incident,
                request=said.request,
            )
        )

    def _save(self, save: events.Save) -> None:
        try:
            self.incidents.save(save.incident)
        except UsageError as error:
            said = f"incident {save.incident.id} could not be kept: {error.said} ({error.tried})"
            self.screen.tell(Record(level="error", event="not_kept", sentence=said, incident=save.incident.id))

    def _start_beside(self, now: float) -> None:
        self._beside_not_before = now + BESIDE_AGAIN_S
        with contextlib.suppress(FileNotFoundError):
            if self.options.beside is not None:
                os.unlink(self.options.beside.socket)
        self._beside_pid = processes.spawn(self.beside, os.environ, [])
        self._watch(self._beside_pid, self._beside_ended)

    def _beside_ended(self) -> None:
        death = self._reap(self._beside_pid)
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

    def _start_template(self, version: int, *, as_next: bool) -> None:
        ours, theirs = control.pair()
        options = replace(self.options, model=f"{self.options.model.partition(':')[0]}:{version}")
        keep = [theirs.fileno(), options.listener, options.slots, options.log]
        command = [sys.executable, "-P", "-m", "pellucid.serve.template", str(theirs.fileno())]
        template = Template(processes.spawn(command, {**os.environ, **ONE_THREAD}, keep), ours)
        theirs.close()
        if as_next:
            self._next = template
        else:
            self._template = template
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._read_control(template))
        self._watch(template.pid, lambda: self._template_ended(template))
        _send(template, control.Begin(options))

    def _swap(self) -> None:
        """The next template forks from now on; the one before has nothing to do any more."""
        before, self._template, self._next = self._template, self._next, None
        if before is not None:
            self._kill(before.pid)

    def _order(self, order: control.ToTemplate) -> None:
        if self._template is not None:
            _send(self._template, order)

    def _read_control(self, template: Template) -> None:
        assert template.end is not None
        try:
            told = control.report(template.end)
        except BlockingIOError:
            return
        except OSError:
            told = None
        now = time.monotonic()
        match told:
            case None:
                self._hang_up(template)
            case control.Loaded(note, how):
                if note:
                    self.screen.tell(Record(level="warning", event="drift", sentence=note))
                self._learn(events.TemplateReady(now, template.pid, how, next=template is self._next))
            case control.Refused(trouble):
                template.trouble = trouble
            case control.Born(slot, generation, pid):
                self._watch_worker(slot, pid)
                self._learn(events.Forked(now, slot, generation, pid))
            case control.Unborn(slot, generation, said):
                self._learn(events.ForkFailed(now, slot, generation, said))

    def _hang_up(self, template: Template) -> None:
        if template.end is not None:
            self._selector.unregister(template.end)
            template.end.close()
            template.end = None

    def _template_ended(self, template: Template) -> None:
        while template.end is not None:  # what it said last: a refusal, or a worker that it forked
            before = template.end
            self._read_control(template)
            if template.end is before and not _readable(before):
                break
        death = self._reap(template.pid)
        self._hang_up(template)
        how = f"{'was ' if death.signal else ''}{death}"
        if template is self._next:
            self._next = None
            self._learn(events.TemplateEnded(time.monotonic(), template.pid, how, template.trouble, next=True))
        elif template is self._template:
            self._template = None
            self._learn(events.TemplateEnded(time.monotonic(), template.pid, how, template.trouble))

    def _watch(self, pid: int, ended: Callable[[], None]) -> None:
        pidfd = os.pidfd_open(pid)
        self._pidfds[pid] = pidfd
        self._selector.register(pidfd, selectors.EVENT_READ, ended)

    def _watch_worker(self, slot: int, pid: int) -> None:
        if pid in self._pidfds:
            return
        self._workers[pid] = slot
        try:
            self._watch(pid, lambda: self._worker_ended(pid))
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
        death = self._reap(pid)
        self._read_log()
        told = ""
        if death.signal == signal.SIGKILL:
            now = oom.read(self._counters)
            told = oom.verdict(self._counters, self._kills, now)
            self._kills = now
        self._learn(events.WorkerEnded(time.monotonic(), time.time(), pid, death, told, seen))

    def _reap(self, pid: int) -> processes.Death:
        """Collect a child whose pidfd says that it has ended."""
        pidfd = self._pidfds.pop(pid)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        try:
            death = processes.ended(pid)
        except ChildProcessError:
            death = None
        return death or processes.Death(status=255)

    def _reap_strangers(self) -> None:
        """Orphans of workers that were given to us. A worker whose birth was not told yet keeps its status until it is."""
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in self._pidfds or self.state.awaits_a_birth():
                    return
                os.waitpid(found.si_pid, os.WNOHANG)

    def _kill(self, pid: int) -> None:
        """By its pidfd, which can't mean another process that got the same number."""
        if pid in self._pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfds[pid], signal.SIGKILL)

    def _start_look(self, asked: events.Look) -> None:
        output, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        pid = processes.fork(lambda: look.tell(theirs, asked.pid, asked.tid, asked.moment))
        os.close(theirs)
        looking = Looking(asked, pid, output)
        self._looks[pid] = looking
        self._selector.register(output, selectors.EVENT_READ, lambda: self._read_look(looking))
        self._watch(pid, lambda: self._look_ended(looking))

    def _read_look(self, looking: Looking) -> None:
        while looking.output >= 0:
            try:
                chunk = os.read(looking.output, 1 << 16)
            except BlockingIOError:
                return
            looking.said += chunk
            if not chunk or len(looking.said) > _MOST_OUTPUT:
                self._close_output(looking)

    def _close_output(self, looking: Looking) -> None:
        self._selector.unregister(looking.output)
        os.close(looking.output)
        looking.output = -1

    def _look_ended(self, looking: Looking) -> None:
        self._read_look(looking)  # all that it wrote is in the pipe by now
        if looking.output >= 0:
            self._close_output(looking)
        del self._looks[looking.pid]
        death = self._reap(looking.pid)
        why_not = (
            f"the look took longer than {LOOK_S[looking.asked.moment]:g} s"
            if looking.late
            else f"the look itself {death}"
        )
        try:
            seen = msgspec.json.decode(looking.said, type=LookAt)
        except msgspec.DecodeError:
            seen = look.unseen(looking.asked.moment, time.monotonic() - looking.began, why_not)
        self._learn(events.Looked(time.monotonic(), looking.asked.incident, seen))

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

    def _end_children(self) -> None:
        """Nobody is left when the command returns."""
        for pid in list(self._pidfds):
            self._kill(pid)
        until = time.monotonic() + LAST_WORDS_S
        while self._pidfds and time.monotonic() < until:
            for pid in list(self._pidfds):
                with contextlib.suppress(ChildProcessError):
                    if processes.ended(pid) is None:
                        continue
                self._selector.unregister(self._pidfds[pid])
                os.close(self._pidfds.pop(pid))
            time.sleep(0.005)
        self._read_log()


def _send(template: Template, order: control.ToTemplate) -> None:
    if template.end is not None:
        with contextlib.suppress(OSError):  # it is gone: its pidfd tells the rest
            control.send(template.end, order)


def _readable(end: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError, OSError):
        end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return True
    return False


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
