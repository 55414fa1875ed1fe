"""A story for the supervisor: events with the clock as an argument, and what it told its hands to do."""

from msgspec.structs import replace

from pellucid.model.incident import LookAt
from pellucid.serve import slots
from pellucid.serve.events import (
    Count,
    Fork,
    Forked,
    Looked,
    Save,
    TemplateReady,
    Tick,
    WorkerEnded,
)
from pellucid.serve.processes import Death
from pellucid.serve.slots import Seen
from pellucid.serve.state import Supervision
from pellucid.serve.supervised import Limits

T = 10.0
WALL = 1_800_000_000.0


class Story:
    """A server of two workers. `slots` is what the workers' memory says; time goes on by `until`."""

    def __init__(self, workers=2):
        self.now = 100.0
        self.state = Supervision(Limits(model="loan", version=3, workers=workers, timeout_s=T), self.now)
        self.slots = {number: Seen(number) for number in range(2 * workers)}
        self.pid = 1000
        self.done = list(self.state.start())

    def tell(self, event):
        said = self.state.handle(event)
        self.done += said
        return said

    def until(self, now, every=0.25, beating=True):
        """Ticks until `now`; the loops of all ready workers go on beating but for those in `silent`."""
        said = []
        while self.now < now:
            self.now = min(now, self.now + every)
            if beating:
                for number, seen in self.slots.items():
                    if seen.pid and number not in self.silent:
                        self.change(number, loop_beat=self.now)
            said += self.tick()
        return said

    silent: frozenset[int] = frozenset()

    def tick(self):
        seen = tuple(self.slots[number] for number in sorted(self.slots))
        return list(self.tell(Tick(self.now, WALL + self.now, seen)))

    def change(self, number, **fields):
        self.slots[number] = replace(self.slots[number], **fields)

    def forked(self, fork):
        self.pid += 1
        self.change(
            fork.slot, pid=self.pid, generation=fork.generation, state=slots.STARTING, loop_beat=self.now, started=0.0
        )
        self.tell(Forked(self.now, fork.slot, fork.generation, self.pid))
        return self.pid

    def become_ready(self, number):
        self.change(number, state=slots.READY, loop_beat=self.now, predict_tid=self.slots[number].pid + 500)

    def died(self, number, death=None, oom="not by the OOM killer: its counter did not move"):
        seen = self.slots[number]
        self.change(number, pid=0, state=slots.EMPTY, started=0.0)
        return self.tell(WorkerEnded(self.now, WALL + self.now, seen.pid, death or Death(signal=9), oom, seen))

    def looked(self, look, sentence="predict waits for a lock at model.py:7"):
        return self.tell(Looked(self.now, look.incident, LookAt(look.moment, WALL + self.now, 0.2, sentence)))

    def serving(self):
        """The template loads, two workers are forked and become ready."""
        said = self.tell(TemplateReady(self.now, 900))
        for fork in of(said, Fork):
            self.forked(fork)
            self.become_ready(fork.slot)
        self.until(self.now + 30)
        return self


def of(said, kind):
    return [one for one in said if isinstance(one, kind)]


def kept(said):
    """The incident as it was saved last."""
    return of(said, Save)[-1].incident


def counted(story):
    return [one.kind for one in of(story.done, Count)]


def only(said, kind):
    (one,) = of(said, kind)
    return one
