"""What the line tracer counted, as a profile: how often and how long each line of the chosen functions ran, and what tracing added to it."""

from msgspec import Struct

from pellucid.model import Gap
from pellucid.model.profile import NO_STACK, Profile, Run, Taking
from pellucid.model.recorder import Recorder
from pellucid.model.thread import Frame
from pellucid.model.trace import Trace, TracedFunction, TracedLine
from pellucid.observe.traced_calls import BUSY, misleads

_WORTH_NS = 100_000
"""A function of less is not worth a warning about its lines."""


class ToldLines(Struct, frozen=True):
    """As inside/runner.py writes it. `matched` and `seen`: functions that were asked for, and all of the program's own.

    `cost` of a line: seconds more as the tracer tells its time, seconds of CPU more in all, and what the simplest one takes untraced.
    """

    version: str
    engine: str
    duration: float
    cost: tuple[float, float, float]
    stretch: float
    matched: list[str]
    seen: list[str]
    functions: list[tuple[str, int, str, list[tuple[int, int, float]]]]


def profile_of(told: ToldLines, command: str, began_at: float, pid: int) -> Profile:
    """A frame a line, under its function; weights are times without what tracing added."""
    recorder = Recorder("calls", command, began_at, 0)
    runs = recorder.track(pid, pid, "all threads", "", f"CPython {told.version}").runs
    lines: list[TracedLine] = []
    functions: list[TracedFunction] = []
    at_ns = 0
    rows = [one for one in told.functions if one[3]]
    traced = sum(spent for *_, timings in rows for *_, spent in timings)
    true = sum(_true(told, hits, spent) for *_, timings in rows for _, hits, spent in timings)
    for file, first, name, timings in rows:
        own = sum(spent for *_, spent in timings)
        real = sum(_true(told, hits, spent) for _, hits, spent in timings)
        calls = max((hits for number, hits, _ in timings[:1]), default=0)
        share, true_share = own / traced if traced else 0.0, real / true if true else 0.0
        functions.append(
            TracedFunction(
                name,
                file,
                first,
                calls,
                0,
                _ns(own),
                _ns(own),
                _ns(real),
                share,
                true_share,
                misleads(share, true_share),
            )
        )
        for number, hits, spent in timings:
            kept = _true(told, hits, spent)
            share, true_share = spent / own if own else 0.0, kept / real if real else 0.0
            lines.append(
                TracedLine(
                    name,
                    file,
                    number,
                    hits,
                    _ns(spent),
                    _ns(kept),
                    share,
                    true_share,
                    _ns(real) >= _WORTH_NS and misleads(share, true_share),
                )
            )
            if kept > 0:
                stack = recorder.child(NO_STACK, Frame(name.rpartition(".")[2], name, file, number))
                runs.append(Run(at_ns, stack, max(hits, 1), _ns(kept), "running"))
                at_ns += _ns(kept)
    count = sum(line.hits for line in lines)
    inflation = 1 + count * told.cost[1] / true if true else 1.0
    trace = Trace(
        engine=f"{told.engine} of CPython {told.version}",
        inflation=inflation,
        calls=count,
        call_ns=0,
        builtin_ns=0,
        line_ns=round(told.cost[1] * 1e9),
        busy=told.stretch,
        functions=tuple(sorted(functions, key=lambda one: -one.true_ns)),
        lines=tuple(lines),
    )
    how = "of those functions: their lines by what each costs, measured in the same process before the program began"
    taking = Taking(0, count, count, 0, 0, 0, 0.0, told.duration, inflation, how)
    profile = recorder.profile(_ns(told.duration), taking, _gaps(told))
    return Profile(
        **{name: getattr(profile, name) for name in profile.__struct_fields__ if name != "trace"}, trace=trace
    )


def _true(told: ToldLines, hits: int, spent: float) -> float:
    return min(max(spent - hits * told.cost[0], hits * told.cost[2]), spent)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _gaps(told: ToldLines) -> tuple[Gap, ...]:
    if told.stretch <= BUSY:
        return ()
    said = f"other work on this machine made the program take {told.stretch:.1f} times as long"
    return (Gap("exact times", said),)
