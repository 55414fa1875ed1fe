"""What the supervisor keeps in mind of each worker, and the limits that it judges by."""

from typing import Literal

from msgspec import Struct

from pellucid.model.incident import Incident

Phase = Literal["forking", "starting", "serving", "suspect", "leaving"]


class Limits(Struct, frozen=True):
    """Seconds, but for `workers`. `timeout_s` is the deadline of a prediction and of the event loop's silence."""

    model: str
    version: int
    workers: int
    timeout_s: float
    start_s: float = 30.0
    template_start_s: float = 120.0
    fork_s: float = 5.0
    answer_s: float = 0.3
    """From the deadline to the kill at the least: the worker's loop tells its clients in between."""
    tell_s: float = 0.6
    """So much longer at the most, where the loop has not turned since the deadline."""
    mute_s: float = 1.0
    """A loop that has not turned for so long answers nobody."""
    pause_s: float = 2.0
    """Between two ticks: longer means that the supervisor itself stood still. Of a short `timeout_s` a quarter."""
    quick_s: float = 5.0
    """A worker that died younger than this counts towards a crash loop."""
    longest_wait_s: float = 30.0
    most_growth: int = 512 << 20
    """Bytes by which a worker may grow after its start before another takes its place; 0: any."""
    descriptors: int = 0
    """RLIMIT_NOFILE of a worker; 0: not known."""
    full_s: float = 1.0
    """So long there must have been hardly a descriptor left."""
    settle_s: float = 5.0
    """After its start a worker may fill its caches so long before its memory is taken as the measure; and growth must last so long."""


class Supervised:
    """One worker, from the order to fork it until its death."""

    def __init__(self, slot: int, generation: int, now: float, edition: int = 0, version: int = 0) -> None:
        self.slot = slot
        self.edition = edition
        """Which template it was forked from, counted up at each reload."""
        self.version = version
        self.retired = False
        """It serves until others have taken its place."""
        self.settled_rss: int | None = None
        self.grown_since: float | None = None
        self.crowded = False
        """It was said that its clients have all its descriptors."""
        self.generation = generation
        self.pid = 0
        self.phase: Phase = "forking"
        self.since = now
        self.served_since: float | None = None
        self.incident: Incident | None = None
        self.request = 0
        """The request that made it a suspect."""
        self.last_look = False
        """The look before the kill was asked for."""
        self.mute = False
        """At its deadline the event loop did not run: no client can have got an answer."""
        self.looks = 0
        """Looks that were asked for."""
        self.kill_at: float | None = None
        self.killed = False

    def turn(self, phase: Phase, now: float) -> None:
        self.phase, self.since = phase, now

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})"
