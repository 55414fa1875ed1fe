"""A thread sleeps by its own wish: time.sleep() or a select without descriptors; the kernel's timeout says for how long yet.

One that sleeps where its library tries again what failed (a broker that is gone) does not do its work, and says so only in its log.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import Group, at, evidence, waiting
from pellucid.model import Finding, Snapshot


def sleeps(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, lambda thread: thread.wait is not None and thread.wait.kind == "sleep"):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        wakes = f" and wakes in {words.duration(wait.left_s)}" if wait.left_s is not None else ""
        plural = len(group.threads) > 1
        if words.retries(thread):
            yield _again(seen, group, f"{asleep} in {wait.call}{at(thread)}{wakes}")
            continue
        yield Finding(
            rule="sleeps",
            severity="notice" if thread.tid == seen.process.pid else "info",
            title=f"{group.who} {'sleep' if plural else 'sleeps'}"
            + (f", {words.duration(wait.left_s)} to go" if wait.left_s is not None else ""),
            sentence=f"{group.who} {'have' if plural else 'has'} slept{asleep} in {wait.call}{at(thread)}{wakes}.",
            evidence=evidence(seen, thread),
            next=(f"pellucid stacks {seen.process.pid}",),
            confidence="certain",
            tids=group.tids,
        )


def _again(seen: Snapshot, group: Group, slept: str) -> Finding:
    thread = group.longest
    plural = len(group.threads) > 1
    return Finding(
        rule="retries",
        severity="warning" if thread.tid == seen.process.pid else "notice",
        title=f"{group.who} could not reach what {'they need' if plural else 'it needs'}, and {'try' if plural else 'tries'} again",
        sentence=f"{group.who} {'have' if plural else 'has'} slept{slept}: {thread.frames[0]} waits so between two tries. Its log says what failed.",
        evidence=evidence(seen, thread),
        next=(f"pellucid syscalls {seen.process.pid} --failed -d 60",),
        confidence="likely",  # by the meaning of library code
        tids=group.tids,
    )
