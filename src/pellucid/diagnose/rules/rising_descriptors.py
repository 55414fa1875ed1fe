"""Its descriptors became more while it was watched: what the new ones are, and which line opened them.

Two seconds prove no leak. What makes one likely is a file that is opened again and again and kept; connections that a server has just
accepted are its work, and are told only where the limit would soon be reached (getrlimit(2), RLIMIT_NOFILE).
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Descriptors, FileGroup, Finding, Frame, Ref, Snapshot

_LEAST = 5
_SOON_S = 600.0
_ACCEPTS = frozenset({"accept", "accept4"})


def descriptors_become_more(seen: Snapshot) -> Iterator[Finding]:
    held = seen.over_time.descriptors if seen.over_time else None
    if held is None or not held.new or not _rises(held):
        return
    group = held.new[0]
    call, stack = _opener(seen, group)
    left = _left_s(held)
    soon = left is not None and left < _SOON_S
    same = len(group.examples) == 1 and group.kind == "file" and group.count >= _LEAST
    if call in _ACCEPTS and not soon:
        return
    pid = seen.process.pid
    where = f", opened at {words.place(stack)}" if stack else ""
    yield Finding(
        rule="rising-descriptors",
        severity="warning" if soon or same else "notice",
        title=f"{held.grown} more descriptors than {held.seconds:.1f} s before" + (f"{where}" if where else ""),
        sentence=f"pid {pid} had {held.counts[0]} descriptors and has {held.counts[-1]}; {group.count} of the new ones are {group.what}"
        + where
        + (
            f"; at this rate the limit of {held.limit} is reached in {words.duration(left)}."
            if left is not None and soon
            else "."
        )
        + ("" if same or soon else " Whether it will close them can't be seen in so short a time."),
        evidence=(
            Ref(source=f"/proc/{pid}/fd", said=f"{', '.join(map(str, held.counts))} entries over {held.seconds:.1f} s"),
            *((Ref(source=f"stack at the end of {call}", said=words.path(stack)),) if stack else ()),
        ),
        next=(f"pellucid files --leaks {pid}",),
        confidence="likely" if same or soon else "possible",
    )


def _rises(held: Descriptors) -> bool:
    """More by a few, and in both halves of the window: not the one burst of a start."""
    middle = held.counts[len(held.counts) // 2]
    return held.grown >= _LEAST and held.counts[0] < middle < held.counts[-1]


def _left_s(held: Descriptors) -> float | None:
    """Seconds until the limit, at this rate."""
    if held.limit is None or held.seconds <= 0:
        return None
    return max(0, held.limit - held.counts[-1]) / (held.grown / held.seconds)


def _opener(seen: Snapshot, group: FileGroup) -> tuple[str, tuple[Frame, ...]]:
    """The one place that opened the group; "" and no frames where that is known of less than half of it, or it is not one."""
    calls = seen.over_time.calls if seen.over_time else None
    numbers = frozenset(group.fds)
    found = [one for one in calls.opened if numbers.intersection(one.fds)] if calls is not None else []
    found = [
        one for one in found if one.stack
    ] or found  # the first call of a thread that was not known yet has no stack
    if len(found) != 1 or len(numbers.intersection(found[0].fds)) * 2 < len(numbers):
        return "", ()
    return found[0].name, found[0].stack
