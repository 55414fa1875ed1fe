"""A thread waits for the other end of a socket: which of the two is stuck, or the network between them.

From one end alone "the server is slow" can't be known: a request that was read, one that lies unread, one that nobody accepted
and an answer that is being lost look the same to the client. `diagnose.connection` judges with both ends where both are on this
host, and says what would decide it where they are not.
"""

from collections.abc import Iterator

from pellucid.diagnose import connection, peers, words
from pellucid.diagnose.groups import Group, at, evidence, harm, waiting
from pellucid.model import Finding, Peer, Severity, Snapshot, Socket, Thread, Watched

_UNHURRIED = frozenset({"idle", "accept", "arrived", "moving"})
"""Healthy states of a connection, however long they last."""


def waits_for_a_socket_peer(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, _on_one_socket):
        one = _the_socket(group.longest)
        assert one.socket is not None
        yield _finding(seen, group, one, one.socket)


def _on_one_socket(thread: Thread) -> bool:
    return thread.wait is not None and thread.wait.kind == "socket" and thread.wait.watched[0].socket is not None


def _the_socket(thread: Thread) -> Watched:
    assert thread.wait is not None
    return thread.wait.watched[0]


def _finding(seen: Snapshot, group: Group, one: Watched, socket: Socket) -> Finding:
    thread = group.longest
    wait = thread.wait
    assert wait is not None
    judged = connection.judge(socket, connection.wants(one.wants))
    their = [peer for pid in socket.peer_pids if (peer := seen.peer(pid)) is not None]
    asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
    gives_up = f" (gives up in {words.duration(wait.left_s)})" if wait.left_s is not None else ""
    sentence = f"{group.who} {group.has} waited{asleep} in {wait.call} on fd {one.fd}, {one.what}{gives_up}{at(thread)}. {judged.sentence}"
    if their and judged.case != "idle":
        sentence += f" {_upper(peers.state(their[0]))}." + (
            f" ({len(their) - 1} more processes hold that end.)" if len(their) > 1 else ""
        )
    return Finding(
        rule=f"socket-{judged.case}",
        severity=_severity(judged.case, wait.since_s, their),
        title=f"{group.who} {'wait' if len(group.threads) > 1 else 'waits'} for {_whom(socket, their)}: {_short(judged.title, their)}",
        sentence=sentence,
        evidence=(
            *evidence(seen, thread),
            *judged.evidence,
            *(ref for peer in their[:1] for ref in peers.evidence(peer)),
        ),
        next=_next(seen, their, judged.decides),
        confidence=judged.confidence,
        tids=group.tids,
    )


def _severity(case: str, since_s: float | None, their: list[Peer]) -> Severity:
    if case in _UNHURRIED:
        return "info"
    if their and all(_halted(peer) for peer in their):
        return "critical"
    return harm(since_s)


def _short(title: str, their: list[Peer]) -> str:
    """A stopped process needs no further explanation in a title."""
    return f"it is {their[0].process.state}" if their and _halted(their[0]) else title


def _halted(peer: Peer) -> bool:
    return peer.process.state in {"stopped", "traced"}


def _whom(socket: Socket, their: list[Peer]) -> str:
    if their:
        return f"{words.called(their[0].process)}"
    return socket.remote or "the other end"


def _next(seen: Snapshot, their: list[Peer], decides: str) -> tuple[str, ...]:
    commands = [f"kill -CONT {peer.process.pid}" for peer in their if peer.process.state == "stopped"]
    commands += [f"pellucid why {peer.process.pid}" for peer in their[:2]]
    if decides:
        commands.append(decides)
    return tuple(commands) or (f"pellucid sockets {seen.process.pid}",)


def _upper(text: str) -> str:
    return text if text.startswith("pid ") else text[:1].upper() + text[1:]
