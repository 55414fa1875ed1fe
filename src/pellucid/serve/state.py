"""The supervisor's mind without its hands: events in, instructions out. No clock, no process, no file; tests replay it.

    forking → starting → serving ──half the deadline──▶ suspect ──the deadline──▶ killed
                            │                             │
                            └────────▶ leaving ◀──────────┘ it answered after all

At half the deadline a worker is looked at, stops accepting, and another is forked beside it, so that the service is whole again while
the slow one may still answer. That is why there are twice as many slots as workers. At the deadline it is looked at once more and killed.
A worker is past its time when its prediction is, or when its event loop has not turned for so long: a stopped process does
neither, and one beat alone would miss the other case.
When the supervisor itself stood still (a frozen container, a stopped process, a starved machine), all beats may look old: ages leave that out.
"""

from msgspec.structs import replace

from pellucid.model.incident import Incident, IncidentKind
from pellucid.serve import chronicle, slots
from pellucid.serve.backoff import Backoff
from pellucid.serve.cases import Cases
from pellucid.serve.events import (
    Adopt,
    Event,
    Exit,
    Fork,
    Forked,
    ForkFailed,
    Instruction,
    Kill,
    Looked,
    Order,
    Ready,
    Reload,
    Save,
    Say,
    Stop,
    StopListening,
    TemplateEnded,
    TemplateReady,
    Tick,
    WorkerEnded,
)
from pellucid.serve.loading import Loading
from pellucid.serve.slots import Seen
from pellucid.serve.supervised import Limits, Phase, Supervised

KEPT_PAUSES_S = 600.0
"""Longer ago, or four times the deadline of a prediction, nothing has begun that is still judged by its age."""
TICK_S = 0.25
_ACTIVE: frozenset[Phase] = frozenset({"forking", "starting", "serving"})


