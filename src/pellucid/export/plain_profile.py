"""A profile as the viewers of others can show it: every sample has frames, and their text can do nothing to who reads it.

What a sample says beside its frames becomes a frame: `(moving)` on top of the outer part of a stack that moved too fast,
`(no Python)` for a thread without frames. Neighbours that are equal are one: speedscope's page dies of a file of 375 MB.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from pellucid.inert import inert
from pellucid.model.gap import Gap
from pellucid.model.process import Process
from pellucid.model.profile import NO_STACK, Profile, Run, StackNode, Track
from pellucid.model.thread import Frame

MOVING = Frame("(moving)", "(moving)", "", None)
NO_PYTHON = Frame("(no Python)", "(no Python)", "", None)


def plain(profile: Profile) -> Profile:
    """The same profile in which each run has a stack, none is `moving`, and no two neighbours are equal."""
    frames = [_legible(frame) for frame in profile.frames]
    stacks = list(profile.stacks)
    made: dict[tuple[int, Frame], int] = {}

    def above(parent: int, frame: Frame) -> int:
        key = (parent, frame)
        if key not in made:
            made[key] = len(stacks)
            stacks.append(StackNode(parent, len(frames)))
            frames.append(frame)
        return made[key]

    def stack_of(run: Run) -> int:
        if run.moving:
            return above(run.stack, MOVING)
        return above(NO_STACK, NO_PYTHON) if run.stack == NO_STACK else run.stack

    tracks = tuple(
        replace(
            track,
            name=inert(track.name),
            process=inert(track.process),
            runs=_merged(
                (replace(run, stack=stack_of(run), moving=False) for run in sorted(track.runs, key=_at)),
                profile.taking.interval_ns,
            ),
        )
        for track in profile.tracks
    )
    return replace(profile, command=inert(profile.command), frames=tuple(frames), stacks=tuple(stacks), tracks=tracks)


def encodable(profile: Profile) -> Profile:
    """The same profile without lone surrogates (a file name that is no UTF-8 has them): each is spelled out."""

    def clean(text: str) -> str:
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()

    return replace(
        profile,
        command=clean(profile.command),
        frames=tuple(
            Frame(clean(frame.function), clean(frame.qualname), clean(frame.file), frame.line)
            for frame in profile.frames
        ),
        tracks=tuple(
            replace(track, name=clean(track.name), process=clean(track.process), runtime=clean(track.runtime))
            for track in profile.tracks
        ),
        taking=replace(profile.taking, slowdown_how=clean(profile.taking.slowdown_how)),
        process=profile.process and _encodable_process(profile.process, clean),
        gaps=tuple(Gap(clean(gap.what), clean(gap.why), clean(gap.remedy)) for gap in profile.gaps),
    )


def path(profile: Profile, stack: int) -> list[int]:
    """The nodes of `profile.stacks` that lead to `stack`, outermost first."""
    found = []
    while stack != NO_STACK:
        found.append(stack)
        stack = profile.stacks[stack].parent
    return found[::-1]


def spans(track: Track, interval_ns: int) -> Iterator[tuple[int, int, Run]]:
    """`(start, end, run)` in nanoseconds since the profile began: a run lasts for its samples, or until the next one begins.

    Samples that come within two intervals of each other are one stretch: ticks are jittered, and a hole of less is none. What was traced
    has no interval, and lasts as long as it weighs.
    """
    for run, following in zip(track.runs, (*track.runs[1:], None), strict=True):
        end = run.at_ns + max(run.samples * interval_ns if interval_ns else run.weight_ns, 1)
        if following is not None and following.at_ns < end + 2 * interval_ns:
            end = max(following.at_ns, run.at_ns)
        yield run.at_ns, end, run


def _encodable_process(process: Process, clean: Callable[[str], str]) -> Process:
    return replace(
        process,
        name=clean(process.name),
        command=tuple(map(clean, process.command)),
        exe=process.exe and clean(process.exe),
    )


def _at(run: Run) -> int:
    return run.at_ns


def _legible(frame: Frame) -> Frame:
    if frame.function.isprintable() and frame.qualname.isprintable() and frame.file.isprintable():
        return frame
    return Frame(inert(frame.function), inert(frame.qualname), inert(frame.file), frame.line)


def _merged(runs: Iterator[Run], interval_ns: int) -> tuple[Run, ...]:
    """Samples within two intervals of each other are neighbours, as in `spans`."""
    merged: list[Run] = []
    for run in runs:
        last = merged[-1] if merged else None
        if (
            last is not None
            and (last.stack, last.state) == (run.stack, run.state)
            and run.at_ns < last.at_ns + (last.samples + 2) * interval_ns
        ):
            merged[-1] = replace(last, samples=last.samples + run.samples, weight_ns=last.weight_ns + run.weight_ns)
        else:
            merged.append(run)
    return tuple(merged)
