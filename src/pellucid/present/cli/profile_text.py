"""The text of `pellucid profile`: how the samples were taken, what ran, who waited, the hottest call path."""

from collections import Counter
from collections.abc import Callable, Iterator

from msgspec import Struct

from pellucid.diagnose.words import duration
from pellucid.model.hot import hottest, path, ran, slept
from pellucid.model.profile import Changed, Hot, Profile, Run, Step
from pellucid.present.cli import screen

_TOP, _WAITING, _PATH = 15, 5, 12
_CHANGED = 20
_THREADS = 6
_DID = {"running": "ran", "gil": "wanted the GIL", "waiting": "slept", "unknown": "unknown"}
_UNITS = {"wall": "thread time", "cpu": "CPU time", "gil": "time with the GIL", "calls": "time in calls"}


class Line(Struct, frozen=True):
    text: str
    bold: bool = False
    dim: bool = False


def text(profile: Profile) -> str:
    """The whole screen as one text, of a trace too."""
    if profile.trace is not None:
        from pellucid.present.cli import trace_text

        return "\n".join(line.text for line in trace_text.lines(profile, profile.trace))
    return "\n".join(line.text for line in lines(profile))


def lines(profile: Profile) -> Iterator[Line]:
    """The whole screen."""
    yield Line(screen.printable(_head(profile)), bold=True)
    for text in _taken(profile):
        yield Line(text, dim=True)
    if profile.mode == "wall":
        yield from _threads(profile)
    yield Line("")
    running = hottest(profile, most=_TOP)
    whole = _whole(profile, ran)
    if running and whole:
        yield Line(f"{duration(whole / 1e9)} of {_UNITS[profile.mode]}{_who(profile)}", bold=True)
        yield from _table(running, whole)
    else:
        yield Line("what ran was no Python function" if whole else _nothing(profile))
    yield from _wanted(profile)
    waiting = _whole(profile, slept)
    if waiting:
        yield Line("")
        yield Line(f"asleep: {duration(waiting / 1e9)} of thread time", bold=True)
        yield from _table(hottest(profile, slept, _WAITING), waiting)
    steps = path(profile)
    if steps:
        yield Line("")
        yield Line("the hottest call path", bold=True)
        yield from _steps(steps)
    for text in screen.gaps(profile.gaps):
        yield Line(text, dim=True)


def _head(profile: Profile) -> str:
    process = profile.process
    who = f"pid {process.pid} " if process is not None else ""
    pids = {track.pid for track in profile.tracks}
    others = len(pids - ({process.pid} if process is not None else set()))
    children = f" and {others} other process{'' if others == 1 else 'es'}" if others and process is not None else ""
    runtimes = ", ".join(sorted({track.runtime for track in profile.tracks if track.runtime}))
    rate = f"{1e9 / profile.taking.interval_ns:g} Hz" if profile.taking.interval_ns else "every call"
    parts = [
        f"{who}{profile.command[:70]}{children}",
        f"{profile.duration_ns / 1e9:.1f} s",
        rate,
        profile.mode,
        runtimes,
    ]
    return " · ".join(part for part in parts if part)


def _taken(profile: Profile) -> Iterator[str]:
    taking = profile.taking
    stacks = sum(run.samples for track in profile.tracks for run in track.runs)
    yield (
        f"samples: {taking.asked} asked, {taking.taken} taken, {taking.missed} missed, {taking.failed} failed; "
        f"of {stacks} stacks {taking.unstable} are cut, where they moved too fast"
    )
    share = 100 * taking.cpu_s / taking.wall_s if taking.wall_s else 0.0
    slowed = ""
    if taking.slowdown is not None:
        slowed = f"; it slowed the target by {100 * (taking.slowdown - 1):.1f} %"
    elif taking.slowdown_how:
        slowed = f"; its effect on the target was {taking.slowdown_how}"
    yield f"cost: the sampler used {share:.1f} % of a CPU{slowed}"


def _whole(profile: Profile, chosen: Callable[[Run], bool]) -> int:
    return sum(run.weight_ns for track in profile.tracks for run in track.runs if chosen(run))


def _who(profile: Profile) -> str:
    """` in 3 threads: MainThread 80 %, ...`."""
    busy = Counter[tuple[int, int, str]]()
    for track in profile.tracks:
        busy[track.pid, track.tid, track.name] += sum(run.weight_ns for run in track.runs if ran(run))
    busy = +busy
    whole = sum(busy.values())
    several = len({pid for pid, _, _ in busy}) > 1
    told = ", ".join(
        f"{name}{f' of pid {pid}' if several else ''} {100 * weight / whole:.0f} %"
        for (pid, _, name), weight in busy.most_common(4)
    )
    more = f", {len(busy) - 4} more" if len(busy) > 4 else ""
    return screen.printable(f" in {len(busy)} thread{'' if len(busy) == 1 else 's'}: {told}{more}")


