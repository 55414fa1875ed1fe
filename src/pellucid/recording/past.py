"""The past as values: what `profile`, `stacks`, `waits`, `memory` and `gc` would have told then, from what a recording keeps.

stacks at 12:03    =  the sample of 12:03, ten a second      +  what each thread waited for, from the last look, where it still slept there
why, waits         =  the last look before, as it was made
profile, memory    =  the samples and numbers of a while
"""

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pellucid.diagnose import waits as waits_words
from pellucid.model import Cost, Frame, Gap, Process, Snapshot, Task, Thread
from pellucid.model.gc import Collector, CollectorSample, GcSeen
from pellucid.model.graph import Graph
from pellucid.model.memory import MemorySeen
from pellucid.model.profile import NO_STACK, Profile, Run, State, Taking
from pellucid.model.recorder import Recorder
from pellucid.model.recording import CallCount, CallsReport, RecordedProcess
from pellucid.model.report import StacksReport, WaitsReport
from pellucid.observe.sampler_timeline import STATES
from pellucid.recording import later
from pellucid.recording.reading import Recording
from pellucid.recording.schema import Lane
from pellucid.recording.slices import Names, Slice

_MOVING = 8
_COLLECTORS = 100
"""Readings of a collector that make a line."""
_WORDS = {"running": "running", "waiting": "sleeping", "gil": "sleeping", "unknown": "unknown"}


def profile(recording: Recording, processes: Sequence[RecordedProcess], begin: float, end: float) -> Profile:
    """Where the threads of these processes were from `begin` to `end`, as the recorder's samples found them."""
    first = processes[0].process
    command = " ".join(first.command) or first.name
    recorder = Recorder("wall", command, begin, 100_000_000)
    counts = _Counts()
    for each in processes:
        for slice_ in recording.slices(each.key, begin, end):
            counts.add(slice_, begin, end)
            _add(recorder, each.process, slice_, begin, end)
    cost = recording.cost(begin, end)
    gaps = tuple(dict.fromkeys(gap for each in processes for gap in each.gaps))
    made = recorder.profile(round((end - begin) * 1e9), counts.taking(cost.cpu_s, cost.wall_s), gaps)
    return replace(made, process=first)


class _Counts:
    def __init__(self) -> None:
        self.asked = self.missed = self.failed = self.unstable = 0.0
        self.interval_s = 0.0

    def add(self, one: Slice, begin: float, end: float) -> None:
        """Those of a slice, as far as it lies within."""
        span = one.ended - one.began
        part = max(0.0, min(one.ended, end) - max(one.began, begin)) / span if span > 0 else 1.0
        self.asked += part * one.asked
        self.missed += part * one.missed
        self.failed += part * one.failed
        self.unstable += part * one.unstable
        self.interval_s = self.interval_s or one.interval_s

    def taking(self, cpu_s: float, wall_s: float) -> Taking:
        asked, missed, failed = round(self.asked), round(self.missed), round(self.failed)
        return Taking(
            interval_ns=round((self.interval_s or 0.1) * 1e9),
            asked=asked + missed,
            taken=max(0, asked - failed),
            missed=missed,
            unstable=round(self.unstable),
            failed=failed,
            cpu_s=cpu_s,
            wall_s=wall_s,
            slowdown_how="not measured by the recorder",
        )


def _add(recorder: Recorder, process: Process, one: Slice, begin: float, end: float) -> None:
    numbers: dict[int, int] = {-1: NO_STACK}
    interval_ns = round(one.interval_s * 1e9)
    command = " ".join(process.command) or process.name
    for lane in one.lanes:
        tid, name = one.names.threads.get(lane.thread, (0, "?"))
        track = recorder.track(process.pid, tid, name, command, process.runtime or "")
        last = len(lane.samples) - 1
        for run, (at_ms, stack, samples, flag) in enumerate(
            zip(lane.at_ms, lane.stacks, lane.samples, lane.flags, strict=False)
        ):
            samples += one.rested if run == last else 0
            at = one.began + at_ms / 1000
            before = max(0, round((begin - at) / one.interval_s))
            after = max(0, round((at + samples * one.interval_s - end) / one.interval_s))
            samples -= before + after
            if samples <= 0:
                continue
            at_ns = max(0, round((at - begin) * 1e9))
            state, moving = _state(flag)
            found = _stack(recorder, one.names, numbers, stack)
            track.add(Run(at_ns, found, samples, samples * interval_ns, state, moving))


