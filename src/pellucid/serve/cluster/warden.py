"""Beside a replica on its node: what the supervisor is to a worker, as far as Ray leaves that to us. `python -m pellucid.serve.cluster.warden`.

    loan replica (pid 812) has been in request r-0-7 (1 row) for 15.0 s of its 30 s: thread predict waits for Lock ..., held by ...

Ray Serve replaces a replica that is dead, and one that fails its health check; it does not tell why a replica was stuck. So the warden, a child of the
replica in a session of its own, reads the two heartbeats in their shared memory, looks from outside at half the deadline and at the deadline, keeps
both looks as an incident of that node, and then kills the replica, which Ray starts anew. It ends with its replica.
"""

import contextlib
import os
import select
import signal
import sys
import time
from typing import Literal

import msgspec
from msgspec import Struct

from pellucid.model.errors import UsageError
from pellucid.model.incident import Incident, IncidentKind, LookAt, Moment
from pellucid.serve import chronicle, look, oom, processes, slots
from pellucid.serve.board import Board
from pellucid.serve.incidents import Incidents
from pellucid.serve.log import Record, Screen
from pellucid.serve.slots import Seen

TICK_S = 0.1
ANSWER_S = 0.3
"""From the deadline to the kill at the least: the replica tells its clients in between."""
MUTE_S = 1.0
"""A loop that has not turned for so long answers nobody."""
PAUSE_S = 2.0
"""Between two ticks: longer means that the warden itself, or the whole machine, stood still."""
LOOK_S: dict[Moment, float] = {"half": 30.0, "deadline": 10.0}
"""A look takes one to several seconds, for a replica has connections to a dozen processes of Ray, which are looked at too. Clients are told by then."""
PARENT_S = 1.0
"""A cluster that is stopped ends replicas and their raylet at about the same time."""

Verdict = Literal["well", "half", "late"]


class Watched(Struct, frozen=True, kw_only=True):
    """Whom to watch: the replica, its parent (the raylet of the node), and the descriptors of its board and of a pidfd of it, which it made itself: it may
    be dead before we run. Times in seconds.
    """

    pid: int
    pidfd: int
    parent: int
    board: int
    model: str
    version: int
    timeout_s: float


def judge(seen: Seen, now: float, timeout_s: float) -> tuple[Verdict, IncidentKind]:
    """How far it is past half its deadline, by the prediction or by its event loop, whichever has taken longer."""
    if seen.state not in {slots.STARTING, slots.READY} or not seen.loop_beat:
        return "well", "stuck"
    silent_s = now - seen.loop_beat
    busy_s = now - seen.started if seen.started else 0.0
    kind: IncidentKind = "silent" if silent_s > max(busy_s - MUTE_S, MUTE_S) else "stuck"
    worst = max(silent_s, busy_s)
    return "late" if worst >= timeout_s else "half" if worst >= timeout_s / 2 else "well", kind