class Supervision:
    """`handle` is the one way in; nothing else changes it."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.workers: dict[int, Supervised] = {}
        self.stopping: float | None = None
        self._out: list[Instruction] = []
        self._loading = Loading(limits, self._out, now)
        self._cases = Cases(limits, self._out)
        self._reloading = 0
        """The edition of which it was told that it serves."""
        self._announced = False
        self._backoff = Backoff(limits, now)
        self._last_tick = now
        self._resumed = 0.0
        self._pauses: list[tuple[float, float]] = []
        """From when to when the supervisor itself stood still."""
        self._generation = 0
        self._over = False
        self._gave_up = False

    def start(self) -> tuple[Instruction, ...]:
        """What to do before the first event."""
        return self._said()

    @property
    def version(self) -> int:
        """Of the model, that new workers have."""
        return self._loading.version

    def starting(self) -> bool:
        """Some worker is about to become ready."""
        return any(worker.phase in {"forking", "starting"} for worker in self.workers.values())

    def awaits_a_birth(self) -> bool:
        """A fork was ordered, and its pid is not known yet."""
        return any(worker.phase == "forking" for worker in self.workers.values())

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        """Learn `event`; returns what to do, in order."""
        if self._over:
            return ()
        match event:
            case Tick():
                self._tick(event)
            case Reload():
                if self.stopping is None:
                    self._loading.reload(event)
            case TemplateReady():
                self._template_ready(event)
            case TemplateEnded():
                self._over = not self._loading.ended(event, stopping=self.stopping is not None)
            case Forked():
                self._forked(event.slot, event.generation, event.pid, event.now)
            case ForkFailed():
                self._fork_failed(event)
            case WorkerEnded():
                self._worker_ended(event)
            case Looked():
                self._looked(event)
            case Stop():
                self._stop(event)
        self._reconcile(event.now)
        return self._said()

    def _said(self) -> tuple[Instruction, ...]:
        """Writing and telling come last: a disk that takes its time must not delay a fork or a kill."""
        said = sorted(self._out, key=lambda one: isinstance(one, Save | Say | Ready))
        self._out.clear()
        return tuple(said)

    def _template_ready(self, event: TemplateReady) -> None:
        """Workers of a new version take the place of all others, which serve until as many new ones do."""
        before = self._loading.edition
        self._loading.ready(event)
        if self._loading.edition == before:
            return
        self._backoff.forget(event.now)
        for worker in self.workers.values():
            worker.retired = True

    def _tick(self, event: Tick) -> None:
        self._notice_pause(event.now)
        self._last_tick = event.now
        self._loading.end_slow(event.now, self._resumed)
        for worker in list(self.workers.values()):
            seen = event.seen[worker.slot]
            if worker.phase == "forking":
                self._find_forked(worker, seen, event.now)
            elif seen.pid == worker.pid:
                self._judge(worker, seen, event)

    def _notice_pause(self, now: float) -> None:
        """Since the last tick more time may have gone by than a tick can take. What happened meanwhile was not seen, and counts against nobody."""
        stood_s, most_s = now - self._last_tick, min(self.limits.pause_s, self.limits.timeout_s / 4)
        oldest = now - max(KEPT_PAUSES_S, 4 * self.limits.timeout_s)
        self._pauses = [pause for pause in self._pauses if pause[1] > oldest]
        if stood_s > self.limits.pause_s:
            self._resumed = now
            most_s = min(most_s, TICK_S)
            said = f"the supervisor itself stood still for {stood_s:.1f} s (stopped, frozen, or without a processor): that time counts against no worker"
            self._out.append(Say("warning", "supervisor_stood_still", said))
        if (
            stood_s > most_s
        ):  # what a tick may take counts all the same: where every one is late, what is stuck is noticed later, but it is
            self._pauses.append((self._last_tick + most_s, now))

    def _since(self, moment: float, now: float) -> float:
        """Seconds from `moment` to `now` that the supervisor was there."""
        return now - moment - sum(max(0.0, end - max(begin, moment)) for begin, end in self._pauses)

    def _judge(self, worker: Supervised, seen: Seen, event: Tick) -> None:
        now = event.now
        if worker.kill_at is not None:
            if not worker.killed and self._may_be_killed(worker, seen, now):
                worker.killed = True
                self._out.append(Kill(worker.pid))
            return
        if worker.phase == "starting":
            if seen.state == slots.READY:
                worker.turn("serving", now)
                worker.served_since = now
                self._out.append(Say("info", "worker_ready", f"{worker} answers", worker=worker.slot, pid=worker.pid))
            elif self._since(worker.since, now) >= self.limits.start_s and not worker.last_look:
                self._out.append(Save(self._open(worker, seen, event, "start")))
                self._cases.ask_look(worker, seen, "deadline")
            return
        predicting, silent = self._ages(seen, now)
        age = max(predicting, silent)
        if worker.phase == "serving" and not worker.retired and self.limits.most_growth:
            self._watch_growth(worker, seen, event)
        if worker.phase == "serving" and worker.incident is None and seen.full:
            self._judge_full(worker, seen, event)
        if worker.phase in {"serving", "leaving"} and age >= self.limits.timeout_s / 2:
            self._suspect(worker, seen, event, "silent" if silent >= predicting else "stuck")
        elif worker.phase == "suspect":
            self._judge_suspect(worker, seen, now, age, mute=silent >= self.limits.mute_s)
        elif worker.phase == "leaving" and self._since(worker.since, now) >= self.limits.timeout_s + 2:
            self._give_up(worker, seen, now)

    def _may_be_killed(self, worker: Supervised, seen: Seen, now: float) -> bool:
        """Its time is over, and its loop, where it turns, has told the clients why: on a busy machine that may take longer."""
        assert worker.kill_at is not None
        if now < worker.kill_at:
            return False
        starts = worker.incident is not None and worker.incident.kind == "start"
        has_told = seen.loop_beat > self._deadline(worker)
        return starts or worker.mute or has_told or now >= worker.kill_at + self.limits.tell_s

    def _watch_growth(self, worker: Supervised, seen: Seen, event: Tick) -> None:
        """A worker that has grown too far goes on serving until another is ready; meanwhile it is looked at for what grows."""
        now = event.now
        if worker.settled_rss is None or seen.rss < worker.settled_rss:
            if now - worker.since >= self.limits.settle_s and seen.rss:
                worker.settled_rss = seen.rss
            return
        if seen.rss - worker.settled_rss <= self.limits.most_growth:
            worker.grown_since = None
            return
        if worker.grown_since is None:
            worker.grown_since = now
        if now - worker.grown_since < self.limits.settle_s:
            return
        incident = self._open(worker, seen, event, "grew")
        worker.retired = True
        self._out.append(Save(incident))
        self._cases.ask_look(worker, seen, "grown")

    def _judge_full(self, worker: Supervised, seen: Seen, event: Tick) -> None:
        """One that has hardly a descriptor left can't accept: others take its place. Where it is full of clients, another would soon be as full."""
        if event.now - seen.full < self.limits.full_s:
            return
        if seen.connections * 2 >= self.limits.descriptors > 0:
            if not worker.crowded:
                worker.crowded = True
                said = chronicle.crowded(seen, self.limits.descriptors)
                self._out.append(Say("warning", "crowded", said, worker=worker.slot, pid=worker.pid))
            return
        incident = self._open(worker, seen, event, "descriptors")
        worker.retired = True
        self._out.append(Save(incident))
        self._cases.ask_look(worker, seen, "full")

    def _ages(self, seen: Seen, now: float) -> tuple[float, float]:
        """(seconds that the prediction has taken, seconds since the loop turned)."""
        predicting = self._since(seen.started, now) if seen.started else 0.0
        return predicting, self._since(seen.loop_beat, now)

    def _open(self, worker: Supervised, seen: Seen, event: Tick | WorkerEnded, kind: IncidentKind) -> Incident:
        silent_s = self._ages(seen, event.now)[1]
        return self._cases.open(worker, seen, kind, now=event.now, wall=event.wall, silent_s=silent_s)

    def _suspect(self, worker: Supervised, seen: Seen, event: Tick, kind: IncidentKind) -> None:
        worker.turn("suspect", event.now)
        if worker.incident is not None:  # it had grown, or was full, and now it is stuck as well
            self._cases.close(worker, chronicle.retired(worker.incident))
        worker.request = seen.request if seen.started else 0
        incident = self._open(worker, seen, event, kind)
        self._out += (Order(worker.slot, slots.SUSPECT, incident.id), Save(incident))
        self._cases.ask_look(worker, seen, "half")

    def _judge_suspect(self, worker: Supervised, seen: Seen, now: float, age: float, *, mute: bool) -> None:
        if worker.last_look:
            return
        assert worker.incident is not None
        if age >= self.limits.timeout_s:
            worker.mute = mute
            worker.incident = replace(worker.incident, request=chronicle.served(seen, now), rss_bytes=seen.rss or None)
            self._cases.ask_look(worker, seen, "deadline")
        elif self._cases.awaits_a_look(worker):  # it has to be there for it
            return
        elif age < self.limits.timeout_s / 2 and not (seen.started and seen.request == worker.request):
            said = f"{worker} answered after all, {now - worker.since:.1f} s after half its deadline, and is replaced by a fresh one"
            self._out += (
                chronicle.said("info", "recovered", said, worker.incident),
                Order(worker.slot, slots.LEAVE),
            )
            self._cases.close(worker, chronicle.recovered(worker.incident))
            worker.turn("leaving", now)

    def _give_up(self, worker: Supervised, seen: Seen, now: float) -> None:
        served = chronicle.served(seen, now)
        within = f" in request {served.id}" if served else ""
        said = f"{worker} was asked to leave and is still there after {now - worker.since:.1f} s{within}: it is killed"
        self._out.append(Say("warning", "killed", said, worker=worker.slot, pid=worker.pid))
        worker.kill_at = now
        worker.killed = True
        self._gave_up = self.stopping is not None
        self._out.append(Kill(worker.pid))

    def _looked(self, event: Looked) -> None:
        worker = next(
            (one for one in self.workers.values() if one.incident and one.incident.id == event.incident), None
        )
        self._cases.looked(event, worker)
        if worker is None or worker.incident is None or not worker.last_look or self._cases.awaits_a_look(worker):
            return
        if worker.incident.kind == "start":
            worker.kill_at = event.now
        else:
            worker.kill_at = max(event.now, self._deadline(worker) + self.limits.answer_s)

    def _deadline(self, worker: Supervised) -> float:
        return worker.since + self.limits.timeout_s / 2

    def _worker_ended(self, event: WorkerEnded) -> None:
        worker = next((worker for worker in self.workers.values() if worker.pid == event.pid), None)
        if worker is None:
            return
        del self.workers[worker.slot]
        if worker.killed and worker.incident is not None:
            self._replaced(worker, worker.incident)
        elif worker.killed:
            return
        elif not event.death.signal and not event.death.status and worker.phase != "starting":
            asked = "" if worker.phase == "leaving" else " after a SIGTERM that its supervisor did not send"
            said = f"{worker} finished what it had and left{asked}"
            if worker.incident is not None:
                retired = worker.incident.kind in {"grew", "descriptors"}
                self._cases.close(worker, (chronicle.retired if retired else chronicle.recovered)(worker.incident))
            self._out.append(Say("info", "worker_left", said, worker=worker.slot, pid=worker.pid))
        else:
            self._died(worker, event)

    def _replaced(self, worker: Supervised, incident: Incident) -> None:
        self._gave_up |= self.stopping is not None and worker.mute
        done = chronicle.killed(incident, mute=worker.mute, timeout_s=self.limits.timeout_s)
        said = f"{done.sentence}, and was replaced: {done.cause}"
        self._cases.close(worker, done)
        self._out.append(chronicle.said("error", "replaced", said, done))

    def _died(self, worker: Supervised, event: WorkerEnded) -> None:
        kind: IncidentKind = "start" if worker.phase == "starting" else "died"
        seen = replace(event.seen, pid=event.pid)  # one that ended at once has not written there who it is
        incident = worker.incident or self._open(worker, seen, event, kind)
        done = chronicle.died(incident, seen, event.death, event.oom, event.now)
        said = f"{done.sentence}: {done.cause}"
        self._cases.close(worker, done)
        self._out.append(chronicle.said("error", "died", said, done))
        served_s = None if worker.served_since is None else event.now - worker.served_since
        if waits := self._backoff.died(event.now, served_s):
            self._out.append(Say("warning", "crash_loop", waits))

    def _find_forked(self, worker: Supervised, seen: Seen, now: float) -> None:
        if seen.pid and seen.generation == worker.generation:
            self._out.append(Adopt(worker.slot, seen.pid))
            self._forked(worker.slot, worker.generation, seen.pid, now)
        elif self._since(worker.since, now) >= self.limits.fork_s:
            del self.workers[worker.slot]
            if self._loading.template is not None and worker.edition == self._loading.edition:
                self._loading.end_stuck()

    def _forked(self, slot: int, generation: int, pid: int, now: float) -> None:
        worker = self.workers.get(slot)
        if worker is None or worker.generation != generation:
            self._out.append(Kill(pid))
        elif worker.phase == "forking":
            worker.pid = pid
            worker.turn("starting" if self.stopping is None else "leaving", now)

    def _fork_failed(self, event: ForkFailed) -> None:
        worker = self.workers.get(event.slot)
        if worker is None or worker.generation != event.generation:
            return
        del self.workers[event.slot]
        self._backoff.wait(event.now, 1.0)
        self._out.append(
            Say("error", "fork_failed", f"no worker could be forked: {event.said}; again in 1 s", worker=event.slot)
        )

    def _stop(self, event: Stop) -> None:
        if self.stopping is not None:
            self._over = True
            self._out += (Kill(worker.pid) for worker in self.workers.values() if worker.pid)
            self._out += (Say("warning", "stopped_now", "a second signal: all workers are killed"), Exit(130))
            return
        self.stopping = event.now
        self._out += (
            Say("info", "stopping", f"stopping: {len(self.workers)} workers finish what they have"),
            StopListening(),
        )
        self._loading.stop()
        for worker in list(self.workers.values()):
            if worker.phase == "forking":
                del self.workers[worker.slot]
            elif worker.phase != "suspect":
                self._out.append(Order(worker.slot, slots.LEAVE))
                if worker.phase != "leaving":
                    worker.turn("leaving", event.now)

    def _reconcile(self, now: float) -> None:
        """As many workers as wanted, and a template to fork them."""
        if self._over:
            return
        if self.stopping is not None:
            if not self.workers and self._loading.stopped():
                self._over = True
                self._out += (
                    (Say("warning", "stopped", "stopped; a worker that did not finish was killed"), Exit(1))
                    if self._gave_up
                    else (Say("info", "stopped", "stopped: every request was answered or told why not"), Exit(0))
                )
            return
        self._loading.start_again(now)
        active = [worker for worker in self.workers.values() if worker.phase in _ACTIVE and not worker.retired]
        free = [slot for slot in range(2 * self.limits.workers) if slot not in self.workers]
        if self._loading.template is not None and now >= self._backoff.not_before:
            for slot in free[: self.limits.workers - len(active)]:
                self._generation += 1
                self.workers[slot] = Supervised(
                    slot, self._generation, now, self._loading.edition, self._loading.version
                )
                self._out.append(Fork(slot, self._generation))
        serving = [worker.pid for worker in active if worker.phase == "serving"]
        if len(serving) >= self.limits.workers:
            self._release_retired(now)
        if not self._announced and len(serving) == self.limits.workers:
            self._announced = True
            self._out.append(Ready(tuple(serving)))

    def _release_retired(self, now: float) -> None:
        """As many others serve as are wanted: those that they replace may finish what they have and go."""
        retired = [worker for worker in self.workers.values() if worker.retired]
        for worker in retired:
            looked_at = worker.incident is not None and not worker.incident.looks
            if worker.phase == "serving" and not looked_at:
                worker.turn("leaving", now)
                self._out.append(Order(worker.slot, slots.LEAVE))
        if (
            retired
            and self._reloading != self._loading.edition
            and all(worker.edition < self._loading.edition for worker in retired)
        ):
            self._reloading = self._loading.edition
            said = f"{self.limits.model} version {self._loading.version} serves now; {len(retired)} workers of the former one leave"
            self._out.append(Say("info", "reloaded", said))
