"""Builds a `Profile`, sample by sample: stacks become numbers, equal neighbouring samples of a thread one run.

recorder = Recorder("wall", "java -jar app.jar", time.time(), interval_ns=10_000_000)
recorder.add(pid, tid, "main", frames, "running", at_ns=30_000_000)
profile = recorder.profile(duration_ns, taking)
"""

from collections.abc import Iterable

from pellucid.model.gap import Gap
from pellucid.model.profile import NO_STACK, Mode, Profile, Run, StackNode, State, Taking, Track
from pellucid.model.thread import Frame


class Building:
    """One thread, while its runs are recorded."""

    __slots__ = ("name", "pid", "process", "runs", "runtime", "tid")

    def __init__(self, pid: int, tid: int, name: str, process: str, runtime: str) -> None:
        self.pid = pid
        self.tid = tid
        self.name = name
        self.process = process
        self.runtime = runtime
        self.runs: list[Run] = []

    def add(self, run: Run) -> None:
        """The next run; a part of the last one, where it found the same."""
        runs = self.runs
        if runs and (runs[-1].stack, runs[-1].state, runs[-1].moving) == (run.stack, run.state, run.moving):
            last = runs.pop()
            samples, weight = last.samples + run.samples, last.weight_ns + run.weight_ns
            run = Run(last.at_ns, run.stack, samples, weight, run.state, run.moving)
        runs.append(run)


class Recorder:
    """`interval_ns` is what one sample weighs where `add` is not told."""

    def __init__(self, mode: Mode, command: str, began_at: float, interval_ns: int) -> None:
        self._mode = mode
        self._command = command
        self._began_at = began_at
        self._interval_ns = interval_ns
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, int], int] = {}
        self._tracks: dict[tuple[int, int, str, int], Building] = {}

    def add(
        self,
        pid: int,
        tid: int,
        name: str,
        frames: Iterable[Frame],
        state: State = "unknown",
        at_ns: int = 0,
        *,
        weight_ns: int | None = None,
        moving: bool = False,
        process: str = "",
        runtime: str = "",
    ) -> None:
        """One sample of one thread. `frames` innermost first; of a thread they have to come in the order of time."""
        weight = self._interval_ns if weight_ns is None else weight_ns
        run = Run(at_ns, self.stack(frames), 1, weight, state, moving)
        self.track(pid, tid, name, process, runtime).add(run)

    def stack(self, frames: Iterable[Frame]) -> int:
        """The number of a stack, innermost frame first; NO_STACK for an empty one."""
        stack = NO_STACK
        for frame in reversed(tuple(frames)):
            stack = self.child(stack, frame)
        return stack

    def child(self, parent: int, frame: Frame) -> int:
        """The number of the stack that ends in `frame`, called from the stack `parent`."""
        number = self._frames.setdefault(frame, len(self._frames))
        return self._stacks.setdefault((parent, number), len(self._stacks))

    def track(self, pid: int, tid: int, name: str, process: str = "", runtime: str = "", *, part: int = 0) -> Building:
        """A thread, to whose `runs` more may be added. `part`: of a process that has become another program."""
        key = (pid, tid, name, part)
        found = self._tracks.get(key)
        if found is None:
            found = self._tracks[key] = Building(pid, tid, name, process, runtime)
        return found

    def profile(self, duration_ns: int, taking: Taking, gaps: tuple[Gap, ...] = ()) -> Profile:
        """All of it, threads in the order of pid and tid; threads without a run are left out."""
        tracks = sorted((each for each in self._tracks.values() if each.runs), key=lambda each: (each.pid, each.tid))
        return Profile(
            mode=self._mode,
            command=self._command,
            began_at=self._began_at,
            duration_ns=duration_ns,
            frames=tuple(self._frames),
            stacks=tuple(StackNode(*pair) for pair in self._stacks),
            tracks=tuple(
                # A tid may have been that of two threads, one after the other, whose runs came in any order.
                Track(
                    each.pid,
                    each.tid,
                    each.name,
                    each.process,
                    each.runtime,
                    tuple(sorted(each.runs, key=lambda run: run.at_ns)),
                )
                for each in tracks
            ),
            taking=taking,
            gaps=gaps,
        )
