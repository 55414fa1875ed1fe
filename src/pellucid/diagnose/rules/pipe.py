"""A thread reads an empty pipe or writes a full one: the process at the other end decides how long."""

from collections.abc import Iterator

from pellucid.diagnose import peers, words
from pellucid.diagnose.groups import at, evidence, harm, waiting
from pellucid.model import Finding, Peer, Severity, Snapshot, Thread, Watched


def waits_for_a_pipe(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, lambda thread: thread.wait is not None and thread.wait.kind == "pipe"):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        one = wait.watched[0]
        others = [peer for peer in seen.peers if peer.at_the_end_of(one.fd)]
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        why = "it is empty" if one.wants == "read" else "it is full"
        if others:
            tells = " ".join(f"{peers.state(peer)}." for peer in others[:2])
        elif any("the other end" in gap.what for gap in seen.gaps):
            tells = "Who holds the other end could not be read."
        else:
            tells = "No other process holds it: only this process can " + (
                "write to it." if one.wants == "read" else "read from it."
            )
        severity: Severity = "critical" if _stopped(others) else harm(wait.since_s)
        yield Finding(
            rule="pipe",
            severity="info" if _is_meant_to(seen, group.threads, one, others) else severity,
            title=f"{group.who} {'wait' if len(group.threads) > 1 else 'waits'} to {one.wants} a pipe ({why})",
            sentence=f"{group.who} {group.has} waited{asleep} in {wait.call} on fd {one.fd}, {one.what}, because {why}{at(thread)}. {tells}",
            evidence=(*evidence(seen, thread), *(ref for peer in others[:1] for ref in peers.evidence(peer))),
            next=tuple(f"pellucid why {peer.process.pid}" for peer in others[:2])
            or (f"pellucid files {seen.process.pid}",),
            confidence="likely" if others else "certain",
            tids=group.tids,
        )


def _stopped(others: list[Peer]) -> bool:
    return bool(others) and all(peer.process.state in {"stopped", "traced"} for peer in others)


def _is_meant_to(seen: Snapshot, threads: tuple[Thread, ...], one: Watched, others: list[Peer]) -> bool:
    if _stopped(others):
        return False
    if _of_a_library(seen, threads):
        return one.wants == "read" or not others
    return bool(others) and _watches_its_family(seen, threads, one, others)


def _watches_its_family(seen: Snapshot, threads: tuple[Thread, ...], one: Watched, others: list[Peer]) -> bool:
    """Threads beside a main thread that is in an event loop read from the parent or a child: so a process learns of its end, or reads its output."""
    main = next((thread for thread in seen.threads if thread.tid == seen.process.pid), None)
    if one.wants != "read" or main is None or main.wait is None or main in threads:
        return False
    loops = main.wait.kind == "poll" or words.idle(main) is not None
    here = seen.process
    return loops and all(here.pid == peer.process.ppid or here.ppid == peer.process.pid for peer in others)


def _of_a_library(seen: Snapshot, threads: tuple[Thread, ...]) -> bool:
    """Threads that a library in machine code made in a process with a runtime: one that wakes it by a pipe to itself is meant to wait there."""
    return any(thread.python for thread in seen.threads) and not any(thread.python for thread in threads)