class Warden:
    """`run` returns once the replica has ended."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.slot = Board(watched.board).slots[0]
        self.incidents = Incidents()
        self.screen = Screen(as_json=True)
        self.open: Incident | None = None
        self.request = 0
        """The request that it is about."""
        self._places = oom.counters()
        self._kills = oom.read(self._places)

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.watched.pidfd, select.POLLIN)
        ticked = time.monotonic()
        while not poll.poll(TICK_S * 1000):
            now = time.monotonic()
            if now - ticked < PAUSE_S:
                self._tick(self.slot.seen(), now)
            ticked = time.monotonic()
        self._ended()

    def _tick(self, seen: Seen, now: float) -> None:
        verdict, kind = judge(seen, now, self.watched.timeout_s)
        if self.open is not None and (verdict == "well" or seen.request != self.request):
            self._keep(chronicle.recovered(self.open))
            self._say("info", "recovered", f"{chronicle.named(seen)} answered after all, before its deadline")
            self.open = None
        elif verdict == "half" and self.open is None:
            self._suspect(seen, now, kind)
        elif verdict == "late":
            if self.open is None:  # its first look took longer than the other half of the deadline
                self._suspect(seen, now, kind)
            self._replace(now)

    def _suspect(self, seen: Seen, now: float, kind: IncidentKind) -> None:
        opened = self._opened(kind, seen, now)
        self.request = seen.request
        self.slot.say("incident", opened.id)
        self.open = opened
        self._keep(chronicle.looked_at(opened, self._look(seen, "half")))
        said = chronicle.noticed(self.open, self.open.looks[-1])
        self._say("warning", kind, said.sentence)
        self.slot.say("sentence", said.sentence)

    def _replace(self, now: float) -> None:
        """Its clients are told, it is looked at once more, and killed. What is known is kept before."""
        assert self.open is not None
        self.slot.order(slots.SUSPECT)
        again = self._look(self.slot.seen(), "deadline")
        time.sleep(max(0.0, now + ANSWER_S - time.monotonic()))
        mute = time.monotonic() - self.slot.loop_beat() > MUTE_S
        done = chronicle.killed(chronicle.looked_at(self.open, again), mute=mute, timeout_s=self.watched.timeout_s)
        self._keep(done)
        self._say("error", "replaced", f"{done.sentence}, and was killed for Ray to replace it: {done.cause}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.watched.pid, signal.SIGKILL)

    def _ended(self) -> None:
        """Unless it was asked to leave, was killed by us, or went with its whole node, that is an incident."""
        seen, now = self.slot.seen(), time.monotonic()
        if seen.state == slots.LEAVING or (self.open is not None and self.open.outcome == "replaced"):
            return
        until = now + PARENT_S
        while time.monotonic() < until:
            if not os.path.exists(f"/proc/{self.watched.parent}"):
                return
            time.sleep(TICK_S)
        incident = self.open or self._opened("died", seen, now)
        counted = oom.verdict(self._places, self._kills, oom.read(self._places))
        done = chronicle.died(
            incident, seen, "how it ended, the kernel told only its parent, Ray's raylet", counted, now
        )
        self._keep(done)
        self._say("error", "died", f"{done.sentence}: {done.cause}")

    def _opened(self, kind: IncidentKind, seen: Seen, now: float) -> Incident:
        return chronicle.opened(
            kind, seen, now=now, wall=time.time(), silent_s=now - seen.loop_beat, timeout_s=self.watched.timeout_s,
            model=self.watched.model, version=self.watched.version,
        )  # fmt: skip

    def _keep(self, incident: Incident) -> None:
        self.open = incident
        try:
            self.incidents.save(incident)
        except UsageError as error:
            said = f"incident {incident.id} could not be kept: {error.said} ({error.tried})"
            self.screen.tell(Record(level="error", event="not_kept", sentence=said, incident=incident.id))

    def _say(self, level: Literal["info", "warning", "error"], event: str, sentence: str) -> None:
        incident = self.open.id if self.open is not None else None
        self.screen.tell(
            Record(level=level, event=event, sentence=sentence, pid=self.watched.pid, worker=0, incident=incident)
        )

    def _look(self, seen: Seen, moment: Moment) -> LookAt:
        """In a child, so that a look that hangs does not keep us from the kill."""
        tid = seen.predict_tid if seen.started else self.watched.pid
        return bounded(self.watched.pid, tid, moment, LOOK_S[moment])


def bounded(pid: int, tid: int, moment: Moment, within_s: float) -> LookAt:
    """A look that takes at most so long."""
    began = time.monotonic()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = processes.fork(lambda: look.tell(writing, pid, tid, moment))
    os.close(writing)
    said = bytearray()
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    try:
        while (left_s := began + within_s - time.monotonic()) > 0 and poll.poll(left_s * 1000):
            chunk = os.read(reading, 1 << 16)
            if not chunk:
                return msgspec.json.decode(said, type=LookAt)
            said += chunk
    except msgspec.DecodeError:
        return look.unseen(moment, time.monotonic() - began, "the process that looked has ended early")
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return look.unseen(moment, time.monotonic() - began, f"the look took longer than {within_s:g} s")


def main(arguments: list[str]) -> int:
    watched = msgspec.json.decode(arguments[0], type=Watched)
    processes.name_thread("pellucid-warden")
    look.prepare()
    Warden(watched).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
