"""A thread waits for a lock of the program: it sleeps in futex(2) on an address that is not the GIL's."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, evidence, harm, waiting
from pellucid.model import Finding, Snapshot, Thread


def waits_for_a_lock(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, _for_a_lock):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        what = wait.object or "a lock"
        holders = ", ".join(f"{holder.name} ({holder.confidence})" for holder in wait.holders)
        ends = (
            f" It gives up in {words.duration(wait.left_s)}."
            if wait.left_s is not None
            else " It has no timeout."
            if not wait.timed
            else ""
        )
        yield Finding(
            rule="lock",
            severity=harm(wait.since_s, timed=wait.timed),
            title=f"{group.who} {'wait' if len(group.threads) > 1 else 'waits'} for {what}",
            sentence=f"{group.who} {group.has} waited{asleep} for {what}{at(thread)}."
            + (f" Held by {holders}." if holders else "")
            + (f" The call is {thread.frames[0]}." if thread.frames and not words.own(thread.frames[0]) else "")
            + ends,
            evidence=evidence(seen, thread),
            next=(f"pellucid stacks {seen.process.pid}",),
            confidence="certain",
            tids=group.tids,
        )


def _for_a_lock(thread: Thread) -> bool:
    return thread.wait is not None and thread.wait.kind == "lock" and thread.python and not words.joins(thread)
