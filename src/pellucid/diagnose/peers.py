"""What the process at the other end does, in one sentence: `pid 43 (python server.py): its MainThread sleeps at server.py:8 ...`."""

from pellucid.diagnose import words
from pellucid.model import Peer, Ref, Thread


def state(peer: Peer) -> str:
    """The sentence about the peer. Stopped and dead come first, then the threads that are not idle."""
    who = words.called(peer.process)
    if peer.process.state == "stopped":
        return f"{who} is stopped (state T): `kill -CONT {peer.process.pid}` lets it go on"
    if peer.process.state == "traced":
        return f"{who} is stopped by a tracer (state t)"
    if peer.process.state in {"zombie", "dead"}:
        return f"{who} has ended"
    busy = busy_threads(peer)
    if not busy:
        return f"{who}: all its threads are idle" if peer.threads else f"{who}: its threads could not be read"
    shown = "; ".join(_one(thread, alone=len(peer.threads) == 1) for thread in busy[:2])
    more = f", and {len(busy) - 2} more thread{'s' if len(busy) > 3 else ''}" if len(busy) > 2 else ""
    return f"{who}: {shown}{more}"


def busy_threads(peer: Peer) -> list[Thread]:
    """The threads that may be at work for us: Python threads that are not idle; where there is none, those of the kernel."""
    known = [thread for thread in peer.threads if thread.python] or list(peer.threads)
    return [thread for thread in known if words.idle(thread) is None and not words.joins(thread)]


def evidence(peer: Peer) -> tuple[Ref, ...]:
    refs = [Ref(source=f"/proc/{peer.process.pid}/stat", said=f"state {peer.process.state}")]
    refs += (
        Ref(source=f"stack of {thread.name} in pid {peer.process.pid}", said=words.path(thread.frames))
        for thread in busy_threads(peer)[:2]
        if thread.frames
    )
    return tuple(refs)


def _one(thread: Thread, *, alone: bool) -> str:
    where = words.place(thread.frames)
    who = "it" if alone else f"its {thread.name}"
    return f"{who} {words.does(thread)}" + (f" at {where}" if where else "")