def _state(flag: int) -> tuple[State, bool]:
    code = flag & ~_MOVING
    return STATES[code] if 0 <= code < len(STATES) else "unknown", bool(flag & _MOVING)


def _stack(recorder: Recorder, names: Names, numbers: dict[int, int], stack: int) -> int:
    above = []
    while stack not in numbers and stack in names.stacks:
        above.append(stack)
        stack = names.stacks[stack][0]
    found = numbers.get(stack, NO_STACK)
    for each in reversed(above):
        found = numbers[each] = recorder.child(found, names.frames[names.stacks[each][1]])
    return found


class Sampled(Struct, frozen=True):
    """Where one thread was at a moment."""

    tid: int
    name: str
    frames: tuple[Frame, ...]
    state: State
    moving: bool


def sampled(recording: Recording, key: int, at: float) -> tuple[float, tuple[Sampled, ...]] | None:
    """(the moment of the sample, each thread): the last sample not after `at`; None where there is none."""
    found = None
    for each in recording.slices(key, at, at):
        found = each
    if found is None:
        return None
    moment = min(at, found.ended)
    return moment, tuple(one for lane in found.lanes if (one := _at(found, lane, moment)) is not None)


def _at(one: Slice, lane: Lane, at: float) -> Sampled | None:
    """None where the thread had not begun yet, or had ended."""
    place = -1
    for run, at_ms in enumerate(lane.at_ms):
        if one.began + at_ms / 1000 > at:
            break
        place = run
    if place < 0 or not lane.samples:
        return None
    samples = lane.samples[place] + (one.rested if place == len(lane.samples) - 1 else 0)
    since = one.began + lane.at_ms[place] / 1000
    if at > since + (samples + 1.5) * one.interval_s and at > since + 1.0:
        return None
    tid, name = one.names.threads.get(lane.thread, (0, "?"))
    state, moving = _state(lane.flags[place])
    return Sampled(tid, name, one.names.frames_of(lane.stacks[place]), state, moving)


def _stayed(recording: Recording, key: int, begin: float, end: float) -> dict[int, tuple[Frame, ...]]:
    """The threads that each sample from `begin` to `end` found asleep in one place: tid → their frames."""
    stayed: dict[int, tuple[Frame, ...] | None] = {}
    for each in recording.slices(key, begin, end):
        for lane in each.lanes:
            tid, _ = each.names.threads.get(lane.thread, (0, "?"))
            for run, at_ms in enumerate(lane.at_ms):
                ended = each.began + lane.at_ms[run + 1] / 1000 if run + 1 < len(lane.at_ms) else each.ended
                if ended < begin or each.began + at_ms / 1000 > end:
                    continue
                frames = each.names.frames_of(lane.stacks[run])
                if _state(lane.flags[run])[0] != "waiting" or stayed.setdefault(tid, frames) != frames:
                    stayed[tid] = None
    return {tid: frames for tid, frames in stayed.items() if frames is not None}


