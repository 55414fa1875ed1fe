"""What the call tracer counted, as a profile: functions with their calls and times, what tracing added to them, and stacks.

The tracer (Modules/_lsprof.c) keeps pairs of caller and callee. A stack of more than two is made from them by the rule of gprof: of the
time that a function spends in a callee, each of its callers has the share that it has of the function's time (S. Graham, P. Kessler,
M. McKusick: gprof, 1982). Recursion is cut where a function comes again.
"""

from collections import defaultdict

from msgspec import Struct

from pellucid.model import Gap
from pellucid.model.profile import NO_STACK, Profile, Run, Taking
from pellucid.model.recorder import Recorder
from pellucid.model.thread import Frame
from pellucid.model.trace import Trace, TracedFunction

MISLEADS = 0.03
"""A share that tracing changed by so many hundredths, or (`MISLEADS_BY`) by such a factor where it is a hundredth at least, misleads."""
MISLEADS_BY = 1.5
BUSY = 1.25
"""A machine that stretches the program by more than this makes times of single functions uncertain."""

_LEAST = 0.0005  # of all time; a stack of less is not followed further
_DEEPEST = 200
_MOST_STACKS = 50_000

Entry = tuple[str, int, str, int, float, float, list[tuple[int, int, float]]]
"""(file, line, name, calls, seconds of its own, seconds in all, its callees: (number, calls, seconds in all))."""
Costs = dict[str, tuple[float, float, float]]
"""Seconds of a call: "python", "builtin" → (more in the callee's own time, more in its caller's, what it takes untraced)."""


class ThreadCalls(Struct, frozen=True):
    ident: int
    name: str
    main: bool
    entries: list[Entry]


class ToldCalls(Struct, frozen=True):
    """As inside/runner.py writes it."""

    version: str
    engine: str
    duration: float
    costs: dict[str, Costs]
    stretch: float
    dispatched: bool
    before: list[tuple[str, int, str, int]]
    threads: list[ThreadCalls]


class _Calls(Struct):
    """The functions of one thread, with what tracing added to each: in its own time, and below it."""

    entries: list[Entry]
    true: list[float]


def profile_of(told: ToldCalls, command: str, began_at: float, pid: int) -> Profile:
    """The profile whose weights are times without what tracing added, and which tells what that is."""
    threads = [(thread, _without_tracing(told, thread)) for thread in told.threads if thread.entries]
    traced = sum(entry[4] for _, calls in threads for entry in calls.entries)
    true = sum(sum(calls.true) for _, calls in threads)
    inflation = traced / true if true else 1.0
    functions = _functions([calls for _, calls in threads], traced, true)
    recorder = Recorder("calls", command, began_at, 0)
    for thread, calls in threads:
        _record(recorder, pid, thread, calls, f"CPython {told.version}")
    count = sum(entry[3] for _, calls in threads for entry in calls.entries)
    cost = told.costs["dispatched" if told.dispatched else "direct"]
    trace = Trace(
        engine=f"{told.engine} of CPython {told.version}",
        inflation=inflation,
        calls=count,
        call_ns=round(sum(cost["python"][:2]) * 1e9),
        builtin_ns=round(sum(cost["builtin"][:2]) * 1e9),
        line_ns=0,
        busy=told.stretch,
        functions=functions,
        lines=(),
    )
    how = "the calls by what each costs, measured in the same process before the program began"
    taking = Taking(0, count, count, 0, 0, 0, 0.0, told.duration, inflation, how)
    profile = recorder.profile(round(told.duration * 1e9), taking, _gaps(told))
    return Profile(
        **{name: getattr(profile, name) for name in profile.__struct_fields__ if name != "trace"}, trace=trace
    )


def _without_tracing(told: ToldCalls, thread: ThreadCalls) -> _Calls:
    """Each function's own time less what tracing put into it: on its calls, and on those that it made.

    That is CPU time. Where the program had to wait for a CPU, it was more on the clock, nobody knows for which function: what is told then
    is the least that tracing added.
    """
    first = told.costs["direct"]
    later = told.costs.get("dispatched", first) if told.dispatched else first
    if not thread.main:
        first = later
    before = {(file, line, name): calls for file, line, name, calls in told.before} if thread.main else {}

    def cost(number: int, calls: int, part: int) -> float:
        entry = thread.entries[number]
        kind = _kind(entry)
        early = min(before.get(entry[:3], 0), entry[3]) / entry[3] if entry[3] else 0.0
        share = early if told.dispatched and thread.main else 1.0
        return calls * (share * first[kind][part] + (1 - share) * later[kind][part])

    true = []
    for number, entry in enumerate(thread.entries):
        added = cost(number, entry[3], 0) + sum(cost(callee, calls, 1) for callee, calls, _ in entry[6])
        # No call takes less than one of a function that does nothing: a third of it is the callee's time, the rest its caller's.
        least = entry[3] * first[_kind(entry)][2] / 3
        least += sum(calls * first[_kind(thread.entries[callee])][2] * 2 / 3 for callee, calls, _ in entry[6])
        true.append(min(max(entry[4] - added, least), entry[4]))
    return _Calls(thread.entries, true)


