"""A thread waits for a child process to end (wait4(2), waitid(2)); what the child does says why it takes so long."""

from collections.abc import Iterator

from pellucid.diagnose import peers, words
from pellucid.diagnose.groups import at, evidence, harm, waiting
from pellucid.model import Finding, Peer, Process, Severity, Snapshot

_WRAPPERS = frozenset(
    (
        *(
            "sh",
            "bash",
            "dash",
            "zsh",
            "fish",
            "ksh",
            "busybox",
            "sudo",
            "su",
            "doas",
            "runuser",
            "setpriv",
            "env",
            "nohup",
        ),
        *(
            "timeout",
            "time",
            "nice",
            "xargs",
            "parallel",
            "make",
            "ninja",
            "watch",
            "script",
            "strace",
            "ltrace",
            "flock",
        ),
        *("tini", "dumb-init", "docker-init", "catatonit", "unshare", "nsenter", "stdbuf"),
    )
)
"""Programs whose work is to start another and to wait for its end."""


def waits_for_a_child(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, lambda thread: thread.wait is not None and thread.wait.kind == "child"):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        children = [
            peer for peer in seen.peers if peer.fd is None and (wait.child is None or peer.process.pid == wait.child)
        ]
        peer = children[0] if len(children) == 1 else None
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        whom = (
            f"its child {words.called(peer.process)}"
            if peer
            else f"one of its {len(children)} children"
            if children
            else "a child process"
        )
        yield Finding(
            rule="child",
            severity=_harm(seen.process, peer, wait.since_s),
            title=f"{group.who} waits for {whom}",
            sentence=f"{group.who} {group.has} waited{asleep} in {wait.call} for {whom} to end{at(thread)}."
            + (f" {peers.state(peer)}." if peer else ""),
            evidence=(*evidence(seen, thread), *(peers.evidence(peer) if peer else ())),
            next=tuple(f"pellucid why {peer.process.pid}" for peer in children[:3])
            or (f"pellucid info {seen.process.pid}",),
            confidence="certain",
            tids=group.tids,
        )


def _harm(process: Process, child: Peer | None, since_s: float | None) -> Severity:
    """A shell waits for as long as its command takes: what is wrong, if anything is, is wrong there."""
    if child is not None and child.process.state in {"stopped", "traced"}:
        return "critical"
    program = (process.exe or process.name).rpartition("/")[2]
    return "info" if program in _WRAPPERS or process.name in _WRAPPERS else harm(since_s)
