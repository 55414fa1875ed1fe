"""Threads that wait for work: said as idle, since a worker without work is healthy. The word "idle" about the whole process needs all threads."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import evidence, name
from pellucid.model import Finding, Snapshot, Thread

WHOLE = "idle"
"""The rule's name where the whole process is idle; nothing that has a worse finding is called that (`diagnose.engine`)."""


def is_idle(seen: Snapshot) -> Iterator[Finding]:
    idle = [(thread, what) for thread in seen.threads if (what := words.idle(thread)) is not None]
    if not idle or seen.process.state in {"stopped", "traced"}:
        return
    first = idle[0][0]
    rest = [
        thread for thread in seen.threads if thread.python and words.idle(thread) is None and not words.joins(thread)
    ]
    whole = not rest and all(thread.python or thread.wait is not None for thread in seen.threads)
    by_what: dict[str, list[Thread]] = {}
    for thread, what in idle:
        by_what.setdefault(what, []).append(thread)
    told = "; ".join(
        f"{_who(threads)} {'waits' if len(threads) == 1 else 'wait'} for {what}" for what, threads in by_what.items()
    )
    yield Finding(
        rule=WHOLE if whole else "idle-threads",
        severity="info",
        title=f"pid {seen.process.pid} is idle"
        if whole
        else f"{len(idle)} thread{'s are' if len(idle) > 1 else ' is'} idle",
        sentence=f"{told}.",
        evidence=evidence(seen, first),
        next=(f"pellucid stacks {seen.process.pid}",),
        confidence="likely",  # that the wait means "no work" is the meaning of library code, not a field in memory
        tids=tuple(thread.tid for thread, _ in idle),
    )


def _who(threads: list[Thread]) -> str:
    return name(threads[0]) if len(threads) == 1 else f"{len(threads)} threads"
