"""A thread waits for a lock of the program, or for what is made of one: it sleeps in futex(2) on an address that is not the GIL's.

Who holds it is followed to the end of the chain: `held by visitor_1, which waits in recv from 10.0.0.5:5432`. What can never go on is said
by the rule `deadlock`, and not here once more.
"""

import re
from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.chain import by_key, chain, waited, who
from pellucid.diagnose.groups import at, evidence, harm, waiting
from pellucid.diagnose.stuck import stuck
from pellucid.model import Finding, Snapshot, Thread

_WORD_OF_THE_END = re.compile(
    r"Event [\w.\[\]'()]*(?:stop|shut_?down|exit|quit|terminat|kill|interrupt|forever|sigterm|sigint)", re.IGNORECASE
)
"""An Event so called is set when the program is to end; until then its main thread has nothing to do."""


def waits_for_a_lock(seen: Snapshot) -> Iterator[Finding]:
    told = {tid for one in stuck(seen.graph) for tid in one.finding.tids} if seen.graph else frozenset()
    for group in waiting(seen, lambda thread: _for_a_lock(seen, thread) and thread.tid not in told):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        what = wait.object or "a lock"
        ends = (
            f" It gives up in {words.duration(wait.left_s)}."
            if wait.left_s is not None
            else " It has no timeout."
            if not wait.timed
            else ""
        )
        ending = _waits_for_the_end(seen, thread)
        yield Finding(
            rule="lock",
            severity="info" if ending else harm(wait.since_s, timed=wait.timed),
            title=f"{group.who} {'wait' if len(group.threads) > 1 else 'waits'} for {what}",
            sentence=f"{group.who} {group.has} waited{asleep} for {what}{at(thread)}"
            + (": by its name, for the word to end the program, while other threads work." if ending else ".")
            + _held(seen, thread)
            + (f" The call is {thread.frames[0]}." if thread.frames and not thread.frames[0].own else "")
            + ends,
            evidence=evidence(seen, thread),
            next=(f"pellucid stacks {seen.process.pid}",),
            confidence="likely" if ending else "certain",
            tids=group.tids,
        )


def _waits_for_the_end(seen: Snapshot, thread: Thread) -> bool:
    """The main thread of a program whose work other threads do, at least one of which waits for no lock."""
    return (
        thread.tid == seen.process.pid
        and thread.wait is not None
        and _WORD_OF_THE_END.match(thread.wait.object or "") is not None
        and any(
            other.python and other.tid != thread.tid and (words.idle(other) is not None or not _for_a_lock(seen, other))
            for other in seen.threads
        )
    )


def _held(seen: Snapshot, thread: Thread) -> str:
    """Who holds it and what that one waits for in its turn, to the end."""
    wait = thread.wait
    if wait is None or not wait.holders:
        return ""
    links = chain(by_key(seen.graph), f"{seen.process.pid}/{thread.tid}") if seen.graph else ()
    told = words.held_by(wait).removeprefix(", ")
    said = f" {told[:1].upper()}{told[1:]}"
    for link in links:
        if link.kind == "process":
            continue
        if link.waiting is None:
            said += f"; {link.name} runs" if link.pid == seen.process.pid else ""
            break
        said += f"; {who(link, alone=link.pid == seen.process.pid)} {waited(link.waiting)}"
    return said + "."


def _for_a_lock(seen: Snapshot, thread: Thread) -> bool:
    return (
        thread.wait is not None
        and thread.wait.kind == "lock"
        and thread.python
        and not words.joins(thread)
        and not _of_a_library(seen, thread)
    )


def _of_a_library(seen: Snapshot, thread: Thread) -> bool:
    """A thread that a library in machine code made, and that has called Python before: without a call of Python it waits for what the library wants of it."""
    return not thread.frames and not thread.moving and thread.tid != seen.process.pid