def stacks(recording: Recording, process: RecordedProcess, at: float) -> StacksReport | None:
    """What `stacks` would have told; None where nothing is kept of that moment."""
    found = sampled(recording, process.key, at)
    kept = recording.snapshot(process.key, at)
    if found is None or not found[1]:
        return _of_look(process, kept) if kept is not None else None
    moment, threads = found
    told: dict[int, Thread] = {}
    stayed: dict[int, tuple[Frame, ...]] = {}
    others: tuple[Thread, ...] = ()
    rested_s: float | None = None
    if kept is not None:
        until, seen = kept
        told = {thread.tid: thread for thread in seen.threads}
        stayed = _stayed(recording, process.key, seen.taken_at, moment)
        if moment <= until:
            rested_s = moment - seen.taken_at
        if moment <= max(until, seen.taken_at + 1):  # those without Python, which are not sampled
            there = {each.tid for each in threads}
            others = tuple(thread for thread in seen.threads if thread.tid not in there)
    joined = (
        *(_thread(each, told.get(each.tid), stayed.get(each.tid), rested_s) for each in threads),
        *(later.thread(thread, rested_s or 0.0) for thread in others),
    )
    return StacksReport(
        process=process.process,
        taken_at=moment,
        gaps=process.gaps,
        threads=tuple(sorted(joined, key=lambda thread: thread.tid)),
        cost=Cost(0.0, 0.0),
    )


def _of_look(process: RecordedProcess, kept: tuple[float, Snapshot]) -> StacksReport:
    _, seen = kept
    return StacksReport(
        process=seen.process, taken_at=seen.taken_at, gaps=process.gaps, threads=seen.threads, cost=seen.cost
    )


def _thread(one: Sampled, told: Thread | None, stayed: tuple[Frame, ...] | None, rested_s: float | None) -> Thread:
    """With what it waited for, where the last look saw it in the same place and each sample since found it there.

    `rested_s`: nothing at all ran in the process since then. Else it may have woken and slept again there (a wait in a loop, for another
    time or another lock): then since when, and who had what it waits for, is not told.
    """
    if told is not None and told.wait is not None and told.frames == one.frames == stayed:
        if rested_s is not None:
            return later.thread(told, rested_s)
        return replace(told, wait=replace(told.wait, since_s=None, left_s=None, holders=()))
    word = _WORDS[one.state]
    return Thread(
        tid=one.tid,
        name=one.name,
        state=word,
        frames=one.frames,
        wait=None,
        task=Task(tid=one.tid, name=one.name, state=word, call=None, wchan=None, cpu_s=0.0, switches=None),
        moving=one.moving,
        wants_gil=one.state == "gil" or None,
        python=True,
    )


def snapshot(recording: Recording, key: int, at: float) -> Snapshot | None:
    """The look that `why` judges: the last one before `at`. Where nothing ran since, the times of its waits are as of `at`."""
    found = recording.snapshot(key, at)
    if found is None:
        return None
    until, seen = found
    return later.snapshot(seen, min(at, until) - seen.taken_at)


class _Looked(Struct, frozen=True):
    """As `observe.wait_graph.Family`."""

    graph: Graph
    processes: tuple[Process, ...]
    reading_s: float
    reading_cpu_s: float
    stopped_s: float | None
    taken_at: float


def waits(recording: Recording, key: int, at: float) -> WaitsReport | None:
    """What `waits` would have told of one process and of those that its waits led to."""
    seen = snapshot(recording, key, at)
    if seen is None or seen.graph is None:
        return None
    around = (seen.process, *(peer.process for peer in seen.peers))
    return waits_words.report(
        _Looked(
            seen.graph, tuple(_each_once(around)), seen.cost.wall_s, seen.cost.cpu_s, seen.cost.stopped_s, seen.taken_at
        )
    )


