"""A text becomes longer bit by bit and is copied whole each time: `self.text += line` takes time that grows with the square.

CPython appends in place only to a str that nothing but one local variable refers to (Python/ceval.c, unicode_concatenate, to 3.13;
BINARY_OP_INPLACE_ADD_UNICODE since 3.11); never to bytes or a tuple. It is told by a text that is longer at each look, by little, at
another address than before, in a frame where the thread spends its time. One that grows in place stays where it is.
"""

from collections.abc import Iterator

from pellucid.diagnose.spent import next_commands, percent, runners, sampled, watched
from pellucid.model import Finding, Ref, Snapshot

_LINE = 0.5
_LEAST_STEPS = 4
_MOVED = 0.5
_LITTLE = 0.25


def text_is_copied_again_and_again(seen: Snapshot) -> Iterator[Finding]:
    time = watched(seen)
    if time is None:
        return
    for thread in runners(time):
        text = thread.growing
        if text is None or not thread.inner or text.steps < _LEAST_STEPS or text.moved < _MOVED * text.steps:
            continue
        spot = thread.inner[0]
        if text.last - text.first > _LITTLE * text.last or spot.samples < _LINE * thread.running:
            continue
        what = f"the {text.kind} {text.name}" if text.name else f"a {text.kind}"
        unit = "items" if text.kind == "tuple" else "bytes" if text.kind == "bytes" else "characters"
        better = "a list" if text.kind == "tuple" else "a bytearray" if text.kind == "bytes" else "a list and ''.join"
        yield Finding(
            rule="concatenation",
            severity="warning",
            title=f"{thread.name} copies a growing {text.kind} of {text.last} {unit} again and again",
            sentence=f"{thread.name} spent {percent(spot.samples, thread.running)} of its time at {spot.frame}, where {what} grew from "
            f"{text.first} to {text.last} {unit} and was copied each time: the work grows with the square of its length. "
            f"Collect the parts in {better}.",
            evidence=(
                sampled(seen, thread, f"{spot.samples} at {spot.frame}"),
                Ref(
                    source=f"innermost frame of thread {thread.tid}",
                    said=f"longer at {text.steps} looks one after the other, at another address at {text.moved} of them",
                ),
            ),
            next=next_commands(seen),
            confidence="likely",
            tids=(thread.tid,),
        )
