"""What the supervisor learns (events) and what it is to do (instructions). Frozen values; `state.py` turns the one into the other.

`now` is seconds of CLOCK_MONOTONIC, `wall` seconds since the epoch.
"""

from typing import Literal

from msgspec import Struct

from pellucid.model.incident import Incident, LookAt, Moment
from pellucid.serve.processes import Death
from pellucid.serve.slots import Seen

Level = Literal["info", "warning", "error"]


class Trouble(Struct, frozen=True):
    """The three lines of an error that another process had."""

    tried: str
    said: str
    remedy: str


class Tick(Struct, frozen=True, tag=True):
    """Time has passed; `seen` are all slots."""

    now: float
    wall: float
    seen: tuple[Seen, ...]


class TemplateReady(Struct, frozen=True, tag=True):
    """It has loaded the model, predicted the sample rightly, and waits for orders to fork. `how`: it predicts so, in words."""

    now: float
    pid: int
    how: str = ""
    next: bool = False
    """It is the one that a reload has started, and not the one that forks now."""


class TemplateEnded(Struct, frozen=True, tag=True):
    """It is gone; `trouble` is what it said of itself, `how` how it ended."""

    now: float
    pid: int
    how: str
    trouble: Trouble | None = None
    next: bool = False


class Forked(Struct, frozen=True, tag=True):
    """The template has forked a worker into a slot."""

    now: float
    slot: int
    generation: int
    pid: int


class ForkFailed(Struct, frozen=True, tag=True):
    """The template could not fork."""

    now: float
    slot: int
    generation: int
    said: str


class WorkerEnded(Struct, frozen=True, tag=True):
    """`seen` is what its slot still says; `oom` what is known of the OOM killer, in words."""

    now: float
    wall: float
    pid: int
    death: Death
    oom: str
    seen: Seen


class Looked(Struct, frozen=True, tag=True):
    """A look has ended, in whatever way."""

    now: float
    incident: str
    look: LookAt


class Stop(Struct, frozen=True, tag=True):
    """SIGTERM or SIGINT came; the second one means now."""

    now: float


class Reload(Struct, frozen=True, tag=True):
    """Another version is to be served, or the same one anew (SIGHUP)."""

    now: float
    version: int


Event = Reload | Tick | TemplateReady | TemplateEnded | Forked | ForkFailed | WorkerEnded | Looked | Stop


class StartTemplate(Struct, frozen=True, tag=True):
    """Start a fresh interpreter that loads this version of the model; `next`: beside the one that forks now."""

    version: int
    next: bool = False


class Swap(Struct, frozen=True, tag=True):
    """The next template takes the place of the one that forked so far, which ends."""


class KillNext(Struct, frozen=True, tag=True):
    """Send SIGKILL to the next template."""


class Fork(Struct, frozen=True, tag=True):
    """Let the template fork a worker into this slot."""

    slot: int
    generation: int


class Adopt(Struct, frozen=True, tag=True):
    """A worker was found in its slot, of whose fork the template could not tell any more: watch it."""

    slot: int
    pid: int


class Order(Struct, frozen=True, tag=True):
    """Write a command into a slot, and with it the incident that its answers are to name."""

    slot: int
    command: int
    incident: str = ""


class Describe(Struct, frozen=True, tag=True):
    """Write the sentence about a worker into its slot, for /healthz."""

    slot: int
    sentence: str


class Kill(Struct, frozen=True, tag=True):
    """Send SIGKILL."""

    pid: int


class KillTemplate(Struct, frozen=True, tag=True):
    """Send SIGKILL to the template, however far it has come."""


class Look(Struct, frozen=True, tag=True):
    """Look at a process from outside; the thread in question is `tid`."""

    pid: int
    tid: int
    incident: str
    moment: Moment


class Save(Struct, frozen=True, tag=True):
    """Write the incident to disk, or anew as more is known."""

    incident: Incident


class Count(Struct, frozen=True, tag=True):
    """One more incident of this kind, for the metrics."""

    kind: str


class Say(Struct, frozen=True, tag=True):
    """One record in the log."""

    level: Level
    event: str
    sentence: str
    worker: int | None = None
    pid: int | None = None
    incident: str | None = None
    request: str | None = None
    trace_id: str = ""
    span_id: str = ""


class Ready(Struct, frozen=True, tag=True):
    """Every worker answers, for the first time."""

    pids: tuple[int, ...]


class StopListening(Struct, frozen=True, tag=True):
    """Close the supervisor's own listener."""


class Exit(Struct, frozen=True, tag=True):
    """End the supervisor; with `trouble` as an error of the command."""

    status: int
    trouble: Trouble | None = None


Instruction = (
    StartTemplate
    | Swap
    | KillNext
    | Fork
    | Adopt
    | Count
    | Order
    | Describe
    | Kill
    | KillTemplate
    | Look
    | Save
    | Say
    | Ready
    | StopListening
    | Exit
)