def calls(recording: Recording, process: RecordedProcess, begin: float, end: float) -> CallsReport | None:
    """The system calls between the last counts before `begin` and before `end`; None where none are kept.

    Of a process that was first counted after `begin` all of them: its counts begin at 0 when it is found.
    """
    last = recording.calls(process.key, end)
    if last is None:
        return None
    first = recording.calls(process.key, begin)
    since, before = (min(begin, first[1]), first[2]) if first is not None else (process.first_at, {})
    until = min(end, last[1])
    if until <= since:  # nothing was counted after `begin`
        since, until = begin, end
    seconds = max(1e-9, until - since)
    counted = {name: times - before.get(name, 0) for name, times in last[2].items()}
    summary = tuple(
        CallCount(name, times, round(times / seconds, 3))
        for name, times in sorted(counted.items(), key=lambda one: (-one[1], one[0]))
        if times > 0
    )
    return CallsReport(process=process.process, taken_at=until, gaps=process.gaps, seconds=seconds, summary=summary)


def _each_once(processes: Iterable[Process]) -> Iterable[Process]:
    return {process.pid: process for process in processes}.values()


def memory(recording: Recording, process: RecordedProcess, begin: float, end: float) -> MemorySeen | None:
    """What the rules of memory judge, from `begin` to `end`; None where no numbers are kept of that time."""
    samples = recording.memory_samples(process.key, begin, end)
    if not samples:
        return None
    last = recording.memory_map(process.key, end)
    first = recording.memory_map(process.key, begin)
    if first is None or (last is not None and first[0] < begin and last[0] > begin):
        looks = recording.looks(process.key, "memory", begin, end)
        first = recording.memory_map(process.key, looks[0][0]) if looks else first
    gaps: list[Gap] = list(process.gaps)
    if last is None:
        gaps.append(Gap("where the bytes were", "no table of it had been made by then"))
    return MemorySeen(
        process=process.process,
        samples=samples,
        first=first[1] if first is not None else None,
        last=last[1] if last is not None else None,
        gaps=tuple(gaps),
    )


def collections(recording: Recording, process: RecordedProcess, begin: float, end: float) -> GcSeen | None:
    """What Python's collector did from `begin` to `end`; None where fewer than two readings of it are kept."""
    looks = recording.looks(process.key, "gc", begin, end)
    step = max(1, len(looks) // _COLLECTORS)
    read = [found for at, _ in (*looks[::step], *looks[-1:]) if (found := recording.collectors(process.key, at))]
    if looks and looks[-1][1] > looks[-1][0]:  # nothing ran since, so that it was the same
        read.append((min(end, looks[-1][1]), read[-1][1]))
    if len(read) < 2 or not read[0][1] or not read[-1][1]:
        return None
    (first_at, first), (last_at, last) = read[0], read[-1]
    share, error, by = _share(recording, process, first_at, last_at, first, last)
    return GcSeen(
        pid=process.process.pid,
        seconds=max(1e-9, last_at - first_at),
        first=first,
        last=last,
        samples=tuple(_collector_sample(at - first_at, main) for at, (main, *_) in read),
        share=share,
        share_error=error,
        share_by=by,
        longest_s=0.0,
    )


def _collector_sample(at_s: float, main: Collector) -> CollectorSample:
    return CollectorSample(at_s, tuple(one.collections for one in main.generations), main.long_lived, main.heap_objects)


def _share(
    recording: Recording,
    process: RecordedProcess,
    begin: float,
    end: float,
    first: tuple[Collector, ...],
    last: tuple[Collector, ...],
) -> tuple[float, float, str]:
    """(share of the time, one standard error, how it is known)."""
    spent = [
        after.time_s - before.time_s
        for one, other in zip(first, last, strict=False)
        for before, after in zip(one.generations, other.generations, strict=False)
        if before.time_s is not None and after.time_s is not None
    ]
    if spent:
        return min(1.0, max(0.0, sum(spent)) / (end - begin)), 0.0, "the seconds that CPython counts itself"
    readings, found = recording.collecting(process.key, begin, end)
    if not readings:
        return 0.0, 1.0, "not measured: nothing was read in that time"
    share = found / readings
    error = math.sqrt(share * (1 - share) / readings) if share else 1 / readings
    return share, error, f"{found} of {readings} readings of `collecting` were inside of a collection"
