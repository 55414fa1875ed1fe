"""The samples of one thread, as runs: a thread that does not change costs nothing at a tick. Columns of numbers, for there may be millions."""

from array import array
from collections.abc import Callable

from pellucid.model.profile import Mode, State

STATES: tuple[State, ...] = ("running", "waiting", "gil", "unknown")
_CODES = {state: code for code, state in enumerate(STATES)}
_MOVING = 8


class Timeline:
    """`tick` is the number of the tick that is being taken: a run that is closed at it has all samples before."""

    __slots__ = (
        "asleep",
        "at_ns",
        "flags",
        "holding",
        "inner_tid",
        "interval_ns",
        "mode",
        "moving",
        "name",
        "native",
        "node",
        "nodes",
        "samples",
        "since",
        "since_ns",
        "state",
        "tid",
        "weights",
        "window",
    )

    def __init__(self, tid: int, mode: Mode, interval_ns: int, tick: int, now_ns: int) -> None:
        self.tid = self.inner_tid = tid
        """Here, and as the thread itself calls it: another number in a container."""
        self.name = ""
        self.mode = mode
        self.interval_ns = interval_ns
        self.node = 0
        self.moving = False
        self.state: State = "unknown"
        self.holding = False
        self.since = tick
        self.since_ns = now_ns
        self.at_ns = array("q")
        self.nodes = array("L")
        self.samples = array("L")
        self.weights = array("q")
        self.flags = array("B")
        self.asleep = 0
        """The address of the instruction that it sleeps at, where native functions are wanted."""
        self.native = array("Q")
        self.window = 0
        """The first run since CPU time was last told."""

    def close(self, tick: int, now_ns: int) -> None:
        """End the run, if it has any sample. What comes is another one."""
        samples = tick - self.since
        if samples > 0:
            if self.mode == "wall":
                self._add(samples, samples * self.interval_ns)
            elif self.mode == "gil":
                if self.holding or self.state == "gil":
                    self._add(samples, samples * self.interval_ns if self.holding else 0)
            elif self.state != "waiting":
                self._add(samples, 0)
        self.since, self.since_ns = tick, now_ns

    def _add(self, samples: int, weight_ns: int) -> None:
        self.at_ns.append(self.since_ns)
        self.nodes.append(self.node)
        self.samples.append(samples)
        self.weights.append(weight_ns)
        state = "running" if self.holding else self.state
        self.native.append(self.asleep if self.state == "waiting" else 0)
        self.flags.append(_CODES[state] | (_MOVING if self.moving else 0))

    def clear(self) -> None:
        """Forget the runs that are closed: whoever keeps them has taken them."""
        for column in (self.at_ns, self.nodes, self.samples, self.weights, self.flags, self.native):
            del column[:]
        self.window = 0

    def asleep_at(self, run: int) -> int:
        """The address of the instruction that it slept at in a run, 0 where that is not known."""
        return self.native[run]

    def used(self, cpu_ns: int | None) -> None:
        """CPU time since this was last told, over the runs since then by their samples; None where it is not known."""
        runs = range(self.window, len(self.samples))
        total = sum(self.samples[run] for run in runs)
        if cpu_ns is None:
            cpu_ns = total * self.interval_ns
        if total:
            for run in runs:
                self.weights[run] += cpu_ns * self.samples[run] // total
        elif cpu_ns:  # it ran between two samples, and slept at both
            self._add(0, cpu_ns)
        self.window = len(self.samples)

    def judge(self, judged: Callable[[int, bool], tuple[int, bool]]) -> int:
        """What each run's stack is by all that is known by now, `judged(stack, whether it is cut)`; returns how many samples are cut."""
        cut = 0
        for run, node in enumerate(self.nodes):
            before = bool(self.flags[run] & _MOVING)
            self.nodes[run], moving = judged(node, before)
            if moving != before:
                self.flags[run] ^= _MOVING
            cut += moving * self.samples[run]
        return cut

    def flag(self, run: int) -> tuple[State, bool]:
        """(state, whether it was moving) of a run."""
        code = self.flags[run]
        return STATES[code & ~_MOVING], bool(code & _MOVING)
