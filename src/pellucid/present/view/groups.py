"""Threads with equal stacks and equal waits as one group, which is how `stacks`, the page and the terminal show them."""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pellucid.diagnose import words
from pellucid.diagnose.groups import Group, grouped, name
from pellucid.inert import inert
from pellucid.model import Frame, Thread


class Line(Struct, frozen=True):
    """One frame: `who` (the qualified name), `where` (file:line), and whether it is the program's own code."""

    who: str
    where: str
    own: bool


class Shown(Struct, frozen=True):
    """One group: `who`, in words what its threads do, and the frames that they share, innermost first."""

    who: str
    names: tuple[str, ...]
    tids: tuple[int, ...]
    does: str
    kind: str
    """The kind of wait, `running`, or another state of the kernel: for a mark beside the words."""
    since_s: float | None
    idle: bool
    """It waits for work, as it is meant to."""
    gil: bool
    moving: bool
    frames: tuple[Line, ...]


def equal(threads: Sequence[Thread]) -> Iterator[Group]:
    """Threads with the same frames and the same kind of wait together."""
    by_stack: dict[tuple[tuple[Frame, ...], str], list[Thread]] = {}
    for thread in threads:
        by_stack.setdefault((thread.frames, thread.wait.kind if thread.wait else thread.state), []).append(thread)
    for members in by_stack.values():
        if members[0].wait and members[0].wait.kind in {"socket", "pipe", "child"}:
            yield from grouped(iter(members))  # each waits for something of its own
        else:
            yield Group(tuple(members))


def shown(threads: Sequence[Thread]) -> tuple[Shown, ...]:
    """The threads that the runtime knows, in groups: the largest first, of equal size that which has waited longest, the idle ones last."""
    groups = equal([thread for thread in threads if thread.python])
    return tuple(map(_shown, sorted(groups, key=lambda group: (_idle(group), -len(group.threads), -_since(group)))))


def others(threads: Sequence[Thread]) -> tuple[Shown, ...]:
    """The threads that the runtime does not know."""
    return tuple(_shown(Group((thread,))) for thread in threads if not thread.python)


def _idle(group: Group) -> bool:
    return words.idle(group.longest) is not None


def _since(group: Group) -> float:
    wait = group.longest.wait
    return (wait.since_s or 0.0) if wait else 0.0


def _does(group: Group) -> str:
    """Of threads that wait in the same line for several locks, the holder of one of them would be told of all."""
    thread = group.longest
    things = {(one.wait.object, one.wait.holders) for one in group.threads if one.wait is not None}
    if thread.wait is None or thread.wait.kind != "lock" or len(things) < 2:
        return words.does(thread)
    same = len({name for name, _ in things}) == 1
    wait = replace(thread.wait, holders=(), object=thread.wait.object if same else None)
    return f"{words.does(replace(thread, wait=wait))}, not all for the same one"


def _shown(group: Group) -> Shown:
    thread = group.longest
    return Shown(
        who=inert(group.who),
        names=tuple(inert(name(one)) for one in group.threads),
        tids=group.tids,
        does=inert(_does(group)),
        kind=thread.wait.kind if thread.wait else thread.state,
        since_s=thread.wait.since_s if thread.wait else None,
        idle=_idle(group),
        gil=any(one.holds_gil for one in group.threads),
        moving=thread.moving,
        frames=tuple(map(_line, thread.frames)),
    )


def _line(frame: Frame) -> Line:
    line = frame.line if frame.line is not None else "?"
    return Line(inert(frame.qualname or frame.function), inert(f"{frame.file}:{line}"), frame.own)
