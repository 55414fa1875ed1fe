"""One call of a regular expression that does not return, on a short text: it tries the same characters in exponentially many ways.

`re` backtracks (Modules/_sre/sre_lib.h): a pattern like `(a+)+$` doubles its work with each character. A search through millions of
characters may take as long and be healthy, so the text has to be short for the time that the call took.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.spent import next_commands, percent, runners, sampled, watched
from pellucid.model import Finding, Ref, Snapshot

_LEAST_S = 0.5
_SLOWEST_S = 2e-6
"""Seconds a character that an expression without backtracking may take: some fifty times what is usual."""


def regular_expression_blows_up(seen: Snapshot) -> Iterator[Finding]:
    time = watched(seen)
    if time is None:
        return
    for thread in runners(time):
        call = thread.searching
        if call is None or call.length is None or call.unbroken_s < max(_LEAST_S, _SLOWEST_S * call.length):
            continue
        spot = (thread.own or thread.inner)[0]
        said = f"the same call of a compiled expression for {words.duration(call.unbroken_s)} and on, on {call.length} characters"
        yield Finding(
            rule="slow-regex",
            severity="warning",
            title=f"{thread.name} is in a regular expression that does not end",
            sentence=f"{thread.name} spent {percent(spot.samples, thread.running)} of its time at {spot.frame}, in one call of a regular "
            f"expression that did not return for {words.duration(call.unbroken_s)} or more, on a text of {call.length} characters: the "
            "expression backtracks, and each further character can double the time. The GIL is held meanwhile.",
            evidence=(
                sampled(seen, thread, f"{spot.samples} at {spot.frame}"),
                Ref(source=f"innermost frame of thread {thread.tid}", said=said),
            ),
            next=next_commands(seen),
            confidence="likely",  # that it is one call, and not many equal ones, is told by frames that did not change
            tids=(thread.tid,),
        )
