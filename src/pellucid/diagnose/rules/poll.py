"""A thread waits for several descriptors at once and is no event loop that we know: the list says for whom it may be waiting."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, evidence, waiting
from pellucid.model import Finding, Snapshot


def waits_for_several(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, lambda thread: thread.wait is not None and thread.wait.kind == "poll" and thread.python):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        yield Finding(
            rule="poll",
            severity="info",
            title=f"{group.who} {'wait' if len(group.threads) > 1 else 'waits'} for {len(wait.watched)} descriptors",
            sentence=f"{group.who} {words.waits(wait)}{asleep}{at(thread)}.",
            evidence=evidence(seen, thread),
            next=(f"pellucid sockets {seen.process.pid}", f"pellucid files {seen.process.pid}"),
            confidence="certain",
            tids=group.tids,
        )