def _kind(entry: Entry) -> str:
    return "python" if entry[0] else "builtin"


def _functions(threads: list[_Calls], traced: float, true: float) -> tuple[TracedFunction, ...]:
    sums: dict[tuple[str, int, str], list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0, 0])
    for calls in threads:
        for entry, own in zip(calls.entries, calls.true, strict=True):
            row = sums[entry[:3]]
            callees = sum(times for _, times, _ in entry[6])
            for at, value in enumerate((float(entry[3]), entry[4], entry[5], own, float(callees))):
                row[at] += value
    found = []
    for (file, line, name), (called, own, total, real, made) in sums.items():
        share, true_share = own / traced if traced else 0.0, real / true if true else 0.0
        found.append(
            TracedFunction(
                qualname=name,
                file=file,
                line=line,
                calls=round(called),
                made=round(made),
                own_ns=round(own * 1e9),
                total_ns=round(total * 1e9),
                true_ns=round(real * 1e9),
                share=share,
                true_share=true_share,
                distorted=misleads(share, true_share),
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.true_ns, -one.total_ns, one.qualname)))


def misleads(share: float, true_share: float) -> bool:
    """Whether who reads the traced share would be led to a wrong place."""
    if abs(share - true_share) >= MISLEADS:
        return True
    larger, smaller = max(share, true_share), min(share, true_share)
    return larger >= 0.01 and larger > MISLEADS_BY * smaller


def _record(recorder: Recorder, pid: int, thread: ThreadCalls, calls: _Calls, runtime: str) -> None:
    """The stacks of a thread, outermost callers first, one after the other on its time line."""
    entries = calls.entries
    whole = sum(calls.true)
    runs = recorder.track(pid, pid if thread.main else thread.ident & 0x7FFF_FFFF, thread.name, "", runtime).runs
    at_ns = stacks = 0
    todo: list[tuple[int, int, float, tuple[int, ...]]]
    todo = [(NO_STACK, number, part, (number,)) for number, part in reversed(_outermost(entries))]
    left = [round(true * 1e9) for true in calls.true]
    while todo:
        parent, number, part, path = todo.pop()
        entry = entries[number]
        stack = recorder.child(parent, _frame(entry))
        weight = min(round(calls.true[number] * part * 1e9), left[number])
        if weight:
            runs.append(Run(at_ns, stack, max(round(entry[3] * part), 1), weight, "running"))
            at_ns += weight
            left[number] -= weight
        stacks += 1
        for callee, _, spent in entry[6]:
            total = entries[callee][5]
            of_callee = part * min(spent / total, 1.0) if total else 0.0
            followed = len(path) < _DEEPEST and stacks < _MOST_STACKS and of_callee * total >= _LEAST * whole
            if callee not in path and followed:
                todo.append((stack, callee, of_callee, (*path, callee)))
    for number, weight in enumerate(left):  # what recursion and the limits above left over: its callers are not known
        if weight > 1_000:
            runs.append(Run(at_ns, recorder.child(NO_STACK, _frame(entries[number])), 1, weight, "running"))
            at_ns += weight


def _outermost(entries: list[Entry]) -> list[tuple[int, float]]:
    """(function, the part of its time in which nothing that was traced had called it)."""
    called: dict[int, float] = defaultdict(float)
    for number, entry in enumerate(entries):
        for callee, _, spent in entry[6]:
            if callee != number:
                called[callee] += spent
    found = []
    for number, entry in enumerate(entries):
        part = 1 - called[number] / entry[5] if entry[5] else float(number not in called)
        if part > 0.01:
            found.append((number, min(part, 1.0)))
    return found


def _frame(entry: Entry) -> Frame:
    file, line, name = entry[:3]
    return Frame(name.rpartition(".")[2] if file else name, name, file, line if file else None)


def _gaps(told: ToldCalls) -> tuple[Gap, ...]:
    gaps = [
        Gap(
            "who called the callers",
            "the tracer keeps pairs of caller and callee; longer stacks of a flame graph are estimated from them",
            "pellucid profile -- CMD  (samples whole stacks)",
        )
    ]
    if told.stretch > BUSY:
        gaps.append(
            Gap("exact times", f"other work on this machine made the program take {told.stretch:.1f} times as long")
        )
    return tuple(gaps)