def _threads(profile: Profile) -> Iterator[Line]:
    """What each thread did, the busiest first: `MainThread: ran 62 %, slept 38 %`."""
    did: dict[tuple[int, int, str], Counter[str]] = {}
    for track in profile.tracks:
        states = did.setdefault((track.pid, track.tid, track.name), Counter())
        for run in track.runs:
            states[run.state] += run.samples
    several = len({pid for pid, _, _ in did}) > 1
    ordered = sorted(did.items(), key=lambda item: (-item[1]["running"], -item[1]["gil"], item[0]))
    for (pid, _, name), states in ordered[:_THREADS]:
        whole = sum(states.values())
        told = [f"{word} {100 * states[state] / whole:.0f} %" for state, word in _DID.items() if states[state]]
        yield Line(screen.printable(f"  {name}{f' of pid {pid}' if several else ''}: {', '.join(told)}"), dim=True)
    if len(ordered) > _THREADS:
        rest = [states for _, states in ordered[_THREADS:]]
        slept = sum(set(states) == {"waiting"} for states in rest)
        yield Line(f"  and {len(rest)} more threads, {slept} of which slept all the time", dim=True)


def _table(rows: tuple[Hot, ...], whole: int) -> Iterator[Line]:
    yield Line("   SELF   TOTAL  FUNCTION", bold=True)
    for hot in rows:
        called = _called(hot.qualname or hot.function, hot.file, hot.line)
        yield Line(screen.printable(f"{_percent(hot.self_ns / whole)} {_percent(hot.total_ns / whole)}  {called}"))


def _called(name: str, file: str, line: int | None) -> str:
    """`Queue.get (queue.py:171)`; a native function, and what has no line, by its file alone."""
    base = file.rpartition("/")[2]
    if not base:
        return name  # what stands for calls that are not known has no file
    return f"{name} ({base}:{line})" if line is not None else f"{name} ({base})"


def _percent(share: float) -> str:
    """Five characters and a sign: ` 47.1 %`."""
    return f"{100 * share:5.1f} %"


def _nothing(profile: Profile) -> str:
    if not profile.tracks:
        return "no Python thread was seen"
    return {
        "cpu": "no thread used a CPU",
        "gil": "no thread had the GIL when it was looked at",
    }.get(profile.mode, "no thread ran: all slept whenever they were looked at")


def _wanted(profile: Profile) -> Iterator[Line]:
    """Who waited for the GIL."""
    waited = Counter[tuple[int, str]]()
    for track in profile.tracks:
        waited[track.pid, track.name] += sum(run.samples for run in track.runs if run.state == "gil")
    for (_, name), samples in (+waited).most_common(5):
        seconds = samples * profile.taking.interval_ns / 1e9
        yield Line(screen.printable(f"{name} waited for the GIL: {duration(seconds)}"), dim=True)


def _steps(steps: tuple[Step, ...]) -> Iterator[Line]:
    """Outermost first; calls of a function by itself in one line, and the middle of a long path left out."""
    told: list[tuple[str, int]] = []
    last: tuple[str, str] | None = None
    for step in steps:
        frame = step.frame
        if told and (frame.qualname, frame.file) == last:
            told[-1] = (told[-1][0], told[-1][1] + 1)
        else:
            told.append(
                (f"{_percent(step.share)}  {_called(frame.qualname or frame.function, frame.file, frame.line)}", 1)
            )
        last = frame.qualname, frame.file
    shown = told if len(told) <= _PATH else [*told[: _PATH // 3], None, *told[-2 * _PATH // 3 :]]
    for each in shown:
        if each is None:
            yield Line(f"        ... {len(told) - _PATH} more calls ...", dim=True)
        else:
            text, times = each
            yield Line(screen.printable(text + (f" × {times}" if times > 1 else "")))


def differences(before: Profile, after: Profile, changed: tuple[Changed, ...]) -> Iterator[Line]:
    """The table of `pellucid profile diff`."""
    yield Line(screen.printable(f"before: {_head(before)}"), bold=True)
    yield Line(screen.printable(f"after:  {_head(after)}"), bold=True)
    if before.mode != after.mode:
        yield Line(f"they weigh different things: {before.mode} and {after.mode}", dim=True)
    yield Line("")
    shown = [each for each in changed if _moved(each)][:_CHANGED]
    if not shown:
        yield Line("no function has another share of the time")
        return
    yield Line("    SELF   BEFORE    AFTER     TOTAL  FUNCTION", bold=True)
    for each in shown:
        yield Line(
            f"{100 * (each.self_after - each.self_before):+6.1f} % {_percent(each.self_before)}  {_percent(each.self_after)}  "
            f"{100 * (each.total_after - each.total_before):+6.1f} %  "
            + screen.printable(_called(each.qualname, each.file, each.line))
        )


def _moved(each: Changed) -> bool:
    least = 0.0005  # what is printed as 0.1
    return abs(each.self_after - each.self_before) >= least or abs(each.total_after - each.total_before) >= least
