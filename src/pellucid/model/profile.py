"""A profile: where threads were, sample by sample. One shape for every sampler (from outside, inside, a JVM's thread dumps) and every format.

Stacks are a trie, so that a program's stacks cost one number each: `stacks[n]` is its innermost frame and the stack that called it.
"""

from typing import Literal

from msgspec import Struct

from pellucid.model.gap import Gap
from pellucid.model.process import Process
from pellucid.model.thread import Frame
from pellucid.model.trace import Trace

Mode = Literal["wall", "cpu", "gil", "calls"]
"""What a sample weighs: time that passed, CPU that was used, time with the GIL, or (a trace of all calls) time inside of the call."""

State = Literal["running", "waiting", "gil", "unknown"]
"""Of the thread when it was sampled: on a CPU or ready for one, asleep, in want of the GIL."""

NO_STACK = -1
"""The stack of a sample that has no frames: the thread ran no Python then."""


class StackNode(Struct, frozen=True, array_like=True):
    """The stack that ends in `frames[frame]`, called from `stacks[parent]`; NO_STACK as parent for the outermost. parent < own index."""

    parent: int
    frame: int


class Run(Struct, frozen=True, array_like=True):
    """`samples` neighbouring samples of one thread that found the same stack in the same state.

    `samples` is 0 where CPU time was used between two samples. `at_ns`: of the first, since the profile began. `weight_ns`: what they stand for together, in the unit of the mode.
    `moving`: the stack moved too fast, and is cut to the outer part that is known.
    """

    at_ns: int
    stack: int
    samples: int
    weight_ns: int
    state: State = "unknown"
    moving: bool = False


class Track(Struct, frozen=True):
    """One thread (or the one timeline of a trace). `runs` are in the order of time."""

    pid: int
    tid: int
    name: str
    process: str
    runtime: str
    runs: tuple[Run, ...]


class Taking(Struct, frozen=True):
    """How the samples came about, so that the profile can be judged. Counts are ticks (all threads of a process at one moment), unless told.

    `missed`: ticks that came too late and were left out. `unstable`: stacks of single threads that are cut, because they moved too fast.
    `failed`: ticks at which a process could not be read. `cpu_s`: CPU of the sampler itself. `slowdown`: measured effect on the target as
    a factor (1.02: two in a hundred slower), None where it was not measured; `slowdown_how` says how.
    """

    interval_ns: int
    asked: int
    taken: int
    missed: int
    unstable: int
    failed: int
    cpu_s: float
    wall_s: float
    slowdown: float | None = None
    slowdown_how: str = ""


class Hot(Struct, frozen=True):
    """A function in a profile. `self_ns`: it was innermost; `total_ns`: it was anywhere in the stack (recursion counts once).

    `line`: the one that it was at most often, as innermost if it ever was.
    """

    function: str
    qualname: str
    file: str
    line: int | None
    self_ns: int
    total_ns: int
    self_samples: int


class Changed(Struct, frozen=True):
    """A function in two profiles: its shares of the time that was run, 0 to 1, by itself and with what it calls."""

    qualname: str
    file: str
    line: int | None
    self_before: float
    self_after: float
    total_before: float
    total_after: float


class Step(Struct, frozen=True):
    """One call of the hottest path; `share` of all time that the path was chosen from."""

    frame: Frame
    share: float


class Profile(Struct, frozen=True, kw_only=True):
    """`began_at` is Unix time in seconds, `duration_ns` until the last sample was asked for. `command` is what was looked at, for titles."""

    mode: Mode
    command: str
    began_at: float
    duration_ns: int
    frames: tuple[Frame, ...]
    stacks: tuple[StackNode, ...]
    tracks: tuple[Track, ...]
    taking: Taking
    gaps: tuple[Gap, ...]
    process: Process | None = None
    """Whom the look was asked for."""
    trace: Trace | None = None
    """What a tracer counted, of which the rest is made."""

    def frames_of(self, stack: int) -> tuple[Frame, ...]:
        """Innermost first."""
        found = []
        while stack != NO_STACK:
            node = self.stacks[stack]
            found.append(self.frames[node.frame])
            stack = node.parent
        return tuple(found)
